"""What a snapshot keeps of files that may hold anything: of start-up code, settings and processes, only what is asked of
them (import_path.py, interpreter.py, target.py and the probes of the operating system ask). The report of a replay is the
same; what somebody wrote beside it stays at home.

Python 3.7 syntax: the collector packs this file."""

import posixpath
import re
from typing import Callable, Optional

# Lines of .pth files that run code and leave sys.path alone: as a whole, or by how they begin.
HARMLESS_LINES = frozenset({"import _virtualenv", "import coverage; coverage.process_startup()"})
HARMLESS_BEGINNINGS = (
    "import os; var = 'SETUPTOOLS_USE_DISTUTILS';",  # setuptools: distutils-precedence.pth
    "import sys, types, os;has_mfs = sys.version_info > (3, 5);p = os.path.join(",  # setuptools: *-nspkg.pth
    "import sys, types, os;p = os.path.join(",  # the same, older
    'import sys; exec(\'import os\\n\\nif os.getenv("COVERAGE_PROCESS_START")',  # coverage: a1_coverage.pth
    'import os; exec(\'try: __import__("coloredlogs").auto_install() if os.environ.get(',
    'import os, sys;exec(\'if "COV_CORE_SOURCE" in os.environ:',  # pytest-cov
    "import _editable_impl_",  # the `editables` finder of hatchling and pdm: maps modules, adds no path
)
SETUPTOOLS_FINDER = r"import (__editable___\w+_finder); ?\1\.install\(\)"
FINDER_LINE = r"(?:(?:MAPPING|NAMESPACES)(?:: [^=\n]+)? = \{.*\}|PATH_PLACEHOLDER = '[^'\n]+' \+ .{1,40})"
SITE_PACKAGES = r" /[^\n]*/lib(?:64)?/python\d\.\d+/site-packages/"

# File name -> the keys that are kept, and what stands after a key.
KEYS = {
    "pyvenv.cfg": ("=", ("home", "include-system-site-packages", "version", "version_info")),
    "os-release": ("=", ("name", "id", "id_like", "version_id", "version_codename", "pretty_name")),
    "meminfo": (":", ("memtotal",)),
    "cpuinfo": (":", ("processor", "vendor_id", "model name", "flags", "features", "cpu implementer", "cpu part")),
}


def essence(path: str, text: str) -> str:
    """What is kept of the text of the file at a path. Where something was there, something stays."""
    kept = _essence(path, text)
    return kept if kept.strip() or not text.strip() else "left_out\n"


def _essence(path: str, text: str) -> str:
    name = posixpath.basename(path)
    if name in KEYS:
        mark, keys = KEYS[name]
        return lines_of(
            text, lambda line: line if not line.strip() or line.partition(mark)[0].strip().lower() in keys else None
        )
    if name.endswith(".pth"):
        return "\0" if "\0" in text else lines_of(text.lstrip("\ufeff"), start_up_line)
    if name in ("sitecustomize.py", "usercustomize.py"):
        return lines_of(text, code_line)
    if name.startswith("__editable__") and name.endswith(".py"):
        return lines_of(text, lambda line: line if re.match(FINDER_LINE, line) else None)
    if path.startswith("/proc/") and name == "cmdline":
        return options(text)
    if path.startswith("/proc/") and name == "maps":
        return lines_of(text, lambda line: line if re.search(SITE_PACKAGES, line) else None)
    return text


def lines_of(text: str, keep: Callable[[str], Optional[str]]) -> str:
    """The lines as `keep` gives them, without those that it gives None for."""
    kept = [keep(line) for line in text.splitlines()]
    return "".join(line + "\n" for line in kept if line is not None)


def start_up_line(line: str) -> str:
    """A line of a .pth file: of code, no more than what tells that it is known to be harmless. The number stays."""
    broken = "\ufffd" if "\ufffd" in line else ""  # bytes that were no UTF-8
    if not line.startswith(("import ", "import\t")):
        return "#" + broken if line.startswith("#") else line
    code = line.strip()
    if code in HARMLESS_LINES or re.fullmatch(SETUPTOOLS_FINDER, code):
        return code
    return next((begin for begin in HARMLESS_BEGINNINGS if code.startswith(begin)), "import left_out" + broken)


def code_line(line: str) -> str:
    """A line of sitecustomize.py: whether it is code, and whether it is Ubuntu's."""
    if not line.strip() or line.lstrip().startswith("#"):
        return ""
    return "import apport_python_hook" if "apport_python_hook" in line else "left_out"


def options(command_line: str) -> str:
    """How a process was started, up to the script, the module or the code that the interpreter runs. A process may have
    written a title over it: one long word."""
    arguments = command_line.split("\0")
    kept = [arguments[0].split(" ")[0]]
    for argument in arguments[1:]:
        if not argument.startswith("-") or argument.startswith("--") or argument == "-":
            break
        letters = re.match(r"-[^cmXW]*[cmXW]?", argument)
        kept.append(letters.group() if letters else "-")
        if kept[-1][-1] in "cm":
            break
    return "\0".join(kept) + "\0"
