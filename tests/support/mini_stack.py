"""A working miniature of torch and onnxruntime in a folder: small libraries built by gcc under the real names, and Python
files that open them in the way, and under the names, that the real packages use. So that what is told from files can be
compared with what a real process maps."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from infra_doctor.model.component import Target
from tests.core.machine.libraries import OPENER, library

TORCH_SEARCH = "$ORIGIN/../../nvidia/cudnn/lib:$ORIGIN/../../nvidia/cu13/lib:$ORIGIN"

# How torch finds a wheel's library by itself, per generation of its start-up code.
_FIND_OLD = """
def _preload_cuda_deps(lib_folder, lib_name):
    for path in sys.path:
        found = glob.glob(os.path.join(path, 'nvidia', lib_folder, 'lib', lib_name))
        if found:
            return ctypes.CDLL(found[0])
    raise ValueError(lib_name)
"""
_LIST_OLD = """
        cuda_libs: dict = {
            'cublas': 'libcublas.so.*[0-9]',
            'cudnn': 'libcudnn.so.*[0-9]',
            'cuda_runtime': 'libcudart.so.*[0-9]',
        }
        if not [lib for lib in cuda_libs.values() if lib.split('.')[0] in err.args[0]]:
            raise err
        for lib_folder, lib_name in cuda_libs.items():
            _preload_cuda_deps(lib_folder, lib_name)
        ctypes.CDLL(global_deps, mode=ctypes.RTLD_GLOBAL)
"""
ON_ERROR = (
    _FIND_OLD
    + """
def _load_global_deps():
    global_deps = os.path.join(HERE, 'lib', 'libtorch_global_deps.so')
    try:
        ctypes.CDLL(global_deps, mode=ctypes.RTLD_GLOBAL)
    except OSError as err:
"""
    + _LIST_OLD
)
SOME_AFTERWARDS = (
    _FIND_OLD
    + """
def _load_global_deps():
    global_deps = os.path.join(HERE, 'lib', 'libtorch_global_deps.so')
    try:
        ctypes.CDLL(global_deps, mode=ctypes.RTLD_GLOBAL)
        try:
            with open("/proc/self/maps") as f:
                _maps = f.read()
            if "nvidia/cuda_runtime/lib/libcudart.so" not in _maps:
                return
            _preload_cuda_deps("cudnn", "libcudnn.so.*[0-9]")
        except Exception:
            pass
    except OSError as err:
"""
    + _LIST_OLD
)
ALL_AFTERWARDS = """
def _get_cuda_dep_paths(path, lib_folder, lib_name):
    from torch.version import cuda as cuda_version
    found = glob.glob(os.path.join(path, "nvidia", lib_folder, "lib", lib_name))
    if cuda_version is not None:
        maj_cuda_version = cuda_version.split(".")[0]
        found += glob.glob(os.path.join(path, "nvidia", f"cu{maj_cuda_version}", "lib", lib_name))
    return found + glob.glob(os.path.join(path, lib_folder, "lib", lib_name))

def _preload_cuda_lib(lib_folder, lib_name, required=True):
    for path in sys.path:
        found = _get_cuda_dep_paths(path, lib_folder, lib_name)
        if found:
            return ctypes.CDLL(found[0])
    if required:
        raise ValueError(lib_name)

def _preload_cuda_deps(err=None):
    cuda_libs: list = [
        ("cublas", "libcublasLt.so.*[0-9]"),
        ("cublas", "libcublas.so.*[0-9]"),
        ("cudnn", "libcudnn.so.*[0-9]"),
        ("cuda_runtime", "libcudart.so.*[0-9]"),
    ]
    if err is not None and not [lib for _, lib in cuda_libs if lib.split(".", 1)[0] in err.args[0]]:
        raise err
    for lib_folder, lib_name in cuda_libs:
        _preload_cuda_lib(lib_folder, lib_name)
    _preload_cuda_lib("nvtx", "libnvToolsExt.so.*[0-9]", required=False)

def _load_global_deps():
    global_deps = os.path.join(HERE, 'lib', 'libtorch_global_deps.so')
    try:
        ctypes.CDLL(global_deps, mode=ctypes.RTLD_GLOBAL)
        try:
            with open("/proc/self/maps") as f:
                _maps = f.read()
            if "libcudart.so" not in _maps:
                return
            _preload_cuda_deps()
        except Exception:
            pass
    except OSError as err:
        _preload_cuda_deps(err)
        ctypes.CDLL(global_deps, mode=ctypes.RTLD_GLOBAL)
