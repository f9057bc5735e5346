"""The machine around the accelerators: operating system, C library, processor, memory, limits, network ports."""

import re
from collections.abc import Iterator

from infra_doctor.plugin import UNLIMITED, CheckContext, Component, Observed, PolicyKey, SpecKind, kernel_evidence
from infra_doctor_probes.detect.communication import RdmaAccess, RdmaPort
from infra_doctor_probes.detect.system import Container
from infra_doctor_probes.detect.system_limits import MemoryLayout, ResourceLimits, SharedMemory
from infra_doctor_probes.requirements.common import absent, hidden, number, unseen

SYSTEM, LIMITS, NETWORK = ("system",), ("system", "system-limits"), ("communication",)
# "6.8.0-60" of "6.8.0-60-generic", "5.14.0-427" of "5.14.0-427.13.1.el9_4.x86_64": the part that PEP 440 knows too.
KERNEL = re.compile(r"\d+(?:\.\d+)*(?:-\d+)?")
NOT_ASKED = "could not be asked (below another root, and in older snapshots, it does not show)"
# A probe that needs the running kernel: where it was skipped, /proc and /sys are not this machine's.
OF_THE_KERNEL = ("system-limits",)


def one(ctx: CheckContext, kind: str) -> Component | None:
    """The component of a kind that occurs once."""
    return next(iter(ctx.by_kind(kind)), None)


