"""Readings of a monitor's child, and what is made of them."""

import threading

from infra_doctor.model.monitoring import Monitor, Reading
from infra_doctor.runner.monitoring import Sampler, conditions, readings_of


def test_lines_of_another_form_give_no_readings() -> None:
    good = {
        "address": "0000:17:00.0",
        "power_w": 100,
        "throttle": ["gpu_idle"],
        "processes": [5],
        "note": "x",
        "flag": True,
    }
    (found,) = readings_of({"time_ns": 5, "devices": [good, 3, {"power_w": 1}, {"address": 7}]})
    assert found == Reading(
        time_ns=5, address="0000:17:00.0", numbers={"power_w": 100.0}, throttle=("gpu_idle",), processes=(5,)
    )
    for wrong in ({}, {"time_ns": "x", "devices": []}, {"time_ns": 1, "devices": {}}):
        assert not list(readings_of(wrong))


def test_conditions_sum_up() -> None:
    readings = [
        Reading(time_ns=n, address="a", numbers={"power_w": 100.0 + n}, throttle=("sw_power_cap",) + (("hw_slowdown",) if n < 2 else ()),
                processes=(1, 2) if n == 3 else (1,))
        for n in range(10)
    ]  # fmt: skip
    found = conditions(readings, own=(1,), harmful=("hw_slowdown", "hw_power_brake"))
    assert found["power_w"] == [100.0, 104.5, 109.0] and found["readings"] == 10
    assert found["throttle"] == ["hw_slowdown", "sw_power_cap"] and found["slowed_by"] == ["hw_slowdown"]
    assert found["other_processes"] == 1
    assert conditions([], own=(), harmful=()) == {}


def test_a_reason_seen_once_in_twenty_readings_is_no_condition() -> None:
    readings = [Reading(time_ns=n, address="a", throttle=("hw_slowdown",) if n == 0 else ()) for n in range(20)]
    found = conditions(readings, own=(), harmful=("hw_slowdown",))
    assert found["throttle"] == [] and "slowed_by" not in found


def test_the_sampler_reads_its_child_and_ends_it() -> None:
    sampler = Sampler(Monitor(id="fake", title="fake", module="tests.core.bench.fake_monitor"), 0.01)
    try:
        assert sampler.wait_for_first()
        assert sampler.between(0, 2**62, "0000:17:00.0")[0].numbers == {"power_w": 50.0}
        assert not sampler.between(0, 2**62, "0000:18:00.0")
    finally:
        sampler.end()
    assert sampler._process is not None and sampler._process.poll() is not None


def test_a_monitor_without_its_library_says_why() -> None:
    sampler = Sampler(Monitor(id="none", title="none", module="tests.core.bench.fake_monitor_without"), 0.01)
    try:
        assert not sampler.wait_for_first()
        assert sampler.error == "no library"
    finally:
        sampler.end()
    assert threading.active_count() < 50
