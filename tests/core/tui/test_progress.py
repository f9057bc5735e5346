"""What the dashboard knows of a run, event by event."""

from functools import reduce

from infra_doctor.errors import InputError
from infra_doctor.model.finding import Status
from infra_doctor.runner.events import ProbeFinished, ProbeStarted, RunFailed, RunPlanned
from infra_doctor.tui.progress import Phase, Progress, after, report_so_far
from tests.core.tui.screens import events
from tests.support.sample_report import sample_report

REPORT = sample_report()


def test_a_whole_run() -> None:
    progress = reduce(after, events(REPORT), Progress())
    assert progress.phase is Phase.JUDGED
    assert progress.done == len(REPORT.probes)
    assert progress.targets == REPORT.targets
    assert report_so_far(progress) is REPORT


def test_the_states_of_a_probe() -> None:
    planned = after(Progress(), RunPlanned(probes=(("nvml", "NVML"),)))
    assert (planned.phase, planned.done, planned.probes["nvml"].started) == (Phase.LOOKING, 0, False)
    started = after(planned, ProbeStarted(id="nvml"))
    assert started.probes["nvml"].started
    outcome = next(p for p in REPORT.probes if p.id == "nvml")
    done = after(started, ProbeFinished(outcome=outcome, components=REPORT.components[:2]))
    assert done.probes["nvml"].outcome == outcome
    assert outcome.status is Status.ERROR
    assert (done.done, done.probes["nvml"].found) == (1, 2)


def test_a_probe_that_was_not_planned_is_shown_too() -> None:
    progress = after(after(Progress(), ProbeStarted(id="x")), ProbeFinished(outcome=REPORT.probes[0]))
    assert list(progress.probes) == ["x", "cuda-toolkit"]


def test_components_found_so_far_once_each() -> None:
    found = ProbeFinished(outcome=REPORT.probes[0], components=REPORT.components[:2])
    progress = after(after(Progress(), found), found)
    assert report_so_far(progress).components == REPORT.components[:2]


def test_an_error_keeps_what_was_seen() -> None:
    error = InputError("no")
    progress = reduce(after, [*events(REPORT)[:4], RunFailed(error=error)], Progress())
    assert (progress.phase, progress.error) == (Phase.FAILED, error)
    assert len(progress.probes) == len(REPORT.probes)
