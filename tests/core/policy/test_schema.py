"""The JSON Schema of a policy: the committed one is the current one, editors' drafts read it alike, and it agrees with the
reader: what the reader takes, the schema takes; what the schema refuses, the reader refuses."""

import json
import shutil
import subprocess
import tomllib
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_doctor.cli.policies import known_names
from infra_doctor.cli.schema import policy_schema
from infra_doctor.codec import encode
from infra_doctor.errors import InputError
from infra_doctor.model.plugins import PolicyKey
from infra_doctor.model.policy import SpecKind
from infra_doctor.policy import schema
from infra_doctor.policy.reading import Known, parse_policy
from infra_doctor.policy.sections import policy_of
from tests.core.policy.lab import KNOWN, NAME, QUIET, key, short

FILE = Path(__file__).parents[3] / "docs" / "policy.schema.json"
DRAFTS = (jsonschema.Draft202012Validator, jsonschema.Draft7Validator, jsonschema.Draft4Validator)
SMALL = schema.policy_schema(KNOWN, {"SHM": "small /dev/shm"}, "1.0")


def as_json(value: Any) -> Any:
    """A TOML document as an editor's extension hands it to the schema: dates are texts."""
    if isinstance(value, dict):
        return {k: as_json(v) for k, v in value.items()}
    if isinstance(value, list):
        return [as_json(v) for v in value]
    return value.isoformat() if isinstance(value, date | datetime | time) else value


def takes(document: Any, of: dict[str, Any] = SMALL) -> bool:
    """The verdict of every draft, which must be one."""
    verdicts = {draft(of, format_checker=draft.FORMAT_CHECKER).is_valid(as_json(document)) for draft in DRAFTS}
    assert len(verdicts) == 1
    return verdicts.pop()


def reads(text: str, known: Known = KNOWN) -> bool:
    try:
        parse_policy(text, NAME, known)
    except InputError:
        return False
    return True


def test_the_committed_schema_is_the_current_one() -> None:
    """Else: infra-doctor schema policy --no-plugins > docs/policy.schema.json"""
    assert FILE.read_text(encoding="utf-8") == encode(policy_schema(third_party=False))


@pytest.mark.parametrize("draft", DRAFTS)
def test_it_is_a_schema_by_every_draft_that_editors_know(draft: type[jsonschema.Draft202012Validator]) -> None:
    draft.check_schema(SMALL)
    draft.check_schema(json.loads(FILE.read_text(encoding="utf-8")))


