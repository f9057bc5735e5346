"""The devices, driver and toolkit of one further vendor: by the PCI bus and the kernel, then by the vendor's own tool.

The tool runs only where a device of that vendor is on the bus, with a deadline; what its text says counts for those devices
alone. Proven on captures and described machines, not on the devices."""

import posixpath
from collections.abc import Iterator

from infra_doctor.plugin import (
    AttributeValue,
    Capability,
    Component,
    Evidence,
    EvidenceKind,
    Machine,
    ProbeContext,
    Unseen,
    fact,
    kernel_evidence,
    record,
)
from infra_doctor_probes.detect.pci import BUS, PciDevice
from infra_doctor_probes.detect.system import Container
from infra_doctor_probes.other_vendors.forms import parse
from infra_doctor_probes.other_vendors.reading import Reading, SmiText, version
from infra_doctor_probes.other_vendors.rows import Vendor, vendors

TIMEOUT_S = 10.0
VERSION_CAP_BYTES = 65536


@fact("vendor-session", 1)
@record
class VendorSession:
    """How one call of a vendor's tool went. `error` is empty where its text could be read to the end."""

    vendor: str
    tool: str
    error: str = ""
    timed_out: bool = False
    tool_version: str | None = None
    driver_version: str | None = None
    runtime_version: str | None = None
    device_count: int = 0
    evidence: tuple[Evidence, ...] = ()


@fact("vendor-stack", 1)
@record
class VendorStack:
    """What is there of one vendor: devices of ours, those among them that no kernel driver serves, device files, toolkits.
    `node_patterns` are the files that its driver makes, as far as they are known for certain. `plain_display` are devices
    of ours that are also displays. `libraries` are those of the vendor that the loader knows. `not_given` are devices of the
    host that this container does not have."""

    vendor: str
    name: str
    devices: tuple[str, ...]
    undriven: tuple[str, ...]
    plain_display: tuple[str, ...]
    modules: tuple[str, ...]
    nodes: tuple[str, ...]
    node_patterns: tuple[str, ...]
    not_given: tuple[str, ...]
    toolkits: tuple[str, ...]
    toolkit_places: tuple[str, ...]
    libraries: tuple[str, ...]
    source: str
    certain: bool
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """Components of every vendor that shows, its stack and session as facts."""
    by_vendor: dict[str, list[PciDevice]] = {}
    for device in ctx.facts(PciDevice):
        if device.accelerator and device.vendor in vendors():
            by_vendor.setdefault(device.vendor, []).append(device)
    for vendor in vendors().values():
        devices = by_vendor.get(vendor.id, [])
        nodes = device_nodes(ctx.machine, vendor)
        if devices or (nodes and not vendor.pci_vendor):
            yield from one(ctx, vendor, devices, nodes)


def one(ctx: ProbeContext, vendor: Vendor, found: list[PciDevice], nodes: tuple[str, ...]) -> Iterator[object]:
    """One vendor's components and facts."""
    machine: Machine = ctx.machine
    devices = [d for d in found if not is_aside(machine, d)]
    known_nodes = tuple(p for p in vendor.nodes if vendor.is_verified(p))
    not_given: tuple[str, ...] = ()
    if ctx.fact(Container) is not None and known_nodes and not nodes:
        not_given, devices = tuple(d.address for d in devices), []
    readings: SmiText | None = None
    if devices or nodes:
        session, readings = ask(machine, vendor)
        if session is not None:
            yield session
            yield from unseen(vendor, devices, session)
        if ctx.fact(Container) is not None and readings is not None:
            listed = {r.address for r in readings.devices}
            if listed and None not in listed:  # the others are its host's
                not_given = tuple(d.address for d in devices if d.address not in listed)
                devices = [d for d in devices if d.address in listed]
    yield from device_components(vendor, devices, nodes, readings)
    modules = tuple(m for m in vendor.modules if machine.is_dir(f"/sys/module/{m}"))
    yield from driver(machine, vendor, devices, modules, readings)
    toolkits = tuple(toolkit_components(machine, vendor))
    yield from toolkits
    yield VendorStack(
        vendor=vendor.id,
        name=vendor.name,
        devices=tuple(d.address for d in devices),
        undriven=tuple(d.address for d in devices if d.driver is None),
        plain_display=tuple(d.address for d in devices if d.class_code.startswith("0300")),
        modules=modules,
        nodes=nodes,
        node_patterns=known_nodes,
        not_given=not_given,
        toolkits=tuple(str(t.location) for t in toolkits),
        toolkit_places=tuple(t for t in vendor.toolkits if vendor.is_verified(t)),
        libraries=known_libraries(machine, vendor),
        source=vendor.source,
        certain=vendor.certain,
        evidence=tuple(e for d in found[:8] for e in d.evidence),
    )


