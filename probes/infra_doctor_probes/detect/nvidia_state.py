"""The state of each NVIDIA GPU as facts: errors, temperatures, power, clocks, links, fabric, MIG, processes, topology.

A source gives one dict per device, of the shape below; `gpu_state` makes the fact of it, whoever the source is: the NVML
session (`children/nvml.py`) or what nvidia-smi printed. Every value is checked, for a child's answer and a printed page are
foreign input. A value that is missing, null or of another type is None: "not applicable or not told", never a fault.

    index: 0                                             minor_number: 0
    pci: {"address": "0000:00:06.0", "id": "10de:2335"}  (the component key is "gpu:" + address)
    error: "" (why the device as a whole did not answer), error_code: nvmlReturn_t or null
    errors: {"field": "why this field failed"}
    name, uuid, compute_capability, architecture, brand, memory_bytes, mig, ecc, persistence (bool): see nvidia_gpu.py
    mig_pending, ecc_pending: bool                       display_active: bool
    compute_mode: "default" "exclusive_thread" "prohibited" "exclusive_process"
    memory_used_bytes, memory_reserved_bytes: int (used is without what the driver reserves, as nvidia-smi -q prints it)
    processes: [{"pid": 1, "type": "C" (compute) "G" (graphics) "M" (MPS client), "memory_bytes": int or null}]
    temperature_c, temperature_memory_c, temperature_slowdown_c, temperature_shutdown_c, temperature_max_operating_c,
    temperature_memory_max_c: number; temperature_margin_c: degrees left until slowdown (newer GPUs print "T.Limit")
    power_w, power_limit_w (enforced), power_requested_limit_w, power_default_limit_w, power_min_limit_w, power_max_limit_w
    clocks_mhz: {"graphics", "sm", "memory", "video", and each with "_max"}
    throttle: ["gpu_idle", "applications_clocks", "sw_power_cap", "hw_slowdown", "sync_boost", "sw_thermal_slowdown",
        "hw_thermal_slowdown", "hw_power_brake", "display_clocks"]   (those active now; [] is none, null is not told)
    throttled_us: {"sw_power_cap", "sync_boost", "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake"} since boot
    utilization_percent, memory_utilization_percent: int  pstate: 0 … 15
    pcie: {"width", "width_max", "generation", "generation_max", "generation_device_max", "replays"}
    ecc_errors: {"volatile": {"corrected", "uncorrected", "sram_corrected", "sram_uncorrected", "dram_corrected",
        "dram_uncorrected"}, "aggregate": the same}       ("volatile": since the driver was loaded or the GPU reset)
    sram_threshold_exceeded: bool                         unrepairable_memory: bool
    remapped_rows: {"corrected", "uncorrected": int, "pending", "failed": bool}
    retired_pages: {"single_bit", "double_bit": int, "pending": bool}
    repair_pending: {"channel", "tpc": bool}
    recovery_action: "none" "gpu_reset" "node_reboot" "drain_p2p" "drain_and_reset" "recover_imex_domain" "bus_reset"
        "system_reboot"
    nvlinks: [{"link": 0, "active": bool, "version": "4.0", "speed_mb_per_s": 26562, "remote_type": "gpu" "switch" "ibmnpu",
        "remote_address": "0000:…" or null, "errors": {"crc", "replay", "recovery": int}}]   ([] or null: no NVLink)
    fabric: {"state": "not_supported" "not_started" "in_progress" "completed", "status": "Success" (nvmlReturn in words),
        "health": "healthy" "unhealthy" "limited_capacity" or null, "problems": ["degraded_bandwidth", "route_recovery",
        "route_unhealthy", "access_timeout_recovery", "incorrect_configuration"], "clique_id": int}
    mig_devices: [{"uuid": "MIG-…", "profile": "1g.18gb", "memory_bytes": int}]   (null: MIG is off, or not told)
    vbios, gsp_firmware: text                             virtualization: "none" "pass_through" "vgpu" "host_vgpu" "host_vsga"
    numa_node: int                                        cpu_affinity: "0-127"

Beside the devices, `topology`: [{"a": address, "b": address, "path": "PIX" "PXB" "PHB" "NODE" "SYS", "nvlinks": 18,
"p2p_read": "ok" or why not, "p2p_nvlink": the same}], one per pair, a before b in NVML's order."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from infra_doctor.plugin import Evidence, fact, record
from infra_doctor_probes.answers import LIST_CAP, TEXT_CAP, count, dicts, items, mapping, switch, text

# The fields that a device's dict and the fact name alike, by type.
MEASURED = (
    "power_w", "power_limit_w", "power_requested_limit_w", "power_default_limit_w", "power_min_limit_w",
    "power_max_limit_w", "temperature_c", "temperature_memory_c", "temperature_slowdown_c", "temperature_shutdown_c",
    "temperature_max_operating_c", "temperature_memory_max_c", "temperature_margin_c",
)  # fmt: skip
SWITCHES = (
    "mig", "mig_pending", "ecc", "ecc_pending", "persistence", "display_active", "sram_threshold_exceeded",
    "unrepairable_memory",
)  # fmt: skip
COUNTS = (
    "index", "error_code", "memory_bytes", "memory_used_bytes", "memory_reserved_bytes", "utilization_percent",
    "memory_utilization_percent", "pstate", "numa_node",
)  # fmt: skip
TEXTS = ("compute_mode", "recovery_action", "vbios", "gsp_firmware", "virtualization", "cpu_affinity")


@record
class GpuProcess:
    """A process that has the GPU open. `type` is "C" compute, "G" graphics, "M" a client of MPS."""

    pid: int
    type: str
    memory_bytes: int | None = None


@record
class EccCounts:
    """Errors of the memories; SRAM is caches and registers, DRAM the device memory."""

    corrected: int | None = None
    uncorrected: int | None = None
    sram_corrected: int | None = None
    sram_uncorrected: int | None = None
    dram_corrected: int | None = None
    dram_uncorrected: int | None = None


@record
class NvLink:
    """One link. `remote_type` is "gpu", "switch" or "ibmnpu"; errors are counted since the driver was loaded."""

    link: int
    active: bool
    version: str | None = None
    speed_mb_per_s: int | None = None
    remote_type: str | None = None
    remote_address: str | None = None
    crc_errors: int | None = None
    replay_errors: int | None = None
    recovery_errors: int | None = None


@record
class MigDevice:
    """A MIG instance that a program can use."""

    uuid: str | None = None
    profile: str | None = None
    memory_bytes: int | None = None


@fact("gpu-state", 1)
@record
class GpuState:
    """What one GPU says of itself; `gpu` is its component key. None: not applicable, or not told by `source` ("nvml",
    "nvidia-smi -q -x", "nvidia-smi -q"). `error` says why the device as a whole did not answer, `errors` name the fields that
    failed for another reason than being unsupported. Dicts have the shape of the module's text."""

    gpu: str
    source: str
    index: int | None = None
    name: str = ""
    error: str = ""
    error_code: int | None = None
    errors: tuple[tuple[str, str], ...] = ()
    mig: bool | None = None
    mig_pending: bool | None = None
    ecc: bool | None = None
    ecc_pending: bool | None = None
    persistence: bool | None = None
    display_active: bool | None = None
    compute_mode: str | None = None
    memory_bytes: int | None = None
    memory_used_bytes: int | None = None
    memory_reserved_bytes: int | None = None
    processes: tuple[GpuProcess, ...] | None = None
    temperature_c: float | None = None
    temperature_memory_c: float | None = None
    temperature_slowdown_c: float | None = None
    temperature_shutdown_c: float | None = None
    temperature_max_operating_c: float | None = None
    temperature_memory_max_c: float | None = None
    temperature_margin_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    power_requested_limit_w: float | None = None
    power_default_limit_w: float | None = None
    power_min_limit_w: float | None = None
    power_max_limit_w: float | None = None
    clocks_mhz: tuple[tuple[str, int], ...] = ()
    throttle: tuple[str, ...] | None = None
    throttled_us: tuple[tuple[str, int], ...] = ()
    utilization_percent: int | None = None
    memory_utilization_percent: int | None = None
    pstate: int | None = None
    pcie_width: int | None = None
    pcie_width_max: int | None = None
    pcie_generation: int | None = None
    pcie_generation_max: int | None = None
    pcie_generation_device_max: int | None = None
    pcie_replays: int | None = None
    ecc_volatile: EccCounts | None = None
    ecc_aggregate: EccCounts | None = None
    sram_threshold_exceeded: bool | None = None
    unrepairable_memory: bool | None = None
    rows_remapped_corrected: int | None = None
    rows_remapped_uncorrected: int | None = None
    row_remap_pending: bool | None = None
    row_remap_failed: bool | None = None
    pages_retired_single_bit: int | None = None
    pages_retired_double_bit: int | None = None
    page_retirement_pending: bool | None = None
    channel_repair_pending: bool | None = None
    tpc_repair_pending: bool | None = None
    recovery_action: str | None = None
    nvlinks: tuple[NvLink, ...] = ()
    fabric_state: str | None = None
    fabric_status: str | None = None
    fabric_health: str | None = None
    fabric_problems: tuple[str, ...] = ()
    fabric_clique_id: int | None = None
    mig_devices: tuple[MigDevice, ...] | None = None
    vbios: str | None = None
    gsp_firmware: str | None = None
    virtualization: str | None = None
    numa_node: int | None = None
    cpu_affinity: str | None = None
    evidence: tuple[Evidence, ...] = ()


