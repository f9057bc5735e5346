"""Which chips a torch_npu, a vllm-ascend and a CANN's ready-made operators are for.

torch_npu: the map of chip names in torch_npu/csrc/core/npu/NpuVariables.cpp of every release tag of Ascend/pytorch; a name
that is not in it ends with "Unsupported soc version". vllm-ascend: the list in its FAQ. Operators: the folders below the OPP.
A chip whose exact name is not known (npu-smi calls every 910C "Ascend910") is not judged."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from infra_doctor.plugin import (
    CheckContext,
    Compatibility,
    CompatibilityRule,
    Component,
    Verdict,
    numbers,
    pair,
)
from infra_doctor_probes.tables.ascend import in_use
from infra_doctor_probes.tables.common import label, text, wheels

MAP = "https://github.com/Ascend/pytorch/blob/9e73e708ab93/torch_npu/csrc/core/npu/NpuVariables.cpp"
TAGS = f"{MAP} and the same file in every release tag"
VLLM_FAQ = "https://docs.vllm.ai/projects/ascend/en/v0.10.0rc1/faqs.html"
KERNELS_SOURCE = "https://github.com/vllm-project/vllm-ascend/issues/237"
# Family of chips -> (what their names look like, folders of ready-made operators, packages that hold them).
FAMILIES = {
    "910B (A2)": (re.compile(r"Ascend910B\d.{0,8}"), ("ascend910b",), "910b"),
    "910C (A3)": (re.compile(r"Ascend910_93\d\d.{0,8}"), ("ascend910_93",), "A3"),
    "310P": (re.compile(r"Ascend310P\d?.{0,8}"), ("ascend310p",), "310p"),
    "310B": (re.compile(r"Ascend310B\d?.{0,8}"), ("ascend310b",), "310b"),
    "950 (A5)": (re.compile(r"Ascend950.{0,20}"), ("ascend950", "ascend910_95"), "950"),
    "910": (re.compile(r"Ascend910(?:A|B|ProA|ProB|PremiumA)"), ("ascend910",), "910"),
}  # fmt: skip
# Family, or "Ascend310B4" where one chip of a family came later -> the first post release of each X.Y.Z that knows it. An
# X.Y.Z above the last one knows it from its first release on; between and below them none does.
FIRST: dict[str, dict[tuple[int, int, int], int]] = {
    "Ascend310B4": {(2, 1, 0): 3, (2, 2, 0): 0},
    "Ascend910B4-1": {(2, 1, 0): 6, (2, 2, 0): 2, (2, 3, 1): 0},
    "910C (A3)": {(2, 1, 0): 8, (2, 3, 1): 2, (2, 4, 0): 0},
    "950 (A5)": {(2, 7, 1): 4, (2, 8, 0): 4, (2, 9, 0): 2, (2, 10, 0): 0},
}
# Numbers that two branches gave out, of which one knows the chip and the other does not.
AMBIGUOUS = {"Ascend310B4": {(2, 1, 0): (4,)}}
NOT_IN_VLLM = ("310B", "910")


@dataclass(frozen=True, slots=True)
class Release:
    """A torch_npu: X.Y.Z and its post number, -1 for a candidate (rc1) before it; `exact` is False for dev and other builds,
    whose map is not known."""

    base: tuple[int, int, int]
    post: int
    exact: bool


def judge_torch_npu(ctx: CheckContext) -> Iterator[Compatibility]:
    """torch_npu and each kind of chip."""
    for wheel in wheels(ctx, "torch-npu"):
        release = release_of(wheel.version or "")
        for npu in kinds(ctx):
            known = knows(release, soc_of(npu)) if release is not None else None
            if known is None:
                continue
            said = "knows" if known else "does not know"
            detail = f"{label(wheel)} {said} the chip {soc_of(npu)}."
            if not known:
                detail += f" The first releases that do: {', '.join(first_releases(soc_of(npu)))}."
            verdict = Verdict.COMPATIBLE if known else Verdict.INCOMPATIBLE
            yield pair(wheel.key, npu.key, "torch-npu-chip", verdict, detail, source=TAGS)


def kinds(ctx: CheckContext) -> tuple[Component, ...]:
    """One NPU of each name."""
    found: dict[str, Component] = {}
    for npu in ctx.by_kind("npu"):
        found.setdefault(soc_of(npu), npu)
    return tuple(npu for soc, npu in found.items() if family_of(soc))


def soc_of(npu: Component) -> str:
    """The chip's name for CANN's runtime, as exactly as the tools say it: "Ascend910B3"."""
    said = text(npu, "soc")
    return said if family_of(said) else npu.name


def family_of(soc: str) -> str:
    """The family, "" for a name that does not tell it ("Ascend910", "Ascend NPU")."""
    return next((name for name, (pattern, _, _) in FAMILIES.items() if pattern.fullmatch(soc)), "")


def release_of(version: str) -> Release | None:
    """A torch_npu's version."""
    match = re.fullmatch(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?:\.post(\d{1,4})|\.?(rc)\d{1,3})?(.{0,60})", version)
    if match is None:
        return None
    one, two, three, post, candidate, rest = match.groups()
    return Release((int(one), int(two), int(three)), -1 if candidate else int(post or 0), not rest)


