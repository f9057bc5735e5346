"""ECC/XID: hardware errors that the GPU's own counters and the kernel's log hold, and a GPU that no longer answers.

What the GPU says now decides (counters since the driver was loaded, recovery action, remapping, whether it answers); an Xid
is history that may have been mended since, and most Xids are faults of programs. Old aggregate counts are no finding."""

from collections.abc import Iterable, Iterator

from infra_doctor.plugin import Check, CheckContext, Evidence, Finding, LogSignature, Severity, Status, record
from infra_doctor_probes.detect.nvidia_gpu import EXCLUDED, NvidiaGpusNotGiven
from infra_doctor_probes.detect.nvidia_kernel_log import KernelGpuEvent, KernelGpuLog
from infra_doctor_probes.detect.nvidia_state import GpuState
from infra_doctor_probes.detect.system import Container
from infra_doctor_probes.gpu_states import answering, keys, name, names, nothing_told, seen

LOST, RESET_REQUIRED, UNKNOWN_ERROR = 15, 16, 999  # nvmlReturn_t of a device that the driver has lost
GONE_KINDS = frozenset({"fell-off-bus", "gpu-lost"})
FELL_OFF = 79
RETIRED_PAGES_LIMIT = 60  # NVIDIA's limit for replacing boards that retire pages
# Xids whose row of the catalogue asks for more than to start the program again.
GRAVE_ACTIONS = frozenset({"reset-gpu", "restart-vm", "reboot", "check-hardware"})
GRAVE_CAUSES = frozenset({"hardware", "memory", "bus", "thermal", "system"})
ACTION_WORDS = {
    "gpu_reset": "a reset of the GPU", "node_reboot": "a reboot", "system_reboot": "a reboot",
    "bus_reset": "a reset of its PCI bus", "drain_and_reset": "its work to end, then a reset (it runs at less than its whole)",
    "drain_p2p": "peer-to-peer traffic to end", "recover_imex_domain": "the IMEX domain to be recovered",
}  # fmt: skip
STILL_WORKS = frozenset({"drain_and_reset", "drain_p2p", "recover_imex_domain"})


