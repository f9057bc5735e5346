"""SMI: the nvidia-smi on PATH hangs, fails or is of another version, while the driver itself answers.

Rests on what `nvidia-smi --version` prints and on the NVML session of the same run: where both fail alike, the driver is at
fault and another finding names it."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Confidence,
    Evidence,
    Finding,
    LogSignature,
    Severity,
    Status,
    version_key,
)
from infra_doctor_probes.detect.nvidia_driver import NvidiaKernelModule
from infra_doctor_probes.detect.nvidia_gpu import NvmlSession
from infra_doctor_probes.detect.nvidia_smi import NvidiaSmi
from infra_doctor_probes.in_target import given_none
from infra_doctor_probes.tables.common import is_wsl

# Errors that NVML itself gives when it is asked: nvidia-smi only repeats them. Those of a single device it gives while the
# session as a whole works.
OF_THE_DRIVER = frozenset(
    {"no-driver", "version-mismatch", "no-permission", "unknown-error", "init-failed", "no-devices", "blocked"}
)
OF_A_DEVICE = frozenset({"gpu-lost", "reset-required", "no-handle"})


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding."""
    smi = context.fact(NvidiaSmi)
    if smi is None:
        seen = context.probes.get("nvidia-smi")
        if seen is not None and seen.reason:
            yield CHECK.skip(f"nvidia-smi was not looked at: {seen.reason.partition(' of a ')[0]}")
        else:
            yield CHECK.skip("no NVIDIA device or driver shows, or no nvidia-smi is on PATH (usual in containers)")
        return
    if given_none(context):
        yield CHECK.skip("this container was given no NVIDIA GPU")
        return
    session = context.fact(NvmlSession)
    # Where only commands were recorded, the session was nvidia-smi's own: no second witness.
    witness = session is not None and not any(e.source.startswith("nvidia-smi") for e in session.evidence)
    answers = session is not None and witness and not session.error and session.driver_version is not None
    if smi.timed_out:
        yield hung(smi, session, answers=answers)
    elif smi.error and smi.error_kind != "old":
        yield failed(smi, session, answers=answers)
    else:
        yield versions(context, smi, session)


def hung(smi: NvidiaSmi, session: NvmlSession | None, *, answers: bool) -> Finding:
    """No answer in time: its own fault where NVML answers."""
    if answers:
        return CHECK.finding(
            Status.FAIL,
            f"{smi.path} gives {smi.error}, the driver answers",
            subject=("driver:nvidia",),
            detail=f"NVML answered in the same run. {which(smi)}Job prologs, monitoring and scripts that call it wait with it.",
            evidence=evidence(smi, session),
            confidence=Confidence.OBSERVED if smi.form == "script" else Confidence.DERIVED,
            remedy=REMEDY,
        )
    title = f"{smi.path} gives {smi.error}"
    if session is not None and session.error:
        title += f", nor does NVML ({session.error})"
    return CHECK.finding(Status.UNKNOWN, title, evidence=evidence(smi, session), severity=Severity.LOW)


def failed(smi: NvidiaSmi, session: NvmlSession | None, *, answers: bool) -> Finding:
    """It answers with an error: its own fault where NVML answers, or where it is no nvidia-smi at all."""
    foreign = smi.error_kind == "look-alike"
    if smi.error_kind in OF_A_DEVICE or (not answers and smi.error_kind in OF_THE_DRIVER):
        return CHECK.finding(
            Status.SKIP,
            f"nvidia-smi only repeats what the driver says: {smi.error}",
            evidence=evidence(smi, session),
            severity=Severity.LOW,
        )
    if answers or foreign:
        return CHECK.finding(
            Status.WARN,
            f"{smi.path} fails: {smi.error}" + (", while NVML answers" if answers else ""),
            subject=("driver:nvidia",),
            detail=f"{which(smi)}Tools that read the output of nvidia-smi take the GPUs for missing.",
            evidence=evidence(smi, session),
            remedy=REMEDY,
        )
    title = f"{smi.path} fails: {smi.error}"
    return CHECK.finding(Status.UNKNOWN, title, evidence=evidence(smi, session), severity=Severity.LOW)


