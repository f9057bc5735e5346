"""NVIDIA GPUs: the NVML child over a fake library, children that go wrong, and what the probe makes of every source."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from infra_doctor.machine.agent import Agent
from infra_doctor.machine.child import call_child
from infra_doctor.machine.forms import live_machine
from infra_doctor.machine.machine import Machine
from infra_doctor.machine.types import Capability, MachineForm
from infra_doctor_probes.children import nvml
from infra_doctor_probes.detect import nvidia_driver, nvidia_gpu, pci, system
from infra_doctor_probes.detect.nvidia_gpu import NvidiaGpusNotGiven, NvmlSession
from tests.probes.detect.fake_nvml import (
    FUNCTION_NOT_FOUND,
    GPU_IS_LOST,
    LIB_RM_VERSION_MISMATCH,
    NOT_SUPPORTED,
    NVMLError,
    fake_pynvml,
    h200,
)
from tests.support.gather import Gathered, gather
from tests.support.recipe import recipe_machine

PROBE_ORDER = (system.PROBES, pci.PROBES, nvidia_driver.PROBES, nvidia_gpu.PROBES)
CHILD = nvidia_gpu.CHILD


# -- the child ----------------------------------------------------------------------------------------------------


def collected(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], module: Any) -> dict[str, Any]:
    """What the child prints over this library: one JSON document and nothing else."""
    monkeypatch.setitem(sys.modules, "pynvml", module)
    nvml.main()
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize("count", [0, 1, 8])
def test_child_describes_every_device(monkeypatch: Any, capsys: Any, count: int) -> None:
    data = collected(monkeypatch, capsys, fake_pynvml([h200(i) for i in range(count)]))
    assert (data["error"], data["driver_version"], data["nvml_version"]) == ("", "580.159.04", "13.580.159.04")
    addresses = [f"0000:00:{6 + i:02x}.0" for i in range(count)]
    assert [d["pci"] for d in data["devices"]] == [{"address": a, "id": "10de:2335"} for a in addresses]
    for device in data["devices"]:
        assert device["compute_capability"] == "9.0"
        assert (device["architecture"], device["brand"]) == ("Hopper", "NVIDIA")
        assert device["memory_bytes"] == 150754820096
        assert (device["mig"], device["ecc"], device["persistence"]) == (False, True, True)
        assert (device["error"], device["errors"]) == ("", {})


def test_child_not_supported_is_null_and_no_failure(monkeypatch: Any, capsys: Any) -> None:
    geforce = h200(0) | {n: NVMLError(NOT_SUPPORTED) for n in ("nvmlDeviceGetMigMode", "nvmlDeviceGetEccMode")}
    geforce["nvmlDeviceGetArchitecture"] = NVMLError(FUNCTION_NOT_FOUND)  # an old driver
    geforce["nvmlDeviceGetMemoryInfo"] = NVMLError(NOT_SUPPORTED)  # GB10 shares the system's memory
    (device,) = collected(monkeypatch, capsys, fake_pynvml([geforce]))["devices"]
    assert [device[n] for n in ("mig", "ecc", "architecture", "memory_bytes")] == [None] * 4
    assert (device["name"], device["error"], device["errors"]) == ("NVIDIA H200", "", {})


def test_child_one_lost_device_hides_no_other(monkeypatch: Any, capsys: Any) -> None:
    lost_fields = {name: NVMLError(GPU_IS_LOST) for name in h200(1)}
    devices = collected(monkeypatch, capsys, fake_pynvml([GPU_IS_LOST, lost_fields, h200(2)]))["devices"]
    assert [d["error"] for d in devices] == ["GPU is lost", "GPU is lost", ""]
    assert devices[0]["error_code"] == GPU_IS_LOST
    assert devices[2]["pci"]["address"] == "0000:00:08.0"


def test_child_error_at_init(monkeypatch: Any, capsys: Any) -> None:
    data = collected(monkeypatch, capsys, fake_pynvml([h200(0)], init=LIB_RM_VERSION_MISMATCH))
    assert (data["error_code"], data["devices"]) == (LIB_RM_VERSION_MISMATCH, [])
    assert "version mismatch" in data["error"]


def test_child_old_bindings_answer_bytes(monkeypatch: Any, capsys: Any) -> None:
    module = fake_pynvml(
        [h200(0) | {"nvmlDeviceGetName": b"Tesla T4"}], nvmlSystemGetDriverVersion=lambda: b"535.183.06"
    )
    data = collected(monkeypatch, capsys, module)
    assert (data["driver_version"], data["devices"][0]["name"]) == ("535.183.06", "Tesla T4")


def test_child_bindings_that_lack_a_function(monkeypatch: Any, capsys: Any) -> None:
    module = fake_pynvml([h200(0)])
    del module.nvmlDeviceGetArchitecture
    (device,) = collected(monkeypatch, capsys, module)["devices"]
    assert device["architecture"] is None
    assert "nvmlDeviceGetArchitecture" in device["errors"]["architecture"]


def test_child_without_bindings(monkeypatch: Any, capsys: Any) -> None:
    assert "could not be imported" in collected(monkeypatch, capsys, None)["error"]


def test_child_with_the_real_bindings_and_no_driver() -> None:
    if Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists():
        pytest.skip("this machine has an NVIDIA driver")
    answer = call_child(CHILD, 30.0)
    assert answer["data"]["error_code"] == 12, "NVML_ERROR_LIBRARY_NOT_FOUND"
    assert answer["data"]["cuda_driver_version"] is None


# -- the probe ----------------------------------------------------------------------------------------------------

CLASS_3D, CLASS_VGA = "0x030200\n", "0x030000\n"


def bus(*devices: tuple[str, str, str, str | None]) -> dict[str, dict[str, Any]]:
    """Files and links of sysfs for (address, pci id, class, driver)."""
    files: dict[str, Any] = {}
    links: dict[str, str] = {}
    for address, pci_id, class_code, driver in devices:
        folder = f"/sys/bus/pci/devices/{address}"
        vendor, device = pci_id.split(":")
        files |= {
            f"{folder}/vendor": f"0x{vendor}\n",
            f"{folder}/device": f"0x{device}\n",
            f"{folder}/class": class_code,
        }
        if driver:
            links[f"{folder}/driver"] = f"../../../../bus/pci/drivers/{driver}"
    return {"files": files, "links": links}


def h200_bus(count: int, driver: str | None = "nvidia") -> dict[str, dict[str, Any]]:
    """Our own machines: H200s from 0000:00:06.0 on, beside the virtual machine's own devices."""
    virtio = [
        ("0000:00:00.0", "8086:0d57", "0x060000\n", None),
        ("0000:00:01.0", "1af4:1042", "0x018000\n", "virtio-pci"),
    ]
    return bus(*virtio, *[(f"0000:00:{6 + i:02x}.0", "10de:2335", CLASS_3D, driver) for i in range(count)])


