"""JAX against jaxlib and its CUDA plug-ins. Facts: the installed METADATA, else PyPI METADATA (`jax`)."""

from collections.abc import Iterator

from infra_doctor.plugin import CheckContext, Compatibility, CompatibilityRule
from infra_doctor_probes.tables.common import wheels
from infra_doctor_probes.tables.requirements import asked_by_metadata, asked_by_table, judge

JAXLIB, PLUGIN = "jax-jaxlib", "jax-plugin"
PYPI = "https://pypi.org/project/jax/"


def judge_jaxlib(ctx: CheckContext) -> Iterator[Compatibility]:
    """jaxlib is what jax asks for."""
    for jax in wheels(ctx, "jax"):
        for jaxlib in wheels(ctx, "jaxlib", target=jax.target or ""):
            asked = asked_by_metadata(ctx, jax, "jaxlib") or asked_by_table(jax, "jax", "jax", "jaxlib")
            yield judge(JAXLIB, jax, jaxlib, asked, fallback=PYPI)


def judge_plugins(ctx: CheckContext) -> Iterator[Compatibility]:
    """The CUDA plug-in is the one that jax's extra asks for. METADATA has it under an extra, so the table speaks."""
    for jax in wheels(ctx, "jax"):
        for plugin in wheels(ctx, "jax-cuda12-plugin", "jax-cuda13-plugin", target=jax.target or ""):
            column = plugin.name.split("-")[1] + "_plugin"
            asked = asked_by_table(jax, "jax", "jax", column)
            if asked.spec or asked.unknown:
                yield judge(PLUGIN, jax, plugin, asked, fallback=PYPI)


RULES = (
    CompatibilityRule(
        id=JAXLIB,
        title="jaxlib is the one that jax asks for",
        explanation="jax and jaxlib are released together; jax names the range of jaxlib that it works with.",
        sources=(PYPI, "https://docs.jax.dev/en/latest/installation.html"),
        judge=judge_jaxlib,
    ),
    CompatibilityRule(
        id=PLUGIN,
        title="The CUDA plug-in is the one that jax asks for",
        explanation="The extras cuda12 and cuda13 of jax name the range of jax-cuda12-plugin and jax-cuda13-plugin.",
        sources=(PYPI, "https://docs.jax.dev/en/latest/installation.html"),
        judge=judge_plugins,
    ),
)
