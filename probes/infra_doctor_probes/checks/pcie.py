"""PCIE: a link of an accelerator runs with fewer lanes than both of its ends could.

A card in a slot that is wired with fewer lanes is no fault: the lesser of the two ends counts. Speed is never judged here: an
idle link runs slowly by design."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Component,
    Confidence,
    Evidence,
    Finding,
    LogSignature,
    Severity,
    Status,
    record,
)
from infra_doctor_probes.detect.nvidia_state import GpuState
from infra_doctor_probes.detect.pci_link import PciLink, PciPath
from infra_doctor_probes.detect.system import Virtualization

# Chips that reach their processor another way: NVML and sysfs show a made-up link there.
INTEGRATED = ("GB10", "GH200", "GB200", "GB300", "Orin", "Thor", "Xavier")
LAPTOP = ("Laptop", "Mobile", "Max-Q")


@record
class Narrow:
    """A link with too few lanes."""

    place: str
    width: int
    limit: int


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per accelerator with a narrow link, or with one that cannot be judged; one pass for the others."""
    paths = {p.address: p for p in context.facts(PciPath)}
    devices = [
        (d, paths[a]) for d in context.by_kind("gpu", "npu", "accelerator") if (a := d.key.partition(":")[2]) in paths
    ]
    good = []
    reasons: dict[str, list[Component]] = {}
    for device, path in devices:
        state = next((s for s in context.facts(GpuState) if s.gpu == device.key), None)
        reason = not_judged(device, path, state)
        if reason:
            reasons.setdefault(reason, []).append(device)
            continue
        narrow = narrow_link(path)
        if narrow is None and path.links[0].above is None:
            verdict = one_end_only(context, device, path, state, [p for d, p in devices if d.name == device.name])
            if verdict is not None:
                yield verdict
                continue
        if narrow is not None:
            yield finding(device, narrow, path.evidence, Confidence.OBSERVED)
        else:
            good.append((device, path))
    if good:
        yield CHECK.finding(
            Status.PASS,
            f"PCI Express links run at their full width: {', '.join(sorted({link_width(p) for _, p in good}))}",
            subject=tuple(d.key for d, _ in good),
            evidence=[e for _, p in good for e in p.evidence],
        )
    elif not devices:
        yield CHECK.skip("no accelerator whose PCI Express link shows")
    elif sum(map(len, reasons.values())) == len(devices):
        yield CHECK.skip("; ".join(reasons))


def not_judged(device: Component, path: PciPath, state: GpuState | None) -> str:
    """Why this device's link says nothing; "" where it does."""
    if any(word in device.name for word in INTEGRATED):
        return "the GPU is joined to its processor without PCI Express lanes of its own"
    if device.attributes.get("vendor") == "amd" and "Instinct" not in device.name:
        return "the driver of AMD's Radeon cards takes lanes away while they idle (pp_dpm_pcie)"
    if any(word in device.name for word in LAPTOP):
        return "a laptop's maker wires its GPU with as many lanes as it likes"
    if path.virtual_function or (state is not None and state.virtualization == "vgpu"):
        return "a virtual function has no link of its own"
    if path.links[0].below.width is None or path.links[0].below.width_max is None:
        return "the width of the PCI Express link is not told"
    return ""


def narrow_link(path: PciPath) -> Narrow | None:
    """The first link, from the device up, with fewer lanes than both of its ends have."""
    for link in path.links:
        limit = both_ends(link)
        if limit is not None and link.below.width is not None and link.below.width < limit:
            place = f"between {link.below.address} and {link.above.address}" if link.above else link.below.address
            return Narrow(place=place, width=link.below.width, limit=limit)
    return None


def both_ends(link: PciLink) -> int | None:
    """What both ends can; None where one does not show."""
    if link.above is None or link.above.width_max is None or link.below.width_max is None:
        return None
    return min(link.below.width_max, link.above.width_max)


def one_end_only(
    context: CheckContext, device: Component, path: PciPath, state: GpuState | None, peers: list[PciPath]
) -> Finding | None:
    """Where the port above does not show. NVML's most counts the slot in, outside of virtual machines; else like devices of
    this machine tell what is usual. None: at full width."""
    end = path.links[0].below
    if end.width is None or end.width_max is None or end.width >= end.width_max:
        return None
    guest = context.fact(Virtualization) is not None
    most = state.pcie_width_max if state is not None and not guest else None
    if most is not None and most <= end.width:
        return None
    narrow = Narrow(place=end.address, width=end.width, limit=most or end.width_max)
    if most is not None:
        return finding(device, narrow, path.evidence, Confidence.OBSERVED)
    if any(p.links[0].below.width == end.width_max for p in peers):
        evidence = [e for p in peers for e in p.evidence]
        return finding(
            device, narrow, evidence, Confidence.HEURISTIC, "Like devices of this machine have all their lanes."
        )
    return CHECK.finding(
        Status.UNKNOWN,
        f"{device.key.partition(':')[2]} ({device.name}) has {end.width} of {end.width_max} lanes; its slot does not show here",
        subject=(device.key,),
        detail="In a virtual machine the port above the device is not seen: the slot may be wired with fewer lanes.",
        evidence=path.evidence,
        severity=Severity.LOW,
    )


def finding(
    device: Component,
    narrow: Narrow,
    evidence: tuple[Evidence, ...] | list[Evidence],
    confidence: Confidence,
    more: str = "",
) -> Finding:
    """The warning."""
    return CHECK.finding(
        Status.WARN,
        f"PCI Express link of {device.name} runs with {narrow.width} of {narrow.limit} lanes ({narrow.place})",
        subject=(device.key,),
        detail=f"Copies between host and device, and between devices over PCI Express, reach at most"
        f" {narrow.width}/{narrow.limit} of what both ends could. {more}".strip(),
        evidence=evidence,
        confidence=confidence,
        severity=Severity.HIGH if narrow.width * 2 <= narrow.limit else Severity.MEDIUM,
        remedy=REMEDY,
    )


def link_width(path: PciPath) -> str:
    """ "x16"."""
    return f"x{path.links[0].below.width}"


REMEDY = (
    "Power off, reseat the card (and its riser or retimer), and look for dirt or damage; try another slot to tell card from"
    " slot. Look in the BIOS for lane sharing (bifurcation) with other slots or drives, and update BIOS and firmware."
)

CHECK = Check(
    id="PCIE",
    title="PCI Express link with too few lanes",
    explanation="""\
A link that trained with fewer lanes than card and slot have halves the rate of every copy for each halving. Both ends of each
link up to the processor are compared: a x16 card in a slot wired x8 is in order, a x16 card at x8 in a x16 slot is not.

Not reported: the link's **speed** (idle links and cards slow down on purpose), virtual functions, GPUs that are joined to
their processor (GB10, Grace Hopper, Jetson), laptops. In a virtual machine the slot does not show: a narrow link is then
`unknown`, unless like devices of the same machine have all lanes.""",
    remediation=REMEDY,
    sources=(
        "https://www.kernel.org/doc/Documentation/ABI/testing/sysfs-bus-pci",
        "https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html",
        "https://github.com/NVIDIA/NVSentinel/issues/890",
    ),
    run=run,
    severity=Severity.MEDIUM,
    log_signatures=(
        LogSignature(
            pattern=r"LnkSta:\s{1,8}Speed [0-9.]{1,5}GT/s[^\n]{0,20}, Width x[0-9]{1,2} \(downgraded\)",
            source="https://github.com/geerlingguy/raspberry-pi-pcie-devices/issues/480", strength=2,
        ),
    ),
    tags=("hardware",),
)  # fmt: skip

CHECKS = (CHECK,)
