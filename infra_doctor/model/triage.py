"""What `triage` says: the causes that a log names, best first, and what a machine says of each."""

from dataclasses import dataclass
from enum import StrEnum

from infra_doctor.model.finding import Confidence, Remediation, Severity, Status
from infra_doctor.model.report import SCHEMA_VERSION, MachineInfo, Tool


class MachineCheck(StrEnum):
    """What the machine says of a cause that the log names."""

    CONFIRMED = "confirmed"  # its check fails or warns there
    RULED_OUT = "ruled_out"  # its check passes there, or does not apply
    UNKNOWN = "unknown"  # its check could not tell
    NOT_CHECKED = "not_checked"  # only the log was read


@dataclass(frozen=True, kw_only=True, slots=True)
class LogMatch:
    """Where a signature matched. `text` is the message there, cleaned, redacted and shortened; `source` is where such a
    log was published."""

    file: str  # as it was given; "standard input" or "text"
    line: int  # from 1
    rank: str | None = None
    text: str
    source: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenThere:
    """A finding of the machine that speaks of this cause."""

    finding: str
    fingerprint: str = ""
    status: Status
    title: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Consequence:
    """A failure that the log names too, and that follows from another one."""

    finding: str
    title: str
    confidence: Confidence
    matched: LogMatch
    count: int = 1
    machine_check: MachineCheck


@dataclass(frozen=True, kw_only=True, slots=True)
class LogCause:
    """One cause that the log names. `confidence`: `observed`, the log names the cause itself; `derived`, it is typical of
    it; `heuristic`, a symptom that other causes have too. `count` is how many messages of the log say it. `because` is
    the machine's own root of this finding, where it has another one."""

    finding: str
    title: str
    severity: Severity
    confidence: Confidence
    matched: LogMatch
    count: int = 1
    machine_check: MachineCheck
    machine: tuple[SeenThere, ...] = ()
    because: SeenThere | None = None
    remediation: Remediation
    follows: tuple[Consequence, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class LogInput:
    """One log that was read; `note` says what was not read of it, and why."""

    name: str
    lines: int
    size_bytes: int
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Triage:
    """The document of `triage`: causes best first, each with what follows from it. `machine` is the one that judged, and
    `against` how it was looked at: `machine`, `report`, `snapshot`, or `nothing` where only the log was read."""

    kind: str = "triage"
    schema_version: str = SCHEMA_VERSION
    tool: Tool
    created: str  # UTC, ISO 8601 with Z
    against: str
    machine: MachineInfo | None = None
    inputs: tuple[LogInput, ...] = ()
    causes: tuple[LogCause, ...] = ()
