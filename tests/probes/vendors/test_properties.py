"""Whatever a text holds, the parsers of vendors' tools give typed facts or a reason, and in time that grows no faster than it."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra_doctor_probes.other_vendors import reading
from infra_doctor_probes.other_vendors.reading import Reading, SmiText
from tests.probes.vendors.forms import ALL_PARSERS, Parser, parser_of, sample_files
from tests.support.hostile import processor_seconds

SETTINGS = settings(
    max_examples=60, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
PARSERS = list(ALL_PARSERS.items())
FILES = [p for p in sample_files() if p.stat().st_size < 16384]
# Pieces that the parsers look for, so that texts made of them come further than a blank refusal.
PIECES = st.sampled_from(
    [
        "GPU: 0", "GPU[0]\t: Card series: X", "|", " | ", "+----+", "====", "Card  VF  Name", "Bus-Id", "Memory-Usage", "ECC",
        "CNMON v5.1", "EFSMI V1", "IX-ML: 4.3.8", "MX-SMI 2.2.9", "mthreads-gmi:2.0", "XPU-SMI Driver Version: 5", "Board Name",
        "HCU Temp AvgPwr", "DCU Temp", "0 1 2", "DevID | PCI Addr", "0000:01:00.0", "99999999999999999999", "12C", "1e999C",
        "LINK TYPE TABLE:", "GPU0 GPU1", "timestamp gpu_id severity", "AMDSMI Tool: 1 | AMDSMI Library version: 2",
        "Platform #0: x", " `-- Device #0: y", "[opencl:gpu:0] a, b [1]", "Device ID | Device Information", "N/A", "\x1b[31m",
        "\u0660\u0661", "\ud800", "\0", "{", "[", "}", "]", '"card0"', "\n", "\n", "\n", "\t", " ", "  ", ":", "0 MiB/ 1 MiB",
    ]
)  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=300), st.lists(PIECES, max_size=60).map("".join), st.lists(PIECES, max_size=60).map(" ".join)
)


def assert_typed(found: SmiText) -> None:
    assert isinstance(found, SmiText)
    assert found.problem or found.form
    assert len(found.problem) < 500
    for value in (found.tool_version, found.driver_version, found.runtime_version):
        assert value is None or (0 < len(value) < 130 and "\n" not in value)
    for device in found.devices:
        assert isinstance(device, Reading)
        assert device.index is None or device.index >= 0
        assert device.memory_bytes is None or device.memory_bytes >= 0
        assert device.name is None or 0 < len(device.name) <= 120
        assert device.address is None or reading.address(device.address) == device.address


@pytest.mark.parametrize(("name", "parser"), PARSERS, ids=[n for n, _ in PARSERS])
def test_any_text_gives_facts_or_a_reason(name: str, parser: Parser) -> None:
    @SETTINGS
    @given(TEXTS)
    def check(text: str) -> None:
        assert_typed(parser(text))

    check()


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_damaged_capture_gives_facts_or_a_reason(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    parser = parser_of(path.parent.name, path.name)
    assert parser is not None

    @SETTINGS
    @given(st.integers(0, len(text)), st.integers(0, len(text)), st.text(max_size=20))
    def check(start: int, end: int, put: str) -> None:
        assert_typed(parser(text[:start] + put + text[end:]))

    check()


HOSTILE = {
    "one line": "a" * 10_000_000,
    "blanks": " " * 10_000_000,
    "newlines": "\n" * 10_000_000,
    "bars": "|" * 10_000_000,
    "rows": "| 0 | 1 | 2 |\n" * 700_000,
    "digits": "9" * 10_000_000,
    "open brackets": "[" * 10_000_000,
    "open braces": '{"a":' * 2_000_000,
    "GPU blocks": "GPU: 0\n    A: b\n" * 600_000,
    "indented fields": "GPU: 0\n" + "".join(" " * (n % 300) + f"F{n}:\n" for n in range(60_000)),
    "numbers and blanks": "0 " * 5_000_000,
    "addresses": "0000:01:00.0 " * 800_000,
    "sizes": "1 MiB / " * 1_200_000,
    "names of GPUs": "GPU0 GPU1 GPU2\n" * 600_000,
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_ten_megabytes_take_less_than_a_second(hostile: str) -> None:
    """For each parser; the processor's time, so that a busy machine does not count."""
    titles = [
        "",
        "CNMON v5\n| Card Name | Bus-Id |\n",
        "HCU Temp\n",
        "GPU POWER GPU_TEMP\n",
        "CURRENT_PARTITION:\nA  B\n",
    ]
    for name, parser in PARSERS:
        for title in titles:
            spent = processor_seconds(lambda p=parser, t=title: assert_typed(p(t + hostile)), enough=0.5)
            assert spent < 1, (name, title)


