"""Checks of shared memory, limits, RDMA, variables, profilers and MPS: the bounds, and what must stay silent."""

from datetime import date
from typing import Any

import pytest

from infra_doctor.model.component import Component
from infra_doctor.model.evidence import Evidence, EvidenceKind
from infra_doctor.model.finding import Finding, Severity, Status
from infra_doctor.model.plugins import Check, CheckContext
from infra_doctor_probes.checks import (
    acs_iommu,
    cuda_env,
    ib_link,
    memlock,
    mps,
    nccl_env,
    peermem,
    prof_perm,
    profiler,
    shm,
)
from infra_doctor_probes.detect.communication import AcsBridge, Iommu, RdmaAccess, RdmaPort
from infra_doctor_probes.detect.nvidia_state import GpuState, NvLink
from infra_doctor_probes.detect.system import Container
from infra_doctor_probes.detect.system_limits import ProcessPrivileges, ResourceLimits, SharedMemory
from infra_doctor_probes.detect.tuning_variables import NetworkInterfaces, TuningVariable

MODULES = (acs_iommu, cuda_env, ib_link, memlock, mps, nccl_env, peermem, prof_perm, profiler, shm)
CHECKS: dict[str, Check] = {c.id: c for m in MODULES for c in m.CHECKS}
SEEN = (Evidence(kind=EvidenceKind.KERNEL, source="/somewhere", text="seen"),)
MIB = 1 << 20


def gpu(number: int = 0, capability: str = "9.0", **attributes: Any) -> Component:
    return Component(
        key=f"gpu:0000:{number:02x}:00.0", kind="gpu", name="NVIDIA H100", evidence=SEEN,
        attributes={"vendor": "nvidia", "compute_capability": capability, "driver_module": "nvidia", **attributes},
    )  # fmt: skip


OS = Component(key="os:ubuntu", kind="os", name="Ubuntu", attributes={"kernel": "6.8.0-60-generic"})


def judged(check_id: str, *things: Any) -> list[Finding]:
    components = [t for t in things if isinstance(t, Component)]
    facts = [t for t in things if not isinstance(t, Component)]
    context = CheckContext(targets=(), components=components, facts=facts, today=date(2026, 11, 21))
    return list(CHECKS[check_id].run(context))


def one(check_id: str, *things: Any) -> Finding:
    (found,) = judged(check_id, *things)
    return found


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_without_an_accelerator_nobody_is_concerned(check: Check) -> None:
    (found,) = judged(check.id, OS, SharedMemory(exists=False), ResourceLimits(limits=(("memlock", 1, 1),)))
    assert found.status is Status.SKIP
    assert found.title


# -- shared memory ------------------------------------------------------------------------------------------------


def memory(total: int, free: int | None = None, **more: Any) -> SharedMemory:
    return SharedMemory(
        exists=True, total_bytes=total, free_bytes=total if free is None else free, evidence=SEEN, **more
    )


@pytest.mark.parametrize(
    ("fact", "status", "severity"),
    [
        (memory(64 * 1024), Status.FAIL, Severity.HIGH),
        (memory(1 * MIB), Status.FAIL, Severity.HIGH),
        (memory(16 * MIB - 1), Status.FAIL, Severity.HIGH),
        (memory(8 << 30, 1 * MIB), Status.FAIL, Severity.HIGH),
        (memory(64 * MIB), Status.WARN, Severity.LOW),
        (memory(512 * MIB - 1), Status.WARN, Severity.LOW),
        (memory(512 * MIB), Status.PASS, Severity.LOW),
        (memory(16 << 30, 10 << 30), Status.PASS, Severity.LOW),
        (SharedMemory(exists=True), Status.UNKNOWN, Severity.LOW),
        (SharedMemory(exists=False), Status.FAIL, Severity.HIGH),
        (memory(1 << 30, read_only=True), Status.FAIL, Severity.HIGH),
    ],
)
def test_sizes_of_shared_memory(fact: SharedMemory, status: Status, severity: Severity) -> None:
    found = one("SHM", gpu(), fact)
    assert (found.status, found.severity) == (status, severity)


