"""A policy's document: what each table may hold, and that every error names the file, the line and the way out."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_doctor.errors import InputError, UsageError
from infra_doctor.model.finding import Severity, Status
from infra_doctor.model.policy import Policy, SpecKind
from infra_doctor.policy.reading import Known, key_named, merged, parse_policy, read_requirement
from tests.core.policy.lab import KEYS, KNOWN, NAME, QUIET, key, parsed, short

WHOLE = """\
preset = "training"
only = ["ECC/XID"]
skip = [
  "SHM",
]
fail-on = "warn"
lenient = true
timeout = 30

[require]
python = "==3.12.*"
memlock = "unlimited"
driver.version = ">=580,<600"
torch = { version = ">=2.8", cuda = "==13.*", gpu = true }
package.vllm = ">=0.10"
package."ruamel.yaml" = { version = ">=0.18" }
package.zope.interface = true

[require.gpu]
memory = false

[measure]
"gemm  bf16*" = " >=70% "
[measure.nvbandwidth]
"d2d" = ">=300 GB/s"

[severity]
"ECC/XID" = "critical"

[status]
DRV-OLD = "warn"
REQUIREMENT = "warn"

[[waivers]]
id = "MEMLOCK"
until = 2026-12-31
reason = \"\"\"
on two
lines\"\"\"

