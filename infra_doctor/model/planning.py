"""The words of a plan: what may be changed to what, what each choice needs, and the plan that comes out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from infra_doctor.model.component import Target
from infra_doctor.model.finding import Command
from infra_doctor.model.record import record
from infra_doctor.model.report import SCHEMA_VERSION, MachineInfo, Tool

if TYPE_CHECKING:
    from infra_doctor.model.plugins import CheckContext


class Effort(IntEnum):
    """How deep a change goes; a plan takes the shallowest that serves."""

    NONE = 0  # as it is
    WHEEL = 1  # packages of the environment
    INTERPRETER = 2  # another environment with another Python
    SYSTEM = 3  # system libraries or toolkits; another base image
    DRIVER = 4  # the driver: a host's matter, with a reboot


@dataclass(frozen=True, kw_only=True, eq=False)
class Need:
    """What an option asks of another part. `accepts` judges an option of that part; `text` says it in words
    ("NVIDIA driver 580.65.06 or newer")."""

    part: str
    text: str
    source: str
    accepts: Callable[["Option"], bool]


@dataclass(frozen=True, kw_only=True, eq=False)
class Option:
    """One state of a part: as it is (`effort` NONE) or after a change. `requirement` is what pip is given, `index` the
    index it comes from ("" for the configured one); `remedy` says in words what no command can do; `assumes` are facts
    that no table holds. `values` are for the `accepts` of others: {"cuda": "13"}."""

    part: str
    version: str
    build: str = ""
    effort: Effort
    needs: tuple[Need, ...] = ()
    requirement: str = ""
    index: str = ""
    removes: tuple[str, ...] = ()
    remedy: str = ""
    source: str = ""
    assumes: tuple[str, ...] = ()
    values: dict[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """`torch 2.9.1 (cu128)`."""
        build = f"({self.build})" if self.build and self.build not in self.version else ""
        return " ".join(filter(None, (self.part, self.version, build)))


@record
class Refused:
    """A choice that cannot serve this machine whatever else changes."""

    label: str
    reason: str
    source: str = ""


@record
class Wish:
    """Something that the user wants: a part, the versions that will do (PEP 440, "" for any), extras; `why` is the finding
    that wants it, where it was not the user."""

    part: str
    spec: str = ""
    extras: tuple[str, ...] = ()
    why: str = ""

    @property
    def text(self) -> str:
        """As it was written."""
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        return f"{self.part}{extras}{self.spec}"


@record
class PlanContext:
    """What options are made from: the machine's facts, the environment that is planned for (None: there is none yet),
    the wishes by part."""

    facts: "CheckContext"
    target: Target | None
    wishes: dict[str, Wish]


@record
class Choice:
    """A plug-in: the options of some parts, the best first. `parts` are the names that it knows; with `others` it also
    answers for each installed wheel that no choice names. `wishable` says whether a user may ask for the part."""

    id: str
    title: str
    parts: tuple[str, ...]
    options: Callable[[PlanContext, str], Iterable[Option | Refused]]
    wishable: bool = True
    others: bool = False


@record
class PlanChange:
    """One part before (None: it is not there) and after: version and build."""

    part: str
    before: str | None
    after: str


@record
class PlanStep:
    """Changes that are made together, in the order in which the steps are made. `commands` are safe to run as they stand;
    where there are none, `text` says what to do. `finding` is the id that the step repairs, "" for a wish."""

    changes: tuple[PlanChange, ...] = ()
    effort: str
    text: str
    reasons: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    commands: tuple[Command, ...] = ()
    finding: str = ""


@record
class Plan:
    """The document. `fits` says whether the wishes can be met; where not, `obstacles` say why, the nearest first.
    `keeps` is what was looked at and stays;
    `instead` names other versions than the wished ones that need no change below the wheels; `assumes` what no table says."""

    kind: str = "plan"
    schema_version: str = SCHEMA_VERSION
    tool: Tool
    created: str
    machine: MachineInfo
    target: str | None
    wishes: tuple[str, ...]
    fits: bool
    steps: tuple[PlanStep, ...] = ()
    keeps: tuple[str, ...] = ()
    obstacles: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()
    assumes: tuple[str, ...] = ()
