"""NVLINK: links that are down where like GPUs have them up, links that keep failing, link errors in the kernel's log.

A card without a bridge has no active link, and that is no fault: GPUs are compared with their like of the same machine only
where the links are soldered (SXM modules, NVSwitch). Small counts of repeated packets are every link's life."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Confidence, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.nvidia_kernel_log import KernelGpuEvent
from infra_doctor_probes.detect.nvidia_state import GpuState, NvLink
from infra_doctor_probes.gpu_states import answering, keys, name, names, nothing_told, of_product, seen

SOLDERED = ("SXM", "HBM3", "H200", "B200", "B300", "GB200", "GB300", "HGX")
CARDS = ("PCIe", "NVL")  # "NVIDIA H200 NVL" is a card with bridges
# No maker's limit is published for counters since the driver was loaded; these are far above what links show that work.
MANY_RECOVERIES, MANY_REPLAYS = 10, 10_000
GRAVE = frozenset({"reset-gpu", "reboot", "restart-vm", "check-hardware", "contact-vendor"})


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per GPU with something; one pass for the others that have active links."""
    states = [s for s in answering(context) if s.nvlinks]
    if not states:
        yield CHECK.skip("these GPUs have no NVLink" if answering(context) else nothing_told(context))
        return
    events = [e for e in context.facts(KernelGpuEvent) if e.vendor == "nvidia" and is_grave(e)]
    good = []
    for state in states:
        found = [*down(state, states), *failing(state)]
        mine = [e for e in events if f"gpu:{e.address}" == state.gpu]
        yield from found
        if mine:
            yield recorded(state, mine)
        if not found and not mine and active(state):
            good.append(state)
    if good:
        yield CHECK.finding(
            Status.PASS,
            f"NVLinks are up: {names(good)}",
            subject=keys(good),
            detail="; ".join(filter(None, map(history, good))),
            evidence=[e for s in good for e in seen(s, f"{len(active(s))} of {len(s.nvlinks)} links active")],
        )
    elif not any(active(s) for s in states) and not events:
        yield CHECK.skip("no NVLink is active on any GPU: no bridge, or a fabric that is not set up (FABRIC)")


def active(state: GpuState) -> list[NvLink]:
    """The links that are up."""
    return [link for link in state.nvlinks if link.active]


def is_soldered(state: GpuState) -> bool:
    """Whether its links are part of the board: modules, and whatever has a switch at the other end."""
    by_switch = any(link.remote_type == "switch" for link in active(state))
    return by_switch or (of_product(state, *SOLDERED) and not of_product(state, *CARDS))


def down(state: GpuState, states: list[GpuState]) -> Iterator[Finding]:
    """Fewer links than its like: none at all cuts the GPU off."""
    peers = [s for s in states if s.name == state.name and s is not state and is_soldered(s)]
    most = max((len(active(s)) for s in peers), default=0)
    mine = len(active(state))
    if not is_soldered(state) or mine >= most:
        return
    lost = [str(link.link) for link in state.nvlinks if not link.active]
    yield CHECK.finding(
        Status.FAIL if mine == 0 else Status.WARN,
        f"{name(state)} has {mine} active NVLinks, its like have {most}",
        subject=(state.gpu,),
        detail=f"Inactive: link {', '.join(lost)}. "
        + (
            "Programs over several GPUs fail or fall back to PCI Express."
            if mine == 0
            else "Its bandwidth to others is less."
        ),
        evidence=[e for s in (state, *peers) for e in seen(s, f"{len(active(s))} of {len(s.nvlinks)} links active")],
        severity=Severity.HIGH,
        remedy=REMEDY,
    )


def failing(state: GpuState) -> Iterator[Finding]:
    """Links that retrain or repeat far more than a link that works."""
    bad = [
        link
        for link in state.nvlinks
        if (link.recovery_errors or 0) >= MANY_RECOVERIES
        or (link.replay_errors or 0) >= MANY_REPLAYS
        or (link.crc_errors or 0) >= MANY_REPLAYS
    ]
    if not bad:
        return
    yield CHECK.finding(
        Status.WARN,
        f"{name(state)}: NVLink {', '.join(str(link.link) for link in bad)} keeps failing",
        subject=(state.gpu,),
        detail="; ".join(map(counts, bad))
        + ". Counted since the driver was loaded: look whether the numbers still grow.",
        evidence=[e for link in bad for e in seen(state, counts(link))],
        confidence=Confidence.HEURISTIC,
        remedy=REMEDY,
    )