[[waivers]]
subject = "gpu:0000:17:*"
id = "PROBE-FAILED"
reason = "x"
until = "2027-01-01"
"""


def test_a_whole_policy() -> None:
    policy = parsed(WHOLE)
    assert {r.key: (r.spec.text, r.place.line) for r in policy.requirements} == {
        "python": ("==3.12.*", 11), "memlock": ("unlimited", 12), "driver": (">=580, <600", 13), "torch": (">=2.8", 14),
        "torch.cuda": ("==13.*", 14), "torch.gpu": ("true", 14), "package.vllm": (">=0.10", 15),
        "package.ruamel.yaml": (">=0.18", 16), "package.zope.interface": ("true", 17), "gpu.memory": ("false", 20),
    }  # fmt: skip
    assert [(t.pattern, t.text, t.unit, t.place.line) for t in policy.thresholds] == [
        ("gemm bf16*", ">=70%", "1", 23), ("nvbandwidth d2d", ">=300 GB/s", "B/s", 25),
    ]  # fmt: skip
    assert (policy.presets, policy.only, policy.skip) == (("training",), ("ECC/XID",), ("SHM",))
    assert (policy.fail_on, policy.lenient, policy.timeout_s) == ("warn", True, 30.0)
    assert policy.severities["ECC/XID"].severity is Severity.CRITICAL
    assert {i: (o.status, o.place.line) for i, o in policy.statuses.items()} == {
        "DRV-OLD": (Status.WARN, 31), "REQUIREMENT": (Status.WARN, 32),
    }  # fmt: skip
    one, other = policy.waivers
    assert (one.id, one.until, one.reason, one.subject, one.place.line) == (
        "MEMLOCK",
        "2026-12-31",
        "on two lines",
        None,
        35,
    )
    assert (other.id, other.until, other.subject, str(other.place)) == (
        "PROBE-FAILED", "2027-01-01", "gpu:0000:17:*", f"{NAME}:43",
    )  # fmt: skip


def test_an_empty_policy_asks_for_nothing() -> None:
    assert parsed("") == Policy(sources=(NAME,))
    assert parsed("[require.gpu]\n[measure]\n[severity]\n") == Policy(sources=(NAME,))


@pytest.mark.parametrize(
    ("text", "line", "said", "way"),
    ids=short,
    argvalues=[
        # names
        ("requier = 1", 1, "no such key: 'requier'", "Nearest: require."),
        ("\nfail_on = 'warn'", 2, "no such key: 'fail_on'", "Nearest: fail-on."),
        ("zzz = 1", 1, "no such key", "Keys: preset, only"),
        ("gpu.count = 8", 1, "'gpu': belongs under [require]", ""),
        ("[require]\n\ngpu.cont = 8", 3, "no such requirement: 'gpu.cont'", "Nearest: gpu.count"),
        ("[require.gpu]\n# c\ncuont = 8", 3, "no such requirement: 'gpu.cuont'", "Nearest: gpu.count"),
        ("[require.gpuu]", 1, "no such requirement: 'gpuu'", "Nearest: "),
        ("[require]\npackages.vllm = true", 2, "no such requirement: 'packages'", "Nearest: package.*"),
        ("[require]\ntorch = {cuda = '==12.*', cudaa = '1'}", 2, "no such requirement: 'torch.cudaa'", "Nearest: torch.cuda"),
        ("[require]\ntorch = {\"cuda\" = '12'}", 2, "torch.cuda: '12': say which versions", "An example: torch.cuda ="),
        ("[require]\ngpu = 8", 2, "no such requirement: 'gpu'", ""),
        ("[require]\n\"gpu.count\" = 8", 2, "'gpu.count': a quoted name with dots", "Leave the quotes out."),
        ("[require]\n\"package.vllm\" = true", 2, "a quoted name with dots", "Leave the quotes out."),
        ("[require]\npackage.vllm = {version = '>=1', cuda = '12'}", 2, "no such requirement: 'package.vllm.cuda'", ""),
        ("[require]\npackage.'a b' = true", 2, "no such requirement: 'package.a b'", ""),
        ("[require]\npackage.'vllm>=1' = true", 2, "no such requirement", ""),
        ("[require]\npackage = ['vllm']", 2, "no such requirement: 'package'", "Nearest: package"),
        ("[require]\n[require.package.vllm]", 2, "no such requirement: 'package.vllm'", ""),
        ("[require]\n'' = 1", 2, "no such requirement: ''", "Keys: gpu.count"),
        ("[require]\n" + "gpu." * 40 + "x = 1", 2, "no such requirement", ""),
        # values
        ("require = 1", 1, "require: a table is wanted: [require]", ""),
        ("[[require]]\ngpu.count = 1", 1, "require: a table is wanted", ""),
        ("[require]\ngpu.count = [\n8\n]", 2, "gpu.count: [8]: a number", "An example: gpu.count = 8"),
        ("[require]\ngpu.count = {min = 1}", 2, "gpu.count: {'min': 1}: a number", ""),
        ("[require]\ngpu.count = 2026-01-01", 2, "gpu.count: 2026-01-01: a number", ""),
        ("[require]\ngpu.memory = 80", 2, "gpu.memory: 80: a size with its unit", ""),
        ("[require]\ngpu.memory = '80 GiBB'", 2, "no such unit: 'GiBB'; nearest: GiB", ""),
        ("[require]\ndriver = '''\n>=600,\n<580'''", 2, "nothing can be all of this", ""),
        ("[require]\ndriver.version = 580", 2, "driver: 580: a range of versions", ""),
        ("[require]\npackage.'ruamel.yaml' = true\npackage.ruamel.yaml = true", 3, "package.ruamel.yaml stands in line 2", "Keep one."),
        ("[measure]\ngemm = 70", 2, "'gemm': 70: a bound with its unit", ""),
        ("[measure]\n'' = '>=1%'", 2, "the name of a benchmark is wanted", ""),
        ("[measure]\n'gemm x' = '>=1%'\n[measure.GEMM]\nX = '>=2%'", 4, "'GEMM X': stands in line 2 already", ""),
        ("[measure.gemm.x]\ny = '>=1%'", 1, "'gemm x': {'y': '>=1%'}: a bound", ""),
        # ids
        ("only = ['DRV-OLD',\n 'DRV-OLDD']", 2, "no such finding id: 'DRV-OLDD'", "Nearest: DRV-OLD."),
        ("only = 'drv-old'", 1, "no such finding id: 'drv-old'", "Nearest: DRV-OLD."),
        ("only = []", 1, "only: an empty list judges nothing", "Leave it out"),
        ("only = [7]", 1, "only: 7 is no name", ""),
        ("only = {}", 1, "only: a name, or a list of names, is wanted", ""),
        ("skip = ['REQUIREMENT']", 1, "REQUIREMENT is no check: it is judged always", "A waiver"),
        ("only = ['SHM']\nskip = [\n'MEMLOCK', 'MEMLOCK',\n'SHM']", 4, "SHM is in `only` and in `skip`", ""),
        ("preset = 'traning'", 1, "no such preset: 'traning'", "Nearest: training."),
        ("preset = ['training',\n\n'x']", 3, "no such preset: 'x'", "Presets: minimal, training."),
        ("preset = true", 1, "preset: a name, or a list", ""),
        ("[severity]\nSHMM = 'low'", 2, "no such finding id: 'SHMM'", "Nearest: SHM"),
        ("[severity]\nSHM = 'urgent'", 2, "SHM: no such severity: 'urgent'", "One of: low, medium, high, critical."),
        ("[severity]\nSHM = ['low']", 2, "no such severity: ['low']", ""),
        ("severity = 'low'", 1, "severity: a table is wanted", ""),
        ("[status]\nSHM = 'pass'", 2, "SHM: no such status: 'pass'", "A waiver lets a finding pass for a time"),
        ("[status]\nSHM = 'unknown'", 2, "no such status", "One of: fail, warn."),
        ("[status]\nPROBE-FAILED = 'warn'", 2, "PROBE-FAILED is always `error`", "lenient"),
        # waivers
        ("waivers = 1", 1, "a list of tables is wanted: [[waivers]]", ""),
        ("[waivers]\nid = 'SHM'", 1, "a list of tables is wanted: [[waivers]]", ""),
        ("waivers = [1]", 1, "a list of tables is wanted", ""),
        ("[[waivers]]\nid = 'SHM'\n", 1, "a waiver needs until, reason", "until = 2026-12-31"),
        ("waivers = [{id = 'SHM', until = 2026-12-31, reason = 'x'},\n{until = 2026-12-31, reason = 'x'}]", 2, "a waiver needs id", ""),
        ("[[waivers]]\nid = 'SHM'\nuntil = 2026-12-31\nreasn = 'x'", 4, "no such key of a waiver: 'reasn'", "Nearest: reason."),
        ("[[waivers]]\nid = 'SHN'\nuntil = 2026-12-31\nreason = 'x'", 2, "no such finding id: 'SHN'", "Nearest: SHM"),
        ("[[waivers]]\nid = 'SHM'\nreason = 'x'\nuntil = '2026-02-30'", 4, "until: '2026-02-30' is no date", "2026-12-31"),
        ("[[waivers]]\nid = 'SHM'\nreason = 'x'\nuntil = '20261231'", 4, "is no date", ""),
        ("[[waivers]]\nid = 'SHM'\nreason = 'x'\nuntil = '2026-W52-1'", 4, "is no date", ""),
        ("[[waivers]]\nid = 'SHM'\nreason = 'x'\nuntil = 2026-12-31T00:00:00Z", 4, "is no date", ""),
        ("[[waivers]]\nid = 'SHM'\nreason = 'x'\nuntil = 20261231", 4, "until: 20261231 is no date", ""),
        ("[[waivers]]\nid = 'SHM'\nuntil = 2026-12-31\nreason = ' '", 4, "reason: a text", ""),
        ("[[waivers]]\nid = 'SHM'\nuntil = 2026-12-31\nreason = 7", 4, "reason: a text", ""),
        ("[[waivers]]\nid = 'SHM'\nuntil = 2026-12-31\nreason = 'x'\nsubject = ['a']", 5, "subject: a text", ""),
        ("[[waivers]]\nid = 'PROBE-FAILED'\nuntil = 2026-12-31\nreason = 'x'", 1, "PROBE-FAILED speaks of many things", "subject = "),
        ("[[waivers]]\nid = 'SHM'\nuntil = 2026-12-31\nreason = 'x'\n" * 2, 5, "SHM is waived in line 2 already", "Keep one."),
        # the rest
        ("fail-on = 'error'", 1, "fail-on: 'error' is none of fail, warn, unknown, never", ""),
        ("fail-on = ['fail']", 1, "fail-on: ['fail'] is none of", ""),
        ("lenient = 'yes'", 1, "lenient: true or false is wanted", ""),
        ("timeout = 0", 1, "a number of seconds above 0", ""),
        ("timeout = -1", 1, "a number of seconds above 0", ""),
        ("timeout = nan", 1, "a number of seconds above 0", ""),
        ("timeout = inf", 1, "a number of seconds above 0", ""),
        ("timeout = true", 1, "a number of seconds above 0", ""),
        ("timeout = '30'", 1, "a number of seconds above 0", ""),
        ("timeout = 0x" + "f" * 5000, 1, "a number of seconds above 0", ""),
        ("[require]\ngpu.count = 0x" + "f" * 5000, 2, "a number of thousands of digits", ""),
        ("[require]\ngpu.count = \"\\u001b[31m\\u202e\"", 2, "gpu.count: '\\x1b[31m\\u202e': a number", ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(text: str, line: int, said: str, way: str) -> None:
    with pytest.raises(InputError) as error:
        parsed(text)
    assert str(error.value).startswith(f"{NAME}:{line}: ")
    assert said in str(error.value)
    assert way in error.value.help
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 400


def test_lines_in_a_project_file() -> None:
    text = "[project]\nname = 'gpu'\n\n[tool.infra-doctor]\nfail-on = 'warn'\n\n[tool.infra-doctor.require]\ngpu.cont = 8\n"
    with pytest.raises(InputError) as error:
        parsed(text, project=True)
    assert str(error.value).startswith(f"{NAME}:8: no such requirement: 'gpu.cont'")


# -- --require ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key_name", "spec"),
    [
        ("gpu.count=8", "gpu.count", "8"),
        ("gpu.count==8", "gpu.count", "==8"),
        (" gpu.count >= 4 ", "gpu.count", ">=4"),
        ("gpu.count=>=4", "gpu.count", ">=4"),
        ("gpu.count='>=4'", "gpu.count", ">=4"),  # with the quotes of a file
        ('gpu.count = ">=4"', "gpu.count", ">=4"),
        ("driver>=580, <600", "driver", ">=580, <600"),
        ("driver~=580.0", "driver", "~=580.0"),
        ("driver!=580.1", "driver", "!=580.1"),
        ("driver", "driver", "true"),
        ("driver=false", "driver", "false"),
        ("torch.gpu", "torch.gpu", "true"),
        ("gpu.model=NVIDIA H200,H100", "gpu.model", "NVIDIA H200 or H100"),
        ('gpu.model=["H100", "H200"]', "gpu.model", "H100 or H200"),
        ("gpu.memory=80 GiB", "gpu.memory", "80 GiB"),
        ("gpu.memory>=80GB", "gpu.memory", ">=80GB"),
        ("memlock=unlimited", "memlock", "unlimited"),
        ("package.vllm", "package.vllm", "true"),
        ("package.ruamel.yaml>=0.18", "package.ruamel.yaml", ">=0.18"),
        ("package.nvidia-cudnn-cu12==9.*", "package.nvidia-cudnn-cu12", "==9.*"),
    ],
)
def test_require(text: str, key_name: str, spec: str) -> None:
    found = read_requirement(text, KEYS)
    assert (found.key, found.spec.text, str(found.place)) == (key_name, spec, "--require")


@pytest.mark.parametrize(
    ("text", "said", "way"),
    ids=short,
    argvalues=[
        ("", "KEY, KEY=VALUE or KEY>=VERSION is wanted", "Keys: gpu.count"),
        ("=8", "KEY, KEY=VALUE", ""),
        (">=8", "KEY, KEY=VALUE", ""),
        ("gpu count = 8", "KEY, KEY=VALUE", ""),
        ("gpu.cont=8", "no such key: gpu.cont", "Nearest: gpu.count"),
        ("GPU.count=8", "no such key: GPU.count", "Nearest: gpu.count"),
        ("package.", "no such key", "Nearest: package"),
        ("package.-x", "no such key", ""),
        ("packages.vllm>=1", "no such key: packages.vllm", "Nearest: package.vllm"),
        ("gpu.count=", "nothing stands after =", ""),
        ("gpu.count>= ", "nothing stands after >=", ""),
        ("gpu.count=eight", "'eight': a number", "An example: gpu.count = 8"),
        ("gpu.count=[8", "is no TOML value", ""),
        ("gpu.count='8", "is no TOML value", ""),
        ("gpu.count=" + "[" * 20_000, "is no TOML value", ""),
        ("driver=580", "say which versions", "An example: driver = \">=580\""),
        ("driver>=600,<580", "nothing can be all of this", ""),
        ("torch.gpu=yes", "true or false is wanted", ""),
        ("gpu.model>=H100", "names are not compared", ""),
        ("driver=\x1b[31m", "'\\x1b[31m'", ""),
        ("x" * 5000, "no such key", ""),
    ],
)  # fmt: skip
def test_require_that_is_wrong(text: str, said: str, way: str) -> None:
    with pytest.raises(UsageError) as error:
        read_requirement(text, KEYS)
    assert said in str(error.value)
    assert way in error.value.help
    assert len(str(error.value)) < 400


def test_a_value_with_a_second_line_is_no_way_in() -> None:
    """What follows a TOML value is not read as more of a document."""
    with pytest.raises(UsageError):
        read_requirement("gpu.model='H100'\nother = 1\nvalue.x = 1", KEYS)
    assert read_requirement("gpu.model='H100'\nother = 1", KEYS).spec.names == ("H100",)


def test_the_command_line_replaces_the_file() -> None:
    asked = [read_requirement(t, KEYS) for t in ("gpu.count=4", "driver>=580", "driver<600")]
    policy = merged(parsed("[require]\ngpu.count = 8\ngpu.model = 'H200'\ndriver = '>=570'"), asked)
    assert policy is not None
    assert {r.key: (r.spec.text, r.place.source) for r in policy.requirements} == {
        "gpu.model": ("H200", NAME), "gpu.count": ("4", "--require"), "driver": (">=580, <600", "--require"),
    }  # fmt: skip
    assert merged(None, []) is None


@pytest.mark.parametrize(
    ("one", "other"), [("driver>=600", "driver<580"), ("driver", "driver>=580"), ("gpu.model=a", "gpu.model=b")]
)
def test_two_of_one_key_that_do_not_go_together(one: str, other: str) -> None:
    with pytest.raises(UsageError, match="--require"):
        merged(None, [read_requirement(t, KEYS) for t in (one, other)])


def test_the_closest_key_wins() -> None:
    keys = (*KEYS, key("package.torch", SpecKind.FLAG, "true"), key("package.nvidia.*", SpecKind.COUNT, "1"))
    found = {
        n: getattr(key_named(n, keys), "key", None)
        for n in ("package.torch", "package.x", "package.nvidia.y", "package")
    }
    assert found == {
        "package.torch": "package.torch",
        "package.x": "package.*",
        "package.nvidia.y": "package.nvidia.*",
        "package": None,
    }


# -- whatever is written --------------------------------------------------------------------------------------------

WORDS = ["require", "measure", "severity", "status", "waivers", "preset", "only", "skip", "fail-on", "lenient", "timeout", "gpu",
         "count", "model", "driver", "torch", "version", "cuda", "package", "vllm", "id", "until", "reason", "subject", "SHM",
         "DRV-OLD", "REQUIREMENT", "training", "warn", "2026-12-31", ">=2", "80 GiB", ">=70%", ""]  # fmt: skip
VALUES = st.recursive(
    st.sampled_from(WORDS) | st.booleans() | st.integers(-3, 10) | st.floats() | st.dates() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def outcome(call: Callable[[], Any], refusal: type[Exception]) -> Any:
    try:
        return call()
    except refusal as error:
        assert str(error)
        assert "\n" not in str(error)
        return None


@QUIET
@given(document=st.dictionaries(st.sampled_from(WORDS), VALUES, max_size=5))
def test_any_document_is_read_or_refused(document: dict[str, Any]) -> None:
    from infra_doctor.policy.sections import policy_of

    found = outcome(lambda: policy_of(document, {}, NAME, KNOWN), InputError)
    assert found is None or isinstance(found, Policy)


@QUIET
@given(text=st.lists(st.sampled_from([*WORDS, "[", "]", "[[", "]]", "=", ".", '"', "'", "\n", "{", "}", ",", " ", "#", "\\", "\x00", "\r"]), max_size=25).map("".join) | st.text(max_size=40))  # fmt: skip
def test_any_text_is_read_or_refused(text: str) -> None:
    for project in (False, True):
        found = outcome(lambda p=project: parse_policy(text, NAME, KNOWN, project=p), InputError)
        assert found is None or isinstance(found, Policy)


@QUIET
@given(text=st.lists(st.sampled_from([*WORDS, "=", ">=", "==", ".", " ", "[", "]", '"', ",", "\n", "é"]), max_size=8).map("".join) | st.text(max_size=30))  # fmt: skip
def test_any_require_is_read_or_refused(text: str) -> None:
    outcome(lambda: read_requirement(text, KEYS), UsageError)


def test_nothing_is_known() -> None:
    nothing = Known(keys=(), presets=(), ids=())
    assert parse_policy("fail-on = 'warn'", NAME, nothing).fail_on == "warn"
    with pytest.raises(InputError, match="no such requirement"):
        parse_policy("[require]\nx = 1", NAME, nothing)
