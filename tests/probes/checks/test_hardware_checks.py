"""The checks of NVIDIA hardware's state: what raises each finding, and the look-alikes that must not."""

import re
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from infra_doctor.model.component import Component
from infra_doctor.model.evidence import Evidence, EvidenceKind
from infra_doctor.model.finding import Confidence, Finding, Severity, Status
from infra_doctor.model.plugins import Check, CheckContext
from infra_doctor_probes.checks import ecc_xid, fabric, gpu_busy, gpu_slowdown, mig, nvlink, pcie, persist
from infra_doctor_probes.detect.nvidia_fabric import FabricManager, NvSwitches
from infra_doctor_probes.detect.nvidia_gpu import NvmlSession
from infra_doctor_probes.detect.nvidia_kernel_log import KernelGpuEvent, KernelGpuLog
from infra_doctor_probes.detect.nvidia_state import EccCounts, GpuProcess, GpuState, MigDevice, NvLink
from infra_doctor_probes.detect.pci_link import PciLink, PciLinkEnd, PciPath
from infra_doctor_probes.detect.system import Container, Virtualization
from infra_doctor_probes.detect.visible_devices import VisibleDevices

MODULES = (ecc_xid, fabric, gpu_busy, gpu_slowdown, mig, nvlink, pcie, persist)
CHECKS: dict[str, Check] = {c.id: c for m in MODULES for c in m.CHECKS}
SEEN = (Evidence(kind=EvidenceKind.LIBRARY, source="libnvidia-ml.so.1", text="seen"),)
NONE = EccCounts(corrected=0, uncorrected=0, sram_corrected=0, sram_uncorrected=0, dram_corrected=0, dram_uncorrected=0)
CONTAINER = Container(runtime="docker", evidence=SEEN)
GUEST = Virtualization(product="QEMU Standard PC", evidence=SEEN)
GIB = 1 << 30


def address(index: int) -> str:
    return f"0000:{16 + index:02x}:00.0"


def state(index: int = 0, **more: Any) -> GpuState:
    """A healthy, idle H100."""
    healthy: dict[str, Any] = {
        "name": "NVIDIA H100 80GB HBM3", "compute_mode": "default", "persistence": True, "mig": False, "mig_pending": False,
        "throttle": ("gpu_idle",), "ecc_volatile": NONE, "ecc_aggregate": NONE, "recovery_action": "none",
        "row_remap_pending": False, "row_remap_failed": False, "processes": (), "memory_used_bytes": 0,
        "memory_reserved_bytes": 600 << 20, "power_limit_w": 700.0, "power_default_limit_w": 700.0,
    }  # fmt: skip
    return GpuState(gpu=f"gpu:{address(index)}", source="nvml", index=index, evidence=SEEN, **{**healthy, **more})


def component(index: int = 0, name: str = "NVIDIA H100 80GB HBM3") -> Component:
    return Component(
        key=f"gpu:{address(index)}", kind="gpu", name=name, attributes={"vendor": "nvidia"}, evidence=SEEN
    )  # fmt: skip


def driver(version: str = "580.95.05") -> Component:
    return Component(key="driver:nvidia", kind="driver", name="nvidia", version=version, evidence=SEEN)


def results(check_id: str, *things: Any) -> list[Finding]:
    """The findings of one check over facts and components; each state brings its GPU."""
    found = [t for t in things if isinstance(t, Component)]
    keys = {c.key for c in found}
    found += [
        Component(key=t.gpu, kind="gpu", name=t.name or "NVIDIA GPU", attributes={"vendor": "nvidia"}, evidence=SEEN)
        for t in things
        if isinstance(t, GpuState) and t.gpu and t.gpu not in keys
    ]
    facts = [t for t in things if not isinstance(t, Component)]
    context = CheckContext(targets=(), components=found, facts=facts, today=date(2026, 11, 21))
    out = list(CHECKS[check_id].run(context))
    assert out, "a check always says something"
    for finding in out:
        assert finding.id == check_id
        if finding.status in {Status.WARN, Status.FAIL}:
            assert finding.evidence
            assert finding.remediation is not None
            assert finding.subject
        if finding.status is Status.PASS:
            assert finding.evidence
    return out


