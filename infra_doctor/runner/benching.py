"""Runs benchmarks: a worker in the target's interpreter, one job after the other, each within its limit, with the readings of
the device's monitor beside it. What was measured before something failed is kept, and nothing is left running."""

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any

from infra_doctor.errors import TargetError
from infra_doctor.machine import agent
from infra_doctor.model.benchmark import BenchContext, BenchDevice, Benchmark, Expected, Job
from infra_doctor.model.record import record
from infra_doctor.model.report import Measurement
from infra_doctor.runner.monitoring import Sampler, conditions

START_LIMIT_S = 120.0  # importing torch from a cold network disk
LINE_CAP_BYTES = 4 << 20


@record
class JobStarted:
    """A job has begun. `left_s` is the estimate for it and all that come after."""

    job: Job
    number: int
    total: int
    left_s: float


@record
class Measured:
    """One result."""

    job: Job
    measurement: Measurement


@record
class NotMeasured:
    """A part, or a whole job, that gave no number. `failed` tells a fault from what is not supported here."""

    job: Job
    name: str
    reason: str
    failed: bool


BenchEvent = JobStarted | Measured | NotMeasured


@record
class BenchResult:
    """What a run gave: measurements and what was not measured, in the order of the jobs."""

    measurements: tuple[Measurement, ...] = ()
    missing: tuple[NotMeasured, ...] = field(default=())
    cancelled: bool = False


class WorkerError(Exception):
    """The worker's process is gone; the text says how."""


