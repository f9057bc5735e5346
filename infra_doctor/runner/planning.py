"""From a run and its wishes to a plan: what must hold, the search, the steps in the order in which they are made."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from infra_doctor import __version__
from infra_doctor.compat.planner import Asked, Catalogue, Impossible, Solution, search
from infra_doctor.errors import UsageError
from infra_doctor.model.component import Component, Target
from infra_doctor.model.finding import Command, Finding, Status
from infra_doctor.model.planning import (
    Choice,
    Effort,
    Need,
    Option,
    Plan,
    PlanChange,
    PlanContext,
    PlanStep,
    Refused,
    Wish,
)
from infra_doctor.model.plugins import Check, CheckContext
from infra_doctor.model.report import Report, Tool

# The tag of checks whose findings a plan can repair by choosing versions; the others bring their own remediation.
PLANNED = "planned"
ASKED, INSTALLED = "the wish", "the environment"  # sources of requirements that no option has


class Known:
    """The choices by part."""

    def __init__(self, choices: Sequence[Choice]) -> None:
        self.by_part = {part: choice for choice in choices for part in choice.parts}
        self.others = next((c for c in choices if c.others), None)

    def make(self, ctx: PlanContext, part: str) -> Iterator[Option | Refused]:
        """The options of one part."""
        choice = self.by_part.get(part, self.others)
        if choice is not None:
            yield from choice.options(ctx, part)

    def wishable(self) -> list[str]:
        """What a user may ask for."""
        return sorted(part for part, choice in self.by_part.items() if choice.wishable)


def make_plan(
    report: Report, facts: CheckContext, checks: Sequence[Check], choices: Sequence[Choice], wishes: Sequence[Wish],
    *, target: Target | None, repair: bool,
) -> Plan:  # fmt: skip
    """The plan for these wishes, with `repair` for the findings of the report too. Raises UsageError for a wish that no
    choice knows."""
    known = Known(choices)
    installed = wheels_of(facts, target)
    roots = root_findings(report) if repair else []
    planned = {c.id for c in checks if PLANNED in c.tags}
    wanted = {w.part: w for w in wishes}
    for part in wanted:
        refuse_unknown(part, known, installed)
    mended: set[str] = set()
    for finding in (f for f in roots if f.id in planned):
        for part in parts_of(finding, told_prefix(report, facts, target)):
            if part in known.by_part and known.by_part[part].wishable:
                wanted.setdefault(part, Wish(part=part, why=f"{finding.id}: {finding.title}"))
                mended.add(finding.fingerprint)
    ctx = PlanContext(facts=facts, target=target, wishes=wanted)
    catalogue, notes = catalogue_of(ctx, known, installed)
    found = find(catalogue, ctx, known, installed) if wanted else None
    plan = Plan(
        tool=Tool(version=__version__), created=report.created, machine=report.machine,
        target=target.key if target is not None else None, wishes=tuple(w.text for w in wanted.values()), fits=True,
    )  # fmt: skip
    if isinstance(found, Impossible):
        plan = replace(plan, fits=False, obstacles=found.reasons, instead=instead(ctx, known, installed))
    elif found is not None:
        before = {p: found_before(p, catalogue, installed) for p in found.chosen}
        steps = tuple(steps_of(found, before, target, facts))
        assumes = {a for o in found.chosen.values() for a in o.assumes}
        gone = {name for o in found.chosen.values() for name in o.removes}
        standing = (o for o in found.chosen.values() if o.effort is Effort.NONE and o.version and o.part not in gone)
        kept = sorted(o.label for o in standing)
        plan = replace(plan, steps=steps, keeps=tuple(kept), assumes=(*sorted(assumes), *notes))
        if any(o.effort > Effort.WHEEL for o in found.chosen.values()):
            plan = replace(plan, instead=instead(ctx, known, installed))
    covered = mended if plan.fits and plan.steps else set()
    prose = [repair_step(f) for f in roots if f.fingerprint not in covered and f.remediation is not None]
    return replace(plan, steps=(*prose, *plan.steps))


def catalogue_of(ctx: PlanContext, known: Known, installed: dict[str, Component]) -> tuple[Catalogue, tuple[str, ...]]:
    """The options of every part, and what stays broken because nobody asked to mend it."""
    raw = Catalogue(lambda part: known.make(ctx, part))
    standing, notes = what_stands(raw, [p for p in installed if p not in ctx.wishes])
    return Catalogue(lambda part: with_standing(raw, part, standing)), notes


def find(
    catalogue: Catalogue, ctx: PlanContext, known: Known, installed: dict[str, Component], deepest: Effort = Effort.DRIVER
) -> Solution | Impossible:  # fmt: skip
    """The search for these wishes beside what is installed."""
    needs = [wish_need(w) for w in ctx.wishes.values()]
    needs += [stays_need(p) for p in installed if p not in ctx.wishes and catalogue.options(p)]
    free = {p for p, choice in known.by_part.items() if not choice.wishable}
    return search(catalogue, needs, wished=ctx.wishes, free=lambda part: part in free, deepest=deepest)


def instead(ctx: PlanContext, known: Known, installed: dict[str, Component]) -> tuple[str, ...]:
    """Other versions of what was wished for that fit with changes of wheels alone."""
    if not any(w.spec for w in ctx.wishes.values()):
        return ()
    relaxed = replace(ctx, wishes={p: replace(w, spec="") for p, w in ctx.wishes.items()})
    catalogue, _ = catalogue_of(relaxed, known, installed)
    found = find(catalogue, relaxed, known, installed, Effort.WHEEL)
    if isinstance(found, Impossible):
        return ()
    return tuple(sorted(found.chosen[p].label for p in relaxed.wishes))


# -- what must hold -----------------------------------------------------------------------------------------------


def wheels_of(facts: CheckContext, target: Target | None) -> dict[str, Component]:
    """The wheels of the environment by name."""
    keys = {target.key, target.prefix} if target is not None else set()
    return {c.name: c for c in facts.by_kind("wheel") if c.target in keys}


def refuse_unknown(part: str, known: Known, installed: dict[str, Component]) -> None:
    """A wish must be for something whose releases are known."""
    names = known.wishable()
    if part in names:
        return
    near = difflib.get_close_matches(part, [*names, *installed], n=1, cutoff=0.7)
    hint = f"Did you mean {near[0]}? " if near and near[0] != part else ""
    raise UsageError(f"no table holds releases of {part}", help=f"{hint}Plans can be made for: {', '.join(names)}.")


def root_findings(report: Report) -> list[Finding]:
    """The failing and warning findings that follow from no other."""
    following = {f for d in report.diagnoses for f in d.follows}
    bad = (Status.FAIL, Status.WARN)
    return [f for f in report.findings if f.status in bad and not f.waived and f.fingerprint not in following]


def told_prefix(report: Report, facts: CheckContext, target: Target | None) -> str | None:
    """The prefix of the planned environment as the report's findings spell it: redacted, where it lies in a home folder."""
    return next((told.prefix for told, t in zip(report.targets, facts.targets, strict=True) if t == target), None)


