"""The version, owner and CUDA major of one copy of a library, each with where it was read.

In this order: the wheel that owns the file, the numbers at the end of its real name, a header beside it, the toolkit's
version.json, conda's package record. Nothing is guessed: a copy that says nothing has no version."""

import json
import posixpath
import re

from infra_doctor.plugin import Capability, Evidence, EvidenceKind, Machine, PythonEnvironment, Target, record
from infra_doctor_probes.loading.names import LibraryName, cuda_major_of, library_name

# Wheels whose version is that of the library in them.
_LIBRARY_WHEELS = ("nvidia-", "tensorrt-libs", "tensorrt-cu")
_CUDNN_HEADER = ("cudnn_version.h", "CUDNN_MAJOR", "CUDNN_MINOR", "CUDNN_PATCHLEVEL")
_HEADERS = {
    "cudnn": _CUDNN_HEADER,
    "cudnn-sub": _CUDNN_HEADER,
    "nccl": ("nccl.h", "NCCL_MAJOR", "NCCL_MINOR", "NCCL_PATCH"),
    "tensorrt": ("NvInferVersion.h", "NV_TENSORRT_MAJOR", "NV_TENSORRT_MINOR", "NV_TENSORRT_PATCH"),
}
# Kind -> entry of a toolkit's version.json, names of conda packages.
_TOOLKIT_ENTRIES = {
    "cudart": "cuda_cudart", "cublas": "libcublas", "cublaslt": "libcublas", "cufft": "libcufft", "curand": "libcurand",
    "cusolver": "libcusolver", "cusparse": "libcusparse", "nvrtc": "cuda_nvrtc", "nvjitlink": "libnvjitlink",
    "cupti": "cuda_cupti",
}  # fmt: skip
_CONDA_NAMES = {
    "cudart": "cuda-cudart", "cublas": "libcublas", "cublaslt": "libcublas", "cufft": "libcufft", "curand": "libcurand",
    "cusolver": "libcusolver", "cusparse": "libcusparse", "nvrtc": "cuda-nvrtc", "nvjitlink": "libnvjitlink",
    "cupti": "cuda-cupti", "cudnn": "libcudnn cudnn", "cudnn-sub": "libcudnn cudnn", "nccl": "nccl",
    "tensorrt": "tensorrt libnvinfer", "cusparselt": "cusparselt",
}  # fmt: skip
_CONDA_RECORD = re.compile(r"(.+)-(\d[^-]*)-[^-]+\.json")
_CUDA_FOLDER = re.compile(r"/cuda-(\d{1,2})(?:\.\d+)?/|/nvidia/cu(\d{1,2})/")
_WHEEL_SUFFIX = re.compile(r"-cu(\d{2})$")


@record
class Identity:
    """What is known of one copy."""

    version: str | None
    origin: str
    cuda_major: int | None
    evidence: tuple[Evidence, ...]
    target: str | None = None


def identify(machine: Machine, path: str, environments: tuple[PythonEnvironment, ...]) -> Identity:
    """The identity of the copy at this path, once per machine."""
    return machine.memo(("library identity", path), lambda: _identify(machine, path, environments))  # type: ignore[no-any-return]


def _identify(machine: Machine, path: str, environments: tuple[PythonEnvironment, ...]) -> Identity:
    real = machine.realpath(path)
    name = library_name(posixpath.basename(real)) or library_name(posixpath.basename(path))
    origin, version, target, evidence = _owner(machine, path, real, name, environments)
    if version is None and name is not None:
        version, more = _version_by_files(machine, real, name, origin)
        evidence += more
    return Identity(
        version=version, origin=origin, cuda_major=_cuda_major(machine, real, name, origin), evidence=tuple(evidence),
        target=target.key if target else None,
    )  # fmt: skip


def _owner(
    machine: Machine, path: str, real: str, name: LibraryName | None, environments: tuple[PythonEnvironment, ...]
) -> tuple[str, str | None, Target | None, list[Evidence]]:
    """(origin, version, target, evidence)."""
    version: str | None
    for environment in environments:
        owner = environment.owner_of(path) or environment.owner_of(real)
        if owner is not None:
            says = f"{owner.normalized} {owner.version}"
            seen = Evidence(kind=EvidenceKind.METADATA, source=owner.path + "/RECORD", text=f"{says} owns {path}")
            counts = owner.normalized.startswith(_LIBRARY_WHEELS) and "triton" not in owner.normalized
            return f"wheel {says}", owner.version if counts else None, environment.target, [seen]
    for environment in environments:
        target = environment.target
        if any(path.startswith(site + "/") for site in target.site_dirs):
            return "unowned", None, target, []
        prefix = target.prefix
        if real.startswith(prefix + "/") and machine.is_dir(prefix + "/conda-meta"):
            package, version, evidence = _conda_package(machine, prefix, name)
            return f"conda {package}".strip(), version, target, evidence
    match = re.match(r"(.*/cuda[^/]*)/(?:targets/[^/]+/lib|lib64|lib|extras/CUPTI/lib64)/", real)
    if match:
        return f"toolkit {match.group(1)}", None, None, []
    if real.startswith(("/usr/lib", "/lib")):
        return "system", None, None, []
    return "unowned", None, None, []


