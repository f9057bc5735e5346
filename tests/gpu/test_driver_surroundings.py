"""On a real GPU: what the driver's libraries do with visible-devices variables, device files and cuda-compat is what the
probes and checks say of it.

    pytest -m gpu tests/gpu/test_driver_surroundings.py

Faults are variables and private mounts (as root, `unshare --mount`); the machine itself is left alone. CAP_MKNOD is dropped
for the planted device files, because a process that has it makes a missing one itself."""

import glob
import json
import os
import shutil
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not os.path.exists("/proc/driver/nvidia/version"), reason="no NVIDIA driver"),
]
PRIVATE = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("setpriv") is None,
    reason="private mounts need root, unshare and setpriv",
)
# cuInit's error and the number of devices, without any framework.
CUDA = (
    "import ctypes, json\nlib = ctypes.CDLL('libcuda.so.1')\ncount = ctypes.c_int(0)\nerror = lib.cuInit(0)\n"
    "error or lib.cuDeviceGetCount(ctypes.byref(count))\nprint(json.dumps([error, count.value]))"
)
UNPRIVILEGED = ("setpriv", "--bounding-set", "-mknod", "--inh-caps", "-mknod")
VALUES = (
    "", " ", "-1", "0", "0,0", "97", "0,97", "97,0", "abc", "0,abc", "00", "+0", "0 ", " 0", "0,-1", "NoDevFiles", "GPU-bogus",
    "MIG-1", "GPU-", "all", "0,", ",0", "0x0", "0.5", "UUID", "SHORT", "0,UUID", "UUID,0", "UPPER",
)  # fmt: skip


def uuid() -> str:
    done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.partition("UUID: ")[2].partition(")")[0]


def cuda(wrapper: tuple[str, ...] = (), **environment: str) -> list[int]:
    """[cuInit's error, devices] of a fresh process."""
    argv = (*wrapper, sys.executable, "-c", CUDA)
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=60, check=True, env={**os.environ, **environment}
    )
    found: list[int] = json.loads(done.stdout)
    return found


def check(wrapper: tuple[str, ...] = (), **environment: str) -> dict[str, tuple[str, str]]:
    """The worst status and its title by finding id, in the report's order: the worst first."""
    argv = (*wrapper, sys.executable, "-m", "infra_doctor", "check", "--json")
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **environment}
    )
    found: dict[str, tuple[str, str]] = {}
    for finding in json.loads(done.stdout)["findings"]:
        found.setdefault(finding["id"], (finding["status"], finding["title"]))
    return found


def mounted(script: str, *, privileged: bool = False) -> tuple[str, ...]:
    """Runs what follows under private mounts that a shell script makes."""
    dropped = "" if privileged else " ".join(UNPRIVILEGED)
    return ("unshare", "--mount", "--propagation", "private", "sh", "-ec", f'{script}\nexec {dropped} "$@"', "sh")


def without(*nodes: str) -> str:
    """A /dev of its own that lacks these."""
    gone = " ".join(f"/tmp/planted-dev/{n}" for n in nodes)
    return (
        "mkdir -p /tmp/planted-dev; mount -t tmpfs -o mode=755 dev /tmp/planted-dev\n"
        "cp -a /dev/nvidia* /dev/null /dev/zero /dev/full /dev/random /dev/urandom /tmp/planted-dev/\n"
        f"rm -f {gone}; mkdir /tmp/planted-dev/shm; mount --move /tmp/planted-dev /dev; mount -t tmpfs shm /dev/shm"
    )


@pytest.mark.parametrize("value", VALUES)
def test_a_visible_devices_variable_lets_through_what_is_said(value: str) -> None:
    own = uuid()
    devices = cuda()[1]
    value = value.replace("UUID", own).replace("SHORT", own[:12]).replace("UPPER", own.upper())
    error, count = cuda(CUDA_VISIBLE_DEVICES=value)
    status, title = check(CUDA_VISIBLE_DEVICES=value)["ENV-CVD"]
    said = f"{value!r}: cuInit {error}, {count} of {devices} devices; ENV-CVD {status}: {title}"
    print(said)
    assert (status in {"fail", "warn"}) == (count == 0 or (value.count(",") > 0 and value not in {"0,", "0,-1"})), said


@PRIVATE
@pytest.mark.parametrize(
    ("nodes", "error", "finding_id"),
    [(("nvidia-uvm",), 999, "UVM"), (("nvidiactl",), 100, "NV-NODES"), (("nvidia-uvm", "nvidiactl"), 100, "NV-NODES")],
)
def test_missing_device_files(nodes: tuple[str, ...], error: int, finding_id: str) -> None:
    plant = mounted(without(*nodes))
    assert cuda(plant)[0] == error
    found = check(plant)
    bad = [i for i, (status, _) in found.items() if status == "fail"]
    assert bad[:1] == [finding_id], {i: found[i] for i in bad}
    assert finding_id not in {i for i, (status, _) in check().items() if status in {"fail", "warn"}}


@PRIVATE
def test_a_gpu_without_its_own_device_file() -> None:
    if len(glob.glob("/dev/nvidia[0-9]")) != 1:
        pytest.skip("on a machine of several GPUs the others are left")
    plant = mounted(without("nvidia0"))
    assert cuda(plant)[0] == 100
    assert check(plant)["NV-NODES"][0] == "fail"


@PRIVATE
@pytest.mark.parametrize(("node", "finding_id"), [("nvidia-uvm", "UVM"), ("nvidiactl", "NV-NODES")])
def test_who_may_make_device_files_makes_them(node: str, finding_id: str) -> None:
    """Then nothing is broken for root, and a warning says so of the others."""
    plant = mounted(without(node), privileged=True)
    assert cuda(plant)[0] == 0
    assert check(mounted(without(node), privileged=True))[finding_id][0] in {"warn", "pass"}


@PRIVATE
@pytest.mark.parametrize(
    ("node", "finding_id"), [("nvidia-uvm", "UVM"), ("nvidiactl", "NV-NODES"), ("nvidia0", "NV-NODES")]
)
def test_another_device_in_the_place_of_a_device_file(node: str, finding_id: str) -> None:
    plant = mounted(f"mount --bind /dev/null /dev/{node}")
    if node != "nvidia0" or len(glob.glob("/dev/nvidia[0-9]")) == 1:  # of several GPUs the others are left
        assert cuda(plant)[0] != 0
    assert check(plant)[finding_id][0] == "fail"


@PRIVATE
def test_a_dev_that_forbids_devices() -> None:
    plant = mounted(without() + "\nmount -o remount,nodev /dev")
    assert cuda(plant)[0] == 100
    assert check(plant)["NV-NODES"][0] == "fail"


def test_cuda_compat_in_front_of_the_driver() -> None:
    folders = sorted(glob.glob("/usr/local/cuda-*/compat"))
    if not folders:
        pytest.skip("no cuda-compat here")
    path = f"{folders[-1]}:{os.environ.get('LD_LIBRARY_PATH', '')}"
    error, _ = cuda(LD_LIBRARY_PATH=path)
    status, title = check(LD_LIBRARY_PATH=path)["COMPAT"]
    assert status == ("fail" if error else "pass"), (error, title)
    assert not error or str(error) in title
    assert check()["COMPAT"][0] == "skip"