def test_small_shared_memory_weighs_more_for_several_gpus() -> None:
    assert one("SHM", gpu(1), gpu(2), memory(64 * MIB)).severity is Severity.MEDIUM


def test_who_may_write_to_shared_memory() -> None:
    user = ProcessPrivileges(uid=1000, capabilities=(), initial_namespace=True)
    assert one("SHM", gpu(), user, memory(1 << 30, mode=0o755, owner=0)).status is Status.FAIL
    assert one("SHM", gpu(), user, memory(1 << 30, mode=0o1777, owner=0)).status is Status.PASS
    assert one("SHM", gpu(), user, memory(1 << 30, mode=0o755, owner=1000)).status is Status.PASS


# -- locked memory ------------------------------------------------------------------------------------------------


def limit(soft: int | None) -> ResourceLimits:
    return ResourceLimits(limits=(("memlock", soft, soft),), evidence=SEEN)


def port(name: str = "mlx5_0", **more: Any) -> RdmaPort:
    values = {
        "state": "ACTIVE", "physical_state": "LinkUp", "rate_gb_per_s": 400.0, "link_layer": "InfiniBand", "device_type": "MT4129",
    } | more  # fmt: skip
    return RdmaPort(device=f"rdma-device:{name}", name=name, port=1, evidence=SEEN, **values)


RDMA = (port(), RdmaAccess(verbs=("uverbs0",), evidence=SEEN))
ROOT = ProcessPrivileges(uid=0, capabilities=("ipc_lock",), initial_namespace=True, evidence=SEEN)
ROOTLESS = ProcessPrivileges(uid=0, capabilities=("ipc_lock",), initial_namespace=False, evidence=SEEN)


@pytest.mark.parametrize(
    ("things", "soft", "status"),
    [
        (RDMA, 64 << 10, Status.FAIL),
        (RDMA, 8 * MIB, Status.FAIL),
        (RDMA, 64 * MIB, Status.WARN),
        (RDMA, 1 << 30, Status.PASS),
        (RDMA, None, Status.PASS),
        ((*RDMA, ROOT), 8 * MIB, Status.PASS),
        ((*RDMA, ROOTLESS), 8 * MIB, Status.FAIL),
        ((port(state="DOWN"), RDMA[1]), 8 * MIB, Status.PASS),  # no port that could be used
        ((port(), RdmaAccess(verbs=())), 8 * MIB, Status.PASS),  # no device that a program could open
        ((), 8 * MIB, Status.PASS),
        ((), 64 << 10, Status.WARN),  # below what this kernel gives by itself
    ],
)
def test_locked_memory(things: tuple[Any, ...], soft: int | None, status: Status) -> None:
    assert one("MEMLOCK", OS, gpu(), limit(soft), *things).status is status


def test_a_lowered_limit_says_who_is_exempt() -> None:
    found = one("MEMLOCK", OS, gpu(), limit(64 << 10), ROOT)
    assert (found.status, found.severity) == (Status.WARN, Severity.LOW)
    assert "CAP_IPC_LOCK" in found.detail
    assert "CUDA pins does not count" in found.detail


# -- ports --------------------------------------------------------------------------------------------------------


def test_a_slow_port_needs_three_faster_peers() -> None:
    slow = port("mlx5_9", rate_gb_per_s=100.0)
    assert one("IB-LINK", gpu(), port("a"), port("b"), port("c"), slow).status is Status.WARN
    assert one("IB-LINK", gpu(), port("a"), port("b"), slow).status is Status.PASS
    other_card = port("mlx5_9", rate_gb_per_s=100.0, device_type="MT4119")
    assert one("IB-LINK", gpu(), port("a"), port("b"), port("c"), other_card).status is Status.PASS


