"""Text from a machine inside of GitHub's Markdown (https://github.github.com/gfm/): what forms markup, mentions somebody or links
to an issue does not.

Marks are escaped. A zero-width space stands after `@`, `#` and `GH`, for which GitHub looks after it has rendered the page
(https://docs.github.com/get-started/writing-on-github/working-with-advanced-formatting/autolinked-references-and-urls). An
address on GitHub is shown as code: as a link in an issue it would leave a note in the issue that it names."""

import re

from infra_doctor.plugin import is_web_link, printable

_MARKS = str.maketrans(
    {c: "\\" + c for c in "\\`*_[]|~$"}
    | {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "@&#8203;", "#": "#&#8203;", "\n": "<br>"}
)
# What makes a list, a line or a heading's underline where a paragraph begins; `::` is for the runner of a CI system.
_BLOCK = re.compile(r"\d{1,9}(?=[.)](?:\s|$))|(?=[-+](?:[\s-]|$)|=|::)")
_REFERENCE = re.compile(r"\b(GH)-(?=\d)", re.IGNORECASE)
_GITHUB = re.compile(r"(https?://(?:[\w-]+\.)?github\.com/[^\s<>|`\\]*)", re.IGNORECASE)


def prose(text: str) -> str:
    """Text that stands for itself: no mark in it means anything, wherever it is put."""
    parts = _GITHUB.split(printable(text, lines=True).strip())
    shown = "".join(code(part) if number % 2 else _escaped(part) for number, part in enumerate(parts))
    found = _BLOCK.match(shown)
    return f"{shown[: found.end()]}\\{shown[found.end() :]}" if found else shown


def _escaped(text: str) -> str:
    return _REFERENCE.sub(r"\1&#8203;-", text.translate(_MARKS))


def code(text: str, *, in_table: bool = False) -> str:
    """A code span that ends where it should. In a table a bar ends the cell even inside of code."""
    shown = printable(text).replace("|", "\\|") if in_table else printable(text)
    fence = "`" * (longest_run(shown) + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") or not shown.strip() else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def longest_run(text: str) -> int:
    """How many backticks stand in a row at most."""
    return max(map(len, re.findall("`+", text)), default=0)


def link(address: str, *, backlinks: bool = True) -> str:
    """The address as a link, or as code where it cannot be one. Without `backlinks`, GitHub's own are code."""
    if not is_web_link(address) or (not backlinks and _GITHUB.match(address)):
        return code(address)
    return f"<{address}>"
