"""MUSA-CTR: a container for Moore Threads GPUs that lacks the driver's library, or holds an empty file in its place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from infra_doctor.plugin import Check, CheckContext, Confidence, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.system import Container

if TYPE_CHECKING:
    from infra_doctor_probes.other_vendors.musa import MusaSurroundings

FAQ = "https://github.com/MooreThreads/tutorial_on_musa/blob/master/FAQ/environment_FAQ.md"
PROVEN = "Proven on the vendor's FAQ and described machines only."


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding."""
    if not any(getattr(f, "fact_type", "") == "musa-surroundings" for f in context.facts(object)):
        yield CHECK.skip("neither a Moore Threads GPU nor torch_musa is there")
        return
    from infra_doctor_probes.other_vendors.musa import MusaSurroundings

    found = context.fact(MusaSurroundings)
    if context.fact(Container) is None:
        yield CHECK.skip("this is no container")
    elif found is None or not found.wheels:
        yield CHECK.skip("nothing in this container uses MUSA")
    else:
        yield judge(found)


def judge(found: MusaSurroundings) -> Finding:
    """Something in this container uses MUSA."""
    empty = [path for path, size in found.libraries if size == 0]
    whole = [path for path, size in found.libraries if size > 0]
    if whole:
        return CHECK.finding(
            Status.PASS, "the driver's library is in this container", subject=found.wheels, evidence=found.evidence,
            severity=Severity.LOW,
        )  # fmt: skip
    if not empty and not found.devices and not found.asked_for:
        return CHECK.skip("no Moore Threads GPU shows in this container, and none was asked for")
    place = empty[0] if empty else found.searched[0]
    return CHECK.finding(
        Status.FAIL if empty else Status.WARN,
        f"{place} is empty: the host's driver library was not mounted"
        if empty
        else "libsrv_um_MUSA.so is not in this container: the host's driver library was not mounted",
        subject=found.wheels,
        detail=("An import ends with `file too short`. " if empty else f"Looked for in {', '.join(found.searched)}. ")
        + (f"MTHREADS_VISIBLE_DEVICES={found.asked_for} is set. " if found.asked_for else "")
        + PROVEN,
        evidence=found.evidence,
        confidence=Confidence.OBSERVED if empty else Confidence.DERIVED,
        remedy=REMEDY,
    )


REMEDY = (
    "On the host, install mt-container-toolkit and bind it to Docker (its installer's bind step, then restart Docker"
    " when that suits:"
    " running containers stop), then start the container anew with MTHREADS_VISIBLE_DEVICES=all."
)

CHECK = Check(
    id="MUSA-CTR",
    title="Moore Threads' driver library missing in the container",
    explanation="""\
`libsrv_um_MUSA.so` is part of Moore Threads' driver. A container gets the host's copy by mt-container-toolkit; an image holds
an empty file in its place. Without the toolkit, or before it is bound to Docker, an import of torch_musa ends with *cannot open
shared object file* or *file too short*.

Seen by the file's size; a container in which nothing uses MUSA is left alone. *Proven on the vendor's FAQ and on described
machines, not on such a device.*""",
    remediation=REMEDY,
    sources=(
        FAQ,
        "https://github.com/MooreThreads/torch_musa/issues/118",
        "https://github.com/gpustack/gpustack/issues/1116",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"mthreads-gmi did not output anything",
            source="https://github.com/MooreThreads/torch_musa/issues/79",
            strength=3,
        ),
        LogSignature(
            pattern=r"size of mthreads-gmi is 0, musa container tool is abnormal",
            source="https://github.com/MooreThreads/torch_musa/issues/79",
            strength=3,
        ),
        LogSignature(
            pattern=r"libsrv_um_MUSA\.so: cannot open shared object file",
            source="https://github.com/MooreThreads/torch_musa/issues/118", strength=3,
        ),
        LogSignature(pattern=r"libsrv_um_MUSA\.so: file too short", source=FAQ, strength=3),
    ),
    tags=("mthreads", "container"),
)  # fmt: skip

CHECKS = (CHECK,)
