"""Screen 1: the verdict in a sentence, causes with what follows from them, what to change, and the evidence."""

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import Screen
from textual.widgets import Footer, Static

from infra_doctor.tui.browser import Browser
from infra_doctor.tui.progress import Phase, Progress
from infra_doctor.tui.topbar import TopBar
from infra_doctor.tui.verdict_rows import counts_line, machine_line, sections, verdict_line


class VerdictScreen(Screen[None]):
    """Fed by the same events as the command line."""

    _phase = Phase.STARTING

    def compose(self) -> ComposeResult:
        """The top line, the verdict, the findings."""
        yield TopBar("verdict")
        with Vertical(id="head"):
            yield Static(verdict_line(Progress(), 0.0), id="verdict", markup=False)
            yield Static(id="counts", markup=False)
            yield Static(id="stack", markup=False)
        yield Browser()
        yield Footer(show_command_palette=False)

    def show(self, progress: Progress, *, subject: str, seconds: float) -> None:
        """Show how far the run is, or its verdict."""
        self.query_one(TopBar).show(progress, subject)
        self.query_one("#verdict", Static).update(verdict_line(progress, seconds))
        self.query_one("#counts", Static).update(counts_line(progress))
        self.query_one("#stack", Static).update(machine_line(progress))
        # With the verdict there, the worst finding is selected, not whatever row was looked at before.
        keep, self._phase = self._phase is progress.phase, progress.phase
        self.query_one(Browser).show(sections(progress), empty="Starting: no probe is known yet.", keep=keep)
