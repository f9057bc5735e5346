"""Where glibc's loader looks: search lists with their tokens expanded, sub-directories for CPU levels, ld.so.cache and
the directories compiled into ld.so.

Facts: glibc, elf/dl-load.c (fillin_rpath, _dl_init_paths, open_path), elf/dl-cache.c, elf/dl-hwcaps_subdirs.c,
sysdeps/x86/cpu-features.c; ld.so(8); x86-64 psABI for the CPU levels."""

import posixpath
import re

from infra_doctor.machine.machine import Machine
from infra_doctor.machine.types import CacheEntry, Elf
from infra_doctor.model.record import record

_X86_64 = 62
_PLATFORMS = {
    _X86_64: "x86_64", 183: "aarch64", 21: "powerpc64le", 22: "s390x", 243: "riscv64", 258: "loongarch64",
}  # fmt: skip

# Each level needs those below it. The names are those of /proc/cpuinfo (abm: LZCNT, pni: SSE3).
_LEVELS = (
    ("x86-64-v2", "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"),
    ("x86-64-v3", "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"),
    ("x86-64-v4", "avx512f avx512bw avx512cd avx512dq avx512vl"),
)
# What Intel's older sub-directories needed, until glibc 2.36.
_HASWELL = ("avx2", "bmi1", "bmi2", "abm", "movbe", "popcnt", "fma")
_AVX512_1 = ("avx512cd", "avx512bw", "avx512dq", "avx512vl")
_XEON_PHI = ("avx512cd", "avx512er", "avx512pf")
_CPUINFO_BYTES = 8192  # the first processor; the whole is 300 KiB on a large machine, and slow to make


@record
class Place:
    """One directory of a search list, absolute, as the loader spells it, and how to say where it comes from."""

    directory: str
    via: str


@record
class Variant:
    """A directory or its sub-directory for this CPU. `names` is None where the directory cannot be listed."""

    directory: str
    names: frozenset[str] | None
    remark: str  # for `via`, with a space before it


def expand_tokens(text: str, *, origin: str, lib: str, platform: str) -> str:
    """`$ORIGIN`, `$LIB`, `$PLATFORM`, also in braces; any other `$` stays as it is."""
    if "$" not in text:
        return text
    values = {"ORIGIN": origin, "LIB": lib, "PLATFORM": platform}
    return re.sub(
        r"\$(?:(ORIGIN|LIB|PLATFORM)(?![A-Za-z0-9_])|\{(ORIGIN|LIB|PLATFORM)\})",
        lambda found: values[found[1] or found[2]],
        text,
    )


