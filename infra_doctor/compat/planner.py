"""Searches options that fit each other: resolvelib over the choices, widened step by step from the least invasive change.

First only what was asked for may change, and only within the environment; then the packages that stood in the way; then
the interpreter, the system, the driver. What the search finds is therefore the shallowest change that the tables know."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from resolvelib import AbstractProvider, BaseReporter, ResolutionImpossible, ResolutionTooDeep, Resolver

from infra_doctor.model.planning import Effort, Need, Option, Refused
from infra_doctor.model.record import record

ROUNDS = 5000


@dataclass(frozen=True, eq=False)
class Asked:
    """A requirement as the search sees it: `by` is the option that has it, None for a wish or what is installed."""

    need: Need
    by: Option | None = None


@record
class Solution:
    """The option that was chosen for each part, and what asked for it."""

    chosen: dict[str, Option]
    asked: dict[str, tuple[Asked, ...]]


@record
class Impossible:
    """Why nothing fits, in sentences."""

    reasons: tuple[str, ...]


class Catalogue:
    """The options of each part, made once."""

    def __init__(self, make: Callable[[str], Iterable[Option | Refused]]) -> None:
        self._make = make
        self._options: dict[str, tuple[Option, ...]] = {}
        self.refused: dict[str, tuple[Refused, ...]] = {}
        self._accepted: dict[tuple[int, int], bool] = {}

    def options(self, part: str) -> tuple[Option, ...]:
        """All options of a part, the best first."""
        if part not in self._options:
            made = tuple(self._make(part))
            self._options[part] = tuple(o for o in made if isinstance(o, Option))
            self.refused[part] = tuple(o for o in made if isinstance(o, Refused))
        return self._options[part]

    def accepts(self, need: Need, option: Option) -> bool:
        """Whether an option meets a need; asked once for each pair."""
        key = (id(need), id(option))
        if key not in self._accepted:
            self._accepted[key] = need.accepts(option)
        return self._accepted[key]


@dataclass(frozen=True, kw_only=True)
class Domains:
    """The options of each part that are not hopeless, and why the last ones of an empty part were."""

    options: dict[str, tuple[Option, ...]]
    empty: str = ""
    about: frozenset[str] = frozenset()
    reasons: tuple[str, ...] = ()


def without_hopeless(catalogue: Catalogue, roots: Iterable[Need], allowed: Callable[[Option], bool]) -> Domains:
    """Takes away, until nothing more goes, each option one of whose needs no option meets that is left. What would take
    a search thousands of combinations (two packages that pin a third apart) is seen at once."""
    roots = tuple(roots)
    wanted: dict[str, list[Need]] = {}
    for need in roots:
        wanted.setdefault(need.part, []).append(need)
    left: dict[str, list[Option]] = {}
    parts = list(wanted)
    while parts:
        part = parts.pop()
        if part not in left:
            left[part] = [
                o
                for o in catalogue.options(part)
                if allowed(o) and all(catalogue.accepts(n, o) for n in wanted.get(part, ()))
            ]
            parts += [n.part for o in left[part] for n in o.needs]
    lost: dict[str, list[tuple[str, str]]] = {}  # part -> (sentence, the part that was asked for)
    changed = True
    while changed:
        changed = False
        for part, options in left.items():
            kept = []
            for option in options:
                unmet = next((n for n in option.needs if not any(catalogue.accepts(n, x) for x in left[n.part])), None)
                if unmet is None:
                    kept.append(option)
                else:
                    changed = True
                    lost.setdefault(part, []).append((f"{option.label} needs {unmet.text}", unmet.part))
            left[part] = kept
    empty = next((need.part for need in roots if not left[need.part]), "")
    because = lost.get(empty, [])[:4]
    about = {empty, *(part for _, part in because)}
    said = [f"wanted: {n.text}" for part in wanted if part in about for n in wanted[part]] + [
        text for text, _ in because
    ]
    reasons = tuple(dict.fromkeys(said)) if empty else ()
    return Domains(options={p: tuple(o) for p, o in left.items()}, empty=empty, about=frozenset(about), reasons=reasons)


class Provider(AbstractProvider[Any, Any, str]):
    """What resolvelib asks of us."""

    def __init__(self, catalogue: Catalogue, options: Mapping[str, tuple[Option, ...]]) -> None:
        self.catalogue = catalogue
        self.options = options

    def identify(self, requirement_or_candidate: Asked | Option) -> str:
        """The part that a requirement or an option is about."""
        if isinstance(requirement_or_candidate, Option):
            return requirement_or_candidate.part
        return requirement_or_candidate.need.part

    def get_preference(
        self, identifier: str, resolutions: Any, candidates: Mapping[str, Iterator[Any]],
        information: Mapping[str, Iterator[Any]], backtrack_causes: Any,
    ) -> Any:  # fmt: skip
        """Parts that stood in the way first, then those with the fewest options; names make it deterministic."""
        blamed = any(c.requirement.need.part == identifier for c in backtrack_causes)
        return (not blamed, sum(1 for _ in candidates[identifier]), identifier)

    def find_matches(
        self, identifier: str, requirements: Mapping[str, Iterator[Asked]], incompatibilities: Mapping[str, Iterator[Option]]
    ) -> list[Option]:  # fmt: skip
        """The options that all requirements accept, the best first."""
        wanted, excluded = list(requirements[identifier]), list(incompatibilities[identifier])
        return [
            o
            for o in self.options.get(identifier, ())
            if o not in excluded and all(self.catalogue.accepts(w.need, o) for w in wanted)
        ]

    def is_satisfied_by(self, requirement: Asked, candidate: Option) -> bool:
        """Whether an option meets a requirement."""
        return self.catalogue.accepts(requirement.need, candidate)

    def get_dependencies(self, candidate: Option) -> list[Asked]:
        """What an option needs."""
        return [Asked(need, candidate) for need in candidate.needs]


def search(
    catalogue: Catalogue, roots: Iterable[Need], *, wished: Iterable[str], free: Callable[[str], bool],
    deepest: Effort = Effort.DRIVER,
) -> Solution | Impossible:  # fmt: skip
    """The shallowest change under which all `roots` hold. `wished` parts may change from the start; parts that are `free`
    (the driver, the interpreter) are bound by effort alone, `deepest` at most; the others only once they stood in the way."""
    roots = tuple(roots)
    requirements = [Asked(need) for need in roots]
    reasons: tuple[str, ...] = ()
    for limit in (e for e in Effort if Effort.NONE < e <= deepest):
        movable, all_move = set(wished), False
        while True:

            def allowed(
                option: Option, limit: Effort = limit, movable: set[str] = movable, every: bool = all_move
            ) -> bool:
                if option.effort > limit:
                    return False
                return every or option.effort is Effort.NONE or option.part in movable or free(option.part)

            domains = without_hopeless(catalogue, roots, allowed)
            if domains.empty:
                reasons = (*domains.reasons, *refusals(catalogue, sorted(domains.about)))
                if all_move:
                    break
                all_move = True
                continue
            try:
                result = Resolver(Provider(catalogue, domains.options), BaseReporter()).resolve(requirements, ROUNDS)
            except ResolutionImpossible as error:
                reasons = tuple(reasons_of(error, catalogue))
                blamed = {
                    part
                    for cause in error.causes
                    for part in (cause.requirement.need.part, cause.parent.part if cause.parent is not None else "")
                    if part and part not in movable and not free(part) and len(catalogue.options(part)) > 1
                }
                if not blamed and all_move:
                    break
                all_move = not blamed  # the causes are those of the last dead end alone: nobody may be left out
                movable |= blamed
            except ResolutionTooDeep:
                return Impossible(reasons=("the search was given up: too many combinations; name exact versions",))
            else:
                asked = {part: tuple(result.criteria[part].iter_requirement()) for part in result.mapping}
                return Solution(chosen=dict(result.mapping), asked=asked)
    return Impossible(reasons=reasons)


def reasons_of(error: "ResolutionImpossible[Any, Any]", catalogue: Catalogue) -> Iterator[str]:
    """The requirements that could not be met together, then what was refused outright."""
    seen: set[str] = set()
    parts: list[str] = []
    for cause in error.causes:
        asked: Asked = cause.requirement
        sentence = f"{asked.by.label} needs {asked.need.text}" if asked.by is not None else f"wanted: {asked.need.text}"
        if sentence not in seen:
            seen.add(sentence)
            yield sentence
        parts += [p for p in (asked.need.part, asked.by.part if asked.by else "") if p]
    yield from refusals(catalogue, list(dict.fromkeys(parts)))


def refusals(catalogue: Catalogue, parts: list[str]) -> Iterator[str]:
    """How these parts are now, and what of them cannot serve this machine."""
    for part in parts:
        present = [o.label for o in catalogue.options(part) if o.effort is Effort.NONE]
        if present:
            yield f"here: {present[0]}"
    for part in parts:
        for refused in catalogue.refused.get(part, ())[:5]:
            yield f"{refused.label}: {refused.reason}"
