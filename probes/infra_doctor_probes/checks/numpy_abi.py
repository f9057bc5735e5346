"""NUMPY-ABI: a package that was compiled against NumPy 1 beside NumPy 2."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Component,
    Confidence,
    Evidence,
    EvidenceKind,
    Finding,
    LogSignature,
    Severity,
    Status,
    major,
    major_minor,
)
from infra_doctor_probes.in_target import pip_words, prefix_of, titled

# Distribution -> (first release whose wheels work with NumPy 2, whether the import of older ones fails, who says so).
FIRST = {
    "torch": ((2, 3), False, "https://github.com/pytorch/pytorch/issues/107302"),
    **dict.fromkeys(
        ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml"),
        ((1, 19), True, "https://github.com/microsoft/onnxruntime/issues/21063"),
    ),
}


def run(ctx: CheckContext) -> Iterator[Finding]:
    """One finding per package and environment with NumPy 2."""
    found = False
    for numpy in ctx.named("numpy"):
        if (major(numpy.version) or 0) < 2 or numpy.kind != "wheel":
            continue
        for wheel in ctx.by_kind("wheel", target=numpy.target):
            if wheel.name in FIRST and wheel.origin != "conda":  # conda-forge built old releases anew
                found = True
                yield judge(ctx, numpy, wheel)
    if not found:
        yield CHECK.skip("no NumPy 2 stands beside a package whose NumPy could be told")


def judge(ctx: CheckContext, numpy: Component, wheel: Component) -> Finding:
    """The finding of one package."""
    first, fails, source = FIRST[wheel.name]
    release = major_minor(wheel.version)
    where = f"{titled(ctx, wheel.key)} in {prefix_of(wheel.target or '')}"
    line = f"{first[0]}.{first[1]}"
    evidence = (
        *wheel.evidence,
        *numpy.evidence,
        Evidence(kind=EvidenceKind.TABLE, source=source, text=f"NumPy 2 from {line} on"),
    )
    if release is None or release >= first:
        return CHECK.finding(
            Status.PASS if release else Status.UNKNOWN, f"{where} was built for NumPy 2", subject=(wheel.key, numpy.key),
            evidence=evidence, severity=Severity.LOW, confidence=Confidence.DERIVED,
        )  # fmt: skip
    effect = "its import fails" if fails else "torch.from_numpy() and Tensor.numpy() fail with *Numpy is not available*"
    return CHECK.finding(
        Status.FAIL if fails else Status.WARN,
        f"{where} was compiled against NumPy 1, and numpy {numpy.version} is installed",
        subject=(wheel.key, numpy.key),
        detail=f"Wheels of {wheel.name} before {line} know the binary interface of NumPy 1 alone: {effect}.",
        evidence=evidence,
        confidence=Confidence.DERIVED,
        remedy=f"Keep NumPy 1 beside it: {pip_words(ctx, wheel.target or '', 'install', repr('numpy<2'))}; or upgrade"
        f" {wheel.name} to {line} or newer.",
    )


CHECK = Check(
    id="NUMPY-ABI",
    title="Compiled against NumPy 1, beside NumPy 2",
    explanation="""\
NumPy 2.0 changed its binary interface: modules that were compiled against NumPy 1 do not work with it (the reverse does). Old
wheels ask for `numpy` without an upper bound, so pip brings NumPy 2 beside them. The import then prints *A module that was compiled
using NumPy 1.x cannot be run in NumPy 2* and fails with *numpy.core.multiarray failed to import*, or goes on without NumPy, as
PyTorch before 2.3 does.

Judged are PyTorch and ONNX Runtime, whose first releases for NumPy 2 are published. Packages that name an upper bound in their
METADATA (TensorFlow, for one) are a matter of PY-PINS.""",
    remediation="Install `numpy<2` beside the old package, or a release of it that was built for NumPy 2.",
    sources=(
        "https://numpy.org/doc/stable/numpy_2_0_migration_guide.html",
        "https://github.com/numpy/numpy/issues/26191",
        "https://github.com/pytorch/pytorch/issues/107302",
        "https://github.com/microsoft/onnxruntime/issues/21063",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"compiled using NumPy 1\.x cannot be run in\s+NumPy 2",
            source="https://github.com/microsoft/onnxruntime/issues/21063",
            strength=3,
        ),
        LogSignature(
            pattern=r"_ARRAY_API not found",
            source="https://github.com/hacksider/Deep-Live-Cam/issues/1055",
            strength=3,
        ),
        LogSignature(
            pattern=r"numpy\.core\.multiarray failed to import",
            source="https://github.com/pydata/bottleneck/issues/453",
        ),
        LogSignature(
            pattern=r"RuntimeError: Numpy is not available",
            source="https://github.com/pytorch/pytorch/issues/132179",
        ),
        LogSignature(
            pattern=r"numpy\.dtype size changed, may indicate binary incompatibility",
            source="https://github.com/numpy/numpy/issues/26191",
        ),
    ),
    tags=("python", "numpy"),
)

CHECKS = (CHECK,)
