"""`infra-doctor triage`: from a log to its causes, best first, and what this machine says of each."""

import argparse
import os
import sys
from collections.abc import Sequence

from infra_doctor.cli.deadline import bounded_options
from infra_doctor.cli.documents import add_output_arguments, write_document
from infra_doctor.cli.main import say
from infra_doctor.cli.options import add_machine_arguments
from infra_doctor.errors import ExitCode, InputError, UsageError
from infra_doctor.model.report import Report
from infra_doctor.model.triage import MachineCheck, Triage
from infra_doctor.runner import registry
from infra_doctor.runner.run import Run
from infra_doctor.triage.reading import Log, file_logs, stdin_log, text_log

FAIL_ON = ("cause", "confirmed", "never")
# An argument of such a form that names no file was meant to be one.
FILE_ENDINGS = (".log", ".txt", ".out", ".err", ".gz", ".json", ".jsonl")
HELP = "Give a log file, a folder of rank logs, `-` for standard input, or the error's text in quotation marks."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `triage`."""
    parser.add_argument(
        "log", metavar="FILE|TEXT", nargs="*", help="log files or folders of them, `-`, or the text of an error"
    )
    judged = parser.add_argument_group("judged by (default: this machine)")
    judged.add_argument("--log-only", action="store_true", help="read the log alone; look at no machine")
    judged.add_argument("--against", metavar="FILE", help="judge by another machine's saved report or snapshot")
    parser.add_argument(
        "--fail-on",
        choices=FAIL_ON,
        default="cause",
        help="exit with 1 where a cause is found that the machine does not rule out (default), "
        "where the machine confirms one, or never",
    )
    add_output_arguments(parser)
    add_machine_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Read the logs, look at the machine, write the causes."""
    if args.against is not None and (args.log_only or args.root is not None or args.replay is not None):
        raise UsageError("--against excludes --log-only, --root and --replay", help="Give one machine to judge by.")
    if args.log_only and (args.root is not None or args.replay is not None):
        raise UsageError("--log-only looks at no machine", help="Leave out --root and --replay.")
    options = bounded_options(args)
    logs, trusted, lenient = inputs(args.log)
    # Reading the log needs the checks with their signatures alone, and this machine is looked at after it: what is typed
    # wrong is said at once.
    from infra_doctor.triage.run import judge, read, redactor_of_logs

    plugins = registry.load(third_party=not args.no_plugins)
    reading = read(logs, plugins.checks, trusted=trusted, lenient=lenient)
    this_run = Run(options, registry=plugins)
    report: Report | None = None
    against = "nothing"
    if args.against is not None:
        report, against = _judged_elsewhere(args.against, this_run)
    elif not args.log_only:
        report, against = this_run.execute(), "snapshot" if args.replay is not None else "machine"
    redactor = this_run.redactor or redactor_of_logs(identify=options.identify)
    document = judge(reading, plugins.checks, redactor, report=report, against=against)
    write_document(document, args)
    for item in document.inputs:
        if item.note:
            say(f"{item.name}: {item.note}")
    if args.debug:
        for trace in this_run.traces:
            say(trace)
    return exit_code(document, fail_on=args.fail_on)


def inputs(arguments: Sequence[str]) -> tuple[list[Log], bool, bool]:
    """The logs, whether they are an error's own text, and whether single ones may be unreadable. Raises UsageError,
    InputError."""
    if not arguments:
        if sys.stdin.isatty():
            raise UsageError("no log", help=HELP)
        return [stdin_log()], False, False
    there = [argument == "-" or os.path.lexists(argument) for argument in arguments]
    if not all(there):
        lost = [a for a, found in zip(arguments, there, strict=True) if not found and _looks_like_file(a)]
        if lost:
            raise InputError(f"{lost[0]}: no such file", help=HELP)
        text = " ".join(arguments)
        if not text.strip():
            raise UsageError("an empty text", help=HELP)
        return [text_log(text)], True, False
    if arguments.count("-") > 1:
        raise UsageError("standard input can be read once", help=HELP)
    logs = [log for a in arguments for log in ([stdin_log()] if a == "-" else file_logs(a))]
    return logs, False, any(a != "-" and os.path.isdir(a) for a in arguments)


def _looks_like_file(argument: str) -> bool:
    if any(c.isspace() for c in argument):
        return False
    return argument.endswith(FILE_ENDINGS) or (argument.startswith(("/", "./", "../", "~")) and ":" not in argument)


def _judged_elsewhere(path: str, this_run: Run) -> tuple[Report, str]:
    """The report of `--against`: saved, or made from a snapshot."""
    from dataclasses import replace

    from infra_doctor.codec import convert, read_document

    document = read_document(path, ("report", "snapshot"))
    if document["kind"] == "report":
        return convert(document, Report, where=path), "report"
    this_run.options = replace(this_run.options, replay=path)
    return this_run.execute(), "snapshot"


def exit_code(document: Triage, *, fail_on: str = "cause") -> ExitCode:
    """1: a cause that the machine does not rule out (`cause`), or that it confirms (`confirmed`)."""
    checks = {c.machine_check for c in document.causes}
    checks |= {f.machine_check for c in document.causes for f in c.follows}
    wanted = {
        "cause": set(MachineCheck) - {MachineCheck.RULED_OUT},
        "confirmed": {MachineCheck.CONFIRMED},
        "never": set[MachineCheck](),
    }[fail_on]
    return ExitCode.FINDINGS if checks & wanted else ExitCode.OK
