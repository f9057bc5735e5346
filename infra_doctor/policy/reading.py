"""Reads a policy: `infra-doctor.toml`, `[tool.infra-doctor]` of a pyproject.toml, and the command line's `--require`.

Strict: an unknown key, id, preset or unit is an error that names the file, the line and the nearest valid name."""

import fnmatch
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from infra_doctor.errors import InputError, UsageError
from infra_doctor.model.finding import Severity, Status
from infra_doctor.model.plugins import PolicyKey, Preset
from infra_doctor.model.policy import FAIL_ON, Override, Place, Policy, Requirement, Spec, Threshold, WaiverRule
from infra_doctor.model.record import record
from infra_doctor.policy.specs import SpecError, nearest, read_spec, read_threshold, shown

FILE_NAME, PYPROJECT, TABLE = "infra-doctor.toml", "pyproject.toml", "tool.infra-doctor"
SIZE_CAP_BYTES = 1 << 20
STATUSES = (Status.FAIL, Status.WARN)
SECTIONS = (
    "require",
    "measure",
    "severity",
    "status",
    "waivers",
    "preset",
    "only",
    "skip",
    "fail-on",
    "lenient",
    "timeout",
)
_COMMAND_LINE = re.compile(r"\s*([A-Za-z0-9_][\w.+/-]*?)\s*(?:(===|==|!=|>=|<=|~=|>|<|=)(.*))?", re.DOTALL)


@record
class Known:
    """What a policy may name: the keys, the presets, the finding ids (checks and the core's own)."""

    keys: tuple[PolicyKey, ...]
    presets: tuple[Preset, ...]
    ids: tuple[str, ...]


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
        if os.path.isfile(own):
            return os.path.relpath(own, folder)
        if os.path.isfile(project) and _has_table(project):
            return os.path.relpath(project, folder)
    return None


def _has_table(path: str) -> bool:
    """Whether a pyproject.toml speaks of us. One that cannot be read is another tool's matter, unless it is named."""
    try:
        text = _text(path)
        return "infra-doctor" in text and "infra-doctor" in tomllib.loads(text).get("tool", {})
    except (InputError, tomllib.TOMLDecodeError, RecursionError, AttributeError, TypeError):
        return False


def read_policy(path: str, known: Known) -> Policy:
    """The policy of a file. Raises InputError with file, line and the way out."""
    text = _text(path)
    try:
        document: Any = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not TOML: {error}") from error
    prefix = ""
    if os.path.basename(path) == PYPROJECT:
        tools = document.get("tool")
        document = tools.get("infra-doctor") if isinstance(tools, dict) else None
        prefix = TABLE
        if not isinstance(document, dict):
            raise InputError(f"{path}: has no table [{TABLE}]", help="`infra-doctor policy init` writes a policy.")
    return _Reader(path, _lines(text, prefix), known).policy(document)


def read_requirement(text: str, keys: Sequence[PolicyKey]) -> Requirement:
    """One `--require`: KEY, KEY=SPEC or KEY and a range (`driver>=580`). Raises UsageError."""
    found = _COMMAND_LINE.fullmatch(text)
    if found is None:
        raise UsageError(
            f"--require {shown(text)}: KEY, KEY=VALUE or KEY>=VERSION is wanted",
            help=way_out("", [k.key for k in keys], "Keys"),
        )
    name, operator, right = found.group(1), found.group(2), (found.group(3) or "").strip()
    place = Place(source="--require")
    key = key_named(name, keys)
    if key is None:
        help_text = way_out(name, [k.key for k in keys], "Keys")
        raise UsageError(f"--require {shown(text)}: no such key: {name[:60]}", help=help_text)
    if operator is not None and not right:
        raise UsageError(f"--require {shown(text)}: nothing stands after {operator}")
    value = True if operator is None else right if operator == "=" else operator + right
    try:
        return Requirement(key=name, spec=read_spec(key.kind, value), place=place)
    except SpecError as error:
        raise UsageError(f"--require {name}: {error}", help=f"An example: {name} = {key.example}") from error


