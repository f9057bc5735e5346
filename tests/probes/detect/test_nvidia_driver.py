"""The kernel module and the driver's libraries, on real version texts and described machines."""

from pathlib import Path

import pytest

from infra_doctor.machine.agent import Agent
from infra_doctor.machine.forms import live_machine
from infra_doctor.machine.machine import Machine
from infra_doctor.machine.types import Capability, MachineForm
from infra_doctor.model.component import Component, Target
from infra_doctor_probes.detect.nvidia_driver import (
    PROBES,
    NvidiaDeviceNodes,
    NvidiaDriverSources,
    NvidiaKernelModule,
    parse_module_version,
)
from tests.support.gather import Gathered, gather
from tests.support.recipe import SAMPLES, recipe_machine

# Our own H200 machine.
H200 = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build  (nixbld@)  \n"
    "GCC version:  gcc version 15.3.0 (GCC) \n"
)
LIB = "/usr/lib/x86_64-linux-gnu"
INTERP = "/lib64/ld-linux-x86-64.so.2"
PYTHON = "/usr/bin/python3.12"
TARGET = Target(key="target:/usr", prefix="/usr", executable=PYTHON, kind="system")
BASE_ELF = {
    PYTHON: {"interp": INTERP, "needed": ["libc.so.6"]},
    INTERP: {"soname": "ld-linux-x86-64.so.2"},
    f"{LIB}/libc.so.6": {"soname": "libc.so.6", "version_defs": ["GLIBC_2.39"]},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (H200, ("580.159.04", "open")),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.256.02  Thu May  2 14:37:44 UTC 2024\n", ("470.256.02", "proprietary")),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  396.54  Tue Aug 14 19:02:34 PDT 2018\n", ("396.54", "proprietary")),
        ("NVRM version: NVIDIA UNIX aarch64 Kernel Module  570.86.15  Release Build\n", ("570.86.15", "proprietary")),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build  (b@m)  Tue\n", ("540.4.0", "open")),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  595.80  Release Build\n", ("595.80", "open")),
        ("GCC version:  gcc version 13.3.0 (Ubuntu)\n", None),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  \n", None),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550", None),
        ("", None),
        ("NVRM version: " + "A" * 100_000, None),
    ],
)  # fmt: skip
def test_version_text(text: str, expected: tuple[str, str] | None) -> None:
    assert parse_module_version(text) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("open_jetson_540.4.0", ("540.4.0", "open")),
        ("proprietary_384.81", ("384.81", "proprietary")),
        ("proprietary_515.65.01", ("515.65.01", "proprietary")),
        ("proprietary_550.90.07_line1", ("550.90.07", "proprietary")),
    ],
)
def test_version_text_of_public_captures(name: str, expected: tuple[str, str]) -> None:
    path = SAMPLES / f"vendors/nvidia/file_proc_driver_nvidia_version__{name}.txt"
    if not path.is_file():
        pytest.skip("the public captures are not beside this checkout")
    assert parse_module_version(path.read_text()) == expected


def described(targets: tuple[Target, ...] = (TARGET,), **recipe: object) -> Gathered:
    elf = {**BASE_ELF, **recipe.pop("elf", {})}
    return gather(recipe_machine({"elf": elf, **recipe}), PROBES, targets=targets)


def library(found: Gathered, key: str) -> Component:
    (one,) = [c for c in found.components if c.key == key]
    return one


def test_a_served_machine() -> None:
    found = described(
        files={
            "/proc/driver/nvidia/version": H200,
            "/proc/driver/nvidia/params": "EnableMSI: 1\nRmProfilingAdminOnly: 1\nRegistryDwords: \"secret\"\n",
            "/sys/module/nvidia/version": "580.159.04\n",
            "/sys/module/nvidia_uvm/refcnt": "1\n",
            "/dev/nvidia0": {"type": "char", "rdev": [195, 0]},
            "/dev/nvidia10": {"type": "char", "rdev": [195, 10]},
            "/dev/nvidia2": {"type": "char", "rdev": [195, 2]},
            "/dev/nvidiactl": {"type": "char", "rdev": [195, 255]},
            "/dev/nvidia-uvm": {"type": "char", "rdev": [238, 0]},
            "/usr/src/nvidia-580.159.04/dkms.conf": "",
            "/usr/src/nvidia-notes/readme": "",
        },
        links={f"{LIB}/libcuda.so.1": "libcuda.so.580.159.04", f"{LIB}/libnvidia-ml.so.1": "libnvidia-ml.so.580.159.04"},
        elf={
            f"{LIB}/libcuda.so.580.159.04": {"soname": "libcuda.so.1"},
            f"{LIB}/libnvidia-ml.so.580.159.04": {"soname": "libnvidia-ml.so.1"},
        },
        ldcache={"libcuda.so.1": f"{LIB}/libcuda.so.1", "libnvidia-ml.so.1": f"{LIB}/libnvidia-ml.so.1"},
    )  # fmt: skip
    module = found.fact(NvidiaKernelModule)
    assert (module.version, module.flavor, module.uvm_loaded) == ("580.159.04", "open", True)
    assert module.parameters == (("RmProfilingAdminOnly", "1"),)
    assert [e.source for e in module.evidence] == ["/proc/driver/nvidia/version", "/sys/module/nvidia/version"]
    nodes = found.fact(NvidiaDeviceNodes)
    assert nodes.gpus == ("/dev/nvidia0", "/dev/nvidia2", "/dev/nvidia10")
    assert nodes.others == ("/dev/nvidia-uvm", "/dev/nvidiactl")
    assert found.fact(NvidiaDriverSources).versions == ("580.159.04",)
    for kind in ("libcuda", "libnvidia-ml"):
        component = found.one(kind)
        assert component.version == "580.159.04"
        assert component.key == f"{kind}:{LIB}/{kind}.so.580.159.04"
        assert component.attributes == {"on_loader_path": True, "first": True}


