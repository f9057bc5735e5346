"""Collective operations between all devices of this machine, one process each."""

from collections.abc import Iterator, Mapping
from typing import Any

from infra_doctor.plugin import BenchContext, BenchDevice, Benchmark, Expected, Job, Suite
from infra_doctor_probes.benchmarks.place import WORKER

MIB = 1 << 20
OPERATIONS = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "send_recv")
QUICK = ("all_reduce", "all_to_all")
SIZES = {
    Suite.QUICK: (1024, 64 * MIB, 1024 * MIB),
    Suite.DEFAULT: (1024, 64 * 1024, MIB, 16 * MIB, 256 * MIB, 1024 * MIB),
    Suite.FULL: tuple(1024 << n for n in range(24)),  # 1 KiB … 8 GiB
}
# Two processes on a CPU show that the path works; their speed is that of the host's memory.
CPU_SIZES, CPU_RANKS = (1024, MIB), 2


def plan(ctx: BenchContext) -> Iterator[Job]:
    """One job per kind of device with two or more of it, and per operation, so that one that hangs costs itself alone."""
    for kind in dict.fromkeys(d.kind for d in ctx.devices):
        devices = [d for d in ctx.devices if d.kind == kind]
        ranks = CPU_RANKS if kind == "cpu" and len(ctx.devices) == 1 else len(devices)
        if ranks < 2:
            continue
        sizes = CPU_SIZES if kind == "cpu" else SIZES[ctx.suite]
        for name in QUICK if ctx.suite is Suite.QUICK else OPERATIONS:
            yield Job(
                benchmark="collectives", title=f"{name} between {ranks} {kind} processes", call="collectives.measure",
                arguments={"kind": kind, "operations": [name], "sizes": list(sizes)}, processes=ranks,
                estimate_s=8 + 0.5 * len(sizes), limit_s=90 + 5 * len(sizes),
            )  # fmt: skip


def expect(ctx: BenchContext, device: BenchDevice | None, result: Mapping[str, Any]) -> Expected | None:
    """Not known yet: it depends on links, their number and NVLS."""
    return None


BENCHMARKS = (Benchmark(id="collectives", title="operations between devices", worker=WORKER, plan=plan, expect=expect),)
