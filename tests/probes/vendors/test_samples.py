"""Every public capture of these vendors' tools is read into typed facts, or refused with a reason that a person can use."""

from pathlib import Path

import pytest

from infra_doctor_probes.other_vendors.reading import SmiText
from tests.probes.vendors.forms import FORMS, parser_of, sample_files

FILES = sample_files()
# What each refused capture is: pieces of a longer output, processors instead of GPUs, a report of software.
REFUSED = {
    "amd-smi-metric__amdsmi-L1445_amd-smi-metric-u-all.txt": "it describes CPU sockets, no GPU",
    "amd-smi-static__amdsmi-L1409_amd-smi-static-u-all.txt": "it describes CPU sockets, no GPU",
    "amd-smi-metric__dme-L288_394.txt": "neither blocks of GPUs nor a known table",
    "amd-smi-process__dme-L378_397.txt": "neither blocks of GPUs nor a known table",
    "ds_report__cpu-torch2.12.txt": "there is no parser for ds_report",
    "ds_report__torch2.2-cu121_end.txt": "there is no parser for ds_report",
}
# (file name's start) -> number of devices, driver version, run-time version, and of the first device: name, address, MiB.
FACTS: dict[str, tuple[int, str | None, str | None, str | None, str | None, int | None]] = {
    "cnmon__5.10.10": (2, "5.10.10", None, "MLU370-X4", "0000:1b:00.0", 23308),
    "cnmon__5.10.22": (2, "5.10.22", None, "MLU370-X8", "0000:13:00.0", 20638),
    "cnmon__paddle": (2, "5.10.13", None, "MLU370-X8", "0000:39:00.0", 23374),
    "efsmi": (2, "1.2.0.301", None, "S60", "0000:01:00.0", 49120),
    "ixsmi": (2, "4.3.8", None, "Iluvatar BI-V150", "0000:10:00.0", 32768),
    "mx-smi__": (8, "3.4.4", "3.3.0.15", "MetaX C500", "0000:0e:00.0", 65536),
    "mthreads-gmi__2.0.0": (1, "3.0.0", None, "MTT S80", "0000:01:00.0", 16384),
    "mthreads-gmi__2.4.1": (1, "5.1.0-server", None, "MTT S5000", "0000:18:00.0", 81920),
    "mthreads-gmi__tutorial": (1, "1.2.0", None, "MTT S4000", "0000:08:00.0", 32768),
    "xpu-smi__P800": (1, "515.58", None, "P800 OAM", "0000:03:00.0", 98304),
    "xpu_smi__paddle": (2, "4.0", "4.31", "R300", "0000:53:00.0", 32768),
    "xpu-smi-help": (1, "9FF4708BCC22C0EE6FD801A", "1.27.0", "Intel(R) Arc(TM) B580", "0000:03:00.0", 12216),
    "xpu-smi-discovery": (1, "9FF4708BCC22C0EE6FD801A", None, "Intel(R) Arc(TM) B580 Graphics", "0000:03:00.0", 12216),
    "hy-smi__1card": (1, None, None, None, None, None),
    "hy-smi__opt": (8, None, None, None, None, None),
    "rocm-smi-dcu__flagperf": (8, None, None, None, None, None),
    "rocm-smi-dcu__paddle": (4, None, None, None, None, None),
    "rocm-smi-json__telegraf_mi100": (4, "6.3.6", None, "Arcturus GL-XL [Instinct MI100]", "0000:83:00.0", 32752),
    "rocm-smi-json__telegraf_rx6700xt_rocm571": (1, "6.3.6", None, "Navi 22 [Radeon RX 6700/6700 XT / 6800M]", "0000:07:00.0", 12272),
    "rocm-smi-json__telegraf_rx6700xt_rocm612": (1, "6.3.6", None, "Navi 22 [Radeon RX 6700/6700 XT / 6800M]", "0000:07:00.0", 12272),
    "rocm-smi-json__telegraf_vega-20": (1, "5.9.17", None, "Radeon Instinct MI50 32GB", "0000:63:00.0", 32752),
    "rocm-smi__ml-engineering": (8, None, None, "AMD Instinct MI300X", None, None),
    "rocm-smi__rocm_smi_lib": (1, None, None, "Aqua Vanjaram [Insti", None, None),
    "rocm-smi-opts__rocm_smi_lib-L198": (12, None, None, None, "0000:01:00.0", None),
    "rocm-smi-opts__rocm_smi_lib-L552": (24, None, None, None, "0000:01:00.0", None),
    "amd-smi-version": (0, None, "6.1.0", None, None, None),
    "amd-smi-list__dme": (2, None, None, None, "0000:83:00.0", None),
    "amd-smi-static__dme": (1, None, None, "AMD Instinct Mi325X VF", "0000:83:00.0", None),
    "amd-smi-monitor__amdsmi-L611": (32, None, None, None, None, 196300),
    "amd-smi-monitor__amdsmi-L79": (16, None, None, None, None, None),
    "amd-smi-xgmi": (8, None, None, None, "0000:0c:00.0", None),
    "api-detect-json__gpustack_mi300x": (2, "6.10.5", "7.0.2", "AMD Instinct MI300X OAM", "0000:26:00.0", 196592),
    "api-detect-json__gpustack_rx7800xt": (2, "6.16.13", "7.2.0", "AMD Radeon RX 7800 XT", "0000:04:00.0", 16368),
    "api-detect-json__gpustack_k100ai": (8, None, "24.04.3", "K100_AI", "0000:07:00.0", 65520),
    "api-detect-json__gpustack_c500": (8, "3.6.11", "3.5.3.18", "MXC500", "0000:0e:00.0", 65536),
    "api-detect-json__gpustack_ppu": (16, "2.1.0-ra1f23041713", None, "PPU-ZW810E", "0000:a8:00.0", 98304),
}  # fmt: skip


