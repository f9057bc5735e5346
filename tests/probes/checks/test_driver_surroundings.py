"""The checks of kernel module, device files, containers, WSL, cuda-compat and visible-devices variables: what raises a finding,
which cause and remedy it names, and what must stay silent. Whole machines of each stand under tests/machines."""

import re
from datetime import date
from typing import Any

import pytest

from infra_doctor.model.component import Component
from infra_doctor.model.evidence import Evidence, EvidenceKind
from infra_doctor.model.finding import Confidence, Finding, Status
from infra_doctor.model.plugins import Check, CheckContext
from infra_doctor_probes.checks import (
    compat,
    ctr_cgroup,
    ctr_toolkit,
    env_cvd,
    k8s_device,
    nouveau,
    nv_nodes,
    open_km,
    uvm,
    wsl,
)
from infra_doctor_probes.detect.container_runtime import CdiSpec, ContainerGpuRequest, ContainerRuntimes
from infra_doctor_probes.detect.device_nodes import CONTROL, UVM, DeviceNode, NvidiaNodeAccess
from infra_doctor_probes.detect.kernel_modules import NvidiaModuleState
from infra_doctor_probes.detect.nvidia_driver import NvidiaDeviceNodes, NvidiaKernelModule
from infra_doctor_probes.detect.nvidia_gpu import NvidiaGpusNotGiven, NvmlSession
from infra_doctor_probes.detect.nvidia_state import GpuState
from infra_doctor_probes.detect.pci import PciDevice
from infra_doctor_probes.detect.system import Container, Wsl
from infra_doctor_probes.detect.visible_devices import VisibleDevices

MODULES = (compat, ctr_cgroup, ctr_toolkit, env_cvd, k8s_device, nouveau, nv_nodes, open_km, uvm, wsl)
CHECKS: dict[str, Check] = {c.id: c for m in MODULES for c in m.CHECKS}
SEEN = (Evidence(kind=EvidenceKind.FILE, source="/somewhere", text="seen"),)
DOCKER, POD = Container(runtime="docker", evidence=SEEN), Container(runtime="kubernetes", evidence=SEEN)
OPEN = NvidiaKernelModule(version="580.95.05", flavor="open", uvm_loaded=True, evidence=SEEN)
PROPRIETARY = NvidiaKernelModule(version="580.95.05", flavor="proprietary", uvm_loaded=True, evidence=SEEN)
ANSWERS = NvmlSession(driver_version="580.95.05", device_count=1, evidence=SEEN)
LOST = NvmlSession(error="Driver Not Loaded", error_code=9, evidence=SEEN)
ON_BUS = PciDevice(address="0000:17:00.0", vendor="nvidia", pci_id="10de:2330", class_code="030200", evidence=SEEN)


def component(key: str, name: str, version: str | None = None, **more: Any) -> Component:
    return Component(key=key, kind=key.partition(":")[0], name=name, version=version, evidence=SEEN, **more)


def gpu(name: str = "NVIDIA H100 80GB HBM3", seen_by: str = "nvml", **attributes: Any) -> Component:
    found = {"vendor": "nvidia", "seen_by": seen_by, **attributes}
    return component("gpu:0000:17:00.0", name, attributes=found)


def libcuda(
    location: str = "/usr/lib/libcuda.so.580.95.05",
    version: str | None = "580.95.05",
    origin: str = "driver",
    **more: Any,
) -> Component:
    attributes = {"first": True, "on_loader_path": True, **more}
    return component(f"libcuda:{location}", "libcuda", version, location=location, origin=origin, attributes=attributes)


LIBNVML = component("libnvidia-ml:/usr/lib/libnvidia-ml.so.1", "libnvidia-ml", "580.95.05", origin="driver")
TORCH = component("wheel:torch@/v", "torch", "2.11.0", target="target:/v", attributes={"build": "cuda", "cuda": "13.0"})
WSL_OS = component("os:ubuntu", "Ubuntu", attributes={"wsl": True, "kernel": "6.6.87.2-microsoft-standard-WSL2"})
JETSON_OS = component("os:ubuntu", "Ubuntu", attributes={"kernel": "5.15.148-tegra"})


def judge(check: str, *found: Any) -> list[Finding]:
    components = [f for f in found if isinstance(f, Component)]
    facts = [f for f in found if not isinstance(f, Component)]
    context = CheckContext(targets=(), components=components, facts=facts, today=date(2026, 11, 1))
    findings = list(CHECKS[check].run(context))
    for finding in findings:
        assert finding.id == check
        assert finding.evidence or finding.status is Status.SKIP, finding
        assert finding.remediation or finding.status not in {Status.FAIL, Status.WARN}, finding
    return findings


