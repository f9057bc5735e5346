"""ACS-IOMMU: PCI bridges, or the IOMMU, send peer-to-peer traffic of accelerators the long way round.

Judged on bare metal only: a virtual machine needs ACS, and its guest sees none of the real bridges."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Evidence, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.communication import AcsBridge, Iommu
from infra_doctor_probes.detect.nvidia_state import GpuState
from infra_doctor_probes.workload import accelerators, on_virtual_machine

REDIRECTING = frozenset({"ReqRedir", "CmpltRedir"})


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding."""
    addresses = {c.key.partition(":")[2] for c in accelerators(context)}
    bridges = [b for b in context.facts(AcsBridge) if addresses & set(b.below)]
    iommu = context.fact(Iommu)
    if on_virtual_machine(context):
        yield CHECK.skip("a virtual machine needs ACS, and sees none of the real bridges")
    elif iommu is None or len(addresses | {a for b in bridges for a in b.below}) < 2:
        yield CHECK.skip("there are not two devices that could talk to each other over PCI")
    elif not bridges:
        yield CHECK.skip("no PCI bridge is above the accelerators")
    else:
        yield judge(context, bridges, iommu, addresses)


def judge(context: CheckContext, bridges: list[AcsBridge], iommu: Iommu, addresses: set[str]) -> Finding:
    """ACS is the proven cause of hangs; a translating IOMMU alone is a hint."""
    redirecting = [b for b in bridges if b.acs and REDIRECTING & set(b.acs)]
    unread = [b for b in bridges if b.acs is None]
    translating = [a for a, kind in iommu.group_types if kind.startswith("DMA") and a in addresses]
    severity = Severity.LOW if all_by_nvlink(context, len(addresses)) else Severity.MEDIUM
    subject = tuple(f"gpu:{a}" for a in sorted(addresses))
    if redirecting:
        named = ", ".join(b.address for b in redirecting[:4]) + (" …" if len(redirecting) > 4 else "")
        return CHECK.finding(
            Status.WARN,
            f"ACS on {len(redirecting)} PCI bridges above the accelerators ({named}) redirects peer-to-peer traffic",
            subject=subject,
            detail=DETAIL,
            evidence=[e for b in redirecting[:8] for e in b.evidence] + list(iommu.evidence),
            severity=severity,
            remedy=REMEDY,
        )
    if unread and len(unread) == len(bridges):
        known = " ".join(iommu.options) or "no option of it on the kernel's command line"
        return CHECK.finding(
            Status.UNKNOWN,
            "whether PCI bridges redirect peer-to-peer traffic can be read by root only",
            subject=subject,
            detail=f"IOMMU: {len(iommu.units)} units, {known}.",
            evidence=[*iommu.evidence, *unread[0].evidence],
            severity=Severity.LOW,
        )
    return passed(bridges, iommu, translating, subject)


def passed(bridges: list[AcsBridge], iommu: Iommu, translating: list[str], subject: tuple[str, ...]) -> Finding:
    """No bridge redirects; a translating IOMMU is said, as it is what to try where NCCL hangs all the same."""
    note = ""
    if translating:
        note = (
            f"The IOMMU translates the accesses of {len(translating)} accelerators (group type DMA). Where peer-to-peer"
            " copies hang or are slow all the same, boot with `iommu=pt`."
        )
    evidence: list[Evidence] = [*iommu.evidence, *(e for b in bridges[:8] for e in b.evidence)]
    return CHECK.finding(
        Status.PASS, f"none of {len(bridges)} PCI bridges above the accelerators redirects peer-to-peer traffic",
        subject=subject, detail=note, evidence=evidence, severity=Severity.LOW,
    )  # fmt: skip


def all_by_nvlink(context: CheckContext, count: int) -> bool:
    """Whether each GPU has active NVLinks: traffic among GPUs then does not take PCI."""
    states = [s for s in context.facts(GpuState) if any(link.active for link in s.nvlinks or ())]
    return count > 1 and len(states) == count


DETAIL = (
    "With request or completion redirect set, a switch sends what one device writes to another up to the root complex and the"
    " IOMMU instead of straight across. Peer-to-peer copies get slow, return wrong data or hang: NCCL stops right after its"
    " initialisation with the GPUs at full load."
)
REMEDY = (
    "Disable ACS (or IO virtualization) in the BIOS. Until the next boot root can clear it on the bridges named here:"
    " `setpci -s ADDRESS ECAP_ACS+0x6.w=0000`. If the IOMMU must stay on, boot with `iommu=pt`. To see at once whether this is the"
    " cause, run the job with NCCL_P2P_DISABLE=1, and unset that again afterwards. Leave ACS on where virtual machines get devices"
    " of this host."
)

CHECK = Check(
    id="ACS-IOMMU",
    title="ACS or IOMMU redirects peer-to-peer traffic",
    explanation="""\
PCI Access Control Services (ACS) let a switch forward every request to the root complex, where the IOMMU can check it. That
isolates virtual machines, and it takes the direct way from GPU to GPU and from GPU to network card: NCCL and GPUDirect get slow
or hang after initialisation.

infra-doctor reads the ACS control register of each bridge above two or more accelerators (or an accelerator and an RDMA
device), which only root may do, and the type of each accelerator's IOMMU group. It warns where request or completion redirect is
set. It skips virtual machines, which need ACS; an IOMMU that merely translates is mentioned and no finding; with NVLink between
all GPUs the severity is low.""",
    remediation=REMEDY,
    sources=(
        "https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting/gpu_troubleshooting.html",
        "https://github.com/NVIDIA/nccl/issues/2079",
        "https://github.com/NVIDIA/nccl/issues/257",
        "https://github.com/NVIDIA/nccl/issues/304",
    ),
    run=run,
    severity=Severity.MEDIUM,
    log_signatures=(
        LogSignature(
            pattern=r"ACSCtl:[^\n]{0,40}ReqRedir\+",
            source="https://github.com/NVIDIA/nccl/issues/304",
        ),
    ),
    tags=("system", "pci"),
)

CHECKS = (CHECK,)
