"""What NVML says of one GPU's state: counters of errors, temperatures, power, clocks, links, fabric, MIG, processes.

The shape of the answer stands in `detect/nvidia_state.py`. Runs in the child process only. Per-link values are asked in one
batch of field values; enumerations are those of nvml.h, by number, so that bindings of another age do as well."""

from collections.abc import Callable
from functools import partial
from typing import Any

Ask = Callable[[], Any]

COMPUTE_MODES = {0: "default", 1: "exclusive_thread", 2: "prohibited", 3: "exclusive_process"}
VIRTUALIZATION = {0: "none", 1: "pass_through", 2: "vgpu", 3: "host_vgpu", 4: "host_vsga"}
RECOVERY = ("none", "gpu_reset", "node_reboot", "drain_p2p", "drain_and_reset", "recover_imex_domain", "bus_reset",
            "system_reboot")  # fmt: skip
# nvmlClocksEventReason… bits
THROTTLE = (
    (0x1, "gpu_idle"), (0x2, "applications_clocks"), (0x4, "sw_power_cap"), (0x8, "hw_slowdown"), (0x10, "sync_boost"),
    (0x20, "sw_thermal_slowdown"), (0x40, "hw_thermal_slowdown"), (0x80, "hw_power_brake"), (0x100, "display_clocks"),
)  # fmt: skip
# nvmlGpuFabricState_t, and the fields of its healthMask: (shift, mask, values that mean trouble, name)
FABRIC_STATES = {0: "not_supported", 1: "not_started", 2: "in_progress", 3: "completed"}
FABRIC_SUMMARY = {1: "healthy", 2: "unhealthy", 3: "limited_capacity"}
FABRIC_PROBLEMS = (
    (0, 0x3, (1,), "degraded_bandwidth"), (2, 0x3, (1,), "route_recovery"), (4, 0x3, (1,), "route_unhealthy"),
    (6, 0x3, (1,), "access_timeout_recovery"), (8, 0xF, tuple(range(2, 16)), "incorrect_configuration"),
)  # fmt: skip
# Field ids of nvml.h (NVML_FI_…): values of the whole device, and those of one link (its number is the scope).
FIELDS = {
    "volatile_corrected": 3, "volatile_uncorrected": 4, "aggregate_corrected": 5, "aggregate_uncorrected": 6,
    "retired_single_bit": 29, "retired_double_bit": 30, "retired_pending": 31, "sw_power_cap": 74, "sync_boost": 76,
    "memory_temperature": 82, "link_count": 91, "recovery_action": 230, "sw_thermal_slowdown": 269,
    "hw_thermal_slowdown": 270, "hw_power_brake": 271,
}  # fmt: skip
THROTTLE_TIMES = ("sw_power_cap", "sync_boost", "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake")
LINK_FIELDS = {"replay": 161, "recovery": 162, "crc": 163, "speed": 164, "state": 165, "version": 166}
LINK_VERSIONS = {1: "1.0", 2: "2.0", 3: "2.2", 4: "3.0", 5: "3.1", 6: "4.0", 7: "5.0", 8: "6.0"}
REMOTE_TYPES = {0: "gpu", 1: "ibmnpu", 2: "switch"}
VALUE_TYPES = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
CORRECTED, UNCORRECTED = 0, 1
VOLATILE, AGGREGATE = 0, 1
DRAM, SRAM = 2, 7
CPU_WORDS = 64  # 4096 CPUs
NOT_AVAILABLE = (1 << 64) - 1


