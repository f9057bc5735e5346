"""The presets: which checks judge for a kind of use. Every check belongs to one theme; a preset takes themes and says of each
other one why it is left out, so that a new check is in a preset by a decision and not by chance."""

from infra_doctor.plugin import Preset

# NVIDIA's driver serves the GPUs and can be reached by programs.
DRIVER = ("NOUVEAU", "OPEN-KM", "NVML-MISMATCH", "NV-NODES", "UVM", "COMPAT", "SMI", "WSL")
# The driver and the GPUs serve what is installed.
SERVED = ("DRV-OLD", "ARCH")
# A container, pod or job has the devices that it should have; a variable hides none of them.
GIVEN = ("CTR-CGROUP", "ENV-CVD")
NVIDIA_CONTAINERS = ("CTR-TOOLKIT", "K8S-DEVICE")
# The GPUs themselves: errors, heat, the fabric that they wait for.
HARDWARE = ("ECC/XID", "GPU-SLOWDOWN", "FABRIC", "PERSIST")
BUS = ("PCIE",)
# How GPUs are shared and cut up.
SHARING = ("GPU-BUSY", "MIG", "MPS")
# What worker processes and ranks of one machine talk over.
MEMORY = ("SHM",)
LINKS = ("NVLINK", "NCCL-ENV")
# What machines talk over.
NETWORK = ("IB-LINK", "ACS-IOMMU", "MEMLOCK")
GPU_NETWORK = ("PEERMEM",)
# Which copies of libraries programs get.
LOADING = ("LDPATH-SHADOW", "LIB-PATH", "GLIBC")
CUDA = ("CUDA-MAJOR", "CUDNN-MISSING", "CUDNN-MIX", "PY-CLOBBER-NV", "CUDA-ENV")
# The Python environment as such.
PYTHON = ("ENV-MOVED", "PY-PINS", "NUMPY-ABI", "PYNVML")
TORCH = ("TORCH-CPU", "EXT-ABI", "ROCM-WHEEL")
# Other frameworks' builds for the CPU, or without their libraries.
FRAMEWORKS = ("TF-FALLBACK", "JAX-CPU")
CPU_BUILDS = ("CPU-BUILD",)
# Toolkits that extensions and kernels are compiled with.
BUILDING = ("NVCC-MISMATCH", "DISTRO-CUDA")
ONNX_RUNTIME = ("ORT-FALLBACK", "PY-CLOBBER-ORT", "CUDNN-LAYOUT", "TORCH-ORT-CUDA", "ONNX-OPSET", "TRT")
PROFILING = ("PROF-PERM", "PROFILER")
AMD = ("ROCM-GPU", "ROCM-PERM")
INTEL = ("INTEL-GPU", "OPENCL-ICD")
OTHERS = ("VENDOR-STACK", "MUSA-CTR", "MUSA-IOMMU")
# Ascend: the NPUs, what they talk over, CANN, PyTorch on it.
NPUS = ("ASCEND-CTR", "ASCEND-PERM", "ASCEND-HEALTH", "NPU-BUSY")
NPU_LINKS = ("ASCEND-LINK",)
CANN = ("CANN-DRV", "CANN-ENV", "CANN-CONFLICT", "CANN-PYDEPS", "ASCEND-SOC")
TORCH_NPU = ("TORCH-NPU", "TRITON-ASCEND")
# What was measured.
MEASURED = (
    "PERF-LOW-BANDWIDTH", "PERF-LOW-GEMM", "PERF-THROTTLED", "PERF-UNEVEN", "PERF-UNSTABLE", "PERF-WRONG-RESULT",
)  # fmt: skip
Themes = tuple[tuple[str, ...], ...]
THEMES: Themes = (
    DRIVER, SERVED, GIVEN, NVIDIA_CONTAINERS, HARDWARE, BUS, SHARING, MEMORY, LINKS, NETWORK, GPU_NETWORK, LOADING, CUDA, PYTHON,
    TORCH, FRAMEWORKS, CPU_BUILDS, BUILDING, ONNX_RUNTIME, PROFILING, AMD, INTEL, OTHERS, NPUS, NPU_LINKS, CANN, TORCH_NPU,
    MEASURED,
)  # fmt: skip
# GPUs of any vendor, and what programs on them need whatever they do.
GPUS: Themes = (DRIVER, SERVED, GIVEN, NVIDIA_CONTAINERS, HARDWARE, BUS, SHARING, AMD, OTHERS)
GPU_PROGRAMS: Themes = (*GPUS, LOADING, CUDA, PYTHON, INTEL, MEASURED)
PROFILERS = "profilers are no part of a job"
FOR_ASCEND = "the preset `ascend` is for NPUs"