def versions(context: CheckContext, smi: NvidiaSmi, session: NvmlSession | None) -> Finding:
    """It answers: whether it is the loaded driver's."""
    module = context.fact(NvidiaKernelModule)
    loaded = module.version if module else session.driver_version if session else None
    proof = [*evidence(smi, session), *(module.evidence if module else ())]
    if is_wsl(context):
        return CHECK.skip("under WSL the driver is Windows', and nvidia-smi counts by its own numbers")
    if smi.version is None or loaded is None:
        what = (
            "nvidia-smi is too old to tell its version"
            if smi.version is None
            else "no loaded driver to compare it with"
        )
        return CHECK.finding(Status.UNKNOWN, what, evidence=proof, severity=Severity.LOW)
    printed = smi.driver_version
    if version_key(smi.version) != version_key(loaded):
        return CHECK.finding(
            Status.WARN,
            f"{smi.path} is of version {smi.version}, the loaded driver of {loaded}",
            subject=("driver:nvidia",),
            detail=f"{which(smi)}The kernel module and NVML of this run tell {loaded}: what this nvidia-smi prints of versions, "
            "fields and errors is another driver's.",
            evidence=proof,
            remedy=REMEDY,
        )  # fmt: skip
    if printed is not None and version_key(printed) != version_key(loaded):
        return CHECK.finding(
            Status.WARN,
            f"{smi.path} prints driver {printed}, loaded is {loaded}",
            subject=("driver:nvidia",),
            detail=which(smi),
            evidence=proof,
            remedy=REMEDY,
        )
    return CHECK.finding(
        Status.PASS, f"nvidia-smi {smi.version} is the loaded driver's", subject=("driver:nvidia",), evidence=proof
    )


def which(smi: NvidiaSmi) -> str:
    """What the file is, and which further ones are there."""
    parts = []
    if smi.form == "script":
        parts.append("It is a script, not the driver's program.")
    if smi.others:
        parts.append(f"PATH holds further ones behind it: {', '.join(smi.others[:5])}.")
    return " ".join(parts) + " " if parts else ""


def evidence(smi: NvidiaSmi, session: NvmlSession | None) -> list[Evidence]:
    """What both say."""
    return [*smi.evidence, *(session.evidence if session else ())]


REMEDY = """\
See which one is taken (`type -a nvidia-smi`) and of what package it is (`dpkg -S` or `rpm -qf` on its real path). Take a
script or a copy of another driver out of the way, or move its folder behind `/usr/bin` in PATH; the driver's own package
(`nvidia-utils` of the loaded branch) brings the right one. In a container, leave the program to the container runtime and do
not install a driver package into the image."""
CHECK = Check(
    id="SMI",
    title="nvidia-smi hangs, fails or is another driver's",
    explanation="""\
`nvidia-smi` belongs to the driver and is of exactly its version. Another one on PATH (left by an older driver, installed into
an image, a wrapper script in `/usr/local/bin`) prints versions and errors that are not this machine's, and one that hangs
blocks every job prolog and monitor that calls it. infra-doctor starts `nvidia-smi --version` with a deadline and compares it
with the loaded kernel module and with an NVML session of its own.

Not reported: no nvidia-smi at all (usual in containers and with headless packages), several of the same version, wrapper
scripts that answer rightly, WSL (its numbers differ by design), and errors that NVML gives as well: then the driver is at
fault, and another finding says how.""",
    remediation=REMEDY,
    sources=(
        "https://docs.nvidia.com/deploy/nvidia-smi/index.html",
        "https://github.com/Bruce-Lee-LY/cuda_hook/issues/15",
        "https://github.com/scitix/sichek/issues/67",
        "https://github.com/mej/nhc/issues/161",
    ),
    run=run,
    severity=Severity.MEDIUM,
    log_signatures=(
        LogSignature(
            pattern=r"Mismatch in versions between nvidia-smi and NVML",
            source="https://github.com/Bruce-Lee-LY/cuda_hook/issues/15",
            strength=3,
        ),
        LogSignature(
            pattern=r"Are you sure you are using nvidia-smi provided with the driver",
            source="https://github.com/Bruce-Lee-LY/cuda_hook/issues/8",
            strength=3,
        ),
        LogSignature(
            pattern=r"nvidia-smi\b[^\n]{0,120}\btimed out\b",
            source="https://github.com/scitix/sichek/issues/67",
            strength=1,
        ),
    ),
    explained_by=("NVML-MISMATCH",),
    tags=("nvidia", "driver"),
)

CHECKS = (CHECK,)