"""
_TORCH_HEAD = "import ctypes, glob, os, sys\nHERE = os.path.dirname(__file__)\nUSE_RTLD_GLOBAL_WITH_LIBTORCH = False\n"
_TORCH_TAIL = "\nif (USE_RTLD_GLOBAL_WITH_LIBTORCH):\n    pass\n_load_global_deps()\nctypes.CDLL(os.path.join(HERE, '_C.abi3.so'))\n"
ORT = """
import ctypes, os
HERE = os.path.dirname(__file__)
cuda_version = CUDA_VERSION

def _get_nvidia_dll_paths(is_windows, cuda=True, cudnn=True):
    cuda_major_version = cuda_version.split(".")[0]
    cufft_version = "12" if int(cuda_major_version) >= 13 else "11"
    use_consolidated_layout = int(cuda_major_version) >= 13
    if use_consolidated_layout:
        cuda_dir = f"cu{cuda_major_version}"
        paths = [
            ("nvidia", cuda_dir, "lib", f"libcublasLt.so.{cuda_major_version}"),
            ("nvidia", cuda_dir, "lib", f"libcublas.so.{cuda_major_version}"),
            ("nvidia", cuda_dir, "lib", f"libcufft.so.{cufft_version}"),
            ("nvidia", cuda_dir, "lib", f"libcudart.so.{cuda_major_version}"),
        ]
    else:
        paths = [
            ("nvidia", "cublas", "lib", f"libcublasLt.so.{cuda_major_version}"),
            ("nvidia", "cublas", "lib", f"libcublas.so.{cuda_major_version}"),
            ("nvidia", "cufft", "lib", f"libcufft.so.{cufft_version}"),
            ("nvidia", "cuda_runtime", "lib", f"libcudart.so.{cuda_major_version}"),
        ]
    return paths + [("nvidia", "cudnn", "lib", "libcudnn.so.9")]

def attempt(name):
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None

def preload_dlls(cuda=True, cudnn=True):
    done = []
    paths = _get_nvidia_dll_paths(False)
    for parts in paths:
        path = os.path.join(os.path.dirname(HERE), *parts)
        if os.path.isfile(path) and attempt(path) is not None:
            done.append(parts[-1])
    for parts in paths:
        if parts[-1] not in done:
            attempt(parts[-1])

def session():
    capi = os.path.join(HERE, "capi")
    attempt(os.path.join(capi, "libonnxruntime_providers_shared.so"))
    return attempt(os.path.join(capi, "libonnxruntime_providers_cuda.so")) is not None

attempt(os.path.join(HERE, "capi", "onnxruntime_pybind11_state.abi3.so"))
"""
# What the process does for each import order; it prints what opened, then what is mapped.
_SCRIPT = """
import ctypes, json, re, sys
result = {"torch": None, "cuda": None}
def torch():
    try:
        import torch
        result["torch"] = True
    except (OSError, ValueError):
        result["torch"] = False
def session(preload=False):
    import onnxruntime
    if preload:
        onnxruntime.preload_dlls()
    result["cuda"] = onnxruntime.session()
steps = {
    "torch": [torch], "onnxruntime": [session], "torch, onnxruntime": [torch, session],
    "onnxruntime, torch": [session, torch], "onnxruntime.preload_dlls()": [lambda: session(True)],
}
for step in steps[sys.argv[1]]:
    step()
mapped = sorted({line.split(None, 5)[5].strip() for line in open("/proc/self/maps") if line.count("/") and ".so" in line})
for path in mapped:
    if re.search(r"/libcudnn\\.so\\.9$", path):
        cudnn = ctypes.CDLL(path)
        cudnn.load.restype = ctypes.c_void_p
        for names in json.loads(sys.argv[2]):
            any(cudnn.load(n.encode()) for n in names)
