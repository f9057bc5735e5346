"""Small shared libraries and programs, built by gcc into a test's folder, and what the real loader does with them."""

import os
import platform
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from infra_doctor.machine.agent import Agent
from infra_doctor.machine.loader import Loader
from infra_doctor.machine.machine import Machine
from infra_doctor.machine.types import Capability, MachineForm

GCC = shutil.which("gcc")
needs_gcc = pytest.mark.skipif(GCC is None, reason="needs gcc to build libraries")
needs_x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="x86-64 only")

# Loads each argument in turn ("PATH>NAME": the library at PATH loads NAME), then shows what is mapped.
PROGRAM = """
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    char *name = strchr(argv[i], '>');
    void *got = 0;
    if (name) {
      *name++ = 0;
      void *(*load)(const char *) = dlsym(dlopen(argv[i], RTLD_NOW), "load");
      got = load ? load(name) : 0;
    } else got = dlopen(argv[i], RTLD_NOW);
    printf("load %s\\n", got ? "ok" : dlerror());
  }
  FILE *maps = fopen("/proc/self/maps", "r");
  char line[8192];
  while (fgets(line, sizeof line, maps)) fputs(line, stdout);
  return 0;
}
"""
OPENER = """
#include <dlfcn.h>
void *load(const char *name) { return dlopen(name, RTLD_NOW); }
"""


def gcc(*arguments: str, source: str = "", cwd: Path | None = None) -> None:
    assert GCC is not None
    done = subprocess.run(
        [GCC, "-x", "c", "-", "-x", "none", *arguments],
        input=source,
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def tags(rpath: str | None, runpath: str | None) -> list[str]:
    if runpath is not None:
        return ["-Wl,--enable-new-dtags", f"-Wl,-rpath,{runpath}"]
    return [] if rpath is None else ["-Wl,--disable-new-dtags", f"-Wl,-rpath,{rpath}"]


def library(
    path: Path, *needed: Path, soname: str | None = None, rpath: str | None = None, runpath: str | None = None,
    source: str = "", flags: tuple[str, ...] = (),
) -> Path:  # fmt: skip
    """A shared library. `needed` are libraries built before: their sonames become DT_NEEDED."""
    path.parent.mkdir(parents=True, exist_ok=True)
    base = () if source else ("-nostdlib",)
    gcc(
        *base, "-shared", "-fPIC", "-O0", f"-Wl,-soname,{soname or path.name}", "-Wl,--no-as-needed", *tags(rpath, runpath),
        "-o", str(path), *(str(n) for n in needed), "-Wl,--allow-shlib-undefined", *flags, source=source,
    )  # fmt: skip
    return path


def program(path: Path, *needed: Path, rpath: str | None = None, runpath: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    gcc(
        "-O0", "-Wl,--no-as-needed", *tags(rpath, runpath), "-o", str(path), *(str(n) for n in needed), "-ldl",
        "-Wl,--allow-shlib-undefined", source=PROGRAM,
    )  # fmt: skip
    return path


def live() -> Machine:
    return Machine(Agent("/"), form=MachineForm.LIVE, capabilities=Capability)


def real_run(exe: Path, *loads: str, **environment: str) -> tuple[list[bool], set[str]]:
    """Per load whether it worked, and the real paths that the process has mapped."""
    done = subprocess.run(
        [str(exe), *loads],
        capture_output=True,
        text=True,
        env={"PATH": os.defpath, **environment},
        cwd="/",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    worked = [line == "load ok" for line in lines if line.startswith("load ")]
    mapped = {found[1] for line in lines if (found := re.match(r"[0-9a-f]+-\S+ \S+ \S+ \S+ [1-9]\d*\s+(/.*)", line))}
    return worked, mapped


def simulated_run(machine: Machine, exe: Path, *loads: str, **environment: str) -> tuple[list[bool], set[str], Loader]:
    """The same, predicted."""
    loader = Loader(
        machine, str(exe), ld_library_path=environment.get("LD_LIBRARY_PATH"), ld_preload=environment.get("LD_PRELOAD")
    )
    worked = []
    for text in loads:
        owner, _, name = text.rpartition(">")
        if owner:
            loader.load(owner)
        worked.append(loader.load(name, by=owner or None).object is not None)
    return worked, {found.real_path for found in loader.objects}, loader


def check_run(exe: Path, *loads: str, **environment: str) -> Loader:
    """Assert that the prediction is what the real loader does."""
    worked, mapped, loader = simulated_run(live(), exe, *loads, **environment)
    assert loader.unknown == ""
    assert (worked, mapped) == real_run(exe, *loads, **environment)
    return loader


def traced(exe: Path, **environment: str) -> dict[str, str | None]:
    """soname -> real path, None where it is not found, as LD_TRACE_LOADED_OBJECTS (ldd) shows it."""
    done = subprocess.run(
        [str(exe)], capture_output=True, text=True, cwd="/", check=False,
        env={"PATH": os.defpath, "LD_TRACE_LOADED_OBJECTS": "1", **environment},
    )  # fmt: skip
    found = {}
    for line in done.stdout.splitlines():
        name, arrow, path = line.strip().partition(" => ")
        if arrow:
            found[name] = None if path == "not found" else os.path.realpath(path.rpartition(" (")[0])
    return found


def foreign_header(path: Path, *, bits: int = 64, machine: int = 62) -> Path:
    """The header of a shared object of another word size or machine, filled up to a page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ident = b"\x7fELF" + bytes([2 if bits == 64 else 1, 1, 1]) + bytes(9)
    form = "<HHIQQQIHHHHHH" if bits == 64 else "<HHIIIIIHHHHHH"
    head = ident + struct.pack(form, 3, machine, 1, 0, 0, 0, 0, struct.calcsize(form) + 16, 56, 0, 0, 0, 0)
    path.write_bytes(head.ljust(4096, b"\0"))
    return path
