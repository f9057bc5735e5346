"""Screen 2: every component with its version and who loads it, and which pairs fit together by which rule."""

from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Footer

from infra_doctor.tui.browser import Browser
from infra_doctor.tui.progress import Progress
from infra_doctor.tui.topbar import TopBar
from infra_doctor.tui.versions_rows import empty_text, sections


class VersionsScreen(Screen[None]):
    """Fills while probes end; pairs are judged at the end."""

    def compose(self) -> ComposeResult:
        """The top line and the components."""
        yield TopBar("versions")
        yield Browser()
        yield Footer(show_command_palette=False)

    def show(self, progress: Progress, *, subject: str, seconds: float) -> None:
        """Show what is found so far, or the report's components and pairs."""
        self.query_one(TopBar).show(progress, subject)
        self.query_one(Browser).show(sections(progress), empty=empty_text(progress))
