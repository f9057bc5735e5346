"""OpenCL as a program finds it: the loader `libOpenCL.so.1`, and one run time per file in /etc/OpenCL/vendors.

Each `.icd` file names a library on its first line, by path or for the loader to search (libOpenCL(7), cl_khr_icd). A library
that cannot be loaded is skipped in silence. Which devices a run time serves follows from the library's name."""

import posixpath
from collections.abc import Iterator

from infra_doctor.plugin import Evidence, EvidenceKind, Loader, Machine, ProbeContext, fact, record
from infra_doctor_probes.detect.intel import ICD_FOLDER

LOADER = "libOpenCL.so.1"
GPU_PLUG_IN = "openvino/libs/libopenvino_intel_gpu_plugin.so"
# The start of a run time's library -> (what it serves, vendor of the device, "" where it needs none).
RUNTIMES = (
    ("libigdrcl", "Intel GPU (compute-runtime, NEO)", "intel"),
    ("libcl.so", "Intel GPU (Beignet)", "intel"),
    ("libintelocl_emu", "FPGA emulation", ""),
    ("libintelocl", "Intel CPU run time", ""),
    ("libpocl", "CPU (PoCL)", ""),
    ("libnvidia-opencl", "NVIDIA GPU", "nvidia"),
    ("libamdocl", "AMD GPU", "amd"),
    ("libMesaOpenCL", "GPU through Mesa (Clover)", "mesa"),
    ("libRusticlOpenCL", "GPU through Mesa (rusticl)", "mesa"),
)
FILES_CAP = 64


@record
class Runtime:
    """One `.icd` file. `path` is the library's real path; where it cannot be loaded, None and `reason`."""

    icd: str
    library: str
    serves: str
    vendor: str
    path: str | None
    reason: str


@fact("opencl", 1)
@record
class OpenCl:
    """The loader's real path (None where there is none), the run times, and the OpenVINO wheels with a GPU plug-in, as
    (wheel key, what the plug-in misses)."""

    loader: str | None
    runtimes: tuple[Runtime, ...]
    openvino: tuple[tuple[str, str], ...]
    unknown: str
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[OpenCl]:
    """One fact."""
    machine: Machine = ctx.machine
    process = process_of(ctx)
    unknown = process.unknown if process is not None else "no program whose loader could be followed"
    runtimes = tuple(runtime(machine, process, path) for path in icd_files(machine)[:FILES_CAP])
    found = resolve(machine, process, LOADER)[0]
    yield OpenCl(
        loader=found,
        runtimes=runtimes,
        openvino=tuple(openvino_plug_ins(ctx, process)),
        unknown=unknown,
        evidence=(
            Evidence(kind=EvidenceKind.ELF, source=found or LOADER, text="found" if found else "not found"),
            *(
                Evidence(
                    kind=EvidenceKind.FILE, source=r.icd, text=f"{r.library}: {r.serves}{f' ({r.reason})' if r.reason else ''}"
                )
                for r in runtimes
            ),
        ),
    )  # fmt: skip


def process_of(ctx: ProbeContext) -> Loader | None:
    """A program as it would start here: the first target's Python, else a shell."""
    machine: Machine = ctx.machine
    for executable in (*(t.executable for t in ctx.targets), "/bin/sh"):
        if machine.is_file(executable):
            return Loader(machine, executable, ld_library_path=machine.environ.get("LD_LIBRARY_PATH"))
    return None


def icd_files(machine: Machine) -> tuple[str, ...]:
    """The files that the loader reads: those of the folder that a variable names, else the usual one."""
    named = machine.environ.get("OCL_ICD_VENDORS") or machine.environ.get("OPENCL_VENDOR_PATH") or ICD_FOLDER
    folder = named if named.startswith("/") else ICD_FOLDER
    if folder.endswith(".icd"):
        return (folder,) if machine.is_file(folder) else ()
    return tuple(posixpath.join(folder, n) for n in machine.names(folder) if n.endswith(".icd"))


def runtime(machine: Machine, process: Loader | None, icd: str) -> Runtime:
    """One file and what becomes of it."""
    text = machine.read_text(icd, max_bytes=4096) or ""
    library = (text.splitlines() or [""])[0].strip()[:300]
    name = posixpath.basename(library)
    serves, vendor = next(
        ((s, v) for start, s, v in RUNTIMES if name.startswith(start)), ("unknown devices", "unknown")
    )
    if "beignet" in library.lower():
        serves, vendor = "Intel GPU (Beignet)", "intel"
    path, reason = resolve(machine, process, library) if library else (None, "the file names no library")
    return Runtime(icd=icd, library=library, serves=serves, vendor=vendor, path=path, reason=reason)


def resolve(machine: Machine, process: Loader | None, library: str) -> tuple[str | None, str]:
    """(real path, why it cannot be loaded), as dlopen would have it in a fresh process."""
    if process is None or process.unknown:
        if library.startswith("/"):
            return (machine.realpath(library), "") if machine.is_file(library) else (None, "no such file")
        cached = next((e.path for e in machine.linker_cache(quiet=True) or () if e.soname == library), None)
        return (
            (machine.realpath(cached), "")
            if cached and machine.is_file(cached)
            else (None, "the loader does not find it")
        )
    answer = process.copy().load(library)
    if answer.object is not None:
        return answer.object.real_path, ""
    lacking = [name for name, _, _ in answer.missing if name != library]
    if lacking:
        return None, f"it needs {', '.join(dict.fromkeys(lacking))}, not found"
    broken = next((reason for _, _, reason in answer.broken), "")
    return None, broken or ("no such file" if library.startswith("/") else "the loader does not find it")


def openvino_plug_ins(ctx: ProbeContext, process: Loader | None) -> Iterator[tuple[str, str]]:
    """(wheel key, libraries that its GPU plug-in misses) for each target with OpenVINO."""
    for wheel in ctx.by_kind("wheel"):
        target = next((t for t in ctx.targets if t.key == wheel.target), None)
        if wheel.name != "openvino" or target is None or process is None or process.unknown:
            continue
        path = next((p for s in target.site_dirs if ctx.machine.is_file(p := f"{s}/{GPU_PLUG_IN}")), None)
        if path is not None:
            answer = process.copy().load(path)
            yield wheel.key, " ".join(dict.fromkeys(name for name, _, _ in answer.missing))
