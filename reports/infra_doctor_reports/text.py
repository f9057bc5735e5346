"""Plain text for a terminal: the verdict, the stack, what is wrong and how to mend it, worst first.

Written for somebody at a shell in the middle of the night: states are words beside signs (colour only repeats them), lines
keep within the width, commands stand alone on their line so that they can be copied. Plain ANSI, no library."""

from collections.abc import Iterator
from typing import Any

from infra_doctor.plugin import (
    SIGN,
    VERDICT_SIGN,
    VERDICT_STATUS,
    Cause,
    Component,
    Evidence,
    Finding,
    Report,
    ReportFormat,
    Status,
    attribute,
    blind_probes,
    by_kind,
    causes,
    command_line,
    counted,
    headline,
    is_library,
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
from infra_doctor_reports.page import Page
from infra_doctor_reports.text_documents import KINDS, renderer
from infra_doctor_reports.text_measured import measured

_COLOR = {
    Status.FAIL: "1;31",
    Status.ERROR: "1;35",
    Status.WARN: "1;33",
    Status.UNKNOWN: "1;36",
    Status.PASS: "1;32",
    Status.SKIP: "2",
}
# What the short form shows; -v shows all.
EVIDENCE_SHOWN = 3
EVIDENCE_TEXT_CAP = 160
REASONS_SHOWN = 3
SHARED = 3  # checks that are skipped for one reason
STACK_COLUMN, FIELD_COLUMN, PART_COLUMN = 14, 7, 11


def render(report: Report, options: dict[str, Any]) -> str:
    """The whole page. Options: color, ascii, width, verbose."""
    page = Page(options)
    _verdict(page, report)
    _stack(page, report)
    measured(page, report)
    for cause in causes(report):
        page.blank()
        _cause(page, cause)
    _quiet(page, report)
    if page.verbose:
        _components(page, report)
        _matrix(page, report)
        _targets(page, report)
        _probes(page, report)
    _ending(page, report)
    return page.text()


def _badge(page: Page, status: Status) -> str:
    return page.paint(_state(status), _COLOR[status]) + "  "


def _state(status: Status) -> str:
    return f"{SIGN[status]} {status.value.upper()}"


def _stated(page: Page, status: Status, text: str, *, indent: int = 0, code: str = "") -> None:
    """`✖ FAIL  text`, the text wrapped beside its state."""
    body = indent + len(_state(status)) + 2
    page.words(text, body, lead=" " * indent + _badge(page, status), code=code)


def _verdict(page: Page, report: Report) -> None:
    verdict = headline(report)
    _stated(page, verdict.status, verdict.text, code="1")


def _stack(page: Page, report: Report) -> None:
    for lines in (machine_stack(report), *(target_stack(report, target) for target in report.targets)):
        if lines:
            page.blank()
            for line in lines:
                page.listing(line.label, line.values, 2, STACK_COLUMN)


def _cause(page: Page, cause: Cause) -> None:
    _finding(page, cause.root, 0)
    for finding in cause.follows:
        page.lines.append(page.paint(f"  └─ follows from {printable(cause.root.id)}", "2"))
        _finding(page, finding, 5)


def _finding(page: Page, finding: Finding, indent: int) -> None:
    name = printable(finding.id)
    body = indent + 4
    lead = " " * indent + _badge(page, finding.status) + page.paint(name, "1") + "  "
    taken = indent + len(_state(finding.status)) + 2 + len(name) + 2
    page.words(printable(finding.title), body, lead=lead, taken=taken, code="1")
    if finding.detail:
        page.words(finding.detail, body)
    _seen(page, finding, body)
    if finding.remediation is not None:
        page.field("Fix", finding.remediation.text, body, FIELD_COLUMN)
        for command in finding.remediation.commands:
            # Never wrapped: a command must survive copying.
            page.lines.append(" " * (body + FIELD_COLUMN) + page.paint(command_line(command), "36"))
    if page.verbose:
        for address in finding.remediation.docs if finding.remediation else ():
            page.field("Read", printable(address), body, FIELD_COLUMN)
        about = (f"{finding.severity.value} severity", finding.confidence.value, *finding.subject)
        page.listing("About", about, body, FIELD_COLUMN)


def _seen(page: Page, finding: Finding, indent: int) -> None:
    shown = [_evidence(e, page.verbose) for e in finding.evidence if not (e.text and e.text == finding.detail)]
    label = "Seen"
    # What is in order needs no long proof on a screen; the whole of it is in the machine-readable forms.
    in_order = finding.status is Status.PASS and page.verbose < 2
    if (not page.verbose or in_order) and len(shown) > EVIDENCE_SHOWN + 1:
        more = "-vv" if page.verbose else "-v"
        shown[EVIDENCE_SHOWN:] = [f"… and {len(shown) - EVIDENCE_SHOWN} more ({more})"]
    for text in shown:
        page.field(label, text, indent, FIELD_COLUMN)
        label = ""


def _evidence(evidence: Evidence, verbose: int) -> str:
    source, text = printable(evidence.source), printable(evidence.text)
    if not verbose:
        text = shortened(text, EVIDENCE_TEXT_CAP)
    return f"{source}: {text}" if text else source


def _quiet(page: Page, report: Report) -> None:
    """What needs no action, in a few lines."""
    page.blank()
    good = passed(report)
    if page.verbose:
        for finding in good:
            _finding(page, finding, 0)
    elif good:
        _stated(page, Status.PASS, printable(", ".join(dict.fromkeys(f.id for f in good))))
    reasons = skipped(report)
    # A line for each of seventy checks that have nothing to look at would bury the rest: what several share is the answer.
    shown = reasons if page.verbose else tuple(r for r in reasons if len(r.ids) >= SHARED)[:REASONS_SHOWN]
    for reason in shown:
        _stated(page, Status.SKIP, printable(f"{', '.join(reason.ids)}: {reason.text}"))
    if rest := len({name for reason in reasons for name in reason.ids} - {n for r in shown for n in r.ids}):
        _stated(
            page,
            Status.SKIP,
            f"{counted(rest, 'more check' if shown else 'check')} had nothing to judge here (-v says why)",
        )
    for finding in waived(report):
        policy = finding.waived
        until = f", until {policy.until}" if policy and policy.until else ""
        text = f"{finding.id} ({finding.status}): {finding.title}; {policy.reason if policy else ''}{until}"
        page.words(printable(text), 10, lead=page.paint("– WAIVED  ", _COLOR[Status.SKIP]))
    hidden = sum(len(reason.ids) for reason in blind_probes(report, Status.SKIP))
    if hidden and not page.verbose:
        _stated(page, Status.SKIP, f"{counted(hidden, 'probe')} had nothing to look at (-v says why)")


def _components(page: Page, report: Report) -> None:
    names = labels(report)
    for kind, components in by_kind(report):
        page.heading(kind)
        for component in components:
            _component(page, component, names)


def _component(page: Page, component: Component, names: dict[str, str]) -> None:
    unknown = " (version unknown)" if component.version is None and is_library(component) else ""
    page.words(printable(f"{names[component.key]}{unknown}"), 2)
    for label, text in (("at", component.location), ("from", component.origin)):
        if text:
            page.field(label, printable(text), 4, PART_COLUMN)
    if component.attributes:
        page.listing("has", tuple(attribute(k, v) for k, v in component.attributes.items()), 4, PART_COLUMN)
    for (consumer, via), orders in loads(component).items():
        when = " ".join(f"[{order}]" for order in orders)
        page.field("loaded by", printable(f"{names.get(consumer, consumer)}: {via}; {when}"), 4, PART_COLUMN)
    for number, evidence in enumerate(component.evidence):
        page.field("" if number else "seen", _evidence(evidence, page.verbose), 4, PART_COLUMN)


def _matrix(page: Page, report: Report) -> None:
    names = labels(report)
    rows = matrix(report)[1]
    if rows:
        page.heading("Compatibility")
    for row in rows:
        page.words(printable(names.get(row.key, row.key)), 2)
        for pair in row.pairs:
            state = f"{VERDICT_SIGN[pair.verdict]} {pair.verdict.value:<12}  "
            lead = "    " + page.paint(state, _COLOR[VERDICT_STATUS[pair.verdict]])
            hint = "" if pair.certain else " (a hint only: the row is uncertain)"
            page.words(printable(names.get(pair.right, pair.right)) + hint, 20, lead=lead)
            if pair.detail:
                page.words(pair.detail, 20)
            page.words(printable(f"{pair.rule}: {pair.source}"), 20, code="2")


def _targets(page: Page, report: Report) -> None:
    for target in report.targets:
        page.heading(f"Python environment {target.prefix}")
        for label, values in (("sys.path", target.sys_path), ("not known", target.notes)):
            for number, value in enumerate(values):
                page.field("" if number else label, printable(value), 2, PART_COLUMN)


def _probes(page: Page, report: Report) -> None:
    hidden = blind_probes(report)
    if hidden:
        page.heading("Probes that collected nothing")
    for reason in hidden:
        page.words(printable(f"{', '.join(reason.ids)}: {reason.text}"), 2)


def _ending(page: Page, report: Report) -> None:
    page.blank()
    if page.verbose:
        page.words(privacy(report.machine.identified), 0)
    counts = " · ".join(f"{number} {status}" for status, number in _counts(report)) or "0 findings"
    worst = next((cause.root.id for cause in causes(report)), None)
    ways = [f"infra-doctor explain {printable(worst)}"] if worst else []
    ways.append("--html FILE for the whole report" if page.verbose else "-v or --html FILE for everything")
    line = f"{counts}   {' · '.join(ways)}"
    if len(line) <= page.width:
        page.lines.append(line)
    else:
        page.words(counts, 0)
        page.words(" · ".join(ways), 0)


def _counts(report: Report) -> Iterator[tuple[str, int]]:
    for status in SIGN:
        number = report.summary.get(status.value, 0)
        if number:
            yield status.value, number


FORMATS = (
    ReportFormat(
        name="text",
        help="plain text (the default)",
        render=render,
        suffix=".txt",
        documents={kind: renderer(kind) for kind in KINDS},
    ),
)
