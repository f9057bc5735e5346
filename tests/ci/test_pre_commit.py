"""The pre-commit hooks, by the real pre-commit in a scratch repository. The hooks' repository is this checkout's manifest
beside a package that needs no network to be built and runs this checkout."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ci.lab import ROOT, block, environment, wheel

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not here")
MANIFEST = ROOT / ".pre-commit-hooks.yaml"
HOOKS: dict[str, dict[str, Any]] = {h["id"]: h for h in yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))}
BACKEND = """
import shutil, os
WHEEL = {wheel!r}
def build_wheel(folder, config_settings=None, metadata_directory=None):
    shutil.copy(WHEEL, folder)
    return os.path.basename(WHEEL)
def get_requires_for_build_wheel(config_settings=None):
    return []
"""
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n[project]\nname = "infra-doctor"\nversion = "0.0"\n'


def git(folder: Path, *argv: str) -> str:
    """A git command in a repository of the test's own."""
    done = subprocess.run(["git", *argv], cwd=folder, env=settings(folder), capture_output=True, text=True, check=True)
    return done.stdout.strip()


def settings(folder: Path) -> dict[str, str]:
    return environment(
        HOME=str(folder.parent), PRE_COMMIT_HOME=str(folder.parent / "cache"), GIT_CONFIG_NOSYSTEM="1",
        GIT_AUTHOR_NAME="t", GIT_AUTHOR_EMAIL="t@t", GIT_COMMITTER_NAME="t", GIT_COMMITTER_EMAIL="t@t",
        VIRTUALENV_NO_DOWNLOAD="1", PIP_DISABLE_PIP_VERSION_CHECK="1",
    )  # fmt: skip


def pre_commit(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """The real pre-commit."""
    command = [sys.executable, "-m", "pre_commit", *argv]
    return subprocess.run(
        command, cwd=folder, env=settings(folder), capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose configuration is the page's own, with the repository's address put in."""
    folder = tmp_path_factory.mktemp("pre-commit")
    hooks, work = folder / "hooks", folder / "work"
    hooks.mkdir()
    work.mkdir()
    (hooks / MANIFEST.name).write_bytes(MANIFEST.read_bytes())
    (hooks / "backend.py").write_text(BACKEND.format(wheel=str(wheel(folder))))
    (hooks / "pyproject.toml").write_text(PROJECT)
    text = block("pre-commit.md", ".pre-commit-config.yaml")
    assert "repo: /path/to/checkout\n    rev: REF\n" in text
    for repository in (hooks, work):
        git(repository, "init", "-q", "-b", "main")
    git(hooks, "add", "-A")
    git(hooks, "commit", "-q", "-m", "x")
    text = text.replace("/path/to/checkout", str(hooks)).replace("REF", git(hooks, "rev-parse", "HEAD"))
    (work / ".pre-commit-config.yaml").write_text(text)
    (work / "infra-doctor.toml").write_text("[require]\ngpu.count = 8\n")
    subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", str(work / ".venv")], check=True)
    git(work, "add", "-A", "--", ":!.venv")
    git(work, "commit", "-q", "-m", "x")
    return work


def test_the_manifest_is_one(project: Path) -> None:
    assert pre_commit(project, "validate-manifest", str(MANIFEST)).returncode == 0
    assert pre_commit(project, "validate-config", ".pre-commit-config.yaml").returncode == 0


def test_policies_are_checked_when_they_are_committed(project: Path) -> None:
    good = pre_commit(project, "run", "infra-doctor-policy", "--all-files")
    assert (good.returncode, "Passed" in good.stdout) == (0, True), good
    for folder, text in (("a b", "gpu.cuont = 8"), ("sub", "gpu.count = 'some'")):
        (project / folder).mkdir()
        (project / folder / "infra-doctor.toml").write_text(f"[require]\n{text}\n")
    git(project, "add", "a b", "sub")
    try:
        bad = pre_commit(project, "run", "infra-doctor-policy")
    finally:
        git(project, "rm", "-q", "-r", "-f", "a b", "sub")
    assert (bad.returncode, "exit code: 2" in bad.stdout) == (1, True), bad
    for words in ("a b/infra-doctor.toml:2", "Nearest: gpu.count", "sub/infra-doctor.toml:2"):
        assert words in bad.stdout, bad
    assert "Skipped" in pre_commit(project, "run", "infra-doctor-policy", "--files", ".pre-commit-config.yaml").stdout


def test_the_check_judges_the_project_s_environment_and_not_its_own(project: Path) -> None:
    stage = ("--hook-stage", "manual", "--all-files", "--verbose")
    done = pre_commit(project, "run", "infra-doctor-check", *stage)
    # The page's example requires torch, the policy eight GPUs.
    assert done.returncode == 1, done
    assert "exit code: 1" in done.stdout, done
    assert "package.torch" in done.stdout and "gpu.count" in done.stdout, done
    assert "work/.venv (venv, by --python)" in " ".join(done.stdout.split()) and "py_env" not in done.stdout, done
    assert "infra-doctor check" not in pre_commit(project, "run", "--all-files").stdout, "not before a commit"


def test_entries_are_commands_of_this_checkout(project: Path) -> None:
    assert "infra-doctor policy check" in HOOKS["infra-doctor-policy"]["entry"]
    entry = HOOKS["infra-doctor-check"]["entry"].split()
    assert entry == ["infra-doctor", "check", "--python=.venv"]
    for argv, code in ((["policy", "check", "infra-doctor.toml"], 0), (["check", "--python=nowhere"], 2)):
        done = subprocess.run(
            [sys.executable, "-m", "infra_doctor", *argv], cwd=project, env=environment(), capture_output=True, text=True, check=False
        )  # fmt: skip
        assert done.returncode == code, done
