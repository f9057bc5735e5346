"""AMD GPUs and ROCm on described machines: topology, device files, installations, what answers nonsense, and what is not asked."""

import random
from pathlib import Path
from typing import Any

import pytest

from infra_doctor.machine.agent import Agent
from infra_doctor.machine.machine import Machine
from infra_doctor.machine.types import Capability, MachineForm
from infra_doctor_probes.amd.gpus import CHILD, AmdGpusNotGiven, AmdSmiSession
from infra_doctor_probes.amd.kfd import AmdAccess, AmdKfd, gfx_name
from infra_doctor_probes.amd.rocm import RocmWheelKernels
from infra_doctor_probes.detect import amd, pci, system, wheels
from tests.probes.vendors.described import SITE, amd_machine, merged
from tests.support.gather import Gathered, gather
from tests.support.recipe import recipe_machine

ADDRESSES = ("0000:c1:00.0", "0001:46:00.0")


def two(**more: Any) -> dict[str, Any]:
    """Two MI300X."""
    recipe = amd_machine([(a, "74a1", "90402") for a in ADDRESSES], driver_version="6.10.5", memory_bytes=1 << 37)
    return merged(recipe, more)


def look(recipe: dict[str, Any]) -> Gathered:
    return gather(recipe_machine(recipe), system.PROBES, pci.PROBES, wheels.PROBES, amd.PROBES)


def asked(machine: Machine) -> list[str]:
    """The commands that were run and the children that were started."""
    return [str(key[1]) for key in machine.observations if key[0] in {"run", "child"}]


def test_two_gpus_by_sysfs_alone() -> None:
    found = look(two())
    first, second = found.kinds("gpu")
    assert (first.key, first.name, first.attributes["gfx"]) == ("gpu:0000:c1:00.0", "AMD Instinct MI300X", "gfx942")
    assert second.key == "gpu:0001:46:00.0"
    assert first.attributes["memory_bytes"] == 1 << 37 and first.attributes["compute_units"] == 304
    driver = found.one("driver")
    assert (driver.key, driver.version, driver.attributes["origin"]) == ("driver:amdgpu", "6.10.5", "amdgpu-dkms")
    access = found.fact(AmdAccess)
    assert (access.kfd, access.render) == ("", (("/dev/dri/renderD128", ""), ("/dev/dri/renderD129", "")))
    assert not found.has(AmdSmiSession) and found.unseen == []


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (90402, "gfx942"),
        (90010, "gfx90a"),
        (100301, "gfx1031"),
        (110000, "gfx1100"),
        (90500, "gfx950"),
        (0, None),
        (10**9, None),
    ],
)
def test_the_drivers_number_is_an_instruction_set(number: int, name: str | None) -> None:
    assert gfx_name(number) == name


def test_the_library_gives_names_and_error_counts() -> None:
    answer = {
        "library": "libamd_smi.so", "error": "",
        "devices": [
            {"pci": ADDRESSES[0], "name": "AMD Instinct MI300X OAM", "driver_version": "6.10.5", "memory_bytes": 1, "ecc_uncorrectable": 4},
            {"pci": 7, "name": [], "memory_bytes": "x"}, "nonsense",
        ],
    }  # fmt: skip
    files = {"/opt/rocm-7.0.2/lib/libamd_smi.so.26": {"size": 1}}
    found = look(two(files=files, children={CHILD: {"data": answer}}))
    first, second = found.kinds("gpu")
    assert (first.name, first.attributes["ecc_uncorrectable"], first.attributes["seen_by"]) == (
        "AMD Instinct MI300X OAM",
        4,
        "amd-smi",
    )
    assert second.attributes["seen_by"] == "sysfs"
    assert found.fact(AmdSmiSession).device_count == 1


@pytest.mark.parametrize(
    "child",
    [
        {"error": "the child process ended by SIGSEGV"}, {"data": {}}, {"data": {"devices": 5, "error": 3, "error_code": "x"}},
        {"data": {"devices": [], "error": "amdsmi_init gave 34: the driver is not loaded", "error_code": 34}},
    ],
)  # fmt: skip
def test_a_library_that_answers_nothing_leaves_what_sysfs_says(child: dict[str, Any]) -> None:
    files = {"/opt/rocm-7.0.2/lib/libamd_smi.so.26": {"size": 1}}
    found = look(two(files=files, children={CHILD: child}))
    assert [g.attributes["seen_by"] for g in found.kinds("gpu")] == ["sysfs", "sysfs"]
    assert found.fact(AmdSmiSession).error
    assert found.unseen == []


