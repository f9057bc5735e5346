"""The checks of frameworks, extensions and model tools: what raises a finding, what must not, and what is advised."""

import re
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from infra_doctor.model.component import Component, Target
from infra_doctor.model.evidence import Evidence, EvidenceKind
from infra_doctor.model.finding import Finding, Severity, Status
from infra_doctor.model.plugins import Check, CheckContext
from infra_doctor.model.report import ProbeOutcome
from infra_doctor_probes.checks import (
    cpu_build,
    cuda_major,
    cudnn_layout,
    ext_abi,
    jax_cpu,
    numpy_abi,
    onnx_opset,
    tf_fallback,
    trt,
)
from infra_doctor_probes.detect.extensions import CompiledExtension, TorchAbi
from infra_doctor_probes.detect.framework_builds import FrameworkBuild
from infra_doctor_probes.detect.onnxruntime import ProviderLoad
from infra_doctor_probes.detect.opened_later import FrameworkLibraries
from infra_doctor_probes.detect.wheels import OnnxRuntimeBuild, TorchBuild
from infra_doctor_probes.loading.process import Missing
from tests.probes.tables.stack import PREFIX, TARGET, driver, gpu, library, metadata
from tests.probes.tables.stack import wheel as bare_wheel

MODULES = (cpu_build, cuda_major, cudnn_layout, ext_abi, jax_cpu, numpy_abi, onnx_opset, tf_fallback, trt)
CHECKS: dict[str, Check] = {c.id: c for m in MODULES for c in m.CHECKS}
H100 = gpu("NVIDIA H100", "9.0")
R580 = driver("580.95.05")
HERE = Target(key=TARGET, prefix=PREFIX, executable=f"{PREFIX}/bin/python", kind="venv")
NO_GPUS = ProbeOutcome(id="nvidia-gpu", version=1, title="", status=Status.SKIP, reason="not visible: kernel state")


def evidence() -> tuple[Evidence, ...]:
    return (Evidence(kind=EvidenceKind.ELF, source="/x/lib.so", text="needs"),)


def wheel(name: str, version: str, **attributes: Any) -> Component:
    return replace(bare_wheel(name, version, **attributes), evidence=evidence())


def results(
    check_id: str, *components: Component, facts: tuple[Any, ...] = (), probes: tuple[Any, ...] = ()
) -> list[Finding]:
    context = CheckContext(targets=(HERE,), components=components, facts=facts, probes=probes, today=date(2026, 11, 21))
    found = list(CHECKS[check_id].run(context))
    assert found
    for finding in found:
        assert finding.id == check_id
        if finding.status in {Status.PASS, Status.FAIL, Status.WARN}:
            assert finding.evidence, finding.title
        if finding.status in {Status.FAIL, Status.WARN}:
            assert finding.remediation is not None and finding.subject
            assert "export LD_LIBRARY_PATH" not in finding.remediation.text
    return found


def statuses(check_id: str, *components: Component, **more: Any) -> list[Status]:
    return [f.status for f in results(check_id, *components, **more)]


@pytest.mark.parametrize("check_id", CHECKS)
def test_nothing_installed_is_a_skip(check_id: str) -> None:
    assert statuses(check_id) == [Status.SKIP]
    assert statuses(check_id, H100, R580) == [Status.SKIP]


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_everything_about_a_check_stands_beside_it(check: Check) -> None:
    assert len(check.explanation) > 300 and check.remediation and check.log_signatures
    assert all(s.startswith("https://") for s in (*check.sources, *(x.source for x in check.log_signatures)))


