"""A machine whose answers are spoilt on the way: damaged texts, listings, ELF and JSON, refusals, commands that hang.

Each spoilt answer still has the form that the agent gives (a child's document may hold anything), so what is tested is
what probes and checks make of it. The same seed spoils alike."""

import base64
import json
import math
import random
import re
from collections.abc import Callable
from typing import Any

DENIED = {"error": "Permission denied", "code": "EACCES"}
LOOP = {"error": "Too many levels of symbolic links", "code": "ELOOP"}
WRONG = (
    None, "", "x", "N/A", "12", "-1", "nan", 0, -1, 10**30, -(2**70), 1.5, math.nan, math.inf, True, False, [], {}, [[]],
    [None], [{}], ["a", 1, None], {"a": None}, "²", "1" * 5000, [[[[]]]], {"error": 3}, {"error": "x", "code": 1},
)  # fmt: skip
BITS = (
    "\n",
    "\t",
    " ",
    ":",
    "-",
    "²",
    "٣",
    "\0",
    "\ufeff",
    "N/A",
    "[",
    "{",
    "}",
    '"',
    "<",
    ">",
    ",",
    "=",
    "9" * 40,
    "1e999",
)
TEXTS = (
    "", "[]", "{}", "null", "1", '"x"', "NaN", "{" * 5000, "[" * 100_000, '{"a":' * 5000, "<a>" * 5000, "A" * (1 << 20),
    "\0" * 3000, ("9" * 3000 + " = : , \n") * 50, "a=b", "[x]\ny=[", "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
    "\x1b[31m<script>alert(1)</script>\n" * 20,
)  # fmt: skip


def spoilt_json(r: random.Random, value: Any, share: float) -> Any:
    """The value with a share of its parts gone, doubled, or of another type."""
    if r.random() < share:
        return r.choice(WRONG)
    if isinstance(value, dict):
        return {k: spoilt_json(r, v, share) for k, v in value.items() if r.random() > share / 3}
    if isinstance(value, list):
        out = [spoilt_json(r, v, share) for v in value]
        return out + out if r.random() < share else out
    return value


def spoilt_text(r: random.Random, text: str) -> str:
    """The text cut, mixed, with other numbers and words, or another one."""
    way = r.randrange(8)
    if way == 0:
        return text[: r.randrange(len(text) + 1)]
    if way == 1:
        return "".join(c if r.random() > 0.02 else r.choice(BITS) for c in text[:20_000])
    if way == 2:
        lines = text.splitlines(keepends=True)
        r.shuffle(lines)
        return "".join(lines)
    if way == 3:
        return re.sub(r"\d+", lambda m: r.choice((m[0], "9" * 24, "-1", "0", "²", "N/A", "0x")), text)
    if way == 4:
        return re.sub(
            r"[A-Za-z_]{3,}", lambda m: m[0] if r.random() < 0.8 else r.choice(("N/A", "null", "[]", "")), text
        )
    if way == 5:
        try:
            return json.dumps(spoilt_json(r, json.loads(text), 0.15))
        except (ValueError, RecursionError):
            return text + text
    return r.choice(TEXTS)


class Faulty:
    """A source that spoils a share of another one's answers."""

    def __init__(self, inner: Any, r: random.Random, share: float) -> None:
        self.inner, self.r, self.share = inner, r, share

    def ask(self, name: str, *arguments: Any) -> Any:
        answer = self.inner.ask(name, *arguments)
        spoil = SPOILERS.get(name)
        if answer is None or spoil is None or self.r.random() > self.share:
            return answer
        if isinstance(answer, dict) and "error" in answer and name != "child":
            return answer
        return spoil(self.r, answer)


def _child(r: random.Random, answer: Any) -> Any:
    if r.random() < 0.15 or not isinstance(answer.get("data"), dict):
        return r.choice(
            ({"error": "no answer within 3 s", "timed_out": True}, {"error": "x"}, {"data": {}}, {"data": {"x": 1}})
        )
    data = spoilt_json(r, answer["data"], r.choice((0.01, 0.03, 0.1, 0.3)))
    return (
        {"data": data}
        if isinstance(data, dict)
        else {"error": "the child process gave a JSON document of the wrong form"}
    )


