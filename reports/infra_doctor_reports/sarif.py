"""SARIF 2.1.0, as GitHub's code scanning takes it.

The format: https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/sarif-v2.1.0-errata01-os-complete.html. What GitHub
reads of it, requires and limits: https://docs.github.com/code-security/reference/code-scanning/sarif-support-for-code-scanning.

- Each result has a place: GitHub refuses the whole file for one that has none (https://github.com/github/codeql-action/issues/1738).
- Results are failures and warnings. GitHub knows no `kind`: what passed would be shown as an alert, so it is left out.
- What could not be looked at, or not be judged, is no problem that was found: a notification of the invocation says it (3.58).
- What is waived is a result with a suppression (3.35), of level `note`, as GitHub knows no suppressions."""

import re
from typing import Any

from infra_doctor.plugin import (
    Confidence,
    Finding,
    Report,
    ReportFormat,
    Severity,
    Status,
    causes,
    command_line,
    encode_json,
    is_web_link,
    printable,
    required_unseen,
    shortened,
)
from infra_doctor_reports.anchors import Anchor, anchoring

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
# GitHub: 25,000 results of a run, of which it shows the worst 5,000; 10 of a rule's tags; 1,024 characters of a description,
# 255 of a name.
RESULTS_CAP, TAGS_CAP, DESCRIPTION_CAP, NAME_CAP = 5000, 10, 1024, 255
TEXT_CAP, MESSAGE_CAP, EVIDENCE_CAP = 1000, 4000, 20
BASE = "%SRCROOT%"
UNSEEN, UNJUDGED, LEFT_OUT = "could-not-be-looked-at", "could-not-be-judged", "left-out"
NOTIFICATIONS = {
    UNSEEN: "Something that is there, or is required, could not be looked at.",
    UNJUDGED: "Something was looked at and cannot be judged.",
    LEFT_OUT: "Results are left out, as GitHub shows no more.",
}
EXIT_CODES = {
    0: "nothing at or above --fail-on",
    1: "a finding at or above --fail-on",
    3: "an accelerator, or something required, could not be looked at",
}
_SEVERITY = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "recommendation",
}
_PRECISION = {Confidence.OBSERVED: "very-high", Confidence.DERIVED: "high", Confidence.HEURISTIC: "medium"}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_SEMANTIC = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?")


def render(report: Report, options: dict[str, Any]) -> str:
    """The document: one run. Options: exit_code, checks, core_ids."""
    stands_at = anchoring(report, options)
    rules = {name: number for number, name in enumerate(sorted({f.id for f in report.findings}))}
    roots = {id(f): g.root for g in causes(report) for f in g.follows}
    problems = [f for f in report.findings if f.status in {Status.FAIL, Status.WARN}]
    seen: dict[str, int] = {}
    results = [
        _result(f, roots.get(id(f)), stands_at(f), rules, seen, suppressing=any(p.waived for p in problems))
        for f in problems[:RESULTS_CAP]
    ]
    notes = [
        _notification(f, stands_at(f), rules) for f in report.findings if f.status in {Status.ERROR, Status.UNKNOWN}
    ]
    if len(problems) > RESULTS_CAP:
        text = f"{len(problems) - RESULTS_CAP} of {len(problems)} results are left out, the least severe ones."
        notes.append({"descriptor": {"id": LEFT_OUT}, "level": "note", "message": {"text": text}})
    run = {
        "tool": {"driver": _driver(report, list(rules), options)},
        "automationDetails": {"id": "infra-doctor/"},
        "columnKind": "utf16CodeUnits",
        "originalUriBaseIds": {BASE: {"description": {"text": "The root of the repository."}}},
        "invocations": [_invocation(report, notes, options)],
        "results": results,
    }
    return encode_json({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})


def _driver(report: Report, names: list[str], options: dict[str, Any]) -> dict[str, Any]:
    version = report.tool.version
    driver = {
        "name": printable(report.tool.name) or "infra-doctor",
        "version": printable(version),
        "rules": [_rule(name, report, options) for name in names],
        "notifications": [
            {"id": name, "shortDescription": {"text": text}, "fullDescription": {"text": text}, "help": {"text": text}}
            for name, text in NOTIFICATIONS.items()
        ],
    }
    return driver | ({"semanticVersion": version} if _SEMANTIC.fullmatch(version) else {})


def _rule(name: str, report: Report, options: dict[str, Any]) -> dict[str, Any]:
    """What the id means, from its check; the precision is that of its least certain finding in this report."""
    check = options.get("checks", {}).get(name)
    title, explanation = (
        (check.title, check.explanation) if check else options.get("core_ids", {}).get(name, (name, ""))
    )
    explanation = explanation.strip() or f"`infra-doctor explain {name}` says what it means."
    parts = [explanation]
    if check is not None:
        parts += ["## What to do", check.remediation.strip()] if check.remediation else []
        parts += ["## Sources", "\n".join(f"- <{s}>" for s in check.sources if is_web_link(s))] if check.sources else []
    findings = [f for f in report.findings if f.id == name]
    severity = check.severity if check else max((f.severity for f in findings), key=list(_SEVERITY).index)
    least = max((f.confidence for f in findings), key=list(_PRECISION).index)
    tags = [printable(tag) for tag in check.tags][:TAGS_CAP] if check else []
    rule = {
        "id": _id(name),
        "shortDescription": {"text": shortened(printable(title) or _id(name), DESCRIPTION_CAP)},
        "fullDescription": {"text": shortened(plain(" ".join(explanation.split("\n\n")[0].split())), DESCRIPTION_CAP)},
        "help": {"text": plain("\n\n".join(parts)), "markdown": printable("\n\n".join(parts), lines=True)},
        "defaultConfiguration": {"level": {"recommendation": "note"}.get(_SEVERITY[severity], _SEVERITY[severity])},
        "properties": {"precision": _PRECISION[least], "problem.severity": _SEVERITY[severity]}
        | ({"tags": tags} if tags else {}),
    }
    words = "".join(word.capitalize() for word in re.findall("[A-Za-z0-9]+", title))[:NAME_CAP]
    links = [s for s in check.sources if is_web_link(s)] if check else []
    return rule | ({"name": words} if words and title != name else {}) | ({"helpUri": links[0]} if links else {})


