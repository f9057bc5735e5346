"""The NPUs, on described machines: DCMI, npu-smi, nodes, bus, containers, and what hangs or answers nonsense."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra_doctor.machine.machine import Machine
from infra_doctor.model.component import Unseen
from infra_doctor_probes.ascend.files import AscendVersionSources
from infra_doctor_probes.ascend.npu import AscendDeviceNodes, AscendNpusNotGiven
from infra_doctor_probes.ascend.session import AscendSession
from infra_doctor_probes.detect import ascend, pci, system
from tests.support.ascend_trees import capture, captures, probes
from tests.support.gather import Gathered, gather
from tests.support.recipe import recipe_machine

CHILD = "infra_doctor_probes.children.dcmi"
CHAR = {"type": "char", "rdev": [236, 0]}


def bus(*addresses: str, device: str = "0xd802", driver: str | None = "devdrv_device_driver") -> dict[str, Any]:
    files, links = {}, {}
    for address in addresses:
        folder = f"/sys/bus/pci/devices/{address}"
        files |= {f"{folder}/vendor": "0x19e5\n", f"{folder}/device": device, f"{folder}/class": "0x120000\n"}
        if driver:
            links[f"{folder}/driver"] = f"../../../bus/pci/drivers/{driver}"
    return {"files": files, "links": links}


def nodes(*names: str) -> dict[str, Any]:
    return {f"/dev/{name}": CHAR for name in names}


def chip(number: int, address: str | None, **more: Any) -> dict[str, Any]:
    found = {"card": number, "device": 0, "error": "", "name": "910B3", "pci": address, "health": "OK"}
    return {**found, "memory_bytes": 64 << 30, "physical_id": number, **more}


def dcmi(*devices: Any, **more: Any) -> dict[str, Any]:
    answer = {
        "library": "libdcmi.so",
        "family": "dcmi",
        "driver_version": "25.2.0",
        "devices": list(devices),
        "error": "",
    }
    return {CHILD: {"data": {**answer, **more}}}


def machine(*, container: bool = False, **recipe: Any) -> Machine:
    files = dict(recipe.pop("files", {}))
    if container:
        files["/.dockerenv"] = ""
    return recipe_machine({"files": files, **recipe})


def look(found: Machine) -> Gathered:
    return gather(found, system.PROBES, pci.PROBES, probes("npu"))


def npu_smi(stdout: str, **more: Any) -> list[dict[str, Any]]:
    return [{"argv": ["npu-smi", "info"], "stdout": stdout, **more}]


ADDRESSES = ("0000:c1:00.0", "0000:c2:00.0")
ALL_NODES = nodes("davinci0", "davinci1", "davinci_manager", "devmm_svm", "hisi_hdc")


def two(**recipe: Any) -> Machine:
    """A host with two NPUs on the bus and all nodes."""
    there = bus(*ADDRESSES)
    return machine(files=there["files"] | ALL_NODES, links=there["links"], **recipe)


def test_dcmi_answers() -> None:
    found = look(two(children=dcmi(chip(0, ADDRESSES[0]), chip(1, ADDRESSES[1], health="Alarm"))))
    first, second = found.kinds("npu")
    assert (first.key, first.name) == ("npu:0000:c1:00.0", "Ascend910B3")
    assert first.attributes["family"] == "910B (A2)"
    assert first.attributes["form"] == "EP"
    assert first.attributes["memory_bytes"] == 64 << 30
    assert (second.attributes["health"], second.attributes["physical_id"]) == ("Alarm", 1)
    assert found.unseen == []
    assert found.one("driver").attributes["running_version"] == "25.2.0"
    assert [s.tool for s in found.facts if isinstance(s, AscendSession)] == ["DCMI"]


def test_npu_smi_where_dcmi_does_not() -> None:
    text = capture("npu-smi-info__25.2.0_Ascend910_nputop_tests-L95.txt")
    found = look(two(children={CHILD: {"error": "the child process ended by SIGSEGV"}}, commands=npu_smi(text)))
    sessions = [s for s in found.facts if isinstance(s, AscendSession)]
    assert [(s.tool, bool(s.error)) for s in sessions] == [("DCMI", True), ("npu-smi", False)]
    assert [c.key for c in found.kinds("npu")][:4] == [
        "npu:0000:9c:00.0", "npu:0000:9e:00.0", "npu:0000:37:00.0", "npu:0000:39:00.0",
    ]  # fmt: skip
    # the two on this bus are not in that text: there, and not listed
    assert found.unseen[0].subject == ("npu:0000:c1:00.0", "npu:0000:c2:00.0")
    assert found.fact(AscendVersionSources).chosen == "25.2.0"


@pytest.mark.parametrize("path", captures("npu-smi-info__[12]*"), ids=lambda p: p.stem)
def test_every_capture_becomes_npus_or_an_error(path: Any) -> None:
    found = look(machine(files=nodes("davinci0"), commands=npu_smi(path.read_text(encoding="utf-8"))))
    keys = [c.key for c in found.kinds("npu")]
    assert len(keys) == len(set(keys))
    assert bool(found.unseen) is (found.kinds("npu")[0].attributes["seen_by"] == "device node")
    if path.name.startswith("npu-smi-info__23.0.0_310B4"):
        assert keys == ["npu:davinci0"]  # no bus: the one chip is the one node
    assert all(c.evidence for c in found.kinds("npu"))


@pytest.mark.parametrize("code", [-8005, -8020])
def test_npu_smi_errors(code: int) -> None:
    text = capture(f"npu-smi-info__err_dcmi{code}.txt")
    found = look(two(children=dcmi(error=f"dcmi_init gave {code}", error_code=code), commands=npu_smi(text)))
    assert [s.error_code for s in found.facts if isinstance(s, AscendSession)] == [code, code]
    (unseen,) = found.unseen
    assert unseen.subject == ("npu:0000:c1:00.0", "npu:0000:c2:00.0")
    assert str(code) in unseen.reason
    assert {c.attributes["seen_by"] for c in found.kinds("npu")} == {"pci"}


def test_both_hang() -> None:
    child = {CHILD: {"error": "no answer within 10 s; the child process was ended", "timed_out": True}}
    found = look(two(children=child, commands=npu_smi("", timed_out=True)))
    assert all(s.timed_out for s in found.facts if isinstance(s, AscendSession))
    assert found.unseen[0].reason.count("no answer within 10 s") == 2
    assert len(found.kinds("npu")) == 2


@pytest.mark.parametrize(
    "data",
    [
        {}, {"devices": None}, {"devices": "x"}, {"devices": [None, 3, [], "x", {}, {"card": "0"}]},
        {"devices": [{"card": 0, "device": "a", "name": 7, "pci": ["x"], "memory_bytes": "64", "health": {}}]},
        {"devices": [chip(0, "../../etc/passwd")], "driver_version": 25}, {"error": 3, "error_code": "x"},
    ],
)  # fmt: skip
def test_nonsense_from_the_child(data: dict[str, Any]) -> None:
    found = look(two(children={CHILD: {"data": data}}))
    for npu in found.kinds("npu"):
        assert re.fullmatch(r"npu:(0000:c[12]:00\.0|davinci0|npu0)", npu.key)
        assert isinstance(npu.attributes.get("memory_bytes", 0), int)


@pytest.mark.parametrize("stdout", ["", "garbage\x00\n" * 500, "| npu-smi 99 |\n"])
def test_garbage_from_npu_smi(stdout: str) -> None:
    found = look(two(commands=npu_smi(stdout)))
    assert len(found.kinds("npu")) == 2
    (unseen,) = found.unseen
    assert isinstance(unseen, Unseen)


def test_two_chips_on_one_address() -> None:
    """A 310P card shows two chips with one PCI address; taken from a public capture of a detector."""
    import json

    devices = json.loads(capture("api-detect-json__gpustack_310p3.json"))
    chips = [
        chip(d["appendix"]["card_id"], d["appendix"]["bdf"], device=d["appendix"]["device_id"], name=d["name"])
        for d in devices
    ]
    there = bus("0000:81:00.0", device="0xd500")
    found = look(machine(**there, children=dcmi(*chips)))
    assert [c.key for c in found.kinds("npu")] == ["npu:0000:81:00.0", "npu:0000:81:00.0#1"]
    assert found.unseen == []
    assert "family" not in found.kinds("npu")[0].attributes  # that id's meaning is not verified


def test_numbered_by_physical_id() -> None:
    found = look(machine(files=nodes("davinci4", "davinci10", "davinci2"), children=dcmi(chip(0, None, physical_id=4))))
    assert [c.key for c in found.kinds("npu")] == ["npu:davinci4"]
    assert found.kinds("npu")[0].attributes["form"] == "unknown"
    assert found.fact(AscendDeviceNodes).npus == ("/dev/davinci2", "/dev/davinci4", "/dev/davinci10")


def test_container_without_nodes_starts_nothing() -> None:
    there = bus(*ADDRESSES)
    asked = machine(container=True, **there, children=dcmi(chip(0, ADDRESSES[0])), commands=npu_smi("x"))
    found = look(asked)
    assert found.kinds("npu") == []
    assert found.unseen == []
    assert found.fact(AscendNpusNotGiven).addresses == ADDRESSES
    assert not [k for k in asked.observations if k[0] in {"child", "run"}]


def test_container_with_one_of_two() -> None:
    there = bus(*ADDRESSES)
    asked = machine(
        container=True, files=there["files"] | nodes("davinci1", "davinci_manager"), links=there["links"],
        children=dcmi(chip(1, ADDRESSES[1])),
    )  # fmt: skip
    found = look(asked)
    assert [c.key for c in found.kinds("npu")] == ["npu:0000:c2:00.0"]
    assert found.fact(AscendNpusNotGiven).addresses == ("0000:c1:00.0",)
    assert found.unseen == []
    assert found.fact(AscendDeviceNodes).missing == ("/dev/devmm_svm", "/dev/hisi_hdc")


def test_container_that_nobody_answers_counts_its_nodes() -> None:
    there = bus(*ADDRESSES)
    found = look(machine(container=True, files=there["files"] | nodes("davinci1"), links=there["links"]))
    assert [c.key for c in found.kinds("npu")] == ["npu:davinci1"]
    assert found.unseen[0].subject == ("npu:davinci1",)


def test_kept_for_a_virtual_machine() -> None:
    found = look(machine(**bus(*ADDRESSES, driver="vfio-pci")))
    assert found.kinds("npu") == []
    assert found.fact(AscendNpusNotGiven).reason.startswith("bound to vfio-pci")


def test_host_without_driver() -> None:
    found = look(machine(**bus(*ADDRESSES, driver=None)))
    assert [c.attributes["driver_module"] for c in found.kinds("npu")] == [None, None]
    assert found.unseen[0].subject == ("npu:0000:c1:00.0", "npu:0000:c2:00.0")


def test_a_machine_form_that_cannot_ask_is_no_error() -> None:
    there = bus(*ADDRESSES)
    found = look(machine(**there, capabilities=["files", "kernel state"]))
    assert len(found.kinds("npu")) == 2
    assert found.unseen == []


def test_the_servers_own_display_is_no_npu() -> None:
    files = {
        "/sys/bus/pci/devices/0000:04:00.0/vendor": "0x19e5\n", "/sys/bus/pci/devices/0000:04:00.0/device": "0x1711\n",
        "/sys/bus/pci/devices/0000:04:00.0/class": "0x030000\n",
    }  # fmt: skip
    found = look(machine(files=files))
    assert found.components == [c for c in found.components if c.kind != "npu"]
    assert found.unseen == []


@pytest.mark.parametrize("name", ["faultdiag-a1", "faultdiag-b1"])
def test_bus_of_a_real_server(name: str) -> None:
    addresses = ["0000:" + line.split()[0] for line in capture(f"lspci__{name}_lspci-grep-acce.txt").splitlines()]
    found = look(machine(**bus(*addresses, device="0xd801")))
    assert [c.key for c in found.kinds("npu")] == [f"npu:{a}" for a in addresses]


def test_without_ascend_a_few_questions_and_no_process() -> None:
    empty = recipe_machine(
        {"files": {"/dev/null": CHAR}, "environment": {"HOME": "/root", "LD_LIBRARY_PATH": "/usr/lib"}}
    )
    found = gather(empty, pci.PROBES, ascend.PROBES)
    assert (found.components, found.facts, found.unseen) == ([], [], [])
    assert not [k for k in empty.observations if k[0] in {"child", "run", "elf"}]
    assert len(empty.observations) < 25, sorted(map(str, empty.observations))


def test_without_ascend_its_code_is_not_even_loaded() -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.machines.test_machines import report_of\n"
        "found = report_of(Path('tests/machines/cpu-only'))\n"
        "assert {f.id for f in found.findings} >= {'CANN-ENV', 'CANN-DRV', 'TORCH-NPU'}\n"
        "print([m for m in sys.modules if m.startswith('infra_doctor_probes.ascend')])\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"
