"""PY-PINS: a broken pin warns, a kept one passes, what cannot be judged is left to the matrix."""

from datetime import date

from infra_doctor.plugin import CheckContext, Compatibility, Component, Finding, Status, Target, Verdict
from infra_doctor_probes.checks.py_pins import CHECK

TORCH = Component(key="wheel:torch@/v", kind="wheel", name="torch", version="2.11.0", target="target:/v")
TRITON = Component(key="wheel:triton@/v", kind="wheel", name="triton", version="3.5.0", target="target:/v")


def judge(*verdicts: Verdict, certain: bool = True, targets: tuple[Target, ...] = ()) -> list[Finding]:
    rows = [
        Compatibility(
            left=TORCH.key, right=TRITON.key, verdict=v, rule="triton-torch", source="https://pypi.org/project/torch/",
            detail=f"{v}", certain=certain,
        )
        for v in verdicts
    ]  # fmt: skip
    parts = (TORCH, TRITON)
    context = CheckContext(targets=targets, components=parts, facts=(), compatibility=rows, today=date(2026, 1, 1))
    return list(CHECK.run(context))


def test_a_broken_pin_warns_with_both_versions() -> None:
    (found,) = judge(Verdict.INCOMPATIBLE)
    assert found.status is Status.WARN
    assert found.title == "installed against a pin: torch 2.11.0 with triton 3.5.0"
    assert found.subject == (TORCH.key, TRITON.key) and found.evidence and found.remediation is not None


def test_a_kept_pin_passes_and_nothing_to_judge_is_skipped() -> None:
    assert [f.status for f in judge(Verdict.COMPATIBLE)] == [Status.PASS]
    assert [f.status for f in judge(Verdict.UNKNOWN)] == [Status.SKIP]
    assert [f.status for f in judge()] == [Status.SKIP]


def test_an_uncertain_row_is_a_hint() -> None:
    (found,) = judge(Verdict.INCOMPATIBLE, certain=False)
    assert found.title.startswith("possibly: ") and found.confidence == "heuristic"


def test_among_several_environments_the_title_names_its_own() -> None:
    both = tuple(Target(key=f"target:{p}", prefix=p, executable=f"{p}/bin/python", kind="venv") for p in ("/v", "/w"))
    (found,) = judge(Verdict.INCOMPATIBLE, targets=both)
    assert found.title.endswith("torch 2.11.0 with triton 3.5.0 in /v")
    (alone,) = judge(Verdict.INCOMPATIBLE, targets=both[:1])
    assert not alone.title.endswith(" in /v")
