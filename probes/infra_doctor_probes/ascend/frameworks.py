"""What torch_npu and onnxruntime-cann would load of CANN in this environment, and what of it is not found.

The loader is simulated over files, torch first, as `import torch_npu` does it; nothing is loaded. For each library that is
missing it is looked for below the CANN installations and the driver: a library that lies there and is not reached means
that set_env.sh was not sourced, one that lies nowhere that a package is missing. The Python packages that CANN's compiler
asks for, and the C++ ABI of torch, are read where such a framework is there."""

import posixpath
import re
from collections.abc import Iterator

from infra_doctor.plugin import (
    Capability,
    Component,
    Evidence,
    EvidenceKind,
    Loader,
    Machine,
    ProbeContext,
    Resolution,
    Target,
    fact,
    in_range,
    python_environment,
    record,
)
from infra_doctor_probes.ascend.cann import find_library
from infra_doctor_probes.ascend.packages import folders_of
from infra_doctor_probes.detect.ascend import BASE, FRAMEWORKS

# torch's own libraries: where these are missing, torch is, which is another check's to say.
TORCH_LIBRARIES = ("libtorch", "libc10", "libshm", "libgomp", "libstdc++", "libgcc_s", "libonnxruntime")
# Frameworks that open their part for Ascend when a device is chosen, and where that part lies in their package.
LATE_LIBRARIES = {
    # https://github.com/mindspore-lab/mindyolo/issues/273: "Load dynamic library: libmindspore_ascend.so.2 failed"
    "mindspore": (
        "mindspore/lib/plugin/libmindspore_ascend.so*",
        "mindspore/lib/plugin/ascend/libmindspore_ascend.so*",
    ),
    # https://github.com/PaddlePaddle/FastDeploy/issues/2540: Paddle Lite's part is found by its name alone
    "fastdeploy-python": (
        "fastdeploy/libs/third_libs/*/lib/libhuawei_ascend_npu.so",
        "fastdeploy/libs/third_libs/*/*/lib/libhuawei_ascend_npu.so",
    ),
}
LATE_LIBRARIES["fastdeploy-ascend-python"] = LATE_LIBRARIES["fastdeploy-python"]
# What CANN's installation guide asks for in Python (8.2.RC1; the names are those of PyPI).
PYTHON_PACKAGES = (
    "attrs", "cython", "numpy", "decorator", "sympy", "cffi", "pyyaml", "pathlib2", "psutil", "protobuf", "scipy",
    "requests", "absl-py",
)  # fmt: skip


_PIN = re.compile(r"torch[-_.]npu(?![\w-])\s{0,4}(\(?[^;]{0,120})(;.{0,160}|)$")


@fact("ascend-framework-libraries", 1)
@record
class AscendFrameworkLibraries:
    """The libraries of one framework. `missing` are (soname, path that needs it, where it lies after all or ""), `roots`
    the keys of the CANN installations that libraries are taken from. `unknown` says why nothing can be told."""

    wheel: str
    target: str
    library: str
    missing: tuple[tuple[str, str, str], ...] = ()
    roots: tuple[str, ...] = ()
    unknown: str = ""
    cxx_abi: str | None = None  # "0" or "1": what torch was compiled with
    evidence: tuple[Evidence, ...] = ()


@fact("torch-npu-pin", 1)
@record
class TorchNpuPin:
    """What an installed distribution requires of torch-npu. `met` is None where that cannot be told."""

    target: str
    package: str
    version: str
    requirement: str
    met: bool | None
    evidence: tuple[Evidence, ...] = ()


@fact("cann-python-packages", 1)
@record
class CannPythonPackages:
    """The Python packages that CANN asks for: (name, version or None where it is not installed)."""

    target: str
    consumers: tuple[str, ...]
    packages: tuple[tuple[str, str | None], ...]
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """Facts for each target that holds a framework for Ascend."""
    for target in ctx.targets:
        wheels = {w.name: w for w in ctx.by_kind("wheel", target=target.key) if w.name in FRAMEWORKS}
        if "torch-npu" in wheels:
            yield torch_npu(ctx, target, wheels["torch-npu"])
            yield from pins(ctx.machine, target, wheels["torch-npu"])
        for name in wheels.keys() & LATE_LIBRARIES.keys():
            found = by_library(ctx, target, wheels[name])
            if found is not None:
                yield found
        if "onnxruntime-cann" in wheels:
            found = onnxruntime_cann(ctx, target, wheels["onnxruntime-cann"])
            if found is not None:
                yield found
        if wheels:
            yield python_packages(ctx, target, tuple(w.key for w in wheels.values()))


