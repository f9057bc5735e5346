"""JUnit XML for the test pages of CI systems: one test case for each finding.

`fail` is a `<failure>`, and so is what `--fail-on` makes the run fail for beside it; `error` (could not be looked at) is an
`<error>`; `skip`, `unknown` and what a waiver or baseline lets pass are `<skipped>` with the reason; a warning that does not
count is a passed case whose text stands in `<system-out>`. The document satisfies the two schemas that are published:
Jenkins' https://github.com/jenkinsci/xunit-plugin (junit-10.xsd) and Maven Surefire's surefire-test-report.xsd 3.0.2
(https://maven.apache.org/surefire/maven-surefire-plugin/xsd/). Two readers look into the text itself: Jenkins' attachments
plug-in and GitLab pick up files named by `[[ATTACHMENT|path]]`, and GitLab's parser converts an element by its `type`."""

import re
from collections.abc import Mapping
from typing import Any

from infra_doctor.plugin import (
    Evidence,
    Finding,
    Report,
    ReportFormat,
    Status,
    command_line,
    printable,
    shortened,
)

# GitLab refuses JUnit files above 30 MB; a thousand findings at these caps are far below.
NAME_CAP, MESSAGE_CAP, DETAIL_CAP, EVIDENCE_CAP, EVIDENCE_ROWS = 240, 500, 4000, 300, 20
# The default pattern of Azure's PublishTestResults and of Maven's reports is TEST-*.xml, so one name serves everywhere.
FILE_NAME = "TEST-infra-doctor.xml"
CI_VARIABLES = ("GITLAB_CI", "JENKINS_URL", "CIRCLECI", "TF_BUILD", "BUILDKITE", "TEAMCITY_VERSION", "SEMAPHORE",
                "bamboo_buildKey")  # fmt: skip
# What counts as failed beside `fail`. `--fail-on never` changes the exit code alone: a fault is no passed test.
FAILED_TOO = {"warn": frozenset({Status.WARN}), "unknown": frozenset({Status.WARN, Status.UNKNOWN})}
POLICY = "policy:"
_CREATED = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
_XML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})


