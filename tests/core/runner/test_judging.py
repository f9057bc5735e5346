"""Checks, matrix and diagnosis: pure, guarded, ordered."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date

from infra_doctor.model.compatibility import Compatibility, Verdict
from infra_doctor.model.finding import Finding, Severity, Status, fingerprint
from infra_doctor.model.plugins import Check, CheckContext, CompatibilityRule
from infra_doctor.runner.judging import diagnose, judge_matrix, run_checks

CONTEXT = CheckContext(targets=(), components=(), facts=(), today=date(2026, 1, 1))


def check(name: str, findings: Iterable[Finding] = (), **fields: object) -> Check:
    return Check(
        id=name, title=name, explanation="e", remediation="r", sources=("https://example.org",),
        run=lambda ctx: list(findings), **fields,  # type: ignore[arg-type]
    )  # fmt: skip


def finding(name: str, *subject: str, status: Status = Status.FAIL, severity: Severity = Severity.HIGH) -> Finding:
    return Finding(
        id=name, subject=subject, fingerprint=fingerprint(name, subject), status=status, severity=severity, title=name
    )


def test_a_check_that_fails_gives_nothing_or_speaks_for_another_is_an_error() -> None:
    def broken(ctx: CheckContext) -> Iterable[Finding]:
        raise ZeroDivisionError("by zero")

    bad = Check(id="BAD", title="t", explanation="e", remediation="r", sources=(), run=broken)
    found = run_checks([bad, check("NONE"), check("A", [finding("B")]), check("C", [finding("C")])], CONTEXT)
    assert [(f.id, f.subject) for f in found] == [
        ("PLUGIN-FAILED", ("check:BAD",)),
        ("PLUGIN-FAILED", ("check:NONE",)),
        ("PLUGIN-FAILED", ("check:A",)),
        ("C", ()),
    ]
    assert "ZeroDivisionError: by zero (test_judging.py:" in found[0].detail


def test_the_matrix_is_in_a_total_order_and_survives_a_broken_rule() -> None:
    row = Compatibility(left="b", right="c", verdict=Verdict.COMPATIBLE, rule="r", source="s")
    other = Compatibility(left="a", right="c", verdict=Verdict.UNKNOWN, rule="r", source="s")

    def broken(ctx: CheckContext) -> Iterable[Compatibility]:
        raise ValueError("no")

    rules = [
        CompatibilityRule(id="r", title="", explanation="", sources=(), judge=lambda ctx: [row, other, row]),
        CompatibilityRule(id="x", title="", explanation="", sources=(), judge=broken),
    ]
    rows, failures = judge_matrix(rules, CONTEXT)
    assert rows == (other, row)
    assert [f.subject for f in failures] == [("rule:x",)]


def test_consequences_hang_under_the_root_of_the_same_target() -> None:
    checks = [check("ROOT"), check("MID", explained_by=("ROOT",)), check("LEAF", explained_by=("MID",))]
    here, there = "wheel:torch@/opt/a", "wheel:torch@/opt/b"
    root, mid, leaf = finding("ROOT", here), finding("MID", here), finding("LEAF", here)
    elsewhere = finding("LEAF", there)
    (told,) = diagnose([root, mid, leaf, elsewhere], checks)
    assert told.root == root.fingerprint
    assert set(told.follows) == {mid.fingerprint, leaf.fingerprint}


def test_a_check_may_deny_a_cause_that_its_id_would_allow() -> None:
    def about_nccl(mine: Finding, cause: Finding) -> bool:
        return "nccl" in cause.title

    checks = [check("ROOT"), check("LEAF", explained_by=("ROOT",), follows=about_nccl)]
    leaf = finding("LEAF")
    assert diagnose([finding("ROOT"), leaf], checks) == ()
    true_cause = replace(finding("ROOT"), title="two nccl wheels")
    (told,) = diagnose([true_cause, leaf], checks)
    assert told.follows == (leaf.fingerprint,)


def test_a_passing_cause_explains_nothing_and_circles_end() -> None:
    checks = [check("A", explained_by=("B",)), check("B", explained_by=("A",))]
    assert diagnose([finding("A"), finding("B", status=Status.PASS)], checks) == ()
    (told,) = diagnose([finding("A"), finding("B")], checks)
    assert len(told.follows) == 1


def test_a_device_without_an_answer_hangs_under_the_cause_that_speaks_of_it() -> None:
    unseen = finding("PROBE-FAILED", "gpu:1", status=Status.ERROR)
    driver, other = finding("DRIVER", "driver:x"), finding("LOST", "gpu:2")
    explained = {unseen.fingerprint: ("DRIVER", "LOST")}
    assert diagnose([unseen, driver], []) == ()
    (told,) = diagnose([unseen, driver], [], explained)
    assert (told.root, told.follows) == (driver.fingerprint, (unseen.fingerprint,))
    assert diagnose([unseen, other], [], explained) == ()
    assert len(diagnose([unseen, finding("LOST", "gpu:1")], [], explained)) == 1
