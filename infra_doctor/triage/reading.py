"""Logs as blocks of bytes, with a little of the neighbouring blocks around each, whatever the input is.

Input is hostile: a line without end, zero bytes, a packed bomb, a pipe that nobody writes to. Memory is bounded by the
block; a file that is no text is refused by one clear error."""

import codecs
import gzip
import io
import os
import re
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from infra_doctor.errors import InputError

BLOCK_BYTES, PIECE_BYTES = 4 << 20, 64 << 10
CONTEXT_BYTES = 32 << 10  # what a block shows of its neighbours
LINE_END_BYTES = 64 << 10  # how far a block is read on to end with a line
UNPACKED_CAP_BYTES = 8 << 30
FOLDER_DEPTH, FOLDER_FILES = 8, 4096
STDIN = "standard input"

# Terminal control: colours and cursor, titles and links; also as JSON, syslog and `cat -v` write the escape character.
_CONTROL = re.compile(
    rb"(?:\x1b|\\u001[bB]|\\x1[bB]|\\033|#033|\^\[)\[[0-9;:?<>=]{0,32}[ -/]{0,4}[@-~]"
    rb"|\x1b\][^\x07\x1b\n]{0,2048}(?:\x07|\x1b\\)|\x1b[()][0-9A-B]|\x1b[=>78cDEHM]"
)
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_MAGIC = {
    b"\x7fELF": "a program or library", b"PK\x03\x04": "a zip archive", b"\xfd7zXZ": "packed with xz",
    b"\x28\xb5\x2f\xfd": "packed with zstd", b"BZh": "packed with bzip2", b"\x89PNG": "an image",
    b"SQLite format 3": "a database", b"%PDF": "a PDF document",
}  # fmt: skip
_OTHER_THAN_TEXT = bytes(set(range(32)) - set(b"\t\n\r\b\f\x1b\0")) + b"\x7f"
TEXT_SAMPLE_BYTES = 64 << 10


@dataclass(frozen=True, kw_only=True)
class Block:
    """A piece of a log. Only `[own_start, own_end)` of `data` is this block's; the rest is context. `whole` says that the
    log is no longer than this."""

    data: bytes
    first_line: int
    own_start: int
    own_end: int
    whole: bool


@dataclass(kw_only=True)
class Log:
    """One log to read, and what is known of it after reading. `name` is as it was given; `path` None: `stream`."""

    name: str
    path: str | None = None
    stream: BinaryIO | None = None
    lines: int = 0
    size_bytes: int = 0
    note: str = ""


def text_log(text: str) -> Log:
    """An error text given as words."""
    return Log(name="text", stream=io.BytesIO(text.encode("utf-8", "surrogateescape")))


def stdin_log() -> Log:
    """Standard input."""
    return Log(name=STDIN, stream=sys.stdin.buffer)


def file_logs(path: str) -> list[Log]:
    """A file, or the files of a folder of rank logs. Raises InputError for what cannot be a log."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if stat.S_ISDIR(mode):
        files = list(_files_of(path))
        if not files:
            raise InputError(f"{path}: no file in this folder")
        return [Log(name=file, path=file) for file in files[:FOLDER_FILES]]
    # A shell's `<(command)` is a pipe with a writer; of any other pipe nobody knows whether one will ever come.
    if not stat.S_ISREG(mode) and not (stat.S_ISFIFO(mode) and path.startswith(("/dev/fd/", "/proc/self/fd/"))):
        raise InputError(
            f"{path}: not a regular file", help="Pass its text by standard input: `… | infra-doctor triage -`."
        )
    return [Log(name=path, path=path)]


def _files_of(folder: str, depth: int = 0) -> Iterator[str]:
    """Regular files below a folder, in order; links to folders are not followed."""
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda e: _natural(e.name))
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                if depth < FOLDER_DEPTH:
                    yield from _files_of(entry.path, depth + 1)
            elif entry.is_file():
                yield entry.path
        except OSError:
            continue


def _natural(name: str) -> list[tuple[int, str]]:
    """`rank2` before `rank10`."""
    return [(int(part), "") if part.isdigit() and len(part) < 19 else (-1, part) for part in re.split(r"(\d+)", name)]


def blocks(log: Log) -> Iterator[Block]:
    """The blocks of a log; counts its lines and bytes on the way. Raises InputError for what cannot be read."""
    with _opened(log) as stream:
        carry, own_start, first_line, first = b"", 0, 1, True
        chunk = _next(log, stream)
        while chunk:
            upcoming = _next(log, stream)
            data = carry + chunk
            own_end = _border(data, own_start) if upcoming else len(data)
            whole = first and not upcoming
            yield Block(data=data, first_line=first_line, own_start=own_start, own_end=own_end, whole=whole)
            start = max(0, own_end - CONTEXT_BYTES)
            start = max(start, data.find(b"\n", start, own_end) + 1) if start else 0
            first_line += data.count(b"\n", 0, start)
            carry, own_start, first = data[start:], own_end - start, False
            chunk = upcoming
        log.lines = first_line - 1 + carry.count(b"\n") + (bool(carry) and not carry.endswith(b"\n"))


def _border(data: bytes, own_start: int) -> int:
    """Where this block's own part ends: after a line, with context behind it."""
    latest = max(own_start, len(data) - CONTEXT_BYTES)
    return data.rfind(b"\n", own_start, latest) + 1 or latest


