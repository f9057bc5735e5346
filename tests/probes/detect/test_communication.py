"""RDMA devices, GPUDirect, IOMMU, ACS and communication libraries, out of described trees and hostile bytes."""

import base64
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_doctor.machine.agent import Agent, pci_acs_control, pci_port_type
from infra_doctor_probes.detect import communication, pci
from infra_doctor_probes.detect.communication import (
    AcsBridge,
    GpuDirect,
    Iommu,
    RdmaAccess,
    RdmaPort,
    bits,
)
from tests.support.gather import Gathered, gather
from tests.support.recipe import recipe_machine


def gathered(**recipe: Any) -> Gathered:
    return gather(recipe_machine(recipe), pci.PROBES, communication.PROBES)


def config(acs: int, *, kind: int = 6, before: int = 1) -> bytes:
    """A configuration space whose ACS capability comes after `before` others."""
    data = bytearray(4096)
    data[0x34], data[0x40], data[0x42] = 0x40, 0x10, kind << 4
    for n in range(before):
        struct.pack_into("<I", data, 0x100 + 0x40 * n, 0x0001 | 1 << 16 | (0x140 + 0x40 * n) << 20)
    at = 0x100 + 0x40 * before
    struct.pack_into("<IHH", data, at, 0x000D | 1 << 16, 0x1F, acs)
    return bytes(data)


def test_the_register_of_the_published_hang() -> None:
    # ACSCtl 0x001d of https://github.com/NVIDIA/nccl/issues/2079
    assert bits(pci_acs_control(config(0x1D)) or 0) == ("SrcValid", "ReqRedir", "CmpltRedir", "UpstreamFwd")
    assert pci_acs_control(config(0)) == 0
    assert pci_acs_control(config(0x1D, before=5)) == 0x1D
    assert pci_acs_control(config(0x1D)[:64]) is None
    assert pci_port_type(config(0, kind=4)) == 4
    assert pci_port_type(b"") is None


def test_a_loop_of_capabilities_ends() -> None:
    data = bytearray(4096)
    struct.pack_into("<I", data, 0x100, 0x0001 | 0x100 << 20)
    data[0x34], data[0x40], data[0x41] = 0x40, 0x05, 0x40
    assert pci_acs_control(bytes(data)) is None
    assert pci_port_type(bytes(data)) is None


@given(st.dictionaries(st.integers(0, 1023), st.integers(0, 2**32 - 1), max_size=20), st.integers(0, 4096))
def test_any_configuration_space_is_read(words: dict[int, int], length: int) -> None:
    data = bytearray(4096)
    for number, word in words.items():
        struct.pack_into("<I", data, 4 * number, word)
    for read in (pci_acs_control, pci_port_type):
        assert (read(bytes(data)) or 0) >= 0
        assert (read(bytes(data[:length])) or 0) >= 0


def test_the_agent_tells_no_more_than_asked(tmp_path: Path) -> None:
    (tmp_path / "config").write_bytes(config(0x1D))
    (tmp_path / "short").write_bytes(config(0x1D)[:64])
    found = Agent(str(tmp_path)).ask("pci_config", "/config")
    assert found == {"bytes": 4096, "port_type": 6, "acs_control": 0x1D}
    assert Agent(str(tmp_path)).ask("pci_config", "/short") == {"bytes": 64, "port_type": None, "acs_control": None}
    assert Agent(str(tmp_path)).ask("pci_config", "/none") is None


HCA = "/sys/class/infiniband/mlx5_0"
CARD = {
    f"{HCA}/fw_ver": "28.41.1000\n", f"{HCA}/hca_type": "MT4129\n", f"{HCA}/device/vendor": "0x15b3\n",
    f"{HCA}/ports/1/state": "4: ACTIVE\n", f"{HCA}/ports/1/phys_state": "5: LinkUp\n",
    f"{HCA}/ports/1/rate": "400 Gb/sec (4X NDR)\n", f"{HCA}/ports/1/link_layer": "InfiniBand\n",
    "/dev/infiniband/uverbs0": {"type": "char", "rdev": [231, 192]}, "/dev/infiniband/rdma_cm": {"type": "char"},
}  # fmt: skip


