"""PERSIST: persistence mode is off on data-centre GPUs, so every first use initialises the GPU anew.

Judged is NVML's mode, not whether a daemon runs. Displays and laptops keep, or want, it otherwise and are left alone; so are
containers and WSL, which cannot change it."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Command, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.nvidia_state import GpuState
from infra_doctor_probes.detect.system import Container
from infra_doctor_probes.gpu_states import answering, keys, names, nothing_told, of_product, seen
from infra_doctor_probes.tables.common import is_wsl

WORKSTATION = ("GeForce", "Quadro", "RTX", "TITAN", "Titan", "NVS", "GB10", "Orin", "Thor", "Laptop")
SERVER_ALL_THE_SAME = ("Server Edition",)  # "NVIDIA RTX PRO 6000 Blackwell Server Edition"


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding for all GPUs whose mode is off, one for those whose mode is on."""
    states = [s for s in answering(context) if s.persistence is not None]
    if not states:
        yield CHECK.skip(nothing_told(context) if not answering(context) else "these GPUs have no persistence mode")
        return
    if is_wsl(context) or context.fact(Container) is not None:
        yield CHECK.skip("persistence mode is the host's, and cannot be changed from here")
        return
    on = [s for s in states if s.persistence]
    off = [s for s in states if not s.persistence]
    if on:
        yield CHECK.finding(
            Status.PASS,
            f"persistence mode is on: {names(on)}",
            subject=keys(on),
            evidence=[e for s in on for e in seen(s, "persistence mode enabled")],
        )
    matters = [s for s in off if for_servers(s)]
    if matters:
        yield CHECK.finding(
            Status.WARN,
            f"persistence mode is off: {names(matters)}",
            subject=keys(matters),
            detail="Whenever no program holds the GPU, the driver lets it go; the next program, each nvidia-smi and the start"
            " of a container then wait for its initialisation, and settings such as power limits are lost.",
            evidence=[e for s in matters for e in seen(s, "persistence mode disabled")],
            remedy=REMEDY,
            commands=(Command(argv=("systemctl", "enable", "--now", "nvidia-persistenced"), needs_root=True),),
        )
    elif not on:
        yield CHECK.skip("persistence mode matters on servers; these are GPUs of workstations, laptops or guests")


def for_servers(state: GpuState) -> bool:
    """Whether the product is made for machines without a display, and is no slice of a host's GPU."""
    if state.display_active or state.virtualization == "vgpu":
        return False
    return of_product(state, *SERVER_ALL_THE_SAME) or not of_product(state, *WORKSTATION)


REMEDY = (
    "Start NVIDIA's persistence daemon at boot (it comes with the driver). Where there is no daemon, as root"
    " `nvidia-smi -pm 1` does the same until the next reboot."
)
DOC = "https://docs.nvidia.com/deploy/driver-persistence/index.html"

CHECK = Check(
    id="PERSIST",
    title="Persistence mode is off",
    explanation="""\
Without a program that holds it, a GPU is let go by the driver and set up again for the next one: on data-centre GPUs that
takes seconds for each, and starting a container may time out. Persistence mode keeps the GPU set up.

Judged is the mode that NVML gives, for data-centre products on Linux itself. Not reported: workstations and laptops (a display
holds the GPU, or it shall sleep), containers and WSL (the mode is the host's), vGPU guests.""",
    remediation=REMEDY,
    sources=(DOC, "https://github.com/NVIDIA/nvidia-docker/issues/723"),
    run=run,
    severity=Severity.LOW,
    log_signatures=(
        LogSignature(
            pattern=r"nvidia-container-cli: initialization error: driver (?:rpc )?error: timed out",
            source="https://github.com/NVIDIA/nvidia-container-toolkit/issues/202",
        ),
    ),
    tags=("nvidia", "driver"),
)

CHECKS = (CHECK,)
