"""The text parsers of Ascend over texts that no tool would print: no exception, no invented value, linear time."""

import string
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_doctor_probes.ascend.ascend_dmi import parse_flops
from infra_doctor_probes.ascend.cann import configured_versions
from infra_doctor_probes.ascend.files import brackets, parse_pairs
from infra_doctor_probes.ascend.hccn_tool import OPTIONS, link_status, optical, parse_hccn
from infra_doctor_probes.ascend.npu_smi import parse_npu_smi
from infra_doctor_probes.ascend.npu_smi_fields import cards, ecc_counts, fault_codes, parse_fields
from infra_doctor_probes.ascend.npu_smi_map import parse_map, parse_topology, without_hccs
from infra_doctor_probes.ascend.state import Reading, reading_of
from tests.support.ascend_trees import captures
from tests.support.hostile import processor_seconds

PARSERS: dict[str, Callable[[str], Any]] = {
    "npu-smi": parse_npu_smi,
    "fields": lambda t: (f := parse_fields(t), fault_codes(f), ecc_counts(f), cards(f)),
    "map": parse_map,
    "topology": lambda t: without_hccs(parse_topology(t)),
    "dmi": parse_flops,
    "pairs": parse_pairs,
    "brackets": brackets,
    "version.cfg": configured_versions,
    **{f"hccn {o}": lambda t, o=o: (f := parse_hccn(o, t), link_status(f), optical(f)) for o in (*OPTIONS, "route")},
}
# Words of real answers, so that random texts come near to them.
WORDS = (
    "| npu-smi 25.2.0 Version: 25.2.0 |", "| NPU Name | Health | Power(W) Temp(C) |", "| Chip Phy-ID | Bus-Id | AICore(%) HBM-Usage(MB) |",
    "| 0 910B3 | OK | 1.0 40 |", "| 0 0 | 0000:C1:00.0 | 0 1 / 2 |", "| NPU Chip | Process id | Process name | Process memory(MB) |",
    "| 0 0 | 1 | p | 2 |", "NPU ID : 0", "Chip ID : 0", "Error Code : 80E01801", "HBM Single Bit Error Count : 3",
    "\tNPU ID    Chip ID    Chip Logic ID    Chip Name", "0    0    0    Ascend 910A", "NPU0 NPU1 CPU Affinity", "NPU0 X HCCS 0-1",
    "NPU1 HCCS X 0-1", "link status: UP", "present : present", "Rx Power0 : 0.1 mW", "RxPower Low Thres : 0.2 mW",
    "[devid 0]    Tue Aug  1 14:43:40 2022    LINK UP", "  Device    TFLOPS@FP16    Duration(ms)    Power(W)", "  0    1,0.5    7    1",
    "Version=1.2.3", "compatible_version=[a,b]", "x_running_version=[1.2:8.0]", "+====+", "", ":", "=", "[", "|", "\x00", "\ud7ff", "９",
)  # fmt: skip
NEAR = st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=30)), max_size=25).map("\n".join)


@pytest.mark.parametrize("name", PARSERS)
@given(text=st.one_of(NEAR, st.text(alphabet=string.printable, max_size=400), st.text(max_size=400)))
@settings(max_examples=150, deadline=None, database=None, derandomize=True)
def test_no_text_makes_a_parser_raise(name: str, text: str) -> None:
    PARSERS[name](text)


@given(text=NEAR)
@settings(max_examples=200, deadline=None, database=None, derandomize=True)
def test_a_table_gives_chips_or_says_why_not(text: str) -> None:
    found = parse_npu_smi(text)
    assert found.chips or found.problem or found.error
    for chip in found.chips:
        assert str(chip.npu_id) in text
        assert chip.name in " ".join(text.split()) or chip.name


@given(text=NEAR, option=st.sampled_from(OPTIONS))
@settings(max_examples=200, deadline=None, database=None, derandomize=True)
def test_an_answer_of_hccn_tool_gives_fields_or_says_why_not(text: str, option: str) -> None:
    found = parse_hccn(option, text)
    assert bool(found.fields) != bool(found.problem)
    assert link_status(found) in {None, "UP", "DOWN"}


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=True), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)  # fmt: skip
FIELDS = (
    "health", "health_error", "fault_codes", "temperature_c", "hbm_temperature_c", "power_w", "aicore_percent", "ecc",
    "hbm_bandwidth_percent", "memory_used_bytes", "memory_bytes", "network_health", "processes", "board",
)  # fmt: skip


@given(data=st.dictionaries(st.sampled_from(FIELDS), JSON))
@settings(max_examples=300, deadline=None, database=None, derandomize=True)
def test_any_answer_of_the_child_gives_a_reading_of_the_right_types(data: dict[str, Any]) -> None:
    found = reading_of(data)
    for name in ("temperature_c", "memory_used_bytes", "memory_bytes", "aicore_percent", "health_error"):
        assert isinstance(getattr(found, name), int | None)
        assert not isinstance(getattr(found, name), bool)
    assert isinstance(found.power_w, float | None)
    assert found == reading_of({**data, "unknown": 1})
    assert reading_of({}) == Reading()


HOSTILE = {
    "one line": "x" * 10_000_000,
    "blanks": " " * 10_000_000,
    "bars": "|" * 10_000_000,
    "colons": ":" * 10_000_000,
    "a name and blanks": "Chip ID" + " " * 9_999_990 + ":",
    "lines": "NPU ID : 0\n" * 900_000,
    "table rows": "| npu-smi 1 Version: 1 |\n| NPU Name | Health | a |\n| Chip | Bus-Id | b |\n"
    + "| 0 x | OK | 1 |\n" * 580_000,
    "brackets": "[" * 5_000_000 + "]" * 5_000_000,
    "digits": "9" * 10_000_000,
    "topology": "NPU0 NPU1 CPU Affinity\n" + "NPU0 " + "HCCS " * 1_990_000,
}


@pytest.mark.parametrize("name", PARSERS)
def test_ten_megabytes_take_less_than_a_second(name: str) -> None:
    for kind, text in HOSTILE.items():
        assert processor_seconds(lambda text=text: PARSERS[name](text), enough=0.5) < 1.0, kind


@pytest.mark.parametrize("name", PARSERS)
def test_a_cut_capture_is_no_exception(name: str) -> None:
    for path in captures("*__*")[::7]:
        text = path.read_text(encoding="utf-8")
        for end in range(0, len(text), max(1, len(text) // 12)):
            PARSERS[name](text[:end])
