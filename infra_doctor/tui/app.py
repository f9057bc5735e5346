"""The dashboard: paints first, then looks at the machine on a thread of its own, and shows what comes as it comes.

Nothing here waits for the run. The thread is a daemon of ours, not Textual's: its pool is joined at exit, and a probe may
hang in a driver for ever. Events reach the screens through `post_message`, which is safe from any thread."""

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.message import Message
from textual.screen import Screen
from textual.theme import Theme

from infra_doctor.errors import ExitCode, InfraDoctorError
from infra_doctor.runner.events import Emit, Event, RunFailed
from infra_doctor.tui.browser import Browser
from infra_doctor.tui.commands import COMMANDS, bindings
from infra_doctor.tui.progress import Phase, Progress, after
from infra_doctor.tui.verdict import VerdictScreen
from infra_doctor.tui.versions import VersionsScreen

if TYPE_CHECKING:
    from infra_doctor.runner.run import RunOptions

Look = Callable[[Emit], object]
THEME = Theme(
    name="infra-doctor", dark=True,
    primary="#4f8fd0", secondary="#9d8cd6", accent="#45b8ac",
    foreground="#d8dee6", background="#10141a", surface="#161c24", panel="#1f2731",
    success="#6cbf84", warning="#e0a84e", error="#e5606b",
    variables={
        "scrollbar": "#3b4756", "scrollbar-hover": "#4d5b6d", "scrollbar-active": "#45b8ac",
        "scrollbar-background": "#10141a", "scrollbar-background-hover": "#161c24", "scrollbar-background-active": "#161c24",
        "scrollbar-corner-color": "#10141a",
    },
)  # fmt: skip


class RunEvent(Message):
    """An event of the run with this number."""

    def __init__(self, number: int, event: Event) -> None:
        super().__init__()
        self.number = number
        self.event = event


