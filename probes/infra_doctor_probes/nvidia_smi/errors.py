"""What nvidia-smi says instead of an answer, and tools of other vendors that look like it.

Each error text belongs to an error of NVML (nvmlReturn_t in nvml.h), whose number is given: so the finding is the same
whether NVML was asked or nvidia-smi. Sources: NVIDIA's NVML reference (docs.nvidia.com/deploy/nvml-api), and public reports."""

from infra_doctor.plugin import record
from infra_doctor_probes.nvidia_smi.text import lines

DRIVER_NOT_LOADED, NO_PERMISSION, LIBRARY_NOT_FOUND, GPU_IS_LOST, RESET_REQUIRED = 9, 4, 12, 15, 16
LIB_RM_VERSION_MISMATCH, UNKNOWN = 18, 999

# What the text holds -> (kind, NVML error number). The first that is found counts.
ERRORS = (
    ("couldn't communicate with the NVIDIA driver", "no-driver", DRIVER_NOT_LOADED),
    ("Driver/library version mismatch", "version-mismatch", LIB_RM_VERSION_MISMATCH),
    ("Mismatch in versions between nvidia-smi and NVML", "other-version", None),
    ("couldn't find libnvidia-ml.so", "no-library", LIBRARY_NOT_FOUND),
    ("Failed to initialize NVML: NVML Shared Library Not Found", "no-library", LIBRARY_NOT_FOUND),
    ("Failed to initialize NVML: Driver Not Loaded", "no-driver", DRIVER_NOT_LOADED),
    ("Failed to initialize NVML: Insufficient Permissions", "no-permission", NO_PERMISSION),
    ("Failed to initialize NVML: GPU access blocked by the operating system", "blocked", 17),
    ("Failed to initialize NVML: Unknown Error", "unknown-error", UNKNOWN),
    ("Failed to initialize NVML", "init-failed", None),
    ("GPU is lost", "gpu-lost", GPU_IS_LOST),
    ("GPU requires reset", "reset-required", RESET_REQUIRED),
    ("Unable to determine the device handle for", "no-handle", UNKNOWN),
    ("No devices were found", "no-devices", None),
    ("Invalid combination of input arguments", "usage", None),
    ("Please run 'nvidia-smi -h' for help", "usage", None),
)

# Header of a look-alike -> whose it is. They print tables in nvidia-smi's style.
LOOK_ALIKES = (
    ("IX-ML:", "Iluvatar's ixsmi"), ("Intel XPU-SMI", "Intel's xpu-smi"), ("XPU-SMI", "Kunlun's xpu-smi"),
    ("mx-smi", "MetaX's mx-smi"), ("MetaX System Management Interface", "MetaX's mx-smi"),
    ("mthreads-gmi", "Moore Threads' mthreads-gmi"), ("npu-smi", "Huawei's npu-smi"), ("CNMON", "Cambricon's cnmon"),
    ("Enflame System Management Interface", "Enflame's efsmi"), ("AMDSMI", "AMD's amd-smi"),
    ("ROCm System Management Interface", "AMD's rocm-smi"), ("PPU-SMI", "T-Head's ppu-smi"),
    ("System Management Interface =", "AMD's rocm-smi or Hygon's hy-smi"),
)  # fmt: skip
HEAD_LINES = 30


@record
class SmiError:
    """An error text. `kind` is one of ERRORS; `code` the NVML error that it stands for, None where it is none."""

    kind: str
    text: str
    code: int | None = None


def error_of(text: str) -> SmiError | None:
    """The error that this output tells; None where it tells none in its first lines."""
    head = head_of(text)
    if not any(line.strip() for line in head):
        return None
    for wanted, kind, code in ERRORS:
        for line in head:
            if wanted in line:
                return SmiError(kind=kind, text=line.strip()[:200], code=code)
    return None


def look_alike(text: str) -> str | None:
    """Whose tool printed this, where it was another vendor's."""
    head = head_of(text)
    if any("NVIDIA-SMI" in line or "NVSMI LOG" in line or "nvidia_smi_log" in line for line in head):
        return None
    return next((who for mark, who in LOOK_ALIKES if any(mark in line for line in head)), None)


def head_of(text: str) -> list[str]:
    """The first lines."""
    return [line for _, line in zip(range(HEAD_LINES), lines(text), strict=False)]
