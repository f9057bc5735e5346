"""The simulated loader against the real one: each layout is built, run and predicted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra_doctor.machine.agent import Agent
from infra_doctor.machine.collect import Collector
from infra_doctor.machine.forms import Replay
from infra_doctor.machine.loader import Loader, unmet_versions
from infra_doctor.machine.machine import Machine
from infra_doctor.machine.types import Capability, MachineForm
from tests.core.machine.libraries import (
    OPENER,
    check_run,
    foreign_header,
    gcc,
    library,
    live,
    needs_gcc,
    needs_x86_64,
    program,
    simulated_run,
    traced,
)

pytestmark = needs_gcc


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program without any search list."""
    return program(tmp_path_factory.mktemp("plain") / "plain")


def taken(loader: Loader, soname: str) -> tuple[str, str]:
    found = loader.find(soname)
    assert found is not None
    return found.path, found.via


# -- search lists -------------------------------------------------------------------------------------------------------


def test_rpath_is_inherited_and_runpath_is_not(tmp_path: Path) -> None:
    inner = library(tmp_path / "lib" / "libinner.so")
    outer = library(tmp_path / "lib" / "libouter.so", inner)
    old = program(tmp_path / "old", outer, rpath="$ORIGIN/lib")
    loader = check_run(old)
    assert taken(loader, "libinner.so") == (str(inner), "RPATH $ORIGIN/lib of old")
    new = program(tmp_path / "new", outer, runpath="$ORIGIN/lib")
    loader = Loader(live(), str(new), ld_library_path=None)
    assert traced(new)["libinner.so"] is None
    assert [(name, by) for name, by, _ in loader.startup.missing] == [("libinner.so", str(outer))]
    assert loader.startup.object is not None  # the program itself; what it lacks stands in `missing`
    assert taken(loader, "libouter.so")[1] == "RUNPATH $ORIGIN/lib of new"


def test_a_runpath_of_its_own_cuts_a_library_off_from_inherited_rpaths(tmp_path: Path) -> None:
    inner = library(tmp_path / "lib" / "libinner.so")
    outer = library(tmp_path / "lib" / "libouter.so", inner, runpath=str(tmp_path / "elsewhere"))
    exe = program(tmp_path / "exe", outer, rpath=str(tmp_path / "lib"))
    loader = Loader(live(), str(exe), ld_library_path=None)
    assert traced(exe)["libinner.so"] is None
    missing = loader.startup.missing
    assert [m[0] for m in missing] == ["libinner.so"]
    assert missing[0][2][0] == str(tmp_path / "elsewhere")
    assert str(tmp_path / "lib") not in missing[0][2]


def test_an_ancestor_with_runpath_does_not_end_the_rpath_chain(tmp_path: Path) -> None:
    low = library(tmp_path / "lib" / "liblow.so")
    middle = library(tmp_path / "lib" / "libmiddle.so", low)
    high = library(tmp_path / "lib" / "libhigh.so", middle, runpath=str(tmp_path / "lib"))
    exe = program(tmp_path / "exe", high, rpath=str(tmp_path / "lib"))
    loader = check_run(exe)
    assert taken(loader, "liblow.so")[1] == f"RPATH {tmp_path}/lib of exe"


@pytest.mark.parametrize(("kind", "winner"), [("rpath", "own"), ("runpath", "env")])
def test_library_path_stands_between_rpath_and_runpath(tmp_path: Path, kind: str, winner: str) -> None:
    own = library(tmp_path / "own" / "libx.so")
    library(tmp_path / "env" / "libx.so")
    exe = program(tmp_path / "exe", own, **{kind: str(tmp_path / "own")})
    loader = check_run(exe, LD_LIBRARY_PATH=str(tmp_path / "env"))
    path, via = taken(loader, "libx.so")
    assert path == str(tmp_path / winner / "libx.so")
    assert via == (f"RPATH {tmp_path}/own of exe" if kind == "rpath" else f"LD_LIBRARY_PATH {tmp_path}/env")


def test_library_path_entries_that_are_not_there_slashes_and_semicolons(tmp_path: Path, plain: Path) -> None:
    library(tmp_path / "b" / "libx.so")
    library(tmp_path / "c" / "libx.so")
    file = tmp_path / "file"
    file.write_text("not a folder")
    path = f"{tmp_path}/none;{file}:{tmp_path}//b///:{tmp_path}/c"
    loader = check_run(plain, "libx.so", LD_LIBRARY_PATH=path)
    found = loader.find("libx.so")
    assert found is not None
    assert found.real_path == str(tmp_path / "b" / "libx.so")
    assert loader.notes == ()


