"""Finds the signatures in logs: anchors in whole blocks, then patterns in the messages around them.

1 GB takes seconds, as only lines that hold an anchor are looked at one by one, and of lines that differ in numbers alone
only the first few; of a long log the blocks are searched by several processes. A short log is looked at line by line:
what was wrapped in the midst of an anchor is found there."""

import os
import re
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

from infra_doctor.triage.cleaning import Line
from infra_doctor.triage.guards import says_nothing
from infra_doctor.triage.lines import BlockLines, line_end
from infra_doctor.triage.messages import MAX_WRAP, MIN_WRAP, Message, messages
from infra_doctor.triage.reading import Block, Log, blocks
from infra_doctor.triage.signatures import ANCHOR_MAX, Anchors, Needle, Signature

SHORT_BYTES = 192 << 10  # up to here each line is looked at
SIMILAR = 4  # lines that differ in digits alone, of which the message is looked at
KINDS, KIND_CAP = 20_000, 512  # kinds that are remembered, and the bytes on each side of an anchor that make one
ALONE_BLOCKS = 6  # a log of more blocks is worth the start of other processes
PROCESSES = 4
_NO_DIGITS = b"0123456789"


@dataclass(slots=True)
class Found:
    """The first match of a needle in a block or a log, and how many messages hold it."""

    needle: int
    line: int
    column: int
    rank: str | None
    time: str
    text: str  # the message, not yet redacted
    matched: str
    count: int = 1


@dataclass(frozen=True)
class Hit:
    """The first match of a signature in a log."""

    signature: Signature
    log: int
    found: Found


@dataclass
class Scanner:
    """Searches logs one after the other. `trusted` texts were picked by a person: nothing in them is taken for talk."""

    signatures: Sequence[Signature]
    trusted: bool = False
    hits: dict[tuple[int, int], Hit] = field(default_factory=dict)
    processes: int = field(default_factory=lambda: min(PROCESSES, len(os.sched_getaffinity(0))))

    def __post_init__(self) -> None:
        self._needles = tuple(s.needle for s in self.signatures)
        self._search = BlockSearch(self._needles, self.trusted)

    def scan(self, number: int, log: Log) -> None:
        """Search one log. Raises InputError for what cannot be read."""
        self._search.forget()
        ahead = blocks(log)
        for block in islice(ahead, ALONE_BLOCKS if self.processes > 1 else None):
            self._take(number, self._search.search(block))
        following = next(ahead, None)
        if following is not None:
            self._scan_with_others(number, chain((following,), ahead))

    def _scan_with_others(self, number: int, ahead: Iterable[Block]) -> None:
        """The blocks searched by other processes; no more of them are held than are under way."""
        from concurrent.futures import Future, ProcessPoolExecutor
        from multiprocessing import get_context

        # Not forked: there may be threads here, and what they hold would never be let go there.
        spawn, arguments = get_context("spawn"), (self._needles, self.trusted)
        with ProcessPoolExecutor(self.processes, spawn, _prepare, arguments) as pool:
            under_way: deque[Future[list[Found]]] = deque()
            try:
                for block in ahead:
                    under_way.append(pool.submit(_searched, block))
                    if len(under_way) > self.processes:
                        self._take(number, under_way.popleft().result())
                while under_way:
                    self._take(number, under_way.popleft().result())
            finally:
                for future in under_way:
                    future.cancel()

    def _take(self, number: int, found: Iterable[Found]) -> None:
        for item in found:
            known = self.hits.get((item.needle, number))
            if known is None:
                self.hits[item.needle, number] = Hit(self.signatures[item.needle], number, item)
            else:
                known.found.count += item.count


_here: list["BlockSearch"] = []  # the search of a process that was started for it


def _prepare(needles: tuple[Needle, ...], trusted: bool) -> None:
    import signal
    from threading import Thread

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this process says what there is to say
    Thread(target=_leave_with_parent, daemon=True).start()
    _here.append(BlockSearch(needles, trusted))


def _leave_with_parent() -> None:
    from multiprocessing import parent_process

    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _searched(block: Block) -> list[Found]:
    return _here[0].search(block)


@dataclass(slots=True)
class _Kind:
    """Lines that differ in digits alone: how many, and the needles that the first of them held."""

    lines: int = 0
    found: set[int] = field(default_factory=set)