def render(report: Report, options: dict[str, Any]) -> str:
    """The document. Of the options, `fail_on` changes it."""
    failed = FAILED_TOO.get(options.get("fail_on") or "", frozenset()) | {Status.FAIL}
    roots = _roots(report)
    counts = {"failure": 0, "error": 0, "skipped": 0, "": 0}
    taken: dict[tuple[str, str], int] = {}
    cases: list[str] = []
    for finding in report.findings:
        outcome, inner = _outcome(finding, failed, roots.get(finding.fingerprint, ""))
        counts[outcome] += 1
        place, name = case_name(finding)
        number = taken[place, name] = taken.get((place, name), 0) + 1
        if number > 1:  # readers know a case by its name
            name = f"{name} ({number})"
        head = f'  <testcase classname="{attribute(place)}" name="{attribute(name)}" time="0"'
        cases.append(f"{head}>\n    {inner}\n  </testcase>\n" if inner else f"{head}/>\n")
    suite = (
        f'<testsuite name="{attribute(report.tool.name)}" tests="{len(cases)}" failures="{counts["failure"]}" '
        f'errors="{counts["error"]}" skipped="{counts["skipped"]}" time="{_seconds(report)}"{_timestamp(report)}>\n'
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{suite}{_properties(report)}{"".join(cases)}</testsuite>\n'


def case_name(finding: Finding) -> tuple[str, str]:
    """(class, name): the same in every run. Versions and titles are left out; of what a policy requires, the key alone
    names it, as the devices that miss it change."""
    group = finding.id.partition("-")[0]
    policy = [key.removeprefix(POLICY) for key in finding.subject if key.startswith(POLICY)]
    name = printable(" ".join((finding.id, *(policy[:1] or finding.subject))))
    if len(name) > NAME_CAP:
        name = f"{shortened(name, NAME_CAP)} {finding.fingerprint}"
    return f"infra-doctor.{printable(group)}", name


# -- what a finding is as a test --------------------------------------------------------------------------------------


def _outcome(finding: Finding, failed: frozenset[Status], root: str) -> tuple[str, str]:
    """The element that tells the outcome ("" where the case passed), and the XML inside of the case."""
    if finding.waived is not None:
        until = f" until {finding.waived.until}" if finding.waived.until else ""
        return "skipped", _skipped(f"waived{until}: {finding.waived.reason}; {finding.status}: {finding.title}")
    if finding.status in failed or finding.status is Status.ERROR:
        element = "error" if finding.status is Status.ERROR else "failure"
        kind = f"{finding.status} ({finding.severity})"
        message = attribute(_line(finding.title, MESSAGE_CAP))
        return element, f'<{element} message="{message}" type="{kind}">{_body(finding, root)}</{element}>'
    if finding.status is Status.SKIP:
        return "skipped", _skipped(finding.title)
    if finding.status is Status.UNKNOWN:
        return "skipped", _skipped(f"unknown: {finding.title}")
    if finding.status is Status.WARN:
        return "", f"<system-out>{_body(finding, root)}</system-out>"
    return "", ""


def _skipped(text: str) -> str:
    return f'<skipped message="{attribute(_line(text, MESSAGE_CAP))}"/>'


def _body(finding: Finding, root: str) -> str:
    """All that helps, as text: some readers show the message and some only this. A line that starts with a word and a
    colon is ours; what a machine says stands behind one, or indented."""
    lines = [f"{finding.status.value.upper()} {finding.id}: {_line(finding.title, MESSAGE_CAP)}"]
    lines += [f"Follows from {root}."] if root else []
    lines += [f"Why: {_lines(finding.detail)}"] if finding.detail else []
    lines += [f"Seen: {_evidence(e)}" for e in finding.evidence[:EVIDENCE_ROWS]]
    left = len(finding.evidence) - EVIDENCE_ROWS
    lines += [f"Seen: {left} more, in the JSON report"] if left > 0 else []
    if finding.remediation is not None:
        lines.append(f"Fix: {_lines(finding.remediation.text)}")
        lines += [f"Run: {command_line(c)}" for c in finding.remediation.commands]
        lines += [f"Read: {_line(d, EVIDENCE_CAP)}" for d in finding.remediation.docs]
    return content("\n".join(lines))


def _evidence(evidence: Evidence) -> str:
    source, text = _line(evidence.source, EVIDENCE_CAP), _line(evidence.text, EVIDENCE_CAP)
    return f"{source}: {text}" if text else source


def _line(text: str, cap: int) -> str:
    return shortened(printable(text), cap)


def _lines(text: str) -> str:
    return shortened(text, DETAIL_CAP).replace("\n", "\n  ")


def _roots(report: Report) -> dict[str, str]:
    """By fingerprint: the id of what a finding follows from."""
    ids = {f.fingerprint: f.id for f in report.findings}
    return {one: ids[d.root] for d in reversed(report.diagnoses) if d.root in ids for one in d.follows if one != d.root}


# -- the suite --------------------------------------------------------------------------------------------------------


def _properties(report: Report) -> str:
    held = report.policy or {}
    baseline = held.get("baseline")
    told = {
        "version": report.tool.version,
        "created": report.created,
        "machine": report.machine.name,
        "form": report.machine.form,
        "policy": ", ".join(map(str, held.get("sources") or ())),
        "baseline": str(baseline.get("source", "")) if isinstance(baseline, Mapping) else "",
    }
    rows = [
        f'    <property name="{n}" value="{attribute(shortened(v, MESSAGE_CAP))}"/>\n' for n, v in told.items() if v
    ]
    return f"  <properties>\n{''.join(rows)}  </properties>\n"


def _timestamp(report: Report) -> str:
    """UTC. Without the zone, which the oldest schema (Ant's) does not know."""
    known = re.fullmatch(_CREATED, report.created)
    return f' timestamp="{report.created.removesuffix("Z")}"' if known else ""


def _seconds(report: Report) -> str:
    """The time of the whole run; no finding has one of its own."""
    duration = (report.run or {}).get("duration_ns", 0)
    return f"{duration / 1e9:.3f}" if isinstance(duration, int | float) and 0 < duration < 1e15 else "0"


# -- XML --------------------------------------------------------------------------------------------------------------


def attribute(text: str) -> str:
    """Text as the value of an attribute, on one line."""
    return _quiet(printable(text).translate(_XML))


def content(text: str) -> str:
    """Text inside of an element. Control characters, half characters and direction marks are spelt out."""
    shown = printable(text, lines=True).replace("[[ATTACHMENT", "[ [ATTACHMENT")
    return _quiet(shown.translate(_XML))


def _quiet(escaped: str) -> str:
    """The same text for every reader of XML, but no command (`::error::`) for a CI system into whose log this is printed."""
    return escaped.replace("::", ":&#58;")


def automatic(environ: Mapping[str, str]) -> str:
    """Beside the sources in the systems that read JUnit XML, which are told this name once (docs/formats.md)."""
    return FILE_NAME if any(environ.get(name) for name in CI_VARIABLES) else ""


FORMATS = (ReportFormat(name="junit", help="JUnit XML", render=render, suffix=".xml", flag=False, automatic=automatic),)
