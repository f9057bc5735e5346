"""Sessions of pytest within a test, on machines that are made up, recorded or described."""

import re
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import pytest

from infra_doctor.codec import encode
from infra_doctor.model.finding import Finding, Status
from infra_doctor.model.report import MachineInfo, Report, Tool
from infra_doctor.pytest_plugin import asking
from infra_doctor.pytest_plugin.asking import Answer
from infra_doctor.runner import registry
from infra_doctor.runner.run import Run, RunOptions
from infra_doctor.runner.snapshot import make_snapshot
from tests.support.recipe import read_recipe, recipe_machine

MACHINES = Path(__file__).parents[1] / "machines"
# Whether this environment's pytest finds the plug-in by itself.
FOUND = bool(entry_points(group="pytest11", name="infra_doctor"))
PLUGIN = () if FOUND else ("-p", "infra_doctor.pytest_plugin")
# pytest-asyncio, of our own tests, warns where this is not said, and warnings are errors here.
ASYNCIO = ("-o", "asyncio_default_fixture_loop_scope=function") if find_spec("pytest_asyncio") else ()
ALONE = (*ASYNCIO, "-p", "no:cacheprovider")  # a session of pytest that finds what it finds
WITH = (*PLUGIN, *ALONE)
NAME = "infra_doctor" if FOUND else "infra_doctor.pytest_plugin"

# Loaded here, so that it is not loaded anew in each session: pytester takes back what those import.
registry.load(("checks", "requirements", "presets"))

Asked = list[tuple[str, ...]]


def requirement(key: str, status: Status, title: str = "") -> Finding:
    """The finding of one `--require`."""
    return Finding(
        id="REQUIREMENT", subject=(f"policy:{key}",), status=status, fingerprint=key,
        title=title or f"{key} is required; this machine says {status}",
    )  # fmt: skip


def answer(*findings: Finding, code: int = 0) -> Answer:
    """What a check with these findings answers."""
    report = Report(
        tool=Tool(version="1"), created="2026-01-01T00:00:00Z", machine=MachineInfo(name="m", form="live"),
        findings=findings,
    )  # fmt: skip
    return Answer(code=code, text=encode(report), report=report)


@pytest.fixture
def machine_says(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Asked]:
    """Sets what checks answer, without looking: the status of each requirement (by its text or its key; `pass` where not
    said), and further findings. Gives the list of what they are asked for, which grows."""

    def says(statuses: Mapping[str, Status] | None = None, *findings: Finding) -> Asked:
        asked: Asked = []

        def ask(arguments: Sequence[str], timeout_s: float) -> Answer:
            asked.append(tuple(arguments))
            found = list(findings)
            for argument in arguments:
                if argument.startswith("--require="):
                    text = argument.removeprefix("--require=")
                    key = re.split("[=<>!~]", text)[0]
                    status = (statuses or {}).get(text, (statuses or {}).get(key, Status.PASS))
                    found.append(requirement(key, status))
            return answer(*found)

        monkeypatch.setattr(asking, "ask", ask)
        return asked

    return says


@pytest.fixture
def session(pytester: pytest.Pytester) -> Callable[..., pytest.RunResult]:
    """Runs pytest in this process over a test file with this text."""

    def run(text: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(test_it=f"import pytest\n{text}")
        return pytester.runpytest_inprocess(*WITH, *arguments)

    return run


def recorded(name: str) -> str:
    """The path of a recorded machine's snapshot."""
    return str(MACHINES / name / "snapshot.json.gz")


def described(name: str, folder: Path) -> str:
    """The path of a snapshot of a described machine, made here."""
    plugins = registry.load(third_party=False)
    names = tuple(sorted({n for p in plugins.probes for n in p.environment}))
    recipe = read_recipe(MACHINES / name / "machine.toml")
    run = Run(RunOptions(python=recipe.get("python")), registry=plugins, machine=recipe_machine(recipe, names))
    path = folder / f"{name}.json"
    path.write_text(encode(make_snapshot(run, run.execute())), encoding="utf-8")
    return str(path)


@pytest.fixture
def on_machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets the checks of sessions in this process look at a snapshot."""

    def use(snapshot: str) -> None:
        monkeypatch.setattr(asking, "machine", lambda: ("--replay", snapshot))

    return use


# The same for sessions in processes of their own: the text of a conftest.py.
CONFTEST = """
from infra_doctor.pytest_plugin import asking
asking.machine = lambda: ("--replay", {snapshot!r})
"""
