"""TF-FALLBACK: TensorFlow does not find a library that it opens when it looks for GPUs, and registers none.

Rests on the loader's algorithm for the names that TensorFlow opens (probe libraries); its own log names none of them."""

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
    major,
    major_minor,
    numbers,
)
from infra_doctor_probes.detect.opened_later import FrameworkLibraries
from infra_doctor_probes.detect.wheels import TorchBuild
from infra_doctor_probes.in_target import (
    Seen,
    no_gpu,
    nvidia_gpu,
    pip_install,
    prefix_of,
    same_library,
    titled,
    wheel_name,
)
from infra_doctor_probes.loading.names import library_name
from infra_doctor_probes.loading.process import Missing
from infra_doctor_probes.tables.common import prefix


def run(ctx: CheckContext) -> Iterator[Finding]:
    """One finding per TensorFlow with CUDA code."""
    facts = [f for f in ctx.facts(FrameworkLibraries) if f.order == "tensorflow"]
    if not facts:
        yield CHECK.skip("no TensorFlow with CUDA code is installed, or its build could not be told")
        return
    if nvidia_gpu(ctx) is Seen.ABSENT:
        yield CHECK.skip(no_gpu(ctx))
        return
    for fact in facts:
        yield judge(ctx, fact)


def judge(ctx: CheckContext, fact: FrameworkLibraries) -> Finding:
    """The finding of one TensorFlow."""
    where = f"{titled(ctx, fact.consumer)} in {prefix_of(fact.target)}"
    if fact.loads is None:
        return CHECK.finding(
            Status.UNKNOWN, f"{where}: whether it finds CUDA cannot be told: {fact.unknown}", subject=(fact.consumer,),
            severity=Severity.LOW,
        )  # fmt: skip
    if fact.loads:
        return CHECK.finding(
            Status.PASS, f"{where} finds every library that it opens for a GPU", subject=(fact.consumer,), severity=Severity.LOW,
            evidence=(Evidence(kind=EvidenceKind.DERIVED, source=fact.consumer, text=f"the names of CUDA {fact.cuda}"),),
        )  # fmt: skip
    missing = tuple(dict.fromkeys(m.soname for m in fact.missing))
    lying = copies_of(ctx, fact)
    some = any(u.consumer == fact.consumer for c in ctx.components for u in c.loaded_by)
    torch = any(t.target == fact.target and t.build == "cuda" for t in ctx.facts(TorchBuild))
    seen = nvidia_gpu(ctx) is Seen.PRESENT
    remedy, commands = remedy_of(ctx, fact, lying)
    return CHECK.finding(
        Status.FAIL if seen and (some or lying) else Status.WARN,
        f"{where} does not find {', '.join(missing[:4])}{' …' if len(missing) > 4 else ''}: it runs on the CPU",
        subject=(fact.consumer,),
        detail=f"It is built for CUDA {fact.cuda} and opens {'them' if len(missing) > 1 else 'it'} by name; where one is missing it"
        " registers no GPU. "
        + (f"Out of its reach: {'; '.join(lying)}." if lying else "No copy of that name is installed."),
        evidence=(*fact.evidence, *(Evidence(kind=EvidenceKind.FILE, source=path, text="lies here") for path in lying)),
        severity=Severity.LOW if torch and not (some or lying) else None,
        remedy=remedy,
        commands=commands,
    )


def copies_of(ctx: CheckContext, fact: FrameworkLibraries) -> list[str]:
    """Paths of copies that have a missing name, in this environment or outside all."""
    names = {m.soname for m in fact.missing}
    return [
        c.location
        for c in ctx.components
        if c.attributes.get("soname") in names
        and c.location
        and (not c.target or prefix(c.target) == prefix(fact.target))
    ]


