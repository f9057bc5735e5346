"""What a run tells while it goes on: CLI progress, dashboard and log are listeners."""

from collections.abc import Callable

from infra_doctor.model.component import Component, Target
from infra_doctor.model.record import record
from infra_doctor.model.report import ProbeOutcome, Report


@record
class RunPlanned:
    """The probes that will run, as (id, title), in their order."""

    probes: tuple[tuple[str, str], ...]


@record
class TargetsFound:
    """The Python environments that are judged."""

    targets: tuple[Target, ...]


@record
class ProbeStarted:
    """A probe has begun."""

    id: str


@record
class ProbeFinished:
    """A probe has ended, with the components that it found."""

    outcome: ProbeOutcome
    components: tuple[Component, ...] = ()


@record
class ReportReady:
    """The run is over."""

    report: Report


@record
class RunFailed:
    """The run ended by an error."""

    error: BaseException


Event = RunPlanned | TargetsFound | ProbeStarted | ProbeFinished | ReportReady | RunFailed
Emit = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Nobody listens."""
