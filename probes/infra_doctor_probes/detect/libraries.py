"""Every copy of the CUDA libraries on the machine, where each comes from, and which of them PyTorch and ONNX Runtime load.

Copies are looked for where something could load them: the linker's cache, LD_LIBRARY_PATH, toolkits, the default library
folders, conda prefixes, wheels. `loaded_by` is the result of playing each import order with the loader's algorithm over
these files (see infra_doctor_probes.loading.orders); nothing is loaded. Where LD_LIBRARY_PATH is set, each order is
played without it too: what changes is what that variable does."""

import posixpath
from collections.abc import Iterator
from dataclasses import replace

from infra_doctor.plugin import (
    AttributeValue,
    Component,
    Evidence,
    EvidenceKind,
    LoadedBy,
    Machine,
    Probe,
    ProbeContext,
    PythonEnvironment,
    Target,
    fact,
    python_environment,
    record,
)
from infra_doctor_probes.detect.framework_builds import FrameworkBuild
from infra_doctor_probes.detect.opened_later import opened_later
from infra_doctor_probes.loading.names import library_name
from infra_doctor_probes.loading.orders import Play, environment_of, frameworks, play_all
from infra_doctor_probes.loading.process import Missing, Use
from infra_doctor_probes.loading.versions import Identity, identify

_TOOLKIT_PATTERNS = (
    "/usr/local/cuda*/lib64", "/usr/local/cuda*/targets/*/lib", "/usr/local/cuda*/extras/CUPTI/lib64", "/opt/cuda*/lib64",
)  # fmt: skip
_DEFAULT_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
)


@fact("framework-import", 1)
@record
class FrameworkImport:
    """Whether the libraries of `import torch` load in one order; `loads` is None where that cannot be told."""

    target: str
    consumer: str
    order: str
    loads: bool | None
    missing: tuple[Missing, ...] = ()
    unknown: str = ""
    evidence: tuple[Evidence, ...] = ()


@fact("library-path", 1)
@record
class LibraryPath:
    """LD_LIBRARY_PATH is set, and import orders were played with and without it."""

    target: str
    value: str
    evidence: tuple[Evidence, ...] = ()


@fact("library-path-effect", 1)
@record
class LibraryPathEffect:
    """LD_LIBRARY_PATH makes a consumer load another copy than it would without: component keys of both. `folder` is where
    the loader found it, links not resolved: an entry of the variable, unless the copy came in behind another."""

    target: str
    consumer: str
    order: str
    taken: str
    instead_of: str
    folder: str
    via: str
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """Library components, FrameworkImport and LibraryPathEffect facts."""
    machine: Machine = ctx.machine
    environments = tuple(python_environment(machine, t) for t in ctx.targets)
    copies = find_copies(ctx, environments)
    plays: list[tuple[Target, Play]] = []
    for target in ctx.targets:
        if needs_cuda(machine, target):
            plays += [(target, play) for play in play_all(machine, target)]
    builds = ctx.facts(FrameworkBuild)
    later = [played for target in ctx.targets for played in opened_later(machine, target, builds)]
    loaded_by: dict[str, list[LoadedBy]] = {}
    for order, uses in [(p.order, p.uses) for _, p in plays] + [(f.order, uses) for f, uses in later]:
        for use in uses:
            via = f"on first use: {use.via}" if use.on_first_use else use.via
            entry = LoadedBy(consumer=use.consumer, via=via, order=order)
            loaded_by.setdefault(use.object.real_path, []).append(entry)
            copies.setdefault(use.object.real_path, use.object.path)
    for real, path in sorted(copies.items()):
        component = library(machine, real, path, identify(machine, path, environments))
        if component is not None:
            yield replace(component, loaded_by=tuple(loaded_by.get(real, ())))
    for target, play in plays:
        yield from framework_imports(target, play)
    yield from (replace(found, evidence=missing_evidence(found.missing)) for found, _ in later)
    for target in ctx.targets:
        value = environment_of(machine, target).get("LD_LIBRARY_PATH")
        played = [p for t, p in plays if t is target]
        if value and played:
            seen = Evidence(kind=EvidenceKind.ENVIRONMENT, source="LD_LIBRARY_PATH", text=value)
            yield LibraryPath(target=target.key, value=value, evidence=(seen,))
            yield from library_path_effects(machine, target, played, seen)


