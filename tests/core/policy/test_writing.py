"""The policy that is written from a machine: the machine meets it, and whatever it is called, it is TOML."""

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_doctor.cli.policies import known_names
from infra_doctor.model.finding import Finding, Severity, Status
from infra_doctor.model.plugins import CheckContext, Observed, PolicyKey
from infra_doctor.model.policy import UNLIMITED, Policy, SpecKind
from infra_doctor.model.report import ProbeOutcome, Report
from infra_doctor.policy.judging import judge_requirements
from infra_doctor.policy.reading import Known, parse_policy
from infra_doctor.policy.specs import read_spec
from infra_doctor.policy.writing import Draft, draft, quoted, rounded_down
from infra_doctor.runner import registry
from infra_doctor.runner.core_ids import ALWAYS_ERROR, CORE_IDS
from infra_doctor.runner.run import Run, RunOptions
from tests.core.policy.lab import NAME, QUIET, TODAY, context, key, skipped
from tests.support.recipe import MissingSample, read_recipe, recipe_machine

MACHINES = Path(__file__).parents[2] / "machines"
# Recorded ones, and of those that are described: healthy, broken, of other vendors, without any accelerator.
SOME = (
    "h200-torch211", "h200x4-torch211", "h200-ort-gpu-cudnn-hidden", "h200-collected", "ascend-cann-850", "ascend-two-roots",
    "ascend-npu-hangs", "healthy-8-gpus", "healthy-mixed-gpus", "healthy-mig", "healthy-wsl2", "healthy-jetson-orin", "cpu-only",
    "nvml-hangs", "nvml-mismatch", "healthy-amd-torch-rocm", "healthy-torch-nightly-cu130", "xid-79-gone-from-the-bus",
    "container-lost-its-gpu", "newer-than-all-tables",
)  # fmt: skip
PLUGINS = registry.load((*registry.JUDGING, *registry.HOLDING), third_party=False)
NAMES = tuple(sorted({n for p in PLUGINS.probes for n in p.environment}))
KNOWN = known_names(third_party=False)


def looked_at(name: str) -> tuple[CheckContext, Report]:
    folder = MACHINES / name
    recorded = next(iter(folder.glob("snapshot.json*")), None)
    if recorded is not None:
        run = Run(RunOptions(replay=str(recorded), policy=Policy()), registry=PLUGINS)
    else:
        try:
            recipe = read_recipe(folder / "machine.toml")
        except MissingSample as missing:
            pytest.skip(f"public capture not here: {missing}")
        options = RunOptions(python=recipe.get("python"), policy=Policy())
        run = Run(options, registry=PLUGINS, machine=recipe_machine(recipe, NAMES))
    report = run.execute()
    assert run.context is not None
    return run.context, report


def uncommented(text: str, start: str) -> str:
    """The text with the lines from this one on made what they offer."""
    head, found, tail = text.partition(start)
    lines = (found + tail).split("\n")
    return head + "\n".join(re.sub(r"^# (?=\[\[|id = |until = |reason = |subject = )", "", n) for n in lines)


@pytest.mark.parametrize("name", SOME)
def test_a_machine_meets_the_policy_that_was_written_from_it(name: str) -> None:
    seen, report = looked_at(name)
    made = draft(seen, report.findings, KNOWN, TODAY, machine="a test")
    policy = parse_policy(made.text, NAME, KNOWN)
    statuses = [f.status for f, _ in judge_requirements(policy.requirements, KNOWN.keys, seen)]
    assert statuses == [Status.PASS] * made.requirements
    assert policy.waivers == ()
    assert all(n.isprintable() and len(n) < 300 for n in made.text.splitlines())
    offered = parse_policy(uncommented(made.text, "# [[waivers]]"), NAME, KNOWN)
    assert len(offered.waivers) == made.waivers
    assert {w.until for w in offered.waivers} <= {"2027-02-19"}
    failing = {f.id for f in report.findings if f.status is Status.FAIL}
    assert failing <= {w.id for w in offered.waivers}


