"""Container engines and what was asked for a container, on described files."""

import json
from typing import Any

import pytest

from infra_doctor_probes.detect import container_runtime, nvidia_driver, system
from infra_doctor_probes.detect.container_runtime import (
    DAEMON,
    TOOLKIT_CONFIG,
    ContainerGpuRequest,
    ContainerRuntimes,
    read_settings,
    toolkit_settings,
)
from tests.support.gather import Gathered, gather
from tests.support.recipe import recipe_machine

MODULE = {"/sys/module/nvidia/version": "580.95.05\n", "/dev/null": {"type": "char", "rdev": [1, 3]}}
DOCKER = {"/usr/bin/docker": {"size": 9}, "/usr/bin/dockerd": {"size": 9}}
NAMES = container_runtime.PROBES[0].environment
# The form that `nvidia-ctk cdi generate` writes, as YAML and as JSON.
YAML = """cdiVersion: 0.5.0
kind: nvidia.com/gpu
containerEdits:
  mounts:
  - containerPath: /usr/lib/x86_64-linux-gnu/libcuda.so.{0}
    hostPath: /usr/lib/x86_64-linux-gnu/libcuda.so.{0}
"""


def look(files: dict[str, Any], **more: Any) -> Gathered:
    machine = recipe_machine({"files": files, "environment": {"PATH": "/usr/bin"}, **more}, NAMES)
    return gather(machine, system.PROBES, nvidia_driver.PROBES, container_runtime.PROBES)


def host(files: dict[str, Any]) -> ContainerRuntimes:
    found: ContainerRuntimes = look({**MODULE, **files}).fact(ContainerRuntimes)
    return found


def test_without_a_driver_or_an_engine_there_is_nothing() -> None:
    assert not look(DOCKER).has(ContainerRuntimes)
    assert not look(MODULE).has(ContainerRuntimes)


def test_docker_with_nvidias_runtime() -> None:
    settings = {
        "default-runtime": "nvidia",
        "exec-opts": ["native.cgroupdriver=systemd"],
        "runtimes": {"nvidia": {"path": "nvidia-container-runtime", "args": []}, "kata": {"runtimeType": "io.kata"}},
        "registry-mirrors": ["https://mirror.example"],
    }
    found = host({**DOCKER, "/usr/bin/nvidia-container-runtime": {"size": 9}, DAEMON: json.dumps(settings)})
    assert (found.engines, found.docker, found.snap) == (("docker",), True, False)
    assert found.runtimes == (("kata", ""), ("nvidia", "nvidia-container-runtime"))
    assert (found.absent, found.default_runtime, found.cgroup_driver) == ((), "nvidia", "systemd")
    assert found.tools == ("/usr/bin/nvidia-container-runtime",)
    assert not any("mirror.example" in e.text for e in found.evidence)


@pytest.mark.parametrize(
    "path",
    ["nvidia-container-runtime", "/usr/bin/nvidia-container-runtime", "/opt/nvidia/toolkit/nvidia-container-runtime"],
)
def test_a_runtime_whose_program_is_not_there(path: str) -> None:
    found = host({**DOCKER, DAEMON: json.dumps({"runtimes": {"nvidia": {"path": path}}})})
    assert found.absent == ("nvidia",)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", False), ("  \n", False), ("{}", False), ('{"runtimes": []}', False), ('{"runtimes": {"nvidia": 5}}', False),
        ('{"exec-opts": [1, null]}', False), ('{"a": 1,}', True), ("not json", True), ("[1]", True), ("[" * 100000, True),
        ("no UTF-8", True),
    ],
)  # fmt: skip
def test_settings_of_every_kind(text: str, wrong: bool) -> None:
    spec = {"base64": "//8="} if text == "no UTF-8" else text
    _, error, _ = read_settings(recipe_machine({"files": {DAEMON: spec}}), DAEMON)
    assert bool(error) is wrong
    assert host({**DOCKER, DAEMON: spec}).config_error == error


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[nvidia-container-cli]\nno-cgroups = true\n", ("", TOOLKIT_CONFIG)),
        ('[nvidia-container-cli]\n#no-cgroups = true\n[nvidia-container-runtime]\nmode = "cdi"\n', ("cdi", "")),
        ("no-cgroups = false\n", ("", "")),
        ("", ("", "")),
        ("no-cgroups" * 100000, ("", "")),
    ],
)
def test_nvidias_own_settings(text: str, expected: tuple[str, str]) -> None:
    assert toolkit_settings(recipe_machine({"files": {TOOLKIT_CONFIG: text}})) == expected


def test_cdi_specifications() -> None:
    library = "/usr/lib/x86_64-linux-gnu/libcuda.so.580.95.05"
    found = host(
        {
            "/usr/bin/podman": {"size": 9},
            library: {"size": 9},
            "/etc/cdi/nvidia.yaml": YAML.format("580.95.05"),
            "/var/run/cdi/nvidia.json": json.dumps(
                {
                    "kind": "nvidia.com/gpu",
                    "containerEdits": {"mounts": [{"hostPath": "/usr/lib/libcuda.so.570.86.15"}]},
                }
            ),
            "/etc/cdi/other.yaml": YAML.format("1.2.3").replace("nvidia.com", "amd.com"),
            "/etc/cdi/notes.txt": YAML.format("1.2.3"),
            "/etc/cdi/pipe.yaml": {"type": "fifo"},
            "/etc/cdi/binary.yaml": {"base64": "//79AAEC"},
        }
    )
    assert [(s.path, s.driver_version, s.missing) for s in found.cdi] == [
        ("/etc/cdi/nvidia.yaml", "580.95.05", ()),
        ("/var/run/cdi/nvidia.json", "570.86.15", ("/usr/lib/libcuda.so.570.86.15",)),
    ]


def test_docker_as_a_snap() -> None:
    found = host({"/snap/docker/current/meta/snap.yaml": "", "/snap/bin/docker": {"size": 9}})
    assert (found.engines, found.docker, found.snap) == (("docker (snap)",), False, True)


@pytest.mark.parametrize(
    ("value", "devices", "count"),
    [
        (None, "", None), ("", "", None), ("all", "all", None), ("void", "none", 0), ("none", "none", 0), ("0,1", "named", 2),
        ("GPU-74e4b28e-fd6a-7f51-916f-2e756aa5877c", "named", 1), ("/var/run/nvidia-container-devices", "mounts", None),
        (" , ,", "", None),
    ],
)  # fmt: skip
def test_what_was_asked_for_a_container(value: str | None, devices: str, count: int | None) -> None:
    environment = {} if value is None else {"NVIDIA_VISIBLE_DEVICES": value}
    found = look({"/.dockerenv": ""}, environment=environment).fact(ContainerGpuRequest)
    assert (found.devices, found.count) == (devices, count)


def test_kubernetes_mounts_name_the_devices() -> None:
    files = {f"/var/run/nvidia-container-devices/GPU-{n}": {"type": "char", "rdev": [1, 3]} for n in range(3)}
    found = look({"/.dockerenv": "", **files}).fact(ContainerGpuRequest)
    assert (found.devices, found.count) == ("mounts", 3)
