"""Whether programs of one wheel can work on the devices here: the checks of driver and devices, asked over the same facts.

True needs evidence, not just silence: devices that answer, a driver that serves the wheel, no fault that stops it, and no
variable that hides the devices. What was proven on captures only (Ascend) is no surer here than in its checks."""

from collections.abc import Iterable, Iterator

from infra_doctor.plugin import Check, CheckContext, Finding, Status, Verdict
from infra_doctor_probes.checks import (
    arch,
    ascend_ctr,
    ascend_perm,
    ascend_soc,
    cann_drv,
    compat,
    ctr_cgroup,
    drv_old,
    ecc_xid,
    fabric,
    gpu_busy,
    mig,
    nouveau,
    nv_nodes,
    nvml_mismatch,
    torch_npu,
    uvm,
    wsl,
)
from infra_doctor_probes.detect.nvidia_gpu import NvmlSession
from infra_doctor_probes.detect.nvidia_state import GpuState
from infra_doctor_probes.detect.visible_devices import VisibleDevices
from infra_doctor_probes.in_target import Seen, no_gpu, nvidia_gpu
from infra_doctor_probes.requirements.common import hidden, of_windows
from infra_doctor_probes.tables.common import nvidia_gpus

# Where one of these fails, CUDA does not start, or a wheel's kernels do not run.
STOP_CUDA: tuple[Check, ...] = (
    nouveau.CHECK, nvml_mismatch.CHECK, nv_nodes.CHECK, ctr_cgroup.CHECK, wsl.CHECK, uvm.CHECK, compat.CHECK, fabric.CHECK,
    ecc_xid.CHECK, mig.CHECK, gpu_busy.CHECK, drv_old.CHECK, arch.CHECK,
)  # fmt: skip
STOP_CANN: tuple[Check, ...] = (
    ascend_ctr.CHECK, ascend_perm.CHECK, cann_drv.CHECK, ascend_soc.CHECK, torch_npu.CHECK,
)  # fmt: skip
# Those that judge the wheel: less than a pass of these leaves it open.
OF_THE_WHEEL = frozenset(c.id for c in (drv_old.CHECK, arch.CHECK, cann_drv.CHECK, ascend_soc.CHECK, torch_npu.CHECK))
CUDA_EXPLAINED_BY = (*(check.id for check in STOP_CUDA), "ENV-CVD", "CTR-TOOLKIT", "LIB-PATH")
CANN_EXPLAINED_BY = (*(check.id for check in STOP_CANN), "CANN-ENV", "ENV-CVD", "ASCEND-HEALTH")
Answer = tuple[bool | None, str]


def cuda_works(ctx: CheckContext, wheel: str) -> Answer:
    """(whether CUDA programs of this wheel work on every NVIDIA GPU here, why not); None where it cannot be told."""
    seen = nvidia_gpu(ctx)
    if seen is not Seen.PRESENT:
        windows = of_windows(ctx)
        return (False if seen is Seen.ABSENT and not windows else None), windows or no_gpu(ctx)
    stops, doubts = asked(ctx, STOP_CUDA, wheel)
    stops += hiding(ctx, "nvidia")
    if not ctx.by_kind("libcuda"):
        stops.append("the driver's libcuda.so.1 is nowhere where drivers put it")
    return answer(stops, (*doubts, *untold(ctx, wheel)))


def cann_works(ctx: CheckContext, wheel: str) -> Answer:
    """The same of torch_npu (its wheel's key) on every Ascend NPU."""
    npus = [d for d in ctx.by_kind("npu") if d.attributes.get("vendor") == "ascend"]
    if not npus:
        why = hidden(ctx, ("pci", "ascend-npu"))
        return (None, why) if why else (False, "no Ascend NPU is there")
    stops, doubts = asked(ctx, STOP_CANN, wheel)
    stops += hiding(ctx, "ascend")
    silent = [d.key for d in npus if d.attributes.get("seen_by") not in {"dcmi", "npu-smi"}]
    if silent:
        doubts.append(f"{', '.join(silent)} did not answer")
    for rule, what in (
        ("torch-npu-torch", "its torch"),
        ("cann-torch-npu", "CANN"),
        ("cann-driver", "CANN and the driver"),
    ):
        rows = ctx.judged(rule, verdict=Verdict.COMPATIBLE)
        if not any(rule == "cann-driver" or wheel in {row.left, row.right} for row in rows):
            doubts.append(
                f"whether it fits {what} is in no table"
                if rule != "cann-driver"
                else f"whether {what} fit is not known"
            )
    return answer(stops, doubts)


def answer(stops: Iterable[str], doubts: Iterable[str]) -> Answer:
    """One certain fault is a no, whatever else is not known."""
    if stops := tuple(dict.fromkeys(stops)):
        return False, "; ".join(stops)
    doubts = tuple(dict.fromkeys(doubts))
    return (None, "; ".join(doubts)) if doubts else (True, "")


def asked(ctx: CheckContext, checks: Iterable[Check], wheel: str) -> tuple[list[str], list[str]]:
    """(what stops the wheel, what leaves it open), by the titles of what these checks find."""
    found = [f for check in checks for f in check.run(ctx) if speaks_of(f, wheel)]
    stops = [f.title for f in found if f.status is Status.FAIL]
    return stops, [f.title for f in found if is_open(f)]


def speaks_of(finding: Finding, wheel: str) -> bool:
    """Whether the finding is about this wheel, or about none."""
    wheels = [key for key in finding.subject if key.startswith("wheel:")]
    return not wheels or wheel in wheels


def is_open(finding: Finding) -> bool:
    """Whether the finding leaves open whether programs work."""
    hint = finding.status is Status.WARN and finding.id in OF_THE_WHEEL
    return hint or finding.status in {Status.UNKNOWN, Status.ERROR}


def hiding(ctx: CheckContext, vendor: str) -> Iterator[str]:
    """The variables that leave no device."""
    for variable in ctx.facts(VisibleDevices):
        if variable.vendor == vendor and variable.visible == 0:
            yield f"{variable.variable} hides every device from programs"


def untold(ctx: CheckContext, wheel: str) -> Iterator[str]:
    """What is missing for a yes to CUDA."""
    session = ctx.fact(NvmlSession)
    if session is None:
        yield "NVML cannot be asked here"
    elif session.error:
        yield f"NVML could not be asked: {session.error}"
    else:
        silent = [g.key for g in nvidia_gpus(ctx) if g.attributes.get("seen_by") not in {"nvml", "nvidia-smi"}]
        silent += [s.gpu or f"GPU {s.index}" for s in ctx.facts(GpuState) if s.error]
        if silent:
            yield f"{', '.join(silent)} did not answer"
    if not any(c.attributes.get("first") is True for c in ctx.by_kind("libcuda")):
        yield "whether the loader finds libcuda.so.1 is not known"
    if not any(wheel in {row.left, row.right} for row in ctx.judged("cuda-driver-family")):
        yield "whether the driver serves it is in no table"
    for variable in ctx.facts(VisibleDevices):
        if variable.vendor == "nvidia" and variable.problem == "unknown":
            yield f"how many GPUs {variable.variable} leaves is not known"
