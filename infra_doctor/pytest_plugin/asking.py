"""Looks at the machine, by `infra-doctor check --json` in a process of its own.

Not in pytest's process, although the check imports nothing of what it looks at: there, clocks, files and programs may be
replaced for the tests, pytest would compile each of our modules anew for its assertions (0.9 s instead of 0.3 s in a fresh
environment), and a driver that hangs would stay in a thread. Here the exit codes are a contract, and what hangs is ended."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from infra_doctor.codec import convert
from infra_doctor.errors import ExitCode, InfraDoctorError
from infra_doctor.model.record import record
from infra_doctor.model.report import Report
from infra_doctor.model.wording import printable

GRACE_S = 10.0  # the check ends by itself at its own bound; this is for what keeps it from that
ANSWERS = (ExitCode.OK, ExitCode.FINDINGS, ExitCode.UNSEEN)
# What this Python finds, the child must find: it may run out of an archive, or a folder that a launcher added. These come
# last and `-P` leaves the working folder out, so that no file of the tests stands before the standard library.
_START = (
    "import json, sys; sys.path += [p for p in json.loads(sys.argv.pop(1)) if p not in sys.path]; "
    "from infra_doctor.__main__ import main; main()"
)


@record
class Answer:
    """What a check said: its exit code, its report, and that as JSON. Else `hung` (nothing can be said of the machine) or
    `fault` (infra-doctor could not do its work) says why there is none."""

    code: int = 0
    text: str = ""
    report: Report | None = None
    hung: str = ""
    fault: str = ""


def machine() -> tuple[str, ...]:
    """Which machine, and which Python of it: this one. (Tests put a recorded machine here.)"""
    return ("--python", sys.executable)


def ask(arguments: Sequence[str], timeout_s: float) -> Answer:
    """Run one check with these options."""
    if not sys.executable:
        return Answer(fault="this Python does not know its own program (sys.executable is empty)")
    path = json.dumps([os.path.abspath(p) for p in sys.path if isinstance(p, str) and p])
    argv = [sys.executable, "-P", "-W", "ignore", "-c", _START, path, "check", "--json", "--timeout", f"{timeout_s:g}"]
    try:
        process = subprocess.Popen(
            [*argv, *machine(), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, encoding="utf-8", errors="replace", start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        return Answer(fault=f"{argv[0]}: {error.strerror}")
    try:
        out, err = process.communicate(timeout=timeout_s + GRACE_S)
    except subprocess.TimeoutExpired:
        _end(process)
        return Answer(hung=f"no answer within {timeout_s:g} s")
    except BaseException:  # ctrl-c, or the end of a test's own time
        _end(process)
        raise
    return _read(process.returncode, out, err)


def _read(code: int, out: str, err: str) -> Answer:
    if code not in ANSWERS:
        said = " ".join(printable(line) for line in err.strip().splitlines()[-4:])
        return Answer(code=code, fault=said[-600:] or f"it ended with {code} and said nothing")
    if not out:  # ended at its own bound
        return Answer(code=code, hung=printable((err.strip().splitlines() or ["no answer"])[-1])[:200])
    try:
        return Answer(code=code, text=out, report=convert(json.loads(out), Report, where="its report"))
    except (ValueError, RecursionError, InfraDoctorError) as error:
        return Answer(code=code, fault=f"its answer cannot be read: {printable(str(error))[:300]}")


def _end(process: "subprocess.Popen[str]") -> None:
    """End the process and what it started; what cannot die is not waited for."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    try:
        process.wait(1.0)
    except subprocess.TimeoutExpired:
        process.returncode = -signal.SIGKILL  # else its object complains when it goes
