"""The command line as a user meets it: exit codes, stdout is data, stderr is talk, one clear line for what is wrong."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

COMMAND = [sys.executable, "-m", "infra_doctor"]


def run(*argv: str, **fields: object) -> "subprocess.CompletedProcess[str]":
    environment = {k: v for k, v in os.environ.items() if k not in {"SOURCE_DATE_EPOCH"}}
    environment |= dict(fields.pop("env", {}))  # type: ignore[call-overload]
    return subprocess.run([*COMMAND, *argv], capture_output=True, text=True, env=environment, timeout=60, **fields)  # type: ignore[call-overload,no-any-return]


def test_json_is_the_only_thing_on_stdout() -> None:
    done = run("check", "--json")
    report = json.loads(done.stdout)
    assert (report["kind"], report["schema_version"]) == ("report", "1.0")
    assert report["findings"] and report["probes"]
    assert set(report["summary"]) == {"pass", "warn", "fail", "skip", "unknown", "error"}
    assert sum(report["summary"].values()) == len(report["findings"])
    assert "Traceback" not in done.stderr


def test_a_report_meets_its_published_schema() -> None:
    schema = json.loads(run("schema", "report").stdout)
    report = json.loads(run("check", "--json").stdout)
    jsonschema.Draft202012Validator(schema).validate(report)
    report["findings"][0]["status"] = "splendid"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(report)


def test_without_a_terminal_and_a_verb_it_checks() -> None:
    done = run("--json")
    assert json.loads(done.stdout)["kind"] == "report"


def test_every_finding_has_an_id_that_explain_knows() -> None:
    report = json.loads(run("check", "--json").stdout)
    listed = json.loads(run("list", "checks", "--json").stdout)
    assert {f["id"] for f in report["findings"]} <= {c["id"] for c in listed["checks"]}


def test_list_and_explain() -> None:
    listed = json.loads(run("list", "--json").stdout)
    assert {"DRV-OLD", "ORT-FALLBACK", "PROBE-FAILED"} <= {c["id"] for c in listed["checks"]}
    for kind in ("checks", "rules"):
        assert listed[kind] == sorted(listed[kind], key=lambda item: item["id"])
    shown = run("explain", "drv-old")
    assert shown.returncode == 0 and "DRV-OLD" in shown.stdout and "https://" in shown.stdout
    wrong = run("explain", "DRV-ODL")
    assert wrong.returncode == 2 and "Nearest" in wrong.stderr and "DRV-OLD" in wrong.stderr and not wrong.stdout


def test_minor_version_compatibility_is_explained() -> None:
    text = run("explain", "cuda-driver-family").stdout
    assert "12.4" in text and "550" in text


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["check", "--python", "/no/such/python"], "/no/such/python"),
        (["check", "--python", "/etc/hostname"], "/etc/hostname"),
        (["check", "--root", "/no/such/root"], "/no/such/root"),
        (["check", "--replay", "/no/such/file"], "/no/such/file"),
        (["check", "--replay", "/etc/hostname"], "/etc/hostname"),
        (["check", "--replay", "/dev/null"], "/dev/null"),
        (["check", "--replay", "/tmp"], "/tmp"),
        (["check", "--pid", "999999999"], "999999999"),
        (["check", "--pid", "-3"], "-3"),
        (["check", "--root", "/", "--replay", "x"], "exclude each other"),
        (["check", "--python", "x", "--all-pythons"], "exclude each other"),
        (["check", "--json", "--markdown"], "one document"),
        (["check", "--timeout", "0"], "--timeout"),
        (["check", "--only", "NO-SUCH"], "NO-SUCH"),
        (["check", "--html", "/no/such/folder/x.html"], "/no/such/folder/x.html"),
        (["snapshot", "/no/such/folder/x.json"], "/no/such/folder/x.json"),
        (["collector", "-o", "/tmp"], "/tmp"),
        (["frobnicate"], "frobnicate"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_what_is_wrong_is_said_once_and_clearly(argv: list[str], said: str) -> None:
    done = run(*argv)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_damaged_snapshots(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    for text in ("{", "[]", '{"kind": "report"}', '{"kind": "snapshot", "schema_version": "9.0"}',
                 '{"kind": "snapshot", "schema_version": "1.0"}', "\x1f\x8b broken", "[" * 100000):  # fmt: skip
        path.write_text(text, encoding="latin-1")
        done = run("check", "--replay", str(path))
        assert done.returncode == 2, (text[:30], done.stderr)
        assert "s.json" in done.stderr and "Traceback" not in done.stderr


def test_a_replay_gives_the_same_report(tmp_path: Path) -> None:
    path = str(tmp_path / "s.json.gz")
    environment = {"SOURCE_DATE_EPOCH": "1700000000"}
    assert run("snapshot", path, env=environment).returncode == 0
    live = json.loads(run("check", "--json", env=environment).stdout)
    first = run("check", "--replay", path, "--json", env=environment)
    second = run("check", "--replay", path, "--json", env=environment)
    assert first.stdout == second.stdout
    replayed = json.loads(first.stdout)
    assert live.pop("machine")["form"] == "live" and replayed.pop("machine")["form"] == "replayed"
    assert live.pop("created") == replayed.pop("created") == "2023-11-14T22:13:20Z"
    for kind in live:
        assert replayed[kind] == live[kind], kind


def test_several_outputs_at_once(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = run("check", "--json", "--html", str(page))
    assert json.loads(done.stdout)["kind"] == "report"
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert list(tmp_path.iterdir()) == [page]


def test_a_full_disk_is_one_clear_error() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "check"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert done.returncode == 2 and "No space left" in done.stderr and "Traceback" not in done.stderr


def test_a_reader_that_goes_away_leaves_no_traceback() -> None:
    process = subprocess.Popen([*COMMAND, "check", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    with process.stderr:
        said = process.stderr.read()
    assert process.wait(60) == 128 + signal.SIGPIPE
    assert said == ""


@pytest.mark.parametrize("argv", [["check"], ["--version"], ["list"], ["--help"], []], ids=" ".join)
def test_closed_streams(argv: list[str]) -> None:
    """A closed standard output is an error that is said; a closed standard error costs no more than the talk."""
    without_buffer = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    for closing, code in ((">&-", 2), (">/dev/full", 2), ("<&-", 0), ("2>&-", 0), (">&- 2>&- <&-", 2)):
        line = " ".join([*COMMAND, *argv, closing])
        done = subprocess.run(
            ["sh", "-c", line], capture_output=True, text=True, timeout=60, check=False, env=without_buffer
        )
        assert done.returncode == code, (closing, done.stderr)
        assert done.stderr.count("standard output:") == (1 if code and "2>" not in closing else 0), done.stderr
        assert "Traceback" not in done.stderr and bool(done.stdout) == (code == 0)


def test_talk_never_becomes_data(tmp_path: Path) -> None:
    line = " ".join([*COMMAND, "check", "--json", "--html", str(tmp_path / "x.html"), "2>&-"])
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert json.loads(done.stdout)["kind"] == "report"
    assert (tmp_path / "x.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_debug_keeps_the_exit_code() -> None:
    done = run("check", "--debug", "--python", "/no/such/python")
    assert done.returncode == 2 and "Traceback" in done.stderr and "no such file" in done.stderr


@pytest.mark.parametrize(
    ("environment", "options"),
    [
        ({}, ()),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, ()),
        ({"PYTHONIOENCODING": "ascii"}, ()),
        ({"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1"}, ()),
        ({"HOME": ".", "PATH": ":::"}, ()),
        ({"HOME": "/", "PATH": "", "LD_LIBRARY_PATH": ":.:/:relative"}, ()),
        ({}, ("-I",)),
        ({}, ("-OO",)),
    ],
    ids=str,
)
def test_odd_surroundings(environment: dict[str, str], options: tuple[str, ...], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    argv = [sys.executable, *options, "-m", "infra_doctor", "check", "--json", "--html", str(page)]
    done = subprocess.run(argv, env=environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode("utf-8"))["summary"]["error"] == 0
    assert page.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert done.stderr.decode() == f"wrote {page}\n"


def test_from_a_folder_that_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    line = f"rmdir {gone}; {' '.join(COMMAND)} check; {' '.join(COMMAND)} check --html x.html"
    done = subprocess.run(["sh", "-c", line], cwd=gone, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and "x.html: No such file" in done.stderr and "PASS" in done.stdout


# -- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_while_a_reader_does_not_read(number: signal.Signals) -> None:
    """Blocked in writing to a pipe that is full."""
    argv = [*COMMAND, "snapshot", "-"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.read(1) == "{"  # the pipe holds no more than 64 KiB of the rest
        process.send_signal(number)
        said = process.stderr.read()
        assert process.wait(20) == 128 + number
    assert said == (
        "infra-doctor: interrupted\n" if number == signal.SIGINT else f"infra-doctor: ended by {number.name}\n"
    )


def test_sigterm_says_so() -> None:
    code = (
        "import os, signal, sys, threading\n"
        "from infra_doctor.cli import main\n"
        "main._dispatch = lambda argv: os.kill(os.getpid(), signal.SIGTERM) or signal.pause()\n"
        "main.run(['check'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stderr == "infra-doctor: ended by SIGTERM\n"


def test_version_and_help() -> None:
    assert run("--version").stdout.startswith("infra-doctor 0.")
    assert "Exit codes" in run("--help").stdout
    assert "--replay" in run("check", "--help").stdout


def test_from_a_hostile_folder(tmp_path: Path) -> None:
    for name in ("probes", "reports", "json", "infra_doctor_probes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('imported')")
    script = Path(sys.executable).parent / "infra-doctor"
    if not script.exists():
        pytest.skip("the console script is not installed beside this Python")
    done = subprocess.run(
        [str(script), "check", "--json"], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False
    )
    assert json.loads(done.stdout)["kind"] == "report"


@pytest.mark.parametrize(
    ("kind", "argv", "field"),
    [
        ("plan", ("plan", "--json", "--replay", "h200-torch211", "torch", "onnxruntime-gpu"), "steps"),
        ("plan", ("plan", "--json", "--replay", "h200-torch211", "torch==99"), "obstacles"),
        ("plan", ("plan", "--json", "--replay", "h200-ort-gpu-cudnn-hidden", "--repair"), "steps"),
        ("difference", ("diff", "--json", "h200-torch211", "h200-ort-gpu-cudnn-hidden"), "components"),
    ],
)
def test_other_documents_meet_their_published_schemas(kind: str, argv: tuple[str, ...], field: str) -> None:
    """Real documents that hold something in the field; one with a wrong value in it does not pass."""
    machines = Path(__file__).parents[2] / "machines"
    given = [str(p) if (p := machines / a / "snapshot.json.gz").is_file() else a for a in argv]
    document = json.loads(run(*given).stdout)
    validator = jsonschema.Draft202012Validator(json.loads(run("schema", kind).stdout))
    validator.validate(document)
    assert document["kind"] == kind and document[field]
    document[field][0] = 3
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(document)
