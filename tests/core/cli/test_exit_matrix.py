"""What comes of which run: the real command line on recorded and described machines. The table is that of docs/exit-codes.md."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.plug_ins import install
from tests.support.snapshots import snapshot_of

DOCS = Path(__file__).parents[3] / "docs" / "exit-codes.md"
HEALTHY, FAILING, HANGING = "healthy-h100-torch-cu130", "h200-ort-gpu-cudnn-hidden", "nvml-hangs"
WARNING, OPEN, TWO = "persist-off-server", "newer-than-all-tables", "h200x2-torch211"
ONE_OF_TWO = "h200-torch211"
POLICY = "infra-doctor.toml"
FOREVER, OVER = "2999-12-31", "2020-01-01"


def waiver(finding_id: str, until: str, **fields: str) -> str:
    further = "".join(f'{k} = "{v}"\n' for k, v in fields.items())
    return f'[[waivers]]\nid = "{finding_id}"\nuntil = {until}\nreason = "known"\n{further}'


@dataclass(frozen=True)
class Case:
    """`{NAME}` in `argv` and `files` is the snapshot of that machine, `{NAME:json}` its report; `said` is on standard error."""

    run: str
    code: int
    machine: str
    argv: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    said: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    report: bool = True  # whether standard output holds one


def case(run: str, code: int, machine: str, *argv: str, **fields: object) -> Case:
    return Case(run, code, machine, argv, report=bool(fields.pop("report", code != 2)), **fields)  # type: ignore[arg-type]


def policy(text: str) -> dict[str, str]:
    return {POLICY: text}


def measured(value: float, spread: float = 0.0, device: str = "gpu:0000:00:06.0") -> str:
    """A report with one measurement, and nothing else."""
    item = {
        "benchmark": "gemm", "name": "bf16", "value": value, "unit": "FLOP/s", "device": device, "spread": spread,
        "verified": True,
    }  # fmt: skip
    return json.dumps(
        {
            "kind": "report", "schema_version": "1.0", "tool": {"version": "0.1.0"}, "created": "2026-01-01T00:00:00Z",
            "machine": {"name": "m", "form": "live"}, "measurements": [item],
        }
    )  # fmt: skip


CASES = (
    case("healthy", 0, HEALTHY),
    case("a warning", 0, WARNING),
    case("a warning, `--fail-on warn`", 1, WARNING, "--fail-on", "warn"),
    case("something that cannot be judged", 0, OPEN),
    case("something that cannot be judged, `--fail-on unknown`", 1, OPEN, "--fail-on", "unknown"),
    case("a failure", 1, FAILING),
    case("a failure, `--fail-on never`", 0, FAILING, "--fail-on", "never"),
    case("GPUs on the PCI bus, and NVML hangs", 3, HANGING),
    case("GPUs on the PCI bus, and NVML hangs, `--lenient`", 0, HANGING, "--lenient"),
    case("GPUs on the PCI bus, and NVML hangs, `--fail-on never`", 3, HANGING, "--fail-on", "never"),
    case("GPUs on the PCI bus, and NVML hangs, `lenient = true` in the policy", 0, HANGING,
         files=policy("lenient = true")),
    case("NVML hangs, and a requirement is not met", 1, HANGING, "--require", "gpu.count=2"),
    case("NVML hangs, and its finding is waived", 0, HANGING, files=policy(waiver("PROBE-FAILED", FOREVER, subject="gpu:*"))),
    case("required and met", 0, HEALTHY, "--require", "gpu.count=1", "--require", "package.torch"),
    case("required and absent", 1, HEALTHY, "--require", "package.vllm"),
    case("required and not visible", 3, "rooted", "--require", "gpu.count=1"),
    case("required and not visible, `--lenient`", 0, "rooted", "--require", "gpu.count=1", "--lenient"),
    case("required to be absent, and not visible", 3, "rooted", "--require", "gpu.count=0"),
    case("a failure, waived", 0, FAILING, files=policy(waiver("CUDNN-MISSING", FOREVER))),
    case("a failure, waived for another subject", 1, FAILING, files=policy(waiver("CUDNN-MISSING", FOREVER, subject="wheel:x@*"))),
    case("a failure whose waiver has expired", 1, FAILING, files=policy(waiver("CUDNN-MISSING", OVER))),
    case("a warning whose waiver has expired", 0, WARNING, files=policy(waiver("PERSIST", OVER))),
    case("a warning whose waiver has expired, `--fail-on warn`", 1, WARNING, "--fail-on", "warn",
         files=policy(waiver("PERSIST", OVER))),
    case("a waiver that has expired, of nothing that is there, `--fail-on warn`", 1, HEALTHY, "--fail-on", "warn",
         files=policy(waiver("PERSIST", OVER))),
    case("the policy's `fail-on = \"warn\"`", 1, WARNING, files=policy('fail-on = "warn"')),
    case("the policy's `fail-on = \"warn\"`, and `--fail-on fail`", 0, WARNING, "--fail-on", "fail",
         files=policy('fail-on = "warn"')),
    case("the policy makes a failure a warning", 0, FAILING, files=policy('[status]\nCUDNN-MISSING = "warn"')),
    case("the policy makes a warning a failure", 1, WARNING, files=policy('[status]\nPERSIST = "fail"')),
    case("the policy skips the check that fails", 0, FAILING, files=policy('skip = ["CUDNN-MISSING"]')),
    case("a failure, `--skip` its check", 0, FAILING, "--skip", "CUDNN-MISSING"),
    case("a failure, `--only` another check", 0, FAILING, "--only", "DRV-OLD"),
    case("a failure, and a preset without its check", 0, FAILING, "--preset", "minimal"),
    case("threshold met", 0, HEALTHY, "--measurements", "m.json",
         files={POLICY: '[measure]\ngemm = ">=90 TFLOP/s"', "m.json": measured(95e12)}),
    case("threshold missed", 1, HEALTHY, "--measurements", "m.json",
         files={POLICY: '[measure]\ngemm = ">=90 TFLOP/s"', "m.json": measured(85e12)}),
    case("threshold missed, waived", 0, HEALTHY, "--measurements", "m.json",
         files={POLICY: '[measure]\ngemm = ">=90 TFLOP/s"\n' + waiver("THRESHOLD", FOREVER, subject="gpu:0000:00:06.0"), "m.json": measured(85e12)}),
    case("threshold not measured", 0, HEALTHY, files=policy('[measure]\ngemm = ">=90 TFLOP/s"')),
    case("baseline: the same failure", 0, FAILING, "--baseline", f"{{{FAILING}:json}}"),
    case("baseline: the same failure, from a snapshot", 0, FAILING, "--baseline", f"{{{FAILING}}}"),
    case("baseline: a failure more", 1, FAILING, "--baseline", f"{{{ONE_OF_TWO}:json}}", said="CUDNN-MISSING"),
    case("baseline: a device gone", 1, ONE_OF_TWO, "--baseline", f"{{{TWO}:json}}"),
    case("baseline: a device gone, waived", 0, ONE_OF_TWO, "--baseline", f"{{{TWO}:json}}",
         files=policy(waiver("BASELINE", FOREVER, subject="gpu:0000:00:07.0"))),
    case("baseline: a measurement worse", 1, ONE_OF_TWO, "--baseline", "old.json", "--measurements", "new.json",
         files={"old.json": measured(100), "new.json": measured(80)}),
    case("baseline: a measurement within its noise", 0, ONE_OF_TWO, "--baseline", "old.json", "--measurements",
         "new.json", files={"old.json": measured(100, spread=0.15), "new.json": measured(80)}),
    case("baseline: devices cannot be seen", 3, "rooted", "--baseline", f"{{{ONE_OF_TWO}:json}}"),
    case("baseline: devices cannot be seen, `--lenient`", 0, "rooted", "--lenient", "--baseline", f"{{{ONE_OF_TWO}:json}}"),
    case("baseline: a failure whose waiver has expired", 1, FAILING, "--baseline", f"{{{FAILING}:json}}",
         files=policy(waiver("CUDNN-MISSING", OVER))),
    case("baseline: no such file", 2, HEALTHY, "--baseline", "absent.json", said="absent.json"),
    case("baseline: not a report", 2, HEALTHY, "--baseline", "x.json", files={"x.json": '{"kind": "plan"}'}, said="x.json"),
    case("policy: unknown finding id", 2, HEALTHY, files=policy('skip = ["DRV-ODL"]'), said="DRV-OLD"),
    case("policy: unknown key", 2, HEALTHY, files=policy("lenint = true"), said="infra-doctor.toml:1"),
    case("policy: unknown requirement", 2, HEALTHY, files=policy("[require]\ngpu.cuont = 1"), said="infra-doctor.toml:2"),
    case("policy: bad TOML", 2, HEALTHY, files=policy("[require\n"), said="infra-doctor.toml"),
    case("policy: no such file", 2, HEALTHY, "--policy", "absent.toml", said="absent.toml"),
    case("`--require` with an unknown key", 2, HEALTHY, "--require", "gpu.cuont=1", said="gpu.count"),
    case("`--preset` with an unknown name", 2, HEALTHY, "--preset", "minmal", said="minimal"),
    case("`--format` with an unknown name", 2, HEALTHY, "--format", "jsno", said="json"),
    case("a failure, and an output's folder is missing", 2, FAILING, "--format", "json=absent/x.json", said="absent/x.json"),
    case("a failure, and an output turns out to be unwritable", 2, FAILING, "--html", "/dev/full", report=True,
         said="/dev/full: No space left"),
    case("a failure, and standard output is full", 2, FAILING, ">/dev/full", said="standard output: No space left"),
    case("healthy, and a report format fails", 4, HEALTHY, "--format", "broken=x", environment={"PYTHONPATH": "plug-ins"},
         said="the format broken failed: ZeroDivisionError"),
    case("healthy, and a probe of a plug-in fails", 0, HEALTHY, environment={"PYTHONPATH": "plug-ins"}),
    case("`SOURCE_DATE_EPOCH` is no time", 2, HEALTHY, environment={"SOURCE_DATE_EPOCH": "soon"}, said="SOURCE_DATE_EPOCH"),
)  # fmt: skip


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> "dict[str, str]":
    """By name: the snapshots and reports that the cases speak of, each made when it is first asked for."""
    folder = tmp_path_factory.mktemp("machines")
    (folder / "root").mkdir()
    return Machines(folder)


class Machines(dict[str, str]):
    def __init__(self, folder: Path) -> None:
        super().__init__(rooted=str(folder / "root"))
        self.folder = folder

    def __missing__(self, name: str) -> str:
        machine, _, form = name.partition(":")
        made = snapshot_of(machine, self.folder)
        if form:
            done = check(["--json", "--no-policy", "--replay", made], self.folder)
            made = str(self.folder / f"{machine}.report.json")
            Path(made).write_text(done.stdout, encoding="utf-8")
        self[name] = made
        return made


def check(
    argv: list[str], folder: Path, environment: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    kept = {k: v for k, v in os.environ.items() if k not in {"SOURCE_DATE_EPOCH", "CI", "GITHUB_ACTIONS"}}
    with open("/dev/full", "wb", buffering=0) as full:
        return subprocess.run(
            [sys.executable, "-m", "infra_doctor", "check", *(a for a in argv if a != ">/dev/full")], cwd=folder, check=False,
            env={**kept, **(environment or {})}, stdout=full if ">/dev/full" in argv else subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, timeout=120,
        )  # fmt: skip


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.run)
def test_exit_code(one: Case, given: Machines, tmp_path: Path) -> None:
    for name, text in one.files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    if "PYTHONPATH" in one.environment:
        install(
            tmp_path / "plug-ins", reports="FORMATS = (ReportFormat(name='broken', help='', render=lambda r, o: 1 / 0),)",
            probes="PROBES = (Probe(id='theirs', version=1, title='theirs', run=lambda ctx: 1 / 0),)",
        )  # fmt: skip
    machine = ["--root" if one.machine == "rooted" else "--replay", given[one.machine]]
    argv = [re.sub(r"^\{(.*)\}$", lambda m: given[m[1]], a) for a in one.argv]
    text = not any(a.startswith(("--json", "--markdown")) for a in argv)
    done = check([*machine, *argv, *(["--format", "json"] if text and one.report else [])], tmp_path, one.environment)
    assert done.returncode == one.code, (done.stderr, done.stdout[-2000:])
    assert one.said in done.stderr or one.said in (done.stdout or ""), done.stderr
    assert "Traceback" not in done.stderr
    if one.report:
        assert json.loads(done.stdout)["kind"] == "report"
    else:
        assert not done.stdout


def test_the_table_of_the_docs_is_this_one() -> None:
    rows = re.findall(
        r"^\| (.+?) \| (\d) \|$", DOCS.read_text(encoding="utf-8").partition("| run | code |")[2], re.MULTILINE
    )
    assert [(run, int(code)) for run, code in rows] == [(one.run, one.code) for one in CASES]


def test_a_probe_of_a_plug_in_that_fails_is_a_finding(given: Machines, tmp_path: Path) -> None:
    install(
        tmp_path / "plug-ins", probes="PROBES = (Probe(id='theirs', version=1, title='theirs', run=lambda ctx: 1 / 0),)"
    )
    done = check(["--json", "--replay", given[HEALTHY]], tmp_path, {"PYTHONPATH": "plug-ins"})
    failed = [f for f in json.loads(done.stdout)["findings"] if f["status"] == "error"]
    assert [(f["id"], f["subject"]) for f in failed] == [("PROBE-FAILED", ["probe:theirs"])]
