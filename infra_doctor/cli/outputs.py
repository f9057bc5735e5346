"""Which documents a run writes, in which formats and where: `--format NAME[=PATH]`, the formats' own flags, `--format auto`.

Everything is rendered before anything is written, and one output that cannot be written does not take the others along."""

import argparse
import os
from collections.abc import Mapping, Sequence

from infra_doctor.cli.main import say
from infra_doctor.cli.output import append_file, write_file, write_stdout
from infra_doctor.errors import OutputError, UsageError
from infra_doctor.model.plugins import ReportFormat
from infra_doctor.model.record import record
from infra_doctor.model.report import Report

STDOUT, APPEND, AUTO = "-", ">>", "auto"


@record
class Output:
    """One document: the format, and where it goes (`STDOUT`, a path, or `APPEND` and a path)."""

    format: ReportFormat
    where: str


def add_format_arguments(group: argparse._ArgumentGroup, formats: Sequence[ReportFormat]) -> None:
    """`--format`, and each format's own flag and options."""
    names = ", ".join(f.name for f in formats)
    group.add_argument(
        "--format", action="append", metavar="NAME[=PATH]", default=[],
        help=f"write this format to PATH, or to standard output (may be repeated): {names}; "
        f"`{AUTO}` chooses by the CI system that runs this",
    )  # fmt: skip
    for item in formats:
        if item.flag:
            if item.takes_file:
                group.add_argument(f"--{item.name}", metavar="FILE", help=item.help)
            else:
                group.add_argument(f"--{item.name}", action="store_true", help=item.help)
        if item.add_arguments is not None:
            item.add_arguments(group)


def chosen(args: argparse.Namespace, formats: Sequence[ReportFormat], environ: Mapping[str, str]) -> list[Output]:
    """What the options ask for; text on standard output where nothing else goes there. Raises UsageError."""
    by_name = {f.name: f for f in formats}
    found: list[Output] = []
    for asked in args.format:
        name, parted, path = asked.partition("=")
        if name == AUTO and not parted:
            found += automatic(formats, environ)
        elif name not in by_name:
            from infra_doctor.policy.specs import nearest

            near = nearest(name, (*by_name, AUTO))
            help_text = f"Nearest: {near}." if near else f"Formats: {', '.join(by_name)}, {AUTO}."
            raise UsageError(f"--format {asked[:60]}: no such format", help=help_text)
        elif parted and not path:
            raise UsageError(f"--format {asked[:60]}: the path is missing", help=f"--format {name}=PATH, or {name}.")
        else:
            found.append(Output(format=by_name[name], where=path if parted else STDOUT))
    for item in formats:
        value = getattr(args, item.name.replace("-", "_"), None) if item.flag else None
        if value not in {None, False}:
            found.append(Output(format=item, where=str(value) if item.takes_file else STDOUT))
    found = list({(o.format.name, o.where): o for o in found}.values())
    _no_two_at_one_place(found)
    if not any(o.where == STDOUT for o in found):
        found.append(Output(format=by_name["text"], where=STDOUT))
    return found


def automatic(formats: Sequence[ReportFormat], environ: Mapping[str, str]) -> list[Output]:
    """What each format wants of the CI system that this environment tells."""
    found = [Output(format=f, where=where) for f in formats if f.automatic and (where := f.automatic(environ))]
    if not found:
        say("--format auto: no CI system that is known shows in the environment; text it is")
    return found


def _no_two_at_one_place(outputs: Sequence[Output]) -> None:
    places: dict[str, Output] = {}
    for output in outputs:
        place = output.where
        if place != STDOUT:
            place = os.path.realpath(place.removeprefix(APPEND))
            if not os.path.isfile(place) and os.path.exists(place):  # a pipe or a device takes several
                continue
        other = places.setdefault(place, output)
        if other is not output:
            names = f"{other.format.name} and {output.format.name}"
            if place == STDOUT:
                raise UsageError(
                    f"{names}: standard output holds one document", help="Ask for one of them, or give one a path."
                )
            raise UsageError(f"{names} would both be written to {output.where}", help="Give each its own path.")


def deliver(report: Report, outputs: Sequence[Output], settings: dict[str, object]) -> None:
    """Render and write all, standard output last. Raises the first OutputError after the others were written."""
    texts = [(o, o.format.render(report, settings)) for o in outputs]
    failed: list[OutputError] = []
    for output, text in texts:
        if output.where == STDOUT:
            continue
        try:
            if output.where.startswith(APPEND):
                append_file(output.where.removeprefix(APPEND), text)
            else:
                write_file(output.where, text)
            say(f"wrote {output.where.removeprefix(APPEND)}")
        except OutputError as error:
            failed.append(error)
    for output, text in texts:
        if output.where == STDOUT:
            write_stdout(text)
    if failed:
        for further in failed[1:]:
            say(f"infra-doctor: {further}")
        raise failed[0]