@record
class GpuPair:
    """How two GPUs (component keys) reach each other: the PCI `path` as nvidia-smi names it, NVLinks between them, and
    whether peer-to-peer reads and NVLink transfers are possible ("ok", or why not)."""

    a: str
    b: str
    path: str | None = None
    nvlinks: int | None = None
    p2p_read: str | None = None
    p2p_nvlink: str | None = None


@fact("gpu-topology", 1)
@record
class GpuTopology:
    """All pairs of GPUs, in NVML's order."""

    pairs: tuple[GpuPair, ...]
    evidence: tuple[Evidence, ...] = ()


def gpu_state(gpu: str, device: Mapping[str, Any], source: str, evidence: tuple[Evidence, ...] = ()) -> GpuState:
    """The fact of one device's dict."""
    pcie, rows = mapping(device.get("pcie")), mapping(device.get("remapped_rows"))
    pages, repair = mapping(device.get("retired_pages")), mapping(device.get("repair_pending"))
    fabric, ecc = mapping(device.get("fabric")), mapping(device.get("ecc_errors"))
    processes, throttle, instances = device.get("processes"), device.get("throttle"), device.get("mig_devices")
    found_errors = mapping(device.get("errors")).items()
    plain: dict[str, Any] = {n: number(device.get(n)) for n in MEASURED}
    plain |= {n: switch(device.get(n)) for n in SWITCHES} | {n: count(device.get(n)) for n in COUNTS}
    plain |= {n: text(device.get(n)) for n in TEXTS}
    return GpuState(
        gpu=gpu,
        source=source,
        name=text(device.get("name")) or "",
        error=text(device.get("error")) or "",
        errors=tuple((str(n)[:TEXT_CAP], text(why) or "") for n, why in list(found_errors)[:LIST_CAP]),
        processes=None
        if not isinstance(processes, list)
        else tuple(process(p) for p in dicts(processes) if is_process(p)),
        clocks_mhz=named_counts(device.get("clocks_mhz")),
        throttle=tuple(t[:TEXT_CAP] for t in throttle if isinstance(t, str)) if isinstance(throttle, list) else None,
        throttled_us=named_counts(device.get("throttled_us")),
        pcie_width=count(pcie.get("width")),
        pcie_width_max=count(pcie.get("width_max")),
        pcie_generation=count(pcie.get("generation")),
        pcie_generation_max=count(pcie.get("generation_max")),
        pcie_generation_device_max=count(pcie.get("generation_device_max")),
        pcie_replays=count(pcie.get("replays")),
        ecc_volatile=ecc_counts(ecc.get("volatile")),
        ecc_aggregate=ecc_counts(ecc.get("aggregate")),
        rows_remapped_corrected=count(rows.get("corrected")),
        rows_remapped_uncorrected=count(rows.get("uncorrected")),
        row_remap_pending=switch(rows.get("pending")),
        row_remap_failed=switch(rows.get("failed")),
        pages_retired_single_bit=count(pages.get("single_bit")),
        pages_retired_double_bit=count(pages.get("double_bit")),
        page_retirement_pending=switch(pages.get("pending")),
        channel_repair_pending=switch(repair.get("channel")),
        tpc_repair_pending=switch(repair.get("tpc")),
        nvlinks=tuple(nvlink(item) for item in dicts(device.get("nvlinks")) if count(item.get("link")) is not None),
        fabric_state=text(fabric.get("state")),
        fabric_status=text(fabric.get("status")),
        fabric_health=text(fabric.get("health")),
        fabric_problems=tuple(p for p in map(text, items(fabric.get("problems"))) if p),
        fabric_clique_id=count(fabric.get("clique_id")),
        mig_devices=tuple(map(mig_device, dicts(instances))) if isinstance(instances, list) else None,
        evidence=evidence,
        **plain,
    )


