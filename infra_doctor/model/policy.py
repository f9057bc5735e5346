"""The policy: what a machine must be, and which findings count. Read from `infra-doctor.toml`, `[tool.infra-doctor]` of a
pyproject.toml, or `--require` on the command line; one parser serves all (`infra_doctor.policy`)."""

from dataclasses import field
from enum import StrEnum

from infra_doctor.model.finding import Severity, Status
from infra_doctor.model.record import record

# What the subjects of findings about a policy start with: "policy:gpu.count".
POLICY_KIND = "policy"
FAIL_ON = ("fail", "warn", "unknown", "never")  # from which status on `check` leaves with exit code 1
UNLIMITED = 1 << 63  # as a size: no limit at all; above every size that there is


class SpecKind(StrEnum):
    """What a requirement's value is compared as."""

    VERSION = "version"  # PEP 440 ranges: ">=580,<600", "==2.8.*"
    COUNT = "count"  # whole numbers: 8, ">=4"
    SIZE = "size"  # bytes with a unit: ">=80 GiB"; "unlimited" is above all
    NAME = "name"  # words of a name, any of several: "H200", ["H100", "H200"], "NVIDIA A100*"
    FLAG = "flag"  # true or false


@record
class Place:
    """Where a line of a policy stands. `line` counts from 1; 0 is the file as a whole, or the command line."""

    source: str  # the file as it was named, or "--require"
    line: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


@record
class Clause:
    """One comparison: an operator (`==`, `!=`, `>=`, `<=`, `>`, `<`, `~=`, `===`) and its right side: a version's text, a
    whole number, or a number of base units (bytes, B/s, FLOP/s, s, 1 for a share). `tolerance`, in the same units, is what
    equality does not look at: half of the last digit that was written, as in "==79.6 GiB"."""

    operator: str
    value: str | int | float
    tolerance: int = 0


@record
class Spec:
    """The right side of a requirement. `present` alone (no clauses, no names): the thing must be there, or must not.
    All `clauses` must hold; one of `names` must fit. `text` is what the user wrote, for messages."""

    kind: SpecKind
    text: str
    present: bool = True
    clauses: tuple[Clause, ...] = ()
    names: tuple[str, ...] = ()


@record
class Requirement:
    """One line of `[require]`: a key that a plug-in knows ("gpu.count", "package.vllm") and what it must be."""

    key: str
    spec: Spec
    place: Place


@record
class Threshold:
    """One line of `[measure]`: measurements whose "benchmark name" matches the pattern (shell wildcards) must meet all
    clauses. `unit` is the base unit the clauses are in; "1" is the share of the expected value."""

    pattern: str
    unit: str
    text: str
    clauses: tuple[Clause, ...]
    place: Place


@record
class WaiverRule:
    """One of `[[waivers]]`: findings of this id (whose subject has a key that matches `subject`, where given) do not count
    up to and with the day `until` (ISO date, UTC)."""

    id: str
    until: str
    reason: str
    subject: str | None = None
    place: Place


@record
class Override:
    """A line of `[severity]` or `[status]`."""

    place: Place
    severity: Severity | None = None
    status: Status | None = None


@record
class Policy:
    """All of it. `sources` are the files read, as named. None means: not said."""

    sources: tuple[str, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    severities: dict[str, Override] = field(default_factory=dict)  # by finding id
    statuses: dict[str, Override] = field(default_factory=dict)
    waivers: tuple[WaiverRule, ...] = ()
    only: tuple[str, ...] = ()  # ids that judge; all where empty
    skip: tuple[str, ...] = ()
    presets: tuple[str, ...] = ()
    fail_on: str | None = None
    lenient: bool | None = None
    timeout_s: float | None = None
