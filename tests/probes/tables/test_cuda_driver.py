"""The driver against CUDA families: minor-version compatibility, WSL2, forward compatibility, unknown majors."""

import pytest

from infra_doctor.model.compatibility import Verdict
from infra_doctor.model.component import Component
from infra_doctor_probes.detect.wheels import OnnxRuntimeBuild
from infra_doctor_probes.tables.cuda_driver import RULES
from tests.probes.tables.stack import (
    TARGET,
    driver,
    gpu,
    judged,
    library,
    only,
    ort,
    system,
    toolkit,
    torch,
    verdicts,
    wheel,
)

YES, NO, OPEN = Verdict.COMPATIBLE, Verdict.INCOMPATIBLE, Verdict.UNKNOWN
FAMILY = "cuda-driver-family"


def compat(version: str | None) -> Component:
    path = f"/usr/local/cuda-13.0/compat/libcuda.so.{version}"
    return Component(
        key=f"libcuda:{path}", kind="libcuda", name="libcuda", version=version, location=path, origin="cuda-compat",
        attributes={"first": True, "on_loader_path": True},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("tag", "version", "verdict"),
    [
        ("cu130", "580.159.04", YES), ("cu130", "580.65.06", YES), ("cu130", "575.57.08", NO), ("cu130", "550.54.15", NO),
        ("cu132", "580.65.06", YES), ("cu126", "550.54.15", YES), ("cu128", "525.60.13", YES), ("cu121", "520.61.05", NO),
        ("cu118", "450.80.02", YES), ("cu118", "450.51.06", NO), ("cu118", "610.43.02", YES), ("cu140", "620.70.06", OPEN),
    ],
)  # fmt: skip
def test_families(tag: str, version: str, verdict: Verdict) -> None:
    row = only(judged(RULES, driver(version), torch("2.11.0", tag)), FAMILY)
    assert row.verdict is verdict
    assert row.certain
    assert version in row.detail


def test_550_runs_a_wheel_for_12_6_and_says_why() -> None:
    row = only(judged(RULES, driver("550.54.15"), torch("2.7.0", "cu126")), FAMILY)
    assert row.verdict is YES
    assert '"550 allows 12.4 at most" is wrong' in row.detail
    assert "minor-version compatibility" in row.detail
    assert "Not covered: PTX compiled at run time" in row.detail
    assert row.source.startswith("docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html")
    plain = only(judged(RULES, driver("550.54.15"), torch("2.5.0", "cu124")), FAMILY)
    assert "at most" not in plain.detail


def test_what_the_driver_was_asked_beats_the_table_of_branches() -> None:
    row = only(judged(RULES, driver("550.54.15", cuda_api="12.2"), torch("2.5.0", "cu124")), FAMILY)
    assert '"550 allows 12.2 at most" is wrong' in row.detail


@pytest.mark.parametrize(
    ("tag", "version", "verdict"),
    [("cu126", "528.33", YES), ("cu126", "525.85", NO), ("cu130", "581.15", YES), ("cu130", "577.00", NO)],
)
def test_wsl_has_the_floors_of_windows(tag: str, version: str, verdict: Verdict) -> None:
    row = only(judged(RULES, driver(version), torch("2.11.0", tag), system(wsl=True)), FAMILY)
    assert row.verdict is verdict
    assert "Windows driver" in row.detail


@pytest.mark.parametrize(
    ("name", "version", "verdict"),
    [
        ("NVIDIA H200", "580.65.06", YES),
        ("NVIDIA A100-SXM4-80GB", "580.95.05", YES),
        ("Tesla T4", "580.65.06", YES),
        ("NVIDIA GeForce RTX 4090", "580.65.06", NO),
        ("NVIDIA RTX A6000", "580.65.06", OPEN),
        ("NVIDIA H200", None, OPEN),
        ("NVIDIA H200", "575.57.08", NO),  # the compat library is itself older than CUDA 13 needs
    ],
)
def test_forward_compatibility_is_for_data_centre_gpus(name: str, version: str | None, verdict: Verdict) -> None:
    row = only(judged(RULES, driver("550.54.15"), torch("2.11.0", "cu130"), compat(version), gpu(name, "9.0")), FAMILY)
    assert row.verdict is verdict
    if version == "580.65.06":
        assert "cuda-compat" in row.detail
        assert row.source.endswith("forward-compatibility.html")


def test_a_compat_library_that_is_not_first_lifts_nothing() -> None:
    idle = Component(
        key="libcuda:/usr/local/cuda-13.0/compat/libcuda.so.580.65.06", kind="libcuda", name="libcuda",
        version="580.65.06", location="/usr/local/cuda-13.0/compat/libcuda.so.580.65.06", attributes={"first": False},
    )  # fmt: skip
    rows = judged(RULES, driver("550.54.15"), torch("2.11.0", "cu130"), idle, gpu("NVIDIA H200", "9.0"))
    assert only(rows, FAMILY).verdict is NO
    without_gpu = judged(RULES, driver("550.54.15"), torch("2.11.0", "cu130"), compat("580.65.06"))
    assert only(without_gpu, FAMILY).verdict is OPEN


