"""ASCEND-HEALTH: an NPU reports a fault, memory errors, or a temperature above its alarm.

Rests on what each chip says by DCMI or npu-smi: its health, its fault codes, its ECC counters. What a code means, and what is
to be done, is in a table of the vendor's device plug-in; a code that is not in it stays unknown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Confidence,
    Evidence,
    EvidenceKind,
    Finding,
    LogSignature,
    Severity,
    Status,
    counted,
)
from infra_doctor_probes.detect.ascend import npu_name, was_found
from infra_doctor_probes.tables.acl_codes import signatures, table

if TYPE_CHECKING:
    from infra_doctor_probes.ascend.state import EccCounts, NpuState

TABLE = "ascend_fault_codes"
KNOWLEDGE = (
    "https://github.com/Ascend/mind-cluster/blob/22bb3d987bc0/component/ascend-faultdiag/src/ascend_fd/configuration/"
    "kg-config.json"
)
# The vendor's own thresholds: a job is to be repeated from 16 isolated rows on, the chip goes back at 64; HBM alarms at 95 °C.
ROWS_WARN, ROWS_FAIL, HBM_ALARM_C = 16, 64, 95
WORSE = ("Warning", "Alarm", "Critical")
# DCMI could not talk to the chip; other codes (not supported, no permission, in a container) say nothing of it.
CHIP_DOES_NOT_ANSWER = {-8005, -8006, -8008, -8009, -8010, -8011, -8012}
HANDLING = {
    "none": "needs no action", "observe": "is to be watched", "repeat-request": "repeat the request",
    "restart-job": "restart the job", "reset-when-idle": "reset the NPU when it is idle", "reset": "reset the NPU",
    "take-out-after-job": "take the NPU out of use after the job", "take-out": "take the NPU out of use",
}  # fmt: skip
GRAVE = {"reset", "take-out-after-job", "take-out"}


def run(context: CheckContext) -> Iterator[Finding]:
    """A finding for each NPU that reports something, a `pass` for the others together."""
    if not was_found(context) or not context.by_kind("npu"):
        yield CHECK.skip("no Ascend NPU shows here")
        return
    from infra_doctor_probes.ascend.state import NpuState

    states = context.facts(NpuState)
    if not states:
        yield CHECK.finding(
            Status.UNKNOWN, "the health of the NPUs could not be asked",
            subject=tuple(n.key for n in context.by_kind("npu")),
            detail="Neither DCMI nor npu-smi answered here, or this form of machine cannot ask them.",
            evidence=tuple(e for n in context.by_kind("npu")[:2] for e in n.evidence[:1]), severity=Severity.LOW,
        )  # fmt: skip
        return
    told = [(state, list(judge(context, state))) for state in states]
    for _, findings in told:
        yield from findings
    well = [s for s, findings in told if not findings]
    if well:
        shown = ", ".join(dict.fromkeys(f"{s.source} says {s.reading.health}" for s in well))
        yield CHECK.finding(
            Status.PASS, f"{counted(len(well), 'NPU')} in good health ({shown})", subject=tuple(s.npu for s in well),
            evidence=dict.fromkeys(e for s in well for e in s.evidence), severity=Severity.LOW,
        )  # fmt: skip


def judge(context: CheckContext, state: NpuState) -> Iterator[Finding]:
    """The findings of one NPU: its own word, then what its counters say beyond it."""
    health = state.reading.health
    if health in WORSE:
        yield reported(context, state)
    elif health != "OK":
        yield not_said(context, state)
    yield from memory(context, state)
    temperature = state.reading.hbm_temperature_c
    if temperature is not None and temperature > HBM_ALARM_C:
        yield CHECK.finding(
            Status.WARN, f"the HBM of {npu_name(context, state.npu)} is at {temperature} °C", subject=(state.npu,),
            detail=f"The chip raises an alarm above {HBM_ALARM_C} °C (fault 80E00209).", evidence=state.evidence,
            confidence=Confidence.DERIVED, severity=Severity.HIGH,
            remedy="Lower the load, then see to the cooling: fans, air baffles, dust, room.",
        )  # fmt: skip


def reported(context: CheckContext, state: NpuState) -> Finding:
    """The chip's own word, with its fault codes."""
    health = state.reading.health or ""
    codes = [described(code) for code in state.reading.fault_codes or ()]
    said = "; ".join(text for text, _ in codes) or "It names no fault code, or they could not be read."
    grave = any(handling in GRAVE for _, handling in codes)
    return CHECK.finding(
        Status.FAIL if health == "Critical" else Status.WARN,
        f"{npu_name(context, state.npu)} reports its health as {health}",
        subject=(state.npu,),
        detail=said,
        confidence=Confidence.DERIVED,
        evidence=(*state.evidence, *code_evidence(state)),
        severity=Severity.CRITICAL if health == "Critical" else Severity.HIGH if health == "Alarm" or grave else None,
        remedy=REMEDY,
    )


