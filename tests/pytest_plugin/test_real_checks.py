"""Sessions whose checks are real: on recorded and described machines, in processes of their own, under pytest-xdist."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pytest_plugin.conftest import ALONE, CONFTEST, FOUND, NAME, PLUGIN, WITH, described, recorded

pytest_plugins = ("pytester",)

Session = Callable[..., pytest.RunResult]

NEEDS = """
@pytest.mark.requires_env("ort-cuda")
def test_provider(): pass

@pytest.mark.requires_env("gpu.count>=2", "driver>=580")
@pytest.mark.parametrize("n", range(3))
def test_two_gpus(n): pass

@pytest.mark.requires_env("gpu-count", "GPU_MODEL=H200")
def test_one_gpu(): pass

@pytest.mark.requires_env("CUDNN-MISSING")
def test_cudnn(infra_doctor): assert [c for c in infra_doctor.components if c.kind == "gpu"]
"""


def test_a_machine_with_two_gpus_and_no_onnxruntime_for_them(
    session: Session, on_machine: Callable[[str], None]
) -> None:
    on_machine(recorded("h200x2-torch211"))
    done = session(NEEDS, "-rs", "-W", "error")
    done.assert_outcomes(passed=5, skipped=1)
    done.stdout.fnmatch_lines(["SKIPPED [[]1] *ort.cuda is required; *"])


def test_the_reason_names_the_root_and_its_repair(session: Session, on_machine: Callable[[str], None]) -> None:
    on_machine(recorded("h200-ort-gpu-cudnn-hidden"))
    done = session(NEEDS, "-rs")
    done.assert_outcomes(passed=1, skipped=5)
    done.stdout.fnmatch_lines(
        [
            "*5 skipped for the environment (infra-doctor)*",
            "3 × gpu.count >=2 is required; this is 1",
            "1 × CUDNN-MISSING: *; because of PY-CLOBBER-NV: *. Fix: *pip install --force-reinstall*nvidia-cudnn-cu13==*",
            "1 × ort.cuda is required; *; because of PY-CLOBBER-NV: *",
        ]
    )


def test_what_hangs_on_the_machine_is_not_known_and_does_not_run(
    session: Session, on_machine: Callable[[str], None], tmp_path: Path
) -> None:
    on_machine(described("nvml-hangs", tmp_path))
    text = '@pytest.mark.requires_env("gpu.memory>=1 GiB")\ndef test_memory(): raise AssertionError("ran")\n'
    done = session(text, "-rs")
    done.assert_outcomes(skipped=1)
    done.stdout.fnmatch_lines(["SKIPPED*gpu.memory >=1 GiB is required, and could not be looked at: *"])
    session(text, "--infra-doctor=fail").assert_outcomes(errors=1)


def test_a_policy_holds_as_a_whole(
    session: Session, on_machine: Callable[[str], None], pytester: pytest.Pytester
) -> None:
    (pytester.path / "ci").mkdir()
    for name, text in {
        "two.toml": "[require]\ngpu.count = 2\ndriver = '>=580'\n",
        "eight.toml": "[require]\ngpu.count = 8\n",
        "never.toml": "fail-on = 'never'\n[require]\ngpu.count = 8\n",
    }.items():
        (pytester.path / "ci" / name).write_text(text)
    # What the tests' own folder says is for `infra-doctor check`, not for these marks.
    (pytester.path / "infra-doctor.toml").write_text("[require]\ngpu.count = 8\n")
    on_machine(recorded("h200x2-torch211"))
    text = "".join(
        f"@pytest.mark.requires_env('gpu.count', policy='ci/{n}.toml')\ndef test_{n}(): pass\n"
        for n in ("two", "eight", "never")
    )
    done = session(text, "-rs")
    done.assert_outcomes(passed=2, skipped=1)
    done.stdout.fnmatch_lines(["SKIPPED [[]1] test_it.py:*: eight.toml: gpu.count 8 is required; this is 2"])
    (pytester.path / "ci" / "two.toml").write_text("[require]\ngpu.count = 2\ngpu.cuont = 2\n")
    slip = session(text)
    assert slip.ret == pytest.ExitCode.INTERRUPTED
    slip.stdout.fnmatch_lines(["*::test_two: requires_env(policy=*): ci/two.toml:3: *gpu.cuont*Nearest: gpu.count*"])


# -- in processes of their own ------------------------------------------------------------------------------------


def test_under_xdist_the_workers_look_and_the_controller_tells_it_once(pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    pytester.makeconftest(CONFTEST.format(snapshot=recorded("h200-ort-gpu-cudnn-hidden")))
    pytester.makepyfile(test_it=f"import pytest\n{NEEDS}", test_more=f"import pytest\n{NEEDS}")
    done = pytester.runpytest_subprocess(
        *WITH,
        "-n",
        "2",
        "--infra-doctor-report=out.json",
        "-W",
        "error",
        "--strict-markers",
    )
    done.assert_outcomes(passed=2, skipped=10)
    done.stdout.fnmatch_lines(
        ["*10 skipped for the environment (infra-doctor)*", "6 × gpu.count >=2 is required; this is 1"]
    )
    assert done.stdout.str().count("gpu.count >=2 is required") == 1
    report = json.loads((pytester.path / "out.json").read_text())
    held = {f["subject"][0]: f["status"] for f in report["findings"] if f["id"] == "REQUIREMENT"}
    assert held["policy:gpu.count"] in {"pass", "fail"} and held["policy:ort.cuda"] == "fail"


def test_under_xdist_a_slip_is_an_error_of_its_file(pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    pytester.makepyfile(test_it="import pytest\n@pytest.mark.requires_env('gpu.cuont')\ndef test_a(): pass\n")
    done = pytester.runpytest_subprocess(*WITH, "-n", "1")
    assert done.ret != pytest.ExitCode.OK
    done.stdout.fnmatch_lines(
        ["*ERROR collecting test_it.py*", "*requires_env('gpu.cuont'): no such key*Nearest: gpu.count*"]
    )


LOADED = """
import sys
def pytest_unconfigure(): print("LOADED", sorted(m for m in sys.modules if m.startswith("infra_doctor")))
"""


def test_a_suite_without_the_mark_loads_nothing_and_sees_nothing(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(LOADED)
    pytester.makepyfile(test_it="def test_a(): pass\ndef test_b(): raise AssertionError\n")
    arguments = (*ALONE, "-W", "error", "-ra", "-v")
    on = pytester.runpytest_subprocess(*PLUGIN, *arguments)
    assert on.ret == pytest.ExitCode.TESTS_FAILED
    assert "LOADED ['infra_doctor', 'infra_doctor.pytest_plugin']" in on.stdout.lines
    off = pytester.runpytest_subprocess("-p", f"no:{NAME}", *arguments)
    assert off.ret == on.ret

    def said(result: pytest.RunResult) -> list[str]:
        own = ("LOADED", "plugins: ", "=")  # the last line holds the time
        return [line for line in result.stdout.lines if not line.startswith(own)]

    assert said(on) == said(off)


def test_collecting_marks_does_not_load_what_looks_at_machines(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(LOADED)
    pytester.makepyfile('import pytest\n@pytest.mark.requires_env("gpu.count>=2", "ort-cuda")\ndef test_a(): pass\n')
    done = pytester.runpytest_subprocess(*WITH, "--collect-only", "-q")
    loaded = next(line for line in done.stdout.lines if line.startswith("LOADED"))
    assert "infra_doctor.pytest_plugin.doctor" in loaded
    assert "infra_doctor_probes.requirements" in loaded
    assert "infra_doctor.runner.run'" not in loaded and "infra_doctor.machine.agent" not in loaded


def entry_point(folder: Path) -> None:
    """A distribution that offers the plug-in as the project's own does."""
    info = folder / "stands_for_infra_doctor-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stands-for-infra-doctor\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[pytest11]\ninfra_doctor = infra_doctor.pytest_plugin\n")