def one(check_id: str, *things: Any) -> Finding:
    (found,) = results(check_id, *things)
    return found


def statuses(check_id: str, *things: Any) -> list[str]:
    return [str(f.status) for f in results(check_id, *things)]


@pytest.mark.parametrize("check_id", CHECKS)
def test_without_a_gpu_every_check_skips(check_id: str) -> None:
    assert one(check_id).status is Status.SKIP


@pytest.mark.parametrize("check_id", [i for i in CHECKS if i != "PCIE"])
def test_a_gpu_that_told_nothing_is_skipped_with_the_reason(check_id: str) -> None:
    session = NvmlSession(error="no answer within 10 s", timed_out=True, evidence=SEEN)
    finding = one(check_id, component(), session)
    assert finding.status is Status.SKIP
    assert "no answer within 10 s" in finding.title


@pytest.mark.parametrize("check_id", [i for i in CHECKS if i != "PCIE"])
def test_a_gpu_that_supports_nothing_raises_nothing(check_id: str) -> None:
    bare = GpuState(gpu=f"gpu:{address(0)}", source="nvml", index=0, name="NVIDIA GeForce GT 1030", evidence=SEEN)
    assert one(check_id, bare).status is Status.SKIP


@pytest.mark.parametrize("check_id", [i for i in CHECKS if i not in {"PCIE", "MIG", "FABRIC", "NVLINK"}])
def test_a_healthy_gpu_passes(check_id: str) -> None:
    assert one(check_id, state()).status is Status.PASS


# -- ECC/XID ------------------------------------------------------------------------------------------------------


def xid(number: int, cause: str, action: str, index: int = 0, **more: Any) -> KernelGpuEvent:
    causes = tuple(cause.split())
    return KernelGpuEvent(
        vendor="nvidia", kind="xid", address=address(index), xid=number, causes=causes, cause=causes[0], action=action,
        text=f"Xid {number}", meaning="a meaning", evidence=SEEN, **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("more", "status", "words"),
    [
        ({"recovery_action": "gpu_reset"}, "fail", "a reset of the GPU"),
        ({"recovery_action": "node_reboot"}, "fail", "a reboot"),
        ({"recovery_action": "drain_and_reset"}, "warn", "then a reset"),
        ({"recovery_action": "action 99"}, "fail", "action 99"),
        ({"row_remap_failed": True}, "fail", "no spare row"),
        ({"unrepairable_memory": True}, "fail", "cannot be repaired"),
        ({"sram_threshold_exceeded": True}, "fail", "SRAM errors"),
        ({"row_remap_pending": True}, "warn", "waits to be replaced"),
        ({"page_retirement_pending": True}, "warn", "waits to be retired"),
        ({"channel_repair_pending": True}, "warn", "memory channel"),
        ({"tpc_repair_pending": True}, "warn", "processing cluster"),
        ({"pages_retired_single_bit": 50, "pages_retired_double_bit": 10}, "warn", "60 pages"),
        ({"ecc_volatile": replace(NONE, uncorrected=2, sram_uncorrected=2)}, "fail", "2 uncorrectable ECC errors"),
        ({"ecc_volatile": replace(NONE, uncorrected=1, dram_uncorrected=1)}, "warn", "contained"),
        ({"ecc_volatile": EccCounts(uncorrected=1), "recovery_action": None}, "fail", "1 uncorrectable ECC error "),
    ],
)
def test_state_that_matters(more: dict[str, Any], status: str, words: str) -> None:
    finding = one("ECC/XID", state(**more))
    assert str(finding.status) == status
    assert words in finding.title
    assert finding.subject == (f"gpu:{address(0)}",)


def test_history_is_told_and_no_finding() -> None:
    old = state(ecc_aggregate=replace(NONE, uncorrected=3, corrected=200), rows_remapped_uncorrected=2,
                pages_retired_single_bit=4, ecc_volatile=replace(NONE, corrected=7))  # fmt: skip
    finding = one("ECC/XID", old)
    assert finding.status is Status.PASS
    for words in ("3 uncorrectable and 200 corrected", "2 replaced rows", "4 retired pages", "could not be read"):
        assert words in finding.detail


