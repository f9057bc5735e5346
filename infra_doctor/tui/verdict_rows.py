"""The rows of the Verdict screen: while the run goes on its probes, then causes with what follows from them, worst first."""

from textual.content import Content

from infra_doctor.errors import InfraDoctorError
from infra_doctor.model.component import DEVICE_KINDS
from infra_doctor.model.finding import Finding, Status
from infra_doctor.model.report import Report
from infra_doctor.model.stack import StackLine, device_groups, machine_stack, target_stack
from infra_doctor.model.view import blind_probes, causes, headline, labels, passed, skipped, waived
from infra_doctor.model.wording import MEANING, SIGN, command_line, counted, printable
from infra_doctor.tui.progress import Phase, ProbeState, Progress, report_so_far
from infra_doctor.tui.rows import Row, Section
from infra_doctor.tui.text import (
    CODE,
    MUTED,
    STATUS_STYLE,
    STRONG,
    badge,
    evidence_lines,
    link,
    prose,
    said,
    stacked,
    table_lines,
    titled,
)

OVERVIEW = "overview"


def verdict_line(progress: Progress, seconds: float) -> Content:
    """The verdict in a sentence, or how far the run is."""
    if progress.phase is Phase.STARTING:
        return Content.styled("Starting: finding the probes …", STRONG)
    if progress.phase is Phase.LOOKING:
        busy = [p.title for p in progress.probes.values() if p.started and p.outcome is None]
        text = f"Looking: {progress.done} of {counted(len(progress.probes), 'probe')} done"
        text += f", {seconds:.0f} s" if seconds >= 1 else ""
        waiting = f"; now {', '.join(busy)}" if busy else "; judging" if progress.done == len(progress.probes) else ""
        return Content.assemble((text, STRONG), said(waiting, MUTED))
    if progress.error is not None:
        return Content.assemble(
            badge(Status.ERROR), " ", said("The run could not go on: " + _message(progress.error), STRONG)
        )
    head = headline(report_so_far(progress))
    return Content.assemble(badge(head.status), " ", prose(head.text, STRONG))


def counts_line(progress: Progress) -> Content:
    """How many findings have each status; those that are waived count apart."""
    report = progress.report
    if report is None:
        words = "Nothing was judged." if progress.error else "Nothing is judged before every probe has ended."
        return Content.styled(words, MUTED)
    parts = []
    for status in (Status.FAIL, Status.ERROR, Status.WARN, Status.UNKNOWN, Status.PASS, Status.SKIP):
        number = sum(f.status is status and f.waived is None for f in report.findings)
        style = STATUS_STYLE[status] if number else MUTED
        parts.append(Content.styled(f"{SIGN[status]} {number} {status.value}", style))
    if pardoned := waived(report):
        parts.append(Content.styled(f"{len(pardoned)} waived", MUTED))
    return Content("   ").join(parts)


def machine_line(progress: Progress) -> Content:
    """Devices, driver and Python environment in one line."""
    report = progress.report
    if report is None:
        targets = ", ".join(f"Python {t.python_version or '?'} in {t.prefix}" for t in progress.targets)
        return said(targets, MUTED)
    words = list(device_groups(c for c in report.components if c.kind in DEVICE_KINDS)) or ["no accelerator found"]
    words += [f"driver {c.name} {c.version or '?'}" for c in report.components if c.kind == "driver"]
    words += [f"Python {t.python_version or '?'} in {t.prefix}" for t in report.targets] or ["no Python environment"]
    return said(" · ".join(words), MUTED)


def sections(progress: Progress) -> tuple[Section, ...]:
    """Everything that the list shows."""
    if progress.error is not None:
        return (
            Section(title="The run ended", rows=(_error_row(progress.error),)),
            *_probe_section("How far it came", progress),
        )
    if progress.report is None:
        return _probe_section("Probes", progress)
    report = progress.report
    names = labels(report)
    problems: list[Row] = []
    for cause in causes(report):
        problems.append(_finding_row(cause.root, progress, names, about=cause.text))
        problems += [_finding_row(finding, progress, names, root=cause.root) for finding in cause.follows]
    rest = [
        _findings_group("waived", "finding", "waived", waived(report), progress, names),
        _findings_group("passed", "check", "in order", passed(report), progress, names),
        _skipped_group(report),
        _probes_group(progress),
    ]
    overview = Section(title="This machine", rows=(_overview_row(report), *(row for row in rest if row)))
    if not problems:
        return (overview,)
    return (Section(title="What to look at, worst first", rows=tuple(problems)), overview)


