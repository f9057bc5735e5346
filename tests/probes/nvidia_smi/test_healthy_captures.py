"""Machines around published outputs of nvidia-smi: nothing is reported but what a reader of the capture finds there too.

Each machine is judged twice: with nvidia-smi's own output as the collector records it, and with the same answer as NVML's."""

import pytest

from infra_doctor.model.finding import Status
from infra_doctor.model.report import Report
from infra_doctor.runner import registry
from infra_doctor.runner.run import Run, RunOptions
from tests.probes.nvidia_smi.captures import capture
from tests.probes.nvidia_smi.machines import answer_of, machine_of
from tests.probes.nvidia_smi.test_query import sample
from tests.support.recipe import SAMPLES, recipe_machine

PLUGINS = registry.load(third_party=False)
NAMES = tuple(sorted({n for p in PLUGINS.probes for n in p.environment}))
# Not taken: no driver version in it (cut by its publisher), or Windows, whose driver model is another.
LEFT_OUT = ("nvidia-smi-q-x__influxdata_gtx-1070-ti.xml", "nvidia-smi-q__windows")
CUT = "nvidia-smi-q__gpud_535.183.01.out.0.invalid.txt"
# What a capture shows that is not as it should be: the ids, and the line of the capture that says so.
SHOWN = {
    "nvidia-smi-q-x__influxdata_a100-sxm4-v12.xml": ({"PERSIST"}, "<persistence_mode>Disabled"),
    "nvidia-smi-q-x__influxdata_a10g.xml": ({"PERSIST"}, "<persistence_mode>Disabled"),
    "nvidia-smi-q-x__influxdata_gtx-1660-ti.xml": ({"PERSIST"}, "<persistence_mode>Disabled"),
    "nvidia-smi-q-x__netdata_a100-sxm4-mig.xml": ({"PERSIST"}, "<persistence_mode>Disabled"),
    "nvidia-smi-q-x__netdata_tesla-p100.xml": ({"PERSIST"}, "<persistence_mode>Disabled"),
    "nvidia-smi-q__linux-x86_64_nvidia-l40s_595.80_idle.txt": ({"PERSIST"}, "Persistence Mode                                   : Disabled"),
    "nvidia-smi-q__linux-x86_64_nvidia-l40s_595.80_load.txt": ({"PERSIST"}, "Persistence Mode                                   : Disabled"),
    "nvidia-smi-q-x__influxdata_rtx-3090-v12.xml": ({"GPU-SLOWDOWN"}, "<power_limit>200.00 W"),
    "nvidia-smi-q__gpud_535.129.03.out.0.valid.a10.txt": ({"ECC/XID"}, "Pending                           : Yes"),
    "nvidia-smi-q__gpud_535.161.08.out.0.valid.txt": ({"GPU-SLOWDOWN"}, "HW Power Brake Slowdown       : Active"),
    "nvidia-smi-q__gpud_535.183.01.out.0.valid.txt": ({"GPU-SLOWDOWN"}, "HW Power Brake Slowdown       : Active"),
}  # fmt: skip
FOLDER = SAMPLES / "vendors" / "nvidia"
FILES = [
    p.name
    for pattern in ("nvidia-smi-q-x__*", "nvidia-smi-q__*")
    for p in sorted(FOLDER.glob(pattern))
    if not p.name.startswith(LEFT_OUT) and p.name != CUT
]
OWN = [f"{folder}/nvidia-smi-q.{form}" for folder in ("env-2gpu", "env-8gpu") for form in ("xml", "txt")]


def judged(text: str, *, by_nvml: bool) -> Report:
    machine = recipe_machine(machine_of(text, by_nvml=by_nvml), NAMES)
    return Run(RunOptions(), registry=PLUGINS, machine=machine).execute()


def bad(report: Report) -> dict[str, str]:
    return {f.id: f.title for f in report.findings if f.status in {Status.FAIL, Status.WARN, Status.ERROR}}


@pytest.mark.parametrize("by_nvml", [False, True], ids=["nvidia-smi", "nvml"])
@pytest.mark.parametrize("name", FILES)
def test_published_capture(name: str, by_nvml: bool) -> None:
    text = sample(name)
    ids, line = SHOWN.get(name, (set(), ""))
    assert line in text
    report = judged(text, by_nvml=by_nvml)
    assert set(bad(report)) == ids, bad(report)
    answer = answer_of(text)
    gpus = [c for c in report.components if c.kind == "gpu"]
    assert [g.key for g in gpus] == sorted(f"gpu:{d['pci']['address']}" for d in answer["devices"])
    assert {g.attributes["seen_by"] for g in gpus} == {"nvml" if by_nvml else "nvidia-smi"}
    assert {c.version for c in report.components if c.key == "driver:nvidia"} == {answer["driver_version"]}


@pytest.mark.parametrize("by_nvml", [False, True], ids=["nvidia-smi", "nvml"])
@pytest.mark.parametrize("name", OWN)
def test_h200_machines(name: str, by_nvml: bool) -> None:
    report = judged(capture(name), by_nvml=by_nvml)
    assert bad(report) == {}
    gpus = [c for c in report.components if c.kind == "gpu"]
    assert len(gpus) == int(name[4])
    assert {(g.name, g.attributes["architecture"], g.attributes["memory_bytes"]) for g in gpus} == {
        ("NVIDIA H200", "Hopper", 143771 << 20)
    }


def test_gpus_that_a_cut_output_lacks_are_not_taken_for_healthy() -> None:
    text = sample(CUT)
    recipe = machine_of(text, by_nvml=False)
    bus = "/sys/bus/pci/devices/0000:54:00.0"
    recipe["files"] |= {f"{bus}/vendor": "0x10de\n", f"{bus}/device": "0x2330\n", f"{bus}/class": "0x030200\n"}
    recipe["links"][f"{bus}/driver"] = "../../../../bus/pci/drivers/nvidia"
    report = Run(RunOptions(), registry=PLUGINS, machine=recipe_machine(recipe, NAMES)).execute()
    assert [f.subject for f in report.findings if f.id == "PROBE-FAILED"] == [("gpu:0000:54:00.0",)]
