"""Accelerator devices: how many, which, with how much memory."""

from collections.abc import Callable, Iterator

from infra_doctor.plugin import CheckContext, Observed, PolicyKey, SpecKind

GPU_PROBES = ("pci", "nvidia-gpu")


def counted(kind: str) -> Callable[[CheckContext, str], Iterator[Observed]]:
    """How many devices of this kind are there."""

    def observe(ctx: CheckContext, _: str) -> Iterator[Observed]:
        devices = ctx.by_kind(kind)
        evidence = tuple(e for d in devices for e in d.evidence[:1])
        yield Observed(value=len(devices), subject=tuple(d.key for d in devices), evidence=evidence)

    return observe


def named(kind: str) -> Callable[[CheckContext, str], Iterator[Observed]]:
    """The model of each device of this kind."""

    def observe(ctx: CheckContext, _: str) -> Iterator[Observed]:
        devices = ctx.by_kind(kind)
        for device in devices:
            yield Observed(value=device.name, subject=(device.key,), evidence=device.evidence[:1])
        if not devices:
            yield Observed(value=None, reason=f"no {kind.upper()} is there")

    return observe


KEYS = (
    PolicyKey(key="gpu.count", title="how many GPUs", kind=SpecKind.COUNT, observe=counted("gpu"), example="8",
              probes=GPU_PROBES, offered=True),
    PolicyKey(key="gpu.model", title="which GPUs", kind=SpecKind.NAME, observe=named("gpu"), example='"H200"',
              probes=GPU_PROBES, offered=True),
)  # fmt: skip
