"""What `nvidia-smi -q` tells of one GPU, whatever the form, as the device dict of `detect/nvidia_state.py`.

A field is looked for under its paths in order: those of the XML (`ecc_mode/current_ecc`) and those of the text
("ECC Mode/Current"). Drivers from 384 to 610 have renamed many of them; each name below is of a published output."""

from collections.abc import Callable, Mapping
from typing import Any

from infra_doctor_probes.nvidia_smi.text import (
    byte_count,
    decimal,
    is_failed,
    pci_address,
    pci_id,
    snake,
    switch,
    told,
    whole,
)

Tree = Mapping[str, Any]  # name -> text, a tree, or a list of trees
DEVICES_CAP = 1024
PROCESSES_CAP = 4096

ARCHITECTURES = {"Ada Lovelace": "Ada"}
RECOVERY = {"reset": "gpu_reset", "reboot": "node_reboot", "gpu_reset_required": "gpu_reset",
            "node_reboot_required": "node_reboot"}  # fmt: skip
NONE_WORDS = {"none", "no", "false", "healthy"}

Read = Callable[[str | None], Any]
FIELDS: tuple[tuple[str, Read, tuple[str, ...]], ...] = (
    ("name", told, ("product_name", "Product Name")),
    ("uuid", told, ("uuid", "GPU UUID")),
    ("brand", told, ("product_brand", "Product Brand")),
    ("minor_number", whole, ("minor_number", "Minor Number")),
    ("mig", switch, ("mig_mode/current_mig", "MIG Mode/Current")),
    ("mig_pending", switch, ("mig_mode/pending_mig", "MIG Mode/Pending")),
    ("ecc", switch, ("ecc_mode/current_ecc", "ECC Mode/Current", "Ecc Mode/Current")),
    ("ecc_pending", switch, ("ecc_mode/pending_ecc", "ECC Mode/Pending", "Ecc Mode/Pending")),
    ("persistence", switch, ("persistence_mode", "Persistence Mode")),
    ("display_active", switch, ("display_active", "Display Active")),
    ("compute_mode", snake, ("compute_mode", "Compute Mode")),
    ("memory_bytes", byte_count, ("fb_memory_usage/total", "FB Memory Usage/Total")),
    ("memory_used_bytes", byte_count, ("fb_memory_usage/used", "FB Memory Usage/Used")),
    ("memory_reserved_bytes", byte_count, ("fb_memory_usage/reserved", "FB Memory Usage/Reserved")),
    ("temperature_c", decimal, ("temperature/gpu_temp", "Temperature/GPU Current Temp")),
    ("temperature_memory_c", decimal, ("temperature/memory_temp", "Temperature/Memory Current Temp")),
    ("temperature_slowdown_c", decimal, ("temperature/gpu_temp_slow_threshold", "Temperature/GPU Slowdown Temp")),
    ("temperature_shutdown_c", decimal, ("temperature/gpu_temp_max_threshold", "Temperature/GPU Shutdown Temp")),
    ("temperature_max_operating_c", decimal,
     ("temperature/gpu_temp_max_gpu_threshold", "Temperature/GPU Max Operating Temp")),
    ("temperature_memory_max_c", decimal,
     ("temperature/gpu_temp_max_mem_threshold", "Temperature/Memory Max Operating Temp")),
    ("temperature_margin_c", decimal,
     ("temperature/gpu_temp_tlimit", "Temperature/GPU T.Limit Temp", "Temperature/GPU Current T.Limit Temp")),
    ("power_w", decimal,
     ("gpu_power_readings/average_power_draw", "gpu_power_readings/power_draw", "gpu_power_readings/instant_power_draw",
      "power_readings/power_draw", "GPU Power Readings/Average Power Draw", "GPU Power Readings/Power Draw",
      "GPU Power Readings/Instantaneous Power Draw", "Power Readings/Power Draw")),
    ("power_limit_w", decimal,
     ("power_readings/enforced_power_limit", "gpu_power_readings/current_power_limit",
      "Power Readings/Enforced Power Limit", "GPU Power Readings/Current Power Limit",
      "GPU Power Readings/GPU Ceiling Power Limit/Current Power Limit")),
    ("power_requested_limit_w", decimal,
     ("gpu_power_readings/requested_power_limit", "power_readings/power_limit",
      "GPU Power Readings/Requested Power Limit", "Power Readings/Power Limit",
      "GPU Power Readings/GPU Ceiling Power Limit/Requested Power Limit")),
    ("power_default_limit_w", decimal,
     ("gpu_power_readings/default_power_limit", "power_readings/default_power_limit",
      "GPU Power Readings/Default Power Limit", "Power Readings/Default Power Limit",
      "GPU Power Readings/GPU Ceiling Power Limit/Default Power Limit")),
    ("power_min_limit_w", decimal,
     ("gpu_power_readings/min_power_limit", "power_readings/min_power_limit",
      "GPU Power Readings/Min Power Limit", "Power Readings/Min Power Limit")),
    ("power_max_limit_w", decimal,
     ("gpu_power_readings/max_power_limit", "power_readings/max_power_limit",
      "GPU Power Readings/Max Power Limit", "Power Readings/Max Power Limit")),
    ("utilization_percent", whole, ("utilization/gpu_util", "Utilization/GPU", "Utilization/Gpu")),
    ("memory_utilization_percent", whole, ("utilization/memory_util", "Utilization/Memory")),
    ("pstate", whole, ("performance_state", "Performance State")),
    ("sram_threshold_exceeded", switch,
     ("ecc_errors/aggregate/sram_threshold_exceeded", "ECC Errors/Aggregate/SRAM Threshold Exceeded")),
    ("unrepairable_memory", switch, ("ecc_errors/unrepairable_memory", "ECC Errors/Unrepairable Memory")),
    ("vbios", told, ("vbios_version", "VBIOS Version")),
    ("gsp_firmware", told, ("gsp_firmware_version", "GSP Firmware Version")),
    ("virtualization", snake,
     ("gpu_virtualization_mode/virtualization_mode", "GPU Virtualization Mode/Virtualization Mode",
      "GPU Virtualization Mode/Virtualization mode")),
)  # fmt: skip
PCIE = (
    ("width", ("pci/pci_gpu_link_info/link_widths/current_link_width", "PCI/GPU Link Info/Link Width/Current")),
    ("width_max", ("pci/pci_gpu_link_info/link_widths/max_link_width", "PCI/GPU Link Info/Link Width/Max")),
    ("generation", ("pci/pci_gpu_link_info/pcie_gen/current_link_gen", "PCI/GPU Link Info/PCIe Generation/Current")),
    ("generation_max", ("pci/pci_gpu_link_info/pcie_gen/max_link_gen", "PCI/GPU Link Info/PCIe Generation/Max")),
    ("generation_device_max",
     ("pci/pci_gpu_link_info/pcie_gen/max_device_link_gen", "PCI/GPU Link Info/PCIe Generation/Device Max")),
    ("replays", ("pci/replay_counter", "PCI/Replays Since Reset", "PCI/Replays since reset")),
)  # fmt: skip
CLOCKS = tuple(
    (f"{name}{suffix}", (f"{section}/{tag}_clock", f"{title}/{label}"))
    for suffix, section, title in (("", "clocks", "Clocks"), ("_max", "max_clocks", "Max Clocks"))
    for name, tag, label in (("graphics", "graphics", "Graphics"), ("sm", "sm", "SM"), ("memory", "mem", "Memory"),
                             ("video", "video", "Video"))
)  # fmt: skip
# Our word -> the end of the XML name, the text's label.
THROTTLE = (
    ("gpu_idle", "gpu_idle", "Idle"), ("applications_clocks", "applications_clocks_setting", "Applications Clocks Setting"),
    ("sw_power_cap", "sw_power_cap", "SW Power Cap"), ("hw_slowdown", "hw_slowdown", "HW Slowdown"),
    ("sync_boost", "sync_boost", "Sync Boost"), ("sw_thermal_slowdown", "sw_thermal_slowdown", "SW Thermal Slowdown"),
    ("hw_thermal_slowdown", "hw_thermal_slowdown", "HW Slowdown/HW Thermal Slowdown"),
    ("hw_power_brake", "hw_power_brake_slowdown", "HW Slowdown/HW Power Brake Slowdown"),
    ("display_clocks", "display_clocks_setting", "Display Clock Setting"),
)  # fmt: skip
THROTTLED = (
    ("sw_power_cap", "sw_power_cap", "SW Power Capping"), ("sync_boost", "sync_boost", "Sync Boost"),
    ("sw_thermal_slowdown", "sw_therm_slowdown", "SW Thermal Slowdown"),
    ("hw_thermal_slowdown", "hw_therm_slowdown", "HW Thermal Slowdown"),
    ("hw_power_brake", "hw_power_brake", "HW Power Braking"),
)  # fmt: skip
FABRIC_PROBLEMS = (
    ("degraded_bandwidth", ("bandwidth", "Bandwidth")),
    ("route_recovery", ("route_recovery_in_progress", "Route Recovery in progress")),
    ("route_unhealthy", ("route_unhealthy", "Route Unhealthy")),
    ("access_timeout_recovery", ("access_timeout_recovery", "Access Timeout Recovery")),
    ("incorrect_configuration", ("incorrect_configuration", "Incorrect Configuration")),
)


