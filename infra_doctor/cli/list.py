"""`infra-doctor list`: the plug-ins that are there."""

import argparse

from infra_doctor.cli.output import write_stdout
from infra_doctor.errors import ExitCode
from infra_doctor.runner import registry
from infra_doctor.runner.core_ids import CORE_IDS

KINDS = ("checks", "rules", "probes", "formats", "requirements", "presets")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `list`."""
    parser.add_argument("what", nargs="?", choices=KINDS, help="one kind only")
    parser.add_argument("--json", action="store_true", help="as a JSON document")


def run(args: argparse.Namespace) -> int:
    """Print ids and titles."""
    found = registry.load((*registry.JUDGING, *registry.HOLDING))
    rows: dict[str, list[tuple[str, str]]] = {
        "checks": sorted([(c.id, c.title) for c in found.checks] + [(i, t) for i, (t, _) in CORE_IDS.items()]),
        "rules": sorted((r.id, r.title) for r in found.tables),
        "probes": sorted((p.id, f"{p.title} (needs {', '.join(p.needs)})") for p in found.probes),
        "formats": sorted((f.name, f.help) for f in found.reports),
        "requirements": sorted((k.key, f"{k.title} ({k.kind}, such as {k.example})") for k in found.requirements),
        "presets": sorted((p.name, p.title) for p in found.presets),
    }
    chosen = {k: v for k, v in rows.items() if args.what in (None, k)}
    if args.json:
        from infra_doctor.codec import encode
        from infra_doctor.model.report import SCHEMA_VERSION

        items = {k: [{"id": i, "title": t} for i, t in v] for k, v in chosen.items()}
        write_stdout(encode({"kind": "list", "schema_version": SCHEMA_VERSION, **items}))
        return ExitCode.OK
    width = max((len(i) for v in chosen.values() for i, _ in v), default=0)
    blocks = ["\n".join([f"{kind}:", *(f"  {i:<{width}}  {t}" for i, t in items)]) for kind, items in chosen.items()]
    if found.third_party and args.what is None:
        blocks.append("\n".join(["third-party packages:", *(f"  {t}" for t in found.third_party)]))
    write_stdout("\n\n".join(blocks) + "\n")
    return ExitCode.OK