def parts_of(finding: Finding, told: str | None) -> Iterator[str]:
    """The wheels that a finding speaks of, as far as they are those of the environment with this prefix."""
    for key in finding.subject:
        kind, _, rest = key.partition(":")
        name, _, prefix = rest.partition("@")
        if kind == "wheel" and told is not None and prefix == told:
            yield name


def wish_need(wish: Wish) -> Need:
    """A wish as a requirement. The choice itself honours the versions; so does this, for what is installed."""
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion, Version

    wanted = SpecifierSet(wish.spec)

    def accepts(option: Option) -> bool:
        try:
            version = Version(option.version)
        except InvalidVersion:
            return not wish.spec
        built = f"{version.public}+{option.build}" if option.build.isalnum() else option.version
        return wanted.contains(version, prereleases=True) or wanted.contains(built, prereleases=True)

    return Need(part=wish.part, text=wish.text, source=wish.why or ASKED, accepts=accepts)


def stays_need(part: str) -> Need:
    """What is installed goes on being installed."""
    return Need(part=part, text=f"{part}, which is installed", source=INSTALLED, accepts=lambda option: True)


def what_stands(raw: Catalogue, installed: Iterable[str]) -> tuple[dict[str, Option], tuple[str, ...]]:
    """The installed parts without those of their needs that are not met even now: no plan was asked to mend these."""
    out, notes = {}, []
    for part in installed:
        here = next((o for o in raw.options(part) if o.effort is Effort.NONE), None)
        if here is None:
            continue
        kept = []
        for need in here.needs:
            others = [o for o in raw.options(need.part) if o.effort is Effort.NONE]
            if others and not any(map(need.accepts, others)):
                notes.append(
                    f"{here.label} asks for {need.text}, and {others[0].label} is there already: left as it is"
                )
            else:
                kept.append(need)
        out[part] = replace(here, needs=tuple(kept))
    return out, tuple(notes)


def with_standing(raw: Catalogue, part: str, standing: dict[str, Option]) -> Iterator[Option | Refused]:
    """The options of a part, what stands replaced."""
    for option in raw.options(part):
        yield standing[part] if option.effort is Effort.NONE and part in standing else option
    yield from raw.refused[part]


# -- the steps ----------------------------------------------------------------------------------------------------


