"""The right sides of a policy's lines: what is read, what is refused and how that is said."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_doctor.model.policy import UNLIMITED, Clause, SpecKind
from infra_doctor.policy.specs import SpecError, both, contradict, nearest, read_spec, read_threshold, shown
from tests.core.policy.lab import QUIET, short

GIB = 2**30


def clauses(kind: SpecKind, value: object) -> list[tuple[str, object]]:
    return [(c.operator, c.value) for c in read_spec(kind, value).clauses]


@pytest.mark.parametrize(
    ("kind", "value", "wanted"),
    [
        (SpecKind.COUNT, 8, [("==", 8)]),
        (SpecKind.COUNT, "8", [("==", 8)]),
        (SpecKind.COUNT, " >= 4 , <= 8 ", [(">=", 4), ("<=", 8)]),
        (SpecKind.COUNT, 0, [("==", 0)]),
        (SpecKind.COUNT, "!=3", [("!=", 3)]),
        (SpecKind.SIZE, "80 GiB", [(">=", 80 * GIB)]),
        (SpecKind.SIZE, ">=80GB", [(">=", 80 * 10**9)]),
        (SpecKind.SIZE, "<1.5 TiB", [("<", 1536 * GIB)]),
        (SpecKind.SIZE, "> 1_024 MiB", [(">", GIB)]),
        (SpecKind.SIZE, "9007199254740993 B", [(">=", 9007199254740993)]),  # no double holds it
        (SpecKind.SIZE, "unlimited", [(">=", UNLIMITED)]),
        (SpecKind.SIZE, "<unlimited", [("<", UNLIMITED)]),
        (SpecKind.VERSION, ">=580,<600", [(">=", "580"), ("<", "600")]),
        (SpecKind.VERSION, "12.8.*", [("==", "12.8.*")]),
        (SpecKind.VERSION, "= 12.8.*", [("==", "12.8.*")]),
        (SpecKind.VERSION, "!= 2.9.*", [("!=", "2.9.*")]),
        (SpecKind.VERSION, "~=2.8", [("~=", "2.8")]),
        (SpecKind.VERSION, "===580.159.04", [("===", "580.159.04")]),
        (SpecKind.VERSION, "==2.8.0+cu128", [("==", "2.8.0+cu128")]),
        (SpecKind.VERSION, ">=R580", [(">=", "R580")]),
        (SpecKind.VERSION, ">=8.2.RC1.alpha003", [(">=", "8.2.RC1.alpha003")]),
        (SpecKind.VERSION, ">=2.7.1.post11,!=2.9.0.dev20260101", [(">=", "2.7.1.post11"), ("!=", "2.9.0.dev20260101")]),
    ],
)  # fmt: skip
def test_ranges(kind: SpecKind, value: object, wanted: list[tuple[str, object]]) -> None:
    assert clauses(kind, value) == wanted


@pytest.mark.parametrize("kind", list(SpecKind))
@pytest.mark.parametrize(("value", "present"), [(True, True), (False, False), ("true", True), (" false ", False)])
def test_that_a_thing_must_be_there_or_not(kind: SpecKind, value: object, present: bool) -> None:
    spec = read_spec(kind, value)
    assert (spec.present, spec.clauses, spec.names) == (present, (), ())


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    ids=short,
    argvalues=[
        (SpecKind.COUNT, -1, "-1: a number such as 8"),
        (SpecKind.COUNT, 8.0, "8.0: a number"),
        pytest.param(SpecKind.COUNT, 10**5000, "a number of thousands of digits", id="huge"),
        (SpecKind.COUNT, 10**15, "a number such as"),
        (SpecKind.COUNT, ">=8 GPUs", "a number such as"),
        (SpecKind.COUNT, "~=8", "a number such as"),
        (SpecKind.COUNT, "٣", "a number such as"),
        (SpecKind.COUNT, "8,", "a number such as"),
        (SpecKind.COUNT, "", "a number such as"),
        (SpecKind.COUNT, [8], "[8]: a number"),
        (SpecKind.COUNT, {"a": 1}, "a number"),
        (SpecKind.COUNT, ">8,<9", "nothing can be all of this"),
        (SpecKind.COUNT, "<0", "nothing can be all of this"),
        (SpecKind.COUNT, "8,9", "nothing can be all of this"),
        (SpecKind.COUNT, "==8,!=8", "nothing can be all of this"),
        (SpecKind.SIZE, 80, "80: a size with its unit"),
        (SpecKind.SIZE, "80", "the unit is missing, such as GiB, MiB or GB"),
        (SpecKind.SIZE, "80 GBB", "no such unit: 'GBB'; nearest: GB"),
        (SpecKind.SIZE, "80 gb", "no such unit: 'gb'; nearest: GB, GiB"),
        (SpecKind.SIZE, "80 xyz", "units: KiB, MiB"),
        (SpecKind.SIZE, "80 GiB/s", "no such unit"),
        (SpecKind.SIZE, "1,000 MB", "the unit is missing"),
        (SpecKind.SIZE, ">=1e999 GiB", "more than any machine has"),
        (SpecKind.SIZE, f">={'9' * 900} B", "more than any machine has"),
        (SpecKind.SIZE, "-1 GiB", "a size with its unit"),
        (SpecKind.SIZE, ">=nan GiB", "a size with its unit"),
        (SpecKind.SIZE, ">=80 GiB, <79 GiB", "nothing can be all of this"),
        (SpecKind.VERSION, 580, "580: a range of versions"),
        (SpecKind.VERSION, 2.8, "2.8: a range of versions"),
        (SpecKind.VERSION, "2.8", "say which versions: \"==2.8.*\""),
        (SpecKind.VERSION, "=2.8", "say which versions"),
        (SpecKind.VERSION, "*", "any version is written as true"),
        (SpecKind.VERSION, "latest", "a range of versions"),
        (SpecKind.VERSION, "^2.8", "a range of versions"),
        (SpecKind.VERSION, "==2.8.x", "a range of versions"),  # `x` would be left out of the order in silence
        (SpecKind.VERSION, "==8.2.RC1.*", "a range of versions"),
        (SpecKind.VERSION, ">=2.8.*", "`.*` goes with == and != only"),
        (SpecKind.VERSION, "~=2", "two numbers at least, such as \"~=2.0\""),
        (SpecKind.VERSION, ">=2.8;<3", "a range of versions"),
        (SpecKind.VERSION, ">=3,<2", "'>=3, <2': nothing can be all of this"),
        (SpecKind.VERSION, ">2,<2", "nothing can be all of this"),
        (SpecKind.VERSION, "==2.8.*,>=2.9", "nothing can be all of this"),
        (SpecKind.VERSION, "==2.8.*,==2.9.*", "nothing can be all of this"),
        (SpecKind.VERSION, "==2.8,!=2.8", "nothing can be all of this"),
        (SpecKind.VERSION, "~=2.8,<2.8", "nothing can be all of this"),
        (SpecKind.VERSION, ">=" + "1" * 300, "a range of versions"),
        (SpecKind.VERSION, ">=1" + ".1" * 600, "longer than 1000 characters"),
        (SpecKind.NAME, [], "a name, or a list of names"),
        (SpecKind.NAME, "", "a name"),
        (SpecKind.NAME, "H100,,H200", "a name"),
        (SpecKind.NAME, ["H100", 7], "a name"),
        (SpecKind.NAME, 4090, "a name"),
        (SpecKind.NAME, ">=H100", "names are not compared"),
        (SpecKind.NAME, "!=H100", "names are not compared"),
        (SpecKind.NAME, "[", "a name"),
        (SpecKind.FLAG, 1, "1: true or false"),
        (SpecKind.FLAG, "yes", "'yes': true or false"),
        (SpecKind.FLAG, [True], "true or false"),
    ],
)  # fmt: skip
def test_what_is_refused(kind: SpecKind, value: object, said: str) -> None:
    with pytest.raises(SpecError) as error:
        read_spec(kind, value)
    assert said in str(error.value)
    assert len(str(error.value)) < 400


def test_names() -> None:
    assert read_spec(SpecKind.NAME, " H100 , H200,H100").names == ("H100", "H200")
    assert read_spec(SpecKind.NAME, ["NVIDIA H100, 80GB", "*"]).names == ("NVIDIA H100, 80GB", "*")
    assert read_spec(SpecKind.NAME, ["a", "b"]).text == "a or b"


@pytest.mark.parametrize(
    ("text", "tolerance"),
    [("==79.6 GiB", GIB // 20), ("==80 GiB", GIB // 2), ("==1 B", 0), ("==80.00 GB", 5 * 10**6), (">=79.6 GiB", 0),
     ("!=80 GiB", GIB // 2)],
)  # fmt: skip
def test_equality_of_sizes_looks_at_the_digits_that_were_written(text: str, tolerance: int) -> None:
    assert read_spec(SpecKind.SIZE, text).clauses[0].tolerance == tolerance


@pytest.mark.parametrize(
    ("text", "unit", "bound"),
    [
        (">=700 TFLOP/s", "FLOP/s", 7e14),
        (">=700 TFLOPS", "FLOP/s", 7e14),
        (">= 80 %", "1", 0.8),
        ("<=10 us", "s", 1e-5),
        ("<=10 µs", "s", 1e-5),
        ("<10 μs", "s", 1e-5),
        (">3.9TB/s", "B/s", 3.9e12),
        (">=400 Gbit/s", "B/s", 5e10),
        (">=1_000 TOPS", "OP/s", 1e15),
        (">=1.5 GiB/s", "B/s", 1.5 * GIB),
    ],
)
def test_thresholds(text: str, unit: str, bound: float) -> None:
    found, (clause,) = read_threshold(text)
    assert (found, clause.value) == (unit, pytest.approx(bound))


@pytest.mark.parametrize(
    ("value", "said"),
    ids=short,
    argvalues=[
        ("80%", "a bound with its unit"),
        ("==80%", "a bound with its unit"),
        (0.8, "0.8: a bound with its unit"),
        (True, "a bound with its unit"),
        ({"a": ">=1%"}, "a bound with its unit"),
        (">=80", "the unit is missing, such as TFLOP/s"),
        (">=80 Gb/s", "Gbit/s for bits, GB/s for bytes"),  # a guess would be wrong by a factor of eight
        (">=80 Gbps", "Gbit/s for bits, GB/s for bytes"),
        (">=80 TFLOPs", "nearest: TFLOPS"),
        (">=1 GB/s,<=80%", "its parts are in different units"),
        (">=90%,<=80%", "nothing can be all of this"),
        (">=1e999 GB/s", "more than anything reaches"),
        (">=inf GB/s", "a bound with its unit"),
        (">=80%,", "a bound with its unit"),
        (">=8" + "0" * 2000 + "%", "a bound with its unit"),
    ],
)
def test_what_no_threshold_is(value: object, said: str) -> None:
    with pytest.raises(SpecError) as error:
        read_threshold(value)
    assert said in str(error.value)


def test_two_ranges_that_must_both_hold() -> None:
    one, other = read_spec(SpecKind.VERSION, ">=580"), read_spec(SpecKind.VERSION, "<600")
    found = both(one, other)
    assert found is not None
    assert (found.text, len(found.clauses)) == (">=580, <600", 2)
    assert both(one, one) is one
    assert both(one, read_spec(SpecKind.VERSION, True)) is None
    with pytest.raises(SpecError, match="nothing can be all of this"):
        both(one, read_spec(SpecKind.VERSION, "<500"))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.dates() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
CLAUSE_LIKE = st.lists(
    st.sampled_from([">=", "<=", "==", "===", "!=", "~=", ">", "<", "=", ",", " ", "*", ".*", ".", "1", "2.8", "580", "RC1",
                     "GiB", "MB", "%", "TFLOP/s", "us", "+cu128", "e9", "-", "_", "true", "unlimited", "v", "\n", "٣"]),
    max_size=9,
).map("".join)  # fmt: skip


@QUIET
@given(kind=st.sampled_from(list(SpecKind)), value=ANYTHING | CLAUSE_LIKE)
def test_whatever_it_is_it_is_read_or_refused(kind: SpecKind, value: object) -> None:
    try:
        spec = read_spec(kind, value)
    except SpecError as error:
        assert str(error)
        assert "\n" not in str(error)
    else:
        assert spec.kind is kind
        assert not contradict(spec.clauses, whole=kind is SpecKind.COUNT)


@QUIET
@given(value=ANYTHING | CLAUSE_LIKE)
def test_whatever_a_threshold_is_it_is_read_or_refused(value: object) -> None:
    try:
        _, found = read_threshold(value)
    except SpecError as error:
        assert str(error)
    else:
        assert all(isinstance(c.value, float) and math.isfinite(c.value) for c in found)


@QUIET
@given(
    bounds=st.lists(
        st.tuples(st.sampled_from(["==", "!=", ">=", "<=", ">", "<"]), st.integers(min_value=0, max_value=6)), min_size=1, max_size=4
    )
)  # fmt: skip
def test_a_contradiction_is_one(bounds: list[tuple[str, int]]) -> None:
    """What is called contradictory has no solution; with numbers, what has none and uses one `!=` at most is called so."""
    listed = [Clause(operator=o, value=v) for o, v in bounds]
    tests = {"==": int.__eq__, "!=": int.__ne__, ">=": int.__ge__, "<=": int.__le__, ">": int.__gt__, "<": int.__lt__}
    possible = any(all(tests[o](n, v) for o, v in bounds) for n in range(9))
    if contradict(listed, whole=True):
        assert not possible
    elif not possible:
        assert sum(o == "!=" for o, _ in bounds) > 1


def test_values_in_messages() -> None:
    assert shown("\x1b[31m\u202e") == "'\\x1b[31m\\u202e'"
    assert shown(["a\u202eb"]).isprintable()
    assert len(shown("x" * 500)) == 80
    assert nearest("gpu.cont", ["gpu.count", "gpu.model", "driver"]).startswith("gpu.count")
    assert nearest("zzzz", ["gpu.count"]) == ""
