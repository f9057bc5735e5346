"""COMPAT: the libcuda that the loader takes is not the driver's own: cuda-compat where it cannot work, or a stub.

Compares the copy that comes first with the loaded kernel module and the GPU. Facts: NVIDIA's CUDA Compatibility guide (forward
compatibility holds on data-centre GPUs, for a user-mode driver newer than the kernel module); that an older one gives error 803
was also seen on an H200 (580.95.05 in front of 580.159.04)."""

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
    version_key,
)
from infra_doctor_probes.detect.libraries import LibraryPath
from infra_doctor_probes.detect.nvidia_driver import NvidiaKernelModule, is_compat
from infra_doctor_probes.in_target import given_none
from infra_doctor_probes.tables.common import is_wsl, nvidia_gpus
from infra_doctor_probes.tables.cuda_driver import FORWARD, data_centre


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding on the first libcuda."""
    taken = next((c for c in context.by_kind("libcuda") if c.attributes.get("first") is True), None)
    module = context.fact(NvidiaKernelModule)
    if taken is None or not (is_compat(taken.location or "") or is_stub(taken)):
        yield CHECK.skip("no cuda-compat and no stub comes first for libcuda")
    elif given_none(context):
        yield CHECK.skip("this container was given no NVIDIA GPU")
    elif is_wsl(context):
        yield CHECK.skip("under WSL any libcuda but Windows' is wrong (WSL)")
    elif is_stub(taken):
        yield stub(context, taken)
    elif module is None:
        yield CHECK.skip("no NVIDIA kernel module is loaded that cuda-compat could be compared with")
    else:
        yield judge(context, taken, module)


def is_stub(library: Component) -> bool:
    """The toolkit's stub, which is there to be linked against."""
    return "/stubs/" in (library.location or "")


def judge(context: CheckContext, taken: Component, module: NvidiaKernelModule) -> Finding:
    """cuda-compat against the kernel module and the GPU."""
    subject = (taken.key, "driver:nvidia")
    evidence: tuple[Evidence, ...] = (*taken.evidence, *module.evidence, *path_evidence(context))
    shown = f"cuda-compat {taken.version or 'of unknown version'} comes before the driver's own libcuda"
    if taken.version is None or not numbers(module.version):
        return CHECK.finding(Status.UNKNOWN, f"{shown}; whether it fits {module.version} could not be told", subject=subject,
                             evidence=evidence, severity=Severity.LOW)  # fmt: skip
    if version_key(taken.version) == version_key(module.version):
        return CHECK.finding(Status.PASS, f"{shown}, and is of its version", subject=subject, evidence=evidence,
                             severity=Severity.LOW)  # fmt: skip
    if version_key(taken.version) < version_key(module.version):
        return CHECK.finding(
            Status.FAIL,
            f"{shown} and is older than the driver {module.version}: error 803",
            subject=subject,
            detail="cuda-compat is there to run newer CUDA on an older driver. The driver here is the newer of the two, offers all"
            " that cuda-compat does, and does not work with an older libcuda.",
            evidence=evidence,
            remedy=take_away(context, taken),
            confidence=Confidence.OBSERVED,
        )
    gpus = nvidia_gpus(context)
    wrong = next((g for g in gpus if data_centre(g) is False), None)
    if wrong is not None:
        return CHECK.finding(
            Status.FAIL,
            f"{shown}, and does not work on {wrong.name}: error 804",
            subject=(*subject, wrong.key),
            detail="Forward compatibility holds on data-centre GPUs and some others, not on GeForce.",
            evidence=(*evidence, *wrong.evidence[:1]),
            remedy=f"{take_away(context, taken)} Where a program needs that newer CUDA, install driver {taken.version} or newer.",
        )
    if not gpus or any(data_centre(g) is None for g in gpus):
        which = next((g.name for g in gpus), "no GPU that was seen")
        return CHECK.finding(Status.UNKNOWN, f"{shown}; forward compatibility holds on data-centre GPUs, and {which} is not known",
                             subject=subject, evidence=evidence, severity=Severity.LOW)  # fmt: skip
    return CHECK.finding(
        Status.PASS, f"{shown}: forward compatibility, from {module.version} on {gpus[0].name}", subject=subject,
        evidence=evidence, severity=Severity.LOW, confidence=Confidence.DERIVED,
    )  # fmt: skip


def stub(context: CheckContext, taken: Component) -> Finding:
    """The stub of libcuda in front."""
    return CHECK.finding(
        Status.FAIL,
        "the loader takes the toolkit's stub of libcuda: error 34",
        subject=(taken.key,),
        detail="The stub is there to link programs on machines without a driver. It has no code.",
        evidence=(*taken.evidence, *path_evidence(context)),
        remedy=take_away(context, taken),
    )


def path_evidence(context: CheckContext) -> Iterator[Evidence]:
    """LD_LIBRARY_PATH, where it is set."""
    return (e for setting in context.facts(LibraryPath) for e in setting.evidence)


def take_away(context: CheckContext, taken: Component) -> str:
    """Which folder to take from the loader's way, and where it stands."""
    folder = (taken.location or "").rpartition("/")[0]
    by_variable = any("compat" in s.value or "stubs" in s.value for s in context.facts(LibraryPath))
    where = "LD_LIBRARY_PATH" if by_variable else "LD_LIBRARY_PATH or /etc/ld.so.conf.d (then run `ldconfig` as root)"
    return f"Take {folder} out of {where}: programs then load the driver's own libcuda."


ORT = "https://github.com/microsoft/onnxruntime/issues/21435"
COMBINATION = "https://github.com/NVIDIA/nvidia-docker/issues/1256"

CHECK = Check(
    id="COMPAT",
    title="The wrong libcuda comes first",
    explanation="""\
`cuda-compat` (the folder `compat` of a toolkit) holds a newer user-mode driver, libcuda, for an older kernel module: *forward
compatibility*. It works on data-centre GPUs (and some RTX servers), and only while it is the newer of the two.

- On GeForce: *forward compatibility was attempted on non supported HW* (804).
- Older than the driver, as after a driver update: *unsupported display driver / cuda driver combination* (803).
- A toolkit's `stubs` folder in front: *CUDA driver is a stub library* (34).

nvidia-smi works all the same. infra-doctor looks at the copy that the loader really takes: a compat folder that lies on disk, as
in NVIDIA's containers, where it is used only when needed, says nothing. Newer than the driver on a data-centre GPU is a pass.""",
    remediation="Take the compat (or stubs) folder out of LD_LIBRARY_PATH and the loader's configuration, or update the driver.",
    sources=(FORWARD, ORT, COMBINATION, "https://github.com/gpustack/gpustack/issues/1254"),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(pattern=r"forward compatibility was attempted on non.?supported HW", source=ORT, strength=3),
        LogSignature(pattern=r"unsupported display driver ?/ ?cuda driver combination", source=COMBINATION, strength=2),
        LogSignature(pattern=r"CUDA driver is a stub library",
                     source="https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html", strength=3),
    ),
    tags=("nvidia", "driver", "loader"),
)  # fmt: skip

CHECKS = (CHECK,)
