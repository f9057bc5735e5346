"""What the checks of measurements share: which of them count, how one is shown."""

from infra_doctor.plugin import CheckContext, Evidence, EvidenceKind, Measurement

NOTHING = "nothing was measured (`infra-doctor bench` does)"


def on_devices(ctx: CheckContext) -> list[Measurement]:
    """Measurements of accelerators. Those of the host and of a CPU vary with whatever else runs."""
    return [m for m in ctx.measurements if m.device is not None and m.device != "cpu"]


def label(m: Measurement) -> str:
    """`gemm bf16 8192x8192x8192 on gpu:0000:17:00.0`."""
    return f"{m.benchmark} {m.name}" + (f" on {m.device}" if m.device else "")


def value(m: Measurement) -> str:
    """`6.861e+14 FLOP/s`."""
    return f"{m.value:.4g} {m.unit}"


def subject(m: Measurement) -> tuple[str, ...]:
    """The measurement, and the device where it is a component."""
    device = (m.device,) if m.device and ":" in m.device else ()
    return (f"measurement:{m.benchmark} {m.name}", *device)


def seen(m: Measurement) -> Evidence:
    """The measurement with its conditions, as far as they tell."""
    parts = [value(m)]
    if m.expected is not None and m.ratio is not None:
        parts.append(f"{m.ratio:.0%} of {m.expected:.4g}")
    for name in ("sm_clock_mhz", "power_w", "temperature_c"):
        span = m.conditions.get(name)
        if isinstance(span, list) and len(span) == 3:
            parts.append(f"{name} {span[1]:g}")
    throttle = m.conditions.get("throttle")
    if isinstance(throttle, list) and throttle:
        parts.append(f"clocks held down by {', '.join(map(str, throttle))}")
    if m.conditions.get("other_processes"):
        parts.append(f"{m.conditions['other_processes']} other processes on the device")
    return Evidence(kind=EvidenceKind.DERIVED, source=label(m), text="; ".join(parts))


def slowed_by(m: Measurement) -> tuple[str, ...]:
    """Faults of the machine that held the clocks down while this was measured."""
    found = m.conditions.get("slowed_by")
    return tuple(map(str, found)) if isinstance(found, list) else ()


def shared(m: Measurement) -> bool:
    """Whether others used the device meanwhile."""
    return bool(m.conditions.get("other_processes"))