# -- findings -----------------------------------------------------------------------------------------------------


def _finding_row(
    finding: Finding, progress: Progress, names: dict[str, str], *, root: Finding | None = None, about: str = ""
) -> Row:
    commands = [c for c in (finding.remediation.commands if finding.remediation else ()) if c.argv]
    safe = all(argument.isprintable() for c in commands for argument in c.argv)
    texts = [command_line(c) for c in commands]
    why_not = "No command repairs this: the fix is in words." if safe else "Its command is not safe to paste."
    return Row(
        id=f"finding {finding.fingerprint}",
        line=Content.assemble(
            ("└ " if root else "", MUTED),
            badge(finding.status),
            " ",
            said(finding.id, STRONG),
            "  ",
            said(finding.title),
        ),
        detail=lambda: finding_detail(finding, names, root=root, about=about),
        words=" ".join((*finding.subject, finding.detail)),
        copy="\n".join(texts) if safe else "",
        why_no_copy=why_not,
    )


def finding_detail(finding: Finding, names: dict[str, str], *, root: Finding | None = None, about: str = "") -> Content:
    """All of one finding: what, why, what to do, and the evidence."""
    words = [MEANING[finding.status], f"{finding.severity.value} severity", finding.confidence.value]
    head = Content("\n").join(
        [
            Content.assemble(badge(finding.status), " ", said(finding.id, STRONG)),
            prose(finding.title, STRONG),
            Content.styled(" · ".join(words), MUTED),
        ]
    )
    why = [said(f"{root.id}: {root.title}")] if root else []
    waiver = finding.waived
    pardon = [said(f"{waiver.reason}" + (f" (until {waiver.until})" if waiver.until else ""))] if waiver else []
    return stacked(
        head,
        prose(finding.detail),
        prose(about, "italic"),
        titled("Follows from", *why),
        titled("Waived", *pardon),
        _remedy(finding),
        titled("About", *(said(names.get(key, key)) for key in finding.subject)),
        titled("Evidence", *evidence_lines(finding.evidence)),
        said(f"infra-doctor explain {finding.id}", MUTED),
    )


def _remedy(finding: Finding) -> Content:
    remedy = finding.remediation
    if remedy is None:
        return Content()
    commands = [said(command_line(c), CODE, limit=2000) for c in remedy.commands]
    return stacked(
        titled("What to do", prose(remedy.text)),
        titled("Commands (c copies them)", *(Content.styled("$ ", MUTED) + command for command in commands)),
        titled("Documentation", *map(link, remedy.docs)),
    )


def _findings_group(
    name: str, noun: str, words: str, findings: tuple[Finding, ...], progress: Progress, names: dict[str, str]
) -> Row | None:
    if not findings:
        return None
    status = Status.PASS if name == "passed" else Status.SKIP
    rows = tuple(_finding_row(f, progress, names) for f in findings)
    line = Content.assemble((f"{SIGN[status]} {counted(len(findings), noun)} {words}", STATUS_STYLE[status]))
    listed = [said(f"{f.id}  {f.title}") for f in findings]
    return Row(id=f"group {name}", line=line, detail=lambda: titled(line.plain, *listed), rows=rows)


def _skipped_group(report: Report) -> Row | None:
    reasons = skipped(report)
    if not reasons:
        return None
    rows = tuple(
        Row(
            id=f"skipped {reason.text}",
            line=Content.assemble(
                badge(Status.SKIP), " ", said(reason.text), said(f"  {', '.join(reason.ids)}", MUTED)
            ),
            detail=lambda reason=reason: stacked(  # type: ignore[misc]
                prose(reason.text, STRONG), titled("Checks that do not apply", *map(said, reason.ids))
            ),
        )
        for reason in reasons
    )
    number = sum(f.status is Status.SKIP and f.waived is None for f in report.findings)
    verb = "does" if number == 1 else "do"
    line = Content.styled(f"{SIGN[Status.SKIP]} {counted(number, 'check')} {verb} not apply", STATUS_STYLE[Status.SKIP])
    listed = [line for r in reasons for line in (said(r.text), said("  " + ", ".join(r.ids), MUTED))]
    return Row(id="group skipped", line=line, detail=lambda: titled("Why checks do not apply", *listed), rows=rows)


# -- the machine --------------------------------------------------------------------------------------------------


def _overview_row(report: Report) -> Row:
    return Row(
        id=OVERVIEW,
        line=Content.styled("= The stack in a few lines", STRONG),
        detail=lambda: overview_detail(report),
        words=report.machine.name,
    )


