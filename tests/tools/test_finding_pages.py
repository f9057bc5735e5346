"""docs/findings/ holds a page for each finding id, and says what the checks say."""

import sys
from pathlib import Path

from infra_doctor.runner import registry
from infra_doctor.runner.core_ids import CORE_IDS

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import finding_pages


def test_every_id_has_its_page_and_no_page_is_left_over() -> None:
    ids = {c.id for c in registry.load(("checks",), third_party=False).checks} | set(CORE_IDS)
    there = {p.name for p in finding_pages.FOLDER.glob("*.md")}
    assert there == {finding_pages.file_name(i) for i in ids} | {"README.md"}, "run tools/finding_pages.py"


def test_the_pages_are_those_of_the_code() -> None:
    for name, text in finding_pages.pages().items():
        assert (finding_pages.FOLDER / name).read_text(encoding="utf-8") == text, f"{name}: run tools/finding_pages.py"
