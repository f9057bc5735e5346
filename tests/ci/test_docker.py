"""The Dockerfile: its gate run on environments with and without the right packages, its health check and entry point on
machines that are fine, warn, fail, or say nothing.

What Docker makes of a health check: https://docs.docker.com/reference/dockerfile/#healthcheck"""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser

from tests.ci.lab import DOCS, block, blocks, doctor, environment, on_machine, program
from tests.core.machine.pythons import install, make_venv, site_packages

PARSED = DockerfileParser(path=str(DOCS / "Dockerfile"))
LINES = [(i["instruction"], i["value"]) for i in PARSED.structure if i["instruction"] != "COMMENT"]
OWN, JUDGED = "/opt/infra-doctor/bin/infra-doctor", "/opt/venv"
GATE = next(v for i, v in LINES if i == "RUN" and "infra-doctor check" in v)
HEALTH = next(v for i, v in LINES if i == "HEALTHCHECK")
ENTRY = json.loads([v for i, v in LINES if i == "ENTRYPOINT"][-1])


def stage_lines(name: str) -> list[tuple[str, str]]:
    """The instructions of a stage."""
    start = next(n for n, (i, v) in enumerate(LINES) if i == "FROM" and v.endswith(f" AS {name}"))
    rest = LINES[start + 1 :]
    end = next((n for n, (i, _) in enumerate(rest) if i == "FROM"), len(rest))
    return rest[:end]


