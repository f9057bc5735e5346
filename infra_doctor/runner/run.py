"""One check run from machine to report."""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from infra_doctor import __version__
from infra_doctor.errors import UsageError
from infra_doctor.machine.forms import Replay, live_machine, replayed_machine, rooted_machine
from infra_doctor.machine.machine import Machine
from infra_doctor.machine.python_env import find_all_targets, find_target
from infra_doctor.machine.redaction import FALLBACK_KEY, Redactor, machine_key
from infra_doctor.machine.types import Capability, MachineForm, Problem
from infra_doctor.model.component import Component, Target
from infra_doctor.model.evidence import Evidence, EvidenceKind
from infra_doctor.model.finding import Finding, Severity, Status, sort_key, with_fingerprint
from infra_doctor.model.plugins import CheckContext, Probe
from infra_doctor.model.record import record
from infra_doctor.model.report import MachineInfo, Measurement, ProbeOutcome, Report, Tool
from infra_doctor.runner import registry as registry_module
from infra_doctor.runner.events import Emit, ReportReady, RunPlanned, TargetsFound, ignore
from infra_doctor.runner.judging import diagnose, judge_matrix, run_checks
from infra_doctor.runner.probing import ProbeResult, run_probes

if TYPE_CHECKING:
    from infra_doctor.model.policy import Policy
    from infra_doctor.runner.baseline import Baseline

TARGETS_TITLE = "Python environments"


@record
class RunOptions:
    """What a run is asked for. At most one of `root`, `replay`; `python`, `pid`, `all_pythons` choose the targets."""

    python: str | None = None
    pid: int | None = None
    all_pythons: bool = False
    root: str | None = None
    replay: str | None = None
    timeout_s: float | None = None
    identify: bool = False
    third_party: bool = True
    only: tuple[str, ...] = ()
    policy: "Policy | None" = None
    baseline: "Baseline | None" = None
    measurements: tuple[Measurement, ...] = ()  # of an earlier benchmark run, for the policy's thresholds


