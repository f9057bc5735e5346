"""NVIDIA's device files: which are expected, what lies in their place, who would make them."""

from typing import Any

import pytest

from infra_doctor_probes.detect import device_nodes, nvidia_driver
from infra_doctor_probes.detect.device_nodes import CONTROL, UVM, NvidiaNodeAccess, look_at, major_of
from tests.support.gather import gather
from tests.support.recipe import recipe_machine

MODULE = {
    "/proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\n",
    "/proc/driver/nvidia/gpus/0000:17:00.0/information": "Model: NVIDIA H100\nDevice Minor: \t 0\nGPU Excluded:\t No\n",
}
NODES = {
    CONTROL: {"type": "char", "rdev": [195, 255], "mode": 0o666},
    UVM: {"type": "char", "rdev": [238, 0], "mode": 0o666},
    "/dev/nvidia0": {"type": "char", "rdev": [195, 0], "mode": 0o666},
}
# As the kernel prints it on our H200 machine.
DEVICES = "Character devices:\n  1 mem\n195 nvidia\n195 nvidiactl\n238 nvidia-uvm\n\nBlock devices:\n259 blkext\n"


def access(files: dict[str, Any], **more: Any) -> NvidiaNodeAccess:
    machine = recipe_machine({"files": {"/dev/null": {"type": "char", "rdev": [1, 3]}, **MODULE, **files}, **more})
    found: NvidiaNodeAccess = gather(machine, nvidia_driver.PROBES, device_nodes.PROBES).fact(NvidiaNodeAccess)
    return found


def test_nodes_that_are_in_order() -> None:
    found = access({**NODES, "/proc/devices": DEVICES})
    assert [(n.path, n.there, n.wrong, n.error) for n in found.nodes] == [
        (CONTROL, True, "", ""), (UVM, True, "", ""), ("/dev/nvidia0", True, "", None),
    ]  # fmt: skip
    assert (found.maker, found.may_reach_all) == ("", False)


def test_a_gpus_own_node_is_never_opened() -> None:
    """Opening it starts the GPU, which takes seconds."""
    machine = recipe_machine({"files": {**MODULE, **NODES}})
    gather(machine, nvidia_driver.PROBES, device_nodes.PROBES)
    assert {key[1] for key in machine.observations if key[0] == "opens"} == {CONTROL, UVM}


def test_without_a_module_or_a_gpu_nothing_is_opened() -> None:
    for files in (
        NODES,
        {"/proc/driver/nvidia/version": MODULE["/proc/driver/nvidia/version"], "/dev/null": {"type": "char"}},
    ):
        machine = recipe_machine({"files": files})
        assert not gather(machine, nvidia_driver.PROBES, device_nodes.PROBES).has(NvidiaNodeAccess)
        assert not [key for key in machine.observations if key[0] == "opens"]


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        ({"type": "char", "rdev": [1, 3]}, "the device 1:3, where major 238 belongs"),
        ({"type": "char", "rdev": [510, 0]}, "the device 510:0, where major 238 belongs"),
        ({"type": "fifo"}, "a fifo"),
        ({"type": "dir"}, "a dir"),
    ],
)
def test_another_thing_in_the_place_of_a_node(spec: dict[str, Any], wrong: str) -> None:
    machine = recipe_machine({"files": {UVM: spec}})
    node = look_at(machine, UVM, True, 238)
    assert (node.wrong, node.error) == (wrong, None)


def test_where_the_kernel_does_not_tell_the_major_any_number_is_right() -> None:
    machine = recipe_machine({"files": {UVM: {"type": "char", "rdev": [510, 0]}}})
    assert major_of(machine, "nvidia-uvm") is None
    assert look_at(machine, UVM, True, None).wrong == ""


@pytest.mark.parametrize(
    ("files", "maker", "reach"),
    [
        ({}, "", False),
        ({"/proc/self/status": "CapEff:\t000001ffffffffff\n"}, "root", True),
        ({"/proc/self/status": "CapEff:\t00000000a80425fb\n"}, "root", False),  # Docker's default set
        ({"/proc/self/status": "CapEff:\t0000000000000000\n"}, "", False),
        ({"/proc/self/status": "CapEff:\t000001fff7ffffff\n"}, "", False),  # root without CAP_MKNOD
        ({"/proc/self/status": "CapEff:\tnonsense\n"}, "", False),
        ({"/proc/self/status": "CapEff:\t" + "f" * 40}, "", False),
        ({"/usr/bin/nvidia-modprobe": {"size": 9, "mode": 0o4755}}, "nvidia-modprobe", False),
        ({"/usr/bin/nvidia-modprobe": {"size": 9, "mode": 0o755}}, "", False),
    ],
)
def test_who_makes_a_missing_node(files: dict[str, Any], maker: str, reach: bool) -> None:
    found = access(files)
    assert [n.there for n in found.nodes] == [False, False, False]
    assert (found.maker, found.may_reach_all) == (maker, reach)


def test_a_gpu_that_the_module_leaves_out_needs_no_node() -> None:
    information = "Device Minor: \t 1\nGPU Excluded:\t Yes\n"
    found = access({**NODES, "/proc/driver/nvidia/gpus/0000:27:00.0/information": information})
    assert found.node("/dev/nvidia1") is None


def test_hostile_files_raise_nothing() -> None:
    found = access(
        {
            "/proc/devices": {"base64": "//79AAEC"},
            "/proc/self/status": {"type": "fifo"},
            "/proc/driver/nvidia/gpus/0000:17:00.0/information": "Device Minor: \t 99999999999999\n" * 50,
            "/proc/driver/nvidia/gpus/nonsense/information": "Device Minor: 3\n",
            CONTROL: {"type": "char", "rdev": [195, 255]},
        }
    )
    assert [n.path for n in found.nodes] == [CONTROL, UVM]
