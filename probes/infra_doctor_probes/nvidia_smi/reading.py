"""Tells the forms of NVIDIA's outputs apart, and reads what it finds: for texts that come without their command."""

from collections.abc import Callable
from typing import Any

from infra_doctor.plugin import record
from infra_doctor_probes.nvidia_smi.csv_query import KNOWN, column, read_csv
from infra_doctor_probes.nvidia_smi.driver_files import (
    read_module_version,
    read_nvcc_version,
    read_tegra_release,
    read_toolkit_version,
)
from infra_doctor_probes.nvidia_smi.errors import SmiError, error_of, look_alike
from infra_doctor_probes.nvidia_smi.kernel_log import read_kernel_log
from infra_doctor_probes.nvidia_smi.list_gpus import read_list
from infra_doctor_probes.nvidia_smi.mig_profiles import read_mig_profiles
from infra_doctor_probes.nvidia_smi.monitor import read_monitor
from infra_doctor_probes.nvidia_smi.nvlink import read_nvlink
from infra_doctor_probes.nvidia_smi.query_text import read_query_text
from infra_doctor_probes.nvidia_smi.query_xml import read_query_xml
from infra_doctor_probes.nvidia_smi.smi_version import read_smi_version
from infra_doctor_probes.nvidia_smi.table import read_table
from infra_doctor_probes.nvidia_smi.text import Refused
from infra_doctor_probes.nvidia_smi.topology import read_p2p, read_topology

HEAD_CHARACTERS = 8192
KERNEL_MARKS = ("NVRM:", "nvidia-nvswitch", "nvidia-peermem", "SXid (", "nvidia: module verification failed")


@record
class Reading:
    """What a text was. `form` is "" where it was refused, with the reason; an error text has the form "error"."""

    form: str = ""
    value: Any = None
    refused: str = ""


# Form -> what its beginning holds, and its reader. The first that fits counts: an XML document holds words of others.
FORMS: tuple[tuple[str, Callable[[str], bool], Callable[[str], Any]], ...] = (
    ("nvidia-smi -q -x", lambda head: "<nvidia_smi_log" in head or "nvsmi_device_v" in head, read_query_xml),
    ("nvidia-smi -q", lambda head: "NVSMI LOG" in head, read_query_text),
    ("nvidia-smi --version", lambda head: "NVIDIA-SMI version" in head, read_smi_version),
    ("nvidia-smi", lambda head: "| NVIDIA-SMI " in head, read_table),
    ("nvidia-smi mig -lgip", lambda head: "GPU instance profiles:" in head, read_mig_profiles),
    ("/proc/driver/nvidia/version", lambda head: head.startswith("NVRM version:"), read_module_version),
    ("nvcc --version", lambda head: "Cuda compiler driver" in head, read_nvcc_version),
    ("/etc/nv_tegra_release", lambda head: head.startswith("# R") and "REVISION:" in head, read_tegra_release),
    ("version.json", lambda head: '"CUDA SDK"' in head, read_toolkit_version),
    ("nvidia-smi dmon", lambda head: head.lstrip().startswith("# gpu"), read_monitor),
    ("nvidia-smi nvlink", lambda head: head.startswith("GPU ") and "Link " in head, read_nvlink),
    ("nvidia-smi nvlink", lambda head: head.startswith("GPU ") and "vlink" in head, read_nvlink),
    ("nvidia-smi -L", lambda head: head.startswith("GPU ") and "(UUID:" in head, read_list),
    ("nvidia-smi topo -m", lambda head: "GPU0" in head.split("\n", 1)[0] and "Affinity" in head, read_topology),
    ("nvidia-smi topo -p2p", lambda head: "GPU0" in head.split("\n", 1)[0], read_p2p),
    ("nvidia-smi --format=csv", lambda head: column(head.split(",", 1)[0])[0] in KNOWN, read_csv),
    ("kernel log", lambda head: any(mark in head for mark in KERNEL_MARKS), read_kernel_log),
)


def read_any(text: str) -> Reading:
    """What this text is, of all forms."""
    other = look_alike(text)
    if other is not None:
        return Reading(refused=f"the output of {other}, which looks like nvidia-smi's")
    head = text[:HEAD_CHARACTERS].lstrip("\ufeff\r\n")
    reasons = []
    for form, fits, read in FORMS:
        if fits(head):
            found = read(text)
            if not isinstance(found, Refused):
                return Reading(form=form, value=found)
            reasons.append(f"{form}: {found.reason}")
    error: SmiError | None = error_of(text)
    if error is not None:
        return Reading(form="error", value=error)
    if reasons:
        return Reading(refused="; ".join(reasons))
    first = next((line.strip() for line in head.splitlines() if line.strip()), "")
    return Reading(refused=f"no output of NVIDIA's tools: it begins with {first[:60]!r}" if first else "it is empty")