@dataclass
class Run:
    """A run under way and what it leaves: the report, the machine with its observations, tracebacks for `--debug`."""

    options: RunOptions
    emit: Emit = ignore
    cancel: threading.Event = field(default_factory=threading.Event)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    registry: registry_module.Registry | None = None
    machine: Machine | None = None
    replayed_from: dict[str, Any] | None = None
    redactor: Redactor | None = None
    context: CheckContext | None = None  # what was judged, as it was found: not redacted
    traces: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what limits the comparison with the baseline

    def execute(self) -> Report:
        """Look, judge, redact. Raises InfraDoctorError for what ends a run."""
        began = time.perf_counter_ns()
        started = time.monotonic()
        groups = registry_module.JUDGING + (registry_module.HOLDING if self.options.policy is not None else ())
        registry = self.registry or registry_module.load(groups, third_party=self.options.third_party)
        self.registry = registry
        if not registry.probes:
            raise UsageError(
                "no plug-ins found", help="Install the project into this Python: `pip install -e .` in its folder."
            )
        checks = judging_checks(registry, self.options)
        self._created()  # a wrong SOURCE_DATE_EPOCH is said before anything is looked at
        self.emit(RunPlanned(probes=tuple((p.id, p.title) for p in registry.probes)))
        machine = self.machine = self._machine(registry)
        redactor = self.redactor = self._redactor(machine)
        deadline = started + self.options.timeout_s if self.options.timeout_s else None
        targets, problems, late = self._targets_by(machine, deadline)
        self.emit(TargetsFound(targets=targets))
        results = run_probes(registry.probes, machine, targets, emit=self.emit, cancel=self.cancel, deadline=deadline)
        if late is not None:
            results = {late.outcome.id: late, **results}
        self.traces = [r.trace for r in results.values() if r.trace]
        problems += [(p, r.outcome.title) for r in results.values() for p in r.problems]
        report = self._judge(registry, checks, machine, redactor, targets, list(results.values()), problems)
        if "SOURCE_DATE_EPOCH" not in os.environ:
            durations = {i: r.duration_ns for i, r in results.items()}
            report = replace(report, run={"duration_ns": time.perf_counter_ns() - began, "probes_ns": durations})
        self.emit(ReportReady(report=report))
        return report

    # -- the machine and what is judged on it ---------------------------------------------------------------------

    def _machine(self, registry: registry_module.Registry) -> Machine:
        if self.machine is not None:
            return self.machine
        names = sorted({name for probe in registry.probes for name in probe.environment})
        if self.options.replay is not None:
            from infra_doctor.codec import read_document

            document = self.replayed_from = read_document(self.options.replay, ("snapshot",))
            return replayed_machine(document, where=self.options.replay, environment_names=names)
        if self.options.root is not None:
            return rooted_machine(self.options.root, names)
        return live_machine(names)

    def _redactor(self, machine: Machine) -> Redactor:
        replayed = machine.form is MachineForm.REPLAYED
        key = FALLBACK_KEY if replayed else machine_key()
        home = machine.environ.get("HOME") or None
        return Redactor(key=key, home=home, replayed=replayed, enabled=not self.options.identify)

    def _targets(self, machine: Machine) -> tuple[Target, ...]:
        wanted: dict[str, Any] = dict((self.replayed_from or {}).get("request") or {})
        python = self.options.python or wanted.get("python")
        pid = self.options.pid if self.options.pid is not None else wanted.get("pid")
        every = self.options.all_pythons or bool(wanted.get("all_pythons"))
        if python is None and pid is None and (every or machine.form is MachineForm.ROOTED):
            return find_all_targets(machine)
        target = find_target(machine, python=python, pid=pid)
        return (target,) if target else ()

    def _targets_by(
        self, machine: Machine, deadline: float | None
    ) -> tuple[tuple[Target, ...], list[tuple[Problem, str]], ProbeResult | None]:
        """The targets, and what could not be read on the way; or, where the deadline passes before they are found (on a
        file system that hangs), none, and how that ended."""
        done: list[tuple[tuple[Target, ...], list[tuple[Problem, str]]] | BaseException] = []

        def find() -> None:
            try:
                targets = self._targets(machine)
                done.append((targets, [(p, TARGETS_TITLE) for p in machine.problems_of_thread()]))
            except BaseException as error:  # noqa: BLE001  raised again where it was asked for
                done.append(error)

        if deadline is None:
            find()
        else:
            thread = threading.Thread(target=find, name="targets", daemon=True)
            thread.start()
            thread.join(max(0.0, deadline - time.monotonic()))
        if not done:
            reason = "not done when the time for the whole run was over"
            outcome = ProbeOutcome(id="targets", version=1, title=TARGETS_TITLE, status=Status.ERROR, reason=reason)
            return (), [], ProbeResult(outcome=outcome)
        if isinstance(done[0], BaseException):
            raise done[0]
        return (*done[0], None)

    # -- judging --------------------------------------------------------------------------------------------------

    def _judge(
        self,
        registry: registry_module.Registry,
        checks: Sequence[Any],
        machine: Machine,
        redactor: Redactor,
        targets: tuple[Target, ...],
        results: list[ProbeResult],
        problems: list[tuple[Problem, str]],
    ) -> Report:
        components = _merge([c for r in results for c in r.components])
        facts = [f for r in results for f in r.facts]
        outcomes = tuple(r.outcome for r in results)
        common: dict[str, Any] = {
            "targets": targets,
            "components": components,
            "facts": facts,
            "probes": outcomes,
            "today": self.now().date(),
            "measurements": self.options.measurements,
        }
        rows, failures = judge_matrix(registry.tables, CheckContext(**common))
        context = self.context = CheckContext(**common, compatibility=rows)
        failures += [*_probe_failures(results, registry.probes), *_unreadable(problems)]
        raw = [*registry.failures, *failures, *run_checks(checks, context)]
        told: dict[int, tuple[str, ...]] = {}  # what explains a finding that no check gave
        causes = _causes_of_unseen(results, registry.probes)
        told.update((id(f), causes.get(f.subject, ())) for f in raw if f.id == "PROBE-FAILED")
        if self.options.policy is not None:
            from infra_doctor.runner.held import policy_findings

            raw += policy_findings(self.options.policy, registry.requirements, context, told)
        explained: dict[str, tuple[str, ...]] = {}
        findings = []
        for found in raw:
            redacted = with_fingerprint(redactor.typed(found))
            findings.append(redacted)
            if id(found) in told:
                explained[redacted.fingerprint] = told[id(found)]
        report = Report(
            tool=Tool(version=__version__),
            created=self._created(),
            machine=self._machine_info(machine, redactor),
            targets=tuple(map(redactor.typed, targets)),
            probes=tuple(map(redactor.typed, outcomes)),
            facts=tuple(sorted(map(redactor.document, _plain_facts(results)), key=_fact_order)),
            components=tuple(sorted(map(redactor.typed, components), key=lambda c: (c.kind, c.key))),
            compatibility=tuple(map(redactor.typed, rows)),
            measurements=self.options.measurements,
        )
        judged = frozenset(c.id for c in checks)
        return self._concluded(report, findings, registry, explained, redactor, judged)

    def _concluded(
        self,
        report: Report,
        findings: list[Finding],
        registry: registry_module.Registry,
        explained: Mapping[str, tuple[str, ...]],
        redactor: Redactor,
        judged: frozenset[str],
    ) -> Report:
        """The report with its findings, after what the policy and the baseline lay over them. `judged`: the checks that ran."""
        policy, baseline = self.options.policy, self.options.baseline
        held_against: dict[str, Any] | None = None
        if policy is not None or baseline is not None:
            from infra_doctor.runner import held

            if baseline is not None:
                baseline = replace(baseline, source=redactor.text(baseline.source))
            findings, said = held.laid_over(
                findings, report, policy=policy, baseline=baseline, today=self.now().date(), redactor=redactor,
                device_probes=held.looking_for_devices(registry.probes), judged=judged,
            )  # fmt: skip
            self.notes += said
            held_against = held.document(policy, baseline, redactor)
        findings = sorted(findings, key=sort_key)
        return replace(
            report,
            policy=held_against,
            summary={str(s): sum(f.status is s for f in findings) for s in Status},
            findings=tuple(findings),
            diagnoses=diagnose(findings, registry.checks, explained),
        )

    def _created(self) -> str:
        epoch = os.environ.get("SOURCE_DATE_EPOCH")
        if epoch is not None:
            try:
                moment = datetime.fromtimestamp(int(epoch), UTC)
            except (ValueError, OverflowError, OSError) as error:
                raise UsageError(f"SOURCE_DATE_EPOCH is no time: {epoch[:40]!r}") from error
        else:
            moment = self.now()
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def _machine_info(self, machine: Machine, redactor: Redactor) -> MachineInfo:
        if self.replayed_from is not None:
            name = str(self.replayed_from["machine"].get("name", "unnamed"))
        elif machine.form is MachineForm.ROOTED:
            name = "files under a root"
        else:
            node = os.uname().nodename
            name = node if self.options.identify else f"node-{redactor.hashed(node)}"
        return MachineInfo(
            name=name,
            form=str(machine.form),
            capabilities=tuple(sorted(map(str, machine.capabilities))),
            identified=self.options.identify,
        )