def key_named(name: str, keys: Iterable[PolicyKey]) -> PolicyKey | None:
    """The plug-in's key for a policy's name; "package.vllm" is one of "package.*"."""
    for key in keys:
        if key.key == name or (key.key.endswith(".*") and name.startswith(key.key[:-1]) and len(name) >= len(key.key)):
            return key
    return None


def merged(policy: Policy | None, requirements: Sequence[Requirement]) -> Policy | None:
    """The file's policy with the command line's requirements: these replace what the file says of the same key."""
    if not requirements:
        return policy
    base = policy or Policy()
    named = {r.key for r in requirements}
    kept = tuple(r for r in base.requirements if r.key not in named)
    return replace(base, requirements=(*kept, *requirements))


def way_out(word: str, known: Sequence[str], what: str) -> str:
    """The nearest of the known names, or all of them."""
    near = nearest(word, known)
    return f"Nearest: {near}." if near else f"{what}: {', '.join(known)}."


def _text(path: str) -> str:
    try:
        if not os.path.isfile(path):
            raise InputError(f"{path}: {'not a regular file' if os.path.exists(path) else 'no such file'}")
        with open(path, "rb") as file:
            raw = file.read(SIZE_CAP_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    if len(raw) > SIZE_CAP_BYTES:
        raise InputError(f"{path}: larger than {SIZE_CAP_BYTES >> 20} MiB")
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.start})") from error


# -- where things stand -------------------------------------------------------------------------------------------

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"\s*((?:[\w-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[\w-]+|\"[^\"]*\"|'[^']*'))*)\s*=")
_PART = re.compile(r"[\w-]+|\"[^\"]*\"|'[^']*'")


def _lines(text: str, prefix: str) -> dict[tuple[str, ...], int]:
    """The line of each key path, for messages: tomllib tells none. The n-th table of an array is ("waivers", "#0"). A path
    that stands in a form not understood here has no line, which costs a message its number."""
    skip = tuple(prefix.split(".")) if prefix else ()
    where: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    counts: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if (header := _HEADER.fullmatch(line)) is not None:
            table = _path(header.group(2))
            if header.group(1) == "[[":
                place = counts.get(table, 0)
                counts[table] = place + 1
                table = (*table, f"#{place}")
            path = table
        elif (key := _KEY.match(line)) is not None:
            path = (*table, *_path(key.group(1)))
        else:
            continue
        if path[: len(skip)] == skip:
            for end in range(len(skip) + 1, len(path) + 1):
                where.setdefault(path[len(skip) : end], number)
    return where


def _path(text: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PART.findall(text))


# -- the document -------------------------------------------------------------------------------------------------


