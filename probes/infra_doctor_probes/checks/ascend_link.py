"""ASCEND-LINK: the network port of an NPU is down, dark or unreachable while its peers' are not, or an NPU lost its HCCS.

Rests on hccn_tool, on DCMI's network health and on npu-smi's topology. What all NPUs of a machine have in common (no cable at
all) is how it was built, and no fault."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from infra_doctor.plugin import Check, CheckContext, Confidence, Finding, LogSignature, Severity, Status, counted
from infra_doctor_probes.detect.ascend import npu_name, was_found
from infra_doctor_probes.tables.acl_codes import signatures, table

if TYPE_CHECKING:
    from infra_doctor_probes.ascend.link import NpuLink

HCCN = "https://github.com/Ascend/mind-cluster/blob/22bb3d987bc0/component/ascend-common/devmanager/hccn/hccn_tool.go"
KNOWLEDGE = (
    "https://github.com/Ascend/mind-cluster/blob/22bb3d987bc0/component/ascend-faultdiag/src/ascend_fd/configuration/"
    "kg-config.json"
)
# enum dcmi_rdfx_detect_result without what says that nothing was set up (Init, Detect ip set) or that it could not look.
UNREACHABLE = {"Socket failed", "Receive timeout", "Unreachable", "Time exceeded", "Fault"}


def run(context: CheckContext) -> Iterator[Finding]:
    """Findings for ports and connections; a `pass` where they were looked at and nothing is wrong."""
    if not was_found(context) or not context.by_kind("npu"):
        yield CHECK.skip("no Ascend NPU shows here")
        return
    from infra_doctor_probes.ascend.link import NpuLink, NpuTopology

    links, topology = context.facts(NpuLink), context.fact(NpuTopology)
    found = [*ports(context, links), *addresses(context, links), *network(context, links), *hccs(context)]
    yield from found
    seen = [link for link in links if link.link is not None]
    if found:
        return
    if seen and all(link.link == "DOWN" for link in seen):
        yield CHECK.skip("no network port of an NPU has a link: they are not cabled")
    elif seen or (topology is not None and not topology.problem):
        up = sum(link.link == "UP" for link in seen)
        said = [f"{up} of {counted(len(seen), 'network port')} have a link"] if seen else []
        said += ["the NPUs are connected alike"] if topology is not None and not topology.problem else []
        evidence = (*(e for link in seen for e in link.evidence), *(topology.evidence if topology is not None else ()))
        yield CHECK.finding(
            Status.PASS, "; ".join(said), subject=tuple(link.npu for link in seen), evidence=evidence,
            confidence=Confidence.DERIVED, severity=Severity.LOW,
        )  # fmt: skip
    elif links:
        yield CHECK.finding(
            Status.UNKNOWN, "the network ports of the NPUs could not be read", subject=tuple(n.npu for n in links),
            detail="; ".join(dict.fromkeys(n.unanswered for n in links if n.unanswered)),
            evidence=tuple(e for n in links[:4] for e in n.evidence), severity=Severity.LOW,
        )  # fmt: skip
    else:
        yield CHECK.skip("hccn_tool is not here, or the NPUs have no network ports of their own")


def ports(context: CheckContext, links: tuple[NpuLink, ...]) -> Iterator[Finding]:
    """A port without link among ports that have one; light below the module's own threshold."""
    up = [link for link in links if link.link == "UP"]
    for link in links:
        if link.link == "DOWN" and up:
            why = " Its optical module is not plugged in." if link.optical_present is False else ""
            yield CHECK.finding(
                Status.WARN, f"the network port of {npu_name(context, link.npu)} is down", subject=(link.npu,),
                detail=f"{len(up)} of {len(links)} ports here have a link.{why} HCCL between machines uses all of them.",
                confidence=Confidence.DERIVED, evidence=(*link.evidence, *up[0].evidence), severity=Severity.HIGH, remedy=REMEDY,
            )  # fmt: skip
        elif link.lanes_below and link.optical_present:
            yield CHECK.finding(
                Status.WARN, f"the optical module of {npu_name(context, link.npu)} has too little light",
                subject=(link.npu,), detail=f"Below its own threshold: {', '.join(link.lanes_below)}.",
                confidence=Confidence.DERIVED, evidence=link.evidence, severity=Severity.MEDIUM,
                remedy="Clean or swap the fibre, then the module; compare with the power that the switch sends.",
            )  # fmt: skip


def addresses(context: CheckContext, links: tuple[NpuLink, ...]) -> Iterator[Finding]:
    """A port with a link and without an address, among ports that have one."""
    if not any(link.has_address for link in links):
        return
    for link in links:
        if link.link == "UP" and link.has_address is False:
            yield CHECK.finding(
                Status.WARN, f"the network port of {npu_name(context, link.npu)} has no IP address", subject=(link.npu,),
                detail="The other ports have one. HCCL needs one on each.", confidence=Confidence.DERIVED, evidence=link.evidence,
                severity=Severity.HIGH, remedy="Set it as those of the others: `hccn_tool -i N -ip -s address … netmask …`.",
            )  # fmt: skip


