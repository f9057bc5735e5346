"""CUDNN-LAYOUT: onnxruntime.preload_dlls() does not know the folder in which CUDA 13's wheels lie.

Its list is read from the installed onnxruntime/__init__.py, not told by a version."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Evidence,
    EvidenceKind,
    Finding,
    LogSignature,
    Severity,
    Status,
    major,
)
from infra_doctor_probes.detect.onnxruntime import ProviderLoad
from infra_doctor_probes.detect.wheels import OnnxRuntimeBuild
from infra_doctor_probes.in_target import (
    Seen,
    at_most_warn,
    failing_orders,
    no_gpu,
    nvidia_gpu,
    pip_install,
    prefix_of,
    titled,
)
from infra_doctor_probes.loading.orders import PRELOAD
from infra_doctor_probes.tables.common import prefix


def run(ctx: CheckContext) -> Iterator[Finding]:
    """One finding per ONNX Runtime for CUDA 13 with preload_dlls()."""
    builds = [b for b in ctx.facts(OnnxRuntimeBuild) if b.has_preload_dlls and (major(b.cuda) or 0) >= 13]
    if not builds:
        yield CHECK.skip("no ONNX Runtime for CUDA 13 with preload_dlls() is installed")
        return
    if nvidia_gpu(ctx) is Seen.ABSENT:
        yield CHECK.skip(no_gpu(ctx))
        return
    for build in builds:
        yield judge(ctx, build)


def judge(ctx: CheckContext, build: OnnxRuntimeBuild) -> Finding:
    """The finding of one ONNX Runtime."""
    where = f"{titled(ctx, build.wheel)} in {prefix_of(build.target)}"
    folder = f"cu{major(build.cuda)}"
    wheels = [
        c
        for c in ctx.by_kind("cudart", "cublas", "cublaslt", target=None)
        if c.target and prefix(c.target) == prefix(build.target) and f"/nvidia/{folder}/" in (c.location or "")
    ]
    if not wheels:
        return CHECK.skip(f"{where}: no wheels of CUDA {major(build.cuda)} lie beside it")
    listed = Evidence(
        kind=EvidenceKind.FILE, source="onnxruntime/__init__.py",
        text="preload_dlls() looks into nvidia/" + ", nvidia/".join(build.preload_folders or ("(nothing)",)),
    )  # fmt: skip
    if folder in build.preload_folders:
        return CHECK.finding(
            Status.PASS, f"{where}: preload_dlls() knows nvidia/{folder}", subject=(build.wheel,), severity=Severity.LOW,
            evidence=(listed,),
        )  # fmt: skip
    loads = [x for x in ctx.facts(ProviderLoad) if x.target == build.target and x.name == "CUDAExecutionProvider"]
    usable = [
        x.order for x in loads if x.opens and x.order != PRELOAD and x.order not in failing_orders(ctx, build.target)
    ]
    requirement = "onnxruntime-gpu[cuda,cudnn]>=1.28"
    return CHECK.finding(
        Status.WARN if usable else at_most_warn(nvidia_gpu(ctx)),
        f"{where}: preload_dlls() does not look into nvidia/{folder}, where the CUDA libraries lie",
        subject=(build.wheel,),
        detail=f"From CUDA 13 on the wheels share the folder nvidia/{folder}/lib; this release looks into the folders of CUDA 12"
        f" (nvidia/{', nvidia/'.join(build.preload_folders[:3])} …) and finds nothing there, without an error."
        + (f" It works after {' or '.join(usable)}." if usable else ""),
        evidence=(
            listed,
            *(Evidence(kind=EvidenceKind.FILE, source=str(c.location), text="lies here") for c in wheels[:2]),
        ),
        remedy=f"Upgrade ONNX Runtime: `{requirement}`."
        + (" Until then import torch before the first session." if usable else ""),
        commands=pip_install(ctx, build.target, requirement),
    )


CHECK = Check(
    id="CUDNN-LAYOUT",
    title="preload_dlls() does not know CUDA 13's wheel layout",
    explanation="""\
Up to CUDA 12 every NVIDIA wheel had a folder of its own (`nvidia/cublas/lib`, `nvidia/cuda_runtime/lib`). The wheels of CUDA 13
share one, `nvidia/cu13/lib`; cuDNN alone keeps `nvidia/cudnn/lib`. An ONNX Runtime whose `preload_dlls()` was written for the
old folders finds cuDNN and nothing else, says nothing, and the CUDA provider does not load. The fix came with 1.28.

The list is read from the installed `onnxruntime/__init__.py`.""",
    remediation="Upgrade to `onnxruntime-gpu[cuda,cudnn]>=1.28`, or import torch before the first session.",
    sources=(
        "https://github.com/microsoft/onnxruntime/issues/29198",
        "https://github.com/microsoft/onnxruntime/pull/29202",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"Failed to load lib(?:cublasLt|cublas|cudart|cufft|curand|nvrtc)\.so\.1[3-9]",
            source="https://github.com/microsoft/onnxruntime/issues/29198",
        ),
    ),
    tags=("onnxruntime",),
)

CHECKS = (CHECK,)
