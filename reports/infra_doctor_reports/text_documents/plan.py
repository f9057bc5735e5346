"""A plan as plain text: the steps in order, why each, the commands alone on their lines."""

from typing import Any

from infra_doctor.plugin import Plan, PlanChange, PlanStep, command_line, counted
from infra_doctor_reports.page import Page

NUMBER = 4


def render(plan: Plan, options: dict[str, Any]) -> str:
    """The whole page. Options: color, ascii, width, verbose."""
    page = Page(options)
    wish = ", ".join(plan.wishes)
    if not plan.fits:
        page.words(f"✖ Nothing fits: {wish}", 0, code="1;31")
        for obstacle in plan.obstacles:
            page.words(f"- {obstacle}", 4, lead="  ")
    elif not plan.steps:
        text = f"✔ Nothing to change: {wish} fits as it is." if wish else "✔ Nothing to repair."
        page.words(text, 0, code="1;32")
    else:
        page.words(f"{counted(len(plan.steps), 'step')}{f' for {wish}' if wish else ''}", 0, code="1")
    for number, step in enumerate(plan.steps, 1):
        page.blank()
        _step(page, number, step)
    if plan.instead:
        page.blank()
        page.words(f"Without touching anything but wheels: {', '.join(plan.instead)}.", 0)
    if plan.steps and plan.fits and plan.keeps:
        page.blank()
        page.listing("stays", plan.keeps, 0, 7)
    for assumed in plan.assumes:
        page.blank()
        page.field("not known", assumed, 0, 11)
    return page.text()


def _step(page: Page, number: int, step: PlanStep) -> None:
    head = ", ".join(_change(c) for c in step.changes) or step.finding
    page.words(head, NUMBER, lead=f"{number:>2}. ", code="1")
    page.words(step.text, NUMBER)
    for command in step.commands:
        page.lines.append(" " * (NUMBER + 2) + page.paint(command_line(command), "1;36"))
    for reason in step.reasons:
        page.field("because", reason, NUMBER, 9)
    if page.verbose:
        for source in step.sources:
            page.field("source", source, NUMBER, 9)


def _change(change: PlanChange) -> str:
    return f"{change.part}: {change.before or 'not installed'} → {change.after}"
