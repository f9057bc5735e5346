"""OPEN-KM: the flavour of NVIDIA's kernel module does not serve the GPU: open before Turing, proprietary from Blackwell on.

Judged only for a GPU that does not answer. Facts: NVIDIA's driver installation guide and blog on the kernel modules; the GPU's
architecture by its PCI id (a table's code name), or the kernel's own words."""

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
from infra_doctor_probes.detect.kernel_modules import NvidiaModuleState
from infra_doctor_probes.detect.nvidia_driver import NvidiaKernelModule
from infra_doctor_probes.detect.nvidia_kernel_log import KernelGpuEvent
from infra_doctor_probes.in_target import given_none
from infra_doctor_probes.tables.common import nvidia_gpus, text

TURING, BLACKWELL = (7, 5), (10, 0)
# Branches that know these GPUs at all: another one is another fault (ARCH).
LAST_BEFORE_TURING, FIRST_WITH_BLACKWELL = 580, 570
SAYS_OPEN, SAYS_GSP = "open kernel module", "required GPU"


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding for the GPUs that do not answer; a pass where all do."""
    module = context.fact(NvidiaKernelModule)
    gpus = nvidia_gpus(context)
    if module is None or not gpus:
        yield CHECK.skip("no NVIDIA kernel module is loaded, or no NVIDIA GPU is there")
        return
    if given_none(context):
        yield CHECK.skip("this container was given no NVIDIA GPU")
        return
    if module.flavor is None:
        yield CHECK.skip("which flavour of NVIDIA's kernel module is loaded could not be told")
        return
    silent = [g for g in gpus if g.attributes.get("seen_by") != "nvml"]
    if not silent:
        yield CHECK.finding(
            Status.PASS, f"the {module.flavor} kernel module serves the GPUs: they answer",
            subject=("driver:nvidia", *(g.key for g in gpus)), evidence=module.evidence, severity=Severity.LOW,
        )  # fmt: skip
        return
    wrong = [(g, certain) for g in silent if (certain := does_not_fit(context, g, module)) is not None]
    if not wrong:
        yield CHECK.skip("nothing says that the GPUs which do not answer need another flavour of the kernel module")
        return
    yield finding(context, module, wrong)


def finding(context: CheckContext, module: NvidiaKernelModule, wrong: list[tuple[Component, bool]]) -> Finding:
    """The wrong flavour; a hint where only an uncertain code name speaks."""
    certain = any(sure for _, sure in wrong)
    names = ", ".join(dict.fromkeys(g.name for g, _ in wrong))
    said = kernel_says(context)
    to_open = module.flavor == "proprietary"
    needs = "needs the open kernel modules" if to_open else "does not work with the open kernel modules"
    return CHECK.finding(
        Status.FAIL if certain else Status.WARN,
        f"{names} {needs}, and the {module.flavor} ones ({module.version}) are loaded",
        subject=("driver:nvidia", *(g.key for g, _ in wrong)),
        detail=f"The kernel says: {said}"
        if said
        else "The GPU does not answer, and its generation and the module do not fit.",
        evidence=(*module.evidence, *(e for g, _ in wrong for e in g.evidence), *state_evidence(context)),
        confidence=Confidence.OBSERVED if said else Confidence.DERIVED if certain else Confidence.HEURISTIC,
        remedy=TO_OPEN if to_open else TO_PROPRIETARY,
    )


def does_not_fit(context: CheckContext, gpu: Component, module: NvidiaKernelModule) -> bool | None:
    """True: certainly the wrong flavour; False: by an uncertain code name; None: nothing says so."""
    if kernel_says(context):
        return True
    for attribute, certain in (("compute_capability", True), ("compute_capability_hint", False)):
        found = numbers(text(gpu, attribute))[:2]
        if len(found) < 2:
            continue
        capability = (found[0], found[1])
        branch = numbers(module.version)[0]
        if module.flavor == "open" and capability < TURING and branch <= LAST_BEFORE_TURING:
            return certain
        new = capability >= BLACKWELL and branch >= FIRST_WITH_BLACKWELL
        if module.flavor == "proprietary" and (new or "GH200" in gpu.name):
            return certain
    return None


def kernel_says(context: CheckContext) -> str:
    """The kernel's own word that the other flavour is needed."""
    state = context.fact(NvidiaModuleState)
    lines = list(state.refused) if state is not None else []
    lines += [e.text for e in context.facts(KernelGpuEvent) if e.vendor == "nvidia"]
    return next((t for t in lines if SAYS_OPEN in t or ("not supported by open" in t and SAYS_GSP in t)), "")