WAIVER = "[[waivers]]\nid = 'SHM'\nuntil = 2026-12-31\nreason = 'x'\n"
GOOD = (
    "",
    "preset = 'training'",
    "preset = ['training', 'minimal']",
    "preset = []",
    "only = 'SHM'",
    "only = ['SHM', 'ECC/XID']",
    "skip = []",
    "fail-on = 'never'",
    "lenient = false",
    "timeout = 0.5",
    "timeout = 30",
    "[require]\ngpu.count = 8",
    "[require]\ngpu.count = '>=4, <=8'",
    "[require]\ngpu.count = ' 8 '",
    "[require]\ngpu.count = true",
    "[require]\ngpu.count = 'false'",
    "[require.gpu]\ncount = 8\nmodel = 'H100, H200'\nmemory = '>=80 GiB'",
    "[require]\ngpu = {model = ['NVIDIA H100, 80GB', '*H200*'], memory = '79.6GiB'}",
    "[require]\ngpu.memory = '>= 1_024.5e0 MiB, < 2 TiB'",
    "[require]\nmemlock = 'unlimited'",
    "[require]\nmemlock = '<unlimited'",
    "[require]\ndriver = '>=580,<600'",
    "[require]\ndriver = '==580.*'",
    "[require]\ndriver = '580.*'",
    "[require]\ndriver = '!=580.65.06, ~=580.10, ===580.159.04'",
    "[require]\ndriver.version = '>=R580'\ndriver.flavor = 'open'",
    "[require]\ntorch = {version = '>=2.8', cuda = '==13.*', gpu = true}",
    "[require.torch]\ngpu = 'true'",
    "[require]\npython = {version = '>=3.11'}",
    "[require]\npython = '>=8.2.RC1.alpha003'",
    "[require]\npython = '\\\n>=3.11'".replace("'\\\n>=3.11'", "'''\n>=3.11\n'''"),
    "[require]\npackage.vllm = '>=0.10'\npackage.'ruamel.yaml' = true\npackage.zope.interface = true\npackage.x = {version = '>=1'}",
    "[require.package]",
    "[require.gpu]",
    "[measure]\n'gemm bf16*' = '>=70%'\nx = '<10 us, >= 1 ns'",
    "[measure.gemm]\nbf16 = '>=700 TFLOP/s'",
    "[measure]\nx = '>=400 Gbit/s'",
    "[severity]\nSHM = 'low'\nPROBE-FAILED = 'critical'",
    "[status]\nSHM = 'fail'\nREQUIREMENT = 'warn'",
    WAIVER,
    WAIVER + "subject = 'gpu:*'",
    WAIVER.replace("2026-12-31", "'2026-12-31'"),
    WAIVER.replace("SHM", "PROBE-FAILED") + "subject = 'gpu:0'",
    "waivers = []",
)
BAD = (
    "presets = 'training'",
    "preset = 'traning'",
    "preset = 1",
    "only = []",
    "only = ['shm']",
    "only = 'REQUIREMENT'",
    "skip = [7]",
    "fail-on = 'error'",
    "lenient = 'yes'",
    "timeout = 0",
    "timeout = -1",
    "timeout = '30'",
    "timeout = true",
    "timeout = 1e10",
    "require = 1",
    "[[require]]",
    "[require]\ngpu = 8",
    "[require]\ngpu.cont = 8",
    "[require]\n'gpu.count' = 8",
    "[require]\n'package.vllm' = true",
    "[require]\ngpu.count = -1",
    "[require]\ngpu.count = 8.5",
    "[require]\ngpu.count = 1000000000000000",
    "[require]\ngpu.count = [8]",
    "[require]\ngpu.count = {min = 8}",
    "[require]\ngpu.count = {version = 8}",
    "[require]\ngpu.count = '>=8 GPUs'",
    "[require]\ngpu.count = ''",
    "[require]\ngpu.model = []",
    "[require]\ngpu.model = ''",
    "[require]\ngpu.model = '>=H100'",
    "[require]\ngpu.model = 'H100,,H200'",
    "[require]\ngpu.model = 'H100,'",
    "[require]\ngpu.model = 4090",
    "[require]\ngpu.memory = 80",
    "[require]\ngpu.memory = '80'",
    "[require]\ngpu.memory = '80 gb'",
    "[require]\ngpu.memory = '~=80 GiB'",
    "[require]\nmemlock = '<=unlimited'",
    "[require]\nmemlock = 'Unlimited'",
    "[require]\ndriver = 580",
    "[require]\ndriver = 580.1",
    "[require]\ndriver = '580'",
    "[require]\ndriver = '=580'",
    "[require]\ndriver = 'latest'",
    "[require]\ndriver = '*'",
    "[require]\ndriver = '>=580.*'",
    "[require]\ndriver = '~=580'",
    "[require]\ndriver = '>=580;<600'",
    "[require]\ndriver = '>=580,'",
    "[require]\ndriver = '^580'",
    "[require]\npython = {cuda = '==13.*'}",
    "[require]\ntorch = {version = '>=2.8', cudaa = '==13.*'}",
    "[require]\ntorch.gpu = {version = true}",
    "[require]\ntorch.gpu = 1",
    "[require]\npackage = ['vllm']",
    "[require]\npackage.vllm = {}",
    "[require]\npackage.vllm = {version = '>=1', cuda = '==12.*'}",
    "[require]\npackage.'a b' = true",
    "[require]\npackage.'vllm>=1' = true",
    "[require]\npackage.vllm = '>=1 '''".replace("'>=1 '''", "1"),
    "[measure]\ngemm = 70",
    "[measure]\ngemm = '70%'",
    "[measure]\ngemm = '>=70 Gb/s'",
    "[measure]\n'' = '>=70%'",
    "[measure.gemm.x]\ny = '>=70%'",
    "[severity]\nSHMM = 'low'",
    "[severity]\nSHM = 'urgent'",
    "[status]\nSHM = 'pass'",
    "[status]\nSHM = 'unknown'",
    "[status]\nPROBE-FAILED = 'warn'",
    "[waivers]\nid = 'SHM'",
    "[[waivers]]\nid = 'SHM'\nuntil = 2026-12-31",
    "[[waivers]]\nid = 'SHM'\nreason = 'x'",
    "[[waivers]]\nuntil = 2026-12-31\nreason = 'x'",
    WAIVER.replace("SHM", "SHMM"),
    WAIVER.replace("'x'", "' '"),
    WAIVER.replace("'x'", "7"),
    WAIVER.replace("2026-12-31", "2026-12-31T00:00:00"),
    WAIVER.replace("2026-12-31", "20261231"),
    WAIVER.replace("2026-12-31", "'20261231'"),
    WAIVER.replace("SHM", "PROBE-FAILED"),
    WAIVER + "subject = ''",
    WAIVER + "note = 'x'",
)
# What no pattern tells.
READER_ALONE = (
    "only = 'SHM'\nskip = 'SHM'",
    "[require]\ngpu.count = '>8,<9'",
    "[require]\ndriver = '>=600,<580'",
    "[require]\ndriver = '==2.8.x'",  # a word that orders nothing
    "[require]\ngpu.memory = '1e30 B'",
    "[require]\ngpu.model = ['[']",
    "[require]\npackage.'ruamel.yaml' = true\npackage.ruamel.yaml = true",
    "[measure]\nx = '>=1 GB/s,<=80%'",
    "[measure]\nx = '>=90%,<=80%'",
    "[measure]\nX = '>=1%'\nx = '>=1%'",
    "timeout = nan",
    WAIVER + WAIVER,
)


