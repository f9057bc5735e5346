"""All Python environments of a machine that are found by files, in the usual places; no search of the whole disk."""

import posixpath
from collections.abc import Iterator

from infra_doctor.errors import TargetError
from infra_doctor.machine.machine import Machine
from infra_doctor.machine.target import NAMES, in_directory, is_script, path_folders, target_of, working_directory
from infra_doctor.model.component import Target

TARGETS_CAP = 200
LIST_CAP_BYTES = 256 << 10

# Environments, below a home directory.
IN_HOMES = (
    ".pyenv/versions/*", ".virtualenvs/*", ".local/share/virtualenvs/*", ".local/share/uv/python/*",
    ".local/share/hatch/env/virtual/*/*/*", ".cache/pypoetry/virtualenvs/*", ".conda/envs/*",
    "miniconda3", "anaconda3", "miniforge3", "mambaforge", "micromamba", "conda", "*/.venv", "*/venv", "venv", ".venv",
)  # fmt: skip
ANYWHERE = (
    "/opt/*", "/opt/*/venv", "/opt/*/.venv", "/opt/venvs/*", "/opt/python/*", "/usr/local", "/usr", "/venv", "/.venv",
    "/app/.venv", "/app/venv", "/workspace/.venv", "/workspace/venv", "/srv/*/venv", "/srv/*/.venv", "/conda",
    "/miniconda3", "/databricks/python3",
)  # fmt: skip


def find_all_targets(machine: Machine) -> tuple[Target, ...]:
    """All Python environments that can be found by files, the active one first, each prefix once."""
    found: dict[str, Target] = {}
    for path, chosen_by in _candidates(machine):
        if len(found) >= TARGETS_CAP:
            break
        # Every link to one interpreter leads to one environment, unless a pyvenv.cfg stands beside the link.
        folder = posixpath.dirname(posixpath.dirname(path))
        if machine.realpath(folder) in found or machine.stat(path, follow=False) is None:
            continue
        try:
            target = target_of(machine, path, chosen_by=chosen_by)
        except TargetError as error:
            # Wrappers and Python 2 are nothing that could be judged; a damaged interpreter or environment is.
            damaged = (
                isinstance(elf := machine.ask("elf", path), dict) and "error" in elf and not is_script(machine, path)
            )
            if damaged or machine.stat(posixpath.join(folder, "pyvenv.cfg"), follow=False) is not None:
                machine.note_problem(path, str(error).removeprefix(f"{path}: "))
            continue
        found.setdefault(machine.realpath(target.prefix), target)
    return tuple(found.values())


def _candidates(machine: Machine) -> Iterator[tuple[str, str]]:
    """(path of an interpreter, where it comes from)."""
    environ = machine.environ
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        if environ.get(variable, "").startswith("/"):
            yield posixpath.join(environ[variable], "bin", "python"), variable
    for folder in path_folders(environ):
        for name in NAMES:
            yield posixpath.join(folder, name), f"{name} on PATH"
    for folder in _environment_folders(machine):
        try:
            path = in_directory(machine, folder)
        except TargetError:
            continue
        if path is not None:
            yield path, folder
        for inner in machine.glob(posixpath.join(folder, "envs", "*")) if path is not None else ():
            yield posixpath.join(inner, "bin", "python"), inner


def _environment_folders(machine: Machine) -> Iterator[str]:
    """Folders that may be an environment."""
    cwd = working_directory(machine)
    for name in (".venv", "venv") if cwd else ():
        yield posixpath.join(cwd or "/", name)
    home = machine.environ.get("HOME")
    homes = [home] if home else ["/root", *machine.glob("/home/*")]
    for home in homes:
        listed = machine.read_text(
            posixpath.join(home, ".conda/environments.txt"), max_bytes=LIST_CAP_BYTES, quiet=True
        )
        yield from (line.strip() for line in (listed or "").splitlines() if line.startswith("/"))
        for pattern in IN_HOMES:
            yield from machine.glob(posixpath.join(home, pattern))
    for pattern in ANYWHERE:
        yield from machine.glob(pattern)
