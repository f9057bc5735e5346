"""On a real GPU: each field of our facts against what nvidia-smi prints of the same machine, for any number of GPUs.

    pytest -m gpu tests/gpu/test_nvidia_state.py

What stays constant is compared exactly. What moves from one reading to the next has a tolerance: temperatures 8 °C, power
100 W, used memory 64 MiB, times of throttling 10 s. Current clocks, utilization, performance state and current PCIe
generation follow the load within milliseconds, so they are only held to the device's own bounds. nvidia-smi's "N/A" is our
None; what an older nvidia-smi does not print is not compared."""

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from functools import cache
from typing import Any

import pytest

from infra_doctor.machine.forms import live_machine
from infra_doctor_probes.detect import nvidia_driver, nvidia_gpu, pci, system
from infra_doctor_probes.detect.nvidia_state import EccCounts, GpuState, GpuTopology
from tests.support.gather import Gathered, gather

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="no nvidia-smi on PATH"),
]

ABSENT = object()  # not printed by this nvidia-smi
NOTHING = {"N/A", "[N/A]", "Requested functionality has been deprecated", "None", "", "Not Supported", "Not Active"}


@cache
def gathered() -> Gathered:
    """What our probes find on this machine: one NVML session."""
    return gather(live_machine(), system.PROBES, pci.PROBES, nvidia_driver.PROBES, nvidia_gpu.PROBES)


@cache
def states() -> dict[str, GpuState]:
    """Ours, by PCI address, in NVML's order."""
    return {s.gpu.removeprefix("gpu:"): s for s in gathered().facts if isinstance(s, GpuState)}


