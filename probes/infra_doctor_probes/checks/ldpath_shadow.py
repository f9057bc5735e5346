"""LDPATH-SHADOW: LD_LIBRARY_PATH makes a framework load another copy of a library than the one that it was installed with.

Each import order is played twice, with and without the variable; only a copy of another version is a finding."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Component, Finding, LogSignature, Severity, Status, numbers, record
from infra_doctor_probes.detect.libraries import LibraryPath, LibraryPathEffect
from infra_doctor_probes.in_target import Seen, nvidia_gpu, titled

# An older copy of these is known to break: PyTorch refuses a cuDNN older than it was compiled against and misses symbols of
# a newer NCCL; cuSPARSE asks a newer symbol of nvJitLink (pytorch/pytorch#80637, #119932, #111469).
_BREAKS_TORCH = {"cudnn", "nccl"}
_BREAKS_ANY = {"nvjitlink"}


def run(ctx: CheckContext) -> Iterator[Finding]:
    """One finding per consumer and library that changes; a pass where the variable changes nothing that counts."""
    settings = ctx.facts(LibraryPath)
    if not settings:
        yield CHECK.skip("LD_LIBRARY_PATH is not set, or nothing here is built for CUDA")
        return
    shadows: dict[str, list[Shadow]] = {}
    for effect in ctx.facts(LibraryPathEffect):
        found = shadow(ctx, effect)
        if found is not None:
            shadows.setdefault(effect.consumer, []).append(found)
    for consumer, hidden in shadows.items():
        yield finding(ctx, consumer, hidden)
    if not shadows:
        why = "An RPATH, or a library opened by its path, wins over it." if not ctx.facts(LibraryPathEffect) else ""
        yield CHECK.finding(
            Status.PASS, "LD_LIBRARY_PATH changes no library of another version for PyTorch or ONNX Runtime",
            severity=Severity.LOW, evidence=[e for s in settings for e in s.evidence], detail=why,
        )  # fmt: skip


@record
class Shadow:
    """One copy that hides another in one import order."""

    effect: LibraryPathEffect
    taken: Component
    instead: Component

    @property
    def older(self) -> bool:
        """Whether the copy that is taken is the older one."""
        ours, theirs = numbers(self.taken.version or ""), numbers(self.instead.version or "")
        return bool(ours and theirs) and ours < theirs

    @property
    def newer_of_one_major(self) -> bool:
        """Whether the copy that is taken is a newer one of the same major, for the same CUDA as far as that is known."""
        ours, theirs = numbers(self.taken.version or ""), numbers(self.instead.version or "")
        cuda = {c.attributes.get("cuda_major") for c in (self.taken, self.instead)} - {None}
        return bool(ours and theirs) and ours[0] == theirs[0] and ours >= theirs and len(cuda) < 2

    @property
    def text(self) -> str:
        """`libcudnn 9.1.0 instead of 9.19.0.56`."""
        unknown = "one of unknown version"
        return f"{self.taken.name} {self.taken.version or f'({unknown})'} instead of {self.instead.version or unknown}"


def shadow(ctx: CheckContext, effect: LibraryPathEffect) -> Shadow | None:
    """None where the environment did not bring the hidden copy, where both are of one version, or where the copy that is
    taken is newer within the same CUDA major, which NVIDIA keeps compatible."""
    taken, instead = ctx.component(effect.taken), ctx.component(effect.instead_of)
    if taken is None or instead is None or not (instead.origin or "").startswith(("wheel ", "conda")):
        return None
    if taken.version and instead.version and numbers(taken.version)[:3] == numbers(instead.version)[:3]:
        return None
    found = Shadow(effect=effect, taken=taken, instead=instead)
    return None if found.newer_of_one_major else found


def finding(ctx: CheckContext, consumer: str, shadows: list[Shadow]) -> Finding:
    """All that LD_LIBRARY_PATH hides from one framework."""
    torch = (c := ctx.component(consumer)) is not None and c.name == "torch"
    fatal = _BREAKS_ANY | (_BREAKS_TORCH if torch else set())
    breaks = any(s.older and s.taken.kind in fatal for s in shadows)
    first = next((s for s in shadows if s.older and s.taken.kind in fatal), shadows[0])
    copies = {s.taken.key: s for s in reversed(shadows)}
    more = f" and {len(copies) - 1} more" if len(copies) > 1 else ""
    entries = {e.rstrip("/") for s in ctx.facts(LibraryPath) for e in s.value.split(":")}
    places = dict.fromkeys(s.effect.folder for s in shadows)
    folders = ", ".join([p for p in places if p in entries] or places)
    names = list(dict.fromkeys(f'"{s.effect.order}"' for s in shadows))
    orders = f"import order{'s' if len(names) > 1 else ''} {', '.join(names)}"
    return CHECK.finding(
        Status.FAIL if breaks and nvidia_gpu(ctx) is Seen.PRESENT else Status.WARN,
        f"LD_LIBRARY_PATH gives {titled(ctx, consumer)} {first.text}{more}",
        subject=(consumer, *copies),
        detail=f"In the {orders}, {folders} hides the environment's own copies: "
        + "; ".join(dict.fromkeys(s.text for s in shadows))
        + ".",
        evidence=tuple(dict.fromkeys(e for s in copies.values() for e in s.effect.evidence)),
        remedy=f"Take {folders} out of LD_LIBRARY_PATH for programs of this environment (or unset it): the environment brings"
        " its own copies and finds them.",
    )


CHECK = Check(
    id="LDPATH-SHADOW",
    title="LD_LIBRARY_PATH hides the environment's own libraries",
    explanation="""\
