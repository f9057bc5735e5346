"""Profilers that are installed, of which version, and what the kernel and the driver let a user of them read.

Found by name on PATH and in the folders of NVIDIA's and Ascend's installers; versions are those of the folders (Nsight's are
called after them), of the CUDA toolkit, of the running kernel, of CANN. No profiler is started."""

import posixpath
import re
from collections.abc import Iterator

from infra_doctor.plugin import (
    Capability,
    Component,
    Evidence,
    EvidenceKind,
    Machine,
    Probe,
    ProbeContext,
    fact,
    kernel_evidence,
    numbers,
    record,
)
from infra_doctor_probes.detect.nvidia_driver import NvidiaKernelModule
from infra_doctor_probes.detect.pci import PciDevice
from infra_doctor_probes.detect.system_limits import read_number

NSIGHT = {"nsys": "nsight-systems", "ncu": "nsight-compute"}
# Folders of the installers: /opt/nvidia/nsight-compute/2025.3.1, /usr/local/cuda-13.0/nsight-compute-2025.3.1
PLACES = {
    tool: (f"/opt/nvidia/{product}/*", f"/usr/local/cuda*/{product}-*", f"/opt/cuda/{product.replace('-', '_')}-*")
    for tool, product in NSIGHT.items()
}
VERSION = re.compile(r"(\d{4}\.\d{1,2}(?:\.\d{1,2}){0,2})")
OTHERS = ("nvprof", "nvvp", "perf", "msprof", "rocprof", "rocprofv3")
TOOLS = "/usr/lib/linux-tools"
# Who may hold the counters: DCGM, and running profilers.
HOLDERS = ("nv-hostengine", "dcgm-exporter", "ncu", "nsys")
DEVICE_NODES = ("nvidia", "davinci", "kfd", "dxg")
PARANOID = "/proc/sys/kernel/perf_event_paranoid"
PTRACE_SCOPE = "/proc/sys/kernel/yama/ptrace_scope"


@fact("profiling-permissions", 1)
@record
class ProfilingPermissions:
    """`admin_only` is RmProfilingAdminOnly of the loaded NVIDIA module; `holders` are running programs that may hold the
    GPU's counters. None: not told."""

    admin_only: bool | None
    perf_event_paranoid: int | None
    ptrace_scope: int | None
    holders: tuple[str, ...]
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """profiler components; ProfilingPermissions where there is one."""
    machine: Machine = ctx.machine
    if not has_accelerator(ctx, machine):
        return
    found: dict[str, Component] = {}
    for tool in NSIGHT:
        for component in nsight(machine, tool):
            found.setdefault(component.key, component)
    for name in OTHERS:
        other = named(machine, name, ctx)
        if other is not None:
            found.setdefault(other.key, other)
    yield from found.values()
    if found and Capability.KERNEL_STATE in machine.capabilities:
        yield permissions(ctx, machine, {c.name for c in found.values()})


def has_accelerator(ctx: ProbeContext, machine: Machine) -> bool:
    """Whether there is anything to profile: by what is listed already, as looking for programs costs more."""
    if any(device.accelerator for device in ctx.facts(PciDevice)):
        return True
    return any(name.startswith(DEVICE_NODES) for name in machine.names("/dev"))


# -- what is installed --------------------------------------------------------------------------------------------


def nsight(machine: Machine, tool: str) -> Iterator[Component]:
    """Every copy of Nsight Systems or Compute; `first` marks the one that the name on PATH starts."""
    on_path = machine.which(tool)
    started = machine.realpath(on_path) if on_path else ""
    folders = [f for pattern in PLACES[tool] for f in machine.glob(pattern) if VERSION.search(posixpath.basename(f))]
    real = {machine.realpath(folder): folder for folder in folders if machine.is_dir(folder)}
    # NVIDIA's toolkit puts a script on PATH that starts the copy beside it, else the newest of /opt/nvidia.
    beside = [folder for folder in real if started.startswith((folder + "/", posixpath.dirname(folder) + "/bin/"))]
    first = beside[0] if beside else max(real, key=lambda folder: numbers(version_of(folder)), default="")
    for folder in real:
        version = version_of(folder)
        yield Component(
            key=f"profiler:{tool}@{folder}",
            kind="profiler",
            name=tool,
            version=version or None,
            location=folder,
            attributes={"on_path": on_path is not None, "first": on_path is not None and folder == first},
            evidence=(
                Evidence(kind=EvidenceKind.DIRECTORY, source=folder, text=f"folder of {NSIGHT[tool]} {version}"),
            ),
        )
    if on_path and not real:
        match = VERSION.search(started)
        seen = Evidence(kind=EvidenceKind.FILE, source=on_path, text=f"stands for {started}")
        yield Component(
            key=f"profiler:{tool}@{started}",
            kind="profiler",
            name=tool,
            version=match.group(1) if match else None,
            location=started,
            attributes={"on_path": True, "first": True},
            evidence=(seen,),
        )