class _Reader:
    """Reads one document; every error names the file and, where it is known, the line."""

    def __init__(self, path: str, lines: Mapping[tuple[str, ...], int], known: Known) -> None:
        self.path, self.lines, self.known = path, lines, known
        self.ids = {i.casefold(): i for i in known.ids}

    def place(self, *keys: str) -> Place:
        """Where this key stands, or the nearest table around it."""
        for end in range(len(keys), 0, -1):
            if keys[:end] in self.lines:
                return Place(source=self.path, line=self.lines[keys[:end]])
        return Place(source=self.path)

    def wrong(self, keys: tuple[str, ...], message: str, help_text: str = "") -> InputError:
        """The error for a key."""
        return InputError(f"{self.place(*keys)}: {message}", help=help_text)

    def policy(self, document: Mapping[str, Any]) -> Policy:
        """The whole policy."""
        for name in document:
            if name not in SECTIONS:
                keys = [k.key for k in self.known.keys]
                if key_named(name, self.known.keys) or any(k.startswith(f"{name}.") for k in keys):
                    raise self.wrong((name,), f"{name}: belongs under [require]")
                raise self.wrong((name,), f"no such key: {shown(name)}", way_out(name, SECTIONS, "Keys"))
        return Policy(
            sources=(self.path,),
            requirements=tuple(self.requirements(self.table(document, "require"), ())),
            thresholds=tuple(self.thresholds(self.table(document, "measure"))),
            severities={i: Override(place=p, severity=Severity(v))
                        for i, v, p in self.overrides(document, "severity", list(Severity))},
            statuses={i: Override(place=p, status=Status(v)) for i, v, p in self.overrides(document, "status", STATUSES)},
            waivers=tuple(self.waivers(document)),
            only=self.names_of_checks(document, "only"),
            skip=self.names_of_checks(document, "skip"),
            presets=self.presets(document),
            fail_on=self.choice(document, "fail-on", FAIL_ON),
            lenient=self.flag(document, "lenient"),
            timeout_s=self.seconds(document, "timeout"),
        )  # fmt: skip

    def table(self, document: Mapping[str, Any], name: str) -> dict[str, Any]:
        """A table, empty where it is not there."""
        found = document.get(name, {})
        if not isinstance(found, dict):
            raise self.wrong((name,), f"{name}: a table is wanted: [{name}]")
        return found

    def requirements(self, table: Mapping[str, Any], above: tuple[str, ...]) -> Iterable[Requirement]:
        """The lines of [require], nested tables flattened: gpu.count = 8 and [require.gpu] count = 8 are the same."""
        for name, value in table.items():
            path = (*above, name)
            key_name, place = ".".join(path), ("require", *path)
            key = key_named(key_name, self.known.keys)
            if isinstance(value, dict):
                # A key may be a thing and the start of others: torch = true beside torch.cuda is not TOML, so
                # torch = {version = ">=2.8", cuda = ">=13"} says both.
                inner = dict(value)
                if key is not None and "version" in inner and key_named(f"{key_name}.version", self.known.keys) is None:
                    yield self.requirement(key, key_name, inner.pop("version"), (*place, "version"))
                yield from self.requirements(inner, path)
            elif key is None:
                names = [k.key for k in self.known.keys]
                raise self.wrong(place, f"no such requirement: {shown(key_name)}", way_out(key_name, names, "Keys"))
            else:
                yield self.requirement(key, key_name, value, place)

    def requirement(self, key: PolicyKey, name: str, value: object, place: tuple[str, ...]) -> Requirement:
        """One line."""
        try:
            spec: Spec = read_spec(key.kind, value)
        except SpecError as error:
            raise self.wrong(place, f"{name}: {error}", f"An example: {name} = {key.example}") from error
        return Requirement(key=name, spec=spec, place=self.place(*place))

    def thresholds(self, table: Mapping[str, Any]) -> Iterable[Threshold]:
        """The lines of [measure]: "gemm bf16*" = ">=70%"; [measure.gemm] "bf16*" = ">=70%"."""
        for name, value in table.items():
            pairs: list[tuple[str, Any, tuple[str, ...]]] = [(name, value, (name,))]
            if isinstance(value, dict):
                pairs = [(f"{name} {n}", v, (name, n)) for n, v in value.items()]
            for pattern, bound, keys in pairs:
                try:
                    unit, clauses = read_threshold(bound)
                    fnmatch.translate(pattern)
                except SpecError as error:
                    raise self.wrong(("measure", *keys), f"{pattern}: {error}") from error
                yield Threshold(
                    pattern=pattern, unit=unit, text=bound, clauses=clauses, place=self.place("measure", *keys)
                )

    def overrides(
        self, document: Mapping[str, Any], name: str, words: Sequence[str]
    ) -> Iterable[tuple[str, str, Place]]:
        """The lines of [severity] or [status]."""
        for written, value in self.table(document, name).items():
            finding_id = self.finding_id(written, (name, written))
            if not isinstance(value, str) or value not in list(words):
                raise self.wrong(
                    (name, written), f"{written}: no such {name}: {shown(value)}", f"One of: {', '.join(words)}."
                )
            yield finding_id, value, self.place(name, written)

    def finding_id(self, written: object, keys: tuple[str, ...]) -> str:
        """The id as it is spelt. Raises InputError with the nearest."""
        if not isinstance(written, str):
            raise self.wrong(keys, f"{shown(written)}: a finding id is wanted")
        found = self.ids.get(written.casefold())
        if found is None:
            near = nearest(written, self.known.ids)
            help_text = f"Nearest: {near}." if near else "`infra-doctor list checks` names them all."
            raise self.wrong(keys, f"no such finding id: {shown(written)}", help_text)
        return found

    def waivers(self, document: Mapping[str, Any]) -> Iterable[WaiverRule]:
        """[[waivers]]: id, until and reason, all needed; subject where it is for one thing only."""
        listed = document.get("waivers", [])
        if not isinstance(listed, list):
            raise self.wrong(("waivers",), "waivers: a list of tables is wanted: [[waivers]]")
        for number, item in enumerate(listed):
            keys = ("waivers", f"#{number}")
            if not isinstance(item, dict):
                raise self.wrong(keys, "waivers: a list of tables is wanted: [[waivers]]")
            wanted = ("id", "until", "reason", "subject")
            for name in item:
                if name not in wanted:
                    raise self.wrong(
                        (*keys, name), f"no such key of a waiver: {shown(name)}", way_out(name, wanted, "Keys")
                    )
            missing = [n for n in wanted[:3] if n not in item]
            if missing:
                raise self.wrong(
                    keys, f"a waiver needs {', '.join(missing)}", 'until = 2026-12-31, reason = "why this may be".'
                )
            for name in ("reason", "subject"):
                if name in item and (not isinstance(item[name], str) or not item[name].strip()):
                    raise self.wrong((*keys, name), f"{name}: a text is wanted")
            yield WaiverRule(
                id=self.finding_id(item["id"], (*keys, "id")),
                until=self.day(item["until"], (*keys, "until")),
                reason=item["reason"].strip(),
                subject=item.get("subject"),
                place=self.place(*keys, "id"),
            )

    def day(self, value: object, keys: tuple[str, ...]) -> str:
        """A date, as TOML's own or as a text."""
        if isinstance(value, str):
            try:
                value = date.fromisoformat(value.strip())
            except ValueError:
                pass
        if not isinstance(value, date) or isinstance(value, datetime):
            raise self.wrong(keys, f"until: {shown(value)} is no date", "Write it as 2026-12-31.")
        return value.isoformat()

    def names_of_checks(self, document: Mapping[str, Any], name: str) -> tuple[str, ...]:
        """`only` and `skip`: lists of finding ids."""
        return tuple(self.finding_id(v, (name,)) for v in self.texts(document, name))

    def presets(self, document: Mapping[str, Any]) -> tuple[str, ...]:
        """`preset`: one name or several."""
        names = [p.name for p in self.known.presets]
        for written in (found := self.texts(document, "preset")):
            if written not in names:
                raise self.wrong(("preset",), f"no such preset: {shown(written)}", way_out(written, names, "Presets"))
        return tuple(found)

    def texts(self, document: Mapping[str, Any], name: str) -> list[str]:
        """A text, or a list of texts."""
        value = document.get(name, [])
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list) or not all(isinstance(v, str) for v in listed):
            raise self.wrong((name,), f"{name}: a list of names is wanted")
        return listed

    def choice(self, document: Mapping[str, Any], name: str, words: Sequence[str]) -> str | None:
        """One of these words."""
        value = document.get(name)
        if value is not None and value not in words:
            raise self.wrong((name,), f"{name}: {shown(value)} is none of {', '.join(words)}")
        return value

    def flag(self, document: Mapping[str, Any], name: str) -> bool | None:
        """true or false."""
        value = document.get(name)
        if value is not None and not isinstance(value, bool):
            raise self.wrong((name,), f"{name}: true or false is wanted")
        return value

    def seconds(self, document: Mapping[str, Any], name: str) -> float | None:
        """A number of seconds above 0."""
        value = document.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
            raise self.wrong((name,), f"{name}: a number of seconds above 0 is wanted")
        return float(value)
