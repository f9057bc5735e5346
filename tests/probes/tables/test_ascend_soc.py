"""Which torch_npu knows which chip, and what a chip's name tells."""

import pytest

from infra_doctor_probes.tables.ascend_soc import FAMILIES, family_of, first_releases, knows, release_of


@pytest.mark.parametrize(
    ("version", "chip", "known"),
    [
        ("2.1.0rc1", "Ascend310B4", False), ("2.1.0", "Ascend310B4", False), ("2.1.0.post2", "Ascend310B4", False),
        ("2.1.0.post3", "Ascend310B4", True), ("2.1.0.post4", "Ascend310B4", None), ("2.1.0.post5", "Ascend310B4", True),
        ("2.2.0rc1", "Ascend310B4", None), ("2.2.0", "Ascend310B4", True), ("2.0.1", "Ascend310B4", False),
        ("2.1.0", "Ascend310B1", True), ("2.1.0", "Ascend910B3", True), ("1.8.1", "Ascend910B3", None),
        ("2.9.0", "Ascend950PR", False), ("2.9.0.post1", "Ascend950PR", False), ("2.9.0.post2", "Ascend950PR", True),
        ("2.9.1", "Ascend950PR", False), ("2.10.0", "Ascend950PR", True), ("2.13.0", "Ascend950PR", True),
        ("2.3.1", "Ascend910_9391", False), ("2.3.1.post2", "Ascend910_9391", True), ("2.4.0", "Ascend910_9391", True),
        ("2.1.0.post6", "Ascend910B4-1", True), ("2.1.0.post3", "Ascend910B4-1", False), ("2.1.0.post3", "Ascend910B4", True),
        ("2.9.0.dev20260101", "Ascend950PR", None), ("2.1.0+abc", "Ascend950PR", False), ("2.14.0.dev20260101", "Ascend950PR", True),
    ],
)  # fmt: skip
def test_knows(version: str, chip: str, known: bool | None) -> None:
    release = release_of(version)
    assert release is not None
    assert knows(release, chip) is known


@pytest.mark.parametrize("version", ["", "2.1", "latest", "2.1.0" + "x" * 61, "9999.1.0"])
def test_no_version(version: str) -> None:
    assert release_of(version) is None


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("Ascend910B3", "910B (A2)"), ("Ascend910B2C", "910B (A2)"), ("Ascend910B", "910"), ("Ascend910A", "910"),
        ("Ascend910ProB", "910"), ("Ascend910_9391", "910C (A3)"), ("Ascend310P3", "310P"), ("Ascend310B4", "310B"),
        ("Ascend950PR_9579", "950 (A5)"), ("Ascend910", ""), ("Ascend310", ""), ("Ascend NPU", ""), ("", ""),
        ("Ascend910B3" * 9, ""),
    ],
)  # fmt: skip
def test_family(name: str, family: str) -> None:
    assert family_of(name) == family
    assert not family or family in FAMILIES


def test_first_releases() -> None:
    assert first_releases("Ascend310B4") == ["2.2.0", "2.1.0.post3"]
    assert first_releases("Ascend910B3") == []
