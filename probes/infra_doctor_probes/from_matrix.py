"""Findings out of the compatibility matrix: the same way from rows to findings for every check that rests on rules."""

from collections.abc import Callable, Iterable, Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Compatibility,
    Confidence,
    Evidence,
    EvidenceKind,
    Finding,
    Severity,
    Status,
    Verdict,
)

Rows = tuple[Compatibility, ...]
SHOWN = 4  # names in a title


def label(context: CheckContext, key: str) -> str:
    """A component by name and version ("torch 2.11.0"); its key where it is none."""
    component = context.component(key)
    if component is None:
        return key
    return f"{component.name} {component.version}" if component.version else component.name


def target_of(key: str) -> str:
    """The target part of a component key, "" for what belongs to the machine."""
    return key.partition("@")[2]


def row_evidence(row: Compatibility) -> Evidence:
    """The table row that a verdict rests on."""
    return Evidence(kind=EvidenceKind.TABLE, source=row.source, text=row.detail or f"{row.rule}: {row.verdict}")


def evidence_of(context: CheckContext, rows: Rows) -> list[Evidence]:
    """What was seen of both sides, and the rows themselves; each once."""
    keys = dict.fromkeys(k for row in rows for k in (row.left, row.right))
    seen = [e for key in keys if (c := context.component(key)) is not None for e in c.evidence[:2]]
    return list(dict.fromkeys([*seen, *map(row_evidence, rows)]))


def subject_of(rows: Rows) -> tuple[str, ...]:
    """The keys of all rows, each once, in order."""
    return tuple(dict.fromkeys(k for row in rows for k in (row.left, row.right)))


def findings(
    check: Check,
    context: CheckContext,
    rows: Iterable[Compatibility],
    *,
    title: Callable[[Rows], str],
    remedy: Callable[[Rows], str],
    passed: Callable[[Rows], str],
    group: Callable[[Compatibility], str] = lambda row: target_of(row.left) or target_of(row.right),
    worst: Status = Status.FAIL,
) -> Iterator[Finding]:
    """One finding per group of incompatible rows (a hint where only uncertain rows speak), one for what is unknown, one
    `pass` for the compatible rows where nothing is wrong. `worst` is the status of a certain incompatibility."""
    rows = tuple(rows)
    bad: dict[tuple[str, bool], list[Compatibility]] = {}
    for row in rows:
        if row.verdict is Verdict.INCOMPATIBLE:
            bad.setdefault((group(row), row.certain), []).append(row)
    for (_, certain), found in bad.items():
        these = tuple(found)
        said = title(these) + in_environment(context, these)
        yield check.finding(
            worst if certain else Status.WARN,
            said if certain else f"possibly: {said}",
            subject=subject_of(these),
            detail=" ".join(dict.fromkeys(filter(None, (r.detail for r in these)))),
            evidence=evidence_of(context, these),
            confidence=Confidence.DERIVED if certain else Confidence.HEURISTIC,
            severity=None if certain else Severity.LOW,
            remedy=remedy(these),
        )
    unknown = tuple(r for r in rows if r.verdict is Verdict.UNKNOWN)
    if unknown:
        yield check.finding(
            Status.UNKNOWN,
            "cannot be judged: " + listed(_pair(context, r) for r in unknown),
            subject=subject_of(unknown),
            detail=" ".join(dict.fromkeys(filter(None, (r.detail for r in unknown)))),
            evidence=evidence_of(context, unknown),
            severity=Severity.LOW,
        )
    good = tuple(r for r in rows if r.verdict is Verdict.COMPATIBLE)
    if good and not bad:
        yield check.finding(
            Status.PASS,
            passed(good),
            subject=subject_of(good),
            evidence=dict.fromkeys(map(row_evidence, good)),
            confidence=Confidence.DERIVED,
        )


def in_environment(context: CheckContext, rows: Rows) -> str:
    """Which environment the rows speak of, where several are looked at: " in /opt/venv"."""
    places = dict.fromkeys(p for row in rows for p in (target_of(row.left), target_of(row.right)) if p)
    return f" in {', '.join(places)}" if places and len(context.targets) > 1 else ""


def _pair(context: CheckContext, row: Compatibility) -> str:
    return f"{label(context, row.left)} with {label(context, row.right)}"


def named(context: CheckContext, rows: Rows, kind: str) -> str:
    """The components of one kind in these rows by name and version: "torch 2.11.0, onnxruntime-gpu 1.27.0"."""
    found = [key for key in subject_of(rows) if (c := context.component(key)) is not None and c.kind == kind]
    return listed(label(context, key) for key in found)


def others(context: CheckContext, rows: Rows, *kinds: str) -> str:
    """The sides of these rows that are of none of these kinds, by name and version."""
    found = [key for key in subject_of(rows) if (c := context.component(key)) is None or c.kind not in kinds]
    return listed(label(context, key) for key in found)


def listed(names: Iterable[str]) -> str:
    """Names, each once; the first four of many."""
    unique = tuple(dict.fromkeys(names))
    more = len(unique) - SHOWN
    return ", ".join(unique) if more <= 1 else f"{', '.join(unique[:SHOWN])} and {more} more"
