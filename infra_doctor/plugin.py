"""The public plug-in API: what probes, checks, tables and report formats may use. The rest of the core is private.

A plug-in package is named by an entry point (groups `infra_doctor.probes`, `.checks`, `.tables`, `.reports`, …); each
of its modules offers the tuples `PROBES`, `CHECKS`, `RULES` or `FORMATS`. `API_VERSION` is raised when something here
changes its meaning; a plug-in package may set `REQUIRES_API` to the version that it was written for."""

import importlib
from typing import TYPE_CHECKING, Any

from infra_doctor.compat.rules import How as How
from infra_doctor.compat.rules import Match as Match
from infra_doctor.compat.rules import Requirement as Requirement
from infra_doctor.compat.rules import ceiling as ceiling
from infra_doctor.compat.rules import family as family
from infra_doctor.compat.rules import floor as floor
from infra_doctor.compat.rules import lookup as lookup
from infra_doctor.compat.rules import pair as pair
from infra_doctor.compat.rules import read_requirement as read_requirement
from infra_doctor.compat.rules import same_version as same_version
from infra_doctor.compat.rules import verdict_of as verdict_of
from infra_doctor.compat.rules import within as within
from infra_doctor.compat.table import Row as Row
from infra_doctor.compat.table import Table as Table
from infra_doctor.compat.table import load_table as load_table
from infra_doctor.compat.version import in_range as in_range
from infra_doctor.compat.version import major as major
from infra_doctor.compat.version import major_minor as major_minor
from infra_doctor.compat.version import numbers as numbers
from infra_doctor.compat.version import parse_version as parse_version
from infra_doctor.compat.version import version_key as version_key
from infra_doctor.machine.loader import LoadedObject as LoadedObject
from infra_doctor.machine.loader import Loader as Loader
from infra_doctor.machine.loader import Resolution as Resolution
from infra_doctor.machine.loader import unmet_versions as unmet_versions
from infra_doctor.machine.machine import Machine as Machine
from infra_doctor.machine.machine import kernel_evidence as kernel_evidence
from infra_doctor.machine.python_env import PythonEnvironment as PythonEnvironment
from infra_doctor.machine.python_env import python_environment as python_environment
from infra_doctor.machine.types import CacheEntry as CacheEntry
from infra_doctor.machine.types import Capability as Capability
from infra_doctor.machine.types import ChildResult as ChildResult
from infra_doctor.machine.types import CommandResult as CommandResult
from infra_doctor.machine.types import ContestedFile as ContestedFile
from infra_doctor.machine.types import Distribution as Distribution
from infra_doctor.machine.types import Elf as Elf
from infra_doctor.machine.types import KernelLog as KernelLog
from infra_doctor.machine.types import MachineForm as MachineForm
from infra_doctor.machine.types import NotVisible as NotVisible
from infra_doctor.machine.types import PciConfig as PciConfig
from infra_doctor.machine.types import RecordScan as RecordScan
from infra_doctor.machine.types import Space as Space
from infra_doctor.machine.types import Stat as Stat
from infra_doctor.model.benchmark import BenchContext as BenchContext
from infra_doctor.model.benchmark import BenchDevice as BenchDevice
from infra_doctor.model.benchmark import Benchmark as Benchmark
from infra_doctor.model.benchmark import Expected as Expected
from infra_doctor.model.benchmark import Job as Job
from infra_doctor.model.benchmark import Suite as Suite
from infra_doctor.model.compatibility import Compatibility as Compatibility
from infra_doctor.model.compatibility import Verdict as Verdict
from infra_doctor.model.component import DEVICE_KINDS as DEVICE_KINDS
from infra_doctor.model.component import AttributeValue as AttributeValue
from infra_doctor.model.component import Component as Component
from infra_doctor.model.component import LoadedBy as LoadedBy
from infra_doctor.model.component import Target as Target
from infra_doctor.model.component import Unseen as Unseen
from infra_doctor.model.component import fact as fact
from infra_doctor.model.evidence import Evidence as Evidence
from infra_doctor.model.evidence import EvidenceKind as EvidenceKind
from infra_doctor.model.finding import SEVERITY_RANK as SEVERITY_RANK
from infra_doctor.model.finding import STATUS_RANK as STATUS_RANK
from infra_doctor.model.finding import Command as Command
from infra_doctor.model.finding import Confidence as Confidence
from infra_doctor.model.finding import Diagnosis as Diagnosis
from infra_doctor.model.finding import Finding as Finding
from infra_doctor.model.finding import Remediation as Remediation
from infra_doctor.model.finding import Severity as Severity
from infra_doctor.model.finding import Status as Status
from infra_doctor.model.finding import Waiver as Waiver
from infra_doctor.model.monitoring import Monitor as Monitor
from infra_doctor.model.plugins import Check as Check
from infra_doctor.model.plugins import CheckContext as CheckContext
from infra_doctor.model.plugins import CompatibilityRule as CompatibilityRule
from infra_doctor.model.plugins import LogSignature as LogSignature
from infra_doctor.model.plugins import Observed as Observed
from infra_doctor.model.plugins import PolicyKey as PolicyKey
from infra_doctor.model.plugins import Preset as Preset
from infra_doctor.model.plugins import Probe as Probe
from infra_doctor.model.plugins import ProbeContext as ProbeContext
from infra_doctor.model.plugins import ReportFormat as ReportFormat
from infra_doctor.model.policy import UNLIMITED as UNLIMITED
from infra_doctor.model.policy import SpecKind as SpecKind
from infra_doctor.model.quantities import measured_name as measured_name
from infra_doctor.model.quantities import quantity as quantity
from infra_doctor.model.quantities import share as share
from infra_doctor.model.record import record as record
from infra_doctor.model.report import MachineInfo as MachineInfo
from infra_doctor.model.report import Measurement as Measurement
from infra_doctor.model.report import ProbeOutcome as ProbeOutcome
from infra_doctor.model.report import Report as Report
from infra_doctor.model.stack import StackLine as StackLine
from infra_doctor.model.stack import machine_stack as machine_stack
from infra_doctor.model.stack import target_stack as target_stack
from infra_doctor.model.view import Cause as Cause
from infra_doctor.model.view import Headline as Headline
from infra_doctor.model.view import MatrixRow as MatrixRow
from infra_doctor.model.view import Reason as Reason
from infra_doctor.model.view import blind_probes as blind_probes
from infra_doctor.model.view import by_kind as by_kind
from infra_doctor.model.view import causes as causes
from infra_doctor.model.view import headline as headline
from infra_doctor.model.view import is_library as is_library
from infra_doctor.model.view import labels as labels
from infra_doctor.model.view import loads as loads
from infra_doctor.model.view import matrix as matrix
from infra_doctor.model.view import passed as passed
from infra_doctor.model.view import required_unseen as required_unseen
from infra_doctor.model.view import skipped as skipped
from infra_doctor.model.view import waived as waived
from infra_doctor.model.wording import MEANING as MEANING
from infra_doctor.model.wording import SIGN as SIGN
from infra_doctor.model.wording import VERDICT_SIGN as VERDICT_SIGN
from infra_doctor.model.wording import VERDICT_STATUS as VERDICT_STATUS
from infra_doctor.model.wording import attribute as attribute
from infra_doctor.model.wording import command_line as command_line
from infra_doctor.model.wording import counted as counted
from infra_doctor.model.wording import inert as inert
from infra_doctor.model.wording import is_web_link as is_web_link
from infra_doctor.model.wording import printable as printable
from infra_doctor.model.wording import privacy as privacy
from infra_doctor.model.wording import shortened as shortened
from infra_doctor.model.wording import to_ascii as to_ascii

