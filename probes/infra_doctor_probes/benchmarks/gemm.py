"""Matrix products by number format."""

from collections.abc import Iterator, Mapping
from typing import Any

from infra_doctor.plugin import BenchContext, BenchDevice, Benchmark, Expected, Job, Suite
from infra_doctor_probes.benchmarks.peaks import compute_peak
from infra_doctor_probes.benchmarks.place import WORKER

FORMATS = ("fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "int8")
QUICK = ("fp32", "tf32", "fp16", "bf16", "fp8", "int8")
# fp8 from compute capability 8.9 on, bf16 and tf32 from 8.0 on (CUDA C++ Programming Guide, table of arithmetic throughput).
FROM_CAPABILITY = {"tf32": (8, 0), "bf16": (8, 0), "fp8": (8, 9), "int8": (7, 5)}
SQUARE = 8192
# A CPU's products are three orders of magnitude slower.
CPU_SQUARE, CPU_FORMATS = 512, ("fp64", "fp32", "bf16")


def plan(ctx: BenchContext) -> Iterator[Job]:
    """One job per device and format."""
    wanted = ctx.options.get("shapes") or ()
    accelerators = [d for d in ctx.devices if d.kind != "cpu"]
    for device in accelerators or ctx.devices:
        size = CPU_SQUARE if device.kind == "cpu" else SQUARE
        shapes = [list(s) for s in wanted] or [[size, size, size]]
        for dtype in formats(ctx, device):
            yield Job(
                benchmark="gemm", title=f"{dtype} on {device.label}", call="gemm.square",
                arguments={"device": {"kind": device.kind, "index": device.index}, "dtype": dtype, "shapes": shapes},
                device=device, estimate_s=1.2 * len(shapes), limit_s=30 + 20 * len(shapes),
            )  # fmt: skip


def formats(ctx: BenchContext, device: BenchDevice) -> tuple[str, ...]:
    """The formats that this device has in hardware, as far as its capability tells."""
    if device.kind == "cpu":
        return CPU_FORMATS
    names = QUICK if ctx.suite is Suite.QUICK else FORMATS
    text = str(device.properties.get("compute_capability", ""))
    capability = tuple(int(p) for p in text.split(".")) if text.replace(".", "").isdigit() else None
    return tuple(n for n in names if capability is None or capability >= FROM_CAPABILITY.get(n, (0, 0)))


def expect(ctx: BenchContext, device: BenchDevice | None, result: Mapping[str, Any]) -> Expected | None:
    """The published peak of the device in this format, for products that are large enough to reach it."""
    shape = result.get("shape") or (0,)
    if device is None or min(shape) < 4096:
        return None
    return compute_peak(ctx, device, str(result.get("dtype")))


BENCHMARKS = (Benchmark(id="gemm", title="matrix products", worker=WORKER, plan=plan, expect=expect),)
