"""Benchmarks: what can be measured, what the worker is asked for, what it says."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from enum import StrEnum
from typing import Any

from infra_doctor.model.component import Component, Target
from infra_doctor.model.record import record


class Suite(StrEnum):
    """How much is measured."""

    QUICK = "quick"
    DEFAULT = "default"
    FULL = "full"


@record
class BenchDevice:
    """A device as the target's library sees it. `key` is that of the component on this machine, None where it could not be
    told. `properties` are the library's own: name, memory_bytes, compute_capability, multi_processor_count …"""

    kind: str  # "cuda" (NVIDIA, and AMD by ROCm), "npu", "xpu", "cpu"
    index: int
    name: str
    key: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """`cuda:0`, `cpu`."""
        return self.kind if self.kind == "cpu" else f"{self.kind}:{self.index}"


@record
class Job:
    """One request to the worker. `call` is "module.function" in it; `device` is what is measured (None: the host).
    The job is ended after `limit_s`; `estimate_s` is for the time that is left. With `processes` it runs in as many of them, one
    per device, as torchrun starts them."""

    benchmark: str
    title: str
    call: str
    arguments: Mapping[str, Any]
    device: BenchDevice | None = None
    estimate_s: float = 5.0
    limit_s: float = 60.0
    processes: int = 0


@record
class Expected:
    """What a value should be at the least on such a device, and who says so. `low` is the share of it below which it is a
    warning: 0.9 where the value is another's measurement on such a machine, lower for a theoretical peak."""

    value: float
    source: str
    low: float


@record
class BenchContext:
    """What a benchmark plans by: devices, components of the machine and target, the suite, the user's options."""

    devices: tuple[BenchDevice, ...]
    components: tuple[Component, ...]
    target: Target
    suite: Suite
    options: Mapping[str, Any] = field(default_factory=dict)


@record
class Benchmark:
    """A named group of measurements. `plan` gives the jobs for what is there; `expect` what a result should be on a device
    (None: not known): it gets the device and the result as the worker said it. `worker` is the path of the file that the
    target's interpreter runs: it reads requests and writes events as JSON lines."""

    id: str
    title: str
    worker: str
    plan: Callable[[BenchContext], Iterable[Job]]
    expect: Callable[[BenchContext, BenchDevice | None, Mapping[str, Any]], Expected | None]
