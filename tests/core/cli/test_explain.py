"""`explain`: ids of findings and rules, and what tables say of other names."""

import json
import subprocess
import sys

import pytest

from infra_doctor.runner import registry


def explain(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "infra_doctor", "explain", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("words", [["drv-old"], ["DRV-OLD"], ["drv_old"], ["drv", "old"], [" Drv-Old"]])
def test_a_finding(words: list[str]) -> None:
    done = explain(*words)
    assert done.returncode == 0
    assert done.stdout.startswith("DRV-OLD: ")


@pytest.mark.parametrize("words", [["Xid", "79"], ["Xid 79"], ["xid79"]])
def test_a_name_that_a_table_knows(words: list[str]) -> None:
    done = explain(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Xid 79: the GPU has fallen off the bus")
    assert "What to do: reboot the machine" in done.stdout


def test_a_name_that_nobody_knows() -> None:
    done = explain("DRV-OLDER")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Nearest: DRV-OLD" in done.stderr


@pytest.mark.parametrize("name", ["ECC/XID", "ecc/xid", "ecc-xid", "ECC_XID"])
def test_an_id_with_a_slash_is_typed_as_one_likes(name: str) -> None:
    assert explain(name).stdout.startswith("ECC/XID: ")
    command = [sys.executable, "-m", "infra_doctor", "check", "--json", "--only", name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert {f["id"] for f in json.loads(done.stdout)["findings"]} == {"ECC/XID"}


def test_only_names_the_nearest_id() -> None:
    command = [sys.executable, "-m", "infra_doctor", "check", "--only", "ecc-xd"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no such finding id: ecc-xd" in done.stderr and "Nearest: ECC/XID" in done.stderr


def test_no_two_ids_are_typed_alike() -> None:
    """A finding and a rule may be called alike; two findings, or two rules, may not."""
    plugins = registry.load(third_party=False)
    for items in (plugins.checks, plugins.tables):
        keys = [registry.id_key(item.id) for item in items]
        assert len(set(keys)) == len(keys)
