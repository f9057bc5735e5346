"""The signatures of all checks, made fast: each pattern needs some literal text, and one expression finds any of these.

A log is searched for short anchors, pieces of the literals that begin with a character which is rare in logs: the
expression engine skips all other positions at 200 MB/s, where trying 300 whole patterns would give 1 MB/s. Only around an
anchor are whole patterns tried, and of those only the ones whose literal is there."""

import importlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from infra_doctor.model.plugins import Check

# `sre_parse` is the public name, deprecated without a successor.
_parser: Any = importlib.import_module("re._parser")

ANCHOR_MIN, ANCHOR_GOOD, ANCHOR_MAX = 4, 6, 12
BREAKS = frozenset(b"\n\r\\ ")  # where a line was wrapped, and where JSON writes something otherwise
# Of 10,000 characters of a log, how many are of each group; counted over the logs of our tests. Others: 4 each.
_PER_10_000 = (
    (1250, " "), (460, "er0"), (350, "1natos2"), (265, "i:l"), (200, "-p.53"), (135, "mc6=4d8"), (95, "uhNy7"),
    (75, "[ICk]vg,9"), (63, "FOf_"), (40, "/PLb"), (29, '"xT*wAD'), (18, "|M>E()RUBSVG"), (8, "'\\z"),
)  # fmt: skip
_WEIGHT = {ord(c): weight for weight, characters in _PER_10_000 for c in characters}
# Text inside JSON writes these otherwise.
_ESCAPED = frozenset(b'"\\<>&')


@dataclass(frozen=True)
class Needle:
    """One pattern to look for. A match holds one of `literals` (in lower case where `fold`); none: always try. `weak` is a
    symptom that other causes have too."""

    pattern: str
    literals: tuple[str, ...]
    fold: bool
    weak: bool = False

    @cached_property
    def expression(self) -> re.Pattern[str]:
        """The compiled pattern; `^` and `$` are the borders of a line."""
        return re.compile(self.pattern, re.MULTILINE)

    def may_match(self, text: str, folded: str) -> bool:
        """Whether the text holds what every match needs."""
        where = folded if self.fold else text
        return not self.literals or any(literal in where for literal in self.literals)


@dataclass(frozen=True)
class Signature:
    """One signature of one check."""

    check: Check
    source: str
    strength: int
    needle: Needle


def signatures(checks: Iterable[Check]) -> tuple[Signature, ...]:
    """Every signature of these checks, in their order."""
    return tuple(
        Signature(check, item.source, item.strength, Needle(item.pattern, *required(item.pattern), item.strength < 2))
        for check in checks
        for item in check.log_signatures
    )


def required(pattern: str) -> tuple[tuple[str, ...], bool]:
    """Literals of which each match holds at least one, and whether they are to be compared in lower case."""
    tree = _parser.parse(pattern)
    fold = bool(tree.state.flags & re.IGNORECASE) or _folds(tree)
    clause = _best(_clauses(tree))
    return tuple(sorted({c.lower() for c in clause} if fold else set(clause))), fold


def _folds(tree: Any) -> bool:
    """Whether some part ignores case."""
    for operation, value in tree:
        name = str(operation)
        if name == "SUBPATTERN" and (value[1] & re.IGNORECASE or _folds(value[3])):
            return True
        if name == "BRANCH" and any(map(_folds, value[1])):
            return True
        if name.endswith("REPEAT") and _folds(value[2]):
            return True
    return False


def _clauses(tree: Any) -> list[tuple[str, ...]]:
    """Sets of literals; every match of the tree holds one of each set."""
    clauses: list[tuple[str, ...]] = []
    run = ""
    for operation, value in tree:
        name = str(operation)
        if name == "LITERAL":
            run += chr(value)
            continue
        if name == "AT":  # takes no room: the text goes on
            continue
        if run:
            clauses.append((run,))
            run = ""
        if name == "SUBPATTERN":
            clauses += _clauses(value[3])
        elif name == "ATOMIC_GROUP":
            clauses += _clauses(value)
        elif name == "BRANCH":
            branches = [_best(_clauses(branch)) for branch in value[1]]
            if all(branches):
                clauses.append(tuple(literal for branch in branches for literal in branch))
        elif name.endswith("REPEAT") and value[0] >= 1:
            clauses += _clauses(value[2])
    if run:
        clauses.append((run,))
    return clauses


def _best(clauses: list[tuple[str, ...]]) -> tuple[str, ...]:
    """The set that is the cheapest to look for: all long, and with a rare character; empty where there is none."""

    def cost(clause: tuple[str, ...]) -> tuple[bool, float, tuple[str, ...]]:
        short = min(map(len, clause)) < ANCHOR_MIN
        return short, max(_cost(literal) for literal in clause), clause

    return min(clauses, key=cost, default=())


def _cost(literal: str) -> float:
    """How much it takes to look for this literal, as the rarest character that its anchor can begin with is common."""
    raw = literal.encode()
    return min((_weight(raw[p]) for p in _starts(raw)), default=10.0**9) * ANCHOR_MAX / min(len(raw), ANCHOR_MAX)


