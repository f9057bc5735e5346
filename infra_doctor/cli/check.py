"""`infra-doctor check`: the headless front end."""

import argparse
import os
import sys
from dataclasses import replace

from infra_doctor.cli.deadline import Deadline
from infra_doctor.cli.documents import terminal_settings
from infra_doctor.cli.main import say
from infra_doctor.cli.options import add_machine_arguments, run_options
from infra_doctor.cli.outputs import add_format_arguments, chosen, deliver
from infra_doctor.cli.policies import add_policy_arguments, baseline_of, measurements_of, policy_of
from infra_doctor.cli.told import told
from infra_doctor.errors import ExitCode
from infra_doctor.model.finding import Status
from infra_doctor.model.policy import FAIL_ON
from infra_doctor.model.report import Report
from infra_doctor.model.view import required_unseen
from infra_doctor.runner import registry
from infra_doctor.runner.run import Run, unrecorded


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `check`; each report format registers its own flag."""
    formats = registry.load(("reports",), third_party="--no-plugins" not in sys.argv).reports
    outputs = parser.add_argument_group("output (standard output; several may be asked for)")
    outputs.add_argument("-v", "--verbose", action="count", default=0, help="say more (every copy, every pair)")
    outputs.add_argument("--no-color", action="store_true", help="no ANSI colours (also by NO_COLOR)")
    outputs.add_argument("--ascii", action="store_true", help="ASCII signs only")
    add_machine_arguments(parser)
    verdict = parser.add_argument_group("verdict")
    verdict.add_argument("--only", action="append", metavar="ID", help="judge by this check only (may be repeated)")
    add_policy_arguments(verdict)
    verdict.add_argument(
        "--measurements", metavar="FILE", help="a report with measurements, for the policy's [measure] thresholds"
    )
    verdict.add_argument(
        "--fail-on", choices=FAIL_ON, help="exit with 1 from this status on (default: the policy's, else fail)"
    )
    verdict.add_argument(
        "--lenient",
        action="store_true",
        help="exit with 0 where an accelerator, or what is required, could not be looked at",
    )
    # Last: what a third party's format registers must not take an option away from us.
    parser.set_defaults(formats=add_format_arguments(outputs, formats))


def run(args: argparse.Namespace) -> int:
    """Look, judge, write what was asked for, and give the exit code."""
    deadline = Deadline(lenient=args.lenient)
    options = run_options(args)
    deadline.bound(args.timeout)
    outputs = chosen(args, args.formats, os.environ)
    policy = policy_of(args)
    fail_on = args.fail_on or "fail"
    if policy is not None:
        deadline.lenient = args.lenient or bool(policy.lenient)
        deadline.bound(policy.timeout_s)
        options, fail_on = replace(options, policy=policy), args.fail_on or policy.fail_on or "fail"
        if policy.sources:
            say(f"policy: {', '.join(policy.sources)}")
    measurements = measurements_of(args)
    options = replace(options, baseline=baseline_of(args, options), measurements=measurements)
    deadline.doing = "looking at the machine"
    this_run = Run(replace(options, timeout_s=deadline.probes_s()))
    report = this_run.execute()
    code = deadline.verdict = exit_code(report, fail_on=fail_on, lenient=deadline.lenient)
    for note in this_run.notes:
        say(note)
    deadline.doing = "writing its outputs"
    about = told(this_run, fail_on=fail_on, lenient=deadline.lenient, exit_code=code)
    deliver(report, outputs, {**terminal_settings(args), **about})
    if args.debug:
        for trace in this_run.traces:
            say(trace)
    if this_run.machine is not None and (missing := unrecorded(this_run.machine)) and args.verbose:
        say(f"{missing} questions have no answer in the snapshot; they count as absent")
    return code


def exit_code(report: Report, *, fail_on: str = "fail", lenient: bool = False) -> ExitCode:
    """1: a finding at or above `fail_on`; 3: a device that is there, or something required, could not be looked at; 1 wins."""
    live = [f for f in report.findings if f.waived is None]
    if fail_on != "never":
        counted = {Status(s) for s in FAIL_ON[: FAIL_ON.index(fail_on) + 1]}
        if any(f.status in counted for f in live):
            return ExitCode.FINDINGS
    if not lenient and any(map(required_unseen, live)):
        return ExitCode.UNSEEN
    return ExitCode.OK
