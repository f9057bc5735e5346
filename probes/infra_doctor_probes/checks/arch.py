"""ARCH: the GPU's compute capability against what a wheel was built for, and against the driver's branch.

Rests on the matrix rules `gpu-wheel-arch`, `gpu-cuda13-floor`, `gpu-jax` and `gpu-driver-branch`; the compute capability
is NVML's, or the PCI id's where there is no driver."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Compatibility, Finding, LogSignature, Severity
from infra_doctor_probes.from_matrix import Rows, findings, named, others, target_of
from infra_doctor_probes.in_target import no_gpu, reinstall_words
from infra_doctor_probes.tables.common import first_row, text
from infra_doctor_probes.tables.wheel_arch import torch_advice

WHEEL_RULES, DRIVER_RULE = ("gpu-wheel-arch", "gpu-cuda13-floor", "gpu-jax"), "gpu-driver-branch"


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per (rule, target, GPU model), so that eight equal GPUs are one."""
    if not context.by_kind("gpu"):
        yield CHECK.skip(no_gpu(context))
        return
    rows = context.judged(*WHEEL_RULES, DRIVER_RULE)
    if not rows:
        yield CHECK.skip("no driver and no wheel with GPU code is there to judge the GPUs against")
        return
    yield from findings(
        CHECK,
        context,
        rows,
        title=lambda bad: title(context, bad),
        remedy=lambda bad: remedy(context, bad),
        passed=lambda good: f"{named(context, good, 'gpu')}: supported by {others(context, good, 'gpu')}",
        group=lambda row: "\0".join(
            (str(row.rule == DRIVER_RULE), target_of(row.left) or target_of(row.right), gpu_model(context, row))
        ),
    )


def gpu_model(context: CheckContext, row: Compatibility) -> str:
    """The name of the row's GPU."""
    found = [c for k in (row.left, row.right) if (c := context.component(k)) is not None and c.kind == "gpu"]
    return found[0].name if found else ""


def title(context: CheckContext, rows: Rows) -> str:
    """What does not fit, with the compute capability."""
    gpus = named(context, rows, "gpu")
    other = others(context, rows, "gpu")
    if rows[0].rule == DRIVER_RULE:
        return f"{gpus} is not supported by the driver {other}"
    return f"{other} holds no code for {gpus}"


def remedy(context: CheckContext, rows: Rows) -> str:
    """The smallest change for the rule and the packages."""
    if rows[0].rule == DRIVER_RULE:
        return driver_remedy(context, rows)
    found = {c.name: c for r in rows for k in (r.left, r.right) if (c := context.component(k)) and c.kind == "wheel"}
    told = []
    if "torch" in found and (advice := torch_advice(context, found["torch"])):
        told.append(f"{advice} {reinstall_words(context, found['torch'])}")
    told += [f"For {name} install {other}." for name, other in FOR_CUDA_12.items() if name in found]
    return " ".join(told) or WHEEL_REMEDY


def driver_remedy(context: CheckContext, rows: Rows) -> str:
    """The last branch of the architecture where the driver is past it; else what the table says of younger ones."""
    gpus = [c for r in rows for k in (r.left, r.right) if (c := context.component(k)) and c.kind == "gpu"]
    last = next((r for g in gpus if (r := first_row("gpu_last_driver", cc=text(g, "compute_capability")))), None)
    if last is None:
        return DRIVER_REMEDY
    return (
        f"Install a driver of branch {last['last_driver_branch']}, the last one for {last['arch']}, from the distribution's"
        " packages of that branch, and hold it there."
    )


