"""Versions as the field writes them: driver 580.159.04, CUDA 13.0.88, cuDNN 9.19.0.56, CANN 8.2.RC1.alpha001, torch 2.7.1.post11.

PEP 440 covers none of the vendors' forms, so one ordering serves all: numbers compare as numbers, trailing zeros do not
count, pre-release words sort below the release and post-release words above it, a local part (`+cu130`) is left out."""

import re
from functools import lru_cache

_TOKEN = re.compile(r"\d+|[a-z]+")
# T and alpha below RC, RC below the release: Huawei's naming; its order is not stated by the vendor.
_WORDS = {
    "dev": -6, "t": -5, "alpha": -4, "a": -4, "beta": -3, "b": -3, "rc": -2, "c": -2, "pre": -2, "preview": -2,
    "post": 1, "spc": 1, "p": 1, "u": 1, "update": 1, "r": 1,
}  # fmt: skip
_END = (0, 0)
_NUMBER = 2
_CAP = 200  # characters; what is longer is no version, and Python refuses to read numbers of thousands of digits

VersionKey = tuple[tuple[int, int], ...]


@lru_cache(maxsize=4096)
def parse_version(text: str) -> VersionKey | None:
    """A key that orders versions, or None where the text holds no version. `v` and `R` in front are left out."""
    if len(text) > _CAP:
        return None
    text = text.strip().lower().split("+", 1)[0]
    tokens = _TOKEN.findall(text)
    if tokens and tokens[0] in {"v", "r", "version"}:
        tokens = tokens[1:]
    if not tokens or not tokens[0].isdigit():
        return None
    out: list[tuple[int, int]] = []
    i = 0

    def strip_zeros() -> None:
        while out and out[-1] == (_NUMBER, 0):
            out.pop()

    while i < len(tokens):
        token = tokens[i]
        if token.isdigit():
            out.append((_NUMBER, int(token)))
            i += 1
            continue
        rank = _WORDS.get(token)
        if rank is None:
            break  # an unknown word: what stands before it still orders
        strip_zeros()
        number = 0
        if i + 1 < len(tokens) and tokens[i + 1].isdigit():
            number = int(tokens[i + 1])
            i += 1
        out.append((rank, number))
        i += 1
    strip_zeros()
    return (*out, _END)


def version_key(text: str) -> VersionKey:
    """Like `parse_version`, with what is no version below all versions."""
    return parse_version(text) or ((-100, 0),)


def numbers(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: "13.0.88" gives (13, 0, 88)."""
    match = re.match(r"[vVrR]?(\d+(?:\.\d+)*)", text.strip()) if len(text) <= _CAP else None
    return tuple(int(n) for n in match.group(1).split(".")) if match else ()


def major(text: str | None) -> int | None:
    """The first number, None where there is none."""
    found = numbers(text or "")
    return found[0] if found else None


def major_minor(text: str | None) -> tuple[int, int] | None:
    """The first two numbers; a missing second is 0."""
    found = numbers(text or "")
    return (found[0], found[1] if len(found) > 1 else 0) if found else None


def in_range(version: str, spec: str) -> bool | None:
    """Whether a version meets all clauses of `spec` (">=3.7, <=3.11.4", "==2.8.*", "~=13.0", "3.20.x", ">=7.6; <=8.2").
    Clauses are parted by commas, semicolons or blanks between clauses. None where either side cannot be read.
    `<=1.24` admits 1.24.3: vendors' upper bounds name a release line."""
    key = parse_version(version)
    clauses = re.findall(r"(===|==|!=|>=|<=|~=|>|<)?\s*([0-9vVrR][\w.*+!-]*)", spec)
    if key is None or not clauses:
        return None
    return all(_meets(version, key, operator or "==", bound) for operator, bound in clauses)


def _meets(version: str, key: VersionKey, operator: str, bound: str) -> bool:
    wildcard = re.fullmatch(r"(.+?)\.(?:\*|x)", bound)
    if wildcard:
        prefix = numbers(wildcard.group(1))
        same = numbers(version)[: len(prefix)] == prefix
        return same if operator in {"==", "===", "~="} else not same if operator == "!=" else True
    limit = version_key(bound)
    release = numbers(bound)
    match operator:
        case "==" | "===":
            return key == limit
        case "!=":
            return key != limit
        case ">=":
            return key >= limit
        case ">":
            return key > limit
        case "<":
            return key < limit
        case "<=":
            return key <= limit or (len(release) >= 2 and numbers(version)[: len(release)] == release)
        case _:  # ~=
            return key >= limit and numbers(version)[: len(release) - 1] == release[:-1]
