"""What the formats are told of a run beside its report and the options: how it was judged, and what its checks mean."""

from typing import Any

from infra_doctor.errors import ExitCode
from infra_doctor.runner.core_ids import CORE_IDS
from infra_doctor.runner.run import Run


def told(this_run: Run, *, fail_on: str, lenient: bool, exit_code: ExitCode) -> dict[str, Any]:
    """`fail_on` and `lenient` as they held (the policy's where the command line says nothing), the `exit_code`, and by finding
    id: `checks`, and (title, explanation) of the core's own, `core_ids`."""
    checks = this_run.registry.checks if this_run.registry is not None else []
    return {
        "fail_on": fail_on,
        "lenient": lenient,
        "exit_code": int(exit_code),
        "checks": {check.id: check for check in checks},
        "core_ids": CORE_IDS,
    }
