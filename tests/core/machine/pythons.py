"""The interpreters of this computer, what they say of themselves, and machines whose shell is made up."""

import functools
import json
import subprocess
from pathlib import Path
from typing import Any

from infra_doctor.machine.agent import Agent
from infra_doctor.machine.machine import Machine
from infra_doctor.machine.types import Capability, MachineForm

PYENV = Path.home() / ".pyenv" / "versions"

ORACLE = """
import importlib.metadata, json, sys
path = sys.path[1:]
found = {}
for d in importlib.metadata.distributions(path=path):
    if d.metadata["Name"]:
        found.setdefault(d.metadata["Name"].lower().replace("_", "-").replace(".", "-"), d.version)
print(json.dumps([path, found, sys.prefix, sys.base_prefix, "%d.%d.%d" % sys.version_info[:3]]))
"""


class ShellAgent(Agent):
    """An agent whose own environment variables are given."""

    def __init__(self, environ: dict[str, str]) -> None:
        super().__init__("/")
        self.environ = environ

    def op_environ(self, pid: int | None, names: list[str]) -> Any:
        if pid is None:
            return {n: self.environ[n] for n in names if n in self.environ}
        return super().op_environ(pid, names)


def shell_machine(**environ: str) -> Machine:
    """This computer, seen from a shell with these variables."""
    return Machine(ShellAgent(environ), form=MachineForm.LIVE, capabilities=Capability)


def says(python: Path | str, *options: str, cwd: Path | None = None, **environ: str) -> list[Any]:
    """[sys.path without the script's directory, distributions, prefix, base prefix, version] of a real interpreter."""
    argv = [str(python), *options, "-c", ORACLE]
    done = subprocess.run(argv, env=environ, cwd=cwd, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


@functools.cache
def pythons() -> tuple[str, ...]:
    """Interpreters that are here: the system's, and pyenv's from 3.8 on."""
    found = [p for p in ("/usr/bin/python3", "/usr/local/bin/python3") if Path(p).is_file()]
    folders = [f for f in PYENV.iterdir() if f.name.startswith("3.")] if PYENV.is_dir() else []
    for folder in sorted(folders, key=lambda f: [int(n) for n in f.name.split(".") if n.isdigit()]):
        if int(folder.name.split(".")[1]) >= 8 and (folder / "bin/python").is_file():
            found.append(str(folder / "bin/python"))
    return tuple(found)


def make_venv(python: str, folder: Path, *options: str) -> Path:
    """A virtual environment without pip; its interpreter."""
    argv = [python, "-I", "-m", "venv", "--without-pip", *options, str(folder)]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    return folder / "bin" / "python"


def site_packages(venv: Path) -> Path:
    """The site directory of a virtual environment."""
    return next(venv.glob("lib/python3*/site-packages"))


def install(site: Path, name: str, version: str, files: dict[str, bytes] | None = None, **more: str) -> Path:
    """A distribution, as an installer would leave it; `more` are further files of its .dist-info."""
    import base64
    import hashlib

    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nIts description.\n")
    rows = [f"{info.name}/METADATA,,", f"{info.name}/RECORD,,"]
    for path, data in (files or {}).items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(data)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
        rows.append(f"{path},sha256={digest},{len(data)}")
    (info / "RECORD").write_text("\n".join(rows) + "\n")
    for key, text in more.items():
        (info / key).write_text(text)
    return info
