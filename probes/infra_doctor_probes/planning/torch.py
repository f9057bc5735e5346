"""torch: which release and which CUDA build of it fit the GPUs, the driver, the interpreter and the C library.

Facts: PyPI METADATA (`pytorch`), PyTorch's build scripts (`torch_arch`), NVIDIA's architecture matrix (`gpu_arch`)."""

import re
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
    major_minor,
    version_key,
)
from infra_doctor_probes.in_target import Seen, nvidia_gpu
from infra_doctor_probes.planning.needs import (
    cuda_major_need,
    driver_need,
    glibc_need,
    gpu_capabilities,
    installed,
    nearest_first,
    no_wheel_here,
    of_other_major,
    python_need,
    too_new_or_old,
    wished,
)
from infra_doctor_probes.tables.common import arch_of, rows, table_text, text
from infra_doctor_probes.tables.wheel_arch import UNPUBLISHED, has_code

PAIRING = "https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#compatibility-with-pytorch"
INDEX = "https://download.pytorch.org/whl/"


def options(ctx: PlanContext, part: str) -> Iterator[Option | Refused]:
    """What is installed, then PyTorch's releases and builds; other builds of the same release before other releases."""
    here = installed(ctx, part)
    if here is not None:
        yield present(ctx, here)
    if (refused := no_wheel_here(ctx, part) or other_vendor(here)) is not None:
        yield refused
        return
    by_version = {r["torch"]: r for r in rows("pytorch")}
    assumed: list[Option] = []
    for version in nearest_first(ctx, part, list(by_version)):
        for option in builds_of(ctx, by_version[version]):
            if isinstance(option, Option) and option.assumes:
                assumed.append(option)  # what the tables know for certain is tried first
            else:
                yield option
    yield from assumed


def present(ctx: PlanContext, here: Component) -> Option | Refused:
    """The installed torch with what it needs; refused where it was wished for and cannot serve the GPU."""
    version, build, tag = here.version or "", text(here, "build"), text(here, "tag")
    label = f"torch {version}"
    row = next((r for r in rows("pytorch") if r["torch"] == version.partition("+")[0]), None)
    needs: tuple[Need, ...] = ()
    if build == "cuda":
        for name, cc in gpu_capabilities(ctx.facts):
            archs = arch_row(ctx, version, tag)
            if archs is not None and archs.certain and not serves(archs["sm_archs"], cc):
                return Refused(label=label, reason=f"has no code for {name}", source=table_text("torch_arch", archs))
        needs = cuda_needs(ctx, text(here, "cuda"))
    elif build == "cpu" and part_wished_for_gpu(ctx):
        return Refused(label=label, reason="is built without CUDA, and an NVIDIA GPU is there")
    if row is not None:
        needs += python_need(row["wheel_pythons_linux_x86_64"], table_text("pytorch", row))
    return Option(
        part="torch",
        version=version,
        build=tag or build,
        effort=Effort.NONE,
        needs=needs,
        source=f"METADATA of torch {version}",
        values={"version": version.partition("+")[0], "build": build},
    )


def other_vendor(here: Component | None) -> Refused | None:
    """The refusal to replace a build for another vendor's devices (rocm, xpu, npu …) by one for CUDA or the CPU."""
    build = text(here, "build") if here is not None else ""
    if here is None or build in {"", "cuda", "cpu"}:
        return None
    reason = f"torch {here.version} is a build for {build}, whose releases stand in no table here"
    return Refused(label="torch", reason=reason, source=f"METADATA of torch {here.version}")


def part_wished_for_gpu(ctx: PlanContext) -> bool:
    """Whether torch is asked for, and not a CPU build by name, on a machine with an NVIDIA GPU."""
    wish = ctx.wishes.get("torch")
    return wish is not None and "cpu" not in wish.spec and nvidia_gpu(ctx.facts) is Seen.PRESENT


def builds_of(ctx: PlanContext, row: Row) -> Iterator[Option | Refused]:
    """The builds of one release, PyPI's default first."""
    seen = nvidia_gpu(ctx.facts)
    if seen is Seen.ABSENT:
        others = sorted(
            {str(c.attributes.get("vendor")) for c in ctx.facts.by_kind("gpu", "npu", "accelerator")} - {"None"}
        )
        note = f"this is the CPU build: those for {', '.join(others)} stand in no table here"
        yield option_of(ctx, row, "cpu", (note,) if others else ())
        return
    tags = published(ctx, row)
    default = "cu" + row["default_pypi_cuda"].replace(".", "")
    for tag in sorted(tags, key=lambda t: (t == default, len(t), t), reverse=True):
        if not wished_build(ctx, row["torch"], tag):
            continue
        assumes, refused = fits_gpus(ctx, row["torch"], tag)
        if refused is not None:
            yield refused
        else:
            if seen is Seen.NOT_VISIBLE:
                assumes = (*assumes, "no GPU could be looked at: which compute capabilities are wanted is not known")
            yield option_of(ctx, row, tag, assumes)


