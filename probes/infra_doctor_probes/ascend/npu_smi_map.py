"""The tables of `npu-smi info -m` (which ids a chip has) and `-t topo` (how chips are connected). One capture each: another
form gives nothing and a `problem`, never a guess."""

import re

from infra_doctor.plugin import record

TEXT_CAP, ROW_CAP = 1 << 20, 2000
_COLUMNS = re.compile(r"[ \t]{2,}|\t")
_NPU = re.compile(r"NPU\d{1,4}")
CONNECTIONS = ("HCCS", "SYS", "PHB", "PIX", "PXB", "SIO", "HCCS_SW", "X", "NA")


@record
class MappedChip:
    """One row of `-m`; `logic_id` is None for a controller (`-`)."""

    npu_id: int
    chip_id: int
    logic_id: int | None
    name: str


@record
class ChipMap:
    """What `-m` says."""

    chips: tuple[MappedChip, ...] = ()
    problem: str = ""


@record
class Topology:
    """`npus` in order; `rows` are the connections of each to all ("HCCS", "SYS", "X" for itself); `affinity` is each one's
    CPU list."""

    npus: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    affinity: tuple[str, ...] = ()
    problem: str = ""


def parse_map(text: str) -> ChipMap:
    """Read `npu-smi info -m`; columns are known by their header, NPU ID, Chip ID, Chip Logic ID, Chip Name."""
    lines = [line.strip()[:400] for line in text[:TEXT_CAP].splitlines()[:ROW_CAP] if line.strip()]
    start = next((n for n, line in enumerate(lines) if line.startswith("NPU ID")), None)
    if start is None:
        return ChipMap(problem="no header NPU ID, Chip ID, Chip Logic ID, Chip Name")
    names = _COLUMNS.split(lines[start])
    chips: list[MappedChip] = []
    for line in lines[start + 1 :]:
        row = dict(zip(names, _COLUMNS.split(line), strict=False))
        npu, chip, logic = row.get("NPU ID", ""), row.get("Chip ID", ""), row.get("Chip Logic ID", "")
        if not (is_id(npu) and is_id(chip) and row.get("Chip Name")):
            return ChipMap(chips=tuple(chips), problem=f"unreadable row: {line}"[:200])
        found = MappedChip(
            npu_id=int(npu),
            chip_id=int(chip),
            logic_id=int(logic) if is_id(logic) else None,
            name=row["Chip Name"][:60],
        )
        chips.append(found)
    return ChipMap(chips=tuple(chips), problem="" if chips else "a table without chips")


def is_id(text: str) -> bool:
    """Whether this is the number of a card or chip."""
    return text.isdecimal() and text.isascii() and len(text) < 10


def parse_topology(text: str) -> Topology:
    """Read `npu-smi info -t topo`: a square of connections under the names of the NPUs."""
    lines = [line.split() for line in text[:TEXT_CAP].splitlines()[:ROW_CAP]]
    header = next((line for line in lines if line and _NPU.fullmatch(line[0]) and "Affinity" in line[-1]), None)
    if header is None:
        return Topology(problem="no header with NPU names and CPU Affinity")
    npus = [word for word in header if _NPU.fullmatch(word)]
    found: dict[str, tuple[tuple[str, ...], str]] = {}
    for line in lines[lines.index(header) + 1 :]:
        if not line or line[0] not in npus:
            continue
        cells = line[1 : len(npus) + 1]
        if len(cells) != len(npus) or any(cell not in CONNECTIONS for cell in cells):
            return Topology(problem=f"unreadable row: {' '.join(line)}"[:200])
        found.setdefault(line[0], (tuple(cells), " ".join(line[len(npus) + 1 :])[:80]))
    if len(found) != len(npus):
        return Topology(problem=f"{len(found)} rows under {len(npus)} names")
    return Topology(npus=tuple(npus), rows=tuple(found[n][0] for n in npus), affinity=tuple(found[n][1] for n in npus))


def without_hccs(topology: Topology) -> tuple[str, ...]:
    """NPUs that have no HCCS connection while every other one has one to some NPU. Machines whose NPUs have none at all
    (PCIe cards) give none."""
    lost = tuple(n for n, row in zip(topology.npus, topology.rows, strict=True) if not any("HCCS" in c for c in row))
    return lost if 0 < len(lost) <= len(topology.npus) // 3 else ()