def one(check: str, *found: Any) -> Finding:
    (finding,) = judge(check, *found)
    return finding


@pytest.mark.parametrize("check", sorted(CHECKS))
def test_where_nothing_was_seen_nothing_is_judged(check: str) -> None:
    assert one(check).status is Status.SKIP


@pytest.mark.parametrize("check", sorted(set(CHECKS) - {"ENV-CVD", "WSL"}))
def test_a_container_without_gpus_is_not_judged_by_its_hosts_driver(check: str) -> None:
    state = NvidiaModuleState(served=(), unserved=(("0000:17:00.0", "nouveau"),), evidence=SEEN)
    aside = NvidiaGpusNotGiven(addresses=("0000:17:00.0",), reason="not given", evidence=SEEN)
    request = ContainerGpuRequest(devices="")
    assert one(check, OPEN, DOCKER, aside, state, request, ON_BUS, TORCH).status is Status.SKIP


# -- NOUVEAU ------------------------------------------------------------------------------------------------------


def not_served(driver: str = "", **more: Any) -> NvidiaModuleState:
    seen: dict[str, Any] = {
        "kernel": "6.8.0-60",
        "looked_deeper": True,
        "kernel_has_modules": True,
        "has_headers": True,
        **more,
    }
    return NvidiaModuleState(served=(), unserved=(("0000:17:00.0", driver),), evidence=SEEN, **seen)


BUILT: dict[str, Any] = {"built_here": ("updates/dkms/nvidia.ko",)}


@pytest.mark.parametrize(
    ("state", "title", "remedy"),
    [
        (not_served(sources=("550.90.07",)), "not built for the running kernel", "dkms autoinstall"),
        (not_served(sources=("550.90.07",), has_headers=False), "not built for the running kernel", "headers are missing"),
        (not_served(built_for=("6.8.0-58",)), "not there for the running kernel", "linux-modules-nvidia"),
        (not_served(), "not there for the running kernel", "package"),
        (not_served(kernel_has_modules=False, built_for=("6.8.0-62",)), "modules of the running kernel 6.8.0-60 are gone", "Reboot"),
        (not_served(kernel_has_modules=False), "could not be told", "modprobe nvidia"),
        (not_served(**BUILT, secure_boot=True), "Secure Boot", "mokutil"),
        (not_served("nouveau", **BUILT, secure_boot=True, nouveau_forbidden=True), "Secure Boot", "mokutil"),
        (not_served(**BUILT, refused=("Loading of unsigned module is rejected",)), "Secure Boot", "mokutil"),
        (not_served("nouveau", **BUILT), "Linux' own driver holds it", "blacklist nouveau"),
        (not_served("nova_core", **BUILT), "Linux' own driver holds it", "blacklist nouveau"),
        (not_served("nouveau", **BUILT, nouveau_forbidden=True), "though it is forbidden", "initramfs"),
        (not_served("nouveau", sources=("550.90.07",)), "not built for the running kernel", "dkms autoinstall"),
        (not_served(**BUILT), "is not loaded", "modprobe nvidia"),
        (not_served(**BUILT, secure_boot=False), "is not loaded", "modprobe nvidia"),
    ],
)  # fmt: skip
def test_an_installed_driver_that_serves_nothing_fails_with_its_cause(
    state: NvidiaModuleState, title: str, remedy: str
) -> None:
    found = one("NOUVEAU", state, gpu(seen_by="pci"), libcuda())
    assert found.status is Status.FAIL
    assert title in found.title
    assert found.remediation is not None
    assert remedy in found.remediation.text


def test_what_follows_from_a_guess_says_so() -> None:
    guessed = one("NOUVEAU", not_served(**BUILT, secure_boot=True), libcuda())
    told = one("NOUVEAU", not_served(**BUILT, refused=("Loading of unsigned module is rejected",)), libcuda())
    assert (guessed.confidence, told.confidence) == (Confidence.DERIVED, Confidence.OBSERVED)


def test_what_may_be_meant_is_a_warning() -> None:
    switched_off = not_served(**BUILT, forbidden=("/lib/modprobe.d/blacklist-nvidia.conf: blacklist nvidia",))
    found = one("NOUVEAU", switched_off, libcuda())
    assert (found.status, "on purpose" in (found.remediation or pytest.fail()).text) == (Status.WARN, True)
    packages_only = one("NOUVEAU", not_served("nouveau"), TORCH)
    assert packages_only.status is Status.WARN
    assert "torch 2.11.0 cannot use it" in packages_only.title