def test_empty_and_relative_entries_are_named_and_passed_over(tmp_path: Path, plain: Path) -> None:
    library(tmp_path / "libx.so")
    loader = Loader(live(), str(plain), ld_library_path=f"::sub:{tmp_path}")
    assert taken(loader.copy(), "libc.so.6")[0].startswith("/")
    assert loader.load("libx.so").object is not None
    assert len(loader.notes) == 2
    assert "LD_LIBRARY_PATH: empty entry" in loader.notes[0]
    assert "'sub'" in loader.notes[1]


def test_origin_is_the_folder_as_found_not_the_real_one(tmp_path: Path, plain: Path) -> None:
    inner = library(tmp_path / "real" / "libinner.so")
    library(tmp_path / "real" / "libouter.so", inner, runpath="$ORIGIN")
    library(tmp_path / "links" / "libinner.so")
    (tmp_path / "links" / "libouter.so").symlink_to("../real/libouter.so")
    loader = check_run(plain, str(tmp_path / "links" / "libouter.so"))
    assert taken(loader, "libinner.so")[0] == str(tmp_path / "links" / "libinner.so")
    loader = check_run(plain, str(tmp_path / "real" / "libouter.so"))
    assert taken(loader, "libinner.so")[0] == str(tmp_path / "real" / "libinner.so")


def test_origin_of_a_program_is_its_real_folder(tmp_path: Path) -> None:
    x = library(tmp_path / "real" / "lib" / "libx.so")
    exe = program(tmp_path / "real" / "bin" / "exe", x, runpath="${ORIGIN}/../lib")
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "exe").symlink_to(exe)
    loader = check_run(tmp_path / "venv" / "exe")
    assert taken(loader, "libx.so") == (f"{tmp_path}/real/bin/../lib/libx.so", "RUNPATH ${ORIGIN}/../lib of exe")


def test_symlinked_directories(tmp_path: Path, plain: Path) -> None:
    inner = library(tmp_path / "real" / "deep" / "libinner.so")
    library(tmp_path / "real" / "libouter.so", inner, runpath="$ORIGIN/../real/deep:$ORIGIN/deep")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "link2").symlink_to(tmp_path / "link")
    loader = check_run(plain, f"{tmp_path}/link2/libouter.so", f"{tmp_path}/real/libouter.so")
    assert len(loader.objects) == len({found.real_path for found in loader.objects})


def test_lib_and_platform_tokens(tmp_path: Path, plain: Path) -> None:
    probe = Loader(live(), str(plain), ld_library_path=None)
    for folder in ("lib", "lib64", f"lib/{os.uname().machine}-linux-gnu"):
        library(tmp_path / folder / "libx.so")
    loader = check_run(plain, "libx.so", LD_LIBRARY_PATH=f"{tmp_path}/$LIB")
    assert loader.find("libx.so") is not None
    assert probe.find("libx.so") is None
    # A token that is only the beginning of a longer name is none.
    check_run(plain, "libx.so", LD_LIBRARY_PATH=f"{tmp_path}/$LIBRARY:{tmp_path}/${{LIB}}")


# -- what is loaded already ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_a_loaded_soname_wins_so_order_decides(tmp_path: Path, plain: Path, order: tuple[str, str]) -> None:
    for folder in "ab":
        dep = library(tmp_path / folder / "libdep.so.1")
        library(tmp_path / folder / f"lib{folder}.so", dep, runpath="$ORIGIN")
    loader = check_run(plain, *(str(tmp_path / f / f"lib{f}.so") for f in order))
    assert taken(loader, "libdep.so.1")[0] == str(tmp_path / order[0] / "libdep.so.1")


def test_a_library_loaded_by_path_serves_its_soname(tmp_path: Path, plain: Path) -> None:
    dep = library(tmp_path / "wheel" / "libdep-1234.so", soname="libdep.so.1")
    library(tmp_path / "libuser.so", dep)
    assert Loader(live(), str(plain), ld_library_path=None).load(str(tmp_path / "libuser.so")).object is None
    loader = check_run(plain, str(tmp_path / "libuser.so"), str(dep), str(tmp_path / "libuser.so"))
    again = loader.load("libdep.so.1")
    assert again.object is not None
    assert (again.object.via, again.object.path, again.loaded) == ("already loaded", str(dep), ())


