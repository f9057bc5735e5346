"""EXT-ABI: an extension of PyTorch was compiled for another torch than the one beside it.

Rests on what the wheels say of themselves (label, file name, cpp_lib.json) and on what their libraries need; undefined
symbols are not looked up. Where nothing says what an extension was built for, nothing is said of it."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Confidence,
    Evidence,
    EvidenceKind,
    Finding,
    LogSignature,
    Severity,
    Status,
    major,
    major_minor,
)
from infra_doctor_probes.detect.extensions import CompiledExtension, TorchAbi
from infra_doctor_probes.detect.wheel_metadata import WheelMetadata
from infra_doctor_probes.detect.wheels import TorchBuild
from infra_doctor_probes.in_target import at_most_warn, nvidia_gpu, prefix_of, titled, wheel_name


def run(ctx: CheckContext) -> Iterator[Finding]:
    """One finding per extension that does not fit, one pass per environment where all that say so do."""
    torches = {t.target: t for t in ctx.facts(TorchBuild)}
    found = False
    for target, torch in torches.items():
        extensions = [e for e in ctx.facts(CompiledExtension) if e.target == target]
        bad = [f for e in extensions if (f := judge(ctx, e, torch)) is not None]
        told = [e for e in extensions if e.torch or e.cxx11_abi is not None or e.needs_cuda_torch]
        yield from bad
        if told and not bad:
            yield CHECK.finding(
                Status.PASS, f"{', '.join(titled(ctx, e.wheel) for e in told)}: nothing speaks against torch {torch.version}",
                subject=[torch.wheel, *(e.wheel for e in told)], severity=Severity.LOW,
                evidence=[x for e in told for x in e.evidence[:1]],
            )  # fmt: skip
        found = found or bool(told or bad)
    if not found:
        yield CHECK.skip("no extension of PyTorch says what it was compiled for")


def judge(ctx: CheckContext, extension: CompiledExtension, torch: TorchBuild) -> Finding | None:
    """The worst that is known of one extension; None where it fits or nothing is known."""
    name = titled(ctx, extension.wheel)
    where = f"{name} beside torch {torch.version} in {prefix_of(extension.target)}"
    abi = next((a for a in ctx.facts(TorchAbi) if a.target == extension.target), None)
    evidence = (*extension.evidence, *torch.evidence)
    package = wheel_name(extension.wheel)
    if abi is not None and extension.cxx11_abi is not None and abi.cxx11_abi is not extension.cxx11_abi:
        return CHECK.finding(
            at_most_warn(nvidia_gpu(ctx)),
            f"{where}: built with{'' if extension.cxx11_abi else 'out'} the C++11 ABI, torch with{'' if abi.cxx11_abi else 'out'}",
            subject=(extension.wheel, torch.wheel),
            detail="Every function that takes a string has another symbol name then: the import ends with an undefined symbol.",
            evidence=(*evidence, *abi.evidence),
            confidence=Confidence.DERIVED,
            remedy=f"Take the {package} wheel with `cxx11abi{'TRUE' if abi.cxx11_abi else 'FALSE'}` in its file name.",
        )
    if extension.needs_cuda_torch and torch.build == "cpu":
        return CHECK.finding(
            at_most_warn(nvidia_gpu(ctx)),
            f"{where}: it needs libtorch_cuda, which this CPU build of torch has not",
            subject=(extension.wheel, torch.wheel),
            detail="Its libraries name libc10_cuda.so or libtorch_cuda.so as dependencies: they do not load.",
            evidence=evidence,
            remedy=f"Install a CUDA build of torch, or the build of {package} for the CPU.",
        )
    if extension.cuda == "none" and torch.build == "cuda":
        return CHECK.finding(
            Status.WARN,
            f"{where}: a CPU build beside a CUDA build of torch",
            subject=(extension.wheel, torch.wheel),
            detail="Its own operators exist for the CPU alone: called with tensors on the GPU they fail (*Could not run … with"
            " arguments from the 'CUDA' backend*).",
            evidence=evidence,
            remedy=f"Install {package} from the index that torch came from"
            f"{f' (https://download.pytorch.org/whl/{torch.tag})' if torch.tag else ''}.",
        )
    return other_release(ctx, extension, torch, where, evidence)


def other_release(
    ctx: CheckContext, extension: CompiledExtension, torch: TorchBuild, where: str, evidence: tuple[Evidence, ...]
) -> Finding | None:
    """libtorch keeps its C++ interface within a release line only. Packages on torch's stable ABI say so by asking for a
    range of torch instead of one."""
    built, here = major_minor(extension.torch), major_minor(torch.version)
    if built is None or here is None or built == here or takes_newer(ctx, extension):
        return None
    package = wheel_name(extension.wheel)
    known = f", CUDA {extension.cuda}" if extension.cuda and major(extension.cuda) else ""
    return CHECK.finding(
        Status.WARN,
        f"{where}: compiled for torch {extension.torch}",
        subject=(extension.wheel, torch.wheel),
        detail=f"It was built for torch {extension.torch}{known}. libtorch's C++ symbols change between releases: most such pairs"
        " end with an undefined symbol at import, some work.",
        evidence=(
            *evidence,
            Evidence(kind=EvidenceKind.DERIVED, source=extension.wheel, text=f"torch {extension.torch} is not {torch.version}"),
        ),
        confidence=Confidence.DERIVED,
        remedy=f"Install the {package} wheel for torch {here[0]}.{here[1]}, or build it here against the installed torch"
        f" (`pip install --no-build-isolation --no-binary {package} {package}`; this takes nvcc of torch's CUDA major).",
    )  # fmt: skip


def takes_newer(ctx: CheckContext, extension: CompiledExtension) -> bool:
    """Whether its METADATA asks for torch from some release on: xformers from 0.0.34 on, for one."""
    said = next((m for m in ctx.facts(WheelMetadata) if m.wheel == extension.wheel), None)
    return said is not None and any(line.startswith(("torch>=", "torch >=")) for line in said.requires)


CHECK = Check(
    id="EXT-ABI",
    title="An extension was compiled for another PyTorch",
    explanation="""\
