"""Writes docs/machine-forms.md: which probe can look at which form of machine. Run: python tools/machine_forms.py"""

from pathlib import Path

from infra_doctor.runner import registry
from infra_doctor.runner.run import form_capabilities

PAGE = Path(__file__).parents[1] / "docs" / "machine-forms.md"
HEAD = """# Which probe sees which form of machine

Each form of machine can show some things and not others; each probe says what it needs. Where something is missing the
probe is skipped with the reason, never guessed. This page is written by `python tools/machine_forms.py`; a test holds it
against the code and against real runs.

A **rooted** machine (`--root DIR`) is files only; where `/proc` and `/sys` of that machine are mounted under the root (as
with `--root /host`), kernel state is visible too. NVML and other vendor libraries, environment variables, resource limits
and commands are the doctor's own there, and are not taken for the root's. A **replayed** machine can show what the machine
could that its snapshot was taken of. A **remote** machine has no vendor libraries: they would run on the doctor's side.

"""


def page() -> str:
    """The page as Markdown."""
    forms = form_capabilities()
    del forms["replayed"]
    probes = sorted(registry.load(("probes",), third_party=False).probes, key=lambda p: p.id)
    lines = [HEAD + "| probe | looks at | needs | " + " | ".join(forms) + " |", "|---|---|---|" + "---|" * len(forms)]
    for probe in probes:
        cells = ["yes" if set(probe.needs) <= {str(c) for c in can} else "skip" for can in forms.values()]
        lines.append(f"| {probe.id} | {probe.title} | {', '.join(probe.needs)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
