"""Accelerators on the PCI bus, named from the compiled table."""

from pathlib import Path
from typing import Any

import pytest

from infra_doctor.machine.agent import Agent
from infra_doctor.machine.machine import Machine
from infra_doctor.machine.types import Capability, MachineForm
from infra_doctor_probes.detect.pci import PROBES, PciDevice
from tests.support.gather import gather
from tests.support.recipe import recipe_machine

# `class vendor:device` of our own 8-GPU H200 machine, in the order of its bus.
H200_BUS = [
    ("0000:00:00.0", "8086:0d57", "060000"), ("0000:00:01.0", "1af4:1042", "018000"), ("0000:00:03.0", "1af4:1041", "020000"),
    ("0000:00:04.0", "1af4:1053", "ffff00"), *[(f"0000:00:{n:02x}.0", "10de:2335", "030200") for n in range(6, 14)],
]  # fmt: skip


def devices(*listed: tuple[str, str, str], driver: str | None = None) -> list[PciDevice]:
    files: dict[str, Any] = {}
    links = {}
    for address, pci_id, class_code in listed:
        folder = f"/sys/bus/pci/devices/{address}"
        vendor, device = pci_id.split(":")
        files |= {
            f"{folder}/vendor": f"0x{vendor}\n",
            f"{folder}/device": f"0x{device}\n",
            f"{folder}/class": f"0x{class_code}\n",
        }
        if driver:
            links[f"{folder}/driver"] = f"../../../../bus/pci/drivers/{driver}"
    found = gather(recipe_machine({"files": files, "links": links}), PROBES)
    assert all(isinstance(f, PciDevice) for f in found.facts)
    return found.facts


def test_a_machine_of_eight_h200() -> None:
    found = devices(*H200_BUS, driver="nvidia")
    assert [d.address for d in found] == [f"0000:00:{n:02x}.0" for n in range(6, 14)]
    for device in found:
        assert (device.vendor, device.pci_id, device.driver) == ("nvidia", "10de:2335", "nvidia")
        assert (device.name, device.compute_capability, device.capability_certain) == (
            "GH100 [H200 SXM 141GB]",
            "9.0",
            True,
        )
        assert device.accelerator


@pytest.mark.parametrize(
    ("pci_id", "class_code", "vendor", "accelerator"),
    [
        ("10de:2b85", "030000", "nvidia", True),
        ("1002:740f", "038000", "amd", True),  # MI210
        ("1002:744c", "030000", "amd", True),  # a discrete card of the table
        ("1002:1638", "030000", "amd", False),  # an APU
        ("8086:46a6", "030000", "intel", False),  # part of the processor
        ("8086:0bd5", "038000", "intel", True),
        ("19e5:d802", "120000", "ascend", True),
        ("19e5:1711", "030000", "ascend", False),  # a server's management display
        ("1d94:6211", "0b4000", "hygon", True),
        ("abcd:0001", "120000", "abcd", True),  # an accelerator of an unknown vendor
    ],
)
def test_every_vendor(pci_id: str, class_code: str, vendor: str, accelerator: bool) -> None:
    (device,) = devices(("0000:c1:00.0", pci_id, class_code))
    assert (device.vendor, device.accelerator, device.driver) == (vendor, accelerator, None)


@pytest.mark.parametrize(
    ("pci_id", "class_code"),
    [
        ("1a03:2000", "030000"),  # ASPEED
        ("102b:0536", "030000"),  # Matrox
        ("1af4:1050", "030000"),  # VirtIO
        ("10de:22bc", "040300"),  # the sound function of a graphics card
        ("10de:22a3", "068000"),  # NVSwitch
        ("8086:37c8", "0b4000"),  # QuickAssist
        ("1022:1456", "0b4000"),
    ],
)
def test_what_is_no_accelerator(pci_id: str, class_code: str) -> None:
    assert devices(("0000:c1:00.0", pci_id, class_code)) == []


def test_a_code_name_alone_gives_no_certain_capability() -> None:
    (device,) = devices(("0000:17:00.0", "10de:2924", "030200"))
    assert (device.name, device.compute_capability, device.capability_certain) == ("GB100", "10.0", False)


def test_a_device_younger_than_the_table_is_still_seen() -> None:
    (device,) = devices(("0000:17:00.0", "10de:fffe", "030200"))
    assert (device.vendor, device.name, device.compute_capability) == ("nvidia", None, None)


def test_hostile_sysfs_is_survived(tmp_path: Path) -> None:
    bus = tmp_path / "sys/bus/pci/devices"
    for name, content in (
        ("0000:00:01.0", b"\xff\xfe"),
        ("0000:00:02.0", b"0x" + b"3" * 1_000_000),
        ("0000:00:03.0", b""),
    ):
        (bus / name).mkdir(parents=True)
        (bus / name / "class").write_bytes(content)
    (bus / "0000:00:04.0").symlink_to("0000:00:04.0")
    (bus / "0000:00:05.0").mkdir()
    (bus / "0000:00:05.0/class").write_text("0x030200\n")  # and neither vendor nor device
    machine = Machine(Agent(str(tmp_path)), form=MachineForm.ROOTED, capabilities={Capability.KERNEL_STATE})
    assert gather(machine, PROBES).facts == []