flash-attn, xformers, vLLM's kernels, causal-conv1d, torchvision and many others hold C++ and CUDA code that was compiled
against one PyTorch. libtorch promises no stable C++ interface between releases, and until 2.6 its wheels used another C++ ABI
than other builds did. METADATA says none of it: flash-attn asks for `torch`, whatever its wheel was built for. So pip keeps a
wheel for torch 2.8 when torch is upgraded, and the next import ends with *undefined symbol: _ZN3c104cuda29c10_cuda_check_…*.

infra-doctor compares what the wheels say of themselves: the label `+cu12torch2.8cxx11abiTRUE` in version or file name, the file
xformers/cpp_lib.json, the libraries that the extensions need. It does not look up symbols; an extension that was built on this
machine says nothing and is not judged. Another release of torch is a warning, because some of these pairs work.""",
    remediation="Install the extension's wheel for the installed torch release and ABI, or build it against that torch.",
    sources=(
        "https://github.com/Dao-AILab/flash-attention/releases",
        "https://github.com/Dao-AILab/flash-attention/issues/931",
        "https://github.com/Dao-AILab/flash-attention/issues/853",
        "https://github.com/facebookresearch/xformers/blob/main/xformers/_cpp_lib.py",
        "https://docs.pytorch.org/docs/stable/notes/libtorch_stable_abi.html",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"/(?!libtorch_npu|libop_plugin|libatb)[\w.+-]{3,120}\.so:\s{1,4}undefined symbol: _ZN?K?(?:3c10|2at|5torch)",
            source="https://github.com/Dao-AILab/flash-attention/issues/931",
            strength=3,
        ),
        LogSignature(
            pattern=r"undefined symbol: _Z\w{0,200}NK?(?:3c10|2at|5torch)\w",
            source="https://github.com/Dao-AILab/flash-attention/issues/723",
        ),
        LogSignature(
            pattern=r"xFormers (?:can't load C\+\+/CUDA extensions|was built for)",
            source="https://github.com/facebookresearch/xformers/issues/982",
            strength=3,
        ),
        LogSignature(
            pattern=r"compiled with different CUDA (?:major )?versions",
            source="https://github.com/deforum/deforum-stable-diffusion/issues/348",
            strength=3,
        ),
        LogSignature(
            pattern=r"Could not run '[\w:]{3,60}' with arguments from the 'CUDA' backend",
            source="https://github.com/pytorch/vision/issues/3058",
        ),
        LogSignature(
            pattern=r"lib(?:c10_cuda|torch_cuda|c10|torch_cpu|torch_python)\.so: cannot open shared object file",
            source="https://github.com/Dao-AILab/flash-attention/issues/1832",
        ),
        LogSignature(
            pattern=r"xFormers wasn't build with CUDA support",
            source="https://github.com/yufu-wang/PromptHMR/issues/4",
        ),
        LogSignature(
            pattern=r"'_OpNamespace' '_(?:C|moe_C)\w{0,20}' object has no attribute",
            source="https://github.com/vllm-project/vllm-ascend/pull/3791",
            strength=1,
        ),
    ),
    explained_by=("TORCH-CPU",),
    tags=("torch", "packages"),
)

CHECKS = (CHECK,)
