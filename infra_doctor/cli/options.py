"""Options that several verbs share: which machine, which target."""

import argparse

from infra_doctor.errors import UsageError
from infra_doctor.runner.run import RunOptions

LONGEST_S = 1e9


def add_machine_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that choose the machine, the target and the bounds of a run."""
    machine = parser.add_argument_group("which machine and environment")
    machine.add_argument(
        "--python", metavar="PATH", help="judge this Python (its executable, or the environment's folder)"
    )
    machine.add_argument("--pid", type=int, metavar="N", help="judge the environment of this running process")
    machine.add_argument("--all-pythons", action="store_true", help="judge every Python environment that can be found")
    machine.add_argument("--root", metavar="DIR", help="look at the files under DIR as another machine's")
    machine.add_argument("--replay", metavar="FILE", help="look at a snapshot instead of this machine")
    machine.add_argument("--timeout", type=float, metavar="S", help="bound the whole run to S seconds")
    machine.add_argument("--identify", action="store_true", help="keep host names, user names and device UUIDs")
    machine.add_argument("--no-plugins", action="store_true", help="leave third parties' plug-ins out")


def run_options(args: argparse.Namespace) -> RunOptions:
    """The run that the options ask for. Raises UsageError where they contradict each other."""
    if args.root is not None and args.replay is not None:
        raise UsageError("--root and --replay exclude each other", help="Give one machine to look at.")
    if args.pid is not None and (args.root is not None or args.replay is not None):
        raise UsageError("--pid names a process of this machine", help="Leave out --root and --replay.")
    if sum((args.python is not None, args.pid is not None, bool(args.all_pythons))) > 1:
        raise UsageError("--python, --pid and --all-pythons exclude each other", help="Give one of them.")
    if args.pid is not None and args.pid <= 0:
        raise UsageError(f"--pid {args.pid}: no process has that number")
    if args.timeout is not None and not 0 < args.timeout < LONGEST_S:
        raise UsageError(f"--timeout {args.timeout:g}: give a number of seconds above 0")
    if args.root is not None and not args.root:
        raise UsageError("--root: give a directory")
    return RunOptions(
        python=args.python,
        pid=args.pid,
        all_pythons=args.all_pythons,
        root=args.root,
        replay=args.replay,
        timeout_s=args.timeout,
        identify=args.identify,
        third_party=not args.no_plugins,
        only=tuple(getattr(args, "only", None) or ()),
    )