# What stands in for a package of CUDA 13 on a GPU that only CUDA 12 serves: https://pypi.org/project/onnxruntime-gpu/ …
FOR_CUDA_12 = {
    "onnxruntime-gpu": "`onnxruntime-gpu<1.27`, the releases for CUDA 12", "cupy-cuda13x": "`cupy-cuda12x` instead of it",
    "jax-cuda13-plugin": "`jax[cuda12]` instead of it",
}  # fmt: skip
WHEEL_REMEDY = (
    "Install a build that has code for this GPU. PyTorch: 2.7 or newer from cu128 or newer for Blackwell (10.x, 12.x), cu126"
    " for Maxwell, Pascal and Volta (5.x to 7.0)."
)
DRIVER_REMEDY = (
    "Install a driver branch that supports this GPU: a newer one for a GPU younger than the branch (R570 or newer for"
    " Blackwell), R580 (the last one) for Maxwell, Pascal and Volta."
)

CHECK = Check(
    id="ARCH",
    title="No code for this GPU's compute capability",
    explanation="""\
A wheel carries machine code for a list of compute capabilities, and sometimes PTX from which a driver can compile code for
newer ones. Code for X.Y runs on X.Z with Z ≥ Y, never on another major. A GPU outside the list gives *no kernel image is
available for execution on the device*, at the first kernel: `torch.cuda.is_available()` is **True** in this state.

The driver has a range too: Blackwell needs a branch that knows it, and R580 is the last branch for Maxwell, Pascal and
Volta. CUDA 13 libraries hold no code below compute capability 7.5.""",
    remediation=f"{WHEEL_REMEDY} {DRIVER_REMEDY}",
    sources=(
        "https://github.com/pytorch/pytorch/issues/167244",
        "https://docs.nvidia.com/cuda/cuda-c-programming-guide/#binary-compatibility",
        "https://docs.nvidia.com/cuda/archive/13.0.0/cuda-toolkit-release-notes/index.html",
        "https://developer.nvidia.com/cuda-legacy-gpus",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"CUDA (?:runtime )?error(?: \(\d{1,4}\))? ?: invalid device function",
            source="https://github.com/ggml-org/llama.cpp/issues/4762",
            strength=2,
        ),
        LogSignature(
            pattern=r"no kernel image is available for execution on the device",
            source="https://github.com/pytorch/pytorch/issues/167244",
        ),
        LogSignature(
            pattern=r"with CUDA capability sm_\d{2,3} is not compatible with the current PyTorch installation",
            source="https://github.com/Hellod035/LeggedLab/issues/26",
            strength=3,
        ),
        LogSignature(
            pattern=r"The current PyTorch install supports CUDA capabilities",
            source="https://github.com/pytorch/pytorch/issues/167244",
            strength=1,
        ),
        LogSignature(
            pattern=r"CUDA_ERROR_NO_BINARY_FOR_GPU",
            source="https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__TYPES.html",
        ),
        LogSignature(
            pattern=r"is not supported by the\s{1,40}(?:NVRM: )?NVIDIA [\d.]{5,12} driver release",
            source="https://github.com/NVIDIA/open-gpu-kernel-modules/issues/393",
            strength=3,
        ),
        LogSignature(
            pattern=r"is not supported by the\s{1,40}(?:NVRM: )?[\d.]{5,12} NVIDIA",
            source="https://github.com/MrMEEE/ironhide/issues/141",
            strength=3,
        ),
        LogSignature(
            pattern=r"ptxas(?:-blackwell)? fatal\s{0,4}: Value 'sm_\d{2,3}[af]?' is not defined for option 'gpu-name'",
            source="https://github.com/triton-lang/triton/issues/8539",
        ),
        LogSignature(
            pattern=r"GPU architecture in your current machine is \w{4,12}, which is not compatible with Paddle",
            source="https://github.com/PaddlePaddle/Paddle/issues/55715",
            strength=3,
        ),
        LogSignature(
            pattern=r"Mismatched GPU Architecture: The installed PaddlePaddle package was compiled for",
            source="https://github.com/PaddlePaddle/Paddle/issues/73687",
            strength=3,
        ),
        LogSignature(
            pattern=r"FlashAttention only supports Ampere GPUs or newer",
            source="https://github.com/Dao-AILab/flash-attention/issues/762",
        ),
    ),
    tags=("nvidia", "gpu", "planned"),
)

CHECKS = (CHECK,)
