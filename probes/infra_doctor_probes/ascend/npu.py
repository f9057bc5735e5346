"""The Ascend NPUs: by DCMI in a child process, by `npu-smi info` where that does not answer, by /dev and PCI where neither.

Nothing is started where neither a /dev/davinci node nor an NPU on the bus shows. /dev/davinciN counts physical ids. A
container sees every NPU of its host on the bus: without a node they are not its own."""

import re
from collections.abc import Iterator

from infra_doctor.plugin import (
    AttributeValue,
    Component,
    Evidence,
    Machine,
    ProbeContext,
    Unseen,
    fact,
    kernel_evidence,
    record,
)
from infra_doctor_probes.ascend.files import AscendVersionSources, read_pairs
from infra_doctor_probes.ascend.npu_smi import Chip
from infra_doctor_probes.ascend.session import AscendSession, ask
from infra_doctor_probes.ascend.state import NpuState
from infra_doctor_probes.detect.ascend import INSTALL_INFO, MANAGERS
from infra_doctor_probes.detect.pci import PciDevice
from infra_doctor_probes.detect.system import Container

NPU_NODE = re.compile(r"davinci(\d{1,4})")
# Device ids whose chip family public code names; others have only unverified names.
FAMILIES = {"19e5:d802": "910B (A2)", "19e5:d803": "910C (A3)"}


@fact("ascend-device-nodes", 1)
@record
class AscendDeviceNodes:
    """The device files under /dev: NPUs ("/dev/davinci0"), and which of the managers are there or missing."""

    npus: tuple[str, ...]
    managers: tuple[str, ...]
    missing: tuple[str, ...]
    evidence: tuple[Evidence, ...] = ()


@fact("ascend-access", 1)
@record
class AscendAccess:
    """Whether this user opens the nodes: (path, "" or the errno's name) for one NPU and the managers. `group` is the group
    that the driver's installer gave them to."""

    nodes: tuple[tuple[str, str], ...]
    group: str
    evidence: tuple[Evidence, ...] = ()


@fact("ascend-npus-not-given", 1)
@record
class AscendNpusNotGiven:
    """NPUs of the host that this container, or this system, does not have."""

    addresses: tuple[str, ...]
    reason: str
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """npu components, the sessions and nodes as facts; Unseen for NPUs that are there and could not be looked at."""
    machine: Machine = ctx.machine
    nodes = device_nodes(machine)
    if nodes is not None:
        yield nodes
        yield from access(machine, nodes)
    bus = {d.address: d for d in ctx.facts(PciDevice) if d.vendor == "ascend" and d.accelerator}
    in_container = ctx.fact(Container) is not None
    for aside in set_aside(bus, in_container=in_container, has_nodes=bool(nodes and nodes.npus)):
        yield aside
        for address in aside.addresses:
            del bus[address]
    if not bus and not (nodes and nodes.npus):
        return
    sessions, chips = ask(machine)
    yield from sessions
    running = next(((s.driver_version, s) for s in sessions if s.driver_version), None)
    if running is not None:
        yield from driver(*running)
    if chips:
        yield from seen(chips, sessions[-1], bus, nodes.npus if nodes is not None else ())
        yield from left_over(chips, bus, sessions[-1], in_container=in_container)
    else:
        yield from unanswered(bus, nodes, sessions, in_container=in_container)


# -- what shows without asking ------------------------------------------------------------------------------------


def device_nodes(machine: Machine) -> AscendDeviceNodes | None:
    """The device files; None where there are none."""
    names = [n for n, kind in machine.listdir("/dev") if kind != "file" and n.startswith(("davinci", "devmm", "hisi_"))]
    npus = sorted((n for n in names if NPU_NODE.fullmatch(n)), key=lambda n: int(n[7:]))
    managers = tuple(n for n in MANAGERS if n in names)
    if not npus and not managers:
        return None
    return AscendDeviceNodes(
        npus=tuple("/dev/" + n for n in npus),
        managers=tuple("/dev/" + n for n in managers),
        missing=tuple("/dev/" + n for n in MANAGERS if n not in managers),
        evidence=(kernel_evidence("/dev", ", ".join((*npus, *managers))),),
    )


def access(machine: Machine, nodes: AscendDeviceNodes) -> Iterator[AscendAccess]:
    """Opens one NPU's node and the managers, as every program that uses an NPU does; all NPUs have the same permissions."""
    asked = [(path, machine.open_error(path)) for path in (*nodes.npus[:1], *nodes.managers)]
    said = tuple((path, error) for path, error in asked if error is not None)
    if said:
        install = read_pairs(machine, INSTALL_INFO) or {}
        evidence = tuple(kernel_evidence(path, error or "opens") for path, error in said)
        yield AscendAccess(nodes=said, group=install.get("UserGroup", "")[:40] or "HwHiAiUser", evidence=evidence)


def set_aside(bus: dict[str, PciDevice], *, in_container: bool, has_nodes: bool) -> list[AscendNpusNotGiven]:
    """The NPUs on the bus that are not ours, with the reason."""
    kept = tuple(a for a, d in bus.items() if (d.driver or "").startswith("vfio"))
    found = []
    if kept:
        found.append(not_given(bus, kept, "bound to vfio-pci: kept for a virtual machine"))
    rest = tuple(a for a in bus if a not in kept)
    if rest and in_container and not has_nodes:
        found.append(not_given(bus, rest, "no /dev/davinci node: not given to this container"))
    return found


