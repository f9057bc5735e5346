"""Whatever stands in the text: no reader raises, none gives more than a bounded part, none takes longer than 10 MB need."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_doctor_probes.detect.nvidia_state import gpu_state
from infra_doctor_probes.nvidia_smi.csv_query import read_csv
from infra_doctor_probes.nvidia_smi.driver_files import (
    read_module_version,
    read_nvcc_version,
    read_tegra_release,
    read_toolkit_version,
)
from infra_doctor_probes.nvidia_smi.errors import error_of, look_alike
from infra_doctor_probes.nvidia_smi.kernel_log import EVENTS_CAP, read_kernel_log
from infra_doctor_probes.nvidia_smi.list_gpus import read_list
from infra_doctor_probes.nvidia_smi.mig_profiles import read_mig_profiles
from infra_doctor_probes.nvidia_smi.monitor import read_monitor
from infra_doctor_probes.nvidia_smi.nvlink import read_nvlink
from infra_doctor_probes.nvidia_smi.query_text import read_query_text
from infra_doctor_probes.nvidia_smi.query_xml import read_query_xml
from infra_doctor_probes.nvidia_smi.reading import read_any
from infra_doctor_probes.nvidia_smi.smi_version import read_smi_version
from infra_doctor_probes.nvidia_smi.table import read_table
from infra_doctor_probes.nvidia_smi.topology import read_p2p, read_topology
from tests.support.hostile import PROPERTY, mutated, processor_seconds

QUERY = """==============NVSMI LOG==============
Driver Version                            : 535.183.01
CUDA Version                              : 12.2
Attached GPUs                             : 2
GPU 00000000:53:00.0
    Product Name                          : NVIDIA H100 80GB HBM3
    MIG Mode
        Current                           : Enabled
    MIG Device
        Index                             : 0
        Shared FB Memory Usage
            Total                         : 40448 MiB
    PCI
        Bus Id                            : 00000000:53:00.0
        Device Id                         : 0x233010DE
    ECC Errors
        Volatile
            SRAM Correctable              : 0
    Clocks Event Reasons
        HW Slowdown                       : Active
            HW Thermal Slowdown           : Not Active
    Processes
        Process ID                        : 2165
            Type                          : C+G
            Used GPU Memory               : 25 MiB
"""
XML = """<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log>
<driver_version>535.54.03</driver_version><attached_gpus>1</attached_gpus>
<gpu id="00000000:01:00.0">
<product_name>NVIDIA A100</product_name>
<mig_devices><mig_device><index>0</index></mig_device></mig_devices>
<fb_memory_usage><total>81920 MiB</total></fb_memory_usage>
<processes><process_info><pid>1</pid><type>C</type></process_info></processes>
</gpu>
</nvidia_smi_log>
"""
TABLE = """+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 580.159.04             Driver Version: 580.159.04     CUDA Version: 13.0     |
|=========================================+========================+======================|
|   0  NVIDIA H200                    On  |   00000000:00:06.0 Off |                    0 |
| N/A   38C    P0             89W /  700W |       0MiB / 143771MiB |      0%      Default |
|                                         |                        |             Disabled |
+-----------------------------------------+------------------------+----------------------+
| Processes:                                                                              |
|    0   N/A  N/A            1696      G   /usr/bin/gnome-shell                    176MiB |
"""
LIST = "GPU 0: NVIDIA H100 (UUID: GPU-1)\n  MIG 3g.40gb     Device  0: (UUID: MIG-1)\n"
TOPOLOGY = "\tGPU0\tGPU1\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\nGPU0\t X \tNV18\t0-31\t0\t\tN/A\nGPU1\tNV18\t X \t0-31\t0\n"
NVLINK = "GPU 0: NVIDIA H200 (UUID: GPU-0)\n\t Link 0: 26.562 GB/s\n\t Link 1: <inactive>\n\t Link 0: CRC Errors: 0\n"
DMON = "# gpu    pwr  gtemp\n# Idx      W      C\n    0     98     45\n"
CSV = "timestamp, pid, process_name, used_gpu_memory [MiB]\n2026/07/14 09:00:44.742, 21180, ./a, b, 2296 MiB\n"
MIG = "| GPU instance profiles: |\n|   0  MIG 1g.18gb         19     7/7        16.00      No     16     1     0   |\n"
VERSIONS = "NVIDIA-SMI version  : 595.71.05\nDRIVER version : Deprecated, see\nKMD version : 610.62\n"
FILES = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release\nnvcc: NVIDIA (R) Cuda compiler driver\n"
    'Cuda compilation tools, release 10.0, V10.0.130\n# R36 (release), REVISION: 4.3,\n"name" : "CUDA SDK",\n"version" : "13.1"\n'
)
LOG = """[ 1843.308145] NVRM: The NVIDIA GPU 0000:b3:00.0
               NVRM: fallen off the bus and is not responding to commands.