@record
class Problem:
    """One thing that is wrong with a GPU, in words that follow its name."""

    status: Status
    severity: Severity
    text: str
    remedy: str
    evidence: tuple[Evidence, ...] = ()


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per GPU that has something, one for all the others."""
    events = [e for e in context.facts(KernelGpuEvent) if e.vendor == "nvidia"]
    lost = list(lost_gpus(context, events))
    yield from lost
    yield from left_out(context)
    told = {key for finding in lost for key in finding.subject}
    states = [s for s in answering(context) if s.gpu not in told]
    healthy = []
    for state in states:
        mine = [e for e in events if e.address and f"gpu:{e.address}" == state.gpu]
        problems = [*state_problems(state), *event_problems(state, mine)]
        if problems:
            yield finding_of(state, problems)
        else:
            healthy.append(state)
    if healthy:
        yield passed(context, healthy, events)
    elif not states and not lost:
        yield CHECK.skip(nothing_told(context))


# -- a GPU that does not answer -----------------------------------------------------------------------------------


def lost_gpus(context: CheckContext, events: list[KernelGpuEvent]) -> Iterator[Finding]:
    """A fail per GPU that the driver has lost: by NVML's word, or by the kernel's log."""
    silent = {s.gpu: s for s in context.facts(GpuState) if s.error}
    answered = {s.gpu for s in answering(context)}
    for gpu in context.by_kind("gpu"):
        if gpu.attributes.get("vendor") != "nvidia" or gpu.key in answered:
            continue
        state = silent.get(gpu.key)
        gone = [e for e in events if e.address and f"gpu:{e.address}" == gpu.key and (is_gone(e))]
        if not gone and (state is None or not is_lost(state)):
            continue
        why = [state.error] if state is not None else []
        why += [e.text for e in gone]
        evidence = [*gpu.evidence, *(state.evidence if state else ()), *(x for e in gone for x in e.evidence)]
        yield lost_finding(gpu.key, gpu.name, why, evidence)
    for state in context.facts(GpuState):
        if not state.gpu and state.error and is_lost(state):
            yield lost_finding("driver:nvidia", f"device {state.index} of the driver", [state.error], state.evidence)
    if context.fact(Container) is None:  # a container sees the kernel's log of GPUs that are not its own
        yield from gone_from_bus(context, events)


def gone_from_bus(context: CheckContext, events: list[KernelGpuEvent]) -> Iterator[Finding]:
    """A fail per GPU that the kernel saw fall off the bus and that is not on it any more: nothing else shows it."""
    here = {c.key for c in context.by_kind("gpu")}
    here |= {f"gpu:{a}" for f in context.facts(NvidiaGpusNotGiven) for a in f.addresses}
    for key in dict.fromkeys(f"gpu:{e.address}" for e in events if e.address and is_gone(e)):
        mine = [e for e in events if f"gpu:{e.address}" == key and is_gone(e)]
        if key not in here:
            yield CHECK.finding(
                Status.FAIL,
                f"{key.removeprefix('gpu:')} has fallen off the bus and is not on this machine any more",
                subject=(key,),
                detail="; ".join(dict.fromkeys(e.text for e in mine if e.text)),
                evidence=tuple(x for e in mine for x in e.evidence),
                severity=Severity.CRITICAL,
                remedy=REMEDY_LOST,
            )


def left_out(context: CheckContext) -> Iterator[Finding]:
    """A warning for GPUs that the driver was told to leave out: so it is done with a failed one, and easily forgotten."""
    for found in context.facts(NvidiaGpusNotGiven):
        if found.reason == EXCLUDED:
            yield CHECK.finding(
                Status.WARN,
                f"the driver leaves out {', '.join(found.addresses)}: told so by a module parameter",
                subject=tuple(f"gpu:{a}" for a in found.addresses),
                detail="NVreg_ExcludedGpus names it, as is done with a GPU that has failed. No program sees it.",
                evidence=found.evidence,
                severity=Severity.MEDIUM,
                remedy="If it has been replaced or mended, take its UUID out of NVreg_ExcludedGpus (files in /etc/modprobe.d, the"
                " kernel's command line) and restart the machine. If it is to stay out, nothing is to be done.",
            )


def is_lost(state: GpuState) -> bool:
    """Whether a device that gives no handle is one that the driver has lost."""
    return state.error_code in {LOST, RESET_REQUIRED, UNKNOWN_ERROR}


def is_gone(event: KernelGpuEvent) -> bool:
    """Whether the kernel says that the GPU has left the bus."""
    return event.kind in GONE_KINDS or event.xid == FELL_OFF


def lost_finding(subject: str, called: str, why: list[str], evidence: Iterable[Evidence]) -> Finding:
    """The finding of a lost GPU."""
    return CHECK.finding(
        Status.FAIL,
        f"{subject.removeprefix('gpu:')} ({called}) is on the machine and no longer answers",
        subject=(subject,),
        detail="; ".join(dict.fromkeys(w for w in why if w)),
        evidence=evidence,
        severity=Severity.CRITICAL,
        remedy=REMEDY_LOST,
    )


# -- what a GPU that answers says ---------------------------------------------------------------------------------


def state_problems(state: GpuState) -> Iterator[Problem]:
    """What its own counters and flags say."""
    action = state.recovery_action
    if action not in (None, "none"):
        works = action in STILL_WORKS
        yield Problem(
            status=Status.WARN if works else Status.FAIL,
            severity=Severity.HIGH if works else Severity.CRITICAL,
            text=f"asks for {ACTION_WORDS.get(str(action), str(action))}",
            remedy=REMEDY_REBOOT if action in {"node_reboot", "system_reboot"} else REMEDY_RESET,
            evidence=seen(state, f"recovery action {action}"),
        )
    broken = [
        text
        for flag, text in (
            (state.row_remap_failed, "could not replace a faulty row of its memory: no spare row is left there"),
            (state.unrepairable_memory, "has memory that cannot be repaired"),
            (state.sram_threshold_exceeded, "has had more SRAM errors than NVIDIA accepts"),
        )
        if flag
    ]
    for text in broken:
        yield Problem(
            status=Status.FAIL, severity=Severity.CRITICAL, text=text, remedy=REMEDY_REPLACE, evidence=seen(state, text)
        )
    yield from uncorrectable(state)
    pending = [
        text
        for flag, text in (
            (state.row_remap_pending, "a row of its memory waits to be replaced"),
            (state.page_retirement_pending, "a page of its memory waits to be retired"),
            (state.channel_repair_pending, "a memory channel waits to be repaired"),
            (state.tpc_repair_pending, "a processing cluster waits to be repaired"),
        )
        if flag
    ]
    for text in pending:
        yield Problem(
            status=Status.WARN, severity=Severity.MEDIUM, text=f"{text} at the next reset", remedy=REMEDY_PENDING,
            evidence=seen(state, text),
        )  # fmt: skip
    retired = (state.pages_retired_single_bit or 0) + (state.pages_retired_double_bit or 0)
    if retired >= RETIRED_PAGES_LIMIT:
        yield Problem(
            status=Status.WARN,
            severity=Severity.HIGH,
            text=f"has retired {retired} pages of its memory",
            remedy=REMEDY_REPLACE,
            evidence=seen(state, f"{retired} retired pages"),
        )


def uncorrectable(state: GpuState) -> Iterator[Problem]:
    """Uncorrectable errors since the driver was loaded. A GPU that contains them in DRAM, and says that nothing is to be done,
    goes on working: the program that met the error has ended."""
    counts = state.ecc_volatile
    if counts is None:
        return
    number = counts.uncorrected or (counts.sram_uncorrected or 0) + (counts.dram_uncorrected or 0)
    if not number:
        return
    contained = state.recovery_action == "none" and counts.sram_uncorrected == 0
    shown = f"{number} uncorrectable ECC error{'s' if number > 1 else ''} since the driver was loaded"
    where = [f"{w} {n}" for w, n in (("SRAM", counts.sram_uncorrected), ("DRAM", counts.dram_uncorrected)) if n]
    yield Problem(
        status=Status.WARN if contained else Status.FAIL,
        severity=Severity.MEDIUM if contained else Severity.CRITICAL,
        text=f"has had {shown}" + (f" ({', '.join(where)})" if where else "") + (", contained" if contained else ""),
        remedy=REMEDY_PENDING if contained else REMEDY_RESET,
        evidence=seen(state, shown),
    )


def event_problems(state: GpuState, events: list[KernelGpuEvent]) -> Iterator[Problem]:
    """Grave messages of this boot about a GPU that answers now: it may have been reset since."""
    for event in events:
        grave = is_gone(event) or (
            event.kind == "xid" and event.action in GRAVE_ACTIONS and bool(GRAVE_CAUSES.intersection(event.causes[:2]))
        )
        if not grave or is_nvlink(event):
            continue
        what = f"Xid {event.xid}" if event.xid is not None else event.text
        meaning = f" ({event.meaning})" if event.meaning and event.xid is not None else ""
        times = f" {event.count} times" if event.count > 1 else ""
        yield Problem(
            status=Status.WARN,
            severity=Severity.HIGH,
            text=f"the kernel recorded {what}{meaning}{times} in this boot; it answers now",
            remedy=REMEDY_XID,
            evidence=event.evidence,
        )


def is_nvlink(event: KernelGpuEvent) -> bool:
    """Errors of links are NVLINK's."""
    return event.cause == "nvlink"


