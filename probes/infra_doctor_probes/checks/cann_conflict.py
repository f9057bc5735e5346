"""CANN-CONFLICT: places that name a version disagree, or the search paths hold parts of two CANN installations.

Which of several versions is right cannot be told from files, so that is unknown; two installations on one path warn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Confidence,
    Evidence,
    Finding,
    LogSignature,
    Severity,
    Status,
    Verdict,
)
from infra_doctor_probes.detect.ascend import ROOT_VARIABLES, was_found
from infra_doctor_probes.from_matrix import evidence_of, subject_of

if TYPE_CHECKING:
    from infra_doctor_probes.ascend.environment import AscendEnvironment
    from infra_doctor_probes.ascend.files import AscendVersionSources


def run(context: CheckContext) -> Iterator[Finding]:
    """A finding for each contradiction, one `pass` where there is none."""
    if not was_found(context):
        yield CHECK.skip("no Ascend driver or CANN in use was found")
        return
    from infra_doctor_probes.ascend.environment import AscendEnvironment

    sources = merged(context)
    found = [f for fact in sources for f in versions(context, fact)]
    environment = context.fact(AscendEnvironment)
    if environment is not None and environment.known:
        found += paths(context, environment)
        found += variables(context, environment)
    found += packages(context)
    yield from found
    if not found and not sources:
        yield CHECK.skip("no Ascend driver or CANN in use was found")
    elif not found:
        evidence = tuple(e for fact in sources for e in fact.evidence)
        yield CHECK.finding(
            Status.PASS, "all places name the same Ascend driver and CANN versions",
            subject=tuple(fact.subject for fact in sources), evidence=evidence, confidence=Confidence.DERIVED,
            severity=Severity.LOW,
        )  # fmt: skip


def merged(context: CheckContext) -> tuple[AscendVersionSources, ...]:
    """One fact per component: several probes read the driver's version. Installations that nobody uses do no harm."""
    from infra_doctor_probes.ascend.files import AscendVersionSources

    out: dict[str, AscendVersionSources] = {}
    for fact in context.facts(AscendVersionSources):
        component = context.component(fact.subject)
        if component is not None and component.attributes.get("in_use") is False:
            continue
        before = out.get(fact.subject)
        out[fact.subject] = fact if before is None else AscendVersionSources(
            subject=fact.subject, sources=(*before.sources, *fact.sources), chosen=before.chosen,
            evidence=(*before.evidence, *fact.evidence),
        )  # fmt: skip
    return tuple(out.values())


def versions(context: CheckContext, fact: AscendVersionSources) -> Iterator[Finding]:
    """Places that name different versions. A build number behind the same version is none."""
    from infra_doctor_probes.ascend.files import differ

    names = tuple(dict.fromkeys(v for v, _ in fact.sources))
    if not names:
        title = f"the version of {fact.subject.partition(':')[2]} stands in none of its files"
        yield CHECK.finding(Status.UNKNOWN, title, subject=(fact.subject,), severity=Severity.LOW)
        return
    if not differ(names) or same_up_to_build(names):
        return
    driver = fact.subject.startswith("driver:")
    said = "; ".join(f"{place} says {version}" for version, place in fact.sources)
    yield CHECK.finding(
        Status.WARN if driver else Status.UNKNOWN,
        f"{'the Ascend driver' if driver else 'CANN'}: places name different versions ({', '.join(names)})",
        subject=(fact.subject,),
        detail=f"{said}. " + (DRIVER_DETAIL if driver else "What depends on the version is not judged."),
        evidence=fact.evidence,
        confidence=Confidence.DERIVED,
        remedy=DRIVER_REMEDY if driver else REMEDY,
    )


def same_up_to_build(names: tuple[str, ...]) -> bool:
    """Whether the longer ones only add to the shortest: 24.1.rc1 and 24.1.rc1.b030."""
    shortest = min(names, key=len).lower()
    return all(n.lower() == shortest or n.lower().startswith(shortest + ".") for n in names)


def paths(context: CheckContext, environment: AscendEnvironment) -> Iterator[Finding]:
    """Two installations on LD_LIBRARY_PATH, or Python modules of another one than the libraries."""
    libraries = tuple(dict.fromkeys(key for key, _ in environment.library_roots))
    modules = tuple(dict.fromkeys(key for key, _ in environment.python_roots))
    if len(libraries) > 1:
        from infra_doctor_probes.ascend.frameworks import AscendFrameworkLibraries

        used = max((len(f.roots) for f in context.facts(AscendFrameworkLibraries)), default=0)
        yield conflict(
            environment, libraries, f"LD_LIBRARY_PATH holds {len(libraries)} CANN installations: {folders(libraries)}",
            "Libraries of both get into one process; with 8.5.0 and 9.0.0 that ends with an undefined symbol in libgraph_base.so."
            + (" A framework here takes libraries from more than one of them." if used > 1 else ""),
        )  # fmt: skip
    elif libraries and modules and set(modules) != set(libraries):
        yield conflict(
            environment, (*libraries, *modules),
            f"LD_LIBRARY_PATH leads to {folders(libraries)}, PYTHONPATH to {folders(modules)}",
            "CANN's Python modules load libraries of their own version.",
        )  # fmt: skip


