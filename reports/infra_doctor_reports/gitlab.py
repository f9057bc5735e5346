"""GitLab's code quality report: the problems that count, each at a line of the repository.

What GitLab reads stands in https://docs.gitlab.com/ci/testing/code_quality/ (an array of objects with `description`,
`check_name`, `fingerprint`, `severity`, `location.path` and `location.lines.begin`); its parser
(lib/gitlab/ci/parsers/codequality/code_climate.rb) stops at the first entry that is not of that form, and of two entries
with one fingerprint it keeps one. A report without entries is what lets the merge request say "resolved"."""

import hashlib
from collections.abc import Mapping
from typing import Any

from infra_doctor.plugin import Finding, Report, ReportFormat, Severity, Status, printable, shortened
from infra_doctor_reports.anchors import anchoring

FILE_NAME = "gl-code-quality-report.json"
TEXT_CAP = 600
# GitLab's five words, by our severity. What only warns, or could not be looked at, is a step lower than what is broken.
BROKEN = {Severity.CRITICAL: "blocker", Severity.HIGH: "critical", Severity.MEDIUM: "major", Severity.LOW: "minor"}
AT_RISK = {Severity.CRITICAL: "critical", Severity.HIGH: "major", Severity.MEDIUM: "minor", Severity.LOW: "info"}
UNJUDGED = dict.fromkeys(Severity, "info")
LEVELS = {Status.FAIL: BROKEN, Status.WARN: AT_RISK, Status.ERROR: AT_RISK, Status.UNKNOWN: UNJUDGED}


def render(report: Report, options: dict[str, Any]) -> str:
    """The array, worst first, in the report's order."""
    import json

    stands_at = anchoring(report, options)
    taken: set[str] = set()
    entries: list[dict[str, Any]] = []
    for finding in report.findings:
        level = LEVELS.get(finding.status)
        if level is None or finding.waived is not None:
            continue
        anchor = stands_at(finding)
        entries.append({
            "description": description(finding),
            "check_name": printable(finding.id),
            "fingerprint": _unique(finding.fingerprint, taken),
            "severity": level[finding.severity],
            "location": {"path": anchor.path, "lines": {"begin": anchor.line}},
        })  # fmt: skip
    # In a string `#` may be written as its number: no `##vso[…]` for a CI system into whose log this is printed.
    return json.dumps(entries, indent=2).replace("##", "#\\u0023") + "\n"


def description(finding: Finding) -> str:
    """What GitLab shows of a finding: one line."""
    text = shortened(printable(f"{finding.id}: {finding.title}"), TEXT_CAP)
    if finding.remediation is None:
        return text
    return f"{text.rstrip('.')}. Fix: {shortened(printable(finding.remediation.text), TEXT_CAP)}"


def _unique(fingerprint: str, taken: set[str]) -> str:
    """The finding's fingerprint; where two findings of one id have the same subject, the later ones get another."""
    number, unique = 1, fingerprint
    while unique in taken:
        number += 1
        unique = hashlib.sha256(f"{fingerprint} {number}".encode()).hexdigest()[:16]
    taken.add(unique)
    return unique


def automatic(environ: Mapping[str, str]) -> str:
    """The name that GitLab's own template gives the report."""
    return FILE_NAME if environ.get("GITLAB_CI") else ""


FORMATS = (
    ReportFormat(
        name="gitlab", help="GitLab's code quality report", render=render, suffix=".json", flag=False,
        automatic=automatic,
    ),
)  # fmt: skip