def _result(
    finding: Finding,
    root: Finding | None,
    anchor: Anchor,
    rules: dict[str, int],
    seen: dict[str, int],
    *,
    suppressing: bool,
) -> dict[str, Any]:
    fingerprint = printable(finding.fingerprint)
    seen[fingerprint] = seen.get(fingerprint, 0) + 1
    result: dict[str, Any] = {
        "ruleId": _id(finding.id),
        "ruleIndex": rules[finding.id],
        "level": level(finding),
        "message": {"text": message(finding, root)},
        "locations": [_location(anchor)],
        # The one name that GitHub reads, in the form that its own upload action writes: a hash and the how-manieth it is.
        "partialFingerprints": {
            "primaryLocationLineHash": f"{fingerprint}:{seen[fingerprint]}",
            "infraDoctorFinding/v1": fingerprint,
        },
        "properties": _properties(finding),
    }
    if suppressing:  # 3.27.23: of all results or of none
        waiver = finding.waived
        until = f" (until {waiver.until})" if waiver and waiver.until else ""
        result["suppressions"] = (
            [{"kind": "external", "status": "accepted", "justification": plain(waiver.reason + until) or "waived"}]
            if waiver
            else []
        )
    return result


def _id(name: str) -> str:
    return printable(name) or "finding"


def level(finding: Finding) -> str:
    """`error` is broken, `warning` a risk, `note` a small risk, or what is waived."""
    if finding.waived is not None:
        return "note"
    if finding.status is Status.FAIL:
        return "error"
    return "note" if finding.severity is Severity.LOW else "warning"


def message(finding: Finding, root: Finding | None = None) -> str:
    """The title as the first sentence, which is all that GitHub shows in a list; then why, and what to do."""
    title = plain(printable(finding.title)).rstrip(".")
    lines = [f"{title}.", plain(finding.detail)]
    if root is not None:
        lines.append(plain(f"It follows from {root.id}: {root.title}"))
    if finding.remediation is not None:
        lines.append(plain(f"Fix: {finding.remediation.text}"))
        lines += [plain(f"$ {command_line(command)}") for command in finding.remediation.commands]
    seen = [f"{e.source}: {e.text}" if e.text else e.source for e in finding.evidence[:3]]
    lines += [plain(f"Seen: {text}") for text in seen]
    return shortened("\n".join(line for line in lines if line), MESSAGE_CAP)


def plain(text: str) -> str:
    """Text that forms no link and no placeholder in a SARIF message (3.11.5, 3.11.6), whether its reader knows their escapes
    or, as GitHub, does not."""
    shown = shortened(printable(text, lines=True), MESSAGE_CAP)
    return re.sub(r"\{(?=\d+\})", "{ ", shown.replace("](", "] ("))


def _properties(finding: Finding) -> dict[str, Any]:
    evidence = [
        {
            "kind": e.kind.value,
            "source": shortened(printable(e.source), TEXT_CAP),
            "text": shortened(printable(e.text), TEXT_CAP),
        }
        for e in finding.evidence[:EVIDENCE_CAP]
    ]
    return {
        "status": finding.status.value,
        "severity": finding.severity.value,
        "confidence": finding.confidence.value,
        "subject": [shortened(printable(key), TEXT_CAP) for key in finding.subject],
        "evidence": evidence,
    }


def _notification(finding: Finding, anchor: Anchor, rules: dict[str, int]) -> dict[str, Any]:
    unseen = finding.status is Status.ERROR
    text = message(finding)
    if finding.waived is not None:
        text = f"{text}\n{plain(f'Waived: {finding.waived.reason}')}"
    serious = "error" if required_unseen(finding) else "warning"
    return {
        "descriptor": {"id": UNSEEN if unseen else UNJUDGED},
        "associatedRule": {"id": _id(finding.id), "index": rules[finding.id]},
        "level": serious if unseen and finding.waived is None else "note",
        "message": {"text": text},
        "locations": [_location(anchor)],
    }


def _location(anchor: Anchor) -> dict[str, Any]:
    from urllib.parse import quote

    return {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(anchor.path, safe="/", errors="surrogatepass"), "uriBaseId": BASE},
            "region": {"startLine": max(1, anchor.line), "startColumn": 1, "endLine": max(1, anchor.line)},
        }
    }


def _invocation(report: Report, notes: list[dict[str, Any]], options: dict[str, Any]) -> dict[str, Any]:
    """Succeeded: all that the exit code depends on was looked at."""
    code = options.get("exit_code")
    blind = any(required_unseen(f) and f.waived is None for f in report.findings)
    found: dict[str, Any] = {"executionSuccessful": code in {0, 1} if isinstance(code, int) else not blind}
    if isinstance(code, int):
        found["exitCode"] = code
        found |= {"exitCodeDescription": EXIT_CODES[code]} if code in EXIT_CODES else {}
    if _TIME.fullmatch(report.created):
        found["endTimeUtc"] = report.created
    found["machine"] = printable(report.machine.name)
    return found | ({"toolExecutionNotifications": notes} if notes else {})


FORMATS = (
    ReportFormat(
        name="sarif", help="SARIF 2.1.0 for code scanning", render=render, takes_file=True, suffix=".sarif"
    ),
)  # fmt: skip