NVRM: Xid (PCI:0000:9b:00): 119, pid=2024380, name=nvidia-smi, Timeout after 6s
nvidia-nvswitch3: SXid (PCI:0000:05:00.0): 12028, Non-fatal, Link 32
6,3964,206764307,-;NVRM: API mismatch: the client 'a' (pid 1)\\x0aNVRM: has the version 595.84, but\\x0aNVRM: this kernel
nvidia 0000:0b:00.0: PCIe Bus Error: severity=Uncorrected (Non-Fatal), type=Transaction Layer
"""
ERRORS = (
    "Failed to initialize NVML: Unknown Error\nNo devices were found\n|  IX-ML: 4.3.8       Driver Version: 4.3.8 |\n"
)
READERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "-q": (read_query_text, QUERY), "-q -x": (read_query_xml, XML), "table": (read_table, TABLE), "-L": (read_list, LIST),
    "topo -m": (read_topology, TOPOLOGY), "topo -p2p": (read_p2p, TOPOLOGY), "nvlink": (read_nvlink, NVLINK),
    "dmon": (read_monitor, DMON), "csv": (read_csv, CSV), "mig": (read_mig_profiles, MIG),
    "--version": (read_smi_version, VERSIONS), "module": (read_module_version, FILES), "nvcc": (read_nvcc_version, FILES),
    "tegra": (read_tegra_release, FILES), "toolkit": (read_toolkit_version, FILES), "log": (read_kernel_log, LOG),
    "errors": (error_of, ERRORS), "look-alikes": (look_alike, ERRORS),
}  # fmt: skip
SEEDS = [seed for _, seed in READERS.values()]


@PROPERTY
@given(text=mutated(SEEDS))
def test_no_reader_raises(text: str) -> None:
    for read, _ in READERS.values():
        found = read(text)
        assert len(repr(found)) < 200 * len(text) + 20_000
    reading = read_any(text)
    assert bool(reading.form) != bool(reading.refused)


@PROPERTY
@given(text=mutated([QUERY, XML]))
def test_whatever_is_read_becomes_a_fact(text: str) -> None:
    for read in (read_query_text, read_query_xml):
        found = read(text)
        if isinstance(found, dict):
            json.dumps(found)
            for device in found["devices"]:
                state = gpu_state("gpu:x", device, "nvidia-smi -q")
                assert state.memory_bytes is None or 0 <= state.memory_bytes < 2**63
                assert device["pci"]["address"] is None or len(device["pci"]["address"]) == 12


@PROPERTY
@given(text=mutated([LOG]))
def test_a_log_never_gives_a_process_a_board_or_an_uuid(text: str) -> None:
    found = read_kernel_log(
        text + "\nNVRM: Xid (PCI:0000:9b:00): 13, pid=424242, name=secretname, GPU-0a1b2c3d-1111-2222 x\n"
    )
    assert isinstance(found, tuple)
    assert found[-1].number == 13
    shown = repr(found)
    assert "424242" not in shown
    assert "secretname" not in shown
    assert "0a1b2c3d" not in shown
    assert len(found) <= EVENTS_CAP


TEN_MEGABYTES = 10_000_000


def long_texts(seed: str) -> dict[str, str]:
    lines = seed.splitlines(keepends=True)
    first, last = lines[0], lines[-1]
    return {
        "the same again and again": seed * (TEN_MEGABYTES // len(seed)),
        "one line again and again": first + last * (TEN_MEGABYTES // len(last)),
        "one line of it": seed.replace("\n", " ") * (TEN_MEGABYTES // len(seed)),
        "a head and blanks": seed + " " * TEN_MEGABYTES,
        "a head and empty lines": seed + "\n" * TEN_MEGABYTES,
    }


@pytest.mark.parametrize("form", READERS)
def test_ten_megabytes_take_less_than_a_second(form: str) -> None:
    read, seed = READERS[form]
    for what, text in long_texts(seed).items():
        spent = processor_seconds(lambda text=text: read(text))
        assert spent < 1.0, (what, spent)


@pytest.mark.parametrize(
    "scrap", ["<a>", "</a>", "<a b='", "&", "<!--", "<![CDATA[", "| ", " : ", "NVRM: Xid (PCI:", "GPU 0: ", ", "]
)
def test_ten_megabytes_of_scraps_take_less_than_a_second(scrap: str) -> None:
    text = scrap * (TEN_MEGABYTES // len(scrap))
    for form, (read, seed) in READERS.items():
        for whole in (text, seed + text):
            spent = processor_seconds(lambda read=read, whole=whole: read(whole))
            assert spent < 1.0, (form, spent)


@PROPERTY
@given(word=st.text(max_size=60))
def test_values_never_raise(word: str) -> None:
    from infra_doctor_probes.nvidia_smi import text

    for read in (text.whole, text.decimal, text.byte_count, text.switch, text.snake, text.version, text.pci_address, text.pci_id,
                 text.told, text.plain):  # fmt: skip
        read(word)
