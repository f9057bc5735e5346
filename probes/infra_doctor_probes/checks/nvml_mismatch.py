"""NVML-MISMATCH: the loaded kernel module and the user-space libraries that a process takes are of different versions.

Compares what the probes saw of both. A cuda-compat libcuda is newer than the module on purpose and is not meant here; an
NVML session that worked outweighs file names."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Component,
    Confidence,
    Finding,
    LogSignature,
    Severity,
    Status,
    major,
    version_key,
)
from infra_doctor_probes.detect.nvidia_driver import NvidiaDriverSources, NvidiaKernelModule
from infra_doctor_probes.detect.nvidia_gpu import NvmlSession
from infra_doctor_probes.detect.system import Container
from infra_doctor_probes.in_target import Seen, given_none, nvidia_gpu
from infra_doctor_probes.tables.common import RUNTIMES, cuda_consumers

VERSION_MISMATCH = 18  # NVML_ERROR_LIB_RM_VERSION_MISMATCH


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding: fail where a library differs, unknown where it cannot be told or files and NVML contradict."""
    module = context.fact(NvidiaKernelModule)
    session = context.fact(NvmlSession)
    if module is None:
        yield CHECK.skip("no NVIDIA kernel module is loaded")
        return
    copies = context.by_kind("libnvidia-ml", "libcuda")
    refused = session is not None and session.error_code == VERSION_MISMATCH
    if given_none(context) and not refused:
        yield CHECK.skip("this container was given no NVIDIA GPU: the module is its host's")
        return
    if not copies and not refused:
        yield without_libraries(context, module)
        return
    taken = tuple(c for c in copies if c.attributes.get("first"))
    yield judge(context, module, session, taken, refused=refused)


def judge(
    context: CheckContext,
    module: NvidiaKernelModule,
    session: NvmlSession | None,
    taken: tuple[Component, ...],
    *,
    refused: bool,
) -> Finding:
    """The finding over the copies that the loader takes."""
    different = [c for c in taken if differs(c, module)]
    # NVML refuses a module of another version by itself; what it says outweighs the name of its file.
    doubtful = [c for c in different if c.kind == "libnvidia-ml" and works(session)]
    certain = [c for c in different if c not in doubtful]
    sources = context.fact(NvidiaDriverSources)
    evidence = [*module.evidence, *(e for c in taken for e in c.evidence), *(session.evidence if session else ())]
    evidence += sources.evidence if sources is not None else ()
    subject = ("driver:nvidia", *(c.key for c in different or taken))
    if refused or certain:
        named = ", ".join(f"{c.name} {c.version}" for c in certain) or "NVML says so"
        return CHECK.finding(
            Status.FAIL,
            f"kernel module {module.version} is loaded, its libraries differ ({named})",
            subject=subject,
            detail=DETAIL,
            evidence=evidence,
            confidence=Confidence.OBSERVED if refused else Confidence.DERIVED,
            remedy=REMEDY,
        )
    unknown = ""
    if doubtful:
        unknown = (
            f"by its file name {doubtful[0].location} is not of the loaded module's version {module.version}, yet an NVML"
            " session worked"
        )
    elif not works(session) and not any(c.version for c in taken):
        unknown = f"which version the driver's libraries are of could not be told (module {module.version})"
    if unknown:
        return CHECK.finding(Status.UNKNOWN, unknown, subject=subject, evidence=evidence, severity=Severity.LOW)
    return CHECK.finding(
        Status.PASS, f"kernel module {module.version} and its libraries fit", subject=subject, evidence=evidence
    )


def without_libraries(context: CheckContext, module: NvidiaKernelModule) -> Finding:
    """The kernel module alone: a fail where something here is built for CUDA. Containers lack them for reasons of their own."""
    users = [w for w, _ in cuda_consumers(context) if w.name not in RUNTIMES]
    if not users or context.fact(Container) is not None or nvidia_gpu(context) is not Seen.PRESENT:
        return CHECK.skip("no libnvidia-ml and no libcuda is there")
    branch = major(module.version)
    return CHECK.finding(
        Status.FAIL,
        f"kernel module {module.version} is loaded, and the driver's libraries are not installed",
        subject=("driver:nvidia", *(w.key for w in users)),
        detail="No libcuda and no libnvidia-ml was found where drivers put them: no CUDA program finds a GPU.",
        evidence=module.evidence,
        confidence=Confidence.DERIVED,
        remedy=f"Install the driver's libraries of exactly version {module.version}, from where the module came: on Ubuntu"
        f" `libnvidia-compute-{branch}` and `nvidia-utils-{branch}`, on Debian `nvidia-driver-libs`, with the runfile the whole"
        " driver.",
    )


def works(session: NvmlSession | None) -> bool:
    """Whether an NVML session was opened: NVML itself refuses a module of another version."""
    return session is not None and not session.error and session.driver_version is not None


def differs(library: Component, module: NvidiaKernelModule) -> bool:
    """Whether this copy cannot work with the module. cuda-compat's libcuda, and any libcuda newer than the module while
    the rest fits, is forward compatibility: another question (COMPAT)."""
    if library.version is None or version_key(library.version) == version_key(module.version):
        return False
    if library.kind == "libnvidia-ml":
        return True
    return library.origin == "driver" and version_key(library.version) < version_key(module.version)


DETAIL = (
    "The driver packages were most likely updated while the old module stayed loaded. NVML and new CUDA processes fail until"
    " both are of one version again; processes that run already go on."
)
REMEDY = (
    "Reboot. Where that must wait: end every process that uses a GPU (display server and nvidia-persistenced too), then"
    " unload and load the modules nvidia_uvm, nvidia_drm, nvidia_modeset and nvidia. In a container, restart it after the"
    " host is in order. To keep it from coming back, hold the nvidia packages or leave them out of unattended upgrades."
)

CHECK = Check(
    id="NVML-MISMATCH",
    title="Kernel module and driver libraries differ",
    explanation="""\
The NVIDIA kernel module and its user-space libraries (libnvidia-ml, libcuda) must be of exactly one version. An upgrade
replaces the libraries at once and the module only at the next reboot: from then on *Failed to initialize NVML:
Driver/library version mismatch*. Installing the distribution's `nvidia-cuda-toolkit` can do the same by pulling in the
libraries of another driver.

A module without any library beside it is reported too, where something is built for CUDA.

Not meant here: `cuda-compat`, whose libcuda is newer than the module on purpose.""",
    remediation=REMEDY,
    sources=(
        "https://github.com/NVIDIA/ubuntu-packaging-nvidia-driver/issues/3",
        "https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceEnumvs.html",
        "https://github.com/XuehaiPan/nvitop/issues/41",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"Driver/library version mismatch",
            source="https://github.com/NVIDIA/ubuntu-packaging-nvidia-driver/issues/3",
        ),
        LogSignature(
            pattern=r"NVML/RM version mismatch",
            source="https://github.com/NVIDIA/ubuntu-packaging-nvidia-driver/issues/3",
        ),
        LogSignature(
            pattern=r"NVRM: API mismatch: the client has the version",
            source="https://github.com/NVIDIA/ubuntu-packaging-nvidia-driver/issues/3",
        ),
        LogSignature(
            pattern=r"kernel version [\d.]{5,14} does not match DSO version [\d.]{5,14}",
            source="https://github.com/tensorflow/tensorflow/issues/1158",
            strength=3,
        ),
        LogSignature(
            pattern=r"nvml error: driver/library version mismatch",
            source="https://github.com/NVIDIA/nvidia-container-toolkit/issues/394",
        ),
    ),
    tags=("nvidia", "driver"),
)

CHECKS = (CHECK,)
