"""`nvidia-smi -q`: the indented text, in the shape of the NVML child's answer.

A line is a label, " : " and a value; what is indented deeper stands below it. "GPU 00000000:83:00.0" begins a device."""

from typing import Any

from infra_doctor_probes.nvidia_smi.text import Refused, lines
from infra_doctor_probes.nvidia_smi.tree import DEVICES_CAP, PROCESSES_CAP, answer, device

HEADING = "NVSMI LOG"
DEPTH_CAP = 24
# Labels that stand several times under one parent.
REPEATED = {"MIG Device": DEVICES_CAP, "Process ID": PROCESSES_CAP}
LABELS_CAP = 4096  # of one section


def read_query_text(text: str) -> dict[str, Any] | Refused:
    """The answer (see `tree.answer`)."""
    head: dict[str, Any] = {}
    gpus: list[tuple[str, dict[str, Any]]] = []
    below: list[tuple[int, dict[str, Any]]] = [(-1, head)]
    seen_heading = False
    for line in lines(text):
        body = line.strip()
        if not body:
            continue
        if not seen_heading:
            seen_heading = HEADING in body
            continue
        indent = len(line) - len(line.lstrip())
        if indent == 0 and body.startswith("GPU ") and " : " not in body:
            if len(gpus) < DEVICES_CAP:
                gpus.append((body[4:], {}))
                below = [(-1, gpus[-1][1])]
            continue
        while len(below) > 1 and below[-1][0] >= indent:
            below.pop()
        add(below, indent, body)
    if not seen_heading:
        return Refused(reason="there is no NVSMI LOG")
    return answer(head, [device(n, tree, address) for n, (address, tree) in enumerate(gpus)])


def add(below: list[tuple[int, dict[str, Any]]], indent: int, body: str) -> None:
    """One line into the section that it belongs to. A value with lines below it stands under "" of its own section."""
    label, colon, value = body.partition(" :")
    label, value = label.strip(), value.strip()
    parent = below[-1][1]
    if len(parent) >= LABELS_CAP:
        return
    section: dict[str, Any] = {"": value} if colon else {}
    if label in REPEATED:
        items = parent.setdefault(label, [])
        if isinstance(items, list) and len(items) < REPEATED[label]:
            items.append(section)
    else:
        # The first one counts: a cut or doubled capture repeats sections.
        section = parent.setdefault(label, section)
    if len(below) < DEPTH_CAP:
        below.append((indent, section))
