"""What the operating system allows: shared memory, resource limits, privileges, huge pages, NUMA. Nothing is judged here.

Facts come from statvfs of /dev/shm, getrlimit, /proc/self and /sys of the machine itself; under another root they would be
those of the doctor, so nothing is said there. Capability numbers are those of linux/capability.h."""

from collections.abc import Iterator

from infra_doctor.plugin import Evidence, Machine, Probe, ProbeContext, Space, Stat, fact, kernel_evidence, record

SHM = "/dev/shm"  # noqa: S108  where shm_open(3) makes its files
HUGE_PAGES = "/sys/kernel/mm/hugepages"
TRANSPARENT = "/sys/kernel/mm/transparent_hugepage/enabled"
NUMA_NODES = "/sys/devices/system/node/online"
NUMA_BALANCING = "/proc/sys/kernel/numa_balancing"
CAPABILITIES = {"ipc_lock": 14, "sys_ptrace": 19, "sys_admin": 21, "perfmon": 38}


@fact("shared-memory", 1)
@record
class SharedMemory:
    """The folder of POSIX shared memory. Sizes are None where they could not be asked; `mode` are its permission bits."""

    exists: bool
    total_bytes: int | None = None
    free_bytes: int | None = None
    read_only: bool = False
    mode: int | None = None
    owner: int | None = None
    evidence: tuple[Evidence, ...] = ()


@fact("resource-limits", 1)
@record
class ResourceLimits:
    """(name, soft, hard) of the shell looked at; None is unlimited. memlock, stack, as and core are in bytes."""

    limits: tuple[tuple[str, int | None, int | None], ...]
    evidence: tuple[Evidence, ...] = ()

    def soft(self, name: str) -> int | None:
        """The soft limit, None where it is unlimited or not known: ask `known` first."""
        return next((soft for n, soft, _ in self.limits if n == name), None)

    def known(self, name: str) -> bool:
        """Whether this limit could be asked."""
        return any(n == name for n, _, _ in self.limits)


@fact("process-privileges", 1)
@record
class ProcessPrivileges:
    """Who looks: the effective user id and the effective capabilities of CAPABILITIES. Those of another user namespace than
    the first one (rootless containers) count for nothing with the kernel's own checks: `initial_namespace` is False."""

    uid: int
    capabilities: tuple[str, ...]
    initial_namespace: bool | None
    evidence: tuple[Evidence, ...] = ()

    def may(self, capability: str) -> bool:
        """Whether the kernel itself grants it."""
        return capability in self.capabilities and self.initial_namespace is not False


@fact("memory-layout", 1)
@record
class MemoryLayout:
    """Huge pages that are set aside, (size in bytes, how many); transparent ones ("always", "madvise", "never"); NUMA."""

    huge_pages: tuple[tuple[int, int], ...] = ()
    transparent: str | None = None
    numa_nodes: str | None = None
    numa_balancing: bool | None = None
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """SharedMemory, ResourceLimits, ProcessPrivileges and MemoryLayout, each where it could be asked."""
    machine: Machine = ctx.machine
    if machine.form == "rooted":
        return
    shm = shared_memory(machine)
    if shm is not None:
        yield shm
    limits = tuple((name, soft, hard) for name, (soft, hard) in sorted(machine.limits().items()))
    if limits:
        shown = ", ".join(f"{name} {'unlimited' if soft is None else soft}" for name, soft, _ in limits)
        yield ResourceLimits(limits=limits, evidence=(kernel_evidence("getrlimit", shown),))
    privileges = read_privileges(machine)
    if privileges is not None:
        yield privileges
    layout = memory_layout(machine)
    if layout is not None:
        yield layout