def operating_system(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """The name that os-release gives."""
    found = one(ctx, "os")
    if found is None or not any("os-release" in e.source for e in found.evidence):
        yield unseen(hidden(ctx, SYSTEM) or "there is no os-release to be read")
    else:
        yield Observed(value=found.name, evidence=found.evidence[:1])


def kernel(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """The running kernel's release, as far as it is a version."""
    found = one(ctx, "os")
    release = str(found.attributes.get("kernel") or "") if found else ""
    match = KERNEL.match(release)
    if found is None or match is None:
        yield unseen(hidden(ctx, (*SYSTEM, *OF_THE_KERNEL)) or "the kernel's release could not be read")
    else:
        yield Observed(value=match.group(), evidence=tuple(e for e in found.evidence if e.text == release))


def architecture(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """What uname -m says."""
    found = one(ctx, "os")
    arch = found.attributes.get("arch") if found else None
    if found is None or not isinstance(arch, str):
        yield unseen(hidden(ctx, SYSTEM) or "neither the kernel nor a C library tells it")
    else:
        libc = one(ctx, "libc")
        told = kernel_evidence("uname", arch) if found.attributes.get("kernel") or libc is None else libc.evidence[0]
        yield Observed(value=arch, evidence=(told,))


def glibc(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """The C library that the interpreter loads."""
    found = one(ctx, "libc")
    if found is None:
        yield unseen(hidden(ctx, SYSTEM) or "which C library programs load could not be told")
    elif found.name != "glibc":
        yield Observed(
            value=None, subject=(found.key,), reason=f"the C library is {found.name}", evidence=found.evidence
        )
    else:
        yield Observed(value=found.version or "", subject=(found.key,), evidence=found.evidence[-1:])


def cpu_count(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """Logical processors that are online."""
    found = one(ctx, "cpu")
    cores = found.attributes.get("cores") if found else None
    if not isinstance(cores, int) or cores < 1:
        yield unseen(hidden(ctx, (*SYSTEM, *OF_THE_KERNEL)) or "the kernel does not tell it")
    else:
        yield Observed(value=cores, evidence=(kernel_evidence("sysconf _SC_NPROCESSORS_ONLN", str(cores)),))


def cpu_model(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """The name in /proc/cpuinfo."""
    found = one(ctx, "cpu")
    if found is None:
        yield unseen(hidden(ctx, (*SYSTEM, *OF_THE_KERNEL)) or "the kernel does not tell it")
    else:
        yield Observed(value=found.name, evidence=found.evidence[:1])


def memory(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """What the kernel has, or what this control group may use where that is less."""
    found = one(ctx, "memory")
    total = found.attributes.get("total_bytes") if found else None
    limit = found.attributes.get("limit_bytes") if found else None
    if found is None or not isinstance(total, int):
        yield unseen(hidden(ctx, (*SYSTEM, *OF_THE_KERNEL)) or "the kernel does not tell it")
    elif isinstance(limit, int) and limit < total:
        reason = "the limit of this control group; the machine has more"
        yield Observed(value=limit, reason=reason, evidence=found.evidence[-1:])
    else:
        yield Observed(value=total, evidence=found.evidence[:1])


def container(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """Whether we look out of a container."""
    found = ctx.fact(Container)
    why = hidden(ctx, (*SYSTEM, *OF_THE_KERNEL))
    if found is not None:
        yield Observed(value=True, reason=f"the marks of {found.runtime}", evidence=found.evidence[:1])
    elif why:  # some containers leave no other mark than in /proc
        yield unseen(why)
    else:
        yield Observed(value=False, reason="no container runtime left its mark")


def shared_memory(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """The size of /dev/shm."""
    found = ctx.fact(SharedMemory)
    if found is None or (found.exists and found.total_bytes is None):
        yield unseen(hidden(ctx, LIMITS) or f"its size {NOT_ASKED}", evidence=found.evidence if found else ())
    else:
        reason = "" if found.exists else "there is no /dev/shm"
        yield Observed(value=found.total_bytes, reason=reason, evidence=found.evidence)


def locked_memory(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """The soft limit of memory that this shell's programs may lock."""
    found = ctx.fact(ResourceLimits)
    if found is None or not found.known("memlock"):
        yield unseen(hidden(ctx, LIMITS) or f"the limit {NOT_ASKED}")
        return
    soft = found.soft("memlock")
    yield Observed(value=UNLIMITED if soft is None else min(soft, UNLIMITED), evidence=found.evidence)


def numa_nodes(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """ "0-1" or "0,2-3" of /sys/devices/system/node/online, counted."""
    found = ctx.fact(MemoryLayout)
    parts = (found.numa_nodes if found else None) or ""
    ranges = [re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", part) for part in parts.split(",")]
    if found is None or not all(ranges):
        yield unseen(hidden(ctx, LIMITS) or "the kernel does not tell it")
    else:
        count = sum(int(r.group(2) or r.group(1)) - int(r.group(1)) + 1 for r in ranges if r is not None)
        yield Observed(value=count, evidence=found.evidence)


def rdma_ports(ctx: CheckContext, link_layer: str | None) -> Iterator[Observed]:
    """Active ports; none in a container without a verbs device, whose /sys shows its host's."""
    ports = [p for p in ctx.facts(RdmaPort) if link_layer is None or p.link_layer == link_layer]
    active = [p for p in ports if p.state == "ACTIVE"]
    access = ctx.fact(RdmaAccess)
    if active and ctx.fact(Container) is not None and (access is None or not access.verbs):
        given = access.evidence if access else ()
        yield Observed(
            value=0, reason="this container was given no RDMA device: those in /sys are its host's", evidence=given
        )
        return
    evidence = [e for p in active or ports for e in p.evidence]
    yield number(ctx, NETWORK, len(active), evidence=evidence)


def infiniband(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """Those of InfiniBand."""
    yield from rdma_ports(ctx, "InfiniBand")


def rdma(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """Those of any link layer."""
    yield from rdma_ports(ctx, None)


def python(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """The version of each environment's Python."""
    for target in ctx.targets:
        if target.python_version:
            yield Observed(value=target.python_version, subject=(target.key,), evidence=target.evidence[:1])
        else:
            yield unseen(f"the version of {target.executable} could not be told", target.key)
    if not ctx.targets:
        yield absent(ctx, (), "no Python environment was found")


KEYS = (
    PolicyKey(key="os", title="the operating system, as os-release names it", kind=SpecKind.NAME, observe=operating_system,
              example='"Ubuntu 24.04"', probes=SYSTEM),
    PolicyKey(key="kernel", title="the running kernel's release", kind=SpecKind.VERSION, observe=kernel, example='">=5.15"',
              probes=SYSTEM),
    PolicyKey(key="arch", title="the machine's architecture, as uname -m names it", kind=SpecKind.NAME, observe=architecture,
              example='"x86_64"', probes=SYSTEM),
    PolicyKey(key="glibc", title="the C library", kind=SpecKind.VERSION, observe=glibc, example='">=2.28"', probes=SYSTEM,
              explained_by=("GLIBC",)),
    PolicyKey(key="python", title="the Python of each environment looked at", kind=SpecKind.VERSION, observe=python,
              example='"==3.12.*"', offered=True),
    PolicyKey(key="container", title="whether this is inside a container", kind=SpecKind.FLAG, observe=container,
              example="false", probes=SYSTEM),
    PolicyKey(key="cpu.count", title="how many logical processors are online", kind=SpecKind.COUNT, observe=cpu_count,
              example='">=16"', probes=SYSTEM),
    PolicyKey(key="cpu.model", title="the processor's name", kind=SpecKind.NAME, observe=cpu_model, example='"EPYC 9654"',
              probes=SYSTEM),
    PolicyKey(key="memory", title="main memory, or this control group's limit where that is less (the kernel keeps some of what"
              " is built in)", kind=SpecKind.SIZE, observe=memory, example='">=250 GiB"', probes=SYSTEM),
    PolicyKey(key="numa.count", title="how many NUMA nodes there are", kind=SpecKind.COUNT, observe=numa_nodes, example="2",
              probes=("system-limits",)),
    PolicyKey(key="shm", title="the size of /dev/shm", kind=SpecKind.SIZE, observe=shared_memory, example='">=1 GiB"',
              probes=("system-limits",), explained_by=("SHM",)),
    PolicyKey(key="memlock", title="how much memory programs of this shell may lock", kind=SpecKind.SIZE,
              observe=locked_memory, example='"unlimited"', probes=("system-limits",), explained_by=("MEMLOCK",)),
    PolicyKey(key="infiniband.count", title="how many InfiniBand ports are active", kind=SpecKind.COUNT, observe=infiniband,
              example="8", probes=NETWORK, explained_by=("IB-LINK",)),
    PolicyKey(key="rdma.count", title="how many ports of RDMA devices are active, InfiniBand or Ethernet (RoCE)",
              kind=SpecKind.COUNT, observe=rdma, example='">=1"', probes=NETWORK, explained_by=("IB-LINK",)),
)  # fmt: skip
