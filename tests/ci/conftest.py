"""Environments with pip, which take seconds to make: one is made, the others are copies."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ci.lab import program


@pytest.fixture(scope="session")
def with_pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with pip."""
    folder = tmp_path_factory.mktemp("with-pip") / "venv"
    subprocess.run([sys.executable, "-I", "-m", "venv", str(folder)], check=True, capture_output=True, timeout=300)
    return folder


@pytest.fixture
def quick_python(with_pip: Path, tmp_path: Path) -> Path:
    """A folder for the front of PATH, whose `python3 -I -m venv --clear FOLDER` copies; all else is the real Python."""
    real, made = shlex.quote(sys.executable), shlex.quote(str(with_pip))
    text = f"""case "$*" in
"-I -m venv --clear "*) rm -rf "$5" && cp -a {made} "$5" ;;
*) exec {real} "$@" ;;
esac"""
    return program(tmp_path / "quick/python3", text).parent
