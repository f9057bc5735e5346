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
# Of the kernel's command line, the options of the IOMMU, of PCI, of huge pages and of which modules are kept out.
KERNEL_OPTION = re.compile(
    r"(?:iommu|intel_iommu|amd_iommu|pci|pcie_acs_override|(?:default_)?hugepagesz|hugepages|transparent_hugepage"
    r"|iommu\.\w+|nouveau\.modeset|(?:rd\.driver|module|modprobe)[._]?blacklist|nomodeset)(?:=.*)?"
)
# Lines of a nccl.conf that hold addresses of other machines or names of this one.
NCCL_PRIVATE = ("NCCL_COMM_ID", "NCCL_HOSTID", "NCCL_RAS_ADDR", "NCCL_IB_ADDR_RANGE", "NCCL_SOCKET_MAGIC")
# Programs of an environment: of their text, only who runs them is asked.
PROGRAMS = ("pip", "pip3", "torchrun", "accelerate", "vllm", "ipython", "jupyter", "f2py")
# Of a specification of devices for containers, the kind of device and what is mounted.
DEVICE_MOUNT = r"\b(kind|hostPath)[\"']?\s{0,4}:\s{0,4}[\"']?([^\s\"',]{1,400})"
# Of what commands print: numbers of single devices, and what runs on them. Kernel messages name processes as well.
DEVICE_ELEMENT = r"(<(\w{0,40}?(?:serial|serial_number|process_name|guid|pdi))>)[^<\n]{1,400}(?=</\2>)"
DEVICE_LABEL = (
    r"(?i)((?:\bserial(?:[ _](?:number|num|no))?|_serial|\bGUID|\bPDI|\bSN|ipaddr|netmask|gateway|mac[ _]addr(?:ess)?)"
    r"[\"']?[ \t]{0,60}[:=][ \t]{0,60})(?:\"[^\"\n]{0,200}\"|[^\s\"|][^\n|,}]{0,200}(?<! ))"
)
# Of `nvidia-smi -q`, the program of a process; of every tool's table, the column with the programs.
PROCESS_NAME = r"(?m)^([ \t]{4,40}Name[ \t]{1,60}: )[^\n]{1,1000}"
PROCESS_COLUMN = r"(?i)(?:process name|command line|\bcommand\b)[ \t]*"
MESSAGE_PROCESS = r"\b(pid=)[\w'<>]{1,20}(, name=)[^,\n]{0,40}|( the client) '[^'\n]{0,80}'( \(pid )\d{1,10}"


def output(text: str) -> str:
    """What is kept of the output of a command. Labels keep something, so that it still shows that there was a value."""
    text = re.sub(DEVICE_ELEMENT, r"\1left_out", text)
    text = re.sub(DEVICE_LABEL, lambda m: m.group(1) + ('"left_out"' if '"' in m.group() else "left_out"), text)
    if "pid=" in text or "the client" in text:
        text = message(text)
    if "rocess" not in text:
        return text
    return without_programs(re.sub(PROCESS_NAME, r"\1left_out", text))


def without_programs(text: str) -> str:
    """A table of processes without what they run: below its head, the column of names (`Process name`, `Command Line`)."""
    lines = text.split("\n")
    column = None
    for number, line in enumerate(lines):
        head = re.search(PROCESS_COLUMN, line) if re.search(r"(?i)\bPID\b|process id", line) else None
        if head is not None:
            column = head.span()
        elif column is not None and re.search(r"\d", line[: column[0]]):
            name = line[column[0] : column[1]]
            lines[number] = line[: column[0]] + "left_out".ljust(len(name))[: len(name)] + line[column[1] :]
    return "\n".join(lines)


def message(text: str) -> str:
    """What is kept of a message of the kernel."""
    return re.sub(
        MESSAGE_PROCESS,
        lambda m: "%s0%sleft_out" % m.group(1, 2) if m.group(1) else "%s 'left_out'%s0" % m.group(3, 4),
        text,
    )


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
    if path == "/proc/cmdline":
        return " ".join(word for word in text.split() if KERNEL_OPTION.fullmatch(word)) + "\n"
    if path.startswith("/proc/") and name == "comm":
        return "left_out\n"  # that it is there tells whether processes show; their names are nobody's business
    if path == "/proc/self/status":
        return lines_of(text, lambda line: line if line.startswith(("Uid:", "CapEff:")) else None)
    if name == "daemon.json":
        return container_settings(text)
    if name == "activate":
        return lines_of(text, lambda line: line if re.match(r"(?:export )?VIRTUAL_ENV=", line) else None)
    if name in PROGRAMS and "/bin/" in path and text.startswith("#!"):
        return lines_of(text, lambda line: line if line.startswith(("#!", "'''exec' ")) else None)
    if path.endswith("-container-runtime/config.toml"):
        return lines_of(text, lambda line: line if re.match(r"\s{0,8}(?:mode|no-cgroups)\s{0,8}=", line) else None)
    if "/cdi/" in path:
        return "".join("%s: %s\n" % found for found in re.findall(DEVICE_MOUNT, text))
    if "/modprobe.d/" in path:
        return lines_of(text, lambda line: None if line.lstrip().startswith("#") else line)
    if name.endswith("nccl.conf"):
        return lines_of(text, nccl_line)
    if path.startswith("/proc/") and name == "cmdline":
        return options(text)
    if path.startswith("/proc/") and name == "maps":
        return lines_of(text, lambda line: line if re.search(SITE_PACKAGES, line) else None)
    return text


def lines_of(text: str, keep: Callable[[str], Optional[str]]) -> str:
    """The lines as `keep` gives them, without those that it gives None for."""
    kept = [keep(line) for line in text.splitlines()]
    return "".join(line + "\n" for line in kept if line is not None)


def nccl_line(line: str) -> Optional[str]:
    """A line of NCCL's settings; None where it is none, or tells an address."""
    return line if line.startswith("NCCL_") and line.partition("=")[0] not in NCCL_PRIVATE else None


def container_settings(text: str) -> str:
    """Of Docker's settings, which runtimes it has and how it starts them: not its mirrors, proxies and addresses. What is no
    valid JSON stays none."""
    import json  # only machines with Docker's settings need it

    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return "{left_out" if text.strip() else text
    if not isinstance(found, dict):
        return "{left_out"
    kept = ("runtimes", "default-runtime", "exec-opts", "features")
    return json.dumps({key: found[key] for key in kept if key in found}, sort_keys=True)


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
