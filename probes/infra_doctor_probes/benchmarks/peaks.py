"""What a device should reach: its published peak for a number format, its memory's and its bus's bandwidth.

A device is found in the table `gpu_peaks` by its name's words, its memory and its number of multiprocessors; where that leaves
no row, or several that differ, nothing is expected. A peak is no promise: `LOW` says which share of it a healthy device
stays above, from measurements on healthy devices (docs/benchmarks.md)."""

import re

from infra_doctor.plugin import BenchContext, BenchDevice, Expected, Row
from infra_doctor_probes.tables.common import rows

# Share of the peak below which something is wrong with a healthy device's clocks, memory or library.
# Measured on H200: copies 0.88, memory 0.89, fp64 0.94, fp32 0.77, tf32 0.70-0.74, fp16 and bf16 0.67-0.80, fp8 0.64.
LOW_MEMORY, LOW_BUS = 0.75, 0.7
# torch's integer product takes the first of cuBLASLt's candidates, which reaches 0.40 to 0.48 on a healthy H200.
LOW_COMPUTE = {"fp64": 0.6, "fp32": 0.6, "tf32": 0.5, "fp16": 0.5, "bf16": 0.5, "fp8": 0.45, "int8": 0.3}
# Words that tell boards of one chip from each other; where the table's name has one and the device's has not, they differ.
# "SXM" is not among them: NVML's names leave it out ("NVIDIA H200").
BOARDS = {"pcie", "nvl", "ti", "super", "d", "max", "server", "workstation", "laptop", "ada", "pro"}
# Bytes a second of a bus with 16 lanes, one way, by generation, come from the table `interconnect`.
COLUMN = {"fp64": "fp64tc_tflops", "fp32": "fp32_tflops", "tf32": "tf32_tflops", "fp16": "fp16_tflops", "bf16": "bf16_tflops",
          "fp8": "fp8_tflops", "int8": "int8_tflops"}  # fmt: skip


def peak_row(device: BenchDevice) -> Row | None:
    """The device's row of `gpu_peaks`; None where none fits, or several that are not the same board."""
    seen = words(device.name)
    found = []
    for row in rows("gpu_peaks"):
        wanted = [w for w in words(re.sub(r"\(.*?\)|\b\d+(/\d+)?GB\b", "", row["name"])) if not w.startswith("sxm")]
        if not wanted or not set(wanted) <= set(seen) or (set(seen) & BOARDS) - set(wanted):
            continue
        if row["cc"] and device.properties.get("compute_capability") not in {None, row["cc"]}:
            continue
        if row["sms"] and device.properties.get("multi_processor_count") not in {None, int(row["sms"])}:
            continue
        if not memory_fits(row["mem_gb"], device.properties.get("memory_bytes")):
            continue
        found.append(row)
    return found[0] if len(found) == 1 else None


def words(name: str) -> list[str]:
    """`NVIDIA H100 80GB HBM3` → nvidia, h100, 80gb, hbm3."""
    return re.findall(r"[a-z0-9]+", name.casefold())


def memory_fits(listed: str, seen_bytes: object) -> bool:
    """Whether a size of the table (in GB, "180/192" for either) is that of the device, less what the driver keeps."""
    if not isinstance(seen_bytes, int) or not listed:
        return True
    return any(0.88 <= seen_bytes / (float(size) * 1e9) <= 1.08 for size in listed.split("/"))


def compute_peak(ctx: BenchContext, device: BenchDevice, dtype: str) -> Expected | None:
    """FLOP/s (OP/s) of dense products in this format. fp64 is that of the tensor cores where there are some."""
    row = peak_row(device)
    column = COLUMN.get(dtype)
    if row is None or column is None:
        return None
    text = row[column] or (row["fp64_tflops"] if dtype == "fp64" else "")
    return expected(float(text) * 1e12, f"peak of the {row['name']}", row, LOW_COMPUTE[dtype]) if text else None


def memory_peak(ctx: BenchContext, device: BenchDevice) -> Expected | None:
    """B/s of a copy within the device: half of what its memory moves, as each byte is read and written."""
    row = peak_row(device)
    if row is None or not row["bw_gbs"]:
        return None
    return expected(
        float(row["bw_gbs"]) * 1e9 / 2, f"half of the memory's {row['bw_gbs']} GB/s, {row['name']}", row, LOW_MEMORY
    )


def pcie_peak(ctx: BenchContext, device: BenchDevice) -> Expected | None:
    """B/s one way of the bus that the board is made for."""
    row = peak_row(device)
    shape = re.fullmatch(r"(\d)\.0 x(\d+)", row["pcie"]) if row is not None else None
    if row is None or shape is None:
        return None
    for bus in rows("interconnect"):
        if (bus["kind"], bus["gen"], bus["lanes"]) == ("pcie", shape.group(1), shape.group(2)):
            return expected(
                float(bus["uni_gbs"]) * 1e9, f"PCI Express {row['pcie']} one way, {row['name']}", row, LOW_BUS
            )
    return None


def expected(value: float, what: str, row: Row, low: float) -> Expected:
    """With the row's source; an uncertain row gives no warning."""
    return Expected(value=value, source=f"{what}: {row.source}", low=low if row.certain else 0.0)
