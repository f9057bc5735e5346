"""onnxruntime-gpu: which release is built for a CUDA that the driver, the GPUs and the torch beside it share.

Facts: ONNX Runtime's documentation tables and PyPI METADATA (`onnxruntime_gpu`)."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Choice,
    Component,
    Effort,
    Need,
    Option,
    PlanContext,
    Refused,
    Row,
    lookup,
    major,
    major_minor,
)
from infra_doctor_probes.in_target import Seen, nvidia_gpu
from infra_doctor_probes.planning.needs import (
    cuda_major_need,
    driver_need,
    glibc_need,
    gpu_capabilities,
    installed,
    nearest_first,
    python_need,
)
from infra_doctor_probes.planning.torch import PAIRING
from infra_doctor_probes.tables.common import rows, table_text, text
from infra_doctor_probes.tables.wheel_arch import FIRST_OF_13, NOTES_13

PART = "onnxruntime-gpu"
FLAVOURS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-cann")
BROKEN_EXTRAS = (1, 27)  # its extras name packages that do not exist
FIRST_WITH_EXTRAS: tuple[int, int] = (1, 21)


def options(ctx: PlanContext, part: str) -> Iterator[Option | Refused]:
    """What is installed (where it alone owns the module), then the releases."""
    if nvidia_gpu(ctx.facts) is Seen.ABSENT:
        yield Refused(label=part, reason="no NVIDIA GPU is there; the CPU build is `onnxruntime`")
        return
    here = installed(ctx, part)
    others = [name for name in FLAVOURS if name != part and installed(ctx, name) is not None]
    if here is not None and not others:
        match = lookup(rows("onnxruntime_gpu"), "onnxruntime_gpu", here.version, agree=("cuda_default_pypi",))
        cuda = text(here, "cuda") or (match.row["cuda_default_pypi"] if match.row is not None else "")
        yield from checked(ctx, str(here.version), cuda, present(ctx, here, cuda))
    by_version = {r["onnxruntime_gpu"]: r for r in rows("onnxruntime_gpu") if not r["onnxruntime_gpu"].endswith("x")}
    for version in nearest_first(ctx, part, list(by_version)):
        if major_minor(version) != BROKEN_EXTRAS:
            row = by_version[version]
            yield from checked(ctx, version, row["cuda_default_pypi"], release(ctx, row, others))


def checked(ctx: PlanContext, version: str, cuda: str, option: Option) -> Iterator[Option | Refused]:
    """The option, or why no GPU here runs it."""
    for name, cc in gpu_capabilities(ctx.facts):
        if major(cuda) == 13 and cc < FIRST_OF_13:
            reason = f"is built for CUDA 13, which has no code for {name} (compute capability {cc[0]}.{cc[1]})"
            yield Refused(label=f"{PART} {version}", reason=reason, source=NOTES_13)
            return
    yield option


def needs_of(ctx: PlanContext, cuda: str) -> tuple[Need, ...]:
    """The driver, and one CUDA major with the torch beside it."""
    found = major(cuda)
    if found is None:
        return ()
    return (*driver_need(ctx.facts, str(found)), cuda_major_need(str(found), PAIRING))


def present(ctx: PlanContext, here: Component, cuda: str) -> Option:
    """The installed release."""
    version = here.version or ""
    return Option(
        part=PART, version=version, build=f"CUDA {major(cuda)}" if major(cuda) else "", effort=Effort.NONE,
        needs=needs_of(ctx, cuda), values={"version": version},
    )  # fmt: skip


def release(ctx: PlanContext, row: Row, others: list[str]) -> Option:
    """A release to install, with the extras that bring CUDA and cuDNN."""
    version, source = row["onnxruntime_gpu"], table_text("onnxruntime_gpu", row)
    extras = "[cuda,cudnn]" if (major_minor(version) or (0, 0)) >= FIRST_WITH_EXTRAS else ""
    cuda = row["cuda_default_pypi"]
    removes = (*others, *([PART] if others and installed(ctx, PART) is not None else ()))
    bring = (
        "Call `onnxruntime.preload_dlls()` (or import torch) before the first session: the extras bring CUDA and cuDNN as wheels."
        if extras
        else "It brings neither CUDA nor cuDNN: they must be found by the loader."
    )
    return Option(
        part=PART,
        version=version,
        build=f"CUDA {major(cuda)}",
        effort=Effort.WHEEL,
        needs=(
            *needs_of(ctx, cuda),
            *python_need(row["wheel_pythons_linux_x86_64"], source),
            *glibc_need(row["min_glibc"], source),
        ),
        requirement=f"{PART}{extras}=={version}",
        removes=removes,
        remedy=bring,
        source=source,
        values={"version": version},
    )


CHOICES = (Choice(id=PART, title="ONNX Runtime's CUDA builds", parts=(PART,), options=options),)
