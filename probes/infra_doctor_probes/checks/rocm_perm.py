"""ROCM-PERM: this user may not open the device files of the AMD GPUs that something installed would use.

Rests on how /dev/kfd and the render nodes answer to open(), and on what is installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from infra_doctor.plugin import Check, CheckContext, Component, Evidence, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.amd import ROCM_PLUG_INS, wants_rocm, was_found
from infra_doctor_probes.detect.system import Container

if TYPE_CHECKING:
    from infra_doctor_probes.amd.gpus import AmdGpusNotGiven
    from infra_doctor_probes.amd.kfd import AmdAccess

DENIED = {"EACCES", "EPERM"}


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding."""
    if not was_found(context):
        yield CHECK.skip("no AMD GPU is there")
        return
    from infra_doctor_probes.amd.gpus import AmdGpusNotGiven
    from infra_doctor_probes.amd.kfd import AmdAccess

    access, aside = context.fact(AmdAccess), context.facts(AmdGpusNotGiven)
    if not (wants_rocm(context) or context.by_kind("rocm")):
        yield CHECK.skip("nothing installed uses an AMD GPU for computing")
    elif not amd_gpus(context):
        yield judge_container(context, aside)
    elif access is None or access.kfd is None:
        yield CHECK.skip("there is no /dev/kfd to open, or it could not be asked")
    else:
        yield judge(context, access)


def amd_gpus(context: CheckContext) -> list[Component]:
    """The AMD GPUs of this machine."""
    return [c for c in context.by_kind("gpu") if c.attributes.get("vendor") == "amd"]


def judge(context: CheckContext, access: AmdAccess) -> Finding:
    """The files are there: whether they open."""
    subject = tuple(c.key for c in amd_gpus(context))
    shut = [(path, error) for path, error in access.render if error in DENIED]
    denied = [("/dev/kfd", access.kfd)] if access.kfd in DENIED else []
    if denied or (shut and len(shut) == len(access.render)):
        in_container = context.fact(Container) is not None
        names = ", ".join(f"{path} ({error})" for path, error in [*denied, *shut][:4])
        return CHECK.finding(
            Status.FAIL,
            f"this user may not open {names}",
            subject=subject,
            detail="ROCm opens /dev/kfd for everything and a render node per GPU. Without them it reports out of resources, or"
            " that there is no GPU.",
            evidence=(*access.evidence, *wanted_by(context)),
            remedy=CONTAINER_REMEDY if in_container else REMEDY,
        )
    if access.kfd:
        return CHECK.skip(f"/dev/kfd answers {access.kfd}, which is no matter of permission")
    return CHECK.finding(
        Status.PASS, "this user may open the AMD GPUs' device files", subject=subject, evidence=access.evidence,
        severity=Severity.LOW,
    )  # fmt: skip


def judge_container(context: CheckContext, aside: tuple[AmdGpusNotGiven, ...]) -> Finding:
    """A host with AMD GPUs, a container without their device files, and something in it that wants them."""
    if context.fact(Container) is None:
        return CHECK.skip("the AMD GPUs are kept for virtual machines")
    return CHECK.finding(
        Status.WARN,
        "this container was given no AMD GPU: neither /dev/kfd nor a render node is there",
        subject=tuple(c.key for c in rocm_users(context)),
        evidence=(*(e for f in aside for e in f.evidence), *wanted_by(context)),
        severity=Severity.MEDIUM,
        remedy=CONTAINER_REMEDY,
    )


def rocm_users(context: CheckContext) -> list[Component]:
    """What would use the GPUs."""
    wheels = [w for w in context.by_kind("wheel") if w.attributes.get("build") == "rocm" or w.name in ROCM_PLUG_INS]
    return wheels or list(context.by_kind("rocm"))


def wanted_by(context: CheckContext) -> tuple[Evidence, ...]:
    """Where it was seen that something wants the GPUs."""
    return tuple(e for c in rocm_users(context)[:2] for e in c.evidence[:1])


REMEDY = (
    "Add the user to the groups that own the files, usually `render` and `video`: `sudo usermod -a -G render,video $LOGNAME`, then"
    " log in anew (`ls -l /dev/kfd /dev/dri` shows the groups)."
)
CONTAINER_REMEDY = (
    "Start the container with `--device /dev/kfd --device /dev/dri` and, for a user other than root, with `--group-add` and the"
    " number of the host's group `render` (`getent group render`); `--security-opt seccomp=unconfined` as AMD's images ask."
)

CHECK = Check(
    id="ROCM-PERM",
    title="No permission for the AMD GPU's device files",
    explanation="""\
ROCm reaches a GPU through `/dev/kfd`, one for all, and `/dev/dri/renderD*`, one per GPU. On current systems both belong to the
group `render`, on older ones to `video`; a user in neither gets *Permission denied*, which ROCm's tools report as
`HSA_STATUS_ERROR_OUT_OF_RESOURCES` and frameworks as *No HIP GPUs are available*. In a container the files are missing unless
it was started with them, and the group's number is the host's.

It is read from how the files answer to `open()`. *Cannot allocate memory* from `/dev/kfd` is no matter of permission: see
ROCM-GPU. Where nothing that is installed uses ROCm, nothing is reported.""",
    remediation=REMEDY,
    sources=(
        "https://github.com/ROCm/legacy-rocm-build/issues/1080",
        "https://github.com/ROCm/rocminfo/issues/34",
        "https://github.com/ROCm/ROCT-Thunk-Interface/",
        "https://github.com/ROCm/ROCm-docker/issues/116",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"/dev/kfd: (?:Permission denied|Operation not permitted)",
            source="https://github.com/robertrosenbusch/gfx803_rocm/issues/15",
            strength=3,
        ),
        LogSignature(
            pattern=r"Unable to open /dev/kfd read-write: (?:Permission denied|Operation not permitted)",
            source="https://github.com/ROCm/ROCm-docker/issues/116", strength=3,
        ),
        LogSignature(
            pattern=r"open[^\n]{0,40}/dev/kfd[^\n]{0,60}(?:EACCES|EPERM|Permission denied)",
            source="https://github.com/ROCm/legacy-rocm-build/issues/1088", strength=3,
        ),
        LogSignature(
            pattern=r"HSA_STATUS_ERROR_OUT_OF_RESOURCES", source="https://github.com/ROCm/rocminfo/issues/34", strength=2
        ),
        LogSignature(
            pattern=r"Failed to get user name to check for video group membership",
            source="https://github.com/ROCm/legacy-rocm-build/issues/1174", strength=1,
        ),
        LogSignature(
            pattern=r"No HIP GPUs are available", source="https://github.com/pytorch/pytorch/issues/132987", strength=1
        ),
        LogSignature(
            pattern=r"Unable to open /dev/kfd read-write: No such file or directory",
            source="https://github.com/ROCm/legacy-rocm-build/issues/1798",
        ),
    ),
    tags=("amd",),
)  # fmt: skip

CHECKS = (CHECK,)
