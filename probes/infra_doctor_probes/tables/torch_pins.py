"""torch against what it pins and what pins it: NVIDIA's wheels, Triton, torchvision, torchaudio, serving stacks.

Facts: the installed METADATA; where no probe read it, PyPI METADATA (`pytorch`, `triton`, `torchvision`, `serving_stacks`).
The tables hold PyPI's default build; other builds pin other versions and are judged by their own METADATA alone."""

from collections.abc import Iterator
from dataclasses import replace

from infra_doctor.plugin import (
    CheckContext,
    Compatibility,
    CompatibilityRule,
    Component,
    Verdict,
    family,
    floor,
    lookup,
    major,
    pair,
    within,
)
from infra_doctor_probes.tables.common import label, prefix, rows, text, wheels
from infra_doctor_probes.tables.requirements import Asked, asked_by_metadata, asked_by_table, judge, metadata_of

PINS, TRITON, VISION, SERVING = "torch-pins", "triton-torch", "torchvision-torch", "serving-torch"
PYPI = "https://pypi.org/project/{}/"
# Column of `pytorch` -> the distribution, with the suffix of CUDA 11 and 12, and that of CUDA 13.
PINNED = {
    "cudnn": ("nvidia-cudnn-cu{}", "nvidia-cudnn-cu{}"), "nccl": ("nvidia-nccl-cu{}", "nvidia-nccl-cu{}"),
    "cublas": ("nvidia-cublas-cu{}", "nvidia-cublas"), "cusparselt": ("nvidia-cusparselt-cu{}", "nvidia-cusparselt-cu{}"),
    "nvshmem": ("nvidia-nvshmem-cu{}", "nvidia-nvshmem-cu{}"),
    "cuda_toolkit_or_runtime_pin": ("nvidia-cuda-runtime-cu{}", "cuda-toolkit"),
}  # fmt: skip
SERVED = {
    "torch": "torch", "torchvision": "torchvision", "triton": "triton", "xformers": "xformers",
    "flashinfer-python": "flashinfer_python",
}  # fmt: skip


def judge_pins(ctx: CheckContext) -> Iterator[Compatibility]:
    """Every CUDA build of torch against the NVIDIA wheels beside it."""
    for torch in wheels(ctx, "torch"):
        if text(torch, "build") != "cuda":
            continue
        table = None if metadata_of(ctx, torch) else table_pins(torch)
        for other in ctx.by_kind("wheel"):
            if prefix(other.target) != prefix(torch.target) or not other.name.startswith(("nvidia-", "cuda-toolkit")):
                continue
            asked = asked_by_metadata(ctx, torch, other.name) or (table or {}).get(other.name)
            if asked is not None and asked.spec:
                yield pin_row(torch, other, asked)


def table_pins(torch: Component) -> dict[str, Asked]:
    """Distribution -> pin, for PyPI's default build of this version."""
    match = lookup(rows("pytorch"), "torch", torch.version, agree=("default_pypi_cuda", *PINNED))
    cuda_major = major(text(torch, "cuda"))
    if match.row is None or not text(torch, "cuda").startswith(match.row["default_pypi_cuda"]) or cuda_major is None:
        return {}
    pins = {}
    for column, names in PINNED.items():
        asked = asked_by_table(torch, "pytorch", "torch", column)
        if asked.spec:
            pins[names[cuda_major >= 13].format(cuda_major)] = asked
    return pins


def pin_row(torch: Component, other: Component, asked: Asked) -> Compatibility:
    """One NVIDIA wheel. torch pins them exactly; a newer one of the same major is used by many, and tested by nobody."""
    verdict = within(other.version, asked.spec)
    detail = f"{label(torch)} asks for {other.name}{asked.spec}; {other.version} is installed"
    pinned = asked.spec.removeprefix("==") if asked.spec.startswith("==") else ""
    newer = bool(pinned) and Verdict.COMPATIBLE is family(other.version, pinned) is floor(other.version, pinned)
    if verdict is Verdict.INCOMPATIBLE and newer:
        verdict = Verdict.UNKNOWN
        detail += ": newer, of the same major, which NVIDIA keeps compatible and PyTorch has not tested"
    return pair(torch.key, other.key, PINS, verdict, f"{detail}.", source=asked.source, certain=asked.certain)


