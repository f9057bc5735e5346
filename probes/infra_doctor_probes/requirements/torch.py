"""PyTorch and torch_npu: versions, what they were built for, and whether they work with the devices here."""

from collections.abc import Callable, Iterator

from infra_doctor.plugin import CheckContext, Observed, PolicyKey, SpecKind, numbers
from infra_doctor_probes.detect.libraries import FrameworkImport
from infra_doctor_probes.detect.wheels import TorchBuild
from infra_doctor_probes.in_target import prefix_of
from infra_doctor_probes.loading.orders import TORCH
from infra_doctor_probes.requirements import programs
from infra_doctor_probes.requirements.common import WHEEL_PROBES, absent, unseen, versions
from infra_doctor_probes.requirements.packages import missing
from infra_doctor_probes.tables.common import nvidia_gpus

NPU_PROBES = ("python.wheels", "ascend-frameworks")
GPU_PROBES = ("python.wheels", "libraries", "nvidia-gpu", "pci")


def each(of_one: Callable[[CheckContext, TorchBuild], Observed]) -> Callable[[CheckContext, str], Iterator[Observed]]:
    """One answer for each environment with a PyTorch."""

    def observe(ctx: CheckContext, _: str) -> Iterator[Observed]:
        builds = ctx.facts(TorchBuild)
        yield from (of_one(ctx, build) for build in builds)
        if not builds:
            yield absent(ctx, WHEEL_PROBES, missing(ctx, "torch"))

    return observe


def version(_: CheckContext, build: TorchBuild) -> Observed:
    """What torch says of itself: "2.11.0+cu130"."""
    return Observed(value=build.version, subject=(build.wheel,), evidence=build.evidence[:1])


def cuda(_: CheckContext, build: TorchBuild) -> Observed:
    """The CUDA version that it was built with."""
    if build.build is None:
        return unseen(f"{shown(build)}: its build could not be told", build.wheel, evidence=build.evidence)
    if build.build != "cuda":
        return Observed(value=None, subject=(build.wheel,), reason=built_for(build), evidence=build.evidence[:1])
    if len(numbers(build.cuda or "")) < 2:
        told = f"all that is known is CUDA {build.cuda}" if build.cuda else "nothing says which CUDA"
        return unseen(f"{shown(build)}: {told}", build.wheel, evidence=build.evidence)
    return Observed(value=build.cuda, subject=(build.wheel,), evidence=build.evidence[:1])


def rocm(_: CheckContext, build: TorchBuild) -> Observed:
    """The HIP version that it was built with; its first two numbers are ROCm's."""
    if build.build is None:
        return unseen(f"{shown(build)}: its build could not be told", build.wheel, evidence=build.evidence)
    found = numbers(build.hip or "")
    if build.build != "rocm":
        return Observed(value=None, subject=(build.wheel,), reason=built_for(build), evidence=build.evidence[:1])
    if len(found) < 2:
        return unseen(f"{shown(build)}: nothing says which ROCm", build.wheel, evidence=build.evidence)
    return Observed(value=".".join(map(str, found)), subject=(build.wheel,), evidence=build.evidence[:1])


def usable(ctx: CheckContext, build: TorchBuild) -> Observed:
    """Whether a CUDA build, its libraries, the driver and every NVIDIA GPU fit together."""
    subject, evidence = (build.wheel,), build.evidence[:1]
    if build.build in {"cpu", "rocm", "xpu"} and (build.build == "cpu" or nvidia_gpus(ctx)):
        return Observed(value=False, subject=subject, reason=built_for(build), evidence=evidence)
    if build.build != "cuda":
        return unseen(f"{shown(build)}: only CUDA builds can be told so far", build.wheel, evidence=evidence)
    works, why = programs.cuda_works(ctx, build.wheel)
    if works is False:
        return Observed(value=False, subject=subject, reason=f"{shown(build)}: {why}", evidence=evidence)
    imported = next((f for f in ctx.facts(FrameworkImport) if f.target == build.target and f.order == TORCH), None)
    if imported is None or imported.loads is None:
        unknown = imported.unknown if imported else ""
        why = unknown or "what its import loads is not known"
    elif imported.missing or not imported.loads:
        names = ", ".join(dict.fromkeys(m.soname for m in imported.missing)) or "a library of its own"
        found = (*evidence, *imported.evidence)
        return Observed(value=False, subject=subject, reason=f"{shown(build)} does not find {names}", evidence=found)
    elif works and not any(build.wheel in {r.left, r.right} for r in ctx.judged("gpu-wheel-arch")):
        why = "whether it has code for the GPU is not known"
    if why:
        return unseen(f"{shown(build)}: {why}", build.wheel, evidence=evidence)
    return Observed(value=True, subject=subject, evidence=evidence)


