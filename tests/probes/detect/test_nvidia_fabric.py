"""NVSwitches and the fabric manager: what counts as a switch, and every way to tell whether the service runs."""

from typing import Any

import pytest

from infra_doctor_probes.detect import nvidia_driver, nvidia_fabric, pci, system
from infra_doctor_probes.detect.nvidia_fabric import FabricManager, NvSwitches
from tests.support.gather import Gathered, gather
from tests.support.recipe import recipe_machine

PROGRAM, UNIT = "/usr/bin/nv-fabricmanager", "nvidia-fabricmanager.service"


def device(address: str, device_id: str, class_code: str = "0x068000") -> dict[str, Any]:
    base = f"/sys/bus/pci/devices/{address}/"
    return {base + "vendor": "0x10de\n", base + "device": f"0x{device_id}\n", base + "class": class_code + "\n"}


HGX = {**device("0000:17:00.0", "2330", "0x030200"), **device("0000:05:00.0", "22a3"), **device("0000:06:00.0", "22a3")}


def gathered(files: dict[str, Any], *commands: dict[str, Any], **more: Any) -> Gathered:
    machine = recipe_machine({"files": files, "commands": list(commands), **more})
    return gather(machine, system.PROBES, pci.PROBES, nvidia_driver.PROBES, nvidia_fabric.PROBES)


def manager(files: dict[str, Any], *commands: dict[str, Any], **more: Any) -> FabricManager:
    found = gathered({**HGX, **files}, *commands, **more).fact(FabricManager)
    assert isinstance(found, FabricManager)
    return found


def test_switches_of_the_bus() -> None:
    found = gathered(HGX).fact(NvSwitches)
    assert (found.addresses, found.name) == (("0000:05:00.0", "0000:06:00.0"), "H100 NVSwitch")


def test_switches_by_their_device_nodes() -> None:
    files = {f"/dev/{n}": {"type": "char", "rdev": [195, i]} for i, n in enumerate(("nvidia0", "nvidia-nvswitch0"))}
    assert gathered(files).fact(NvSwitches).nodes == ("/dev/nvidia-nvswitch0",)


@pytest.mark.parametrize(
    "files",
    [
        {**device("0000:17:00.0", "2330", "0x030200"), **device("0000:0f:00.0", "2342")},  # Grace Hopper's other bridge
        {**device("0000:17:00.0", "1db5", "0x030200"), **device("0000:00:0a.0", "0373")},  # an nForce chip
        {
            "/dev/nvidia0": {"type": "char", "rdev": [195, 0]},
            "/dev/nvidia-nvswitchctl": {"type": "char", "rdev": [234, 255]},
        },
        {"/sys/bus/pci/devices/0000:05:00.0/vendor": "0x10de\n"},
        {},
    ],
)
def test_no_switch(files: dict[str, Any]) -> None:
    found = gathered(files)
    assert not found.has(NvSwitches)
    assert not found.has(FabricManager)


def test_the_running_service_is_told_by_its_control_group() -> None:
    found = manager({f"/sys/fs/cgroup/system.slice/{UNIT}/cgroup.procs": "812\n", PROGRAM: {"size": 9}},
                    {"argv": [PROGRAM, "--version"], "stdout": "Fabric Manager version is : 580.95.05\n"})  # fmt: skip
    assert (found.installed, found.state, found.version) == (True, "active", "580.95.05")


def test_a_failed_service_is_told_by_systemd() -> None:
    asked = {"argv": ["systemctl", "is-active", UNIT], "stdout": "failed\n", "rc": 3}
    found = manager({f"/lib/systemd/system/{UNIT}": "[Unit]\n", "/proc/1/comm": "systemd\n"}, asked)
    assert (found.installed, found.state) == (True, "failed")


def test_a_process_without_a_service() -> None:
    found = manager({"/proc/1/comm": "systemd\n"}, running=["python3", "nv-fabricmanage"])
    assert (found.installed, found.state) == (False, "running")


def test_no_process_where_all_processes_show() -> None:
    assert manager({"/proc/1/comm": "systemd\n"}).state == "not running"


def test_hidden_processes_say_nothing() -> None:
    """/proc mounted with hidepid: the first process does not show."""
    assert manager({"/proc/4243/comm": "python3\n"}).state is None


def test_a_container_cannot_see_the_hosts_service() -> None:
    found = manager({"/.dockerenv": "", "/proc/1/comm": "python\n"})
    assert (found.installed, found.state) == (False, None)


def test_version_of_the_package_where_the_program_does_not_say() -> None:
    status = "Package: nvidia-driver-580\nVersion: 580.95.05-0ubuntu1\n\nPackage: nvidia-fabricmanager-575\nVersion: 575.57.08-1\n"
    assert manager({"/var/lib/dpkg/status": status, "/proc/1/comm": "systemd\n"}).version == "575.57.08"


@pytest.mark.parametrize("printed", ["", "no version here", "version " + "9" * 4000, "\x00\ufffd", "Version: 5.1"])
def test_a_program_that_prints_something_else(printed: str) -> None:
    found = manager(
        {PROGRAM: {"size": 9}, "/proc/1/comm": "init\n"}, {"argv": [PROGRAM, "--version"], "stdout": printed}
    )
    assert (found.installed, found.version) == (True, None)


def test_a_machine_without_nvidia_lists_no_process() -> None:
    machine = recipe_machine({"files": {"/proc/1/comm": "systemd\n"}})
    gather(machine, system.PROBES, pci.PROBES, nvidia_driver.PROBES, nvidia_fabric.PROBES)
    assert all("comm" not in str(key) for key in machine.observations)
