"""ELF facts and ld.so.cache against other readers of the same files (pyelftools, ldconfig -p), and against hostile files."""

import os
import random
import re
import resource
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerDefSection, GNUVerNeedSection

from infra_doctor.machine.agent import Agent
from tests.core.machine.libraries import gcc, library, needs_gcc

AGENT = Agent("/")
LIBRARY_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib")

E_MACHINES = {"EM_X86_64": 62, "EM_AARCH64": 183, "EM_386": 3, "EM_PPC64": 21, "EM_S390": 22, "EM_RISCV": 243}
E_TYPES = {"ET_REL": 1, "ET_EXEC": 2, "ET_DYN": 3}


def by_pyelftools(path: str) -> dict[str, Any]:
    """The same facts, read by pyelftools."""
    with Path(path).open("rb") as file:
        elf = ELFFile(file)
        found: dict[str, Any] = {
            "path": os.path.realpath(path), "bits": elf.elfclass, "machine": E_MACHINES[elf.header["e_machine"]],
            "type": E_TYPES[elf.header["e_type"]], "interp": None, "soname": None, "needed": [], "rpath": None,
            "runpath": None, "version_needs": [], "version_defs": [],
        }  # fmt: skip
        for segment in elf.iter_segments():
            if segment.header.p_type == "PT_INTERP":
                found["interp"] = segment.get_interp_name()
            elif isinstance(segment, DynamicSegment):
                for tag in segment.iter_tags():
                    name = tag.entry.d_tag
                    if name == "DT_NEEDED":
                        found["needed"].append(tag.needed)
                    elif name in ("DT_SONAME", "DT_RPATH", "DT_RUNPATH"):
                        found[name[3:].lower()] = getattr(tag, name[3:].lower())
        for section in elf.iter_sections():
            if isinstance(section, GNUVerNeedSection):
                for need, versions in section.iter_versions():
                    strong = [v.name for v in versions if not v.entry.vna_flags & 2]
                    found["version_needs"] += [[need.name, strong]] if strong else []
            elif isinstance(section, GNUVerDefSection):
                found["version_defs"] = [next(names).name for _, names in section.iter_versions()]
        return found


def agrees(path: str) -> None:
    assert AGENT.ask("elf", path) == by_pyelftools(path)


