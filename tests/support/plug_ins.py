"""A third party's distribution in a folder: put the folder on PYTHONPATH and its plug-ins are found."""

from pathlib import Path

HEAD = """\
from infra_doctor.plugin import *
from infra_doctor.plugin import (
    Check, Component, Evidence, EvidenceKind, Finding, PolicyKey, Probe, ReportFormat, Status, Unseen,
)
"""


def install(folder: Path, **modules: str) -> Path:
    """Write a distribution with a package for each group (`probes`, `reports` …), whose one module holds this text."""
    info = folder / "theirs-1.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    lines = []
    for group, text in modules.items():
        package = folder / f"theirs_{group}"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").write_text("", encoding="utf-8")
        (package / "one.py").write_text(HEAD + text + "\n", encoding="utf-8")
        lines += [f"[infra_doctor.{group}]", f"theirs = theirs_{group}"]
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
