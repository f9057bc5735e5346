"""Holds a run against its policy: requirements and thresholds become findings, then severities, statuses and waivers are
laid over all findings. Pure: what was observed comes from the policy keys' own functions over the check context."""

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date

from infra_doctor.model.evidence import Evidence, EvidenceKind
from infra_doctor.model.finding import Finding, Remediation, Severity, Status, Waiver
from infra_doctor.model.plugins import CheckContext, Observed, PolicyKey
from infra_doctor.model.policy import POLICY_KIND, Place, Policy, Requirement, SpecKind, Threshold, WaiverRule
from infra_doctor.model.wording import size
from infra_doctor.policy.reading import key_named
from infra_doctor.policy.specs import meets, number_meets

REQUIREMENT, THRESHOLD, WAIVER_EXPIRED = "REQUIREMENT", "THRESHOLD", "WAIVER-EXPIRED"


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
        name = requirement.key[len(key.key) - 1 :] if key.key.endswith(".*") else ""
        out.append((judge_requirement(requirement, key, tuple(key.observe(context, name)), context), key.explained_by))
    return out


def judge_requirement(
    requirement: Requirement, key: PolicyKey, observed: tuple[Observed, ...], context: CheckContext
) -> Finding:
    """`pass` where every observed thing meets it; `fail` where one does not; `error` where one could not be looked at and
    none fails; `unknown` where a value cannot be compared."""
    spec, wanted = requirement.spec, words(requirement)
    blind = blind_reason(key, context)
    unseen = [o for o in observed if o.unseen or (o.value is None and blind)]
    if not observed:
        unseen = [Observed(value=None, reason=blind or "nothing looked at it", unseen=True)]
    seen = [o for o in observed if o not in unseen]
    judged = [(o, meets(spec, o.value)) for o in seen]
    bad = [o for o, ok in judged if ok is False]
    open_ = [o for o, ok in judged if ok is None]
    if bad:
        status, said = Status.FAIL, bad
    elif unseen:
        status, said = Status.ERROR, unseen
    elif open_:
        status, said = Status.UNKNOWN, open_
    else:
        status, said = Status.PASS, seen
    values = " and ".join(dict.fromkeys(shown(key, o) for o in said))
    reasons = "; ".join(dict.fromkeys(o.reason for o in said if o.reason))
    title = {
        Status.FAIL: f"{wanted} is required; this is {values}",
        Status.ERROR: f"{wanted} is required, and could not be looked at",
        Status.UNKNOWN: f"{wanted} is required; whether {values} meets it cannot be told",
        Status.PASS: f"{wanted} is required; this is {values}",
    }[status]
    remediation = None
    if status is Status.FAIL:
        text = f"Bring {requirement.key} to what is required ({spec.text}), or change {requirement.place}."
        remediation = Remediation(text=text)
    subjects = sorted({s for o in said for s in o.subject}) if status is not Status.PASS else []
    return Finding(
        id=REQUIREMENT,
        subject=(f"{POLICY_KIND}:{requirement.key}", *subjects),
        status=status,
        severity=Severity.LOW if status is Status.PASS else Severity.HIGH,
        title=title,
        detail=reasons,
        evidence=(line(requirement.place, f"{requirement.key} = {spec.text}"), *(e for o in said for e in o.evidence)),
        remediation=remediation,
    )


def words(requirement: Requirement) -> str:
    """`driver >=580`, `gpu.count 8`, `ort.cuda`, `no package.pynvml`."""
    spec = requirement.spec
    if not spec.clauses and not spec.names:
        return requirement.key if spec.present else f"no {requirement.key}"
    return f"{requirement.key} {spec.text}"


def shown(key: PolicyKey, observed: Observed) -> str:
    """An observed value in a sentence."""
    value = observed.value
    if value is None:
        return "not there"
    if key.kind is SpecKind.FLAG or isinstance(value, bool):
        return "so" if value else "not so"
    if key.kind is SpecKind.SIZE and isinstance(value, int):
        return size(value)
    return str(value) or "of unknown version"


def blind_reason(key: PolicyKey, context: CheckContext) -> str:
    """Why what this key speaks of may be there and not have been seen; empty where all its probes looked."""
    missing = [p for i in key.probes if (p := context.probes.get(i)) is not None and p.status is not Status.PASS]
    return "; ".join(f"{p.title or p.id}: {p.reason or p.status.value}" for p in missing)


# -- measurements -------------------------------------------------------------------------------------------------


def judge_thresholds(thresholds: Iterable[Threshold], context: CheckContext) -> list[Finding]:
    """A finding for each threshold: `fail` where a measurement is on the wrong side, `skip` where nothing was measured."""
    return [judge_threshold(t, context) for t in thresholds]