def published(ctx: PlanContext, row: Row) -> set[str]:
    """The CUDA builds ("cu128") of a release for this architecture: the table of architectures names them; of
    the others only PyPI's default is known."""
    platform = f"linux {arch_of(ctx.facts) or 'x86_64'}"
    line = major_minor(row["torch"])
    tags = {
        r["cuda_build"]
        for r in rows("torch_arch")
        if r["platform"] == platform and r["sm_archs"] and major_minor(r["torch"]) == line
    } - UNPUBLISHED
    if tags or platform != "linux x86_64":
        return tags
    default = row["default_pypi_cuda"].replace(".", "")
    return {f"cu{default}"} if default else set()


def wished_build(ctx: PlanContext, version: str, tag: str) -> bool:
    """Whether the wish, where it names a build ("==2.9.1+cu128"), names this one."""
    wish = ctx.wishes.get("torch")
    return wish is None or "+" not in wish.spec or wished(ctx, "torch", f"{version}+{tag}")


def arch_row(ctx: PlanContext, version: str, tag: str) -> Row | None:
    """The architectures of one build."""
    platform = f"linux {arch_of(ctx.facts) or 'x86_64'}"
    return next(
        (
            r
            for r in rows("torch_arch")
            if r["platform"] == platform
            and r["cuda_build"] == tag
            and r["sm_archs"]
            and major_minor(r["torch"]) == major_minor(version)
        ),
        None,
    )


def serves(archs: str, cc: tuple[int, int]) -> bool:
    """Machine code for it, or PTX that the driver may compile."""
    ptx = [(int(m[1]), int(m[2])) for m in re.finditer(r"\b(\d+)\.(\d+)\+PTX", archs)]
    return has_code(archs, cc) or any(p < cc for p in ptx)


def fits_gpus(ctx: PlanContext, version: str, tag: str) -> tuple[tuple[str, ...], Refused | None]:
    """(what is assumed, why not) of a build against every GPU."""
    label = f"torch {version} ({tag})"
    archs = arch_row(ctx, version, tag)
    assumes = []
    for name, cc in gpu_capabilities(ctx.facts):
        if archs is not None and archs.certain:
            if not has_code(archs["sm_archs"], cc):
                reason = f"has no code for {name} (compute capability {cc[0]}.{cc[1]})"
                return (), Refused(label=label, reason=reason, source=table_text("torch_arch", archs))
        elif why := too_new_or_old(cuda_of_tag(tag), name, cc):
            return (), Refused(label=label, reason=why)
        else:
            assumes.append(f"{label}: no table says whether it has code for {name}; `torch.cuda.get_arch_list()` does")
    return tuple(assumes), None


def cuda_of_tag(tag: str) -> str:
    """ "cu128" -> "12.8"."""
    digits = tag.removeprefix("cu")
    return f"{digits[:-1]}.{digits[-1]}" if digits.isdecimal() and len(digits) > 1 else ""


def cuda_needs(ctx: PlanContext, cuda: str) -> tuple[Need, ...]:
    """The driver, and one CUDA major in the process."""
    cuda_major = cuda.partition(".")[0]
    if not cuda_major:
        return ()
    return (*driver_need(ctx.facts, cuda_major), cuda_major_need(cuda_major, PAIRING))


def option_of(ctx: PlanContext, row: Row, tag: str, assumes: tuple[str, ...]) -> Option:
    """A release and build to install."""
    source = table_text("pytorch", row)
    needs = python_need(row["wheel_pythons_linux_x86_64"], source)
    needs += glibc_need(row["min_glibc"] if version_key(row["min_glibc"]) >= version_key("2.17") else "", source)
    if tag != "cpu":
        needs += cuda_needs(ctx, cuda_of_tag(tag))
    default = tag == "cu" + row["default_pypi_cuda"].replace(".", "") and arch_of(ctx.facts) in {"", "x86_64"}
    here = installed(ctx, "torch")
    if here is not None and (here.version or "").partition("+")[0] == row["torch"]:
        default = False  # pip takes another build of the same release for what was asked: only the tag tells them apart
    return Option(
        part="torch",
        version=row["torch"],
        build=tag,
        effort=Effort.WHEEL,
        needs=needs,
        requirement=f"torch=={row['torch']}" if default else f"torch=={row['torch']}+{tag}",
        removes=() if tag == "cpu" else of_other_major(ctx, cuda_of_tag(tag).partition(".")[0], "torch"),
        index="" if default else INDEX + tag,
        source=source,
        assumes=assumes if row.certain else (*assumes, f"torch {row['torch']}: its row is not certain"),
        values={"version": row["torch"], "build": "cpu" if tag == "cpu" else "cuda"},
    )


CHOICES = (Choice(id="torch", title="PyTorch releases and CUDA builds", parts=("torch",), options=options),)
