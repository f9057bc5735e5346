"""Holds a run against its policy and its baseline: the findings of requirements and thresholds, then what is laid over all
findings. Loaded only where one of the two is given."""

from collections.abc import Iterable, Sequence, Set
from dataclasses import replace
from datetime import date
from typing import Any

from infra_doctor.machine.redaction import Redactor
from infra_doctor.model.finding import Finding, with_fingerprint
from infra_doctor.model.plugins import CheckContext, PolicyKey, Probe
from infra_doctor.model.policy import Policy
from infra_doctor.model.report import Report
from infra_doctor.policy import waiving
from infra_doctor.policy.judging import judge_requirements, judge_thresholds
from infra_doctor.runner.baseline import BASELINE, Baseline, against_baseline
from infra_doctor.runner.core_ids import CORE_IDS
from infra_doctor.runner.differences import notes
from infra_doctor.runner.judging import guarded


def policy_findings(
    policy: Policy, keys: Sequence[PolicyKey], context: CheckContext, told: dict[int, tuple[str, ...]]
) -> list[Finding]:
    """The findings of the policy's requirements and thresholds; adds to `told` what explains them, by the finding's id()."""
    out: list[Finding] = []
    for requirement in policy.requirements:

        def judge(one: Any = requirement) -> list[tuple[Finding, tuple[str, ...]]]:
            return judge_requirements((one,), keys, context)

        judged, failure = guarded("policy", requirement.key, judge)
        if failure is not None:
            out.append(failure)
        for finding, explained_by in judged:
            out.append(finding)
            told[id(finding)] = explained_by
    return [*out, *judge_thresholds(policy.thresholds, context)]


def laid_over(
    findings: list[Finding],
    report: Report,
    *,
    policy: Policy | None,
    baseline: Baseline | None,
    today: date,
    device_probes: Set[str],
    judged: Set[str],
    redactor: Redactor,
) -> tuple[list[Finding], list[str]]:
    """The findings after the policy's severities and statuses, the baseline, and the policy's waivers; and what limits the
    comparison with the baseline. `report` holds what the run found beside the findings; `judged` are the checks that ran."""
    said: list[str] = []
    if policy is not None:
        policy = waiving.as_told(policy, redactor.text)
        findings = [waiving.overridden(f, policy) for f in findings]
    if baseline is not None:
        findings = against_baseline(findings, report, baseline, policy=policy, today=today, device_probes=device_probes)
        said = [
            f"baseline {baseline.source}: {n}"
            for n in notes(baseline.report, replace(report, findings=tuple(findings)))
        ]
    if policy is not None:
        # What a baseline adds may be overridden and waived too; what it has waived, a waiver of the policy names better.
        findings = [waiving.overridden(f, policy) for f in findings]
        ids = judged | (CORE_IDS.keys() - ({BASELINE} if baseline is None else set()))
        findings += [
            waiving.overridden(f, policy) for f in waiving.expired_waivers(policy.waivers, findings, today, ids)
        ]
        findings = [waiving.waived(f, policy.waivers, today) for f in findings]
    return [f if f.fingerprint else with_fingerprint(f) for f in findings], said


def document(policy: Policy | None, baseline: Baseline | None, redactor: Redactor) -> dict[str, Any]:
    """What the run was held against, for the report."""
    found: dict[str, Any] = {"sources": list(policy.sources) if policy else []}
    if policy is not None:
        found["require"] = {r.key: r.spec.text for r in policy.requirements}
        found["measure"] = {t.pattern: t.text for t in policy.thresholds}
        found["presets"] = list(policy.presets)
    if baseline is not None:
        found["baseline"] = {"source": baseline.source, "created": baseline.report.created}
    redacted: dict[str, Any] = redactor.document(found)
    return redacted


def looking_for_devices(probes: Iterable[Probe]) -> frozenset[str]:
    """The ids of the probes that look for devices, and of those whose results they want."""
    by_id = {p.id: p for p in probes}
    waiting, found = [p.id for p in by_id.values() if p.devices], set[str]()
    while waiting:
        name = waiting.pop()
        if name in by_id and name not in found:
            found.add(name)
            waiting.extend(by_id[name].after)
    return frozenset(found)
