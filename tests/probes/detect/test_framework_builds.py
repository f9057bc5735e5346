"""What frameworks were built for, told by the files that they leave."""

from typing import Any

import pytest

from infra_doctor_probes.detect.framework_builds import FrameworkBuild
from tests.probes.described_stack import SITE, described, dist

BUILD_INFO = f"{SITE}/tensorflow/python/platform/build_info.py"
PADDLE = f"{SITE}/paddle/version/__init__.py"


def build(name: str, version: str = "1.0", **parts: Any) -> tuple[str | None, ...] | None:
    said = parts.pop("said", {})
    _, found = described({**parts, "distributions": [dist(name, version, **said)]})
    if not found.has(FrameworkBuild):
        return None
    fact = found.fact(FrameworkBuild)
    assert fact.evidence and fact.evidence[0].source
    component = next(c for c in found.kinds("wheel"))
    assert component.attributes["build"] == fact.build and component.attributes.get("cuda") == fact.cuda
    return fact.build, fact.cuda, fact.cudnn


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("build_info = OrderedDict({'cuda_version': '12.5.1', 'cudnn_version': '9', 'is_cuda_build': True})", ("cuda", "12.5.1", "9")),
        ('build_info = OrderedDict({"is_cuda_build": False, "is_rocm_build": False})', ("cpu", None, None)),
        ("build_info = OrderedDict({'is_cuda_build': False, 'is_rocm_build': True})", ("rocm", None, None)),
        ("build_info = {}", None), ("\x00\x01", None),
    ],
)  # fmt: skip
def test_tensorflow(text: str, expected: tuple[str | None, ...] | None) -> None:
    assert build("tensorflow", "2.18.0", files={BUILD_INFO: text}) == expected


def test_tensorflow_115_says_it_in_its_requirements() -> None:
    said = {"requires": ["nvidia-cuda-runtime-cu11 (==11.8.89)", "nvidia-cudnn-cu11 (==8.7.0.80)", "six"]}
    files = {f"{SITE}/tensorflow_core/python/platform/build_info.py": "is_cuda_build = True\n"}
    assert build("nvidia-tensorflow", "1.15.5", files=files, said=said) == ("cuda", "11.8.89", "8.7.0.80")
    assert build("tensorflow", "2.9.0") is None


def test_jaxlib() -> None:
    assert build("jaxlib", "0.4.6+cuda11.cudnn86") == ("cuda", "11", "8")
    assert build("jaxlib", "0.4.20+cuda12.cudnn89") == ("cuda", "12", "8")
    assert build("jaxlib", "0.7.2") is None
    assert build("jaxlib", "0.7.2", elf={f"{SITE}/jaxlib/cuda/_solver.so": {}}) == ("cuda", None, None)


def test_paddle() -> None:
    assert build("paddlepaddle-gpu", files={PADDLE: "cuda_version = '12.6'\ncudnn_version = '9.5.1'\n"}) == (
        "cuda",
        "12.6",
        "9.5.1",
    )
    assert build("paddlepaddle", files={PADDLE: "cuda_version     = 'False'\n"}) == ("cpu", None, None)
    assert build("paddlepaddle", files={PADDLE: "cuda_version = 'False'\nxpu = 'True'\n"}) == ("xpu", None, None)
    assert build("paddlepaddle") == ("cpu", None, None)
    assert build("paddlepaddle-gpu") is None


def test_llama_cpp() -> None:
    lib = f"{SITE}/llama_cpp/lib"
    cpu = {f"{lib}/libllama.so": {"needed": ["libggml.so"]}, f"{lib}/libggml.so": {}, f"{lib}/libggml-cpu.so": {}}
    assert build("llama-cpp-python", elf=cpu) == ("cpu", None, None)
    cuda = {**cpu, f"{lib}/libggml-cuda.so": {"needed": ["libcudart.so.12", "libcublas.so.12"]}}
    assert build("llama-cpp-python", elf=cuda) == ("cuda", "12", None)
    assert build("llama-cpp-python", elf={**cpu, f"{lib}/libggml-vulkan.so": {}}) == ("vulkan", None, None)
    one = {f"{lib}/libllama.so": {"needed": ["libcublas.so.11", "libc.so.6"]}}
    assert build("llama-cpp-python", elf=one) == ("cuda", "11", None)
    assert build("llama-cpp-python") is None


def test_mindspore() -> None:
    lib = f"{SITE}/mindspore/lib"
    assert build("mindspore", elf={f"{lib}/libmindspore_core.so": {}}) == ("cpu", None, None)
    ascend = {f"{lib}/libmindspore_core.so": {}, f"{lib}/plugin/libmindspore_ascend.so.2": {}}
    assert build("mindspore", elf=ascend) == ("ascend", None, None)
    gpu = {f"{lib}/plugin/gpu11.6/libmindspore_gpu.so": {}}
    assert build("mindspore", elf=gpu) == ("cuda", "11.6", None)
    assert build("mindspore") is None


def test_bitsandbytes_has_a_library_for_each_version() -> None:
    names = [f"libbitsandbytes_cuda{v}.so" for v in ("118", "126", "130")] + ["libbitsandbytes_cpu.so"]
    _, found = described(
        {"elf": {f"{SITE}/bitsandbytes/{n}": {} for n in names}, "distributions": [dist("bitsandbytes", "0.49.0")]}
    )
    fact = found.fact(FrameworkBuild)
    assert (fact.build, fact.variants) == ("cuda", ("118", "126", "130"))
    assert build("bitsandbytes", elf={f"{SITE}/bitsandbytes/libbitsandbytes_cpu.so": {}}) == ("cpu", None, None)
