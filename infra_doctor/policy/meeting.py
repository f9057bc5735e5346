"""Whether what was observed meets a policy's line.

Versions follow PEP 440 (https://peps.python.org/pep-0440/#version-specifiers), with pre-releases counted, as they are
installed already. What PEP 440 does not know, such as CANN's 8.2.RC1.alpha003, is held in the vendors' order of
`infra_doctor.compat.version` by the same operators."""

import fnmatch
import re
from collections.abc import Iterable

from infra_doctor.compat.version import VersionKey, numbers, parse_version, version_key
from infra_doctor.model.policy import Clause, Spec, SpecKind

_PLAIN = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,9}(?:\.\*)?")
# What the vendors' order puts before each number; words have other ranks.
NUMBER_RANK = version_key("1")[0][0]


def meets(spec: Spec, value: str | int | bool | None, *, at_least: bool = False) -> bool | None:
    """Whether an observed value meets the specification; None where that cannot be told. `at_least`: of a count, that more
    may be there than were seen."""
    if spec.kind is SpecKind.FLAG:
        return bool(value) is spec.present
    if spec.kind is SpecKind.COUNT:
        return _counted(spec, value, at_least)
    there = value is not None and value is not False
    if not spec.present:
        return not there
    if not there:  # a size, a version or a name of nothing meets no range
        return False
    if spec.names:
        return any(named(str(value), pattern) for pattern in spec.names)
    if not spec.clauses:
        return True
    if spec.kind is SpecKind.VERSION:
        return version_meets(value, spec.clauses) if isinstance(value, str) else None
    return None if isinstance(value, bool | str) or value is None else number_meets(value, spec.clauses)


def _counted(spec: Spec, value: str | int | bool | None, at_least: bool) -> bool | None:
    number = 0 if value is None else value
    if isinstance(number, bool | str):
        return None
    clauses = spec.clauses or (Clause(operator=">" if spec.present else "==", value=0),)
    if not at_least:
        return number_meets(number, clauses)
    verdicts = [_whatever_comes(number, clause) for clause in clauses]
    return False if False in verdicts else None if None in verdicts else True


def _whatever_comes(number: int, clause: Clause) -> bool | None:
    """Whether a count meets the clause when those that were not seen are added to it. What was asked for and seen is
    taken for all."""
    now, limit = _compared(number, clause), float(clause.value)
    match clause.operator:
        case ">=" | ">":
            return now or None
        case "==":
            return True if now and number else False if number > limit else None
        case "!=":
            return True if number > limit else None
        case _:
            return None if now else False


def number_meets(value: float, clauses: Iterable[Clause]) -> bool:
    """Whether a number, in the clauses' base unit, meets all of them."""
    return all(_compared(value, c) for c in clauses)


def _compared(value: float, clause: Clause) -> bool:
    limit = clause.value
    if isinstance(limit, str):
        raise TypeError(f"{limit!r} is no number")
    match clause.operator:
        case "==":
            return abs(value - limit) <= clause.tolerance
        case "!=":
            return abs(value - limit) > clause.tolerance
        case ">=":
            return value >= limit
        case "<=":
            return value <= limit
        case ">":
            return value > limit
        case _:
            return value < limit


def named(name: str, pattern: str) -> bool:
    """Whether a name is what a pattern says: as it stands; with `*` or `?` as a shell pattern over the whole name; else as
    whole words in a row within it ("A100" fits "NVIDIA A100-SXM4-80GB", "L4" does not fit "NVIDIA L40"). Case does not
    count."""
    name, pattern = name.casefold(), pattern.casefold()
    if name == pattern:
        return True
    if "*" in pattern or "?" in pattern:
        return fnmatch.fnmatchcase(name, pattern)
    words, wanted = (re.findall(r"[^\W_]+", text) for text in (name, pattern))
    return bool(wanted) and any(words[n : n + len(wanted)] == wanted for n in range(len(words)))


def version_meets(version: str, clauses: Iterable[Clause]) -> bool | None:
    """Whether a version meets all clauses; None where it is no version that orders."""
    verdicts = [_version_meets(version.strip(), c.operator, str(c.value)) for c in clauses]
    return False if False in verdicts else None if None in verdicts else True


def _version_meets(version: str, operator: str, bound: str) -> bool | None:
    if operator == "===":  # the text as it stands
        return version.casefold() == bound.casefold()
    # Where the two agree; `packaging` costs 30 ms. A local part counts where the bound has one alone.
    if _PLAIN.fullmatch(version.partition("+")[0]) and _PLAIN.fullmatch(bound):
        return _in_vendors_order(version, operator, bound)
    from packaging.specifiers import InvalidSpecifier, Specifier
    from packaging.version import InvalidVersion, Version

    try:
        return Specifier(f"{operator}{bound}").contains(Version(version), prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return _in_vendors_order(version, operator, bound)


def _in_vendors_order(version: str, operator: str, bound: str) -> bool | None:
    key, release = parse_version(version), numbers(bound)
    if key is None:
        return None
    if bound.endswith(".*"):
        return (_padded(version, len(release)) == release) is (operator == "==")
    limit = parse_version(bound)
    if limit is None:
        return None
    # As PEP 440 has it: <8.2 leaves out 8.2.RC1, and >8.2 what was added to 8.2, unless the bound is such a version.
    same_release = _trimmed(version) == _trimmed(bound)
    match operator:
        case "==":
            return key == limit
        case "!=":
            return key != limit
        case ">=":
            return key >= limit
        case "<=":
            return key <= limit
        case "<":
            return key < limit and not (same_release and _before_release(key) and not _before_release(limit))
        case ">":
            return key > limit and not (same_release and _after_release(key) and not _after_release(limit))
        case _:  # ~=
            return key >= limit and _padded(version, len(release) - 1) == release[:-1]


def _padded(version: str, length: int) -> tuple[int, ...]:
    found = numbers(version)[:length]
    return found + (0,) * (length - len(found))


def _trimmed(version: str) -> tuple[int, ...]:
    found = numbers(version)
    while found and not found[-1]:
        found = found[:-1]
    return found


def _before_release(key: VersionKey) -> bool:
    return _first_word(key) < 0


def _after_release(key: VersionKey) -> bool:
    return _first_word(key) > 0


def _first_word(key: VersionKey) -> int:
    """Where the first word of a version puts it: below 0 before the release, above 0 after it, 0 where there is none."""
    return next((rank for rank, _ in key if rank != NUMBER_RANK), 0)
