"""The sys.path that an interpreter starts with, told by files.

Facts: CPython's Modules/getpath.py, Lib/site.py of 3.7 to 3.14 and as Debian, Fedora (patch 00251) and openSUSE (patch
localpath) change it; which of these it is, the interpreter's own site.py tells. What only running code could tell is
a note. docs/python-environments.md tells the algorithm."""

import posixpath
import re
from collections.abc import Mapping

from infra_doctor.machine.essence import HARMLESS_BEGINNINGS, HARMLESS_LINES, SETUPTOOLS_FINDER
from infra_doctor.machine.interpreter import Interpreter
from infra_doctor.machine.machine import Machine
from infra_doctor.model.record import record

PTH_CAP_BYTES = 256 << 10
FINDER_CAP_BYTES = 4 << 20

_DISTRIBUTION_ENDINGS = (".dist-info", ".egg-info", ".egg-link")


@record
class Flags:
    """Options of a command line that change sys.path: -I is all but -S."""

    ignore_environment: bool = False  # -E, -I
    no_user_site: bool = False  # -s, -I
    no_site: bool = False  # -S


@record
class ImportPath:
    """`entries` is sys.path without the script's own directory; `site_dirs` are those that hold distributions."""

    entries: tuple[str, ...]
    site_dirs: tuple[str, ...]
    notes: tuple[str, ...]


def import_path(
    machine: Machine, interpreter: Interpreter, *, environ: Mapping[str, str], cwd: str | None, flags: Flags
) -> ImportPath:
    """What sys.path is when this interpreter starts with these variables."""
    site_py = machine.read_text(posixpath.join(interpreter.stdlib, "site.py"), quiet=True) or ""
    path = _Builder(machine, skip_hidden='not name.startswith(".")' in site_py)
    site = not flags.no_site
    if interpreter.path_file:
        lines = [ln.partition("#")[0].strip() for ln in (machine.read_text(interpreter.path_file) or "").splitlines()]
        folder = posixpath.dirname(interpreter.path_file)
        for line in lines:
            if line and not line.startswith("import "):
                path.add(posixpath.join(folder, line))
        site = site and "import site" in lines
        flags = Flags(ignore_environment=True, no_user_site=True)
    else:
        if not flags.ignore_environment:
            path.add_variable(environ.get("PYTHONPATH", ""), cwd)
        for folder in _standard_library(interpreter):
            path.add(folder)
    own = tuple(path.entries)
    if site:
        _add_sites(path, interpreter, site_py, environ, flags)
    return ImportPath(
        entries=tuple(path.entries),
        site_dirs=tuple(p for p in path.entries if _holds_distributions(machine, p, path.sites, interpreter, own)),
        notes=tuple(dict.fromkeys(path.notes + path.archives())),
    )


def _standard_library(interpreter: Interpreter) -> tuple[str, ...]:
    stdlib = interpreter.stdlib
    if interpreter.implementation == "pypy":
        return (stdlib,)
    archive = f"{interpreter.library_name.replace('.', '')}.zip"
    dynamic = posixpath.join(interpreter.base_exec_prefix, interpreter.library, interpreter.library_name, "lib-dynload")
    return (posixpath.join(interpreter.base_prefix, interpreter.library, archive), stdlib, dynamic)


def _add_sites(
    path: "_Builder", interpreter: Interpreter, site_py: str, environ: Mapping[str, str], flags: Flags
) -> None:
    """site.py's main(): the virtual environment's own directory, the user's, then those of all prefixes."""
    in_venv = interpreter.config_path is not None
    with_system = not in_venv or interpreter.config.get("include-system-site-packages", "true").lower() == "true"
    prefixes = [interpreter.base_prefix, interpreter.base_exec_prefix] if with_system else []
    if in_venv:
        prefixes.insert(0, interpreter.prefix)
        path.add_site_dirs(_site_packages(path.machine, interpreter, interpreter.prefix, site_py))
    user_site = with_system and not flags.no_user_site
    if user_site and (flags.ignore_environment or not environ.get("PYTHONNOUSERSITE")):
        base = environ.get("PYTHONUSERBASE") or (posixpath.join(environ["HOME"], ".local") if "HOME" in environ else "")
        if base:
            path.add_site_dirs([posixpath.join(base, "lib", interpreter.library_name, "site-packages")])
        else:
            path.notes.append("the user's site directory is not known: no HOME here")
    else:
        user_site = False
    if user_site and 'PREFIXES.insert(0, "/usr/local")' in site_py:  # Fedora
        prefixes.insert(0, "/usr/local")
    if with_system and "sys.exec_prefix, '/usr/local']" in site_py:  # openSUSE
        prefixes.append("/usr/local")
    for prefix in dict.fromkeys(prefixes):
        path.add_site_dirs(_site_packages(path.machine, interpreter, prefix, site_py))
    path.note_customize("sitecustomize")
    if user_site:
        path.note_customize("usercustomize")


def _site_packages(machine: Machine, interpreter: Interpreter, prefix: str, site_py: str) -> list[str]:
    """site.getsitepackages() for one prefix. Debian keeps packages in dist-packages; /usr/lib/python3/dist-packages is
    the mark where site.py itself cannot be read."""
    name = interpreter.library_name
    libraries = dict.fromkeys((interpreter.library, "lib"))
    if "dist-packages" in site_py or (not site_py and machine.is_dir(prefix + "/lib/python3/dist-packages")):
        found = [f"{prefix}/lib/{name}/site-packages"] if interpreter.config_path else []
        found += [f"{prefix}/local/lib/{name}/dist-packages", f"{prefix}/lib/python3/dist-packages"]
        return found + [f"{prefix}/{library}/{name}/dist-packages" for library in libraries]
    return [f"{prefix}/{library}/{name}/site-packages" for library in libraries]