class Dashboard(App[int]):
    """`look` makes one run and emits its events; it is called on a thread. `subject` names what is looked at until the run
    has named it. `clock` gives seconds."""

    TITLE = "infra-doctor"
    CSS_PATH = Path(__file__).with_name("dashboard.tcss")
    BINDINGS: ClassVar[list[BindingType]] = [*bindings()]
    MODES = {"verdict": VerdictScreen, "versions": VersionsScreen}
    DEFAULT_MODE = "verdict"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-tall")]

    def __init__(
        self, look: Look, *, subject: str = "this machine", clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._look = look
        self._subject = subject
        self._clock = clock
        self._began = clock()
        self._number = 0
        self._stale = False
        self.progress = Progress()
        self.thread: threading.Thread | None = None
        self.register_theme(THEME)
        if self.theme == "textual-dark":  # not where TEXTUAL_THEME says otherwise
            self.theme = THEME.name
        if self.no_color:
            # Switched to while running, these would be black on black: the filter for NO_COLOR is chosen at start.
            for name, theme in self.available_themes.items():
                if theme.ansi and name != self.theme:
                    self.unregister_theme(name)

    def on_ready(self) -> None:
        """The first frame is drawn; then the run begins."""
        self.set_interval(1.0, self._tick)
        self.call_after_refresh(self.begin)

    # -- the run --------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start a run; what an earlier one still emits is dropped."""
        self._number += 1
        self._began = self._clock()
        self.progress = Progress()
        self.thread = threading.Thread(target=self._run, args=(self._number,), name="run", daemon=True)
        self.thread.start()
        self._update()

    def _run(self, number: int) -> None:
        def emit(event: Event) -> None:
            with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody looks any more
                self.post_message(RunEvent(number, event))

        try:
            self._look(emit)
        except BaseException as error:  # noqa: BLE001  whatever ended the run is shown, or it would seem to go on
            emit(RunFailed(error=error))

    def on_run_event(self, message: RunEvent) -> None:
        """The run has said something."""
        if message.number == self._number:
            self.progress = after(self.progress, message.event)
            self._update()

    def _tick(self) -> None:
        if self.progress.phase is Phase.LOOKING:
            self._update()

    def _update(self) -> None:
        """Show the progress, once for however many events have come."""
        if not self._stale:
            self._stale = True
            self.call_later(self._show)

    def _show(self) -> None:
        self._stale = False
        screen = self.screen_stack[0]
        if isinstance(screen, VerdictScreen | VersionsScreen) and screen.is_mounted:
            screen.show(self.progress, subject=self._subject, seconds=self._clock() - self._began)

    @property
    def exit_code(self) -> int:
        """Of a dashboard that was quit: 0, or that of the error which ended its run."""
        error = self.progress.error
        if error is None:
            return ExitCode.OK
        return int(error.exit_code) if isinstance(error, InfraDoctorError) else ExitCode.FAULT

    def clear_selection(self) -> None:
        """The filter's input asks for this while the first screen is still being mounted, where asyncio runs tasks eagerly
        (Python 3.12 and newer): then there is no selection yet."""
        if self.screen_stack:
            super().clear_selection()

    # -- what the keys do -----------------------------------------------------------------------------------------

    @property
    def _browser(self) -> Browser:
        return self.screen_stack[0].query_one(Browser)

    async def action_show(self, screen: str) -> None:
        """Show that screen."""
        await self.switch_mode(screen)
        self._update()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """`enter`, `esc` and `/` stand in the footer only where they do something."""
        if action in ("open", "go_back", "filter") and self.screen_stack:
            browsers = self.screen_stack[0].query(Browser)
            return bool(browsers) and browsers.first().can(action)
        return True

    def action_move(self, step: int) -> None:
        """A row or line."""
        self._browser.move(step)

    def action_page(self, step: int) -> None:
        """A page."""
        self._browser.page(step)

    def action_edge(self, step: int) -> None:
        """To the first or last."""
        self._browser.edge(step)

    def action_open(self) -> None:
        """Open a group, or read the details."""
        self._browser.open()

    def action_go_back(self) -> None:
        """Back, or end the filter."""
        self._browser.back()

    def action_filter(self) -> None:
        """Ask for the filter's words."""
        self._browser.start_filter()

    def action_run_again(self) -> None:
        """Run again, unless a run is under way."""
        if self.progress.phase in (Phase.STARTING, Phase.LOOKING):
            self.notify("The run is still under way.", markup=False)
        else:
            self.begin()

    def action_copy(self) -> None:
        """Copy what the selected row offers (OSC 52, which reaches the user's own terminal over SSH too)."""
        row = self._browser.selected
        if row is None or not row.copy:
            self.notify(row.why_no_copy if row else "Nothing is selected.", severity="warning", markup=False)
            return
        self.copy_to_clipboard(row.copy)
        self.notify(row.copy, title="Copied", markup=False)

    def action_help(self) -> None:
        """Keys and signs."""
        from infra_doctor.tui.help import HelpScreen

        self.push_screen(HelpScreen())

    def get_system_commands(self, screen: Screen[object]) -> list[SystemCommand]:
        """The palette: the table's commands, and the themes."""
        table = [SystemCommand(c.label, c.help, partial(self.run_action, c.action)) for c in COMMANDS if c.palette]
        return [*table, SystemCommand("Theme", "Change the colours", self.action_change_theme)]

    def _fatal_error(self) -> None:
        # A fault of the dashboard's own: a sentence for the user, never a traceback.
        error = self._exception
        self.panic(
            f"infra-doctor: a fault of our own: {type(error).__name__}. `infra-doctor check` needs no dashboard."
        )


def run_dashboard(options: "RunOptions | None" = None) -> int:
    """Show the dashboard until the user leaves it; gives the exit code."""
    from infra_doctor.tui.terminal import TerminalDriver

    app = Dashboard(partial(_look, options), subject=_subject(options))
    app.driver_class = TerminalDriver
    return asyncio.run(_session(app))


async def _session(app: Dashboard) -> int:
    # Ended by a signal, the terminal must still get back its own screen and keys.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, app.exit, 128 + signal.SIGTERM)
    asked = await app.run_async()
    if app.return_code:
        return ExitCode.FAULT
    return app.exit_code if asked is None else asked


def _look(options: "RunOptions | None", emit: Emit) -> None:
    from infra_doctor.runner.run import Run, RunOptions  # on the run's thread, after the first frame

    Run(options or RunOptions(), emit=emit).execute()


def _subject(options: "RunOptions | None") -> str:
    if options is not None and options.replay is not None:
        return f"snapshot {options.replay}"
    if options is not None and options.root is not None:
        return f"files under {options.root}"
    return "this machine"
