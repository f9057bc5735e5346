"""The variables that hide devices: CUDA's reading as it was tried on an H200, the others' as far as it is certain."""

from typing import Any

import pytest

from infra_doctor.plugin import Component, ProbeContext
from infra_doctor_probes.detect.nvidia_state import GpuState, MigDevice
from infra_doctor_probes.detect.pci import PciDevice
from infra_doctor_probes.detect.visible_devices import PROBES, VARIABLES, VisibleDevices
from tests.support.recipe import recipe_machine

UUID = "GPU-74e4b28e-fd6a-7f51-916f-2e756aa5877c"


def gpu(number: int, **attributes: Any) -> Component:
    found = {
        "vendor": "nvidia",
        "seen_by": "nvml",
        "uuid": UUID if number == 0 else f"GPU-{number}",
        "mig": "disabled",
        **attributes,
    }
    return Component(key=f"gpu:{number}", kind="gpu", name="NVIDIA H200", attributes=found)


def look(environment: dict[str, str], *found: Component, facts: tuple[Any, ...] = ()) -> list[VisibleDevices]:
    machine = recipe_machine({"environment": environment}, PROBES[0].environment)
    context = ProbeContext(machine=machine, targets=(), components=found, facts=facts)
    return list(PROBES[0].run(context))


# value, what cuInit and cuDeviceGetCount gave on a machine with one H200 (driver 580.159.04): devices, 0 for errors 100 and 101
ON_AN_H200 = [
    ("", 0), (" ", 0), ("-1", 0), ("0", 1), ("0,0", 0), ("5", 0), ("0,5", 1), ("5,0", 0), ("abc", 0), ("0,abc", 1), ("00", 1),
    ("+0", 1), ("0 ", 1), (" 0", 1), ("0,-1", 1), ("NoDevFiles", 0), ("GPU-bogus", 0), ("MIG-1", 0), ("GPU-", 0), ("all", 0),
    ("none", 0), ("void", 0), ("0,", 1), (",0", 0), ("0x0", 1), ("1e0", 0), ("0.5", 1), (UUID, 1), (UUID[:12], 1),
    (UUID[:5], 1), ("0," + UUID, 1), (UUID + ",0", 1), (UUID.upper(), 1), (UUID[:12] + ",x", 1),
]  # fmt: skip


@pytest.mark.parametrize(("value", "visible"), ON_AN_H200)
def test_what_cuda_makes_of_it(value: str, visible: int) -> None:
    (found,) = look({"CUDA_VISIBLE_DEVICES": value}, gpu(0))
    assert (found.vendor, found.visible) == ("nvidia", visible)
    assert bool(found.problem) or visible == 1
    assert found.evidence[0].source == "CUDA_VISIBLE_DEVICES"


@pytest.mark.parametrize(
    ("value", "problem", "position", "index"),
    [
        ("", "none", None, None), ("-1", "none", None, None), ("NoDevFiles", "none", None, None),
        ("0,1", "", None, None), ("1,0", "", None, None), ("0,-1", "", None, None), ("0,", "", None, None), (UUID, "", None, None),
        ("2", "index", 1, 2), ("0,7,1", "index", 2, 7), ("-2", "index", 1, -2), ("1,1", "twice", 2, 1), ("0,00", "twice", 2, 0),
        ("GPU-deadbeef", "uuid", 1, None), ("gpu0", "text", 1, None), ("0," + UUID, "text", 2, None), ("0,,1", "text", 2, None),
        ("MIG-deadbeef", "mig", 1, None), ("99999999999999", "index", 1, 999999999),
    ],
)  # fmt: skip
def test_what_is_wrong_with_it(value: str, problem: str, position: int | None, index: int | None) -> None:
    (found,) = look({"CUDA_VISIBLE_DEVICES": value}, gpu(0), gpu(1))
    assert (found.problem, found.position, found.index) == (problem, position, index)


def test_indexes_are_not_judged_with_mig() -> None:
    (found,) = look({"CUDA_VISIBLE_DEVICES": "3"}, gpu(0, mig="enabled"))
    assert found.problem == "unknown"


