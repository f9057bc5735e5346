"""Described machines as the snapshots that `check --replay` takes."""

import gzip
from pathlib import Path
from typing import Any

from infra_doctor.codec import encode
from infra_doctor.runner import registry
from infra_doctor.runner.run import Run, RunOptions
from infra_doctor.runner.snapshot import make_snapshot
from tests.support.recipe import read_recipe, recipe_machine

MACHINES = Path(__file__).parents[1] / "machines"


def snapshot_of(machine: str | dict[str, Any], folder: Path, name: str = "") -> str:
    """The path of a snapshot of a machine: a folder of tests/machines, recorded or described, or a description."""
    if isinstance(machine, str):
        recorded = next(iter((MACHINES / machine).glob("snapshot.json*")), None)
        if recorded is not None:
            return str(recorded)
        name, machine = machine, read_recipe(MACHINES / machine / "machine.toml")
    plugins = registry.load(third_party=False)
    names = tuple(sorted({n for p in plugins.probes for n in p.environment}))
    options = RunOptions(python=machine.get("python"), third_party=False)
    run = Run(options, registry=plugins, machine=recipe_machine(machine, names))
    report = run.execute()
    path = folder / f"{name}.json.gz"
    path.write_bytes(gzip.compress(encode(make_snapshot(run, report), indent=0).encode(), mtime=0))
    return str(path)
