"""GPU-SLOWDOWN: the hardware holds a GPU's clocks down (heat, power brake), its power limit is set low, or it runs slower than
its like under the same load.

A software power cap at the board's limit is how a GPU works under full load, and no finding. One reading is one moment: a bare
"hardware slowdown" without heat or power brake also shows while clocks change."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Confidence, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.nvidia_state import GpuState
from infra_doctor_probes.gpu_states import answering, keys, name, names, nothing_told, of_product, seen

BUSY_PERCENT = 90
FEW_PEERS = 3
SLOWER, SAME_POWER = 0.8, 0.1  # of the like's clock; of their power limit
LAPTOP = ("Laptop", "Mobile", "Max-Q")  # shift power between processor and GPU all the time


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per GPU and reason; one pass for those with none."""
    states = answering(context)
    told = [s for s in states if s.throttle is not None]
    if not told:
        yield CHECK.skip("these GPUs do not say what holds their clocks down" if states else nothing_told(context))
        return
    troubled = set()
    for state in told:
        for finding in (*held_down(state), *limited(state), *below_peers(state, told)):
            troubled.add(state.gpu)
            yield finding
    good = [s for s in told if s.gpu not in troubled]
    if good:
        capped = [s for s in good if "sw_power_cap" in (s.throttle or ())]
        past = [f"{name(s)}: {words}" for s in good if (words := past_slowdowns(s))]
        yield CHECK.finding(
            Status.PASS,
            f"no hardware slowdown now: {names(good)}",
            subject=keys(good),
            detail="; ".join(
                [*([f"{names(capped)}: at the power limit, as under full load"] if capped else []), *past]
            ),
            evidence=[
                e for s in good for e in seen(s, f"clocks held down by {', '.join(s.throttle or ()) or 'nothing'}")
            ],
        )


def held_down(state: GpuState) -> Iterator[Finding]:
    """What the hardware says now."""
    reasons = state.throttle or ()
    heat = f", {state.temperature_c:.0f} °C" if state.temperature_c is not None else ""
    shown = seen(state, f"clocks held down by {', '.join(reasons)}{heat}")
    if "hw_thermal_slowdown" in reasons:
        yield CHECK.finding(
            Status.WARN,
            f"{name(state)} is too hot: the hardware holds its clocks down{heat}",
            subject=(state.gpu,),
            detail="It runs at half of its clocks or less.",
            evidence=shown,
            severity=Severity.HIGH,
            remedy=REMEDY_HEAT,
        )
    elif "sw_thermal_slowdown" in reasons and "gpu_idle" not in reasons:
        yield CHECK.finding(
            Status.WARN,
            f"{name(state)} is at its temperature limit: the driver holds its clocks down{heat}",
            subject=(state.gpu,),
            evidence=shown,
            severity=Severity.MEDIUM,
            remedy=REMEDY_HEAT,
        )
    if "hw_power_brake" in reasons:
        yield CHECK.finding(
            Status.WARN,
            f"{name(state)} is braked by its power supply: the hardware holds its clocks down",
            subject=(state.gpu,),
            detail="The machine pulls the power brake line: it runs at half of its clocks or less.",
            evidence=shown,
            severity=Severity.HIGH,
            remedy=REMEDY_POWER,
        )
    if "hw_slowdown" in reasons and not {"hw_thermal_slowdown", "hw_power_brake"}.intersection(reasons):
        yield CHECK.finding(
            Status.UNKNOWN,
            f"{name(state)} reports a hardware slowdown without heat or power brake",
            subject=(state.gpu,),
            detail="It also shows for a moment while clocks change; look again under load.",
            evidence=shown,
            severity=Severity.LOW,
        )


def limited(state: GpuState) -> Iterator[Finding]:
    """A power limit below the board's own: somebody set it, perhaps on purpose."""
    limit, default = state.power_limit_w, state.power_default_limit_w
    if limit is None or default is None or limit >= default - 1 or of_product(state, *LAPTOP):
        return
    yield CHECK.finding(
        Status.WARN,
        f"{name(state)} has a power limit of {limit:.0f} W, its default is {default:.0f} W",
        subject=(state.gpu,),
        detail="Under full load it runs slower than its like with the default limit. It may be meant.",
        evidence=seen(state, f"power limit {limit:.0f} W, default {default:.0f} W"),
        severity=Severity.LOW,
        remedy=f"If it is not meant: as root `nvidia-smi -i {state.index} -pl {default:.0f}`, and take out what sets it at boot.",
    )


