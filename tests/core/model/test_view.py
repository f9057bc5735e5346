"""What front ends show: the verdict sentence, causes before consequences, the stack, the matrix."""

from dataclasses import replace
from itertools import pairwise

import pytest

from infra_doctor.model.compatibility import Compatibility, Verdict
from infra_doctor.model.component import Component
from infra_doctor.model.finding import Diagnosis, Finding, Severity, Status, Waiver, sort_key
from infra_doctor.model.report import MachineInfo, ProbeOutcome, Report, Tool
from infra_doctor.model.stack import device_groups, machine_stack, target_stack
from infra_doctor.model.view import (
    blind_probes,
    by_kind,
    causes,
    headline,
    labels,
    loads,
    matrix,
    passed,
    skipped,
    waived,
)
from tests.support.sample_report import CUDNN_SYSTEM, CUDNN_WHEEL, ORT, TORCH, empty_report, quiet_report, sample_report


def some_finding(name: str, status: Status, severity: Severity = Severity.LOW, **more) -> Finding:
    return Finding(
        id=name, fingerprint=f"fp-{name}", status=status, severity=severity, title=f"title of {name}", **more
    )


def report_of(
    *findings: Finding, diagnoses: tuple[Diagnosis, ...] = (), components: tuple[Component, ...] = ()
) -> Report:
    return Report(
        tool=Tool(), created="", machine=MachineInfo(name="m", form="live"),
        findings=tuple(sorted(findings, key=sort_key)), diagnoses=diagnoses, components=components,
    )  # fmt: skip


DEVICE = Component(key="gpu:0", kind="gpu", name="G")


@pytest.mark.parametrize(
    ("statuses", "worst", "words"),
    [
        ((), Status.SKIP, "Nothing was judged: no check ran."),
        (("skip",), Status.SKIP, "Nothing to judge: no check applies to this machine."),
        (("pass", "skip"), Status.PASS, "No fault found: 1 check in order."),
        (("pass", "pass"), Status.PASS, "No fault found: 2 checks in order."),
        (("pass", "unknown"), Status.UNKNOWN, "No fault found; 1 thing could not be judged."),
        (("pass", "warn", "unknown"), Status.WARN, "No fault found; 1 warning and 1 thing could not be judged."),
        (("pass", "error"), Status.ERROR, "Nothing wrong in what could be looked at; 1 thing could not be looked at."),
        (("fail", "warn"), Status.FAIL, "The stack does not fit together: 1 fault."),
        (("fail", "fail", "error"), Status.FAIL, "The stack does not fit together: 2 faults; 1 thing could not be looked at."),
    ],
)  # fmt: skip
def test_the_headline_says_the_worst_that_counts(statuses, worst, words):
    findings = [some_finding(f"F{n}", Status(status), Severity.MEDIUM) for n, status in enumerate(statuses)]
    verdict = headline(report_of(*findings, components=(DEVICE,)))
    assert (verdict.status, verdict.text) == (worst, words)


def test_the_headline_says_where_no_device_was_found():
    assert headline(report_of(some_finding("A", Status.PASS))).text.endswith("No accelerator device was found.")


def test_a_waived_fault_does_not_count_and_is_not_lost():
    report = report_of(some_finding("A", Status.FAIL, waived=Waiver(reason="known")), some_finding("B", Status.PASS))
    assert headline(report).status is Status.PASS
    assert causes(report) == ()
    assert [f.id for f in waived(report)] == ["A"]


def test_faults_are_counted_with_their_causes():
    assert "2 faults from 1 cause" in headline(sample_report()).text


def test_consequences_stand_below_their_root_and_a_group_is_as_bad_as_its_worst():
    report = report_of(
        some_finding("ROOT", Status.WARN),
        some_finding("ALONE", Status.FAIL, Severity.LOW),
        some_finding("EFFECT", Status.FAIL, Severity.CRITICAL),
        some_finding("FURTHER", Status.UNKNOWN),
        diagnoses=(
            Diagnosis(root="fp-ROOT", follows=("fp-EFFECT",), text="because"),
            Diagnosis(root="fp-EFFECT", follows=("fp-FURTHER",), text="then"),
        ),
    )
    shown = [(c.root.id, [f.id for f in c.follows], c.text) for c in causes(report)]
    assert shown == [("ROOT", ["EFFECT", "FURTHER"], "because"), ("ALONE", [], "")]


