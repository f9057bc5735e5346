"""What belongs together around one line: the lines of the same writer, and those that a terminal wrapped.

A wrap leaves no mark, so that a place where a line may have been broken is read in three ways: as two lines, as one line
cut at its last column, and as one broken between two words. A signature must match in one of them, and on the line asked
for. Cost is bounded: a few lines before and after, of some thousand characters."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from infra_doctor.triage.cleaning import Line

BEFORE, AFTER = 5, 8  # lines of the same writer
REACH = 60  # lines among which they are looked for, where writers take turns
MIN_WRAP, MAX_WRAP = 40, 400
USUAL_WIDTHS = frozenset({79, 80, 100, 120, 132})
MESSAGE_CAP = 24 << 10

# What a wrapped line's rest never begins with.
_STARTS_ANEW = re.compile(
    r"\s*(?:\[?\d{4}-\d\d-\d\d|\[?\d\d:\d\d:\d\d|\[\s*\d+\.\d+\]|[IWEF]\d{4} |Traceback \(|File \"|[A-Z]+ \d\d-\d\d |"
    r"(?:DEBUG|INFO|WARN|WARNING|ERROR|FATAL|CRITICAL)\b|#\d+ |\$ |>>> )"
)


@dataclass(frozen=True, slots=True)
class Message:
    """Lines as one text. `[own_start, own_end)` is the line asked for; `starts` are the lines' places in the text, and
    `wraps` those places where a break was taken out. Without any, the lines stand as they are."""

    text: str
    own_start: int
    own_end: int
    starts: tuple[int, ...]
    lines: tuple[Line, ...]
    wraps: tuple[int, ...]

    def line_at(self, place: int) -> Line:
        """The line that holds this place of the text."""
        index = max(n for n, start in enumerate(self.starts) if start <= place or n == 0)
        return self.lines[index]


def messages(own: Line, at: Callable[[int], Line | None]) -> Iterator[Message]:
    """The ways to read the message around a line; `at(n)` is the line with that number, None outside."""
    before = _neighbours(own, at, -1, BEFORE)[::-1]
    after = _neighbours(own, at, 1, AFTER)
    lines = (*before, own, *after)
    index = len(before)
    widths = _wrap_widths(lines)
    hard = [one.broken or (one.width in widths and _may_wrap(one, other)) for one, other in _pairs(lines)]
    soft = [one.broken or (_may_wrap(one, other) and _no_room(one, other, widths)) for one, other in _pairs(lines)]
    yield replace(_joined(lines, index, ["" if one.broken else "\n" for one, _ in _pairs(lines)]), wraps=())
    if any(hard):
        yield _joined(lines, index, ["" if wrap else "\n" for wrap in hard])
    if any(soft):
        yield _joined(lines, index, [" " if wrap else "\n" for wrap in soft])


def _pairs(lines: tuple[Line, ...]) -> Iterator[tuple[Line, Line]]:
    return pairwise(lines)


def _may_wrap(one: Line, other: Line) -> bool:
    return (
        MIN_WRAP <= one.width <= MAX_WRAP
        and bool(other.text.strip())
        and (other.stream == one.stream or not other.stream)
        and not other.time
        and _STARTS_ANEW.match(other.text) is None
    )


def _wrap_widths(lines: tuple[Line, ...]) -> set[int]:
    """Widths at which these lines may have been wrapped: the widest of them, one that several have, and the usual ones."""
    known = [line.width for line in lines]
    return {max(known), *(w for w in known if known.count(w) > 1), *USUAL_WIDTHS}


def _no_room(one: Line, other: Line, widths: set[int]) -> bool:
    """Whether the next line's first word had no room in a line of one of these widths."""
    needed = one.width + 1 + len(other.text.split(None, 1)[0])
    return any(one.width <= width < needed for width in widths)


def _neighbours(own: Line, at: Callable[[int], Line | None], step: int, wanted: int) -> list[Line]:
    """Lines of the same writer, nearest first. The rest of a wrapped line carries no tag of its writer."""
    found: list[Line] = []
    size = 0
    for distance in range(1, REACH + 1):
        line = at(own.number + step * distance)
        if line is None:
            break
        rest = not line.stream and len(found) == distance - 1
        if line.stream != own.stream and not rest and (own.stream or len(found) < distance - 1):
            continue
        size += len(line.text)
        if size > MESSAGE_CAP:
            break
        found.append(line)
        if len(found) == wanted:
            break
    return found


def _joined(lines: tuple[Line, ...], index: int, joints: list[str]) -> Message:
    """The lines with these joints between them; around a space that was the end of a line others are dropped."""
    parts: list[str] = []
    starts: list[int] = []
    length = 0
    for n, line in enumerate(lines):
        text = line.text
        if n < len(joints) and joints[n] == " ":
            text = text.rstrip()
        if n and joints[n - 1] == " ":
            text = text.lstrip()
        starts.append(length)
        parts.append(text)
        length += len(text)
        if n < len(joints):
            parts.append(joints[n])
            length += len(joints[n])
    end = starts[index + 1] if index + 1 < len(starts) else length
    wraps = tuple(start for start, joint in zip(starts[1:], joints, strict=True) if joint != "\n")
    return Message("".join(parts), starts[index], end, tuple(starts), lines, wraps)
