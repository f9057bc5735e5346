"""The loaded NVIDIA kernel module, and every copy of its user-space libraries that a process could load.

The two must be of one version (cuda-compat's libcuda excepted), so both are read and neither is taken for the other:
the module from /proc/driver/nvidia/version and /sys/module, the libraries from where the loader looks. Nothing is loaded."""

import posixpath
import re
from collections.abc import Iterator

from infra_doctor.plugin import (
    Capability,
    Component,
    Evidence,
    EvidenceKind,
    Loader,
    Machine,
    Probe,
    ProbeContext,
    fact,
    kernel_evidence,
    record,
)

PROC_VERSION = "/proc/driver/nvidia/version"
# "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.90.07  …", "… NVIDIA UNIX Open Kernel Module for aarch64  540.4.0 …"
MODULE_LINE = re.compile(r"^NVRM version:\s+NVIDIA UNIX (Open )?.*?Kernel Module(?: for \S+)?\s+(\d+\.\d+(?:\.\d+)?)\b")
VERSION = re.compile(r"\d+\.\d+(?:\.\d+)?")
LIBRARIES = {"libcuda": "libcuda.so.1", "libnvidia-ml": "libnvidia-ml.so.1"}
# Where drivers, container runtimes, WSL and cuda-compat put them, besides the loader's cache and LD_LIBRARY_PATH.
DEFAULT_FOLDERS = ("/lib64", "/usr/lib64", "/lib", "/usr/lib")
# Where they lie for whoever is told so: GKE, WSL, NixOS, the GPU operator's driver container. children/nvml.py knows them too.
OTHER_FOLDERS = (
    "/usr/local/nvidia/lib64", "/usr/lib/wsl/lib", "/run/opengl-driver/lib", "/home/kubernetes/bin/nvidia/lib64",
    "/run/nvidia/driver/usr/lib/x86_64-linux-gnu", "/run/nvidia/driver/usr/lib/aarch64-linux-gnu",
    "/run/nvidia/driver/usr/lib64",
)  # fmt: skip
# Module parameters that explain behaviour and hold nothing private.
PARAMETERS = frozenset(
    {"RmProfilingAdminOnly", "OpenRmEnableUnsupportedGpus", "EnableGpuFirmware", "ModifyDeviceFiles",
     "PreserveVideoMemoryAllocations", "DynamicPowerManagement", "EnableResizableBar"}
)  # fmt: skip


@fact("nvidia-kernel-module", 1)
@record
class NvidiaKernelModule:
    """The loaded module. `flavor` is "open" or "proprietary", None where only /sys names the version."""

    version: str
    flavor: str | None
    uvm_loaded: bool
    parameters: tuple[tuple[str, str], ...] = ()
    evidence: tuple[Evidence, ...] = ()


@fact("nvidia-device-nodes", 1)
@record
class NvidiaDeviceNodes:
    """The device files under /dev: GPUs ("/dev/nvidia0"), control, UVM, NVSwitch."""

    gpus: tuple[str, ...]
    others: tuple[str, ...]
    evidence: tuple[Evidence, ...] = ()


@fact("nvidia-driver-sources", 1)
@record
class NvidiaDriverSources:
    """Driver versions whose module source lies in /usr/src (DKMS): what a reboot would load may differ from what runs."""

    versions: tuple[str, ...]
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """The module, device nodes and driver sources as facts; libcuda and libnvidia-ml components."""
    machine: Machine = ctx.machine
    if Capability.KERNEL_STATE in machine.capabilities:
        module = kernel_module(machine)
        if module is not None:
            yield module
        nodes = device_nodes(machine)
        if nodes is not None:
            yield nodes
    sources = [n.removeprefix("nvidia-") for n in machine.names("/usr/src") if n.startswith("nvidia-")]
    versions = tuple(v for v in sources if VERSION.fullmatch(v))
    if versions:
        seen = Evidence(kind=EvidenceKind.DIRECTORY, source="/usr/src", text=", ".join(f"nvidia-{v}" for v in versions))
        yield NvidiaDriverSources(versions=versions, evidence=(seen,))
    yield from libraries(machine, tuple(t.executable for t in ctx.targets))


# -- the kernel module --------------------------------------------------------------------------------------------


def kernel_module(machine: Machine) -> NvidiaKernelModule | None:
    """The loaded module; None where there is none (nouveau, WSL, no driver)."""
    text = machine.read_text(PROC_VERSION, max_bytes=4096) or ""
    loaded = parse_module_version(text)
    sys_version = (machine.read_text("/sys/module/nvidia/version", max_bytes=100, quiet=True) or "").strip()
    evidence = []
    if loaded is not None:
        evidence.append(kernel_evidence(PROC_VERSION, text.splitlines()[0][:120]))
    if VERSION.fullmatch(sys_version):
        evidence.append(kernel_evidence("/sys/module/nvidia/version", sys_version))
        loaded = loaded or (sys_version, None)
    if loaded is None:
        return None
    params = machine.read_text("/proc/driver/nvidia/params", max_bytes=65536, quiet=True) or ""
    pairs = (line.partition(":")[::2] for line in params.splitlines())
    return NvidiaKernelModule(
        version=loaded[0],
        flavor=loaded[1],
        uvm_loaded=machine.exists("/sys/module/nvidia_uvm"),
        parameters=tuple((n.strip(), v.strip()[:40]) for n, v in pairs if n.strip() in PARAMETERS),
        evidence=tuple(evidence),
    )


