"""Snapshots: a replay gives the same report, twice taken they are the same bytes, and JSON holds whatever is found."""

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infra_doctor.codec import encode, load_report, read_document
from infra_doctor.machine.forms import replayed_machine
from infra_doctor.machine.machine import Machine
from infra_doctor.model.component import Component
from infra_doctor.model.report import Report
from infra_doctor.runner.run import Run, RunOptions
from infra_doctor.runner.snapshot import make_snapshot
from tests.machines.test_machines import FOLDERS, NAMES, PLUGINS
from tests.support import rooted_tree
from tests.support.recipe import MissingSample, read_recipe, recipe_machine


@pytest.fixture(autouse=True)
def moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


def machine_of(folder: Path) -> tuple[RunOptions, Machine, dict[str, Any] | None]:
    recorded = next(iter(folder.glob("snapshot.json*")), None)
    if recorded is not None:
        document = read_document(str(recorded), ("snapshot",))
        return RunOptions(), replayed_machine(document, where="x", environment_names=NAMES), document
    try:
        recipe = read_recipe(folder / "machine.toml")
        return RunOptions(python=recipe.get("python")), recipe_machine(recipe, NAMES), None
    except MissingSample as missing:
        pytest.skip(f"public capture not here: {missing}")


def looked_at(folder: Path) -> tuple[Report, str]:
    """The report, and the text of the snapshot."""
    options, machine, document = machine_of(folder)
    run = Run(options, registry=PLUGINS, machine=machine, replayed_from=document)
    report = run.execute()
    return report, encode(make_snapshot(run, report))


def replayed(document: dict[str, Any]) -> Report:
    machine = replayed_machine(document, where="x", environment_names=NAMES)
    return Run(RunOptions(), registry=PLUGINS, machine=machine, replayed_from=document).execute()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)
def test_a_replay_gives_the_same_report_and_the_same_snapshot(folder: Path, tmp_path: Path) -> None:
    report, text = looked_at(folder)
    assert looked_at(folder)[1] == text
    document = msgspec.json.decode(text)
    again = replayed(document)
    live, second = (msgspec.to_builtins(r) for r in (report, again))
    for part in live:
        if part not in {"machine", "created", "run"}:
            assert second[part] == live[part], part
    (tmp_path / "report.json").write_text(encode(report), encoding="utf-8")
    assert encode(load_report(str(tmp_path / "report.json"))) == encode(report)


def test_a_root_replays_alike(tmp_path: Path) -> None:
    root = rooted_tree.build(tmp_path)
    texts = []
    for _ in range(2):
        run = Run(RunOptions(root=str(root)), registry=PLUGINS)
        report = run.execute()
        texts.append(encode(make_snapshot(run, report)))
    assert texts[0] == texts[1]
    again = replayed(msgspec.json.decode(texts[0]))
    assert encode(again.findings) == encode(report.findings)
    assert encode(again.components) == encode(report.components)


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, 10**30, -(10**30), "half \udce9 character", "\ud800", "nul \0 \x1b[31m </script>"]
)
def test_any_value_makes_a_document_that_can_be_read_again(value: Any, tmp_path: Path) -> None:
    report, _ = looked_at(FOLDERS[0])
    strange = Component(key=f"gpu:{value}", kind="gpu", name=str(value), attributes={"strange": value})
    document = encode({**msgspec.to_builtins(report), "components": [strange]})
    (tmp_path / "report.json").write_text(document, encoding="utf-8")
    again = load_report(str(tmp_path / "report.json"))
    assert [c.kind for c in again.components] == ["gpu"]
    assert encode(again) == encode(load_report(str(tmp_path / "report.json")))
