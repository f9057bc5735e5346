"""What becomes of tests with the mark: each way to write it, each outcome, each setting. The checks' answers are made up."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from infra_doctor.model.finding import Finding, Status
from infra_doctor.pytest_plugin import asking
from infra_doctor.pytest_plugin.asking import Answer
from tests.pytest_plugin.conftest import Asked

pytest_plugins = ("pytester",)

Says = Callable[..., Asked]
Session = Callable[..., pytest.RunResult]
GPUS = '@pytest.mark.requires_env("gpu.count>=2")\n'
TWO_TESTS = f"{GPUS}def test_gpus(): pass\n\ndef test_other(): pass\n"
REASON = "gpu.count is required; this machine says fail"


def test_what_is_not_met_is_skipped_with_the_findings_text_and_the_rest_runs(
    machine_says: Says, session: Session
) -> None:
    machine_says({"gpu.count": Status.FAIL})
    done = session(TWO_TESTS, "-rs", "-W", "error")
    done.assert_outcomes(passed=1, skipped=1)
    assert done.ret == pytest.ExitCode.OK
    done.stdout.fnmatch_lines([f"SKIPPED [[]1] test_it.py:2: {REASON}"])


def test_what_is_met_runs(machine_says: Says, session: Session) -> None:
    asked = machine_says()
    done = session(TWO_TESTS, "-q", "-W", "error")
    done.assert_outcomes(passed=2)
    assert asked == [("--no-policy", "--require=gpu.count>=2")]
    done.stdout.no_fnmatch_line("*infra-doctor*")


@pytest.mark.parametrize("status", [Status.ERROR, Status.UNKNOWN])
def test_what_could_not_be_looked_at_never_runs_as_if_it_were_met(
    machine_says: Says, session: Session, status: Status
) -> None:
    machine_says({"gpu.count": status})
    text = f"{GPUS}def test_gpus(): raise AssertionError('ran')\n"
    session(text).assert_outcomes(skipped=1)
    session(text, "--infra-doctor=fail").assert_outcomes(errors=1)


@pytest.mark.parametrize(
    ("arguments", "ini", "mark", "outcome"),
    [
        ((), "", "", "skipped"),
        (("--infra-doctor=skip",), "", "", "skipped"),
        (("--infra-doctor=fail",), "", "", "errors"),
        (("--infra-doctor=off",), "", "", "passed"),
        ((), "infra_doctor = fail", "", "errors"),
        ((), "infra_doctor = off", "", "passed"),
        (("--infra-doctor=skip",), "infra_doctor = fail", "", "skipped"),
        ((), "", ", on_missing='fail'", "errors"),
        (("--infra-doctor=fail",), "", ", on_missing='skip'", "skipped"),
        (("--infra-doctor=off",), "", ", on_missing='fail'", "passed"),
    ],
)
def test_who_decides(
    machine_says: Says, session: Session, pytester: pytest.Pytester,
    arguments: tuple[str, ...], ini: str, mark: str, outcome: str,
) -> None:  # fmt: skip
    asked = machine_says({"gpu.count": Status.FAIL})
    pytester.makeini(f"[pytest]\n{ini}\n")
    done = session(f"@pytest.mark.requires_env('gpu.count>=2'{mark})\ndef test_gpus(): pass\n", *arguments)
    done.assert_outcomes(**{outcome: 1})
    assert len(asked) == (outcome != "passed")
    assert done.ret == (pytest.ExitCode.TESTS_FAILED if outcome == "errors" else pytest.ExitCode.OK)


def test_a_failure_says_all_that_is_missing_and_has_no_traceback(machine_says: Says, session: Session) -> None:
    machine_says({"gpu.count": Status.FAIL, "driver": Status.ERROR})
    text = "@pytest.mark.requires_env('gpu.count>=2', 'driver>=580', 'shm')\ndef test_gpus(): pass\n"
    done = session(text, "--infra-doctor=fail")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(
        [
            "*ERROR at setup of test_gpus*",
            f"not what this test needs: {REASON}",
            "driver is required; this machine says error",
            "ERROR test_it.py::test_gpus*",
        ]
    )
    done.stdout.no_fnmatch_line("*pytest_plugin*")


WAYS = {
    "function": f"{GPUS}def test_gpus(): raise AssertionError",
    "class": f"{GPUS}class TestGpus:\n    def test_gpus(self): raise AssertionError",
    "module": "pytestmark = pytest.mark.requires_env('gpu.count>=2')\ndef test_gpus(): raise AssertionError",
    "list": "pytestmark = [pytest.mark.requires_env('shm'), pytest.mark.requires_env('gpu.count>=2')]\n"
    "def test_gpus(): raise AssertionError",
    "several": f"@pytest.mark.requires_env('shm')\n{GPUS}def test_gpus(): raise AssertionError",
    "unittest": "import unittest\nclass TestGpus(unittest.TestCase):\n    @pytest.mark.requires_env('gpu.count>=2')\n"
    "    def test_gpus(self): raise AssertionError",
    "unittest class": f"import unittest\n{GPUS}class TestGpus(unittest.TestCase):\n"
    "    @classmethod\n    def setUpClass(cls): raise AssertionError\n    def test_gpus(self): raise AssertionError",
    "parameter": "@pytest.mark.parametrize('n', [pytest.param(2, marks=pytest.mark.requires_env('gpu.count>=2'))])\n"
    "def test_gpus(n): raise AssertionError",
    "asyncio": f"@pytest.mark.asyncio\n{GPUS}async def test_gpus(): raise AssertionError",
    "fixtures": "@pytest.fixture(autouse=True, scope='session')\ndef gpus(): raise AssertionError\n"
    f"{GPUS}def test_gpus(): pass",
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_the_mark_holds_wherever_it_stands_and_nothing_of_the_test_is_set_up(
    machine_says: Says, session: Session, way: str
) -> None:
    if way == "asyncio":
        pytest.importorskip("pytest_asyncio")
    asked = machine_says({"gpu.count": Status.FAIL})
    done = session(WAYS[way], "--strict-markers", "-W", "error")
    done.assert_outcomes(skipped=1)
    assert len(asked) == 1


def test_a_parameter_without_the_mark_runs(machine_says: Says, session: Session) -> None:
    machine_says({"gpu.count": Status.FAIL})
    text = "@pytest.mark.parametrize('n', [1, pytest.param(2, marks=pytest.mark.requires_env('gpu.count>=2'))])\n"
    session(f"{text}def test_gpus(n): assert n == 1\n").assert_outcomes(passed=1, skipped=1)


def test_a_finding_may_be_named(machine_says: Says, session: Session) -> None:
    machine_says({}, Finding(id="CUDNN-MISSING", status=Status.FAIL, title="no libcudnn.so.9"))
    text = "".join(
        f"@pytest.mark.requires_env({name!r})\ndef test_{n}(): pass\n"
        for n, name in enumerate(("CUDNN-MISSING", "DRV-OLD"))
    )
    done = session(text, "-rs")
    done.assert_outcomes(passed=1, skipped=1)
    done.stdout.fnmatch_lines(["*CUDNN-MISSING: no libcudnn.so.9"])


# -- how often is looked ------------------------------------------------------------------------------------------


def test_one_check_serves_a_session_and_asks_for_what_its_chosen_tests_need(
    machine_says: Says, session: Session
) -> None:
    asked = machine_says()
    text = (
        "@pytest.mark.requires_env('gpu-count>=2', 'CUDNN-MISSING')\n@pytest.mark.parametrize('n', range(5))\n"
        "def test_a(n): pass\n@pytest.mark.requires_env('driver>=580')\ndef test_b(infra_doctor): assert infra_doctor.findings\n"
        "@pytest.mark.requires_env('shm')\ndef test_left_out(): pass\n"
    )
    session(text, "-k", "not left_out").assert_outcomes(passed=6, deselected=1)
    assert asked == [("--no-policy", "--require=driver>=580", "--require=gpu.count>=2")]


def test_two_values_of_one_key_are_judged_each_for_itself(machine_says: Says, session: Session) -> None:
    asked = machine_says({"gpu.count>=4": Status.FAIL})
    text = (
        "@pytest.mark.requires_env('gpu.count>=2', 'shm')\ndef test_two(): pass\n"
        "@pytest.mark.requires_env('gpu.count>=4')\ndef test_four(): pass\n"
        "@pytest.mark.requires_env('gpu.count>=2', 'driver<600')\ndef test_again(): pass\n"
    )
    session(text).assert_outcomes(passed=2, skipped=1)
    assert asked == [
        ("--no-policy", "--require=driver<600", "--require=gpu.count>=2", "--require=shm"),
        ("--no-policy", "--require=gpu.count>=4"),
    ]


def test_a_mark_that_comes_late_is_looked_at_too(
    machine_says: Says, session: Session, pytester: pytest.Pytester
) -> None:
    asked = machine_says({"gpu.count": Status.FAIL, "shm": Status.FAIL})
    pytester.makeconftest(
        "import pytest\n"
        "def pytest_collection_modifyitems(items): items[0].add_marker(pytest.mark.requires_env('gpu.count'))\n"
        "@pytest.hookimpl(tryfirst=True)\n"
        "def pytest_runtest_setup(item):\n"
        "    if item.name == 'test_b': item.add_marker(pytest.mark.requires_env('shm'))\n"
        "    if item.name == 'test_c': item.add_marker(pytest.mark.requires_env('shmm'))\n"
    )
    done = session("def test_a(): pass\ndef test_b(): pass\ndef test_c(): pass\n")
    done.assert_outcomes(skipped=2, errors=1)
    done.stdout.fnmatch_lines(["requires_env('shmm'): no such key or finding id: 'shmm'. Nearest: shm*"])
    assert asked == [("--no-policy", "--require=gpu.count"), ("--no-policy", "--require=shm")]


@pytest.mark.parametrize("text", [TWO_TESTS, "def test_other(): pass\n"])
@pytest.mark.parametrize("arguments", [("--collect-only",), ("-k", "other"), ("--infra-doctor=off",)])
def test_nothing_is_looked_at_where_no_chosen_test_asks(
    machine_says: Says, session: Session, text: str, arguments: tuple[str, ...]
) -> None:
    asked = machine_says({"gpu.count": Status.FAIL})
    assert session(text, *arguments).ret == pytest.ExitCode.OK
    assert asked == []


# -- beside the test's own marks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [(), ("--infra-doctor=fail",)])
def test_a_reason_of_the_tests_own_comes_first(
    machine_says: Says, session: Session, arguments: tuple[str, ...]
) -> None:
    machine_says({"gpu.count": Status.FAIL})
    text = (
        f"{GPUS}@pytest.mark.skip(reason='mine')\ndef test_a(): pass\n"
        f"{GPUS}@pytest.mark.skipif(True, reason='mine')\ndef test_b(): pass\n"
    )
    done = session(text, "-rs", *arguments)
    done.assert_outcomes(skipped=2)
    assert REASON not in done.stdout.str()
    done.stdout.no_fnmatch_line("*for the environment*")


def test_without_pytests_own_plugin_for_skipping_it_is_skipped_all_the_same(
    machine_says: Says, session: Session
) -> None:
    machine_says({"gpu.count": Status.FAIL})
    session(TWO_TESTS, "-p", "no:skipping").assert_outcomes(passed=1, skipped=1)


def test_an_expected_failure_is_skipped_not_expected(machine_says: Says, session: Session) -> None:
    machine_says({"gpu.count": Status.FAIL})
    done = session(f"{GPUS}@pytest.mark.xfail(strict=True)\ndef test_gpus(): raise AssertionError\n")
    done.assert_outcomes(skipped=1)


# -- slips and faults ---------------------------------------------------------------------------------------------


def test_a_slip_is_an_error_while_collecting_and_names_the_nearest(machine_says: Says, session: Session) -> None:
    asked = machine_says()
    text = (
        "@pytest.mark.requires_env('gpu.cuont>=2')\n@pytest.mark.parametrize('n', range(3))\ndef test_a(n): pass\n"
        "class TestB:\n    @pytest.mark.requires_env('driver>=new')\n    def test_b(self): pass\n"
    )
    done = session(text)
    assert done.ret == pytest.ExitCode.INTERRUPTED
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(
        [
            "*ERROR collecting test_it.py*",
            "test_it.py::test_a[[]0]: requires_env('gpu.cuont>=2'): no such key: 'gpu.cuont'. Nearest: gpu.count*",
        ]
    )
    assert len([line for line in done.stdout.lines if line.startswith("test_it.py::") and "gpu.cuont" in line]) == 1
    assert asked == []
    only_class = text.replace("gpu.cuont", "gpu.count")
    session(only_class).stdout.fnmatch_lines(["*ERROR collecting*", "*::test_b: requires_env('driver>=new'): *"])
    assert session(text, "--infra-doctor=off").ret == pytest.ExitCode.OK


@pytest.mark.parametrize(
    ("ini", "arguments", "said"),
    [
        ("infra_doctor = fial", (), "infra_doctor = 'fial': one of skip, fail, off"),
        ("infra_doctor_timeout = soon", (), "infra_doctor_timeout = 'soon': a number of seconds"),
        ("infra_doctor_timeout = 0", (), "infra_doctor_timeout = '0': a number of seconds"),
        ("infra_doctor_timeout = nan", (), "infra_doctor_timeout = 'nan': a number of seconds"),
        ("", ("--infra-doctor=fial",), "--infra-doctor: invalid choice: 'fial'"),
    ],
)
def test_a_wrong_setting_ends_the_session_at_once(
    session: Session, pytester: pytest.Pytester, ini: str, arguments: tuple[str, ...], said: str
) -> None:
    pytester.makeini(f"[pytest]\n{ini}\n")
    done = session("def test_a(): pass\n", *arguments)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert said in done.stderr.str()


@pytest.mark.parametrize("arguments", [(), ("--infra-doctor=fail",)])
def test_a_fault_of_ours_is_an_error_of_the_tests_with_the_mark_alone(
    monkeypatch: pytest.MonkeyPatch, session: Session, arguments: tuple[str, ...]
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(asking, "ask", lambda *a: asked.append(a) or Answer(code=4, fault="KeyError: 1"))
    text = f"{TWO_TESTS}{GPUS}def test_third(): pass\n{GPUS}@pytest.mark.skip\ndef test_skipped(): pass\n"
    done = session(f"{text}def test_fixture(infra_doctor): pass\n", *arguments)
    done.assert_outcomes(passed=1, errors=3, skipped=1)
    done.stdout.fnmatch_lines(["a fault of infra-doctor, not of this test: NoAnswerError: KeyError: 1"])
    assert len(asked) == 1


def test_a_broken_installation_is_told_where_the_tests_would_run(
    monkeypatch: pytest.MonkeyPatch, session: Session
) -> None:
    from infra_doctor.runner import registry

    def broken(*_: object, **__: object) -> None:
        raise ImportError("No module named 'msgspec'")

    monkeypatch.setattr(registry, "load", broken)
    done = session(TWO_TESTS)
    done.assert_outcomes(passed=1, errors=1)
    done.stdout.fnmatch_lines(["a fault of infra-doctor, not of this test: ImportError: No module named 'msgspec'"])


def test_a_machine_that_hangs_is_waited_for_once(monkeypatch: pytest.MonkeyPatch, session: Session) -> None:
    asked: list[float] = []
    monkeypatch.setattr(
        asking, "ask", lambda _, timeout_s: asked.append(timeout_s) or Answer(hung="no answer within 9 s")
    )
    text = f"{TWO_TESTS}{GPUS}def test_third(): pass\n@pytest.mark.requires_env('DRV-OLD')\ndef test_fourth(): pass\n"
    done = session(text, "-rs", "-o", "infra_doctor_timeout=9")
    done.assert_outcomes(passed=1, skipped=3)
    done.stdout.fnmatch_lines(["*gpu.count>=2: could not be looked at: no answer within 9 s"])
    assert asked == [9.0]


# -- what is said at the end --------------------------------------------------------------------------------------


def test_the_summary_names_each_cause_once_the_most_frequent_first(machine_says: Says, session: Session) -> None:
    machine_says({"gpu.count": Status.FAIL, "shm": Status.ERROR})
    text = (
        f"{GPUS}@pytest.mark.parametrize('n', range(3))\ndef test_a(n): pass\n"
        "@pytest.mark.requires_env('shm', on_missing='fail')\ndef test_b(): pass\n"
        "@pytest.mark.skip\ndef test_c(): pass\n"
        "def test_d(): raise AssertionError\n"
    )
    done = session(text, "-q")
    done.assert_outcomes(skipped=4, errors=1, failed=1)
    lines = done.stdout.lines
    head = next(n for n, line in enumerate(lines) if "for the environment" in line)
    assert lines[head].strip("= ") == "3 skipped and 1 failed for the environment (infra-doctor)"
    assert lines[head + 1 : head + 3] == [f"3 × {REASON}", "1 × shm is required; this machine says error"]


def test_a_cause_is_counted_whatever_a_machine_writes_into_it(machine_says: Says, session: Session) -> None:
    title = "no 'lib\\x\"y' in \x1b[31m/tmp/\u202e\n::error::x"
    machine_says({}, Finding(id="CUDNN-MISSING", status=Status.FAIL, title=title))
    for mode in ("skip", "fail"):
        done = session(
            "@pytest.mark.requires_env('CUDNN-MISSING')\ndef test_a(): pass\n", "-rs", f"--infra-doctor={mode}"
        )
        said = next(line for line in done.stdout.lines if line.startswith("1 × "))
        assert said == r"""1 × CUDNN-MISSING: no 'lib\x"y' in \x1b[31m/tmp/\u202e ::error::x"""
        assert "\x1b[31m" not in done.stdout.str() and "\n::" not in done.stdout.str()


def test_the_marker_is_registered_and_its_options_have_help(session: Session) -> None:
    markers = session("", "--markers").stdout
    markers.fnmatch_lines(["@pytest.mark.requires_env(?needs, policy=None, on_missing=None): *'driver>=580'*"])
    options = session("", "--help").stdout
    options.fnmatch_lines(
        ["*--infra-doctor={skip,fail,off}*", "*--infra-doctor-report=FILE*", "*infra_doctor_timeout*"]
    )
    session("", "--fixtures").stdout.fnmatch_lines(["infra_doctor [[]session scope]*"])


# -- the report ---------------------------------------------------------------------------------------------------


def test_the_report_is_written(machine_says: Says, session: Session, pytester: pytest.Pytester) -> None:
    asked = machine_says({"gpu.count": Status.FAIL})
    assert session(TWO_TESTS, "--infra-doctor-report=out.json").ret == 0
    report = json.loads((pytester.path / "out.json").read_text())
    assert [(f["subject"], f["status"]) for f in report["findings"]] == [(["policy:gpu.count"], "fail")]
    assert len(asked) == 1


def test_the_report_is_written_where_no_test_asks_but_not_when_only_collecting(
    machine_says: Says, session: Session, pytester: pytest.Pytester
) -> None:
    asked = machine_says()
    session("def test_a(): pass\n", "--infra-doctor-report=out.json", "--collect-only")
    assert not (pytester.path / "out.json").exists() and asked == []
    session("def test_a(): pass\n", "--infra-doctor-report=out.json")
    assert json.loads((pytester.path / "out.json").read_text())["kind"] == "report"
    assert asked == [("--no-policy",)]


@pytest.mark.parametrize(("test", "code"), [("pass", pytest.ExitCode.USAGE_ERROR), ("raise AssertionError", pytest.ExitCode.TESTS_FAILED)])  # fmt: skip
def test_a_report_that_cannot_be_written_is_told_and_the_tests_results_too(
    machine_says: Says, session: Session, tmp_path: Path, test: str, code: pytest.ExitCode
) -> None:
    machine_says()
    done = session(f"def test_a(): {test}\n", f"--infra-doctor-report={tmp_path}/no/such/folder/out.json")
    assert done.ret == code
    done.stdout.fnmatch_lines(
        ["infra-doctor: no report: */no/such/folder/out.json: No such file or directory", "* 1 *ed*"]
    )


def test_a_report_that_could_not_be_made_is_told(monkeypatch: pytest.MonkeyPatch, session: Session) -> None:
    monkeypatch.setattr(asking, "ask", lambda *_: Answer(hung="no answer within 9 s"))
    done = session("def test_a(): pass\n", "--infra-doctor-report=out.json")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stdout.fnmatch_lines(["infra-doctor: no report: *could not be looked at: no answer within 9 s"])