def remedy_of(ctx: CheckContext, fact: FrameworkLibraries, lying: list[str]) -> tuple[str, tuple[Command, ...]]:
    """(what to do, runnable commands)."""
    found = ctx.component(fact.consumer)
    version = (found.version if found is not None else None) or ""
    name = wheel_name(fact.consumer)
    in_wheels = [path for path in lying if "/site-packages/nvidia/" in path or "/dist-packages/nvidia/" in path]
    if in_wheels and major_minor(version) == (2, 16):
        return (
            "Upgrade to TensorFlow 2.17 or newer: the libraries of 2.16 do not name the folders of the nvidia-* wheels"
            " (https://github.com/tensorflow/tensorflow/issues/63362).",
            (),
        )
    if lying:
        folder = lying[0].rpartition("/")[0]
        return (
            f"{folder} is not on the loader's way. Where environment modules set LD_LIBRARY_PATH, load the module of that library"
            " after those that replace the variable; else let the system's linker cache know the folder (a file in"
            " /etc/ld.so.conf.d and ldconfig). Or let TensorFlow bring its own CUDA: `tensorflow[and-cuda]`.",
            (),
        )
    if name in {"tensorflow", "tf-nightly"} and numbers(version)[:2] >= (2, 14):
        requirement = f"{name}[and-cuda]=={version}"
        return (
            f"Install the CUDA libraries as wheels: `{requirement}`. They need the driver alone, no toolkit.",
            pip_install(ctx, fact.target, requirement),
        )
    wants_cudnn = cudnn_of(fact.missing)
    return (
        f"Install CUDA {major(fact.cuda)}{f' and cuDNN {wants_cudnn}' if wants_cudnn else ''} where the loader finds them (the"
        " distribution's or NVIDIA's packages do), or use TensorFlow 2.17 and newer with `tensorflow[and-cuda]`.",
        (),
    )


def cudnn_of(missing: tuple[Missing, ...]) -> int | None:
    """The cuDNN major among what is missing."""
    found = [n for m in missing if (n := library_name(m.soname)) is not None and n.kind == "cudnn"]
    return found[0].major if found else None


CHECK = Check(
    id="TF-FALLBACK",
    title="TensorFlow silently runs on the CPU",
    explanation="""\
TensorFlow's wheel has CUDA code and no CUDA: when it looks for GPUs it opens libcudart, libcublas, libcublasLt, libcufft,
libcusolver, libcusparse and libcudnn by name. If one of them is not found, it prints *Cannot dlopen some GPU libraries …
Skipping registering GPU devices* and runs on the CPU; since 2.12 the message does not say which one.

`tensorflow[and-cuda]` (2.14 and newer) brings them as wheels, which its libraries find by a search list; those of 2.16 have
none, and need LD_LIBRARY_PATH. Without the extra, CUDA and cuDNN of the system are needed, of the versions that the wheel was
built with (build_info.py). infra-doctor plays the loader for each name, as the library that asks would.

A TensorFlow with no CUDA library in reach and none lying about is only a warning: it may be there for the CPU.""",
    remediation="Install `tensorflow[and-cuda]`, version 2.17 or newer; or put the missing library where the loader finds it.",
    sources=(
        "https://www.tensorflow.org/install/pip",
        "https://github.com/tensorflow/tensorflow/issues/63362",
        "https://github.com/tensorflow/tensorflow/issues/66987",
        "https://www.tensorflow.org/install/source#gpu",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"failed call to cuInit: UNKNOWN ERROR \(303\)",
            source="https://github.com/mljar/mljar-supervised/issues/107",
            strength=2,
        ),
        LogSignature(
            pattern=r"Cannot dlopen some GPU libraries",
            source="https://github.com/tensorflow/tensorflow/issues/66987",
            strength=3,
        ),
        LogSignature(
            pattern=r"Could not load dynamic library 'lib(?!nvinfer)\w{2,20}\.so[\d.]{0,9}'; dlerror:",
            source="https://github.com/tensorflow/tensorflow/issues/45930",
        ),
        LogSignature(
            pattern=r"Could not find cuda drivers on your machine, GPU will not be used",
            source="https://github.com/tensorflow/tensorflow/issues/63362",
            strength=1,
        ),
        LogSignature(
            pattern=r"Skipping registering GPU devices", source="https://github.com/tensorflow/tensorflow/issues/60646"
        ),
        LogSignature(
            pattern=r"Could not load dynamic library '(?!nvinfer|cudnn)\w{2,20}64_\d{1,3}\.dll'; dlerror:",
            source="https://github.com/tensorflow/tensorflow/issues/45028",
        ),
    ),
    explained_by=("CUDA-MAJOR", "CUDNN-MIX", "LDPATH-SHADOW", "PY-CLOBBER-NV"),
    follows=same_library,
    tags=("tensorflow", "nvidia"),
)

CHECKS = (CHECK,)
