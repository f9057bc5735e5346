"""What one package asks of another: by its own METADATA where a probe read it, else by the row for its version."""

import re

from infra_doctor.plugin import (
    CheckContext,
    Compatibility,
    Component,
    Match,
    Verdict,
    lookup,
    pair,
    read_requirement,
    record,
    within,
)
from infra_doctor_probes.detect.wheel_metadata import WheelMetadata
from infra_doctor_probes.tables.common import arch_of, label, not_in_table, rows, table_text

PRE_RELEASE = re.compile(r"(\d+(?:\.\d+)*)\.?(?:a|b|rc|dev)\d")


@record
class Asked:
    """A requirement: its range, where it stands, and what to say where there is none. `exact` marks METADATA."""

    spec: str = ""
    source: str = ""
    certain: bool = True
    exact: bool = False
    unknown: str = ""


def metadata_of(ctx: CheckContext, wheel: Component) -> WheelMetadata | None:
    """The wheel's own words, None where no probe read them."""
    return next((m for m in ctx.facts(WheelMetadata) if m.wheel == wheel.key), None)


def asked_by_metadata(ctx: CheckContext, wheel: Component, other: str) -> Asked | None:
    """The requirement on `other` in the wheel's METADATA; None where it asks for none, or nobody read it."""
    found = metadata_of(ctx, wheel)
    for line in found.requires if found is not None else ():
        requirement = read_requirement(line, machine=arch_of(ctx) or "x86_64")
        if requirement is not None and requirement.name == other and requirement.applies is not False:
            certain = requirement.applies is True
            return Asked(
                spec=requirement.spec, source=f"METADATA of {label(wheel)}: {line[:160]}", certain=certain, exact=True
            )
    return None


def asked_by_table(wheel: Component, table: str, key: str, column: str, **cells: str) -> Asked:
    """The requirement in a table's row for the wheel's version; a bare version is an exact pin."""
    found = [r for r in rows(table) if all(r[k] == v for k, v in cells.items())]
    match: Match = lookup(found, key, wheel.version, agree=(column,))
    if match.row is None:
        return Asked(unknown=not_in_table(wheel, match, table))
    spec = match.row[column]
    if spec[:1].isdigit():
        spec = f"=={spec}"
    return Asked(spec=spec, source=table_text(table, match.row), certain=match.row.certain)


def judge(rule: str, left: Component, right: Component, asked: Asked, *, fallback: str) -> Compatibility:
    """One row: whether `right` is what `left` asks for. `fallback` is the source where no row speaks."""
    if asked.unknown:
        detail = f"{asked.unknown}; whether {label(right)} fits is not known."
        return pair(left.key, right.key, rule, Verdict.UNKNOWN, detail, source=fallback)
    verdict = within(right.version, asked.spec)
    detail = f"{label(left)} asks for {right.name}{asked.spec or ' of any version'}; {right.version} is installed."
    # NVIDIA's containers have torch 2.9.0a0+….nv25.10: a vendor's own build of what becomes 2.9.0
    release = PRE_RELEASE.match(right.version or "") if verdict is Verdict.INCOMPATIBLE else None
    if release is not None and within(release.group(1), asked.spec) is Verdict.COMPATIBLE:
        verdict = Verdict.UNKNOWN
    return pair(left.key, right.key, rule, verdict, detail, source=asked.source, certain=asked.certain)
