"""The JSON document: the form of the design, and text that JSON cannot hold as it is."""

import json

from infra_doctor_reports.json_format import render
from tests.support.sample_report import CUDNN_WHEEL, empty_report, sample_report


def test_the_document_has_the_published_form():
    document = json.loads(render(sample_report(), {}))
    assert list(document)[:5] == ["kind", "schema_version", "tool", "created", "machine"]
    assert document["kind"] == "report"
    assert document["summary"] == {"pass": 3, "warn": 2, "fail": 2, "skip": 4, "unknown": 1, "error": 1}
    cudnn = next(c for c in document["components"] if c["key"] == CUDNN_WHEEL)
    assert cudnn["loaded_by"][0] == {
        "consumer": "wheel:torch@/opt/venv",
        "via": "RUNPATH $ORIGIN/../../nvidia/cudnn/lib of libtorch_cuda.so",
        "order": "torch",
    }
    fix = next(f for f in document["findings"] if f["id"] == "CUDNN-MISSING")["remediation"]
    assert fix["commands"][0]["argv"][-1] == "onnxruntime-gpu[cuda,cudnn]==1.30.0"


def test_it_reads_back_as_the_same_report(tmp_path):
    from infra_doctor.codec import load_report

    file = tmp_path / "report.json"
    file.write_text(render(sample_report(), {}), encoding="utf-8")
    assert load_report(str(file)) == sample_report()


def test_half_characters_are_spelt_out():
    text = render(sample_report(hostile=True), {})
    text.encode("utf-8")
    titles = [f["title"] for f in json.loads(text)["findings"]]
    assert "title half \\udce9 character \u2028 and {{ 7*7 }} {% raw %}" in titles


def test_run_data_is_absent_where_there_is_none():
    assert "run" not in json.loads(render(empty_report(), {}))
    assert json.loads(render(sample_report(), {}))["run"] == {"duration_ns": 143_000_000}