def gpu_topology(pairs: object, evidence: tuple[Evidence, ...] = ()) -> GpuTopology | None:
    """The fact of a source's `topology`; None where it tells nothing."""
    found = []
    for item in dicts(pairs):
        a, b = text(item.get("a")), text(item.get("b"))
        if a and b:
            found.append(
                GpuPair(
                    a=f"gpu:{a}", b=f"gpu:{b}", path=text(item.get("path")), nvlinks=count(item.get("nvlinks")),
                    p2p_read=text(item.get("p2p_read")), p2p_nvlink=text(item.get("p2p_nvlink")),
                )
            )  # fmt: skip
    return GpuTopology(pairs=tuple(found), evidence=evidence) if found else None


# -- values of a foreign document ---------------------------------------------------------------------------------


def is_process(item: Mapping[str, Any]) -> bool:
    """Whether it names a process."""
    return count(item.get("pid")) is not None


def process(item: Mapping[str, Any]) -> GpuProcess:
    """One entry of `processes`."""
    return GpuProcess(
        pid=count(item.get("pid")) or 0, type=text(item.get("type")) or "", memory_bytes=count(item.get("memory_bytes"))
    )


def ecc_counts(value: object) -> EccCounts | None:
    """One half of `ecc_errors`; None where nothing is counted."""
    found = {f.name: count(mapping(value).get(f.name)) for f in fields(EccCounts)}
    return EccCounts(**found) if any(v is not None for v in found.values()) else None


