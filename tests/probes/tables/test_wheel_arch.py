"""Compute capability against the code in wheels."""

import pytest

from infra_doctor.model.compatibility import Verdict
from infra_doctor.model.component import Component
from infra_doctor_probes.tables.wheel_arch import RULES, runs_on, torch_advice
from tests.probes.tables.stack import context, driver, gpu, judged, library, only, ort, system, torch, verdicts, wheel

YES, NO, OPEN = Verdict.COMPATIBLE, Verdict.INCOMPATIBLE, Verdict.UNKNOWN
WHEEL, FLOOR, JAX, CUDNN = "gpu-wheel-arch", "gpu-cuda13-floor", "gpu-jax", "gpu-cudnn"


@pytest.mark.parametrize(
    ("version", "tag", "cc", "verdict"),
    [
        ("2.11.0+cu130", "cu130", "9.0", YES),
        ("2.9.1", "cu126", "12.0", NO),
        ("2.9.1", "cu128", "12.0", YES),
        ("2.11.0", "cu130", "7.0", NO),
        ("2.11.0", "cu126", "7.0", YES),
        ("2.11.0", "cu126", "8.9", YES),  # code for 8.6 runs on 8.9
        ("2.12.1", "cu130", "12.1", YES),
        ("2.11.7", "cu130", "9.0", YES),  # a patch version shares the line's list
        ("2.6.0", "cu124", "9.0", OPEN),  # the list is inferred
        ("2.15.0", "cu132", "9.0", OPEN),  # the list was not found
        ("3.0.0", "cu140", "9.0", OPEN),
        ("2.11.0", "cu130", "8.7", OPEN),  # Orin
    ],
)
def test_torch(version: str, tag: str, cc: str, verdict: Verdict) -> None:
    row = only(judged(RULES, torch(version, tag), gpu("NVIDIA GPU", cc), system()), WHEEL)
    assert row.verdict is verdict
    assert f"compute capability {cc}" in row.detail
    assert version in row.detail


def test_newer_than_the_table_says_so() -> None:
    row = only(judged(RULES, torch("2.99.0", "cu150"), gpu("NVIDIA H200", "9.0")), WHEEL)
    assert row.verdict is OPEN
    assert "newer than the table" in row.detail
    inferred = only(judged(RULES, torch("2.6.0", "cu124"), gpu("NVIDIA B200", "10.0")), WHEEL)
    assert (inferred.verdict, inferred.certain) == (OPEN, False)


def test_the_platform_counts() -> None:
    on_arm = judged(RULES, torch("2.13.0", "cu130"), gpu("NVIDIA GPU", "7.5"), system(arch="aarch64"))
    assert only(on_arm, WHEEL).verdict is NO
    other = judged(RULES, torch("2.13.0", "cu130"), gpu("NVIDIA GPU", "7.5"), system(arch="riscv64"))
    assert only(other, WHEEL).verdict is OPEN


def test_suffixes_and_ptx() -> None:
    wheel_13 = torch("2.12.0", "cu130")
    new, old = driver("580.65.06", cuda_api="13.0"), driver("570.26", cuda_api="12.8")
    assert runs_on("9.0a", (9, 0), wheel_13, new)[0] is YES
    assert runs_on("9.0a", (9, 1), wheel_13, new)[0] is NO
    assert runs_on("10.0f", (10, 3), wheel_13, new)[0] is YES
    assert runs_on("8.0 12.0", (13, 0), wheel_13, new)[0] is NO
    assert runs_on("8.0 12.0+PTX", (13, 0), wheel_13, new)[0] is YES
    assert runs_on("8.0 12.0+PTX", (13, 0), wheel_13, old)[0] is OPEN
    assert runs_on("8.0 12.0+PTX", (13, 0), wheel_13, None)[0] is OPEN
    assert runs_on("9.0+PTX", (7, 5), wheel_13, new)[0] is NO
    assert runs_on("what", (9, 0), wheel_13, new)[0] is NO


def test_cuda_13_drops_volta_for_every_wheel() -> None:
    rows = judged(
        RULES,
        ort("1.30.0", "13.0"),
        wheel("cupy-cuda13x", "13.6.0"),
        wheel("cupy-cuda12x", "13.6.0"),
        gpu("V100", "7.0"),
    )
    assert {(r.right, r.verdict) for r in rows if r.rule == FLOOR} == {
        ("wheel:onnxruntime-gpu@/opt/venv", NO),
        ("wheel:cupy-cuda13x@/opt/venv", NO),
    }
    assert only(judged(RULES, ort("1.30.0", "13.0"), gpu("NVIDIA H200", "9.0")), FLOOR).verdict is YES


