"""Writes a policy from a machine as it stands: what `infra-doctor policy init` gives a person to edit.

Each line is held against the machine that it comes from before it is written; the whole is read back."""

import textwrap
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import date, timedelta

from infra_doctor.compat.version import numbers, version_key
from infra_doctor.model.finding import Finding, Status
from infra_doctor.model.plugins import CheckContext, Observed, PolicyKey
from infra_doctor.model.policy import UNLIMITED, Place, Requirement, SpecKind
from infra_doctor.model.record import record
from infra_doctor.model.view import required_unseen
from infra_doctor.model.wording import counted, printable, shortened
from infra_doctor.policy.judging import blind_reason, judge_requirement, judge_requirements
from infra_doctor.policy.reading import Known, parse_policy
from infra_doctor.policy.sections import VERSION
from infra_doctor.policy.specs import NO_LIMIT, SIZES, SpecError, read_spec

WAIVER_DAYS = 90
_WIDTH, _REASON_CAP = 100, 160
_REMIND = "why this may be until then, and who repairs it"


@record
class Draft:
    """A policy as text; how many requirements it holds, and how many findings it offers to waive."""

    text: str
    requirements: int
    waivers: int


@record
class _Line:
    """One key of [require]: what it is here, as TOML, or why no more than an example can be offered."""

    key: PolicyKey
    name: str = ""  # as it is written
    value: str = ""
    reason: str = ""
    absent: bool = False  # there is nothing of it here


def draft(
    context: CheckContext,
    findings: Sequence[Finding],
    known: Known,
    today: date,
    *,
    machine: str,
    redacted: Callable[[str], str] = str,
) -> Draft:
    """The policy of what was observed; `machine` names it in the first line, `redacted` is for the reasons of what could not
    be observed (findings are redacted already). Raises RuntimeError where the machine would not meet it, a fault of ours."""
    offered = [k for k in known.keys if k.offered and not k.key.endswith(".*")]
    lines = [_line(k, tuple(k.observe(context, "")), context) for k in offered]
    lines = [replace(n, name=_name(n.key, known.keys), reason=redacted(n.reason)) for n in lines]
    held = [n for n in lines if n.value]
    bad = [f for f in findings if f.waived is None and (f.status is Status.FAIL or required_unseen(f))]
    text = "\n".join([*_head(machine), *_choices(known), *_require(lines), *_waivers(bad, today)]).rstrip("\n") + "\n"
    policy = parse_policy(text, "the policy written", known)
    unmet = [
        f.title for f, _ in judge_requirements(policy.requirements, known.keys, context) if f.status is not Status.PASS
    ]
    if unmet or len(policy.requirements) != len(held):
        raise RuntimeError(f"the policy written is not met: {'; '.join(unmet) or 'a line is lost'}")
    return Draft(text=text, requirements=len(held), waivers=len(_distinct(bad)))


# -- the lines ------------------------------------------------------------------------------------------------------


def _name(key: PolicyKey, keys: Iterable[PolicyKey]) -> str:
    """In TOML a key cannot be a value and the start of others: torch.version stands beside torch.cuda."""
    starts = any(k.key.startswith(f"{key.key}.") for k in keys)
    return f"{key.key}.{VERSION}" if starts and key.kind is SpecKind.VERSION else key.key


def _line(key: PolicyKey, observed: tuple[Observed, ...], context: CheckContext) -> _Line:
    unseen = [o for o in observed if o.unseen]
    blind = blind_reason(key, context)
    reason = "; ".join(dict.fromkeys(o.reason for o in unseen or observed if o.reason)) or blind
    if unseen or not observed:
        return _Line(key=key, reason=reason or "could not be looked at")
    if all(o.value in (None, 0) and o.value is not False for o in observed):
        return _Line(key=key, reason=blind or reason or "not there", absent=not blind)
    for value in _candidates(key.kind, observed):
        if _meets(key, value, observed, context):
            return _Line(key=key, value=value)
    return _Line(key=key, reason=reason or "not so here")


def _meets(key: PolicyKey, value: str, observed: tuple[Observed, ...], context: CheckContext) -> bool:
    try:
        spec = read_spec(key.kind, tomllib.loads(f"value = {value}")["value"])
    except (SpecError, tomllib.TOMLDecodeError):
        return False
    requirement = Requirement(key=key.key, spec=spec, place=Place(source="draft"))
    return judge_requirement(requirement, key, observed, context).status is Status.PASS


