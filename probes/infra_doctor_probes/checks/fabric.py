"""FABRIC: NVLink switches that nobody has set up, so that CUDA cannot start (error 802, "system not yet initialized").

The GPUs' own fabric state decides where they tell it (Hopper and newer); for older ones, and for the reason, the fabric
manager of the host is looked at. Machines without NVSwitch, PCIe cards and trays of NVL72 have no fabric manager."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Command,
    Component,
    Confidence,
    Finding,
    LogSignature,
    Severity,
    Status,
    version_key,
)
from infra_doctor_probes.detect.nvidia_fabric import FabricManager, NvSwitches
from infra_doctor_probes.detect.nvidia_state import GpuState
from infra_doctor_probes.detect.system import Container
from infra_doctor_probes.gpu_states import answering, keys, names, nothing_told, of_product, seen
from infra_doctor_probes.in_target import Seen, nvidia_gpu

PART_OF_FABRIC = frozenset({"not_started", "in_progress", "completed"})
RUNNING = frozenset({"active", "activating", "reloading", "running"})
NVL = ("GB200", "GB300")


def run(context: CheckContext) -> Iterator[Finding]:
    """What the GPUs say; where they say nothing, what the fabric manager is like."""
    states = answering(context)
    told = [s for s in states if s.fabric_state in PART_OF_FABRIC]
    switches, manager = context.fact(NvSwitches), context.fact(FabricManager)
    unready = [s for s in told if not is_ready(s)]
    if unready:
        yield not_ready(context, unready)
        return
    if told:
        yield from ready(context, told)
        return
    if switches is None or nvidia_gpu(context) is not Seen.PRESENT:
        yield CHECK.skip("no NVLink switch is part of this machine" if states else nothing_told(context))
    elif context.fact(Container) is not None or manager is None:
        yield CHECK.skip("the fabric manager runs on the host and does not show from this container")
    else:
        yield by_manager(context, switches, manager)


def is_ready(state: GpuState) -> bool:
    """Whether this GPU is registered with its fabric."""
    return state.fabric_state == "completed" and state.fabric_status in (None, "Success")


def driver_of(context: CheckContext) -> Component | None:
    """The driver component."""
    return context.component("driver:nvidia")


def other_version(context: CheckContext) -> tuple[str, str] | None:
    """(fabric manager, driver) where both are known and differ."""
    manager, driver = context.fact(FabricManager), driver_of(context)
    if manager is None or manager.version is None or driver is None or driver.version is None:
        return None
    same = version_key(manager.version) == version_key(driver.version)
    return None if same else (manager.version, driver.version)


def why(context: CheckContext, manager: FabricManager | None) -> tuple[str, str]:
    """(what is wrong with the fabric manager, what to do), "" where nothing is known to be."""
    different = other_version(context)
    if manager is None:
        return "", REMEDY_UNKNOWN
    if different is not None and manager.state not in RUNNING:
        return f"the fabric manager is {different[0]}, the driver {different[1]}", REMEDY_VERSION
    if not manager.installed and manager.state == "not running":
        return "no fabric manager is installed", REMEDY_INSTALL
    if manager.state is not None and manager.state not in RUNNING:
        return f"the fabric manager is {manager.state}", REMEDY_START
    return "", REMEDY_UNKNOWN


def not_ready(context: CheckContext, states: list[GpuState]) -> Finding:
    """The GPUs wait for their fabric."""
    manager = context.fact(FabricManager) if context.fact(Container) is None else None
    reason, remedy = why(context, manager)
    nvl = any(of_product(s, *NVL) for s in states)
    shown = ", ".join(sorted({f"{s.fabric_state} {s.fabric_status or ''}".strip().replace("_", " ") for s in states}))
    evidence = [e for s in states for e in seen(s, f"fabric state {s.fabric_state}, status {s.fabric_status}")]
    evidence += manager.evidence if manager is not None else ()
    starts = Command(argv=("systemctl", "start", "nvidia-fabricmanager"), needs_root=True)
    return CHECK.finding(
        Status.FAIL,
        f"the NVLink fabric is not set up ({shown}): {names(states)}" + (f"; {reason}" if reason else ""),
        subject=keys(states),
        detail="CUDA answers error 802 (system not yet initialized) until it is.",
        evidence=evidence,
        severity=Severity.CRITICAL,
        remedy=REMEDY_NVL if nvl else remedy,
        commands=(starts,) if remedy is REMEDY_START and not nvl else (),
    )


def ready(context: CheckContext, states: list[GpuState]) -> Iterator[Finding]:
    """Set up; a fabric that works at less than its whole is a warning, a fabric manager that could not start again too."""
    poor = [s for s in states if s.fabric_problems or s.fabric_health in {"unhealthy", "limited_capacity"}]
    if poor:
        words = sorted({p.replace("_", " ") for s in poor for p in s.fabric_problems} or {str(poor[0].fabric_health)})
        yield CHECK.finding(
            Status.WARN,
            f"the NVLink fabric is set up and not in order ({', '.join(words)}): {names(poor)}",
            subject=keys(poor),
            evidence=[
                e for s in poor for e in seen(s, f"fabric health {s.fabric_health} {' '.join(s.fabric_problems)}")
            ],
            severity=Severity.HIGH,
            remedy="Look at the fabric manager's log (on NVL72 at the switch trays and IMEX), and at NVLINK here; then reset the"
            " GPUs or reboot.",
        )
    different = other_version(context)
    manager = context.fact(FabricManager)
    if different is not None and manager is not None and context.fact(Container) is None:
        yield CHECK.finding(
            Status.WARN,
            f"the installed fabric manager is {different[0]}, the driver {different[1]}: it will not start again",
            subject=("driver:nvidia",),
            evidence=manager.evidence,
            remedy=REMEDY_VERSION,
        )
    if not poor:
        yield CHECK.finding(
            Status.PASS,
            f"the NVLink fabric is set up: {names(states)}",
            subject=keys(states),
            evidence=[e for s in states for e in seen(s, f"fabric state {s.fabric_state}, status {s.fabric_status}")],
        )


def by_manager(context: CheckContext, switches: NvSwitches, manager: FabricManager) -> Finding:
    """GPUs that do not tell their fabric state (before Hopper): the service's state is all there is."""
    reason, remedy = why(context, manager)
    subject = ("driver:nvidia",)
    evidence = [*switches.evidence, *manager.evidence]
    if reason:
        return CHECK.finding(
            Status.FAIL,
            f"{len(switches.addresses) or len(switches.nodes)} NVLink switches, and {reason}",
            subject=subject,
            detail="Without it nobody sets the switches up, and CUDA answers error 802 (system not yet initialized).",
            evidence=evidence,
            confidence=Confidence.DERIVED,
            severity=Severity.CRITICAL,
            remedy=remedy,
            commands=(Command(argv=("systemctl", "start", "nvidia-fabricmanager"), needs_root=True),)
            if remedy is REMEDY_START
            else (),
        )
    if manager.state in RUNNING:
        return CHECK.finding(Status.PASS, "the fabric manager runs", subject=subject, evidence=evidence)
    return CHECK.finding(
        Status.UNKNOWN,
        "whether the fabric manager runs could not be told, and the GPUs do not say",
        subject=subject,
        evidence=evidence,
        severity=Severity.LOW,
    )


