"""Writes docs/policy.schema.json and the tables of docs/policy.md, out of the built-in plug-ins.

Run: python tools/policy_schema.py"""

import re
from pathlib import Path

from infra_doctor.cli.policies import known_names
from infra_doctor.cli.schema import policy_schema
from infra_doctor.codec import encode

DOCS = Path(__file__).parents[1] / "docs"
SCHEMA, PAGE = DOCS / "policy.schema.json", DOCS / "policy.md"


def schema() -> str:
    """The schema as it is committed."""
    return encode(policy_schema(third_party=False))


def page(text: str) -> str:
    """The page with its tables renewed."""
    known = known_names(third_party=False)
    keys = [f"| `{k.key}` | {k.kind} | `{k.example}` | {k.title} |" for k in known.keys]
    presets = [f"| `{p.name}` | {p.title} | {', '.join(p.checks)} |" for p in known.presets]
    for name, head, rows in (
        ("keys", "| key | kind | such as | |\n|---|---|---|---|", keys),
        ("presets", "| preset | for | checks |\n|---|---|---|", presets),
    ):
        start, end = f"<!-- {name}: written by tools/policy_schema.py -->", "<!-- end -->"
        table = "\n".join((start, head, *rows, end))
        text, found = re.subn(f"{re.escape(start)}.*?{end}", lambda _, t=table: t, text, count=1, flags=re.DOTALL)
        if not found:
            raise SystemExit(f"{PAGE.name} has no place for {name}")
    return text


if __name__ == "__main__":
    SCHEMA.write_text(schema(), encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
