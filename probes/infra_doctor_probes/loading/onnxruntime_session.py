"""What `import onnxruntime`, `preload_dlls()` and a session load, told from the installed files.

A session opens libonnxruntime_providers_shared.so and the provider's library by path, from the folder of the extension
module (onnxruntime/core/session/provider_bridge_ort.cc). `preload_dlls()` (from 1.21) opens libraries of the nvidia-*
wheels by path, then by name those that it did not find; its list is read from the installed onnxruntime/__init__.py (read:
1.22, 1.26 to 1.31.1). CUDA providers up to 1.27 need cuDNN, cuFFT and NVRTC to load; from 1.28 on they open them at the
first operation that needs them (core/providers/cuda/cudnn_loader.cc; readelf of the wheels 1.18.1 to 1.31.1)."""

import re

from infra_doctor.plugin import Elf, Machine, numbers, record
from infra_doctor_probes.loading.process import Process

_TEXT_CAP_BYTES = 1 << 20
PROVIDERS = {
    "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider", "cann": "CANNExecutionProvider",
    "rocm": "ROCMExecutionProvider", "migraphx": "MIGraphXExecutionProvider", "openvino": "OpenVINOExecutionProvider",
    "dnnl": "DnnlExecutionProvider", "vitisai": "VitisAIExecutionProvider", "qnn": "QNNExecutionProvider",
    "nv_tensorrt_rtx": "NvTensorRTRTXExecutionProvider",
}  # fmt: skip
CPU_PROVIDER = "CPUExecutionProvider"
_LAZY_SINCE = (1, 28)


@record
class PreloadPlan:
    """What preload_dlls() opens, in order: paths below site-packages. `cuda_majors` are those that it accepts."""

    paths: tuple[tuple[str, ...], ...]
    cuda_majors: range


@record
class OrtFiles:
    """An installed ONNX Runtime, by the bytes on disk. `cuda` and `cudnn` are what its CUDA provider was built for."""

    package: str
    extension: str
    version: str | None
    package_name: str | None
    cuda: str | None
    cudnn: str | None
    providers: tuple[tuple[str, str], ...]  # (execution provider, library path)
    preload: PreloadPlan | None
    info_path: str | None

    @property
    def lazy(self) -> bool:
        """Whether the CUDA provider opens cuDNN, cuFFT and NVRTC by itself, when they are first needed."""
        return self.cuda is not None and self.cudnn is None and numbers(self.version or "0") >= _LAZY_SINCE


def read_onnxruntime(
    machine: Machine, package: str, python_version: str | None, version: str | None
) -> OrtFiles | None:
    """The ONNX Runtime in this folder; None where it has no extension module. `version` is that of the metadata."""
    capi = package + "/capi"
    names = machine.names(capi)
    extensions = [n for n in names if n.startswith("onnxruntime_pybind11_state") and n.endswith(".so")]
    if not extensions:
        return None
    tag = "cpython-" + "".join((python_version or "").split(".")[:2])
    extension = next((n for n in extensions if tag in n), extensions[0])
    info = _build_info(machine, capi)
    providers = []
    for name in names:
        match = re.fullmatch(r"libonnxruntime_providers_(\w+)\.so", name)
        if match and match.group(1) != "shared":
            suffix = match.group(1)
            providers.append((PROVIDERS.get(suffix, suffix + "ExecutionProvider"), f"{capi}/{name}"))
    cuda_library = dict(providers).get("CUDAExecutionProvider")
    elf = machine.elf(cuda_library) if cuda_library else None
    cuda = info.get("cuda_version") or (_needed_major(elf, "libcudart.so.") if cuda_library else None)
    text = machine.read_text(package + "/__init__.py", max_bytes=_TEXT_CAP_BYTES, quiet=True) or ""
    return OrtFiles(
        package=package,
        extension=f"{capi}/{extension}",
        version=info.get("__version__") or version,
        package_name=info.get("package_name"),
        cuda=cuda,
        cudnn=_needed_major(elf, "libcudnn.so."),
        providers=tuple(providers),
        preload=parse_preload(text, info.get("cuda_version")),
        info_path=f"{capi}/{info['file']}" if info else None,
    )


def _build_info(machine: Machine, capi: str) -> dict[str, str]:
    """The assignments of build_and_package_info.py (version_info.py before 1.8), as text."""
    for file in ("build_and_package_info.py", "version_info.py"):
        text = machine.read_text(f"{capi}/{file}", max_bytes=65536)
        if text is not None:
            found = dict(re.findall(r"^(\w{1,40})\s*=\s*[\"']([^\"'\n]{0,80})[\"']", text, re.MULTILINE))
            if text and not found:
                machine.note_problem(f"{capi}/{file}", "no build in it that could be understood")
            return {**found, "file": file}
    return {}