def finding_of(state: GpuState, problems: list[Problem]) -> Finding:
    """One GPU's finding: the gravest problem gives title and remedy, the detail has all."""
    rank = {Status.FAIL: 0, Status.WARN: 1}
    ranked = sorted(problems, key=lambda p: rank[p.status])
    first = ranked[0]
    return CHECK.finding(
        first.status,
        f"{name(state)} ({state.name}): {first.text}",
        subject=(state.gpu,),
        detail="; ".join(f"{p.text}" for p in ranked[1:]),
        evidence=[e for p in ranked for e in p.evidence],
        severity=first.severity,
        remedy=first.remedy,
    )


def passed(context: CheckContext, states: list[GpuState], events: list[KernelGpuEvent]) -> Finding:
    """The others: nothing that matters, with what is history."""
    counting = [s for s in states if s.ecc_volatile or s.recovery_action or s.row_remap_pending is not None]
    log = next((f for f in context.facts(KernelGpuLog) if f.vendor == "nvidia"), None)
    read = log is not None and not log.error
    if not counting and not read:
        why = f"; the kernel's log could not be read ({log.error})" if log is not None else ""
        return CHECK.skip(f"{names(states)}: no memory errors are counted there{why}")
    history = []
    for state in states:
        counts = state.ecc_aggregate
        old = [f"{n} {word}" for word, n in (("uncorrectable", counts.uncorrected), ("corrected", counts.corrected)) if n] if (
            counts
        ) else []  # fmt: skip
        if old:
            history.append(f"{name(state)}: {' and '.join(old)} ECC errors in its life")
        retired = (state.pages_retired_single_bit or 0) + (state.pages_retired_double_bit or 0)
        remapped = (state.rows_remapped_corrected or 0) + (state.rows_remapped_uncorrected or 0)
        history += [f"{name(state)}: {retired} retired pages"] if retired else []
        history += [f"{name(state)}: {remapped} replaced rows"] if remapped else []
    mine = {s.gpu for s in states}
    minor = [e for e in events if e.kind == "xid" and e.address and f"gpu:{e.address}" in mine and not is_nvlink(e)]
    history += [f"Xid {e.xid} × {e.count} ({e.meaning or 'not in the catalogue'})" for e in minor]
    history += ["the kernel's log could not be read, so no Xid was looked at"] if not read else []
    evidence = [e for s in states for e in seen(s, state_text(s))] + list(log.evidence if log else ())
    return CHECK.finding(
        Status.PASS,
        f"no hardware error that matters: {names(states)}",
        subject=keys(states),
        detail="; ".join(history),
        evidence=evidence + [x for e in minor for x in e.evidence],
    )


