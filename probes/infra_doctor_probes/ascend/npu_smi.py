"""The text of `npu-smi info`, parsed by its header row. Known from captures of npu-smi 1.8 to 26.0, not specified.

The first number of the title is the tool's version, `Version:` the driver's; they can differ. Each chip is two rows: id and
name, health, power …; then chip id, bus, memory. What the second row's columns are called, and which are there, depends on
product and version. A table of another form gives no chips and a `problem`, never a guess."""

import re
from dataclasses import replace

from infra_doctor.plugin import record
from infra_doctor_probes.ascend.state import Reading

TEXT_CAP = 1 << 18  # a table of 16 chips and 1,000 processes is 100 KB
_TITLE = re.compile(r"npu-smi\s+([\w.+-]{1,40})(?:\s+Version:\s*([\w.+-]{1,40}))?")
_ADDRESS = re.compile(r"[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]")
_CODE = re.compile(r"\bret(?: is|:|=)?\s*(-\d{1,6})")
# Printed before the real error by the driver's logging.
_NOISE = ("DrvMng",)


@record
class Chip:
    """One chip as a tool names it. `npu_id` is the card's number, kept from the host and not counted from 0; `address` is
    "0000:c1:00.0", None where the tool shows none (`NA`); `memory_bytes` is that of HBM, else DDR."""

    npu_id: int
    chip_id: int
    name: str
    health: str | None = None
    address: str | None = None
    memory_bytes: int | None = None
    physical_id: int | None = None
    soc: str | None = None  # the name by which CANN's runtime knows the chip ("Ascend910_9391"), where the tool says it
    reading: Reading | None = None


@record
class NpuSmiText:
    """What the text says. `error` is the tool's own last line where it has no table, `error_code` its "ret is" number;
    `problem` says why a table could not be read."""

    tool_version: str | None = None
    driver_version: str | None = None
    chips: tuple[Chip, ...] = ()
    error: str = ""
    error_code: int | None = None
    problem: str = ""


def parse_npu_smi(text: str) -> NpuSmiText:
    """Read the answer of `npu-smi info`, whatever it holds."""
    lines = [line.strip()[:400] for line in text[:TEXT_CAP].splitlines()]
    title = next((m for line in lines if line.startswith("|") and (m := _TITLE.search(line))), None)
    if title is None:
        return error_text(lines)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    chips, problem = chips_of(rows)
    held = processes_of(rows)
    if held is not None:
        chips = [with_processes(chip, held.get((chip.npu_id, chip.chip_id), ())) for chip in chips]
    return NpuSmiText(tool_version=title.group(1), driver_version=title.group(2), chips=tuple(chips), problem=problem)


def chips_of(rows: list[list[str]]) -> tuple[list[Chip], str]:
    """The chips of the table's rows, and why it could not be read (to its end)."""
    start = next((n for n, row in enumerate(rows) if is_header(row)), None)
    if start is None or start + 1 >= len(rows):
        return [], "no header row with NPU, Name and Health"
    names, more_names = header_names(rows[start]), header_names(rows[start + 1])
    if len(names) != len(more_names) or more_names[0][0] != "Chip" or "Bus-Id" not in more_names[1]:
        return [], f"unknown columns: {' '.join(' '.join(n) for n in more_names)}"[:200]
    chips: list[Chip] = []
    first: list[str] | None = None
    for row in rows[start + 2 :]:
        if is_process_header(row):
            break
        if len(row) != len(names):
            return [], f"a row of {len(row)} cells under a header of {len(names)}"
        if first is None:
            first = row
            continue
        chip = chip_of(dict(zip_cells(names, first)), dict(zip_cells(more_names, row)))
        if chip is None:
            return [], f"unreadable rows: {' | '.join((*first, *row))}"[:300]
        chips.append(chip)
        first = None
    return chips, "the table ends inside a chip" if first is not None else "" if chips else "a table without chips"


def is_process_header(row: list[str]) -> bool:
    """`NPU  Chip | Process id | Process name | Process memory(MB)`."""
    return row[0].split()[:1] == ["NPU"] and "Process id" in row


