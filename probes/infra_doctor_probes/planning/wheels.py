"""The other wheels: those whose releases and pins stand in tables, and any other that is installed, by its METADATA.

Facts: PyPI METADATA (`torchvision`, `serving_stacks`, `tensorflow`, `jax`), JAX's installation page (`jax_backends`), the
METADATA of what is installed."""

from collections.abc import Callable, Iterator

from infra_doctor.plugin import (
    Choice,
    Component,
    Effort,
    Need,
    Option,
    PlanContext,
    Refused,
    Row,
    major,
    major_minor,
    record,
)
from infra_doctor_probes.in_target import Seen, nvidia_gpu
from infra_doctor_probes.planning.needs import (
    cuda_major_need,
    driver_need,
    glibc_need,
    gpu_capabilities,
    installed,
    meets,
    nearest_first,
    no_wheel_here,
    python_need,
)
from infra_doctor_probes.planning.torch import INDEX, cuda_of_tag, published
from infra_doctor_probes.tables.common import arch_of, cuda_use, first_row, for_the_cpu, rows, table_text
from infra_doctor_probes.tables.requirements import asked_by_metadata


@record
class Source:
    """Where a package's releases stand: the table, its version column, that of the Python versions, and of each pin."""

    table: str
    version: str
    pythons: str
    pins: dict[str, str]  # column -> part
    cells: dict[str, str]  # which rows are the package's


SERVED = {
    "torch": "torch", "torchvision": "torchvision", "xformers": "xformers", "torch_npu": "torch-npu",
    "flashinfer_python": "flashinfer-python",
}  # fmt: skip
BUILT_FOR_CUDA = {"vllm", "sglang"}
# 7.0 by the installation pages of 0.3 to 0.6, 7.5 by that of 0.21; releases between are taken for the older ones.
VLLM_GPUS = "https://docs.vllm.ai/en/latest/getting_started/installation/gpu.html"
VLLM_LOWEST, VLLM_LOWEST_FROM_0_21 = (7, 0), (7, 5)
FOLLOWERS = ("nvidia-", "cuda-", "triton")  # these come and go with who pins them
ANY = "*"  # the version of what pip picks by METADATA
LEFT_TO_PIP = {"flashinfer-python", "xformers"}  # where they are not installed, pip brings the pinned release
SOURCES = {
    "torchvision": Source(
        table="torchvision", version="torchvision", pythons="wheel_pythons", pins={"torch": "torch"}, cells={}
    ),
    **{
        name: Source(
            table="serving_stacks", version="version", pythons="wheel_pythons", pins=SERVED, cells={"package": name}
        )
        for name in ("vllm", "sglang", "xformers")
    },
}


def table_options(ctx: PlanContext, part: str) -> Iterator[Option | Refused]:
    """The installed release by its METADATA, then the releases of the table."""
    here = installed(ctx, part)
    if here is not None:
        yield present(ctx, here)
    if (refused := no_wheel_here(ctx, part) or without_gpu(ctx, part)) is not None:
        yield refused
        return
    source = SOURCES[part]
    by_version = {r[source.version]: r for r in rows(source.table) if all(r[k] == v for k, v in source.cells.items())}
    for version in nearest_first(ctx, part, list(by_version)):
        if (refused := too_old_a_gpu(ctx, part, version)) is not None:
            yield refused
            continue
        row = by_version[version]
        said = table_text(source.table, row)
        pins = {c: o for c, o in source.pins.items() if o not in LEFT_TO_PIP or installed(ctx, o) is not None}
        needs = [pin_need(part, version, other, row[column], said) for column, other in pins.items()]
        glibc = row.cells.get("min_glibc", "")
        for index, tag, build in with_torch(ctx, part, row["torch"], said):
            yield Option(
                part=part, version=version, effort=Effort.WHEEL, requirement=f"{part}=={version}{tag}", index=index, source=said,
                needs=(
                    *(n for n in needs if n is not None), *build, *python_need(row[source.pythons], said),
                    *glibc_need(glibc, said),
                ),
                values={"version": version},
            )  # fmt: skip


def without_gpu(ctx: PlanContext, part: str) -> Refused | None:
    """PyPI's builds of the serving stacks are for CUDA."""
    if part not in BUILT_FOR_CUDA or installed(ctx, part) is not None:
        return None
    if nvidia_gpu(ctx.facts) is Seen.ABSENT:
        return Refused(label=part, reason="PyPI's build is for CUDA, and no NVIDIA GPU is there", source=VLLM_GPUS)
    return None


