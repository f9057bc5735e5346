"""The first line of every screen: name, the screens with their keys, and the machine that is looked at."""

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from infra_doctor.tui.commands import COMMANDS
from infra_doctor.tui.progress import Phase, Progress
from infra_doctor.tui.text import said

SCREENS = tuple(command for command in COMMANDS if command.action.startswith("show("))


class Tab(Static):
    """A screen's key and name; a click does what the key does."""

    def __init__(self, text: str, action: str, *, active: bool) -> None:
        super().__init__(text, markup=False, classes="-active" if active else "")
        self._action = action

    async def on_click(self) -> None:
        """Show that screen."""
        await self.app.run_action(self._action)


class TopBar(Horizontal):
    """`active` is the id of the screen's command."""

    def __init__(self, active: str) -> None:
        super().__init__()
        self._active = active

    def compose(self) -> ComposeResult:
        """Name, screens, machine."""
        yield Static("infra-doctor", id="brand", markup=False)
        for command in SCREENS:
            yield Tab(f"{command.shown} {command.label}", command.action, active=command.id == self._active)
        yield Static(id="machine", markup=False)

    def show(self, progress: Progress, subject: str) -> None:
        """The machine's alias and form once they are known, else what was asked for."""
        self.query_one("#machine", Static).update(machine_text(progress, subject))


def machine_text(progress: Progress, subject: str) -> Content:
    """`node-1f3a · live`, and while probes look how many are done."""
    report = progress.report
    words = f"{report.machine.name} · {report.machine.form}" if report else subject
    if progress.phase is Phase.LOOKING:
        words = f"{words} · looking {progress.done}/{len(progress.probes)}"
    return said(words)
