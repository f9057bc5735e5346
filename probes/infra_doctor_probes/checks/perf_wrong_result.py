"""PERF-WRONG-RESULT: a benchmark's result is not what was computed or copied."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Finding, Severity, Status
from infra_doctor_probes.measured import NOTHING, label, seen, subject


def run(ctx: CheckContext) -> Iterator[Finding]:
    """One finding per wrong result; one pass for the rest."""
    if not ctx.measurements:
        yield CHECK.skip(NOTHING)
        return
    wrong = [m for m in ctx.measurements if not m.verified]
    for m in wrong:
        yield CHECK.finding(
            Status.FAIL,
            f"{label(m)}: the result is wrong",
            subject=subject(m),
            detail="What came out is not what was put in (copies), or not the product to the format's rounding.",
            evidence=(seen(m),),
            remedy=CHECK.remediation,
        )  # fmt: skip
    right = [m for m in ctx.measurements if m.verified]
    if right:
        yield CHECK.finding(
            Status.PASS, f"{len(right)} results were checked and are right", severity=Severity.LOW,
            evidence=[seen(m) for m in right[:20]],
        )  # fmt: skip


CHECK = Check(
    id="PERF-WRONG-RESULT",
    title="A benchmark's result is wrong",
    explanation="""\
Each benchmark checks itself: copies are compared byte by byte with what was sent, products with float64 on sampled rows and
columns, reductions with the known sum. A result that is wrong means corrupted data: memory, bus or link errors, a device that
computes wrongly, or a library that does.""",
    remediation="Take the device out of service and look at ECC/XID, NVLINK and PCIE. Run the benchmark again with another"
    " version of the library to tell hardware from software; run the vendor's diagnostic (NVIDIA: `dcgmi diag -r 3`) where it"
    " is installed.",
    sources=("https://docs.nvidia.com/datacenter/dcgm/latest/user-guide/dcgm-diagnostics.html",),
    run=run,
    severity=Severity.CRITICAL,
    explained_by=("ECC/XID",),
    tags=("measured",),
)

CHECKS = (CHECK,)
