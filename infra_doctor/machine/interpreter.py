"""Which Python an executable is, told by files: its prefix, the prefix of its standard library, version and kind.

Facts: CPython's Modules/getpath.py (3.11 and later) and Modules/getpath.c (before), Lib/site.py `venv()`, PEP 405.
docs/python-environments.md tells the algorithm."""

import posixpath
import re
from collections.abc import Callable, Mapping

from infra_doctor.errors import TargetError
from infra_doctor.machine.machine import Machine
from infra_doctor.model.evidence import Evidence, EvidenceKind
from infra_doctor.model.record import record

CONFIG_CAP_BYTES = 64 << 10
LINK_CAP = 40
GIVE_PYTHON = "Give the interpreter or its environment's directory: --python /path/to/venv"

_NAME = re.compile(r"(python|pypy)(\d+\.\d+|\d+)?(t?)d?(?:-\w+)?")
_LIBRARY = r"lib(?:python|pypy)(\d+\.\d+)(t?)d?(?:-c)?\.so"


@record
class Interpreter:
    """One Python executable. `prefix` is its sys.prefix, `base_prefix` and `base_exec_prefix` hold the standard library.
    `config` is pyvenv.cfg, empty where there is none (`config_path` None)."""

    executable: str
    real: str  # the file that runs, the executable's own links followed
    prefix: str
    base_prefix: str
    base_exec_prefix: str
    implementation: str  # "python" or "pypy", as its library directory is named
    version: str  # "3.12"
    threading: str  # "t": free-threaded
    full_version: str  # "3.12.4", or the same as `version`
    library: str  # "lib" or "lib64": sys.platlibdir
    kind: str
    config: Mapping[str, str]
    config_path: str | None
    path_file: str | None  # a pythonX._pth, which replaces all other rules
    notes: tuple[str, ...]
    evidence: tuple[Evidence, ...]

    @property
    def library_name(self) -> str:
        """The name of its library directory: python3.12, python3.13t, pypy3.10."""
        return f"{self.implementation}{self.version}{self.threading}"

    @property
    def stdlib(self) -> str:
        """The directory of the standard library."""
        return posixpath.join(self.base_prefix, self.library, self.library_name)


def interpreter_at(machine: Machine, executable: str, *, environ: Mapping[str, str]) -> Interpreter:
    """The interpreter at an absolute path. Raises TargetError where that is none."""
    executable = posixpath.normpath(executable)
    chain = check_executable(machine, executable)
    config_path, config = read_config(machine, executable)
    implementation, version, threading = _identity(machine, executable, chain, config)
    home = config.get("home", "").rstrip("/")
    start = posixpath.dirname(chain[-1])
    if home and (numbers(version) >= (3, 11) or len(chain) == 1):
        # Since 3.11 `home` decides; before, a link's own target did, and `home` only told a copy where its base is.
        start = home
    path_file = _path_file(machine, executable, chain[-1], version)
    name = f"{implementation}{version}{threading}"
    notes: list[str] = []
    if path_file:
        base = exec_base = posixpath.dirname(path_file)
        library = "lib"
    elif environ.get("PYTHONHOME"):
        base, _, exec_base = environ["PYTHONHOME"].partition(":")
        exec_base = exec_base or base
        library = _library_of(machine, base, name) or "lib"
        notes.append(f"PYTHONHOME={environ['PYTHONHOME']} replaces the search for the standard library")
    else:
        base, library = _standard_library(machine, start, chain[-1], name)
        landmark = f"{library}/{name}/lib-dynload"
        exec_base = search_up(start, lambda p: machine.is_dir(posixpath.join(p, landmark))) or base
    if not path_file and _library_of(machine, base, name) is None:
        notes.append(f"its standard library was not found: no {base}/{library}/{name}/os.py")
    if implementation == "pypy":
        notes.append(
            "PyPy: sys.path is told by its usual layout; extension modules built for CPython do not load in it"
        )
    prefix = posixpath.dirname(posixpath.dirname(executable)) if config_path else base
    full = _full_version(machine, base, name, version, config)
    return Interpreter(
        executable=executable, real=chain[-1], prefix=prefix, base_prefix=base, base_exec_prefix=exec_base,
        implementation=implementation, version=version, threading=threading, full_version=full, library=library,
        kind=_kind(machine, prefix, base, implementation, config_path), config=config, config_path=config_path,
        path_file=path_file, notes=tuple(notes),
        evidence=_evidence(executable, chain, config_path, config, f"{base}/{library}/{name}"),
    )  # fmt: skip