def test_two_files_of_one_soname_by_path_are_two_objects(tmp_path: Path, plain: Path) -> None:
    one = library(tmp_path / "one" / "libx.so")
    two = library(tmp_path / "two" / "libx.so")
    user = library(tmp_path / "libuser.so", one, runpath=str(tmp_path / "two"))
    loader = check_run(plain, str(one), str(two), str(user))
    assert taken(loader, "libx.so")[0] == str(one)
    assert len(loader.objects) == len(loader.startup.loaded) + 3


def test_one_file_under_two_names_is_one_object(tmp_path: Path, plain: Path) -> None:
    one = library(tmp_path / "libone.so", soname="libx.so.1")
    os.link(one, tmp_path / "libhard.so")
    (tmp_path / "libsoft.so").symlink_to("libone.so")
    loads = [str(tmp_path / name) for name in ("libone.so", "libhard.so", "libsoft.so")]
    loader = Loader(live(), str(plain), ld_library_path=None)
    answers = [loader.load(path) for path in loads]
    assert [len(answer.loaded) for answer in answers] == [1, 0, 0]
    check_run(plain, *loads[:1], *loads[2:])


@pytest.mark.parametrize("deep_first", [True, False])
def test_dependencies_are_taken_breadth_first(tmp_path: Path, deep_first: bool) -> None:
    deep = library(tmp_path / "deep" / "libd.so")
    near = library(tmp_path / "near" / "libd.so")
    x = library(tmp_path / "libx.so", deep, runpath=str(tmp_path / "deep"))
    a = library(tmp_path / "liba.so", x, runpath=str(tmp_path))
    b = library(tmp_path / "libb.so", near, runpath=str(tmp_path / "near"))
    first, second = (a, b) if deep_first else (b, a)
    loader = check_run(program(tmp_path / "exe", first, second, runpath=str(tmp_path)))
    assert taken(loader, "libd.so")[0] == str(near)
    names = [Path(found.path).name for found in loader.objects]
    assert names.index("libb.so") < names.index("libx.so")


def test_a_failed_dlopen_leaves_nothing_behind(tmp_path: Path, plain: Path) -> None:
    x1 = library(tmp_path / "one" / "libx.so")
    x2 = library(tmp_path / "two" / "libx.so")
    gone = library(tmp_path / "libgone.so")
    bad = library(tmp_path / "libbad.so", x1, gone, runpath=str(tmp_path / "one"))
    good = library(tmp_path / "libgood.so", x2, runpath=str(tmp_path / "two"))
    gone.unlink()
    loader = check_run(plain, str(bad), str(good))
    assert taken(loader, "libx.so")[0] == str(x2)
    answer = Loader(live(), str(plain), ld_library_path=None).load(str(bad))
    assert [found.path for found in answer.loaded] == [str(bad), str(x1)]
    assert [m[:2] for m in answer.missing] == [("libgone.so", str(bad))]
    kept = Loader(live(), str(plain), ld_library_path=None)
    kept.load(str(bad), how="needed")
    assert taken(kept, "libx.so")[0] == str(x1)


def test_the_library_that_calls_dlopen_decides_the_search(tmp_path: Path, plain: Path) -> None:
    library(tmp_path / "own" / "libx.so")
    opener = library(tmp_path / "libopener.so", runpath=str(tmp_path / "own"), source=OPENER)
    loader = check_run(plain, f"{opener}>libx.so")
    assert taken(loader, "libx.so")[1] == f"RUNPATH {tmp_path}/own of libopener.so"
    fresh = check_run(plain, "libx.so")
    assert fresh.find("libx.so") is None
    assert fresh.load("libx.so", by=str(opener)).unknown == f"{opener} is not loaded"


def test_copies_of_a_process_do_not_touch_each_other(tmp_path: Path, plain: Path) -> None:
    one = library(tmp_path / "one" / "libx.so")
    two = library(tmp_path / "two" / "libx.so")
    start = Loader(live(), str(plain), ld_library_path=None)
    first, second = start.copy(), start.copy()
    first.load(str(one))
    second.load(str(two))
    assert (taken(first, "libx.so")[0], taken(second, "libx.so")[0]) == (str(one), str(two))
    assert start.find("libx.so") is None


