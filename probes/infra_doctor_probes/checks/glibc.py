"""GLIBC: the C library that the target's interpreter loads is older than an installed wheel was built for.

Rests on the matrix rule `glibc-floor`: the platform tag that the wheel itself carries against the version seen."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Finding, Severity
from infra_doctor_probes.from_matrix import findings, label, others


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per target with wheels that need more."""
    libc = context.by_kind("libc")
    if not libc:
        yield CHECK.skip("the C library could not be told")
        return
    rows = context.judged("glibc-floor")
    if not rows:
        yield CHECK.skip("no wheel that names the glibc it needs")
        return
    here = label(context, libc[0].key)
    yield from findings(
        CHECK,
        context,
        rows,
        title=lambda bad: f"{here} is too old for {others(context, bad, 'libc')}",
        remedy=lambda _: REMEDY,
        passed=lambda good: f"{here} is new enough for {len(good)} wheels that name a floor",
    )


REMEDY = (
    "Use an operating system or base image with a newer glibc (a container is the usual way), or install the last version of"
    " the package whose wheel still carries a manylinux tag that this system meets. glibc itself cannot be replaced in place."
)

CHECK = Check(
    id="GLIBC",
    title="C library older than a wheel needs",
    explanation="""\
A wheel tagged `manylinux_2_28` may use symbols up to glibc 2.28. On an older system the loader refuses its libraries:
*version `GLIBC_2.28' not found*. pip checks the tag when it installs, so this arises where an environment was copied, a
container's base was changed, or a wheel was forced.

`GLIBCXX_3.4.x not found` is the same for libstdc++; there a newer `libstdcxx-ng` from conda helps.""",
    remediation=REMEDY,
    sources=(
        "https://peps.python.org/pep-0600/",
        "https://github.com/microsoft/onnxruntime/issues/24338",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(r"version [`']GLIBC_2\.\d+' not found", r"version [`']GLIBCXX_3\.4\.\d+' not found"),
    tags=("system",),
)

CHECKS = (CHECK,)