def steps_of(
    solution: Solution, before: dict[str, str | None], target: Target | None, facts: CheckContext
) -> Iterator[PlanStep]:
    """Deepest first: the driver before the wheels that need it; the wheels of one index in one command."""
    changed = [o for o in solution.chosen.values() if o.effort is not Effort.NONE]
    pip = pip_of(facts, target, {o.part for o in changed if o.effort is Effort.WHEEL})
    if any(o.effort is Effort.INTERPRETER for o in changed):
        pip = None  # there is no interpreter yet to install with
    for option in sorted((o for o in changed if o.effort > Effort.WHEEL), key=lambda o: (-o.effort, o.part)):
        yield PlanStep(
            changes=(change(option, before),), effort=option.effort.name.lower(), text=option.remedy,
            reasons=reasons(solution.asked[option.part]), sources=sources(option, solution),
        )  # fmt: skip
    wheels = sorted((o for o in changed if o.effort is Effort.WHEEL), key=lambda o: o.part)
    for index in sorted({o.index for o in wheels}, reverse=True):
        options = [o for o in wheels if o.index == index]
        commands, text = installation(options, index, pip, target)
        yield PlanStep(
            changes=tuple(change(o, before) for o in options), effort=Effort.WHEEL.name.lower(),
            text=" ".join([text, *dict.fromkeys(o.remedy for o in options if o.remedy)]), commands=commands,
            reasons=tuple(dict.fromkeys(r for o in options for r in reasons(solution.asked[o.part]))),
            sources=tuple(dict.fromkeys(s for o in options for s in sources(o, solution))),
        )  # fmt: skip


def installation(
    options: list[Option], index: str, pip: Callable[[str], tuple[str, ...]] | None, target: Target | None
) -> tuple[tuple[Command, ...], str]:
    """(commands, sentence) of one installation; no command where we do not know the installer."""
    arguments = [o.requirement for o in options] + (["--index-url", index] if index else [])
    removes = sorted({name for o in options for name in o.removes})
    if pip is None:
        if target is not None and target.kind == "conda":
            return (
                (),
                f"With the environment's own manager (conda, mamba, pixi): {', '.join(o.label for o in options)}.",
            )
        return (), f"In the new environment: `pip install {' '.join(arguments)}`."
    commands = [Command(argv=(*pip("uninstall"), *removes))] if removes else []
    return (*commands, Command(argv=(*pip("install"), *arguments))), f"Install {', '.join(o.label for o in options)}."


def pip_of(facts: CheckContext, target: Target | None, parts: set[str]) -> Callable[[str], tuple[str, ...]] | None:
    """How these parts are installed into this environment: the start of a command line for a verb. None where there is no
    environment, and in one of conda for what pip has not put there: the two undo each other's work."""
    wheels = wheels_of(facts, target)
    if target is None or (target.kind == "conda" and any(p not in wheels or wheels[p].origin != "pip" for p in parts)):
        return None
    if {c.origin for c in wheels.values()} == {"uv"}:
        return lambda verb: ("uv", "pip", verb, "--python", target.executable)
    sure = {"uninstall": ("-y",)}
    return lambda verb: (target.executable, "-m", "pip", verb, *sure.get(verb, ()))


def change(option: Option, before: dict[str, str | None]) -> PlanChange:
    """What is there and what comes."""
    after = f"{option.version} ({option.build})" if option.build else option.version
    return PlanChange(part=option.part, before=before[option.part], after=after)


def found_before(part: str, catalogue: Catalogue, installed: dict[str, Component]) -> str | None:
    """The version of a part as it is."""
    if part in installed:
        return installed[part].version
    return next((o.version for o in catalogue.options(part) if o.effort is Effort.NONE and o.version), None)


def reasons(asked: Iterable[Asked]) -> tuple[str, ...]:
    """Who asked for it, in words."""
    out = []
    for item in asked:
        if item.by is not None:
            out.append(f"{item.by.label} needs {item.need.text}")
        elif item.need.source != INSTALLED:
            out.append(item.need.source if item.need.source != ASKED else f"asked for: {item.need.text}")
    return tuple(dict.fromkeys(out))


def sources(option: Option, solution: Solution) -> tuple[str, ...]:
    """Where the facts of a choice stand."""
    found = [option.source, *(a.need.source for a in solution.asked[option.part] if a.by is not None)]
    return tuple(dict.fromkeys(s for s in found if s))


def repair_step(finding: Finding) -> PlanStep:
    """A finding that no choice of versions repairs: its own remediation."""
    remediation = finding.remediation
    if remediation is None:
        raise ValueError("a finding without a remediation")
    return PlanStep(
        effort="as described", text=remediation.text, reasons=(f"{finding.id}: {finding.title}",),
        sources=remediation.docs, commands=remediation.commands, finding=finding.id,
    )  # fmt: skip