def not_given(bus: dict[str, PciDevice], addresses: tuple[str, ...], reason: str) -> AscendNpusNotGiven:
    """The fact, with what the bus shows."""
    evidence = tuple(e for a in addresses[:4] for e in bus[a].evidence)
    return AscendNpusNotGiven(addresses=addresses, reason=reason, evidence=evidence)


# -- what it comes to ---------------------------------------------------------------------------------------------


def driver(version: str, session: AscendSession) -> Iterator[object]:
    """The running driver's own word, beside what its files say."""
    yield Component(
        key="driver:ascend",
        kind="driver",
        name="ascend",
        version=version,
        attributes={"running_version": version},
        evidence=session.evidence,
    )
    yield AscendVersionSources(
        subject="driver:ascend",
        sources=((version, "the running driver, by " + session.tool),),
        chosen=version,
        evidence=session.evidence,
    )


def seen(
    chips: tuple[Chip, ...], session: AscendSession, bus: dict[str, PciDevice], nodes: tuple[str, ...]
) -> Iterator[object]:
    """One component per chip, with its state. Two chips of a card may share one PCI address."""
    taken: set[str] = set()
    for chip in chips:
        place = f"npu{chip.npu_id}"
        if chip.address or chip.physical_id is not None:
            place = chip.address or f"davinci{chip.physical_id}"
        elif len(chips) == len(nodes) == 1:
            place = nodes[0].rpartition("/")[2]
        key = f"npu:{place}"
        if key in taken:
            key += f"#{chip.chip_id}"
        if key in taken:
            continue
        taken.add(key)
        device = bus.get(chip.address or "")
        attributes: dict[str, AttributeValue] = {
            "vendor": "ascend",
            "chip": chip.name,
            "health": chip.health,
            "npu_id": chip.npu_id,
            "chip_id": chip.chip_id,
            "seen_by": session.tool.lower(),
            # An NPU on this machine's bus is an endpoint that this host drives; nothing else tells the form.
            "form": "EP" if device else "unknown",
        }
        if chip.physical_id is not None:
            attributes["physical_id"] = chip.physical_id
        if chip.memory_bytes:
            attributes["memory_bytes"] = chip.memory_bytes
        if chip.soc:
            attributes["soc"] = chip.soc
        if device:
            attributes |= bus_attributes(device)
        yield Component(
            key=key,
            kind="npu",
            name=full_name(chip.name),
            attributes=attributes,
            evidence=(*session.evidence, *(device.evidence if device else ())),
        )
        if chip.reading is not None:
            yield NpuState(npu=key, source=session.tool, reading=chip.reading, evidence=session.evidence)


def full_name(chip: str) -> str:
    """ "910B4" as "Ascend910B4", the way the runtime calls it; other names as they are."""
    return "Ascend" + chip if chip[:1].isdigit() else chip


def bus_attributes(device: PciDevice) -> dict[str, AttributeValue]:
    """What the bus says of an NPU."""
    found: dict[str, AttributeValue] = {"pci_id": device.pci_id, "driver_module": device.driver}
    if device.pci_id in FAMILIES:
        found["family"] = FAMILIES[device.pci_id]
    return found


def of_bus(device: PciDevice) -> Component:
    """An NPU that only the bus shows."""
    attributes: dict[str, AttributeValue] = {"vendor": "ascend", "seen_by": "pci", "form": "EP"}
    return Component(
        key=f"npu:{device.address}",
        kind="npu",
        name="Ascend NPU",
        attributes=attributes | bus_attributes(device),
        evidence=device.evidence,
    )


def left_over(
    chips: tuple[Chip, ...], bus: dict[str, PciDevice], session: AscendSession, *, in_container: bool
) -> Iterator[object]:
    """NPUs on the bus that the tool does not list. Where it masks addresses they cannot be told apart."""
    listed = {c.address for c in chips}
    rest = {a: d for a, d in bus.items() if a not in listed}
    if None in listed or not rest:
        return
    if in_container:
        yield not_given(bus, tuple(rest), f"{session.tool} does not list it: not given to this container")
        return
    yield from (of_bus(d) for d in rest.values())
    keys = tuple(f"npu:{a}" for a in rest)
    yield Unseen(subject=keys, reason=f"{session.tool} does not list it", evidence=session.evidence)


def unanswered(
    bus: dict[str, PciDevice], nodes: AscendDeviceNodes | None, sessions: list[AscendSession], *, in_container: bool
) -> Iterator[object]:
    """NPUs of which nobody could be asked: by their nodes in a container, else by the bus."""
    found = [of_bus(d) for d in bus.values()] if bus and not in_container else []
    if not found and nodes is not None:
        attributes: dict[str, AttributeValue] = {"vendor": "ascend", "seen_by": "device node", "form": "unknown"}
        for node in nodes.npus:
            place = node.rpartition("/")[2]
            seen_node = (kernel_evidence(node, "exists"),)
            found.append(
                Component(
                    key=f"npu:{place}", kind="npu", name="Ascend NPU", attributes=dict(attributes), evidence=seen_node
                )
            )
    yield from found
    if sessions:  # else this form of machine cannot ask: no error
        reason = "; ".join(f"{s.tool}: {s.error}" for s in sessions)
        evidence = tuple(e for s in sessions for e in s.evidence)
        yield Unseen(subject=tuple(c.key for c in found), reason=reason, evidence=evidence)