def is_aside(machine: Machine, device: PciDevice) -> bool:
    """A device for virtual machines: bound to vfio, or a virtual function that nothing is bound to."""
    if (device.driver or "").startswith("vfio"):
        return True
    return device.driver is None and machine.readlink(posixpath.join(BUS, device.address, "physfn")) is not None


def device_nodes(machine: Machine, vendor: Vendor) -> tuple[str, ...]:
    """The vendor's own device files."""
    return tuple(dict.fromkeys(node for pattern in vendor.nodes for node in machine.glob(pattern)))


def known_libraries(machine: Machine, vendor: Vendor) -> tuple[str, ...]:
    """The vendor's libraries in the loader's cache or in a folder of LD_LIBRARY_PATH."""
    stems = tuple(name.partition(".so")[0] + ".so" for name in vendor.libraries)
    cached = [e.path for e in machine.linker_cache(quiet=True) or () if e.soname.startswith(stems)] if stems else []
    folders = [f for f in machine.environ.get("LD_LIBRARY_PATH", "").split(":") if f.startswith("/")]
    near = [f"{f}/{n}" for f in folders[:64] for n in machine.names(f) if stems and n.startswith(stems)]
    return tuple(dict.fromkeys((*cached, *near)))[:50]


# -- the tool -----------------------------------------------------------------------------------------------------


def ask(machine: Machine, vendor: Vendor) -> tuple[VendorSession | None, SmiText | None]:
    """What the first of the vendor's tools that is there says; None where there is none."""
    if Capability.COMMANDS not in machine.capabilities:
        return None, None
    for tool, form in vendor.tools:
        result = machine.run(tool, timeout_s=TIMEOUT_S)
        if result.error:
            continue
        text = parse(form, result.stdout if result.stdout.strip() else result.stderr)
        error = text.problem
        if result.timed_out:
            error = f"no answer within {TIMEOUT_S:g} s"
        elif result.rc is None:
            error = "it did not end by itself"
        shown = error or f"driver {text.driver_version or 'not named'}, {len(text.devices)} devices"
        return VendorSession(
            vendor=vendor.id,
            tool=tool,
            error=error,
            timed_out=result.timed_out,
            tool_version=text.tool_version,
            driver_version=text.driver_version,
            runtime_version=text.runtime_version,
            device_count=len(text.devices),
            evidence=(Evidence(kind=EvidenceKind.COMMAND, source=tool, text=shown),),
        ), text
    return None, None


def unseen(vendor: Vendor, devices: list[PciDevice], session: VendorSession) -> Iterator[Unseen]:
    """A tool that is there and does not name devices: they could not be looked at."""
    if session.error and not session.device_count:
        keys = tuple(f"{vendor.kind}:{d.address}" for d in devices)
        yield Unseen(subject=keys, reason=f"{session.tool}: {session.error}", evidence=session.evidence)


# -- what it comes to ---------------------------------------------------------------------------------------------


def device_components(
    vendor: Vendor, devices: list[PciDevice], nodes: tuple[str, ...], readings: SmiText | None
) -> Iterator[Component]:
    """One component per device of the bus, with what the tool says of its address; by nodes for a vendor of unknown id."""
    by_address = {r.address: r for r in readings.devices if r.address} if readings else {}
    for device in devices:
        reading = by_address.get(device.address)
        attributes: dict[str, AttributeValue] = {
            "vendor": vendor.id, "pci_id": device.pci_id, "driver_module": device.driver,
            "seen_by": "pci" if reading is None else readings.form if readings else "pci",
        }  # fmt: skip
        if not vendor.is_verified("pci_vendor"):
            attributes["vendor_unverified"] = True
        yield Component(
            key=f"{vendor.kind}:{device.address}",
            kind=vendor.kind,
            name=(reading.name if reading else None) or device.name or f"{vendor.name} device",
            attributes=attributes | said_of(reading),
            evidence=device.evidence,
        )
    if not vendor.pci_vendor:
        for node in nodes:
            yield Component(
                key=f"{vendor.kind}:{posixpath.basename(node)}",
                kind=vendor.kind,
                name=f"{vendor.name} device",
                attributes={"vendor": vendor.id, "seen_by": "device node"},
                evidence=(kernel_evidence(node, "exists"),),
            )


