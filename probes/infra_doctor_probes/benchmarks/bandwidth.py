"""Copies between host and device, within a device, between devices, within the host."""

from collections.abc import Iterator, Mapping
from typing import Any

from infra_doctor.plugin import BenchContext, BenchDevice, Benchmark, Expected, Job, Suite
from infra_doctor_probes.benchmarks.peaks import memory_peak, pcie_peak
from infra_doctor_probes.benchmarks.place import WORKER

MIB = 1 << 20
LARGE = {Suite.QUICK: 256 * MIB, Suite.DEFAULT: 512 * MIB, Suite.FULL: 1024 * MIB}
SWEEP = tuple(4096 << n for n in range(0, 21, 2))  # 4 KiB … 4 GiB


def plan(ctx: BenchContext) -> Iterator[Job]:
    """Each device against the host, then by itself, then each pair."""
    size = LARGE[ctx.suite]
    sizes = [size] if ctx.suite is not Suite.FULL else sorted({*SWEEP, size})
    devices = [d for d in ctx.devices if d.kind != "cpu"]
    for device in devices:
        told = {"kind": device.kind, "index": device.index}
        yield Job(
            benchmark="bandwidth", title=f"host and {device.label}, pinned", call="bandwidth.host_device",
            arguments={"device": told, "sizes": sizes, "memory": "pinned"}, device=device,
            estimate_s=1.5 * len(sizes), limit_s=20 + 10 * len(sizes),
        )  # fmt: skip
        if ctx.suite is not Suite.QUICK:
            yield Job(
                benchmark="bandwidth", title=f"host and {device.label}, pageable", call="bandwidth.host_device",
                arguments={"device": told, "sizes": [size], "memory": "pageable", "both": False}, device=device,
                estimate_s=6, limit_s=60,
            )  # fmt: skip
        yield Job(
            benchmark="bandwidth", title=f"within {device.label}", call="bandwidth.device_local",
            arguments={"device": told, "sizes": [4 * size] if len(sizes) == 1 else [s for s in sizes if s <= 4 * size]},
            device=device, estimate_s=1, limit_s=30,
        )  # fmt: skip
    for one in devices:
        for other in devices:
            if one.index != other.index and one.kind == other.kind:
                yield Job(
                    benchmark="bandwidth", title=f"{one.label} to {other.label}", call="bandwidth.peer",
                    arguments={"device": {"kind": one.kind, "index": one.index},
                               "other": {"kind": other.kind, "index": other.index}, "sizes": [size]},
                    device=one, estimate_s=1, limit_s=30,
                )  # fmt: skip
    yield Job(
        benchmark="bandwidth", title="host memory", call="bandwidth.host_memory",
        arguments={"size": size if ctx.suite is not Suite.QUICK else 64 * MIB}, estimate_s=2, limit_s=60,
    )  # fmt: skip


def expect(ctx: BenchContext, device: BenchDevice | None, result: Mapping[str, Any]) -> Expected | None:
    """The bus or the memory of the device; small copies are bound by their launch and have no expectation."""
    name, size = str(result["name"]), int(result.get("size_bytes") or 0)
    if device is None or size < 64 * MIB:
        return None
    if name.startswith("device_local"):
        return memory_peak(ctx, device)
    if name.startswith(("host_to_device pinned", "device_to_host pinned")):
        return pcie_peak(ctx, device)
    return None


BENCHMARKS = (Benchmark(id="bandwidth", title="copies between memories", worker=WORKER, plan=plan, expect=expect),)
