"""cuDNN against what uses it and against the driver.

A consumer wants a cuDNN major and, as the builds for CUDA 12 and 13 share the soname libcudnn.so.9, a CUDA major too.
Facts: the wheels' own metadata, ONNX Runtime's documentation table by (version, CUDA build) (`onnxruntime_cuda_builds`),
PyPI METADATA (`pytorch`, `jax`), TensorFlow's tested builds (`tensorflow`), NVIDIA's support matrix (`cudnn`)."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    CheckContext,
    Compatibility,
    CompatibilityRule,
    Component,
    Verdict,
    lookup,
    major,
    pair,
    record,
    within,
)
from infra_doctor_probes.tables.common import (
    ORT_GPU,
    CudaUse,
    copies_for,
    cuda_consumers,
    cuda_major_of,
    first_row,
    is_wsl,
    keep_matching,
    label,
    not_in_table,
    orders,
    rows,
    table_text,
    text,
    wheels,
)
from infra_doctor_probes.tables.cuda_driver import driver_floor

CONSUMER, DRIVER = "cudnn-consumer", "cudnn-driver"
ORT_DOCS = "https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html"
MATRIX = "https://docs.nvidia.com/deeplearning/cudnn/latest/support-matrix/index.html"
MINOR_VERSION = "https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html"


@record
class Wanted:
    """The cuDNN that a consumer wants: its major, or a range. `unknown` is why neither is known."""

    major: int | None = None
    spec: str = ""
    source: str = ""
    certain: bool = True
    unknown: str = ""


def wanted_by(ctx: CheckContext, wheel: Component, use: CudaUse) -> Wanted | None:
    """What a wheel wants; None for a wheel that does not use cuDNN."""
    own = major(text(wheel, "cudnn"))
    if own is not None:
        return Wanted(major=own, source="the wheel's own metadata")
    if wheel.name in ORT_GPU:
        return wanted_by_ort(wheel, use)
    if wheel.name == "torch":
        return wanted_by_row(wheel, "pytorch", "torch", "cudnn")
    if wheel.name == "tensorflow":
        return wanted_by_row(wheel, "tensorflow", "tensorflow", "cudnn_tested")
    if wheel.name.startswith("jax-cuda"):
        jax = next(wheels(ctx, "jax", target=wheel.target or ""), None)
        number = wheel.name[len("jax-cuda") :][:2]
        match = lookup(rows("jax"), "jax", jax.version, agree=(f"cuda{number}_cudnn",)) if jax is not None else None
        if match is not None and match.row is not None and match.row[f"cuda{number}_cudnn"]:
            source = table_text("jax", match.row)
            return Wanted(spec=match.row[f"cuda{number}_cudnn"], source=source, certain=match.row.certain)
    return None


def wanted_by_ort(wheel: Component, use: CudaUse) -> Wanted:
    """By (version, CUDA build) first: 1.18.0 for CUDA 12 uses cuDNN 8, 1.18.1 for CUDA 12 cuDNN 9."""
    cuda = major(use.cuda)
    builds = [r for r in rows("onnxruntime_cuda_builds") if major(r["cuda_build"]) == cuda]
    match = lookup(builds, "onnxruntime", wheel.version, agree=("cudnn_linux",))
    name, column = "onnxruntime_cuda_builds", "cudnn_linux"
    if match.row is None:
        served = [r for r in rows("onnxruntime_gpu") if major(r["cuda_default_pypi"]) == cuda]
        name, column = "onnxruntime_gpu", "cudnn"
        match = lookup(served, "onnxruntime_gpu", wheel.version, agree=("cudnn",))
    if match.row is None:
        return Wanted(unknown=f"{not_in_table(wheel, match, name)} with CUDA {use.cuda or 'of unknown version'}")
    return Wanted(major=major(match.row[column]), source=table_text(name, match.row), certain=match.row.certain)


def wanted_by_row(wheel: Component, name: str, key: str, column: str) -> Wanted:
    """The major of a table's row. All CUDA builds of a torch version share it."""
    match = lookup(rows(name), key, wheel.version, agree=(column,))
    if match.row is None:
        return Wanted(unknown=not_in_table(wheel, match, name))
    return Wanted(major=major(match.row[column]), source=table_text(name, match.row), certain=match.row.certain)


def judge_consumers(ctx: CheckContext) -> Iterator[Compatibility]:
    """Every consumer against the copies that it loads, or else those that it could find."""
    if not ctx.by_kind("cudnn"):
        return
    for wheel, use in cuda_consumers(ctx):
        wanted = wanted_by(ctx, wheel, use)
        if wanted is None:
            continue
        found = copies_for(ctx, wheel, "cudnn")
        judged = [(copy, *fits(wheel, use, wanted, copy)) for copy in found.copies]
        for copy, verdict, detail in keep_matching(judged, loaded=found.loaded):
            certain = wanted.certain and use.certain
            source = wanted.source or ORT_DOCS
            yield pair(wheel.key, copy.key, CONSUMER, verdict, detail, source=source, certain=certain)


