"""IB-LINK: a port of an RDMA device that is up at the cable and not in use, or slower than its peers.

Ports that are down are normal: many cards have unused ones. What a port lacks is judged only against ports of its own kind that
are active on the same machine."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.communication import RdmaAccess, RdmaPort
from infra_doctor_probes.workload import accelerators, in_container

WAITING = frozenset({"INIT", "ARMED"})
PEERS = 3


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per kind of fault; one pass where there is none."""
    ports = context.facts(RdmaPort)
    access = context.fact(RdmaAccess)
    if not ports:
        yield CHECK.skip("no RDMA device is there")
    elif not accelerators(context):
        yield CHECK.skip("no accelerator is there")
    elif in_container(context) and (access is None or not access.verbs):
        yield CHECK.skip("this container was given no RDMA device: those in /sys are its host's")
    else:
        yield from judge(ports)


def judge(ports: tuple[RdmaPort, ...]) -> Iterator[Finding]:
    """Ports without a subnet manager, ports slower than their peers, else a pass that says what is down."""
    waiting = [p for p in ports if p.link_layer == "InfiniBand" and p.state in WAITING and p.physical_state == "LinkUp"]
    slow = slower_than_peers(ports)
    if waiting:
        yield CHECK.finding(
            Status.WARN,
            f"{listed(waiting)} has a link and waits for a subnet manager (state {waiting[0].state})",
            subject=sorted({p.device for p in waiting}),
            detail="A port gets from INIT to ACTIVE when a subnet manager of the fabric has configured it.",
            evidence=[e for p in waiting for e in p.evidence],
            remedy=REMEDY_MANAGER,
        )
    if slow:
        rates = ", ".join(sorted({f"{p.rate_gb_per_s:g}" for p in slow}))
        yield CHECK.finding(
            Status.WARN,
            f"{listed(slow)} runs at {rates} Gb/s, slower than the other ports of its kind ({usual(ports, slow[0]):g} Gb/s)",
            subject=sorted({p.device for p in slow}),
            detail="A collective over all of them runs at the pace of the slowest.",
            evidence=[e for p in slow for e in p.evidence],
            remedy=REMEDY_RATE,
        )
    if waiting or slow:
        return
    active = [p for p in ports if p.state == "ACTIVE"]
    down = [p for p in ports if p.state != "ACTIVE"]
    note = f"Not active: {listed(down)}. That is a fault only if a cable should be there." if down else ""
    yield CHECK.finding(
        Status.PASS,
        f"{len(active)} of {len(ports)} RDMA ports are active, none slower than its peers",
        subject=sorted({p.device for p in active or ports}),
        detail=note,
        evidence=[e for p in ports[:16] for e in p.evidence],
        severity=Severity.LOW,
    )


def kind(port: RdmaPort) -> tuple[str, str]:
    """Ports of one kind are of one type of device and one link layer."""
    return port.device_type, port.link_layer


def usual(ports: tuple[RdmaPort, ...], port: RdmaPort) -> float:
    """The rate that most active ports of its kind have; the higher one where two are as frequent."""
    rates = [
        p.rate_gb_per_s for p in ports if kind(p) == kind(port) and p.state == "ACTIVE" and p.rate_gb_per_s is not None
    ]
    return max(rates, key=lambda rate: (rates.count(rate), rate), default=0.0)


def slower_than_peers(ports: tuple[RdmaPort, ...]) -> list[RdmaPort]:
    """Active ports below the rate that at least PEERS others of their kind have."""
    active = [p for p in ports if p.state == "ACTIVE" and p.rate_gb_per_s is not None and p.device_type]
    found = []
    for port in active:
        rate = usual(ports, port)
        peers = [p for p in active if kind(p) == kind(port) and p.rate_gb_per_s == rate]
        if port.rate_gb_per_s is not None and port.rate_gb_per_s < rate and len(peers) >= PEERS:
            found.append(port)
    return found


def listed(ports: list[RdmaPort]) -> str:
    """`mlx5_0 port 1, mlx5_3 port 1`."""
    return ", ".join(f"{p.name} port {p.port}" for p in ports[:6]) + (" …" if len(ports) > 6 else "")


REMEDY_MANAGER = (
    "See that a subnet manager runs on the fabric (`sminfo` as root names it; on a switch, or `opensm` on one node), then that the"
    " port becomes ACTIVE. Two machines that are connected by a cable alone need opensm on one of them."
)
REMEDY_RATE = (
    "Compare cable, switch port and firmware of the slow port with a fast one (`ibstat`, `mlxlink -d DEVICE`); exchange the cable"
    " or transceiver, then reset the port."
)

CHECK = Check(
    id="IB-LINK",
    title="RDMA link not in use or slow",
    explanation="""\
A collective over several InfiniBand or RoCE ports is as fast as the slowest, and a port that no subnet manager has configured is
not used at all.

infra-doctor reads state, physical state and rate of each port in `/sys/class/infiniband`. It warns of an InfiniBand port that has
a link and stays in INIT or ARMED, and of an active port below the rate that three or more others of the same type of card have.
Ports that are down are only mentioned: whether a cable should be there is not visible. A container that was given no verbs device
sees its host's ports and is not judged.""",
    remediation=REMEDY_MANAGER + " " + REMEDY_RATE,
    sources=(
        "https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting/networking_troubleshooting.html",
        "https://github.com/NVIDIA/nccl/issues/905",
        "https://github.com/ROCm/rccl/issues/1423",
    ),
    run=run,
    severity=Severity.MEDIUM,
    log_signatures=(
        LogSignature(
            pattern=r"NET/IB\w? ?: ?Got completion [^\n]{0,160}vendor err \d",
            source="https://github.com/NVIDIA/nccl/issues/1405",
            strength=2,
        ),
        LogSignature(
            pattern=r"NET/IB ?: [^\n]{0,40}Got async event ?: port error",
            source="https://github.com/NVIDIA/nccl/issues/905",
            strength=3,
        ),
        LogSignature(
            pattern=r"NET/IB ?: Got completion from peer[^\n]{0,80}(?:error 12|status=12)",
            source="https://github.com/Lightning-AI/lit-llama/issues/380",
        ),
        LogSignature(
            pattern=r"NCCL WARN Call to ibv_modify_qp failed",
            source="https://github.com/NVIDIA/nccl/issues/799",
        ),
    ),
    tags=("rdma",),
)

CHECKS = (CHECK,)