# -- preloads -----------------------------------------------------------------------------------------------------------


def test_preload_by_path_and_by_name(tmp_path: Path) -> None:
    x = library(tmp_path / "own" / "libx.so")
    other = library(tmp_path / "pre" / "other.so", soname="libx.so")
    library(tmp_path / "path" / "libmore.so")
    exe = program(tmp_path / "exe", x, rpath=str(tmp_path / "own"))
    loader = check_run(exe, LD_PRELOAD=f"{other}:libmore.so", LD_LIBRARY_PATH=str(tmp_path / "path"))
    assert taken(loader, "libx.so") == (str(other), "LD_PRELOAD, path given")
    assert taken(loader, "libmore.so")[1] == f"LD_PRELOAD, LD_LIBRARY_PATH {tmp_path}/path"


def test_a_preload_that_is_not_there_is_ignored(tmp_path: Path, plain: Path) -> None:
    loader = check_run(plain, LD_PRELOAD=f"{tmp_path}/none.so libnone.so.9")
    assert len(loader.notes) == 2
    assert "cannot be preloaded" in loader.notes[0]


# -- sub-directories for CPU levels -------------------------------------------------------------------------------------


@needs_x86_64
@pytest.mark.parametrize("where", ["env", "runpath"])
def test_hwcaps_directories(tmp_path: Path, plain: Path, where: str) -> None:
    base = library(tmp_path / "lib" / "libx.so")
    for level in ("x86-64-v2", "x86-64-v3", "x86-64-v4", "x86-64-v9", "power9"):
        library(tmp_path / "lib" / "glibc-hwcaps" / level / "libx.so")
    library(tmp_path / "lib" / "glibc-hwcaps" / "x86-64-v2" / "libonly.so")
    if where == "env":
        check_run(plain, "libx.so", "libonly.so", LD_LIBRARY_PATH=str(tmp_path / "lib"))
    else:
        loader = check_run(program(tmp_path / "exe", base, runpath=str(tmp_path / "lib")))
        assert loader.find("libx.so") is not None


@needs_x86_64
def test_older_subdirectories(tmp_path: Path, plain: Path) -> None:
    for sub in ("", "tls", "x86_64", "haswell", "avx512_1", "tls/x86_64", "x86_64/x86_64"):
        for name in ("liball.so", f"lib{sub.replace('/', '-') or 'base'}.so"):
            library(tmp_path / "lib" / sub / name)
    for sub in ("tls/x86_64", "tls", ""):
        check_run(plain, "liball.so", "libtls.so", "libx86_64.so", LD_LIBRARY_PATH=str(tmp_path / "lib"))
        (tmp_path / "lib" / sub / "liball.so").unlink()


@needs_x86_64
def test_an_unknown_cpu_takes_the_base_and_says_so(tmp_path: Path, plain: Path) -> None:
    library(tmp_path / "lib" / "libx.so")
    library(tmp_path / "lib" / "glibc-hwcaps" / "x86-64-v2" / "libx.so")

    class NoCpu(Agent):
        def op_read(self, path: str, max_bytes: int) -> object:
            return None if path == "/proc/cpuinfo" else super().op_read(path, max_bytes)

    machine = Machine(NoCpu("/"), form=MachineForm.LIVE, capabilities=Capability)
    loader = Loader(machine, str(plain), ld_library_path=str(tmp_path / "lib"))
    loader.load("libx.so")
    path, via = taken(loader, "libx.so")
    assert path == str(tmp_path / "lib" / "libx.so")
    assert via == f"LD_LIBRARY_PATH {tmp_path}/lib (CPU not known: glibc-hwcaps left out)"


