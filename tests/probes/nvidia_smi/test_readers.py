"""The smaller forms: tables, versions, lists, topology, links, samples, and files with versions."""

import pytest

from infra_doctor_probes.nvidia_smi.csv_query import CsvTable, read_csv
from infra_doctor_probes.nvidia_smi.driver_files import (
    ToldVersion,
    read_module_version,
    read_nvcc_version,
    read_tegra_release,
    read_toolkit_version,
)
from infra_doctor_probes.nvidia_smi.errors import SmiError, error_of
from infra_doctor_probes.nvidia_smi.list_gpus import read_list
from infra_doctor_probes.nvidia_smi.mig_profiles import read_mig_profiles
from infra_doctor_probes.nvidia_smi.monitor import Samples, read_monitor
from infra_doctor_probes.nvidia_smi.nvlink import read_nvlink
from infra_doctor_probes.nvidia_smi.reading import read_any
from infra_doctor_probes.nvidia_smi.smi_version import SmiVersion, read_smi_version
from infra_doctor_probes.nvidia_smi.table import SmiTable, read_table
from infra_doctor_probes.nvidia_smi.text import Refused, byte_count, pci_address, pci_id, version, whole
from infra_doctor_probes.nvidia_smi.topology import Matrix, read_p2p, read_topology
from tests.probes.nvidia_smi.captures import capture
from tests.probes.nvidia_smi.test_query import sample


def table(text: str) -> SmiTable:
    found = read_table(text)
    assert isinstance(found, SmiTable)
    return found


def test_the_table_of_eight_h200() -> None:
    found = table(capture("env-8gpu/nvidia-smi.txt"))
    assert (found.smi_version, found.driver_version, found.cuda_version) == ("580.159.04", "580.159.04", "13.0")
    assert [d.address for d in found.devices] == [f"0000:00:{n:02x}.0" for n in range(6, 14)]
    first = found.devices[0]
    assert (first.name, first.persistence, first.failed, first.mig) == ("NVIDIA H200", True, False, False)
    assert (first.memory_used_bytes, first.memory_bytes) == (0, 143771 << 20)
    assert (first.temperature_c, first.power_w, first.power_limit_w) == (36.0, 76.0, 700.0)
    assert (first.utilization_percent, first.compute_mode) == (0, "Default")
    assert found.processes == ()


@pytest.mark.parametrize(
    ("name", "versions", "count"),
    [
        ("nvidia-smi__418.67_x_gpu-groth16-prover-3x-L27.txt", ("418.67", "418.67", "10.1"), 1),
        ("nvidia-smi__418.67_x_Master-s-Dissertation-L408.txt", ("418.67", "418.67", "10.1"), 9),
        ("nvidia-smi__550.120_GeForce-RTX-3060_website-L363.txt", ("550.120", "550.120", "12.4"), 1),
        ("nvidia-smi__610.43.02_x_website-L256.txt", ("610.43.02", "610.43.02", "13.3"), 1),
        ("nvidia-smi__wsl2_545.36_RTX3060-Laptop.txt", ("545.36", "546.33", "12.3"), 1),
    ],
)
def test_heads_of_all_ages(name: str, versions: tuple[str, ...], count: int) -> None:
    found = table(sample(name))
    assert (found.smi_version, found.driver_version, found.cuda_version) == versions
    assert len(found.devices) == count
    assert all(d.address and d.memory_bytes for d in found.devices)


def test_a_device_that_prints_errors_for_values() -> None:
    device = table(sample("nvidia-smi__525.89.02_x_test-infra-L2244.txt")).devices[0]
    assert device.failed
    assert (device.name, device.temperature_c, device.power_w, device.mig) == ("ERR!", None, None, None)
    assert (device.address, device.memory_bytes) == ("0000:00:1e.0", 23028 << 20)


def test_mig_devices_of_the_table_are_no_gpus() -> None:
    found = table(sample("nvidia-smi__linux-x86_64_nvidia-h100-mig_590.48.01_load.txt"))
    assert [(d.index, d.mig, d.utilization_percent) for d in found.devices] == [(0, True, None)]
    assert found.processes is not None
    assert [p[2] for p in found.processes] == ["C"] * 3


def test_processes_without_their_names() -> None:
    found = table(sample("nvidia-smi__linux-x86_64_nvidia-geforce-rtx-2080-super_595.71.05_load.txt"))
    assert found.processes == ((0, 1696, "G"), (0, 4584, "G"), (0, 5267, "C"), (0, 5268, "C"))
    assert "ffmpeg" not in repr(found)


