"""The reports that every machine-readable format is tried on: all statuses, a policy, nothing at all, a thousand findings,
and one for each hostile string, which stands in every field of the report."""

from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any

from infra_doctor.model.evidence import EvidenceKind
from infra_doctor.model.finding import (
    Command,
    Diagnosis,
    Finding,
    Remediation,
    Severity,
    Status,
    Waiver,
    fingerprint,
    sort_key,
)
from infra_doctor.model.report import Measurement, Report
from tests.support.sample_report import HOSTILE, empty_report, evidence, finding, sample_report

# What a machine could write to reach past a format: into the log's commands, the reader of XML, a terminal, a label.
INJECTIONS = (
    *HOSTILE,
    "::error title=x::owned",
    "\n::set-output name=a::b\n  ::stop-commands::t",
    "%0A::warning file=a,line=1::%0D",
    "##vso[task.setvariable variable=PATH]/tmp/evil",
    "####[command]owned",
    "##teamcity[buildStop comment='x']",
    "]]><testcase name='forged'/>",
    "<![CDATA[ x ]]> <!DOCTYPE a [<!ENTITY b 'c'>]> &b; &#x1b; &amp;",
    "[[ATTACHMENT|/etc/passwd]]",
    "nul \x00 bell \x07 del \x7f c1 \x85 not-a-character \ufffe \uffff",
    "half \ud800 and \udfff",
    "\u202eright to left\u2069 zero\u200bwidth \ufeff",
    'quote " backslash \\ newline \n return \r tab \t end\\',
    'a="b",c="d"} 1\n# TYPE owned counter\nowned 1',
    "../../../etc/passwd",
    "x" * 20_000,
    "",
)


def requirement(key: str, status: Status, place: str = "infra-doctor.toml:7", *more: str, **fields: Any) -> Finding:
    return finding(
        "REQUIREMENT", status, f"{key} is required", f"policy:{key}", *more, severity=Severity.HIGH,
        evidence=(evidence(EvidenceKind.POLICY, place, f"{key} = 1"),), **fields,
    )  # fmt: skip


def held_against_a_policy() -> tuple[Finding, ...]:
    """A requirement of every outcome, a threshold, a baseline, an expired waiver, and something waived of every status."""
    waiver = Waiver(reason="known since the last image", until="2027-03-31")
    return (
        requirement("gpu.count", Status.PASS),
        requirement("driver", Status.FAIL, "infra-doctor.toml:9", "driver:nvidia"),
        requirement("ort.cuda", Status.ERROR),
        requirement("package.vllm", Status.UNKNOWN, "--require"),
        requirement("gpu.memory", Status.FAIL, "infra-doctor.toml:11", waived=waiver),
        finding("THRESHOLD", Status.SKIP, "gemm* >=700 TFLOP/s: nothing was measured", "policy:measure gemm*"),
        finding("THRESHOLD", Status.FAIL, "copy* >=40 GB/s is required", "policy:measure copy*", "gpu:0000:00:06.0"),
        finding("BASELINE", Status.PASS, "no device is gone", "policy:baseline"),
        finding("WAIVER-EXPIRED", Status.WARN, "the waiver of X ended", "policy:waiver X"),
        *(
            finding(f"WAIVED-{s.name}", s, f"waived {s.value}", waived=waiver)
            for s in Status
            if s not in {Status.PASS, Status.SKIP}
        ),
        finding("LATER", Status.WARN, "in the baseline already", waived=Waiver(reason="no worse than in base.json")),
    )


def measurements() -> tuple[Measurement, ...]:
    return (
        Measurement(benchmark="gemm", name="bf16 8192x8192x8192", value=7.6e14, unit="FLOP/s", device="gpu:0000:00:06.0",
                    ratio=0.77, expected=9.89e14),
        Measurement(benchmark="gemm", name="bf16 8192x8192x8192", value=7.5e14, unit="FLOP/s", device="gpu:0000:00:07.0"),
        Measurement(benchmark="copy", name="host to device", value=5.5e10, unit="B/s", device="gpu:0000:00:06.0"),
        Measurement(benchmark="launch", name="empty kernel", value=2.4e-6, unit="s"),
        Measurement(benchmark="tokens", name="decode", value=float("inf"), unit="tokens/s"),
        Measurement(benchmark="tokens", name="prefill", value=float("nan"), unit="tokens/s"),
    )  # fmt: skip


def with_findings(report: Report, findings: tuple[Finding, ...]) -> Report:
    counts = {s.value: sum(f.status is s for f in findings) for s in Status}
    return replace(report, findings=tuple(sorted(findings, key=sort_key)), summary=counts)


def every_status() -> Report:
    """Each status, waived ones too, with a diagnosis, a policy, a baseline and measurements."""
    sample = sample_report()
    return replace(
        with_findings(sample, (*sample.findings, *held_against_a_policy())),
        policy={
            "sources": ["infra-doctor.toml"], "require": {"gpu.count": "8"}, "measure": {}, "presets": [],
            "baseline": {"source": "base.json", "created": "2026-11-01T00:00:00Z"},
        },
        measurements=measurements(),
    )  # fmt: skip


def thousand() -> Report:
    """A thousand findings in turn of every status, many of one id and subject."""
    order = tuple(Status)
    listed = tuple(
        finding(f"BULK-{n % 40}", order[n % 6], f"number {n}", f"wheel:package-{n % 200}@/opt/venv",
                detail="what was seen " * 20, evidence=(evidence(EvidenceKind.FILE, f"/opt/{n}", "x" * 200),) * 3)
        for n in range(1000)
    )  # fmt: skip
    return with_findings(sample_report(), listed)


def poisoned(text: str) -> Report:
    """Every text of the report is this one, but what the runner itself makes: the statuses, the fingerprints, the kinds."""
    finding_ = Finding(
        id=text, subject=(text, f"wheel:{text}@/opt/venv", f"policy:{text}"), status=Status.FAIL, title=text, detail=text,
        evidence=(evidence(EvidenceKind.POLICY, f"{text}:7", text), evidence(EvidenceKind.FILE, text, text)) * 15,
        remediation=Remediation(text=text, commands=(Command(argv=(text, text), needs_root=True),), docs=(text,)),
    )  # fmt: skip
    rest = [replace(finding_, status=s, id="ID") for s in Status]
    rest += [
        replace(finding_, id="REQUIREMENT", subject=(f"policy:{text}",)),
        replace(finding_, id="WAIVED", waived=Waiver(reason=text, until=text)),
    ]
    named = [replace(f, fingerprint=fingerprint(f.id, (str(n), *f.subject))) for n, f in enumerate([finding_, *rest])]
    every = every_status()
    report = replace(
        with_findings(_texts_replaced(every, text), tuple(named)),
        diagnoses=(Diagnosis(root=named[0].fingerprint, follows=(named[1].fingerprint, text), text=text),),
        policy={"sources": [text], "require": {text: text}, "measure": {}, "baseline": {"source": text}},
        measurements=tuple(
            replace(m, benchmark=text, name=text, unit=text if m.unit == "s" else m.unit, device=text)
            for m in every.measurements
        ),
    )
    return replace(report, kind="report", schema_version="1.0")


def _texts_replaced(value: Any, text: str) -> Any:
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return text
    if isinstance(value, tuple):
        return tuple(_texts_replaced(v, text) for v in value)
    if isinstance(value, dict):
        return dict(value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _texts_replaced(getattr(value, f.name), text) for f in fields(value)})
    return value


REPORTS = {
    "every status": every_status,
    "hostile sample": lambda: sample_report(hostile=True),
    "empty": empty_report,
    "a thousand": thousand,
}
