"""The probes of Intel's GPUs, NPUs and OpenCL: what makes each of them do anything, and what the collector takes for them.

Without a separate Intel device, a framework built for one, or OpenCL's folder they ask for a folder and load nothing."""

from collections.abc import Iterable

from infra_doctor.plugin import CheckContext, Probe, ProbeContext
from infra_doctor_probes.detect.pci import PciDevice

ICD_FOLDER = "/etc/OpenCL/vendors"
OPENCL_WHEELS = ("openvino", "pyopencl")


def wants_gpu(ctx: ProbeContext | CheckContext) -> bool:
    """Whether a PyTorch for Intel GPUs is installed. OpenVINO is no wish for a GPU: it runs on the processor as well."""
    return any(w.name == "torch" and w.attributes.get("build") == "xpu" for w in ctx.by_kind("wheel"))


def gpus(ctx: ProbeContext) -> Iterable[object]:
    """Separate GPUs and NPUs; those of a processor where PyTorch wants them."""
    devices = [d for d in ctx.facts(PciDevice) if d.vendor == "intel"]
    if any(d.accelerator for d in devices) or (devices and wants_gpu(ctx)):
        from infra_doctor_probes.intel.gpus import run

        return run(ctx)
    return ()


def level_zero(ctx: ProbeContext) -> Iterable[object]:
    """Level Zero, where PyTorch for Intel GPUs is installed."""
    if wants_gpu(ctx):
        from infra_doctor_probes.intel.level_zero import run

        return run(ctx)
    return ()


def opencl(ctx: ProbeContext) -> Iterable[object]:
    """OpenCL's loader and run times."""
    if any(w.name in OPENCL_WHEELS for w in ctx.by_kind("wheel")) or ctx.machine.names(ICD_FOLDER):
        from infra_doctor_probes.intel.opencl import run

        return run(ctx)
    return ()


PROBES = (
    Probe(
        id="intel-gpu",
        version=1,
        title="Intel GPUs and NPUs by PCI, the kernel drivers and xpu-smi",
        run=gpus,
        needs=("kernel state",),
        after=("system", "pci", "python.wheels"),
        collect=("/dev/dri", "opens:/dev/dri/renderD*", "/sys/class/drm/renderD*/device", "/sys/module/i915/version",
                 "/sys/module/xe/version", "/sys/module/intel_vpu/version"),
        devices=True,
        explained_by=("INTEL-GPU",),
        timeout_s=30.0,
    ),
    Probe(
        id="level-zero",
        version=1,
        title="Level Zero as PyTorch for Intel GPUs finds it",
        run=level_zero,
        after=("python.wheels",),
        environment=("ZE_ENABLE_ALT_DRIVERS",),
        collect=("site:torch/lib/libtorch_xpu.so", "site:torch/lib/libc10_xpu.so", "/usr/lib/*/libze_*.so.1",
                 "/usr/lib64/libze_*.so.1"),
    ),
    Probe(
        id="opencl",
        version=1,
        title="OpenCL: the loader and its run times",
        run=opencl,
        after=("python.wheels",),
        environment=("OCL_ICD_VENDORS", "OPENCL_VENDOR_PATH"),
        collect=(f"{ICD_FOLDER}/*.icd", "site:openvino/libs/libopenvino_intel_gpu_plugin.so", "/usr/lib/*/libOpenCL.so.1",
                 "/usr/lib64/libOpenCL.so.1", "/usr/lib/*/intel-opencl/*.so", "/usr/lib64/intel-opencl/*.so"),
    ),
)  # fmt: skip