def system_libraries(count: int) -> list[str]:
    paths = [p for folder in LIBRARY_FOLDERS if Path(folder).is_dir() for p in sorted(Path(folder).glob("*.so.*"))]
    chosen = paths[:: max(1, len(paths) // count)]
    return [str(p) for p in chosen if p.is_file() and p.stat().st_size < 8 << 20 and p.read_bytes()[:4] == b"\x7fELF"]


# -- the same facts as another reader -----------------------------------------------------------------------------------


def test_system_libraries_and_programs() -> None:
    paths = system_libraries(60)
    assert len(paths) >= 20
    for path in (*paths, sys.executable, "/bin/sh"):
        agrees(path)


@needs_gcc
@pytest.mark.parametrize("kind", ["rpath", "runpath"])
def test_search_lists_and_versions(tmp_path: Path, kind: str) -> None:
    dep = library(tmp_path / "libdep.so.1", source="int f(void) { return 1; }")
    (tmp_path / "map").write_text("V1 { global: g; }; V2 { } V1;")
    path = library(
        tmp_path / "libx.so.2", dep, source="int f(void); int g(void) { return f(); }",
        flags=(f"-Wl,--version-script,{tmp_path}/map",), **{kind: "$ORIGIN/../lib:/opt/" + "long/" * 1000},
    )  # fmt: skip
    agrees(str(path))
    facts = AGENT.ask("elf", str(path))
    assert facts["soname"] == "libx.so.2"
    assert facts["needed"][0] == "libdep.so.1"
    assert facts["version_defs"] == ["libx.so.2", "V1", "V2"]
    assert facts[kind].startswith("$ORIGIN/../lib:/opt/long/")
    assert facts["rpath" if kind == "runpath" else "runpath"] is None


@needs_gcc
def test_section_headers_are_not_needed(tmp_path: Path) -> None:
    path = library(tmp_path / "libx.so.2", runpath="/opt")
    before = AGENT.ask("elf", str(path))
    data = bytearray(path.read_bytes())
    table, entries = struct.unpack_from("<Q", data, 40)[0], struct.unpack_from("<H", data, 60)[0]
    assert entries > 0
    data[table:] = b"\xff" * (len(data) - table)
    path.write_bytes(data)
    assert AGENT.ask("elf", str(path)) == before


@needs_gcc
def test_static_and_object_files_are_elf_without_dynamic_facts(tmp_path: Path) -> None:
    gcc("-nostdlib", "-static", "-o", str(tmp_path / "static"), source="void _start(void) {}")
    gcc("-c", "-o", str(tmp_path / "object.o"), source="int x;")
    for name, kind in (("static", 2), ("object.o", 1)):
        agrees(str(tmp_path / name))
        facts = AGENT.ask("elf", str(tmp_path / name))
        assert (facts["type"], facts["needed"], facts["interp"], facts["soname"]) == (kind, [], None, None)


def made_elf(*, bits: int, order: str, machine: int) -> bytes:
    """A shared object of any class and byte order: two segments, a dynamic section, no section headers. The string
    table is mapped 0x10000 above its place in the file, so that addresses and offsets cannot be taken for each other."""
    wide = bits == 64
    strings = b"\0libneeded.so.3\0libmade.so.1\0$ORIGIN/deps\0"
    entries = [(1, strings.index(b"libneeded")), (14, strings.index(b"libmade")), (29, strings.index(b"$ORIGIN"))]
    entries += [(5, 0x10000 + 0x400), (10, len(strings)), (0, 0)]
    dynamic = b"".join(struct.pack(order + ("qQ" if wide else "iI"), *entry) for entry in entries)
    head_form, segment_form = ("HHIQQQIHHHHHH", "IIQQQQQQ") if wide else ("HHIIIIIHHHHHH", "IIIIIIII")
    head_bytes = 16 + struct.calcsize(order + head_form)
    segment_bytes = struct.calcsize(order + segment_form)
    head = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    head += struct.pack(order + head_form, 3, machine, 1, 0, head_bytes, 0, 0, head_bytes, segment_bytes, 2, 0, 0, 0)

    def segment(kind: int, offset: int, address: int, length: int) -> bytes:
        if wide:
            return struct.pack(order + segment_form, kind, 4, offset, address, address, length, length, 8)
        return struct.pack(order + segment_form, kind, offset, address, address, length, length, 4, 8)

    head += segment(1, 0, 0x10000, 0x400 + len(strings)) + segment(2, 0x200, 0x10200, len(dynamic))
    return head.ljust(0x200, b"\0") + dynamic.ljust(0x200, b"\0") + strings


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_both_classes_and_byte_orders(tmp_path: Path, bits: int, order: str) -> None:
    machine = {(64, "<"): 183, (64, ">"): 21, (32, "<"): 3, (32, ">"): 22}[bits, order]
    path = tmp_path / "libmade.so"
    path.write_bytes(made_elf(bits=bits, order=order, machine=machine))
    agrees(str(path))
    facts = AGENT.ask("elf", str(path))
    assert (facts["needed"], facts["soname"], facts["runpath"]) == (["libneeded.so.3"], "libmade.so.1", "$ORIGIN/deps")


@needs_gcc
def test_weak_version_needs_are_left_out(tmp_path: Path) -> None:
    dep = tmp_path / "libdep.so"
    (tmp_path / "map").write_text("V1 { global: f; };")
    library(dep, source="int f(void) { return 1; }", flags=(f"-Wl,--version-script,{tmp_path}/map",))
    path = library(tmp_path / "libx.so", dep, source="int f(void); int g(void) { return f(); }")
    assert ["libdep.so", ["V1"]] in AGENT.ask("elf", str(path))["version_needs"]
    with path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".gnu.version_r")
        offset, need = section["sh_offset"], 0
        while "libdep" not in (names := [n.name for n, _ in section.iter_versions()])[need]:
            need += 1
        assert names
    data = bytearray(path.read_bytes())
    for _ in range(need):
        offset += struct.unpack_from("<I", data, offset + 12)[0]
    data[offset + struct.unpack_from("<I", data, offset + 8)[0] + 4] = 2  # VER_FLG_WEAK
    path.write_bytes(data)
    assert all(lib != "libdep.so" for lib, _ in AGENT.ask("elf", str(path))["version_needs"])
    agrees(str(path))


# -- hostile files ------------------------------------------------------------------------------------------------------


def seed_library(tmp_path: Path) -> tuple[bytes, dict[str, Any]]:
    """A small real library with everything in it, and its facts."""
    dep = library(tmp_path / "libdep.so.1", source="int f(void) { return 1; }")
    (tmp_path / "map").write_text("V1 { global: g; };")
    path = library(
        tmp_path / "libseed.so.2", dep, runpath="$ORIGIN", source="int f(void); int g(void) { return f(); }",
        flags=(f"-Wl,--version-script,{tmp_path}/map",),
    )  # fmt: skip
    return path.read_bytes(), AGENT.ask("elf", str(path))


def is_clear_error(answer: Any) -> bool:
    return isinstance(answer, dict) and answer.get("code") == "ENOEXEC" and bool(answer["error"])


@needs_gcc
def test_truncated_at_every_64_bytes(tmp_path: Path) -> None:
    data, facts = seed_library(tmp_path)
    path = tmp_path / "cut.so"
    errors = 0
    for length in range(0, len(data), 64):
        path.write_bytes(data[:length])
        answer = AGENT.ask("elf", str(path))
        if is_clear_error(answer):
            errors += 1
        else:
            # Only section headers and the last, zero-filled page may be gone.
            assert {**answer, "path": facts["path"]} == facts
    assert errors * 64 >= 4096


@needs_gcc
def test_random_byte_flips_end_in_facts_or_one_error(tmp_path: Path) -> None:
    data, _ = seed_library(tmp_path)
    path = tmp_path / "flipped.so"
    path.write_bytes(data)
    with path.open("rb") as file:
        elf = ELFFile(file)
        # Where the structure is: headers, dynamic section, strings, version records.
        places = [range(0x240)]
        for name in (".dynamic", ".dynstr", ".gnu.version_r", ".gnu.version_d"):
            section = elf.get_section_by_name(name)
            places.append(range(section["sh_offset"], section["sh_offset"] + section["sh_size"]))
    chance = random.Random(20240229)
    errors = 0
    for _ in range(1500):
        damaged = bytearray(data)
        for _ in range(chance.choice((1, 2, 8))):
            damaged[chance.choice(chance.choice(places))] = chance.choice((0, 0xFF, 0x80, chance.randrange(256)))
        path.write_bytes(damaged)
        answer = AGENT.ask("elf", str(path))
        assert is_clear_error(answer) or "needed" in answer
        errors += "error" in answer
    assert errors > 100


def test_what_is_no_regular_file_or_not_there(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.so")
    (tmp_path / "folder.so").mkdir()
    (tmp_path / "empty.so").write_bytes(b"")
    (tmp_path / "script.so").write_text("INPUT ( libx.so.1 )")
    (tmp_path / "loop.so").symlink_to("loop.so")
    for name in ("fifo.so", "folder.so", "empty.so", "script.so"):
        assert is_clear_error(AGENT.ask("elf", str(tmp_path / name))), name
    assert is_clear_error(AGENT.ask("elf", "/dev/zero"))
    assert AGENT.ask("elf", str(tmp_path / "loop.so"))["code"] == "ELOOP"
    assert Agent(str(tmp_path)).ask("elf", "/loop.so")["code"] == "ELOOP"
    assert AGENT.ask("elf", str(tmp_path / "none.so")) is None
    assert AGENT.ask("elf", "/etc/passwd/libx.so") is None


def patched(data: bytes, *changes: tuple[int, bytes]) -> bytes:
    out = bytearray(data)
    for at, value in changes:
        out[at : at + len(value)] = value
    return bytes(out)


def made_with_dynamic(entries: list[tuple[int, int]], tail: bytes) -> bytes:
    """made_elf's 64-bit file with another dynamic section at 0x200 and `tail`, mapped at 0x11000, at 0x1000."""
    base = made_elf(bits=64, order="<", machine=62)[:0x200]
    dynamic = b"".join(struct.pack("<qQ", *entry) for entry in entries)
    data = (base + dynamic).ljust(0x1000, b"\0") + tail
    load, section = 64, 64 + 56
    return patched(
        data, (load + 32, struct.pack("<QQ", len(data), len(data))), (section + 32, struct.pack("<Q", len(dynamic)))
    )


def hostile_files() -> dict[str, tuple[bytes, str]]:
    """name -> (content, part of the reason)."""
    base = made_elf(bits=64, order="<", machine=62)
    many = 16000
    return {
        "class": (patched(base, (4, b"\7")), "not known"),
        "headers of another size": (patched(base, (54, b"\x40\0")), "program headers of 64 bytes"),
        "65535 headers": (patched(base, (56, b"\xff\xff")), "65535 program headers"),
        "headers beyond the file": (patched(base, (32, b"\xff" * 8)), "truncated"),
        "interpreter of 4 GB": (patched(base, (64, b"\3"), (64 + 32, struct.pack("<Q", 1 << 32))), "interpreter name"),
        "segment beyond the file": (patched(base, (64 + 32, struct.pack("<Q", 1 << 32))), "truncated: a segment"),
        "dynamic of 4 GB": (patched(base, (120 + 32, struct.pack("<Q", 1 << 32))), "dynamic section of"),
        "no string table": (made_with_dynamic([(1, 1), (0, 0)], b"x\0"), "without a string table"),
        "string beyond the table": (
            made_with_dynamic([(1, 9), (5, 0x11000), (10, 4), (0, 0)], b"abc\0defghijk\0"),
            "string at 9",
        ),
        "string without an end": (made_with_dynamic([(1, 0), (5, 0x11000), (0, 0)], b"a" * 100), "runs over the end"),
        "table in no segment": (made_with_dynamic([(1, 0), (5, 0x99000), (0, 0)], b"a\0"), "in no segment"),
        "a long name many times": (
            made_with_dynamic([(1, 0)] * 180 + [(5, 0x11000), (0, 0)], b"a" * 60000 + b"\0"),
            "strings of more than",
        ),
        "version records without end": (
            made_with_dynamic(
                [(5, 0x11000), (0x6FFFFFFE, 0x11000), (0x6FFFFFFF, 0xFFFFFFFF), (0, 0)],
                struct.pack("<HHIII", 1, 0, 0, 0, 16) * (many * 2),
            ),
            "version records",
        ),
        "definitions without end": (
            made_with_dynamic(
                [(5, 0x11000), (0x6FFFFFFC, 0x11000), (0x6FFFFFFD, 0xFFFFFFFF), (0, 0)],
                struct.pack("<HHHHIII", 1, 0, 0, 0, 0, 0, 20) * (many * 2),
            ),
            "version records",
        ),
        "65535 needs that overlap": (
            made_with_dynamic(
                [(5, 0x11000), (0x6FFFFFFE, 0x11001), (0x6FFFFFFF, 0xFFFF), (0, 0)],
                b"\0" + struct.pack("<HHIII", 1, 0xFFFF, 0, 0, 1) + b"\1\0\0\0" * many,
            ),
            "",
        ),
    }


@pytest.mark.parametrize("name", list(hostile_files()))
def test_hostile_structures(tmp_path: Path, name: str) -> None:
    content, reason = hostile_files()[name]
    path = tmp_path / "libhostile.so"
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF)
    answer = AGENT.ask("elf", str(path))
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert is_clear_error(answer)
    assert reason in answer["error"]
    assert (after.ru_maxrss - before.ru_maxrss) < 64 << 10  # KiB


@needs_gcc
def test_a_library_of_gigabytes_costs_a_few_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, facts = seed_library(tmp_path)
    path = tmp_path / "libhuge.so"
    path.write_bytes(data)
    os.truncate(path, 3 << 30)  # sparse
    read = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda *a: read.append(a[1]) or pread(*a))
    assert AGENT.ask("elf", str(path)) == {**facts, "path": str(path)}
    assert sum(read) <= 12 * 4096