class Anchors:
    """Finds the places of literals in bytes. A pattern that needs no literal of four characters would never be found by
    it; the tests forbid those to our own checks, a third party's is left out."""

    def __init__(self, needles: Iterable[Needle]) -> None:
        plain, folded = set[bytes](), set[bytes]()
        for item in needles:
            (folded if item.fold else plain).update(literal.encode() for literal in item.literals)
        first = _first_characters({*plain, *folded})
        # Anchor -> each literal that it is a piece of, and where in it.
        self._literals: dict[bytes, list[tuple[bytes, int]]] = {}
        for literal in sorted({*plain, *folded}):
            for piece, place in _anchor(literal, first):
                self._literals.setdefault(piece, []).append((literal, place))
        parts = [_trie({piece for literal in plain for piece, _ in _anchor(literal, first)})] if plain else []
        for piece in sorted({piece for literal in folded for piece, _ in _anchor(literal, first)}):
            # Each branch begins with one plain character, else the engine would try it at every position.
            begins = sorted({piece[:1].lower(), piece[:1].upper()})
            parts += [re.escape(begin) + b"(?i:%s)" % re.escape(piece[1:]) for begin in begins]
        self._folded = bool(folded)
        self.expression = re.compile(b"|".join(parts) or b"(?!)")
        # Of anchors that begin alike the expression gives the longest.
        for piece in sorted(self._literals, reverse=True):
            for length in range(ANCHOR_MIN, len(piece)):
                self._literals[piece] += self._literals.get(piece[:length], [])

    def stands(self, text: bytes, place: int, end: int) -> bool:
        """Whether a whole literal stands around the anchor at [place, end) of the text, as far as a line's end or an
        escape lets that be seen."""
        piece = text[place:end].replace(b"\n", b" ")
        known = self._literals.get(piece) or self._literals.get(piece.lower()) or []
        return any(self._stands(text, place, literal, offset) for literal, offset in known)

    def _stands(self, text: bytes, place: int, literal: bytes, offset: int) -> bool:
        start = place - offset
        if start >= 0 and text.startswith(literal, start):
            return True
        before, after = text[max(0, start) : place], text[place : start + len(literal)]
        if self._folded:
            before, after = before.lower(), after.lower()
        return _agree(before[::-1], literal[:offset][::-1]) and _agree(after, literal[offset:])


def _agree(text: bytes, literal: bytes) -> bool:
    """Whether the text goes as the literal does, up to where it is broken off or written otherwise."""
    for one, other in zip(text, literal, strict=False):
        if one != other:
            return one in BREAKS
    return True


def _weight(character: int) -> int:
    return _WEIGHT.get(character, 4)


def _first_characters(literals: set[bytes]) -> frozenset[int]:
    """Rare characters such that each literal holds one with room behind it: as rare as they can all be, then as few."""
    begins = {literal: {literal[p] for p in _starts(literal)} for literal in literals}
    needed = [chars for chars in begins.values() if chars]
    limit = max((min(map(_weight, chars)) for chars in needed), default=0)
    chosen = {c for chars in needed for c in chars if _weight(c) <= limit}
    for character in sorted(chosen, key=_weight, reverse=True):
        if all(chars & (chosen - {character}) for chars in needed):
            chosen.remove(character)
    return frozenset(chosen)


def _starts(literal: bytes) -> list[int]:
    """Where an anchor of this literal can begin, long enough to be rare: no character of it is written otherwise in JSON."""
    for length in (ANCHOR_GOOD, ANCHOR_MIN) if len(literal) > 2 * ANCHOR_GOOD else (ANCHOR_MIN,):
        if found := [p for p in range(len(literal) - length + 1) if not _ESCAPED & set(literal[p : p + length])]:
            return found
    return []


def _anchor(literal: bytes, first: frozenset[int]) -> list[tuple[bytes, int]]:
    """The piece of the literal that is looked for, and where it stands in it; none where nothing will do."""
    starts = [p for p in _starts(literal) if literal[p] in first]
    if not starts:
        return []
    start = min(starts, key=lambda p: (_weight(literal[p]), p))
    piece = literal[start : start + ANCHOR_MAX]
    end = next((n for n, c in enumerate(piece) if c in _ESCAPED), len(piece))
    return [(piece[:end], start)]


def _trie(words: set[bytes]) -> bytes:
    """An expression for any of the words, the longest that stands there, that tries each character once."""
    root: dict[int, Any] = {}
    for word in sorted(words):
        node = root
        for character in word:
            node = node.setdefault(character, {})
        node[-1] = {}

    def written(node: dict[int, Any]) -> bytes:
        branches = [re.escape(bytes([c])) + written(node[c]) for c in sorted(node) if c != -1]
        if -1 in node:
            branches.append(b"")
        return branches[0] if len(branches) == 1 else b"(?:" + b"|".join(branches) + b")"

    return written(root)
