"""JAX-CPU: JAX runs on the CPU though a GPU is there: no plug-in for it, or a plug-in without its libraries."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Component,
    Evidence,
    EvidenceKind,
    Finding,
    LogSignature,
    Severity,
    Status,
    numbers,
)
from infra_doctor_probes.detect.opened_later import FrameworkLibraries
from infra_doctor_probes.detect.wheels import TorchBuild
from infra_doctor_probes.in_target import Seen, no_gpu, nvidia_gpu, pip_words, prefix_of, same_library, titled

# Wheels that bring a device to JAX: the plug-in proper and its PJRT half, each required.
PLUG_INS = (
    "jax-cuda12-plugin", "jax-cuda13-plugin", "jax-rocm60-plugin", "jax-rocm7-plugin", "libtpu", "libtpu-nightly", "jax-metal",
    "intel-extension-for-openxla",
)  # fmt: skip


def run(ctx: CheckContext) -> Iterator[Finding]:
    """One finding per environment with jax and jaxlib."""
    pairs = [
        (jax, jaxlib) for jax in ctx.named("jax") for jaxlib in ctx.named("jaxlib", jax.target) if jax.kind == "wheel"
    ]
    if not pairs:
        yield CHECK.skip("no environment holds jax and jaxlib")
        return
    amd = next((g for g in ctx.by_kind("gpu") if g.attributes.get("vendor") == "amd"), None)
    driver = ctx.component("driver:nvidia")
    nvidia = nvidia_gpu(ctx) is Seen.PRESENT and driver is not None
    if not nvidia and amd is None:
        yield CHECK.skip(no_gpu(ctx, "no GPU with a loaded driver is there that JAX could use"))
        return
    for jax, jaxlib in pairs:
        yield judge(ctx, jax, jaxlib, driver if nvidia else None)


def judge(ctx: CheckContext, jax: Component, jaxlib: Component, driver: Component | None) -> Finding:
    """The finding of one environment. `driver` is NVIDIA's where that is the GPU that counts."""
    target = jax.target or ""
    where = f"{titled(ctx, jax.key)} in {prefix_of(target)}"
    plug_in = next((w for n in PLUG_INS for w in ctx.named(n, target)), None)
    for later in ctx.facts(FrameworkLibraries):
        if later.target == target and later.order == "jax":
            return libraries(ctx, jax, later, where)
    if plug_in is not None or jaxlib.attributes.get("build") in {"cuda", "rocm"}:
        with_what = (
            titled(ctx, plug_in.key) if plug_in is not None else f"a {jaxlib.attributes['build']} build of jaxlib"
        )
        return CHECK.finding(
            Status.PASS, f"{where} has {with_what}", subject=(jax.key, (plug_in or jaxlib).key), severity=Severity.LOW,
            evidence=(plug_in or jaxlib).evidence,
        )  # fmt: skip
    if jaxlib.origin == "conda":
        return CHECK.finding(
            Status.UNKNOWN, f"{where}: conda's build of jaxlib does not say what it is for", subject=(jax.key, jaxlib.key),
            severity=Severity.LOW,
        )  # fmt: skip
    torch = any(t.target == target and t.build in {"cuda", "rocm"} for t in ctx.facts(TorchBuild))
    gpu = next(g for g in ctx.by_kind("gpu") if g.attributes.get("vendor") in {"nvidia", "amd"})
    return CHECK.finding(
        Status.WARN,
        f"{where} has no plug-in for a GPU, and {gpu.name} is there: it runs on the CPU",
        subject=(jax.key, jaxlib.key, gpu.key),
        detail="`pip install jax` brings jaxlib for the CPU alone; what drives a GPU is a wheel of its own, under the extra of its"
        " kind." + (" PyTorch uses the GPU in this environment, so JAX may be meant for the CPU." if torch else ""),
        evidence=(*jax.evidence, *jaxlib.evidence, *gpu.evidence[:1]),
        severity=Severity.LOW if torch else None,
        remedy=remedy(ctx, jax, driver),
    )


def remedy(ctx: CheckContext, jax: Component, driver: Component | None) -> str:
    """The extra for the driver's CUDA family (jax_backends: CUDA 13 needs R580, CUDA 12 needs R525)."""
    if driver is None:
        return f"Install the plug-in for ROCm: {pip_words(ctx, jax.target or '', 'install', repr('jax[rocm7-local]'))}."
    branch = (numbers(driver.version or "") or (0,))[0]
    known_13 = numbers(jax.version or "")[:2] >= (0, 7)
    extra = "cuda13" if branch >= 580 and known_13 else "cuda12"
    if branch < 525:
        return f"Update the driver first: {driver.version} is older than R525, which JAX's CUDA 12 plug-in needs."
    requirement = f"jax[{extra}]=={jax.version}" if jax.version else f"jax[{extra}]"
    return (
        f"Install it with its extra: {pip_words(ctx, jax.target or '', 'install', repr(requirement))}. It brings CUDA and cuDNN as"
        " wheels and needs the driver alone."
    )