def check_executable(machine: Machine, path: str) -> list[str]:
    """The path and where its own links lead, the file that runs last. Raises TargetError unless that is an ELF file with
    a Python's name that may be executed."""
    chain = link_chain(machine, path)
    found = machine.stat(path)
    if found is None:
        if machine.stat(path, follow=False) is None:
            raise TargetError(f"{path}: no such file", help=GIVE_PYTHON)
        raise TargetError(
            f"{path}: a link that leads nowhere ({' -> '.join(chain[1:4]) or 'loop'})",
            help="The Python that this environment was made from is gone: make the environment again.",
        )
    if found.type != "file":
        raise TargetError(f"{path}: a {found.type}, no Python interpreter", help=GIVE_PYTHON)
    if not found.mode & 0o111:
        raise TargetError(f"{path}: not executable", help=GIVE_PYTHON)
    observed = machine.ask("elf", path)
    if not isinstance(observed, dict) or "error" in observed:
        head = machine.read_bytes(path, max_bytes=4096, quiet=True) or b""
        what = "a script" if head.startswith(b"#!") else "no executable program"
        reason = observed["error"] if isinstance(observed, dict) and not head else what
        raise TargetError(f"{path}: {reason}, no Python interpreter", help=GIVE_PYTHON)
    if not any(_NAME.fullmatch(posixpath.basename(p)) for p in chain):
        raise TargetError(f"{path}: its name is not that of a Python interpreter", help=GIVE_PYTHON)
    return chain


def link_chain(machine: Machine, path: str) -> list[str]:
    """The path and what its last part links to, one after the other; directories are not resolved (as CPython does)."""
    chain = [path]
    while len(chain) <= LINK_CAP:
        link = machine.readlink(chain[-1])
        if link is None:
            break
        chain.append(posixpath.normpath(posixpath.join(posixpath.dirname(chain[-1]), link)))
    return chain


def search_up(folder: str, test: Callable[[str], bool]) -> str | None:
    """The first of a folder and those above it that passes; the root is not tried (as CPython does)."""
    while folder not in {"", "/"}:
        if test(folder):
            return folder
        folder = posixpath.dirname(folder)
    return None


def read_config(machine: Machine, executable: str) -> tuple[str | None, dict[str, str]]:
    """The path and the entries of pyvenv.cfg beside the executable or one folder up."""
    folder = posixpath.dirname(executable)
    for path in (posixpath.join(folder, "pyvenv.cfg"), posixpath.join(posixpath.dirname(folder), "pyvenv.cfg")):
        if machine.is_file(path):
            text = machine.read_text(path, max_bytes=CONFIG_CAP_BYTES) or ""
            pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
            config = {key.strip().lower(): value.strip() for key, _, value in pairs}
            if "home" not in config:
                machine.note_problem(path, "no `home` in it")
            return path, config
        if machine.stat(path, follow=False) is not None:
            machine.note_problem(path, "there, and no file that could be read")
    return None, {}


def numbers(version: str) -> tuple[int, ...]:
    """(3, 12) of "3.12"."""
    return tuple(int(part) for part in version.split("."))


def _identity(machine: Machine, executable: str, chain: list[str], config: Mapping[str, str]) -> tuple[str, str, str]:
    """Implementation, "X.Y" and the threading mark: by the name of the file that runs, else by the libpython that it
    needs, else by pyvenv.cfg, else by the only library directory beside it."""
    names = [m for p in reversed(chain) if (m := _NAME.fullmatch(posixpath.basename(p)))]
    implementation = names[0].group(1)
    for name in names:
        if name.group(2) and "." in name.group(2):
            return _python3(executable, implementation, name.group(2), name.group(3))
    elf = machine.elf(executable, quiet=True)
    for needed in elf.needed if elf else ():
        if library := re.match(_LIBRARY, needed):
            return _python3(executable, implementation, library.group(1), library.group(2))
    if version := re.match(r"(\d+\.\d+)\b", config.get("version") or config.get("version_info") or ""):
        return _python3(executable, implementation, version.group(1), "")
    beside = set()
    for folder in dict.fromkeys((posixpath.dirname(chain[-1]), posixpath.dirname(executable))):
        for lib in ("lib", "lib64"):
            for entry in machine.names(posixpath.join(posixpath.dirname(folder), lib)):
                if (match := _NAME.fullmatch(entry)) and match.group(2) and "." in match.group(2):
                    beside.add(match.groups())
    if len(beside) != 1:
        raise TargetError(f"{executable}: which version of Python it is cannot be told by files", help=GIVE_PYTHON)
    return _python3(executable, *beside.pop())


