"""`infra-doctor triage` as a user meets it: inputs, exit codes, one clear line for what is wrong."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from tests.core.cli.test_contract import run

ARCH = "RuntimeError: CUDA error: no kernel image is available for execution on the device"
MACHINES = Path(__file__).parents[2] / "machines"


def document(*argv: str, **fields: object) -> tuple[dict, int]:  # type: ignore[type-arg]
    done = run("triage", "--json", *argv, **fields)
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout), done.returncode


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "train.log"
    path.write_text(f"starting\n[rank1]: {ARCH}\n")
    return path


def test_a_file(log: Path) -> None:
    found, code = document("--log-only", str(log))
    cause = found["causes"][0]
    assert (cause["finding"], cause["machine_check"], code) == ("ARCH", "not_checked", 1)
    assert (cause["matched"]["line"], cause["matched"]["rank"], cause["matched"]["text"]) == (2, "1", ARCH)
    assert cause["remediation"]["text"] and found["machine"] is None
    assert found["inputs"][0]["lines"] == 2


def test_words_standard_input_packed_and_a_folder_give_the_same(log: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    packed.mkdir()
    (packed / "rank1.log.gz").write_bytes(gzip.compress(log.read_bytes()))
    (packed / "core.1234").write_bytes(b"\x7fELF" + bytes(300))
    text = log.read_text()
    for argv, given in ((ARCH.split(), ""), ([ARCH], ""), ([], text), (["-"], text), ([str(packed)], "")):
        found, code = document("--log-only", *argv, input=given)
        assert ([c["finding"] for c in found["causes"]], code) == (["ARCH"], 1), argv
    notes = {i["name"].rsplit("/", 1)[1]: i["note"] for i in found["inputs"]}
    assert "program" in notes["core.1234"] and not notes["rank1.log.gz"]


def test_the_document_meets_its_published_schema(log: Path) -> None:
    schema = json.loads(run("schema", "triage").stdout)
    found, _ = document(str(log))
    jsonschema.Draft202012Validator(schema).validate(found)
    found["causes"][0]["machine_check"] = "perhaps"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(found)


def test_this_machine_is_asked(log: Path) -> None:
    found, _ = document(str(log))
    assert found["against"] == "machine" and found["machine"]["form"] == "live"
    assert found["causes"][0]["machine_check"] in {"confirmed", "ruled_out", "unknown"}


def test_against_a_snapshot_and_against_its_report(log: Path, tmp_path: Path) -> None:
    snapshot = str(MACHINES / "h200-torch211" / "snapshot.json.gz")
    report = tmp_path / "report.json"
    report.write_text(run("check", "--json", "--replay", snapshot).stdout)
    for path, against in ((snapshot, "snapshot"), (str(report), "report")):
        found, code = document(str(log), "--against", path)
        assert (found["against"], found["causes"][0]["machine_check"], code) == (against, "ruled_out", 0)
    found, _ = document(str(log), "--replay", snapshot)
    assert (found["against"], found["causes"][0]["machine_check"]) == ("snapshot", "ruled_out")


def test_against_a_broken_machine(tmp_path: Path) -> None:
    snapshot = str(MACHINES / "h200-ldpath-shadow-torch" / "snapshot.json.gz")
    words = "RuntimeError: cuDNN version incompatibility: PyTorch was compiled against (9, 1, 0) but linked against (8, 9, 2)"
    found, code = document(words, "--against", snapshot)
    cause = found["causes"][0]
    assert (cause["finding"], cause["machine_check"], code) == ("LDPATH-SHADOW", "confirmed", 1)
    assert cause["machine"][0]["status"] in {"fail", "warn"} and cause["machine"][0]["title"]


@pytest.mark.parametrize(
    ("fail_on", "argv", "code"),
    [("cause", ["--log-only"], 1), ("confirmed", ["--log-only"], 0), ("never", ["--log-only"], 0)],
)
def test_exit_codes(log: Path, fail_on: str, argv: list[str], code: int) -> None:
    assert document(str(log), "--fail-on", fail_on, *argv)[1] == code


def test_nothing_known() -> None:
    done = run("triage", "--log-only", input="all is well\n")
    assert done.returncode == 0
    assert done.stdout.startswith("✔ 1 line read, no known failure.")
    assert document("--log-only", input="all is well\n")[0]["causes"] == []


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["{}/nothing.log"], "no such file"),
        (["{}/train.log", "{}/gone.log"], "no such file"),
        (["/dev/zero"], "not a regular file"),
        (["{}/pipe"], "not a regular file"),
        (["{}/binary"], "binary"),
        (["{}/empty"], "no file in this folder"),
        (["-", "-"], "read once"),
        (["  "], "empty text"),
        (["--log-only", "--against", "x.json", "text"], "--against"),
        (["--log-only", "--root", "/", "text"], "--log-only"),
        (["text", "--against", "{}/train.log"], "JSON"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(argv: list[str], said: str, log: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").mkdir()
    (tmp_path / "binary").write_bytes(bytes(range(1, 20)) * 99)
    done = run("triage", *(a.format(tmp_path) for a in argv), input="")
    assert done.returncode == 2 and not done.stdout
    assert said in done.stderr and "Traceback" not in done.stderr


def test_an_unreadable_file_in_a_folder_does_not_end_the_run(log: Path, tmp_path: Path) -> None:
    (tmp_path / "junk.bin").write_bytes(bytes(range(1, 20)) * 99)
    done = run("triage", "--log-only", "--json", str(tmp_path))
    assert json.loads(done.stdout)["causes"][0]["finding"] == "ARCH"
    assert "junk.bin: not read: binary" in done.stderr


def test_a_process_substitution(log: Path) -> None:
    command = f"{sys.executable} -m infra_doctor triage --log-only --json <(cat {log})"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout)["causes"][0]["finding"] == "ARCH"


def test_the_page_for_people(log: Path) -> None:
    done = run("triage", "--log-only", log.name, cwd=log.parent)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("? NAMED  ARCH  ")
    assert "    Log    train.log:2 (rank 1): RuntimeError" in done.stdout
    assert any(line.startswith("    Fix    ") for line in lines)
    assert "\x1b" not in done.stdout and "explain ARCH" in done.stdout
    assert all(len(line) <= 100 for line in lines)
    ascii_only = run("triage", "--log-only", "--ascii", str(log)).stdout
    assert ascii_only.isascii() and "ARCH" in ascii_only
    more = run("triage", "--log-only", "-v", str(log)).stdout
    assert "https://" in more and "https://" not in done.stdout.split("Fix")[0]


def test_escape_sequences_of_a_log_do_not_reach_the_terminal() -> None:
    done = run("triage", "--log-only", input=f"\x1b]0;evil\x07{ARCH}\x07\x1b[2J \u202e\n")
    assert "\x1b" not in done.stdout and "\x07" not in done.stdout and "\u202e" not in done.stdout
    assert "ARCH" in done.stdout
