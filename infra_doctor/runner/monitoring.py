"""Keeps the readings of monitors while something runs, and sums them up for a span of time: the conditions of a measurement."""

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from infra_doctor.machine import agent
from infra_doctor.model.monitoring import Monitor, Reading

LINE_CAP_BYTES = 1 << 20
KEPT = 100_000  # readings: eight devices at 10 Hz for 20 minutes
FIRST_READING_S = 5.0


class Sampler:
    """One monitor's child process and what it has said. `error` tells why there are no readings."""

    def __init__(self, monitor: Monitor, interval_s: float) -> None:
        self.monitor = monitor
        self.error = ""
        self._readings: deque[Reading] = deque(maxlen=KEPT)
        self._first = threading.Event()
        code = f"import sys; sys.path[:] = {sys.path!r}; import {monitor.module} as child; child.main({interval_s!r})"
        try:
            self._process: Any = agent.start(
                [sys.executable, "-S", "-c", code], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
        except OSError as error:
            self._process, self.error = None, f"could not start: {error.strerror}"
            self._first.set()
            return
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def _read(self, process: "subprocess.Popen[bytes]") -> None:
        stream = process.stdout
        if stream is not None:
            with stream:
                while line := stream.readline(LINE_CAP_BYTES):
                    self._take(line)
        self._first.set()

    def _take(self, line: bytes) -> None:
        with contextlib.suppress(ValueError, RecursionError):
            answer = json.loads(line)
            if isinstance(answer, dict):
                self.error = str(answer.get("error") or "")[:300]
                self._readings.extend(readings_of(answer))
        self._first.set()

    def wait_for_first(self) -> bool:
        """Whether it reads; waits a little for its first words."""
        return self._first.wait(FIRST_READING_S) and bool(self._readings)

    def between(self, began_ns: int, ended_ns: int, address: str) -> list[Reading]:
        """The readings of one device in this span of CLOCK_MONOTONIC."""
        address = address.lower()
        return [r for r in list(self._readings) if began_ns <= r.time_ns <= ended_ns and r.address == address]

    def end(self) -> None:
        """End the child."""
        if self._process is None:
            return
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        agent.UNDER_WAY.discard(self._process.pid)
        self._reader.join(1)


def readings_of(answer: Mapping[str, Any]) -> Iterable[Reading]:
    """The readings of one line; entries of another form are left out."""
    moment = answer.get("time_ns")
    devices = answer.get("devices")
    if not isinstance(moment, int) or not isinstance(devices, list):
        return
    for device in devices:
        if not isinstance(device, dict) or not isinstance(device.get("address"), str):
            continue
        throttle, processes = device.get("throttle"), device.get("processes")
        yield Reading(
            time_ns=moment,
            address=device["address"].lower(),
            numbers={k: float(v) for k, v in device.items() if isinstance(v, int | float) and not isinstance(v, bool)},
            throttle=tuple(str(t) for t in throttle[:32]) if isinstance(throttle, list) else (),
            processes=tuple(p for p in processes[:64] if isinstance(p, int)) if isinstance(processes, list) else (),
        )


def conditions(readings: list[Reading], own: Iterable[int], harmful: Iterable[str]) -> dict[str, Any]:
    """What was seen during a measurement: how many readings, each number's [least, median, most], the reasons that held the
    clocks down in at least a tenth of them, those that are a fault, and how many other processes used the device."""
    if not readings:
        return {}
    found: dict[str, Any] = {"readings": len(readings)}
    for name in sorted({n for r in readings for n in r.numbers}):
        values = [r.numbers[name] for r in readings if name in r.numbers]
        found[name] = [min(values), statistics.median(values), max(values)]
    counts: dict[str, int] = {}
    for reading in readings:
        for reason in reading.throttle:
            counts[reason] = counts.get(reason, 0) + 1
    often = sorted(r for r, n in counts.items() if 10 * n >= len(readings))
    found["throttle"] = often
    faults = sorted(set(often) & set(harmful))
    if faults:
        found["slowed_by"] = faults
    others = {p for r in readings for p in r.processes} - set(own)
    found["other_processes"] = len(others)
    return found


def now_ns() -> int:
    """CLOCK_MONOTONIC, which all processes share."""
    return time.monotonic_ns()
