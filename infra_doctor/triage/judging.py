"""What a machine's report says of an id that a log names."""

from infra_doctor.machine.types import Capability
from infra_doctor.model.finding import Finding, Status
from infra_doctor.model.report import Report
from infra_doctor.model.triage import MachineCheck, SeenThere

BAD = frozenset({Status.FAIL, Status.WARN})


def verdicts(report: Report) -> dict[str, MachineCheck]:
    """For each id of the report: confirmed, ruled out, or unknown. That a check does not apply rules its failure out only
    on a machine that shows everything: elsewhere it may have been nothing but out of sight."""
    everything = {str(c) for c in (Capability.FILES, Capability.ENVIRONMENT, Capability.KERNEL_STATE)}
    sees_all = everything <= set(report.machine.capabilities)
    by_id: dict[str, set[Status]] = {}
    for finding in report.findings:
        by_id.setdefault(finding.id, set()).add(finding.status)
    out = {}
    for name, statuses in by_id.items():
        if statuses & BAD:
            out[name] = MachineCheck.CONFIRMED
        elif statuses <= {Status.PASS} or (
            statuses <= {Status.PASS, Status.SKIP} and (sees_all or Status.PASS in statuses)
        ):
            out[name] = MachineCheck.RULED_OUT
        else:
            out[name] = MachineCheck.UNKNOWN
    return out


def findings_of(report: Report, name: str) -> list[Finding]:
    """The findings of an id that say most: the bad ones, else all of the least certain status."""
    found = [f for f in report.findings if f.id == name]
    return [f for f in found if f.status in BAD] or found


def root_of(report: Report, findings: list[Finding]) -> Finding | None:
    """The root that the report's own diagnosis gives to these findings, where it is another one."""
    by_print = {f.fingerprint: f for f in report.findings}
    prints = {f.fingerprint for f in findings}
    for diagnosis in report.diagnoses:
        if prints & set(diagnosis.follows) and diagnosis.root in by_print:
            return by_print[diagnosis.root]
    return None


def seen(finding: Finding) -> SeenThere:
    """The finding in short."""
    return SeenThere(
        finding=finding.id,
        fingerprint=finding.fingerprint,
        status=finding.status,
        title=finding.title,
        detail=finding.detail,
    )
