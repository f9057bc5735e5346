"""Holds a run against a policy's requirements and thresholds: each becomes a finding. Pure: what was observed comes from
the policy keys' own functions over the check context."""

import fnmatch
import math
from collections.abc import Iterable, Sequence

from infra_doctor.model.evidence import Evidence, EvidenceKind
from infra_doctor.model.finding import Finding, Remediation, Severity, Status
from infra_doctor.model.plugins import CheckContext, Observed, PolicyKey
from infra_doctor.model.policy import POLICY_KIND, UNLIMITED, Place, Requirement, Spec, SpecKind, Threshold
from infra_doctor.model.report import Measurement
from infra_doctor.model.wording import joined, shortened, size
from infra_doctor.policy.meeting import meets, number_meets
from infra_doctor.policy.reading import key_named, star_of

REQUIREMENT, THRESHOLD = "REQUIREMENT", "THRESHOLD"
_SAID_CAP, _VALUE_CAP, _EVIDENCE_CAP = 4, 80, 40  # of eight GPUs that differ, a title names four


def line(place: Place, text: str) -> Evidence:
    """A line of the policy as evidence."""
    return Evidence(kind=EvidenceKind.POLICY, source=str(place), text=text)


# -- requirements -------------------------------------------------------------------------------------------------


def judge_requirements(
    requirements: Iterable[Requirement], keys: Sequence[PolicyKey], context: CheckContext
) -> list[tuple[Finding, tuple[str, ...]]]:
    """A finding for each requirement, and the ids that explain it where it fails. May raise what a key's `observe` raises."""
    out = []
    for requirement in requirements:
        key = key_named(requirement.key, keys)
        if key is None:  # the plug-in that offered it went between reading and judging
            raise LookupError(f"no policy key for {requirement.key}")
        observed = tuple(key.observe(context, star_of(requirement.key, key)))
        out.append((judge_requirement(requirement, key, observed, context), key.explained_by))
    return out


def judge_requirement(
    requirement: Requirement, key: PolicyKey, observed: tuple[Observed, ...], context: CheckContext
) -> Finding:
    """`pass` where every observed thing meets it; `fail` where one does not; `error` where one could not be looked at and
    none fails; `unknown` where a value cannot be compared."""
    spec, wanted = requirement.spec, words(requirement)
    blind = blind_reason(key, context)
    if not observed:
        observed = (Observed(value=None, reason=blind or "nothing looked at it", unseen=True),)
    judged = [(o, held(spec, o, bool(blind))) for o in observed]
    status = next(s for s in (Status.FAIL, Status.ERROR, Status.UNKNOWN, Status.PASS) if any(v is s for _, v in judged))
    said = [o for o, v in judged if v is status]
    values = joined(_few(dict.fromkeys(shown(key, o, spec, exact=status is Status.FAIL) for o in said)))
    reasons = [o.reason or (blind if status is Status.ERROR else "") for o in said]
    now = ", and is not there" if values == _ABSENT else f"; this is {values}"
    title = {
        Status.FAIL: f"{wanted} is required{now}",
        Status.ERROR: f"{wanted} is required, and could not be looked at",
        Status.UNKNOWN: f"{wanted} is required; whether {values} meets it cannot be told",
        Status.PASS: f"{wanted} is required{now}",
    }[status]
    remediation = None
    if status is Status.FAIL:
        text = f"Bring {requirement.key} to what is required ({spec.text}), or change {requirement.place}."
        remediation = Remediation(text=text)
    subjects = sorted({s for o in said for s in o.subject}) if status is not Status.PASS else []
    seen = [e for o in said for e in o.evidence]
    return Finding(
        id=REQUIREMENT,
        subject=(f"{POLICY_KIND}:{requirement.key}", *subjects),
        status=status,
        severity=Severity.LOW if status is Status.PASS else Severity.HIGH,
        title=title,
        detail="; ".join(_few(dict.fromkeys(filter(None, reasons)))),
        evidence=(line(requirement.place, f"{requirement.key} = {spec.text}"), *seen[:_EVIDENCE_CAP]),
        remediation=remediation,
    )


def held(spec: Spec, observed: Observed, blind: bool) -> Status:
    """What one observed thing makes of a requirement. `blind`: one of those that look did not."""
    if observed.unseen or (blind and observed.value is None):
        return Status.ERROR
    ok = meets(spec, observed.value, at_least=blind)
    if ok is None:
        return Status.ERROR if blind and spec.kind is SpecKind.COUNT else Status.UNKNOWN
    return Status.PASS if ok else Status.FAIL