def test_jax() -> None:
    plugins = (wheel("jax-cuda12-plugin", "0.8.0"), wheel("jax-cuda13-plugin", "0.8.0"))
    rows = [r for r in judged(RULES, *plugins, gpu("V100", "7.0")) if r.rule == JAX]
    assert [r.verdict for r in rows] == [YES, NO]


def test_cudnn_by_its_matrix() -> None:
    user = torch("2.10.0", "cu128")
    volta = gpu("V100", "7.0")
    assert (
        only(judged(RULES, user, volta, library("cudnn", "9.10.2.21", cuda=12, loaded_by=[user])), CUDNN).verdict is YES
    )
    assert (
        only(judged(RULES, user, volta, library("cudnn", "9.17.0.29", cuda=12, loaded_by=[user])), CUDNN).verdict is NO
    )
    hint = only(judged(RULES, user, volta, library("cudnn", "9.19.0", cuda=12, loaded_by=[user])), CUDNN)
    assert (hint.verdict, hint.certain) == (OPEN, False)
    new = judged(RULES, user, volta, library("cudnn", "10.1.0", cuda=12, loaded_by=[user]))
    assert "newer than the table" in only(new, CUDNN).detail


def test_no_gpu_no_rows() -> None:
    assert judged(RULES, torch("2.11.0", "cu130"), ort("1.30.0", "13.0"), wheel("jax-cuda13-plugin", "0.8.0")) == []
    assert verdicts(judged(RULES, torch("2.11.0", "cu130"), gpu("NVIDIA GPU", None))) == set()


@pytest.mark.parametrize(
    ("version", "tag", "cc", "driver_version", "advice"),
    [
        ("2.6.0+cu126", "cu126", "12.0", "570.124.06", "Of the PyTorch releases in our tables, the nearest with builds for GPU and driver is 2.7: cu128."),
        ("2.11.0", "cu130", "7.0", "580.95.05", "PyTorch 2.11 has code for the GPU and fits the driver in these builds: cu126."),
        ("2.11.0", "cu130", "9.0", "550.90.07", "PyTorch 2.11 has code for the GPU and fits the driver in these builds: cu126, cu128."),
        ("2.7.0.dev20250310+cu124", "cu124", "12.0", "570.124.06", "is 2.7: cu128."),
        ("2.11.0", "cu130", "9.0", "470.256.02", "is 2.6: cu118."),
        ("2.11.0", "cu130", "3.0", "580.95.05", ""),
    ],
)  # fmt: skip
def test_advice_on_builds(version: str, tag: str, cc: str, driver_version: str, advice: str) -> None:
    wheel = torch(version, tag)
    said = torch_advice(context(wheel, gpu("a GPU", cc), driver(driver_version), system()), wheel)
    assert said.endswith(advice)
    assert bool(said) is bool(advice)


@pytest.mark.parametrize(
    ("version", "tag"), [("2.9.0.dev20250801+cu128", "cu128"), ("2.9.0a0+145a3a7bda.nv25.10", ""), ("2.7.1", "")]
)
def test_builds_that_are_not_pytorch_s_releases(version: str, tag: str) -> None:
    build = Component(
        key="wheel:torch@/opt/venv", kind="wheel", name="torch", version=version, target="target:/opt/venv",
        attributes={"build": "cuda", "cuda": "12.8", **({"tag": tag} if tag else {})},
    )  # fmt: skip
    assert only(judged(RULES, build, gpu("Tesla P40", "6.1")), "gpu-wheel-arch").verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("version", "tag", "cc", "verdict"),
    [
        ("2.7.0.dev20250310+cu124", "cu124", "12.0", NO), ("2.4.1+cu118", "cu118", "10.0", NO),
        ("2.7.0.dev20250310+cu128", "cu128", "12.0", OPEN), ("2.4.1+cu121", "cu121", "8.9", OPEN),
        ("2.4.1+cu121", "cu121", "9.0", OPEN),
    ],
)  # fmt: skip
def test_a_wheel_without_a_list_has_no_code_that_its_cuda_cannot_compile(
    version: str, tag: str, cc: str, verdict: Verdict
) -> None:
    assert only(judged(RULES, torch(version, tag), gpu("a GPU", cc), system()), WHEEL).verdict is verdict
