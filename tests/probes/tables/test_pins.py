"""torch's pins, what pins torch, JAX, NCCL's known faults, glibc and Python."""

from dataclasses import replace

import pytest

from infra_doctor.model.compatibility import Verdict
from infra_doctor_probes.tables import jax, nccl, torch_pins, wheel_floors
from tests.probes.tables.stack import context, glibc, judged, library, metadata, only, python, system, torch, wheel

YES, NO, OPEN = Verdict.COMPATIBLE, Verdict.INCOMPATIBLE, Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("name", "version", "verdict"),
    [
        ("nvidia-cudnn-cu13", "9.19.0.56", YES), ("nvidia-cudnn-cu13", "9.24.0.43", OPEN), ("nvidia-cudnn-cu13", "9.14.0.64", NO),
        ("nvidia-nccl-cu13", "2.28.9", YES), ("nvidia-nccl-cu13", "3.0.0", NO), ("cuda-toolkit", "13.0.2", YES),
    ],
)  # fmt: skip
def test_pins_of_the_default_build_by_table(name: str, version: str, verdict: Verdict) -> None:
    row = only(judged(torch_pins.RULES, torch("2.11.0+cu130", "cu130"), wheel(name, version)), "torch-pins")
    assert row.verdict is verdict
    assert "pypi:torch==2.11.0 METADATA" in row.source


def test_other_builds_are_judged_by_their_own_metadata_alone() -> None:
    user, nccl_wheel = torch("2.11.0+cu126", "cu126"), wheel("nvidia-nccl-cu12", "2.28.9")
    assert judged(torch_pins.RULES, user, nccl_wheel) == []
    said = metadata(user, 'nvidia-nccl-cu12==2.27.5; platform_system == "Linux"', "nvidia-cudnn-cu12==9.10.2.21")
    row = only(judged(torch_pins.RULES, user, nccl_wheel, facts=(said,)), "torch-pins")
    assert row.verdict is OPEN  # newer, of the same major
    assert row.source.startswith("METADATA of torch 2.11.0+cu126: nvidia-nccl-cu12==2.27.5")
    older = only(judged(torch_pins.RULES, user, wheel("nvidia-nccl-cu12", "2.26.2"), facts=(said,)), "torch-pins")
    assert older.verdict is NO
    not_here = metadata(user, 'nvidia-nccl-cu12==2.27.5; platform_machine == "aarch64"')
    assert judged(torch_pins.RULES, user, nccl_wheel, facts=(not_here,)) == []
    open_marker = metadata(user, 'nvidia-nccl-cu12==2.20.5; python_version < "3.11"')
    hint = only(judged(torch_pins.RULES, user, wheel("nvidia-nccl-cu12", "1.0"), facts=(open_marker,)), "torch-pins")
    assert (hint.verdict, hint.certain) == (OPEN, False)


def test_triton_torchvision_and_serving() -> None:
    def verdict(rule: str, *components: object) -> Verdict:
        return only(judged(torch_pins.RULES, *components), rule).verdict  # type: ignore[arg-type]

    user = torch("2.11.0", "cu130")
    assert verdict("triton-torch", user, wheel("triton", "3.6.0")) is YES
    assert verdict("triton-torch", user, wheel("triton", "3.7.0")) is NO
    assert verdict("triton-torch", torch("2.14.1", "cu130"), wheel("triton", "3.8.4")) is YES  # ~=3.8.0
    assert verdict("triton-torch", torch("9.9.9", "cu150"), wheel("triton", "3.6.0")) is OPEN
    assert verdict("torchvision-torch", user, wheel("torchvision", "0.26.0+cu130")) is YES
    assert verdict("torchvision-torch", user, wheel("torchvision", "0.25.0")) is NO
    assert verdict("torchvision-torch", torch("2.15.0", "cu132"), wheel("torchvision", "0.29.2")) is YES
    assert verdict("torchvision-torch", user, wheel("torchvision", "0.99.0")) is OPEN
    assert verdict("serving-torch", torch("2.14.0", "cu130"), wheel("vllm", "0.33.0")) is YES
    assert verdict("serving-torch", user, wheel("vllm", "0.33.0")) is NO
    assert verdict("serving-torch", torch("2.14.1", "cu130"), wheel("sglang", "0.5.23")) is YES
    assert verdict("serving-torch", user, wheel("xformers", "0.0.35")) is YES
    assert verdict("serving-torch", user, wheel("vllm", "9.9.9")) is OPEN
    assert judged(torch_pins.RULES, user, wheel("torchaudio", "2.11.0")) == []  # no table, nobody read its metadata