@pytest.mark.parametrize(
    ("line", "check_id"),
    [
        ("ImportError: libcublas.so.11: cannot open shared object file: No such file or directory", "CUDA-MAJOR"),
        ("Could not load dynamic library 'libcudart.so.11.0'; dlerror: libcudart.so.11.0: cannot open shared object file", "CUDA-MAJOR"),
        ("Could not load dynamic library 'libcusparse.so.12'; dlerror: libnvJitLink.so.12: cannot open", "CUDA-MAJOR"),
        ("RuntimeError: CUDA Setup failed despite GPU being available. Please run", "CUDA-MAJOR"),
        ("/x/mamba_ssm.cpython-311-x86_64-linux-gnu.so: undefined symbol: _ZN2at4_ops5zeros4callEN3c108ArrayRef", "EXT-ABI"),
        ("undefined symbol: _ZNK3c1010TensorImpl36is_contiguous_nondefault_policy_implENS_12MemoryFormatE", "EXT-ABI"),
        ("WARNING[XFORMERS]: xFormers can't load C++/CUDA extensions. xFormers was built for:", "EXT-ABI"),
        ("RuntimeError: Detected that PyTorch and torchvision were compiled with different CUDA major versions.", "EXT-ABI"),
        ("The installed version of bitsandbytes was compiled without GPU support.", "CPU-BUILD"),
        ("warning: not compiled with GPU offload support, --n-gpu-layers option will be ignored", "CPU-BUILD"),
        ("WARNING:absl:No GPU/TPU found, falling back to CPU. (Set TF_CPP_MIN_LOG_LEVEL=0", "JAX-CPU"),
        ("Cannot dlopen some GPU libraries. Please make sure", "TF-FALLBACK"),
        ("Failed to load libcudart.so.13: libcudart.so.13: cannot open shared object file", "CUDNN-LAYOUT"),
        ("ImportError: libnvinfer.so.8: cannot open shared object file: No such file or directory", "TRT"),
        ("Unsupported model IR version: 9, max supported IR version: 8", "ONNX-OPSET"),
        ("Opset 19 is under development and support for this is limited", "ONNX-OPSET"),
        ("A module that was compiled using NumPy 1.x cannot be run in\nNumPy 2.0.0 as it may crash.", "NUMPY-ABI"),
        ("RuntimeError: Numpy is not available", "NUMPY-ABI"),
    ],
)  # fmt: skip
def test_lines_of_real_logs_name_the_check(line: str, check_id: str) -> None:
    def best(check: Check) -> int:
        return max((s.strength for s in check.log_signatures if re.search(s.pattern, line)), default=0)

    strengths = {name: best(check) for name, check in CHECKS.items()}
    assert strengths[check_id] == max(strengths.values()) > 0, strengths


@pytest.mark.parametrize(
    "line",
    [
        "Successfully opened dynamic library libcudart.so.11.0", "TF-TRT Warning: Could not find TensorRT",
        "I tensorflow/core/platform/cpu_feature_guard.cc:210] This TensorFlow binary is optimized to use available CPU instructions",
        "Epoch 3/10 loss 0.1234 lr 1e-4", "UserWarning: The given NumPy array is not writable", "INFO: Using FlashAttention-2 backend",
    ],
)  # fmt: skip
def test_lines_of_healthy_logs_name_nothing(line: str) -> None:
    assert not [c.id for c in CHECKS.values() for s in c.log_signatures if re.search(s.pattern, line)]


# -- facts --------------------------------------------------------------------------------------------------------


def torch_build(version: str = "2.11.0", cuda: str | None = "13.0", build: str = "cuda") -> TorchBuild:
    return TorchBuild(
        wheel=f"wheel:torch@{PREFIX}", target=TARGET, version=version, build=build, cuda=cuda, hip=None,
        tag="cu130" if cuda else None,
    )  # fmt: skip


TORCH = wheel("torch", "2.11.0", build="cuda", cuda="13.0", tag="cu130")


def missing(*sonames: str, by: str = "/x/libonnxruntime_providers_cuda.so") -> tuple[Missing, ...]:
    return tuple(Missing(soname=s, needed_by=by) for s in sonames)


def provider(
    *sonames: str, name: str = "CUDAExecutionProvider", opens: bool | None = False, order: str = "onnxruntime"
) -> ProviderLoad:
    return ProviderLoad(
        target=TARGET, provider=f"ort-provider:{name}@{PREFIX}", name=name, wheel=f"wheel:onnxruntime-gpu@{PREFIX}", order=order,
        opens=opens, missing=missing(*sonames), evidence=evidence(),
    )  # fmt: skip


