"""Which copy of a library the real loader takes: glibc's algorithm over files, without loading anything.

Facts: glibc, elf/dl-load.c (_dl_map_object, open_verify), elf/dl-deps.c, elf/dl-open.c, elf/rtld.c, elf/dl-version.c;
ld.so(8). Left out, as nothing in this field is known to use it: DF_1_NODEFLIB, DT_FILTER and DT_AUXILIARY, LD_AUDIT,
name spaces of dlmopen, GLIBC_TUNABLES."""

import posixpath
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from infra_doctor.machine.machine import Machine
from infra_doctor.machine.search_path import Place, SearchPath, expand_tokens
from infra_doctor.machine.types import Elf, MachineForm
from infra_doctor.model.record import record

_GLIBC_LOADERS = ("ld-linux", "ld64.so.", "ld.so.1", "ld-2.")


@record
class LoadedObject:
    """One object of the simulated process. `requested` is what was asked for (a soname or a path), `via` why this copy
    was taken, `by` the path of the object that asked."""

    path: str  # as found by the loader
    real_path: str
    soname: str | None
    requested: str
    via: str
    by: str


@record
class Resolution:
    """The answer for one `load`: what was newly loaded (breadth first, the object itself first) and what is missing.
    `missing` holds (soname, path of the object that needs it, directories searched), `broken` (path, path of the object
    that needs it, reason): the loader found that file and gives up there. With either of them a dlopen fails: `object`
    is None and what stands in `loaded` was let go again."""

    object: LoadedObject | None
    loaded: tuple[LoadedObject, ...]
    missing: tuple[tuple[str, str, tuple[str, ...]], ...]
    unknown: str = ""  # why nothing can be said (musl, foreign architecture, unreadable cache)
    broken: tuple[tuple[str, str, str], ...] = ()


@record
class _Node:
    """A loaded object with what the search of others needs of it."""

    object: LoadedObject
    elf: Elf
    parent: "_Node | None"  # the object that asked for it
    rpath: tuple[Place, ...]
    runpath: tuple[Place, ...]


@record
class _Refused:
    """A file that is there and is not taken. `fatal` ends the search; else the loader looks on."""

    reason: str
    fatal: bool


@dataclass(kw_only=True, slots=True)
class _Outcome:
    missing: list[tuple[str, str, tuple[str, ...]]] = field(default_factory=list)
    broken: list[tuple[str, str, str]] = field(default_factory=list)
    unknown: str = ""


