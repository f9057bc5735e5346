"""Requirements of any package of the stack on another: broken, kept, and those that are left to other rules."""

import pytest

from infra_doctor.model.compatibility import Verdict
from infra_doctor_probes.tables import stack_pins
from tests.probes.tables.stack import judged, metadata, only, torch, wheel

YES, NO, OPEN = Verdict.COMPATIBLE, Verdict.INCOMPATIBLE, Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("line", "version", "verdict"),
    [
        ("protobuf<5.0.0,>=3.20.3", "6.31.1", NO), ("protobuf<5.0.0,>=3.20.3", "4.25.3", YES), ("protobuf>=3.20.3", "3.19.6", NO),
        ('protobuf==4.25.3; platform_system == "Linux"', "4.25.3", YES), ("protobuf!=4.21.0,<5", "4.21.0", NO),
        ("protobuf==4.25.3", "5.0.0", NO), ("protobuf>=4.0", "4.0.0rc1", OPEN), ("protobuf==4.25.3", "4.25.3a0+nv25.10", OPEN),
    ],
)  # fmt: skip
def test_one_requirement(line: str, version: str, verdict: Verdict) -> None:
    asks, other = wheel("tensorflow", "2.17.0"), wheel("protobuf", version)
    row = only(judged(stack_pins.RULES, asks, other, facts=(metadata(asks, line),)), "stack-pins")
    assert (row.verdict, row.left, row.right) == (verdict, asks.key, other.key)
    assert row.source.startswith(f"METADATA of tensorflow 2.17.0: {line[:20]}") and version in row.detail


@pytest.mark.parametrize(
    "line",
    [
        "protobuf", "protobuf>=3.20.3", 'protobuf<5; extra == "dev"', 'protobuf<5; python_version < "3.10"', "other<1", "!!",
        'protobuf<5; platform_machine == "aarch64"',
    ],
)  # fmt: skip
def test_what_makes_no_row(line: str) -> None:
    asks, other = wheel("tensorflow", "2.17.0"), wheel("protobuf", "6.31.1")
    assert judged(stack_pins.RULES, asks, other, facts=(metadata(asks, line),)) == []


def test_pairs_with_a_rule_of_their_own_are_left_to_it() -> None:
    user = torch("2.11.0", "cu130")
    npu = wheel("torch-npu", "2.7.1")
    facts = (
        metadata(user, "nvidia-nccl-cu13==2.0", "triton==1.0", "numpy==1.0"), metadata(npu, "torch==2.7.1"),
        metadata(wheel("vllm", "0.11.0"), "torch==2.9.0"),
    )  # fmt: skip
    others = [
        wheel("nvidia-nccl-cu13", "2.28.9"),
        wheel("triton", "3.6.0"),
        wheel("numpy", "2.4.0"),
        wheel("vllm", "0.11.0"),
    ]
    rows = judged(stack_pins.RULES, user, npu, *others, facts=facts)
    assert [(r.left, r.right) for r in rows] == [(user.key, others[2].key)]
