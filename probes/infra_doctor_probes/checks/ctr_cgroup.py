"""CTR-CGROUP: the device files are there and the kernel's device rules forbid them: a container that lost its GPU.

In a container EPERM on /dev/nvidiactl is the sign. On a host, the settings that NVIDIA names as leading there are a warning,
and only where containers are set up to use them."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.container_runtime import ContainerRuntimes
from infra_doctor_probes.detect.device_nodes import NvidiaNodeAccess
from infra_doctor_probes.detect.nvidia_driver import NvidiaKernelModule
from infra_doctor_probes.detect.system import Container
from infra_doctor_probes.from_matrix import listed
from infra_doctor_probes.in_target import given_none


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding."""
    access = context.fact(NvidiaNodeAccess)
    container = context.fact(Container)
    if given_none(context):
        yield CHECK.skip("this container was given no NVIDIA GPU")
    elif access is not None and any(n.there for n in access.nodes):
        yield nodes(access, container) or host(context)
    elif context.fact(NvidiaKernelModule) is None or container is not None:
        yield CHECK.skip("no device file of NVIDIA is here")
    else:
        yield host(context)


def nodes(access: NvidiaNodeAccess, container: Container | None) -> Finding | None:
    """EPERM is what device rules of a control group give; missing rights of the file give EACCES. In a container the
    opposite is a pass."""
    forbidden = [n for n in access.nodes if n.error == "EPERM"]
    opened = [n for n in access.nodes if n.error == ""]
    subject = ("driver:nvidia", *(f"node:{n.path}" for n in forbidden or opened))
    if forbidden and container is not None:
        return CHECK.finding(
            Status.FAIL,
            f"this {container.runtime} container may not open {listed(n.path for n in forbidden)} any more",
            subject=subject,
            detail=DETAIL,
            evidence=(*access.evidence, *container.evidence),
            remedy=REMEDY,
        )
    if forbidden:
        return CHECK.finding(
            Status.FAIL,
            f"the device rules of this session's control group forbid {listed(n.path for n in forbidden)}",
            subject=subject,
            detail="The nodes are there and the kernel says EPERM, also where the file's mode allows it.",
            evidence=access.evidence,
            remedy="Ask the batch system for a GPU (Slurm binds a job to the GPUs that it asked for: `--gres=gpu:1`), or allow the"
            " devices in the systemd unit (`DeviceAllow=char-nvidia* rw`).",
        )
    if container is None or not opened:
        return None
    return CHECK.finding(
        Status.PASS, "this container may open NVIDIA's device files", subject=subject, evidence=access.evidence,
        severity=Severity.LOW,
    )  # fmt: skip


def host(context: CheckContext) -> Finding:
    """The two settings of a host under which its containers lose, or never get, the devices."""
    runtimes = context.fact(ContainerRuntimes)
    if runtimes is None or "nvidia" not in dict(runtimes.runtimes):
        return CHECK.skip("no Docker with NVIDIA's container runtime is set up here")
    if runtimes.no_cgroups and runtimes.docker and not runtimes.rootless:
        return CHECK.finding(
            Status.WARN,
            "NVIDIA's container runtime is told to leave the device rules alone (no-cgroups = true)",
            subject=("driver:nvidia", f"file:{runtimes.no_cgroups}"),
            detail="That is for rootless containers. Those of a Docker that runs as root then say *Failed to initialize NVML:"
            " Unknown Error*.",
            evidence=runtimes.evidence,
            remedy=f"Set `no-cgroups = false` in {runtimes.no_cgroups} and start the containers anew; rootless Podman is better"
            " served by CDI.",
            severity=Severity.MEDIUM,
        )
    if runtimes.cgroup_driver == "systemd" and runtimes.char_links is False and runtimes.mode not in {"cdi", "jit-cdi"}:
        return CHECK.finding(
            Status.WARN,
            "containers may lose their GPUs when systemd reloads its units",
            subject=("driver:nvidia", f"file:{runtimes.config}"),
            detail="Docker lets systemd manage the control groups, NVIDIA's runtime adds the devices beside it, and the links to"
            " them are missing in /dev/char: a `systemctl daemon-reload` then takes the GPUs from running containers.",
            evidence=runtimes.evidence,
            remedy="Make the links at each boot: `nvidia-ctk system create-dev-char-symlinks --create-all`; or use CDI"
            " (`--device nvidia.com/gpu=all`).",
            severity=Severity.LOW,
        )
    return CHECK.finding(
        Status.PASS, "nothing here takes the GPUs from Docker's containers", evidence=runtimes.evidence, severity=Severity.LOW,
        subject=("driver:nvidia",),
    )  # fmt: skip


DETAIL = (
    "The device files are there, and the kernel refuses them with EPERM: the container's control group does not list the devices."
    " A reload of systemd on the host (`systemctl daemon-reload`, a package update) rewrites the rules and drops what NVIDIA's"
    " runtime added. The same happens where `no-cgroups = true` is set for a Docker that runs as root, and with Kubernetes'"
    " static CPU manager."
)
REMEDY = (
    "Start the container anew: it then gets its devices back. To keep it from coming back, give the GPUs by CDI"
    " (`--device nvidia.com/gpu=all`), or name the devices (`--device /dev/nvidiactl --device /dev/nvidia0 …`), or make the"
    " links on the host with `nvidia-ctk system create-dev-char-symlinks --create-all`."
)
NOTICE = "https://github.com/NVIDIA/nvidia-container-toolkit/issues/48"
STRACE = "https://github.com/mattshma/bigdata/issues/150"

CHECK = Check(
    id="CTR-CGROUP",
    title="A container lost access to its GPUs",
    explanation="""\
*Failed to initialize NVML: Unknown Error* in a container that worked before: its control group no longer allows the devices.
NVIDIA's container runtime adds them behind the back of runc; when systemd manages the groups and reloads its units, it writes
the rules anew and drops them. They are dropped in particular where `/dev/char/195:*` does not link to the devices.

infra-doctor opens `/dev/nvidiactl` without using it: EPERM is the sign of such rules (missing rights of the file give EACCES,
which is NV-NODES). On a host it warns only where Docker is explicitly set to the systemd driver with NVIDIA's runtime and the
links are missing, or where `no-cgroups = true` is set beside a Docker that runs as root. Many sound hosts lack the links, and
with CDI they do not matter.""",
    remediation=REMEDY,
    sources=(
        NOTICE,
        "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/troubleshooting.html",
        "https://github.com/NVIDIA/nvidia-container-toolkit/issues/381",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(pattern=r"Failed to initialize NVML: Unknown Error", source=NOTICE, strength=3),
        LogSignature(pattern=r"nvml(?:Init)?[^\n]{0,30}(?:NVML_ERROR_UNKNOWN|Unknown Error \(999\))", source=NOTICE, strength=2),
        LogSignature(pattern=r"/dev/nvidia(?:ctl|-uvm|\d{1,2})[^\n]{0,40}(?:EPERM|Operation not permitted)", source=STRACE,
                     strength=3),
        LogSignature(
            pattern=r"Failed to initialize NVML: GPU access blocked by the operating system",
            source="https://github.com/microsoft/WSL/issues/9962",
        ),
    ),
    tags=("nvidia", "container"),
)  # fmt: skip

CHECKS = (CHECK,)