def _conda_package(machine: Machine, prefix: str, name: LibraryName | None) -> tuple[str, str | None, list[Evidence]]:
    wanted = _CONDA_NAMES.get(name.kind, "").split() if name else []
    for installed in machine.names(prefix + "/conda-meta"):
        match = _CONDA_RECORD.fullmatch(installed)
        if match and match.group(1) in wanted:
            source = f"{prefix}/conda-meta/{installed}"
            return match.group(1), match.group(2), [Evidence(kind=EvidenceKind.METADATA, source=source)]
    return "", None, []


def _version_by_files(machine: Machine, real: str, name: LibraryName, origin: str) -> tuple[str | None, list[Evidence]]:
    own = library_name(posixpath.basename(real))
    if own is not None and own.suffix.count(".") >= 2:
        return own.suffix, [Evidence(kind=EvidenceKind.FILE, source=real, text="numbers of the file name")]
    header = _HEADERS.get(name.kind)
    folder = posixpath.dirname(real)
    if header is not None:
        for include in (posixpath.normpath(folder + "/../include"), folder.replace("/lib/", "/include/", 1)):
            path = f"{include}/{header[0]}"
            text = machine.read_text(path, max_bytes=65536, quiet=True) or ""
            parts = [re.search(rf"^\s*#\s*define\s+{m}\s+(\d{{1,6}})\b", text, re.MULTILINE) for m in header[1:]]
            if all(parts):
                version = ".".join(p.group(1) for p in parts if p)
                return version, [Evidence(kind=EvidenceKind.FILE, source=path, text=f"{header[1]} … {version}")]
    entry = _TOOLKIT_ENTRIES.get(name.kind)
    if origin.startswith("toolkit ") and entry:
        path = origin.removeprefix("toolkit ") + "/version.json"
        said = _toolkit_version(machine.read_text(path, max_bytes=1 << 20, quiet=True) or "", entry)
        if said is not None:
            return said, [Evidence(kind=EvidenceKind.FILE, source=path, text=f"{entry} {said}")]
    return None, []


def _toolkit_version(text: str, entry: str) -> str | None:
    try:
        version = json.loads(text)[entry]["version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return version if isinstance(version, str) and re.fullmatch(r"[0-9.]{1,30}", version) else None


def _cuda_major(machine: Machine, real: str, name: LibraryName | None, origin: str) -> int | None:
    """By the soname, the wheel's name, the folder, what it needs, or the Debian package; None where nothing tells."""
    if name is None:
        return None
    elf = machine.elf(real, quiet=True)
    told = cuda_major_of(library_name(elf.soname or "") or name if elf is not None else name)
    if told is not None:
        return told
    suffix = _WHEEL_SUFFIX.search(origin.split(" ")[1]) if origin.startswith("wheel ") else None
    if suffix:
        return int(suffix.group(1))
    folder = _CUDA_FOLDER.search(real)
    if folder:
        return int(folder.group(1) or folder.group(2))
    for needed in elf.needed if elf is not None else ():
        other = library_name(needed)
        major = cuda_major_of(other) if other is not None else None
        if major is not None:
            return major
    if origin == "system" and name.kind in {"cudnn", "cudnn-sub"} and name.major is not None:
        for major in (11, 12, 13, 14):
            package = f"libcudnn{name.major}-cuda-{major}"
            if machine.exists(f"/var/lib/dpkg/info/{package}.list"):
                return major
        return _cudnn_package(machine, f"libcudnn{name.major}")
    return None


def _cudnn_package(machine: Machine, package: str) -> int | None:
    """cuDNN 8 has one package name for all CUDA versions, and says its own in the version: 8.8.0.121-1+cuda12.0."""
    if Capability.COMMANDS not in machine.capabilities or not machine.exists(f"/var/lib/dpkg/info/{package}.list"):
        return None
    said = re.search(r"\+cuda(\d{2})", machine.run("dpkg-query", "-W", "-f=${Version}", package).stdout)
    return int(said.group(1)) if said else None
