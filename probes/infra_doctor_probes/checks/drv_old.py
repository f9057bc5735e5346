"""DRV-OLD: the loaded driver is older than the CUDA family of something installed needs.

Rests on the matrix rule `cuda-driver-family`, which also knows what a cuda-compat library in front changes."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Finding, Severity
from infra_doctor_probes.from_matrix import findings, others


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per target whose wheels the driver cannot serve."""
    if context.component("driver:nvidia") is None:
        yield CHECK.skip("no NVIDIA driver is loaded")
        return
    rows = context.judged("cuda-driver-family")
    if not rows:
        yield CHECK.skip("nothing installed brings a CUDA runtime that the driver would have to serve")
        return
    yield from findings(
        CHECK,
        context,
        rows,
        title=lambda bad: f"the NVIDIA driver {version_of(context)} is too old for {others(context, bad, 'driver')}",
        remedy=lambda _: REMEDY,
        passed=lambda good: f"the NVIDIA driver {version_of(context)} serves {others(context, good, 'driver')}",
    )


def version_of(context: CheckContext) -> str:
    """The driver's version."""
    driver = context.component("driver:nvidia")
    return (driver.version if driver else None) or "of unknown version"


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
