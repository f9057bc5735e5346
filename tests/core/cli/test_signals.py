"""A signal in the middle: nothing half written stays, nothing that was started goes on, and it is said."""

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from infra_doctor.machine import agent
from tests.support.plug_ins import install
from tests.support.snapshots import snapshot_of

COMMAND = [sys.executable, "-m", "infra_doctor"]
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
TOLD = "with open('ready', 'w') as ready:\n        ready.write('now')\n"

# A probe that does not end; one that waits for a command that does not end, and that holds a pipe open.
HANGING_PROBE = f"""
import threading
def hang(ctx):
    {TOLD}    threading.Event().wait()
    yield
PROBES = (Probe(id='theirs', version=1, title='theirs', run=hang, timeout_s=600),)
"""
WAITING_PROBE = """
def wait(ctx):
    ctx.machine.run('sh', '-c', 'exec 3>alive; echo now > ready; sleep 600', timeout_s=600)
    return ()
PROBES = (Probe(id='theirs', version=1, title='theirs', run=wait, needs=('commands',), timeout_s=600),)
"""
# Whatever renames a finished file into its place takes for ever.
SLOW_WRITER = f"""
import os, threading
def replace(one, other):
    {TOLD}    threading.Event().wait()
os.replace = replace
FORMATS = ()
"""
SLOW_RENDERER = f"""
import threading
def render(report, options):
    {TOLD}    threading.Event().wait()
FORMATS = (ReportFormat(name='slow', help='', render=render, takes_file=True),)
"""


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> str:
    return snapshot_of("h200-torch211", tmp_path_factory.mktemp("machine"))


@contextmanager
def running(folder: Path, *argv: str, **modules: str) -> Iterator["subprocess.Popen[str]"]:
    """A run that has come to the place where a plug-in says that it is ready."""
    install(folder / "plug-ins", **modules)
    os.mkfifo(folder / "ready")
    process = subprocess.Popen(
        [*COMMAND, "check", *argv], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(folder / "plug-ins")},
    )  # fmt: skip
    try:
        with (folder / "ready").open() as ready:
            assert ready.read().strip() == "now", process.communicate(timeout=20)
        yield process
    finally:
        process.kill()
        process.wait(20)


def ended(process: "subprocess.Popen[str]", number: signal.Signals) -> None:
    out, err = process.communicate(timeout=20)
    said = "interrupted" if number is signal.SIGINT else f"ended by {number.name}"
    assert (process.returncode, out) == (128 + number, "")
    assert err.splitlines()[-1] == f"infra-doctor: {said}" and "Traceback" not in err


def closed(pipe: IO[bytes]) -> bool:
    """Whether nobody holds the other end of a pipe any more: the kernel says so when the last one is dead."""
    return bool(select.select([pipe], [], [], 20)[0]) and pipe.read() == b""


@pytest.mark.parametrize("number", SIGNALS)
def test_while_probes_run(number: signal.Signals, machine: str, tmp_path: Path) -> None:
    with running(tmp_path, "--replay", machine, "--html", "x", probes=HANGING_PROBE) as process:
        process.send_signal(number)
        ended(process, number)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_while_a_child_runs(number: signal.Signals, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "alive")
    with (
        os.fdopen(os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK), "rb") as alive,
        running(tmp_path, "--only", "GLIBC", probes=WAITING_PROBE) as process,
    ):
        assert not select.select([alive], [], [], 0)[0]
        process.send_signal(number)
        ended(process, number)
        assert closed(alive)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("old", [None, "old"])
def test_while_a_file_is_written(number: signal.Signals, old: str | None, machine: str, tmp_path: Path) -> None:
    """The temporary neighbour is there when the signal comes, and not afterwards."""
    (tmp_path / "out").mkdir()
    if old is not None:
        (tmp_path / "out/x").write_text(old)
    with running(tmp_path, "--replay", machine, "--html", "out/x", reports=SLOW_WRITER) as process:
        assert next(p.name for p in (tmp_path / "out").iterdir() if p.name != "x").startswith(".x.")
        process.send_signal(number)
        ended(process, number)
    assert [p.name for p in (tmp_path / "out").iterdir()] == (["x"] if old else [])
    assert old is None or (tmp_path / "out/x").read_text() == old


def test_while_a_format_renders(machine: str, tmp_path: Path) -> None:
    with running(tmp_path, "--replay", machine, "--slow", "s", "--html", "x", reports=SLOW_RENDERER) as process:
        process.send_signal(signal.SIGTERM)
        ended(process, signal.SIGTERM)
    assert not (tmp_path / "x").exists()


def test_a_second_signal_breaks_nothing_off(machine: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with running(tmp_path, "--replay", machine, "--html", "out/x", reports=SLOW_WRITER) as process:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
            process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode in {128 + signal.SIGTERM, 128 + signal.SIGHUP} and "Traceback" not in err and out == ""
    assert list((tmp_path / "out").iterdir()) == []


def test_a_signal_that_is_ignored_stays_so(machine: str, tmp_path: Path) -> None:
    """`nohup infra-doctor check`: the end of the session is not ours."""
    install(tmp_path / "plug-ins", probes="import os, signal\nPROBES = (Probe(id='t', version=1, title='t', run=lambda ctx: "
            "os.kill(os.getpid(), signal.SIGHUP) or ()),)")  # fmt: skip
    line = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *COMMAND, "check", "--replay", machine]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "plug-ins")}
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 0 and "PASS" in done.stdout


def test_a_signal_where_nobody_takes_the_last_words(machine: str, tmp_path: Path) -> None:
    """Standard error is a pipe that is full: leaving does not wait for it."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writing, b"x" * 65536)
    os.set_blocking(writing, True)
    install(tmp_path / "plug-ins", probes=HANGING_PROBE)
    os.mkfifo(tmp_path / "ready")
    process = subprocess.Popen(
        [*COMMAND, "check", "--replay", machine], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=writing,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "plug-ins")},
    )  # fmt: skip
    (tmp_path / "ready").read_text()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 128 + signal.SIGTERM
    os.close(reading)
    os.close(writing)


def test_a_process_that_is_just_starting_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its start and its being known lies a moment; whoever leaves waits for that."""
    monkeypatch.setattr(agent, "_closed", False)
    monkeypatch.setattr(agent, "UNDER_WAY", set())
    begun, go_on = threading.Event(), threading.Event()
    real = subprocess.Popen

    def slow(*argv: object, **fields: object) -> object:
        process = real(*argv, **fields)  # type: ignore[call-overload]
        begun.set()
        assert go_on.wait(20)
        return process

    monkeypatch.setattr(subprocess, "Popen", slow)
    found: list[subprocess.Popen[bytes]] = []
    starter = threading.Thread(target=lambda: found.append(agent.start(["sleep", "600"])))
    starter.start()
    assert begun.wait(20)
    threading.Timer(0.05, go_on.set).start()
    agent.end_commands()
    starter.join(20)
    assert found[0].wait(20) == -signal.SIGKILL
    with pytest.raises(OSError, match="canceled"):
        agent.start(["true"])
