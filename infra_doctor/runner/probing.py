"""Runs probes: each on a daemon thread as soon as those it waits for are done, abandoned at its deadline."""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from infra_doctor.machine.machine import Machine
from infra_doctor.machine.types import NotVisible, Problem
from infra_doctor.model.component import Component, Target, Unseen
from infra_doctor.model.finding import Status
from infra_doctor.model.plugins import Probe, ProbeContext
from infra_doctor.model.record import record
from infra_doctor.model.report import ProbeOutcome
from infra_doctor.runner.events import Emit, ProbeFinished, ProbeStarted


@record
class ProbeResult:
    """How a probe ended and what it found. `trace` is the traceback of a fault, for `--debug`."""

    outcome: ProbeOutcome
    components: tuple[Component, ...] = ()
    facts: tuple[Any, ...] = ()
    unseen: tuple[Unseen, ...] = ()
    problems: tuple[Problem, ...] = ()
    duration_ns: int = 0
    trace: str = ""


@dataclass
class _Progress:
    waiting: dict[str, Probe]
    running: dict[str, tuple[Probe, float]] = field(default_factory=dict)
    results: dict[str, ProbeResult] = field(default_factory=dict)


def run_probes(
    probes: list[Probe],
    machine: Machine,
    targets: tuple[Target, ...],
    *,
    emit: Emit,
    cancel: threading.Event,
    deadline: float | None,
    monotonic: Callable[[], float] = time.monotonic,
) -> dict[str, ProbeResult]:
    """Results by probe id, in the probes' order. `deadline` (of `monotonic`) bounds the whole; a probe that is not done
    by its own or this deadline is an error, and what it brings later is dropped."""
    known = {p.id for p in probes}
    progress = _Progress(waiting={p.id: p for p in probes})
    done: queue.SimpleQueue[tuple[str, ProbeResult]] = queue.SimpleQueue()
    while progress.waiting or progress.running:
        if deadline is not None and monotonic() >= deadline:  # what is begun now would be abandoned at once
            _abandon(progress, emit, monotonic(), deadline, cancelled=cancel.is_set())
            break
        for probe in list(progress.waiting.values()):
            if all(a in progress.results or a not in known for a in probe.after):
                del progress.waiting[probe.id]
                _start(probe, machine, targets, progress, done, emit, monotonic() + probe.timeout_s)
        if not progress.running:
            for probe in progress.waiting.values():  # they wait for each other
                progress.results[probe.id] = _ended(probe, Status.ERROR, "waits for itself: wrong `after`")
            break
        limit = min(end for _, end in progress.running.values())
        if deadline is not None:
            limit = min(limit, deadline)
        try:
            probe_id, result = done.get(timeout=min(max(0.0, limit - monotonic()), 0.2 if cancel.is_set() else 60.0))
        except queue.Empty:
            pass
        else:
            if progress.running.pop(probe_id, None) is not None:
                progress.results[probe_id] = result
                emit(ProbeFinished(outcome=result.outcome, components=result.components))
            continue
        _abandon(progress, emit, monotonic(), deadline, cancelled=cancel.is_set())
    return {p.id: progress.results[p.id] for p in probes if p.id in progress.results}


def _start(
    probe: Probe,
    machine: Machine,
    targets: tuple[Target, ...],
    progress: _Progress,
    done: "queue.SimpleQueue[tuple[str, ProbeResult]]",
    emit: Emit,
    end: float,
) -> None:
    emit(ProbeStarted(id=probe.id))
    progress.running[probe.id] = (probe, end)
    missing = [n for n in probe.needs if n not in {str(c) for c in machine.capabilities}]
    if missing:
        reason = f"not visible: {', '.join(missing)} of a {machine.form} machine"
        done.put((probe.id, _ended(probe, Status.SKIP, reason)))
        return
    before = _before(probe, progress.results)
    context = ProbeContext(
        machine=machine,
        targets=targets,
        components=[c for r in before for c in r.components],
        facts=[f for r in before for f in r.facts],
    )
    thread = threading.Thread(
        target=lambda: done.put((probe.id, _run(probe, context))), name=f"probe {probe.id}", daemon=True
    )
    thread.start()


def _before(probe: Probe, results: dict[str, ProbeResult]) -> list[ProbeResult]:
    return [results[a] for a in probe.after if a in results]


def _run(probe: Probe, context: ProbeContext) -> ProbeResult:
    problems = context.machine.problems_of_thread()
    began = time.perf_counter_ns()
    components: list[Component] = []
    facts: list[Any] = []
    unseen: list[Unseen] = []
    status, reason, trace = Status.PASS, "", ""
    try:
        for item in probe.run(context):
            if isinstance(item, Component):
                components.append(item)
            elif isinstance(item, Unseen):
                unseen.append(item)
            else:
                facts.append(item)
    except NotVisible as error:
        status, reason = Status.SKIP, str(error)
    except Exception as error:  # noqa: BLE001  one probe's fault must not end the run
        import traceback

        status, reason, trace = Status.ERROR, f"{type(error).__name__}: {error}"[:400], traceback.format_exc()
    return ProbeResult(
        outcome=ProbeOutcome(id=probe.id, version=probe.version, title=probe.title, status=status, reason=reason),
        components=tuple(components),
        facts=tuple(facts),
        unseen=tuple(unseen),
        problems=tuple(dict.fromkeys(problems)),
        duration_ns=time.perf_counter_ns() - began,
        trace=trace,
    )


def _ended(probe: Probe, status: Status, reason: str) -> ProbeResult:
    return ProbeResult(
        outcome=ProbeOutcome(id=probe.id, version=probe.version, title=probe.title, status=status, reason=reason)
    )


def _abandon(progress: _Progress, emit: Emit, now: float, deadline: float | None, *, cancelled: bool) -> None:
    """End the probes whose time is over: their threads are left behind."""
    over = deadline is not None and now >= deadline
    for probe, end in list(progress.running.values()):
        if cancelled:
            reason = "cancelled"
        elif over:
            reason = "not done when the time for the whole run was over"
        elif now >= end:
            reason = f"not done within {probe.timeout_s:g} s"
        else:
            continue
        del progress.running[probe.id]
        result = progress.results[probe.id] = _ended(probe, Status.ERROR, reason)
        emit(ProbeFinished(outcome=result.outcome))
    if cancelled or over:
        for probe in progress.waiting.values():
            progress.results[probe.id] = _ended(probe, Status.ERROR, "not begun: the run was over")
        progress.waiting.clear()
