"""CANN-DRV: CANN, the Ascend driver and its firmware do not fit each other.

Rests on the matrix rules `cann-driver` and `driver-firmware`: what the installed files accept, then published pairs."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Confidence, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.ascend import npu_name, was_found
from infra_doctor_probes.from_matrix import Rows, findings, label, subject_of
from infra_doctor_probes.tables.acl_codes import signatures, table


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per pair that does not fit, by the files and by the driver's own word."""
    yield from own_word(context)
    driver = context.component("driver:ascend")
    if driver is None:
        there = context.by_kind("cann", "nnae", "npu")
        yield CHECK.skip(
            "no Ascend driver is here to hold CANN against" if there else "no Ascend device, driver or CANN was found"
        )
        return
    rows = context.judged("cann-driver", "driver-firmware")
    if not rows:
        yield CHECK.skip("the Ascend driver is here, without CANN and without firmware files to hold it against")
        return

    def names(these: Rows) -> str:
        found = [label(context, key) for key in subject_of(these)]
        return " and ".join(n.replace("ascend", "the Ascend driver") if n.startswith("ascend") else n for n in found)

    yield from findings(
        CHECK,
        context,
        rows,
        title=lambda bad: f"{names(bad)} do not fit",
        remedy=lambda bad: FIRMWARE if any(r.rule == "driver-firmware" for r in bad) else REMEDY,
        passed=lambda good: f"{names(good)} fit",
        group=lambda row: row.rule,
    )


def own_word(context: CheckContext) -> Iterator[Finding]:
    """What npu-smi says of the driver and the firmware on the card, where it was asked."""
    if not context.by_kind("npu") or not was_found(context):
        return
    from infra_doctor_probes.ascend.state import NpuState

    for state in context.facts(NpuState):
        if state.reading.firmware_compatibility == "NOK":
            version = state.reading.firmware_version or "of unknown version"
            yield CHECK.finding(
                Status.FAIL,
                f"firmware {version} of {npu_name(context, state.npu)} and the driver do not fit, says npu-smi",
                subject=(state.npu,),
                detail="`npu-smi info -t board` prints Compatibility: NOK.",
                confidence=Confidence.DERIVED,
                evidence=state.evidence,
                remedy=FIRMWARE,
            )


REMEDY = (
    "Install the HDK (driver and firmware of one package set) that the release notes of this CANN name, on the host, then"
    " reboot; or keep the driver and use a CANN that its version.info accepts. The guides differ in which of driver and"
    " firmware comes first: follow the one of that HDK version."
)
FIRMWARE = "Install driver and firmware of one HDK, on the host, in the order that the guide of that version gives, and reboot."

CHECK = Check(
    id="CANN-DRV",
    title="CANN and driver or firmware do not match",
    explanation=f"""\
CANN's runtime talks to the kernel driver and to programs that the driver loads onto the device. A driver that is too old for a
CANN fails late and without naming a version: hangs, *error code is 561103*, 507033 with *E30006 Failed to verify the OPP*.

Driver and toolkit each carry a list, `compatible_version`, of the releases (V100R001C21) that they accept of the other; driver
and firmware do so with version ranges. One side's word is enough here: CANN 8.2.RC1 is newer than what driver 25.0.rc1.1
lists, and lists that driver itself. Where a file and a published table contradict, the answer is *unknown*.

A newer driver with an older CANN is normally fine; the reverse is not.

{table("CANN-DRV")}

*Proven on captures of Ascend machines and on described ones, not on an Ascend machine.*""",
    remediation=REMEDY,
    sources=(
        "https://github.com/vllm-project/vllm-ascend/issues/4859",
        "https://github.com/vllm-project/vllm-ascend/issues/4284",
        "https://github.com/vllm-project/vllm-ascend/issues/5468",
        "https://github.com/gpustack/gpustack/issues/755",
        "https://github.com/hw-native-sys/simpler/pull/784",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"Failed to verify the OPP",
            source="https://github.com/vllm-project/vllm-ascend/issues/4284",
            strength=3,
        ),
        LogSignature(
            pattern=r"CANN doesn't support driver", source="https://github.com/gpustack/gpustack/issues/755", strength=3
        ),
        LogSignature(
            pattern=r"Start aicpu executor failed, retCode=0x7020009",
            source="https://github.com/vllm-project/vllm-ascend/issues/4284",
        ),
        LogSignature(
            pattern=r"Compatibility[ \t]{1,40}: NOK\b",
            source="https://github.com/Ascend/mind-cluster/blob/22bb3d987bc0/docs/en/faultdiag/user_guide/03_collecting_logs.md",
            strength=3,
        ),
        *signatures("CANN-DRV"),
    ),
    tags=("ascend", "cann", "driver"),
)

CHECKS = (CHECK,)