def information(index: int) -> str:
    """/proc/driver/nvidia/gpus/*/information of our own machine."""
    return (
        "Model: \t\t NVIDIA H200\nIRQ:   \t\t 41\nGPU UUID: \t GPU-00000000-0000-0000-0000-000000000000\n"
        "Video BIOS: \t 96.00.a5.00.1a\nBus Type: \t PCIe\nDMA Size: \t 52 bits\nDMA Mask: \t 0xfffffffffffff\n"
        f"Bus Location: \t 0000:00:{6 + index:02x}.0\nDevice Minor: \t {index}\nGPU Firmware: \t 580.159.04\nGPU Excluded:\t No\n"
    )


MODULE = {
    "/proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build  (nixbld@)\n",
    "/proc/sys/kernel/osrelease": "6.8.0-60-generic\n",
}


def served(count: int, *, nodes: int | None = None, proc: int | None = None) -> dict[str, dict[str, Any]]:
    """`count` GPUs on the bus, of which so many have device files and /proc entries."""
    recipe = h200_bus(count)
    recipe["files"] |= MODULE
    for i in range(count if nodes is None else nodes):
        recipe["files"][f"/dev/nvidia{i}"] = {"type": "char", "rdev": [195, i]}
    for i in range(count if proc is None else proc):
        recipe["files"][f"/proc/driver/nvidia/gpus/0000:00:{6 + i:02x}.0/information"] = information(i)
    return recipe


