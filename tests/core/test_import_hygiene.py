"""The headless path loads nothing heavy, nothing of the dashboard, and nothing of a target."""

import functools
import json
import subprocess
import sys

import pytest

from infra_doctor import plugin

BANNED = ("textual", "rich", "pandas", "numpy", "plotly", "jinja2", "torch", "onnxruntime")
RUNS = {
    "version": ("--version",),
    "help": ("--help",),
    "check": ("check",),
    "check as JSON": ("check", "--json"),
    "triage": ("triage", "--log-only", "some text"),
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


# What only other verbs need: the words and the makers of plans, differences and triages, and JSON where none is asked for.
OF_OTHER_VERBS = (
    "infra_doctor.model.difference", "infra_doctor.model.planning", "infra_doctor.model.triage", "infra_doctor.triage",
    "infra_doctor.runner.differences", "infra_doctor.runner.planning", "infra_doctor.compat.planner",
    "infra_doctor_probes.planning", "infra_doctor_reports.text_documents.plan", "infra_doctor.codec", "msgspec",
    "resolvelib", "packaging", "importlib.metadata", "email", "urllib.request",
)  # fmt: skip


@pytest.mark.parametrize("module", OF_OTHER_VERBS)
def test_check_does_not_load(module: str) -> None:
    assert not [m for m in loaded("check")[0] if m == module or m.startswith(f"{module}.")]


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("module", BANNED)
def test_the_headless_path_does_not_load(module: str, name: str) -> None:
    assert module not in loaded(*RUNS[name])[0]


def test_the_runs_were_real() -> None:
    assert {"infra_doctor.cli.check", "infra_doctor.runner.run"} <= loaded(*RUNS["check as JSON"])[0]
    assert json.loads(loaded(*RUNS["check as JSON"])[1])["kind"] == "report"
    assert "infra_doctor.runner.run" not in loaded(*RUNS["version"])[0]
    assert loaded(*RUNS["version"])[1].startswith("infra-doctor ")


def test_plug_ins_get_the_words_of_other_verbs_when_they_ask() -> None:
    script = (
        "import sys, infra_doctor.plugin as p; before = 'infra_doctor.model.planning' in sys.modules; "
        "p.Choice; sys.exit(before or 'infra_doctor.model.planning' not in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'Unheard'"):
        plugin.Unheard  # noqa: B018
    assert {plugin.Turn.__module__, plugin.Choice.__module__, plugin.Triage.__module__} == {
        "infra_doctor.model.difference", "infra_doctor.model.planning", "infra_doctor.model.triage",
    }  # fmt: skip


def test_the_dashboard_would_be_noticed() -> None:
    script = "import infra_doctor.tui.app, sys; sys.exit('textual' not in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == 0