def _needed_major(elf: Elf | None, prefix: str) -> str | None:
    for name in elf.needed if elf is not None else ():
        if name.startswith(prefix):
            return name.removeprefix(prefix).partition(".")[0]
    return None


def parse_preload(text: str, cuda_version: str | None) -> PreloadPlan | None:
    """The list of `_get_nvidia_dll_paths` for Linux and this CUDA build; None where there is no preload_dlls()."""
    start = text.find("def preload_dlls(")
    listing = text.find("def _get_nvidia_dll_paths(")
    if start < 0 or listing < 0:
        return None
    major = (cuda_version or "12").partition(".")[0]
    if not major.isdecimal() or len(major) > 3:
        return PreloadPlan(paths=(), cuda_majors=range(0))
    values = {
        "cuda_major_version": major,
        "cufft_version": "12" if int(major) >= 13 else "11",
    }
    consolidated = "use_consolidated_layout" in text and int(major) >= 13
    paths = []
    body = text[listing : text.find("\ndef ", listing + 10)]
    for folder, file in re.findall(r"\(\s*\"nvidia\",\s*(\w+|\"\w+\"),\s*\"lib\",\s*f?\"(lib[^\"]+)\"\s*,?\s*\)", body):
        quoted = folder.startswith('"')
        if folder != '"cudnn"' and "use_consolidated_layout" in text and quoted == consolidated:
            continue
        name = re.sub(r"\{(\w+)\}", lambda m: values.get(m[1], ""), file)
        paths.append(("nvidia", folder.strip('"') if quoted else f"cu{major}", "lib", name))
    only_12 = 'cuda_version.startswith("12.")' in text[start:]
    return PreloadPlan(paths=tuple(paths), cuda_majors=range(12, 13) if only_12 else range(12, 1000))


def import_onnxruntime(process: Process, consumer: str, ort: OrtFiles) -> bool | None:
    """Simulate `import onnxruntime`; None where it cannot be told."""
    opened = process.dlopen(consumer, "import onnxruntime", ort.extension)
    return None if opened.unknown else opened.object is not None


def preload_dlls(process: Process, consumer: str, ort: OrtFiles) -> None:
    """Simulate `onnxruntime.preload_dlls()`."""
    major = (ort.cuda or "").partition(".")[0]
    if ort.preload is None or not major.isdecimal() or int(major) not in ort.preload.cuda_majors:
        return
    site = ort.package.rpartition("/")[0]
    done = set()
    for parts in ort.preload.paths:
        path = "/".join((site, *parts))
        if process.machine.is_file(path):
            opened = process.dlopen(consumer, "onnxruntime.preload_dlls()", path, optional=True)
            if opened.object is not None:
                done.add(parts[-1])
    for parts in ort.preload.paths:
        if parts[-1] not in done:
            process.dlopen(consumer, "onnxruntime.preload_dlls()", parts[-1], optional=True)


def open_provider(process: Process, consumer: str, ort: OrtFiles, library: str) -> bool | None:
    """Simulate what a session does for one provider; None where it cannot be told."""
    shared = ort.extension.rpartition("/")[0] + "/libonnxruntime_providers_shared.so"
    for path in (shared, library):
        opened = process.dlopen(consumer, "session", path, by=ort.extension)
        if opened.unknown:
            return None
        if opened.object is None:
            return False
    if ort.lazy and library.endswith("_cuda.so"):
        _open_cudnn(process, consumer, library)
    return True


def _open_cudnn(process: Process, consumer: str, library: str) -> None:
    """At the first convolution, pooling, recurrent layer …"""
    if process.dlopen(consumer, "first use", "libcudnn.so.9", by=library, optional=True, late=True).object is None:
        # The provider then tries the name without a version; only a development package has it.
        again = process.dlopen(consumer, "first use", "libcudnn.so", by=library, optional=True, late=True)
        if again.object is None:
            process.dlopen(consumer, "first use", "libcudnn.so.9", by=library, late=True)


def open_rarely_used(process: Process, consumer: str, ort: OrtFiles) -> None:
    """cuFFT and NVRTC, which few operations need: a program's other imports come before those."""
    library = dict(ort.providers).get("CUDAExecutionProvider", "")
    if not ort.lazy or process.loader.find(library) is None:
        return
    major = (ort.cuda or "13").partition(".")[0]
    cufft = "libcufft.so.12" if major.isdecimal() and int(major) >= 13 else "libcufft.so.11"
    process.dlopen(consumer, "first use", cufft, by=library, optional=True, late=True)
    for name in ("libnvrtc.so", f"libnvrtc.so.{major}"):
        if process.dlopen(consumer, "first use", name, by=library, optional=True, late=True).object is not None:
            break
