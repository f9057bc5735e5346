"""A Python environment told from files alone."""

from dataclasses import dataclass

from infra_doctor.machine.machine import Machine
from infra_doctor.machine.types import Distribution, RecordScan
from infra_doctor.model.component import Target


@dataclass(frozen=True, kw_only=True)
class PythonEnvironment:
    """What a target holds. `distributions` are those that import would see (first on sys.path wins), by name;
    `shadowed` those hidden by an earlier entry."""

    target: Target
    distributions: tuple[Distribution, ...]
    shadowed: tuple[Distribution, ...]
    records: RecordScan

    def distribution(self, name: str) -> Distribution | None:
        """By PEP 503 name."""
        raise NotImplementedError

    def owner_of(self, path: str) -> Distribution | None:
        """The distribution whose RECORD lists this shared object."""
        raise NotImplementedError


def python_environment(machine: Machine, target: Target) -> PythonEnvironment:
    """The environment of a target; made once per machine and target."""
    raise NotImplementedError


def find_target(machine: Machine, *, python: str | None = None, pid: int | None = None) -> Target | None:
    """The target asked for, or the active one; None where there is no Python at all. Raises TargetError."""
    raise NotImplementedError


def find_all_targets(machine: Machine) -> tuple[Target, ...]:
    """All Python environments that can be found by files."""
    raise NotImplementedError