def test_what_is_written_of_a_machine_with_a_gpu() -> None:
    seen, _ = looked_at("h200-torch211")
    found = tomllib.loads(draft(seen, (), KNOWN, TODAY, machine="a test").text)["require"]
    assert found["gpu"] == {"count": 1, "model": "NVIDIA H200", "memory": ">=140 GiB"}
    assert found["torch"] == {"version": ">=2.11", "cuda": ">=13.0"}
    assert (found["driver"]["version"], found["python"]) == (">=580.159", ">=3.12")


def offered(*keys: PolicyKey, findings: tuple[Finding, ...] = (), probes: tuple[ProbeOutcome, ...] = ()) -> Draft:
    known = Known(keys=keys, presets=(), ids=("SHM", *CORE_IDS), core=tuple(CORE_IDS), errors=ALWAYS_ERROR)
    return draft(context(probes), findings, known, TODAY, machine="a test")


def one(kind: SpecKind, *values: object, example: str = "1", **more: object) -> PolicyKey:
    return key("thing", kind, example, *(Observed(value=v) for v in values), offered=True, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (one(SpecKind.VERSION, "2.11.0+cu130"), ">=2.11"),
        (one(SpecKind.VERSION, "13"), ">=13"),
        (one(SpecKind.VERSION, "2.9.0", "2.11.0"), ">=2.9"),
        (one(SpecKind.VERSION, "2.12.0.dev20260101+cu130"), ">=2.12.0.dev20260101+cu130"),  # >=2.12 does not hold today
        (one(SpecKind.VERSION, "8.2.RC1.alpha003"), ">=8.2.RC1.alpha003"),
        (one(SpecKind.VERSION, "R580"), ">=580"),
        (one(SpecKind.VERSION, ""), True),
        (one(SpecKind.VERSION, "weird"), True),
        (one(SpecKind.COUNT, 8), 8),
        (one(SpecKind.COUNT, 8, 4), ">=4"),
        (one(SpecKind.COUNT, 0), None),
        (one(SpecKind.SIZE, 150754820096), ">=140 GiB"),
        (one(SpecKind.SIZE, 2**36, 2**35), ">=32 GiB"),
        (one(SpecKind.SIZE, UNLIMITED), "unlimited"),
        (one(SpecKind.NAME, "NVIDIA H200", "NVIDIA H200"), "NVIDIA H200"),
        (one(SpecKind.NAME, "A", "B"), ["A", "B"]),
        (one(SpecKind.NAME, "Intel(R) Xeon(R), old"), ["Intel(R) Xeon(R), old"]),
        (one(SpecKind.NAME, "GA100 [A100 PCIe 40GB]"), "GA100 [A100 PCIe 40GB]"),
        (one(SpecKind.NAME, ">=odd"), None),  # what cannot be written as a name is not written
        (one(SpecKind.NAME, 'q"\\\n\x1b\x7f\u202e😀'), 'q"\\\n\x1b\x7f\u202e😀'),
        (one(SpecKind.FLAG, True), True),
        (one(SpecKind.FLAG, True, False), None),
        (one(SpecKind.FLAG, False), None),
        (one(SpecKind.VERSION, None), None),
    ],
)  # fmt: skip
def test_values(made: PolicyKey, wanted: object) -> None:
    text = offered(made).text
    assert tomllib.loads(text)["require"].get("thing") == wanted
    assert all(n.isprintable() for n in text.splitlines())