def judging_checks(registry: registry_module.Registry, options: RunOptions) -> list[Any]:
    """The checks that judge: those asked for on the command line, else those of the policy and its presets, less what it
    skips. Raises UsageError with the nearest id."""
    policy = options.policy
    wanted = list(options.only)
    if policy is not None and not wanted:
        chosen = {p.name: p.checks for p in registry.presets}
        wanted = [*policy.only, *(i for name in policy.presets for i in chosen.get(name, ()))]
        known = {c.id for c in registry.checks}
        wanted = [i for i in wanted if i in known or i in policy.only]
        if policy.presets and not wanted:  # none of the chosen is there: that is not all of them
            return []
    checks = registry_module.checks_named(registry.checks, wanted)
    return checks if policy is None or options.only else [c for c in checks if c.id not in policy.skip]


def _merge(components: list[Component]) -> list[Component]:
    """One component per key: the first one found, with the evidence of all."""
    out: dict[str, Component] = {}
    for component in components:
        old = out.get(component.key)
        if old is None:
            out[component.key] = component
        else:
            out[component.key] = replace(
                old,
                version=old.version or component.version,
                loaded_by=(*old.loaded_by, *(u for u in component.loaded_by if u not in old.loaded_by)),
                attributes={**component.attributes, **old.attributes},
                evidence=(*old.evidence, *(e for e in component.evidence if e not in old.evidence)),
            )
    return list(out.values())


