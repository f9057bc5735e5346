"""The probes of further vendors' accelerators: what makes them do anything, and what the collector takes for them.

On a machine without such a device they look at the list of PCI devices and at the names under /dev."""

from collections.abc import Iterable

from infra_doctor.plugin import Probe, ProbeContext
from infra_doctor_probes.detect.pci import BUS, PciDevice

VENDORS = frozenset(
    {"cambricon", "hygon", "iluvatar", "metax", "mthreads", "kunlun", "enflame", "thead", "habana", "biren"}
)
# Tecorigin's PCI id is not published: its device files are all that tells it.
NODE_PREFIXES = ("tcaicard",)
TOOLS = ("cnmon", "hy-smi", "ixsmi", "mx-smi", "mthreads-gmi", "xpu_smi", "efsmi")
MODULES = ("hycu", "hydcu", "metax", "mtgpu", "enflame", "habanalabs")
MUSA_WHEELS = ("torch-musa",)
MUSA_VARIABLES = ("MTHREADS_VISIBLE_DEVICES", "MUSA_VISIBLE_DEVICES", "MUSA_HOME")
MUSA_DRIVER_LIBRARY = "libsrv_um_MUSA.so"
MUSA_LIBRARY_FOLDERS = ("/usr/lib/x86_64-linux-gnu/musa", "/usr/lib/aarch64-linux-gnu/musa")


def devices(ctx: ProbeContext) -> Iterable[object]:
    """Every vendor that shows."""
    shown = any(d.vendor in VENDORS and d.accelerator for d in ctx.facts(PciDevice))
    if shown or any(name.startswith(NODE_PREFIXES) for name in ctx.machine.names("/dev")):
        from infra_doctor_probes.other_vendors.probe import run

        return run(ctx)
    return ()


def musa(ctx: ProbeContext) -> Iterable[object]:
    """The surroundings of Moore Threads' MUSA, where a device or its plug-in for PyTorch is there."""
    shown = any(d.vendor == "mthreads" and d.accelerator for d in ctx.facts(PciDevice))
    if shown or any(wheel.name in MUSA_WHEELS for wheel in ctx.by_kind("wheel")):
        from infra_doctor_probes.other_vendors.musa import run

        return run(ctx)
    return ()


PROBES = (
    Probe(
        id="other-accelerators",
        version=1,
        title="Accelerators of further vendors by PCI, the kernel and their tools",
        run=devices,
        needs=("kernel state",),
        after=("system", "pci"),
        environment=("MUSA_HOME", "NEUWARE_HOME", "COREX_HOME", "MACA_PATH", "TOPS_HOME"),
        collect=(
            "/dev", "/dev/accel", "/usr/local/neuware/version.txt", "/usr/local/musa/version.json", "/opt/dtk/.info/version",
            *(f"/{n}" for n in ("usr/local/corex", "usr/local/neuware", "usr/local/musa", "opt/dtk", "opt/maca", "opt/tops")),
            f"{BUS}/*/physfn",
            *(f"/sys/module/{name}/version" for name in MODULES), *(f"run:{tool}" for tool in TOOLS),
        ),
        devices=True,
        explained_by=("VENDOR-STACK", "MUSA-CTR"),
        timeout_s=30.0,
    ),
    Probe(
        id="musa",
        version=1,
        title="Moore Threads: driver libraries and IOMMU",
        run=musa,
        needs=("kernel state",),
        after=("system", "pci", "python.wheels"),
        environment=MUSA_VARIABLES,
        collect=(
            *(f"{folder}/{MUSA_DRIVER_LIBRARY}" for folder in MUSA_LIBRARY_FOLDERS), "/sys/class/iommu", "/proc/cmdline",
        ),
    ),
)  # fmt: skip
