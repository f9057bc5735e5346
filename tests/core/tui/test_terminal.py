"""The dashboard on a real pseudo-terminal: first frame, leaving, ASCII alone, a redirected standard error."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra_doctor.tui.terminal import ascii_cells, speaks_utf8

# A run that emits one hostile report and then hangs, as a driver would.
SCRIPT = """
import sys, threading
from infra_doctor.cli import main as cli
from infra_doctor.tui import app as tui
from tests.core.tui.screens import events
from tests.support.sample_report import sample_report

def look(options, emit):
    for event in events(sample_report(hostile=True)):
        emit(event)
    threading.Event().wait()

tui._look = look
if "fault" in sys.argv:
    tui.Dashboard.action_help = lambda self: 1 / 0
code = tui.run_dashboard()
print("code", code)
cli.leave(code)
"""
ENDED = b"\x1b[?1049l"  # the terminal's own screen is back


@contextmanager
def terminal(*argv: str, **environment: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The script on a pseudo-terminal of 80x24: the process and our end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    kept = {k: v for k, v in os.environ.items() if k not in {"CI", "NO_COLOR", "PYTHONIOENCODING", "COLUMNS", "LINES"}}
    env = {**kept, "TERM": "xterm-256color", "PYTHONPATH": str(Path(__file__).parents[3]), **environment}
    stderr = subprocess.DEVNULL if "silent" in argv else theirs
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *argv],
        stdin=theirs,
        stdout=theirs,
        stderr=stderr,
        env=env,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(fd: int, needle: bytes) -> bytes:
    """What the terminal shows until `needle` has come, or the other side has closed, or nothing comes any more."""
    seen = b""
    while needle not in seen and select.select([fd], [], [], 30)[0]:
        try:
            data = os.read(fd, 1 << 16)
        except OSError:
            break
        if not data:
            break
        seen += data
    return seen


def test_shows_the_verdict_and_leaves_at_once_though_the_run_hangs() -> None:
    with terminal() as (process, fd):
        seen = read_until(fd, b"does not fit together")
        assert "✖ FAIL".encode() in seen
        assert b"owned\x07" not in seen
        assert b"\x1b[2J\x1b]0;" not in seen
        os.write(fd, b"q")
        rest = read_until(fd, b"code 0")
        assert ENDED in rest
        assert b"code 0" in rest
        assert process.wait(30) == 0


def test_a_terminal_without_utf8_gets_ascii_alone() -> None:
    with terminal(PYTHONIOENCODING="latin-1") as (process, fd):
        seen = read_until(fd, b"does not fit together")
        os.write(fd, b"2")
        seen += read_until(fd, b"INCOMPATIBLE")
        assert b"x FAIL" in seen
        assert seen.isascii()
        os.write(fd, b"q")
        read_until(fd, b"code 0")
        assert process.wait(30) == 0


def test_a_redirected_standard_error_hides_nothing() -> None:
    with terminal("silent") as (process, fd):
        assert b"does not fit together" in read_until(fd, b"does not fit together")
        os.write(fd, b"q")
        read_until(fd, b"code 0")
        assert process.wait(30) == 0


def test_ended_by_a_signal_the_terminal_is_restored() -> None:
    with terminal() as (process, fd):
        read_until(fd, b"does not fit together")
        process.terminate()
        assert ENDED in read_until(fd, b"code 143")
        assert process.wait(30) == 143


def test_a_fault_of_the_dashboard_is_a_sentence() -> None:
    with terminal("fault") as (process, fd):
        read_until(fd, b"does not fit together")
        os.write(fd, b"?")
        rest = read_until(fd, b"code 4")
        assert b"a fault of our own: ZeroDivisionError" in rest
        assert b"Traceback" not in rest
        assert process.wait(30) == 4


@pytest.mark.parametrize("text", ["✖ FAIL │ ▸ └ ⏎", "漢字 x", "é ¶ ▇ …", "plain"])
def test_ascii_keeps_the_width(text: str) -> None:
    from rich.cells import cell_len

    assert ascii_cells(text).isascii()
    assert len(ascii_cells(text)) == cell_len(text)


def test_which_encodings_take_every_character() -> None:
    assert all(map(speaks_utf8, ("utf-8", "UTF8", "utf_8")))
    assert not any(map(speaks_utf8, ("latin-1", "ascii", "ANSI_X3.4-1968", "", None)))