@SETTINGS
@given(st.text(max_size=100))
def test_values_are_none_or_of_their_kind(text: str) -> None:
    assert reading.address(text) is None or ":" in str(reading.address(text))
    assert reading.celsius(text) is None or isinstance(reading.celsius(text), float)
    assert all(n >= 0 for n in reading.sizes(text))
    assert reading.number(text) is None or str(reading.number(text)).isdecimal()
    assert reading.version(text) is None or any(c.isdigit() for c in str(reading.version(text)))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("00000000:10:00.0", "0000:10:00.0"), ("00:01:00.0", "0000:01:00.0"), ("0000:1B:00.0", "0000:1b:00.0"),
        ("00010000:1B:00.0", "10000:1b:00.0"), ("01:00.0", "0000:01:00.0"), ("N/A", None), ("", None),
    ],
)  # fmt: skip
def test_addresses_have_the_kernels_form(text: str, address: str | None) -> None:
    assert reading.address(text) == address


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v5.10.10", "5.10.10"), ("5.1.0-server", "5.1.0-server"), ("N/A", None), ("Deprecated, see", None), ("none", None),
        ("", None), ("<redacted>", None), ("9FF4708BCC22C0EE6FD801A", "9FF4708BCC22C0EE6FD801A"),
    ],
)  # fmt: skip
def test_what_is_no_version_is_none(text: str, version: str | None) -> None:
    assert reading.version(text) == version


@pytest.mark.parametrize(
    ("text", "used", "total"),
    [
        ("0 MiB/ 23308 MiB", 0, 23308), ("826/65536 MiB", 826, 65536), ("662MiB(16384MiB)", 662, 16384),
        ("31058MiB /  98304MiB", 31058, 98304), ("49120MiB Disable", None, 49120), ("N/A", None, None),
    ],
)  # fmt: skip
def test_memory_in_every_form(text: str, used: int | None, total: int | None) -> None:
    expected = tuple(None if n is None else n << 20 for n in (used, total))
    assert reading.used_and_total(text) == expected


def test_cnmon_4_has_the_driver_in_each_row() -> None:
    """By the header alone: vendors.md says so of cnmon 4; the numbers are made up."""
    text = "\n".join(
        (
            "| CNMON v4.9.2 |",
            "| Card  VF  Name       Firmware | Bus-Id       Driver | Util  Ecc-Error |",
            "| Fan   Temp      Pwr:Usage/Cap |         Memory-Usage | Mode  Compute   |",
            "|===============================+======================+=================|",
            "| 0     /   MLU290     v1.1.2   | 0000:1B:00.0  v4.9.2 | 0%    0         |",
            "| 0%    41C     27 W/ 150 W     | 10 MiB/ 32768 MiB    | FULL  Default   |",
        )
    )
    found = ALL_PARSERS["cambricon cnmon"](text)
    assert found.problem == "" and found.driver_version is None
    assert found.devices[0].driver_version == "4.9.2" and found.devices[0].address == "0000:1b:00.0"


def test_a_table_that_ends_inside_a_device_keeps_what_was_whole() -> None:
    text = "\n".join(
        (
            "| IX-ML: 4.3.8  Driver Version: 4.3.8  CUDA Version: 10.2 |",
            "| GPU  Name | Bus-Id |",
            "| Fan  Temp | Memory-Usage |",
            "|===========+==============|",
            "| 0    A B  | 0000:10:00.0 |",
            "| N/A  40C  | 64MiB / 32768MiB |",
            "| 1    A B  | 0000:13:00.0 |",
        )
    )
    found = ALL_PARSERS["iluvatar ixsmi"](text)
    assert [d.name for d in found.devices] == ["A B"]
    assert found.problem == "the table ends inside a device"
