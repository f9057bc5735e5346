"""Which nvidia-smi a shell starts, and what it says of itself."""

from typing import Any

import pytest

from infra_doctor_probes.detect import nvidia_driver, nvidia_smi, pci
from infra_doctor_probes.detect.nvidia_smi import NvidiaSmi
from tests.support.gather import gather
from tests.support.recipe import recipe_machine

BUS = "/sys/bus/pci/devices/0000:17:00.0"
FILES: dict[str, Any] = {f"{BUS}/vendor": "0x10de\n", f"{BUS}/device": "0x2330\n", f"{BUS}/class": "0x030200\n"}
LINKS = {f"{BUS}/driver": "../../../../bus/pci/drivers/nvidia"}
ELF = {"/usr/bin/nvidia-smi": {"needed": ["libc.so.6"]}}
SAYS = "NVIDIA-SMI version  : 580.95.05\nNVML version        : 580.95\nDRIVER version      : 580.95.05\nCUDA Version        : 13.0\n"
ARGV = ["nvidia-smi", "--version"]


def found(*commands: dict[str, Any], files: dict[str, Any] | None = None, **recipe: Any) -> NvidiaSmi | None:
    whole = {
        "files": FILES | (files or {}), "links": LINKS, "elf": ELF,
        "commands": [{"argv": ARGV, **c} for c in commands], **recipe,
    }  # fmt: skip
    gathered = gather(recipe_machine(whole, ("PATH",)), pci.PROBES, nvidia_driver.PROBES, nvidia_smi.PROBES)
    return next((f for f in gathered.facts if isinstance(f, NvidiaSmi)), None)


def smi(*commands: dict[str, Any], **recipe: Any) -> NvidiaSmi:
    fact = found(*commands, **recipe)
    assert fact is not None
    return fact


def test_the_drivers_own() -> None:
    fact = smi({"stdout": SAYS})
    assert (fact.path, fact.form, fact.others) == ("/usr/bin/nvidia-smi", "elf", ())
    assert (fact.version, fact.nvml_version, fact.driver_version, fact.cuda_version) == (
        "580.95.05",
        "580.95",
        "580.95.05",
        "13.0",
    )
    assert (fact.error, fact.error_kind, fact.timed_out) == ("", "", False)


def test_the_first_on_path_counts_and_the_others_are_named() -> None:
    script = {"/usr/local/bin/nvidia-smi": "#!/bin/sh\n", "/opt/bin/nvidia-smi": "#!/bin/sh\n"}
    fact = smi(
        {"stdout": SAYS}, files=script, environment={"PATH": "/opt/bin:/usr/local/bin:relative:/usr/bin:/usr/bin"},
        links={**LINKS, "/opt/bin/nvidia-smi": "/usr/local/bin/nvidia-smi"},
    )  # fmt: skip
    assert (fact.path, fact.real_path, fact.form) == ("/opt/bin/nvidia-smi", "/usr/local/bin/nvidia-smi", "script")
    assert fact.others == ("/usr/bin/nvidia-smi",)


def test_one_that_may_not_be_executed_is_passed_over() -> None:
    text = {"/usr/local/bin/nvidia-smi": {"base64": "aGk=", "mode": 0o644}}
    assert smi({"stdout": SAYS}, files=text).path == "/usr/bin/nvidia-smi"


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        ({"timed_out": True}, "timeout"),
        (
            {"rc": 9, "stdout": "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."},
            "no-driver",
        ),
        ({"rc": 18, "stdout": "Failed to initialize NVML: Driver/library version mismatch"}, "version-mismatch"),
        ({"rc": 2, "stdout": "Invalid combination of input arguments. Please run 'nvidia-smi -h' for help."}, "old"),
        ({"rc": 127, "stderr": "sh: 1: real-smi: not found\n"}, "other"),
        ({"rc": 0, "stdout": "hello\n"}, "other"),
        ({"rc": 1, "stdout": SAYS}, "other"),
        (
            {"rc": 0, "stdout": "|  IX-ML: 4.3.8       Driver Version: 4.3.8       CUDA Version: 10.2          |\n"},
            "look-alike",
        ),
        ({"rc": 1, "stdout": "Mismatch in versions between nvidia-smi and NVML.\n"}, "other-version"),
    ],
)
def test_what_it_says_instead(result: dict[str, Any], kind: str) -> None:
    fact = smi(result)
    assert fact.error_kind == kind
    assert fact.error
    assert fact.timed_out is (kind == "timeout")


def test_the_drivers_own_program_gets_a_second_longer_deadline() -> None:
    machine = recipe_machine(
        {"files": FILES, "links": LINKS, "elf": ELF, "commands": [{"argv": ARGV, "timed_out": True}]}
    )
    gather(machine, pci.PROBES, nvidia_smi.PROBES)
    asked = [key[2] for key in machine.observations if key[0] == "run"]
    assert asked == [nvidia_smi.DEADLINE_S, nvidia_smi.PATIENCE_S]
    script = recipe_machine(
        {
            "files": {**FILES, "/usr/bin/nvidia-smi": "#!/bin/sh\n"},
            "links": LINKS,
            "commands": [{"argv": ARGV, "timed_out": True}],
        }
    )
    gather(script, pci.PROBES, nvidia_smi.PROBES)
    assert [key[2] for key in script.observations if key[0] == "run"] == [nvidia_smi.DEADLINE_S]


@pytest.mark.parametrize(
    "recipe",
    [
        {"files": {}, "elf": ELF},  # no NVIDIA device
        {"files": FILES, "links": {f"{BUS}/driver": "../../../../bus/pci/drivers/nouveau"}, "elf": ELF},
        {"files": FILES, "links": LINKS},  # not on PATH
    ],
)
def test_no_command_is_started_where_there_is_nothing_to_ask(recipe: dict[str, Any]) -> None:
    machine = recipe_machine({**recipe, "commands": [{"argv": ARGV, "stdout": SAYS}]})
    gathered = gather(machine, pci.PROBES, nvidia_driver.PROBES, nvidia_smi.PROBES)
    assert not gathered.has(NvidiaSmi)
    assert not any(key[0] == "run" for key in machine.observations)