def read(path: Path) -> SmiText:
    parser = parser_of(path.parent.name, path.name)
    assert parser is not None, f"no parser and no refusal is declared for {path.parent.name}/{path.name}"
    return parser(path.read_text(encoding="utf-8"))


@pytest.mark.skipif(not FILES, reason="the public captures are not beside this checkout")
def test_the_captures_are_those_that_are_known_here() -> None:
    assert len(FILES) >= 77
    for start in (*FACTS, *REFUSED):
        assert any(p.name.startswith(start) for p in FILES), start


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_capture_is_read_or_refused(path: Path) -> None:
    found = read(path)
    if path.name in REFUSED:
        assert found.problem.startswith(REFUSED[path.name])
        assert found.devices == ()
        return
    assert found.problem == ""
    assert found.form
    assert found.devices or found.runtime_version, "a text without devices names a version at least"
    for device in found.devices:
        told = (device.index, device.name, device.address, device.temperature_c, device.memory_bytes, device.details)
        assert any(v not in (None, ()) for v in told)
        assert device.temperature_c is None or -20 < device.temperature_c < 120
        assert device.memory_bytes is None or 1 << 30 < device.memory_bytes < 1 << 40
        assert device.address is None or len(device.address) >= 12


LISTED = [(p, s) for p in FILES if (s := max((s for s in FACTS if p.name.startswith(s)), key=len, default=""))]


@pytest.mark.parametrize(("path", "start"), LISTED, ids=lambda p: p.name if isinstance(p, Path) else "")
def test_what_a_capture_says(path: Path, start: str) -> None:
    count, driver, runtime, name, address, mebibytes = FACTS[start]
    found = read(path)
    assert (len(found.devices), found.driver_version, found.runtime_version) == (count, driver, runtime)
    if count:
        first = found.devices[0]
        memory = None if first.memory_bytes is None else first.memory_bytes >> 20
        assert (first.name, first.address, memory) == (name, address, mebibytes)


