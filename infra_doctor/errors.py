"""One class per error that ends a run, with its exit code and what the user can do about it.

Everything else is a value: a finding, a probe outcome, a missing observation."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The contract of DESIGN.md section 5."""

    OK = 0
    FINDINGS = 1
    USAGE = 2
    UNSEEN = 3
    FAULT = 4


class InfraDoctorError(Exception):
    """A run cannot go on. `help` says the way out."""

    exit_code: ExitCode = ExitCode.USAGE
    help: str = ""

    def __init__(self, message: str, *, help: str | None = None) -> None:
        super().__init__(message)
        if help is not None:
            self.help = help


class UsageError(InfraDoctorError):
    """Options that do not go together or have a wrong value."""

    help = "See `infra-doctor --help`."


class InputError(InfraDoctorError):
    """A file given by the user cannot be read or understood."""


class TargetError(InfraDoctorError):
    """`--python`, `--pid` or `--root` names nothing that can be judged."""


class OutputError(InfraDoctorError):
    """An output asked for cannot be written."""


class FormatError(InfraDoctorError):
    """A report format failed: a fault of its own, not of what was asked for."""

    exit_code = ExitCode.FAULT
    help = "Run again with --debug and send us what it prints; `--no-plugins` leaves third parties' formats out."
