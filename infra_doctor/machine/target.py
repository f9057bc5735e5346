"""The Python environment that is judged: the one asked for, the one a process runs, or this shell's active one.

docs/python-environments.md tells the order. pyenv's shims are resolved as `pyenv which` does (pyenv, libexec)."""

import posixpath
import re
from collections.abc import Mapping

from infra_doctor.errors import TargetError
from infra_doctor.machine.import_path import Flags, import_path
from infra_doctor.machine.interpreter import GIVE_PYTHON, interpreter_at
from infra_doctor.machine.machine import Machine
from infra_doctor.machine.types import Capability
from infra_doctor.model.component import Target

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NAMES = ("python3", "python", "pypy3")
NO_FLAGS = Flags()


def find_target(machine: Machine, *, python: str | None = None, pid: int | None = None) -> Target | None:
    """The target asked for, or the active one; None where there is no Python at all. Raises TargetError."""
    if pid is not None:
        return _process_target(machine, pid)
    if python is not None:
        path = _absolute(machine, python)
        return target_of(machine, in_directory(machine, path) or path, chosen_by="--python")
    return _active_target(machine)


def target_of(
    machine: Machine,
    executable: str,
    *,
    chosen_by: str,
    environ: Mapping[str, str] | None = None,
    cwd: str | None = None,
    flags: Flags = NO_FLAGS,
    notes: tuple[str, ...] = (),
) -> Target:
    """The target that an executable belongs to, with the variables of this shell where no others are given."""
    environ = machine.environ if environ is None else environ
    cwd = cwd or working_directory(machine)
    if is_script(machine, executable):
        executable = _behind_shim(machine, executable, environ, cwd)
    interpreter = interpreter_at(machine, executable, environ={} if flags.ignore_environment else environ)
    path = import_path(machine, interpreter, environ=environ, cwd=cwd, flags=flags)
    return Target(
        key=f"target:{interpreter.prefix}", prefix=interpreter.prefix, executable=interpreter.executable,
        kind=interpreter.kind, python_version=interpreter.full_version, base_prefix=interpreter.base_prefix,
        sys_path=path.entries, site_dirs=path.site_dirs, notes=(*notes, *interpreter.notes, *path.notes),
        chosen_by=chosen_by, evidence=interpreter.evidence,
    )  # fmt: skip


def working_directory(machine: Machine, pid: int | None = None) -> str | None:
    """Where the process looked at (ours, or another) stands; None where this form of machine has none."""
    if Capability.ENVIRONMENT not in machine.capabilities:
        return None
    return machine.readlink(f"/proc/{'self' if pid is None else pid}/cwd")


def in_directory(machine: Machine, path: str) -> str | None:
    """The interpreter of an environment given by its directory; None where the path is no directory."""
    if not machine.is_dir(path):
        return None
    for name in NAMES:
        if machine.stat(posixpath.join(path, "bin", name), follow=False) is not None:
            return posixpath.join(path, "bin", name)
    raise TargetError(f"{path}: no Python environment: there is no bin/python in this directory", help=GIVE_PYTHON)


def path_folders(environ: Mapping[str, str]) -> list[str]:
    """The absolute folders of PATH, each once."""
    folders = (environ.get("PATH") or DEFAULT_PATH).split(":")
    return list(dict.fromkeys(posixpath.normpath(f) for f in folders if f.startswith("/")))


def is_script(machine: Machine, path: str) -> bool:
    """Whether an executable is a text that another program runs (#!): a shim or a wrapper."""
    if not machine.is_file(path) or (isinstance(elf := machine.ask("elf", path), dict) and "error" not in elf):
        return False
    return (machine.read_bytes(path, max_bytes=4096, quiet=True) or b"").startswith(b"#!")


# -- the active one ---------------------------------------------------------------------------------------------------


def _active_target(machine: Machine) -> Target | None:
    environ = machine.environ
    notes: list[str] = []
    candidates = [
        (posixpath.join(environ[variable], "bin", name), variable)
        for variable in ("VIRTUAL_ENV", "CONDA_PREFIX")
        if environ.get(variable, "").startswith("/")
        for name in ("python", "python3")
    ]
    folders = path_folders(environ)
    candidates += [(posixpath.join(f, name), f"{name} on PATH") for f in folders for name in ("python3", "python")]
    own = machine.ask("system") if Capability.ENVIRONMENT in machine.capabilities else None
    if isinstance(own, dict) and own.get("executable"):
        candidates.append((str(own["executable"]), "infra-doctor's own, no other is on PATH"))
    for path, chosen_by in candidates:
        if machine.stat(path, follow=False) is None:
            continue
        try:
            return target_of(machine, path, chosen_by=chosen_by, notes=tuple(notes))
        except TargetError as error:
            notes.append(f"passed over ({chosen_by}): {error}")
    return None


def _absolute(machine: Machine, given: str) -> str:
    """The path of a --python option: `~`, a relative path, or the name of a program on PATH."""
    environ = machine.environ
    if given == "~" or given.startswith("~/"):
        given = environ.get("HOME", "~") + given[1:]
    if given.startswith("/"):
        return posixpath.normpath(given)
    cwd = working_directory(machine)
    if "/" not in given and (cwd is None or machine.stat(posixpath.join(cwd, given)) is None):
        found = machine.which(given)
        if found is not None:
            return found
    if not given or cwd is None:
        raise TargetError(f"--python {given!r}: no absolute path, and no program of this name", help=GIVE_PYTHON)
    return posixpath.normpath(posixpath.join(cwd, given))