def state_text(state: GpuState) -> str:
    """What a healthy verdict rests on."""
    counts = state.ecc_volatile
    told = [
        f"uncorrectable ECC errors {counts.uncorrected}"
        if counts and counts.uncorrected is not None
        else "no ECC counters"
    ]
    told += [f"recovery action {state.recovery_action}"] if state.recovery_action else []
    told += [f"row remap pending {state.row_remap_pending}"] if state.row_remap_pending is not None else []
    return ", ".join(told)


REMEDY_LOST = (
    "Power the machine off and on again (a warm reboot may not bring the GPU back). If it is lost again: temperature and"
    " airflow (passive cards need the chassis' fans), power cables and supply, the seat of the card and its riser, then BIOS"
    " and firmware; move the card to another slot to tell card from slot, and ask the vendor for a replacement."
)
REMEDY_RESET = (
    "End the programs on this GPU, then reset it: as root `nvidia-smi --gpu-reset -i INDEX` (on machines with NVSwitch all"
    " GPUs together), or reboot. If the errors come again, run the vendor's field diagnostics and have the GPU replaced."
)
REMEDY_REBOOT = "End what runs and reboot. If it comes again, run the vendor's field diagnostics."
REMEDY_REPLACE = "Take the GPU out of service, run the vendor's field diagnostics and ask for a replacement."
REMEDY_PENDING = (
    "Work can go on. At the next chance end the programs on this GPU and reset it (as root: `nvidia-smi --gpu-reset -i INDEX`)"
    " or reboot, so that the spare memory is taken into use."
)
REMEDY_XID = (
    "Look the number up in NVIDIA's Xid catalogue and what ran at that time. Once is history; when it comes again, check"
    " power, temperature and the seat of the card, update the driver, then run the vendor's field diagnostics."
)
CATALOG = "https://docs.nvidia.com/deploy/xid-errors/index.html"
MEMORY = "https://docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt/error-recovery-and-response-flags.html"
RESEAT = "https://github.com/NVIDIA/open-gpu-kernel-modules/issues/387"

