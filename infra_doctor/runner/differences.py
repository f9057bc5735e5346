"""Compares two reports: which components, findings and measurements differ, and which change explains a new finding.

What belongs together in the two is told by `runner/matching.py`; a baseline (`runner/baseline.py`) asks the same functions,
so that both call the same things worse."""

import posixpath
from collections.abc import Callable, Hashable, Iterable, Iterator, Set

from infra_doctor import __version__
from infra_doctor.model.component import Component
from infra_doctor.model.difference import (
    AttributeChange,
    ComponentChange,
    Difference,
    FindingChange,
    MeasurementChange,
    Side,
    Turn,
)
from infra_doctor.model.evidence import EvidenceKind
from infra_doctor.model.finding import SEVERITY_RANK, Finding, Severity, Status
from infra_doctor.model.report import Measurement, Report, Tool
from infra_doctor.model.wording import counted
from infra_doctor.runner.core_ids import CORE_IDS
from infra_doctor.runner.matching import DevicesGone, Matching, Pair, devices_gone, finding_pairs, matched, matching

# How bad a status is; `skip` and `unknown` are neither good nor bad.
BADNESS = {Status.PASS: 0, Status.SKIP: 0, Status.UNKNOWN: 0, Status.ERROR: 1, Status.WARN: 2, Status.FAIL: 3}
BLIND = (Status.UNKNOWN, Status.ERROR)  # what becomes this is not mended by that
# Attributes that differ from one look to the next, by the unit that their name ends with.
VOLATILE = ("_c", "_w", "_mhz", "_percent", "used_bytes", "free_bytes", "_seconds", "_count")
# Units of which less is better; of all others more is.
LESS_IS_BETTER = {"s", "ns", "us", "ms", "ratio of time"}
NOISE = 0.05  # a measurement that differs by less is the same one, whatever its own spread says


def difference(
    before: Report, after: Report, *, sources: tuple[str, str], device_probes: Set[str] = frozenset()
) -> Difference:
    """What changed from one report to the other. `device_probes` are the ids of the probes that look for devices."""
    match = matching(before, after)
    components = tuple(component_changes(match))
    findings = tuple(sorted(finding_changes(before, after, match, components), key=finding_order))
    measurements = tuple(measurement_changes(before, after, match))
    gone = devices_gone(before, after, device_probes)
    missed = 0 if gone.blind else gone.count
    worse = any(f.turn is Turn.WORSE for f in findings) or any(m.turn is Turn.WORSE for m in measurements)
    return Difference(
        tool=Tool(version=__version__),
        before=Side(source=sources[0], created=before.created, machine=before.machine),
        after=Side(source=sources[1], created=after.created, machine=after.machine),
        worse=worse or missed > 0,
        devices_gone=missed,
        findings=findings,
        components=components,
        measurements=measurements,
        notes=(*said_of(gone), *notes(before, after)),
    )


def said_of(gone: DevicesGone) -> Iterator[str]:
    """The devices that are no more, in a sentence."""
    if gone.count:
        names = ", ".join(f"{c.name} ({c.key})" for c in gone.devices)
        some = "" if gone.count == len(gone.devices) else "of "
        may = f"; may be there, and could not be looked at: {gone.blind}" if gone.blind else ""
        yield f"{counted(gone.count, 'device')} gone: {some}{names}{may}"


def notes(before: Report, after: Report) -> Iterator[str]:
    """What limits the comparison."""
    if before.machine.name != after.machine.name:
        yield f"two machines: {before.machine.name} and {after.machine.name}"
    if before.tool.version != after.tool.version:
        yield (
            f"judged by two versions, {before.tool.version} and {after.tool.version}: some findings may differ for that alone"
        )
    if before.machine.identified != after.machine.identified:
        yield "one of the two was made with --identify: what lies in homes has other names in the other, and seems new"
    if len(before.targets) != len(after.targets):
        said = " and ".join(counted(len(r.targets), "Python environment") for r in (before, after))
        yield f"{said}: what was found in environments is compared where their paths are the same"
    blind = {p.id for p in before.probes if p.status is not Status.PASS} ^ {
        p.id for p in after.probes if p.status is not Status.PASS
    }
    titles = {p.id: p.title for p in (*before.probes, *after.probes)}
    if blind:
        yield f"looked at by one of the two only: {', '.join(sorted(titles[i] or i for i in blind))}"
    judged = {f.id for f in before.findings} | (set(CORE_IDS) - {"REQUIREMENT", "THRESHOLD"})
    late = sorted({f.id for f in after.findings if BADNESS[f.status] and f.waived is None} - judged)
    if late:
        yield f"not judged in the first of the two, so that it counts as new: {', '.join(late)}"


