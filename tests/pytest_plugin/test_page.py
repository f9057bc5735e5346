"""docs/ci/pytest.md: its files are collected and run, its commands end well, and what it shows is what pytest prints."""

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra_doctor import pytest_plugin
from infra_doctor.pytest_plugin.marks import Names, read_need
from tests.pytest_plugin.conftest import CONFTEST, WITH, recorded

pytest_plugins = ("pytester",)

PAGE = Path(__file__).parents[2] / "docs" / "ci" / "pytest.md"
TEXT = PAGE.read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN_ON, BOTH = "h200-ort-gpu-cudnn-hidden", "h200x2-torch211"


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """(the file that its first line names, the text) of each block in this language."""
    for found, text in FENCE.findall(TEXT):
        if found == language:
            first = text.partition("\n")[0]
            yield first.removeprefix("# ") if first.startswith("# ") else "", text


FILES = {name: text for language in ("python", "toml") for name, text in blocks(language)}


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """The files of the page in one folder."""
    for name, text in FILES.items():
        (pytester.path / name).write_text(text, encoding="utf-8")
    return pytester


def run(project: pytest.Pytester, machine: str, *arguments: str) -> pytest.RunResult:
    (project.path / "conftest.py").write_text(CONFTEST.format(snapshot=recorded(machine)), encoding="utf-8")
    return project.runpytest_subprocess(*WITH, "-W", "error", *arguments)


def test_all_blocks_are_held_to_something() -> None:
    assert sorted(FILES) == ["pyproject.toml", "test_inference.py", "test_training.py"]
    assert sorted(language for language, _ in FENCE.findall(TEXT)) == ["python", "python", "sh", "text", "toml"]


def test_what_it_shows_is_what_is_printed(project: pytest.Pytester) -> None:
    ((_, shown),) = blocks("text")
    done = run(project, SHOWN_ON, "-q", "-rN", "-c", os.devnull, "--rootdir=.", "test_inference.py")
    printed = iter(done.stdout.lines)
    for line in shown.splitlines():
        wanted = ".*".join(map(re.escape, line.split("…")))
        assert any(re.fullmatch(wanted, one) for one in printed), (line, done.stdout.str())


def test_its_files_run_where_all_is_there_but_onnxruntime_and_fail_where_it_says_so(project: pytest.Pytester) -> None:
    done = run(project, BOTH, "-rA", "--strict-markers")
    done.assert_outcomes(passed=8, errors=1)
    done.stdout.fnmatch_lines(["ERROR test_inference.py::test_session_on_the_gpu*"])


@pytest.mark.parametrize("command", [c for _, text in blocks("sh") for c in text.splitlines()])
def test_its_commands_end_well(project: pytest.Pytester, command: str) -> None:
    program, *arguments = shlex.split(command)
    assert program == "pytest"
    if "-n" in arguments:
        pytest.importorskip("xdist")
    done = run(project, BOTH, *arguments)
    outcomes = done.parseoutcomes()
    # On one of its nine tests the page's pyproject.toml and the command's own option decide.
    assert outcomes["passed"] == 8 and outcomes.get("skipped", 0) + outcomes.get("errors", 0) == 1
    assert ("skipped" in outcomes) is ("--infra-doctor=skip" in arguments)
    assert (project.path / "infra-doctor.json").exists() is any("report" in a for a in arguments)


def test_each_need_that_its_table_names_can_be_read() -> None:
    rows = [row for row in TEXT.splitlines() if row.startswith('| `"')]
    written = [need for row in rows for need in re.findall(r'`"([^`]+)"`', row.split("|")[1])]
    names = Names()
    assert len(written) >= 9
    for text in [*written, "ort.cuda", "ort-cuda", "ORT_CUDA"]:
        assert read_need(text, names).requirement or text == "CUDNN-MISSING"
    assert {read_need(n, names).key for n in ("ort.cuda", "ort-cuda", "ORT_CUDA")} == {"ort.cuda"}


def test_every_option_and_setting_is_in_the_page() -> None:
    source = Path(str(pytest_plugin.__file__)).read_text(encoding="utf-8")
    told = re.findall(r'"(--infra-doctor[\w-]*)"', source) + re.findall(r'addini\(\s*"(\w+)"', source)
    assert len(told) == 4
    for name in told:
        assert name in TEXT, name
    assert len(TEXT.splitlines()) <= 140