def network(context: CheckContext, links: tuple[NpuLink, ...]) -> Iterator[Finding]:
    """The NPU's own detection of its network fails on a port that has a link, or among ports where it succeeds."""
    from infra_doctor_probes.ascend.state import NpuState

    by_npu = {link.npu: link for link in links}
    health = {link.npu: link.net_health for link in links if link.net_health}
    states = {s.npu: s for s in context.facts(NpuState) if s.reading.network_health}
    for npu, state in states.items():
        health.setdefault(npu, state.reading.network_health or "")
    good = any(said == "Success" for said in health.values())
    for npu, said in health.items():
        link = by_npu.get(npu)
        has_link = link is not None and link.link == "UP"
        is_down = link is not None and link.link == "DOWN"
        if said not in UNREACHABLE or is_down or not (has_link or good):
            continue
        evidence = link.evidence if link is not None else states[npu].evidence
        yield CHECK.finding(
            Status.WARN, f"{npu_name(context, npu)} does not reach its network: {said}", subject=(npu,),
            detail="Each NPU pings an address that was set for it (netdetect); this one gets no answer.",
            confidence=Confidence.DERIVED, evidence=evidence, severity=Severity.MEDIUM,
            remedy="See that the address it detects (`hccn_tool -i N -netdetect -g`) and its gateway answer:"
            " `hccn_tool -i N -ping -g address …`; then VLAN and MTU of the switch port.",
        )  # fmt: skip


def hccs(context: CheckContext) -> Iterator[Finding]:
    """An NPU without HCCS among NPUs that have it."""
    from infra_doctor_probes.ascend.link import NpuTopology

    topology = context.fact(NpuTopology)
    if topology is not None and topology.without_hccs:
        yield CHECK.finding(
            Status.WARN, f"{', '.join(topology.without_hccs)}: no HCCS connection, while the other NPUs have one",
            subject=tuple(n.key for n in context.by_kind("npu")),
            detail="Traffic between it and the others goes over PCIe and the processors.", evidence=topology.evidence,
            confidence=Confidence.DERIVED, severity=Severity.HIGH,
            remedy="Save the driver's logs (msnpureport), then restart the machine; if it stays, have the board looked at.",
        )  # fmt: skip


REMEDY = (
    "See that cable and module sit (`hccn_tool -i N -optical -g`), that the switch port is up with the same FEC"
    " (`hccn_tool -i N -fec -g`), and since when the link is gone (`hccn_tool -i N -link_stat -g`)."
)

CHECK = Check(
    id="ASCEND-LINK",
    title="An NPU's network port or HCCS is down",
    explanation=f"""\
NPUs of the 910 family reach other machines through a network port of their own each, and each other through HCCS. A port that
is down is seen only by jobs on several machines, as a timeout on the *other* ranks:

{table("ASCEND-LINK")}

Those codes are symptoms too: a rank that crashed, ranks that start minutes apart or different TLS settings end the same way.

Ports are compared with their peers: where none has a link, none is cabled, and nothing is reported. A missing optical module
is no fault on a port that has a link (copper cables have none). A network health of *Init* means that no address to detect was
set up. In a container without hccn_tool nothing can be said.

*Proven on captures of Ascend machines and on described ones, not on an Ascend machine.*""",
    remediation=REMEDY,
    sources=(
        HCCN,
        "https://github.com/Ascend/mind-cluster/blob/22bb3d987bc0/docs/en/faultdiag/user_guide/03_collecting_logs.md",
        "https://github.com/vllm-project/vllm-ascend/issues/1815",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"The network port is down",
            source="https://github.com/vllm-project/vllm-ascend/issues/1815",
            strength=3,
        ),
        LogSignature(
            pattern=r"Getting socket times out",
            source="https://github.com/hiyouga/LlamaFactory/issues/5071",
        ),
        LogSignature(
            pattern=r"wait socket establish timeout",
            source="https://github.com/vllm-project/vllm-ascend/issues/1955",
        ),
        LogSignature(
            pattern=r"ra hdc message process failed ret\(-67\)",
            source=KNOWLEDGE,
            strength=3,
        ),
        LogSignature(
            pattern=r"(?:HCCS|UB) LINK ERROR",
            source="https://github.com/Ascend/pytorch/blob/9e73e708ab93/torch_npu/csrc/core/npu/NPUQueue.cpp",
            strength=3,
        ),
        LogSignature(
            pattern=r"The wait execution of the Notify register times out",
            source=KNOWLEDGE,
            strength=1,
        ),
        *signatures("ASCEND-LINK"),
    ),
    tags=("ascend", "network"),
)

CHECKS = (CHECK,)
