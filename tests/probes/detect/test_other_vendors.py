"""Further vendors' accelerators on described machines: rows of the table, tools, containers, what is not asked."""

from typing import Any

import pytest

from infra_doctor.machine.machine import Machine
from infra_doctor_probes.detect import other_vendors, pci, system, wheels
from infra_doctor_probes.detect.other_vendors import VENDORS
from infra_doctor_probes.other_vendors.boxed import LAYOUTS
from infra_doctor_probes.other_vendors.forms import PARSERS
from infra_doctor_probes.other_vendors.musa import MusaSurroundings
from infra_doctor_probes.other_vendors.probe import VendorSession, VendorStack
from infra_doctor_probes.other_vendors.rows import vendors
from tests.probes.vendors.described import around, merged, on_the_bus, vendor
from tests.support.gather import Gathered, gather
from tests.support.recipe import recipe_machine

EVERY_TOOL = [[tool] for v in vendors().values() for tool, _ in v.tools]


def look(recipe: dict[str, Any]) -> tuple[Machine, Gathered]:
    machine = recipe_machine(recipe, ("MUSA_HOME", "MTHREADS_VISIBLE_DEVICES"))
    return machine, gather(machine, system.PROBES, pci.PROBES, wheels.PROBES, other_vendors.PROBES)


def asked(machine: Machine) -> list[str]:
    return [key[1][0] for key in machine.observations if key[0] == "run"]


def test_every_row_can_be_used() -> None:
    assert {v.id for v in vendors().values() if v.pci_vendor} == VENDORS
    known = {*pci.VENDORS.items()}
    for row in vendors().values():
        assert not row.pci_vendor or (row.pci_vendor, row.id) in known
        assert row.kind in {"gpu", "npu"} and row.source
        assert all(node.startswith("/dev/") and "(" not in node for node in row.nodes)
        assert all(form in LAYOUTS or form in PARSERS for _, form in row.tools)
        assert all(name == name.lower() and "_" not in name for name in row.plug_ins)


def test_rows_without_a_public_source_give_hints_alone() -> None:
    rows = vendors()
    assert not rows["biren"].certain and not rows["tecorigin"].certain
    assert rows["mthreads"].is_verified("/dev/mtgpu.[0-9]*") and not rows["mthreads"].is_verified(
        "/usr/local/musa/version.json"
    )
    assert not rows["enflame"].is_verified("/opt/tops") and not rows["habana"].is_verified("habanalabs")


def test_no_tool_runs_without_its_vendor_on_the_bus() -> None:
    """Not even where all are installed: `xpu-smi` alone is the tool of two vendors."""
    tools = {"commands": [{"argv": argv, "stdout": "anything"} for argv in EVERY_TOOL]}
    machine, found = look(merged(tools))
    assert asked(machine) == [] and found.facts == []
    machine, _ = look(merged(tools, on_the_bus("0000:03:00.0", "8086", "e20b", "030000", "xe")))
    assert asked(machine) == []
    machine, _ = look(merged(tools, around(vendor("metax"), ["0000:0e:00.0"], driver_version=None)))
    assert asked(machine) == ["mx-smi"]


def test_kunlunxins_two_tools_are_tried_in_turn() -> None:
    text = (
        "Runtime Version: 4.31\nDriver Version: 4.0\n  DEVICES\n| DevID | PCI Addr | Model | Memory |\n"
        "| 0 | 0000:1b:00.0 | R300 | 0 / 32768 MB |\n"
    )
    recipe = merged(
        around(vendor("kunlun"), ["0000:1b:00.0"], driver_version="4.0"),
        {"commands": [{"argv": ["xpu_smi"], "stdout": text}]},
    )
    machine, found = look(recipe)
    assert asked(machine) == ["xpu_smi"]
    assert found.one("npu").name == "R300" and found.one("driver").version == "4.0"


def test_a_tool_that_hangs_or_prints_another_form() -> None:
    recipe = around(vendor("cambricon"), ["0000:1b:00.0"], driver_version=None)
    _, found = look(merged(recipe, {"commands": [{"argv": ["cnmon"], "timed_out": True}]}))
    assert found.fact(VendorSession).timed_out and found.unseen[0].subject == ("npu:0000:1b:00.0",)
    _, found = look(merged(recipe, {"commands": [{"argv": ["cnmon"], "rc": 1, "stderr": "failed to open device\n"}]}))
    assert found.unseen[0].reason == "cnmon: this is not the table of cnmon: failed to open device"
    _, found = look(recipe)
    assert found.unseen == [] and not found.has(VendorSession), "a tool that is not installed is no error"


