"""Monitors: live readings of devices, taken by a child process while something else runs."""

from collections.abc import Mapping
from dataclasses import field

from infra_doctor.model.record import record


@record
class Monitor:
    """Reads one vendor's devices. `module` is imported in a child process; its `main(interval_s)` writes a JSON line per tick
    to standard output until it is ended: {"time_ns": CLOCK_MONOTONIC, "devices": [{"address": PCI address, …}]}. Values
    in a device's entry have their unit in their name (`sm_clock_mhz`, `power_w`, `temperature_c`, `memory_used_bytes`);
    `throttle` is a list of reasons, `processes` a list of process ids. `harmful` are the reasons of `throttle` that are a
    fault of the machine (heat, power supply), not a condition that it runs under."""

    id: str
    title: str
    module: str
    harmful: tuple[str, ...] = ()


@record
class Reading:
    """One device at one time."""

    time_ns: int
    address: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    throttle: tuple[str, ...] = ()
    processes: tuple[int, ...] = ()
