"""The compiler of the tables: what it refuses, what it doubts, and whether the committed tables are its output."""

import importlib.util
import json
import os
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from infra_doctor.compat.table import load_table

ROOT = Path(__file__).resolve().parents[2]
KNOWLEDGE = Path(os.environ.get("INFRA_DOCTOR_KNOWLEDGE") or ROOT.parent / "shared" / "knowledge")


def load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compile_tables", ROOT / "tools" / "compile_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["compile_tables"] = module
    spec.loader.exec_module(module)
    return module


TOOL = load_tool()


def compiled(tmp_path: Path, text: str, **fields: object) -> list[tuple[list[str], str, bool]]:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    return list(TOOL.rows_of(tmp_path, TOOL.Spec(**({"file": "t.csv", "columns": ("v", "x")} | fields))))


def test_a_row_without_a_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TOOL.CompileError, match=r"t\.csv:3: no source"):
        compiled(tmp_path, "v,x,source\n1,a,pypi:a==1 METADATA\n2,b,\n")


def test_ragged_rows_and_unknown_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TOOL.CompileError, match=r"t\.csv:2: not as many cells"):
        compiled(tmp_path, "v,x,source\n1,a\n")
    with pytest.raises(TOOL.CompileError, match=r"t\.csv:2: not as many cells"):
        compiled(tmp_path, "v,x,source\n1,a,pypi,more\n")
    with pytest.raises(TOOL.CompileError, match="no column x"):
        compiled(tmp_path, "v,source\n1,pypi:a==1 METADATA\n")


@pytest.mark.parametrize(
    ("row", "certain"),
    [
        ("1,a,https://docs.nvidia.com/x,no,", True),
        ("1,a,https://docs.nvidia.com/x,yes,", False),
        ("1,a,unverified,no,", False),
        ("1,a,https://docs.nvidia.com/x,no,limit from memory", False),
        ('1,"13.4.2, exact build not seen",https://docs.nvidia.com/x,no,', False),
        ("1,7.5+ (unverified),https://docs.nvidia.com/x,no,", False),
        ("1,a,public copy ref 54526236190,no,", False),
        ('1,a,"public code index file ids 53633247894, 66950541150",no,', False),
        ("1,a,public copy ref 52052495547 and 44403937369,no,", False),
        ('1,a,"CANN 9.1.0 release notes, public copy ref 59751594554",no,', True),
        ("1,a,a colleague,no,", False),
    ],
)
def test_doubts(tmp_path: Path, row: str, certain: bool) -> None:
    found = compiled(tmp_path, f"v,x,source,uncertain,note\n{row}\n")
    assert [r[2] for r in found] == [certain]


def test_a_doubt_about_another_column_can_be_left_out(tmp_path: Path) -> None:
    text = "v,x,source,note\n1,a,https://docs.nvidia.com/x,the colour is from memory\n"
    assert compiled(tmp_path, text)[0][2] is False
    assert compiled(tmp_path, text, doubt=("x",))[0][2] is True


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("Table 3, copied in public copy ref 70889381901", "Table 3 (second-hand copy)"),
        ("public copy ref 54526236190; https://x.org/a", "(second-hand copy); https://x.org/a"),
        ("https://x.org; ids 53131777423, 37185149336", "https://x.org"),
        ("pages, read through the public search", "pages"),
        ("RELEASE.md table (public code index)", "RELEASE.md table"),
        ("logs (public code index file ids 59371774580, 56130609081)", "logs (second-hand copy)"),
    ],
)
def test_numbers_of_copies_are_not_printed(source: str, shown: str) -> None:
    assert TOOL.public_source(source)[0] == shown


def test_same_means_the_source_above(tmp_path: Path) -> None:
    found = compiled(tmp_path, "v,x,source\n1,a,pypi:a==1 METADATA\n2,b,same\n")
    assert [r[1] for r in found] == ["pypi:a==1 METADATA"] * 2


def test_the_output_is_ordered_and_says_each_source_once() -> None:
    rows = [(["1.9", "a"], "s2", True), (["1.10", "b"], "s1", False), (["1.9", "a"], "s2", True)]
    text = TOOL.render("t", "2026-11-21", ("v", "x"), rows, versions=True)
    assert json.loads(text) == {
        "columns": ["v", "x"], "name": "t", "retrieved": "2026-11-21",
        "rows": [["1.10", "b", 0, 0], ["1.9", "a", 1, 1]], "sources": ["s1", "s2"],
    }  # fmt: skip
    assert text == TOOL.render("t", "2026-11-21", ("v", "x"), rows[::-1], versions=True)
    with pytest.raises(TOOL.CompileError, match="no rows"):
        TOOL.render("t", "2026-11-21", ("v",), [], versions=True)


COMMITTED = sorted(TOOL.OUTPUT.glob("*.json"))
COMPILED = [p for p in COMMITTED if p.name not in TOOL.HAND_WRITTEN]


def test_every_declared_table_is_committed() -> None:
    declared = {s.name or s.file.removesuffix(".csv") for s in TOOL.CSV_TABLES} | {s.name for s in TOOL.TOML_TABLES}
    assert {p.stem for p in COMPILED} == declared


@pytest.mark.parametrize("path", COMMITTED, ids=lambda p: p.stem)
def test_committed_tables_can_be_read(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"copy ref|index file|\b\d{9,}\b", text)
    table = load_table(str(path))
    assert table.name == path.stem
    assert table.rows
    for row in table.rows:
        assert row.source
        assert not (row.certain and "unverified" in row.source)


@pytest.mark.skipif(not (KNOWLEDGE / "README.md").is_file(), reason="the gathered facts are not here")
def test_the_committed_tables_are_up_to_date() -> None:
    tables = TOOL.compile_all(KNOWLEDGE)
    assert set(tables) == {p.name for p in COMPILED}
    stale = [name for name, text in tables.items() if (TOOL.OUTPUT / name).read_text(encoding="utf-8") != text]
    assert stale == []


def test_a_folder_without_facts_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = sys.argv
    sys.argv = ["compile_tables.py", str(tmp_path), "--check"]
    try:
        assert TOOL.main() == 2
    finally:
        sys.argv = argv
    assert "README.md" in capsys.readouterr().err
