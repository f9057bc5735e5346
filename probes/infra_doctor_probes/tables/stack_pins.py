"""Every package of the stack against what the others ask for in their METADATA: what `pip check` would say of it.

Pairs that have a rule of their own (torch with its NVIDIA wheels, Triton and torchvision; JAX; serving stacks; Ascend) are
left to it. A requirement that only names the oldest version makes a row where it is broken: the kept ones say nothing."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    CheckContext,
    Compatibility,
    CompatibilityRule,
    Component,
    Verdict,
    read_requirement,
)
from infra_doctor_probes.detect.wheel_metadata import WheelMetadata
from infra_doctor_probes.tables.common import arch_of, label, prefix
from infra_doctor_probes.tables.requirements import Asked, judge

RULE = "stack-pins"
SPECIFICATION = "https://packaging.python.org/en/latest/specifications/core-metadata/#requires-dist-multiple-use"
# (who asks, of whom) that other rules judge; "" stands for any.
_ELSEWHERE = (
    ("torch", "nvidia-"), ("torch", "cuda-"), ("torch", "triton"), ("torchvision", "torch"), ("torchaudio", "torch"),
    ("jax", "jaxlib"),
    *((asks, of) for asks in ("vllm", "sglang", "xformers", "flashinfer-python")
      for of in ("torch", "torchvision", "triton", "xformers", "flashinfer-python")),
    *((asks, "") for asks in ("torch-npu", "vllm-ascend", "triton-ascend", "mindformers", "mindie")),
)  # fmt: skip


def judge_all(ctx: CheckContext) -> Iterator[Compatibility]:
    """One row for each requirement that pins or is broken."""
    wheels: dict[tuple[str, str], Component] = {(prefix(w.target), w.name): w for w in ctx.by_kind("wheel")}
    by_key = {w.key: w for w in wheels.values()}
    machine = arch_of(ctx) or "x86_64"
    for found in ctx.facts(WheelMetadata):
        wheel = by_key.get(found.wheel)
        for line in found.requires if wheel is not None else ():
            asked = read_requirement(line, machine=machine)
            if wheel is None or asked is None or asked.applies is not True or not asked.spec:
                continue
            other = wheels.get((prefix(wheel.target), asked.name))
            if other is None or other is wheel or _has_its_own_rule(wheel.name, other.name):
                continue
            source = f"METADATA of {label(wheel)}: {line[:160]}; {SPECIFICATION}"
            row = judge(RULE, wheel, other, Asked(spec=asked.spec, source=source, exact=True), fallback=SPECIFICATION)
            if row.verdict is not Verdict.COMPATIBLE or any(c in asked.spec for c in ("==", "<", "~=", "!=")):
                yield row


def _has_its_own_rule(asks: str, of: str) -> bool:
    return any(asks == a and (of == o or not o or (o.endswith("-") and of.startswith(o))) for a, o in _ELSEWHERE)


RULES = (
    CompatibilityRule(
        id=RULE,
        title="Packages are those that the packages beside them ask for",
        explanation="""\
Requires-Dist in a package's METADATA names the versions of others that it works with. pip keeps to it when it installs that
package, and warns when a later command breaks it. Requirements under an extra, and those whose marker depends on more than
the platform, are not judged. A vendor's pre-release of the version asked for (2.9.0a0+….nv25.10) is neither right nor wrong.""",
        sources=(SPECIFICATION, "https://pip.pypa.io/en/stable/cli/pip_check/"),
        judge=judge_all,
    ),
)
