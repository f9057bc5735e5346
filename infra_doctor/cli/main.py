"""Parses the command line, runs the verb, and leaves: flushed, with the contract's exit code, waiting for no thread."""

import argparse
import contextlib
import importlib
import os
import signal
import sys
from typing import NoReturn

from infra_doctor.errors import ExitCode, InfraDoctorError

# Verb -> one line of help. Each is a module of this package with `add_arguments(parser)` and `run(args) -> int`.
VERBS = {
    "check": "look at this machine, judge it, and say what to change",
    "plan": "what to install or change so that a wish fits this machine, or its findings go away",
    "triage": "the causes that a log or an error text names, and which of them this machine has",
    "diff": "what changed from one report or snapshot to another, and whether it got worse",
    "explain": "what a finding id or a compatibility rule means, and where it is published",
    "list": "the probes, checks, rules and formats that are there",
    "snapshot": "write the redacted observations of this machine, for another place to judge",
    "schema": "the JSON Schema of a document",
    "collector": "write a zipapp that takes a snapshot with any Python from 3.7 on",
}


def build_parser(verb: str | None) -> argparse.ArgumentParser:
    """The parser; only the verb that runs has its options built, for the others a line of help is enough."""
    parser = argparse.ArgumentParser(
        prog="infra-doctor",
        description="Tells whether this machine's accelerator stack fits together, what to change if not, and why.",
        epilog="Without a verb: the dashboard on a terminal, else `check`. Exit codes: 0 no failure, 1 findings, "
        "2 wrong usage or input, 3 an accelerator that is there could not be looked at, 4 a fault of our own.",
    )
    parser.add_argument("-V", "--version", action="store_true", help="print the version")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    for name, text in VERBS.items():
        sub = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.add_argument("--debug", action="store_true", help="show tracebacks")
        if name == verb:
            importlib.import_module(f"infra_doctor.cli.{name}").add_arguments(sub)
    return parser


def interactive() -> bool:
    """Whether a person sits before a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"


class Ended(BaseException):
    """SIGTERM or SIGHUP. Raised, so that a file that is being written is taken away."""


def run(argv: list[str]) -> NoReturn:
    """Run one command line and leave the process."""
    _open_standard_streams()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup has SIGHUP ignored
            signal.signal(number, _end)
    debug = "--debug" in argv
    try:
        code = _dispatch(argv)
    except InfraDoctorError as error:
        if debug:
            _say_traceback()
        say(f"infra-doctor: {error}")
        if error.help:
            say(error.help)
        code = int(error.exit_code)
    except BrokenPipeError:
        code = _after_broken_pipe()
    except KeyboardInterrupt:
        say("infra-doctor: interrupted")
        leave(128 + signal.SIGINT, flush=False)
    except Ended as error:
        number = signal.Signals(error.args[0])
        say(f"infra-doctor: ended by {number.name}")
        leave(128 + number, flush=False)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else ExitCode.USAGE
    except Exception as error:  # noqa: BLE001  whatever it is, the user gets one line and the contract's exit code
        if debug:
            _say_traceback()
        say(f"infra-doctor: a fault of our own: {type(error).__name__}: {error}")
        say("Run again with --debug and send us what it prints.")
        code = ExitCode.FAULT
    leave(code)


def _dispatch(argv: list[str]) -> int:
    first = next((a for a in argv if not a.startswith("-")), None)
    if first is None and not {"-h", "--help", "-V", "--version"} & set(argv):
        if interactive() and not argv:
            import gc

            from infra_doctor.tui.app import run_dashboard

            gc.enable()
            return run_dashboard()
        first = "check"
        argv = ["check", *argv]
    args = build_parser(first).parse_args(argv)
    if args.version:
        from infra_doctor import __version__
        from infra_doctor.cli.output import write_stdout

        write_stdout(f"infra-doctor {__version__}\n")
        return ExitCode.OK
    return int(importlib.import_module(f"infra_doctor.cli.{args.verb}").run(args))


def say(text: str) -> None:
    """A line to standard error, whatever state it is in. Control characters are shown, not sent."""
    with contextlib.suppress(OSError, ValueError):
        print("".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text), file=sys.stderr, flush=True)


def _say_traceback() -> None:
    import traceback

    say(traceback.format_exc().rstrip())


def _open_standard_streams() -> None:
    """Where a standard stream is closed, the next file that is opened would take its number, and its text: put something
    there that cannot be read or written."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, os.O_RDONLY if number else os.O_WRONLY)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))


def _end(number: int, frame: object) -> NoReturn:
    raise Ended(number)


def _after_broken_pipe() -> int:
    # Whoever read us has gone: nothing more can be said there, and the interpreter must not try at exit.
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE


def leave(code: int, *, flush: bool = True) -> NoReturn:
    """Leave at once, as a probe's thread may hang in a driver for ever; what it has started is ended. After a signal
    nothing is flushed: whoever reads us may be what hangs."""
    if "infra_doctor.machine.agent" in sys.modules:
        sys.modules["infra_doctor.machine.agent"].end_commands()
    try:
        if flush:
            sys.stdout.flush()
    except BrokenPipeError:
        code = code or 128 + signal.SIGPIPE
    except OSError as error:
        if not code:  # else it has been said
            say(f"infra-doctor: standard output: {error.strerror}")
            code = ExitCode.USAGE
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code)
