"""Plug-ins of third parties: found by their entry point, loaded like ours, never able to end a run."""

import sys
from pathlib import Path

import pytest

from infra_doctor.cli.main import build_parser
from infra_doctor.model.finding import Status
from infra_doctor.runner import registry
from infra_doctor.runner.run import Run, RunOptions
from tests.support.recipe import recipe_machine

CHECK = """
from infra_doctor.plugin import Check, Component, Probe, ReportFormat, Status

def look(ctx):
    text = ctx.machine.read_text("/opt/frob/version")
    if text is not None:
        yield Component(key="frob:/opt/frob", kind="frob", name="frobnicator", version=text.strip())

PROBES = (Probe(id="frob", version=1, title="the frobnicator", run=look),)
CHECK = Check(
    id="FROB-OLD", title="old", explanation="e", remediation="r", sources=("https://example.org",),
    run=lambda ctx: [CHECK.finding(Status.WARN, c.version, subject=[c.key]) for c in ctx.by_kind("frob")]
    or [CHECK.skip("no frobnicator")],
)
CHECKS = (CHECK,)
FORMATS = (ReportFormat(name="frob-lines", help="lines", render=lambda report, options: str(len(report.findings))),)
"""


def install(site: Path, name: str, modules: dict[str, str], init: str = "") -> None:
    """A distribution with one package that offers every kind of plug-in."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    groups = "".join(f"[infra_doctor.{g}]\nx = {name}\n" for g in ("probes", "checks", "reports"))
    (info / "entry_points.txt").write_text(f"[console_scripts]\ny = z:a\n{groups}")
    package = site / name
    package.mkdir()
    (package / "__init__.py").write_text(init)
    for module, text in modules.items():
        (package / f"{module}.py").write_text(text)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    return tmp_path


def test_a_third_partys_probe_check_and_format_work_like_ours(site: Path) -> None:
    install(site, "frob_good", {"frob": CHECK})
    found = registry.load()
    assert found.third_party == ["frob_good-1.0.dist-info: frob_good"] * 3
    assert not found.failures
    report = Run(
        RunOptions(), registry=found, machine=recipe_machine({"files": {"/opt/frob/version": "1.2\n"}})
    ).execute()
    assert [(f.title, f.subject) for f in report.findings if f.id == "FROB-OLD"] == [("1.2", ("frob:/opt/frob",))]
    args = build_parser("check").parse_args(["check", "--frob-lines"])
    assert args.frob_lines is True


def test_no_plugins_leaves_third_parties_out_and_keeps_ours(site: Path) -> None:
    install(site, "frob_left", {"frob": CHECK})
    found = registry.load(third_party=False)
    assert found.third_party == []
    assert "FROB-OLD" not in {c.id for c in found.checks} and "DRV-OLD" in {c.id for c in found.checks}


@pytest.mark.parametrize(
    ("name", "modules", "init", "said"),
    [
        ("frob_raises", {"frob": "raise RuntimeError('broken')"}, "", "RuntimeError: broken"),
        ("frob_newer", {"frob": CHECK}, "REQUIRES_API = 999", "needs plug-in API 999"),
        ("frob_wrong", {"frob": "CHECKS = (1,)"}, "", "CHECKS holds int, not Check"),
        ("frob_syntax", {"frob": "def ("}, "", "SyntaxError"),
        ("frob_twice", {"frob": CHECK.replace("FROB-OLD", "DRV-OLD")}, "", "DRV-OLD is already there"),
    ],
)
def test_a_failing_plug_in_is_a_finding_and_the_others_go_on(
    site: Path, name: str, modules: dict[str, str], init: str, said: str
) -> None:
    install(site, name, modules, init)
    found = registry.load()
    assert any(said in f.detail for f in found.failures), [f.detail for f in found.failures]
    assert {(f.id, f.status) for f in found.failures} == {("PLUGIN-FAILED", Status.ERROR)}
    assert "DRV-OLD" in {c.id for c in found.checks}


def test_damaged_entry_points_are_passed_over(site: Path) -> None:
    for number, text in enumerate((b"\xff\xfe", b"[infra_doctor.checks]\nno value", b"[infra_doctor.", b"")):
        (site / f"odd{number}-1.dist-info").mkdir()
        (site / f"odd{number}-1.dist-info" / "entry_points.txt").write_bytes(text)
    assert [e for e in registry.entry_points([str(site), "/no/such/folder"]) if e[1]] == []
