"""Moore Threads: whether a container got the driver's library, and whether the IOMMU is on.

The library `libsrv_um_MUSA.so` belongs to the driver; the vendor's container toolkit mounts the host's copy, and images hold
an empty file in its place. Facts: MooreThreads/tutorial_on_musa, FAQ/environment_FAQ.md, items 3, 5 and 6."""

from collections.abc import Iterator

from infra_doctor.plugin import Evidence, EvidenceKind, Machine, ProbeContext, fact, kernel_evidence, record
from infra_doctor_probes.detect.other_vendors import MUSA_DRIVER_LIBRARY, MUSA_LIBRARY_FOLDERS, MUSA_WHEELS
from infra_doctor_probes.detect.pci import PciDevice

# The PCI ID repository's ids of the MTT S4000, the card of which the vendor says that it needs the IOMMU.
S4000 = frozenset({"1ed5:0323", "1ed5:0327", "1ed5:0328"})
IOMMU_OPTIONS = ("iommu", "intel_iommu", "amd_iommu", "iommu.passthrough")


@fact("musa-surroundings", 1)
@record
class MusaSurroundings:
    """`libraries` are (path, size in bytes) of every copy of the driver's library. `wheels` are keys of what uses MUSA.
    `asked_for` is the container variable's value. `iommus` are the kernel's IOMMU units, None where /sys does not show them;
    `iommu_options` the kernel's options about it."""

    wheels: tuple[str, ...]
    asked_for: str | None
    devices: tuple[str, ...]
    s4000: tuple[str, ...]
    libraries: tuple[tuple[str, int], ...]
    searched: tuple[str, ...]
    iommus: tuple[str, ...] | None
    iommu_options: tuple[str, ...]
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[MusaSurroundings]:
    """One fact."""
    machine: Machine = ctx.machine
    devices = [d for d in ctx.facts(PciDevice) if d.vendor == "mthreads" and d.accelerator]
    cached = [e.path for e in machine.linker_cache(quiet=True) or () if e.soname == MUSA_DRIVER_LIBRARY]
    folders = [f for f in machine.environ.get("LD_LIBRARY_PATH", "").split(":") if f.startswith("/")]
    places = [f"{f}/{MUSA_DRIVER_LIBRARY}" for f in (*folders, *MUSA_LIBRARY_FOLDERS)]
    libraries = {}
    for path in dict.fromkeys((*places, *cached)):
        found = machine.stat(path)
        if found is not None and found.type == "file":
            libraries[machine.realpath(path)] = found.size_bytes
    options = (machine.read_text("/proc/cmdline", max_bytes=65536, quiet=True) or "").split()
    iommus = machine.names("/sys/class/iommu") if machine.is_dir("/sys/class/iommu") else None
    shown = tuple(o for o in options if o.partition("=")[0] in IOMMU_OPTIONS)
    yield MusaSurroundings(
        wheels=tuple(w.key for w in ctx.by_kind("wheel") if w.name in MUSA_WHEELS),
        asked_for=machine.environ.get("MTHREADS_VISIBLE_DEVICES"),
        devices=tuple(d.address for d in devices),
        s4000=tuple(d.address for d in devices if d.pci_id in S4000),
        libraries=tuple(libraries.items()),
        searched=tuple(dict.fromkeys((*folders, *MUSA_LIBRARY_FOLDERS))),
        iommus=iommus,
        iommu_options=shown,
        evidence=(
            *(e for d in devices[:4] for e in d.evidence),
            *(Evidence(kind=EvidenceKind.FILE, source=p, text=f"{n} bytes") for p, n in libraries.items()),
            kernel_evidence("/sys/class/iommu", "absent" if iommus is None else " ".join(iommus) or "empty"),
            kernel_evidence("/proc/cmdline", " ".join(shown) or "no option about the IOMMU"),
        ),
    )