def ort_build(version: str = "1.18.0", cuda: str | None = "11.8", **more: Any) -> OnnxRuntimeBuild:
    given = {"has_preload_dlls": False, "opens_cudnn_late": False, "cudnn": "9", **more}
    return OnnxRuntimeBuild(
        wheel=f"wheel:onnxruntime-gpu@{PREFIX}", target=TARGET, version=version, package_name="onnxruntime-gpu",
        distributions=(), build="cuda", cuda=cuda, providers=("CUDAExecutionProvider",), **given,
    )  # fmt: skip


def later(*sonames: str, name: str = "tensorflow", order: str = "tensorflow", cuda: str = "12.5", by: str = "/x/libtf.so", **more: Any) -> FrameworkLibraries:  # fmt: skip
    given = {"loads": not sonames, "evidence": evidence() if sonames else (), **more}
    return FrameworkLibraries(
        target=TARGET, consumer=f"wheel:{name}@{PREFIX}", order=order, cuda=cuda, missing=missing(*sonames, by=by), **given
    )  # fmt: skip


ORT = wheel("onnxruntime-gpu", "1.18.0", build="cuda", cuda="11.8")
CUDA12 = library("cublas", "12.5.3.2", cuda=12, inside=False)


# -- CUDA-MAJOR ---------------------------------------------------------------------------------------------------


def test_cuda_major_of_a_provider() -> None:
    facts = (provider("libcublasLt.so.11", "libcudart.so.11.0", "libcudnn.so.8"), ort_build())
    (found,) = results("CUDA-MAJOR", ORT, CUDA12, H100, facts=facts)
    assert (found.status, found.title) == (
        Status.FAIL,
        "onnxruntime-gpu 1.18.0 needs CUDA 11; only CUDA 12 is installed",
    )
    assert found.remediation is not None and "onnxruntime-gpu[cuda,cudnn]>=1.21,<1.27" in found.remediation.text
    assert statuses("CUDA-MAJOR", ORT, CUDA12, facts=facts) == [Status.SKIP]  # no GPU
    assert statuses("CUDA-MAJOR", ORT, CUDA12, facts=facts, probes=(NO_GPUS,)) == [Status.WARN]  # an image


def test_cuda_major_is_silent_where_its_own_major_lies_about_or_none_does() -> None:
    facts = (provider("libcublasLt.so.11"), ort_build())
    both = library("cudart", "11.8.89", cuda=11, inside=False)
    assert statuses("CUDA-MAJOR", ORT, CUDA12, both, H100, facts=facts) == [Status.SKIP]
    assert statuses("CUDA-MAJOR", ORT, H100, facts=facts) == [Status.SKIP]
    assert statuses("CUDA-MAJOR", ORT, CUDA12, H100, facts=(provider("libcudnn.so.8"),)) == [Status.SKIP]


def test_torch_of_another_major_beside_onnxruntime_is_another_finding() -> None:
    facts = (provider("libcublasLt.so.12"), ort_build("1.22.0", "12.8"), torch_build())
    assert statuses("CUDA-MAJOR", ORT, TORCH, library("cublas", "13.1", cuda=13), H100, facts=facts) == [Status.SKIP]


def test_an_extension_for_another_major_than_torchs() -> None:
    facts = (
        torch_build(),
        CompiledExtension(
            target=TARGET, wheel=f"wheel:vllm@{PREFIX}", cuda_sonames=("libcudart.so.12",), evidence=evidence()
        ),
    )
    of_torch = library("cudart", "13.0.96", cuda=13)
    vllm = wheel("vllm", "0.10.2")
    assert statuses("CUDA-MAJOR", vllm, TORCH, of_torch, H100, facts=facts) == [Status.FAIL]
    assert statuses("CUDA-MAJOR", vllm, TORCH, of_torch, CUDA12, H100, facts=facts) == [Status.SKIP]
    fits = (torch_build(), replace(facts[1], cuda_sonames=("libcudart.so.13",)))
    assert statuses("CUDA-MAJOR", vllm, TORCH, of_torch, H100, facts=fits) == [Status.SKIP]


