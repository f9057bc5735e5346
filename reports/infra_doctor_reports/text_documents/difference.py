"""A difference as plain text: what got worse and why first, then what got better, then every changed part."""

from typing import Any

from infra_doctor.plugin import (
    SIGN,
    ComponentChange,
    Difference,
    FindingChange,
    Status,
    Turn,
    counted,
    printable,
)
from infra_doctor_reports.page import Page

COLOR = {Turn.WORSE: "1;31", Turn.BETTER: "1;32", Turn.SAME: "1;33"}
SHOWN = 40


def render(found: Difference, options: dict[str, Any]) -> str:
    """The whole page. Options: color, ascii, width, verbose."""
    page = Page(options)
    worse = [f for f in found.findings if f.turn is Turn.WORSE]
    slower = [m for m in found.measurements if m.turn is Turn.WORSE]
    page.words(headline(found, len(worse), len(slower)), 0, code="1;31" if found.worse else "1;32")
    for note in found.notes:
        page.field("note", note, 2, 6)
    for turn in (Turn.WORSE, Turn.SAME, Turn.BETTER):
        for change in (f for f in found.findings if f.turn is turn):
            page.blank()
            _finding(page, change)
    _measurements(page, found)
    _components(page, found)
    return page.text()


def headline(found: Difference, worse: int, slower: int) -> str:
    """One line."""
    if found.worse:
        parts = [counted(worse, "finding")] if worse else []
        parts += [counted(slower, "measurement")] if slower else []
        parts += [f"{counted(found.devices_gone, 'device')} gone"] if found.devices_gone else []
        return f"✖ Worse: {' and '.join(parts)}."
    if found.findings or found.components or any(m.turn is not Turn.SAME for m in found.measurements):
        return "✔ Nothing got worse."
    return "✔ No difference."


def _finding(page: Page, change: FindingChange) -> None:
    before, after = (_status(s) for s in (change.before, change.after))
    name = printable(change.id)
    lead = page.paint(f"{before} → {after}", COLOR[change.turn]) + "  " + page.paint(name, "1") + "  "
    page.words(change.title, 4, lead=lead, taken=len(f"{before} → {after}") + len(name) + 4)
    for reason in change.because:
        page.field("because", reason, 4, 9)


def _status(status: Status | None) -> str:
    return f"{SIGN[Status(status)]} {status.upper()}" if status is not None else "none"


def _measurements(page: Page, found: Difference) -> None:
    shown = [m for m in found.measurements if m.turn is not Turn.SAME or page.verbose]
    if shown:
        page.heading("Measurements")
    for item in shown:
        ratio = f" ({item.ratio:.2f} ×)" if item.ratio is not None else ""
        before, after = (f"{v:.4g} {item.unit}" if v is not None else "none" for v in (item.before, item.after))
        page.words(f"{item.turn:<6}  {item.benchmark} {item.name}: {before} → {after}{ratio}", 10, lead="  ")


def _components(page: Page, found: Difference) -> None:
    # What changed its version, came or went; attributes and places alone are for -v.
    shown = [c for c in found.components if c.before != c.after or page.verbose]
    if not shown:
        return
    page.heading("Parts")
    for change in shown if page.verbose else shown[:SHOWN]:
        page.words(f"{change.kind} {_name(change)}: {change.before or 'none'} → {change.after or 'none'}", 4, lead="  ")
        for item in change.attributes if page.verbose else ():
            page.words(f"{item.name.replace('_', ' ')}: {item.before} → {item.after}", 6)
    rest = len(found.components) - min(len(shown), SHOWN)
    if rest and not page.verbose:
        page.words(f"… and {rest} more, -v shows them", 2)


def _name(change: ComponentChange) -> str:
    where = (change.target or "").removeprefix("target:")
    return f"{change.name} ({where})" if where else change.name
