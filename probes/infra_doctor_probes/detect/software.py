"""Products of the stack that are no wheels: servers, compilers, message-passing libraries, source trees on sys.path.

Each is a row of infra_doctor_probes.products. A version is read from a file of the installation (a VERSION file, a header,
pkg-config, CMake, the numbers in a library's name); no program is started for it, so some have none."""

import posixpath
import re
from collections.abc import Iterator

from infra_doctor.plugin import (
    Component,
    Evidence,
    EvidenceKind,
    Machine,
    Probe,
    ProbeContext,
    Target,
    python_environment,
)
from infra_doctor_probes.products import PRODUCTS, Product, product_of

_TEXT_CAP_BYTES = 256 << 10


def run(ctx: ProbeContext) -> Iterator[Component]:
    """One component per place where a product lies, and per source tree of a target."""
    machine: Machine = ctx.machine
    for product in PRODUCTS:
        found = {c.key: c for c in (*in_places(machine, product), *programs(machine, product))}
        yield from found.values()
    for target in ctx.targets:
        yield from source_trees(machine, target)


def in_places(machine: Machine, product: Product) -> Iterator[Component]:
    """Installations that a file of their own shows; several names of one file are one."""
    for place in product.places:
        for path in machine.glob(place.pattern):
            real = machine.realpath(path)
            if not machine.is_file(real):
                continue
            version = None
            if place.version:
                text = real if place.in_name else machine.read_text(path, max_bytes=_TEXT_CAP_BYTES) or ""
                version = version_in(place.version, text)
            yield software(product, real, version, f"version {version}" if version else "the file is there")


def programs(machine: Machine, product: Product) -> Iterator[Component]:
    """Programs on PATH that belong to no Python environment: those come with a distribution."""
    for name in product.programs.split():
        path = machine.which(name)
        if path is None or machine.exists(posixpath.dirname(posixpath.dirname(path)) + "/pyvenv.cfg"):
            continue
        if (machine.read_bytes(path, max_bytes=2, quiet=True) or b"") == b"#!":
            continue  # a script, as pip makes one for a distribution
        yield software(product, machine.realpath(path), None, f"{name} on PATH")


def source_trees(machine: Machine, target: Target) -> Iterator[Component]:
    """Source trees that an import finds and no distribution stands for."""
    trees = [(p, *p.module) for p in PRODUCTS if p.module is not None]
    environment = python_environment(machine, target)
    installed = {p.name for d in environment.distributions if (p := product_of(d.normalized)) is not None}
    for product, module, file, pattern in trees:
        if product.name in installed:
            continue
        for entry in target.sys_path:
            path = f"{entry}/{module}/{file}"
            text = machine.read_text(path, max_bytes=_TEXT_CAP_BYTES) if machine.is_file(path) else None
            if text is not None:
                yield software(product, path, version_in(pattern, text), f"found by import in {entry}", target)
                break


def version_in(pattern: str, text: str) -> str | None:
    """The groups of the first match, joined by dots."""
    match = re.search(pattern, text, re.MULTILINE)
    return ".".join(match.groups()) if match else None


def software(product: Product, path: str, version: str | None, seen: str, target: Target | None = None) -> Component:
    """The component."""
    return Component(
        key=f"software:{path}" + (f"@{target.prefix}" if target is not None else ""),
        kind="software",
        name=product.name,
        version=version,
        location=path,
        target=target.key if target is not None else None,
        attributes={"product": product.name, "group": product.group},
        evidence=(Evidence(kind=EvidenceKind.FILE, source=path, text=seen),),
    )


PROBES = (
    Probe(
        id="software",
        version=1,
        title="Servers, compilers and message-passing libraries that are no wheels",
        run=run,
        collect=(
            *(place.pattern for product in PRODUCTS for place in product.places),
            *(f"which:{name}" for product in PRODUCTS for name in product.programs.split()),
        ),
    ),
)
