"""What the running kernel wrote about NVIDIA's GPUs and switches: Xid and SXid, a GPU that fell off the bus, a module that
could not start or was refused, PCIe errors of a GPU or of the ports above it.

The log is asked only where such a device or driver shows: /dev/kmsg first, the journal where that may not be read. What could
not be read is a fact too: silence then says nothing. In a container it is the host's log, and may speak of GPUs that are not
ours. Names of processes, serial numbers and UUIDs are left behind here."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from infra_doctor.plugin import (
    Capability,
    Evidence,
    EvidenceKind,
    KernelLog,
    Machine,
    Probe,
    ProbeContext,
    fact,
    record,
)
from infra_doctor_probes.detect.nvidia_driver import NvidiaDeviceNodes, NvidiaKernelModule
from infra_doctor_probes.detect.pci import BUS, PciDevice

if TYPE_CHECKING:
    from infra_doctor_probes.nvidia_smi.kernel_log import KernelMessage
    from infra_doctor_probes.tables.xid import CatalogueRow

FACTS_CAP = 200
# What to ask the kernel's log for. No other message is read. The patterns hold for Python 3.7, which the collector may run on.
PATTERNS = (
    r"NVRM: [^\n]{0,40}Xid \(",
    r"nvidia-nvswitch\d{0,3}: SXid \(",
    r"allen off the bus",
    r"NVRM: The NVIDIA (?:GPU|probe routine)",
    r"RmInitAdapter failed|Cannot initialize GSP firmware RM",
    r"NVRM: (?:This can occur when|nouveau, rivafb|was loaded and obtained|installed in this system)",
    r"NVRM: (?:No NVIDIA|This PCI I/O region|API mismatch|this kernel module has the version)",
    r"NVRM: [^\n]{0,80}has the version",
    r"nvidia(?:[_-]\w{1,20})?: (?:module verification failed|disagrees about version|Unknown symbol|version magic)",
    r"unsigned module|module with unavailable key|module is rejected",
    r"(?:nvidia|pcieport) [0-9a-f:.]{7,14}: [^\n]{0,60}(?:severity=Uncorrect|Uncorrect(?:ed|able) \(|can't recover)",
    r"pcieport [0-9a-f:.]{7,14}: (?:DPC: containment|pciehp: Slot\([^)\n]{1,20}\): (?:Link Down|Card not present))",
)
# Only what matches leaves the journal; without the hostname. Older journalctl cannot grep: then it stays unread.
JOURNAL = ("journalctl", "-k", "-b", "-o", "short-monotonic", "--no-hostname", "--no-pager", "--grep",
           "|".join(f"(?:{p})" for p in PATTERNS))  # fmt: skip
NOT_READ = (
    "insufficient permissions", "not seeing messages", "No journal files", "pattern matching support", "unrecognized option",
)  # fmt: skip

# xid, sxid: numbered by the vendor. fell-off-bus: said without a number. init-failed: the module could not start the GPU
# (RmInitAdapter, GSP firmware). not-supported: this driver, or this flavour of it, does not serve this GPU. probe-failed: the
# module did not take a device. owned-by-other: as another driver (nouveau) has it. api-mismatch: user space of another
# version (see `versions`). module-rejected: the kernel refused to load an unsigned module, whose is not said.
# module-mismatch: built for another kernel. module-unsigned: loaded all the same, harmless. pcie-error: uncorrectable
# AER or DPC of the GPU or of a port above it.
EVENT_KINDS = (
    "xid", "sxid", "fell-off-bus", "init-failed", "not-supported", "probe-failed", "owned-by-other", "api-mismatch",
    "module-rejected", "module-mismatch", "module-unsigned", "pcie-error",
)  # fmt: skip
CAUSES = ("application", "hardware", "memory", "driver", "nvlink", "bus", "thermal", "system", "information", "unknown")
ACTIONS = (
    "none",
    "restart-app",
    "reset-gpu",
    "restart-vm",
    "reboot",
    "check-hardware",
    "update-driver",
    "contact-vendor",
)
# Of kinds without a number: what they mean, the usual cause, what to do.
UNNUMBERED = {
    "fell-off-bus": ("the GPU has fallen off the bus: it no longer answers over PCI Express", "bus", "reboot"),
    "init-failed": ("the driver could not start the GPU", "driver", "reset-gpu"),
    "pcie-error": ("uncorrectable PCI Express error of the GPU or of a port above it", "bus", "check-hardware"),
    "module-unsigned": (
        "the module is not signed by the distribution; it was loaded all the same",
        "information",
        "none",
    ),
}
# What Xid 154 says is needed now.
RECOVERY = (
    ("(Node Reboot Required)", "reboot"), ("(GPU Reset Required)", "reset-gpu"), ("(Drain and Reset)", "reset-gpu"),
    ("(Drain P2P)", "restart-app"), ("(None)", "none"),
)  # fmt: skip
XID_TABLE = "https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html"


@fact("kernel-gpu-log", 1)
@record
class KernelGpuLog:
    """How reading the kernel's log went. `error` is empty where it was read; `source` is where ("/dev/kmsg",
    "journalctl -k -b"). `truncated` says that older messages may be missing."""

    vendor: str  # "nvidia"
    source: str = ""
    error: str = ""
    truncated: bool = False
    evidence: tuple[Evidence, ...] = ()


@fact("kernel-gpu-event", 1)
@record
class KernelGpuEvent:
    """One kind of message about one device, counted. `kind` is one of EVENT_KINDS; `address` "0000:0b:00.0" (None where
    the message names none); `xid` the number for kind "xid", `sxid` for "sxid"; `severity` "fatal" or "non-fatal" where the
    message says so. `text` is the last message without what names a process or a board. `meaning`, `causes` (of CAUSES, the
    usual one first; `cause` is that one) and `action` (of ACTIONS) are the catalogue's, empty where it has no row.
    Seconds since boot of the first and the last one; None where the source has no clock."""

    vendor: str  # "nvidia"
    kind: str
    address: str | None = None
    xid: int | None = None
    sxid: int | None = None
    severity: str = ""
    count: int = 1
    first_seconds: float | None = None
    last_seconds: float | None = None
    text: str = ""
    versions: tuple[str, ...] = ()  # of an API mismatch: (client, module)
    meaning: str = ""
    cause: str = ""
    causes: tuple[str, ...] = ()
    action: str = ""
    investigate: str = ""  # what to look at when it comes back
    source: str = ""  # of meaning, causes and action
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """KernelGpuLog and the events, in the order of their first message; nothing where no NVIDIA device or driver shows."""
    machine: Machine = ctx.machine
    machine.need(Capability.KERNEL_STATE)
    gpus = {d.address for d in ctx.facts(PciDevice) if d.vendor == "nvidia"}
    if not gpus and not ctx.facts(NvidiaKernelModule) and not ctx.facts(NvidiaDeviceNodes):
        return
    from infra_doctor_probes.nvidia_smi.kernel_log import messages

    log = machine.kernel_log(*PATTERNS)
    found: Iterable[tuple[float | None, str]] = log.lines
    if log.error:
        log, found = journal(machine, log)
    place = log.source or "/dev/kmsg"
    told = log.error or f"{len(log.lines)} messages of the GPU driver" + (
        ", older ones are lost" if log.truncated else ""
    )
    seen = Evidence(kind=EvidenceKind.KERNEL, source=place, text=told[:200])
    yield KernelGpuLog(
        vendor="nvidia", source=log.source, error=log.error, truncated=log.truncated, evidence=(seen,)
    )  # fmt: skip
    yield from events(messages(found), gpus | ports_above(machine, gpus), place)


def journal(machine: Machine, log: KernelLog) -> tuple[KernelLog, list[tuple[float | None, str]]]:
    """The journal's kernel messages of this boot where it may be read; else the log as it was, with both reasons."""
    unread: list[tuple[float | None, str]] = []
    if Capability.COMMANDS not in machine.capabilities or machine.which("journalctl") is None:
        return log, unread
    from infra_doctor_probes.nvidia_smi.kernel_log import log_messages

    result = machine.run(*JOURNAL, timeout_s=5.0)
    # With nothing found it ends with 1; without permission it says so and ends with 0 or 1.
    complaint = next((mark for mark in NOT_READ if mark in result.stderr), "")
    if result.rc not in {0, 1} or complaint or (result.rc == 1 and result.stderr.strip()):
        reason = result.error or complaint or ("timed out" if result.timed_out else f"exit code {result.rc}")
        return replace(log, error=f"{log.error}; journalctl: {reason}"), unread
    found = [(s, t) for s, t in log_messages(result.stdout) if s is not None]
    lines = tuple((s or 0.0, t.partition(": ")[2] or t) for s, t in found)
    return KernelLog(lines=lines, source="journalctl -k -b"), list(lines)


