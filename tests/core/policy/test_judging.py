"""Requirements and thresholds as findings: what passes, what fails, and what could not be seen, which never passes."""

import pytest

from infra_doctor.cli.check import exit_code
from infra_doctor.errors import ExitCode
from infra_doctor.model.evidence import Evidence, EvidenceKind
from infra_doctor.model.finding import Finding, Status
from infra_doctor.model.plugins import Observed
from infra_doctor.model.policy import UNLIMITED, SpecKind
from infra_doctor.model.report import MachineInfo, Measurement, ProbeOutcome, Report, Tool
from infra_doctor.policy.judging import judge_requirement, judge_requirements, judge_threshold
from infra_doctor.policy.reading import read_requirement
from tests.core.policy.lab import KEYS, context, key, parsed, skipped

SEEN = Evidence(kind=EvidenceKind.FILE, source="/x", text="seen")
UNSEEN = Observed(value=None, reason="NVML does not answer", unseen=True)
ABSENT = Observed(value=None, reason="none is there")


def judged(
    asked: str, *observed: Observed, probes: tuple[ProbeOutcome, ...] = (), looks: tuple[str, ...] = ("p",)
) -> Finding:
    requirement = read_requirement(asked, KEYS)
    kind = requirement.spec.kind
    one = key(requirement.key, kind, "1", *observed, probes=looks)
    return judge_requirement(requirement, one, observed, context(probes))


def value(found: object, *subject: str, reason: str = "") -> Observed:
    return Observed(value=found, subject=subject, reason=reason, evidence=(SEEN,))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "observed", "status", "title"),
    [
        ("gpu.count=8", [value(8)], Status.PASS, "gpu.count 8 is required; this is 8"),
        ("gpu.count=8", [value(7)], Status.FAIL, "gpu.count 8 is required; this is 7"),
        ("gpu.count=8", [UNSEEN], Status.ERROR, "gpu.count 8 is required, and could not be looked at"),
        ("gpu.count=8", [value("many")], Status.UNKNOWN, "whether many meets it cannot be told"),
        ("gpu.count=8", [], Status.ERROR, "could not be looked at"),
        ("driver>=580", [ABSENT], Status.FAIL, "driver >=580 is required, and is not there"),
        ("driver>=580", [value("")], Status.UNKNOWN, "whether of unknown version meets it cannot be told"),
        ("driver", [value("")], Status.PASS, "driver is required; this is of unknown version"),
        ("package.pynvml=false", [ABSENT], Status.PASS, "no package.pynvml is required, and is not there"),
        ("package.pynvml=false", [value("12.0")], Status.FAIL, "no package.pynvml is required; this is 12.0"),
        ("torch.gpu", [value(False)], Status.FAIL, "torch.gpu is required; this is not so"),
        ("torch.gpu", [value(True)], Status.PASS, "torch.gpu is required; this is so"),
        ("torch.gpu=false", [value(True)], Status.FAIL, "torch.gpu = false is required; this is true"),
        ("torch.gpu=false", [value(False)], Status.PASS, "torch.gpu = false is required; this is false"),
        ("memlock=unlimited", [value(UNLIMITED)], Status.PASS, "this is unlimited"),
        # each of several; the worst wins: a failure that was seen, then what was not seen, then what cannot be told
        ("gpu.model=H200", [value("NVIDIA H200"), value("NVIDIA H100")], Status.FAIL, "this is NVIDIA H100"),
        ("gpu.model=H200", [value("NVIDIA H100"), UNSEEN], Status.FAIL, "this is NVIDIA H100"),
        ("gpu.model=H200", [value("NVIDIA H200"), UNSEEN], Status.ERROR, "could not be looked at"),
        ("torch>=2", [value("2.8"), value("nightly")], Status.UNKNOWN, "whether nightly meets it"),
        ("gpu.model=H200", [value(f"GPU {n}") for n in range(8)], Status.FAIL, "GPU 0, GPU 1, GPU 2, GPU 3 and 4 more"),
        ("gpu.model=H200", [value("x" * 500)], Status.FAIL, "x…"),
    ],
)  # fmt: skip
def test_requirements(asked: str, observed: list[Observed], status: Status, title: str) -> None:
    finding = judged(asked, *observed)
    assert finding.status is status
    assert title in finding.title
    assert len(finding.title) < 400
    assert finding.evidence[0].kind is EvidenceKind.POLICY
    assert finding.evidence[0].source == "--require"
    assert (finding.remediation is not None) is (status is Status.FAIL)
    assert finding.subject[0] == f"policy:{read_requirement(asked, KEYS).key}"


def test_a_failure_names_what_fails_and_no_other() -> None:
    finding = judged("gpu.model=H200", value("NVIDIA H200", "gpu:0"), value("NVIDIA H100", "gpu:1", reason="swapped"))
    assert finding.subject == ("policy:gpu.model", "gpu:1")
    assert (finding.detail, len(finding.evidence)) == ("swapped", 2)


