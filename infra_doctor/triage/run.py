"""One triage from logs to document."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from infra_doctor import __version__
from infra_doctor.errors import InputError
from infra_doctor.machine.essence import message
from infra_doctor.machine.redaction import Redactor, machine_key
from infra_doctor.model.finding import Remediation
from infra_doctor.model.plugins import Check
from infra_doctor.model.report import Report, Tool
from infra_doctor.model.triage import Consequence, LogCause, LogInput, LogMatch, Triage
from infra_doctor.triage.judging import findings_of, root_of, seen, verdicts
from infra_doctor.triage.ranking import CONFIDENCE, Suspect, roots, suspects
from infra_doctor.triage.reading import Log
from infra_doctor.triage.scanning import Scanner
from infra_doctor.triage.signatures import signatures

SHOWN = 400  # characters of a matched message
SHOWN_BEFORE = 120
FINDINGS_SHOWN = 4

# Addresses and the names of whoever sat at the shell: the redactor knows them only where they stand alone.
_ADDRESS = re.compile(
    r"\b(?:10\.\d{1,3}|192\.168|172\.(?:1[6-9]|2\d|3[01]))\.\d{1,3}\.\d{1,3}\b(?=[:<\]/ ,)]|$)"
    r"|(?<=[@=/\[])\d{1,3}(?:\.\d{1,3}){3}\b(?=[:<\]/ ,)]|$)|\b\d{1,3}(?:\.\d{1,3}){3}(?=[:<]\d{2,5})"
)
# Of machines: the node before NCCL's process numbers (`node7:812:940 [0] NCCL WARN`), network cards, serial numbers.
_NODE = re.compile(
    r"(?<![\w.-])[A-Za-z][\w.-]{0,63}(?=:\d{1,8}:\d{1,8} (?:\[\d{1,4}\] )?(?:\[[^\]]{1,40}\] )?[\w./: ]{0,60}NCCL )"
)
_DEVICE = re.compile(
    r"(?i)\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b|\bfe80:[0-9a-f:]{4,40}|(?<=\bserial number)\s{0,3}[:=]\s{0,3}[^\s,]{1,80}"
)
_PROMPT = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w.-]{1,64}(?=[:\s]\S{0,80}[$#%])")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What was read of the logs: the matches, and of each log its size."""

    scanner: Scanner
    logs: Sequence[Log]


def read(logs: Sequence[Log], checks: Sequence[Check], *, trusted: bool = False, lenient: bool = False) -> Reading:
    """Search the logs. With `lenient` (the files of a folder) one that cannot be read is noted and passed over, unless
    none can. Raises InputError."""
    scanner = Scanner(signatures(checks), trusted=trusted)
    refused: list[InputError] = []
    for number, log in enumerate(logs):
        try:
            scanner.scan(number, log)
        except InputError as error:
            if not lenient:
                raise
            refused.append(error)
            log.note = f"not read: {str(error).removeprefix(f'{log.name}: ')}"
    if refused and len(refused) == len(logs):
        raise refused[0]
    return Reading(scanner=scanner, logs=logs)


def redactor_of_logs(*, identify: bool) -> Redactor:
    """What redacts a log where no machine was looked at: as on this machine, where it is read."""
    return Redactor(key=machine_key(), home=os.environ.get("HOME"), enabled=not identify)


def judge(
    reading: Reading, checks: Sequence[Check], redactor: Redactor, *, report: Report | None, against: str
) -> Triage:
    """The document: what was read, judged by a machine's report where there is one, and redacted."""
    found = suspects(reading.scanner.hits.values(), verdicts(report) if report else {})
    causes = tuple(_cause(root.suspect, root.follows, reading.logs, redactor, report) for root in roots(found, checks))
    return Triage(
        tool=Tool(version=__version__),
        created=report.created if report else _now(),
        against=against,
        machine=report.machine if report else None,
        inputs=tuple(
            LogInput(
                name=redactor.text(log.name), lines=log.lines, size_bytes=log.size_bytes, note=redactor.text(log.note)
            )
            for log in reading.logs
        ),
        causes=causes,
    )


def _now() -> str:
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    moment = datetime.fromtimestamp(int(epoch), UTC) if epoch.isdecimal() else datetime.now(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _cause(
    suspect: Suspect, follows: list[Suspect], logs: Sequence[Log], redactor: Redactor, report: Report | None
) -> LogCause:
    check = suspect.check
    found = findings_of(report, check.id) if report else []
    root = root_of(report, found) if report else None
    # What the machine says to do is more exact than what stands beside the check.
    advised = next((f.remediation for f in ([root] if root else found) if f and f.remediation), None)
    return LogCause(
        finding=check.id,
        title=check.title,
        severity=check.severity,
        confidence=CONFIDENCE[suspect.strength],
        matched=_matched(suspect, logs, redactor),
        count=suspect.count,
        machine_check=suspect.machine_check,
        machine=tuple(map(seen, found[:FINDINGS_SHOWN])),
        because=seen(root) if root else None,
        remediation=advised or Remediation(text=" ".join(check.remediation.split()), docs=check.sources),
        follows=tuple(
            Consequence(
                finding=s.check.id,
                title=s.check.title,
                confidence=CONFIDENCE[s.strength],
                matched=_matched(s, logs, redactor),
                count=s.count,
                machine_check=s.machine_check,
            )
            for s in follows
        ),
    )


def _matched(suspect: Suspect, logs: Sequence[Log], redactor: Redactor) -> LogMatch:
    hit = suspect.best
    log = logs[hit.log]
    rank = hit.found.rank or _rank_of_name(log.name)
    return LogMatch(
        file=redactor.text(log.name),
        line=hit.found.line,
        rank=rank,
        text=_shown(hit.found.text, hit.found.matched, redactor),
        source=hit.signature.source,
    )


def _shown(text: str, matched: str, redactor: Redactor) -> str:
    """The message around the match, redacted whole before it is shortened, so that no half of a secret is left."""
    whole, core = (_without_names(redactor.text(" ".join(t.split())), redactor) for t in (text, matched))
    if len(whole) <= SHOWN:
        return whole
    place = max(0, whole.find(core))
    start = max(0, min(place - SHOWN_BEFORE, len(whole) - SHOWN))
    return ("…" if start else "") + whole[start : start + SHOWN].strip() + ("…" if start + SHOWN < len(whole) else "")


def _without_names(text: str, redactor: Redactor) -> str:
    if not redactor.enabled:
        return text
    for private in (_ADDRESS, _NODE, _DEVICE, _PROMPT):
        text = private.sub("***", text)
    return message(text)


def _rank_of_name(name: str) -> str | None:
    """The rank that a file's name tells: `rank3.log`, `…/attempt_0/3/stderr.log`."""
    found = re.search(r"(?:rank|worker|node)[_.-]?(\d{1,6})(?=\D[^/]*$|$)", name) or re.search(
        r"/(\d{1,6})/std(?:out|err)\.log(?:\.gz)?$", name
    )
    return found[1] if found else None
