"""The other forms of text: Hygon's columns, Kunlunxin's R series, link matrices, and the JSON of gpustack's detector.

`parse(tool, text)` is the one way to all of them; `tool` names the form that the caller expects after it has seen the vendor
on the bus. A text of another form is refused, with the reason and how it begins, never guessed at."""

import re
from collections.abc import Callable
from typing import Any

from infra_doctor_probes.other_vendors.boxed import LAYOUTS, parse_boxed
from infra_doctor_probes.other_vendors.reading import (
    TEXT_CAP,
    Reading,
    SmiText,
    address,
    cells,
    celsius,
    lines_of,
    number,
    pairs,
    refused,
    said,
    used_and_total,
    version,
)

_LABEL = re.compile(r"(?:GPU|NIC|PPU|MLU|NPU)\d{1,4}|[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]")
LINKS_CAP = 20_000


def parse(tool: str, text: str) -> SmiText:
    """Read a tool's text; SmiText.problem says why where it cannot be read."""
    if tool in LAYOUTS:
        return parse_boxed(tool, text)
    parser = PARSERS.get(tool)
    return parser(text) if parser is not None else refused(f"there is no parser for {tool}", text)


# -- Hygon --------------------------------------------------------------------------------------------------------


def parse_dcu(text: str) -> SmiText:
    """hy-smi, and the rocm-smi of DTK: a row of column names that begins with DCU or HCU, then one row per device."""
    lines = lines_of(text)
    start = next((n for n, line in enumerate(lines) if line.split()[:1] in (["DCU"], ["HCU"])), None)
    if start is None:
        return refused("no header row that begins with DCU or HCU", text)
    names = [name.lower() for name in lines[start].split()]
    devices: list[Reading] = []
    for line in lines[start + 1 :]:
        if not line.strip(" =") or "End of SMI Log" in line:
            continue
        values = line.split()
        row = dict(zip(names, values, strict=False))
        index = number(values[0])
        if index is None or len(values) != len(names):
            return SmiText(form="hy-smi", devices=tuple(devices), problem=f"unreadable row: {line.strip()[:120]}")
        details = tuple((n, row[n]) for n in ("avgpwr", "pwrcap", "perf", "mode") if n in row)
        devices.append(Reading(index=index, temperature_c=celsius(row.get("temp")), details=details))
    return SmiText(form="hy-smi", devices=tuple(devices), problem="" if devices else "a table without devices")


# -- Kunlunxin's R series -----------------------------------------------------------------------------------------


def parse_kunlun_r(text: str) -> SmiText:
    """xpu_smi: two lines with versions, then the block DEVICES, a table with one row of names."""
    lines = lines_of(text)
    start = next((n for n, line in enumerate(lines) if cells(line)[:2] == ["DevID", "PCI Addr"]), None)
    if start is None:
        return refused("no header row with DevID and PCI Addr", text)
    names = cells(lines[start])
    versions = dict(pairs(lines[:start]))
    devices: list[Reading] = []
    problem = ""
    for line in lines[start + 1 :]:
        if "|" not in line:
            if line.strip(" -"):
                break  # the next block
            continue
        row = cells(line)
        fields = dict(zip(names, row, strict=False))
        index = number(fields.get("DevID"))
        if index is None or len(row) != len(names):
            problem = f"unreadable row: {line.strip()[:120]}"
            break
        used, total = used_and_total(fields.get("Memory"))
        devices.append(
            Reading(
                index=index, name=said(fields.get("Model")), address=address(fields.get("PCI Addr")), memory_bytes=total,
                memory_used_bytes=used, details=(("node", fields["INODE"]),) if fields.get("INODE") else (),
            )
        )  # fmt: skip
    return SmiText(
        form="xpu_smi",
        driver_version=version(versions.get("Driver Version")),
        runtime_version=version(versions.get("Runtime Version")),
        devices=tuple(devices),
        problem=problem or ("" if devices else "a table without devices"),
    )


# -- how devices are linked ---------------------------------------------------------------------------------------


