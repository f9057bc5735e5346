"""MIG: the GPU is in MIG mode and cannot be used as it stands: no instance, a mode that waits for a reset, or several
instances given to a program that can only take one.

Rests on NVML's list of instances. MIG with instances is no finding."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Confidence, Finding, LogSignature, Severity, Status, major
from infra_doctor_probes.detect.nvidia_state import GpuState
from infra_doctor_probes.detect.visible_devices import VisibleDevices
from infra_doctor_probes.gpu_states import answering, keys, name, names, nothing_told, seen

ONE_INSTANCE_UP_TO = 575  # NVIDIA's guide says it of the drivers for CUDA 11 and 12; nothing is known of later ones
GUIDE = "https://docs.nvidia.com/datacenter/tesla/mig-user-guide/"


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per GPU in MIG mode that is not ready; else one for all."""
    states = answering(context)
    if not states:
        yield CHECK.skip(nothing_told(context))
        return
    told = [s for s in states if s.mig is not None]
    enabled = [s for s in told if s.mig]
    waiting = [s for s in told if s.mig_pending is not None and s.mig_pending != s.mig]
    empty = [s for s in enabled if s.mig_devices == () and s not in waiting]
    unknown = [s for s in enabled if s.mig_devices is None]
    ready = [s for s in enabled if s.mig_devices and s not in waiting]
    for state in waiting:
        yield pending(state)
    if empty:
        yield no_instances(empty, usable=len(states) > len(empty))
    if unknown:
        yield CHECK.finding(
            Status.UNKNOWN, f"MIG is on and its instances were not told: {names(unknown)}", subject=keys(unknown),
            evidence=[e for s in unknown for e in seen(s, "MIG enabled")], severity=Severity.LOW,
        )  # fmt: skip
    several = several_given(context, ready)
    if several is not None:
        yield several
    elif ready:
        yield CHECK.finding(
            Status.PASS,
            f"MIG is on and has instances: {names(ready)}",
            subject=keys(ready),
            detail="; ".join(f"{name(s)}: {', '.join(d.profile or '?' for d in s.mig_devices or ())}" for s in ready),
            evidence=[e for s in ready for e in seen(s, f"{len(s.mig_devices or ())} MIG devices")],
        )
    if not enabled and not waiting:
        yield CHECK.skip("no GPU is in MIG mode")


def no_instances(states: list[GpuState], *, usable: bool) -> Finding:
    """CUDA finds nothing on a GPU in MIG mode that holds no instance."""
    return CHECK.finding(
        Status.WARN if usable else Status.FAIL,
        f"MIG is on and no instance exists: {names(states)}",
        subject=keys(states),
        detail="In MIG mode programs use instances only: without one, CUDA finds no device there."
        + (" The other GPUs can be used." if usable else ""),
        evidence=[e for s in states for e in seen(s, "MIG enabled, 0 MIG devices")],
        severity=Severity.HIGH,
        remedy=REMEDY,
    )


def pending(state: GpuState) -> Finding:
    """The mode was switched, and the GPU not reset since."""
    words = "on" if state.mig_pending else "off"
    return CHECK.finding(
        Status.WARN,
        f"MIG of {name(state)} is to be switched {words} and waits for a reset",
        subject=(state.gpu,),
        evidence=seen(state, f"MIG enabled {state.mig}, pending {state.mig_pending}"),
        remedy="End the programs on this GPU and reset it (as root `nvidia-smi --gpu-reset -i INDEX`), or reboot. In a virtual"
        " machine without the right to reset, reboot the machine.",
    )


def several_given(context: CheckContext, ready: list[GpuState]) -> Finding | None:
    """A program sees one MIG device, however many its variable names."""
    driver = context.component("driver:nvidia")
    release = major(driver.version) if driver and driver.version else None
    named = [v for v in context.facts(VisibleDevices) if v.vendor == "nvidia" and not v.problem and v.entry_count > 1]
    if (
        not ready
        or not named
        or release is None
        or release > ONE_INSTANCE_UP_TO
        or len(ready) < len(answering(context))
    ):
        return None
    return CHECK.finding(
        Status.WARN,
        f"{named[0].variable} names {named[0].entry_count} MIG devices; a program sees one",
        subject=keys(ready),
        detail="With MIG, CUDA gives a program a single device whatever the variable names; NCCL and tensor parallelism over"
        " several of them do not work.",
        evidence=[*named[0].evidence, *(e for s in ready for e in seen(s, f"{len(s.mig_devices or ())} MIG devices"))],
        confidence=Confidence.DERIVED,
        severity=Severity.LOW,
        remedy="Start one program per MIG device, each with one UUID in its variable; or switch MIG off for work that needs the"
        " whole GPU or several.",
    )


REMEDY = (
    "Create instances (as root, for instance `nvidia-smi mig -cgi PROFILE -C`; `nvidia-smi mig -lgip` lists the profiles), or"
    " switch MIG off when no program uses the GPU (as root `nvidia-smi -i INDEX -mig 0`). In Kubernetes let the GPU operator's"
    " MIG manager do it."
)

CHECK = Check(
    id="MIG",
    title="MIG mode does not fit its use",
    explanation="""\
In MIG mode a GPU is cut into instances, and programs use these, never the GPU as a whole. With MIG on and no instance CUDA
finds no device there. Switching the mode takes effect at a reset on some GPUs. A program sees **one** MIG device, whatever
CUDA_VISIBLE_DEVICES names (said of the drivers for CUDA 11 and 12), so data or tensor parallel work over instances fails.

MIG with instances is no finding. Names of instances that do not exist are ENV-CVD's.""",
    remediation=REMEDY,
    sources=(GUIDE, "https://github.com/pytorch/pytorch/issues/130181", "https://github.com/pytorch/pytorch/issues/102715"),
    run=run,
    severity=Severity.MEDIUM,
    log_signatures=(
        LogSignature(
            pattern=r"No MIG devices associated with", source="https://github.com/NVIDIA/k8s-device-plugin/issues/253", strength=3
        ),
        LogSignature(
            pattern=r"has an invalid MIG configuration|has no MIG devices configured",
            source="https://github.com/NVIDIA/k8s-device-plugin/pull/806", strength=3,
        ),
        LogSignature(
            pattern=r"with migEnabled=true was not configured correctly",
            source="https://github.com/NVIDIA/k8s-device-plugin/issues/253", strength=3,
        ),
    ),
    tags=("nvidia",),
)  # fmt: skip

CHECKS = (CHECK,)