# -- files that are not taken -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "machine"), [(32, 3), (64, 40), (64, 21)])
def test_files_of_another_class_or_machine_are_passed_over(
    tmp_path: Path, plain: Path, bits: int, machine: int
) -> None:
    foreign_header(tmp_path / "decoy" / "libx.so", bits=bits, machine=machine)
    library(tmp_path / "lib" / "libx.so")
    loader = check_run(plain, "libx.so", LD_LIBRARY_PATH=f"{tmp_path}/decoy:{tmp_path}/lib")
    assert taken(loader, "libx.so")[0] == str(tmp_path / "lib" / "libx.so")
    answer = Loader(live(), str(plain), ld_library_path=None).load(str(tmp_path / "decoy" / "libx.so"))
    assert answer.object is None
    assert "of another architecture" in answer.broken[0][2]


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"INPUT ( libx.so.1 )\n" * 40, None])
def test_a_file_that_is_no_library_ends_the_search(tmp_path: Path, plain: Path, content: bytes | None) -> None:
    decoy = tmp_path / "decoy" / "libx.so"
    decoy.parent.mkdir()
    if content is None:
        decoy.mkdir()
    else:
        decoy.write_bytes(content)
    library(tmp_path / "lib" / "libx.so")
    path = f"{tmp_path}/decoy:{tmp_path}/lib"
    check_run(plain, "libx.so", LD_LIBRARY_PATH=path)
    answer = Loader(live(), str(plain), ld_library_path=path).load("libx.so")
    assert (answer.object, answer.missing) == (None, ())
    assert answer.broken[0][0] == str(decoy)


def test_missing_names_who_needs_it_and_where_it_was_looked_for(tmp_path: Path, plain: Path) -> None:
    gone = library(tmp_path / "libgone.so.9")
    user = library(tmp_path / "libuser.so", gone, runpath="$ORIGIN/here:$ORIGIN/there")
    gone.unlink()
    answer = check_run(plain, str(user), LD_LIBRARY_PATH="/nowhere").load(str(user))
    assert answer.object is None
    name, by, directories = answer.missing[0]
    assert (name, by) == ("libgone.so.9", str(user))
    assert directories[:3] == ("/nowhere", f"{tmp_path}/here", f"{tmp_path}/there")
    assert "/usr/lib" in directories[3:] or "/usr/lib64" in directories[3:]


def test_a_needed_name_with_a_slash_is_a_path(tmp_path: Path, plain: Path) -> None:
    dep = library(tmp_path / "dep" / "libdep.so", soname=str(tmp_path / "dep" / "libdep.so"))
    library(tmp_path / "path" / "libdep.so")
    user = library(tmp_path / "libuser.so", dep)
    loader = check_run(plain, str(user), LD_LIBRARY_PATH=str(tmp_path / "path"))
    assert taken(loader, str(dep)) == (str(dep), "path given")
    assert loader.load("sub/libx.so").unknown.startswith("sub/libx.so depends on the current directory")


def test_cache_and_default_directories(plain: Path) -> None:
    loader = check_run(plain, "libm.so.6", "libstdc++.so.6", "libnone.so.77")
    assert taken(loader, "libm.so.6")[1] in ("ld.so.cache", "default directory /lib64", "default directory /usr/lib64")


# -- whole processes ----------------------------------------------------------------------------------------------------


def test_python_process() -> None:
    """Every object of a real interpreter, told from files."""
    code = "import _ssl, _ctypes, sys; print(_ssl.__file__); print(_ctypes.__file__); print(open('/proc/self/maps').read())"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    mapped = {line.split(None, 5)[5] for line in lines[2:] if len(line.split(None, 5)) == 6}
    extensions = {path for path in mapped if "lib-dynload" in path}
    loader = Loader(live(), sys.executable, ld_library_path=os.environ.get("LD_LIBRARY_PATH"))
    for path in (lines[0], lines[1], *sorted(extensions)):
        assert loader.load(path).missing == ()
    expected = {path for path in mapped if ".so" in path and "gconv" not in path}
    predicted = {found.real_path for found in loader.objects if ".so" in found.real_path}
    assert predicted == expected
    assert unmet_versions(live(), loader.objects) == ()


def test_other_programs_against_the_trace() -> None:
    checked = 0
    for name in (
        "/usr/bin/git",
        "/usr/bin/gcc",
        "/usr/bin/curl",
        "/usr/bin/gdb",
        "/usr/bin/tar",
        "/bin/ls",
        "/usr/bin/perl",
    ):
        path = Path(name)
        if not path.exists() or path.read_bytes()[:4] != b"\x7fELF":
            continue
        loader = Loader(live(), name, ld_library_path=None)
        expected = traced(path, LD_LIBRARY_PATH="")
        predicted = {found.requested: found.real_path for found in loader.objects[2:]}
        assert predicted == expected, name
        checked += 1
    assert checked >= 2


