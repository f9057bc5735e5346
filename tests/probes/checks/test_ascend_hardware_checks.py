"""The checks of NPUs themselves: health, ports, chips and software for them, permission, memory; and triton-ascend."""

from typing import Any

import pytest

from infra_doctor.model.component import Component
from infra_doctor.model.finding import Finding, Severity, Status
from infra_doctor_probes.ascend.link import NpuLink, NpuTopology
from infra_doctor_probes.ascend.npu import AscendAccess
from infra_doctor_probes.ascend.state import EccCounts, NpuState, Reading
from infra_doctor_probes.ascend.triton import AscendTriton
from infra_doctor_probes.checks import (
    ascend_health,
    ascend_link,
    ascend_perm,
    ascend_soc,
    cann_drv,
    npu_busy,
    triton_ascend,
)
from infra_doctor_probes.detect.system import Container
from infra_doctor_probes.detect.wheel_files import WheelContest
from tests.probes.checks.test_ascend_checks import NPU_WHEEL, SEEN, TARGET, cann, driver, findings, one, wheel

GIB = 1 << 30
CONTAINER = Container(runtime="docker", evidence=SEEN)


def npu(number: int = 0, name: str = "Ascend910B3", **attributes: Any) -> Component:
    return Component(
        key=f"npu:0000:c{number}:00.0",
        kind="npu",
        name=name,
        attributes={"npu_id": number, **attributes},
        evidence=SEEN,
    )


def state(number: int = 0, health: str | None = "OK", **reading: Any) -> NpuState:
    return NpuState(npu=npu(number).key, source="npu-smi", reading=Reading(health=health, **reading), evidence=SEEN)


def judged(*states: NpuState) -> list[Finding]:
    return findings(ascend_health.CHECK, driver(), *(npu(n) for n in range(len(states))), *states)


# -- ASCEND-HEALTH ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("health", "status", "severity"),
    [
        ("Warning", Status.WARN, Severity.MEDIUM), ("Alarm", Status.WARN, Severity.HIGH),
        ("Critical", Status.FAIL, Severity.CRITICAL),
    ],
)  # fmt: skip
def test_reported(health: str, status: Status, severity: Severity) -> None:
    bad, good = judged(state(0, health, fault_codes=("A4025021",)), state(1))
    assert (bad.status, bad.severity, bad.subject) == (status, severity, (npu(0).key,))
    assert health in bad.title
    assert (good.status, good.subject) == (Status.PASS, (npu(1).key,))


def test_known_and_unknown_codes() -> None:
    (found,) = judged(state(0, "Alarm", fault_codes=("80E01801", "12345678")))
    assert "80E01801: " in found.detail
    assert "12345678: not in the table of known faults" in found.detail
    assert any("80E01801 12345678" in e.text for e in found.evidence)
    (without,) = judged(state(0, "Alarm"))
    assert "names no fault code" in without.detail


def test_a_code_that_asks_for_a_reset_is_grave() -> None:
    from infra_doctor_probes.tables.common import rows

    grave = next(row["code"] for row in rows(ascend_health.TABLE) if row["handling"] == "take-out")
    (found,) = judged(state(0, "Warning", fault_codes=(grave,)))
    assert found.severity is Severity.HIGH
    assert "take the NPU out of use" in found.detail


@pytest.mark.parametrize(("code", "status"), [(-8010, Status.WARN), (-8255, Status.UNKNOWN), (None, Status.UNKNOWN)])
def test_not_said(code: int | None, status: Status) -> None:
    (found,) = judged(state(0, None, health_error=code))
    assert found.status is status


@pytest.mark.parametrize("said", ["NA", "UNKNOWN", "code 9"])
def test_other_words_are_unknown(said: str) -> None:
    (found,) = judged(state(0, said))
    assert found.status is Status.UNKNOWN
    assert said in found.detail


@pytest.mark.parametrize(
    ("counts", "status"),
    [
        ({"double_bit_isolated_pages": 15}, Status.PASS), ({"double_bit_isolated_pages": 16}, Status.WARN),
        ({"double_bit_isolated_pages": 64}, Status.FAIL), ({"double_bit_pages_to_isolate": 1}, Status.WARN),
        ({"double_bit_count": 1}, Status.WARN), ({"single_bit_count": 900, "single_bit_total": 9000}, Status.PASS),
        ({"double_bit_total": 3}, Status.PASS), ({}, Status.PASS),
    ],
)  # fmt: skip
def test_memory_errors(counts: dict[str, int], status: Status) -> None:
    (found,) = judged(state(0, ecc=(EccCounts(memory="HBM", **counts),)))
    assert found.status is status


