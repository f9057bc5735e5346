"""ONNX Runtime's GPU builds against CUDA, TensorRT and the torch beside them.

Facts: build_and_package_info.py and METADATA of the wheel, ONNX Runtime's documentation tables (`onnxruntime_gpu`), and
its section on PyTorch: both work together if built for the same CUDA major and the same cuDNN major."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    CheckContext,
    Compatibility,
    CompatibilityRule,
    Component,
    Verdict,
    lookup,
    major,
    pair,
)
from infra_doctor_probes.tables.common import (
    CudaUse,
    copies_for,
    cuda_consumers,
    cuda_major_of,
    keep_matching,
    label,
    not_in_table,
    orders,
    prefix,
    rows,
    table_text,
)
from infra_doctor_probes.tables.cudnn import wanted_by

CUDA, TENSORRT, TORCH = "ort-cuda-build", "ort-tensorrt", "torch-ort-cuda"
CUDA_DOCS = "https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html"
PAIRING = f"{CUDA_DOCS}#compatibility-with-pytorch"
TENSORRT_DOCS = "https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html"


def ort_wheels(ctx: CheckContext) -> Iterator[tuple[Component, CudaUse]]:
    """ONNX Runtime's CUDA builds."""
    for wheel, use in cuda_consumers(ctx):
        if wheel.name.startswith("onnxruntime"):
            yield wheel, use


def judge_cuda(ctx: CheckContext) -> Iterator[Compatibility]:
    """The CUDA runtime that each build wants against the copies that it gets."""
    for wheel, use in ort_wheels(ctx):
        found = copies_for(ctx, wheel, "cudart")
        judged = [(copy, *cudart_fits(wheel, use, copy)) for copy in found.copies]
        for copy, verdict, detail in keep_matching(judged, loaded=found.loaded):
            yield pair(wheel.key, copy.key, CUDA, verdict, detail, source=use.source or CUDA_DOCS, certain=use.certain)


def cudart_fits(wheel: Component, use: CudaUse, copy: Component) -> tuple[Verdict, str]:
    """(verdict, sentence) of one copy of libcudart. Its soname holds the major: libcudart.so.12, libcudart.so.13."""
    where = f"libcudart {copy.version or ''} at {copy.location or copy.key}{orders(copy, wheel)}"
    wants, here = major(use.cuda), cuda_major_of(copy) or major(copy.version)
    if use.unknown or wants is None or here is None:
        return Verdict.UNKNOWN, f"{use.unknown or label(wheel)}: which CUDA it was built for is not known; {where}."
    said = f"{label(wheel)} is built for CUDA {use.cuda}; {where} is CUDA {here}"
    if wants != here:
        return Verdict.INCOMPATIBLE, f"{said}, another major."
    return Verdict.COMPATIBLE, f"{said}: any CUDA {here}.x serves."


def judge_tensorrt(ctx: CheckContext) -> Iterator[Compatibility]:
    """The TensorRT that each build's provider wants against the copies that it gets. Without TensorRT there is nothing
    to judge: the provider is part of every GPU wheel and few use it."""
    if not ctx.by_kind("tensorrt"):
        return
    for wheel, use in ort_wheels(ctx):
        same = [r for r in rows("onnxruntime_gpu") if use.unknown or major(r["cuda_default_pypi"]) == major(use.cuda)]
        match = lookup(same, "onnxruntime_gpu", wheel.version, agree=("tensorrt_ep",))
        found = copies_for(ctx, wheel, "tensorrt")
        wants = match.row["tensorrt_ep"] if match.row is not None else ""
        if match.row is None or not wants:
            reason = (
                not_in_table(wheel, match, "onnxruntime_gpu")
                if match.row is None
                else f"{label(wheel)} has no TensorRT entry"
            )
            for copy in found.copies:
                detail = f"{reason}; whether it works with {label(copy)} is not known."
                yield pair(wheel.key, copy.key, TENSORRT, Verdict.UNKNOWN, detail, source=TENSORRT_DOCS)
            continue
        judged = [(copy, *tensorrt_fits(wheel, wants, copy)) for copy in found.copies]
        for copy, verdict, detail in keep_matching(judged, loaded=found.loaded):
            source = table_text("onnxruntime_gpu", match.row)
            yield pair(wheel.key, copy.key, TENSORRT, verdict, detail, source=source, certain=match.row.certain)


