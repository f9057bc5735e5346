"""Rows of a list: sections, groups that open, and the filter. Pure, apart from the text type of the screen."""

from collections.abc import Callable, Iterator, Sequence

from textual.content import Content

from infra_doctor.model.record import record
from infra_doctor.tui.text import HEADING


@record
class Row:
    """One line of a list. `id` keeps the selection over updates. `detail` is built only for the selected row. `words` is what
    the filter searches. `copy` is the text for the clipboard, `why_no_copy` says why there is none.
    A row with `rows` is a group that opens."""

    id: str
    line: Content
    detail: Callable[[], Content]
    words: str = ""
    copy: str = ""
    why_no_copy: str = "Nothing to copy here."
    rows: tuple["Row", ...] = ()


@record
class Section:
    """Rows under a heading."""

    title: str
    rows: tuple[Row, ...]


@record
class Line:
    """A line as shown: a row, or with `row` None a heading that cannot be selected."""

    text: Content
    row: Row | None = None


def lines(sections: Sequence[Section], *, opened: frozenset[str], needle: str = "", roomy: bool = False) -> list[Line]:
    """What is to be shown. With a needle, only rows that hold all its words, and the groups that hold such rows, open.
    `roomy` puts an empty line between sections."""
    wanted = needle.casefold().split()
    shown: list[Line] = []
    for section in sections:
        rows = list(_shown(section.rows, opened, wanted, depth=0))
        if rows:
            if roomy and shown:
                shown.append(Line(text=Content()))
            shown.append(Line(text=Content.styled(section.title, HEADING)))
            shown += rows
    return shown


def _shown(rows: tuple[Row, ...], opened: frozenset[str], wanted: list[str], *, depth: int) -> Iterator[Line]:
    indent = "  " * depth
    for row in rows:
        if not row.rows:
            if _matches(row, wanted):
                yield Line(text=Content(f"{indent}  ") + row.line, row=row)
            continue
        inner = list(_shown(row.rows, opened, wanted, depth=depth + 1))
        is_open = bool(wanted) or row.id in opened
        if inner:
            yield Line(text=Content(f"{indent}{'▾' if is_open else '▸'} ") + row.line, row=row)
            yield from inner if is_open else ()


def _matches(row: Row, wanted: list[str]) -> bool:
    text = f"{row.line.plain} {row.words}".casefold() if wanted else ""
    return all(word in text for word in wanted)
