"""`infra-doctor collector -o FILE`: a zipapp that takes a snapshot where the doctor cannot be installed."""

import argparse
import io
import json
import zipfile
from importlib import resources

from infra_doctor import __version__
from infra_doctor.cli.main import say
from infra_doctor.cli.output import write_file
from infra_doctor.errors import ExitCode
from infra_doctor.machine.machine import CORE_ENVIRONMENT
from infra_doctor.model.plugins import Probe
from infra_doctor.model.report import SCHEMA_VERSION
from infra_doctor.runner import registry

MODULES = ("agent.py", "collect.py", "essence.py", "redaction.py")
MAIN = """\
import sys
from infra_doctor_collector import agent, collect, redaction
sys.exit(collect.main(agent.Agent(), redaction, collect.packed_plan("infra_doctor_collector")))
"""
# A fixed moment, so that the same version packs to the same bytes.
MOMENT = (2026, 1, 1, 0, 0, 0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `collector`."""
    parser.add_argument(
        "-o", "--output", metavar="FILE", required=True, help="where to write the zipapp (collector.pyz)"
    )


def run(args: argparse.Namespace) -> int:
    """Pack and write it."""
    write_file(args.output, pack())
    say(f"wrote {args.output}; run it there: `python3 {args.output} snapshot.json`")
    return ExitCode.OK


def plan() -> dict[str, object]:
    """What the probes declare that they read."""
    probes = registry.load(("probes",)).probes
    patterns = sorted({p for probe in probes for p in probe.collect})
    return {
        "schema_version": SCHEMA_VERSION,
        "version": __version__,
        "environment": sorted({*CORE_ENVIRONMENT, *(n for p in probes for n in p.environment)}),
        "paths": [p for p in patterns if p.startswith(("/", "$"))],
        "programs": [p.removeprefix("which:") for p in patterns if p.startswith("which:")],
        "prefix": [p.removeprefix("prefix:") for p in patterns if p.startswith("prefix:")],
        "site": [p.removeprefix("site:") for p in patterns if p.startswith("site:")],
        "commands": [p.removeprefix("run:").split() for p in patterns if p.startswith("run:")],
        "spaces": [p.removeprefix("space:") for p in patterns if p.startswith("space:")],
        "nodes": [p.removeprefix("opens:") for p in patterns if p.startswith("opens:")],
        "limits": "limits" in patterns,
        "pci_bridges": "pci-bridges" in patterns,
        "kernel_logs": questions(probes, "kernel-log:"),
        "environ_names": questions(probes, "environ-names:"),
        "processes": questions(probes, "process:"),
    }


def questions(probes: list[Probe], kind: str) -> list[list[str]]:
    """One question per probe, as the probe asks it: a snapshot is answered by the same question."""
    asked = [[p.removeprefix(kind) for p in probe.collect if p.startswith(kind)] for probe in probes]
    return [one for one in asked if one]


def pack() -> bytes:
    """The zipapp's bytes."""
    source = resources.files("infra_doctor.machine")
    out = io.BytesIO()
    out.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive:
        members = {f"infra_doctor_collector/{name}": (source / name).read_text(encoding="utf-8") for name in MODULES}
        members["infra_doctor_collector/__init__.py"] = ""
        members["infra_doctor_collector/plan.json"] = json.dumps(plan(), indent=1, sort_keys=True)
        members["__main__.py"] = MAIN
        for name in sorted(members):
            archive.writestr(zipfile.ZipInfo(name, MOMENT), members[name])
    return out.getvalue()
