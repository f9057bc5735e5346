"""The CUDA libraries of a deep-learning process: file names, kinds, and the CUDA major that a name tells.

Facts: file and soname lists of NVIDIA's wheels and toolkits (readelf of the CUDA 11, 12 and 13 wheels on PyPI)."""

import re

from infra_doctor.plugin import record

# File name stem -> component kind. A kind in "-sub" is a part that the main library loads.
KINDS = {
    "libcudart": "cudart", "libcublas": "cublas", "libcublasLt": "cublaslt", "libcudnn": "cudnn", "libnccl": "nccl",
    "libnvJitLink": "nvjitlink", "libcusparse": "cusparse", "libcusparseLt": "cusparselt", "libcufft": "cufft",
    "libcurand": "curand", "libcusolver": "cusolver", "libnvrtc": "nvrtc", "libcupti": "cupti",
    "libnvshmem_host": "nvshmem", "libnvinfer": "tensorrt", "libnvinfer_plugin": "tensorrt-sub",
    "libnvonnxparser": "tensorrt-sub",
}  # fmt: skip
# What the driver brings: absent on a machine without one, whatever is installed.
DRIVER_SONAMES = frozenset({"libcuda.so.1", "libnvidia-ml.so.1"})
_PREFIXES = ("libcu", "libnccl", "libnv")
# "libcudnn_cnn.so.9.14.0"; wheels of old carry copies under hashed names: "libcusparseLt-f80c68d1.so.0".
_FILE = re.compile(r"(lib[A-Za-z_]+?)(?:-[0-9a-f]{8})?\.so((?:\.\d+)*)")
_MAJOR_IS_CUDA = frozenset({"cudart", "cublas", "cublaslt", "nvrtc", "nvjitlink", "cupti"})
_CUFFT_TO_CUDA = {10: 11, 11: 12, 12: 13}


@record
class LibraryName:
    """A file name or soname taken apart: `suffix` is what follows ".so." ("9.14.0")."""

    stem: str
    kind: str
    suffix: str

    @property
    def major(self) -> int | None:
        """The first number of the suffix."""
        first = self.suffix.partition(".")[0]
        return int(first) if first and len(first) < 6 else None


def library_name(file: str) -> LibraryName | None:
    """None for what is none of these libraries (`libcufftw.so.12`, `libnvrtc-builtins.so.13.0`)."""
    if not file.startswith(_PREFIXES):
        return None
    match = _FILE.fullmatch(file)
    if match is None:
        return None
    stem = match.group(1)
    kind = KINDS.get(stem) or ("cudnn-sub" if stem.startswith("libcudnn_") and "static" not in stem else None)
    return LibraryName(stem=stem, kind=kind, suffix=match.group(2)[1:]) if kind else None


def cuda_major_of(name: LibraryName) -> int | None:
    """The CUDA major that the soname alone tells; None where several share it (libcudnn.so.9, libcusolver.so.11)."""
    if name.major is None:
        return None
    if name.kind in _MAJOR_IS_CUDA:
        return name.major if name.major < 100 else None
    if name.kind == "cufft":
        return _CUFFT_TO_CUDA.get(name.major)
    return None
