"""The PCI Express links of accelerators and of the bridges above them, their NUMA nodes, and the way to each RDMA adapter.

Facts come from sysfs: where /sys/bus/pci/devices/ADDRESS points names every bridge between the device and its host bridge,
and each end of a link says its width and speed, now and at most. A guest of a hypervisor may see no bridge, or made-up ones."""

import posixpath
import re
from collections.abc import Iterator

from infra_doctor.plugin import Evidence, Machine, Probe, ProbeContext, fact, kernel_evidence, record
from infra_doctor_probes.detect.pci import BUS, PciDevice

RDMA = "/sys/class/infiniband"
ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
SPEED = re.compile(r"(\d{1,3}(?:\.\d)?) GT/s")
MOST_LANES = 32  # 63 and 255 are what broken registers give


@record
class PciLinkEnd:
    """One end of a link, as its registers say. None where sysfs does not tell."""

    address: str
    width: int | None = None
    width_max: int | None = None
    speed_gt_per_s: float | None = None
    speed_max_gt_per_s: float | None = None


@record
class PciLink:
    """A link: the lower end (device, or a switch's upstream port) and the port above it. `above` is None where no port
    shows, or where it does not look like the other end of the same link (hypervisors make ports up)."""

    below: PciLinkEnd
    above: PciLinkEnd | None = None


@fact("pci-path", 1)
@record
class PciPath:
    """An accelerator's way to the processor. `links` begin at the device; `host_bridge` is "pci0000:00"."""

    address: str
    vendor: str
    links: tuple[PciLink, ...]
    host_bridge: str | None = None
    bridges: tuple[str, ...] = ()  # addresses, nearest to the host bridge first
    numa_node: int | None = None
    virtual_function: bool = False
    evidence: tuple[Evidence, ...] = ()


@fact("rdma-path", 1)
@record
class RdmaPath:
    """How an accelerator reaches an RDMA adapter ("mlx5_0"): PIX (one switch), PXB (several), PHB (over the host bridge),
    NODE (between host bridges of one NUMA node), SYS (between NUMA nodes)."""

    address: str
    adapter: str
    path: str
    evidence: tuple[Evidence, ...] = ()


@record
class Place:
    """Where a PCI function hangs."""

    host_bridge: str | None
    bridges: tuple[str, ...]
    numa_node: int | None


def run(ctx: ProbeContext) -> Iterator[object]:
    """A PciPath per accelerator; an RdmaPath per accelerator and RDMA adapter."""
    machine: Machine = ctx.machine
    devices = [d for d in ctx.facts(PciDevice) if d.accelerator]
    if not devices:
        return
    places = {d.address: place_of(machine, posixpath.join(BUS, d.address)) for d in devices}
    for device in devices:
        yield pci_path(machine, device, places[device.address])
    for adapter in machine.names(RDMA):
        link = posixpath.join(RDMA, adapter, "device")
        there = place_of(machine, link)
        for device in devices:
            path = path_between(places[device.address], there)
            if path is not None:
                seen = kernel_evidence(
                    link, f"NUMA node {there.numa_node}, below {' '.join(there.bridges) or 'no bridge'}"
                )
                yield RdmaPath(address=device.address, adapter=adapter[:80], path=path, evidence=(seen,))


def place_of(machine: Machine, path: str) -> Place:
    """Read off the real path: /sys/devices/pci0000:15/0000:15:01.0/0000:16:00.0/0000:17:00.0."""
    parts = machine.realpath(path).split("/")
    host = next((p for p in parts if p.startswith("pci")), None)
    bridges = tuple(p for p in parts if ADDRESS.fullmatch(p))[:-1] if host else ()
    node = (machine.read_text(posixpath.join(path, "numa_node"), max_bytes=64, quiet=True) or "").strip()
    return Place(
        host_bridge=host, bridges=bridges, numa_node=int(node) if node.isascii() and node.isdecimal() else None
    )


def pci_path(machine: Machine, device: PciDevice, place: Place) -> PciPath:
    """The device's links, and what they were read from."""
    chain = [device.address, *reversed(place.bridges)]
    ends = [link_end(machine, address) for address in chain]
    links = [link_of(ends[0], ends[1] if len(ends) > 1 else None)]
    # Inside a switch, downstream and upstream port are one chip: links begin at every second bridge.
    links += [link_of(ends[i], ends[i + 1]) for i in range(2, len(ends) - 1, 2)]
    shown = ", ".join(link_text(link) for link in links)
    return PciPath(
        address=device.address,
        vendor=device.vendor,
        links=tuple(links),
        host_bridge=place.host_bridge,
        bridges=place.bridges,
        numa_node=place.numa_node,
        virtual_function=machine.readlink(posixpath.join(BUS, device.address, "physfn")) is not None,
        evidence=(kernel_evidence(posixpath.join(BUS, device.address), shown),),
    )


def link_of(below: PciLinkEnd, above: PciLinkEnd | None) -> PciLink:
    """Both ends of one link run at one width; a port that does not is no other end."""
    same = above is not None and above.width is not None and above.width == below.width
    return PciLink(below=below, above=above if same else None)


def link_text(link: PciLink) -> str:
    """ "0000:17:00.0 x8 of x16 (port 0000:16:00.0 x16)"."""
    words = f"{link.below.address} x{link.below.width or '?'} of x{link.below.width_max or '?'}"
    return words + (f" (port {link.above.address} x{link.above.width_max or '?'})" if link.above else "")


def link_end(machine: Machine, address: str) -> PciLinkEnd:
    """One device's four values."""

    def value(name: str) -> str:
        return (machine.read_text(posixpath.join(BUS, address, name), max_bytes=64, quiet=True) or "").strip()

    return PciLinkEnd(
        address=address,
        width=lanes(value("current_link_width")),
        width_max=lanes(value("max_link_width")),
        speed_gt_per_s=gigatransfers(value("current_link_speed")),
        speed_max_gt_per_s=gigatransfers(value("max_link_speed")),
    )


def lanes(text: str) -> int | None:
    """A number of lanes; 0 is a link that is down or not told."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 4 and 0 < int(text) <= MOST_LANES else None


def gigatransfers(text: str) -> float | None:
    """ "32.0 GT/s PCIe" as 32.0."""
    match = SPEED.match(text)
    return float(match.group(1)) if match else None


def path_between(a: Place, b: Place) -> str | None:
    """The path in nvidia-smi's words; None where the tree does not show."""
    if a.host_bridge is None or b.host_bridge is None:
        return None
    if a.host_bridge != b.host_bridge:
        if a.numa_node is None or b.numa_node is None:
            return None
        return "NODE" if a.numa_node == b.numa_node else "SYS"
    shared = 0
    for mine, theirs in zip(a.bridges, b.bridges, strict=False):
        if mine != theirs:
            break
        shared += 1
    if not shared:
        return "PHB"
    return "PIX" if max(len(a.bridges), len(b.bridges)) - shared <= 1 else "PXB"


PROBES = (
    Probe(
        id="pci-link",
        version=1,
        title="PCI Express links of accelerators",
        run=run,
        needs=("kernel state",),
        after=("pci",),
        collect=(
            *(f"{BUS}/*/{kind}_link_{value}" for kind in ("current", "max") for value in ("width", "speed")),
            f"{BUS}/*/numa_node",
            f"{RDMA}/*/device/numa_node",
        ),
    ),
)
