"""A triage as plain text: the best cause first, with its line of the log, what the machine says, and what to do."""

from typing import Any

from infra_doctor.plugin import (
    Confidence,
    Consequence,
    LogCause,
    LogMatch,
    MachineCheck,
    Triage,
    command_line,
    counted,
    printable,
)
from infra_doctor_reports.page import Page

COLUMN = 7
CAUSES_WITH_REMEDY = 3  # further ones are named in a line each; -v shows all
SIGN = {
    MachineCheck.CONFIRMED: "✖ CONFIRMED",
    MachineCheck.UNKNOWN: "? POSSIBLE",
    MachineCheck.NOT_CHECKED: "? NAMED",
    MachineCheck.RULED_OUT: "– RULED OUT",
}
_COLOR = {
    MachineCheck.CONFIRMED: "1;31",
    MachineCheck.UNKNOWN: "1;36",
    MachineCheck.NOT_CHECKED: "1;33",
    MachineCheck.RULED_OUT: "2",
}
_HOW_SURE = {
    Confidence.OBSERVED: "the log names this cause itself",
    Confidence.DERIVED: "such a log is typical of this cause",
    Confidence.HEURISTIC: "a symptom that other causes have too",
}
_PLACE = {"machine": "here", "report": "in the report", "snapshot": "in the snapshot", "nothing": "here"}


def render(triage: Triage, options: dict[str, Any]) -> str:
    """The whole page. Options: color, ascii, width, verbose."""
    page = Page(options)
    if not triage.causes:
        _nothing(page, triage)
    likely = [c for c in triage.causes if c.machine_check is not MachineCheck.RULED_OUT] or list(triage.causes[:1])
    shown = triage.causes if page.verbose else likely[:CAUSES_WITH_REMEDY]
    for cause in shown:
        page.blank()
        _cause(page, cause, _PLACE[triage.against])
    rest = [c for c in triage.causes if c not in shown]
    if rest:
        page.heading("Less likely (-v says more)")
        for cause in rest:
            lead = "  " + page.paint(f"{SIGN[cause.machine_check]:<12}", _COLOR[cause.machine_check])
            page.words(f"{cause.finding}  {_where(cause.matched, triage)}", 14, lead=lead)
    _ending(page, triage)
    return page.text()


def _cause(page: Page, cause: LogCause, place: str) -> None:
    sign, name = SIGN[cause.machine_check], printable(cause.finding)
    lead = f"{page.paint(sign, _COLOR[cause.machine_check])}  {page.paint(name, '1')}  "
    page.words(printable(cause.title), 4, lead=lead, taken=len(sign) + len(name) + 4, code="1")
    _match(page, cause.matched, cause.count, 4)
    if page.verbose:
        page.field("Sure", f"{_HOW_SURE[cause.confidence]} ({cause.confidence.value})", 4, COLUMN)
    _machine(page, cause, place)
    page.field("Fix", cause.remediation.text, 4, COLUMN)
    for command in cause.remediation.commands:
        # Never wrapped: a command must survive copying.
        page.lines.append(" " * (4 + COLUMN) + page.paint(command_line(command), "36"))
    if page.verbose:
        page.field("Read", printable(cause.matched.source), 4, COLUMN)
        for address in cause.remediation.docs:
            page.field("", printable(address), 4, COLUMN)
    for consequence in cause.follows:
        _consequence(page, consequence, cause.matched)


def _machine(page: Page, cause: LogCause, place: str) -> None:
    """What the machine says of this cause."""
    check = cause.machine_check
    if check is MachineCheck.NOT_CHECKED:
        return
    words = {
        MachineCheck.CONFIRMED: f"confirmed {place}",
        MachineCheck.RULED_OUT: f"ruled out {place}, as it is now",
        MachineCheck.UNKNOWN: f"could not be told {place}",
    }[check]
    titles = "; ".join(dict.fromkeys(f.title for f in cause.machine))
    page.field("Now", printable(f"{words}: {titles}" if titles else words), 4, COLUMN)
    if cause.because is not None:
        page.field("", printable(f"it follows from {cause.because.finding}: {cause.because.title}"), 4, COLUMN)


def _consequence(page: Page, consequence: Consequence, cause: LogMatch) -> None:
    page.lines.append(page.paint("  └─ also seen, and follows from it", "2"))
    page.words(f"{printable(consequence.finding)}  {printable(consequence.title)}", 5)
    if (consequence.matched.file, consequence.matched.line) == (cause.file, cause.line):
        page.field("Log", "the same message", 5, COLUMN)
    else:
        _match(page, consequence.matched, consequence.count, 5)


def _match(page: Page, matched: LogMatch, count: int, indent: int) -> None:
    times = f" (and {counted(count - 1, 'more time')})" if count > 1 else ""
    page.field("Log", f"{_place_of(matched)}{printable(matched.text)}{times}", indent, COLUMN)


def _place_of(matched: LogMatch) -> str:
    if matched.file == "text":
        return ""
    rank = f" (rank {matched.rank})" if matched.rank is not None else ""
    return printable(f"{matched.file}:{matched.line}{rank}: ")


def _where(matched: LogMatch, triage: Triage) -> str:
    return printable(
        matched.text if len(triage.inputs) == 1 and matched.file == "text" else _place_of(matched) + matched.text
    )


def _nothing(page: Page, triage: Triage) -> None:
    lines = counted(sum(i.lines for i in triage.inputs), "line")
    files = f" of {counted(len(triage.inputs), 'log')}" if len(triage.inputs) > 1 else ""
    page.words(f"✔ {lines}{files} read, no known failure.", 0, code="1;32")
    page.blank()
    page.words(
        "That says nothing of failures that no signature knows. `infra-doctor check` looks at the machine itself; "
        "a log with more around the first error (start-up included) may name more.",
        0,
    )


def _ending(page: Page, triage: Triage) -> None:
    if not triage.causes:
        return
    page.blank()
    lines = sum(i.lines for i in triage.inputs)
    ways = f"infra-doctor explain {printable(triage.causes[0].finding)}"
    if triage.against == "nothing":
        ways = f"without --log-only this machine is asked · {ways}"
    page.words(f"{counted(lines, 'line')} read · {ways} · -v for more", 0)
