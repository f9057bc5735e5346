"""CANN-PYDEPS: Python packages that CANN's operator compiler imports are missing or out of range in a target.

Rests on the matrix rule `cann-python-packages`, which knows one version's guide. Newer packages often work all the same, so
this warns and does not fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Compatibility,
    Confidence,
    Finding,
    LogSignature,
    Severity,
    Status,
    Verdict,
)
from infra_doctor_probes.from_matrix import row_evidence

if TYPE_CHECKING:
    from infra_doctor_probes.ascend.frameworks import CannPythonPackages


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per environment that holds a framework for Ascend."""
    canns = [c for c in context.by_kind("cann") if c.attributes.get("in_use")]
    environments: tuple[CannPythonPackages, ...] = ()
    if canns:
        from infra_doctor_probes.ascend.frameworks import CannPythonPackages

        environments = context.facts(CannPythonPackages)
    if not environments:
        yield CHECK.skip("no CANN with a framework for it in the Python environments looked at")
        return
    rows = context.judged("cann-python-packages")
    for environment in environments:
        these = tuple(r for r in rows if r.right == environment.target)
        if not these:
            yield CHECK.finding(
                Status.UNKNOWN,
                f"which Python packages CANN {canns[0].version} asks for is not in the tables",
                subject=(canns[0].key, environment.target),
                detail="The limits of CANN 8.2.RC1, the one version whose guide is known here, are not applied to others.",
                evidence=canns[0].evidence[:2],
                severity=Severity.LOW,
            )
        else:
            yield judge(environment, these)


def judge(environment: CannPythonPackages, rows: tuple[Compatibility, ...]) -> Finding:
    """The finding of one environment."""
    bad = tuple(r for r in rows if r.verdict is Verdict.INCOMPATIBLE)
    unsure = tuple(r for r in rows if r.verdict is Verdict.UNKNOWN)
    shown = bad or unsure or rows
    status = Status.WARN if bad else Status.UNKNOWN if unsure else Status.PASS
    titles = {
        Status.WARN: f"CANN's Python packages: {len(bad)} missing or out of range",
        Status.UNKNOWN: "CANN's Python packages: some versions cannot be judged",
        Status.PASS: "the Python packages that CANN asks for are here",
    }
    return CHECK.finding(
        status,
        titles[status],
        subject=(rows[0].left, environment.target),
        detail=" ".join(r.detail for r in shown),
        evidence=(*map(row_evidence, shown), *environment.evidence),
        confidence=Confidence.DERIVED,
        severity=None if bad else Severity.LOW,
        remedy=REMEDY if bad else "",
    )


REMEDY = (
    "Install what is missing with this environment's own pip (for example `python -m pip install decorator sympy cffi`). Change"
    " the version of a package that is there only if operators fail to compile: other packages here may pin it."
)

CHECK = Check(
    id="CANN-PYDEPS",
    title="Python packages that CANN needs",
    explanation="""\
CANN compiles operators with a Python program (TBE) that runs in the interpreter of the framework and imports decorator,
sympy, numpy, cffi, protobuf and others. No wheel requires them, so pip does not bring them. The failure comes with the first
operator that has no ready-made kernel: *ModuleNotFoundError: No module named 'decorator'* out of `tbe/`.

The ranges are those of the installation guide of CANN 8.2.RC1. They are not applied to any other version.

*Proven on captures of Ascend machines and on described ones, not on an Ascend machine.*""",
    remediation=REMEDY,
    sources=(
        "https://github.com/microsoft/onnxruntime/issues/14121",
        "CANN Community Edition 8.2.RC1, software installation guide (hiascend.com)",
    ),
    run=run,
    severity=Severity.MEDIUM,
    log_signatures=(
        LogSignature(
            pattern=r"\[Init\]\[Env\]init env failed",
            source="https://github.com/Ascend/pytorch/issues/7",
            strength=2,
        ),
        LogSignature(
            pattern=r"No module named '(?:decorator|attrs?|sympy|cffi|pathlib2|absl)'",
            source="https://github.com/microsoft/onnxruntime/issues/14121",
        ),
        LogSignature(
            pattern=r"/site-packages/tbe/[^\n]{1,200}\bfrom decorator import",
            source="https://github.com/microsoft/onnxruntime/issues/14121",
            strength=3,
        ),
    ),
    tags=("ascend", "cann", "python"),
)

CHECKS = (CHECK,)
