"""SHM: /dev/shm is absent, not writable, full or too small for what GPU programs keep in it.

A `fail` needs an accelerator and a state in which the first allocations cannot succeed; small is a warning."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.system_limits import SHM, ProcessPrivileges, SharedMemory
from infra_doctor_probes.workload import accelerators, in_container, parallel_frameworks, size

MIB = 1 << 20
# NCCL's own segments are 9,637,888 bytes each in published logs (nccl#290, #342, #525); less than two of them is too little.
NEEDED_BYTES = 16 * MIB
DOCKER_DEFAULT_BYTES = 64 * MIB
ADVISED_BYTES = 512 * MIB  # DeepSpeed's ds_report warns below


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding."""
    shm = context.fact(SharedMemory)
    devices = accelerators(context)
    if shm is None:
        yield CHECK.skip(f"{SHM} is not visible on this form of machine")
    elif not devices:
        yield CHECK.skip("no accelerator is there")
    else:
        yield judge(context, shm, len(devices))


def judge(context: CheckContext, shm: SharedMemory, count: int) -> Finding:
    """The finding, worst first."""
    broken = broken_because(context, shm)
    remedy = REMEDY_CONTAINER if in_container(context) else REMEDY_HOST
    if broken:
        return CHECK.finding(Status.FAIL, broken, subject=SUBJECT, detail=DETAIL, evidence=shm.evidence, remedy=remedy)
    if shm.total_bytes is None or shm.free_bytes is None:
        return CHECK.finding(
            Status.UNKNOWN, f"the size of {SHM} could not be asked", subject=SUBJECT, evidence=shm.evidence,
            severity=Severity.LOW,
        )  # fmt: skip
    sizes = f"{SHM} is {size(shm.total_bytes)}, {size(shm.free_bytes)} of it free"
    if shm.total_bytes < ADVISED_BYTES or shm.free_bytes < DOCKER_DEFAULT_BYTES:
        wanted = count > 1 or bool(parallel_frameworks(context))
        small = "docker's default, " if shm.total_bytes == DOCKER_DEFAULT_BYTES else ""
        return CHECK.finding(
            Status.WARN,
            f"{sizes}: {small}little for several GPUs or loader processes",
            subject=SUBJECT,
            detail=DETAIL,
            evidence=shm.evidence,
            severity=Severity.MEDIUM if wanted else Severity.LOW,
            remedy=remedy,
        )
    return CHECK.finding(Status.PASS, sizes, subject=SUBJECT, evidence=shm.evidence, severity=Severity.LOW)


def broken_because(context: CheckContext, shm: SharedMemory) -> str:
    """Why nothing can be allocated in it; empty where it can."""
    if not shm.exists:
        return f"{SHM} is not there: shared memory cannot be made"
    if shm.read_only:
        return f"{SHM} is mounted read-only: shared memory cannot be made"
    user = context.fact(ProcessPrivileges)
    if user is not None and shm.mode is not None and not may_write(user.uid, shm):
        return f"{SHM} has mode {shm.mode:o}: user {user.uid} may not write to it"
    if shm.free_bytes is not None and shm.total_bytes is not None and shm.free_bytes < NEEDED_BYTES:
        if shm.total_bytes < NEEDED_BYTES:
            return f"{SHM} is only {size(shm.total_bytes)}: no segment of NCCL or of a loader process fits"
        return f"{SHM} is full: {size(shm.free_bytes)} of {size(shm.total_bytes)} are free"
    return ""


def may_write(uid: int, shm: SharedMemory) -> bool:
    """By the folder's mode; a group's right may help, so it counts as one."""
    mode = shm.mode or 0
    return uid == 0 or bool(mode & 0o022) or (uid == shm.owner and bool(mode & 0o200))


SUBJECT = (f"system:{SHM}",)
DETAIL = (
    "NCCL, the worker processes of PyTorch's DataLoader and the tensor-parallel workers of serving stacks keep their buffers in"
    " /dev/shm. What does not fit ends in `No space left on device` or in a bus error."
)
REMEDY_CONTAINER = (
    "Start the container with more: `docker run --shm-size=1g …` (8g for large loaders), or with `--ipc=host`. In Kubernetes"
    " mount an emptyDir with `medium: Memory` at /dev/shm. If it is full, remove stale files of ended programs"
    " (/dev/shm/nccl-*, /dev/shm/torch_*) first."
)
REMEDY_HOST = (
    "If it is full, remove stale files of ended programs (/dev/shm/nccl-*, /dev/shm/torch_*). If it is small or missing, mount a"
    " tmpfs of half the memory there, as most distributions do: `mount -o remount,size=50% /dev/shm` as root."
)

CHECK = Check(
    id="SHM",
    title="Shared memory too small",
    explanation="""\
Processes on one machine share buffers through files in `/dev/shm`. NCCL allocates segments of about 9 MiB per connection when
it cannot use peer-to-peer access, PyTorch's DataLoader passes every batch through it, and serving stacks use it between their
workers. A container gets 64 MiB by default, which two GPUs just survive and four do not. Where it runs out NCCL fails with
`failed to extend /dev/shm/nccl-…` or `posix_fallocate failed: No space left on device`, and a DataLoader worker dies by a bus
error without another word.

infra-doctor asks the file system at `/dev/shm` for its size and free space. It fails where less than 16 MiB is free, where the
folder is missing, read-only or not writable for this user; it warns below 512 MiB, the bound of DeepSpeed's own report. It says
nothing where no accelerator is there, and nothing under another root, whose mounts are not visible.""",
    remediation=REMEDY_CONTAINER + " On a host: " + REMEDY_HOST,
    sources=(
        "https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting/runtime_and_mpi_issues.html",
        "https://github.com/NVIDIA/nccl/issues/525",
        "https://github.com/deepspeedai/DeepSpeed/pull/4015",
        "https://github.com/pytorch/pytorch/issues/5040",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"Error while attaching to shared memory segment (?:/dev/shm/)?nccl-",
            source="https://github.com/vllm-project/vllm/issues/18831",
            strength=2,
        ),
        LogSignature(
            pattern=r"failed to extend /dev/shm/nccl-",
            source="https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting/runtime_and_mpi_issues.html",
            strength=3,
        ),
        LogSignature(
            pattern=r"Error while creating shared memory segment (?:/dev/shm/)?nccl-",
            source="https://github.com/NVIDIA/nccl/issues/525",
            strength=3,
        ),
        LogSignature(
            pattern=r"Call to posix_fallocate failed ?: No space left on device",
            source="https://github.com/NVIDIA/nccl/issues/290",
            strength=3,
        ),
        LogSignature(
            pattern=r"Call to shm_open failed ?: (?:Permission denied|No space left on device|No such file or directory)",
            source="https://github.com/NVIDIA/nccl/issues/328",
            strength=3,
        ),
        LogSignature(
            pattern=r"dataloader's workers are out of shared memory",
            source="https://github.com/pytorch/pytorch/issues/108861",
            strength=3,
        ),
        LogSignature(
            pattern=r"insufficient shared memory \(shm\)",
            source="https://github.com/pytorch/pytorch/issues/5040",
            strength=3,
        ),
        LogSignature(
            pattern=r"file </torch_[^\n>]{1,80}>: No space left on device",
            source="https://github.com/logicalclocks/hopsworks/issues/1557",
            strength=3,
        ),
        LogSignature(
            pattern=r"DataLoader worker \(pid[^\n]{1,40}\) is killed by signal: Bus error",
            source="https://github.com/pytorch/pytorch/issues/5040",
        ),
    ),
    tags=("system", "nccl"),
)

CHECKS = (CHECK,)
