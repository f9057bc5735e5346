"""On a real GPU: every form of nvidia-smi's output is read, and tells of each GPU what NVML tells.

pytest -m gpu tests/gpu/test_nvidia_smi_forms.py"""

import shutil
import subprocess
from dataclasses import fields
from functools import cache

import pytest

from infra_doctor.machine.forms import live_machine
from infra_doctor_probes.detect import nvidia_driver, nvidia_gpu, nvidia_kernel_log, nvidia_smi, pci, system
from infra_doctor_probes.detect.nvidia_driver import NvidiaKernelModule
from infra_doctor_probes.detect.nvidia_kernel_log import KernelGpuLog
from infra_doctor_probes.detect.nvidia_smi import NvidiaSmi
from infra_doctor_probes.detect.nvidia_state import GpuState, gpu_state
from infra_doctor_probes.nvidia_smi.reading import read_any
from infra_doctor_probes.nvidia_smi.session import smi_answer
from tests.support.gather import Gathered, gather

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="no nvidia-smi on PATH"),
]
# What moves between two readings, what only one of the two tells, and where MiB are cut off.
MOVING = {
    "temperature_c", "temperature_memory_c", "temperature_margin_c", "power_w", "clocks_mhz", "throttle", "throttled_us",
    "utilization_percent", "memory_utilization_percent", "pstate", "pcie_generation", "memory_used_bytes", "processes",
}  # fmt: skip
OTHERWISE = {"source", "evidence", "errors", "memory_bytes", "memory_reserved_bytes", "nvlinks", "mig_devices"}


@cache
def gathered() -> Gathered:
    probes = (system, pci, nvidia_driver, nvidia_gpu, nvidia_smi, nvidia_kernel_log)
    return gather(live_machine(), *(p.PROBES for p in probes))


def printed(*arguments: str) -> str:
    done = subprocess.run(("nvidia-smi", *arguments), capture_output=True, text=True, timeout=120, check=False)
    return done.stdout


@pytest.mark.parametrize(
    ("arguments", "form"),
    [
        ((), "nvidia-smi"), (("-q",), "nvidia-smi -q"), (("-q", "-x"), "nvidia-smi -q -x"), (("-L",), "nvidia-smi -L"),
        (("topo", "-m"), "nvidia-smi topo -m"), (("topo", "-p2p", "r"), "nvidia-smi topo -p2p"),
        (("nvlink", "-s"), "nvidia-smi nvlink"), (("dmon", "-c", "1"), "nvidia-smi dmon"), (("pmon", "-c", "1"), "nvidia-smi dmon"),
        (("--query-gpu=index,name,memory.total", "--format=csv"), "nvidia-smi --format=csv"),
    ],
)  # fmt: skip
def test_every_form_is_known(arguments: tuple[str, ...], form: str) -> None:
    text = printed(*arguments)
    if not text.strip():
        pytest.skip(f"nvidia-smi {' '.join(arguments)} prints nothing here (no NVLink)")
    reading = read_any(text)
    assert reading.form == form, reading.refused


def test_nvidia_smi_tells_what_nvml_tells() -> None:
    answer = smi_answer(live_machine())
    assert answer is not None
    assert answer["error"] == ""
    ours = {s.gpu: s for s in gathered().facts if isinstance(s, GpuState)}
    assert len(ours) == len(answer["devices"])
    for device in answer["devices"]:
        key = f"gpu:{device['pci']['address']}"
        told, nvml = gpu_state(key, device, "nvidia-smi -q -x"), ours[key]
        differ = {}
        for field in fields(GpuState):
            left, right = getattr(told, field.name), getattr(nvml, field.name)
            if field.name not in MOVING | OTHERWISE and None not in (left, right) and left != right:
                differ[field.name] = (left, right)
        assert differ == {}
        assert told.memory_bytes is not None
        assert nvml.memory_bytes is not None
        assert 0 <= nvml.memory_bytes - told.memory_bytes < 1 << 20


def test_the_nvidia_smi_of_this_machine_is_the_drivers() -> None:
    smi = gathered().fact(NvidiaSmi)
    module = gathered().fact(NvidiaKernelModule)
    assert smi.error == ""
    assert smi.version == module.version


def test_the_kernel_log_was_asked() -> None:
    log = gathered().fact(KernelGpuLog)
    assert bool(log.source) != bool(log.error)