def site_of(wheel: Component) -> str:
    """The directory that the package lies in."""
    return posixpath.dirname(wheel.location or "")


def pins(machine: Machine, target: Target, wheel: Component) -> Iterator[TorchNpuPin]:
    """The distributions that require a torch-npu, other than those of an extra."""
    for dist in python_environment(machine, target).distributions:
        for line in dist.requires:
            match = _PIN.match(line.strip()[:300])
            if match is None or "extra" in match.group(2):
                continue
            spec = match.group(1).strip(" ()")
            yield TorchNpuPin(
                target=target.key, package=dist.normalized, version=dist.version, requirement=spec or "any",
                met=in_range(wheel.version or "", spec) if spec else True,
                evidence=(Evidence(kind=EvidenceKind.METADATA, source=dist.path, text=line[:120]),),
            )  # fmt: skip


# -- the libraries ------------------------------------------------------------------------------------------------


def torch_npu(ctx: ProbeContext, target: Target, wheel: Component) -> AscendFrameworkLibraries:
    """torch's extension module, then torch_npu's."""
    machine: Machine = ctx.machine
    torch = next(iter(ctx.named("torch", target.key)), None)
    package = site_of(wheel) + "/torch_npu"
    extension = extension_in(machine, package) or f"{package}/lib/libtorch_npu.so"
    torch_package = site_of(torch or wheel) + "/torch"
    first = extension_in(machine, torch_package)
    return simulate(
        ctx, target, wheel, extension, before=(first,) if first else (), abi=cxx_abi(machine, torch_package)
    )


def onnxruntime_cann(ctx: ProbeContext, target: Target, wheel: Component) -> AscendFrameworkLibraries | None:
    """The provider's library, as a session opens it; None where another wheel's files took the folder."""
    capi = site_of(wheel) + "/onnxruntime/capi"
    provider = f"{capi}/libonnxruntime_providers_cann.so"
    if not ctx.machine.is_file(provider):
        return None
    return simulate(ctx, target, wheel, provider, before=(f"{capi}/libonnxruntime_providers_shared.so",), abi=None)


def by_library(ctx: ProbeContext, target: Target, wheel: Component) -> AscendFrameworkLibraries | None:
    """The part of a framework that is opened when Ascend is chosen; None where this build has none."""
    for pattern in LATE_LIBRARIES[wheel.name]:
        for library in ctx.machine.glob(f"{site_of(wheel)}/{pattern}")[-1:]:
            return simulate(ctx, target, wheel, library, before=(), abi=None)
    return None


def extension_in(machine: Machine, package: str) -> str | None:
    """The `_C` extension module of a package."""
    names = [n for n in machine.names(package) if n.startswith("_C.") and n.endswith(".so")]
    return f"{package}/{names[0]}" if names else None


def simulate(
    ctx: ProbeContext, target: Target, wheel: Component, library: str, *, before: tuple[str, ...], abi: str | None
) -> AscendFrameworkLibraries:
    """Load `library` after `before`; what CANN and driver libraries are missing, and which installations are used."""
    machine: Machine = ctx.machine
    seen = Evidence(kind=EvidenceKind.ELF, source=library, text="")
    if Capability.ENVIRONMENT not in machine.capabilities:
        reason = f"not visible: the environment of a {machine.form} machine, so the loader's search path is not known"
        return AscendFrameworkLibraries(
            wheel=wheel.key, target=target.key, library=library, unknown=reason, cxx_abi=abi, evidence=(seen,)
        )
    loader = Loader(
        machine,
        target.executable,
        ld_library_path=machine.environ.get("LD_LIBRARY_PATH"),
        ld_preload=machine.environ.get("LD_PRELOAD"),
    )
    for path in before:
        loader.load(path, how="needed")
    result = loader.load(library, how="needed")
    unknown = result.unknown or ("" if machine.elf(library, quiet=True) else f"{library} is no readable ELF file")
    missing = missing_of_ascend(ctx, result, posixpath.dirname(library))
    needed = machine.elf(library, quiet=True)
    shown = f"needs {' '.join(needed.needed)}" if needed else "not readable"
    return AscendFrameworkLibraries(
        wheel=wheel.key,
        target=target.key,
        library=library,
        missing=() if unknown else missing,
        roots=() if unknown else roots_used(ctx, loader),
        unknown=unknown,
        cxx_abi=abi,
        evidence=(
            Evidence(kind=EvidenceKind.ELF, source=library, text=shown[:300]),
            *(
                Evidence(kind=EvidenceKind.ELF, source=by, text=f"needs {name}, which the loader does not find")
                for name, by, _ in missing
            ),
        ),
    )