REMEDY_INSTALL = (
    "Install the fabric manager of exactly the driver's version (package nvidia-fabricmanager, with the driver's branch in its"
    " name on some distributions), enable and start its service nvidia-fabricmanager."
)
REMEDY_START = (
    "Start and enable the service nvidia-fabricmanager; if it does not stay up, its log says why"
    " (`journalctl -u nvidia-fabricmanager`)."
)
REMEDY_VERSION = (
    "Install the fabric manager of exactly the driver's version and restart its service; hold both packages, so that upgrades"
    " change them together."
)
REMEDY_UNKNOWN = (
    "Look at the service nvidia-fabricmanager on the host: installed in exactly the driver's version, running, and what its log"
    " says. A virtual machine gets its fabric from the host's fabric manager: the provider has to look there."
)
REMEDY_NVL = (
    "A tray of NVL72 runs no fabric manager of its own: look at the switch trays (NVSM, NMX) and at the IMEX service of the"
    " domain."
)
GUIDE = "https://docs.nvidia.com/datacenter/tesla/fabric-manager-user-guide/index.html"
VERSION = "https://github.com/NVIDIA/gpu-operator/issues/544"

CHECK = Check(
    id="FABRIC",
    title="NVLink fabric is not set up",
    explanation="""\
On machines with NVSwitch (HGX, DGX) a service, the **fabric manager**, sets up the switches and registers each GPU before
CUDA may start. It must be of exactly the driver's version. Until it has done so, every CUDA program gets error 802
(*system not yet initialized*), while nvidia-smi looks healthy.

GPUs since Hopper say themselves whether they are registered, also in containers and virtual machines, where the service is
the host's; this decides. For older ones the host's service is looked at.

Not reported: machines without NVSwitch, PCIe cards, GPUs that say "not supported". Trays of NVL72 (GB200, GB300) have no
fabric manager; there the domain's own services count.""",
    remediation=REMEDY_INSTALL,
    sources=(GUIDE, "https://github.com/pytorch/pytorch/issues/35710", VERSION),
    run=run,
    severity=Severity.CRITICAL,
    log_signatures=(
        LogSignature(
            pattern=r"system not yet initialized", source="https://github.com/pytorch/pytorch/issues/35710", strength=3
        ),
        LogSignature(
            pattern=r"cudaErrorSystemNotReady|CUDA_ERROR_SYSTEM_NOT_READY",
            source="https://github.com/pytorch/pytorch/issues/35710", strength=3,
        ),
        LogSignature(
            pattern=r"fabric manager NVIDIA GPU driver interface version [0-9.]{3,20} (?:don|doesn)",
            source=VERSION, strength=3,
        ),
        LogSignature(
            pattern=r"nvidia-fabricmanager\.service: (?:Failed|Control process exited|Main process exited)",
            source="https://github.com/akash-network/website/pull/632",
        ),
    ),
    tags=("nvidia", "hardware"),
)  # fmt: skip

CHECKS = (CHECK,)
