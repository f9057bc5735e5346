"""The glibc and the Python that installed wheels need.

Facts: the wheel's own platform tag and Requires-Python; where no probe read them, PyPI METADATA of linux x86_64 wheels."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    CheckContext,
    Compatibility,
    CompatibilityRule,
    Component,
    Verdict,
    floor,
    lookup,
    pair,
    within,
)
from infra_doctor_probes.tables.common import arch_of, label, prefix, rows, table_text
from infra_doctor_probes.tables.requirements import metadata_of

GLIBC, PYTHON = "glibc-floor", "python-floor"
PEP_600 = "https://peps.python.org/pep-0600/"
PEP_621 = "https://packaging.python.org/en/latest/specifications/core-metadata/#requires-python"
# distribution -> (table, key column)
TABLES = {
    "torch": ("pytorch", "torch"), "triton": ("triton", "triton"), "tensorflow": ("tensorflow", "tensorflow"),
    "onnxruntime-gpu": ("onnxruntime_gpu", "onnxruntime_gpu"), "openvino": ("openvino_pypi", "openvino"),
    "jax": ("jax", "jax"), "torchvision": ("torchvision", "torchvision"), "torch-npu": ("ascend_torch_npu_pypi", "torch_npu"),
    "mindspore": ("mindspore_pypi", "mindspore"),
}  # fmt: skip
STACKS = ("vllm", "sglang", "xformers", "flashinfer-python", "vllm-ascend")


def needs(ctx: CheckContext, wheel: Component, column: str) -> tuple[str, str, bool]:
    """(what the wheel needs, source, certain); "" where nothing is known."""
    own = metadata_of(ctx, wheel)
    if own is not None:
        value = own.min_glibc if column == "min_glibc" else own.requires_python
        return value or "", f"metadata of {label(wheel)}", True
    if column == "min_glibc" and arch_of(ctx) not in {"", "x86_64"}:
        return "", "", True  # the table's tags are those of x86_64 wheels
    if wheel.name in STACKS:
        found = [r for r in rows("serving_stacks") if r["package"] == wheel.name]
        table, key = "serving_stacks", "version"
    elif wheel.name in TABLES:
        table, key = TABLES[wheel.name]
        found = list(rows(table))
    else:
        return "", "", True
    match = lookup(found, key, wheel.version, agree=(column,) if found and column in found[0].cells else ())
    if match.row is None or not match.row.cells.get(column):
        return "", "", True
    return match.row[column], table_text(table, match.row), match.row.certain


def judge_glibc(ctx: CheckContext) -> Iterator[Compatibility]:
    """Every wheel with a floor against the C library of its interpreter."""
    for wheel in ctx.by_kind("wheel"):
        libcs = [c for c in ctx.by_kind("libc") if not c.target or prefix(c.target) == prefix(wheel.target)]
        own = [c for c in libcs if c.target] or libcs
        for libc in own if wheel.target else ():
            minimum, source, certain = needs(ctx, wheel, "min_glibc")
            if not minimum:
                continue
            if libc.name != "glibc":
                detail = (
                    f"{label(wheel)} is built for glibc {minimum} or newer, and the interpreter uses {label(libc)}."
                )
                yield pair(
                    wheel.key,
                    libc.key,
                    GLIBC,
                    Verdict.INCOMPATIBLE,
                    detail,
                    source=f"{source}; {PEP_600}",
                    certain=certain,
                )
                continue
            seen = libc.version or "one of unknown version"
            detail = f"{label(wheel)} needs glibc {minimum} or newer; the interpreter uses {seen}."
            verdict = floor(libc.version, minimum)
            yield pair(wheel.key, libc.key, GLIBC, verdict, detail, source=f"{source}; {PEP_600}", certain=certain)


def judge_python(ctx: CheckContext) -> Iterator[Compatibility]:
    """Every wheel's Requires-Python against its target's Python."""
    pythons = {prefix(t.prefix): (t.key, t.python_version) for t in ctx.targets}
    pythons |= {prefix(c.target): (c.key, c.version) for c in ctx.by_kind("python") if c.target}
    for wheel in ctx.by_kind("wheel"):
        if wheel.name.startswith("nvidia-"):
            continue  # libraries alone, for any Python 3
        key, version = pythons.get(prefix(wheel.target), ("", None))
        spec, source, certain = needs(ctx, wheel, "requires_python") if version else ("", "", True)
        if spec:
            detail = f"{label(wheel)} needs Python {spec}; this is {version}."
            verdict = within(version, spec)
            yield pair(wheel.key, key, PYTHON, verdict, detail, source=f"{source}; {PEP_621}", certain=certain)


RULES = (
    CompatibilityRule(
        id=GLIBC,
        title="The C library is new enough for the wheels",
        explanation="""\
A manylinux tag names the oldest glibc that a wheel runs with: manylinux_2_28 needs glibc 2.28, manylinux2014 2.17. pip checks
it at installation; a copied environment, another base image or conda's older C library breaks it later. musl is no glibc.""",
        sources=(PEP_600,),
        judge=judge_glibc,
    ),
    CompatibilityRule(
        id=PYTHON,
        title="The Python is one that the wheels support",
        explanation="Requires-Python in a wheel's metadata names the Pythons that it supports.",
        sources=(PEP_621,),
        judge=judge_python,
    ),
)
