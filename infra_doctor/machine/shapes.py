"""What an observation may look like: the arguments and the results of the agent's operations, as `agent.py` describes them.

A live machine answers so by itself. A snapshot comes from a file that anybody may have written: what has another shape is
said with its place, before a probe trips over it. Children answer with any JSON document: their readers judge it."""

from typing import Any, NotRequired, TypedDict

import msgspec


class Failure(TypedDict):
    error: str


class Read(TypedDict):
    text: NotRequired[str]
    base64: NotRequired[bytes]  # msgspec decodes it, so it is known to be decodable


class Elf(TypedDict):
    path: str
    bits: int
    machine: int
    type: int
    interp: NotRequired[str | None]
    soname: NotRequired[str | None]
    rpath: NotRequired[str | None]
    runpath: NotRequired[str | None]
    needed: NotRequired[list[str] | None]
    version_needs: NotRequired[list[tuple[str, list[str]]] | None]
    version_defs: NotRequired[list[str] | None]


class Ldso(TypedDict):
    version: str | None
    directories: list[str] | None
    cache: str | None


class Distribution(TypedDict):
    path: str
    name: NotRequired[str]
    version: NotRequired[str]
    requires: NotRequired[list[str] | None]
    requires_python: NotRequired[str | None]
    tags: NotRequired[list[str] | None]
    installer: NotRequired[str | None]
    top_level: NotRequired[list[str] | None]
    error: NotRequired[str]


class Contested(TypedDict):
    path: str
    exists: bool
    claims: list[tuple[str, str]]
    winners: list[str] | None


class Records(TypedDict):
    file_counts: NotRequired[list[tuple[str, int]]]
    contested: NotRequired[list[Contested]]
    libraries: NotRequired[list[tuple[str, str]]]
    errors: NotRequired[list[tuple[str, str]]]
    overlaps: NotRequired[list[tuple[list[str], int, int]]]


class PciConfig(TypedDict):
    bytes: int
    port_type: int | None
    acs_control: int | None


class Space(TypedDict):
    total_bytes: int
    free_bytes: int


class KernelLog(TypedDict):
    lines: list[tuple[float, str]]
    source: str


class Run(TypedDict):
    rc: int | None
    stdout: str
    stderr: str
    timed_out: bool


class Child(TypedDict):
    data: NotRequired[dict[str, Any]]
    error: NotRequired[str]
    timed_out: NotRequired[bool]


class Request(TypedDict):
    """What a snapshot was asked for: the environment that it judges."""

    python: NotRequired[str | None]
    pid: NotRequired[int | None]
    all_pythons: NotRequired[bool]


RESULTS: dict[str, Any] = {
    "realpath": str,
    "readlink": str,
    "stat": tuple[str, int, int, int, str, tuple[int, int] | None],
    "list": list[tuple[str, str]],
    "read": Read,
    "pci_config": PciConfig,
    "elf": Elf,
    "ldcache": list[tuple[str, str, str | None]],
    "ldso": Ldso,
    "distributions": list[Distribution],
    "records": Records,
    "environ": dict[str, str],
    "environ_names": list[str],
    "processes": list[tuple[int, str]],
    "system": dict[str, str | int | None],
    "space": Space,
    "limits": dict[str, tuple[int | None, int | None]],
    "opens": str,
    "kernel_log": KernelLog,
    "run": Run,
    "child": Child,
}
ARGUMENTS: Any = list[str | int | float | bool | list[str | int | float | bool | None] | None]
# What is read from an answer that is there, whichever of its optional parts it has.
ONE_OF = {"read": ("text", "base64"), "distributions": ("name", "error"), "child": ("data", "error")}


def wrong_request(request: Any) -> str:
    """Why this is no request; "" where it is one."""
    try:
        msgspec.convert(request, Request | None)
    except msgspec.ValidationError as error:
        return str(error)
    return ""


def wrong(name: str, arguments: Any, result: Any) -> str:
    """Why this is no observation; "" where it is one. An operation that is not known is never asked for."""
    try:
        msgspec.convert(arguments, ARGUMENTS)
        if result is None or name not in RESULTS:
            return ""
        if isinstance(result, dict) and "error" in result:
            msgspec.convert(result, Failure)
            return ""
        msgspec.convert(result, RESULTS[name])
    except (msgspec.ValidationError, RecursionError, OverflowError, UnicodeError) as error:
        return str(error)
    for part in result if name == "distributions" else [result] if name in ONE_OF else ():
        if not any(key in part for key in ONE_OF[name]):
            return f"needs one of {', '.join(ONE_OF[name])}"
    if name == "distributions" and any("error" not in d and "version" not in d for d in result):
        return "needs a version"
    return ""
