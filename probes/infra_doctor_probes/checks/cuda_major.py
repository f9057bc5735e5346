"""CUDA-MAJOR: something here was built for one CUDA major, and only libraries of another one are installed.

CUDA's sonames hold the major (libcublasLt.so.11, libcublasLt.so.12): one never serves for the other. Rests on what the
loader does not find for PyTorch, ONNX Runtime, TensorFlow and JAX, and on what compiled extensions need."""

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
    record,
)
from infra_doctor_probes.detect.extensions import CompiledExtension
from infra_doctor_probes.detect.framework_builds import FrameworkBuild
from infra_doctor_probes.detect.libraries import FrameworkImport
from infra_doctor_probes.detect.onnxruntime import ProviderLoad
from infra_doctor_probes.detect.opened_later import FrameworkLibraries
from infra_doctor_probes.detect.wheels import OnnxRuntimeBuild, TorchBuild
from infra_doctor_probes.in_target import (
    Seen,
    at_most_warn,
    no_gpu,
    nvidia_gpu,
    pip_words,
    prefix_of,
    titled,
    wheel_name,
)
from infra_doctor_probes.loading.names import cuda_major_of, library_name
from infra_doctor_probes.loading.orders import ORT, TORCH
from infra_doctor_probes.loading.process import Missing
from infra_doctor_probes.tables.common import NAMED, prefix
from infra_doctor_probes.tables.common import cuda_major_of as built_for

# Libraries whose copies tell which CUDA is installed.
KINDS = ("cudart", "cublas", "cublaslt", "nvrtc", "cufft", "nvjitlink")


@record
class Want:
    """One consumer that does not get its CUDA: the major, the names that it asks for, where that was seen."""

    consumer: str
    target: str
    cuda: int
    sonames: tuple[str, ...]
    evidence: tuple[Evidence, ...]


def run(ctx: CheckContext) -> Iterator[Finding]:
    """One finding per consumer whose CUDA major is not here while another is, and per library of the wrong one taken."""
    wants = list(unmet(ctx))
    wrong = list(wrong_copies(ctx))
    if not wants and not wrong:
        yield from nothing_wrong(ctx)
        return
    if nvidia_gpu(ctx) is Seen.ABSENT:
        yield CHECK.skip(no_gpu(ctx))
        return
    findings = [*wrong, *(f for want in wants if (f := judge(ctx, want)) is not None)]
    yield from findings
    if not findings:
        yield CHECK.skip("what is missing is of no CUDA major that is installed otherwise")


def nothing_wrong(ctx: CheckContext) -> Iterator[Finding]:
    """A pass with who was looked at, or a skip."""
    seen = [x for x in ctx.facts(ProviderLoad) if x.name == "CUDAExecutionProvider" and x.opens]
    imported = [f.consumer for f in ctx.facts(FrameworkImport) if f.loads]
    later = [f.consumer for f in ctx.facts(FrameworkLibraries) if f.loads]
    seen_keys = dict.fromkeys([*(x.wheel for x in seen), *imported, *later])
    if not seen_keys:
        yield CHECK.skip("nothing here asks for CUDA libraries of a major that could be told")
        return
    yield CHECK.finding(
        Status.PASS, "each gets the CUDA major that it was built for: " + ", ".join(titled(ctx, k) for k in seen_keys),
        subject=seen_keys, severity=Severity.LOW,
        evidence=[Evidence(kind=EvidenceKind.DERIVED, source=k, text="its CUDA libraries are found") for k in seen_keys],
    )  # fmt: skip


# -- who wants what -----------------------------------------------------------------------------------------------


def unmet(ctx: CheckContext) -> Iterator[Want]:
    """Everything that asks for CUDA libraries and does not get them."""
    for load in ctx.facts(ProviderLoad):
        if load.name == "CUDAExecutionProvider" and load.order == ORT and load.opens is False:
            yield from want(load.wheel, load.target, load.missing, load.evidence)
    for framework in ctx.facts(FrameworkImport):
        if framework.order == TORCH and framework.loads is False:
            yield from want(framework.consumer, framework.target, framework.missing, framework.evidence)
    for later in ctx.facts(FrameworkLibraries):
        if later.loads is False:
            yield from want(later.consumer, later.target, later.missing, later.evidence)
    yield from extensions(ctx)
    yield from by_name(ctx)
    yield from of_many_variants(ctx)


