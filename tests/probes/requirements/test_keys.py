"""What holds for every key: it names what is there, reads its own example, and takes nothing for absent that nobody saw."""

import tomllib

import pytest

from infra_doctor.model.finding import Status
from infra_doctor.model.plugins import PolicyKey
from infra_doctor.model.report import ProbeOutcome
from infra_doctor.policy.specs import read_spec
from infra_doctor.runner import registry
from tests.probes.requirements.machines import JUDGING, KEYS, blind, context, judged, nothing

PROBES = {p.id for p in JUDGING.probes}
IDS = {c.id for c in JUDGING.checks}
each = pytest.mark.parametrize("key", KEYS, ids=lambda k: k.key)


def requirement(key: PolicyKey) -> str:
    return key.key.replace("*", "torch")


@each
def test_it_is_described(key: PolicyKey) -> None:
    assert set(key.probes) <= PROBES
    assert set(key.explained_by) <= IDS
    assert len(set(key.explained_by)) == len(key.explained_by)
    assert key.title
    assert not key.title.endswith(".")
    value = tomllib.loads(f"example = {key.example}")["example"]
    assert read_spec(key.kind, value).kind is key.kind


# Targets are looked for before any probe.
@pytest.mark.parametrize("key", [k for k in KEYS if k.key != "python"], ids=lambda k: k.key)
@pytest.mark.parametrize("status", [Status.ERROR, Status.SKIP])
def test_what_nobody_looked_at_is_not_absent(key: PolicyKey, status: Status) -> None:
    outcome = ProbeOutcome(id="", version=1, status=status, reason="not visible: kernel state of a rooted machine")
    everything = nothing(outcome, tuple(PROBES))
    for text in (requirement(key), f"{requirement(key)}=false"):
        finding = judged(text, everything)
        assert finding.status is Status.ERROR, (text, finding.title)
        assert "not visible" in finding.detail


@each
def test_nothing_at_all_meets_no_requirement(key: PolicyKey) -> None:
    passed = ProbeOutcome(id="", version=1, status=Status.PASS)
    finding = judged(requirement(key), nothing(passed, tuple(PROBES)))
    assert finding.status in {Status.FAIL, Status.ERROR}
    assert finding.detail or finding.title.endswith("is 0")


def test_no_key_is_offered_by_two() -> None:
    names = [k.key for k in KEYS]
    assert len(set(names)) == len(names)
    assert not registry.load(("requirements",), third_party=False).failures


def test_a_count_is_at_least_what_was_seen() -> None:
    looked_at = blind(context("healthy-8-gpus"), "amd-gpu")
    assert judged("gpu.count>=8", looked_at).status is Status.PASS
    assert judged("gpu.count>=9", looked_at).status is Status.ERROR
    assert judged("gpu.count<=7", looked_at).status is Status.FAIL
    assert "8 seen" in judged("gpu.count>=9", looked_at).detail


def test_the_gpus_of_a_probe_that_was_abandoned_are_not_absent() -> None:
    looked_at = blind(context("cpu-only"), "nvidia-gpu")
    for name in (
        "gpu.count",
        "gpu.model",
        "gpu.memory",
        "driver",
        "gpu.compute_capability",
        "gpu.nvlink",
        "cuda.driver_api",
    ):
        finding = judged(name, looked_at)
        assert finding.status is Status.ERROR, name
        assert "not done within 20 s" in finding.detail, name
