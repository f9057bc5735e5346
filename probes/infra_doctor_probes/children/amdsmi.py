"""One session with AMD's management library, in a process of its own: what it says of each GPU.

A driver that hangs leaves the caller in an uninterruptible sleep, so this never runs in the doctor's own process. It prints
one JSON document. Getters only. Prototypes are those of the public header ROCm/amdsmi, include/amd_smi/amdsmi.h; structures
grew between releases, so buffers are larger than any of them and only fields at the start, which stayed, are read. Proven on
a stand-in library, not on a device."""

import ctypes
import glob
import json
import os
import sys
from collections.abc import Callable
from typing import Any

INIT_AMD_GPUS = 1 << 1
MEMORY_VRAM = 0
LIST_CAP = 512
BUFFER_BYTES = 1 << 16
STATUS = {
    1: "invalid parameters", 2: "not supported", 3: "not yet implemented", 4: "a library could not be loaded",
    5: "a symbol could not be loaded", 6: "libdrm failed", 7: "a call failed", 8: "timeout", 9: "busy, try again",
    10: "permission denied", 12: "input/output error", 14: "a file could not be accessed", 15: "out of resources",
    18: "initialization failed", 30: "device busy", 31: "device not found", 32: "not initialized",
    34: "the driver is not loaded", 40: "no data",
}  # fmt: skip

Handle, Count = ctypes.c_void_p, ctypes.c_uint32


class AmdSmiError(Exception):
    """A function answered with something else than 0, or is not there (`code` None)."""

    def __init__(self, name: str, code: int | None) -> None:
        said = "is not in this library" if code is None else f"gave {code}: {STATUS.get(code, 'unknown code')}"
        super().__init__(f"{name} {said}")
        self.code = code


def main() -> None:
    """Print the answer."""
    json.dump(collect(open_library), sys.stdout)


def places() -> list[str]:
    """Where the library lies, the loader's own choice first."""
    roots = [
        os.environ.get("ROCM_PATH", ""),
        os.environ.get("ROCM_HOME", ""),
        "/opt/rocm",
        *sorted(glob.glob("/opt/rocm-*")),
    ]
    found = [p for root in roots if root.startswith("/") for p in sorted(glob.glob(f"{root}/lib*/libamd_smi.so*"))]
    return ["libamd_smi.so", *dict.fromkeys(found)]


def open_library() -> tuple[Any, str]:
    """(library, where it was found); OSError with every place's reason."""
    reasons = []
    for place in places():
        try:
            return ctypes.CDLL(place), place
        except OSError as error:
            reasons.append(str(error)[:150])
    raise OSError("; ".join(dict.fromkeys(reasons)))


def collect(opener: Callable[[], tuple[Any, str]]) -> dict[str, Any]:
    """{"library", "devices": [...], "error", "error_code"}."""
    answer: dict[str, Any] = {"library": None, "devices": [], "error": "", "error_code": None}
    try:
        library, answer["library"] = opener()
    except OSError as error:
        return {**answer, "error": f"libamd_smi.so could not be loaded: {error}"}
    try:
        call(library, "amdsmi_init", ctypes.c_uint64(INIT_AMD_GPUS))
        sockets = handles(library, "amdsmi_get_socket_handles")
        gpus = [gpu for socket in sockets for gpu in handles(library, "amdsmi_get_processor_handles", Handle(socket))]
    except AmdSmiError as error:
        return {**answer, "error": str(error), "error_code": error.code}
    answer["devices"] = [device(library, Handle(gpu)) for gpu in gpus]
    return answer


def call(library: Any, name: str, *arguments: Any) -> None:
    """Call a function; AmdSmiError where it does not answer 0."""
    function = getattr(library, name, None)
    if function is None:
        raise AmdSmiError(name, None)
    function.restype = ctypes.c_int
    code = int(function(*arguments))
    if code != 0:
        raise AmdSmiError(name, code & 0xFFFFFFFF)


def handles(library: Any, name: str, *before: Any) -> list[int]:
    """The handles that a function lists: asked for their number first."""
    count = Count(0)
    call(library, name, *before, ctypes.byref(count), None)
    number = min(count.value, LIST_CAP)
    found = (Handle * max(number, 1))()
    count = Count(number)
    call(library, name, *before, ctypes.byref(count), found)
    return [handle for handle in found[: min(count.value, number)] if handle]


def field(ask: Callable[[], Any]) -> Any:
    """The value, None where this release or device does not give it."""
    try:
        return ask()
    except AmdSmiError:
        return None


def device(library: Any, gpu: Any) -> dict[str, Any]:
    """What one GPU says."""
    errors = field(lambda: structure(library, "amdsmi_get_gpu_total_ecc_count", gpu))
    counts = ctypes.cast(errors, ctypes.POINTER(ctypes.c_uint64)) if errors is not None else None
    return {
        "pci": field(lambda: pci(library, gpu)),
        "name": field(lambda: first_text(structure(library, "amdsmi_get_gpu_asic_info", gpu))),
        "driver_version": field(lambda: first_text(structure(library, "amdsmi_get_gpu_driver_info", gpu))),
        "memory_bytes": field(lambda: number(library, "amdsmi_get_gpu_memory_total", gpu, ctypes.c_int(MEMORY_VRAM))),
        "ecc_correctable": int(counts[0]) if counts else None,
        "ecc_uncorrectable": int(counts[1]) if counts else None,
    }


def structure(library: Any, name: str, gpu: Any) -> Any:
    """A getter that fills a structure: its bytes."""
    buffer = ctypes.create_string_buffer(BUFFER_BYTES)
    call(library, name, gpu, buffer)
    return buffer


def first_text(buffer: Any) -> str | None:
    """The text at the start of a structure."""
    return buffer.value[:120].decode("utf-8", "replace").strip() or None


def number(library: Any, name: str, *before: Any) -> int:
    """A getter of one number, its last argument."""
    value = ctypes.c_uint64()
    call(library, name, *before, ctypes.byref(value))
    return int(value.value)


def pci(library: Any, gpu: Any) -> str:
    """The address in the kernel's form: domain, partition, bus, device and function stand in one number."""
    packed = number(library, "amdsmi_get_gpu_bdf_id", gpu)
    return f"{packed >> 32:04x}:{packed >> 8 & 0xFF:02x}:{packed >> 3 & 0x1F:02x}.{packed & 7}"