@pytest.mark.parametrize(
    ("number", "cause", "action"),
    [(13, "application driver hardware", "restart-app"), (31, "application driver hardware", "restart-app"),
     (43, "application driver", "none"), (45, "information application", "none"), (94, "memory hardware", "restart-app"),
     (63, "memory", "none"), (56, "driver hardware", "contact-vendor"), (74, "nvlink hardware", "reset-gpu")],
)  # fmt: skip
def test_xids_of_programs_and_links_are_no_hardware_error(number: int, cause: str, action: str) -> None:
    log = KernelGpuLog(vendor="nvidia", source="/dev/kmsg", evidence=SEEN)
    finding = one("ECC/XID", state(), log, xid(number, cause, action))
    assert finding.status is Status.PASS
    assert (f"Xid {number}" in finding.detail) is (number != 74)


@pytest.mark.parametrize(
    ("number", "cause", "action"),
    [(48, "memory hardware", "reset-gpu"), (64, "memory hardware", "reset-gpu"), (79, "bus hardware", "reboot"),
     (95, "memory hardware", "reset-gpu"), (119, "driver hardware system", "reset-gpu")],
)  # fmt: skip
def test_grave_xids_of_a_gpu_that_answers_are_a_warning(number: int, cause: str, action: str) -> None:
    finding = one("ECC/XID", state(), xid(number, cause, action, count=3))
    assert finding.status is Status.WARN
    assert f"Xid {number}" in finding.title
    assert "3 times" in finding.title


def test_events_of_other_gpus_do_not_count() -> None:
    """A container sees the whole host's kernel log."""
    assert one("ECC/XID", CONTAINER, state(0), xid(79, "bus hardware", "reboot", index=5)).status is Status.PASS


def test_a_gpu_that_fell_off_and_shows_nowhere_any_more_is_missed() -> None:
    found = results("ECC/XID", state(0), xid(79, "bus hardware", "reboot", index=5))
    assert [(str(f.status), f.subject) for f in found] == [
        ("fail", (f"gpu:{address(5)}",)), ("pass", (f"gpu:{address(0)}",)),
    ]  # fmt: skip


def test_each_gpu_has_its_own_finding() -> None:
    found = results("ECC/XID", state(0), state(1, recovery_action="gpu_reset"), state(2, row_remap_pending=True))
    assert [(str(f.status), f.subject[0]) for f in found] == [
        ("fail", f"gpu:{address(1)}"), ("warn", f"gpu:{address(2)}"), ("pass", f"gpu:{address(0)}"),
    ]  # fmt: skip


def test_the_gravest_problem_gives_the_title() -> None:
    finding = one("ECC/XID", state(row_remap_pending=True, row_remap_failed=True))
    assert finding.status is Status.FAIL
    assert "no spare row" in finding.title
    assert "waits to be replaced" in finding.detail


@pytest.mark.parametrize("code", [15, 16, 999])
def test_a_device_without_a_handle_is_lost(code: int) -> None:
    silent = GpuState(
        gpu=f"gpu:{address(1)}", source="nvml", index=1, error="Unknown Error", error_code=code, evidence=SEEN
    )  # fmt: skip
    bad, good = results("ECC/XID", state(0), silent)
    assert (bad.status, bad.severity, bad.subject) == (Status.FAIL, Severity.CRITICAL, (f"gpu:{address(1)}",))
    assert "Unknown Error" in bad.detail
    assert good.subject == (f"gpu:{address(0)}",)


def test_a_device_that_may_not_be_asked_is_not_lost() -> None:
    silent = GpuState(gpu=f"gpu:{address(0)}", source="nvml", index=0, error="Insufficient Permissions", error_code=4)
    assert one("ECC/XID", silent).status is Status.SKIP


def test_a_lost_device_whose_address_nobody_knows() -> None:
    finding = one(
        "ECC/XID", GpuState(gpu="", source="nvml", index=3, error="GPU is lost", error_code=15, evidence=SEEN)
    )
    assert finding.status is Status.FAIL
    assert finding.subject == ("driver:nvidia",)


