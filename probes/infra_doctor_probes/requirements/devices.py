"""Accelerator devices of every vendor: how many, which, with how much memory.

Counted is what this machine, container or job was given and has, answering or not: the bus tells of a GPU whose driver hangs.
Of its memory nobody can tell then. `gpu.visible` is what is left of them for a program after CUDA_VISIBLE_DEVICES and its like."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from infra_doctor.plugin import CheckContext, Component, Evidence, Observed, PolicyKey, SpecKind
from infra_doctor_probes.detect.nvidia_driver import NvidiaDeviceNodes
from infra_doctor_probes.detect.nvidia_gpu import NvidiaGpusNotGiven, NvmlSession
from infra_doctor_probes.detect.system import Container
from infra_doctor_probes.detect.visible_devices import VisibleDevices
from infra_doctor_probes.requirements.common import GPU_PROBES, absent, hidden, number, of_windows, unseen

Observe = Callable[[CheckContext, str], Iterator[Observed]]
NPU_PROBES = ("pci", "ascend-npu", "intel-gpu", "other-accelerators")
ALL_PROBES = tuple(dict.fromkeys((*GPU_PROBES, *NPU_PROBES)))
# Names of devices whose model nobody told.
NAMELESS = frozenset({"NVIDIA GPU", "AMD GPU", "Intel GPU", "Intel NPU", "Ascend NPU"})
# By these a device was found, and not by its driver's own word.
BY_THE_KERNEL = frozenset({"pci", "proc", "sysfs"})
LOST = ("CTR-TOOLKIT", "K8S-DEVICE", "CTR-CGROUP", "WSL", "NV-NODES", "ECC/XID")
LOST_NPU = ("ASCEND-CTR", "ASCEND-PERM", "CTR-CGROUP")
LOST_ANY = (*LOST, "ASCEND-CTR", "ASCEND-PERM", "MUSA-CTR", "ROCM-PERM")


# -- how many -----------------------------------------------------------------------------------------------------


def counted(kinds: tuple[str, ...], probes: tuple[str, ...]) -> Observe:
    """How many devices of these kinds are there."""

    def observe(ctx: CheckContext, _: str) -> Iterator[Observed]:
        found = ctx.by_kind(*kinds)
        seen = number(ctx, probes, len(found), evidence=(e for d in found for e in d.evidence[:1]))
        # Of these fewer may be ours, or there are others: no bound, as a probe that did not look leaves one.
        if why := of_the_host(ctx, found) or ("gpu" in kinds and of_windows(ctx)):
            yield replace(seen, reason=f"{len(found)} seen; {why}", unseen=True)
        elif seen.reason or "gpu" not in kinds:
            yield seen
        else:
            aside = (f"{len(f.addresses)} more on the bus: {f.reason}" for f in ctx.facts(NvidiaGpusNotGiven))
            yield replace(seen, reason="; ".join(aside))

    return observe


def of_the_host(ctx: CheckContext, found: tuple[Component, ...]) -> str:
    """Why some of these may be the host's and not this container's: /sys lists all that the host has."""
    container = ctx.fact(Container)
    if container is None:
        return ""
    silent = [d for d in found if d.attributes.get("seen_by") in BY_THE_KERNEL]
    doubtful = [d for d in silent if not any(of_vendor(ctx, d, found) for of_vendor in (nvidia_given, render_given))]
    if not doubtful:
        return ""
    return f"which of its host's devices this {container.runtime} container was given: nothing that answers tells it"


def nvidia_given(ctx: CheckContext, device: Component, _: tuple[Component, ...]) -> bool:
    """Whether a silent NVIDIA GPU was compared with the container's device files."""
    nodes = ctx.fact(NvidiaDeviceNodes)
    return device.attributes.get("seen_by") == "proc" and nodes is not None and bool(nodes.gpus)


def render_given(ctx: CheckContext, device: Component, found: tuple[Component, ...]) -> bool:
    """Whether AMD's or Intel's GPUs have a render node each here: a container has the nodes that it was given."""
    vendor = device.attributes.get("vendor")
    if device.kind != "gpu" or vendor not in {"amd", "intel"}:
        return False
    facts = [f for f in ctx.facts(object) if getattr(f, "fact_type", "") == f"{vendor}-access"]
    here = sum(d.kind == "gpu" and d.attributes.get("vendor") == vendor for d in found)
    return any(len(getattr(f, "render", ())) == here for f in facts)


