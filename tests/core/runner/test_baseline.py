"""With a baseline only what got worse counts; what that is, `diff` says alike."""

import gzip
import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from infra_doctor.codec import encode
from infra_doctor.errors import InputError
from infra_doctor.model.component import Component, Target
from infra_doctor.model.difference import Turn
from infra_doctor.model.finding import Finding, Severity, Status, Waiver, fingerprint
from infra_doctor.model.policy import Override, Place, Policy, WaiverRule
from infra_doctor.model.report import MachineInfo, Measurement, ProbeOutcome, Report, Tool
from infra_doctor.runner import registry
from infra_doctor.runner.baseline import Baseline, against_baseline, read_baseline
from infra_doctor.runner.differences import difference, measurement_changes, notes
from infra_doctor.runner.matching import devices_gone, matching
from infra_doctor.runner.run import Run, RunOptions
from tests.machines.test_machines import PLUGINS, report_of
from tests.support.snapshots import MACHINES, snapshot_of

TODAY = date(2026, 11, 21)
PLACE = Place(source="infra-doctor.toml", line=3)
GPU, OTHER = "gpu:0000:17:00.0", "gpu:0000:65:00.0"


def report(*findings: Finding, prefix: str = "/opt/venv", **fields: Any) -> Report:
    target = Target(key=f"target:{prefix}", prefix=prefix, executable=f"{prefix}/bin/python", kind="venv")
    return Report(
        **{
            "tool": Tool(version="1"), "created": "2026-11-01T00:00:00Z", "targets": (target,), "findings": findings,
            "machine": MachineInfo(name="node-1", form="live"), **fields,
        }
    )  # fmt: skip


def finding(status: Status, *subject: str, id: str = "X", title: str = "", **fields: Any) -> Finding:
    return Finding(
        id=id, subject=subject, status=status, severity=Severity.HIGH, title=title or f"{id} {status}",
        fingerprint=fingerprint(id, subject), **fields,
    )  # fmt: skip


def gpu(key: str, name: str = "NVIDIA H100") -> Component:
    return Component(key=key, kind=key.partition(":")[0], name=name)


def held(
    before: Report, now: Report, *, policy: Policy | None = None, probes: frozenset[str] = frozenset()
) -> list[Finding]:
    return against_baseline(
        now.findings, now, Baseline(source="base.json", report=before), policy=policy, today=TODAY, device_probes=probes
    )


def counting(before: Report, now: Report, **fields: Any) -> list[str]:
    """What counts now: "X fail subject …", BASELINE where it is no pass."""
    return sorted(
        " ".join((f.id, f.status, *f.subject))
        for f in held(before, now, **fields)
        if f.waived is None and f.status not in {Status.PASS, Status.SKIP}
    )


def whole(before: Report, now: Report, **fields: Any) -> Finding:
    return next(f for f in held(before, now, **fields) if f.id == "BASELINE")


# -- findings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "now", "counts"),
    [
        (Status.FAIL, Status.FAIL, False),
        (Status.WARN, Status.WARN, False),
        (Status.FAIL, Status.WARN, False),
        (Status.FAIL, Status.UNKNOWN, False),
        (Status.UNKNOWN, Status.UNKNOWN, False),
        (Status.WARN, Status.FAIL, True),
        (Status.PASS, Status.WARN, True),
        (Status.SKIP, Status.FAIL, True),
        (Status.UNKNOWN, Status.WARN, True),
        (Status.UNKNOWN, Status.FAIL, True),
        (Status.PASS, Status.UNKNOWN, True),
        (Status.ERROR, Status.FAIL, True),
        (Status.ERROR, Status.UNKNOWN, True),
        (Status.ERROR, Status.ERROR, True),
        (Status.FAIL, Status.ERROR, True),
    ],
)
def test_only_a_worse_status_counts(before: Status, now: Status, counts: bool) -> None:
    """What could not be looked at is never let pass, and lets nothing pass."""
    one, other = report(finding(before, "driver:nvidia")), report(finding(now, "driver:nvidia", title="in other words"))
    assert counting(one, other) == ([f"X {now} driver:nvidia"] if counts else [])
    if not counts:
        assert held(one, other)[0].waived == Waiver(
            reason="no worse than in the baseline base.json of 2026-11-01T00:00:00Z"
        )


