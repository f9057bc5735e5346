"""Whether a PyTorch for Intel GPUs finds Level Zero: the loader, the GPU driver behind it, and the symbol versions of both.

PyTorch's wheels bring the SYCL run time and take Level Zero from the system: `libze_loader.so.1`, which opens
`libze_intel_gpu.so.1`. In a conda environment the environment's own libstdc++ is loaded first; where that is older than the
system's Level Zero needs, the loader refuses it (pytorch/pytorch#147226, #144143)."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Evidence,
    EvidenceKind,
    Loader,
    Machine,
    ProbeContext,
    Resolution,
    Target,
    fact,
    record,
    unmet_versions,
)

LOADER, GPU_DRIVER = "libze_loader.so.1", "libze_intel_gpu.so.1"
OTHER_DRIVERS = "ZE_ENABLE_ALT_DRIVERS"
ENTRY_LIBRARIES = ("torch/lib/libtorch_xpu.so", "torch/lib/libc10_xpu.so", "torch/lib/libtorch_python.so")


@fact("level-zero", 1)
@record
class LevelZero:
    """What one target's PyTorch gets. `loader` and `driver` are the real paths, None where they are not found; `missing` are
    (library that is not there, who needs it), `unmet` (object, library, version). `unknown` says why nothing can be told."""

    wheel: str
    target: str
    loader: str | None
    driver: str | None
    missing: tuple[tuple[str, str], ...]
    unmet: tuple[tuple[str, str, str], ...]
    unknown: str
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[LevelZero]:
    """One fact per target with a PyTorch for Intel GPUs."""
    for wheel in ctx.by_kind("wheel"):
        target = next((t for t in ctx.targets if t.key == wheel.target), None)
        if wheel.name == "torch" and wheel.attributes.get("build") == "xpu" and target is not None:
            yield look(ctx.machine, target, wheel.key)


def look(machine: Machine, target: Target, wheel: str) -> LevelZero:
    """Play the loading: PyTorch's libraries, then Level Zero."""
    process = Loader(
        machine, target.executable, ld_library_path=machine.environ.get("LD_LIBRARY_PATH"),
        ld_preload=machine.environ.get("LD_PRELOAD"),
    )  # fmt: skip
    entries = [p for site in target.site_dirs for n in ENTRY_LIBRARIES for p in (f"{site}/{n}",) if machine.is_file(p)]
    for entry in entries:
        # "needed": what is missing elsewhere must not hide what was found.
        process.load(entry, how="needed")
    first = process.load(LOADER, by=entries[0] if entries else None, how="needed")
    loader = process.find(LOADER)
    second = process.load(GPU_DRIVER, by=loader.path if loader else None, how="needed")
    driver = process.find(GPU_DRIVER)
    unknown = process.unknown or first.unknown or second.unknown
    if machine.environ.get(OTHER_DRIVERS):
        unknown = unknown or f"{OTHER_DRIVERS} names other drivers"
    ours = tuple(o for o in (loader, driver) if o is not None)
    names = {o.path for o in ours} | {n.path for r in (first, second) for n in r.loaded}
    unmet = tuple(u for u in unmet_versions(machine, process.objects) if u[0] in names)
    copies = {lib: found.real_path for _, lib, _ in unmet if (found := process.find(lib)) is not None}
    return LevelZero(
        wheel=wheel, target=target.key, loader=loader.real_path if loader else None,
        driver=driver.real_path if driver else None, missing=tuple(needs(first, second)), unmet=unmet, unknown=unknown,
        evidence=(
            *(Evidence(kind=EvidenceKind.ELF, source=o.real_path, text=o.via[:200]) for o in ours),
            *(
                Evidence(kind=EvidenceKind.ELF, source=o, text=f"needs {v}, not defined by {copies.get(lib, lib)}")
                for o, lib, v in unmet[:6]
            ),
        ),
    )  # fmt: skip


def needs(*answers: Resolution) -> Iterator[tuple[str, str]]:
    """(library, who needs it) of all that was not found below Level Zero itself."""
    for answer in answers:
        for name, by, _ in answer.missing:
            if name not in {LOADER, GPU_DRIVER}:
                yield name, by
