"""K8S-DEVICE: a pod's GPUs by Kubernetes' device plug-in: what it listed for the pod against what the pod has.

Speaks only where the plug-in named devices. A pod that asked for none, or whose image merely sets NVIDIA_VISIBLE_DEVICES=all, is
no fault."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.container_runtime import ContainerGpuRequest
from infra_doctor_probes.detect.nvidia_driver import NvidiaDeviceNodes, NvidiaKernelModule
from infra_doctor_probes.detect.nvidia_state import GpuState
from infra_doctor_probes.detect.pci import PciDevice
from infra_doctor_probes.detect.system import Container


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding."""
    container = context.fact(Container)
    request = context.fact(ContainerGpuRequest)
    if container is None or container.runtime != "kubernetes" or request is None:
        yield CHECK.skip("this is no Kubernetes pod")
    elif context.fact(NvidiaKernelModule) is None and not any(d.vendor == "nvidia" for d in context.facts(PciDevice)):
        yield CHECK.skip("this pod's node shows no NVIDIA GPU")
    elif request.devices in {"", "none"}:
        yield CHECK.skip("no GPU was asked for this pod (resources: limits: nvidia.com/gpu)")
    else:
        yield judge(context, container, request)


def judge(context: CheckContext, container: Container, request: ContainerGpuRequest) -> Finding:
    """The devices that the plug-in listed, against the device files."""
    nodes = context.fact(NvidiaDeviceNodes)
    count = len(nodes.gpus) if nodes else 0
    evidence = (*request.evidence, *container.evidence, *(nodes.evidence if nodes else ()))
    if request.devices == "all" and not count:
        return CHECK.skip("NVIDIA_VISIBLE_DEVICES is `all`, as CUDA images set it, and this pod has no GPU")
    # MIG instances share the file of their GPU, and replicas of time-slicing share everything.
    shared = any(s.mig for s in context.facts(GpuState))
    if not count:
        return CHECK.finding(
            Status.FAIL,
            "Kubernetes gave this pod GPUs that did not reach it",
            subject=("accelerator:nvidia",),
            detail="The device plug-in listed devices for it, and no device file of NVIDIA is here: the container runtime of the"
            " node did not add them.",
            evidence=evidence,
            remedy="On the node make NVIDIA's runtime the one that pods use (`nvidia-ctk runtime configure --runtime=containerd"
            " --set-as-default`, then restart containerd), or name it in the pod (`runtimeClassName: nvidia`), or let the device"
            " plug-in use CDI. Then delete the pod and let it start anew.",
        )
    if request.devices == "named" and request.count and request.count > count and not shared:
        return CHECK.finding(
            Status.WARN,
            f"Kubernetes listed {request.count} GPUs for this pod, and {count} {'is' if count == 1 else 'are'} here",
            subject=("accelerator:nvidia",),
            evidence=evidence,
            remedy="Delete the pod and let it start anew; where it comes back, look at the device plug-in's log on the node: a GPU"
            " that fell out, or a list of another node.",
            severity=Severity.MEDIUM,
        )
    return CHECK.finding(
        Status.PASS, f"this pod has {count} GPU{'s' if count > 1 else ''}", subject=("driver:nvidia",), evidence=evidence,
        severity=Severity.LOW,
    )  # fmt: skip


PLUGIN = "https://github.com/NVIDIA/k8s-device-plugin"

CHECK = Check(
    id="K8S-DEVICE",
    title="A pod did not get the GPUs that Kubernetes gave it",
    explanation="""\
A pod asks for GPUs by `resources: limits: nvidia.com/gpu`. NVIDIA's device plug-in then names devices for it, in the variable
NVIDIA_VISIBLE_DEVICES or by mounts in /var/run/nvidia-container-devices, and the node's container runtime must add them. Where
the node's runtime is not NVIDIA's, the pod starts and has no GPU.

infra-doctor compares the list with the device files. It says nothing where the list holds no device (`void`, `none`, not set)
or where it is `all`, which CUDA images set themselves: a pod that asked for no GPU is in order.""",
    remediation="Make NVIDIA's runtime the one that pods use on the node, or set `runtimeClassName: nvidia`; start the pod anew.",
    sources=(PLUGIN, "https://kubernetes.io/docs/tasks/manage-gpus/scheduling-gpus/"),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(pattern=r"[Ii]nsufficient nvidia\.com/(?:gpu|mig-)", source=f"{PLUGIN}/issues/33", strength=2),
        LogSignature(pattern=r"No devices found\. Waiting indefinitely",
                     source="https://github.com/kaito-project/kaito/issues/2326", strength=2),
        LogSignature(pattern=r"Allocate failed due to requested number of devices unavailable for nvidia\.com/",
                     source="https://github.com/Project-HAMi/HAMi/issues/596", strength=3),
        LogSignature(
            pattern=r"(?:Failed to initialize NVML|start nvml with error|NVML "
            r"not detected):? {1,2}could not load NVML library",
            source="https://github.com/NVIDIA/k8s-device-plugin/issues/444",
        ),
        LogSignature(
            pattern=r"If this is a GPU node, did you (?:set the docker default "
            r"runtime to|configure the NVIDIA Container Toolkit)",
            source="https://github.com/NVIDIA/k8s-device-plugin/issues/444",
        ),
    ),
    explained_by=("CTR-CGROUP",),
    tags=("nvidia", "kubernetes", "container"),
)  # fmt: skip

CHECKS = (CHECK,)