def missing_of_ascend(ctx: ProbeContext, result: Resolution, package: str) -> tuple[tuple[str, str, str], ...]:
    """(soname, path that needs it, where it lies after all) for what the framework, CANN or the driver need."""
    places = (package, *(folder for cann in ctx.by_kind("cann") for folder in folders_of(cann)), *driver_folders(ctx))
    found: dict[str, tuple[str, str, str]] = {}
    for soname, by, _ in result.missing:
        real = ctx.machine.realpath(by)
        if not soname.startswith(TORCH_LIBRARIES) and any(p.startswith(f"{f}/") for f in places for p in (by, real)):
            found.setdefault(soname, (soname, by, lies_at(ctx, soname)))
    return tuple(found.values())


def driver_folders(ctx: ProbeContext) -> tuple[str, ...]:
    """The folders of the driver."""
    driver = next((c for c in ctx.by_kind("driver") if c.key == "driver:ascend"), None)
    return (driver.location if driver is not None and driver.location else f"{BASE}/driver",)


def lies_at(ctx: ProbeContext, soname: str) -> str:
    """Where a library lies below the CANN in use or the driver, "" where nowhere."""
    machine: Machine = ctx.machine
    for cann in sorted(ctx.by_kind("cann"), key=lambda c: not c.attributes.get("in_use")):
        path = find_library(machine, folders_of(cann), soname)
        if path is not None:
            return path
    parts = ("lib64/driver", "lib64/common", "lib64")
    paths = (f"{folder}/{part}/{soname}" for folder in driver_folders(ctx) for part in parts)
    return next((p for p in paths if machine.is_file(p)), "")


def roots_used(ctx: ProbeContext, loader: Loader) -> tuple[str, ...]:
    """The installations that loaded objects come from, in order."""
    canns = [(c.key, folders_of(c)) for c in ctx.by_kind("cann")]
    keys = (
        key
        for found in loader.objects
        for key, folders in canns
        if any(found.real_path.startswith(folder + "/") for folder in folders)
    )
    return tuple(dict.fromkeys(keys))


def cxx_abi(machine: Machine, torch_package: str) -> str | None:
    """torch's C++ ABI by the flags that it hands to builds (its CMake file up to 2.6 or so); None where it says none."""
    path = torch_package + "/share/cmake/Torch/TorchConfig.cmake"
    text = machine.read_text(path, max_bytes=65536, quiet=True) or ""
    match = re.search(r"-D_GLIBCXX_USE_CXX11_ABI=([01])\b", text)
    return match.group(1) if match else None


# -- the Python packages ------------------------------------------------------------------------------------------


def python_packages(ctx: ProbeContext, target: Target, consumers: tuple[str, ...]) -> CannPythonPackages:
    """What of the list is installed in the target."""
    environment = python_environment(ctx.machine, target)
    found = {name: environment.distribution(name) for name in PYTHON_PACKAGES}
    return CannPythonPackages(
        target=target.key,
        consumers=consumers,
        packages=tuple((name, dist.version if dist is not None else None) for name, dist in found.items()),
        evidence=tuple(
            Evidence(kind=EvidenceKind.METADATA, source=dist.path, text=f"{name} {dist.version}")
            for name, dist in found.items()
            if dist is not None
        ),
    )
