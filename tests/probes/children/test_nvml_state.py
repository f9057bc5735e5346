"""The NVML child's state of a GPU over a fake library: the whole shape, what is not supported, bindings and drivers of
another age, MIG, links to switches and to other GPUs."""

import sys
import types
from typing import Any

import pytest

from infra_doctor_probes.children import nvml, nvml_state
from infra_doctor_probes.detect.nvidia_driver import OTHER_FOLDERS
from tests.probes.detect.fake_nvml import FUNCTION_NOT_FOUND, GPU_IS_LOST, NOT_SUPPORTED, NVMLError, fake_pynvml, h200

STATE_FIELDS = set(nvml_state.questions(None, None))


def collected(monkeypatch: pytest.MonkeyPatch, *devices: dict[str, Any] | int, **functions: Any) -> dict[str, Any]:
    monkeypatch.setitem(sys.modules, "pynvml", fake_pynvml(list(devices), **functions))
    return nvml.collect()


def test_an_h200_as_nvidia_smi_prints_it(monkeypatch: pytest.MonkeyPatch) -> None:
    (device,) = collected(monkeypatch, h200(0))["devices"]
    assert device["errors"] == {}
    assert set(device) >= STATE_FIELDS
    assert (device["compute_mode"], device["recovery_action"], device["virtualization"]) == (
        "default",
        "none",
        "pass_through",
    )
    assert (device["power_w"], device["power_limit_w"], device["power_min_limit_w"]) == (76.31, 700.0, 200.0)
    assert (device["temperature_c"], device["temperature_memory_c"], device["temperature_slowdown_c"]) == (36, 35, 89)
    assert (device["memory_used_bytes"], device["memory_reserved_bytes"]) == (1, 645922816)
    assert device["processes"] == [{"pid": 4711, "type": "C", "memory_bytes": 1 << 30}]
    assert device["pcie"] == {
        "width": 16, "width_max": 16, "generation": 5, "generation_max": 5, "generation_device_max": 5, "replays": 0,
    }  # fmt: skip
    assert (device["clocks_mhz"]["sm"], device["clocks_mhz"]["sm_max"], device["clocks_mhz"]["memory"]) == (
        345,
        1980,
        3201,
    )
    assert device["throttle"] == ["gpu_idle"]
    assert device["throttled_us"]["hw_power_brake"] == 5000, "NVML counts nanoseconds"
    assert device["ecc_errors"]["volatile"]["dram_uncorrected"] == 0
    assert device["remapped_rows"] == {"corrected": 0, "uncorrected": 0, "pending": False, "failed": False}
    assert device["retired_pages"] is None, "not supported there"
    assert (device["numa_node"], device["cpu_affinity"]) == (0, "0-127")
    assert device["fabric"]["state"] == "completed"
    assert device["fabric"]["status"] == "Success"
    assert len(device["nvlinks"]) == 18
    assert device["nvlinks"][17] == {
        "link": 17, "active": True, "version": "4.0", "speed_mb_per_s": 26562, "remote_type": "switch",
        "remote_address": None, "errors": {"crc": 0, "replay": 0, "recovery": 0},
    }  # fmt: skip


