"""What GPUs talk over: RDMA devices and their ports, GPUDirect RDMA, the IOMMU, ACS of PCI bridges, communication libraries.

Facts come from /sys/class/infiniband, /sys/module, /sys/class/iommu, /sys/kernel/iommu_groups, the kernel's command line and
PCI configuration space; library versions from the .pc files beside them. Nothing is looked at where there is neither an
accelerator nor an RDMA device, except the one listing that tells."""

import posixpath
import re
from collections.abc import Iterator

from infra_doctor.plugin import (
    Component,
    Evidence,
    EvidenceKind,
    Machine,
    Probe,
    ProbeContext,
    fact,
    kernel_evidence,
    record,
)
from infra_doctor_probes.detect.pci import BUS, PciDevice

INFINIBAND = "/sys/class/infiniband"
NODES = "/dev/infiniband"
IOMMU_OPTIONS = ("iommu", "intel_iommu", "amd_iommu", "iommu.passthrough", "iommu.strict", "pci", "pcie_acs_override")
# Where NCCL itself looks for the module that lets an HCA reach GPU memory (src/transport/net_ib.cc, ncclIbGdrSupport).
PEER_MEMORY = (
    "/sys/module/nvidia_peermem/version", "/sys/kernel/mm/memory_peers/nv_mem/version",
    "/sys/kernel/mm/memory_peers/nv_mem_nc/version",
)  # fmt: skip
# Bits of the ACS control register by the names that lspci gives them, PCI Express Base Specification.
ACS_BITS = ("SrcValid", "TransBlk", "ReqRedir", "CmpltRedir", "UpstreamFwd", "EgressCtrl", "DirectTrans")
PORT_TYPES = {4: "root port", 5: "switch upstream port", 6: "switch downstream port", 7: "bridge to PCI", 8: "bridge"}
# kind, soname, the .pc file that names its version
LIBRARIES = (
    ("ucx", "libucp.so.0", "ucx.pc"),
    ("open-mpi", "libmpi.so.40", "ompi.pc"),
    ("mpich", "libmpi.so.12", "mpich.pc"),
    ("gdrcopy", "libgdrapi.so.2", "gdrcopy.pc"),
    ("nccl-net-plugin", "libnccl-net.so", ""),
    ("libibverbs", "libibverbs.so.1", "libibverbs.pc"),
)


@fact("rdma-port", 1)
@record
class RdmaPort:
    """One port of an RDMA device. `state` is "ACTIVE", "DOWN", "INIT", "ARMED"; `physical_state` "LinkUp", "Polling",
    "Disabled" …; `link_layer` "InfiniBand" or "Ethernet" (RoCE, iWARP)."""

    device: str  # component key
    name: str  # "mlx5_0"
    port: int
    state: str
    physical_state: str
    rate_gb_per_s: float | None  # gigabits per second, as the kernel prints it
    link_layer: str
    device_type: str  # "MT4129"; "" where the driver gives none
    evidence: tuple[Evidence, ...] = ()


@fact("rdma-access", 1)
@record
class RdmaAccess:
    """The verbs nodes under /dev/infiniband: without one, no program here reaches an RDMA device."""

    verbs: tuple[str, ...]
    evidence: tuple[Evidence, ...] = ()


@fact("gpudirect", 1)
@record
class GpuDirect:
    """Kernel modules for direct paths to GPU memory. `peer_memory` is the path that shows nvidia-peermem (or its
    predecessor) loaded, "" where none does."""

    peer_memory: str
    gdrdrv: bool
    nvidia_fs: bool
    evidence: tuple[Evidence, ...] = ()


@fact("iommu", 1)
@record
class Iommu:
    """The IOMMU units of the running kernel, its options on the command line, and the type of the group that each
    accelerator is in: "identity" is passthrough; "DMA" and "DMA-FQ" translate."""

    units: tuple[str, ...]
    options: tuple[str, ...]
    group_types: tuple[tuple[str, str], ...]  # (PCI address, type)
    evidence: tuple[Evidence, ...] = ()


