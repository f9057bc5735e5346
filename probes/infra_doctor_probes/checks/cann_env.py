"""CANN-ENV: a framework for Ascend does not find CANN's libraries in this environment, and why.

Rests on the simulated loader: a missing library that lies below a CANN means that set_env.sh was not sourced; one that
lies nowhere means that its package is not installed (from CANN 8.5 on libhccl.so is in the ops package)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Command,
    Component,
    Confidence,
    Finding,
    LogSignature,
    Severity,
    Status,
    major_minor,
)
from infra_doctor_probes.detect.ascend import was_found
from infra_doctor_probes.tables.acl_codes import signatures, table

if TYPE_CHECKING:
    from infra_doctor_probes.ascend.environment import AscendEnvironment
    from infra_doctor_probes.ascend.frameworks import AscendFrameworkLibraries

# Libraries of the driver's lib64, not of CANN.
DRIVER_LIBRARIES = ("libascend_hal.so", "libdrvdsmi_host.so", "libdcmi.so", "libdrvdsmi.so")
OPS_HOLD_HCCL_SINCE = (8, 5)
# Libraries of CANN's toolkit and operators, as programs are linked with them.
CANN_LIBRARY = (
    r"\blib(?:hccl\w{0,12}|ascendcl|acl_\w{1,30}|ge_\w{1,30}|graph|graph_base|fmk_\w{1,20}|opapi|nnopbase|cann_kb|ascend_dump"
    r"|ascendalog|msprofiler|error_manager|runtime|tsdclient|platform|register|exe_graph|lowering|cust_opapi)\.so"
)


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per framework and reason; a `pass` for a framework that finds all."""
    if not was_found(context):
        yield CHECK.skip("no CANN and no framework that needs it was found")
        return
    from infra_doctor_probes.ascend.environment import AscendEnvironment
    from infra_doctor_probes.ascend.frameworks import AscendFrameworkLibraries

    environment = context.fact(AscendEnvironment)
    frameworks = context.facts(AscendFrameworkLibraries)
    canns = context.by_kind("cann")
    if not frameworks and not canns and not (environment and environment.astray):
        yield CHECK.skip("no CANN and no framework that needs it was found")
        return
    if environment is not None:
        yield from astray(context, environment)
    for framework in frameworks:
        yield from judge(context, framework)
    if not frameworks:
        yield CHECK.skip("nothing in the Python environments looked at loads CANN's libraries by itself")


def cann_in_use(context: CheckContext) -> Component | None:
    """The installation that a process gets, or would get."""
    canns = context.by_kind("cann")
    return next((c for c in canns if c.attributes.get("in_use")), canns[0] if canns else None)


def astray(context: CheckContext, environment: AscendEnvironment) -> Iterator[Finding]:
    """Variables that name a folder where no CANN is."""
    for name, value in environment.astray:
        cann = cann_in_use(context)
        yield CHECK.finding(
            Status.WARN,
            f"{name} names {value}, where no CANN is",
            subject=(cann.key,) if cann is not None else (),
            detail="Left over from an installation that is gone, or set by hand. Tools that trust it find nothing there.",
            evidence=environment.evidence,
            confidence=Confidence.DERIVED,
            severity=Severity.MEDIUM,
            remedy=source_text(cann),
            commands=source_command(cann),
        )


def judge(context: CheckContext, found: AscendFrameworkLibraries) -> Iterator[Finding]:
    """The findings of one framework."""
    wheel = context.component(found.wheel)
    name = f"{wheel.name} {wheel.version}" if wheel is not None else found.wheel
    cann = cann_in_use(context)
    subject = (found.wheel, cann.key) if cann is not None else (found.wheel,)
    if found.unknown:
        yield CHECK.finding(
            Status.UNKNOWN, f"{name}: what it loads of CANN cannot be told", subject=subject, detail=found.unknown,
            evidence=found.evidence, severity=Severity.LOW,
        )  # fmt: skip
        return
    if not found.missing:
        from_roots = ", ".join(k.removeprefix("cann:") for k in found.roots)
        yield CHECK.finding(
            Status.PASS, f"{name} finds its CANN libraries" + (f" in {from_roots}" if from_roots else ""),
            subject=subject, evidence=found.evidence, confidence=Confidence.DERIVED, severity=Severity.LOW,
        )  # fmt: skip
        return
    unreached = tuple((s, at) for s, _, at in found.missing if at)
    nowhere = tuple(s for s, _, at in found.missing if not at)
    if unreached:
        yield not_sourced(found, name, subject, cann, unreached)
    if nowhere:
        yield not_installed(context, found, name, subject, cann, nowhere)


def not_sourced(
    found: AscendFrameworkLibraries, name: str, subject: tuple[str, ...], cann: Component | None,
    unreached: tuple[tuple[str, str], ...],
) -> Finding:  # fmt: skip
    """The libraries are there, and the environment does not lead to them."""
    folders: dict[str, list[str]] = {}
    for soname, at in unreached:
        folders.setdefault(at.rpartition("/")[0], []).append(soname)
    places = "; ".join(f"{folder} holds {', '.join(sonames)}" for folder, sonames in folders.items())
    return CHECK.finding(
        Status.FAIL,
        f"{name} does not find {', '.join(s for s, _ in unreached)}: the environment of CANN is not set",
        subject=subject,
        detail=f"{places}. Nothing in this shell's environment leads there. A service that sources set_env.sh by itself is not"
        " meant.",
        evidence=found.evidence,
        confidence=Confidence.DERIVED,
        remedy=source_text(cann),
        commands=source_command(cann),
    )