def test_what_passes_is_not_waived() -> None:
    one = report(finding(Status.PASS, "driver:nvidia"))
    assert [f.waived for f in held(one, one)] == [None, None]


def test_a_new_finding_counts_and_one_that_is_gone_does_not() -> None:
    one, other = report(finding(Status.FAIL, id="OLD")), report(finding(Status.FAIL, id="NEW"))
    assert counting(one, other) == ["NEW fail"]


def test_the_failure_of_one_package_is_not_that_of_another() -> None:
    """An added package brings a failure of an id that the baseline has for another one."""
    a, b = "wheel:a@/opt/venv", "wheel:b@/opt/venv"
    assert counting(report(finding(Status.FAIL, a)), report(finding(Status.FAIL, b))) == [f"X fail {b}"]
    both = report(finding(Status.FAIL, a), finding(Status.FAIL, b))
    assert counting(report(finding(Status.FAIL, a)), both) == [f"X fail {b}"]
    assert counting(report(finding(Status.FAIL, a)), report(finding(Status.FAIL, a, b))) == [f"X fail {a} {b}"]
    assert counting(report(finding(Status.FAIL, a, b)), report(finding(Status.FAIL, b))) == []
    assert counting(report(finding(Status.WARN, a, b)), report(finding(Status.FAIL, b))) == [f"X fail {b}"]


def test_one_more_of_the_same_subject_counts_once() -> None:
    a = "wheel:a@/opt/venv"
    one = report(finding(Status.FAIL, a, title="needs numpy<2"))
    two = report(finding(Status.FAIL, a, title="needs numpy<2"), finding(Status.FAIL, a, title="needs protobuf<4"))
    assert [f.title for f in held(one, two) if f.waived is None and f.status is Status.FAIL] == ["needs protobuf<4"]
    assert counting(two, one) == []


@pytest.mark.parametrize("titles", [("a", "b"), ("b", "a")])
def test_the_worst_of_a_subject_is_compared_with_the_worst(titles: tuple[str, str]) -> None:
    one = report(
        *(finding(s, "driver:nvidia", title=t) for s, t in zip((Status.WARN, Status.FAIL), titles, strict=True))
    )
    other = report(finding(Status.FAIL, "driver:nvidia", title="c"), finding(Status.WARN, "driver:nvidia", title="d"))
    assert counting(one, other) == []


def test_another_device_that_fails_counts() -> None:
    devices = (gpu(GPU), gpu(OTHER))
    one = report(finding(Status.FAIL, GPU), components=devices)
    assert counting(one, report(finding(Status.FAIL, OTHER), components=devices)) == [f"X fail {OTHER}"]
    # also where each was the only one of its machine: its memory errors are not the other's
    one, other = (report(finding(Status.FAIL, key), components=(gpu(key),)) for key in (GPU, OTHER))
    assert counting(one, other) == [f"X fail {OTHER}"]


def test_what_does_not_fit_a_model_of_device_fits_no_other_one_of_it() -> None:
    """In a pool of machines the same GPU lies at other addresses; that torch has no kernels for it is no news."""
    wheel = Component(key="wheel:torch@/opt/venv", kind="wheel", name="torch", target="target:/opt/venv")
    one, other = (
        report(finding(Status.FAIL, wheel.key, key), components=(gpu(key), wheel)) for key in (GPU, OTHER)
    )  # fmt: skip
    assert counting(one, other) == []