def test_what_a_device_does_not_support_is_null(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [n for n in h200(0) if n not in {"nvmlDeviceGetName", "nvmlDeviceGetPciInfo"}]
    bare = h200(0) | {n: NVMLError(NOT_SUPPORTED if i % 2 else FUNCTION_NOT_FOUND) for i, n in enumerate(names)}

    def unknown(_: Any) -> Any:
        raise NVMLError(NOT_SUPPORTED)

    (device,) = collected(monkeypatch, bare, nvmlDeviceGetCurrentClocksThrottleReasons=unknown)["devices"]
    assert device["errors"] == {}
    told = {n: device[n] for n in STATE_FIELDS if device[n] is not None}
    assert told == {}


def test_a_field_that_fails_names_its_reason_and_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    (device,) = collected(monkeypatch, h200(0) | {"nvmlDeviceGetTemperature": NVMLError(999)})["devices"]
    assert device["errors"] == {"temperature_c": "Unknown Error"}
    assert device["power_w"] == 76.31


def test_a_lost_gpu_is_asked_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = {name: NVMLError(GPU_IS_LOST) for name in h200(0)}
    data = collected(monkeypatch, lost, h200(1))
    assert data["devices"][0]["error"] == "GPU is lost"
    assert "processes" not in data["devices"][0]
    assert data["devices"][1]["compute_mode"] == "default"
    assert data["topology"] == [], "no pair of one"


def test_old_bindings_know_throttle_reasons_and_one_memory_structure(monkeypatch: pytest.MonkeyPatch) -> None:
    device = h200(0) | {"nvmlDeviceGetCurrentClocksEventReasons": NVMLError(FUNCTION_NOT_FOUND)}

    def memory(_: Any) -> Any:
        return types.SimpleNamespace(total=10, used=3, free=7)

    (found,) = collected(
        monkeypatch, device, nvmlDeviceGetCurrentClocksThrottleReasons=lambda _: 0x48, nvmlDeviceGetMemoryInfo=memory
    )["devices"]
    assert found["throttle"] == ["hw_slowdown", "hw_thermal_slowdown"]
    assert found["memory_used_bytes"] == 3
    assert found["memory_reserved_bytes"] is None


@pytest.mark.parametrize(
    ("number", "word"), [(0, "none"), (1, "gpu_reset"), (2, "node_reboot"), (4, "drain_and_reset"), (99, "action 99")]
)
def test_recovery_action(monkeypatch: pytest.MonkeyPatch, number: int, word: str) -> None:
    values = h200(0)["nvmlDeviceGetFieldValues"] | {230: number}
    (device,) = collected(monkeypatch, h200(0) | {"nvmlDeviceGetFieldValues": values})["devices"]
    assert device["recovery_action"] == word


def test_a_fabric_in_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    info = {"state": 3, "status": 0, "healthMask": 1 | 1 << 4 | 5 << 8, "healthSummary": 2, "cliqueId": 7}
    (device,) = collected(monkeypatch, h200(0) | {"nvmlDeviceGetGpuFabricInfoV": info})["devices"]
    assert device["fabric"]["health"] == "unhealthy"
    assert device["fabric"]["problems"] == ["degraded_bandwidth", "route_unhealthy", "incorrect_configuration"]
    assert device["fabric"]["clique_id"] == 7


def test_a_fabric_that_has_not_started_has_no_status(monkeypatch: pytest.MonkeyPatch) -> None:
    info = {"state": 1, "status": 999}
    (device,) = collected(monkeypatch, h200(0) | {"nvmlDeviceGetGpuFabricInfoV": info})["devices"]
    assert (device["fabric"]["state"], device["fabric"]["status"]) == ("not_started", None)


def test_mig_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = {
        "nvmlDeviceGetName": "NVIDIA H200 MIG 3g.71gb",
        "nvmlDeviceGetUUID": "MIG-1",
        "nvmlDeviceGetAttributes": types.SimpleNamespace(memorySizeMB=71424),
    }

    def by_index(_: Any, index: int) -> Any:
        if index != 1:
            raise NVMLError(6)
        return instance

    (device,) = collected(
        monkeypatch,
        h200(0) | {"nvmlDeviceGetMigMode": [1, 1]},
        nvmlDeviceGetMigDeviceHandleByIndex=by_index,
        nvmlDeviceGetAttributes=lambda d: d["nvmlDeviceGetAttributes"],
    )["devices"]
    assert device["mig_devices"] == [{"uuid": "MIG-1", "profile": "3g.71gb", "memory_bytes": 71424 << 20}]


def test_topology_counts_links_into_the_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = collected(monkeypatch, *(h200(i) for i in range(4)))["topology"]
    assert len(pairs) == 6
    assert pairs[0] == {
        "a": "0000:00:06.0", "b": "0000:00:07.0", "nvlinks": 18, "path": "PHB", "p2p_read": "ok", "p2p_nvlink": "ok",
    }  # fmt: skip


def test_topology_counts_links_from_gpu_to_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two bridged cards and a third one that is alone: the links of a bridge lead to the peer's address."""

    def remote(device: dict[str, Any], link: int) -> Any:
        peer = {"00000000:00:06.0": "00000000:00:07.0", "00000000:00:07.0": "00000000:00:06.0"}
        return types.SimpleNamespace(busId=peer[device["nvmlDeviceGetPciInfo"].busId])

    bridged = [h200(i) | {"nvmlDeviceGetNvLinkRemoteDeviceType": 0} for i in range(2)]
    for device in bridged:
        device["nvmlDeviceGetFieldValues"] = device["nvmlDeviceGetFieldValues"] | {91: 4}
    alone = h200(2)
    alone["nvmlDeviceGetFieldValues"] = alone["nvmlDeviceGetFieldValues"] | {91: 4, 165: 0}
    pairs = collected(monkeypatch, *bridged, alone, nvmlDeviceGetNvLinkRemotePciInfo=remote)["topology"]
    assert [p["nvlinks"] for p in pairs] == [4, 0, 0]


def test_sets_of_numbers() -> None:
    assert nvml_state.bits([0b1011, 1]) == [0, 1, 3, 64]
    assert nvml_state.ranges([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8"
    assert nvml_state.ranges([]) is None


def test_nvml_is_taken_from_a_folder_that_others_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_pynvml([h200(0)])
    opened: list[str] = []

    def without_library() -> None:
        if not opened:
            raise NVMLError(nvml.LIBRARY_NOT_FOUND)

    def load(path: str) -> object:
        if "opengl-driver" not in path:
            raise OSError(path)
        opened.append(path)
        return object()

    monkeypatch.setattr(fake, "nvmlInit", without_library, raising=False)
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.setattr("ctypes.CDLL", load)
    assert len(nvml.collect()["devices"]) == 1
    assert opened == ["/run/opengl-driver/lib/libnvidia-ml.so.1"]


def test_the_child_and_the_probe_know_the_same_folders() -> None:
    assert nvml.NVML_FOLDERS == OTHER_FOLDERS
