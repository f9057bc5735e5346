"""The NVIDIA GPUs and the driver that serves them: by NVML in a child process, by /proc and PCI where it cannot answer.

The child starts only where an NVIDIA device shows. What it says of each device becomes a component and a GpuState. What is
on the bus but was not given to this container, or is kept for a virtual machine, is a fact and no GPU of ours: a container's
/sys lists every device of its host."""

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from infra_doctor.plugin import (
    AttributeValue,
    Capability,
    ChildResult,
    Component,
    Evidence,
    EvidenceKind,
    Machine,
    Probe,
    ProbeContext,
    Unseen,
    fact,
    kernel_evidence,
    numbers,
    record,
)
from infra_doctor_probes.answers import dicts, mapping, text
from infra_doctor_probes.detect.nvidia_driver import NvidiaDeviceNodes, NvidiaKernelModule
from infra_doctor_probes.detect.nvidia_state import GpuState, GpuTopology, gpu_state, gpu_topology
from infra_doctor_probes.detect.pci import PciDevice
from infra_doctor_probes.detect.system import Container

CHILD = "infra_doctor_probes.children.nvml"
PROC_GPUS = "/proc/driver/nvidia/gpus"
ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
NVML_NOT_FOUND = 12  # NVML_ERROR_LIBRARY_NOT_FOUND
NO_BINDINGS = "NVML bindings could not be imported"
LINUX_OWN_DRIVERS = frozenset({"nouveau", "nova", "nova_core"})
WSL_NVML = "/usr/lib/wsl/lib/libnvidia-ml.so.1"
EXCLUDED = "the driver was told to leave it out (GPU Excluded: Yes)"
SWITCHES = {True: "enabled", False: "disabled", None: "n.a."}


@fact("nvml-session", 1)
@record
class NvmlSession:
    """How the one NVML session went. `error` is empty where it answered; `error_code` is nvmlReturn_t. Versions are as
    printed; `cuda_driver_version` ("13.0") is what the libcuda that the loader takes offers."""

    error: str = ""
    error_code: int | None = None
    timed_out: bool = False
    driver_version: str | None = None
    nvml_version: str | None = None
    cuda_driver_version: str | None = None
    device_count: int = 0
    evidence: tuple[Evidence, ...] = ()


@fact("nvidia-gpus-not-given", 1)
@record
class NvidiaGpusNotGiven:
    """NVIDIA GPUs of the host that this container, or this system, does not have."""

    addresses: tuple[str, ...]
    reason: str
    evidence: tuple[Evidence, ...] = ()


@dataclass
class Gpu:
    """One GPU while its sources are put together."""

    key: str
    name: str = "NVIDIA GPU"
    seen_by: str = "pci"
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    evidence: list[Evidence] = field(default_factory=list)
    node: str | None = None  # its device file, where /proc tells the minor number
    excluded: bool = False  # the driver was told to leave it out
    error: str = ""


def run(ctx: ProbeContext) -> Iterator[object]:
    """GPU components, the driver component, NvmlSession; Unseen for GPUs that are there and could not be looked at."""
    machine: Machine = ctx.machine
    machine.need(Capability.KERNEL_STATE)
    nodes = ctx.fact(NvidiaDeviceNodes)
    module = ctx.fact(NvidiaKernelModule)
    gpus = gpus_of_bus(ctx)
    add_proc_gpus(machine, gpus)
    wsl = machine.exists("/dev/dxg") and machine.is_file(WSL_NVML)
    if not gpus and not (nodes and nodes.gpus) and not wsl:
        yield from driver(module, None)
        return
    session, answered, states = None, set[str](), list[GpuState]()
    paths: GpuTopology | None = None
    found = ask(machine)
    if found is not None:
        session, data, source = found
        yield session
        answered = add_devices(data, gpus, source, failed=bool(session.error))
        states = device_states(data, gpus, answered, source)
        paths = gpu_topology(data.get("topology"), session.evidence)
    if not gpus:  # device nodes or /dev/dxg alone
        for node in nodes.gpus if nodes and nodes.gpus else ("/dev/dxg",):
            exists = kernel_evidence(node, "exists")
            gpus[node] = Gpu(key="gpu:" + posixpath.basename(node), seen_by="device node", evidence=[exists])
    for aside in tuple(set_aside(ctx, gpus, nodes, session)):
        yield aside
        for address in aside.addresses:
            del gpus[address]
    yield from driver(module, session)
    yield from (component(gpu) for gpu in gpus.values())
    ours = {gpu.key for gpu in gpus.values()}
    yield from (state for state in states if not state.gpu or state.gpu in ours)
    if paths is not None:
        yield paths
    if session is not None and session.error_code == NVML_NOT_FOUND:
        gpus = {a: g for a, g in gpus.items() if not does_without_nvml(ctx, g)}
    yield from unseen(gpus, answered, session)


