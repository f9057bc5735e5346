"""CPU-BUILD: a framework that was built for the CPU alone, on a machine whose GPU or NPU it could use.

PyTorch has a finding of its own (TORCH-CPU), JAX too (JAX-CPU). Rests on what the builds leave in their packages."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.framework_builds import FrameworkBuild
from infra_doctor_probes.detect.wheels import OnnxRuntimeBuild, TorchBuild
from infra_doctor_probes.from_matrix import listed
from infra_doctor_probes.in_target import Seen, no_gpu, nvidia_gpu, prefix_of, titled, wheel_name

# How to get another build; what is here, uninstalled first, where it is a distribution of another name.
REMEDIES = {
    "paddlepaddle": "Uninstall paddlepaddle, then install paddlepaddle-gpu for the driver's CUDA from Paddle's own index (PyPI has"
    " none newer than 2.6.2), as https://www.paddlepaddle.org.cn/en/install/quick says for the release.",
    "llama-cpp-python": "Install the wheel for CUDA from the project's own index (`--extra-index-url"
    " https://abetlen.github.io/llama-cpp-python/whl/<cu124>`), or build it with `CMAKE_ARGS=-DGGML_CUDA=on pip install"
    " --force-reinstall --no-cache-dir llama-cpp-python`, which takes nvcc: PyPI has its source alone, which builds for the CPU.",
    "tensorflow-cpu": "Uninstall tensorflow-cpu, then install `tensorflow[and-cuda]`.",
    "intel-tensorflow": "Uninstall intel-tensorflow, then install `tensorflow[and-cuda]`.",
    "bitsandbytes": "Install the bitsandbytes wheel of PyPI, which has a library for each CUDA version; what is here was built"
    " without CUDA (`cmake -DCOMPUTE_BACKEND=cuda` is the switch).",
    "mindspore": "Install the MindSpore build for this device, by https://www.mindspore.cn/install/en.",
}  # fmt: skip


def run(ctx: CheckContext) -> Iterator[Finding]:
    """One finding per framework whose build is known."""
    builds = [b for b in ctx.facts(FrameworkBuild) if wheel_name(b.wheel) != "jaxlib"]
    onnx = [b for b in ctx.facts(OnnxRuntimeBuild) if b.build == "cpu" and len(b.distributions) == 1]
    if not builds and not onnx:
        yield CHECK.skip("no framework is installed whose build could be told")
        return
    npu = any(c.attributes.get("vendor") == "ascend" for c in ctx.by_kind("npu"))
    if nvidia_gpu(ctx) is not Seen.PRESENT and not npu:
        yield CHECK.skip(no_gpu(ctx, "no GPU or NPU is there that these frameworks could use"))
        return
    for build in builds:
        yield judge(ctx, build, npu=npu)
    if nvidia_gpu(ctx) is Seen.PRESENT:
        yield from (judge_onnxruntime(ctx, build) for build in onnx)


def judge(ctx: CheckContext, build: FrameworkBuild, *, npu: bool) -> Finding:
    """The finding of one framework."""
    name = titled(ctx, build.wheel)
    if build.build != "cpu":
        return CHECK.finding(
            Status.PASS, f"{name} is a {build.build.upper()} build", subject=(build.wheel,), severity=Severity.LOW,
            evidence=build.evidence,
        )  # fmt: skip
    usable = nvidia_gpu(ctx) is Seen.PRESENT or (npu and wheel_name(build.wheel) == "mindspore")
    if not usable:
        return CHECK.skip(f"{name} has no build for the device that is here")
    if wheel_name(build.wheel) == "tensorflow":
        return CHECK.finding(
            Status.WARN, f"{name} in {prefix_of(build.target)} is built for the CPU only",
            subject=(build.wheel,), detail="On x86-64 its wheel of PyPI has CUDA code; this is another build, or that of a"
            " processor for which there is none.", evidence=build.evidence, severity=severity(ctx, build),
            remedy="Install `tensorflow[and-cuda]` from PyPI; on aarch64 NVIDIA's container image has a CUDA build.",
        )  # fmt: skip
    device = next((c.name for c in ctx.by_kind("gpu", "npu")), "an accelerator")
    return CHECK.finding(
        Status.WARN,
        f"{name} in {prefix_of(build.target)} is built for the CPU only, and {device} is there",
        subject=(build.wheel,),
        detail="It cannot use the device, whatever the driver: nothing fails, it is slow.",
        evidence=build.evidence,
        severity=severity(ctx, build),
        remedy=REMEDIES.get(wheel_name(build.wheel), f"Install a build of {wheel_name(build.wheel)} for the device."),
    )


def judge_onnxruntime(ctx: CheckContext, build: OnnxRuntimeBuild) -> Finding:
    """The CPU build of ONNX Runtime. Many packages bring it for small models; what somebody installed for its own sake, in
    an environment where nothing else uses the GPU, was most likely meant for it."""
    name = titled(ctx, build.wheel)
    others = [wheel_name(t.wheel) for t in ctx.facts(TorchBuild) if t.target == build.target and t.build == "cuda"]
    others += [wheel_name(b.wheel) for b in ctx.facts(FrameworkBuild) if b.target == build.target and b.build != "cpu"]
    if build.required_by or others:
        whom = f"{listed(build.required_by)} asks for it" if build.required_by else f"{listed(others)} uses the GPU"
        return CHECK.finding(
            Status.PASS, f"{name} is the CPU build, which may be meant: {whom}", subject=(build.wheel,),
            severity=Severity.LOW, evidence=build.evidence,
        )  # fmt: skip
    device = next((c.name for c in ctx.by_kind("gpu")), "a GPU")
    return CHECK.finding(
        Status.WARN, f"{name} in {prefix_of(build.target)} is the CPU build, and {device} is there", subject=(build.wheel,),
        detail="Its sessions run on the CPU; asking for CUDAExecutionProvider gives a warning and no error.",
        evidence=build.evidence,
        remedy=f"Uninstall {wheel_name(build.wheel)}, then install `onnxruntime-gpu[cuda,cudnn]` (both own one folder, so never"
        " beside each other). `infra-doctor plan onnxruntime-gpu` chooses the release for this driver.",
    )  # fmt: skip


def severity(ctx: CheckContext, build: FrameworkBuild) -> Severity | None:
    """Low where another framework of the environment uses the GPU: this one may be meant for the CPU."""
    torch = any(t.target == build.target and t.build == "cuda" for t in ctx.facts(TorchBuild))
    return Severity.LOW if torch else None


CHECK = Check(
    id="CPU-BUILD",
    title="CPU-only build of a framework on a machine with a GPU",
    explanation="""\
