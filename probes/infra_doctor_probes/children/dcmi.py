"""One DCMI session, in a process of its own: what Huawei's management library says of the driver and each NPU.

A hung driver leaves the caller in an uninterruptible sleep, so this never runs in the doctor's own process. It prints one
JSON document. Getters only. Prototypes, structures and error codes are those of the public headers in Ascend/mind-cluster
(component/ascend-common/devmanager/dcmi); proven here on a stand-in library alone, not on a device. Older products have the
`dcmi_*` functions with card and device ids, the newest `dcmiv2_*` with one id."""

import ctypes
import json
import sys
from collections.abc import Callable
from typing import Any

from infra_doctor_probes.children.dcmi_state import HbmInfo, RefusedError, state

# In the order that public readers use (gpustack/runtime pydcmi).
PLACES = ("libdcmi.so", "/usr/local/Ascend/driver/lib64/driver/libdcmi.so", "/usr/local/dcmi/libdcmi.so")
ERRORS = {
    -8001: "invalid parameter", -8002: "no permission", -8003: "memory operation failed", -8004: "security function failed",
    -8005: "internal error", -8006: "timeout", -8007: "invalid device id", -8008: "no such device", -8009: "ioctl failed",
    -8010: "send failed", -8011: "receive failed", -8012: "not ready", -8013: "not supported in containers",
    -8014: "file operation failed", -8015: "reset failed", -8016: "reset cancelled", -8017: "upgrading",
    -8020: "device resources are occupied", -8022: "partition inconsistency", -8023: "no configuration",
    -8255: "function not supported",
}  # fmt: skip
NPU_TYPE = 0
LIST_CAP = 64

Int, UInt = ctypes.c_int, ctypes.c_uint


class ChipInfo(ctypes.Structure):
    """struct dcmi_chip_info_v2; its first four fields are struct dcmi_chip_info."""

    _fields_ = [
        ("chip_type", ctypes.c_char * 32), ("chip_name", ctypes.c_char * 32), ("chip_ver", ctypes.c_char * 32),
        ("aicore_cnt", UInt), ("npu_name", ctypes.c_char * 32),
    ]  # fmt: skip


class PcieInfo(ctypes.Structure):
    """struct dcmi_pcie_info_all."""

    _fields_ = [
        ("venderid", UInt), ("subvenderid", UInt), ("deviceid", UInt), ("subdeviceid", UInt), ("domain", Int),
        ("bdf_busid", UInt), ("bdf_deviceid", UInt), ("bdf_funcid", UInt), ("reserve", ctypes.c_ubyte * 32),
    ]  # fmt: skip


class MemoryInfo(ctypes.Structure):
    """struct dcmi_get_memory_info_stru; memory in MB."""

    _fields_ = [
        ("memory_size", ctypes.c_ulonglong), ("memory_available", ctypes.c_ulonglong), ("freq", UInt),
        ("hugepagesize", ctypes.c_ulong), ("hugepages_total", ctypes.c_ulong), ("hugepages_free", ctypes.c_ulong),
        ("utiliza", UInt), ("reserve", ctypes.c_ubyte * 60),
    ]  # fmt: skip


class DcmiError(Exception):
    """A function answered with something else than 0, or is not there (`code` None)."""

    def __init__(self, name: str, code: int | None) -> None:
        said = "is not in this library" if code is None else f"gave {code}: {ERRORS.get(code, 'unknown code')}"
        super().__init__(f"{name} {said}")
        self.code = code


def main() -> None:
    """Print the answer."""
    json.dump(collect(open_library), sys.stdout)


def open_library() -> tuple[Any, str]:
    """(library, where it was found); OSError with every place's reason."""
    reasons = []
    for place in PLACES:
        try:
            return ctypes.CDLL(place, mode=ctypes.RTLD_GLOBAL), place
        except OSError as error:
            reasons.append(str(error)[:150])
    raise OSError("; ".join(dict.fromkeys(reasons)))


def collect(opener: Callable[[], tuple[Any, str]]) -> dict[str, Any]:
    """{"library", "family", "driver_version", "dcmi_version", "devices": [...], "error", "error_code"}."""
    answer: dict[str, Any] = {"devices": [], "error": "", "error_code": None, "library": None, "family": None}
    try:
        library, answer["library"] = opener()
    except OSError as error:
        return {**answer, "error": f"libdcmi.so could not be loaded: {error}"}
    family = "dcmi" if hasattr(library, "dcmi_init") else "dcmiv2"
    answer["family"] = family
    try:
        call(library, f"{family}_init")
        devices = cards(library) if family == "dcmi" else devices_v2(library)
    except DcmiError as error:
        return {**answer, "error": str(error), "error_code": error.code}
    answer["driver_version"] = field(lambda: text(library, "dcmi_get_driver_version", 64))
    answer["dcmi_version"] = field(lambda: text(library, f"{family}_get_dcmi_version", 32))
    answer["devices"] = devices
    return answer


def call(library: Any, name: str, *arguments: Any) -> None:
    """Call a getter; DcmiError where it does not answer 0."""
    function = getattr(library, name, None)
    if function is None:
        raise DcmiError(name, None)
    function.restype = Int
    code = int(function(*arguments))
    if code != 0:
        raise DcmiError(name, code)


def field(ask: Callable[[], Any]) -> Any:
    """The value, None where this product or driver does not give it."""
    try:
        return ask()
    except DcmiError:
        return None