def _behind_shim(machine: Machine, shim: str, environ: Mapping[str, str], cwd: str | None) -> str:
    """The interpreter that a pyenv shim would start. Raises TargetError for any other script."""
    text = machine.read_text(shim, max_bytes=4096, quiet=True) or ""
    name = posixpath.basename(shim)
    root_line = re.search(r'^export PYENV_ROOT="(/[^"\n]+)"$', text, re.MULTILINE)
    if root_line is None or not re.search(r'libexec/pyenv"? exec ', text):
        raise TargetError(f"{shim}: a script, no Python interpreter", help=GIVE_PYTHON)
    root = root_line.group(1)
    wanted = environ.get("PYENV_VERSION", "").replace(":", " ") or _pyenv_version_file(machine, root, cwd) or "system"
    for version in wanted.split():
        if version == "system":
            folders = [f for f in path_folders(environ) if f != posixpath.dirname(shim)]
            paths = [posixpath.join(folder, name) for folder in folders]
        else:
            paths = [posixpath.join(root, "versions", _pyenv_installed(machine, root, version), "bin", name)]
        for path in paths:
            if machine.is_file(path) and not is_script(machine, path):
                return path
    raise TargetError(f"{shim}: a pyenv shim, and version {wanted!r} has no {name}", help=GIVE_PYTHON)


def _pyenv_version_file(machine: Machine, root: str, cwd: str | None) -> str:
    """.python-version of the working directory or one above it, else the global version."""
    folder = cwd or "/"
    paths = [posixpath.join(root, "version")]
    while cwd and folder != "/":
        paths.insert(-1, posixpath.join(folder, ".python-version"))
        folder = posixpath.dirname(folder)
    for path in paths:
        text = machine.read_text(path, max_bytes=4096, quiet=True) or ""
        words = " ".join(line.partition("#")[0] for line in text.splitlines()).split()
        if words:
            return " ".join(words)
    return ""


def _pyenv_installed(machine: Machine, root: str, version: str) -> str:
    """The installed version that a name means: itself, or the newest patch version of "3.11"."""
    names = machine.names(posixpath.join(root, "versions"))
    if version in names:
        return version
    fitting = [n for n in names if n.startswith(version + ".") and n.replace(".", "").isdigit()]
    return max(fitting, key=lambda n: tuple(map(int, n.split("."))), default=version)


# -- of a process -----------------------------------------------------------------------------------------------------


def _process_target(machine: Machine, pid: int) -> Target:
    """The environment that a running process was started in, with its own variables and options."""
    if Capability.PROCESSES not in machine.capabilities:
        raise TargetError(f"--pid {pid}: the processes of a {machine.form} machine are not visible")
    folder = f"/proc/{pid}"
    if machine.stat(folder) is None:
        raise TargetError(f"--pid {pid}: no such process")
    exe = machine.readlink(f"{folder}/exe")
    if exe is None:
        raise TargetError(f"--pid {pid}: what it runs cannot be read", help="Run as the user of that process, or root.")
    own, others = machine.readlink("/proc/self/ns/mnt"), machine.readlink(f"{folder}/ns/mnt")
    if own and others and own != others:
        raise TargetError(
            f"--pid {pid}: it runs in another mount namespace (a container), whose files are elsewhere",
            help=f"Run infra-doctor inside the container, or with --root {folder}/root and --python there.",
        )
    if exe.endswith(" (deleted)"):
        raise TargetError(f"--pid {pid}: its executable was removed: {exe}", help="Start the process again.")
    environ = machine.environ_of(pid)
    cwd = working_directory(machine, pid)
    raw = machine.read_bytes(f"{folder}/cmdline", max_bytes=1 << 16) or b""
    argv = [part.decode("utf-8", "replace") for part in raw.split(b"\0")]
    executable, notes = _started_as(machine, pid, exe, argv[0], environ, cwd)
    try:
        return target_of(
            machine, executable, chosen_by=f"--pid {pid}", environ=environ, cwd=cwd, flags=_flags(argv), notes=notes
        )
    except TargetError as error:
        raise TargetError(f"--pid {pid}: {error}", help=GIVE_PYTHON) from None


def _started_as(
    machine: Machine, pid: int, exe: str, started: str, environ: Mapping[str, str], cwd: str | None
) -> tuple[str, tuple[str, ...]]:
    """The path that a process was started by: it, not the resolved executable, tells the virtual environment."""
    if "/" in started:
        candidates = [posixpath.join(cwd or "/", started)]
    else:
        candidates = [posixpath.join(f, started) for f in path_folders(environ) if started]
    if environ.get("VIRTUAL_ENV"):
        candidates += [posixpath.join(environ["VIRTUAL_ENV"], "bin", name) for name in ("python", "python3")]
    maps = machine.read_text(f"/proc/{pid}/maps", max_bytes=8 << 20, quiet=True) or ""
    for prefix in dict.fromkeys(re.findall(r" (/[^\n]*)/lib(?:64)?/python\d\.\d+/site-packages/", maps)):
        if machine.is_file(posixpath.join(prefix, "pyvenv.cfg")):
            candidates += [posixpath.join(prefix, "bin", name) for name in ("python", "python3")]
    real = machine.stat(exe)
    for path in candidates:
        found = machine.stat(path)
        if found is not None and real is not None and found.file_id == real.file_id:
            return posixpath.normpath(path), ()
    return exe, (f"how process {pid} was started is not told by its command line: judged as {exe}",)


def _flags(argv: list[str]) -> Flags:
    """The options of the interpreter itself: those before the script, -c or -m."""
    letters = set()
    for argument in argv[1:]:
        if not argument.startswith("-") or argument in {"-", "--"} or argument.startswith("--"):
            break
        for letter in argument[1:]:
            letters.add(letter)
            if letter in "cmXW":
                break
        if letters & {"c", "m"}:
            break
    return Flags(
        ignore_environment=bool(letters & {"E", "I"}),
        no_user_site=bool(letters & {"s", "I"}),
        no_site="S" in letters,
    )
