"""Whether the system's C and C++ libraries define the symbol versions that a target's frameworks need.

The loader refuses a library whose version needs are not met ("version `GLIBC_2.28' not found"). Both sides stand in ELF
headers: what PyTorch's and ONNX Runtime's libraries need, and what the copies that this interpreter would load define."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Evidence,
    EvidenceKind,
    Loader,
    Machine,
    Probe,
    ProbeContext,
    Target,
    fact,
    record,
    unmet_versions,
)

# The libraries that pull in all others of their framework.
ENTRY_LIBRARIES = (
    "torch/lib/libtorch_python.so",
    "onnxruntime/capi/onnxruntime_pybind11_state*.so",
    "onnxruntime/capi/libonnxruntime_providers_cuda.so",
)


@record
class Unmet:
    """`object` needs `version` of `library`, and the copy that is loaded does not define it."""

    object: str
    library: str
    version: str


@fact("symbol-versions", 1)
@record
class SymbolVersions:
    """What was looked at in a target, and which versions are not there."""

    target: str
    entries: tuple[str, ...]
    unmet: tuple[Unmet, ...]
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """One fact per target that holds one of the frameworks."""
    for target in ctx.targets:
        entries = tuple(
            dict.fromkeys(
                p for site in target.site_dirs for name in ENTRY_LIBRARIES for p in ctx.machine.glob(f"{site}/{name}")
            )
        )
        if entries:
            yield from symbol_versions(ctx.machine, target, entries)


def symbol_versions(machine: Machine, target: Target, entries: tuple[str, ...]) -> Iterator[SymbolVersions]:
    """The versions that stay unmet when the entries are loaded; nothing where the loader's order cannot be told."""
    loader = Loader(machine, target.executable, ld_library_path=machine.environ.get("LD_LIBRARY_PATH"))
    for entry in entries:
        # "needed": what is missing elsewhere (a driver library) must not hide what was found.
        loader.load(entry, how="needed")
    if loader.unknown:
        return
    unmet = tuple(Unmet(object=o, library=n, version=v) for o, n, v in unmet_versions(machine, loader.objects))
    copies = {name: found.real_path for u in unmet if (found := loader.find(name := u.library)) is not None}
    yield SymbolVersions(
        target=target.key,
        entries=entries,
        unmet=unmet,
        evidence=(
            *(Evidence(kind=EvidenceKind.ELF, source=e, text="version needs read") for e in entries),
            *(
                Evidence(
                    kind=EvidenceKind.ELF,
                    source=u.object,
                    text=f"needs {u.version}, not defined by {copies.get(u.library, u.library)}",
                )
                for u in unmet
            ),
        ),
    )


PROBES = (
    Probe(id="symbol-versions", version=1, title="Symbol versions that frameworks need", run=run),
)  # fmt: skip
