"""The plain-text front end: what it says first and last, widths, colour, ASCII, and text that attacks a terminal."""

import re
import subprocess
import sys

import pytest

from infra_doctor_reports.page import wrapped
from infra_doctor_reports.text import render
from tests.support.sample_report import empty_report, quiet_report, sample_report

ANSI = re.compile(r"\x1b\[[0-9;]*m")
COMMAND = "/opt/venv/bin/python -m pip install 'onnxruntime-gpu[cuda,cudnn]==1.30.0'"


def test_the_first_line_is_the_verdict_and_the_last_says_how_to_go_on():
    lines = render(sample_report(), {}).splitlines()
    assert lines[0].startswith("✖ FAIL  The stack does not fit together: 2 faults from 1 cause")
    assert lines[-2] == "2 fail · 1 error · 2 warn · 1 unknown · 3 pass · 4 skip"
    assert lines[-1] == "infra-doctor explain CUDNN-MISSING · -v or --html FILE for everything"


def test_findings_come_worst_first_with_consequences_below_their_cause():
    text = render(sample_report(), {})
    order = ["✖ FAIL  CUDNN-MISSING", "└─ follows from CUDNN-MISSING", "     ✖ FAIL  ORT-FALLBACK",
             "‼ ERROR  PROBE-FAILED", "! WARN  CUDNN-MIX", "? UNKNOWN  NVCC-MISMATCH", "✔ PASS  ARCH, DRV-OLD, GLIBC"]  # fmt: skip
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_skips_and_waivers_say_why():
    text = render(sample_report(), {"width": 120})
    assert "– SKIP  CANN-DRV, CANN-ENV, TORCH-NPU: no Ascend device, driver or CANN was found" in text
    assert (
        "– WAIVED  PYNVML (warn): The deprecated distribution pynvml is installed; removed with the next image, until"
        in text
    )


def test_the_stack_is_named():
    text = render(sample_report(), {})
    for part in (
        "Ubuntu 24.04.3 LTS",
        "nvidia 580.159.04",
        "2 × NVIDIA H200",
        "torch 2.11.0 (cuda 13.0)",
        "cudnn 9.19.0 and 9.14.0",
    ):
        assert part in text


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120])
@pytest.mark.parametrize("verbose", [0, 1])
@pytest.mark.parametrize("hostile", [False, True])
def test_no_line_is_wider_than_the_terminal_but_a_command(width, verbose, hostile):
    text = render(sample_report(hostile=hostile), {"width": width, "verbose": verbose, "color": True})
    for line in ANSI.sub("", text).splitlines():
        assert len(line) <= width or re.match(r" +(/opt/venv/bin/python -m pip|sudo dmesg|ls ')", line), line


def test_commands_stand_whole_on_a_line_of_their_own():
    lines = [ANSI.sub("", line).strip() for line in render(sample_report(), {"width": 40, "color": True}).splitlines()]
    assert COMMAND in lines
    assert "sudo dmesg -T" in lines


@pytest.mark.parametrize("options", [{}, {"color": True}, {"verbose": 2}, {"ascii": True, "color": True}])
def test_nothing_from_the_machine_reaches_the_terminal_as_a_control(options):
    text = ANSI.sub("", render(sample_report(hostile=True), {**options, "width": 100}))
    assert all(c == "\n" or c.isprintable() for c in text)
    text.encode("utf-8")
    assert r"\x1b[2J\x1b]0;owned\x07 \u202egnp.exe" in text


def test_colour_only_repeats_what_the_words_say():
    report = sample_report()
    plain, colored = render(report, {}), render(report, {"color": True})
    assert "\x1b" not in plain
    assert "\x1b[1;31m✖ FAIL" in colored
    assert ANSI.sub("", colored) == plain


def test_ascii_mode_is_ascii():
    for report in (sample_report(hostile=True), quiet_report(), empty_report()):
        assert render(report, {"ascii": True, "verbose": 1}).isascii()
    assert render(sample_report(), {"ascii": True}).startswith("x FAIL  ")


def test_the_long_form_has_every_component_loader_reason_pair_and_path():
    report = sample_report()
    text = render(report, {"verbose": 1, "width": 120})
    squeezed = re.sub(r"\s+", "", text)
    for component in report.components:
        assert (component.location or component.name).replace(" ", "") in squeezed
    for pair in report.compatibility:
        assert pair.source in squeezed
    assert "[torch] [torch, onnxruntime]" in text
    assert "already loaded when libonnxruntime_providers_cuda.so asks" in text
    assert "unknown (executes code): _distutils_hack.pth" in text
    assert "dcmi: no libdcmi.so on the loader path" in text


def test_many_reasons_for_skipping_are_cut_where_they_would_bury_a_finding():
    from dataclasses import replace

    from infra_doctor.model.finding import Finding, Status

    skips = tuple(Finding(id=f"S{n}", status=Status.SKIP, title=f"reason {n}", fingerprint=str(n)) for n in range(9))
    warning = Finding(id="W", status=Status.WARN, title="a risk", fingerprint="w")
    report = replace(empty_report(), findings=(warning, *skips))
    short, long = render(report, {}), render(report, {"verbose": 1})
    assert "9 checks had nothing to judge here (-v says why)" in short
    assert "reason 8" not in short
    assert all(f"S{n}: reason {n}" in long for n in range(9))
    shared = tuple(replace(s, title="no such device") for s in skips[:3])
    quiet = render(replace(report, findings=(*shared, *skips[3:])), {})
    assert "S0, S1, S2: no such device" in quiet
    assert "6 more checks had nothing to judge here" in quiet


def test_a_machine_without_accelerators_reads_as_that():
    text = render(quiet_report(), {})
    assert text.startswith("✔ PASS  No fault found: 1 check in order. No accelerator device was found.")
    assert "FAIL" not in text


def test_an_empty_report_says_that_nothing_is_known():
    assert render(empty_report(), {}).startswith("– SKIP  Nothing was judged: no check ran.")


def test_long_words_break_after_a_slash():
    path = "/opt/venv/lib/python3.12/site-packages/nvidia/cudnn/lib/libcudnn.so.9"
    assert wrapped(path, 50) == ["/opt/venv/lib/python3.12/site-packages/nvidia/", "cudnn/lib/libcudnn.so.9"]
    assert wrapped("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]
    assert wrapped("", 10) == [""]
    assert "".join(wrapped("see " + path + ": here", 20)).replace(" ", "") == f"see{path}:here"


def test_the_formats_load_nothing_heavy_until_they_are_used():
    names = "infra_doctor_reports.text, infra_doctor_reports.html, infra_doctor_reports.markdown"
    heavy = ["jinja2", "markupsafe", "msgspec", "rich", "textual", "plotly", "textwrap"]
    code = f"import sys, {names}, infra_doctor_reports.json_format; print(*({set(heavy)} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
