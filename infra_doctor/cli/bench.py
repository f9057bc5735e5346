"""`infra-doctor bench`: how fast this machine is, each value beside what it should be."""

import argparse
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace

from infra_doctor.cli.check import exit_code
from infra_doctor.cli.deadline import Deadline
from infra_doctor.cli.documents import terminal_settings
from infra_doctor.cli.main import say
from infra_doctor.cli.options import run_options
from infra_doctor.cli.outputs import add_format_arguments, chosen, deliver
from infra_doctor.cli.policies import add_policy_arguments, baseline_of, policy_of
from infra_doctor.cli.told import told
from infra_doctor.errors import ExitCode, TargetError, UsageError
from infra_doctor.model.benchmark import BenchContext, BenchDevice, Benchmark, Suite
from infra_doctor.model.component import DEVICE_KINDS
from infra_doctor.model.policy import FAIL_ON
from infra_doctor.runner import registry
from infra_doctor.runner.benching import (
    BenchEvent,
    BenchResult,
    JobStarted,
    Measured,
    NotMeasured,
    Worker,
    devices_of,
    matched_devices,
    run_jobs,
)
from infra_doctor.runner.monitoring import Sampler
from infra_doctor.runner.run import Run

JUDGING_S = 1.0  # of the time for the whole run: what looking at the machine again and judging it take
SAMPLE_S = 0.05  # between readings of a monitor: a short benchmark takes a quarter of a second


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench`."""
    third_party = "--no-plugins" not in sys.argv
    known = registry.load(("reports", "benchmarks", "monitors"), third_party=third_party)
    names = ", ".join(f"{b.id} ({b.title})" for b in known.benchmarks)
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"which benchmarks (default: all): {names}")
    much = parser.add_mutually_exclusive_group()
    much.add_argument("--quick", action="store_true", help="one size each, a minute at most")
    much.add_argument("--full", action="store_true", help="all sizes and formats")
    parser.add_argument(
        "--device", action="append", metavar="D", default=[], help="only this device: 0, cuda:1, cpu (may be repeated)"
    )
    parser.add_argument(
        "--shape", action="append", metavar="MxNxK", default=[], help="a matrix product of this shape (may be repeated)"
    )
    parser.add_argument("--python", metavar="PATH", help="measure with this Python's libraries (default: as `check`)")
    parser.add_argument("--timeout", type=float, metavar="S", help="bound the whole run to S seconds")
    parser.add_argument("--identify", action="store_true", help="keep host names, user names and device UUIDs")
    parser.add_argument("--no-plugins", action="store_true", help="leave third parties' plug-ins out")
    verdict = parser.add_argument_group("verdict")
    add_policy_arguments(verdict)
    verdict.add_argument(
        "--fail-on", choices=FAIL_ON, help="exit with 1 from this status on (default: the policy's, else fail)"
    )
    outputs = parser.add_argument_group("output (standard output; several may be asked for)")
    add_format_arguments(outputs, known.reports)
    outputs.add_argument("-v", "--verbose", action="count", default=0, help="say more")
    outputs.add_argument("--no-color", action="store_true", help="no ANSI colours (also by NO_COLOR)")
    outputs.add_argument("--ascii", action="store_true", help="ASCII signs only")
    parser.set_defaults(
        formats=known.reports, benchmarks=known.benchmarks, monitors=known.monitors, pid=None, all_pythons=False, root=None,
        replay=None, lenient=False,
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Look at the machine, measure, judge, write."""
    deadline = Deadline()
    options = run_options(args)
    deadline.bound(args.timeout)
    outputs = chosen(args, args.formats, os.environ)
    benchmarks = wanted(args.benchmarks, args.names)
    shapes = [shape(text) for text in args.shape]
    policy = policy_of(args)
    if policy is not None and policy.sources:
        say(f"policy: {', '.join(policy.sources)}")
    deadline.doing = "looking at the machine"
    first = Run(options)
    first.execute()
    if first.context is None or not first.context.targets:
        raise TargetError("no Python environment was found to measure with", help="Choose one with --python.")
    target = first.context.targets[0]
    deadline.doing = "measuring"
    cancel = threading.Event()
    left = deadline.probes_s()
    if left is not None:
        timer = threading.Timer(max(0.0, left - JUDGING_S), cancel.set)
        timer.daemon = True
        timer.start()

    def start(group: int = 0, request: str = "") -> Worker:
        return Worker(target.executable, benchmarks[0].worker, os.environ, group, request)

    worker = start()
    try:
        seen, build = devices_of(worker, cancel)
        keys = {c.key.partition(":")[2].lower(): c.key for c in first.context.components if c.kind in DEVICE_KINDS}
        devices = narrowed(matched_devices(seen, keys), args.device)
        suite = Suite.QUICK if args.quick else Suite.FULL if args.full else Suite.DEFAULT
        context = BenchContext(devices=devices, components=first.context.components, target=target, suite=suite,
                               options={"shapes": shapes})  # fmt: skip
        jobs = [job for benchmark in benchmarks for job in benchmark.plan(context)]
    except BaseException:
        worker.end()
        raise
    say(f"torch {build.get('torch')} in {target.prefix}: {', '.join(f'{d.label} {d.name}' for d in devices)}")
    samplers = [Sampler(monitor, SAMPLE_S) for monitor in args.monitors]
    try:
        for sampler in samplers:
            sampler.wait_for_first()
        result = run_jobs(jobs, {b.id: b for b in benchmarks}, context, start, worker, progress, cancel, samplers)
    finally:
        for sampler in samplers:
            sampler.end()
    deadline.doing = "judging what was measured"
    this_run = Run(
        replace(options, policy=policy, baseline=baseline_of(args, options), measurements=result.measurements)
    )
    report = this_run.execute()
    fail_on = args.fail_on or (policy.fail_on if policy else None) or "fail"
    code = leave_with(result, exit_code(report, fail_on=fail_on))
    deadline.verdict = ExitCode(code)
    for note in this_run.notes:
        say(note)
    deadline.doing = "writing its outputs"
    about = told(this_run, fail_on=fail_on, lenient=False, exit_code=ExitCode(code))
    deliver(report, outputs, {**terminal_settings(args), **about})
    return code


def leave_with(result: BenchResult, code: ExitCode) -> int:
    """3 where something could not be measured that should be."""
    failed = [m for m in result.missing if m.failed]
    if result.cancelled:
        say("cancelled: what was measured until then is kept")
    return ExitCode.UNSEEN if code == ExitCode.OK and (failed or result.cancelled) else code


def progress(event: BenchEvent) -> None:
    """A line on standard error for what begins and what was found."""
    if isinstance(event, JobStarted):
        say(f"[{event.number}/{event.total}, about {event.left_s:.0f} s left] {event.job.benchmark}: {event.job.title}")
    elif isinstance(event, Measured):
        m = event.measurement
        share = f", {m.ratio:.0%} of {m.expected:.3g}" if m.ratio is not None and m.expected is not None else ""
        say(f"    {m.name}: {m.value:.4g} {m.unit}{share}{'' if m.verified else ', WRONG RESULT'}")
    elif isinstance(event, NotMeasured):
        say(f"    {event.name}: {'failed' if event.failed else 'skipped'}: {event.reason}")


def wanted(known: Sequence[Benchmark], names: Sequence[str]) -> list[Benchmark]:
    """The benchmarks of these names, all where none is named. Raises UsageError."""
    by_id = {b.id: b for b in known}
    for name in names:
        if name not in by_id:
            from infra_doctor.policy.specs import nearest

            near = nearest(name, by_id)
            raise UsageError(
                f"no such benchmark: {name[:60]}",
                help=f"Nearest: {near}." if near else f"There are: {', '.join(by_id)}.",
            )
    return [by_id[n] for n in dict.fromkeys(names)] or list(known)


def shape(text: str) -> tuple[int, int, int]:
    """`8192x8192x4096`. Raises UsageError."""
    parts = text.lower().split("x")
    if len(parts) != 3 or not all(p.isdecimal() and 0 < int(p) <= 1 << 20 for p in parts):
        raise UsageError(f"--shape {text[:60]}: three sizes are wanted, as 8192x8192x4096")
    return (int(parts[0]), int(parts[1]), int(parts[2]))


def narrowed(devices: tuple[BenchDevice, ...], wanted: Sequence[str]) -> tuple[BenchDevice, ...]:
    """The devices that were asked for. Raises UsageError."""
    if not wanted:
        return devices
    found = []
    for text in wanted:
        named = [d for d in devices if text in {d.label, str(d.index) if d.kind != "cpu" else "cpu"}]
        if not named:
            raise UsageError(
                f"--device {text[:40]}: no such device", help=f"There are: {', '.join(d.label for d in devices)}."
            )
        found += named
    return tuple({d.label: d for d in found}.values())
