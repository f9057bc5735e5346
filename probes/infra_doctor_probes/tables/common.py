"""What the rules share: the compiled tables, who consumes CUDA, which copies of a library a consumer gets.

A wheel's own metadata beats a documentation table, which beats what is inferred: so an attribute that a probe read from
the wheel is asked first, then the table's row for its version."""

import posixpath
from collections.abc import Iterator

from infra_doctor.plugin import (
    CheckContext,
    Component,
    How,
    Match,
    Row,
    Verdict,
    load_table,
    lookup,
    major,
    numbers,
    record,
)
from infra_doctor_probes.detect.wheels import OnnxRuntimeBuild

DATA = posixpath.join(posixpath.dirname(__file__), "data")
ORT_GPU = ("onnxruntime-gpu", "onnxruntime-training-gpu")


def rows(name: str) -> tuple[Row, ...]:
    """The rows of a compiled table."""
    return load_table(posixpath.join(DATA, f"{name}.json")).rows


def first_row(name: str, /, **cells: str) -> Row | None:
    """The first row whose cells equal these."""
    return next((r for r in rows(name) if all(r[k] == v for k, v in cells.items())), None)


def table_text(name: str, row: Row) -> str:
    """A row's source, with the table that it stands in."""
    return f"{row.source} (table {name})"


def text(component: Component, attribute: str) -> str:
    """An attribute as text, "" where there is none."""
    value = component.attributes.get(attribute)
    return str(value) if value not in (None, "") else ""


def label(component: Component) -> str:
    """ "torch 2.11.0"."""
    return f"{component.name} {component.version}" if component.version else component.name


def not_in_table(component: Component, match: Match, name: str) -> str:
    """Why no row speaks."""
    if match.how is How.NEWER:
        return f"{label(component)} is newer than the table {name}"
    if match.how is How.OLDER:
        return f"{label(component)} is older than the table {name}"
    return f"{label(component)} is not in the table {name}"


# -- targets ------------------------------------------------------------------------------------------------------


def prefix(target: str | None) -> str:
    """A component's target as a path: some name it by key."""
    return (target or "").removeprefix("target:")


def wheels(ctx: CheckContext, *names: str, target: str | None = None) -> Iterator[Component]:
    """Wheels of these names; with `target`, only those beside it."""
    for wheel in ctx.by_kind("wheel"):
        if wheel.name in names and (target is None or prefix(wheel.target) == prefix(target)):
            yield wheel


def arch_of(ctx: CheckContext) -> str:
    """The machine's architecture, "" where nobody saw it."""
    return next((text(c, "arch") for c in ctx.by_kind("os")), "")


def is_wsl(ctx: CheckContext) -> bool:
    """Whether the driver is Windows': its numbers are then those of Windows."""
    return any(c.attributes.get("wsl") is True for c in ctx.by_kind("os"))


def nvidia_gpus(ctx: CheckContext) -> tuple[Component, ...]:
    """The NVIDIA GPUs of this machine."""
    return tuple(g for g in ctx.by_kind("gpu") if g.attributes.get("vendor") == "nvidia")


def capability(gpu: Component) -> tuple[int, int] | None:
    """(major, minor) of the compute capability."""
    found = numbers(text(gpu, "compute_capability"))
    return (found[0], found[1]) if len(found) == 2 else None


# -- who consumes CUDA --------------------------------------------------------------------------------------------


@record
class CudaUse:
    """What a wheel was built for. `cuda` is "13.0", or "13" where only the major is known. `unknown` is why it is not."""

    cuda: str = ""
    source: str = ""
    certain: bool = True
    unknown: str = ""


WHEEL_METADATA = "the wheel's own metadata"
# The CUDA major is part of the name: https://pypi.org/project/cupy-cuda12x/, /jax-cuda13-plugin/, /nvidia-cuda-runtime-cu12/
NAMED = {
    "cupy-cuda11x": "11", "cupy-cuda12x": "12", "cupy-cuda13x": "13", "jax-cuda12-plugin": "12", "jax-cuda13-plugin": "13",
}  # fmt: skip
RUNTIMES = ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu11", "nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime-cu13")


