"""The Intel GPUs and NPUs: by PCI, the kernel drivers i915, xe and intel_vpu, and how their device files answer.

A GPU that is part of the processor is no accelerator of its own: it counts only where something built for Intel GPUs is
installed. Intel's `xpu-smi` is asked where a separate GPU is on the bus; the tool's name is Kunlunxin's too. Proven on captures
and described machines, not on the devices."""

import posixpath
from collections.abc import Iterator

from infra_doctor.plugin import (
    AttributeValue,
    Capability,
    Component,
    Evidence,
    EvidenceKind,
    Machine,
    ProbeContext,
    fact,
    kernel_evidence,
    record,
)
from infra_doctor_probes.detect.intel import wants_gpu
from infra_doctor_probes.detect.pci import PciDevice, opened_render_nodes
from infra_doctor_probes.detect.system import Container
from infra_doctor_probes.intel.texts import parse_discovery
from infra_doctor_probes.other_vendors.reading import Reading, version

TIMEOUT_S = 10.0
LIBRARIES = ("libze_loader.so.1", "libze_intel_gpu.so.1")
GPUS_CAP = 16


@fact("intel-access", 1)
@record
class IntelAccess:
    """Render nodes of the Intel GPUs: (path, errno's name or "" where it opens). `given` is False where this container has
    none of them."""

    render: tuple[tuple[str, str], ...]
    given: bool
    evidence: tuple[Evidence, ...] = ()


@fact("xpu-smi-session", 1)
@record
class XpuSmiSession:
    """How Intel's xpu-smi answered."""

    error: str = ""
    timed_out: bool = False
    device_count: int = 0
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """gpu, npu and driver components, the Level Zero libraries, IntelAccess."""
    machine: Machine = ctx.machine
    every = [d for d in ctx.facts(PciDevice) if d.vendor == "intel" and not (d.driver or "").startswith("vfio")]
    gpus = [d for d in every if d.class_code.startswith("03") and (d.accelerator or wants_gpu(ctx))]
    npus = [d for d in every if d.class_code.startswith("12")]
    yield from libraries(machine)
    if gpus:
        access = read_access(machine, gpus, in_container=ctx.fact(Container) is not None)
        yield access
        if not access.given:
            gpus = []
    session, readings = ask(machine, gpus)
    if session is not None:
        yield session
    yield from drivers(machine, [*gpus, *npus], readings)
    yield from (component(d, "gpu", readings.get(d.address)) for d in gpus)
    yield from (component(d, "npu", None) for d in npus)


def read_access(machine: Machine, gpus: list[PciDevice], *, in_container: bool) -> IntelAccess:
    """How the render nodes of these GPUs answer this user."""
    render = opened_render_nodes(machine, {d.address for d in gpus})
    said = [kernel_evidence(path, f"open gives {error}" if error else "opens") for path, error in render]
    return IntelAccess(render=render, given=bool(render) or not in_container, evidence=tuple(said))


def ask(machine: Machine, gpus: list[PciDevice]) -> tuple[XpuSmiSession | None, dict[str, Reading]]:
    """`xpu-smi discovery -d N` for each separate GPU; None where the tool is not there."""
    separate = [d for d in gpus if d.accelerator]
    if not separate or Capability.COMMANDS not in machine.capabilities:
        return None, {}
    readings: dict[str, Reading] = {}
    error = ""
    for number in range(min(len(separate), GPUS_CAP)):
        result = machine.run("xpu-smi", "discovery", "-d", str(number), timeout_s=TIMEOUT_S)
        if result.error:
            return None, {}
        text = parse_discovery(result.stdout or result.stderr)
        readings |= {r.address: r for r in text.devices if r.address}
        error = f"no answer within {TIMEOUT_S:g} s" if result.timed_out else text.problem
        if error:
            break
    shown = error or f"{len(readings)} GPUs"
    return XpuSmiSession(
        error=error, timed_out="no answer" in error, device_count=len(readings),
        evidence=(Evidence(kind=EvidenceKind.COMMAND, source="xpu-smi discovery", text=shown),),
    ), readings  # fmt: skip


def drivers(machine: Machine, devices: list[PciDevice], readings: dict[str, Reading]) -> Iterator[Component]:
    """The kernel drivers that are bound; those of the kernel have no version of their own."""
    for name in sorted({d.driver for d in devices if d.driver}):
        path = f"/sys/module/{name}"
        found = version((machine.read_text(f"{path}/version", max_bytes=200, quiet=True) or "").strip())
        yield Component(
            key=f"driver:{name}",
            kind="driver",
            name=name,
            version=found,
            attributes={"origin": "package" if found else "kernel"},
            evidence=(kernel_evidence(path, f"version {found}" if found else "bound to an Intel device"),),
        )


def component(device: PciDevice, kind: str, reading: Reading | None) -> Component:
    """One GPU or NPU."""
    attributes: dict[str, AttributeValue] = {
        "vendor": "intel", "pci_id": device.pci_id, "driver_module": device.driver,
        "seen_by": "xpu-smi" if reading else "pci", "integrated": None if device.accelerator else True,
    }  # fmt: skip
    if reading is not None:
        attributes |= {"memory_bytes": reading.memory_bytes, "health": reading.health, "ecc": reading.ecc}
    return Component(
        key=f"{kind}:{device.address}",
        kind=kind,
        name=(reading.name if reading else None) or intel_name(device, kind),
        attributes={n: v for n, v in attributes.items() if v is not None},
        evidence=device.evidence,
    )


def intel_name(device: PciDevice, kind: str) -> str:
    """The PCI ID repository's "DG2 [Arc A770]" as "Intel Arc A770"."""
    inside = (device.name or "").partition("[")[2].rstrip("]")
    return f"Intel {inside or device.name or kind.upper()}"


def libraries(machine: Machine) -> Iterator[Component]:
    """Level Zero's libraries in the loader's cache; the version is the real file name's suffix."""
    for soname in LIBRARIES:
        for path in dict.fromkeys(
            machine.realpath(e.path) for e in machine.linker_cache(quiet=True) or () if e.soname == soname
        ):
            stem = soname.partition(".so")[0]
            yield Component(
                key=f"{stem}:{path}", kind=stem, name=stem, version=posixpath.basename(path).partition(".so.")[2] or None,
                location=path, attributes={"soname": soname},
                evidence=(Evidence(kind=EvidenceKind.FILE, source=path, text="in ld.so.cache"),),
            )  # fmt: skip
