"""Rule kinds that know no vendor: floor, ceiling, range, same version, family, and a table row found by its neighbours.

Each answers with a Verdict; `unknown` wherever a side cannot be read. `pair` makes the matrix row, and is the one place
where an uncertain fact loses its verdict: what rests on it is a hint, whatever the rule said."""

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum

from infra_doctor.compat.table import Row
from infra_doctor.compat.version import VersionKey, in_range, numbers, parse_version
from infra_doctor.model.compatibility import Compatibility, Verdict
from infra_doctor.model.record import record

HINT = "hint: "


def pair(
    left: str, right: str, rule: str, verdict: Verdict, detail: str, *, source: str, certain: bool = True
) -> Compatibility:
    """One row of the matrix. With `certain` False the verdict becomes `unknown` and the detail a hint."""
    if not certain:
        verdict, detail = Verdict.UNKNOWN, HINT + detail
    return Compatibility(
        left=left, right=right, verdict=verdict, rule=rule, source=source, detail=detail, certain=certain
    )


def verdict_of(meets: bool | None) -> Verdict:
    """True is compatible, False incompatible, None unknown."""
    if meets is None:
        return Verdict.UNKNOWN
    return Verdict.COMPATIBLE if meets else Verdict.INCOMPATIBLE


# -- one version against a bound ----------------------------------------------------------------------------------


def floor(version: str | None, minimum: str | None) -> Verdict:
    """At least `minimum`."""
    here, bound = _keys(version, minimum)
    return verdict_of(None if here is None or bound is None else here >= bound)


def ceiling(version: str | None, maximum: str | None) -> Verdict:
    """At most `maximum`, which names a release line: 12.9.1 is within 12.9."""
    if parse_version(version or "") is None or parse_version(maximum or "") is None:
        return Verdict.UNKNOWN
    return verdict_of(in_range(version or "", f"<={maximum}"))


def within(version: str | None, spec: str) -> Verdict:
    """Inside a requirement's range (">=0.4.36,<=0.4.37", "~=3.8.0", "==2.13.*"). An exact pin is compared by
    `same_version`, so that its local part counts. An empty range admits everything."""
    if parse_version(version or "") is None:
        return Verdict.UNKNOWN
    if not spec.strip():
        return Verdict.COMPATIBLE
    verdicts = {_clause(version or "", clause) for clause in re.split(r"[,;]", spec) if clause.strip()}
    for verdict in (Verdict.INCOMPATIBLE, Verdict.UNKNOWN):
        if verdict in verdicts:
            return verdict
    return Verdict.COMPATIBLE


def _clause(version: str, clause: str) -> Verdict:
    exact = re.fullmatch(r"\s*===?\s*([^*\s]+)\s*", clause)
    return same_version(version, exact.group(1)) if exact else verdict_of(in_range(version, clause))


def same_version(version: str | None, pin: str | None) -> Verdict:
    """The version that an exact pin names. A pin without a local part takes every build (2.11.0 takes 2.11.0+cu130);
    with one, only that build. Post releases are versions of their own."""
    here, bound = _keys(version, pin)
    if here is None or bound is None:
        return Verdict.UNKNOWN
    wanted_local = (pin or "").partition("+")[2].lower()
    same_local = not wanted_local or (version or "").partition("+")[2].lower() == wanted_local
    return verdict_of(here == bound and same_local)


def family(version: str | None, other: str | None, *, parts: int = 1) -> Verdict:
    """The same leading numbers: with one part the same major."""
    here, there = numbers(version or ""), numbers(other or "")
    if len(here) < parts or len(there) < parts:
        return Verdict.UNKNOWN
    return verdict_of(here[:parts] == there[:parts])


def _keys(version: str | None, other: str | None) -> tuple[VersionKey | None, VersionKey | None]:
    return parse_version(version or ""), parse_version(other or "")


# -- a row of a table ---------------------------------------------------------------------------------------------


class How(StrEnum):
    """How a version was found in a table."""

    EXACT = "exact"  # a row of its own
    LINE = "line"  # a row for its release line ("1.20.x") or range ("8.2.0-8.2.1")
    BETWEEN = "between"  # between two rows of its minor version that agree
    NEWER = "newer than the table"
    OLDER = "older than the table"
    ABSENT = "not in the table"


@record
class Match:
    """The row that speaks for a version, None where none does; `how` says why."""

    row: Row | None
    how: How


