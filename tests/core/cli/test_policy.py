"""`policy init`, `policy check`, `policy keys`, and a policy's way through `check`, as a user types them."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra_doctor.cli.policy import summary
from infra_doctor.model.policy import Policy
from tests.core.policy.lab import TODAY, parsed

MACHINES = Path(__file__).parents[2] / "machines"
HEALTHY = str(MACHINES / "h200-torch211" / "snapshot.json.gz")
BROKEN = str(MACHINES / "h200-ort-gpu-cudnn-hidden" / "snapshot.json.gz")


def doctor(*arguments: str, cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "infra_doctor", *arguments],
        capture_output=True, text=True, timeout=60, check=False, cwd=cwd, env={**os.environ, **environ},
    )  # fmt: skip


def findings(done: subprocess.CompletedProcess[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for one in json.loads(done.stdout)["findings"]:
        found.setdefault(one["id"], []).append(one)
    return found


# -- init -----------------------------------------------------------------------------------------------------------


def test_init_check_and_hold(tmp_path: Path) -> None:
    done = doctor("policy", "init", "--replay", HEALTHY, "-o", "infra-doctor.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert done.stderr.startswith("wrote infra-doctor.toml: ")
    done = doctor("policy", "check", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("infra-doctor.toml: in order\n")
    assert "requires  gpu.count 1  (infra-doctor.toml:" in done.stdout
    done = doctor("check", "--replay", HEALTHY, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {f["status"] for f in findings(done)["REQUIREMENT"]} == {"pass"}
    assert "policy: infra-doctor.toml" in done.stderr


def test_init_writes_to_standard_output(tmp_path: Path) -> None:
    one, other = (doctor("policy", "init", "--replay", BROKEN, *more, cwd=tmp_path) for more in ((), ("-o", "-")))
    assert one.returncode == 0
    assert one.stdout == other.stdout
    assert one.stderr == ""
    assert '# [[waivers]]\n# id = "CUDNN-MISSING"\n' in one.stdout
    until = (datetime.now(UTC).date() + timedelta(days=90)).isoformat()
    assert f"# until = {until}\n" in one.stdout or "# until = " in one.stdout  # over midnight
    assert list(tmp_path.iterdir()) == []


def test_init_loses_no_file(tmp_path: Path) -> None:
    kept = tmp_path / "kept.toml"
    kept.write_text("mine")
    done = doctor("policy", "init", "--replay", HEALTHY, "-o", str(kept))
    assert (done.returncode, done.stdout, kept.read_text()) == (2, "", "mine")
    assert "is there already" in done.stderr
    assert "--force" in done.stderr
    assert doctor("policy", "init", "--replay", HEALTHY, "-o", str(kept), "--force").returncode == 0
    assert "[require]" in kept.read_text()
    project = tmp_path / "pyproject.toml"
    project.write_text("[project]\n")
    for force in ((), ("--force",)):
        done = doctor("policy", "init", "--replay", HEALTHY, "-o", str(project), *force)
        assert (done.returncode, project.read_text()) == (2, "[project]\n")
        assert "is more than a policy" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-o", "no/such/folder/x.toml"), "Make the folder first"),
        (("-o", ""), "an empty file name"),
        (("--root", "/", "--replay", HEALTHY), "exclude each other"),
        (("--replay", "nothing.json"), "nothing.json"),
    ],
)
def test_init_that_cannot_be(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    replay = () if "--replay" in arguments else ("--replay", HEALTHY)
    done = doctor("policy", "init", *replay, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_init_of_files_under_a_root_asks_for_nothing_that_cannot_be_seen(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    done = doctor("policy", "init", "--root", str(tmp_path))
    assert done.returncode == 0, done.stderr
    lines = [n for n in done.stdout.splitlines() if n and not n.startswith("#")]
    assert lines == ["[require]"]
    assert "# gpu.count = 8\n#   " in done.stdout


# -- check ----------------------------------------------------------------------------------------------------------


def test_check_of_a_policy_that_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_bytes(b"\xef\xbb\xbf[require]\r\n# c\r\ngpu.cont = 8\r\n")
    done = doctor("policy", "check", "p.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "infra-doctor: p.toml:3: no such requirement: 'gpu.cont'\nNearest: gpu.count, npu.count, cpu.count.\n"
    )


@pytest.mark.parametrize("arguments", [(), ("gone.toml",), (".",), ("/dev/null",), ("-",), ("",)])
def test_check_of_what_is_no_policy(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = doctor("policy", "check", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("infra-doctor: ")


def test_check_says_what_is_in_it_and_what_ends() -> None:
    policy = parsed(
        "preset = 'minimal'\nskip = 'SHM'\nfail-on = 'warn'\nlenient = true\ntimeout = 30\n"
        "[require]\ngpu.count = 8\n[measure]\n'gemm*' = '>=70%'\n[severity]\nSHM = 'low'\n[status]\nSHM = 'warn'\n"
        "[[waivers]]\nid = 'DRV-OLD'\nuntil = 2026-11-20\nreason = 'late \\u001b[31m'\n".replace("'late \\u001b[31m'", '"late \\u001b[31m"')
        + "[[waivers]]\nid = 'ECC/XID'\nuntil = 2026-12-21\nreason = 'soon'\n"
        "[[waivers]]\nid = 'MEMLOCK'\nuntil = 2026-12-22\nreason = 'later'\n"
        "[[waivers]]\nid = 'PROBE-FAILED'\nsubject = 'gpu:0'\nuntil = 2026-11-21\nreason = 'today'\n"
    )  # fmt: skip
    assert summary(policy, frozenset({"DRV-OLD", "ECC/XID"}), TODAY) == [
        "infra-doctor.toml: in order; 1 waiver expired, 2 waivers end within 30 days",
        "  checks    2 (minimal)",
        "  skips     SHM",
        "  requires  gpu.count 8  (infra-doctor.toml:7)",
        "  measures  gemm* >=70%  (infra-doctor.toml:9)",
        "  severity  SHM low  (infra-doctor.toml:11)",
        "  status    SHM warn  (infra-doctor.toml:13)",
        "  waives    DRV-OLD until 2026-11-20 [EXPIRED 1 day ago]: late \\x1b[31m  (infra-doctor.toml:15)",
        "  waives    ECC/XID until 2026-12-21 [ends in 30 days]: soon  (infra-doctor.toml:19)",
        "  waives    MEMLOCK until 2026-12-22 [not judged under this policy]: later  (infra-doctor.toml:23)",
        "  waives    PROBE-FAILED for gpu:0 until 2026-11-21 [ends today]: today  (infra-doctor.toml:27)",
        "  exit      1 from warn on",
        "  exit      0 where something could not be looked at (lenient)",
        "  timeout   30 s",
    ]
    assert summary(Policy(sources=("x",)), frozenset(), TODAY) == ["x: in order", "  checks    0"]


def test_check_of_several(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text("[require]\ngpu.count = 8\n")
    for name in ("bad", "worse"):
        (tmp_path / f"{name}.toml").write_text(f"{name} = 1\n")
    done = doctor("policy", "check", "bad.toml", "good.toml", "worse.toml", "good.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout.startswith("good.toml: in order\n")
    assert done.stdout.count("in order") == 1
    assert [n.partition(": no such")[0] for n in done.stderr.splitlines() if "no such" in n] == [
        "infra-doctor: bad.toml:1", "infra-doctor: worse.toml:1",
    ]  # fmt: skip


def test_an_expired_waiver_is_no_error_of_the_policy(tmp_path: Path) -> None:
    (tmp_path / "infra-doctor.toml").write_text('[[waivers]]\nid = "SHM"\nuntil = 2020-01-01\nreason = "x"\n')
    done = doctor("policy", "check", cwd=tmp_path)
    assert done.returncode == 0
    assert "1 waiver expired" in done.stdout


# -- keys -----------------------------------------------------------------------------------------------------------


def test_keys_and_presets() -> None:
    done = doctor("policy", "keys")
    assert (done.returncode, done.stderr) == (0, "")
    for text in ("gpu.count ", ">=580", "package.* ", "presets:", "training", "kinds:", "unlimited", "TFLOP/s"):
        assert text in done.stdout, text
    listed = json.loads(doctor("list", "requirements", "--json").stdout)["requirements"]
    assert {"gpu.count", "driver", "package.*"} <= {i["id"] for i in listed}
    assert "training" in doctor("list", "presets").stdout


@pytest.mark.parametrize("arguments", [(), ("inti",), ("init", "x"), ("check", "--json"), ("keys", "--json")])
def test_usage(arguments: tuple[str, ...]) -> None:
    done = doctor("policy", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: infra-doctor" in done.stderr


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "infra_doctor", "policy", "keys"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (128 + signal.SIGPIPE, b"")


# -- a policy in `check` --------------------------------------------------------------------------------------------


def held(tmp_path: Path, text: str, *more: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "infra-doctor.toml").write_text(text)
    return doctor("check", "--replay", BROKEN, "--json", *more, cwd=tmp_path)


def test_an_expired_waiver_of_what_was_not_judged(tmp_path: Path) -> None:
    waiver = '[[waivers]]\nid = "CUDNN-MISSING"\nuntil = 2020-01-01\nreason = "x"\n'
    titles = {}
    for name, more in (("all", ()), ("only", ("--only", "DRV-OLD")), ("skip", ("--skip", "CUDNN-MISSING"))):
        (late,) = findings(held(tmp_path, waiver, *more))["WAIVER-EXPIRED"]
        titles[name] = late["title"].rpartition(": ")[2]
    assert titles == {
        "all": "CUDNN-MISSING is there still and counts again",
        "only": "CUDNN-MISSING was not judged in this run",
        "skip": "CUDNN-MISSING was not judged in this run",
    }


def test_severities_and_statuses_of_the_cores_own_ids(tmp_path: Path) -> None:
    text = (
        "[require]\ngpu.count = 8\n[severity]\nWAIVER-EXPIRED = 'critical'\nREQUIREMENT = 'low'\n"
        "[status]\nREQUIREMENT = 'warn'\nWAIVER-EXPIRED = 'fail'\nCUDNN-MISSING = 'warn'\n"
        "[[waivers]]\nid = 'SHM'\nuntil = 2020-01-01\nreason = 'x'\n"
    )
    done = held(tmp_path, text)
    found = findings(done)
    assert [(f["status"], f["severity"]) for f in found["REQUIREMENT"]] == [("warn", "low")]
    assert [(f["status"], f["severity"]) for f in found["WAIVER-EXPIRED"]] == [("fail", "critical")]
    assert done.returncode == 1
    done = held(tmp_path, text.replace("WAIVER-EXPIRED = 'fail'\n", ""))
    assert done.returncode == 0, {i: [f["status"] for f in fs] for i, fs in findings(done).items()}


def test_the_finding_of_a_baseline_may_be_changed_and_waived(tmp_path: Path) -> None:
    report = json.loads(doctor("check", "--replay", BROKEN, "--json").stdout)
    gpu = next(c for c in report["components"] if c["kind"] == "gpu")
    report["components"].append({**gpu, "key": "gpu:0000:99:00.0"})
    (tmp_path / "before.json").write_text(json.dumps(report))
    done = held(tmp_path, "", "--baseline", "before.json")
    assert (done.returncode, findings(done)["BASELINE"][0]["status"]) == (1, "fail")
    done = held(tmp_path, "[status]\nBASELINE = 'warn'", "--baseline", "before.json")
    assert (done.returncode, findings(done)["BASELINE"][0]["status"]) == (0, "warn")
    waiver = "[[waivers]]\nid = 'BASELINE'\nsubject = 'policy:baseline'\nuntil = 9999-12-31\nreason = 'sold'\n"
    done = held(tmp_path, waiver, "--baseline", "before.json")
    assert (done.returncode, findings(done)["BASELINE"][0]["waived"]["reason"]) == (0, "sold")


def test_homes_in_the_names_of_files_stay_private(tmp_path: Path) -> None:
    home = tmp_path / "home" / "alice"
    home.mkdir(parents=True)
    file = home / "policy.toml"
    file.write_text(
        "[require]\ngpu.count = 8\n[status]\nCUDNN-MISSING = 'warn'\n"
        "[[waivers]]\nid = 'SHM'\nuntil = 2020-01-01\nreason = 'ask alice@example.org'\n"
    )
    done = doctor("check", "--replay", HEALTHY, "--json", "--policy", str(file), HOME=str(home))
    policy = json.loads(done.stdout)["policy"]
    assert policy["sources"] != [str(file)]
    assert "alice" not in done.stdout
    assert str(file) in doctor("check", "--replay", HEALTHY, "--json", "--identify", "--policy", str(file)).stdout


def test_a_working_folder_that_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = (
        f"cd {gone} && rmdir {gone} && exec {sys.executable} -m infra_doctor check --replay {HEALTHY} --only DRV-OLD"
    )
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_broken_policy_that_was_found_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.infra-doctor]\nx = [\n")
    done = doctor("check", "--replay", HEALTHY, "--json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "pyproject.toml:2: not TOML" in done.stderr
    assert doctor("check", "--replay", HEALTHY, "--no-policy", cwd=tmp_path).returncode == 0