@pytest.mark.parametrize("kind", ["fell-off-bus", "gpu-lost"])
def test_a_gpu_that_the_kernel_saw_leaving_the_bus(kind: str) -> None:
    gone = KernelGpuEvent(
        vendor="nvidia", kind=kind, address=address(0), text="fallen off the bus and is not responding", evidence=SEEN
    )
    finding = one("ECC/XID", component(), gone)
    assert finding.status is Status.FAIL
    assert "not responding" in finding.detail


def test_a_gpu_that_the_driver_could_not_start_is_another_question() -> None:
    failed = KernelGpuEvent(vendor="nvidia", kind="init-failed", address=address(0), text="RmInitAdapter failed")
    assert one("ECC/XID", component(), failed).status is Status.SKIP


# -- PCIE ---------------------------------------------------------------------------------------------------------


def path(
    width: int, most: int, port: int | None = None, index: int = 0, above: PciLink | None = None, **more: Any
) -> PciPath:
    """The path of a GPU whose slot has `port` lanes; None: no port shows."""
    end = PciLinkEnd(address=address(index), width=width, width_max=most)
    upper = None if port is None else PciLinkEnd(address="0000:15:01.0", width=width, width_max=port)
    links = (PciLink(below=end, above=upper), *((above,) if above else ()))
    return PciPath(address=address(index), vendor="nvidia", links=links, evidence=SEEN, **more)


@pytest.mark.parametrize(
    ("found", "status", "severity"),
    [
        (path(16, 16, 16), "pass", None),
        (path(8, 16, 8), "pass", None),  # the slot has no more
        (path(16, 16, 32), "pass", None),
        (path(8, 16, 16), "warn", Severity.HIGH),
        (path(1, 16, 16), "warn", Severity.HIGH),
        (path(12, 16, 16), "warn", Severity.MEDIUM),
        (path(8, 16), "pass", None),  # NVML's most, below, counts the slot in
    ],
)
def test_lanes_of_both_ends(found: PciPath, status: str, severity: Severity | None) -> None:
    finding = one("PCIE", state(pcie_width=8, pcie_width_max=8), found)
    assert str(finding.status) == status
    assert severity is None or finding.severity is severity


def test_nvml_tells_what_the_slot_can_outside_of_guests() -> None:
    finding = one("PCIE", state(pcie_width=8, pcie_width_max=16), path(8, 16))
    assert (finding.status, finding.confidence) == (Status.WARN, Confidence.OBSERVED)


def test_in_a_guest_a_narrow_link_is_unknown_unless_its_like_are_wider() -> None:
    told = state(pcie_width=8, pcie_width_max=16)
    assert one("PCIE", GUEST, told, path(8, 16)).status is Status.UNKNOWN
    bad, good = results("PCIE", GUEST, told, path(8, 16), state(1), path(16, 16, index=1))
    assert (bad.status, bad.confidence, good.status) == (Status.WARN, Confidence.HEURISTIC, Status.PASS)


def test_a_narrow_link_above_a_switch_counts() -> None:
    upper = PciLink(
        below=PciLinkEnd(address="0000:16:00.0", width=4, width_max=16),
        above=PciLinkEnd(address="0000:15:01.0", width=4, width_max=16),
    )
    finding = one("PCIE", state(), path(16, 16, 16, above=upper))
    assert finding.status is Status.WARN
    assert "0000:16:00.0 and 0000:15:01.0" in finding.title


@pytest.mark.parametrize("name", ["NVIDIA GB10", "NVIDIA GH200 480GB", "NVIDIA GeForce RTX 4070 Laptop GPU"])
def test_products_whose_link_says_nothing(name: str) -> None:
    assert one("PCIE", component(0, name), state(name=name), path(1, 16, 16)).status is Status.SKIP


def test_slices_have_no_link_of_their_own() -> None:
    assert one("PCIE", state(virtualization="vgpu"), path(1, 16, 16)).status is Status.SKIP
    assert one("PCIE", state(), path(1, 16, 16, virtual_function=True)).status is Status.SKIP


def test_other_vendors_are_judged_too() -> None:
    npu = Component(
        key=f"npu:{address(0)}", kind="npu", name="Ascend910B2", attributes={"vendor": "ascend"}, evidence=SEEN
    )
    assert one("PCIE", npu, replace(path(8, 16, 16), vendor="ascend")).status is Status.WARN


