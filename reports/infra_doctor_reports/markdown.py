"""Markdown for the summary of a CI step, an issue or a chat: GitHub's dialect, readable as plain text too.

GitHub shows no summary at all of a step that wrote more than 1 MiB (`AttachmentSizeLimit` in
https://github.com/actions/runner/blob/main/src/Runner.Worker/FileCommandManager.cs), and takes no issue of more than 65,536
characters (its words: https://github.com/renovatebot/renovate/issues/2032). What is most useful goes in first, and what found
no room is said."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from infra_doctor.plugin import (
    SIGN,
    VERDICT_SIGN,
    Component,
    Evidence,
    Finding,
    Report,
    ReportFormat,
    Status,
    blind_probes,
    by_kind,
    causes,
    command_line,
    headline,
    labels,
    loads,
    machine_stack,
    matrix,
    measured_name,
    passed,
    printable,
    privacy,
    quantity,
    share,
    shortened,
    skipped,
    target_stack,
    waived,
)
from infra_doctor_reports.markdown_text import code, link, longest_run, prose
from infra_doctor_reports.room import Part, fitted

# In bytes of UTF-8, of which a character has one at least. Whoever writes an issue wants to say something too.
SUMMARY_CAP, ISSUE_CAP = (1 << 20) - 1024, 60_000
TEXT_CAP, DETAIL_CAP = 300, 4000
ROWS_CAP = 200


def render(report: Report, options: dict[str, Any]) -> str:
    """The page. Options: for_issue; present_bytes, which the file has already that this is added to."""
    for_issue = bool(options.get("for_issue"))
    cap = ISSUE_CAP if for_issue else SUMMARY_CAP - int(options.get("present_bytes") or 0)
    verdict = headline(report)
    lines = [f"## {SIGN[verdict.status]} {verdict.status.value.upper()}: {prose(verdict.text)}", ""]
    counts = [f"{SIGN[s]} {n} {s.value}" for s in SIGN if (n := report.summary.get(s.value, 0))]
    lines += [" · ".join(counts), ""] if counts else []
    parts = [Part(rank=0, lines=tuple(lines)), *_stack(report)]
    for cause in causes(report):
        parts += _finding(cause.root, "###", "", backlinks=not for_issue)
        for finding in cause.follows:
            parts += _finding(finding, "####", f"Follows from **{prose(cause.root.id)}**. ", backlinks=not for_issue)
    parts.append(_table(4, "Measured", ("Benchmark", "Device", "Value", "Of what is expected"), _measurements(report)))
    parts.append(_folded(4, "Passed and skipped", _quiet(report)))
    if for_issue:
        parts.append(
            _folded(
                6,
                "Looked at by no probe",
                [f"- {prose(', '.join(r.ids))}: {prose(r.text)}" for r in blind_probes(report)],
            )
        )
    parts.append(
        _table(5, "Compatibility", ("Verdict", "This", "With", "Why", "Rule"), _matrix(report, backlinks=not for_issue))
    )
    parts.append(_table(7, "Components", ("Kind", "Component", "Place", "From", "Loaded by"), _components(report)))
    made = f"{report.tool.name} {report.tool.version}, {report.created}. {privacy(report.machine.identified)}"
    parts.append(Part(rank=0, lines=(f"<sub>{prose(made)}</sub>",)))
    return fitted([p for p in parts if p.lines], cap)


# -- what stands on the page --------------------------------------------------------------------------------------------


def _stack(report: Report) -> list[Part]:
    rows = [(line.label, line.values) for line in machine_stack(report)]
    for target in report.targets:
        rows += [(line.label, line.values) for line in target_stack(report, target)]
    shown = [f"| {prose(label)} | {prose(shortened(' · '.join(values), DETAIL_CAP))} |" for label, values in rows]
    if not shown:
        return []
    return [
        Part(rank=1, lines=("| Stack | |", "| --- | --- |"), rows=tuple(shown), end=("",), name="lines of the stack")
    ]


def _finding(finding: Finding, level: str, lead: str, *, backlinks: bool) -> list[Part]:
    state = f"{SIGN[finding.status]} {finding.status.value.upper()}"
    title = shortened(printable(finding.title), DETAIL_CAP)
    head = f"{level} {state} {prose(f'{finding.id}: {title}')}".replace("<br>", " ")
    lines = [head, ""]
    if lead or finding.detail:
        lines += [lead + prose(shortened(printable(finding.detail, lines=True), DETAIL_CAP)), ""]
    if finding.remediation is not None:
        lines += [f"**Fix**: {prose(shortened(printable(finding.remediation.text, lines=True), DETAIL_CAP))}", ""]
        lines += _commands([command_line(c) for c in finding.remediation.commands])
    seen = [f"- {_evidence(e)}" for e in finding.evidence]
    if finding.remediation is not None:
        seen += [f"- Read {link(d, backlinks=backlinks)}" for d in finding.remediation.docs]
    whole = Part(rank=2, lines=tuple(lines), name="findings in full", instead=(head, ""))
    return [whole, _folded(3, "Evidence", seen, name="pieces of evidence")]


def _commands(commands: list[str]) -> list[str]:
    if not commands:
        return []
    fence = "`" * max(3, 1 + max(map(longest_run, commands)))
    return [f"{fence}sh", *commands, fence, ""]


def _evidence(evidence: Evidence) -> str:
    text = shortened(printable(evidence.text), TEXT_CAP)
    source = code(shortened(printable(evidence.source), DETAIL_CAP))
    return f"{source}: {prose(text)}" if text else source


def _quiet(report: Report) -> list[str]:
    lines = []
    good = passed(report)
    if good:
        lines.append(f"- {SIGN[Status.PASS]} PASS {prose(', '.join(dict.fromkeys(f.id for f in good)))}")
    lines += [f"- {SIGN[Status.SKIP]} SKIP {prose(', '.join(r.ids))}: {prose(r.text)}" for r in skipped(report)]
    for finding in waived(report):
        why = finding.waived.reason if finding.waived else ""
        until = f", until {finding.waived.until}" if finding.waived and finding.waived.until else ""
        lines.append(f"- {SIGN[Status.SKIP]} WAIVED {prose(f'{finding.id}: {finding.title}; {why}{until}')}")
    return lines


def _measurements(report: Report) -> list[tuple[str, ...]]:
    names = {c.key: f"{c.name} {c.key}" for c in report.components}
    return [
        (
            prose(f"{m.benchmark} {measured_name(m)}"),
            prose(names.get(m.device, m.device) if m.device else "host"),
            prose(quantity(m.value, m.unit)),
            prose(share(m)) if m.verified else f"{prose(share(m))} **wrong result**".strip(),
        )
        for m in report.measurements
    ]


def _matrix(report: Report, *, backlinks: bool) -> list[tuple[str, ...]]:
    names = labels(report)
    rows: list[tuple[str, ...]] = []
    for row in matrix(report)[1]:
        for pair in row.pairs:
            source = link(pair.source, backlinks=backlinks) if pair.source.startswith("http") else prose(pair.source)
            rows.append((
                f"{VERDICT_SIGN[pair.verdict]} {pair.verdict.value}" + ("" if pair.certain else " (a hint)"),
                prose(names.get(pair.left, pair.left)),
                prose(names.get(pair.right, pair.right)),
                prose(pair.detail),
                f"{prose(pair.rule)} {source}",
            ))  # fmt: skip
    return rows


def _components(report: Report) -> list[tuple[str, ...]]:
    names = labels(report)
    return [_component(c, names) for _, components in by_kind(report) for c in components]


def _component(component: Component, names: dict[str, str]) -> tuple[str, ...]:
    users = [f"{names.get(who, who)} ({'; '.join(orders)})" for (who, _), orders in loads(component).items()]
    return (
        prose(component.kind),
        prose(f"{component.name} {component.version or ''}".strip()),
        code(component.location, in_table=True) if component.location else "",
        prose(component.origin or ""),
        "<br>".join(map(prose, users)),
    )


def _table(rank: int, title: str, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Part:
    """A folded table."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    more = ("", f"… and {len(rows) - ROWS_CAP} more: see the JSON or HTML report.") if len(rows) > ROWS_CAP else ()
    return _folded(rank, title, ["| " + " | ".join(row) + " |" for row in rows[:ROWS_CAP]], head=lines, end=more)