def test_nothing_is_asked_after_a_library_that_hangs() -> None:
    files = {"/opt/rocm-7.0.2/lib/libamd_smi.so.26": {"size": 1}}
    recipe = two(files=files, children={CHILD: {"error": "no answer within 10 s", "timed_out": True}})
    machine = recipe_machine(recipe)
    found = gather(machine, system.PROBES, pci.PROBES, wheels.PROBES, amd.PROBES)
    assert found.fact(AmdSmiSession).timed_out
    assert asked(machine) == [CHILD]


def test_no_command_runs_where_no_gpu_is_amds() -> None:
    machine = recipe_machine(merged({"commands": [{"argv": ["amd-smi", "version"], "stdout": "x"}]}))
    found = gather(machine, system.PROBES, pci.PROBES, wheels.PROBES, amd.PROBES)
    assert asked(machine) == [] and found.kinds("gpu") == [] and not found.has(AmdKfd)


def test_partitions_are_one_gpu() -> None:
    recipe = two()
    node = "/sys/class/kfd/kfd/topology/nodes"
    recipe["files"][f"{node}/3/properties"] = recipe["files"][f"{node}/1/properties"]
    found = look(recipe)
    assert [g.attributes.get("partitions") for g in found.kinds("gpu")] == [2, None]


def test_xgmi_links_are_counted() -> None:
    recipe = two()
    for n, kind in enumerate((11, 11, 2)):
        recipe["files"][f"/sys/class/kfd/kfd/topology/nodes/1/io_links/{n}/properties"] = f"type {kind}\nnode_from 1\n"
    assert [g.attributes.get("xgmi_links") for g in look(recipe).kinds("gpu")] == [2, None]


def test_nodes_of_other_containers_cannot_be_read() -> None:
    recipe = two()
    recipe["files"]["/sys/class/kfd/kfd/topology/nodes/2/properties"] = {"error": "Operation not permitted"}
    kfd = look(recipe).fact(AmdKfd)
    assert (len(kfd.nodes), kfd.unreadable) == (1, 1)


def test_gpus_for_virtual_machines_are_set_aside() -> None:
    recipe = two()
    for address in ADDRESSES:
        recipe["links"][f"/sys/bus/pci/devices/{address}/driver"] = "../../../../bus/pci/drivers/vfio-pci"
    found = look(recipe)
    assert found.kinds("gpu") == [] and found.fact(AmdGpusNotGiven).addresses == ADDRESSES


def test_a_container_without_its_files_was_given_none() -> None:
    recipe = two(files={"/.dockerenv": ""})
    for path in ("/dev/kfd", "/dev/dri/renderD128", "/dev/dri/renderD129"):
        del recipe["files"][path]
    found = look(recipe)
    assert found.kinds("gpu") == [] and found.one("driver").key == "driver:amdgpu"
    assert found.fact(AmdGpusNotGiven).reason.endswith("not given to this container")


@pytest.mark.parametrize(
    ("files", "version"),
    [
        ({"/opt/rocm-6.3.0/.info/version": "6.3.0-39\n"}, "6.3.0"),
        ({"/opt/rocm-6.2.4/.info/version": "", "/opt/rocm-6.2.4/lib/librocm-core.so.1.0.60204": {"size": 1},
          "/opt/rocm-6.2.4/lib/libamdhip64.so.6.2.41134": {"size": 1}}, "6.2.4"),
        ({"/opt/rocm-5.7.1/.info/version-dev": "5.7.1-98", "/opt/rocm-5.7.1/.info/version": "garbage"}, "5.7.1"),
        ({"/opt/rocm-x/lib/libhsa-runtime64.so.1.14.0": {"size": 1}}, None),
    ],
)  # fmt: skip
def test_rocm_on_disk(files: dict[str, Any], version: str | None) -> None:
    folder = next(iter(files)).split("/")[2]
    found = look(merged({"files": files, "links": {"/opt/rocm": folder}}))
    assert found.one("rocm").version == version
    if version == "6.2.4":
        assert found.one("libamdhip64").version == "6.2.41134"


def test_an_empty_folder_is_no_rocm() -> None:
    assert look(merged({"files": {"/opt/rocm/README": ""}})).kinds("rocm") == []