def test_cupy_and_bitsandbytes() -> None:
    only_13 = library("cublas", "13.1", cuda=13, inside=False)
    assert statuses("CUDA-MAJOR", wheel("cupy-cuda12x", "13.6.0"), only_13, H100) == [Status.FAIL]
    assert statuses("CUDA-MAJOR", wheel("cupy-cuda13x", "13.6.0"), only_13, H100) == [Status.SKIP]
    bnb = wheel("bitsandbytes", "0.45.0")

    def build(*variants: str) -> FrameworkBuild:
        return FrameworkBuild(wheel=bnb.key, target=TARGET, build="cuda", variants=variants, evidence=evidence())

    assert statuses("CUDA-MAJOR", bnb, TORCH, only_13, H100, facts=(torch_build(), build("118", "126"))) == [
        Status.FAIL
    ]
    assert statuses("CUDA-MAJOR", bnb, TORCH, only_13, H100, facts=(torch_build(), build("126", "130"))) == [
        Status.SKIP
    ]
    assert statuses("CUDA-MAJOR", bnb, TORCH, only_13, H100, facts=(torch_build(), build())) == [Status.SKIP]


def test_a_copy_of_another_major_under_a_common_name() -> None:
    tensorflow = wheel("tensorflow", "2.9.0")
    fact = later("libnvJitLink.so.12", cuda="11.8", by="/opt/cuda-12.2/lib64/libcusolver.so.11.5.0")
    (found,) = results("CUDA-MAJOR", tensorflow, H100, facts=(fact,))
    assert found.title == "tensorflow 2.9.0, built for CUDA 11, finds the libcusolver.so.11.5.0 of CUDA 12"


def test_whoever_gets_its_major_passes() -> None:
    assert statuses("CUDA-MAJOR", ORT, H100, facts=(provider(opens=True),)) == [Status.PASS]


# -- EXT-ABI ------------------------------------------------------------------------------------------------------

FLASH = wheel("flash-attn", "2.8.3")


def extension(**fields: Any) -> CompiledExtension:
    return CompiledExtension(target=TARGET, wheel=FLASH.key, evidence=evidence(), **fields)


@pytest.mark.parametrize(
    ("fields", "torch", "status"),
    [
        ({"torch": "2.11"}, torch_build(), Status.PASS), ({"torch": "2.8"}, torch_build(), Status.WARN),
        ({"torch": "2.11"}, torch_build("2.11.0+cu130"), Status.PASS), ({"cxx11_abi": False}, torch_build(), Status.FAIL),
        ({"cxx11_abi": True}, torch_build(), Status.PASS), ({"needs_cuda_torch": True}, torch_build(cuda=None, build="cpu"), Status.FAIL),
        ({"needs_cuda_torch": True}, torch_build(), Status.PASS), ({"cuda": "none"}, torch_build(), Status.WARN),
        ({"cuda": "none"}, torch_build(cuda=None, build="cpu"), Status.SKIP), ({}, torch_build(), Status.SKIP),
    ],
)  # fmt: skip
def test_extensions(fields: dict[str, Any], torch: TorchBuild, status: Status) -> None:
    facts = (extension(**fields), torch, TorchAbi(target=TARGET, cxx11_abi=True, evidence=evidence()))
    assert statuses("EXT-ABI", FLASH, TORCH, H100, facts=facts) == [status]


def test_an_abi_that_nobody_says_is_not_judged() -> None:
    assert statuses("EXT-ABI", FLASH, TORCH, H100, facts=(extension(cxx11_abi=False), torch_build())) == [Status.PASS]


def test_a_package_that_takes_newer_torches_is_not_held_to_one() -> None:
    facts = (extension(torch="2.10"), torch_build(), metadata(FLASH, "torch>=2.10"))
    assert statuses("EXT-ABI", FLASH, TORCH, H100, facts=facts) == [Status.PASS]


def test_without_torch_there_is_nothing_to_judge() -> None:
    assert statuses("EXT-ABI", FLASH, H100, facts=(extension(torch="2.8"),)) == [Status.SKIP]


