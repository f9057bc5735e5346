"""Symbol versions that frameworks need against what the target's loader would load."""

from typing import Any

import pytest

from infra_doctor.model.component import Target
from infra_doctor_probes.detect.symbol_versions import PROBES, SymbolVersions, Unmet
from tests.support.gather import Gathered, gather
from tests.support.recipe import recipe_machine

SITE = "/opt/venv/lib/python3.12/site-packages"
PYTHON, INTERP = "/opt/venv/bin/python", "/lib64/ld-linux-x86-64.so.2"
TARGET = Target(key="target:/opt/venv", prefix="/opt/venv", executable=PYTHON, kind="venv", site_dirs=(SITE,))
LIB = "/usr/lib/x86_64-linux-gnu"


def found(*, glibc: list[str], needs: list[Any], interp: str = INTERP, **recipe: Any) -> Gathered:
    elf = {
        PYTHON: {"interp": interp, "needed": ["libc.so.6"]},
        interp: {"soname": "ld-linux-x86-64.so.2"},
        f"{LIB}/libc.so.6": {"soname": "libc.so.6", "version_defs": glibc},
        f"{LIB}/libstdc++.so.6": {
            "soname": "libstdc++.so.6",
            "version_defs": ["GLIBCXX_3.4.29"],
            "needed": ["libc.so.6"],
        },
        f"{SITE}/torch/lib/libtorch_cpu.so": {
            "soname": "libtorch_cpu.so",
            "needed": ["libstdc++.so.6", "libc.so.6", "libcudart.so.13"],
            "version_needs": needs,
        },
        f"{SITE}/torch/lib/libtorch_python.so": {
            "soname": "libtorch_python.so",
            "needed": ["libtorch_cpu.so"],
            "runpath": "$ORIGIN",
        },
    }
    cache = {n: f"{LIB}/{n}" for n in ("libc.so.6", "libstdc++.so.6")}
    return gather(recipe_machine({"elf": elf, "ldcache": cache, **recipe}), PROBES, targets=(TARGET,))


@pytest.mark.parametrize(
    ("needs", "unmet"),
    [
        ([["libc.so.6", ["GLIBC_2.17", "GLIBC_2.27"]]], []),
        ([["libc.so.6", ["GLIBC_2.17", "GLIBC_2.28"]]], [("libc.so.6", "GLIBC_2.28")]),
        ([["libstdc++.so.6", ["GLIBCXX_3.4.30"]]], [("libstdc++.so.6", "GLIBCXX_3.4.30")]),
        ([["libcudart.so.13", ["libcudart.so.13"]]], []),  # not there at all: another question
    ],
)
def test_needs_against_definitions(needs: list[Any], unmet: list[tuple[str, str]]) -> None:
    fact = found(glibc=["GLIBC_2.2.5", "GLIBC_2.17", "GLIBC_2.27"], needs=needs).fact(SymbolVersions)
    torch = f"{SITE}/torch/lib/libtorch_cpu.so"
    assert fact.unmet == tuple(Unmet(object=torch, library=n, version=v) for n, v in unmet)
    assert fact.entries == (f"{SITE}/torch/lib/libtorch_python.so",)
    if unmet:
        assert any(f"{LIB}/{unmet[0][0]}" in e.text for e in fact.evidence)


def test_nothing_to_look_at_and_nothing_to_tell() -> None:
    assert not gather(recipe_machine({}), PROBES, targets=(TARGET,)).facts
    musl = found(glibc=["GLIBC_2.27"], needs=[["libc.so.6", ["GLIBC_2.28"]]], interp="/lib/ld-musl-x86_64.so.1")
    assert not musl.facts, "musl's loader has no symbol versions to miss"