def described(code: str) -> tuple[str, str]:
    """What a code means, and how the vendor's plug-in handles it ("" for one that it does not name)."""
    from infra_doctor_probes.tables.common import first_row

    row = first_row(TABLE, code=code)
    if row is None:
        return f"{code}: not in the table of known faults", ""
    meaning = f"{row['meaning']}; " if row["meaning"] else ""
    return f"{code}: {meaning}{HANDLING[row['handling']]}", row["handling"]


def code_evidence(state: NpuState) -> tuple[Evidence, ...]:
    """The codes, as they were read."""
    codes = state.reading.fault_codes
    if not codes:
        return ()
    return (Evidence(kind=EvidenceKind.DERIVED, source=f"fault codes by {state.source}", text=" ".join(codes)[:300]),)


def not_said(context: CheckContext, state: NpuState) -> Finding:
    """A health that is not there: DCMI's code tells whether the chip or the permission is at fault."""
    code = state.reading.health_error
    if code in CHIP_DOES_NOT_ANSWER:
        return CHECK.finding(
            Status.WARN, f"{npu_name(context, state.npu)} is listed and does not say its health (DCMI {code})",
            subject=(state.npu,),
            detail="DCMI lists the chip and cannot talk to it. A device plug-in that was set up for another kind of card gets"
            " this too, and so does a chip whose firmware hangs.",
            evidence=state.evidence, confidence=Confidence.DERIVED,
            remedy="Run `npu-smi info` on the host. Where it shows the card as OK, set the device plug-in to this kind of"
            " card; where it fails as well, collect the logs of the driver and reset the NPU.",
        )  # fmt: skip
    said = state.reading.health or ("nothing" if code is None else f"nothing (DCMI {code})")
    return CHECK.finding(
        Status.UNKNOWN, f"the health of {npu_name(context, state.npu)} is not known", subject=(state.npu,),
        detail=f"{state.source} says {said}.", evidence=state.evidence, severity=Severity.LOW,
    )  # fmt: skip


def memory(context: CheckContext, state: NpuState) -> Iterator[Finding]:
    """Multi-bit errors, by the vendor's thresholds for isolated rows, and rows that wait for a reset."""
    for counts in state.reading.ecc:
        isolated = counts.double_bit_isolated_pages or 0
        waiting = counts.double_bit_pages_to_isolate or 0
        errors = counts.double_bit_count or 0
        if not (isolated >= ROWS_WARN or waiting or errors):
            continue
        worn = isolated >= ROWS_FAIL
        what = f"{isolated} rows isolated" if isolated >= ROWS_WARN else f"{errors} multi-bit ECC errors"
        if waiting:
            what += f", {waiting} waiting for a reset"
        yield CHECK.finding(
            Status.FAIL if worn else Status.WARN,
            f"{counts.memory} of {npu_name(context, state.npu)}: {what}",
            subject=(state.npu,),
            detail=f"The vendor's tools advise to repeat the job from {ROWS_WARN} isolated rows on and to send the chip in at"
            f" {ROWS_FAIL}. A multi-bit error ends the process that met it.",
            evidence=(*state.evidence, counted_evidence(state, counts)),
            confidence=Confidence.DERIVED,
            severity=Severity.CRITICAL if worn else Severity.HIGH,
            remedy="Have the card replaced; keep jobs off it until then." if worn else MEMORY_REMEDY,
        )


