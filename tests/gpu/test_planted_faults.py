"""On a real GPU machine: each planted fault is named first, and is gone when it is undone.

    pytest -m gpu tests/gpu/test_planted_faults.py

Nothing of the machine is changed: faults are variables, limits, programs earlier on PATH, environments of our own, and
private mounts (as root, `unshare --mount`). INFRA_DOCTOR_GPU_PYTHON names the Python environment with torch."""

import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from functools import cache
from pathlib import Path

import pytest

from infra_doctor.codec import convert
from infra_doctor.model.report import Report
from infra_doctor.model.view import causes

TARGET = os.environ.get("INFRA_DOCTOR_GPU_PYTHON", sys.executable)
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not os.path.exists("/proc/driver/nvidia/version"), reason="no NVIDIA driver"),
]
PRIVATE = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="private mounts need root and unshare"
)


def check(
    *, python: str = TARGET, wrapper: tuple[str, ...] = (), exit_code: int | None = None, **environment: str | None
) -> Report:
    """A whole check in a process of its own. A variable that is None is taken away."""
    variables = {k: v for k, v in {**os.environ, **environment}.items() if v is not None}
    argv = (*wrapper, sys.executable, "-m", "infra_doctor", "check", "--json", "--python", python)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, env=variables)
    assert done.stdout, done.stderr
    assert exit_code is None or done.returncode == exit_code, (done.returncode, done.stderr)
    return convert(json.loads(done.stdout), Report, where="stdout")


def mounted(script: str) -> tuple[str, ...]:
    """Runs what follows under private mounts that a shell script makes."""
    return ("unshare", "--mount", "--propagation", "private", "sh", "-ec", script + '\nexec "$@"', "sh")


def named(report: Report) -> list[str]:
    """The ids of the root causes, the first first."""
    return [c.root.id for c in causes(report) if c.root.status != "unknown"]


@cache
def healthy(python: str = TARGET) -> tuple[str, ...]:
    """What is named without any fault of ours: nothing, on a healthy machine."""
    return tuple(named(check(python=python)))


def first_and_gone(finding_id: str, report: Report, *, python: str = TARGET) -> None:
    """The fault is the first root, and is not there without the plant."""
    shown = [(f.id, f.status, f.title) for f in report.findings if f.status in {"fail", "warn", "error"}]
    assert named(report)[:1] == [finding_id], shown
    assert finding_id not in healthy(python)


def works(python: str, code: str, wrapper: tuple[str, ...] = (), **environment: str) -> bool:
    """Whether a program of the target runs: what the fault really breaks."""
    done = subprocess.run(
        (*wrapper, python, "-c", code), env={**os.environ, **environment}, capture_output=True, timeout=120, check=False
    )
    return done.returncode == 0


TORCH = "import torch; assert (torch.ones(8, device='cuda') * 2).sum().item() == 16"


def test_without_a_fault_nothing_is_named() -> None:
    assert healthy() == ()


def test_ld_library_path_shadows_the_wheels_libraries() -> None:
    folders = {os.path.dirname(p) for p in glob.glob("/usr/lib/*-linux-gnu/libcudnn.so.9")}
    if not folders:
        pytest.skip("no cuDNN of the system to shadow with")
    path = ":".join([*folders, os.environ.get("LD_LIBRARY_PATH", "")])
    first_and_gone("LDPATH-SHADOW", check(LD_LIBRARY_PATH=path))


def test_the_toolkits_compat_folder_comes_first() -> None:
    folders = sorted(glob.glob("/usr/local/cuda-*/compat"))
    if not folders:
        pytest.skip("no cuda-compat here")
    path = f"{folders[-1]}:{os.environ.get('LD_LIBRARY_PATH', '')}"
    report = check(LD_LIBRARY_PATH=path)
    broken = not works(TARGET, TORCH, LD_LIBRARY_PATH=path)
    print("compat:", folders[-1], os.listdir(folders[-1]), "torch", "fails" if broken else "works")
    found = next(f for f in report.findings if f.id == "COMPAT")
    print(found.status, found.title, found.detail)
    assert found.status in ({"fail"} if broken else {"pass", "warn"})
    if found.status != "pass":
        first_and_gone("COMPAT", report)


@pytest.mark.parametrize("value", ["", "-1", "97", "GPU-00000000-dead-beef-0000-000000000000", "no such thing"])
def test_visible_devices(value: str) -> None:
    first_and_gone("ENV-CVD", check(CUDA_VISIBLE_DEVICES=value))
    assert not works(TARGET, TORCH, CUDA_VISIBLE_DEVICES=value)


def test_a_valid_variable_is_no_fault() -> None:
    assert "ENV-CVD" not in named(check(CUDA_VISIBLE_DEVICES="0"))


@PRIVATE
@pytest.mark.parametrize("size", ["64k", "64m"])
def test_a_small_shm(size: str) -> None:
    report = check(wrapper=mounted(f"mount -t tmpfs -o size={size} shm /dev/shm"))
    first_and_gone("SHM", report)