def fits(wheel: Component, use: CudaUse, wanted: Wanted, copy: Component) -> tuple[Verdict, str]:
    """(verdict, sentence) of one copy."""
    where = f"{label(copy)} at {copy.location or copy.key}{orders(copy, wheel)}"
    if wanted.unknown or (wanted.major is None and not wanted.spec):
        return Verdict.UNKNOWN, f"{wanted.unknown or label(wheel)}: which cuDNN it wants is not known; {where}."
    here, built_for, needs = major(copy.version), cuda_major_of(copy), major(use.cuda)
    asks = f"cuDNN {wanted.spec}" if wanted.spec else f"cuDNN {wanted.major}"
    said = f"{label(wheel)} wants {asks} for CUDA {needs if needs is not None else 'of unknown version'}; {where}"
    if here is None:
        return Verdict.UNKNOWN, f"{said} has no readable version."
    if (wanted.spec and within(copy.version, wanted.spec) is Verdict.INCOMPATIBLE) or (
        wanted.major is not None and here != wanted.major
    ):
        return Verdict.INCOMPATIBLE, f"{said} is another one."
    if built_for is not None and needs is not None and built_for != needs:
        shared = f"both builds are called libcudnn.so.{here}, so the name does not keep them apart"
        return Verdict.INCOMPATIBLE, f"{said} is built for CUDA {built_for}; {shared}."
    if built_for is None:
        return Verdict.COMPATIBLE, f"{said} is of that major (for which CUDA it was built is not known)."
    return Verdict.COMPATIBLE, f"{said} is built for CUDA {built_for}."


# -- the driver ---------------------------------------------------------------------------------------------------


def judge_driver(ctx: CheckContext) -> Iterator[Compatibility]:
    """The copies that a consumer gets against the loaded driver. Windows' minima are in no table."""
    driver = ctx.component("driver:nvidia")
    if driver is None or is_wsl(ctx):
        return
    copies = {c.key: c for wheel, _ in cuda_consumers(ctx) for c in copies_for(ctx, wheel, "cudnn").copies}
    for copy in copies.values():
        row = driver_row(copy, driver)
        if row is not None:
            yield row


def driver_row(copy: Component, driver: Component) -> Compatibility | None:
    """The matrix's minimum for the copy's CUDA major; where its row is not certain, that of the CUDA family, which is
    the same number in every row that was read."""
    cuda = cuda_major_of(copy)
    if cuda is None:
        return None
    column = f"driver_cuda{cuda}"
    match = lookup(rows("cudnn"), "cudnn", copy.version, agree=(column,) if cuda in {11, 12, 13} else ())
    known = match.row is not None and match.row.certain and bool(match.row.cells.get(column))
    family = first_row("cuda_families", cuda_major=str(cuda))
    if known and match.row is not None:
        minimum, source, certain = match.row[column], table_text("cudnn", match.row), True
    elif family is not None:
        minimum, source, certain = family["linux"], table_text("cuda_families", family), family.certain
    else:
        detail = f"{label(copy)} is built for CUDA {cuda}, whose driver is in no table."
        return pair(copy.key, driver.key, DRIVER, Verdict.UNKNOWN, detail, source=MINOR_VERSION)
    detail = f"{label(copy)} for CUDA {cuda} needs driver {minimum} or newer, and {driver.version} is loaded."
    verdict = driver_floor(driver, minimum, str(cuda))
    return pair(copy.key, driver.key, DRIVER, verdict, detail, source=source, certain=certain)


RULES = (
    CompatibilityRule(
        id=CONSUMER,
        title="Each framework gets the cuDNN that it was built with",
        explanation="""\
A framework needs the cuDNN major that it was built with: ONNX Runtime built with cuDNN 8 does not work with 9, and the reverse.
For ONNX Runtime the pair (version, CUDA build) decides: 1.18.0 for CUDA 12 uses cuDNN 8, 1.18.1 for CUDA 12 uses 9, and the
CUDA 11.8 builds of 1.19 and 1.20 still use 8. cuDNN for CUDA 12 and for CUDA 13 are both called libcudnn.so.9: the build's CUDA
major is compared too. Judged are the copies that the consumer loads, in each import order; where that is not known, those
beside it, and a wrong copy counts only if no right one is there.""",
        sources=(ORT_DOCS, MATRIX, "https://www.tensorflow.org/install/source#gpu", "https://pypi.org/project/torch/"),
        judge=judge_consumers,
    ),
    CompatibilityRule(
        id=DRIVER,
        title="The driver is new enough for cuDNN",
        explanation="cuDNN needs the oldest driver of its CUDA family: 525.60.13 for CUDA 12, 580.65.06 for CUDA 13, 450.80.02 for "
        "CUDA 11.",
        sources=(MATRIX, MINOR_VERSION),
        judge=judge_driver,
    ),
)
