"""What `amd-smi` prints for people: blocks of `GPU: N` with indented fields, and tables.

Known from AMD's change log and manuals (amd-smi 23 to 26), not specified. `amd-smi version` names three versions: the tool's,
the library's, ROCm's; none of them is the driver's."""

import re

from infra_doctor_probes.other_vendors.forms import LINKS_CAP, parse_matrix, read_json
from infra_doctor_probes.other_vendors.reading import (
    Reading,
    SmiText,
    address,
    celsius,
    lines_of,
    number,
    refused,
    said,
    sizes,
    version,
    wide_columns,
)

_GPU = re.compile(r"GPU:\s{0,9}(\d{1,4})")
_VERSION = re.compile(r"AMDSMI Tool:\s{0,4}(\S{1,60}) \| AMDSMI Library version:\s{0,4}(\S{1,60})(?: \| (.{1,200}))?")
_ROCM = re.compile(r"ROCm version:\s{0,4}(\S{1,60})")
_DRIVER = re.compile(r"amdgpu version:\s{0,4}(\S{1,60})")
# A number and its unit are one column of the monitor.
_MONITOR_VALUE = re.compile(r"\S+(?: (?:W|°C|%|MHz|MB|GB|Mb/s|V)(?=\s|$))?")
_EVENT = re.compile(r"(\d{4}/\d{2}/\d{2} \d{2}:\d{2}:\d{2})\s+(\d{1,4})\s+([A-Z_-]{3,40})")
DETAILS_CAP = 400


def parse_amd_smi(text: str) -> SmiText:
    """Read any of amd-smi's outputs."""
    stripped = text[:200].lstrip()
    if stripped.startswith(("[", "{")):
        return parse_topology_json(text)
    lines = lines_of(text)
    if any(_GPU.fullmatch(line.strip()) for line in lines):
        return parse_blocks(lines)
    if any(line.startswith("CPU:") for line in lines):
        return refused("it describes CPU sockets, no GPU", text)
    for parser in (parse_version, parse_events, parse_monitor, parse_partition):
        found = parser(lines)
        if found is not None:
            return found
    if any(line.startswith("LINK METRIC TABLE") for line in lines):
        return parse_xgmi(lines)
    matrix = parse_matrix(text)
    return refused("neither blocks of GPUs nor a known table of amd-smi", text) if matrix.problem else matrix


# -- blocks -------------------------------------------------------------------------------------------------------


def parse_blocks(lines: list[str]) -> SmiText:
    """`GPU: 0` and what is indented below it; a field's path is its names joined by dots."""
    devices: list[Reading] = []
    fields: dict[str, str] = {}
    index: int | None = None
    path: list[tuple[int, str]] = []
    for line in [*lines, "GPU: 0"]:
        match = _GPU.fullmatch(line.strip())
        if match:
            if index is not None:
                devices.append(device_of(index, fields))
            index, fields, path = int(match.group(1)), {}, []
            continue
        name, colon, value = line.strip().partition(":")
        if not colon or index is None or len(fields) >= DETAILS_CAP:
            continue
        indent = len(line) - len(line.lstrip())
        path = [(i, n) for i, n in path if i < indent]
        if value.strip():
            fields[".".join([*(n for _, n in path), name])] = value.strip()
        else:
            path.append((indent, name))
    driver = next((d.driver_version for d in devices if d.driver_version), None)
    return SmiText(form="amd-smi", driver_version=driver, devices=tuple(devices), problem="" if devices else "no GPU")


def device_of(index: int, fields: dict[str, str]) -> Reading:
    """One GPU. What is throttled now is its health in the tool's words."""
    throttled = [n.rpartition(".")[2] for n, v in fields.items() if n.endswith("_VIOLATION_STATUS") and v == "ACTIVE"]
    ecc = fields.get("ECC.TOTAL_UNCORRECTABLE_COUNT")
    memory = sizes(fields.get("VRAM.SIZE") or fields.get("MEM_USAGE.TOTAL_VRAM"))
    temperature = fields.get("TEMPERATURE.HOTSPOT") or fields.get("TEMPERATURE.EDGE")
    return Reading(
        index=index,
        name=said(fields.get("ASIC.MARKET_NAME")),
        address=address(fields.get("BDF") or fields.get("BUS.BDF")),
        memory_bytes=memory[0] if memory else None,
        temperature_c=celsius(temperature),
        health=", ".join(throttled) or None,
        ecc=f"{ecc} uncorrectable" if number(ecc) is not None else None,
        driver_version=version(fields.get("DRIVER.VERSION")),
        details=tuple((n, v[:120]) for n, v in fields.items()),
    )


# -- tables -------------------------------------------------------------------------------------------------------


