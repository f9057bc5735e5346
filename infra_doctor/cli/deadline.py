"""`--timeout` bounds the whole run, whatever it is that hangs: a file system, a pipe, a plug-in.

Probes have a deadline of their own, a little earlier, so that a run that is late still judges and writes what it has: the
better outcome. This is the last resort behind it: a thread that leaves for the process. What hangs inside the kernel and
cannot be killed there keeps the process until it returns; no program can change that."""

import argparse
import threading
import time
from dataclasses import replace

from infra_doctor.cli.main import last_words, leave
from infra_doctor.cli.options import run_options
from infra_doctor.errors import ExitCode
from infra_doctor.runner.run import RunOptions

RESERVE_S = 1.0  # for judging and writing, of what the run may take; a fifth where that is less
GRACE_S = 1.0  # what judging and writing may take longer than it should


class Deadline:
    """The bound of one run. `doing` says what it is at; `verdict` is its exit code as far as that is known."""

    def __init__(self, *, lenient: bool = False) -> None:
        self.began = time.monotonic()
        self.limit_s: float | None = None
        self.lenient = lenient
        self.verdict = ExitCode.OK
        self.doing = "reading its input"

    def bound(self, limit_s: float | None) -> None:
        """Begin to watch; the first limit that is given holds."""
        if limit_s is not None and self.limit_s is None:
            import select as select  # what `last_words` needs must not be looked for on a disk that hangs

            self.limit_s = limit_s
            threading.Thread(target=self._watch, args=(limit_s,), name="timeout", daemon=True).start()

    def probes_s(self) -> float | None:
        """The seconds that are left for looking at the machine; None where the run is not bounded."""
        if self.limit_s is None:
            return None
        left = self.began + self.limit_s - time.monotonic() - min(RESERVE_S, self.limit_s / 5)
        return max(left, 0.001)

    def _watch(self, limit_s: float) -> None:
        time.sleep(max(0.0, self.began + limit_s + GRACE_S - time.monotonic()))
        last_words(f"infra-doctor: ended by --timeout after {limit_s:g} s, while {self.doing}")
        leave(self.code(), flush=False)

    def code(self) -> ExitCode:
        """The exit code of a run that is ended: what it has found already counts."""
        if self.verdict is ExitCode.FINDINGS:
            return ExitCode.FINDINGS
        return ExitCode.OK if self.lenient else ExitCode.UNSEEN


def bounded_options(args: argparse.Namespace) -> RunOptions:
    """The run that the options ask for, under watch from now on. Raises UsageError."""
    deadline, options = Deadline(), run_options(args)
    deadline.bound(args.timeout)
    deadline.doing = "looking at the machine"
    return replace(options, timeout_s=deadline.probes_s())
