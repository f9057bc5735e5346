"""The catalogue of Xids: complete, its words out of closed sets, each row with its source; a few rows by heart."""

import pytest

from infra_doctor_probes.detect.nvidia_kernel_log import ACTIONS, CAUSES
from infra_doctor_probes.tables.common import rows
from infra_doctor_probes.tables.xid import IN_WORDS, catalogue, explain

ROWS = rows("xid")


def test_every_number_of_nvidias_catalogue_is_there_once() -> None:
    xids = [int(r["number"]) for r in ROWS if r["kind"] == "xid"]
    assert len(xids) == len(set(xids))
    assert set(range(1, 173)) <= set(xids)
    sxids = [int(r["number"]) for r in ROWS if r["kind"] == "sxid"]
    assert len(sxids) == len(set(sxids)) > 80


def test_rows_are_of_closed_sets_and_have_sources() -> None:
    for row in ROWS:
        assert row["meaning"], row
        assert set(row["causes"].split()) <= set(CAUSES), row
        assert row["causes"], row
        assert row["action"] in {*ACTIONS, ""}, row
        assert row.source.startswith("https://"), row
        assert row.certain == ("docs.nvidia.com" in row.source), row
    assert set(IN_WORDS) == set(ACTIONS)


@pytest.mark.parametrize(
    ("number", "cause", "action"),
    [
        (13, "application", "restart-app"), (31, "application", "restart-app"), (43, "application", "none"),
        (45, "information", "none"), (48, "memory", "reset-gpu"), (54, "hardware", "check-hardware"),
        (62, "hardware", "reset-gpu"), (63, "memory", "none"), (64, "memory", "reset-gpu"), (74, "nvlink", "reset-gpu"),
        (79, "bus", "reboot"), (92, "memory", "none"), (94, "memory", "restart-app"), (95, "memory", "reset-gpu"),
        (119, "driver", "reset-gpu"), (120, "driver", "reset-gpu"), (140, "memory", "reset-gpu"),
        (143, "hardware", "reset-gpu"), (151, "driver", "restart-vm"), (154, "information", "none"),
    ],
)  # fmt: skip
def test_rows_that_matter(number: int, cause: str, action: str) -> None:
    """The immediate actions are those of NVIDIA's catalogue, docs.nvidia.com/deploy/xid-errors."""
    row = catalogue("xid", number)
    assert row is not None
    assert (row.causes[0], row.action) == (cause, action)


def test_switches() -> None:
    dropped, halted = catalogue("sxid", 12028), catalogue("sxid", 22003)
    assert dropped is not None
    assert halted is not None
    assert dropped.note.startswith("nonfatal")
    assert (halted.note, halted.action) == ("fatal to the whole fabric", "reboot")
    assert catalogue("xid", 12028) is None


@pytest.mark.parametrize("name", ["Xid 79", "xid79", "XID:79", " Xid  79 "])
def test_explain(name: str) -> None:
    text = explain(name)
    assert text is not None
    assert text.startswith("Xid 79: the GPU has fallen off the bus")
    assert "What to do: reboot the machine" in text
    assert "Source: https://docs.nvidia.com/" in text


def test_explain_leaves_other_names_alone() -> None:
    assert [explain(n) for n in ("DRV-OLD", "Xid", "Xid 79 80", "Xid ²", "sxidx", "")] == [None] * 6
    assert explain("Xid 99999") == "Xid 99999 is not in the catalogue."
    assert (explain("SXid 20034") or "").startswith("SXid 20034: an NVLink went down")