def test_ports_that_are_down_are_only_mentioned() -> None:
    found = one("IB-LINK", gpu(), port("a"), port("b", state="DOWN", physical_state="Polling"))
    assert found.status is Status.PASS
    assert "b port 1" in found.detail
    ethernet = port("c", state="INIT", link_layer="Ethernet")
    assert one("IB-LINK", gpu(), port("a"), ethernet).status is Status.PASS
    assert one("IB-LINK", gpu(), port("a"), port("b", state="INIT")).status is Status.WARN


def test_a_containers_view_of_its_hosts_ports() -> None:
    host = (Container(runtime="docker"), port("a", state="INIT"))
    assert one("IB-LINK", gpu(), *host).status is Status.SKIP
    assert one("IB-LINK", gpu(), *host, RDMA[1]).status is Status.WARN


# -- ACS ----------------------------------------------------------------------------------------------------------


def bridge(acs: tuple[str, ...] | None) -> AcsBridge:
    return AcsBridge(
        address="0000:00:01.0", port_type="root port", below=("0000:01:00.0", "0000:02:00.0"), acs=acs, evidence=SEEN
    )


IOMMU = Iommu(units=("dmar0",), options=(), group_types=(("0000:01:00.0", "DMA-FQ"),), evidence=SEEN)


@pytest.mark.parametrize(
    ("acs", "status"),
    [(("SrcValid", "ReqRedir"), Status.WARN), (("SrcValid",), Status.PASS), ((), Status.PASS), (None, Status.UNKNOWN)],
)
def test_bits_of_acs(acs: tuple[str, ...] | None, status: Status) -> None:
    assert one("ACS-IOMMU", gpu(1), gpu(2), bridge(acs), IOMMU).status is status


def test_acs_matters_less_where_nvlink_connects_all() -> None:
    links = (NvLink(link=0, active=True),)
    states = [GpuState(gpu=f"gpu:0000:0{n}:00.0", source="nvml", nvlinks=links) for n in (1, 2)]
    assert one("ACS-IOMMU", gpu(1), gpu(2), bridge(("ReqRedir",)), IOMMU).severity is Severity.MEDIUM
    assert one("ACS-IOMMU", gpu(1), gpu(2), bridge(("ReqRedir",)), IOMMU, *states).severity is Severity.LOW


# -- NCCL's variables ---------------------------------------------------------------------------------------------


def variable(name: str, value: str | None, source: str = "environment") -> TuningVariable:
    return TuningVariable(name=name, value=value, source=source, evidence=SEEN)


INTERFACES = NetworkInterfaces(names=("eth0", "eth10", "lo"), evidence=SEEN)


@pytest.mark.parametrize(
    ("value", "hits"),
    [
        ("eth", True), ("eth0", True), ("=eth0", True), ("=eth1", False), ("eth1", True), ("ens", False), ("^docker", True),
        ("^eth,lo", False), ("^=eth0", True), ("ens1,eth10", True), ("=eth0:7000", True),
    ],
)  # fmt: skip
def test_interfaces_match_as_nccl_matches_them(value: str, hits: bool) -> None:
    assert any(nccl_env.matches(name, value) for name in INTERFACES.names) is hits
    status = one("NCCL-ENV", gpu(1), gpu(2), INTERFACES, variable("NCCL_SOCKET_IFNAME", value)).status
    assert status is (Status.PASS if hits else Status.FAIL)


def test_one_gpu_may_never_need_an_interface() -> None:
    assert one("NCCL-ENV", gpu(1), INTERFACES, variable("NCCL_SOCKET_IFNAME", "ens")).status is Status.WARN


