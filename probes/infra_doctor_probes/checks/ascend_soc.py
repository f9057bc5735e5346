"""ASCEND-SOC: the installed torch_npu, vllm-ascend or operators are for other chips than this machine's.

Rests on the matrix rules `torch-npu-chip`, `vllm-ascend-chip` and `cann-kernels-chip`: lists of chip names in public sources,
and the folders of ready-made operators below CANN."""

from __future__ import annotations

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Compatibility, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.ascend import was_found
from infra_doctor_probes.from_matrix import Rows, findings, named, others
from infra_doctor_probes.tables.acl_codes import signatures, table
from infra_doctor_probes.tables.ascend_soc import FAMILIES, family_of, kinds, soc_of

# Wheels whose operators come ready-made out of CANN's package.
ADAPTERS = ("torch-npu", "mindspore", "mindie", "vllm-ascend")


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding for what does not know the chip, one for operators of other chips."""
    if not was_found(context) or not context.by_kind("npu"):
        yield CHECK.skip("no Ascend NPU shows here")
        return
    if not kinds(context):
        names = ", ".join(dict.fromkeys(n.name for n in context.by_kind("npu")))
        yield CHECK.skip(f"which chip this is exactly cannot be told from {names}")
        return
    adapters = [w for w in context.by_kind("wheel") if w.name in ADAPTERS]
    wheels = context.judged("torch-npu-chip", "vllm-ascend-chip")
    kernels = context.judged("cann-kernels-chip")
    if not adapters:
        kernels = tuple(row for row in kernels if row.certain)
    chips = ", ".join(dict.fromkeys(soc_of(n) for n in kinds(context)))
    if not wheels and not kernels:
        yield CHECK.skip(f"nothing here says for which chips it was made; the chip is {chips}")
        return
    yield from findings(
        CHECK, context, wheels,
        title=lambda bad: f"{named(context, bad, 'wheel')} does not know {npus(context, bad)}",
        remedy=lambda bad: upgrade(context, bad),
        passed=lambda good: f"{named(context, good, 'wheel')} knows {npus(context, good)}",
    )  # fmt: skip
    yield from findings(
        CHECK, context, kernels,
        title=lambda bad: f"{others(context, bad, 'npu')} holds no operators for {npus(context, bad)}",
        remedy=lambda bad: install(context, bad),
        passed=lambda good: f"{others(context, good, 'npu')} holds operators for {npus(context, good)}",
        worst=Status.FAIL if adapters else Status.WARN,
    )  # fmt: skip


def npus(context: CheckContext, rows: Rows) -> str:
    """The chips in these rows."""
    found = (context.component(row.right) for row in rows)
    return ", ".join(dict.fromkeys(soc_of(npu) for npu in found if npu is not None))


def upgrade(context: CheckContext, rows: Rows) -> str:
    """Which release knows the chip."""
    if any(row.rule == "vllm-ascend-chip" for row in rows):
        return (
            "vllm-ascend has no operators for this chip. Use MindIE or an ATC-converted model with pyACL on it, or run vLLM"
            " on an A2, A3 or 310P."
        )
    return (
        f"{' '.join(dict.fromkeys(r.detail for r in rows))} Install one of them with torch of the same X.Y.Z and the CANN that"
        " it is released for; or convert the model with ATC and run it by pyACL, which needs no torch_npu."
    )


def install(context: CheckContext, rows: tuple[Compatibility, ...]) -> str:
    """Which package holds the operators."""
    cann = context.component(rows[0].left)
    npu = context.component(rows[0].right)
    family = FAMILIES.get(family_of(soc_of(npu))) if npu is not None else None
    chip = family[2] if family is not None else "<chip>"
    version = cann.version if cann is not None and cann.version else "of the same version"
    return (
        f"Install the operators of CANN {version} for this chip into the same path: Ascend-cann-{chip}-ops from CANN 8.5 on,"
        f" Ascend-cann-kernels-{chip} before. In a container, take the image of this chip (…-{chip}-…)."
    )


CHECK = Check(
    id="ASCEND-SOC",
    title="Software for another chip than this NPU",
    explanation=f"""\
Chips of one name differ: a 910B4 is not a 910B (the first 910), a 310B4 is not a 310P3. Three things are made for particular
chips, and each fails in its own words when it meets another one:

* torch_npu holds a list of names: *Unsupported soc version: Ascend310B4*. The 310B4 is known from 2.1.0.post3 and 2.2.0 on, the
  910C from 2.1.0.post8, 2.3.1.post2 and 2.4.0 on, the 950 from 2.7.1.post4, 2.8.0.post4, 2.9.0.post2 and 2.10.0 on.
* CANN's operators come in a package per family of chips (kernels, from 8.5 on: ops): without the right one *please check if the
  opp_kernel package is installed*, *Cannot find bin of op …*, or

{table("ASCEND-SOC")}

* vllm-ascend is for A2, A3 and 310P: *Can not support soc_version: 104* is the first 910.

A chip whose exact name the tools do not say is not judged: npu-smi calls every 910C "Ascend910".

*Proven on captures of Ascend machines and on described ones, not on an Ascend machine.*""",
    remediation="Install the release that knows the chip, or the operators of this CANN for it.",
    sources=(
        "https://github.com/Ascend/pytorch/issues/57",
        "https://github.com/vllm-project/vllm-ascend/issues/237",
        "https://docs.vllm.ai/projects/ascend/en/v0.10.0rc1/faqs.html",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"Unsupported (?:soc|SOC)[ _]version: ?(?:Ascend|\w)",
            source="https://github.com/Ascend/pytorch/issues/57",
            strength=3,
        ),
        LogSignature(
            pattern=r"Can not support soc_version: ?\d",
            source="https://github.com/vllm-project/vllm-ascend/issues/6796",
            strength=3,
        ),
        LogSignature(
            pattern=r"SOC_VERSION ascend\w{1,20} does not support",
            source="https://github.com/ggml-org/llama.cpp/issues/10719",
            strength=3,
        ),
        LogSignature(
            pattern=r"(?:check if the opp_kernel package is install|opp_kernels? is not installed)",
            source="https://github.com/vllm-project/vllm-ascend/issues/237",
            strength=3,
        ),
        LogSignature(
            pattern=r"Cannot find bin(?:ary)? (?:of|for) op \w",
            source="https://github.com/Ascend/pytorch/blob/9e73e708ab93/docs/zh/user_guide/troubleshooting/troubleshooting_cases/operator_called_error.md",
        ),
        LogSignature(
            pattern=r"Parse dynamic kernel config fail", source="https://github.com/gpustack/gpustack/issues/1514"
        ),
        LogSignature(
            pattern=r"Get op info json suffix path failed, soc_version: Ascend",
            source="https://github.com/mindspore-ai/mindspore/issues/246",
        ),
        LogSignature(
            pattern=r"init runtime platform info failed, SocVersion = Ascend",
            source="https://github.com/vllm-project/vllm-ascend/issues/692",
        ),
        LogSignature(
            pattern=r"(?:Get soc name failed|Cannot find option named 'Ascend)",
            source="https://github.com/mindspore-ai/mindspore/issues/344",
        ),
        *signatures("ASCEND-SOC"),
        LogSignature(
            pattern=r"Op \w{2,60} does not has any binary",
            source="https://github.com/gpustack/gpustack/issues/1514",
        ),
    ),
    tags=("ascend",),
)

CHECKS = (CHECK,)
