"""Markdown: what it holds and in which order, what is left out where there is no room, and that text from a machine forms no
markup, mention or link."""

import argparse
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from infra_doctor.model.finding import Remediation, Status
from infra_doctor_reports.markdown import ISSUE_CAP, SUMMARY_CAP, add_arguments, automatic, render
from infra_doctor_reports.markdown_text import code, link, prose
from tests.reports.cases import REPORTS, every_status, with_findings
from tests.support.sample_report import HOSTILE, empty_report, evidence, finding, library, sample_report

MACHINE = Path("tests/machines/h200-ort-gpu-cudnn-hidden/snapshot.json.gz").resolve()
STEP_LIMIT = 1 << 20  # bytes of a step's summary
ISSUE_LIMIT = 65_536  # characters of an issue


def outside_of_code(text: str) -> str:
    """The page without its fenced blocks and code spans, as a renderer would find them."""
    text = re.sub(r"^(`{3,})sh\n.*?^\1$", "", text, flags=re.M | re.S)
    return re.sub(r"(?<!`)(?<!\\)(`+)(?!`)(.+?)(?<!`)\1(?!`)", "", text)


def test_it_has_the_verdict_the_findings_and_the_tables():
    text = render(sample_report(), {})
    assert text.startswith("## ✖ FAIL: The stack does not fit together: 2 faults from 1 cause")
    for part in ("### ✖ FAIL CUDNN-MISSING:", "#### ✖ FAIL ORT-FALLBACK:", "Follows from **CUDNN-MISSING**.",
                 "<details><summary>Evidence</summary>", "| ✖ incompatible | libcudnn 9.14.0 | libcudnn 9.19.0 |",
                 "```sh\n/opt/venv/bin/python -m pip install 'onnxruntime-gpu[cuda,cudnn]==1.30.0'\n```"):  # fmt: skip
        assert part in text
    assert text.count("<details>") == text.count("</details>")


def test_measurements_stand_beside_what_is_expected():
    text = render(every_status(), {})
    assert "<details><summary>Measured</summary>" in text
    assert (
        "| gemm bf16 8192x8192x8192 | NVIDIA H200 gpu:0000:00:06.0 | 760 TFLOP/s | 77% of 989 TFLOP/s **wrong result** |"
        in text
    )
    assert "| launch empty kernel | host | 2.40 µs | **wrong result** |" in text
    assert "Measured" not in render(sample_report(), {})


def test_every_table_row_has_as_many_cells_as_its_head():
    for block in re.findall(r"(?:^\|.*\|\n)+", render(sample_report(hostile=True), {}), flags=re.M):
        rows = block.splitlines()
        cells = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
        assert len(cells) == 1, rows


@pytest.mark.parametrize("hostile", HOSTILE)
def test_prose_forms_nothing(hostile):
    text = prose(hostile)
    assert not re.search(r"<(?!br>)|(?<!\\)[`*_\[\]|~$]", text)
    assert not re.search(r"@\w|(?<!&)#\d", text)


def test_the_hostile_page_has_no_markup_but_ours():
    text = outside_of_code(render(sample_report(hostile=True), {}))
    tags = set(re.findall(r"</?([a-z]+)(?![a-z:])", text))
    assert tags == {"details", "summary", "br", "sub"}
    assert not re.search(r"(?<!\\)\]\(|(?<!\\)!\[", text)
    assert not re.search(r"@\w|(?<![#\n&])#\d", text)
    assert not re.search(r"^# ", text, flags=re.M)
    assert set(re.findall(r"<(\w+):", text)) <= {"https", "http"}


def test_code_spans_hold_any_text():
    assert code("a`b``c") == "```a`b``c```"
    assert code("`x") == "`` `x ``"
    assert code("a|b") == "`a|b`"
    assert code("a|b", in_table=True) == "`a\\|b`"
    assert code("a\nb") == "`a\\nb`"


def test_a_fence_is_longer_than_what_it_holds():
    assert "````sh\nls '| pipe ` tick ``` @someone" in render(sample_report(hostile=True), {})


def test_an_empty_report_is_a_page():
    assert render(empty_report(), {}).startswith("## – SKIP: Nothing was judged: no check ran.\n")


