"""Child processes that call vendor libraries: a driver that hangs or crashes must not take us along."""

import contextlib
import json
import os
import signal
import sys
import threading
from typing import Any

from infra_doctor.machine.agent import UNDER_WAY, start

OUTPUT_CAP_BYTES = 4 << 20


def call_child(module: str, timeout_s: float) -> dict[str, Any]:
    """Run `module.main()` in a process of its own session; {"data": its JSON document} or {"error", "timed_out"}.

    `-S` and our own sys.path spare the child the reading of every .pth file. What cannot be ended (a process in D state)
    is left behind, not waited for."""
    import subprocess

    code = f"import sys; sys.path[:] = {sys.path!r}; import {module} as child; child.main()"
    try:
        process = start(
            [sys.executable, "-S", "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        return {"error": f"could not start a child process: {error.strerror}"}
    captured: dict[str, bytes] = {}

    def drain(name: str, stream: Any) -> None:
        with stream:
            captured[name] = stream.read(OUTPUT_CAP_BYTES)

    threads = [
        threading.Thread(target=drain, args=item, daemon=True)
        for item in (("out", process.stdout), ("err", process.stderr))
    ]
    for thread in threads:
        thread.start()
    try:
        code_of_exit = process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5)
        return {"error": f"no answer within {timeout_s:g} s; the child process was ended", "timed_out": True}
    finally:
        UNDER_WAY.discard(process.pid)
    for thread in threads:
        thread.join(0.5)
    last_words = captured.get("err", b"").decode("utf-8", "replace").strip().splitlines()[-1:]
    said = f": {last_words[0][:200]}" if last_words else ""
    if code_of_exit < 0:
        try:
            name = signal.Signals(-code_of_exit).name
        except ValueError:
            name = f"signal {-code_of_exit}"
        return {"error": f"the child process ended by {name}{said}"}
    if code_of_exit != 0:
        return {"error": f"the child process ended with code {code_of_exit}{said}"}
    try:
        data = json.loads(captured.get("out", b""))
    except (ValueError, RecursionError):
        return {"error": "the child process gave no JSON document"}
    if not isinstance(data, dict):
        return {"error": "the child process gave a JSON document of the wrong form"}
    return {"data": data}