@cache
def printed(*arguments: str) -> str:
    """What nvidia-smi prints."""
    done = subprocess.run(("nvidia-smi", *arguments), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@cache
def pages() -> dict[str, ElementTree.Element]:
    """nvidia-smi's, by PCI address."""
    states()  # ours first: counters only grow
    root = ElementTree.fromstring(printed("-q", "-x"))
    return {g.get("id", "").lower().removeprefix("0000"): g for g in root.iter("gpu")}


def said(page: ElementTree.Element, path: str) -> Any:
    """The text at a path: None for "N/A", ABSENT where there is no such element."""
    found = page.find(path)
    if found is None:
        return ABSENT
    text = (found.text or "").strip()
    return None if text in NOTHING else text


def number(page: ElementTree.Element, path: str) -> Any:
    """The number that begins the text at a path."""
    text = said(page, path)
    match = re.match(r"-?\d+(?:\.\d+)?", text) if isinstance(text, str) else None
    return float(match.group()) if match else text


def switch(page: ElementTree.Element, path: str) -> Any:
    """Enabled and Yes as True."""
    text = said(page, path)
    return {"Enabled": True, "Yes": True, "Active": True, "Disabled": False, "No": False}.get(text, text)


def both() -> list[tuple[str, GpuState, ElementTree.Element]]:
    assert list(states()) == list(pages()), "the same devices in the same order"
    return [(address, state, pages()[address]) for address, state in states().items()]


def compare(ours: Any, theirs: Any, tolerance: float = 0.0) -> bool:
    """Whether the two agree; what is not printed agrees with anything."""
    if theirs is ABSENT:
        return True
    if ours is None or theirs is None or isinstance(theirs, str | bool):
        return bool(ours == theirs)
    return abs(float(ours) - float(theirs)) <= tolerance


MIB = 2.0**20
EXACT_NUMBERS = {
    "index": None, "pcie_width": "pci/pci_gpu_link_info/link_widths/current_link_width",
    "pcie_width_max": "pci/pci_gpu_link_info/link_widths/max_link_width",
    "pcie_generation_max": "pci/pci_gpu_link_info/pcie_gen/max_link_gen",
    "pcie_generation_device_max": "pci/pci_gpu_link_info/pcie_gen/max_device_link_gen",
    "power_limit_w": "gpu_power_readings/current_power_limit",
    "power_requested_limit_w": "gpu_power_readings/requested_power_limit",
    "power_default_limit_w": "gpu_power_readings/default_power_limit",
    "power_min_limit_w": "gpu_power_readings/min_power_limit", "power_max_limit_w": "gpu_power_readings/max_power_limit",
    "rows_remapped_corrected": "remapped_rows/remapped_row_corr",
    "rows_remapped_uncorrected": "remapped_rows/remapped_row_unc",
    "pages_retired_single_bit": "retired_pages/multiple_single_bit_retirement/retired_count",
    "pages_retired_double_bit": "retired_pages/double_bit_retirement/retired_count",
}  # fmt: skip
SWITCHES = {
    "mig": "mig_mode/current_mig", "mig_pending": "mig_mode/pending_mig", "ecc": "ecc_mode/current_ecc",
    "ecc_pending": "ecc_mode/pending_ecc", "persistence": "persistence_mode", "display_active": "display_active",
    "row_remap_pending": "remapped_rows/remapped_row_pending", "row_remap_failed": "remapped_rows/remapped_row_failure",
    "page_retirement_pending": "retired_pages/pending_retirement",
    "channel_repair_pending": "ecc_errors/channel_repair_pending", "tpc_repair_pending": "ecc_errors/tpc_repair_pending",
    "unrepairable_memory": "ecc_errors/unrepairable_memory",
    "sram_threshold_exceeded": "ecc_errors/aggregate/sram_threshold_exceeded",
}  # fmt: skip
TEXTS = {"name": "product_name", "vbios": "vbios_version", "gsp_firmware": "gsp_firmware_version"}
WORDS = {
    "compute_mode": "compute_mode", "recovery_action": "gpu_recovery_action", "fabric_state": "fabric/state",
    "virtualization": "gpu_virtualization_mode/virtualization_mode", "fabric_health": "fabric/health/summary",
}  # fmt: skip


def test_nvidia_smi_sees_the_same_gpus() -> None:
    assert states()
    assert list(states()) == list(pages())
    assert all(not s.error and not s.errors for s in states().values()), [s.errors for s in states().values()]


@pytest.mark.parametrize("field", [f for f, path in EXACT_NUMBERS.items() if path])
def test_constant_number(field: str) -> None:
    for address, state, page in both():
        theirs = number(page, EXACT_NUMBERS[field] or "")
        assert compare(getattr(state, field), theirs, 0.01), (address, field, getattr(state, field), theirs)


@pytest.mark.parametrize("field", SWITCHES)
def test_switch(field: str) -> None:
    for address, state, page in both():
        theirs = switch(page, SWITCHES[field])
        assert compare(getattr(state, field), theirs), (address, field, getattr(state, field), theirs)


@pytest.mark.parametrize("field", TEXTS)
def test_text(field: str) -> None:
    for address, state, page in both():
        theirs = said(page, TEXTS[field])
        assert compare(getattr(state, field), theirs), (address, field, getattr(state, field), theirs)


@pytest.mark.parametrize("field", WORDS)
def test_word_of_an_enumeration(field: str) -> None:
    """ "Exclusive_Process" is "exclusive_process", "Pass-Through" "pass_through", "GPU Reset" "gpu_reset"."""
    for address, state, page in both():
        found = page.find(WORDS[field])
        if found is None:
            continue
        theirs = re.sub(r"[^a-z]+", "_", (found.text or "").strip().lower())
        ours = getattr(state, field)
        expected = {"n_a": None, "": None}.get(theirs, theirs)
        if field in {"fabric_state", "virtualization"} and expected is None:
            assert ours in {None, "not_supported", "none"}, (address, ours, theirs)
        else:
            assert ours == expected, (address, field, ours, theirs)


def test_memory() -> None:
    for address, state, page in both():
        total, reserved, used = (number(page, f"fb_memory_usage/{n}") for n in ("total", "reserved", "used"))
        assert compare(state.memory_bytes, total * MIB if total else total, MIB), address
        assert compare(state.memory_reserved_bytes, reserved * MIB if reserved else reserved, MIB), address
        assert compare(state.memory_used_bytes, used if used in (None, ABSENT) else used * MIB, 64 * MIB), address


def test_temperatures() -> None:
    for address, state, page in both():
        here = f"{address} {state}"
        assert compare(state.temperature_c, number(page, "temperature/gpu_temp"), 8), here
        assert compare(state.temperature_memory_c, number(page, "temperature/memory_temp"), 8), here
        margin = number(page, "temperature/gpu_temp_tlimit")
        assert compare(state.temperature_margin_c, margin, 8), here
        for field, name in (("slowdown", "slow"), ("shutdown", "max"), ("max_operating", "max_gpu")):
            ours = getattr(state, f"temperature_{field}_c")
            absolute = number(page, f"temperature/gpu_temp_{name}_threshold")
            relative = number(page, f"temperature/gpu_temp_{name}_tlimit_threshold")
            if isinstance(absolute, float):
                assert ours == absolute, (field, here)
            elif isinstance(relative, float) and isinstance(margin, float) and ours is not None:
                # newer GPUs print thresholds as degrees below the limit: limit = temperature now + margin now
                assert abs(ours - (number(page, "temperature/gpu_temp") + margin - relative)) <= 3, (field, here)


def test_power_draw() -> None:
    for address, state, page in both():
        theirs = number(page, "gpu_power_readings/average_power_draw")
        if theirs is ABSENT:
            theirs = number(page, "gpu_power_readings/power_draw")
        assert compare(state.power_w, theirs, 100), (address, state.power_w, theirs)
        if state.power_w and state.power_max_limit_w:
            assert 0 < state.power_w < 1.5 * state.power_max_limit_w


def test_clocks() -> None:
    for address, state, page in both():
        ours = dict(state.clocks_mhz)
        for name, element in (("graphics", "graphics"), ("sm", "sm"), ("memory", "mem"), ("video", "video")):
            most = number(page, f"max_clocks/{element}_clock")
            assert compare(ours.get(name + "_max"), most), (address, name, ours, most)
            if isinstance(most, float):
                assert 0 <= ours[name] <= most, (address, name, ours)


def test_throttling() -> None:
    names = {
        "gpu_idle": "gpu_idle", "applications_clocks": "applications_clocks_setting", "sw_power_cap": "sw_power_cap",
        "hw_slowdown": "hw_slowdown", "hw_thermal_slowdown": "hw_thermal_slowdown", "sync_boost": "sync_boost",
        "hw_power_brake": "hw_power_brake_slowdown", "sw_thermal_slowdown": "sw_thermal_slowdown",
        "display_clocks": "display_clocks_setting",
    }  # fmt: skip
    moving = {"gpu_idle", "sw_power_cap"}  # come and go with the load
    counters = {"sw_power_cap": "sw_power_cap", "sync_boost": "sync_boost", "sw_thermal_slowdown": "sw_therm_slowdown",
                "hw_thermal_slowdown": "hw_therm_slowdown", "hw_power_brake": "hw_power_brake"}  # fmt: skip
    for address, state, page in both():
        assert state.throttle is not None
        for ours, theirs in names.items():
            found = page.find(f"clocks_event_reasons/clocks_event_reason_{theirs}")
            if found is not None and ours not in moving:
                assert (ours in state.throttle) is ((found.text or "").strip() == "Active"), (
                    address,
                    ours,
                    state.throttle,
                )
        for ours, theirs in counters.items():
            number_ = number(page, f"clocks_event_reasons_counters/clocks_event_reasons_counters_{theirs}")
            if isinstance(number_, float):
                assert abs(dict(state.throttled_us)[ours] - number_) <= 10e6, (
                    address,
                    ours,
                    state.throttled_us,
                    number_,
                )


def test_load_and_state_are_within_bounds() -> None:
    for address, state, page in both():
        assert state.utilization_percent is None or 0 <= state.utilization_percent <= 100, address
        assert state.pstate is None or 0 <= state.pstate <= 15, address
        assert (said(page, "performance_state") is None) is (state.pstate is None)
        if state.pcie_generation and state.pcie_generation_device_max:
            assert 1 <= state.pcie_generation <= state.pcie_generation_device_max


def test_ecc_counters() -> None:
    for address, state, page in both():
        for half, ours in (("volatile", state.ecc_volatile), ("aggregate", state.ecc_aggregate)):
            counts = ours or EccCounts()
            at = f"ecc_errors/{half}/"
            if page.find(at + "sram_correctable") is not None:
                split = ("sram_uncorrectable_parity", "sram_uncorrectable_secded", "sram_uncorrectable")
                parts = [n for n in (number(page, at + name) for name in split) if isinstance(n, float)]
                theirs = sum(parts) if parts else None
                assert compare(counts.sram_uncorrected, theirs), (address, half, counts)
                assert compare(counts.sram_corrected, number(page, at + "sram_correctable")), (address, half, counts)
                assert compare(counts.dram_corrected, number(page, at + "dram_correctable")), (address, half, counts)
                assert compare(counts.dram_uncorrected, number(page, at + "dram_uncorrectable")), (
                    address,
                    half,
                    counts,
                )
            else:
                assert compare(counts.corrected, number(page, at + "single_bit/total")), (address, half, counts)
                assert compare(counts.uncorrected, number(page, at + "double_bit/total")), (address, half, counts)


def test_pcie_replays_only_grow() -> None:
    for address, state, page in both():
        theirs = number(page, "pci/replay_counter")
        assert theirs in (None, ABSENT) or (state.pcie_replays or 0) <= theirs, (address, state.pcie_replays, theirs)


def test_fabric() -> None:
    for address, state, page in both():
        assert compare(state.fabric_status, said(page, "fabric/status")), (address, state.fabric_status)
        clique = number(page, "fabric/cliqueId")
        if state.fabric_state == "completed":
            assert compare(state.fabric_clique_id, clique), address
        assert state.fabric_problems == () or said(page, "fabric/health/summary") != "Healthy"


def test_processes() -> None:
    for address, state, page in both():
        theirs = {int(p.findtext("pid") or 0) for p in page.iter("process_info")}
        ours = {p.pid for p in state.processes or ()}
        assert ours == theirs, address


def test_mig_devices() -> None:
    for address, state, page in both():
        theirs = page.findall("mig_devices/mig_device")
        assert len(state.mig_devices or ()) == len(theirs), address
        listed = printed("-L")
        assert all(d.uuid and d.uuid in listed and d.profile and d.profile in listed for d in state.mig_devices or ())


# -- links and topology -------------------------------------------------------------------------------------------


def links_printed(*arguments: str) -> dict[int, dict[int, list[str]]]:
    """{GPU index: {link: [what is printed of it]}} of `nvidia-smi nvlink`."""
    out: dict[int, dict[int, list[str]]] = {}
    gpu = -1
    for line in printed("nvlink", *arguments).splitlines():
        head = re.match(r"GPU (\d+):", line)
        if head:
            gpu = int(head.group(1))
            out[gpu] = {}
            continue
        link = re.match(r"\s+Link (\d+): (.+)", line)
        if link:
            out[gpu].setdefault(int(link.group(1)), []).append(link.group(2).strip())
    return out


def test_nvlink_state_and_speed() -> None:
    theirs = links_printed("-s")
    for state in states().values():
        ours = {x.link: x for x in state.nvlinks}
        shown = theirs.get(state.index or 0, {})
        assert set(ours) == set(shown), (state.index, sorted(ours), sorted(shown))
        for link, (text, *_) in shown.items():
            if "inactive" in text:
                assert not ours[link].active
                continue
            gigabytes = float(text.split()[0])
            assert ours[link].active
            assert abs((ours[link].speed_mb_per_s or 0) / 1000 - gigabytes) < 0.01, (link, ours[link], text)


def test_nvlink_errors() -> None:
    theirs = links_printed("-e")
    names = {"Replay Errors": "replay_errors", "Recovery Errors": "recovery_errors", "CRC Errors": "crc_errors"}
    for state in states().values():
        ours = {x.link: x for x in state.nvlinks}
        for link, lines in theirs.get(state.index or 0, {}).items():
            for line in lines:
                name, _, value = line.partition(": ")
                if name in names and value.isdecimal():
                    assert getattr(ours[link], names[name]) == int(value), (state.index, link, line)


def topology_printed() -> tuple[list[list[str]], list[str]]:
    """The rows of GPUs of `nvidia-smi topo -m`, and the header's names."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", printed("topo", "-m"))
    rows = [line.split("\t") for line in text.splitlines()]
    header = [c.strip() for c in next(r for r in rows if any(c.strip() == "GPU0" for c in r))]
    body = [[c.strip() for c in r] for r in rows if re.fullmatch(r"GPU\d+", r[0].strip())]
    return [r for r in body if r[0] != header[0]], header


def test_topology() -> None:
    rows, header = topology_printed()
    order = [s.gpu for s in states().values()]
    found = [f for f in gathered().facts if isinstance(f, GpuTopology)]
    pairs = {frozenset((p.a, p.b)): p for f in found for p in f.pairs}
    assert len(pairs) == len(order) * (len(order) - 1) // 2
    for i, row in enumerate(rows):
        for j, other in enumerate(order):
            if i == j:
                continue
            cell, pair = row[header.index(f"GPU{j}")], pairs[frozenset((order[i], other))]
            if cell.startswith("NV"):
                assert pair.nvlinks == int(cell[2:]), (i, j, cell, pair)
            else:
                assert (pair.path, pair.nvlinks or 0) == (cell, 0), (i, j, cell, pair)


def test_peer_to_peer() -> None:
    if len(states()) < 2:
        pytest.skip("one GPU")
    names = {"OK": "ok", "CNS": "chipset not supported", "GNS": "GPU not supported", "TNS": "topology not supported",
             "NS": "not supported", "U": "unknown", "DR": "disabled by a registry key"}  # fmt: skip
    found = [f for f in gathered().facts if isinstance(f, GpuTopology)]
    pairs = {frozenset((p.a, p.b)): p for f in found for p in f.pairs}
    order = [s.gpu for s in states().values()]
    for letter, field in (("r", "p2p_read"), ("n", "p2p_nvlink")):
        text = re.sub(r"\x1b\[[0-9;]*m", "", printed("topo", "-p2p", letter))
        rows = [line.split() for line in text.splitlines() if re.match(r"\s*GPU\d+\s+\S", line)]
        rows = [r for r in rows if not all(re.fullmatch(r"GPU\d+", c) for c in r)]
        assert len(rows) == len(order)
        for i, row in enumerate(rows):
            for j, cell in enumerate(row[1:]):
                if i != j:
                    assert getattr(pairs[frozenset((order[i], order[j]))], field) == names[cell], (letter, i, j, cell)


def test_affinity() -> None:
    rows, header = topology_printed()
    for row, state in zip(rows, states().values(), strict=True):
        cells = dict(zip(header, row, strict=False))
        cpus, node = cells.get("CPU Affinity", ""), cells.get("NUMA Affinity", "")
        if cpus and cpus != "N/A":
            assert state.cpu_affinity == cpus, (cpus, state.cpu_affinity)
        if node.isdecimal():
            assert state.numa_node == int(node), (node, state.numa_node)
