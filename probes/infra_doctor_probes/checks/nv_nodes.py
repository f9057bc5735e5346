"""NV-NODES: NVIDIA's libraries cannot reach /dev/nvidiactl or a GPU's own node: missing, another device, or not permitted.

Rests on the nodes as they were before any library ran, on who makes an absent one, and on what the NVML session gave: a GPU
that answered is reachable for the user who asked."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Command, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.device_nodes import CONTROL, UVM, DeviceNode, NvidiaNodeAccess
from infra_doctor_probes.detect.nvidia_gpu import NvmlSession
from infra_doctor_probes.detect.system import Container
from infra_doctor_probes.from_matrix import listed
from infra_doctor_probes.in_target import given_none
from infra_doctor_probes.tables.common import is_wsl, nvidia_gpus


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding on all nodes but UVM's."""
    access = context.fact(NvidiaNodeAccess)
    if given_none(context):
        yield CHECK.skip("this container was given no NVIDIA GPU")
    elif access is None or is_wsl(context):
        yield CHECK.skip("no NVIDIA kernel module serves a GPU here")
    elif context.fact(Container) is not None and not any(n.there for n in access.nodes):
        yield CHECK.skip("the container was given no device file of NVIDIA (CTR-TOOLKIT)")
    else:
        yield judge(context, access)


def judge(context: CheckContext, access: NvidiaNodeAccess) -> Finding:
    """What is wrong with the nodes, the certain things first."""
    container = context.fact(Container)
    gpus = [n for n in access.nodes if n.path not in {CONTROL, UVM}]
    expected = [n for n in access.nodes if n.path == CONTROL]
    # A container may have been given some of its host's GPUs; the others' nodes are absent by intent.
    expected += [n for n in gpus if n.there or container is None or not any(g.there for g in gpus)]
    wrong = [n for n in expected if n.wrong]
    closed = [
        n for n in access.nodes if n.error == "EACCES" or (n.path == CONTROL and n.error not in {None, "", "EPERM"})
    ]
    missing = [n for n in expected if not n.there]
    if wrong:
        return bad(access, wrong, f"{wrong[0].path} is {wrong[0].wrong}", REPLACE)
    if missing and not all_answer(context):
        names = listed(n.path for n in missing)
        return bad(
            access, missing, f"{names} {'is' if len(missing) == 1 else 'are'} missing", remedy(container is not None)
        )
    if closed:
        return not_permitted(access, closed)
    subject = ("driver:nvidia", *(f"node:{n.path}" for n in expected))
    if not missing or access.maker == "nvidia-modprobe":
        made = "; nvidia-modprobe makes them on first use" if missing else ""
        return CHECK.finding(
            Status.PASS, f"NVIDIA's device files are reachable{made}", subject=subject, evidence=access.evidence,
            severity=Severity.LOW,
        )  # fmt: skip
    return CHECK.finding(
        Status.WARN,
        f"{listed(n.path for n in missing)} was missing: only root's programs can make it",
        subject=("driver:nvidia", *(f"node:{n.path}" for n in missing)),
        detail="The driver's library made it when this check asked as root. Programs of other users find no GPU until then.",
        evidence=access.evidence,
        remedy=REMEDY,
        commands=COMMANDS,
        severity=Severity.MEDIUM,
    )


def all_answer(context: CheckContext) -> bool:
    """Whether NVML answered for every GPU: then its library reached, or made, the nodes."""
    session = context.fact(NvmlSession)
    gpus = nvidia_gpus(context)
    return bool(session and not session.error and gpus and all(g.attributes.get("seen_by") == "nvml" for g in gpus))


def bad(access: NvidiaNodeAccess, nodes: list[DeviceNode], state: str, how: str) -> Finding:
    """Nodes that no program can use."""
    effect = "no program reaches the driver" if any(n.path == CONTROL for n in nodes) else "its GPU is invisible"
    return CHECK.finding(
        Status.FAIL, f"{state}: {effect}", subject=("driver:nvidia", *(f"node:{n.path}" for n in nodes)), detail=DETAIL,
        evidence=access.evidence, remedy=how, commands=COMMANDS if how == REMEDY else (),
    )  # fmt: skip