def device(index: int, tree: Tree, address: str | None) -> dict[str, Any]:
    """The device dict of one GPU; `address` as its heading says."""
    errors: dict[str, str] = {}
    found: dict[str, Any] = {"index": index, "error": ""}
    for name, read, paths in FIELDS:
        value = first(tree, paths)
        found[name] = read(value)
        if is_failed(value):
            errors[name] = (value or "").strip()
    found["architecture"] = architecture(tree)
    found["pci"] = {
        "address": pci_address(first(tree, ("pci/pci_bus_id", "PCI/Bus Id"))) or pci_address(address),
        "id": pci_id(first(tree, ("pci/pci_device_id", "PCI/Device Id"))),
    }
    found["pcie"] = some({name: whole(first(tree, paths)) for name, paths in PCIE})
    found["clocks_mhz"] = some({name: whole(first(tree, paths)) for name, paths in CLOCKS})
    found["throttle"], found["throttled_us"] = throttling(tree)
    found |= memory_errors(tree)
    found["recovery_action"] = recovery_action(tree)
    found["fabric"] = fabric(tree)
    found["processes"] = processes(tree)
    found["mig_devices"] = mig_devices(tree)
    # A GPU that is lost answers every question alike.
    if is_failed(first(tree, ("product_name", "Product Name"))) or len(errors) > len(FIELDS) // 2:
        found["error"] = next(iter(errors.values()))
    found["errors"] = errors
    return found


