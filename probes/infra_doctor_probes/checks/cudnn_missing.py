"""CUDNN-MISSING: a framework needs cuDNN and the loader does not find it, though a copy may be installed.

Rests on the played import orders (probes libraries and onnxruntime.providers)."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Command,
    Evidence,
    EvidenceKind,
    Finding,
    LogSignature,
    Severity,
    Status,
    record,
)
from infra_doctor_probes.detect.libraries import FrameworkImport
from infra_doctor_probes.detect.onnxruntime import ProviderLoad
from infra_doctor_probes.detect.wheels import OnnxRuntimeBuild
from infra_doctor_probes.in_target import (
    Seen,
    at_most_warn,
    copies,
    failing_orders,
    forced,
    nvidia_gpu,
    pip_install,
    prefix_of,
    same_library,
    titled,
)
from infra_doctor_probes.loading.names import DRIVER_SONAMES
from infra_doctor_probes.loading.orders import ORT, PRELOAD, TORCH
from infra_doctor_probes.loading.process import Missing


@record
class Case:
    """One consumer of cuDNN: what it misses by itself, and the orders in which it has its cuDNN."""

    consumer: str
    target: str
    what: str
    opens: bool | None
    missing: tuple[Missing, ...]
    works: tuple[str, ...]
    evidence: tuple[Evidence, ...]


def run(ctx: CheckContext) -> Iterator[Finding]:
    """One finding per consumer and target."""
    found = list(cases(ctx))
    if not found:
        yield CHECK.skip("nothing here is built for CUDA")
        return
    seen = nvidia_gpu(ctx)
    for case in found:
        yield judge(ctx, case, seen)


def cases(ctx: CheckContext) -> Iterator[Case]:
    """PyTorch by its import, ONNX Runtime by its CUDA provider."""
    for framework in ctx.facts(FrameworkImport):
        if framework.order == TORCH:
            yield Case(
                consumer=framework.consumer, target=framework.target, what="import torch", opens=framework.loads,
                missing=framework.missing, works=(), evidence=framework.evidence,
            )  # fmt: skip
    loads = [x for x in ctx.facts(ProviderLoad) if x.name == "CUDAExecutionProvider"]
    for alone in loads:
        if alone.order == ORT:
            failing = failing_orders(ctx, alone.target)
            same = [x for x in loads if x.provider == alone.provider and x.order not in failing]
            yield Case(
                consumer=alone.wheel, target=alone.target, what="CUDAExecutionProvider", opens=alone.opens,
                missing=alone.missing, works=tuple(x.order for x in same if not any(map(of_cudnn, x.missing))),
                evidence=alone.evidence,
            )  # fmt: skip


def of_cudnn(missing: Missing) -> bool:
    """Whether it is a part of cuDNN."""
    return missing.soname.startswith("libcudnn")


def judge(ctx: CheckContext, case: Case, seen: Seen) -> Finding:
    """The finding of one consumer."""
    where = f"{titled(ctx, case.consumer)} in {prefix_of(case.target)}"
    wanted = tuple(dict.fromkeys(m.soname for m in case.missing if of_cudnn(m)))
    if case.opens is None:
        return CHECK.finding(
            Status.UNKNOWN,
            f"{where}: whether cuDNN is found cannot be told",
            subject=(case.consumer,),
            severity=Severity.LOW,
        )
    if not wanted:
        taken = [c for c in ctx.by_kind("cudnn") if any(u.consumer == case.consumer for u in c.loaded_by)]
        if not taken:
            return CHECK.skip(f"{where} loads no cuDNN")
        text = "; ".join(f"cuDNN {c.version or 'of unknown version'} from {c.origin}" for c in taken)
        return CHECK.finding(
            Status.PASS, f"{where} finds {text}", subject=(case.consumer,), severity=Severity.LOW,
            evidence=[Evidence(kind=EvidenceKind.ELF, source=str(c.location), text=c.loaded_by[0].via) for c in taken],
        )  # fmt: skip
    importing = case.what == "import torch" and case.opens is False
    if seen is Seen.ABSENT and not importing:
        return CHECK.skip(f"{where}: no NVIDIA GPU is there")
    others = [
        m.soname for m in case.missing if not of_cudnn(m) and m.soname not in DRIVER_SONAMES and not m.on_first_use
    ]
    if others:
        return CHECK.skip(f"{where}: cuDNN is missing together with {', '.join(dict.fromkeys(others))}")
    return missing_finding(ctx, case, seen, where, wanted)


def missing_finding(ctx: CheckContext, case: Case, seen: Seen, where: str, wanted: tuple[str, ...]) -> Finding:
    """cuDNN alone is what fails."""
    installed = copies(ctx, "cudnn", target=case.target)
    late = case.opens is True
    effect = (
        "sessions open, and the first operation that needs cuDNN (a convolution, say) fails"
        if late and case.what != "import torch"
        else "the first operation that needs cuDNN fails"
        if late
        else "import torch fails"
        if case.what == "import torch"
        else "the provider does not load, and sessions run on the CPU"
    )
    evidence = (
        *case.evidence,
        Evidence(kind=EvidenceKind.DERIVED, source="copies of cuDNN", text=installed or "none found"),
    )
    names = ", ".join(wanted)
    if case.works:
        how = "`onnxruntime.preload_dlls()`" if PRELOAD in case.works else "`import torch`"
        return CHECK.finding(
            Status.WARN, f"{where} finds {names} only after {how}", subject=(case.consumer,),
            detail=f"Without it {effect}. A copy is present, but only reachable through preload_dlls() or an earlier torch"
            f" import: {installed}.",
            evidence=evidence,
            remedy=f"Call {how} before the first session." if PRELOAD in case.works else "Import torch before the first session.",
        )  # fmt: skip
    requirement = requirement_of(ctx, case)
    remedy, commands = install_remedy(ctx, case, requirement)
    return CHECK.finding(
        Status.FAIL if case.what == "import torch" and not late else at_most_warn(seen),
        f"{where} does not find {names}",
        subject=(case.consumer,),
        detail=f"In every import order {effect}. "
        + (f"Copies here: {installed}." if installed else "No copy is installed."),
        evidence=evidence,
        remedy=remedy,
        commands=commands,
    )


def install_remedy(ctx: CheckContext, case: Case, requirement: str) -> tuple[str, tuple[Command, ...]]:
    """(what to do, runnable commands). A wheel's cuDNN is out of reach for an ONNX Runtime without preload_dlls()."""
    commands = pip_install(ctx, case.target, *forced(ctx, case.target, "--no-deps", requirement))
    if case.what == "import torch":
        return f"Install the cuDNN that it was built for: `{requirement}`.", commands
    build = next((b for b in ctx.facts(OnnxRuntimeBuild) if b.wheel == case.consumer), None)
    if build is not None and not build.has_preload_dlls:
        cuda = (build.cuda or "").partition(".")[0]
        return (
            f"Upgrade to `onnxruntime-gpu[cuda,cudnn]` 1.21 or newer, which brings cuDNN as a wheel and loads it by"
            f" `onnxruntime.preload_dlls()`. To stay with {titled(ctx, case.consumer)}, install cuDNN {build.cudnn or ''} for CUDA"
            f" {cuda} as a system package, where the loader finds it by itself.",
            (),
        )
    return (
        f"Install the cuDNN that it was built for: `{requirement}`, then call `onnxruntime.preload_dlls()` before the first"
        " session.",
        commands,
    )


