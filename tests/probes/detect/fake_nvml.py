"""A module that answers like nvidia-ml-py, for tests of the NVML child without a GPU."""

import ctypes
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
        "nvmlDeviceGetMemoryInfo": types.SimpleNamespace(total=150754820096, free=1, used=1, reserved=645922816),
        "nvmlDeviceGetMinorNumber": index,
        "nvmlDeviceGetMigMode": [0, 0],
        "nvmlDeviceGetEccMode": [1, 1],
        "nvmlDeviceGetPersistenceMode": 1,
        "nvmlDeviceGetDisplayActive": 0,
        "nvmlDeviceGetComputeMode": 0,
        "nvmlDeviceGetComputeRunningProcesses": [types.SimpleNamespace(pid=4711, usedGpuMemory=1 << 30)],
        "nvmlDeviceGetGraphicsRunningProcesses": [],
        "nvmlDeviceGetMPSComputeRunningProcesses": [],
        "nvmlDeviceGetTemperature": 36,
        "nvmlDeviceGetTemperatureThreshold": {0: 95, 1: 89, 2: 95, 3: 87},
        "nvmlDeviceGetMarginTemperature": 51,
        "nvmlDeviceGetPowerUsage": 76310,
        "nvmlDeviceGetEnforcedPowerLimit": 700000,
        "nvmlDeviceGetPowerManagementLimit": 700000,
        "nvmlDeviceGetPowerManagementDefaultLimit": 700000,
        "nvmlDeviceGetPowerManagementLimitConstraints": [200000, 700000],
        "nvmlDeviceGetClockInfo": {0: 345, 1: 345, 2: 3201, 3: 765},
        "nvmlDeviceGetMaxClockInfo": {0: 1980, 1: 1980, 2: 3201, 3: 1545},
        "nvmlDeviceGetCurrentClocksEventReasons": 1,
        "nvmlDeviceGetUtilizationRates": types.SimpleNamespace(gpu=0, memory=0),
        "nvmlDeviceGetPerformanceState": 0,
        "nvmlDeviceGetCurrPcieLinkWidth": 16,
        "nvmlDeviceGetMaxPcieLinkWidth": 16,
        "nvmlDeviceGetCurrPcieLinkGeneration": 5,
        "nvmlDeviceGetMaxPcieLinkGeneration": 5,
        "nvmlDeviceGetGpuMaxPcieLinkGeneration": 5,
        "nvmlDeviceGetPcieReplayCounter": 0,
        "nvmlDeviceGetMemoryErrorCounter": 0,
        "nvmlDeviceGetSramEccErrorStatus": 0,
        "nvmlDeviceGetUnrepairableMemoryFlag_v1": 0,
        "nvmlDeviceGetRemappedRows": (0, 0, 0, 0),
        "nvmlDeviceGetRepairStatus": [0, 0],
        "nvmlDeviceGetGpuFabricInfoV": {"state": 3, "status": 0, "healthMask": 0, "healthSummary": 1, "cliqueId": 0},
        "nvmlDeviceGetFieldValues": {
            3: 0, 4: 0, 5: 0, 6: 0, 74: 0, 76: 0, 82: 35, 91: 18, 230: 0, 269: 0, 270: 0, 271: 5000000,
            161: 0, 162: 0, 163: 0, 164: 26562, 165: 1, 166: 6,
        },
        "nvmlDeviceGetNvLinkRemoteDeviceType": 2,
        "nvmlDeviceGetVbiosVersion": "96.00.A5.00.1A",
        "nvmlDeviceGetGspFirmwareVersion": "580.159.04",
        "nvmlDeviceGetVirtualizationMode": 1,
        "nvmlDeviceGetMemoryAffinity": [1, 0],
        "nvmlDeviceGetCpuAffinityWithinScope": [(1 << 64) - 1, (1 << 64) - 1],
        "nvmlDeviceGetTopologyCommonAncestor": 30,
        "nvmlDeviceGetP2PStatus": 0,
        "nvmlDeviceGetMaxMigDeviceCount": 7,
    }  # fmt: skip


class _Structure(ctypes.Structure):
    """Stands for the bindings' versioned structures: it can be pointed to, and holds what it is told."""

    _fields_ = [(n, ctypes.c_uint) for n in ("bThresholdExceeded", "state", "status", "healthMask", "healthSummary",
                                             "cliqueId")]  # fmt: skip


def told(value: Any, name: str, rest: tuple[Any, ...]) -> Any:
    """What the function answers for its further arguments."""
    if name == "nvmlDeviceGetFieldValues":
        return [field_value(value, wanted[0] if isinstance(wanted, tuple) else wanted) for wanted in rest[0]]
    if rest and hasattr(rest[0], "_obj"):  # fills the structure that it gets by reference
        for field, number in value.items() if isinstance(value, dict) else ():
            setattr(rest[0]._obj, field, number)
        return 0
    return value[rest[0]] if isinstance(value, dict) and rest else value


def field_value(values: dict[int, Any], field_id: int) -> Any:
    """One answer of nvmlDeviceGetFieldValues, all of type unsigned long long."""
    found = values.get(field_id)
    union = types.SimpleNamespace(ullVal=found)
    return types.SimpleNamespace(nvmlReturn=NOT_SUPPORTED if found is None else 0, valueType=3, value=union)


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
        setattr(module, name, lambda device, *rest, name=name, **_: told(answer(device[name]), name, rest))
    for structure in ("c_nvmlGpuFabricInfo_v3_t", "c_nvmlEccSramErrorStatus_v1_t"):
        setattr(module, structure, _Structure)
    module.nvmlErrorString = lambda code: "Success" if code == 0 else TEXTS[code]  # type: ignore[attr-defined]
    for name, function in functions.items():
        setattr(module, name, function)
    return module
