"""The table of products: every system that must be known has a row, and no distribution belongs to two."""

import pytest

from infra_doctor_probes.products import PRODUCTS, product_of
from infra_doctor_probes.stack_names import in_stack

KNOWN = """
vLLM, SGLang, TensorRT-LLM, LMDeploy, FastDeploy, llama.cpp, MNN, TNN, OpenVINO, Triton Inference Server client,
Triton Inference Server, DeepSpeed, Megatron-Core, verl, unsloth, PaddlePaddle, MindSpore, OneFlow, TVM, IREE, MLIR, LLVM,
XLA plug-in, Triton, TPU-MLIR, CUTLASS, FlashAttention, xFormers, FlashInfer, Netron, ONNX, tf2onnx, Gloo, NCCL, HCCL, Open MPI,
UCX, bitsandbytes, Apex, Transformer Engine, torchvision, torchaudio, TorchCodec, CuPy, Numba, RAPIDS, DALI, NVIDIA ModelOpt,
Accelerate, Transformers, PEFT, ONNX Runtime, TensorRT, PyTorch, TensorFlow, JAX
"""


def test_every_system_has_a_row_with_a_source_and_a_way_to_find_it() -> None:
    rows = {p.name: p for p in PRODUCTS}
    assert len(rows) == len(PRODUCTS)
    assert {n.strip() for n in KNOWN.replace("\n", " ").split(",")} <= set(rows)
    for product in PRODUCTS:
        assert product.source.startswith("https://")
        assert product.distributions or product.programs or product.places or product.module, product.name


def test_a_distribution_belongs_to_one_product() -> None:
    names = [n for p in PRODUCTS for n in p.distributions.split()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("distribution", "product"),
    [
        ("flash-attn", "FlashAttention"), ("onnxruntime-gpu", "ONNX Runtime"), ("onnx", "ONNX"), ("triton", "Triton"),
        ("tritonclient", "Triton Inference Server client"), ("triton-ascend", "Triton"), ("openvino-genai", "OpenVINO"),
        ("nvidia-dali-cuda120", "DALI"), ("nvidia-cutlass-dsl", "CUTLASS"), ("tensorrt-llm", "TensorRT-LLM"),
        ("tensorrt-cu12-libs", "TensorRT"), ("jax-cuda12-pjrt", "XLA plug-in"), ("paddlepaddle-gpu", "PaddlePaddle"),
        ("nvidia-tensorflow", "TensorFlow"), ("cudf-cu12", "RAPIDS"),
    ],
)  # fmt: skip
def test_products_by_name(distribution: str, product: str) -> None:
    found = product_of(distribution)
    assert found is not None and found.name == product
    assert in_stack(distribution)


def test_what_belongs_to_no_product() -> None:
    assert product_of("requests") is None and not in_stack("requests")
    assert product_of("nvidia-cublas-cu12") is None and in_stack("nvidia-cublas-cu12")
