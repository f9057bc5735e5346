"""What `xpu-smi discovery`, `sycl-ls` and `clinfo -l` print.

The lists of platforms name processors, FPGA emulation and devices of other vendors too, and one GPU twice (OpenCL and Level
Zero): here only the kind that the text itself states counts as a GPU, and who counts GPUs does so by the PCI bus."""

import re

from infra_doctor_probes.other_vendors.reading import (
    Reading,
    SmiText,
    address,
    cells,
    lines_of,
    number,
    refused,
    said,
    sizes,
    version,
)

_SYCL = re.compile(
    r"\[(\w{2,40}):(\w{2,10})(?::(\d{1,4}))?\](?:\[\w{2,40}:(\d{1,4})\])?\s([^\[\]]{1,250})\[([^\[\]]{1,80})\]"
)
_PLATFORM = re.compile(r"Platform #(\d{1,4}): (.{1,200})")
_DEVICE = re.compile(r"[ `|+-]{1,8}Device #(\d{1,4}): (.{1,200})")
# What follows a device's name in sycl-ls: the version of the API.
_API_VERSION = re.compile(r"\s(?:OpenCL\s)?\d{1,2}\.\d{1,3}(?:\.\d{1,3})?(?:\s.{0,40})?$")


def parse_discovery(text: str) -> SmiText:
    """`xpu-smi discovery -d N`: a box of `name: value`, one per device."""
    lines = lines_of(text)
    if not any(cells(line)[:2] == ["Device ID", "Device Information"] for line in lines):
        return refused("no box with Device ID and Device Information", text)
    devices: list[Reading] = []
    fields: dict[str, str] = {}
    index: int | None = None
    for line in [*lines, "| 0 | |"]:
        row = cells(line)
        if len(row) != 2 or row[0] == "Device ID":
            continue
        if (found := number(row[0])) is not None:
            if index is not None:
                devices.append(discovered(index, fields))
            index, fields = found, {}
        name, colon, value = row[1].partition(":")
        if colon and index is not None:
            fields[name.strip()] = value.strip()
    driver = next((d.driver_version for d in devices), None)
    problem = "" if devices else "a box without devices"
    return SmiText(form="xpu-smi discovery", driver_version=driver, devices=tuple(devices), problem=problem)


def discovered(index: int, fields: dict[str, str]) -> Reading:
    """One device of the box."""
    memory = sizes(fields.get("Memory Physical Size"))
    return Reading(
        index=index,
        name=said(fields.get("Device Name")),
        address=address(fields.get("PCI BDF Address")),
        memory_bytes=memory[0] if memory else None,
        health=said(fields.get("Device State")),
        ecc=said(fields.get("ECC State")),
        driver_version=version(fields.get("Driver Version")),
        firmware_version=said(fields.get("GFX Firmware Version")),
        details=tuple((n, v) for n, v in fields.items() if v)[:100],
    )


def parse_sycl_ls(text: str) -> SmiText:
    """`sycl-ls`: `[back end:kind:number] platform, device [driver version]`. Devices are all that it lists, with their
    kind; the last field is the version of the run time that serves it."""
    devices: list[Reading] = []
    for line in lines_of(text):
        match = _SYCL.match(line.strip())
        if match is None:
            continue
        backend, kind, number_a, number_b, words, driver = match.groups()
        platform, _, name = words.strip().partition(", ")
        devices.append(
            Reading(
                index=number(number_a or number_b),
                name=said(_API_VERSION.sub("", name.strip())),
                driver_version=version(driver.strip()),
                details=(("backend", backend), ("kind", kind), ("platform", platform[:100])),
            )
        )
    if not devices:
        return refused("no line of sycl-ls", text)
    return SmiText(form="sycl-ls", devices=tuple(devices))


def parse_clinfo(text: str) -> SmiText:
    """`clinfo -l`: platforms and their devices. It states no kinds."""
    devices: list[Reading] = []
    platform = ""
    for line in lines_of(text):
        if match := _PLATFORM.fullmatch(line.strip()):
            platform = match.group(2)
        elif (match := _DEVICE.fullmatch(line)) and platform:
            devices.append(
                Reading(index=int(match.group(1)), name=said(match.group(2)), details=(("platform", platform),))
            )
    if not platform:
        return refused("no line of clinfo -l", text)
    return SmiText(form="clinfo", devices=tuple(devices))