def test_smi_version() -> None:
    found = read_smi_version(
        sample("nvidia-smi-version__linux-x86_64_nvidia-geforce-rtx-2080-super_595.71.05_capabilities.txt")
    )
    assert found == SmiVersion(smi="595.71.05", nvml="595.71", driver="595.71.05", cuda="13.2")
    newer = read_smi_version(
        sample("nvidia-smi-version__windows-x86_64_nvidia-geforce-rtx-2080-super_610.62_capabilities.txt")
    )
    assert newer == SmiVersion(smi="610.62", nvml="610.62", driver="610.62", cuda="13.3")
    only_pointers = 'NVIDIA-SMI version : 610.62\nDRIVER version : Deprecated, see "KMD version" instead\n'
    assert read_smi_version(only_pointers) == SmiVersion(smi="610.62")
    assert isinstance(read_smi_version("hello"), Refused)


def test_list_with_mig() -> None:
    found = read_list(sample("nvidia-smi-list-L__linux-x86_64_nvidia-h100-mig_590.48.01_capabilities.txt"))
    assert not isinstance(found, Refused)
    assert [(g.index, g.name) for g in found] == [(0, "NVIDIA H100 80GB HBM3")]
    assert [m.profile for m in found[0].mig] == ["3g.40gb", "2g.20gb", "1g.10gb", "1g.10gb"]


def matrix(found: Matrix | Refused) -> Matrix:
    assert isinstance(found, Matrix), found
    return found


def test_topology_with_tabs() -> None:
    found = matrix(read_topology(capture("env-8gpu/topo.txt")))
    assert found.names == tuple(f"GPU{n}" for n in range(8))
    assert {found.nvlinks(a, b) for a in found.names for b in found.names if a != b} == {18}
    assert found.nvlinks("GPU0", "GPU0") is None
    assert found.affinity["GPU7"] == ("0-127", "0")


def test_topology_with_network_cards_and_spaces() -> None:
    found = matrix(read_topology(sample("nvidia-smi-topo-m__arthurchiao_L428.txt")))
    assert found.names[-2:] == ("NIC0", "NIC1")
    assert (found.cells["GPU6", "NIC1"], found.cells["NIC0", "NIC1"], found.cells["GPU0", "NIC0"]) == (
        "PHB",
        "PIX",
        "SYS",
    )
    assert (found.affinity["GPU0"], found.affinity["GPU4"]) == (("0-95,192-287", "0"), ("96-191,288-383", "1"))
    assert "NIC0" not in found.affinity


def test_p2p() -> None:
    found = matrix(read_p2p(capture("env-8gpu/topo-p2p.txt")))
    assert len(found.cells) == 64
    assert {w for (a, b), w in found.cells.items() if a != b} == {"ok"}
    said = " \tGPU0\tGPU1\t\n GPU0\tX\tCNS\t\n GPU1\tTNS\tX\t\n"
    assert matrix(read_p2p(said)).cells["GPU1", "GPU0"] == "topology not supported"


def test_nvlink_speed_and_errors() -> None:
    speeds = read_nvlink(capture("env-8gpu/nvlink.txt"))
    assert not isinstance(speeds, Refused)
    assert [g.index for g in speeds] == list(range(8))
    assert all(g.speeds_mb_per_s == dict.fromkeys(range(18), 26562) for g in speeds)
    errors = read_nvlink(capture("env-8gpu/nvlink-errors.txt"))
    assert not isinstance(errors, Refused)
    assert errors[7].errors[17] == {"replay": 0, "recovery": 0, "crc": 0}
    inactive = read_nvlink("GPU 0: NVIDIA A100 (UUID: GPU-x)\n\t Link 0: 25 GB/s\n\t Link 1: <inactive>\n")
    assert not isinstance(inactive, Refused)
    assert inactive[0].speeds_mb_per_s == {0: 25000, 1: None}


@pytest.mark.parametrize(
    ("machine", "note"),
    [
        (
            "nvidia-geforce-rtx-2080-super_595.71.05",
            "NVML: Unable to retrieve Nvlink information as all links are inActive",
        ),
        ("nvidia-l40s_595.80", "Device does not have or support Nvlink"),
        ("nvidia-h100-mig_590.48.01", "Nvlink queries are not supported for Devices in MIG mode"),
    ],
)
def test_why_no_links_are_listed(machine: str, note: str) -> None:
    found = read_nvlink(sample(f"nvidia-smi-nvlink-s__linux-x86_64_{machine}_capabilities.txt"))
    assert not isinstance(found, Refused)
    assert (found[0].note, found[0].speeds_mb_per_s) == (note, {})


def test_dmon_and_pmon() -> None:
    devices = read_monitor(sample("nvidia-smi-dmon__linux-x86_64_nvidia-h200_590.48.01_load.txt"))
    assert isinstance(devices, Samples)
    assert (devices.kind, devices.columns[1], len(devices.rows)) == ("dmon", ("pwr", "W"), 5)
    assert devices.rows[0][:5] == (0.0, 630.0, 53.0, 41.0, 100.0)
    processes = read_monitor(sample("nvidia-smi-pmon__linux-x86_64_nvidia-h200_590.48.01_load.txt"))
    assert isinstance(processes, Samples)
    assert (processes.kind, len(processes.rows)) == ("pmon", 15)
    assert processes.rows[0][:4] == (0.0, 10291.0, "C", None)
    assert "memhog" not in repr(processes)


