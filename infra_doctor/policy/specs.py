"""The right sides of a policy's lines: versions as PEP 440 ranges, counts, sizes and rates with units, names.

Everything is strict: what cannot be read, and what nothing can meet, is a `SpecError` with the way out, never a guess."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from infra_doctor.compat.version import numbers, parse_version
from infra_doctor.model.policy import UNLIMITED, Clause, Spec, SpecKind

_TEXT_CAP = 1000
COUNT_CAP = 10**15
NO_LIMIT = "unlimited"  # as a size
_RATE_CAP = 10**30  # of a base unit

# The grammar of one clause, in what Python's and JavaScript's regular expressions share: the JSON Schema says the same.
# Every repetition starts with a character that its predecessor cannot end in, so that nothing is tried twice.
RELEASE = r"[vVrR]?[0-9]+(?:\.[0-9]+)*"
VERSION = r"[vVrR]?[0-9][A-Za-z0-9]*(?:[.!+_-][A-Za-z0-9]+)*"
NUMBER = r"[0-9]+(?:_[0-9]{3})*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?"
_CLAUSE = re.compile(r"(===|==|!=|>=|<=|~=|>|<|=)?\s*(.*)", re.DOTALL)
_BITS = re.compile(r"([kMGTP])b(?:/s|ps)")
_NUMBER_AND_UNIT = re.compile(rf"({NUMBER})\s*(\S*(?:\s\S+)*)")

_DECIMAL = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
SIZES: dict[str, int] = {f"{p}B": f for p, f in (_BINARY | _DECIMAL).items()}
# Unit -> (base unit, factor). Those of nvbandwidth, nccl-tests, network adapters and the peak tables.
RATES: dict[str, tuple[str, Fraction]] = {
    **{f"{p}B/s": ("B/s", Fraction(f)) for p, f in (_DECIMAL | _BINARY).items()},
    **{f"{p}bit/s": ("B/s", Fraction(f, 8)) for p, f in _DECIMAL.items()},
    **{f"{p}{u}": ("FLOP/s", Fraction(f)) for u in ("FLOP/s", "FLOPS") for p, f in _DECIMAL.items()},
    **{f"{p}{u}": ("OP/s", Fraction(f)) for u in ("OP/s", "OPS") for p, f in _DECIMAL.items()},
    **{u: ("s", Fraction(1, d)) for u, d in {"s": 1, "ms": 10**3, "us": 10**6, "µs": 10**6, "μs": 10**6, "ns": 10**9}.items()},
    "%": ("1", Fraction(1, 100)),
}  # fmt: skip
WANTED = {
    SpecKind.VERSION: 'a range of versions, such as ">=2.8,<3" or "==12.8.*"',
    SpecKind.COUNT: 'a number such as 8 or ">=4"',
    SpecKind.SIZE: 'a size with its unit, such as ">=80 GiB"',
    SpecKind.NAME: "a name, or a list of names of which one must fit,",
    SpecKind.FLAG: "true or false",
}
WANTED_BOUND = 'a bound with its unit, such as ">=700 TFLOP/s", ">=80%" or "<=10 us",'


class SpecError(ValueError):
    """A value that cannot be read; the message says what would do."""


def read_spec(kind: SpecKind, value: object) -> Spec:
    """The specification of a TOML value or of a command line's text. Raises SpecError."""
    if isinstance(value, str):
        value = value.strip()
        if len(value) > _TEXT_CAP:
            raise SpecError(f"longer than {_TEXT_CAP} characters")
        if value in {"true", "false"}:
            value = value == "true"
    if isinstance(value, bool):
        return Spec(kind=kind, text="true" if value else "false", present=value)
    match kind:
        case SpecKind.FLAG:
            raise _unread(kind, value)
        case SpecKind.NAME:
            return _names(value)
        case SpecKind.COUNT:
            if isinstance(value, int) and 0 <= value < COUNT_CAP:
                value = str(value)
            return _ranges(kind, value, _count)
        case SpecKind.SIZE:
            return _ranges(kind, value, _size)
        case _:
            return _ranges(kind, value, _version)


def shown(value: object) -> str:
    """A value in a message: one line, bounded. Python spells no whole number of more than 4,300 digits."""
    try:
        text = repr(value) if isinstance(value, str) else "".join(c for c in str(value) if c.isprintable())
    except ValueError:
        text = "a number of thousands of digits"
    return text if len(text) <= 80 else text[:79] + "…"


def _unread(kind: SpecKind, value: object) -> SpecError:
    return SpecError(f"{shown(value)}: {WANTED[kind]} is wanted")


