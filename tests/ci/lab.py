"""What the tests of the recipes share: the text of docs/ci, programs that stand in for infra-doctor, the real one on a
machine that is only described, and a wheel by which pip installs the real one without a network."""

import base64
import hashlib
import os
import re
import shlex
import stat
import sys
import zipfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from infra_doctor.codec import encode
from infra_doctor.runner import registry
from infra_doctor.runner.run import Run, RunOptions
from infra_doctor.runner.snapshot import make_snapshot
from tests.support.recipe import read_recipe, recipe_machine

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "ci"
MACHINES = ROOT / "tests" / "machines"
# The pages of this folder's tests; pytest.md has its own.
PAGES = tuple(sorted(p for p in DOCS.glob("*.md") if p.name != "pytest.md"))
DOCTOR = f"env PYTHONPATH={shlex.quote(os.environ.get('PYTHONPATH', ''))} {shlex.quote(sys.executable)} -m infra_doctor"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block of a page. `name` is the file that a comment in its first line names, else empty."""

    page: str
    language: str
    text: str
    name: str


def blocks(*languages: str, page: str = "") -> list[Block]:
    """The fenced blocks of the pages, in order."""
    found = []
    for path in PAGES:
        for language, text in _FENCE.findall(path.read_text(encoding="utf-8")):
            first = text.removeprefix("#!/bin/sh\n").split("\n", 1)[0]
            name = first.removeprefix("# ") if re.fullmatch(r"# [\w./-]+", first) else ""
            found.append(Block(path.name, language, text, name))
    return [b for b in found if (not languages or b.language in languages) and b.page.startswith(page)]


def block(page: str, name: str) -> str:
    """The text of the one block of a page that names this file."""
    (found,) = [b.text for b in blocks(page=page) if b.name == name]
    return found


def documents(text: str) -> list[dict[str, Any]]:
    """The documents of a YAML text."""
    return [d for d in yaml.safe_load_all(text) if d is not None]


def program(path: Path, text: str) -> Path:
    """A shell script that can be run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return path


def doctor(path: Path, *more: str) -> Path:
    """The real infra-doctor of this checkout as a program; `more` options are added to those that it is given."""
    return program(path, f'exec {DOCTOR} "$@" {shlex.join(more)}')


def on_machine(path: Path, name: str) -> Path:
    """The real infra-doctor, which finds itself on a machine of tests/machines, and judges the environment that is there."""
    there = shlex.quote(str(snapshot(name, path.parent)))
    lines = [
        "kept=()",
        'while [ "$#" -gt 0 ]; do',
        '    case "$1" in --python) shift ;; *) kept+=("$1") ;; esac',
        "    shift",
        "done",
    ]
    return program(path, "\n".join([*lines, f'exec {DOCTOR} "${{kept[@]}}" --replay {there}']))


def snapshot(name: str, folder: Path) -> Path:
    """A snapshot of a machine of tests/machines: the recorded one, or one of the machine as it is described."""
    recorded = next(iter((MACHINES / name).glob("snapshot.json*")), None)
    if recorded is not None:
        return recorded
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(_snapshot_text(name), encoding="utf-8")
    return path


@cache
def _snapshot_text(name: str) -> str:
    plugins = registry.load(third_party=False)
    names = tuple(sorted({n for p in plugins.probes for n in p.environment}))
    recipe = read_recipe(MACHINES / name / "machine.toml")
    run = Run(RunOptions(python=recipe.get("python")), registry=plugins, machine=recipe_machine(recipe, names))
    return encode(make_snapshot(run, run.execute()))


def wheel(folder: Path, body: str = "") -> Path:
    """A wheel called infra-doctor whose program is this checkout's (or runs `body`), without dependencies: what pip needs
    to install it lies all in this one file."""
    body = (
        body
        or f"import os, sys\nos.execv({sys.executable!r}, [{sys.executable!r}, '-m', 'infra_doctor', *sys.argv[1:]])\n"
    )
    info = "infra_doctor-0.0.dist-info"
    files = {
        "infra_doctor_of_a_test.py": "def main():\n" + "".join(f"    {line}\n" for line in body.splitlines()),
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: infra-doctor\nVersion: 0.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\ninfra-doctor = infra_doctor_of_a_test:main\n",
    }
    record = ""
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(text.encode())}\n"
    path = folder / "infra_doctor-0.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(name, text)
    return path


def environment(**more: str) -> dict[str, str]:
    """The variables of a plain shell, without those of the CI system that runs these tests."""
    kept = {n: os.environ[n] for n in ("PATH", "HOME", "TMPDIR", "LANG") if n in os.environ}
    return {**kept, "PIP_NO_INDEX": "1", "PYTHONDONTWRITEBYTECODE": "1", **more}
