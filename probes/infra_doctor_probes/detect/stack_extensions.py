"""Which libraries the compiled extensions of serving and communication packages do not find, though they lie on this machine.

Only packages of the table below are looked at: those whose import loads the extension, so that a library that is missing is an
import that fails. The loader is simulated as Python would use it, torch first; nothing is loaded. A missing library counts
only where a copy of it lies in a folder that installers write to; what lies nowhere is another question."""

import posixpath
from collections.abc import Iterator

from infra_doctor.plugin import (
    Capability,
    Component,
    Evidence,
    EvidenceKind,
    Loader,
    Machine,
    Probe,
    ProbeContext,
    Target,
    fact,
    record,
)

# Distribution -> its extension modules. Each is imported by the package's own __init__ or by its only entry.
EXTENSIONS = {
    "mooncake-transfer-engine": ("mooncake/engine*.so", "mooncake/store*.so"),
    "mooncake-transfer-engine-npu": ("mooncake/engine*.so", "mooncake/store*.so"),
    "vllm-ascend": ("vllm_ascend/vllm_ascend_C*.so",),
    "vllm": ("vllm/_C*.so",),
    "sgl-kernel": ("sgl_kernel/common_ops*.so",),
    "sgl-kernel-npu": ("sgl_kernel_npu/lib/*.so",),
    "lmcache": ("lmcache/c_ops*.so",),
    "flash-attn": ("flash_attn_2_cuda*.so",),
    "llama-cpp-python": ("llama_cpp/lib/libllama.so",),
    "paddlepaddle": ("paddle/base/libpaddle.so",),
    "mpi4py": ("mpi4py/MPI*.so",),
    "oneflow": ("oneflow/_oneflow_internal*.so",),
}
# Where `make install` and vendors' packages put libraries.
FOLDERS = ("/usr/local/lib", "/usr/local/lib64")
ASCEND = "/usr/local/Ascend"
LOADER_CONFIGURATION = "/etc/ld.so.conf"
PRELOADS = ("CDLL", "LD_LIBRARY_PATH", "dlopen")


@fact("extension-libraries", 1)
@record
class ExtensionLibraries:
    """What one extension does not find: (soname, path that needs it, path of a copy that lies here). `configured` are folders
    of such copies that the loader's configuration names, so that its cache is only out of date."""

    wheel: str
    target: str
    library: str
    missing: tuple[tuple[str, str, str], ...] = ()
    configured: tuple[str, ...] = ()
    unknown: str = ""
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[ExtensionLibraries]:
    """A fact for each extension of the table that lies in a target."""
    if Capability.ENVIRONMENT not in ctx.machine.capabilities:
        return
    for target in ctx.targets:
        for wheel in ctx.by_kind("wheel", target=target.key):
            for pattern in EXTENSIONS.get(wheel.name, ()):
                site = posixpath.dirname(wheel.location or "")
                for library in ctx.machine.glob(f"{site}/{pattern}")[:4] if site else ():
                    yield extension(ctx, target, wheel, library)


def extension(ctx: ProbeContext, target: Target, wheel: Component, library: str) -> ExtensionLibraries:
    """Load torch's extension module and torch_npu's, where they are, then this one."""
    machine: Machine = ctx.machine
    loader = Loader(
        machine, target.executable, ld_library_path=machine.environ.get("LD_LIBRARY_PATH"),
        ld_preload=machine.environ.get("LD_PRELOAD"),
    )  # fmt: skip
    site = posixpath.dirname(wheel.location or "")
    for package in ("torch", "torch_npu"):
        for name in machine.names(f"{site}/{package}"):
            if name.startswith("_C.") and name.endswith(".so"):
                loader.load(f"{site}/{package}/{name}", how="needed")
                break
    result = loader.load(library, how="needed")
    unknown = result.unknown or ("" if machine.elf(library, quiet=True) else f"{library} is no readable ELF file")
    lying = [
        (soname, by, place)
        for soname, by, _ in result.missing
        if not unknown and by.startswith(site + "/") and (place := lies_at(machine, site, library, soname))
    ]
    found = tuple(dict.fromkeys(lying))
    folders = tuple(dict.fromkeys(posixpath.dirname(place) for _, _, place in found))
    return ExtensionLibraries(
        wheel=wheel.key,
        target=target.key,
        library=library,
        missing=found,
        configured=tuple(f for f in folders if f in configured_folders(machine)) if found else (),
        unknown=unknown,
        evidence=(
            Evidence(kind=EvidenceKind.ELF, source=library, text="its libraries are looked for as the loader does it"),
            *(
                Evidence(kind=EvidenceKind.ELF, source=by, text=f"needs {soname}, which lies at {place}")
                for soname, by, place in found
            ),
        ),
    )


def lies_at(machine: Machine, site: str, library: str, soname: str) -> str:
    """A copy of a library in a folder that installers write to, or in the package itself; "" where there is none. A package
    that opens libraries by itself before its extension is not judged by what lies in it."""
    if "/" in soname:
        return ""
    folders = list(FOLDERS)
    if machine.is_dir(ASCEND):
        folders += [f for base in ("cann", "ascend-toolkit/latest") for f in (f"{ASCEND}/{base}/lib64",)]
        folders += [f"{ASCEND}/driver/lib64/{part}" for part in ("driver", "common")]
    package = library.removeprefix(site + "/").partition("/")[0]
    start = machine.read_text(f"{site}/{package}/__init__.py", max_bytes=65536, quiet=True) or ""
    if not any(word in start for word in PRELOADS):
        folders += [posixpath.dirname(library), f"{site}/{package}/lib", f"{site}/{package}.libs"]
    return next((p for folder in folders if machine.is_file(p := f"{folder}/{soname}")), "")


def configured_folders(machine: Machine) -> set[str]:
    """The folders that /etc/ld.so.conf and the files that it includes name."""
    found: set[str] = set()
    for path in (LOADER_CONFIGURATION, *machine.glob("/etc/ld.so.conf.d/*.conf")[:200]):
        for line in (machine.read_text(path, max_bytes=65536, quiet=True) or "").splitlines()[:1000]:
            folder = line.partition("#")[0].strip().rstrip("/")
            if folder.startswith("/"):
                found.add(folder)
    return found


PROBES = (
    Probe(
        id="extension-libraries",
        version=1,
        title="Libraries of packages' extensions that the loader does not reach",
        run=run,
        after=("python.wheels",),
        environment=("LD_LIBRARY_PATH", "LD_PRELOAD"),
        collect=(
            LOADER_CONFIGURATION, "/etc/ld.so.conf.d/*.conf", *FOLDERS,
            *(f"site:{pattern}" for patterns in EXTENSIONS.values() for pattern in patterns),
            "site:mooncake/__init__.py", "site:mooncake",
        ),
    ),
)  # fmt: skip
