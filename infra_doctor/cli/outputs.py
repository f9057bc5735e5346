"""Which documents a run writes, in which formats and where: `--format NAME[=PATH]`, the formats' own flags, `--format auto`.

What can be known to be wrong with a path is said before the run. Everything is rendered before anything is written, and an
output that cannot be rendered or written does not take the others along."""

import argparse
import os
import stat
from collections.abc import Mapping, Sequence

from infra_doctor.cli.main import say
from infra_doctor.cli.output import append_file, refuse_unwritable, write_file, write_stdout
from infra_doctor.errors import FormatError, InfraDoctorError, OutputError, UsageError
from infra_doctor.model.plugins import ReportFormat
from infra_doctor.model.record import record
from infra_doctor.model.report import Report

STDOUT, APPEND, AUTO = "-", ">>", "auto"
STDOUT_NAMES = frozenset({STDOUT, "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"})


@record
class Output:
    """One document: the format, and where it goes (`STDOUT`, a path, or `APPEND` and a path)."""

    format: ReportFormat
    where: str


def add_format_arguments(group: argparse._ArgumentGroup, formats: Sequence[ReportFormat]) -> list[ReportFormat]:
    """`--format`, and each format's own flag and options. Gives the formats whose options could be registered."""
    usable = []
    names = ", ".join(f.name for f in formats)
    group.add_argument(
        "--format", action="append", metavar="NAME[=PATH]", default=[],
        help=f"write this format to PATH, or to standard output (may be repeated): {names}; "
        f"`{AUTO}` chooses by the CI system that runs this",
    )  # fmt: skip
    for item in formats:
        try:
            _register(group, item)
            usable.append(item)
        except Exception as error:  # noqa: BLE001  a third party's; an option of that name may be there already
            say(f"infra-doctor: the format {item.name} is left out: {type(error).__name__}: {error}")
    return usable


def _register(group: argparse._ArgumentGroup, item: ReportFormat) -> None:
    if item.flag:
        if item.takes_file:
            group.add_argument(f"--{item.name}", metavar="FILE", help=item.help)
        else:
            group.add_argument(f"--{item.name}", action="store_true", help=item.help)
    if item.add_arguments is not None:
        item.add_arguments(group)


def chosen(args: argparse.Namespace, formats: Sequence[ReportFormat], environ: Mapping[str, str]) -> list[Output]:
    """What the options ask for; text on standard output where nothing else goes there. Raises UsageError, OutputError."""
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
    found = [Output(format=o.format, where=STDOUT) if o.where in STDOUT_NAMES else o for o in found]
    found = list({(o.format.name, o.where): o for o in found}.values())
    _no_two_at_one_place(found)
    for output in found:
        if output.where != STDOUT:
            refuse_unwritable(output.where.removeprefix(APPEND), append=output.where.startswith(APPEND))
    if not any(o.where == STDOUT for o in found):
        found.append(Output(format=by_name["text"], where=STDOUT))
    return found


def automatic(formats: Sequence[ReportFormat], environ: Mapping[str, str]) -> list[Output]:
    """What each format wants of the CI system that this environment tells, where that can be written: the system may have
    named a file of its own that is not here, in a container."""
    found = []
    for item in formats:
        where = item.automatic(environ) if item.automatic else ""
        if not where:
            continue
        try:
            if where != STDOUT:
                refuse_unwritable(where.removeprefix(APPEND), append=where.startswith(APPEND))
            found.append(Output(format=item, where=where))
        except OutputError as error:
            say(f"--format auto: {item.name} is left out: {error}")
    if not found:
        say("--format auto: no CI system that is known shows in the environment; text it is")
    return found


def _no_two_at_one_place(outputs: Sequence[Output]) -> None:
    places: dict[str, Output] = {}
    for output in outputs:
        where = output.where.removeprefix(APPEND)
        place = _place(where)
        if place is None:
            continue
        other = places.setdefault(place, output)
        if other is not output:
            names = f"{other.format.name} and {output.format.name}"
            if place == STDOUT:
                raise UsageError(
                    f"{names}: standard output holds one document", help="Ask for one of them, or give one a path."
                )
            raise UsageError(f"{names} would both be written to {where}", help="Give each its own path.")


def _place(where: str) -> str | None:
    """What tells a place from others; None for what takes several documents, as a pipe or a device does."""
    if where == STDOUT:
        return STDOUT
    real = where
    try:
        real = os.path.realpath(where)
        found = os.stat(where)
    except OSError:  # not there yet, or (which is told later) a place that cannot be
        return real
    if not stat.S_ISREG(found.st_mode):
        return None
    try:  # `--html x > x`: renaming over it would lose what is printed
        return STDOUT if os.path.samestat(found, os.fstat(1)) else real
    except OSError:
        return real


def deliver(report: Report, outputs: Sequence[Output], settings: dict[str, object]) -> None:
    """Render and write all, standard output last. Raises the first OutputError or FormatError after the others were
    written."""
    failed: list[InfraDoctorError] = []
    try:
        texts = [(o, text) for o in outputs if (text := _rendered(report, o, settings, failed)) is not None]
        for output, text in sorted(texts, key=lambda pair: pair[0].where == STDOUT):
            try:
                _write(output, text)
            except OutputError as error:
                failed.append(error)
    except BaseException:  # a signal, or whoever reads us has gone: what failed before is said all the same
        _say(failed)
        raise
    if failed:
        _say(failed[1:])
        raise failed[0]


def _rendered(
    report: Report, output: Output, settings: dict[str, object], failed: list[InfraDoctorError]
) -> str | None:
    try:
        text: object = output.format.render(report, {**settings, "present_bytes": _present_bytes(output.where)})
        if not isinstance(text, str):
            raise TypeError(f"it gave {type(text).__name__}, not text")
    except Exception as error:  # noqa: BLE001  one format's fault must not take the others along
        if settings.get("debug"):
            import traceback

            say(traceback.format_exc().rstrip())
        failed.append(FormatError(f"the format {output.format.name} failed: {type(error).__name__}: {error}"))
        return None
    return text


def _present_bytes(where: str) -> int:
    """What a file that is added to has already."""
    try:
        return os.stat(where.removeprefix(APPEND)).st_size if where.startswith(APPEND) else 0
    except OSError:
        return 0


def _write(output: Output, text: str) -> None:
    if output.where == STDOUT:
        write_stdout(text)
        return
    if output.where.startswith(APPEND):
        append_file(output.where.removeprefix(APPEND), text)
    else:
        write_file(output.where, text)
    say(f"wrote {output.where.removeprefix(APPEND)}")


def _say(errors: Sequence[InfraDoctorError]) -> None:
    for error in errors:
        say(f"infra-doctor: {error}")
