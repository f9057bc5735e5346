"""The exit code of a report: 1 for findings at or above --fail-on, 3 for a device that could not be looked at; 1 wins."""

import pytest

from infra_doctor.cli.check import exit_code
from infra_doctor.errors import ExitCode
from infra_doctor.model.finding import Finding, Status, Waiver
from infra_doctor.model.report import MachineInfo, Report, Tool


def report(*findings: Finding) -> Report:
    return Report(tool=Tool(), created="", machine=MachineInfo(name="", form="live"), findings=findings)


def finding(status: Status, *subject: str, waived: bool = False) -> Finding:
    return Finding(id="X", subject=subject, status=status, title="x", waived=Waiver(reason="known") if waived else None)


FAIL, WARN = finding(Status.FAIL), finding(Status.WARN)
UNSEEN = finding(Status.ERROR, "gpu:0000:17:00.0")


@pytest.mark.parametrize(
    ("findings", "fail_on", "lenient", "wanted"),
    [
        ((), "fail", False, ExitCode.OK),
        ((WARN, finding(Status.UNKNOWN), finding(Status.SKIP)), "fail", False, ExitCode.OK),
        ((FAIL,), "fail", False, ExitCode.FINDINGS),
        ((FAIL,), "never", False, ExitCode.OK),
        ((WARN,), "warn", False, ExitCode.FINDINGS),
        ((finding(Status.UNKNOWN),), "warn", False, ExitCode.OK),
        ((finding(Status.UNKNOWN),), "unknown", False, ExitCode.FINDINGS),
        ((finding(Status.FAIL, waived=True),), "fail", False, ExitCode.OK),
        ((UNSEEN,), "fail", False, ExitCode.UNSEEN),
        ((UNSEEN,), "fail", True, ExitCode.OK),
        ((UNSEEN, FAIL), "fail", False, ExitCode.FINDINGS),
        ((finding(Status.ERROR, "file:/etc/x"),), "fail", False, ExitCode.OK),
        ((finding(Status.ERROR, "accelerator:any", "probe:nvidia-gpu"),), "fail", False, ExitCode.UNSEEN),
        ((finding(Status.ERROR, "npu:davinci0", waived=True),), "fail", False, ExitCode.OK),
    ],
)
def test_exit_code(findings: tuple[Finding, ...], fail_on: str, lenient: bool, wanted: ExitCode) -> None:
    assert exit_code(report(*findings), fail_on=fail_on, lenient=lenient) is wanted