def counted_evidence(state: NpuState, counts: EccCounts) -> Evidence:
    """The counters as they were read."""
    from infra_doctor_probes.ascend.state import COUNTERS

    shown = ", ".join(
        f"{name.replace('_', ' ')} {value}" for name in COUNTERS if isinstance(value := getattr(counts, name), int)
    )
    return Evidence(kind=EvidenceKind.DERIVED, source=f"{counts.memory} counters by {state.source}", text=shown[:300])


MEMORY_REMEDY = (
    "End the jobs on this NPU and reset it, so that the rows are taken out of use; then run the job again. Watch whether the"
    " count grows."
)
REMEDY = (
    "Look the codes up in the health management fault definition of the driver's version. Keep new jobs off this NPU, save the"
    " driver's logs (msnpureport), then do what the fault asks for: repeat the job, reset the NPU, or have the card replaced."
)

CHECK = Check(
    id="ASCEND-HEALTH",
    title="An NPU reports a fault or memory errors",
    explanation=f"""\
Each NPU watches itself and says OK, Warning, Alarm or Critical, with codes for the faults that are present. Jobs on a faulty
one end with errors of the runtime that do not name the hardware:

{table("ASCEND-HEALTH")}

Memory errors are corrected (single-bit) or end the process (multi-bit); the chip takes the row out of use at the next reset.
A few isolated rows are repaired memory and are not reported here: the vendor's own thresholds are 16 and 64.

Health that cannot be asked is *unknown*, never good. There is no published limit for the temperature of the core, which the
chip watches itself (it then reports a fault); for HBM it is 95 °C.

*Proven on captures of Ascend machines and on described ones, not on an Ascend machine.*""",
    remediation=REMEDY,
    sources=(
        KNOWLEDGE,
        "https://github.com/Ascend/mind-cluster/blob/22bb3d987bc0/component/ascend-device-plugin/build/faultCode.json",
        "https://github.com/Project-HAMi/ascend-device-plugin/issues/9",
    ),
    run=run,
    severity=Severity.MEDIUM,
    log_signatures=(
        LogSignature(
            pattern=r"failed to get device health ?:\s?ret code: ?-80\d\d",
            source="https://github.com/Project-HAMi/ascend-device-plugin/issues/9",
            strength=3,
        ),
        LogSignature(pattern=r"\bEvent id=0x80[eE][0-9a-fA-F]{5}\b", source=KNOWLEDGE, strength=3),
        LogSignature(
            pattern=r"(?:HBM|DDR)[^\n]{0,40}\b(?:multi|double)[- ]?bit[^\n]{0,10} (?:ECC )?error",
            source=KNOWLEDGE,
            strength=3,
        ),
        LogSignature(
            pattern=r"HBM MULTI BIT ECC ERROR|(?:NPU function error: |get )UCE ERROR",
            source="https://github.com/Ascend/pytorch/blob/9e73e708ab93/torch_npu/csrc/core/npu/NPUQueue.cpp",
            strength=3,
        ),
        LogSignature(
            pattern=r"Health Status[ \t]{1,40}: (?:Warning|Alarm|Critical)\b",
            source="https://github.com/Ascend/mind-cluster/blob/22bb3d987bc0/docs/en/faultdiag/user_guide/03_collecting_logs.md",
            strength=3,
        ),
        *signatures("ASCEND-HEALTH"),
    ),
    tags=("ascend", "hardware"),
)

CHECKS = (CHECK,)
