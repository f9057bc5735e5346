"""Every signature of every check is sound: it compiles, it holds text that can be looked for, it cannot run away."""

import importlib
import re
import time
from typing import Any

import pytest

from infra_doctor.triage.signatures import ANCHOR_MIN, Anchors, Signature, required, signatures
from tests.core.triage.lab import CHECKS, check

_parser: Any = importlib.import_module("re._parser")
ALL = signatures(CHECKS)
IDS = [f"{s.check.id}-{n}" for n, s in enumerate(ALL)]


def unbounded(tree: Any) -> bool:
    """Whether some repetition without an end repeats any character, or nothing but another repetition."""
    for operation, value in tree:
        name = str(operation)
        if name.endswith("REPEAT"):
            inner = list(value[2])
            while len(inner) == 1 and str(inner[0][0]) == "SUBPATTERN":
                inner = list(inner[0][1][3])
            first = str(inner[0][0])
            if value[1] == _parser.MAXREPEAT and len(inner) == 1 and (first == "ANY" or first.endswith("REPEAT")):
                return True
            if unbounded(inner):
                return True
        parts = value[1] if name == "BRANCH" else [value[3]] if name == "SUBPATTERN" else []
        if any(map(unbounded, parts)):
            return True
    return False


def test_unbounded_is_noticed() -> None:
    for pattern in (r"a.*b", r"(?:x(?:\d+)+)", r"a|b.+", r"(?:(?:a.*)b)?"):
        assert unbounded(_parser.parse(pattern)), pattern
    assert not unbounded(_parser.parse(r"a.{0,9}[.+]+\d+(?:\.\d+)*"))


def test_there_are_signatures() -> None:
    assert len(ALL) > 100
    assert len({s.check.id for s in ALL}) > 30


@pytest.mark.parametrize("signature", ALL, ids=IDS)
def test_sound(signature: Signature) -> None:
    assert re.compile(signature.needle.pattern)
    assert signature.strength in (1, 2, 3)
    assert re.fullmatch(r"https?://[\w.-]+/\S+", signature.source), signature.source
    assert signature.needle.literals and min(map(len, signature.needle.literals)) >= ANCHOR_MIN, (
        signature.needle.pattern
    )
    assert not unbounded(_parser.parse(signature.needle.pattern)), "an unbounded repetition of any character"
    assert signature.needle.expression.search("") is None


@pytest.mark.parametrize("signature", ALL, ids=IDS)
def test_linear_on_hostile_text(signature: Signature) -> None:
    """A message of the largest size, made of what the pattern likes to begin with."""
    pieces = [
        *signature.needle.literals,
        *(signature.needle.literals[0][: n + 1] for n in range(3)),
        " ",
        "a",
        "0",
        "_",
        ".so",
        "/x",
    ]
    texts = [(piece * (24_000 // len(piece) + 1))[:24_000] for piece in pieces]
    texts += [
        (f"{one}{two}" * 12_000)[:24_000]
        for one in signature.needle.literals[:2]
        for two in (" ", "a", "0", ".", "/", "_")
    ]
    for text in texts:
        began = time.process_time()
        sum(1 for _ in signature.needle.expression.finditer(text))
        assert time.process_time() - began < 1.0, (signature.needle.pattern, text[:60])


@pytest.mark.parametrize(
    ("pattern", "literals"),
    [
        ("no kernel image is available", ("no kernel image is available",)),
        (r"\bXid \(PCI:[0-9a-f:]{7,12}\): 79\b", ("Xid (PCI:",)),
        (r"lib(?:nccl|cudnn)\w{0,9}\.so", ("cudnn", "nccl")),
        (r"(?:error|fault)? code is 561103", (" code is 561103",)),
        (r"(?:ab|cd)\w+ longer text", (" longer text",)),
        (r"(?:Initialized)+ here", (" here",)),
        (r"[a-z]{3,9}", ()),
        (r"(?i)Out Of Memory", ("out of memory",)),
    ],
)
def test_the_text_that_a_match_needs(pattern: str, literals: tuple[str, ...]) -> None:
    found, _ = required(pattern)
    if pattern == r"(?:Initialized)+ here":  # either will do
        assert found in {("Initialized",), literals}
    else:
        assert found == literals


def stands(anchors: Anchors, text: bytes) -> bool:
    spaced, place = text.replace(b"\n", b" "), 0
    while found := anchors.expression.search(spaced, place):
        if anchors.stands(text, found.start(), found.end()):
            return True
        place = found.start() + 1
    return False


def test_anchors_find_every_literal_wherever_it_stands() -> None:
    anchors = Anchors(s.needle for s in ALL)
    for signature in ALL:
        for literal in signature.needle.literals:
            raw = literal.encode()
            for text in (raw, b"x" * 50 + raw + b"y", b"\n" + raw + b"\n", b'"' + raw):
                assert stands(anchors, text), (literal, text)


def test_an_anchor_alone_is_not_the_literal() -> None:
    anchors = Anchors(s.needle for s in signatures([check("X", "the Wombat of Quokka is missing")]))
    assert stands(anchors, b"... the Wombat of Quokka is missing")
    assert not stands(anchors, b"... a Quokka is missing, a Wombat too")
    assert stands(anchors, b"the Wombat of Quokka\nis missing")


def test_without_regard_to_case() -> None:
    anchors = Anchors(s.needle for s in signatures([check("X", r"(?i)wombat quokka")]))
    assert stands(anchors, b"a WOMBAT Quokka") and stands(anchors, b"wombat quokka")
    assert not stands(anchors, b"wombat\tquokka")


def test_nothing_to_look_for() -> None:
    assert Anchors(()).expression.search(b"anything at all") is None
