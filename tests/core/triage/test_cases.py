"""Real failures, as logs: `triage` names the right cause first. The cases are public but carry no licence, so that they
stay outside of the repository; without them this is skipped."""

import os
import re
import tomllib
from pathlib import Path

import pytest

from tests.core.triage.lab import named, triage_of

CHECKOUT = Path(__file__).parents[3]
CASES = Path(os.environ.get("INFRA_DOCTOR_CASES", CHECKOUT.parent / "shared" / "cases"))
IDS: dict[str, list[str]] = tomllib.loads(Path(__file__).with_name("case_ids.toml").read_text(encoding="utf-8"))
FILES = sorted(p for p in CASES.glob("*.md") if p.name != "INDEX.md")
# One of these would be a matter of opinion; all of them are named.
WRONG_ALLOWED = 2

needs_cases = pytest.mark.skipif(not FILES, reason="the public cases are not here")


def log_of_case(path: Path) -> str:
    found = re.search(
        r"^## Log[^\n]*\n+````text\n(.*?)^````", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert found is not None, path
    return found[1]


def confirmed(path: Path) -> bool:
    return re.search(r"^confidence: confirmed$", path.read_text(encoding="utf-8"), re.MULTILINE) is not None


@needs_cases
def test_every_case_has_its_ids() -> None:
    assert {p.stem for p in FILES} == set(IDS)


@needs_cases
def test_the_right_cause_is_named_first() -> None:
    wrong = {}
    for path in FILES:
        causes = named(triage_of(log_of_case(path)))
        if not causes or causes[0] not in IDS[path.stem]:
            wrong[path.stem] = causes
    assert len(wrong) <= WRONG_ALLOWED, wrong
    assert not [name for name in wrong if confirmed(CASES / f"{name}.md")], wrong


@needs_cases
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_wrapped_coloured_and_amid_other_lines(path: Path) -> None:
    """The same cause is named where the log is that of one rank of four, behind colours, in the midst of a long run."""
    plain = named(triage_of(log_of_case(path)))
    lines = "".join(f"[rank2]: \x1b[31m{line}\x1b[0m\n" for line in log_of_case(path).splitlines())
    noise = "".join(f"[rank{n % 4}]: INFO step {n} of the training, loss {n / 7:.5f}\n" for n in range(6000))
    assert named(triage_of(noise + lines + noise))[:1] == plain[:1]