def too_old_a_gpu(ctx: PlanContext, part: str, version: str) -> Refused | None:
    """A GPU below the compute capability that a release of vLLM asks for."""
    if part != "vllm":
        return None
    lowest = VLLM_LOWEST_FROM_0_21 if (major_minor(version) or (0, 0)) >= (0, 21) else VLLM_LOWEST
    old = [name for name, cc in gpu_capabilities(ctx.facts) if cc < lowest]
    reason = f"needs compute capability {lowest[0]}.{lowest[1]}, which {old[0]} has not" if old else ""
    return Refused(label=f"vllm {version}", reason=reason, source=VLLM_GPUS) if old else None


def with_torch(ctx: PlanContext, part: str, pinned: str, said: str) -> Iterator[tuple[str, str, tuple[Need, ...]]]:
    """(index, tag, needs): which build of this package goes with which build of torch. PyPI's is compiled against PyPI's torch,
    and a process with two CUDA majors does not start; torchvision is published beside each build of torch as well."""
    row = first_row("pytorch", torch=pinned.removeprefix("=="))
    if part not in {"torchvision", *BUILT_FOR_CUDA} or row is None:
        yield "", "", ()
        return
    default = row["default_pypi_cuda"]

    def need(text: str, accepts: Callable[[Option], bool]) -> tuple[Need, ...]:
        return (Need(part="torch", text=text, source=said, accepts=accepts),)

    def same_major(option: Option) -> bool:
        cuda = cuda_of_tag(option.build)
        return not cuda or major(cuda) == major(default)

    if part != "torchvision":
        yield "", "", need(f"torch for CUDA {major(default)}, as PyPI's", same_major)
        return
    if arch_of(ctx.facts) in {"", "x86_64"}:
        yield "", "", need("torch of PyPI", lambda o: o.build != "cpu" and not o.index and same_major(o))
    for tag in ("cpu",) if nvidia_gpu(ctx.facts) is Seen.ABSENT else sorted(published(ctx, row)):
        yield INDEX + tag, f"+{tag}", need(f"torch of {tag}", lambda o, tag=tag: o.build == tag)  # type: ignore[misc]


def pin_need(part: str, version: str, other: str, spec: str, source: str) -> Need | None:
    """A requirement on another part; an extra before the range ("[cu13]==0.7.2") is not part of it."""
    spec = spec.rpartition("]")[2].strip()
    if not spec or other == part:
        return None
    spec = f"=={spec}" if spec[0].isdigit() else spec

    def accepts(option: Option) -> bool:
        base = option.values.get("version", option.version)
        return base == ANY or meets(base, spec) or (option.build.isalnum() and meets(f"{base}+{option.build}", spec))

    return Need(part=other, text=f"{other}{spec}", source=source, accepts=accepts)


def present(ctx: PlanContext, here: Component) -> Option:
    """What is installed, with what its METADATA asks of other installed wheels that a plan may change."""
    needs = []
    for other in (c.name for c in ctx.facts.by_kind("wheel", target=here.target)):
        if other != here.name and not other.startswith(FOLLOWERS):
            asked = asked_by_metadata(ctx.facts, here, other)
            if asked is not None and asked.certain and asked.spec:
                need = pin_need(here.name, here.version or "", other, asked.spec, asked.source)
                needs += [need] if need is not None else []
    return Option(
        part=here.name, version=here.version or "", effort=Effort.NONE, needs=tuple(needs),
        values={"version": (here.version or "").partition("+")[0]},
    )  # fmt: skip


def other_options(ctx: PlanContext, part: str) -> Iterator[Option | Refused]:
    """An installed wheel without a table: as it is, or whatever pip picks beside the rest."""
    here = installed(ctx, part)
    if here is None or part.startswith(FOLLOWERS):
        return
    yield present(ctx, here)
    yield Option(
        part=part, version="the release that fits", effort=Effort.WHEEL, requirement=part,
        remedy=f"Which release of {part} fits is in no table here: pip picks it by its METADATA.",
        assumes=(f"a release of {part} fits the other changes; pip says if none does",), values={"version": ANY},
    )  # fmt: skip


# -- frameworks that bring CUDA by extras -------------------------------------------------------------------------


FIRST_AND_CUDA: tuple[int, int] = (2, 14)  # https://github.com/tensorflow/tensorflow/releases/tag/v2.14.0


