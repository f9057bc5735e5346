"""ASCEND-CTR: a container lacks device nodes or mounts that a process needs to use an NPU.

Rests on the nodes under /dev, on the host's NPUs that show on the bus, and on how DCMI and npu-smi answered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from infra_doctor.plugin import Check, CheckContext, Confidence, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.ascend import was_found
from infra_doctor_probes.detect.system import Container
from infra_doctor_probes.tables.acl_codes import signatures, table

if TYPE_CHECKING:
    from infra_doctor_probes.ascend.npu import AscendDeviceNodes, AscendNpusNotGiven

# dcmi error codes that containers give: no privileges, not supported in containers, held elsewhere.
CONTAINER_CODES = {-8005, -8013, -8020}


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding."""
    if not was_found(context):
        yield CHECK.skip("no Ascend NPU shows here")
        return
    from infra_doctor_probes.ascend.npu import AscendDeviceNodes, AscendNpusNotGiven

    container = context.fact(Container)
    nodes = context.fact(AscendDeviceNodes)
    aside = context.facts(AscendNpusNotGiven)
    if container is None:
        yield CHECK.skip("this is no container")
    elif nodes is None and not aside:
        yield CHECK.skip("no Ascend NPU shows in this container")
    elif nodes is None or not nodes.npus:
        yield not_given(context, aside)
    else:
        yield judge(context, nodes)


def not_given(context: CheckContext, aside: tuple[AscendNpusNotGiven, ...]) -> Finding:
    """The host has NPUs and this container none: a fault only where something here wants one."""
    from infra_doctor_probes.ascend.environment import AscendEnvironment

    environment = context.fact(AscendEnvironment)
    wish = environment.value("ASCEND_VISIBLE_DEVICES") if environment is not None else None
    wants = [*context.by_kind("cann"), *(w for w in context.by_kind("wheel") if w.name == "torch-npu")]
    asked = wish is not None and wish.lower() not in {"", "void", "none"}
    if not wants and not asked:
        return CHECK.skip("this container was given no NPU, and nothing in it wants one")
    evidence = tuple(e for a in aside for e in a.evidence)
    return CHECK.finding(
        Status.WARN,
        "this container was given no NPU: there is no /dev/davinci node",
        subject=tuple(w.key for w in wants),
        detail="Its host has NPUs on the bus, and CANN or torch_npu is installed here."
        + (f" ASCEND_VISIBLE_DEVICES={wish} is set, so Ascend's container runtime was not in use." if asked else ""),
        evidence=(*evidence, *(e for w in wants[:2] for e in w.evidence[:1])),
        confidence=Confidence.DERIVED,
        severity=Severity.MEDIUM,
        remedy=REMEDY,
    )


def judge(context: CheckContext, nodes: AscendDeviceNodes) -> Finding:
    """NPU nodes are here: whether they can be used."""
    from infra_doctor_probes.ascend.session import AscendSession

    sessions = context.facts(AscendSession)
    evidence = (*nodes.evidence, *(e for s in sessions for e in s.evidence))
    subject = tuple(n.key for n in context.by_kind("npu"))
    if any(not s.error for s in sessions):
        return CHECK.finding(
            Status.PASS, f"{len(nodes.npus)} NPU nodes are in this container, and they answer", subject=subject,
            evidence=evidence, confidence=Confidence.DERIVED, severity=Severity.LOW,
        )  # fmt: skip
    if nodes.missing:
        return CHECK.finding(
            Status.FAIL,
            f"this container has NPU nodes and lacks {', '.join(nodes.missing)}",
            subject=subject,
            detail="; ".join(f"{s.tool}: {s.error}" for s in sessions) or "Nothing here could ask the NPUs.",
            evidence=evidence,
            confidence=Confidence.DERIVED,
            remedy=f"Start the container with {' '.join('--device ' + n for n in nodes.missing)} as well. {REMEDY}",
        )
    if any(s.error_code in CONTAINER_CODES for s in sessions):
        return CHECK.finding(
            Status.WARN,
            "the NPUs of this container do not answer",
            subject=subject,
            detail="; ".join(f"{s.tool}: {s.error}" for s in sessions)
            + ". Containers get this without the driver's mounts, or while another container holds the device.",
            evidence=evidence,
            confidence=Confidence.DERIVED,
            severity=Severity.MEDIUM,
            remedy=f"See whether another container holds the device. {REMEDY}",
        )
    return CHECK.finding(
        Status.UNKNOWN, "NPU nodes are in this container; whether they work could not be asked", subject=subject,
        detail="; ".join(f"{s.tool}: {s.error}" for s in sessions), evidence=evidence, severity=Severity.LOW,
    )  # fmt: skip


REMEDY = (
    "A container needs --device /dev/davinciN for each NPU, /dev/davinci_manager, /dev/devmm_svm and /dev/hisi_hdc, and the"
    " host's /usr/local/dcmi, /usr/local/bin/npu-smi, /usr/local/Ascend/driver/lib64, driver/version.info and"
    " /etc/ascend_install.info mounted; Ascend's container runtime does it for ASCEND_VISIBLE_DEVICES."
)

CHECK = Check(
    id="ASCEND-CTR",
    title="NPU nodes or mounts missing in the container",
    explanation=f"""\
An NPU reaches a container by device nodes, one per NPU and three for the driver, and by files of the host's driver. Without the
nodes nothing is found; without the mounts npu-smi and CANN miss their libraries; with a device that another container holds,
DCMI answers -8020, without privileges often -8005.

The bus (`/sys`) shows all NPUs of the host in every container: those without a node are not this container's and are not
counted.

{table("ASCEND-CTR")}

*Proven on captures of Ascend machines and on described ones, not on an Ascend machine.*""",
    remediation=REMEDY,
    sources=(
        "https://docs.vllm.ai/projects/ascend/en/latest/installation.html",
        "https://github.com/Ascend/cann-container-image/issues/46",
        "https://github.com/vllm-project/vllm-ascend/issues/2698",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"dcmi mod(?:ule|el) initialized? failed[^\n]{0,60}\bret is -80(?:05|13)",
            source="https://github.com/vllm-project/vllm-ascend/issues/2698",
        ),
        LogSignature(
            pattern=r"because the device is used\. ret is -8020",
            source="https://github.com/Ascend/cann-container-image/issues/46",
            strength=3,
        ),
        LogSignature(
            pattern=r"DrvMngGetConsoleLogLevel failed",
            source="https://github.com/vllm-project/vllm-ascend/issues/2698",
            strength=1,
        ),
        LogSignature(pattern=r"Failed to initialize DCMI\b", source="https://github.com/gpustack/gpustack/issues/3284"),
        LogSignature(
            pattern=r"lib(?:ascend_hal|dcmi|drvdsmi_host)\.so: cannot open shared object file",
            source="https://github.com/vllm-project/vllm-ascend/issues/1440",
            strength=1,
        ),
        *signatures("ASCEND-CTR"),
        LogSignature(
            pattern=r"lib(?:c_sec|mmpa|devmmap|slog|drvdsmi_host|dcmi)\.so: cannot open shared object file",
            source="https://github.com/Project-HAMi/HAMi/issues/615",
        ),
    ),
    explained_by=("ASCEND-PERM",),
    tags=("ascend", "container"),
)

CHECKS = (CHECK,)