def judge_triton(ctx: CheckContext) -> Iterator[Compatibility]:
    """torch's Triton."""
    for torch in wheels(ctx, "torch"):
        if text(torch, "build") != "cuda":
            continue
        for triton in wheels(ctx, "triton", target=torch.target or ""):
            asked = asked_by_metadata(ctx, torch, "triton") or asked_by_table(torch, "pytorch", "torch", "triton")
            if asked.spec or asked.unknown:
                yield judge(TRITON, torch, triton, asked, fallback=PYPI.format("torch"))


def judge_vision(ctx: CheckContext) -> Iterator[Compatibility]:
    """torchvision and torchaudio beside torch."""
    for wheel in wheels(ctx, "torchvision", "torchaudio"):
        for torch in wheels(ctx, "torch", target=wheel.target or ""):
            asked = asked_by_metadata(ctx, wheel, "torch")
            if asked is None and wheel.name == "torchvision":
                asked = asked_by_table(wheel, "torchvision", "torchvision", "torch")
            if asked is not None:
                yield judge(VISION, wheel, torch, asked, fallback=PYPI.format(wheel.name))


def judge_serving(ctx: CheckContext) -> Iterator[Compatibility]:
    """vLLM, SGLang and xFormers against the torch and the kernels beside them."""
    for wheel in wheels(ctx, "vllm", "sglang", "xformers", "flashinfer-python"):
        for other in wheels(ctx, *SERVED, target=wheel.target or ""):
            asked = asked_by_metadata(ctx, wheel, other.name)
            if asked is None and metadata_of(ctx, wheel) is None and other.name != wheel.name:
                asked = asked_by_table(wheel, "serving_stacks", "version", SERVED[other.name], package=wheel.name)
                # the table's requirements may carry an extra: "[cu13]==0.7.2"
                asked = replace(asked, spec=asked.spec.rpartition("]")[2])
                if asked.unknown and other.name != "torch":
                    continue
            if asked is not None and (asked.spec or asked.unknown):
                yield judge(SERVING, wheel, other, asked, fallback=PYPI.format(wheel.name))


RULES = (
    CompatibilityRule(
        id=PINS,
        title="torch's NVIDIA wheels are those that it pins",
        explanation="""\
A CUDA wheel of torch pins the NVIDIA wheels that it was built with. An older one, or one of another major, does not fit (cuDNN:
*compiled against … but found runtime version …*). A newer one of the same major is not judged: NVIDIA keeps it compatible,
PyTorch has not tested it.""",
        sources=(PYPI.format("torch"),),
        judge=judge_pins,
    ),
    CompatibilityRule(
        id=TRITON,
        title="Triton is the one that torch pins",
        explanation="torch.compile generates code for exactly one Triton version, which torch's METADATA pins.",
        sources=(PYPI.format("torch"), PYPI.format("triton")),
        judge=judge_triton,
    ),
    CompatibilityRule(
        id=VISION,
        title="torchvision and torchaudio fit torch",
        explanation="Both are compiled against one torch version and pin it. 0.29.1 and newer torchvision ask for a minimum only.",
        sources=(PYPI.format("torchvision"),),
        judge=judge_vision,
    ),
    CompatibilityRule(
        id=SERVING,
        title="Serving stacks get the torch that they pin",
        explanation="vLLM, SGLang and xFormers hold compiled code against one torch version, which their METADATA pins.",
        sources=(PYPI.format("vllm"), PYPI.format("sglang"), PYPI.format("xformers")),
        judge=judge_serving,
    ),
)