def tensorflow_options(ctx: PlanContext, part: str) -> Iterator[Option | Refused]:
    """TensorFlow: one wheel, whose CUDA comes with the extra `and-cuda` (2.14 and newer)."""
    if (refused := no_wheel_here(ctx, part)) is not None:
        yield refused
        return
    here = installed(ctx, part)
    gpu = nvidia_gpu(ctx.facts) is not Seen.ABSENT
    by_version = {r["tensorflow"]: r for r in rows("tensorflow")}
    if here is not None:
        use = cuda_use(here)
        if gpu and part in ctx.wishes and use is not None and for_the_cpu(ctx.facts, here, use):
            yield Refused(label=f"tensorflow {here.version}", reason="has no CUDA libraries of its major beside it")
        else:
            yield present(ctx, here)
    for version in nearest_first(ctx, part, list(by_version)):
        row = by_version[version]
        said, cuda = table_text("tensorflow", row), row["cuda_tested"]
        extra = "[and-cuda]" if gpu and (major_minor(version) or (0, 0)) >= FIRST_AND_CUDA else ""
        yield Option(
            part=part, version=version, build=f"CUDA {cuda}" if extra else "", effort=Effort.WHEEL,
            needs=(
                *(driver_need(ctx.facts, str(major(cuda))) if gpu and cuda else ()),
                *((cuda_major_need(str(major(cuda)), said),) if extra and cuda else ()),
                *python_need(row["wheel_pythons"], said), *glibc_need(row["min_glibc"], said),
            ),
            requirement=f"tensorflow{extra}=={version}", source=said, values={"version": version},
        )  # fmt: skip


def jax_options(ctx: PlanContext, part: str) -> Iterator[Option | Refused]:
    """JAX with the CUDA plug-in that driver and GPUs allow: CUDA 13 first, then CUDA 12, on a CPU machine none."""
    if (refused := no_wheel_here(ctx, part)) is not None:
        yield refused
        return
    here = installed(ctx, part)
    gpu = nvidia_gpu(ctx.facts) is not Seen.ABSENT
    plugged = [installed(ctx, f"jax-cuda{m}-plugin") for m in (12, 13)]
    if here is not None and (any(plugged) or not gpu):
        yield present(ctx, here)
    by_version = {r["jax"]: r for r in rows("jax")}
    for version in nearest_first(ctx, part, list(by_version)):
        yield from jax_release(ctx, by_version[version], gpu)


def jax_release(ctx: PlanContext, row: Row, gpu: bool) -> Iterator[Option | Refused]:
    """The ways to install one release."""
    version, said = row["jax"], table_text("jax", row)
    pythons = python_need(row["wheel_pythons_jaxlib"], said)
    if not gpu:
        yield Option(
            part="jax", version=version, effort=Effort.WHEEL, needs=pythons, requirement=f"jax=={version}", source=said,
            values={"version": version},
        )  # fmt: skip
        return
    for extra in ("cuda13", "cuda12"):
        backend = first_row("jax_backends", name=extra)
        if backend is None or not row[f"{extra}_plugin"]:
            continue
        lowest = tuple(int(n) for n in backend["min_cc"].split("."))
        refused = [name for name, cc in gpu_capabilities(ctx.facts) if cc < lowest]
        if refused:
            reason = f"needs compute capability {backend['min_cc']}, which {refused[0]} has not"
            yield Refused(label=f"jax[{extra}] {version}", reason=reason, source=table_text("jax_backends", backend))
            continue
        yield Option(
            part="jax", version=version, build=extra, effort=Effort.WHEEL, requirement=f"jax[{extra}]=={version}",
            needs=(
                *driver_need(ctx.facts, extra.removeprefix("cuda")),
                cuda_major_need(extra.removeprefix("cuda"), table_text("jax_backends", backend)), *pythons,
            ), source=said,
            values={"version": version},
        )  # fmt: skip


CHOICES = (
    Choice(id="tensorflow", title="TensorFlow releases", parts=("tensorflow",), options=tensorflow_options),
    Choice(id="jax", title="JAX releases and CUDA plug-ins", parts=("jax",), options=jax_options),
    Choice(id="torch-companions", title="What pins torch", parts=tuple(SOURCES), options=table_options),
    Choice(id="installed", title="Installed wheels without a table", parts=(), options=other_options, others=True),
)