# -- TRT, CUDNN-LAYOUT --------------------------------------------------------------------------------------------

TRT = "TensorrtExecutionProvider"


def tensorrt(major: int, *, inside: bool = True) -> Component:
    found = library("tensorrt", f"{major}.4.0", inside=inside, path=f"/x/libnvinfer.so.{major}")
    return replace(found, attributes={"soname": f"libnvinfer.so.{major}"})


def test_tensorrt_is_judged_only_where_it_is_installed() -> None:
    load = provider("libnvinfer.so.10", name=TRT)
    assert statuses("TRT", ORT, H100, facts=(load,)) == [Status.SKIP]
    assert statuses("TRT", ORT, H100, tensorrt(10), facts=(load,)) == [Status.WARN]
    assert statuses("TRT", ORT, tensorrt(10), facts=(load,)) == [Status.SKIP]  # no GPU
    (other,) = results("TRT", ORT, H100, tensorrt(11), facts=(load,))
    assert "needs TensorRT 10; TensorRT 11 is here" in other.title
    assert statuses("TRT", ORT, H100, tensorrt(10), facts=(provider(name=TRT, opens=True),)) == [Status.PASS]
    assert statuses("TRT", ORT, H100, tensorrt(10), facts=(provider(name=TRT, opens=None),)) == [Status.SKIP]
    assert statuses("TRT", ORT, H100, tensorrt(10), facts=(provider("libcublas.so.12", name=TRT),)) == [Status.SKIP]


def test_bindings_of_tensorrt_without_their_libraries() -> None:
    bindings = wheel("tensorrt-cu12-bindings", "10.9.0.34")
    (found,) = results("TRT", bindings)
    assert found.status is Status.WARN and found.remediation is not None
    assert found.remediation.commands[0].argv[-1] == "tensorrt-cu12-libs==10.9.0.34"
    assert statuses("TRT", bindings, wheel("tensorrt-cu12-libs", "10.9.0.34")) == [Status.SKIP]
    assert statuses("TRT", bindings, tensorrt(10, inside=False)) == [Status.SKIP]


def test_the_layout_of_cuda_13() -> None:
    lies = library(
        "cublas", "13.1", cuda=13, path=f"{PREFIX}/lib/python3.12/site-packages/nvidia/cu13/lib/libcublas.so.13"
    )
    old = ort_build("1.27.0", "13.0", has_preload_dlls=True, preload_folders=("cublas", "cufft", "cudnn"))
    ort = wheel("onnxruntime-gpu", "1.27.0", build="cuda", cuda="13.0")
    assert statuses("CUDNN-LAYOUT", ort, lies, H100, facts=(old,)) == [Status.FAIL]
    assert statuses("CUDNN-LAYOUT", ort, H100, facts=(old,)) == [Status.SKIP]
    assert statuses("CUDNN-LAYOUT", ort, lies, facts=(old,)) == [Status.SKIP]
    after_torch = provider(opens=True, order="torch, onnxruntime")
    assert statuses("CUDNN-LAYOUT", ort, lies, H100, facts=(old, after_torch)) == [Status.WARN]
    new = replace(old, preload_folders=("cu13", "cudnn"))
    assert statuses("CUDNN-LAYOUT", ort, lies, H100, facts=(new,)) == [Status.PASS]
    assert statuses("CUDNN-LAYOUT", ort, lies, H100, facts=(replace(old, cuda="12.8"),)) == [Status.SKIP]


# -- JAX-CPU, TF-FALLBACK, CPU-BUILD ------------------------------------------------------------------------------

JAX, JAXLIB = wheel("jax", "0.7.2"), wheel("jaxlib", "0.7.2")


def advice(found: Finding) -> str:
    assert found.remediation is not None
    return found.remediation.text


