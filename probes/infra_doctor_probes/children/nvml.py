"""One NVML session, in a process of its own: what NVIDIA's management library says of the driver and each GPU.

A hung driver leaves the caller in an uninterruptible sleep, so this never runs in the doctor's own process. It prints one
JSON document. A field that a device does not support is null; a device that fails is listed with its error, and the others
go on. Facts come from nvidia-ml-py (module `pynvml`) and, for the driver API, from libcuda without initialising it.

    {"driver_version", "nvml_version", "cuda_driver_version", "cuda_error", "error", "error_code", "errors": {field: why},
     "devices": [...], "topology": [...]}        (devices and topology: see `detect/nvidia_state.py`)"""

import json
import sys
from collections.abc import Callable
from itertools import combinations
from typing import Any

from infra_doctor_probes.children.nvml_state import address, part, questions, words

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
LIBRARY_NOT_FOUND = 12
VERSION_MISMATCH = 25  # this driver knows another version of the structure
FIELD_ABSENT = {
    INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND, FUNCTION_NOT_FOUND, DEPRECATED, VERSION_MISMATCH,
}  # fmt: skip
# nvmlGpuTopologyLevel_t as nvidia-smi names it; nvmlGpuP2PStatus_t
PATHS = {0: "PIX", 10: "PIX", 20: "PXB", 30: "PHB", 40: "NODE", 50: "SYS"}
P2P = {0: "ok", 1: "chipset not supported", 2: "GPU not supported", 3: "topology not supported",
       4: "disabled by a registry key", 5: "not supported", 6: "unknown"}  # fmt: skip
P2P_READ, P2P_NVLINK = 0, 2

# OTHER_FOLDERS of detect/nvidia_driver.py, which a child does without.
NVML_FOLDERS = (
    "/usr/local/nvidia/lib64", "/usr/lib/wsl/lib", "/run/opengl-driver/lib", "/home/kubernetes/bin/nvidia/lib64",
    "/run/nvidia/driver/usr/lib/x86_64-linux-gnu", "/run/nvidia/driver/usr/lib/aarch64-linux-gnu",
    "/run/nvidia/driver/usr/lib64",
)  # fmt: skip


def main() -> None:
    """Print the answer."""
    json.dump(collect(), sys.stdout)


def collect() -> dict[str, Any]:
    """The answer of the module's text."""
    answer: dict[str, Any] = {"devices": [], "topology": [], "error": "", "error_code": None, **cuda_driver_version()}
    try:
        import pynvml
    except Exception as error:  # noqa: BLE001  a broken installation may raise anything
        answer["error"] = f"NVML bindings could not be imported: {error}"
        return answer
    try:
        initialise(pynvml)
    except pynvml.NVMLError as error:
        return {**answer, **failure(error)}
    errors: dict[str, str] = {}
    answer["driver_version"] = field(
        pynvml, errors, "driver_version", lambda: words(pynvml.nvmlSystemGetDriverVersion())
    )
    answer["nvml_version"] = field(pynvml, errors, "nvml_version", lambda: words(pynvml.nvmlSystemGetNVMLVersion()))
    answer["errors"] = errors
    try:
        count = int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError as error:
        return {**answer, **failure(error)}
    answer["devices"] = [device(pynvml, index) for index in range(count)]
    answer["topology"] = topology(pynvml, answer["devices"])
    return answer


def initialise(pynvml: Any) -> None:
    """Open the session; where the loader finds no NVML, with the copy of one of the folders that others are told of. A copy
    that is loaded already is taken by its soname."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        if error.value != LIBRARY_NOT_FOUND or not any(map(loads, NVML_FOLDERS)):
            raise
        pynvml.nvmlInit()


def loads(folder: str) -> bool:
    """Whether NVML loads from this folder."""
    import ctypes

    try:
        ctypes.CDLL(f"{folder}/libnvidia-ml.so.1")
    except OSError:
        return False
    return True


def device(pynvml: Any, index: int) -> dict[str, Any]:
    """What one GPU says. "errors" names the fields that failed for another reason than not being supported."""
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    except pynvml.NVMLError as error:
        return {"index": index, **failure(error)}
    errors: dict[str, str] = {}
    asked: dict[str, Callable[[], Any]] = {
        "name": lambda: words(pynvml.nvmlDeviceGetName(handle)),
        "uuid": lambda: words(pynvml.nvmlDeviceGetUUID(handle)),
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
    if not lost:
        found |= {name: field(pynvml, errors, name, ask) for name, ask in questions(pynvml, handle).items()}
    return {"index": index, "error": lost, **found, "errors": errors}


def topology(pynvml: Any, devices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each pair of devices that answered: the PCI path between them, their NVLinks, and peer-to-peer."""
    out = []
    for a, b in combinations([d for d in devices if d.get("pci")], 2):
        try:
            handles = [pynvml.nvmlDeviceGetHandleByIndex(d["index"]) for d in (a, b)]
        except pynvml.NVMLError:
            continue
        pair: dict[str, Any] = {"a": a["pci"]["address"], "b": b["pci"]["address"], "nvlinks": nvlinks_between(a, b)}
        pair["path"] = PATHS.get(part(pynvml, "nvmlDeviceGetTopologyCommonAncestor", *handles))
        pair["p2p_read"] = P2P.get(part(pynvml, "nvmlDeviceGetP2PStatus", *handles, P2P_READ))
        pair["p2p_nvlink"] = P2P.get(part(pynvml, "nvmlDeviceGetP2PStatus", *handles, P2P_NVLINK))
        out.append(pair)
    return out


def nvlinks_between(a: dict[str, Any], b: dict[str, Any]) -> int | None:
    """Links from one to the other, or both ways into the switches; None where neither has NVLink."""
    if not a.get("nvlinks") or not b.get("nvlinks"):
        return None
    active = [[link for link in d["nvlinks"] if link["active"]] for d in (a, b)]
    direct: int = sum(link["remote_address"] == b["pci"]["address"] for link in active[0])
    return direct or min(sum(link["remote_type"] == "switch" for link in links) for links in active)


def field(pynvml: Any, errors: dict[str, str], name: str, ask: Callable[[], Any]) -> Any:
    """The value, or None where there is none; a real failure is noted in `errors`."""
    try:
        return ask()
    except pynvml.NVMLError as error:
        if getattr(error, "value", None) not in FIELD_ABSENT:
            errors[name] = str(error)[:200]
    except (AttributeError, TypeError, ValueError, LookupError) as error:  # bindings older or newer than we know
        errors[name] = f"{type(error).__name__}: {error}"[:200]
    return None


def failure(error: Any) -> dict[str, Any]:
    """An NVML error as values."""
    return {"error": str(error)[:200], "error_code": getattr(error, "value", None)}


def dotted(pair: Any) -> str:
    """(9, 0) as "9.0"."""
    return f"{pair[0]}.{pair[1]}"


def pci(info: Any) -> dict[str, str]:
    """The address in the kernel's form ("0000:00:06.0") and the id ("10de:2335")."""
    combined = int(info.pciDeviceId)
    return {
        "address": address(words(info.busId)),
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
