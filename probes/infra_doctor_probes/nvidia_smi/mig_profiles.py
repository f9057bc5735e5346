"""`nvidia-smi mig -lgip`: the MIG profiles that each GPU offers, and how many more of each fit."""

from infra_doctor.plugin import record
from infra_doctor_probes.nvidia_smi.text import Refused, lines, whole

ROWS_CAP = 10_000


@record
class MigProfile:
    """ "1g.18gb" with its id, how many instances are free and possible, and its memory in GiB."""

    gpu: int
    name: str
    profile_id: int
    free: int
    total: int
    memory_gib: float | None


def read_mig_profiles(text: str) -> tuple[MigProfile, ...] | Refused:
    """The profiles of all GPUs."""
    found: list[MigProfile] = []
    titled = False
    for line in lines(text):
        titled = titled or "GPU instance profiles:" in line
        words = line.strip("| ").split()
        if not titled or len(words) < 6 or words[1] != "MIG" or len(found) >= ROWS_CAP:
            continue
        gpu, profile = whole(words[0]), whole(words[3])
        free, _, total = words[4].partition("/")
        known = (gpu, profile, whole(free), whole(total))
        if None not in known:
            memory = words[5]
            gib = float(memory) if memory.replace(".", "", 1).isdecimal() and len(memory) < 12 else None
            found.append(
                MigProfile(gpu=known[0] or 0, name=words[2][:100], profile_id=known[1] or 0, free=known[2] or 0,
                           total=known[3] or 0, memory_gib=gib)
            )  # fmt: skip
    return tuple(found) if found else Refused(reason="there are no GPU instance profiles")
