"""Prometheus: what its own parser reads, the rules of promtool's linter, labels that stay few, and what each metric says."""

import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from infra_doctor.model.finding import Status
from infra_doctor.model.report import Measurement
from infra_doctor.plugin import printable
from infra_doctor_reports.prometheus import FORMATS, LABEL_CAP, render
from tests.reports.cases import INJECTIONS, REPORTS, every_status, poisoned
from tests.support.sample_report import empty_report, quiet_report, sample_report

# https://github.com/prometheus/client_golang/tree/main/prometheus/testutil/promlint/validations
TYPES_IN_NAMES = ("counter", "gauge", "summary", "histogram", "gauge_histogram")
ABBREVIATIONS = ("s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d")
NOT_BASE = re.compile(
    r"(minutes|hours|days|weeks|kelvins|fahrenheit|rankine|inches|yards|miles|bits|calories|pounds|ounces|"
    r"(pico|nano|micro|milli|centi|deci|deca|hecto|kilo|kibi|mega|mibi|giga|gibi|tera|tebi|peta|pebi)"
    r"(amperes|bytes|bits|celsius|grams|joules|kelvin|meters|metres|seconds|volts))"
)


def problems(text: str) -> list[str]:
    """What `promtool check metrics` finds wrong."""
    found = []
    for family in text_string_to_metric_families(text):
        name = family.name
        words = name.split("_")
        found += [f"{name}: no help"] if not family.documentation else []
        found += [f"{name}: type {t} in the name" for t in TYPES_IN_NAMES if f"_{t}_" in name or name.endswith(f"_{t}")]
        found += [f"{name}: unit {w}" for w in words if NOT_BASE.fullmatch(w)]
        found += [f"{name}: abbreviated unit {w}" for w in words[1:] if w in ABBREVIATIONS]
        found += [f"{name}: a {family.type} ends so"] if name.endswith(("_total", "_count", "_sum", "_bucket")) else []
        found += [f"{name}: not in snake case"] if re.search(r"[a-z][A-Z]|:", name) else []
        for sample in family.samples:
            found += [
                f"{name}: label {n}" for n in sample.labels if n in {"le", "quantile"} or re.search("[a-z][A-Z]", n)
            ]
            found += [f"{name}: a time of its own"] if sample.timestamp is not None else []
    return found


