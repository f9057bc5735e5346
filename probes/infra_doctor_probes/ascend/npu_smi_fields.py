"""The lists `name : value` of `npu-smi info -l` and `-t board|common|ecc|health|memory|usages`. Known from captures of driver
23.0, not specified.

A list holds blocks: the card's own fields first (`NPU ID`, `Chip Count`), then the fields of each chip, which `Chip ID` ends
(`-t ecc`, `-t usages`) or begins (`-t common`). A name that comes again begins a new block. Text without such a line is the
tool's own refusal ("Invalid card id.")."""

import re

from infra_doctor.plugin import record
from infra_doctor_probes.ascend.state import EccCounts

TEXT_CAP, LINE_CAP = 1 << 20, 4000
_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9 ()%/_.-]{0,60}?)[ \t]{0,60}:(?:[ \t]{1,10}(.{0,300}))?$")
_CODE = re.compile(r"(?:0[xX])?([0-9A-Fa-f]{8,9})")
# npu-smi's names -> those of EccCounts
_ECC = {
    "Single Bit Error Count": "single_bit_count", "Double Bit Error Count": "double_bit_count",
    "Single Bit Aggregate Total Err Cnt": "single_bit_total", "Double Bit Aggregate Total Err Cnt": "double_bit_total",
    "Single Bit Isolated Pages Count": "single_bit_isolated_pages",
    "Double Bit Isolated Pages Count": "double_bit_isolated_pages",
    "Single Bit Next Isolated Pages Count": "single_bit_pages_to_isolate",
    "Double Bit Next Isolated Pages Count": "double_bit_pages_to_isolate",
}  # fmt: skip


@record
class Fields:
    """The blocks of a list, and every field of it by name (the first value counts). `problem` is the tool's last line where
    there is no list."""

    blocks: tuple[tuple[tuple[str, str], ...], ...] = ()
    problem: str = ""

    def value(self, name: str) -> str | None:
        """The first value of this name; None for an absent one, for "" and for `NA`."""
        found = next((v for block in self.blocks for n, v in block if n == name), "")
        return found if found not in {"", "NA", "N/A", "-"} else None

    def number(self, name: str) -> int | None:
        """The value as a number that is not negative; a fraction is cut."""
        found = (self.value(name) or "").split(" ")[0].partition(".")[0]
        return int(found) if found.isdecimal() and found.isascii() and len(found) < 16 else None


def parse_fields(text: str) -> Fields:
    """Read a list, whatever it holds."""
    blocks: list[tuple[tuple[str, str], ...]] = []
    block: dict[str, str] = {}
    last = ""
    for line in text[:TEXT_CAP].splitlines()[:LINE_CAP]:
        shown = line.strip()[:400]
        last = shown or last
        match = _FIELD.fullmatch(shown) if not shown.startswith("Usage:") else None
        if match is None:
            continue
        name, value = match.group(1).strip(), (match.group(2) or "").strip()
        if name in block:
            blocks.append(tuple(block.items()))
            block = {}
        block[name] = value
    if block:
        blocks.append(tuple(block.items()))
    return Fields(blocks=tuple(blocks), problem="" if blocks else f"no list of fields: {last or 'no output'}"[:200])


def fault_codes(fields: Fields) -> tuple[str, ...] | None:
    """The codes of `-t health` ("A4025021 8C03A000"), () where it says NA; None where the line is not there."""
    if not any(name == "Error Code" for block in fields.blocks for name, _ in block):
        return None
    return tuple(dict.fromkeys(code.upper() for code in _CODE.findall(fields.value("Error Code") or "")))


def ecc_counts(fields: Fields) -> tuple[EccCounts, ...]:
    """The counters of `-t ecc` by memory; nothing for a card whose list is empty."""
    found: dict[str, dict[str, int | None]] = {}
    for block in fields.blocks:
        for name, _ in block:
            memory, _, rest = name.partition(" ")
            if memory in {"HBM", "DDR"} and rest in _ECC:
                found.setdefault(memory, {})[_ECC[rest]] = fields.number(name)
    return tuple(EccCounts(memory=memory, **counts) for memory, counts in found.items())


def cards(fields: Fields) -> tuple[int, ...]:
    """The `NPU ID`s of `-l`."""
    values = (v for block in fields.blocks for n, v in block if n == "NPU ID")
    return tuple(dict.fromkeys(int(v) for v in values if v.isdecimal() and v.isascii() and len(v) < 10))
