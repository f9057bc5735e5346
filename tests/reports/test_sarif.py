"""SARIF: valid by the specification and by GitHub's own rules, on every report; what becomes a result, where it stands, its name."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from infra_doctor.model.evidence import Evidence, EvidenceKind
from infra_doctor.model.finding import Confidence, Severity, Status
from infra_doctor.model.plugins import Check
from infra_doctor.runner import registry
from infra_doctor.runner.core_ids import CORE_IDS
from infra_doctor_reports.anchors import Anchor
from infra_doctor_reports.sarif import RESULTS_CAP, _location, render
from tests.reports.cases import INJECTIONS, REPORTS, every_status, poisoned, requirement, thousand, with_findings
from tests.support import sarif_rules
from tests.support.sample_report import empty_report, finding, sample_report

MACHINE = Path("tests/machines/h200-ort-gpu-cudnn-hidden/snapshot.json.gz").resolve()
CHECKS = {c.id: c for c in registry.load(("checks",), third_party=False).checks}
EXPLAINED = {"checks": CHECKS, "core_ids": CORE_IDS}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / ".git").mkdir()
    return tmp_path


def document(report, folder, **options):
    return json.loads(render(report, {"anchor": str(folder), **EXPLAINED, **options}))


def run_of(report, folder, **options):
    return document(report, folder, **options)["runs"][0]


def notes_of(run):
    return run["invocations"][0].get("toolExecutionNotifications", [])


# -- valid ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("explained", [EXPLAINED, {"checks": {}, "core_ids": {}}], ids=["explained", "bare"])
@pytest.mark.parametrize("name", REPORTS)
def test_every_report_is_valid(name, explained, folder):
    assert sarif_rules.breaches(document(REPORTS[name](), folder, **explained)) == []


@pytest.mark.parametrize("text", INJECTIONS, ids=range(len(INJECTIONS)))
def test_whatever_the_machine_says_it_is_valid(text, folder):
    assert sarif_rules.breaches(document(poisoned(text), folder)) == []


def test_what_is_not_valid_would_be_noticed(folder):
    good = document(every_status(), folder)

    def spoilt(change):
        bad = json.loads(json.dumps(good))
        change(bad["runs"][0])
        return sarif_rules.breaches(bad)

    assert spoilt(lambda r: r["results"][0].pop("locations")) == ["$.runs[0].results[0].locations is missing"]
    assert spoilt(lambda r: r["results"][0]["locations"].clear()) == ["results[0]: 0 places"]
    assert spoilt(lambda r: r["results"][0].update(kind="pass"))
    assert spoilt(lambda r: r["results"][1].pop("suppressions"))
    assert spoilt(
        lambda r: r["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"].update(uri="/etc/x")
    )
    assert spoilt(lambda r: r["results"][0]["locations"][0]["physicalLocation"]["region"].update(startLine=0))
    assert spoilt(lambda r: r["results"].append(r["results"][0]))
    assert spoilt(lambda r: r["tool"]["driver"]["rules"][0]["shortDescription"].update(text="x" * 1025))
    assert spoilt(lambda r: r["tool"]["driver"]["rules"][0]["help"].update(text=""))
    assert spoilt(lambda r: r["tool"].pop("driver"))


@pytest.mark.skipif(sarif_rules.package() is None, reason=f"npm's {sarif_rules.PACKAGE} is not installed")
@pytest.mark.parametrize("name", [*REPORTS, "poisoned"])
def test_the_official_schema_and_githubs_ingestion_rules(name, folder):
    schema = sarif_rules.official_schema()
    report = REPORTS[name]() if name in REPORTS else poisoned(INJECTIONS[0])
    found = document(report, folder)
    jsonschema.validators.validator_for(schema)(schema, format_checker=jsonschema.FormatChecker()).validate(found)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**found, "version": "2.0.0"}, schema)
    if (program := sarif_rules.validator()) is None:
        return
    (folder / "x.sarif").write_text(json.dumps(found))
    argv = [program, "validate", "x.sarif", "--rule-kind", "Sarif;Gh;Ghas", "--level", "Error", "-o", "out.sarif"]
    environment = {**os.environ, "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"}
    subprocess.run(argv, cwd=folder, env=environment, capture_output=True, timeout=120, check=False)
    told = json.loads((folder / "out.sarif").read_text(encoding="utf-8-sig"))["runs"][0]
    assert told["invocations"][0]["executionSuccessful"]
    assert [(r["ruleId"], r["message"]) for r in told.get("results", [])] == []


def test_an_empty_report(folder):
    run = run_of(empty_report(), folder)
    assert (run["results"], run["tool"]["driver"]["rules"]) == ([], [])
    assert run["invocations"][0]["executionSuccessful"] is True


# -- what becomes what ----------------------------------------------------------------------------------------------


def test_problems_are_results_and_what_is_not_known_is_a_notification(folder):
    report = every_status()
    run = run_of(report, folder)
    by_status = {s: [f.id for f in report.findings if f.status is s] for s in Status}
    assert [r["ruleId"] for r in run["results"]] == by_status[Status.FAIL] + by_status[Status.WARN]
    assert [n["associatedRule"]["id"] for n in notes_of(run)] == by_status[Status.ERROR] + by_status[Status.UNKNOWN]
    assert [n["descriptor"]["id"] for n in notes_of(run)] == ["could-not-be-looked-at"] * len(
        by_status[Status.ERROR]
    ) + ["could-not-be-judged"] * len(by_status[Status.UNKNOWN])
    said = json.dumps([run["results"], notes_of(run)])
    assert not any(
        f'"{name}"' in said
        for name in set(by_status[Status.PASS] + by_status[Status.SKIP]) - {"REQUIREMENT", "THRESHOLD"}
    )
    assert [r["id"] for r in run["tool"]["driver"]["rules"]] == sorted({f.id for f in report.findings}), (
        "what ran is a rule"
    )


@pytest.mark.parametrize(
    ("status", "severity", "level"),
    [
        (Status.FAIL, Severity.CRITICAL, "error"), (Status.FAIL, Severity.HIGH, "error"), (Status.FAIL, Severity.LOW, "error"),
        (Status.WARN, Severity.CRITICAL, "warning"), (Status.WARN, Severity.MEDIUM, "warning"), (Status.WARN, Severity.LOW, "note"),
    ],
)  # fmt: skip
def test_levels(status, severity, level, folder):
    report = with_findings(empty_report(), (finding("X", status, "t", severity=severity),))
    assert run_of(report, folder)["results"][0]["level"] == level


def test_levels_of_what_could_not_be_looked_at(folder):
    report = with_findings(empty_report(), (
        finding("A", Status.ERROR, "a device", "gpu:0"), requirement("ort.cuda", Status.ERROR), finding("C", Status.ERROR, "a file", "file:/x"),
        finding("D", Status.UNKNOWN, "not judged"),
    ))  # fmt: skip
    run = run_of(report, folder)
    assert {n["associatedRule"]["id"]: n["level"] for n in notes_of(run)} == {
        "A": "error", "REQUIREMENT": "error", "C": "warning", "D": "note",
    }  # fmt: skip
    assert run["results"] == []


def test_what_is_waived_is_suppressed(folder):
    run = run_of(every_status(), folder)
    waived = {r["ruleId"]: r for r in run["results"] if r["suppressions"]}
    assert set(waived) == {"PYNVML", "REQUIREMENT", "WAIVED-FAIL", "WAIVED-WARN", "LATER"}
    assert waived["PYNVML"]["suppressions"] == [
        {"kind": "external", "status": "accepted", "justification": "removed with the next image (until 2027-01-31)"}
    ]
    assert {r["level"] for r in waived.values()} == {"note"}
    note = next(n for n in notes_of(run) if n["associatedRule"]["id"] == "WAIVED-ERROR")
    assert note["level"] == "note" and note["message"]["text"].endswith("Waived: known since the last image")
    plain = run_of(with_findings(empty_report(), (finding("X", Status.FAIL, "t"),)), folder)
    assert "suppressions" not in plain["results"][0]


@pytest.mark.parametrize(("code", "successful"), [(0, True), (1, True), (3, False)])
def test_the_exit_code(code, successful, folder):
    invocation = run_of(sample_report(), folder, exit_code=code)["invocations"][0]
    assert (invocation["exitCode"], invocation["executionSuccessful"]) == (code, successful)
    assert invocation["exitCodeDescription"]


def test_without_an_exit_code_success_is_that_all_was_looked_at(folder):
    blind = run_of(sample_report(), folder)["invocations"][0]
    assert blind["executionSuccessful"] is False and "exitCode" not in blind
    seen = with_findings(
        empty_report(), (finding("C", Status.ERROR, "a file", "file:/x"), finding("X", Status.FAIL, "t"))
    )
    assert run_of(seen, folder)["invocations"][0]["executionSuccessful"] is True


# -- places, names, words -------------------------------------------------------------------------------------------


def test_places(folder):
    (folder / "infra-doctor.toml").write_text("[require]\n" * 20)
    (folder / "requirements.txt").write_text("numpy\ntorch==2.11\n")
    found = (
        requirement("driver", Status.FAIL, "infra-doctor.toml:9"),
        finding("X", Status.FAIL, "t", "wheel:torch@/opt/venv"),
        finding("Y", Status.WARN, "t", "gpu:0"),
        requirement("ort.cuda", Status.ERROR, "infra-doctor.toml:11"),
    )
    run = run_of(with_findings(sample_report(), found), folder, policy="infra-doctor.toml")

    def place(item):
        physical = item["locations"][0]["physicalLocation"]
        return physical["artifactLocation"]["uri"], physical["region"]["startLine"]

    assert {r["ruleId"]: place(r) for r in run["results"]} == {
        "REQUIREMENT": ("infra-doctor.toml", 9), "X": ("requirements.txt", 2), "Y": ("infra-doctor.toml", 1),
    }  # fmt: skip
    assert place(notes_of(run)[0]) == ("infra-doctor.toml", 11)


def test_a_path_becomes_an_uri():
    uri = _location(Anchor(path="a b/ü#%41.toml", line=3))["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "a%20b/%C3%BC%23%2541.toml"
    assert sarif_rules.URI.fullmatch(uri)


def test_fingerprints_stay_when_versions_places_and_neighbours_change(folder):
    def prints(*findings):
        return {
            r["message"]["text"].split(".")[0]: r["partialFingerprints"]
            for r in run_of(with_findings(empty_report(), findings), folder)["results"]
        }

    one = finding("X", Status.FAIL, "one", "wheel:torch@/opt/venv")
    other = replace(
        one, title="one", detail="now 2.12", evidence=(Evidence(kind=EvidenceKind.FILE, source="/y", text="z"),)
    )
    before, after = (
        prints(one),
        prints(finding("A", Status.FAIL, "new", "gpu:0"), replace(other, severity=Severity.CRITICAL)),
    )
    assert before["one"] == after["one"]
    assert before["one"] == {
        "primaryLocationLineHash": f"{one.fingerprint}:1",
        "infraDoctorFinding/v1": one.fingerprint,
    }
    twice = run_of(with_findings(empty_report(), (one, replace(one, title="two"))), folder)["results"]
    assert [r["partialFingerprints"]["primaryLocationLineHash"][-2:] for r in twice] == [":1", ":2"]


def test_the_message_begins_with_the_title_and_says_what_to_do(folder):
    result = next(r for r in run_of(sample_report(), folder)["results"] if r["ruleId"] == "CUDNN-MISSING")
    lines = result["message"]["text"].split("\n")
    assert lines[0] == "libcublasLt.so.13 and libcufft.so.12 are not where ONNX Runtime looks."
    assert any(line.startswith("Fix: Call onnxruntime.preload_dlls()") for line in lines)
    assert any(line.startswith("$ /opt/venv/bin/python -m pip install") for line in lines)
    assert result["properties"]["subject"] and len(result["properties"]["evidence"]) == 4
    followed = next(r for r in run_of(sample_report(), folder)["results"] if r["ruleId"] == "ORT-FALLBACK")
    assert "It follows from CUDNN-MISSING: libcublasLt.so.13" in followed["message"]["text"]


def test_no_link_and_no_placeholder_of_the_machines(folder):
    one = finding("X", Status.FAIL, "a [b](javascript:alert(1)) {0} {12} {x}", detail="[c](1)")
    text = run_of(with_findings(empty_report(), (one,)), folder)["results"][0]["message"]["text"]
    assert text == "a [b] (javascript:alert(1)) { 0} { 12} {x}.\n[c] (1)"


def test_rules_say_what_their_check_says(folder):
    rules = {r["id"]: r for r in run_of(sample_report(), folder)["tool"]["driver"]["rules"]}
    rule, check = rules["CUDNN-MISSING"], CHECKS["CUDNN-MISSING"]
    assert rule["shortDescription"]["text"] == check.title
    assert rule["fullDescription"]["text"].startswith("cuDNN usually lies in the wheel")
    assert check.remediation.strip() in rule["help"]["markdown"] and check.sources[0] in rule["help"]["markdown"]
    assert rule["helpUri"] == check.sources[0]
    assert rules["PROBE-FAILED"]["shortDescription"]["text"] == CORE_IDS["PROBE-FAILED"][0]
    bare = {r["id"]: r for r in run_of(sample_report(), folder, checks={}, core_ids={})["tool"]["driver"]["rules"]}
    assert "`infra-doctor explain CUDNN-MISSING`" in bare["CUDNN-MISSING"]["help"]["text"]


def test_tags_and_precision(folder):
    check = Check(
        id="X", title="a title", explanation="why", remediation="", sources=("javascript:x",), run=lambda c: (), tags=tuple("abcdefghijkl"),
    )  # fmt: skip
    found = (finding("X", Status.FAIL, "t", "1"), finding("X", Status.FAIL, "t", "2", confidence=Confidence.HEURISTIC))
    (rule,) = run_of(with_findings(empty_report(), found), folder, checks={"X": check})["tool"]["driver"]["rules"]
    assert rule["properties"] == {"precision": "medium", "problem.severity": "warning", "tags": list("abcdefghij")}
    assert rule["name"] == "ATitle" and "helpUri" not in rule


def test_more_results_than_github_shows(folder):
    many = tuple(finding("X", Status.FAIL if n % 2 else Status.WARN, "t", str(n)) for n in range(RESULTS_CAP + 1000))
    found = document(with_findings(empty_report(), many), folder)
    run = found["runs"][0]
    assert sarif_rules.breaches(found) == []
    levels = [r["level"] for r in run["results"]]
    assert len(levels) == RESULTS_CAP and levels.count("error") == 3000, "the worst are kept"
    assert notes_of(run)[-1]["message"]["text"] == "1000 of 6000 results are left out, the least severe ones."


def test_a_thousand_findings_stay_small(folder):
    assert len(render(thousand(), {"anchor": str(folder)})) < 2_000_000


def test_the_version_is_semantic_where_it_is(folder):
    for version, semantic in (("1.2.3", True), ("1.2.3-rc.1", True), ("1.2.3.dev4", False), ("1.2.3rc1", False)):
        driver = run_of(replace(sample_report(), tool=replace(sample_report().tool, version=version)), folder)["tool"][
            "driver"
        ]
        assert (driver["version"], "semanticVersion" in driver) == (version, semantic)


def test_the_command_writes_a_valid_file_and_the_same_bytes_again(folder):
    (folder / "infra-doctor.toml").write_text('[require]\ndriver = ">=999"\n\ngpu.count = 1\n')
    argv = [
        sys.executable,
        "-m",
        "infra_doctor",
        "check",
        "--replay",
        os.fspath(MACHINE),
        "--no-plugins",
        "--sarif",
        "x.sarif",
    ]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    texts = []
    for _ in range(2):
        done = subprocess.run(
            argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 1, done.stderr
        texts.append((folder / "x.sarif").read_text())
    assert texts[0] == texts[1]
    found = json.loads(texts[0])
    assert sarif_rules.breaches(found) == []
    run = found["runs"][0]
    assert run["invocations"][0]["exitCode"] == 1
    required = next(r for r in run["results"] if r["ruleId"] == "REQUIREMENT")
    physical = required["locations"][0]["physicalLocation"]
    assert (physical["artifactLocation"]["uri"], physical["region"]["startLine"]) == ("infra-doctor.toml", 2)
    assert len(run["tool"]["driver"]["rules"]) > 50