def samples(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """By metric without the prefix: labels -> value. Each once, in one block with its HELP and TYPE before it."""
    assert text.endswith("\n") and "\r" not in text and problems(text) == []
    blocks = [line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE ")]
    assert len(blocks) == len(set(blocks)), "a metric in two blocks"
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge" and family.name.startswith("infra_doctor_")
        for sample in family.samples:
            assert sample.name == family.name
            one = found.setdefault(family.name.removeprefix("infra_doctor_"), {})
            key = tuple(sorted(sample.labels.items()))
            assert key not in one, "a sample twice: the collector refuses the whole file"
            one[key] = sample.value
    return found


@pytest.mark.parametrize("name", REPORTS)
def test_its_parser_reads_it_and_its_linter_finds_nothing(name):
    report = REPORTS[name]()
    told = samples(render(report, {}))
    live = Counter(str(f.status) for f in report.findings if f.waived is None)
    assert told["findings"] == {(("status", str(s)),): live[s] for s in Status}
    counted = {s: sum(n for key, n in told.get("finding", {}).items() if ("status", s) in key) for s in Status}
    assert counted == {s: 0 if s is Status.SKIP else live[s] for s in Status}
    waived = sum(told.get("waived_findings", {}).values())
    assert waived == sum(f.waived is not None for f in report.findings)


@pytest.mark.parametrize(
    "wrong",
    [
        "# TYPE a_total gauge\n# HELP a_total x\na_total 1\n",
        "# TYPE a_milliseconds gauge\n# HELP a_milliseconds x\na_milliseconds 1\n",
        "# TYPE a_ms gauge\n# HELP a_ms x\na_ms 1\n",
        "# TYPE a gauge\na 1\n",
        "# TYPE a_gauge gauge\n# HELP a_gauge x\na_gauge 1\n",
        "# TYPE a gauge\n# HELP a x\na 1 1700000000\n",
        '# TYPE a gauge\n# HELP a x\na{camelCase="b"} 1\n',
    ],
)
def test_the_rules_refuse_what_promtool_refuses(wrong):
    assert problems(wrong)


def test_each_metric_says_what_it_is_documented_to_say():
    told = samples(render(every_status(), {}))
    assert told["info"] == {(("version", "0.1.0"),): 1}
    assert told["last_run_timestamp_seconds"] == {(): 1795161600}
    assert told["run_duration_seconds"] == {(): 0.143}
    assert told["up"] == {(): 0}  # a GPU and a requirement could not be looked at
    assert told["finding"][(("id", "CUDNN-MISSING"), ("severity", "high"), ("status", "fail"))] == 1
    assert told["finding"][(("id", "REQUIREMENT"), ("severity", "high"), ("status", "error"))] == 1
    assert told["waived_findings"][(("id", "PYNVML"),)] == 1
    assert told["devices"] == {(("kind", k),): n for k, n in (("gpu", 2), ("npu", 0), ("accelerator", 0))}


def test_requirements_are_met_missed_or_not_known():
    told = samples(render(every_status(), {}))
    met = {dict(key)["key"]: value for key, value in told["requirement_met"].items()}
    known = {dict(key)["key"]: value for key, value in told["requirement_known"].items()}
    # What could not be looked at or compared is neither met nor missed; what is waived (gpu.memory) does not count.
    assert met == {"gpu.count": 1, "driver": 0, "measure copy*": 0}
    assert known == {
        "gpu.count": 1,
        "driver": 1,
        "measure copy*": 1,
        "ort.cuda": 0,
        "package.vllm": 0,
        "measure gemm*": 0,
    }


def test_measurements_are_in_base_units():
    told = samples(render(every_status(), {}))
    gemm = (("benchmark", "gemm"), ("device", "gpu:0000:00:06.0"), ("name", "bf16 8192x8192x8192"))
    assert told["measurement_flops_per_second"][gemm] == 7.6e14
    assert told["measurement_expected_ratio"] == {gemm: 0.77}
    assert told["measurement_bytes_per_second"].popitem()[1] == 5.5e10
    assert told["measurement_seconds"] == {(("benchmark", "launch"), ("device", ""), ("name", "empty kernel")): 2.4e-6}
    other = {dict(key)["name"]: value for key, value in told["measurement_other"].items()}
    assert other["decode"] == math.inf and math.isnan(other["prefill"])


def test_an_up_machine_is_up():
    assert samples(render(quiet_report(), {}))["up"] == {(): 1}


def test_a_report_without_a_readable_time_has_none():
    for created in ("", "yesterday", "2026-11-20T08:00:00"):
        assert "last_run_timestamp_seconds" not in samples(render(replace(empty_report(), created=created), {}))
    assert "run_duration_seconds" not in samples(render(empty_report(), {}))


@pytest.mark.parametrize("text", INJECTIONS, ids=range(len(INJECTIONS)))
def test_text_of_a_machine_stays_in_its_label(text):
    document = render(poisoned(text), {})
    told = samples(document)
    assert all(c.isprintable() or c == "\n" for c in document)
    values = {value for one in told.values() for key in one for _, value in key}
    assert all(len(v) <= LABEL_CAP for v in values)
    shown = printable(text)
    cut = shown if len(shown) <= LABEL_CAP else shown[: LABEL_CAP - 1] + "…"
    assert {dict(key)["key"] for key in told["requirement_met"]} == {cut}
    assert not re.search(r"##\w*\[|^\s*::", document, re.M)
    # One requirement and one of its kind: nothing that a text holds becomes a sample or a metric.
    assert set(told) <= set(samples(render(every_status(), {})))


def test_no_title_path_or_host_name_is_a_label():
    report = sample_report()
    text = render(replace(report, machine=replace(report.machine, name="secret-host", identified=True)), {})
    assert "secret-host" not in text and "/opt/venv" not in text and "libcudnn" not in text
    names = {name for one in samples(text).values() for key in one for name, _ in key}
    assert names <= {"id", "status", "severity", "version", "key", "kind", "benchmark", "name", "device", "unit"}


def test_two_labels_that_are_alike_after_the_cut_are_one_sample():
    long = next(f for f in every_status().findings if f.id == "REQUIREMENT" and f.waived is None)
    twins = tuple(
        replace(long, subject=(f"policy:{'k' * 200}{n}",), status=s) for n, s in enumerate((Status.PASS, Status.FAIL))
    )
    told = samples(render(replace(every_status(), findings=twins), {}))
    assert list(told["requirement_met"].values()) == [0]  # the worse of the two


def test_it_is_asked_for_by_name_alone():
    (form,) = FORMATS
    assert (form.name, form.suffix, form.flag, form.automatic) == ("prometheus", ".prom", False, None)


def test_the_page_documents_every_metric_and_no_other():
    page = Path("docs/formats.md").read_text(encoding="utf-8")
    table = page.split("| metric | labels | what it says |")[1].split("\n\n")[0]
    documented: dict[str, set[str]] = {}
    for row in table.splitlines()[2:]:
        _, names, labels, *_ = row.split("|")
        documented |= {name: set(re.findall(r"`(\w+)`", labels)) for name in re.findall(r"`(\w+)`", names)}
    documented["measurement_other"] |= documented["measurement_seconds"]
    byte = Measurement(benchmark="pool", name="high water", value=1.0, unit="B")
    op = replace(byte, unit="OP/s")
    told = samples(render(replace(every_status(), measurements=(*every_status().measurements, byte, op)), {}))
    assert {name: {n for key in one for n, _ in key} for name, one in told.items()} == documented


def test_the_alerts_of_the_page_ask_for_metrics_that_are_there():
    page = Path("docs/formats.md").read_text(encoding="utf-8")
    asked = set(re.findall(r"infra_doctor_(\w+)", page.split("groups:")[1].split("```")[0]))
    assert asked and asked <= set(samples(render(every_status(), {})))
