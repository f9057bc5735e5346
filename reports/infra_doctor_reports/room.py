"""A page of lines in no more than so many bytes: what matters most gets room first, and what found none is counted."""

from collections.abc import Iterable, Sequence

from infra_doctor.plugin import record

NOTE_ROOM = 800  # for what is said of what was left out


@record
class Part:
    """A piece of the page. `lines` stand or do not; of `rows`, as many as there is room for. `rank`: the lower, the sooner
    it gets room. `name`: what it holds, where it is left out. `instead` is what stands for it then."""

    rank: int
    lines: tuple[str, ...]
    rows: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    name: str = ""
    instead: tuple[str, ...] = ()


def fitted(parts: Sequence[Part], cap: int) -> str:
    """The page of what fits; empty where not even its first part does. The last part is the footer."""
    room = cap - NOTE_ROOM
    kept: dict[int, tuple[str, ...]] = {}
    left_out: dict[str, int] = {}
    for number, part in sorted(enumerate(parts), key=lambda pair: (pair[1].rank, pair[0])):
        shown, missing = _shown(part, room)
        if missing and part.name:
            left_out[part.name] = left_out.get(part.name, 0) + missing
        if shown:
            kept[number] = shown
            room -= _size(shown)
    if 0 not in kept:
        return ""
    *pages, footer = (kept.get(number, ()) for number in range(len(parts)))
    lines = [line for page in pages for line in page]
    if left_out:
        said = ", ".join(f"{count} × {name}" for name, count in left_out.items())
        lines += [
            f"**Left out, as there is no room for it here: {said}.** The whole: `infra-doctor check --html report.html`.",
            "",
        ]
    return "\n".join([*lines, *footer]) + "\n"


def _shown(part: Part, room: int) -> tuple[tuple[str, ...], int]:
    """The lines of the part for which there is room, and how many of its things are missing."""
    frame = (*part.lines, *part.end)
    if _size((*frame, *part.rows)) <= room:
        return (*part.lines, *part.rows, *part.end), 0
    rows: list[str] = []
    left = room - _size(frame)
    for row in part.rows:
        left -= _size((row,))
        if left < 0:
            break
        rows.append(row)
    if rows:
        return (*part.lines, *rows, *part.end), len(part.rows) - len(rows)
    return (part.instead if _size(part.instead) <= room else ()), len(part.rows) or 1


def _size(lines: Iterable[str]) -> int:
    return sum(len(line.encode("utf-8", "backslashreplace")) + 1 for line in lines)
