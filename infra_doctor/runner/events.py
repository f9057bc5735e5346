"""What a run tells while it goes on: one thread-safe queue; CLI progress, dashboard and log are listeners."""

import queue
from collections.abc import Callable
from dataclasses import dataclass

from infra_doctor.model.component import Component, Target
from infra_doctor.model.report import ProbeOutcome, Report


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPlanned:
    """The probes that will run, as (id, title), in their order."""

    probes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetsFound:
    """The Python environments that are judged."""

    targets: tuple[Target, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeStarted:
    """A probe has begun."""

    id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeFinished:
    """A probe has ended, with the components that it found."""

    outcome: ProbeOutcome
    components: tuple[Component, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportReady:
    """The run is over."""

    report: Report


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFailed:
    """The run ended by an error."""

    error: BaseException


Event = RunPlanned | TargetsFound | ProbeStarted | ProbeFinished | ReportReady | RunFailed
EventQueue = queue.SimpleQueue[Event]
Emit = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Nobody listens."""