def lookup(rows: Sequence[Row], column: str, version: str | None, *, agree: Iterable[str] = ()) -> Match:
    """The row for this version: its own, that of its line, or that of its neighbours. A patch version between two rows
    of the same minor version is judged by them where they agree in the columns `agree` (all other columns when empty);
    the answer is then as certain as the less certain of them."""
    key = parse_version(version or "")
    if key is None:
        return Match(row=None, how=How.ABSENT)
    for row in rows:
        if parse_version(row[column]) == key and not _is_line(row[column]):
            return Match(row=row, how=How.EXACT)
    builds = _builds(rows, column, version or "", tuple(agree))
    if builds is not None:
        return Match(row=builds, how=How.EXACT)
    for row in rows:
        if _is_line(row[column]) and _covers(row[column], version or "", key):
            return Match(row=row, how=How.LINE)
    keyed = sorted(
        ((k, r) for r in rows if not _is_line(r[column]) and (k := parse_version(r[column])) is not None),
        key=lambda pair: pair[0],
    )
    between = _between(keyed, column, version or "", key, tuple(agree))
    if between is not None:
        return Match(row=between, how=How.BETWEEN)
    ends = [k for k, _ in keyed] + [k for r in rows if _is_line(r[column]) for k in _ends(r[column])]
    if ends and key > max(ends):
        return Match(row=None, how=How.NEWER)
    if ends and key < min(ends):
        return Match(row=None, how=How.OLDER)
    return Match(row=None, how=How.ABSENT)


def _builds(rows: Sequence[Row], column: str, version: str, agree: tuple[str, ...]) -> Row | None:
    """For a release without its build number (9.19.0): the row of its build (9.19.0.56), where all its builds agree."""
    release = numbers(version)
    if len(release) != 3 or version.strip("vV0123456789."):
        return None
    builds = [r for r in rows if len(numbers(r[column])) > 3 and numbers(r[column])[:3] == release]
    return _one_of(builds, column, agree)


def _one_of(rows: Sequence[Row], column: str, agree: tuple[str, ...]) -> Row | None:
    """The first row where all agree in the columns (all but the key when none are named), as certain as the least."""
    if not rows:
        return None
    first = rows[0]
    if any(r[c] != first[c] for r in rows for c in agree or [c for c in first.cells if c != column]):
        return None
    return Row(first.cells, first.source, all(r.certain for r in rows))


def _between(
    keyed: list[tuple[VersionKey, Row]], column: str, version: str, key: VersionKey, agree: tuple[str, ...]
) -> Row | None:
    minor = numbers(version)[:2]
    same = [(k, r) for k, r in keyed if numbers(r[column])[:2] == minor]
    below = [r for k, r in same if k < key]
    above = [r for k, r in same if k > key]
    if not below or not above:
        return None
    return _one_of([below[-1], above[0]], column, agree)


def _is_line(text: str) -> bool:
    return text.endswith((".x", ".X", ".*")) or "-" in text


def _covers(line: str, version: str, key: VersionKey) -> bool:
    low, dash, high = line.partition("-")
    if dash:
        ends = parse_version(low), parse_version(high)
        return ends[0] is not None and ends[1] is not None and ends[0] <= key <= ends[1]
    prefix = numbers(line)
    return numbers(version)[: len(prefix)] == prefix


def _ends(line: str) -> list[VersionKey]:
    return [k for part in line.split("-") if (k := parse_version(part.rstrip(".xX*"))) is not None]


# -- requirement strings ------------------------------------------------------------------------------------------


@record
class Requirement:
    """One requirement line: PEP 503 name, range, and whether its marker holds on this kind of machine (None: a marker
    that is not judged here)."""

    name: str
    spec: str
    applies: bool | None


def read_requirement(line: str, *, machine: str = "x86_64") -> Requirement | None:
    """`nvidia-nccl-cu12==2.27.5; platform_system == "Linux"`. Of markers, the platform is judged and an extra never
    applies; others (Python version …) are left open. None for what is no requirement."""
    head, _, marker = line.partition(";")
    match = re.match(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*\(?([^()@]*)\)?\s*$", head)
    if match is None:
        return None
    name = re.sub(r"[-_.]+", "-", match.group(1)).lower()
    return Requirement(name=name, spec=match.group(2).strip(), applies=_marker(marker, machine))


_KNOWN = {"platform_system": "Linux", "sys_platform": "linux", "os_name": "posix"}


def _marker(marker: str, machine: str) -> bool | None:
    if not marker.strip():
        return True
    if re.search(r"\bextra\b", marker):
        return False
    if "(" in marker:
        return None
    answers = [_all(part, _KNOWN | {"platform_machine": machine}) for part in re.split(r"\bor\b", marker)]
    return True if True in answers else None if None in answers else False


def _all(clauses: str, known: dict[str, str]) -> bool | None:
    answers: list[bool | None] = []
    for clause in re.split(r"\band\b", clauses):
        match = re.fullmatch(r"\s*(\w+)\s*(==|!=)\s*[\"']([^\"']*)[\"']\s*", clause)
        if match is None or match.group(1) not in known:
            answers.append(None)
        else:
            answers.append((known[match.group(1)] == match.group(3)) is (match.group(2) == "=="))
    return False if False in answers else None if None in answers else True