def not_installed(
    context: CheckContext, found: AscendFrameworkLibraries, name: str, subject: tuple[str, ...],
    cann: Component | None, nowhere: tuple[str, ...],
) -> Finding:  # fmt: skip
    """The libraries lie nowhere: which package is missing."""
    version = major_minor(cann.version) if cann is not None else None
    what = ", ".join(nowhere)
    if cann is None:
        title, remedy = f"{name} needs CANN, and none was found ({what})", INSTALL_CANN
    elif all(s in DRIVER_LIBRARIES for s in nowhere):
        title = f"{name} does not find the driver's {what}"
        remedy = MOUNT_DRIVER
    elif nowhere == ("libhccl.so",) and version is not None and version >= OPS_HOLD_HCCL_SINCE:
        title = f"CANN {cann.version} is here without libhccl.so: its ops package is not installed"
        remedy = (
            f"Install the package Ascend-cann-<chip>-ops of version {cann.version} for this machine's chip into the same path"
            f" ({cann.location}). Sourcing set_env.sh does not help: the library is not there."
        )
    else:
        title = f"CANN {cann.version} at {cann.location} does not hold {what}"
        remedy = f"Complete the installation of CANN {cann.version}: toolkit and operator packages of one version, same path."
    return CHECK.finding(
        Status.FAIL, title, subject=subject,
        detail=f"{found.library} needs it, and it lies neither below a CANN found here nor in the driver's folders.",
        evidence=(*found.evidence, *(cann.evidence[:2] if cann is not None else ())),
        confidence=Confidence.DERIVED, remedy=remedy,
    )  # fmt: skip


def source_text(cann: Component | None) -> str:
    """The step that sets the environment, with the script that is there."""
    if cann is None:
        return INSTALL_CANN
    script = cann.attributes.get("set_env")
    if script:
        return f"Run `source {script}` in this shell, before Python starts; for good, in the service's or user's start file."
    return (
        f"CANN {cann.version} at {cann.location} has no set_env.sh: append its lib64 to LD_LIBRARY_PATH (behind what is there)"
        f" and set ASCEND_HOME_PATH={cann.location}, or repair the installation."
    )


def source_command(cann: Component | None) -> tuple[Command, ...]:
    """`source …/set_env.sh`, where it is there."""
    script = cann.attributes.get("set_env") if cann is not None else None
    return (Command(argv=("source", str(script))),) if script else ()


INSTALL_CANN = (
    "Install the CANN toolkit and operator packages that the framework was released for (TORCH-NPU says which), then source"
    " its set_env.sh."
)
MOUNT_DRIVER = (
    "These belong to the NPU driver. On a host, install the driver. In a container, start it with the host's"
    " /usr/local/Ascend/driver/lib64 and /usr/local/Ascend/driver/version.info mounted, or with Ascend's container runtime."
)

CHECK = Check(
    id="CANN-ENV",
    title="CANN present, environment not set",
    explanation=f"""\
torch_npu and onnxruntime-cann are linked with CANN's libraries (libascendcl.so, libhccl.so …), which lie in no folder that the
loader searches by itself: `set_env.sh` adds them to LD_LIBRARY_PATH. Without it the import ends with *cannot open shared
object file*, or with *No module named 'acl'*.

The same message has another cause since CANN 8.5: libhccl.so moved to the **ops package**, so a machine with the toolkit alone
does not have it, and sourcing set_env.sh changes nothing. This check looks where the file lies before it says which.

onnxruntime-cann carries a fixed search path (RUNPATH) of the machine it was built on; with CANN in another folder only
LD_LIBRARY_PATH helps.

{table("CANN-ENV")}

*Proven on captures of Ascend machines and on described ones, not on an Ascend machine.*""",
    remediation="`source /usr/local/Ascend/cann/set_env.sh` (up to 8.3: `ascend-toolkit/set_env.sh`); install the ops package "
    "where libhccl.so is missing.",
    sources=(
        "https://github.com/vllm-project/vllm-ascend/issues/262",
        "https://github.com/vllm-project/vllm-ascend/issues/10525",
        "https://github.com/PaddlePaddle/FastDeploy/issues/2540",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"Failed to infer device type",
            source="https://github.com/vllm-project/vllm-ascend/issues/262",
            strength=1,
        ),
        LogSignature(
            pattern=rf"{CANN_LIBRARY}: cannot open shared object file",
            source="https://github.com/vllm-project/vllm-ascend/issues/262",
            strength=3,
        ),
        LogSignature(
            pattern=rf"{CANN_LIBRARY} (?:=> not found|is absent from)",
            source="https://github.com/mindspore-ai/mindspore/issues/236",
            strength=3,
        ),
        LogSignature(
            pattern=r"lib(?:ascend_hal|drvdsmi_host|dcmi)\.so: cannot open shared object file",
            source="https://github.com/vllm-project/vllm-ascend/issues/1440",
        ),
        LogSignature(
            pattern=r"Please run 'source set_env\.sh' in the CANN installation path",
            source="https://github.com/Ascend/pytorch/blob/9e73e708ab93/torch_npu/__init__.py",
            strength=3,
        ),
        LogSignature(
            pattern=r"ASCEND_(?:HOME_PATH|TOOLKIT_HOME|OPP_PATH) (?:is not set|in env\. Please)",
            source="https://github.com/Ascend/pytorch/blob/9e73e708ab93/torch_npu/_inductor/cpp_builder.py",
            strength=3,
        ),
        LogSignature(
            pattern=r"No module named '(?:acl|tbe|te)(?:\.\w{1,40})?'",
            source="https://github.com/Ascend/pytorch/issues/29",
        ),
        LogSignature(
            pattern=r"check whether the Ascend environment is installed and configured correctly",
            source="https://github.com/mindspore-lab/mindyolo/issues/273",
            strength=1,
        ),
        *signatures("CANN-ENV"),
    ),
    tags=("ascend", "cann"),
)

CHECKS = (CHECK,)