def test_what_was_not_seen_is_offered_as_a_comment() -> None:
    gone = key("gone", SpecKind.COUNT, "8", Observed(value=0), offered=True)
    blind = key("blind", SpecKind.COUNT, "8", Observed(value=0), probes=("p",), offered=True)
    mute = key(
        "mute", SpecKind.VERSION, '">=1"', Observed(value="1", unseen=True, reason="silent\nx\x1b[2J = 1"), offered=True
    )
    nothing = key("nothing", SpecKind.FLAG, "true", offered=True)
    hidden = key("hidden", SpecKind.COUNT, "8", Observed(value=8))
    made = offered(gone, blind, mute, nothing, hidden, probes=(skipped("p"),))
    assert made.requirements == 0
    assert tomllib.loads(made.text) == {"require": {}}
    assert "# blind = 8\n#   the p probe: not visible\n" in made.text
    assert '# mute = ">=1"\n#   silent x\\x1b[2J = 1\n' in made.text
    assert "# nothing = true\n#   could not be looked at\n" in made.text
    assert "# Of what is not here: gone." in made.text
    assert "hidden" not in made.text


def test_a_value_beside_keys_that_start_with_it() -> None:
    made = offered(
        key("torch", SpecKind.VERSION, '">=2"', Observed(value="2.8"), offered=True),
        key("torch.cuda", SpecKind.VERSION, '">=12"', Observed(value=None, reason="no"), offered=True),
    )
    assert tomllib.loads(made.text) == {"require": {"torch": {"version": ">=2.8"}}}
    both = tomllib.loads(made.text.replace("# Of what is not here", "torch.cuda = '>=13'\n#"))
    assert both["require"]["torch"] == {"version": ">=2.8", "cuda": ">=13"}


def test_findings_are_offered_as_waivers() -> None:
    hostile = 'x"\n[require]\n\x1b[31m'
    findings = (
        Finding(
            id="SHM", status=Status.FAIL, subject=(hostile, "b"), title=f"small\n[require]\ngpu.count = 9 {hostile}"
        ),
        Finding(id="SHM", status=Status.FAIL, subject=("b", hostile), title="the same"),
        Finding(id="PROBE-FAILED", status=Status.ERROR, subject=("gpu:0",), title="silent", severity=Severity.HIGH),
        Finding(id="PROBE-FAILED", status=Status.ERROR, subject=("file:/x",), title="no matter for the exit code"),
        Finding(id="SHM", status=Status.WARN, title="a warning"),
        Finding(id="SHM", status=Status.FAIL, title="alone"),
    )
    made = offered(one(SpecKind.COUNT, 8), findings=findings)
    assert tomllib.loads(made.text) == {"require": {"thing": 8}}
    assert made.waivers == 3
    found = tomllib.loads(uncommented(made.text, "# [[waivers]]"))["waivers"]
    assert [(w["id"], w.get("subject"), str(w["until"])) for w in found] == [
        ("SHM", "b", "2027-02-19"), ("PROBE-FAILED", "gpu:0", "2027-02-19"), ("SHM", None, "2027-02-19"),
    ]  # fmt: skip
    assert "3 findings of this machine would not let it pass" in made.text


def test_reasons_are_redacted() -> None:
    made = key(
        "thing", SpecKind.VERSION, '">=1"', Observed(value=None, unseen=True, reason="/home/alice/x"), offered=True
    )
    known = Known(keys=(made,), presets=(), ids=())
    text = draft(context(), (), known, TODAY, machine="m", redacted=lambda t: t.replace("alice", "user1")).text
    assert "/home/user1/x" in text
    assert "alice" not in text


@QUIET
@given(st.integers(min_value=1, max_value=2**62))
def test_sizes_are_rounded_down_by_little(size: int) -> None:
    (clause,) = read_spec(SpecKind.SIZE, rounded_down(size)).clauses
    assert isinstance(clause.value, int)
    assert clause.value <= size
    assert clause.value >= size * 0.9 or clause.value >= size - 1


@QUIET
@given(st.text(alphabet=st.characters(exclude_categories=("Cs",))))
def test_any_text_is_quoted(text: str) -> None:
    assert tomllib.loads(f"key = {quoted(text)}") == {"key": text}
    assert quoted(text).isprintable()


def test_half_characters_cannot_be_written() -> None:
    written = quoted("a\udce9")
    assert tomllib.loads(f"key = {written}") == {"key": "a\ufffd"}