@pytest.mark.parametrize(
    ("asked", "observed", "status"),
    [
        # Where a probe was skipped, what it did not find may be there.
        ("gpu.count=8", value(8), Status.PASS),
        ("gpu.count=8", value(3), Status.ERROR),
        ("gpu.count=8", value(9), Status.FAIL),
        ("gpu.count=0", value(0), Status.ERROR),
        ("gpu.count<=4", value(3), Status.ERROR),
        ("gpu.count>=2", value(3), Status.PASS),
        ("gpu.count=false", value(0), Status.ERROR),
        ("driver>=580", ABSENT, Status.ERROR),
        ("driver>=580", value("570"), Status.FAIL),
        ("driver>=580", value("580"), Status.PASS),
        ("package.pynvml=false", ABSENT, Status.ERROR),
        ("torch.gpu=false", ABSENT, Status.ERROR),
    ],
)
@pytest.mark.parametrize("how", [Status.SKIP, Status.ERROR])
def test_what_was_not_found_by_a_probe_that_did_not_look(
    asked: str, observed: Observed, status: Status, how: Status
) -> None:
    finding = judged(asked, observed, probes=(skipped("p", how, "not visible: commands"),))
    assert finding.status is status
    if status is Status.ERROR:
        assert "the p probe: not visible: commands" in finding.detail or observed.reason in finding.detail
        report = Report(tool=Tool(), created="", machine=MachineInfo(name="", form="rooted"), findings=(finding,))
        assert exit_code(report) is ExitCode.UNSEEN
        assert exit_code(report, lenient=True) is ExitCode.OK
    elsewhere = judged(asked, observed, probes=(skipped("other", how),))
    assert elsewhere.status in {Status.PASS, Status.FAIL}


def test_a_size_that_looks_like_its_bound_is_told_to_the_byte() -> None:
    just_below = 80 * 2**30 - 1
    assert f"this is 80.0 GiB ({just_below} bytes)" in judged("gpu.memory>=80 GiB", value(just_below)).title
    assert judged("gpu.memory>=80 GiB", value(79 * 2**30)).title.endswith("this is 79.0 GiB")
    assert judged("gpu.memory>=80 GiB", value(80 * 2**30 + 1)).title.endswith("this is 80.0 GiB")


def test_a_key_gets_its_star_and_what_explains_it() -> None:
    asked: list[str] = []

    def observe(_: object, star: str) -> list[Observed]:
        asked.append(star)
        return [value("1.0")]

    from infra_doctor.model.plugins import PolicyKey

    one = PolicyKey(
        key="package.*", title="", kind=SpecKind.VERSION, observe=observe, example="true", explained_by=("PY-PINS",)
    )
    requirement = read_requirement("package.ruamel.yaml>=2", [one])
    ((finding, causes),) = judge_requirements([requirement], [one], context())
    assert (asked, finding.status, causes) == (["ruamel.yaml"], Status.FAIL, ("PY-PINS",))
    with pytest.raises(LookupError):
        judge_requirements([requirement], [], context())


def measured(value: float, unit: str = "FLOP/s", ratio: float | None = None, device: str | None = None) -> Measurement:
    return Measurement(benchmark="gemm", name="bf16 8192", value=value, unit=unit, ratio=ratio, device=device)


@pytest.mark.parametrize(
    ("line", "found", "status", "title"),
    [
        ("'gemm*' = '>=70%'", [measured(7e14, ratio=0.7)], Status.PASS, "1 measured, all within it"),
        ("'gemm*' = '>70%'", [measured(7e14, ratio=0.7)], Status.FAIL, "gemm* >70% is required; gemm bf16 8192 is 7e+14 FLOP/s, 70%"),
        ("gemm = '>=700 TFLOP/s'", [measured(7e14)], Status.PASS, "all within"),
        ("gemm.'BF16 8192' = '>=700 TFLOP/s'", [measured(6.9e14)], Status.FAIL, "required"),
        ("gemm = '>=70%'", [measured(7e14)], Status.UNKNOWN, "has no such figure"),
        ("gemm = '>=1 GB/s'", [measured(7e14)], Status.UNKNOWN, "has no such figure"),
        ("gemm = '>=1 TFLOP/s'", [measured(float("nan"))], Status.UNKNOWN, "has no such figure"),
        ("gemm = '>=1 TFLOP/s'", [measured(float("inf"))], Status.UNKNOWN, "has no such figure"),
        ("'gemm fp8*' = '>=1%'", [measured(7e14)], Status.SKIP, "nothing of that name was measured"),
        ("nccl = '>=1%'", [], Status.SKIP, "nothing of that name was measured"),
        ("gemm = '>=1 TFLOP/s'", [measured(9e14, device="gpu:0"), measured(1e3, device="gpu:1")], Status.FAIL, "gemm bf16 8192 on gpu:1"),
    ],
)  # fmt: skip
def test_thresholds(line: str, found: list[Measurement], status: Status, title: str) -> None:
    (threshold,) = parsed(f"[measure]\n{line}").thresholds
    finding = judge_threshold(threshold, found)
    assert finding.status is status
    assert title in finding.title
    assert finding.evidence[0].source == "infra-doctor.toml:2"
    assert finding.subject[0] == f"policy:measure {threshold.pattern}"


def test_a_threshold_names_the_devices_that_miss_it() -> None:
    (threshold,) = parsed("[measure]\ngemm = '>=1 TFLOP/s'").thresholds
    finding = judge_threshold(threshold, [measured(9e14, device="gpu:0"), measured(1e3, device="gpu:1")])
    assert finding.subject == ("policy:measure gemm", "gpu:1")


def test_a_bracket_in_the_name_of_a_measurement() -> None:
    one = Measurement(benchmark="copy", name="[h2d]", value=1e9, unit="B/s")
    (threshold,) = parsed("[measure]\n'copy [h2d]' = '>=2 GB/s'").thresholds
    assert judge_threshold(threshold, [one]).status is Status.FAIL