def questions(nvml: Any, handle: Any) -> dict[str, Ask]:
    """Each field with how to ask it; an answer that raises NVMLError "not supported" has no value."""
    memory = Once(lambda: memory_info(nvml, handle))
    values = Once(lambda: field_values(nvml, handle, list(FIELDS.items())))
    fabric = Once(lambda: fabric_info(nvml, handle))
    watts = 1000.0  # NVML counts in mW

    def threshold(kind: int) -> Ask:
        return lambda: nvml.nvmlDeviceGetTemperatureThreshold(handle, kind)

    return {
        "mig_pending": lambda: bool(nvml.nvmlDeviceGetMigMode(handle)[1]),
        "ecc_pending": lambda: bool(nvml.nvmlDeviceGetEccMode(handle)[1]),
        "display_active": lambda: bool(nvml.nvmlDeviceGetDisplayActive(handle)),
        "compute_mode": lambda: COMPUTE_MODES.get(nvml.nvmlDeviceGetComputeMode(handle)),
        "memory_used_bytes": lambda: int(memory().used),
        "memory_reserved_bytes": lambda: int(memory().reserved),
        "processes": lambda: processes(nvml, handle),
        "temperature_c": lambda: nvml.nvmlDeviceGetTemperature(handle, 0),
        "temperature_memory_c": lambda: values().get("memory_temperature"),
        "temperature_shutdown_c": threshold(0),
        "temperature_slowdown_c": threshold(1),
        "temperature_memory_max_c": threshold(2),
        "temperature_max_operating_c": threshold(3),
        "temperature_margin_c": lambda: nvml.nvmlDeviceGetMarginTemperature(handle),
        "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / watts,
        "power_limit_w": lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / watts,
        "power_requested_limit_w": lambda: nvml.nvmlDeviceGetPowerManagementLimit(handle) / watts,
        "power_default_limit_w": lambda: nvml.nvmlDeviceGetPowerManagementDefaultLimit(handle) / watts,
        "power_min_limit_w": lambda: nvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)[0] / watts,
        "power_max_limit_w": lambda: nvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)[1] / watts,
        "clocks_mhz": lambda: clocks(nvml, handle),
        "throttle": lambda: throttle(nvml, handle),
        "throttled_us": lambda: {n: int(values()[n]) // 1000 for n in THROTTLE_TIMES if n in values()},
        "utilization_percent": lambda: int(nvml.nvmlDeviceGetUtilizationRates(handle).gpu),
        "memory_utilization_percent": lambda: int(nvml.nvmlDeviceGetUtilizationRates(handle).memory),
        "pstate": lambda: int(nvml.nvmlDeviceGetPerformanceState(handle)),
        "pcie": lambda: pcie(nvml, handle),
        "ecc_errors": lambda: ecc_errors(nvml, handle, values()),
        "sram_threshold_exceeded": lambda: sram_threshold_exceeded(nvml, handle),
        "unrepairable_memory": lambda: bool(nvml.nvmlDeviceGetUnrepairableMemoryFlag_v1(handle)),
        "remapped_rows": lambda: remapped_rows(nvml, handle),
        "retired_pages": lambda: retired_pages(values()),
        "repair_pending": lambda: dict(
            zip(("channel", "tpc"), map(bool, nvml.nvmlDeviceGetRepairStatus(handle)), strict=True)
        ),
        "recovery_action": lambda: recovery_action(values()),
        "nvlinks": lambda: nvlinks(nvml, handle, int(values().get("link_count", 0))),
        "fabric": fabric,
        "mig_devices": lambda: mig_devices(nvml, handle),
        "vbios": lambda: words(nvml.nvmlDeviceGetVbiosVersion(handle)),
        "gsp_firmware": lambda: words(nvml.nvmlDeviceGetGspFirmwareVersion(handle)),
        "virtualization": lambda: VIRTUALIZATION.get(nvml.nvmlDeviceGetVirtualizationMode(handle)),
        "numa_node": lambda: next(iter(bits(nvml.nvmlDeviceGetMemoryAffinity(handle, CPU_WORDS, 0))), None),
        "cpu_affinity": lambda: ranges(bits(nvml.nvmlDeviceGetCpuAffinityWithinScope(handle, CPU_WORDS, 0))),
    }


class Once:
    """An answer asked at most once; a failure is not remembered."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.found: list[Any] = []

    def __call__(self) -> Any:
        """The answer."""
        if not self.found:
            self.found.append(self.ask())
        return self.found[0]


def part(nvml: Any, function: str, *arguments: Any) -> Any:
    """One value of several: None where this device, this driver or these bindings have none."""
    try:
        return getattr(nvml, function)(*arguments)
    except (nvml.NVMLError, AttributeError):
        return None


def some(values: dict[str, Any]) -> dict[str, Any] | None:
    """None where no value is told."""
    return values if any(v is not None for v in values.values()) else None


def words(value: Any) -> str:
    """NVML strings are bytes in old bindings."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


# -- field values -------------------------------------------------------------------------------------------------


