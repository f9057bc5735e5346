"""Vendors' versions in order."""

import pytest

from infra_doctor.compat.version import in_range, major, major_minor, numbers, parse_version, version_key


@pytest.mark.parametrize(
    "rising",
    [
        ("525.60.13", "550.54.15", "570.26", "570.124.06", "580.65.06", "580.159.04"),
        ("8.0.RC1", "8.0.RC2", "8.0.RC3", "8.0.0", "8.2.RC1.alpha001", "8.2.RC1", "8.2.RC1.1", "8.5.0"),
        ("2.11.0.dev20260101", "2.11.0rc1", "2.11.0", "2.11.0.post1", "2.11.1"),
        ("9.9.0.52", "9.10.0.56", "9.19.0", "9.19.0.56", "9.19.1.2"),
    ],
)
def test_versions_rise(rising: tuple[str, ...]) -> None:
    falling = rising[::-1]
    assert tuple(sorted(falling, key=version_key)) == rising


def test_local_parts_and_trailing_zeros_do_not_count() -> None:
    assert parse_version("2.11.0+cu130") == parse_version("2.11") == parse_version("v2.11.0.0")
    assert parse_version("R580") == parse_version("580")
    assert parse_version("stable") is None
    assert parse_version("") is None


def test_parts_of_a_version() -> None:
    assert numbers("13.0.88") == (13, 0, 88)
    assert (major("12.x"), major(None), major("none")) == (12, None, None)
    assert (major_minor("13"), major_minor("2.7.1.post11")) == ((13, 0), (2, 7))


@pytest.mark.parametrize(
    ("version", "spec", "meets"),
    [
        ("3.11.4", ">=3.7; <=3.11.4", True),
        ("3.12.0", ">=3.7, <=3.11.4", False),
        ("3.20.3", "3.20.x", True),
        ("1.24.3", "<=1.24", True),
        ("2.13.1", "==2.13.*", True),
        ("3.9.0", "~=3.8.0", False),
        ("1.0", "nothing", None),
    ],
)
def test_ranges(version: str, spec: str, meets: bool | None) -> None:
    assert in_range(version, spec) is meets


def test_what_is_too_long_is_no_version() -> None:
    assert parse_version("9" * 5000) is None
    assert numbers("1." * 5000) == ()
    assert in_range("9" * 5000, ">=1") is None
