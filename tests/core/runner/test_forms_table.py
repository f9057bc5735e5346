"""The table probe by form: as the docs print it, as the code declares it, as runs show it."""

import sys
from pathlib import Path

import pytest

from infra_doctor.machine.forms import rooted_machine
from infra_doctor.model.finding import Status
from infra_doctor.runner import registry
from infra_doctor.runner.run import Run, RunOptions, form_capabilities

sys.path.insert(0, str(Path(__file__).parents[3] / "tools"))
import machine_forms

PLUGINS = registry.load(third_party=False)


def test_the_page_is_up_to_date() -> None:
    assert machine_forms.PAGE.read_text(encoding="utf-8") == machine_forms.page(), "run tools/machine_forms.py"


@pytest.mark.parametrize("mounted", [False, True])
def test_an_unpacked_root_shows_what_the_table_says(tmp_path: Path, mounted: bool) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('ID=debian\nPRETTY_NAME="Debian 12"\n')
    if mounted:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/version").write_text("Linux version 6.1.0\n")
        (tmp_path / "sys/bus/pci/devices").mkdir(parents=True)
    form = "rooted with /proc and /sys" if mounted else "rooted"
    can = {str(c) for c in form_capabilities()[form]}
    report = Run(RunOptions(), registry=PLUGINS, machine=rooted_machine(str(tmp_path))).execute()
    for outcome in report.probes:
        probe = next(p for p in PLUGINS.probes if p.id == outcome.id)
        if set(probe.needs) <= can:
            assert outcome.status in {Status.PASS, Status.SKIP}, (outcome.id, outcome.reason)
        else:
            assert outcome.status is Status.SKIP and outcome.reason.startswith("not visible: "), outcome
    assert any(c.key == "os:debian" for c in report.components)
    assert not [f for f in report.findings if f.status in {Status.FAIL, Status.WARN, Status.ERROR}]


def test_a_root_shows_nothing_of_this_machine(tmp_path: Path) -> None:
    report = Run(RunOptions(), registry=PLUGINS, machine=rooted_machine(str(tmp_path))).execute()
    assert report.targets == ()
    assert [c.key for c in report.components if c.kind in {"gpu", "npu", "driver", "wheel", "kernel"}] == []