def want(consumer: str, target: str, missing: tuple[Missing, ...], evidence: tuple[Evidence, ...]) -> Iterator[Want]:
    """What is missing of one major, asked for by the consumer's own libraries."""
    names: dict[int, list[str]] = {}
    for item in missing:
        name = library_name(item.soname)
        cuda = cuda_major_of(name) if name is not None else None
        if cuda is not None and library_name(item.needed_by.rpartition("/")[2]) is None and not item.on_first_use:
            names.setdefault(cuda, []).append(item.soname)
    if len(names) == 1:
        ((cuda, sonames),) = names.items()
        yield Want(
            consumer=consumer, target=target, cuda=cuda, sonames=tuple(dict.fromkeys(sonames)), evidence=evidence
        )


def extensions(ctx: CheckContext) -> Iterator[Want]:
    """Compiled extensions: they get what torch has loaded, so torch's major is theirs."""
    torches = {t.target: t for t in ctx.facts(TorchBuild) if t.build == "cuda" and t.cuda}
    for found in ctx.facts(CompiledExtension):
        torch = torches.get(found.target)
        needs = {m for s in found.cuda_sonames if (n := library_name(s)) is not None and (m := cuda_major_of(n))}
        if torch is not None and len(needs) == 1 and needs != {major(torch.cuda)}:
            yield Want(
                consumer=found.wheel, target=found.target, cuda=needs.pop(), sonames=found.cuda_sonames,
                evidence=(*found.evidence, *torch.evidence),
            )  # fmt: skip


def by_name(ctx: CheckContext) -> Iterator[Want]:
    """CuPy opens its libraries when it is used; its major is in the distribution's name."""
    for wheel in ctx.by_kind("wheel"):
        if wheel.name.startswith("cupy-cuda") and wheel.name in NAMED:
            cuda = int(NAMED[wheel.name])
            yield Want(
                consumer=wheel.key, target=wheel.target or "", cuda=cuda, evidence=wheel.evidence,
                sonames=(f"libcublas.so.{cuda}", f"libnvrtc.so.{cuda}" if cuda > 11 else "libnvrtc.so.11.2"),
            )  # fmt: skip


def of_many_variants(ctx: CheckContext) -> Iterator[Want]:
    """bitsandbytes has one library for each CUDA version and takes that of torch's major."""
    torches = {t.target: t for t in ctx.facts(TorchBuild) if t.build == "cuda" and t.cuda}
    for build in ctx.facts(FrameworkBuild):
        torch = torches.get(build.target)
        majors = {int(v[:2]) for v in build.variants}
        if torch is not None and majors and major(torch.cuda) not in majors:
            best = max(majors)
            yield Want(
                consumer=build.wheel, target=build.target, cuda=best, sonames=(f"libcudart.so.{best}",),
                evidence=(*build.evidence, *torch.evidence),
            )  # fmt: skip


# -- findings -----------------------------------------------------------------------------------------------------


def judge(ctx: CheckContext, want: Want) -> Finding | None:
    """None where its own major is here after all (then it is out of reach, which is another fault), where no CUDA is, and
    where torch of another major in the same environment is what TORCH-ORT-CUDA tells of."""
    near = [
        c
        for c in ctx.by_kind(*KINDS)
        if (not c.target or prefix(c.target) == prefix(want.target)) and built_for(c) is not None
    ]
    majors = {m for c in near if (m := built_for(c)) is not None}
    if want.cuda in majors or not majors or any(c.wheel == want.consumer for c in ort_beside_torch(ctx, want)):
        return None
    there = " and ".join(f"CUDA {m}" for m in sorted(majors))
    found = dict.fromkeys(f"{c.name} {c.version or ''}".strip() + f" at {c.location}" for c in near)
    return CHECK.finding(
        at_most_warn(nvidia_gpu(ctx)),
        f"{titled(ctx, want.consumer)} needs CUDA {want.cuda}; only {there} is installed",
        subject=(want.consumer,),
        detail=f"In {prefix_of(want.target)} it asks for {', '.join(want.sonames[:4])}. The name holds the CUDA major, so no"
        f" copy of {there} serves: a newer toolkit is no replacement for an older one.",
        evidence=(
            *want.evidence,
            Evidence(kind=EvidenceKind.DERIVED, source="CUDA libraries here", text="; ".join(list(found)[:6])),
        ),
        remedy=remedy(ctx, want, majors),
    )