def state_evidence(context: CheckContext) -> tuple[Evidence, ...]:
    """What was seen of the modules."""
    state = context.fact(NvidiaModuleState)
    return state.evidence if state is not None else ()


TO_OPEN = (
    "Install the open flavour of the same driver and reboot: Ubuntu `nvidia-driver-<branch>-open` or"
    " `nvidia-driver-<branch>-server-open`, NVIDIA's repository `nvidia-open`, Fedora `akmod-nvidia` built with"
    " `%_with_kmod_nvidia_open 1`, NVIDIA's .run file `--kernel-module-type=open`."
)
TO_PROPRIETARY = (
    "Install the proprietary flavour of the driver and reboot: Ubuntu `nvidia-driver-<branch>` without `-open`, NVIDIA's repository"
    " `cuda-drivers`, the .run file `--kernel-module-type=proprietary`. R580 is the last branch for Maxwell, Pascal and Volta."
)
GUIDE = "https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/kernel-modules.html"

CHECK = Check(
    id="OPEN-KM",
    title="The flavour of the kernel module does not serve the GPU",
    explanation="""\
NVIDIA's kernel module comes in two flavours, open and proprietary. **Maxwell, Pascal and Volta work with the proprietary one
only** (the open one needs the GPU's system processor, GSP, which came with Turing); **Blackwell and Grace Hopper work with the
open one only**. With the wrong flavour the module loads and the GPU does not start: *RmInitAdapter failed*, nvidia-smi says
*No devices were found*.

infra-doctor reads the flavour from /proc/driver/nvidia/version and judges only GPUs that do not answer through NVML, by the
kernel's own words or by the generation that the PCI id names. RmInitAdapter fails for other reasons too (power, a riser,
firmware): without one of these signs nothing is reported here.""",
    remediation=TO_OPEN,
    sources=(
        GUIDE,
        "https://developer.nvidia.com/blog/nvidia-transitions-fully-towards-open-source-gpu-kernel-modules/",
        "https://github.com/NVIDIA/open-gpu-kernel-modules/issues/19",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"Unable to determine the device handle for gpu [0-9A-Fa-f:.]{7,20}: Not Found",
            source="https://github.com/NVIDIA/open-gpu-kernel-modules/issues/246",
            strength=1,
        ),
        LogSignature(pattern=r"requires use of the NVIDIA open kernel modules",
                     source="https://github.com/NVIDIA/open-gpu-kernel-modules/issues/862", strength=3),
        LogSignature(pattern=r"not supported by (?:the )?open\s{0,40}(?:NVRM: )?nvidia\.ko",
                     source="https://github.com/NVIDIA/open-gpu-kernel-modules/issues/19", strength=3),
        LogSignature(pattern=r"NVRM: [^\n]{0,40}RmInitAdapter failed!",
                     source="https://github.com/NVIDIA/open-gpu-kernel-modules/issues/789", strength=1),
        LogSignature(pattern=r"No devices were found",
                     source="https://github.com/NVIDIA/open-gpu-kernel-modules/issues/872", strength=1),
    ),
    tags=("nvidia", "driver"),
)  # fmt: skip

CHECKS = (CHECK,)
