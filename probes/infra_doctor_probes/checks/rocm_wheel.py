"""ROCM-WHEEL: PyTorch or a plug-in for one vendor's GPUs on a machine that has another's, or for another ROCm.

Rests on what the wheels were built for, on the GPUs that are there, and on the ROCm on disk."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Component,
    Confidence,
    Finding,
    LogSignature,
    Severity,
    Status,
    major,
)
from infra_doctor_probes.detect.amd import ROCM_PLUG_INS
from infra_doctor_probes.in_target import Seen, nvidia_gpu, reinstall_words

# The plug-in's name says the ROCm that it needs on disk (jax-ml/jax, docs/installation.md).
NAMED = {"jax-rocm7-plugin": 7}


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per wheel that does not fit; one `pass` or `skip`."""
    wheels = [w for w in context.by_kind("wheel") if w.name == "torch" or w.name in ROCM_PLUG_INS]
    amd = [c for c in context.by_kind("gpu") if c.attributes.get("vendor") == "amd"]
    rocm_wheels = [w for w in wheels if w.attributes.get("build") == "rocm" or w.name in ROCM_PLUG_INS]
    if not rocm_wheels and not amd:
        yield CHECK.skip("neither an AMD GPU nor anything built for ROCm is there")
        return
    found = [f for w in wheels for f in (*judge_torch(context, w, amd), *judge_plug_in(context, w))]
    yield from found
    if found:
        return
    if rocm_wheels and amd:
        yield CHECK.finding(
            Status.PASS,
            f"{', '.join(f'{w.name} {w.version}' for w in rocm_wheels[:3])} is built for ROCm, and {amd[0].name} is there",
            subject=(*(w.key for w in rocm_wheels), *(g.key for g in amd)),
            detail="PyTorch's wheels bring their own ROCm and need only the kernel driver: another ROCm on disk is no fault.",
            evidence=(*(e for w in rocm_wheels for e in w.evidence[:1]), *amd[0].evidence[:1]),
            severity=Severity.LOW,
        )
    else:
        yield CHECK.skip("no GPU build is on a machine of the other vendor")


def judge_torch(context: CheckContext, torch: Component, amd: list[Component]) -> Iterator[Finding]:
    """PyTorch for CUDA where only an AMD GPU is, or for ROCm where only an NVIDIA GPU is."""
    build, nvidia = torch.attributes.get("build"), nvidia_gpu(context)
    if torch.name != "torch":
        return
    # A GPU that the compute driver did not take could not be used by the other build either.
    usable = [g for g in amd if g.attributes.get("gfx")]
    if build == "cuda" and usable and nvidia is Seen.ABSENT and not other_build(context, torch, "rocm"):
        yield CHECK.finding(
            Status.WARN,
            f"torch {torch.version} is built for CUDA, and the GPU is {usable[0].name}",
            subject=(torch.key, usable[0].key),
            detail="This build finds no GPU here: torch.cuda.is_available() is False, and a call says that there is no NVIDIA"
            " driver. PyPI serves the CUDA build to every machine.",
            evidence=(*torch.evidence, *usable[0].evidence[:1]),
            remedy=f"Take PyTorch's build for ROCm (https://download.pytorch.org/whl/rocmX.Y). {reinstall_words(context, torch)}",
        )
    if build == "rocm" and nvidia is Seen.PRESENT and not amd and not other_build(context, torch, "cuda"):
        gpu = next(g for g in context.by_kind("gpu") if g.attributes.get("vendor") == "nvidia")
        yield CHECK.finding(
            Status.WARN,
            f"torch {torch.version} is built for ROCm, and the GPU is {gpu.name}",
            subject=(torch.key, gpu.key),
            detail="This build drives AMD GPUs only: it says that no HIP GPUs are available.",
            evidence=(*torch.evidence, *gpu.evidence[:1]),
            remedy=f"Take a CUDA build of PyTorch. {reinstall_words(context, torch)}",
        )


