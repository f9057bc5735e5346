"""`infra-doctor check`: the headless front end."""

import argparse
import sys

from infra_doctor.cli.documents import terminal_settings
from infra_doctor.cli.main import say
from infra_doctor.cli.options import add_machine_arguments, run_options
from infra_doctor.cli.output import write_file, write_stdout
from infra_doctor.errors import ExitCode, UsageError
from infra_doctor.model.component import DEVICE_KINDS
from infra_doctor.model.finding import Status
from infra_doctor.model.plugins import ReportFormat
from infra_doctor.model.report import Report
from infra_doctor.runner import registry
from infra_doctor.runner.run import Run, unrecorded

FAIL_ON = ("fail", "warn", "unknown", "never")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `check`; each report format registers its own flag."""
    formats = registry.load(("reports",), third_party="--no-plugins" not in sys.argv).reports
    outputs = parser.add_argument_group("output (standard output; several may be asked for)")
    for item in formats:
        if item.takes_file:
            outputs.add_argument(f"--{item.name}", metavar="FILE", help=item.help)
        else:
            outputs.add_argument(f"--{item.name}", action="store_true", help=item.help)
        if item.add_arguments is not None:
            item.add_arguments(outputs)
    outputs.add_argument("-v", "--verbose", action="count", default=0, help="say more (every copy, every pair)")
    outputs.add_argument("--no-color", action="store_true", help="no ANSI colours (also by NO_COLOR)")
    outputs.add_argument("--ascii", action="store_true", help="ASCII signs only")
    add_machine_arguments(parser)
    verdict = parser.add_argument_group("verdict")
    verdict.add_argument("--only", action="append", metavar="ID", help="judge by this check only (may be repeated)")
    verdict.add_argument(
        "--fail-on", choices=FAIL_ON, default="fail", help="exit with 1 from this status on (default: fail)"
    )
    verdict.add_argument(
        "--lenient", action="store_true", help="exit with 0 where an accelerator could not be looked at"
    )
    parser.set_defaults(formats=formats)


def run(args: argparse.Namespace) -> int:
    """Look, judge, write what was asked for, and give the exit code."""
    options = run_options(args)
    chosen = [f for f in args.formats if getattr(args, f.name.replace("-", "_")) not in {None, False}]
    to_stdout = [f for f in chosen if not f.takes_file]
    if len(to_stdout) > 1:
        names = ", ".join(f"--{f.name}" for f in to_stdout)
        raise UsageError(f"{names}: standard output holds one document", help="Ask for one of them.")
    if not to_stdout:
        to_stdout = [f for f in args.formats if f.name == "text"]
    this_run = Run(options)
    report = this_run.execute()
    settings = terminal_settings(args)
    for item in chosen:
        if item.takes_file:
            path = str(getattr(args, item.name.replace("-", "_")))
            write_file(path, _render(item, report, settings))
            say(f"wrote {path}")
    for item in to_stdout:
        write_stdout(_render(item, report, settings))
    if args.debug:
        for trace in this_run.traces:
            say(trace)
    if this_run.machine is not None and (missing := unrecorded(this_run.machine)) and args.verbose:
        say(f"{missing} questions have no answer in the snapshot; they count as absent")
    return exit_code(report, fail_on=args.fail_on, lenient=args.lenient)


def _render(item: ReportFormat, report: Report, settings: dict[str, object]) -> str:
    return item.render(report, settings)


def exit_code(report: Report, *, fail_on: str = "fail", lenient: bool = False) -> ExitCode:
    """1: a finding at or above `fail_on`; 3: a device that is there could not be looked at; 1 wins."""
    live = [f for f in report.findings if f.waived is None]
    if fail_on != "never":
        counted = {Status(s) for s in FAIL_ON[: FAIL_ON.index(fail_on) + 1]}
        if any(f.status in counted for f in live):
            return ExitCode.FINDINGS
    unseen = (f for f in live if f.status is Status.ERROR)
    if not lenient and any(key.split(":", 1)[0] in DEVICE_KINDS for f in unseen for key in f.subject):
        return ExitCode.UNSEEN
    return ExitCode.OK
