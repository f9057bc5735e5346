"""Markdown: what it holds, and that text from a machine forms no markup, mention or link."""

import re

import pytest

from infra_doctor_reports.markdown import code, prose, render
from tests.support.sample_report import HOSTILE, empty_report, sample_report


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
