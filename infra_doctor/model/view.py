"""What every front end shows of a report, as pure functions over it: the verdict in a sentence, causes before their
consequences, why things were skipped, components by kind, the compatibility matrix as rows and columns.

Components are told apart by the generic kinds only (operating system, driver, device, library, wheel ...)."""

from collections.abc import Iterable
from dataclasses import field

from infra_doctor.model.compatibility import Compatibility, Verdict
from infra_doctor.model.component import DEVICE_KINDS, Component, Target
from infra_doctor.model.finding import Finding, Severity, Status
from infra_doctor.model.policy import POLICY_KIND
from infra_doctor.model.record import record
from infra_doctor.model.report import Report
from infra_doctor.model.wording import counted, joined

PROBLEMS = frozenset({Status.FAIL, Status.ERROR, Status.WARN, Status.UNKNOWN})
VERDICT_RANK = {Verdict.INCOMPATIBLE: 0, Verdict.UNKNOWN: 1, Verdict.COMPATIBLE: 2}
_FIRST_KINDS = ("os", "libc", "cpu", "memory", "driver", *sorted(DEVICE_KINDS), "firmware")
LAST_KINDS = ("python", "wheel")


@record
class Headline:
    """The verdict: the worst status that counts, and a sentence."""

    status: Status
    text: str


@record
class Cause:
    """A problem and what follows from it, directly or through others. `text` is the diagnosis in words."""

    root: Finding
    text: str = ""
    follows: tuple[Finding, ...] = ()


@record
class Reason:
    """Ids of checks or probes that share a reason for not having run."""

    text: str
    ids: tuple[str, ...]


@record
class MatrixRow:
    """One component's pairs, worst first. `cells` has the worst verdict per kind of what it is paired with."""

    key: str
    cells: dict[str, Verdict] = field(default_factory=dict)
    pairs: tuple[Compatibility, ...] = ()


def headline(report: Report) -> Headline:
    """The verdict. Waived findings do not count; what could not be looked at never reads as healthy."""
    counts = dict.fromkeys(Status, 0)
    for finding in report.findings:
        if finding.waived is None:
            counts[finding.status] += 1
    blind = f"{counted(counts[Status.ERROR], 'thing')} could not be looked at" if counts[Status.ERROR] else ""
    risks = counted(counts[Status.WARN], "warning") if counts[Status.WARN] else ""
    open_ = f"{counted(counts[Status.UNKNOWN], 'thing')} could not be judged" if counts[Status.UNKNOWN] else ""
    more = joined([words for words in (risks, open_, blind) if words])
    if counts[Status.FAIL]:
        text = f"The stack does not fit together: {_faults(report, counts[Status.FAIL])}"
        return Headline(status=Status.FAIL, text=f"{text}; {blind}." if blind else f"{text}.")
    devices = any(c.kind in DEVICE_KINDS for c in report.components)
    unseen = "" if devices else " No accelerator device was found."
    # What only a hint could not judge (a release newer than its table) does not take the word from all that was judged.
    hints = counts[Status.PASS] and all(
        f.severity is Severity.LOW for f in report.findings if f.status is Status.UNKNOWN
    )
    for status in (Status.ERROR, Status.WARN, *(() if hints else (Status.UNKNOWN,))):
        if counts[status]:
            start = "Nothing wrong in what could be looked at" if blind else "No fault found"
            return Headline(status=status, text=f"{start}; {more}.{unseen}")
    if counts[Status.PASS]:
        return Headline(
            status=Status.PASS,
            text=f"No fault found: {counted(counts[Status.PASS], 'check')} in order{f'; {open_}' if open_ else ''}.{unseen}",
        )
    if report.findings:
        return Headline(status=Status.SKIP, text=f"Nothing to judge: no check applies to this machine.{unseen}")
    return Headline(status=Status.SKIP, text="Nothing was judged: no check ran.")


def _faults(report: Report, number: int) -> str:
    roots = sum(any(f.status is Status.FAIL for f in (c.root, *c.follows)) for c in causes(report))
    return counted(number, "fault") + (f" from {counted(roots, 'cause')}" if roots < number else "")


def causes(report: Report) -> tuple[Cause, ...]:
    """Problems that are not waived, each exactly once: roots with what follows from them, the worst group first."""
    problems = [f for f in report.findings if f.status in PROBLEMS and f.waived is None]
    place = {id(f): n for n, f in enumerate(problems)}
    named: dict[str, list[Finding]] = {}
    for finding in problems:
        named.setdefault(finding.fingerprint, []).append(finding)
    below: dict[str, list[str]] = {}
    for diagnosis in report.diagnoses:
        below.setdefault(diagnosis.root, []).extend(fp for fp in diagnosis.follows if fp != diagnosis.root)
    consequences = {fp for root, follows in below.items() if root in named for fp in follows}
    texts = {d.root: d.text for d in reversed(report.diagnoses)}
    shown: set[int] = set()
    groups: list[Cause] = []
    # Real roots first; then what a circle of diagnoses would hide.
    for finding in [f for f in problems if f.fingerprint not in consequences] + problems:
        if id(finding) not in shown:
            shown.add(id(finding))
            follows = _reached(finding, named, below, shown)
            follows.sort(key=lambda f: place[id(f)])
            text = texts.get(finding.fingerprint, "") if follows else ""
            groups.append(Cause(root=finding, text=text, follows=tuple(follows)))
    return tuple(sorted(groups, key=lambda c: min(place[id(f)] for f in (c.root, *c.follows))))