class Loader:
    """A simulated process: what is loaded stays loaded, and a soname that is loaded wins.

    `startup` is what the program itself loads; `unknown` says why nothing can be said of it (musl, statically linked,
    not readable); `notes` name search entries that depend on the current directory and preloads that are ignored."""

    def __init__(
        self, machine: Machine, executable: str, *, ld_library_path: str | None, ld_preload: str | None = None
    ) -> None:
        self._machine = machine
        self._nodes: list[_Node] = []
        self._by_name: dict[str, _Node] = {}
        self._by_file: dict[str, _Node] = {}
        self._library_path: tuple[Place, ...] = ()
        self.notes: tuple[str, ...] = ()
        self.unknown = ""
        self.startup = Resolution(object=None, loaded=(), missing=())
        elf = machine.elf(executable)
        if elf is None:
            self.unknown = f"{executable} is no readable ELF file"
        elif elf.interp is None and not elf.needed:
            self.unknown = f"{executable} is statically linked"
        elif elf.interp is not None and not posixpath.basename(elf.interp).startswith(_GLIBC_LOADERS):
            self.unknown = f"{executable} is started by {elf.interp}, which is not glibc's loader"
        if elf is None or self.unknown:
            self.startup = Resolution(object=None, loaded=(), missing=(), unknown=self.unknown)
            return
        program = elf
        key = ("loader search path", elf.interp, elf.bits, elf.machine)
        self._search_path: SearchPath = machine.memo(key, lambda: SearchPath(machine, program))
        self._start(executable, elf, ld_library_path, ld_preload)

    # -- what callers ask -----------------------------------------------------------------------------------------

    def load(self, name: str, *, by: str | None = None, how: Literal["dlopen", "needed"] = "dlopen") -> Resolution:
        """dlopen a soname or a path, as the object at path `by` (None: the executable) would. A dlopen that fails
        leaves nothing behind; "needed" is a dependency at start: what is found stays, as `ldd` shows it."""
        if self.unknown:
            return Resolution(object=None, loaded=(), missing=(), unknown=self.unknown)
        requester = self._nodes[0] if by is None else self._node(by)
        if requester is None:
            return Resolution(object=None, loaded=(), missing=(), unknown=f"{by} is not loaded")
        before = (self._nodes.copy(), self._by_name.copy(), self._by_file.copy())
        outcome = _Outcome()
        node = self._map(self._expand(name, requester), requester, outcome)
        is_new = len(self._nodes) > len(before[0])
        if node is not None and is_new:
            self._map_needed([node], outcome)
        loaded = tuple(n.object for n in self._nodes[len(before[0]) :])
        found = None
        if outcome.missing or outcome.broken:
            if how == "dlopen":
                self._nodes, self._by_name, self._by_file = before
        elif node is not None:
            found = node.object if is_new else replace(
                node.object, requested=name, via="already loaded", by=requester.object.path
            )  # fmt: skip
        return self._resolution(found, loaded, outcome)

    @property
    def objects(self) -> tuple[LoadedObject, ...]:
        """All that is loaded, in order: the program, its ld.so, preloads, then breadth first."""
        return tuple(node.object for node in self._nodes)

    def find(self, name: str) -> LoadedObject | None:
        """The loaded object that a soname or a path (as found, or real) stands for in this process."""
        node = self._node(name)
        return None if node is None else node.object

    def copy(self) -> "Loader":
        """Another process in the same state: for trying one load without the other."""
        clone = object.__new__(Loader)
        clone.__dict__.update(self.__dict__)
        clone._nodes, clone._by_name, clone._by_file = self._nodes.copy(), self._by_name.copy(), self._by_file.copy()
        return clone

    # -- the start of the program ---------------------------------------------------------------------------------

    def _start(self, executable: str, elf: Elf, ld_library_path: str | None, ld_preload: str | None) -> None:
        outcome = _Outcome()
        # The real path: the kernel's /proc/self/exe is what a program's $ORIGIN means.
        program = self._add(elf.path, elf, executable, "the program", None)
        # glibc takes semicolons here too, and expands tokens for the program.
        places, relative = self._search_path.places(
            (ld_library_path or "").replace(";", ":"), origin=posixpath.dirname(elf.path), source="LD_LIBRARY_PATH"
        )
        self._library_path = tuple(places)
        self._note_relative("LD_LIBRARY_PATH", relative)
        interp = None if elf.interp is None else self._open(elf.interp, outcome)
        if isinstance(interp, Elf):
            self._name(self._add(elf.interp or "", interp, elf.interp or "", "the program's interpreter", program))
        elif elf.interp is not None:
            outcome.missing.append((elf.interp, elf.path, ()))
        preloaded = []
        system_preload = self._machine.read_text("/etc/ld.so.preload", max_bytes=65536, quiet=True) or ""
        for source, text in (("LD_PRELOAD", ld_preload or ""), ("/etc/ld.so.preload", system_preload)):
            for name in text.replace(":", " ").split():
                before = len(self._nodes)
                ignored = _Outcome()
                node = self._map(self._expand(name, program), program, ignored, via=source)
                if node is None:
                    self.notes += (f"{source}: {name} cannot be preloaded, the loader ignores it",)
                elif len(self._nodes) > before:
                    preloaded.append(node)
        self._map_needed([program, *preloaded], outcome)
        self.startup = self._resolution(program.object, self.objects, outcome)

    def _note_relative(self, source: str, entries: Iterable[str]) -> None:
        for entry in dict.fromkeys(entries):
            what = f"entry {entry!r}" if entry else "empty entry"
            self.notes += (f"{source}: {what} means the current directory, which is not known here; passed over",)

    # -- one object -----------------------------------------------------------------------------------------------

    def _map(self, name: str, requester: _Node, outcome: _Outcome, via: str = "") -> _Node | None:
        """_dl_map_object: the object of that name, loaded now or before; None where it is missing or broken."""
        known = self._by_name.get(name)
        if known is not None:
            return known
        found = self._at_path(name, requester, outcome) if "/" in name else self._search(name, requester, outcome)
        if found is None:
            return None
        path, elf, found_via = found
        file_id = self._file_id(path, elf)
        node = self._by_file.get(file_id)
        if node is None:
            node = self._add(path, elf, name, f"{via}, {found_via}" if via else found_via, requester)
            self._by_file[file_id] = node
            self._name(node)
        self._by_name.setdefault(name, node)
        return node

    def _map_needed(self, queue_start: list[_Node], outcome: _Outcome) -> None:
        """_dl_map_object_deps: DT_NEEDED of these objects, breadth first."""
        queue = deque(queue_start)
        while queue:
            node = queue.popleft()
            for name in node.elf.needed:
                before = len(self._nodes)
                found = self._map(self._expand(name, node), node, outcome)
                if found is not None and len(self._nodes) > before:
                    queue.append(found)

    def _search(self, name: str, requester: _Node, outcome: _Outcome) -> tuple[str, Elf, str] | None:
        """A name without a slash: search lists, cache, default directories. (path, ELF, via)."""
        tried: dict[str, None] = {}
        found = (
            self._in_places(name, self._lists(requester), tried, outcome)
            or self._in_cache(name, outcome)
            or self._in_places(name, self._search_path.defaults, tried, outcome)
        )
        if found is None:
            outcome.missing.append((name, requester.object.path, tuple(tried)))
            return None
        path, elf, via = found
        if isinstance(elf, _Refused):
            outcome.broken.append((path, requester.object.path, elf.reason))
            return None
        return path, elf, via

    def _lists(self, requester: _Node) -> Iterator[Place]:
        """The search lists in glibc's order. An object's RPATH counts only without a RUNPATH of its own, and is handed
        down to what it loads; a RUNPATH is not."""
        if requester.elf.runpath is None:
            node: _Node | None = requester
            while node is not None:
                yield from node.rpath
                node = node.parent
        yield from self._library_path
        yield from requester.runpath

    def _in_places(
        self, name: str, places: Iterable[Place], tried: dict[str, None], outcome: _Outcome
    ) -> tuple[str, Elf | _Refused, str] | None:
        for place in places:
            tried[place.directory] = None
            for variant in self._search_path.variants(place.directory):
                if variant.names is not None and name not in variant.names:
                    continue
                path = posixpath.join(variant.directory, name)
                answer = self._open(path, outcome)
                if isinstance(answer, Elf) or (answer is not None and answer.fatal):
                    return path, answer, place.via + variant.remark
        return None

    def _in_cache(self, name: str, outcome: _Outcome) -> tuple[str, Elf | _Refused, str] | None:
        cached = self._search_path.cached(name)
        outcome.unknown = outcome.unknown or self._search_path.cache_problem
        answer = None if cached is None else self._open(cached.directory, outcome)
        if cached is None or answer is None or (isinstance(answer, _Refused) and not answer.fatal):
            return None
        return cached.directory, answer, cached.via

    def _at_path(self, path: str, requester: _Node, outcome: _Outcome) -> tuple[str, Elf, str] | None:
        if not path.startswith("/"):
            outcome.unknown = outcome.unknown or f"{path} depends on the current directory"
            return None
        answer = self._open(path, outcome)
        if isinstance(answer, Elf):
            return path, answer, "path given"
        if answer is None:
            outcome.missing.append((path, requester.object.path, ()))
        else:
            outcome.broken.append((path, requester.object.path, answer.reason))
        return None

    def _open(self, path: str, outcome: _Outcome) -> Elf | _Refused | None:
        """open_verify: another class or machine, or no permission, is passed over; what is no ELF file at all is not."""
        answer = self._machine.ask("elf", path)
        if answer is None:
            # A snapshot may list a file without holding its ELF facts.
            if self._machine.form == MachineForm.REPLAYED and self._machine.exists(path):
                outcome.unknown = outcome.unknown or f"{path} is not in this snapshot"
            return None
        if "error" in answer:
            code = answer.get("code")
            if code != "ELOOP":
                self._machine.note_problem(path, str(answer["error"]))
            if code == "EACCES" and self._machine.form == MachineForm.ROOTED:
                # What may not be read by us may be read by whoever runs on that machine.
                outcome.unknown = outcome.unknown or f"{path}: {answer['error']}"
            return _Refused(reason=str(answer["error"]), fatal=code not in {"EACCES", "ELOOP"})
        elf = self._machine.elf(path)
        if elf is None:
            return None
        if self._nodes and (elf.bits, elf.machine) != (self._nodes[0].elf.bits, self._nodes[0].elf.machine):
            return _Refused(reason=f"{elf.bits}-bit, ELF machine {elf.machine}: of another architecture", fatal=False)
        if elf.type not in (2, 3):
            return _Refused(reason="neither a program nor a shared object", fatal=True)
        return elf

    def _add(self, path: str, elf: Elf, requested: str, via: str, parent: _Node | None) -> _Node:
        found = LoadedObject(
            path=path, real_path=elf.path, soname=elf.soname, requested=requested, via=via,
            by=parent.object.path if parent else "",
        )  # fmt: skip
        origin, owner = posixpath.dirname(path), f" of {posixpath.basename(path)}"
        rpath, relative = self._search_path.places(
            elf.rpath if elf.runpath is None else None, origin=origin, source="RPATH", owner=owner
        )
        runpath, also_relative = self._search_path.places(elf.runpath, origin=origin, source="RUNPATH", owner=owner)
        self._note_relative(f"search list of {path}", relative + also_relative)
        node = _Node(object=found, elf=elf, parent=parent, rpath=tuple(rpath), runpath=tuple(runpath))
        self._nodes.append(node)
        return node

    def _name(self, node: _Node) -> None:
        """The names under which a loaded object is found again; the first object of a name keeps it."""
        for name in (node.object.path, node.object.soname):
            if name is not None:
                self._by_name.setdefault(name, node)

    def _file_id(self, path: str, elf: Elf) -> str:
        found = self._machine.stat(path)
        return elf.path if found is None else found.file_id

    def _node(self, name: str) -> _Node | None:
        known = self._by_name.get(name)
        if known is not None:
            return known
        return next((n for n in self._nodes if name in (n.object.path, n.object.real_path, n.object.requested)), None)

    def _expand(self, text: str, node: _Node) -> str:
        if "$" not in text:
            return text
        return expand_tokens(
            text, origin=posixpath.dirname(node.object.path), lib=self._search_path.lib,
            platform=self._search_path.platform,
        )  # fmt: skip

    @staticmethod
    def _resolution(found: LoadedObject | None, loaded: tuple[LoadedObject, ...], outcome: _Outcome) -> Resolution:
        return Resolution(
            object=found, loaded=loaded, missing=tuple(outcome.missing), unknown=outcome.unknown,
            broken=tuple(outcome.broken),
        )  # fmt: skip


def unmet_versions(machine: Machine, objects: Iterable[LoadedObject]) -> tuple[tuple[str, str, str], ...]:
    """(object path, library, version) for each version that a loaded object needs and its loaded library does not
    define: the loader then ends with "version `…' not found". As there, a library without version definitions is not
    judged, and neither is one that is not among `objects`."""
    elfs = [(found, machine.elf(found.path, quiet=True)) for found in objects]
    defined: dict[str, frozenset[str]] = {}
    for found, elf in elfs:
        versions = frozenset(elf.version_defs if elf is not None else ())
        for name in (found.soname, found.requested):
            if name is not None:
                defined.setdefault(name, versions)
    unmet = []
    for found, elf in elfs:
        for library, versions_needed in elf.version_needs if elf is not None else ():
            versions = defined.get(library) or frozenset()
            unmet += [(found.path, library, v) for v in versions_needed if versions and v not in versions]
    return tuple(unmet)
