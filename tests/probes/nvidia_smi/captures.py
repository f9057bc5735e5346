"""The project's own captures of H200 machines, where they lie beside the checkout; else the tests are skipped."""

import os
from pathlib import Path

import pytest

CAPTURES = Path(os.environ.get("INFRA_DOCTOR_CAPTURES") or Path(__file__).parents[3] / ".." / "shared" / "captures")


def capture(name: str) -> str:
    """The text of a capture of the H200 machines."""
    path = CAPTURES / "h200" / name
    if not path.is_file():
        pytest.skip(f"capture not here: {name}")
    return path.read_text(encoding="utf-8")