def said_of(reading: Reading | None) -> dict[str, AttributeValue]:
    """What a tool said of one device, as attributes."""
    if reading is None:
        return {}
    said: dict[str, AttributeValue] = {
        "memory_bytes": reading.memory_bytes, "temperature_c": reading.temperature_c, "health": reading.health,
        "ecc": reading.ecc, "firmware_version": reading.firmware_version,
    }  # fmt: skip
    return {name: value for name, value in said.items() if value is not None}


def driver(
    machine: Machine, vendor: Vendor, devices: list[PciDevice], modules: tuple[str, ...], readings: SmiText | None
) -> Iterator[Component]:
    """The driver, where a module is loaded, a device is bound or the tool names its version."""
    own = next((r.driver_version for r in readings.devices if r.driver_version), None) if readings else None
    told = (readings.driver_version if readings else None) or own
    bound = sorted({d.driver for d in devices if d.driver})
    if not (modules or bound or told):
        return
    evidence = [kernel_evidence(f"/sys/module/{m}", "loaded") for m in modules]
    kernel_version = None
    for module in dict.fromkeys((*modules, *bound)):
        path = f"/sys/module/{module}/version"
        kernel_version = version((machine.read_text(path, max_bytes=200, quiet=True) or "").strip())
        if kernel_version:
            evidence.append(kernel_evidence(path, kernel_version))
            break
    attributes: dict[str, AttributeValue] = {"kernel_driver": " ".join(bound) or None}
    if readings is not None and told:
        evidence.append(Evidence(kind=EvidenceKind.COMMAND, source=readings.form, text=f"driver {told}"))
        attributes["tool_version"] = readings.tool_version
        attributes["runtime_version"] = readings.runtime_version
    yield Component(
        key=f"driver:{vendor.id}",
        kind="driver",
        name=vendor.id,
        version=kernel_version or told,
        attributes={n: v for n, v in attributes.items() if v is not None},
        evidence=tuple(evidence),
    )


def toolkit_components(machine: Machine, vendor: Vendor) -> Iterator[Component]:
    """The toolkit folders: where they usually lie and where the vendor's variable points."""
    named = [machine.environ.get(variable, "") for variable in vendor.homes]
    places = {machine.realpath(p): None for p in (*vendor.toolkits, *named) if p.startswith("/") and machine.is_dir(p)}
    for place in places:
        found, path = toolkit_version(machine, vendor, place)
        yield Component(
            key=f"toolkit:{place}",
            kind="toolkit",
            name=f"{vendor.name} toolkit",
            version=found,
            location=place,
            attributes={"vendor": vendor.id},
            evidence=(
                Evidence(kind=EvidenceKind.FILE, source=path, text=found)
                if found and path
                else Evidence(kind=EvidenceKind.DIRECTORY, source=place, text="exists"),
            ),
        )


def toolkit_version(machine: Machine, vendor: Vendor, place: str) -> tuple[str | None, str]:
    """(version, the file that says it): a line of text, or a JSON document with a key `version`."""
    import re

    tails = [p.removeprefix(t + "/") for p in vendor.version_files for t in vendor.toolkits if p.startswith(t + "/")]
    for tail in tails:
        path = posixpath.join(place, tail)
        text = machine.read_text(path, max_bytes=VERSION_CAP_BYTES, quiet=True) or ""
        expression = r'"version"\s{0,9}:\s{0,9}"([^"\n]{1,40})"' if tail.endswith(".json") else r"(\d[\w.+-]{0,40})"
        match = re.search(expression, text)
        if match and version(match.group(1)):
            return version(match.group(1)), path
    return None, ""
