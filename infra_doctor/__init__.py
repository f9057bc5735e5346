"""infra-doctor: does this machine's accelerator stack fit together, and what to change if not."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = ["__version__", "check", "load_report"]

if TYPE_CHECKING:
    from infra_doctor.runner.api import check, load_report


def __getattr__(name: str) -> Any:
    # Lazy, so that `infra-doctor --version` does not pay for what it does not use.
    if name in {"check", "load_report"}:
        from infra_doctor.runner import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
