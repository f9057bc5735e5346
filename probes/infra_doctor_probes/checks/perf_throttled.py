"""PERF-THROTTLED: heat, the power brake or the hardware's own slowdown held a device's clocks down while it was measured.

A software power cap is the board at its limit: a condition of the run, not a fault (NVML API reference)."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Finding, Measurement, Severity, Status
from infra_doctor_probes.measured import NOTHING, label, on_devices, seen, slowed_by

WORDS = {
    "hw_slowdown": "the hardware's slowdown", "hw_thermal_slowdown": "heat (the hardware's limit)",
    "sw_thermal_slowdown": "heat (the driver's limit)", "hw_power_brake": "the power supply's brake",
}  # fmt: skip


def run(ctx: CheckContext) -> Iterator[Finding]:
    """One finding per device; one pass for those that ran freely."""
    told = [m for m in on_devices(ctx) if "throttle" in m.conditions]
    if not told:
        yield CHECK.skip(NOTHING if not on_devices(ctx) else "the clocks were not read while it was measured")
        return
    devices: dict[str, list[Measurement]] = {}
    for m in told:
        devices.setdefault(m.device or "", []).append(m)
    free = []
    for device, measured in devices.items():
        held = [m for m in measured if slowed_by(m)]
        if not held:
            free.append(device)
            continue
        reasons = sorted({r for m in held for r in slowed_by(m)})
        yield CHECK.finding(
            Status.WARN,
            f"{device} was slowed by {' and '.join(WORDS.get(r, r) for r in reasons)}"
            f" in {len(held)} of {len(measured)} measurements",
            subject=(device,),
            detail=f"First in {label(held[0])}.",
            evidence=[seen(m) for m in held[:8]],
            remedy=CHECK.remediation,
        )
    if free:
        yield CHECK.finding(
            Status.PASS, f"nothing but the power limit held the clocks of {len(free)} devices down", subject=sorted(free),
            severity=Severity.LOW, evidence=[seen(devices[d][0]) for d in sorted(free)],
        )  # fmt: skip


CHECK = Check(
    id="PERF-THROTTLED",
    title="A device was slowed by heat or power while it was measured",
    explanation="""\
The device's monitor was read while each benchmark ran. Thermal slowdown, the power brake and the hardware's own slowdown are
faults of cooling or power. A software power cap is not: a board that works hard runs at its power limit.""",
    remediation="Look at fans, airflow, the inlet's temperature and the heat sink; for the power brake at the power supplies and"
    " their cabling. Then measure again.",
    sources=("https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html",),
    run=run,
    severity=Severity.HIGH,
    explained_by=("GPU-SLOWDOWN",),
    tags=("measured",),
)

CHECKS = (CHECK,)
