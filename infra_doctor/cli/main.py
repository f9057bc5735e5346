"""Parses the command line, runs the verb, and leaves: flushed, with the contract's exit code, waiting for no thread."""

import argparse
import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from infra_doctor.errors import ExitCode, InfraDoctorError
from infra_doctor.model.escaping import inert, printable

# Verb -> one line of help. Each is a module of this package with `add_arguments(parser)` and `run(args) -> int`.
VERBS = {
    "check": "look at this machine, judge it, and say what to change",
    "bench": "how fast this machine is, each value beside what it should be",
    "plan": "what to install or change so that a wish fits this machine, or its findings go away",
    "triage": "the causes that a log or an error text names, and which of them this machine has",
    "diff": "what changed from one report or snapshot to another, and whether it got worse",
    "explain": "what a finding id or a compatibility rule means, and where it is published",
    "list": "the probes, checks, rules and formats that are there",
    "policy": "write a policy from this machine, validate one, or name what may stand in one",
    "snapshot": "write the redacted observations of this machine, for another place to judge",
    "schema": "the JSON Schema of a document",
    "collector": "write a zipapp that takes a snapshot with any Python from 3.7 on",
}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong as everything else is said: what was typed may come from somewhere else."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        say(f"{self.prog}: error: {message}")
        self.exit(2)


def build_parser(verb: str | None) -> argparse.ArgumentParser:
    """The parser; only the verb that runs has its options built, for the others a line of help is enough."""
    parser = _Parser(
        prog="infra-doctor",
        description="Tells whether this machine's accelerator stack fits together, what to change if not, and why.",
        epilog="Without a verb: the dashboard on a terminal, else `check`. Exit codes: 0 no failure, 1 findings, "
        "2 wrong usage or input, 3 an accelerator that is there could not be looked at, 4 a fault of our own.",
    )
    parser.add_argument("-V", "--version", action="store_true", help="print the version")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    for name, text in VERBS.items():
        # No abbreviations: one that is unambiguous today need not be so tomorrow, and pipelines keep it.
        sub = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
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
    try:
        leave(_coded(argv))
    except (KeyboardInterrupt, Ended) as error:
        _answer_signals(_deaf)
        number = error.args[0] if isinstance(error, Ended) else signal.SIGINT
        last_words(f"infra-doctor: {f'ended by {number.name}' if isinstance(error, Ended) else 'interrupted'}")
        leave(128 + number, flush=False)


def _coded(argv: list[str]) -> int:
    """Run the verb; what ends it is said and becomes the exit code."""
    debug = "--debug" in argv
    try:
        return _dispatch(argv)
    except InfraDoctorError as error:
        if debug:
            _say_traceback()
        say(f"infra-doctor: {error}")
        if error.help:
            say(error.help)
        return int(error.exit_code)
    except BrokenPipeError:
        return _after_broken_pipe()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 0 if error.code is None else ExitCode.USAGE
    except Exception as error:  # noqa: BLE001  whatever it is, the user gets one line and the contract's exit code
        if debug:
            _say_traceback()
        say(f"infra-doctor: a fault of our own: {type(error).__name__}: {error}")
        say("Run again with --debug and send us what it prints.")
        return ExitCode.FAULT


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
    """A line to standard error, whatever state it is in. Control characters, and commands for the runner of a CI system,
    are shown, not sent."""
    with contextlib.suppress(OSError, ValueError):
        print(inert(printable(text, lines=True)), file=sys.stderr, flush=True)


def last_words(text: str) -> None:
    """A line to standard error just before leaving: where nobody takes it, it is not waited for, nor for a lock that a
    writer who hangs may hold."""
    import select

    with contextlib.suppress(OSError, ValueError):
        ready = select.poll()
        ready.register(2, select.POLLOUT)
        if ready.poll(0):
            os.write(2, f"{inert(printable(text))}\n".encode("utf-8", "backslashreplace")[: select.PIPE_BUF])


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
    _answer_signals(_deaf)  # one is enough: what is taken away then is not to be broken off
    raise Ended(signal.Signals(number))


def _deaf(number: int, frame: object) -> None:
    """A signal that changes nothing any more. (Python reports one that it finds set to SIG_IGN when it comes to it.)"""


def _answer_signals(answer: Callable[[int, object], None] | signal.Handlers) -> None:
    """What the signals that we listen to do from now on. Nothing where a thread asks: signals are the main thread's."""
    global _heard
    with contextlib.suppress(ValueError):
        if not _heard:
            listened = (_end, signal.default_int_handler)
            _heard = [n for n in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT) if signal.getsignal(n) in listened]
        for number in _heard:
            signal.signal(number, answer)


_heard: list[signal.Signals] = []


def _after_broken_pipe() -> int:
    # Whoever read us has gone: nothing more can be said there, and the interpreter must not try at exit.
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE


def leave(code: int, *, flush: bool = True) -> NoReturn:
    """Leave at once, as a probe's thread may hang in a driver for ever; what it has started is ended, what is half written
    taken away. After a signal nothing is flushed: whoever reads us may be what hangs."""
    _answer_signals(_deaf)
    if "infra_doctor.machine.agent" in sys.modules:
        sys.modules["infra_doctor.machine.agent"].end_commands()
    if "infra_doctor.cli.output" in sys.modules:
        sys.modules["infra_doctor.cli.output"].remove_temporaries()
    if flush:
        _answer_signals(signal.SIG_DFL)
        code = _flushed(code)
    os._exit(code)


def _flushed(code: int) -> int:
    """Standard output and error are flushed; the exit code after that."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = code or 128 + signal.SIGPIPE
    except OSError as error:
        if not code:  # else it has been said
            say(f"infra-doctor: standard output: {error.strerror}")
            code = ExitCode.USAGE
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    return code
