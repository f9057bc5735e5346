"""`nvidia-smi dmon` and `pmon`: two lines of heads (names, units), then a line per device or process and second."""

from infra_doctor.plugin import record
from infra_doctor_probes.nvidia_smi.text import Refused, decimal, lines, told

ROWS_CAP = 100_000
COLUMNS_CAP = 100
PRIVATE = ("command", "name")  # of processes


@record
class Samples:
    """`columns` with their units, and the rows as numbers (None: "-"). Columns of text (type) stay text; names of
    processes are left out. `kind` is "dmon" or "pmon"."""

    kind: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[float | str | None, ...], ...]


def read_monitor(text: str) -> Samples | Refused:
    """The samples. Heads repeat; lines that do not fit them are passed over."""
    heads: list[list[str]] = []
    rows: list[tuple[float | str | None, ...]] = []
    for line in lines(text):
        words = line.split()
        if words[:1] == ["#"]:
            if len(heads) < 2:
                heads.append(words[1 : 1 + COLUMNS_CAP])
            continue
        if len(heads) == 2 and len(rows) < ROWS_CAP:
            row = row_of(words, heads[0])
            if row is not None:
                rows.append(row)
    if len(heads) < 2 or heads[0][:1] != ["gpu"] or len(heads[0]) != len(heads[1]):
        return Refused(reason="there are no two lines of heads that begin with gpu")
    kept = [n for n, name in enumerate(heads[0]) if name not in PRIVATE]
    return Samples(
        kind="pmon" if "pid" in heads[0] else "dmon",
        columns=tuple((heads[0][n], heads[1][n]) for n in kept),
        rows=tuple(rows),
    )


def row_of(words: list[str], names: list[str]) -> tuple[float | str | None, ...] | None:
    """One line's values; None where it has too few. The name of a process may hold spaces and comes last."""
    if len(words) < len(names) or not words[0].isdecimal():
        return None
    found: list[float | str | None] = []
    for name, word in zip(names, words, strict=False):
        if name not in PRIVATE:
            number = decimal(word)
            found.append(number if number is not None else told(word))
    return tuple(found)