def nvlink(item: Mapping[str, Any]) -> NvLink:
    """One entry of `nvlinks`."""
    errors = mapping(item.get("errors"))
    return NvLink(
        link=count(item.get("link")) or 0,
        active=item.get("active") is True,
        version=text(item.get("version")),
        speed_mb_per_s=count(item.get("speed_mb_per_s")),
        remote_type=text(item.get("remote_type")),
        remote_address=text(item.get("remote_address")),
        crc_errors=count(errors.get("crc")),
        replay_errors=count(errors.get("replay")),
        recovery_errors=count(errors.get("recovery")),
    )


def mig_device(item: Mapping[str, Any]) -> MigDevice:
    """One entry of `mig_devices`."""
    return MigDevice(
        uuid=text(item.get("uuid")), profile=text(item.get("profile")), memory_bytes=count(item.get("memory_bytes"))
    )


def named_counts(value: object) -> tuple[tuple[str, int], ...]:
    """The numbers of a dict, sorted by name."""
    found = ((str(n)[:TEXT_CAP], count(v)) for n, v in list(mapping(value).items())[:LIST_CAP])
    return tuple(sorted((n, v) for n, v in found if v is not None))


def number(value: object) -> float | None:
    """Any finite number of physical size."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -1e9 < value < 1e9 else None
