"""From a report to what a test is told: met, not met, or not known, and why, in one line each."""

import os
from enum import StrEnum

from infra_doctor.errors import ExitCode
from infra_doctor.model.finding import Finding, Status
from infra_doctor.model.policy import FAIL_ON, POLICY_KIND
from infra_doctor.model.record import record
from infra_doctor.model.report import Report
from infra_doctor.model.view import causes, required_unseen
from infra_doctor.model.wording import command_line, printable, shortened
from infra_doctor.pytest_plugin.asking import Answer
from infra_doctor.pytest_plugin.marks import Need

REQUIREMENT, PLUGIN_FAILED = "REQUIREMENT", "PLUGIN-FAILED"
LONGEST = 240  # characters of a title, a detail or a remedy


class Outcome(StrEnum):
    """`unknown`: it could not be looked at, or not be told. That never counts as met."""

    MET = "met"
    MISSING = "missing"
    UNKNOWN = "unknown"


# The worst first: what one finding of several says of the whole.
_OF_STATUS = {
    Status.FAIL: Outcome.MISSING, Status.ERROR: Outcome.UNKNOWN, Status.UNKNOWN: Outcome.UNKNOWN,
    Status.WARN: Outcome.MET, Status.PASS: Outcome.MET, Status.SKIP: Outcome.MET,
}  # fmt: skip


class NoAnswerError(Exception):
    """infra-doctor could not do its work: neither the machine's fault nor the test's."""


@record
class Verdict:
    """Whether one need is met; `text` says why not."""

    outcome: Outcome
    text: str = ""


MET = Verdict(outcome=Outcome.MET)


def verdict(need: Need, answer: Answer) -> Verdict:
    """What the answer says of the need. Raises NoAnswerError."""
    if answer.fault:
        raise NoAnswerError(answer.fault)
    if answer.hung:
        return Verdict(outcome=Outcome.UNKNOWN, text=f"{line(need.written)}: could not be looked at: {answer.hung}")
    if answer.report is None:
        raise NoAnswerError("there is no report")
    if need.policy:
        return _of_policy(need, answer.code, answer.report)
    if need.finding:
        return _of_finding(need, answer.report)
    return _of_requirement(need, answer.report)


def _of_requirement(need: Need, report: Report) -> Verdict:
    subject = f"{POLICY_KIND}:{need.key}"
    found = [f for f in report.findings if f.id == REQUIREMENT and f.subject[:1] == (subject,)]
    if not found:
        failed = [f for f in report.findings if f.id == PLUGIN_FAILED and subject in f.subject]
        raise NoAnswerError(f"{failed[0].title}: {failed[0].detail}" if failed else f"{need.key} was not judged")
    return _worst(found, report)


def _of_finding(need: Need, report: Report) -> Verdict:
    found = [f for f in report.findings if f.id == need.finding]
    failed = [f for f in report.findings if f.id == PLUGIN_FAILED and f"check:{need.finding}" in f.subject]
    return _worst(found or failed, report)


def _worst(found: list[Finding], report: Report) -> Verdict:
    """Findings are in order, the worst first."""
    for finding in found:
        outcome = _OF_STATUS[finding.status]
        if outcome is not Outcome.MET:
            return Verdict(outcome=outcome, text=told(finding, report))
    return MET


def _of_policy(need: Need, code: int, report: Report) -> Verdict:
    """As `check --policy` ends: with 0 it is met, with 1 not, with 3 something could not be looked at."""
    if code == ExitCode.OK:
        return MET
    unseen = code == ExitCode.UNSEEN
    counted = FAIL_ON[: FAIL_ON.index(need.fail_on) + 1]
    roots = [
        cause.root
        for cause in causes(report)
        if any(required_unseen(f) if unseen else f.status in counted for f in (cause.root, *cause.follows))
    ]
    more = f"; and {len(roots) - 1} more" if len(roots) > 1 else ""
    text = f"{line(os.path.basename(need.policy))}: {told(roots[0], report) if roots else 'not met'}{more}"
    return Verdict(outcome=Outcome.UNKNOWN if unseen else Outcome.MISSING, text=text)


def told(finding: Finding, report: Report) -> str:
    """The finding in a line: what, why, which root it follows from, and how to repair that."""
    parts = [line(finding.title) if finding.id == REQUIREMENT else f"{finding.id}: {line(finding.title)}"]
    if finding.detail:
        parts.append(f": {line(finding.detail).rstrip('.')}")
    root = root_of(finding, report)
    if root is not None:
        parts.append(f"; because of {root.id}: {line(root.title)}")
    # That of a requirement says no more than: meet it.
    cause = root or finding
    if cause.remediation is not None and cause.id != REQUIREMENT:
        commands = cause.remediation.commands
        step = f": {command_line(commands[0])}" if len(commands) == 1 else ""
        parts.append(f". Fix: {line(cause.remediation.text).rstrip('.')}{step}")
    return "".join(parts)


def root_of(finding: Finding, report: Report) -> Finding | None:
    """The cause that a diagnosis names."""
    roots = {d.root for d in report.diagnoses if finding.fingerprint in d.follows}
    return next((f for f in report.findings if f.fingerprint in roots), None)


def line(text: str) -> str:
    """Text of a machine, on one line, without what a terminal would act on."""
    return shortened(printable(" ".join(text.split())), LONGEST)