def judge_threshold(threshold: Threshold, context: CheckContext) -> Finding:
    """All measurements that the pattern names, each device on its own."""
    subject: tuple[str, ...] = (f"{POLICY_KIND}:measure {threshold.pattern}",)
    evidence = [line(threshold.place, f"{threshold.pattern} = {threshold.text}")]
    pattern = threshold.pattern.casefold()
    found = [
        m
        for m in context.measurements
        if fnmatch.fnmatchcase(f"{m.benchmark} {m.name}".casefold(), pattern) or m.benchmark.casefold() == pattern
    ]
    wanted = f"{threshold.pattern} {threshold.text}"
    if not found:
        return Finding(
            id=THRESHOLD, subject=subject, status=Status.SKIP, title=f"{wanted}: nothing of that name was measured",
            evidence=tuple(evidence),
        )  # fmt: skip
    bad, open_ = [], []
    for m in found:
        value = m.ratio if threshold.unit == "1" else m.value if m.unit == threshold.unit else None
        if value is None:
            open_.append(m)
        elif not number_meets(value, threshold.clauses):
            bad.append(m)
    said = bad or open_ or found
    status = Status.FAIL if bad else Status.UNKNOWN if open_ else Status.PASS
    for m in said:
        share = f", {m.ratio:.0%} of the expected" if m.ratio is not None else ""
        at = f" on {m.device}" if m.device else ""
        evidence.append(
            Evidence(
                kind=EvidenceKind.DERIVED,
                source=f"measurement {m.benchmark} {m.name}{at}",
                text=f"{m.value:.4g} {m.unit}{share}",
            )
        )
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


# -- what is laid over all findings -------------------------------------------------------------------------------


def overridden(finding: Finding, policy: Policy) -> Finding:
    """The finding with the policy's severity, and its status where it is a failure or a warning."""
    severity, status = policy.severities.get(finding.id), policy.statuses.get(finding.id)
    if severity is not None and severity.severity is not None and severity.severity is not finding.severity:
        said = line(severity.place, f"severity {severity.severity.value}; the check says {finding.severity.value}")
        finding = replace(finding, severity=severity.severity, evidence=(*finding.evidence, said))
    if (
        status is not None
        and status.status is not None
        and finding.status in {Status.FAIL, Status.WARN} - {status.status}
    ):
        said = line(status.place, f"status {status.status.value}; the check says {finding.status.value}")
        finding = replace(finding, status=status.status, evidence=(*finding.evidence, said))
    return finding


def waived(finding: Finding, rules: Iterable[WaiverRule], today: date) -> Finding:
    """The finding with the waiver that covers it. What is in order, or does not apply, needs none."""
    if finding.status in {Status.PASS, Status.SKIP}:
        return finding
    for rule in rules:
        if covers(rule, finding) and not expired(rule, today):
            return replace(finding, waived=Waiver(reason=rule.reason, until=rule.until))
    return finding


def covers(rule: WaiverRule, finding: Finding) -> bool:
    """Whether the rule speaks of this finding."""
    if rule.id != finding.id:
        return False
    return rule.subject is None or any(fnmatch.fnmatchcase(key, rule.subject) for key in finding.subject)


def expired(rule: WaiverRule, today: date) -> bool:
    """The day `until` itself is still covered."""
    return today > date.fromisoformat(rule.until)


def expired_waivers(rules: Iterable[WaiverRule], findings: Sequence[Finding], today: date) -> list[Finding]:
    """WAIVER-EXPIRED: a warning for each rule whose day has passed; it says whether what it waived is still there."""
    out = []
    for rule in rules:
        if not expired(rule, today):
            continue
        still = [f for f in findings if covers(rule, f) and f.status not in {Status.PASS, Status.SKIP}]
        state = f"{rule.id} is there still and counts again" if still else f"{rule.id} is no longer there"
        where = f" for {rule.subject}" if rule.subject else ""
        out.append(
            Finding(
                id=WAIVER_EXPIRED,
                subject=(f"{POLICY_KIND}:waiver {rule.id}{where}",),
                status=Status.WARN,
                severity=Severity.MEDIUM if still else Severity.LOW,
                title=f"the waiver of {rule.id}{where} ended on {rule.until}: {state}",
                detail=f"It was given for: {rule.reason}",
                evidence=(line(rule.place, f"{rule.id}, until {rule.until}"),),
                remediation=Remediation(
                    text=f"Repair {rule.id}, or look at the reason again and move `until` in {rule.place}."
                    if still
                    else f"Take the waiver out of {rule.place}."
                ),
            )
        )
    return out
