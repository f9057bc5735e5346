"""cuDNN against its consumers and the driver."""

import pytest

from infra_doctor.model.compatibility import Verdict
from infra_doctor_probes.tables.cudnn import RULES
from tests.probes.tables.stack import driver, judged, library, only, ort, system, torch, wheel

YES, NO, OPEN = Verdict.COMPATIBLE, Verdict.INCOMPATIBLE, Verdict.UNKNOWN
CONSUMER, DRIVER = "cudnn-consumer", "cudnn-driver"


@pytest.mark.parametrize(
    ("version", "cuda", "cudnn", "verdict"),
    [
        ("1.18.0", "12.4", "8.9.7.29", YES),
        ("1.18.0", "12.4", "9.1.0.70", NO),
        ("1.18.1", "12.4", "9.1.0.70", YES),
        ("1.18.1", "12.4", "8.9.7.29", NO),
        ("1.18.1", "11.8", "8.9.7.29", YES),
        ("1.19.2", "11.8", "8.9.7.29", YES),
        ("1.20.1", "11.8", "9.1.0.70", NO),
        ("1.20.1", "12.6", "9.5.1.17", YES),
        ("1.7.0", "11.0", "8.0.4", YES),
        ("1.7.0", "11.0", "9.1.0", NO),
        ("1.12.1", "11.4", "8.2.4", YES),
        ("1.23.1", "12.8", "9.10.2", YES),
        ("1.30.0", "13.0", "9.14.0", YES),
        ("1.19.2", "13.0", "9.14.0", OPEN),  # no such build is known
        ("1.99.0", "13.0", "9.14.0", OPEN),
        ("1.6.0", "10.2", "8.0.3", OPEN),
    ],
)
def test_onnxruntime_by_version_and_cuda_build(version: str, cuda: str, cudnn: str, verdict: Verdict) -> None:
    user = ort(version, cuda)
    copy = library("cudnn", cudnn, cuda=int(cuda.split(".")[0]), loaded_by=[user], order="onnxruntime")
    row = only(judged(RULES, user, copy), CONSUMER)
    assert row.verdict is verdict
    assert f"onnxruntime-gpu {version}" in row.detail
    assert cudnn in row.detail
    assert row.certain


def test_the_wheels_own_word_beats_the_table() -> None:
    user = ort("1.18.0", "12.4", cudnn="9.*")
    row = only(judged(RULES, user, library("cudnn", "9.1.0", cuda=12, loaded_by=[user])), CONSUMER)
    assert row.verdict is YES
    assert row.source == "the wheel's own metadata"


def test_the_same_name_for_another_cuda_major_does_not_fit() -> None:
    user = ort("1.30.0", "13.0")
    row = only(
        judged(RULES, user, library("cudnn", "9.10.2", cuda=12, loaded_by=[user], order="torch, onnxruntime")), CONSUMER
    )
    assert row.verdict is NO
    assert "libcudnn.so.9" in row.detail
    assert "torch, onnxruntime" in row.detail
    unknown_build = only(judged(RULES, user, library("cudnn", "9.14.0", loaded_by=[user])), CONSUMER)
    assert unknown_build.verdict is YES
    assert "not known" in unknown_build.detail


def test_a_copy_on_disk_counts_only_if_nothing_better_is_there() -> None:
    user = torch("2.11.0", "cu130")
    right, wrong = library("cudnn", "9.19.0", cuda=13), library("cudnn", "8.9.7", cuda=12, inside=False)
    assert [r.verdict for r in judged(RULES, user, right, wrong) if r.rule == CONSUMER] == [YES]
    assert [r.verdict for r in judged(RULES, user, wrong) if r.rule == CONSUMER] == [NO]
    loaded = library("cudnn", "8.9.7", cuda=12, inside=False, loaded_by=[user])
    rows = [r for r in judged(RULES, user, right, loaded) if r.rule == CONSUMER]
    assert [(r.right, r.verdict) for r in rows] == [(loaded.key, NO)]


def test_torch_tensorflow_and_jax() -> None:
    assert only(judged(RULES, torch("2.3.1", "cu121"), library("cudnn", "9.1.0", cuda=12)), CONSUMER).verdict is NO
    assert only(judged(RULES, torch("2.4.0", "cu118"), library("cudnn", "9.1.0", cuda=11)), CONSUMER).verdict is YES
    assert only(judged(RULES, torch("9.9.0", "cu150"), library("cudnn", "9.1.0", cuda=15)), CONSUMER).verdict is OPEN
    assert (
        only(judged(RULES, wheel("tensorflow", "2.17.1"), library("cudnn", "9.1.0", cuda=12)), CONSUMER).verdict is NO
    )
    assert (
        only(judged(RULES, wheel("tensorflow", "2.18.1"), library("cudnn", "9.3.0", cuda=12)), CONSUMER).verdict is YES
    )
    jax = (wheel("jax", "0.10.0"), wheel("jax-cuda12-plugin", "0.10.0"))
    assert only(judged(RULES, *jax, library("cudnn", "9.10.2.21", cuda=12)), CONSUMER).verdict is YES
    assert only(judged(RULES, *jax, library("cudnn", "9.5.1.17", cuda=12)), CONSUMER).verdict is NO
    assert judged(RULES, jax[1], library("cudnn", "9.5.1.17", cuda=12)) == []  # without jax nobody asks for a range


def test_a_version_that_nobody_could_read_is_unknown() -> None:
    user = torch("2.11.0", "cu130")
    assert only(judged(RULES, user, library("cudnn", None, cuda=13, loaded_by=[user])), CONSUMER).verdict is OPEN


@pytest.mark.parametrize(
    ("cudnn", "cuda", "version", "verdict"),
    [
        ("9.17.0", 13, "580.159.04", YES),
        ("9.17.0", 13, "575.57.08", NO),
        ("9.19.0", 13, "580.159.04", YES),  # its row is not certain: the CUDA family's floor speaks
        ("9.19.0", 13, "550.54.15", NO),
        ("9.5.1.17", 12, "470.82.01", NO),
        ("9.5.1.17", 11, "470.82.01", YES),
        ("9.30.0", 14, "620.70.06", OPEN),
    ],
)
def test_the_driver(cudnn: str, cuda: int, version: str, verdict: Verdict) -> None:
    user = torch("2.11.0", f"cu{cuda}0")
    row = only(judged(RULES, driver(version), user, library("cudnn", cudnn, cuda=cuda, loaded_by=[user])), DRIVER)
    assert row.verdict is verdict


def test_the_driver_is_not_judged_on_wsl_or_for_an_unknown_build() -> None:
    user = torch("2.11.0", "cu130")
    copy = library("cudnn", "9.19.0", cuda=13, loaded_by=[user])
    assert all(r.rule != DRIVER for r in judged(RULES, driver("550.54.15"), system(wsl=True), user, copy))
    unknown = library("cudnn", "9.19.0", loaded_by=[user])
    assert all(r.rule != DRIVER for r in judged(RULES, driver("550.54.15"), user, unknown))