def value_at(tree: Tree, path: str) -> Any:
    """What stands under a path; None where there is nothing."""
    here: Any = tree
    for name in path.split("/"):
        if not isinstance(here, Mapping):
            return None
        here = here.get(name)
    return here


def first(tree: Tree, paths: tuple[str, ...]) -> str | None:
    """The text under the first of these paths that tells something, else the first that is there at all."""
    fallback = None
    for path in paths:
        here = value_at(tree, path)
        if isinstance(here, Mapping):
            here = here.get("")  # a label of the text form that has a value and lines below it
        if isinstance(here, str):
            if told(here) is not None:
                return here
            fallback = fallback or here
    return fallback


def some(values: dict[str, Any]) -> dict[str, Any] | None:
    """The values, None where none of them is told."""
    return values if any(v is not None for v in values.values()) else None


def architecture(tree: Tree) -> str | None:
    """The architecture as NVML's enum is called here."""
    name = told(first(tree, ("product_architecture", "Product Architecture")))
    return ARCHITECTURES.get(name, name) if name else None


def throttling(tree: Tree) -> tuple[list[str] | None, dict[str, int | None] | None]:
    """The reasons that hold the clocks down now, and for how many microseconds they did."""
    now: dict[str, bool | None] = {}
    for word, tag, label in THROTTLE:
        old, new = f"clocks_throttle_reason_{tag}", f"clocks_event_reason_{tag}"
        paths = (f"clocks_event_reasons/{new}", f"clocks_throttle_reasons/{old}", f"Clocks Event Reasons/{label}",
                 f"Clocks Throttle Reasons/{label}")  # fmt: skip
        now[word] = switch(first(tree, paths))
    counters: dict[str, int | None] = {}
    for word, tag, label in THROTTLED:
        section = "clocks_event_reasons_counters"
        counters[word] = whole(first(tree, (f"{section}/{section}_{tag}", f"Clocks Event Reasons Counters/{label}")))
    active = [word for word, on in now.items() if on]
    return (active if any(v is not None for v in now.values()) else None), some(counters)