def test_a_driver_by_module_by_link_and_by_tool() -> None:
    recipe = around(vendor("enflame"), ["0000:01:00.0"], driver_version="1.2.0.301")
    assert look(recipe)[1].one("driver").version == "1.2.0.301"
    del recipe["links"]["/sys/bus/pci/devices/0000:01:00.0/driver"], recipe["files"]["/sys/module/enflame/version"]
    _, found = look(recipe)
    assert found.kinds("driver") == [] and found.fact(VendorStack).undriven == ("0000:01:00.0",)


def test_a_container_has_what_its_tool_lists() -> None:
    recipe = around(vendor("metax"), ["0000:0e:00.0", "0000:0f:00.0"], driver_version="3.4.4")
    recipe["files"]["/.dockerenv"] = ""
    text = (
        "| MX-SMI 2.2.9   Kernel Mode Driver Version: 3.4.4 |\n|----|\n| Board Name | Bus-id |\n| Temp | Memory-Usage |\n|====|\n"
        "| 0 MetaX C500 | 0000:0f:00.0 |\n| 35C | 826/65536 MiB |\n"
    )
    _, found = look(merged(recipe, {"commands": [{"argv": ["mx-smi"], "stdout": text}]}))
    assert [c.key for c in found.kinds("gpu")] == ["gpu:0000:0f:00.0"]
    assert found.fact(VendorStack).not_given == ("0000:0e:00.0",)


def test_tecorigin_is_told_by_its_nodes_alone() -> None:
    _, found = look(merged({"files": {"/dev/tcaicard0": {"type": "char", "rdev": [240, 0]}}}))
    assert found.one("npu").attributes == {"vendor": "tecorigin", "seen_by": "device node"}


def test_an_unverified_vendor_id_is_marked() -> None:
    _, found = look(merged(on_the_bus("0000:01:00.0", "1ee0", "0001", "120000", None)))
    assert found.one("gpu").attributes["vendor_unverified"] is True


def test_a_toolkit_where_a_variable_points() -> None:
    recipe = around(vendor("mthreads"), ["0000:08:00.0"], driver_version="2.7.0")
    recipe["files"] |= {"/data/musa/version.json": '{"musa_toolkits": {"version": "3.1.0"}}'}
    recipe["environment"]["MUSA_HOME"] = "/data/musa"
    _, found = look(recipe)
    assert {c.location: c.version for c in found.kinds("toolkit")} == {"/usr/local/musa": None, "/data/musa": "3.1.0"}


@pytest.mark.parametrize(
    "text", ["", "\x00" * 100, "version: none", "9" * 70000, '{"version": {"a": 1}}', "<redacted>"]
)
def test_a_version_file_of_anything(text: str) -> None:
    recipe = around(vendor("cambricon"), ["0000:1b:00.0"], driver_version=None)
    recipe["files"]["/usr/local/neuware/version.txt"] = text
    version = look(recipe)[1].one("toolkit").version
    assert version is None or len(version) <= 61


def test_the_surroundings_of_musa() -> None:
    recipe = around(vendor("mthreads"), ["0000:08:00.0"], driver_version="2.7.0")
    recipe["files"] |= {
        "/sys/bus/pci/devices/0000:08:00.0/device": "0x0327\n",
        "/proc/cmdline": "BOOT_IMAGE=/vmlinuz root=/dev/sda1 intel_iommu=off secret=1 iommu.passthrough=0\n",
        "/usr/lib/x86_64-linux-gnu/musa/libsrv_um_MUSA.so": {"size": 0},
    }
    found = look(recipe)[1].fact(MusaSurroundings)
    assert found.s4000 == ("0000:08:00.0",) and found.iommus is None
    assert found.iommu_options == ("intel_iommu=off", "iommu.passthrough=0")
    assert found.libraries == (("/usr/lib/x86_64-linux-gnu/musa/libsrv_um_MUSA.so", 0),)
    assert "secret" not in str(found)
