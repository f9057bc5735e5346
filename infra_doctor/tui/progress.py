"""What the dashboard knows of a run: a value that each event turns into the next one. Pure."""

from dataclasses import field, replace
from enum import StrEnum

from infra_doctor.model.component import Component, Target
from infra_doctor.model.record import record
from infra_doctor.model.report import MachineInfo, ProbeOutcome, Report, Tool
from infra_doctor.runner.events import (
    Event,
    ProbeFinished,
    ProbeStarted,
    ReportReady,
    RunFailed,
    RunPlanned,
    TargetsFound,
)


class Phase(StrEnum):
    """How far a run is."""

    STARTING = "starting"
    LOOKING = "looking"
    JUDGED = "judged"
    FAILED = "failed"


@record
class ProbeState:
    """One probe: queued until `started`, then looking until there is an `outcome`. `found` counts components."""

    id: str
    title: str
    started: bool = False
    outcome: ProbeOutcome | None = None
    found: int = 0


@record
class Progress:
    """The run so far. `targets` and `components` are as seen, before redaction; the report has them redacted."""

    phase: Phase = Phase.STARTING
    probes: dict[str, ProbeState] = field(default_factory=dict)
    targets: tuple[Target, ...] = ()
    components: tuple[Component, ...] = ()
    report: Report | None = None
    error: BaseException | None = None

    @property
    def done(self) -> int:
        """How many probes have ended."""
        return sum(p.outcome is not None for p in self.probes.values())


def after(progress: Progress, event: Event) -> Progress:
    """The progress once this event has happened."""
    match event:
        case RunPlanned():
            probes = {id_: ProbeState(id=id_, title=title) for id_, title in event.probes}
            return replace(progress, phase=Phase.LOOKING, probes=probes)
        case TargetsFound():
            return replace(progress, targets=event.targets)
        case ProbeStarted():
            state = progress.probes.get(event.id) or ProbeState(id=event.id, title=event.id)
            return _with(progress, replace(state, started=True))
        case ProbeFinished():
            outcome = event.outcome
            state = progress.probes.get(outcome.id) or ProbeState(id=outcome.id, title=outcome.title or outcome.id)
            state = replace(state, started=True, outcome=outcome, found=len(event.components))
            known = {c.key for c in progress.components}
            new = tuple(c for c in event.components if c.key not in known)
            return replace(_with(progress, state), components=(*progress.components, *new))
        case ReportReady():
            return replace(progress, phase=Phase.JUDGED, report=event.report)
        case RunFailed():
            return replace(progress, phase=Phase.FAILED, error=event.error)


def _with(progress: Progress, state: ProbeState) -> Progress:
    return replace(progress, probes={**progress.probes, state.id: state})


def report_so_far(progress: Progress) -> Report:
    """The report, or while there is none a document of the components found so far."""
    if progress.report is not None:
        return progress.report
    outcomes = tuple(p.outcome for p in progress.probes.values() if p.outcome is not None)
    return Report(
        tool=Tool(), created="", machine=MachineInfo(name="", form=""),
        targets=progress.targets, probes=outcomes, components=progress.components,
    )  # fmt: skip