def total(*values: int | None) -> int | None:
    """The sum of what is told; None where nothing is."""
    known = [v for v in values if v is not None]
    return sum(known) if known else None


def ecc_counts(tree: Tree, half: str) -> dict[str, int | None] | None:
    """Errors of one half, "volatile" or "aggregate": by memory from Turing on, by one and two bits before."""
    xml, title = f"ecc_errors/{half}", f"ECC Errors/{half.capitalize()}"

    def count(tag: str, label: str) -> int | None:
        return whole(first(tree, (f"{xml}/{tag}", f"{title}/{label}")))

    sram = count("sram_correctable", "SRAM Correctable")
    dram = count("dram_correctable", "DRAM Correctable")
    parity = count("sram_uncorrectable_parity", "SRAM Uncorrectable Parity")
    secded = count("sram_uncorrectable_secded", "SRAM Uncorrectable SEC-DED")
    sram_bad = total(count("sram_uncorrectable", "SRAM Uncorrectable"), parity, secded)
    dram_bad = count("dram_uncorrectable", "DRAM Uncorrectable")
    single = count("single_bit/total", "Single Bit/Total")
    double = count("double_bit/total", "Double Bit/Total")
    return some({
        "corrected": total(sram, dram, single), "uncorrected": total(sram_bad, dram_bad, double),
        "sram_corrected": sram, "sram_uncorrected": sram_bad,
        "dram_corrected": dram if dram is not None else count("single_bit/device_memory", "Single Bit/Device Memory"),
        "dram_uncorrected": (
            dram_bad if dram_bad is not None else count("double_bit/device_memory", "Double Bit/Device Memory")
        ),
    })  # fmt: skip


def memory_errors(tree: Tree) -> dict[str, Any]:
    """ecc_errors, remapped_rows, retired_pages, repair_pending."""
    rows = {
        "corrected": whole(first(tree, ("remapped_rows/remapped_row_corr", "Remapped Rows/Correctable Error"))),
        "uncorrected": whole(first(tree, ("remapped_rows/remapped_row_unc", "Remapped Rows/Uncorrectable Error"))),
        "pending": switch(first(tree, ("remapped_rows/remapped_row_pending", "Remapped Rows/Pending"))),
        "failed": switch(
            first(tree, ("remapped_rows/remapped_row_failure", "Remapped Rows/Remapping Failure Occurred"))
        ),
    }
    pages = {
        "single_bit": whole(
            first(tree, ("retired_pages/multiple_single_bit_retirement/retired_count", "Retired Pages/Single Bit ECC"))
        ),
        "double_bit": whole(
            first(tree, ("retired_pages/double_bit_retirement/retired_count", "Retired Pages/Double Bit ECC"))
        ),
        "pending": switch(
            first(
                tree,
                ("retired_pages/pending_retirement", "retired_pages/pending_blacklist",
                 "Retired Pages/Pending Page Blacklist", "Retired Pages/Pending"),
            )
        ),
    }  # fmt: skip
    repair = {
        "channel": switch(first(tree, ("ecc_errors/channel_repair_pending", "ECC Errors/Channel Repair Pending"))),
        "tpc": switch(first(tree, ("ecc_errors/tpc_repair_pending", "ECC Errors/TPC Repair Pending"))),
    }
    ecc = {half: ecc_counts(tree, half) for half in ("volatile", "aggregate")}
    return {
        "ecc_errors": some(ecc), "remapped_rows": some(rows), "retired_pages": some(pages), "repair_pending": some(repair),
    }  # fmt: skip


