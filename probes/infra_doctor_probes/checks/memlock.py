"""MEMLOCK: the limit on locked memory is too low for RDMA, or lower than the kernel itself sets it.

The limit binds what a process locks: buffers that RDMA verbs register (the kernel's ib_umem_get), mlock of model weights,
io_uring's fixed buffers. It does not bind memory that CUDA pins. A process with CAP_IPC_LOCK is exempt."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Evidence, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.communication import RdmaAccess, RdmaPort
from infra_doctor_probes.detect.system_limits import ProcessPrivileges, ResourceLimits
from infra_doctor_probes.workload import accelerators, kernel_version, size

MIB = 1 << 20
ROOMY_BYTES = 1024 * MIB
# RLIMIT_MEMLOCK of the first process, include/uapi/linux/resource.h (MLOCK_LIMIT): 8 MiB since 5.16, 64 KiB before.
KERNEL_DEFAULT_BYTES = 8 * MIB
OLD_DEFAULT_BYTES = 64 * 1024
RAISED_IN = (5, 16)


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding."""
    limits = context.fact(ResourceLimits)
    if limits is None or not limits.known("memlock"):
        yield CHECK.skip("resource limits are not visible on this form of machine")
    elif not accelerators(context):
        yield CHECK.skip("no accelerator is there")
    else:
        yield judge(context, limits)


def judge(context: CheckContext, limits: ResourceLimits) -> Finding:
    """The finding: RDMA first, then a limit that somebody lowered."""
    soft = limits.soft("memlock")
    if soft is None:
        return passed("locked memory is unlimited", limits.evidence)
    access, user = context.fact(RdmaAccess), context.fact(ProcessPrivileges)
    active = [p for p in context.facts(RdmaPort) if p.state == "ACTIVE"]
    rdma = access is not None and bool(access.verbs) and bool(active)
    exempt = user is not None and user.may("ipc_lock")
    evidence = [*limits.evidence, *(user.evidence if user else ()), *(access.evidence if access else ())]
    if rdma and not exempt and soft < ROOMY_BYTES:
        return for_rdma(soft, evidence, active)
    if soft < lowest_usual(context):
        return lowered(soft, evidence, exempt=exempt)
    if rdma and exempt:
        return passed(f"the limit on locked memory ({size(soft)}) does not bind: CAP_IPC_LOCK is held", evidence)
    where = (
        "" if rdma else "; no RDMA device is open to programs here, and CUDA's pinned memory does not count against it"
    )
    return passed(f"the limit on locked memory is {size(soft)}{where}", evidence)


def lowest_usual(context: CheckContext) -> int:
    """What the running kernel itself gives."""
    kernel = kernel_version(context)
    return KERNEL_DEFAULT_BYTES if kernel is not None and kernel >= RAISED_IN else OLD_DEFAULT_BYTES


def for_rdma(soft: int, evidence: list[Evidence], active: list[RdmaPort]) -> Finding:
    """At or below the kernel's default NCCL's first registrations fail (nccl-tests#206: 8 MiB did not suffice)."""
    too_low = soft <= KERNEL_DEFAULT_BYTES
    return CHECK.finding(
        Status.FAIL if too_low else Status.WARN,
        f"only {size(soft)} may be locked, and NCCL and MPI register their buffers with {len(active)} active RDMA ports",
        subject=("system:memlock", *sorted({p.device for p in active})),
        detail=DETAIL,
        evidence=evidence,
        severity=Severity.HIGH if too_low else Severity.MEDIUM,
        remedy=REMEDY,
    )


def lowered(soft: int, evidence: list[Evidence], *, exempt: bool) -> Finding:
    """Below what the kernel gives by itself: somebody set it so. It breaks few programs, and none that is visible here."""
    who = (
        " This process holds CAP_IPC_LOCK and is exempt; programs of other users that inherit the limit are not."
        * exempt
    )
    return CHECK.finding(
        Status.WARN,
        f"the limit on locked memory is {size(soft)}, less than the kernel's own default",
        subject=("system:memlock",),
        detail=DETAIL_LOWERED + who,
        evidence=evidence,
        severity=Severity.LOW,
        remedy=REMEDY,
    )


