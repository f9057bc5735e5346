"""GLIBC: the C or C++ library that the target's interpreter loads is older than an installed wheel was built for.

Rests on what the ELF headers of both sides say (observed), and on the matrix rule `glibc-floor`: the platform tag that a
wheel carries against the version seen."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Confidence, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.symbol_versions import SymbolVersions
from infra_doctor_probes.from_matrix import findings, label, others


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per target with unmet versions, one per target with wheels of a newer floor."""
    libc = context.by_kind("libc")
    rows = context.judged("glibc-floor") if libc else ()
    looked_at = context.facts(SymbolVersions)
    if not rows and not looked_at:
        yield CHECK.skip("no wheel that names the glibc it needs")
        return
    yield from (observed(fact) for fact in looked_at)
    here = label(context, libc[0].key) if libc else "glibc"
    yield from findings(
        CHECK,
        context,
        rows,
        title=lambda bad: f"{here} is too old for {others(context, bad, 'libc')}",
        remedy=lambda _: REMEDY,
        passed=lambda good: f"{here} is new enough for {others(context, good, 'libc')}",
    )


def observed(fact: SymbolVersions) -> Finding:
    """What the loader itself would say."""
    if not fact.unmet:
        return CHECK.finding(
            Status.PASS,
            "every symbol version that the frameworks' libraries need is defined",
            subject=(fact.target,),
            evidence=fact.evidence,
        )
    versions = ", ".join(sorted({u.version for u in fact.unmet}))
    objects = ", ".join(dict.fromkeys(u.object.rsplit("/", 1)[-1] for u in fact.unmet))
    return CHECK.finding(
        Status.FAIL,
        f"{versions} not found: needed by {objects}",
        subject=(fact.target,),
        detail="The loader refuses these libraries, so the import fails.",
        evidence=fact.evidence,
        confidence=Confidence.OBSERVED,
        remedy=REMEDY,
    )


REMEDY = (
    "Use an operating system or base image with a newer glibc (a container is the usual way), or install the last version of"
    " the package whose wheel still carries a manylinux tag that this system meets. glibc itself cannot be replaced in place;"
    " for GLIBCXX alone, libstdcxx-ng of conda helps in a conda environment."
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
    log_signatures=(
        LogSignature(
            pattern=r"version [`']GLIBC_2\.\d{1,2}' not found",
            source="https://github.com/vllm-project/vllm/issues/6562",
            strength=3,
        ),
        LogSignature(
            pattern=r"version [`']GLIBCXX_3\.4\.\d{1,2}' not found",
            source="https://github.com/kvcache-ai/ktransformers/issues/439",
            strength=3,
        ),
        LogSignature(
            pattern=r"version [`']CXXABI_1\.3\.\d{1,2}' not found",
            source="https://github.com/pytorch/pytorch/issues/157709",
            strength=3,
        ),
    ),
    tags=("system",),
)

CHECKS = (CHECK,)