def test_a_display_under_nouveau_is_in_order() -> None:
    assert one("NOUVEAU", not_served("nouveau")).status is Status.SKIP
    assert one("NOUVEAU", not_served("nouveau"), component("wheel:numpy@/v", "numpy", "2.0")).status is Status.SKIP


def test_a_second_gpu_that_the_loaded_module_left_alone() -> None:
    found = one("NOUVEAU", not_served(**BUILT, refused=("NVRM: GPU 0000:17:00.0 is supported through the legacy drivers",)), OPEN,
                libcuda())  # fmt: skip
    assert (found.status, "did not take" in found.title, "legacy" in found.detail) == (Status.WARN, True, True)


def test_served_gpus_and_those_of_virtual_machines() -> None:
    assert one("NOUVEAU", NvidiaModuleState(served=("0000:17:00.0",), evidence=SEEN)).status is Status.PASS
    assert one("NOUVEAU", NvidiaModuleState(served=(), evidence=SEEN)).status is Status.SKIP
    assert one("NOUVEAU", not_served(), WSL_OS).status is Status.SKIP


def test_a_container_points_to_its_host() -> None:
    found = one(
        "NOUVEAU", NvidiaModuleState(served=(), unserved=(("0000:17:00.0", ""),), evidence=SEEN), DOCKER, TORCH, gpu()
    )
    assert "host" in (found.remediation or pytest.fail()).text


# -- OPEN-KM ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "device", "status"),
    [
        (OPEN, gpu("NVIDIA Tesla P40", "proc", compute_capability="6.1"), Status.FAIL),
        (OPEN, gpu("NVIDIA Tesla P40", "proc", compute_capability_hint="6.1"), Status.WARN),
        (OPEN, gpu("NVIDIA T4", "proc", compute_capability="7.5"), Status.SKIP),
        (OPEN, gpu("NVIDIA B200", "proc", compute_capability="10.0"), Status.SKIP),
        (PROPRIETARY, gpu("NVIDIA B200", "proc", compute_capability="10.0"), Status.FAIL),
        (PROPRIETARY, gpu("NVIDIA RTX 5090", "proc", compute_capability_hint="12.0"), Status.WARN),
        (PROPRIETARY, gpu("NVIDIA GH200 480GB", "proc", compute_capability="9.0"), Status.FAIL),
        (PROPRIETARY, gpu("NVIDIA H100", "proc", compute_capability="9.0"), Status.SKIP),
        (PROPRIETARY, gpu("NVIDIA B200", "nvml", compute_capability="10.0"), Status.PASS),
        (PROPRIETARY, gpu("NVIDIA GPU", "proc"), Status.SKIP),
        (NvidiaKernelModule(version="550.90.07", flavor="proprietary", uvm_loaded=True, evidence=SEEN),
         gpu("NVIDIA B200", "proc", compute_capability="10.0"), Status.SKIP),  # the branch is too old: another fault
        (NvidiaKernelModule(version="595.10", flavor="open", uvm_loaded=True, evidence=SEEN),
         gpu("NVIDIA Tesla P40", "proc", compute_capability="6.1"), Status.SKIP),  # too new for either flavour
        (NvidiaKernelModule(version="580.95.05", flavor=None, uvm_loaded=True, evidence=SEEN),
         gpu("NVIDIA B200", "proc", compute_capability="10.0"), Status.SKIP),
    ],
)  # fmt: skip
def test_flavours_and_generations(module: NvidiaKernelModule, device: Component, status: Status) -> None:
    assert one("OPEN-KM", module, device).status is status


def test_the_kernels_own_word_is_enough() -> None:
    said = "NVRM: installed in this system requires use of the NVIDIA open kernel modules."
    found = one("OPEN-KM", PROPRIETARY, gpu("NVIDIA GPU", "proc"), not_served(refused=(said,)))
    assert (found.status, found.confidence, "--kernel-module-type=open" in (found.remediation or pytest.fail()).text) == (
        Status.FAIL, Confidence.OBSERVED, True,
    )  # fmt: skip


# -- device files -------------------------------------------------------------------------------------------------


def access(maker: str = "", *, reach: bool = False, **nodes: DeviceNode | None) -> NvidiaNodeAccess:
    """All nodes in order but those named: control, uvm, gpu0, gpu1."""
    usual = {
        "control": DeviceNode(path=CONTROL, there=True, error="", mode="0666"),
        "uvm": DeviceNode(path=UVM, there=True, error="", mode="0666"),
        "gpu0": DeviceNode(path="/dev/nvidia0", there=True, mode="0666"),
    }
    kept = tuple(n for n in {**usual, **nodes}.values() if n is not None)
    return NvidiaNodeAccess(nodes=kept, maker=maker, may_reach_all=reach, evidence=SEEN)


