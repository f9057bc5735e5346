"""PROF-PERM: a profiler is installed and this user may not read what it needs.

Only people who profile are concerned: without a profiler the check does not apply, and root is not concerned."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.profilers import ProfilingPermissions
from infra_doctor_probes.detect.system_limits import ProcessPrivileges
from infra_doctor_probes.workload import accelerators, in_container, nvidia_gpus

GPU_TOOLS = ("ncu", "nsys")
CPU_TOOLS = ("perf", "nsys")
# Documentation/admin-guide/sysctl/kernel.rst: above 2 (a patch of Debian and Ubuntu) users may not open events at all.
USER_EVENTS = 2


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding for the GPU's counters, one for the CPU's, where a profiler for them is there."""
    permissions, user = context.fact(ProfilingPermissions), context.fact(ProcessPrivileges)
    tools = {c.name for c in context.by_kind("profiler")}
    gpu_tools = sorted(tools & set(GPU_TOOLS)) if nvidia_gpus(context) else []
    cpu_tools = sorted(tools & set(CPU_TOOLS))
    if not accelerators(context):
        yield CHECK.skip("no accelerator is there")
        return
    if permissions is None or not (gpu_tools or cpu_tools):
        yield CHECK.skip("no profiler of GPU or CPU counters is installed")
        return
    if user is None:
        yield CHECK.skip("who would profile is not visible on this form of machine")
        return
    found = [*gpu_counters(context, permissions, user, gpu_tools), *cpu_events(permissions, user, cpu_tools)]
    yield from found
    if not found:
        yield CHECK.finding(
            Status.PASS,
            f"{', '.join(sorted({*gpu_tools, *cpu_tools}))} may read the counters",
            subject=subject(context, gpu_tools or cpu_tools),
            detail=held(permissions),
            evidence=(*permissions.evidence, *user.evidence),
            severity=Severity.LOW,
        )


def gpu_counters(
    context: CheckContext, permissions: ProfilingPermissions, user: ProcessPrivileges, tools: list[str]
) -> Iterator[Finding]:
    """RmProfilingAdminOnly: 1 wants CAP_SYS_ADMIN (root outside of containers)."""
    if "ncu" not in tools or permissions.admin_only is not True or user.may("sys_admin"):
        return
    inside = in_container(context)
    yield CHECK.finding(
        Status.WARN,
        f"user {user.uid} may not read the GPU's performance counters: ncu will stop with ERR_NVGPUCTRPERM",
        subject=subject(context, tools),
        detail="The driver lets administrators alone read them (RmProfilingAdminOnly: 1). nsys traces kernels all the same,"
        " without its GPU metrics."
        + (" root in a container is no administrator without CAP_SYS_ADMIN." if inside else ""),
        evidence=(*permissions.evidence, *user.evidence),
        remedy=REMEDY_CONTAINER if inside else REMEDY_HOST,
    )


def cpu_events(permissions: ProfilingPermissions, user: ProcessPrivileges, tools: list[str]) -> Iterator[Finding]:
    """perf_event_paranoid above 2 forbids events to users without CAP_PERFMON (or CAP_SYS_ADMIN)."""
    level = permissions.perf_event_paranoid
    if not tools or level is None or level <= USER_EVENTS or user.may("perfmon") or user.may("sys_admin"):
        return
    yield CHECK.finding(
        Status.WARN,
        f"kernel.perf_event_paranoid is {level}: {' and '.join(tools)} cannot sample the CPU for user {user.uid}",
        subject=("system:perf_event_paranoid",),
        detail="GPU traces are not concerned.",
        evidence=(*permissions.evidence, *user.evidence),
        severity=Severity.LOW,
        remedy="As root: `sysctl kernel.perf_event_paranoid=2` (1 to see the kernel's own work too), and a line in /etc/sysctl.d to"
        " keep it. In a container it is the host's setting.",
    )


def held(permissions: ProfilingPermissions) -> str:
    """Other programs that may be on the counters: only one can be."""
    others = [name for name in permissions.holders if name in {"nv-hostengine", "dcgm-exporter"}]
    if not others:
        return ""
    return (
        f"{' and '.join(others)} runs: while it collects profiling metrics, pause it for ncu (`dcgmi profile --pause`)."
    )


def subject(context: CheckContext, tools: list[str]) -> list[str]:
    """The profilers that are meant."""
    return [c.key for c in context.by_kind("profiler") if c.name in tools]


REMEDY_CONTAINER = (
    "Start the container with `--cap-add=SYS_ADMIN`, or have the host's administrator open the counters to all users: the line"
    " `options nvidia NVreg_RestrictProfilingToAdminUsers=0` in a file of /etc/modprobe.d, then reload the module or reboot."
)
REMEDY_HOST = (
    "Run ncu as root (give its full path: sudo has another PATH), or let the administrator open the counters to all users: the"
    " line `options nvidia NVreg_RestrictProfilingToAdminUsers=0` in a file of /etc/modprobe.d, then reload the module or reboot."
)

CHECK = Check(
    id="PROF-PERM",
    title="Profiler may not read the counters",
    explanation="""\
Performance counters tell of other users' work, so the NVIDIA driver gives them to administrators alone unless it is told
otherwise, and the kernel restricts CPU events in the same way. Nsight Compute then stops with ERR_NVGPUCTRPERM; Nsight Systems
traces kernels and leaves out its GPU metrics or its CPU samples.

infra-doctor compares RmProfilingAdminOnly in `/proc/driver/nvidia/params` and `kernel.perf_event_paranoid` with the privileges of
the user that it runs as, and only where a profiler is installed. A running DCGM (nv-hostengine, dcgm-exporter) is mentioned: it may
hold the counters. root on the host is not concerned.""",
    remediation=REMEDY_HOST,
    sources=(
        "https://developer.nvidia.com/ERR_NVGPUCTRPERM",
        "https://developer.nvidia.com/CUPTI_ERROR_INSUFFICIENT_PRIVILEGES",
        "https://docs.kernel.org/admin-guide/sysctl/kernel.html",
        "https://docs.nvidia.com/datacenter/dcgm/latest/reference/command-line-reference/dcgmi/dcgmi-profile.html",
    ),
    run=run,
    severity=Severity.LOW,
    log_signatures=(
        LogSignature(
            pattern=r"ERR_NVGPUCTRPERM",
            source="https://github.com/deepseek-ai/DeepGEMM/issues/46",
            strength=3,
        ),
        LogSignature(
            pattern=r"CUPTI_ERROR_INSUFFICIENT_PRIVILEGES",
            source="https://github.com/geoffxy/habitat/issues/5",
            strength=3,
        ),
        LogSignature(
            pattern=r"try to adjust /proc/sys/kernel/perf_event_paranoid|perf_event_paranoid value too high",
            source="https://github.com/JuliaPerf/LinuxPerf.jl/pull/40",
            strength=3,
        ),
    ),
    tags=("nvidia", "profiling"),
)

CHECKS = (CHECK,)
