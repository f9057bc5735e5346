"""Where something was observed, and what was seen there."""

from enum import StrEnum

from infra_doctor.model.record import record


class EvidenceKind(StrEnum):
    """What kind of place was looked at."""

    FILE = "file"
    DIRECTORY = "directory"
    ELF = "elf"
    METADATA = "metadata"  # of a Python distribution
    COMMAND = "command"
    LIBRARY = "library"  # a call into a vendor library, made in a child process
    ENVIRONMENT = "environment"
    KERNEL = "kernel"  # /proc, /sys, /dev
    TABLE = "table"  # a row of a compatibility table
    POLICY = "policy"  # a line of the policy: "infra-doctor.toml:7"
    DERIVED = "derived"


@record
class Evidence:
    """One observation: `source` is a path, a command line, an API call or a table row; `text` is what was seen there."""

    kind: EvidenceKind
    source: str
    text: str = ""
