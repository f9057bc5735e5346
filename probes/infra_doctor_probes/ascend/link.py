"""How the NPUs are connected: each one's own network port by hccn_tool, HCCS between them by `npu-smi info -t topo`.

Asked only of chips of the 910 family, which have such ports, and only where the driver's hccn_tool is there. The questions go
out side by side and have 10 s together; what was not answered stays unknown. Addresses are not kept, only whether there is
one."""

from collections.abc import Iterator

from infra_doctor.plugin import Component, Evidence, EvidenceKind, Machine, ProbeContext, fact, record
from infra_doctor_probes.ascend.hccn_tool import HccnText, link_status, optical, parse_hccn
from infra_doctor_probes.ascend.npu_smi_map import parse_topology, without_hccs
from infra_doctor_probes.detect.ascend import BASE, HCCN_OPTIONS, HCCN_TOOL

TIMEOUT_S, BUDGET_S = 3.0, 10.0
NPU_CAP, AT_ONCE = 16, 8


@fact("ascend-npu-link", 1)
@record
class NpuLink:
    """The network port of one NPU (a component key). None is what was not said; `lanes_below` are power values of the optical
    module under its own threshold."""

    npu: str
    link: str | None = None  # "UP" or "DOWN"
    net_health: str | None = None
    has_address: bool | None = None
    optical_present: bool | None = None
    lanes_below: tuple[str, ...] = ()
    unanswered: str = ""
    evidence: tuple[Evidence, ...] = ()


@fact("ascend-topology", 1)
@record
class NpuTopology:
    """The connections that npu-smi shows: (one, other, "HCCS") for each pair once; `without_hccs` are NPUs ("NPU3") that
    have none while the others do. `problem` says why nothing could be read."""

    pairs: tuple[tuple[str, str, str], ...] = ()
    without_hccs: tuple[str, ...] = ()
    problem: str = ""
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """NpuLink for each NPU that was asked, NpuTopology where there are several."""
    machine: Machine = ctx.machine
    npus = [n for n in ctx.by_kind("npu") if is_910(n) and device_number(n) is not None]
    driver = ctx.component("driver:ascend")
    folder = driver.location if driver is not None and driver.location else f"{BASE}/driver"
    tool = next((t for t in (HCCN_TOOL, f"{folder}/tools/hccn_tool") if machine.is_file(t)), None)
    if tool is not None and npus:
        yield from ask_all(machine, tool, npus[:NPU_CAP])
    if len(npus) > 1:
        yield topology(machine)


def is_910(npu: Component) -> bool:
    """Whether this is a training chip: "Ascend910B3", "Ascend910", "Ascend910_9391"."""
    return npu.name.startswith("Ascend910")


def device_number(npu: Component) -> int | None:
    """The number by which hccn_tool knows an NPU: the physical id, which is the card's number where each card has one chip."""
    physical, card, chip = (npu.attributes.get(n) for n in ("physical_id", "npu_id", "chip_id"))
    found = physical if isinstance(physical, int) else card if chip == 0 else None
    return found if isinstance(found, int) and 0 <= found < 10_000 else None


def ask_all(machine: Machine, tool: str, npus: list[Component]) -> Iterator[NpuLink]:
    """All questions, several NPUs at once."""
    from concurrent.futures import ThreadPoolExecutor
    from time import monotonic

    until = monotonic() + BUDGET_S

    def ask(npu: Component) -> NpuLink:
        found: dict[str, HccnText] = {}
        for option in HCCN_OPTIONS:
            if monotonic() > until:
                break
            result = machine.run(tool, "-i", str(device_number(npu)), f"-{option}", "-g", timeout_s=TIMEOUT_S)
            if result.timed_out or result.error:
                problem = f"no answer within {TIMEOUT_S:g} s" if result.timed_out else result.error
                found[option] = HccnText(option=option, problem=problem)
                break
            found[option] = parse_hccn(option, result.stdout)
        return link_of(npu, tool, found)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(ask, npus)


def link_of(npu: Component, tool: str, found: dict[str, HccnText]) -> NpuLink:
    """What the answers come to."""
    nothing = HccnText(option="")
    module = optical(found.get("optical", nothing))
    link, health = link_status(found.get("link", nothing)), found.get("net_health", nothing).value("net health status")
    address = found.get("ip")
    shown = [f"link {link or 'unknown'}", f"net health {health or 'unknown'}"]
    if module.present is not None:
        shown.append(f"optical module {'present' if module.present else 'not present'}")
    problems = [f"-{o}: {text.problem}" for o, text in found.items() if text.problem]
    problems += [f"-{o}: not asked, the time was up" for o in HCCN_OPTIONS if o not in found][:1]
    return NpuLink(
        npu=npu.key,
        link=link,
        net_health=health[:60] if health else None,
        has_address=None if address is None or address.problem else address.value("ipaddr") is not None,
        optical_present=module.present,
        lanes_below=module.lanes_below,
        unanswered="; ".join(problems)[:300],
        evidence=(
            Evidence(kind=EvidenceKind.COMMAND, source=f"{tool} -i {device_number(npu)}", text=", ".join(shown)[:200]),
        ),
    )


def topology(machine: Machine) -> NpuTopology:
    """`npu-smi info -t topo`."""
    result = machine.run("npu-smi", "info", "-t", "topo", timeout_s=TIMEOUT_S)
    found = parse_topology(result.stdout)
    problem = "no answer in time" if result.timed_out else result.error or found.problem
    pairs = tuple(
        (one, other, found.rows[row][column])
        for row, one in enumerate(found.npus)
        for column, other in enumerate(found.npus)
        if column > row
    )
    kinds: dict[str, int] = {}
    for _, _, kind in pairs:
        kinds[kind] = kinds.get(kind, 0) + 1
    shown = ", ".join(f"{number} pairs {kind}" for kind, number in kinds.items()) or problem
    return NpuTopology(
        pairs=pairs,
        without_hccs=without_hccs(found),
        problem=problem[:200],
        evidence=(Evidence(kind=EvidenceKind.COMMAND, source="npu-smi info -t topo", text=shown[:200]),),
    )
