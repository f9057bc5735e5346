"""GitHub's annotations: read back as the runner reads them; levels, order, caps, escapes, and the text for people before them."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from infra_doctor.model.evidence import EvidenceKind
from infra_doctor.model.finding import Command, Diagnosis, Remediation, Severity, Status
from infra_doctor_reports.github import LEVEL_CAP, MESSAGE_CAP, automatic, render
from infra_doctor_reports.text import render as render_text
from tests.reports.cases import REPORTS, every_status, requirement, thousand, with_findings
from tests.support.ci_runners import github_commands
from tests.support.sample_report import empty_report, evidence, finding, quiet_report, sample_report

MACHINE = "tests/machines/h200-ort-gpu-cudnn-hidden/snapshot.json.gz"  # a failure and a warning


@pytest.fixture
def folder(tmp_path):
    (tmp_path / ".git").mkdir()
    return tmp_path


def annotations(report, folder, **options):
    return github_commands(render(report, {"anchor": str(folder), **options}))


@pytest.mark.parametrize("name", REPORTS)
def test_the_text_comes_first_and_whole(name, folder):
    report = REPORTS[name]()
    whole = render(report, {"anchor": str(folder)})
    text = render_text(report, {"width": 120})
    assert whole.startswith(text)
    rest = whole.removeprefix(text).strip("\n")
    assert all(line.startswith("::") for line in rest.splitlines())
    assert len(rest.splitlines()) == len(github_commands(whole))


def test_levels_by_what_makes_the_step_fail(folder):
    report = every_status()

    def levels(**options):
        return {c.properties["title"]: c.name for c in annotations(report, folder, **options)}

    plain = levels()
    assert plain["FAIL CUDNN-MISSING"] == "error"
    assert plain["ERROR PROBE-FAILED"] == "error", "a device that could not be looked at: exit code 3"
    assert plain["WARN CUDNN-MIX"] == "warning"
    assert plain["UNKNOWN NVCC-MISMATCH"] == "notice"
    assert levels(lenient=True)["ERROR PROBE-FAILED"] == "warning"
    assert levels(fail_on="warn")["WARN CUDNN-MIX"] == "error"
    assert levels(fail_on="warn")["UNKNOWN NVCC-MISMATCH"] == "notice"
    assert set(levels(fail_on="unknown").values()) == {"error"}
    assert levels(fail_on="never") == plain
    assert not any("WAIVED" in title or "PYNVML" in title for title in plain), "what is waived is no alarm"


def test_what_could_not_be_looked_at_and_is_not_required_is_a_warning(folder):
    report = with_findings(sample_report(), (finding("PROBE-FAILED", Status.ERROR, "x", "file:/etc/x"),))
    assert [c.name for c in annotations(report, folder)] == ["warning"]


def test_places(folder):
    (folder / "infra-doctor.toml").write_text("[require]\n" * 20)
    (folder / "requirements.txt").write_text("numpy\ntorch==2.11\n")
    report = with_findings(
        sample_report(),
        (
            requirement("driver", Status.FAIL, "infra-doctor.toml:9"),
            finding("X", Status.FAIL, "t", "wheel:torch@/opt/venv"),
        ),
    )
    found = {c.properties["title"]: (c.properties["file"], c.properties["line"]) for c in annotations(report, folder)}
    assert found == {"FAIL REQUIREMENT": ("infra-doctor.toml", "9"), "FAIL X": ("requirements.txt", "2")}


def test_the_message_has_the_reason_and_the_fix(folder):
    (first, *_) = annotations(sample_report(), folder)
    lines = first.data.split("\n")
    assert lines[0] == "libcublasLt.so.13 and libcufft.so.12 are not where ONNX Runtime looks"
    assert lines[1].startswith("Both sonames lie under")
    assert lines[2].startswith("Fix: Call onnxruntime.preload_dlls()")
    assert lines[3] == "$ /opt/venv/bin/python -m pip install 'onnxruntime-gpu[cuda,cudnn]==1.30.0'"
    followed = next(c for c in annotations(sample_report(), folder) if "ORT-FALLBACK" in c.properties["title"])
    assert "It follows from CUDNN-MISSING: libcublasLt.so.13" in followed.data


@pytest.mark.parametrize(
    "text", ["100%", "a%0Ab", "%250A", "a:b,c=d", "::error::x", "x::y::z", "%25%3A%2C", "=", "100 %, then: 5"]
)
def test_escapes_are_taken_back_by_the_runner(text, folder):
    one = finding(
        f"ID {text}",
        Status.FAIL,
        text,
        detail=text,
        remediation=Remediation(text=text, commands=(Command(argv=("a", text)),)),
    )
    (found,) = annotations(with_findings(empty_report(), (one,)), folder)
    assert found.properties["title"] == f"FAIL ID {text}"
    assert found.data.split("\n")[:3] == [text, text, f"Fix: {text}"]


def test_a_message_is_as_long_as_the_runner_keeps(folder):
    long = "\U0001f4a5 and 100% more\n" * 5000
    one = finding(
        "ID" * 400,
        Status.FAIL,
        long,
        detail=long,
        remediation=Remediation(text=long, commands=(Command(argv=(long,)),) * 50),
    )
    (found,) = annotations(with_findings(empty_report(), (one,)), folder)
    assert len(found.data.encode("utf-16-le")) // 2 <= MESSAGE_CAP
    assert len(found.properties["title"]) <= 200
    assert found.data.startswith("\U0001f4a5 and 100% more")


def test_ten_of_a_level_and_a_notice_of_the_rest(folder):
    report = thousand()
    found = annotations(report, folder)
    names = [c.name for c in found]
    assert names == ["error"] * LEVEL_CAP + ["warning"] * LEVEL_CAP + ["notice"] * LEVEL_CAP
    counts = {s: sum(f.status is s for f in report.findings) for s in Status}
    # Of 166 or so of each: errors that concern no device are warnings.
    assert found[-1].properties == {"title": "infra-doctor"}
    assert found[-1].data == (
        f"GitHub shows 10 annotations of a level: {counts[Status.FAIL] - 10} errors, "
        f"{counts[Status.ERROR] + counts[Status.WARN] - 10} warnings, {counts[Status.UNKNOWN] - 9} notices more stand in the log of this step."
    )


def test_ten_of_each_need_no_notice(folder):
    many = [finding(f"F{n}", Status.FAIL, "t", str(n)) for n in range(10)] + [
        finding(f"U{n}", Status.UNKNOWN, "t", str(n)) for n in range(10)
    ]
    found = annotations(with_findings(empty_report(), tuple(many)), folder)
    assert [c.name for c in found] == ["error"] * 10 + ["notice"] * 10
    one_more = with_findings(empty_report(), (*many, finding("F10", Status.FAIL, "t", "x")))
    found = annotations(one_more, folder)
    assert [c.name for c in found] == ["error"] * 10 + ["notice"] * 10
    assert "1 error, 1 notice more" in found[-1].data


def test_the_worst_come_first_and_causes_before_what_follows(folder):
    severities = [Severity.LOW, Severity.CRITICAL, Severity.MEDIUM, Severity.HIGH] * 4
    many = [finding(f"F{n}-{s.value}", Status.FAIL, "t", str(n), severity=s) for n, s in enumerate(severities)]
    report = with_findings(empty_report(), tuple(many))
    shown = [c.properties["title"].rpartition("-")[2] for c in annotations(report, folder)[:10]]
    assert shown == ["critical"] * 4 + ["high"] * 4 + ["medium"] * 2
    # The low one is the cause of twelve others: it is not lost behind them.
    root = next(f for f in many if f.severity is Severity.LOW)
    others = tuple(f.fingerprint for f in many if f is not root)
    caused = replace(report, diagnoses=(Diagnosis(root=root.fingerprint, follows=others, text="x"),))
    assert annotations(caused, folder)[0].properties["title"] == f"FAIL {root.id}"


@pytest.mark.parametrize("report", [empty_report(), quiet_report()], ids=["empty", "quiet"])
def test_nothing_wrong_says_so_in_words_alone(report, folder):
    assert annotations(report, folder) == []
    assert render(report, {"anchor": str(folder)}).count("\n") >= 2


def test_ascii(folder):
    whole = render(sample_report(), {"anchor": str(folder), "ascii": True})
    assert whole.isascii() and len(github_commands(whole)) == 5


def test_evidence_from_the_command_line_has_no_place_of_its_own(folder):
    one = replace(
        requirement("driver", Status.FAIL, "--require"),
        evidence=(evidence(EvidenceKind.POLICY, "--require", "driver"),),
    )
    (found,) = annotations(with_findings(empty_report(), (one,)), folder)
    assert (found.properties["file"], found.properties["line"]) == ("infra-doctor.toml", "1")


def test_automatic_where_the_runner_reads():
    assert automatic({"GITHUB_ACTIONS": "true"}) == "-"
    assert automatic({}) == automatic({"GITHUB_ACTIONS": ""}) == automatic({"CI": "true"}) == ""


def test_a_step_of_a_workflow(tmp_path):
    """`--format auto`: annotations on standard output, and the summary added to what the step has written before."""
    (tmp_path / ".git").mkdir()
    summary = tmp_path / "summary.md"
    summary.write_text("# before\n")
    environment = {**os.environ, "GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": os.fspath(summary)}
    argv = [
        sys.executable,
        "-m",
        "infra_doctor",
        "check",
        "--replay",
        os.fspath(Path(MACHINE).resolve()),
        "--format",
        "auto",
        "--no-plugins",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120, check=False)
    assert done.returncode == 1, done.stderr
    found = github_commands(done.stdout)
    assert [c.name for c in found][:2] == ["error", "warning"]
    assert {c.properties["file"] for c in found} == {"infra-doctor.toml"}
    assert summary.read_text().startswith("# before\n## ✖ FAIL: ")
    assert github_commands(done.stderr) == []