def parse_version(lines: list[str]) -> SmiText | None:
    """`amd-smi version`: three versions on a line, newer ones add the driver's."""
    match = next((m for line in lines if (m := _VERSION.search(line))), None)
    if match is None:
        return None
    rest = match.group(3) or ""
    rocm, driver = _ROCM.search(rest), _DRIVER.search(rest)
    return SmiText(
        form="amd-smi",
        tool_version=version(match.group(1)),
        runtime_version=version(rocm.group(1)) if rocm else None,
        driver_version=version(driver.group(1)) if driver else None,
        details=(("library", match.group(2)),),
    )


def parse_events(lines: list[str]) -> SmiText | None:
    """`amd-smi ras --cper`: one line per error record of the firmware."""
    if not any(line.split() == ["timestamp", "gpu_id", "severity"] for line in lines):
        return None
    events: dict[int, list[tuple[str, str]]] = {}
    for line in lines:
        if match := _EVENT.search(line):
            events.setdefault(int(match.group(2)), []).append((match.group(1), match.group(3)))
    devices = tuple(
        Reading(index=i, health=", ".join(dict.fromkeys(s for _, s in seen)), details=tuple(seen[:DETAILS_CAP]))
        for i, seen in sorted(events.items())
    )
    return SmiText(form="amd-smi", devices=devices)


def parse_monitor(lines: list[str]) -> SmiText | None:
    """`amd-smi monitor`: a row of names, one row per GPU."""
    start = next((n for n, line in enumerate(lines) if line.split()[:1] == ["GPU"] and len(line.split()) > 1), None)
    if start is None or ":" in lines[start]:
        return None
    names = lines[start].split()
    devices: list[Reading] = []
    for line in lines[start + 1 :]:
        values = _MONITOR_VALUE.findall(line)
        if not values or not values[0].isdecimal():
            continue
        if len(values) != len(names):
            return SmiText(form="amd-smi", devices=tuple(devices), problem=f"unreadable row: {line.strip()[:120]}")
        row = dict(zip(names, values, strict=True))
        total, used = sizes(row.get("VRAM_TOTAL")), sizes(row.get("VRAM_USED"))
        violated = [n for n in names if n.endswith("VIOL") and row[n] not in {"0 %", "N/A"}]
        devices.append(
            Reading(
                index=number(values[0]), temperature_c=celsius(row.get("GPU_TEMP")), health=", ".join(violated) or None,
                memory_bytes=total[0] if total else None, memory_used_bytes=used[0] if used else None,
                details=tuple(row.items()),
            )
        )  # fmt: skip
    return SmiText(form="amd-smi", devices=tuple(devices)) if devices else None


def parse_partition(lines: list[str]) -> SmiText | None:
    """`amd-smi partition`: how each GPU is divided now."""
    start = next((n for n, line in enumerate(lines) if line.startswith("CURRENT_PARTITION:")), None)
    if start is None or start + 1 >= len(lines):
        return None
    names = wide_columns(lines[start + 1])
    devices = []
    for line in lines[start + 2 :]:
        values = wide_columns(line)
        if len(values) != len(names):
            break
        row = dict(zip(names, values, strict=True))
        devices.append(Reading(index=number(row.get("GPU_ID")), details=tuple(row.items())))
    return SmiText(form="amd-smi", devices=tuple(devices), problem="" if devices else "a table without devices")


def parse_xgmi(lines: list[str]) -> SmiText:
    """`amd-smi xgmi`: link speed and bandwidth of each GPU."""
    devices: list[Reading] = []
    for line in lines:
        words = line.split()
        if words and words[0].startswith("GPU") and len(words) > 2 and (index := number(words[0][3:])) is not None:
            devices.append(Reading(index=index, address=address(words[1]), details=(("links", " ".join(words[2:6])),)))
    return SmiText(form="amd-smi", devices=tuple(devices), problem="" if devices else "a table without devices")


# -- JSON ---------------------------------------------------------------------------------------------------------


def parse_topology_json(text: str) -> SmiText:
    """`amd-smi topology --json`, in both of its forms: keys `gpu_N`, or a list of links."""
    found = read_json(text)
    if not isinstance(found, list) or not found or not all(isinstance(d, dict) and "gpu" in d for d in found):
        return refused("not amd-smi's JSON of GPUs", text)
    links: list[tuple[str, str, str]] = []
    for device in found[:256]:
        here = str(device["gpu"])[:9]
        if isinstance(device.get("links"), list):
            kinds = [(str(k.get("gpu"))[:9], k.get("link_type")) for k in device["links"] if isinstance(k, dict)]
        elif isinstance(device.get("link_type"), dict):
            kinds = [(str(n).removeprefix("gpu_")[:9], k) for n, k in device["link_type"].items()]
        else:
            return refused("amd-smi's JSON without links", text)
        links += [(here, other, str(kind)[:40]) for other, kind in kinds if other != here]
    devices = tuple(
        Reading(index=number(str(d["gpu"])[:9]), address=address(str(d.get("bdf", ""))[:40])) for d in found[:256]
    )
    return SmiText(form="amd-smi", devices=devices, links=tuple(links[:LINKS_CAP]))
