"""Signatures are found wherever a program, a terminal or a carrier put their text, in short logs and in long ones."""

import gzip
import textwrap
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from infra_doctor.triage import reading, scanning
from infra_doctor.triage.reading import file_logs
from infra_doctor.triage.scanning import SHORT_BYTES, Scanner
from infra_doctor.triage.signatures import signatures
from tests.core.triage.lab import CHECKS, check, log_of, named, triage_of

FILLER = "2026-11-20 10:00:00,000 INFO step done, nothing of note happened in this part of the run\n"
ORT = (
    "[E:onnxruntime:Default, provider_bridge_ort.cc:2195 TryGetProviderInfo_CUDA] FAIL : Failed to load library "
    "libonnxruntime_providers_cuda.so with error: libcudnn.so.9: cannot open shared object file: No such file or directory"
)
ARCH = "RuntimeError: CUDA error: no kernel image is available for execution on the device"
LONG = FILLER * (SHORT_BYTES // len(FILLER) + 10)


def fold(text: str, width: int) -> str:
    return "\n".join(text[n : n + width] for n in range(0, len(text), width))


def ranks(text: str) -> str:
    """Eight ranks write the message's lines in turns."""
    return "\n".join(f"[rank{r}]: {line}" for line in text.splitlines() for r in range(8))


def each(wrap: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: "\n".join(map(wrap, text.splitlines()))


# How the whole log is written, and how the one message is.
WRAPS: dict[str, Callable[[str], str]] = {
    "wrapped at 80 columns": each(lambda t: fold(t, 80)),
    "wrapped at 97 columns": each(lambda t: fold(t, 97)),
    "wrapped at 61 columns": each(lambda t: fold(t, 61)),
    "wrapped between words": each(lambda t: textwrap.fill(t, 80, break_long_words=False, break_on_hyphens=False)),
    "wrapped narrow": each(lambda t: textwrap.fill(t, 52, break_long_words=False, break_on_hyphens=False)),
    "wrapped with an indent": each(lambda t: textwrap.fill(t, 90, subsequent_indent="    ", break_on_hyphens=False)),
    "wrapped behind a rank": each(lambda t: fold(f"[rank3]: {t}", 80)),
}
WAYS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in colours": lambda t: f"\x1b[31m{t[:30]}\x1b[1m{t[30:]}\x1b[0m",
    "after a progress bar": lambda t: f" 10%|█ |\r 20%|██ |\r{t}",
    "windows line ends": lambda t: t.replace("\n", "\r\n") + "\r",
    "by its program at 80 columns": WRAPS["wrapped at 80 columns"],
    "by its program between words": WRAPS["wrapped between words"],
    "eight ranks in turns": ranks,
    "container runtime": lambda t: f'{{"log":"{t}\\n","stream":"stderr","time":"2026-11-20T10:00:00.1Z"}}',
    "container runtime, cut": lambda t: "\n".join(
        f"2026-11-20T10:00:00.1Z stderr {part} {text}" for part, text in (("P", t[:66]), ("P", t[66:99]), ("F", t[99:]))
    ),
    "systemd": lambda t: f"Nov 20 10:00:00 node1 run[7]: {t}",
    "pytest": lambda t: f"E       {t}",
    "in a box": lambda t: "\n".join(f"│ {line:<90} │" for line in textwrap.wrap(t, 90)),
    "GitHub Actions": lambda t: f"2026-11-20T10:00:00.1234567Z ##[error]{t}",
}


@pytest.mark.parametrize("around", ["short", "long"])
@pytest.mark.parametrize("way", [*WAYS, *WRAPS])
def test_found_in_each_way_of_writing(way: str, around: str) -> None:
    filler = "INFO nothing\n" if around == "short" else LONG
    for message, wanted in ((ORT, "CUDNN-MISSING"), (ARCH, "ARCH")):
        text = f"{filler}{WAYS.get(way, str)(message)}\n{filler}"
        triage = triage_of(WRAPS.get(way, str)(text))
        assert named(triage)[:1] == [wanted], (message, named(triage))


def test_long_logs_wrapped_throughout_at_one_width() -> None:
    text = "".join(fold(f"{FILLER.strip()} {n} {FILLER.strip()}", 80) + "\n" for n in range(2000))
    middle = text.index("\n", len(text) // 2) + 1
    triage = triage_of(text[:middle] + fold(ORT, 80) + "\n" + text[middle:])
    assert named(triage)[:1] == ["CUDNN-MISSING"]


@pytest.mark.parametrize("before", [0, 1, 5000])
def test_the_line_and_the_rank_are_told(before: int) -> None:
    triage = triage_of(FILLER * before + f"[rank5]: {ARCH}\n")
    matched = triage.causes[0].matched
    assert (matched.line, matched.rank, matched.text) == (before + 1, "5", ARCH)
    assert triage.inputs[0].lines == before + 1


def test_how_often_a_cause_is_said() -> None:
    text = "".join(f"step {n} {ARCH} at {n}\n{FILLER}" for n in range(3000))
    triage = triage_of(text)
    assert (triage.causes[0].count, triage.causes[0].matched.line) == (3000, 1)
    assert triage_of(f"{ARCH}\n" * 7).causes[0].count == 7


def test_a_failure_amid_millions_of_like_lines() -> None:
    noise = "".join(f"WARN retry {n}: libfoo cannot open shared object file list\n" for n in range(20_000))
    assert named(triage_of(noise + ORT + "\n" + noise))[:1] == ["CUDNN-MISSING"]


def test_a_line_of_many_megabytes() -> None:
    triage = triage_of("x" * 9_000_000 + f" {ARCH} " + "y" * 9_000_000)
    assert named(triage) == ["ARCH"]
    assert len(triage.causes[0].matched.text) < 500


def test_memory_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "big.log.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(60):
            file.write(FILLER.encode() * 12_000)
        file.write(ARCH.encode())
    scanner = Scanner(signatures(CHECKS))
    (log,) = file_logs(str(path))
    tracemalloc.start()
    scanner.scan(0, log)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60 << 20, peak
    assert {h.signature.check.id for h in scanner.hits.values()} == {"ARCH"}
    assert log.lines == 720_001


def test_two_lines_that_have_nothing_to_do_with_each_other_are_not_joined() -> None:
    checks = [check("X", r"alpha failed[^\n]{0,80}because of beta")]
    text = "INFO a line that is longer than all the others around it, by far, and so shows the width\n"
    assert named(triage_of(f"{text}alpha failed\nnot because of beta\n{text}", checks=checks)) == []
    assert named(triage_of(f"{text}alpha failed, because of beta\n{text}", checks=checks)) == ["X"]


def test_lines_of_other_ranks_do_not_complete_a_message() -> None:
    checks = [check("X", r"alpha failed:\n[^\n]{0,80}because of beta")]
    whole = "[rank0]: alpha failed:\n[rank1]: fine\n[rank0]: because of beta\n[rank1]: fine\n"
    apart = "[rank0]: alpha failed:\n[rank1]: because of beta\n[rank0]: fine\n[rank1]: fine\n"
    assert named(triage_of(whole, checks=checks)) == ["X"]
    assert named(triage_of(apart, checks=checks)) == []


def test_no_bytes_at_all() -> None:
    triage = triage_of("")
    assert (triage.causes, triage.inputs[0].lines) == ((), 0)


def test_a_long_and_a_short_log_give_the_same(tmp_path: Path) -> None:
    for signature in signatures(CHECKS)[:40]:
        literal = signature.needle.literals[0]
        short = triage_of(f"{literal}\n")
        long = triage_of(f"{literal}\n{LONG}")
        assert named(short) == named(long), literal


def test_scanning_twice_adds_up() -> None:
    scanner = Scanner(signatures(CHECKS))
    scanner.scan(0, log_of(ARCH))
    scanner.scan(1, log_of(ARCH))
    assert sorted(h.log for h in scanner.hits.values()) == [0, 1]


def test_several_processes_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BLOCK_BYTES", 100_000)
    monkeypatch.setattr(scanning, "ALONE_BLOCKS", 1)
    text = "".join(f"step {n} {ARCH} at {n}\n{FILLER}" for n in range(3000)) + ORT
    found = []
    for processes in (1, 2):
        scanner = Scanner(signatures(CHECKS), processes=processes)
        scanner.scan(0, log_of(text))
        found.append({k: (h.found.line, h.found.count, h.found.text) for k, h in scanner.hits.items()})
    assert found[0] == found[1] and len(found[0]) >= 2
    assert 3000 in {count for _, count, _ in found[0].values()}
