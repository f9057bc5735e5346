"""GPU-BUSY: a new program cannot start on a GPU (compute mode), or memory is held by nobody who shows.

Exclusive mode is how some clusters are run, so only a GPU that is taken in it counts. Memory without a process is judged only
where all processes of the machine would show: not in containers, not under WSL, not on slices of a GPU."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Confidence, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.nvidia_state import GpuState
from infra_doctor_probes.detect.system import Container
from infra_doctor_probes.gpu_states import answering, keys, name, names, nothing_told, seen
from infra_doctor_probes.tables.common import is_wsl

MUCH_BYTES = 1 << 30  # far more than a driver or a display keeps for itself
EXCLUSIVE = frozenset({"exclusive_process", "exclusive_thread"})


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per mode and GPU that is taken; one pass for the rest."""
    states = answering(context)
    told = [s for s in states if s.compute_mode is not None]
    if not told:
        yield CHECK.skip("these GPUs have no compute mode" if states else nothing_told(context))
        return
    prohibited = [s for s in told if s.compute_mode == "prohibited"]
    taken = [s for s in told if s.compute_mode in EXCLUSIVE and holders(s) and not uses_mps(s)]
    everyone_shows = context.fact(Container) is None and not is_wsl(context)
    orphaned = [s for s in told if everyone_shows and is_orphaned(s)]
    if prohibited:
        yield forbidden(prohibited, usable=len(prohibited) < len(states))
    for state in taken:
        yield occupied(state)
    for state in orphaned:
        yield held_by_nobody(state)
    rest = [s for s in told if s not in prohibited and s not in taken and s not in orphaned]
    if rest:
        exclusive = [s for s in rest if s.compute_mode in EXCLUSIVE]
        yield CHECK.finding(
            Status.PASS,
            f"programs can start: {names(rest)}",
            subject=keys(rest),
            detail=f"{names(exclusive)}: one program at a time (exclusive mode)" if exclusive else "",
            evidence=[e for s in rest for e in seen(s, f"compute mode {s.compute_mode}")],
        )


def holders(state: GpuState) -> list[int]:
    """Compute processes that show."""
    return [p.pid for p in state.processes or () if p.type == "C"]


def uses_mps(state: GpuState) -> bool:
    """Under MPS the one process is its server, and its clients share it."""
    return any(p.type == "M" for p in state.processes or ())


def is_orphaned(state: GpuState) -> bool:
    """Much memory in use, and nobody who uses it."""
    if state.mig or state.virtualization in {"vgpu", "host_vgpu"} or state.processes is None:
        return False
    return (
        not state.processes and state.memory_reserved_bytes is not None and (state.memory_used_bytes or 0) >= MUCH_BYTES
    )


def forbidden(states: list[GpuState], *, usable: bool) -> Finding:
    """Compute mode "prohibited": no CUDA program may start."""
    return CHECK.finding(
        Status.WARN if usable else Status.FAIL,
        f"CUDA programs are forbidden (compute mode prohibited): {names(states)}",
        subject=keys(states),
        detail="The other GPUs can be used." if usable else "No other GPU is there.",
        evidence=[e for s in states for e in seen(s, "compute mode prohibited")],
        severity=Severity.HIGH,
        remedy="If it is not meant: as root `nvidia-smi -i INDEX -c DEFAULT`.",
    )


def occupied(state: GpuState) -> Finding:
    """Exclusive mode with a program on it."""
    pids = ", ".join(map(str, holders(state)))
    return CHECK.finding(
        Status.WARN,
        f"{name(state)} is taken: exclusive mode, and process {pids} holds it",
        subject=(state.gpu,),
        detail="A second CUDA program gets error 46 or 201 (devices are busy or unavailable) until the first one ends.",
        evidence=seen(state, f"compute mode {state.compute_mode}, process {pids}"),
        remedy="Wait for that process, use another GPU, share the GPU through MPS, or (as root, if exclusive mode is not meant)"
        f" `nvidia-smi -i {state.index} -c DEFAULT`.",
    )


def held_by_nobody(state: GpuState) -> Finding:
    """Memory of a process that is gone or hidden."""
    used = f"{(state.memory_used_bytes or 0) / 2**30:.1f} GiB"
    return CHECK.finding(
        Status.WARN,
        f"{name(state)}: {used} of its memory is in use, and no process shows that holds it",
        subject=(state.gpu,),
        detail="Usually a program that ended badly and left children behind, or one that the driver cannot name.",
        evidence=seen(state, f"{used} used, no process"),
        confidence=Confidence.HEURISTIC,
        severity=Severity.MEDIUM,
        remedy="Find who still has the device open (as root `fuser -v /dev/nvidia*`) and end it; if nobody has, reset the GPU when"
        f" it is free (as root `nvidia-smi --gpu-reset -i {state.index}`) or reboot.",
    )


REMEDY = (
    "See who uses the GPU (`nvidia-smi`), wait for it or use another one; as root `nvidia-smi -i INDEX -c DEFAULT` lets several"
    " programs share it."
)
BUSY = "https://github.com/NVIDIA/DIGITS/issues/2005"

CHECK = Check(
    id="GPU-BUSY",
    title="A GPU cannot take another program",
    explanation="""\
In compute mode *exclusive process* one program may use a GPU at a time, in *prohibited* none: the next one gets *all
CUDA-capable devices are busy or unavailable*. Memory that stays in use after its program is gone leaves too little for the
next one.

Not reported: exclusive mode with nobody on the GPU (clusters are run like that) or under MPS. Memory without a process is not
judged in containers and under WSL, where others' processes do not show, nor on MIG devices and vGPUs.""",
    remediation=REMEDY,
    sources=(BUSY, "https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceEnumvs.html"),
    run=run,
    severity=Severity.MEDIUM,
    log_signatures=(
        LogSignature(
            pattern=r"Free memory on device \([\d.]{1,6}/[\d.]{1,6} GiB\) on startup is less than desired",
            source="https://github.com/vllm-project/vllm-ascend/issues/14628",
            strength=2,
        ),
        LogSignature(
            pattern=r"CUDA-capable device(?:s?(?: are| is)|\(s\) is/are) busy or unavailable", source=BUSY, strength=2
        ),
        LogSignature(pattern=r"CUDA_ERROR_DEVICE_UNAVAILABLE|cudaErrorDevicesUnavailable", source=BUSY, strength=2),
    ),
    explained_by=("ECC/XID",),
    tags=("nvidia",),
)

CHECKS = (CHECK,)
