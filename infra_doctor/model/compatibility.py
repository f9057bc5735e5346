"""What rules and tables say of a pair of components."""

from enum import StrEnum

from infra_doctor.model.record import record


class Verdict(StrEnum):
    """`unknown` where no row says anything, the version is newer than the table, or only uncertain rows speak."""

    COMPATIBLE = "compatible"
    INCOMPATIBLE = "incompatible"
    UNKNOWN = "unknown"


@record
class Compatibility:
    """One cell of the compatibility matrix. `left` and `right` are component or target keys; `rule` names the rule,
    `source` where it is published, `detail` says it in a sentence with both versions.
    `certain` is False for rows that rest on an uncertain or unsourced table row: they give hints, never a fail."""

    left: str
    right: str
    verdict: Verdict
    rule: str
    source: str
    detail: str = ""
    certain: bool = True