def _candidates(kind: SpecKind, observed: Iterable[Observed]) -> list[str]:
    """What may be written, the most useful first."""
    values = list(dict.fromkeys(o.value for o in observed if o.value is not None))
    texts = [v for v in values if isinstance(v, str) and v]
    sizes = [v for v in values if isinstance(v, int) and not isinstance(v, bool)]
    match kind:
        case SpecKind.VERSION if texts:
            lowest = min(texts, key=version_key)
            short = ".".join(map(str, numbers(lowest)[:2]))
            return [quoted(f">={short}"), quoted(f">={lowest}"), quoted(f"==={lowest}"), "true"]
        case SpecKind.NAME if texts:
            one = len(texts) == 1 and "," not in texts[0]
            return [quoted(texts[0]) if one else f"[{', '.join(map(quoted, texts))}]"]
        case SpecKind.COUNT if sizes:
            return [str(sizes[0]) if len(sizes) == 1 else quoted(f">={min(sizes)}")]
        case SpecKind.SIZE if sizes:
            return [quoted(rounded_down(min(sizes)))]
        case _:
            return ["true"]


def rounded_down(size_bytes: int) -> str:
    """`>=139 GiB`: in the unit that shows it best, and no more than it is."""
    if size_bytes >= UNLIMITED:
        return NO_LIMIT
    unit = next((u for u in ("TiB", "GiB", "MiB", "KiB") if size_bytes >= SIZES[u]), "B")
    tenths = size_bytes * 10 // SIZES[unit]
    return f">={tenths // 10} {unit}" if tenths >= 100 or tenths % 10 == 0 else f">={tenths // 10}.{tenths % 10} {unit}"


def quoted(text: str) -> str:
    """A TOML string. Half characters, which no file can hold, become the replacement character."""
    out = []
    for c in text:
        if "\ud800" <= c <= "\udfff":
            c = "\ufffd"
        if c in '"\\':
            c = f"\\{c}"
        elif not c.isprintable():
            c = f"\\u{ord(c):04x}" if ord(c) < 1 << 16 else f"\\U{ord(c):08x}"
        out.append(c)
    return f'"{"".join(out)}"'


# -- the text -------------------------------------------------------------------------------------------------------


def _comment(text: str, *, indent: str = "# ") -> list[str]:
    return textwrap.wrap(
        printable(" ".join(text.split())), _WIDTH, initial_indent=indent, subsequent_indent="# ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _head(machine: str) -> list[str]:
    return [
        *_comment(f"What a machine must be. Written by `infra-doctor policy init` from {machine}, to be edited:"),
        *_comment("a line that this machine need not keep is taken out, a bound that may be looser is moved."),
        "#",
        "#   infra-doctor policy check FILE     reads it, and says what it asks for",
        "#   infra-doctor check --policy FILE   holds a machine against it",
        "#   infra-doctor policy keys           names all that may stand here",
        "#   infra-doctor schema policy         is its JSON Schema; an editor takes it by this first line:",
        "#                                      #:schema ./policy.schema.json",
        "",
    ]


def _choices(known: Known) -> list[str]:
    out = ["# Judge by the checks of one use alone:"] if known.presets else []
    out += [f"# preset = {quoted(p.name)}  # {printable(p.title)}" for p in known.presets]
    return [*out, "# Let warnings fail too:", '# fail-on = "warn"', ""]


def _require(lines: Sequence[_Line]) -> list[str]:
    out = ["[require]"]
    for item in (n for n in lines if n.value):
        out += [*_comment(item.key.title), f"{item.name} = {item.value}"]
    open_ = [n for n in lines if not n.value and not n.absent]
    if open_:
        out += ["", *_comment("Not so, or not to be seen, when this was written; as they might be asked for:")]
    for item in open_:
        out += [f"# {item.name} = {item.key.example}", *_comment(shortened(item.reason, _REASON_CAP), indent="#   ")]
    absent = [n.key.key for n in lines if n.absent]
    if absent:
        out += ["", *_comment(f"Of what is not here: {', '.join(absent)}.")]
    return [*out, ""]


def _distinct(findings: Iterable[Finding]) -> dict[tuple[str, str], Finding]:
    """One finding for each id and subject."""
    out: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        out.setdefault((finding.id, min(finding.subject, default="")), finding)
    return out


def _waivers(findings: Sequence[Finding], today: date) -> list[str]:
    if not findings:
        return []
    found = _distinct(findings)
    until = today + timedelta(days=WAIVER_DAYS)
    out = _comment(
        f"{counted(len(found), 'finding')} of this machine would not let it pass. Repair what you can; what may stay for a "
        "time, waive: take the marks away, and say why."
    )
    for (name, subject), finding in found.items():
        out += ["", *_comment(shortened(finding.title, _REASON_CAP)), "# [[waivers]]", f"# id = {quoted(name)}"]
        out += [f"# until = {until.isoformat()}", f"# reason = {quoted(_REMIND)}"]
        out += [f"# subject = {quoted(subject)}"] if subject else []
    return out