def test_sysfs_alone_names_the_version() -> None:
    module = described(files={"/sys/module/nvidia/version": "535.183.06\n"}).fact(NvidiaKernelModule)
    assert (module.version, module.flavor, module.uvm_loaded) == ("535.183.06", None, False)


@pytest.mark.parametrize("version", ["", "garbage\n", "580\n", "x" * 1000])
def test_no_module_is_no_fact(version: str) -> None:
    assert not described(files={"/sys/module/nvidia/version": version}).facts


COMPAT = "/usr/local/cuda-13.0/compat/libcuda.so.1"
TWO_COPIES = {
    "links": {
        COMPAT: "libcuda.so.580.82.07",
        f"{LIB}/libcuda.so.1": "libcuda.so.535.183.06",
        "/usr/local/cuda": "/usr/local/cuda-13.0",
    },
    "elf": {
        "/usr/local/cuda-13.0/compat/libcuda.so.580.82.07": {"soname": "libcuda.so.1"},
        f"{LIB}/libcuda.so.535.183.06": {"soname": "libcuda.so.1"},
    },
    "ldcache": {"libcuda.so.1": f"{LIB}/libcuda.so.1"},
}


@pytest.mark.parametrize(
    ("library_path", "first", "compat_on_path"),
    [
        (None, f"{LIB}/libcuda.so.535.183.06", False),
        ("/usr/local/cuda/compat", "/usr/local/cuda-13.0/compat/libcuda.so.580.82.07", True),
        ("/nowhere:/usr/local/cuda/compat", "/usr/local/cuda-13.0/compat/libcuda.so.580.82.07", True),
    ],
)
def test_the_copy_that_the_loader_takes(library_path: str | None, first: str, compat_on_path: bool) -> None:
    environment = {"LD_LIBRARY_PATH": library_path} if library_path else {}
    found = described(environment=environment, **TWO_COPIES)
    assert [c.location for c in found.kinds("libcuda") if c.attributes["first"]] == [first]
    compat = library(found, "libcuda:/usr/local/cuda-13.0/compat/libcuda.so.580.82.07")
    assert (compat.version, compat.origin, compat.attributes["on_loader_path"]) == (
        "580.82.07",
        "cuda-compat",
        compat_on_path,
    )
    assert library(found, f"libcuda:{LIB}/libcuda.so.535.183.06").origin == "driver"


def test_a_32_bit_copy_is_left_out() -> None:
    found = described(
        links={"/usr/lib/libcuda.so.1": "libcuda.so.580.1.1"},
        elf={"/usr/lib/libcuda.so.580.1.1": {"soname": "libcuda.so.1", "bits": 32, "machine": 3}},
    )
    assert not found.components


def test_wsl_libraries_carry_no_version() -> None:
    found = described(
        elf={"/usr/lib/wsl/lib/libcuda.so.1": {"soname": "libcuda.so.1"}},
        ldcache={"libcuda.so.1": "/usr/lib/wsl/lib/libcuda.so.1"},
    )
    component = found.one("libcuda")
    assert (component.version, component.origin, component.attributes["first"]) == (None, "wsl", True)


def test_without_a_target_a_shell_tells_the_loaders_order() -> None:
    elf = {**TWO_COPIES["elf"], "/bin/sh": {"interp": INTERP, "needed": ["libc.so.6"]}}
    found = described((), **{**TWO_COPIES, "elf": elf})
    assert [c.version for c in found.kinds("libcuda") if c.attributes["first"]] == ["535.183.06"]


def test_hostile_trees_are_survived(tmp_path: Path) -> None:
    lib = tmp_path / "usr/lib/x86_64-linux-gnu"
    lib.mkdir(parents=True)
    (lib / "libcuda.so.1").symlink_to("libcuda.so.1")
    (lib / "libnvidia-ml.so.1").write_bytes(b"not an ELF file")
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").write_bytes(b"\xff\xfe\x00" * 1000)
    (tmp_path / "usr/local").mkdir()
    (tmp_path / "usr/local/cuda-9").symlink_to("/usr/local/cuda-9")
    machine = Machine(
        Agent(str(tmp_path)), form=MachineForm.ROOTED, capabilities={Capability.FILES, Capability.KERNEL_STATE}
    )
    found = gather(machine, PROBES)
    assert [(c.kind, c.version) for c in found.components] == [("libnvidia-ml", None)]
    assert not found.facts


def test_a_rooted_machine_shows_libraries_and_no_module() -> None:
    found = described(form="rooted", files={"/proc/driver/nvidia/version": H200}, **TWO_COPIES)
    assert not found.has(NvidiaKernelModule)
    assert {c.version for c in found.kinds("libcuda")} == {"535.183.06", "580.82.07"}


def test_this_machine_raises_nothing() -> None:
    gather(live_machine(), PROBES)
