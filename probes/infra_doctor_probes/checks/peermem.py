"""PEERMEM: RDMA devices and NVIDIA GPUs are both there, and nothing lets the one reach the other's memory.

Two ways lead there, as NCCL uses them: the module nvidia-peermem (or its predecessor), or DMA-BUF, for which the kernel must be
5.12 or newer and the NVIDIA module the open one of R515 or newer."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Finding, LogSignature, Severity, Status, numbers
from infra_doctor_probes.detect.communication import GpuDirect, RdmaPort
from infra_doctor_probes.detect.nvidia_driver import NvidiaKernelModule
from infra_doctor_probes.detect.tuning_variables import TuningVariable
from infra_doctor_probes.workload import kernel_version, nvidia_gpus

DMA_BUF_KERNEL = (5, 12)
DMA_BUF_BRANCH = 515
MELLANOX = "15b3"


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding."""
    direct = context.fact(GpuDirect)
    devices = {c.key for c in context.by_kind("rdma-device") if c.attributes.get("vendor_id") == MELLANOX}
    active = sorted({p.device for p in context.facts(RdmaPort) if p.state == "ACTIVE" and p.device in devices})
    if direct is None or not nvidia_gpus(context):
        yield CHECK.skip("no NVIDIA GPU is there that a program could use")
    elif not active:
        yield CHECK.skip("no RDMA device of NVIDIA (Mellanox) has an active port")
    else:
        yield judge(context, direct, active)


def judge(context: CheckContext, direct: GpuDirect, active: list[str]) -> Finding:
    """pass by either way; unknown where the flavor of the module is not told."""
    module = context.fact(NvidiaKernelModule)
    evidence = [*direct.evidence, *(module.evidence if module else ())]
    subject = ("driver:nvidia", *active)
    copy = " GDRCopy's driver is loaded too." if direct.gdrdrv else ""
    if direct.peer_memory:
        title = "nvidia-peermem is loaded: RDMA devices reach GPU memory"
        return CHECK.finding(
            Status.PASS, title, subject=subject, detail=copy.strip(), evidence=evidence, severity=Severity.LOW
        )
    missing = without_dma_buf(context, module)
    if missing is None:
        return CHECK.finding(
            Status.UNKNOWN,
            "nvidia-peermem is not loaded, and whether DMA-BUF can replace it could not be told",
            subject=subject,
            evidence=evidence,
            severity=Severity.LOW,
        )
    if not missing:
        return CHECK.finding(
            Status.PASS,
            "RDMA devices can reach GPU memory by DMA-BUF (kernel and open module support it)",
            subject=subject,
            detail=copy.strip(),
            evidence=evidence,
            severity=Severity.LOW,
        )
    return CHECK.finding(
        Status.WARN,
        f"GPUDirect RDMA is off: nvidia-peermem is not loaded, and there is no DMA-BUF ({missing})",
        subject=subject,
        detail=DETAIL,
        evidence=evidence,
        remedy=REMEDY,
    )


def without_dma_buf(context: CheckContext, module: NvidiaKernelModule | None) -> str | None:
    """What is missing for DMA-BUF; empty where nothing is, None where it cannot be told."""
    kernel = kernel_version(context)
    if kernel is None or module is None:
        return None
    if any(v.name == "NCCL_DMABUF_ENABLE" and v.value == "0" for v in context.facts(TuningVariable)):
        return "NCCL_DMABUF_ENABLE=0"
    if kernel < DMA_BUF_KERNEL:
        return f"kernel {kernel[0]}.{kernel[1]} is older than 5.12"
    if (numbers(module.version) or (0,))[0] < DMA_BUF_BRANCH:
        return f"driver {module.version} is older than R515"
    if module.flavor is None:
        return None
    return "the proprietary kernel module has none" if module.flavor == "proprietary" else ""


DETAIL = (
    "NCCL says `GPU Direct RDMA Disabled for HCA` and copies through the memory of the CPU: traffic between nodes loses much of"
    " its bandwidth, and nothing fails."
)
REMEDY = (
    "Load the module that came with the driver: `modprobe nvidia-peermem` as root, at each boot by a file in"
    " /etc/modules-load.d. If it refuses to load (Invalid argument), MLNX_OFED was installed after the driver: reinstall the"
    " driver. With the open kernel modules of R515 or newer and Linux 5.12 or newer none is needed."
)

CHECK = Check(
    id="PEERMEM",
    title="GPUDirect RDMA not available",
    explanation="""\
With GPUDirect RDMA a network card reads and writes GPU memory itself. It needs the kernel module `nvidia-peermem`, or DMA-BUF:
Linux 5.12 or newer with the open NVIDIA kernel modules. Where neither is there NCCL goes through CPU memory and only says so at
debug level.

infra-doctor looks where NCCL looks: `/sys/module/nvidia_peermem/version` and `/sys/kernel/mm/memory_peers/`. It judges only where
an NVIDIA GPU and an active port of an NVIDIA (Mellanox) RDMA device are there. Other vendors' cards have their own ways and are
not judged; GDRCopy is optional and only mentioned.""",
    remediation=REMEDY,
    sources=(
        "https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting/gpu_troubleshooting.html",
        "https://docs.nvidia.com/datacenter/cloud-native/gpu-operator/latest/gpu-operator-rdma.html",
        "https://github.com/NVIDIA/nccl/issues/1537",
        "https://github.com/NVIDIA/nccl/issues/988",
    ),
    run=run,
    severity=Severity.MEDIUM,
    log_signatures=(
        LogSignature(
            pattern=r"NET/IB\w? ?: ?Got completion [^\n]{0,160}(?:error|status=)\s?4\b[^\n]{0,80}vendor err 81",
            source="https://github.com/NVIDIA/nccl/issues/928",
            strength=1,
        ),
        LogSignature(
            pattern=r"GPU Direct RDMA Disabled for HCA",
            source="https://github.com/NVIDIA/nccl/issues/1537",
            strength=3,
        ),
    ),
    tags=("nvidia", "rdma"),
)

CHECKS = (CHECK,)
