"""Error lines out of public threads: the cause is named first, and text that names none names none."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.core.triage.lab import CHECKS, named, triage_of

THREADS: list[dict[str, Any]] = tomllib.loads(Path(__file__).with_name("threads.toml").read_text(encoding="utf-8"))[
    "thread"
]


@pytest.mark.parametrize("thread", THREADS, ids=lambda t: t["source"].removeprefix("https://github.com/"))
def test_thread(thread: dict[str, Any]) -> None:
    assert set(thread["ids"]) <= {c.id for c in CHECKS}
    found = named(triage_of(thread["text"]))
    assert found[:1] == [i for i in found[:1] if i in thread["ids"]] and bool(found) == bool(thread["ids"]), found


def test_there_are_many_of_many_kinds() -> None:
    assert len(THREADS) > 100
    assert len({i for t in THREADS for i in t["ids"]}) > 30
