"""TRITON-ASCEND: the folder `triton` holds the community's files where triton-ascend's are wanted, or lacks what torch_npu
imports of it.

Rests on the folders that only triton-ascend has, on RECORD and sha256 where both distributions are installed, and on the text
of torch_npu's code generator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from infra_doctor.plugin import Check, CheckContext, Confidence, Finding, LogSignature, Severity, Status
from infra_doctor_probes.in_target import forced, pip_words, titled, wheel_name

if TYPE_CHECKING:
    from infra_doctor_probes.ascend.triton import AscendTriton

FAQ = "https://gitcode.com/Ascend/triton-ascend/blob/main/docs/en/FAQ.md"


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per environment."""
    names = {w.name for w in context.by_kind("wheel")}
    if "triton-ascend" not in names and not {"torch-npu", "triton"} <= names:
        yield CHECK.skip("triton-ascend is in none of the Python environments looked at")
        return
    from infra_doctor_probes.ascend.triton import AscendTriton

    found = context.facts(AscendTriton)
    for triton in found:
        yield judge(context, triton)
    if not found:
        yield CHECK.skip("no folder triton lies in the Python environments looked at")


def judge(context: CheckContext, triton: AscendTriton) -> Finding:
    """The finding of one environment."""
    keys = {wheel_name(key): key for key in triton.wheels}
    names = ", ".join(titled(context, key) for key in triton.wheels)
    if "triton-ascend" not in keys:
        return CHECK.skip("only the community's triton is installed: nothing here asks for the one for Ascend")
    if not triton.has_backend:
        return CHECK.finding(
            Status.FAIL,
            "triton-ascend is installed and its files are not: "
            + ("triton overwrote them" if "triton" in keys else "gone"),
            subject=triton.wheels,
            detail=f"{triton.folder}/backends holds no `ascend`. Both distributions write the folder triton, the last one wins,"
            f" and removing one of them takes the files of both ({names}).",
            confidence=Confidence.DERIVED,
            evidence=triton.evidence,
            remedy=reinstall(context, triton),
        )
    if triton.wanted and not set(triton.wanted) & set(triton.extras):
        wanted = " or ".join(f"triton.language.extra.{name}" for name in triton.wanted)
        return CHECK.finding(
            Status.FAIL,
            f"{titled(context, keys['torch-npu'])} imports {wanted}, which {titled(context, keys['triton-ascend'])} has not",
            subject=triton.wheels,
            detail=f"There is {', '.join(triton.extras) or 'nothing'} in {triton.folder}/language/extra. torch.compile on the NPU"
            " ends with ModuleNotFoundError; without torch.compile nothing is amiss.",
            evidence=triton.evidence,
            confidence=Confidence.DERIVED,
            remedy="Install the torch-npu and triton-ascend of one release (the next post release of this torch-npu imports"
            " either name), or do without torch.compile.",
        )
    overwritten = core_files(context, keys)
    if overwritten:
        return CHECK.finding(
            Status.WARN, f"{overwritten[0]} of {overwritten[1]} files that triton and triton-ascend share are the community's",
            subject=triton.wheels, detail=f"Parts of both lie in one folder ({names}).", evidence=triton.evidence,
            confidence=Confidence.DERIVED, remedy=reinstall(context, triton),
        )  # fmt: skip
    return CHECK.finding(
        Status.PASS, f"{titled(context, keys['triton-ascend'])} is the triton that is imported", subject=triton.wheels,
        evidence=triton.evidence, confidence=Confidence.DERIVED, severity=Severity.LOW,
    )  # fmt: skip


def core_files(context: CheckContext, keys: dict[str, str]) -> tuple[int, int] | None:
    """(files on disk with the community's bytes, contested files), None where they are triton-ascend's."""
    from infra_doctor_probes.detect.wheel_files import WheelContest

    community, ascend = keys.get("triton"), keys["triton-ascend"]
    for contest in context.facts(WheelContest):
        if community in contest.wheels and ascend in contest.wheels:
            won = dict(contest.won)
            lost = won.get(community or "", 0)
            return (lost, contest.files) if lost else None
    return None


def reinstall(context: CheckContext, triton: AscendTriton) -> str:
    """Both out, triton-ascend in: what its FAQ says."""
    version = next((context.component(k) for k in triton.wheels if wheel_name(k) == "triton-ascend"), None)
    wanted = f"triton-ascend=={version.version}" if version is not None and version.version else "triton-ascend"
    remove = pip_words(context, triton.target, "uninstall", "triton", "triton-ascend")
    install = pip_words(context, triton.target, "install", *forced(context, triton.target, wanted))
    return f"Remove both and install triton-ascend again, in this order and last of all packages: {remove}, then {install}."


CHECK = Check(
    id="TRITON-ASCEND",
    title="triton-ascend overwritten, or not the one that torch_npu wants",
    explanation="""\
triton-ascend and the community's triton are two distributions of one folder, `triton`. pip lets the later one overwrite the
other and says nothing: a package that requires triton (xgrammar, vllm on x86) brings it back. Then the Ascend backend is gone:
*0 active drivers ([]). There should only be one*, *No module named 'triton.language.extra.ascend'*. Removing triton alone takes
triton-ascend's files with it.

torch_npu's code generator imports triton.language.extra.ascend (2.9.0) or .cann (later, with .ascend as a way out), and the
releases of triton-ascend have one or the other.

triton-ascend 3.2.1 and later requires triton and is installed over it: both being there is no fault by itself, so only missing
folders and overwritten files are reported. A community triton alone, as other packages require it, is not reported.

*Proven on described machines, not on an Ascend machine.*""",
    remediation="Uninstall triton and triton-ascend, then install triton-ascend, last of all packages.",
    sources=(
        FAQ,
        "https://github.com/flagos-ai/FlagGems/issues/5791",
        "https://github.com/vllm-project/vllm-ascend/issues/7359",
        "https://github.com/vllm-project/vllm-ascend/pull/7790",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"No module named 'triton\.(?:language\.extra|backends)\.(?:ascend|cann)",
            source="https://github.com/flagos-ai/FlagGems/issues/5791",
            strength=3,
        ),
        LogSignature(
            pattern=r"\b0 active drivers \(\[\]\)",
            source="https://github.com/modelscope/ms-swift/issues/3279",
            strength=1,
        ),
        LogSignature(
            pattern=r"(?:npu_triton_helpers|torch_npu/_inductor)[^\n]{0,120}(?:triton|Triton)",
            source="https://github.com/flagos-ai/FlagGems/issues/5791",
        ),
        LogSignature(
            pattern=r"Failed to import Triton kernels[^\n]{0,160}No module named 'triton\.",
            source="https://github.com/vllm-project/vllm-ascend/issues/6394",
            strength=1,
        ),
        LogSignature(
            pattern=r"module 'triton(?:\.language)?' has no attribute '",
            source="https://github.com/verl-project/verl/issues/5468",
            strength=1,
        ),
    ),
    tags=("ascend", "python"),
)

CHECKS = (CHECK,)