@pytest.mark.parametrize(
    ("one", "other", "counts"),
    [
        ("/opt/venv", "/home/user1/.venv", []),
        ("/opt/venv", "/usr/local", []),
        ("/opt/venv", "/usr", []),
        # below /usr lies more than an environment: what is named by its path there keeps that name
        ("/usr", "/opt/venv", ["F warn file:/opt/venv/pyvenv.cfg"]),
    ],
)
def test_another_prefix_and_another_version_in_a_file_name_are_the_same_thing(
    one: str, other: str, counts: list[str]
) -> None:
    def at(prefix: str, version: str) -> Report:
        library = f"{prefix}/lib/python3.12/site-packages/nvidia/cudnn/lib/libcudnn.so.{version}"
        system = f"/usr/lib/libcuda.so.{version}"
        parts = (
            Component(key=f"wheel:torch@{prefix}", kind="wheel", name="torch", target=f"target:{prefix}"),
            Component(
                key=f"cudnn:{library}", kind="cudnn", name="libcudnn", target=f"target:{prefix}", location=library
            ),
            Component(key=f"libcuda:{system}", kind="libcuda", name="libcuda", location=system),
        )
        keys = [p.key for p in parts]
        return report(
            finding(Status.FAIL, *keys), finding(Status.WARN, f"target:{prefix}", id="T"),
            finding(Status.WARN, f"file:{prefix}/pyvenv.cfg", id="F"), finding(Status.WARN, keys[2], id="L"),
            components=parts, prefix=prefix,
        )  # fmt: skip

    assert counting(at(one, "9.1"), at(other, "9.2")) == counts


def test_two_environments_against_one() -> None:
    subject = finding(Status.FAIL, "wheel:torch@/opt/venv")
    one = report(subject)
    other = replace(one, targets=(*one.targets, replace(one.targets[0], key="target:/b", prefix="/b")))
    assert counting(one, other) == []
    assert "1 Python environment and 2 Python environments" in " ".join(notes(one, other))


# -- policy -----------------------------------------------------------------------------------------------------------


def rule(until: str, **fields: Any) -> Policy:
    return Policy(waivers=(WaiverRule(id="X", until=until, reason="known", place=PLACE, **fields),))


def test_a_finding_that_the_baseline_had_under_a_waiver() -> None:
    """It is there, so that it is no worse; once the day has passed, it counts again, here or there."""
    plain = report(finding(Status.FAIL))
    for until, counts in (("2026-11-20", True), ("2026-11-21", False), (None, False)):
        before = report(finding(Status.FAIL, waived=Waiver(reason="known", until=until)))
        assert bool(counting(before, plain)) is counts, until
    assert counting(plain, plain, policy=rule("2026-11-20")) == ["X fail"]
    assert counting(plain, plain, policy=rule("2026-11-20", subject="gpu:*")) == []
    assert counting(plain, plain, policy=rule("2026-11-21")) == []


def test_the_policys_statuses_are_laid_over_both() -> None:
    raised = Policy(statuses={"X": Override(place=PLACE, status=Status.FAIL)})
    assert counting(report(finding(Status.WARN)), report(finding(Status.FAIL)), policy=raised) == []


def judged(machine: str, *, policy: Policy | None = None, baseline: Baseline | None = None, **fields: Any) -> Report:
    path = next((MACHINES / machine).glob("snapshot.json*"))
    options = RunOptions(replay=str(path), third_party=False, policy=policy, baseline=baseline)
    return Run(options, **fields).execute()


def test_the_whole_run() -> None:
    """Waivers count by the real date, name a finding better than the baseline does, and may cover BASELINE itself."""
    failing, two = "h200-ort-gpu-cudnn-hidden", "h200x2-torch211"
    base = Baseline(source="/home/alice/base.json", report=judged(failing))
    cudnn = {"id": "CUDNN-MISSING", "reason": "known", "place": PLACE}
    policy = Policy(waivers=(WaiverRule(until="2026-11-21", **cudnn),))
    found = judged(failing, policy=policy, baseline=base, now=lambda: datetime(2026, 11, 21, 23, 59, tzinfo=UTC))
    by_id = {f.id: f for f in found.findings}
    assert by_id["CUDNN-MISSING"].waived == Waiver(reason="known", until="2026-11-21")
    assert by_id["PY-CLOBBER-NV"].waived is not None and by_id["PY-CLOBBER-NV"].waived.until is None
    assert by_id["BASELINE"].status is Status.PASS
    assert found.policy is not None and found.policy["baseline"]["source"].endswith("base.json")
    assert all(f.fingerprint == fingerprint(f.id, f.subject) for f in found.findings)
    late = judged(failing, policy=policy, baseline=base, now=lambda: datetime(2026, 11, 22, tzinfo=UTC))
    assert [f.id for f in late.findings if f.status is Status.FAIL and f.waived is None] == ["CUDNN-MISSING"]
    assert "counts again" in next(f.title for f in late.findings if f.id == "WAIVER-EXPIRED")
    gone = Policy(
        waivers=(WaiverRule(id="BASELINE", until="2999-01-01", reason="sold", subject="gpu:*", place=PLACE),),
        severities={"BASELINE": Override(place=PLACE, severity=Severity.LOW)},
    )
    found = judged("h200-torch211", policy=gone, baseline=Baseline(source="b", report=judged(two)))
    last = next(f for f in found.findings if f.id == "BASELINE")
    assert (last.status, last.severity) == (Status.FAIL, Severity.LOW)
    assert last.waived == Waiver(reason="sold", until="2999-01-01")


