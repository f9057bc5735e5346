"""Described machines with a Python environment of CUDA frameworks, for the probes and checks of libraries."""

from typing import Any

from infra_doctor.machine.machine import Machine
from infra_doctor.model.component import Target
from infra_doctor_probes.detect import libraries, onnxruntime, wheels
from tests.support.gather import Gathered, gather
from tests.support.mini_stack import ALL_AFTERWARDS, ORT
from tests.support.recipe import recipe_machine

PREFIX = "/opt/venv"
SITE = PREFIX + "/lib/python3.12/site-packages"
PYTHON = PREFIX + "/bin/python3.12"
INTERP = "/lib64/ld-linux-x86-64.so.2"
LIB = "/usr/lib/x86_64-linux-gnu"
TARGET = Target(
    key="target:" + PREFIX, prefix=PREFIX, executable=PYTHON, kind="venv", python_version="3.12.3",
    sys_path=("/usr/lib/python3.12", SITE), site_dirs=(SITE,),
)  # fmt: skip
PROBES = (wheels.PROBES, libraries.PROBES, onnxruntime.PROBES)
TORCH_SEARCH = "$ORIGIN/../../nvidia/cudnn/lib:$ORIGIN/../../nvidia/cu13/lib:$ORIGIN"


def merged(*parts: dict[str, Any]) -> dict[str, Any]:
    """One recipe out of several: tables are joined, lists appended."""
    out: dict[str, Any] = {"ldcache": {}}
    for part in (BASE, *parts):
        for name, value in part.items():
            if isinstance(value, dict):
                out[name] = {**out.get(name, {}), **value}
            elif isinstance(value, list):
                out[name] = [*out.get(name, []), *value]
            else:
                out[name] = value
    return out


