"""`nvidia-smi topo -m` (how GPUs and network cards reach each other) and `topo -p2p` (what they may do).

The tool separates columns by tabs; copies on web pages have spaces instead. Both start with the names of the columns."""

from collections.abc import Callable

from infra_doctor.plugin import record
from infra_doctor_probes.nvidia_smi.text import Refused, lines, whole

SIZE_CAP = 256
# Columns after the matrix, in the tool's words.
AFTER = ("CPU Affinity", "NUMA Affinity", "GPU NUMA ID")
LINKS = ("X", "SYS", "NODE", "PHB", "PXB", "PIX")
P2P = {"X": "self", "OK": "ok", "CNS": "chipset not supported", "GNS": "GPU not supported",
       "TNS": "topology not supported", "NS": "not supported", "DR": "disabled by a registry key", "U": "unknown"}  # fmt: skip


@record
class Matrix:
    """`names` are columns and rows ("GPU0", "NIC0"); `cells` go by (row, column) and hold the tool's word: "NV18", "SYS",
    "ok". `affinity` gives (CPUs, NUMA nodes) by row, where told. `legend` maps NICs to device names."""

    names: tuple[str, ...]
    cells: dict[tuple[str, str], str]
    affinity: dict[str, tuple[str, str]]
    legend: dict[str, str]

    def nvlinks(self, row: str, column: str) -> int | None:
        """The number of NVLinks between two devices; None where other ways are taken or nothing is told."""
        word = self.cells.get((row, column), "")
        return whole(word[2:]) if word.startswith("NV") else None


def read_topology(text: str) -> Matrix | Refused:
    """The matrix of `topo -m`."""
    return read(text, lambda word: word in LINKS or (word.startswith("NV") and word[2:].isdecimal()))


def read_p2p(text: str) -> Matrix | Refused:
    """The matrix of `topo -p2p`: the words in ours."""
    found = read(text, lambda word: word in P2P)
    if isinstance(found, Refused):
        return found
    cells = {pair: P2P[word] for pair, word in found.cells.items()}
    return Matrix(names=found.names, cells=cells, affinity={}, legend={})


def read(text: str, allowed: Callable[[str], bool]) -> Matrix | Refused:
    """Any of both; `allowed` says which words a cell may hold."""
    names: tuple[str, ...] = ()
    cells: dict[tuple[str, str], str] = {}
    affinity: dict[str, tuple[str, str]] = {}
    legend: dict[str, str] = {}
    for line in lines(text):
        words = line.split()
        if not words:
            continue
        if not names:
            names = columns(words)
            if not names:
                return Refused(reason="the first line names no GPU")
        elif words[0] in names and len(words) > 1 and not words[0].endswith(":"):
            row = words[1 : 1 + len(names)]
            if len(row) == len(names) and all(map(allowed, row)):
                cells |= {(words[0], column): word for column, word in zip(names, row, strict=True)}
                rest = fields_after(line, words, len(names))
                if rest:
                    affinity[words[0]] = rest
        elif words[0].endswith(":") and words[0][:-1] in names and len(words) == 2:
            legend[words[0][:-1]] = words[1][:100]
    if not cells:
        return Refused(reason="no line of the matrix is complete")
    return Matrix(names=names, cells=cells, affinity=affinity, legend=legend)


def columns(words: list[str]) -> tuple[str, ...]:
    """The devices that the first line names; () where it is no head of a matrix."""
    found = []
    for word in words[:SIZE_CAP]:
        kind = word.rstrip("0123456789")
        if kind not in {"GPU", "NIC", "mlx5_", "mlx4_", "CPU"} or kind == word:
            break
        found.append(word)
    return tuple(found) if found and found[0].startswith("GPU") else ()


def fields_after(line: str, words: list[str], size: int) -> tuple[str, str] | None:
    """CPU and NUMA affinity. With tabs an empty field keeps its place; with spaces it cannot be told from the next."""
    if "\t" in line:
        fields = [f.strip() for f in line.split("\t")][1 + size :]
        fields = [*fields, "", ""][:2] if fields else []
    else:
        fields = words[1 + size :][:2] if len(words) >= 1 + size + len(AFTER) else []
    return (fields[0], fields[1]) if len(fields) == 2 and fields[0] else None
