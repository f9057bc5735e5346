"""`nvidia-smi -q -x`: the XML document, in the shape of the NVML child's answer.

The document is foreign: entities are refused, no DTD is fetched, depth and number of elements are bounded."""

from typing import Any
from xml.parsers import expat

from infra_doctor_probes.nvidia_smi.text import LINE_CAP, TEXT_CAP, Refused
from infra_doctor_probes.nvidia_smi.tree import DEVICES_CAP, PROCESSES_CAP, answer, device

ELEMENTS_CAP = 300_000  # 16 GPUs have some 25,000
DEPTH_CAP = 24
# Elements that stand several times under one parent, and what is skipped: hundreds of clock steps per GPU.
REPEATED = {"gpu": DEVICES_CAP, "process_info": PROCESSES_CAP, "mig_device": DEVICES_CAP}
SKIPPED = frozenset({"supported_clocks", "accounted_processes"})


class Stop(Exception):  # noqa: N818
    """Ends the parser: the reason is its text."""


class Builder:
    """Makes a tree of the elements: name -> text, tree, or list of trees."""

    def __init__(self) -> None:
        self.root: dict[str, Any] = {}
        self.open: list[tuple[str, dict[str, Any]]] = []
        self.text: list[str] = []
        self.text_length = 0
        self.elements = 0
        self.skipping = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.elements += 1
        if self.elements > ELEMENTS_CAP:
            raise Stop("more elements than any machine has")
        if self.skipping or name in SKIPPED:
            self.skipping += 1
            return
        if not self.open and name != "nvidia_smi_log":
            raise Stop(f"the document is no nvidia_smi_log but {name[:40]}")
        if len(self.open) >= DEPTH_CAP:
            raise Stop("elements are nested too deep")
        self.open.append((name, {"@id": attributes["id"][:100]} if "id" in attributes else {}))
        self.text, self.text_length = [], 0

    def end(self, name: str) -> None:
        if self.skipping:
            self.skipping -= 1
            return
        _, children = self.open.pop()
        value: Any = children or "".join(self.text).strip()
        self.text, self.text_length = [], 0
        parent = self.open[-1][1] if self.open else self.root
        if name in REPEATED:
            items = parent.setdefault(name, [])
            if isinstance(items, list) and isinstance(value, dict) and len(items) < REPEATED[name]:
                items.append(value)
        else:
            parent.setdefault(name, value)

    def characters(self, data: str) -> None:
        if self.skipping or not self.open or self.text_length > LINE_CAP:
            return
        self.text.append(data[:LINE_CAP])
        self.text_length += len(data)


def refuse_entity(*_: Any) -> None:
    """An entity may stand for gigabytes; nvidia-smi writes none."""
    raise Stop("the document declares entities")


def read_query_xml(text: str) -> dict[str, Any] | Refused:
    """The answer (see `tree.answer`)."""
    if len(text) > TEXT_CAP:
        return Refused(reason="the document is larger than any that nvidia-smi writes")
    builder = Builder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.characters
    parser.EntityDeclHandler = refuse_entity
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    start = text.find("<")
    try:
        parser.Parse(text[start:].encode("utf-8", "replace") if start >= 0 else b"", True)
    except expat.ExpatError as error:
        return Refused(reason=f"the XML ends or breaks at line {error.lineno}: {expat.ErrorString(error.code)}")
    except Stop as stop:
        return Refused(reason=str(stop))
    log = builder.root.get("nvidia_smi_log")
    if not isinstance(log, dict):
        return Refused(reason="the nvidia_smi_log is empty")
    gpus = log.get("gpu")
    devices = [device(n, gpu, gpu.get("@id")) for n, gpu in enumerate(gpus if isinstance(gpus, list) else ())]
    return answer(log, devices)
