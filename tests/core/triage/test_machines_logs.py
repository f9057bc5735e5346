"""The log of each described failure: on its machine the cause is confirmed, on a healthy one it is ruled out."""

import tomllib
from functools import cache
from pathlib import Path

import pytest

from infra_doctor.model.report import Report
from infra_doctor.model.triage import MachineCheck, Triage
from tests.core.triage.lab import triage_of
from tests.machines.test_machines import report_of
from tests.support.recipe import MissingSample

MACHINES = Path(__file__).parents[2] / "machines"
FOLDERS = sorted(p.parent for p in MACHINES.glob("*/log.txt"))
# One recorded, one described with what was not yet asked when the first was recorded.
HEALTHY = ("h200-torch211", "healthy-h100-torch-cu130")


@cache
def healthy() -> list[Report]:
    return [report_of(MACHINES / name) for name in HEALTHY]


def expectation(folder: Path) -> dict[str, object]:
    return tomllib.loads((folder / "expect.toml").read_text(encoding="utf-8"))


def judged(folder: Path, report: Report) -> Triage:
    return triage_of((folder / "log.txt").read_bytes(), report=report)


def verdict(triage: Triage, name: str) -> MachineCheck | None:
    found = {c.finding: c.machine_check for c in triage.causes}
    found |= {f.finding: f.machine_check for c in triage.causes for f in c.follows}
    return found.get(name)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)
def test_confirmed_there(folder: Path) -> None:
    wanted = expectation(folder).get("log_cause")
    if wanted is None:
        pytest.skip("its log names no single cause")
    try:
        report = report_of(folder)
    except MissingSample as missing:
        pytest.skip(f"public capture not here: {missing}")
    triage = judged(folder, report)
    assert triage.causes, "no cause found"
    first = triage.causes[0]
    shown = [(c.finding, str(c.machine_check), [f.finding for f in c.follows]) for c in triage.causes]
    assert first.finding == wanted, shown
    assert first.machine_check is MachineCheck.CONFIRMED, shown
    assert first.machine and first.remediation.text


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)
def test_ruled_out_on_a_healthy_machine(folder: Path) -> None:
    wanted = expectation(folder).get("log_cause")
    if wanted is None:
        pytest.skip("its log names no single cause")
    triages = [judged(folder, report) for report in healthy()]
    assert MachineCheck.RULED_OUT in [verdict(triage, str(wanted)) for triage in triages], wanted
    for triage in triages:
        assert all(c.machine_check is not MachineCheck.CONFIRMED for c in triage.causes), triage.causes