def _reached(
    root: Finding, named: dict[str, list[Finding]], below: dict[str, list[str]], shown: set[int]
) -> list[Finding]:
    """What follows from the root, through any number of diagnoses; adds to `shown`."""
    found: list[Finding] = []
    waiting = list(below.get(root.fingerprint, ()))
    while waiting:
        fingerprint = waiting.pop()
        for finding in named.get(fingerprint, ()):
            if id(finding) not in shown:
                shown.add(id(finding))
                found.append(finding)
                waiting.extend(below.get(fingerprint, ()))
    return found


def required_unseen(finding: Finding) -> bool:
    """Whether an accelerator device, or something that the policy requires, could not be looked at: exit code 3."""
    kinds = {key.partition(":")[0] for key in finding.subject}
    return finding.status is Status.ERROR and bool(kinds & (DEVICE_KINDS | {POLICY_KIND}))


def waived(report: Report) -> tuple[Finding, ...]:
    """Problems that a policy lets pass."""
    return tuple(f for f in report.findings if f.waived is not None)


def passed(report: Report) -> tuple[Finding, ...]:
    """Checks that found things in order."""
    return tuple(f for f in report.findings if f.status is Status.PASS and f.waived is None)


def skipped(report: Report) -> tuple[Reason, ...]:
    """Why checks did not apply, the commonest reason first."""
    return _reasons((f.title, f.id) for f in report.findings if f.status is Status.SKIP and f.waived is None)


def blind_probes(report: Report, *statuses: Status) -> tuple[Reason, ...]:
    """Probes that collected nothing, by reason; with `statuses`, only those that ended so."""
    wanted = statuses or (Status.SKIP, Status.ERROR)
    return _reasons((p.reason or "no reason given", p.id) for p in report.probes if p.status in wanted)


def _reasons(pairs: Iterable[tuple[str, str]]) -> tuple[Reason, ...]:
    groups: dict[str, list[str]] = {}
    for reason, name in pairs:
        ids = groups.setdefault(reason, [])
        if name not in ids:
            ids.append(name)
    return tuple(
        Reason(text=reason, ids=tuple(ids)) for reason, ids in sorted(groups.items(), key=lambda g: (-len(g[1]), g[0]))
    )


def loads(component: Component) -> dict[tuple[str, str], tuple[str, ...]]:
    """Who loads this copy: (consumer key, the loader's reason) -> the import orders in which it does."""
    uses: dict[tuple[str, str], tuple[str, ...]] = {}
    for use in component.loaded_by:
        uses[use.consumer, use.via] = (*uses.get((use.consumer, use.via), ()), use.order)
    return uses


def is_library(component: Component) -> bool:
    """Whether this is one copy of a shared library on disk."""
    file = (component.location or "").rpartition("/")[2]
    return "soname" in component.attributes or file.endswith(".so") or ".so." in file


def in_target(component: Component, target: Target) -> bool:
    """Whether the component is part of this environment."""
    return component.target in (target.key, target.prefix)


def by_kind(report: Report) -> tuple[tuple[str, tuple[Component, ...]], ...]:
    """Components by kind: system and devices, toolkits, libraries, Python and wheels, then what stands on them."""
    groups: dict[str, list[Component]] = {}
    for component in report.components:
        groups.setdefault(component.kind, []).append(component)

    def place(kind: str) -> tuple[int, int, str]:
        if kind in _FIRST_KINDS:
            return (0, _FIRST_KINDS.index(kind), kind)
        if kind in LAST_KINDS:
            return (3, LAST_KINDS.index(kind), kind)
        if is_library(groups[kind][0]):
            return (2, 0, kind)
        return (4 if groups[kind][0].target else 1, 0, kind)

    return tuple((kind, tuple(groups[kind])) for kind in sorted(groups, key=place))


def labels(report: Report) -> dict[str, str]:
    """A short name for every component and target key: name and version, and the place where two are called alike."""
    names = {c.key: f"{c.name} {c.version}" if c.version else c.name for c in report.components}
    names.update((t.key, f"Python environment {t.prefix}") for t in report.targets)
    seen: dict[str, int] = {}
    for name in names.values():
        seen[name] = seen.get(name, 0) + 1
    return {k: name if seen[name] == 1 else f"{name} ({k.partition(':')[2] or k})" for k, name in names.items()}


def matrix(report: Report) -> tuple[tuple[str, ...], tuple[MatrixRow, ...]]:
    """The kinds that are columns, and one row for each component that is judged against others, both in stack order."""
    order = {kind: n for n, (kind, _) in enumerate(by_kind(report))}
    kinds = {c.key: c.kind for c in report.components} | {t.key: "python" for t in report.targets}

    def kind_of(key: str) -> str:
        return kinds.get(key) or key.partition(":")[0]

    pairs: dict[str, list[Compatibility]] = {}
    for pair in report.compatibility:
        pairs.setdefault(pair.left, []).append(pair)
    rows: list[MatrixRow] = []
    for key in sorted(pairs, key=lambda k: (order.get(kind_of(k), len(order)), k)):
        cells: dict[str, Verdict] = {}
        for pair in pairs[key]:
            kind = kind_of(pair.right)
            if kind not in cells or VERDICT_RANK[pair.verdict] < VERDICT_RANK[cells[kind]]:
                cells[kind] = pair.verdict
        worst_first = sorted(pairs[key], key=lambda p: (VERDICT_RANK[p.verdict], p.right, p.rule))
        rows.append(MatrixRow(key=key, cells=cells, pairs=tuple(worst_first)))
    columns = sorted({kind for row in rows for kind in row.cells}, key=lambda k: (order.get(k, len(order)), k))
    return tuple(columns), tuple(rows)
