"""The plug-in kinds: what a probe, a check, a compatibility rule and a report format are."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from infra_doctor.model.compatibility import Compatibility, Verdict
from infra_doctor.model.component import Component, Target
from infra_doctor.model.evidence import Evidence
from infra_doctor.model.finding import Command, Confidence, Finding, Remediation, Severity, Status
from infra_doctor.model.policy import SpecKind
from infra_doctor.model.record import record
from infra_doctor.model.report import Measurement, ProbeOutcome, Report

if TYPE_CHECKING:
    import argparse

F = TypeVar("F")


class FactStore:
    """Facts and components by type and key: what both contexts offer."""

    def __init__(
        self, *, targets: tuple[Target, ...], components: Iterable[Component], facts: Iterable[Any],
    ) -> None:  # fmt: skip
        self.targets = targets
        self.components: tuple[Component, ...] = tuple(components)
        self._facts = tuple(facts)
        self._by_key = {c.key: c for c in self.components}

    def facts(self, kind: type[F]) -> tuple[F, ...]:
        """All facts of one type."""
        return tuple(f for f in self._facts if isinstance(f, kind))

    def fact(self, kind: type[F]) -> F | None:
        """The fact of a type that occurs at most once."""
        found = self.facts(kind)
        return found[0] if found else None

    def component(self, key: str) -> Component | None:
        """The component with this key."""
        return self._by_key.get(key)

    def by_kind(self, *kinds: str, target: str | None = None) -> tuple[Component, ...]:
        """Components of these kinds; with `target`, only those of that target."""
        return tuple(c for c in self.components if c.kind in kinds and (target is None or c.target == target))

    def named(self, name: str, target: str | None = None) -> tuple[Component, ...]:
        """Components of this name (for a wheel: its normalized distribution name)."""
        return tuple(c for c in self.components if c.name == name and (target is None or c.target == target))


class ProbeContext(FactStore):
    """What a probe gets: the machine, the targets, and what the probes named in its `after` found."""

    def __init__(
        self, *, machine: Any, targets: tuple[Target, ...], components: Iterable[Component], facts: Iterable[Any],
    ) -> None:  # fmt: skip
        super().__init__(targets=targets, components=components, facts=facts)
        # infra_doctor.machine.machine.Machine; typed Any because the model knows nothing of ours.
        self.machine = machine


@record
class Probe:
    """Collects facts about one subject; never judges. `run` gives facts (dataclasses marked by `fact`), components and
    `Unseen`s; it may raise NotVisible. `needs` are machine capabilities (values of Capability). `environment` names the
    variables that it reads. `collect` says what it reads, for the collector on machines without us: glob patterns of paths
    (a folder is listed, a library's ELF facts are taken, a file is read) that may begin with `$VARIABLE/`, "site:" and a
    pattern below each directory of Python distributions, "prefix:" and one below the environment's own folder, "which:"
    and the name of a program, "run:" and a command, "space:"
    and a path, "opens:" and a device node, "limits", "kernel-log:" and a regular expression, "environ-names:" and the start of
    names, "process:" and the name of one, "pci-bridges" (the configuration of each bridge above a device).
    `devices` says that it looks at accelerator devices: where it fails, the exit code is 3. `explained_by` names the findings
    of whose failing it is a consequence that those devices give no answer."""

    id: str
    version: int
    title: str
    run: Callable[[ProbeContext], Iterable[Any]]
    needs: tuple[str, ...] = ("files",)
    after: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    collect: tuple[str, ...] = ()
    devices: bool = False
    explained_by: tuple[str, ...] = ()
    timeout_s: float = 20.0


class CheckContext(FactStore):
    """What a check gets: facts, components, the compatibility matrix, policy, measurements, profile summaries, the date."""

    def __init__(
        self, *, targets: tuple[Target, ...], components: Iterable[Component], facts: Iterable[Any],
        compatibility: Iterable[Compatibility] = (), probes: Iterable[ProbeOutcome] = (), today: date,
        measurements: Iterable[Measurement] = (),
        profiles: Iterable[dict[str, Any]] = (),
    ) -> None:  # fmt: skip
        super().__init__(targets=targets, components=components, facts=facts)
        self.compatibility: tuple[Compatibility, ...] = tuple(compatibility)
        self.probes = {p.id: p for p in probes}
        self.today = today
        self.measurements = tuple(measurements)
        self.profiles = tuple(profiles)

    def judged(self, *rules: str, verdict: Verdict | None = None) -> tuple[Compatibility, ...]:
        """Matrix rows of these rules, in order; with `verdict`, only those."""
        return tuple(c for c in self.compatibility if c.rule in rules and (verdict is None or c.verdict is verdict))


@record
class LogSignature:
    """What a failure writes into logs. `pattern` is a regular expression, searched case-sensitively within one message
    (wrapped lines joined, ANSI codes and rank prefixes taken off); it must hold a literal of four characters or more and no
    unbounded repetition of `.`. `strength`: 3 names the cause itself, 2 is typical of it, 1 is a symptom that other causes
    have too. `source` is where such a log was published."""

    pattern: str
    source: str
    strength: int = 2


@record
class Check:
    """Everything about one finding id. `run` is pure: context -> findings; one finding at least (a `skip` with the reason
    where the check does not apply). `explanation` is Markdown for `explain`; `sources` are public; `log_signatures` are
    what logs of this failure hold; `explained_by` are ids that, when failing, are the cause of this;
    `follows` (this finding, the possible cause) says whether it really is, where the id alone does not tell."""

    id: str
    title: str
    explanation: str
    remediation: str
    sources: tuple[str, ...]
    run: Callable[["CheckContext"], Iterable[Finding]]
    severity: Severity = Severity.MEDIUM
    log_signatures: tuple[LogSignature, ...] = ()
    explained_by: tuple[str, ...] = ()
    follows: Callable[[Finding, Finding], bool] | None = None
    tags: tuple[str, ...] = ()

    def finding(
        self, status: Status, title: str, *, subject: Iterable[str] = (), detail: str = "",
        evidence: Iterable[Evidence] = (), confidence: Confidence = Confidence.OBSERVED,
        remedy: str = "", commands: Iterable[Command] = (), docs: Iterable[str] | None = None,
        severity: Severity | None = None,
    ) -> Finding:  # fmt: skip
        """A finding of this check. `remedy` is the smallest change; the check's sources are its docs unless given."""
        remediation = None
        if remedy:
            remediation = Remediation(
                text=remedy, commands=tuple(commands), docs=tuple(self.sources if docs is None else docs)
            )
        return Finding(
            id=self.id, subject=tuple(subject), status=status, title=title, detail=detail,
            severity=severity or self.severity, confidence=confidence, evidence=tuple(evidence), remediation=remediation,
        )  # fmt: skip

    def skip(self, reason: str) -> Finding:
        """This check does not apply here."""
        return self.finding(Status.SKIP, reason, severity=Severity.LOW)


@record
class CompatibilityRule:
    """Judges the pairs of components that it knows: pure, like a check."""

    id: str
    title: str
    explanation: str
    sources: tuple[str, ...]
    judge: Callable[["CheckContext"], Iterable[Compatibility]]


@record
class Observed:
    """What a policy's key is on this machine, for one thing (a GPU, an environment, a copy of a library). `value`: a
    version's text, a count, bytes, a name, or whether it is so; None where the thing is not there, with the `reason`.
    `unseen`: it could not be looked at or told, with the `reason`."""

    value: str | int | bool | None
    subject: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    reason: str = ""
    unseen: bool = False


@record
class PolicyKey:
    """A key of `[require]`. `key` has dots ("gpu.count"); one that ends in ".*" takes any name for the star
    ("package.*"), which `observe` gets as its second argument ("" else). `observe` is pure; it gives one `Observed` for each
    thing the key speaks of, one at least: a requirement holds where all of them meet it. `probes` are the ids of those
    that look: where one of them was skipped or failed, what was not found counts as not seen. `explained_by` names
    findings that, when failing, are the cause of a requirement that is not met. `example` is a value for the docs, as
    TOML. `offered`: `policy init` writes the key where it was observed."""

    key: str
    title: str
    kind: SpecKind
    observe: Callable[["CheckContext", str], Iterable[Observed]]
    example: str
    probes: tuple[str, ...] = ()
    explained_by: tuple[str, ...] = ()
    offered: bool = False


@record
class Preset:
    """A named choice of checks for a kind of use: `preset = "training"`. `checks` are the ids that judge."""

    name: str
    title: str
    checks: tuple[str, ...]


class Render(Protocol):
    """Writes a report in one format. Gives text (UTF-8 when written)."""

    def __call__(self, report: Report, options: dict[str, Any]) -> str: ...


@record
class ReportFormat:
    """One output format. `name` is its flag on `check` (`--json`, `--html FILE`): with `takes_file` the flag needs a path,
    else it goes to standard output; `--format NAME[=PATH]` serves both. `automatic` says where `--format auto` writes it in
    this environment: a path, "-" for standard output, "" for not at all; a path that starts with ">>" is added to, as
    other steps of the pipeline write there too. `add_arguments` registers the format's own further flags. `documents` are
    its renderers of other documents than reports, by their kind ("plan", "diff")."""

    name: str
    help: str
    render: Render
    takes_file: bool = False
    suffix: str = ""
    flag: bool = True  # whether it has a flag of its own beside `--format`
    add_arguments: Callable[["argparse._ArgumentGroup"], None] | None = field(default=None)
    documents: dict[str, Callable[[Any, dict[str, Any]], str]] = field(default_factory=dict)
    automatic: Callable[[Mapping[str, str]], str] | None = field(default=None)