def tensorrt_fits(wheel: Component, wants: str, copy: Component) -> tuple[Verdict, str]:
    """(verdict, sentence): the major is in the soname (libnvinfer.so.10)."""
    here = major(copy.version)
    said = f"{label(wheel)} was built with TensorRT {wants}; {label(copy)} is at {copy.location or copy.key}{orders(copy, wheel)}"
    if here is None:
        return Verdict.UNKNOWN, f"{said}, of unknown version."
    if here != major(wants):
        return Verdict.INCOMPATIBLE, f"{said}: it asks for libnvinfer.so.{major(wants)}."
    return Verdict.COMPATIBLE, f"{said}: the same major."


def judge_pairing(ctx: CheckContext) -> Iterator[Compatibility]:
    """torch and ONNX Runtime of one environment."""
    torches = [(w, u) for w, u in cuda_consumers(ctx) if w.name == "torch"]
    for ort, ort_use in ort_wheels(ctx):
        for torch, torch_use in torches:
            if prefix(ort.target) == prefix(torch.target):
                yield pairing_row(ctx, torch, torch_use, ort, ort_use)


def pairing_row(
    ctx: CheckContext, torch: Component, torch_use: CudaUse, ort: Component, ort_use: CudaUse
) -> Compatibility:
    """One pair. On disk they do not disturb each other; it is one process with both that this is about."""
    certain = torch_use.certain and ort_use.certain
    one, other = major(torch_use.cuda), major(ort_use.cuda)
    said = f"{label(torch)} is built for CUDA {torch_use.cuda or '?'}, {label(ort)} for CUDA {ort_use.cuda or '?'}"
    if one is None or other is None:
        return pair(
            torch.key, ort.key, TORCH, Verdict.UNKNOWN, f"{said}: not known whether they share a major.", source=PAIRING
        )
    source = PAIRING if ort_use.source in {"", CUDA_DOCS} else f"{PAIRING}; {ort_use.source}"
    if one != other:
        detail = (
            f"{said}. In one process the libraries named after their CUDA major load beside each other, but cuDNN for CUDA "
            f"{one} and for CUDA {other} can share the name libcudnn.so.9: the first import decides which one both get."
        )
        return pair(torch.key, ort.key, TORCH, Verdict.INCOMPATIBLE, detail, source=source, certain=certain)
    wants = [
        w.major if w is not None else None for w in (wanted_by(ctx, torch, torch_use), wanted_by(ctx, ort, ort_use))
    ]
    if None not in wants and wants[0] != wants[1]:
        detail = (
            f"{said}, but {torch.name} brings cuDNN {wants[0]} and {ort.name} wants cuDNN {wants[1]}: torch's copy does not serve "
            f"ONNX Runtime, which needs its own."
        )
        return pair(torch.key, ort.key, TORCH, Verdict.UNKNOWN, detail, source=source, certain=certain)
    return pair(
        torch.key, ort.key, TORCH, Verdict.COMPATIBLE, f"{said}: the same major.", source=source, certain=certain
    )


RULES = (
    CompatibilityRule(
        id=CUDA,
        title="ONNX Runtime gets the CUDA runtime that it was built for",
        explanation="""\
A build for CUDA 12.x runs with any 12.x, one for 13.x with any 13.x, and never with another major: the sonames differ
(libcublasLt.so.12, libcublasLt.so.13). PyPI serves CUDA 11.8 builds up to 1.18, CUDA 12 from 1.19 on, CUDA 13 from 1.27 on.""",
        sources=(CUDA_DOCS,),
        judge=judge_cuda,
    ),
    CompatibilityRule(
        id=TENSORRT,
        title="ONNX Runtime gets the TensorRT major that it was built with",
        explanation="The TensorRT provider asks for libnvinfer.so of one major: 8 up to 1.17, 10 from 1.18 on.",
        sources=(TENSORRT_DOCS,),
        judge=judge_tensorrt,
    ),
    CompatibilityRule(
        id=TORCH,
        title="torch and ONNX Runtime of one environment are built for the same CUDA",
        explanation="""\
ONNX Runtime's GPU package and PyTorch work together if both were built for the same CUDA major and cuDNN major: ONNX Runtime
then uses the libraries that torch loaded. With different majors, cuDNN is the fault: its builds for CUDA 12 and 13 are both
called libcudnn.so.9, and whoever is imported first decides. A torch for CUDA 12.6 with onnxruntime-gpu 1.27 or newer (CUDA 13)
is such a pair.""",
        sources=(PAIRING, "https://github.com/microsoft/onnxruntime/pull/23744"),
        judge=judge_pairing,
    ),
)