def other_build(context: CheckContext, torch: Component, build: str) -> bool:
    """Whether another environment has the build that fits: this one may be meant."""
    return any(w.key != torch.key and w.attributes.get("build") == build for w in context.named("torch"))


def judge_plug_in(context: CheckContext, wheel: Component) -> Iterator[Finding]:
    """A plug-in that names the ROCm it needs, beside a ROCm of another major."""
    needed, installed = NAMED.get(wheel.name), context.by_kind("rocm")
    majors = {m for r in installed if (m := major(r.version)) is not None}
    if needed is None or not majors or needed in majors:
        return
    shown = ", ".join(str(r.version) for r in installed)
    yield CHECK.finding(
        Status.WARN,
        f"{wheel.name} {wheel.version} needs ROCm {needed}, and {shown} is installed",
        subject=(wheel.key, *(r.key for r in installed)),
        evidence=(*wheel.evidence, *(e for r in installed for e in r.evidence[:1])),
        confidence=Confidence.DERIVED,
        remedy=f"Install ROCm {needed}.x, or the plug-in for the ROCm that is there.",
    )


CHECK = Check(
    id="ROCM-WHEEL",
    title="GPU build for the other vendor, or for another ROCm",
    explanation="""\
PyTorch has one build for NVIDIA (`+cuXYZ`, which is also what PyPI serves) and one for AMD (`+rocmX.Y`). Both call their device
*cuda*; each sees only its own vendor's GPUs. On an AMD machine the CUDA build says *Found no NVIDIA driver on your system*; on
an NVIDIA machine the ROCm build says *No HIP GPUs are available*.

PyTorch's ROCm wheels carry the whole ROCm user space and need only the kernel driver, so another version in `/opt/rocm` is no
fault. AMD keeps kernel driver and user space compatible over two releases either way; which ROCm release a loaded amdgpu
belongs to cannot be told for certain, so a mismatch there is not judged. JAX' plug-in names its ROCm major and takes it from
disk.

Machines with GPUs of both vendors, and GPUs that the compute driver did not take, are left alone.""",
    remediation="Reinstall PyTorch from the index for this GPU's vendor: https://download.pytorch.org/whl/rocmX.Y or …/whl/cuXYZ,"
    " in one command with torchvision and torchaudio.",
    sources=(
        "https://pytorch.org/get-started/locally/",
        "https://github.com/Comfy-Org/ComfyUI/issues/653",
        "https://rocm.docs.amd.com/projects/install-on-linux/en/docs-6.3.0/reference/user-kernel-space-compat-matrix.html",
        "https://github.com/jax-ml/jax/blob/main/docs/installation.md",
    ),
    run=run,
    severity=Severity.MEDIUM,
    log_signatures=(
        LogSignature(
            pattern=r"Found no NVIDIA driver on your system", source="https://github.com/Comfy-Org/ComfyUI/issues/653", strength=1
        ),
        LogSignature(
            pattern=r"RuntimeError: No HIP GPUs are available", source="https://github.com/pytorch/pytorch/issues/132987",
            strength=1,
        ),
        LogSignature(
            pattern=r"libtorch_cuda\.so: cannot open shared object file",
            source="https://github.com/pytorch/pytorch/issues/139410", strength=2,
        ),
        LogSignature(
            pattern=r"lib(?:amdhip64|hsa-runtime64|MIOpen|amd_comgr|hiprtc|hip_hcc|rccl|rocm_smi64|roctx64|roctracer64"
            r"|(?:hip|roc)(?:blas|blaslt|fft|rand|sparse|solver))\.so(?:\.\d{1,6}){0,3}: "
            r"cannot open shared object file",
            source="https://github.com/ROCm/tensorflow-upstream/issues/1207",
        ),
        LogSignature(
            pattern=r"lib(?:c10_hip|torch_hip)\.so: cannot open shared object file",
            source="https://github.com/Looong01/pyg-rocm-build/issues/1",
        ),
    ),
    explained_by=("ROCM-GPU",),
    tags=("amd", "nvidia", "torch"),
)  # fmt: skip

CHECKS = (CHECK,)
