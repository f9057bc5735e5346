"""Markdown for the summary of a CI step, an issue or a chat: GitHub's dialect, readable as plain text too.

Text from the machine cannot form markup, mention anybody or link to an issue: marks are escaped, and a zero-width space
stands after `@` and `#`, which GitHub looks for after it has rendered the page."""

from collections.abc import Iterable
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
    by_kind,
    causes,
    command_line,
    headline,
    is_web_link,
    labels,
    loads,
    machine_stack,
    matrix,
    passed,
    printable,
    privacy,
    shortened,
    skipped,
    target_stack,
    waived,
)

_MARKS = str.maketrans(
    {c: "\\" + c for c in "\\`*_[]|~$"}
    | {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "@&#8203;", "#": "#&#8203;", "\n": "<br>"}
)
# GitHub refuses a step summary above 1 MiB and an issue above 65,536 characters.
TEXT_CAP = 300
ROWS_CAP = 200


def prose(text: str) -> str:
    """Text that stands for itself: no mark in it means anything."""
    return printable(text, lines=True).translate(_MARKS)


def code(text: str, *, in_table: bool = False) -> str:
    """A code span that ends where it should. In a table a bar ends the cell even inside of code."""
    shown = printable(text).replace("|", "\\|") if in_table else printable(text)
    fence = "`" * (_longest_run(shown) + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") or not shown else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def _longest_run(text: str) -> int:
    longest = run = 0
    for character in text:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    return longest


def render(report: Report, options: dict[str, Any]) -> str:
    """The page; nothing in the options changes it."""
    verdict = headline(report)
    lines = [f"## {SIGN[verdict.status]} {verdict.status.value.upper()}: {prose(verdict.text)}", ""]
    counts = [f"{SIGN[s]} {n} {s.value}" for s in SIGN if (n := report.summary.get(s.value, 0))]
    lines += [" · ".join(counts), ""] if counts else []
    lines += _stack(report)
    for cause in causes(report):
        lines += _finding(cause.root, "###", "")
        for finding in cause.follows:
            lines += _finding(finding, "####", f"Follows from **{prose(cause.root.id)}**. ")
    lines += _quiet(report)
    lines += _folded("Compatibility", _matrix(report))
    lines += _folded("Components", _components(report))
    made = f"{report.tool.name} {report.tool.version}, {report.created}. {privacy(report.machine.identified)}"
    lines.append(f"<sub>{prose(made)}</sub>")
    return "\n".join(lines) + "\n"


def _stack(report: Report) -> list[str]:
    rows = [(line.label, line.values) for line in machine_stack(report)]
    for target in report.targets:
        rows += [(line.label, line.values) for line in target_stack(report, target)]
    return _table(("Stack", ""), [(prose(label), prose(" · ".join(values))) for label, values in rows])


def _finding(finding: Finding, level: str, lead: str) -> list[str]:
    state = f"{SIGN[finding.status]} {finding.status.value.upper()}"
    lines = [f"{level} {state} {prose(finding.id)}: {prose(finding.title)}".replace("<br>", " "), ""]
    if lead or finding.detail:
        lines += [lead + prose(finding.detail), ""]
    if finding.remediation is not None:
        lines += [f"**Fix**: {prose(finding.remediation.text)}", ""]
        lines += _commands([command_line(c) for c in finding.remediation.commands])
    seen = [f"- {_evidence(e)}" for e in finding.evidence]
    if finding.remediation is not None:
        seen += [f"- Read {f'<{d}>' if is_web_link(d) else code(d)}" for d in finding.remediation.docs]
    return [*lines, *_folded("Evidence", seen)]


def _commands(commands: list[str]) -> list[str]:
    if not commands:
        return []
    fence = "`" * max(3, 1 + max(map(_longest_run, commands)))
    return [f"{fence}sh", *commands, fence, ""]


def _evidence(evidence: Evidence) -> str:
    text = shortened(printable(evidence.text), TEXT_CAP)
    return f"{code(evidence.source)}: {prose(text)}" if text else code(evidence.source)


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
    return _folded("Passed and skipped", lines)


def _matrix(report: Report) -> list[str]:
    names = labels(report)
    rows = []
    for row in matrix(report)[1]:
        for pair in row.pairs:
            source = f"<{pair.source}>" if is_web_link(pair.source) else prose(pair.source)
            rows.append((
                f"{VERDICT_SIGN[pair.verdict]} {pair.verdict.value}" + ("" if pair.certain else " (a hint)"),
                prose(names.get(pair.left, pair.left)),
                prose(names.get(pair.right, pair.right)),
                prose(pair.detail),
                f"{prose(pair.rule)} {source}",
            ))  # fmt: skip
    return _table(("Verdict", "This", "With", "Why", "Rule"), rows)


def _components(report: Report) -> list[str]:
    names = labels(report)
    rows = [_component(c, names) for _, components in by_kind(report) for c in components]
    return _table(("Kind", "Component", "Place", "From", "Loaded by"), rows)


def _component(component: Component, names: dict[str, str]) -> tuple[str, ...]:
    users = [f"{names.get(who, who)} ({'; '.join(orders)})" for (who, _), orders in loads(component).items()]
    return (
        prose(component.kind),
        prose(f"{component.name} {component.version or ''}".strip()),
        code(component.location, in_table=True) if component.location else "",
        prose(component.origin or ""),
        "<br>".join(map(prose, users)),
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    listed = list(rows)
    if not listed:
        return []
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in listed[:ROWS_CAP]]
    if len(listed) > ROWS_CAP:
        lines += ["", f"… and {len(listed) - ROWS_CAP} more: see the JSON or HTML report."]
    return [*lines, ""]


def _folded(title: str, lines: list[str]) -> list[str]:
    if not lines:
        return []
    return [f"<details><summary>{title}</summary>", "", *lines, *([""] if lines[-1] else []), "</details>", ""]


FORMATS = (
    ReportFormat(name="markdown", help="Markdown for a CI step summary or an issue", render=render, suffix=".md"),
)
