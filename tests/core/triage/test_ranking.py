"""The first cause wins over what follows from it; a shared symptom never outranks a stronger match."""

from collections.abc import Sequence

import pytest

from infra_doctor.machine.types import Capability
from infra_doctor.model.finding import Finding, Severity, Status
from infra_doctor.model.plugins import Check
from infra_doctor.model.report import MachineInfo, Report, Tool
from infra_doctor.model.triage import MachineCheck
from infra_doctor.runner.judging import diagnose
from infra_doctor.triage.judging import verdicts
from tests.core.triage.lab import check, named, triage_of

ROOT = check("ROOT", "the driver is gone", strength=2)
MIDDLE = check("MIDDLE", "the runtime is lost", explained_by=("ROOT",))
LEAF = check("LEAF", "the model falls back", explained_by=("MIDDLE",), strength=3)
WEAK = check("WEAK", "something failed", strength=1)
OTHER = check("OTHER", "the disk is full", strength=2)
NAMES_ITSELF = check("NAMES", "cause: the fan stopped", strength=3)
ALL = (ROOT, MIDDLE, LEAF, WEAK, OTHER, NAMES_ITSELF)

EVERYTHING = tuple(map(str, Capability))


def report(*findings: Finding, capabilities: tuple[str, ...] = EVERYTHING, checks: Sequence[Check] = ALL) -> Report:
    numbered = tuple(
        Finding(id=f.id, fingerprint=f"{n:016x}", status=f.status, title=f.title, severity=Severity.LOW)
        for n, f in enumerate(findings)
    )
    return Report(
        tool=Tool(version="0"),
        created="2026-11-20T10:00:00Z",
        machine=MachineInfo(name="m", form="live", capabilities=capabilities),
        findings=numbered,
        diagnoses=diagnose(numbered, checks),
    )


def finding(name: str, status: str, title: str = "seen") -> Finding:
    return Finding(id=name, status=Status(status), title=title)


def test_what_follows_stands_under_its_root_even_where_it_is_said_first() -> None:
    triage = triage_of("the model falls back\nx\nthe runtime is lost\nthe driver is gone\n", checks=ALL)
    assert named(triage) == ["ROOT"]
    assert [f.finding for f in triage.causes[0].follows] == ["LEAF", "MIDDLE"]
    assert triage.causes[0].matched.line == 4


def test_over_a_step_that_the_log_does_not_name() -> None:
    triage = triage_of("the model falls back\nthe driver is gone\n", checks=ALL)
    assert named(triage) == ["ROOT"] and triage.causes[0].follows[0].finding == "LEAF"


def test_of_independent_causes_the_first_comes_first() -> None:
    assert named(triage_of("the disk is full\nthe driver is gone\n", checks=ALL)) == ["OTHER", "ROOT"]
    assert named(triage_of("the driver is gone\nthe disk is full\n", checks=ALL)) == ["ROOT", "OTHER"]


def test_what_names_the_cause_itself_comes_before_what_is_typical() -> None:
    assert named(triage_of("the disk is full\ncause: the fan stopped\n", checks=ALL)) == ["NAMES", "OTHER"]


def test_a_shared_symptom_comes_last_wherever_it_stands() -> None:
    text = "something failed\nthe disk is full\nsomething failed\n"
    assert named(triage_of(text, checks=ALL)) == ["OTHER", "WEAK"]


def test_a_weak_symptom_is_no_root_of_what_is_stronger() -> None:
    checks = [check("A", "weak words", strength=1), check("B", "strong words", explained_by=("A",))]
    assert named(triage_of("weak words\nstrong words\n", checks=checks)) == ["B", "A"]


def test_causes_that_name_each_other_do_not_go_round() -> None:
    checks = [check("A", "one words", explained_by=("B",)), check("B", "two words", explained_by=("A",))]
    triage = triage_of("two words\none words\n", checks=checks)
    assert named(triage) == ["B"] and triage.causes[0].follows[0].finding == "A"