def _probe_failures(results: list[ProbeResult], probes: list[Probe]) -> list[Finding]:
    """PROBE-FAILED: a probe that ended by an error, and devices that could not be looked at."""
    out = []
    of_devices = {p.id for p in probes if p.devices}
    for result in results:
        outcome = result.outcome
        if outcome.status is Status.ERROR:
            subject = ("accelerator:any",) if outcome.id in of_devices else ()
            title = f"{outcome.title}: could not be looked at"
            out.append(_probe_failed((*subject, f"probe:{outcome.id}"), title, outcome.reason))
        for unseen in result.unseen:
            title = f"{outcome.title}: there, and could not be looked at"
            failed = _probe_failed(unseen.subject, title, unseen.reason, severity=Severity.HIGH)
            out.append(replace(failed, evidence=unseen.evidence or failed.evidence))
    return out


def _causes_of_unseen(results: list[ProbeResult], probes: list[Probe]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """By the subject of a PROBE-FAILED on devices: the ids that explain it."""
    explained_by = {p.id: p.explained_by for p in probes}
    return {u.subject: explained_by.get(r.outcome.id, ()) for r in results for u in r.unseen}


def _unreadable(problems: list[tuple[Problem, str]]) -> list[Finding]:
    """PROBE-FAILED: each file that is there and could not be read, with who asked for it."""
    out = []
    titles_of: dict[tuple[str, str], list[str]] = {}
    for problem, title in problems:
        titles_of.setdefault((problem.path, problem.reason), []).append(title)
    for (path, reason), titles in sorted(titles_of.items()):
        evidence = Evidence(kind=EvidenceKind.FILE, source=path, text=reason)
        failed = _probe_failed(
            (f"file:{path}",), f"{path}: {reason}", f"needed for: {', '.join(dict.fromkeys(titles))}"
        )
        out.append(replace(failed, severity=Severity.LOW, evidence=(evidence,)))
    return out


def _probe_failed(
    subject: tuple[str, ...], title: str, reason: str, *, severity: Severity = Severity.MEDIUM
) -> Finding:
    return Finding(
        id="PROBE-FAILED",
        subject=subject,
        status=Status.ERROR,
        severity=severity,
        title=title,
        detail=reason,
        evidence=(Evidence(kind=EvidenceKind.DERIVED, source=subject[0] if subject else "", text=reason[:400]),),
    )


def _plain_facts(results: list[ProbeResult]) -> list[dict[str, Any]]:
    out = []
    for result in results:
        for item in result.facts:
            head = {"probe": result.outcome.id, "type": item.fact_type, "version": item.fact_version}
            out.append({**head, **_plain(item)})
    return out


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        kept = (f for f in fields(value) if f.metadata.get("in_report", True))
        return {f.name: _plain(getattr(value, f.name)) for f in kept}
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        return [_plain(v) for v in (sorted(value) if isinstance(value, set | frozenset) else value)]
    return value


def _fact_order(item: dict[str, Any]) -> tuple[str, str, str]:
    return (item["probe"], item["type"], repr(sorted(item.items(), key=lambda pair: pair[0])))


def unrecorded(machine: Machine) -> int:
    """How many questions a replayed machine could not answer because its snapshot does not hold them."""
    source = machine._source
    return len(source.unrecorded) if isinstance(source, Replay) else 0


def form_capabilities() -> dict[str, frozenset[Capability]]:
    """What each form of machine can show, for the table probe by form."""
    return {
        str(MachineForm.LIVE): frozenset(Capability),
        str(MachineForm.ROOTED): frozenset({Capability.FILES}),
        f"{MachineForm.ROOTED} with /proc and /sys": frozenset({Capability.FILES, Capability.KERNEL_STATE}),
        str(MachineForm.REPLAYED): frozenset(),
        str(MachineForm.REMOTE): frozenset({Capability.FILES, Capability.ENVIRONMENT, Capability.COMMANDS,
                                            Capability.KERNEL_STATE, Capability.PROCESSES}),
    }  # fmt: skip
