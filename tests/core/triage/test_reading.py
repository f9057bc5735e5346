"""Blocks of logs: every byte belongs to one block, memory is bounded, what is no log is refused by one clear error."""

import gzip
import io
import os
import random
from pathlib import Path

import pytest

from infra_doctor.errors import InputError
from infra_doctor.triage import reading
from infra_doctor.triage.reading import Log, blocks, file_logs, text_log
from tests.core.triage.lab import log_of


def content(log: Log) -> bytes:
    return b"".join(b.data[b.own_start : b.own_end] for b in blocks(log))


@pytest.mark.parametrize("seed", range(4))
def test_the_own_parts_of_all_blocks_are_the_log(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BLOCK_BYTES", 4000)
    monkeypatch.setattr(reading, "PIECE_BYTES", 500)
    monkeypatch.setattr(reading, "CONTEXT_BYTES", 700)
    monkeypatch.setattr(reading, "LINE_END_BYTES", 300)
    chance = random.Random(seed)
    text = b"".join(b"x" * chance.choice((0, 5, 60, 3000)) + b"%d\n" % n for n in range(400))
    log = log_of(text)
    line = 1
    whole = b""
    for block in blocks(log):
        before = block.data[: block.own_start]
        assert whole.endswith(before)
        assert block.first_line == 1 + (whole[: len(whole) - len(before)]).count(b"\n")
        whole += block.data[block.own_start : block.own_end]
        assert block.data.startswith(b"") and len(block.data) < 12_000
        line += 1
    assert whole == text and line > 10
    assert (log.lines, log.size_bytes) == (400, len(text))


def test_a_line_without_end_comes_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BLOCK_BYTES", 1 << 17)
    log = log_of(b"y" * 1_000_000)
    sizes = [len(b.data) for b in blocks(log)]
    assert len(sizes) > 3 and max(sizes) < 600_000
    assert (log.lines, log.size_bytes) == (1, 1_000_000)


def test_packed_with_gzip(tmp_path: Path) -> None:
    path = tmp_path / "old.log.gz"
    path.write_bytes(gzip.compress(b"one\ntwo\n"))
    (log,) = file_logs(str(path))
    assert content(log) == b"one\ntwo\n" and log.lines == 2


def test_a_cut_gzip_file_is_read_up_to_the_cut(tmp_path: Path) -> None:
    chance = random.Random(1)
    text = b"".join(b"%030x\n" % chance.getrandbits(100) for _ in range(200_000))
    path = tmp_path / "cut.log.gz"
    path.write_bytes(gzip.compress(text)[:-300_000])
    (log,) = file_logs(str(path))
    assert text.startswith(content(log)) and log.lines > 1000
    assert log.note.startswith("read only up to here")


def test_what_is_no_gzip_inside_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "bad.log.gz"
    path.write_bytes(b"\x1f\x8b\x08\x00garbage")
    with pytest.raises(InputError, match="bad"):
        content(file_logs(str(path))[0])


def test_a_bomb_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "UNPACKED_CAP_BYTES", 1 << 20)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"a" * (30 << 20)))
    with pytest.raises(InputError, match="more than"):
        content(file_logs(str(path))[0])


def test_what_is_packed_twice_is_not_unpacked_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "twice.gz"
    path.write_bytes(gzip.compress(gzip.compress(b"text")))
    with pytest.raises(InputError, match="binary"):
        content(file_logs(str(path))[0])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf16_as_powershell_writes_it(encoding: str) -> None:
    text = "Fehler: ä\r\nline two\r\n"
    raw = (b"\xfe\xff" if encoding.endswith("be") else b"") + text.encode(encoding)
    assert content(log_of(raw)).decode() == text


def test_colours_links_and_titles_are_taken_out() -> None:
    raw = (
        b"\x1b[1;31mError\x1b[0m: \x1b]8;;https://x\x07link\x1b]8;;\x07 \x1b]0;title\x1b\\x"
        b' {"log":"\\u001b[32mgreen\\u001b[0m"} #033[31msyslog#033[0m ^[[1mcat -v^[[0m\n'
    )
    assert content(log_of(raw)) == b'Error: link x {"log":"green"} syslog cat -v\n'


def test_a_hole_of_zero_bytes_is_passed_over() -> None:
    assert content(log_of(b"\0" * 5_000_000 + b"text\n")) == b"text\n"


@pytest.mark.parametrize(
    ("raw", "said"),
    [(b"\x7fELF\x02\x01\x01", "program"), (b"PK\x03\x04aaaa", "zip"), (bytes(range(1, 32)) * 40, "binary")],
)
def test_what_is_no_text_is_refused(raw: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        content(log_of(raw, "thing"))


def test_bytes_that_are_no_utf8_are_text_all_the_same() -> None:
    raw = "错误: device\n".encode("gbk") * 50
    assert content(log_of(raw)) == raw


def test_a_pipe_and_a_device_are_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null"), Path("/dev/zero")):
        with pytest.raises(InputError, match="not a regular file"):
            file_logs(str(path))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        file_logs(str(tmp_path / "nothing"))


def test_a_folder_gives_its_files_in_the_order_of_ranks(tmp_path: Path) -> None:
    for name in ("rank10.log", "rank2.log", "0/stderr.log", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("text\n")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    names = [log.name.removeprefix(f"{tmp_path}/") for log in file_logs(str(tmp_path))]
    assert names == ["0/stderr.log", "rank2.log", "rank10.log"]


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        file_logs(str(tmp_path))


def test_a_text_is_a_log_of_one_line() -> None:
    log = text_log("CUDA error: \udcff")
    assert content(log) == b"CUDA error: \xff" and log.lines == 1
    assert isinstance(log.stream, io.BytesIO)
