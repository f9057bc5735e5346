"""TORCH-CPU: a CPU-only PyTorch in the target, on a machine whose NVIDIA GPU and driver would serve a CUDA build."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Component,
    Confidence,
    Evidence,
    Finding,
    LogSignature,
    Severity,
    Status,
    numbers,
)
from infra_doctor_probes.in_target import no_gpu, reinstall_words
from infra_doctor_probes.tables.common import first_row, nvidia_gpus, text
from infra_doctor_probes.tables.wheel_arch import torch_advice

# Back ends that are plug-ins to PyTorch and are installed beside its CPU build.
PLUG_INS = ("torch-npu", "torch-xla", "torch-mlu", "torch-musa", "torch-gcu", "torch-sdaa", "torch-supa")


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per target that holds torch."""
    torches = [c for c in context.by_kind("wheel") if c.name == "torch"]
    if not torches:
        yield CHECK.skip("no PyTorch is installed in the environment")
        return
    driver = context.component("driver:nvidia")
    gpus = [g for g in context.by_kind("gpu") if g.attributes.get("vendor") == "nvidia"]
    if driver is None or not gpus:
        yield CHECK.skip(no_gpu(context, "no NVIDIA GPU with a loaded driver is there"))
        return
    elsewhere = any(t.attributes.get("build") == "cuda" for t in torches)
    for torch in torches:
        yield judge(context, torch, driver, gpus, elsewhere=elsewhere)


def judge(
    context: CheckContext, torch: Component, driver: Component, gpus: list[Component], *, elsewhere: bool
) -> Finding:
    """The finding of one torch."""
    build = torch.attributes.get("build")
    where = f" in {(torch.target or '').removeprefix('target:')}" if len(context.targets) > 1 else ""
    shown = f"torch {torch.version}{where}"
    if build is None:
        return CHECK.finding(
            Status.UNKNOWN, f"{shown}: its build could not be told", subject=(torch.key,), evidence=torch.evidence
        )
    if build != "cpu":
        return CHECK.finding(
            Status.PASS, f"{shown} is a {str(build).upper()} build", subject=(torch.key,), evidence=torch.evidence
        )
    plug_in = next((n for n in PLUG_INS if context.named(n, torch.target)), None)
    if plug_in is not None:
        return CHECK.skip(f"{shown} is the CPU build that {plug_in} needs")
    evidence: list[Evidence] = [*torch.evidence, *gpus[0].evidence[:1], *driver.evidence[:1]]
    return CHECK.finding(
        Status.WARN,
        f"{shown} is built for the CPU only, and {gpus[0].name} is there",
        subject=(torch.key, gpus[0].key),
        detail=(
            f"torch.cuda.is_available() is False with this build, whatever the driver ({driver.version})."
            + (" Another environment here has a CUDA build, so this one may be meant." if elsewhere else "")
        ),
        evidence=evidence,
        confidence=Confidence.OBSERVED,
        severity=Severity.LOW if elsewhere else None,
        remedy=remedy(context, torch, driver),
    )


def remedy(context: CheckContext, torch: Component, driver: Component) -> str:
    """Which of PyTorch's builds fits the driver and the GPUs, and how to get it."""
    branch = (numbers(driver.version or "") or (0,))[0]
    last = [first_row("gpu_last_driver", cc=text(g, "compute_capability")) for g in nvidia_gpus(context)]
    stuck = any(row is not None and int(row["last_driver_branch"][1:]) < 525 for row in last)
    if branch < 525 and not stuck:
        return (
            f"Update the driver first: {driver.version} is older than R525, which every current CUDA build of PyTorch needs."
            " Then reinstall torch from a CUDA index."
        )
    # The builds that PyTorch publishes say nothing of conda's.
    advice = "" if torch.origin == "conda" else torch_advice(context, torch)
    return f"{advice or 'Take a CUDA build of PyTorch.'} {reinstall_words(context, torch)}"


CHECK = Check(
    id="TORCH-CPU",
    title="CPU-only PyTorch on a GPU machine",
    explanation="""\
The wheel's local version says what it was built for: `+cpu` has no CUDA code at all, and neither have the wheels that PyPI
serves for some platforms. A resolver takes it when an index for the CPU comes first, or when a lock file was made on a
machine without GPU. The symptom is *Torch not compiled with CUDA enabled*, or silence and slowness.

Back ends that plug into PyTorch (torch_npu and others) are installed beside its CPU build: there it is right.""",
    remediation="Reinstall torch from the CUDA index that fits driver and GPU: `pip install --force-reinstall torch --index-url"
    " https://download.pytorch.org/whl/<index>`, in one command with torchvision and torchaudio where they are installed; with"
    " uv `uv pip install --reinstall torch --torch-backend=auto`; in conda `conda install pytorch-gpu` of conda-forge.",
    sources=(
        "https://pytorch.org/get-started/locally/",
        "https://docs.astral.sh/uv/guides/integration/pytorch/",
        "https://github.com/astral-sh/uv/issues/17236",
    ),
    run=run,
    severity=Severity.MEDIUM,
    log_signatures=(
        LogSignature(
            pattern=r"Failed to infer device type",
            source="https://github.com/vllm-project/vllm/issues/13946",
            strength=1,
        ),
        LogSignature(
            pattern=r"Torch not compiled with CUDA enabled",
            source="https://github.com/xxyzz/WordDumb/issues/91",
            strength=3,
        ),
        LogSignature(
            pattern=r"\(you have \d\.\d{1,2}\.\d{1,2}\+cpu\)",
            source="https://github.com/open-mmlab/PIA/issues/30",
            strength=3,
        ),
        LogSignature(
            pattern=r"Torch not compiled with XPU enabled",
            source="https://github.com/intel/intel-xpu-backend-for-triton/issues/2014",
            strength=3,
        ),
    ),
    tags=("nvidia", "torch", "planned"),
)

CHECKS = (CHECK,)
