"""A child that hangs, crashes, prints garbage or floods its pipes is a value, never a fault of ours."""

import sys
from pathlib import Path

import pytest

from infra_doctor.machine.child import call_child

HEAD = "import os, signal, sys, json, time\n"


@pytest.mark.parametrize(
    ("body", "timeout_s", "wanted"),
    [
        ("print(json.dumps({'a': 1}))", 20, {"data": {"a": 1}}),
        ("print('no json')", 20, {"error": "the child process gave no JSON document"}),
        ("print('[1]')", 20, {"error": "the child process gave a JSON document of the wrong form"}),
        ("print('[' * 100000)", 20, {"error": "the child process gave no JSON document"}),
        ("os.kill(os.getpid(), signal.SIGSEGV)", 20, {"error": "the child process ended by SIGSEGV"}),
        ("sys.exit('driver lost')", 20, {"error": "the child process ended with code 1: driver lost"}),
        (
            "signal.pause()",
            0.3,
            {"error": "no answer within 0.3 s; the child process was ended", "timed_out": True},
        ),
        (
            "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.fork(); signal.pause()",
            0.3,
            {"error": "no answer within 0.3 s; the child process was ended", "timed_out": True},
        ),
    ],
    ids=["answer", "text", "list", "deep", "crash", "exit", "hang", "hang with a child"],
)
def test_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, timeout_s: float, wanted: dict[str, object]
) -> None:
    (tmp_path / "a_child.py").write_text(f"{HEAD}def main():\n    {body}\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert call_child("a_child", timeout_s) == wanted


def test_a_child_that_writes_much_to_both_pipes_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "sys.stderr.write('x' * 3_000_000); print(json.dumps({'a': 'y' * 1_000_000}))"
    (tmp_path / "loud_child.py").write_text(f"{HEAD}def main():\n    {body}\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert call_child("loud_child", 20)["data"] == {"a": "y" * 1_000_000}


def test_a_module_that_is_not_there_says_so() -> None:
    assert "No module named 'no_such_child'" in call_child("no_such_child", 20)["error"]
