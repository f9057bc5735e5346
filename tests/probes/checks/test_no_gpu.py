"""A GPU probe that failed or could not look is never told as "no GPU is there"."""

from datetime import date

import pytest

from infra_doctor.plugin import CheckContext, Component, ProbeOutcome, Status
from infra_doctor_probes.checks import arch, torch_cpu

TORCH = Component(
    key="wheel:torch@/v", kind="wheel", name="torch", version="2.9.0", target="target:/v", attributes={"build": "cpu"}
)


@pytest.mark.parametrize("check", [arch.CHECK, torch_cpu.CHECK], ids=lambda c: c.id)
@pytest.mark.parametrize(
    ("status", "reason", "wanted"),
    [
        (Status.PASS, "", "is there"),
        (Status.ERROR, "not done within 20 s", "could be looked at: not done within 20 s"),
        (Status.SKIP, "not visible: kernel state", "could be looked at: not visible: kernel state"),
    ],
)
def test_the_reason_is_the_true_one(check: object, status: Status, reason: str, wanted: str) -> None:
    outcome = ProbeOutcome(id="nvidia-gpu", version=1, status=status, reason=reason)
    context = CheckContext(targets=(), components=(TORCH,), facts=(), probes=(outcome,), today=date(2026, 1, 1))
    (found,) = check.run(context)  # type: ignore[attr-defined]
    assert found.status is Status.SKIP
    assert found.title.endswith(wanted)