def _names(value: object) -> Spec:
    names = value if isinstance(value, list) else value.split(",") if isinstance(value, str) else None
    if not names or not all(isinstance(n, str) and n.strip() and len(n) <= _TEXT_CAP for n in names):
        raise _unread(SpecKind.NAME, value)
    names = list(dict.fromkeys(n.strip() for n in names))
    for name in names:
        if name[0] in "<>=!~":
            raise SpecError(f"{shown(name)}: names are not compared; write those that may be, such as " + '"H200"')
        if not any(c.isalnum() or c in "*?" for c in name):
            raise _unread(SpecKind.NAME, name)
    return Spec(kind=SpecKind.NAME, text=" or ".join(names), names=tuple(names))


def _ranges(kind: SpecKind, value: object, read: Callable[[str], Clause]) -> Spec:
    parts = [p.strip() for p in value.split(",")] if isinstance(value, str) else []
    if not parts or not all(parts):
        raise _unread(kind, value)
    return _of_clauses(kind, [read(part) for part in parts], ", ".join(parts))


def _of_clauses(kind: SpecKind, clauses: Sequence[Clause], text: str) -> Spec:
    if contradict(clauses, whole=kind is SpecKind.COUNT):
        raise SpecError(f"{shown(text)}: nothing can be all of this")
    return Spec(kind=kind, text=text, clauses=tuple(clauses))


def both(one: Spec, other: Spec) -> Spec | None:
    """What meets both, where the two are ranges. Raises SpecError where nothing can."""
    if one == other:
        return one
    if not one.clauses or not other.clauses:
        return None
    return _of_clauses(one.kind, (*one.clauses, *other.clauses), f"{one.text}, {other.text}")


def parted(text: str) -> tuple[str, str]:
    """A clause's operator ("" where there is none) and what stands right of it."""
    found = _CLAUSE.fullmatch(text)
    return (found.group(1) or "", found.group(2).strip()) if found else ("", text)


def _count(text: str) -> Clause:
    operator, right = parted(text)
    if not re.fullmatch(r"[0-9]{1,15}", right) or operator in {"~=", "==="}:
        raise _unread(SpecKind.COUNT, text)
    return Clause(operator="==" if operator in {"", "="} else operator, value=int(right))


def _size(text: str) -> Clause:
    operator, right = parted(text)
    if right == NO_LIMIT and operator in {"", "=", "==", ">=", "<", "!="}:
        return Clause(operator="<" if operator in {"<", "!="} else ">=", value=UNLIMITED)
    found = _NUMBER_AND_UNIT.fullmatch(right)
    if not found or operator in {"~=", "==="}:
        raise _unread(SpecKind.SIZE, text)
    factor = SIZES.get(found.group(2))
    if factor is None:
        raise SpecError(_unit_message(text, found.group(2), SIZES, "GiB, MiB or GB"))
    value, step = (x * factor for x in _number(found.group(1)))
    if value >= UNLIMITED:  # bytes: a number of a thousand digits is a mistake
        raise SpecError(f"{shown(text)}: more than any machine has")
    operator = ">=" if not operator else "==" if operator == "=" else operator
    return Clause(operator=operator, value=int(value), tolerance=int(step / 2) if operator in {"==", "!="} else 0)


def _number(text: str) -> tuple[Fraction, Fraction]:
    """A number as it is written, and one of its last digit."""
    mantissa, _, exponent = text.replace("_", "").lower().partition("e")
    step = Fraction(10) ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return Fraction(mantissa) * Fraction(10) ** int(exponent or 0), step


def _version(text: str) -> Clause:
    operator, right = parted(text)
    if right == "*":
        raise SpecError(f"{shown(text)}: any version is written as true")
    if right.endswith(".*"):
        if operator not in {"", "=", "==", "!="}:
            raise SpecError(f"{shown(text)}: `.*` goes with == and != only")
        if not re.fullmatch(RELEASE, right[:-2]) or len(right) > 200:
            raise _unread(SpecKind.VERSION, text)
        return Clause(operator="!=" if operator == "!=" else "==", value=right)
    if not re.fullmatch(VERSION, right) or not _understood(right):
        raise _unread(SpecKind.VERSION, text)
    if operator in {"", "="}:
        raise SpecError(f'{shown(text)}: say which versions: "=={right}.*", "=={right}" or ">={right}"')
    if operator == "~=" and len(numbers(right)) < 2:
        raise SpecError(f'{shown(text)}: ~= needs two numbers at least, such as "~={right}.0"')
    return Clause(operator=operator, value=right)


def _understood(version: str) -> bool:
    """Whether all of it orders: `parse_version` leaves out what stands after a word that it does not know, as in "2.8.x"."""
    head = version.partition("+")[0]
    return parse_version(head) is not None and parse_version(f"{head}.1") != parse_version(head)


