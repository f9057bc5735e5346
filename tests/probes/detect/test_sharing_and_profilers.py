"""MPS, and which profilers are installed, found without starting any."""

from typing import Any

import pytest

from infra_doctor.machine.forms import live_machine
from infra_doctor_probes.detect import nvidia_driver, profilers, sharing
from infra_doctor_probes.detect.profilers import ProfilingPermissions
from infra_doctor_probes.detect.sharing import Mps
from tests.support.gather import Gathered, gather
from tests.support.recipe import recipe_machine

DRIVER = {
    "/proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\n",
    "/proc/driver/nvidia/params": "RmProfilingAdminOnly: 1\n",
}


def gathered(**recipe: Any) -> Gathered:
    recipe["files"] = {"/dev/nvidia0": {"type": "char", "rdev": [195, 0]}, **recipe.get("files", {})}
    return gather(recipe_machine(recipe, sharing.VARIABLES), nvidia_driver.PROBES, profilers.PROBES, sharing.PROBES)


def test_nsight_by_its_folders() -> None:
    found = gathered(
        files={
            "/opt/nvidia/nsight-compute/2024.1.1/ncu": "",
            "/opt/nvidia/nsight-compute/2025.10.0/ncu": "",
            "/usr/local/cuda-13.0/nsight-systems-2025.3.2/bin/nsys": "",
            "/usr/local/cuda-13.0/bin/nsys": "#!/bin/sh\n",
            "/usr/bin/ncu": "#!/bin/sh\n",
            "/opt/nvidia/nsight-compute/host/readme": "",
        },
        environment={"PATH": "/usr/local/cuda-13.0/bin:/usr/bin"},
    )
    seen = {(c.name, c.version): c.attributes["first"] for c in found.kinds("profiler")}
    assert seen == {("ncu", "2024.1.1"): False, ("ncu", "2025.10.0"): True, ("nsys", "2025.3.2"): True}
    assert not [key for key in recipe_machine({}).observations if key[0] == "run"]


def test_other_profilers() -> None:
    files = {
        "/usr/bin/perf": "#!/bin/sh\n",
        "/usr/lib/linux-tools/6.8.0-59-generic/perf": "",
        "/proc/sys/kernel/osrelease": "6.8.0-60-generic\n",
        "/opt/rocm-6.3.1/bin/rocprofv3": "",
        "/usr/local/Ascend/ascend-toolkit/latest/tools/profiler/bin/msprof": "",
    }
    found = gathered(files=files, environment={"PATH": "/usr/bin:/opt/rocm-6.3.1/bin"})
    by_name = {c.name: c for c in found.kinds("profiler")}
    assert by_name["perf"].attributes["works"] is False  # of another kernel
    assert by_name["rocprofv3"].version == "6.3.1"
    assert (by_name["msprof"].location or "").endswith("/msprof")


def test_permissions_where_a_profiler_is_there() -> None:
    files = {**DRIVER, "/usr/bin/ncu": "", "/proc/sys/kernel/perf_event_paranoid": "4\n"}
    found = gathered(files=files, running=["nv-hostengine", "bash"]).fact(ProfilingPermissions)
    assert (found.admin_only, found.perf_event_paranoid, found.holders) == (True, 4, ("nv-hostengine",))
    assert not gathered(files=DRIVER).has(ProfilingPermissions)


def test_processes_are_asked_by_name_alone() -> None:
    found = live_machine().processes("no-such-program", "python", "python3", "pytest")
    assert all(name in {"python", "python3", "pytest"} for _, name in found)


def test_mps() -> None:
    assert not gathered(files={}).has(Mps)
    runs = gathered(files={"/tmp/nvidia-mps/control": {"type": "socket"}}, running=["nvidia-cuda-mps-control"])
    assert (runs.fact(Mps).control, runs.fact(Mps).daemons) == (True, ("nvidia-cuda-mps-control",))
    gone = gathered(environment={"CUDA_MPS_PIPE_DIRECTORY": "/run/mps"}).fact(Mps)
    assert (gone.pipes, gone.pipes_exist, gone.control) == ("/run/mps", False, False)


@pytest.mark.parametrize("value", ["", "relative", "/" + "x" * 5000, "/a\nb"])
def test_hostile_pipe_directories(value: str) -> None:
    assert not gathered(environment={"CUDA_MPS_PIPE_DIRECTORY": value}).fact(Mps).control


def test_what_nobody_has_costs_little() -> None:
    machine = recipe_machine({"files": {"/usr/bin/perf": "", "/dev/null": {"type": "char"}}}, sharing.VARIABLES)
    assert gather(machine, profilers.PROBES, sharing.PROBES).components == []
    assert len(machine.observations) < 5
    assert not [key for key in machine.observations if key[0] in {"run", "processes", "child"}]