def processes_of(rows: list[list[str]]) -> dict[tuple[int, int], tuple[tuple[int, int], ...]] | None:
    """(pid, bytes) by (card, chip); None where the table of processes is not there."""
    start = next((n for n, row in enumerate(rows) if is_process_header(row)), None)
    if start is None:
        return None
    names = rows[start]
    found: dict[tuple[int, int], tuple[tuple[int, int], ...]] = {}
    for row in rows[start + 1 :]:
        cells = dict(zip(names, row, strict=False))
        ids, pid, memory = row[0].split(), cells.get("Process id", ""), cells.get("Process memory(MB)", "")
        if len(ids) == 2 and all(is_number(n) for n in (*ids, pid, memory)):
            place = (int(ids[0]), int(ids[1]))
            found[place] = (*found.get(place, ()), (int(pid), int(memory) << 20))
    return found


def with_processes(chip: Chip, held: tuple[tuple[int, int], ...]) -> Chip:
    """The chip with what its processes hold."""
    return replace(chip, reading=replace(chip.reading or Reading(), processes=held[:64]))


def error_text(lines: list[str]) -> NpuSmiText:
    """The last line that says something, and the code in it."""
    said = [line for line in lines if line and not line.startswith(_NOISE)] or [line for line in lines if line]
    error = said[-1][:200] if said else "no output"
    code = _CODE.search(error)
    return NpuSmiText(error=error, error_code=int(code.group(1)) if code else None)


def is_header(row: list[str]) -> bool:
    """`NPU  Name | Health | Power(W) …`."""
    return row[0].split()[:2] == ["NPU", "Name"] and any("Health" in cell for cell in row)


def header_names(row: list[str]) -> list[list[str]]:
    """The column names of each cell; none holds a blank."""
    return [cell.split() or [""] for cell in row]


def zip_cells(names: list[list[str]], row: list[str]) -> list[tuple[str, str]]:
    """(column name, value). "29954/ 65536" is one value; a name that has blanks ("Ascend 910A") keeps them."""
    found: list[tuple[str, str]] = []
    for cell_names, cell in zip(names, row, strict=True):
        values = re.sub(r"\s*/\s*", "/", cell).split()
        if cell_names[-1] == "Name" and len(values) > len(cell_names):
            values = [*values[: len(cell_names) - 1], " ".join(values[len(cell_names) - 1 :])]
        found += zip(cell_names, values, strict=False)
    return found


def chip_of(first: dict[str, str], second: dict[str, str]) -> Chip | None:
    """The chip of two rows, None where its ids are no numbers."""
    npu_id, chip_id, name = first.get("NPU", ""), second.get("Chip", ""), first.get("Name", "")
    if not (npu_id.isdecimal() and chip_id.isdecimal() and name):
        return None
    physical = second.get("Phy-ID", "")
    address = second.get("Bus-Id", "")
    used, memory = usage_of(second)
    health = first.get("Health") or None
    return Chip(
        npu_id=int(npu_id[:9]),
        chip_id=int(chip_id[:9]),
        name=name[:60],
        health=health,
        address=address.lower() if _ADDRESS.fullmatch(address) else None,
        memory_bytes=memory << 20 if memory else None,
        physical_id=int(physical[:9]) if physical.isdecimal() else None,
        reading=Reading(
            health=health[:60] if health else None,
            temperature_c=int(temperature) if is_number(temperature := first.get("Temp(C)", "")) else None,
            power_w=watts(first.get("Power(W)", "")),
            aicore_percent=int(load) if is_number(load := second.get("AICore(%)", "")) else None,
            memory_used_bytes=used << 20 if memory else None,
            memory_bytes=memory << 20 if memory else None,
        ),
    )


def usage_of(row: dict[str, str]) -> tuple[int, int]:
    """MB used and there of HBM, of DDR on products without it; (0, 0) where neither is said."""
    for name in ("HBM-Usage(MB)", "Memory-Usage(MB)"):
        used, slash, total = row.get(name, "").partition("/")
        if slash and is_number(used) and is_number(total) and int(total):
            return int(used), int(total)
    return 0, 0


def is_number(text: str) -> bool:
    """Whether this is a plain number of a sane length."""
    return text.isdecimal() and text.isascii() and len(text) < 12


def watts(text: str) -> float | None:
    """A power; 0.0 is what products print that do not measure it."""
    found = float(text) if re.fullmatch(r"\d{1,5}\.\d{1,3}", text) else 0.0
    return found or None
