"""Documents with a text of an attacker's in every field that a machine, a policy or a log can fill: the field's own text
between two copies of it. And records of any class out of nothing but their types."""

import re
import types
import typing
from dataclasses import MISSING, fields, is_dataclass, replace
from enum import Enum
from typing import Any

# What the tool itself says: its name, the time, the kinds of things, hashes.
OURS = frozenset({"kind", "schema_version", "tool", "created", "fingerprint", "root", "follows"})
# `kind:` before the colon is the probe's word; what comes after it is the machine's.
KEYS = frozenset({"key", "subject", "consumer", "left", "right", "device", "target"})
NAMED_BY_PROBES = frozenset({"attributes", "conditions"})


def shadow(text: str) -> str:
    """A harmless text of the same length on which the same decisions hang: an address or not, where a path's folders end."""
    start = "https://" if text.startswith("https://") else ""
    return start + re.sub(r"[^/]", "q", text.removeprefix(start), flags=re.DOTALL)


def tainted(value: Any, text: str, name: str = "") -> Any:
    """The value with the text in front of and behind each string in it."""
    if isinstance(value, Enum) or name in OURS:
        return value
    if isinstance(value, str):
        head, colon, rest = value.partition(":")
        return f"{head}:{text}{rest}{text}" if name in KEYS and colon else f"{text}{value}{text}"
    if isinstance(value, tuple | list):
        return type(value)(tainted(v, text, name) for v in value)
    if isinstance(value, dict):
        return {k if name in NAMED_BY_PROBES else tainted(k, text): tainted(v, text) for k, v in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: tainted(getattr(value, f.name), text, f.name) for f in fields(value)})
    return value


def example(kind: Any, name: str = "") -> Any:
    """A value of this type, every field of it filled, every list with one element for each member of an enumeration in it."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in {typing.Union, types.UnionType}:
        return example(next(a for a in arguments if a is not type(None)), name)
    if origin is tuple:
        return tuple(examples(arguments[0], name))
    if origin is dict:
        return {name: name}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(iter(kind))
    if is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        given = {
            f.name: f.default for f in fields(kind) if f.name in {"kind", "schema_version"} and f.default is not MISSING
        }
        return kind(**{f.name: example(hints[f.name], f.name) for f in fields(kind) if f.name not in given}, **given)
    return {str: name, int: 7, float: 1.5, bool: True}.get(kind, name)


def examples(kind: Any, name: str) -> list[Any]:
    """One for each member of each enumeration among the fields."""
    one = example(kind, name)
    if not is_dataclass(kind):
        return [one]
    hints = typing.get_type_hints(kind)
    enums = {
        n: next((t for t in (h, *typing.get_args(h)) if isinstance(t, type) and issubclass(t, Enum)), None)
        for n, h in hints.items()
    }
    return [one, *(replace(one, **{n: member}) for n, enum in enums.items() if enum for member in enum)]
