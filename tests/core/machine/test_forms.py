"""Rooted and replayed machines: links stay inside the root; a replay answers as the machine did."""

import os
from pathlib import Path
from typing import Any

import pytest

from infra_doctor.errors import InputError, TargetError
from infra_doctor.machine.forms import live_machine, replayed_machine, rooted_machine
from infra_doctor.machine.machine import Machine
from infra_doctor.machine.redaction import Redactor
from infra_doctor.machine.types import Capability, NotVisible
from infra_doctor.runner.snapshot import observations


def snapshot_of(machine: Machine) -> dict[str, Any]:
    kept = observations(machine, Redactor(key=b"k", home=None))
    return {"machine": {"capabilities": [str(c) for c in machine.capabilities]}, "observations": kept}


def test_absolute_links_resolve_inside_the_root(tmp_path: Path) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/real.txt").write_text("inside")
    os.symlink("/usr/lib", tmp_path / "lib")
    os.symlink("../../../../../../usr/lib/real.txt", tmp_path / "usr/up")
    os.symlink("/etc/passwd", tmp_path / "outside")
    machine = rooted_machine(str(tmp_path))
    assert machine.read_text("/lib/real.txt") == "inside"
    assert machine.read_text("/usr/up") == "inside"
    assert machine.realpath("/lib/real.txt") == "/usr/lib/real.txt"
    assert machine.read_text("/outside") is None
    assert machine.readlink("/outside") == "/etc/passwd"
    assert machine.read_text("/../../../../etc/passwd") is None


def test_a_root_has_no_environment_commands_or_kernel_of_its_own(tmp_path: Path) -> None:
    machine = rooted_machine(str(tmp_path))
    assert machine.capabilities == {Capability.FILES}
    assert machine.environ == {}
    with pytest.raises(NotVisible, match="commands of a rooted machine"):
        machine.run("true")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/version").write_text("Linux")
    (tmp_path / "sys/bus").mkdir(parents=True)
    assert Capability.KERNEL_STATE in rooted_machine(str(tmp_path)).capabilities


def test_a_root_that_is_none_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="no such directory"):
        rooted_machine(str(tmp_path / "absent"))


def test_hostile_files_are_problems_not_exceptions(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    os.symlink("loop", tmp_path / "loop")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00bad")
    (tmp_path / "long").write_bytes(b"x" * 5000)
    machine = rooted_machine(str(tmp_path))
    assert machine.read_text("/fifo") is None
    assert machine.read_text("/loop") is None
    assert machine.read_text("/binary") == "\ufffd\ufffd\x00bad"
    assert machine.read_bytes("/binary") == b"\xff\xfe\x00bad"
    assert machine.read_text("/long", max_bytes=10) == "x" * 10
    reasons = {p.path: p.reason for p in machine.problems_of_thread()}
    assert reasons == {"/fifo": "not a regular file", "/loop": "Too many levels of symbolic links"}


def test_a_replay_answers_as_the_machine_did(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text("ID=x\n")
    os.symlink("etc/os-release", tmp_path / "link")
    machine = rooted_machine(str(tmp_path))

    def look(m: Machine) -> list[object]:
        return [
            m.read_text("/etc/os-release"), m.read_text("/link"), m.stat("/etc"), m.stat("/absent"), m.names("/"),
            m.realpath("/link"), m.readlink("/link"), m.glob("/e*/os-*"), m.elf("/etc/os-release"),
        ]  # fmt: skip

    seen = look(machine)
    replayed = replayed_machine(snapshot_of(machine), where="x")
    assert look(replayed) == seen
    assert replayed.read_text("/etc/passwd") is None


def test_a_replay_derives_from_listings_and_links() -> None:
    document = {
        "machine": {"capabilities": ["files"]},
        "observations": [
            ["list", ["/lib"], [["libx.so", "link"], ["libx.so.1", "file"]]],
            ["readlink", ["/lib/libx.so"], "libx.so.1"],
            ["elf", ["/lib/libx.so.1"], {"path": "/lib/libx.so.1", "bits": 64, "machine": 62, "type": 3}],
        ],
    }
    machine = replayed_machine(document, where="x")
    assert machine.realpath("/lib/libx.so") == "/lib/libx.so.1"
    assert machine.is_file("/lib/libx.so") and not machine.exists("/lib/liby.so")
    elf = machine.elf("/lib/libx.so")
    assert elf is not None and elf.path == "/lib/libx.so.1"


@pytest.mark.parametrize("observations", [None, 3, [1], [["read"]], [["read", "path", 1]], [[1, [], None]]])
def test_damaged_snapshots_are_input_errors(observations: object) -> None:
    with pytest.raises(InputError, match="damaged"):
        replayed_machine({"machine": {}, "observations": observations}, where="file.json")


def test_each_question_is_asked_once() -> None:
    machine = live_machine()
    first = machine.listdir("/")
    assert machine.listdir("/") is not first and machine.listdir("/") == first
    assert [k for k in machine.observations if k[0] == "list"] == [("list", "/")]


def test_the_doctors_own_process_is_not_the_roots(tmp_path: Path) -> None:
    """Where the host's /proc is mounted under a root, `self` there leads to the process that looks."""
    for name in ("proc/version", "proc/self/status", "proc/4711/status", "sys/bus/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("CapEff: 1\n")
    (tmp_path / "proc/mounts").symlink_to("self/status")
    machine = rooted_machine(str(tmp_path))
    assert machine.read_text("/proc/4711/status") == "CapEff: 1\n"
    assert machine.read_text("/proc/self/status") is None and machine.read_text("/proc/mounts") is None
    assert machine.names("/proc/self") == () and not machine.exists("/proc/self/status")
    assert machine.space("/") is None and machine.limits() == {} and machine.kernel_log("x").lines == ()
