"""Which file and line of the repository a finding stands at, for formats that want one (SARIF, annotations, code quality).

A finding about a machine has no line of source. It stands at the line of the policy that it was held against; where none
was, a Python distribution stands at the line by which the working folder asks for it; all else at the policy, a file of
requirements, or the name that a policy would have. Paths are relative to the repository, POSIX, and never leave it.

    stands_at = anchoring(report, options)
    anchor = stands_at(finding)  # Anchor(path="infra-doctor.toml", line=7)

`options["anchor"]` is the folder to look in (the working folder, where it is not given). Nothing is read before a finding
needs it, then at most `FILES_CAP` files of `BYTES_CAP` bytes, once."""

import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from typing import Any

from infra_doctor.plugin import EvidenceKind, Finding, Report, record

FILES_CAP, BYTES_CAP, ENTRIES_CAP = 12, 256 << 10, 2000
LINE_CAP, PATH_CAP = 1_000_000, 1024
POLICY_NAME = "infra-doctor.toml"

# Compiled where they are used: every `check` imports this, and few need them.
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_AFTER_NAME = r"(?=\s*(?:$|[\[=<>!~;@,#\"'\s]))"
_REQUIREMENTS = r"requirements[A-Za-z0-9._-]{0,60}\.(?:txt|in)"
_LEADING = rf"\s*({_NAME}){_AFTER_NAME}"  # requirements.txt: `torch==2.9`
_LISTED = rf"\s*-\s*[\"']?(?:[\w-]+::)?({_NAME}){_AFTER_NAME}"  # environment.yml: `- conda-forge::torch=2.9`
_QUOTED = rf"[\"']({_NAME}){_AFTER_NAME}"  # pyproject.toml: `"torch>=2.9",`
_WORD = rf"(?:^|(?<=\s))[\"']?({_NAME}){_AFTER_NAME}"  # Dockerfile: `RUN pip install torch==2.9`
_TOML_TABLE = r"\s*\[+([^\]]*)\]"
_TOML_KEY = rf"\s*(?:\"({_NAME})\"|({_NAME}))\s*=(?!=)"


@record
class Anchor:
    """A line of a file of the repository. `path` is relative to its root, POSIX; `line` counts from 1."""

    path: str
    line: int = 1


def anchoring(report: Report, options: dict[str, Any]) -> Callable[[Finding], Anchor]:
    """What tells where a finding of this report stands."""
    folder, root = _folders(options)
    policy = _policy_path(report, options, folder, root)

    @cache
    def asked_for() -> dict[str, Anchor]:
        return _distributions(folder, root)

    @cache
    def fallback() -> Anchor:
        if policy is not None:
            return Anchor(path=policy)
        names = _names(folder)
        return Anchor(path=_inside(names[0] if names else POLICY_NAME, folder, root) or POLICY_NAME)

    def stands_at(finding: Finding) -> Anchor:
        for evidence in finding.evidence:
            if evidence.kind is EvidenceKind.POLICY and (found := _line_of(evidence.source, policy, folder, root)):
                return found
        for name in distributions(finding):
            if name in asked_for():
                return asked_for()[name]
        return fallback()

    return stands_at


def distributions(finding: Finding) -> Iterator[str]:
    """The Python distributions that a finding is about, normalized: its subjects, then those whose metadata it saw."""
    for key in finding.subject:
        kind, _, rest = key.partition(":")
        if kind == "wheel":
            yield normalized(rest.partition("@")[0])
    for evidence in finding.evidence:
        if evidence.kind is EvidenceKind.METADATA:
            found = re.search(rf"/({_NAME})-[^/-]+\.(?:dist|egg)-info(?:/|$)", evidence.source[:PATH_CAP])
            if found:
                yield normalized(found[1])