def _next(log: Log, stream: BinaryIO) -> bytes:
    """The next chunk, cleaned, ending with a line where lines end; empty at the end."""
    while True:
        chunk = _read(log, stream)
        if not chunk:
            return b""
        if not log.size_bytes:
            _refuse_what_is_no_text(log.name, chunk)
        log.size_bytes += len(chunk)
        if log.size_bytes > UNPACKED_CAP_BYTES:
            cap = f"{log.name}: more than {UNPACKED_CAP_BYTES >> 30} GiB of text"
            raise InputError(cap, help="Give the part around the failure.")
        if b"\0" in chunk:  # a log that was cut while it was written begins with a hole of them
            chunk = chunk.replace(b"\0", b"")
        if b"\x1b" in chunk or b"[0m" in chunk:
            chunk = _CONTROL.sub(b"", chunk)
        if chunk:
            return chunk


def _read(log: Log, stream: BinaryIO) -> bytes:
    """Up to a block of bytes. What came before the place where a file is damaged is kept, with a note."""
    if log.note:
        return b""
    pieces: list[bytes] = []
    try:
        while len(pieces) * PIECE_BYTES < BLOCK_BYTES and (piece := stream.read(PIECE_BYTES)):
            pieces.append(piece)
        if pieces and not pieces[-1].endswith(b"\n"):
            pieces.append(stream.readline(LINE_END_BYTES))
    except (OSError, EOFError, zlib.error, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if not pieces and not log.size_bytes:
            raise InputError(f"{log.name}: {reason}") from error
        log.note = f"read only up to here: {reason}"
    return b"".join(pieces)


def _refuse_what_is_no_text(name: str, chunk: bytes) -> None:
    """Raises InputError where the first bytes are those of something else."""
    kind = next((what for magic, what in _MAGIC.items() if chunk.startswith(magic)), None)
    if kind is not None:
        raise InputError(f"{name}: no text, but {kind}", help="Give the log as text, or packed with gzip.")
    sample = chunk[:TEXT_SAMPLE_BYTES].replace(b"\0", b"")
    if len(sample) - len(sample.translate(None, _OTHER_THAN_TEXT)) > len(sample) // 20:
        raise InputError(f"{name}: binary, no text", help="Give the log as text, or packed with gzip.")


@contextmanager
def _opened(log: Log) -> Iterator[BinaryIO]:
    """The log's bytes: unpacked where gzip packed them, as UTF-8 where they are UTF-16."""
    if log.path is None:
        assert log.stream is not None  # noqa: S101  one of both is set
        yield _decoded(log.stream)
        return
    try:
        # A pipe is put in the file's place between the look and the opening: then nothing is waited for.
        handle = os.open(log.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(handle, True)
    except OSError as error:
        raise InputError(f"{log.name}: {error.strerror}") from error
    with open(handle, "rb", buffering=1 << 20) as file:
        yield _decoded(file)


def _decoded(file: Any, *, packed: bool = False) -> Any:
    """The bytes of the text in the file. What is packed twice stays packed: such files can unpack for ever."""
    buffered = file if hasattr(file, "peek") else io.BufferedReader(file)
    try:
        head = buffered.peek(2)[:2]
    except (OSError, EOFError, zlib.error):  # said where it is read
        head = b""
    if head == b"\x1f\x8b" and not packed:
        return _decoded(gzip.GzipFile(fileobj=buffered, mode="rb"), packed=True)
    return _Utf8(buffered, _UTF16[head]) if head in _UTF16 else buffered


class _Utf8:
    """A UTF-16 log, as PowerShell and some editors write it, as UTF-8."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")

    def read(self, size: int) -> bytes:
        while raw := self._file.read(size):
            if text := self._decoder.decode(raw).replace("\ufeff", ""):
                return text.encode("utf-8", "replace")
        return b""

    def readline(self, size: int) -> bytes:
        """Lines end where they end: the next chunk goes on."""
        return b""
