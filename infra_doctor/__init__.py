"""infra-doctor: does this machine's accelerator stack fit together, and what to change if not."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "InfraDoctorError",
    "InputError",
    "Report",
    "TargetError",
    "UsageError",
    "__version__",
    "check",
    "load_report",
]

if TYPE_CHECKING:
    from infra_doctor.errors import InfraDoctorError, InputError, TargetError, UsageError
    from infra_doctor.model.report import Report
    from infra_doctor.runner.api import check, load_report

# Where each name comes from. Lazy, so that `infra-doctor --version` does not pay for what it does not use.
_HOMES = {
    "check": "infra_doctor.runner.api",
    "load_report": "infra_doctor.runner.api",
    "Report": "infra_doctor.model.report",
    "InfraDoctorError": "infra_doctor.errors",
    "InputError": "infra_doctor.errors",
    "TargetError": "infra_doctor.errors",
    "UsageError": "infra_doctor.errors",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
