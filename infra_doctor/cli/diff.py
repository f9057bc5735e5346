"""`infra-doctor diff A B`: what changed from one report or snapshot to another, and whether it got worse."""

import argparse

from infra_doctor.cli.documents import add_output_arguments, write_document
from infra_doctor.codec import convert, read_document
from infra_doctor.errors import ExitCode
from infra_doctor.model.report import Report
from infra_doctor.runner import registry
from infra_doctor.runner.differences import difference
from infra_doctor.runner.held import looking_for_devices
from infra_doctor.runner.run import Run, RunOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `diff`."""
    what = "a report (`check --json`) or a snapshot; gzip too"
    parser.add_argument("before", metavar="A", help=what)
    parser.add_argument("after", metavar="B", help=what)
    add_output_arguments(parser)
    parser.add_argument("--no-plugins", action="store_true", help="leave third parties' plug-ins out")


def run(args: argparse.Namespace) -> int:
    """Compare and print. 1 where something got worse."""
    before, after = (read_side(path, third_party=not args.no_plugins) for path in (args.before, args.after))
    probes = registry.load(("probes",), third_party=not args.no_plugins).probes
    sources = (args.before, args.after)
    found = difference(before, after, sources=sources, device_probes=looking_for_devices(probes))
    write_document(found, args)
    return ExitCode.FINDINGS if found.worse else ExitCode.OK


def read_side(path: str, *, third_party: bool) -> Report:
    """The report of a file: a report as it is, a snapshot judged here. Raises InputError."""
    document = read_document(path, ("report", "snapshot"))
    if document["kind"] == "report":
        return convert(document, Report, where=path)
    return Run(RunOptions(replay=path, third_party=third_party)).execute()