class BlockSearch:
    """Searches blocks of one log after the other."""

    def __init__(self, needles: Sequence[Needle], trusted: bool) -> None:
        self._needles = needles
        self._trusted = trusted
        self._anchors = Anchors(needles)
        self._kinds: dict[bytes, _Kind] = {}

    def forget(self) -> None:
        """Another log comes."""
        self._kinds.clear()

    def search(self, block: Block) -> list[Found]:
        """The first match of each needle in the block, with the number of messages that hold it."""
        found: dict[int, Found] = {}
        look = _Look(self._needles, self._trusted, BlockLines(block), found)
        if block.whole and len(block.data) <= SHORT_BYTES:
            for place in look.lines.places():
                look.at(place)
            return list(found.values())
        for place, kind in self._anchored(block):
            kind.lines += 1
            if kind.lines <= SIMILAR:
                kind.found.update(look.at(place))
            else:
                for needle in kind.found:
                    if needle in found:
                        found[needle].count += 1
                    else:  # first seen in another block
                        look.at(place)
        if _looks_wrapped(block):
            for place in self._across_breaks(block):
                look.at(place, wrapped=True)
        return list(found.values())

    def _anchored(self, block: Block) -> Iterator[tuple[int, _Kind]]:
        """Places in the block of which the line is to be looked at, with its kind; one per line."""
        data, search, place = block.data, self._anchors.expression.search, block.own_start
        # A space of an anchor may be the end of a line.
        spaced = data.replace(b"\n", b" ")
        end = min(len(data), block.own_end + ANCHOR_MAX)
        while found := search(spaced, place, end):
            place = found.start()
            if place >= block.own_end:
                return
            kind = self._kind(data, place)
            if kind.lines or self._anchors.stands(data, place, found.end()):
                yield place, kind
                place = line_end(data, place)
            else:
                place += 1

    def _kind(self, data: bytes, place: int) -> _Kind:
        """The kind of the line at this place."""
        low = max(0, place - KIND_CAP)
        start = data.rfind(b"\n", low, place) + 1 or low
        end = data.find(b"\n", place, place + KIND_CAP)
        key = data[start : end if end >= 0 else place + KIND_CAP].translate(None, _NO_DIGITS)
        kind = self._kinds.get(key)
        if kind is None:
            kind = _Kind()
            if len(self._kinds) < KINDS:
                self._kinds[key] = kind
        return kind

    def _across_breaks(self, block: Block) -> Iterator[int]:
        """Lines in which an anchor begins that a break at the last column cuts in two."""
        breaks = [m.start() for m in re.finditer(b"\n", block.data)]
        shifted = [place - n for n, place in enumerate(breaks)]
        end = block.own_start
        for found in self._anchors.expression.finditer(block.data.replace(b"\n", b"")):
            first = bisect_right(shifted, found.start())
            place = found.start() + first
            if end <= place < block.own_end and first < bisect_right(shifted, found.end() - 1):
                yield place
                end = line_end(block.data, place)


@dataclass
class _Look:
    """Tries the needles on the messages around places of one block."""

    needles: Sequence[Needle]
    trusted: bool
    lines: BlockLines
    found: dict[int, Found]
    seen: set[tuple[int, int]] = field(default_factory=set)

    def at(self, place: int, *, wrapped: bool = False) -> set[int]:
        """The needles in the message around a place. `wrapped`: only those that a break cuts, as the rest was seen."""
        own = self.lines.line_of(place)
        here: set[int] = set()
        if not own.text.strip():
            return here
        for message in messages(own, self.lines.at):
            if wrapped and not message.wraps:
                continue
            folded = message.text.lower()
            for index, needle in enumerate(self.needles):
                if index in here or not needle.may_match(message.text, folded):
                    continue
                match = self._match(needle, message)
                if match is not None:
                    here.add(index)
                    self._remember(index, message, match)
        return here

    def _match(self, needle: Needle, message: Message) -> re.Match[str] | None:
        """The needle's first match that touches the line asked for and tells of a failure. Where breaks were taken out it
        must reach over one of them: else it was seen, and judged, in the lines as they are."""
        for match in needle.expression.finditer(message.text):
            if match.start() >= message.own_end:
                return None
            if match.end() <= max(message.own_start, match.start()):
                continue
            if message.wraps and not any(match.start() < wrap < match.end() for wrap in message.wraps):
                continue
            if self.trusted or not says_nothing(message.text, match.start(), match.end(), weak=needle.weak):
                return match
        return None

    def _remember(self, index: int, message: Message, match: re.Match[str]) -> None:
        line: Line = message.line_at(match.start())
        if (index, line.number) in self.seen:
            return
        self.seen.add((index, line.number))
        known = self.found.get(index)
        if known is not None:
            known.count += 1
            return
        text = _around(message.text, match.start(), match.end())
        self.found[index] = Found(index, line.number, match.start(), line.rank, line.time, text, match[0])


def _around(text: str, start: int, end: int) -> str:
    """The lines of the message that the match touches."""
    first = text.rfind("\n", 0, start) + 1
    last = text.find("\n", end)
    return text[first : last if last >= 0 else len(text)].strip()


def _looks_wrapped(block: Block) -> bool:
    """Whether many lines end at one and the same last column."""
    widths: dict[int, int] = {}
    for line in block.data[block.own_start : block.own_start + (256 << 10)].split(b"\n"):
        widths[len(line)] = widths.get(len(line), 0) + 1
    widest = max(widths)
    return MIN_WRAP <= widest <= MAX_WRAP and widths[widest] >= 3
