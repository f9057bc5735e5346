"""The fact of a GPU's state out of any source's dict: every field told, and a document that is not what it should be."""

import dataclasses
import json
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_doctor.codec import encode
from infra_doctor_probes.children import nvml
from infra_doctor_probes.detect.nvidia_state import EccCounts, GpuState, GpuTopology, NvLink, gpu_state, gpu_topology
from tests.probes.detect.fake_nvml import fake_pynvml, h200

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
KEYS = st.sampled_from(
    ["nvlinks", "processes", "throttle", "pcie", "ecc_errors", "remapped_rows", "retired_pages", "fabric", "mig_devices",
     "clocks_mhz", "temperature_c", "mig", "index", "name", "errors", "error", "repair_pending", "throttled_us"]
)  # fmt: skip


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setitem(sys.modules, "pynvml", fake_pynvml([h200(0), h200(1)]))
    return dict(json.loads(json.dumps(nvml.collect())))


def test_the_child_tells_every_field_that_an_h200_has(answer: dict[str, Any]) -> None:
    state = gpu_state("gpu:0000:00:06.0", answer["devices"][0], "nvml")
    untold = {f.name for f in dataclasses.fields(GpuState) if getattr(state, f.name) in (None, (), "")}
    # an H200 without MIG has neither instances nor retired pages, and nothing failed
    assert untold == {
        "error", "error_code", "errors", "pages_retired_single_bit", "pages_retired_double_bit", "page_retirement_pending",
        "fabric_problems", "mig_devices", "evidence",
    }  # fmt: skip
    assert state.ecc_volatile == EccCounts(
        corrected=0, uncorrected=0, sram_corrected=0, sram_uncorrected=0, dram_corrected=0, dram_uncorrected=0
    )
    assert state.nvlinks[0] == NvLink(
        link=0, active=True, version="4.0", speed_mb_per_s=26562, remote_type="switch", crc_errors=0, replay_errors=0,
        recovery_errors=0,
    )  # fmt: skip
    assert (state.pcie_width, state.row_remap_pending, state.cpu_affinity) == (16, False, "0-127")


def test_it_goes_into_a_report(answer: dict[str, Any]) -> None:
    state = gpu_state("gpu:0000:00:06.0", answer["devices"][0], "nvml")
    document = json.loads(encode(state))
    assert document["nvlinks"][17]["link"] == 17
    assert document["processes"][0]["pid"] == 4711


def test_topology(answer: dict[str, Any]) -> None:
    found = gpu_topology(answer["topology"])
    assert isinstance(found, GpuTopology)
    (pair,) = found.pairs
    assert (pair.a, pair.b, pair.nvlinks, pair.path) == ("gpu:0000:00:06.0", "gpu:0000:00:07.0", 18, "PHB")
    assert gpu_topology([]) is None
    assert gpu_topology([{"a": 1, "b": None}, 7, None]) is None


def test_a_number_is_no_switch_and_a_word_no_number() -> None:
    state = gpu_state(
        "gpu:x", {"mig": 1, "index": "0", "power_w": "70", "pstate": -1, "temperature_c": True, "name": 7}, "nvml"
    )
    told = (state.mig, state.index, state.power_w, state.pstate, state.temperature_c)
    assert told == (None, None, None, None, None)
    assert state.name == ""


def test_long_lists_are_cut() -> None:
    state = gpu_state("gpu:x", {"nvlinks": [{"link": i} for i in range(10_000)], "vbios": "x" * 10_000}, "nvml")
    assert len(state.nvlinks) == 512
    assert len(state.vbios or "") == 200


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS, JSON, max_size=8))
def test_any_document_gives_a_state(device: dict[str, Any]) -> None:
    state = gpu_state("gpu:x", device, "nvml")
    assert state.gpu == "gpu:x"
    assert all(isinstance(x, NvLink) for x in state.nvlinks)
    encode(state)


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_any_document_gives_a_topology_or_none(pairs: Any) -> None:
    found = gpu_topology(pairs)
    assert found is None or found.pairs
