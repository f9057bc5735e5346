"""The right sides of a policy's lines: versions as PEP 440 ranges, counts, sizes and rates with units, names.

Everything is strict: what cannot be read is a `SpecError` with the way out, never a guess."""

import difflib
import fnmatch
import re
from collections.abc import Iterable, Mapping
from typing import Any

from infra_doctor.compat.version import numbers, parse_version
from infra_doctor.model.policy import Clause, Spec, SpecKind

# Longest first, so that ">=" is not read as ">".
OPERATORS = ("===", "==", "!=", ">=", "<=", "~=", ">", "<")
_CLAUSE = re.compile(r"(===|==|!=|>=|<=|~=|>|<|=)?\s*(.*)", re.DOTALL)
_VERSION = re.compile(r"[vVrR]?\d[\w.!+-]*(?:\.\*)?")
_NUMBER = re.compile(r"(\d+(?:_\d{3})*(?:\.\d+)?(?:[eE][+-]?\d{1,3})?)\s*(\S*(?:\s\S+)*)")
_TEXT_CAP = 1000

_DECIMAL = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
SIZES: dict[str, int] = {f"{p}B": f for p, f in (_DECIMAL | _BINARY).items()}
# Unit -> (base unit, factor). Those of nvbandwidth, nccl-tests and the peak tables.
RATES: dict[str, tuple[str, float]] = {
    **{f"{p}B/s": ("B/s", f) for p, f in (_DECIMAL | _BINARY).items()},
    **{f"{p}FLOP/s": ("FLOP/s", f) for p, f in _DECIMAL.items()},
    **{f"{p}FLOPS": ("FLOP/s", f) for p, f in _DECIMAL.items()},
    **{f"{p}OP/s": ("OP/s", f) for p, f in _DECIMAL.items()},
    **{f"{p}OPS": ("OP/s", f) for p, f in _DECIMAL.items()},
    "s": ("s", 1), "ms": ("s", 1e-3), "us": ("s", 1e-6), "µs": ("s", 1e-6), "ns": ("s", 1e-9), "%": ("1", 0.01),
}  # fmt: skip


class SpecError(ValueError):
    """A value that cannot be read; the message says what would do."""


def read_spec(kind: SpecKind, value: object) -> Spec:
    """The specification of a TOML value or of a command line's text. Raises SpecError."""
    if isinstance(value, bool):
        return Spec(kind=kind, text="true" if value else "false", present=value)
    if isinstance(value, str):
        value = value.strip()
        if len(value) > _TEXT_CAP:
            raise SpecError(f"longer than {_TEXT_CAP} characters")
        if value in {"true", "false"}:
            return read_spec(kind, value == "true")
    match kind:
        case SpecKind.FLAG:
            raise SpecError(f"{shown(value)}: true or false is wanted")
        case SpecKind.NAME:
            return _names(value)
        case SpecKind.COUNT:
            if isinstance(value, int):
                value = str(value)
            return _ranges(kind, value, _count, 'a number such as 8 or ">=4"')
        case SpecKind.SIZE:
            return _ranges(kind, value, _size, 'a size with its unit, such as ">=80 GiB"')
        case _:
            return _ranges(kind, value, _version, 'a range of versions, such as ">=2.8,<3" or "==12.8.*"')


def shown(value: object) -> str:
    """A value in a message, bounded."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _names(value: object) -> Spec:
    names = value if isinstance(value, list) else str(value).split(",") if isinstance(value, str) else None
    if names is None or not names or not all(isinstance(n, str) and n.strip() for n in names):
        raise SpecError(f"{shown(value)}: a name, or a list of names of which one must fit, is wanted")
    names = [n.strip() for n in names]
    return Spec(kind=SpecKind.NAME, text=" or ".join(names), names=tuple(names))


def _ranges(kind: SpecKind, value: object, read: Any, wanted: str) -> Spec:
    if not isinstance(value, str):
        raise SpecError(f"{shown(value)}: {wanted} is wanted")
    parts = [p.strip() for p in value.split(",")]
    if not all(parts):
        raise SpecError(f"{shown(value)}: {wanted} is wanted")
    return Spec(kind=kind, text=", ".join(parts), clauses=tuple(read(part, wanted) for part in parts))


def _parted(text: str) -> tuple[str, str]:
    found = _CLAUSE.fullmatch(text)
    operator, right = (found.group(1) or "", found.group(2).strip()) if found else ("", text)
    return operator, right


def _count(text: str, wanted: str) -> Clause:
    operator, right = _parted(text)
    if not re.fullmatch(r"\d{1,15}", right) or operator in {"~=", "==="}:
        raise SpecError(f"{shown(text)}: {wanted} is wanted")
    return Clause(operator="==" if operator in {"", "="} else operator, value=int(right))


def _size(text: str, wanted: str) -> Clause:
    operator, right = _parted(text)
    found = _NUMBER.fullmatch(right)
    if not found or operator in {"~=", "==="}:
        raise SpecError(f"{shown(text)}: {wanted} is wanted")
    factor = SIZES.get(found.group(2))
    if factor is None:
        raise SpecError(_unit_message(text, found.group(2), SIZES))
    value = int(float(found.group(1).replace("_", "")) * factor)
    return Clause(operator=">=" if not operator else "==" if operator == "=" else operator, value=value)


def _version(text: str, wanted: str) -> Clause:
    operator, right = _parted(text)
    if not _VERSION.fullmatch(right) or parse_version(right) is None:
        raise SpecError(f"{shown(text)}: {wanted} is wanted")
    if operator in {"", "="}:
        if right.endswith(".*"):
            return Clause(operator="==", value=right)
        raise SpecError(f'{shown(text)}: say which versions: "=={right}.*", "=={right}" or ">={right}"')
    if right.endswith(".*") and operator not in {"==", "!="}:
        raise SpecError(f"{shown(text)}: `.*` goes with == and != only")
    if operator == "~=" and len(numbers(right)) < 2:
        raise SpecError(f'{shown(text)}: ~= needs two numbers at least, such as "~={right}.0"')
    return Clause(operator=operator, value=right)


def read_threshold(value: object) -> tuple[str, tuple[Clause, ...]]:
    """(base unit, clauses) of a measurement's threshold: ">=700 TFLOP/s", ">=80%", "<=10 us". Raises SpecError."""
    wanted = 'a bound with its unit, such as ">=700 TFLOP/s", ">=80%" or "<=10 us",'
    if not isinstance(value, str) or len(value) > _TEXT_CAP:
        raise SpecError(f"{shown(value)}: {wanted} is wanted")
    clauses, units = [], []
    for part in value.split(","):
        operator, right = _parted(part.strip())
        found = _NUMBER.fullmatch(right)
        if not found or operator not in {">=", "<=", ">", "<"}:
            raise SpecError(f"{shown(value)}: {wanted} is wanted")
        if found.group(2) not in RATES:
            raise SpecError(_unit_message(part.strip(), found.group(2), RATES))
        unit, factor = RATES[found.group(2)]
        units.append(unit)
        clauses.append(Clause(operator=operator, value=float(found.group(1).replace("_", "")) * factor))
    if len(set(units)) > 1:
        raise SpecError(f"{shown(value)}: its parts are in different units")
    return units[0], tuple(clauses)