# -- text -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["- a", "+ a", "1. a", "12) a", "---", "===", "::error::x", "    code", "> q", "# h", "* a", "```", "~~~", "| a |", "[x]: y", "<b>",
     "&lt;", "-", "1.", "\t- a", "- [ ] x", "$x$", "\\", "a\n\n- b", "a\n===", "a  \nb", "![a](b)", "www.x.org a@b.org", "&#64;x"],
)  # fmt: skip
def test_prose_is_a_paragraph_that_says_the_text(text):
    tokens = MarkdownIt("gfm-like", {"html": True, "linkify": False}).parse(prose(text))
    assert [t.type for t in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    said = "".join("\n" if c.content == "<br>" else c.content for c in tokens[1].children)
    assert {c.type for c in tokens[1].children} <= {"text", "text_special", "html_inline"}
    assert said.replace("\u200b", "") == text.strip().replace("\t", " ")


def test_references_and_addresses():
    assert prose("@org/team #1 GH-12 gh-3") == "@&#8203;org/team #&#8203;1 GH&#8203;-12 gh&#8203;-3"
    assert prose("see https://github.com/a/b/issues/1 now") == "see `https://github.com/a/b/issues/1` now"
    assert prose("see https://docs.nvidia.com/x_y") == r"see https://docs.nvidia.com/x\_y"
    assert prose("8.2.RC1") == "8.2.RC1" and prose("-1") == "-1" and prose("2026-11-21") == "2026-11-21"


def test_links():
    assert link("https://x.org/a") == "<https://x.org/a>"
    assert link("https://github.com/a/b/issues/1") == "<https://github.com/a/b/issues/1>"
    assert link("https://github.com/a/b/issues/1", backlinks=False) == "`https://github.com/a/b/issues/1`"
    assert link("javascript:alert(1)") == "`javascript:alert(1)`"


# -- room -----------------------------------------------------------------------------------------------------------


def blocks(text: str) -> list[str]:
    """The page's own structure: it has to be whole wherever it was cut."""
    tokens = MarkdownIt("gfm-like", {"html": True, "linkify": False}).parse(text)
    html = [t.content.strip() for t in tokens if t.type == "html_block"]
    opened = sum(h.count("<details>") for h in html)
    assert opened == sum(h.count("</details>") for h in html) == text.count("<details>")
    return [t.type for t in tokens]


def large() -> "Report":  # noqa: F821
    """Fifty problems with evidence, and a thousand components."""
    found = tuple(
        finding(f"F-{n}", Status.FAIL if n < 20 else Status.WARN, f"title {n} @x #1", str(n), detail="why | so " * 40,
                evidence=(evidence("file", f"/opt/{n}", "seen `it` " * 30),) * 20, remediation=Remediation(text="do `it`" * 20))
        for n in range(50)
    )  # fmt: skip
    components = tuple(
        library("cudnn", f"/opt/{n}/" + "x" * 200 + f"/libcudnn.so.{n}", "9", "system") for n in range(1000)
    )
    sample = sample_report()
    return replace(with_findings(sample, (*sample.findings, *found)), components=(*sample.components, *components))


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_has_room(name):
    report = REPORTS[name]()
    issue, summary = render(report, {"for_issue": True}), render(report, {})
    assert len(issue) < ISSUE_LIMIT and len(summary.encode()) < STEP_LIMIT
    for text in (issue, summary):
        assert blocks(text)
        assert text.startswith("## ")


def test_an_issue_has_the_findings_first_and_says_what_is_left_out():
    text = render(large(), {"for_issue": True})
    assert ISSUE_CAP - 4000 < len(text.encode()) <= ISSUE_CAP < ISSUE_LIMIT
    blocks(text)
    for n in range(50):
        assert re.search(rf"^### (✖ FAIL|! WARN) F-{n}: title {n} @&#8203;x", text, flags=re.M), "each problem is there"
        assert text.count("**Fix**") >= 50
    said = re.search(
        r"^\*\*Left out, as there is no room for it here: (.*)\.\*\* The whole: `infra-doctor check --html report.html`",
        text,
        flags=re.M,
    )
    left_out = dict(part.split(" × ")[::-1] for part in said[1].split(", "))
    assert set(left_out) >= {"pieces of evidence", "rows of Components"}
    assert "| Stack | |" in text and "| GPU | 2 × NVIDIA H200, 140.4 GiB |" in text
    # What is said to be left out is what is not there.
    assert text.count("- `/opt/") + int(left_out["pieces of evidence"]) >= 50 * 20
    assert render(large(), {"for_issue": True}) == text


def test_problems_above_all_room_are_named_or_counted():
    many = tuple(finding(f"F-{n}", Status.FAIL, "t" * 100, str(n), detail="d" * 3000) for n in range(1500))
    text = render(with_findings(empty_report(), many), {"for_issue": True})
    assert len(text) <= ISSUE_CAP
    full = text.count("d" * 3000)
    named = len(re.findall(r"^### ✖ FAIL F-\d+:", text, flags=re.M))
    assert 0 < full < named < 1500
    assert f"{1500 - full} × findings in full" in text


def test_what_the_steps_file_has_already_takes_room():
    report = large()
    whole = render(report, {})
    assert "Left out" not in whole
    for present in (SUMMARY_CAP - 100_000, SUMMARY_CAP - 10_000, SUMMARY_CAP - 3_000, SUMMARY_CAP - 1_050):
        text = render(report, {"present_bytes": present})
        assert present + len(text.encode()) < STEP_LIMIT
        assert text.startswith("## ✖ FAIL: ") and "Left out" in text
        blocks(text)
    for present in (SUMMARY_CAP - 500, SUMMARY_CAP, STEP_LIMIT, 10 * STEP_LIMIT):
        assert render(report, {"present_bytes": present}) == "", (
            "nothing, rather than a summary that GitHub drops as a whole"
        )


def test_one_finding_of_any_size_leaves_room_for_others():
    huge = "y" * 2_000_000
    one = finding(
        "HUGE",
        Status.FAIL,
        huge,
        "1",
        detail=huge,
        evidence=(evidence("file", huge, huge),) * 3,
        remediation=Remediation(text=huge),
    )
    text = render(
        with_findings(sample_report(), (one, finding("OTHER", Status.WARN, "small", "2"))), {"for_issue": True}
    )
    assert len(text) <= ISSUE_CAP and "### ! WARN OTHER: small" in text and "### ✖ FAIL HUGE: yyy" in text


def test_an_issue_leaves_no_note_in_others_issues():
    report = every_status()
    docs = ("https://github.com/pytorch/pytorch/issues/1", "https://onnxruntime.ai/docs/")
    noted = with_findings(
        report,
        (finding("X", Status.FAIL, "t", remediation=Remediation(text="see https://github.com/a/b/pull/2", docs=docs)),),
    )
    issue, summary = render(noted, {"for_issue": True}), render(noted, {})
    assert "<https://github.com/pytorch/pytorch/issues/1>" in summary
    assert not re.search(r"(?<!`)https://github\.com", issue)
    assert "<https://onnxruntime.ai/docs/>" in issue


# -- asking for it --------------------------------------------------------------------------------------------------


def parsed(*argv):
    parser = argparse.ArgumentParser()
    parser.add_argument("--format", action="append", default=[])
    parser.add_argument("--markdown", action="store_true")
    add_arguments(parser.add_argument_group("output"))
    return parser.parse_args(argv)


def test_for_issue_says_markdown():
    assert (parsed("--for-issue").for_issue, parsed("--for-issue").markdown) == (True, True)
    assert (parsed().for_issue, parsed().markdown) == (False, False)
    to_a_file = parsed("--format", "markdown=x.md", "--for-issue")
    assert (to_a_file.for_issue, to_a_file.markdown) == (True, False)


def test_automatic_is_the_steps_summary():
    assert automatic({"GITHUB_STEP_SUMMARY": "/x/summary"}) == ">>/x/summary"
    assert automatic({}) == automatic({"GITHUB_STEP_SUMMARY": ""}) == ""


def run(*argv, cwd, **environment):
    command = [
        sys.executable,
        "-m",
        "infra_doctor",
        "check",
        "--replay",
        os.fspath(MACHINE),
        "--no-plugins",
        "--no-policy",
        *argv,
    ]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **environment}, timeout=120, check=False
    )


def test_the_command(tmp_path):
    done = run("--for-issue", cwd=tmp_path)
    assert done.returncode == 1 and done.stdout.startswith("## ✖ FAIL: ") and len(done.stdout) < ISSUE_LIMIT
    assert not re.search(r"<https://github\.com", done.stdout)
    done = run("--format", "markdown=issue.md", "--for-issue", cwd=tmp_path)
    assert done.stdout.startswith("✖ FAIL  ") and (tmp_path / "issue.md").read_text().startswith("## ✖ FAIL: ")


def test_a_full_summary_is_left_as_it_is(tmp_path):
    summary = tmp_path / "summary.md"
    before = "x" * (STEP_LIMIT - 1500)
    summary.write_text(before)
    done = run("--format", "auto", cwd=tmp_path, GITHUB_STEP_SUMMARY=os.fspath(summary))
    assert done.returncode == 1, done.stderr
    assert summary.read_text() == before
    summary.write_text(before[:-20_000])
    run("--format", "auto", cwd=tmp_path, GITHUB_STEP_SUMMARY=os.fspath(summary))
    written = summary.read_text().removeprefix(before[:-20_000])
    assert written.startswith("## ✖ FAIL: ") and len(before) - 20_000 + len(written.encode()) < STEP_LIMIT