def test_two_rocms_side_by_side() -> None:
    files = {
        "/opt/rocm-6.3.0/.info/version": "6.3.0-39",
        "/opt/rocm-7.0.2/.info/version": "7.0.2-56",
        "/opt/secret/x": "",
    }
    found = look(merged({"files": files, "links": {"/opt/rocm": "rocm-7.0.2"}}))
    assert [(c.version, c.attributes["default"]) for c in found.kinds("rocm")] == [("6.3.0", False), ("7.0.2", True)]


def test_the_names_in_opt_are_asked_only_where_rocm_is() -> None:
    machine = recipe_machine(merged({"files": {"/opt/secret/x": ""}}))
    gather(machine, system.PROBES, pci.PROBES, wheels.PROBES, amd.PROBES)
    assert ("list", "/opt") not in machine.observations


def test_kernels_of_the_wheel_and_the_override() -> None:
    folder = f"{SITE}/torch/lib/rocblas/library"
    recipe = merged(
        {
            "environment": {"HSA_OVERRIDE_GFX_VERSION": "10.3.0"},
            "files": {
                f"{SITE}/torch/version.py": "__version__ = '2.9.1+rocm6.4'\nhip = '6.4.43484'\n",
                f"{folder}/TensileLibrary_lazy_gfx942.dat": "", f"{folder}/Kernels.so-000-gfx90a-xnack+.hsaco": "",
            },
            "distributions": [{"site": SITE, "name": "torch", "version": "2.9.1+rocm6.4", "files": {"torch/version.py": "sha256=a"}}],
        }
    )  # fmt: skip
    from tests.probes.described_stack import TARGET

    machine = recipe_machine(recipe, ("HSA_OVERRIDE_GFX_VERSION",))
    found = gather(machine, wheels.PROBES, amd.PROBES, targets=(TARGET,))
    assert found.fact(RocmWheelKernels).gfx == ("gfx90a", "gfx942")


def test_hostile_trees_are_survived(tmp_path: Path) -> None:
    r = random.Random(5)
    device = tmp_path / "sys/bus/pci/devices/0000:c1:00.0"
    node = tmp_path / "sys/class/kfd/kfd/topology/nodes/1"
    for folder in (
        device / "ras",
        device / "hwmon/hwmon0",
        node / "io_links/0",
        tmp_path / "opt/rocm/.info",
        tmp_path / "dev/dri",
    ):
        folder.mkdir(parents=True)
    (device / "vendor").write_text("0x1002\n")
    (device / "device").write_text("0x74a1\n")
    (device / "class").write_text("0x120000\n")
    for path in (
        device / "ras/umc_err_count", device / "mem_info_vram_total", device / "hwmon/hwmon0/temp2_input",
        device / "current_link_width", node / "properties", node / "io_links/0/properties", tmp_path / "opt/rocm/.info/version",
    ):  # fmt: skip
        path.write_bytes(r.randbytes(3000) + b"9" * 5000)
    (tmp_path / "sys/class/kfd/kfd/topology/nodes/2").symlink_to("2")
    (device / "vbios_version").symlink_to("vbios_version")
    machine = Machine(
        Agent(str(tmp_path)), form=MachineForm.ROOTED, capabilities={Capability.KERNEL_STATE, Capability.FILES}
    )
    found = gather(machine, pci.PROBES, amd.PROBES)
    assert found.one("gpu").attributes["vendor"] == "amd"


def test_a_gpu_that_sleeps_is_not_woken() -> None:
    folder = f"/sys/bus/pci/devices/{ADDRESSES[0]}"
    files = {
        f"{folder}/power/runtime_status": "suspended\n", f"{folder}/hwmon/hwmon1/temp2_label": "junction\n",
        f"{folder}/hwmon/hwmon1/temp2_input": "45000\n", f"{folder}/ras/umc_err_count": "ue: 0\nce: 0\n",
    }  # fmt: skip
    machine = recipe_machine(two(files=files))
    found = gather(machine, system.PROBES, pci.PROBES, wheels.PROBES, amd.PROBES)
    assert "temperature_c" not in found.kinds("gpu")[0].attributes
    assert not [
        key for key in machine.observations if key[0] == "read" and ("hwmon" in str(key[1]) or "ras" in str(key[1]))
    ]