@pytest.mark.parametrize(("degrees", "status"), [(95, Status.PASS), (96, Status.WARN), (None, Status.PASS)])
def test_heat(degrees: int | None, status: Status) -> None:
    assert judged(state(0, hbm_temperature_c=degrees))[0].status is status


def test_health_that_nobody_gave() -> None:
    assert one(ascend_health.CHECK, driver(), npu()).status is Status.UNKNOWN


def test_firmware_that_npu_smi_calls_unfit() -> None:
    good, bad = state(0, firmware_compatibility="OK"), state(0, firmware_compatibility="NOK", firmware_version="1.80")
    assert [f.status for f in findings(cann_drv.CHECK, driver(), npu(), good)] == [Status.SKIP]
    said, rest = findings(cann_drv.CHECK, driver(), npu(), bad)
    assert (said.status, rest.status) == (Status.FAIL, Status.SKIP)
    assert "firmware 1.80" in said.title


# -- ASCEND-LINK --------------------------------------------------------------------------------------------------


def port(number: int, link: str | None = "UP", **more: Any) -> NpuLink:
    return NpuLink(npu=npu(number).key, link=link, evidence=SEEN, **more)


def linked(*facts: Any) -> list[Finding]:
    return findings(ascend_link.CHECK, driver(), npu(0), npu(1), *facts)


def test_one_port_down() -> None:
    (found,) = linked(port(0), port(1, "DOWN", optical_present=False))
    assert (found.status, found.subject) == (Status.WARN, (npu(1).key,))
    assert "not plugged in" in found.detail
    assert "1 of 2 ports" in found.detail


@pytest.mark.parametrize(
    "ports",
    [
        (port(0, "DOWN"), port(1, "DOWN")), (), (port(0, "DOWN", net_health="Socket failed", optical_present=False),),
    ],
)  # fmt: skip
def test_not_cabled(ports: tuple[NpuLink, ...]) -> None:
    (found,) = linked(*ports)
    assert found.status is Status.SKIP


@pytest.mark.parametrize(
    "ports",
    [
        (port(0), port(1)), (port(0, net_health="Init"), port(1, net_health="Success")),
        (port(0, optical_present=False), port(1, optical_present=False)),  # copper
        (port(0, has_address=False), port(1, has_address=False)),
        (port(0, lanes_below=("Rx Power1 0.0 mW",), optical_present=False), port(1)),
    ],
)  # fmt: skip
def test_nothing_amiss(ports: tuple[NpuLink, ...]) -> None:
    (found,) = linked(*ports)
    assert found.status is Status.PASS


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"lanes_below": ("Rx Power1 0.0054 mW",), "optical_present": True}, "too little light"),
        ({"has_address": False}, "no IP address"), ({"net_health": "Unreachable"}, "does not reach its network"),
        ({"net_health": "Socket failed"}, "Socket failed"),
    ],
)  # fmt: skip
def test_one_port_is_worse(more: dict[str, Any], word: str) -> None:
    (found,) = linked(port(0, has_address=True, net_health="Success"), port(1, **{"has_address": True, **more}))
    assert found.status is Status.WARN
    assert word in found.title


def test_detection_by_dcmi_where_there_is_no_hccn_tool() -> None:
    good, bad = state(0, network_health="Success"), state(1, network_health="Unreachable")
    assert [f.status for f in linked(good, bad)] == [Status.WARN]
    assert [f.status for f in linked(bad)] == [Status.SKIP]  # nobody has it: perhaps it was never set up


def test_ports_that_did_not_answer() -> None:
    (found,) = linked(port(0, None, unanswered="-link: no answer within 3 s"), port(1, None))
    assert found.status is Status.UNKNOWN
    assert "no answer within 3 s" in found.detail


def test_one_without_hccs() -> None:
    topology = NpuTopology(pairs=(("NPU0", "NPU1", "HCCS"),), without_hccs=("NPU3",), evidence=SEEN)
    (found,) = linked(topology)
    assert (found.status, found.title[:5]) == (Status.WARN, "NPU3:")
    (well,) = linked(NpuTopology(pairs=(("NPU0", "NPU1", "HCCS"),), evidence=SEEN))
    assert well.status is Status.PASS
    (unread,) = linked(NpuTopology(problem="no matrix", evidence=SEEN))
    assert unread.status is Status.SKIP