@pytest.mark.parametrize(
    ("name", "value", "things", "status"),
    [
        ("NCCL_P2P_DISABLE", "1", (gpu(1), gpu(2)), Status.WARN),
        ("NCCL_P2P_DISABLE", "1", (gpu(1),), Status.PASS),
        ("NCCL_P2P_DISABLE", "0", (gpu(1), gpu(2)), Status.PASS),
        ("NCCL_P2P_LEVEL", "LOC", (gpu(1), gpu(2)), Status.WARN),
        ("NCCL_P2P_LEVEL", "NVL", (gpu(1), gpu(2)), Status.PASS),
        ("NCCL_SHM_DISABLE", "1", (gpu(1), gpu(2)), Status.WARN),
        ("NCCL_IB_DISABLE", "1", (gpu(1), port()), Status.WARN),
        ("NCCL_IB_DISABLE", "1", (gpu(1), gpu(2)), Status.PASS),
        ("NCCL_NET", "Socket", (gpu(1), port()), Status.WARN),
        ("NCCL_NET", "IB", (gpu(1), port()), Status.PASS),
        ("NCCL_IB_HCA", "=mlx5_0:1", (gpu(1), port()), Status.PASS),
        ("NCCL_IB_HCA", "^mlx5_0", (gpu(1), port()), Status.WARN),
        ("NCCL_IB_HCA", "bnxt", (gpu(1),), Status.PASS),
        ("NCCL_ALGO", "Ring", (gpu(1),), Status.WARN),
        ("NCCL_ALGO", "allreduce:tree;broadcast:ring", (gpu(1),), Status.WARN),
        ("NCCL_PROTO", "fast", (gpu(1),), Status.WARN),
        ("NCCL_DEBUG", "trace", (gpu(1),), Status.WARN),
        ("NCCL_DEBUG", "INFO", (gpu(1),), Status.PASS),
        ("NCCL_NVLS_ENABLE", "0", (gpu(1), gpu(2)), Status.PASS),
        ("NCCL_CUMEM_ENABLE", "0", (gpu(1), gpu(2)), Status.PASS),
    ],
)
def test_single_variables(name: str, value: str, things: tuple[Any, ...], status: Status) -> None:
    assert one("NCCL-ENV", *things, variable(name, value)).status is status


def test_a_word_that_is_no_algorithm_is_named() -> None:
    assert "rign" in one("NCCL-ENV", gpu(), variable("NCCL_ALGO", "rign")).title


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("NCCL_P2P_DISABEL", "NCCL_P2P_DISABLE"), ("NCCL_SOCKET_IFNAMES", "NCCL_SOCKET_IFNAME"),
        ("NCCL_IB_HCAS", "NCCL_IB_HCA"), ("NCCL_SOMETHING_OF_MINE", ""), ("NCCL_X", ""), ("NCCL_" + "Z" * 150, ""),
    ],
)  # fmt: skip
def test_the_nearest_name(name: str, near: str) -> None:
    assert nccl_env.nearest(name) == near
    found = one("NCCL-ENV", gpu(), variable(name, None))
    assert found.status is (Status.WARN if near else Status.PASS)


def test_names_that_the_loaded_nccl_no_longer_reads() -> None:
    from infra_doctor.model.component import LoadedBy

    loaded = LoadedBy(consumer="wheel:torch@/opt/venv", via="RUNPATH", order="torch")
    new = Component(key="nccl:/n", kind="nccl", name="libnccl", version="2.28.9", loaded_by=(loaded,))
    old = Component(key="nccl:/n", kind="nccl", name="libnccl", version="2.4.8", loaded_by=(loaded,))
    threshold = variable("NCCL_TREE_THRESHOLD", "0", "/etc/nccl.conf")
    found = one("NCCL-ENV", gpu(), new, threshold)
    assert found.status is Status.WARN
    assert "NCCL_ALGO" in found.detail
    assert "/etc/nccl.conf" in (found.remediation.text if found.remediation else "")
    assert one("NCCL-ENV", gpu(), old, threshold).status is Status.PASS
    assert one("NCCL-ENV", gpu(), threshold).status is Status.PASS  # which NCCL is loaded is not known


