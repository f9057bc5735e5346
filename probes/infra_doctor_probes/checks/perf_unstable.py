"""PERF-UNSTABLE: the samples of one measurement differ too much for its value to mean anything."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Finding, Severity, Status
from infra_doctor_probes.measured import NOTHING, label, on_devices, seen, subject, value

# Between the quarters of the samples, over the value. On an idle H200 copies stay below 0.5 %, products below 3 %.
SPREAD = 0.10


def run(ctx: CheckContext) -> Iterator[Finding]:
    """One finding per measurement."""
    told = [m for m in on_devices(ctx) if m.spread is not None and m.expected is not None]
    if not told:
        yield CHECK.skip(NOTHING if not on_devices(ctx) else "nothing measured here has a spread that is judged")
        return
    wild = [m for m in told if (m.spread or 0.0) > SPREAD]
    for m in wild:
        yield CHECK.finding(
            Status.WARN,
            f"{label(m)}: {value(m)}, and half of its {m.sample_count} samples are spread over {m.spread:.0%}",
            subject=subject(m),
            evidence=(seen(m),),
            remedy=CHECK.remediation,
        )
    if len(wild) < len(told):
        yield CHECK.finding(
            Status.PASS, f"the samples of {len(told) - len(wild)} measurements agree", severity=Severity.LOW,
            evidence=[seen(m) for m in told if m not in wild][:20],
        )  # fmt: skip


CHECK = Check(
    id="PERF-UNSTABLE",
    title="A measurement's samples differ too much",
    explanation=f"""\
Each value is the median of several samples; its spread is that of their middle half. Above {SPREAD:.0%} something else used the
device, its clocks moved, or the machine was busy: the value is not comparable with another one.

Judged only where a value is expected: small copies and the host's own memory vary by nature.""",
    remediation="Measure again on an idle machine; look at the other processes on the device and at what held the clocks down.",
    sources=("https://github.com/NVIDIA/nvbandwidth",),
    run=run,
    severity=Severity.LOW,
    explained_by=("PERF-THROTTLED",),
    tags=("measured",),
)

CHECKS = (CHECK,)
