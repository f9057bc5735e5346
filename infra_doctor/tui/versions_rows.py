"""The rows of the Versions screen: pairs that do not fit first, then every component with who loads it."""

from textual.content import Content

from infra_doctor.model.compatibility import Compatibility, Verdict
from infra_doctor.model.component import DEVICE_KINDS, Component
from infra_doctor.model.report import Report
from infra_doctor.model.view import VERDICT_RANK, by_kind, in_target, is_library, labels, loads
from infra_doctor.model.wording import VERDICT_SIGN, attribute, counted, own_path
from infra_doctor.tui.progress import Phase, Progress, report_so_far
from infra_doctor.tui.rows import Row, Section
from infra_doctor.tui.text import (
    MUTED,
    STRONG,
    VERDICT_STYLE,
    evidence_lines,
    link,
    prose,
    said,
    stacked,
    table_lines,
    titled,
    verdict_badge,
)
from infra_doctor.tui.verdict_rows import no_accelerator

SYSTEM_KINDS = frozenset({"os", "libc", "cpu", "memory"})
NAME_WIDTH, VERSION_WIDTH = 28, 16


def sections(progress: Progress) -> tuple[Section, ...]:
    """Everything that the list shows: what is found so far, or the report's components and pairs."""
    report = report_so_far(progress)
    names = labels(report)
    pairs: dict[str, list[Compatibility]] = {}
    for pair in report.compatibility:
        for key in dict.fromkeys((pair.left, pair.right)):
            pairs.setdefault(key, []).append(pair)
    groups: dict[str, list[Component]] = {
        "System": [],
        "Driver and devices": [],
        "Toolkits and runtimes": [],
        "Libraries": [],
    }
    for kind, components in by_kind(report):
        for component in components:
            groups.setdefault(_place(kind, component, report), []).append(component)
    out = [_pairs_section(report, names)] if report.compatibility else []
    for title, members in groups.items():
        rows = _component_rows(members, pairs, names, progress)
        if title == "Driver and devices" and progress.phase is Phase.JUDGED and not _has_device(report):
            rows = (*rows, _no_device_row(report))
        if rows:
            out.append(Section(title=title, rows=rows))
    return tuple(out)


def empty_text(progress: Progress) -> str:
    """What an empty list says."""
    if progress.phase in (Phase.STARTING, Phase.LOOKING):
        return "Nothing found yet: the probes are looking."
    if progress.phase is Phase.FAILED:
        return "Nothing to show: the run could not go on. 1 shows why."
    return "No component was found. 1 shows which probes looked, and why others did not."


def _place(kind: str, component: Component, report: Report) -> str:
    """The heading that a component stands under."""
    if kind in SYSTEM_KINDS and not component.target:
        return "System"
    if kind == "driver" or kind in DEVICE_KINDS or kind == "firmware":
        return "Driver and devices"
    if is_library(component):
        return "Libraries"
    if component.target:
        target = next((t for t in report.targets if in_target(component, t)), None)
        return f"Python environment {target.prefix if target else component.target}"
    return "Toolkits and runtimes"


def _has_device(report: Report) -> bool:
    return any(c.kind in DEVICE_KINDS for c in report.components)


def _no_device_row(report: Report) -> Row:
    return Row(
        id="no device",
        line=Content.styled("  No accelerator found (enter: why)", MUTED),
        detail=lambda: no_accelerator(report),
    )


# -- components ---------------------------------------------------------------------------------------------------


def _component_rows(
    components: list[Component], pairs: dict[str, list[Compatibility]], names: dict[str, str], progress: Progress
) -> tuple[Row, ...]:
    name_width = min(NAME_WIDTH, max((len(c.name) for c in components), default=0))
    version_width = min(VERSION_WIDTH, max((len(_version(c)) for c in components), default=0))
    rows = []
    for component in components:
        mine = pairs.get(component.key, [])
        rows.append(
            Row(
                id=component.key,
                line=_component_line(component, mine, names, name_width, version_width),
                detail=lambda component=component, mine=mine: component_detail(component, mine, names),  # type: ignore[misc]
                words=" ".join((component.kind, component.key, component.origin or "", component.location or "")),
                copy=own_path(place) if (place := component.location or "").isprintable() else "",
                why_no_copy="It has no place to copy.",
            )
        )
    return tuple(rows)


def _component_line(
    component: Component, pairs: list[Compatibility], names: dict[str, str], name_width: int, version_width: int
) -> Content:
    worst = min((p.verdict for p in pairs), key=lambda v: VERDICT_RANK[v], default=None)
    sign = Content.styled(VERDICT_SIGN[worst], VERDICT_STYLE[worst]) if worst else Content(" ")
    misfit = Content.styled("does not fit  ", VERDICT_STYLE[worst]) if worst is Verdict.INCOMPATIBLE else Content()
    version = _column(_version(component), version_width)
    return Content.assemble(
        sign, " ", _column(component.name, name_width), "  ", version.stylize(STRONG), "  ", misfit,
        said(" · ".join(_line_facts(component, names)), MUTED),
    )  # fmt: skip


def _version(component: Component) -> str:
    """The version; a question mark where one belongs and is not known (processors and devices have none)."""
    return component.version or ("" if component.attributes and not is_library(component) else "?")


