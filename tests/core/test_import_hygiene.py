"""The headless path loads nothing heavy, nothing of the dashboard, and nothing of a target."""

import functools
import json
import subprocess
import sys

import pytest

BANNED = ("textual", "rich", "pandas", "numpy", "plotly", "jinja2", "torch", "onnxruntime")
RUNS = {
    "version": ("--version",),
    "help": ("--help",),
    "check": ("check",),
    "check as JSON": ("check", "--json"),
}
# Every way out of the process ends in `os._exit` or `sys.exit`: both tell what was loaded.
SCRIPT = """
import atexit, json, os, sys
leave = os._exit

def tell():
    print(json.dumps(sorted(sys.modules)), file=sys.stderr, flush=True)

def told(code):
    tell()
    leave(code)

os._exit = told
atexit.register(tell)
sys.argv[1:] = json.loads(sys.argv[1])
from infra_doctor.__main__ import main
main()
"""


@functools.cache
def loaded(*argv: str) -> tuple[frozenset[str], str]:
    """The modules that this command line has loaded when it leaves, and its standard output."""
    command = [sys.executable, "-c", SCRIPT, json.dumps(argv)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return frozenset(json.loads(done.stderr.splitlines()[-1])), done.stdout


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("module", BANNED)
def test_the_headless_path_does_not_load(module: str, name: str) -> None:
    assert module not in loaded(*RUNS[name])[0]


def test_the_runs_were_real() -> None:
    assert {"infra_doctor.cli.check", "infra_doctor.runner.run"} <= loaded(*RUNS["check as JSON"])[0]
    assert json.loads(loaded(*RUNS["check as JSON"])[1])["kind"] == "report"
    assert "infra_doctor.runner.run" not in loaded(*RUNS["version"])[0]
    assert loaded(*RUNS["version"])[1].startswith("infra-doctor ")


def test_the_dashboard_would_be_noticed() -> None:
    script = "import infra_doctor.tui.app, sys; sys.exit('textual' not in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == 0
