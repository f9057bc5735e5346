"""`nvidia-smi -q` and `-q -x` become the same device dicts, field by field, of all generations of drivers."""

from typing import Any

import pytest

from infra_doctor_probes.detect.nvidia_state import GpuState, gpu_state
from infra_doctor_probes.nvidia_smi.query_text import read_query_text
from infra_doctor_probes.nvidia_smi.query_xml import read_query_xml
from infra_doctor_probes.nvidia_smi.text import Refused
from tests.probes.nvidia_smi.captures import capture
from tests.support.recipe import MissingSample, sample_bytes

MOVING = {"power_w", "temperature_c", "temperature_memory_c", "temperature_margin_c", "clocks_mhz"}  # between two calls


def sample(name: str) -> str:
    try:
        return sample_bytes(f"vendors/nvidia/{name}").decode("utf-8", "replace")
    except MissingSample as missing:
        pytest.skip(f"public capture not here: {missing}")


def answer_of(found: dict[str, Any] | Refused) -> dict[str, Any]:
    assert isinstance(found, dict), found
    return found


def state(device: dict[str, Any]) -> GpuState:
    """The fact that the device dict becomes; what it does not understand would be lost."""
    return gpu_state("gpu:x", device, "nvidia-smi -q -x")


@pytest.mark.parametrize("folder", ["env-2gpu", "env-8gpu"])
def test_both_forms_tell_the_same(folder: str) -> None:
    xml = answer_of(read_query_xml(capture(f"{folder}/nvidia-smi-q.xml")))
    text = answer_of(read_query_text(capture(f"{folder}/nvidia-smi-q.txt")))
    assert {k: v for k, v in xml.items() if k != "devices"} == {k: v for k, v in text.items() if k != "devices"}
    assert xml["driver_version"] == "580.159.04"
    assert xml["cuda_driver_version"] == "13.0"
    assert xml["incomplete"] == ""
    assert len(xml["devices"]) == len(text["devices"]) == int(folder[4])
    for left, right in zip(xml["devices"], text["devices"], strict=True):
        differ = {k: (left[k], right[k]) for k in left if left[k] != right[k]}
        assert set(differ) <= MOVING, differ


def test_an_h200_field_by_field() -> None:
    found = answer_of(read_query_xml(capture("env-8gpu/nvidia-smi-q.xml")))["devices"][7]
    told = state(found)
    assert (told.name, told.index, found["minor_number"]) == ("NVIDIA H200", 7, 7)
    assert found["pci"] == {"address": "0000:00:0d.0", "id": "10de:2335"}
    assert (found["architecture"], found["brand"]) == ("Hopper", "NVIDIA")
    assert told.memory_bytes == 143771 << 20
    assert (told.memory_used_bytes, told.memory_reserved_bytes) == (0, 616 << 20)
    assert (told.persistence, told.ecc, told.ecc_pending, told.mig, told.display_active) == (
        True, True, True, False, False,
    )  # fmt: skip
    assert (told.pcie_width, told.pcie_width_max, told.pcie_generation, told.pcie_generation_max) == (16, 16, 5, 5)
    assert told.pcie_generation_device_max == 5
    assert (told.power_limit_w, told.power_default_limit_w, told.power_max_limit_w) == (700.0, 700.0, 700.0)
    assert dict(told.clocks_mhz)["memory"] == 3201
    assert dict(told.clocks_mhz)["sm_max"] == 1980
    assert told.throttle == ("gpu_idle",)
    assert dict(told.throttled_us)["hw_thermal_slowdown"] == 0
    assert told.ecc_volatile is not None
    assert (told.ecc_volatile.uncorrected, told.ecc_volatile.sram_uncorrected) == (0, 0)
    assert (told.rows_remapped_uncorrected, told.row_remap_pending, told.row_remap_failed) == (0, False, False)
    assert (told.channel_repair_pending, told.tpc_repair_pending, told.unrepairable_memory) == (False, False, False)
    assert (told.recovery_action, told.compute_mode, told.pstate) == ("none", "default", 0)
    assert (told.fabric_state, told.fabric_status, told.fabric_clique_id) == ("completed", "Success", 0)
    assert told.fabric_problems == ()
    assert (told.processes, told.mig_devices, told.nvlinks) == ((), (), ())
    assert (told.gsp_firmware, told.virtualization) == ("580.159.04", "pass_through")
    assert (told.error, told.errors) == ("", ())