def ort_beside_torch(ctx: CheckContext, want: Want) -> list[OnnxRuntimeBuild]:
    """The ONNX Runtime that a torch of another major stands beside."""
    others = {t.target for t in ctx.facts(TorchBuild) if t.build == "cuda" and major(t.cuda) not in {None, want.cuda}}
    return [b for b in ctx.facts(OnnxRuntimeBuild) if b.target in others]


def remedy(ctx: CheckContext, want: Want, majors: set[int]) -> str:
    """A build for the CUDA that is here; else the wheels of the CUDA that is wanted, beside it."""
    name, have = wheel_name(want.consumer), max(majors)
    if name.startswith("onnxruntime"):
        build = next((b for b in ctx.facts(OnnxRuntimeBuild) if b.wheel == want.consumer), None)
        release = {12: "onnxruntime-gpu[cuda,cudnn]>=1.21,<1.27", 13: "onnxruntime-gpu[cuda,cudnn]>=1.28"}.get(have)
        stay = (
            f" To stay with this release, add the CUDA {want.cuda} libraries as wheels and call `onnxruntime.preload_dlls()`."
            if build is not None and build.has_preload_dlls
            else ""
        )
        if release is not None:
            return f"Install a build for CUDA {have}: {pip_words(ctx, want.target, 'install', repr(release))}.{stay}"
        return f"Install a build of ONNX Runtime for CUDA {have}.{stay}"
    if name.startswith("cupy-"):
        return (
            f"Install `cupy-cuda{have}x` in its place (uninstall {name} first), or bring CUDA {want.cuda} as wheels:"
            f" {pip_words(ctx, want.target, 'install', repr(f'{name}[ctk]'))}."
        )
    if name in {"tensorflow", "tf-nightly"}:
        return (
            f"Let TensorFlow bring its own CUDA: {pip_words(ctx, want.target, 'install', repr(f'{name}[and-cuda]'))}. It needs no"
            " toolkit then."
        )
    if name == "bitsandbytes":
        return "Upgrade bitsandbytes: it is loaded by the CUDA major of torch, for which this release has no library."
    return (
        f"Install a build of {name} for CUDA {have}, or a PyTorch for CUDA {want.cuda}: in one environment they must be of one"
        " CUDA major. A toolkit on the machine changes nothing."
    )


def wrong_copies(ctx: CheckContext) -> Iterator[Finding]:
    """Some names are shared by two majors (libcusolver.so.11 is CUDA 11's and 12's): the copy that is found needs others of
    its own major."""
    seen = nvidia_gpu(ctx)
    for later in ctx.facts(FrameworkLibraries) if seen is not Seen.ABSENT else ():
        told = set()
        for item in later.missing:
            taken, name = library_name(item.needed_by.rpartition("/")[2]), library_name(item.soname)
            other = cuda_major_of(name) if name is not None else None
            if taken is None or other is None or other == major(later.cuda) or item.needed_by in told:
                continue
            told.add(item.needed_by)
            file = item.needed_by.rpartition("/")[2]
            yield CHECK.finding(
                at_most_warn(seen),
                f"{titled(ctx, later.consumer)}, built for CUDA {major(later.cuda)}, finds the {file} of CUDA {other}",
                subject=(later.consumer,),
                detail=f"{item.needed_by} needs {item.soname}, which is not found. CUDA {major(later.cuda)} and {other} share this"
                " name, so the order of the search decides which copy is taken.",
                evidence=later.evidence,
                remedy=f"Have the folder of CUDA {major(later.cuda)} searched first, or take"
                f" {item.needed_by.rpartition('/')[0]} off LD_LIBRARY_PATH for this program.",
            )