# -- ld.so and its cache ------------------------------------------------------------------------------------------------

LDCONFIG = shutil.which("ldconfig", path="/sbin:/usr/sbin:/usr/bin:/bin")
needs_ldconfig = pytest.mark.skipif(LDCONFIG is None, reason="needs ldconfig")


def by_ldconfig(cache: str) -> list[list[Any]]:
    """What `ldconfig -p` prints of the machine's own architecture."""
    assert LDCONFIG is not None
    done = subprocess.run([LDCONFIG, "-C", cache, "-p"], capture_output=True, text=True, errors="replace", check=True)
    own = {"x86_64": "x86-64", "aarch64": "AArch64"}.get(os.uname().machine, "64bit")
    found: list[list[Any]] = []
    for line in done.stdout.splitlines():
        parts = re.fullmatch(r"\t(\S+) \((.*?)\) => (.*)", line)
        if parts and own in parts[2].split(", ")[0].split(","):
            level = re.search(r'hwcap: "(.*?)"', parts[2])
            found.append([parts[1], parts[3], level[1] if level else None])
    return found


@needs_ldconfig
def test_the_machines_own_cache() -> None:
    if not os.path.exists("/etc/ld.so.cache"):
        pytest.skip("no ld.so.cache here")
    expected = by_ldconfig("/etc/ld.so.cache")
    assert len(expected) > 10
    assert AGENT.ask("ldcache", "/etc/ld.so.cache") == expected


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Caches of both formats over one folder with CPU levels, made by ldconfig under a root of their own."""
    if LDCONFIG is None or shutil.which("gcc") is None:
        pytest.skip("needs ldconfig and gcc")
    root = tmp_path_factory.mktemp("root")
    for sub in ("", "glibc-hwcaps/x86-64-v2", "glibc-hwcaps/x86-64-v3"):
        library(root / "opt" / "lib" / sub / "libleveled.so.1")
    for number in range(12):
        library(root / "opt" / "more" / f"libmore{number}.so.{number}")
    library(root / "opt" / "more" / "libleveled.so.1")
    (root / "etc").mkdir()
    (root / "etc" / "ld.so.conf").write_text("/opt/lib\n/opt/more\n")
    found = {}
    for form in ("new", "compat", "old"):
        done = subprocess.run(
            [LDCONFIG, "-r", str(root), "-X", "-i", "-c", form, "-C", f"/{form}.cache"],
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            pytest.skip("ldconfig -r needs root")
        found[form] = root / f"{form}.cache"
    return found


@pytest.mark.parametrize("form", ["new", "compat"])
def test_cache_formats(caches: dict[str, Path], form: str) -> None:
    expected = by_ldconfig(str(caches[form]))
    found = AGENT.ask("ldcache", str(caches[form]))
    if form == "new":
        assert found == expected
    # ldconfig 2.36 reads the names of CPU levels at the wrong place where the older format stands before the newer.
    assert [entry[:2] for entry in found] == [entry[:2] for entry in expected]
    assert len(found) == 16
    leveled = [entry for entry in found if entry[0] == "libleveled.so.1"]
    assert {entry[2] for entry in leveled} == {"x86-64-v2", "x86-64-v3", None}
    assert [entry[1] for entry in leveled if entry[2] is None] == [
        "/opt/lib/libleveled.so.1",
        "/opt/more/libleveled.so.1",
    ]


def test_cache_of_the_old_format_alone_is_an_error(caches: dict[str, Path]) -> None:
    answer = AGENT.ask("ldcache", str(caches["old"]))
    assert answer["code"] == "EBADMSG"
    assert "format" in answer["error"]


@pytest.mark.parametrize("form", ["new", "compat"])
def test_damaged_caches(caches: dict[str, Path], tmp_path: Path, form: str) -> None:
    data = caches[form].read_bytes()
    path = tmp_path / "ld.so.cache"
    chance = random.Random(3)
    for length in range(0, len(data) - 700, 16):
        path.write_bytes(data[:length])
        assert AGENT.ask("ldcache", str(path))["code"] == "EBADMSG"
    for _ in range(500):
        damaged = bytearray(data)
        for _ in range(3):
            damaged[chance.randrange(min(len(data), 1200))] = chance.randrange(256)
        path.write_bytes(damaged)
        answer = AGENT.ask("ldcache", str(path))
        assert isinstance(answer, list) or answer["code"] == "EBADMSG"
    os.mkfifo(tmp_path / "fifo")
    assert AGENT.ask("ldcache", str(tmp_path / "fifo"))["error"] == "ld.so.cache: not a regular file"
    assert AGENT.ask("ldcache", str(tmp_path / "none")) is None


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        ([0x0303, 0x0303, 0x0003], [0, 1]),
        ([0x0A03, 0x0903, 0x0903, 0x0903], [0]),
        ([0x0003, 0x0003, 0x0803], [0, 1]),
        ([0x1003], [0]),
        ([0x0001, 0x0000], []),
    ],
)
def test_the_machines_own_architecture_is_taken(tmp_path: Path, flags: list[int], kept: list[int]) -> None:
    texts = b"".join(b"lib%d.so\0" % number for number in range(len(flags)))
    start = 48 + 24 * len(flags)
    entries = b"".join(struct.pack("<iIIIQ", f, start + 8 * n, start + 8 * n, 0, 0) for n, f in enumerate(flags))
    head = b"glibc-ld.so.cache1.1" + struct.pack("<IIB3xI12x", len(flags), len(texts), 2, 0)
    (tmp_path / "cache").write_bytes(head + entries + texts)
    assert AGENT.ask("ldcache", str(tmp_path / "cache")) == [[f"lib{n}.so", f"lib{n}.so", None] for n in kept]


def test_what_is_compiled_into_ld_so() -> None:
    interp = (AGENT.ask("elf", sys.executable) or {}).get("interp")
    if not interp or "ld-linux" not in interp:
        pytest.skip("this Python is not started by glibc's ld.so")
    facts = AGENT.ask("ldso", interp)
    shown = subprocess.run([interp, "--help"], capture_output=True, text=True, check=False).stdout
    directories = re.findall(r"^  (/\S+) \(system search path\)", shown, re.MULTILINE)
    if not directories:
        pytest.skip("this ld.so does not print its search path")
    assert facts["directories"] == directories
    assert facts["cache"] == "/etc/ld.so.cache"
    assert facts["version"] == os.confstr("CS_GNU_LIBC_VERSION").split()[1]  # type: ignore[union-attr]
    assert AGENT.ask("ldso", "/etc/passwd") == {"version": None, "directories": None, "cache": None}
    assert AGENT.ask("ldso", "/dev/zero")["error"]


def test_other_ld_so_files(tmp_path: Path) -> None:
    path = tmp_path / "ld.so"
    store = b"/nix/store/abc-glibc-2.40/lib/\0"
    path.write_bytes(b"x/lib\0garbage\1" * 9 + store + b"\0/etc/ld.so.cache\0stable release version 2.40.\0")
    facts = {"version": "2.40", "directories": ["/nix/store/abc-glibc-2.40/lib"], "cache": "/etc/ld.so.cache"}
    assert AGENT.ask("ldso", str(path)) == facts
    path.write_bytes(b"/lib" * (1 << 20))
    assert AGENT.ask("ldso", str(path)) == {"version": None, "directories": None, "cache": None}