def test_pytest_finds_the_plug_in_by_itself_and_no_infra_doctor_turns_it_off(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not FOUND:
        entry_point(pytester.path)
        monkeypatch.setenv("PYTHONPATH", str(pytester.path), prepend=":")
    pytester.makeconftest(CONFTEST.format(snapshot=recorded("h200x2-torch211")))
    pytester.makepyfile(test_it='import pytest\n@pytest.mark.requires_env("gpu.count>=3")\ndef test_a(): pass\n')
    on = pytester.runpytest_subprocess(*ALONE, "-W", "error", "--strict-markers")
    on.assert_outcomes(skipped=1)
    off = pytester.runpytest_subprocess(*ALONE, "-p", "no:infra_doctor")
    off.assert_outcomes(passed=1, warnings=1)  # the mark is unknown then
    strict = pytester.runpytest_subprocess(*ALONE, "-p", "no:infra_doctor", "--strict-markers")
    assert strict.ret == pytest.ExitCode.INTERRUPTED
    strict.stdout.fnmatch_lines(["*'requires_env' not found in `markers` configuration option*"])


def test_this_very_machine_and_python_are_looked_at(pytester: pytest.Pytester) -> None:
    major, minor = sys.version_info[:2]
    pytester.makepyfile(
        "import pytest, sys\n"
        f"@pytest.mark.requires_env('python=={major}.{minor}.*', 'package.pytest>=7')\ndef test_here(infra_doctor):\n"
        "    assert [t.executable for t in infra_doctor.targets]\n"
        "@pytest.mark.requires_env('package.no-such-wheel')\ndef test_not_here(): pass\n"
    )
    done = pytester.runpytest_subprocess(*WITH, "-rs")
    done.assert_outcomes(passed=1, skipped=1)
