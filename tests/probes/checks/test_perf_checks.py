"""The findings about measurements: what is too slow, wrong, slowed, uneven, unstable; and what is none of that."""

from datetime import date
from typing import Any

import pytest

from infra_doctor.plugin import CheckContext, Component, Confidence, Finding, Measurement, Status
from infra_doctor_probes.checks import perf_low, perf_throttled, perf_uneven, perf_unstable, perf_wrong_result

ALL = [*perf_low.CHECKS, *perf_throttled.CHECKS, *perf_uneven.CHECKS, *perf_unstable.CHECKS, *perf_wrong_result.CHECKS]
GPUS = tuple(Component(key=f"gpu:{n}", kind="gpu", name="NVIDIA H200") for n in range(4))
OTHER = Component(key="gpu:9", kind="gpu", name="NVIDIA L4")


def measured(value: float = 700.0, device: str | None = "gpu:0", **more: Any) -> Measurement:
    conditions = {"low": 0.5, "throttle": ["sw_power_cap"], "other_processes": 0, **more.pop("conditions", {})}
    found = {"benchmark": "gemm", "name": "bf16 8192x8192x8192", "unit": "FLOP/s", "expected": 1000.0, "spread": 0.01,
             "expected_source": "a table", "ratio": value / 1000.0, "verified": True}  # fmt: skip
    return Measurement(value=value, device=device, conditions=conditions, **{**found, **more})


def run(*measurements: Measurement) -> dict[str, list[Finding]]:
    ctx = CheckContext(
        targets=(), components=(*GPUS, OTHER), facts=(), today=date(2026, 1, 1), measurements=measurements
    )
    return {c.id: list(c.run(ctx)) for c in ALL}


def bad(found: dict[str, list[Finding]]) -> dict[str, Status]:
    return {i: f.status for i, listed in found.items() for f in listed if f.status in {Status.WARN, Status.FAIL}}


def test_nothing_measured_is_skipped_everywhere() -> None:
    assert {f.status for listed in run().values() for f in listed} == {Status.SKIP}


def test_a_healthy_machine_gives_no_warning() -> None:
    found = run(*(measured(700.0 + 5 * n, g.key) for n, g in enumerate(GPUS)))
    assert not bad(found)
    assert {i for i, listed in found.items() if listed[0].status is Status.PASS} == {
        "PERF-LOW-GEMM", "PERF-THROTTLED", "PERF-UNEVEN", "PERF-UNSTABLE", "PERF-WRONG-RESULT",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("one", "wanted"),
    [
        (measured(400.0), {"PERF-LOW-GEMM": Status.WARN}),
        (measured(400.0, conditions={"low": 0.0}), {}),  # an uncertain row
        (measured(400.0, expected=None, ratio=None), {}),
        (measured(verified=False), {"PERF-WRONG-RESULT": Status.FAIL}),
        (measured(conditions={"throttle": ["hw_thermal_slowdown"], "slowed_by": ["hw_thermal_slowdown"]}), {"PERF-THROTTLED": Status.WARN}),
        (measured(spread=0.3), {"PERF-UNSTABLE": Status.WARN}),
        (measured(device="cpu", spread=0.5), {}),
        (measured(device=None, spread=0.5, benchmark="bandwidth", name="triad 1", expected=None, ratio=None), {}),
    ],
)  # fmt: skip
def test_one_measurement(one: Measurement, wanted: dict[str, Status]) -> None:
    assert bad(run(one)) == wanted


def test_others_on_the_device_make_it_a_hint() -> None:
    (found,) = run(measured(400.0, conditions={"other_processes": 2}))["PERF-LOW-GEMM"]
    assert found.confidence is Confidence.HEURISTIC and "Other processes" in found.detail


def test_one_gpu_below_its_peers() -> None:
    values = [700.0, 705.0, 600.0, 702.0]
    found = run(*(measured(v, g.key) for v, g in zip(values, GPUS, strict=True)))
    assert bad(found) == {"PERF-UNEVEN": Status.WARN}
    (uneven,) = found["PERF-UNEVEN"]
    assert "gpu:2" in uneven.subject and "its peers reach 702" in uneven.title


def test_devices_of_two_models_are_not_compared() -> None:
    found = run(measured(700.0, "gpu:0"), measured(100.0, "gpu:9", expected=None, ratio=None))
    assert found["PERF-UNEVEN"][0].status is Status.SKIP


def test_clocks_that_were_not_read_are_not_healthy() -> None:
    found = run(Measurement(benchmark="gemm", name="x", value=1.0, unit="FLOP/s", device="gpu:0", verified=True))
    assert found["PERF-THROTTLED"][0].status is Status.SKIP and "not read" in found["PERF-THROTTLED"][0].title
