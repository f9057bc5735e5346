"""All rules at once: a healthy machine, a machine where nothing fits, and what uncertain rows may say."""

from dataclasses import replace

import pytest

from infra_doctor.compat.table import Row, Table, load_table
from infra_doctor.model.compatibility import Verdict
from infra_doctor.model.component import Component
from infra_doctor.model.plugins import CompatibilityRule
from infra_doctor_probes.tables import (
    common,
    cuda_driver,
    cudnn,
    jax,
    nccl,
    onnxruntime,
    torch_pins,
    wheel_arch,
    wheel_floors,
)
from infra_doctor_probes.tables import gpu as gpu_rules
from tests.probes.tables.stack import driver, glibc, gpu, judged, library, ort, python, system, toolkit, torch, wheel

MODULES = (cuda_driver, gpu_rules, wheel_arch, cudnn, onnxruntime, torch_pins, jax, nccl, wheel_floors)
RULES: list[CompatibilityRule] = [rule for module in MODULES for rule in module.RULES]
# Rules that rest on the wheels' own words and a vendor's page, and need no table row for it.
WITHOUT_TABLE = {"gpu-cuda13-floor", "torch-ort-cuda", "ort-cuda-build"}


def healthy() -> list[Component]:
    """An H200 machine as recorded: two cuDNN, two NCCL, a CPU build of ONNX Runtime."""
    user = torch("2.11.0+cu130", "cu130")
    return [
        system(), glibc("2.39"), python("3.12.3"), driver("580.159.04", cuda_api="13.0", branch="R580"),
        gpu("NVIDIA H200", "9.0", seen_by="nvml"), gpu("NVIDIA H200", "9.0", address="0000:00:07.0", seen_by="nvml"),
        toolkit("13.0.88"), user, wheel("triton", "3.6.0"), wheel("onnxruntime", "1.30.0", build="cpu"),
        wheel("torchvision", "0.26.0+cu130"), wheel("nvidia-cudnn-cu13", "9.19.0.56"), wheel("nvidia-nccl-cu13", "2.28.9"),
        wheel("nvidia-cuda-runtime", "13.0.96"), wheel("cuda-toolkit", "13.0.2"),
        library("cudnn", "9.19.0", cuda=13, loaded_by=[user]), library("cudnn", "9.14.0", inside=False),
        library("nccl", "2.28.9", loaded_by=[user]), library("nccl", "2.28.3", inside=False),
        library("cudart", "13.0.96", cuda=13, loaded_by=[user]),
    ]  # fmt: skip


def broken() -> list[list[Component]]:
    """Machines in which each rule finds something that does not fit."""
    new_torch, old_ort = torch("2.11.0", "cu130"), ort("1.17.1", "11.8")
    return [
        [driver("470.82.01"), new_torch, toolkit("13.0"), library("cudnn", "9.17.0", cuda=13, loaded_by=[new_torch])],
        [driver("550.54.15"), gpu("NVIDIA GeForce RTX 5090", "12.0"), toolkit("12.4"), torch("2.9.1", "cu126")],
        [driver("590.48.01"), gpu("V100", "7.0"), wheel("jax-cuda13-plugin", "0.10.0"), wheel("jax", "0.12.0"),
         wheel("jaxlib", "0.9.0"), library("cudnn", "9.17.0", cuda=13)],
        [old_ort, library("cudart", "12.8.90", cuda=12), library("tensorrt", "10.0.1"), library("cudnn", "9.1.0", cuda=12)],
        [torch("2.7.0", "cu126"), ort("1.30.0", "13.0"), wheel("triton", "3.6.0"), wheel("torchvision", "0.26.0"),
         wheel("vllm", "0.33.0")],
        [new_torch, wheel("nvidia-cudnn-cu13", "9.14.0.64"), glibc("2.17"), python("3.9.1"), system()],
    ]  # fmt: skip


def test_a_healthy_machine_is_compatible_in_every_pair() -> None:
    rows = judged(RULES, *healthy())
    assert [r for r in rows if r.verdict is not Verdict.COMPATIBLE] == []
    assert {r.rule for r in rows} >= {
        "cuda-driver-family", "toolkit-driver-family", "gpu-driver-branch", "gpu-toolkit", "gpu-wheel-arch",
        "gpu-cuda13-floor", "cudnn-consumer", "cudnn-driver", "torch-pins", "triton-torch", "torchvision-torch",
        "glibc-floor", "python-floor",
    }  # fmt: skip
    assert len({(r.rule, r.left, r.right) for r in rows}) == len(rows)


def test_every_rule_but_hints_can_say_no() -> None:
    found = {r.rule for machine in broken() for r in judged(RULES, *machine) if r.verdict is Verdict.INCOMPATIBLE}
    assert found == {r.id for r in RULES} - {"nccl-known-bad"}


def test_no_uncertain_row_gives_incompatible(monkeypatch: pytest.MonkeyPatch) -> None:
    def uncertain(path: str) -> Table:
        table = load_table(path)
        return replace(table, rows=tuple(Row(r.cells, r.source, False) for r in table.rows))

    monkeypatch.setattr(common, "load_table", uncertain)
    for machine in (*broken(), healthy()):
        for row in judged(RULES, *machine):
            if row.rule not in WITHOUT_TABLE:
                assert row.verdict is not Verdict.INCOMPATIBLE, row
            if not row.certain:
                assert row.verdict is Verdict.UNKNOWN
                assert row.detail.startswith("hint: ")


def test_a_build_known_from_an_uncertain_row_alone_is_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    def uncertain(path: str) -> Table:
        table = load_table(path)
        return replace(table, rows=tuple(Row(r.cells, r.source, False) for r in table.rows))

    machine = [torch("2.7.0", "cu126"), ort("1.27.0"), library("cudart", "12.8.90", cuda=12), gpu("V100", "7.0")]
    certain = {(r.rule, r.verdict) for r in judged(RULES, *machine) if r.rule in WITHOUT_TABLE}
    assert certain == {(rule, Verdict.INCOMPATIBLE) for rule in WITHOUT_TABLE}
    monkeypatch.setattr(common, "load_table", uncertain)
    hints = {(r.rule, r.verdict, r.certain) for r in judged(RULES, *machine) if r.rule in WITHOUT_TABLE}
    assert hints == {(rule, Verdict.UNKNOWN, False) for rule in WITHOUT_TABLE}


def test_rows_name_a_source_and_both_sides() -> None:
    for machine in (*broken(), healthy()):
        keys = {c.key for c in machine}
        for row in judged(RULES, *machine):
            assert {row.left, row.right} <= keys
            assert row.source.strip(), row
            assert len(row.detail) < 700
            assert row.detail.endswith("."), row.detail


def test_a_machine_without_accelerators_has_no_rows_and_loads_no_tables() -> None:
    load_table.cache_clear()
    assert judged(RULES, system(), glibc("2.39"), python("3.12.3")) == []
    assert load_table.cache_info().currsize == 0


def test_rules_are_documented() -> None:
    assert len({r.id for r in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.title
        assert len(rule.explanation) > 40
        assert rule.sources
        assert all(s.startswith("https://") for s in rule.sources), rule.id


@pytest.mark.parametrize(
    "version",
    ["", "x", "9" * 30 + ".1", "2.11.0" + "+" * 50, "２.１", "1..2", pytest.param("9" * 5000, id="5000 digits")],
)
def test_garbage_versions_never_raise(version: str) -> None:
    components = [replace(c, version=version) for c in healthy()]
    for row in judged(RULES, *components):
        assert row.verdict in set(Verdict)
