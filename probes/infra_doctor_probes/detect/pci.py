"""Accelerators on the PCI bus, of every vendor, named without their drivers.

Facts come from /sys/bus/pci/devices; the names are those of the public PCI ID repository, read from the compiled table
only where there is a device to name. A container sees all devices of its host here, also those that it was not given."""

import posixpath
from collections.abc import Iterator

from infra_doctor.plugin import Evidence, Machine, Probe, ProbeContext, fact, kernel_evidence, load_table, record

BUS = "/sys/bus/pci/devices"
TABLE = posixpath.join(posixpath.dirname(posixpath.dirname(__file__)), "tables", "data", "pci_ids.json")

# PCI vendor ids of accelerators, as the PCI ID repository lists them. Server management chips (ASPEED 1a03, Matrox 102b,
# VirtIO 1af4 …) are displays too, and no accelerators.
VENDORS = {
    "10de": "nvidia", "1002": "amd", "8086": "intel", "19e5": "ascend", "cabc": "cambricon", "1d94": "hygon",
    "1e3e": "iluvatar", "9999": "metax", "1ed5": "mthreads", "1d22": "kunlun", "1e36": "enflame", "1ded": "thead",
    "1da3": "habana",
    "1ee0": "biren",  # not in the repository: a hint
}  # fmt: skip
VGA, OTHER_DISPLAY, CO_PROCESSOR, PROCESSING = "0300", "0380", "0b40", "12"
# Vendors whose display controllers are also built into ordinary processors, or are the server's management display.
MAY_BE_PLAIN_DISPLAY = {"amd", "intel", "ascend"}
# The table has some of Intel's processors too: "Meteor Lake-P [Intel Arc Graphics]", "Core Ultra 200V Series Processors …".
IN_PROCESSORS = ("Lake", "Processors")


@fact("pci-device", 1)
@record
class PciDevice:
    """An accelerator function of the bus. `address` is "0000:00:06.0"; `driver` the kernel driver bound to it. With
    `accelerator` False it is a display that is probably part of the processor. `compute_capability` (NVIDIA) follows from
    the code name in the table; `capability_certain` says whether that row may carry a verdict."""

    address: str
    vendor: str
    pci_id: str  # "10de:2335"
    class_code: str  # "030200"
    driver: str | None = None
    name: str | None = None
    compute_capability: str | None = None
    capability_certain: bool = False
    accelerator: bool = True
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """One PciDevice per accelerator function."""
    machine: Machine = ctx.machine
    for address in machine.names(BUS):
        device = read_device(machine, address.lower())
        if device is not None:
            yield device


def opened_render_nodes(machine: Machine, addresses: set[str]) -> tuple[tuple[str, str], ...]:
    """(/dev/dri/renderD*, the name of the error of opening it or "") of these GPUs: its link in /sys/class/drm leads there."""
    nodes = [n for n in machine.names("/dev/dri") if n.startswith("renderD")]
    ours = [n for n in nodes if posixpath.basename(machine.realpath(f"/sys/class/drm/{n}/device")) in addresses]
    opened = ((f"/dev/dri/{n}", machine.open_error(f"/dev/dri/{n}")) for n in ours)
    return tuple((path, error) for path, error in opened if error is not None)


def read_device(machine: Machine, address: str) -> PciDevice | None:
    """The device where its class and vendor can be an accelerator's."""
    folder = posixpath.join(BUS, address)
    class_code = read_hex(machine, folder, "class", 6)
    if not class_code.startswith(("03", PROCESSING, CO_PROCESSOR)):
        return None
    vendor_id, device_id = read_hex(machine, folder, "vendor", 4), read_hex(machine, folder, "device", 4)
    vendor = VENDORS.get(vendor_id)
    if vendor is None and class_code.startswith(PROCESSING):
        vendor = vendor_id
    # Co-processors are mostly encryption engines; Hygon's DCUs are of that class too.
    if not vendor or (class_code.startswith(CO_PROCESSOR) and vendor != "hygon"):
        return None
    pci_id = f"{vendor_id}:{device_id}"
    link = machine.readlink(posixpath.join(folder, "driver"))
    driver = posixpath.basename(link) if link else None
    row = next(iter(load_table(TABLE).where(pci_id=pci_id)), None)
    name = row["name"] if row else None
    return PciDevice(
        address=address,
        vendor=vendor,
        pci_id=pci_id,
        class_code=class_code,
        driver=driver,
        name=name,
        compute_capability=(row["cc_from_codename"] or None) if row else None,
        capability_certain=row.certain if row else False,
        accelerator=is_accelerator(vendor, class_code, name),
        evidence=(kernel_evidence(folder, f"{pci_id} class {class_code} driver {driver or 'none'}"),),
    )


def read_hex(machine: Machine, folder: str, name: str, digits: int) -> str:
    """A number of sysfs without its 0x, "" where it is none."""
    text = (machine.read_text(posixpath.join(folder, name), max_bytes=64, quiet=True) or "").strip().lower()
    text = text.removeprefix("0x")
    return text if len(text) == digits and all(c in "0123456789abcdef" for c in text) else ""


def is_accelerator(vendor: str, class_code: str, name: str | None) -> bool:
    """Whether the function is more than a display. The table holds the discrete devices of AMD and Intel."""
    if vendor in MAY_BE_PLAIN_DISPLAY and class_code.startswith(VGA):
        return name is not None and vendor != "ascend" and not any(word in name for word in IN_PROCESSORS)
    return True


PROBES = (
    Probe(
        id="pci",
        version=1,
        title="Accelerators on the PCI bus",
        run=run,
        needs=("kernel state",),
        collect=(f"{BUS}/*/class", f"{BUS}/*/vendor", f"{BUS}/*/device", f"{BUS}/*/driver"),
    ),
)
