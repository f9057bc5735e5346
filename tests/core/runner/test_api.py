"""The Python API: `infra_doctor.check` with a policy, requirements and a baseline, and its errors, each of its own type."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import infra_doctor
from infra_doctor.codec import encode
from infra_doctor.model.finding import Finding, Status
from infra_doctor.runner import api
from infra_doctor.runner.run import Run, RunOptions

SNAPSHOTS = Path(__file__).parents[2] / "machines"
TWO_GPUS = SNAPSHOTS / "h200x2-torch211" / "snapshot.json.gz"
BROKEN = SNAPSHOTS / "h200-ort-gpu-cudnn-hidden" / "snapshot.json.gz"


def required(report: infra_doctor.Report) -> dict[str, Status]:
    """The statuses of the requirements, by key."""
    return {f.subject[0].removeprefix("policy:"): f.status for f in report.findings if f.id == "REQUIREMENT"}


def failing(report: infra_doctor.Report) -> set[str]:
    return {f.id for f in report.findings if f.status is Status.FAIL and f.waived is None}


def test_without_a_policy_nothing_is_required_whatever_lies_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "infra-doctor.toml").write_text("[require]\ngpu.count = 8\n")
    monkeypatch.chdir(tmp_path)
    report = infra_doctor.check(replay=TWO_GPUS)
    assert report.policy is None and required(report) == {}
    assert len([c for c in report.components if c.kind == "gpu"]) == 2


def test_requirements_are_findings() -> None:
    report = infra_doctor.check(replay=str(TWO_GPUS), require=["gpu.count=2", "driver>=9999", "package.no-such-wheel"])
    assert required(report) == {"gpu.count": Status.PASS, "driver": Status.FAIL, "package.no-such-wheel": Status.FAIL}
    assert report.policy is not None and report.policy["require"]["gpu.count"] == "2"


def test_a_policy_file_holds_and_requirements_replace_what_it_says_of_the_same_key(tmp_path: Path) -> None:
    policy = tmp_path / "infra-doctor.toml"
    policy.write_text("[require]\ngpu.count = 8\ndriver = '>=500'\n")
    assert required(infra_doctor.check(replay=TWO_GPUS, policy=policy)) == {
        "gpu.count": Status.FAIL, "driver": Status.PASS,
    }  # fmt: skip
    both = infra_doctor.check(replay=TWO_GPUS, policy=str(policy), require=("gpu.count>=2",))
    assert required(both) == {"gpu.count": Status.PASS, "driver": Status.PASS}
    project = tmp_path / "pyproject.toml"
    project.write_text("[tool.infra-doctor]\nskip = ['CUDNN-MISSING']\n")
    assert "CUDNN-MISSING" in failing(infra_doctor.check(replay=BROKEN))
    assert "CUDNN-MISSING" not in {f.id for f in infra_doctor.check(replay=BROKEN, policy=project).findings}


@pytest.mark.parametrize("how", ["report", "path of a report", "path of a snapshot"])
def test_what_a_baseline_has_already_does_not_count(how: str, tmp_path: Path) -> None:
    before: Any = BROKEN
    if how != "path of a snapshot":
        before = infra_doctor.check(replay=BROKEN)
        assert failing(before)
    if how == "path of a report":
        (tmp_path / "before.json").write_text(encode(before))
        before = tmp_path / "before.json"
    now = infra_doctor.check(replay=BROKEN, baseline=before)
    assert failing(now) == set()
    assert {f.status for f in now.findings if f.id == "BASELINE"} == {Status.PASS}
    assert now.policy is not None and now.policy["baseline"]["source"] == (
        "the report given" if how == "report" else str(before)
    )


def test_what_got_worse_since_the_baseline_counts() -> None:
    before = infra_doctor.check(replay=BROKEN)
    clean = replace(before, findings=tuple(f for f in before.findings if f.id != "CUDNN-MISSING"))
    assert failing(infra_doctor.check(replay=BROKEN, baseline=clean)) == {"CUDNN-MISSING"}


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        ({"require": ["gpu.cuont=2"]}, infra_doctor.UsageError, "no such key: gpu.cuont"),
        ({"require": ["driver>=new"]}, infra_doctor.UsageError, "a range of versions"),
        ({"require": "gpu.count=2"}, infra_doctor.UsageError, r"require='gpu.count=2': a list of texts"),
        ({"require": ["gpu.count=2", "gpu.count=3"]}, infra_doctor.UsageError, "gpu.count"),
        ({"root": "/", "replay": "x.json"}, infra_doctor.UsageError, "exclude each other"),
        ({"timeout_s": 0}, infra_doctor.UsageError, "timeout_s=0: a number of seconds above 0"),
        ({"timeout_s": float("nan")}, infra_doctor.UsageError, "timeout_s=nan"),
        ({"policy": "nowhere.toml"}, infra_doctor.InputError, "nowhere.toml: "),
        ({"policy": "wrong.toml"}, infra_doctor.InputError, "^wrong.toml:2: .*gpu.cuont"),
        ({"baseline": "nowhere.json"}, infra_doctor.InputError, "nowhere.json: No such file"),
        ({"baseline": "wrong.toml"}, infra_doctor.InputError, "wrong.toml: not a JSON document"),
        ({"replay": "nowhere.json"}, infra_doctor.InputError, "nowhere.json: No such file"),
        ({"python": "/no/such/python", "replay": None}, infra_doctor.TargetError, "/no/such/python"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_by_an_error_of_its_type_with_a_way_out(
    arguments: dict[str, Any], kind: type[infra_doctor.InfraDoctorError], said: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "wrong.toml").write_text("[require]\ngpu.cuont = 2\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=said) as error:
        infra_doctor.check(**{"replay": TWO_GPUS, **arguments})
    assert isinstance(error.value, infra_doctor.InfraDoctorError)
    assert isinstance(error.value.help, str)


def test_the_bound_is_the_callers_else_the_policys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[RunOptions] = []
    empty = infra_doctor.check(replay=TWO_GPUS)

    def remember(run: Run) -> infra_doctor.Report:
        asked.append(run.options)
        return empty

    monkeypatch.setattr(Run, "execute", remember)
    policy = tmp_path / "infra-doctor.toml"
    policy.write_text("timeout = 7\n")
    infra_doctor.check(replay=TWO_GPUS, policy=policy)
    infra_doctor.check(replay=TWO_GPUS, policy=policy, timeout_s=3)
    infra_doctor.check(replay=TWO_GPUS)
    assert [o.timeout_s for o in asked] == [7.0, 3, None]
    assert [o.replay for o in asked] == [str(TWO_GPUS)] * 3


def test_a_saved_report_is_read_again(tmp_path: Path) -> None:
    report = infra_doctor.check(replay=TWO_GPUS, require=["gpu.count=2"])
    path = tmp_path / "report.json"
    path.write_text(encode(report))
    again = infra_doctor.load_report(str(path))
    assert again.findings == report.findings and all(isinstance(f, Finding) for f in again.findings)


def test_every_name_comes_when_it_is_asked_for_and_not_before() -> None:
    script = (
        "import sys, infra_doctor; before = [m for m in sys.modules if m.startswith('infra_doctor.')]; "
        "import json; print(json.dumps([before, [getattr(infra_doctor, n).__module__ for n in infra_doctor.__all__ "
        "if n != '__version__']]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    before, homes = json.loads(done.stdout)
    assert before == []
    assert set(homes) == {
        "infra_doctor.errors",
        "infra_doctor.model.report",
        "infra_doctor.runner.api",
        "infra_doctor.codec",
    }
    assert infra_doctor.check is api.check
    with pytest.raises(AttributeError, match="no attribute 'chekc'"):
        infra_doctor.chekc  # noqa: B018