def _run(r: random.Random, answer: Any) -> Any:
    way = r.randrange(6)
    if way == 0:
        return {"rc": None, "stdout": "", "stderr": "", "timed_out": True}
    if way == 1:
        return {
            "rc": r.choice((1, 127, -11)),
            "stdout": "",
            "stderr": spoilt_text(r, answer["stdout"]),
            "timed_out": False,
        }
    return DENIED if way == 2 else {**answer, "stdout": spoilt_text(r, answer["stdout"])}


def _read(r: random.Random, answer: Any) -> Any:
    way = r.randrange(6)
    if way == 0:
        return DENIED
    if way == 1:
        return {"error": "not a regular file", "code": "EINVAL"}
    if way == 2:
        return {"base64": base64.b64encode(r.randbytes(3000)).decode()}
    return {"text": spoilt_text(r, answer.get("text", ""))}


def _stat(r: random.Random, answer: Any) -> Any:
    others = (
        ["fifo", 0, 0o600, 0, "x:1", None],
        ["dir", 0, 0, 0, "x:2", None],
        ["char", 0, 0, 99999, "x:3", [9999, 99999]],
    )
    return r.choice((answer, DENIED, LOOP, ["file", 2**62, 0, 0, "x:4", None], *others))


def _list(r: random.Random, answer: Any) -> Any:
    strange = [["x", "other"], ["²", "dir"], ["..", "dir"], ["a\nb", "file"], ["9" * 200, "link"]]
    renamed = [[n + r.choice(("", "x", "²", "-1")), k] for n, k in answer]
    return r.choice(
        (DENIED, [], strange + answer, [[n, r.choice(("file", "dir", "link", "other"))] for n, _ in answer], renamed)
    )


def _environ(r: random.Random, answer: Any) -> Any:
    values = ("", "x", ",", "0,0,0", "-1", "²", "9" * 5000, "all", "none", "/:/:", "GPU-", "0,x,")
    return {k: r.choice((v, v, v, *values)) for k, v in answer.items()}


def _distributions(r: random.Random, answer: Any) -> Any:
    versions = ("", "x", "²", "1.0.0.0.0.0", "9" * 3000, "0", "1!2", "1.0+")
    requires = ["", "x;", "torch==", "@@", "torch (==1", "torch==2.*; python_version<'x'", "t" * 5000]
    spoilt = [{**d, "version": r.choice(versions)} if r.random() < 0.3 else d for d in answer]
    spoilt = [{**d, "requires": requires} if r.random() < 0.3 else d for d in spoilt]
    return r.choice((DENIED, [], spoilt, spoilt))


SPOILERS: dict[str, Callable[[random.Random, Any], Any]] = {
    "child": _child,
    "run": _run,
    "read": _read,
    "stat": _stat,
    "list": _list,
    "environ": _environ,
    "distributions": _distributions,
    "readlink": lambda r, a: r.choice((DENIED, "", "..", "/", "../../../x", "²", a)),
    "realpath": lambda r, a: r.choice((DENIED, "/", "/sys/²", a, a)),
    "opens": lambda r, a: r.choice((DENIED, "EPERM", "EIO", "E2BIG")),
    "limits": lambda r, a: r.choice((DENIED, {}, {"memlock": [None, None]}, {"memlock": [2**70, -5]})),
    "space": lambda r, a: r.choice(
        (DENIED, {"total_bytes": 0, "free_bytes": 0}, {"total_bytes": -1, "free_bytes": 2**70})
    ),
    "kernel_log": lambda r, a: r.choice((DENIED, {**a, "lines": [[s, spoilt_text(r, t)] for s, t in a["lines"]]})),
    "system": lambda r, a: r.choice((DENIED, {}, {k: r.choice((v, "")) for k, v in a.items()})),
    "environ_names": lambda r, a: r.choice((DENIED, [], ["NCCL_²"], ["x" * 5000], a)),
    "pci_config": lambda r, a: r.choice((DENIED, {"bytes": 4096, "port_type": 4, "acs_control": 65535})),
    "elf": lambda r, a: r.choice((DENIED, {**a, "needed": ["", "²", "../x"]}, {**a, "soname": ""})),
    "ldcache": lambda r, a: r.choice((DENIED, [])),
    "processes": lambda r, a: r.choice((DENIED, [], [[2**40, "²"]])),
}
