"""What DCMI says of one NPU's state: faults, memory errors, temperatures, load, network, processes. Getters only.

Prototypes and structures are those of the public headers in Ascend/mind-cluster (component/ascend-common/devmanager/dcmi);
proven here on a stand-in library alone, not on a device. The header has no getter for the state of HCCS links, only one that
measures their traffic for a while, which is not called. What a product or driver does not give is None."""

import ctypes
from collections.abc import Callable
from typing import Any

Int, UInt, ULong = ctypes.c_int, ctypes.c_uint, ctypes.c_ulong
# Words of npu-smi and hccn_tool for the codes of dcmi_get_device_health and enum dcmi_rdfx_detect_result.
HEALTH = {0: "OK", 1: "Warning", 2: "Alarm", 3: "Critical"}
NETWORK_HEALTH = {
    0: "Success", 1: "Socket failed", 2: "Receive timeout", 3: "Unreachable", 4: "Time exceeded", 5: "Fault", 6: "Init",
    7: "Thread error", 8: "Detect ip set",
}  # fmt: skip
MEMORIES = {"DDR": 0, "HBM": 2}  # enum dcmi_device_type
AICORE, HBM_BANDWIDTH = 2, 10  # input_type of dcmi_get_device_utilization_rate
FAULT_CAP, PROCESS_CAP = 128, 64


class HbmInfo(ctypes.Structure):
    """struct dcmi_hbm_info; memory in MB."""

    _fields_ = [
        ("memory_size", ctypes.c_ulonglong), ("freq", UInt), ("memory_usage", ctypes.c_ulonglong), ("temp", Int),
        ("bandwith_util_rate", UInt),
    ]  # fmt: skip


class EccInfo(ctypes.Structure):
    """struct dcmi_ecc_info."""

    _fields_ = [
        ("enable_flag", Int), ("single_bit_error_cnt", UInt), ("double_bit_error_cnt", UInt),
        ("total_single_bit_error_cnt", UInt), ("total_double_bit_error_cnt", UInt),
        ("single_bit_isolated_pages_cnt", UInt), ("double_bit_isolated_pages_cnt", UInt),
        ("single_bit_next_isolated_pages_cnt", UInt), ("double_bit_next_isolated_pages_cnt", UInt),
    ]  # fmt: skip


class ProcessMemory(ctypes.Structure):
    """struct dcmi_proc_mem_info; memory in bytes."""

    _fields_ = [("proc_id", Int), ("proc_mem_usage", ULong)]


class BoardInfo(ctypes.Structure):
    """struct dcmi_board_info."""

    _fields_ = [("board_id", UInt), ("pcb_id", UInt), ("bom_id", UInt), ("slot_id", UInt)]


Call = Callable[..., None]


class RefusedError(Exception):
    """A getter answered with a code, or is not there (None)."""

    def __init__(self, code: int | None) -> None:
        super().__init__(str(code))
        self.code = code


def state(call: Call, family: str, place: tuple[Any, ...]) -> dict[str, Any]:
    """One device's state. `call(name, *arguments)` raises RefusedError; `place` are the ids that every getter begins with."""
    found: dict[str, Any] = {
        "temperature_c": asked(lambda: number(call, f"{family}_get_device_temperature", Int, place)),
        "power_w": asked(lambda: number(call, f"{family}_get_device_power_info", Int, place) / 10),
        "aicore_percent": asked(
            lambda: number(call, f"{family}_get_device_utilization_rate", UInt, place, Int(AICORE))
        ),
        "fault_codes": asked(lambda: fault_codes(call, family, place)),
        "ecc": memory_errors(call, family, place),
        "network_health": asked(lambda: network_health(call, family, place)),
        "processes": asked(lambda: processes(call, family, place)),
        "board": asked(lambda: board(call, family, place)),
    }
    return found | health(call, family, place) | (asked(lambda: hbm(call, family, place)) or {})


def asked(ask: Callable[[], Any]) -> Any:
    """The value, None where this product or driver does not give it."""
    try:
        return ask()
    except RefusedError:
        return None