def test_csv() -> None:
    found = read_csv(sample("nvidia-smi-query-gpu-csv__linux-x86_64_nvidia-h200_590.48.01_load.txt"))
    assert isinstance(found, CsvTable)
    row = dict(zip((n for n, _ in found.columns), found.rows[0], strict=True))
    assert (row["name"], row["driver_version"], row["memory.total"]) == ("NVIDIA H200", "590.48.01", "143771 MiB")
    assert dict(found.columns)["power.draw"] == "W"
    apps = read_csv("pid, process_name, used_gpu_memory [MiB]\n1, /a, b, c, 5 MiB\n2, x, [N/A]\n")
    assert apps == CsvTable(
        columns=(("pid", ""), ("used_gpu_memory", "MiB")), rows=(("1", "5 MiB"), ("2", "[N/A]"))
    )  # fmt: skip


def test_mig_profiles() -> None:
    found = read_mig_profiles(capture("env-8gpu/mig.txt"))
    assert not isinstance(found, Refused)
    assert len(found) == 8 * 7
    first = found[0]
    assert (first.gpu, first.name, first.profile_id, first.free, first.total, first.memory_gib) == (
        0,
        "1g.18gb",
        19,
        7,
        7,
        16.0,
    )


def test_versions_in_files() -> None:
    assert read_module_version(capture("env-2gpu/proc-version.txt")) == ToldVersion(
        what="kernel module", version="580.159.04", flavor="open"
    )
    assert read_nvcc_version(capture("env-2gpu/nvcc.txt")) == ToldVersion(what="nvcc", version="13.0.88")
    jetson = "# R36 (release), REVISION: 4.7, GCID: 42132812, BOARD: generic, EABI: aarch64\n"
    assert read_tegra_release(jetson) == ToldVersion(what="Jetson Linux", version="36.4.7")
    cut = '{"cuda" : {\n "name" : "CUDA SDK",\n "version" : "13.1.1"\n'
    assert read_toolkit_version(cut) == ToldVersion(what="CUDA toolkit", version="13.1.1")


@pytest.mark.parametrize(
    ("text", "kind", "code"),
    [
        (
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that …",
            "no-driver",
            9,
        ),
        (
            "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 570.124\n",
            "version-mismatch",
            18,
        ),
        ("Failed to initialize NVML: Unknown Error", "unknown-error", 999),
        ("Failed to initialize NVML: Insufficient Permissions", "no-permission", 4),
        ("No devices were found", "no-devices", None),
        ("Unable to determine the device handle for GPU 0000:0B:00.0: Unknown Error.", "no-handle", 999),
        ("Unable to determine the device handle for GPU0000:0B:00.0: GPU is lost. Reboot the system …", "gpu-lost", 15),
        (
            "Mismatch in versions between nvidia-smi and NVML.\nAre you sure you are using nvidia-smi …",
            "other-version",
            None,
        ),
        ("Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.", "usage", None),
    ],
)
def test_error_texts(text: str, kind: str, code: int | None) -> None:
    found = error_of(text)
    assert found is not None
    assert (found.kind, found.code) == (kind, code)
    assert read_any(text).form == "error"


def test_what_is_no_error() -> None:
    assert error_of("") is None
    assert error_of("Fri Jul  3 22:10:45 2026\n") is None
    assert isinstance(error_of("Failed to initialize NVML: Something New"), SmiError)
    assert read_any("").refused == "it is empty"


def test_values() -> None:
    assert [whole(v) for v in ("16x", "0 %", "P8", "N/A", "²", "", "-1", "9" * 30)] == [
        16,
        0,
        8,
        None,
        None,
        None,
        None,
        None,
    ]
    assert [byte_count(v) for v in ("143771 MiB", "1 GiB", "5", "x MiB", "-3 MiB")] == [
        143771 << 20,
        1 << 30,
        None,
        None,
        None,
    ]
    assert [version(v) for v in ("580.159.04", "13.3 [Deprecated; …", "Deprecated, see", "1", "٣.٤")] == [
        "580.159.04", "13.3", None, None, None,
    ]  # fmt: skip
    assert pci_address("00000000:0A:00.0") == "0000:0a:00.0"
    assert pci_address("0009:01:00.0") == "0009:01:00.0"
    assert [pci_address(v) for v in ("0A:00.0", "x:0A:00.0", "0000:0a:00.9", "00000000000:0a:00.0")] == [None] * 4
    assert (pci_id("0x233510DE"), pci_id("233510DE"), pci_id("10de:2335")) == ("10de:2335", "10de:2335", None)
