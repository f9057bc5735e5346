"""Components, targets and facts: what probes return."""

from collections.abc import Callable
from dataclasses import field
from typing import TypeVar

from infra_doctor.model.evidence import Evidence
from infra_doctor.model.record import record

AttributeValue = str | int | float | bool | None

# Kinds of component that are accelerator devices: where one of these is there and could not be looked at, the exit code is 3.
DEVICE_KINDS = frozenset({"gpu", "npu", "accelerator"})


@record
class LoadedBy:
    """Who loads this copy of a library: `consumer` is a component key, `via` the loader's reason
    ("RUNPATH $ORIGIN/../../nvidia/cudnn/lib of libtorch_cuda.so"), `order` the import order it holds for
    ("torch", "torch, onnxruntime", "onnxruntime.preload_dlls()")."""

    consumer: str
    via: str
    order: str


@record
class Component:
    """A versioned part of the stack: driver, device, toolkit, one copy of a library, wheel, firmware.

    `key` is stable over runs: the kind, a colon, and what tells it from its like (a path, a PCI address, a name);
    a part inside a target ends in `@` and the target's prefix. `version` is as found, None where none could be read.
    `origin` says who brought it ("wheel nvidia-cudnn-cu13 9.19.0.56", "dpkg", "toolkit", "conda", "unowned file")."""

    key: str
    kind: str
    name: str
    version: str | None = None
    location: str | None = None
    origin: str | None = None
    target: str | None = None
    loaded_by: tuple[LoadedBy, ...] = ()
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    evidence: tuple[Evidence, ...] = ()


@record
class Target:
    """A Python environment that is judged. Paths are the machine's. `key` is `target:` and the prefix."""

    key: str
    prefix: str
    executable: str
    kind: str  # "venv", "conda", "system", "user" ...
    python_version: str | None = None  # "3.12.3", or "3.12" where no more is known
    base_prefix: str | None = None
    sys_path: tuple[str, ...] = ()
    site_dirs: tuple[str, ...] = ()  # the entries of sys_path that hold distributions, in import order
    notes: tuple[str, ...] = ()  # what could not be told by files ("unknown (executes code): …")
    chosen_by: str = ""  # "VIRTUAL_ENV", "python3 on PATH", "--python" ...
    evidence: tuple[Evidence, ...] = ()


T = TypeVar("T")


def fact(name: str, version: int) -> Callable[[type[T]], type[T]]:
    """Mark a frozen dataclass as a fact: `name` and `version` stand beside its fields in a report. A field with the
    metadata `in_report: False` is for checks and policy keys of the same run alone. Raise the version when a field changes
    its meaning."""

    def mark(cls: type[T]) -> type[T]:
        cls.fact_type = name  # type: ignore[attr-defined]
        cls.fact_version = version  # type: ignore[attr-defined]
        return cls

    return mark


@record
class Unseen:
    """Something that is there and could not be looked at. Becomes an `error` finding with this subject."""

    subject: tuple[str, ...]
    reason: str
    evidence: tuple[Evidence, ...] = ()