def test_a_home_in_the_path_of_a_baseline_does_not_leave() -> None:
    base = Baseline(source="/home/alice/base.json", report=judged("h200-torch211"))
    run = Run(RunOptions(third_party=False, baseline=base))
    assert "alice" not in encode(run.execute())
    assert not [n for n in run.notes if "alice" in n]


# -- devices ----------------------------------------------------------------------------------------------------------


def test_a_device_gone() -> None:
    one, other = report(components=(gpu(GPU), gpu(OTHER))), report(components=(gpu(GPU),))
    found = whole(one, other)
    assert (found.status, found.subject) == (Status.FAIL, ("policy:baseline", OTHER))
    assert found.title == "1 device gone since the baseline base.json"
    assert found.evidence[1].source == OTHER
    assert whole(other, one).status is Status.PASS
    change = difference(one, other, sources=("a", "b"))
    assert change.worse and change.devices_gone == 1 and f"1 device gone: NVIDIA H100 ({OTHER})" in change.notes
    assert not difference(other, one, sources=("a", "b")).worse


@pytest.mark.parametrize(
    ("now", "count"),
    [
        ((gpu(GPU), gpu("gpu:0000:99:00.0")), 0),  # another place
        ((gpu(GPU), gpu(OTHER, "NVIDIA L4")), 0),  # another model in the same place
        ((gpu(GPU), gpu("gpu:0000:99:00.0", "NVIDIA L4")), 0),  # changed
        ((gpu(GPU), gpu("accelerator:0000:65:00.0", "a GPU")), 0),  # its driver is gone: other findings say so
        ((gpu(GPU), gpu("npu:davinci0", "910B")), 1),  # something else came
        ((gpu("gpu:0000:99:00.0"),), 1),
        ((gpu(GPU, "NVIDIA L4"),), 1),
        ((), 2),
    ],
    ids=str,
)
def test_devices_that_changed_are_not_gone(now: tuple[Component, ...], count: int) -> None:
    one, other = report(components=(gpu(GPU), gpu(OTHER))), report(components=now)
    assert devices_gone(one, other).count == count
    assert (whole(one, other).status is Status.FAIL) is bool(count)
    assert difference(one, other, sources=("a", "b")).worse is bool(count)


UNSEEN = finding(Status.ERROR, OTHER, id="PROBE-FAILED", detail="NVML does not answer")


@pytest.mark.parametrize(
    ("findings", "outcome", "blind"),
    [
        ((UNSEEN,), Status.PASS, True),
        ((finding(Status.ERROR, "accelerator:any", "probe:nvidia-gpu"),), Status.PASS, True),
        ((), Status.SKIP, True),
        ((), Status.ERROR, True),
        ((), Status.PASS, False),
        ((finding(Status.ERROR, "policy:package.vllm"),), Status.PASS, False),
        ((finding(Status.ERROR, GPU),), Status.PASS, False),
    ],
    ids=str,
)
def test_devices_that_could_not_be_seen_are_not_gone(
    findings: tuple[Finding, ...], outcome: Status, blind: bool
) -> None:
    """Only what hides the device that is missed: a GPU that is there and silent hides no other one."""
    ok = ProbeOutcome(id="nvidia-gpu", version=1, title="NVIDIA GPUs", status=Status.PASS)
    one = report(components=(gpu(GPU), gpu(OTHER)), probes=(ok,))
    other = report(*findings, components=(gpu(GPU),), probes=(replace(ok, status=outcome, reason="not visible"),))
    probes = frozenset({"nvidia-gpu"})
    found = whole(one, other, probes=probes)
    assert found.status is (Status.ERROR if blind else Status.FAIL)
    assert ("could not be looked at" in found.detail) is blind
    change = difference(one, replace(other, findings=()), sources=("a", "b"), device_probes=probes)
    assert change.devices_gone == (0 if outcome is not Status.PASS else 1)


