"""A described machine around every public `npu-smi info` whose chips are well: the whole check has nothing against it.

What is around the table is invented (Ubuntu, driver files of the table's own version, nodes, the bus as the table shows it);
the table is the capture's own. DCMI is not there, so that npu-smi is what is asked."""

import re
from pathlib import Path
from typing import Any

import pytest

from infra_doctor.model.finding import Status
from infra_doctor.model.report import Report
from infra_doctor.runner.run import Run, RunOptions
from infra_doctor_probes.ascend.npu_smi import NpuSmiText, parse_npu_smi
from tests.machines.test_machines import NAMES, PLUGINS
from tests.support.ascend_trees import captures
from tests.support.recipe import read_recipe, recipe_machine

HERE = Path(__file__).parent
# Captures that are no table of well chips, and what a reader of them sees.
NOT_WELL = {
    "npu-smi-info__23.0.0_310B4_nputop": "its one chip says Alarm",
    "npu-smi-info__23.0.rc3.0_masked": "four edited columns",
    "npu-smi-info__24.1.rc1_masked": "a header without chips",
    "npu-smi-info__err_dcmi": "an error",
}
# Captures that were made in a container, where the processes of others are not shown.
IN_CONTAINER = ("npu-smi-info__23.0.7_910B2_8card", "npu-smi-info__26.0.rc1_910B4_container")
BUS_ID = {"910B": "0xd802", "910A": "0xd801", "910": "0xd803", "310P": "0xd500", "310": "0xd100", "xxx": "0xd801"}
WELL = [p for p in captures("npu-smi-info__*") if not p.name.startswith(tuple(NOT_WELL))]
CHILD = "infra_doctor_probes.children.dcmi"


def around(path: Path, **more: Any) -> dict[str, Any]:
    """The description of a machine that prints this capture."""
    found = parse_npu_smi(path.read_text(encoding="utf-8"))
    recipe = read_recipe(HERE / "base-linux.toml")
    files, links = recipe["files"], recipe["links"]
    root = "/usr/local/Ascend"
    files["/etc/ascend_install.info"] = f"UserName=HwHiAiUser\nUserGroup=HwHiAiUser\nDriver_Install_Path_Param={root}\n"
    files[f"{root}/driver/version.info"] = f"Version={found.driver_version}\n"
    for number, device in enumerate(
        (*(f"davinci{n}" for n in node_numbers(found)), "davinci_manager", "devmm_svm", "hisi_hdc")
    ):
        files[f"/dev/{device}"] = {"type": "char", "rdev": [236, number]}
    for chip in found.chips:
        if chip.address is not None:
            folder = f"/sys/bus/pci/devices/{chip.address}"
            family = max((f for f in BUS_ID if chip.name.removeprefix("Ascend").startswith(f)), key=len)
            files |= {
                f"{folder}/vendor": "0x19e5\n",
                f"{folder}/device": BUS_ID[family],
                f"{folder}/class": "0x120000\n",
            }
            links[f"{folder}/driver"] = "../../../../bus/pci/drivers/devdrv_device_driver"
    if path.name.startswith(IN_CONTAINER):
        files["/.dockerenv"] = ""
    commands = [{"argv": ["npu-smi", "info"], "stdout": path.read_text(encoding="utf-8")}, *more.pop("commands", ())]
    children = {CHILD: {"error": "the child process ended with 1"}}
    return {**recipe, "files": files, "links": links, "commands": commands, "children": children, **more}


def node_numbers(found: NpuSmiText) -> list[int]:
    """The numbers of the nodes: physical ids where the table has them, else the chips counted."""
    return [n if c.physical_id is None else c.physical_id for n, c in enumerate(found.chips)]


def report(recipe: dict[str, Any]) -> Report:
    """What the whole check says."""
    return Run(RunOptions(), registry=PLUGINS, machine=recipe_machine(recipe, NAMES)).execute()


def bad(found: Report) -> list[tuple[str, str, str]]:
    """The findings that say that something is amiss."""
    amiss = {Status.FAIL, Status.WARN, Status.ERROR}
    return [(f.id, f.title, f.detail) for f in found.findings if f.status in amiss]


@pytest.mark.parametrize("path", WELL, ids=lambda p: p.stem)
def test_nothing_is_amiss(path: Path) -> None:
    found = report(around(path))
    assert bad(found) == []
    chips = len(parse_npu_smi(path.read_text(encoding="utf-8")).chips)
    health = [f for f in found.findings if f.id == "ASCEND-HEALTH"]
    assert [f.status for f in health] == [Status.PASS]
    assert len(health[0].subject) == chips == len([c for c in found.components if c.kind == "npu"])


def test_every_capture_is_used_or_said_not_to_be_well() -> None:
    everything = captures("npu-smi-info__*")
    if not everything:
        pytest.skip("public captures not here")
    assert (len(everything), len(WELL)) == (21, 16)
    assert all(any(p.name.startswith(name) for p in everything) for name in (*NOT_WELL, *IN_CONTAINER))


@pytest.mark.parametrize("path", captures("npu-smi-info__23.0.0_310B4*"), ids=lambda p: p.stem)
def test_a_chip_that_says_alarm(path: Path) -> None:
    (found,) = bad(report(around(path)))
    assert found[0] == "ASCEND-HEALTH"
    assert "Ascend310B4" in found[1]


@pytest.mark.parametrize("path", [p for p in WELL if "8card" in p.name or "910B3" in p.name], ids=lambda p: p.stem)
@pytest.mark.parametrize("topology", captures("npu-smi-info-t-topo__*"), ids=lambda p: p.stem)
def test_a_well_topology(path: Path, topology: Path) -> None:
    text = topology.read_text(encoding="utf-8")
    more = [{"argv": ["npu-smi", "info", "-t", "topo"], "stdout": text}]
    found = report(around(path, commands=more))
    assert bad(found) == []
    assert [f.status for f in found.findings if f.id == "ASCEND-LINK"] == [Status.PASS]


@pytest.mark.parametrize("path", WELL[:1], ids=lambda p: p.stem)
@pytest.mark.parametrize("word", ["Warning", "Alarm", "Critical"])
def test_one_of_the_chips_is_not_well(path: Path, word: str) -> None:
    text = path.read_text(encoding="utf-8")
    changed = re.sub(r"(?m)^(\| 3 +\S+ +\| )OK {0,8}", rf"\g<1>{word} ", text, count=1)
    assert changed != text
    recipe = around(path)
    recipe["commands"][0]["stdout"] = changed
    (found,) = bad(report(recipe))
    assert found[0] == "ASCEND-HEALTH"
    assert word in found[1]