class SearchPath:
    """What is the same for all processes that one ld.so starts: its default directories, cache and CPU levels."""

    def __init__(self, machine: Machine, program: Elf) -> None:
        self._machine = machine
        self._program = program
        found = machine.ask("ldso", program.interp) if program.interp else None
        facts = found if isinstance(found, dict) and "error" not in found else {}
        version = str(facts.get("version") or "").partition(".")[2]
        self.glibc_minor = int(version) if version.isdigit() else None  # 36 for glibc 2.36
        directories = tuple(facts.get("directories") or self._usual_directories())
        self.defaults = tuple(Place(directory=d, via=f"default directory {d}") for d in directories)
        # glibc takes $LIB and the first default directory from one setting, slibdir.
        self.lib = directories[0][directories[0].rfind("/lib") + 1 :]
        # An Intel CPU of Haswell's level or newer has $PLATFORM "haswell"; nobody is known to rely on it.
        self.platform = _PLATFORMS.get(program.machine, "")
        self.cache_path = str(facts.get("cache") or "/etc/ld.so.cache")
        self._cache: dict[str, list[CacheEntry]] | None = None
        self.cache_problem = ""
        self._variants: dict[str, tuple[Variant, ...]] = {}
        self._cpu: frozenset[str] | None = None

    # -- directories ----------------------------------------------------------------------------------------------

    def _usual_directories(self) -> tuple[str, ...]:
        """Where ld.so itself cannot be read: the layout told by where libc is."""
        multiarch = _PLATFORMS.get(self._program.machine, "?") + "-linux-gnu"
        if any(self._machine.is_file(f"{base}/{multiarch}/libc.so.6") for base in ("/lib", "/usr/lib")):
            return (f"/lib/{multiarch}", f"/usr/lib/{multiarch}", "/lib", "/usr/lib")
        return ("/lib64", "/usr/lib64", "/lib", "/usr/lib")

    def places(self, text: str | None, *, origin: str, source: str, owner: str = "") -> tuple[list[Place], list[str]]:
        """The absolute directories of a search list, and those entries that mean the current directory or lie below
        it, which is not known here. `via` becomes source, the entry as written, owner."""
        found: list[Place] = []
        relative: list[str] = []
        for entry in text.split(":") if text else ():
            directory = expand_tokens(entry, origin=origin, lib=self.lib, platform=self.platform)
            if directory.startswith("/"):
                found.append(Place(directory=directory.rstrip("/") or "/", via=f"{source} {entry}{owner}"))
            else:
                relative.append(entry)
        return found, relative

    def variants(self, directory: str) -> tuple[Variant, ...]:
        """The directory itself, last, after those of its sub-directories that this CPU and this glibc search first."""
        found = self._variants.get(directory)
        if found is None:
            names = self._names(directory)
            remark = ""
            searched: list[Variant] = []
            for sub in self._subdirectories(names or frozenset()):
                sub_names = self._names(posixpath.join(directory, sub))
                if sub_names != frozenset():
                    searched.append(
                        Variant(directory=posixpath.join(directory, sub), names=sub_names, remark=f" ({sub})")
                    )
            if names and "glibc-hwcaps" in names and self._levels() is None:
                remark = " (CPU not known: glibc-hwcaps left out)"
            found = (*searched, Variant(directory=directory, names=names, remark=remark))
            self._variants[directory] = found
        return found

    def _names(self, directory: str) -> frozenset[str] | None:
        found = self._machine.ask("list", directory)
        if isinstance(found, dict):
            return None
        return frozenset(name for name, _ in found or ())

    def _subdirectories(self, names: frozenset[str]) -> list[str]:
        found = []
        if "glibc-hwcaps" in names and (self.glibc_minor is None or self.glibc_minor >= 33):
            found += [f"glibc-hwcaps/{level}" for level in self._levels() or ()]
        # Until glibc 2.36 every combination of these, in this order; most machines have none of them.
        legacy = self._legacy_names() if names & {"tls", "x86_64", "haswell", "xeon_phi", "avx512_1"} else ()
        for mask in range((1 << len(legacy)) - 1, 0, -1):
            parts = [name for at, name in enumerate(reversed(legacy)) if mask >> at & 1]
            found.append("/".join(reversed(parts)))
        return list(dict.fromkeys(found))

    # -- the CPU --------------------------------------------------------------------------------------------------

    def _cpu_flags(self) -> frozenset[str]:
        """The first processor's flags and vendor; empty where they are not known."""
        if self._cpu is None:
            found: dict[str, list[str]] = {}
            text = self._machine.read_text("/proc/cpuinfo", max_bytes=_CPUINFO_BYTES, quiet=True) or ""
            for line in text.split("\n"):
                key, _, value = line.partition(":")
                found.setdefault(key.strip(), value.split())
            self._cpu = frozenset((*found["flags"], *found.get("vendor_id", ()))) if "flags" in found else frozenset()
        return self._cpu

    def _levels(self) -> tuple[str, ...] | None:
        """The glibc-hwcaps names that this CPU has, best first; None where that is not known."""
        flags = self._cpu_flags()
        if self._program.machine != _X86_64 or not flags:
            return None
        found: list[str] = []
        for level, needed in _LEVELS:
            if not flags.issuperset(needed.split()):
                break
            found.insert(0, level)
        return tuple(found)

    def _legacy_names(self) -> tuple[str, ...]:
        flags = self._cpu_flags()
        if self._program.machine != _X86_64 or not flags or self.glibc_minor is None or self.glibc_minor >= 37:
            return ()
        names = ["tls", "x86_64", "x86_64"]
        if "GenuineIntel" in flags:
            if flags.issuperset(_XEON_PHI):
                names[1] = "xeon_phi"
            elif flags.issuperset(_HASWELL):
                names[1] = "haswell"
            if flags.issuperset(_AVX512_1) and "avx512er" not in flags:
                names.insert(2, "avx512_1")
        return tuple(names)

    # -- ld.so.cache ----------------------------------------------------------------------------------------------

    def cached(self, name: str) -> Place | None:
        """The file that the cache gives for a soname (`directory` is its path): best CPU level first, else the first
        entry. Where the cache is there and cannot be read, `cache_problem` says so."""
        if self._cache is None:
            self._cache = self._read_cache()
        entries = self._cache.get(name, ())
        base = next((entry for entry in entries if not entry.hwcap), None)
        special = {entry.hwcap: entry for entry in reversed(entries) if entry.hwcap}
        levels = self._levels() if special else ()
        for level in levels or ():
            if level in special:
                return Place(directory=special[level].path, via=f"ld.so.cache (glibc-hwcaps/{level})")
        if base is None:
            return None
        remark = " (CPU not known: glibc-hwcaps left out)" if levels is None else ""
        return Place(directory=base.path, via=f"ld.so.cache{remark}")

    def _read_cache(self) -> dict[str, list[CacheEntry]]:
        found: dict[str, list[CacheEntry]] = {}
        answer = self._machine.ask("ldcache", self.cache_path)
        if isinstance(answer, dict):
            self.cache_problem = f"{self.cache_path}: {answer.get('error')}"
        for entry in self._machine.linker_cache(self.cache_path, quiet=True) or ():
            found.setdefault(entry.soname, []).append(entry)
        return found