@pytest.mark.parametrize(
    ("name", "version", "verdict"),
    [
        ("cupy-cuda13x", "13.6.0", NO), ("cupy-cuda12x", "13.6.0", YES), ("jax-cuda13-plugin", "0.8.0", NO),
        ("nvidia-cuda-runtime-cu12", "12.8.90", YES), ("nvidia-cuda-runtime", "13.0.96", NO), ("tensorflow", "2.99.0", OPEN),
    ],
)  # fmt: skip
def test_consumers_by_name_version_and_table(name: str, version: str, verdict: Verdict) -> None:
    assert only(judged(RULES, driver("550.54.15"), wheel(name, version)), FAMILY).verdict is verdict


def test_tensorflow_counts_where_cuda_libraries_are_there() -> None:
    tensorflow = wheel("tensorflow", "2.20.0")
    assert judged(RULES, driver("470.256.02"), tensorflow) == []
    with_runtime = judged(RULES, driver("470.256.02"), tensorflow, library("cudart", "12.5.82", cuda=12))
    assert only(with_runtime, FAMILY).verdict is NO
    assert (
        only(judged(RULES, driver("550.54.15"), tensorflow, library("cudart", "12.5.82", cuda=12)), FAMILY).verdict
        is YES
    )
    assert judged(RULES, driver("470.256.02"), tensorflow, library("cudart", "11.8.89", cuda=11)) == []


@pytest.mark.parametrize(
    ("version", "cuda_api", "tag", "verdict"),
    [
        ("580.00", "13.0", "cu130", YES), ("580.00", None, "cu130", OPEN), ("35.4.1", "11.4", "cu114", YES),
        ("35.4.1", None, "cu114", OPEN), ("540.4.0", "12.6", "cu130", NO), ("540.4.0", "12.6", "cu126", YES),
        ("450.51.06", "11.0", "cu118", NO), ("450.51.06", "11.0", "cu110", YES), ("550.54.15", "13.0", "cu130", NO),
    ],
)  # fmt: skip
def test_drivers_with_numbers_of_their_own(version: str, cuda_api: str | None, tag: str, verdict: Verdict) -> None:
    offers = {"cuda_api": cuda_api} if cuda_api else {}
    assert only(judged(RULES, driver(version, **offers), torch("2.9.0", tag)), FAMILY).verdict is verdict


@pytest.mark.parametrize(
    ("version", "cuda", "verdict"),
    [
        ("1.27.0", None, NO), ("1.26.0", None, YES), ("1.31.1", None, NO), ("1.23.1", None, YES), ("1.99.0", None, OPEN),
        ("1.99.0", "12.8", YES), ("1.6.0", None, OPEN),
    ],
)  # fmt: skip
def test_onnxruntime_by_its_own_word_then_by_the_table(version: str, cuda: str | None, verdict: Verdict) -> None:
    row = only(judged(RULES, driver("550.54.15"), ort(version, cuda)), FAMILY)
    assert row.verdict is verdict
    if version == "1.99.0" and cuda is None:
        assert "newer than the table" in row.detail


def test_what_is_no_cuda_consumer_has_no_row() -> None:
    cpu = wheel("torch", "2.11.0+cpu", build="cpu")
    lookalike = wheel("torch", "2.5.1+das", build="das", cuda="12.4")
    plain = wheel("onnxruntime", "1.30.0", build="cpu")
    for component in (cpu, lookalike, plain, wheel("nvidia-nccl-cu13", "2.28.9")):
        assert judged(RULES, driver("450.51.06"), component) == []
    assert judged(RULES, torch("2.11.0", "cu130")) == []  # no driver


def test_an_overwritten_onnxruntime_is_no_consumer() -> None:
    gpu_wheel, cpu_wheel = ort("1.30.0"), wheel("onnxruntime", "1.30.0", build="cpu")
    on_disk = OnnxRuntimeBuild(
        wheel=cpu_wheel.key, target=TARGET, version="1.30.0", package_name="onnxruntime", build="cpu", cuda=None, cudnn=None,
        distributions=(gpu_wheel.key, cpu_wheel.key), providers=(), has_preload_dlls=True, opens_cudnn_late=False,
    )  # fmt: skip
    assert judged(RULES, driver("550.54.15"), gpu_wheel, cpu_wheel, facts=(on_disk,)) == []


def test_a_toolkit_has_its_own_rule_and_says_that_wheels_do_not_care() -> None:
    rows = judged(RULES, driver("550.54.15"), toolkit("13.0"), toolkit("12.6"))
    assert {(r.left, r.verdict) for r in rows} == {
        ("cuda-toolkit:/usr/local/cuda-13.0", NO),
        ("cuda-toolkit:/usr/local/cuda-12.6", YES),
    }
    assert {r.rule for r in rows} == {"toolkit-driver-family"}
    assert all("wheels bring their own CUDA" in r.detail for r in rows)


def test_an_unreadable_driver_version_is_unknown() -> None:
    assert verdicts(judged(RULES, driver("garbage"), torch("2.11.0", "cu130"))) == {(FAMILY, OPEN)}