mapped = sorted({line.split(None, 5)[5].strip() for line in open("/proc/self/maps") if line.count("/") and ".so" in line})
print(json.dumps([result, mapped]))
"""


@dataclass
class MiniStack:
    """A site directory that is filled step by step."""

    root: Path
    wheels: dict[str, list[Path]] = field(default_factory=dict)

    @property
    def site(self) -> Path:
        return self.root / "site"

    @property
    def target(self) -> Target:
        site = str(self.site)
        return Target(
            key=f"target:{self.root}", prefix=str(self.root), executable=sys.executable, kind="venv",
            python_version=".".join(map(str, sys.version_info[:3])), sys_path=(site,), site_dirs=(site,),
        )  # fmt: skip

    def wheel(self, name: str, version: str, *files: Path, requires: tuple[str, ...] = ()) -> None:
        """Metadata of an installed distribution that lists these files."""
        info = self.site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        head = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {r}" for r in requires)]
        (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *head, ""]))
        (info / "INSTALLER").write_text("pip\n")
        rows = [f"{os.path.relpath(f, self.site)},sha256={index},1" for index, f in enumerate(files)]
        (info / "RECORD").write_text("\n".join([*rows, f"{info.name}/RECORD,,", ""]))

    def cuda13(self) -> dict[str, Path]:
        """The CUDA 13 wheels' libraries, as they are laid out since CUDA 13."""
        lib = self.site / "nvidia" / "cu13" / "lib"
        cudart = library(lib / "libcudart.so.13")
        lt = library(lib / "libcublasLt.so.13", rpath="$ORIGIN")
        cublas = library(lib / "libcublas.so.13", lt, rpath="$ORIGIN")
        self.wheel("nvidia-cuda-runtime", "13.0.96", cudart)
        self.wheel("nvidia-cublas", "13.1.0.3", lt, cublas)
        return {"cudart": cudart, "cublaslt": lt, "cublas": cublas}

    def cudnn(self, folder: Path | None = None, *, version: str = "9.19.0.56", **tags: str) -> Path:
        """A cuDNN 9 that can open its parts; owned by nvidia-cudnn-cu13 where it lies in the site directory."""
        lib = folder or self.site / "nvidia" / "cudnn" / "lib"
        graph = library(lib / "libcudnn_graph.so.9", runpath="$ORIGIN")
        parts = [graph, library(lib / "libcudnn_ops.so.9", graph, runpath="$ORIGIN")]
        parts.append(library(lib / "libcudnn_cnn.so.9", graph, parts[1], runpath="$ORIGIN"))
        main = library(lib / "libcudnn.so.9", source=OPENER, **(tags or {"runpath": "$ORIGIN"}))  # type: ignore[arg-type]
        if folder is None:
            self.wheel("nvidia-cudnn-cu13", version, main, *parts)
        else:
            numbers = version.split(".")
            names = zip(("MAJOR", "MINOR", "PATCHLEVEL"), numbers, strict=False)
            (lib.parent / "include").mkdir(exist_ok=True)
            text = "".join(f"#define CUDNN_{n} {v}\n" for n, v in names)
            (lib.parent / "include" / "cudnn_version.h").write_text(text)
        return main

    def torch(self, start_up: str, *needed: Path, global_deps: tuple[Path, ...] = (), **tags: str) -> None:
        """torch 2.11.0+cu130 whose libtorch_cuda needs these libraries."""
        package = self.site / "torch"
        deps = library(package / "lib" / "libtorch_global_deps.so", *global_deps, **tags)  # type: ignore[arg-type]
        cuda = library(package / "lib" / "libtorch_cuda.so", *needed, **tags)  # type: ignore[arg-type]
        extension = library(package / "_C.abi3.so", cuda, runpath="$ORIGIN/lib")
        (package / "__init__.py").write_text(_TORCH_HEAD + start_up + _TORCH_TAIL)
        (package / "version.py").write_text("__version__ = '2.11.0+cu130'\ncuda: str = '13.0'\nhip: str = None\n")
        self.wheel("torch", "2.11.0", deps, cuda, extension)

    def onnxruntime(self, *needed: Path, version: str = "1.30.0", cuda: str = "13.0") -> None:
        """onnxruntime-gpu whose CUDA provider needs these libraries."""
        package = self.site / "onnxruntime"
        capi = package / "capi"
        files = [
            library(capi / "onnxruntime_pybind11_state.abi3.so", runpath="$ORIGIN"),
            library(capi / "libonnxruntime_providers_shared.so"),
            library(capi / "libonnxruntime_providers_cuda.so", *needed),
        ]
        (package / "__init__.py").write_text(ORT.replace("CUDA_VERSION", repr(cuda)))
        info = f"package_name = 'onnxruntime-gpu'\n__version__ = '{version}'\ncuda_version = '{cuda}'\n"
        (capi / "build_and_package_info.py").write_text(info)
        self.wheel("onnxruntime-gpu", version, *files)

    def real(self, order: str, cudnn_version: str, **environment: str) -> tuple[dict[str, bool | None], set[str]]:
        """What a real process opens and maps in this order, with cuDNN's parts opened as it does it."""
        numbers = cudnn_version.split(".")
        suffixes = [".".join(numbers[:3]), ".".join(numbers[:2]), numbers[0]]
        names = [[f"libcudnn_{part}.so.{s}" for s in suffixes] for part in ("graph", "ops", "cnn")]
        done = subprocess.run(
            [sys.executable, "-S", "-c", _SCRIPT, order, json.dumps(names)],
            capture_output=True, text=True, cwd="/", check=True,
            env={"PATH": os.defpath, "PYTHONPATH": str(self.site), "PYTHONDONTWRITEBYTECODE": "1", **environment},
        )  # fmt: skip
        result, mapped = json.loads(done.stdout)
        return result, set(mapped)
