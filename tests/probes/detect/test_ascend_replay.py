"""What the collector takes of an Ascend machine is enough: a replay says the same of CANN as the machine itself."""

from pathlib import Path
from typing import Any

import pytest

from infra_doctor.cli.collector import plan
from infra_doctor.machine.collect import Collector
from infra_doctor.machine.forms import replayed_machine
from infra_doctor.machine.machine import Machine
from infra_doctor.runner import registry
from infra_doctor.runner.run import Run, RunOptions
from tests.support.recipe import RecipeSource, read_recipe, recipe_machine

MACHINES = Path(__file__).parents[2] / "machines"
PLUGINS = registry.load(third_party=False)
NAMES = tuple(sorted({n for p in PLUGINS.probes for n in p.environment}))
PYTHON = "/opt/venv/bin/python"


class WholeAnswers(RecipeSource):
    """A described machine whose ELF facts have every field, as the agent's have."""

    def op_elf(self, path: str) -> Any:
        found = super().op_elf(path)
        empty = {"interp": None, "soname": None, "needed": [], "runpath": None, "rpath": None}
        return found if found is None or "error" in found else {**empty, **found}


def said(machine: Machine) -> set[tuple[str, str, str]]:
    report = Run(RunOptions(python=PYTHON), registry=PLUGINS, machine=machine).execute()
    wanted = {"CANN-ENV", "CANN-DRV", "CANN-CONFLICT", "CANN-PYDEPS", "TORCH-NPU"}
    return {(f.id, str(f.status), f.title) for f in report.findings if f.id in wanted}


@pytest.mark.parametrize(
    "name",
    [
        "ascend-cann-820", "ascend-cann-850", "ascend-env-not-sourced", "ascend-toolkit-without-ops", "ascend-two-roots",
        "ascend-version-conflict", "ascend-driver-too-old",
    ],
)  # fmt: skip
def test_collected_and_replayed(name: str) -> None:
    recipe = read_recipe(MACHINES / name / "machine.toml")
    collector = Collector(WholeAnswers(recipe), plan())
    collector.run([PYTHON])
    capabilities = ["files", "environment", "commands", "kernel state", "processes"]
    snapshot = {"observations": list(collector.kept.values()), "machine": {"capabilities": capabilities}}
    replay = replayed_machine(snapshot, where="test", environment_names=NAMES)
    live = said(recipe_machine(recipe, NAMES))
    assert live
    assert said(replay) == live
