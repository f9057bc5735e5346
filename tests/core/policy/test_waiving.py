"""Severities, statuses and waivers over findings: what they change, and that they never make a pass."""

from collections.abc import Iterable
from datetime import date, timedelta

import pytest

from infra_doctor.cli.check import exit_code
from infra_doctor.errors import ExitCode
from infra_doctor.model.finding import Finding, Severity, Status
from infra_doctor.model.policy import Policy
from infra_doctor.model.report import MachineInfo, Report, Tool
from infra_doctor.policy.waiving import as_told, expired_waivers, overridden, waived
from tests.core.policy.lab import NAME, TODAY, parsed


def finding(name: str, status: Status, *subject: str, severity: Severity = Severity.LOW) -> Finding:
    return Finding(id=name, status=status, subject=subject, severity=severity, title=f"{name} is {status}")


def rule(name: str, until: date, subject: str | None = None, reason: str = "known") -> str:
    more = f"subject = {subject!r}\n" if subject else ""
    return f"[[waivers]]\nid = '{name}'\nuntil = {until}\nreason = '{reason}'\n{more}"


def policy(*rules: str) -> Policy:
    return parsed("\n".join(rules))


def code(findings: Iterable[Finding]) -> ExitCode:
    return exit_code(
        Report(tool=Tool(), created="", machine=MachineInfo(name="", form="live"), findings=tuple(findings))
    )


# -- [severity] and [status] ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["fail", "warn"])
@pytest.mark.parametrize("name", ["SHM", "REQUIREMENT", "THRESHOLD", "WAIVER-EXPIRED", "BASELINE"])
@pytest.mark.parametrize("status", list(Status))
def test_a_status_is_changed_between_fail_and_warn_alone(status: Status, name: str, to: str) -> None:
    changed = overridden(finding(name, status), parsed(f"[status]\n{name} = '{to}'"))
    wanted = Status(to) if status in {Status.FAIL, Status.WARN} else status
    assert changed.status is wanted
    said = [e for e in changed.evidence if e.source == f"{NAME}:2"]
    assert [e.text for e in said] == ([f"status {to}; the check says {status}"] if wanted is not status else [])


@pytest.mark.parametrize("name", ["SHM", "PROBE-FAILED", "REQUIREMENT"])
@pytest.mark.parametrize("status", list(Status))
def test_a_severity(status: Status, name: str) -> None:
    changed = overridden(finding(name, status), parsed(f"[severity]\n{name} = 'critical'"))
    assert changed.status is status
    problem = status not in {Status.PASS, Status.SKIP}
    assert changed.severity is (Severity.CRITICAL if problem else Severity.LOW)
    assert len(changed.evidence) == problem


def test_both_lines_of_one_id() -> None:
    both = parsed("[severity]\nSHM = 'high'\n[status]\nSHM = 'fail'")
    changed = overridden(finding("SHM", Status.WARN), both)
    assert (changed.status, changed.severity, len(changed.evidence)) == (Status.FAIL, Severity.HIGH, 2)
    other = finding("MEMLOCK", Status.WARN)
    assert overridden(other, both) is other


# -- [[waivers]] ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", list(Status))
def test_what_a_waiver_covers(status: Status) -> None:
    one = policy(rule("SHM", TODAY))
    found = waived(finding("SHM", status), one.waivers, TODAY)
    assert found.status is status  # it is marked, and stays what it is
    assert (found.waived is not None) is (status not in {Status.PASS, Status.SKIP})
    if found.waived:
        assert (found.waived.reason, found.waived.until) == ("known", TODAY.isoformat())


def test_the_day_itself_still_counts() -> None:
    one = policy(rule("SHM", TODAY))
    bad = finding("SHM", Status.FAIL)
    assert waived(bad, one.waivers, TODAY).waived is not None
    assert waived(bad, one.waivers, TODAY + timedelta(days=1)).waived is None
    assert code([waived(bad, one.waivers, TODAY)]) is ExitCode.OK
    assert code([bad]) is ExitCode.FINDINGS


@pytest.mark.parametrize(
    ("subject", "key", "covered"),
    [
        ("gpu:0000:17:00.0", "gpu:0000:17:00.0", True),
        ("gpu:*", "gpu:0000:17:00.0", True),
        ("gpu:*", "npu:0", False),
        ("*", "anything", True),
        ("wheel:uvicorn[standard]@/opt/v", "wheel:uvicorn[standard]@/opt/v", True),  # a bracket means itself
        ("wheel:uvicorn[standard]@*", "wheel:uvicorn[standard]@/opt/v", False),  # in a pattern it is a set
        ("wheel:uvicorn[[]standard]@*", "wheel:uvicorn[standard]@/opt/v", True),
        ("file:/x[1", "file:/x[1", True),
        ("GPU:*", "gpu:0", False),
    ],
)
def test_subjects(subject: str, key: str, covered: bool) -> None:
    one = policy(rule("SHM", TODAY, subject))
    assert (waived(finding("SHM", Status.FAIL, "other", key), one.waivers, TODAY).waived is not None) is covered


def test_of_several_the_closest_then_the_longest() -> None:
    later, soon = TODAY + timedelta(days=99), TODAY + timedelta(days=1)
    several = policy(
        rule("SHM", later, reason="all"), rule("SHM", soon, "gpu:0", reason="one"), rule("SHM", later, "gpu:*", reason="gpus"),
        rule("SHM", TODAY - timedelta(days=1), "gpu:1", reason="over"),
    )  # fmt: skip

    def why(*subject: str) -> str:
        found = waived(finding("SHM", Status.FAIL, *subject), several.waivers, TODAY).waived
        return found.reason if found else ""

    assert [why("gpu:0"), why("gpu:1"), why("npu:0"), why()] == ["gpus", "gpus", "all", "all"]


