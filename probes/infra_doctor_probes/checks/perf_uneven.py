"""PERF-UNEVEN: one of several alike devices is slower than the others in the same measurement."""

import statistics
from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Confidence, Finding, Measurement, Severity, Status
from infra_doctor_probes.measured import NOTHING, label, on_devices, seen, shared, subject, value

# Alike H200s differ by 2 % in products (their power at equal clocks differs) and by less in copies.
BELOW = 0.93
TWO = "Two devices only: which of them is as it should be, the expected value tells."


def run(ctx: CheckContext) -> Iterator[Finding]:
    """One finding per device and measurement that is below its peers; a pass where there are peers."""
    groups: dict[tuple[str, str], list[Measurement]] = {}
    for m in on_devices(ctx):
        groups.setdefault((m.benchmark, m.name), []).append(m)
    compared = {k: g for k, g in groups.items() if len({m.device for m in g}) > 1 and alike(ctx, g)}
    if not compared:
        yield CHECK.skip("no two alike devices were measured" if groups else NOTHING)
        return
    slow = 0
    for group in compared.values():
        for m in group:
            peers = [p.value for p in group if p.device != m.device]
            middle = statistics.median(peers)
            if m.unit == "s" or not middle or m.value >= BELOW * middle:
                continue
            slow += 1
            yield CHECK.finding(
                Status.WARN,
                f"{label(m)}: {value(m)}, its peers reach {middle:.4g}",
                subject=subject(m),
                detail=TWO if len(group) == 2 else "",
                evidence=[seen(m), *(seen(p) for p in group if p.device != m.device)][:9],
                confidence=Confidence.HEURISTIC if shared(m) else Confidence.OBSERVED,
                remedy=CHECK.remediation,
            )  # fmt: skip
    if not slow:
        yield CHECK.finding(
            Status.PASS, f"alike devices reach alike values in {len(compared)} measurements", severity=Severity.LOW,
            evidence=[seen(m) for g in compared.values() for m in g][:20],
        )  # fmt: skip


def alike(ctx: CheckContext, group: list[Measurement]) -> bool:
    """Whether the devices are of one model, as far as they are known."""
    names = {c.name for m in group if (c := ctx.component(m.device or "")) is not None}
    return len(names) == 1


CHECK = Check(
    id="PERF-UNEVEN",
    title="One device is slower than its peers",
    explanation=f"""\
The same measurement on alike devices of one machine gives alike values. One that stays below {BELOW:.0%} of the others'
median holds a whole job back, as the ranks wait for the slowest.

Not reported: devices of different models, latencies.""",
    remediation="Compare clocks, power and temperature of the devices in the evidence: a hotter or power-braked one needs"
    " cooling or power. For copies look at the slot's width and speed (PCIE) and the NUMA node; swap the cards to tell card"
    " from slot.",
    sources=("https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html",),
    run=run,
    severity=Severity.MEDIUM,
    explained_by=("PERF-THROTTLED", "PCIE", "GPU-SLOWDOWN"),
    tags=("measured",),
)

CHECKS = (CHECK,)
