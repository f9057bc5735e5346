"""What an NPU says of its own state, in one form for DCMI and for npu-smi; nothing is judged.

Numbers of the wrong type or sign count as not said: a child process and a tool's text are foreign input."""

from collections.abc import Mapping
from dataclasses import field, fields
from typing import Any

from infra_doctor.plugin import Evidence, fact, record
from infra_doctor_probes.answers import count, whole

FAULT_CAP, PROCESS_CAP = 128, 64


@record
class EccCounts:
    """The counters of one memory ("HBM", "DDR"). `_count` is since the driver was loaded, `_total` over the life of the
    chip; a page `_to_isolate` is taken out of use at the next reset."""

    memory: str
    single_bit_count: int | None = None
    double_bit_count: int | None = None
    single_bit_total: int | None = None
    double_bit_total: int | None = None
    single_bit_isolated_pages: int | None = None
    double_bit_isolated_pages: int | None = None
    single_bit_pages_to_isolate: int | None = None
    double_bit_pages_to_isolate: int | None = None


COUNTERS = tuple(f.name for f in fields(EccCounts) if f.name != "memory")


@record
class Reading:
    """One look at a chip; None (for `fault_codes` and `processes` too) is what was not said. `health_error` is the DCMI
    code with which the chip's health could not be read; `processes` are (pid, bytes)."""

    health: str | None = None
    health_error: int | None = None
    fault_codes: tuple[str, ...] | None = None
    temperature_c: int | None = None
    hbm_temperature_c: int | None = None
    power_w: float | None = None
    aicore_percent: int | None = None
    hbm_bandwidth_percent: int | None = None
    memory_used_bytes: int | None = None
    memory_bytes: int | None = None
    ecc: tuple[EccCounts, ...] = ()
    network_health: str | None = None
    processes: tuple[tuple[int, int], ...] | None = None
    board_id: int | None = None
    slot_id: int | None = None
    firmware_version: str | None = None
    firmware_compatibility: str | None = None  # "OK" or "NOK": npu-smi's word on driver and firmware


@fact("ascend-npu-state", 1)
@record
class NpuState:
    """The state of one NPU: `npu` is its component key, `source` the tool that said it."""

    npu: str
    source: str
    reading: Reading = field(default_factory=Reading)
    evidence: tuple[Evidence, ...] = ()


def reading_of(data: Mapping[str, Any]) -> Reading:
    """The reading in one entry of the DCMI child's answer."""
    board = data.get("board")
    board = board if isinstance(board, dict) else {}
    ecc = data.get("ecc")
    counted = ecc.items() if isinstance(ecc, dict) else ()
    return Reading(
        health=word(data.get("health")),
        health_error=whole(data.get("health_error")),
        fault_codes=codes_of(data.get("fault_codes")),
        temperature_c=whole(data.get("temperature_c")),
        hbm_temperature_c=whole(data.get("hbm_temperature_c")),
        power_w=amount(data.get("power_w")),
        aicore_percent=count(data.get("aicore_percent")),
        hbm_bandwidth_percent=count(data.get("hbm_bandwidth_percent")),
        memory_used_bytes=count(data.get("memory_used_bytes")),
        memory_bytes=count(data.get("memory_bytes")),
        ecc=tuple(ecc_of(str(memory), counts) for memory, counts in counted if isinstance(counts, dict)),
        network_health=word(data.get("network_health")),
        processes=processes_of(data.get("processes")),
        board_id=count(board.get("board_id")),
        slot_id=count(board.get("slot_id")),
    )


def ecc_of(memory: str, counts: Mapping[str, Any]) -> EccCounts:
    """The counters that are numbers."""
    return EccCounts(memory=memory[:20], **{name: count(counts.get(name)) for name in COUNTERS})


def codes_of(value: object) -> tuple[str, ...] | None:
    """Codes as "80E01801", each once."""
    if not isinstance(value, list | tuple):
        return None
    found = (v.upper().removeprefix("0X") for v in value[:FAULT_CAP] if isinstance(v, str) and len(v) <= 20)
    return tuple(dict.fromkeys(v for v in found if v.isalnum()))


def processes_of(value: object) -> tuple[tuple[int, int], ...] | None:
    """(pid, bytes) pairs."""
    if not isinstance(value, list | tuple):
        return None
    pairs = (p for p in value[:PROCESS_CAP] if isinstance(p, list | tuple) and len(p) == 2)
    return tuple((p[0], p[1]) for p in pairs if count(p[0]) is not None and count(p[1]) is not None)


def amount(value: object) -> float | None:
    """A measured value from 0 to a million."""
    ok = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e6
    return float(value) if ok and isinstance(value, int | float) else None


def word(value: object) -> str | None:
    """A short text."""
    return value[:60] if isinstance(value, str) and value else None
