"""The report: everything of one run as one document. Front ends render it; none computes."""

from dataclasses import field
from typing import Any

from infra_doctor.model.compatibility import Compatibility
from infra_doctor.model.component import Component, Target
from infra_doctor.model.finding import Diagnosis, Finding, Status
from infra_doctor.model.record import record

SCHEMA_VERSION = "1.0"


@record
class Tool:
    """Who wrote the document."""

    name: str = "infra-doctor"
    version: str = ""


@record
class MachineInfo:
    """The machine looked at. `name` is an alias unless the user asked to identify it."""

    name: str
    form: str  # live, rooted, replayed, remote
    capabilities: tuple[str, ...] = ()
    identified: bool = False


@record
class ProbeOutcome:
    """How one probe ended: `pass` (collected), `skip` with the reason, or `error` with the reason."""

    id: str
    version: int
    title: str = ""
    status: Status
    reason: str = ""


@record
class Measurement:
    """One benchmark result. `value` is in `unit` (SI base units: "B/s", "FLOP/s", "s")."""

    benchmark: str
    name: str
    value: float
    unit: str
    device: str | None = None
    sample_count: int = 1
    spread: float | None = None
    expected: float | None = None
    expected_source: str | None = None
    ratio: float | None = None
    method: str = ""
    conditions: dict[str, Any] = field(default_factory=dict)
    verified: bool = False


@record
class Report:
    """The document. All tuples are in a total order; `summary` counts findings by status, with 0 for those absent."""

    kind: str = "report"
    schema_version: str = SCHEMA_VERSION
    tool: Tool
    created: str  # UTC, ISO 8601 with Z
    machine: MachineInfo
    targets: tuple[Target, ...] = ()
    policy: dict[str, Any] | None = None  # what the run was held against: {"sources", "require", "measure", "baseline"}
    summary: dict[str, int] = field(default_factory=dict)
    probes: tuple[ProbeOutcome, ...] = ()
    facts: tuple[dict[str, Any], ...] = ()  # each {"probe", "type", "version", ...the fact's own fields}
    components: tuple[Component, ...] = ()
    compatibility: tuple[Compatibility, ...] = ()
    findings: tuple[Finding, ...] = ()  # worst first
    diagnoses: tuple[Diagnosis, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    profiles: tuple[dict[str, Any], ...] = ()
    run: dict[str, Any] | None = None  # timings; left out under SOURCE_DATE_EPOCH
