"""What differs between two reports: the document of `diff`."""

from enum import StrEnum

from infra_doctor.model.component import AttributeValue
from infra_doctor.model.finding import Severity, Status
from infra_doctor.model.record import record
from infra_doctor.model.report import SCHEMA_VERSION, MachineInfo, Tool


class Turn(StrEnum):
    """Which way something went."""

    WORSE = "worse"
    BETTER = "better"
    SAME = "same"  # other, and neither better nor worse


@record
class AttributeChange:
    """One attribute of a component before and after; None where it was not there."""

    name: str
    before: AttributeValue
    after: AttributeValue


@record
class ComponentChange:
    """A component that came (`before` None), went (`after` None), or has another version or attributes. Keys are each
    report's own; versions as found."""

    kind: str
    name: str
    target: str | None = None
    before_key: str | None = None
    after_key: str | None = None
    before: str | None = None
    after: str | None = None
    moved: bool = False  # it lies elsewhere now
    attributes: tuple[AttributeChange, ...] = ()


@record
class FindingChange:
    """A finding whose status or words changed. `because` names the changes that explain it, as far as they can be told
    from its subject and evidence."""

    id: str
    turn: Turn
    before: Status | None
    after: Status | None
    severity: Severity
    title: str
    subject: tuple[str, ...] = ()
    because: tuple[str, ...] = ()


@record
class MeasurementChange:
    """The same measurement twice, in `unit`; `ratio` is after / before. `turn` is `same` within the spread of both."""

    benchmark: str
    name: str
    device: str | None
    unit: str
    before: float | None
    after: float | None
    ratio: float | None
    turn: Turn


@record
class Side:
    """One of the two: where it came from, when it was made."""

    source: str
    created: str
    machine: MachineInfo


@record
class Difference:
    """The document. `worse` is whether any finding or measurement got worse, or a device is gone. `devices_gone` is how many
    devices of the first report the second has no more; 0 where it could not look."""

    kind: str = "difference"
    schema_version: str = SCHEMA_VERSION
    tool: Tool
    before: Side
    after: Side
    worse: bool
    devices_gone: int = 0
    findings: tuple[FindingChange, ...] = ()  # the worst first
    components: tuple[ComponentChange, ...] = ()
    measurements: tuple[MeasurementChange, ...] = ()
    notes: tuple[str, ...] = ()
