"""What `rocm-smi` prints: its JSON, the concise table, and lines `GPU[N] : name: value`.

Names of fields change between releases ("GPU ID" and "Device ID", "Card series" and "Card Series"), values carry stray units.
The tool of Hygon's DTK has the same name and prints another table: that one is refused here."""

import re
from typing import Any

from infra_doctor_probes.other_vendors.forms import parse_matrix, read_json
from infra_doctor_probes.other_vendors.reading import (
    Reading,
    SmiText,
    address,
    celsius,
    lines_of,
    number,
    refused,
    said,
    version,
    wide_columns,
)

_FIELD = re.compile(r"GPU\[(\d{1,4})\]\s{0,20}: (.{1,300})")
_CONCISE = re.compile(r"\s{0,4}(\d{1,4})\s+\[(0x[0-9a-fA-F]{1,8})\s{0,3}:\s{0,3}(0x[0-9a-fA-F]{1,4})\]\s+(\S{1,20})")
# Rows of the releases before 6.0: `0  37.0c  38.0W  300Mhz …` under `GPU  Temp (DieEdge)  AvgPwr`.
_OLD_ROW = re.compile(r"(\d{1,4})\s+(-?\d{1,3}\.\d[cC])\s")
CARDS_CAP = 256


def parse_rocm_smi(text: str) -> SmiText:
    """Read any of rocm-smi's outputs."""
    if text[:200].lstrip().startswith("{"):
        return parse_json(text)
    lines = lines_of(text)
    if any(line.split()[:1] in (["DCU"], ["HCU"]) for line in lines):
        return refused("this is the table of Hygon's DTK", text)
    for parser in (parse_fields, parse_concise, parse_hardware):
        found = parser(lines)
        if found is not None:
            return found
    return refused("no table of rocm-smi that is known", text)


# -- JSON ---------------------------------------------------------------------------------------------------------


def parse_json(text: str) -> SmiText:
    """`rocm-smi … --json`: one object per card, and one for the system."""
    found = read_json(text)
    cards = {k: v for k, v in found.items() if str(k).startswith("card")} if isinstance(found, dict) else {}
    if not cards or not all(isinstance(card, dict) for card in cards.values()):
        return refused("not rocm-smi's JSON of cards", text)
    system = found.get("system")
    driver = str(system.get("Driver version", ""))[:60] if isinstance(system, dict) else ""
    devices = [card_of(name, card) for name, card in list(cards.items())[:CARDS_CAP]]
    links = []
    if isinstance(system, dict):
        for name, value in system.items():
            match = re.fullmatch(r"\(Topology\) Link type between DRM devices (\d{1,4}) and (\d{1,4})", str(name)[:80])
            if match:
                links.append((match.group(1), match.group(2), str(value)[:40]))
    return SmiText(form="rocm-smi", driver_version=version(driver), devices=tuple(devices), links=tuple(links))


def card_of(name: str, card: dict[str, Any]) -> Reading:
    """One card; values are texts."""
    fields = {str(k)[:80].lower(): str(v)[:120] for k, v in list(card.items())[:400]}
    temperature = fields.get("temperature (sensor junction) (c)") or fields.get("temperature (sensor edge) (c)")
    return Reading(
        index=number(name.removeprefix("card")),
        name=said(fields.get("device name") or fields.get("card series")),
        address=address(fields.get("pci bus")),
        memory_bytes=number(fields.get("vram total memory (b)")),
        memory_used_bytes=number(fields.get("vram total used memory (b)")),
        temperature_c=celsius(f"{temperature}C") if temperature else None,
        firmware_version=said(fields.get("vbios version")),
        details=tuple(
            (label, fields[key])
            for label, key in (
                ("device id", "device id"), ("device id", "gpu id"), ("pcie", "pcie clock level"),
                ("gfx version", "gfx version"), ("pcie replays", "pcie replay count"),
            )
            if key in fields
        ),
    )  # fmt: skip


# -- text ---------------------------------------------------------------------------------------------------------


def parse_fields(lines: list[str]) -> SmiText | None:
    """`GPU[0] : Card series: AMD Instinct MI300X OAM`, of the many options `--show…`."""
    found: dict[int, dict[str, str]] = {}
    for line in lines:
        match = _FIELD.fullmatch(line.strip())
        if match:
            name, _, value = match.group(2).partition(":")
            found.setdefault(int(match.group(1)), {})[name.strip().lower()] = value.strip()
    if not found:
        return None
    devices = tuple(
        Reading(
            index=index,
            name=said(fields.get("card series") or fields.get("device name")),
            address=address(fields.get("pci bus")),
            firmware_version=said(fields.get("vbios version")),
            details=tuple(list(fields.items())[:100]),
        )
        for index, fields in sorted(found.items())[:CARDS_CAP]
    )
    return SmiText(form="rocm-smi", devices=devices)


def parse_concise(lines: list[str]) -> SmiText | None:
    """The table without options: `0  [0x74a1 : 0x00]  45.0°C …`, with the name on a line of its own below."""
    devices: list[Reading] = []
    for n, line in enumerate(lines):
        match = _CONCISE.match(line)
        if match:
            below = lines[n + 1].strip() if n + 1 < len(lines) else ""
            devices.append(
                Reading(
                    index=int(match.group(1)),
                    name=said(below) if not below.startswith(("=", "0x")) and not _CONCISE.match(below) else None,
                    temperature_c=celsius(match.group(4)),
                    details=(("device id", match.group(2)), ("revision", match.group(3))),
                )
            )
        elif old := _OLD_ROW.match(line.strip()):
            devices.append(Reading(index=int(old.group(1)), temperature_c=celsius(old.group(2))))
    return SmiText(form="rocm-smi", devices=tuple(devices)) if devices else None


def parse_hardware(lines: list[str]) -> SmiText | None:
    """`--showhw`: one row per GPU, or per partition of one."""
    start = next((n for n, line in enumerate(lines) if {"GPU", "DID", "BUS"} <= set(line.split())), None)
    if start is None:
        matrix = parse_matrix("\n".join(lines))
        return None if matrix.problem else matrix
    names = wide_columns(lines[start])
    devices: list[Reading] = []
    for line in lines[start + 1 :]:
        values = wide_columns(line)
        if len(values) != len(names) or number(values[0]) is None:
            continue
        row = dict(zip(names, values, strict=True))
        ras = ", ".join(f"{n} {row[n].lower()}" for n in names if n.endswith("RAS"))
        devices.append(
            Reading(
                index=number(values[0]), address=address(row.get("BUS")), ecc=ras or None, details=tuple(row.items())
            )
        )
    return SmiText(form="rocm-smi", devices=tuple(devices)) if devices else None
