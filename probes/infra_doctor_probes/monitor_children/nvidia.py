"""NVML, read at an interval: clocks, power, temperature, load, memory, why clocks are held down, who uses the device.

A field that a device does not support is left out. Facts: nvmlDeviceGet* of NVIDIA's NVML API reference, by nvidia-ml-py."""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from infra_doctor_probes.children.nvml_state import throttle


def main(interval_s: float) -> None:
    """Write a line per tick until standard output is gone."""
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    try:
        import pynvml as nvml

        nvml.nvmlInit()
        handles = [nvml.nvmlDeviceGetHandleByIndex(n) for n in range(nvml.nvmlDeviceGetCount())]
    except Exception as error:  # noqa: BLE001  no library, no driver, an old binding: said, and nothing to read
        out.write((json.dumps({"error": f"{type(error).__name__}: {error}"[:300], "devices": []}) + "\n").encode())
        return
    addresses = [address(nvml, handle) for handle in handles]
    unsupported: list[set[str]] = [set() for _ in handles]
    while True:
        began = time.monotonic_ns()
        devices = [
            {"address": a, **reading(nvml, h, u)} for a, h, u in zip(addresses, handles, unsupported, strict=True)
        ]
        try:
            out.write((json.dumps({"time_ns": began, "devices": devices}) + "\n").encode())
        except OSError:
            return
        time.sleep(max(0.0, interval_s - (time.monotonic_ns() - began) / 1e9))
        if os.getppid() == 1:  # whoever started us is gone
            sys.exit(0)


def address(nvml: Any, handle: Any) -> str:
    """`0000:17:00.0`."""
    info = nvml.nvmlDeviceGetPciInfo(handle)
    return f"{info.domain:04x}:{info.bus:02x}:{info.device:02x}.0"


def reading(nvml: Any, handle: Any, unsupported: set[str]) -> dict[str, Any]:
    """What the device says now; what it does not support is asked once."""
    asks: dict[str, Callable[[], Any]] = {
        "sm_clock_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
        "memory_clock_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM),
        "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
        "temperature_c": lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
        "load_percent": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
        "memory_used_bytes": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used,
        "throttle": lambda: throttle(nvml, handle),
        "processes": lambda: [p.pid for p in nvml.nvmlDeviceGetComputeRunningProcesses(handle)],
    }
    found = {}
    for name, ask in asks.items():
        if name in unsupported:
            continue
        try:
            found[name] = ask()
        except nvml.NVMLError_NotSupported:
            unsupported.add(name)
        except nvml.NVMLError:
            pass  # a reading that fails now may work at the next tick
    return found
