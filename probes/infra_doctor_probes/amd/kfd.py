"""What the kernel's compute driver (KFD) says: which GPUs it took, which it refused, whether its device file opens.

Facts: /sys/class/kfd/kfd/topology (one folder per node; CPUs are nodes with gpu_id 0), /dev/kfd, /dev/dri/renderD*, and the
kernel's log. `gfx_target_version` is the instruction set as a number: 90402 is gfx942, 90010 is gfx90a."""

import posixpath
from collections.abc import Iterator

from infra_doctor.plugin import Evidence, KernelLog, Machine, fact, kernel_evidence, record
from infra_doctor_probes.detect.amd import LOG_PATTERNS
from infra_doctor_probes.detect.pci import opened_render_nodes

TOPOLOGY = "/sys/class/kfd/kfd/topology/nodes"
KFD = "/dev/kfd"
XGMI = "11"  # HSA_IOLINKTYPE_XGMI
NODES_CAP = 600


@record
class KfdNode:
    """One GPU node, or one partition of a GPU. `address` is its PCI address, `gfx` its instruction set ("gfx942")."""

    node: str
    address: str
    gfx: str | None
    compute_units: int | None
    xgmi_links: int


@fact("amd-kfd", 1)
@record
class AmdKfd:
    """`present` says whether the kernel has a KFD; `unreadable` are nodes whose properties this process may not read (those of
    other containers). `log` are the kernel's lines about it, `log_error` why there are none to read."""

    present: bool
    nodes: tuple[KfdNode, ...]
    unreadable: int
    log: tuple[str, ...]
    log_error: str
    evidence: tuple[Evidence, ...] = ()


@fact("amd-access", 1)
@record
class AmdAccess:
    """Device files: (path, errno's name or "" where it opens). `kfd` is None where there is no such file or it cannot be
    told. `render` are those of AMD's GPUs."""

    kfd: str | None
    render: tuple[tuple[str, str], ...]
    kfd_exists: bool
    evidence: tuple[Evidence, ...] = ()


def read_kfd(machine: Machine) -> AmdKfd:
    """The topology and the log."""
    present = machine.is_dir(TOPOLOGY)
    nodes: list[KfdNode] = []
    unreadable = 0
    for name in machine.names(TOPOLOGY)[:NODES_CAP]:
        folder = posixpath.join(TOPOLOGY, name)
        properties = read_properties(machine, posixpath.join(folder, "properties"))
        if not properties:
            unreadable += 1
        elif properties.get("simd_count", 0) and "location_id" in properties:
            nodes.append(gpu_node(machine, folder, properties))
    log: KernelLog = machine.kernel_log(*LOG_PATTERNS)
    lines = tuple(dict.fromkeys(text[:200] for _, text in log.lines))[:20]
    seen = [kernel_evidence(posixpath.join(TOPOLOGY, n.node), f"{n.gfx or 'GPU'} at {n.address}") for n in nodes[:8]]
    return AmdKfd(
        present=present, nodes=tuple(nodes), unreadable=unreadable, log=lines, log_error=log.error,
        evidence=(*seen, *(kernel_evidence(log.source, line) for line in lines[:4])),
    )  # fmt: skip


def read_properties(machine: Machine, path: str) -> dict[str, int]:
    """The lines `name number`."""
    found = {}
    for line in (machine.read_text(path, max_bytes=16384, quiet=True) or "").splitlines()[:200]:
        name, _, value = line.strip().partition(" ")
        if value.isascii() and value.isdigit() and len(value) < 25:
            found[name] = int(value)
    return found


def gpu_node(machine: Machine, folder: str, properties: dict[str, int]) -> KfdNode:
    """One GPU of the topology."""
    where, domain = properties["location_id"], properties.get("domain", 0)
    per_unit = properties.get("simd_per_cu", 0)
    return KfdNode(
        node=posixpath.basename(folder),
        address=f"{domain & 0xFFFFFFFF:04x}:{where >> 8 & 0xFF:02x}:{where >> 3 & 0x1F:02x}.{where & 7}",
        gfx=gfx_name(properties.get("gfx_target_version", 0)),
        compute_units=properties["simd_count"] // per_unit if per_unit else None,
        xgmi_links=sum(1 for kind in link_types(machine, folder) if kind == XGMI),
    )


def gfx_name(number: int) -> str | None:
    """90402 as "gfx942": major, minor, stepping, the last two as one hexadecimal digit each."""
    major, minor, stepping = number // 10000, number // 100 % 100, number % 100
    return f"gfx{major}{minor:x}{stepping:x}" if 0 < major < 100 else None


def link_types(machine: Machine, folder: str) -> Iterator[str]:
    """The type of each link of a node."""
    for kind in ("io_links", "p2p_links"):
        for name in machine.names(posixpath.join(folder, kind))[:64]:
            properties = read_properties(machine, posixpath.join(folder, kind, name, "properties"))
            if "type" in properties:
                yield str(properties["type"])


def read_access(machine: Machine, addresses: set[str]) -> AmdAccess:
    """How the device files answer this user."""
    stat = machine.stat(KFD)
    render = opened_render_nodes(machine, addresses)
    kfd = machine.open_error(KFD)
    mode = f"mode {stat.mode:o}, " if stat is not None else ""
    seen = [kernel_evidence(KFD, f"{mode}{said(kfd)}")] if stat is not None else []
    return AmdAccess(
        kfd=kfd, render=render, kfd_exists=stat is not None,
        evidence=(*seen, *(kernel_evidence(path, said(error)) for path, error in render[:8])),
    )  # fmt: skip


def said(error: str | None) -> str:
    """An answer of open() in words."""
    return "could not be asked" if error is None else f"open gives {error}" if error else "opens"
