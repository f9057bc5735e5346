"""`--timeout` bounds the whole run, whatever hangs. Where it can, a run that is late still says what it has seen."""

import fcntl
import json
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from infra_doctor.cli.deadline import GRACE_S, Deadline
from infra_doctor.errors import ExitCode
from tests.support.plug_ins import install
from tests.support.snapshots import snapshot_of

COMMAND = [sys.executable, "-m", "infra_doctor"]
HANG = "import threading\ndef hang(*_, **__):\n    threading.Event().wait()\n"
PROBE = "PROBES = (Probe(id='theirs', version=1, title='theirs', run={run}, devices={devices}, timeout_s=600),)\n"
LIMIT = "0.3"


@pytest.fixture(scope="session")
def machines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("machines")
    return {name: snapshot_of(name, folder) for name in ("h200-torch211", "h200-ort-gpu-cudnn-hidden")}


def run(
    folder: Path, *argv: str, files: dict[str, str] | None = None, **modules: str
) -> "subprocess.CompletedProcess[str]":
    """A run in that folder with these plug-ins; it fails the test by its own time limit where it hangs."""
    for name, text in (files or {}).items():
        (folder / name).write_text(text, encoding="utf-8")
    install(folder / "plug-ins", **modules)
    done = subprocess.run(
        [*COMMAND, *argv], cwd=folder, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(folder / "plug-ins")},
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done


def ended(done: "subprocess.CompletedProcess[str]", code: int, doing: str, limit: str = LIMIT) -> None:
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.splitlines()[-1] == f"infra-doctor: ended by --timeout after {limit} s, while {doing}"


# -- the better outcome: a report of what was seen --------------------------------------------------------------------


@pytest.mark.parametrize(("devices", "lenient", "code"), [(False, False, 0), (True, False, 3), (True, True, 0)])
def test_a_probe_that_hangs(tmp_path: Path, machines: dict[str, str], devices: bool, lenient: bool, code: int) -> None:
    """A slow disk alone is no reason to leave with 3; an accelerator that was not looked at is."""
    argv = [
        "check",
        "--json",
        "--replay",
        machines["h200-torch211"],
        "--timeout",
        "4",
        *(["--lenient"] if lenient else []),
    ]
    done = run(tmp_path, *argv, probes=HANG + PROBE.format(run="hang", devices=devices))
    report = json.loads(done.stdout)
    assert done.returncode == code
    late = [p for p in report["probes"] if p["status"] == "error"]
    assert [(p["id"], p["reason"]) for p in late] == [("theirs", "not done when the time for the whole run was over")]


def test_a_child_that_is_stopped(tmp_path: Path) -> None:
    """It cannot be asked to end; it is ended: the pipe that it holds has no writer then."""
    os.mkfifo(tmp_path / "alive")
    stopped = "lambda ctx: ctx.machine.run('sh', '-c', 'exec 3>alive; kill -STOP $$', timeout_s=600) and ()"
    with os.fdopen(os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK), "rb") as alive:
        done = run(
            tmp_path, "check", "--json", "--timeout", "4", "--lenient", probes=PROBE.format(run=stopped, devices=False)
        )
        assert select.select([alive], [], [], 20)[0] and alive.read() == b""
    assert done.returncode == 0, done.stderr
    assert "theirs" in {p["id"] for p in json.loads(done.stdout)["probes"] if p["status"] == "error"}


def test_a_file_system_that_hangs_while_environments_are_sought(tmp_path: Path) -> None:
    """No probe runs then, so that nothing reads as absent that was not looked for."""
    patch = HANG + "from infra_doctor.machine.agent import Agent\nAgent.op_stat = Agent.op_list = hang\nPROBES = ()"
    done = run(tmp_path, "check", "--json", "--timeout", LIMIT, "--require", "package.vllm", probes=patch)
    assert done.returncode == 3, done.stderr
    report = json.loads(done.stdout)
    assert {p["status"] for p in report["probes"]} == {"error"} and report["targets"] == []
    said = {f["id"]: f["status"] for f in report["findings"] if f["status"] not in {"skip", "pass"}}
    assert said == {"PROBE-FAILED": "error", "REQUIREMENT": "error"}
    assert "Python environments: could not be looked at" in {f["title"] for f in report["findings"]}


# -- the last resort --------------------------------------------------------------------------------------------------


def test_a_policy_on_a_file_system_that_hangs(tmp_path: Path, machines: dict[str, str]) -> None:
    patch = HANG + "import infra_doctor.policy.files as files\nfiles.open = hang\nFORMATS = ()"
    argv = ("check", "--replay", machines["h200-torch211"], "--timeout", LIMIT, "--policy", "p.toml")
    ended(run(tmp_path, *argv, files={"p.toml": ""}, reports=patch), 3, "reading its input")
    ended(run(tmp_path, *argv, "--lenient", files={"p.toml": ""}, reports=patch), 0, "reading its input")


