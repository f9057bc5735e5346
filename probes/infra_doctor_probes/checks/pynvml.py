"""PYNVML: the deprecated distribution `pynvml` is installed, and what that does to `import pynvml`."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Confidence, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.nvml_bindings import DeprecatedPynvml


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per target that holds it."""
    found = context.facts(DeprecatedPynvml)
    if not context.targets:
        yield CHECK.skip("no Python environment is looked at")
        return
    for fact in found:
        yield judge(fact)
    clean = [t for t in context.targets if t.key not in {f.target for f in found}]
    if clean:
        yield CHECK.finding(
            Status.PASS,
            "the deprecated distribution pynvml is not installed",
            subject=[t.key for t in clean],
            evidence=[e for t in clean for e in t.evidence[:1]],
            severity=Severity.LOW,
        )


def judge(fact: DeprecatedPynvml) -> Finding:
    """Up to version 11 old bindings hide newer ones; from 12 on it is a name that prints a warning."""
    if fact.hides_nvidia_ml_py and fact.nvidia_ml_py:
        title = f"pynvml {fact.version} hides nvidia-ml-py {fact.nvidia_ml_py}: `import pynvml` takes the old bindings"
        severity = Severity.MEDIUM
    else:
        title = f"the deprecated distribution pynvml {fact.version} is installed"
        severity = Severity.LOW
    wanted_by = (
        f"Required by {', '.join(fact.required_by)}." if fact.required_by else "No installed distribution requires it."
    )
    if fact.required_by:
        remedy = (
            f"Upgrade {', '.join(fact.required_by)} to a release that depends on nvidia-ml-py. Until there is one the warning"
            " does no harm: do not remove pynvml while something requires it."
        )
    else:
        remedy = REMEDY
    return CHECK.finding(
        Status.WARN,
        title,
        subject=(fact.target,),
        detail=wanted_by,
        evidence=fact.evidence,
        confidence=Confidence.OBSERVED,
        severity=severity,
        remedy=remedy,
    )


REMEDY = (
    "Depend on nvidia-ml-py, which offers the same module: install nvidia-ml-py, uninstall pynvml, then reinstall"
    " nvidia-ml-py (`pip install --force-reinstall nvidia-ml-py`), so that the module is surely whole."
)

CHECK = Check(
    id="PYNVML",
    title="Deprecated pynvml distribution",
    explanation="""\
Two distributions bring a module `pynvml`: NVIDIA's own `nvidia-ml-py`, and the deprecated `pynvml`. Up to version 11 the
latter holds its own, old bindings in a package that hides nvidia-ml-py's module; from version 12 on it only depends on
nvidia-ml-py. PyTorch warns: *The pynvml package is deprecated. Please install nvidia-ml-py instead.*""",
    remediation=REMEDY,
    sources=(
        "https://pypi.org/project/pynvml/",
        "https://github.com/gpustack/gpustack/issues/3368",
        "https://github.com/vllm-project/vllm/pull/7852",
    ),
    run=run,
    severity=Severity.LOW,
    log_signatures=(
        LogSignature(
            pattern=r"The pynvml package is deprecated", source="https://pypi.org/project/pynvml/", strength=1
        ),
    ),
    tags=("nvidia", "python"),
)

CHECKS = (CHECK,)
