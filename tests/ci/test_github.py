"""The GitHub action: its schema, and its steps' own shell run as a runner would run them.

How a runner runs a composite step (`bash --noprofile --norc -eo pipefail`, env, outputs):
https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#jobsjob_idstepsshell and
https://docs.github.com/en/actions/reference/workflows-and-actions/metadata-syntax. Which lines it takes for commands:
https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands (any line that begins, after blanks, with
`::name`, and any with `##[name]`)."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ci.lab import ROOT, block, blocks, doctor, documents, environment, on_machine, program, wheel
from tests.core.machine.pythons import install, make_venv, site_packages

ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
INSTALL, CHECK = ACTION["runs"]["steps"]
EXPRESSION = re.compile(r"\$\{\{\s*(\S+)\s*\}\}")
COMMAND = re.compile(r"^\s*::\s*([\w-]+)(?:\s[^:]*)?::|##\[([\w-]+)\]", re.MULTILINE)


@dataclass
class Runner:
    """A runner's work on one job: its folders and files."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("temp", "work"):
            (self.folder / name).mkdir()
        for name in ("output", "summary"):
            (self.folder / name).touch()

    def run(self, step: dict[str, Any], **inputs: str) -> subprocess.CompletedProcess[str]:
        """One step of the action with these inputs (by their names, `_` for `-`), the rest by default."""
        given = {n.replace("_", "-"): v for n, v in inputs.items()}
        assert set(given) <= set(ACTION["inputs"])
        values = {f"inputs.{n}": given.get(n, i["default"]) for n, i in ACTION["inputs"].items()}
        script = self.folder / "script.sh"
        script.write_text(step["run"], encoding="utf-8")
        env = {n: EXPRESSION.sub(lambda m: values[m[1]], v) for n, v in step["env"].items()}
        runner = {
            "CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(self.folder / "work"),
            "GITHUB_OUTPUT": str(self.folder / "output"), "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
            "GITHUB_ACTION_PATH": str(ROOT), "RUNNER_TEMP": str(self.folder / "temp"), "RUNNER_OS": "Linux",
        }  # fmt: skip
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)], cwd=self.folder / "work",
            env=environment(**{**runner, **self.variables, **env}), capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def outputs(self) -> dict[str, str]:
        """The outputs that the step has set, each on a line of its own."""
        lines = (self.folder / "output").read_text(encoding="utf-8").splitlines()
        found = dict(line.split("=", 1) for line in lines)
        assert len(found) == len(lines)
        return found


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    (tmp_path / "job").mkdir()
    return Runner(tmp_path / "job")


def with_doctor(runner: Runner, machine: str) -> Runner:
    """The runner after the first step: the real infra-doctor, on a described machine."""
    on_machine(runner.folder / "temp/infra-doctor/bin/infra-doctor", machine)
    program(runner.folder / "temp/infra-doctor/bin/python", f'exec {sys.executable} "$@"')
    return runner


