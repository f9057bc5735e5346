"""JSON in and out. Decoding is strict about types; unknown fields pass, because a minor version may add some.

What we write may be printed to a terminal or into the log of a CI system: in a string, `#` before another and whatever a
terminal acts on (C1 codes, direction overrides, invisible characters) stand as `\\u0023`, `\\u202e` …, which says the same."""

import json
import re
from typing import Any, TypeVar

import msgspec

from infra_doctor.errors import InputError
from infra_doctor.model.report import SCHEMA_VERSION, Report

T = TypeVar("T")
DOCUMENT_CAP_BYTES = 512 << 20
# DEL, C1, and the characters without a form of their own (Unicode's Default_Ignorable_Code_Point, line separators, bidi).
_UNSEEN = re.compile(
    "[\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f\u205f-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def encode(document: Any, *, indent: int = 2) -> str:
    """A document as JSON text with a closing newline. `indent` 0 gives one line.
    None-valued `run` is left out; keys of mappings are sorted, dataclass fields keep their order."""
    plain = msgspec.to_builtins(document, order="deterministic")
    if isinstance(plain, dict) and plain.get("run", 1) is None:
        del plain["run"]
    try:
        raw = msgspec.json.encode(plain)
    except UnicodeEncodeError:  # a file name that is not UTF-8 came in with half characters, which JSON does not know
        raw = msgspec.json.encode(_whole_characters(plain))
    if indent:
        raw = msgspec.json.format(raw, indent=indent)
    # `##[…]` and `##vso[…]` are commands for GitHub's and Azure's runners, wherever they stand in a line.
    text = raw.replace(b"##", b"#\\u0023").decode("utf-8")
    return (text if text.isascii() and "\x7f" not in text else _UNSEEN.sub(_spelt, text)) + "\n"


def _spelt(match: re.Match[str]) -> str:
    """The character as JSON's own escape (two of them above U+FFFF)."""
    units = match[0].encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _whole_characters(value: Any) -> Any:
    """The value with half characters (from `surrogateescape`) spelt out: `\\udce9`."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_whole_characters(k): _whole_characters(v) for k, v in value.items()}
    return [_whole_characters(v) for v in value] if isinstance(value, list | tuple) else value


def read_document(path: str, kinds: tuple[str, ...]) -> dict[str, Any]:
    """A JSON document of one of these kinds. Raises InputError that names the file and the way out."""
    import gzip
    import stat
    import zlib
    from pathlib import Path

    file = Path(path)
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise InputError(f"{path}: not a regular file")
        if file.stat().st_size > DOCUMENT_CAP_BYTES:
            raise InputError(f"{path}: larger than {DOCUMENT_CAP_BYTES >> 20} MiB")
        raw = file.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            with gzip.open(file) as packed:
                raw = packed.read(DOCUMENT_CAP_BYTES + 1)
            if len(raw) > DOCUMENT_CAP_BYTES:
                raise InputError(f"{path}: larger than {DOCUMENT_CAP_BYTES >> 20} MiB when unpacked")
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: {reason}") from error
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a JSON document ({error})", help=_wanted(kinds)) from error
    if not isinstance(document, dict) or document.get("kind") not in kinds:
        found = document.get("kind") if isinstance(document, dict) else None
        found_text = f"its kind is {json.dumps(found)[:60]}" if found is not None else "it names no kind"
        raise InputError(f"{path}: not a {' or '.join(kinds)} of infra-doctor: {found_text}", help=_wanted(kinds))
    version = str(document.get("schema_version", ""))
    if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise InputError(
            f"{path}: schema version {version[:20]!r} is not one that this infra-doctor reads ({SCHEMA_VERSION})",
            help="Use the infra-doctor version that wrote the file, or write it again with this one.",
        )
    return document


def _wanted(kinds: tuple[str, ...]) -> str:
    ways = {
        "snapshot": "`infra-doctor snapshot FILE` writes a snapshot.",
        "report": "`infra-doctor check --json > FILE` writes a report.",
    }
    return " ".join(ways[k] for k in kinds if k in ways)


def convert(plain: Any, kind: type[T], *, where: str) -> T:
    """Plain JSON as a typed document. Raises InputError with the place of the first wrong value."""
    try:
        return msgspec.convert(plain, kind, strict=True)
    except msgspec.ValidationError as error:
        raise InputError(f"{where}: {error}") from error


def load_report(path: str) -> Report:
    """A saved report. Raises InputError."""
    return convert(read_document(path, ("report",)), Report, where=path)
