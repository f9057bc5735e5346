"""Tables in the manner of nvidia-smi, as cnmon, efsmi, ixsmi, mx-smi, mthreads-gmi, Kunlunxin's and Intel's xpu-smi print them.

Two or three rows of bars name the columns, then each device has as many rows. Everything is found by the header's words:
what the columns are called, and which are there, depends on product and version. Known from captures, not specified."""

import re

from infra_doctor.plugin import record
from infra_doctor_probes.other_vendors.reading import (
    Reading,
    SmiText,
    address,
    aligned,
    cells,
    celsius,
    lines_of,
    number,
    refused,
    said,
    used_and_total,
    version,
)

Rows = list[list[str]]


@record
class Layout:
    """One tool's table. `title` must be found for the text to be this tool's; the versions are expressions with one group,
    found in the lines above the header. `first` is the header's first word."""

    form: str
    first: str
    title: re.Pattern[str]
    tool: re.Pattern[str] | None = None
    driver: re.Pattern[str] | None = None
    runtime: re.Pattern[str] | None = None
    others: tuple[tuple[str, re.Pattern[str]], ...] = ()
    address: str = "bus-id"
    health: str = ""
    whole_ecc_cell: bool = False


LAYOUTS = {
    "cnmon": Layout(
        form="cnmon", first="Card", title=re.compile(r"\bCNMON\b"), tool=re.compile(r"\bCNMON\s{1,9}(\S{1,40})"),
        driver=re.compile(r"\bDriver\s{1,9}(\S{1,40})"),
    ),
    "efsmi": Layout(
        form="efsmi", first="DEV", title=re.compile(r"\bEFSMI\b"), tool=re.compile(r"\bEFSMI\s{1,9}(\S{1,40})"),
        driver=re.compile(r"Driver Ver:\s{0,9}(\S{1,40})"),
    ),
    # "CUDA Version" is the level of CUDA that CoreX imitates; no rule of NVIDIA's applies to it.
    "ixsmi": Layout(
        form="ixsmi", first="GPU", title=re.compile(r"\bIX-ML:"), tool=re.compile(r"IX-ML:\s{0,9}(\S{1,40})"),
        driver=re.compile(r"Driver Version:\s{0,9}(\S{1,40})"),
        others=(("CUDA compatibility level", re.compile(r"CUDA Version:\s{0,9}(\S{1,40})")),),
    ),
    "mx-smi": Layout(
        form="mx-smi", first="Board", title=re.compile(r"\bMX-SMI\b"), tool=re.compile(r"MX-SMI\s{1,9}(\S{1,40})"),
        driver=re.compile(r"Kernel Mode Driver Version:\s{0,9}(\S{1,40})"),
        runtime=re.compile(r"MACA Version:\s{0,9}(\S{1,40})"),
        others=(("BIOS", re.compile(r"BIOS Version:\s{0,9}(\S{1,40})")),),
        health="gpu-state",
    ),
    "mthreads-gmi": Layout(
        form="mthreads-gmi", first="ID", title=re.compile(r"mthreads-gmi:"),
        tool=re.compile(r"mthreads-gmi:\s{0,9}(\S{1,40})"), driver=re.compile(r"Driver Version:\s{0,9}(\S{1,40})"),
        address="pcie", whole_ecc_cell=True,
    ),
    # Kunlunxin's P800 prints NVIDIA's table; its 515.58 is no NVIDIA driver.
    "xpu-smi (Kunlunxin)": Layout(
        form="xpu-smi (Kunlunxin)", first="XPU", title=re.compile(r"\bXPU-SMI\b[^|]{0,60}Driver Version:"),
        driver=re.compile(r"Driver Version:\s{0,9}(\S{1,40})"), runtime=re.compile(r"XPU-RT Version:\s{0,9}(\S{1,40})"),
    ),
    "xpu-smi (Intel)": Layout(
        form="xpu-smi (Intel)", first="GPU", title=re.compile(r"\bIntel XPU-SMI\b"),
        tool=re.compile(r"XPU-SMI\s{1,9}(\S{1,40})"), driver=re.compile(r"Driver:\s{0,9}(\S{1,40})"),
        runtime=re.compile(r"Level Zero:\s{0,9}(\S{1,40})"),
    ),
}  # fmt: skip