@pytest.mark.parametrize(
    "diagnoses",
    [
        (Diagnosis(root="fp-A", follows=("fp-B",), text=""), Diagnosis(root="fp-B", follows=("fp-A",), text="")),
        (Diagnosis(root="fp-A", follows=("fp-A",), text=""),),
        (Diagnosis(root="nobody", follows=("fp-A", "fp-B"), text=""),),
        (Diagnosis(root="fp-A", follows=("nobody",), text=""),),
    ],
)
def test_every_problem_is_shown_once_whatever_the_diagnoses_say(diagnoses):
    report = report_of(some_finding("A", Status.FAIL), some_finding("B", Status.WARN), diagnoses=diagnoses)
    assert sorted(f.id for c in causes(report) for f in (c.root, *c.follows)) == ["A", "B"]


def test_a_long_chain_of_diagnoses_does_not_exhaust_the_stack():
    names = [f"N{n:05}" for n in range(5000)]
    diagnoses = tuple(Diagnosis(root=f"fp-{a}", follows=(f"fp-{b}",), text="") for a, b in pairwise(names))
    groups = causes(report_of(*(some_finding(n, Status.FAIL) for n in names), diagnoses=diagnoses))
    assert [(c.root.id, len(c.follows)) for c in groups] == [("N00000", 4999)]


def test_skips_share_their_reason():
    reasons = skipped(sample_report())
    assert reasons[0].text == "no Ascend device, driver or CANN was found"
    assert reasons[0].ids == ("CANN-DRV", "CANN-ENV", "TORCH-NPU")


def test_blind_probes_are_told_apart_from_those_that_collected():
    assert {name for reason in blind_probes(sample_report()) for name in reason.ids} == {"dcmi", "nvml"}
    assert [reason.ids for reason in blind_probes(sample_report(), Status.ERROR)] == [("nvml",)]
    nameless = replace(empty_report(), probes=(ProbeOutcome(id="p", version=1, status=Status.SKIP),))
    assert blind_probes(nameless)[0].text == "no reason given"


def test_kinds_come_in_the_order_of_the_stack():
    kinds = [kind for kind, _ in by_kind(sample_report())]
    assert kinds[:6] == ["os", "libc", "cpu", "memory", "driver", "gpu"]
    assert kinds.index("cuda-toolkit") < kinds.index("cudnn") < kinds.index("wheel") < kinds.index("ort-provider")


def test_names_are_short_and_tell_like_from_like():
    names = labels(sample_report())
    assert names[TORCH] == "torch 2.11.0"
    assert names["gpu:0000:00:06.0"] == "NVIDIA H200 (0000:00:06.0)"
    assert len(set(names.values())) == len(names)


def test_the_machine_in_a_few_lines():
    lines = {line.label: line.values for line in machine_stack(sample_report())}
    assert lines["GPU"] == ("2 × NVIDIA H200, 140.4 GiB",)
    assert lines["Driver"][0].startswith("nvidia 580.159.04")
    assert "glibc 2.39" in lines["System"]
    assert lines["cuda-toolkit"] == ("13.0.88 in /usr/local/cuda-13.0 (default)",)


def test_the_environment_in_a_few_lines():
    report = sample_report()
    lines = {line.label: line.values for line in target_stack(report, report.targets[0])}
    assert lines["Python"][0] == "3.12.3"
    assert lines["Packages"][:2] == ("onnxruntime-gpu 1.30.0 (cuda 13.0)", "torch 2.11.0 (cuda 13.0)")
    assert not any(value.startswith("nvidia-") for value in lines["Packages"])
    assert "cudnn 9.19.0 and 9.14.0" in lines["Libraries"]
    assert "CUDAExecutionProvider: loads only after torch" in lines["ort-provider"]


def test_devices_are_grouped_by_name_and_memory():
    def device(name: str, memory) -> Component:
        return Component(key=f"gpu:{name}{memory}", kind="gpu", name=name, attributes={"memory_bytes": memory})

    groups = device_groups([device("A", 2**30), device("B", None), device("A", 2**30), device("A", "lots")])
    assert groups == ("2 × A, 1.0 GiB", "1 × B", "1 × A")


def test_uses_of_a_copy_are_joined_over_import_orders():
    components = {c.key: c for c in sample_report().components}
    uses = loads(components[CUDNN_WHEEL])
    torch_orders = next(orders for (consumer, _), orders in uses.items() if consumer == TORCH)
    assert torch_orders == ("torch", "torch, onnxruntime", "onnxruntime, torch")
    assert {consumer for consumer, _ in uses} == {TORCH, ORT}


