"""Where environments say that they were made: real ones, copied, moved, reached by a link, and hostile scripts."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from infra_doctor.machine.forms import live_machine
from infra_doctor.model.component import Target
from infra_doctor.model.finding import Status
from infra_doctor_probes.checks.env_moved import judge
from infra_doctor_probes.detect.environment_origin import PROBES, EnvironmentOrigin
from tests.support.gather import gather


def origin_of(prefix: Path) -> EnvironmentOrigin:
    target = Target(key=f"target:{prefix}", prefix=str(prefix), executable=f"{prefix}/bin/python", kind="venv")
    found = gather(live_machine(), PROBES, targets=(target,)).fact(EnvironmentOrigin)
    assert isinstance(found, EnvironmentOrigin)
    return found


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A real environment with a real program of pip's making."""
    place = tmp_path / "made"
    venv.create(place, with_pip=False, symlinks=True)
    program = place / "bin" / "pip"
    program.write_text(f"#!{place}/bin/python\nprint('pip')\n")
    program.chmod(0o755)
    return place


def test_one_that_lies_where_it_was_made(environment: Path) -> None:
    found = origin_of(environment)
    assert (found.made_for, found.same_place) == (str(environment), True)
    assert judge(found).status is Status.PASS


def test_a_copy_runs_the_original(environment: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(environment, copy, symlinks=True)
    found = origin_of(copy)
    assert (found.same_place, found.interpreter_exists) == (False, True)
    finding = judge(found)
    assert finding.status is Status.WARN
    assert f"runs {environment}/bin/python" in finding.detail
    ran = subprocess.run([str(copy / "bin" / "pip"), "-c", ""], capture_output=True, text=True, check=False)
    assert ran.stdout == "pip\n"  # by the interpreter of the original, as the finding says


def test_a_moved_one_has_programs_that_do_not_start(environment: Path, tmp_path: Path) -> None:
    moved = environment.rename(tmp_path / "moved")
    finding = judge(origin_of(moved))
    assert finding.status is Status.WARN
    assert "bad interpreter" in finding.detail
    with pytest.raises(FileNotFoundError):
        subprocess.run([str(moved / "bin" / "pip")], check=False)


def test_another_name_of_the_same_folder_is_no_copy(environment: Path, tmp_path: Path) -> None:
    name = tmp_path / "name"
    name.symlink_to(environment)
    assert judge(origin_of(name)).status is Status.PASS


def test_a_long_path_stands_in_the_second_line(environment: Path) -> None:
    program = environment / "bin" / "pip"
    program.write_text(f"#!/bin/sh\n'''exec' \"/far/{'x' * 200}/bin/python3.11\" \"$0\" \"$@\"\n' '''\n")
    assert origin_of(environment).interpreter == f"/far/{'x' * 200}/bin/python3.11"


@pytest.mark.parametrize(
    "text", ["", "\0\1\2", "VIRTUAL_ENV=$(cd ..; pwd)", "VIRTUAL_ENV=" + "x" * 100_000, "#!" + "/" * 50_000]
)
def test_scripts_that_name_no_place(environment: Path, text: str) -> None:
    (environment / "bin" / "activate").write_text(text)
    (environment / "bin" / "pip").write_text(text)
    assert judge(origin_of(environment)).status is Status.SKIP


def test_this_very_environment() -> None:
    if sys.prefix == sys.base_prefix or not os.path.isfile(f"{sys.prefix}/pyvenv.cfg"):
        pytest.skip("not run from a virtual environment")
    assert judge(origin_of(Path(sys.prefix))).status is not Status.WARN