def parse_boxed(tool: str, text: str) -> SmiText:
    """Read one tool's table, whatever the text holds."""
    layout = LAYOUTS[tool]
    lines = lines_of(text)
    title = next((n for n, line in enumerate(lines) if layout.title.search(line)), None)
    if title is None:
        return refused(f"this is not the table of {layout.form}", text)
    start = next((n for n in range(title + 1, len(lines)) if is_header(lines[n], layout)), None)
    if start is None:
        return refused(f"no header row that begins with {layout.first}", text)
    header, end = rows_from(lines, start)
    above = "\n".join(lines[title:start])
    devices, problem = devices_of(lines[end:], header, layout)
    return SmiText(
        form=layout.form,
        tool_version=found_version(layout.tool, above),
        driver_version=found_version(layout.driver, above),
        runtime_version=found_version(layout.runtime, above),
        devices=tuple(devices),
        details=tuple((name, v) for name, expression in layout.others if (v := found_version(expression, above))),
        problem=problem,
    )


def is_header(line: str, layout: Layout) -> bool:
    """Whether the row names the columns: its first word, and more than one cell."""
    first = cells(line)
    return len(first) > 1 and first[0].split()[:1] == [layout.first]


def is_row(line: str) -> bool:
    """A row of cells; rules are of dashes, equal signs and plus signs."""
    return "|" in line and bool(line.strip(" |+-="))


def rows_from(lines: list[str], start: int) -> tuple[Rows, int]:
    """The rows up to the next rule, and where they end."""
    end = start
    while end < len(lines) and is_row(lines[end]):
        end += 1
    return [cells(line) for line in lines[start:end]], end


def found_version(expression: re.Pattern[str] | None, text: str) -> str | None:
    """The version that the expression finds."""
    match = expression.search(text) if expression is not None else None
    return version(match.group(1)) if match else None


def devices_of(lines: list[str], header: Rows, layout: Layout) -> tuple[list[Reading], str]:
    """The devices below the header, up to the table of processes, and why they could not be read to the end."""
    devices: list[Reading] = []
    group: Rows = []
    for line in lines:
        if "Process" in line:
            break
        if not is_row(line):
            continue
        row = cells(line)
        if len(row) != len(header[len(group)]):
            return devices, f"a row of {len(row)} cells under a header of {len(header[len(group)])}"
        group.append(row)
        if len(group) == len(header):
            device = device_of(group, header, layout)
            if device is None:
                return devices, f"unreadable rows: {' | '.join(group[0])}"[:200]
            devices.append(device)
            group = []
    if group:
        return devices, "the table ends inside a device"
    return devices, "" if devices else "a table without devices"


def device_of(rows: Rows, header: Rows, layout: Layout) -> Reading | None:
    """One device; None where its first cell has no number."""
    first = aligned(header[0][0].split(), rows[0][0])
    index = number(first.get(layout.first.lower()))
    if index is None:
        return None
    used, total = used_and_total(cell_under(rows, header, "memory-usage", "mem"))
    ecc = cell_under(rows, header, "ecc-error", "ecc")
    state = aligned(*cell_with_names(rows, header, layout.health)) if layout.health else {}
    own_driver = aligned(*cell_with_names(rows, header, "driver"))
    return Reading(
        index=index,
        name=said(first.get("name")),
        address=address(cell_under(rows, header, layout.address)),
        memory_bytes=total,
        memory_used_bytes=used,
        temperature_c=celsius(cell_under(rows, header, "temp")),
        health=said(state.get(layout.health)),
        ecc=said(ecc if layout.whole_ecc_cell or not ecc else last_word(ecc)),
        driver_version=version(own_driver.get("driver")),
        firmware_version=version(first.get("firmware") or cell_under(rows, header, "fw")),
    )


def last_word(text: str) -> str:
    """The last token: ECC is the last of the columns that share a cell."""
    return (text.split() or [""])[-1]


def cell_with_names(rows: Rows, header: Rows, *words: str) -> tuple[list[str], str]:
    """(the words of the first header cell that has one of these words, in the order given; the cell below it)."""
    for wanted in words:
        for names, row in zip(header, rows, strict=True):
            for name, cell in zip(names, row, strict=True):
                if wanted in name.lower().split():
                    return name.split(), cell
    return [], ""


def cell_under(rows: Rows, header: Rows, *words: str) -> str:
    """The text of that cell."""
    return cell_with_names(rows, header, *words)[1]