def test_the_matrix_has_a_row_per_component_and_the_worst_verdict_per_kind():
    report = sample_report()
    second = Compatibility(left=TORCH, right="gpu:0000:00:07.0", verdict=Verdict.INCOMPATIBLE, rule="r", source="s")
    columns, rows = matrix(replace(report, compatibility=(*report.compatibility, second)))
    cells = {row.key: row.cells for row in rows}
    assert columns == ("libc", "driver", "gpu", "cudnn", "wheel")
    assert cells[TORCH]["gpu"] is Verdict.INCOMPATIBLE
    assert cells[ORT]["cudnn"] is Verdict.UNKNOWN
    assert cells[CUDNN_SYSTEM] == {"cudnn": Verdict.INCOMPATIBLE}
    assert sum(len(row.pairs) for row in rows) == len(report.compatibility) + 1
    assert next(row for row in rows if row.key == TORCH).pairs[0] == second


def test_an_empty_report_and_a_quiet_one_have_all_views():
    for report in (empty_report(), quiet_report()):
        assert causes(report) == ()
        assert matrix(report) == ((), ())
    assert machine_stack(empty_report()) == ()
    assert [f.id for f in passed(quiet_report())] == ["GLIBC"]


def test_a_hint_that_could_not_judge_leaves_the_verdict_to_the_rest():
    report = report_of(some_finding("A", Status.PASS), some_finding("B", Status.UNKNOWN), components=(DEVICE,))
    verdict = headline(report)
    assert (verdict.status, verdict.text) == (
        Status.PASS,
        "No fault found: 1 check in order; 1 thing could not be judged.",
    )
    alone = headline(report_of(some_finding("B", Status.UNKNOWN), components=(DEVICE,)))
    assert alone.status is Status.UNKNOWN


def stack_of(*components: Component) -> dict[str, tuple[str, ...]]:
    return {line.label: line.values for line in machine_stack(replace(empty_report(), components=components))}


def test_what_is_installed_is_told_by_name_and_by_place_where_names_are_alike() -> None:
    def part(kind: str, name: str, place: str, version: str | None = "1.0") -> Component:
        return Component(key=f"{kind}:{place}", kind=kind, name=name, version=version, location=place)

    lines = stack_of(
        part("software", "LLVM", "/usr/lib/llvm/LLVMConfigVersion.cmake"), part("software", "MNN", "/x/MNNDefine.h", None),
        part("profiler", "ncu", "/opt/a"), part("profiler", "ncu", "/opt/b", "2.0"), part("cann", "CANN", "/opt/cann"),
        *(Component(key=f"rdma-device:mlx5_{n}", kind="rdma-device", name=f"mlx5_{n}", version="28.41") for n in range(4)),
    )  # fmt: skip
    assert lines["software"] == ("LLVM 1.0", "MNN version unknown")
    assert lines["profiler"] == ("ncu 1.0 in /opt/a", "ncu 2.0 in /opt/b")
    assert lines["cann"] == ("1.0 in /opt/cann",)
    assert lines["rdma-device"] == ("4 × version 28.41",)


def test_a_drivers_lists_do_not_fill_the_page() -> None:
    long = {"accepts": "[V1],[V2],[V3],[V4],[V5],[V6]", "running_version": "25.2.0"}
    attributes = {**long, "branch": "R580", "a": "1", "b": "2", "c": "3"}
    driver = Component(key="driver:x", kind="driver", name="x", version="25.2.0", attributes=attributes)
    assert stack_of(driver)["Driver"] == ("x 25.2.0 (branch R580, a 1, b 2)",)


def test_many_packages_are_counted() -> None:
    report = sample_report()
    target = report.targets[0]
    wheels = tuple(
        Component(key=f"wheel:p{n:02}@{target.prefix}", kind="wheel", name=f"p{n:02}", version="1", target=target.key)
        for n in range(40)
    )
    lines = {s.label: s.values for s in target_stack(replace(report, components=(*report.components, *wheels)), target)}
    shown = lines["Packages"]
    assert len(shown) == 17 and shown[-1].endswith(" more")
    assert shown[:2] == ("onnxruntime-gpu 1.30.0 (cuda 13.0)", "torch 2.11.0 (cuda 13.0)")
