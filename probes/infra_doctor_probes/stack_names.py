"""The accelerator stack by distribution name: frameworks, serving and training stacks, vendors' plug-ins and libraries."""

from infra_doctor_probes.products import product_of

# What belongs to the stack beside the products, by PEP 503 name. A name in "-*" stands for all that begin so.
STACK = """
torch torchvision torchaudio torchtext torchao torch-* torchtune torchrec triton triton-* pytorch-triton*
functorch torchdata torchmetrics tensorflow tensorflow-* tf-* tf2onnx keras jax jax-* jaxlib flax libtpu
libtpu-* optax onnxruntime onnxruntime-* ort-* onnx onnx-* onnxoptimizer onnxsim skl2onnx onnxconverter-common
tensorrt tensorrt-* torch-tensorrt polygraphy nvidia-* pynvml cuda-* cupy cupy-* numba numba-cuda cuda-python
vllm vllm-* sglang sglang-* sgl-kernel flash-attn flash-attn-* flash-mla xformers flashinfer flashinfer-*
deepspeed deepspeed-* bitsandbytes apex transformer-engine transformer-engine-* lmdeploy fastdeploy fastdeploy-*
llama-cpp-python ctranslate2 mnn mnn-* exllamav2 autoawq auto-gptq gptqmodel deep-gemm deep-ep lmcache
paddlepaddle paddlepaddle-* paddle-* mindspore mindspore-* mindformers mindie mindie-* oneflow oneflow-*
torch-npu torch-mlu torch-musa torch-xla torch-directml torch-gcu vllm-ascend triton-ascend te hccl auto-tune opc-tool
openvino openvino-* openvino-dev nncf intel-extension-for-* intel-* dpctl dpnp pyopencl oneccl-bind-pt tvm apache-tvm
apache-tvm-* iree-* tpu-mlir tpu-mlir-* transformers accelerate peft trl diffusers safetensors optimum optimum-*
numpy protobuf sentence-transformers verl unsloth unsloth-* megatron-core megatron-* nemo-toolkit lightning
pytorch-lightning ray mpi4py horovod nccl4py ucx-py ucxx-* rmm rmm-* cudf cudf-* cuml cuml-* dali nvidia-dali-*
mooncake-* faiss-gpu faiss-gpu-* gpustat nvitop py3nvml
"""
_NAMES = frozenset(n for n in STACK.split() if not n.endswith("*"))
_PREFIXES = tuple(n[:-1] for n in STACK.split() if n.endswith("*"))


def in_stack(name: str) -> bool:
    """Whether a PEP 503 name belongs to the accelerator stack."""
    return name in _NAMES or name.startswith(_PREFIXES) or product_of(name) is not None