def test_devices_hidden_by_the_form_of_the_machine(tmp_path: Path) -> None:
    """A report of the machine, then a look at its files alone: its devices are not gone."""
    before = judged("h200-torch211")
    options = RunOptions(root=str(tmp_path), third_party=False, baseline=Baseline(source="b", report=before))
    found = next(f for f in Run(options).execute().findings if f.id == "BASELINE")
    assert found.status is Status.ERROR and "not visible" in found.detail


# -- measurements -----------------------------------------------------------------------------------------------------


def measured(value: float, device: str = GPU, unit: str = "FLOP/s", **fields: Any) -> Measurement:
    return Measurement(benchmark="gemm", name="bf16", value=value, unit=unit, device=device, **fields)


@pytest.mark.parametrize(
    ("before", "now", "status"),
    [
        (measured(100), measured(94), Status.FAIL),
        (measured(100), measured(96), Status.PASS),
        (measured(100), measured(120), Status.PASS),
        (measured(100, spread=0.04), measured(93), Status.PASS),
        (measured(100), measured(85, spread=0.04), Status.FAIL),
        (measured(1.0, unit="s"), measured(1.2, unit="s"), Status.FAIL),
        (measured(1.0, unit="s"), measured(0.8, unit="s"), Status.PASS),
        (measured(100), measured(50, unit="B/s"), Status.PASS),
        (measured(0), measured(50), Status.PASS),
        (measured(100), measured(0), Status.FAIL),
        (measured(100), measured(80, OTHER), Status.FAIL),
        (measured(100), measured(80, "gpu:0000:99:00.0"), Status.PASS),
    ],
    ids=str,
)  # fmt: skip
def test_measurements(before: Measurement, now: Measurement, status: Status) -> None:
    """One of another device is compared where both are of one model."""
    devices = (gpu(GPU), gpu(OTHER), gpu("gpu:0000:99:00.0", "NVIDIA L4"))
    one, other = report(measurements=(before,), components=devices), report(measurements=(now,), components=devices)
    assert whole(one, other).status is status
    assert difference(one, other, sources=("a", "b")).worse is (status is Status.FAIL)


def test_a_measurement_that_is_worse_says_how_much() -> None:
    found = whole(report(measurements=(measured(7e14),)), report(measurements=(measured(3.5e14),)))
    assert found.title == "1 measurement worse since the baseline base.json"
    assert found.evidence[1].text == "3.5e+14 FLOP/s, was 7e+14 (0.50 times)"
    assert found.subject == ("policy:baseline", GPU)


def test_each_device_is_compared_with_itself() -> None:
    one = report(measurements=(measured(100), measured(50, OTHER)), components=(gpu(GPU), gpu(OTHER)))
    other = replace(one, measurements=(measured(50, OTHER), measured(60)))
    changes = measurement_changes(one, other, matching(one, other))
    assert [(c.device, c.turn) for c in changes] == [(GPU, Turn.WORSE), (OTHER, Turn.SAME)]


# -- what limits the comparison ---------------------------------------------------------------------------------------


def test_notes() -> None:
    one = report(finding(Status.PASS, id="OLD"))
    assert list(notes(one, one)) == []
    other = report(
        finding(Status.FAIL, id="NEW"), finding(Status.PASS, id="FINE"), finding(Status.WARN, id="WAIVER-EXPIRED"),
        finding(Status.FAIL, id="REQUIREMENT"), tool=Tool(version="2"),
        machine=MachineInfo(name="node-2", form="live", identified=True),
    )  # fmt: skip
    said = list(notes(one, other))
    assert said[0] == "two machines: node-1 and node-2"
    assert said[1].startswith("judged by two versions, 1 and 2")
    assert "--identify" in said[2]
    assert said[3] == "not judged in the first of the two, so that it counts as new: NEW, REQUIREMENT"