def passed(title: str, evidence: list[Evidence] | tuple[Evidence, ...]) -> Finding:
    """Nothing against the limit."""
    return CHECK.finding(Status.PASS, title, subject=("system:memlock",), evidence=evidence, severity=Severity.LOW)


DETAIL = (
    "Memory that an RDMA device reads or writes must be locked, and counts against RLIMIT_MEMLOCK. Beyond the limit"
    " ibv_reg_mr, ibv_create_qp and ibv_create_cq fail with `Cannot allocate memory`, however much memory is free."
)
DETAIL_LOWERED = (
    "Registering memory with an RDMA device, mlock (llama.cpp's --mlock) and io_uring's fixed buffers fail beyond the limit."
    " NVIDIA starts its containers with an unlimited one. Memory that CUDA pins does not count against it."
)
REMEDY = (
    "Raise it for the session that starts the job: `ulimit -l unlimited`, `docker run --ulimit memlock=-1 …`,"
    " `LimitMEMLOCK=infinity` in the systemd unit of the batch or container service, or the lines `* soft memlock unlimited` and"
    " `* hard memlock unlimited` in /etc/security/limits.conf, then log in again. Under Slurm set"
    " `PropagateResourceLimitsExcept=MEMLOCK`."
)

CHECK = Check(
    id="MEMLOCK",
    title="Locked-memory limit too low",
    explanation="""\
RLIMIT_MEMLOCK (`ulimit -l`) bounds the memory that a process may lock. RDMA devices need locked buffers, so with a low limit
NCCL over InfiniBand or RoCE, UCX and MPI fail with *ibv_reg_mr failed: Cannot allocate memory* while plenty of memory is free.
The kernel's default of 8 MiB (64 KiB before Linux 5.16) is too low for them.

infra-doctor looks at the limit of the shell that it was started from. It fails where that is 8 MiB or less, an RDMA port is
active and its verbs device is open to programs here; it warns up to 1 GiB. Where no RDMA device can be used it warns, with low
severity, only of a limit below the kernel's own default: somebody lowered it. Processes with CAP_IPC_LOCK (root outside of
containers) are exempt. Memory pinned by CUDA (cudaHostAlloc, `pin_memory`) is not bound by this limit and is no reason to
raise it.""",
    remediation=REMEDY,
    sources=(
        "https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting/networking_troubleshooting.html",
        "https://github.com/NVIDIA/nccl-tests/issues/206",
        "https://github.com/openucx/ucx/issues/8229",
        "https://man7.org/linux/man-pages/man2/getrlimit.2.html",
        "https://github.com/torvalds/linux/blob/v5.16/include/uapi/linux/resource.h",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"ibv_(?:reg_mr|reg_mr_iova2|create_qp|create_cq)[^\n]{0,40} failed[^\n]{0,40}Cannot allocate memory",
            source="https://github.com/NVIDIA/nccl-tests/issues/206",
            strength=3,
        ),
        LogSignature(
            pattern=r"NCCL WARN Call to ibv_(?:create_qp|reg_mr) failed",
            source="https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting/networking_troubleshooting.html",
        ),
        LogSignature(
            pattern=r"failed to mlock[^\n]{0,90}Cannot allocate memory",
            source="https://github.com/abetlen/llama-cpp-python/issues/708",
            strength=3,
        ),
        LogSignature(
            pattern=r"Try increasing RLIMIT_MEM?LOCK",
            source="https://github.com/utilityai/llama-cpp-rs/issues/663",
            strength=3,
        ),
        LogSignature(
            pattern=r"NCCL WARN Call to ibv_(?:create_cq|reg_mr(?:_iova2)?) failed(?! with error (?!Cannot allocate))",
            source="https://github.com/NVIDIA/nccl/issues/380",
        ),
    ),
    tags=("system", "rdma"),
)

CHECKS = (CHECK,)
