"""torch_npu against torch and CANN, MindSpore and onnxruntime-cann against CANN.

torch_npu X.Y.Z[.postN] needs torch X.Y.Z (PyPI METADATA pins). Against CANN only what is printed counts: the paired version
of the release notes, and the window in which several releases work together. What is not printed is unknown, never wrong."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    CheckContext,
    Compatibility,
    CompatibilityRule,
    Component,
    Row,
    Verdict,
    major_minor,
    numbers,
    pair,
    parse_version,
    verdict_of,
)
from infra_doctor_probes.tables.ascend import doubt, in_use
from infra_doctor_probes.tables.common import label, rows, table_text, wheels

PYPI, PAIRS = "ascend_torch_npu_pypi", "ascend_torch_npu"
# "TorchNPU 7.3.X, 26.0.X, 26.1.X and 26.2.X each work with CANN 8.5.X, 9.0.X, 9.1.X and 9.2.X" (26.2.0 release notes)
WINDOW_RELEASES = {(7, 3), (26, 0), (26, 1), (26, 2)}
WINDOW_CANN = {(8, 5), (9, 0), (9, 1), (9, 2)}


def base(version: str | None) -> tuple[int, ...]:
    """X.Y.Z of a version, without post, rc, dev and local parts."""
    found = numbers(version or "")[:3]
    return (*found, 0, 0)[:3] if len(found) >= 2 else ()


def judge_torch(ctx: CheckContext) -> Iterator[Compatibility]:
    """torch_npu and the torch beside it."""
    for npu in wheels(ctx, "torch-npu"):
        for torch in wheels(ctx, "torch", target=npu.target):
            here, there = base(npu.version), base(torch.version)
            meets = here == there if here and there else None
            detail = f"{label(npu)} needs torch {'.'.join(map(str, here))}; {label(torch)} is there."
            yield pair(npu.key, torch.key, "torch-npu-torch", verdict_of(meets), detail, source=pin_source(npu))


def pin_source(npu: Component) -> str:
    """The pin of this very wheel where the table has it, else the rule that all of them follow."""
    row = next((r for r in rows(PYPI) if r["torch_npu"] == (npu.version or "").partition("+")[0]), None)
    if row is not None and row["torch_pin"]:
        return f"{row.source}: torch {row['torch_pin']}"
    return "PyPI METADATA of torch-npu 2.1 to 2.14: each pins torch of its own X.Y.Z (table ascend_torch_npu_pypi)"


def judge_cann(ctx: CheckContext) -> Iterator[Compatibility]:
    """torch_npu and the CANN in use."""
    for npu in wheels(ctx, "torch-npu"):
        for cann in in_use(ctx):
            if doubt(cann):
                detail = doubt(cann) + "."
                yield pair(npu.key, cann.key, "cann-torch-npu", Verdict.UNKNOWN, detail, source=f"table {PAIRS}")
            else:
                yield cann_row(npu, cann)


def cann_row(npu: Component, cann: Component) -> Compatibility:
    """The printed pair, else the window."""
    version = (npu.version or "").partition("+")[0]
    printed = [r for r in rows(PAIRS) if r["torch_npu"] == version]
    exact = next((r for r in printed if parse_version(r["cann"]) == parse_version(cann.version or "")), None)
    if exact is not None:
        detail = f"{label(npu)} is released for CANN {exact['cann']}."
        return pair(
            npu.key, cann.key, "cann-torch-npu", Verdict.COMPATIBLE, detail,
            source=table_text(PAIRS, exact), certain=exact.certain,
        )  # fmt: skip
    window = next((r for r in rows("ascend_rules") if r["id"] == "torchnpu-cann-window"), None)
    row = printed[0] if printed else None
    if row is not None and window is not None and in_window(row, cann):
        return pair(
            npu.key, cann.key, "cann-torch-npu", Verdict.COMPATIBLE,
            f"{label(npu)} ({row['branch']}) is released for CANN {row['cann']} and works with {label(cann)}.",
            source=window.source, certain=window.certain,
        )  # fmt: skip
    if row is None:
        detail = f"no published row speaks of {label(npu)}."
        return pair(npu.key, cann.key, "cann-torch-npu", Verdict.UNKNOWN, detail, source=f"table {PAIRS}")
    detail = f"{label(npu)} is released for CANN {row['cann']}; of {label(cann)} nothing is published."
    return pair(npu.key, cann.key, "cann-torch-npu", Verdict.UNKNOWN, detail, source=table_text(PAIRS, row))


def in_window(row: Row, cann: Component) -> bool:
    """Whether release (after the dash of the branch) and CANN are both of the printed matrix."""
    return major_minor(row["branch"].rpartition("-")[2]) in WINDOW_RELEASES and major_minor(cann.version) in WINDOW_CANN


def judge_mindspore(ctx: CheckContext) -> Iterator[Compatibility]:
    """MindSpore and the CANN in use: pairs that were tested together. Another CANN is not thereby wrong."""
    for wheel in wheels(ctx, "mindspore"):
        row = next((r for r in rows("mindspore_cann") if base(r["mindspore"]) == base(wheel.version)), None)
        for cann in in_use(ctx):
            same = row is not None and parse_version(row["cann"]) == parse_version(cann.version or "")
            if row is None:
                detail, source, certain = f"no row speaks of {label(wheel)}.", "table mindspore_cann", True
            else:
                detail, source = f"{label(wheel)} is named with CANN {row['cann']}.", table_text("mindspore_cann", row)
                certain = row.certain
            verdict = Verdict.COMPATIBLE if same and not doubt(cann) else Verdict.UNKNOWN
            yield pair(wheel.key, cann.key, "mindspore-cann", verdict, detail, source=source, certain=certain)


def judge_onnxruntime(ctx: CheckContext) -> Iterator[Compatibility]:
    """onnxruntime-cann and the CANN in use: the documented line. Whether its libraries are found is another question."""
    for wheel in wheels(ctx, "onnxruntime-cann"):
        named = [
            r for r in rows("onnxruntime_eps")
            if r["package"] == wheel.name and r["needs"].startswith("CANN ")
            and parse_version(r["version"]) == parse_version(wheel.version or "")
        ]  # fmt: skip
        for cann in in_use(ctx):
            if not named:
                detail = f"no row says which CANN {label(wheel)} was built for."
                yield pair(wheel.key, cann.key, "ort-cann", Verdict.UNKNOWN, detail, source="table onnxruntime_eps")
                continue
            wanted = named[0]["needs"].removeprefix("CANN ").partition(" ")[0]
            same = major_minor(wanted) == major_minor(cann.version) and not doubt(cann)
            detail = f"{label(wheel)} is named with CANN {wanted}; {label(cann)} is there."
            verdict = Verdict.COMPATIBLE if same else Verdict.UNKNOWN
            source = table_text("onnxruntime_eps", named[0])
            yield pair(wheel.key, cann.key, "ort-cann", verdict, detail, source=source, certain=named[0].certain)


RULES = (
    CompatibilityRule(
        id="torch-npu-torch",
        title="torch_npu and torch",
        explanation="torch_npu X.Y.Z[.postN] is built against the internals of torch X.Y.Z and needs exactly that one.",
        sources=("https://pypi.org/project/torch-npu/", "https://github.com/Ascend/pytorch/issues/35"),
        judge=judge_torch,
    ),
    CompatibilityRule(
        id="cann-torch-npu",
        title="torch_npu and CANN",
        explanation="The pairs of the release notes, and the printed window: TorchNPU 7.3 to 26.2 with CANN 8.5 to 9.2.",
        sources=("https://github.com/Ascend/pytorch/blob/9e73e708ab93/COMPATIBILITY.md",),
        judge=judge_cann,
    ),
    CompatibilityRule(
        id="mindspore-cann",
        title="MindSpore and CANN",
        explanation="Pairs that release notes name; another CANN is unknown.",
        sources=("table mindspore_cann",),
        judge=judge_mindspore,
    ),
    CompatibilityRule(
        id="ort-cann",
        title="onnxruntime-cann and CANN",
        explanation="The CANN line that ONNX Runtime's documentation, or the wheel's RUNPATH, names for a version.",
        sources=("https://onnxruntime.ai/docs/execution-providers/community-maintained/CANN-ExecutionProvider.html",),
        judge=judge_onnxruntime,
    ),
)