def below_peers(state: GpuState, states: list[GpuState]) -> Iterator[Finding]:
    """Under load, its clock is far below its like with the same limit."""
    like = [s for s in states if s.name == state.name and is_comparable(state, s)]
    clock = sm_clock(state)
    if len(like) < FEW_PEERS or clock is None or (state.utilization_percent or 0) < BUSY_PERCENT:
        return
    clocks = sorted(c for s in like if (c := sm_clock(s)) is not None)
    usual = clocks[len(clocks) // 2]
    if clock >= SLOWER * usual:
        return
    yield CHECK.finding(
        Status.WARN,
        f"{name(state)} runs at {clock} MHz, its like under load at {usual} MHz",
        subject=(state.gpu,),
        detail="All of them are busy and have the same power limit. One reading: look again.",
        evidence=[e for s in (state, *like) for e in seen(s, f"{sm_clock(s)} MHz, {s.utilization_percent} % busy")],
        confidence=Confidence.HEURISTIC,
        remedy=REMEDY_HEAT,
    )


def is_comparable(state: GpuState, other: GpuState) -> bool:
    """Another GPU under load with the same power limit."""
    if other is state or (other.utilization_percent or 0) < BUSY_PERCENT or sm_clock(other) is None:
        return False
    mine, theirs = state.power_limit_w, other.power_limit_w
    return mine is not None and theirs is not None and abs(mine - theirs) <= SAME_POWER * mine


def sm_clock(state: GpuState) -> int | None:
    """The clock of the multiprocessors now, in MHz."""
    return dict(state.clocks_mhz).get("sm")


def past_slowdowns(state: GpuState) -> str:
    """Time that the hardware held the clocks down since the driver was loaded."""
    times = dict(state.throttled_us)
    reasons = (("heat", "hw_thermal_slowdown"), ("power brake", "hw_power_brake"))
    return ", ".join(
        f"{times[n] / 1e6:.0f} s by {w} since the driver was loaded" for w, n in reasons if times.get(n, 0) >= 1e6
    )


REMEDY_HEAT = (
    "Look at airflow and fans (passive cards need the chassis' own), dust, the room, and the seat of the heat sink; move work"
    " away from this GPU until then. The service processor's log names failed fans."
)
REMEDY_POWER = (
    "Look at power supplies and their redundancy, power cables and the rack's power limit: the service processor's log names what"
    " pulled the brake."
)
REASONS = "https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html"
HARDWARE = "https://github.com/leptonai/gpud/pull/330"

CHECK = Check(
    id="GPU-SLOWDOWN",
    title="A GPU is held down",
    explanation="""\
When a GPU gets too hot, or the machine's power supply pulls the brake, the hardware halves its clocks or more. One such GPU
slows a whole job, for the others wait for it. The GPU itself says what holds its clocks down now.

Also told: a power limit set below the board's default (it may be meant), and a busy GPU whose clock is far below that of its
like with the same limit.

Not reported: a software power cap, which is how a GPU works under full load; idle clocks; a bare "hardware slowdown" is
`unknown`, for it shows for a moment when clocks change. It is one reading of one moment.""",
    remediation=REMEDY_HEAT,
    sources=(REASONS, HARDWARE, "https://github.com/NVIDIA/NVSentinel/issues/1666"),
    run=run,
    severity=Severity.MEDIUM,
    log_signatures=(
        LogSignature(
            pattern=r"(?:HW Thermal Slowdown|HW Power Brake Slowdown)\s{0,12}: Active",
            source="https://github.com/kubeflow/kubeflow/issues/68", strength=3,
        ),
        LogSignature(
            pattern=r"clocks_(?:event|throttle)_reason_hw_(?:thermal_slowdown|power_brake_slowdown)>Active",
            source="https://github.com/kubeflow/kubeflow/issues/68", strength=3,
        ),
        LogSignature(
            pattern=r"\bHW (?:Thermal |Power Brake )?Slowdown\s{1,60}: Active\b",
            source="https://docs.nvidia.com/deploy/nvidia-smi/index.html",
        ),
    ),
    tags=("nvidia", "hardware"),
)  # fmt: skip

CHECKS = (CHECK,)