# -- the sources --------------------------------------------------------------------------------------------------


def gpus_of_bus(ctx: ProbeContext) -> dict[str, Gpu]:
    """By PCI address: NVIDIA's display and 3D controllers."""
    found = {}
    for device in ctx.facts(PciDevice):
        if device.vendor != "nvidia":
            continue
        gpu = Gpu(key=f"gpu:{device.address}", evidence=list(device.evidence))
        if device.name:
            gpu.name = marketing_name(device.name)
        gpu.attributes = {"pci_id": device.pci_id, "driver_module": device.driver}
        if device.compute_capability:
            certain = device.capability_certain
            gpu.attributes["compute_capability" if certain else "compute_capability_hint"] = device.compute_capability
        found[device.address] = gpu
    return found


def marketing_name(pci_name: str) -> str:
    """The PCI ID repository's "GH100 [H200 SXM 141GB]" as "NVIDIA H200 SXM 141GB"."""
    inside = re.search(r"\[(.+)\]", pci_name)
    return "NVIDIA " + (inside.group(1) if inside else pci_name)


def add_proc_gpus(machine: Machine, gpus: dict[str, Gpu]) -> None:
    """The GPUs that the loaded module serves; in a container only those that were given to it."""
    for entry in machine.names(PROC_GPUS):
        path = posixpath.join(PROC_GPUS, entry, "information")
        text = machine.read_text(path, max_bytes=4096, quiet=True) or ""
        fields = {n.strip(): v.strip() for n, _, v in (line.partition(":") for line in text.splitlines())}
        address = entry.lower()
        if not ADDRESS.fullmatch(address):
            continue
        gpu = gpus.setdefault(address, Gpu(key=f"gpu:{address}"))
        gpu.seen_by = "proc"
        if fields.get("Model") and not fields["Model"].startswith("Unknown"):
            gpu.name = fields["Model"][:100]
        if re.fullmatch(r"GPU-[0-9a-f-]{12,36}", fields.get("GPU UUID", "")):
            gpu.attributes["uuid"] = fields["GPU UUID"]
        if fields.get("Device Minor", "").isdecimal():
            gpu.node = "/dev/nvidia" + fields["Device Minor"]
        gpu.attributes.setdefault("driver_module", "nvidia")
        gpu.excluded = fields.get("GPU Excluded") == "Yes"
        gpu.evidence.append(kernel_evidence(path, f"Model: {gpu.name}{', GPU Excluded: Yes' if gpu.excluded else ''}"))


def ask(machine: Machine) -> tuple[NvmlSession, dict[str, Any], str] | None:
    """The session, the answer and its source: NVML in a child process; nvidia-smi where only commands were recorded, or
    where no bindings of NVML can be imported. None where this form of machine shows neither."""
    found = None
    if Capability.VENDOR_LIBRARIES in machine.capabilities:
        result = machine.child(CHILD, timeout_s=10.0)
        found = session_of(result), dict(result.data or {}), "nvml"
        if not found[0].error.startswith(NO_BINDINGS):
            return found
    if Capability.COMMANDS not in machine.capabilities:
        return found
    from infra_doctor_probes.nvidia_smi.session import smi_answer

    told = smi_answer(machine)
    if told is None:
        return found
    result = ChildResult(module="nvidia-smi", data=told, timed_out=bool(told["timed_out"]))
    return session_of(result, EvidenceKind.COMMAND, str(told["source"])), told, "nvidia-smi"


def session_of(
    result: ChildResult, kind: EvidenceKind = EvidenceKind.LIBRARY, source: str = "libnvidia-ml.so.1 nvmlInit"
) -> NvmlSession:
    """The session as a fact, whatever the child did; `kind` and `source` say who was asked."""
    data: dict[str, Any] = dict(result.data or {})
    code = data.get("error_code")
    devices = data.get("devices")
    error = result.error or text(data.get("error")) or ""
    if result.data is None and not error:
        error = "no answer"
    versions = {n: text(data.get(n)) for n in ("driver_version", "nvml_version", "cuda_driver_version")}
    shown = error or f"driver {versions['driver_version']}, {len(devices) if isinstance(devices, list) else 0} devices"
    evidence = [Evidence(kind=kind, source=source, text=shown)]
    if versions["cuda_driver_version"]:
        offered = f"CUDA {versions['cuda_driver_version']}"
        asked = "libcuda.so.1 cuDriverGetVersion" if kind is EvidenceKind.LIBRARY else source
        evidence.append(Evidence(kind=kind, source=asked, text=offered))
    return NvmlSession(
        error=error,
        error_code=code if isinstance(code, int) else None,
        timed_out=result.timed_out,
        device_count=len(devices) if isinstance(devices, list) else 0,
        evidence=tuple(evidence),
        **versions,
    )


