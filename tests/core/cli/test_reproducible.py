"""Under SOURCE_DATE_EPOCH a replay gives the same bytes in every format, wherever and by whomever it is run; waivers hold by
the real date all the same."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra_doctor.codec import encode
from infra_doctor.model.policy import Place, Policy, WaiverRule
from infra_doctor.runner import registry
from infra_doctor.runner.run import Run, RunOptions
from tests.support.snapshots import snapshot_of

FORMATS = [f.name for f in registry.load(("reports",), third_party=False).reports]
EPOCH = "1700000000"
POLICY = """
[require]
gpu.count = 2
package.vllm = true
[[waivers]]
id = "CUDNN-MISSING"
until = 2999-12-31
reason = "known"
[[waivers]]
id = "PERSIST"
until = 2020-01-01
reason = "known"
"""
PLACES = (
    {"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "1", "HOME": "/root", "COLUMNS": "40"},
    {"TZ": "America/St_Johns", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "77", "HOME": "/nowhere", "USER": "someone",
     "PYTHONUTF8": "0", "TERM": "dumb"},
    {"TZ": "Pacific/Kiritimati", "LANG": "de_DE.UTF-8", "PYTHONHASHSEED": "4294967295", "PYTHONUNBUFFERED": "1"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("machine", "code"), [("h200-ort-gpu-cudnn-hidden", 0), ("nvml-hangs", 3), ("r470-torch-cu121", 1)]
)
def test_every_format_gives_the_same_bytes(machine: str, code: int, tmp_path: Path) -> None:
    snapshot, base = snapshot_of(machine, tmp_path), snapshot_of("h200-torch211", tmp_path)
    (tmp_path / "policy.toml").write_text(POLICY, encoding="utf-8")
    found: list[dict[str, bytes]] = []
    for number, place in enumerate((PLACES[0], *PLACES)):
        folder = tmp_path / f"folder {number}"
        folder.mkdir()
        kept = {k: v for k, v in os.environ.items() if k in {"PATH", "VIRTUAL_ENV", "PYTHONPATH"}}
        argv = ["--replay", snapshot, "--policy", str(tmp_path / "policy.toml"), "--baseline", base, "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "infra_doctor", "check", *argv, *(f"--format={name}={name}" for name in FORMATS)],
            cwd=folder, env={**kept, "SOURCE_DATE_EPOCH": EPOCH, **place}, capture_output=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == code and len(list(folder.iterdir())) == len(FORMATS), done.stderr
        found.append({"stdout": done.stdout, **{p.name: p.read_bytes() for p in folder.iterdir()}})
    for name in sorted(found[0]):
        assert len({files[name] for files in found}) == 1, name
        assert name in {"text", "github", "gitlab", "prometheus"} or b"2023" in found[0][name], name
    assert b'"run"' not in found[0]["json"]


def test_waivers_hold_by_the_real_date(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """SOURCE_DATE_EPOCH lies before the day; the real date, told here by the clock of the run, lies behind it."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", EPOCH)
    rule = WaiverRule(id="CUDNN-MISSING", until="2026-11-20", reason="known", place=Place(source="p.toml"))
    options = RunOptions(
        replay=snapshot_of("h200-ort-gpu-cudnn-hidden", tmp_path), third_party=False, policy=Policy(waivers=(rule,))
    )

    def report(day: int) -> str:
        return encode(Run(options, now=lambda: datetime(2026, 11, day, 23, 59, tzinfo=UTC)).execute())

    before, last, after = (report(day) for day in (1, 20, 21))
    assert before == last and '"reason": "known"' in last and '"created": "2023-11-14T22:13:20Z"' in last
    assert (
        '"reason": "known"' not in after and "WAIVER-EXPIRED" in after and '"created": "2023-11-14T22:13:20Z"' in after
    )
