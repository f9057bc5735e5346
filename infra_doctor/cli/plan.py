"""`infra-doctor plan`: what to change so that a wish fits this machine, or so that its findings go away."""

import argparse

from infra_doctor.cli.deadline import bounded_options
from infra_doctor.cli.documents import add_output_arguments, write_document
from infra_doctor.cli.options import add_machine_arguments
from infra_doctor.errors import ExitCode, UsageError
from infra_doctor.model.planning import Wish
from infra_doctor.runner import registry
from infra_doctor.runner.run import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `plan`."""
    parser.add_argument(
        "wishes",
        metavar="WISH",
        nargs="*",
        help="what should work here: torch, torch==2.15, 'onnxruntime-gpu>=1.28' ...",
    )
    parser.add_argument("--repair", action="store_true", help="plan for what `check` finds wrong here")
    add_output_arguments(parser)
    add_machine_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Look at the machine, search, print. 0: a plan, or nothing to do; 1: nothing fits."""
    wishes = [read_wish(text) for text in args.wishes]
    if not wishes and not args.repair:
        raise UsageError(
            "nothing to plan", help="Say what should work (`plan torch onnxruntime-gpu`), or give --repair."
        )
    names = [w.part for w in wishes]
    if len(set(names)) < len(names):
        raise UsageError("a package is wished for twice", help="Give each once: `torch>=2.9,<2.12`.")
    if args.all_pythons:
        raise UsageError("a plan is for one environment", help="Choose it with --python.")
    this_run = Run(bounded_options(args))
    report = this_run.execute()
    if this_run.context is None or this_run.registry is None or this_run.redactor is None:
        raise RuntimeError("the run left no context")
    from infra_doctor.runner.planning import make_plan  # the resolver, which no other verb needs

    plugins = registry.load(("planning",), third_party=not args.no_plugins)
    target = next(iter(this_run.context.targets), None)
    plan = make_plan(
        report, this_run.context, this_run.registry.checks, plugins.planning, wishes, target=target, repair=args.repair
    )
    plan = this_run.redactor.typed(plan)
    write_document(plan, args)
    return ExitCode.OK if plan.fits else ExitCode.FINDINGS


def read_wish(text: str) -> Wish:
    """`torch==2.15` as a wish. Raises UsageError."""
    import re

    from packaging.requirements import InvalidRequirement, Requirement

    try:
        found = Requirement(text)
    except InvalidRequirement as error:
        raise UsageError(f"{text[:80]!r} is no requirement", help="Write it as pip takes it: `torch==2.15`.") from error
    if found.url or found.marker:
        raise UsageError(f"{text[:80]!r}: addresses and markers cannot be planned", help="Give a name and versions.")
    name = re.sub(r"[-_.]+", "-", found.name).lower()
    return Wish(part=name, spec=str(found.specifier), extras=tuple(sorted(found.extras)))
