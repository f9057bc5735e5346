"""Which row of the peak table a device is: the names are those that NVML and torch print for real boards."""

import pytest

from infra_doctor.plugin import BenchContext, BenchDevice, Suite, Target
from infra_doctor_probes.benchmarks import bandwidth, gemm
from infra_doctor_probes.benchmarks.peaks import compute_peak, memory_peak, pcie_peak, peak_row

GB = 10**9
TARGET = Target(key="target:/v", prefix="/v", executable="/v/bin/python", kind="venv")


def device(name: str, cc: str = "", sms: int = 0, memory: float = 0.0) -> BenchDevice:
    found = {"compute_capability": cc, "multi_processor_count": sms, "memory_bytes": int(memory * GB)}
    return BenchDevice(kind="cuda", index=0, name=name, properties={k: v for k, v in found.items() if v})


def context(*devices: BenchDevice, suite: Suite = Suite.DEFAULT) -> BenchContext:
    return BenchContext(devices=devices, components=(), target=TARGET, suite=suite)


H200 = device("NVIDIA H200", "9.0", 132, 150.1)


@pytest.mark.parametrize(
    ("seen", "row"),
    [
        (H200, "H200 SXM 141GB"),
        (device("NVIDIA H200 NVL", "9.0", 132, 150.1), "H200 NVL 141GB"),
        (device("NVIDIA H100 80GB HBM3", "9.0", 132, 85.0), "H100 SXM5 80GB"),
        (device("NVIDIA H100 PCIe", "9.0", 114, 85.0), "H100 PCIe 80GB"),
        (device("NVIDIA H100 NVL", "9.0", 132, 100.0), "H100 NVL 94GB"),
        (device("NVIDIA A100-SXM4-80GB", "8.0", 108, 85.0), "A100 SXM4 80GB"),
        (device("NVIDIA A100-SXM4-40GB", "8.0", 108, 42.4), "A100 SXM4 40GB"),
        (device("NVIDIA A100 80GB PCIe", "8.0", 108, 85.0), "A100 PCIe 80GB"),
        (device("NVIDIA GeForce RTX 4090", "8.9", 128, 25.2), "GeForce RTX 4090"),
        (device("NVIDIA GeForce RTX 4090 D", "8.9", 114, 25.2), "GeForce RTX 4090 D"),
        (device("NVIDIA GeForce RTX 3070 Ti", "8.6", 48, 8.4), "GeForce RTX 3070 Ti"),
        (device("NVIDIA L4", "8.9", 58, 23.7), "L4"),
        (device("NVIDIA L40S", "8.9", 142, 47.7), "L40S"),
        (device("Tesla T4", "7.5", 40, 15.6), "T4"),
        (device("NVIDIA GeForce RTX 4090 Laptop GPU", "8.9", 76, 16.9), None),
        (device("NVIDIA H300", "9.0", 132, 150.0), None),
        (device("NVIDIA H200", "9.0", 66, 75.0), None),  # half of one
        (device("AMD Instinct MI300X", "", 304, 206.0), "MI300X"),
    ],
)
def test_boards_by_the_names_that_drivers_give(seen: BenchDevice, row: str | None) -> None:
    found = peak_row(seen)
    assert (found["name"] if found else None) == row


def test_what_an_h200_should_reach() -> None:
    ctx = context(H200)
    for dtype, tflops in (("bf16", 989.4), ("fp64", 66.9), ("fp32", 66.9), ("int8", 1978.9)):
        found = compute_peak(ctx, H200, dtype)
        assert found is not None and found.value == pytest.approx(tflops * 1e12) and 0 < found.low < 1 and found.source
    memory, bus = memory_peak(ctx, H200), pcie_peak(ctx, H200)
    assert memory is not None and memory.value == 2.4e12
    assert bus is not None and bus.value == 63e9


def test_an_uncertain_row_gives_no_warning() -> None:
    nvl = device("NVIDIA H200 NVL", "9.0", 132, 150.1)
    found = compute_peak(context(nvl), nvl, "bf16")
    assert found is not None and found.low == 0.0


def test_small_sizes_and_shapes_have_no_expectation() -> None:
    ctx = context(H200)
    assert bandwidth.expect(ctx, H200, {"name": "host_to_device pinned 4096", "size_bytes": 4096}) is None
    assert bandwidth.expect(ctx, H200, {"name": "host_to_device pageable 536870912", "size_bytes": 1 << 29}) is None
    assert bandwidth.expect(ctx, H200, {"name": "host_to_device pinned 536870912", "size_bytes": 1 << 29}) is not None
    assert gemm.expect(ctx, H200, {"name": "x", "shape": [128, 8192, 8192], "dtype": "bf16"}) is None


def test_the_plan_follows_what_is_there() -> None:
    v100 = device("Tesla V100-SXM2-16GB", "7.0", 80, 16.9)
    assert gemm.formats(context(v100), v100) == ("fp64", "fp32", "fp16")
    assert "fp8" in gemm.formats(context(H200), H200) and "fp64" not in gemm.formats(
        context(H200, suite=Suite.QUICK), H200
    )
    cpu = BenchDevice(kind="cpu", index=0, name="CPU")
    assert [j.call for j in bandwidth.plan(context(cpu))] == ["bandwidth.host_memory"]
    assert all(j.device == H200 for j in gemm.plan(context(H200, cpu)))
    pair = (H200, BenchDevice(kind="cuda", index=1, name="NVIDIA H200"))
    peers = [j.arguments for j in bandwidth.plan(context(*pair, cpu)) if j.call == "bandwidth.peer"]
    assert [(a["device"]["index"], a["other"]["index"]) for a in peers] == [(0, 1), (1, 0)]
