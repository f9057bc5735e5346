"""`nvidia-smi --query-gpu=… --format=csv` and `--query-compute-apps`: names with units in the first line, then values.

The tool quotes nothing: a process name may hold commas. So the fields are told from both ends, and names are left out."""

from infra_doctor.plugin import record
from infra_doctor_probes.nvidia_smi.text import VALUE_CAP, Refused

ROWS_CAP = 10_000
COLUMNS_CAP = 1000
KNOWN = {"timestamp", "name", "gpu_name", "pid", "index", "uuid", "gpu_uuid", "driver_version", "pci.bus_id", "gpu_bus_id",
         "memory.total", "count"}  # fmt: skip
PRIVATE = "process_name"


@record
class CsvTable:
    """`columns` are (name, unit); every row has a value for each, as text."""

    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, ...], ...]


def read_csv(text: str) -> CsvTable | Refused:
    """The table without names of processes."""
    names: list[tuple[str, str]] = []
    rows: list[tuple[str, ...]] = []
    private = None
    for line in long_lines(text):
        if not names:
            names = [column(part) for part in line.split(",")[:COLUMNS_CAP]]
            if not KNOWN & {name for name, _ in names}:
                return Refused(reason="the first line names no column of nvidia-smi")
            private = next((n for n, (name, _) in enumerate(names) if name == PRIVATE), None)
            continue
        fields = [field.strip()[:VALUE_CAP] for field in line.split(",")]
        if private is not None and len(fields) > len(names):
            fields = [*fields[:private], "", *fields[len(fields) - (len(names) - private - 1) :]]
        if len(fields) == len(names) and len(rows) < ROWS_CAP:
            rows.append(tuple(f for n, f in enumerate(fields) if n != private))
    if not names:
        return Refused(reason="nothing was printed")
    return CsvTable(columns=tuple(c for n, c in enumerate(names) if n != private), rows=tuple(rows))


def long_lines(text: str) -> list[str]:
    """The lines that are not empty: a query of all fields is longer than what other readers look at."""
    return [line for line in text[: 4 << 20].splitlines()[: ROWS_CAP + 1] if line.strip()]


def column(part: str) -> tuple[str, str]:
    """ "power.draw [W]" as its name and unit."""
    name, _, unit = part.strip()[:VALUE_CAP].partition(" [")
    return name, unit.rstrip("]")
