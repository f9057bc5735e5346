"""Whatever files, commands, vendor libraries and variables say: probes and checks end in time, and none fails by itself."""

import random
import resource
import time
from pathlib import Path
from typing import Any

import pytest

from infra_doctor.codec import encode
from infra_doctor.errors import TargetError
from infra_doctor.machine.agent import Agent
from infra_doctor.model.finding import Status
from infra_doctor.model.report import Report
from infra_doctor.runner.run import Run, RunOptions
from infra_doctor.runner.snapshot import make_snapshot
from tests.core.runner.test_snapshot import machine_of
from tests.machines.test_machines import FOLDERS, NAMES, PLUGINS
from tests.support.faulty import TEXTS, Faulty
from tests.support.recipe import recipe_machine

SETTINGS: dict[str, object] = {"verbose": 2, "width": 80, "color": False, "ascii": False}
# Each machine is spoilt once, lightly or heavily.
SHARES = (0.02, 0.1, 0.4, 1.0)
PROBE_SECONDS = 3.0


def faults(run: Run, report: Report) -> list[str]:
    """What is a fault of ours in a run."""
    found = list(run.traces)
    found += [f"{f.subject} {f.detail}" for f in report.findings if f.id == "PLUGIN-FAILED"]
    return found + [f.detail for f in report.findings if f.id == "PROBE-FAILED" and "not done within" in f.detail]


@pytest.mark.parametrize("share", SHARES)
def test_spoilt_answers(share: float) -> None:
    number = SHARES.index(share)
    for folder in FOLDERS[number :: len(SHARES)]:
        try:
            options, machine, document = machine_of(folder)
        except pytest.skip.Exception:
            continue
        machine._source = Faulty(machine._source, random.Random(folder.name), share)
        run = Run(options, registry=PLUGINS, machine=machine, replayed_from=document)
        began = time.process_time()
        try:
            report = run.execute()
        except TargetError:  # the environment that was asked for is among what is spoilt: said, with exit code 2
            continue
        assert not faults(run, report), folder.name
        assert time.process_time() - began < PROBE_SECONDS, folder.name
        encode(make_snapshot(run, report))
        for form in PLUGINS.reports if number % 2 else ():
            text = form.render(report, SETTINGS)
            assert "\x1b[31m" not in text and "<script>alert" not in text, (folder.name, form.name)


def test_a_child_that_says_nothing_usable_is_no_healthy_gpu() -> None:
    """Eight GPUs in /proc and on the bus, and a library that answers with something else: not one pass about their state."""
    folder = next(f for f in FOLDERS if f.name == "healthy-8-gpus")
    state = {"ECC/XID", "GPU-SLOWDOWN", "NVLINK", "GPU-BUSY", "FABRIC", "MIG"}
    for answer in ({"data": {}}, {"data": {"devices": None}}, {"data": {"devices": [None, 3, {}]}}, {"error": "x"},
                   {"error": "no answer within 3 s", "timed_out": True}):  # fmt: skip
        options, machine, _ = machine_of(folder)
        source = machine._source
        source.recipe["children"] = dict.fromkeys(source.recipe["children"], answer)  # type: ignore[attr-defined]
        report = Run(options, registry=PLUGINS, machine=machine).execute()
        passed = {f.id for f in report.findings if f.status is Status.PASS}
        assert not passed & state, (answer, passed & state)


# Files that a probe reads, where only the live system or an unpacked tree has them: each is put in the place of its own.
FILES = (
    "/etc/docker/daemon.json", "/etc/nvidia-container-runtime/config.toml", "/etc/cdi/nvidia.yaml", "/var/run/cdi/nvidia.yaml",
    "/etc/containerd/config.toml", "/etc/nccl.conf", "/proc/modules", "/proc/cmdline", "/proc/self/status", "/proc/meminfo",
    "/proc/sys/kernel/perf_event_paranoid", "/proc/sys/vm/max_map_count", "/proc/driver/nvidia/params", "/proc/self/cgroup",
    "/proc/driver/nvidia/gpus/0000:17:00.0/information", "/proc/devices", "/proc/self/mountinfo", "/proc/self/maps",
    "/sys/module/nvidia/parameters/NVreg_OpenRmEnableUnsupportedGpus", "/sys/class/infiniband/mlx5_0/ports/1/state",
    "/sys/class/infiniband/mlx5_0/ports/1/rate", "/sys/class/infiniband/mlx5_0/fw_ver", "/sys/class/kfd/kfd/topology/nodes/1/properties",
    "/sys/bus/pci/devices/0000:17:00.0/current_link_speed", "/sys/bus/pci/devices/0000:17:00.0/current_link_width",
    "/sys/bus/pci/devices/0000:17:00.0/numa_node", "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
    "/etc/OpenCL/vendors/x.icd", "/etc/modprobe.d/blacklist.conf", "/usr/local/cuda-13.0/version.json", "/etc/ascend_install.info",
    "/usr/local/Ascend/driver/version.info", "/etc/hccn.conf", "/opt/rocm/.info/version", "/etc/wsl.conf", "/etc/mtab",
    "/run/nvidia/driver.conf", "/opt/tritonserver/TRITON_VERSION", "/usr/include/NvInferVersion.h",
)  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_any_text_in_every_file(text: str) -> None:
    """All files of the description at once, and those beside, hold this."""
    options, machine, _ = machine_of(next(f for f in FOLDERS if f.name == "healthy-8-gpus"))
    source = machine._source
    recipe = dict(source.recipe)  # type: ignore[attr-defined]
    kept = {
        p: t for p, t in recipe.get("files", {}).items() if isinstance(t, dict) or p.endswith(("os.py", "pyvenv.cfg"))
    }
    told = {p: text for p in (*recipe.get("files", {}), *FILES) if p not in kept}
    machine = recipe_machine({**recipe, "files": {**kept, **told}}, NAMES)
    run = Run(RunOptions(python=options.python), registry=PLUGINS, machine=machine)
    began = time.process_time()
    report = run.execute()
    assert not faults(run, report)
    assert time.process_time() - began < PROBE_SECONDS


# -- commands that really run, on machines that have the device --------------------------------------------------------


class Running:
    """A described machine on which each command is this script."""

    def __init__(self, inner: Any, script: Path) -> None:
        self.inner, self.script, self.ran = inner, str(script), 0

    def ask(self, name: str, *arguments: Any) -> Any:
        if name != "run":
            return self.inner.ask(name, *arguments)
        self.ran += 1
        return Agent().ask("run", [self.script, *arguments[0][1:]], 0.5)


MACHINES = ("healthy-8-gpus", "rocm-groups", "intel-torch-xpu", "ascend-health-alarm", "vendor-cambricon", "musa-s4000")


@pytest.mark.parametrize("script", ["head -c 100000000 /dev/zero", "head -c 100000000 /dev/urandom", "echo x >&2; exit 3",
                                    "exec yes 'GPU 0: | 1 | x'", "kill -9 $$", "sleep 88887"])  # fmt: skip
def test_vendors_commands_that_misbehave(tmp_path: Path, script: str) -> None:
    path = tmp_path / "command"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ran = 0
    for folder in (f for f in FOLDERS if f.name in MACHINES):
        options, machine, _ = machine_of(folder)
        running = machine._source = Running(machine._source, path)
        run = Run(options, registry=PLUGINS, machine=machine)
        report = run.execute()
        assert not faults(run, report), folder.name
        encode(make_snapshot(run, report))
        ran += running.ran
    assert ran > len(MACHINES) // 2, "the machines call no command"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 100 * 1024, "KiB"
