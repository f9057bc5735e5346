"""Lets pass what a baseline (an earlier report) has already: what is no worse than it was does not count, what got worse does.

Beside findings, a device that was there and is gone, and a measurement that fell by more than its noise, got worse."""

from collections.abc import Sequence, Set
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

from infra_doctor.model.difference import MeasurementChange, Turn
from infra_doctor.model.evidence import Evidence, EvidenceKind
from infra_doctor.model.finding import Finding, Remediation, Severity, Status, Waiver
from infra_doctor.model.policy import POLICY_KIND, Policy
from infra_doctor.model.record import record
from infra_doctor.model.report import Report
from infra_doctor.model.wording import counted
from infra_doctor.policy.waiving import covers, expired, overridden
from infra_doctor.runner.differences import measurement_changes
from infra_doctor.runner.matching import DevicesGone, devices_gone, finding_pairs, matching

if TYPE_CHECKING:
    from infra_doctor.runner.run import RunOptions

BASELINE = "BASELINE"
# What counts as worse. Something that could not be looked at is never let pass: it may hide what got worse.
RANK = {Status.PASS: 0, Status.SKIP: 0, Status.UNKNOWN: 1, Status.WARN: 2, Status.FAIL: 3}


@record
class Baseline:
    """An earlier report and the file that it came from."""

    source: str
    report: Report


def read_baseline(path: str, options: "RunOptions") -> Baseline:
    """The baseline of a file: a report as it is; a snapshot judged now, as this run is, so that checks and requirements that
    came since then find in it what they find here. Raises InputError."""
    from infra_doctor.codec import convert, read_document
    from infra_doctor.runner.run import Run, RunOptions

    document = read_document(path, ("report", "snapshot"))
    if document["kind"] == "report":
        return Baseline(source=path, report=convert(document, Report, where=path))
    policy = replace(options.policy, waivers=()) if options.policy is not None else None
    same = RunOptions(replay=path, third_party=options.third_party, only=options.only, policy=policy)
    report = Run(same).execute()
    return Baseline(source=path, report=replace(report, created=str(document.get("created") or report.created)))


def against_baseline(
    findings: Sequence[Finding],
    now: Report,
    baseline: Baseline,
    *,
    policy: Policy | None,
    today: date,
    device_probes: Set[str] = frozenset(),
) -> list[Finding]:
    """The findings, those that the baseline has already marked as waived, and a BASELINE finding. `now` holds what this run
    found beside them. What a waiver of the policy, or of the baseline's own, covered until a day that has passed counts
    again."""
    before = baseline.report
    match = matching(before, now)
    old = before.findings if policy is None else [overridden(f, policy) for f in before.findings]
    late = [rule for rule in policy.waivers if expired(rule, today)] if policy is not None else []
    reason = f"no worse than in the baseline {baseline.source} of {before.created}"
    out = []
    for one, other in finding_pairs(old, findings, match):
        if other is None:
            continue
        known = one is not None and no_worse(one, other) and not ended(one, today)
        if known and other.waived is None and not any(covers(rule, other) for rule in late):
            other = replace(other, waived=Waiver(reason=reason))
        out.append(other)
    changes = measurement_changes(before, now, match)
    gone = devices_gone(before, replace(now, findings=tuple(findings)), device_probes)
    return [*out, whole(baseline, gone, [c for c in changes if c.turn is Turn.WORSE])]


def no_worse(one: Finding, other: Finding) -> bool:
    """Whether the second, a problem that was looked at, is no worse than the first."""
    return other.status in RANK and 0 < RANK[other.status] <= RANK.get(one.status, -1)


def ended(finding: Finding, today: date) -> bool:
    """Whether the baseline had this finding only under a waiver whose day has passed."""
    waiver = finding.waived
    return waiver is not None and waiver.until is not None and waiver.until < today.isoformat()


def whole(baseline: Baseline, gone: DevicesGone, slower: Sequence[MeasurementChange]) -> Finding:
    """BASELINE: whether devices are gone or measurements got worse, which no other finding says."""
    subject = (
        f"{POLICY_KIND}:baseline",
        *sorted(c.key for c in gone.devices),
        *sorted({c.device for c in slower if c.device}),
    )
    evidence = [
        Evidence(kind=EvidenceKind.POLICY, source=baseline.source, text=f"a report of {baseline.report.created}"),
        *(
            Evidence(kind=EvidenceKind.DERIVED, source=c.key, text=f"{c.name}, in the baseline only")
            for c in gone.devices
        ),
    ]
    evidence += [
        Evidence(
            kind=EvidenceKind.DERIVED,
            source=f"measurement {c.benchmark} {c.name}" + (f" on {c.device}" if c.device else ""),
            text=f"{c.after:.4g} {c.unit}, was {c.before:.4g} ({c.ratio:.2f} times)",
        )
        for c in slower
    ]
    said = [f"{counted(gone.count, 'device')} gone"] if gone.count else []
    said += [f"{counted(len(slower), 'measurement')} worse"] if slower else []
    if not said:
        title = f"no device is gone and no measurement got worse since the baseline {baseline.source}"
        return Finding(id=BASELINE, subject=subject, status=Status.PASS, title=title, evidence=tuple(evidence))
    blind = gone.blind if not slower else ""
    return Finding(
        id=BASELINE,
        subject=subject,
        status=Status.ERROR if blind else Status.FAIL,
        severity=Severity.HIGH,
        title=f"{' and '.join(said)} since the baseline {baseline.source}",
        detail=f"The devices may be there, and could not be looked at: {blind}" if blind else "",
        evidence=tuple(evidence),
        remediation=Remediation(
            text="Find what took them away (the findings above, the kernel log, how the container was started), or make "
            "a new baseline, if this is how the machine is meant to be."
        ),
    )
