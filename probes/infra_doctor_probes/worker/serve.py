"""The worker's loop: requests come as JSON lines on standard input, answers go as JSON lines to the descriptor that was
standard output; what libraries print goes to standard error.

    -> {"id": 3, "call": "bandwidth.copy", "arguments": {...}}
    any number of
    <- {"id": 3, "event": "result", "name": ..., "value": ..., "unit": ..., "samples": [...], "began_ns", "ended_ns", ...}
    <- {"id": 3, "event": "skip", "name": ..., "reason": ...}
    and one
    <- {"id": 3, "event": "done"}  or  {"id": 3, "event": "failed", "kind": "memory" | "error", "message": ...}

The processes of a group (RANK and WORLD_SIZE are set, as torchrun does) all get one request, from the file that
INFRA_DOCTOR_REQUEST names; only rank 0's answers are read.

Times are CLOCK_MONOTONIC, which all processes of a machine share, so that a monitor's readings can be laid beside them."""

import importlib
import json
import os
import sys

# Module -> its functions that may be called from outside.
CALLS = {
    "devices": ("describe",),
    "bandwidth": ("host_device", "device_local", "peer", "host_memory"),
    "gemm": ("square",),
    "collectives": ("measure",),
    "streams": ("launch", "costs", "in_flight", "overlap"),
}


class Skipped(Exception):
    """This cannot be measured here; the reason is for the user."""


class Reporter:
    """Writes the events of one request."""

    def __init__(self, stream, request_id):
        self.stream, self.request_id = stream, request_id

    def send(self, event, **fields):
        """One line, at once: whoever reads may end us at any time."""
        self.stream.write((json.dumps(dict(id=self.request_id, event=event, **fields)) + "\n").encode("utf-8"))
        self.stream.flush()

    def result(self, name, value, unit, samples, began_ns, ended_ns, **more):
        """A measurement; `samples` are the single values in the same unit, taken in the span that is given."""
        self.send(
            "result", name=name, value=value, unit=unit, samples=samples, began_ns=began_ns, ended_ns=ended_ns, **more
        )

    def skip(self, name, reason):
        """A part that cannot be measured here."""
        self.send("skip", name=name, reason=reason)


def main():
    """Serve until standard input ends, or the one request of a group."""
    if "INFRA_DOCTOR_REQUEST" in os.environ:
        with open(os.environ["INFRA_DOCTOR_REQUEST"], encoding="utf-8") as file:
            lines = [file.read()]
    else:
        lines = sys.stdin
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # libraries print where they must not
    for line in lines:
        request = json.loads(line)
        reporter = Reporter(out, request["id"])
        module, _, function = request["call"].partition(".")
        try:
            if function not in CALLS.get(module, ()):
                raise ValueError("no such call: %s" % request["call"])
            target = getattr(importlib.import_module("." + module, __package__), function)
            target(reporter, **request.get("arguments", {}))
        except Skipped as reason:
            reporter.skip(request["call"], str(reason))
            reporter.send("done")
        except Exception as error:  # whatever the library raises, the next request may still work
            reporter.send("failed", kind=kind_of(error), message="%s: %s" % (type(error).__name__, str(error)[:2000]))
        else:
            reporter.send("done")


def kind_of(error):
    """ "memory" where an allocation failed."""
    name = type(error).__name__
    memory = name in ("OutOfMemoryError", "MemoryError") or "out of memory" in str(error).lower()
    return "memory" if memory else "error"
