"""What the dashboard's tests share: runs that are played instead of made, and what stands on a screen."""

import asyncio
import queue
from collections.abc import Callable, Iterable

from textual.content import Content
from textual.pilot import Pilot
from textual.widgets import OptionList, Static
from textual.widgets._footer import FooterKey

from infra_doctor.model.report import Report
from infra_doctor.runner.events import (
    Emit,
    Event,
    ProbeFinished,
    ProbeStarted,
    ReportReady,
    RunPlanned,
    TargetsFound,
)
from infra_doctor.tui.app import Dashboard
from infra_doctor.tui.browser import Browser
from tests.support.sample_report import sample_report

SIZES = [(80, 24), (120, 40)]


def events(report: Report) -> list[Event]:
    """What a run that ends in this report says."""
    out: list[Event] = [
        RunPlanned(probes=tuple((p.id, p.title) for p in report.probes)),
        TargetsFound(targets=report.targets),
    ]
    out += [ProbeStarted(id=p.id) for p in report.probes]
    out += [ProbeFinished(outcome=p) for p in report.probes]
    return [*out, ReportReady(report=report)]


def playing(happenings: Iterable[Event]) -> Callable[[Emit], None]:
    """A run that emits these events."""
    recorded = list(happenings)

    def look(emit: Emit) -> None:
        for event in recorded:
            emit(event)

    return look


class Stepped:
    """A run that emits one event at a time, when the test says so."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._emitted: queue.SimpleQueue[None] = queue.SimpleQueue()

    def look(self, emit: Emit) -> None:
        while (event := self._events.get()) is not None:
            emit(event)
            self._emitted.put(None)

    async def emit(self, pilot: Pilot[int], *happenings: Event) -> None:
        for event in happenings:
            self._events.put(event)
            await asyncio.to_thread(self._emitted.get)
        await pilot.pause()
        await pilot.pause()

    def end(self) -> None:
        self._events.put(None)


def dashboard(report: Report | None = None) -> Dashboard:
    """A dashboard whose run gives this report, and whose clock stands still."""
    return Dashboard(playing(events(report or sample_report())), clock=lambda: 0.0)


async def begun(pilot: Pilot[int]) -> None:
    """The run's thread has started."""
    while app_of(pilot).thread is None:
        await pilot.pause()


async def settled(pilot: Pilot[int]) -> Dashboard:
    """The run is over and shown."""
    await begun(pilot)
    app = app_of(pilot)
    assert app.thread is not None
    await asyncio.to_thread(app.thread.join)
    await pilot.pause()
    await pilot.pause()
    return app


def app_of(pilot: Pilot[int]) -> Dashboard:
    app = pilot.app
    assert isinstance(app, Dashboard)
    return app


def text(app: Dashboard, selector: str) -> str:
    """The text of a widget of the base screen."""
    shown = app.screen_stack[0].query_one(selector, Static).content
    return shown.plain if isinstance(shown, Content) else str(shown)


def rows(app: Dashboard) -> list[str]:
    """The lines of the list."""
    prompts = [option.prompt for option in app.screen_stack[0].query_one("#rows", OptionList).options]
    return [prompt.plain for prompt in prompts if isinstance(prompt, Content)]


def browser(app: Dashboard) -> Browser:
    return app.screen_stack[0].query_one(Browser)


def selected(app: Dashboard) -> str:
    """The line under the cursor."""
    row = browser(app).selected
    return row.line.plain if row else ""


def detail(app: Dashboard) -> str:
    return text(app, "#detail-text")


def footer(app: Dashboard) -> list[str]:
    """The footer's words."""
    return [key.description for key in app.screen.query(FooterKey)]