# -- files ------------------------------------------------------------------------------------------------------------


def test_reports_and_snapshots_packed_or_not(tmp_path: Path) -> None:
    text = encode(judged("h200-torch211"))
    options = RunOptions(third_party=False)
    (tmp_path / "r.json").write_text(text, encoding="utf-8")
    (tmp_path / "r.json.gz").write_bytes(gzip.compress(text.encode()))
    snapshot = next((MACHINES / "h200-torch211").glob("snapshot.json*"))
    (tmp_path / "s.json").write_bytes(gzip.decompress(snapshot.read_bytes()))
    found = [read_baseline(str(p), options) for p in (*sorted(tmp_path.iterdir()), snapshot)]
    assert [f.source for f in found] == [*map(str, sorted(tmp_path.iterdir())), str(snapshot)]
    assert all(f.report.findings == found[0].report.findings for f in found)
    taken = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))["created"]
    assert [f.report.created for f in found[2:]] == [taken, taken]  # not when it was judged


def test_a_snapshot_is_judged_as_this_run_is() -> None:
    """A requirement that the baseline fails too is no news; a waiver lets nothing pass in the baseline."""
    from infra_doctor.policy.reading import read_requirement

    keys = registry.load(("requirements",), third_party=False).requirements
    wanted = Policy(requirements=(read_requirement("package.vllm", keys),), waivers=rule("2999-01-01").waivers)
    snapshot = str(next((MACHINES / "h200-torch211").glob("snapshot.json*")))
    base = read_baseline(snapshot, RunOptions(third_party=False, policy=wanted))
    assert [f.status for f in base.report.findings if f.id == "REQUIREMENT"] == [Status.FAIL]
    now = judged("h200-torch211", policy=wanted, baseline=base)
    assert all(f.waived for f in now.findings if f.id == "REQUIREMENT")
    only = read_baseline(snapshot, RunOptions(third_party=False, only=("DRV-OLD",)))
    assert {f.id for f in only.report.findings} == {"DRV-OLD"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": "2.0"}, "schema version '2.0'"),
        ({"kind": "plan"}, "its kind is"),
        ({"findings": 3}, "findings"),
        ({"findings": [{"id": "X", "status": "splendid", "title": ""}]}, "splendid"),
    ],
    ids=str,
)
def test_a_file_that_cannot_be_understood(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps({**json.loads(encode(report())), **change}), encoding="utf-8")
    with pytest.raises(InputError, match=said) as error:
        read_baseline(str(path), RunOptions())
    assert "r.json" in str(error.value)


def test_a_report_of_a_newer_minor_version(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    document = {**json.loads(encode(report(finding(Status.FAIL)))), "schema_version": "1.9", "moon": {"phase": 3}}
    document["findings"][0]["mood"] = "bad"
    path.write_text(json.dumps(document), encoding="utf-8")
    assert counting(read_baseline(str(path), RunOptions()).report, report(finding(Status.FAIL))) == []


# -- real machines ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "machine", ["h200-ort-gpu-cudnn-hidden", "r470-torch-cu121", "ecc-uncorrectable", "rocm-groups"]
)
def test_a_machine_is_no_worse_than_itself(machine: str, tmp_path: Path) -> None:
    """Run again, from its snapshot, nothing counts but what could not be looked at."""
    first = report_of(MACHINES / machine)
    path = snapshot_of(machine, tmp_path)
    again = Run(
        RunOptions(replay=path, third_party=False, baseline=Baseline(source="b", report=first)), registry=PLUGINS
    )
    live = [f for f in again.execute().findings if f.waived is None]
    assert {f.status for f in live} <= {Status.PASS, Status.SKIP, Status.ERROR}
    assert [f.status for f in live if f.id == "BASELINE"] == [Status.PASS]


def test_this_machine_is_no_worse_than_itself() -> None:
    """Free memory, temperatures, process numbers: what differs from one look to the next is no change."""
    first = Run(RunOptions(third_party=False)).execute()
    run = Run(RunOptions(third_party=False, baseline=Baseline(source="b", report=first)))
    found = [f for f in run.execute().findings if f.waived is None and f.status in {Status.WARN, Status.FAIL}]
    assert found == [] and run.notes == []
