"""What the NPUs say of their state and of their connections, on described machines: by DCMI, by npu-smi, by hccn_tool."""

from typing import Any

import pytest

from infra_doctor.machine.machine import Machine
from infra_doctor_probes.ascend.link import NpuLink, NpuTopology
from infra_doctor_probes.ascend.npu import AscendAccess
from infra_doctor_probes.ascend.state import EccCounts, NpuState, Reading, reading_of
from infra_doctor_probes.detect import pci, system
from infra_doctor_probes.detect.ascend import HCCN_TOOL
from tests.probes.detect.test_ascend_npu import CHILD, bus, chip, dcmi, nodes
from tests.support.ascend_trees import capture, probes
from tests.support.gather import Gathered, gather
from tests.support.recipe import recipe_machine

ADDRESSES = ("0000:c1:00.0", "0000:c2:00.0")
NODES = nodes("davinci0", "davinci1", "davinci_manager", "devmm_svm", "hisi_hdc")
ROW = """\
| {n}     910B3               | {health:<13} | 95.6        36                0    / 0             |
| 0                         | {address}  | 12          0    / 0          3350 / 65536         |
+===========================+===============+====================================================+
"""
HEADER = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 25.2.0                   Version: 25.2.0                                               |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
"""


def machine(*, files: dict[str, Any] | None = None, **recipe: Any) -> Machine:
    there = bus(*ADDRESSES)
    return recipe_machine({"files": {**there["files"], **NODES, **(files or {})}, "links": there["links"], **recipe})


def look(found: Machine, *names: str) -> Gathered:
    return gather(found, system.PROBES, pci.PROBES, probes(*(names or ("npu",))))


def states(found: Gathered) -> list[NpuState]:
    return [f for f in found.facts if isinstance(f, NpuState)]


def smi(*more: tuple[str, str], health: str = "OK", hangs: str = "") -> list[dict[str, Any]]:
    table = HEADER + ROW.format(n=0, health=health, address="0000:C1:00.0")
    table += ROW.format(n=1, health="OK", address="0000:C2:00.0")
    commands: list[dict[str, Any]] = [{"argv": ["npu-smi", "info"], "stdout": table}]
    commands += [{"argv": ["npu-smi", "info", *argv.split()], "stdout": text} for argv, text in more]
    if hangs:
        commands.append({"argv": ["npu-smi", "info", *hangs.split()], "timed_out": True})
    return commands


NO_DCMI = {CHILD: {"error": "the child process ended with 1"}}
ECC = "NPU ID : 0\nChip Count : 1\n\nHBM Single Bit Error Count : 5\nHBM Double Bit Error Count : 1\nChip ID : 0\n"


# -- by DCMI ------------------------------------------------------------------------------------------------------


def test_by_dcmi() -> None:
    ecc = {"HBM": {"single_bit_count": 3, "double_bit_isolated_pages": 17, "double_bit_count": "many"}}
    said = chip(
        0, ADDRESSES[0], health="Warning", fault_codes=["80E01801"], temperature_c=44, power_w=93.7, aicore_percent=81, ecc=ecc,
        processes=[[990711, 8 << 30], ["x", 1]], network_health="Success", memory_used_bytes=3363 << 20,
        board={"board_id": 48, "slot_id": -1}, npu_name="Ascend910B3",
    )  # fmt: skip
    found = look(machine(children=dcmi(said, chip(1, ADDRESSES[1]))))
    first, second = states(found)
    assert (first.npu, first.source) == ("npu:0000:c1:00.0", "DCMI")
    assert first.reading == Reading(
        health="Warning", fault_codes=("80E01801",), temperature_c=44, power_w=93.7, aicore_percent=81,
        memory_used_bytes=3363 << 20, memory_bytes=64 << 30, network_health="Success", processes=((990711, 8 << 30),), board_id=48,
        ecc=(EccCounts(memory="HBM", single_bit_count=3, double_bit_isolated_pages=17),),
    )  # fmt: skip
    assert second.reading == Reading(health="OK", memory_bytes=64 << 30)
    assert found.kinds("npu")[0].attributes["soc"] == "Ascend910B3"


@pytest.mark.parametrize(
    "junk",
    [
        {"ecc": [1], "board": "x", "processes": 7, "fault_codes": "80E01801"}, {"temperature_c": True, "power_w": "much"},
        {"power_w": float("nan"), "aicore_percent": -4, "memory_used_bytes": -1}, {"fault_codes": [7, "x" * 99, "a b"]},
        {"processes": [[1], [1, -1], [True, 2]]}, {"health_error": 1 << 70, "network_health": 3},
    ],
)  # fmt: skip
def test_what_is_no_value_was_not_said(junk: dict[str, Any]) -> None:
    read = reading_of(junk)
    assert read.health is None
    assert not (read.fault_codes or read.processes or read.ecc or read.network_health)
    numbers = (read.temperature_c, read.power_w, read.aicore_percent, read.memory_used_bytes, read.health_error)
    assert numbers == (None,) * 5


# -- by npu-smi ---------------------------------------------------------------------------------------------------


def test_by_npu_smi() -> None:
    more = [
        ("-t health -i 0 -c 0", "\tHealth Status : Alarm\n\tError Code : 80E01801\n\tError Information : x\n"),
        ("-t ecc -i 0", ECC), ("-t board -i 0", "NPU ID : 0\nFirmware Version : 7.7.0.6.236\nCompatibility : NOK\n"),
    ]  # fmt: skip
    asked = machine(children=NO_DCMI, commands=smi(*more, health="Alarm"))
    found = look(asked)
    first, second = (s.reading for s in states(found))
    assert (first.health, first.fault_codes) == ("Alarm", ("80E01801",))
    assert (first.power_w, first.temperature_c, first.aicore_percent) == (95.6, 36, 12)
    assert (first.memory_used_bytes, first.memory_bytes) == (3350 << 20, 65536 << 20)
    assert [(e.memory, e.single_bit_count, e.double_bit_count) for e in first.ecc] == [("HBM", 5, 1)]
    assert (first.firmware_version, first.firmware_compatibility) == ("7.7.0.6.236", "NOK")
    assert (second.health, second.fault_codes, second.ecc) == ("OK", None, ())
    ran = [k[1:] for k in asked.observations if k[0] == "run"]
    assert not [k for k in ran if "health" in str(k) and "'1'" in str(k)], (
        "a chip that is well is not asked for its faults"
    )


def test_a_question_that_hangs_ends_the_round() -> None:
    asked = machine(children=NO_DCMI, commands=smi(hangs="-t ecc -i 0"))
    found = look(asked)
    assert [s.reading.health for s in states(found)] == ["OK", "OK"]
    ran = [str(k) for k in asked.observations if k[0] == "run"]
    assert not [k for k in ran if "ecc" in k and "'1'" in k]


def test_two_dies_of_one_card_are_not_asked_for_their_counters() -> None:
    table = capture("npu-smi-info__25.2.0_Ascend910_nputop_tests-L95.txt")
    asked = machine(children=NO_DCMI, commands=[{"argv": ["npu-smi", "info"], "stdout": table}])
    assert len(states(look(asked))) == 4
    assert not [k for k in asked.observations if k[0] == "run" and "ecc" in str(k)]


# -- permission ---------------------------------------------------------------------------------------------------


def test_nodes_that_do_not_open() -> None:
    opens = {"/dev/davinci0": "EACCES", "/dev/hisi_hdc": "EACCES"}
    install = {"/etc/ascend_install.info": "UserName=npu\nUserGroup=npugroup\n"}
    found = look(machine(children=NO_DCMI, opens=opens, files=install)).fact(AscendAccess)
    assert dict(found.nodes) == {
        "/dev/davinci0": "EACCES", "/dev/davinci_manager": "", "/dev/devmm_svm": "", "/dev/hisi_hdc": "EACCES",
    }  # fmt: skip
    assert found.group == "npugroup"


# -- connections --------------------------------------------------------------------------------------------------


def hccn(number: int, **options: str) -> list[dict[str, Any]]:
    return [{"argv": [HCCN_TOOL, "-i", str(number), f"-{o}", "-g"], "stdout": text} for o, text in options.items()]


def links(found: Gathered) -> list[NpuLink]:
    return [f for f in found.facts if isinstance(f, NpuLink)]


TWO = dcmi(chip(0, ADDRESSES[0]), chip(1, ADDRESSES[1]))
TOOL = {HCCN_TOOL: {"size": 100}}


def test_ports() -> None:
    module = capture("hccn_tool-optical__faultdiag-b1_usr-local-ascend-driver-tools.txt")
    commands = [
        *hccn(0, link="link status: UP\n", net_health="net health status: Success\n", optical="", ip="ipaddr:192.0.2.1\nnetmask:255.255.255.0\n"),
        *hccn(1, link="link status: DOWN\n", net_health="net health status: Socket failed\n", optical=module, ip=""),
    ]  # fmt: skip
    found = look(machine(children=TWO, commands=commands, files=TOOL), "npu", "link")
    first, second = links(found)
    assert (first.npu, first.link, first.net_health, first.has_address) == ("npu:0000:c1:00.0", "UP", "Success", True)
    assert (second.link, second.net_health, second.optical_present) == ("DOWN", "Socket failed", False)
    assert "192.0.2" not in str(found.facts), "addresses are not kept"
    topology = found.fact(NpuTopology)
    assert (topology.pairs, bool(topology.problem)) == ((), True)


def test_a_port_that_does_not_answer() -> None:
    commands = [{"argv": [HCCN_TOOL, "-i", "0", "-link", "-g"], "timed_out": True}]
    asked = machine(children=TWO, commands=commands, files=TOOL)
    first, _ = links(look(asked, "npu", "link"))
    assert first.link is None
    assert "no answer" in first.unanswered
    ran = [str(k) for k in asked.observations if k[0] == "run" and "hccn_tool" in str(k) and "'0'" in str(k)]
    assert len(ran) == 1


@pytest.mark.parametrize("name", ["310P3", "310B4", "950PR"])
def test_chips_without_ports_are_not_asked(name: str) -> None:
    children = dcmi(chip(0, ADDRESSES[0], name=name))
    asked = machine(children=children, files=TOOL)
    assert links(look(asked, "npu", "link")) == []
    assert not [k for k in asked.observations if k[0] == "run"]


def test_without_the_tool_nothing_is_started_but_npu_smi() -> None:
    asked = machine(children=TWO)
    found = look(asked, "npu", "link")
    assert links(found) == []
    assert not [k for k in asked.observations if "hccn" in str(k) and k[0] == "run"]


def test_connections_between_npus() -> None:
    text = capture("npu-smi-info-t-topo__arthurchiao-910B_L316_323.txt")
    commands = [{"argv": ["npu-smi", "info", "-t", "topo"], "stdout": text}]
    found = look(machine(children=TWO, commands=commands), "npu", "link").fact(NpuTopology)
    assert len(found.pairs) == 28
    assert {kind for _, _, kind in found.pairs} == {"HCCS"}
    assert (found.without_hccs, found.problem) == ((), "")
