"""The terminal that the dashboard draws on: always standard output, in ASCII alone where it knows no UTF-8."""

import sys

from textual.app import App
from textual.content import Content
from textual.drivers.linux_driver import LinuxDriver

# As wide as what they stand for, so that columns stay; anything else that is not ASCII becomes `?`.
_STAND_INS = {
    "✖": "x", "‼": "E", "✔": "+", "–": "-", "—": "-", "·": "|", "…": "~", "→": ">", "←": "<", "↔": "-", "└": "`", "◌": "o",
    "▸": ">", "▾": "v", "“": '"', "”": '"', "’": "'", "‘": "'", "×": "x", "≥": ">", "≤": "<",
    "─": "-", "━": "-", "│": "|", "┃": "|", "┌": "+", "┐": "+", "┘": "+", "╭": "+", "╮": "+", "╰": "+", "╯": "+",
    "⏎": "@", "▏": "|", "▎": "|", "▕": "|", "▊": "|", "▌": "|", "▐": "|", "▔": "-",
    "▁": "_", "▂": "_", "▃": "_", "▅": "#", "▆": "#", "▇": "#",
    "█": "#", "▀": "-", "▄": "_", "↑": "^", "↓": "v",
}  # fmt: skip


def speaks_utf8(encoding: str | None) -> bool:
    """Whether a stream of this encoding takes every character that we draw."""
    return (encoding or "").lower().replace("-", "").replace("_", "") in {"utf8", "utf8sig", "cp65001"}


def ascii_cells(text: str) -> str:
    """The text in ASCII, each character as wide as before."""
    if text.isascii():
        return text
    return "".join(c if c.isascii() else _STAND_INS.get(c, "?" * Content(c).cell_length) for c in text)


class TerminalDriver(LinuxDriver):
    """Textual draws on standard error, which may be redirected; what the user looks at is standard output."""

    def __init__(
        self, app: App[object], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        self._file = sys.__stdout__
        self._ascii = not speaks_utf8(getattr(sys.__stdout__, "encoding", None))

    def write(self, data: str) -> None:
        """Everything that reaches the terminal goes through here."""
        super().write(ascii_cells(data) if self._ascii else data)