def needs_cuda(machine: Machine, target: Target) -> bool:
    """Whether something here would load CUDA libraries at all."""
    found = frameworks(machine, target)
    return bool((found.torch and found.torch.cuda) or (found.ort and found.ort.providers))


# -- copies -------------------------------------------------------------------------------------------------------


def find_copies(ctx: ProbeContext, environments: tuple[PythonEnvironment, ...]) -> dict[str, str]:
    """Real path -> a path under which the copy is found."""
    machine: Machine = ctx.machine
    found: dict[str, str] = {}

    def add(path: str) -> None:
        if library_name(posixpath.basename(path)) is not None and "/stubs/" not in path and machine.is_file(path):
            found.setdefault(machine.realpath(path), path)

    # Wheels first: their own path names the owner, the others only a place.
    for environment in environments:
        for path, _ in environment.records.libraries:
            add(path)
    for folder in wheel_folders(machine, environments):
        for name in machine.names(folder):
            add(posixpath.join(folder, name))
    for entry in machine.linker_cache(quiet=True) or ():
        add(entry.path)
    for folder in dict.fromkeys(library_folders(ctx)):
        for name in machine.names(folder):
            add(posixpath.join(folder, name))
    return found


def wheel_folders(machine: Machine, environments: tuple[PythonEnvironment, ...]) -> Iterator[str]:
    """Folders of site-packages that hold such libraries whether or not a RECORD lists them."""
    for environment in environments:
        for site in environment.target.site_dirs:
            yield from machine.glob(f"{site}/nvidia/*/lib") if machine.is_dir(site + "/nvidia") else ()
            yield from (
                f for f in (f"{site}/torch/lib", f"{site}/tensorrt_libs", f"{site}/cusparselt/lib") if machine.is_dir(f)
            )


def library_folders(ctx: ProbeContext) -> Iterator[str]:
    """Folders outside wheels, in no order that matters."""
    machine: Machine = ctx.machine
    settings = [environment_of(machine, t).get("LD_LIBRARY_PATH", "") for t in ctx.targets]
    for folder in ":".join([machine.environ.get("LD_LIBRARY_PATH", ""), *settings]).replace(";", ":").split(":"):
        if folder.startswith("/"):
            yield folder.rstrip("/") or "/"
    for pattern in _TOOLKIT_PATTERNS:
        yield from machine.glob(pattern)
    for toolkit in ctx.by_kind("cuda-toolkit"):
        if toolkit.location and toolkit.location.startswith("/"):
            yield toolkit.location + "/lib64"
            yield from machine.glob(toolkit.location + "/targets/*/lib")
    for target in ctx.targets:
        if machine.is_dir(target.prefix + "/conda-meta"):
            yield target.prefix + "/lib"
    yield from _DEFAULT_FOLDERS


def library(machine: Machine, real: str, path: str, identity: Identity) -> Component | None:
    """The component of one copy; None for what this machine's programs cannot load (32 bits) or what is no library."""
    name = library_name(posixpath.basename(real)) or library_name(posixpath.basename(path))
    elf = machine.elf(real)
    if name is None or elf is None or elf.bits != 64:
        return None
    attributes: dict[str, AttributeValue] = {"soname": elf.soname, "cuda_major": identity.cuda_major}
    return Component(
        key=f"{name.kind}:{real}",
        kind=name.kind,
        name=name.stem,
        version=identity.version,
        location=real,
        origin=identity.origin,
        target=identity.target,
        attributes={k: v for k, v in attributes.items() if v is not None},
        evidence=(Evidence(kind=EvidenceKind.ELF, source=real, text=f"soname {elf.soname}"), *identity.evidence),
    )


