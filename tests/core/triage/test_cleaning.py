"""A line without what its carriers put around it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_doctor.errors import InputError
from infra_doctor.triage.cleaning import clean
from tests.core.triage.lab import triage_of

MESSAGE = "RuntimeError: it broke"


@pytest.mark.parametrize(
    ("raw", "rank"),
    [
        (f"[rank3]: {MESSAGE}", "3"),
        (f"[rank3]:{MESSAGE}", "3"),
        (f"[default12]:{MESSAGE}", "12"),
        (f"[1,7]<stderr>: {MESSAGE}", "7"),
        (f"  5: {MESSAGE}", "5"),
        (f"rank 4: {MESSAGE}", "4"),
        (f"(EngineCore_DP0 pid=3473945) {MESSAGE}", None),
        (f"(RayWorkerWrapper pid=123, ip=192.0.2.4) {MESSAGE}", None),
        (f"(pid=88) {MESSAGE}", None),
        (f"trainer-1  | {MESSAGE}", None),
        (f"[pod/train-0/main] {MESSAGE}", None),
        (f"2026-11-20T10:00:00.123456789Z stderr F {MESSAGE}", None),
        (f"2026-11-20T10:00:00.1234567Z ##[error]{MESSAGE}", None),
        (f"Nov 20 10:00:00 node17 python[812]: {MESSAGE}", None),
        (f"[   12.345678] {MESSAGE}", None),
        (f"dmesg: [    3.548555] {MESSAGE}", None),
        (f"[Fri Nov 20 10:00:00 2026] {MESSAGE}", None),
        (f"2026-11-20 10:00:00,123 {MESSAGE}", None),
        (f"E       {MESSAGE}", None),
        (f"│ {MESSAGE}      │", None),
        (f'{{"log":"{MESSAGE}\\n","stream":"stderr","time":"2026-11-20T10:00:00Z"}}', None),
        (f'{{"level":"error","ts":1.5,"msg":"{MESSAGE}"}}', None),
        (f'{{"log":"[rank6]: {MESSAGE}\\n","stream":"stderr"}}', "6"),
        (f"trainer-1  | 2026-11-20 10:00:00,123 [rank2]: {MESSAGE}", "2"),
        (f"{MESSAGE}\r", None),
        (MESSAGE, None),
    ],
)
def test_the_message_is_left(raw: str, rank: str | None) -> None:
    line = clean(raw, 9)
    assert (line.text.strip(), line.rank, line.number) == (MESSAGE, rank, 9)


@pytest.mark.parametrize(
    "raw",
    [
        "GPU 0: NVIDIA H200 (UUID: GPU-x)",
        "Tesla: 12 devices",
        '{"not": "a message"}',
        '{"broken": ',
        "[INFO] text",
        "",
        "(no pid here) text",
        '{"log": 12}',
    ],
)
def test_other_text_stays(raw: str) -> None:
    assert clean(raw, 1).text == raw


def test_writers_are_told_apart() -> None:
    streams = [clean(raw, 1).stream for raw in ("[rank1]: x", "[rank2]: x", "a | x", "b | x", "(W pid=1) x", "x")]
    assert len(set(streams)) == 6 and streams[-1] == ""


def test_a_message_that_its_carrier_cut_goes_on() -> None:
    assert clean("2026-11-20T10:00:00.1Z stderr P half", 1).broken
    assert clean('{"log":"half","stream":"stderr","time":"t"}', 1).broken
    assert not clean('{"log":"whole\\n","stream":"stderr","time":"t"}', 1).broken


def test_times_can_be_compared() -> None:
    times = [
        clean(r, 1).time
        for r in ("2026-11-20T10:00:00.5Z stderr F x", "[2026-11-20 10:00:01,200] x", "2026/11/20 10:00:02 x")
    ]
    assert times == sorted(times) and all(times)


def test_a_line_of_nested_json_is_no_trouble() -> None:
    assert clean("{" * 60_000 + "}", 1).text.startswith("{")
    assert clean("[" * 50_000, 1).text.startswith("[")


@given(st.text(max_size=400))
def test_any_line_is_cleaned(raw: str) -> None:
    line = clean(raw, 3)
    assert line.number == 3 and len(line.text) <= len(raw) * 2 + 100


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=2000))
def test_any_bytes_are_a_log_or_one_error(raw: bytes) -> None:
    try:
        triage = triage_of(raw)
    except InputError as error:
        assert str(error).startswith("job.log: ")
    else:
        assert triage.inputs[0].size_bytes >= 0
