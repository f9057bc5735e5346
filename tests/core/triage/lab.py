"""What the tests of triage share: invented checks, logs from text, a whole triage of a text."""

import io
from collections.abc import Sequence

from infra_doctor.machine.redaction import Redactor
from infra_doctor.model.plugins import Check, LogSignature
from infra_doctor.model.report import Report
from infra_doctor.model.triage import Triage
from infra_doctor.runner import registry
from infra_doctor.triage.reading import Log
from infra_doctor.triage.run import judge, read

CHECKS = tuple(registry.load(("checks",), third_party=False).checks)


def check(name: str, *patterns: str, strength: int = 2, explained_by: tuple[str, ...] = ()) -> Check:
    """An invented check with these signatures."""
    return Check(
        id=name,
        title=f"title of {name}",
        explanation="",
        remediation=f"repair {name}",
        sources=("https://example.org",),
        run=lambda context: (),
        log_signatures=tuple(
            LogSignature(pattern=p, source="https://example.org", strength=strength) for p in patterns
        ),
        explained_by=explained_by,
    )


def log_of(text: str | bytes, name: str = "job.log") -> Log:
    """A log with this content."""
    return Log(name=name, stream=io.BytesIO(text.encode() if isinstance(text, str) else text))


def triage_of(
    *texts: str | bytes, checks: Sequence[Check] = CHECKS, trusted: bool = False, report: Report | None = None
) -> Triage:
    """The document of these logs; without a report nothing but the logs is looked at."""
    logs = [log_of(text, f"rank{n}.log" if len(texts) > 1 else "job.log") for n, text in enumerate(texts)]
    reading = read(logs, checks, trusted=trusted)
    redactor = Redactor(key=b"key", home="/home/alice")
    return judge(reading, checks, redactor, report=report, against="report" if report else "nothing")


def named(triage: Triage) -> list[str]:
    """The ids of the causes, best first."""
    return [cause.finding for cause in triage.causes]