def requirement_of(ctx: CheckContext, case: Case) -> str:
    """The cuDNN wheel that fits the consumer's CUDA, at the version installed by its metadata if there is one."""
    consumer = ctx.component(case.consumer)
    cuda = str(consumer.attributes.get("cuda") or "") if consumer is not None else ""
    name = f"nvidia-cudnn-cu{cuda.partition('.')[0] or '12'}"
    wheel = next(iter(ctx.named(name, case.target)), None)
    if wheel is not None and wheel.version:
        return f"{name}=={wheel.version}"
    build = next((b for b in ctx.facts(OnnxRuntimeBuild) if b.wheel == case.consumer), None)
    return f"{name}~={build.cudnn}.0" if build is not None and build.cudnn else name


CHECK = Check(
    id="CUDNN-MISSING",
    title="cuDNN is not reachable",
    explanation="""\
cuDNN usually lies in the wheel `nvidia-cudnn-cu12` or `-cu13`, in a folder that is on nobody's search path. PyTorch's
libraries name that folder in their own search list; ONNX Runtime's do not: it finds cuDNN there only after
`onnxruntime.preload_dlls()` or after `import torch`, when it is loaded already.

Up to ONNX Runtime 1.27 the CUDA provider does not load without cuDNN, and sessions run on the CPU. From 1.28 on it opens
cuDNN at the first operation that needs it: the session is made, and the first convolution fails with *cuDNN is unavailable
or disabled for CUDA Execution Provider*. cuDNN itself opens its parts (`libcudnn_graph`, `libcudnn_ops`, `libcudnn_cnn` …)
when they are first used, so an incomplete copy fails late as well.""",
    remediation="Call `onnxruntime.preload_dlls()`, or import torch first; install the cuDNN wheel of the framework's CUDA"
    " major where there is no copy. Do not put the folder on a global LD_LIBRARY_PATH.",
    sources=(
        "https://github.com/microsoft/onnxruntime/issues/25609",
        "https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#preload-dlls",
        "https://github.com/pytorch/pytorch/issues/101314",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"libcudnn(?:_\w{2,40})?\.so(?:\.\d{1,2}){0,3}: cannot open shared object file",
            source="https://github.com/microsoft/onnxruntime/issues/19616",
            strength=3,
        ),
        LogSignature(
            pattern=r"Unable to load any of \{libcudnn_\w{2,40}\.so",
            source="https://github.com/MahmoudAshraf97/whisper-diarization/issues/259",
            strength=3,
        ),
        LogSignature(
            pattern=r"cuDNN is unavailable",
            source="https://github.com/microsoft/onnxruntime/issues/25609",
        ),
        LogSignature(
            pattern=r"Could not load dynamic library 'libcudnn\.so[\d.]{0,9}'",
            source="https://github.com/system76/cuda/issues/17",
            strength=3,
        ),
        LogSignature(
            pattern=r"onnxruntime_providers_\w{3,12}\.dll[^\n]{1,60}cudnn\w{0,30}64_\d{1,2}\.dll\W{1,3}which is missing",
            source="https://github.com/Zeyi-Lin/HivisionIDPhotos/issues/279",
            strength=3,
        ),
        LogSignature(
            pattern=r"Could not load dynamic library 'cudnn64_\d{1,2}\.dll'",
            source="https://github.com/tensorflow/tensorflow/issues/38822",
            strength=3,
        ),
        LogSignature(
            pattern=r"Could not locate cudnn\w{0,30}64_\d{1,2}\.dll",
            source="https://github.com/Huanshere/VideoLingo/issues/188",
            strength=3,
        ),
        LogSignature(
            pattern=r"third-party dynamic library \((?:libcudnn\.so[\d.]{0,8}|cudnn64_\d{1,2}\.dll)\) "
            r"that Paddle depends on is not configured correctly",
            source="https://github.com/PaddlePaddle/Paddle/issues/50195",
            strength=3,
        ),
        LogSignature(
            pattern=r"Cannot load cudnn shared library",
            source="https://github.com/PaddlePaddle/Paddle/issues/36238",
            strength=3,
        ),
        LogSignature(
            pattern=r"Could not load library cudnn\w{0,30}64_\d{1,2}\.dll\. Error code 1\d\d",
            source="https://github.com/tensorflow/tensorflow/issues/63455",
            strength=3,
        ),
        LogSignature(
            pattern=r"Could not initialize cudnn, please check cudnn installation",
            source="https://github.com/NVIDIA-AI-IOT/torch2trt/issues/554",
        ),
        LogSignature(
            pattern=r"Couldn't open CUDA library libcudnn\.so",
            source="https://github.com/tensorflow/tensorflow/issues/24",
            strength=3,
        ),
    ),
    explained_by=("CUDNN-MIX", "PY-CLOBBER-NV"),
    follows=same_library,
    tags=("cudnn", "onnxruntime", "torch"),
)

CHECKS = (CHECK,)