def _unit_message(text: str, unit: str, known: Mapping[str, Any]) -> str:
    if not unit:
        return f"{shown(text)}: the unit is missing, such as {', '.join(list(known)[3:6])}"
    near = nearest(unit, known)
    return f"{shown(text)}: no such unit: {shown(unit)}{f'; nearest: {near}' if near else ''}"


def nearest(word: str, known: Iterable[str]) -> str:
    """The known names that look most like the word, worded for a message; empty where none does."""
    names = list(known)
    folded: dict[str, str] = {}
    for name in names:
        folded.setdefault(name.casefold(), name)
    found = difflib.get_close_matches(word.casefold()[:100], folded, n=3, cutoff=0.5)
    return ", ".join(folded[n] for n in found)


# -- meeting them -------------------------------------------------------------------------------------------------


def meets(spec: Spec, value: str | int | bool | None) -> bool | None:
    """Whether an observed value meets the specification; None where the two cannot be compared."""
    if spec.kind is SpecKind.FLAG:
        return bool(value) is spec.present
    there = value is not None and value is not False
    if not spec.present:
        return not there
    if not there:
        # "There are none" is a number; a size, a version or a name of nothing meets no range.
        return all(_compared(0, c) for c in spec.clauses) if spec.kind is SpecKind.COUNT and spec.clauses else False
    if spec.names:
        return any(named(str(value), pattern) for pattern in spec.names)
    if not spec.clauses:
        return value != 0 if spec.kind is SpecKind.COUNT else True
    if spec.kind is SpecKind.VERSION:
        return version_meets(str(value), spec.clauses)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return all(_compared(value, c) for c in spec.clauses)


def _compared(value: float, clause: Clause) -> bool:
    limit = float(clause.value)
    match clause.operator:
        case "==":
            return value == limit
        case "!=":
            return value != limit
        case ">=":
            return value >= limit
        case "<=":
            return value <= limit
        case ">":
            return value > limit
        case _:
            return value < limit


def number_meets(value: float, clauses: Iterable[Clause]) -> bool:
    """Whether a measured number, in the clauses' base unit, meets all of them."""
    return all(_compared(value, c) for c in clauses)


def named(name: str, pattern: str) -> bool:
    """Whether a name is what a pattern says: with wildcards as a shell pattern over the whole name, else as whole words in
    a row within it ("A100" fits "NVIDIA A100-SXM4-80GB", "L4" does not fit "NVIDIA L40"). Case does not count."""
    name, pattern = name.casefold(), pattern.casefold()
    if any(c in pattern for c in "*?["):
        return fnmatch.fnmatchcase(name, pattern)
    words, wanted = (re.findall(r"[a-z0-9]+", text) for text in (name, pattern))
    return bool(wanted) and any(words[n : n + len(wanted)] == wanted for n in range(len(words)))


def version_meets(version: str, clauses: Iterable[Clause]) -> bool | None:
    """PEP 440 (pre-releases count, as they are installed already); for versions that PEP 440 does not know, such as
    8.2.RC1.alpha003, the vendors' order of `compat.version` by the same operators. None where it is no version."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion, Version

    listed = list(clauses)
    try:
        wanted = SpecifierSet(",".join(f"{c.operator}{c.value}" for c in listed))
        return wanted.contains(Version(version), prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return _in_vendors_order(version, listed)


def _in_vendors_order(version: str, clauses: list[Clause]) -> bool | None:
    key = parse_version(version)
    if key is None:
        return None
    for clause in clauses:
        bound = str(clause.value)
        if bound.endswith(".*"):
            prefix = numbers(bound[:-2])
            if (numbers(version)[: len(prefix)] == prefix) is (clause.operator == "!="):
                return False
            continue
        limit = parse_version(bound)
        if limit is None:
            return None
        release = numbers(bound)
        ok = {
            "==": key == limit, "===": version == bound, "!=": key != limit, ">=": key >= limit, "<=": key <= limit,
            ">": key > limit, "<": key < limit,
            "~=": key >= limit and numbers(version)[: len(release) - 1] == release[:-1],
        }[clause.operator]  # fmt: skip
        if not ok:
            return False
    return True