def not_permitted(access: NvidiaNodeAccess, closed: list[DeviceNode]) -> Finding:
    """Nodes that are right and do not open for this user."""
    first = closed[0]
    if first.error == "EACCES":
        everybody = int(first.mode or "0", 8) & 0o006 == 0o006
        how = NODEV if everybody else RIGHTS
        title = f"{first.path} may not be opened by this user (mode {first.mode})"
        if everybody:
            title = f"{first.path} may not be opened, though its mode {first.mode} allows it"
    else:
        title, how = f"{first.path} does not open: {first.error}", REMEDY
    return CHECK.finding(
        Status.FAIL, title, subject=("driver:nvidia", *(f"node:{n.path}" for n in closed)), detail=DETAIL,
        evidence=access.evidence, remedy=how, commands=COMMANDS if how == REMEDY else (),
    )  # fmt: skip


def remedy(in_container: bool) -> str:
    """Where the node has to come from."""
    return IN_CONTAINER if in_container else REMEDY


DETAIL = (
    "Without /dev/nvidiactl nvidia-smi says that it could not communicate with the driver; without a GPU's node it says that no"
    " devices were found; CUDA gives error 100, *no CUDA-capable device is detected*."
)
REMEDY = (
    "Make the nodes with `nvidia-modprobe -c 0` as root (`-c 1` for the second GPU, and so on), and install the package"
    " nvidia-modprobe, whose setuid program makes them for every user from then on."
)
IN_CONTAINER = (
    "Start the container by the NVIDIA container runtime or CDI (`--gpus all`, `--device nvidia.com/gpu=all`) instead of naming"
    " device files by hand. Where one is named by hand, /dev/nvidiactl and /dev/nvidia-uvm belong to it."
)
REPLACE = (
    "Remove what lies in its place and let the driver make the node anew: `nvidia-modprobe -c 0` as root; in a container, start"
    " it anew."
)
RIGHTS = (
    "Add the user to the group that the node belongs to (often `video` or `render`), or let everybody use it: that is the"
    " driver's default, changed by the module parameters NVreg_DeviceFileMode, NVreg_DeviceFileGID and"
    " NVreg_ModifyDeviceFiles in modprobe.d."
)
NODEV = (
    "The file system that holds the node is mounted `nodev`, or a security module forbids it: look at `findmnt -T /dev` and at"
    " the audit log."
)
COMMANDS = (Command(argv=("nvidia-modprobe", "-c", "0"), needs_root=True),)

CHECK = Check(
    id="NV-NODES",
    title="NVIDIA's device files cannot be used",
    explanation="""\
NVIDIA's libraries talk to the kernel module by `/dev/nvidiactl` and one `/dev/nvidiaN` per GPU. Where one is missing, is
another device, or may not be opened, nvidia-smi says *couldn't communicate with the NVIDIA driver*, *No devices were found* or
*Insufficient Permissions*, and CUDA *no CUDA-capable device is detected* (100), though the module is loaded.

An absent node is made on first use: for everybody where nvidia-modprobe is installed setuid root, else only for root. So it is
a failure where NVML did not answer for every GPU, a warning where only root can make it, and nothing else. In a container the
nodes of GPUs that it was not given are absent by intent. EPERM, the sign of a container's device rules, is CTR-CGROUP.""",
    remediation=REMEDY,
    sources=(
        "https://github.com/NVIDIA/nvidia-modprobe",
        "https://download.nvidia.com/XFree86/Linux-x86_64/580.95.05/README/faq.html",
        "https://github.com/NVIDIA/nvidia-docker/issues/1608",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"GPU access blocked by the operating system",
            source="https://github.com/Kaixhin/dockerfiles/issues/1",
            strength=1,
        ),
        LogSignature(pattern=r"Failed to initialize NVML: Insufficient Permissions",
                     source="https://github.com/NVIDIA/nvidia-docker/issues/1608", strength=3),
        LogSignature(pattern=r"open\(\"/dev/nvidia(?:ctl|\d{1,2})\"[^\n]{0,60}(?:ENOENT|EACCES)",
                     source="https://github.com/mattshma/bigdata/issues/150", strength=3),
        LogSignature(pattern=r"No devices (?:were )?found",
                     source="https://github.com/NVIDIA/open-gpu-kernel-modules/issues/872", strength=1),
    ),
    explained_by=("NOUVEAU", "OPEN-KM"),
    tags=("nvidia", "driver", "container"),
)  # fmt: skip

CHECKS = (CHECK,)
