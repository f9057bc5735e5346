"""Every machine folder gives the findings that it must, and none that it must not."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from infra_doctor.cli.check import exit_code
from infra_doctor.codec import read_document
from infra_doctor.machine.forms import replayed_machine
from infra_doctor.model.finding import Status
from infra_doctor.model.report import Report
from infra_doctor.runner import registry
from infra_doctor.runner.run import Run, RunOptions
from tests.support.recipe import MissingSample, read_recipe, recipe_machine

FOLDERS = sorted(p.parent for p in Path(__file__).parent.glob("*/expect.toml"))
PLUGINS = registry.load(third_party=False)
NAMES = tuple(sorted({n for p in PLUGINS.probes for n in p.environment}))


def report_of(folder: Path) -> Report:
    """The report that `check` gives on a recorded or described machine."""
    recorded = next(iter(folder.glob("snapshot.json*")), None)
    if recorded is not None:
        document = read_document(str(recorded), ("snapshot",))
        machine = replayed_machine(document, where=str(recorded), environment_names=NAMES)
        return Run(RunOptions(), registry=PLUGINS, machine=machine, replayed_from=document).execute()
    recipe = read_recipe(folder / "machine.toml")
    options = RunOptions(python=recipe.get("python"))
    return Run(options, registry=PLUGINS, machine=recipe_machine(recipe, NAMES)).execute()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)
def test_machine(folder: Path) -> None:
    expect: dict[str, Any] = tomllib.loads((folder / "expect.toml").read_text(encoding="utf-8"))
    assert expect["about"]
    try:
        report = report_of(folder)
    except MissingSample as missing:
        pytest.skip(f"public capture not here: {missing}")
    bad = {(f.id, str(f.status)) for f in report.findings if f.status in {Status.FAIL, Status.WARN, Status.ERROR}}
    shown = [(f.id, str(f.status), f.title, f.detail) for f in report.findings if (f.id, str(f.status)) in bad]
    ids = {i for i, _ in bad}
    for wanted in expect.get("must", []):
        found_id, _, status = wanted.partition(" ")
        assert found_id in ids, (wanted, shown)
        assert not status or (found_id, status) in bad, (wanted, shown)
    allowed = {w.partition(" ")[0] for w in expect.get("must", [])}
    for unwanted in expect.get("must_not", []):
        wrong = ids - allowed if unwanted == "*" else ids & {unwanted}
        assert not wrong, (wrong, shown)
    if "exit_code" in expect:
        assert exit_code(report) == expect["exit_code"], shown
    versions = {c.key: c.version for c in report.components}
    for key, version in expect.get("components", {}).items():
        assert versions.get(key) == version, (key, sorted(versions))
    by_print = {f.fingerprint: f.id for f in report.findings}
    told = {by_print[d.root]: {by_print[p] for p in d.follows} for d in report.diagnoses}
    for root, follows in expect.get("diagnosis", {}).items():
        assert set(follows) <= told.get(root, set()), told
    verdicts = {f"{c.rule} {c.verdict}" for c in report.compatibility}
    assert set(expect.get("pairs", [])) <= verdicts, sorted(verdicts)
