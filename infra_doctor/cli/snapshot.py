"""`infra-doctor snapshot FILE`: what this machine shows, redacted, for another place to judge."""

import argparse
import gzip

from infra_doctor.cli.deadline import bounded_options
from infra_doctor.cli.main import say
from infra_doctor.cli.options import add_machine_arguments
from infra_doctor.cli.output import refuse_unwritable, write_file, write_stdout
from infra_doctor.errors import ExitCode
from infra_doctor.runner.run import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `snapshot`."""
    parser.add_argument("file", metavar="FILE", help="where to write it (`-`: standard output; `.gz`: packed)")
    add_machine_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Look at the machine and write what was seen."""
    from infra_doctor.codec import encode
    from infra_doctor.runner.snapshot import make_snapshot

    options = bounded_options(args)
    if args.file != "-":
        refuse_unwritable(args.file)
    this_run = Run(options)
    report = this_run.execute()
    text = encode(make_snapshot(this_run, report), indent=1)
    if args.file == "-":
        write_stdout(text)
    else:
        raw = text.encode("utf-8")
        write_file(args.file, gzip.compress(raw, mtime=0) if args.file.endswith(".gz") else raw)
        say(f"wrote {args.file}; judge it anywhere with `infra-doctor check --replay {args.file}`")
    return ExitCode.OK
