"""DRV-OLD: the loaded driver is older than the CUDA family of something installed needs.

Rests on the matrix rule `cuda-driver-family`, which also knows what a cuda-compat library in front changes."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Compatibility,
    Component,
    Finding,
    LogSignature,
    Severity,
    major,
)
from infra_doctor_probes.detect.system import Container
from infra_doctor_probes.from_matrix import Rows, findings, others
from infra_doctor_probes.in_target import given_none
from infra_doctor_probes.tables.common import RUNTIMES, cuda_use, first_row, is_wsl, nvidia_gpus, text
from infra_doctor_probes.tables.cuda_driver import data_centre
from infra_doctor_probes.tables.wheel_arch import torch_advice


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per target whose wheels the driver cannot serve."""
    if given_none(context):
        yield CHECK.skip("this container was given no NVIDIA GPU: the driver is its host's")
        return
    if context.component("driver:nvidia") is None:
        yield CHECK.skip("no NVIDIA driver is loaded")
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
    elif (stuck := without_newer_driver(context, wheels)) is not None:
        return f"{stuck} Keep the driver: {torch_words(context, wheels) or OTHER_BUILD}"
    else:
        inside = context.fact(Container) is not None
        newer = "Install a newer NVIDIA driver" + (" on this container's host." if inside else ".")
    words = [newer, needs(context, wheels), "Or keep the driver:", torch_words(context, wheels) or OTHER_BUILD]
    if not is_wsl(context) and all(data_centre(g) for g in nvidia_gpus(context)):
        words.append("On data-centre GPUs the package cuda-compat of the newer CUDA release is a third way.")
    elif any(c.origin == "cuda-compat" and c.attributes.get("first") for c in context.by_kind("libcuda")):
        words.append(
            "Take the folder of cuda-compat out of LD_LIBRARY_PATH or the loader's configuration: it helps on no such GPU."
        )
    return " ".join(words)


def torch_words(context: CheckContext, wheels: list[Component]) -> str:
    """Which build of torch the driver serves."""
    torch = next((w for w in wheels if w.name == "torch"), None)
    return torch_advice(context, torch) if torch is not None else ""


def without_newer_driver(context: CheckContext, wheels: list[Component]) -> str | None:
    """The sentence on a GPU whose last driver branch is older than what these wheels need."""
    uses = [use for w in wheels if (use := cuda_use(w)) is not None]
    rows = [first_row("cuda_families", cuda_major=str(major(use.cuda))) for use in uses]
    needed = max((major(row["linux"]) or 0 for row in rows if row is not None), default=0)
    for gpu in nvidia_gpus(context):
        last = first_row("gpu_last_driver", cc=text(gpu, "compute_capability"))
        if last is not None and int(last["last_driver_branch"][1:]) < needed:
            return f"No newer driver serves {gpu.name}: {last['last_driver_branch']} is the last branch for {last['arch']}."
    return None


def follows(finding: Finding, cause: Finding) -> bool:
    """A package without code for the GPU is to be replaced anyway, whatever the driver."""
    return cause.id != "ARCH" or bool({k for k in finding.subject if k.startswith("wheel:")} & set(cause.subject))


OTHER_BUILD = "install the build of the package for the CUDA family that it serves."
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

Not meant here: a GPU that no NVIDIA driver serves at all (NOUVEAU).""",
    remediation=REMEDY,
    sources=(
        "https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html",
        "https://docs.nvidia.com/deploy/cuda-compatibility/forward-compatibility.html",
        "https://github.com/gpustack/gpustack/issues/5674",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"CUDA driver version is insufficient for CUDA runtime version",
            source="https://github.com/NVIDIA/nvidia-docker/issues/400",
            strength=3,
        ),
        LogSignature(
            pattern=r"The NVIDIA driver on your system is too old",
            source="https://github.com/nagadomi/nunif/issues/702",
            strength=3,
        ),
        LogSignature(
            pattern=r"cudaErrorInsufficientDriver",
            source="https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html",
            strength=3,
        ),
        LogSignature(
            pattern=r"requirement error: unsatisfied condition: (?:cuda|driver) ?[<>=]{1,2}",
            source="https://github.com/theroyallab/tabbyAPI/issues/324",
            strength=3,
        ),
        LogSignature(
            pattern=r"provided PTX was compiled with an unsupported toolchain",
            source="https://github.com/fauxpilot/fauxpilot/issues/19",
            strength=3,
        ),
        LogSignature(
            pattern=r"cudaErrorUnsupportedPtxVersion|CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
            source="https://github.com/NVIDIA/nvbandwidth/issues/61",
            strength=3,
        ),
        LogSignature(
            pattern=r"libcuda\.so[.\d]{0,16}: undefined symbol: cu[A-Z]\w{3,50}",
            source="https://github.com/ollama/ollama/issues/5493",
            strength=3,
        ),
        LogSignature(
            pattern=r"\bcuda[A-Z]\w{3,30} err: 35(?!\d)",
            source="https://github.com/NixOS/nixpkgs/issues/349617",
            strength=3,
        ),
        LogSignature(
            pattern=r"your nvidia driver is too old or missing",
            source="https://github.com/NixOS/nixpkgs/issues/349617",
        ),
        LogSignature(
            pattern=r"Triton Error \[CUDA\]: device kernel image is invalid",
            source="https://github.com/triton-lang/triton/issues/3001",
            strength=1,
        ),
    ),
    explained_by=("NVML-MISMATCH", "ARCH"),
    follows=follows,
    tags=("nvidia", "driver", "planned"),
)

CHECKS = (CHECK,)