def test_an_rdma_device() -> None:
    found = gathered(files=CARD)
    device = found.one("rdma-device")
    assert (device.key, device.version) == ("rdma-device:mlx5_0", "28.41.1000")
    assert (device.attributes["type"], device.attributes["vendor_id"]) == ("MT4129", "15b3")
    port = found.fact(RdmaPort)
    assert (port.state, port.physical_state, port.rate_gb_per_s, port.link_layer, port.port) == (
        "ACTIVE", "LinkUp", 400.0, "InfiniBand", 1,
    )  # fmt: skip
    assert found.fact(RdmaAccess).verbs == ("uverbs0",)


@pytest.mark.parametrize(
    "junk", ["", "\0\0", "x" * 5000, "9999999999 Gb/sec", {"error": "Permission denied"}, {"type": "fifo"}]
)
def test_damaged_files_of_a_device(junk: Any) -> None:
    files = {**CARD, **{p: junk for p in CARD if p.startswith("/sys")}, f"{HCA}/ports/one/state": "4: ACTIVE\n"}
    found = gathered(files=files)
    assert found.one("rdma-device").name == "mlx5_0"
    assert found.fact(RdmaPort).rate_gb_per_s is None


GPU = "/sys/bus/pci/devices/0000:%s:00.0"


def bare_metal(acs: bytes, *gpus: str) -> dict[str, Any]:
    files: dict[str, Any] = {
        "/proc/cmdline": "root=/dev/sda1 iommu=pt quiet\n",
        "/sys/class/iommu/dmar0": {"type": "dir"},
    }
    links = {}
    for number, bus in enumerate(gpus):
        bridge = f"/sys/devices/pci0000:00/0000:00:0{number}.0"
        real = f"{bridge}/0000:{bus}:00.0"
        files |= {f"{real}/vendor": "0x10de\n", f"{real}/device": "0x2330\n", f"{real}/class": "0x030200\n"}
        files |= {f"{bridge}/config": {"base64": base64.b64encode(acs).decode()}}
        files |= {f"/sys/kernel/iommu_groups/{number}/type": "DMA-FQ\n"}
        links |= {
            GPU % bus: f"../../..{real.removeprefix('/sys')}",
            f"{real}/iommu_group": f"../../../kernel/iommu_groups/{number}",
        }
    return {"files": files, "links": links}


def test_bridges_and_groups_of_two_gpus() -> None:
    found = gathered(**bare_metal(config(0x1D), "17", "27"))
    bridges = [f for f in found.facts if isinstance(f, AcsBridge)]
    assert [(b.address, b.below, b.port_type) for b in bridges] == [
        ("0000:00:00.0", ("0000:17:00.0",), "switch downstream port"),
        ("0000:00:01.0", ("0000:27:00.0",), "switch downstream port"),
    ]
    assert all("ReqRedir" in (b.acs or ()) for b in bridges)
    iommu = found.fact(Iommu)
    assert (iommu.units, iommu.options) == (("dmar0",), ("iommu=pt",))
    assert iommu.group_types == (("0000:17:00.0", "DMA-FQ"), ("0000:27:00.0", "DMA-FQ"))


def test_one_gpu_has_nobody_to_talk_to() -> None:
    found = gathered(**bare_metal(config(0x1D), "17"))
    assert not found.has(AcsBridge)
    assert found.fact(GpuDirect).peer_memory == ""


def test_a_machine_without_accelerator_is_hardly_looked_at() -> None:
    machine = recipe_machine(
        {"files": {"/sys/bus/pci/devices": {"type": "dir"}}, "ldcache": {"libucp.so.0": "/lib/libucp.so.0"}}
    )
    assert gather(machine, communication.PROBES).facts == []
    assert {name for name, *_ in machine.observations} <= {"list", "stat"}
    assert len(machine.observations) <= 2


def test_libraries_and_their_versions() -> None:
    found = gathered(
        **{**bare_metal(config(0), "17"), "files": {
            **bare_metal(config(0), "17")["files"],
            "/usr/lib/x86_64-linux-gnu/libucp.so.0.0.0": {"size": 10},
            "/usr/lib/x86_64-linux-gnu/pkgconfig/ucx.pc": "Name: ucx\nVersion: 1.16.0\n",
        }},
        ldcache={"libucp.so.0": "/usr/lib/x86_64-linux-gnu/libucp.so.0.0.0", "libz.so.1": "/usr/lib/libz.so.1"},
    )  # fmt: skip
    assert (found.one("ucx").version, found.one("ucx").location) == (
        "1.16.0",
        "/usr/lib/x86_64-linux-gnu/libucp.so.0.0.0",
    )
