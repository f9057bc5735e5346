"""The lines of a block by number, cleaned when they are asked for. Of a line without end only a part is looked at."""

from collections.abc import Iterator

from infra_doctor.triage.cleaning import Line, clean
from infra_doctor.triage.reading import Block

LINE_CAP = 16 << 10  # of a longer line, this much around the place that is asked for
REMEMBERED = 4096


class BlockLines:
    """Answers for one block."""

    def __init__(self, block: Block) -> None:
        self._data = block.data
        self._known: dict[int, Line] = {}
        self._starts: dict[int, int] = {block.first_line: 0}
        self._counted = (0, block.first_line)  # up to this place lines are counted

    def places(self) -> Iterator[int]:
        """Where each line starts."""
        place = 0
        while place < len(self._data):
            yield place
            place = self._data.find(b"\n", place) + 1 or len(self._data)

    def line_of(self, place: int) -> Line:
        """The line that holds this place; of a line without end, the part around it."""
        counted, number = self._counted
        step = self._data.count(b"\n", *sorted((counted, place)))
        number += step if place >= counted else -step
        self._counted = (place, number)
        start = self._data.rfind(b"\n", max(0, place - LINE_CAP), place) + 1
        if not start and place > LINE_CAP:
            start = place - LINE_CAP // 4
        self._starts.setdefault(number, start)
        return self._line(number, start, place)

    def at(self, number: int) -> Line | None:
        """The line with this number, None outside of the block."""
        known = self._known.get(number)
        if known is not None:
            return known
        start = self._start(number)
        return None if start is None else self._line(number, start, start)

    def _start(self, number: int) -> int | None:
        """Where a neighbour of a line that was asked for starts."""
        start = self._starts.get(number)
        if start is not None:
            return start
        if (after := self._starts.get(number - 1)) is not None:
            end = self._data.find(b"\n", after, after + (1 << 20))
            start = end + 1 if 0 <= end < len(self._data) - 1 else None
        elif (before := self._starts.get(number + 1)) is not None and before > 0:
            start = self._data.rfind(b"\n", max(0, before - 1 - (1 << 20)), before - 1) + 1
        if start is not None:
            self._starts[number] = start
        return start

    def _line(self, number: int, start: int, place: int) -> Line:
        known = self._known.get(number)
        if known is not None and place <= start + LINE_CAP:
            return known
        end = self._data.find(b"\n", start, start + LINE_CAP)
        if end < 0:
            start = max(start, place - LINE_CAP // 4)
            end = min(len(self._data), start + LINE_CAP)
            found = self._data.find(b"\n", place, end)
            end = found if found >= 0 else end
        raw = self._data[start:end]
        if b"\r" in raw.rstrip(b"\r"):  # a progress bar: each state of it is a line of its own
            raw = _state(raw, place - start)
        line = clean(raw.decode("utf-8", "replace"), number)
        if len(self._known) > REMEMBERED:
            self._known.clear()
        self._known[number] = line
        return line


def line_end(data: bytes, place: int) -> int:
    """The place behind the line, or behind what is looked at of one without end."""
    end = data.find(b"\n", place, place + LINE_CAP)
    return end + 1 if end >= 0 else place + LINE_CAP // 2


def _state(raw: bytes, place: int) -> bytes:
    """The part between carriage returns that holds the place; at a line's beginning, the last ones with text."""
    if place > 0:
        start = raw.rfind(b"\r", 0, place) + 1
        end = raw.find(b"\r", place)
        return raw[start : end if end >= 0 else len(raw)]
    return b"\n".join(part for part in raw.split(b"\r") if part)[-LINE_CAP // 2 :]
