"""The collective operations between two processes on the CPU by Gloo: right sums, and wrong ones seen."""

import importlib.util
import os
import sys
import threading

import pytest

from infra_doctor.runner.benching import Worker, request_line
from infra_doctor_probes.benchmarks.collectives import OPERATIONS
from infra_doctor_probes.benchmarks.place import WORKER

pytestmark = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")


def events(operations: list[str], sizes: list[int], ranks: int) -> list[dict[str, object]]:
    request = {"kind": "cpu", "operations": operations, "sizes": sizes}
    worker = Worker(sys.executable, WORKER, os.environ, ranks, request_line(1, "collectives.measure", request))
    try:
        return list(worker.ask("collectives.measure", {}, 120, threading.Event()))
    finally:
        worker.end()


def test_every_operation_arrives_and_is_counted_as_nccl_tests_does() -> None:
    found = events(list(OPERATIONS), [4096], 2)
    assert found[-1]["event"] == "done", found[-1]
    results = {str(e["name"]): e for e in found if e["event"] == "result"}
    assert set(results) == {f"{name} 4096" for name in OPERATIONS}
    for name, event in results.items():
        assert event["verified"] is True and event["size_bytes"] == 4096 and event["ranks"] == 2, name
        half = name.split()[0] in {"all_gather", "reduce_scatter", "all_to_all"}  # (n - 1) / n of two ranks
        time_s, value = event["time_s"], event["value"]
        assert isinstance(time_s, float) and isinstance(value, float)
        assert value == pytest.approx((0.5 if half else 1.0) * 4096 / time_s, rel=1e-6)


def test_sizes_that_ranks_do_not_divide_are_rounded_and_said() -> None:
    (result, done) = events(["all_gather"], [1000], 3)
    assert done["event"] == "done" and result["size_bytes"] == 996 and result["verified"] is True