# -- what imports get ---------------------------------------------------------------------------------------------


def framework_imports(target: Target, play: Play) -> Iterator[FrameworkImport]:
    """The outcomes that are no execution provider's."""
    for outcome in play.outcomes:
        if not outcome.provider:
            yield FrameworkImport(
                target=target.key,
                consumer=outcome.consumer,
                order=play.order,
                loads=outcome.loads,
                missing=outcome.missing,
                unknown=outcome.unknown,
                evidence=missing_evidence(outcome.missing),
            )


def missing_evidence(missing: tuple[Missing, ...]) -> tuple[Evidence, ...]:
    """Each missing library: who needs it, where was looked."""
    return tuple(
        Evidence(
            kind=EvidenceKind.ELF,
            source=m.needed_by,
            text=f"needs {m.soname}, "
            + (
                f"refused: {m.reason}"
                if m.reason
                else f"not in {':'.join(m.searched) or 'its search list'}, the cache and the default folders"
            ),
        )
        for m in missing
    )


def library_path_effects(
    machine: Machine, target: Target, plays: list[Play], setting: Evidence
) -> Iterator[LibraryPathEffect]:
    """Copies that differ between the orders as they are and the same without LD_LIBRARY_PATH."""
    without = {p.order: p for p in play_all(machine, target, without_library_path=True)}
    for play in plays:
        other = without.get(play.order)
        if other is None:
            continue
        expected = {(u.consumer, kind_and_name(u)): u for u in other.uses}
        for use in play.uses:
            instead = expected.get((use.consumer, kind_and_name(use)))
            if instead is None or instead.object.real_path == use.object.real_path:
                continue
            kind, stem = kind_and_name(use)
            yield LibraryPathEffect(
                target=target.key,
                consumer=use.consumer,
                order=play.order,
                taken=f"{kind}:{use.object.real_path}",
                instead_of=f"{kind}:{instead.object.real_path}",
                folder=posixpath.dirname(use.object.path),
                via=use.via,
                evidence=(
                    setting,
                    Evidence(kind=EvidenceKind.ELF, source=use.object.real_path, text=f"{stem}: {use.via}"),
                    Evidence(kind=EvidenceKind.ELF, source=instead.object.real_path, text=f"without it: {instead.via}"),
                ),
            )


def kind_and_name(use: Use) -> tuple[str, str]:
    """Kind and file name stem of what was loaded."""
    name = library_name(posixpath.basename(use.object.path)) or library_name(posixpath.basename(use.object.real_path))
    return (name.kind, name.stem) if name else ("", posixpath.basename(use.object.path))


PROBES = (
    Probe(
        id="libraries",
        version=1,
        title="Copies of the CUDA libraries, and which of them get loaded",
        run=run,
        after=("cuda-toolkit", "python.wheels"),
        environment=("LD_LIBRARY_PATH", "LD_PRELOAD"),
        collect=(
            "/usr/local/cuda*/lib64/lib*", "/usr/local/cuda*/targets/*/lib/lib*", "$CUDA_HOME/lib64/lib*",
            "/usr/lib/x86_64-linux-gnu/libcu*",
            "/usr/lib/x86_64-linux-gnu/libn*", "/usr/lib/aarch64-linux-gnu/libcu*", "/usr/lib/aarch64-linux-gnu/libn*",
            "/usr/local/cuda*/version.json", "/usr/include/cudnn_version.h", "/var/lib/dpkg/info/libcudnn*.list",
            "site:torch/_C*.so", "site:torch/lib/*.so*", "site:nvidia/*/lib/*.so*", "site:tensorrt_libs/*.so*",
            "site:nvidia/cudnn/include/cudnn_version.h", "site:tensorflow/libtensorflow_*.so*",
            "site:tensorflow/python/_pywrap_tensorflow_internal.so", "site:tensorflow_core/libtensorflow_framework.so*",
            "site:jaxlib/xla_extension.so", "site:jax_plugins/xla_cuda*/xla_cuda_plugin.so",
        ),
    ),
)  # fmt: skip
