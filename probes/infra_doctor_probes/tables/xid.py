"""The catalogue of Xids (messages of the GPU driver) and SXids (of NVSwitch): what each means and what to do about it.

Rows are our words for NVIDIA's Xid catalogue (docs.nvidia.com/deploy/xid-errors) and, for NVSwitch, the fabric manager's user
guide; each names its source. `action` is the catalogue's immediate one, "" where it gives none."""

from functools import lru_cache

from infra_doctor.plugin import record
from infra_doctor_probes.tables.common import rows

IN_WORDS = {
    "none": "nothing at once",
    "restart-app": "restart the program that met it",
    "reset-gpu": "reset the GPU when no program uses it any more (a reboot does it too)",
    "restart-vm": "restart the virtual machine that has the GPU",
    "reboot": "reboot the machine",
    "check-hardware": "check the seat of the card, its power and its cables",
    "update-driver": "update the driver and the firmware",
    "contact-vendor": "have the vendor look at it",
}


@record
class CatalogueRow:
    """One row. `kind` is "xid" or "sxid"; `causes` are what NVIDIA lists, the most usual first (see CAUSES in
    detect/nvidia_kernel_log.py); `action` is one of ACTIONS there."""

    kind: str
    number: int
    mnemonic: str
    meaning: str
    causes: tuple[str, ...]
    action: str
    investigate: str
    note: str
    source: str
    certain: bool


@lru_cache(maxsize=512)
def catalogue(kind: str, number: int) -> CatalogueRow | None:
    """The row of an Xid or SXid; None for one that is not listed."""
    wanted = str(number)
    for row in rows("xid"):
        if row["number"] == wanted and row["kind"] == kind:
            return CatalogueRow(
                kind=kind, number=number, mnemonic=row["mnemonic"], meaning=row["meaning"],
                causes=tuple(row["causes"].split()), action=row["action"], investigate=row["investigate"],
                note=row["note"], source=row.source, certain=row.certain,
            )  # fmt: skip
    return None


def explain(name: str) -> str | None:
    """What "Xid 79" or "SXid 12028" means; None for any other name."""
    folded = name.strip().lower()
    kind = "sxid" if folded.startswith("sxid") else "xid"
    digits = folded.removeprefix(kind).lstrip(" :#-")
    if not folded.startswith(kind) or not digits.isascii() or not digits.isdecimal() or len(digits) > 5:
        return None
    label = f"{'SXid' if kind == 'sxid' else 'Xid'} {int(digits)}"
    row = catalogue(kind, int(digits))
    if row is None:
        return f"{label} is not in the catalogue."
    parts = [f"{label}: {row.meaning}", f"Name: {row.mnemonic}" + (f" ({row.note})" if row.note else "")]
    parts.append(f"Causes, the usual one first: {', '.join(row.causes)}")
    parts.append(f"What to do: {IN_WORDS.get(row.action, 'the catalogue gives no action')}")
    if row.investigate:
        parts.append(f"If it comes back: {IN_WORDS.get(row.investigate, row.investigate)}")
    return "\n\n".join([*parts, f"Source: {row.source}"])
