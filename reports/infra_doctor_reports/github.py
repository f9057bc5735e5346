"""Annotations of GitHub Actions: the report as text for whoever reads the step's log, then a workflow command for each problem.

The form of a command, what is escaped in it and how many of a level are kept stand in the runner's own source:
https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs (data: `%`, CR, LF; properties: `:` and `,`
too), .../src/Runner.Worker/ExecutionContext.cs (`_maxCountPerIssueType` = 10 of each level and step, messages cut at
4,096 characters); the commands in https://docs.github.com/actions/reference/workflow-commands-for-github-actions. What is
above the ten is dropped without a word, so the worst come first and a last notice counts the rest."""

from collections.abc import Mapping
from typing import Any

from infra_doctor.plugin import (
    Cause,
    Finding,
    Report,
    ReportFormat,
    Status,
    causes,
    command_line,
    counted,
    printable,
    required_unseen,
    shortened,
    to_ascii,
)
from infra_doctor_reports.anchors import Anchor, anchoring
from infra_doctor_reports.text import render as render_text

LEVELS = ("error", "warning", "notice")
LEVEL_CAP = 10
MESSAGE_CAP = 4000  # of the runner's 4,096 UTF-16 units
TEXT_CAP = 900
WIDTH = 120
# What else makes the step fail, by `--fail-on`.
FAILS_TOO = {"warn": {Status.WARN}, "unknown": {Status.WARN, Status.UNKNOWN}}


def render(report: Report, options: dict[str, Any]) -> str:
    """The text and the commands. Options: fail_on, lenient, and those of the text."""
    text = render_text(report, {**options, "color": False, "width": WIDTH})
    stands_at = anchoring(report, options)
    fails = {Status.FAIL} | FAILS_TOO.get(options.get("fail_on") or "", set())
    by_level: dict[str, list[str]] = {level: [] for level in LEVELS}
    for finding, root in in_order(causes(report)):
        command = annotation(finding, root, stands_at(finding), level := level_of(finding, fails, options))
        by_level[level].append(command)
    commands = kept(by_level)
    whole = "\n".join([text, *commands, ""]) if commands else text
    return to_ascii(whole) if options.get("ascii") else whole


def in_order(groups: tuple[Cause, ...]) -> list[tuple[Finding, Finding | None]]:
    """Every problem with the cause that it follows from: causes first, the worst of each first, as what follows goes away
    with its cause."""
    order: list[tuple[Finding, Finding | None]] = [(g.root, None) for g in groups]
    return order + [(f, g.root) for g in groups for f in g.follows]


def level_of(finding: Finding, fails: set[Status], options: dict[str, Any]) -> str:
    """`error` is what makes the step fail."""
    if finding.status in fails or (required_unseen(finding) and not options.get("lenient")):
        return "error"
    return "notice" if finding.status is Status.UNKNOWN else "warning"


def kept(by_level: dict[str, list[str]]) -> list[str]:
    """The commands that GitHub shows, and a notice of how many it would have dropped."""
    caps = dict.fromkeys(LEVELS, LEVEL_CAP)
    if any(len(by_level[level]) > LEVEL_CAP for level in LEVELS):
        caps["notice"] -= 1
    shown = [command for level in LEVELS for command in by_level[level][: caps[level]]]
    more = [counted(n, level) for level in LEVELS if (n := len(by_level[level]) - caps[level]) > 0]
    if more:
        text = f"GitHub shows {LEVEL_CAP} annotations of a level: {', '.join(more)} more stand in the log of this step."
        shown.append(command_of("notice", {"title": "infra-doctor"}, text))
    return shown


def annotation(finding: Finding, root: Finding | None, anchor: Anchor, level: str) -> str:
    """The command for one problem."""
    title = f"{finding.status.value.upper()} {printable(finding.id)}"
    lines = [printable(finding.title), finding.detail]
    if root is not None:
        lines.append(printable(f"It follows from {root.id}: {root.title}"))
    if finding.remediation is not None:
        lines.append(f"Fix: {finding.remediation.text}")
    shown = [shortened(printable(line, lines=True), TEXT_CAP) for line in lines if line]
    if finding.remediation is not None:
        shown += [f"$ {command_line(command)}" for command in finding.remediation.commands]
    message = "\n".join(shown)
    while len(message.encode("utf-16-le")) > 2 * MESSAGE_CAP:
        message = shortened(message, len(message) * 9 // 10)
    where = {"file": anchor.path, "line": str(anchor.line), "title": shortened(title, 200)}
    return command_of(level, where, message)


def command_of(name: str, properties: Mapping[str, str], data: str) -> str:
    """`::name key=value,key=value::data`, on one line whatever is in it."""
    head = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return f"::{name} {head}::{_data(data)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def automatic(environ: Mapping[str, str]) -> str:
    """The runner reads standard output."""
    return "-" if environ.get("GITHUB_ACTIONS") == "true" else ""


FORMATS = (
    ReportFormat(
        name="github",
        help="text and GitHub's annotations",
        render=render,
        suffix=".txt",
        flag=False,
        automatic=automatic,
    ),
)