class Worker:
    """The process in the target's interpreter, or a group of them for one request. Used by one thread."""

    def __init__(
        self, python: str, bootstrap: str, environment: Mapping[str, str], group: int = 0, request: str = ""
    ) -> None:
        self.folder = tempfile.mkdtemp(prefix="infra-doctor-bench-")
        caches = {name: os.path.join(self.folder, "cache") for name in
                  ("TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "CUDA_CACHE_PATH", "XDG_CACHE_HOME")}  # fmt: skip
        base = {**environment, **caches, "PYTHONUNBUFFERED": "1"}
        if group:
            with open(os.path.join(self.folder, "request"), "w", encoding="utf-8") as file:
                file.write(request)
            base |= {"INFRA_DOCTOR_REQUEST": file.name, "INFRA_DOCTOR_STORE": os.path.join(self.folder, "store")}
        self.processes: list[subprocess.Popen[bytes]] = []
        try:
            for rank in range(max(1, group)):
                ranked = {
                    "RANK": str(rank),
                    "LOCAL_RANK": str(rank),
                    "WORLD_SIZE": str(group),
                    "LOCAL_WORLD_SIZE": str(group),
                }
                with open(self._errors(rank), "wb") as errors:
                    started: Any = agent.start(
                        [python, "-B", bootstrap], stdin=subprocess.DEVNULL if group else subprocess.PIPE,
                        stdout=subprocess.DEVNULL if rank else subprocess.PIPE, stderr=errors,
                        env=base | (ranked if group else {}), cwd=self.folder,
                    )  # fmt: skip
                    self.processes.append(started)
        except OSError as error:
            if self.processes:
                self.end()
            shutil.rmtree(self.folder, ignore_errors=True)
            raise TargetError(f"{python}: could not be started: {error.strerror}") from error
        self.lines: queue.Queue[bytes] = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.number = 0

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes, by rank."""
        return tuple(p.pid for p in self.processes)

    def _errors(self, rank: int) -> str:
        return os.path.join(self.folder, f"stderr{rank}")

    def _read(self) -> None:
        stream = self.processes[0].stdout
        if stream is not None:
            with stream:
                while line := stream.readline(LINE_CAP_BYTES):
                    self.lines.put(line)
        self.lines.put(b"")

    def ask(
        self, call: str, arguments: Mapping[str, Any], limit_s: float, cancel: threading.Event
    ) -> Iterator[dict[str, Any]]:
        """The events of one request up to `done` or `failed`. Raises WorkerError; TimeoutError after `limit_s`."""
        self.number += 1
        stream = self.processes[0].stdin
        try:
            if stream is not None:
                stream.write(request_line(self.number, call, arguments).encode())
                stream.flush()
        except OSError as error:
            raise WorkerError(self.last_words()) from error
        deadline = time.monotonic() + limit_s
        while True:
            if cancel.is_set():
                raise KeyboardInterrupt
            try:
                line = self.lines.get(timeout=min(0.2, max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                if any(p.poll() for p in self.processes[1:]):  # the others would wait for it
                    raise WorkerError(self.last_words()) from None
                if time.monotonic() >= deadline:
                    raise TimeoutError(f"no result within {limit_s:g} s") from None
                continue
            if not line:
                raise WorkerError(self.last_words())
            try:
                event = json.loads(line)
            except ValueError as error:
                raise WorkerError("the worker wrote a line that is no JSON") from error
            if not isinstance(event, dict) or event.get("id") != self.number:
                continue
            yield event
            if event.get("event") in {"done", "failed"}:
                return

    def last_words(self) -> str:
        """How a process ended, and the last line that it wrote to standard error: of the first rank that failed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.processes[0].wait(2 if len(self.processes) == 1 else 0.2)
        codes = [p.poll() for p in self.processes]
        rank = next((n for n, code in enumerate(codes) if code), 0)
        code = codes[rank]
        how = (
            "did not end"
            if code is None
            else f"ended by {signal_name(-code)}"
            if code < 0
            else f"ended with code {code}"
        )
        try:
            with open(self._errors(rank), "rb") as file:
                file.seek(max(0, os.path.getsize(self._errors(rank)) - 4096))
                lines = file.read().decode("utf-8", "replace").strip().splitlines()
        except OSError:
            lines = []
        who = "the worker" if len(self.processes) == 1 else f"rank {rank} of {len(self.processes)}"
        return f"{who} {how}" + (f": {lines[-1][:300]}" if lines else "")

    def end(self) -> None:
        """End all, with what they started, and take the folder away. What does not die (a process in a hung driver) is left."""
        for process in self.processes:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(3)
            agent.UNDER_WAY.discard(process.pid)
        stream = self.processes[0].stdin
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
        if hasattr(self, "reader"):
            self.reader.join(1)
        shutil.rmtree(self.folder, ignore_errors=True)


def request_line(number: int, call: str, arguments: Mapping[str, Any]) -> str:
    """One request of the protocol."""
    return json.dumps({"id": number, "call": call, "arguments": dict(arguments)}) + "\n"


def signal_name(number: int) -> str:
    """`SIGSEGV`."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def devices_of(worker: Worker, cancel: threading.Event) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(devices, build) as the target's library says them. Raises TargetError where it has none or cannot be imported."""
    try:
        for event in worker.ask("devices.describe", {}, START_LIMIT_S, cancel):
            if event["event"] == "failed":
                raise TargetError(
                    f"the target cannot be measured: {event['message']}", help="Choose one with --python."
                )
            if event["event"] == "result":
                return list(event["devices"]), dict(event["build"])
    except (WorkerError, TimeoutError) as error:
        raise TargetError(f"the target cannot be measured: {error}", help="Choose one with --python.") from error
    raise TargetError("the target named no devices")


def run_jobs(
    jobs: Sequence[Job], benchmarks: Mapping[str, Benchmark], context: BenchContext, start: Callable[..., Worker],
    worker: Worker, emit: Callable[[BenchEvent], None], cancel: threading.Event, samplers: Sequence[Sampler] = (),
) -> BenchResult:  # fmt: skip
    """All jobs in order. A worker that ended or did not answer in time is replaced for the jobs that remain. `start` makes a
    worker; with a number of processes and a request line, a group of them for one job."""
    measured: list[Measurement] = []
    missing: list[NotMeasured] = []
    cancelled = False

    def lost(job: Job, name: str, reason: str, *, failed: bool) -> None:
        missing.append(NotMeasured(job=job, name=name, reason=reason, failed=failed))
        emit(missing[-1])

    def start_group(job: Job) -> Worker:
        return start(job.processes, request_line(1, job.call, job.arguments))

    try:
        for number, job in enumerate(jobs):
            left = sum(j.estimate_s for j in jobs[number:])
            emit(JobStarted(job=job, number=number + 1, total=len(jobs), left_s=left))
            runs = worker if not job.processes else start_group(job)
            try:
                for event in runs.ask(job.call, job.arguments, job.limit_s, cancel):
                    if event["event"] == "result":
                        expected = benchmarks[job.benchmark].expect(context, job.device, event)
                        seen = conditions_of(event, job.device, samplers, runs.pids)
                        measured.append(measurement(job, event, expected, seen))
                        emit(Measured(job=job, measurement=measured[-1]))
                    elif event["event"] == "skip":
                        lost(job, str(event["name"]), str(event["reason"]), failed=False)
                    elif event["event"] == "failed":
                        lost(job, job.title, str(event["message"]), failed=True)
            except (WorkerError, TimeoutError) as error:
                lost(job, job.title, str(error), failed=True)
                if runs is worker:
                    worker.end()
                    worker = start()
            finally:
                if runs is not worker:
                    runs.end()
    except KeyboardInterrupt:
        cancelled = True
    finally:
        worker.end()
    return BenchResult(measurements=tuple(measured), missing=tuple(missing), cancelled=cancelled)


def conditions_of(
    event: Mapping[str, Any], device: BenchDevice | None, samplers: Sequence[Sampler], own: Sequence[int]
) -> dict[str, Any]:
    """What the monitors read of the device while the result was measured."""
    address = str(device.properties.get("pci_address", "")) if device is not None else ""
    if not address:
        return {}
    for sampler in samplers:
        readings = sampler.between(int(event["began_ns"]), int(event["ended_ns"]), address)
        if readings:
            return conditions(readings, own, sampler.monitor.harmful)
    return {}


def measurement(job: Job, event: Mapping[str, Any], expected: Expected | None, seen: Mapping[str, Any]) -> Measurement:
    """A result of the worker as a measurement. The spread is that of the middle half of the samples over the median."""
    samples = sorted(float(s) for s in event.get("samples") or ())
    value = float(event["value"])
    quarter = len(samples) // 4
    spread = (samples[-1 - quarter] - samples[quarter]) / value if len(samples) > 1 and value else None
    kept = {
        k: event[k]
        for k in ("size_bytes", "cache", "shape", "dtype", "other", "ranks", "time_s", "algbw", "streams")
        if k in event
    }
    device = job.device
    return Measurement(
        benchmark=job.benchmark,
        name=str(event["name"]),
        value=value,
        unit=str(event["unit"]),
        device=(device.key or device.label) if device is not None else None,
        sample_count=len(samples),
        spread=spread,
        expected=expected.value if expected else None,
        expected_source=expected.source if expected else None,
        ratio=value / expected.value if expected else None,
        method=str(event.get("method", "")),
        conditions={**kept, **({"low": expected.low} if expected else {}), **seen},
        verified=bool(event.get("verified")),
    )


def matched_devices(seen: Sequence[Mapping[str, Any]], keys: Mapping[str, str]) -> tuple[BenchDevice, ...]:
    """The library's devices with the keys of the machine's components, by their PCI address."""
    out = []
    for device in seen:
        properties = {k: v for k, v in device.items() if k not in {"kind", "index", "name"}}
        key = keys.get(str(properties.get("pci_address", "")).lower())
        out.append(
            BenchDevice(
                kind=str(device["kind"]),
                index=int(device["index"]),
                name=str(device["name"]),
                key=key,
                properties=properties,
            )
        )
    return tuple(out)