@pytest.mark.parametrize("text", GOOD, ids=short)
def test_what_both_take(text: str) -> None:
    assert reads(text)
    assert takes(tomllib.loads(text))


@pytest.mark.parametrize("text", BAD, ids=short)
def test_what_both_refuse(text: str) -> None:
    assert not reads(text)
    assert not takes(tomllib.loads(text))


@pytest.mark.parametrize("text", READER_ALONE, ids=short)
def test_what_the_reader_alone_refuses(text: str) -> None:
    assert not reads(text)
    assert takes(tomllib.loads(text))


@pytest.mark.parametrize(("text", "takers"), [
    ("[require]\ngpu.count = 8.0", DRAFTS[:2]),  # since draft 6 a number without a fraction is a whole one
    (WAIVER.replace("2026-12-31", "'2026-02-30'"), DRAFTS[2:]),  # draft 4 knows no format "date"
], ids=short)  # fmt: skip
def test_where_the_drafts_differ_the_reader_refuses(text: str, takers: tuple[Any, ...]) -> None:
    assert not reads(text)
    for draft in DRAFTS:
        found = draft(SMALL, format_checker=draft.FORMAT_CHECKER).is_valid(as_json(tomllib.loads(text)))
        assert found is (draft in takers)


SPECS = st.sampled_from([True, False, 8, 0, "8", ">=4", ">=2.8,<3", "==12.*", "~=2.8", "80 GiB", ">=1.5 TB", "unlimited", "H100",
                         "true", ["H100", "a,b"], [], "", 2.8, {"version": ">=2"}, {"version": ">=2", "cuda": "==13.*"}, {"x": True}, {}])  # fmt: skip
NAMES = st.sampled_from(["gpu", "count", "model", "memory", "driver", "flavor", "torch", "cuda", "version", "python", "package",
                         "vllm", "ruamel.yaml", "a b", "memlock", "gpu.count", ""])  # fmt: skip