def test_jax_without_a_plug_in() -> None:
    (found,) = results("JAX-CPU", JAX, JAXLIB, H100, R580)
    assert found.status is Status.WARN and "jax[cuda13]==0.7.2" in advice(found)
    (older,) = results("JAX-CPU", JAX, JAXLIB, H100, driver("550.144.03"))
    assert "jax[cuda12]==0.7.2" in advice(older)
    (oldest,) = results("JAX-CPU", JAX, JAXLIB, H100, driver("470.256.02"))
    assert "Update the driver first" in advice(oldest)
    amd = replace(H100, key="gpu:1", name="MI300X", attributes={"vendor": "amd"})
    (rocm,) = results("JAX-CPU", JAX, JAXLIB, amd)
    assert rocm.status is Status.WARN and "rocm" in advice(rocm).lower()
    (beside,) = results("JAX-CPU", JAX, JAXLIB, TORCH, H100, R580, facts=(torch_build(),))
    assert beside.severity is Severity.LOW


def test_jax_that_has_what_it_needs_or_cannot_be_told() -> None:
    for plug_in in ("jax-cuda12-plugin", "jax-cuda13-plugin", "libtpu"):
        assert statuses("JAX-CPU", JAX, JAXLIB, wheel(plug_in, "0.7.2"), H100, R580) == [Status.PASS]
    bundled = wheel("jaxlib", "0.4.6+cuda11.cudnn86", build="cuda", cuda="11")
    assert statuses("JAX-CPU", wheel("jax", "0.4.6"), bundled, H100, R580) == [Status.PASS]
    conda = replace(JAXLIB, origin="conda")
    assert statuses("JAX-CPU", JAX, conda, H100, R580) == [Status.UNKNOWN]
    assert statuses("JAX-CPU", JAX, JAXLIB) == [Status.SKIP]
    assert statuses("JAX-CPU", JAX, JAXLIB, H100) == [Status.SKIP]  # no driver


def test_jax_with_a_plug_in_whose_libraries_are_missing() -> None:
    fact = later("libcudnn.so.9", name="jax-cuda12-pjrt", order="jax", cuda="12")
    parts = (JAX, JAXLIB, wheel("jax-cuda12-plugin", "0.7.2"), wheel("jax-cuda12-pjrt", "0.7.2"), H100, R580)
    (found,) = results("JAX-CPU", *parts, facts=(fact,))
    assert found.status is Status.FAIL and "libcudnn.so.9" in found.title and "jax[cuda12]==0.7.2" in advice(found)
    assert statuses("JAX-CPU", *parts, facts=(replace(fact, loads=None, missing=(), unknown="musl"),)) == [
        Status.UNKNOWN
    ]
    assert statuses("JAX-CPU", *parts, facts=(replace(fact, loads=True, missing=()),)) == [Status.PASS]


def test_tensorflow() -> None:
    tf = wheel("tensorflow", "2.17.0", build="cuda", cuda="12.3")
    lost = later("libcudnn.so.8", cuda="12.3")
    (alone,) = results("TF-FALLBACK", tf, H100, facts=(lost,))
    assert alone.status is Status.WARN and "tensorflow[and-cuda]==2.17.0" in advice(alone)
    taken = replace(
        library("cudart", "12.3", cuda=12, loaded_by=[tf], inside=False), attributes={"soname": "libcudart.so.12"}
    )
    assert statuses("TF-FALLBACK", tf, taken, H100, facts=(lost,)) == [Status.FAIL]
    lying = replace(
        library("cudnn", "8.9", path="/apps/cudnn/lib/libcudnn.so.8", inside=False),
        attributes={"soname": "libcudnn.so.8"},
    )
    (away,) = results("TF-FALLBACK", tf, lying, H100, facts=(lost,))
    assert away.status is Status.FAIL and "/apps/cudnn/lib is not on the loader's way" in advice(away)
    assert statuses("TF-FALLBACK", tf, facts=(lost,)) == [Status.SKIP]
    assert statuses("TF-FALLBACK", tf, H100, facts=(later(cuda="12.3"),)) == [Status.PASS]
    assert statuses("TF-FALLBACK", tf, H100, facts=(later(loads=None, unknown="musl"),)) == [Status.UNKNOWN]
    (beside,) = results("TF-FALLBACK", tf, TORCH, H100, facts=(lost, torch_build()))
    assert (beside.status, beside.severity) == (Status.WARN, Severity.LOW)