def libraries(ctx: CheckContext, jax: Component, later: FrameworkLibraries, where: str) -> Finding:
    """A plug-in is there: whether it finds what it opens."""
    if later.loads is None:
        return CHECK.finding(
            Status.UNKNOWN, f"{where}: whether its plug-in finds CUDA cannot be told: {later.unknown}",
            subject=(jax.key, later.consumer), severity=Severity.LOW,
        )  # fmt: skip
    if later.loads:
        return CHECK.finding(
            Status.PASS, f"{where} finds the CUDA libraries that it opens", subject=(jax.key, later.consumer),
            severity=Severity.LOW,
            evidence=(Evidence(kind=EvidenceKind.DERIVED, source=later.consumer, text="each name is found"),),
        )  # fmt: skip
    missing = ", ".join(dict.fromkeys(m.soname for m in later.missing))
    if nvidia_gpu(ctx) is not Seen.PRESENT:
        return CHECK.skip(f"{where}: no NVIDIA GPU is there")
    consumer = ctx.component(later.consumer)
    inside = consumer is not None and consumer.name == "jaxlib"
    requirement = repr(f"jax[cuda{later.cuda[:2]}]=={jax.version}")
    return CHECK.finding(
        Status.FAIL,
        f"{where} does not find {missing}: it has no GPU",
        subject=(jax.key, later.consumer),
        detail=f"{titled(ctx, later.consumer)} opens it by name when the first array is made.",
        evidence=later.evidence,
        remedy=f"Install CUDA {later.cuda.partition('.')[0]} and its cuDNN where the loader finds them; or a current JAX, which"
        " brings them as wheels (`jax[cuda12]`, `jax[cuda13]`)."
        if inside
        else f"Install the libraries as wheels: {pip_words(ctx, later.target, 'install', requirement)}.",
    )


CHECK = Check(
    id="JAX-CPU",
    title="JAX on the CPU of a machine with a GPU",
    explanation="""\
jaxlib on PyPI holds the CPU back end alone. For an NVIDIA GPU JAX needs `jax-cuda12-plugin` or `jax-cuda13-plugin` with its
`-pjrt` half, which the extras `jax[cuda12]` and `jax[cuda13]` bring together with the CUDA libraries; for AMD `jax-rocm7-plugin`.
Without one JAX says once *An NVIDIA GPU may be present on this machine, but a CUDA-enabled jaxlib is not installed. Falling back
to cpu* and goes on. Until 0.4.21 CUDA was inside jaxlib (`jaxlib 0.4.6+cuda11.cudnn86`).

Where a plug-in is there, infra-doctor plays the loader for the libraries that it opens by name. Another version of the plug-in
than jaxlib's is a matter of PY-PINS.""",
    remediation="Install JAX with the extra for the driver's CUDA family: `pip install 'jax[cuda13]'` (R580 or newer) or"
    " `'jax[cuda12]'` (R525 or newer).",
    sources=(
        "https://docs.jax.dev/en/latest/installation.html",
        "https://github.com/JeffSHF/ColabDock/issues/28",
        "https://github.com/jax-ml/jax/issues/24901",
    ),
    run=run,
    severity=Severity.MEDIUM,
    log_signatures=(
        LogSignature(
            pattern=r"NVIDIA GPU may be present on this machine, but a CUDA-enabled jaxlib is not installed",
            source="https://github.com/JeffSHF/ColabDock/issues/28",
            strength=3,
        ),
        LogSignature(
            pattern=r"No GPU/TPU found, falling back to CPU",
            source="https://github.com/jax-ml/jax/issues/17624",
        ),
        LogSignature(
            pattern=r"Unable to use CUDA because of the following issues with CUDA components",
            source="https://github.com/jax-ml/jax/issues/18027",
        ),
        LogSignature(
            pattern=r"Error loading CUDA libraries\. GPU will not be used",
            source="https://github.com/NixOS/nixpkgs/pull/375186",
        ),
        LogSignature(
            pattern=r"Unable to load cu(?:BLAS|DNN|FFT|SOLVER|SPARSE|PTI|DA)\. Is it installed\?",
            source="https://github.com/jax-ml/jax/issues/29843",
        ),
        LogSignature(
            pattern=r"Jax plugin configuration error: Exception when calling jax_plugins\.\w{3,30}\.initialize",
            source="https://github.com/DifferentiableUniverseInitiative/jaxDecomp/issues/116",
        ),
        LogSignature(
            pattern=r"no platforms that are (?:instances of )?(?:gpu|cuda) are present",
            source="https://github.com/danijar/dreamerv3/issues/18",
        ),
        LogSignature(
            pattern=r"CUDA backend failed to initialize: Unable to load CUDA\.",
            source="https://github.com/magenta/mt3/issues/145",
        ),
    ),
    explained_by=("CUDA-MAJOR", "CUDNN-MIX", "PY-CLOBBER-NV", "DRV-OLD"),
    follows=same_library,
    tags=("jax", "nvidia"),
)

CHECKS = (CHECK,)