def variables(context: CheckContext, environment: AscendEnvironment) -> Iterator[Finding]:
    """The two variables that name the root name different ones."""
    named = {
        name: value
        for name in ROOT_VARIABLES
        if (value := environment.value(name)) and (name, value) not in environment.astray
    }
    roots = {name: root_of(context, value) for name, value in named.items()}
    if len({r for r in roots.values() if r}) > 1:
        shown = ", ".join(f"{name}={value}" for name, value in named.items())
        yield conflict(
            environment, tuple(r for r in roots.values() if r), f"{' and '.join(named)} name different installations",
            shown + ". Programs read the one or the other.",
        )  # fmt: skip


def root_of(context: CheckContext, value: str) -> str | None:
    """The CANN that a variable names, as far as the paths tell."""
    path = value.rstrip("/")
    for cann in context.by_kind("cann"):
        names = (cann.location, cann.attributes.get("given"), *str(cann.attributes.get("folders") or "").split(":"))
        if path in names:
            return cann.key
    return None


def folders(keys: tuple[str, ...]) -> str:
    """The folders of CANN keys."""
    return " and ".join(key.removeprefix("cann:") for key in keys)


def conflict(environment: AscendEnvironment, subject: tuple[str, ...], title: str, detail: str) -> Finding:
    """A warning over the environment."""
    return CHECK.finding(
        Status.WARN, title, subject=tuple(dict.fromkeys(subject)), detail=detail, evidence=environment.evidence,
        confidence=Confidence.DERIVED, severity=Severity.HIGH, remedy=PATH_REMEDY,
    )  # fmt: skip


def packages(context: CheckContext) -> Iterator[Finding]:
    """Packages of one CANN that say that they do not fit each other."""
    bad = context.judged("cann-packages", verdict=Verdict.INCOMPATIBLE)
    if bad:
        evidence: list[Evidence] = evidence_of(context, bad)
        yield CHECK.finding(
            Status.WARN, "packages of CANN require other versions of each other", subject=subject_of(bad),
            detail=" ".join(r.detail for r in bad), evidence=evidence, confidence=Confidence.DERIVED,
            remedy="Install toolkit, kernels and NNAL of one CANN version into one path.",
        )  # fmt: skip


DRIVER_DETAIL = (
    "Files of a newer driver lie beside the old one that still runs, or a container has the files of another version than its"
    " host's driver."
)
DRIVER_REMEDY = (
    "On a host, reboot after the driver was installed. In a container, mount the version.info and lib64 of the host's driver in"
    " place of the image's own."
)
REMEDY = (
    "Find out which is right with the package list of the image or machine; then repair or remove the leftover (a version.cfg or"
    " a `latest` of another installation), or install one CANN anew into an empty path."
)
PATH_REMEDY = (
    "Start from a shell without CANN's variables and source exactly one set_env.sh. Look in ~/.bashrc and /etc/profile.d for a"
    " second one; do not add every folder below /usr/local/Ascend by hand."
)

CHECK = Check(
    id="CANN-CONFLICT",
    title="Several CANN versions where one is meant",
    explanation="""\
A CANN names its version in up to five places. In real images they disagree: a `version.cfg` that says 8.0.T63 beside links that
lead to 8.2.RC2. The most trusted place is shown as the version, all of them are listed, and whatever depends on the version is
*unknown* until it is settled.

Two installations on LD_LIBRARY_PATH are another matter: libraries of both end up in one process. It happens when two
`set_env.sh` are sourced one after the other.

*Proven on captures of Ascend machines and on described ones, not on an Ascend machine.*""",
    remediation=REMEDY,
    sources=(
        "https://github.com/Ascend/mind-cluster/blob/22bb3d987bc0/docs/en/faultdiag/user_guide/03_collecting_logs.md",
    ),
    run=run,
    severity=Severity.MEDIUM,
    log_signatures=(
        # Symbols of CANN's graph engine (namespace ge): the library that should have them is of another CANN.
        LogSignature(
            pattern=r"undefined symbol: _ZNK?2ge\d{1,3}\w",
            source="https://github.com/Ascend/samples/issues/21",
            strength=3,
        ),
        LogSignature(
            pattern=r"lib(?:graph|graph_base|ge_\w{1,30}|ops_host_cpu|opapi|nnopbase|register|runtime|hccl)\.so:?\s{1,4}"
            r"undefined symbol",
            source="https://github.com/Ascend/samples/issues/21",
        ),
    ),
    tags=("ascend", "cann"),
)

CHECKS = (CHECK,)
