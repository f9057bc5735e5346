"""Every case of a plan gives the changes that it must, and no others."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from infra_doctor.cli.plan import read_wish
from infra_doctor.codec import encode, read_document
from infra_doctor.machine.forms import replayed_machine
from infra_doctor.model.planning import Plan
from infra_doctor.runner import registry
from infra_doctor.runner.planning import make_plan
from infra_doctor.runner.run import Run, RunOptions
from infra_doctor_reports.text_documents import plan as plan_text
from tests.machines.test_machines import NAMES, PLUGINS
from tests.support.recipe import read_recipe, recipe_machine

FOLDERS = sorted(p.parent for p in Path(__file__).parent.glob("*/plan.toml"))
MACHINES = Path(__file__).parents[1] / "machines"
CHOICES = registry.load(("planning",), third_party=False)


def plan_of(name: str, wishes: list[str], *, repair: bool = False) -> Plan:
    """The plan for a machine of tests/machines."""
    folder = MACHINES / name
    recorded = next(iter(folder.glob("snapshot.json*")), None)
    if recorded is not None:
        document = read_document(str(recorded), ("snapshot",))
        machine = replayed_machine(document, where=str(recorded), environment_names=NAMES)
        run = Run(RunOptions(), registry=PLUGINS, machine=machine, replayed_from=document)
    else:
        recipe = read_recipe(folder / "machine.toml")
        run = Run(RunOptions(python=recipe.get("python")), registry=PLUGINS, machine=recipe_machine(recipe, NAMES))
    report = run.execute()
    assert run.context is not None
    target = next(iter(run.context.targets), None)
    return make_plan(
        report,
        run.context,
        PLUGINS.checks,
        CHOICES.planning,
        [read_wish(w) for w in wishes],
        target=target,
        repair=repair,
    )


def test_the_choices_load() -> None:
    assert not CHOICES.failures
    assert {"torch", "onnxruntime-gpu", "nvidia-driver", "installed"} <= {c.id for c in CHOICES.planning}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)
def test_plan(folder: Path) -> None:
    expect: dict[str, Any] = tomllib.loads((folder / "plan.toml").read_text(encoding="utf-8"))
    plan = plan_of(expect["machine"], expect.get("wishes", []), repair=expect.get("repair", False))
    shown = encode(plan)
    assert expect["about"]
    assert plan.fits is expect["fits"], shown
    changes = [(c.part, c.after) for s in plan.steps for c in s.changes]
    assert changes == list(expect.get("changes", {}).items()), shown
    assert all(s.text and (s.reasons or not s.changes) for s in plan.steps), shown
    assert set(expect.get("instead", [])) <= set(plan.instead), shown
    assert any(expect.get("obstacle", "") in o for o in plan.obstacles or ("",)), shown
    assert any(expect.get("assumes", "") in a for a in plan.assumes or ("",)), shown
    words = [w for s in plan.steps for c in s.commands for w in c.argv]
    assert "command" not in expect or expect["command"] in words, shown
    assert {s.finding for s in plan.steps if s.finding} == set(expect.get("repairs", [])), shown
    text = plan_text.render(plan, {"width": 80})
    assert all(len(line) <= 80 for line in text.splitlines() if not line.startswith("      ")), text
    assert all(c.after in text.replace("\n    ", " ") for s in plan.steps for c in s.changes), text
