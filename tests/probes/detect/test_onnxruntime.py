"""Execution providers on described machines: whether they load, and what is said of it."""

from typing import Any

import pytest

from infra_doctor.model.component import Component
from infra_doctor_probes.detect.onnxruntime import ProviderLoad
from infra_doctor_probes.loading.orders import ORT, ORT_TORCH, PRELOAD, TORCH_ORT
from tests.probes.described_stack import BASE, CUDA13, DRIVER, LIB, PYTHON, SITE, cudnn, described, merged, ort, torch
from tests.support.gather import Gathered


def provider(found: Gathered, name: str = "CUDAExecutionProvider") -> Component:
    (one,) = [c for c in found.kinds("ort-provider") if c.name == name]
    return one


def opens(found: Gathered) -> dict[str, bool | None]:
    return {f.order: f.opens for f in found.facts if isinstance(f, ProviderLoad) and f.name == "CUDAExecutionProvider"}


def test_the_cpu_provider_is_always_there() -> None:
    _, found = described(ort(cuda=None, name="onnxruntime"))
    cpu = provider(found, "CPUExecutionProvider")
    assert cpu.attributes == {"loads": "yes", "opens": True, "orders": ORT, "wheel": "onnxruntime"}
    assert len(found.kinds("ort-provider")) == 1


def test_an_extension_module_that_cannot_load() -> None:
    recipe = ort(cuda=None, name="onnxruntime")
    (path,) = recipe["elf"]
    recipe["elf"][path]["needed"] = ["libstdc++.so.6"]
    _, found = described(recipe)
    cpu = provider(found, "CPUExecutionProvider")
    assert (cpu.attributes["loads"], cpu.attributes["missing"]) == ("no", "libstdc++.so.6")


def test_all_from_the_system() -> None:
    names = ("libcublasLt.so.13", "libcublas.so.13", "libcudart.so.13", "libcudnn.so.9", "libcudnn_graph.so.9",
             "libcudnn_ops.so.9", "libcudnn_cnn.so.9")  # fmt: skip
    system = {
        "elf": {f"{LIB}/{n}": {"soname": n} for n in names},
        "ldcache": {n: f"{LIB}/{n}" for n in names},
    }
    _, found = described(DRIVER, system, ort(needed=("libcuda.so.1",)))
    assert provider(found).attributes["loads"] == "yes"
    assert opens(found) == {ORT: True, PRELOAD: True}
    graph = next(c for c in found.kinds("cudnn-sub") if c.name == "libcudnn_graph")
    assert {u.order for u in graph.loaded_by} == {ORT, PRELOAD}
    assert graph.origin == "system"


def test_wheels_are_reached_by_preload_or_torch_only() -> None:
    _, found = described(DRIVER, CUDA13, cudnn(), torch(), ort(needed=("libcuda.so.1",)))
    assert opens(found) == {ORT: False, TORCH_ORT: True, ORT_TORCH: False, PRELOAD: True}
    component = provider(found)
    assert component.attributes["loads"] == f"only after {PRELOAD}"
    assert component.attributes["orders"] == f"{TORCH_ORT}; {PRELOAD}"
    texts = [e.text for e in component.evidence]
    assert texts[0].startswith("needs libcublasLt.so.13, not in ")
    assert component.evidence[0].source.endswith("libonnxruntime_providers_cuda.so")


def test_a_missing_driver_is_named() -> None:
    _, found = described(CUDA13, cudnn(), ort(needed=("libcuda.so.1",)))
    facts = {f.order: f for f in found.facts if isinstance(f, ProviderLoad) and f.name == "CUDAExecutionProvider"}
    assert [m.soname for m in facts[PRELOAD].missing] == ["libcuda.so.1"]
    assert provider(found).attributes["loads"] == "no"


def test_late_cudnn_counts_for_completeness() -> None:
    _, found = described(DRIVER, CUDA13, ort(needed=("libcuda.so.1",)))
    facts = {f.order: f for f in found.facts if isinstance(f, ProviderLoad) and f.name == "CUDAExecutionProvider"}
    assert (facts[PRELOAD].opens, facts[PRELOAD].complete) == (True, False)
    assert provider(found).attributes["loads"] == "no"


def test_an_incomplete_cudnn_is_seen() -> None:
    parts = cudnn()
    del parts["elf"][f"{SITE}/nvidia/cudnn/lib/libcudnn_ops.so.9"]
    parts["distributions"][0]["files"].pop("nvidia/cudnn/lib/libcudnn_ops.so.9")
    _, found = described(DRIVER, CUDA13, parts, ort())
    late = next(f for f in found.facts if isinstance(f, ProviderLoad) and f.order == PRELOAD and "CUDA" in f.name)
    assert [(m.soname, m.on_first_use) for m in late.missing] == [("libcudnn_ops.so.9", True)]


def test_other_providers() -> None:
    recipe = ort(cuda=None, name="onnxruntime-cann", version="1.24.4")
    library = f"{SITE}/onnxruntime/capi/libonnxruntime_providers_cann.so"
    recipe["elf"] |= {
        library: {"needed": ["libascendcl.so"], "runpath": "/usr/local/Ascend/cann-8.5.0/lib64"},
        f"{SITE}/onnxruntime/capi/libonnxruntime_providers_shared.so": {},
    }
    _, found = described(recipe)
    assert provider(found, "CANNExecutionProvider").attributes["missing"] == "libascendcl.so"
    cann = {"elf": {"/usr/local/Ascend/cann-8.5.0/lib64/libascendcl.so": {"soname": "libascendcl.so"}}}
    _, found = described(recipe, cann)
    assert provider(found, "CANNExecutionProvider").attributes["loads"] == "yes"


@pytest.mark.parametrize(
    "python",
    [{"interp": "/lib/ld-musl-x86_64.so.1", "needed": ["libc.musl-x86_64.so.1"]}, {"interp": None, "needed": []}],
)
def test_another_loader_is_unknown(python: dict[str, Any]) -> None:
    assert PYTHON in BASE["elf"]
    _, found = described(CUDA13, ort(), {"elf": {PYTHON: python}})
    assert provider(found).attributes["loads"] == "unknown"
    assert all(f.opens is None and f.unknown for f in found.facts if isinstance(f, ProviderLoad))


def test_a_tensorrt_provider_is_judged_by_itself() -> None:
    recipe = ort()
    recipe["elf"][f"{SITE}/onnxruntime/capi/libonnxruntime_providers_tensorrt.so"] = {"needed": ["libnvinfer.so.10"]}
    _, found = described(DRIVER, CUDA13, cudnn(), merged(recipe))
    assert provider(found, "TensorrtExecutionProvider").attributes["missing"] == "libnvinfer.so.10"
    assert opens(found)[PRELOAD] is True
