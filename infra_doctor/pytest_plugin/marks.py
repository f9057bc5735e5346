"""What a `requires_env` mark asks for: the keys and values of a policy's `[require]`, ids of findings, a policy file.

Names are read as they are spelt; where there is none, case and the signs `-`, `_` and `.` do not tell keys apart, so that
"ort-cuda", "ORT_CUDA" and "ort.cuda" are one. Ids of findings are read as they are spelt only: a key may be called alike."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import pytest

from infra_doctor.cli.policies import known_names
from infra_doctor.errors import InfraDoctorError
from infra_doctor.model.plugins import PolicyKey
from infra_doctor.model.policy import FAIL_ON
from infra_doctor.model.record import record
from infra_doctor.policy.reading import Known, key_named, read_policy, read_requirement
from infra_doctor.policy.specs import nearest, shown
from infra_doctor.pytest_plugin import MARK, MODES
from infra_doctor.runner import registry

ON_MISSING = MODES[:2]
KEYWORDS = ("policy", "on_missing")
# Findings that only a policy, a baseline or measurements give.
OF_A_POLICY = frozenset({"REQUIREMENT", "THRESHOLD", "WAIVER-EXPIRED", "BASELINE"})
_PARTS = re.compile(r"\s*([^=!<>~]*?)\s*([=!<>~].*)?", re.DOTALL)
_FOLDED = dict.fromkeys(map(ord, "_."), "-")


class Names:
    """What marks may name. Finding ids come with their checks, many modules: they are loaded where a mark names what is no
    key, or a policy is read."""

    @cached_property
    def keys(self) -> Sequence[PolicyKey]:
        """The keys of a policy's `[require]`."""
        return registry.load(("requirements",)).requirements

    @cached_property
    def known(self) -> Known:
        """Keys, presets and finding ids."""
        return known_names(third_party=True)


@record
class Need:
    """One thing that is needed: `requirement` is what `--require` takes, of this `key`; or it is the id of a `finding`; or a
    `policy` file, by its full path. `written` is what stands in the mark."""

    written: str
    requirement: str = ""
    key: str = ""
    finding: str = ""
    policy: str = ""
    fail_on: str = ""


@record
class Asked:
    """One mark. `on_missing` is None where it says nothing of that."""

    needs: tuple[Need, ...]
    on_missing: str | None = None


def read_mark(args: Iterable[object], kwargs: Mapping[str, Any], names: Names, root: str) -> Asked:
    """The mark with these arguments; a policy's path is relative to `root`. Raises UsageError."""
    for name in kwargs:
        if name not in KEYWORDS:
            raise pytest.UsageError(f"{MARK}(): no such keyword: {shown(name)}. There are {' and '.join(KEYWORDS)}.")
    on_missing, policy = kwargs.get("on_missing"), kwargs.get("policy")
    if on_missing is not None and on_missing not in ON_MISSING:
        raise pytest.UsageError(f"{MARK}(): on_missing={shown(on_missing)}: 'skip' or 'fail' is wanted")
    needs = [read_need(text, names) for text in args]
    if policy is not None:
        needs.append(_policy(policy, names, root))
    if not needs:
        raise pytest.UsageError(f'{MARK}(): what is needed? Such as {MARK}("gpu.count>=2")')
    return Asked(needs=tuple(needs), on_missing=on_missing)


def read_need(written: object, names: Names) -> Need:
    """One positional argument. Raises UsageError with the nearest name."""
    if not isinstance(written, str):
        raise pytest.UsageError(f"{MARK}({shown(written)}): a text is wanted, such as 'gpu.count>=2'")
    mark = f"{MARK}({shown(written)})"
    found = _PARTS.fullmatch(written)
    name, rest = (found.group(1), found.group(2) or "") if found else (written, "")
    # "MIG" may be the finding and "mig" the key: what is spelt as it should be comes first.
    if not rest and name == name.upper() and key_named(name, names.keys) is None and name in names.known.ids:
        if name in OF_A_POLICY:
            raise pytest.UsageError(f"{mark}: {name} speaks of a policy or a baseline: {MARK}(policy=FILE)")
        return Need(written=written, finding=name)
    spelt = spelt_as(name, names.keys)
    if len(spelt) > 1:
        raise pytest.UsageError(f"{mark}: {shown(name)} may be {' or '.join(spelt)}: spell it so")
    if not spelt:
        keys = [k.key for k in names.keys]
        near = nearest(name, keys if rest else [*keys, *names.known.ids])
        way_out = f"Nearest: {near}." if near else f"Keys: {', '.join(keys)}."
        what = "key" if rest else "key or finding id"
        raise pytest.UsageError(f"{mark}: no such {what}: {shown(name)}. {way_out}")
    text = spelt[0] + rest
    try:
        requirement = read_requirement(text, names.keys)
    except InfraDoctorError as error:
        reason = str(error).removeprefix("--require ")
        raise pytest.UsageError(f"{mark}: {reason}{f'. {error.help}' if error.help else ''}") from error
    return Need(written=written, requirement=text, key=requirement.key)


def spelt_as(name: str, keys: Sequence[PolicyKey]) -> list[str]:
    """The names that this one may stand for: itself where there is such a key, else those that differ in their spelling only.
    What stands for a key's star is taken as it is."""
    if key_named(name, keys) is not None:
        return [name]
    found = []
    for key in keys:
        start = folded(key.key.removesuffix("*"))
        if not key.key.endswith(".*"):
            if folded(name) == start:
                found.append(key.key)
        elif folded(name).startswith(start) and len(name) > len(start):
            found.append(key.key.removesuffix("*") + name[len(start) :])
    return found


def folded(name: str) -> str:
    """What tells keys apart, however they are written: `ORT_CUDA` and `ort.cuda` are the same."""
    return name.lower().translate(_FOLDED)


def _policy(path: object, names: Names, root: str) -> Need:
    if not isinstance(path, str | os.PathLike) or not str(path):
        raise pytest.UsageError(f"{MARK}(policy={shown(path)}): the path of a policy file is wanted")
    written, full = str(path), os.path.join(root, str(path))
    try:
        policy = read_policy(full, names.known)
    except InfraDoctorError as error:
        reason = str(error).replace(full, written)
        raise pytest.UsageError(f"{MARK}(policy=…): {reason}{f'. {error.help}' if error.help else ''}") from error
    return Need(written=written, policy=full, fail_on=policy.fail_on or FAIL_ON[0])