def test_a_snapshot_on_a_file_system_that_hangs(tmp_path: Path, machines: dict[str, str]) -> None:
    patch = HANG + "import pathlib\npathlib.Path.read_bytes = hang\nFORMATS = ()"
    for verb in (("check",), ("plan", "torch")):
        argv = (*verb, "--replay", machines["h200-torch211"], "--timeout", LIMIT)
        ended(
            run(tmp_path, *argv, reports=patch, probes=patch.replace("FORMATS", "PROBES")), 3, "looking at the machine"
        )


@pytest.mark.parametrize("kind", ["--policy", "--baseline", "--replay", "--measurements"])
def test_a_pipe_is_no_input(tmp_path: Path, kind: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = run(tmp_path, "check", kind, "pipe")
    assert done.returncode == 2 and "regular file" in done.stderr


def test_a_check_that_hangs(tmp_path: Path, machines: dict[str, str]) -> None:
    checks = HANG + (
        "CHECKS = (Check(id='THEIRS', title='t', explanation='', remediation='', sources=('https://x',), run=hang),)"
    )
    argv = ("check", "--replay", machines["h200-torch211"], "--timeout", LIMIT)
    ended(run(tmp_path, *argv, checks=checks), 3, "looking at the machine")


@pytest.mark.parametrize(("machine", "code"), [("h200-torch211", 3), ("h200-ort-gpu-cudnn-hidden", 1)])
def test_a_format_that_hangs(tmp_path: Path, machines: dict[str, str], machine: str, code: int) -> None:
    """What was found until then counts."""
    reports = HANG + "FORMATS = (ReportFormat(name='slow', help='', render=hang, takes_file=True),)"
    argv = ("check", "--replay", machines[machine], "--timeout", "4", "--slow", "x")
    ended(run(tmp_path, *argv, reports=reports), code, "writing its outputs", "4")


def test_a_disk_that_hangs_while_an_output_is_written(tmp_path: Path, machines: dict[str, str]) -> None:
    """Nothing half written stays."""
    (tmp_path / "out").mkdir()
    patch = HANG + "import os\nos.replace = hang\nFORMATS = ()"
    argv = ("check", "--replay", machines["h200-torch211"], "--timeout", "1", "--html", "out/x")
    ended(run(tmp_path, *argv, reports=patch), 3, "writing its outputs", "1")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_named_pipe_that_nobody_reads(tmp_path: Path, machines: dict[str, str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    argv = ("check", "--replay", machines["h200-torch211"], "--timeout", "1", "--html", "pipe")
    ended(run(tmp_path, *argv), 3, "writing its outputs", "1")


def test_standard_output_that_nobody_reads(tmp_path: Path, machines: dict[str, str]) -> None:
    argv = [*COMMAND, "check", "--json", "--replay", machines["h200-torch211"], "--timeout", "1"]
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    with subprocess.Popen(argv, stdout=writing, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(60) == 3 and "while writing its outputs" in said
    os.close(reading)
    os.close(writing)


# -- whose limit holds ------------------------------------------------------------------------------------------------


def test_the_policys_limit_and_the_command_lines(tmp_path: Path, machines: dict[str, str]) -> None:
    probes = HANG + PROBE.format(run="hang", devices=True)
    argv = ("check", "--json", "--replay", machines["h200-torch211"])
    assert run(tmp_path, *argv, files={"infra-doctor.toml": "timeout = 1"}, probes=probes).returncode == 3
    assert (
        run(tmp_path, *argv, "--timeout", "1", files={"infra-doctor.toml": "timeout = 900"}, probes=probes).returncode
        == 3
    )


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e9"])
def test_a_limit_that_is_none(tmp_path: Path, text: str) -> None:
    done = run(tmp_path, "check", "--timeout", text)
    assert done.returncode == 2 and "a number of seconds above 0" in done.stderr and len(done.stderr.splitlines()) == 2


def test_the_arithmetic_of_a_deadline() -> None:
    """A fifth of a short limit, a second of a long one, is left for judging and writing."""
    assert Deadline().probes_s() is None
    for limit_s, probes_s in ((10.0, 9.0), (1.0, 0.8), (0.001, 0.001)):
        deadline = Deadline()
        deadline.limit_s = limit_s
        assert deadline.probes_s() == pytest.approx(probes_s, abs=0.05)
    assert GRACE_S <= 1
    assert (Deadline().code(), Deadline(lenient=True).code()) == (ExitCode.UNSEEN, ExitCode.OK)
