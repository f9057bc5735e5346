"""Runs some probes over a machine, each with what those before it found: for tests of single probes and checks."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from infra_doctor.machine.machine import Machine
from infra_doctor.model.component import Component, Target, Unseen
from infra_doctor.model.plugins import FactStore, Probe, ProbeContext


@dataclass
class Gathered:
    """All that the probes gave."""

    components: list[Component] = field(default_factory=list)
    facts: list[Any] = field(default_factory=list)
    unseen: list[Unseen] = field(default_factory=list)

    def store(self, targets: tuple[Target, ...] = ()) -> FactStore:
        return FactStore(targets=targets, components=self.components, facts=self.facts)

    def one(self, kind: str) -> Component:
        (found,) = [c for c in self.components if c.kind == kind]
        return found

    def kinds(self, *kinds: str) -> list[Component]:
        return [c for c in self.components if c.kind in kinds]

    def fact(self, kind: type) -> Any:
        (found,) = [f for f in self.facts if isinstance(f, kind)]
        return found

    def has(self, kind: type) -> bool:
        return any(isinstance(f, kind) for f in self.facts)


def gather(machine: Machine, *probes: Iterable[Probe], targets: tuple[Target, ...] = ()) -> Gathered:
    """The result of these `PROBES` tuples, run in this order; a probe's exception is the test's."""
    out = Gathered()
    capabilities = {str(c) for c in machine.capabilities}
    for probe in (p for group in probes for p in group):
        if not capabilities.issuperset(probe.needs):
            continue
        context = ProbeContext(machine=machine, targets=targets, components=out.components, facts=out.facts)
        for item in list(probe.run(context)):
            if isinstance(item, Component):
                out.components.append(item)
            elif isinstance(item, Unseen):
                out.unseen.append(item)
            else:
                assert type(item).fact_type, "a fact carries its type"
                out.facts.append(item)
    return out
