"""The machine object: typed questions over a source of plain observations, each asked once and remembered.

A `Source` answers the operations of `agent.py`: the live one in process, the rooted one inside a folder, the replayed
one out of a snapshot. What was asked and answered is the snapshot. Probes see this class only."""

import base64
import fnmatch
import posixpath
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from infra_doctor.machine.types import (
    CacheEntry,
    Capability,
    ChildResult,
    Claim,
    CommandResult,
    ContestedFile,
    Distribution,
    Elf,
    KernelLog,
    MachineForm,
    NotVisible,
    PciConfig,
    Problem,
    RecordScan,
    Space,
    Stat,
)
from infra_doctor.model.evidence import Evidence, EvidenceKind

TEXT_CAP_BYTES = 4 << 20

# Variables that the core itself reads; plug-ins add those that they declare. Nothing else ever leaves the environment.
CORE_ENVIRONMENT = (
    "PATH", "HOME", "LD_LIBRARY_PATH", "LD_PRELOAD", "LD_AUDIT", "PYTHONPATH", "PYTHONHOME", "PYTHONNOUSERSITE",
    "PYTHONUSERBASE", "PYTHONSAFEPATH", "PYTHONPLATLIBDIR", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV",
    "PYENV_VERSION", "UV_PROJECT_ENVIRONMENT", "CI",
)  # fmt: skip


class Source(Protocol):
    """Answers operations. `ask` never raises; the result is JSON (see agent.py)."""

    def ask(self, name: str, *arguments: Any) -> Any: ...