def shown(build: TorchBuild) -> str:
    """`torch 2.11.0+cu130 in /opt/venv`."""
    return f"torch {build.version} in {prefix_of(build.target)}"


def built_for(build: TorchBuild) -> str:
    """Why it has no CUDA, or no ROCm."""
    words = {"cpu": "the CPU only", "cuda": "CUDA", "rocm": "ROCm", "xpu": "Intel GPUs"}
    return f"{shown(build)} is built for {words.get(str(build.build), build.build)}"


# -- Ascend -------------------------------------------------------------------------------------------------------


def torch_npu(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """The version of torch_npu in each environment that has it."""
    wheels = [w for w in ctx.named("torch-npu") if w.kind == "wheel"]
    yield from versions(wheels)
    if not wheels:
        yield absent(ctx, WHEEL_PROBES, missing(ctx, "torch-npu"))


def npu_usable(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """Whether torch_npu, what it loads of CANN, the driver and every NPU fit together."""
    wheels = [w for w in ctx.named("torch-npu") if w.kind == "wheel"]
    if not wheels:
        yield absent(ctx, WHEEL_PROBES, missing(ctx, "torch-npu"))
        return
    from infra_doctor_probes.ascend.frameworks import AscendFrameworkLibraries

    told = {f.wheel: f for f in ctx.facts(AscendFrameworkLibraries)}
    for wheel in wheels:
        found = told.get(wheel.key)
        works, why = programs.cann_works(ctx, wheel.key)
        if found is not None and found.missing and not found.unknown:
            works, why = False, f"it does not find {', '.join(soname for soname, _, _ in found.missing)}"
        elif works is not False and (found is None or found.unknown):
            works, why = None, found.unknown if found else "what it loads is not known"
        evidence = found.evidence if found else wheel.evidence[:1]
        reason = f"torch_npu {wheel.version}: {why}" if why else ""
        if works is None:
            yield unseen(reason, wheel.key, evidence=evidence)
        else:
            yield Observed(value=works, subject=(wheel.key,), reason=reason, evidence=evidence)


LIBRARIES = ("CUDNN-MISSING", "PY-CLOBBER-NV", "CUDA-MAJOR", "CUDNN-MIX", "LDPATH-SHADOW")
KEYS = (
    PolicyKey(key="torch", title="PyTorch, as it calls itself (2.11.0+cu130 meets ==2.11.0)", kind=SpecKind.VERSION,
              observe=each(version), example='">=2.8,<3"', probes=WHEEL_PROBES, explained_by=("ENV-MOVED",), offered=True),
    PolicyKey(key="torch.cuda", title="the CUDA that PyTorch was built for", kind=SpecKind.VERSION, observe=each(cuda),
              example='"==12.8.*"', probes=WHEEL_PROBES, explained_by=("TORCH-CPU", "ROCM-WHEEL"), offered=True),
    PolicyKey(key="torch.rocm", title="the HIP that PyTorch was built for (its first two numbers are ROCm's)",
              kind=SpecKind.VERSION, observe=each(rocm), example='">=6.3"', probes=WHEEL_PROBES,
              explained_by=("TORCH-CPU", "ROCM-WHEEL")),
    PolicyKey(key="torch.gpu", title="whether PyTorch's CUDA build, its libraries, the driver and every NVIDIA GPU fit together, so"
              " that it can compute on them", kind=SpecKind.FLAG, observe=each(usable), example="true", probes=GPU_PROBES,
              explained_by=("TORCH-CPU", "ROCM-WHEEL", *LIBRARIES, *programs.CUDA_EXPLAINED_BY)),
    PolicyKey(key="torch_npu", title="torch_npu", kind=SpecKind.VERSION, observe=torch_npu, example='"==2.7.1.*"',
              probes=WHEEL_PROBES, offered=True),
    PolicyKey(key="torch.npu", title="whether torch_npu, CANN, the Ascend driver and every NPU fit together, so that PyTorch can"
              " compute on them", kind=SpecKind.FLAG, observe=npu_usable, example="true", probes=NPU_PROBES,
              explained_by=programs.CANN_EXPLAINED_BY),
)  # fmt: skip