# -- CUDA's variables ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("expandable_segments:True", Status.PASS),
        ("max_split_size_mb:512,garbage_collection_threshold:0.8", Status.PASS),
        ("roundup_power2_divisions:[256:1,512:2,1024:4,>:8]", Status.PASS),
        ("roundup_power2_divisions:[256:1,512:2],expandable_segments:True", Status.PASS),
        ("backend:cudaMallocAsync,", Status.PASS),
        ("max_split_size_mb=512", Status.WARN),
        ("expandable_segments", Status.WARN),
        ("'expandable_segments:True'", Status.WARN),
        ("", Status.PASS),
    ],
)
def test_the_allocators_settings(value: str, status: Status) -> None:
    assert one("CUDA-ENV", gpu(), variable("PYTORCH_CUDA_ALLOC_CONF", value)).status is status


@pytest.mark.parametrize(
    ("value", "capability", "status"),
    [
        ("9.0", "9.0", Status.PASS), ("8.0;9.0a", "9.0", Status.PASS), ("8.0", "9.0", Status.WARN), ("8.0+PTX", "9.0", Status.PASS),
        ("8.0", "8.6", Status.PASS), ("8.9", "8.6", Status.WARN), ("9.0a", "9.0", Status.PASS), ("10.0a", "10.3", Status.WARN),
        ("10.0f", "10.3", Status.PASS), ("Hopper", "8.0", Status.PASS), ("All", "9.0", Status.PASS), ("rubbish", "9.0", Status.PASS),
        ("8.0 8.6", "9.0", Status.WARN), ("9.0a+PTX", "10.0", Status.WARN), ("", "9.0", Status.PASS),
    ],
)  # fmt: skip
def test_the_list_of_architectures(value: str, capability: str, status: Status) -> None:
    assert one("CUDA-ENV", gpu(capability=capability), variable("TORCH_CUDA_ARCH_LIST", value)).status is status


def test_tf32_exists_from_ampere_on() -> None:
    off = variable("NVIDIA_TF32_OVERRIDE", "0")
    assert one("CUDA-ENV", gpu(capability="8.0"), off).status is Status.WARN
    assert one("CUDA-ENV", gpu(capability="7.5"), off).status is Status.PASS


# -- profilers ----------------------------------------------------------------------------------------------------


def nsight_compute(version: str, *, first: bool = True) -> Component:
    return Component(
        key=f"profiler:ncu@{version}",
        kind="profiler",
        name="ncu",
        version=version,
        attributes={"first": first},
        evidence=SEEN,
    )


@pytest.mark.parametrize(
    ("version", "capability", "status"),
    [
        ("2024.1.1", "9.0", Status.PASS), ("2025.3.1", "9.0", Status.PASS), ("2024.1.1", "10.0", Status.WARN),
        ("2024.3.0", "10.0", Status.UNKNOWN), ("2025.4.1", "12.0", Status.PASS), ("2025.4.1", "7.0", Status.WARN),
        ("2024.1.0", "7.0", Status.PASS), ("2025.1.0", "6.1", Status.WARN), ("2025.1.0", "7.5", Status.PASS),
        ("2022.1", "9.0", Status.UNKNOWN), ("", "9.0", Status.UNKNOWN), ("2026.3.0", "13.0", Status.UNKNOWN),
    ],
)  # fmt: skip
def test_nsight_compute_and_gpus(version: str, capability: str, status: Status) -> None:
    assert one("PROFILER", gpu(capability=capability), nsight_compute(version)).status is status


def test_a_copy_that_ncu_does_not_start_is_no_fault() -> None:
    both = judged(
        "PROFILER", gpu(capability="10.0"), nsight_compute("2023.3.1", first=False), nsight_compute("2025.4.1")
    )
    assert {f.status for f in both} == {Status.PASS}


# -- all of them --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_each_says_what_it_is_and_where_that_is_published(check: Check) -> None:
    assert len(check.explanation) > 300
    assert check.remediation
    assert all(source.startswith("https://") for source in check.sources)
    assert all(s.source.startswith("https://") for s in check.log_signatures)
    assert check.log_signatures