The loader looks at `LD_LIBRARY_PATH` before the `DT_RUNPATH` of a library (and after its `DT_RPATH`). A CUDA folder in that
variable therefore gives a framework another cuDNN, nvJitLink or NCCL than the one that it was installed with: *undefined
symbol: __nvJitLinkComplete_12_4*, *cuDNN version incompatibility*.

infra-doctor plays the imports twice, with and without the variable, and compares. Libraries that torch opens by path, and
those behind an RPATH, are not affected: then the variable is harmless here, and this check passes. It passes too where the
variable brings a newer library of the same major, which NVIDIA keeps compatible: an older one is what breaks.""",
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
        LogSignature(
            pattern=r"Found (?:CUDA|cu(?:SOLVER|SPARSE|BLAS|FFT|PTI)) version \d{4,6}, but JAX was built against version",
            source="https://github.com/KosinskiLab/AlphaPulldown/issues/237",
            strength=2,
        ),
        LogSignature(
            pattern=r"version lib(?:cu\w{2,12}|nvJitLink|nvrtc|nccl)\.so\.\d{1,2} not defined in file \S{1,200}"
            r" with link time reference",
            source="https://github.com/microsoft/onnxruntime/issues/8594",
            strength=3,
        ),
        LogSignature(
            pattern=r"undefined symbol: __nvJitLink\w{3,60}",
            source="https://github.com/pytorch/pytorch/issues/111469",
            strength=3,
        ),
        LogSignature(
            pattern=r"cuDNN version incompatibility: PyTorch was compiled\s{1,4}against",
            source="https://github.com/pytorch/pytorch/issues/80637",
            strength=3,
        ),
        LogSignature(
            pattern=r"Looks like your LD_LIBRARY_PATH contains incompatible version of cudnn",
            source="https://github.com/gladiaio/gladia/issues/928",
            strength=3,
        ),
        LogSignature(
            pattern=r"libcublas\.so\.\d{1,2}: (?:undefined symbol: |symbol )\w{3,60},? version libcublasLt\.so",
            source="https://github.com/Kaggle/docker-python/issues/1258",
        ),
    ),
    tags=("loader", "environment"),
)

CHECKS = (CHECK,)
