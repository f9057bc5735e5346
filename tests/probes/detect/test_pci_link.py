"""PCI Express links out of a sysfs tree: both ends, switches, what hypervisors make up, and the way to RDMA adapters."""

from typing import Any

import pytest

from infra_doctor_probes.detect import pci, pci_link
from infra_doctor_probes.detect.pci_link import PciPath, Place, RdmaPath, gigatransfers, lanes, path_between
from tests.support.gather import Gathered, gather
from tests.support.recipe import recipe_machine

ROOT = "/sys/devices/pci0000:15"


def node(place: str, *, width: str = "", most: str = "", **values: str) -> dict[str, str]:
    """The files of one device below its real place."""
    names = {"current_link_width": width, "max_link_width": most, **values}
    return {f"{ROOT}/{place}/{n}": v + "\n" for n, v in names.items() if v}


def gathered(*places: tuple[str, dict[str, str]], **more: Any) -> Gathered:
    """A machine whose bus lists these devices, each by its place below the host bridge."""
    files: dict[str, Any] = {}
    links = {}
    for place, found in places:
        files |= found
        links[f"/sys/bus/pci/devices/{place.rsplit('/', 1)[-1]}"] = f"../../../devices/pci0000:15/{place}"
    return gather(recipe_machine({"files": files | more.pop("files", {}), "links": links | more.pop("links", {})}),
                  pci.PROBES, pci_link.PROBES)  # fmt: skip


def gpu(place: str, width: str = "16", most: str = "16", **values: str) -> tuple[str, dict[str, str]]:
    identity = {"class": "0x030200", "vendor": "0x10de", "device": "0x2330"}
    return place, node(place, width=width, most=most, **{**identity, **values})


def bridge(place: str, width: str = "16", most: str = "16") -> tuple[str, dict[str, str]]:
    return place, node(place, width=width, most=most, **{"class": "0x060400", "vendor": "0x8086", "device": "0x352a"})


def test_both_ends_of_the_link() -> None:
    port, place = "0000:15:01.0", "0000:15:01.0/0000:17:00.0"
    speeds = {"current_link_speed": "2.5 GT/s PCIe", "max_link_speed": "32.0 GT/s PCIe", "numa_node": "1"}
    path = gathered(bridge(port, "8", "8"), gpu(place, "8", "16", **speeds)).fact(PciPath)
    assert (path.address, path.host_bridge, path.bridges, path.numa_node) == ("0000:17:00.0", "pci0000:15", (port,), 1)
    (link,) = path.links
    assert (link.below.width, link.below.width_max, link.below.speed_gt_per_s) == (8, 16, 2.5)
    assert link.below.speed_max_gt_per_s == 32.0
    assert link.above is not None
    assert (link.above.address, link.above.width_max) == (port, 8)
    assert "x8 of x16 (port 0000:15:01.0 x8)" in path.evidence[0].text


def test_the_link_above_a_switch() -> None:
    """root port - upstream port = downstream port - GPU: two links; inside the switch there is none."""
    chain = ["0000:15:01.0", "0000:16:00.0", "0000:17:02.0", "0000:18:00.0"]
    places = ["/".join(chain[: i + 1]) for i in range(4)]
    found = gathered(bridge(places[0], "4"), bridge(places[1], "4"), bridge(places[2]), gpu(places[3]))
    low, high = found.fact(PciPath).links
    assert low.above is not None
    assert (low.below.address, low.above.address, low.below.width) == ("0000:18:00.0", "0000:17:02.0", 16)
    assert high.above is not None
    assert (high.below.address, high.above.address, high.below.width) == ("0000:16:00.0", "0000:15:01.0", 4)


def test_a_port_that_a_hypervisor_made_up_is_no_other_end() -> None:
    port = "0000:15:01.0"
    path = gathered(bridge(port, "1", "1"), gpu(f"{port}/0000:17:00.0")).fact(PciPath)
    assert path.bridges == (port,)
    assert path.links[0].above is None