@pytest.mark.parametrize(
    ("value", "problem"), [("MIG-aaaa", ""), ("MIG-ffff", "mig"), ("MIG-GPU-74e4b28e/1/0", "unknown")]
)
def test_mig_instances_are_known_by_uuid(value: str, problem: str) -> None:
    state = GpuState(gpu="gpu:0", source="nvml", mig_devices=(MigDevice(uuid="MIG-aaaa-bbbb"),))
    (found,) = look({"CUDA_VISIBLE_DEVICES": value}, gpu(0, mig="enabled"), facts=(state,))
    assert found.problem == problem


def test_a_shortened_uuid_cannot_be_compared_with_an_alias() -> None:
    """In a snapshot UUIDs are replaced, whole ones in the variable too."""
    alias = "GPU-0123456789ab"
    (short,) = look({"CUDA_VISIBLE_DEVICES": "GPU-74e4"}, gpu(0, uuid=alias))
    (whole,) = look({"CUDA_VISIBLE_DEVICES": alias}, gpu(0, uuid=alias))
    (other,) = look({"CUDA_VISIBLE_DEVICES": "GPU-ba9876543210"}, gpu(0, uuid=alias))
    assert (short.problem, whole.problem, other.problem) == ("unknown", "", "uuid")


def test_where_nvml_did_not_answer_an_index_is_not_judged() -> None:
    (found,) = look({"CUDA_VISIBLE_DEVICES": "1"}, gpu(0, seen_by="pci"))
    assert (found.problem, found.device_count) == ("unknown", None)


def test_without_such_a_device_a_variable_says_nothing() -> None:
    everything = {name: "7" for names in VARIABLES.values() for name in names}
    assert look(everything) == []
    assert {f.vendor for f in look(everything, gpu(0))} == {"nvidia"}


def pci_device(vendor: str) -> PciDevice:
    return PciDevice(address="0000:01:00.0", vendor=vendor, pci_id="1:1", class_code="120000")


@pytest.mark.parametrize(
    ("vendor", "variable", "value", "problem"),
    [
        ("amd", "ROCR_VISIBLE_DEVICES", "0", ""),
        ("amd", "ROCR_VISIBLE_DEVICES", "", "none"),
        ("amd", "HIP_VISIBLE_DEVICES", "1", "unknown"),  # one function of the bus may hold several devices
        ("amd", "HIP_VISIBLE_DEVICES", "64", "index"),
        ("amd", "ROCR_VISIBLE_DEVICES", "GPU-1234abcd", "unknown"),
        ("amd", "CUDA_VISIBLE_DEVICES", "cuda", "text"),
        ("intel", "ZE_AFFINITY_MASK", "0.0,0.1", ""),
        ("mthreads", "MUSA_VISIBLE_DEVICES", "0", ""),
        ("cambricon", "MLU_VISIBLE_DEVICES", "-1", "none"),
    ],
)
def test_other_vendors(vendor: str, variable: str, value: str, problem: str) -> None:
    (found,) = look({variable: value}, facts=(pci_device(vendor),))
    assert (found.variable, found.problem) == (variable, problem)


def test_npus_that_their_tool_lists_are_counted() -> None:
    npu = Component(key="npu:0", kind="npu", name="Ascend910B", attributes={"vendor": "ascend", "seen_by": "dcmi"})
    (found,) = look({"ASCEND_RT_VISIBLE_DEVICES": "4"}, npu)
    assert (found.problem, found.index, found.device_count) == ("index", 4, 1)


@pytest.mark.parametrize(
    "value", ["\udcff", "0" * 100000, ",".join("0123456789" * 5000), "GPU-" + "a" * 100000, "\x00", "０"]
)
def test_hostile_values_raise_nothing_and_are_not_shown(value: str) -> None:
    (found,) = look({"CUDA_VISIBLE_DEVICES": value}, gpu(0))
    assert len(found.evidence[0].text) <= 200
    assert found.problem in {"text", "index", "twice", "uuid", ""}