def text(library: Any, name: str, size: int) -> str | None:
    """A getter of one string."""
    buffer = ctypes.create_string_buffer(size)
    call(library, name, buffer, UInt(size))
    return decoded(buffer.value)


def decoded(raw: bytes) -> str | None:
    """The library's text, None for an empty one."""
    return raw.decode("utf-8", "replace").strip() or None


def number(library: Any, name: str, kind: Any, *before: Any) -> int:
    """A getter of one number, its last argument."""
    value = kind()
    call(library, name, *before, ctypes.byref(value))
    return int(value.value)


# -- the family with card and device ids --------------------------------------------------------------------------


def cards(library: Any) -> list[dict[str, Any]]:
    """Every NPU of every card; a card that fails is listed with its error."""
    count, ids = Int(0), (Int * LIST_CAP)()
    call(library, "dcmi_get_card_list", ctypes.byref(count), ids, Int(LIST_CAP))
    found = []
    for card in ids[: max(0, min(count.value, LIST_CAP))]:
        try:
            devices = number(library, "dcmi_get_device_num_in_card", Int, Int(card))
        except DcmiError as error:
            found.append({"card": card, "device": 0, "error": str(error)})
            continue
        for device in range(max(0, min(devices, LIST_CAP))):
            place = (Int(card), Int(device))
            kind = field(lambda place=place: number(library, "dcmi_get_device_type", Int, *place))  # type: ignore[misc]
            if kind in (None, NPU_TYPE):
                found.append({"card": card, "device": device, **facts(library, "dcmi", place)})
    return found


def facts(library: Any, family: str, place: tuple[Any, ...]) -> dict[str, Any]:
    """What one device says; `error` where not even its chip can be read."""
    suffix = "_v2" if family == "dcmi" else ""
    try:
        name = chip(library, f"{family}_get_device_chip_info", place, suffix)
    except DcmiError as error:
        return {"error": str(error)}
    return {
        "error": "",
        **name,
        "pci": field(lambda: pci(library, f"{family}_get_device_pcie_info{suffix}", place)),
        "memory_bytes": memory(library, family, place),
        "physical_id": field(lambda: physical_id(library, family, place)),
        **state(getter(library), family, place),
    }


def getter(library: Any) -> Callable[..., None]:
    """Calls for `state`."""

    def ask(name: str, *arguments: Any) -> None:
        try:
            call(library, name, *arguments)
        except DcmiError as error:
            raise RefusedError(error.code) from None

    return ask


def chip(library: Any, name: str, place: tuple[Any, ...], suffix: str) -> dict[str, Any]:
    """The chip's name, type and number of AI cores; older libraries have the first form of the structure only."""
    info = ChipInfo()
    try:
        call(library, name + suffix, *place, ctypes.byref(info))
    except DcmiError:
        if not suffix:
            raise
        call(library, name, *place, ctypes.byref(info))
    return {
        "name": decoded(info.chip_name),
        "chip_type": decoded(info.chip_type),
        "npu_name": decoded(info.npu_name),
        "aicore_count": int(info.aicore_cnt),
    }


def pci(library: Any, name: str, place: tuple[Any, ...]) -> str | None:
    """The address in the kernel's form; None where all of it is zero, as for chips that are no PCI devices."""
    info = PcieInfo()
    call(library, name, *place, ctypes.byref(info))
    if not (info.venderid or info.bdf_busid or info.bdf_deviceid):
        return None
    return f"{info.domain & 0xFFFFFFFF:04x}:{info.bdf_busid & 0xFF:02x}:{info.bdf_deviceid & 0x1F:02x}.{info.bdf_funcid & 7}"


def memory(library: Any, family: str, place: tuple[Any, ...]) -> int | None:
    """Bytes of HBM, of DDR on products without it."""
    hbm, ddr = HbmInfo(), MemoryInfo()
    asked = ((f"{family}_get_device_hbm_info", hbm), ("dcmi_get_device_memory_info_v3", ddr))
    for name, info in asked if family == "dcmi" else asked[:1]:
        try:
            call(library, name, *place, ctypes.byref(info))
        except DcmiError:
            continue
        if info.memory_size:
            return int(info.memory_size) << 20
    return None


def physical_id(library: Any, family: str, place: tuple[Any, ...]) -> int:
    """The number of /dev/davinciN."""
    if family == "dcmiv2":
        return number(library, "dcmiv2_get_chip_phy_id_by_dev_id", UInt, UInt(place[0].value))
    logic = Int(0)
    call(library, "dcmi_get_device_logic_id", ctypes.byref(logic), *place)
    return number(library, "dcmi_get_device_phyid_from_logicid", UInt, UInt(logic.value))


# -- the family with one id ---------------------------------------------------------------------------------------


def devices_v2(library: Any) -> list[dict[str, Any]]:
    """Every NPU of the newest products; the id stands for the card."""
    ids, count = (Int * LIST_CAP)(), Int(0)
    call(library, "dcmiv2_get_device_list", ids, ctypes.byref(count), Int(LIST_CAP))
    found = []
    for device in ids[: max(0, min(count.value, LIST_CAP))]:
        place = (Int(device),)
        kind = field(lambda place=place: number(library, "dcmiv2_get_device_type", Int, *place))  # type: ignore[misc]
        if kind in (None, NPU_TYPE):
            found.append({"card": device, "device": 0, **facts(library, "dcmiv2", place)})
    return found
