"""What a policy lays over all findings: severities, statuses, waivers. Pure.

Nothing here makes a `pass`: a status is changed between `fail` and `warn` alone, and what a waiver covers keeps its status
and is marked. What could not be looked at stays `error`."""

import fnmatch
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import date

from infra_doctor.model.finding import Finding, Remediation, Severity, Status, Waiver
from infra_doctor.model.policy import POLICY_KIND, Override, Place, Policy, WaiverRule
from infra_doctor.policy.judging import line

WAIVER_EXPIRED = "WAIVER-EXPIRED"
_QUIET = (Status.PASS, Status.SKIP)


def as_told(policy: Policy, text: Callable[[str], str]) -> Policy:
    """The policy as a report may tell it: `text` redacts. Subjects stay: they are compared with what was redacted already."""

    def place(old: Place) -> Place:
        return replace(old, source=text(old.source))

    def told(overrides: dict[str, Override]) -> dict[str, Override]:
        return {i: replace(o, place=place(o.place)) for i, o in overrides.items()}

    return replace(
        policy,
        sources=tuple(map(text, policy.sources)),
        severities=told(policy.severities),
        statuses=told(policy.statuses),
        waivers=tuple(replace(w, reason=text(w.reason), place=place(w.place)) for w in policy.waivers),
    )


def overridden(finding: Finding, policy: Policy) -> Finding:
    """The finding with the policy's severity, and its status where it is a failure or a warning."""
    severity, status = policy.severities.get(finding.id), policy.statuses.get(finding.id)
    if severity is not None and severity.severity not in (None, finding.severity) and finding.status not in _QUIET:
        said = line(severity.place, f"severity {severity.severity}; the check says {finding.severity}")
        finding = replace(finding, severity=severity.severity, evidence=(*finding.evidence, said))
    if (
        status is not None
        and status.status is not None
        and finding.status in {Status.FAIL, Status.WARN} - {status.status}
    ):
        said = line(status.place, f"status {status.status}; the check says {finding.status}")
        finding = replace(finding, status=status.status, evidence=(*finding.evidence, said))
    return finding


def waived(finding: Finding, rules: Iterable[WaiverRule], today: date) -> Finding:
    """The finding with the waiver that covers it: of several, the one for this subject, then the longest. What is in order,
    or does not apply, needs none."""
    if finding.status in _QUIET:
        return finding
    rule = covering(rules, finding, today)
    return finding if rule is None else replace(finding, waived=Waiver(reason=rule.reason, until=rule.until))


def covering(rules: Iterable[WaiverRule], finding: Finding, today: date) -> WaiverRule | None:
    """The waiver that a finding has today."""
    live = [r for r in rules if covers(r, finding) and not expired(r, today)]
    return max(live, key=lambda r: (r.subject is not None, r.until), default=None)


def covers(rule: WaiverRule, finding: Finding) -> bool:
    """Whether the rule speaks of this finding: one of its subject's keys is the rule's, or fits it as a pattern (a subject
    such as "wheel:uvicorn[standard]@/opt" holds brackets, and means them)."""
    if rule.id != finding.id:
        return False
    wanted = rule.subject
    return wanted is None or any(key == wanted or fnmatch.fnmatchcase(key, wanted) for key in finding.subject)


def expired(rule: WaiverRule, today: date) -> bool:
    """The day `until` itself is still covered."""
    return today > date.fromisoformat(rule.until)


def expired_waivers(
    rules: Sequence[WaiverRule], findings: Sequence[Finding], today: date, judged: Collection[str]
) -> list[Finding]:
    """WAIVER-EXPIRED: a warning for each rule whose day has passed; it says what has become of what it waived. `judged` are
    the ids that this run could have given."""
    return [_expired(r, rules, findings, today, judged) for r in rules if expired(r, today)]


def _expired(
    rule: WaiverRule, rules: Sequence[WaiverRule], findings: Sequence[Finding], today: date, judged: Collection[str]
) -> Finding:
    of_id = [f for f in findings if f.id == rule.id]
    bad = [f for f in of_id if f.status not in _QUIET and covers(rule, f)]
    counting = [f for f in bad if covering(rules, f, today) is None]
    away = f"Take the waiver out of {rule.place}."
    if counting:
        status = next(
            s for s in (Status.FAIL, Status.WARN, Status.ERROR, Status.UNKNOWN) if any(f.status is s for f in counting)
        )
        said = {
            Status.ERROR: "could not be looked at, which counts again",
            Status.UNKNOWN: "cannot be judged, which counts again",
        }.get(status, "is there still and counts again")
        remedy = f"Repair {rule.id}, or look at the reason again and move `until` in {rule.place}."
    elif bad:
        other = covering(rules, bad[0], today)
        said = (
            f"is there still, and {other.place if other else 'another'} waives it until {other.until if other else ''}"
        )
        remedy = away
    elif rule.id not in judged:
        said = "was not judged in this run"
        remedy = f"Judge {rule.id} before the waiver in {rule.place} is moved or taken out."
    elif all(f.status is Status.SKIP for f in of_id) and of_id:
        said = f"was skipped in this run ({of_id[0].title})"
        remedy = f"Take the waiver out of {rule.place} where {rule.id} applies to no machine that this policy is for."
    else:
        said, remedy = "is no longer there", away
    where = f" for {rule.subject}" if rule.subject else ""
    return Finding(
        id=WAIVER_EXPIRED,
        subject=(f"{POLICY_KIND}:waiver {rule.id}{where}",),
        status=Status.WARN,
        severity=Severity.MEDIUM if counting else Severity.LOW,
        title=f"the waiver of {rule.id}{where} ended on {rule.until}: {rule.id} {said}",
        detail=f"It was given for: {rule.reason}",
        evidence=(line(rule.place, f"{rule.id}, until {rule.until}"),),
        remediation=Remediation(text=remedy),
    )
