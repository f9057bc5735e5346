"""ONNX Runtime against CUDA, TensorRT and torch."""

import pytest

from infra_doctor.model.compatibility import Verdict
from infra_doctor_probes.tables.onnxruntime import RULES
from tests.probes.tables.stack import judged, library, only, ort, torch, wheel

YES, NO, OPEN = Verdict.COMPATIBLE, Verdict.INCOMPATIBLE, Verdict.UNKNOWN
CUDA, TENSORRT, TORCH = "ort-cuda-build", "ort-tensorrt", "torch-ort-cuda"


def test_the_cuda_runtime() -> None:
    user = ort("1.27.0")  # by the table: CUDA 13
    assert only(judged(RULES, user, library("cudart", "12.8.90", cuda=12)), CUDA).verdict is NO
    assert only(judged(RULES, user, library("cudart", "13.0.96", cuda=13, inside=False)), CUDA).verdict is YES
    both = (library("cudart", "12.8.90", cuda=12), library("cudart", "13.0.96", cuda=13, inside=False))
    assert only(judged(RULES, user, *both), CUDA).right == both[1].key
    own = ort("1.27.0", "12.9")  # a build of another feed says so itself
    assert only(judged(RULES, own, library("cudart", "12.8.90", cuda=12)), CUDA).verdict is YES
    assert only(judged(RULES, ort("1.99.0"), library("cudart", "13.0.96", cuda=13)), CUDA).verdict is OPEN


@pytest.mark.parametrize(
    ("version", "cuda", "tensorrt", "verdict"),
    [
        ("1.17.1", "11.8", "8.6.1", YES), ("1.17.1", "11.8", "10.0.1", NO), ("1.18.0", "11.8", "10.0.1", YES),
        ("1.22.0", "12.8", "10.9.0.34", YES), ("1.22.0", "12.8", "11.2.1.2", NO), ("1.30.0", "13.0", "10.14.1.48", OPEN),
        ("1.20.1", "12.6", "10.7.0", YES), ("1.20.1", "12.6", None, OPEN), ("1.99.0", "13.0", "10.9.0", OPEN),
    ],
)  # fmt: skip
def test_tensorrt(version: str, cuda: str, tensorrt: str | None, verdict: Verdict) -> None:
    assert only(judged(RULES, ort(version, cuda), library("tensorrt", tensorrt)), TENSORRT).verdict is verdict


def test_no_tensorrt_no_row() -> None:
    assert judged(RULES, ort("1.22.0", "12.8")) == []


def test_torch_cu126_with_onnxruntime_1_27() -> None:
    row = only(judged(RULES, torch("2.7.0", "cu126"), ort("1.27.0")), TORCH)
    assert row.verdict is NO
    assert row.certain
    assert row.detail.startswith("torch 2.7.0 is built for CUDA 12.6, onnxruntime-gpu 1.27.0 for CUDA 13")
    assert "libcudnn.so.9" in row.detail
    assert "onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider" in row.source


def test_pairs_that_fit_and_pairs_that_cannot_be_told() -> None:
    assert only(judged(RULES, torch("2.11.0", "cu130"), ort("1.30.0", "13.0")), TORCH).verdict is YES
    assert only(judged(RULES, torch("2.7.0", "cu126"), ort("1.22.0")), TORCH).verdict is YES
    assert only(judged(RULES, torch("2.7.0", "cu126"), ort("1.99.0")), TORCH).verdict is OPEN
    other_cudnn = only(judged(RULES, torch("2.3.1", "cu121"), ort("1.20.1", "12.4")), TORCH)
    assert other_cudnn.verdict is OPEN
    assert "cuDNN 8" in other_cudnn.detail
    assert "cuDNN 9" in other_cudnn.detail


def test_other_environments_and_cpu_builds_are_no_pair() -> None:
    elsewhere = torch("2.7.0", "cu126")
    object.__setattr__(elsewhere, "target", "target:/opt/other")
    assert judged(RULES, elsewhere, ort("1.27.0")) == []
    assert judged(RULES, torch("2.7.0", "cu126"), wheel("onnxruntime", "1.30.0", build="cpu")) == []
    assert judged(RULES, wheel("torch", "2.7.0", build="cpu"), ort("1.27.0")) == []