def shell(text: str, folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """What Docker's shell form runs, with the image's folders put where the test has them."""
    text = text.replace(OWN, f"{folder}/infra-doctor").replace(JUDGED, f"{folder}/venv")
    return subprocess.run(
        ["/bin/sh", "-c", text, *arguments], cwd=folder, env=environment(**more), capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def test_stages() -> None:
    bases = [v.split()[0] for i, v in LINES if i == "FROM"]
    assert bases[0] == bases[1], "the copied environment needs the Python that it was made with"
    (copied,) = [v for i, v in stage_lines("app") if i == "COPY"]
    assert copied == "--from=doctor /opt/infra-doctor /opt/infra-doctor"
    image = dict(stage_lines("doctor"))
    assert json.loads(image["ENTRYPOINT"]) == [OWN] and json.loads(image["CMD"]) == ["check"]
    assert int(image["USER"].split(":")[0]) > 0, "as the Kubernetes manifests run it"
    commands = [b.text for b in blocks("sh", page="docker.md")]
    assert all(t in commands[0] for t in ("--build-context infra-doctor=", "--target doctor", "-t app ."))


# -- RUN --------------------------------------------------------------------------------------------------------------

ORT = {
    "onnxruntime/__init__.py": b"", "onnxruntime/capi/build_and_package_info.py":
    b"package_name = 'onnxruntime-gpu'\n__version__ = '1.22.0'\ncuda_version = '12.6'\n",
}  # fmt: skip
GOOD = {"onnxruntime_gpu": "1.22.0", "numpy": "2.3.0"}


@pytest.mark.parametrize(
    ("packages", "code", "words"),
    [
        (GOOD, 0, "No fault found"),
        ({**GOOD, "onnxruntime_gpu": "1.19.2"}, 1, "package.onnxruntime-gpu >=1.20, <2 is required"),
        ({**GOOD, "numpy": "1.26.4"}, 1, "package.numpy >=2 is required"),
        ({"numpy": "2.3.0"}, 1, "package.onnxruntime-gpu >=1.20, <2 is required"),
        ({**GOOD, "onnxruntime": "1.22.0"}, 1, "no package.onnxruntime is required"),
    ],
)
def test_the_gate_ends_a_build(tmp_path: Path, packages: dict[str, str], code: int, words: str) -> None:
    doctor(tmp_path / "infra-doctor")
    make_venv(sys.executable, tmp_path / "venv")
    site = site_packages(tmp_path / "venv")
    for name, version in packages.items():
        install(site, name, version, ORT if name == "onnxruntime_gpu" else {f"{name}.py": b""})
    before = sorted(str(p) for p in (tmp_path / "venv").rglob("*"))
    (tmp_path / "infra-doctor.toml").write_text("nonsense")  # what lies in the build's folder is not its policy
    done = shell(GATE, tmp_path)
    assert done.returncode == code, done
    assert words in " ".join(done.stdout.split())
    assert sorted(str(p) for p in (tmp_path / "venv").rglob("*")) == before


def test_the_gate_without_its_environment(tmp_path: Path) -> None:
    done = shell(GATE, tmp_path)
    assert done.returncode == 127
    doctor(tmp_path / "infra-doctor")
    done = shell(GATE, tmp_path)
    assert (done.returncode, done.stdout) == (2, ""), done


# -- HEALTHCHECK ------------------------------------------------------------------------------------------------------


def test_the_health_check_is_bounded_before_docker_s_own_bound() -> None:
    options, _, command = HEALTH.partition("CMD")
    outer = int(re.findall(r"--timeout=(\d+)s", options)[0])
    middle, inner = re.findall(r"timeout (\d+)", command)
    assert int(inner) < int(middle) < outer
    assert "infra-doctor" in command and "--lenient" in command


def health(tmp_path: Path) -> subprocess.CompletedProcess[str]:
    (tmp_path / "venv").mkdir()
    return shell(HEALTH.partition("CMD")[2], tmp_path)


@pytest.mark.parametrize(
    ("does", "code"),
    [
        ("echo '+ PASS  No fault found.'", 0),
        ("echo '! WARN  No fault found; 1 warning.'", 0),
        ("echo 'x FAIL  1 fault.'; exit 1", 1),
        ("echo 'infra-doctor: usage' >&2; exit 2", 0),
        ("echo 'ModuleNotFoundError' >&2; exit 1", 0),
        ("exit 3", 0), ("exit 4", 0), ("kill -KILL $$", 0), ("exit 124", 0),
    ],
)  # fmt: skip
def test_only_a_failure_is_unhealthy(tmp_path: Path, does: str, code: int) -> None:
    program(tmp_path / "infra-doctor", does)
    done = health(tmp_path)
    assert done.returncode == code, done
    assert done.stdout.startswith("x FAIL") == bool(code), "what `docker inspect` shows"


def test_without_the_program_nothing_is_unhealthy(tmp_path: Path) -> None:
    assert health(tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("machine", "code"),
    [("healthy-ngc-container", 0), ("container-lost-its-gpu", 1), ("nvml-hangs", 0), ("persist-off-server", 0)],
)
def test_the_health_check_with_the_real_program(tmp_path: Path, machine: str, code: int) -> None:
    on_machine(tmp_path / "infra-doctor", machine)
    done = health(tmp_path)
    assert done.returncode == code, done


# -- ENTRYPOINT -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("does", "code"), [("exit 0", 7), ("exit 1", 1), ("exit 2", 7), ("exit 3", 7), ("exit 4", 7), ("kill -KILL $$", 7)]
)
def test_the_program_starts_unless_something_fails(tmp_path: Path, does: str, code: int) -> None:
    assert ENTRY[:2] == ["/bin/sh", "-c"]
    program(tmp_path / "infra-doctor", f"echo 'the report'; {does}")
    command = ["sh", "-c", 'printf "%s" "$1"; exit 7', "sh", "it's  $(here)"]
    done = shell(ENTRY[2], tmp_path, ENTRY[3], *command)
    assert (done.returncode, done.stdout) == (code, "it's  $(here)" if code == 7 else ""), done
    assert done.stderr.startswith("the report"), "standard output is the program's"


def test_the_page_names_what_the_file_has() -> None:
    text = (DOCS / "docker.md").read_text()
    for part in re.findall(r"`(package\.[^`]+)`", text):
        assert part in shlex.split(GATE), part
    assert block("slurm.md", "/etc/infra-doctor/node.toml").startswith("# ")