CHECK = Check(
    id="ECC/XID",
    title="Hardware errors of the GPU",
    explanation="""\
A GPU counts the errors of its memories, replaces faulty rows by spare ones, and says when it wants a reset; the driver writes
an **Xid** number to the kernel's log for each error it meets. *Fallen off the bus* (Xid 79) means that the GPU no longer
answers at all: heat, power, the slot, or a defect.

Judged is what the GPU says **now**: whether it answers, its recovery action, failed or waiting replacements of memory,
uncorrectable errors since the driver was loaded. A waiting row replacement does not disturb running or new programs; it wants
a reset at the next chance. Xids of this boot are a warning where the catalogue asks for a reset, a reboot or a look at the
hardware and the GPU answers again.

Not reported: errors counted over the GPU's whole life and mended since, corrected errors, and Xids that the catalogue lays to
programs (13, 31, 43, 45, 94 …). Reading the kernel's log may need root; without it the GPU's own word stands alone.""",
    remediation=REMEDY_RESET,
    sources=(CATALOG, MEMORY, "https://github.com/NVIDIA/NVSentinel/issues/155", RESEAT),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"GPU requires reset\b",
            source="https://github.com/leptonai/gpud/pull/1133",
            strength=2,
        ),
        LogSignature(
            pattern=r"Unable to determine the device handle for GPU ?[0-9A-Fa-f]{0,8}:?[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9]",
            source=RESEAT, strength=3,
        ),
        LogSignature(
            pattern=r"GPU is lost\. {1,2}Reboot", source="https://github.com/JosephKJ/OWOD/issues/81", strength=3,
        ),
        LogSignature(
            pattern=r"(?:GPU has|GPU [0-9a-f:.]{7,20}: GPU has) fallen off the bus",
            source="https://github.com/pop-os/pop/issues/3363", strength=3,
        ),
        LogSignature(
            pattern=r"fallen off the bus and is not responding", source="https://github.com/NVIDIA/NVSentinel/issues/155",
            strength=3,
        ),
        LogSignature(
            pattern=r"NVRM: Xid \(PCI:[0-9a-fA-F:.]{7,20}\): (?:46|48|61|62|64|79|95|110|119|120|140|143)\b",
            source="https://github.com/wilicc/gpu-burn/issues/1", strength=3,
        ),
        LogSignature(
            pattern=r"uncorrectable ECC error encountered", source="https://github.com/vllm-project/vllm/issues/5222",
            strength=3,
        ),
        LogSignature(
            pattern=r"CUDA_ERROR_ECC_UNCORRECTABLE", source="https://github.com/nagadit/DeepFaceLab_Linux/issues/89",
            strength=3,
        ),
        LogSignature(
            pattern=r"GPU at [0-9A-Fa-f:.]{7,20} has fallen off the bus",
            source="https://github.com/Bumblebee-Project/Bumblebee/issues/554",
            strength=3,
        ),
        LogSignature(
            pattern=r"_kgsp(?:IsHeartbeatTimedOut: Heartbeat timed out|LogRpcTimeout: )",
            source="https://github.com/NVIDIA/open-gpu-kernel-modules/issues/1230",
        ),
        LogSignature(
            pattern=r"NVRM: Xid \(PCI:[0-9a-fA-F:.]{7,20}\): (?:58|92|94|109|156|158|161|165|167|171|172)\b",
            source="https://github.com/leptonai/gpud/pull/1174",
        ),
        LogSignature(
            pattern=r"GPU lost from the bus \[NV_ERR_GPU_IS_LOST\]",
            source="https://github.com/NVIDIA/open-gpu-kernel-modules/issues/688",
            strength=3,
        ),
        LogSignature(
            pattern=r"WARNING:\s{1,8}infoROM is corrupted at gpu [\da-fA-F]{4}",
            source="https://github.com/NVIDIA/gpu-operator/issues/20",
        ),
        LogSignature(
            pattern=r"\bnvidia [\da-f]{4}:[\da-f]{2}:[\da-f]{2}\.\d: "
            r"(?:AER: can't recover|device has no AER-aware driver)",
            source="https://github.com/NVIDIA/open-gpu-kernel-modules/issues/1229",
        ),
    ),
    tags=("nvidia", "hardware"),
)  # fmt: skip

CHECKS = (CHECK,)
