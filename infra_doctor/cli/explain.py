"""`infra-doctor explain ID`: what a finding or a rule means, from where it stands beside its check."""

import argparse
import difflib
import textwrap

from infra_doctor.cli.output import write_stdout
from infra_doctor.errors import ExitCode, UsageError
from infra_doctor.model.plugins import Check, CompatibilityRule
from infra_doctor.runner import registry
from infra_doctor.runner.core_ids import CORE_IDS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `explain`."""
    parser.add_argument(
        "id",
        metavar="ID",
        nargs="+",
        help="a finding id (DRV-OLD), a rule (cuda-driver-family) or an error of a vendor",
    )


def run(args: argparse.Namespace) -> int:
    """Print the explanation. Raises UsageError with the nearest id."""
    found = registry.load(("checks", "tables"))
    items: dict[str, Check | CompatibilityRule | tuple[str, str]] = {c.id: c for c in found.checks}
    items |= {r.id: r for r in found.tables}
    items |= CORE_IDS
    # A finding and a rule may differ by case alone: as it is written first, then findings before rules.
    by_key = {
        registry.id_key(name): name
        for name in sorted(items, key=lambda n: isinstance(items[n], CompatibilityRule))[::-1]
    }
    wanted = " ".join(args.id)
    key = registry.id_key(wanted)
    name = wanted if wanted in items else by_key.get(key)
    if name is None:
        told = next(filter(None, (explain(wanted) for explain in found.explainers)), None)
        if told is not None:
            write_stdout(_wrapped(told) + "\n")
            return ExitCode.OK
        near = difflib.get_close_matches(key, by_key, n=3, cutoff=0.4)
        nearest = ", ".join(by_key[n] for n in near)
        raise UsageError(
            f"no such id: {wanted[:60]}",
            help=f"Nearest: {nearest}." if nearest else "`infra-doctor list checks` names them all.",
        )
    write_stdout(_text(name, items[name]))
    return ExitCode.OK


def _text(name: str, item: Check | CompatibilityRule | tuple[str, str]) -> str:
    if isinstance(item, tuple):
        return f"{name}: {item[0]}\n\n{_wrapped(item[1])}\n"
    lines = [f"{name}: {item.title}", "", _wrapped(item.explanation), ""]
    if isinstance(item, Check):
        lines += ["What to do", _wrapped(item.remediation, indent="  "), ""]
        if item.explained_by:
            lines += [_wrapped(f"May follow from: {', '.join(item.explained_by)}"), ""]
        if item.log_signatures:
            lines += ["Seen in logs as", *(f"  {s.pattern}" for s in item.log_signatures), ""]
    lines += ["Sources", *(f"  {s}" for s in item.sources)]
    return "\n".join(lines) + "\n"


def _wrapped(text: str, *, indent: str = "") -> str:
    """Paragraph by paragraph, for a terminal of 80 columns; commands and addresses stay whole."""
    paragraphs = (" ".join(p.split()) for p in text.strip().split("\n\n"))
    return "\n\n".join(
        textwrap.fill(
            p, 80, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
        for p in paragraphs
    )
