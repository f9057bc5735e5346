"""From matches to causes, best first: the first cause wins over what follows from it.

What follows from what is declared beside the checks (`explained_by`). Among roots a symptom that many causes share comes
after every stronger match; then what the machine confirms, then what names the cause itself, then what came first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from infra_doctor.model.finding import SEVERITY_RANK, Confidence
from infra_doctor.model.plugins import Check
from infra_doctor.model.triage import MachineCheck
from infra_doctor.triage.scanning import Hit

STRONG = 2
CONFIDENCE = {3: Confidence.OBSERVED, 2: Confidence.DERIVED, 1: Confidence.HEURISTIC}
_MACHINE_RANK = {
    MachineCheck.CONFIRMED: 0,
    MachineCheck.UNKNOWN: 1,
    MachineCheck.NOT_CHECKED: 1,
    MachineCheck.RULED_OUT: 2,
}


@dataclass(frozen=True)
class Suspect:
    """One id that the logs name: its best match, and how often it is said."""

    check: Check
    best: Hit
    first: tuple[str, int, int, int]  # when and where any of its matches stands first
    count: int
    machine_check: MachineCheck

    @property
    def strength(self) -> int:
        """3 names the cause itself, 2 is typical of it, 1 is a symptom of others too."""
        return self.best.signature.strength


@dataclass
class Root:
    """A cause and what follows from it, in the order of the log."""

    suspect: Suspect
    follows: list[Suspect] = field(default_factory=list)


def suspects(hits: Iterable[Hit], machine: dict[str, MachineCheck]) -> list[Suspect]:
    """One suspect per id. `machine` says what is known of ids; nothing of any: only the logs were read."""
    by_check: dict[str, list[Hit]] = {}
    for hit in hits:
        by_check.setdefault(hit.signature.check.id, []).append(hit)
    timed = all(hit.found.time for found in by_check.values() for hit in found)
    out = []
    for name, found in sorted(by_check.items()):
        best = min(found, key=lambda h: (-h.signature.strength, _place(h, timed)))
        default = MachineCheck.UNKNOWN if machine else MachineCheck.NOT_CHECKED
        out.append(
            Suspect(
                check=best.signature.check,
                best=best,
                first=min(_place(h, timed) for h in found),
                count=max(h.found.count for h in found),
                machine_check=machine.get(name, default),
            )
        )
    return out


def _place(hit: Hit, timed: bool) -> tuple[str, int, int, int]:
    return (hit.found.time if timed else "", hit.log, hit.found.line, hit.found.column)


def roots(found: Sequence[Suspect], checks: Iterable[Check]) -> list[Root]:
    """The suspects grouped under those that explain them, best first."""
    explains = _explained_by(checks)
    causes = {
        s.check.id: [c for c in found if c.check.id in explains.get(s.check.id, ()) and _may_explain(c, s)]
        for s in found
    }
    out: dict[str, Root] = {}
    placed: list[tuple[str, Suspect]] = []
    for suspect in found:
        root = _root(suspect, causes)
        if root is suspect:
            out[suspect.check.id] = Root(suspect)
        else:
            placed.append((root.check.id, suspect))
    for name, suspect in sorted(placed, key=lambda p: p[1].first):
        out[name].follows.append(suspect)
    return sorted(out.values(), key=lambda r: _order(r.suspect))


def _order(suspect: Suspect) -> tuple[int, int, int, tuple[str, int, int, int], int, str]:
    return (
        _class(suspect),
        _MACHINE_RANK[suspect.machine_check],
        -suspect.strength,
        suspect.first,
        SEVERITY_RANK[suspect.check.severity],
        suspect.check.id,
    )


def _class(suspect: Suspect) -> int:
    """A shared symptom comes after every stronger match, but for those that the machine rules out while it confirms this."""
    if suspect.strength >= STRONG:
        return 2 if suspect.machine_check is MachineCheck.RULED_OUT else 0
    return 1 if suspect.machine_check is MachineCheck.CONFIRMED else 3


def _may_explain(cause: Suspect, suspect: Suspect) -> bool:
    """A weak symptom is no cause of what is stronger, and what the machine denies none of what it does not deny."""
    if cause is suspect or (cause.strength < STRONG <= suspect.strength):
        return False
    return _MACHINE_RANK[cause.machine_check] <= max(1, _MACHINE_RANK[suspect.machine_check])


def _root(suspect: Suspect, causes: dict[str, list[Suspect]]) -> Suspect:
    """The last cause of a suspect; of causes that name each other, the best."""
    seen = [suspect]
    while causes[suspect.check.id]:
        suspect = min(causes[suspect.check.id], key=_order)
        if suspect in seen:
            return min(seen[seen.index(suspect) :], key=_order)
        seen.append(suspect)
    return suspect


def _explained_by(checks: Iterable[Check]) -> dict[str, frozenset[str]]:
    """Id -> all ids that may be its cause, over any number of steps."""
    direct = {check.id: set(check.explained_by) for check in checks}
    out: dict[str, frozenset[str]] = {}
    for name, causes in direct.items():
        reached: set[str] = set()
        ahead = list(causes)
        while ahead:
            step = ahead.pop()
            if step not in reached and step != name:
                reached.add(step)
                ahead += direct.get(step, ())
        out[name] = frozenset(reached)
    return out
