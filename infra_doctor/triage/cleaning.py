"""A line of a log without what its carriers put around it: rank, process, container, time, JSON, boxes.

Formats: torchrun and mpirun tags, Slurm's `srun --label`, Ray and vLLM process names, docker compose, kubectl, the
container runtimes' log files, journald and the kernel's log, glog, pytest, rich."""

import re
from dataclasses import dataclass

TEXT_CAP = 16 << 10
JSON_CAP = 64 << 10
PREFIXES = 6  # a pod's line may hold a rank's, which holds a time


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `stream` tells interleaved writers apart; `width` is how wide it was before its prefixes were taken."""

    number: int
    text: str
    stream: str
    rank: str | None
    width: int
    broken: bool = False  # its carrier says that the message goes on in the next line of the stream
    time: str = ""  # as a sortable text, where the line says one


_ISO = r"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
# Named by what they tell: `rank` is a number, `stream` a writer, `name` a process of this stream.
_PREFIX = re.compile(
    rf"(?P<cri>{_ISO} (?:stdout|stderr) (?P<part>[FP]) )"
    rf"|(?P<time>\[?{_ISO}\]?)(?::? |: |$)"
    r"|\[(?:rank|Rank|default|worker|trainer)?[ _:-]?(?P<rank>\d{1,6})\](?:<std(?:out|err)>)?:? ?"
    r"|\[\d{1,5},(?P<mpi>\d{1,6})\](?:<std(?:out|err)>)?: ?"
    r"|(?:rank|Rank|RANK)[ _-]?(?P<word>\d{1,6}) ?: "
    r"|[ ]{0,6}(?P<srun>\d{1,5}): "
    r"|\((?P<process>[A-Za-z_][\w.:-]{0,60}(?:\([^()\n]{0,60}\))? )?pid=(?P<pid>\d{1,9})(?:, ip=[\d.]{7,15})?\) ?"
    r"|\[pod/(?P<pod>[\w./-]{1,200})\] ?"
    r"|(?P<compose>[A-Za-z0-9][\w.-]{0,60}?) {1,30}\| ?(?=\S)"
    r"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d [\w.-]{1,64} (?P<unit>[\w.@/-]{1,48})(?:\[\d{1,9}\])?: "
    r"|(?:dmesg: )?(?:<\d{1,3}>)?\[ {0,8}\d{1,9}\.\d{3,9}\] "
    r"|\[[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}\] "
    r"|E {2,8}(?=\S)"
    r"|[│┃❱] ?"
    r"|##\[(?:error|warning|group|debug)\]"
)
_GLOG_TIME = re.compile(r"[IWEF](\d{4} \d\d:\d\d:\d\d\.\d{3,6})")
# Keys under which JSON log lines hold their message.
_MESSAGE_KEYS = (
    "log",
    "message",
    "msg",
    "MESSAGE",
    "textPayload",
    "error",
    "err",
    "exception",
    "stacktrace",
    "stack_trace",
)


def clean(raw: str, number: int) -> Line:
    """The line as its program wrote it."""
    if raw.endswith("\r"):
        raw = raw[:-1]
    width = len(raw)
    text, stream, rank, broken, time = raw, "", None, False, ""
    for _ in range(PREFIXES):
        if text.startswith("{") and text.rstrip().endswith("}"):
            message = _json_message(text)
            if message is None:
                break
            text, partial = message
            broken = broken or partial
            continue
        found = _PREFIX.match(text)
        if found is None or found.end() == 0:
            break
        said = found.groupdict()
        number_of_rank = said["rank"] or said["mpi"] or said["word"] or said["srun"]
        rank = rank or number_of_rank
        stream += "/".join(filter(None, (number_of_rank, said["process"], said["pid"], said["pod"], said["compose"],
                                         said["unit"]))) + ";" if _names_stream(said) else ""  # fmt: skip
        broken = broken or said["part"] == "P"
        time = time or (said["time"] or said["cri"] or "").strip("[] ")[:23].replace("T", " ").replace("/", "-")
        text = text[found.end() :]
    if text.endswith(("│", "┃")):
        text = text[:-1].rstrip()
    if not time and (glog := _GLOG_TIME.match(text)):
        time = glog[1]
    return Line(number, text[:TEXT_CAP], stream, rank, width, broken, time)


def _names_stream(said: dict[str, str | None]) -> bool:
    return any(said[name] for name in ("rank", "mpi", "word", "srun", "process", "pid", "pod", "compose", "unit"))


def _json_message(text: str) -> tuple[str, bool] | None:
    """The message of a JSON log line, and whether its carrier cut it; None where it is something else."""
    if len(text) > JSON_CAP:
        return None
    import json

    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    parts = [document[key] for key in _MESSAGE_KEYS if isinstance(document.get(key), str)]
    if not parts:
        return None
    cut = isinstance(document.get("log"), str) and "stream" in document and not document["log"].endswith("\n")
    return " ".join(p.rstrip("\n") for p in parts).replace("\n", " "), cut