def test_tensorflow_216_does_not_look_into_its_wheels() -> None:
    tf = wheel("tensorflow", "2.16.1", build="cuda", cuda="12.3")
    path = f"{PREFIX}/lib/python3.12/site-packages/nvidia/cudnn/lib/libcudnn.so.8"
    lying = replace(library("cudnn", "8.9.7", path=path), attributes={"soname": "libcudnn.so.8"})
    (found,) = results("TF-FALLBACK", tf, lying, H100, facts=(later("libcudnn.so.8", cuda="12.3"),))
    assert "2.17 or newer" in advice(found)


def test_cpu_builds() -> None:
    paddle = wheel("paddlepaddle", "2.6.2", build="cpu")

    def build(name: str, kind: str) -> FrameworkBuild:
        return FrameworkBuild(wheel=f"wheel:{name}@{PREFIX}", target=TARGET, build=kind, evidence=evidence())

    assert statuses("CPU-BUILD", paddle, H100, facts=(build("paddlepaddle", "cpu"),)) == [Status.WARN]
    assert statuses("CPU-BUILD", paddle, facts=(build("paddlepaddle", "cpu"),)) == [Status.SKIP]
    assert statuses("CPU-BUILD", paddle, H100, facts=(build("paddlepaddle", "cuda"),)) == [Status.PASS]
    (beside,) = results("CPU-BUILD", paddle, TORCH, H100, facts=(build("paddlepaddle", "cpu"), torch_build()))
    assert beside.severity is Severity.LOW
    npu = Component(key="npu:0", kind="npu", name="Ascend910B2", attributes={"vendor": "ascend"})
    assert statuses("CPU-BUILD", wheel("mindspore", "2.7.0"), npu, facts=(build("mindspore", "cpu"),)) == [Status.WARN]
    assert statuses("CPU-BUILD", paddle, npu, facts=(build("paddlepaddle", "cpu"),)) == [Status.SKIP]
    assert statuses("CPU-BUILD", H100, facts=(build("jaxlib", "cpu"),)) == [Status.SKIP]  # JAX has its own


# -- ONNX-OPSET, NUMPY-ABI ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("onnx", "ort", "status"),
    [
        ("1.16.0", "1.17.1", Status.WARN), ("1.17.0", "1.18.0", Status.PASS), ("1.19.1", "1.22.1", Status.WARN),
        ("1.18.0", "1.23.2", Status.PASS), ("1.21.0", "1.24.4", Status.PASS), ("1.13.1", "1.31.1", Status.PASS),
        ("9.0.0", "1.22.0", Status.UNKNOWN), ("1.17.0", "9.0.0", Status.UNKNOWN), ("1.17.0", "1.13.1", Status.UNKNOWN),
    ],
)  # fmt: skip
def test_ir_versions(onnx: str, ort: str, status: Status) -> None:
    assert statuses(
        "ONNX-OPSET", wheel("onnx", onnx), wheel("onnxruntime-gpu", ort), facts=(ort_build(ort, None),)
    ) == [status]


@pytest.mark.parametrize(
    ("name", "version", "numpy", "status"),
    [
        ("onnxruntime", "1.17.1", "2.1.0", Status.FAIL), ("onnxruntime", "1.19.0", "2.1.0", Status.PASS),
        ("torch", "2.2.2+cu121", "2.0.1", Status.WARN), ("torch", "2.3.0", "2.0.1", Status.PASS),
        ("onnxruntime", "1.17.1", "1.26.4", Status.SKIP), ("tensorflow", "2.12.0", "2.1.0", Status.SKIP),
    ],
)  # fmt: skip
def test_numpy_2(name: str, version: str, numpy: str, status: Status) -> None:
    assert statuses("NUMPY-ABI", wheel(name, version), wheel("numpy", numpy)) == [status]


def test_condas_builds_were_made_anew_for_numpy_2() -> None:
    assert statuses("NUMPY-ABI", replace(wheel("onnxruntime", "1.17.1"), origin="conda"), wheel("numpy", "2.1.0")) == [
        Status.SKIP
    ]
