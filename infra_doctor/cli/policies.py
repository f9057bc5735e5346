"""The options by which a run is held against a policy or a baseline, and what they mean."""

import argparse
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from infra_doctor.errors import InputError, UsageError
from infra_doctor.model.policy import Policy
from infra_doctor.model.report import Measurement
from infra_doctor.runner import registry
from infra_doctor.runner.core_ids import ALWAYS_ERROR, CORE_IDS

if TYPE_CHECKING:
    from infra_doctor.policy.reading import Known
    from infra_doctor.runner.baseline import Baseline
    from infra_doctor.runner.run import RunOptions


def add_policy_arguments(group: argparse._ArgumentGroup) -> None:
    """`--policy`, `--require` and what goes with them."""
    group.add_argument(
        "--policy", metavar="FILE", help="hold the machine against this policy "
        "(default: infra-doctor.toml, or [tool.infra-doctor] of pyproject.toml, here or in the repository's folders above)",
    )  # fmt: skip
    group.add_argument("--no-policy", action="store_true", help="look for no policy")
    group.add_argument(
        "--require", action="append", metavar="KEY[=SPEC]", default=[],
        help="what the machine must be: gpu.count=8, 'driver>=580', ort.cuda (may be repeated)",
    )  # fmt: skip
    group.add_argument("--preset", action="append", metavar="NAME", default=[], help="judge by this choice of checks")
    group.add_argument("--skip", action="append", metavar="ID", default=[], help="leave this check out")
    group.add_argument(
        "--baseline", metavar="FILE", help="an earlier report or snapshot: only what got worse since then counts"
    )


def policy_of(args: argparse.Namespace) -> Policy | None:
    """The policy of the options and the files; None where nothing asks for one. Raises InputError, UsageError."""
    path = args.policy
    if path is not None and args.no_policy:
        raise UsageError("--policy and --no-policy exclude each other")
    if path is None and not args.no_policy:
        path = discovered()
    if path is None and not (args.require or args.preset or args.skip):
        return None
    from infra_doctor.policy.reading import merged, read_policy, read_requirement, way_out

    known = known_names(third_party=not args.no_plugins)
    policy = read_policy(path, known) if path is not None else None
    policy = merged(policy, [read_requirement(text, known.keys) for text in args.require]) or Policy()
    if args.preset:
        names = [p.name for p in known.presets]
        for name in args.preset:
            if name not in names:
                help_text = way_out(name, names, names, "Presets")
                raise UsageError(f"--preset {name[:60]}: no such preset", help=help_text)
        policy = replace(policy, presets=tuple(args.preset), only=())
    if args.skip:
        checks = registry.load(("checks",), third_party=not args.no_plugins).checks
        skipped = [c.id for c in registry.checks_named(checks, args.skip)]
        policy = replace(policy, skip=(*policy.skip, *skipped))
    return policy


def discovered() -> str | None:
    """The policy of the working folder. Costs no TOML parser where there is none."""
    try:
        here = os.getcwd()
    except OSError:  # it is gone
        return None
    folder = here
    while True:
        if any(os.path.lexists(os.path.join(folder, n)) for n in ("infra-doctor.toml", "pyproject.toml")):
            from infra_doctor.policy.files import discover

            return discover(here)
        if os.path.exists(os.path.join(folder, ".git")) or folder == os.path.dirname(folder):
            return None
        folder = os.path.dirname(folder)


def known_names(*, third_party: bool) -> "Known":
    """What a policy may name, from the plug-ins."""
    from infra_doctor.policy.reading import Known

    found = registry.load(("checks", "requirements", "presets"), third_party=third_party)
    return Known(
        keys=tuple(found.requirements),
        presets=tuple(found.presets),
        ids=(*(c.id for c in found.checks), *CORE_IDS),
        core=tuple(CORE_IDS),
        errors=ALWAYS_ERROR,
    )


def baseline_of(args: argparse.Namespace, options: "RunOptions") -> "Baseline | None":
    """The report named by `--baseline`; a snapshot is judged here, as the run of these options is. Raises InputError."""
    if args.baseline is None:
        return None
    from infra_doctor.runner.baseline import read_baseline

    return read_baseline(args.baseline, options)


def measurements_of(args: argparse.Namespace) -> tuple[Measurement, ...]:
    """The measurements of the report named by `--measurements`. Raises InputError where it has none."""
    if args.measurements is None:
        return ()
    from infra_doctor.codec import load_report

    found = load_report(args.measurements).measurements
    if not found:
        raise InputError(f"{args.measurements}: holds no measurements")
    return found
