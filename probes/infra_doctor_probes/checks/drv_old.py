"""DRV-OLD: the loaded driver is older than the CUDA family of something installed needs.

Rests on the matrix rule `cuda-driver-family`. A cuda-compat libcuda that is first on the loader path may serve a newer
family than the module's own; whether it does depends on the GPU."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Compatibility, Finding, Severity, Status, Verdict, major
from infra_doctor_probes.from_matrix import Rows, evidence_of, findings, named, others, subject_of

# NVML brands of data-centre GPUs, on which NVIDIA supports forward compatibility.
DATA_CENTRE_BRANDS = {"Tesla", "NVIDIA"}


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per target whose wheels the driver cannot serve."""
    if context.component("driver:nvidia") is None:
        yield CHECK.skip("no NVIDIA driver is loaded")
        return
    rows = context.judged("cuda-driver-family")
    if not rows:
        yield CHECK.skip("nothing installed brings a CUDA runtime that the driver would have to serve")
        return
    through_compat = tuple(r for r in rows if r.verdict is Verdict.INCOMPATIBLE and served_by_compat(context, r))
    yield from findings(
        CHECK,
        context,
        (r for r in rows if r not in through_compat),
        title=lambda bad: f"the NVIDIA driver {version_of(context)} is too old for {others(context, bad, 'driver')}",
        remedy=lambda _: REMEDY,
        passed=lambda good: f"the NVIDIA driver {version_of(context)} serves {others(context, good, 'driver')}",
    )
    if through_compat:
        yield compat_finding(context, through_compat)


def version_of(context: CheckContext) -> str:
    """The driver's version."""
    driver = context.component("driver:nvidia")
    return (driver.version if driver else None) or "of unknown version"


def served_by_compat(context: CheckContext, row: Compatibility) -> bool:
    """Whether a cuda-compat libcuda comes first and offers the CUDA major that the other side needs."""
    driver = context.component("driver:nvidia")
    first = [c for c in context.by_kind("libcuda") if c.attributes.get("first")]
    if driver is None or not first or first[0].origin != "cuda-compat":
        return False
    offered = major(str(driver.attributes.get("cuda_api") or ""))
    consumers = [c for k in (row.left, row.right) if (c := context.component(k)) is not None and c.kind != "driver"]
    needed = major(str(consumers[0].attributes.get("cuda") or "")) if consumers else None
    return offered is not None and needed is not None and needed <= offered


def compat_finding(context: CheckContext, rows: Rows) -> Finding:
    """What cuda-compat carries: fine on data-centre GPUs, else for COMPAT and a real run to say."""
    brands = {str(g.attributes.get("brand")) for g in context.by_kind("gpu") if g.attributes.get("brand")}
    supported = bool(brands) and brands <= DATA_CENTRE_BRANDS
    library = next(c for c in context.by_kind("libcuda") if c.attributes.get("first"))
    return CHECK.finding(
        Status.PASS if supported else Status.UNKNOWN,
        f"{named(context, rows, 'wheel') or 'the newer CUDA family'} runs through cuda-compat"
        + ("" if supported else ", if this GPU supports it"),
        subject=(*subject_of(rows), library.key),
        detail=(
            f"The driver {version_of(context)} alone is older than this CUDA family needs; {library.location} comes first"
            " and offers it. Forward compatibility holds on data-centre GPUs"
            + ("." if supported else f"; NVML calls this one {', '.join(sorted(brands)) or 'by no brand'}.")
        ),
        evidence=[*library.evidence, *evidence_of(context, rows)],
        severity=Severity.LOW,
    )


REMEDY = (
    "Install a newer NVIDIA driver (on the host, if this is a container): CUDA 13 needs R580 or newer, CUDA 12 R525, CUDA 11"
    " R450. Or keep the driver and install the build of the package for the CUDA family that it serves. On data-centre GPUs"
    " the package cuda-compat of the newer CUDA release is a third way."
)

CHECK = Check(
    id="DRV-OLD",
    title="Driver older than the CUDA family needs",
    explanation="""\
A CUDA runtime needs a driver of its own family: 13.x from R580 (580.65.06) on, 12.x from R525 (525.60.13), 11.x from R450
(450.80.02). An older driver gives error 35, *CUDA driver version is insufficient for CUDA runtime version*.

**The "CUDA Version" that nvidia-smi prints is no ceiling.** It is the newest API that the driver offers. Within one CUDA
major, minor-version compatibility holds: driver 550 prints 12.4 and runs CUDA 12.6 wheels. Not covered are PTX that must
be compiled at run time and is newer than the driver (error 222), functions of newer drivers (error 36), and a new major.

*Forward compatibility* (the package `cuda-compat`) puts a newer user-mode driver beside an older kernel module. It holds on
data-centre GPUs and a few others, on Linux.""",
    remediation=REMEDY,
    sources=(
        "https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html",
        "https://docs.nvidia.com/deploy/cuda-compatibility/forward-compatibility.html",
        "https://github.com/gpustack/gpustack/issues/5674",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        r"CUDA driver version is insufficient for CUDA runtime version",
        r"The NVIDIA driver on your system is too old",
        r"cudaErrorInsufficientDriver",
    ),
    explained_by=("NVML-MISMATCH",),
    tags=("nvidia", "driver"),
)

CHECKS = (CHECK,)