@fact("acs-bridge", 1)
@record
class AcsBridge:
    """A PCI bridge above accelerators. `acs` are the bits of ACSCtl that are set; None where its configuration space
    could not be read (only root reads more than 64 bytes), () where none is set or it has no such capability."""

    address: str
    port_type: str
    below: tuple[str, ...]  # PCI addresses of accelerators and RDMA devices below it
    acs: tuple[str, ...] | None
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """RDMA components and ports, GpuDirect, Iommu, AcsBridge, communication libraries."""
    machine: Machine = ctx.machine
    accelerators = tuple(d for d in ctx.facts(PciDevice) if d.accelerator)
    names = machine.names(INFINIBAND)
    rdma_addresses: list[str] = []
    for name in names:
        device = rdma_device(machine, name)
        yield device
        if isinstance(device.attributes.get("pci_address"), str):
            rdma_addresses.append(str(device.attributes["pci_address"]))
        yield from ports(machine, device)
    if names or machine.is_dir(NODES):
        verbs = tuple(n for n in machine.names(NODES) if n.startswith("uverbs"))
        shown = ", ".join(verbs) or "holds no uverbs"
        yield RdmaAccess(verbs=verbs, evidence=(kernel_evidence(NODES, shown),))
    nvidia = [d for d in accelerators if d.vendor == "nvidia"]
    if nvidia:
        yield gpu_direct(machine)
    if len(accelerators) > 1 or (accelerators and rdma_addresses):
        yield iommu(machine, [d.address for d in accelerators])
        yield from bridges(machine, [*(d.address for d in accelerators), *rdma_addresses])
    if accelerators or names:
        yield from libraries(machine)


# -- RDMA ---------------------------------------------------------------------------------------------------------


