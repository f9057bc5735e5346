"""What the shell's environment says of CANN: which installation its variables name, whose folders its search paths hold.

Read only where this form of machine has an environment; `set_env.sh` itself is looked for and never run."""

from collections.abc import Iterator

from infra_doctor.plugin import Capability, Component, Evidence, EvidenceKind, Machine, ProbeContext, fact, record
from infra_doctor_probes.ascend.packages import folders_of
from infra_doctor_probes.detect.ascend import ROOT_VARIABLES, VARIABLES

ENTRY_CAP = 200


@fact("ascend-environment", 1)
@record
class AscendEnvironment:
    """`variables` that are set; `library_roots` and `python_roots` are (component key, entry) for each entry of
    LD_LIBRARY_PATH and PYTHONPATH that lies in a CANN, in order; `astray` are (variable, value) where a root variable
    names no CANN. With `known` False there was no environment to look at."""

    known: bool
    variables: tuple[tuple[str, str], ...] = ()
    library_roots: tuple[tuple[str, str], ...] = ()
    python_roots: tuple[tuple[str, str], ...] = ()
    astray: tuple[tuple[str, str], ...] = ()
    evidence: tuple[Evidence, ...] = ()

    def value(self, name: str) -> str | None:
        """A variable's value."""
        return dict(self.variables).get(name)


def run(ctx: ProbeContext) -> Iterator[AscendEnvironment]:
    """The fact, where a CANN is there or a variable is set."""
    machine: Machine = ctx.machine
    canns = ctx.by_kind("cann")
    if Capability.ENVIRONMENT not in machine.capabilities:
        if canns:
            yield AscendEnvironment(known=False)
        return
    variables = tuple((name, machine.environ[name]) for name in VARIABLES if machine.environ.get(name))
    if not canns and not variables:
        return
    library_roots = roots_on(machine, canns, "LD_LIBRARY_PATH")
    python_roots = roots_on(machine, canns, "PYTHONPATH")
    astray = tuple((n, v) for n, v in variables if n in ROOT_VARIABLES and cann_at(machine, canns, v) is None)
    evidence = [Evidence(kind=EvidenceKind.ENVIRONMENT, source=name, text=value[:200]) for name, value in variables]
    for name, entries in (("LD_LIBRARY_PATH", library_roots), ("PYTHONPATH", python_roots)):
        shown = ":".join(dict.fromkeys(entry for _, entry in entries)) or "holds no folder of a CANN"
        evidence.append(Evidence(kind=EvidenceKind.ENVIRONMENT, source=name, text=shown[:400]))
    yield AscendEnvironment(
        known=True,
        variables=variables,
        library_roots=library_roots,
        python_roots=python_roots,
        astray=astray,
        evidence=tuple(evidence),
    )


def roots_on(machine: Machine, canns: tuple[Component, ...], name: str) -> tuple[tuple[str, str], ...]:
    """(component key, entry) for the entries of a search path that exist and lie in a CANN."""
    entries = [e for e in machine.environ.get(name, "").split(":")[:ENTRY_CAP] if e.startswith("/")] if canns else []
    found = ((cann_at(machine, canns, entry), entry) for entry in entries)
    return tuple((cann.key, entry) for cann, entry in found if cann is not None)


def cann_at(machine: Machine, canns: tuple[Component, ...], path: str) -> Component | None:
    """The installation in which an existing folder lies."""
    real = machine.realpath(path)
    if not path.startswith("/") or not machine.is_dir(real):
        return None
    return next((c for c in canns if any((real + "/").startswith(f + "/") for f in folders_of(c))), None)