def overview_detail(report: Report) -> Content:
    """The machine and its Python environments in a few lines, and why no accelerator was found where none was."""
    parts = [titled("Machine", *_stack_lines(machine_stack(report)))]
    parts += [titled("Python environment", *_stack_lines(target_stack(report, target))) for target in report.targets]
    if not report.targets:
        parts.append(titled("Python environment", said("none was found; --python PATH names one")))
    return stacked(no_accelerator(report), *parts)


def _stack_lines(stack: tuple[StackLine, ...]) -> list[Content]:
    return table_lines([(line.label if n == 0 else "", value) for line in stack for n, value in enumerate(line.values)])


def no_accelerator(report: Report) -> Content:
    """Where no device was found: what was looked for, and what could not be seen."""
    if any(c.kind in DEVICE_KINDS for c in report.components):
        return Content()
    listed = [said(f"{', '.join(reason.ids)}: {reason.text}") for reason in blind_probes(report)]
    looked = sum(p.status is Status.PASS for p in report.probes)
    if looked:
        listed.append(said(f"{counted(looked, 'probe')} looked and reported no device"))
    if not listed:
        listed.append(said("no probe ran"))
    return titled("No accelerator found", *listed)


# -- probes -------------------------------------------------------------------------------------------------------


def _probe_section(title: str, progress: Progress) -> tuple[Section, ...]:
    rows = tuple(_probe_row(p) for p in progress.probes.values())
    return (Section(title=title, rows=rows),) if rows else ()


def probe_state(probe: ProbeState) -> Content:
    """Sign and word for how far a probe is."""
    if probe.outcome is None:
        return Content.styled("◌ LOOKING", "bold $text-accent") if probe.started else Content.styled("· QUEUED ", MUTED)
    if probe.outcome.status is Status.PASS:
        return Content.styled(f"{SIGN[Status.PASS]} DONE   ", STATUS_STYLE[Status.PASS])
    return badge(probe.outcome.status)


def _probe_row(probe: ProbeState) -> Row:
    outcome = probe.outcome
    more = outcome.reason if outcome and outcome.reason else counted(probe.found, "component") if probe.found else ""
    return Row(
        id=f"probe {probe.id}",
        line=Content.assemble(probe_state(probe), " ", said(probe.title), said(f"  {more}" if more else "", MUTED)),
        detail=lambda: stacked(
            Content("\n").join(
                [Content.assemble(probe_state(probe), " ", said(probe.title, STRONG)), said(probe.id, MUTED)]
            ),
            prose(outcome.reason if outcome else ""),
            Content(
                f"{counted(probe.found, 'component')} found"
                if outcome
                else "Nothing waits for it here: q leaves at once."
            ),
        ),
        words=probe.id,
    )


def _probes_group(progress: Progress) -> Row | None:
    states = list(progress.probes.values())
    if not states:
        return None
    ended = [p.outcome.status for p in states if p.outcome]
    words = [f"{ended.count(Status.PASS)} looked"]
    words += [f"{ended.count(Status.SKIP)} skipped"] if Status.SKIP in ended else []
    words += [f"{ended.count(Status.ERROR)} could not look"] if Status.ERROR in ended else []
    line = Content.styled(f"{SIGN[Status.SKIP]} {counted(len(states), 'probe')}: {', '.join(words)}", MUTED)
    listed = [Content.assemble(probe_state(p), " ", said(p.title)) for p in states]
    return Row(
        id="group probes", line=line, detail=lambda: titled("Probes", *listed), rows=tuple(map(_probe_row, states))
    )


# -- errors -------------------------------------------------------------------------------------------------------


def _message(error: BaseException) -> str:
    if isinstance(error, InfraDoctorError):
        return str(error)
    return f"a fault of our own: {type(error).__name__}" + (f": {error}" if str(error) else "")


def _error_row(error: BaseException) -> Row:
    message = _message(error)
    own = not isinstance(error, InfraDoctorError)
    way_out = error.help if isinstance(error, InfraDoctorError) else ""
    if own:
        way_out = "Run `infra-doctor check --debug` and send us what it prints."
    return Row(
        id="error",
        line=Content.assemble(badge(Status.ERROR), " ", said(message)),
        detail=lambda: stacked(
            prose(message, STRONG), titled("The way out", prose(way_out or "Repair this and press r to run again."))
        ),
        copy=printable(message, lines=True),
    )
