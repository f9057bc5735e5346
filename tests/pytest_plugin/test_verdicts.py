"""From a report to met, missing or unknown, and the line that a test is told."""

from dataclasses import replace

import pytest

from infra_doctor.model.finding import Command, Diagnosis, Finding, Remediation, Status
from infra_doctor.model.report import Report
from infra_doctor.pytest_plugin.asking import Answer
from infra_doctor.pytest_plugin.marks import Need
from infra_doctor.pytest_plugin.verdicts import MET, NoAnswerError, Outcome, Verdict, told, verdict
from tests.pytest_plugin.conftest import answer, requirement
from tests.support.sample_report import HOSTILE

GPUS = Need(written="gpu-count>=2", requirement="gpu.count>=2", key="gpu.count")
CUDNN = Need(written="CUDNN-MISSING", finding="CUDNN-MISSING")
POLICY = Need(written="ci/gpu.toml", policy="/repo/ci/gpu.toml", fail_on="fail")


def finding(status: Status, title: str = "t", name: str = "CUDNN-MISSING", **more: object) -> Finding:
    return Finding(id=name, status=status, title=title, fingerprint=f"{name} {title}", **more)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (Status.PASS, Outcome.MET),
        (Status.FAIL, Outcome.MISSING),
        (Status.ERROR, Outcome.UNKNOWN),
        (Status.UNKNOWN, Outcome.UNKNOWN),
    ],
)
def test_a_requirement_is_met_only_where_it_was_seen_to_be(status: Status, outcome: Outcome) -> None:
    others = (requirement("driver", Status.FAIL), finding(Status.FAIL))
    found = verdict(GPUS, answer(*others, requirement("gpu.count", status, "two are required")))
    assert found == Verdict(outcome=outcome, text="" if outcome is Outcome.MET else "two are required")


@pytest.mark.parametrize(
    ("statuses", "outcome"),
    [
        ((), Outcome.MET),
        ((Status.PASS, Status.SKIP), Outcome.MET),
        ((Status.WARN, Status.PASS), Outcome.MET),
        ((Status.FAIL, Status.ERROR), Outcome.MISSING),
        ((Status.ERROR, Status.PASS), Outcome.UNKNOWN),
        ((Status.UNKNOWN, Status.PASS), Outcome.UNKNOWN),
    ],
)
def test_a_finding_must_neither_fail_nor_stay_open(statuses: tuple[Status, ...], outcome: Outcome) -> None:
    assert verdict(CUDNN, answer(*map(finding, statuses))).outcome is outcome


def test_a_check_that_failed_says_nothing_of_its_finding() -> None:
    failed = finding(Status.ERROR, "check CUDNN-MISSING failed", "PLUGIN-FAILED", subject=("check:CUDNN-MISSING",))
    assert verdict(CUDNN, answer(failed)) == Verdict(
        outcome=Outcome.UNKNOWN, text="PLUGIN-FAILED: check CUDNN-MISSING failed"
    )
    other = replace(failed, subject=("check:DRV-OLD",))
    assert verdict(CUDNN, answer(other)) == MET


def test_what_was_not_judged_is_a_fault_and_never_met() -> None:
    with pytest.raises(NoAnswerError, match=r"gpu\.count was not judged"):
        verdict(GPUS, answer(requirement("driver", Status.PASS)))
    failed = finding(
        Status.ERROR, "policy gpu.count failed", "PLUGIN-FAILED", subject=("policy:gpu.count",), detail="x"
    )
    with pytest.raises(NoAnswerError, match=r"policy gpu\.count failed: x"):
        verdict(GPUS, answer(failed))
    with pytest.raises(NoAnswerError, match="no such option"):
        verdict(GPUS, Answer(code=2, fault="no such option"))
    with pytest.raises(NoAnswerError, match="there is no report"):
        verdict(CUDNN, Answer())


@pytest.mark.parametrize("need", [GPUS, CUDNN, POLICY], ids=["key", "finding", "policy"])
def test_a_machine_that_gives_no_answer_is_unknown(need: Need) -> None:
    found = verdict(need, Answer(hung="no answer within 5 s"))
    assert found.outcome is Outcome.UNKNOWN
    assert found.text == f"{need.written}: could not be looked at: no answer within 5 s"


def test_a_policy_is_what_its_check_ends_with() -> None:
    worst = finding(Status.FAIL, "no cuDNN")
    unseen = finding(Status.ERROR, "NVML hangs", "PROBE-FAILED", subject=("gpu:0",))
    assert verdict(POLICY, answer(worst, code=0)) == MET  # waived, or `fail-on = "never"`
    warned = answer(worst, finding(Status.WARN, "w", "SHM"), code=1)
    assert verdict(POLICY, warned) == Verdict(outcome=Outcome.MISSING, text="gpu.toml: CUDNN-MISSING: no cuDNN")
    assert verdict(replace(POLICY, fail_on="warn"), warned).text == "gpu.toml: CUDNN-MISSING: no cuDNN; and 1 more"
    assert verdict(POLICY, answer(unseen, finding(Status.WARN, "w", "SHM"), code=3)) == Verdict(
        outcome=Outcome.UNKNOWN, text="gpu.toml: PROBE-FAILED: NVML hangs"
    )
    assert verdict(POLICY, answer(code=1)).text == "gpu.toml: not met"


def of(*findings: Finding, root: Finding | None = None) -> Report:
    report = answer(*findings).report
    assert report is not None
    if root is not None:
        text = f"{root.id} explains it"
        report = replace(report, diagnoses=(Diagnosis(root=root.fingerprint, follows=("gpu.count",), text=text),))
    return report


def test_the_line_says_what_why_and_how_to_repair_the_root() -> None:
    again = Command(argv=("pip", "install", "--force-reinstall", "x"))
    root = finding(
        Status.WARN, "x is installed, and not there", "PY-CLOBBER-NV",
        remediation=Remediation(text="Install it again.", commands=(again,)),
    )  # fmt: skip
    lacks = replace(
        requirement("gpu.count", Status.FAIL, "two are required"), detail="none answers.",
        remediation=Remediation(text="Bring gpu.count to what is required."),
    )  # fmt: skip
    assert told(lacks, of(lacks, root, root=root)) == (
        "two are required: none answers; because of PY-CLOBBER-NV: x is installed, and not there. "
        "Fix: Install it again: pip install --force-reinstall x"
    )
    # Its own remedy says no more than what is required, and is left out; that of a finding is not.
    assert told(lacks, of(lacks)) == "two are required: none answers"
    assert told(root, of(root)).endswith("not there. Fix: Install it again: pip install --force-reinstall x")
    two = replace(root, remediation=Remediation(text="Do both.", commands=(again, again)))
    assert told(two, of(two)).endswith("Fix: Do both")


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_machine_writes_stays_on_one_line_without_control_characters(text: str) -> None:
    hostile = finding(
        Status.FAIL, text, detail=text + "\n::error::x\r\n" + text * 200,
        remediation=Remediation(text=text, commands=(Command(argv=("ls", text)),)),
    )  # fmt: skip
    said = told(hostile, of(hostile))
    assert said.isprintable(), said
    assert len(said) < 2000
