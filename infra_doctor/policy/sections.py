"""The tables of a policy's document: what each may hold. Every error names the file, the line and the way out."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from infra_doctor.errors import InputError
from infra_doctor.model.finding import Severity, Status
from infra_doctor.model.plugins import PolicyKey
from infra_doctor.model.policy import FAIL_ON, Override, Place, Policy, Requirement, SpecKind, Threshold, WaiverRule
from infra_doctor.policy.places import Path
from infra_doctor.policy.reading import Known, key_help, key_named, way_out
from infra_doctor.policy.specs import SpecError, nearest, read_spec, read_threshold, shown

STATUSES = (Status.FAIL, Status.WARN)
SECTIONS = (
    "preset", "only", "skip", "fail-on", "lenient", "timeout", "require", "measure", "severity", "status", "waivers",
)  # fmt: skip
WAIVER_KEYS = ("id", "until", "reason", "subject")
VERSION = "version"  # torch = {version = ">=2.8", cuda = ">=13"} says what "torch" is, beside what it is the start of
TEXT_CAP, PATTERN_CAP, DEPTH_CAP = 1000, 200, 8
DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
TIMEOUT_CAP_S = 10**9


def policy_of(document: Mapping[str, Any], lines: Mapping[Path, int], path: str, known: Known) -> Policy:
    """The policy that a document holds. Raises InputError."""
    return _Reader(path, lines, known).policy(document)


class _Reader:
    """Reads one document."""

    def __init__(self, path: str, lines: Mapping[Path, int], known: Known) -> None:
        self.path, self.lines, self.known = path, lines, known

    def place(self, *keys: str | int) -> Place:
        """Where this key stands, or the nearest table around it."""
        for end in range(len(keys), 0, -1):
            if keys[:end] in self.lines:
                return Place(source=self.path, line=self.lines[keys[:end]])
        return Place(source=self.path)

    def wrong(self, keys: Path, message: str, help_text: str = "") -> InputError:
        """The error for a key."""
        return InputError(f"{self.place(*keys)}: {message}", help=help_text)

    def policy(self, document: Mapping[str, Any]) -> Policy:
        """The whole policy."""
        for name in document:
            if name not in SECTIONS:
                if any(k.key.split(".")[0] == name for k in self.known.keys):
                    raise self.wrong((name,), f"{shown(name)}: belongs under [require]")
                raise self.wrong((name,), f"no such key: {shown(name)}", way_out(name, SECTIONS, SECTIONS, "Keys"))
        only, skip = self.checks(document, "only"), self.checks(document, "skip")
        if "only" in document and not only:
            raise self.wrong(("only",), "only: an empty list judges nothing", "Leave it out, and all checks judge.")
        for name, place in self.texts(document, "skip"):
            if name in only:
                raise self.wrong(place, f"{name} is in `only` and in `skip`")
        return Policy(
            sources=(self.path,),
            requirements=self.once(self.requirements(self.table(document, "require"), ())),
            thresholds=tuple(self.thresholds(self.table(document, "measure"))),
            severities={i: Override(place=p, severity=Severity(v))
                        for i, v, p in self.overrides(document, "severity", list(Severity))},
            statuses={i: Override(place=p, status=Status(v)) for i, v, p in self.overrides(document, "status", STATUSES)},
            waivers=tuple(self.waivers(document)),
            only=only,
            skip=skip,
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

    # -- what the machine must be ---------------------------------------------------------------------------------

    def once(self, requirements: Iterable[Requirement]) -> tuple[Requirement, ...]:
        """These, of which none may be said twice: package."ruamel.yaml" is package.ruamel.yaml."""
        seen: dict[str, Requirement] = {}
        for item in requirements:
            other = seen.setdefault(item.key, item)
            if other is not item:
                raise InputError(
                    f"{item.place}: {item.key} stands in line {other.place.line} already", help="Keep one."
                )
        return tuple(seen.values())

    def requirements(self, table: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[Requirement]:
        """The lines of [require]: gpu.count = 8 and [require.gpu] count = 8 are the same."""
        for name, value in table.items():
            path = (*above, name)
            key_name, place = ".".join(path), ("require", *path)
            key = key_named(key_name, self.known.keys)
            if "." in name and not self.starred(".".join(above)):
                raise self.wrong(
                    place, f"{shown(name)}: a quoted name with dots is another key", "Leave the quotes out."
                )
            if isinstance(value, dict) and len(path) < DEPTH_CAP:
                yield from self.below(key, key_name, dict(value), path)
            elif key is None:
                raise self.unknown(place, key_name)
            else:
                yield self.requirement(key, key_name, value, place)

    def below(
        self, key: PolicyKey | None, name: str, table: dict[str, Any], path: tuple[str, ...]
    ) -> Iterator[Requirement]:
        """What a table says of a key (`version`) and of those that begin with its name."""
        place, star = ("require", *path), self.starred(name)
        if key is not None and key.kind is SpecKind.VERSION and VERSION in table and not self.is_key(name, key):
            yield self.requirement(key, name, table.pop(VERSION), (*place, VERSION))
            if star and table:
                raise self.unknown((*place, next(iter(table))), f"{name}.{next(iter(table))}")
        elif key is not None and star and not table:
            raise self.unknown(place, name)
        elif not star and not any(k.key.startswith(f"{name}.") for k in self.known.keys):
            if key is None:
                raise self.unknown(place, name)
            yield self.requirement(key, name, table, place)  # which says what is wanted in place of a table
        yield from self.requirements(table, path)

    def starred(self, name: str) -> bool:
        """Whether any name may stand below this one, as below "package"."""
        return any(k.key.endswith(".*") and f"{name}.".startswith(k.key[:-1]) for k in self.known.keys)

    def is_key(self, name: str, key: PolicyKey) -> bool:
        """Whether `version` below this name is a key of its own, and no other word for the name."""
        below = key_named(f"{name}.{VERSION}", self.known.keys)
        return below is not None and below is not key

    def unknown(self, place: Path, name: str) -> InputError:
        """The error for a key that is none."""
        return self.wrong(place, f"no such requirement: {shown(name)}", key_help(name, self.known.keys))

    def requirement(self, key: PolicyKey, name: str, value: object, place: Path) -> Requirement:
        """One line."""
        try:
            spec = read_spec(key.kind, value)
        except SpecError as error:
            raise self.wrong(place, f"{name}: {error}", f"An example: {name} = {key.example}") from error
        return Requirement(key=name, spec=spec, place=self.place(*place))

    def thresholds(self, table: Mapping[str, Any]) -> Iterator[Threshold]:
        """The lines of [measure]: "gemm bf16*" = ">=70%"; [measure.gemm] "bf16*" = ">=70%"."""
        seen: dict[str, Place] = {}
        for name, value in table.items():
            pairs: list[tuple[str, Any, Path]] = [(name, value, (name,))]
            if isinstance(value, dict):
                pairs = [(f"{name} {n}", v, (name, n)) for n, v in value.items()]
            for written, bound, keys in pairs:
                pattern, place = " ".join(written.split()), self.place("measure", *keys)
                if not pattern or len(pattern) > PATTERN_CAP:
                    raise self.wrong(("measure", *keys), f"{shown(written)}: the name of a benchmark is wanted")
                if (other := seen.setdefault(pattern.casefold(), place)) is not place:
                    raise self.wrong(("measure", *keys), f"{shown(pattern)}: stands in line {other.line} already")
                try:
                    unit, clauses = read_threshold(bound)
                except SpecError as error:
                    raise self.wrong(("measure", *keys), f"{shown(pattern)}: {error}") from error
                yield Threshold(pattern=pattern, unit=unit, text=bound.strip(), clauses=clauses, place=place)

    # -- what findings count as -----------------------------------------------------------------------------------

    def finding_id(self, written: object, keys: Path, *, core: bool = True) -> str:
        """An id, as it is spelt. `core`: the core's own too. Raises InputError with the nearest."""
        known = [i for i in self.known.ids if core or i not in self.known.core]
        if isinstance(written, str) and written in known:
            return written
        if written in self.known.core:
            raise self.wrong(
                keys, f"{written} is no check: it is judged always", "A waiver or [status] may speak of it."
            )
        near = nearest(written, known) if isinstance(written, str) else ""
        help_text = f"Nearest: {near}." if near else "`infra-doctor list checks` names them all."
        raise self.wrong(keys, f"no such finding id: {shown(written)}", help_text)

    def overrides(
        self, document: Mapping[str, Any], name: str, words: Sequence[str]
    ) -> Iterator[tuple[str, str, Place]]:
        """The lines of [severity] or [status]."""
        for written, value in self.table(document, name).items():
            finding_id = self.finding_id(written, (name, written))
            if not isinstance(value, str) or value not in list(words):
                help_text = f"One of: {', '.join(words)}."
                if name == "status" and value in ("pass", "skip"):
                    help_text += " A waiver lets a finding pass for a time; `skip` leaves a check out."
                raise self.wrong((name, written), f"{written}: no such {name}: {shown(value)}", help_text)
            if name == "status" and finding_id in self.known.errors:
                message = f"{finding_id} is always `error`, and [status] changes `fail` and `warn` alone"
                raise self.wrong((name, written), message, "A waiver may let it pass; so does `lenient = true`.")
            yield finding_id, value, self.place(name, written)

    def waivers(self, document: Mapping[str, Any]) -> Iterator[WaiverRule]:
        """[[waivers]]: id, until and reason, all needed; subject where it is for one thing only."""
        listed = document.get("waivers", [])
        if not isinstance(listed, list) or not all(isinstance(w, dict) for w in listed):
            raise self.wrong(("waivers",), "waivers: a list of tables is wanted: [[waivers]]")
        seen: dict[tuple[str, str | None], Place] = {}
        for number, item in enumerate(listed):
            rule = self.waiver(item, ("waivers", number))
            if (other := seen.setdefault((rule.id, rule.subject), rule.place)) is not rule.place:
                raise self.wrong(("waivers", number), f"{rule.id} is waived in line {other.line} already", "Keep one.")
            yield rule

    def waiver(self, item: Mapping[str, Any], keys: Path) -> WaiverRule:
        """One waiver."""
        for name in item:
            if name not in WAIVER_KEYS:
                message = f"no such key of a waiver: {shown(name)}"
                raise self.wrong((*keys, name), message, way_out(name, WAIVER_KEYS, WAIVER_KEYS, "Keys"))
        missing = [n for n in WAIVER_KEYS[:3] if n not in item]
        if missing:
            raise self.wrong(
                keys, f"a waiver needs {', '.join(missing)}", 'until = 2026-12-31, reason = "why this may be".'
            )
        for name in ("reason", "subject"):
            value = item.get(name, "-")
            if not isinstance(value, str) or not value.strip() or len(value) > TEXT_CAP:
                raise self.wrong((*keys, name), f"{name}: a text of at most {TEXT_CAP} characters is wanted")
        finding_id = self.finding_id(item["id"], (*keys, "id"))
        if finding_id in self.known.core and "subject" not in item:
            message = f"{finding_id} speaks of many things: a waiver of it needs `subject`"
            raise self.wrong(
                keys, message, 'As the finding names it, such as subject = "gpu:0000:17:00.0"; "*" is all.'
            )
        return WaiverRule(
            id=finding_id,
            until=self.day(item["until"], (*keys, "until")),
            reason=" ".join(item["reason"].split()),
            subject=item["subject"].strip() if "subject" in item else None,
            place=self.place(*keys, "id"),
        )

    def day(self, value: object, keys: Path) -> str:
        """A date, as TOML's own or as a text."""
        try:
            day = date.fromisoformat(value) if isinstance(value, str) and re.fullmatch(DAY, value) else value
        except ValueError:
            day = None
        if not isinstance(day, date) or isinstance(day, datetime):
            raise self.wrong(keys, f"until: {shown(value)} is no date", "Write it as 2026-12-31.")
        return day.isoformat()

    # -- which checks judge, and how the run ends -----------------------------------------------------------------

    def checks(self, document: Mapping[str, Any], name: str) -> tuple[str, ...]:
        """`only` and `skip`: ids of checks."""
        found = (self.finding_id(v, k, core=False) for v, k in self.texts(document, name))
        return tuple(dict.fromkeys(found))

    def presets(self, document: Mapping[str, Any]) -> tuple[str, ...]:
        """`preset`: one name or several."""
        names = [p.name for p in self.known.presets]
        found = self.texts(document, "preset")
        for written, keys in found:
            if written not in names:
                raise self.wrong(keys, f"no such preset: {shown(written)}", way_out(written, names, names, "Presets"))
        return tuple(dict.fromkeys(name for name, _ in found))

    def texts(self, document: Mapping[str, Any], name: str) -> list[tuple[str, Path]]:
        """A text, or a list of texts, each with its place."""
        value = document.get(name, [])
        if isinstance(value, str):
            return [(value, (name,))]
        if not isinstance(value, list):
            raise self.wrong((name,), f"{name}: a name, or a list of names, is wanted")
        for number, item in enumerate(value):
            if not isinstance(item, str):
                raise self.wrong((name, number), f"{name}: {shown(item)} is no name")
        return [(item, (name, number)) for number, item in enumerate(value)]

    def choice(self, document: Mapping[str, Any], name: str, words: Iterable[str]) -> str | None:
        """One of these words."""
        value = document.get(name)
        if name in document and value not in tuple(words):
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
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= TIMEOUT_CAP_S:
            raise self.wrong((name,), f"{name}: a number of seconds above 0 is wanted")
        return float(value)
