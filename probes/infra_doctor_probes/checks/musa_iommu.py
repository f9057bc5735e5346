"""MUSA-IOMMU: an MTT S4000 on a machine whose IOMMU is off.

Rests on the kernel's IOMMU units (/sys/class/iommu) and its options; on what mthreads-gmi says of the memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from infra_doctor.plugin import Check, CheckContext, Confidence, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.system import Virtualization

if TYPE_CHECKING:
    from infra_doctor_probes.other_vendors.musa import MusaSurroundings

FAQ = "https://github.com/MooreThreads/tutorial_on_musa/blob/master/FAQ/environment_FAQ.md"
PROVEN = "Proven on the vendor's FAQ and described machines only."
SHRUNK_BYTES = 32 << 30


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding."""
    if not any(getattr(f, "fact_type", "") == "musa-surroundings" for f in context.facts(object)):
        yield CHECK.skip("no Moore Threads GPU is there")
        return
    from infra_doctor_probes.other_vendors.musa import MusaSurroundings

    found = context.fact(MusaSurroundings)
    if found is None or not found.s4000:
        yield CHECK.skip("no MTT S4000 is there; of other cards nothing is published")
    elif context.fact(Virtualization) is not None:
        yield CHECK.skip("this is a virtual machine: its IOMMU is the host's matter")
    else:
        yield judge(context, found)


def judge(context: CheckContext, found: MusaSurroundings) -> Finding:
    """An S4000: whether the IOMMU is on."""
    gpus = [c for c in context.by_kind("gpu") if c.key.removeprefix("gpu:") in found.s4000]
    subject = (*(g.key for g in gpus), *found.wheels)
    shrunk = [g for g in gpus if g.attributes.get("memory_bytes") == SHRUNK_BYTES]
    evidence = (*found.evidence, *(e for g in shrunk for e in g.evidence[-1:]))
    seen = " mthreads-gmi shows 32 GiB of the card's 48 GiB, which the vendor names as a sign of it." if shrunk else ""
    if found.iommus is None:
        return CHECK.finding(
            Status.UNKNOWN,
            "whether the IOMMU is on does not show",
            subject=subject,
            evidence=evidence,
            severity=Severity.LOW,
        )
    if found.iommus and not shrunk:
        return CHECK.finding(
            Status.PASS, f"the IOMMU is on ({', '.join(found.iommus[:3])})", subject=subject, evidence=evidence,
            confidence=Confidence.DERIVED, severity=Severity.LOW,
        )  # fmt: skip
    return CHECK.finding(
        Status.FAIL if found.wheels and not found.iommus else Status.WARN,
        "the IOMMU is off, which the MTT S4000 needs"
        if not found.iommus
        else "the MTT S4000 shows 32 GiB of its 48 GiB: the IOMMU did not take effect",
        subject=subject,
        detail=f"The kernel's options about it: {' '.join(found.iommu_options) or 'none'}.{seen} {PROVEN}",
        evidence=evidence,
        confidence=Confidence.DERIVED,
        remedy=REMEDY,
    )


REMEDY = (
    "Add `intel_iommu=on iommu.passthrough=0` (on AMD and Hygon processors `amd_iommu=on iommu.passthrough=0`) to the"
    " kernel's command"
    " line in the boot loader and reboot; on Hygon servers also switch the IOMMU on in the BIOS."
)

CHECK = Check(
    id="MUSA-IOMMU",
    title="IOMMU off with an MTT S4000",
    explanation="""\
Moore Threads' FAQ asks for an IOMMU that is on for the MTT S4000. With it off, `musaGetDeviceCount()` ends with error 801
(*operation not supported*), mostly in containers, and mthreads-gmi shows 32 GiB of the card's 48 GiB.

The kernel lists the IOMMUs that are on in `/sys/class/iommu`. Virtual machines are left alone, and so are other cards of the
vendor, of which nothing is published. *Proven on the vendor's FAQ and on described machines, not on such a device.*""",
    remediation=REMEDY,
    sources=(FAQ,),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"musaGetDeviceCount\(\)[^\n]{0,200}Error 801: operation not supported", source=FAQ, strength=3
        ),
    ),
    tags=("mthreads",),
)

CHECKS = (CHECK,)