def test_a_guest_without_bridges() -> None:
    path = gathered(gpu("0000:00:06.0")).fact(PciPath)
    assert (path.bridges, path.numa_node, path.links[0].above) == ((), None, None)


def test_values_that_say_nothing() -> None:
    place = "0000:00:06.0"
    path = gathered(gpu(place, "0", "255", current_link_speed="Unknown", numa_node="-1")).fact(PciPath)
    end = path.links[0].below
    assert (end.width, end.width_max, end.speed_gt_per_s, path.numa_node) == (None, None, None, None)


@pytest.mark.parametrize("text", ["", "x16", "-1", "63", "1" * 5000, "١٦", "16 lanes"])
def test_no_number_of_lanes(text: str) -> None:
    assert lanes(text) is None


@pytest.mark.parametrize(
    ("text", "value"), [("32.0 GT/s PCIe", 32.0), ("8 GT/s", 8.0), ("Unknown", None), ("GT/s", None)]
)
def test_speed(text: str, value: float | None) -> None:
    assert gigatransfers(text) == value


def test_a_machine_without_accelerators_is_asked_nothing() -> None:
    machine = recipe_machine({"files": {"/sys/class/infiniband/mlx5_0/node_type": "1"}})
    assert gather(machine, pci.PROBES, pci_link.PROBES).facts == []
    assert all("infiniband" not in str(key) for key in machine.observations)


def test_virtual_function() -> None:
    place = "0000:00:06.0"
    found = gathered(gpu(place), links={f"{ROOT}/{place}/physfn": "../0000:00:05.0"})
    assert found.fact(PciPath).virtual_function is True


def place(host: str, *bridges: str, node: int | None = 0) -> Place:
    return Place(host_bridge=host, bridges=bridges, numa_node=node)


@pytest.mark.parametrize(
    ("one", "other", "path"),
    [
        (place("pci0000:15", "rp", "usp", "dsp1"), place("pci0000:15", "rp", "usp", "dsp2"), "PIX"),
        (place("pci0000:15", "rp", "usp", "dsp1", "usp2", "dsp"), place("pci0000:15", "rp", "usp", "dsp2"), "PXB"),
        (place("pci0000:15", "rp1"), place("pci0000:15", "rp2"), "PHB"),
        (place("pci0000:15"), place("pci0000:15"), "PHB"),
        (place("pci0000:15", "rp"), place("pci0000:30", "rp"), "NODE"),
        (place("pci0000:15", "rp"), place("pci0000:a0", "rp", node=1), "SYS"),
        (place("pci0000:15", "rp"), place("pci0000:a0", "rp", node=None), None),
        (Place(host_bridge=None, bridges=(), numa_node=None), place("pci0000:15"), None),
    ],
)
def test_path_between(one: Place, other: Place, path: str | None) -> None:
    assert path_between(one, other) == path
    assert path_between(other, one) == path


def test_rdma_adapter_below_the_same_switch() -> None:
    chain = "0000:15:01.0/0000:16:00.0"
    adapter = f"{ROOT}/{chain}/0000:17:01.0/0000:19:00.0"
    found = gathered(
        bridge("0000:15:01.0"),
        bridge(chain),
        bridge(f"{chain}/0000:17:00.0"),
        gpu(f"{chain}/0000:17:00.0/0000:18:00.0"),
        files={f"{adapter}/numa_node": "0\n", f"{adapter}/infiniband/mlx5_0/node_type": "1: CA\n"},
        links={
            "/sys/class/infiniband/mlx5_0": f"{adapter}/infiniband/mlx5_0",
            f"{adapter}/infiniband/mlx5_0/device": adapter,
        },
    )
    path = found.fact(RdmaPath)
    assert (path.address, path.adapter, path.path) == ("0000:18:00.0", "mlx5_0", "PIX")
