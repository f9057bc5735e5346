"""The measurements of a report as text: a line each, device by device, each value beside what it should be."""

from infra_doctor.plugin import Measurement, Report, measured_name, printable, quantity, share
from infra_doctor_reports.page import Page

MOST = 200


def measured(page: Page, report: Report) -> None:
    """The section; nothing where nothing was measured."""
    if not report.measurements:
        return
    page.heading("Measured")
    names = {c.key: c.name for c in report.components}
    shown = report.measurements[:MOST]
    for device in dict.fromkeys(m.device for m in shown):
        title = "host" if device is None else f"{names.get(device, '')} {device}".strip()
        page.lines.append("  " + page.paint(printable(title), "2"))
        group = [m for m in shown if m.device == device]
        texts = [(printable(f"{m.benchmark}  {measured_name(m)}"), printable(quantity(m.value, m.unit))) for m in group]
        name_width, value_width = max(len(n) for n, _ in texts), max(len(v) for _, v in texts)
        for m, (name, value) in zip(group, texts, strict=True):
            page.lines.append(f"    {name:<{name_width}}  {value:>{value_width}}  {_notes(m)}".rstrip())
    if len(report.measurements) > MOST:
        page.words(f"… and {len(report.measurements) - MOST} more: see the JSON.", 2)


def _notes(m: Measurement) -> str:
    parts = [printable(share(m))] if share(m) else []
    if not m.verified:
        parts.append("WRONG RESULT")
    slowed = m.conditions.get("slowed_by")
    if isinstance(slowed, list) and slowed:
        parts.append(printable(f"slowed by {', '.join(map(str, slowed))}"))
    if m.conditions.get("other_processes"):
        parts.append("device shared with others")
    return ", ".join(parts)