NO_UVM = DeviceNode(path=UVM, there=False)
NO_CONTROL = DeviceNode(path=CONTROL, there=False)
NO_GPU0 = DeviceNode(path="/dev/nvidia0", there=False)


def closed(path: str, error: str, mode: str = "0666") -> DeviceNode:
    return DeviceNode(path=path, there=True, error=error, mode=mode)


@pytest.mark.parametrize(
    ("found", "status"),
    [
        ((access(),), Status.PASS),
        ((access(uvm=NO_UVM),), Status.FAIL),
        ((access("root", uvm=NO_UVM, reach=True),), Status.WARN),
        ((access("nvidia-modprobe", uvm=NO_UVM),), Status.PASS),
        ((access("nvidia-modprobe", uvm=NO_UVM), DOCKER), Status.FAIL),  # what it makes may not be opened there
        ((access("root", uvm=NO_UVM), DOCKER), Status.FAIL),
        ((access("root", uvm=NO_UVM, reach=True), DOCKER), Status.WARN),  # a privileged container
        ((access(uvm=closed(UVM, "ENXIO")),), Status.FAIL),
        ((access(uvm=closed(UVM, "EPERM")),), Status.SKIP),
        ((access(uvm=closed(UVM, "EACCES", "0660")),), Status.SKIP),
        ((access(uvm=DeviceNode(path=UVM, there=True, wrong="the device 1:3")),), Status.FAIL),
        ((access(uvm=NO_UVM), WSL_OS), Status.SKIP),
        ((access(uvm=NO_UVM), JETSON_OS), Status.SKIP),
    ],
)
def test_the_device_of_unified_memory(found: tuple[Any, ...], status: Status) -> None:
    assert one("UVM", OPEN, gpu(), libcuda(), TORCH, *found).status is status


def test_what_only_root_can_make_is_missed_by_nobody_without_a_cuda_program() -> None:
    assert one("UVM", OPEN, gpu(), libcuda(), access("root", uvm=NO_UVM, reach=True)).status is Status.SKIP


def test_without_libcuda_nobody_misses_the_device_of_unified_memory() -> None:
    assert one("UVM", OPEN, gpu(), access(uvm=NO_UVM), LIBNVML).status is Status.SKIP


@pytest.mark.parametrize(
    ("found", "status", "words"),
    [
        ((access(), ANSWERS), Status.PASS, "reachable"),
        ((access(control=NO_CONTROL), LOST, gpu(seen_by="proc")), Status.FAIL, "no program reaches the driver"),
        ((access(gpu0=NO_GPU0), gpu(seen_by="proc"), ANSWERS), Status.FAIL, "its GPU is invisible"),
        ((access("root", control=NO_CONTROL), ANSWERS, gpu()), Status.WARN, "only root's programs can make it"),
        ((access("nvidia-modprobe", control=NO_CONTROL, gpu0=NO_GPU0), ANSWERS, gpu()), Status.PASS, "nvidia-modprobe makes them"),
        ((access(control=closed(CONTROL, "EACCES", "0660")), LOST), Status.FAIL, "may not be opened by this user (mode 0660)"),
        ((access(control=closed(CONTROL, "EACCES")), LOST), Status.FAIL, "though its mode 0666 allows it"),
        ((access(control=closed(CONTROL, "ENXIO")), LOST), Status.FAIL, "ENXIO"),
        ((access(uvm=closed(UVM, "EACCES", "0660")), ANSWERS, gpu()), Status.FAIL, UVM),
        ((access(control=closed(CONTROL, "EPERM")), LOST, DOCKER), Status.PASS, "reachable"),  # CTR-CGROUP speaks of it
        ((access(uvm=NO_UVM), ANSWERS, gpu()), Status.PASS, "reachable"),  # UVM speaks of it
        ((access(gpu1=DeviceNode(path="/dev/nvidia1", there=False)), ANSWERS, gpu(), DOCKER), Status.PASS, "reachable"),
        ((access(gpu0=DeviceNode(path="/dev/nvidia0", there=True, wrong="the device 1:3")), LOST), Status.FAIL, "1:3"),
        ((access(control=NO_CONTROL, uvm=NO_UVM, gpu0=NO_GPU0), LOST, DOCKER), Status.SKIP, "CTR-TOOLKIT"),
        ((access(control=NO_CONTROL), LOST, WSL_OS), Status.SKIP, ""),
    ],
)  # fmt: skip
def test_the_other_device_files(found: tuple[Any, ...], status: Status, words: str) -> None:
    finding = one("NV-NODES", OPEN, *found)
    assert (finding.status, words in finding.title) == (status, True), finding.title


