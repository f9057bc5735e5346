"""The runner of benchmarks: limits, workers that end, partial results, nothing left running."""

import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from infra_doctor.errors import TargetError
from infra_doctor.machine.agent import UNDER_WAY
from infra_doctor.model.benchmark import BenchContext, BenchDevice, Benchmark, Expected, Job, Suite
from infra_doctor.model.component import Target
from infra_doctor.runner.benching import BenchResult, Worker, devices_of, matched_devices, run_jobs

FAKE = str(Path(__file__).with_name("fake_worker.py"))
GPU = BenchDevice(kind="cuda", index=0, name="GPU", key="gpu:0000:17:00.0", properties={"pci_address": "0000:17:00.0"})
CONTEXT = BenchContext(
    devices=(GPU,), components=(), target=Target(key="target:/v", prefix="/v", executable=sys.executable, kind="venv"),
    suite=Suite.QUICK,
)  # fmt: skip


def expect(ctx: BenchContext, device: BenchDevice | None, result: Any) -> Expected | None:
    return Expected(value=200.0, source="a table", low=0.6) if device is not None else None


BENCHMARKS = {"b": Benchmark(id="b", title="b", worker=FAKE, plan=lambda ctx: (), expect=expect)}


def start(group: int = 0, request: str = "") -> Worker:
    return Worker(sys.executable, FAKE, os.environ, group, request)


def job(call: str, limit_s: float = 20.0, device: BenchDevice | None = GPU, **arguments: Any) -> Job:
    return Job(benchmark="b", title=f"the {call} job", call=call, arguments=arguments, device=device, limit_s=limit_s)


def run(*jobs: Job, cancel: threading.Event | None = None) -> tuple[BenchResult, list[Any]]:
    events: list[Any] = []
    found = run_jobs(jobs, BENCHMARKS, CONTEXT, start, start(), events.append, cancel or threading.Event())
    assert not UNDER_WAY  # every child was ended
    return found, events


def test_results_carry_what_is_expected() -> None:
    found, events = run(job("one", value=150.0), job("two", value=50.0, device=None))
    first, second = found.measurements
    assert (first.name, first.device, first.ratio, first.expected_source) == (
        "one",
        "gpu:0000:17:00.0",
        0.75,
        "a table",
    )
    assert first.conditions["low"] == 0.6
    assert (second.device, second.expected, second.ratio) == (None, None, None)
    assert [type(e).__name__ for e in events] == ["JobStarted", "Measured", "JobStarted", "Measured"]
    assert not found.missing and not found.cancelled


@pytest.mark.parametrize(
    ("call", "limit_s", "reason", "kept"),
    [
        ("hang", 1.0, "no result within 1 s", ["before the hang"]),
        ("die", 20.0, "ended by SIGSEGV", ["before the end"]),
        ("exit", 20.0, "ended with code 7: the last words", []),
        ("nonsense", 20.0, "no JSON", []),
    ],
)
def test_a_worker_that_fails_is_replaced_and_what_it_measured_is_kept(
    call: str, limit_s: float, reason: str, kept: list[str]
) -> None:
    found, _ = run(job(call, limit_s), job("after"))
    assert [m.name for m in found.measurements] == [*kept, "after"]
    (lost,) = found.missing
    assert lost.failed and reason in lost.reason and lost.name == f"the {call} job"


def test_a_fault_inside_the_library_and_a_skip_do_not_end_the_worker() -> None:
    found, _ = run(job("memory"), job("skip"), job("wrong"), job("after"))
    assert [(m.failed, m.name) for m in found.missing] == [(True, "the memory job"), (False, "a part")]
    assert [(m.name, m.verified) for m in found.measurements] == [("corrupted", False), ("after", True)]


def test_a_cancelled_run_keeps_what_it_has() -> None:
    cancel = threading.Event()
    events: list[Any] = []

    def listen(event: Any) -> None:
        events.append(event)
        if type(event).__name__ == "Measured":
            cancel.set()

    found = run_jobs((job("one"), job("hang"), job("three")), BENCHMARKS, CONTEXT, start, start(), listen, cancel)
    assert found.cancelled and [m.name for m in found.measurements] == ["one"]
    assert not UNDER_WAY


def test_a_group_is_one_process_per_rank_and_ends_as_one() -> None:
    together = Job(benchmark="b", title="together", call="one", arguments={}, processes=3, limit_s=20)
    found, _ = run(together, job("after"))
    assert [m.name for m in found.measurements] == ["one", "after"] and not found.missing


@pytest.mark.parametrize(("call", "limit_s", "reason"), [("rank 1 dies", 20.0, "rank 1 of 2 ended with code 3: rank 1 says why"),
                                                         ("hang", 1.0, "no result within 1 s")])  # fmt: skip
def test_a_rank_that_dies_or_hangs_costs_its_job_alone(call: str, limit_s: float, reason: str) -> None:
    together = Job(benchmark="b", title="together", call=call, arguments={}, processes=2, limit_s=limit_s)
    found, _ = run(together, job("after"))
    assert [m.name for m in found.measurements] == ["before the hang", "after"]
    assert [m.reason for m in found.missing] == [reason]


def test_the_worker_leaves_no_folder() -> None:
    worker = start()
    assert os.path.isdir(worker.folder)
    devices, build = devices_of(worker, threading.Event())
    worker.end()
    assert devices[0]["kind"] == "cpu" and build == {"torch": "fake"}
    assert not os.path.exists(worker.folder)


def test_a_python_that_cannot_start_says_so() -> None:
    with pytest.raises(TargetError, match="could not be started"):
        Worker("/no/such/python", FAKE, os.environ)


def test_devices_get_the_keys_of_components_by_their_address() -> None:
    seen = [
        {"kind": "cuda", "index": 0, "name": "A", "pci_address": "0000:17:00.0"},
        {"kind": "cpu", "index": 0, "name": "CPU"},
    ]
    gpu, cpu = matched_devices(seen, {"0000:17:00.0": "gpu:0000:17:00.0"})
    assert (gpu.key, gpu.label, gpu.properties) == ("gpu:0000:17:00.0", "cuda:0", {"pci_address": "0000:17:00.0"})
    assert (cpu.key, cpu.label) == (None, "cpu")
