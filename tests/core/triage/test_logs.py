"""The recorded and written logs under tests/logs: a healthy one names nothing, a failing one its cause.

`expect.toml`: `about`; then `silent = true`, or `first`: the ids of which one stands first, or `among`: ids that are
named somewhere, as the log alone cannot tell more."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.core.triage.lab import named, triage_of

FOLDERS = sorted(p.parent for p in (Path(__file__).parents[2] / "logs").glob("*/expect.toml"))
NOISE = "INFO nothing to see in this line of the log, and so on to its end\n" * 4000


def expectation(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "expect.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)
def test_log(folder: Path) -> None:
    expect = expectation(folder)
    assert expect["about"] and {"silent", "first", "among"} & set(expect)
    log = (folder / "log.txt").read_bytes()
    assert len(log) > 60
    for text in (log, log + NOISE.encode()):  # line by line, and by anchors
        triage = triage_of(text)
        shown = [(c.finding, c.matched.line, c.matched.text) for c in triage.causes]
        if expect.get("silent"):
            assert not triage.causes, shown
        if "first" in expect:
            assert named(triage)[0] in expect["first"], shown
        if "among" in expect:
            assert set(expect["among"]) <= set(named(triage)), shown


def test_there_are_twenty_healthy_ones() -> None:
    assert sum(bool(expectation(f).get("silent")) for f in FOLDERS) >= 20
