"""The Python API: `infra_doctor.check()` and `infra_doctor.load_report(path)`."""

from infra_doctor.codec import load_report as load_report
from infra_doctor.model.report import Report
from infra_doctor.runner.run import Run, RunOptions


def check(
    *,
    python: str | None = None,
    root: str | None = None,
    replay: str | None = None,
    identify: bool = False,
    timeout_s: float | None = None,
) -> Report:
    """Look at this machine (or the files under `root`, or a snapshot) and judge it. Raises InfraDoctorError."""
    options = RunOptions(python=python, root=root, replay=replay, identify=identify, timeout_s=timeout_s)
    return Run(options).execute()
