"""Messages of the kernel about NVIDIA's GPUs and switches: Xid, SXid, a GPU that fell off the bus, a module that could not
start or was refused.

The forms are those of the open kernel modules' source (github.com/NVIDIA/open-gpu-kernel-modules, nv.c and
nv-pci.c) and of published logs. What names a process, a board or a device by UUID is not kept."""

import re
from collections.abc import Iterable, Iterator

from infra_doctor.plugin import record
from infra_doctor_probes.nvidia_smi.text import Refused, lines, pci_address

TEXT_CAP = 200
MESSAGE_CAP = 2000
EVENTS_CAP = 2000
JOIN_LINES = 4  # a message of several lines, where a log keeps each by itself

ADDRESS = r"(?:PCI:)?([0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}(?:\.[0-7])?)"
XID = re.compile(rf"NVRM: [^\n]{{0,40}}?Xid \({ADDRESS}\): (\d{{1,5}}),? ?(.{{0,1000}})", re.DOTALL)
SXID = re.compile(rf"SXid \({ADDRESS}\): (\d{{1,6}}), (.{{0,500}})", re.DOTALL)
NAMED_GPU = re.compile(rf"(?:NVIDIA GPU|GPU(?: at)?) {ADDRESS}")
VERSIONS = re.compile(r"has the version (\d{2,4}(?:\.\d{1,6}){1,3})")
PCIE = re.compile(rf"(nvidia|pcieport) {ADDRESS}: ")
PCIE_SOURCE = re.compile(rf"(?:received(?: from)?:?|from) {ADDRESS}")
# Of a process: "pid=123, name=python, ", "pid='<unknown>', name=<unknown>, ", "the client 'nvidia-smi' (pid 123) ".
PROCESS = re.compile(r"pid='?[\w<>]{1,20}'?(?:, name=[^,\n]{0,40})?(?:, |$)")
CLIENT = re.compile(r" '[^'\n]{0,80}' ?(?:\(pid \d{1,10}\))?")
UUID = re.compile(r"\b(?:GPU|MIG)-[0-9a-fA-F-]{8,40}")


@record
class KernelMessage:
    """One message. `kind`: see detect/nvidia_kernel_log.py. `severity` is "fatal" or "non-fatal" where it says so;
    `versions` those of an API mismatch: (client, module)."""

    kind: str
    text: str
    address: str | None = None
    number: int | None = None  # of an Xid or SXid
    severity: str = ""
    versions: tuple[str, ...] = ()
    seconds: float | None = None


def messages(found: Iterable[tuple[float | None, str]]) -> Iterator[KernelMessage]:
    """The events among (seconds, message); at most EVENTS_CAP, the newest are the last."""
    waiting: tuple[int, str | None, str] = (0, None, "")  # a message of several lines under way
    count = 0
    for seconds, raw in found:
        # /dev/kmsg writes the line breaks within a message as \x0a.
        text = raw[:MESSAGE_CAP].replace("\\x0a", "\n")
        left, address, begun = waiting
        waiting = (left - 1, address, begun) if left > 1 else (0, None, "")
        gpu = NAMED_GPU.search(text)
        if gpu and text.startswith("NVRM: The NVIDIA GPU"):
            waiting = (JOIN_LINES, gpu.group(1), clean(text))
            address, begun = gpu.group(1), ""
        event = event_of(text, seconds, address, begun)
        if event is not None:
            if event.kind in {"fell-off-bus", "not-supported"}:
                waiting = (0, None, "")
            yield event
            count += 1
            if count >= EVENTS_CAP:
                return


def event_of(text: str, seconds: float | None, address: str | None, begun: str) -> KernelMessage | None:
    """What one message says; `address` and `begun` are of the line before, where it named a GPU and went on."""
    xid = XID.search(text)
    if xid:
        said = xid.group(3)
        return KernelMessage(
            kind="xid", text=clean(said), address=full_address(xid.group(1)), number=int(xid.group(2)),
            severity=severity_of(said), seconds=seconds,
        )  # fmt: skip
    sxid = SXID.search(text)
    if sxid:
        said = sxid.group(3)
        if said.startswith(("Severity ", "Data ")):
            return None  # the details of the SXid before
        return KernelMessage(
            kind="sxid", text=clean(said), address=full_address(sxid.group(1)), number=int(sxid.group(2)),
            severity=severity_of(said), seconds=seconds,
        )  # fmt: skip
    kind = kind_of(text)
    if kind is None:
        return None
    own = NAMED_GPU.search(text)
    found = own.group(1) if own else address if kind in {"fell-off-bus", "not-supported"} else None
    whole = clean(f"{begun} {text}" if begun and kind in {"fell-off-bus", "not-supported"} else text)
    if kind == "pcie-error":
        where = PCIE_SOURCE.search(text) or PCIE.search(text)
        found = where.group(where.lastindex or 1) if where else None
    versions = tuple(VERSIONS.findall(text)[:2]) if kind == "api-mismatch" else ()
    return KernelMessage(
        kind=kind, text=whole, address=full_address(found), versions=versions, seconds=seconds
    )  # fmt: skip


