"""A preset takes a check or says why not; nothing is left to chance."""

import pytest

from infra_doctor.runner import registry
from infra_doctor_probes.presets.builtin import CHOICES, PRESETS, THEMES, checks

JUDGING = registry.load(("checks", "presets"), third_party=False)
BY_ID = {c.id: c for c in JUDGING.checks}
# What a preset loses of the causes of what it judges: those of another stack, each looked at.
LOST = {
    "minimal": set(),
    "training": {"CANN-ENV", "TORCH-ORT-CUDA", "PY-CLOBBER-ORT"},
    "inference-torch": {"CANN-ENV", "TORCH-ORT-CUDA", "PY-CLOBBER-ORT"},
    "inference-ort": set(),
    "ascend": {"CTR-TOOLKIT", "CUDA-MAJOR", "CUDNN-MISSING", "CUDNN-MIX", "PY-CLOBBER-NV", "DRV-OLD", "ECC/XID", "GPU-SLOWDOWN", "ARCH"},
}  # fmt: skip
named = pytest.mark.parametrize("name", CHOICES)


def test_the_themes_are_all_checks_each_once() -> None:
    themed = checks(THEMES)
    assert set(themed) == set(BY_ID), "a check that is in no theme, or a theme with an id that is not there"
    assert len(set(themed)) == len(themed)


@named
def test_each_theme_is_taken_or_left_out_with_a_reason(name: str) -> None:
    _, taken, left_out = CHOICES[name]
    without = [theme for _, themes in left_out for theme in themes]
    assert all(reason for reason, _ in left_out)
    assert sorted((*taken, *without)) == sorted(THEMES), "a theme is in both, in none, or twice"


@named
def test_no_check_loses_the_cause_that_explains_it(name: str) -> None:
    taken = set(checks(CHOICES[name][1]))
    assert {cause for i in taken for cause in BY_ID[i].explained_by} - taken == LOST[name]


@pytest.mark.parametrize(
    ("name", "there", "not_there"),
    [
        ("minimal", ("DRV-OLD", "NVML-MISMATCH", "ECC/XID", "ASCEND-HEALTH"), ("ORT-FALLBACK", "SHM", "PY-PINS")),
        ("training", ("FABRIC", "IB-LINK", "SHM", "MEMLOCK", "TORCH-CPU", "PEERMEM"), ("ORT-FALLBACK", "CANN-ENV")),
        ("inference-torch", ("SHM", "NVLINK", "EXT-ABI"), ("IB-LINK", "ORT-FALLBACK")),
        ("inference-ort", ("ORT-FALLBACK", "CUDNN-MISSING", "TRT", "CANN-ENV"), ("TORCH-CPU", "IB-LINK")),
        ("ascend", ("CANN-ENV", "TORCH-NPU", "ASCEND-LINK", "ENV-CVD"), ("DRV-OLD", "CUDNN-MISSING")),
    ],
)
def test_what_a_preset_is_for(name: str, there: tuple[str, ...], not_there: tuple[str, ...]) -> None:
    (preset,) = [p for p in PRESETS if p.name == name]
    assert preset in JUDGING.presets
    assert preset.title
    assert set(there) <= set(preset.checks)
    assert not set(not_there) & set(preset.checks)
