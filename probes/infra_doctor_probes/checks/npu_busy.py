"""NPU-BUSY: the memory of an NPU is taken, by processes that are listed or that nobody sees.

Rests on the memory and the processes that DCMI or npu-smi show. A busy NPU is no fault: it is reported as one only where the
memory is held and no process is there on the host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from infra_doctor.plugin import Check, CheckContext, Confidence, Finding, LogSignature, Severity, Status, counted
from infra_doctor_probes.detect.ascend import npu_name, was_found
from infra_doctor_probes.detect.system import Container
from infra_doctor_probes.tables.acl_codes import signatures, table

if TYPE_CHECKING:
    from infra_doctor_probes.ascend.state import NpuState

NEARLY_FULL = 0.9
# An idle 910 shows 3 to 4 GB in use, a 310 up to a third of its memory: what the device itself needs.
HELD = 0.5


def run(context: CheckContext) -> Iterator[Finding]:
    """A finding for each NPU whose memory is taken."""
    if not was_found(context) or not context.by_kind("npu"):
        yield CHECK.skip("no Ascend NPU shows here")
        return
    from infra_doctor_probes.ascend.state import NpuState

    known = [s for s in context.facts(NpuState) if s.reading.memory_bytes and s.reading.memory_used_bytes is not None]
    if not known:
        yield CHECK.finding(
            Status.UNKNOWN, "how much of the NPUs' memory is in use could not be asked",
            subject=tuple(n.key for n in context.by_kind("npu")), severity=Severity.LOW,
        )  # fmt: skip
        return
    found = [f for state in known for f in judge(context, state)]
    yield from found
    if not found:
        yield CHECK.finding(
            Status.PASS, f"{counted(len(known), 'NPU')} with free memory", subject=tuple(s.npu for s in known),
            evidence=dict.fromkeys(e for s in known for e in s.evidence), severity=Severity.LOW,
        )  # fmt: skip


def judge(context: CheckContext, state: NpuState) -> Iterator[Finding]:
    """The finding of one NPU."""
    reading = state.reading
    share = (reading.memory_used_bytes or 0) / (reading.memory_bytes or 1)
    processes = reading.processes or ()
    nobody = reading.processes is not None and not processes and context.fact(Container) is None
    amount = f"{share:.0%} of the memory of {npu_name(context, state.npu)} is in use"
    if share >= HELD and nobody:
        yield CHECK.finding(
            Status.WARN, f"{amount} and no process is there", subject=(state.npu,),
            detail="A process that was killed while it held the device, or one in a container that the driver does not show.",
            evidence=state.evidence, confidence=Confidence.DERIVED,
            remedy="Look for remains with `fuser -v /dev/davinci*` as root and end them; else reset the NPU when all its jobs"
            " have ended.",
        )  # fmt: skip
    elif share >= NEARLY_FULL:
        by = f" by {counted(len(processes), 'process', 'processes')}" if processes else ""
        yield CHECK.finding(
            Status.UNKNOWN, f"{amount}{by}", subject=(state.npu,),
            detail="Whether that is meant cannot be told; another program finds no room there. A container does not see the"
            " processes outside it.",
            evidence=state.evidence, severity=Severity.LOW,
        )  # fmt: skip


CHECK = Check(
    id="NPU-BUSY",
    title="An NPU's memory or HCCL's port is taken",
    explanation=f"""\
*NPU out of memory* and *Failed to bind the IP port* are seldom a fault of the stack: another job, or the remains of the last
one, holds the memory or the port (HCCL listens on 60000 and the next numbers of the host, and on 16666 of each NPU's own port).

{table("NPU-BUSY")}

Memory that is in use by a process is how it should be, so a busy NPU is *unknown* here, not a warning. Memory without a process,
looked at on the host, is one. In a container the processes outside are not shown: 29 GB in use and *No running processes* is
normal there. Ports are not looked at.

*Proven on captures of Ascend machines and on described ones, not on an Ascend machine.*""",
    remediation="See with `npu-smi info` which processes hold the NPU, end what is left over, or use another NPU"
    " (ASCEND_RT_VISIBLE_DEVICES). For the port, set HCCL_IF_BASE_PORT (host) or HCCL_NPU_SOCKET_PORT_RANGE (NPU) per job.",
    sources=(
        "https://github.com/vllm-project/vllm-ascend/issues/1127",
        "https://github.com/vllm-project/vllm-ascend/issues/405",
        "https://github.com/vllm-project/vllm-ascend/issues/11968",
    ),
    run=run,
    severity=Severity.MEDIUM,
    log_signatures=(
        LogSignature(
            pattern=r"Free memory on device \([\d.]{1,6}/[\d.]{1,6} GiB\) on startup is less than desired",
            source="https://github.com/vllm-project/vllm-ascend/issues/14628",
            strength=2,
        ),
        LogSignature(
            pattern=r"NPU out of memory\b", source="https://github.com/vllm-project/vllm-ascend/issues/1127", strength=3
        ),
        LogSignature(
            pattern=r"Failed to bind the IP port\b",
            source="https://github.com/vllm-project/vllm-ascend/issues/405",
            strength=3,
        ),
        LogSignature(
            pattern=r"listen on ip\[[^\]\n]{1,60}\] and (?:specific )?port\[\d{1,6}\] fail",
            source="https://github.com/vllm-project/vllm-ascend/issues/1955",
            strength=3,
        ),
        LogSignature(
            pattern=r"nic listen start failed, port\[\d{1,6}\]",
            source="https://github.com/vllm-project/vllm-ascend/issues/405",
            strength=3,
        ),
        *signatures("NPU-BUSY"),
    ),
    tags=("ascend",),
)

CHECKS = (CHECK,)