# -- containers ---------------------------------------------------------------------------------------------------

NVIDIA_RUNTIME = (("nvidia", "nvidia-container-runtime"),)
TOOLS = ("/usr/bin/nvidia-ctk",)


def engines(**more: Any) -> ContainerRuntimes:
    usual: dict[str, Any] = {
        "engines": ("docker",),
        "docker": True,
        "config": "/etc/docker/daemon.json",
        "evidence": SEEN,
    }
    return ContainerRuntimes(**{**usual, **more})


@pytest.mark.parametrize(
    ("found", "status"),
    [
        ((access(control=closed(CONTROL, "EPERM")), DOCKER), Status.FAIL),
        ((access(control=closed(CONTROL, "EPERM")),), Status.FAIL),  # a batch job, a systemd unit
        ((access(), DOCKER), Status.PASS),
        ((access(),), Status.SKIP),
        ((engines(),), Status.SKIP),
        ((engines(runtimes=NVIDIA_RUNTIME),), Status.PASS),
        ((engines(runtimes=NVIDIA_RUNTIME, cgroup_driver="systemd", char_links=False),), Status.WARN),
        ((engines(runtimes=NVIDIA_RUNTIME, cgroup_driver="systemd", char_links=True),), Status.PASS),
        ((engines(runtimes=NVIDIA_RUNTIME, cgroup_driver="systemd", char_links=None),), Status.PASS),
        ((engines(runtimes=NVIDIA_RUNTIME, cgroup_driver="systemd", char_links=False, mode="cdi"),), Status.PASS),
        ((engines(runtimes=NVIDIA_RUNTIME, cgroup_driver="", char_links=False),), Status.PASS),
        ((engines(runtimes=NVIDIA_RUNTIME, no_cgroups="/etc/x.toml"),), Status.WARN),
        ((engines(runtimes=NVIDIA_RUNTIME, no_cgroups="/etc/x.toml", rootless=True),), Status.PASS),
        ((engines(no_cgroups="/etc/x.toml"),), Status.SKIP),
    ],
)
def test_device_rules(found: tuple[Any, ...], status: Status) -> None:
    assert one("CTR-CGROUP", OPEN, *found).status is status


@pytest.mark.parametrize(
    ("runtimes", "status"),
    [
        (engines(), Status.SKIP),
        (engines(tools=TOOLS), Status.PASS),
        (engines(tools=TOOLS, runtimes=NVIDIA_RUNTIME), Status.PASS),
        (engines(engines=(), docker=False, tools=TOOLS), Status.SKIP),
        (engines(config_error="JSONDecodeError"), Status.WARN),
        (engines(config_error="JSONDecodeError", tools=TOOLS), Status.FAIL),
        (engines(runtimes=NVIDIA_RUNTIME, absent=("nvidia",)), Status.FAIL),
        (engines(runtimes=(("kata", "kata"),), absent=("kata",)), Status.SKIP),  # another runtime is not our concern
        (engines(tools=TOOLS, cdi=(CdiSpec(path="/etc/cdi/n.yaml", driver_version="580.95.05"),)), Status.PASS),
        (engines(tools=TOOLS, cdi=(CdiSpec(path="/etc/cdi/n.yaml", driver_version="570.1.2"),)), Status.WARN),
        (
            engines(cdi=(CdiSpec(path="/etc/cdi/n.yaml", driver_version="570.1.2", missing=("/usr/lib/x",)),)),
            Status.FAIL,
        ),
        (engines(engines=("docker (snap)",), docker=False, snap=True, tools=TOOLS), Status.WARN),
        (engines(engines=("docker (snap)",), docker=False, snap=True), Status.SKIP),
        (engines(snap=True, tools=TOOLS), Status.PASS),
    ],
)
def test_a_hosts_container_engines(runtimes: ContainerRuntimes, status: Status) -> None:
    assert one("CTR-TOOLKIT", OPEN, runtimes).status is status


NODES = NvidiaDeviceNodes(gpus=("/dev/nvidia0",), others=(CONTROL, UVM), evidence=SEEN)


def asked(devices: str, *capabilities: str, count: int | None = None) -> ContainerGpuRequest:
    return ContainerGpuRequest(devices=devices, capabilities=capabilities, count=count, evidence=SEEN)


