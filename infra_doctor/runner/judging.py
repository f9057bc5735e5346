"""From facts to findings: the compatibility matrix, the checks, the diagnosis. Pure: nothing reaches the machine."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from infra_doctor.model.compatibility import Compatibility
from infra_doctor.model.evidence import Evidence, EvidenceKind
from infra_doctor.model.finding import SEVERITY_RANK, Diagnosis, Finding, Severity, Status
from infra_doctor.model.plugins import Check, CheckContext, CompatibilityRule

T = TypeVar("T")
BAD = frozenset({Status.FAIL, Status.WARN})


def guarded(kind: str, name: str, call: Callable[[], Iterable[T]]) -> tuple[tuple[T, ...], Finding | None]:
    """What a plug-in gives, or the finding that says that it failed."""
    try:
        return tuple(call()), None
    except Exception as error:  # noqa: BLE001  one plug-in's fault must not end the run
        import traceback

        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.filename.rsplit('/', 1)[-1]}:{last.lineno}"
        return (), Finding(
            id="PLUGIN-FAILED",
            subject=(f"{kind}:{name}",),
            status=Status.ERROR,
            severity=Severity.MEDIUM,
            title=f"{kind} {name} failed",
            detail=f"{type(error).__name__}: {error} ({where})"[:400],
            evidence=(Evidence(kind=EvidenceKind.DERIVED, source=where),),
        )


def judge_matrix(
    rules: Iterable[CompatibilityRule], context: CheckContext
) -> tuple[tuple[Compatibility, ...], list[Finding]]:
    """All rows of the compatibility matrix in a total order, and what failed."""
    rows: set[Compatibility] = set()
    failures = []
    for rule in rules:
        found, failure = guarded("rule", rule.id, lambda rule=rule: rule.judge(context))  # type: ignore[misc]
        rows.update(found)
        if failure:
            failures.append(failure)
    return tuple(sorted(rows, key=lambda c: (c.rule, c.left, c.right, c.verdict, c.detail))), failures


def run_checks(checks: Iterable[Check], context: CheckContext) -> list[Finding]:
    """The findings of all checks; a check that gives none, or another id, is itself an error."""
    findings: list[Finding] = []
    for check in checks:
        found, failure = guarded("check", check.id, lambda check=check: check.run(context))  # type: ignore[misc]
        if failure is None and any(f.id != check.id for f in found):
            found, failure = guarded("check", check.id, _raiser("gave a finding with another id"))
        if failure is None and not found:
            _, failure = guarded("check", check.id, _raiser("gave no finding"))
        findings += found
        if failure:
            findings.append(failure)
    return findings


def _raiser(text: str) -> Callable[[], Iterable[Any]]:
    def call() -> Iterable[Any]:
        raise ValueError(text)

    return call


def diagnose(
    findings: Iterable[Finding], checks: Iterable[Check], explained: Mapping[str, tuple[str, ...]] | None = None
) -> tuple[Diagnosis, ...]:
    """Roots and what follows from each. A failing finding follows from another failing one when its check names that id
    in `explained_by`, both speak of the same target (or one of them of the whole machine), and the check's `follows`
    does not deny it. `explained` names such ids for findings that no check gave, by fingerprint."""
    told = explained or {}
    bad = [f for f in findings if (f.status in BAD or f.fingerprint in told) and not f.waived]
    by_id = {c.id: c for c in checks}
    causes: dict[str, list[Finding]] = {}
    for finding in bad:
        check = by_id.get(finding.id)
        causes[finding.fingerprint] = [
            c
            for c in bad
            if c.id in (check.explained_by if check is not None else told.get(finding.fingerprint, ()))
            and c.fingerprint != finding.fingerprint
            and _same_place(finding, c)
            and (_same_devices(finding, c) if check is None else check.follows is None or check.follows(finding, c))
        ]
    follows: dict[str, list[Finding]] = {}
    for finding in bad:
        root = _root(finding, causes)
        if root is not finding:
            follows.setdefault(root.fingerprint, []).append(finding)
    by_fingerprint = {f.fingerprint: f for f in bad}
    out = []
    for root_print in sorted(follows, key=lambda p: (by_fingerprint[p].id, p)):
        root = by_fingerprint[root_print]
        consequences = sorted(follows[root_print], key=lambda f: (f.id, f.fingerprint))
        ids = ", ".join(dict.fromkeys(f.id for f in consequences))
        out.append(
            Diagnosis(
                root=root_print,
                follows=tuple(f.fingerprint for f in consequences),
                text=f"{root.id} explains {ids}: {root.title}",
            )
        )
    return tuple(out)


def _root(finding: Finding, causes: dict[str, list[Finding]]) -> Finding:
    """The last cause of a finding; of causes that name each other, the first in order."""
    seen = [finding]
    while causes[finding.fingerprint]:
        finding = min(causes[finding.fingerprint], key=_order)
        if finding in seen:
            return min(seen[seen.index(finding) :], key=_order)
        seen.append(finding)
    return finding


def _order(finding: Finding) -> tuple[int, str, str]:
    return (SEVERITY_RANK[finding.severity], finding.id, finding.fingerprint)


def _same_place(one: Finding, other: Finding) -> bool:
    ones, others = _targets(one), _targets(other)
    return not ones or not others or bool(ones & others)


def _same_devices(finding: Finding, cause: Finding) -> bool:
    """Whether the cause speaks of one of these devices, or of none of their kind."""
    kinds = {key.partition(":")[0] for key in finding.subject}
    named = {key for key in cause.subject if key.partition(":")[0] in kinds}
    return not named or bool(named & set(finding.subject))


def _targets(finding: Finding) -> set[str]:
    """The prefixes of the targets that a finding's subject names."""
    out = set()
    for key in finding.subject:
        if key.startswith("target:"):
            out.add(key.removeprefix("target:"))
        elif "@/" in key:
            out.add(key.split("@", 1)[1])
    return out
