"""A machine around each healthy capture of these vendors: nothing wrong is reported, and what the tool said is there."""

from pathlib import Path
from typing import Any

import pytest

from infra_doctor.model.finding import Status
from infra_doctor_probes.amd.rocm_smi import parse_rocm_smi
from infra_doctor_probes.other_vendors.forms import parse
from tests.probes.vendors.described import DEVICE, amd_machine, around, merged, on_the_bus, plug_in, report_of, vendor
from tests.support.recipe import SAMPLES

BAD = {Status.FAIL, Status.WARN, Status.ERROR}
# (file, row of the table, the tool that printed it, form of the text)
TOOLS = [
    ("cambricon/cnmon__5.10.10_MLU370-X4_head.txt", "cambricon", "cnmon", "cnmon"),
    ("cambricon/cnmon__5.10.22_MLU370-X8_head.txt", "cambricon", "cnmon", "cnmon"),
    ("cambricon/cnmon__paddle-docs_MLU370-X8x2.txt", "cambricon", "cnmon", "cnmon"),
    ("enflame/efsmi__paddle-docs_S60x2.txt", "enflame", "efsmi", "efsmi"),
    ("hygon/hy-smi__1card_46C.txt", "hygon", "hy-smi", "hy-smi"),
    ("hygon/hy-smi__opt-hyhal_HCU_head.txt", "hygon", "/opt/hyhal/bin/hy-smi", "hy-smi"),
    ("hygon/rocm-smi-dcu__flagperf_8card.txt", "hygon", "hy-smi", "hy-smi"),
    ("hygon/rocm-smi-dcu__paddle-docs_4card.txt", "hygon", "hy-smi", "hy-smi"),
    ("iluvatar/ixsmi__4.3.8_BI-V150_2card.txt", "iluvatar", "ixsmi", "ixsmi"),
    ("kunlun/xpu-smi__P800-OAM_head.txt", "kunlun", "xpu-smi", "xpu-smi (Kunlunxin)"),
    ("kunlun/xpu_smi__paddle-docs_R300x2.txt", "kunlun", "xpu_smi", "xpu_smi"),
    ("metax/mx-smi__ms-swift_C500x8.txt", "metax", "mx-smi", "mx-smi"),
    ("moorethreads/mthreads-gmi__2.0.0_S80_head.txt", "mthreads", "mthreads-gmi", "mthreads-gmi"),
    ("moorethreads/mthreads-gmi__2.4.1_S5000_head.txt", "mthreads", "mthreads-gmi", "mthreads-gmi"),
]
# Values that were read through a vendor's C library: the machine is built from them, no tool answers on it.
DETECTED = [
    ("hygon/api-detect-json__gpustack_k100ai.json", "hygon"),
    ("metax/api-detect-json__gpustack_c500.json", "metax"),
    ("thead/api-detect-json__gpustack_ppu.json", "thead"),
]
AMD = [
    ("amd/api-detect-json__gpustack_mi300x.json", "74a1", "90402"),
    ("amd/api-detect-json__gpustack_rx7800xt.json", "747e", "110001"),
]
ROCM_SMI = [
    ("amd/rocm-smi-json__telegraf_mi100_rocm602.json", "738c", "90008"),
    ("amd/rocm-smi-json__telegraf_rx6700xt_rocm571.json", "744c", "110000"),
    ("amd/rocm-smi-json__telegraf_rx6700xt_rocm602.json", "744c", "110000"),
    ("amd/rocm-smi-json__telegraf_rx6700xt_rocm612.json", "744c", "110000"),
    ("amd/rocm-smi-json__telegraf_vega-10-XT.json", "6860", "90000"),
    ("amd/rocm-smi-json__telegraf_vega-20-WKS-GL-XE.json", "66a1", "90006"),
]
# Not healthy, so not here: the S4000 with its IOMMU off (a machine of its own), the error records of amd-smi ras.
ROCM_SMI_ARGV = ["rocm-smi", "--showproductname", "--showbus", "--showmeminfo", "vram", "--showdriverversion", "--json"]


def text_of(name: str) -> str:
    path: Path = SAMPLES / "vendors" / name
    if not path.is_file():
        pytest.skip("the public captures are not beside this checkout")
    return path.read_text(encoding="utf-8")


def assert_healthy(recipe: dict[str, Any]) -> Any:
    report = report_of(recipe)
    shown = [(f.id, str(f.status), f.title, f.detail) for f in report.findings if f.status in BAD]
    assert shown == []
    return report