def add_devices(data: dict[str, Any], gpus: dict[str, Gpu], source: str, *, failed: bool = False) -> set[str]:
    """Fill in what a source's `devices` say (see nvidia_state.py); the addresses that it looked at. A device that failed by
    index alone stays unanswered."""
    answered = set()
    for device in dicts(data.get("devices")):
        address = address_of(device)
        if address is None:
            if failed or device.get("error") or not device.get("name"):
                continue
            address = f"{source}{device.get('index')}"  # no PCI device: WSL1-like layers and integrated GPUs
        gpu = gpus.setdefault(address, Gpu(key=f"gpu:{address}"))
        gpu.seen_by = source
        gpu.name = text(device.get("name")) or gpu.name
        gpu.error = text(device.get("error")) or ""
        pci_id = text(mapping(device.get("pci")).get("id"))
        if pci_id:
            gpu.attributes["pci_id"] = pci_id
        for name in ("compute_capability", "architecture", "uuid", "brand"):
            value = text(device.get(name))
            if value is not None:
                gpu.attributes[name] = value
                gpu.attributes.pop(name + "_hint", None)
        memory = device.get("memory_bytes")
        if isinstance(memory, int):
            gpu.attributes["memory_bytes"] = memory
        for name in ("mig", "ecc", "persistence"):
            value = device.get(name)
            gpu.attributes[name] = SWITCHES[value if isinstance(value, bool) else None]
        shown = f"index {device.get('index')}: {gpu.name}"
        gpu.evidence.append(told_by(source, shown))
        answered.add(address)
    return answered


def address_of(device: Mapping[str, Any]) -> str | None:
    """The PCI address that a source gives; None for a device that failed before it said any."""
    address = text(mapping(device.get("pci")).get("address"))
    return address if address is not None and ADDRESS.fullmatch(address) else None


def told_by(source: str, shown: str) -> Evidence:
    """Where a device's state was asked."""
    if source == "nvml":
        return Evidence(kind=EvidenceKind.LIBRARY, source="libnvidia-ml.so.1", text=shown)
    return Evidence(kind=EvidenceKind.COMMAND, source=source, text=shown)


def device_states(data: dict[str, Any], gpus: dict[str, Gpu], answered: set[str], source: str) -> list[GpuState]:
    """The state of every device. One that gave no address is the one on the bus that nobody answered for, where that is
    plain; else its state names no GPU."""
    devices = dicts(data.get("devices"))
    nameless = [d for d in devices if address_of(d) is None and d.get("error")]
    silent = [a for a, g in gpus.items() if a not in answered and g.attributes.get("driver_module") == "nvidia"]
    found = dict(zip(map(id, nameless), sorted(silent), strict=True)) if len(nameless) == len(silent) else {}
    states = []
    for device in devices:
        address = address_of(device) or found.get(id(device)) or f"{source}{device.get('index')}"
        key = gpus[address].key if address in gpus else ""
        if id(device) in found:
            gpus[address].error = text(device.get("error")) or ""
        shown = text(device.get("error")) or text(device.get("name")) or ""
        states.append(gpu_state(key, device, source, (told_by(source, f"index {device.get('index')}: {shown}"),)))
    return states


# -- what it comes to ---------------------------------------------------------------------------------------------


def set_aside(
    ctx: ProbeContext, gpus: dict[str, Gpu], nodes: NvidiaDeviceNodes | None, session: NvmlSession | None
) -> Iterator[NvidiaGpusNotGiven]:
    """The GPUs that show here and are not ours, with the reason."""
    unanswered = {a: g for a, g in gpus.items() if g.seen_by in {"pci", "proc"}}
    left_out = [a for a, g in unanswered.items() if g.excluded]
    if left_out:
        yield not_given(gpus, left_out, EXCLUDED)
    unanswered = {a: g for a, g in unanswered.items() if a not in left_out}
    # Slurm and systemd bind a job to its GPUs by device rules: NVML leaves out the others, whose nodes are there.
    answers = session is not None and not session.error
    ruled_out = [a for a, g in unanswered.items() if answers and g.node and ctx.machine.open_error(g.node) == "EPERM"]
    if ruled_out:
        yield not_given(gpus, ruled_out, "the device rules of this job's control group leave it to others (EPERM)")
    unanswered = {a: g for a, g in unanswered.items() if a not in ruled_out}
    kept = [a for a, g in unanswered.items() if str(g.attributes.get("driver_module")).startswith("vfio")]
    if kept:
        yield not_given(gpus, kept, "bound to vfio-pci: kept for a virtual machine")
    container = ctx.fact(Container)
    if container is None:
        return
    device_files = nodes.gpus if nodes else ()
    asked_for = ctx.machine.environ.get("NVIDIA_VISIBLE_DEVICES", "void") not in {"", "void", "none"}
    # Some container runtimes hide the other GPUs' /proc entries, some do not; none gives their device files. Where
    # nothing tells which GPUs were given, all count: better an error than a GPU that nobody looked at.
    told = any(g.seen_by != "pci" for g in gpus.values())

    def is_hidden(gpu: Gpu) -> bool:
        if not device_files:
            return not asked_for
        return gpu.node not in device_files if gpu.node else told

    hidden = [a for a, g in unanswered.items() if a not in kept and is_hidden(g)]
    if hidden:
        yield not_given(gpus, hidden, f"not given to this {container.runtime} container")