def cuda_use(wheel: Component) -> CudaUse | None:
    """The CUDA version that a wheel was built for; None for one that is no CUDA consumer."""
    if text(wheel, "build") not in {"", "cuda", "gpu"}:
        return None  # some vendors' builds of torch set torch.version.cuda too
    if text(wheel, "cuda"):
        return CudaUse(cuda=text(wheel, "cuda"), source=WHEEL_METADATA)
    if wheel.name in NAMED:
        return CudaUse(cuda=NAMED[wheel.name], source=f"https://pypi.org/project/{wheel.name}/")
    if wheel.name in RUNTIMES:
        version = ".".join(str(n) for n in numbers(wheel.version or "")[:2])
        return CudaUse(cuda=version, source=f"https://pypi.org/project/{wheel.name}/")
    if wheel.name in ORT_GPU:
        return _from_table(wheel, "onnxruntime_gpu", "onnxruntime_gpu", "cuda_default_pypi")
    if wheel.name == "tensorflow":
        return _from_table(wheel, "tensorflow", "tensorflow", "cuda_tested")
    if wheel.name == "torch" and text(wheel, "build") == "cuda":
        return _from_table(wheel, "pytorch", "torch", "default_pypi_cuda")
    return None


def _from_table(wheel: Component, name: str, key: str, column: str) -> CudaUse:
    match = lookup(rows(name), key, wheel.version, agree=(column,))
    if match.row is None or not match.row[column]:
        return CudaUse(unknown=not_in_table(wheel, match, name))
    cuda = match.row[column].removesuffix(".x")
    return CudaUse(cuda=cuda, source=table_text(name, match.row), certain=match.row.certain)


def cuda_consumers(ctx: CheckContext) -> Iterator[tuple[Component, CudaUse]]:
    """Every wheel that was built for a CUDA version and whose bytes are on disk."""
    overwritten = {key for ort in ctx.facts(OnnxRuntimeBuild) for key in ort.distributions if key != ort.wheel}
    for wheel in ctx.by_kind("wheel"):
        use = cuda_use(wheel) if wheel.key not in overwritten else None
        if use is not None and not (wheel.name == "tensorflow" and for_the_cpu(ctx, wheel, use)):
            yield wheel, use


def for_the_cpu(ctx: CheckContext, tensorflow: Component, use: CudaUse) -> bool:
    """TensorFlow's one wheel serves CPU and GPU, and looks for the CUDA runtime when it is used: without one of its major
    it is there for the CPU. On other processors than x86-64 the wheel has no CUDA code."""
    if arch_of(ctx) not in {"", "x86_64"}:
        return True
    near = (c for kind in ("cudart", "cudnn") for c in copies_for(ctx, tensorflow, kind).copies)
    return not use.unknown and all(cuda_major_of(c) != major(use.cuda) for c in near)


# -- which copies of a library a consumer gets --------------------------------------------------------------------


@record
class Copies:
    """Copies of a library for a consumer. `loaded` says that the loader takes them; else they only lie where it could
    look, and a wrong one matters only if there is no right one."""

    copies: tuple[Component, ...]
    loaded: bool


def copies_for(ctx: CheckContext, consumer: Component, kind: str) -> Copies:
    """What the consumer loads; where the loader's answer is not known, the copies of its target and of the system."""
    found = ctx.by_kind(kind)
    loaded = tuple(c for c in found if any(use.consumer == consumer.key for use in c.loaded_by))
    if loaded:
        return Copies(copies=loaded, loaded=True)
    near = tuple(c for c in found if not c.target or prefix(c.target) == prefix(consumer.target))
    return Copies(copies=near, loaded=False)


def orders(copy: Component, consumer: Component) -> str:
    """The import orders in which the consumer loads this copy, for a sentence."""
    named = dict.fromkeys(use.order for use in copy.loaded_by if use.consumer == consumer.key and use.order)
    return f" (import order: {'; '.join(named)})" if named else ""


def keep_matching(
    judged: list[tuple[Component, Verdict, str]], *, loaded: bool
) -> list[tuple[Component, Verdict, str]]:
    """Copies that are not known to be loaded: where one fits, the others say nothing."""
    if loaded:
        return judged
    fitting = [j for j in judged if j[1] is Verdict.COMPATIBLE]
    return fitting or judged


def cuda_major_of(component: Component) -> int | None:
    """The CUDA major that a copy of a library was built for; None where it is not known."""
    value = component.attributes.get("cuda_major")
    return value if isinstance(value, int) else major(str(value)) if value else None
