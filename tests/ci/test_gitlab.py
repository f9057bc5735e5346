"""The GitLab template: its schema, and its script lines run by the shells that a runner uses.

How a runner runs them (one shell, which ends at the first line that fails; its exit code is the job's):
https://docs.gitlab.com/runner/shells/ and https://docs.gitlab.com/ci/yaml/script/"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.ci.lab import DOCS, documents, environment, on_machine, program, wheel

TEMPLATE = DOCS / "infra-doctor.gitlab-ci.yml"
JOB: dict[str, Any] = documents(TEMPLATE.read_text(encoding="utf-8"))[0]["infra-doctor"]
SHELLS = [["sh", "-e"], ["bash", "-eo", "pipefail"]]
REPORTS = {"codequality": "gl-code-quality-report.json", "junit": "TEST-infra-doctor.xml"}


def job(folder: Path, shell: list[str], lines: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    """The lines in one shell, with the job's own variables under those given."""
    return subprocess.run(
        [*shell, "-c", "\n".join(lines)], cwd=folder, env=environment(GITLAB_CI="true", CI="true", **{**JOB["variables"], **variables}),
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("shell", SHELLS, ids=["sh", "bash"])
def test_it_installs_beside_the_judged_environment_and_reports(
    tmp_path: Path, quick_python: Path, shell: list[str]
) -> None:
    judged = tmp_path / "judged env"
    subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", str(judged)], check=True)
    before = sorted(str(p) for p in judged.rglob("*"))
    work = tmp_path / "work"
    work.mkdir()
    lines = [*JOB["before_script"], *JOB["script"]]
    settings = {"INFRA_DOCTOR_REQUIREMENT": str(wheel(tmp_path)), "INFRA_DOCTOR_PYTHON": str(judged)}
    settings["PATH"] = f"{quick_python}:{os.environ['PATH']}"
    done = job(work, shell, lines, **settings)
    assert done.returncode == 0, done
    assert sorted(str(p) for p in judged.rglob("*")) == before
    report = json.loads((work / "infra-doctor.json").read_text())
    assert [t["prefix"] for t in report["targets"]] == [str(judged)]
    assert "No fault found" in done.stdout or "Nothing" in done.stdout


def test_reports_are_what_it_writes(tmp_path: Path) -> None:
    assert JOB["artifacts"]["reports"] == REPORTS
    assert JOB["artifacts"]["when"] == "always"
    on_machine(tmp_path / ".infra-doctor/bin/infra-doctor", "fabric-manager-missing")
    (tmp_path / "infra-doctor.toml").write_text("[require]\ngpu.count = 1000\n")
    done = job(tmp_path, SHELLS[0], JOB["script"])
    assert done.returncode == 1, done
    for name in JOB["artifacts"]["paths"]:
        assert (tmp_path / name).stat().st_size > 0
    quality = json.loads((tmp_path / REPORTS["codequality"]).read_text())
    places = {e["check_name"]: (e["location"]["path"], e["location"]["lines"]["begin"]) for e in quality}
    assert places["REQUIREMENT"] == ("infra-doctor.toml", 2) and "FABRIC" in places
    suites = ET.fromstring((tmp_path / REPORTS["junit"]).read_text())
    assert len(suites.findall(".//failure")) == 2


@pytest.mark.parametrize(
    ("machine", "policy", "code"),
    [
        ("healthy-h100-torch-cu130", "", 0),
        ("persist-off-server", "", 0),
        ("persist-off-server", "fail-on = 'warn'", 1),
        ("fabric-manager-missing", "", 1),
        ("nvml-hangs", "", 3),
        ("healthy-h100-torch-cu130", "gpus = 8", 2),
    ],
)
def test_the_job_s_exit_code_is_check_s(tmp_path: Path, machine: str, policy: str, code: int) -> None:
    on_machine(tmp_path / ".infra-doctor/bin/infra-doctor", machine)
    (tmp_path / "infra-doctor.toml").write_text(policy + "\n")
    for shell in SHELLS:
        done = job(tmp_path, shell, JOB["script"])
        assert done.returncode == code, done


@pytest.mark.parametrize(
    ("requirement", "code"),
    [("", 2), ("--help", 4), ("$(touch pwned)'; touch pwned; '", 4)],
)
def test_what_cannot_be_installed(tmp_path: Path, quick_python: Path, requirement: str, code: int) -> None:
    lines = [*JOB["before_script"], "touch went-on"]
    work = tmp_path / "work"
    work.mkdir()
    path = f"{quick_python}:{os.environ['PATH']}"
    done = job(work, SHELLS[len(requirement) % 2], lines, INFRA_DOCTOR_REQUIREMENT=requirement, PATH=path)
    assert done.returncode == code, done
    assert {p.name for p in work.iterdir()} <= {".infra-doctor"}


def test_hostile_environment_name(tmp_path: Path) -> None:
    program(tmp_path / ".infra-doctor/bin/infra-doctor", 'printf "%s\\n" "$@" >asked')
    for value in ("$(touch pwned)", "a b", "--lenient", "'; touch pwned; '", "*"):
        done = job(tmp_path, SHELLS[0], JOB["script"], INFRA_DOCTOR_PYTHON=value)
        assert done.returncode == 0, done
        assert (tmp_path / "asked").read_text().splitlines()[-2:] == ["--python", value]
    assert {p.name for p in tmp_path.iterdir()} == {".infra-doctor", "asked"}


def test_no_python_is_no_finding(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    os.symlink(str(shutil.which("sh")), folder / "sh")
    done = job(tmp_path, ["sh", "-e"], JOB["before_script"], INFRA_DOCTOR_REQUIREMENT="x", PATH=str(folder))
    assert done.returncode == 4, done