TREES = st.dictionaries(NAMES, SPECS | st.dictionaries(NAMES, SPECS | st.dictionaries(NAMES, SPECS, max_size=2), max_size=3), max_size=3)  # fmt: skip
IDS = st.sampled_from(["SHM", "DRV-OLD", "REQUIREMENT", "PROBE-FAILED", "shm", "X"])
WORDS = st.sampled_from(["low", "critical", "fail", "warn", "pass", "", 1])
WAIVERS = st.fixed_dictionaries(
    {}, optional={"id": IDS, "until": st.sampled_from([date(2026, 12, 31), "2026-12-31", "2026-13-01", 1]),
                  "reason": st.sampled_from(["x", " ", 1]), "subject": st.sampled_from(["gpu:*", "", 1]), "note": st.just("x")},
)  # fmt: skip
DOCUMENTS = st.fixed_dictionaries({}, optional={
    "require": TREES, "measure": st.dictionaries(st.sampled_from(["gemm", "", "x y"]), st.sampled_from([">=70%", "<=1 us", "70%", 1])),
    "severity": st.dictionaries(IDS, WORDS, max_size=2), "status": st.dictionaries(IDS, WORDS, max_size=2),
    "waivers": st.lists(WAIVERS, max_size=2), "preset": st.sampled_from(["training", ["minimal"], "x", []]),
    "only": st.lists(IDS, max_size=2), "skip": st.lists(IDS, max_size=1), "fail-on": WORDS, "lenient": st.sampled_from([True, "x"]),
    "timeout": st.sampled_from([1, 0.5, 0, True, "1"]), "other": st.just(1),
})  # fmt: skip


@QUIET
@given(document=DOCUMENTS)
def test_what_the_reader_takes_the_schema_takes(document: dict[str, Any]) -> None:
    try:
        policy_of(document, {}, NAME, KNOWN)
    except InputError:
        return
    assert takes(document)


@QUIET
@given(tree=TREES)
def test_keys_and_kinds_agree(tree: dict[str, Any]) -> None:
    """Both ways, where nothing is said twice."""
    try:
        policy_of({"require": tree}, {}, NAME, KNOWN)
    except InputError as error:
        assert not takes({"require": tree}) or "stands in line" in str(error)
    else:
        assert takes({"require": tree})


def test_every_built_in_key_takes_its_example() -> None:
    whole, known = policy_schema(third_party=False), known_names(third_party=False)
    for one in known.keys:
        text = f"[require]\n{one.key.replace('*', 'vllm')} = {one.example}"
        assert reads(text, known), text
        assert takes(tomllib.loads(text), whole), text


def test_a_key_may_be_a_thing_and_the_start_of_others_of_any_kind() -> None:
    keys: tuple[PolicyKey, ...] = (
        key("shm", SpecKind.SIZE, '"1 GiB"'), key("shm.count", SpecKind.COUNT, "1"), key("a.version", SpecKind.COUNT, "1"),
        key("a", SpecKind.VERSION, "true"), key("n.*", SpecKind.COUNT, "1"),
    )  # fmt: skip
    known = Known(keys=keys, presets=(), ids=())
    made = schema.policy_schema(known, {}, "1.0")
    for text, good in (
        ("shm = '1 GiB'", True), ("shm.count = 1", True), ("shm.version = '1'", False), ("a = '>=1'", True), ("a.version = 1", True),
        ("a.version = '>=1.2.3'", False), ("n.x = 1", True), ("n.version = 1", True), ("n.x.version = 1", True), ("n.x = '1 GiB'", False),
    ):  # fmt: skip
        assert reads(f"[require]\n{text}", known) is good, text
        assert takes(tomllib.loads(f"[require]\n{text}"), made) is good, text


@pytest.mark.skipif(shutil.which("taplo") is None, reason="needs taplo: pip install taplo")
def test_taplo_takes_the_schema_and_finds_what_is_wrong(tmp_path: Path) -> None:
    """taplo is what editors' TOML extensions run: https://taplo.tamasfe.dev/configuration/directives.html"""
    (tmp_path / "policy.schema.json").write_bytes(FILE.read_bytes())

    def lint(text: str) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "infra-doctor.toml"
        file.write_text(f"#:schema ./policy.schema.json\n{text}", encoding="utf-8")
        return subprocess.run(["taplo", "lint", str(file)], capture_output=True, text=True, timeout=60, check=False)

    good = lint("[require]\ngpu.count = 8\ntorch = {version = '>=2.8', cuda = '==13.*'}\n" + WAIVER)
    assert good.returncode == 0, good.stderr
    for text, said in (
        ("[require]\ngpu.count = '8 GPUs'", "8 GPUs"), ("[severity]\nSHMM = 'low'", "SHMM"), ("fail-on = 'error'", '"error"'),
        (WAIVER.replace("2026-12-31", "2026-12-31T00:00:00"), "2026-12-31T00:00:00"),
    ):  # fmt: skip
        bad = lint(text)
        assert bad.returncode == 1
        assert said in bad.stderr
