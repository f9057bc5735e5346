"""What changed between two reports, which change explains a new finding, and what counts as worse."""

from dataclasses import replace
from typing import Any

import pytest

from infra_doctor.model.component import Component, LoadedBy, Target
from infra_doctor.model.difference import Turn
from infra_doctor.model.evidence import Evidence, EvidenceKind
from infra_doctor.model.finding import Diagnosis, Finding, Severity, Status, Waiver, fingerprint
from infra_doctor.model.report import MachineInfo, Measurement, Report, Tool
from infra_doctor.runner.differences import difference


def report(*, prefix: str = "/opt/venv", machine: str = "node-1", **fields: Any) -> Report:
    target = Target(key=f"target:{prefix}", prefix=prefix, executable=f"{prefix}/bin/python", kind="venv")
    return Report(
        tool=Tool(version="1"), created="2026-11-21T00:00:00Z", machine=MachineInfo(name=machine, form="live"),
        targets=(target,), **fields,
    )  # fmt: skip


def component(kind: str, name: str, version: str | None, **fields: Any) -> Component:
    return Component(**{"key": f"{kind}:{name}", "kind": kind, "name": name, "version": version, **fields})


def finding(finding_id: str, status: Status, *subject: str, **fields: Any) -> Finding:
    return Finding(
        id=finding_id, subject=subject, status=status, severity=Severity.HIGH, title=f"{finding_id} {status}",
        fingerprint=fingerprint(finding_id, subject), **fields,
    )  # fmt: skip


def measurement(value: float, unit: str = "B/s", **fields: Any) -> Measurement:
    return Measurement(benchmark="copy", name="h2d", value=value, unit=unit, **fields)


SOURCES = ("a.json", "b.json")


def test_the_same_report_does_not_differ() -> None:
    one = report(
        components=(component("driver", "nvidia", "580"),), findings=(finding("X", Status.FAIL, "driver:nvidia"),)
    )
    found = difference(one, one, sources=SOURCES)
    assert (found.worse, found.findings, found.components) == (False, (), ())


def test_a_changed_driver_explains_the_new_finding() -> None:
    before = report(
        components=(component("driver", "nvidia", "580.95"),), findings=(finding("DRV", Status.PASS, "driver:nvidia"),)
    )
    after = report(
        components=(component("driver", "nvidia", "550.54"),), findings=(finding("DRV", Status.FAIL, "driver:nvidia"),)
    )
    found = difference(before, after, sources=SOURCES)
    assert found.worse
    assert found.findings[0].because == ("driver nvidia 580.95 → 550.54",)
    back = difference(after, before, sources=SOURCES)
    assert not back.worse
    assert back.findings[0].turn is Turn.BETTER


def test_a_library_is_matched_over_its_versions() -> None:
    def copy(version: str) -> Component:
        path = f"/usr/lib/libcuda.so.{version}"
        return component("libcuda", "libcuda", version, key=f"libcuda:{path}", location=path)

    found = difference(report(components=(copy("580.1"),)), report(components=(copy("590.2"),)), sources=SOURCES)
    assert [(c.before, c.after) for c in found.components] == [("580.1", "590.2")]


def test_two_environments_of_two_machines_are_one_and_the_same() -> None:
    def wheels(prefix: str) -> tuple[Component, ...]:
        return (component("wheel", "torch", "2.9.0", key=f"wheel:torch@{prefix}", target=f"target:{prefix}"),)

    subject = "wheel:torch@{}"
    one = report(components=wheels("/a"), prefix="/a", findings=(finding("F", Status.WARN, subject.format("/a")),))
    other = report(
        components=wheels("/b"),
        prefix="/b",
        machine="node-2",
        findings=(finding("F", Status.WARN, subject.format("/b")),),
    )
    found = difference(one, other, sources=SOURCES)
    assert (found.findings, found.components) == ((), ())
    assert found.notes == ("two machines: node-1 and node-2",)


def test_another_copy_is_loaded() -> None:
    def copies(used: str) -> tuple[Component, ...]:
        use = (LoadedBy(consumer="wheel:torch@/opt/venv", via="RUNPATH", order="torch"),)
        return tuple(
            component(
                "cudnn",
                "libcudnn",
                v,
                key=f"cudnn:/{v}/libcudnn.so",
                location=f"/{v}/libcudnn.so",
                loaded_by=use if v == used else (),
            )
            for v in ("9.1", "9.9")
        )

    bad = finding("SHADOW", Status.WARN, "wheel:torch@/opt/venv")
    found = difference(
        report(components=copies("9.9")), report(components=copies("9.1"), findings=(bad,)), sources=SOURCES
    )
    assert len(found.components) == 2
    assert "loaded_by none → wheel:torch@<environment>" in found.findings[0].because[0]


