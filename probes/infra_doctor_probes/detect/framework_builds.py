"""What frameworks other than PyTorch and ONNX Runtime were built for: CUDA of which version, another device, the CPU alone.

Told from the text that builds leave in the packages (TensorFlow's python/platform/build_info.py, Paddle's
version/__init__.py), from the libraries that lie in them, and from the wheel's own version label. Nothing is imported."""

import re
from collections.abc import Callable, Iterator

from infra_doctor.plugin import (
    Distribution,
    Evidence,
    EvidenceKind,
    Machine,
    PythonEnvironment,
    Target,
    fact,
    record,
)
from infra_doctor_probes.loading.names import cuda_major_of, library_name
from infra_doctor_probes.loading.orders import package_folder, wheel_key

_TEXT_CAP_BYTES = 65536


@fact("framework-build", 1)
@record
class FrameworkBuild:
    """What one framework was built for. `build` is cuda, rocm, ascend … or cpu. `cuda` is a version ("12.5.1") or a major;
    `variants` are the CUDA versions ("118", "126") where the package holds a library for each."""

    wheel: str
    target: str
    build: str
    cuda: str | None = None
    cudnn: str | None = None
    variants: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()


Found = tuple[str, str | None, str | None, str, str]  # build, CUDA, cuDNN, where it was read, what it says


def framework_builds(machine: Machine, target: Target, environment: PythonEnvironment) -> Iterator[FrameworkBuild]:
    """The builds of the frameworks of one target that say what they are."""
    for dist in environment.distributions:
        read = READERS.get(dist.normalized)
        found = read(machine, target, dist) if read is not None else None
        if found is None:
            continue
        build, cuda, cudnn, path, text = found
        kind = EvidenceKind.METADATA if path.endswith(("-info", "METADATA")) else EvidenceKind.FILE
        yield FrameworkBuild(
            wheel=wheel_key(dist.normalized, target), target=target.key, build=build, cuda=cuda, cudnn=cudnn,
            variants=tuple(sorted(re.findall(r"_cuda(\d{2,4})\.so", text))) if dist.normalized == "bitsandbytes" else (),
            evidence=(Evidence(kind=kind, source=path, text=text[:300]),),
        )  # fmt: skip


# -- TensorFlow ---------------------------------------------------------------------------------------------------


def tensorflow_folder(machine: Machine, target: Target, dist: Distribution) -> str:
    """The folder of TensorFlow's libraries: tensorflow_core in 1.15."""
    folder = package_folder(machine, target, dist, "tensorflow")
    core = folder.removesuffix("tensorflow") + "tensorflow_core"
    return core if machine.is_dir(core) else folder


def tensorflow(machine: Machine, target: Target, dist: Distribution) -> Found | None:
    """tensorflow/tools/build_info/gen_build_info.py writes the dictionary; 1.15 names no CUDA version in it, and NVIDIA's
    own builds say theirs in Requires-Dist."""
    path = tensorflow_folder(machine, target, dist) + "/python/platform/build_info.py"
    text = machine.read_text(path, max_bytes=_TEXT_CAP_BYTES, quiet=True) or ""
    said = dict(re.findall(r"['\"](\w{1,40})['\"]:\s*['\"]?([\w.]{1,20})", text))
    if "is_rocm_build" in said and said["is_rocm_build"] == "True":
        return "rocm", None, None, path, "is_rocm_build True"
    if said.get("is_cuda_build") == "False":
        return "cpu", None, None, path, "is_cuda_build False"
    if said.get("is_cuda_build") == "True" and "cuda_version" in said:
        shown = f"cuda_version {said['cuda_version']}, cudnn_version {said.get('cudnn_version')}"
        return "cuda", said["cuda_version"], said.get("cudnn_version"), path, shown
    cuda, cudnn = _required(dist, "cuda-runtime"), _required(dist, "cudnn")
    if cuda is not None:
        return "cuda", cuda, cudnn, dist.path, f"requires nvidia-cuda-runtime {cuda}, nvidia-cudnn {cudnn}"
    return None


def _required(dist: Distribution, part: str) -> str | None:
    """The version of an nvidia-PART-cuNN that a distribution requires without an extra."""
    for line in dist.requires:
        match = re.match(rf"nvidia-{part}-cu\d+\s*\(?==\s*([\d.]+\d)", line)
        if match and "extra ==" not in line:
            return match.group(1)
    return None


# -- others -------------------------------------------------------------------------------------------------------


def jaxlib(machine: Machine, target: Target, dist: Distribution) -> Found | None:
    """CUDA inside jaxlib: the label of the wheels until 0.4.21 ("+cuda11.cudnn86"), conda's builds by their folder.
    Later wheels hold none: plug-ins bring it, which are wheels of their own."""
    label = re.search(r"\+cuda(\d{2})(?:\.cudnn(\d)\d*)?", dist.version)
    if label:
        return "cuda", label.group(1), label.group(2), dist.path, f"version {dist.version}"
    folder = package_folder(machine, target, dist, "jaxlib")
    for device in ("cuda", "rocm"):
        if any(name.endswith(".so") for name in machine.names(f"{folder}/{device}")):
            return device, None, None, f"{folder}/{device}", "libraries of its own"
    return None


