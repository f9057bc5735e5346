"""What it costs to give work to a device, and what runs at the same time."""

from collections.abc import Iterator, Mapping
from typing import Any

from infra_doctor.plugin import BenchContext, BenchDevice, Benchmark, Expected, Job
from infra_doctor_probes.benchmarks.place import WORKER

PARTS = (("launch", "launch latency", 2.0), ("costs", "synchronisation and allocator", 2.0),
         ("in_flight", "kernels in flight", 2.0), ("overlap", "copies beside products", 3.0))  # fmt: skip


def plan(ctx: BenchContext) -> Iterator[Job]:
    """Four jobs per accelerator."""
    for device in (d for d in ctx.devices if d.kind != "cpu"):
        for call, title, estimate in PARTS:
            yield Job(
                benchmark="streams", title=f"{title} of {device.label}", call=f"streams.{call}", device=device,
                arguments={"device": {"kind": device.kind, "index": device.index}}, estimate_s=estimate, limit_s=60,
            )  # fmt: skip


def expect(ctx: BenchContext, device: BenchDevice | None, result: Mapping[str, Any]) -> Expected | None:
    """Latencies depend on the host's processor and the driver: nothing is expected of them."""
    return None


BENCHMARKS = (Benchmark(id="streams", title="launches, overlap", worker=WORKER, plan=plan, expect=expect),)
