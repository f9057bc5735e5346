"""What a child process answered, as far as it has the type that is wanted: its JSON is foreign input.

A value of another type, an empty text, a number of no sane size count as not said. Lists and texts are bounded."""

from collections.abc import Mapping
from typing import Any

TEXT_CAP = 200
LIST_CAP = 512


def items(value: object) -> list[Any]:
    """A list, empty for anything else."""
    return value[:LIST_CAP] if isinstance(value, list) else []


def dicts(value: object) -> list[Mapping[str, Any]]:
    """The dicts of a list."""
    return [item for item in items(value) if isinstance(item, dict)]


def mapping(value: object) -> Mapping[str, Any]:
    """A dict, empty for anything else."""
    return value if isinstance(value, dict) else {}


def text(value: object) -> str | None:
    """A text that is not empty."""
    return value[:TEXT_CAP] if isinstance(value, str) and value else None


def whole(value: object) -> int | None:
    """A whole number of 64 bits; True and False are none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63 else None


def count(value: object) -> int | None:
    """A whole number that is not negative."""
    found = whole(value)
    return found if found is not None and found >= 0 else None


def switch(value: object) -> bool | None:
    """True or False."""
    return value if isinstance(value, bool) else None
