"""Distributions of the Python environments that are judged: any, by their PEP 503 names, as an import would see them."""

import re
from collections.abc import Iterator

from infra_doctor.plugin import CheckContext, Evidence, EvidenceKind, Observed, PolicyKey, SpecKind
from infra_doctor_probes.detect.wheels import InstalledDistributions
from infra_doctor_probes.in_target import prefix_of
from infra_doctor_probes.requirements.common import WHEEL_PROBES, absent


def package(ctx: CheckContext, name: str) -> Iterator[Observed]:
    """The version of a distribution in each environment that has it."""
    wanted = re.sub(r"[-_.]+", "-", name).lower()
    environments = ctx.facts(InstalledDistributions)
    here = [(e.target, e.found[wanted]) for e in environments if wanted in e.found]
    for target, (version, path) in here:
        wheel = f"wheel:{wanted}@{prefix_of(target)}"
        subject = wheel if ctx.component(wheel) is not None else target
        seen = Evidence(kind=EvidenceKind.METADATA, source=path, text=f"{wanted} {version}")
        yield Observed(value=version, subject=(subject,), evidence=(seen,))
    if not here:
        yield absent(ctx, WHEEL_PROBES, missing(ctx, wanted))


def missing(ctx: CheckContext, name: str) -> str:
    """Where it was looked for, and what of these places only running code could tell."""
    if not ctx.targets:
        return "no Python environment was found"
    places = ", ".join(t.prefix for t in ctx.targets[:4]) + (" …" if len(ctx.targets) > 4 else "")
    unknown = [note for t in ctx.targets for note in t.notes if note.startswith("unknown")]
    more = f"; not looked behind: {'; '.join(unknown[:3])}" if unknown else ""
    return f"{name} is not installed in {places}{more}"


KEYS = (
    PolicyKey(key="package.*", title="an installed distribution of the Python environment", kind=SpecKind.VERSION,
              observe=package, example='">=0.10"', probes=WHEEL_PROBES, explained_by=("ENV-MOVED",)),
)  # fmt: skip
