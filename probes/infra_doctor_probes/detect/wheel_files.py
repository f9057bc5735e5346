"""Whose bytes are on disk where several wheels write the same files, and which wheels lost their files.

Ownership is what RECORD and sha256 say: pip lets one wheel overwrite another's files and reports nothing, and an uninstall
removes what both claim (pypa/pip#4625)."""

import re
from collections.abc import Iterator

from infra_doctor.plugin import (
    Distribution,
    Evidence,
    EvidenceKind,
    Machine,
    PythonEnvironment,
    RecordScan,
    Target,
    fact,
    record,
)
from infra_doctor_probes.loading.names import library_name
from infra_doctor_probes.loading.orders import wheel_key
from infra_doctor_probes.stack_names import in_stack


@fact("wheel-contest", 1)
@record
class WheelContest:
    """Distributions that claim the same files with different contents. `won` has, for each wheel key of `wheels`, how many
    of the contested files hold its bytes; `files` is the number of contested files, `missing` of those that are gone,
    `changed` of those that hold nobody's bytes, `not_read` of those that were not hashed."""

    target: str
    wheels: tuple[str, ...]
    files: int
    won: tuple[tuple[str, int], ...]
    missing: int = 0
    changed: int = 0
    not_read: int = 0
    libraries: tuple[
        tuple[str, tuple[str, ...]], ...
    ] = ()  # (contested shared object, wheel keys whose bytes it holds)
    unread: tuple[str, ...] = ()  # contested shared objects that were too large to hash
    required_by: tuple[tuple[str, str], ...] = ()  # (wheel key, key of a framework that requires it)
    evidence: tuple[Evidence, ...] = ()


@fact("wheel-files-gone", 1)
@record
class WheelFilesGone:
    """A distribution that is installed by its metadata while shared objects that it lists are not there."""

    target: str
    wheel: str
    gone: tuple[str, ...]
    listed: int
    required_by: str = ""  # wheel key of a framework that requires it
    evidence: tuple[Evidence, ...] = ()


def wheel_files(
    machine: Machine, target: Target, environment: PythonEnvironment, wheels: list[Distribution]
) -> Iterator[WheelContest | WheelFilesGone]:
    """Contests and missing files of one target; `wheels` are its distributions of the accelerator stack."""
    yield from contests(target, environment)
    yield from files_gone(machine, target, environment, wheels)


def requirers(target: Target, environment: PythonEnvironment) -> dict[str, str]:
    """Wheel key -> key of a distribution that requires it without an extra, torch before others."""
    found: dict[str, str] = {}
    for dist in sorted(environment.distributions, key=lambda d: (d.normalized != "torch", d.normalized)):
        for line in dist.requires:
            if line.startswith("nvidia") and "extra ==" not in line:
                name = re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0].lower().replace("_", "-").replace(".", "-")
                found.setdefault(wheel_key(name, target), wheel_key(dist.normalized, target))
    return found


def contests(target: Target, environment: PythonEnvironment) -> Iterator[WheelContest]:
    """Contested files by the group of distributions that claim them."""
    records: RecordScan = environment.records
    dists = {d.path: d for d in environment.distributions}
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, file in enumerate(records.contested):
        claimants = tuple(sorted({c.distribution for c in file.claims}))
        groups.setdefault(claimants, []).append(number)
    for claimants, numbers in sorted(groups.items()):
        known = [dists[c] for c in claimants if c in dists]
        if len(known) < 2 or not any(in_stack(d.normalized) for d in known):
            continue
        keys = {d.path: wheel_key(d.normalized, target) for d in known}
        won = dict.fromkeys(keys.values(), 0)
        missing = changed = not_read = 0
        libraries, unread = [], []
        for file in (records.contested[n] for n in numbers):
            if not file.exists:
                missing += 1
            elif file.winners is None:
                not_read += 1
                unread += [file.path] if ".so" in file.path.rpartition("/")[2] else []
            else:
                changed += not file.winners
                for winner in file.winners:
                    won[keys.get(winner, "")] = won.get(keys.get(winner, ""), 0) + 1
                if ".so" in file.path.rpartition("/")[2]:
                    libraries.append((file.path, tuple(keys[w] for w in file.winners if w in keys)))
        won.pop("", None)
        yield WheelContest(
            target=target.key,
            wheels=tuple(keys.values()),
            files=len(numbers),
            won=tuple(won.items()),
            missing=missing,
            changed=changed,
            not_read=not_read,
            libraries=tuple(libraries),
            unread=tuple(unread),
            required_by=tuple((k, r) for k, r in requirers(target, environment).items() if k in keys.values()),
            evidence=tuple(
                Evidence(
                    kind=EvidenceKind.METADATA,
                    source=d.path + "/RECORD",
                    text=f"{won[keys[d.path]]} of {len(numbers)} contested files hold the bytes of {d.normalized} {d.version}",
                )
                for d in known
            ),
        )


def files_gone(
    machine: Machine, target: Target, environment: PythonEnvironment, wheels: list[Distribution]
) -> Iterator[WheelFilesGone]:
    """Shared objects of ONNX Runtime and NVIDIA wheels that RECORD lists and that are not there: what an uninstall of
    another wheel with the same files leaves behind."""
    watched = {d.path: d for d in wheels if d.normalized.startswith(("nvidia-", "onnxruntime", "tensorrt"))}
    listed: dict[str, list[str]] = {}
    for path, owner in environment.records.libraries:
        file = path.rpartition("/")[2]
        if owner in watched and (library_name(file) is not None or "onnxruntime" in file):
            listed.setdefault(owner, []).append(path)
    for owner, paths in listed.items():
        gone = tuple(p for p in paths if not machine.exists(p))
        if gone:
            seen = Evidence(
                kind=EvidenceKind.METADATA, source=owner + "/RECORD", text=f"lists {gone[0]}, which is not there"
            )
            key = wheel_key(watched[owner].normalized, target)
            yield WheelFilesGone(
                target=target.key, wheel=key, gone=gone, listed=len(paths),
                required_by=requirers(target, environment).get(key, ""), evidence=(seen,),
            )  # fmt: skip