def read_threshold(value: object) -> tuple[str, tuple[Clause, ...]]:
    """(base unit, clauses) of a measurement's threshold: ">=700 TFLOP/s", ">=80%", "<=10 us". Raises SpecError."""
    if not isinstance(value, str) or len(value) > _TEXT_CAP:
        raise SpecError(f"{shown(value)}: {WANTED_BOUND} is wanted")
    clauses, units = [], []
    for part in (p.strip() for p in value.split(",")):
        operator, right = parted(part)
        found = _NUMBER_AND_UNIT.fullmatch(right)
        if not found or operator not in {">=", "<=", ">", "<"}:
            raise SpecError(f"{shown(value)}: {WANTED_BOUND} is wanted")
        if found.group(2) not in RATES:
            raise SpecError(_unit_message(part, found.group(2), RATES, "TFLOP/s, GB/s, us or %"))
        unit, factor = RATES[found.group(2)]
        bound = _number(found.group(1))[0] * factor
        if bound > _RATE_CAP:
            raise SpecError(f"{shown(part)}: more than anything reaches")
        units.append(unit)
        clauses.append(Clause(operator=operator, value=float(bound)))
    if len(set(units)) > 1:
        raise SpecError(f"{shown(value)}: its parts are in different units")
    if contradict(clauses):
        raise SpecError(f"{shown(value)}: nothing can be all of this")
    return units[0], tuple(clauses)


def _unit_message(text: str, unit: str, known: Mapping[str, Any], such_as: str) -> str:
    if not unit:
        return f"{shown(text)}: the unit is missing, such as {such_as}"
    near = nearest(unit, known)
    if bits := _BITS.fullmatch(unit):  # one letter's case is a factor of eight: nothing to guess
        near = f"{bits.group(1)}bit/s for bits, {bits.group(1)}B/s for bytes"
    way = f"nearest: {near}" if near else f"units: {', '.join(known)}"
    return f"{shown(text)}: no such unit: {shown(unit)}; {way}"


def nearest(word: str, known: Iterable[str]) -> str:
    """The known names that look most like the word, worded for a message; empty where none does."""
    folded: dict[str, str] = {}
    for name in known:
        folded.setdefault(name.casefold(), name)
    found = difflib.get_close_matches(word.casefold()[:100], folded, n=3, cutoff=0.5)
    return ", ".join(folded[n] for n in found)


# -- what nothing can meet ------------------------------------------------------------------------------------------


def contradict(clauses: Sequence[Clause], *, whole: bool = False) -> bool:
    """Whether it is certain that nothing meets all clauses. `whole`: of whole numbers from 0 on."""
    low: list[tuple[Any, bool]] = []  # (bound, whether the bound itself is left out)
    high: list[tuple[Any, bool]] = []
    for clause in clauses:
        for side, bound in _bounds(clause, whole).items():
            (low if side == "low" else high).append(bound)
    if whole:
        low.append((0, False))
    if not low or not high:
        return False
    floor, ceiling = max(low), min(high, key=lambda b: (b[0], not b[1]))
    if floor[0] > ceiling[0]:
        return True
    one = floor[0] == ceiling[0]
    return one and (
        floor[1] or ceiling[1] or any(c.operator == "!=" and not c.tolerance and _key(c) == floor[0] for c in clauses)
    )


def _bounds(clause: Clause, whole: bool) -> dict[str, tuple[Any, bool]]:
    operator, key = clause.operator, _key(clause)
    if isinstance(clause.value, str):
        if clause.value.endswith(".*"):
            release = numbers(clause.value)
            return {} if operator == "!=" else {"low": (_first_of(release), False), "high": (_next(release), True)}
        if operator == "~=":
            return {"low": (key, False), "high": (_next(numbers(clause.value)[:-1]), True)}
    elif operator == "==":
        return {"low": (key - clause.tolerance, False), "high": (key + clause.tolerance, False)}
    step = 1 if whole else 0  # of whole numbers, >3 is >=4
    match operator:
        case "==" | "===":
            return {"low": (key, False), "high": (key, False)}
        case ">=":
            return {"low": (key, False)}
        case ">":
            return {"low": (key + step, False) if whole else (key, True)}
        case "<=":
            return {"high": (key, False)}
        case "<":
            return {"high": (key - step, False) if whole else (key, True)}
        case _:
            return {}


def _key(clause: Clause) -> Any:
    """What orders the right sides of a policy's line."""
    return parse_version(clause.value) or () if isinstance(clause.value, str) else clause.value


def _first_of(release: tuple[int, ...]) -> Any:
    return parse_version(".".join(map(str, release)) + ".dev0")


def _next(release: tuple[int, ...]) -> Any:
    return _first_of((*release[:-1], release[-1] + 1))
