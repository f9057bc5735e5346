"""GPUs against driver branches and toolkits."""

import pytest

from infra_doctor.model.compatibility import Verdict
from infra_doctor_probes.tables.gpu import RULES
from tests.probes.tables.stack import driver, gpu, judged, only, system, toolkit

YES, NO, OPEN = Verdict.COMPATIBLE, Verdict.INCOMPATIBLE, Verdict.UNKNOWN
BRANCH, TOOLKIT = "gpu-driver-branch", "gpu-toolkit"


@pytest.mark.parametrize(
    ("name", "cc", "version", "verdict"),
    [
        ("NVIDIA GeForce RTX 5090", "12.0", "550.54.15", NO),
        ("NVIDIA B200", "10.0", "550.163.01", NO),
        ("NVIDIA B200", "10.0", "570.124.06", YES),
        ("NVIDIA GeForce RTX 5090", "12.0", "610.43.02", YES),
        ("NVIDIA H200", "9.0", "580.159.04", YES),
        ("Tesla V100-SXM2-32GB", "7.0", "580.159.04", YES),
        ("Tesla V100-SXM2-32GB", "7.0", "590.48.01", NO),
        ("NVIDIA GeForce GTX 1080", "6.1", "595.71.05", NO),
        ("Quadro M6000", "5.2", "470.82.01", YES),
        ("Tesla K80", "3.7", "495.29.05", NO),
        ("Tesla K80", "3.7", "470.82.01", OPEN),  # its first toolkit is from memory
        ("Tesla T4", "7.5", "620.70.06", YES),
        ("NVIDIA FX", "99.0", "580.65.06", OPEN),
    ],
)
def test_branches(name: str, cc: str, version: str, verdict: Verdict) -> None:
    row = only(judged(RULES, driver(version), gpu(name, cc)), BRANCH)
    assert row.verdict is verdict
    assert name in row.detail
    if verdict is NO:
        assert row.certain
        assert version in row.detail


def test_blackwell_with_550_names_its_public_source() -> None:
    row = only(judged(RULES, driver("550.54.15"), gpu("NVIDIA B200", "10.0")), BRANCH)
    assert (
        row.detail
        == "Blackwell (NVIDIA B200, compute capability 10.0) needs driver 570.26 (R570) or newer, and 550.54.15 is loaded."
    )
    assert "https://docs.nvidia.com/deeplearning/cudnn/latest/support-matrix/index.html" in row.source


def test_a_first_branch_that_is_only_inferred_is_a_hint() -> None:
    row = only(judged(RULES, driver("470.82.01"), gpu("NVIDIA H100", "9.0")), BRANCH)
    assert (row.verdict, row.certain) == (OPEN, False)
    assert row.detail.startswith("hint: ")
    assert "CUDA 11.8" in row.detail
    answered = only(judged(RULES, driver("470.82.01"), gpu("NVIDIA H100", "9.0", seen_by="nvml")), BRANCH)
    assert answered.verdict is YES


def test_windows_numbers_run_on_inside_a_branch() -> None:
    wsl = system(wsl=True)
    pascal = gpu("NVIDIA GeForce GTX 1080", "6.1")
    assert only(judged(RULES, driver("582.28"), pascal, wsl), BRANCH).verdict is YES
    assert only(judged(RULES, driver("591.44"), pascal, wsl), BRANCH).verdict is NO
    assert only(judged(RULES, driver("572.61"), gpu("NVIDIA GeForce RTX 5090", "12.0"), wsl), BRANCH).verdict is YES


def test_without_a_capability_or_a_driver_nothing_is_said() -> None:
    assert judged(RULES, driver("580.65.06"), gpu("NVIDIA GPU", None)) == []
    assert judged(RULES, gpu("NVIDIA H200", "9.0")) == []
    other = gpu("Some GPU", "9.0")
    other.attributes["vendor"] = "metax"
    assert judged(RULES, driver("550.54.15"), other, toolkit("13.0")) == []


@pytest.mark.parametrize(
    ("cc", "version", "verdict"),
    [
        ("9.0", "13.0.88", YES), ("9.0", "11.7", NO), ("12.0", "12.6", NO), ("12.0", "12.8.1", YES), ("7.0", "12.9.1", YES),
        ("7.0", "13.0", NO), ("3.7", "12.0", OPEN), ("99.0", "13.0", None),
    ],
)  # fmt: skip
def test_toolkits(cc: str, version: str, verdict: Verdict | None) -> None:
    rows = [r for r in judged(RULES, gpu("NVIDIA GPU", cc), toolkit(version)) if r.rule == TOOLKIT]
    assert [r.verdict for r in rows] == ([] if verdict is None else [verdict])
    if verdict is NO:
        assert "only when something is compiled" in rows[0].detail
