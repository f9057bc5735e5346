"""One NVML session, in a process of its own: what NVIDIA's management library says of the driver and each GPU.

A hung driver leaves the caller in an uninterruptible sleep, so this never runs in the doctor's own process. It prints one
JSON document. A field that a device does not support is null; a device that fails is listed with its error, and the others
go on. Facts come from nvidia-ml-py (module `pynvml`) and, for the driver API, from libcuda without initialising it."""

import json
import sys
from collections.abc import Callable
from typing import Any

# enum nvmlDeviceArchitecture and nvmlBrandType_t of nvml.h
ARCHITECTURES = {
    2: "Kepler", 3: "Maxwell", 4: "Pascal", 5: "Volta", 6: "Turing", 7: "Ampere", 8: "Ada", 9: "Hopper",
    10: "Blackwell", 13: "Rubin",
}  # fmt: skip
BRANDS = {
    1: "Quadro", 2: "Tesla", 3: "NVS", 5: "GeForce", 6: "Titan", 7: "vApps", 8: "vPC", 9: "vCS", 10: "vWS",
    11: "Cloud Gaming", 12: "Quadro RTX", 13: "NVIDIA RTX", 14: "NVIDIA", 15: "GeForce RTX", 16: "Titan RTX",
}  # fmt: skip
# Errors that mean "this device has no such thing", or that we may not ask: nvmlReturn_t.
INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND, FUNCTION_NOT_FOUND, DEPRECATED = 2, 3, 4, 6, 13, 26
FIELD_ABSENT = {INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND, FUNCTION_NOT_FOUND, DEPRECATED}


def main() -> None:
    """Print the answer."""
    json.dump(collect(), sys.stdout)


def collect() -> dict[str, Any]:
    """{"driver_version", "nvml_version", "cuda_driver_version", "devices": [...], "error", "error_code"}."""
    answer: dict[str, Any] = {"devices": [], "error": "", "error_code": None, **cuda_driver_version()}
    try:
        import pynvml
    except Exception as error:  # noqa: BLE001  a broken installation may raise anything
        answer["error"] = f"NVML bindings could not be imported: {error}"
        return answer
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return {**answer, **failure(error)}
    errors: dict[str, str] = {}
    answer["driver_version"] = field(
        pynvml, errors, "driver_version", lambda: text(pynvml.nvmlSystemGetDriverVersion())
    )
    answer["nvml_version"] = field(pynvml, errors, "nvml_version", lambda: text(pynvml.nvmlSystemGetNVMLVersion()))
    answer["errors"] = errors
    try:
        count = int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError as error:
        return {**answer, **failure(error)}
    answer["devices"] = [device(pynvml, index) for index in range(count)]
    return answer


def device(pynvml: Any, index: int) -> dict[str, Any]:
    """What one GPU says. "errors" names the fields that failed for another reason than not being supported."""
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    except pynvml.NVMLError as error:
        return {"index": index, **failure(error)}
    errors: dict[str, str] = {}
    asked: dict[str, Callable[[], Any]] = {
        "name": lambda: text(pynvml.nvmlDeviceGetName(handle)),
        "uuid": lambda: text(pynvml.nvmlDeviceGetUUID(handle)),
        "pci": lambda: pci(pynvml.nvmlDeviceGetPciInfo(handle)),
        "compute_capability": lambda: dotted(pynvml.nvmlDeviceGetCudaComputeCapability(handle)),
        "architecture": lambda: ARCHITECTURES.get(pynvml.nvmlDeviceGetArchitecture(handle)),
        "brand": lambda: BRANDS.get(pynvml.nvmlDeviceGetBrand(handle)),
        "memory_bytes": lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
        "minor_number": lambda: int(pynvml.nvmlDeviceGetMinorNumber(handle)),
        "mig": lambda: bool(pynvml.nvmlDeviceGetMigMode(handle)[0]),
        "ecc": lambda: bool(pynvml.nvmlDeviceGetEccMode(handle)[0]),
        "persistence": lambda: bool(pynvml.nvmlDeviceGetPersistenceMode(handle)),
    }
    found = {name: field(pynvml, errors, name, ask) for name, ask in asked.items()}
    # A GPU that has fallen off the bus still gives a handle.
    lost = errors.get("pci", "") if found["pci"] is None else ""
    return {"index": index, "error": lost, **found, "errors": errors}


def field(pynvml: Any, errors: dict[str, str], name: str, ask: Callable[[], Any]) -> Any:
    """The value, or None where there is none; a real failure is noted in `errors`."""
    try:
        return ask()
    except pynvml.NVMLError as error:
        if getattr(error, "value", None) not in FIELD_ABSENT:
            errors[name] = str(error)[:200]
    except (AttributeError, TypeError, ValueError, IndexError) as error:  # bindings older or newer than we know
        errors[name] = f"{type(error).__name__}: {error}"[:200]
    return None


def failure(error: Any) -> dict[str, Any]:
    """An NVML error as values."""
    return {"error": str(error)[:200], "error_code": getattr(error, "value", None)}


def text(value: Any) -> str:
    """NVML strings are bytes in old bindings."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def dotted(pair: Any) -> str:
    """(9, 0) as "9.0"."""
    return f"{pair[0]}.{pair[1]}"


def pci(info: Any) -> dict[str, str]:
    """The address in the kernel's form ("0000:00:06.0") and the id ("10de:2335")."""
    domain, bus, rest = text(info.busId).rsplit(":", 2)
    combined = int(info.pciDeviceId)
    return {
        "address": f"{int(domain, 16):04x}:{bus}:{rest}".lower(),
        "id": f"{combined & 0xFFFF:04x}:{combined >> 16 & 0xFFFF:04x}",
    }


def cuda_driver_version() -> dict[str, Any]:
    """What the libcuda that this machine's loader takes offers, asked without cuInit: 13000 is CUDA 13.0."""
    import ctypes

    try:
        library = ctypes.CDLL("libcuda.so.1")
        version = ctypes.c_int(0)
        code = library.cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError) as error:
        return {"cuda_driver_version": None, "cuda_error": str(error)[:200]}
    if code != 0 or version.value <= 0:
        return {"cuda_driver_version": None, "cuda_error": f"cuDriverGetVersion gave error {code}"}
    return {"cuda_driver_version": f"{version.value // 1000}.{version.value % 1000 // 10}", "cuda_error": ""}