def parse_matrix(text: str) -> SmiText:
    """Tables whose columns and rows are devices (`topo -m`, `amd-smi topology`): each cell is a link. The first table that
    tells kinds of links counts, so a table of weights or hops does not."""
    lines = lines_of(text)
    found: dict[str, list[tuple[str, str, str]]] = {}
    columns: list[str] = []
    title = name = ""
    for line in lines:
        words = line.split()
        labels = [w for w in words if _LABEL.fullmatch(w)]
        if line.endswith("TABLE:"):
            title, columns = line.strip().removesuffix(":"), []
        elif len(labels) > 1 and labels[0] == words[0] and not columns:
            columns, name = labels, title
        elif columns and words and words[0] in columns:
            kinds = zip(columns, words[1:], strict=False)
            links = found.setdefault(name, [])
            links += [(words[0], c, k) for c, k in kinds if c != words[0] and len(links) < LINKS_CAP]
        elif not words:
            columns = []
    chosen = "LINK TYPE TABLE" if "LINK TYPE TABLE" in found else next(iter(found), "")
    if chosen not in found:
        return refused("no table whose columns and rows are devices", text)
    names = list(dict.fromkeys(row for row, _, _ in found[chosen]))
    devices = tuple(
        Reading(name=None if address(n) else n, address=address(n)) for n in names if not n.startswith("NIC")
    )
    return SmiText(form="matrix", devices=devices, links=tuple(found[chosen]), details=(("table", chosen or "links"),))


# -- gpustack's detector ------------------------------------------------------------------------------------------


def parse_detector_json(text: str) -> SmiText:
    """What gpustack's runtime detector writes: values that it reads through the vendors' own C libraries. Memory is in MiB."""
    found = read_json(text)
    if not isinstance(found, list) or not found or not all(isinstance(d, dict) and "manufacturer" in d for d in found):
        return refused("not a list of devices with a manufacturer", text)
    if "devices_distances" in found[0]:
        return detector_topology(found[0])
    devices = tuple(detector_device(d) for d in found[:1024])
    return SmiText(
        form="detector",
        driver_version=devices[0].driver_version,
        runtime_version=version(string(found[0].get("runtime_version_original") or found[0].get("runtime_version"))),
        devices=devices,
        details=(("manufacturer", string(found[0]["manufacturer"])),),
    )


def detector_device(found: dict[str, Any]) -> Reading:
    """One device of the detector."""
    appendix = found.get("appendix")
    total, used, temperature = (found.get(n) for n in ("memory", "memory_used", "temperature"))
    return Reading(
        index=whole(found.get("index")),
        name=said(string(found.get("name"))),
        address=address(string(appendix.get("bdf"))) if isinstance(appendix, dict) else None,
        memory_bytes=n << 20 if (n := whole(total)) is not None else None,
        memory_used_bytes=n << 20 if (n := whole(used)) is not None else None,
        temperature_c=float(n) if (n := whole(temperature)) is not None else None,
        health=said(string(found.get("memory_status"))),
        driver_version=version(string(found.get("driver_version"))),
        details=(("compute_capability", c),) if (c := said(string(found.get("compute_capability")))) else (),
    )


def detector_topology(found: dict[str, Any]) -> SmiText:
    """Distances between devices, by index."""
    rows = found["devices_distances"]
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == len(rows) for row in rows):
        return refused("the distances are no square")
    nodes = found.get("devices_numa_affinities")
    numa = [string(n) for n in nodes] if isinstance(nodes, list) and len(nodes) == len(rows) else [""] * len(rows)
    links = tuple((str(a), str(b), string(d)) for a, row in enumerate(rows) for b, d in enumerate(row) if a != b)
    devices = tuple(Reading(index=n, details=(("numa_node", at),) if at else ()) for n, at in enumerate(numa))
    return SmiText(form="detector", devices=devices, links=links[:LINKS_CAP])


def read_json(text: str) -> Any:
    """The document, None for what is none; deep nesting too."""
    import json

    try:
        return json.loads(text[:TEXT_CAP])
    except (ValueError, RecursionError):
        return None


def string(value: object) -> str:
    """A text or a number as text, "" for anything else; bounded."""
    return str(value)[:120] if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def whole(value: object) -> int | None:
    """A whole number of sane size."""
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 50
    return int(value) if good else None  # type: ignore[call-overload]


PARSERS: dict[str, Callable[[str], SmiText]] = {
    "hy-smi": parse_dcu,
    "xpu_smi": parse_kunlun_r,
    "matrix": parse_matrix,
    "detector": parse_detector_json,
}
