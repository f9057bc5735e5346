"""Sharing a GPU: NVIDIA's Multi-Process Service (MPS), and virtual GPUs that are given time slices.

MPS is a daemon that programs reach through pipes in a folder, /tmp/nvidia-mps unless CUDA_MPS_PIPE_DIRECTORY names another
(docs.nvidia.com/deploy/mps). Time slicing by Kubernetes' device plug-in shows nowhere inside a container."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Capability,
    Evidence,
    EvidenceKind,
    Machine,
    Probe,
    ProbeContext,
    fact,
    kernel_evidence,
    record,
)

PIPES = "/tmp/nvidia-mps"  # noqa: S108  where NVIDIA's daemon itself puts them
DAEMONS = ("nvidia-cuda-mps-control", "nvidia-cuda-mps-server")
VARIABLES = (
    "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY", "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE",
    "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT", "CUDA_MPS_ENABLE_PER_CTX_DEVICE_MULTIPROCESSOR_PARTITIONING",
    "CUDA_MPS_CLIENT_PRIORITY",
)  # fmt: skip


@fact("mps", 1)
@record
class Mps:
    """What shows of MPS. `pipes` is the folder where a program looks; `control` says whether the daemon's socket lies in
    it; `daemons` are the daemon's processes that run, None where processes cannot be seen."""

    pipes: str
    pipes_exist: bool
    control: bool
    daemons: tuple[str, ...] | None
    variables: tuple[tuple[str, str], ...]
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """Mps where a variable, the folder or (with a GPU) a process of it is there."""
    machine: Machine = ctx.machine
    variables = tuple((name, machine.environ[name][:200]) for name in VARIABLES if name in machine.environ)
    named = dict(variables).get("CUDA_MPS_PIPE_DIRECTORY", "")
    pipes = named or PIPES
    exist = machine.is_dir(pipes)
    if not variables and not exist:
        return
    control = machine.exists(pipes.rstrip("/") + "/control")
    daemons = None
    if Capability.PROCESSES in machine.capabilities:
        daemons = tuple(sorted({name for _, name in machine.processes(*DAEMONS)}))
    evidence = [Evidence(kind=EvidenceKind.ENVIRONMENT, source=name, text=value) for name, value in variables]
    evidence.append(
        kernel_evidence(pipes, f"control {'exists' if control else 'is not there'}" if exist else "is not there")
    )
    if daemons is not None:
        evidence.append(kernel_evidence("/proc/*/comm", ", ".join(daemons) or "no process of MPS"))
    yield Mps(
        pipes=pipes, pipes_exist=exist, control=control, daemons=daemons, variables=variables, evidence=tuple(evidence)
    )


PROBES = (
    Probe(
        id="gpu-sharing",
        version=1,
        title="Multi-Process Service",
        run=run,
        needs=("kernel state",),
        environment=VARIABLES,
        collect=(f"{PIPES}/control", "$CUDA_MPS_PIPE_DIRECTORY/control", *(f"process:{name}" for name in DAEMONS)),
    ),
)
