"""The Slurm prolog drains a node for findings alone: for no warning, no missing or hanging program, no slow or full disk.

What Slurm makes of a Prolog's exit code: https://slurm.schedmd.com/prolog_epilog.html#failure_handling"""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ci.lab import DOCS, block, doctor, environment, on_machine, program
from tests.support import rooted_tree

PROLOG = DOCS / "prolog.sh"
REPORT = "+ PASS  No fault found: 3 checks in order."
BROKEN = "x FAIL  The stack does not fit together: 1 fault.\\n\\nx FAIL  DRV-OLD  the driver is too old\\n  detail"
EACH_SECOND = 1  # what INFRA_DOCTOR_TIMEOUT is here: the prolog's bound is 5 seconds more


def prolog(tool: Path | str, tmp_path: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """The prolog as slurmd starts it: no search path, nothing to read."""
    policy = tmp_path / "node.toml"
    if not policy.exists():
        policy.write_text('preset = "minimal"\n')
    settings = {
        "INFRA_DOCTOR": str(tool),
        "INFRA_DOCTOR_POLICY": str(policy),
        "INFRA_DOCTOR_OFF": str(tmp_path / "off"),
    }
    return subprocess.run(
        [str(PROLOG)], env={"INFRA_DOCTOR_TIMEOUT": "30", **settings, **more}, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=60, check=False,
    )  # fmt: skip


# -- what a program may do ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("does", "code", "words"),
    [
        (f"printf '{REPORT}\\n'", 0, "ok: No fault found: 3 checks in order"),
        ("printf '! WARN  No fault found; 1 warning.\\n\\n! WARN  PERSIST  off\\n'", 0, "ok: No fault found; 1 warning"),
        (f"printf '{BROKEN}\\n'; exit 1", 1, "this node is broken: The stack does not fit together: 1 fault; DRV-OLD"),
        (f"printf '{BROKEN}'; exit 1", 1, "this node is broken"),
        ("echo 'infra-doctor: node.toml:3: no such key: gpus' >&2; exit 2", 0, "wrong policy or usage): node.toml:3: no"),
        ("printf 'x ERROR  Nothing wrong in what could be looked at.\\n'; exit 3", 0, "not judged (exit code 3)"),
        ("echo 'infra-doctor: a fault of our own: KeyError' >&2; exit 4", 0, "not judged (exit code 4): a fault of"),
        # Python that cannot import the program leaves with 1, as the program does for findings.
        ("echo 'ModuleNotFoundError: No module named infra_doctor' >&2; exit 1", 0, "not judged (exit code 1): ModuleNot"),
        (f"printf '{REPORT}\\n'; exit 1", 0, "not judged (exit code 1)"),
        (f"printf '{BROKEN}\\n'; exit 3", 0, "not judged (exit code 3)"),
        ("kill -KILL $$", 0, "not judged (no answer in time, or killed)"),
        ("kill -SEGV $$", 0, "not judged (exit code 139)"),
        ("exit 0", 0, "not judged (exit code 0)"),
        ("head -c 200000 /dev/zero | tr '\\0' x; exit 1", 0, "not judged (exit code 1): xxxxx"),
        (f"printf '{BROKEN}\\n' | tr ' ' ' '; printf '12345 0\\n'; exit 1", 1, "this node is broken"),
    ],
)  # fmt: skip
def test_only_findings_drain(tmp_path: Path, does: str, code: int, words: str) -> None:
    done = prolog(program(tmp_path / "bin/infra-doctor", does), tmp_path)
    assert done.returncode == code, done
    assert done.stdout.startswith("infra-doctor: ") and done.stdout.count("\n") == 1, done
    assert words in done.stdout
    assert len(done.stdout) < 600


def test_what_it_is_asked(tmp_path: Path) -> None:
    tool = program(tmp_path / "bin/infra-doctor", f'printf "%s\\n" "$@" >{tmp_path}/argv; env >{tmp_path}/env; exit 0')
    prolog(tool, tmp_path, INFRA_DOCTOR_PYTHON="/opt/my env", CUDA_VISIBLE_DEVICES="3", PYTHONPATH="/home/user")
    asked = (tmp_path / "argv").read_text().splitlines()
    assert asked[:2] == ["check", "--policy"] and "--lenient" in asked
    assert asked[asked.index("--fail-on") + 1] == "fail" and asked[asked.index("--timeout") + 1] == "30"
    assert asked[asked.index("--python") + 1] == "/opt/my env"
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert {"PATH"} < names and not {"CUDA_VISIBLE_DEVICES", "PYTHONPATH"} & names, (
        "the job's variables are not the node's"
    )


