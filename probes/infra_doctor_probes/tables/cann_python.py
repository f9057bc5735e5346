"""CANN against the Python packages that its operator compiler imports: the limits of one version's installation guide.

Only CANN 8.2.RC1's guide was read. Its limits are never applied to another version."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from infra_doctor.plugin import CheckContext, Compatibility, CompatibilityRule, Component, Verdict, in_range, pair
from infra_doctor_probes.tables.ascend import doubt, in_use
from infra_doctor_probes.tables.common import label, rows, table_text

if TYPE_CHECKING:
    from infra_doctor_probes.ascend.frameworks import CannPythonPackages

TABLE = "cann_python"


def judge(ctx: CheckContext) -> Iterator[Compatibility]:
    """A row for each package that is missing or out of range, one where all is well; nothing for other versions."""
    for cann in in_use(ctx):
        requirements = [] if doubt(cann) else requirements_of(cann)
        if not requirements:
            continue
        from infra_doctor_probes.ascend.frameworks import CannPythonPackages

        for found in ctx.facts(CannPythonPackages):
            yield from judge_target(cann, found, requirements)


def requirements_of(cann: Component) -> list[tuple[str, str, str]]:
    """(package, range or "any", source) of this very version."""
    return [
        (name, row["requirement"], table_text(TABLE, row))
        for row in rows(TABLE)
        if row["kind"] == "package" and row["cann"] == cann.version and row.certain
        for name in row["name"].split()
    ]


def judge_target(
    cann: Component, found: CannPythonPackages, requirements: list[tuple[str, str, str]]
) -> Iterator[Compatibility]:
    """The rows of one environment."""
    installed = dict(found.packages)
    source, met = "", True
    for name, wanted, source in requirements:
        version = installed.get(name)
        if version is None:
            shown = "" if wanted == "any" else f" {wanted}"
            detail = f"{label(cann)} asks for {name}{shown}; it is not installed."
            yield pair(cann.key, found.target, "cann-python-packages", Verdict.INCOMPATIBLE, detail, source=source)
            met = False
        elif wanted != "any" and (fits := in_range(version, wanted)) is not True:
            verdict = Verdict.UNKNOWN if fits is None else Verdict.INCOMPATIBLE
            detail = f"{label(cann)} asks for {name} {wanted}; {version} is installed."
            yield pair(cann.key, found.target, "cann-python-packages", verdict, detail, source=source)
            met = False
    if met:
        detail = f"all packages that {label(cann)} asks for are installed in range."
        yield pair(cann.key, found.target, "cann-python-packages", Verdict.COMPATIBLE, detail, source=source)


RULES = (
    CompatibilityRule(
        id="cann-python-packages",
        title="CANN and its Python packages",
        explanation="What the installation guide of CANN 8.2.RC1 asks for in the Python that runs on it.",
        sources=("CANN Community Edition 8.2.RC1, software installation guide (hiascend.com)",),
        judge=judge,
    ),
)