def test_a_waived_probe_that_failed_leaves_no_exit_code_3() -> None:
    """It names its subject, so it is for one thing; what the policy requires of it stays an error of its own."""
    one = policy(rule("PROBE-FAILED", TODAY, "gpu:0"))
    unseen = [finding("PROBE-FAILED", Status.ERROR, f"gpu:{n}") for n in (0, 1)]
    required = finding("REQUIREMENT", Status.ERROR, "policy:gpu.count")
    assert code(unseen[:1]) is ExitCode.UNSEEN
    assert code(waived(f, one.waivers, TODAY) for f in unseen[:1]) is ExitCode.OK
    assert code(waived(f, one.waivers, TODAY) for f in unseen) is ExitCode.UNSEEN
    assert code(waived(f, one.waivers, TODAY) for f in (unseen[0], required)) is ExitCode.UNSEEN


# -- WAIVER-EXPIRED -------------------------------------------------------------------------------------------------

GONE = TODAY - timedelta(days=1)
JUDGED = frozenset({"SHM", "MEMLOCK", "PROBE-FAILED"})


@pytest.mark.parametrize(
    ("findings", "said", "severity"),
    [
        ([finding("SHM", Status.FAIL)], "SHM is there still and counts again", Severity.MEDIUM),
        (
            [finding("SHM", Status.PASS), finding("SHM", Status.WARN)],
            "SHM is there still and counts again",
            Severity.MEDIUM,
        ),
        ([finding("SHM", Status.ERROR)], "SHM could not be looked at, which counts again", Severity.MEDIUM),
        ([finding("SHM", Status.UNKNOWN)], "SHM cannot be judged, which counts again", Severity.MEDIUM),
        ([finding("SHM", Status.PASS)], "SHM is no longer there", Severity.LOW),
        ([finding("SHM", Status.PASS), finding("SHM", Status.SKIP)], "SHM is no longer there", Severity.LOW),
        ([finding("SHM", Status.SKIP)], "SHM was skipped in this run (SHM is skip)", Severity.LOW),
        ([], "SHM is no longer there", Severity.LOW),
    ],
)
def test_an_expired_waiver_says_what_has_become_of_it(findings: list[Finding], said: str, severity: Severity) -> None:
    (found,) = expired_waivers(policy(rule("SHM", GONE)).waivers, findings, TODAY, JUDGED)
    assert (found.id, found.status, found.severity) == ("WAIVER-EXPIRED", Status.WARN, severity)
    assert found.title == f"the waiver of SHM ended on {GONE}: {said}"
    assert found.evidence[0].source == f"{NAME}:2"
    assert "known" in found.detail


def test_an_id_that_did_not_judge_is_not_said_to_be_gone() -> None:
    """By a preset, `only`, `skip` or the command line's."""
    (found,) = expired_waivers(policy(rule("SHM", GONE)).waivers, [], TODAY, frozenset({"MEMLOCK"}))
    assert found.title.endswith("SHM was not judged in this run")
    assert found.remediation is not None
    assert found.remediation.text.startswith("Judge SHM before")


def test_an_expired_waiver_of_another_subject() -> None:
    one = policy(rule("SHM", GONE, "gpu:1"))
    (found,) = expired_waivers(one.waivers, [finding("SHM", Status.FAIL, "gpu:0")], TODAY, JUDGED)
    assert found.title == f"the waiver of SHM for gpu:1 ended on {GONE}: SHM is no longer there"
    assert found.subject == ("policy:waiver SHM for gpu:1",)


def test_an_expired_waiver_beside_one_that_holds() -> None:
    several = policy(rule("SHM", GONE, "gpu:1"), rule("SHM", TODAY))
    (found,) = expired_waivers(several.waivers, [finding("SHM", Status.FAIL, "gpu:1")], TODAY, JUDGED)
    assert found.title.endswith(f"SHM is there still, and {NAME}:8 waives it until {TODAY}")
    assert found.severity is Severity.LOW
    (found,) = expired_waivers(
        several.waivers, [finding("SHM", Status.FAIL, "gpu:1")], TODAY + timedelta(days=1), JUDGED
    )[:1]
    assert found.title.endswith("is there still and counts again")


def test_waivers_that_hold_are_not_spoken_of() -> None:
    assert expired_waivers(policy(rule("SHM", TODAY)).waivers, [finding("SHM", Status.FAIL)], TODAY, JUDGED) == []


def test_what_a_report_tells_of_a_policy_is_redacted() -> None:
    one = parsed(
        rule("SHM", TODAY, "/home/alice/x", reason="ask alice") + "[status]\nSHM = 'warn'\n[severity]\nSHM = 'low'"
    )
    told = as_told(one, lambda text: text.replace("alice", "user1").replace(NAME, "policy"))
    assert (told.waivers[0].reason, str(told.waivers[0].place)) == ("ask user1", "policy:2")
    assert told.waivers[0].subject == "/home/alice/x"
    assert (told.sources, str(told.statuses["SHM"].place), str(told.severities["SHM"].place)) == (
        ("policy",),
        "policy:7",
        "policy:9",
    )
