"""The check in a process of its own: how it is started, what its ends mean, and that it is ended when it hangs."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra_doctor.errors import ExitCode
from infra_doctor.pytest_plugin import asking
from tests.pytest_plugin.conftest import recorded

Start = Callable[[str], None]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    """Lets this program run instead of the check."""
    return lambda text: monkeypatch.setattr(asking, "_START", text)


def test_a_check_answers_with_its_report_and_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "machine", lambda: ("--replay", recorded("h200x2-torch211")))
    found = asking.ask(("--no-policy", "--require=gpu.count>=2", "--require=gpu.count<9"), 60)
    assert (found.code, found.fault, found.hung) == (ExitCode.OK, "", "")
    assert found.report is not None and len([c for c in found.report.components if c.kind == "gpu"]) == 2
    assert found.text.startswith('{\n  "kind": "report"')
    missing = asking.ask(("--no-policy", "--require=gpu.count>=3"), 60)
    assert missing.code == ExitCode.FINDINGS and missing.report is not None


def test_this_python_of_this_machine_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def refuse(argv: list[str], **_: object) -> None:
        asked.append(argv)
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    found = asking.ask(("--no-policy",), 7.5)
    assert found.fault == f"{sys.executable}: Permission denied"
    assert asked[0][-5:] == ["--timeout", "7.5", "--python", sys.executable, "--no-policy"]
    monkeypatch.setattr(sys, "executable", "")
    assert "sys.executable is empty" in asking.ask((), 1).fault


def test_neither_the_tests_folder_nor_their_settings_reach_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "argparse", "platform", "infra_doctor", "msgspec"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the module of the tests')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    found = asking.ask(("--no-policy", "--only=DRV-OLD"), 60)
    assert (found.fault, found.hung) == ("", "") and found.report is not None


def test_what_only_this_process_can_import_the_check_can_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, start: Start
) -> None:
    (tmp_path / "only_here.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    start(asking._START.replace("from infra", "import only_here, os; os._exit(len(sys.argv)); from infra"))
    assert asking.ask((), 60).code == 1 + len(("check", "--json", "--timeout", "60", *asking.machine()))


@pytest.mark.parametrize(
    ("code", "out", "err", "field", "said"),
    [
        (2, "", "infra-doctor: gpu.toml:3: no such key\nNearest: gpu.count.\n", "fault", "gpu.toml:3: no such key Nearest:"),
        (4, "{}", "infra-doctor: a fault of our own: KeyError: 1\n", "fault", "a fault of our own: KeyError"),
        (9, "", "", "fault", "it ended with 9 and said nothing"),
        (4, "", "\x1b[31mred\n::error::x\n", "fault", r"\x1b[31mred ::error::x"),
        (0, "{", "", "fault", "its answer cannot be read"),
        (0, '{"kind": "report"}', "", "fault", "its answer cannot be read"),
        (0, "[" * 100_000, "", "fault", "its answer cannot be read"),
        (1, "\udcff", "", "fault", "its answer cannot be read"),
        (3, "", "infra-doctor: ended by --timeout after 5 s, while looking at the machine\n", "hung", "ended by --timeout after 5 s"),
        (0, "", "infra-doctor: ended by --timeout after 5 s\n", "hung", "ended by --timeout"),  # under a lenient policy
        (0, "", "", "hung", "no answer"),
    ],
)  # fmt: skip
def test_every_other_end_is_told_and_is_no_report(
    code: int, out: str, err: str, field: str, said: str, start: Start
) -> None:
    out_bytes = out.encode("utf-8", "surrogateescape")
    start(f"import os, sys; os.write(1, {out_bytes!r}); os.write(2, {err.encode()!r}); os._exit({code})")
    found = asking.ask((), 60)
    assert found.report is None and found.code == code
    assert said in getattr(found, field), found
    assert bool(found.fault) is (field == "fault") and (found.fault + found.hung).isprintable()


def test_a_check_that_hangs_is_ended_with_what_it_started(monkeypatch: pytest.MonkeyPatch, start: Start) -> None:
    monkeypatch.setattr(asking, "GRACE_S", 0.0)
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    child = "import signal; signal.pause()"
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda argv, **more: popen(argv, pass_fds=(writer,), **more))
    start(
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}], pass_fds=({writer},)); "
        f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"
    )
    found = asking.ask((), 0.5)
    assert (found.hung, found.fault, found.report) == ("no answer within 0.5 s", "", None)
    os.close(writer)
    assert os.read(reader, 1) == b""  # the end of the pipe: nobody holds its other end any more
    os.close(reader)


def test_ctrl_c_ends_the_check_and_goes_on(monkeypatch: pytest.MonkeyPatch, start: Start) -> None:
    started: list[subprocess.Popen[str]] = []
    popen = subprocess.Popen

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def remembered(argv: list[str], **more: object) -> object:
        started.append(popen(argv, **more))
        started[0].communicate = interrupted  # type: ignore[assignment]
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", remembered)
    start("import signal; signal.pause()")
    with pytest.raises(KeyboardInterrupt):
        asking.ask((), 60)
    assert started[0].returncode is not None