# Of each preset: its title, its themes, and why others are left out.
CHOICES: dict[str, tuple[str, Themes, tuple[tuple[str, Themes], ...]]] = {
    "minimal": (
        "devices and their drivers, of every vendor: for a node rather than for what runs on it",
        (*GPUS, NPUS),
        (
            ("speaks of an environment's packages and libraries",
             (LOADING, CUDA, PYTHON, TORCH, FRAMEWORKS, CPU_BUILDS, BUILDING, ONNX_RUNTIME, INTEL, CANN, TORCH_NPU)),
            ("matters to jobs on several devices or machines", (MEMORY, LINKS, NETWORK, GPU_NETWORK, NPU_LINKS)),
            (PROFILERS, (PROFILING,)),
            ("nothing is measured", (MEASURED,)),
        ),
    ),
    "training": (
        "training on GPUs, on one machine or on many",
        (*GPU_PROGRAMS, MEMORY, LINKS, NETWORK, GPU_NETWORK, TORCH, FRAMEWORKS, CPU_BUILDS, BUILDING),
        (
            ("ONNX Runtime infers", (ONNX_RUNTIME,)),
            (PROFILERS, (PROFILING,)),
            (FOR_ASCEND, (NPUS, NPU_LINKS, CANN, TORCH_NPU)),
        ),
    ),
    "inference-torch": (
        "serving with PyTorch and what stands on it (vLLM, SGLang …), on one machine",
        (*GPU_PROGRAMS, MEMORY, LINKS, TORCH, CPU_BUILDS, BUILDING),
        (
            ("one machine is enough", (NETWORK, GPU_NETWORK)),
            ("of other frameworks", (FRAMEWORKS, ONNX_RUNTIME)),
            (PROFILERS, (PROFILING,)),
            (FOR_ASCEND, (NPUS, NPU_LINKS, CANN, TORCH_NPU)),
        ),
    ),
    "inference-ort": (
        "inference with ONNX Runtime, on any device that it has a provider for",
        (*GPU_PROGRAMS, ONNX_RUNTIME, CPU_BUILDS, NPUS, CANN),
        (
            ("one session uses one device", (MEMORY, LINKS, NETWORK, GPU_NETWORK, NPU_LINKS)),
            ("of other frameworks: a PyTorch for the CPU beside it is often meant", (TORCH, FRAMEWORKS, TORCH_NPU)),
            ("nothing is compiled", (BUILDING,)),
            (PROFILERS, (PROFILING,)),
        ),
    ),
    "ascend": (
        "training and inference on Ascend NPUs",
        (NPUS, NPU_LINKS, CANN, TORCH_NPU, GIVEN, BUS, MEMORY, NETWORK, LOADING, PYTHON, CPU_BUILDS, ONNX_RUNTIME, MEASURED),
        (
            ("of GPUs, their drivers, libraries and frameworks",
             (DRIVER, SERVED, NVIDIA_CONTAINERS, HARDWARE, SHARING, LINKS, GPU_NETWORK, CUDA, TORCH, FRAMEWORKS, BUILDING,
              PROFILING, AMD, INTEL, OTHERS)),
        ),
    ),
}  # fmt: skip


def checks(themes: Themes) -> tuple[str, ...]:
    """The ids of these themes, in their order."""
    return tuple(name for theme in themes for name in theme)


PRESETS = tuple(Preset(name=name, title=title, checks=checks(themes)) for name, (title, themes, _) in CHOICES.items())