@pytest.mark.parametrize(
    ("found", "status"),
    [
        ((asked("all"), TORCH, OPEN), Status.FAIL),
        ((asked("named", count=1), OPEN), Status.FAIL),
        ((asked("all"), OPEN), Status.WARN),
        ((asked("all"), TORCH), Status.SKIP),  # a CUDA image on a machine without GPUs
        ((asked("all"), TORCH, ON_BUS), Status.FAIL),
        ((asked("none"), TORCH, OPEN), Status.SKIP),
        ((asked(""), TORCH, OPEN), Status.SKIP),
        ((asked("all"), TORCH, OPEN, WSL_OS), Status.SKIP),
        ((asked("all"), NODES, OPEN, gpu(), libcuda(), LIBNVML, TORCH), Status.PASS),
        ((asked("all", "utility"), NODES, OPEN, gpu(), LIBNVML, TORCH), Status.FAIL),
        ((asked("all", "utility"), NODES, OPEN, gpu(), LIBNVML), Status.PASS),
        ((asked(""), NODES, OPEN, gpu()), Status.FAIL),  # device files by hand, no library
        ((asked("all", "compute"), NODES, OPEN, gpu(), libcuda(), TORCH), Status.WARN),
        ((asked("all"), NODES, OPEN, gpu(), LIBNVML, TORCH,
          libcuda("/usr/local/cuda/compat/libcuda.so.580.95.05", origin="cuda-compat")), Status.FAIL),
    ],
)  # fmt: skip
def test_what_reached_a_container(found: tuple[Any, ...], status: Status) -> None:
    assert one("CTR-TOOLKIT", DOCKER, *found).status is status


def test_a_container_that_shares_dev_asks_for_nothing_by_that() -> None:
    shared = Container(runtime="apptainer", evidence=SEEN)
    assert one("CTR-TOOLKIT", shared, asked(""), NODES, OPEN, gpu()).status is Status.SKIP
    found = one("CTR-TOOLKIT", shared, asked(""), NODES, OPEN, gpu(), TORCH)
    assert found.status is Status.FAIL
    assert found.remediation is not None
    assert "--nv" in found.remediation.text


def test_pods_are_judged_by_what_the_plug_in_listed() -> None:
    assert one("CTR-TOOLKIT", POD, asked("all"), TORCH, OPEN).status is Status.SKIP
    assert one("K8S-DEVICE", DOCKER, asked("named", count=1), OPEN).status is Status.SKIP
    assert one("K8S-DEVICE", POD, asked("all"), OPEN).status is Status.SKIP
    assert one("K8S-DEVICE", POD, asked("none"), OPEN).status is Status.SKIP
    assert one("K8S-DEVICE", POD, asked("named", count=1)).status is Status.SKIP
    assert one("K8S-DEVICE", POD, asked("named", count=1), OPEN).status is Status.FAIL
    assert one("K8S-DEVICE", POD, asked("mounts", count=2), OPEN).status is Status.FAIL
    assert one("K8S-DEVICE", POD, asked("named", count=1), OPEN, NODES).status is Status.PASS
    assert one("K8S-DEVICE", POD, asked("named", count=2), OPEN, NODES).status is Status.WARN
    mig = GpuState(gpu="gpu:0000:17:00.0", source="nvml", mig=True)
    assert one("K8S-DEVICE", POD, asked("named", count=2), OPEN, NODES, mig).status is Status.PASS


# -- WSL and cuda-compat ------------------------------------------------------------------------------------------

WSL2, WSL1 = Wsl(version=2, gpu=True, evidence=SEEN), Wsl(version=1, gpu=False, evidence=SEEN)


def of_windows(**more: Any) -> Component:
    return libcuda("/usr/lib/wsl/lib/libcuda.so.1", None, "wsl", **more)


