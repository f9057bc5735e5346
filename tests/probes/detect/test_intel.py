"""Intel GPUs, Level Zero and OpenCL on described machines."""

from pathlib import Path
from typing import Any

import pytest

from infra_doctor.machine.machine import Machine
from infra_doctor_probes.detect import intel, pci, system, wheels
from infra_doctor_probes.intel.gpus import IntelAccess, XpuSmiSession
from infra_doctor_probes.intel.level_zero import LevelZero
from infra_doctor_probes.intel.opencl import OpenCl
from tests.probes.described_stack import TARGET
from tests.support.gather import Gathered, gather
from tests.support.recipe import read_recipe, recipe_machine

MACHINES = Path(__file__).parents[2] / "machines"
LIB = "/usr/lib/x86_64-linux-gnu"
NAMES = ("OCL_ICD_VENDORS", "OPENCL_VENDOR_PATH", "LD_LIBRARY_PATH")


def arc(name: str = "base-arc.toml", **more: Any) -> dict[str, Any]:
    recipe = read_recipe(MACHINES / name)
    for key, value in more.items():
        recipe[key] = {**recipe.get(key, {}), **value} if isinstance(value, dict) else [*recipe.get(key, []), *value]
    return recipe


def look(recipe: dict[str, Any]) -> Gathered:
    return gather(
        recipe_machine(recipe, NAMES), system.PROBES, pci.PROBES, wheels.PROBES, intel.PROBES, targets=(TARGET,)
    )


def asked(machine: Machine) -> list[str]:
    return [str(key[1]) for key in machine.observations if key[0] in {"run", "child"}]


def test_an_arc_with_its_driver_and_libraries() -> None:
    found = look(arc())
    gpu = found.one("gpu")
    assert (gpu.key, gpu.name, gpu.attributes["driver_module"]) == ("gpu:0000:03:00.0", "Intel Arc A380", "i915")
    assert found.one("driver").key == "driver:i915"
    assert found.one("libze_intel_gpu").version == "1.6.33578.15"
    assert found.fact(IntelAccess).render == (("/dev/dri/renderD128", ""),)
    assert not found.has(XpuSmiSession) and not found.has(LevelZero)


def test_a_processors_own_graphics_is_nothing_of_ours() -> None:
    recipe = arc()
    recipe["files"]["/sys/bus/pci/devices/0000:03:00.0/device"] = "0x46a6\n"
    machine = recipe_machine(recipe, NAMES)
    found = gather(machine, system.PROBES, pci.PROBES, wheels.PROBES, intel.PROBES, targets=(TARGET,))
    assert found.kinds("gpu", "npu", "driver") == [] and asked(machine) == []


@pytest.mark.parametrize("device", ["0x64a0", "0x7d55", "0x7d51", "0xb081"])
def test_processors_that_the_table_has_are_no_separate_gpus(device: str) -> None:
    recipe = arc()
    recipe["files"]["/sys/bus/pci/devices/0000:03:00.0/device"] = device + "\n"
    assert look(recipe).kinds("gpu") == []


def test_a_processors_npu_is_listed() -> None:
    files = {"vendor": "0x8086\n", "device": "0x7d1d\n", "class": "0x120000\n"}
    found = look(arc(files={f"/sys/bus/pci/devices/0000:00:0b.0/{n}": v for n, v in files.items()}))
    assert found.one("npu").attributes["vendor"] == "intel"


def test_a_tool_of_that_name_that_prints_something_else_is_not_believed() -> None:
    """Kunlunxin's tool is called xpu-smi too."""
    text = "| XPU-SMI               Driver Version: 515.58       XPU-RT Version: N/A      |\n"
    found = look(arc(commands=[{"argv": ["xpu-smi", "discovery", "-d", "0"], "stdout": text}]))
    assert found.fact(XpuSmiSession).error.startswith("no box with Device ID")
    assert found.one("gpu").name == "Intel Arc A380" and found.unseen == []


def test_level_zero_as_pytorch_finds_it() -> None:
    found = look(arc("base-arc-torch.toml")).fact(LevelZero)
    assert (found.loader, found.driver) == (f"{LIB}/libze_loader.so.1.21.9", f"{LIB}/libze_intel_gpu.so.1.6.33578.15")
    assert (found.missing, found.unmet, found.unknown) == ((), (), "")