def normalized(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


# -- paths ------------------------------------------------------------------------------------------------------------


def _folders(options: dict[str, Any]) -> tuple[str, str]:
    """The folder to look in and the repository's root: the nearest folder above with `.git`, else the folder itself."""
    try:
        folder = os.path.realpath(options.get("anchor") or os.getcwd())
    except OSError:  # the working folder is gone
        folder = "/"
    root = folder
    while not os.path.exists(os.path.join(root, ".git")):
        if root == os.path.dirname(root):
            return folder, folder
        root = os.path.dirname(root)
    return folder, root


def _inside(path: str, folder: str, root: str) -> str | None:
    """The path relative to the root; None where it lies outside, or cannot be shown."""
    if not path or len(path) > PATH_CAP or not path.isprintable() or "\\" in path:
        return None
    whole = os.path.normpath(os.path.join(folder, path))
    whole = os.path.join(os.path.realpath(os.path.dirname(whole)), os.path.basename(whole))
    relative = os.path.relpath(whole, root)
    return None if relative == "." or relative.startswith("..") else relative


def _policy_path(report: Report, options: dict[str, Any], folder: str, root: str) -> str | None:
    """The policy's file. A saved report has its own word for it, which may be another machine's."""
    sources = (report.policy or {}).get("sources") or ()
    for source in (options.get("policy"), *sources):
        if isinstance(source, str) and (found := _inside(source, folder, root)):
            return found
    return None


def _line_of(source: str, policy: str | None, folder: str, root: str) -> Anchor | None:
    """`infra-doctor.toml:7` as a place. An absolute path may have lost its names to redaction; the policy's own is taken."""
    path, colon, number = source.rpartition(":")
    line = int(number) if colon and number.isascii() and number.isdecimal() and len(number) < 8 else 0
    if not 0 < line <= LINE_CAP:
        path, line = source, 0
    if path.startswith("-"):  # "--require": said on the command line
        return None
    found = _inside(path, folder, root)
    if found is None and policy is not None and os.path.basename(path) == os.path.basename(policy):
        found = policy
    if found is None or (not line and not os.path.isfile(os.path.join(root, found))):
        return None
    return Anchor(path=found, line=line or 1)


# -- where a folder asks for a distribution ---------------------------------------------------------------------------


def _names(folder: str) -> list[str]:
    """The files of the folder that ask for distributions, the likeliest first."""
    try:
        with os.scandir(folder) as entries:
            there = {e.name for e in islice(entries, ENTRIES_CAP)}
    except OSError:
        return []
    listed = sorted((n for n in there if re.fullmatch(_REQUIREMENTS, n)), key=lambda n: (len(n), n))
    others = ("pyproject.toml", "environment.yml", "environment.yaml", "Dockerfile")
    wanted = [*listed[: FILES_CAP - len(others)], *(n for n in others if n in there)]
    return [n for n in wanted if os.path.isfile(os.path.join(folder, n))]


def _distributions(folder: str, root: str) -> dict[str, Anchor]:
    """By normalized name: the first line that asks for it."""
    found: dict[str, Anchor] = {}
    for name in _names(folder):
        path = _inside(name, folder, root)
        if path is None:
            continue
        try:
            with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
                text = file.read(BYTES_CAP)
        except OSError:
            continue
        for line, asked in _asked(name, text.split("\n")):
            found.setdefault(normalized(asked), Anchor(path=path, line=line))
    return found


def _asked(name: str, lines: list[str]) -> Iterator[tuple[int, str]]:
    """(line, distribution) of one file."""
    if name == "pyproject.toml":
        yield from _asked_by_pyproject(lines)
    elif name == "Dockerfile":
        yield from _asked_by_dockerfile(lines)
    else:
        pattern = re.compile(_LISTED if name.startswith("environment") else _LEADING)
        for number, line in enumerate(lines, 1):
            if match := pattern.match(line):
                yield number, match[1]


def _asked_by_pyproject(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Quoted requirements, and the keys of Poetry's tables, below a table or key that is named after dependencies."""
    is_table, is_key, quoted = re.compile(_TOML_TABLE), re.compile(_TOML_KEY), re.compile(_QUOTED)
    table = key = ""
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith("#"):
            continue
        if not line[:1].isspace() and (match := is_table.match(line)):
            table, key = match[1], ""
            continue
        match = is_key.match(line)
        if match:
            key = match[1] or match[2]
            if table.endswith("dependencies") and "optional" not in table:
                yield number, key
        if "dependenc" in table or "dependenc" in key:
            yield from ((number, m[1]) for m in quoted.finditer(line))


def _asked_by_dockerfile(lines: list[str]) -> Iterator[tuple[int, str]]:
    """The words of `RUN … install …`, over its continued lines."""
    word = re.compile(_WORD)
    installs = continued = False
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith("#"):
            continue
        installs = (installs and continued) or "install" in line
        continued = line.rstrip().endswith("\\")
        if installs:
            yield from ((number, m[1]) for m in word.finditer(line))
