"""Writes outputs: standard output as bytes, files whole or not at all.

A file is written beside its place and renamed over it. What cannot be renamed over (a file that is mounted by itself, as
Kubernetes does with /dev/termination-log; a file in a folder that we may not write) is written where it lies, after room
for all of it was made sure of. Pipes and devices are written as they are."""

import contextlib
import errno
import os
import stat
import sys
import time
from collections.abc import Iterator

from infra_doctor.errors import OutputError

PIPE_WAIT_S = 10.0  # how long a named pipe may be without a reader
CANNOT_RENAME = frozenset({errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS})
_MAKE_FOLDER = "Make the folder first, or give another path."
_OTHER_PATH = "Give a path that can be written."

# Files that are there only while an output is written: taken away, however the run ends.
_temporaries: set[str] = set()


def remove_temporaries() -> None:
    """Take away what is half written."""
    for path in list(_temporaries):
        with contextlib.suppress(OSError):
            os.unlink(path)


def write_stdout(text: str) -> None:
    """UTF-8 to standard output, whatever the locale says. Raises BrokenPipeError, OutputError."""
    raw = text.encode("utf-8", "backslashreplace")
    try:
        sys.stdout.flush()
        try:
            handle = sys.stdout.fileno()
        except (OSError, ValueError, AttributeError):  # a text in memory
            sys.stdout.buffer.write(raw)
            sys.stdout.buffer.flush()
        else:
            # Not through `sys.stdout.buffer`: under PYTHONUNBUFFERED that writes what fits and says nothing of the rest.
            write_all(handle, raw)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output: {error.strerror}") from error


def write_all(handle: int, raw: bytes) -> None:
    """Every byte, also where the other side has made the pipe one that does not block. Raises OSError."""
    rest = memoryview(raw)
    while rest:
        try:
            rest = rest[os.write(handle, rest) :]
        except BlockingIOError:
            import select

            select.select([], [handle], [])


def refuse_unwritable(path: str, *, append: bool = False) -> None:
    """Raise the OutputError that writing this file would end with, as far as that can be known without making anything."""
    with _told(path):
        if not path:
            raise OSError(errno.ENOENT, "an empty file name")
        try:
            found = os.stat(path)
        except FileNotFoundError:
            _folder_takes_files(os.path.dirname(os.path.realpath(path)))
            return
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not append or stat.S_ISREG(found.st_mode):
            _permitted(path, os.W_OK)


def write_file(path: str, data: str | bytes) -> None:
    """Write a file whole or not at all. Raises OutputError."""
    raw = data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data
    refuse_unwritable(path)
    with _told(path):
        real = os.path.realpath(path)
        try:
            found = os.stat(path)  # not of `real`: /dev/fd/63 is a link to what has no path
        except FileNotFoundError:
            _write_beside(real, raw, None)
            return
        if not stat.S_ISREG(found.st_mode):
            _write_special(path, raw)
            return
        try:
            _write_beside(real, raw, found)
        except OSError as error:
            if error.errno not in CANNOT_RENAME:
                raise
            _write_in_place(real, raw)


def append_file(path: str, text: str) -> None:
    """Add to a file that other programs write too, in one write. Raises OutputError."""
    raw = text.encode("utf-8", "backslashreplace")
    refuse_unwritable(path, append=True)
    with _told(path):
        if os.path.exists(path) and not os.path.isfile(path):
            _write_special(path, raw)
            return
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            size = os.fstat(handle).st_size
            if os.write(handle, raw) != len(raw):
                os.ftruncate(handle, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(handle)


# -- the ways of writing ------------------------------------------------------------------------------------------


def _write_beside(real: str, raw: bytes, old: os.stat_result | None) -> None:
    """A temporary neighbour that is renamed. It is known by name before it is there, so that no signal can miss it."""
    folder, name = os.path.split(real)
    temporary = os.path.join(folder, f".{name[:40]}.{os.urandom(6).hex()}.tmp")
    _temporaries.add(temporary)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        handle = os.open(temporary, flags, 0o666 if old is None else 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            if old is not None:
                with contextlib.suppress(OSError):  # only root can give a file to its old owner
                    os.fchown(handle, old.st_uid, old.st_gid)
                os.fchmod(handle, stat.S_IMODE(old.st_mode))
        os.replace(temporary, real)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        _temporaries.discard(temporary)


def _write_in_place(real: str, raw: bytes) -> None:
    """Over the old content, once there is room for all of it."""
    handle = os.open(real, os.O_WRONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(handle).st_size
        if len(raw) > size:
            try:
                os.posix_fallocate(handle, 0, len(raw))
            except OSError as error:
                if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
                    os.ftruncate(handle, size)
                    raise
        write_all(handle, raw)
        os.ftruncate(handle, len(raw))
    finally:
        os.close(handle)


def _write_special(path: str, raw: bytes) -> None:
    """A pipe or a device cannot be renamed over. A pipe that nobody reads must not hold us for ever."""
    end = time.monotonic() + PIPE_WAIT_S
    while True:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
            break
        except OSError as error:
            if error.errno != errno.ENXIO or not stat.S_ISFIFO(os.stat(path).st_mode):
                raise
            if time.monotonic() >= end:
                raise OSError(errno.ENXIO, f"nobody reads this pipe ({PIPE_WAIT_S:g} s waited)") from error
        time.sleep(0.05)
    try:
        os.set_blocking(handle, True)
        write_all(handle, raw)
    finally:
        os.close(handle)


# -- what stands against it ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def _told(path: str) -> Iterator[None]:
    """Every OSError as the OutputError of this path."""
    try:
        yield
    except OSError as error:
        help_text = "Give the name of a file." if error.errno == errno.EISDIR or not path else _OTHER_PATH
        if error.errno in {errno.ENOENT, errno.ENOTDIR} and path:
            help_text = _MAKE_FOLDER
        where = f"{path}: " if path else ""
        raise OutputError(f"{where}{error.strerror}", help=help_text) from error


def _folder_takes_files(folder: str) -> None:
    if not stat.S_ISDIR(os.stat(folder).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    _permitted(folder, os.W_OK | os.X_OK)


def _permitted(path: str, mode: int) -> None:
    if not os.access(path, mode):
        read_only = os.statvfs(path).f_flag & os.ST_RDONLY
        code = errno.EROFS if read_only else errno.EACCES
        raise OSError(code, os.strerror(code))