def test_an_older_libstdcxx_of_the_environment_refuses_level_zero() -> None:
    old = {"soname": "libstdc++.so.6", "needed": ["libc.so.6"], "version_defs": ["GLIBCXX_3.4", "GLIBCXX_3.4.29"]}
    found = look(arc("base-arc-torch.toml", elf={"/opt/venv/lib/libstdc++.so.6": old})).fact(LevelZero)
    assert found.unmet == (("/lib/x86_64-linux-gnu/libze_loader.so.1", "libstdc++.so.6", "GLIBCXX_3.4.32"),)
    assert any("/opt/venv/lib/libstdc++.so.6" in e.text for e in found.evidence)


def test_a_driver_that_lacks_a_library() -> None:
    recipe = arc("base-arc-torch.toml")
    del recipe["elf"][f"{LIB}/libigdgmm.so.12"], recipe["ldcache"]["libigdgmm.so.12"]
    found = look(recipe).fact(LevelZero)
    assert [name for name, _ in found.missing] == ["libigdgmm.so.12"]


def test_opencl_run_times() -> None:
    found = look(arc()).fact(OpenCl)
    (runtime,) = found.runtimes
    assert (runtime.serves, runtime.vendor, runtime.reason) == ("Intel GPU (compute-runtime, NEO)", "intel", "")
    assert found.loader == f"{LIB}/libOpenCL.so.1.0.0"


@pytest.mark.parametrize(
    ("library", "serves", "reason"),
    [
        ("libnvidia-opencl.so.1", "NVIDIA GPU", "the loader does not find it"),
        ("/opt/gone/libamdocl64.so", "AMD GPU", "no such file"),
        ("", "unknown devices", "the file names no library"),
        ("libpocl.so.2", "CPU (PoCL)", "it needs libhwloc.so.15, not found"),
        ("/usr/lib/x86_64-linux-gnu/beignet/libcl.so", "Intel GPU (Beignet)", "no such file"),
        ("/opt/intel/libintelocl_emu.so", "FPGA emulation", "no such file"),
        ("x" * 3000, "unknown devices", "the loader does not find it"),
        ("\x00\x1b[31m", "unknown devices", "the loader does not find it"),
    ],
)
def test_what_a_file_names(library: str, serves: str, reason: str) -> None:
    elf = {f"{LIB}/libpocl.so.2": {"soname": "libpocl.so.2", "needed": ["libhwloc.so.15", "libc.so.6"]}}
    recipe = arc(
        files={"/etc/OpenCL/vendors/x.icd": library + "\n"}, elf=elf, ldcache={"libpocl.so.2": f"{LIB}/libpocl.so.2"}
    )
    runtime = next(r for r in look(recipe).fact(OpenCl).runtimes if r.icd.endswith("/x.icd"))
    assert (runtime.serves, runtime.path, runtime.reason) == (serves, None, reason)


def test_a_variable_names_another_folder() -> None:
    recipe = arc(files={"/opt/icd/a.icd": "libigdrcl.so\n"}, environment={"OCL_ICD_VENDORS": "/opt/icd"})
    assert [r.icd for r in look(recipe).fact(OpenCl).runtimes] == ["/opt/icd/a.icd"]


def test_no_opencl_no_question() -> None:
    recipe = arc()
    del recipe["files"]["/etc/OpenCL/vendors/intel.icd"]
    assert not look(recipe).has(OpenCl)


def test_a_variable_that_names_other_drivers_leaves_it_open() -> None:
    recipe = arc("base-arc-torch.toml", environment={"ZE_ENABLE_ALT_DRIVERS": "/opt/x/libze_x.so"})
    machine = recipe_machine(recipe, (*NAMES, "ZE_ENABLE_ALT_DRIVERS"))
    found = gather(machine, pci.PROBES, wheels.PROBES, intel.PROBES, targets=(TARGET,)).fact(LevelZero)
    assert found.unknown == "ZE_ENABLE_ALT_DRIVERS names other drivers"