def rdma_device(machine: Machine, name: str) -> Component:
    """One device of /sys/class/infiniband; its version is the firmware's."""
    folder = posixpath.join(INFINIBAND, name)
    firmware = line(machine, folder + "/fw_ver")
    real = machine.realpath(folder + "/device")
    address = posixpath.basename(real)
    return Component(
        key=f"rdma-device:{name}",
        kind="rdma-device",
        name=name,
        version=firmware or None,
        attributes={
            "type": line(machine, folder + "/hca_type") or None,
            "pci_address": address if re.fullmatch(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", address) else None,
            "vendor_id": line(machine, folder + "/device/vendor").removeprefix("0x") or None,
            "driver": posixpath.basename(machine.readlink(folder + "/device/driver") or "") or None,
            "numa_node": line(machine, folder + "/device/numa_node") or None,
        },
        evidence=(kernel_evidence(folder, f"firmware {firmware or 'not told'}"),),
    )


def ports(machine: Machine, device: Component) -> Iterator[RdmaPort]:
    """The ports of a device; a number as its name tells a port. state reads "4: ACTIVE", rate "400 Gb/sec (4X NDR)"."""
    for number in machine.names(f"{INFINIBAND}/{device.name}/ports"):
        folder = f"{INFINIBAND}/{device.name}/ports/{number}"
        if not number.isdecimal() or len(number) > 4:
            continue
        state = line(machine, folder + "/state").rpartition(":")[2].strip()
        physical = line(machine, folder + "/phys_state").rpartition(":")[2].strip()
        rate = line(machine, folder + "/rate")
        layer = line(machine, folder + "/link_layer")
        speed = re.match(r"(\d{1,6}(?:\.\d{1,3})?) Gb/sec", rate)
        yield RdmaPort(
            device=device.key,
            name=device.name,
            port=int(number),
            state=state,
            physical_state=physical,
            rate_gb_per_s=float(speed.group(1)) if speed else None,
            link_layer=layer,
            device_type=str(device.attributes.get("type") or ""),
            evidence=(kernel_evidence(folder, f"{state}, {physical}, {rate}, {layer}"),),
        )


def line(machine: Machine, path: str) -> str:
    """The first line of a file of /sys, "" where there is none."""
    text = machine.read_text(path, max_bytes=256, quiet=True) or ""
    return text.splitlines()[0].strip() if text.strip() else ""


def gpu_direct(machine: Machine) -> GpuDirect:
    """Which modules are loaded."""
    peer = next((path for path in PEER_MEMORY if machine.exists(path)), "")
    found = {name: machine.exists(f"/sys/module/{name}") for name in ("gdrdrv", "nvidia_fs")}
    shown = ", ".join(
        [f"peer memory by {peer}" if peer else "no peer memory module", *(n for n, on in found.items() if on)]
    )
    return GpuDirect(
        peer_memory=peer,
        gdrdrv=found["gdrdrv"],
        nvidia_fs=found["nvidia_fs"],
        evidence=(kernel_evidence("/sys/module", shown),),
    )


# -- IOMMU and ACS ------------------------------------------------------------------------------------------------


def iommu(machine: Machine, addresses: list[str]) -> Iommu:
    """Units, options, group types."""
    units = machine.names("/sys/class/iommu")
    words = (machine.read_text("/proc/cmdline", max_bytes=8192, quiet=True) or "").split()
    options = tuple(word for word in words if word.partition("=")[0] in IOMMU_OPTIONS)
    types = []
    for address in addresses:
        group = machine.readlink(f"{BUS}/{address}/iommu_group")
        kind = line(machine, f"/sys/kernel/iommu_groups/{posixpath.basename(group)}/type") if group else ""
        if kind:
            types.append((address, kind))
    evidence = [kernel_evidence("/sys/class/iommu", ", ".join(units) or "no unit")]
    if options:
        evidence.append(kernel_evidence("/proc/cmdline", " ".join(options)))
    evidence += [kernel_evidence(f"{BUS}/{address}/iommu_group/type", kind) for address, kind in types[:8]]
    return Iommu(units=units, options=options, group_types=tuple(types), evidence=tuple(evidence))


def bridges(machine: Machine, addresses: list[str]) -> Iterator[AcsBridge]:
    """Each bridge on the way from the root to one of these devices, by what the folders of /sys/devices nest."""
    below: dict[str, list[str]] = {}
    for address in addresses:
        folder = posixpath.dirname(machine.realpath(f"{BUS}/{address}"))
        while re.fullmatch(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", posixpath.basename(folder)):
            below.setdefault(folder, []).append(address)
            folder = posixpath.dirname(folder)
    for folder, found in sorted(below.items()):
        config = machine.pci_config(folder + "/config")
        acs = bits(config.acs_control or 0) if config is not None and config.whole else None
        shown = "configuration space not readable" if acs is None else " ".join(acs) or "no ACSCtl bit set"
        yield AcsBridge(
            address=posixpath.basename(folder),
            port_type=PORT_TYPES.get(config.port_type or 0, "") if config is not None else "",
            below=tuple(found),
            acs=acs,
            evidence=(kernel_evidence(folder + "/config", shown),),
        )


def bits(control: int) -> tuple[str, ...]:
    """The names of the bits that are set, as lspci calls them."""
    return tuple(name for bit, name in enumerate(ACS_BITS) if control >> bit & 1)


# -- libraries ----------------------------------------------------------------------------------------------------


def libraries(machine: Machine) -> Iterator[Component]:
    """The copies that the loader's cache names, each real path once."""
    wanted = {soname: (kind, package) for kind, soname, package in LIBRARIES}
    seen = set()
    for entry in machine.linker_cache(quiet=True) or ():
        if entry.soname not in wanted or (real := machine.realpath(entry.path)) in seen:
            continue
        seen.add(real)
        kind, package = wanted[entry.soname]
        version, evidence = package_version(machine, real, package) if package else (None, None)
        cached = Evidence(kind=EvidenceKind.FILE, source="/etc/ld.so.cache", text=f"{entry.soname} => {entry.path}")
        yield Component(
            key=f"{kind}:{real}",
            kind=kind,
            name=kind,
            version=version,
            location=real,
            attributes={"soname": entry.soname},
            evidence=(cached, *([evidence] if evidence else [])),
        )


def package_version(machine: Machine, library: str, package: str) -> tuple[str | None, Evidence | None]:
    """The Version line of the .pc file in the pkgconfig folder beside a library, or one above it."""
    folder = posixpath.dirname(library)
    for candidate in (folder, posixpath.dirname(folder)):
        path = f"{candidate}/pkgconfig/{package}"
        text = machine.read_text(path, max_bytes=16384, quiet=True) or ""
        found = re.search(r"^Version:[ \t]{0,8}(\d[\w.+-]{0,30})", text, re.MULTILINE)
        if found:
            return found.group(1), Evidence(kind=EvidenceKind.FILE, source=path, text=found.group(0))
    return None, None


PROBES = (
    Probe(
        id="communication",
        version=1,
        title="RDMA devices, GPUDirect RDMA, IOMMU and ACS, communication libraries",
        run=run,
        needs=("kernel state",),
        after=("pci",),
        collect=(
            *(f"{INFINIBAND}/*/{name}" for name in ("fw_ver", "hca_type", "device", "device/vendor", "device/driver",
                                                    "device/numa_node")),
            *(f"{INFINIBAND}/*/ports/*/{name}" for name in ("state", "phys_state", "rate", "link_layer")),
            f"{NODES}/*", *PEER_MEMORY, "/sys/module/gdrdrv", "/sys/module/nvidia_fs", "/sys/class/iommu/*",
            "/proc/cmdline", "pci-bridges", f"{BUS}/*/iommu_group", "/sys/kernel/iommu_groups/*/type",
            *(f"/usr/lib/*-linux-gnu/pkgconfig/{package}" for _, _, package in LIBRARIES if package),
            *(f"/usr/lib/*-linux-gnu/{soname}" for _, soname, _ in LIBRARIES),
        ),
    ),
)  # fmt: skip
