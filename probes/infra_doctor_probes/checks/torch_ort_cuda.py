"""TORCH-ORT-CUDA: PyTorch and ONNX Runtime in one environment are built for different CUDA majors.

The builds are those on disk; cuDNN's soname cannot tell them apart, as CUDA 12 and 13 both have libcudnn.so.9."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Confidence, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.onnxruntime import ProviderLoad
from infra_doctor_probes.detect.wheels import OnnxRuntimeBuild, TorchBuild
from infra_doctor_probes.in_target import Seen, at_most_warn, nvidia_gpu, prefix_of, titled


def run(ctx: CheckContext) -> Iterator[Finding]:
    """One finding per environment that has CUDA builds of both."""
    found = False
    for torch in ctx.facts(TorchBuild):
        for ort in ctx.facts(OnnxRuntimeBuild):
            if torch.target == ort.target and torch.build == "cuda" and torch.cuda and ort.cuda:
                found = True
                yield judge(ctx, torch, ort)
    if not found:
        yield CHECK.skip("no environment has CUDA builds of both PyTorch and ONNX Runtime")


def judge(ctx: CheckContext, torch: TorchBuild, ort: OnnxRuntimeBuild) -> Finding:
    """The finding of one environment."""
    ours, theirs = (str(b).partition(".")[0] for b in (torch.cuda, ort.cuda))
    subject = (torch.wheel, ort.wheel)
    both = f"{titled(ctx, torch.wheel)} (CUDA {torch.cuda}) and {titled(ctx, ort.wheel)} (CUDA {ort.cuda})"
    evidence = (*torch.evidence, *ort.evidence)
    if ours == theirs:
        return CHECK.finding(
            Status.PASS, f"{both} want the same CUDA major", subject=subject, severity=Severity.LOW, evidence=evidence
        )
    seen = nvidia_gpu(ctx)
    if seen is Seen.ABSENT:
        return CHECK.skip(f"{prefix_of(torch.target)}: no NVIDIA GPU is there")
    loads = [x for x in ctx.facts(ProviderLoad) if x.target == ort.target and x.name == "CUDAExecutionProvider"]
    works = any(x.complete for x in loads)
    return CHECK.finding(
        Status.WARN if works else at_most_warn(seen),
        f"{both} want different CUDA majors",
        subject=subject,
        detail=f"Importing torch first brings the libraries of CUDA {ours}, which ONNX Runtime cannot use; where both run in"
        f" one process they share one libcudnn.so.9, made for one of them."
        + ("" if works else f" The CUDA {theirs} libraries are not reachable here, so ONNX Runtime has no GPU."),
        confidence=Confidence.OBSERVED,
        evidence=evidence,
        remedy=remedy(ours, theirs),
    )


def remedy(ours: str, theirs: str) -> str:
    """The smallest change, by which of the two is ahead."""
    if (ours, theirs) == ("12", "13"):
        return (
            "Install `onnxruntime-gpu[cuda,cudnn]<1.27`, the last releases on PyPI for CUDA 12 (uninstall the present one"
            " first); or, with driver R580 or newer, PyTorch from the cu130 index."
        )
    if (ours, theirs) == ("13", "12"):
        return (
            "Upgrade to `onnxruntime-gpu[cuda,cudnn]>=1.28`, which is built for CUDA 13; or install PyTorch from a CUDA 12"
            " index (cu126, cu128)."
        )
    return f"Install a PyTorch for CUDA {theirs} or an ONNX Runtime for CUDA {ours}."


CHECK = Check(
    id="TORCH-ORT-CUDA",
    title="PyTorch and ONNX Runtime want different CUDA majors",
    explanation="""\
`import torch` before ONNX Runtime, the usual way to make CUDA reachable, helps only where both are built for the same CUDA
major. onnxruntime-gpu on PyPI is built for CUDA 11.8 up to 1.18, CUDA 12 from 1.19 to 1.26, CUDA 13 from 1.27 on; PyTorch's
default is CUDA 12 from 2.1 to 2.10 and CUDA 13 from 2.11 on.

With different majors both sets of libraries are needed in one process, and cuDNN is one for both: `libcudnn.so.9` is the
name of the CUDA 12 and of the CUDA 13 build, and the first that is loaded serves everybody. So the builds' CUDA majors are
compared, not sonames.""",
    remediation="Use builds of one CUDA major in one environment.",
    sources=(
        "https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#compatibility-with-pytorch",
        "https://github.com/microsoft/onnxruntime/issues/29032",
        "https://pytorch.org/get-started/locally/",
    ),
    run=run,
    severity=Severity.MEDIUM,
    log_signatures=(
        LogSignature(
            pattern=r"The installed PyTorch \S+ uses CUDA \d+\.x, but onnxruntime\S* is built with CUDA",
            source="https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#compatibility-with-pytorch",
        ),
        LogSignature(
            pattern=r"The installed PyTorch \S+ does not support CUDA 12",
            source="https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#compatibility-with-pytorch",
        ),
    ),
    tags=("onnxruntime", "torch", "planned"),
)

CHECKS = (CHECK,)
