"""`nvidia-smi nvlink -s` (speed of each link) and `nvlink -e` (its error counters), GPU by GPU."""

from infra_doctor.plugin import record
from infra_doctor_probes.nvidia_smi.list_gpus import DEVICES_CAP, gpu_heading
from infra_doctor_probes.nvidia_smi.text import VALUE_CAP, Refused, decimal, is_absent, lines, whole

LINKS_CAP = 64
COUNTERS = {"replay errors": "replay", "recovery errors": "recovery", "crc errors": "crc"}


@record
class GpuLinks:
    """The links of a GPU by number: speed in MB/s (None: inactive), and error counters ("replay", "recovery", "crc").
    `note` is what the tool says where it lists none ("Device does not have or support Nvlink")."""

    index: int
    name: str
    speeds_mb_per_s: dict[int, int | None]
    errors: dict[int, dict[str, int]]
    note: str = ""


def read_nvlink(text: str) -> tuple[GpuLinks, ...] | Refused:
    """The links of each GPU, of either form."""
    found: list[GpuLinks] = []
    notes: list[str] = []
    for line in lines(text):
        heading = gpu_heading(line)
        if heading is not None:
            if len(found) < DEVICES_CAP:
                found.append(GpuLinks(index=heading[0], name=heading[1], speeds_mb_per_s={}, errors={}))
                notes.append("")
        elif found and line.strip() and not add_link(found[-1], line.strip()) and not notes[-1]:
            notes[-1] = line.strip()[:VALUE_CAP]
    if not found:
        return Refused(reason="no line names a GPU")
    if not any(g.speeds_mb_per_s or g.errors or n for g, n in zip(found, notes, strict=True)):
        return Refused(reason="no GPU is followed by its links")
    return tuple(
        GpuLinks(index=g.index, name=g.name, speeds_mb_per_s=g.speeds_mb_per_s, errors=g.errors, note=n)
        for g, n in zip(found, notes, strict=True)
    )


def add_link(gpu: GpuLinks, line: str) -> bool:
    """Take "Link 3: 26.562 GB/s", "Link 3: <inactive>" or "Link 3: CRC Errors: 0"; False for any other line."""
    label, colon, value = line.partition(":")
    number = whole(label.removeprefix("Link "))
    if not label.startswith("Link ") or not colon or number is None or number >= LINKS_CAP:
        return False
    name, colon, count = value.partition(":")
    if colon and name.strip().lower() in COUNTERS:
        errors = whole(count.strip())
        if errors is not None:
            gpu.errors.setdefault(number, {})[COUNTERS[name.strip().lower()]] = errors
        return True
    if colon and name.strip():
        return True  # counters that we do not know
    speed = decimal(value.strip().removesuffix("GB/s").strip())
    inactive = value.strip().strip("<>").lower() == "inactive"
    if speed is None and not inactive and not is_absent(value):
        return False
    gpu.speeds_mb_per_s[number] = None if speed is None else round(speed * 1000)
    return True