def not_given(gpus: dict[str, Gpu], addresses: list[str], reason: str) -> NvidiaGpusNotGiven:
    """The fact of some addresses."""
    evidence = tuple(e for a in addresses for e in gpus[a].evidence)
    return NvidiaGpusNotGiven(addresses=tuple(addresses), reason=reason, evidence=evidence)


def component(gpu: Gpu) -> Component:
    """The GPU component."""
    attributes: dict[str, AttributeValue] = {"vendor": "nvidia", "seen_by": gpu.seen_by, **gpu.attributes}
    return Component(key=gpu.key, kind="gpu", name=gpu.name, attributes=attributes, evidence=tuple(gpu.evidence))


def driver(module: NvidiaKernelModule | None, session: NvmlSession | None) -> Iterator[Component]:
    """The driver component: the loaded module's version; NVML's word where no module shows (WSL, gVisor)."""
    version = module.version if module else session.driver_version if session else None
    if version is None:
        return
    attributes: dict[str, AttributeValue] = {"branch": f"R{numbers(version)[0]}" if numbers(version) else None}
    evidence = module.evidence if module else ()
    if module is not None:
        attributes["module_flavor"] = module.flavor
    if session is not None:
        evidence = (*evidence, *session.evidence)
        if session.cuda_driver_version:
            attributes["cuda_api"] = session.cuda_driver_version
    yield Component(
        key="driver:nvidia", kind="driver", name="nvidia", version=version, attributes=attributes, evidence=evidence
    )


def does_without_nvml(ctx: ProbeContext, gpu: Gpu) -> bool:
    """Where no NVML is installed and none belongs: a display under Linux' own driver, a container that asked for no GPU and
    only shares /dev (Apptainer, Toolbx), and Jetson's GPU, which is no PCI device. They were looked at as far as they can be."""
    asked_for = ctx.machine.environ.get("NVIDIA_VISIBLE_DEVICES", "void") not in {"", "void", "none"}
    if ctx.fact(Container) is not None and not asked_for:
        return True
    if gpu.attributes.get("driver_module") in LINUX_OWN_DRIVERS:
        return True
    return gpu.seen_by == "device node" and any("tegra" in str(c.attributes.get("kernel")) for c in ctx.by_kind("os"))


def unseen(gpus: dict[str, Gpu], answered: set[str], session: NvmlSession | None) -> Iterator[Unseen]:
    """One Unseen for all GPUs with the same reason. Without a session this form of machine cannot ask: no error."""
    if session is None:
        return
    reasons: dict[str, list[Gpu]] = {}
    for address, gpu in gpus.items():
        if gpu.error:
            reasons.setdefault(f"NVML: {gpu.error}", []).append(gpu)
        elif address not in answered:
            if session.error:
                reason = f"NVML could not be asked: {session.error}"
            else:
                bound = gpu.attributes.get("driver_module") or "no driver"
                reason = f"NVML does not list it (kernel driver: {bound})"
            reasons.setdefault(reason, []).append(gpu)
    for reason, found in reasons.items():
        yield Unseen(subject=tuple(g.key for g in found), reason=reason, evidence=session.evidence)


PROBES = (
    Probe(
        id="nvidia-gpu",
        version=1,
        devices=True,
        explained_by=(
            "NOUVEAU",
            "NVML-MISMATCH",
            "NV-NODES",
            "CTR-CGROUP",
            "CTR-TOOLKIT",
            "K8S-DEVICE",
            "WSL",
            "LIB-PATH",
            "ECC/XID",
        ),
        title="NVIDIA GPUs by NVML, /proc and PCI",
        run=run,
        needs=("kernel state",),
        after=("system", "pci", "nvidia-driver"),
        environment=("NVIDIA_VISIBLE_DEVICES",),
        collect=(f"{PROC_GPUS}/*/information", "/dev/dxg", "run:nvidia-smi -q -x"),
    ),
)
