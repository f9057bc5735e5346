"""What a vendor's tool says of its devices, in one form for all of them, and the values that such texts hold.

A text says nothing of whose device it is: several vendors print the table of another one. Who calls a parser has seen the
vendor on the PCI bus."""

import re
from collections.abc import Iterator

from infra_doctor.plugin import record

TEXT_CAP = 1 << 20
LINE_CAP = 400
LINES_CAP = 20_000
_VERSION = re.compile(r"[vV]?(?=[\w.+-]{0,40}\d)[0-9A-Za-z][\w.+-]{0,60}")
_ADDRESS = re.compile(r"(?:([0-9a-fA-F]{1,8}):)?([0-9a-fA-F]{2}):([0-9a-fA-F]{2})\.([0-7])")
_CELSIUS = re.compile(r"(-?\d{1,4}(?:\.\d{1,3})?)\s{0,2}°?\s?[Cc]\b")
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,3})?)\s{0,2}(KiB|MiB|GiB|KB|MB|GB|B)\b")
_UNIT = {"B": 0, "KB": 10, "KiB": 10, "MB": 20, "MiB": 20, "GB": 30, "GiB": 30}
_NOTHING = {"", "n/a", "na", "none", "unknown", "-", "/"}


@record
class Reading:
    """One device. `address` has the kernel's form ("0000:c1:00.0"). `health` and `ecc` are the tool's own words.
    `details` are further fields under the tool's names."""

    index: int | None = None
    name: str | None = None
    address: str | None = None
    memory_bytes: int | None = None
    memory_used_bytes: int | None = None
    temperature_c: float | None = None
    health: str | None = None
    ecc: str | None = None
    driver_version: str | None = None
    firmware_version: str | None = None
    details: tuple[tuple[str, str], ...] = ()


@record
class SmiText:
    """One output. `driver_version` is the kernel driver's, `runtime_version` that of the vendor's run time or toolkit:
    two things. `links` are (device, device, kind of link). `problem` says why the text could not be read (to its end)."""

    form: str = ""
    tool_version: str | None = None
    driver_version: str | None = None
    runtime_version: str | None = None
    devices: tuple[Reading, ...] = ()
    links: tuple[tuple[str, str, str], ...] = ()
    details: tuple[tuple[str, str], ...] = ()
    problem: str = ""


def refused(problem: str, text: str = "") -> SmiText:
    """A text that cannot be read, with how it begins."""
    start = next((line.strip() for line in lines_of(text) if line.strip(" -=+|")), "")
    return SmiText(problem=f"{problem}: {start[:160]}" if start else problem)


def lines_of(text: str) -> list[str]:
    """The lines, bounded: no tool prints more."""
    return [line[:LINE_CAP].rstrip() for line in text[:TEXT_CAP].splitlines()[:LINES_CAP]]


def said(text: str | None) -> str | None:
    """A value, None for one that says that there is none."""
    value = (text or "").strip()
    return None if value.lower() in _NOTHING or value.startswith("<") else value[:120]


def version(text: str | None) -> str | None:
    """A version without the `v` in front; None for anything else (`N/A`, `Deprecated, see …`)."""
    value = said(text)
    return value.lstrip("vV") if value and _VERSION.fullmatch(value) else None


def address(text: str | None) -> str | None:
    """The first PCI address in a text, in the kernel's form: tools print domains of two, four or eight digits or none."""
    match = _ADDRESS.search(text or "")
    if match is None:
        return None
    domain, bus, slot, function = match.groups()
    return f"{int(domain or '0', 16):04x}:{bus}:{slot}.{function}".lower()


def celsius(text: str | None) -> float | None:
    """`41C`, `45.0°C`, `39 C`."""
    match = _CELSIUS.search(text or "")
    return float(match.group(1)) if match else None


def number(text: str | None) -> int | None:
    """A whole number, of at most 18 digits."""
    value = (text or "").strip()
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 18 else None


def sizes(text: str | None) -> list[int]:
    """Every size in a text, in bytes; a number before a slash has the unit of the one behind it (`826/65536 MiB`)."""
    value = re.sub(r"(\d)\s{0,2}/\s{0,3}(\d{1,15}\s{0,2}(KiB|MiB|GiB|KB|MB|GB|B)\b)", r"\1 \3 / \2", text or "")
    return [int(float(n) * (1 << _UNIT[unit])) for n, unit in _SIZE.findall(value)]


def used_and_total(text: str | None) -> tuple[int | None, int | None]:
    """(used, total) bytes of `662MiB(16384MiB)` or `0 MiB/ 23308 MiB`; one size alone is the total."""
    found = sizes(text)
    if len(found) > 1:
        return found[0], found[1]
    return None, found[0] if found else None


def cells(line: str) -> list[str]:
    """The cells of a row between bars."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def wide_columns(line: str) -> list[str]:
    """The columns of a row that two blanks or more part."""
    return [part for part in re.split(r"\s{2,}", line.strip()) if part]


def aligned(words: list[str], text: str) -> dict[str, str]:
    """Header words (lower case) -> the value's tokens. A name may hold blanks: it gets what the others leave."""
    names, values = [w.lower() for w in words], text.split()
    surplus = len(values) - len(names)
    if surplus and "name" in names:
        at = names.index("name")
        if len(values) < len(names) - 1:
            return {}
        values = [*values[:at], " ".join(values[at : at + surplus + 1]), *values[at + surplus + 1 :]]
    return dict(zip(names, values, strict=False)) if len(values) == len(names) else {}


def pairs(lines: list[str]) -> Iterator[tuple[str, str]]:
    """The lines `key: value`."""
    for line in lines:
        key, colon, value = line.strip(" |").partition(":")
        if colon and key.strip():
            yield key.strip(), value.strip()
