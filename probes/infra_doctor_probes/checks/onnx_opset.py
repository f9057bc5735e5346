"""ONNX-OPSET: models that the installed onnx writes by default are newer than the ONNX Runtime beside it reads."""

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
    major_minor,
)
from infra_doctor_probes.detect.wheels import OnnxRuntimeBuild
from infra_doctor_probes.in_target import pip_words, prefix_of, titled
from infra_doctor_probes.tables.common import rows, table_text

# onnx release line -> (IR version, opset of ai.onnx): VERSION_TABLE in onnx/helper.py (read in 1.19.0 and 1.21.0).
WRITES = {
    (1, 7): (7, 12), (1, 8): (7, 13), (1, 9): (7, 14), (1, 10): (8, 15), (1, 11): (8, 16), (1, 12): (8, 17), (1, 13): (8, 18),
    (1, 14): (9, 19), (1, 15): (9, 20), (1, 16): (10, 21), (1, 17): (10, 22), (1, 18): (11, 23), (1, 19): (12, 24),
    (1, 20): (13, 25), (1, 21): (13, 26),
}  # fmt: skip
VERSION_TABLE = "https://github.com/onnx/onnx/blob/main/onnx/helper.py"


def run(ctx: CheckContext) -> Iterator[Finding]:
    """One finding per environment that holds both."""
    pairs = [
        (onnx, ort)
        for onnx in ctx.named("onnx")
        for ort in ctx.facts(OnnxRuntimeBuild)
        if onnx.kind == "wheel" and onnx.target == ort.target
    ]
    if not pairs:
        yield CHECK.skip("no environment holds both onnx and ONNX Runtime")
        return
    for onnx, ort in pairs:
        yield judge(ctx, onnx, ort)


def judge(ctx: CheckContext, onnx: Component, ort: OnnxRuntimeBuild) -> Finding:
    """The finding of one environment. A newer opset alone is nothing: exporters choose theirs, and onnxruntime reads what
    it knows; the IR version is refused as a whole, and onnx.helper.make_model writes the newest."""
    both = f"{titled(ctx, onnx.key)} and {titled(ctx, ort.wheel)} in {prefix_of(ort.target)}"
    subject = (onnx.key, ort.wheel)
    writes = WRITES.get(major_minor(onnx.version) or (0, 0))
    row = next(  # patch releases read what their release line reads
        (r for r in rows("onnxruntime_opsets") if major_minor(r["onnxruntime_gpu"]) == major_minor(ort.version)), None
    )
    if writes is None or row is None:
        which = titled(ctx, onnx.key) if writes is None else titled(ctx, ort.wheel)
        return CHECK.finding(
            Status.UNKNOWN, f"{both}: {which} is not in the tables", subject=subject, severity=Severity.LOW
        )
    reads_ir, reads_opset = int(row["max_ir_version"]), int(row["max_onnx_opset"])
    evidence = (
        Evidence(
            kind=EvidenceKind.TABLE, source=VERSION_TABLE,
            text=f"onnx {onnx.version} writes IR {writes[0]}, opset {writes[1]}",
        ),
        Evidence(
            kind=EvidenceKind.TABLE, source=table_text("onnxruntime_opsets", row),
            text=f"ONNX Runtime {ort.version} reads up to IR {reads_ir}, opset {reads_opset}",
        ),
    )  # fmt: skip
    if writes[0] <= reads_ir:
        return CHECK.finding(
            Status.PASS, f"{both}: IR {writes[0]} is written, up to {reads_ir} is read", subject=subject, evidence=evidence,
            severity=Severity.LOW, confidence=Confidence.DERIVED,
        )  # fmt: skip
    older = max((line for line, (ir, _) in WRITES.items() if ir <= reads_ir), default=(1, 7))
    requirement = repr(f"onnx=={older[0]}.{older[1]}.*")
    return CHECK.finding(
        Status.WARN,
        f"{both}: onnx writes IR version {writes[0]} by default, this ONNX Runtime reads up to {reads_ir}",
        subject=subject,
        detail=f"onnx.helper.make_model, and what is built on it, writes IR {writes[0]} (opset {writes[1]}); such a model is"
        f" refused with *Unsupported model IR version: {writes[0]}, max supported IR version: {reads_ir}*. PyTorch's exporter"
        " writes an older IR, so its models are not concerned.",
        evidence=evidence,
        confidence=Confidence.DERIVED,
        remedy=f"Save models with `model.ir_version = {reads_ir}` and an opset of {reads_opset} or less; or upgrade ONNX"
        f" Runtime; or keep onnx at {older[0]}.{older[1]} ({pip_words(ctx, ort.target, 'install', requirement)}).",
    )


CHECK = Check(
    id="ONNX-OPSET",
    title="onnx writes models that this ONNX Runtime does not read",
    explanation="""\
A model file names an IR version and an opset. `onnx.helper.make_model` writes the newest IR version that the installed onnx
knows; ONNX Runtime refuses an IR version that is newer than its own: *Unsupported model IR version: 11, max supported IR version:
10*. onnx is released before the ONNX Runtime that reads its models, so upgrading onnx alone breaks a pipeline that converts and
runs in one environment. Opsets are no such wall: converters (torch.onnx, tf2onnx, skl2onnx) choose one, and the older are read.

The numbers come from onnx's own version table and from models of rising IR version that were loaded with each ONNX Runtime.""",
    remediation="Set `model.ir_version` when saving, upgrade ONNX Runtime, or keep onnx at the release of its time.",
    sources=(
        "https://onnxruntime.ai/docs/reference/compatibility.html#onnx-opset-support",
        "https://onnx.ai/onnx/repo-docs/Versioning.html",
        "https://github.com/microsoft/onnxruntime/issues/23602",
    ),
    run=run,
    severity=Severity.LOW,
    log_signatures=(
        LogSignature(
            pattern=r"Unsupported model IR version: \d{1,2}, max supported IR version: \d{1,2}",
            source="https://github.com/microsoft/onnxruntime/issues/23602",
            strength=3,
        ),
        LogSignature(
            pattern=r"ONNX Runtime only \*guarantees\* support for models stamped with official released onnx opset versions",
            source="https://github.com/vespa-engine/vespa/issues/28161",
            strength=3,
        ),
        LogSignature(
            pattern=r"[Oo]pset \d{1,2} is under development and support for this is limited",
            source="https://github.com/vespa-engine/vespa/issues/28161",
            strength=3,
        ),
    ),
    tags=("onnx", "onnxruntime"),
)

CHECKS = (CHECK,)