@PRIVATE
@pytest.mark.parametrize(
    ("node", "finding_id"),
    [("nvidia-uvm", "UVM"), ("nvidiactl", "NV-NODES"), ("nvidia0", "NV-NODES")],
)
def test_a_device_node_is_missing(node: str, finding_id: str) -> None:
    plant = mounted(
        "mkdir -p /tmp/planted-dev && mount -t tmpfs dev /tmp/planted-dev && cp -a /dev/. /tmp/planted-dev/ 2>/dev/null || true\n"
        f"rm /tmp/planted-dev/{node} && mount --move /tmp/planted-dev /dev"
    )
    first_and_gone(finding_id, check(wrapper=plant))
    # Root's programs make the node, so they work (a warning); others cannot.
    nobody = (*plant, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    assert not works(TARGET, TORCH, wrapper=nobody)
    assert works(TARGET, TORCH, wrapper=nobody[len(plant) :])


def test_a_low_memlock_limit() -> None:
    report = check(wrapper=("prlimit", "--memlock=65536:65536"))
    found = next(f for f in report.findings if f.id == "MEMLOCK")
    print(found.status, found.title)
    first_and_gone("MEMLOCK", report)


def fake_smi(folder: Path, script: str) -> str:
    """PATH with another nvidia-smi first."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_an_nvidia_smi_that_hangs(tmp_path: Path) -> None:
    first_and_gone("SMI", check(PATH=fake_smi(tmp_path, "sleep 1000")))


def test_an_nvidia_smi_of_another_version(tmp_path: Path) -> None:
    text = "NVIDIA-SMI version  : 470.57.02\nNVML version        : 470.57\nDRIVER version      : 470.57.02\nCUDA Version        : 11.4"
    first_and_gone("SMI", check(PATH=fake_smi(tmp_path, f"cat <<'X'\n{text}\nX")))


def test_a_killed_nvml_child() -> None:
    stop = threading.Event()

    def hunt() -> None:
        while not stop.is_set():
            for path in glob.glob("/proc/[0-9]*/cmdline"):
                try:
                    with open(path, "rb") as file:
                        words = file.read(4096)
                except OSError:
                    continue
                if b"infra_doctor_probes.children.nvml" in words:
                    try:
                        os.kill(int(path.split("/")[2]), signal.SIGKILL)
                    except OSError:
                        pass

    thread = threading.Thread(target=hunt, daemon=True)
    thread.start()
    try:
        report = check(exit_code=3)
    finally:
        stop.set()
        thread.join()
    assert named(report)[:1] == ["PROBE-FAILED"]
    assert "PROBE-FAILED" not in healthy()


# -- environments of our own --------------------------------------------------------------------------------------


def environment(place: Path) -> Path:
    """An empty environment made by the target's interpreter."""
    subprocess.run([TARGET, "-m", "venv", "--without-pip", "--copies", str(place)], check=True, timeout=120)
    return place / "bin" / "python"


def site_of(python: Path) -> Path:
    return next((python.parents[1] / "lib").glob("python*/site-packages"))


def test_a_cpu_onnxruntime_where_a_gpu_is(tmp_path: Path) -> None:
    source = Path(
        subprocess.run(
            [TARGET, "-c", "import onnxruntime; print(onnxruntime.__file__)"], capture_output=True, text=True, timeout=60, check=False
        ).stdout.strip() or "/nowhere"
    ).parents[1]  # fmt: skip
    info = next(iter(source.glob("onnxruntime-*.dist-info")), None)
    if info is None:
        pytest.skip("the target has no CPU build of onnxruntime to copy")
    python = environment(tmp_path / "env")
    before = named(check(python=str(python)))
    shutil.copytree(source / "onnxruntime", site_of(python) / "onnxruntime")
    shutil.copytree(info, site_of(python) / info.name)
    report = check(python=str(python))
    assert named(report)[:1] == ["CPU-BUILD"], named(report)
    assert "CPU-BUILD" not in before


def wheel(folder: Path, name: str, version: str, files: dict[str, bytes]) -> Path:
    """A small real wheel."""
    import base64
    import hashlib

    info = f"{name}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
        for path, data in files.items()
    ]
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name_in, data in files.items():
            archive.writestr(name_in, data)
        archive.writestr(f"{info}/RECORD", "\n".join([*rows, f"{info}/RECORD,,"]) + "\n")
    return path


def test_two_wheels_own_one_path(tmp_path: Path) -> None:
    library = next(iter(glob.glob("/usr/lib/*-linux-gnu/libnccl.so.2")), None)
    real = Path(library).read_bytes() if library else Path("/proc/self/exe").read_bytes()
    python = environment(tmp_path / "env")
    for name, data in (("nvidia_nccl_cu12", real[:-1] + b"x"), ("nvidia_nccl_cu13", real)):
        made = wheel(
            tmp_path, name, "2.28.9" if name.endswith("13") else "2.20.5", {"nvidia/nccl/lib/libnccl.so.2": data}
        )
        with zipfile.ZipFile(made) as archive:  # as an installer does: the second overwrites the first
            archive.extractall(site_of(python))
    report = check(python=str(python))
    assert named(report)[:1] == ["PY-CLOBBER-NV"], named(report)
    shutil.rmtree(next(site_of(python).glob("nvidia_nccl_cu12-*.dist-info")))
    assert "PY-CLOBBER-NV" not in named(check(python=str(python)))


def test_an_environment_copied_to_another_place(tmp_path: Path) -> None:
    python = environment(tmp_path / "made")
    program = python.parent / "torchrun"
    program.write_text(f"#!{python}\n")
    program.chmod(0o755)
    shutil.copytree(tmp_path / "made", tmp_path / "copy", symlinks=True)
    report = check(python=str(tmp_path / "copy"))
    assert named(report)[:1] == ["ENV-MOVED"], named(report)
    assert "ENV-MOVED" not in named(check(python=str(python)))