def answered(devices: list[Any], **fields: Any) -> dict[str, Any]:
    """A child's document over the fake library."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pynvml", fake_pynvml(devices))
        return {"data": nvml.collect() | {"cuda_driver_version": "13.0"} | fields}


def found(recipe: dict[str, Any], answer: dict[str, Any] | None, **more: Any) -> Gathered:
    """What the probes find; with `answer` None the child must not be started."""
    children = {CHILD: answer} if answer is not None else {}
    machine = recipe_machine({**recipe, "children": children, **more})
    result = gather(machine, *PROBE_ORDER)
    asked = ("child", CHILD) in machine.observations
    assert asked == (answer is not None), "the child runs where, and only where, an NVIDIA device shows"
    return result


@pytest.mark.parametrize("count", [1, 2, 8])
def test_gpus_and_driver_of_a_healthy_machine(count: int) -> None:
    result = found(served(count), answered([h200(i) for i in range(count)]))
    gpus = result.kinds("gpu")
    assert [g.key for g in gpus] == [f"gpu:0000:00:{6 + i:02x}.0" for i in range(count)]
    assert gpus[0].name == "NVIDIA H200"
    assert gpus[0].attributes == {
        "vendor": "nvidia", "seen_by": "nvml", "pci_id": "10de:2335", "driver_module": "nvidia", "compute_capability": "9.0",
        "architecture": "Hopper", "brand": "NVIDIA", "memory_bytes": 150754820096, "mig": "disabled", "ecc": "enabled",
        "persistence": "enabled", "uuid": "GPU-00000000-0000-0000-0000-000000000000",
    }  # fmt: skip
    driver = result.one("driver")
    assert (driver.key, driver.version) == ("driver:nvidia", "580.159.04")
    assert driver.attributes == {"branch": "R580", "module_flavor": "open", "cuda_api": "13.0"}
    assert not result.unseen
    session = result.fact(NvmlSession)
    assert (session.error, session.device_count, session.nvml_version) == ("", count, "13.580.159.04")


def test_not_supported_fields_are_not_applicable() -> None:
    geforce = h200(0) | {n: NVMLError(NOT_SUPPORTED) for n in ("nvmlDeviceGetMigMode", "nvmlDeviceGetMemoryInfo")}
    gpu = found(served(1), answered([geforce])).one("gpu")
    assert gpu.attributes["mig"] == "n.a."
    assert "memory_bytes" not in gpu.attributes


def test_a_machine_without_gpu_starts_no_child() -> None:
    matrox = bus(("0000:03:00.0", "102b:0536", CLASS_VGA, "mgag200"), ("0000:04:00.0", "1a03:2000", CLASS_VGA, "ast"))
    result = found(matrox, None)
    assert not result.kinds("gpu", "driver")
    assert not result.unseen


def test_this_machine() -> None:
    if Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists():
        pytest.skip("this machine has an NVIDIA driver")

    def no_child(module: str, timeout_s: float) -> dict[str, Any]:
        raise AssertionError("a machine without GPU must not pay for the child")

    machine = live_machine(("NVIDIA_VISIBLE_DEVICES",))
    machine._call_child = no_child
    result = gather(machine, *PROBE_ORDER)
    assert not result.kinds("gpu", "driver")
    assert not result.unseen


WRONG_ANSWERS = [
    ({"error": "no answer within 10 s; the child process was ended", "timed_out": True}, "no answer within 10 s"),
    ({"error": "the child process ended by SIGSEGV"}, "SIGSEGV"),
    ({"error": "the child process gave no JSON document"}, "no JSON"),
    ({"data": {"error": "NVML Shared Library Not Found", "error_code": 12, "devices": []}}, "Library Not Found"),
    ({"data": {"error": "Unknown Error", "error_code": 999}}, "Unknown Error"),
    ({"data": {"devices": "many", "error": 7, "driver_version": ["x"], "error_code": "y"}}, "does not list it"),
    ({"data": {"devices": [None, 3, {"pci": 4}, {"pci": {"address": "../../etc"}, "index": 0}]}}, "does not list it"),
]


@pytest.mark.parametrize(("answer", "reason"), WRONG_ANSWERS, ids=[r for _, r in WRONG_ANSWERS])
def test_where_nvml_cannot_answer_the_gpus_stay(answer: dict[str, Any], reason: str) -> None:
    result = found(served(2), answer)
    keys = ("gpu:0000:00:06.0", "gpu:0000:00:07.0")
    assert [(g.key, g.name, g.attributes["seen_by"]) for g in result.kinds("gpu")] == [
        (k, "NVIDIA H200", "proc") for k in keys
    ]
    (unseen,) = result.unseen
    assert unseen.subject == keys
    assert reason in unseen.reason
    assert result.one("driver").version == "580.159.04"
    assert result.kinds("gpu")[0].attributes["compute_capability"] == "9.0", "told by the PCI id"


def test_one_lost_gpu_hides_no_other() -> None:
    result = found(served(3), answered([h200(0), GPU_IS_LOST, h200(2)]))
    assert [g.attributes["seen_by"] for g in result.kinds("gpu")] == ["nvml", "proc", "nvml"]
    (unseen,) = result.unseen
    assert unseen.subject == ("gpu:0000:00:07.0",)


def test_no_driver_at_all() -> None:
    recipe = h200_bus(1, driver=None)
    result = found(recipe, {"data": {"error": "NVML Shared Library Not Found", "error_code": 12, "devices": []}})
    gpu = result.one("gpu")
    assert gpu.name == "NVIDIA H200 SXM 141GB", "named by its PCI id"
    assert (gpu.attributes["seen_by"], gpu.attributes["driver_module"]) == ("pci", None)
    assert not result.kinds("driver")
    assert "Library Not Found" in result.unseen[0].reason


def test_nouveau_shows_as_the_bound_driver() -> None:
    result = found(
        h200_bus(1, driver="nouveau"), {"data": {"error": "Driver Not Loaded", "error_code": 9, "devices": []}}
    )
    assert result.one("gpu").attributes["driver_module"] == "nouveau"


# -- containers and virtual machines ------------------------------------------------------------------------------

DOCKER = {"/.dockerenv": ""}


def in_docker(recipe: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {**recipe, "files": {**recipe["files"], **DOCKER}}


@pytest.mark.parametrize("proc", [1, 8], ids=["others hidden in /proc", "all shown in /proc"])
def test_a_container_that_was_given_one_of_eight(proc: int) -> None:
    result = found(in_docker(served(8, nodes=1, proc=proc)), answered([h200(0)]))
    assert [g.key for g in result.kinds("gpu")] == ["gpu:0000:00:06.0"]
    assert len(result.fact(NvidiaGpusNotGiven).addresses) == 7
    assert "not given to this docker container" in result.fact(NvidiaGpusNotGiven).reason
    assert not result.unseen


def test_a_container_without_gpu_on_a_gpu_host() -> None:
    nothing = {"data": {"error": "NVML Shared Library Not Found", "error_code": 12, "devices": []}}
    result = found(in_docker(h200_bus(8)), nothing)
    assert not result.kinds("gpu")
    assert len(result.fact(NvidiaGpusNotGiven).addresses) == 8
    assert not result.unseen


def test_a_container_that_asked_for_gpus_and_got_none() -> None:
    nothing = {"data": {"error": "NVML Shared Library Not Found", "error_code": 12, "devices": []}}
    result = found(in_docker(h200_bus(2)), nothing, environment={"NVIDIA_VISIBLE_DEVICES": "all"})
    assert len(result.unseen[0].subject) == 2


def test_a_container_whose_nvml_fails_keeps_its_own_gpu() -> None:
    failing = {"data": {"error": "Unknown Error", "error_code": 999, "devices": []}}
    result = found(in_docker(served(8, nodes=1, proc=1)), failing)
    assert result.unseen[0].subject == ("gpu:0000:00:06.0",)


def test_a_gpu_kept_for_a_virtual_machine() -> None:
    recipe = served(1)
    more = bus(("0000:00:07.0", "10de:2335", CLASS_3D, "vfio-pci"))
    recipe = {"files": recipe["files"] | more["files"], "links": recipe["links"] | more["links"]}
    result = found(recipe, answered([h200(0)]))
    assert [g.key for g in result.kinds("gpu")] == ["gpu:0000:00:06.0"]
    assert result.fact(NvidiaGpusNotGiven).addresses == ("0000:00:07.0",)
    assert not result.unseen


def test_without_sysfs_nvml_counts() -> None:
    recipe = {"files": {"/dev/nvidia0": {"type": "char", "rdev": [195, 0]}, **DOCKER}}
    result = found(recipe, answered([h200(0)]))
    assert result.one("gpu").key == "gpu:0000:00:06.0"
    assert result.one("driver").version == "580.159.04", "NVML's word where no module shows"
    assert "module_flavor" not in result.one("driver").attributes


def test_a_device_file_alone() -> None:
    recipe = {"files": {f"/dev/nvidia{i}": {"type": "char", "rdev": [195, i]} for i in range(2)}}
    result = found(recipe, {"data": {"error": "Unknown Error", "error_code": 999, "devices": []}})
    assert [g.key for g in result.kinds("gpu")] == ["gpu:nvidia0", "gpu:nvidia1"]
    assert result.unseen[0].subject == ("gpu:nvidia0", "gpu:nvidia1")


WSL = {
    "/proc/sys/kernel/osrelease": "5.15.153.1-microsoft-standard-WSL2\n",
    "/dev/dxg": {"type": "char", "rdev": [10, 125]},
}


def test_wsl_with_an_nvidia_gpu() -> None:
    elf = {"/usr/lib/wsl/lib/libnvidia-ml.so.1": {"soname": "libnvidia-ml.so.1"}}
    result = found({"files": WSL, "elf": elf}, answered([h200(0)], driver_version="546.33"))
    assert result.one("driver").version == "546.33", "the Windows driver's"
    assert result.one("gpu").attributes["seen_by"] == "nvml"


def test_wsl_with_another_vendors_gpu_starts_no_child() -> None:
    assert not found({"files": {**WSL, "/usr/lib/wsl/lib/libd3d12.so": ""}}, None).kinds("gpu")


def test_without_vendor_libraries_nothing_is_an_error() -> None:
    machine = recipe_machine({**served(2), "form": "rooted", "capabilities": ["files", "kernel state"]})
    result = gather(machine, *PROBE_ORDER)
    assert [g.attributes["seen_by"] for g in result.kinds("gpu")] == ["proc", "proc"]
    assert not result.unseen


# -- real children ------------------------------------------------------------------------------------------------

CHILDREN = {
    "hangs": ("import signal\ndef main(): signal.pause()\n", "no answer within"),
    "garbage": ("def main(): print('NVML says hello')\n", "no JSON document"),
    "wrong_form": ("def main(): print('[1, 2]')\n", "wrong form"),
    "dies": ("import os, signal\ndef main(): os.kill(os.getpid(), signal.SIGSEGV)\n", "SIGSEGV"),
    "raises": ("def main(): raise RuntimeError('no such thing')\n", "no such thing"),
}


@pytest.mark.parametrize("name", CHILDREN)
def test_children_that_go_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    source, reason = CHILDREN[name]
    (tmp_path / f"child_that_{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    tree = tmp_path / "root"
    gpu = tree / "proc/driver/nvidia/gpus/0000:00:06.0"
    gpu.mkdir(parents=True)
    (gpu / "information").write_text(information(0))
    machine = Machine(
        Agent(str(tree)),
        form=MachineForm.LIVE,
        capabilities=Capability,
        call_child=lambda _, timeout_s: call_child(f"child_that_{name}", 0.4 if name == "hangs" else 30.0),
    )
    result = gather(machine, *PROBE_ORDER)
    assert result.one("gpu").name == "NVIDIA H200"
    (unseen,) = result.unseen
    assert unseen.subject == ("gpu:0000:00:06.0",)
    assert reason in unseen.reason
    assert result.fact(NvmlSession).timed_out is (name == "hangs")
