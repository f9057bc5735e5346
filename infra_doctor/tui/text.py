"""Styled text for the screens. Whatever comes from a machine goes through `said`: never markup, no control characters."""

from textual.content import Content
from textual.style import Style

from infra_doctor.model.compatibility import Verdict
from infra_doctor.model.evidence import Evidence
from infra_doctor.model.finding import Status
from infra_doctor.model.wording import SIGN, VERDICT_SIGN, is_web_link, printable, shortened

STATUS_STYLE: dict[Status, str] = {
    Status.FAIL: "bold $text-error",
    Status.ERROR: "bold $text-error",
    Status.WARN: "bold $text-warning",
    Status.UNKNOWN: "bold $text-secondary",
    Status.PASS: "$text-success",
    Status.SKIP: "$foreground-muted",
}
VERDICT_STYLE: dict[Verdict, str] = {
    Verdict.INCOMPATIBLE: STATUS_STYLE[Status.FAIL],
    Verdict.UNKNOWN: STATUS_STYLE[Status.UNKNOWN],
    Verdict.COMPATIBLE: STATUS_STYLE[Status.PASS],
}
MUTED = "$foreground-muted"
STRONG = "bold"
HEADING = "bold $text-accent"
CODE = "$text-primary"
LINE_LIMIT = 300
TEXT_LIMIT = 4000
LINES_LIMIT = 100  # of one part: the whole text is laid out at once, 2,500 lines take over a second


def said(text: str, style: str = "", *, limit: int = LINE_LIMIT) -> Content:
    """Text from a machine on one line, as it is to be read."""
    return Content.styled(shortened(printable(text), limit), style)


def prose(text: str, style: str = "") -> Content:
    """A longer text; its line breaks stay."""
    return Content.styled(shortened(printable(text, lines=True), TEXT_LIMIT), style)


def badge(status: Status) -> Content:
    """Sign and word, as wide for every status."""
    return Content.styled(f"{SIGN[status]} {status.value.upper():<7}", STATUS_STYLE[status])


def verdict_badge(verdict: Verdict) -> Content:
    """Sign and word of a compatibility verdict, as wide for every verdict."""
    return Content.styled(f"{VERDICT_SIGN[verdict]} {verdict.value.upper():<12}", VERDICT_STYLE[verdict])


def link(address: str) -> Content:
    """An address; one that is safe to follow is a link for terminals that know them."""
    text = said(address, "underline" if is_web_link(address) else "")
    return text.stylize(Style(link=address)) if is_web_link(address) else text


def titled(title: str, *lines: Content) -> Content:
    """A part of the details: a heading and its lines, or nothing where there are no lines."""
    if not lines:
        return Content()
    shown, more = lines[:LINES_LIMIT], len(lines) - LINES_LIMIT
    rest = [Content.styled(f"… and {more} more", MUTED)] if more > 0 else []
    return Content("\n").join([Content.styled(title, HEADING), *shown, *rest])


def stacked(*parts: Content) -> Content:
    """Parts below each other, an empty line between; empty parts are left out."""
    return Content("\n\n").join([part for part in parts if part])


def evidence_lines(evidence: tuple[Evidence, ...]) -> list[Content]:
    """Where it was seen, and what was seen there."""
    lines = []
    for item in evidence:
        seen = f"{item.kind.value}: {item.text}" if item.text else item.kind.value
        lines += [said(item.source, limit=1000), said(seen, MUTED, limit=TEXT_LIMIT)]
    return lines


def table_lines(pairs: list[tuple[str, str]]) -> list[Content]:
    """Names and values in two columns."""
    width = min(24, max((len(name) for name, _ in pairs), default=0))
    return [Content.assemble(said(f"{name:<{width}}  ", MUTED), said(value)) for name, value in pairs]