def field_values(nvml: Any, handle: Any, wanted: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """Values by name; `wanted` has (name, field id) or (name, (field id, scope)). What is not supported is left out."""
    found = nvml.nvmlDeviceGetFieldValues(handle, [field_id for _, field_id in wanted])
    out = {}
    for (name, _), value in zip(wanted, found, strict=False):
        if value.nvmlReturn == 0 and 0 <= value.valueType < len(VALUE_TYPES):
            out[name] = getattr(value.value, VALUE_TYPES[value.valueType])
    return out


def nvlinks(nvml: Any, handle: Any, number: int) -> list[dict[str, Any]] | None:
    """Every link of a device that has `number` of them, None where it has none."""
    if not 0 < number <= 64:
        return None
    wanted = [((name, link), (field_id, link)) for link in range(number) for name, field_id in LINK_FIELDS.items()]
    values = field_values(nvml, handle, wanted)
    out = []
    for link in range(number):
        state = values.get(("state", link))
        if state is None:  # drivers that know no such field
            state = part(nvml, "nvmlDeviceGetNvLinkState", handle, link)
        if state is None:
            continue
        version = values.get(("version", link))
        errors = some({name: values.get((name, link)) for name in ("crc", "replay", "recovery")})
        found = {
            "link": link, "active": bool(state), "version": LINK_VERSIONS.get(version) if version else None,
            "speed_mb_per_s": values.get(("speed", link)), "errors": errors, **remote(nvml, handle, link, bool(state)),
        }  # fmt: skip
        out.append(found)
    return out


def remote(nvml: Any, handle: Any, link: int, active: bool) -> dict[str, Any]:
    """What is at the other end of an active link. A switch's address is not asked: nobody needs it."""
    kind = None
    if active:
        kind = REMOTE_TYPES.get(part(nvml, "nvmlDeviceGetNvLinkRemoteDeviceType", handle, link))
    info = part(nvml, "nvmlDeviceGetNvLinkRemotePciInfo", handle, link) if kind == "gpu" else None
    return {"remote_type": kind, "remote_address": address(words(info.busId)) if info is not None else None}


def address(bus_id: str) -> str:
    """NVML's "00000000:00:06.0" in the kernel's form."""
    domain, bus, rest = bus_id.rsplit(":", 2)
    return f"{int(domain, 16):04x}:{bus}:{rest}".lower()


def recovery_action(values: dict[str, Any]) -> str | None:
    """nvmlDeviceGpuRecoveryAction_t in words."""
    found = values.get("recovery_action")
    return None if found is None else RECOVERY[found] if found < len(RECOVERY) else f"action {found}"


def retired_pages(values: dict[str, Any]) -> dict[str, Any] | None:
    """Pages of the device memory taken out of use (up to Volta and Turing; newer GPUs remap rows)."""
    pending = values.get("retired_pending")
    counts = {"single_bit": values.get("retired_single_bit"), "double_bit": values.get("retired_double_bit")}
    return some({**counts, "pending": None if pending is None else bool(pending)})


# -- one call each ------------------------------------------------------------------------------------------------


def memory_info(nvml: Any, handle: Any) -> Any:
    """The second version counts what the driver reserves apart, as nvidia-smi does; old drivers know the first alone."""
    version = getattr(nvml, "nvmlMemory_v2", None)
    try:
        return nvml.nvmlDeviceGetMemoryInfo(handle, version=version)
    except (nvml.NVMLError, TypeError):
        return nvml.nvmlDeviceGetMemoryInfo(handle)


def processes(nvml: Any, handle: Any) -> list[dict[str, Any]]:
    """Compute and graphics processes, and clients of MPS. Raises where the device tells none of them."""
    out = []
    kinds = (("C", "nvmlDeviceGetComputeRunningProcesses"), ("G", "nvmlDeviceGetGraphicsRunningProcesses"),
             ("M", "nvmlDeviceGetMPSComputeRunningProcesses"))  # fmt: skip
    for kind, function in kinds:
        ask = getattr(nvml, function) if kind == "C" else partial(part, nvml, function)
        for process in ask(handle) or ():
            used = process.usedGpuMemory
            known = isinstance(used, int) and used < NOT_AVAILABLE
            out.append({"pid": int(process.pid), "type": kind, "memory_bytes": used if known else None})
    return out


def clocks(nvml: Any, handle: Any) -> dict[str, Any] | None:
    """Now and at most, of the four clocks."""
    out: dict[str, Any] = {}
    for number, name in enumerate(("graphics", "sm", "memory", "video")):
        out[name] = part(nvml, "nvmlDeviceGetClockInfo", handle, number)
        out[name + "_max"] = part(nvml, "nvmlDeviceGetMaxClockInfo", handle, number)
    return some(out)


def throttle(nvml: Any, handle: Any) -> list[str]:
    """The reasons that hold the clocks down now."""
    mask = part(nvml, "nvmlDeviceGetCurrentClocksEventReasons", handle)
    if mask is None:  # the name of drivers before R535
        mask = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
    return [name for bit, name in THROTTLE if mask & bit]


def pcie(nvml: Any, handle: Any) -> dict[str, Any] | None:
    """The link of the device to what it is plugged into."""
    asked = {
        "width": "nvmlDeviceGetCurrPcieLinkWidth", "width_max": "nvmlDeviceGetMaxPcieLinkWidth",
        "generation": "nvmlDeviceGetCurrPcieLinkGeneration", "generation_max": "nvmlDeviceGetMaxPcieLinkGeneration",
        "generation_device_max": "nvmlDeviceGetGpuMaxPcieLinkGeneration", "replays": "nvmlDeviceGetPcieReplayCounter",
    }  # fmt: skip
    return some({n: part(nvml, f, handle) for n, f in asked.items()})


def ecc_errors(nvml: Any, handle: Any, values: dict[str, Any]) -> dict[str, Any] | None:
    """Both counters of both kinds of error, with the memories apart where the device counts them apart."""
    out: dict[str, Any] = {}
    for counter, name in ((VOLATILE, "volatile"), (AGGREGATE, "aggregate")):
        found: dict[str, Any] = {}
        for kind, word in ((CORRECTED, "corrected"), (UNCORRECTED, "uncorrected")):
            total = values.get(f"{name}_{word}")
            if total is None:
                continue
            found[word] = total
            for memory, place in ((SRAM, "sram"), (DRAM, "dram")):
                found[f"{place}_{word}"] = part(nvml, "nvmlDeviceGetMemoryErrorCounter", handle, kind, counter, memory)
        out[name] = found or None
    return some(out)


def sram_threshold_exceeded(nvml: Any, handle: Any) -> bool:
    """Whether the SRAM has had so many errors that the device is to be replaced (Hopper and newer)."""
    status = nvml.c_nvmlEccSramErrorStatus_v1_t()
    nvml.nvmlDeviceGetSramEccErrorStatus(handle, pointer_to(status))
    return bool(status.bThresholdExceeded)


def pointer_to(structure: Any) -> Any:
    """A pointer to a structure of the bindings."""
    import ctypes

    return ctypes.byref(structure)


def remapped_rows(nvml: Any, handle: Any) -> dict[str, Any]:
    """Rows of the device memory replaced by spare ones (Ampere and newer)."""
    corrected, uncorrected, pending, failed = nvml.nvmlDeviceGetRemappedRows(handle)
    return {"corrected": corrected, "uncorrected": uncorrected, "pending": bool(pending), "failed": bool(failed)}


def fabric_info(nvml: Any, handle: Any) -> dict[str, Any] | None:
    """The NVLink fabric as the device sees it, by the newest structure that bindings and driver both know."""
    ways = (("c_nvmlGpuFabricInfo_v3_t", "nvmlDeviceGetGpuFabricInfoV"),
            ("c_nvmlGpuFabricInfo_v2_t", "nvmlDeviceGetGpuFabricInfoV"),
            ("c_nvmlGpuFabricInfo_t", "nvmlDeviceGetGpuFabricInfo"))  # fmt: skip
    for structure, function in ways:
        if not hasattr(nvml, structure):
            continue
        info = getattr(nvml, structure)()
        if part(nvml, function, handle, pointer_to(info)) is None:  # else it is NVML_SUCCESS
            continue
        mask, completed = getattr(info, "healthMask", 0), info.state == 3
        problems = [n for shift, width, bad, n in FABRIC_PROBLEMS if mask >> shift & width in bad]
        return {
            "state": FABRIC_STATES.get(info.state),
            "status": words(nvml.nvmlErrorString(info.status)) if completed else None,
            "health": FABRIC_SUMMARY.get(getattr(info, "healthSummary", 0)),
            "problems": problems,
            "clique_id": int(info.cliqueId) if completed else None,
        }
    return None


def mig_devices(nvml: Any, handle: Any) -> list[dict[str, Any]] | None:
    """The MIG devices, None where MIG is off."""
    if not nvml.nvmlDeviceGetMigMode(handle)[0]:
        return None
    out = []
    for index in range(min(int(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)), 32)):
        device = part(nvml, "nvmlDeviceGetMigDeviceHandleByIndex", handle, index)
        if device is None:
            continue
        name, uuid = (part(nvml, f, device) for f in ("nvmlDeviceGetName", "nvmlDeviceGetUUID"))
        attributes = part(nvml, "nvmlDeviceGetAttributes", device)
        found = {
            "uuid": None if uuid is None else words(uuid),
            "profile": None if name is None else words(name).rpartition("MIG ")[2],
            "memory_bytes": None if attributes is None else int(attributes.memorySizeMB) << 20,
        }
        out.append(found)
    return out


# -- sets of numbers ----------------------------------------------------------------------------------------------


def bits(mask: Any) -> list[int]:
    """The numbers whose bits are set in an array of 64-bit words."""
    return [64 * word + bit for word, value in enumerate(mask) for bit in range(64) if int(value) >> bit & 1]


def ranges(numbers: list[int]) -> str | None:
    """[0, 1, 2, 5] as "0-2,5"."""
    out: list[list[int]] = []
    for number in numbers:
        if out and number == out[-1][1] + 1:
            out[-1][1] = number
        else:
            out.append([number, number])
    return ",".join(f"{a}-{b}" if b > a else str(a) for a, b in out) or None