def sample(vendor: str, start: str) -> SmiText:
    path = next((p for p in FILES if p.parent.name == vendor and p.name.startswith(start)), None)
    if path is None:
        pytest.skip("the public captures are not beside this checkout")
    return read(path)


def test_health_ecc_and_temperature_are_the_tools_own_words() -> None:
    assert {d.health for d in sample("metax", "mx-smi__").devices} == {"Available"}
    assert [d.ecc for d in sample("enflame", "efsmi").devices] == ["Disable", "Enable"]
    assert [d.ecc for d in sample("cambricon", "cnmon__5.10.22").devices] == ["0", "0"]
    assert [d.ecc for d in sample("cambricon", "cnmon__paddle").devices] == [None, None]
    assert sample("moorethreads", "mthreads-gmi__2.4.1").devices[0].ecc == "On-die, EDC"
    assert [d.temperature_c for d in sample("hygon", "rocm-smi-dcu__flagperf").devices[:3]] == [53.0, 53.0, 54.0]
    assert sample("intel", "xpu-smi-discovery").devices[0].health == "normal"
    assert sample("amd", "amd-smi-ras").devices[0].health == "FATAL"
    assert sample("amd", "amd-smi-metric__amdsmi-L1164").devices[0].ecc == "0 uncorrectable"
    assert {d.health for d in sample("amd", "amd-smi-metric__amdsmi-L34").devices} == {None}, "nothing is throttled now"


def test_the_level_of_cuda_that_corex_imitates_is_no_run_time_version() -> None:
    found = sample("iluvatar", "ixsmi")
    assert found.runtime_version is None
    assert found.details == (("CUDA compatibility level", "10.2"),)


def test_memory_of_the_p800_is_not_its_cache() -> None:
    device = sample("kunlun", "xpu-smi__P800").devices[0]
    assert (device.memory_bytes, device.memory_used_bytes) == (98304 << 20, 31058 << 20)


def test_lists_of_platforms_tell_kinds_apart() -> None:
    found = sample("intel", "sycl-ls__multi")
    kinds = [dict(d.details)["kind"] for d in found.devices]
    assert kinds == ["acc", "cpu", "gpu", "gpu", "gpu", "gpu", "gpu", "gpu"]
    assert found.devices[0].name == "Intel(R) FPGA Emulation Device"
    assert found.devices[2].name == "Intel(R) Arc(TM) A770 Graphics"
    assert found.devices[2].driver_version == "23.17.26241.33"
    assert [d.name for d in sample("intel", "clinfo-l__xeon").devices][1] == "NVIDIA GeForce RTX 4070"


def test_links_between_devices() -> None:
    amd = sample("amd", "amd-smi-topology__amdsmi-L1669")
    assert {kind for _, _, kind in amd.links} == {"XGMI"}
    assert len(amd.links) == 56
    metax = sample("metax", "mx-smi-topo")
    assert ("GPU0", "GPU1", "MX") in metax.links and ("GPU0", "NIC5", "SYS") in metax.links
    assert [d.name for d in metax.devices] == [f"GPU{n}" for n in range(8)]
    assert ("0", "1", "PCIE") in sample("amd", "amd-smi-topology-json__amdsmi-L1276").links
    assert ("0", "4", "72") not in sample("amd", "rocm-smi-json__telegraf_vega-20").links


# Without a matrix of links, which bears no vendor's mark, and without what no tool of a vendor printed.
MARKED = [
    p for p in FILES
    if not p.name.startswith("api-") and "topo" not in p.name and p.parent.name != "framework" and p.name not in REFUSED
]  # fmt: skip


@pytest.mark.parametrize("path", MARKED, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_no_parser_takes_another_vendors_text(path: Path) -> None:
    """A text with devices in it is read by its own vendor's parsers alone: the look of a table decides nothing."""
    text = path.read_text(encoding="utf-8")
    for (vendor, start), parser in FORMS.items():
        if vendor != path.parent.name and start != "mx-smi-topo":
            found = parser(text)
            assert found.problem and not found.devices, (vendor, start, found.devices[:1])
