"""The table that plain `nvidia-smi` prints, from driver 384 on: versions in the head, two or three lines a device.

From 610 on the head says "KMD Version" and "CUDA UMD Version". Names are cut by the tool itself ("NVIDIA RTX PRO 6000 Blac...")."""

from infra_doctor.plugin import record
from infra_doctor_probes.nvidia_smi.text import Refused, decimal, lines, pci_address, switch, told, version, whole

HEAD = ("NVIDIA-SMI", "Driver Version", "KMD Version", "CUDA Version", "CUDA UMD Version")
DEVICES_CAP, PROCESSES_CAP = 1024, 4096
MODES = {"On", "Off", "WDDM", "TCC", "MCDM", "N/A", "ERR!"}


@record
class TableDevice:
    """One device of the table. `failed` says that the tool printed ERR! for it."""

    index: int
    name: str
    address: str | None
    persistence: bool | None = None
    failed: bool = False
    memory_used_bytes: int | None = None
    memory_bytes: int | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    utilization_percent: int | None = None
    compute_mode: str | None = None
    mig: bool | None = None


@record
class SmiTable:
    """The whole table. `smi_version` is of the tool itself, `driver_version` of the loaded kernel module. `processes`
    are (GPU index, pid, type); None where the list is missing."""

    smi_version: str | None
    driver_version: str | None
    cuda_version: str | None
    devices: tuple[TableDevice, ...] = ()
    processes: tuple[tuple[int, int, str], ...] | None = None


def read_table(text: str) -> SmiTable | Refused:
    """The table."""
    head: dict[str, str] | None = None
    devices: list[TableDevice] = []
    processes: list[tuple[int, int, str]] | None = None
    rows: list[list[str]] = []
    for line in lines(text):
        if head is None:
            head = head_of(line)
            continue
        if "Processes:" in line:
            processes = []
        elif processes is not None:
            process = process_of(line)
            if process is not None and len(processes) < PROCESSES_CAP:
                processes.append(process)
        elif line.startswith("+") or "MIG devices:" in line:
            found = device_of(rows)
            if found is not None and len(devices) < DEVICES_CAP:
                devices.append(found)
            rows = []
        elif line.startswith("|") and not line.startswith(("|=", "|-")):
            rows = [*rows[-3:], [cell.strip() for cell in line.strip("|").split("|")[:4]]]
        elif line.startswith("|="):
            rows = []
    if head is None:
        return Refused(reason="there is no head of nvidia-smi")
    return SmiTable(
        smi_version=version(head.get("NVIDIA-SMI")),
        driver_version=version(head.get("KMD Version")) or version(head.get("Driver Version")),
        cuda_version=version(head.get("CUDA UMD Version")) or version(head.get("CUDA Version")),
        devices=tuple(devices),
        processes=None if processes is None else tuple(processes),
    )


def head_of(line: str) -> dict[str, str] | None:
    """The versions of the first line of the table; None for any other line."""
    if not line.startswith("|") or "NVIDIA-SMI" not in line:
        return None
    words = line.strip("| ").split()
    found = {}
    for label in HEAD:
        parts = (label + ":").split() if label != "NVIDIA-SMI" else [label]
        for n in range(len(words) - len(parts)):
            if words[n : n + len(parts)] == parts:
                found[label] = words[n + len(parts)]
                break
    return found


def device_of(rows: list[list[str]]) -> TableDevice | None:
    """The device of the two or three lines between two rules; None where they are no device's."""
    if len(rows) < 2 or any(len(row) != 3 for row in rows):
        return None
    words = rows[0][0].split()
    bus = rows[0][1].split()
    if len(words) < 2 or not words[0].isdecimal() or len(words[0]) > 6 or not bus:
        return None
    mode = words[-1] if words[-1] in MODES else ""
    used, _, whole_memory = rows[1][1].partition("/")
    readings = rows[1][0].split()
    power, _, limit = rows[1][0].rpartition("/")
    load = rows[1][2].split()
    return TableDevice(
        index=int(words[0]),
        name=" ".join(words[1:-1] if mode else words[1:]),
        address=pci_address(bus[0]),
        persistence=switch(mode),
        failed=any("ERR!" in cell for row in rows for cell in row),
        memory_used_bytes=mebibytes(used),
        memory_bytes=mebibytes(whole_memory),
        temperature_c=next((decimal(w[:-1]) for w in readings if w[:-1].isdecimal() and w.endswith("C")), None),
        power_w=decimal((power.split() or [""])[-1].rstrip("W")),
        power_limit_w=decimal(limit.strip().rstrip("W")),
        utilization_percent=whole(load[0]) if load else None,
        compute_mode=told(load[-1]) if len(load) > 1 else None,
        mig=switch(rows[2][2]) if len(rows) > 2 else None,
    )


def mebibytes(cell: str) -> int | None:
    """ "143771MiB" in bytes."""
    number = whole(cell.strip().removesuffix("MiB"))
    return None if number is None else number << 20


def process_of(line: str) -> tuple[int, int, str] | None:
    """(GPU index, pid, type) of a line of the process list, which has one format before MIG and one since."""
    words = line.strip("| ").split()
    at = 3 if len(words) > 4 and not words[2].isalpha() else 1
    if len(words) <= at + 1 or not words[0].isdecimal() or not words[at].isdecimal():
        return None
    if len(words[0]) > 6 or len(words[at]) > 10 or words[at + 1] not in {"C", "G", "C+G", "M", "M+C"}:
        return None
    return int(words[0]), int(words[at]), words[at + 1]
