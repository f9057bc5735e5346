"""The generic rule kinds, and rows found by their neighbours."""

import pytest

from infra_doctor.compat.rules import (
    How,
    ceiling,
    family,
    floor,
    lookup,
    pair,
    read_requirement,
    same_version,
    verdict_of,
    within,
)
from infra_doctor.compat.table import Row
from infra_doctor.model.compatibility import Verdict

YES, NO, OPEN = Verdict.COMPATIBLE, Verdict.INCOMPATIBLE, Verdict.UNKNOWN


def test_bounds() -> None:
    assert [floor(v, "525.60.13") for v in ("550.54.15", "525.60.13", "470.82.01", None, "?")] == [
        YES,
        YES,
        NO,
        OPEN,
        OPEN,
    ]
    assert [ceiling(v, "12.9") for v in ("12.8", "12.9.1", "13.0", None)] == [YES, YES, NO, OPEN]
    assert [verdict_of(v) for v in (True, False, None)] == [YES, NO, OPEN]


def test_an_exact_pin_minds_local_and_post_parts() -> None:
    assert same_version("2.11.0+cu130", "2.11.0") is YES
    assert same_version("2.1.0+cu118", "2.1.0+cpu") is NO
    assert same_version("2.1.0+CPU", "2.1.0+cpu") is YES
    assert same_version("2.7.1.post11", "2.7.1") is NO
    assert same_version(None, "2.7.1") is OPEN
    assert within("2.1.0+cu118", "==2.1.0+cpu") is NO


@pytest.mark.parametrize(
    ("version", "spec", "verdict"),
    [
        ("0.4.36", "<=0.4.37,>=0.4.36", YES),
        ("0.4.38", "<=0.4.37,>=0.4.36", NO),
        ("3.8.2", "~=3.8.0", YES),
        ("2.13.1+cu130", "==2.13.*", YES),
        ("9.1", "<10.0,>=9.8", NO),
        ("9.9", "", YES),
        (None, ">=1", OPEN),
        ("1.0", "==", OPEN),
    ],
)
def test_ranges_of_requirements(version: str | None, spec: str, verdict: Verdict) -> None:
    assert within(version, spec) is verdict


def test_family() -> None:
    assert family("13.0.88", "13.2") is YES
    assert family("12.8", "13") is NO
    assert family("12.8", "12.6", parts=2) is NO
    assert family("12", "12.6", parts=2) is OPEN


def rows(*versions: str, value: str = "same", certain: bool = True) -> list[Row]:
    return [Row({"v": v, "x": value}, "https://example.org", certain) for v in versions]


def test_a_row_of_its_own_and_a_line() -> None:
    table = rows("1.20.x", "1.18.1", "1.18.0")
    assert lookup(table, "v", "1.18.1").how is How.EXACT
    assert lookup(table, "v", "1.20.7").how is How.LINE
    assert lookup(table, "v", "1.18").row is table[2]


def test_a_patch_between_agreeing_neighbours_of_its_minor() -> None:
    table = rows("1.19.0") + rows("1.19.2", certain=False) + rows("1.21.0")
    found = lookup(table, "v", "1.19.1")
    assert found.how is How.BETWEEN
    assert found.row is not None
    assert found.row.certain is False  # as certain as the less certain neighbour
    assert lookup(table, "v", "1.20.0").row is None  # between two rows, but of no minor of its own
    other = rows("1.19.0") + rows("1.19.2", value="other")
    assert lookup(other, "v", "1.19.1").row is None
    assert lookup(other, "v", "1.19.1").how is How.ABSENT


def test_outside_the_table() -> None:
    table = rows("1.20.x", "1.18.1", "8.2.0-8.2.1")[:2]
    assert lookup(table, "v", "1.21.0").how is How.NEWER
    assert lookup(table, "v", "1.17.0").how is How.OLDER
    assert lookup(table, "v", "1.19.0").how is How.ABSENT
    assert lookup(table, "v", "unknown").how is How.ABSENT
    assert lookup(table, "v", None).how is How.ABSENT
    assert lookup([], "v", "1.0").how is How.ABSENT


def test_ranges_and_builds_as_keys() -> None:
    table = rows("9.19.1.2", "9.19.0.56", "8.2.0-8.2.1")
    assert lookup(table, "v", "9.19.0").row == table[1]
    assert lookup(table, "v", "8.2.1").how is How.LINE
    assert lookup(table, "v", "8.2.2").how is How.ABSENT
    split = rows("9.26.0.51") + rows("9.26.0.60", value="other")
    assert lookup(split, "v", "9.26.0").row is None


def test_an_uncertain_fact_has_no_verdict() -> None:
    for verdict in Verdict:
        row = pair("a", "b", "r", verdict, "it may not fit", source="s", certain=False)
        assert (row.verdict, row.certain, row.detail) == (OPEN, False, "hint: it may not fit")
    assert pair("a", "b", "r", NO, "it does not fit", source="s").verdict is NO


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('nvidia-nccl-cu12==2.27.5; platform_system == "Linux"', ("nvidia-nccl-cu12", "==2.27.5", True)),
        ("nvidia_cublas (>=12.6)", ("nvidia-cublas", ">=12.6", True)),
        ('jaxlib<=0.7.1,>=0.7.1; extra == "cuda12"', ("jaxlib", "<=0.7.1,>=0.7.1", False)),
        ('triton==3.6.0 ; platform_system == "Linux" and platform_machine != "x86_64"', ("triton", "==3.6.0", False)),
        ('a==1; sys_platform == "win32" or platform_machine == "x86_64"', ("a", "==1", True)),
        ('b>=1; python_version < "3.11"', ("b", ">=1", None)),
        ('c>=1; (python_version < "3.11") or extra_feature', ("c", ">=1", None)),
        ("flashinfer.python[cu13]==0.7.2", ("flashinfer-python", "==0.7.2", True)),
    ],
)
def test_requirement_lines(line: str, expected: tuple[str, str, bool | None]) -> None:
    found = read_requirement(line)
    assert found is not None
    assert (found.name, found.spec, found.applies) == expected


@pytest.mark.parametrize("line", ["", "torch @ https://example.org/t.whl", "==1.0", "!" * 50])
def test_what_is_no_requirement(line: str) -> None:
    assert read_requirement(line) is None