# -- components ---------------------------------------------------------------------------------------------------


def component_changes(match: Matching) -> Iterator[ComponentChange]:
    """Every component that is not the same."""
    found = [c for one, other in match.components if (c := component_change(one, other, match.names)) is not None]
    yield from sorted(found, key=lambda c: (c.kind, c.name, c.after_key or "", c.before_key or ""))


def component_change(
    one: Component | None, other: Component | None, names: tuple[Callable[[str], str], Callable[[str], str]]
) -> ComponentChange | None:
    """The change of one component, None for none."""
    here = other or one
    if here is None:
        return None
    attributes: tuple[AttributeChange, ...] = ()
    moved = False
    if one is not None and other is not None:
        differ = [
            n
            for n in sorted({*one.attributes, *other.attributes})
            if one.attributes.get(n) != other.attributes.get(n) and not n.endswith(VOLATILE)
        ]
        attributes = tuple(
            AttributeChange(name=n, before=one.attributes.get(n), after=other.attributes.get(n)) for n in differ
        )
        users = (loaders(one, names[0]), loaders(other, names[1]))
        if users[0] != users[1]:
            attributes += (AttributeChange(name="loaded_by", before=users[0], after=users[1]),)
        moved = names[0](posixpath.dirname(one.location or "")) != names[1](posixpath.dirname(other.location or ""))
        if one.version == other.version and not attributes and not moved:
            return None
    return ComponentChange(
        kind=here.kind,
        name=here.name,
        target=here.target,
        before_key=one.key if one is not None else None,
        after_key=other.key if other is not None else None,
        before=version_of(one),
        after=version_of(other),
        moved=moved,
        attributes=attributes,
    )


def loaders(component: Component, name: Callable[[str], str]) -> str | None:
    """Who loads this copy of a library, in any import order."""
    return ", ".join(sorted({name(use.consumer) for use in component.loaded_by})) or None


def version_of(component: Component | None) -> str | None:
    """The version; of what is there without one, "present"."""
    return None if component is None else component.version or "present"


# -- findings -----------------------------------------------------------------------------------------------------


def finding_changes(
    before: Report, after: Report, match: Matching, components: tuple[ComponentChange, ...]
) -> Iterator[FindingChange]:
    """Findings that came, went, or changed their status."""
    alive = [[f for f in r.findings if f.waived is None] for r in (before, after)]
    for one, other in with_silent(finding_pairs(alive[0], alive[1], match)):
        turn = turned(one, other)
        if turn is None:
            continue
        here = other or one
        if here is None:
            continue
        because: tuple[str, ...] = ()
        if turn is Turn.WORSE and other is not None:
            because = tuple(explanations(other, after, components))
        yield FindingChange(
            id=here.id, turn=turn, before=one.status if one is not None else None,
            after=other.status if other is not None else None, severity=here.severity, title=here.title,
            subject=here.subject, because=because,
        )  # fmt: skip