def _python3(executable: str, implementation: str, version: str, threading: str) -> tuple[str, str, str]:
    if numbers(version) < (3, 0):
        raise TargetError(f"{executable}: Python {version}; only Python 3 can be judged", help=GIVE_PYTHON)
    return implementation, version, threading


def _library_of(machine: Machine, prefix: str, name: str) -> str | None:
    """Which of lib and lib64 holds the standard library under a prefix."""
    for library in ("lib", "lib64"):
        if any(machine.is_file(posixpath.join(prefix, library, name, f)) for f in ("os.py", "os.pyc")):
            return library
    return None


def _standard_library(machine: Machine, start: str, real: str, name: str) -> tuple[str, str]:
    """The base prefix and its lib or lib64. What is compiled in as PREFIX cannot be told by files: where the search from
    the folder fails (/bin/python3 on a system whose /bin links to /usr/bin), the real paths stand for it."""
    for folder in dict.fromkeys((start, posixpath.dirname(machine.realpath(real)), machine.realpath(start))):
        found = search_up(folder, lambda p: _library_of(machine, p, name) is not None)
        if found:
            return found, _library_of(machine, found, name) or "lib"
    above = posixpath.dirname(start)
    if machine.is_dir(posixpath.join(above, "lib", name)):
        return above, "lib"
    raise TargetError(
        f"{real}: its standard library is not there (no lib/{name}/os.py in {above} or above)", help=GIVE_PYTHON
    )


def _path_file(machine: Machine, executable: str, real: str, version: str) -> str | None:
    """A ._pth file beside the executable (3.11 and later on Linux)."""
    if numbers(version) < (3, 11):
        return None
    return next((p for p in dict.fromkeys((executable + "._pth", real + "._pth")) if machine.is_file(p)), None)


def _kind(machine: Machine, prefix: str, base: str, implementation: str, config_path: str | None) -> str:
    if implementation == "pypy":
        return "pypy"
    if config_path:
        return "venv"
    if machine.is_dir(posixpath.join(prefix, "conda-meta")):
        return "conda"
    if posixpath.basename(base).startswith("cpython-") or "/uv/python/" in base:
        return "uv"
    if posixpath.basename(posixpath.dirname(base)) == "versions":
        return "pyenv"
    return "system" if base == "/usr" else "local"


def _full_version(machine: Machine, base: str, name: str, version: str, config: Mapping[str, str]) -> str:
    """X.Y.Z where a file tells it: conda's records, patchlevel.h, the folder's name (uv, pyenv), pyvenv.cfg. The last is
    as old as the environment: its base may have been updated since."""
    candidates = []
    for installed in machine.names(posixpath.join(base, "conda-meta")):
        parts = installed.removesuffix(".json").rsplit("-", 2)
        if len(parts) == 3 and parts[0] == "python":
            candidates.append(parts[1])
    header = machine.read_text(posixpath.join(base, "include", name, "patchlevel.h"), max_bytes=16384, quiet=True) or ""
    candidates += re.findall(r'^#define PY_VERSION\s+"([^"]+)"', header, re.MULTILINE)
    folder = posixpath.basename(base)
    candidates += [folder.split("-")[1] if folder.startswith("cpython-") else folder]
    candidates += [config.get("version", ""), config.get("version_info", "")]
    for candidate in candidates:
        match = re.match(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?", candidate)
        if match and candidate.startswith(version + "."):
            return match.group()
    return version


def _evidence(
    executable: str, chain: list[str], config_path: str | None, config: Mapping[str, str], stdlib: str
) -> tuple[Evidence, ...]:
    found = [Evidence(kind=EvidenceKind.FILE, source=executable, text=" -> ".join(chain))]
    if config_path:
        shown = "; ".join(
            f"{k} = {config[k]}" for k in ("home", "include-system-site-packages", "version") if k in config
        )
        found.append(Evidence(kind=EvidenceKind.FILE, source=config_path, text=shown[:400]))
    found.append(Evidence(kind=EvidenceKind.DIRECTORY, source=stdlib, text="its standard library"))
    return tuple(found)