def test_devices_of_the_bus_that_are_not_ours_are_not_judged() -> None:
    assert one("PCIE", path(8, 16, 16)).status is Status.SKIP


# -- PERSIST ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({}, "warn"),
        ({"name": "Tesla T4"}, "warn"),
        ({"name": "NVIDIA RTX PRO 6000 Blackwell Server Edition"}, "warn"),
        ({"name": "NVIDIA RTX 6000 Ada Generation"}, "skip"),
        ({"name": "NVIDIA GeForce RTX 4090"}, "skip"),
        ({"name": "Quadro RTX 5000"}, "skip"),
        ({"display_active": True}, "skip"),
        ({"virtualization": "vgpu"}, "skip"),
    ],
)
def test_persistence_off(more: dict[str, Any], status: str) -> None:
    assert statuses("PERSIST", state(persistence=False, **more)) == [status]


def test_persistence_is_the_hosts_in_a_container() -> None:
    assert statuses("PERSIST", CONTAINER, state(persistence=False)) == ["skip"]


def test_persistence_mixed() -> None:
    assert statuses("PERSIST", state(0), state(1, persistence=False)) == ["pass", "warn"]


# -- MIG ----------------------------------------------------------------------------------------------------------

INSTANCE = MigDevice(uuid="MIG-1", profile="3g.40gb", memory_bytes=40 * GIB)


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"mig": True, "mig_pending": True, "mig_devices": (INSTANCE,)}, "pass"),
        ({"mig": True, "mig_pending": True, "mig_devices": ()}, "fail"),
        ({"mig": True, "mig_pending": True, "mig_devices": None}, "unknown"),
        ({"mig": False, "mig_pending": True}, "warn"),
        ({"mig": True, "mig_pending": False, "mig_devices": ()}, "warn"),
        ({"mig": False, "mig_pending": False}, "skip"),
        ({"mig": None, "mig_pending": None}, "skip"),
    ],
)
def test_mig(more: dict[str, Any], status: str) -> None:
    assert statuses("MIG", state(**more)) == [status]


def test_mig_without_instances_beside_a_usable_gpu_is_a_warning() -> None:
    assert statuses("MIG", state(0), state(1, mig=True, mig_pending=True, mig_devices=())) == ["warn"]


@pytest.mark.parametrize(("version", "entries", "status"), [
    ("535.183.01", 2, "warn"), ("535.183.01", 1, "pass"), ("580.95.05", 2, "pass"),
])  # fmt: skip
def test_several_mig_devices_for_one_program(version: str, entries: int, status: str) -> None:
    named = VisibleDevices(
        variable="CUDA_VISIBLE_DEVICES", vendor="nvidia", problem="", entry_count=entries, evidence=SEEN
    )
    ready = state(mig=True, mig_pending=True, mig_devices=(INSTANCE, INSTANCE))
    assert statuses("MIG", driver(version), ready, named) == [status]


# -- FABRIC -------------------------------------------------------------------------------------------------------

SWITCHES = NvSwitches(addresses=("0000:05:00.0",), nodes=(), evidence=SEEN)
READY = {"fabric_state": "completed", "fabric_status": "Success"}


def manager(**more: Any) -> FabricManager:
    return FabricManager(**{"installed": True, "state": "active", "version": "580.95.05", "evidence": SEEN, **more})