def dist(name: str, version: str, files: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """An installed distribution."""
    return {"site": SITE, "name": name, "version": version, "installer": "pip", "files": files or {}, **more}


def wheel(name: str, version: str, *libraries: str, **elf: Any) -> dict[str, Any]:
    """A wheel with these libraries (paths below site-packages), each with its file name as soname."""
    found = {f"{SITE}/{path}": {"soname": path.rpartition("/")[2], **elf} for path in libraries}
    files = {path: f"sha256={name}-{path}" for path in libraries}
    return {"elf": found, "distributions": [dist(name, version, files)]}


BASE: dict[str, Any] = {
    "elf": {
        PYTHON: {"interp": INTERP, "needed": ["libc.so.6"], "type": 3},
        INTERP: {"soname": "ld-linux-x86-64.so.2"},
        f"{LIB}/libc.so.6": {"soname": "libc.so.6"},
    },
    "links": {"/lib/x86_64-linux-gnu": "/usr/lib/x86_64-linux-gnu"},
    "ldcache": {"libc.so.6": f"{LIB}/libc.so.6"},
}
DRIVER: dict[str, Any] = {
    "elf": {f"{LIB}/libcuda.so.580.95.05": {"soname": "libcuda.so.1"}},
    "links": {f"{LIB}/libcuda.so.1": "libcuda.so.580.95.05"},
    "ldcache": {"libcuda.so.1": f"{LIB}/libcuda.so.1"},
}
CUDA13 = merged(
    wheel("nvidia-cuda-runtime", "13.0.96", "nvidia/cu13/lib/libcudart.so.13"),
    wheel(
        "nvidia-cublas",
        "13.1.0.3",
        "nvidia/cu13/lib/libcublasLt.so.13",
        "nvidia/cu13/lib/libcublas.so.13",
        rpath="$ORIGIN",
    ),
)
_PARTS = ("graph", "ops", "cnn", "adv", "engines_precompiled", "engines_runtime_compiled", "heuristic")
CUDNN_FILES = ("nvidia/cudnn/lib/libcudnn.so.9", *(f"nvidia/cudnn/lib/libcudnn_{p}.so.9" for p in _PARTS))


def cudnn(name: str = "nvidia-cudnn-cu13", version: str = "9.19.0.56") -> dict[str, Any]:
    """A cuDNN 9 wheel, with the search list that it has up to 9.19."""
    return wheel(name, version, *CUDNN_FILES, runpath="$ORIGIN")


def torch(
    cuda: str = "13.0", *, search: dict[str, str] | None = None, requires: tuple[str, ...] = ()
) -> dict[str, Any]:
    """torch 2.11 for this CUDA; `search` is the RPATH or RUNPATH of its libraries."""
    major = cuda.partition(".")[0]
    tags = {"rpath": TORCH_SEARCH} if search is None else search
    needed = [f"libcublas.so.{major}", f"libcudart.so.{major}", "libcudnn.so.9"]
    label = f"2.11.0+cu{cuda.replace('.', '')}"
    files = (
        "torch/lib/libtorch_global_deps.so",
        "torch/lib/libtorch_cuda.so",
        "torch/_C.cpython-312-x86_64-linux-gnu.so",
    )
    return {
        "files": {
            f"{SITE}/torch/__init__.py": f"{ALL_AFTERWARDS}\nif (USE_RTLD_GLOBAL_WITH_LIBTORCH):\n",
            f"{SITE}/torch/version.py": f"__version__ = '{label}'\ncuda: Optional[str] = '{cuda}'\nhip: Optional[str] = None\n",
        },
        "elf": {
            f"{SITE}/{files[0]}": {"needed": [f"libcudart.so.{major}", "libc.so.6"], **tags},
            f"{SITE}/{files[1]}": {"soname": "libtorch_cuda.so", "needed": needed, **tags},
            f"{SITE}/{files[2]}": {"needed": ["libtorch_cuda.so"], "runpath": "$ORIGIN/lib"},
        },
        "distributions": [dist("torch", "2.11.0", {f: f"sha256={f}" for f in files}, requires=list(requires))],
    }


def ort(
    version: str = "1.30.0",
    cuda: str | None = "13.0",
    *,
    needed: tuple[str, ...] = (),
    name: str = "onnxruntime-gpu",
    **more: Any,
) -> dict[str, Any]:
    """An ONNX Runtime; with `cuda`, a CUDA provider that needs cuBLAS of that major and `needed`."""
    capi = "onnxruntime/capi"
    extension = f"{capi}/onnxruntime_pybind11_state.cpython-312-x86_64-linux-gnu.so"
    info = f"package_name = '{name}'\n__version__ = '{version}'\n" + (f"cuda_version = '{cuda}'\n" if cuda else "")
    elf: dict[str, Any] = {f"{SITE}/{extension}": {"needed": ["libc.so.6"], "runpath": "$ORIGIN"}}
    files = {extension: f"sha256={name}", f"{capi}/build_and_package_info.py": f"sha256={name}-info"}
    if cuda:
        major = cuda.partition(".")[0]
        libraries = {
            f"{capi}/libonnxruntime_providers_shared.so": {"needed": ["libc.so.6"]},
            f"{capi}/libonnxruntime_providers_cuda.so": {
                "needed": [f"libcublasLt.so.{major}", f"libcublas.so.{major}", f"libcudart.so.{major}", *needed]
            },
        }
        elf |= {f"{SITE}/{path}": facts for path, facts in libraries.items()}
        files |= dict.fromkeys(libraries, f"sha256={name}")
    return {
        "files": {
            f"{SITE}/onnxruntime/__init__.py": ORT.replace("CUDA_VERSION", repr(cuda or "")),
            f"{SITE}/{capi}/build_and_package_info.py": info,
        },
        "elf": elf,
        "distributions": [dist(name, version, files, **more)],
    }


def described(*parts: dict[str, Any]) -> tuple[Machine, Gathered]:
    """The machine of these parts, and what the probes say of it."""
    recipe = merged(*parts)
    machine = recipe_machine(recipe, ("LD_LIBRARY_PATH", "LD_PRELOAD"))
    return machine, gather(machine, *PROBES, targets=(TARGET,))
