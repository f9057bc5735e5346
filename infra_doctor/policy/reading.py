"""Reads a policy: a file's, and the command line's `--require`. One parser serves both.

Strict: an unknown key, id, preset or unit is an error that names the file, the line and the nearest valid name."""

import os
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from infra_doctor.errors import UsageError
from infra_doctor.model.plugins import PolicyKey, Preset
from infra_doctor.model.policy import Place, Policy, Requirement
from infra_doctor.model.record import record
from infra_doctor.policy.files import PYPROJECT, document, read_text
from infra_doctor.policy.specs import SpecError, both, nearest, read_spec, shown

_COMMAND_LINE = re.compile(r"\s*([A-Za-z0-9_][\w.+/-]*?)\s*(?:(===|==|!=|>=|<=|~=|>|<|=)(.*))?", re.DOTALL | re.ASCII)
# What stands for the star of "package.*".
STAR = r"[A-Za-z0-9](?:[A-Za-z0-9._+-]*[A-Za-z0-9])?"


@record
class Known:
    """What a policy may name: keys, presets, finding ids. `core` are those ids that no check gives: they speak of many
    things, so a waiver must say which. `errors` are those that are never `fail` or `warn`."""

    keys: tuple[PolicyKey, ...]
    presets: tuple[Preset, ...]
    ids: tuple[str, ...]
    core: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


def read_policy(path: str, known: Known) -> Policy:
    """The policy of a file. Raises InputError with file, line and the way out."""
    return parse_policy(read_text(path), path, known, project=os.path.basename(path) == PYPROJECT)


def parse_policy(text: str, path: str, known: Known, *, project: bool = False) -> Policy:
    """The policy of a text; `path` is its name in messages. Raises InputError."""
    from infra_doctor.policy.sections import policy_of

    return policy_of(*document(text, path, project=project), path, known)


def read_requirement(text: str, keys: Sequence[PolicyKey]) -> Requirement:
    """One `--require`: KEY, KEY=SPEC or KEY and a range (`driver>=580`). Raises UsageError."""
    found = _COMMAND_LINE.fullmatch(text)
    if found is None:
        raise UsageError(
            f"--require {shown(text)}: KEY, KEY=VALUE or KEY>=VERSION is wanted",
            help=f"Keys: {', '.join(k.key for k in keys)}.",
        )
    name, operator, right = found.group(1), found.group(2), (found.group(3) or "").strip()
    key = key_named(name, keys)
    if key is None:
        raise UsageError(f"--require {shown(text)}: no such key: {name[:60]}", help=key_help(name, keys))
    if operator is not None and not right:
        raise UsageError(f"--require {shown(text)}: nothing stands after {operator}")
    value: object = True if operator is None else right if operator == "=" else operator + right
    if operator == "=" and right[0] in "\"'[":  # as it would stand in the file
        try:
            value = tomllib.loads(f"value = {right}")["value"]
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise UsageError(f"--require {name}: {shown(right)} is no TOML value") from error
    try:
        return Requirement(key=name, spec=read_spec(key.kind, value), place=Place(source="--require"))
    except SpecError as error:
        raise UsageError(f"--require {name}: {error}", help=f"An example: {name} = {key.example}") from error


def key_named(name: str, keys: Iterable[PolicyKey]) -> PolicyKey | None:
    """The plug-in's key for a policy's name; "package.vllm" is one of "package.*"."""
    stars: list[PolicyKey] = []
    for key in keys:
        if key.key == name:
            return key
        if key.key.endswith(".*") and name.startswith(key.key[:-1]):
            stars.append(key)
    fitting = [k for k in stars if re.fullmatch(STAR, star_of(name, k))]
    return max(fitting, key=lambda k: len(k.key), default=None)


def star_of(name: str, key: PolicyKey) -> str:
    """What stands for the star: "vllm" of "package.vllm"; "" where the key has none."""
    return name[len(key.key) - 1 :] if key.key.endswith(".*") else ""


def merged(policy: Policy | None, requirements: Sequence[Requirement]) -> Policy | None:
    """The file's policy with the command line's requirements: these replace what the file says of the same key. Several of
    one key must all hold. Raises UsageError where they cannot."""
    if not requirements:
        return policy
    base = policy or Policy()
    asked: dict[str, Requirement] = {}
    for one in requirements:
        before = asked.get(one.key)
        try:
            spec = one.spec if before is None else both(before.spec, one.spec)
        except SpecError as error:
            raise UsageError(f"--require {one.key}: {error}") from error
        if spec is None:
            raise UsageError(f"--require {one.key}: asked for twice, and not as ranges that could both hold")
        asked[one.key] = replace(one, spec=spec)
    kept = tuple(r for r in base.requirements if r.key not in asked)
    return replace(base, requirements=(*kept, *asked.values()))


def key_help(name: str, keys: Sequence[PolicyKey]) -> str:
    """The keys that look most like a name; those with a star are compared with the name's own last part."""
    last = name.rpartition(".")[2] if "." in name else "*"
    return way_out(name, [k.key.replace("*", last or "*") for k in keys], [k.key for k in keys], "Keys")


def way_out(word: str, known: Sequence[str], named: Sequence[str], what: str) -> str:
    """The nearest of the known names, or all of them as they are named."""
    near = nearest(word, known)
    return f"Nearest: {near}." if near else f"{what}: {', '.join(named)}."
