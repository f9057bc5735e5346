"""HTML: the report as one file that needs no network, can be mailed, printed and read without JavaScript.

The page holds one style sheet and one script, both admitted by their hash in its content security policy; everything else
is refused by the browser. All text is escaped by jinja2, and control characters are made visible before that. The whole
report stands in the page as JSON too, so that a program can read what a person was sent."""

import hashlib
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from infra_doctor.plugin import (
    DEVICE_KINDS,
    MEANING,
    SIGN,
    VERDICT_STATUS,
    Component,
    Finding,
    Report,
    ReportFormat,
    Status,
    attribute,
    blind_probes,
    by_kind,
    causes,
    command_line,
    encode_json,
    headline,
    is_library,
    is_web_link,
    labels,
    loads,
    machine_stack,
    matrix,
    passed,
    printable,
    privacy,
    skipped,
    target_stack,
    waived,
)

if TYPE_CHECKING:
    import jinja2

_HERE = os.path.dirname(__file__)


def render(report: Report, options: dict[str, Any]) -> str:
    """The page; nothing in the options changes it."""
    from markupsafe import Markup

    style, script = _asset("style.css"), _asset("script.js")
    columns, rows = matrix(report)
    anchors = _anchors(report)
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            verdict=headline(report),
            causes=causes(report),
            passed=passed(report),
            skipped=skipped(report),
            waived=waived(report),
            blind=blind_probes(report),
            machine_stack=machine_stack(report),
            target_stacks=[(target, target_stack(report, target)) for target in report.targets],
            kinds=by_kind(report),
            names=labels(report),
            columns=columns,
            rows=rows,
            anchors=anchors,
            finding_anchors=_finding_anchors(report),
            privacy=privacy(report.machine.identified),
            style=Markup(style),  # noqa: S704  our own files
            script=Markup(script),  # noqa: S704
            policy=_policy(style, script),
            data=Markup(_inline_json(encode_json(report, indent=0))),  # noqa: S704  escaped by _inline_json
        )
    )
    return page.lstrip()


def _policy(style: str, script: str) -> str:
    """Only this style and this script run; nothing is fetched, framed or sent."""
    return (
        f"default-src 'none'; script-src '{_source_hash(script)}'; style-src '{_source_hash(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _source_hash(text: str) -> str:
    import base64

    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _asset(name: str) -> str:
    with open(os.path.join(_HERE, name), encoding="utf-8") as file:
        return file.read()


def _inline_json(text: str) -> str:
    """JSON that no HTML parser can leave: it holds no `<`, `>`, `&`, and no line separator of JavaScript."""
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.strip()


def _anchors(report: Report) -> dict[str, str]:
    """Component and target keys -> fragment names that stay the same from run to run."""
    keys = [c.key for c in report.components] + [t.key for t in report.targets]
    return {key: "c-" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:12] for key in keys}


def _finding_anchors(report: Report) -> dict[int, str]:
    """`id()` of a finding -> its fragment name: `f-` and the fingerprint, numbered where that is not enough."""
    taken: dict[str, int] = {}
    names: dict[int, str] = {}
    for finding in report.findings:
        base = "f-" + ("".join(c for c in finding.fingerprint if c.isascii() and c.isalnum()) or "x")
        taken[base] = taken.get(base, 0) + 1
        names[id(finding)] = base if taken[base] == 1 else f"{base}-{taken[base]}"
    return names


@lru_cache(maxsize=1)
def _environment() -> "jinja2.Environment":
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        SIGN=SIGN, MEANING=MEANING, VERDICT_STATUS=VERDICT_STATUS, statuses=tuple(SIGN), Status=Status,
        attribute=attribute, command_line=command_line, is_web_link=is_web_link, loads=loads, summary_line=_summary_line,
        key_of=id, is_library=is_library, is_open=_is_open,
    )  # fmt: skip
    return environment


def _shown(value: Any) -> Any:
    """What a template prints: strings from the machine without anything that a browser acts on."""
    if value is None:
        return ""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        shown = printable(str(value), lines=True)
        if "::" in shown:  # on a line of its own, a command for the runner of a CI system that prints the page
            from markupsafe import Markup, escape

            return Markup(escape(shown).replace("::", ":&#58;"))  # noqa: S704  just escaped
        return shown
    return value


def _is_open(finding: Finding) -> bool:
    """Whether the evidence shows without a click."""
    return finding.status in {Status.FAIL, Status.ERROR}


def _summary_line(component: Component) -> str:
    """What stands beside a component's name while it is folded."""
    has = [component.key.partition(":")[2]] if component.kind in DEVICE_KINDS else []
    has += [attribute(name, value) for name, value in component.attributes.items()]
    return component.location or component.origin or " · ".join(has[:3])


FORMATS = (
    ReportFormat(
        name="html", help="one self-contained HTML file", render=render, takes_file=True, suffix=".html"
    ),
)  # fmt: skip