def commands(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The commands that the runner would carry out: not those between stop-commands and its token."""
    found, token = [], ""
    for line in (done.stdout + done.stderr).splitlines():
        if token:
            token = "" if line.strip() == f"::{token}::" else token
        elif (match := COMMAND.search(line)) is not None:
            found.append(match[1] or match[2])
            if match[1] == "stop-commands":
                token = line.strip().removeprefix("::stop-commands::")
    assert not token, "commands stay stopped"
    return found


# -- the file ---------------------------------------------------------------------------------------------------------


def test_no_input_stands_in_a_script() -> None:
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step["run"]
        assert step["shell"] == "bash"
        assert all(EXPRESSION.fullmatch(value) for value in step["env"].values())


def test_every_input_and_output_is_used() -> None:
    used = {
        name for step in ACTION["runs"]["steps"] for value in step["env"].values() for name in EXPRESSION.findall(value)
    }
    assert used == {f"inputs.{name}" for name in ACTION["inputs"]}
    for name, output in ACTION["outputs"].items():
        assert output["value"] == f"${{{{ steps.check.outputs.{name} }}}}"
        assert f"{name}=" in CHECK["run"]


@pytest.mark.parametrize("name", [b.name for b in blocks("yaml", page="github.md")])
def test_examples_name_inputs_that_there_are(name: str) -> None:
    (workflow,) = documents(block("github.md", name))
    steps = [s for job in workflow["jobs"].values() for s in job["steps"]]
    used = [s for s in steps if "infra-doctor" in s.get("uses", "")]
    for step in used:
        assert set(step.get("with", {})) <= set(ACTION["inputs"])
    identified = {s["id"] for s in used if "id" in s}
    text = block("github.md", name)
    for step_id, output in re.findall(r"steps\.([\w-]+)\.outputs\.([\w-]+)", text):
        assert step_id in identified and output in ACTION["outputs"]
    for step in steps:
        if re.match(r"github/codeql-action/upload-sarif@|actions/upload-artifact@", step.get("uses", "")):
            assert str(step["if"]).startswith("always()"), "what failed is what one wants to see"


# -- installing -------------------------------------------------------------------------------------------------------


def test_it_installs_beside_the_judged_environment(runner: Runner, tmp_path: Path) -> None:
    judged = tmp_path / "judged"
    subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", str(judged)], check=True)
    before = sorted(str(p) for p in judged.rglob("*"))
    runner.variables = {
        "PATH": f"{judged}/bin:{os.environ['PATH']}", "VIRTUAL_ENV": str(judged), "PIP_TARGET": str(tmp_path / "t"),
        "PIP_USER": "1", "PYTHONPATH": str(tmp_path / "p"),
    }  # fmt: skip
    (tmp_path / "with a 'quote'").mkdir()
    requirement = str(wheel(tmp_path / "with a 'quote'"))
    for _ in range(2):  # the second time there is nothing to do
        done = runner.run(INSTALL, requirement=requirement)
        assert done.returncode == 0, done
    assert sorted(str(p) for p in judged.rglob("*")) == before
    done = runner.run(CHECK)
    assert done.returncode == 0, done
    report = json.loads(Path(runner.outputs()["report"]).read_text())
    assert [t["prefix"] for t in report["targets"]] == [str(judged)]
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"doctor_python": "/nowhere/python"}, "needs Python 3.11"),
        ({"doctor_python": "/bin/false"}, "needs Python 3.11"),
        ({"doctor_python": "$(touch pwned); python3"}, "needs Python 3.11"),
        ({"requirement": "/nowhere/checkout"}, "pip could not install it"),
        ({"requirement": "--index-url=https://x.example"}, "pip could not install it"),
        ({"requirement": "x\n::add-mask::y\n`touch pwned`$(touch pwned)"}, "pip could not install it"),
    ],
)
def test_what_cannot_be_installed_is_no_finding(
    runner: Runner, quick_python: Path, inputs: dict[str, str], words: str
) -> None:
    runner.variables["PATH"] = f"{quick_python}:{os.environ['PATH']}"
    done = runner.run(INSTALL, **inputs)
    assert done.returncode == 4, done
    assert words in done.stdout
    assert commands(done) in (["error"], ["stop-commands", "error"])
    assert not list(runner.folder.rglob("pwned"))


# -- judging ----------------------------------------------------------------------------------------------------------

HEALTHY, WARNING, BROKEN, BLIND = (
    "healthy-h100-torch-cu130",
    "persist-off-server",
    "fabric-manager-missing",
    "nvml-hangs",
)


@pytest.mark.parametrize(
    ("machine", "inputs", "code", "verdict"),
    [
        (HEALTHY, {}, 0, "pass"),
        (WARNING, {}, 0, "warn"),
        (WARNING, {"fail_on": "warn"}, 1, "warn"),
        (BROKEN, {}, 1, "fail"),
        (BROKEN, {"fail_on": "never"}, 0, "fail"),
        (BLIND, {}, 3, "error"),
        (BLIND, {"lenient": "true"}, 0, "error"),
        (HEALTHY, {"require": "gpu.count=1\n\n  gpu.model=H100  \r\n"}, 0, "pass"),
        (HEALTHY, {"require": "gpu.count=8"}, 1, "fail"),
        (HEALTHY, {"preset": "minimal", "timeout": "60"}, 0, "pass"),
        (HEALTHY, {"formats": "html=page.html\nmarkdown=page.md\n", "working_directory": "sub folder"}, 0, "pass"),
    ],
)  # fmt: skip
def test_the_verdict_is_check_s(runner: Runner, machine: str, inputs: dict[str, str], code: int, verdict: str) -> None:
    (runner.folder / "work/sub folder").mkdir()
    done = with_doctor(runner, machine).run(CHECK, **inputs)
    assert done.returncode == code, done
    found = runner.outputs()
    assert (found["exit-code"], found["verdict"]) == (str(code), verdict)
    assert json.loads(Path(found["report"]).read_text())["kind"] == "report"
    assert json.loads(Path(found["sarif"]).read_text())["version"] == "2.1.0"
    assert Path(found["report"]).is_relative_to(runner.folder / "temp")
    assert (runner.folder / "summary").read_text(), "the job's summary"
    assert {"error", "warning"} & set(commands(done)) or code in {0, 3}
    written = {p.name for p in (runner.folder / "work/sub folder").iterdir()}
    assert written == ({"page.html", "page.md"} if "formats" in inputs else set())


def test_a_policy_and_a_baseline(runner: Runner, tmp_path: Path) -> None:
    with_doctor(runner, BROKEN)
    before = runner.run(CHECK)
    assert before.returncode == 1, before
    report = runner.outputs()["report"]
    (runner.folder / "output").write_text("")
    again = runner.run(CHECK, baseline=report)
    assert (again.returncode, runner.outputs()["verdict"] == "fail") == (0, False), again
    (runner.folder / "work/infra-doctor.toml").write_text("[require]\ngpu.count = 1000\n")
    (runner.folder / "output").write_text("")
    found = runner.run(CHECK, baseline=report)
    assert (found.returncode, runner.outputs()["verdict"]) == (1, "fail"), "the policy of the working folder"
    (tmp_path / "other.toml").write_text("fail-on = 'never'\n")
    (runner.folder / "output").write_text("")
    assert runner.run(CHECK, policy=str(tmp_path / "other.toml")).returncode == 0


HOSTILE = (
    "$(touch pwned)`touch pwned`'; touch pwned; '\"; touch pwned; \"$PATH!!&|a b",
    "x\n::error::y\r::add-mask::y\n##[error]y\n\u202e::error::y\n%0A::add-mask::y\\n::set-output name=x::y",
    "--html=pwned", "-", "*",
)  # fmt: skip


@pytest.mark.parametrize(
    "name", [n.replace("-", "_") for n in ACTION["inputs"] if n not in {"requirement", "doctor-python"}]
)
def test_hostile_inputs_stay_text(runner: Runner, name: str) -> None:
    """Whatever is said, nothing of it is run, no command comes of it, and the exit code is one of the contract's."""
    with_doctor(runner, HEALTHY)
    for value in HOSTILE:
        (runner.folder / "output").write_text("")
        (runner.folder / "summary").write_text("")
        done = runner.run(CHECK, **{name: value})
        assert done.returncode in {0, 1, 2}, (value, done)
        assert set(commands(done)) <= {"error", "warning", "notice", "stop-commands"}, (value, done)
        assert commands(done).count("error") <= 2, (value, done)
        assert not list(runner.folder.rglob("pwned")), value
        assert set(runner.outputs()) <= set(ACTION["outputs"])
        assert runner.outputs()["exit-code"] == str(done.returncode)
        assert not {"add-mask", "set-output"} & set(commands(done)), value


def test_a_policy_s_own_text_makes_no_command(runner: Runner) -> None:
    """The policy may come with a pull request of somebody else."""
    (runner.folder / "work/infra-doctor.toml").write_text('[require]\n"package.x\\n::add-mask::y\\n" = 3\n')
    done = with_doctor(runner, HEALTHY).run(CHECK)
    assert done.returncode == 2, done
    assert commands(done) == ["stop-commands", "error"]


def test_a_machine_s_own_text_makes_no_command(runner: Runner, tmp_path: Path) -> None:
    """Names, versions and paths of the judged environment, which a job's own steps make."""
    program(runner.folder / "temp/infra-doctor/bin/python", f'exec {sys.executable} "$@"')
    doctor(runner.folder / "temp/infra-doctor/bin/infra-doctor")
    evil = "::add-mask::y %0A::add-mask::y ##[add-mask]y \x1b[31m\u2028::add-mask::y"
    folder = tmp_path / "env\n::add-mask::y\r::add-mask::y"
    make_venv(sys.executable, tmp_path / "env")
    (tmp_path / "env").rename(folder)  # venv makes none where PATH could not say it
    for name in ("torch", "pynvml", "nvidia_cudnn_cu13"):
        info = install(
            site_packages(folder), name, "1.0", {f"{name}/version.py": f"__version__ = '1 {evil}'\n".encode()}
        )
        (info / "METADATA").write_text(f"Name: {name}\nVersion: 1.0 {evil}\nRequires-Dist: numpy=={evil}\n")
    done = runner.run(CHECK, python=str(folder), require=f"package.torch=={evil[:9]}\npackage.pynvml=false")
    assert done.returncode in {1, 2}, done
    done = runner.run(CHECK, python=str(folder), require="package.torch>=99\npackage.pynvml=false")
    assert done.returncode == 1, done
    assert set(commands(done)) <= {"error", "warning", "notice", "stop-commands"}, done
    assert "add-mask" in done.stdout and "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("does", "code"),
    [("exit 1", 4), ("exit 0", 4), ("exit 2", 2), ("exit 4", 4), ("kill -KILL $$", 137), ("kill -TERM $$", 143)],
)
def test_without_a_report_there_are_no_findings(runner: Runner, does: str, code: int) -> None:
    with_doctor(runner, HEALTHY)
    program(runner.folder / "temp/infra-doctor/bin/infra-doctor", f"echo '::error::of its own' >&2; {does}")
    done = runner.run(CHECK)
    assert done.returncode == code, done
    assert runner.outputs() == {"exit-code": str(code), "verdict": "none"}
    assert commands(done) == ["stop-commands", "error"]


def test_formats_need_a_place(runner: Runner) -> None:
    """Standard output is for the annotations: a second document there would be read by the runner line by line."""
    for value in ("text", "json", "auto", "text=", "=x"):
        done = with_doctor(runner, HEALTHY).run(CHECK, formats=value)
        assert done.returncode == 2, done
        assert "NAME=PATH" in done.stdout
