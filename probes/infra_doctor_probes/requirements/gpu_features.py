"""What each GPU can and how it is set: compute capability, instruction set, MIG, ECC, persistence mode, NVLinks."""

from collections.abc import Callable, Iterator

from infra_doctor.plugin import CheckContext, Component, Evidence, Observed, PolicyKey, SpecKind
from infra_doctor_probes.detect.nvidia_state import GpuState
from infra_doctor_probes.requirements.common import NVIDIA_PROBES, absent, unseen
from infra_doctor_probes.requirements.devices import Observe, silence
from infra_doctor_probes.tables.common import nvidia_gpus

AMD_PROBES = ("pci", "amd-gpu")
ANSWER = ("NVML-MISMATCH", "NOUVEAU", "NV-NODES", "ECC/XID")
# What a GPU does not have where its driver says neither on nor off.
MAY_LACK = {"mig": "it tells of no MIG", "ecc": "it tells of no ECC"}


def each(of_one: Callable[[CheckContext, Component], Observed]) -> Observe:
    """One answer for each NVIDIA GPU."""

    def observe(ctx: CheckContext, _: str) -> Iterator[Observed]:
        gpus = nvidia_gpus(ctx)
        yield from (of_one(ctx, gpu) for gpu in gpus)
        if not gpus:
            yield absent(ctx, NVIDIA_PROBES, "no NVIDIA GPU is there")

    return observe


def capability(ctx: CheckContext, gpu: Component) -> Observed:
    """ "9.0", by the driver, or by a PCI id that stands for one chip alone."""
    found = gpu.attributes.get("compute_capability")
    if isinstance(found, str):
        return Observed(value=found, subject=(gpu.key,), evidence=gpu.evidence[-1:])
    hint = gpu.attributes.get("compute_capability_hint")
    seems = f" (by its PCI id it may be {hint})" if hint else ""
    return unseen(f"{gpu.name}: {silence(ctx, gpu)}{seems}", gpu.key, evidence=gpu.evidence[:1])


def switch(name: str) -> Observe:
    """Whether a mode is on, by the GPU's own word."""

    def of_one(ctx: CheckContext, gpu: Component) -> Observed:
        state = state_of(ctx, gpu)
        if state is None:
            return unseen(f"{gpu.name}: {silence(ctx, gpu)}", gpu.key, evidence=gpu.evidence[:1])
        value: bool | None = getattr(state, name)
        failed = dict(state.errors).get(name)
        if value is None and (failed is not None or name not in MAY_LACK):
            return unseen(f"{gpu.name}: {failed or 'it does not tell'}", gpu.key, evidence=state.evidence)
        reason = MAY_LACK[name] if value is None else ""
        return Observed(
            value=bool(value), subject=(gpu.key,), reason=reason and f"{gpu.name}: {reason}", evidence=state.evidence
        )

    return each(of_one)


def state_of(ctx: CheckContext, gpu: Component) -> GpuState | None:
    """What the GPU says of itself; None where it does not answer."""
    return next((s for s in ctx.facts(GpuState) if s.gpu == gpu.key and not s.error), None)


def links(ctx: CheckContext, gpu: Component) -> Observed:
    """How many of its NVLinks are active."""
    state = state_of(ctx, gpu)
    failed = dict(state.errors).get("nvlinks") if state is not None else ""
    if state is None or failed:
        return unseen(f"{gpu.name}: {failed or silence(ctx, gpu)}", gpu.key, evidence=gpu.evidence[:1])
    active = sum(link.active for link in state.nvlinks)
    shown = f"{active} of {len(state.nvlinks)} links active"
    told = tuple(Evidence(kind=e.kind, source=e.source, text=shown) for e in state.evidence[:1])
    reason = f"{gpu.name}: {shown}" if state.nvlinks else f"{gpu.name}: it tells of no NVLink"
    return Observed(value=active, subject=(gpu.key,), reason=reason, evidence=told)


def instruction_set(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """ "gfx942" of each AMD GPU, by the compute driver."""
    gpus = [g for g in ctx.by_kind("gpu") if g.attributes.get("vendor") == "amd"]
    for gpu in gpus:
        found = gpu.attributes.get("gfx")
        if isinstance(found, str):
            yield Observed(value=found, subject=(gpu.key,), evidence=gpu.evidence[-1:])
        else:
            yield unseen(f"{gpu.name}: the compute driver (KFD) does not tell it", gpu.key, evidence=gpu.evidence[:1])
    if not gpus:
        yield absent(ctx, AMD_PROBES, "no AMD GPU is there")


KEYS = (
    PolicyKey(key="gpu.compute_capability", title="the compute capability of each NVIDIA GPU", kind=SpecKind.VERSION,
              observe=each(capability), example='">=8.0"', probes=NVIDIA_PROBES, explained_by=ANSWER),
    PolicyKey(key="gpu.gfx", title="the instruction set of each AMD GPU", kind=SpecKind.NAME, observe=instruction_set,
              example='"gfx942"', probes=AMD_PROBES, explained_by=("ROCM-GPU", "ROCM-PERM")),
    PolicyKey(key="gpu.mig", title="whether MIG is on, on each NVIDIA GPU", kind=SpecKind.FLAG, observe=switch("mig"),
              example="false", probes=NVIDIA_PROBES, explained_by=("MIG", *ANSWER)),
    PolicyKey(key="gpu.ecc", title="whether ECC is on, on each NVIDIA GPU", kind=SpecKind.FLAG, observe=switch("ecc"),
              example="true", probes=NVIDIA_PROBES, explained_by=ANSWER),
    PolicyKey(key="gpu.persistence", title="whether persistence mode is on, on each NVIDIA GPU", kind=SpecKind.FLAG,
              observe=switch("persistence"), example="true", probes=NVIDIA_PROBES, explained_by=("PERSIST", *ANSWER)),
    PolicyKey(key="gpu.nvlink", title="how many NVLinks of each NVIDIA GPU are active", kind=SpecKind.COUNT,
              observe=each(links), example='">=18"', probes=NVIDIA_PROBES, explained_by=("NVLINK", "FABRIC", *ANSWER)),
)  # fmt: skip
