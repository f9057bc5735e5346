"""`nvidia-smi -L`: one line a GPU, and below it one for each MIG device."""

from infra_doctor.plugin import record
from infra_doctor_probes.nvidia_smi.text import VALUE_CAP, Refused, lines

DEVICES_CAP = 1024


@record
class ListedMig:
    """A MIG device: "3g.40gb"."""

    profile: str
    index: int
    uuid: str


@record
class ListedGpu:
    """A GPU by its index."""

    index: int
    name: str
    uuid: str
    mig: tuple[ListedMig, ...] = ()


def read_list(text: str) -> tuple[ListedGpu, ...] | Refused:
    """The GPUs."""
    found: list[tuple[int, str, str]] = []
    mig: list[list[ListedMig]] = []
    for line in lines(text):
        heading = gpu_heading(line)
        if heading is not None and len(found) < DEVICES_CAP:
            found.append(heading)
            mig.append([])
        elif found:
            device = mig_line(line)
            if device is not None and len(mig[-1]) < DEVICES_CAP:
                mig[-1].append(device)
    if not found:
        return Refused(reason="no line names a GPU")
    return tuple(ListedGpu(index=i, name=n, uuid=u, mig=tuple(m)) for (i, n, u), m in zip(found, mig, strict=True))


def gpu_heading(line: str) -> tuple[int, str, str] | None:
    """(index, name, UUID) of "GPU 0: NVIDIA H200 (UUID: GPU-…)"; None for any other line."""
    number, colon, rest = line.partition(":")
    index = number.removeprefix("GPU ").strip()
    if not line.startswith("GPU ") or not colon or not index.isdecimal() or len(index) > 6 or "(UUID:" not in rest:
        return None
    name, _, uuid = rest.partition("(UUID:")
    return int(index), name.strip()[:VALUE_CAP], uuid.strip().rstrip(")").strip()[:VALUE_CAP]


def mig_line(line: str) -> ListedMig | None:
    """The MIG device of "  MIG 3g.40gb     Device  0: (UUID: MIG-…)"."""
    words = line.split()
    if len(words) < 6 or words[0] != "MIG" or "Device" not in words[:4]:
        return None
    at = words.index("Device")
    index = words[at + 1].rstrip(":")
    if not index.isdecimal() or len(index) > 6:
        return None
    return ListedMig(profile=" ".join(words[1:at]), index=int(index), uuid=words[-1].rstrip(")")[:VALUE_CAP])