@pytest.mark.parametrize(
    ("more", "things", "status", "words"),
    [
        (READY, (), "pass", "is set up"),
        ({"fabric_state": "not_supported"}, (), "skip", "no NVLink switch"),
        ({"fabric_state": None}, (), "skip", "no NVLink switch"),
        ({"fabric_state": "not_started"}, (), "fail", "not started"),
        ({"fabric_state": "in_progress"}, (SWITCHES, manager(state="failed", version="575.57.08")), "fail", "575.57.08"),
        ({"fabric_state": "in_progress"}, (SWITCHES, manager(state="inactive")), "fail", "inactive"),
        ({"fabric_state": "in_progress"}, (SWITCHES, manager(installed=False, state="not running", version=None)), "fail", "no fabric"),
        ({"fabric_state": "completed", "fabric_status": "Unknown Error"}, (), "fail", "Unknown Error"),
        ({"fabric_state": "not_started"}, (CONTAINER,), "fail", "not started"),
        ({**READY, "fabric_problems": ("degraded_bandwidth",)}, (), "warn", "degraded bandwidth"),
        ({**READY, "fabric_health": "limited_capacity"}, (), "warn", "limited_capacity"),
        ({}, (SWITCHES, manager()), "pass", "runs"),
        ({}, (SWITCHES, manager(state="running", installed=False, version=None)), "pass", "runs"),
        ({}, (SWITCHES, manager(state="failed")), "fail", "failed"),
        ({}, (SWITCHES, manager(state=None)), "unknown", "could not be told"),
        ({}, (SWITCHES, manager(state="failed"), CONTAINER), "skip", "on the host"),
    ],
)  # fmt: skip
def test_fabric(more: dict[str, Any], things: tuple[Any, ...], status: str, words: str) -> None:
    finding = one("FABRIC", driver(), state(**more), *things)
    assert str(finding.status) == status
    assert words in finding.title


def test_a_fabric_manager_of_another_version_that_still_runs_is_a_warning() -> None:
    found = results("FABRIC", driver(), state(**READY), SWITCHES, manager(version="575.57.08"))
    assert [str(f.status) for f in found] == ["warn", "pass"]


def test_a_tray_of_nvl72_is_sent_to_its_own_services() -> None:
    finding = one("FABRIC", driver(), state(name="NVIDIA GB200", fabric_state="in_progress"))
    assert finding.remediation is not None
    assert "IMEX" in finding.remediation.text


# -- NVLINK -------------------------------------------------------------------------------------------------------


def nvlinks(active: int, total: int = 18, remote: str | None = "switch", **errors: int) -> tuple[NvLink, ...]:
    return tuple(
        NvLink(link=i, active=i < active, remote_type=remote if i < active else None, **errors) for i in range(total)
    )  # fmt: skip


CARD = "NVIDIA A100 80GB PCIe"


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([state(i, nvlinks=nvlinks(18)) for i in range(2)], ["pass"]),
        ([state(0, nvlinks=nvlinks(18)), state(1, nvlinks=nvlinks(16))], ["warn", "pass"]),
        ([state(0, nvlinks=nvlinks(18)), state(1, nvlinks=nvlinks(0))], ["fail", "pass"]),
        ([state(0, nvlinks=nvlinks(18))], ["pass"]),
        ([state(0, nvlinks=nvlinks(0))], ["skip"]),
        ([state(0, name=CARD, nvlinks=nvlinks(0, 12))], ["skip"]),
        ([state(0, name=CARD, nvlinks=nvlinks(4, 12, "gpu")), state(1, name=CARD, nvlinks=nvlinks(0, 12))], ["pass"]),
        ([state(0, name="NVIDIA H200 NVL", nvlinks=nvlinks(18, 18, "gpu")), state(1, name="NVIDIA H200 NVL", nvlinks=nvlinks(0))],
         ["pass"]),
        ([state(i, name="Tesla V100-SXM2-32GB", nvlinks=nvlinks(6 - 2 * i, 6, "gpu")) for i in range(2)], ["warn", "pass"]),
        ([state(0, nvlinks=nvlinks(18)), state(1, name="NVIDIA A100-SXM4-80GB", nvlinks=nvlinks(12, 12))], ["pass"]),
        ([state(0, nvlinks=nvlinks(18, recovery_errors=505))], ["warn"]),
        ([state(0, nvlinks=nvlinks(18, replay_errors=12, crc_errors=40, recovery_errors=1))], ["pass"]),
    ],
)  # fmt: skip
def test_nvlink(states: list[GpuState], expected: list[str]) -> None:
    assert sorted(statuses("NVLINK", *states)) == sorted(expected)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (xid(74, "nvlink hardware driver", "reset-gpu"), ["warn"]),
        (xid(145, "nvlink", "reset-gpu", severity="non-fatal"), ["pass"]),
        (xid(108, "application nvlink", "none"), ["pass"]),
        (xid(74, "nvlink hardware driver", "reset-gpu", index=7), ["pass"]),
    ],
)
def test_nvlink_errors_of_the_kernels_log(event: KernelGpuEvent, expected: list[str]) -> None:
    assert statuses("NVLINK", state(nvlinks=nvlinks(18)), event) == expected