def test_a_pascal_board_counts_errors_by_bits() -> None:
    found = answer_of(read_query_xml(sample("nvidia-smi-q-x__netdata_tesla-p100.xml")))["devices"][0]
    told = state(found)
    assert told.ecc_aggregate is not None
    assert (told.ecc_aggregate.corrected, told.ecc_aggregate.dram_corrected) == (3, 3)
    assert told.ecc_aggregate.uncorrected == 0
    assert (told.pages_retired_single_bit, told.pages_retired_double_bit, told.page_retirement_pending) == (0, 0, False)
    assert told.rows_remapped_corrected is None
    assert told.recovery_action is None
    assert told.throttle == () or told.throttle is not None


def test_mig_instances_and_what_runs_in_them() -> None:
    xml = answer_of(read_query_xml(sample("nvidia-smi-q-x__netdata_a100-sxm4-mig.xml")))["devices"][0]
    assert state(xml).mig is True
    assert [m.memory_bytes for m in state(xml).mig_devices] == [19968 << 20] * 2
    text = answer_of(read_query_text(sample("nvidia-smi-q__linux-x86_64_nvidia-h100-mig_590.48.01_load.txt")))
    told = state(text["devices"][0])
    assert [m.memory_bytes for m in told.mig_devices] == [n << 20 for n in (40448, 20096, 9984, 9984)]
    assert told.processes is not None
    assert next((p.pid, p.type, p.memory_bytes) for p in told.processes) == (21180, "C", 2296 << 20)
    assert len(told.processes) == 3


def test_processes_without_memory_and_newer_names_under_windows() -> None:
    found = answer_of(
        read_query_text(sample("nvidia-smi-q__windows-x86_64_nvidia-geforce-rtx-2080-super_610.62_load.txt"))
    )
    assert (found["driver_version"], found["cuda_driver_version"]) == ("610.62", "13.3")
    told = state(found["devices"][0])
    assert told.processes is not None
    assert {p.type for p in told.processes} == {"C+G", "C"}
    assert {p.memory_bytes for p in told.processes} == {None}
    assert (told.power_limit_w, told.power_max_limit_w) == (250.0, 350.0)
    assert told.persistence is None


def test_row_remapping_that_waits_for_a_reset() -> None:
    found = answer_of(read_query_text(sample("nvidia-smi-q__gpud_535.129.03.out.0.valid.a10.txt")))
    told = state(found["devices"][0])
    assert (told.rows_remapped_corrected, told.rows_remapped_uncorrected) == (0, 4)
    assert (told.row_remap_pending, told.row_remap_failed) == (True, False)
    assert told.recovery_action == "none"  # both switches of GPU Reset Status say No


def test_a_cut_output_says_what_is_missing() -> None:
    found = answer_of(read_query_text(sample("nvidia-smi-q__gpud_535.183.01.out.0.invalid.txt")))
    assert found["incomplete"] == "1 of 8 GPUs"
    assert found["devices"][0]["pci"]["address"] == "0000:53:00.0"


def test_a_field_that_failed_is_named() -> None:
    text = "==============NVSMI LOG==============\n\nAttached GPUs : 1\nGPU 00000000:0B:00.0\n"
    text += (
        "    Product Name : NVIDIA H100\n    Persistence Mode : Unknown Error\n    ECC Mode\n        Current : N/A\n"
    )
    device = answer_of(read_query_text(text))["devices"][0]
    assert (device["persistence"], device["ecc"], device["error"]) == (None, None, "")
    assert device["errors"] == {"persistence": "Unknown Error"}