def parse_module_version(text: str) -> tuple[str, str | None] | None:
    """(version, flavor) out of /proc/driver/nvidia/version."""
    for line in text.splitlines()[:10]:
        match = MODULE_LINE.match(line[:1000])
        if match:
            return match.group(2), "open" if match.group(1) else "proprietary"
    return None


def device_nodes(machine: Machine) -> NvidiaDeviceNodes | None:
    """The device files; None where there are none."""
    names = [n for n, kind in machine.listdir("/dev") if n.startswith("nvidia") and kind != "file"]
    if not names:
        return None
    gpus = sorted((n for n in names if n[6:].isdecimal()), key=lambda n: int(n[6:]))
    others = tuple("/dev/" + n for n in names if n not in gpus)
    return NvidiaDeviceNodes(
        gpus=tuple("/dev/" + n for n in gpus),
        others=others,
        evidence=(kernel_evidence("/dev", ", ".join([*gpus, *(n for n in names if n not in gpus)])),),
    )


# -- user-space libraries -----------------------------------------------------------------------------------------


def libraries(machine: Machine, executables: tuple[str, ...]) -> Iterator[Component]:
    """One component per copy of libcuda and libnvidia-ml; `first` is the one that the target's interpreter loads."""
    compat = machine.glob("/usr/local/cuda*/compat") + machine.glob("/usr/local/cuda*/compat/lib.real")
    cache: dict[str, list[str]] = {}
    for entry in machine.linker_cache(quiet=True) or ():
        cache.setdefault(entry.soname, []).append(entry.path)
    environment = [f for f in machine.environ.get("LD_LIBRARY_PATH", "").replace(";", ":").split(":") if f]
    arch = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu")
    for kind, soname in LIBRARIES.items():
        paths = [posixpath.join(f, soname) for f in environment if f.startswith("/")]
        paths += cache.get(soname, [])
        on_path = {machine.realpath(p) for p in paths}
        defaults = [posixpath.join(f, soname) for f in (*DEFAULT_FOLDERS, *arch)]
        on_path |= {machine.realpath(p) for p in defaults}
        paths += defaults + [posixpath.join(f, soname) for f in (*OTHER_FOLDERS, *compat)]
        copies = dict.fromkeys(machine.realpath(p) for p in paths if machine.is_file(p))
        first = taken_by_loader(machine, executables, soname) if copies else None
        if first is not None:
            copies[first] = None
        for real in copies:
            component = library(machine, kind, real, on_path=real in on_path or real == first, first=real == first)
            if component is not None:
                yield component


def library(machine: Machine, kind: str, real: str, *, on_path: bool, first: bool) -> Component | None:
    """The component of one copy; None for a 32-bit one. Its version is the file name's suffix."""
    elf = machine.elf(real, quiet=True)
    if elf is not None and elf.bits == 32:
        return None
    suffix = posixpath.basename(real).removeprefix(f"{kind}.so.")
    version = suffix if VERSION.fullmatch(suffix) and "." in suffix and suffix not in {"1.1", "1.0"} else None
    return Component(
        key=f"{kind}:{real}",
        kind=kind,
        name=kind,
        version=version,
        location=real,
        origin="cuda-compat" if is_compat(real) else "wsl" if real.startswith("/usr/lib/wsl/") else "driver",
        attributes={"on_loader_path": on_path, "first": first},
        evidence=(Evidence(kind=EvidenceKind.FILE, source=real, text=f"file name suffix {suffix}"),),
    )


def is_compat(path: str) -> bool:
    """Whether the copy belongs to NVIDIA's forward-compatibility package."""
    return "/compat/" in path or "/cuda-compat/" in path


def taken_by_loader(machine: Machine, executables: tuple[str, ...], soname: str) -> str | None:
    """The real path of the copy that `dlopen(soname)` takes in the first target's interpreter (else in a shell)."""
    for executable in (*executables[:1], "/bin/sh"):
        if machine.elf(executable, quiet=True) is None:
            continue
        loader = Loader(machine, executable, ld_library_path=machine.environ.get("LD_LIBRARY_PATH"))
        found = loader.load(soname).object
        return found.real_path if found is not None else None
    return None


PROBES = (
    Probe(
        id="nvidia-driver",
        version=1,
        title="NVIDIA driver: kernel module and user-space libraries",
        run=run,
        collect=(
            PROC_VERSION, "/proc/driver/nvidia/params", "/sys/module/nvidia/version", "/sys/module/nvidia_uvm",
            "/dev/nvidia*", "/usr/src/nvidia-*", "/usr/local/cuda*/compat/*", "/usr/lib/wsl/lib/lib*",
            "/usr/lib*/libcuda.so.1", "/usr/lib/*-linux-gnu/libcuda.so.1", "/usr/lib*/libnvidia-ml.so.1",
            "/usr/lib/*-linux-gnu/libnvidia-ml.so.1",
            *(f"{folder}/{soname}" for folder in OTHER_FOLDERS for soname in LIBRARIES.values()),
        ),
    ),
)  # fmt: skip