def _folded(
    rank: int, title: str, rows: Sequence[str], *, head: Sequence[str] = (), end: Sequence[str] = (), name: str = ""
) -> Part:
    """What a click opens; nothing where there are no rows."""
    if not rows:
        return Part(rank=rank, lines=())
    opening = (f"<details><summary>{title}</summary>", "", *head)
    name = name or f"rows of {title}"
    return Part(rank=rank, lines=opening, rows=tuple(rows), end=(*end, "", "</details>", ""), name=name)


# -- how it is asked for ------------------------------------------------------------------------------------------------


class _ForIssue(argparse.Action):
    """`--for-issue` says Markdown too, unless a file of it was asked for before."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        namespace.for_issue = True
        if not any(str(asked).startswith("markdown") for asked in getattr(namespace, "format", None) or ()):
            namespace.markdown = True


def add_arguments(group: "argparse._ArgumentGroup") -> None:
    """The format's own further flag."""
    group.add_argument(
        "--for-issue",
        action=_ForIssue,
        nargs=0,
        default=False,
        help="Markdown that is short enough for an issue on GitHub",
    )


def automatic(environ: Mapping[str, str]) -> str:
    """The step's summary, to which others of the step may write too."""
    path = environ.get("GITHUB_STEP_SUMMARY", "")
    return f">>{path}" if path else ""


FORMATS = (
    ReportFormat(
        name="markdown", help="Markdown for a CI step summary or an issue", render=render, suffix=".md",
        add_arguments=add_arguments, automatic=automatic,
    ),
)  # fmt: skip