def test_a_lost_gpu_is_an_error_and_the_others_go_on() -> None:
    lost = "GPU 00000000:0B:00.0\n    Product Name : GPU is lost\n    Persistence Mode : GPU is lost\n"
    text = "=====NVSMI LOG=====\nAttached GPUs : 2\n" + lost + "GPU 00000000:0C:00.0\n    Product Name : NVIDIA A10\n"
    devices = answer_of(read_query_text(text))["devices"]
    assert [d["error"] for d in devices] == ["GPU is lost", ""]
    assert [d["pci"]["address"] for d in devices] == ["0000:0b:00.0", "0000:0c:00.0"]
    assert devices[1]["name"] == "NVIDIA A10"


@pytest.mark.parametrize(
    ("said", "action"),
    [
        ("<gpu_recovery_action>None</gpu_recovery_action>", "none"),
        ("<gpu_recovery_action>Reset</gpu_recovery_action>", "gpu_reset"),
        ("<gpu_recovery_action>Node Reboot</gpu_recovery_action>", "node_reboot"),
        ("<gpu_recovery_action>Drain P2P</gpu_recovery_action>", "drain_p2p"),
        ("<gpu_recovery_action>Drain and Reset</gpu_recovery_action>", "drain_and_reset"),
        ("<gpu_reset_status><reset_required>Yes</reset_required></gpu_reset_status>", "gpu_reset"),
        ("<gpu_reset_status><reset_required>No</reset_required>"
         "<drain_and_reset_recommended>Yes</drain_and_reset_recommended></gpu_reset_status>", "drain_and_reset"),
        ("", None),
    ],
)  # fmt: skip
def test_recovery_action(said: str, action: str | None) -> None:
    found = read_query_xml(f'<nvidia_smi_log><gpu id="00000000:01:00.0">{said}<uuid>x</uuid></gpu></nvidia_smi_log>')
    assert answer_of(found)["devices"][0]["recovery_action"] == action


def test_an_unhealthy_fabric() -> None:
    health = "<summary>Unhealthy</summary><bandwidth>Degraded</bandwidth><route_unhealthy>True</route_unhealthy>"
    health += "<incorrect_configuration>None</incorrect_configuration><route_recovery_in_progress>No</route_recovery_in_progress>"
    fabric = f"<fabric><state>In Progress</state><status>N/A</status><health>{health}</health></fabric>"
    found = read_query_xml(f"<nvidia_smi_log><gpu>{fabric}</gpu></nvidia_smi_log>")
    told = state(answer_of(found)["devices"][0])
    assert (told.fabric_state, told.fabric_status, told.fabric_health) == ("in_progress", None, "unhealthy")
    assert told.fabric_problems == ("degraded_bandwidth", "route_unhealthy")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("", "the XML ends or breaks at line 1"),
        ("<nvidia_smi_log><gpu>", "the XML ends or breaks at line 1"),
        ("<html></html>", "the document is no nvidia_smi_log but html"),
        ("<nvidia_smi_log></nvidia_smi_log>", "the nvidia_smi_log is empty"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><nvidia_smi_log><gpu>&b;</gpu></nvidia_smi_log>', "the document declares entities"),
        ('<!DOCTYPE a [<!ENTITY % b SYSTEM "file:///etc/passwd">%b;]><nvidia_smi_log/>', "the document declares entities"),
        ("<nvidia_smi_log>" + "<a>" * 100, "elements are nested too deep"),
        ("<nvidia_smi_log>" + "<a/>" * 400_000 + "</nvidia_smi_log>", "more elements than any machine has"),
    ],
)  # fmt: skip
def test_xml_that_is_refused(document: str, reason: str) -> None:
    found = read_query_xml(document)
    assert isinstance(found, Refused)
    assert reason in found.reason


def test_the_dtd_of_nvidia_smi_is_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_files(*_: object, **__: object) -> None:
        raise AssertionError("opened something")

    monkeypatch.setattr("builtins.open", no_files)
    document = '<!DOCTYPE nvidia_smi_log SYSTEM "/etc/passwd"><nvidia_smi_log><driver_version>1.2</driver_version></nvidia_smi_log>'
    assert answer_of(read_query_xml(document))["driver_version"] == "1.2"
