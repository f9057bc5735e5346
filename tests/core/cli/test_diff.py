"""`infra-doctor diff`: reports and snapshots, told by content; 1 where something got worse."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MACHINES = Path(__file__).parents[2] / "machines"
HEALTHY, HIDDEN = (str(MACHINES / n / "snapshot.json.gz") for n in ("h200-ort-gpu-wheels", "h200-ort-gpu-cudnn-hidden"))


def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "infra_doctor", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_two_snapshots() -> None:
    result = doctor("diff", HEALTHY, HIDDEN, "--json")
    assert result.returncode == 1, result.stderr
    document = json.loads(result.stdout)
    assert (document["kind"], document["worse"]) == ("difference", True)
    worse = {f["id"]: f for f in document["findings"] if f["turn"] == "worse"}
    assert worse["CUDNN-MISSING"]["because"] == ["cudnn libcudnn 9.19.0.56 went"]


def test_a_report_against_a_snapshot_and_back(tmp_path: Path) -> None:
    saved = tmp_path / "report.json"
    saved.write_text(doctor("check", "--replay", HIDDEN, "--json").stdout)
    result = doctor("diff", str(saved), HEALTHY, "--ascii")
    assert result.returncode == 0, result.stderr
    assert "Nothing got worse" in result.stdout
    assert "CUDNN-MISSING" in result.stdout
    assert result.stdout.isascii()


def test_no_difference() -> None:
    result = doctor("diff", HEALTHY, HEALTHY)
    assert (result.returncode, result.stdout) == (0, "✔ No difference.\n")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"kind": "plan", "schema_version": "1.0"}', "\0\1\2"])
def test_what_cannot_be_compared_is_one_clear_error(tmp_path: Path, text: str) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(text)
    result = doctor("diff", HEALTHY, str(bad))
    assert (result.returncode, result.stdout) == (2, "")
    assert str(bad) in result.stderr
    assert "Traceback" not in result.stderr
