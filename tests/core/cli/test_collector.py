"""The collector: one file, standard library, old Pythons; its snapshot is judged like ours."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra_doctor.cli.collector import pack
from tests.core.machine.pythons import make_venv, site_packages

# Old interpreters, where a machine has them: on PATH or as pyenv keeps them.
KEPT = sorted(Path.home().glob(".pyenv/versions/3.[789].*/bin/python3"))
ON_PATH = [found for version in ("3.7", "3.8", "3.9") if (found := shutil.which(f"python{version}"))]
PYTHONS = [sys.executable, *map(str, KEPT or ON_PATH)]


def runs(python: str) -> bool:
    done = subprocess.run([python, "-c", "pass"], capture_output=True, timeout=60, check=False)
    return done.returncode == 0


def check_json(*argv: str) -> dict[str, object]:
    command = [sys.executable, "-m", "infra_doctor", "check", "--json", *argv]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    report: dict[str, object] = json.loads(done.stdout)
    return report


def test_the_same_version_packs_to_the_same_bytes() -> None:
    assert pack() == pack()


@pytest.mark.parametrize("python", PYTHONS, ids=lambda p: Path(p).parts[-3])
def test_a_collected_snapshot_gives_our_own_verdicts(tmp_path: Path, python: str) -> None:
    if not runs(python):
        pytest.skip(f"{python} does not run here")
    archive = tmp_path / "collector.pyz"
    archive.write_bytes(pack())
    snapshot = tmp_path / "s.json"
    target = ["--python", sys.executable]
    done = subprocess.run(
        [python, str(archive), str(snapshot), *target], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    collected = check_json("--replay", str(snapshot))
    live = check_json(*target)
    assert collected["summary"] == live["summary"]
    names = ("id", "status", "subject", "title")
    assert [[f[n] for n in names] for f in collected["findings"]] == [[f[n] for n in names] for f in live["findings"]]  # type: ignore[attr-defined]
    assert {c["key"] for c in collected["components"]} == {c["key"] for c in live["components"]}  # type: ignore[attr-defined]


def collect(folder: Path, *argv: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    archive = folder / "collector.pyz"
    archive.write_bytes(pack())
    command = [sys.executable, str(archive), *argv]
    env = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=env)


def test_names_that_are_no_utf_8(tmp_path: Path) -> None:
    venv = make_venv(sys.executable, tmp_path / "venv").parent.parent
    with open(os.fsencode(site_packages(venv)) + b"/\xe9.pth", "w") as file:
        file.write("/opt\n")
    snapshot = tmp_path / "s.json"
    target = ["--python", str(venv)]
    assert collect(tmp_path, str(snapshot), "--python", f"{venv}/bin/python").returncode == 0
    collected, live = check_json("--replay", str(snapshot)), check_json(*target)
    assert collected["targets"][0]["sys_path"] == live["targets"][0]["sys_path"]  # type: ignore[index]
    assert "/opt" in live["targets"][0]["sys_path"]  # type: ignore[index]
    assert "\\\\udce9.pth" in snapshot.read_text()


def test_programs_are_not_read(tmp_path: Path) -> None:
    """A program of megabytes that a probe's pattern names is told of, not taken along."""
    (tmp_path / "cuda/bin").mkdir(parents=True)
    (tmp_path / "cuda/bin/nvcc").write_bytes(b"\x7fELF" + b"not to be taken" * 100_000)
    (tmp_path / "cuda/version.json").write_text('{"cuda": {"version": "12.4.1"}}')
    done = collect(tmp_path, "-", CUDA_HOME=str(tmp_path / "cuda"))
    kept = json.loads(done.stdout)["observations"]
    about = [item[0] for item in kept if item[1][:1] == [str(tmp_path / "cuda/bin/nvcc")]]
    assert "stat" in about and "read" not in about
    assert "12.4.1" in done.stdout and "not to be taken" not in done.stdout


def test_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    assert collect(tmp_path, "/dev/null").returncode == 0
    assert not Path("/dev/null").is_file()
    full = collect(tmp_path, "/dev/full")
    assert full.returncode == 2 and full.stderr == "collector: /dev/full: No space left on device\n"
    wrong = collect(tmp_path, "x", SOURCE_DATE_EPOCH="yesterday")
    assert wrong.returncode == 2 and "SOURCE_DATE_EPOCH" in wrong.stderr and "Traceback" not in wrong.stderr


def test_an_unwritable_path_is_one_clear_line(tmp_path: Path) -> None:
    archive = tmp_path / "collector.pyz"
    archive.write_bytes(pack())
    done = subprocess.run(
        [sys.executable, str(archive), "/no/such/folder/s.json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.strip() == "collector: /no/such/folder/s.json: No such file or directory"
