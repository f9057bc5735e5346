"""Why NVIDIA's module does not serve a GPU: folders of the distributions, rules of modprobe.d, Secure Boot, hostile files."""

from pathlib import Path
from typing import Any

import pytest

from infra_doctor.machine.agent import Agent
from infra_doctor.machine.machine import Machine
from infra_doctor.machine.types import Capability, MachineForm
from infra_doctor_probes.detect import kernel_modules, nvidia_driver, pci, system
from infra_doctor_probes.detect.kernel_modules import NvidiaModuleState, built, forbids, read_secure_boot
from tests.support.gather import gather
from tests.support.recipe import recipe_machine

PROBES = (system.PROBES, pci.PROBES, nvidia_driver.PROBES, kernel_modules.PROBES)
KERNEL = "6.8.0-60-generic"
BUS = "/sys/bus/pci/devices/0000:3b:00.0"
GPU = {f"{BUS}/vendor": "0x10de\n", f"{BUS}/device": "0x20b2\n", f"{BUS}/class": "0x030200\n"}


def on_disk(root: Path) -> Machine:
    return Machine(Agent(str(root)), form=MachineForm.ROOTED, capabilities=(Capability.FILES, Capability.KERNEL_STATE))


def state(recipe: dict[str, Any], driver: str | None = None) -> NvidiaModuleState:
    links = {f"{BUS}/driver": f"../../../../bus/pci/drivers/{driver}"} if driver else {}
    machine = recipe_machine({**recipe, "files": {**GPU, **recipe.get("files", {})}, "links": links})
    found: NvidiaModuleState = gather(machine, *PROBES).fact(NvidiaModuleState)
    return found


@pytest.mark.parametrize(
    "path",
    [
        "updates/dkms/nvidia.ko",  # Ubuntu, Debian, Arch with DKMS
        "updates/dkms/nvidia-current.ko.xz",  # Debian's name
        "updates/dkms/nvidia-tesla-535.ko",
        "extra/nvidia/nvidia.ko.xz",  # Fedora's akmods
        "extra/drivers/video/nvidia/nvidia.ko",  # RHEL's precompiled kmod
        "weak-updates/nvidia/nvidia.ko",
        "extramodules/nvidia.ko.zst",  # Arch
        "kernel/drivers/video/nvidia.ko",  # NVIDIA's .run file
        "kernel/drivers/video/nvidia/nvidia.ko.gz",
        "kernel/nvidia-550/nvidia.ko",  # Ubuntu's signed packages
        "video/nvidia.ko",
    ],
)
def test_the_module_is_found_where_packages_put_it(tmp_path: Path, path: str) -> None:
    file = tmp_path / "lib/modules" / KERNEL / path
    file.parent.mkdir(parents=True)
    file.write_bytes(b"\x7fELF")
    assert built(on_disk(tmp_path), KERNEL) == (path,)
    assert built(on_disk(tmp_path), "6.8.0-61-generic") == ()


@pytest.mark.parametrize(
    "path",
    ["updates/dkms/nvidia-uvm.ko", "updates/dkms/nvidia-drm.ko", "kernel/drivers/video/fbdev/nvidia/nvidiafb.ko",
     "kernel/drivers/net/nvidia.ko", "updates/dkms/nvidia.ko/file", "updates/dkms/nvidia.ko.bak", "build/nvidia.ko"],
)  # fmt: skip
def test_what_is_no_nvidia_module_is_not_taken_for_one(tmp_path: Path, path: str) -> None:
    file = tmp_path / "lib/modules" / KERNEL / path
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    assert built(on_disk(tmp_path), KERNEL) == ()


def test_a_deep_or_circular_tree_ends(tmp_path: Path) -> None:
    root = tmp_path / "lib/modules" / KERNEL
    deep = root.joinpath("extra", *["deeper"] * 30)
    deep.mkdir(parents=True)
    (deep / "nvidia.ko").write_bytes(b"")
    (root / "extra/loop").symlink_to(root / "extra", target_is_directory=True)
    for number in range(200):
        (root / f"folder{number}").mkdir()
    machine = on_disk(tmp_path)
    assert built(machine, KERNEL) == ()
    assert len([key for key in machine.observations if key[0] == "list"]) < 60


