"""Machines around a public capture: what the bus, the kernel and the vendor's table row add to a tool's output."""

from pathlib import Path
from typing import Any

from infra_doctor.model.report import Report
from infra_doctor.runner import registry
from infra_doctor.runner.run import Run, RunOptions
from infra_doctor_probes.other_vendors.rows import Vendor, vendors
from tests.support.recipe import read_recipe, recipe_machine

PLUGINS = registry.load(third_party=False)
NAMES = tuple(sorted({n for p in PLUGINS.probes for n in p.environment}))
BASE = Path(__file__).parents[2] / "machines" / "base-linux.toml"
SITE = "/opt/venv/lib/python3.12/site-packages"
CHAR = {"type": "char", "rdev": [240, 0]}
# Devices that the PCI ID repository names; others of the same vendor do as well.
DEVICE = {
    "cambricon": "0370", "enflame": "c035", "hygon": "6211", "iluvatar": "0001", "kunlun": "3684", "metax": "0a01",
    "mthreads": "0201", "thead": "6001",
}  # fmt: skip
CLASS = {"hygon": "0b4000", "mthreads": "030200"}
NODES = {
    "cambricon": "cambricon_dev{n}", "enflame": "gcu{n}", "hygon": "mkfd", "iluvatar": "iluvatar{n}", "kunlun": "xpu{n}",
    "metax": "mxcd", "mthreads": "mtgpu.{n}", "thead": "alixpu_ppu{n}",
}  # fmt: skip


def merged(*parts: dict[str, Any]) -> dict[str, Any]:
    """One recipe out of several."""
    out = read_recipe(BASE)
    for part in parts:
        for name, value in part.items():
            if isinstance(value, dict):
                out[name] = {**out.get(name, {}), **value}
            else:
                out[name] = [*out.get(name, []), *value] if isinstance(value, list) else value
    return out


def on_the_bus(address: str, pci_vendor: str, device: str, class_code: str, driver: str | None) -> dict[str, Any]:
    """One PCI device."""
    folder = f"/sys/bus/pci/devices/{address}"
    files = {
        f"{folder}/vendor": f"0x{pci_vendor}\n",
        f"{folder}/device": f"0x{device}\n",
        f"{folder}/class": f"0x{class_code}\n",
    }
    links = {f"{folder}/driver": f"../../../../bus/pci/drivers/{driver}"} if driver else {}
    return {"files": files, "links": links}


def around(vendor: Vendor, addresses: list[str], *, driver_version: str | None) -> dict[str, Any]:
    """The bus, the module, the nodes and the toolkit of a vendor, as its table row has them."""
    module = vendor.modules[0] if vendor.modules else f"{vendor.id}_driver"
    parts = [
        on_the_bus(a, vendor.pci_vendor, DEVICE[vendor.id], CLASS.get(vendor.id, "120000"), module) for a in addresses
    ]
    files: dict[str, Any] = {f"/dev/{NODES[vendor.id].format(n=n)}": CHAR for n in range(len(addresses))}
    files |= {f"{t}/README": "" for t in vendor.toolkits}
    if driver_version:
        files[f"/sys/module/{module}/version"] = driver_version + "\n"
    return merged({"files": files}, *parts)


def plug_in(vendor: Vendor) -> dict[str, Any]:
    """The vendor's first plug-in for a framework."""
    names = vendor.plug_ins[:1]
    return {"distributions": [{"site": SITE, "name": n, "version": "1.0.0", "installer": "pip"} for n in names]}


def amd_machine(devices: list[tuple[str, str, str]], *, driver_version: str, memory_bytes: int) -> dict[str, Any]:
    """AMD GPUs: (address, device id, instruction set as the driver's number), with nodes and topology."""
    files: dict[str, Any] = {
        "/dev/kfd": CHAR,
        "/sys/module/amdgpu/version": driver_version + "\n",
        "/sys/class/kfd/kfd/topology/nodes/0/properties": "cpu_cores_count 64\nsimd_count 0\n",
    }
    links = {}
    parts = []
    for n, (address, device, gfx) in enumerate(devices):
        domain, bus, rest = address.split(":")
        slot, function = rest.split(".")
        where = int(bus, 16) << 8 | int(slot, 16) << 3 | int(function)
        files[f"/sys/class/kfd/kfd/topology/nodes/{n + 1}/properties"] = (
            f"simd_count 1216\nsimd_per_cu 4\nlocation_id {where}\ndomain {int(domain, 16)}\ngfx_target_version {gfx}\n"
        )
        files[f"/dev/dri/renderD{128 + n}"] = CHAR
        files[f"/sys/bus/pci/devices/{address}/mem_info_vram_total"] = f"{memory_bytes}\n"
        links[f"/sys/class/drm/renderD{128 + n}/device"] = f"../../../bus/pci/devices/{address}"
        parts.append(on_the_bus(address, "1002", device, "038000", "amdgpu"))
    return merged({"files": files, "links": links}, *parts)


def report_of(recipe: dict[str, Any]) -> Report:
    """What `check` says of a described machine."""
    return Run(RunOptions(), registry=PLUGINS, machine=recipe_machine(recipe, NAMES)).execute()


def vendor(name: str) -> Vendor:
    """A row of the table."""
    return vendors()[name]