def knows(release: Release, soc: str) -> bool | None:
    """Whether a torch_npu knows a chip; None where that was not read."""
    first = FIRST.get(soc) or FIRST.get(family_of(soc))
    if first is None:
        return True if release.base >= (1, 11, 0) else None
    newest = max(first)
    if release.base > newest:
        return True
    if not release.exact:
        return False if release.base < min(first) else None
    lowest = first.get(release.base)
    if lowest is None:
        return False
    if release.post in AMBIGUOUS.get(soc, {}).get(release.base, ()) or (release.post < 0 and lowest == 0):
        return None
    return release.post >= lowest


def first_releases(soc: str) -> list[str]:
    """The first torch_npu of each X.Y.Z that knows a chip, newest first."""
    first = FIRST.get(soc) or FIRST.get(family_of(soc)) or {}
    return [".".join(map(str, b)) + (f".post{p}" if p else "") for b, p in sorted(first.items(), reverse=True)]


def judge_vllm(ctx: CheckContext) -> Iterator[Compatibility]:
    """vllm-ascend and each kind of chip: what its FAQ names as not supported."""
    for wheel in wheels(ctx, "vllm-ascend"):
        for npu in kinds(ctx):
            family = family_of(soc_of(npu))
            if family in NOT_IN_VLLM:
                detail = f"{label(wheel)} does not support {soc_of(npu)}: its FAQ lists the 310B and the first 910 as unplanned."
                yield pair(wheel.key, npu.key, "vllm-ascend-chip", Verdict.INCOMPATIBLE, detail, source=VLLM_FAQ)
            elif family in {"910B (A2)", "910C (A3)"} and numbers(wheel.version or "") >= (0, 10):
                detail = f"{label(wheel)} is for chips of the family {family}."
                yield pair(wheel.key, npu.key, "vllm-ascend-chip", Verdict.COMPATIBLE, detail, source=VLLM_FAQ)


def judge_kernels(ctx: CheckContext) -> Iterator[Compatibility]:
    """The ready-made operators of the CANN in use and each kind of chip."""
    for cann in in_use(ctx):
        held = cann.attributes.get("kernels")
        if not isinstance(held, str):
            continue
        chips = held.split()
        for npu in kinds(ctx):
            soc = soc_of(npu)
            _, folders, package = FAMILIES[family_of(soc)]
            if not chips:
                detail = f"{label(cann)} holds no ready-made operators at all ({text(cann, 'kernels_at')})."
                yield pair(
                    cann.key, npu.key, "cann-kernels-chip", Verdict.INCOMPATIBLE, detail, source=KERNELS_SOURCE,
                    certain=False,
                )  # fmt: skip
            elif set(folders) & set(chips):
                detail = f"{label(cann)} holds ready-made operators for {soc}."
                yield pair(cann.key, npu.key, "cann-kernels-chip", Verdict.COMPATIBLE, detail, source=KERNELS_SOURCE)
            else:
                detail = f"{label(cann)} holds ready-made operators for {', '.join(chips)}, and the chip is {soc} ({package})."
                yield pair(cann.key, npu.key, "cann-kernels-chip", Verdict.INCOMPATIBLE, detail, source=KERNELS_SOURCE)


RULES = (
    CompatibilityRule(
        id="torch-npu-chip",
        title="torch_npu and the chip",
        explanation="torch_npu holds a list of chip names; one that is not in it ends with *Unsupported soc version*.",
        sources=(MAP,),
        judge=judge_torch_npu,
    ),
    CompatibilityRule(
        id="vllm-ascend-chip",
        title="vllm-ascend and the chip",
        explanation="The devices that vllm-ascend's FAQ names as supported and as not supported.",
        sources=(VLLM_FAQ,),
        judge=judge_vllm,
    ),
    CompatibilityRule(
        id="cann-kernels-chip",
        title="CANN's operators and the chip",
        explanation="A package of operators is for one family of chips; its folder below the OPP bears the family's name.",
        sources=(KERNELS_SOURCE,),
        judge=judge_kernels,
    ),
)
