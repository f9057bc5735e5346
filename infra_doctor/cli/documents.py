"""Writes documents that are no reports (plans, differences) to standard output, as text or as JSON."""

import argparse
import os
import sys
from typing import Any

from infra_doctor.cli.output import write_stdout
from infra_doctor.runner import registry


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """How the document is written."""
    outputs = parser.add_argument_group("output (standard output)")
    outputs.add_argument("--json", action="store_true", help="as JSON (`infra-doctor schema` has its schema)")
    outputs.add_argument("-v", "--verbose", action="count", default=0, help="say more")
    outputs.add_argument("--no-color", action="store_true", help="no ANSI colours (also by NO_COLOR)")
    outputs.add_argument("--ascii", action="store_true", help="ASCII signs only")


def write_document(document: Any, args: argparse.Namespace) -> None:
    """The document in the form that was asked for."""
    if args.json:
        from infra_doctor.codec import encode

        write_stdout(encode(document))
        return
    formats = registry.load(("reports",), third_party=False).reports
    text = next(f for f in formats if f.name == "text")
    write_stdout(text.documents[document.kind](document, terminal_settings(args)))


def terminal_settings(args: argparse.Namespace) -> dict[str, object]:
    """What formats may want to know of the terminal."""
    tty = sys.stdout.isatty()
    width = 100
    if tty:
        try:
            width = os.get_terminal_size(sys.stdout.fileno()).columns
        except OSError:
            pass
    color = tty and not args.no_color and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    settings = {k: v for k, v in vars(args).items() if k != "formats"}
    return {**settings, "color": color, "width": width, "ascii": args.ascii or (tty and encoding != "utf8")}
