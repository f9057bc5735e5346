"""CUDNN-MIX: the wrong cuDNN major is installed, its parts come from different copies, or it is built for another CUDA.

Two copies on disk are no fault: only what the loader would take counts."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Component,
    Confidence,
    Evidence,
    EvidenceKind,
    Finding,
    LogSignature,
    Severity,
    Status,
    numbers,
)
from infra_doctor_probes.detect.libraries import FrameworkImport
from infra_doctor_probes.detect.onnxruntime import ProviderLoad
from infra_doctor_probes.detect.opened_later import FrameworkLibraries
from infra_doctor_probes.in_target import Seen, at_most_warn, nvidia_gpu, same_library, titled
from infra_doctor_probes.loading.names import library_name


def run(ctx: CheckContext) -> Iterator[Finding]:
    """Wrong majors, mixed parts and other CUDA builds; else one pass, or a skip where nothing loads cuDNN."""
    wrong = list(wrong_majors(ctx))
    used = [c for c in ctx.by_kind("cudnn") if c.loaded_by]
    if not wrong and not used:
        yield CHECK.skip("nothing here loads cuDNN")
        return
    if nvidia_gpu(ctx) is Seen.ABSENT:
        yield CHECK.skip("no NVIDIA GPU is there")
        return
    bad = [*wrong, *mixed_parts(ctx, used), *other_cuda(ctx, used)]
    yield from bad
    if not bad:
        text = "; ".join(f"cuDNN {c.version or 'of unknown version'} from {c.origin}" for c in used)
        yield CHECK.finding(
            Status.PASS, f"whoever loads cuDNN gets a whole one: {text}", subject=[c.key for c in used],
            severity=Severity.LOW,
            evidence=[Evidence(kind=EvidenceKind.ELF, source=str(c.location), text=c.loaded_by[0].via) for c in used],
        )  # fmt: skip


def wrong_majors(ctx: CheckContext) -> Iterator[Finding]:
    """A consumer wants libcudnn.so.M, and only other majors are on the machine."""
    majors: dict[int, list[Component]] = {}
    for component in ctx.by_kind("cudnn"):
        name = library_name(str(component.attributes.get("soname") or ""))
        if name is not None and name.major is not None:
            majors.setdefault(name.major, []).append(component)
    told = set()
    wants = [(f.consumer, f.missing) for f in ctx.facts(FrameworkImport)]
    wants += [(f.wheel, f.missing) for f in ctx.facts(ProviderLoad) if f.name == "CUDAExecutionProvider"]
    wants += [(f.consumer, f.missing) for f in ctx.facts(FrameworkLibraries)]
    for consumer, all_missing in wants:
        for missing in all_missing:
            name = library_name(missing.soname)
            if name is None or name.kind != "cudnn" or name.major is None or name.major in majors or not majors:
                continue
            if (consumer, name.major) in told:
                continue
            told.add((consumer, name.major))
            there = ", ".join(str(m) for m in sorted(majors))
            yield CHECK.finding(
                at_most_warn(nvidia_gpu(ctx)), f"{titled(ctx, consumer)} needs cuDNN {name.major}; only cuDNN {there} is here",
                subject=(consumer,),
                detail="cuDNN majors are not interchangeable.",
                evidence=(
                    Evidence(kind=EvidenceKind.ELF, source=missing.needed_by, text=f"needs {missing.soname}"),
                    *(
                        Evidence(kind=EvidenceKind.ELF, source=str(c.location), text=f"soname {c.attributes.get('soname')}")
                        for found in majors.values()
                        for c in found
                    ),
                ),
                remedy=f"Install a cuDNN {name.major} for the same CUDA major beside it, or a version of"
                f" {titled(ctx, consumer).split(' ')[0]} that is built with cuDNN {there} (cuDNN 9: ONNX Runtime from 1.19 on for"
                " CUDA 12, PyTorch from 2.4, TensorFlow from 2.18).",
            )  # fmt: skip


def mixed_parts(ctx: CheckContext, used: list[Component]) -> Iterator[Finding]:
    """In one import order the main library and its parts have different versions."""
    for main in used:
        for consumer in dict.fromkeys(use.consumer for use in main.loaded_by):
            mixed = {
                part.key: (part, order)
                for order in [use.order for use in main.loaded_by if use.consumer == consumer][::-1]
                for part in ctx.by_kind("cudnn-sub")
                if any(u.consumer == consumer and u.order == order for u in part.loaded_by)
                and not same_copy(main, part)
            }
            if mixed:
                yield mixed_finding(ctx, consumer, main, list(mixed.values()))


def same_copy(main: Component, part: Component) -> bool:
    """One folder, or one version."""
    ours, theirs = numbers(main.version or "")[:3], numbers(part.version or "")[:3]
    return folder(main) == folder(part) or bool(ours and ours == theirs)


def mixed_finding(ctx: CheckContext, consumer: str, main: Component, mixed: list[tuple[Component, str]]) -> Finding:
    """One consumer, one main library, parts of another copy. A warning: on an H200 a torch with libcudnn 9.19 and the
    parts of 9.14 still ran a convolution, though cuDNN supports no such mixture."""
    known = bool(main.version) and all(part.version for part, _ in mixed)
    part, order = mixed[0]
    more = f" and {len(mixed) - 1} more parts" if len(mixed) > 1 else ""
    return CHECK.finding(
        Status.WARN,
        f"{titled(ctx, consumer)} gets {main.name} {main.version or '?'} with {part.name} {part.version or '?'}{more}",
        subject=(consumer, main.key, *(p.key for p, _ in mixed)),
        detail=f'In the order "{order}" the parts come from another copy'
        + ("." if known else ", at least one of unknown version."),
        confidence=Confidence.OBSERVED if known else Confidence.HEURISTIC,
        evidence=[
            Evidence(kind=EvidenceKind.ELF, source=str(c.location), text=via(c, consumer, o))
            for c, o in ((main, order), *mixed)
        ],
        remedy=whole_cudnn({via(c, consumer, o) for c, o in mixed}),
    )


def whole_cudnn(reasons: set[str]) -> str:
    """What gives the consumer one whole cuDNN, by why the other parts come in."""
    if any("LD_LIBRARY_PATH" in reason for reason in reasons):
        return "Take the folder of the other copy out of LD_LIBRARY_PATH for programs of this environment."
    if any("already loaded" in reason for reason in reasons):
        return (
            "Import torch before the first ONNX Runtime session is made: then both use the cuDNN of the environment. Or"
            " install the same cuDNN version in both places."
        )
    return "Reinstall the cuDNN wheel that the framework pins, so that the library and its parts are of one version."


def other_cuda(ctx: CheckContext, used: list[Component]) -> Iterator[Finding]:
    """libcudnn.so.9 for CUDA 12 and for CUDA 13 have one soname: whichever is found is taken."""
    told = set()
    for main in used:
        major = main.attributes.get("cuda_major")
        for use in main.loaded_by:
            consumer = ctx.component(use.consumer)
            wants = str(consumer.attributes.get("cuda") or "").partition(".")[0] if consumer is not None else ""
            if not wants or major is None or wants == str(major) or (use.consumer, main.key) in told:
                continue
            told.add((use.consumer, main.key))
            yield CHECK.finding(
                Status.WARN, f"{titled(ctx, use.consumer)}, built for CUDA {wants}, gets a cuDNN for CUDA {major}",
                subject=(use.consumer, main.key),
                detail=f"In the order \"{use.order}\". Both builds are libcudnn.so.{(main.version or '9').partition('.')[0]};"
                f" this one looks for the cuBLAS and NVRTC of CUDA {major}.",
                evidence=(Evidence(kind=EvidenceKind.ELF, source=str(main.location), text=use.via),),
                remedy=f"Install nvidia-cudnn-cu{wants} for this framework, or use builds of one CUDA major in one process.",
            )  # fmt: skip


def folder(component: Component) -> str:
    """Where the copy lies."""
    return (component.location or "").rpartition("/")[0]


def via(component: Component, consumer: str, order: str) -> str:
    """The loader's reason for this use."""
    return next((u.via for u in component.loaded_by if u.consumer == consumer and u.order == order), "")