# -- what a program sees ------------------------------------------------------------------------------------------


def visible(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """How many GPUs a program that is started here numbers."""
    gpus = ctx.by_kind("gpu")
    why = hidden(ctx, (*GPU_PROBES, "visible-devices")) or of_the_host(ctx, gpus)
    total, evidence = 0, list[Evidence]()
    for vendor in dict.fromkeys(str(g.attributes.get("vendor") or "") for g in gpus):
        of_it = [g for g in gpus if str(g.attributes.get("vendor") or "") == vendor]
        set_ = [v for v in ctx.facts(VisibleDevices) if v.vendor == vendor]
        evidence += [e for v in set_ for e in v.evidence] or [e for g in of_it for e in g.evidence[:1]]
        left = min((v.visible for v in set_ if v.visible is not None), default=len(of_it))
        total += left
        if left and not why:
            why = untold(of_it, set_)
    yield Observed(value=total, evidence=tuple(evidence), reason=why, unseen=bool(why))


def untold(gpus: list[Component], variables: list[VisibleDevices]) -> str:
    """Why what programs see of one vendor's GPUs is not known."""
    unknown = [v.variable for v in variables if v.visible is None]
    if unknown:
        return f"how many devices {' and '.join(unknown)} leaves is not known"
    if any(g.attributes.get("mig") == "enabled" for g in gpus):
        return "MIG is on: what a program sees are instances"
    mute = {*BY_THE_KERNEL, "device node"}
    silent = [g.key for g in gpus if g.attributes.get("vendor") == "nvidia" and g.attributes.get("seen_by") in mute]
    return f"{', '.join(silent)} did not answer" if silent else ""


# -- each of them -------------------------------------------------------------------------------------------------


def named(kinds: tuple[str, ...], probes: tuple[str, ...], what: str) -> Observe:
    """The model of each device of these kinds."""

    def observe(ctx: CheckContext, _: str) -> Iterator[Observed]:
        for device in ctx.by_kind(*kinds):
            if is_named(device):
                yield Observed(value=device.name, subject=(device.key,), evidence=device.evidence[-1:])
            else:
                yield unseen(why_nameless(ctx, device), device.key, evidence=device.evidence[:1])
        if not ctx.by_kind(*kinds):
            yield absent(ctx, probes, f"no {what} is there")

    return observe


def is_named(device: Component) -> bool:
    """Whether the name is the driver's or the vendor's tool's, or a PCI id's that stands for one product. NVIDIA's are called
    otherwise in the list of PCI ids ("H100 SXM5 80GB") than by their driver ("H100 80GB HBM3"), and some of AMD's ids are
    shared ("Radeon RX 7900 XT/7900 XTX")."""
    if device.name in NAMELESS or device.name.endswith(" device"):
        return False
    if device.attributes.get("seen_by") not in {"pci", "sysfs"}:
        return True
    return device.attributes.get("vendor") != "nvidia" and "/" not in device.name


def why_nameless(ctx: CheckContext, device: Component) -> str:
    """Why the model is not known, or not for certain."""
    if device.name in NAMELESS or device.name.endswith(" device"):
        return f"{device.key}: {silence(ctx, device)}"
    return f"{device.key}: by its PCI id it is {device.name}; its driver may call it otherwise, and did not tell"


def memory(kinds: tuple[str, ...], probes: tuple[str, ...], what: str) -> Observe:
    """The memory of each device of these kinds, in bytes."""

    def observe(ctx: CheckContext, _: str) -> Iterator[Observed]:
        for device in ctx.by_kind(*kinds):
            size = device.attributes.get("memory_bytes")
            if isinstance(size, int):
                yield Observed(value=size, subject=(device.key,), evidence=device.evidence[-1:])
            else:
                yield unseen(f"{device.name}: {silence(ctx, device)}", device.key, evidence=device.evidence[:1])
        if not ctx.by_kind(*kinds):
            yield absent(ctx, probes, f"no {what} is there")

    return observe


def silence(ctx: CheckContext, device: Component) -> str:
    """Why nobody told what a device's driver knows of it."""
    vendor = device.attributes.get("vendor")
    if vendor != "nvidia":
        return "; ".join(tools_errors(ctx, str(vendor))) or "nothing here tells it"
    session = ctx.fact(NvmlSession)
    if session is None:
        return hidden(ctx, ("nvidia-gpu",)) or "NVML cannot be asked here"
    if session.error:
        return f"NVML could not be asked: {session.error}"
    return "NVML does not list it" if device.attributes.get("seen_by") in BY_THE_KERNEL else "NVML does not tell it"


def tools_errors(ctx: CheckContext, vendor: str) -> Iterator[str]:
    """What went wrong with the vendor's own tools."""
    sessions = {"ascend": "ascend-session", "amd": "amd-smi-session", "intel": "xpu-smi-session"}
    wanted = sessions.get(vendor, "vendor-session")
    for found in ctx.facts(object):
        if getattr(found, "fact_type", "") == wanted and getattr(found, "vendor", vendor) == vendor:
            error = getattr(found, "error", "")
            if error:
                yield f"{getattr(found, 'tool', 'xpu-smi')}: {error}"


GPU, NPU, ANY = ("gpu",), ("npu",), ("gpu", "npu", "accelerator")
KEYS = (
    PolicyKey(key="gpu.count", title="how many GPUs of any vendor this machine, container or job has, whether they answer or not "
              "(with MIG the GPUs themselves; whatever CUDA_VISIBLE_DEVICES says)",
              kind=SpecKind.COUNT, observe=counted(GPU, GPU_PROBES), example="8", probes=GPU_PROBES,
              explained_by=LOST, offered=True),
    PolicyKey(key="gpu.visible", title="how many GPUs a program started here sees, after CUDA_VISIBLE_DEVICES and its like",
              kind=SpecKind.COUNT, observe=visible, example="8", probes=(*GPU_PROBES, "visible-devices"),
              explained_by=("ENV-CVD", *LOST)),
    PolicyKey(key="gpu.model", title="the model of each GPU, as its driver calls it", kind=SpecKind.NAME,
              observe=named(GPU, GPU_PROBES, "GPU"), example='"H200"', probes=GPU_PROBES, explained_by=LOST, offered=True),
    PolicyKey(key="gpu.memory", title="the memory of each GPU (of the whole GPU, also with MIG)", kind=SpecKind.SIZE,
              observe=memory(GPU, GPU_PROBES, "GPU"), example='">=80 GB"', probes=GPU_PROBES,
              explained_by=("NVML-MISMATCH", "NOUVEAU", *LOST), offered=True),
    PolicyKey(key="npu.count", title="how many NPUs (Ascend's chips, other vendors' devices) this machine or container has",
              kind=SpecKind.COUNT, observe=counted(NPU, NPU_PROBES), example="8", probes=NPU_PROBES,
              explained_by=LOST_NPU, offered=True),
    PolicyKey(key="npu.model", title="the model of each NPU", kind=SpecKind.NAME, observe=named(NPU, NPU_PROBES, "NPU"),
              example='"Ascend910B*"', probes=NPU_PROBES, explained_by=LOST_NPU, offered=True),
    PolicyKey(key="npu.memory", title="the memory of each NPU", kind=SpecKind.SIZE, observe=memory(NPU, NPU_PROBES, "NPU"),
              example='">=60 GiB"', probes=NPU_PROBES, explained_by=("ASCEND-HEALTH", *LOST_NPU), offered=True),
    PolicyKey(key="accelerator.count", title="how many accelerators there are: GPUs, NPUs and others of any vendor",
              kind=SpecKind.COUNT, observe=counted(ANY, ALL_PROBES), example='">=1"', probes=ALL_PROBES,
              explained_by=LOST_ANY),
    PolicyKey(key="accelerator.model", title="the model of each accelerator", kind=SpecKind.NAME,
              observe=named(ANY, ALL_PROBES, "accelerator"), example='["H200", "MI300X"]', probes=ALL_PROBES,
              explained_by=LOST_ANY),
)  # fmt: skip