@pytest.mark.parametrize("tool", ["/nowhere/infra-doctor", "/etc/passwd", "/", "infra-doctor-that-is-not-there", ""])
def test_a_missing_program_drains_nothing(tmp_path: Path, tool: str) -> None:
    done = prolog(tool, tmp_path)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done
    assert "not judged" in done.stdout


def test_off_switch(tmp_path: Path) -> None:
    (tmp_path / "off").touch()
    done = prolog(program(tmp_path / "bin/infra-doctor", f"touch {tmp_path}/ran; exit 1"), tmp_path)
    assert (done.returncode, done.stdout) == (0, "infra-doctor: switched off\n")
    assert not (tmp_path / "ran").exists()


def test_a_task_prolog_prints_for_slurmstepd(tmp_path: Path) -> None:
    done = prolog(
        program(tmp_path / "bin/infra-doctor", f"printf '{REPORT}\\n'"), tmp_path, SLURM_SCRIPT_CONTEXT="prolog_task"
    )
    assert done.stdout == "print infra-doctor: ok: No fault found: 3 checks in order\n"


def test_what_a_machine_says_stays_one_printable_line(tmp_path: Path) -> None:
    evil = (
        "x FAIL  two\\r\\033[31m\\007 faults\\nexport LD_PRELOAD=/tmp/x\\nx FAIL  A  \\033]0;t\\007 \\xe2\\x80\\xae\\n"
    )
    done = prolog(program(tmp_path / "bin/infra-doctor", f"printf '{evil}'; exit 1"), tmp_path)
    assert done.returncode == 1
    assert done.stdout.count("\n") == 1 and done.stdout.strip().isprintable() and done.stdout.isascii()
    assert not any(line.startswith("export") for line in done.stdout.splitlines())


# -- what does not end ----------------------------------------------------------------------------------------------


@pytest.fixture
def left_behind(tmp_path: Path) -> Iterator[Path]:
    """A file into which programs write the process groups that the test has to end."""
    path = tmp_path / "groups"
    yield path
    for number in path.read_text().split() if path.exists() else ():
        for send in (os.killpg, os.kill):
            try:
                send(int(number), signal.SIGKILL)
            except ProcessLookupError:
                pass


@pytest.mark.parametrize(
    "does",
    [
        "exec sleep 1000",  # ended by `timeout`
        "trap '' TERM; echo waiting; while :; do read -r -t 1 <> <(:); done",  # not ended by its first signal
        "exec cat {fifo}",  # a file that never gives anything
        "kill -STOP $PPID; sleep 1000",  # its keeper does not come back either, as one that waits for a dead disk
        "(setsid sleep 1000 & echo $! >>{groups}); kill -STOP $PPID; exit 1",
    ],
)
def test_what_hangs_is_left_behind(tmp_path: Path, left_behind: Path, does: str) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    keeper = "read -r -a its </proc/$PPID/stat; echo ${its[4]}"  # the process group of `timeout`
    does = f"(echo $$; {keeper}) >>{left_behind}; {does.format(fifo=fifo, groups=left_behind)}"
    done = prolog(program(tmp_path / "bin/infra-doctor", does), tmp_path, INFRA_DOCTOR_TIMEOUT=str(EACH_SECOND))
    assert (done.returncode, done.stdout) == (0, "infra-doctor: not judged (no answer in time, or killed)\n"), done


def test_output_without_end(tmp_path: Path) -> None:
    done = prolog(program(tmp_path / "bin/infra-doctor", "yes 'x FAIL  again'"), tmp_path, INFRA_DOCTOR_TIMEOUT="1")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("does", [f"printf '{REPORT}\\n'", f"printf '{BROKEN}\\n'; exit 1"])
