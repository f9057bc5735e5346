"""Lets pass what a baseline (an earlier report) has already: what is no worse than it was does not count, what got worse does.

Beside findings, a device that was there and is gone, and a measurement that fell by more than its noise, got worse."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

from infra_doctor.model.component import DEVICE_KINDS, Component
from infra_doctor.model.difference import Turn
from infra_doctor.model.evidence import Evidence, EvidenceKind
from infra_doctor.model.finding import Finding, Remediation, Severity, Status, Waiver
from infra_doctor.model.policy import POLICY_KIND
from infra_doctor.model.record import record
from infra_doctor.model.report import Report
from infra_doctor.model.view import required_unseen
from infra_doctor.model.wording import counted
from infra_doctor.runner.differences import matched, measurement_changes

BASELINE = "BASELINE"
# What counts as worse. Something that could not be looked at is never let pass: it may hide what got worse.
RANK = {Status.PASS: 0, Status.SKIP: 0, Status.UNKNOWN: 1, Status.WARN: 2, Status.FAIL: 3}


@record
class Baseline:
    """An earlier report and the file that it came from."""

    source: str
    report: Report


def against_baseline(
    findings: Sequence[Finding],
    now: Report,
    baseline: Baseline,
    names: tuple[Callable[[str], str], Callable[[str], str]],
) -> list[Finding]:
    """The findings, those that the baseline has already marked as waived, and a BASELINE finding. `now` holds the
    components and measurements of this run; `names` are the `naming` of both reports."""
    before = baseline.report
    reason = f"no worse than in the baseline {baseline.source} of {before.created}"

    def by_subject(side: int, f: Finding) -> Hashable:
        return (f.id, tuple(sorted(map(names[side], f.subject))))

    def by_devices(side: int, f: Finding) -> Hashable:
        return (f.id, tuple(sorted(k for k in f.subject if k.partition(":")[0] in DEVICE_KINDS)))

    out = []
    for one, other in matched(before.findings, findings, by_subject, by_devices):
        if other is None:
            continue
        known = one is not None and other.status in RANK and 0 < RANK[other.status] <= RANK.get(one.status, -1)
        out.append(replace(other, waived=Waiver(reason=reason)) if known and other.waived is None else other)
    return [*out, whole(out, now, baseline, names)]


def whole(
    findings: Sequence[Finding],
    now: Report,
    baseline: Baseline,
    names: tuple[Callable[[str], str], Callable[[str], str]],
) -> Finding:
    """BASELINE: whether devices are gone or measurements got worse, which no other finding says."""
    gone = devices_gone(baseline.report.components, now.components)
    slower = [
        c for c in measurement_changes(baseline.report.measurements, now.measurements, names) if c.turn is Turn.WORSE
    ]
    subject = (f"{POLICY_KIND}:baseline", *sorted(c.key for c in gone), *sorted({c.device for c in slower if c.device}))
    evidence = [
        Evidence(kind=EvidenceKind.POLICY, source=baseline.source, text=f"a report of {baseline.report.created}"),
        *(Evidence(kind=EvidenceKind.DERIVED, source=c.key, text=f"{c.name}, in the baseline only") for c in gone),
    ]
    evidence += [
        Evidence(
            kind=EvidenceKind.DERIVED,
            source=f"measurement {c.benchmark} {c.name}" + (f" on {c.device}" if c.device else ""),
            text=f"{c.after:.4g} {c.unit}, was {c.before:.4g} ({c.ratio:.2f} times)",
        )
        for c in slower
    ]
    said = [f"{counted(len(gone), 'device')} gone"] if gone else []
    said += [f"{counted(len(slower), 'measurement')} worse"] if slower else []
    if not said:
        title = f"no device is gone and no measurement got worse since the baseline {baseline.source}"
        return Finding(id=BASELINE, subject=subject, status=Status.PASS, title=title, evidence=tuple(evidence))
    blind = gone and not slower and any(map(required_unseen, findings))
    return Finding(
        id=BASELINE,
        subject=subject,
        status=Status.ERROR if blind else Status.FAIL,
        severity=Severity.HIGH,
        title=f"{' and '.join(said)} since the baseline {baseline.source}",
        detail="Devices could not be looked at, so they may be there." if blind else "",
        evidence=tuple(evidence),
        remediation=Remediation(
            text="Find what took them away (the findings above, the kernel log, how the container was started), or make "
            "a new baseline, if this is how the machine is meant to be."
        ),
    )


def devices_gone(before: Sequence[Component], now: Sequence[Component]) -> list[Component]:
    """The devices of the baseline that are no more. One of the same kind and name in another place is the same."""
    ones, others = ([c for c in side if c.kind in DEVICE_KINDS] for side in (before, now))
    pairs = matched(ones, others, lambda _, c: c.key, lambda _, c: (c.kind, c.name))
    lost = [one for one, other in pairs if one is not None and other is None]
    came: dict[str, int] = {}
    for device in others:
        came[device.kind] = came.get(device.kind, 0) + 1
    had: dict[str, int] = {}
    for device in ones:
        had[device.kind] = had.get(device.kind, 0) + 1
    # As many as before, of another name: devices were changed, none is missing.
    return [c for c in lost if came.get(c.kind, 0) < had[c.kind]]
