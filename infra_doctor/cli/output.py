"""Writes outputs: standard output as bytes, files atomically."""

import contextlib
import errno
import os
import stat
import sys

from infra_doctor.errors import OutputError


def write_stdout(text: str) -> None:
    """UTF-8 to standard output, whatever the locale says. Raises BrokenPipeError, OutputError."""
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output: {error.strerror}") from error


def write_file(path: str, data: str | bytes) -> None:
    """Write a file whole or not at all: a temporary neighbour that is renamed. Raises OutputError."""
    import tempfile  # 5 ms, which a run without files need not pay

    raw = data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data
    if not path or os.path.isdir(path):
        raise OutputError(f"{path}: is a directory" if path else "an empty file name", help="Give the name of a file.")
    if os.path.exists(path) and not os.path.isfile(path):
        _write_special(path, raw)
        return
    temporary = ""
    try:
        real = os.path.realpath(path)
        mode = 0o666 & ~_umask()
        if os.path.exists(real):
            mode = stat.S_IMODE(os.stat(real).st_mode)
            if not os.access(real, os.W_OK):  # it could be renamed over, against the will of whoever protected it
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        handle, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)[:40]}.", dir=os.path.dirname(real))
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
        os.chmod(temporary, mode)
        os.replace(temporary, real)
        temporary = ""
    except OSError as error:
        help_text = (
            "Make the folder first, or give another path." if error.errno == 2 else "Give a path that can be written."
        )
        raise OutputError(f"{path}: {error.strerror}", help=help_text) from error
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def append_file(path: str, text: str) -> None:
    """Add to a file that other programs write too, in one write. Raises OutputError."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with os.fdopen(handle, "ab", buffering=0) as file:
            raw = text.encode("utf-8", "backslashreplace")
            size = file.seek(0, os.SEEK_END) if file.seekable() else None
            if file.write(raw) != len(raw):
                if size is not None:
                    file.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}", help="Give a path that can be written.") from error


def _write_special(path: str, raw: bytes) -> None:
    """A pipe or a device, as in `--html /dev/stdout`, cannot be renamed over."""
    try:
        with open(path, "wb") as file:
            file.write(raw)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
