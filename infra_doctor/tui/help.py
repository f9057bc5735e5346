"""The help: every key, and what the signs mean."""

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from infra_doctor.model.finding import STATUS_RANK
from infra_doctor.model.wording import MEANING
from infra_doctor.tui.commands import COMMANDS
from infra_doctor.tui.text import MUTED, STRONG, badge, stacked, titled


def help_text() -> Content:
    """Keys and signs."""
    keys = [Content.assemble((f"{c.shown:<12}", STRONG), c.help) for c in COMMANDS]
    signs = [Content.assemble(badge(status), " ", MEANING[status]) for status in STATUS_RANK]
    return stacked(
        titled("Keys", *keys),
        titled("Signs", *signs),
        Content.styled("The mouse works everywhere. esc closes this.", MUTED),
    )


class HelpScreen(ModalScreen[None]):
    """Above the screen that asked for it."""

    BINDINGS = [
        Binding("escape,question_mark,f1,q", "dismiss", "Close", id="help.close", tooltip="Close the help"),
        Binding("j", "scroll(1)", "Down", id="help.down", tooltip="A line down"),
        Binding("k", "scroll(-1)", "Up", id="help.up", tooltip="A line up"),
    ]

    def compose(self) -> ComposeResult:
        """One text that scrolls."""
        with VerticalScroll(id="help"):
            yield Static(help_text(), markup=False)

    def on_mount(self) -> None:
        """Keys go to the text."""
        self.query_one("#help").border_title = "Help"
        self.query_one("#help").focus()

    def action_scroll(self, step: int) -> None:
        """A line down or up."""
        self.query_one("#help").scroll_relative(y=step, animate=False)
