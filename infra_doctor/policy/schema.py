"""The JSON Schema of a policy, made from the plug-ins' keys and ids: for editors, which complete and check while one types.

Draft 2020-12 (https://json-schema.org/draft/2020-12) by its word; of its words it uses those alone that mean the same since
draft 4, as editors' TOML extensions know older drafts: nothing beside `$ref`, no `const`, no `if`, no numeric
`exclusiveMinimum`. The reader has the last word: that nothing can be ">=3, <2", that a waiver is there twice, and what else
no pattern tells, it alone refuses."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from infra_doctor.model.finding import Severity
from infra_doctor.model.plugins import PolicyKey
from infra_doctor.model.policy import FAIL_ON, SpecKind
from infra_doctor.policy.reading import STAR, Known
from infra_doctor.policy.sections import DAY, STATUSES, TEXT_CAP, TIMEOUT_CAP_S, VERSION
from infra_doctor.policy.specs import COUNT_CAP, NO_LIMIT, NUMBER, RATES, RELEASE, SIZES, WANTED, WANTED_BOUND
from infra_doctor.policy.specs import VERSION as VERSION_TEXT

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_ORDER = "===|==|!=|>=|<=|>|<"
_FLAG = r"^\s*(?:true|false)\s*$"
_FILLED = r"\S"
_ITSELF = ""  # in the tree of keys: the key that ends here


def policy_schema(known: Known, titles: Mapping[str, str], version: str) -> dict[str, Any]:
    """The schema. `titles` are those of the finding ids."""
    checks = [i for i in known.ids if i not in known.core]
    stars = [k for k in known.keys if k.key.endswith(".*")]
    return {
        "$schema": _DRAFT,
        "$id": f"urn:infra-doctor:policy:{version}",  # absolute: taplo takes no other
        "title": f"infra-doctor policy {version}",
        "description": "What a machine must be, and which findings count: infra-doctor.toml, or [tool.infra-doctor] of a "
        "pyproject.toml.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "preset": _named("Judge by these choices of checks.", [p.name for p in known.presets]),
            "only": _named("Judge by these checks alone (and by the presets').", checks, at_least=1),
            "skip": _named("Leave these checks out.", checks),
            "fail-on": {"description": "From which status on `check` leaves with 1.", "enum": list(FAIL_ON)},
            "lenient": {
                "description": "Whether what could not be looked at leaves the exit code alone.",
                "type": "boolean",
            },
            "timeout": {
                "description": "How many seconds a run may take.",
                "type": "number", "minimum": 0, "maximum": TIMEOUT_CAP_S, "not": {"enum": [0]},
            },
            "require": {"description": "What the machine must be.", **_tables(known.keys)},
            "measure": {
                "description": "What benchmarks must reach: \"gemm bf16*\" = \">=70%\".",
                "type": "object",
                "patternProperties": {_FILLED: {"anyOf": [_ref("threshold"), {
                    "type": "object", "patternProperties": {_FILLED: _ref("threshold")}, "additionalProperties": False,
                }]}},
                "additionalProperties": False,
            },
            "severity": _by_id("How findings rank.", known.ids, titles, list(Severity)),
            "status": _by_id(
                "Whether findings are failures or warnings.",
                [i for i in known.ids if i not in known.errors], titles, list(STATUSES),
            ),
            "waivers": {"description": "Findings that do not count for a time.", "type": "array", "items": _waiver(known, checks)},
        },
        "$defs": _kinds() | {_star_name(k): _star(k) for k in stars},
    }  # fmt: skip


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


def _named(description: str, names: list[str], *, at_least: int = 0) -> dict[str, Any]:
    one = {"type": "string", "enum": names}
    several = {"type": "array", "items": one, **({"minItems": at_least} if at_least else {})}
    return (
        {"description": description, "anyOf": [one, several]} if names else {"description": description, "enum": [[]]}
    )


def _by_id(description: str, ids: Iterable[str], titles: Mapping[str, str], words: list[Any]) -> dict[str, Any]:
    values = [str(w) for w in words]
    properties = {i: {"description": titles.get(i, ""), "enum": values} for i in sorted(ids)}
    return {"description": description, "type": "object", "additionalProperties": False, "properties": properties}


def _waiver(known: Known, checks: list[str]) -> dict[str, Any]:
    text = {"type": "string", "pattern": _FILLED, "maxLength": TEXT_CAP}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["id", "until", "reason"],
        "properties": {
            "id": {"description": "The finding.", "enum": sorted(known.ids)},
            "until": {
                "description": "The last day on which it does not count (UTC).",
                "type": "string", "format": "date", "pattern": f"^{DAY}$",
            },
            "reason": {"description": "Why it may be.", **text},
            "subject": {"description": "For findings of which one subject is this, or fits this pattern.", **text},
        },
        # The core's own ids speak of many things: of them, a waiver says which.
        "anyOf": [{"properties": {"id": {"enum": sorted(checks)}}}, {"required": ["subject"]}],
    }  # fmt: skip


# -- [require] ------------------------------------------------------------------------------------------------------


def _tables(keys: Iterable[PolicyKey]) -> dict[str, Any]:
    """Nested tables for keys with dots."""
    tree: dict[str, Any] = {}
    for key in keys:
        node = tree
        for name in key.key.split("."):
            node = node.setdefault(name, {})
        node[_ITSELF] = key
    return _table(tree)


def _table(tree: Mapping[Any, Any]) -> dict[str, Any]:
    properties = {name: _node(below) for name, below in tree.items() if name not in (_ITSELF, "*")}
    out: dict[str, Any] = {
        "type": "object",
        "properties": dict(sorted(properties.items())),
        "additionalProperties": False,
    }
    if "*" in tree:
        out["patternProperties"] = {f"^{STAR}$": _ref(_star_name(tree["*"][_ITSELF]))}
    return out


def _node(tree: Mapping[Any, Any]) -> dict[str, Any]:
    key: PolicyKey | None = tree.get(_ITSELF)
    if key is None:
        return _table(tree)
    about = {"description": f"{key.title}. Such as: {key.example}"}
    table = _table(tree)
    if key.kind is SpecKind.VERSION:
        if not table["properties"]:
            table["required"] = [VERSION]
        table["properties"].setdefault(VERSION, _ref(str(key.kind)))
    if not table["properties"] and "patternProperties" not in table:
        return {**about, "allOf": [_ref(str(key.kind))]}
    return {**about, "anyOf": [_ref(str(key.kind)), table]}


def _star_name(key: PolicyKey) -> str:
    return key.key.removesuffix(".*").replace(".", "-") + "-any"


def _star(key: PolicyKey) -> dict[str, Any]:
    """What may stand for "package.*": a specification, one as {version = …}, or a table where the name has dots."""
    deeper: dict[str, Any] = {
        "type": "object", "minProperties": 1, "additionalProperties": False,
        "patternProperties": {f"^{STAR}$": _ref(_star_name(key))},
    }  # fmt: skip
    forms = [_ref(str(key.kind)), deeper]
    if key.kind is SpecKind.VERSION:
        deeper["not"] = {"required": [VERSION]}
        table = {
            "type": "object",
            "required": [VERSION],
            "properties": {VERSION: _ref(str(key.kind))},
            "maxProperties": 1,
        }
        forms.insert(1, table)
    return {"description": f"{key.title}. Such as: {key.example}", "anyOf": forms}


# -- the right sides ------------------------------------------------------------------------------------------------


def _kinds() -> dict[str, Any]:
    two = rf"[vVrR]?[0-9]+\.{VERSION_TEXT.removeprefix('[vVrR]?')}"
    version = rf"(?:==|!=|=)?\s*{RELEASE}\.\*|(?:{_ORDER})\s*{VERSION_TEXT}|~=\s*{two}"
    order = _ORDER.removeprefix("===|")
    size = rf"(?:{order}|=)?\s*{NUMBER}\s*(?:{_units(SIZES)})|(?:==|!=|>=|<|=)?\s*{NO_LIMIT}"
    count = {"type": "integer", "minimum": 0, "maximum": COUNT_CAP - 1}
    name = r"[^<>=!~,\s]"
    return {
        str(SpecKind.VERSION): _right_side(SpecKind.VERSION, _listed(version)),
        str(SpecKind.COUNT): _right_side(SpecKind.COUNT, _listed(rf"(?:{order}|=)?\s*[0-9]{{1,15}}"), count),
        str(SpecKind.SIZE): _right_side(SpecKind.SIZE, _listed(size)),
        str(SpecKind.NAME): _right_side(
            SpecKind.NAME,
            rf"^\s*{name}[^,]*(?:,\s*{name}[^,]*)*$",
            {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": rf"^\s*{name}"}},
        ),
        str(SpecKind.FLAG): _right_side(SpecKind.FLAG, _FLAG),
        "threshold": {
            "description": f"{WANTED_BOUND.rstrip(',')}.",
            "type": "string",
            "maxLength": TEXT_CAP,
            "pattern": _listed(rf"(?:>=|<=|>|<)\s*{NUMBER}\s*(?:{_units(RATES)})"),
        },
    }


def _right_side(kind: SpecKind, pattern: str, *others: dict[str, Any]) -> dict[str, Any]:
    forms = [{"type": "boolean"}, {"type": "string", "maxLength": TEXT_CAP, "pattern": pattern}, *others]
    if kind is not SpecKind.FLAG:
        forms.append({"type": "string", "pattern": _FLAG})
    return {"description": f"{WANTED[kind].rstrip(',')}; or whether it must be there.", "anyOf": forms}


def _listed(clause: str) -> str:
    """One clause or several, parted by commas."""
    return rf"^\s*(?:{clause})(?:\s*,\s*(?:{clause}))*\s*$"


def _units(units: Iterable[str]) -> str:
    return "|".join(re.escape(u) for u in sorted(units, key=lambda u: (-len(u), u)))