def shared_memory(machine: Machine) -> SharedMemory | None:
    """The fact; None where it could not be looked at. The folder is absent only where /dev itself could be listed without it."""
    found: Stat | None = machine.stat(SHM)
    if found is None:
        names = machine.names("/dev")
        if not names or "shm" in names:
            return None
        return SharedMemory(exists=False, evidence=(kernel_evidence("/dev", "holds no shm"),))
    space: Space | None = machine.space(SHM)
    if space is None:
        seen = kernel_evidence(SHM, "exists; its size could not be asked")
        return SharedMemory(exists=True, mode=found.mode, owner=found.uid, evidence=(seen,))
    shown = f"{space.total_bytes} bytes, {space.free_bytes} free, mode {found.mode:o}"
    return SharedMemory(
        exists=True,
        total_bytes=space.total_bytes,
        free_bytes=space.free_bytes,
        read_only=space.read_only,
        mode=found.mode,
        owner=found.uid,
        evidence=(kernel_evidence(f"statvfs {SHM}", shown + (", read-only" if space.read_only else "")),),
    )


def read_privileges(machine: Machine) -> ProcessPrivileges | None:
    """From /proc/self/status: "Uid: real effective saved fs", "CapEff: 000001ffffffffff"."""
    text = machine.read_text("/proc/self/status", max_bytes=8192, quiet=True) or ""
    fields = {name: value.split() for name, _, value in (line.partition(":") for line in text.splitlines())}
    uid, effective = fields.get("Uid", []), fields.get("CapEff", [])
    if len(uid) < 2 or not uid[1].isdecimal() or not effective:
        return None
    try:
        bits = int(effective[0], 16)
    except ValueError:
        return None
    held = tuple(name for name, bit in CAPABILITIES.items() if bits >> bit & 1)
    shown = f"Uid {uid[1]}, CapEff {effective[0]}"
    return ProcessPrivileges(
        uid=int(uid[1]),
        capabilities=held,
        initial_namespace=in_initial_namespace(machine),
        evidence=(kernel_evidence("/proc/self/status", shown),),
    )


def in_initial_namespace(machine: Machine) -> bool | None:
    """user_namespaces(7): the first namespace maps every id to itself, "0 0 4294967295"."""
    words = (machine.read_text("/proc/self/uid_map", max_bytes=4096, quiet=True) or "").split()
    return None if len(words) < 3 else words[:3] == ["0", "0", "4294967295"]


def memory_layout(machine: Machine) -> MemoryLayout | None:
    """Huge pages and NUMA nodes; None where /sys says nothing of them."""
    huge_pages = []
    for name in machine.names(HUGE_PAGES):
        size = name.removeprefix("hugepages-").removesuffix("kB")
        count = read_number(machine, f"{HUGE_PAGES}/{name}/nr_hugepages")
        if size.isdecimal() and count:
            huge_pages.append((int(size) * 1024, count))
    offered = machine.read_text(TRANSPARENT, max_bytes=200, quiet=True) or ""
    nodes = (machine.read_text(NUMA_NODES, max_bytes=200, quiet=True) or "").strip()
    balancing = read_number(machine, NUMA_BALANCING)
    chosen = offered.partition("[")[2].partition("]")[0] or None
    if not huge_pages and not chosen and not nodes:
        return None
    shown = ", ".join(
        [
            *(f"{count} huge pages of {size} bytes" for size, count in huge_pages),
            f"transparent {chosen}",
            f"nodes {nodes}",
        ]
    )
    return MemoryLayout(
        huge_pages=tuple(sorted(huge_pages)),
        transparent=chosen,
        numa_nodes=nodes or None,
        numa_balancing=None if balancing is None else balancing > 0,
        evidence=(kernel_evidence("/sys/kernel/mm, /sys/devices/system/node", shown),),
    )


def read_number(machine: Machine, path: str) -> int | None:
    """A number of /proc or /sys, None where it is none."""
    text = (machine.read_text(path, max_bytes=64, quiet=True) or "").strip()
    digits = text.removeprefix("-")
    return int(text) if digits.isdecimal() and digits.isascii() and len(digits) < 20 else None


PROBES = (
    Probe(
        id="system-limits",
        version=1,
        title="Shared memory, resource limits, privileges, huge pages, NUMA",
        run=run,
        needs=("kernel state",),
        collect=(
            SHM, f"space:{SHM}", "limits", "/proc/self/status", "/proc/self/uid_map", f"{HUGE_PAGES}/*/nr_hugepages",
            TRANSPARENT, NUMA_NODES, NUMA_BALANCING,
        ),
    ),
)  # fmt: skip