# -- GPU-SLOWDOWN -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"throttle": ("hw_slowdown", "hw_thermal_slowdown"), "temperature_c": 91.0}, "warn"),
        ({"throttle": ("hw_slowdown", "hw_power_brake")}, "warn"),
        ({"throttle": ("sw_thermal_slowdown",)}, "warn"),
        ({"throttle": ("gpu_idle", "sw_thermal_slowdown")}, "pass"),
        ({"throttle": ("hw_slowdown",)}, "unknown"),
        ({"throttle": ("sw_power_cap",), "power_w": 699.0}, "pass"),
        ({"throttle": ("applications_clocks",)}, "pass"),
        ({"throttle": ()}, "pass"),
        ({"throttle": None}, "skip"),
        ({"power_limit_w": 500.0}, "warn"),
        ({"power_limit_w": 699.9}, "pass"),
        ({"power_limit_w": 900.0}, "pass"),
        ({"power_limit_w": 55.0, "name": "NVIDIA GeForce RTX 4070 Laptop GPU"}, "pass"),
    ],
)
def test_slowdown(more: dict[str, Any], status: str) -> None:
    assert statuses("GPU-SLOWDOWN", state(**more)) == [status]


def test_past_slowdowns_stand_in_the_detail() -> None:
    finding = one("GPU-SLOWDOWN", state(throttled_us=(("hw_power_brake", 90_000_000), ("hw_thermal_slowdown", 10))))
    assert finding.status is Status.PASS
    assert "90 s by power brake" in finding.detail
    assert "heat" not in finding.detail


def busy(index: int, clock: int, percent: int = 100, limit: float = 700.0) -> GpuState:
    return state(index, throttle=("sw_power_cap",), utilization_percent=percent, clocks_mhz=(("sm", clock),), power_limit_w=limit,
                 power_default_limit_w=limit)  # fmt: skip


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([busy(0, 840), *(busy(i, 1700) for i in range(1, 4))], ["warn", "pass"]),
        ([busy(0, 1500), *(busy(i, 1700) for i in range(1, 4))], ["pass"]),
        ([busy(0, 840), busy(1, 1700), busy(2, 1700)], ["pass"]),  # too few to say what is usual
        ([busy(0, 345, percent=0), *(busy(i, 1700) for i in range(1, 4))], ["pass"]),
        ([busy(0, 840, limit=350.0), *(busy(i, 1700) for i in range(1, 4))], ["pass"]),
    ],
)
def test_slower_than_its_like(states: list[GpuState], expected: list[str]) -> None:
    assert statuses("GPU-SLOWDOWN", *states) == expected


# -- GPU-BUSY -----------------------------------------------------------------------------------------------------

PROGRAM = GpuProcess(pid=4711, type="C", memory_bytes=9 * GIB)


@pytest.mark.parametrize(
    ("more", "things", "status"),
    [
        ({"compute_mode": "exclusive_process"}, (), "pass"),
        ({"compute_mode": "exclusive_process", "processes": (PROGRAM,)}, (), "warn"),
        ({"compute_mode": "exclusive_process", "processes": (GpuProcess(pid=9, type="G"),)}, (), "pass"),
        ({"compute_mode": "exclusive_process", "processes": (PROGRAM, GpuProcess(pid=5, type="M"))}, (), "pass"),
        ({"compute_mode": "prohibited"}, (), "fail"),
        ({"processes": (PROGRAM,), "memory_used_bytes": 70 * GIB}, (), "pass"),
        ({"memory_used_bytes": 20 * GIB}, (), "warn"),
        ({"memory_used_bytes": 900 << 20}, (), "pass"),
        ({"memory_used_bytes": 20 * GIB}, (CONTAINER,), "pass"),
        ({"memory_used_bytes": 20 * GIB, "processes": None}, (), "pass"),
        ({"memory_used_bytes": 20 * GIB, "mig": True}, (), "pass"),
        ({"memory_used_bytes": 20 * GIB, "virtualization": "vgpu"}, (), "pass"),
        ({"memory_used_bytes": 20 * GIB, "memory_reserved_bytes": None}, (), "pass"),  # an old driver counts its own in
    ],
)
def test_busy(more: dict[str, Any], things: tuple[Any, ...], status: str) -> None:
    assert statuses("GPU-BUSY", state(**more), *things) == [status]