def test_a_full_disk_changes_no_verdict(tmp_path: Path, does: str) -> None:
    tool = program(tmp_path / "bin/infra-doctor", does)
    settings = {"INFRA_DOCTOR": str(tool), "INFRA_DOCTOR_OFF": str(tmp_path / "off"), "INFRA_DOCTOR_TIMEOUT": "30"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([str(PROLOG)], env=settings, stdout=full, stderr=full, timeout=60, check=False)
    assert done.returncode == ("exit 1" in does)


# -- the real program ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("machine", "policy", "code", "words"),
    [
        ("healthy-h100-torch-cu130", "", 0, "ok: "),
        ("persist-off-server", "", 0, "ok: No fault found"),  # warns
        ("fabric-manager-missing", "", 1, "FABRIC"),
        ("nvml-hangs", "", 0, "ok: Nothing wrong in what could be looked at"),  # 3 without --lenient
        ("healthy-h100-torch-cu130", "[require]\ngpu.count = 8\n", 1, "gpu.count 8 is required; this is 1"),
        ("fabric-manager-missing", '[[waivers]]\nid = "FABRIC"\nuntil = 9999-12-31\nreason = "known"\n', 0, "ok: "),
        ("fabric-manager-missing", '[[waivers]]\nid = "FABRIC"\nuntil = 2020-12-31\nreason = "known"\n', 1, "FABRIC"),
        ("healthy-h100-torch-cu130", "gpus = 8\n", 0, "node.toml:1: no such key: 'gpus'"),
        ("healthy-h100-torch-cu130", "fail-on = 'warn'\n", 0, "ok: "),  # the prolog's own choice wins
    ],
)
def test_with_the_real_program(tmp_path: Path, machine: str, policy: str, code: int, words: str) -> None:
    (tmp_path / "node.toml").write_text(policy)
    done = prolog(on_machine(tmp_path / "bin/infra-doctor", machine), tmp_path)
    assert done.returncode == code, done
    assert words in done.stdout and done.stdout.count("\n") == 1


def test_a_fifo_in_the_policy_s_place_or_in_the_machine(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "node.toml")
    done = prolog(doctor(tmp_path / "bin/infra-doctor"), tmp_path)
    assert (done.returncode, "regular file" in done.stdout) == (0, True), done
    (tmp_path / "node.toml").unlink()
    tree = rooted_tree.build(tmp_path / "tree")
    for name in ("etc/os-release", "proc/driver/nvidia/version", f"{rooted_tree.SITE}/torch/version.py"):
        (tree / name).unlink()
        os.mkfifo(tree / name)
    done = prolog(doctor(tmp_path / "bin/infra-doctor", "--root", str(tree)), tmp_path)
    assert done.returncode == 0, done
    assert "infra-doctor: " in done.stdout


# -- HealthCheckProgram ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", [True, False])
def test_the_health_check_drains_with_the_reason(tmp_path: Path, broken: bool) -> None:
    text = block("slurm.md", "/etc/slurm/health.sh")
    assert "/etc/slurm/prolog.sh" in text
    assert text.startswith("#!/bin/sh\n"), "slurmd starts the file itself"
    script = tmp_path / "health.sh"
    script.write_text(text.replace("/etc/slurm/prolog.sh", str(PROLOG)))
    script.chmod(0o755)
    tool = program(tmp_path / "tool", f"printf '{BROKEN if broken else REPORT}\\n'; exit {int(broken)}")
    program(tmp_path / "bin/scontrol", f'printf "%s\\n" "$@" >{tmp_path}/asked')
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    settings = {"INFRA_DOCTOR": str(tool), "INFRA_DOCTOR_OFF": str(tmp_path / "off"), "SLURMD_NODENAME": "gpu07"}
    done = subprocess.run(
        [str(script)], env=environment(**settings, PATH=path), capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert done.returncode == 0, done
    asked = (tmp_path / "asked").read_text().splitlines() if (tmp_path / "asked").exists() else []
    wanted = ["update", "NodeName=gpu07", "State=DRAIN"]
    assert asked[:3] == (wanted if broken else [])
    assert not broken or asked[3].startswith("Reason=infra-doctor: this node is broken: The stack does not fit")
