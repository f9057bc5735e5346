"""`infra-doctor schema KIND`: the JSON Schema of a document, made from the types that write and read it; of a policy, from
the plug-ins' keys and the finding ids."""

import argparse
from typing import Any

from infra_doctor.cli.output import write_stdout
from infra_doctor.errors import ExitCode

# Kind of document -> the type that it is made from.
KINDS = {
    "report": "infra_doctor.model.report:Report",
    "plan": "infra_doctor.model.planning:Plan",
    "difference": "infra_doctor.model.difference:Difference",
    "triage": "infra_doctor.model.triage:Triage",
}
POLICY = "policy"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `schema`."""
    parser.add_argument("kind", choices=(*KINDS, POLICY), help="which document")
    parser.add_argument("--no-plugins", action="store_true", help="of a policy: leave third parties' keys and ids out")


def run(args: argparse.Namespace) -> int:
    """Print the schema (draft 2020-12)."""
    from infra_doctor.codec import encode

    schema = policy_schema(third_party=not args.no_plugins) if args.kind == POLICY else document_schema(args.kind)
    write_stdout(encode(schema))
    return ExitCode.OK


def document_schema(kind: str) -> dict[str, Any]:
    """Of a document that we write. Fields may be added within a major version, so further ones are allowed."""
    import importlib

    from msgspec.json import schema

    from infra_doctor.model.report import SCHEMA_VERSION

    module, _, name = KINDS[kind].partition(":")
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"infra-doctor/{kind}-{SCHEMA_VERSION}",
        "title": f"infra-doctor {kind} {SCHEMA_VERSION}",
    }
    return {**head, **schema(getattr(importlib.import_module(module), name))}


def policy_schema(*, third_party: bool) -> dict[str, Any]:
    """Of a policy, which users write: nothing further is allowed."""
    from infra_doctor.cli.policies import known_names
    from infra_doctor.model.report import SCHEMA_VERSION
    from infra_doctor.policy import schema
    from infra_doctor.runner import registry
    from infra_doctor.runner.core_ids import CORE_IDS

    checks = registry.load(("checks",), third_party=third_party).checks
    titles = {c.id: c.title for c in checks} | {i: title for i, (title, _) in CORE_IDS.items()}
    return schema.policy_schema(known_names(third_party=third_party), titles, SCHEMA_VERSION)
