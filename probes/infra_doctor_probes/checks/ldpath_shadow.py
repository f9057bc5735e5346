"""LDPATH-SHADOW: LD_LIBRARY_PATH makes a framework load another copy of a library than the one that it was installed with.

Each import order is played twice, with and without the variable; only a copy of another version is a finding."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Component,
    Evidence,
    EvidenceKind,
    Finding,
    Severity,
    Status,
    numbers,
)
from infra_doctor_probes.detect.libraries import LibraryPath, LibraryPathEffect
from infra_doctor_probes.in_target import Seen, nvidia_gpu, titled

# An older copy of these is known to break: PyTorch refuses a cuDNN older than it was compiled against, and cuSPARSE asks a
# newer symbol of nvJitLink (pytorch/pytorch#80637, #111469).
_MUST_NOT_BE_OLDER = {"cudnn", "cudnn-sub", "nvjitlink", "nccl"}


def run(ctx: CheckContext) -> Iterator[Finding]:
    """One finding per consumer and library that changes; a pass where the variable changes nothing that counts."""
    setting = ctx.fact(LibraryPath)
    if setting is None:
        yield CHECK.skip("LD_LIBRARY_PATH is not set, or nothing here is built for CUDA")
        return
    effects: dict[tuple[str, str, str], list[LibraryPathEffect]] = {}
    for effect in ctx.facts(LibraryPathEffect):
        effects.setdefault((effect.consumer, effect.taken, effect.instead_of), []).append(effect)
    found = False
    for (consumer, taken_key, instead_key), same in effects.items():
        taken, instead = ctx.component(taken_key), ctx.component(instead_key)
        if taken is None or instead is None or not (instead.origin or "").startswith(("wheel ", "conda")):
            continue
        if taken.version and instead.version and numbers(taken.version)[:3] == numbers(instead.version)[:3]:
            continue
        found = True
        yield shadow(ctx, consumer, taken, instead, same)
    if not found:
        yield CHECK.finding(
            Status.PASS, "LD_LIBRARY_PATH changes no library of another version for PyTorch or ONNX Runtime",
            subject=(), severity=Severity.LOW, evidence=setting.evidence,
            detail="An RPATH, or a library opened by its path, wins over it." if not effects else "",
        )  # fmt: skip


def shadow(
    ctx: CheckContext, consumer: str, taken: Component, instead: Component, effects: list[LibraryPathEffect]
) -> Finding:
    """One library that another copy hides."""
    older = bool(taken.version and instead.version and numbers(taken.version) < numbers(instead.version))
    breaks = older and taken.kind in _MUST_NOT_BE_OLDER
    status = Status.FAIL if breaks and nvidia_gpu(ctx) is Seen.PRESENT else Status.WARN
    relation = "an older" if older else "another" if taken.version and instead.version else "another, not comparable,"
    name = titled(ctx, consumer)
    orders = ", ".join(f'"{e.order}"' for e in effects)
    folder = (taken.location or "").rpartition("/")[0]
    return CHECK.finding(
        status,
        f"LD_LIBRARY_PATH gives {name} {relation} {taken.name}: {taken.version or '?'} instead of {instead.version or '?'}",
        subject=(consumer, taken.key, instead.key),
        detail=f"In the import orders {orders}: {taken.location} ({taken.origin}) hides {instead.location} ({instead.origin}).",
        evidence=(
            *effects[0].evidence,
            Evidence(kind=EvidenceKind.DERIVED, source="versions", text=f"{taken.version} against {instead.version}"),
        ),
        remedy=f"Take {folder} out of LD_LIBRARY_PATH for programs of this environment (or unset it): the environment brings"
        " its own copy and finds it.",
    )


CHECK = Check(
    id="LDPATH-SHADOW",
    title="LD_LIBRARY_PATH hides the environment's own libraries",
    explanation="""\
The loader looks at `LD_LIBRARY_PATH` before the `DT_RUNPATH` of a library (and after its `DT_RPATH`). A CUDA folder in that
variable therefore gives a framework another cuDNN, nvJitLink or NCCL than the one that it was installed with: *undefined
symbol: __nvJitLinkComplete_12_4*, *cuDNN version incompatibility*.

infra-doctor plays the imports twice, with and without the variable, and compares. Libraries that torch opens by path, and
those behind an RPATH, are not affected: then the variable is harmless here, and this check passes.""",
    remediation="Unset or trim LD_LIBRARY_PATH for programs that use wheels.",
    sources=(
        "https://man7.org/linux/man-pages/man8/ld.so.8.html",
        "https://github.com/pytorch/pytorch/issues/111469",
        "https://github.com/pytorch/pytorch/issues/80637",
        "https://github.com/pytorch/pytorch/issues/119989",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        r"undefined symbol: __nvJitLink\w+",
        r"cuDNN version incompatibility",
        r"Looks like your LD_LIBRARY_PATH contains incompatible version of cudnn",
    ),
    tags=("loader", "environment"),
)

CHECKS = (CHECK,)
