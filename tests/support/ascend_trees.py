"""Ascend machines as real folders, built at test time out of the public captures; nothing of them is kept."""

import os
from pathlib import Path

import pytest

from infra_doctor.machine.agent import Agent
from infra_doctor.machine.machine import Machine
from infra_doctor.machine.types import Capability, MachineForm
from infra_doctor.model.plugins import Probe
from infra_doctor_probes.detect.ascend import PROBES
from tests.support.recipe import SAMPLES

FOLDER = SAMPLES / "vendors" / "ascend"
ASCEND = "usr/local/Ascend"


def probes(*names: str) -> tuple[Probe, ...]:
    """Ascend's probes of these names, in this order: "driver", "npu", "cann" …"""
    by_id = {probe.id: probe for probe in PROBES}
    return tuple(by_id[f"ascend-{name}"] for name in names)


def captures(pattern: str) -> list[Path]:
    """The captures whose name matches, each once; none where the samples are not there."""
    return sorted(FOLDER.glob(pattern))


def capture(name: str) -> str:
    """One capture's text; skips the test where the samples are not there."""
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"public capture not here: {name}")
    return path.read_text(encoding="utf-8")


def put(root: Path, path: str, text: str | bytes) -> None:
    """Write one file below the root."""
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(text.encode() if isinstance(text, str) else text)


def link(root: Path, path: str, to: str) -> None:
    """Make one link below the root."""
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    os.symlink(to, place)


def machine_at(root: Path, *names: str, kernel: bool = False) -> Machine:
    """The machine of a folder with this process's environment."""
    capabilities = {Capability.FILES, Capability.ENVIRONMENT}
    if kernel:
        capabilities.add(Capability.KERNEL_STATE)
    return Machine(
        Agent(str(root)), form=MachineForm.ROOTED, capabilities=capabilities, environment_names=("HOME", *names)
    )
