"""Compatibility tables: rows of facts, each with its source and whether it may carry a verdict.

The files are compiled from gathered facts by `tools/compile_tables.py`, which refuses rows without a source."""

import json
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `certain` is False where the source is not public or the row is marked uncertain: hints only."""

    cells: dict[str, str]
    source: str
    certain: bool

    def __getitem__(self, column: str) -> str:
        return self.cells[column]


@dataclass(frozen=True, slots=True)
class Table:
    """A table by name, its rows in the compiled order (newest first where the rows are versions)."""

    name: str
    retrieved: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def where(self, **cells: str) -> tuple[Row, ...]:
        """Rows whose cells equal these."""
        return tuple(r for r in self.rows if all(r.cells[k] == v for k, v in cells.items()))


@lru_cache(maxsize=64)
def load_table(path: str) -> Table:
    """Read a compiled table: {"name", "retrieved", "columns", "sources", "rows": [[cell …, source index, certain]]}."""
    with open(path, encoding="utf-8") as file:
        raw = json.load(file)
    columns = tuple(raw["columns"])
    sources = raw["sources"]
    rows = tuple(
        Row(dict(zip(columns, cells[:-2], strict=True)), sources[cells[-2]], bool(cells[-1])) for cells in raw["rows"]
    )
    return Table(raw["name"], raw["retrieved"], columns, rows)
