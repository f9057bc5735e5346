"""Libraries that an extension needs and the loader does not reach: what counts, and what does not."""

from typing import Any

import pytest

from infra_doctor.model.component import Component, Target
from infra_doctor_probes.detect.stack_extensions import PROBES, ExtensionLibraries
from tests.machines.test_machines import FOLDERS
from tests.support.gather import gather
from tests.support.recipe import read_recipe, recipe_machine

SITE = "/opt/venv/lib/python3.12/site-packages"
ENGINE = f"{SITE}/mooncake/engine.cpython-312-x86_64-linux-gnu.so"
TARGET = Target(key="target:/opt/venv", executable="/opt/venv/bin/python", kind="venv", prefix="/opt/venv")
WHEEL = Component(
    key="wheel:mooncake-transfer-engine@/opt/venv", kind="wheel", name="mooncake-transfer-engine", version="0.3.7",
    target=TARGET.key, location=f"{SITE}/mooncake_transfer_engine-0.3.7.dist-info",
)  # fmt: skip
BASE = FOLDERS[0].parent / "base-linux.toml"


def missing(
    *, needed: list[str], lying: tuple[str, ...] = (), environment: dict[str, str] | None = None, **more: Any
) -> ExtensionLibraries:
    recipe = read_recipe(BASE)
    recipe["elf"] |= {
        ENGINE: {"needed": [*needed, "libc.so.6"]},
        **{p: {"soname": p.rpartition("/")[2]} for p in lying},
    }
    recipe["files"] |= more.pop("files", {})
    recipe["environment"] |= environment or {}
    found = gather_with(recipe_machine(recipe, ("LD_LIBRARY_PATH", "LD_PRELOAD")))
    (fact,) = found
    return fact


def gather_with(machine: Any) -> list[ExtensionLibraries]:
    from infra_doctor.model.plugins import ProbeContext

    context = ProbeContext(machine=machine, targets=(TARGET,), components=[WHEEL], facts=[])
    return [item for probe in PROBES for item in probe.run(context)]


def test_lies_where_the_loader_does_not_look() -> None:
    found = missing(needed=["libascend_transport.so"], lying=("/usr/local/lib/libascend_transport.so",))
    assert found.missing == (("libascend_transport.so", ENGINE, "/usr/local/lib/libascend_transport.so"),)
    assert found.configured == ()
    assert any("lies at /usr/local/lib" in e.text for e in found.evidence)


def test_configured_and_not_in_the_cache() -> None:
    conf = {"/etc/ld.so.conf.d/libc.conf": "# here\n/usr/local/lib\n"}
    found = missing(needed=["libglog.so.1"], lying=("/usr/local/lib/libglog.so.1",), files=conf)
    assert found.configured == ("/usr/local/lib",)


@pytest.mark.parametrize(
    ("lying", "environment"),
    [
        ((), {}),  # lies nowhere: not this question
        (("/opt/other/libglog.so.1",), {}),  # nor in a folder that nobody installs to
        (("/usr/local/lib/libglog.so.1",), {"LD_LIBRARY_PATH": "/usr/local/lib"}),
        (("/usr/lib/x86_64-linux-gnu/libglog.so.1",), {}),
    ],
)  # fmt: skip
def test_no_finding(lying: tuple[str, ...], environment: dict[str, str]) -> None:
    found = missing(needed=["libglog.so.1"], lying=lying, environment=environment)
    assert (found.missing, found.unknown) == ((), "")


def test_a_package_that_opens_its_own_libraries() -> None:
    own = f"{SITE}/mooncake/libetcd_wrapper.so"
    assert missing(needed=["libetcd_wrapper.so"], lying=(own,)).missing == (("libetcd_wrapper.so", ENGINE, own),)
    start = {f"{SITE}/mooncake/__init__.py": "import ctypes\nctypes.CDLL('libetcd_wrapper.so')\n"}
    assert missing(needed=["libetcd_wrapper.so"], lying=(own,), files=start).missing == ()


def test_no_extension_no_fact() -> None:
    assert gather_with(recipe_machine(read_recipe(BASE))) == []


def test_an_extension_that_cannot_be_read() -> None:
    recipe = read_recipe(BASE)
    recipe["files"][ENGINE] = "no ELF"
    (found,) = gather_with(recipe_machine(recipe, ("LD_LIBRARY_PATH",)))
    assert "no readable ELF" in found.unknown
    assert gather(recipe_machine(read_recipe(BASE)), PROBES).facts == []
