"""DRV-OLD: the loaded driver is older than the CUDA family of something installed needs, or there is none.

Rests on the matrix rule `cuda-driver-family`, which also knows what a cuda-compat library in front changes."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Compatibility,
    Component,
    Confidence,
    Finding,
    Severity,
    Status,
    major,
)
from infra_doctor_probes.from_matrix import Rows, findings, label, listed, others
from infra_doctor_probes.in_target import given_none
from infra_doctor_probes.tables.common import RUNTIMES, cuda_consumers, cuda_use, first_row, is_wsl, nvidia_gpus
from infra_doctor_probes.tables.cuda_driver import data_centre
from infra_doctor_probes.tables.wheel_arch import torch_advice


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per target whose wheels the driver cannot serve."""
    if given_none(context):
        yield CHECK.skip("this container was given no NVIDIA GPU: the driver is its host's")
        return
    if context.component("driver:nvidia") is None:
        yield from not_loaded(context)
        return
    rows = of_consumers(context, context.judged("cuda-driver-family"))
    if not rows:
        yield CHECK.skip("nothing installed brings a CUDA runtime that the driver would have to serve")
        return
    yield from findings(
        CHECK,
        context,
        rows,
        title=lambda bad: f"the NVIDIA driver {version_of(context)} is too old for {others(context, bad, 'driver')}",
        remedy=lambda bad: remedy(context, bad),
        passed=lambda good: f"the NVIDIA driver {version_of(context)} serves {others(context, good, 'driver')}",
    )


def of_consumers(context: CheckContext, rows: tuple[Compatibility, ...]) -> Rows:
    """Without the runtime wheels: they do what others ask of them, and one that nobody asks for harms nobody."""

    def is_runtime(row: Compatibility) -> bool:
        return any(c.name in RUNTIMES for k in (row.left, row.right) if (c := context.component(k)) is not None)

    return tuple(r for r in rows if not is_runtime(r))


def version_of(context: CheckContext) -> str:
    """The driver's version."""
    driver = context.component("driver:nvidia")
    return (driver.version if driver else None) or "of unknown version"


def not_loaded(context: CheckContext) -> Iterator[Finding]:
    """A GPU on the bus that no NVIDIA driver serves, and packages that would use it."""
    idle = [
        g for g in nvidia_gpus(context)
        if g.attributes.get("seen_by") == "pci" and g.attributes.get("driver_module") != "nvidia"
    ]  # fmt: skip
    consumers = [wheel for wheel, _ in cuda_consumers(context) if wheel.name not in RUNTIMES]
    if not idle or not consumers:
        yield CHECK.skip("no NVIDIA driver is loaded")
        return
    bound = idle[0].attributes.get("driver_module")
    yield CHECK.finding(
        Status.WARN,
        f"no NVIDIA driver serves {idle[0].name}: {listed(label(context, w.key) for w in consumers)} cannot use it",
        subject=(*(g.key for g in idle), *(w.key for w in consumers)),
        detail=f"The kernel driver of the GPU is {bound}." if bound else "No kernel driver is bound to the GPU.",
        evidence=[e for g in idle for e in g.evidence[:1]],
        confidence=Confidence.OBSERVED,
        remedy=NOT_LOADED_REMEDY + " " + needs(context, consumers),
    )


def needs(context: CheckContext, wheels: list[Component]) -> str:
    """`CUDA 13 needs R580 or newer.` for the CUDA majors of these wheels."""
    column = "windows" if is_wsl(context) else "linux"
    uses = [use for w in wheels if (use := cuda_use(w)) is not None]
    found = sorted({m for use in uses if (m := major(use.cuda)) is not None}, reverse=True)
    rows = [(m, row) for m in found if (row := first_row("cuda_families", cuda_major=str(m))) is not None]
    return " ".join(f"CUDA {m} needs driver {row[column]} or newer." for m, row in rows)


def remedy(context: CheckContext, rows: Rows) -> str:
    """A newer driver where it belongs, or the build that this one serves; cuda-compat where it may help."""
    wheels = [
        c for r in rows for k in (r.left, r.right) if (c := context.component(k)) is not None and c.kind == "wheel"
    ]
    if is_wsl(context):
        newer = (
            "Install a newer NVIDIA driver **in Windows**, never inside WSL (there it would hide the one of Windows)."
        )
    else:
        newer = "Install a newer NVIDIA driver (on the host, if this is a container)."
    torch = next((w for w in wheels if w.name == "torch"), None)
    keep = torch_advice(context, torch) if torch is not None else ""
    other = keep or "install the build of the package for the CUDA family that it serves."
    words = [newer, needs(context, wheels), "Or keep the driver:", other]
    if not is_wsl(context) and all(data_centre(g) for g in nvidia_gpus(context)):
        words.append("On data-centre GPUs the package cuda-compat of the newer CUDA release is a third way.")
    elif any(c.origin == "cuda-compat" and c.attributes.get("first") for c in context.by_kind("libcuda")):
        words.append(
            "Take the folder of cuda-compat out of LD_LIBRARY_PATH or the loader's configuration: it helps on no such GPU."
        )
    return " ".join(words)


NOT_LOADED_REMEDY = (
    "Install the NVIDIA driver by the distribution's package or NVIDIA's repository (it keeps nouveau off), then reboot. Where it"
    " is installed already, its module was not built for the running kernel (`dkms status`) or Secure Boot refuses it"
    " (`mokutil --sb-state`)."
)
REMEDY = (
    "Install a newer NVIDIA driver (on the host, if this is a container; in Windows, if this is WSL): CUDA 13 needs R580 or"
    " newer, CUDA 12 R525, CUDA 11 R450. Or keep the driver and install the build of the package for the CUDA family that it"
    " serves. On data-centre GPUs the package cuda-compat of the newer CUDA release is a third way."
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
data-centre GPUs and a few others, on Linux.

A GPU that no NVIDIA driver serves at all (nouveau, or a module that did not load) is a warning here where packages built for
CUDA are installed: they then run on the CPU.""",
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
