"""A page of plain text under construction: width, colour, paragraphs that keep within the width."""

from typing import Any

from infra_doctor.plugin import inert, printable, shortened, to_ascii

MIN_WIDTH, MAX_WIDTH = 40, 120
# A piece of a long path shorter than this does not stand at the end of a line.
SHORTEST_PIECE = 12


class Page:
    """Lines of text. Options: color, ascii, width, verbose."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.ascii = bool(options.get("ascii", False))
        self.color = bool(options.get("color", False))
        self.width = max(MIN_WIDTH, min(int(options.get("width") or 80), MAX_WIDTH))
        self.verbose = int(options.get("verbose") or 0)
        self.lines: list[str] = []

    def text(self) -> str:
        """All of it. No line is a command for the runner of a CI system, wherever a text from the machine was broken."""
        whole = inert("\n".join(self.lines) + "\n")
        return to_ascii(whole) if self.ascii else whole

    def paint(self, text: str, code: str) -> str:
        """The text in an ANSI colour, where colour is wanted."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.color and text else text

    def blank(self) -> None:
        """One empty line, never two."""
        if self.lines and self.lines[-1]:
            self.lines.append("")

    def heading(self, text: str) -> None:
        """The start of a section."""
        self.blank()
        self.lines.append(self.paint(printable(text), "1"))

    def words(self, text: str, indent: int, *, lead: str = "", taken: int | None = None, code: str = "") -> None:
        """A wrapped paragraph. `lead` stands before its first line and takes `taken` columns (the indent, if not given).
        Line breaks of the text are kept."""
        start, used = lead or " " * indent, indent if taken is None else taken
        for paragraph in text.split("\n"):
            for line in wrapped(printable(paragraph), self.width - indent, used - indent):
                self.lines.append(start + (self.paint(line, code) if code else line))
                start, used = " " * indent, indent

    def field(self, label: str, text: str, indent: int, column: int) -> None:
        """`label  text`, the text wrapped in its own column."""
        name = f"{shortened(printable(label), 20):<{column - 2}}  "
        self.words(text, indent + len(name), lead=" " * indent + self.paint(name, "2"))

    def listing(self, label: str, values: tuple[str, ...], indent: int, column: int) -> None:
        """`label  one · two`, broken between the values."""
        name = f"{shortened(printable(label), 20):<{column - 2}}  "
        lead, body = " " * indent + self.paint(name, "2"), indent + len(name)
        line = ""
        for value in map(printable, values):
            if line and body + len(line) + len(value) + 5 > self.width:
                self.words(line + " ·", body, lead=lead)
                lead, line = "", value
            else:
                line = f"{line} · {value}" if line else value
        self.words(line, body, lead=lead)


def wrapped(text: str, width: int, taken: int = 0) -> list[str]:
    """Lines of at most `width` characters (`taken` fewer on the first), broken at spaces; a word that is longer than a
    line is broken after a `/` where it has one."""
    lines: list[str] = []
    line = ""
    room = width - taken
    for whole in text.split(" "):
        word = whole
        while len(word) > width:
            free = room - len(line) - 1 if line else room
            cut = word.rfind("/", 0, max(free, 0)) + 1
            if cut < SHORTEST_PIECE:
                if line:
                    lines.append(line)
                    line, room = "", width
                    continue
                cut = max(free, 1)
            lines.append(f"{line} {word[:cut]}" if line else word[:cut])
            line, word, room = "", word[cut:], width
        joined = f"{line} {word}" if line else word
        if len(joined) <= room:
            line = joined
        else:
            lines.append(line)
            line, room = word, width
    return [*lines, line]
