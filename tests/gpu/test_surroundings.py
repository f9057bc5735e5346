"""On a real GPU machine: shared memory, limits, modules and profilers as the system's own tools tell of them.

pytest -m gpu tests/gpu/test_surroundings.py"""

import os
import re
import shutil
import subprocess

import pytest

from infra_doctor.machine.forms import live_machine
from infra_doctor_probes.detect import (
    communication,
    nvidia_driver,
    pci,
    profilers,
    sharing,
    system_limits,
    tuning_variables,
)
from infra_doctor_probes.detect.communication import GpuDirect
from infra_doctor_probes.detect.profilers import ProfilingPermissions
from infra_doctor_probes.detect.system_limits import ResourceLimits, SharedMemory
from tests.support.gather import Gathered, gather

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not os.path.exists("/proc/driver/nvidia/version"), reason="no NVIDIA driver"),
]
PROBES = (
    pci.PROBES, nvidia_driver.PROBES, system_limits.PROBES, communication.PROBES, tuning_variables.PROBES, profilers.PROBES,
    sharing.PROBES,
)  # fmt: skip


@pytest.fixture(scope="module")
def found() -> Gathered:
    return gather(live_machine(tuning_variables.ALLOWED + sharing.VARIABLES), *PROBES)


def output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False).stdout


def test_shared_memory_against_df(found: Gathered) -> None:
    size = output("df", "-B1", "--output=size", "/dev/shm").split()[-1]
    assert found.fact(SharedMemory).total_bytes == int(size)


def test_limits_against_the_shell(found: Gathered) -> None:
    said = output("sh", "-c", "ulimit -l").strip()
    soft = found.fact(ResourceLimits).soft("memlock")
    assert said == ("unlimited" if soft is None else str(soft // 1024))


def test_modules_against_proc(found: Gathered) -> None:
    with open("/proc/modules", encoding="utf-8") as file:
        loaded = {line.split()[0] for line in file}
    assert bool(found.fact(GpuDirect).peer_memory) == ("nvidia_peermem" in loaded)
    assert found.fact(GpuDirect).gdrdrv == ("gdrdrv" in loaded)


def test_rdma_devices_against_the_kernels_own_list(found: Gathered) -> None:
    folder = "/sys/class/infiniband"
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    assert [c.name for c in found.kinds("rdma-device")] == names


def test_profiling_permission_against_the_driver(found: Gathered) -> None:
    if not found.kinds("profiler"):
        pytest.skip("no profiler is installed")
    with open("/proc/driver/nvidia/params", encoding="utf-8") as file:
        said = re.search(r"RmProfilingAdminOnly: (\d)", file.read())
    assert found.fact(ProfilingPermissions).admin_only == (None if said is None else said.group(1) == "1")


@pytest.mark.parametrize("tool", ["ncu", "nsys"])
def test_profilers_against_their_own_word(found: Gathered, tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"no {tool} here")
    said = re.search(r"(\d{4}\.\d+\.\d+)", output(tool, "--version"))
    assert said is not None
    (first,) = [c for c in found.kinds("profiler") if c.name == tool and c.attributes["first"]]
    assert first.version is not None
    assert said.group(1).startswith(first.version) or first.version.startswith(said.group(1))
