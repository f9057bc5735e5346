"""The device files that NVIDIA's user-space libraries open: which are expected, are there, are the right devices, and open.

They need /dev/nvidiactl, /dev/nvidiaN of each GPU (major number 195) and, for CUDA, /dev/nvidia-uvm (major number by
/proc/devices). Nothing but the control and UVM devices is opened: opening /dev/nvidiaN starts the GPU, which takes seconds
without persistence mode. A node that is absent is made on first use by a process of root with CAP_MKNOD, for others by the
setuid program nvidia-modprobe (NVIDIA's driver README, "How and when are the NVIDIA device files created?"; and seen so on an
H200: without either, cuInit gives 999 where nvidia-uvm is missing and 100 where another one is)."""

import posixpath
from collections.abc import Iterator

from infra_doctor.plugin import (
    Capability,
    Evidence,
    EvidenceKind,
    Machine,
    NotVisible,
    Probe,
    ProbeContext,
    fact,
    kernel_evidence,
    record,
)
from infra_doctor_probes.detect.nvidia_driver import NvidiaDeviceNodes, NvidiaKernelModule
from infra_doctor_probes.detect.nvidia_gpu import ADDRESS, PROC_GPUS

CONTROL, UVM = "/dev/nvidiactl", "/dev/nvidia-uvm"
NVIDIA_MAJOR = 195
CAP_SYS_ADMIN, CAP_MKNOD = 1 << 21, 1 << 27
MODPROBE = ("/usr/bin/nvidia-modprobe", "/bin/nvidia-modprobe", "/run/wrappers/bin/nvidia-modprobe")
GPU_CAP = 64


@record
class DeviceNode:
    """One expected node. `there` is as it was before any library was called, which may have made it. `wrong` says what lies
    in its place; `error` is the errno's name of opening it ("EPERM"), "" where it opens, None where it was not opened."""

    path: str
    there: bool
    wrong: str = ""
    error: str | None = None
    mode: str = ""  # "0666"


@fact("nvidia-node-access", 1)
@record
class NvidiaNodeAccess:
    """The expected nodes. `maker` is who makes an absent one on first use: "nvidia-modprobe" for everybody, "root" for us
    only, "" for nobody here. `may_reach_all` says that no container's device rules bind us, as far as our capabilities tell."""

    nodes: tuple[DeviceNode, ...]
    maker: str
    may_reach_all: bool
    evidence: tuple[Evidence, ...] = ()

    def node(self, path: str) -> DeviceNode | None:
        """The expected node of this path."""
        return next((n for n in self.nodes if n.path == path), None)


def run(ctx: ProbeContext) -> Iterator[object]:
    """The access to the device files where NVIDIA's kernel module is loaded and has a GPU, or one of its nodes is there."""
    machine: Machine = ctx.machine
    present = ctx.fact(NvidiaDeviceNodes)
    gpus = served_minors(machine)
    if ctx.fact(NvidiaKernelModule) is None or not (gpus or present):
        return
    if present is None and Capability.PROCESSES not in machine.capabilities and not machine.exists("/dev/null"):
        raise NotVisible("not visible: /dev of a rooted machine")  # files without any device: an image, or no --rbind
    seen = {*present.gpus, *present.others} if present else set()
    paths = dict.fromkeys(
        (CONTROL, UVM, *(f"/dev/nvidia{n}" for n in gpus[:GPU_CAP]), *(present.gpus if present else ()))
    )
    uvm_major = major_of(machine, "nvidia-uvm")
    nodes = tuple(look_at(machine, p, p in seen, uvm_major) for p in paths)
    capabilities = effective_capabilities(machine)
    helper = next((p for p in MODPROBE if (s := machine.stat(p)) is not None and s.mode & 0o4000 and s.uid == 0), None)
    as_root = bool(capabilities & CAP_MKNOD)
    evidence = [kernel_evidence(n.path, described(n)) for n in nodes]
    if helper:
        evidence.append(Evidence(kind=EvidenceKind.FILE, source=helper, text="setuid root"))
    elif as_root:
        evidence.append(kernel_evidence("/proc/self/status", "CapEff has CAP_MKNOD"))
    yield NvidiaNodeAccess(
        nodes=nodes,
        maker="nvidia-modprobe" if helper else "root" if as_root else "",
        may_reach_all=as_root and bool(capabilities & CAP_SYS_ADMIN),
        evidence=tuple(evidence),
    )


def served_minors(machine: Machine) -> list[str]:
    """The minor numbers of the GPUs that the module serves and shows here, without those that it was told to leave out."""
    found = []
    for entry in machine.names(PROC_GPUS):
        if not ADDRESS.fullmatch(entry.lower()):
            continue
        text = machine.read_text(posixpath.join(PROC_GPUS, entry, "information"), max_bytes=4096, quiet=True) or ""
        fields = {n.strip(): v.strip() for n, _, v in (line.partition(":") for line in text.splitlines())}
        minor = fields.get("Device Minor", "")
        if minor.isdecimal() and len(minor) < 4 and fields.get("GPU Excluded") != "Yes":
            found.append(minor)
    return sorted(found, key=int)


def major_of(machine: Machine, name: str) -> int | None:
    """The major number of a character device driver; None where the kernel lists none."""
    for line in (machine.read_text("/proc/devices", max_bytes=65536, quiet=True) or "").splitlines():
        words = line.split()
        if words[1:] == [name] and words[0].isdecimal():
            return int(words[0])
    return None


def look_at(machine: Machine, path: str, there: bool, uvm_major: int | None) -> DeviceNode:
    """One node: its numbers, and whether it opens."""
    stat = machine.stat(path) if there else None
    if stat is None:
        return DeviceNode(path=path, there=False)
    wrong = "" if stat.type == "char" or (stat.rdev is None and stat.type == "file") else f"a {stat.type}"
    if stat.rdev is not None and not wrong:
        wanted = uvm_major if path == UVM else NVIDIA_MAJOR
        if wanted is not None and stat.rdev[0] != wanted:
            wrong = f"the device {stat.rdev[0]}:{stat.rdev[1]}, where major {wanted} belongs"
    error = machine.open_error(path) if path in {CONTROL, UVM} and not wrong else None
    return DeviceNode(path=path, there=True, wrong=wrong, error=error, mode=f"{stat.mode & 0o7777:04o}")


def effective_capabilities(machine: Machine) -> int:
    """The capabilities of the shell looked at; 0 where they cannot be told."""
    for line in (machine.read_text("/proc/self/status", max_bytes=16384, quiet=True) or "").splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff" and len(value.strip()) <= 16:
            try:
                return int(value.strip(), 16)
            except ValueError:
                return 0
    return 0


def described(node: DeviceNode) -> str:
    """One node in words."""
    if not node.there:
        return "is not there"
    if node.wrong:
        return f"is {node.wrong}"
    if node.error is None:
        return f"is there, mode {node.mode}"
    return f"opens, mode {node.mode}" if not node.error else f"does not open: {node.error}, mode {node.mode}"


PROBES = (
    Probe(
        id="nvidia-node-access",
        version=1,
        title="Access to NVIDIA's device files",
        run=run,
        needs=("kernel state",),
        after=("nvidia-driver",),
        collect=(
            "/proc/devices", "/proc/self/status", "/dev/null", *MODPROBE, f"{PROC_GPUS}/*/information", f"opens:{CONTROL}",
            f"opens:{UVM}",
        ),
    ),
)  # fmt: skip
