"""PERF-LOW-*: a device reaches less than a healthy one of its model does.

What is expected, and below which share of it something is wrong, stands with each benchmark; a result that others disturbed
is a hint only."""

from collections.abc import Callable, Iterator

from infra_doctor.plugin import Check, CheckContext, Confidence, Finding, Measurement, Severity, Status
from infra_doctor_probes.measured import NOTHING, label, on_devices, seen, shared, subject, value

BUSY = " Other processes used the device meanwhile: measure again without them."
CLOCKS = "https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html"


def judging(benchmark: str, finding_id: str) -> Callable[[CheckContext], Iterator[Finding]]:
    """The `run` of one of these checks."""

    def run(ctx: CheckContext) -> Iterator[Finding]:
        check = BY_ID[finding_id]
        measured = [m for m in on_devices(ctx) if m.benchmark == benchmark]
        told = [m for m in measured if m.ratio is not None and limit(m) > 0]
        if not told:
            yield check.skip("no value is expected of what was measured" if measured else NOTHING)
            return
        low = [m for m in told if (m.ratio or 0.0) < limit(m)]
        for m in low:
            yield slow(check, m)
        if len(low) < len(told):
            rest = [m for m in told if m not in low]
            yield check.finding(
                Status.PASS, f"{len(rest)} results of {benchmark} are what such a device reaches", severity=Severity.LOW,
                subject=sorted({m.device for m in rest if m.device}), evidence=[seen(m) for m in rest],
            )  # fmt: skip

    return run


def limit(m: Measurement) -> float:
    """The share of the expected value below which something is wrong; 0 where none is known."""
    low = m.conditions.get("low")
    return float(low) if isinstance(low, int | float) else 0.0


def slow(check: Check, m: Measurement) -> Finding:
    """One result that is too low."""
    busy = shared(m)
    return check.finding(
        Status.WARN,
        f"{label(m)}: {value(m)}, {m.ratio:.0%} of what is expected (a healthy device stays above {limit(m):.0%})",
        subject=subject(m),
        detail=f"Expected: {m.expected_source}.{BUSY if busy else ''}",
        evidence=(seen(m),),
        confidence=Confidence.HEURISTIC if busy else Confidence.OBSERVED,
        severity=Severity.LOW if busy else None,
        remedy=check.remediation,
    )  # fmt: skip


def make(benchmark: str, finding_id: str, title: str, what: str, causes: str, explained_by: tuple[str, ...]) -> Check:
    """One of these checks."""
    return Check(
        id=finding_id,
        title=title,
        explanation=f"""\
`infra-doctor bench` measured {what} and compared it with the published figure of the device's model. A healthy device does
not reach the whole figure; the finding says which share it stays above. The measurement's own conditions (clocks, power,
temperature, what held the clocks down, other processes) stand beside it.

Not reported: devices whose model is not in the tables, sizes that are bound by the launch, and the host's own memory.""",
        remediation=causes,
        sources=(CLOCKS,),
        run=judging(benchmark, finding_id),
        severity=Severity.MEDIUM,
        explained_by=explained_by,
        tags=("measured",),
    )


CHECKS = (
    make(
        "bandwidth", "PERF-LOW-BANDWIDTH", "A device moves less data than its bus or memory allows",
        "copies between host and device and within the device",
        "Look at the findings about the bus (PCIE) and the device's state first. Measure again on an idle machine, bound to the"
        " NUMA node of the device (`numactl --cpunodebind`). A card in a slot of an older generation or with fewer lanes stays"
        " slow.",
        ("PCIE", "PERF-THROTTLED", "GPU-SLOWDOWN", "ECC/XID"),
    ),
    make(
        "gemm", "PERF-LOW-GEMM", "A device computes less than its model does",
        "matrix products",
        "Look at the clocks during the run first: heat, the power brake and a lowered power limit hold them down. Then at the"
        " library: an older cuBLAS may lack the chip's kernels. Measure again on an idle device.",
        ("PERF-THROTTLED", "GPU-SLOWDOWN", "ECC/XID", "ARCH"),
    ),
)  # fmt: skip
BY_ID = {c.id: c for c in CHECKS}