CHECK = Check(
    id="CUDNN-MIX",
    title="cuDNN majors or parts are mixed",
    explanation="""\
cuDNN 8 and 9 are not interchangeable, nor are its parts: `libcudnn.so.9` opens `libcudnn_graph`, `libcudnn_ops`,
`libcudnn_cnn` and others by name, and each goes through the loader's search again. With a second cuDNN on the search path
the parts can come from different releases, which ends in *undefined symbol*, *sublibrary version mismatch* or a crash.

ONNX Runtime uses cuDNN 9 from 1.18.1 (CUDA 12) and 1.19 on; its CUDA 11.8 builds of 1.19 and 1.20 use cuDNN 8. PyTorch uses
cuDNN 9 from 2.4 on. The cuDNN 9 builds for CUDA 12 and CUDA 13 share the soname `libcudnn.so.9`, so the name alone does not
tell them apart.""",
    remediation="Have one cuDNN of the right major and CUDA build found first; take other copies off LD_LIBRARY_PATH.",
    sources=(
        "https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#requirements",
        "https://github.com/pytorch/pytorch/issues/104591",
        "https://github.com/pytorch/pytorch/issues/119989",
        "https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/overview.html",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"Found cuDNN version \d{4,5}, but JAX was built against version",
            source="https://github.com/MIT-REALM/gcbfplus/issues/1",
            strength=3,
        ),
        LogSignature(
            pattern=r"Could not create cudnn handle: CUDNN_STATUS_\w{4,40}",
            source="https://github.com/jax-ml/jax/issues/16078",
            strength=1,
        ),
        LogSignature(
            pattern=r"CUDNN_STATUS_(?:SUBLIBRARY_)?VERSION_MISMATCH",
            source="https://github.com/pytorch/pytorch/issues/119989",
            strength=3,
        ),
        LogSignature(
            pattern=r"cuDNN version incompatibility: PyTorch was compiled\s{1,4}against",
            source="https://github.com/gladiaio/gladia/issues/928",
        ),
        LogSignature(
            pattern=r"undefined symbol: [^\n]{0,120}libcudnn_\w{2,40}\.so",
            source="https://github.com/pytorch/pytorch/issues/104591",
            strength=3,
        ),
        LogSignature(
            pattern=r"Could not load library lib(?:cublasLt|cublas|nvrtc)\.so\.\d{1,2}\. Error",
            source="https://github.com/jax-ml/jax/issues/14931",
            strength=3,
        ),
        LogSignature(
            pattern=r"Loaded runtime CuDNN library: [\d.]{3,12} but source was compiled with",
            source="https://github.com/jax-ml/jax/issues/22416",
            strength=3,
        ),
        LogSignature(
            pattern=r"Outdated cuDNN installation found",
            source="https://github.com/rgommers/pixi-dev-scipystack/issues/1",
            strength=3,
        ),
        LogSignature(
            pattern=r"TensorRT was linked against cuDNN [\d.]{3,12} but loaded cuDNN [\d.]{3,12}",
            source="https://github.com/NVIDIA/TensorRT/issues/317",
            strength=1,
        ),
    ),
    explained_by=("LDPATH-SHADOW", "TORCH-ORT-CUDA", "PY-CLOBBER-NV"),
    follows=same_library,
    tags=("cudnn",),
)

CHECKS = (CHECK,)
