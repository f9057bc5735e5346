"""The table of `ascend-dmi -f`, the compute measurement of Huawei's DMI tool: for comparing our own measurement with.

Known from two captures; the columns differ in width and in thousands separators."""

import re

from infra_doctor.plugin import record

TEXT_CAP, LINE_CAP = 1 << 20, 2000
_FLOPS = re.compile(r"TFLOPS@(\w{1,12})")
_COLUMNS = re.compile(r"[ \t]{2,}")


@record
class Flops:
    """One row: `device` is a number or "all"."""

    device: str
    precision: str  # "FP16"
    flop_per_s: float
    duration_ns: int
    power_w: float | None


@record
class FlopsTable:
    """The rows; `problem` says why there are none."""

    rows: tuple[Flops, ...] = ()
    problem: str = ""


def parse_flops(text: str) -> FlopsTable:
    """Read the table, whatever it holds."""
    lines = [line.strip()[:400] for line in text[:TEXT_CAP].splitlines()[:LINE_CAP]]
    start = next((n for n, line in enumerate(lines) if line.startswith("Device") and _FLOPS.search(line)), None)
    if start is None:
        return FlopsTable(problem="no header with Device and TFLOPS")
    names = _COLUMNS.split(lines[start])
    column = next((name for name in names if _FLOPS.fullmatch(name)), "")
    found = []
    for line in lines[start + 1 :]:
        row = dict(zip(names, _COLUMNS.split(line), strict=False))
        tera, duration = number(row.get(column, "")), number(row.get("Duration(ms)", ""))
        if tera is None or duration is None or not re.fullmatch(r"\d{1,6}|all", row.get("Device", "")):
            continue
        flops = Flops(
            device=row["Device"], precision=column.partition("@")[2], flop_per_s=tera * 1e12,
            duration_ns=round(duration * 1e6), power_w=number(row.get("Power(W)", "")),
        )  # fmt: skip
        found.append(flops)
    return FlopsTable(rows=tuple(found), problem="" if found else "a table without rows")


def number(text: str) -> float | None:
    """ "600,000,000" or "88.475"."""
    plain = text.replace(",", "")
    return float(plain) if re.fullmatch(r"\d{1,15}(?:\.\d{1,15})?", plain) else None
