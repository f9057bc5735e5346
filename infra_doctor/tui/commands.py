"""One table of commands: key bindings, footer, help and palette are all made from it, so that none can lag behind."""

from textual.binding import Binding

from infra_doctor.model.record import record


@record
class Command:
    """What a user can ask for. `shown` is how help writes the keys; the footer has few entries, the palette only what makes
    sense without a selection in view."""

    id: str
    keys: tuple[str, ...]
    shown: str
    action: str
    label: str
    help: str
    footer: bool = False
    palette: bool = False


COMMANDS: tuple[Command, ...] = (
    Command(
        id="verdict", keys=("1",), shown="1", action="show('verdict')", label="Verdict", palette=True,
        help="What is wrong, causes first, and what to change",
    ),
    Command(
        id="versions", keys=("2",), shown="2", action="show('versions')", label="Versions", palette=True,
        help="Every component, who loads it, and what fits together",
    ),
    Command(id="down", keys=("down", "j"), shown="j, down", action="move(1)", label="Down", help="The next row, or line"),
    Command(id="up", keys=("up", "k"), shown="k, up", action="move(-1)", label="Up", help="The row, or line, before"),
    Command(
        id="first", keys=("g", "home"), shown="g, home", action="edge(-1)", label="First", help="The first row, or line",
    ),
    Command(id="last", keys=("G", "end"), shown="G, end", action="edge(1)", label="Last", help="The last row, or line"),
    Command(
        id="page-down", keys=("pagedown",), shown="page down", action="page(1)", label="Page down", help="A page down",
    ),
    Command(id="page-up", keys=("pageup",), shown="page up", action="page(-1)", label="Page up", help="A page up"),
    Command(
        id="open", keys=("enter",), shown="enter", action="open", label="Open", footer=True,
        help="Open or close a group (▸), or read the details",
    ),
    Command(
        id="back", keys=("escape",), shown="esc", action="go_back", label="Back", footer=True,
        help="Leave the details; end the filter",
    ),
    Command(
        id="filter", keys=("slash",), shown="/", action="filter", label="Filter", footer=True,
        help="Show only rows that hold these words",
    ),
    Command(
        id="copy", keys=("c",), shown="c", action="copy", label="Copy", footer=True, palette=True,
        help="Copy the command that repairs this, or this component's path",
    ),
    Command(
        id="again", keys=("r",), shown="r", action="run_again", label="Run again", footer=True, palette=True,
        help="Look at the machine again",
    ),
    Command(
        id="help", keys=("question_mark", "f1"), shown="?, F1", action="help", label="Help", footer=True, palette=True,
        help="These keys, and what the signs mean",
    ),
    Command(
        id="palette", keys=("ctrl+p",), shown="ctrl+p", action="command_palette", label="Palette",
        help="All commands and the colour themes, by name",
    ),
    Command(
        id="quit", keys=("q", "ctrl+q"), shown="q, ctrl+q", action="quit", label="Quit", footer=True, palette=True,
        help="Leave at once, whatever is still under way",
    ),
)  # fmt: skip


def bindings() -> list[Binding]:
    """One binding per key, each with an id of its own; control keys work in dialogues too."""
    return [
        Binding(
            key, command.action, command.label,
            id=command.id if number == 0 else f"{command.id}.{key}",
            show=command.footer and number == 0,
            tooltip=command.help,
            priority=key.startswith("ctrl+"),
        )
        for command in COMMANDS
        for number, key in enumerate(command.keys)
    ]  # fmt: skip