def _line_facts(component: Component, names: dict[str, str]) -> list[str]:
    """What tells a component from its like: who loads it, its attributes, who brought it, where it is."""
    uses = ", ".join(dict.fromkeys(names.get(u.consumer, u.consumer).partition(" ")[0] for u in component.loaded_by))
    facts = [f"loaded by {uses}"] if uses else []
    facts += [component.key.partition(":")[2]] if component.kind in DEVICE_KINDS else []
    if not is_library(component):
        facts += [attribute(name, value) for name, value in component.attributes.items() if value not in (None, "")]
    facts += [component.origin] if component.origin else []
    return facts + ([component.location] if component.location else [])


def _column(text: str, width: int) -> Content:
    shown = said(text)
    return (
        shown.truncate(width, ellipsis=True)
        if shown.cell_length > width
        else shown.pad_right(width - shown.cell_length)
    )


def component_detail(component: Component, pairs: list[Compatibility], names: dict[str, str]) -> Content:
    """All of one component: where it comes from, why it is the copy that loads, its pairs, and the evidence."""
    head = Content("\n").join(
        [
            said(f"{component.name} {_version(component).replace('?', 'version unknown')}".rstrip(), STRONG),
            said(component.kind, MUTED),
        ]
    )
    places = [
        ("from", component.origin),
        ("at", component.location),
        ("in", component.target),
        ("key", "" if component.location and component.location in component.key else component.key),
    ]
    facts = [_property(name, value) for name, value in component.attributes.items() if value is not None]
    return stacked(
        head,
        titled("Where", *table_lines([(name, value) for name, value in places if value])),
        _loads(component, names),
        titled("Fits with", *(line for pair in pairs for line in _pair_lines(pair, component.key, names))),
        titled("Properties", *table_lines(facts)),
        titled("Evidence", *evidence_lines(component.evidence)),
    )


def _property(name: str, value: str | int | float) -> tuple[str, str]:
    words = name.removesuffix("_bytes").replace("_", " ")
    return words, attribute(name, value).removeprefix(words).strip()


def _loads(component: Component, names: dict[str, str]) -> Content:
    """Why this copy loads: per consumer and reason, the import orders."""
    if not component.loaded_by:
        unused = "in no import order that was looked at" if is_library(component) else ""
        return titled("Loaded", said(unused, MUTED)) if unused else Content()
    lines = []
    for (consumer, via), orders in loads(component).items():
        lines.append(Content.assemble(said(names.get(consumer, consumer), STRONG), "  ", said(via)))
        lines.append(said("import order: " + "; ".join(orders), MUTED))
    return titled("Why this copy loads", *lines)


# -- pairs --------------------------------------------------------------------------------------------------------


def _pairs_section(report: Report, names: dict[str, str]) -> Section:
    """Pairs that do not fit, or that nobody can judge, then the others in a group."""
    ranked = sorted(report.compatibility, key=lambda p: (VERDICT_RANK[p.verdict], p.left, p.right, p.rule))
    open_ = tuple(_pair_row(p, n, names) for n, p in enumerate(ranked) if p.verdict is Verdict.INCOMPATIBLE)
    unknown = tuple(_pair_row(p, n, names) for n, p in enumerate(ranked) if p.verdict is Verdict.UNKNOWN)
    fitting = tuple(_pair_row(p, n, names) for n, p in enumerate(ranked) if p.verdict is Verdict.COMPATIBLE)
    rows = open_
    for verdict, word, group in (
        (Verdict.UNKNOWN, "cannot be judged", unknown),
        (Verdict.COMPATIBLE, "fit" if len(fitting) > 1 else "fits", fitting),
    ):
        if group:
            line = Content.styled(
                f"{VERDICT_SIGN[verdict]} {counted(len(group), 'pair')} {word}", VERDICT_STYLE[verdict]
            )
            listed = [row.line for row in group]
            detail = titled(line.plain, *listed)
            rows = (*rows, Row(id=f"pairs {verdict}", line=line, detail=lambda detail=detail: detail, rows=group))  # type: ignore[misc]
    return Section(title="What fits together", rows=rows)


def _pair_row(pair: Compatibility, number: int, names: dict[str, str]) -> Row:
    left, right = names.get(pair.left, pair.left), names.get(pair.right, pair.right)
    return Row(
        id=f"pair {pair.rule} {pair.left} {pair.right} {number}",
        line=Content.assemble(
            verdict_badge(pair.verdict), " ", said(left), (" ↔ ", MUTED), said(right), said(f"  {pair.rule}", MUTED)
        ),
        detail=lambda: pair_detail(pair, names),
        words=f"{pair.left} {pair.right} {pair.source} {pair.detail}",
        copy=pair.source if pair.source.isprintable() else "",
        why_no_copy="It names no source.",
    )


def pair_detail(pair: Compatibility, names: dict[str, str]) -> Content:
    """All of one pair: both sides, the verdict in words, the rule, and where it is published."""
    left, right = names.get(pair.left, pair.left), names.get(pair.right, pair.right)
    hint = "It rests on a row without a public or certain source: a hint, never a fault."
    return stacked(
        Content("\n").join([verdict_badge(pair.verdict), said(left, STRONG), said(right, STRONG)]),
        prose(pair.detail),
        prose("" if pair.certain else hint, "italic"),
        titled("Rule", said(pair.rule), said(f"infra-doctor explain {pair.rule}", MUTED)),
        titled("Source", link(pair.source)) if pair.source else Content(),
    )


def _pair_lines(pair: Compatibility, own: str, names: dict[str, str]) -> list[Content]:
    other = pair.right if pair.left == own else pair.left
    first = Content.assemble(
        verdict_badge(pair.verdict), " ", said(names.get(other, other)), said(f"  {pair.rule}", MUTED)
    )
    return [first, said(pair.detail, MUTED, limit=1000)] if pair.detail else [first]
