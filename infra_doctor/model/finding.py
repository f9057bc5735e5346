"""Findings and diagnoses: what checks say."""

import hashlib
from dataclasses import replace
from enum import StrEnum

from infra_doctor.model.evidence import Evidence
from infra_doctor.model.record import record


class Status(StrEnum):
    """`skip`: does not apply. `unknown`: looked, cannot be judged. `error`: could not be looked at."""

    PASS = "pass"  # noqa: S105
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"
    UNKNOWN = "unknown"
    ERROR = "error"


class Severity(StrEnum):
    """Ranks findings; it changes no exit code."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Confidence(StrEnum):
    """`observed`: read off the machine. `derived`: follows from a sourced table. `heuristic`: a hint."""

    OBSERVED = "observed"
    DERIVED = "derived"
    HEURISTIC = "heuristic"


# Worst first: the order in which findings are shown.
STATUS_RANK = {
    Status.FAIL: 0,
    Status.ERROR: 1,
    Status.WARN: 2,
    Status.UNKNOWN: 3,
    Status.PASS: 4,
    Status.SKIP: 5,
}
SEVERITY_RANK = {Severity.CRITICAL: 0, Severity.HIGH: 1, Severity.MEDIUM: 2, Severity.LOW: 3}


@record
class Command:
    """A safe step that a user may run as it stands. Destructive steps stay prose."""

    argv: tuple[str, ...]
    needs_root: bool = False


@record
class Remediation:
    """The smallest change that repairs the finding."""

    text: str
    commands: tuple[Command, ...] = ()
    docs: tuple[str, ...] = ()


@record
class Waiver:
    """Why a finding does not count, and until when (ISO date)."""

    reason: str
    until: str | None = None


@record
class Finding:
    """What one check says of one subject. `subject` holds component, target or probe keys."""

    id: str
    subject: tuple[str, ...] = ()
    fingerprint: str = ""  # set by the runner, after redaction
    status: Status
    severity: Severity = Severity.LOW
    confidence: Confidence = Confidence.OBSERVED
    title: str
    detail: str = ""
    evidence: tuple[Evidence, ...] = ()
    remediation: Remediation | None = None
    waived: Waiver | None = None


@record
class Diagnosis:
    """A root cause and the findings that follow from it, by fingerprint."""

    root: str
    follows: tuple[str, ...]
    text: str


def fingerprint(finding_id: str, subject: tuple[str, ...]) -> str:
    """The stable name of (id, subject): 16 hex digits."""
    text = "\0".join((finding_id, *sorted(subject)))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def with_fingerprint(finding: Finding) -> Finding:
    """The finding with its fingerprint, which holds for the subject as it is now: redacted."""
    return replace(finding, fingerprint=fingerprint(finding.id, finding.subject))


def sort_key(finding: Finding) -> tuple[int, int, str, tuple[str, ...]]:
    """Worst first, then a total order."""
    return (STATUS_RANK[finding.status], SEVERITY_RANK[finding.severity], finding.id, finding.subject)
