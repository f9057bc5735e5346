"""Every signature has a line in the tests that it matches, and the search finds its id by it."""

import tomllib
from functools import cache
from pathlib import Path

import pytest

from infra_doctor.triage.signatures import Signature, signatures
from tests.core.triage.lab import CHECKS, triage_of

HERE = Path(__file__).parent
EXAMPLES: dict[str, list[str]] = tomllib.loads((HERE / "examples.toml").read_text(encoding="utf-8"))
ALL = signatures(CHECKS)


@cache
def texts() -> tuple[str, ...]:
    """Every log that the tests hold."""
    threads = tomllib.loads((HERE / "threads.toml").read_text(encoding="utf-8"))["thread"]
    tests = HERE.parents[1]
    logs = [*tests.glob("machines/*/log.txt"), *tests.glob("logs/*/log.txt")]
    return (
        *(line for lines in EXAMPLES.values() for line in lines),
        *(t["text"] for t in threads),
        *(path.read_text(encoding="utf-8", errors="replace") for path in logs),
    )


@pytest.mark.parametrize("signature", ALL, ids=[f"{s.check.id}-{n}" for n, s in enumerate(ALL)])
def test_an_example(signature: Signature) -> None:
    assert any(signature.needle.expression.search(text) for text in texts()), signature.needle.pattern


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_examples_name_their_id(name: str) -> None:
    assert name in {c.id for c in CHECKS}
    for line in EXAMPLES[name]:
        triage = triage_of(line)
        found = {c.finding for c in triage.causes} | {f.finding for c in triage.causes for f in c.follows}
        assert name in found, (line, found)
