"""The agent's operations on files, under another root too, and the agent alone on an old Python."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra_doctor.machine import agent as agent_module
from infra_doctor.machine.agent import LIST_CAP, READ_CAP_BYTES, Agent

SOURCE = Path(agent_module.__file__)
OLD_PYTHONS = sorted(
    str(path)
    for pattern in ("/usr/bin/python3.[789]", "/usr/local/bin/python3.[789]", "~/.pyenv/versions/3.[789].*/bin/python")
    for path in Path("/").glob(str(Path(pattern).expanduser())[1:])
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small machine: usr-merged, with links that leave the root unless they are followed inside it."""
    root = tmp_path / "root"
    (root / "usr" / "lib").mkdir(parents=True)
    (root / "usr" / "lib" / "file").write_text("inside")
    (root / "lib").symlink_to("usr/lib")
    (root / "absolute").symlink_to("/usr/lib")
    (root / "up").symlink_to("../../../../../../usr/lib/file")
    (root / "loop").symlink_to("/loop2")
    (root / "loop2").symlink_to("loop")
    (root / "dangling").symlink_to("/none/at/all")
    os.mkfifo(root / "fifo")
    return root


def test_paths_resolve_inside_the_root(root: Path) -> None:
    agent = Agent(str(root))
    for path in (
        "/lib/file",
        "/absolute/file",
        "/up",
        "/absolute/../lib/./file",
        "//usr//lib//file",
        "/../../usr/lib/file",
    ):
        assert agent.ask("realpath", path) == "/usr/lib/file", path
        assert agent.ask("read", path, 100) == {"text": "inside"}, path
    assert agent.ask("realpath", "/dangling/x") == "/none/at/all/x"
    assert agent.ask("read", "/dangling", 10) is None
    for name in ("realpath", "read", "stat", "list"):
        assert agent.ask(name, "/loop", *([10] if name == "read" else []))["code"] == "ELOOP"
    assert agent.ask("read", "/etc/passwd", 10) is None


def test_realpath_of_this_machine_is_that_of_the_system(root: Path) -> None:
    agent = Agent("/")
    for path in (root / "lib" / "file", root / "lib" / ".." / "lib", Path(sys.executable), root / "none" / "x"):
        assert agent.ask("realpath", str(path)) == os.path.realpath(path)


def test_stat(root: Path) -> None:
    agent = Agent(str(root))
    kinds = {"/usr": "dir", "/up": "file", "/fifo": "fifo", "/lib": "dir"}
    assert {path: agent.ask("stat", path)[0] for path in kinds} == kinds
    kind, size, mode, uid, file_id, device = agent.ask("stat", "/up")
    here = (root / "usr" / "lib" / "file").stat()
    assert (kind, size, mode, uid) == ("file", 6, here.st_mode & 0o7777, here.st_uid)
    assert (file_id, device) == (f"{here.st_dev}:{here.st_ino}", None)
    assert agent.ask("stat", "/lib", False)[0] == "link"
    assert agent.ask("stat", "/none") is None
    assert agent.ask("stat", "/up/none") is None
    assert Agent("/").ask("stat", "/dev/null")[0::5] == ["char", [1, 3]]


def test_list_and_readlink(root: Path) -> None:
    agent = Agent(str(root))
    assert agent.ask("list", "/") == [
        ["absolute", "link"], ["dangling", "link"], ["fifo", "other"], ["lib", "link"], ["loop", "link"],
        ["loop2", "link"], ["up", "link"], ["usr", "dir"],
    ]  # fmt: skip
    assert agent.ask("list", "/absolute") == [["file", "file"]]
    assert agent.ask("list", "/fifo") is None
    assert agent.ask("readlink", "/absolute") == "/usr/lib"
    assert agent.ask("readlink", "/absolute/file")["code"] == "EINVAL"
    assert agent.ask("readlink", "/none") is None
    assert LIST_CAP >= 100000


def test_read_is_bounded_and_takes_only_regular_files(root: Path) -> None:
    agent = Agent(str(root))
    file = root / "usr" / "lib" / "file"
    assert agent.ask("read", "/up", 3) == {"text": "ins", "truncated": True}
    file.write_bytes("aé".encode())
    assert agent.ask("read", "/up", 2) == {"text": "a", "truncated": True}  # no half character
    file.write_bytes(b"\xff\0\xfe")
    assert agent.ask("read", "/up", 10) == {"base64": "/wD+"}
    file.write_bytes(b"")
    assert agent.ask("read", "/up", 10) == {"text": ""}
    os.truncate(file, READ_CAP_BYTES + 1)
    assert agent.ask("read", "/up", 1 << 40)["truncated"] is True
    for path in ("/fifo", "/usr"):
        assert agent.ask("read", path, 10)["error"]
    assert Agent("/").ask("read", "/dev/zero", 10)["error"]


def test_faults_are_values() -> None:
    agent = Agent("/")
    assert agent.ask("nothing")["code"] == "EOPNOTSUPP"
    assert agent.ask("stat", "/bad\0name")["error"]
    assert agent.ask("read", "/etc/passwd", "many")["error"]
    assert agent.ask("stat", "/" + "x" * 5000)["code"] == "ENAMETOOLONG"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permission_denied_is_told_from_absent(root: Path) -> None:
    (root / "usr" / "lib" / "file").chmod(0)
    assert Agent(str(root)).ask("read", "/up", 10)["code"] == "EACCES"
    assert Agent(str(root)).ask("elf", "/up")["code"] == "EACCES"


@pytest.mark.parametrize("python", [sys.executable, *OLD_PYTHONS])
def test_served_over_json_lines(tmp_path: Path, python: str) -> None:
    """The file alone, under its own interpreter, gives the answers that it gives in process."""
    alone = tmp_path / "doctor_agent.py"
    shutil.copy(SOURCE, alone)
    requests = [
        ["elf", sys.executable], ["ldcache", "/etc/ld.so.cache"], ["stat", "/dev/null"], ["list", "/etc/ssl"],
        ["realpath", sys.executable], ["read", "/etc/os-release", 1000], ["elf", "/dev/zero"], ["nothing"],
    ]  # fmt: skip
    done = subprocess.run(
        [python, "-I", str(alone)], input=json.dumps(requests) + "\n" + json.dumps(requests[:1]) + "\n",
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    first, second = map(json.loads, done.stdout.splitlines())
    expected = [Agent("/").ask(*request) for request in requests]
    assert first == expected
    assert second == expected[:1]
    assert "needed" in first[0]


def test_agent_stays_within_python_3_7() -> None:
    vermin = shutil.which("vermin", path=str(Path(sys.executable).parent)) or shutil.which("vermin")
    if vermin is None:
        pytest.skip("vermin is not installed")
    done = subprocess.run([vermin, "-t=3.7-", "--no-tips", str(SOURCE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
