"""`infra-doctor schema KIND`: the JSON Schema of a document, made from the types that write and read it."""

import argparse

from infra_doctor.cli.output import write_stdout
from infra_doctor.errors import ExitCode

# Kind of document -> the type that it is made from.
KINDS = {
    "report": "infra_doctor.model.report:Report",
    "plan": "infra_doctor.model.planning:Plan",
    "difference": "infra_doctor.model.difference:Difference",
    "triage": "infra_doctor.model.triage:Triage",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `schema`."""
    parser.add_argument("kind", choices=KINDS, help="which document")


def run(args: argparse.Namespace) -> int:
    """Print the schema (draft 2020-12). Fields may be added within a major version, so further ones are allowed."""
    import importlib

    from msgspec.json import schema

    from infra_doctor.codec import encode
    from infra_doctor.model.report import SCHEMA_VERSION

    module, _, name = KINDS[args.kind].partition(":")

    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"infra-doctor/{args.kind}-{SCHEMA_VERSION}",
        "title": f"infra-doctor {args.kind} {SCHEMA_VERSION}",
    }
    write_stdout(encode({**head, **schema(getattr(importlib.import_module(module), name))}))
    return ExitCode.OK