class Machine:
    """One machine. Thread-safe; every question is asked at most once per run."""

    def __init__(
        self,
        source: Source,
        *,
        form: MachineForm,
        capabilities: Iterable[Capability],
        environment_names: Iterable[str] = (),
        call_child: Callable[[str, float], dict[str, Any]] | None = None,
    ) -> None:
        self.form = form
        self.capabilities = frozenset(capabilities)
        self.observations: dict[tuple[Any, ...], Any] = {}
        self._source = source
        self._call_child = call_child
        self._lock = threading.Lock()
        self._memo: dict[Any, Any] = {}
        self._memo_locks: dict[Any, threading.Lock] = {}
        self._environment_names = tuple(sorted({*CORE_ENVIRONMENT, *environment_names}))
        self._problems = threading.local()

    # -- the one way to the source --------------------------------------------------------------------------------

    def ask(self, name: str, *arguments: Any) -> Any:
        """One observation, remembered."""
        key = (name, *arguments)
        try:
            return self.observations[key]
        except KeyError:
            pass
        result = self._source.ask(name, *[list(a) if isinstance(a, tuple) else a for a in arguments])
        with self._lock:
            return self.observations.setdefault(key, result)

    def memo(self, key: Any, make: Callable[[], Any]) -> Any:
        """`make()`, once per machine and key: for what several probes need (an environment, a loader)."""
        with self._lock:
            lock = self._memo_locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._memo:
                self._memo[key] = make()
            return self._memo[key]

    def need(self, capability: Capability) -> None:
        """Raise NotVisible where this form lacks the capability."""
        if capability not in self.capabilities:
            raise NotVisible(f"not visible: {capability} of a {self.form} machine")

    def _value(self, path: str, result: Any, quiet: bool) -> Any:
        if isinstance(result, dict) and "error" in result:
            if not quiet:
                self.note_problem(path, str(result["error"]))
            return None
        return result

    def note_problem(self, path: str, reason: str) -> None:
        """Say that something that is there could not be read; the runner reports it with the probe that asked."""
        self.problems_of_thread().append(Problem(path=path, reason=reason))

    def problems_of_thread(self) -> list[Problem]:
        """The problems met so far in the calling thread."""
        found: list[Problem] | None = getattr(self._problems, "found", None)
        if found is None:
            found = self._problems.found = []
        return found

    # -- files ----------------------------------------------------------------------------------------------------

    def stat(self, path: str, *, follow: bool = True, quiet: bool = True) -> Stat | None:
        """None where there is nothing (or, quietly, where it cannot be told)."""
        found = self._value(path, self.ask("stat", path, follow), quiet)
        if found is None:
            return None
        kind, size, mode, uid, file_id, device = found
        rdev = (device[0], device[1]) if device else None
        return Stat(type=kind, size_bytes=size, mode=mode, uid=uid, file_id=file_id, rdev=rdev)

    def exists(self, path: str) -> bool:
        """Whether something is there (links followed)."""
        return self.stat(path) is not None

    def is_file(self, path: str) -> bool:
        """Whether a regular file is there."""
        found = self.stat(path)
        return found is not None and found.type == "file"

    def is_dir(self, path: str) -> bool:
        """Whether a folder is there."""
        found = self.stat(path)
        return found is not None and found.type == "dir"

    def listdir(self, path: str, *, quiet: bool = True) -> tuple[tuple[str, str], ...]:
        """Sorted (name, type) with type file, dir, link or other; empty where there is no such folder."""
        found = self._value(path, self.ask("list", path), quiet)
        return tuple((name, kind) for name, kind in found or ())

    def names(self, path: str) -> tuple[str, ...]:
        """Sorted names in a folder."""
        return tuple(name for name, _ in self.listdir(path))

    def glob(self, pattern: str) -> tuple[str, ...]:
        """Paths that match, sorted; `*`, `?` and `[…]` within each part; no `**`."""
        found = ["/"]
        for part in pattern.strip("/").split("/"):
            step = []
            for base in found:
                if any(c in part for c in "*?["):
                    step += [posixpath.join(base, n) for n in self.names(base) if fnmatch.fnmatchcase(n, part)]
                elif self.stat(posixpath.join(base, part), follow=False) is not None:
                    step.append(posixpath.join(base, part))
            found = step
        return tuple(sorted(found))

    def read_bytes(self, path: str, *, max_bytes: int = TEXT_CAP_BYTES, quiet: bool = False) -> bytes | None:
        """The file's bytes, cut at `max_bytes`; None where it is not there or (noted as a problem) cannot be read."""
        found = self._value(path, self.ask("read", path, max_bytes), quiet)
        if found is None:
            return None
        if "base64" in found:
            return base64.b64decode(found["base64"])
        return str(found["text"]).encode("utf-8", "surrogatepass")

    def read_text(self, path: str, *, max_bytes: int = TEXT_CAP_BYTES, quiet: bool = False) -> str | None:
        """The file as text; bytes that are not UTF-8 become U+FFFD."""
        found = self._value(path, self.ask("read", path, max_bytes), quiet)
        if found is None:
            return None
        if "base64" in found:
            return base64.b64decode(found["base64"]).decode("utf-8", "replace")
        return str(found["text"])

    def readlink(self, path: str) -> str | None:
        """Where a link points, as written in it."""
        found = self._value(path, self.ask("readlink", path), True)
        return None if found is None else str(found)

    def realpath(self, path: str) -> str:
        """The path with all links resolved; the path itself where that cannot be told."""
        found = self._value(path, self.ask("realpath", path), True)
        return path if found is None else str(found)

    def elf(self, path: str, *, quiet: bool = False) -> Elf | None:
        """The dynamic section; None where there is no such file or (noted as a problem) it is no readable ELF file."""
        found = self._value(path, self.ask("elf", path), quiet)
        if found is None:
            return None
        return Elf(
            path=str(found["path"]), bits=found["bits"], machine=found["machine"], type=found["type"],
            soname=found.get("soname"), needed=tuple(found.get("needed") or ()),
            rpath=found.get("rpath"), runpath=found.get("runpath"), interp=found.get("interp"),
            version_needs=tuple((lib, tuple(v)) for lib, v in found.get("version_needs") or ()),
            version_defs=tuple(found.get("version_defs") or ()),
        )  # fmt: skip

    def linker_cache(self, path: str = "/etc/ld.so.cache", *, quiet: bool = False) -> tuple[CacheEntry, ...] | None:
        """The entries of ld.so.cache in its own order; None where there is none or it cannot be read."""
        found = self._value(path, self.ask("ldcache", path), quiet)
        if found is None:
            return None
        return tuple(CacheEntry(soname=s, path=p, hwcap=h) for s, p, h in found)

    # -- Python distributions -------------------------------------------------------------------------------------

    def distributions(self, site_dir: str) -> tuple[Distribution, ...]:
        """The distributions that a site directory holds, by name; unreadable ones are noted as problems."""
        found = self._value(site_dir, self.ask("distributions", site_dir), True)
        out = []
        for item in found or ():
            if "error" in item:
                self.note_problem(item["path"], item["error"])
                continue
            out.append(
                Distribution(
                    name=item["name"], version=item["version"], path=item["path"], site_dir=site_dir,
                    requires=tuple(item.get("requires") or ()), requires_python=item.get("requires_python"),
                    tags=tuple(item.get("tags") or ()), installer=item.get("installer"),
                    editable=bool(item.get("editable")), top_level=tuple(item.get("top_level") or ()),
                    has_record=bool(item.get("has_record", True)),
                )
            )  # fmt: skip
        return tuple(out)

    def records(self, site_dirs: tuple[str, ...]) -> RecordScan:
        """One streaming pass over the RECORD files of these directories; only contested files are hashed.
        Two directories never hold the same path, so each is a question of its own."""
        scans = [self._value(d, self.ask("records", (d,)), False) or {} for d in dict.fromkeys(site_dirs)]
        errors = tuple((p, r) for found in scans for p, r in found.get("errors") or ())
        for path, reason in errors:
            self.note_problem(path, reason)
        return RecordScan(
            file_counts=tuple((p, n) for found in scans for p, n in found.get("file_counts") or ()),
            contested=tuple(
                ContestedFile(
                    path=c["path"],
                    exists=c["exists"],
                    claims=tuple(Claim(distribution=d, digest=g) for d, g in c["claims"]),
                    winners=None if c["winners"] is None else tuple(c["winners"]),
                )
                for found in scans
                for c in found.get("contested") or ()
            ),
            libraries=tuple((p, d) for found in scans for p, d in found.get("libraries") or ()),
            errors=errors,
            truncated=any(found.get("truncated") for found in scans),
            overlaps=tuple((tuple(d), n, differ) for found in scans for d, n, differ in found.get("overlaps") or ()),
        )

    # -- processes ------------------------------------------------------------------------------------------------

    @property
    def environ(self) -> Mapping[str, str]:
        """The allowed environment variables of the shell looked at; empty where the form has none."""
        if Capability.ENVIRONMENT not in self.capabilities:
            return {}
        return self.environ_of(None)

    def environ_of(self, pid: int | None) -> Mapping[str, str]:
        """The allowed environment variables of a process (None: our own)."""
        return self._value("environment", self.ask("environ", pid, self._environment_names), True) or {}

    def environ_names(self, *prefixes: str, pid: int | None = None) -> tuple[str, ...]:
        """The names of all environment variables that begin so, of a process (None: our own). Names only: what is not on
        the list of allowed variables keeps its value to itself."""
        if Capability.ENVIRONMENT not in self.capabilities:
            return ()
        return tuple(self._value("environment", self.ask("environ_names", pid, tuple(prefixes)), True) or ())

    def processes(self, *names: str) -> tuple[tuple[int, str], ...]:
        """(pid, name) of the running processes of these names; no others are looked at. A container sees its own only."""
        self.need(Capability.PROCESSES)
        found = self._value("/proc", self.ask("processes", tuple(names)), True)
        return tuple((int(pid), str(name)) for pid, name in found or ())

    def system(self) -> dict[str, Any]:
        """sysname, release, machine, libc, page_size, cpus; needs kernel state."""
        self.need(Capability.KERNEL_STATE)
        return self._value("uname", self.ask("system"), True) or {}

    def space(self, path: str) -> Space | None:
        """Size and free bytes of the file system at a path; None where there is none or the form cannot tell."""
        self.need(Capability.KERNEL_STATE)
        found = self._value(path, self.ask("space", path), True)
        if found is None:
            return None
        return Space(
            total_bytes=found["total_bytes"], free_bytes=found["free_bytes"], read_only=bool(found.get("read_only"))
        )

    def pci_config(self, path: str) -> PciConfig | None:
        """What the configuration space at a path (`…/config` of /sys) tells; None where there is none."""
        found = self._value(path, self.ask("pci_config", path), True)
        if found is None:
            return None
        whole = found["bytes"] >= 4096
        return PciConfig(whole=whole, port_type=found["port_type"], acs_control=found["acs_control"])

    def limits(self) -> Mapping[str, tuple[int | None, int | None]]:
        """Resource limits of the shell looked at: memlock, nofile, nproc, stack, as, core -> (soft, hard), None being
        unlimited. Empty where the form cannot tell (under another root they would be the doctor's own)."""
        self.need(Capability.KERNEL_STATE)
        found = self._value("limits", self.ask("limits"), True) or {}
        return {name: (pair[0], pair[1]) for name, pair in found.items()}

    def open_error(self, path: str, *, write: bool = False) -> str | None:
        """ "" where a device node opens for this user, the errno's name where it does not ("EACCES", "EPERM", "ENXIO"),
        None where there is no such node or the form cannot tell."""
        self.need(Capability.KERNEL_STATE)
        found = self._value(path, self.ask("opens", path, write), True)
        return None if found is None else str(found)

    def kernel_log(self, *patterns: str) -> KernelLog:
        """The messages of the running kernel that match one of these regular expressions (Python 3.7 syntax)."""
        self.need(Capability.KERNEL_STATE)
        found = self.ask("kernel_log", tuple(patterns))
        if not isinstance(found, dict) or "error" in found:
            reason = "there is no kernel log here" if found is None else str(found["error"])
            return KernelLog(error=reason)
        return KernelLog(
            lines=tuple((float(s), str(t)) for s, t in found["lines"]), source=str(found["source"]),
            truncated=bool(found.get("truncated")),
        )  # fmt: skip

    def run(self, *argv: str, timeout_s: float = 5.0) -> CommandResult:
        """A command of the machine, at most `timeout_s`. A command that is not there has `rc` None and `error` set."""
        self.need(Capability.COMMANDS)
        found = self.ask("run", tuple(argv), timeout_s)
        if found is None or "error" in found:
            reason = "not found" if found is None else str(found["error"])
            return CommandResult(argv=argv, rc=None, error=reason)
        return CommandResult(
            argv=argv,
            rc=found["rc"],
            stdout=found["stdout"],
            stderr=found["stderr"],
            timed_out=found["timed_out"],
        )

    def which(self, name: str) -> str | None:
        """The first executable of that name on the PATH looked at (or the usual one)."""
        for folder in (
            self.environ.get("PATH") or "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        ).split(":"):
            found = self.stat(posixpath.join(folder or ".", name)) if folder.startswith("/") else None
            if found is not None and found.type == "file" and found.mode & 0o111:
                return posixpath.join(folder, name)
        return None

    def child(self, module: str, *, timeout_s: float = 10.0) -> ChildResult:
        """What `python -m module` prints as one JSON document, in a child process of its own session that is ended at
        its deadline: the only way to call a vendor library."""
        self.need(Capability.VENDOR_LIBRARIES)
        key = ("child", module)
        if key not in self.observations:
            # A replayed machine answers out of its snapshot; a live one starts the child.
            result = (
                self._call_child(module, timeout_s)
                if self._call_child is not None
                else self._source.ask("child", module)
            )
            with self._lock:
                self.observations.setdefault(key, result)
        found = self.observations[key] or {"error": "not recorded in this snapshot"}
        data = found.get("data")
        return ChildResult(
            module=module, data=data if isinstance(data, dict) else None, error=str(found.get("error", "")),
            timed_out=bool(found.get("timed_out")),
        )  # fmt: skip


def kernel_evidence(path: str, text: str) -> Evidence:
    """Evidence from /proc, /sys or /dev."""
    return Evidence(kind=EvidenceKind.KERNEL, source=path, text=text[:400])
