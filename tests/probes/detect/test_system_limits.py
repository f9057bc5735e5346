"""Shared memory, limits, privileges and memory layout of the machine itself, and of nobody else's."""

import os
import resource
from typing import Any

import pytest

from infra_doctor.machine.forms import live_machine, rooted_machine
from infra_doctor_probes.detect.system_limits import (
    PROBES,
    MemoryLayout,
    ProcessPrivileges,
    ResourceLimits,
    SharedMemory,
    read_number,
)
from tests.support.gather import Gathered, gather
from tests.support.recipe import recipe_machine

SHM = {"/dev/shm": {"type": "dir", "mode": 0o1777}}


def gathered(**recipe: Any) -> Gathered:
    return gather(recipe_machine(recipe), PROBES)


def test_this_machine_says_what_the_system_says() -> None:
    found = gather(live_machine(), PROBES)
    limits = found.fact(ResourceLimits)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert ("nofile", soft, hard) in limits.limits
    assert found.fact(ProcessPrivileges).uid == os.geteuid()
    if os.path.isdir("/dev/shm"):
        space = os.statvfs("/dev/shm")
        assert found.fact(SharedMemory).total_bytes == space.f_blocks * space.f_frsize


def test_another_root_says_nothing_of_ours(tmp_path: Any) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "version").write_text("Linux")
    (tmp_path / "sys" / "bus").mkdir(parents=True)
    (tmp_path / "dev" / "shm").mkdir(parents=True)
    assert gather(rooted_machine(str(tmp_path)), PROBES).facts == []


def test_shared_memory() -> None:
    full = gathered(files=SHM, space={"/dev/shm": [100, 3, True]}).fact(SharedMemory)
    assert (full.exists, full.total_bytes, full.free_bytes, full.read_only, full.mode) == (True, 100, 3, True, 0o1777)
    unknown = gathered(files=SHM).fact(SharedMemory)
    assert (unknown.exists, unknown.total_bytes) == (True, None)
    assert gathered(files={"/dev/null": {"type": "char"}}).fact(SharedMemory).exists is False
    assert not gathered(files={}).has(SharedMemory)  # nothing is known of /dev at all


def status(uid: str, capabilities: str) -> dict[str, str]:
    return {"/proc/self/status": f"Name:\tx\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nCapEff:\t{capabilities}\n"}


def test_privileges() -> None:
    root = gathered(files=status("0", "000001ffffffffff") | {"/proc/self/uid_map": "0 0 4294967295\n"})
    assert root.fact(ProcessPrivileges).may("sys_admin")
    rootless = gathered(files=status("0", "000001ffffffffff") | {"/proc/self/uid_map": "0 1000 1\n1 100000 65536\n"})
    assert rootless.fact(ProcessPrivileges).capabilities
    assert not rootless.fact(ProcessPrivileges).may("sys_admin")
    docker = gathered(files=status("0", "00000000a80425fb")).fact(ProcessPrivileges)
    assert (docker.uid, docker.capabilities, docker.initial_namespace) == (0, (), None)


@pytest.mark.parametrize("text", ["", "Uid:\n", "Uid:\t1\nCapEff:\tzz\n", "Uid:\t0\t0\nCapEff:\t", "\x00" * 9000])
def test_a_damaged_status_is_no_privilege(text: str) -> None:
    assert not gathered(files={"/proc/self/status": text}).has(ProcessPrivileges)


def test_memory_layout() -> None:
    files = {
        "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "512\n",
        "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages": "0\n",
        "/sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
        "/sys/devices/system/node/online": "0-1\n",
        "/proc/sys/kernel/numa_balancing": "1\n",
    }
    layout = gathered(files=files).fact(MemoryLayout)
    assert layout.huge_pages == ((2 << 20, 512),)
    assert (layout.transparent, layout.numa_nodes, layout.numa_balancing) == ("madvise", "0-1", True)
    assert not gathered(files={}).has(MemoryLayout)


@pytest.mark.parametrize(("text", "number"), [("4\n", 4), ("-1\n", -1), ("x", None), ("", None), ("9" * 30, None)])
def test_numbers(text: str, number: int | None) -> None:
    assert read_number(recipe_machine({"files": {"/n": text}}), "/n") == number