def counts(link: NvLink) -> str:
    """The error counters in words."""
    return f"link {link.link}: recoveries {link.recovery_errors}, replays {link.replay_errors}, CRC errors {link.crc_errors}"


def history(state: GpuState) -> str:
    """Counters that are not nought and mean nothing yet."""
    return "; ".join(
        f"{name(state)} {counts(link)}"
        for link in state.nvlinks
        if link.recovery_errors or link.replay_errors or link.crc_errors
    )


def is_grave(event: KernelGpuEvent) -> bool:
    """An Xid whose first cause is a link, and that asks for more than starting the program again."""
    fatal = event.kind == "xid" and event.cause == "nvlink" and event.severity != "non-fatal"
    return fatal and event.action in GRAVE


def recorded(state: GpuState, events: list[KernelGpuEvent]) -> Finding:
    """Link errors of this boot."""
    shown = ", ".join(f"Xid {e.xid} ({e.meaning})" for e in events)
    return CHECK.finding(
        Status.WARN,
        f"the kernel recorded NVLink errors of {name(state)} in this boot: {shown}",
        subject=(state.gpu,),
        detail="A program that used the link has ended by it. The same number on several GPUs at once points to a switch or to"
        " the peer that failed first.",
        evidence=[x for e in events for x in e.evidence],
        severity=Severity.HIGH,
        remedy=REMEDY,
    )


REMEDY = (
    "End the programs and reset the GPUs (with NVSwitch all together), or reboot. If it is the same link again: reseat module"
    " or bridge, look at the fabric manager's log, run the vendor's field diagnostics. Until then leave that GPU out."
)
VALIDATION = "https://docs.nvidia.com/health-validation/reference/checks/nvlink"
UNCORRECTABLE = "https://github.com/pytorch/pytorch/issues/58155"

CHECK = Check(
    id="NVLINK",
    title="NVLink is down or failing",
    explanation="""\
NVLink joins GPUs directly or through switches. A link that is down costs bandwidth; a GPU with none is cut off from the
others, and programs over several GPUs fail or crawl over PCI Express. A link that keeps retraining will fail.

Modules (SXM) and GPUs behind switches are compared with their like on the same machine. Counters since the driver was loaded
are reported from numbers on that no working link shows; smaller ones stand in the detail.

Not reported: cards without a bridge (all links inactive), bridges over some of the links, single GPUs.""",
    remediation=REMEDY,
    sources=(VALIDATION, UNCORRECTABLE, "https://github.com/NVIDIA/NVSentinel/pull/1481", "https://github.com/marin-community/marin/issues/9086"),
    run=run,
    severity=Severity.MEDIUM,
    log_signatures=(
        LogSignature(
            pattern=r"NVRM: Xid \(PCI:[0-9a-fA-F:.]{7,20}\): (?:14[4-9]|150)\b",
            source="https://github.com/NVIDIA/open-gpu-kernel-modules/issues/1150",
            strength=2,
        ),
        LogSignature(
            pattern=r"NVRM: Xid [^\n]{0,120}caused by previous Xid (?:14[4-9]|150)\b",
            source="https://github.com/NVIDIA/open-gpu-kernel-modules/issues/1150",
            strength=2,
        ),
        LogSignature(pattern=r"uncorrectable NVLink error", source=UNCORRECTABLE, strength=3),
        LogSignature(
            pattern=r"NVRM: Xid \(PCI:[0-9a-fA-F:.]{7,20}\): (?:74|14[4-9]|150)\b",
            source="https://github.com/NVIDIA/open-gpu-kernel-modules/issues/1355", strength=3,
        ),
        LogSignature(
            pattern=r"Unable to retrieve N[Vv][Ll]ink information as all links are inActive",
            source="https://github.com/NVIDIA/open-gpu-kernel-modules/issues/1150", strength=1,
        ),
        LogSignature(
            pattern=r"NvLink link \d{1,2} is currently down", source="https://github.com/NVIDIA/NVSentinel/pull/1481", strength=2,
        ),
    ),
    explained_by=("FABRIC", "ECC/XID"),
    tags=("nvidia", "hardware"),
)  # fmt: skip

CHECKS = (CHECK,)
