"""What the tests of the policy share: keys of every kind, ids, presets, and a reader of texts."""

from collections.abc import Iterable
from datetime import date

from hypothesis import settings

from infra_doctor.model.finding import Status
from infra_doctor.model.plugins import CheckContext, Observed, PolicyKey, Preset
from infra_doctor.model.policy import Policy, SpecKind
from infra_doctor.model.report import Measurement, ProbeOutcome
from infra_doctor.policy.reading import Known, parse_policy
from infra_doctor.runner.core_ids import ALWAYS_ERROR, CORE_IDS

TODAY = date(2026, 11, 21)
QUIET = settings(deadline=None, derandomize=True, database=None)  # the same examples in each run
CHECKS = ("DRV-OLD", "ECC/XID", "SHM", "MEMLOCK")


def key(name: str, kind: SpecKind, example: str, *observed: Observed, **more: object) -> PolicyKey:
    return PolicyKey(
        key=name, title=f"the {name}", kind=kind, observe=lambda ctx, star: observed, example=example, **more
    )


KEYS = (
    key("gpu.count", SpecKind.COUNT, "8"),
    key("gpu.model", SpecKind.NAME, '"H200"'),
    key("gpu.memory", SpecKind.SIZE, '">=80 GB"'),
    key("driver", SpecKind.VERSION, '">=580"'),
    key("driver.flavor", SpecKind.NAME, '"open"'),
    key("torch", SpecKind.VERSION, '">=2.8,<3"'),
    key("torch.cuda", SpecKind.VERSION, '"==12.8.*"'),
    key("torch.gpu", SpecKind.FLAG, "true"),
    key("memlock", SpecKind.SIZE, '"unlimited"'),
    key("python", SpecKind.VERSION, '"==3.12.*"'),
    key("package.*", SpecKind.VERSION, '">=0.10"'),
)
PRESETS = (
    Preset(name="minimal", title="devices", checks=("DRV-OLD",)),
    Preset(name="training", title="training", checks=("DRV-OLD", "SHM")),
)
KNOWN = Known(keys=KEYS, presets=PRESETS, ids=(*CHECKS, *CORE_IDS), core=tuple(CORE_IDS), errors=ALWAYS_ERROR)
NAME = "infra-doctor.toml"


def short(value: object) -> str | None:
    """The id of a test's parameter, where pytest's own would fill a screen."""
    return None if len(text := ascii(value)) < 60 else f"{text[:50]}-{len(text)}"


def parsed(text: str, *, project: bool = False) -> Policy:
    return parse_policy(text, NAME, KNOWN, project=project)


def context(probes: Iterable[ProbeOutcome] = (), measurements: Iterable[Measurement] = ()) -> CheckContext:
    return CheckContext(
        targets=(), components=(), facts=(), probes=probes, measurements=measurements, today=TODAY
    )  # fmt: skip


def skipped(name: str, status: Status = Status.SKIP, reason: str = "not visible") -> ProbeOutcome:
    return ProbeOutcome(id=name, version=1, title=f"the {name} probe", status=status, reason=reason)