def version_of(folder: str) -> str:
    """2025.3.1 of the folder's name."""
    match = VERSION.search(posixpath.basename(folder))
    return match.group(1) if match else ""


def named(machine: Machine, name: str, ctx: ProbeContext) -> Component | None:
    """A profiler on PATH, or in the folder of its vendor."""
    path = machine.which(name)
    if path is None and name == "msprof":
        path = next(iter(machine.glob("/usr/local/Ascend/*/latest/tools/profiler/bin/msprof")), None)
    if path is None and name == "nvprof":
        path = next((p for p in machine.glob("/usr/local/cuda*/bin/nvprof") if machine.is_file(p)), None)
    if path is None:
        return None
    real = machine.realpath(path)
    version, why = version_of_other(ctx, machine, name, real)
    evidence = [Evidence(kind=EvidenceKind.FILE, source=path, text=f"stands for {real}" if real != path else "exists")]
    if why is not None:
        evidence.append(why)
    attributes: dict[str, str | int | float | bool | None] = {}
    if name == "perf":
        attributes["works"] = perf_works(machine)
    return Component(
        key=f"profiler:{name}@{real}",
        kind="profiler",
        name=name,
        version=version,
        location=real,
        attributes=attributes,
        evidence=tuple(evidence),
    )


def version_of_other(ctx: ProbeContext, machine: Machine, name: str, real: str) -> tuple[str | None, Evidence | None]:
    """What the folder around a program says: the CUDA toolkit's version, CANN's, the kernel's."""
    owner = {"nvprof": "cuda-toolkit", "nvvp": "cuda-toolkit", "msprof": "cann"}.get(name, "")
    for component in ctx.by_kind(owner) if owner else ():
        if component.location and component.version and real.startswith(component.location + "/"):
            seen = Evidence(kind=EvidenceKind.FILE, source=component.location, text=f"{owner} {component.version}")
            return component.version, seen
    in_name = re.search(r"/rocm-(\d+\.\d+(?:\.\d+)?)/", real)
    return (in_name.group(1) if in_name else None), None


def perf_works(machine: Machine) -> bool | None:
    """Ubuntu's /usr/bin/perf is a script that starts the one of the running kernel, where that is installed."""
    if not machine.is_dir(TOOLS) and not machine.is_dir("/usr/share/doc/linux-tools-common"):
        return None
    release = (machine.read_text("/proc/sys/kernel/osrelease", max_bytes=200, quiet=True) or "").strip()
    return machine.exists(f"{TOOLS}/{release}/perf") if release else None


# -- what is allowed ----------------------------------------------------------------------------------------------


def permissions(ctx: ProbeContext, machine: Machine, tools: set[str]) -> ProfilingPermissions:
    """The kernel's and the driver's settings; other programs on the counters where a GPU profiler is there."""
    module = ctx.fact(NvidiaKernelModule)
    said = dict(module.parameters).get("RmProfilingAdminOnly") if module is not None else None
    paranoid, scope = read_number(machine, PARANOID), read_number(machine, PTRACE_SCOPE)
    holders: tuple[str, ...] = ()
    if module is not None and tools & set(NSIGHT) and Capability.PROCESSES in machine.capabilities:
        holders = tuple(sorted({name for _, name in machine.processes(*HOLDERS)}))
    evidence = []
    if said is not None:
        evidence.append(kernel_evidence("/proc/driver/nvidia/params", f"RmProfilingAdminOnly: {said}"))
    evidence += [
        kernel_evidence(path, str(v)) for path, v in ((PARANOID, paranoid), (PTRACE_SCOPE, scope)) if v is not None
    ]
    if holders:
        evidence.append(kernel_evidence("/proc/*/comm", ", ".join(holders)))
    return ProfilingPermissions(
        admin_only=None if said not in {"0", "1"} else said == "1",
        perf_event_paranoid=paranoid,
        ptrace_scope=scope,
        holders=holders,
        evidence=tuple(evidence),
    )


PROBES = (
    Probe(
        id="profilers",
        version=1,
        title="Profilers, and what they may read",
        run=run,
        after=("system", "pci", "nvidia-driver", "cuda-toolkit", "ascend-cann"),
        collect=(
            *(f"which:{name}" for name in (*NSIGHT, *OTHERS)), *(p for places in PLACES.values() for p in places),
            "/usr/local/cuda*/bin/nvprof", "/usr/local/Ascend/*/latest/tools/profiler/bin/msprof", f"{TOOLS}/*/perf",
            PARANOID, PTRACE_SCOPE, *(f"process:{name}" for name in HOLDERS),
        ),
    ),
)  # fmt: skip
