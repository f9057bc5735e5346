"""Huawei Ascend's small text files and the folders that they lie in: read and taken apart, nothing judged.

Most are `key=value` (driver, firmware, CANN packages); NNAL and MindIE write `key : value`. Ranges stand in brackets,
`[7.0.0,7.7.99],[8.0,8.0.]`. Formats are known from captures of CANN 6.0 to 9.0 and drivers 23.0 to 25.5, not from a
specification."""

import re

from infra_doctor.plugin import Evidence, EvidenceKind, Machine, ProbeContext, fact, parse_version, record
from infra_doctor_probes.detect.ascend import BASE, INSTALL_INFO

INFO_CAP_BYTES = 65536
_VERSION = re.compile(r"(?=[^.]*\d)[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")
_LINE_CAP = 2000


@fact("ascend-version-sources", 1)
@record
class AscendVersionSources:
    """Every place that names a component's version. `subject` is the component's key, `sources` are (version, place) with
    the most trusted first, `chosen` is the version that the component shows."""

    subject: str
    sources: tuple[tuple[str, str], ...]
    chosen: str | None
    evidence: tuple[Evidence, ...] = ()


def differ(versions: tuple[str, ...]) -> bool:
    """Whether these name more than one version (`8.5` and `8.5.0` are one)."""
    return len({parse_version(v) or v for v in versions}) > 1


def parse_pairs(text: str, sign: str = "=") -> dict[str, str]:
    """The lines `key=value` (or with another sign); the first of a key counts, quotes are taken off."""
    found: dict[str, str] = {}
    for line in text.splitlines()[:_LINE_CAP]:
        if len(line) > _LINE_CAP or line.lstrip().startswith("#"):
            continue
        key, separator, value = line.partition(sign)
        if separator and key.strip():
            found.setdefault(key.strip(), value.strip().strip("\"'"))
    return found


def read_pairs(machine: Machine, path: str, sign: str = "=") -> dict[str, str] | None:
    """The pairs of a file; None where there is none. What is there and cannot be read is noted as a problem."""
    text = machine.read_text(path, max_bytes=INFO_CAP_BYTES)
    return None if text is None else parse_pairs(text, sign)


def version_of(pairs: dict[str, str], key: str) -> str | None:
    """A value that can be a version, None for anything else."""
    value = pairs.get(key, "")
    return value if _VERSION.fullmatch(value) else None


def brackets(text: str) -> list[tuple[str, ...]]:
    """`[a,b],[c]` as [("a", "b"), ("c",)]."""
    groups = [tuple(part.strip() for part in group.split(",")) for group in re.findall(r"\[([^][]{1,200})\]", text)]
    return [tuple(filter(None, group)) for group in groups if any(group)]


def file_evidence(path: str, text: str) -> Evidence:
    """What stands in a file."""
    return Evidence(kind=EvidenceKind.FILE, source=path, text=text[:200])


def installed_bases(ctx: ProbeContext) -> tuple[str, ...]:
    """The folders below which Ascend software may lie, those that exist: the driver's own, the default, the user's, a
    target's (conda)."""
    machine: Machine = ctx.machine
    install = read_pairs(machine, INSTALL_INFO) or {}
    home = machine.environ.get("HOME") or ""
    named = [install.get("Driver_Install_Path_Param", ""), BASE, f"{home}/Ascend" if home else ""]
    named += [f"{target.prefix}/Ascend" for target in ctx.targets]
    found = {machine.realpath(path): None for path in named if path.startswith("/") and machine.is_dir(path)}
    return tuple(found)