def with_silent(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """The pairs; a problem without a partner gets one that says nothing bad of the same id on the other side, where there is
    one: so a check that passed and now fails on one of its subjects reads as `pass -> fail`."""
    alone: tuple[list[Finding], list[Finding]] = ([], [])
    for one, other in pairs:
        if one is not None and other is not None:
            yield one, other
        elif one is not None:
            alone[0].append(one)
        elif other is not None:
            alone[1].append(other)
    silent = [{f.id: f for f in reversed(side) if not BADNESS[f.status]} for side in alone]
    yield from ((f, silent[1].get(f.id)) for f in alone[0] if BADNESS[f.status])
    yield from ((silent[0].get(f.id), f) for f in alone[1] if BADNESS[f.status])


def turned(one: Finding | None, other: Finding | None) -> Turn | None:
    """Which way a finding went; None where nobody need know."""
    before = BADNESS[one.status] if one is not None else 0
    after = BADNESS[other.status] if other is not None else 0
    if after > before:
        return Turn.WORSE
    if after < before:
        return Turn.SAME if other is not None and other.status in BLIND and before > 1 else Turn.BETTER
    if one is not None and other is not None and one.title != other.title and after:
        return Turn.SAME
    return None


def explanations(finding: Finding, report: Report, components: tuple[ComponentChange, ...]) -> Iterator[str]:
    """The changes that a finding speaks of: of its subject first, then of what its evidence or its cause names, then the
    variables in its evidence."""
    roots = {d.root for d in report.diagnoses if finding.fingerprint in d.follows}
    chain = [finding, *(f for f in report.findings if f.fingerprint in roots)]
    subject = {key for f in chain for key in f.subject}
    texts = " ".join(t for f in chain for e in f.evidence for t in (e.source, e.text))
    loaded = {
        c.key for c in report.components if any(use.consumer in subject for use in c.loaded_by)
    }  # what the subject loads
    said: set[str] = set()
    tests: tuple[Callable[[ComponentChange], bool], ...] = (
        lambda c: c.after_key in subject or c.before_key in subject,
        lambda c: any(key and key.partition(":")[2] in texts for key in (c.after_key, c.before_key)),
        lambda c: c.after_key in loaded,
    )
    for test in tests:
        for change in components:
            text = in_words(change)
            if text not in said and test(change):
                said.add(text)
                yield text
        if said:
            break
    for evidence in (e for f in chain for e in f.evidence if e.kind is EvidenceKind.ENVIRONMENT):
        text = f"environment: {evidence.source}"
        if text not in said:
            said.add(text)
            yield text


def in_words(change: ComponentChange) -> str:
    """`nvidia 550.54.15 → 535.183.01`, `torch came: 2.9.0`."""
    if change.before is None:
        return f"{change.kind} {change.name} {change.after} came"
    if change.after is None:
        return f"{change.kind} {change.name} {change.before} went"
    if change.before != change.after:
        return f"{change.kind} {change.name} {change.before} → {change.after}"
    if change.attributes:
        first = ", ".join(f"{a.name} {shown(a.before)} → {shown(a.after)}" for a in change.attributes[:3])
        return f"{change.kind} {change.name} {change.after}: {first}"
    return f"{change.kind} {change.name} {change.after} lies elsewhere"


def shown(value: object) -> str:
    """An attribute's value in a sentence."""
    if value is None:
        return "none"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def finding_order(change: FindingChange) -> tuple[int, int, int, str, tuple[str, ...]]:
    """Worse first, the worst of them first."""
    turns = [Turn.WORSE, Turn.SAME, Turn.BETTER]
    bad = -BADNESS[change.after] if change.after is not None else 0
    return (turns.index(change.turn), bad, SEVERITY_RANK[Severity(change.severity)], change.id, change.subject)


# -- measurements -------------------------------------------------------------------------------------------------


def measurement_changes(before: Report, after: Report, match: Matching) -> Iterator[MeasurementChange]:
    """Every measurement of both, and those of one alone. One of another device is compared where both are of one model."""
    models = [{c.key: c.name for c in r.components} for r in (before, after)]

    def by_device(side: int, m: Measurement) -> Hashable:
        return (m.benchmark, m.name, m.unit, match.names[side](m.device or ""))

    def by_model(side: int, m: Measurement) -> Hashable:
        return (m.benchmark, m.name, m.unit, models[side].get(m.device or "", m.device))

    for one, other in matched(before.measurements, after.measurements, by_device, by_model):
        here = other or one
        if here is None:
            continue
        ratio = other.value / one.value if one is not None and other is not None and one.value else None
        yield MeasurementChange(
            benchmark=here.benchmark, name=here.name, device=here.device, unit=here.unit,
            before=one.value if one is not None else None, after=other.value if other is not None else None,
            ratio=ratio, turn=measured_turn(one, other, ratio),
        )  # fmt: skip


def measured_turn(one: Measurement | None, other: Measurement | None, ratio: float | None) -> Turn:
    """Worse or better where the difference is more than the noise of both."""
    if one is None or other is None or ratio is None:
        return Turn.SAME
    noise = max(NOISE, 2 * (one.spread or 0.0), 2 * (other.spread or 0.0))
    if abs(ratio - 1) <= noise:
        return Turn.SAME
    more = ratio > 1
    return Turn.BETTER if more is not less_is_better(other.unit) else Turn.WORSE


def less_is_better(unit: str) -> bool:
    """Whether less of this unit is better."""
    return unit in LESS_IS_BETTER