CHECK = Check(
    id="CUDA-MAJOR",
    title="Built for another CUDA major than the one installed",
    explanation="""\
A library of CUDA carries its major in its name: `libcublasLt.so.11`, `libcublasLt.so.12`, `libcudart.so.13`. A program built
for CUDA 12 asks for the names of CUDA 12, and nothing else serves, however new the toolkit is: *libcublasLt.so.11: cannot open
shared object file* on a machine with CUDA 12 means that the program is a CUDA 11 build. onnxruntime-gpu on PyPI is built for
CUDA 11.8 up to 1.18, for CUDA 12 up to 1.26, for CUDA 13 from 1.27 on; PyTorch's default is CUDA 13 from 2.11 on; CuPy says
its major in the distribution's name; bitsandbytes has a library for each version and none for majors that it does not know.

A few names are common to two majors (libcusolver.so.11 is that of CUDA 11 and 12, libcurand.so.10 that of all): the copy that
is found first may be the wrong one, and what *it* needs is then missing.

The installed toolkit does not matter to wheels that bring their own libraries, and two majors on one machine are no fault. What
is reported is a program whose own major is nowhere while another is. Libraries of the right major that the loader does not find
are another failure (ORT-FALLBACK, TF-FALLBACK, CUDNN-MISSING).""",
    remediation="Install a build for the CUDA major that is there, or the libraries of the major that the program was built for,"
    " as wheels beside it.",
    sources=(
        "https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#requirements",
        "https://github.com/fudan-generative-vision/hallo/issues/203",
        "https://github.com/pykeio/ort/issues/548",
        "https://docs.cupy.dev/en/stable/install.html",
        "https://docs.nvidia.com/deploy/cuda-compatibility/",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"Failed to find dynamic library: libcu(?:blas|blasLt|dart|fft|rand|sparse|solver)\.so",
            source="https://github.com/PaddlePaddle/Paddle/issues/25219",
            strength=2,
        ),
        LogSignature(
            pattern=r"libonnxruntime_providers_cuda\.so with error: libcu(?:blasLt|blas|dart|fft|rand)\.so\.\d",
            source="https://github.com/fudan-generative-vision/hallo/issues/203",
            strength=3,
        ),
        LogSignature(
            pattern=r"libcu(?:blasLt|blas|dart|fft|sparse|pti)\.so\.[\d.]{1,9}: cannot open shared object file",
            source="https://github.com/tensorflow/tensorflow/issues/45930",
        ),
        LogSignature(
            pattern=r"lib(?:nvrtc|nvJitLink)\.so\.[\d.]{1,9}: cannot open shared object file",
            source="https://github.com/NVIDIA/tensorflow/issues/110",
            strength=1,
        ),
        LogSignature(
            pattern=r"load dynamic library 'lib(?:cusolver|cusparse|cufft|curand)\.so[\d.]{0,9}'; dlerror: lib(?:nvJitLink|cublas)",
            source="https://github.com/NVIDIA/tensorflow/issues/110",
            strength=3,
        ),
        LogSignature(
            pattern=r"CUDA Setup failed despite (?:GPU|CUDA) being available",
            source="https://github.com/bitsandbytes-foundation/bitsandbytes/issues/966",
        ),
        LogSignature(
            pattern=r"(?:Configured CUDA binary not found at|Could not find the bitsandbytes CUDA binary at)",
            source="https://github.com/bitsandbytes-foundation/bitsandbytes/issues/1688",
        ),
        LogSignature(
            # What stands between the names is overwritten on some Chinese Windows.
            pattern=r"onnxruntime_providers_cuda\.dll[^\n]{1,60}(?:cublas|Lt|cudart|cufft|curand|cusparse|cusolver)"
            r"64_\d{1,3}\.dll\W{1,3}which is missing",
            source="https://github.com/deepbeepmeep/Wan2GP/issues/1513",
            strength=3,
        ),
        LogSignature(
            pattern=r"third-party dynamic library "
            r"\((?:libcu(?:blas|blasLt|dart|fft|rand|sparse|solver)\.so[\d.]{0,8}|cu(?:blas|blasLt|dart|fft|rand"
            r"|sparse|solver)64_\d{1,3}\.dll)\) that Paddle depends on",
            source="https://github.com/PaddlePaddle/PaddleOCR/issues/1081",
        ),
        LogSignature(
            pattern=r"CUDA SETUP: Required library version not found: lib",
            source="https://github.com/bitsandbytes-foundation/bitsandbytes/issues/427",
        ),
        LogSignature(
            pattern=r"CUDA SETUP: CUDA detection failed",
            source="https://github.com/bitsandbytes-foundation/bitsandbytes/issues/82",
            strength=1,
        ),
        LogSignature(
            pattern=r"CuPy failed to load (?:lib)?(?:nvrtc|cu(?:blas|dart|fft|rand|solver|sparse))",
            source="https://github.com/kijai/ComfyUI-GIMM-VFI/issues/17",
        ),
        LogSignature(
            pattern=r"LoadLibrary\(\):'cu\w{2,12}64_\d{2,3}\.dll' not found",
            source="https://github.com/microsoft/onnxruntime/issues/980",
        ),
    ),
    explained_by=("TORCH-ORT-CUDA", "PY-CLOBBER-NV", "PY-CLOBBER-ORT"),
    tags=("cuda",),
)

CHECKS = (CHECK,)
