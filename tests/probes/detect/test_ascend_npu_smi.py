"""The text of npu-smi: every public capture, and texts that no tool would print."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from infra_doctor_probes.ascend.npu_smi import Chip, parse_npu_smi
from tests.support.ascend_trees import capture, captures

# Captures that hold no readable table on purpose: an edited four-column table, a header alone, errors.
WITHOUT_CHIPS = {
    "npu-smi-info__23.0.rc3.0_masked_awesome-ascend-skills_references-L19.txt": "unknown columns",
    "npu-smi-info__24.1.rc1_masked_mind-cluster_user-guide-L959.txt": "a table without chips",
}
TABLES = [p for p in captures("npu-smi-info__[0-9a]*") if p.name not in WITHOUT_CHIPS]
# The first row of a chip, counted in another way than the parser does.
FIRST_ROW = re.compile(r"^\| +(\d+) +(?!0  )(\S+) +\| +(OK|Warning|Alarm|Critical) +\|", re.MULTILINE)


def test_all_captures_are_looked_at() -> None:
    if not captures("INDEX.md"):
        pytest.skip("public captures not here")
    assert len(TABLES) == 17
    assert len(captures("npu-smi-info__*")) == 21


@pytest.mark.parametrize("path", TABLES, ids=lambda p: p.stem)
def test_table(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = parse_npu_smi(text)
    assert not found.problem
    assert not found.error
    title = re.search(r"npu-smi (\S+) +Version: (\S+)", text)
    assert title is not None
    assert (found.tool_version, found.driver_version) == title.groups()
    assert [(c.npu_id, c.name, c.health) for c in found.chips] == [
        (int(m.group(1)), m.group(2), m.group(3)) for m in FIRST_ROW.finditer(text)
    ]
    shown = [a.lower() for a in re.findall(r"\b[0-9A-F]{4}:[0-9A-F]{2}:[0-9A-F]{2}\.[0-7]\b", text)]
    assert [c.address for c in found.chips if c.address] == shown
    assert all(c.memory_bytes and c.memory_bytes >= 8 << 30 for c in found.chips)


@pytest.mark.parametrize(("name", "problem"), WITHOUT_CHIPS.items())
def test_other_tables_are_a_problem_and_no_guess(name: str, problem: str) -> None:
    found = parse_npu_smi(capture(name))
    assert found.chips == ()
    assert found.problem.startswith(problem)


@pytest.mark.parametrize(
    ("name", "code"), [("npu-smi-info__err_dcmi-8005.txt", -8005), ("npu-smi-info__err_dcmi-8020.txt", -8020)]
)
def test_errors(name: str, code: int) -> None:
    found = parse_npu_smi(capture(name))
    assert found.error_code == code
    assert found.error.startswith("dcmi ")
    assert (found.chips, found.problem) == ((), "")


def test_tool_and_driver_can_differ() -> None:
    found = parse_npu_smi(capture("npu-smi-info__1.8.21_910A_8card_driver20.2.2.spc001.txt"))
    assert (found.tool_version, found.driver_version) == ("1.8.21", "20.2.2.spc001")
    assert len(found.chips) == 8


def test_ids_are_not_counted_from_zero() -> None:
    found = parse_npu_smi(capture("npu-smi-info__20.2.2_310_5card-20chip.txt"))
    assert len(found.chips) == 20
    assert [c.npu_id for c in found.chips][::4] == [2048, 2049, 2050, 2051, 2052]
    assert [c.chip_id for c in found.chips][:4] == [0, 1, 2, 3]
    assert found.chips[0].memory_bytes == 8192 << 20  # no HBM column


def test_two_dies_of_one_card() -> None:
    found = parse_npu_smi(capture("npu-smi-info__25.2.0_Ascend910_nputop_tests-L95.txt"))
    assert [(c.npu_id, c.chip_id, c.physical_id) for c in found.chips] == [(0, 0, 0), (0, 1, 1), (1, 0, 2), (1, 1, 3)]
    assert {c.name for c in found.chips} == {"Ascend910"}


def test_values_that_are_not_there() -> None:
    (chip,) = parse_npu_smi(capture("npu-smi-info__23.0.0_310B4_nputop_tests-L65.txt")).chips
    assert replace(chip, reading=None) == Chip(
        npu_id=0, chip_id=0, name="310B4", health="Alarm", address=None, memory_bytes=15609 << 20
    )
    assert chip.reading is not None
    assert (chip.reading.health, chip.reading.hbm_temperature_c) == ("Alarm", None)


HEADER = """\
+----------------------------------------------------------+
| npu-smi 30.1.0           Version: 30.0.9                 |
+---------------+---------+--------------------------------+
| NPU   Name    | Health  | Power(W)    Temp(C)            |
| Chip  Phy-ID  | Bus-Id  | AICore(%)   HBM-Usage(MB)      |
+===============+=========+================================+
"""
ROW = "| 3     Ascend 950DT | OK  | 10.0   30 |\n| 0     7       | 0001:0A:00.0 | 0   1 / 98304 |\n"


def test_own_table_with_a_name_of_two_words() -> None:
    (chip,) = parse_npu_smi(HEADER + ROW).chips
    assert replace(chip, reading=None) == Chip(
        npu_id=3, chip_id=0, name="Ascend 950DT", health="OK", address="0001:0a:00.0", memory_bytes=98304 << 20,
        physical_id=7,
    )  # fmt: skip
    assert chip.reading is not None
    assert (chip.reading.power_w, chip.reading.temperature_c, chip.reading.aicore_percent) == (10.0, 30, 0)


@pytest.mark.parametrize(
    "text",
    [
        "", "\n\n", "\0" * 5000, "|" * 100_000, "| npu-smi 25.2.0 Version: 25.2.0 |", HEADER, HEADER + "| 0 |\n", "x" * 3_000_000,
        HEADER + "| a b | c | d |\n| e f | g | h |\n", HEADER + "| 0 910B | OK | 1 2 |\n", "npu-smi: command not found",
        HEADER.replace("| Chip  Phy-ID  | Bus-Id  | AICore(%)   HBM-Usage(MB)      |\n", ""),
        HEADER + "| 9999999999999999999999999999 910B | OK | 1 2 |\n| x y | z | 0 |\n", "\x1b[31m| npu-smi \x1b[0m",
    ],
)  # fmt: skip
def test_garbage_gives_no_chips_and_says_why(text: str) -> None:
    found = parse_npu_smi(text)
    assert found.chips == ()
    assert found.problem or found.error


def test_a_cut_table_keeps_what_is_whole() -> None:
    found = parse_npu_smi(HEADER + ROW + "| 4     910B | OK  | 10.0   30 |\n")
    assert [c.npu_id for c in found.chips] == [3]
    assert found.problem == "the table ends inside a chip"