Several frameworks come as different packages, or different builds of one, for the CPU and for GPUs. `paddlepaddle` is the CPU
build and `paddlepaddle-gpu` the other; `pip install llama-cpp-python` compiles for the CPU unless CMAKE_ARGS says otherwise;
`tensorflow-cpu` has no CUDA code; MindSpore keeps its back ends as plug-ins. `onnxruntime` is the CPU
build, `onnxruntime-gpu` the other. Such a build says nothing when it runs: it is slow.

infra-doctor reads the build from what lies in the packages (paddle/version/__init__.py, build_info.py of TensorFlow, the
libggml-cuda.so of llama.cpp, MindSpore's plug-ins). A build whose package says nothing is not judged.""",
    remediation="Uninstall the CPU build and install the build for the device.",
    sources=(
        "https://www.paddlepaddle.org.cn/en/install/quick",
        "https://github.com/abetlen/llama-cpp-python#supported-backends",
        "https://www.tensorflow.org/install/pip",
        "https://www.mindspore.cn/install/en",
    ),
    run=run,
    severity=Severity.MEDIUM,
    log_signatures=(
        LogSignature(
            pattern=r"The device should not be 'gpu', since PaddlePaddle is not compiled with CUDA",
            source="https://github.com/PaddlePaddle/PaddleGAN/issues/243",
            strength=3,
        ),
        LogSignature(
            pattern=r"bitsandbytes was compiled without GPU support",
            source="https://github.com/bitsandbytes-foundation/bitsandbytes/issues/719",
        ),
        LogSignature(
            pattern=r"not compiled with GPU offload support, --(?:n-gpu-layers|gpu-layers) option will be ignored",
            source="https://github.com/ggml-org/llama.cpp/issues/9153",
            strength=3,
        ),
    ),
    tags=("packages",),
)

CHECKS = (CHECK,)