# -- ASCEND-SOC ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chip", "version", "status"),
    [
        ("Ascend310B4", "2.1.0rc1", Status.FAIL), ("Ascend310B4", "2.1.0.post8", Status.PASS),
        ("Ascend910B3", "2.9.0", Status.PASS), ("Ascend950PR", "2.9.0", Status.FAIL), ("Ascend910", "2.9.0", Status.SKIP),
        ("Ascend NPU", "2.1.0", Status.SKIP), ("Ascend950PR", "2.9.0.dev20260101", Status.SKIP),
    ],
)  # fmt: skip
def test_torch_npu_and_the_chip(chip: str, version: str, status: Status) -> None:
    assert one(ascend_soc.CHECK, driver(), npu(name=chip), wheel("torch-npu", version)).status is status


def test_the_runtimes_name_counts() -> None:
    c910 = npu(name="Ascend910", soc="Ascend910_9391")
    assert one(ascend_soc.CHECK, driver(), c910, wheel("torch-npu", "2.3.1")).status is Status.FAIL
    assert one(ascend_soc.CHECK, driver(), c910, wheel("torch-npu", "2.7.1")).status is Status.PASS


def test_operators_of_another_chip() -> None:
    on = (driver(), npu(name="Ascend910B3"))
    other = cann(kernels="ascend310p", kernels_at="/opp")
    assert one(ascend_soc.CHECK, *on, other).status is Status.WARN  # nothing here uses them
    known, bad = findings(ascend_soc.CHECK, *on, other, NPU_WHEEL)
    assert (known.status, bad.status) == (Status.PASS, Status.FAIL)
    assert bad.remediation is not None
    assert "Ascend-cann-910b-ops" in bad.remediation.text
    every = cann(kernels="ascend310p ascend910b", kernels_at="/opp")
    assert one(ascend_soc.CHECK, *on, every).status is Status.PASS


def test_no_operators_at_all() -> None:
    on = (driver(), npu(name="Ascend910B3"), cann(kernels="", kernels_at="/opp"))
    assert one(ascend_soc.CHECK, *on).status is Status.SKIP
    assert [f.status for f in findings(ascend_soc.CHECK, *on, NPU_WHEEL)] == [Status.PASS, Status.UNKNOWN]


def test_vllm_ascend_on_a_chip_that_its_faq_excludes() -> None:
    found = one(ascend_soc.CHECK, driver(), npu(name="Ascend310B4"), wheel("vllm-ascend", "0.11.0"))
    assert found.status is Status.FAIL
    assert found.remediation is not None
    assert "MindIE" in found.remediation.text
    well = one(ascend_soc.CHECK, driver(), npu(), wheel("vllm-ascend", "0.11.0"))
    assert well.status is Status.PASS


# -- ASCEND-PERM --------------------------------------------------------------------------------------------------


def access(*nodes: tuple[str, str]) -> AscendAccess:
    return AscendAccess(nodes=nodes, group="HwHiAiUser", evidence=SEEN)


def test_may_not_open() -> None:
    denied = access(("/dev/davinci0", "EACCES"), ("/dev/davinci_manager", ""))
    host = one(ascend_perm.CHECK, driver(), npu(), NPU_WHEEL, denied)
    assert host.status is Status.FAIL
    assert "/dev/davinci0 (EACCES)" in host.title
    assert host.remediation is not None
    assert "usermod" in host.remediation.text
    inside = one(ascend_perm.CHECK, driver(), npu(), NPU_WHEEL, denied, CONTAINER)
    assert inside.remediation is not None
    assert "--group-add" in inside.remediation.text
    assert one(ascend_perm.CHECK, driver(), npu(), denied).status is Status.WARN  # nothing here uses the NPU


def test_the_rules_of_the_container() -> None:
    found = one(ascend_perm.CHECK, driver(), npu(), NPU_WHEEL, CONTAINER, access(("/dev/davinci0", "EPERM")))
    assert "cgroup" in found.detail
    assert found.remediation is not None
    assert "--device" in found.remediation.text