# Kind -> what its message holds; the first that fits counts.
KINDS = (
    ("fell-off-bus", ("allen off the bus",)),
    ("init-failed", ("RmInitAdapter failed", "Cannot initialize GSP firmware RM")),
    ("owned-by-other", ("was loaded and obtained", "nouveau, rivafb")),
    ("probe-failed", ("NVRM: The NVIDIA probe routine", "NVRM: This PCI I/O region", "NVRM: No NVIDIA")),
    ("api-mismatch", ("NVRM: API mismatch",)),
    ("module-rejected", ("unsigned module", "module with unavailable key", "module is rejected")),
    ("module-mismatch", ("disagrees about version", "Unknown symbol", "version magic")),
    ("module-unsigned", ("module verification failed",)),
    ("pcie-error", ("severity=Uncorrect", "Uncorrected (", "Uncorrectable (", "can't recover", "DPC: containment",
                    "Link Down", "Card not present")),
)  # fmt: skip


def kind_of(text: str) -> str | None:
    """The kind of a message without a number; None for one that tells nothing by itself."""
    if "installed in this system" in text and ("not supported" in text or "requires use of" in text):
        return "not-supported"
    return next((kind for kind, marks in KINDS if any(mark in text for mark in marks)), None)


def severity_of(said: str) -> str:
    """ "fatal", "non-fatal" or "": SXid and the Xids of NVLink 5 say it."""
    words = said[:120].replace(",", " ").split()
    if "Fatal" in words:
        return "fatal"
    return "non-fatal" if {"Non-fatal", "Nonfatal", "Non-Fatal"} & set(words) else ""


def full_address(address: str | None) -> str | None:
    """ "9b:00" forms with function 0, lower case, a domain of four digits."""
    if address is None:
        return None
    return pci_address(address if "." in address else address + ".0")


def clean(text: str) -> str:
    """The message in one line without the process, UUIDs and the repeated "NVRM:"."""
    text = CLIENT.sub("", PROCESS.sub("", UUID.sub("", text)))
    words = [word for word in text.split() if word != "NVRM:"]
    return " ".join(words)[:TEXT_CAP].strip(" ,")


# -- texts of logs ------------------------------------------------------------------------------------------------


def read_kernel_log(text: str) -> tuple[KernelMessage, ...] | Refused:
    """The events of a log as dmesg, /dev/kmsg or journalctl write it; () where it holds none of ours."""
    return tuple(messages(log_messages(text)))


def log_messages(text: str) -> Iterator[tuple[float | None, str]]:
    """(seconds since boot, message); a line that begins with spaces belongs to the one before."""
    seconds: float | None = None
    held: str | None = None
    for line in lines(text):
        if held is not None and line[:8].isspace() and line.strip():
            held = f"{held}\n{line.strip()}"[:MESSAGE_CAP]
            continue
        if held is not None:
            yield seconds, held
        seconds, held = message_of(line)
    if held is not None:
        yield seconds, held


def message_of(line: str) -> tuple[float | None, str]:
    """Seconds and message of "[ 12.5] …", "6,3964,206764307,-;…", "[ 12.5] host kernel: …"."""
    if line.startswith("["):
        stamp, _, rest = line[1:].partition("]")
        number = stamp.strip()
        known = number.replace(".", "", 1).isdecimal() and len(number) < 24
        return (float(number) if known else None), rest.strip()
    head, mark, rest = line.partition(";")
    fields = head.split(",")
    if mark and len(fields) >= 4 and len(head) < 60 and fields[2].isdecimal():
        return int(fields[2]) / 1e6, rest
    return None, line
