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
from tests.probes.detect.test_ascend_state import CHILD, ECC, smi
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


WANTED = {
    "CANN-ENV",
    "CANN-DRV",
    "CANN-CONFLICT",
    "CANN-PYDEPS",
    "TORCH-NPU",
    "TRITON-ASCEND",
    "LIB-PATH",
    "ASCEND-PERM",
}
HARDWARE = {"ASCEND-HEALTH", "ASCEND-LINK", "ASCEND-SOC", "ASCEND-PERM", "NPU-BUSY", "CANN-DRV"}


def said(machine: Machine, wanted: set[str] = WANTED) -> set[tuple[str, str, str]]:
    report = Run(RunOptions(python=PYTHON), registry=PLUGINS, machine=machine).execute()
    return {(f.id, str(f.status), f.title) for f in report.findings if f.id in wanted}


@pytest.mark.parametrize(
    "name",
    [
        "ascend-cann-820", "ascend-cann-850", "ascend-env-not-sourced", "ascend-toolkit-without-ops", "ascend-two-roots",
        "ascend-version-conflict", "ascend-driver-too-old", "ascend-triton-clobbered", "ascend-no-permission",
        "ascend-torchinductor-triton-missing", "libpath-mooncake-ascend-transport", "libpath-cache-out-of-date",
    ],
)  # fmt: skip
def test_collected_and_replayed(name: str) -> None:
    recipe = read_recipe(MACHINES / name / "machine.toml")
    live = said(recipe_machine(recipe, NAMES))
    assert live
    assert said(replayed(recipe)) == live


def replayed(recipe: dict[str, Any]) -> Machine:
    collector = Collector(WholeAnswers(recipe), plan())
    collector.run([PYTHON])
    capabilities = ["files", "environment", "commands", "kernel state", "processes"]
    snapshot = {"observations": list(collector.kept.values()), "machine": {"capabilities": capabilities}}
    return replayed_machine(snapshot, where="test", environment_names=NAMES)


def test_hardware_by_the_tools_that_a_collector_can_run() -> None:
    recipe = read_recipe(MACHINES / "ascend-link-down" / "machine.toml")
    more = [("-t health -i 0 -c 0", "\tHealth Status : Alarm\n\tError Code : 80E01801\n"), ("-t ecc -i 0", ECC)]
    recipe["commands"] += smi(*more, health="Alarm")
    recipe["children"] = {CHILD: {"error": "libdcmi.so could not be loaded"}}
    live = said(recipe_machine(recipe, NAMES), HARDWARE)
    assert {"ASCEND-HEALTH", "ASCEND-LINK"} <= {i for i, status, _ in live if status == "warn"}
    assert said(replayed(recipe), HARDWARE) == live


def test_a_tool_that_hangs_is_asked_once() -> None:
    recipe = read_recipe(MACHINES / "ascend-npu-hangs" / "machine.toml")
    collector = Collector(WholeAnswers(recipe), plan())
    collector.run([PYTHON])
    asked = [given[0] for name, given, _ in collector.kept.values() if name == "run" and given[0][0] == "npu-smi"]
    assert asked == [["npu-smi", "info"]]