@pytest.mark.parametrize(
    ("found", "status", "words"),
    [
        ((WSL2, of_windows()), Status.PASS, "Windows' driver"),
        ((WSL2,), Status.SKIP, "no NVIDIA driver"),
        ((Wsl(version=2, gpu=False, evidence=SEEN),), Status.SKIP, "no GPU"),
        ((WSL2, DOCKER, TORCH), Status.SKIP, "container"),
        ((WSL1,), Status.SKIP, "WSL 1"),
        ((WSL1, TORCH), Status.WARN, "torch 2.11.0"),
        ((Wsl(version=2, gpu=False, evidence=SEEN), of_windows()), Status.WARN, "/dev/dxg"),
        ((WSL2, of_windows(first=False), libcuda()), Status.FAIL, "Linux driver 580.95.05"),
        ((WSL2, of_windows(first=True), libcuda(first=False)), Status.PASS, "Windows' driver"),
        ((WSL2, of_windows(first=False), libcuda("/usr/lib/x/libcuda.so.1.1", None)), Status.PASS, ""),  # Docker's mount of it
        ((WSL2, of_windows(first=False), libcuda("/usr/local/cuda/compat/libcuda.so.580", "580.1", "cuda-compat")),
         Status.FAIL, "cuda-compat"),
        ((WSL2, of_windows(first=False, on_loader_path=False), TORCH), Status.FAIL, "does not find"),
        ((WSL2, of_windows(first=False, on_loader_path=False)), Status.WARN, "does not find"),
        ((WSL2, of_windows(), component("driver:nvidia", "nvidia", "465.89")), Status.FAIL, "465.89"),
        ((WSL2, of_windows(), component("driver:nvidia", "nvidia", "581.29")), Status.PASS, ""),
    ],
)  # fmt: skip
def test_windows_subsystem(found: tuple[Any, ...], status: Status, words: str) -> None:
    finding = one("WSL", *found)
    assert (finding.status, words in finding.title) == (status, True), finding.title


def in_front(version: str | None, folder: str = "/usr/local/cuda-13.0/compat") -> Component:
    return libcuda(f"{folder}/libcuda.so.{version or 1}", version, "cuda-compat")


@pytest.mark.parametrize(
    ("found", "status", "words"),
    [
        ((libcuda(), OPEN), Status.SKIP, ""),
        ((libcuda(first=False), OPEN), Status.SKIP, ""),
        ((in_front("580.65.06"), OPEN, gpu()), Status.FAIL, "803"),
        ((in_front("570.1"), OPEN, gpu("NVIDIA GeForce RTX 4090")), Status.FAIL, "803"),
        ((in_front("580.95.05"), OPEN, gpu()), Status.PASS, "of its version"),
        ((in_front("590.44.01"), OPEN, gpu()), Status.PASS, "forward compatibility"),
        ((in_front("590.44.01"), OPEN, gpu("NVIDIA GeForce RTX 4090")), Status.FAIL, "804"),
        ((in_front("590.44.01"), OPEN, gpu("NVIDIA RTX 6000 Ada Generation")), Status.UNKNOWN, "not known"),
        ((in_front("590.44.01"), OPEN), Status.UNKNOWN, "no GPU"),
        ((in_front(None), OPEN, gpu()), Status.UNKNOWN, "could not be told"),
        ((in_front("570.1"), gpu()), Status.SKIP, "no NVIDIA kernel module"),
        ((in_front("570.1"), OPEN, gpu(), WSL_OS), Status.SKIP, "WSL"),
        ((libcuda("/usr/local/cuda/lib64/stubs/libcuda.so", None),), Status.FAIL, "stub"),
    ],
)
def test_cuda_compat(found: tuple[Any, ...], status: Status, words: str) -> None:
    finding = one("COMPAT", *found)
    assert (finding.status, words in finding.title) == (status, True), finding.title


# -- visible devices ----------------------------------------------------------------------------------------------


def variable(problem: str, **more: Any) -> VisibleDevices:
    usual: dict[str, Any] = {"variable": "CUDA_VISIBLE_DEVICES", "vendor": "nvidia", "entry_count": 1, "evidence": SEEN}
    return VisibleDevices(problem=problem, **{**usual, **more})


@pytest.mark.parametrize(
    ("found", "status", "words"),
    [
        (variable(""), Status.PASS, "names devices that are there"),
        (variable("none", visible=0), Status.WARN, "hides every GPU"),
        (variable("unknown"), Status.UNKNOWN, "could not be told"),
        (
            variable("index", index=3, position=1, device_count=2, visible=0),
            Status.FAIL,
            "names GPU 3, and there are 2",
        ),
        (
            variable("index", index=64, position=1, vendor="amd", variable="HIP_VISIBLE_DEVICES"),
            Status.FAIL,
            "not that many",
        ),
        (variable("twice", index=0, position=2, visible=0), Status.FAIL, "index 0 twice"),
        (variable("twice", position=2), Status.FAIL, "one GPU twice"),
        (variable("uuid", position=2, entry_count=3), Status.FAIL, "entry 2 of 3"),
        (variable("mig", position=1), Status.FAIL, "MIG device that is not there"),
        (variable("text", position=1), Status.FAIL, "names no GPU"),
    ],
)
def test_variables(found: VisibleDevices, status: Status, words: str) -> None:
    finding = one("ENV-CVD", found)
    assert (finding.status, words in finding.title) == (status, True), finding.title
    assert finding.subject == (f"environment:{found.variable}",)