def ports_above(machine: Machine, gpus: set[str]) -> set[str]:
    """The PCI addresses of the bridges between the root and these GPUs, from where sysfs keeps them."""
    found: set[str] = set()
    for gpu in gpus:
        parts = machine.realpath(f"{BUS}/{gpu}").split("/")
        found |= {part for part in parts if part.count(":") == 2 and part != gpu}
    return found


def events(found: "Iterable[KernelMessage]", known: set[str], place: str) -> Iterator[KernelGpuEvent]:
    """One event per kind, device and number. PCIe errors of devices that are neither GPUs nor above one are not ours."""
    counted: dict[tuple[object, ...], KernelGpuEvent] = {}
    for message in found:
        if message.kind == "pcie-error" and message.address not in known:
            continue
        key = (message.kind, message.address, message.number, message.severity, message.versions)
        before = counted.get(key)
        if before is None and len(counted) >= FACTS_CAP:
            continue
        counted[key] = event(message, before, place)
    yield from counted.values()


def event(message: "KernelMessage", before: KernelGpuEvent | None, place: str) -> KernelGpuEvent:
    """The event of one more message."""
    from infra_doctor_probes.tables.xid import catalogue

    row = catalogue(message.kind, message.number) if message.number is not None else None
    meaning, cause, action = UNNUMBERED.get(message.kind, ("", "", ""))
    label = {"xid": f"Xid {message.number}: ", "sxid": f"SXid {message.number}: "}.get(message.kind, "")
    return KernelGpuEvent(
        vendor="nvidia",
        kind=message.kind,
        address=message.address,
        xid=message.number if message.kind == "xid" else None,
        sxid=message.number if message.kind == "sxid" else None,
        severity=message.severity,
        count=before.count + 1 if before else 1,
        first_seconds=before.first_seconds if before else message.seconds,
        last_seconds=message.seconds,
        text=message.text,
        versions=message.versions,
        meaning=row.meaning if row else meaning,
        cause=row.causes[0] if row else cause,
        causes=row.causes if row else (cause,) if cause else (),
        action=needed(message, row) if row else action,
        investigate=row.investigate if row else "",
        source=row.source if row else XID_TABLE if meaning and message.kind == "fell-off-bus" else "",
        evidence=(Evidence(kind=EvidenceKind.KERNEL, source=place, text=f"{label}{message.text}"),),
    )


def needed(message: "KernelMessage", row: "CatalogueRow") -> str:
    """The catalogue's action, where the message itself does not say another: NVLink 5's nonfatal errors need nothing at
    once, and Xid 154 names what is needed now."""
    if message.kind == "xid" and message.number == 154:
        last = message.text.rpartition(" to ")[2]
        return next((action for mark, action in RECOVERY if mark in last), row.action)
    return "none" if message.severity == "non-fatal" and row.action == "reset-gpu" else row.action


PROBES = (
    Probe(
        id="nvidia-kernel-log",
        version=1,
        title="Kernel messages of the NVIDIA driver",
        run=run,
        needs=("kernel state",),
        after=("pci", "nvidia-driver"),
        collect=tuple(f"kernel-log:{pattern}" for pattern in PATTERNS),
    ),
)
