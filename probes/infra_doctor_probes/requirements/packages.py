"""Distributions of the Python environment that is judged."""

from collections.abc import Iterator

from infra_doctor.plugin import CheckContext, Observed, PolicyKey, SpecKind


def package(ctx: CheckContext, name: str) -> Iterator[Observed]:
    """The version of a distribution in each environment that has it."""
    wheels = [c for c in ctx.named(name.lower().replace("_", "-").replace(".", "-")) if c.kind == "wheel"]
    for wheel in wheels:
        yield Observed(value=wheel.version or "", subject=(wheel.key,), evidence=wheel.evidence[:1])
    if not wheels:
        yield Observed(value=None, reason=f"{name} is in none of the Python environments looked at")


KEYS = (
    PolicyKey(key="package.*", title="an installed distribution", kind=SpecKind.VERSION, observe=package,
              example='">=0.10"', probes=("wheels",)),
)  # fmt: skip