def test_the_cause_of_a_consequence_is_the_explanation() -> None:
    root = finding("ROOT", Status.WARN, "wheel:a@/opt/venv")
    after = finding("AFTER", Status.FAIL, "wheel:b@/opt/venv")
    changed = report(
        components=(component("wheel", "a", "2", key="wheel:a@/opt/venv"),), findings=(after, root),
        diagnoses=(Diagnosis(root=root.fingerprint, follows=(after.fingerprint,), text=""),),
    )  # fmt: skip
    found = difference(
        report(components=(component("wheel", "a", "1", key="wheel:a@/opt/venv"),)), changed, sources=SOURCES
    )
    assert {c.id: c.because for c in found.findings} == {"ROOT": ("wheel a 1 → 2",), "AFTER": ("wheel a 1 → 2",)}


def test_a_variable_in_the_evidence_is_an_explanation() -> None:
    seen = (Evidence(kind=EvidenceKind.ENVIRONMENT, source="LD_LIBRARY_PATH", text="/x"),)
    found = difference(report(), report(findings=(finding("F", Status.FAIL, evidence=seen),)), sources=SOURCES)
    assert found.findings[0].because == ("environment: LD_LIBRARY_PATH",)


def test_a_waived_finding_makes_nothing_worse() -> None:
    waived = replace(finding("F", Status.FAIL), waived=Waiver(reason="known"))
    assert not difference(report(), report(findings=(waived,)), sources=SOURCES).worse


def test_unknown_and_skip_are_no_change() -> None:
    found = difference(
        report(findings=(finding("F", Status.SKIP),)), report(findings=(finding("F", Status.UNKNOWN),)), sources=SOURCES
    )
    assert found.findings == ()


@pytest.mark.parametrize(
    ("before", "after", "unit", "turn"),
    [
        (100, 80, "B/s", Turn.WORSE),
        (100, 120, "B/s", Turn.BETTER),
        (100, 97, "B/s", Turn.SAME),
        (1.0, 1.3, "s", Turn.WORSE),
        (1.0, 0.7, "s", Turn.BETTER),
    ],
)
def test_measurements(before: float, after: float, unit: str, turn: Turn) -> None:
    found = difference(
        report(measurements=(measurement(before, unit),)),
        report(measurements=(measurement(after, unit),)),
        sources=SOURCES,
    )
    assert [m.turn for m in found.measurements] == [turn]
    assert found.worse is (turn is Turn.WORSE)


def test_a_noisy_measurement_is_the_same() -> None:
    found = difference(
        report(measurements=(measurement(100, spread=0.2),)), report(measurements=(measurement(75),)), sources=SOURCES
    )
    assert found.measurements[0].turn is Turn.SAME


@pytest.mark.parametrize(
    ("before", "after", "turn"),
    [
        (Status.FAIL, Status.ERROR, Turn.SAME),
        (Status.WARN, Status.UNKNOWN, Turn.SAME),
        (Status.FAIL, Status.SKIP, Turn.BETTER),
        (Status.ERROR, Status.PASS, Turn.BETTER),
        (Status.ERROR, Status.UNKNOWN, Turn.BETTER),
        (Status.PASS, Status.ERROR, Turn.WORSE),
    ],
)
def test_what_cannot_be_seen_any_more_is_not_mended(before: Status, after: Status, turn: Turn) -> None:
    one, other = (report(findings=(finding("F", s, "driver:nvidia"),)) for s in (before, after))
    found = difference(one, other, sources=SOURCES)
    assert [f.turn for f in found.findings] == [turn]
    assert found.worse is (turn is Turn.WORSE)


def test_the_failure_of_one_package_is_not_that_of_another() -> None:
    a, b = "wheel:a@/opt/venv", "wheel:b@/opt/venv"
    found = difference(
        report(findings=(finding("F", Status.FAIL, a),)),
        report(findings=(finding("F", Status.FAIL, b),)),
        sources=SOURCES,
    )
    assert found.worse
    assert [(f.turn, f.subject) for f in found.findings] == [(Turn.WORSE, (b,)), (Turn.BETTER, (a,))]


def test_a_check_that_passed_for_all_and_fails_for_one_reads_so() -> None:
    a, b = "wheel:a@/opt/venv", "wheel:b@/opt/venv"
    one, other = report(findings=(finding("F", Status.PASS, a, b),)), report(findings=(finding("F", Status.FAIL, b),))
    assert [(f.before, f.after) for f in difference(one, other, sources=SOURCES).findings] == [
        (Status.PASS, Status.FAIL)
    ]
    assert [(f.before, f.after) for f in difference(other, one, sources=SOURCES).findings] == [
        (Status.FAIL, Status.PASS)
    ]
