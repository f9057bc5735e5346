"""UVM: CUDA cannot reach the device of unified memory, /dev/nvidia-uvm: every CUDA program ends with error 999.

Rests on the node (there, the right device, opens) and on who would make it on first use."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Command, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.device_nodes import UVM, DeviceNode, NvidiaNodeAccess
from infra_doctor_probes.detect.nvidia_driver import NvidiaKernelModule
from infra_doctor_probes.detect.system import Container
from infra_doctor_probes.in_target import Seen, given_none, no_gpu, nvidia_gpu
from infra_doctor_probes.tables.common import RUNTIMES, cuda_consumers, is_wsl

OF_OTHERS = {"EPERM": "CTR-CGROUP", "EACCES": "NV-NODES"}


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding."""
    access = context.fact(NvidiaNodeAccess)
    module = context.fact(NvidiaKernelModule)
    node = access.node(UVM) if access is not None else None
    if given_none(context):
        yield CHECK.skip("this container was given no NVIDIA GPU")
    elif is_wsl(context) or any("tegra" in str(c.attributes.get("kernel")) for c in context.by_kind("os")):
        yield CHECK.skip("WSL and Jetson have no nvidia-uvm")
    elif access is None or module is None or node is None:
        yield CHECK.skip("no NVIDIA kernel module is loaded for a GPU of this machine")
    elif nvidia_gpu(context) is not Seen.PRESENT:
        yield CHECK.skip(no_gpu(context))
    elif not any(c.origin != "cuda-compat" for c in context.by_kind("libcuda")):
        yield CHECK.skip("no libcuda is there: nothing here can use CUDA")
    else:
        yield judge(context, access, module, node)


def judge(context: CheckContext, access: NvidiaNodeAccess, module: NvidiaKernelModule, node: DeviceNode) -> Finding:
    """The finding on the node."""
    container = context.fact(Container)
    bound = container is not None and not access.may_reach_all
    subject = ("driver:nvidia", f"node:{UVM}")
    evidence = (*access.evidence, *module.evidence)
    if node.error in OF_OTHERS:
        return CHECK.skip(f"{UVM} is there and may not be opened ({OF_OTHERS[node.error]})")
    if node.there and not node.wrong and not node.error:
        said = "opens" if node.error == "" else "is there"
        return CHECK.finding(Status.PASS, f"{UVM} {said}", subject=subject, evidence=evidence, severity=Severity.LOW)
    if node.wrong:
        state = f"{UVM} is {node.wrong}"
    elif node.there:
        state = f"{UVM} does not open ({node.error})"
    else:
        state = f"{UVM} is missing"
    if node.wrong or bound or not access.maker:
        return CHECK.finding(
            Status.FAIL, f"{state}: every CUDA program fails", subject=subject, detail=DETAIL + loaded(module),
            evidence=evidence, remedy=IN_CONTAINER if container is not None else REMEDY,
            commands=() if container is not None else COMMANDS,
        )  # fmt: skip
    if access.maker == "nvidia-modprobe":
        return CHECK.finding(
            Status.PASS, f"{state}, and nvidia-modprobe makes it when the first CUDA program starts", subject=subject,
            evidence=evidence, severity=Severity.LOW,
        )  # fmt: skip
    if not any(w.name not in RUNTIMES for w, _ in cuda_consumers(context)):
        return CHECK.skip(f"{state}; root's CUDA programs make it, and nothing here is built for CUDA")
    return CHECK.finding(
        Status.WARN, f"{state}, and only root's CUDA programs can make it", subject=subject,
        detail=f"CUDA programs of other users fail with error 999 until a program of root has used CUDA.{loaded(module)}",
        evidence=evidence, remedy=REMEDY, commands=COMMANDS, severity=Severity.MEDIUM,
    )  # fmt: skip


def loaded(module: NvidiaKernelModule) -> str:
    """Whether the module behind the node is loaded."""
    return " The module nvidia_uvm is loaded." if module.uvm_loaded else " The module nvidia_uvm is not loaded."


DETAIL = "nvidia-smi works without it, CUDA does not: cuInit gives error 999, *CUDA unknown error*."
REMEDY = (
    "Load the module and make the node with `nvidia-modprobe -c 0 -u` as root (or start nvidia-persistenced and a CUDA program as"
    " root at boot). Where it failed after the machine slept, unload and load nvidia_uvm."
)
IN_CONTAINER = (
    "Start the container by the NVIDIA container runtime or CDI (`--gpus all`, `--device nvidia.com/gpu=all`), which give it the"
    " node; or add `--device /dev/nvidia-uvm --device /dev/nvidia-uvm-tools`. On the host the node must be there first:"
    " `nvidia-modprobe -c 0 -u`."
)
COMMANDS = (Command(argv=("nvidia-modprobe", "-c", "0", "-u"), needs_root=True),)
TORCH_ISSUE = "https://github.com/pytorch/pytorch/issues/49081"

CHECK = Check(
    id="UVM",
    title="CUDA cannot reach /dev/nvidia-uvm",
    explanation="""\
CUDA needs the device of unified memory, `/dev/nvidia-uvm`, of the module nvidia_uvm. nvidia-smi does not, so it works while
every CUDA program ends with *CUDA unknown error* (999). A container that was given GPU nodes by hand often lacks it; after
suspend the module may have to be loaded again.

On a freshly started machine the node is often absent and that is no fault: the first CUDA program makes it, by the setuid
program nvidia-modprobe, or by itself as root. infra-doctor looks whether either can happen here, whether the node is the right
device (its major number stands in /proc/devices), and whether it opens. WSL and Jetson have no such node.""",
    remediation=REMEDY,
    sources=(
        TORCH_ISSUE,
        "https://github.com/NVIDIA/nvidia-modprobe",
        "https://github.com/ollama/ollama/issues/1895",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"(?:cuda runtime error \(30\)|error=30) : unknown error",
            source="https://github.com/torch/cutorch/issues/798",
            strength=2,
        ),
        LogSignature(pattern=r"Could not load UVM kernel module", source="https://github.com/NVIDIA/nvidia-docker/issues/423",
                     strength=3),
        LogSignature(pattern=r"/dev/nvidia-uvm[\w-]{0,8}'?[: ][^\n]{0,40}(?:No such file|does not exist|missing)",
                     source=TORCH_ISSUE, strength=3),
        LogSignature(pattern=r"CUDA unknown error - this may be due to an incorrectly set up environment",
                     source=TORCH_ISSUE, strength=2),
        LogSignature(pattern=r"cuInit[^\n]{0,40}(?:CUDA_ERROR_UNKNOWN|\b999\b)",
                     source="https://github.com/tensorflow/tensorflow/issues/394", strength=2),
    ),
    explained_by=("NV-NODES", "CTR-TOOLKIT", "CTR-CGROUP"),
    tags=("nvidia", "driver", "container"),
)  # fmt: skip

CHECKS = (CHECK,)