def test_what_may_be_meant_says_so() -> None:
    meant = one("ENV-CVD", variable("none", visible=0)).remediation
    wrong = one("ENV-CVD", variable("text", position=1, visible=0)).remediation
    assert meant is not None
    assert wrong is not None
    assert ("nothing is to be done" in meant.text, "nothing is to be done" in wrong.text) == (True, False)


def test_each_variable_is_told_by_itself() -> None:
    good = variable("", variable="ROCR_VISIBLE_DEVICES", vendor="amd")
    found = judge("ENV-CVD", variable("none", visible=0), good)
    assert [(f.status, f.subject) for f in found] == [
        (Status.WARN, ("environment:CUDA_VISIBLE_DEVICES",)), (Status.PASS, ("environment:ROCR_VISIBLE_DEVICES",)),
    ]  # fmt: skip


# -- log signatures -----------------------------------------------------------------------------------------------

SMI = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver"


@pytest.mark.parametrize(
    ("check", "text", "strength"),
    [
        ("NOUVEAU", SMI, 2),
        ("NOUVEAU", "[  4.1] NVRM: The NVIDIA probe routine was not called for 1 device(s).", 3),
        ("NOUVEAU", "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU", 1),
        ("NOUVEAU", "modprobe: FATAL: Module nvidia not found in directory /lib/modules/6.8.0-60-generic", 3),
        ("NOUVEAU", "modprobe: ERROR: could not insert 'nvidia': Key was rejected by service", 3),
        ("NOUVEAU", "insmod: ERROR: could not insert module nvidia.ko: Required key not available", 3),
        ("NOUVEAU", "stderr: nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown", 2),
        ("UVM", "RuntimeError: CUDA unknown error - this may be due to an incorrectly set up environment, e.g. changing", 2),
        ("UVM", "failed call to cuInit: CUDA_ERROR_UNKNOWN: unknown error", 2),
        ("NV-NODES", "Failed to initialize NVML: Insufficient Permissions", 3),
        ("OPEN-KM", "NVRM: installed in this system requires use of the NVIDIA open kernel modules.", 3),
        ("OPEN-KM", "NVRM: GPU 0000:17:00.0: RmInitAdapter failed! (0x22:0x56:884)", 1),
        ("CTR-CGROUP", "Failed to initialize NVML: Unknown Error", 3),
        ("CTR-CGROUP", 'open("/dev/nvidiactl", O_RDWR)          = -1 EPERM (Operation not permitted)', 3),
        ("CTR-TOOLKIT", 'docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]].', 3),
        ("CTR-TOOLKIT", "docker: Error response from daemon: unknown or invalid runtime name: nvidia.", 3),
        ("CTR-TOOLKIT", 'unable to retrieve OCI runtime error: exec: "nvidia-container-runtime": executable file not found', 3),
        ("CTR-TOOLKIT", 'caused \\"exec: \\\\\\"nvidia-container-runtime-hook\\": executable file not found in $PATH', 3),
        ("CTR-TOOLKIT", "Error: setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=all", 3),
        ("CTR-TOOLKIT", "failed to discover GPU vendor from CDI: no known GPU vendor found", 3),
        ("WSL", "nvidia-container-cli: initialization error: WSL environment detected but no adapters were found", 3),
        ("COMPAT", "Error 804: forward compatibility was attempted on non supported HW", 3),
        ("COMPAT", "Error 803: system has unsupported display driver / cuda driver combination", 2),
        ("COMPAT", "CUDA driver is a stub library", 3),
        ("ENV-CVD", "RuntimeError: No CUDA GPUs are available", 2),
        ("ENV-CVD", "SetDevice:Set visible device failed, invalid device=0, input visible devices:4", 3),
        ("K8S-DEVICE", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", 2),
        ("UVM", "torch.cuda.OutOfMemoryError: CUDA out of memory.", 0),
        ("CTR-CGROUP", "Failed to initialize NVML: Driver/library version mismatch", 0),
        ("NOUVEAU", "nouveau 0000:01:00.0: DRM: allocated 1920x1080 fb", 0),
        ("CTR-TOOLKIT", "nvidia-container-toolkit is already the newest version (1.17.8-1).", 0),
    ],
)  # fmt: skip
def test_log_signatures(check: str, text: str, strength: int) -> None:
    hits = [s.strength for s in CHECKS[check].log_signatures if re.search(s.pattern, text)]
    assert max(hits, default=0) == strength


def test_every_signature_says_where_such_a_log_was_published() -> None:
    for check in CHECKS.values():
        assert check.log_signatures, check.id
        assert all(s.source.startswith("https://") for s in check.log_signatures), check.id
