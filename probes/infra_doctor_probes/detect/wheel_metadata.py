"""What installed packages of the accelerator stack ask for: their requirements on each other, their Python, their glibc.

Facts come from METADATA and WHEEL. These are the exact pins that beat every documentation table."""

import re
from collections.abc import Iterator

from infra_doctor.plugin import (
    Distribution,
    Evidence,
    EvidenceKind,
    Probe,
    ProbeContext,
    Target,
    fact,
    python_environment,
    read_requirement,
    record,
    version_key,
)
from infra_doctor_probes.detect.wheels import in_stack
from infra_doctor_probes.loading.orders import wheel_key

# PEP 513, 571, 599: the tags before the version was part of the name.
OLD_TAGS = {"manylinux1": "2.5", "manylinux2010": "2.12", "manylinux2014": "2.17"}
REQUIREMENTS_CAP = 400


@fact("wheel-metadata", 1)
@record
class WheelMetadata:
    """One package's own words. `requires` holds the lines on other packages of the stack; `min_glibc` ("2.28") is the
    lowest of its manylinux tags, None for wheels without one."""

    target: str
    wheel: str
    requires: tuple[str, ...] = ()
    requires_python: str | None = None
    min_glibc: str | None = None
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """One fact per package that asks for something."""
    for target in ctx.targets:
        for dist in python_environment(ctx.machine, target).distributions:
            if in_stack(dist.normalized):
                found = metadata(target, dist)
                if found.requires or found.requires_python or found.min_glibc:
                    yield found


def metadata(target: Target, dist: Distribution) -> WheelMetadata:
    """The fact of one distribution."""
    requires = tuple(line for line in dist.requires[:REQUIREMENTS_CAP] if on_stack(line))
    return WheelMetadata(
        target=target.key,
        wheel=wheel_key(dist.normalized, target),
        requires=requires,
        requires_python=dist.requires_python,
        min_glibc=min_glibc(dist.tags),
        evidence=(Evidence(kind=EvidenceKind.METADATA, source=dist.path, text=f"{dist.name} {dist.version}"),),
    )


def on_stack(line: str) -> bool:
    """Whether the line asks for a package of the stack, and not only under an extra."""
    found = read_requirement(line[:1000])
    return found is not None and found.applies is not False and in_stack(found.name)


def min_glibc(tags: tuple[str, ...]) -> str | None:
    """The oldest glibc that one of the tags admits."""
    versions = []
    for tag in tags:
        for platform in tag.rpartition("-")[2].split("."):
            new = re.match(r"manylinux_(\d+)_(\d+)_", platform)
            if new:
                versions.append(f"{new.group(1)}.{new.group(2)}")
            else:
                versions += [v for name, v in OLD_TAGS.items() if platform.startswith(name + "_")]
    return min(versions, key=version_key, default=None)


PROBES = (
    Probe(
        id="python.wheel-metadata",
        version=1,
        title="What installed accelerator packages ask for",
        run=run,
    ),
)
