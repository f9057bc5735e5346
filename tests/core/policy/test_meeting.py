"""Whether what was observed meets a policy's line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import Specifier

from infra_doctor.model.policy import UNLIMITED, SpecKind
from infra_doctor.policy.meeting import meets, named
from infra_doctor.policy.specs import read_spec
from tests.core.policy.lab import QUIET

GIB = 2**30


@pytest.mark.parametrize(
    ("version", "spec", "wanted"),
    [
        # PEP 440: https://peps.python.org/pep-0440/#version-specifiers
        ("2.8.0", ">=2.8,<3", True),
        ("2.8.0+cu128", "==2.8.0", True),  # a local part counts where the bound has one alone
        ("2.8.0", "==2.8.0+cu128", False),
        ("2.8.0+cu128", "==2.8.0+cu128", True),
        ("2.9.0rc1", ">=2.9", False),
        ("2.9.0rc1", ">=2.9.0rc1", True),
        ("2.9.0rc1", "==2.9.*", True),  # installed as it is, it counts
        ("2.9.0.dev20260101", "<2.9", False),
        ("2.9.0.dev20260101", ">=2.8", True),
        ("2.7.1.post11", "==2.7.1.*", True),
        ("2.7.1.post11", ">2.7.1", False),
        ("2.7.1.post11", ">=2.7.1", True),
        ("2.7.1.post11", "==2.7.1", False),
        ("2.8", "~=2.8.0", True),
        ("2.9", "~=2.8.0", False),
        ("1!1.0", ">=2.0", True),
        ("13", "==13.0.*", True),
        # as it stands
        ("580.159.04", "===580.159.04", True),
        ("580.159.4", "===580.159.04", False),
        ("580.159.04", "==580.159.4", True),
        # vendors' own
        ("R580", ">=580,<600", True),
        ("580.159.04", ">=R580", True),
        ("8.2.RC1.alpha003", ">=8.2", False),
        ("8.2.RC1.alpha003", ">=8.1", True),
        ("8.2.RC1.alpha003", "<8.2", False),  # as PEP 440 treats 8.2rc1
        ("8.2.RC1.alpha003", "<8.2.RC1", True),
        ("8.2.RC1.alpha003", "==8.2.*", True),
        ("8.2.RC1.alpha003", "!=8.2.*", False),
        ("8.2.RC1.alpha003", "~=8.0", True),
        ("8.2.RC1.alpha003", "~=8.3", False),
        ("8.2.RC1.alpha003", "==8.2.RC1.alpha003", True),
        ("8.2.RC1", ">=8.2.RC1.alpha003", True),
        ("8.0.0.SPC1.B010", ">8.0.0", False),  # what is added to 8.0.0, as a post-release
        ("6.18.44-generic", ">=6.2,<7", True),
        ("5.15.0-1066-aws", ">5.15.0", True),
        ("1.1.1w", "==1.1.1", True),
        # no version that orders
        ("", ">=1", None),
        ("unknown", ">=1", None),
        ("unknown", ">=1,===1", False),
        ("1" * 300, ">=8.2.RC1.alpha003", None),
    ],
)  # fmt: skip
def test_versions(version: str, spec: str, wanted: bool | None) -> None:
    assert meets(read_spec(SpecKind.VERSION, spec), version) is wanted


@pytest.mark.parametrize(
    ("spec", "value", "wanted"),
    [
        (8, 8, True), (8, 7, False), (8, 9, False), (">=4", 4, True), (">4", 4, False), ("<=4", 4, True), ("<4", 4, False),
        ("!=3", 3, False), (True, 1, True), (True, 0, False), (True, None, False), (False, 0, True), (False, None, True),
        (False, 2, False), (0, None, True), (0, 0, True), ("<=2", None, True), (">=1", None, False), (8, True, None), (8, "8", None),
    ],
)  # fmt: skip
def test_counts(spec: object, value: object, wanted: bool | None) -> None:
    assert meets(read_spec(SpecKind.COUNT, spec), value) is wanted


@pytest.mark.parametrize(
    ("spec", "value", "wanted"),
    [
        (8, 8, True),  # what was asked for was seen
        (8, 3, None), (8, 9, False), (0, 0, None), (">=2", 3, True), (">=4", 3, None), (">2", 3, True), ("<=4", 3, None),
        ("<=4", 5, False), ("<4", 4, False), ("!=4", 5, True), ("!=4", 3, None), ("!=4", 4, None), (True, 1, True),
        (True, 0, None), (False, 0, None), (False, 1, False), (">=2,<=4", 3, None), (">=2,<=4", 5, False),
    ],
)  # fmt: skip
def test_counts_of_which_more_may_be_there(spec: object, value: int, wanted: bool | None) -> None:
    assert meets(read_spec(SpecKind.COUNT, spec), value, at_least=True) is wanted


@QUIET
@given(spec=st.sampled_from([8, 0, ">=2", "<=4", "<3", ">1", "!=4", True, False, ">=2,<=4"]), seen=st.integers(0, 9), more=st.integers(0, 9))  # fmt: skip
def test_what_is_settled_stays_so_whatever_comes(spec: object, seen: int, more: int) -> None:
    """Apart from what was asked for and seen to the number."""
    read = read_spec(SpecKind.COUNT, spec)
    verdict = meets(read, seen, at_least=True)
    if verdict is not None and not (verdict and spec == 8):
        assert meets(read, seen + more) is verdict


@pytest.mark.parametrize(
    ("spec", "value", "wanted"),
    [
        ("==79.6 GiB", int(79.58 * GIB), True),
        ("==79.6 GiB", int(79.7 * GIB), False),
        ("==80 GiB", int(79.6 * GIB), True),
        ("!=80 GiB", int(79.6 * GIB), False),
        (">=80 GiB", int(79.6 * GIB), False),
        (">=80 GB", int(79.6 * GIB), True),
        ("80 GiB", 80 * GIB, True),  # alone, at least
        ("80 GiB", 81 * GIB, True),
        (">80 GiB", 80 * GIB, False),
        ("==64 MiB", 64 * 2**20, True),
        ("unlimited", UNLIMITED, True),
        ("unlimited", 10**18, False),
        ("<unlimited", 10**18, True),
        (">=1 GiB", UNLIMITED, True),
        (">=1 GiB", None, False),
        (False, None, True),
        (True, 5, True),
        (">=1 GiB", "1 GiB", None),
        (">=1 GiB", True, None),
    ],
)
def test_sizes(spec: object, value: object, wanted: bool | None) -> None:
    assert meets(read_spec(SpecKind.SIZE, spec), value) is wanted


@pytest.mark.parametrize(
    ("name", "pattern", "wanted"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100", True),
        ("NVIDIA A100-SXM4-80GB", "a100 sxm4", True),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB", False),  # not in a row
        ("NVIDIA L40", "L4", False),
        ("NVIDIA L40S", "L40", False),
        ("NVIDIA GeForce RTX 4070 Ti", "RTX 4070", True),
        ("NVIDIA GeForce RTX 4070 Ti", "*RTX 4070", False),  # with a wildcard it is the whole name
        ("NVIDIA H200", "NVIDIA H?00", True),
        ("GA100 [A100 PCIe 40GB]", "GA100 [A100 PCIe 40GB]", True),  # a bracket is a bracket
        ("GA100 [A100 PCIe 40GB]", "[A100", True),
        ("Ascend910B4", "Ascend910B*", True),
        ("昇腾 910B", "昇腾", True),
        ("昇腾 910B", "昇", False),
        ("NVIDIA H200", "", False),
        ("NVIDIA H200", "-", False),
    ],
)
def test_names(name: str, pattern: str, wanted: bool) -> None:
    assert named(name, pattern) is wanted


@pytest.mark.parametrize(("spec", "value", "wanted"), [
    (True, True, True), (True, False, False), (False, False, True), (False, True, False), (True, None, False), (False, None, True),
])  # fmt: skip
def test_flags(spec: bool, value: bool | None, wanted: bool) -> None:
    assert meets(read_spec(SpecKind.FLAG, spec), value) is wanted


@pytest.mark.parametrize(("spec", "value", "wanted"), [
    (True, "", True), (True, None, False), (False, "1.0", False), (False, None, True), (">=1", None, False), (">=1", True, None),
])  # fmt: skip
def test_that_a_version_is_there(spec: object, value: object, wanted: bool | None) -> None:
    assert meets(read_spec(SpecKind.VERSION, spec), value) is wanted


VERSIONS = st.from_regex(r"[vVR]?[0-9]{1,4}(\.[0-9]{1,3}){0,3}((\.|-|_|)(rc|RC|alpha|post|dev|SPC|x|generic)[0-9]{0,3}){0,2}(\+cu12)?", fullmatch=True)  # fmt: skip


@QUIET
@given(version=VERSIONS | st.text(max_size=20), bound=VERSIONS, operator=st.sampled_from([">=", "<=", "==", "!=", "<", ">", "~=", "==="]))  # fmt: skip
def test_any_version_is_compared_or_not_told(version: str, bound: str, operator: str) -> None:
    from infra_doctor.policy.specs import SpecError

    try:
        spec = read_spec(SpecKind.VERSION, f"{operator}{bound}")
    except SpecError:
        return
    verdict = meets(spec, version)
    assert verdict in (True, False, None)
    if operator == "!=":
        assert verdict is None or verdict is not meets(read_spec(SpecKind.VERSION, f"=={bound}"), version)
    if operator == "<=" and verdict is False:
        assert meets(read_spec(SpecKind.VERSION, f"<{bound}"), version) is False


PLAIN = st.lists(st.integers(0, 12), min_size=1, max_size=4).map(lambda numbers: ".".join(map(str, numbers)))


@QUIET
@given(version=PLAIN, local=st.sampled_from(["", "+cu128"]), bound=PLAIN, operator=st.sampled_from([">=", "<=", "==", "!=", "<", ">", "~=", "==*", "!=*"]))  # fmt: skip
def test_plain_versions_are_compared_as_pep_440_has_it(version: str, local: str, bound: str, operator: str) -> None:
    version += local
    spec = f"{operator.rstrip('*')}{bound}{'.*' if operator.endswith('*') else ''}"
    if operator == "~=" and "." not in bound:
        return
    assert meets(read_spec(SpecKind.VERSION, spec), version) is Specifier(spec).contains(version, prereleases=True)
