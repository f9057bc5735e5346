"""A module that answers like nvidia-ml-py, for tests of the NVML child without a GPU."""

import types
from collections.abc import Callable
from typing import Any

NOT_SUPPORTED, GPU_IS_LOST, LIB_RM_VERSION_MISMATCH, FUNCTION_NOT_FOUND = 3, 15, 18, 13
TEXTS = {
    NOT_SUPPORTED: "Not Supported",
    GPU_IS_LOST: "GPU is lost",
    LIB_RM_VERSION_MISMATCH: "RM has detected an NVML/RM version mismatch.",
    FUNCTION_NOT_FOUND: "Function Not Found",
    12: "NVML Shared Library Not Found",
    999: "Unknown Error",
}


class NVMLError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        return TEXTS[self.value]


def h200(index: int) -> dict[str, Any]:
    """The answers of one H200 in our own 8-GPU machine: address 00000000:00:06.0 and up."""
    return {
        "nvmlDeviceGetName": "NVIDIA H200",
        "nvmlDeviceGetUUID": f"GPU-00000000-0000-0000-0000-{index:012d}",
        "nvmlDeviceGetPciInfo": types.SimpleNamespace(busId=f"00000000:00:{6 + index:02X}.0", pciDeviceId=0x233510DE),
        "nvmlDeviceGetCudaComputeCapability": (9, 0),
        "nvmlDeviceGetArchitecture": 9,
        "nvmlDeviceGetBrand": 14,
        "nvmlDeviceGetMemoryInfo": types.SimpleNamespace(total=150754820096, free=1, used=1),
        "nvmlDeviceGetMinorNumber": index,
        "nvmlDeviceGetMigMode": [0, 0],
        "nvmlDeviceGetEccMode": [1, 1],
        "nvmlDeviceGetPersistenceMode": 1,
    }


def fake_pynvml(
    devices: list[dict[str, Any] | int], *, init: int = 0, **functions: Callable[..., Any]
) -> types.ModuleType:
    """`devices`: what each function answers per device, an error number where it fails (for the whole device: its handle)."""
    module = types.ModuleType("pynvml")

    def answer(value: Any) -> Any:
        if isinstance(value, NVMLError):
            raise value
        return value

    def nvml_init() -> None:
        if init:
            raise NVMLError(init)

    def handle(index: int) -> dict[str, Any]:
        device = devices[index]
        if isinstance(device, int):
            raise NVMLError(device)
        return device

    module.NVMLError = NVMLError  # type: ignore[attr-defined]
    module.nvmlInit = nvml_init  # type: ignore[attr-defined]
    module.nvmlDeviceGetCount = lambda: len(devices)  # type: ignore[attr-defined]
    module.nvmlDeviceGetHandleByIndex = handle  # type: ignore[attr-defined]
    module.nvmlSystemGetDriverVersion = lambda: "580.159.04"  # type: ignore[attr-defined]
    module.nvmlSystemGetNVMLVersion = lambda: "13.580.159.04"  # type: ignore[attr-defined]
    for name in h200(0):
        setattr(module, name, lambda device, name=name: answer(device[name]))
    for name, function in functions.items():
        setattr(module, name, function)
    return module
