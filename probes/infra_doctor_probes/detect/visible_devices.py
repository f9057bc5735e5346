"""The variables that hide devices from a process, of every vendor: what each lets through of the devices that are there.

Values are compared here, where they are whole; a report says "index 3 of 2 GPUs". How CUDA reads its variable stands in the
CUDA Programming Guide (Environment variables) and was tried on an H200 under driver 580: entries are read from the left until
the first that is not valid, and what follows is ignored; an index is read like atoi does; a UUID may be shortened, in any case
of letters; indexes and UUIDs do not mix; an index that is there twice leaves no device at all (error 101)."""

import re
from collections.abc import Iterator

from infra_doctor.plugin import Evidence, EvidenceKind, Machine, Probe, ProbeContext, fact, record
from infra_doctor_probes.detect.nvidia_state import GpuState
from infra_doctor_probes.detect.pci import PciDevice

# vendor -> variables of a process, as vendors.md of each name them; the container's own variables (NVIDIA_VISIBLE_DEVICES,
# ASCEND_VISIBLE_DEVICES, …) are read by container runtimes and not by programs.
VARIABLES = {
    "nvidia": ("CUDA_VISIBLE_DEVICES",),
    "amd": ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "CUDA_VISIBLE_DEVICES"),
    "intel": ("ZE_AFFINITY_MASK",),
    "ascend": ("ASCEND_RT_VISIBLE_DEVICES",),
    "cambricon": ("MLU_VISIBLE_DEVICES",),
    "mthreads": ("MUSA_VISIBLE_DEVICES",),
    "kunlun": ("CXPU_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
    "enflame": ("TOPS_VISIBLE_DEVICES",),
    "hygon": ("HIP_VISIBLE_DEVICES",),
    "iluvatar": ("CUDA_VISIBLE_DEVICES",),
    "metax": ("CUDA_VISIBLE_DEVICES",),
}
SOURCES = {
    "nvidia": "https://docs.nvidia.com/cuda/cuda-programming-guide/05-appendices/environment-variables.html",
    "amd": "https://rocm.docs.amd.com/en/latest/conceptual/gpu-isolation.html",
    "intel": "https://oneapi-src.github.io/level-zero-spec/level-zero/latest/core/PROG.html",
    "ascend": "https://github.com/gpustack/gpustack/issues/3352",
}
# What Slurm writes for a job without GPUs, and others for "none".
NONE_WORDS = frozenset({"", "-1", "nodevfiles", "none", "void"})
UUIDS = ("gpu-", "mig-")
INDEX = r"\s*([+-]?\d{1,9})"
# A UUID in a snapshot is an alias, of which no beginning can be compared.
HASHED = r"(?:gpu|mig)-[0-9a-f]{12}"
SHOWN = r"[\w,.:+\- ]{0,200}"


@fact("visible-devices", 1)
@record
class VisibleDevices:
    """One variable that is set, for one vendor whose devices are there. `problem` is "" (all entries are valid), "none" (no
    device, as such values mean), "index", "uuid", "mig", "text" (the entry that is not valid), "twice", or "unknown" (cannot be
    compared). `position` is that entry's, from 1; `visible` how many devices are left, None where that is not known."""

    variable: str
    vendor: str
    problem: str
    device_count: int | None = None  # devices that are there; None where that is not certain
    entry_count: int = 0
    position: int | None = None
    index: int | None = None  # the index that is out of range, or there twice
    visible: int | None = None
    evidence: tuple[Evidence, ...] = ()


@record
class Devices:
    """What of one vendor is there. `exact` says that a program numbers just these; else `count` is the most there can be."""

    count: int
    exact: bool
    uuids: tuple[str, ...] = ()  # lower case
    mig_uuids: tuple[str, ...] = ()
    mig: bool = False


def run(ctx: ProbeContext) -> Iterator[object]:
    """A VisibleDevices for each variable that is set where its vendor's devices are."""
    machine: Machine = ctx.machine
    environment = machine.environ
    if not any(name in environment for names in VARIABLES.values() for name in names):
        return
    for vendor, names in VARIABLES.items():
        here = [n for n in names if n in environment]
        devices = devices_of(ctx, vendor) if here else None
        if devices is not None:
            yield from (read(n, environment[n], vendor, devices) for n in here)


