"""The probe runner: order, faults, deadlines, what a form cannot show."""

import threading
from collections.abc import Iterable
from typing import Any

from infra_doctor.machine.machine import Machine
from infra_doctor.machine.types import Capability, NotVisible
from infra_doctor.model.component import Component, Unseen
from infra_doctor.model.finding import Status
from infra_doctor.model.plugins import Probe, ProbeContext
from infra_doctor.runner.events import Event, ProbeFinished, ProbeStarted
from infra_doctor.runner.probing import ProbeResult, run_probes
from tests.support.recipe import recipe_machine


def machine(**recipe: Any) -> Machine:
    return recipe_machine(recipe)


def run(probes: list[Probe], *, on: Machine | None = None, deadline: float | None = None) -> dict[str, ProbeResult]:
    events: list[Event] = []
    results = run_probes(probes, on or machine(), (), emit=events.append, cancel=threading.Event(), deadline=deadline)
    started = [e.id for e in events if isinstance(e, ProbeStarted)]
    finished = [e.outcome.id for e in events if isinstance(e, ProbeFinished)]
    assert sorted(started) == sorted(finished) == sorted(p.id for p in probes if p.id in started)
    return results


def probe(name: str, call: Any, **fields: Any) -> Probe:
    return Probe(id=name, version=1, title=name, run=call, **fields)


def test_what_a_probe_found_reaches_those_that_wait_for_it() -> None:
    def first(ctx: ProbeContext) -> Iterable[Any]:
        yield Component(key="a:1", kind="a", name="one", version="1")

    def second(ctx: ProbeContext) -> Iterable[Any]:
        yield Component(key="b:1", kind="b", name=ctx.by_kind("a")[0].name)

    results = run([probe("second", second, after=("first",)), probe("first", first)])
    assert list(results) == ["second", "first"]
    assert results["second"].components[0].name == "one"


def test_a_fault_ends_one_probe_and_keeps_what_it_found() -> None:
    def broken(ctx: ProbeContext) -> Iterable[Any]:
        yield Component(key="a:1", kind="a", name="one")
        raise KeyError("lost")

    results = run([probe("broken", broken), probe("fine", lambda ctx: ())])
    outcome = results["broken"].outcome
    assert (outcome.status, outcome.reason) == (Status.ERROR, "KeyError: 'lost'")
    assert results["broken"].components[0].key == "a:1"
    assert "in broken" in results["broken"].trace
    assert results["fine"].outcome.status is Status.PASS


def test_a_probe_that_hangs_is_abandoned_and_its_late_result_dropped() -> None:
    release = threading.Event()

    def hangs(ctx: ProbeContext) -> Iterable[Any]:
        release.wait(30)
        yield Component(key="late:1", kind="late", name="late")

    try:
        results = run([probe("hangs", hangs, timeout_s=0.05), probe("after", lambda ctx: (), after=("hangs",))])
    finally:
        release.set()
    assert results["hangs"].outcome.status is Status.ERROR
    assert "not done within 0.05 s" in results["hangs"].outcome.reason
    assert results["hangs"].components == ()
    assert results["after"].outcome.status is Status.PASS


def test_the_time_for_the_whole_run_ends_what_runs_and_what_waits() -> None:
    release = threading.Event()

    def hangs(ctx: ProbeContext) -> Iterable[Any]:
        release.wait(30)
        return ()

    try:
        results = run([probe("hangs", hangs), probe("after", lambda ctx: (), after=("hangs",))], deadline=0.0)
    finally:
        release.set()
    assert {r.outcome.status for r in results.values()} == {Status.ERROR}
    assert "the run was over" in results["after"].outcome.reason


def test_probes_that_wait_for_each_other_are_errors_not_a_hang() -> None:
    results = run([probe("a", lambda ctx: (), after=("b",)), probe("b", lambda ctx: (), after=("a",))])
    assert {r.outcome.status for r in results.values()} == {Status.ERROR}


def test_what_a_form_cannot_show_is_skipped_with_the_reason() -> None:
    def raises(ctx: ProbeContext) -> Iterable[Any]:
        raise NotVisible("not visible: no such device here")

    rooted = machine(form="rooted")
    results = run([probe("needs", lambda ctx: (), needs=(Capability.COMMANDS,)), probe("says", raises)], on=rooted)
    assert results["needs"].outcome.status is Status.SKIP
    assert results["needs"].outcome.reason == "not visible: commands of a rooted machine"
    assert results["says"].outcome.reason == "not visible: no such device here"


def test_unreadable_files_and_unseen_devices_are_told() -> None:
    def looks(ctx: ProbeContext) -> Iterable[Any]:
        assert ctx.machine.read_text("/secret") is None
        assert ctx.machine.read_text("/absent") is None
        yield Unseen(subject=("gpu:0000:00:06.0",), reason="no answer")

    on = machine(files={"/secret": {"error": "Permission denied"}})
    result = run([probe("looks", looks)], on=on)["looks"]
    assert [(p.path, p.reason) for p in result.problems] == [("/secret", "Permission denied")]
    assert result.unseen[0].subject == ("gpu:0000:00:06.0",)