def recovery_action(tree: Tree) -> str | None:
    """What the driver wants done; before R550 two switches said it."""
    word = snake(first(tree, ("gpu_recovery_action", "GPU Recovery Action")))
    if word:
        return RECOVERY.get(word, word)
    reset = switch(first(tree, ("gpu_reset_status/reset_required", "GPU Reset Status/Reset Required")))
    drain = switch(
        first(tree, ("gpu_reset_status/drain_and_reset_recommended", "GPU Reset Status/Drain and Reset Recommended"))
    )
    if reset or drain:
        return "gpu_reset" if reset else "drain_and_reset"
    return "none" if reset is False else None


def fabric(tree: Tree) -> dict[str, Any] | None:
    """The NVLink fabric's state; None where the GPU has none."""
    state = snake(first(tree, ("fabric/state", "Fabric/State")))
    if state is None:
        return None
    problems = []
    for word, (tag, label) in FABRIC_PROBLEMS:
        said = snake(first(tree, (f"fabric/health/{tag}", f"Fabric/Health/{label}")))
        if said is not None and said not in NONE_WORDS and said != "full":
            problems.append(word)
    return {
        "state": state,
        "status": told(first(tree, ("fabric/status", "Fabric/Status"))),
        "health": snake(first(tree, ("fabric/health/summary", "Fabric/Health/Summary"))),
        "problems": problems,
        "clique_id": whole(first(tree, ("fabric/cliqueId", "Fabric/CliqueId"))),
    }


def processes(tree: Tree) -> list[dict[str, Any]] | None:
    """The processes on the GPU, without their names; None where it is not told."""
    section = tree.get("processes", tree.get("Processes"))
    if isinstance(section, str):
        # An empty element, and "None" in the text form, say that there is none.
        return [] if section.strip().lower() in {"", "none"} else None
    if not isinstance(section, Mapping):
        return None
    found: list[dict[str, Any]] = []
    items = section.get("process_info") or section.get("Process ID") or ()
    for item in items if isinstance(items, list) else ():
        pid = whole(first(item, ("pid", ""))) if isinstance(item, Mapping) else None
        if pid is not None and len(found) < PROCESSES_CAP:
            found.append({
                "pid": pid,
                "type": told(first(item, ("type", "Type"))) or "",
                "memory_bytes": byte_count(first(item, ("used_memory", "Used GPU Memory"))),
            })  # fmt: skip
    return found


def mig_devices(tree: Tree) -> list[dict[str, Any]]:
    """The MIG instances: nvidia-smi -q gives neither their UUID nor their profile."""
    section = tree.get("mig_devices")
    items = section.get("mig_device") if isinstance(section, Mapping) else tree.get("MIG Device")
    return [
        {"uuid": None, "profile": None,
         "memory_bytes": byte_count(first(item, ("fb_memory_usage/total", "Shared FB Memory Usage/Total",
                                                 "FB Memory Usage/Total")))}
        for item in (items if isinstance(items, list) else ())[:DEVICES_CAP]
        if isinstance(item, Mapping)
    ]  # fmt: skip


def answer(head: Tree, devices: list[dict[str, Any]]) -> dict[str, Any]:
    """The document in the shape of the NVML child's answer; `incomplete` says what is missing of it."""
    from infra_doctor_probes.nvidia_smi.text import version

    attached = whole(first(head, ("attached_gpus", "Attached GPUs")))
    missing = attached is not None and len(devices) < attached
    return {
        "driver_version": version(first(head, ("driver_version", "Driver Version")))
        or version(first(head, ("kmd_version", "KMD Version"))),
        "nvml_version": None,
        "cuda_driver_version": version(first(head, ("cuda_umd_version", "CUDA UMD Version")))
        or version(first(head, ("cuda_version", "CUDA Version"))),
        "devices": devices,
        "error": "",
        "error_code": None,
        "incomplete": f"{len(devices)} of {attached} GPUs" if missing else "",
    }