def devices_of(ctx: ProbeContext, vendor: str) -> Devices | None:
    """The devices of one vendor that this machine, or container, has; None where there is none."""
    found = [c for c in ctx.by_kind("gpu", "npu", "accelerator") if c.attributes.get("vendor") == vendor]
    if vendor == "nvidia":
        if not found:
            return None
        states = ctx.facts(GpuState)
        return Devices(
            count=len(found),
            exact=all(c.attributes.get("seen_by") == "nvml" for c in found),
            uuids=tuple(str(c.attributes["uuid"]).lower() for c in found if c.attributes.get("uuid")),
            mig_uuids=tuple(m.uuid.lower() for s in states for m in s.mig_devices or () if m.uuid),
            mig=any(c.attributes.get("mig") == "enabled" for c in found),
        )
    # Of most others the bus alone is counted here, where one function may hold several devices, or none that computes: only
    # an index far beyond all of them is certainly wrong. Ascend's own tool tells the devices that programs number.
    on_bus = sum(d.vendor == vendor for d in ctx.facts(PciDevice))
    told = vendor == "ascend" and bool(found) and all(c.attributes.get("seen_by") in {"dcmi", "npu-smi"} for c in found)
    count = len(found) if told else max(len(found), on_bus)
    return Devices(count=count, exact=told) if count else None


def read(variable: str, value: str, vendor: str, devices: Devices) -> VisibleDevices:
    """One variable against the devices."""
    shown = value if re.fullmatch(SHOWN, value) else f"{len(value)} characters"
    evidence = (Evidence(kind=EvidenceKind.ENVIRONMENT, source=variable, text=shown or "(empty)"),)
    entries = value.split(",")
    problem, position, index, visible = walk(entries, vendor, devices)
    return VisibleDevices(
        variable=variable, vendor=vendor, problem=problem, device_count=devices.count if devices.exact else None,
        entry_count=len(entries), position=position, index=index, visible=visible, evidence=evidence,
    )  # fmt: skip


def walk(entries: list[str], vendor: str, devices: Devices) -> tuple[str, int | None, int | None, int | None]:
    """(problem, position, index, visible): entries from the left until one is not valid."""
    if entries[0].strip().lower() in NONE_WORDS:
        return "none", None, None, 0
    taken: list[str] = []
    for position, entry in enumerate(entries, 1):
        if not entry.strip() or entry.strip() == "-1":
            if position == len(entries) or entry.strip() == "-1":
                break  # a comma at the end; -1 ends the list by intent
            return "text", position, None, len(taken)
        problem, name, index = one(entry, vendor, devices, before=taken[0] if taken else "")
        if problem == "unknown":
            return "unknown", position, index, None
        if not problem and name in taken:
            return "twice", position, index, 0 if vendor == "nvidia" and index is not None else None
        if problem:
            return problem, position, index, len(taken) if devices.exact else None
        taken.append(name)
    return "", None, None, len(taken) if devices.exact else None


def one(entry: str, vendor: str, devices: Devices, *, before: str) -> tuple[str, str, int | None]:
    """(problem, the device's name, its index) of one entry; `before` is the name of the first one."""
    word = entry.strip().lower()
    by_uuid = vendor == "nvidia" and word.startswith(UUIDS)
    if vendor == "nvidia" and before and before.startswith(UUIDS) != by_uuid:
        return "text", "", None  # indexes and UUIDs do not mix
    if by_uuid:
        return (*uuid(word, devices), None)
    number = re.match(INDEX, entry)
    if number is None:
        known = vendor in {"nvidia", "ascend"} or not re.search(r"\d", word)
        return ("text" if known else "unknown"), "", None
    index = int(number.group(1))
    if 0 <= index < devices.count:
        return "", str(index) if vendor == "nvidia" else word, index  # Level Zero's "0.1" is a part of device 0
    if index >= 0 and not devices.exact and index < max(16, 8 * devices.count):
        return "unknown", "", index
    # With MIG a program sees instances, which CUDA numbers by itself.
    return ("unknown" if devices.mig and index >= 0 else "index"), "", index


def uuid(word: str, devices: Devices) -> tuple[str, str]:
    """(problem, the device) of a UUID, which may be shortened."""
    kind = "mig" if word.startswith("mig-") else "uuid"
    known = devices.mig_uuids if kind == "mig" else devices.uuids
    found = [u for u in known if u.startswith(word)] if len(word) > 4 else []
    if found:
        return "", found[0] if len(found) == 1 else word
    # An older form names the GPU and the instance: MIG-GPU-<uuid>/1/0.
    unclear = not devices.exact or (kind == "mig" and devices.mig and (not known or word.startswith("mig-gpu-")))
    if unclear or (any(re.fullmatch(HASHED, u) for u in known) and not re.fullmatch(HASHED, word)):
        return "unknown", ""
    return kind, ""


PROBES = (
    Probe(
        id="visible-devices",
        version=1,
        title="Variables that hide devices from programs",
        run=run,
        needs=("environment",),
        after=("pci", "nvidia-gpu", "ascend-npu"),
        environment=tuple(sorted({n for names in VARIABLES.values() for n in names} | {"CUDA_DEVICE_ORDER"})),
    ),
)