def paddle(machine: Machine, target: Target, dist: Distribution) -> Found | None:
    """paddle/version/__init__.py, as Paddle's setup.py writes it: 'False' where CUDA is not built in."""
    path = package_folder(machine, target, dist, "paddle") + "/version/__init__.py"
    text = machine.read_text(path, max_bytes=_TEXT_CAP_BYTES, quiet=True) or ""
    said = dict(re.findall(r"^(\w{1,40})\s*=\s*'([\w.]{1,20})'", text, re.MULTILINE))
    if "cuda_version" in said:
        cuda = said["cuda_version"]
        if cuda == "False":
            other = next((n for n in ("rocm", "xpu") if said.get(n) not in {None, "False"}), "cpu")
            return other, None, None, path, "cuda_version False"
        cudnn = said.get("cudnn_version")
        return "cuda", cuda, None if cudnn == "False" else cudnn, path, f"cuda_version {cuda}, cudnn_version {cudnn}"
    if dist.normalized == "paddlepaddle":
        return "cpu", None, None, dist.path, "paddlepaddle is the CPU build; paddlepaddle-gpu has CUDA"
    return None


def llama_cpp(machine: Machine, target: Target, dist: Distribution) -> Found | None:
    """The back ends beside libllama.so, or built into it: what it needs tells."""
    folder = package_folder(machine, target, dist, "llama_cpp") + "/lib"
    names = [n for n in machine.names(folder) if ".so" in n]
    if not any(n.startswith("libllama") for n in names):
        return None
    for name in names:
        back_end = re.match(r"libggml-(cuda|hip|vulkan|sycl|musa|cann|opencl)\b", name)
        if back_end or name.startswith(("libllama", "libggml")):
            elf = machine.elf(f"{folder}/{name}", quiet=True)
            majors = [m for n in (elf.needed if elf else ()) if (m := _cuda_of(n)) is not None]
            if back_end or majors:
                build = back_end.group(1) if back_end else "cuda"
                return build, str(majors[0]) if majors else None, None, f"{folder}/{name}", f"{name} is there"
    return "cpu", None, None, folder, "no back end for a GPU: " + ", ".join(names)


def _cuda_of(soname: str) -> int | None:
    name = library_name(soname)
    return cuda_major_of(name) if name is not None else None


def mindspore(machine: Machine, target: Target, dist: Distribution) -> Found | None:
    """Back ends are plug-ins in mindspore/lib/plugin: gpu11.6/, libmindspore_ascend.so.2."""
    folder = package_folder(machine, target, dist, "mindspore") + "/lib/plugin"
    if not machine.is_dir(folder.removesuffix("/plugin")):
        return None
    names = machine.names(folder)
    for name in names:
        gpu = re.match(r"gpu(\d+\.\d+)?", name)
        if gpu:
            return "cuda", gpu.group(1), None, folder, name
    if any("ascend" in name for name in names):
        return "ascend", None, None, folder, ", ".join(names)
    return "cpu", None, None, folder, "no plug-in for a device"


def bitsandbytes(machine: Machine, target: Target, dist: Distribution) -> Found | None:
    """One library for each CUDA version; `libbitsandbytes_cpu.so` alone where it was built without."""
    folder = package_folder(machine, target, dist, "bitsandbytes")
    names = [n for n in machine.names(folder) if n.startswith("libbitsandbytes_") and n.endswith(".so")]
    if not names:
        return None
    cuda = [n for n in names if "_cuda" in n]
    return ("cuda" if cuda else "cpu"), None, None, folder, " ".join(cuda or names)


Reader = Callable[[Machine, Target, Distribution], Found | None]
READERS: dict[str, Reader] = {
    **dict.fromkeys(
        ("tensorflow", "tensorflow-gpu", "tensorflow-cpu", "tf-nightly", "nvidia-tensorflow", "intel-tensorflow"), tensorflow
    ),
    "jaxlib": jaxlib,
    **dict.fromkeys(("paddlepaddle", "paddlepaddle-gpu"), paddle),
    "llama-cpp-python": llama_cpp,
    **dict.fromkeys(("mindspore", "mindspore-gpu", "mindspore-ascend"), mindspore),
    "bitsandbytes": bitsandbytes,
}  # fmt: skip
COLLECT = (
    "site:tensorflow/python/platform/build_info.py", "site:tensorflow_core/python/platform/build_info.py", "site:jaxlib/cuda/*.so",
    "site:jaxlib/rocm/*.so", "site:paddle/version/__init__.py", "site:llama_cpp/lib/*.so*", "site:mindspore/lib/plugin/*",
    "site:bitsandbytes/*.so",
)  # fmt: skip
