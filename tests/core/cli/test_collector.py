"""The collector: one file, standard library, old Pythons; its snapshot is judged like ours."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra_doctor.cli.collector import pack

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