def number(call: Call, name: str, kind: Any, place: tuple[Any, ...], *more: Any) -> int:
    """A getter of one number, its last argument."""
    value = kind()
    call(name, *place, *more, ctypes.byref(value))
    return int(value.value)


def health(call: Call, family: str, place: tuple[Any, ...]) -> dict[str, Any]:
    """The health in npu-smi's words, or the code with which the device refused to say it."""
    try:
        code = number(call, f"{family}_get_device_health", UInt, place)
    except RefusedError as refused:
        return {"health": None, "health_error": refused.code}
    return {"health": HEALTH.get(code, f"code {code}"), "health_error": None}


def fault_codes(call: Call, family: str, place: tuple[Any, ...]) -> list[str]:
    """The fault events that are present, as npu-smi prints them: "80E01801"."""
    name = "dcmi_get_device_errorcode_v2" if family == "dcmi" else "dcmiv2_get_device_error_code_list"
    count, codes = Int(0), (UInt * FAULT_CAP)()
    call(name, *place, ctypes.byref(count), codes, UInt(FAULT_CAP))
    return [f"{code:08X}" for code in codes[: max(0, min(count.value, FAULT_CAP))]]


def hbm(call: Call, family: str, place: tuple[Any, ...]) -> dict[str, Any]:
    """Use and temperature of the HBM; nothing where there is none."""
    info = HbmInfo()
    call(f"{family}_get_device_hbm_info", *place, ctypes.byref(info))
    if not info.memory_size:
        return {}
    return {
        "memory_used_bytes": int(info.memory_usage) << 20,
        "hbm_temperature_c": int(info.temp),
        "hbm_bandwidth_percent": int(info.bandwith_util_rate),
    }


def memory_errors(call: Call, family: str, place: tuple[Any, ...]) -> dict[str, dict[str, int]]:
    """The counters of each kind of memory that has them."""
    found = {}
    for name, memory in MEMORIES.items():
        counts = asked(lambda memory=memory: ecc(call, family, place, memory))  # type: ignore[misc]
        if counts is not None:
            found[name] = counts
    return found


def ecc(call: Call, family: str, place: tuple[Any, ...], memory: int) -> dict[str, int] | None:
    """The counters of one kind of memory; None where ECC is off."""
    info = EccInfo()
    call(f"{family}_get_device_ecc_info", *place, Int(memory), ctypes.byref(info))
    if not info.enable_flag:
        return None
    return {
        "single_bit_count": info.single_bit_error_cnt,
        "double_bit_count": info.double_bit_error_cnt,
        "single_bit_total": info.total_single_bit_error_cnt,
        "double_bit_total": info.total_double_bit_error_cnt,
        "single_bit_isolated_pages": info.single_bit_isolated_pages_cnt,
        "double_bit_isolated_pages": info.double_bit_isolated_pages_cnt,
        "single_bit_pages_to_isolate": info.single_bit_next_isolated_pages_cnt,
        "double_bit_pages_to_isolate": info.double_bit_next_isolated_pages_cnt,
    }


def network_health(call: Call, family: str, place: tuple[Any, ...]) -> str:
    """What the NPU's own detection of its network says."""
    code = number(call, f"{family}_get_device_network_health", Int, place)
    return NETWORK_HEALTH.get(code, f"code {code}")


def processes(call: Call, family: str, place: tuple[Any, ...]) -> list[list[int]]:
    """[pid, bytes] of each process that holds memory of the device."""
    name = "dcmi_get_device_resource_info" if family == "dcmi" else "dcmiv2_get_device_proc_mem_info"
    found, count = (ProcessMemory * PROCESS_CAP)(), Int(PROCESS_CAP)
    call(name, *place, found, ctypes.byref(count))
    return [[int(p.proc_id), int(p.proc_mem_usage)] for p in found[: max(0, min(count.value, PROCESS_CAP))]]


def board(call: Call, family: str, place: tuple[Any, ...]) -> dict[str, int]:
    """The ids of the board."""
    info = BoardInfo()
    call(f"{family}_get_device_board_info", *place, ctypes.byref(info))
    return {name: int(getattr(info, name)) for name in ("board_id", "pcb_id", "bom_id", "slot_id")}
