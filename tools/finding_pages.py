"""Writes docs/findings/: a page for each finding id, out of what stands beside its check. Run: python tools/finding_pages.py"""

from pathlib import Path

from infra_doctor.model.plugins import Check
from infra_doctor.runner import registry
from infra_doctor.runner.core_ids import CORE_IDS

FOLDER = Path(__file__).parents[1] / "docs" / "findings"
HEAD = """# Findings

A page for each id, written by `python tools/finding_pages.py` out of the checks; `infra-doctor explain ID` prints the same.
Ids are stable: none is renamed or given a second meaning.

"""


def file_name(finding_id: str) -> str:
    """The page's file: an id may hold a slash."""
    return finding_id.replace("/", "-") + ".md"


def pages() -> dict[str, str]:
    """File name -> Markdown."""
    checks = {c.id: c for c in registry.load(("checks",), third_party=False).checks}
    titles = {i: c.title for i, c in checks.items()} | {i: title for i, (title, _) in CORE_IDS.items()}
    index = "".join(f"- [{i}]({file_name(i)}): {titles[i]}\n" for i in sorted(titles))
    out = {"README.md": HEAD + index}
    out |= {file_name(i): f"# {i}: {title}\n\n{text}\n" for i, (title, text) in CORE_IDS.items()}
    return out | {file_name(i): page(c, checks) for i, c in checks.items()}


def page(check: Check, checks: dict[str, Check]) -> str:
    """One page."""
    parts = [f"# {check.id}: {check.title}", check.explanation.strip(), "## What to do", check.remediation.strip()]
    causes = [i for i in check.explained_by if i in checks or i in CORE_IDS]
    if causes:
        parts += ["## May follow from", "\n".join(f"- [{i}]({file_name(i)})" for i in causes)]
    effects = sorted(c.id for c in checks.values() if check.id in c.explained_by)
    if effects:
        parts += ["## May explain", "\n".join(f"- [{i}]({file_name(i)})" for i in effects)]
    if check.log_signatures:
        rows = "\n".join(f"- `{s.pattern}` ([source]({s.source}))" for s in check.log_signatures)
        parts += ["## Seen in logs", f"Regular expressions that `infra-doctor triage` searches for:\n\n{rows}"]
    parts += ["## Sources", "\n".join(f"- <{s}>" if "://" in s else f"- {s}" for s in check.sources)]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    wanted = pages()
    for old in FOLDER.glob("*.md"):
        if old.name not in wanted:
            old.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
