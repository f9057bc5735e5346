"""Where a policy stands, and its text: `infra-doctor.toml`, or `[tool.infra-doctor]` of a pyproject.toml."""

import os
import re
import stat
import tomllib
from typing import Any

from infra_doctor.errors import InputError
from infra_doctor.policy.places import Path, TooDeepError, key_lines

FILE_NAME, PYPROJECT, TABLE = "infra-doctor.toml", "pyproject.toml", ("tool", "infra-doctor")
SIZE_CAP_BYTES = 1 << 20
# A header that speaks of us, in a file that may be broken elsewhere.
_OURS = re.compile(
    rb"""^[ \t]*\[[ \t]*(?:tool|"tool"|'tool')[ \t]*\.[ \t]*["']?infra-doctor["']?[ \t]*[.\]]""", re.MULTILINE
)
_TWICE = "A key stands once; one that starts others too is written as torch.version beside torch.cuda."
_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def discover(folder: str) -> str | None:
    """The policy that holds for a folder: the nearest of it and its parents, up to the repository's root (the folder with
    `.git`) or, outside of one, the folder alone. In one folder `infra-doctor.toml` wins."""
    folders = [os.path.abspath(folder)]
    while not os.path.exists(os.path.join(folders[-1], ".git")):
        parent = os.path.dirname(folders[-1])
        if parent == folders[-1]:
            folders = folders[:1]
            break
        folders.append(parent)
    for place in folders:
        own, project = os.path.join(place, FILE_NAME), os.path.join(place, PYPROJECT)
        if os.path.lexists(own):  # broken or unreadable, it is an error: a gate must not open by itself
            return os.path.relpath(own, folder)
        if os.path.isfile(project) and has_table(project):
            return os.path.relpath(project, folder)
    return None


def has_table(path: str) -> bool:
    """Whether a pyproject.toml speaks of us. One that cannot be read, and shows no sign of us, is other tools' matter."""
    try:
        with open(path, "rb") as file:
            raw = file.read(SIZE_CAP_BYTES)
    except OSError:
        return False
    if b"infra-doctor" not in raw:
        return False
    try:
        return TABLE[1] in tables(raw.decode("utf-8-sig"), path)[0].get(TABLE[0], {})
    except (InputError, UnicodeDecodeError, TypeError):
        return _OURS.search(raw) is not None


def read_text(path: str) -> str:
    """The file's text. Raises InputError with the reason."""
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
            raise InputError(f"{path}: {what}", help="Give the name of a policy file.")
        with open(path, "rb") as file:
            raw = file.read(SIZE_CAP_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = error.strerror if isinstance(error, OSError) else str(error)
        missing = isinstance(error, FileNotFoundError)
        raise InputError(
            f"{path}: {reason}", help=f"`infra-doctor policy init -o {FILE_NAME}` writes one." if missing else ""
        ) from error
    if len(raw) > SIZE_CAP_BYTES:
        raise InputError(f"{path}: larger than {SIZE_CAP_BYTES >> 20} MiB", help="A policy is a page of text.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not UTF-8 (byte {error.start})", help="Save the file as UTF-8.") from error


def tables(text: str, path: str) -> tuple[dict[str, Any], dict[Path, int]]:
    """The document, and the lines of its keys. Raises InputError with the line where it is no TOML."""
    text = text.replace("\r\n", "\n")
    try:
        lines = key_lines(text)
        return tomllib.loads(text), lines
    except TooDeepError as error:
        raise InputError(f"{path}:{error.line}: a key of too many parts") from error
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = _TOML_PLACE.search(message)
        if place is None:
            raise InputError(f"{path}: not TOML: {message}") from error
        line = int(place.group(1) or text.rstrip("\n").count("\n") + 1)
        column = f" (column {place.group(2)})" if place.group(2) else " (the end of the file)"
        help_text = _TWICE if message.startswith("Cannot ") else ""
        raise InputError(f"{path}:{line}: not TOML: {message[: place.start()]}{column}", help=help_text) from error
    except RecursionError as error:
        raise InputError(f"{path}: too deeply nested") from error
    except ValueError as error:  # Python reads no whole number of more than 4,300 digits
        raise InputError(f"{path}: holds a number of thousands of digits") from error


def document(text: str, path: str, *, project: bool) -> tuple[dict[str, Any], dict[Path, int]]:
    """The policy's own tables and their lines; `project`: those of [tool.infra-doctor]. Raises InputError."""
    found, lines = tables(text, path)
    if not project:
        if isinstance(tool := found.get(TABLE[0]), dict) and TABLE[1] in tool:
            raise InputError(
                f"{path}:{lines.get(TABLE, 1)}: [tool.infra-doctor] is for {PYPROJECT}",
                help="In a file of its own a policy's tables stand at the top: [require], [[waivers]] ...",
            )
        return found, lines
    inner: Any = found
    for name in TABLE:
        inner = inner.get(name) if isinstance(inner, dict) else None
    if not isinstance(inner, dict):
        raise InputError(
            f"{path}: has no table [tool.infra-doctor]",
            help=f"`infra-doctor policy init -o {FILE_NAME}` writes a policy.",
        )
    return inner, {key[len(TABLE) :]: line for key, line in lines.items() if key[: len(TABLE)] == TABLE}
