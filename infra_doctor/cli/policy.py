"""`infra-doctor policy init|check|keys`: writes a policy from a machine, says what one asks for, names what may stand in one."""

import argparse
import os
from collections.abc import Sequence
from datetime import UTC, date, datetime

from infra_doctor.cli.main import say
from infra_doctor.cli.options import add_machine_arguments, run_options
from infra_doctor.cli.output import write_file, write_stdout
from infra_doctor.cli.policies import discovered, known_names
from infra_doctor.errors import ExitCode, InputError, OutputError, UsageError
from infra_doctor.model.policy import Policy, WaiverRule
from infra_doctor.model.wording import counted, printable
from infra_doctor.runner import registry
from infra_doctor.runner.core_ids import CORE_IDS

SOON_DAYS = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs below `policy`, and their options."""
    verbs = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks")
        return sub

    init = verb("init", "write a policy that this machine meets, to be edited")
    init.add_argument("-o", "--output", metavar="FILE", help="write it here (default: standard output)")
    init.add_argument("--force", action="store_true", help="write over FILE")
    add_machine_arguments(init)
    check = verb("check", "read a policy, and say what it asks for and which waivers have expired or soon will")
    check.add_argument("files", metavar="FILE", nargs="*", help="policies (default: the one that `check` would take)")
    check.add_argument("--no-plugins", action="store_true", help="leave third parties' plug-ins out")
    keys = verb("keys", "what may stand in a policy: the keys of [require], and the presets")
    keys.add_argument("--no-plugins", action="store_true", help="leave third parties' plug-ins out")


def run(args: argparse.Namespace) -> int:
    """The verb below."""
    return {"init": init, "check": check, "keys": keys}[args.action](args)


# -- init -----------------------------------------------------------------------------------------------------------


def init(args: argparse.Namespace) -> int:
    """Look at the machine, write what it is."""
    from dataclasses import replace

    from infra_doctor.policy.writing import draft
    from infra_doctor.runner.run import Run

    path = args.output if args.output != "-" else None
    writable(path, force=args.force)
    this_run = Run(replace(run_options(args), policy=Policy()))
    report = this_run.execute()
    if this_run.context is None or this_run.redactor is None:
        raise RuntimeError("a run without a context")
    of = "this machine" if report.machine.form == "live" else f"a {report.machine.form} machine"
    made = draft(
        this_run.context, report.findings, known_names(third_party=not args.no_plugins), this_run.now().date(),
        machine=f"{of} on {report.created[:10]}", redacted=this_run.redactor.text,
    )  # fmt: skip
    if path is None:
        write_stdout(made.text)
    else:
        writable(path, force=args.force)  # somebody may have been faster
        write_file(path, made.text)
        say(f"wrote {path}: {counted(made.requirements, 'requirement')}, {counted(made.waivers, 'waiver')} offered")
    return ExitCode.OK


def writable(path: str | None, *, force: bool) -> None:
    """Raises where a file would be lost."""
    if path is None:
        return
    if os.path.basename(path) == "pyproject.toml":
        help_text = "Write infra-doctor.toml, or put its tables under [tool.infra-doctor]: [tool.infra-doctor.require]."
        raise UsageError(f"{path}: is more than a policy", help=help_text)
    if os.path.isfile(path) and not force:
        raise OutputError(f"{path}: is there already", help="Give another name, or --force to write over it.")


# -- check ----------------------------------------------------------------------------------------------------------


def check(args: argparse.Namespace) -> int:
    """Read each policy, and say what it asks for. Raises the last error after the others were said."""
    from infra_doctor.policy.reading import read_policy

    found = discovered() if not args.files else None
    paths: list[str] = args.files or ([found] if found is not None else [])
    if not paths:
        help_text = "`infra-doctor policy init -o infra-doctor.toml` writes one."
        raise UsageError("no policy is here, nor in the repository's folders above", help=help_text)
    known = known_names(third_party=not args.no_plugins)
    wrong: list[InputError] = []
    for path in dict.fromkeys(paths):
        try:
            policy = read_policy(path, known)
        except InputError as error:
            wrong.append(error)
        else:
            judging = judged(policy, third_party=not args.no_plugins)
            write_stdout("\n".join(summary(policy, judging, datetime.now(UTC).date())) + "\n")
    for one in wrong[:-1]:
        say(f"infra-doctor: {one}\n{one.help}".rstrip("\n"))
    if wrong:
        raise wrong[-1]
    return ExitCode.OK


def judged(policy: Policy, *, third_party: bool) -> frozenset[str]:
    """The ids that a run with this policy judges."""
    from infra_doctor.runner.run import RunOptions, judging_checks

    found = registry.load(("checks", "presets"), third_party=third_party)
    return frozenset(c.id for c in judging_checks(found, RunOptions(policy=policy)))


def summary(policy: Policy, judging: frozenset[str], today: date) -> list[str]:
    """What a policy asks for, in lines."""
    from infra_doctor.policy.judging import words

    rows = [("checks", f"{len(judging)}{' (' + ', '.join(policy.presets) + ')' if policy.presets else ''}")]
    rows += [("skips", ", ".join(policy.skip))] if policy.skip else []
    rows += [("requires", f"{words(r)}  ({r.place})") for r in policy.requirements]
    rows += [("measures", f"{t.pattern} {t.text}  ({t.place})") for t in policy.thresholds]
    rows += [("severity", f"{i} {o.severity}  ({o.place})") for i, o in policy.severities.items()]
    rows += [("status", f"{i} {o.status}  ({o.place})") for i, o in policy.statuses.items()]
    rows += [("waives", waiver(w, judging, today)) for w in policy.waivers]
    rows += [("exit", f"1 from {policy.fail_on} on")] if policy.fail_on else []
    rows += [("exit", "0 where something could not be looked at (lenient)")] if policy.lenient else []
    rows += [("timeout", f"{policy.timeout_s:g} s")] if policy.timeout_s else []
    late, soon = (sum(w(r, today) for r in policy.waivers) for w in (is_late, is_soon))
    more = [f"{counted(late, 'waiver')} expired"] if late else []
    more += [f"{counted(soon, 'waiver')} ends within {SOON_DAYS} days".replace("s ends", "s end")] if soon else []
    head = f"{', '.join(policy.sources)}: in order{'; ' if more else ''}{', '.join(more)}"
    return [printable(head), *(printable(f"  {name:<9} {text}") for name, text in rows)]


def is_late(rule: WaiverRule, today: date) -> bool:
    """Whether the waiver counts no more."""
    return today > date.fromisoformat(rule.until)


def is_soon(rule: WaiverRule, today: date) -> bool:
    """Whether it will count no more in a month."""
    return 0 <= (date.fromisoformat(rule.until) - today).days <= SOON_DAYS


def waiver(rule: WaiverRule, judging: frozenset[str], today: date) -> str:
    """One waiver in a line."""
    left = (date.fromisoformat(rule.until) - today).days
    notes = [f"EXPIRED {counted(-left, 'day')} ago"] if left < 0 else []
    notes += [f"ends in {counted(left, 'day')}" if left else "ends today"] if is_soon(rule, today) else []
    notes += ["not judged under this policy"] if rule.id not in judging and rule.id not in CORE_IDS else []
    where = f" for {rule.subject}" if rule.subject else ""
    return f"{rule.id}{where} until {rule.until}{' [' + '; '.join(notes) + ']' if notes else ''}: {rule.reason}  ({rule.place})"


# -- keys -----------------------------------------------------------------------------------------------------------


def keys(args: argparse.Namespace) -> int:
    """Print the keys with kind, example and title, what each kind takes, and the presets."""
    from infra_doctor.policy.specs import RATES, SIZES, WANTED, WANTED_BOUND

    known = known_names(third_party=not args.no_plugins)
    rows = [(k.key, str(k.kind), k.example, k.title) for k in known.keys]
    lines = ["keys of [require] and of --require:", *table(rows)]
    lines += ["  One that others start with is written so beside them: torch.version and torch.cuda.", "", "kinds:"]
    lines += table([(str(kind), text.rstrip(",")) for kind, text in WANTED.items()])
    lines += [f"  every kind takes true (it must be there) and false (it must not); sizes in {', '.join(SIZES)}", ""]
    lines += ["[measure]:", f"  {WANTED_BOUND.rstrip(',')}; in {', '.join(RATES)}", "", "presets:"]
    lines += table([(p.name, counted(len(p.checks), "check"), p.title) for p in known.presets])
    write_stdout("\n".join(map(printable, lines)) + "\n")
    return ExitCode.OK


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns, the last as long as it is."""
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    return ["  " + "  ".join([*(f"{c:<{w}}" for c, w in zip(row, widths, strict=False)), row[-1]]) for row in rows]
