"""GitLab's code quality report: the form that its parser takes, what becomes an entry, fingerprints and places."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import jsonschema
import pytest

from infra_doctor.model.evidence import EvidenceKind
from infra_doctor.model.finding import Severity, Status
from infra_doctor.plugin import printable
from infra_doctor_reports.gitlab import FILE_NAME, LEVELS, automatic, render
from tests.reports.cases import INJECTIONS, REPORTS, every_status, poisoned, thousand
from tests.support.sample_report import evidence, finding, sample_report

# The table of https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format, stricter than GitLab's own schema
# (app/validators/json_schemas/codeclimate.json, which wants strings and an integer): what else it reads, it ignores.
SCHEMA = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["description", "check_name", "fingerprint", "severity", "location"],
        "additionalProperties": False,
        "properties": {
            "description": {"type": "string", "minLength": 1},
            "check_name": {"type": "string"},
            "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "location": {
                "type": "object",
                "required": ["path", "lines"],
                "additionalProperties": False,
                "properties": {
                    # "The relative path to the file": inside of the repository, without ./
                    "path": {"type": "string", "pattern": r"^(?!/)(?!\./)(?!\.\./)(?!.*/\.\./).+$"},
                    "lines": {
                        "type": "object",
                        "required": ["begin"],
                        "properties": {"begin": {"type": "integer", "minimum": 1}},
                    },
                },
            },
        },
    },
}


@pytest.fixture
def folder(tmp_path):
    """A repository without a file in it."""
    (tmp_path / ".git").mkdir()
    return tmp_path


def entries(report, folder) -> list[dict]:
    text = render(report, {"anchor": str(folder)})
    assert text.endswith("]\n") and text.isascii()  # so no byte order mark, which GitLab's parser does not take
    found = json.loads(text)
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    assert len({e["fingerprint"] for e in found}) == len(found)
    return found


@pytest.mark.parametrize("name", REPORTS)
def test_it_holds_the_problems_that_count_in_the_form_that_gitlab_takes(name, folder):
    report = REPORTS[name]()
    problems = [f for f in report.findings if f.waived is None and f.status not in {Status.PASS, Status.SKIP}]
    assert [e["check_name"] for e in entries(report, folder)] == [f.id for f in problems]


def test_nothing_wrong_is_an_empty_list(folder):
    quiet = replace(sample_report(), findings=tuple(f for f in sample_report().findings if f.status is Status.PASS))
    assert render(quiet, {"anchor": str(folder)}) == "[]\n"


def test_the_schema_refuses_what_gitlab_refuses(folder):
    (entry, *_) = entries(sample_report(), folder)
    for wrong in ({"severity": "high"}, {"location": {"path": "/etc/passwd", "lines": {"begin": 1}}},
                  {"location": {"path": "a", "lines": {"begin": 0}}}, {"fingerprint": ""}):  # fmt: skip
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(SCHEMA).validate([entry | wrong])


def test_each_entry_says_what_is_wrong_and_the_fix(folder):
    by_name = {e["check_name"]: e for e in entries(every_status(), folder)}
    assert by_name["CUDNN-MIX"]["description"] == (
        "CUDNN-MIX: onnxruntime imported first takes cuDNN 9.14.0, torch takes 9.19.0. "
        "Fix: Import torch first, or remove the system copy when nothing else needs it."
    )
    assert not set(by_name) & {"PYNVML", "WAIVED-FAIL", "LATER", "DRV-OLD", "CANN-DRV"}


def test_the_five_words_are_by_status_and_severity(folder):
    levels = {
        s: [LEVELS[s][v] for v in (Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL)] for s in LEVELS
    }
    assert levels[Status.FAIL] == ["minor", "major", "critical", "blocker"]
    assert levels[Status.WARN] == levels[Status.ERROR] == ["info", "minor", "major", "critical"]
    assert set(levels[Status.UNKNOWN]) == {"info"}
    by_name = {e["check_name"]: e["severity"] for e in entries(sample_report(), folder)}
    assert by_name == {"ORT-FALLBACK": "blocker", "CUDNN-MISSING": "critical", "PROBE-FAILED": "minor",
                       "CUDNN-MIX": "minor", "NVCC-MISMATCH": "info"}  # fmt: skip


def test_fingerprints_stay_and_twins_have_their_own(folder):
    sample = sample_report()
    by_name = {e["check_name"]: e["fingerprint"] for e in entries(sample, folder)}
    assert by_name["CUDNN-MIX"] == next(f.fingerprint for f in sample.findings if f.id == "CUDNN-MIX")
    report = thousand()  # ids and subjects that repeat
    first = [e["fingerprint"] for e in entries(report, folder)]
    changed = replace(report, findings=tuple(replace(f, title="of another version") for f in report.findings))
    assert [e["fingerprint"] for e in entries(changed, folder)] == first


def test_findings_stand_at_the_policy_and_at_the_requirements(folder):
    (folder / "requirements.txt").write_text("numpy\nonnxruntime-gpu==1.30.0\n")
    (folder / "infra-doctor.toml").write_text("")
    at = {
        e["check_name"]: (e["location"]["path"], e["location"]["lines"]["begin"])
        for e in entries(every_status(), folder)
    }
    assert at["CUDNN-MISSING"] == ("requirements.txt", 2)
    assert at["NVCC-MISMATCH"] == ("infra-doctor.toml", 1)
    report = replace(sample_report(), findings=(finding("OVER", Status.WARN, "t", evidence=(
        evidence(EvidenceKind.POLICY, "infra-doctor.toml:12", "severity high"),)),))  # fmt: skip
    assert entries(report, folder)[0]["location"] == {"path": "infra-doctor.toml", "lines": {"begin": 12}}


@pytest.mark.parametrize("text", INJECTIONS, ids=range(len(INJECTIONS)))
def test_text_of_a_machine_stays_text(text, folder):
    report = poisoned(text)
    raw = render(report, {"anchor": str(folder)})
    found = entries(report, folder)
    assert len(found) == 6  # fail, warn, error, unknown, the requirement, the one of another id
    shown = printable(text)
    assert {e["check_name"] for e in found} == {shown, "ID", "REQUIREMENT"}
    assert all(e["description"].isprintable() and e["location"]["path"].isprintable() for e in found)
    assert all(shown[:200] in e["description"] for e in found)
    assert not re.search(r"##\w*\[|^\s*::", raw, re.M)


def test_gitlab_alone_gets_it():
    assert automatic({"GITLAB_CI": "true"}) == FILE_NAME == "gl-code-quality-report.json"
    assert automatic({}) == automatic({"GITHUB_ACTIONS": "true", "JENKINS_URL": "x", "GITLAB_CI": ""}) == ""


def test_the_command_in_a_gitlab_job(folder):
    snapshot = os.path.abspath("tests/machines/h200-ort-gpu-cudnn-hidden/snapshot.json.gz")
    (folder / "requirements.txt").write_text("# the model server\nonnxruntime-gpu\n")
    argv = [sys.executable, "-m", "infra_doctor", "check", "--replay", snapshot, "--no-policy", "--format", "auto"]
    environment = {k: v for k, v in os.environ.items() if k not in {"GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"}}
    done = subprocess.run(argv, capture_output=True, text=True, cwd=folder, env=environment | {"GITLAB_CI": "true"})
    assert done.returncode == 1 and "Traceback" not in done.stderr
    found = json.loads((folder / FILE_NAME).read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    assert ("requirements.txt", 2) in {(e["location"]["path"], e["location"]["lines"]["begin"]) for e in found}
    assert (folder / "TEST-infra-doctor.xml").exists()
    assert "CUDNN-MISSING" in done.stdout or "ORT-FALLBACK" in done.stdout  # the log has the text
