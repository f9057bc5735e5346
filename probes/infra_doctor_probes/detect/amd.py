"""The probes of AMD's GPUs and ROCm: what makes each of them do anything, and what the collector takes for them.

Without an AMD device on the bus, a folder of ROCm or a PyTorch for it they ask for a folder or two and load nothing."""

from collections.abc import Iterable

from infra_doctor.plugin import CheckContext, Probe, ProbeContext
from infra_doctor_probes.detect.pci import BUS, PciDevice

ROCM_PLUG_INS = ("onnxruntime-rocm", "onnxruntime-migraphx", "jax-rocm7-plugin", "jax-rocm60-plugin", "tensorflow-rocm")
# A GPU that the compute driver does not take, or whose PCIe root has no atomics; a GPU that throttles or cannot be reset.
LOG_PATTERNS = (
    "not supported in kfd", "kfd[^\n]{0,60}skipped device", "GPU thermal throttling temperature reached",
    "amdgpu[^\n]{0,80}GPU reset\\([0-9]{1,6}\\) failed",
)  # fmt: skip


def wants_rocm(ctx: ProbeContext | CheckContext) -> bool:
    """Whether something installed asks for an AMD GPU: PyTorch's build for ROCm, or a plug-in of another framework."""
    return any(w.attributes.get("build") == "rocm" or w.name in ROCM_PLUG_INS for w in ctx.by_kind("wheel"))


def was_found(context: CheckContext) -> bool:
    """Whether the probe of AMD GPUs found any, its own or its host's: for checks, before they load more."""
    if any(c.attributes.get("vendor") == "amd" for c in context.by_kind("gpu")):
        return True
    return any(getattr(f, "fact_type", "") == "amd-gpus-not-given" for f in context.facts(object))


def rocm(ctx: ProbeContext) -> Iterable[object]:
    """ROCm on disk and in wheels."""
    environ = ctx.machine.environ
    named = any(environ.get(n) for n in ("ROCM_PATH", "ROCM_HOME", "HSA_OVERRIDE_GFX_VERSION"))
    # /opt is listed only where ROCm shows: what else somebody keeps there is nobody's business.
    if named or wants_rocm(ctx) or ctx.machine.exists("/opt/rocm"):
        from infra_doctor_probes.amd.rocm import run

        return run(ctx)
    return ()


def gpus(ctx: ProbeContext) -> Iterable[object]:
    """The GPUs; displays that are part of a processor only where ROCm is wanted."""
    devices = [d for d in ctx.facts(PciDevice) if d.vendor == "amd"]
    if any(d.accelerator for d in devices) or (devices and (ctx.by_kind("rocm") or wants_rocm(ctx))):
        from infra_doctor_probes.amd.gpus import run

        return run(ctx)
    return ()


PROBES = (
    Probe(
        id="rocm",
        version=1,
        title="ROCm: installations, libraries, kernels in wheels",
        run=rocm,
        after=("python.wheels",),
        environment=("ROCM_PATH", "ROCM_HOME", "HSA_OVERRIDE_GFX_VERSION"),
        collect=(
            "/opt/rocm", "/opt/rocm/.info/version*", "/opt/rocm/lib/librocm-core.so.1.0.*",
            *(f"/opt/rocm/lib/{n}.so*" for n in ("libamdhip64", "libhsa-runtime64", "librccl", "libamd_smi")),
            "site:torch/lib/rocblas/library",
        ),
    ),
    Probe(
        id="amd-gpu",
        version=1,
        title="AMD GPUs by sysfs, the compute driver and AMD's management library",
        run=gpus,
        needs=("kernel state",),
        after=("system", "pci", "python.wheels", "rocm"),
        collect=(
            "/sys/class/kfd/kfd/topology/nodes/*/properties", "/sys/class/kfd/kfd/topology/nodes/*/io_links/*/properties",
            "/sys/class/kfd/kfd/topology/nodes/*/p2p_links/*/properties", "/sys/class/drm/renderD*/device",
            "/sys/module/amdgpu", "/sys/module/amdgpu/version", "/dev/kfd", "/dev/dri", "opens:/dev/kfd",
            "opens:/dev/dri/renderD*", *(f"kernel-log:{p}" for p in LOG_PATTERNS),
            *(f"{BUS}/*/{n}" for n in ("mem_info_vram_total", "current_link_width", "max_link_width", "current_link_speed",
                                       "vbios_version", "ras/*_err_count", "power/runtime_status")),
        ),
        devices=True,
        explained_by=("ROCM-PERM", "ROCM-GPU"),
        timeout_s=40.0,
    ),
)  # fmt: skip