# The words of plans, differences and triages: loaded when a plug-in asks for one, as `check` needs none.
if TYPE_CHECKING:
    from infra_doctor.model.difference import ComponentChange as ComponentChange
    from infra_doctor.model.difference import Difference as Difference
    from infra_doctor.model.difference import FindingChange as FindingChange
    from infra_doctor.model.difference import Turn as Turn
    from infra_doctor.model.planning import Choice as Choice
    from infra_doctor.model.planning import Effort as Effort
    from infra_doctor.model.planning import Need as Need
    from infra_doctor.model.planning import Option as Option
    from infra_doctor.model.planning import Plan as Plan
    from infra_doctor.model.planning import PlanChange as PlanChange
    from infra_doctor.model.planning import PlanContext as PlanContext
    from infra_doctor.model.planning import PlanStep as PlanStep
    from infra_doctor.model.planning import Refused as Refused
    from infra_doctor.model.triage import Consequence as Consequence
    from infra_doctor.model.triage import LogCause as LogCause
    from infra_doctor.model.triage import LogInput as LogInput
    from infra_doctor.model.triage import LogMatch as LogMatch
    from infra_doctor.model.triage import MachineCheck as MachineCheck
    from infra_doctor.model.triage import SeenThere as SeenThere
    from infra_doctor.model.triage import Triage as Triage
else:
    _LATER = {
        "difference": ("ComponentChange", "Difference", "FindingChange", "Turn"),
        "planning": ("Choice", "Effort", "Need", "Option", "Plan", "PlanChange", "PlanContext", "PlanStep", "Refused"),
        "triage": ("Consequence", "LogCause", "LogInput", "LogMatch", "MachineCheck", "SeenThere", "Triage"),
    }

    def __getattr__(name: str) -> Any:
        for module, names in _LATER.items():
            if name in names:
                return getattr(importlib.import_module(f"infra_doctor.model.{module}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


API_VERSION = 1


def encode_json(document: Any, *, indent: int = 2) -> str:
    """A document as JSON text with a closing newline; see the published schemas."""
    from infra_doctor.codec import encode  # msgspec costs 40 ms, which most runs do not need

    return encode(document, indent=indent)