@pytest.mark.parametrize(
    ("line", "module", "expected"),
    [
        ("blacklist nouveau", "nouveau", True),
        ("  blacklist   nvidia  ", "nvidia", True),
        ("options nouveau modeset=0", "nouveau", True),
        ("options nouveau modeset=1", "nouveau", False),
        ("options nvidia modeset=0", "nvidia", False),
        ("alias nouveau off", "nouveau", True),
        ("alias nvidia nvidia-current", "nvidia", False),
        ("alias nvidia", "nvidia", False),
        ("install nvidia /bin/false", "nvidia", True),
        ("install nvidia /sbin/modprobe --ignore-install nvidia", "nvidia", False),
        ("blacklist nvidia-uvm", "nvidia", False),
        ("blacklist nvidiafb", "nvidia", False),
        ("# blacklist nvidia", "nvidia", False),
        ("", "nvidia", False),
    ],
)
def test_lines_of_modprobe_d(line: str, module: str, expected: bool) -> None:
    assert forbids(line, module) is expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"\x06\0\0\0\x01", True), (b"\x06\0\0\0\0", False), (b"\x06\0\0\0", None), (b"", None), (b"\x01" * 40, None)],
)
def test_secure_boot_is_the_fifth_byte(tmp_path: Path, data: bytes, expected: bool | None) -> None:
    file = tmp_path / kernel_modules.SECURE_BOOT.lstrip("/")
    file.parent.mkdir(parents=True)
    file.write_bytes(data)
    assert read_secure_boot(on_disk(tmp_path)) is expected


def test_without_firmware_variables_secure_boot_is_not_known(tmp_path: Path) -> None:
    assert read_secure_boot(on_disk(tmp_path)) is None


def test_without_a_gpu_nothing_is_looked_at() -> None:
    machine = recipe_machine({"files": {"/dev/null": {"type": "char"}}})
    found = gather(machine, *PROBES)
    assert not found.has(NvidiaModuleState)
    assert not [key for key in machine.observations if "/lib/modules" in str(key) or key[0] == "kernel_log"]


@pytest.mark.parametrize("driver", ["nvidia", "vfio-pci"])
def test_a_gpu_that_is_served_costs_no_look_at_the_modules(driver: str) -> None:
    links = {f"{BUS}/driver": f"../../../../bus/pci/drivers/{driver}"}
    machine = recipe_machine({"files": GPU, "links": links})
    found = gather(machine, *PROBES).fact(NvidiaModuleState)
    assert (found.unserved, found.looked_deeper) == ((), False)
    assert not [key for key in machine.observations if "/lib/modules" in str(key) or key[0] == "kernel_log"]


def test_a_gpu_that_proc_shows_is_served_though_no_link_was_seen() -> None:
    found = state({"files": {"/proc/driver/nvidia/gpus/0000:3B:00.0/information": "Model: A100\n"}})
    assert (found.served, found.unserved) == (("0000:3b:00.0",), ())


def test_what_is_found_where_a_gpu_is_not_served() -> None:
    found = state(
        {
            "kernel_log": ["Loading of unsigned module is rejected", "usb 1-1: new device"],
            "files": {
                f"/lib/modules/{KERNEL}/kernel/x.ko": "",
                f"/lib/modules/{KERNEL}/build/Makefile": "",
                "/lib/modules/6.8.0-58-generic/updates/dkms/nvidia.ko": "",
                "/var/lib/dkms/nvidia/550.90.07/source/dkms.conf": "",
                "/var/lib/dkms/nvidia/kernel-6.8.0-58-generic-x86_64/x": "",
                "/var/lib/dkms/nvidia-fs/2.19.6/source/dkms.conf": "",
                "/etc/modprobe.d/a.conf": "blacklist nouveau\ninstall nvidia /bin/false\n",
                "/etc/modprobe.d/b.conf.disabled": "blacklist nvidia\n",
                "/proc/cmdline": "quiet modprobe.blacklist=nvidia,nouveau\n",
            },
        },
        driver="nouveau",
    )
    assert found.unserved == (("0000:3b:00.0", "nouveau"),)
    assert (found.kernel, found.kernel_has_modules, found.has_headers) == (KERNEL, True, True)
    assert (found.built_here, found.built_for, found.sources) == ((), ("6.8.0-58-generic",), ("550.90.07",))
    assert found.forbidden == (
        "/etc/modprobe.d/a.conf: install nvidia /bin/false",
        "/proc/cmdline: modprobe.blacklist=nvidia,nouveau",
    )
    assert found.nouveau_forbidden
    assert found.refused == ("Loading of unsigned module is rejected",)
    assert {e.source for e in found.evidence} >= {f"/lib/modules/{KERNEL}", "/etc/modprobe.d/a.conf", "kernel log"}


def test_hostile_files_raise_nothing() -> None:
    found = state(
        {
            "kernel_log": {"error": "Operation not permitted"},
            "files": {
                "/etc/modprobe.d/a.conf": {"type": "fifo"},
                "/etc/modprobe.d/b.conf": {"base64": "//79AAECYmxhY2tsaXN0"},
                "/etc/modprobe.d/c.conf": "blacklist " * 5000,
                "/etc/modprobe.d/d.conf": {"error": "Permission denied"},
                f"/lib/modules/{KERNEL}": {"error": "Permission denied"},
                kernel_modules.SECURE_BOOT: {"error": "Permission denied"},
            },
        }
    )
    assert (found.forbidden, found.secure_boot, found.refused) == ((), None, ())