def words(requirement: Requirement) -> str:
    """`driver >=580`, `gpu.count 8`, `ort.cuda`, `no package.pynvml`, `gpu.mig = false`."""
    spec = requirement.spec
    if spec.kind is SpecKind.FLAG and not spec.present:
        return f"{requirement.key} = false"
    if not spec.clauses and not spec.names:
        return requirement.key if spec.present else f"no {requirement.key}"
    return f"{requirement.key} {spec.text}"


_ABSENT = "not there"


def shown(key: PolicyKey, observed: Observed, spec: Spec, *, exact: bool) -> str:
    """An observed value in a sentence; `exact`: a size so that it differs from a bound that it differs from."""
    value = observed.value
    if value is None:
        return _ABSENT
    if key.kind is SpecKind.FLAG or isinstance(value, bool):
        if not spec.present:
            return "true" if value else "false"
        return "so" if value else "not so"
    if key.kind is SpecKind.SIZE and isinstance(value, int):
        if value >= UNLIMITED:
            return "unlimited"
        bounds = [int(c.value) for c in spec.clauses if not isinstance(c.value, str)]
        close = exact and any(b != value and size(b) == size(value) for b in bounds)
        return f"{size(value)} ({value} bytes)" if close else size(value)
    return shortened(str(value), _VALUE_CAP) or "of unknown version"


def _few(texts: Iterable[str]) -> list[str]:
    listed = list(texts)
    more = len(listed) - _SAID_CAP
    return listed if more <= 0 else [*listed[:_SAID_CAP], f"{more} more"]


def blind_reason(key: PolicyKey, context: CheckContext) -> str:
    """Why what this key speaks of may be there and not have been seen; empty where all its probes looked."""
    missing = [p for i in key.probes if (p := context.probes.get(i)) is not None and p.status is not Status.PASS]
    return "; ".join(f"{p.title or p.id}: {p.reason or p.status.value}" for p in missing)


# -- measurements -------------------------------------------------------------------------------------------------


def judge_thresholds(thresholds: Iterable[Threshold], context: CheckContext) -> list[Finding]:
    """A finding for each threshold: `fail` where a measurement is on the wrong side, `skip` where nothing was measured."""
    return [judge_threshold(t, context.measurements) for t in thresholds]


def judge_threshold(threshold: Threshold, measurements: Iterable[Measurement]) -> Finding:
    """All measurements that the pattern names, each device on its own."""
    subject: tuple[str, ...] = (f"{POLICY_KIND}:measure {threshold.pattern}",)
    evidence = [line(threshold.place, f"{threshold.pattern} = {threshold.text}")]
    found = [m for m in measurements if speaks_of(threshold.pattern, m)]
    wanted = f"{threshold.pattern} {threshold.text}"
    if not found:
        return Finding(
            id=THRESHOLD, subject=subject, status=Status.SKIP, title=f"{wanted}: nothing of that name was measured",
            evidence=tuple(evidence),
        )  # fmt: skip
    bad, open_ = [], []
    for m in found:
        value = m.ratio if threshold.unit == "1" else m.value if m.unit == threshold.unit else None
        if value is None or not math.isfinite(value):
            open_.append(m)
        elif not number_meets(value, threshold.clauses):
            bad.append(m)
    said = bad or open_ or found
    status = Status.FAIL if bad else Status.UNKNOWN if open_ else Status.PASS
    evidence += [_measured(m) for m in said[:_EVIDENCE_CAP]]
    first = evidence[1]
    outcome = {
        Status.FAIL: f"{wanted} is required; {first.source.removeprefix('measurement ')} is {first.text}",
        Status.UNKNOWN: f"{wanted} is required; {first.source.removeprefix('measurement ')} has no such figure",
        Status.PASS: f"{wanted}: {len(found)} measured, all within it",
    }[status]
    return Finding(
        id=THRESHOLD,
        subject=(*subject, *sorted({m.device for m in bad if m.device})),
        status=status,
        severity=Severity.HIGH if bad else Severity.LOW,
        title=outcome,
        evidence=tuple(evidence),
    )


def speaks_of(pattern: str, measurement: Measurement) -> bool:
    """Whether a threshold's pattern names this measurement: its benchmark, or benchmark and name, with wildcards or as they
    stand. Case does not count."""
    names = {n.casefold() for n in (measurement.benchmark, f"{measurement.benchmark} {measurement.name}")}
    folded = pattern.casefold()
    whole = f"{measurement.benchmark} {measurement.name}".casefold()
    return folded in names or fnmatch.fnmatchcase(whole, folded)


def _measured(m: Measurement) -> Evidence:
    share = f", {m.ratio:.0%} of the expected" if m.ratio is not None else ""
    at = f" on {m.device}" if m.device else ""
    return Evidence(
        kind=EvidenceKind.DERIVED,
        source=f"measurement {m.benchmark} {m.name}{at}",
        text=f"{m.value:.4g} {m.unit}{share}",
    )
