"""Measurements in words: values with the prefix that people use, names without machine spelling."""

import re

from infra_doctor.model.report import Measurement
from infra_doctor.model.wording import size

PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
SMALL = ((1.0, "s", 1.0), (1e-3, "ms", 1e3), (1e-6, "µs", 1e6), (0.0, "ns", 1e9))


def quantity(value: float, unit: str) -> str:
    """`55.5 GB/s`, `686 TFLOP/s`, `6.18 µs`: three digits that count, decimal prefixes as the field's tools print them."""
    if unit == "s":
        factor, name = next((f, n) for least, n, f in SMALL if abs(value) >= least)
        return f"{digits(value * factor)} {name}"
    if unit not in {"B/s", "FLOP/s", "OP/s"}:
        return f"{value:.4g} {unit}"
    least, prefix = next(((p, n) for p, n in PREFIXES if abs(value) >= p), PREFIXES[-1])
    return f"{digits(value / least)} {prefix}{unit}"


def digits(value: float) -> str:
    """Three digits that count, more where they stand before the point."""
    whole = len(str(int(abs(value))))
    return f"{value:.{max(0, 3 - whole)}f}"


def measured_name(m: Measurement) -> str:
    """`host to device, pinned, 256 MiB` for "host_to_device pinned 268435456"; shapes stay as they are."""
    words = m.name.split(" ")
    if words and re.fullmatch(r"\d{4,}", words[-1]):
        words[-1] = size(int(words[-1])).replace(".0 ", " ")
    other = m.conditions.get("other")
    if isinstance(other, int):
        words.append(f"other device {other}")
    return ", ".join(w.replace("_", " ") for w in words) if len(words) > 2 or "_" in m.name else " ".join(words)


def share(m: Measurement) -> str:
    """`88 % of 63.0 GB/s`, empty where nothing is expected."""
    if m.ratio is None or m.expected is None:
        return ""
    return f"{m.ratio:.0%} of {quantity(m.expected, m.unit)}"
