"""A worker that speaks the protocol and misbehaves as it is told: what `Worker` is tested against."""

import json
import os
import signal
import sys
import threading
from pathlib import Path


def say(request: dict, event: str, **fields: object) -> None:
    print(json.dumps({"id": request["id"], "event": event, **fields}), flush=True)


def result(request: dict, name: str, value: float = 100.0, **more: object) -> None:
    fields = {"unit": "B/s", "samples": [value, value], "began_ns": 1, "ended_ns": 2, "verified": True, **more}
    say(request, "result", name=name, value=value, **fields)


GROUP = os.environ.get("INFRA_DOCTOR_REQUEST")
REQUEST = Path(GROUP).read_text() if GROUP else ""
if GROUP and os.environ["RANK"] != "0" and "rank 1 dies" in REQUEST:
    print("rank 1 says why", file=sys.stderr)
    sys.exit(3)

for line in [REQUEST] if GROUP else sys.stdin:
    request = json.loads(line)
    call = request["call"]
    if call == "devices.describe":
        say(
            request,
            "result",
            name="devices",
            build={"torch": "fake"},
            devices=[{"kind": "cpu", "index": 0, "name": "CPU"}],
        )
    elif call in {"hang", "rank 1 dies"}:
        result(request, "before the hang")
        threading.Event().wait()
    elif call == "die":
        result(request, "before the end")
        os.kill(os.getpid(), signal.SIGSEGV)
    elif call == "exit":
        print("the last words", file=sys.stderr)
        sys.exit(7)
    elif call == "nonsense":
        print("this is no JSON", flush=True)
        continue
    elif call == "memory":
        say(request, "failed", kind="memory", message="OutOfMemoryError: no memory")
        continue
    elif call == "skip":
        say(request, "skip", name="a part", reason="not here")
    elif call == "wrong":
        result(request, "corrupted", verified=False)
    else:
        result(request, call, float(request["arguments"].get("value", 100.0)))
    say(request, "done")