def _holds_distributions(
    machine: Machine, folder: str, sites: set[str], interpreter: Interpreter, own: tuple[str, ...]
) -> bool:
    """Whether distributions are looked for in this entry: a site directory, or any other that has one in it."""
    if folder in sites:
        return True
    if folder in own and folder in _standard_library(interpreter):
        return False
    names = machine.names(folder)
    return any(name.endswith(_DISTRIBUTION_ENDINGS) or name == "EGG-INFO" for name in names)


class _Builder:
    """sys.path while it grows. An entry that is there already stays where it is."""

    def __init__(self, machine: Machine, *, skip_hidden: bool) -> None:
        self.machine = machine
        self.skip_hidden = skip_hidden  # .pth files whose name begins with a dot, left out by newer patch releases
        self.entries: list[str] = []
        self.sites: set[str] = set()
        self.notes: list[str] = []
        self._read: set[str] = set()

    def add(self, path: str) -> None:
        path = posixpath.normpath(path)
        if path not in self.entries:
            self.entries.append(path)

    def add_variable(self, value: str, cwd: str | None) -> None:
        """PYTHONPATH: an empty entry is the current directory, and what is relative is relative to it."""
        for entry in value.split(":") if value else ():
            if not entry.startswith("/") and cwd is None:
                self.notes.append(f"unknown: PYTHONPATH entry {entry!r} is relative to a directory that is not known")
                continue
            self.add(posixpath.join(cwd or "/", entry))

    def add_site_dirs(self, folders: list[str]) -> None:
        """site.addsitedir() for those that are there: the directory, then its .pth files by name."""
        for folder in map(posixpath.normpath, folders):
            if folder in self._read or not self.machine.is_dir(folder):
                continue
            self._read.add(folder)
            self.sites.add(folder)
            self.add(folder)
            for name in self.machine.names(folder):
                if name.endswith(".pth") and not (self.skip_hidden and name.startswith(".")):
                    self._read_pth(folder, name)

    def _read_pth(self, folder: str, name: str) -> None:
        path = posixpath.join(folder, name)
        text = (self.machine.read_text(path, max_bytes=PTH_CAP_BYTES) or "").removeprefix("\ufeff")
        if "\0" in text:
            self.machine.note_problem(path, "not a text")
            return
        if "\ufffd" in text:
            self.machine.note_problem(path, "not UTF-8: Python may not start with it")
        for number, line in enumerate(text.splitlines(), 1):
            if line.startswith("#") or not line.strip():
                continue
            if line.startswith(("import ", "import\t")):
                if not self._known_import(folder, line.strip()):
                    self.notes.append(f"unknown (executes code): {path}:{number}")
                continue
            entry = posixpath.normpath(posixpath.join(folder, line.rstrip()))
            if self.machine.exists(entry):
                self.add(entry)

    def _known_import(self, folder: str, line: str) -> bool:
        match = re.fullmatch(SETUPTOOLS_FINDER, line)
        if match is None:
            return line in HARMLESS_LINES or line.startswith(HARMLESS_BEGINNINGS)
        finder = read_finder(self.machine, posixpath.join(folder, match.group(1) + ".py"))
        if finder is None:
            return False
        _, placeholder = finder
        if placeholder and placeholder not in self.entries:
            self.entries.append(placeholder)
        return True

    def note_customize(self, name: str) -> None:
        """sitecustomize and usercustomize run at start. Debian's is empty, Ubuntu's installs a crash reporter."""
        paths = (posixpath.join(entry, name + ".py") for entry in self.entries if entry.startswith("/"))
        path = next((p for p in paths if self.machine.is_file(p)), None)
        if path is None:
            return
        lines = (self.machine.read_text(path, max_bytes=PTH_CAP_BYTES) or "").splitlines()
        code = [ln for ln in lines if ln.strip() and not ln.lstrip().startswith("#")]
        if code and not (len(code) < 12 and any("apport_python_hook" in line for line in code)):
            self.notes.append(f"unknown (executes code): {path}")

    def archives(self) -> list[str]:
        """Notes on zip files and zipped eggs: what is installed inside is not looked at."""
        return [
            f"{entry} is an archive: the distributions inside are not read"
            for entry in self.entries
            if entry.startswith("/") and self.machine.is_file(entry)
        ]


def read_finder(machine: Machine, path: str) -> tuple[list[tuple[str, str]], str | None] | None:
    """The (module, path) pairs of a setuptools editable finder, and what it adds to sys.path where it has namespaces.
    None where the file is not as setuptools writes it (setuptools/command/editable_wheel.py)."""
    import ast

    text = machine.read_text(path, max_bytes=FINDER_CAP_BYTES, quiet=True) or ""
    values = dict(re.findall(r"^(MAPPING|NAMESPACES)(?:: [^=\n]+)? = (\{.*\})$", text, re.MULTILINE))
    placeholder = re.search(
        r"^PATH_PLACEHOLDER = ('[^'\n]+') \+ (\"\.__path_hook__\"|'\.__path_hook__')$", text, re.MULTILINE
    )
    try:
        mapping = ast.literal_eval(values["MAPPING"])
        namespaces = ast.literal_eval(values["NAMESPACES"])
        hook = "".join(map(ast.literal_eval, placeholder.groups())) if placeholder else None
    except (KeyError, ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(mapping, dict) or (namespaces and hook is None):
        return None
    return [(str(k), str(v)) for k, v in sorted(mapping.items())], hook if namespaces else None
