"""ASCEND-PERM: this user may not open the nodes of the NPUs.

Rests on opening them, as any program that uses an NPU does: EACCES is the file's mode, EPERM the container's device rules."""

from __future__ import annotations

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Confidence, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.ascend import FRAMEWORKS, was_found
from infra_doctor_probes.detect.system import Container
from infra_doctor_probes.tables.acl_codes import signatures, table


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding."""
    if not was_found(context):
        yield CHECK.skip("no Ascend NPU shows here")
        return
    from infra_doctor_probes.ascend.npu import AscendAccess

    access = context.fact(AscendAccess)
    if access is None:
        yield CHECK.skip("there is no NPU node here, or this form of machine cannot open one")
        return
    denied = [(path, error) for path, error in access.nodes if error in {"EACCES", "EPERM"}]
    subject = tuple(n.key for n in context.by_kind("npu"))
    if not denied:
        other = [f"{path}: {error}" for path, error in access.nodes if error]
        status = Status.UNKNOWN if other else Status.PASS
        title = f"NPU nodes did not open: {', '.join(other)}" if other else "this user may open the NPU nodes"
        yield CHECK.finding(
            status,
            title,
            subject=subject,
            confidence=Confidence.DERIVED,
            evidence=access.evidence,
            severity=Severity.LOW,
        )
        return
    by_rules = all(error == "EPERM" for _, error in denied)
    container = context.fact(Container) is not None
    wanted = context.by_kind("cann") or any(w.name in FRAMEWORKS for w in context.by_kind("wheel"))
    yield CHECK.finding(
        Status.FAIL if wanted else Status.WARN,
        f"this user may not open {', '.join(path for path, _ in denied)} ({denied[0][1]})",
        subject=subject,
        detail="The device rules of this container's cgroup refuse it, whatever the file's mode says." if by_rules
        else f"The nodes belong to the group {access.group}; neither this user nor its capabilities reach them.",
        confidence=Confidence.DERIVED, evidence=access.evidence,
        remedy=RULES_REMEDY if by_rules else container_remedy(access.group) if container else host_remedy(access.group),
    )  # fmt: skip


def host_remedy(group: str) -> str:
    """On a host."""
    return f"Add the user to the group {group} (as root: `usermod -a -G {group} USER`) and log in again."


def container_remedy(group: str) -> str:
    """In a container, where groups are numbers of the host."""
    return (
        f"Start the container with the host's group {group} (`--group-add $(getent group {group} | cut -d: -f3)`), or as the"
        " user that owns the nodes (1000 by default). A container that runs as root and drops all capabilities needs"
        " CAP_DAC_OVERRIDE."
    )


RULES_REMEDY = (
    "Start the container with --device for /dev/davinciN, /dev/davinci_manager, /dev/devmm_svm and /dev/hisi_hdc: a bind mount of"
    " /dev alone does not allow it. Under Kubernetes the device plug-in does it."
)

CHECK = Check(
    id="ASCEND-PERM",
    title="No permission to open the NPUs",
    explanation=f"""\
The driver makes its nodes with mode 0660 for the user and group HwHiAiUser (1000 by default), unlike NVIDIA's 0666. Any other
user, root without capabilities included, sees them and cannot open them: *Can't get ascend_hal device count*, no device in
torch_npu, `npu-smi` with -8005, though every file is in place.

Tried on one NPU and the managers, by opening and closing them.

{table("ASCEND-PERM")}

*Proven on captures of Ascend machines and on described ones, not on an Ascend machine.*""",
    remediation=host_remedy("HwHiAiUser"),
    sources=(
        "https://github.com/vllm-project/vllm-ascend/issues/9490",
        "https://github.com/Project-HAMi/ascend-device-plugin/issues/139",
        "https://github.com/Ascend/mind-cluster/blob/22bb3d987bc0/docs/en/scheduling/developer_guide/installation_deployment/manual_installation/01_preparing_for_installation.md",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"/dev/(?:davinci\w{0,12}|devmm_svm|hisi_hdc)[^\n]{0,40}(?:Permission denied|Operation not permitted)",
            source="https://github.com/vllm-project/vllm-ascend/issues/9490",
            strength=3,
        ),
        LogSignature(
            pattern=r"Can't get ascend_hal device count",
            source="https://github.com/Project-HAMi/ascend-device-plugin/issues/139",
        ),
        LogSignature(
            pattern=r"(?:\bret(?:urn)?(?: code| is)?[:= ]{1,3}|dcmi\w{0,40} [^\n]{0,40})-8002\b",
            source="https://github.com/Ascend/mind-cluster/blob/22bb3d987bc0/component/ascend-common/devmanager/dcmi/common.go",
            strength=3,
        ),
        *signatures("ASCEND-PERM"),
    ),
    explained_by=("CTR-CGROUP",),
    tags=("ascend", "container"),
)

CHECKS = (CHECK,)
