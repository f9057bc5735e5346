"""For which place a virtual environment was made: what its activate script and the first lines of its programs say.

`venv` and virtualenv write the absolute path into both (docs.python.org/3/library/venv: environments are not portable);
uv's `--relocatable` writes none. Nothing is run."""

import posixpath
import re
from collections.abc import Iterator

from infra_doctor.plugin import Evidence, EvidenceKind, Machine, Probe, ProbeContext, fact, record

# Programs that most environments have, the installer first: what it is run by decides where it installs.
PROGRAMS = ("pip", "pip3", "torchrun", "accelerate", "vllm", "ipython", "jupyter", "f2py")
ACTIVATE = re.compile(r"^(?:export )?VIRTUAL_ENV=(['\"]?)(/[^'\"$\n]{1,1000})\1$", re.MULTILINE)
# Longer paths than a kernel takes in a first line stand in a second one, for sh.
INTERPRETER = re.compile(
    r"\A#!(/[^\n]{0,500}/python[\d.]*)[ \t]*\r?$|\A#!/bin/sh\n'''exec' [\"']?(/[^\n\"']{1,1000}/python[\d.]*)", re.M
)


@fact("environment-origin", 1)
@record
class EnvironmentOrigin:
    """The folder that a virtual environment was made for, by its activate script (None: none, or relocatable), and the
    interpreter that runs its programs (None: no program that we know). `interpreter_exists`: whether that is there."""

    target: str
    made_for: str | None
    program: str | None
    interpreter: str | None
    interpreter_exists: bool
    same_place: bool  # both, as far as they are known, are this environment: links followed
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """One fact per virtual environment."""
    machine: Machine = ctx.machine
    for target in ctx.targets:
        if machine.is_file(posixpath.join(target.prefix, "pyvenv.cfg")):
            yield origin(machine, target.key, target.prefix)


def origin(machine: Machine, key: str, prefix: str) -> EnvironmentOrigin:
    """What one environment says of itself."""
    evidence = []
    script = posixpath.join(prefix, "bin/activate")
    match = ACTIVATE.search(machine.read_text(script, max_bytes=16384, quiet=True) or "")
    made_for = match.group(2).rstrip("/") if match else None
    if made_for:
        evidence.append(Evidence(kind=EvidenceKind.FILE, source=script, text=f"VIRTUAL_ENV={made_for}"))
    program, interpreter = None, None
    for name in PROGRAMS:
        path = posixpath.join(prefix, "bin", name)
        head = machine.read_text(path, max_bytes=1600, quiet=True) if machine.is_file(path) else None
        match = INTERPRETER.search(head or "")
        if match:
            program, interpreter = path, match.group(1) or match.group(2)
            evidence.append(Evidence(kind=EvidenceKind.FILE, source=path, text=f"#!{interpreter}"))
            break
    here = machine.realpath(prefix)
    # The interpreter itself is mostly a link out of the environment: its folder tells.
    places = [made_for, posixpath.dirname(posixpath.dirname(interpreter)) if interpreter else None]
    return EnvironmentOrigin(
        target=key, made_for=made_for, program=program, interpreter=interpreter,
        interpreter_exists=interpreter is not None and machine.exists(interpreter),
        same_place=all(machine.realpath(p) == here for p in places if p), evidence=tuple(evidence),
    )  # fmt: skip


PROBES = (
    Probe(
        id="environment-origin",
        version=1,
        title="The place that a virtual environment was made for",
        run=run,
        collect=("prefix:bin/activate", *(f"prefix:bin/{n}" for n in PROGRAMS)),
    ),
)