def test_metadata_beats_the_table_of_serving_stacks() -> None:
    vllm, user = wheel("vllm", "0.33.0"), torch("2.11.0", "cu130")
    patched = metadata(vllm, "torch>=2.10")
    assert only(judged(torch_pins.RULES, vllm, user, facts=(patched,)), "serving-torch").verdict is YES


def test_jax() -> None:
    jax_wheel = wheel("jax", "0.10.0")
    assert only(judged(jax.RULES, jax_wheel, wheel("jaxlib", "0.10.0")), "jax-jaxlib").verdict is YES
    assert only(judged(jax.RULES, jax_wheel, wheel("jaxlib", "0.9.2")), "jax-jaxlib").verdict is NO
    assert only(judged(jax.RULES, jax_wheel, wheel("jax-cuda12-plugin", "0.10.0")), "jax-plugin").verdict is YES
    assert only(judged(jax.RULES, jax_wheel, wheel("jax-cuda13-plugin", "0.8.0")), "jax-plugin").verdict is NO
    newer = only(judged(jax.RULES, wheel("jax", "1.0.0"), wheel("jaxlib", "1.0.0")), "jax-jaxlib")
    assert newer.verdict is OPEN
    assert "newer than the table" in newer.detail
    said = metadata(jax_wheel, "jaxlib<=0.9.2,>=0.9.2")
    assert only(judged(jax.RULES, jax_wheel, wheel("jaxlib", "0.9.2"), facts=(said,)), "jax-jaxlib").verdict is YES


def test_known_faults_of_nccl_are_hints_on_their_own_architecture() -> None:
    user = torch("2.11.0", "cu130")
    loaded = library("nccl", "2.28.9", loaded_by=[user])
    assert judged(nccl.RULES, system(), user, loaded) == []
    on_arm = judged(nccl.RULES, system(arch="aarch64"), user, loaded)
    assert [(r.left, r.right, r.verdict, r.certain) for r in on_arm] == [(loaded.key, user.key, OPEN, False)]
    assert "GB200" in on_arm[0].detail
    hang = judged(nccl.RULES, system(), user, library("nccl", "2.29.2", loaded_by=[user]))
    assert ["hang regression" in r.detail for r in hang] == [True]
    assert judged(nccl.RULES, system(), user, library("nccl", "2.29.2")) == []  # nothing loads it


@pytest.mark.parametrize(
    ("name", "version", "libc", "verdict"),
    [
        ("torch", "2.11.0", "2.39", YES), ("torch", "2.11.0", "2.17", NO), ("onnxruntime-gpu", "1.31.1", "2.27", NO),
        ("vllm", "0.33.0", "2.28", YES), ("openvino", "2022.1.0", "2.26", NO),
    ],
)  # fmt: skip
def test_glibc_by_table(name: str, version: str, libc: str, verdict: Verdict) -> None:
    row = only(judged(wheel_floors.RULES, wheel(name, version), glibc(libc), system()), "glibc-floor")
    assert row.verdict is verdict
    assert libc in row.detail


def test_glibc_by_the_wheels_own_tag() -> None:
    user = wheel("torch", "2.11.0")
    said = metadata(user, min_glibc="2.34")
    assert only(judged(wheel_floors.RULES, user, glibc("2.31"), facts=(said,)), "glibc-floor").verdict is NO
    built_here = metadata(user, "triton==3.6.0")
    assert judged(wheel_floors.RULES, user, glibc("2.17"), facts=(built_here,)) == []
    assert (
        judged(wheel_floors.RULES, user, glibc("2.17"), system(arch="aarch64")) == []
    )  # x86_64 tags say nothing of it


def test_python() -> None:
    assert only(judged(wheel_floors.RULES, wheel("torch", "2.11.0"), python("3.12.3")), "python-floor").verdict is YES
    assert only(judged(wheel_floors.RULES, wheel("torch", "2.15.0"), python("3.10.12")), "python-floor").verdict is NO
    user = wheel("vllm", "0.33.0")
    said = metadata(user, requires_python="<3.15,>=3.11")
    assert only(judged(wheel_floors.RULES, user, python("3.15.0"), facts=(said,)), "python-floor").verdict is NO
    assert judged(wheel_floors.RULES, wheel("unknown-thing", "1.0"), python("3.9")) == []


def test_the_targets_own_python_serves_where_no_component_was_seen() -> None:
    ctx = context(wheel("torch", "2.15.0"))
    target = replace(ctx.targets[0], python_version="3.10.12")
    ctx.targets = (target,)
    row = only((r for rule in wheel_floors.RULES for r in rule.judge(ctx)), "python-floor")
    assert (row.right, row.verdict) == (target.key, NO)