def test_the_strongest_match_of_an_id_is_shown() -> None:
    both = Check(
        **{
            **{f: getattr(WEAK, f) for f in WEAK.__dataclass_fields__},
            "log_signatures": WEAK.log_signatures + LEAF.log_signatures,
        }
    )
    triage = triage_of("something failed\nthe model falls back\n", checks=[both])
    assert (triage.causes[0].matched.line, str(triage.causes[0].confidence)) == (2, "observed")


def test_logs_of_several_ranks_are_ordered_by_their_times() -> None:
    late, early = "2026-11-20 10:00:09 the disk is full\n", "2026-11-20 10:00:01 the driver is gone\n"
    triage = triage_of(late, early, checks=ALL)
    assert named(triage) == ["ROOT", "OTHER"]
    assert (triage.causes[0].matched.file, triage.causes[0].matched.rank) == ("rank1.log", "1")


@pytest.mark.parametrize(
    ("statuses", "capabilities", "verdict"),
    [
        (["fail"], EVERYTHING, "confirmed"),
        (["warn", "pass"], EVERYTHING, "confirmed"),
        (["pass"], EVERYTHING, "ruled_out"),
        (["pass"], ("files",), "ruled_out"),
        (["skip"], EVERYTHING, "ruled_out"),
        (["skip"], ("files",), "unknown"),
        (["pass", "skip"], ("files",), "ruled_out"),
        (["unknown"], EVERYTHING, "unknown"),
        (["pass", "unknown"], EVERYTHING, "unknown"),
        (["error"], EVERYTHING, "unknown"),
    ],
)
def test_what_a_machine_says(statuses: list[str], capabilities: tuple[str, ...], verdict: str) -> None:
    judged = report(*(finding("ROOT", s) for s in statuses), capabilities=capabilities)
    assert verdicts(judged) == {"ROOT": MachineCheck(verdict)}


def test_an_id_that_the_report_does_not_know_is_unknown() -> None:
    triage = triage_of("the disk is full\n", checks=ALL, report=report(finding("ROOT", "pass")))
    assert triage.causes[0].machine_check is MachineCheck.UNKNOWN


def test_the_machine_decides_between_equals() -> None:
    judged = report(finding("OTHER", "pass"), finding("ROOT", "fail", "it is gone"))
    triage = triage_of("the disk is full\nthe driver is gone\n", checks=ALL, report=judged)
    assert [(c.finding, str(c.machine_check)) for c in triage.causes] == [("ROOT", "confirmed"), ("OTHER", "ruled_out")]
    assert triage.causes[0].machine[0].title == "it is gone"


def test_shared_symptoms_are_ranked_by_the_machine() -> None:
    checks = [check(n, "it does not start", strength=1) for n in ("A", "B", "C")]
    judged = report(finding("A", "pass"), finding("B", "unknown"), finding("C", "warn"), checks=checks)
    assert named(triage_of("it does not start\n", checks=checks, report=judged)) == ["C", "B", "A"]


def test_a_confirmed_symptom_beats_what_the_machine_denies() -> None:
    judged = report(finding("OTHER", "pass"), finding("WEAK", "fail"))
    assert named(triage_of("the disk is full\nsomething failed\n", checks=ALL, report=judged)) == ["WEAK", "OTHER"]


def test_what_the_machine_denies_explains_nothing_that_it_confirms() -> None:
    judged = report(finding("ROOT", "pass"), finding("LEAF", "fail"))
    triage = triage_of("the driver is gone\nthe model falls back\n", checks=ALL, report=judged)
    assert named(triage) == ["LEAF", "ROOT"] and triage.causes[0].follows == ()


def test_a_root_that_only_the_machine_knows() -> None:
    judged = report(finding("MIDDLE", "fail", "lost"), finding("ROOT", "fail", "gone"))
    triage = triage_of("the runtime is lost\n", checks=ALL, report=judged)
    because = triage.causes[0].because
    assert named(triage) == ["MIDDLE"] and because is not None
    assert (because.finding, because.title) == ("ROOT", "gone")
