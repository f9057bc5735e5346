"""Whether ONNX Runtime's execution providers really load, in each import order: by ELF, not by asking it.

`get_available_providers()` lists what was built in, loadable or not (microsoft/onnxruntime#17801, #21825); a provider that
does not load makes a session run on the CPU with no more than a line in the log. So the provider's library is resolved as
the loader would do it, with the parts that it or cuDNN opens later."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    AttributeValue,
    Component,
    Evidence,
    Machine,
    Probe,
    ProbeContext,
    Target,
    fact,
    record,
)
from infra_doctor_probes.detect.libraries import missing_evidence
from infra_doctor_probes.loading.onnxruntime_session import CPU_PROVIDER
from infra_doctor_probes.loading.orders import PRELOAD, Outcome, frameworks, play_all
from infra_doctor_probes.loading.process import Missing


@fact("provider-load", 1)
@record
class ProviderLoad:
    """One execution provider in one import order. `opens`: its library loads, so that a session gets the provider; None
    where it cannot be told. `missing` holds what stops it, and what stops its first operation that needs that part."""

    target: str
    provider: str  # component key
    name: str
    wheel: str
    order: str
    opens: bool | None
    missing: tuple[Missing, ...] = ()
    unknown: str = ""
    evidence: tuple[Evidence, ...] = ()

    @property
    def complete(self) -> bool | None:
        """Whether it opens and everything that it needs later is there too."""
        return self.opens if self.opens is not True else not self.missing


def run(ctx: ProbeContext) -> Iterator[object]:
    """ort-provider components and ProviderLoad facts."""
    for target in ctx.targets:
        yield from providers(ctx.machine, target)


def providers(machine: Machine, target: Target) -> Iterator[object]:
    """Those of one target. The CPU provider stands for the extension module itself."""
    ort = frameworks(machine, target).ort
    if ort is None:
        return
    loads: dict[str, list[ProviderLoad]] = {}
    failing: set[str] = set()
    for play in play_all(machine, target):
        # Where torch cannot be imported, what comes after it is no way to load a provider.
        failing |= {o.order for o in play.outcomes if not o.provider and o.loads is False}
        for outcome in play.outcomes:
            if outcome.provider:
                loads.setdefault(outcome.provider, []).append(provider_load(target, outcome))
    paths = {CPU_PROVIDER: ort.extension, **dict(ort.providers)}
    for name in (CPU_PROVIDER, *(p for p, _ in ort.providers)):
        found = loads.get(name, [])
        yield component(target, name, paths[name], found, failing)
        yield from found


def provider_load(target: Target, outcome: Outcome) -> ProviderLoad:
    """The fact of one outcome."""
    return ProviderLoad(
        target=target.key,
        provider=f"ort-provider:{outcome.provider}@{target.prefix}",
        name=outcome.provider,
        wheel=outcome.consumer,
        order=outcome.order,
        opens=outcome.loads,
        missing=outcome.missing,
        unknown=outcome.unknown,
        evidence=missing_evidence(outcome.missing),
    )


def component(target: Target, name: str, path: str, loads: list[ProviderLoad], failing: set[str]) -> Component:
    """The component: `loads` by the order of an ONNX Runtime on its own, else the first order that works."""
    alone = next((x for x in loads if x.order == "onnxruntime"), None)
    working = [x.order for x in loads if x.complete and x.order not in failing]
    if alone is None or alone.opens is None:
        word = "unknown"
    elif alone.complete:
        word = "yes"
    elif working:
        word = f"only after {PRELOAD if PRELOAD in working else working[0]}"
    else:
        word = "no"
    missing = alone.missing if alone is not None else ()
    attributes: dict[str, AttributeValue] = {
        "loads": word,
        "missing": " ".join(dict.fromkeys(m.soname for m in missing)) or None,
        "opens": None if alone is None or alone.opens is None else alone.opens,
        "orders": "; ".join(working) or None,
        "wheel": loads[0].wheel.removeprefix("wheel:").partition("@")[0] if loads else None,
    }
    return Component(
        key=f"ort-provider:{name}@{target.prefix}",
        kind="ort-provider",
        name=name,
        location=path,
        origin=loads[0].wheel if loads else None,
        target=target.key,
        attributes={k: v for k, v in attributes.items() if v is not None},
        evidence=alone.evidence if alone is not None else (),
    )


PROBES = (
    Probe(
        id="onnxruntime.providers",
        version=1,
        title="Execution providers of ONNX Runtime: whether they load",
        run=run,
        after=("libraries",),
        environment=("LD_LIBRARY_PATH", "LD_PRELOAD"),
    ),
)