@pytest.mark.parametrize(("error", "status"), [("", Status.PASS), ("ENXIO", Status.UNKNOWN)])
def test_opens_or_fails_otherwise(error: str, status: Status) -> None:
    assert one(ascend_perm.CHECK, driver(), npu(), access(("/dev/davinci0", error))).status is status


# -- NPU-BUSY -----------------------------------------------------------------------------------------------------


def held(used: int, processes: tuple[tuple[int, int], ...] | None) -> NpuState:
    return state(0, memory_used_bytes=used * GIB, memory_bytes=64 * GIB, processes=processes)


@pytest.mark.parametrize(
    ("used", "processes", "status"),
    [
        (3, (), Status.PASS), (31, (), Status.PASS), (33, (), Status.WARN), (60, ((7, 50 * GIB),), Status.UNKNOWN),
        (40, ((7, 30 * GIB),), Status.PASS), (60, None, Status.UNKNOWN), (40, None, Status.PASS),
    ],
)  # fmt: skip
def test_memory_in_use(used: int, processes: tuple[tuple[int, int], ...] | None, status: Status) -> None:
    assert one(npu_busy.CHECK, driver(), npu(), held(used, processes)).status is status


def test_memory_in_use_in_a_container_is_others() -> None:
    assert one(npu_busy.CHECK, driver(), npu(), CONTAINER, held(40, ())).status is Status.PASS
    assert one(npu_busy.CHECK, driver(), npu(), CONTAINER, held(60, ())).status is Status.UNKNOWN
    assert one(npu_busy.CHECK, driver(), npu(), state()).status is Status.UNKNOWN


# -- TRITON-ASCEND ------------------------------------------------------------------------------------------------

ASCEND_TRITON, COMMUNITY = wheel("triton-ascend", "3.2.0"), wheel("triton", "3.5.0")


def folder(
    *wheels: Component, backend: bool = True, extras: tuple[str, ...] = ("cann",), wanted: tuple[str, ...] = ()
) -> AscendTriton:
    return AscendTriton(
        target=TARGET, wheels=tuple(w.key for w in wheels), folder="/opt/venv/triton", has_backend=backend, extras=extras,
        wanted=wanted, evidence=SEEN,
    )  # fmt: skip


def test_overwritten() -> None:
    on = (ASCEND_TRITON, COMMUNITY, NPU_WHEEL)
    found = one(triton_ascend.CHECK, *on, folder(*on, backend=False, extras=("cuda", "hip")))
    assert found.status is Status.FAIL
    assert "triton overwrote them" in found.title
    assert found.remediation is not None
    assert "triton-ascend==3.2.0" in found.remediation.text
    gone = one(triton_ascend.CHECK, ASCEND_TRITON, folder(ASCEND_TRITON, backend=False, extras=()))
    assert "gone" in gone.title


@pytest.mark.parametrize(
    ("extras", "wanted", "status"),
    [
        (("cann",), ("ascend",), Status.FAIL), (("cann",), ("cann", "ascend"), Status.PASS), (("cann",), (), Status.PASS),
        (("ascend",), ("ascend",), Status.PASS),
    ],
)  # fmt: skip
def test_what_torch_npu_imports(extras: tuple[str, ...], wanted: tuple[str, ...], status: Status) -> None:
    on = (ASCEND_TRITON, NPU_WHEEL)
    assert one(triton_ascend.CHECK, *on, folder(*on, extras=extras, wanted=wanted)).status is status


def test_files_of_both() -> None:
    on = (ASCEND_TRITON, COMMUNITY)
    contest = WheelContest(
        target=TARGET, wheels=(COMMUNITY.key, ASCEND_TRITON.key), files=300, won=((COMMUNITY.key, 12), (ASCEND_TRITON.key, 288)),
        evidence=SEEN,
    )  # fmt: skip
    found = one(triton_ascend.CHECK, *on, contest, folder(*on))
    assert found.status is Status.WARN
    assert "12 of 300" in found.title
    assert one(triton_ascend.CHECK, *on, folder(*on)).status is Status.PASS


def test_community_triton_beside_torch_npu() -> None:
    on = (COMMUNITY, NPU_WHEEL)
    assert one(triton_ascend.CHECK, *on, folder(*on, backend=False)).status is Status.SKIP
    assert one(triton_ascend.CHECK, ASCEND_TRITON).status is Status.SKIP