def test_hundreds_of_objects_cost_two_questions_each(tmp_path: Path, plain: Path) -> None:
    """ELF facts and identity of each object, and one listing of each search directory however many ask for it."""
    dep = library(tmp_path / "n11" / "libdep.so")
    seed = library(tmp_path / "seed" / "libseed.so", dep, runpath=":".join(f"{tmp_path}/n{i}" for i in range(12)))
    machine = live()
    loader = Loader(machine, str(plain), ld_library_path=None)
    before = len(machine.observations)
    for number in range(300):
        path = tmp_path / f"lib{number}.so"
        path.write_bytes(seed.read_bytes())
        assert loader.load(str(path)).object is not None
    assert len(loader.objects) == len(loader.startup.loaded) + 301
    assert len(machine.observations) - before == 2 * 301 + 12


# -- other forms of machine, other loaders ------------------------------------------------------------------------------


def test_under_another_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    inner = library(root / "opt" / "real" / "libinner.so")
    library(root / "opt" / "real" / "libouter.so", inner, runpath="/opt/link")
    (root / "opt" / "link").symlink_to("/opt/real")  # absolute: inside the root
    (root / "usr" / "bin").mkdir(parents=True)
    program(root / "usr" / "bin" / "exe", root / "opt" / "real" / "libouter.so", runpath="/opt/real")
    machine = Machine(Agent(str(root)), form=MachineForm.ROOTED, capabilities={Capability.FILES})
    loader = Loader(machine, "/usr/bin/exe", ld_library_path=None)
    assert taken(loader, "libinner.so") == ("/opt/link/libinner.so", "RUNPATH /opt/link of libouter.so")
    assert loader.find("libinner.so").real_path == "/opt/real/libinner.so"  # type: ignore[union-attr]
    # Neither this machine's libc nor its ld.so is taken for the root's.
    assert {name for name, _, _ in loader.startup.missing} >= {"libc.so.6"}


def test_a_replayed_machine_answers_the_same(tmp_path: Path, plain: Path) -> None:
    x = library(tmp_path / "lib" / "libx.so")
    user = library(tmp_path / "libuser.so", x, runpath="$ORIGIN/lib")
    machine = live()
    _, _, loader = simulated_run(machine, plain, str(user))
    answers = [(key[0], list(key[1:]), value) for key, value in machine.observations.items()]
    replayed = Machine(Replay(answers), form=MachineForm.REPLAYED, capabilities={Capability.FILES})
    again = simulated_run(replayed, plain, str(user))[2]
    assert again.objects == loader.objects
    assert again.startup == loader.startup


def test_a_collected_machine_answers_the_same(tmp_path: Path, plain: Path) -> None:
    x = library(tmp_path / "lib" / "libx.so")
    gone = library(tmp_path / "lib" / "libgone.so")
    (tmp_path / "link").symlink_to("lib")
    user = library(tmp_path / "libuser.so", x, runpath="$ORIGIN/lib/../link")
    broken = library(tmp_path / "libbroken.so", x, gone, runpath=str(tmp_path / "lib"))
    gone.unlink()
    collector = Collector(Agent("/"), {"environment": [], "paths": [], "site": [], "commands": []})
    collector.environment = {}
    for path in (plain, user, broken):
        collector.elf(str(path))
    collector.closure()
    answers = [(name, arguments, result) for name, arguments, result in collector.kept.values()]
    replayed = Machine(Replay(answers), form=MachineForm.REPLAYED, capabilities={Capability.FILES})
    there, here = (Loader(machine, str(plain), ld_library_path=None) for machine in (replayed, live()))
    assert there.startup == here.startup
    assert there.startup.unknown == ""
    for path in (user, broken):
        assert there.load(str(path)) == here.load(str(path))


def test_what_a_snapshot_lists_and_does_not_hold_is_unknown(tmp_path: Path, plain: Path) -> None:
    x = library(tmp_path / "libx.so")
    user = library(tmp_path / "libuser.so", x, runpath="$ORIGIN")
    machine = live()
    simulated_run(machine, plain, str(user))
    answers = [(key[0], list(key[1:]), value) for key, value in machine.observations.items()]
    less = [answer for answer in answers if not (answer[0] in {"elf", "stat"} and answer[1][0] == str(x))]
    replayed = Machine(Replay(less), form=MachineForm.REPLAYED, capabilities={Capability.FILES})
    answer = Loader(replayed, str(plain), ld_library_path=None).load(str(user))
    assert answer.unknown == f"{x} is not in this snapshot"