def test_one_prohibited_gpu_beside_others_is_a_warning() -> None:
    assert statuses("GPU-BUSY", state(0), state(1, compute_mode="prohibited")) == ["warn", "pass"]


# -- logs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Unable to determine the device handle for GPU 0000:0B:00.0: Unknown Error.", {"ECC/XID"}),
        ("Unable to determine the device handle for GPU0000:07:00.0: Unknown Error", {"ECC/XID"}),
        ("for GPU 0000:03:00.0: GPU is lost.  Reboot the system to recover this GPU", {"ECC/XID"}),
        ("NVRM: Xid (PCI:0000:01:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.", {"ECC/XID"}),
        ("NVRM: fallen off the bus and is not responding to commands.", {"ECC/XID"}),
        ("NVRM: Xid (PCI:0000:17:00): 48, pid=1, name=python3, An uncorrectable double bit error", {"ECC/XID"}),
        ("RuntimeError: CUDA error: uncorrectable ECC error encountered", {"ECC/XID"}),
        ("NVRM: Xid (PCI:0000:17:00): 31, pid=4711, name=python3, Ch 00000008, MMU Fault", set()),
        ("NVRM: Xid (PCI:0000:17:00): 13, pid=4711, Graphics SM Warp Exception", set()),
        ("NVRM: Xid (PCI:0000:17:00): 45, pid=4711, Ch 00000008", set()),
        ("NVRM: Xid (PCI:0000:17:00): 74, NVLink: fatal error detected on link 2", {"NVLINK"}),
        ("NVRM: Xid (PCI:0000:dc:00): 149, NETIR_LINK_EVT Fatal XC0 i0 Link 00", {"NVLINK"}),
        ("RuntimeError: CUDA error: uncorrectable NVLink error detected during the execution", {"NVLINK"}),
        ("RuntimeError: cuda runtime error (802) : system not yet initialized at THCGeneral.cpp:50", {"FABRIC"}),
        ("ggml_cuda_init: failed to initialize CUDA: system not yet initialized", {"FABRIC"}),
        (
            'CUDA error at bandwidthTest.cu:256 code=802(cudaErrorSystemNotReady) "cudaSetDevice(currentDevice)"',
            {"FABRIC"},
        ),
        (
            "fabric manager NVIDIA GPU driver interface version 530.30.02 don't match with driver version 530.41.03.",
            {"FABRIC"},
        ),
        ("RuntimeError: CUDA error: all CUDA-capable devices are busy or unavailable", {"GPU-BUSY"}),
        ("HW Power Brake Slowdown : Active", {"GPU-SLOWDOWN"}),
        ("            HW Thermal Slowdown     : Not Active", set()),
        ("nvidia-container-cli: initialization error: driver rpc error: timed out: unknown.", {"PERSIST"}),
        ("panic: No MIG devices associated with /dev/nvidia0: GPU-0", {"MIG"}),
        ("\t\tLnkSta:\tSpeed 16GT/s (ok), Width x8 (downgraded)", {"PCIE"}),
        ("\t\tLnkSta:\tSpeed 2.5GT/s (downgraded), Width x16", set()),
        ("step 1200: loss 2.31, 8 GPUs, fabric ready, MIG disabled, persistence on", set()),
    ],
)
def test_log_lines_lead_to_their_check(line: str, expected: set[str]) -> None:
    found = {i for i, c in CHECKS.items() if any(re.search(s.pattern, line) for s in c.log_signatures)}
    assert found == expected


@pytest.mark.parametrize("check_id", CHECKS)
def test_signatures_are_bounded_and_sourced(check_id: str) -> None:
    check = CHECKS[check_id]
    assert check.log_signatures
    for signature in check.log_signatures:
        assert signature.source.startswith("https://")
        assert re.search(r"[A-Za-z_ ]{4,}", signature.pattern)
        assert not re.search(r"(?<!\\)[*+]", signature.pattern), signature.pattern
    assert all(s.startswith("https://") for s in check.sources)
