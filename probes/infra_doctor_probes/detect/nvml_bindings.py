"""Which distribution answers `import pynvml` in a target: nvidia-ml-py, or the deprecated one that is named pynvml.

Both offer a module of that name. Up to version 11 the deprecated one brings a package `pynvml/`, which hides the module
`pynvml.py` of nvidia-ml-py beside it; from version 12 on it depends on nvidia-ml-py and brings no NVML bindings."""

import re
from collections.abc import Iterator

from infra_doctor.plugin import Evidence, EvidenceKind, Machine, Probe, ProbeContext, fact, python_environment, record


@fact("deprecated-pynvml", 1)
@record
class DeprecatedPynvml:
    """The distribution `pynvml` in a target. `hides_nvidia_ml_py`: its package is what `import pynvml` takes.
    `required_by` are the distributions that name it in Requires-Dist (those of extras left out)."""

    target: str
    version: str
    hides_nvidia_ml_py: bool
    nvidia_ml_py: str | None
    required_by: tuple[str, ...]
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """One fact per target that holds the deprecated distribution."""
    machine: Machine = ctx.machine
    for target in ctx.targets:
        environment = python_environment(machine, target)
        found = environment.distribution("pynvml")
        if found is None:
            continue
        modern = environment.distribution("nvidia-ml-py")
        package = f"{found.site_dir}/pynvml/__init__.py"
        hides = machine.is_file(package)
        evidence = [Evidence(kind=EvidenceKind.METADATA, source=found.path, text=f"pynvml {found.version}")]
        if hides:
            evidence.append(Evidence(kind=EvidenceKind.FILE, source=package, text="the package that is imported"))
        yield DeprecatedPynvml(
            target=target.key,
            version=found.version,
            hides_nvidia_ml_py=hides,
            nvidia_ml_py=modern.version if modern else None,
            required_by=tuple(
                sorted(d.normalized for d in environment.distributions if any(map(requires_pynvml, d.requires)))
            ),
            evidence=tuple(evidence),
        )


def requires_pynvml(line: str) -> bool:
    """Whether a Requires-Dist line names pynvml, and not only for an extra."""
    requirement, _, marker = line.partition(";")
    name = re.match(r"[A-Za-z0-9._-]+", requirement.strip())
    return name is not None and name.group(0).lower() == "pynvml" and "extra" not in marker


PROBES = (
    Probe(id="nvml-bindings", version=1, title="The module pynvml in each environment", run=run),
)  # fmt: skip