def test_a_library_that_may_not_be_read_is_passed_over_and_told(tmp_path: Path, plain: Path) -> None:
    first = library(tmp_path / "first" / "libx.so")
    second = library(tmp_path / "second" / "libx.so")

    class Denied(Agent):
        def op_elf(self, path: str) -> object:
            return {"error": "Permission denied", "code": "EACCES"} if path == str(first) else super().op_elf(path)

    machine = Machine(Denied("/"), form=MachineForm.LIVE, capabilities=Capability)
    loader = Loader(machine, str(plain), ld_library_path=f"{tmp_path}/first:{tmp_path}/second")
    loader.load("libx.so")
    assert taken(loader, "libx.so")[0] == str(second)
    assert [problem.path for problem in machine.problems_of_thread()] == [str(first)]
    assert loader.load(str(first)).broken == ((str(first), str(plain), "Permission denied"),)


def test_under_a_root_what_we_may_not_read_is_unknown(tmp_path: Path, plain: Path) -> None:
    """Whoever runs on that machine may be allowed to: it is not missing."""
    first = library(tmp_path / "first" / "libx.so")

    class Denied(Agent):
        def op_elf(self, path: str) -> object:
            return {"error": "Permission denied", "code": "EACCES"} if path == str(first) else super().op_elf(path)

    machine = Machine(Denied("/"), form=MachineForm.ROOTED, capabilities={Capability.FILES})
    answer = Loader(machine, str(plain), ld_library_path=f"{tmp_path}/first").load("libx.so")
    assert answer.object is None and answer.unknown == f"{first}: Permission denied"


def test_musl_static_and_unreadable_programs_are_unknown(tmp_path: Path) -> None:
    gcc("-nostdlib", "-Wl,--dynamic-linker,/lib/ld-musl-x86_64.so.1", "-pie", "-o", str(tmp_path / "musl"), source="")
    gcc("-nostdlib", "-static", "-o", str(tmp_path / "static"), source="void _start(void) {}")
    (tmp_path / "script").write_text("#!/bin/sh\n")
    reasons = {
        "musl": "not glibc's loader", "static": "statically linked", "script": "no readable ELF", "none": "no readable ELF",
    }  # fmt: skip
    for name, reason in reasons.items():
        loader = Loader(live(), str(tmp_path / name), ld_library_path=None)
        answer = loader.load("libc.so.6")
        assert reason in answer.unknown
        assert answer.object is None
        assert loader.startup.unknown == answer.unknown
        assert loader.objects == ()


def test_an_unreadable_cache_makes_what_needs_it_unknown(tmp_path: Path) -> None:
    root = tmp_path / "root"
    x = library(root / "opt" / "libx.so")
    program(root / "exe", x, runpath="/opt")
    (root / "etc").mkdir()
    (root / "etc" / "ld.so.cache").write_bytes(b"\0garbage" * 20)
    machine = Machine(Agent(str(root)), form=MachineForm.ROOTED, capabilities={Capability.FILES})
    loader = Loader(machine, "/exe", ld_library_path=None)
    assert "/etc/ld.so.cache" in loader.startup.unknown
    assert loader.load("/opt/libx.so").unknown == ""
    assert "ld.so.cache" in loader.load("libelse.so").unknown


# -- symbol versions ----------------------------------------------------------------------------------------------------


def test_unmet_versions_are_what_the_loader_complains_of(tmp_path: Path, plain: Path) -> None:
    source = "int f(void) { return 1; }"
    for folder, script in (("new", "V1 {}; V2 { global: f; } V1;"), ("old", "V1 { global: f; };"), ("none", "")):
        (tmp_path / folder).mkdir()
        (tmp_path / "map").write_text(script)
        flags = (f"-Wl,--version-script,{tmp_path}/map",) if script else ()
        library(tmp_path / folder / "libv.so", source=source, flags=flags)
    user = library(
        tmp_path / "libuser.so", tmp_path / "new" / "libv.so", source="int f(void); int g(void) { return f(); }"
    )
    expected = {"new": (), "old": ((str(user), "libv.so", "V2"),), "none": ()}
    for folder, unmet in expected.items():
        path = str(tmp_path / folder)
        done = subprocess.run(
            [str(plain), str(user)], capture_output=True, text=True, env={"LD_LIBRARY_PATH": path}, check=True
        )
        assert ("version `V2' not found" in done.stdout) == bool(unmet)
        loader = Loader(live(), str(plain), ld_library_path=path)
        loader.load(str(user))
        assert unmet_versions(live(), loader.objects) == unmet