@pytest.mark.parametrize(("name", "row", "tool", "form"), TOOLS, ids=lambda v: v if "/" in str(v) else "")
@pytest.mark.parametrize("with_plug_in", [False, True], ids=["bare", "plug-in"])
def test_a_machine_around_a_tools_output(name: str, row: str, tool: str, form: str, with_plug_in: bool) -> None:
    text = text_of(name)
    said = parse(form, text)
    addresses = [d.address or f"0000:{0x10 + n:02x}:00.0" for n, d in enumerate(said.devices)]
    recipe = merged(
        around(vendor(row), addresses, driver_version=said.driver_version),
        {"commands": [{"argv": [tool], "stdout": text}]},
        plug_in(vendor(row)) if with_plug_in else {},
    )
    if row == "mthreads" and with_plug_in:
        recipe["files"]["/usr/lib/x86_64-linux-gnu/musa/libsrv_um_MUSA.so"] = {"size": 10}
    report = assert_healthy(recipe)
    devices = [c for c in report.components if c.attributes.get("vendor") == row and c.kind in {"gpu", "npu"}]
    assert [c.key.partition(":")[2] for c in devices] == sorted(addresses)
    first = min(said.devices, key=lambda d: d.address or "")
    if first.address:
        assert (devices[0].name, devices[0].attributes.get("memory_bytes")) == (first.name, first.memory_bytes)
    driver = next(c for c in report.components if c.key == f"driver:{row}")
    assert driver.version == said.driver_version
    session = next(f for f in report.facts if f["type"] == "vendor-session")
    assert (session["tool"], session["error"], session["device_count"]) == (tool, "", len(addresses))


@pytest.mark.parametrize(("name", "row"), DETECTED, ids=lambda v: v if "/" in str(v) else "")
def test_a_machine_around_what_a_library_said(name: str, row: str) -> None:
    said = parse("detector", text_of(name))
    addresses = [d.address for d in said.devices if d.address]
    report = assert_healthy(around(vendor(row), addresses, driver_version=said.driver_version))
    devices = [c for c in report.components if c.attributes.get("vendor") == row and c.kind in {"gpu", "npu"}]
    assert [c.key.partition(":")[2] for c in devices] == sorted(addresses)


@pytest.mark.parametrize(("name", "device", "gfx"), AMD, ids=lambda v: v if "/" in str(v) else "")
def test_an_amd_machine_around_what_the_library_said(name: str, device: str, gfx: str) -> None:
    said = parse("detector", text_of(name))
    memory = said.devices[0].memory_bytes or 0
    recipe = amd_machine(
        [(d.address or "", device, gfx) for d in said.devices],
        driver_version=said.driver_version or "",
        memory_bytes=memory,
    )
    answer = [
        {"pci": d.address, "name": d.name, "driver_version": d.driver_version, "memory_bytes": d.memory_bytes,
         "ecc_correctable": 0, "ecc_uncorrectable": 0}
        for d in said.devices
    ]  # fmt: skip
    recipe["files"]["/opt/rocm-7.0.2/lib/libamd_smi.so.26"] = {"size": 10}
    recipe["files"]["/opt/rocm-7.0.2/.info/version"] = "7.0.2-56\n"
    recipe["children"] = {
        "infra_doctor_probes.children.amdsmi": {"data": {"library": "x", "devices": answer, "error": ""}}
    }
    report = assert_healthy(recipe)
    gpus = [c for c in report.components if c.kind == "gpu"]
    assert [(g.name, g.attributes["memory_bytes"], g.attributes["seen_by"]) for g in gpus] == [
        (said.devices[0].name, memory, "amd-smi") for _ in said.devices
    ]
    assert gpus[0].attributes["gfx"] == dict(said.devices[0].details)["compute_capability"]


@pytest.mark.parametrize(("name", "device", "gfx"), ROCM_SMI, ids=lambda v: v if "/" in str(v) else "")
def test_an_amd_machine_around_rocm_smi(name: str, device: str, gfx: str) -> None:
    text = text_of(name)
    said = parse_rocm_smi(text)
    recipe = amd_machine(
        [(d.address or "", device, gfx) for d in said.devices], driver_version=said.driver_version or "",
        memory_bytes=said.devices[0].memory_bytes or 0,
    )  # fmt: skip
    recipe["commands"] = [{"argv": ROCM_SMI_ARGV, "stdout": text}]
    report = assert_healthy(recipe)
    gpus = [c for c in report.components if c.kind == "gpu"]
    assert [c.key for c in gpus] == sorted(f"gpu:{d.address}" for d in said.devices)
    assert next(c.version for c in report.components if c.key == "driver:amdgpu") == said.driver_version
    if said.devices[0].name:
        assert said.devices[0].name in {g.name for g in gpus}


def test_an_intel_machine_around_xpu_smi() -> None:
    text = text_of("intel/xpu-smi-discovery__xpumanager-README-L71.txt")
    recipe = merged(
        on_the_bus("0000:03:00.0", "8086", "e20b", "030000", "xe"),
        {
            "files": {"/dev/dri/renderD128": {"type": "char", "rdev": [226, 128]}},
            "links": {"/sys/class/drm/renderD128/device": "../../../bus/pci/devices/0000:03:00.0"},
            "commands": [{"argv": ["xpu-smi", "discovery", "-d", "0"], "stdout": text}],
        },
    )
    report = assert_healthy(recipe)
    gpu = next(c for c in report.components if c.kind == "gpu")
    assert (gpu.name, gpu.attributes["health"], gpu.attributes["ecc"]) == (
        "Intel(R) Arc(TM) B580 Graphics",
        "normal",
        "disabled",
    )
    assert gpu.attributes["memory_bytes"] == 12216 << 20


def test_every_vendor_with_a_capture_has_a_machine() -> None:
    assert {row for _, row, _, _ in TOOLS} | {row for _, row in DETECTED} == set(DEVICE)
