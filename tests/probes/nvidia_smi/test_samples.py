"""Every public capture of NVIDIA's tools is read, or refused for a reason that a reader can check."""

import pytest

from infra_doctor_probes.nvidia_smi.reading import read_any
from tests.support.recipe import SAMPLES

FOLDER = SAMPLES / "vendors" / "nvidia"
# Begin of the file name -> the form that it must be read as; the others are no outputs of NVIDIA's tools.
FORMS = {
    "dmesg-xid__": "kernel log", "kmsg__": "kernel log",
    "file_cuda_version.json__": "version.json", "file_nv_tegra_release__": "/etc/nv_tegra_release",
    "file_proc_driver_nvidia_version__": "/proc/driver/nvidia/version", "nvcc-V__": "nvcc --version",
    "nvidia-smi-compute-apps-csv__": "nvidia-smi --format=csv", "nvidia-smi-query-gpu-csv__": "nvidia-smi --format=csv",
    "nvidia-smi-dmon__": "nvidia-smi dmon", "nvidia-smi-pmon__": "nvidia-smi dmon", "nvidia-smi-list-L__": "nvidia-smi -L",
    "nvidia-smi-nvlink-s__": "nvidia-smi nvlink", "nvidia-smi-q-x__": "nvidia-smi -q -x", "nvidia-smi-q__": "nvidia-smi -q",
    "nvidia-smi-topo-m__": "nvidia-smi topo -m", "nvidia-smi-version__": "nvidia-smi --version",
    "nvidia-smi__err_": "error", "nvidia-smi__": "nvidia-smi",
}  # fmt: skip
# Captures that hold something else than their name says.
OTHERWISE = {"nvidia-smi-topo-m__windows-x86_64_nvidia-geforce-rtx-2080-super_591.86_capabilities.txt": "error"}
REFUSED = ("api-detect-json__", "api-topology-json__", "dmesg__", "fabricmanager-log__", "ibstat__")
FILES = sorted(p.name for p in FOLDER.glob("*") if p.is_file() and p.name != "INDEX.md") if FOLDER.is_dir() else []
needs_samples = pytest.mark.skipif(not FILES, reason="the public captures are not beside this checkout")


def text_of(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8", errors="replace")


def test_every_form_of_the_folder_is_listed() -> None:
    known = (*FORMS, *REFUSED)
    assert [name for name in FILES if not name.startswith(known)] == []


@needs_samples
@pytest.mark.parametrize("name", FILES)
def test_sample(name: str) -> None:
    reading = read_any(text_of(name))
    expected = OTHERWISE.get(name) or next((form for start, form in FORMS.items() if name.startswith(start)), "")
    assert reading.form == expected, reading
    if not expected:
        assert reading.refused.startswith("no output of NVIDIA's tools: it begins with")


@needs_samples
@pytest.mark.parametrize(
    ("name", "who"),
    [
        ("iluvatar/ixsmi__4.3.8_BI-V150_2card.txt", "Iluvatar's ixsmi"),
        ("kunlun/xpu-smi__P800-OAM_head.txt", "Kunlun's xpu-smi"),
        ("metax/mx-smi__ms-swift_C500x8.txt", "MetaX's mx-smi"),
        ("moorethreads/mthreads-gmi__2.4.1_S5000_head.txt", "Moore Threads' mthreads-gmi"),
        ("cambricon/cnmon__5.10.10_MLU370-X4_head.txt", "Cambricon's cnmon"),
        ("enflame/efsmi__paddle-docs_S60x2.txt", "Enflame's efsmi"),
        ("hygon/hy-smi__1card_46C.txt", "AMD's rocm-smi or Hygon's hy-smi"),
        ("ascend/npu-smi-info__23.0.7_910B2_8card.txt", "Huawei's npu-smi"),
        ("amd/rocm-smi__ml-engineering-L37_rocm-smi.txt", "AMD's rocm-smi"),
    ],
)
def test_look_alikes_are_refused_by_name(name: str, who: str) -> None:
    text = (FOLDER.parent / name).read_text(encoding="utf-8", errors="replace")
    assert read_any(text).refused == f"the output of {who}, which looks like nvidia-smi's"


@needs_samples
def test_no_output_of_another_vendor_is_taken_for_nvidias() -> None:
    others = [p for p in FOLDER.parent.glob("*/*") if p.is_file() and p.parent.name not in {"nvidia", "framework"}]
    assert len(others) > 100
    read = {p.name: read_any(p.read_text(encoding="utf-8", errors="replace")).form for p in others}
    assert {name: form for name, form in read.items() if form} == {}


@needs_samples
def test_no_version_is_a_pointer_to_another_one() -> None:
    for name in FILES:
        value = read_any(text_of(name)).value
        shown = repr(value if not isinstance(value, dict) else {k: v for k, v in value.items() if k != "devices"})
        assert "Deprecated" not in shown, name
