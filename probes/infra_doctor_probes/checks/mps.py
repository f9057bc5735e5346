"""MPS: programs are set up for NVIDIA's Multi-Process Service, and it is not there; or its pipes are there and nobody answers.

A container may reach a daemon that runs outside of it and whose process it does not see: there the socket decides."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Confidence, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.nvidia_state import GpuState
from infra_doctor_probes.detect.sharing import Mps
from infra_doctor_probes.workload import in_container, nvidia_gpus

CONTROL = "nvidia-cuda-mps-control"


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding."""
    mps = context.fact(Mps)
    if not nvidia_gpus(context):
        yield CHECK.skip("no NVIDIA GPU is there that a program could use")
    elif mps is None:
        yield CHECK.skip("nothing of MPS is set up")
    else:
        yield judge(context, mps)


def judge(context: CheckContext, mps: Mps) -> Finding:
    """By the socket and the daemon's process."""
    gpus = [g.key for g in nvidia_gpus(context)]
    named = {name for name, _ in mps.variables}
    runs = mps.daemons is not None and CONTROL in mps.daemons
    exclusive = any(s.compute_mode == "exclusive_process" for s in context.facts(GpuState))
    if "CUDA_MPS_PIPE_DIRECTORY" in named and not mps.control:
        crowded = " The GPU is in exclusive mode: without MPS a second program gets no GPU at all." if exclusive else ""
        return CHECK.finding(
            Status.WARN,
            f"CUDA_MPS_PIPE_DIRECTORY names {mps.pipes}, and no MPS daemon listens there",
            subject=gpus,
            detail="Programs run without MPS: they take turns on the GPU, and CUDA_MPS limits are not kept." + crowded,
            evidence=mps.evidence,
            severity=Severity.MEDIUM if exclusive else Severity.LOW,
            remedy=REMEDY_START,
        )
    if mps.control and not runs and mps.daemons is not None and not in_container(context):
        return CHECK.finding(
            Status.WARN,
            f"the socket of an MPS daemon lies in {mps.pipes}, and no such daemon runs",
            subject=gpus,
            detail="It is left over, or the daemon runs where this session cannot see it. Programs that cannot reach the daemon"
            " behind it end with error 805, `MPS client failed to connect to the MPS control daemon or the MPS server`.",
            evidence=mps.evidence,
            confidence=Confidence.HEURISTIC,
            severity=Severity.LOW,
            remedy=REMEDY_STALE,
        )
    state = "runs" if runs else "may run outside of what is visible here" if mps.control else "is not used"
    return CHECK.finding(
        Status.PASS,
        f"MPS {state}",
        subject=gpus,
        detail="; ".join(f"{name}={value}" for name, value in mps.variables),
        evidence=mps.evidence,
        severity=Severity.LOW,
    )


REMEDY_START = (
    "Start the daemon with the same CUDA_MPS_PIPE_DIRECTORY (`nvidia-cuda-mps-control -d`), or unset the CUDA_MPS variables. In a"
    " container, mount the daemon's folder at that path."
)
REMEDY_STALE = (
    "If no daemon should run, remove the folder. If one should, start it as the user that owns the folder"
    " (`nvidia-cuda-mps-control -d`); programs of other users need a folder of their own and CUDA_MPS_PIPE_DIRECTORY."
)

CHECK = Check(
    id="MPS",
    title="Multi-Process Service not reachable",
    explanation="""\
With MPS several programs share a GPU at the same time. A CUDA program looks for the daemon's socket in CUDA_MPS_PIPE_DIRECTORY,
`/tmp/nvidia-mps` by default. Where there is none it runs as usual, without the shares that were asked for; where a socket is there
and the daemon behind it cannot be reached it fails with error 805.

infra-doctor looks at the folder, the variables and the daemon's processes. In a container it does not judge by processes: the
daemon may run outside. Time slicing by Kubernetes' device plug-in leaves no trace in a container and is not reported.""",
    remediation=REMEDY_START + " " + REMEDY_STALE,
    sources=(
        "https://docs.nvidia.com/deploy/mps/index.html",
        "https://man.archlinux.org/man/nvidia-cuda-mps-control.1.en",
        "https://github.com/nanoporetech/dorado/issues/458",
    ),
    run=run,
    severity=Severity.LOW,
    log_signatures=(
        LogSignature(
            pattern=r"MPS client failed to connect to the MPS control daemon or the MPS server",
            source="https://github.com/nanoporetech/dorado/issues/458",
            strength=3,
        ),
        LogSignature(
            pattern=r"cudaErrorMpsConnectionFailed|CUDA_ERROR_MPS_CONNECTION_FAILED",
            source="https://github.com/NVIDIA/cuda-python/pull/458",
            strength=3,
        ),
    ),
    tags=("nvidia", "sharing"),
)

CHECKS = (CHECK,)
