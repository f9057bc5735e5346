"""Driver, firmware and the small text files, on the public captures and on hostile ones."""

import os
from pathlib import Path

import pytest

from infra_doctor.model.component import Component
from infra_doctor_probes.ascend.files import AscendVersionSources, brackets, differ, parse_pairs, version_of
from tests.support.ascend_trees import ASCEND, capture, captures, machine_at, probes, put
from tests.support.gather import Gathered, gather


def look(root: Path, *, kernel: bool = False) -> Gathered:
    return gather(machine_at(root, kernel=kernel), probes("driver"))


@pytest.mark.parametrize("path", captures("file_driver_version.info__*"), ids=lambda p: p.stem)
def test_driver_captures(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    put(tmp_path, f"{ASCEND}/driver/version.info", text)
    found = look(tmp_path)
    driver = found.one("driver")
    lines = dict(line.split("=", 1) for line in text.split())
    assert driver.key == "driver:ascend"
    assert driver.version == lines["Version"]
    assert driver.attributes["inner_version"] == lines["Innerversion"]
    assert driver.attributes["accepts_inner"] == lines["compatible_version"]
    assert driver.attributes["accepts_firmware"] == lines["compatible_version_fw"]
    assert found.fact(AscendVersionSources).chosen == lines["Version"]


@pytest.mark.parametrize("path", captures("file_firmware_version.info__*"), ids=lambda p: p.stem)
def test_firmware_captures(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    put(tmp_path, f"{ASCEND}/firmware/version.info", text)
    lines = dict(line.split("=", 1) for line in text.split())
    firmware = look(tmp_path).one("firmware")
    assert firmware.version == lines["Version"]
    assert firmware.attributes == {
        "accepts_driver": lines["compatible_version_drv"],
        "package_version": lines["package_version"],
    }


def test_install_info_names_another_root(tmp_path: Path) -> None:
    text = capture("file_etc_ascend_install.info__driver+firmware.txt")
    put(tmp_path, "/etc/ascend_install.info", text.replace("/usr/local/Ascend", "/opt/huawei/"))
    put(tmp_path, "/opt/huawei/driver/version.info", capture("file_driver_version.info__25.0.rc1.1.txt"))
    put(tmp_path, "/opt/huawei/firmware/version.info", capture("file_firmware_version.info__7.7.0.1.231.txt"))
    found = look(tmp_path)
    assert found.one("driver").location == "/opt/huawei/driver"
    assert found.one("driver").attributes["install_mode"] == "normal"
    assert found.one("firmware").key == "firmware:/opt/huawei/firmware"


def test_a_folder_without_version_is_a_driver_of_unknown_version(tmp_path: Path) -> None:
    put(tmp_path, f"{ASCEND}/driver/lib64/driver/libdcmi.so", b"")
    found = look(tmp_path)
    assert found.one("driver").version is None
    assert found.one("libdcmi").location == f"/{ASCEND}/driver/lib64/driver/libdcmi.so"
    assert found.facts == []


def test_loaded_module_without_files(tmp_path: Path) -> None:
    put(tmp_path, "/sys/module/drv_davinci_intf_host/refcnt", "1\n")
    driver = look(tmp_path, kernel=True).one("driver")
    assert driver.version is None
    assert driver.attributes["module_loaded"] is True
    assert look(tmp_path).components == []  # without kernel state nothing is said of modules


def test_nothing_there(tmp_path: Path) -> None:
    found = look(tmp_path, kernel=True)
    assert (found.components, found.facts, found.unseen) == ([], [], [])


def hostile(root: Path, kind: str, path: str) -> None:
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    match kind:
        case "binary":
            place.write_bytes(bytes(range(256)) * 100)
        case "one line of 10 MB":
            place.write_bytes(b"Version=" + b"9" * 10_000_000)
        case "FIFO":
            os.mkfifo(place)
        case "link loop":
            place.symlink_to(place.name)
        case "folder":
            place.mkdir()
        case "not UTF-8":
            place.write_bytes(b"Version=\xff\xfe25.0\n")
        case "no version":
            place.write_bytes(b"Version=\nVersion=$(reboot)\nVersion=../../etc\n")
        case "empty":
            place.write_bytes(b"")


HOSTILE = ("binary", "one line of 10 MB", "FIFO", "link loop", "folder", "not UTF-8", "no version", "empty")


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_raise_nothing_and_give_no_version(kind: str, tmp_path: Path) -> None:
    for path in ("driver/version.info", "firmware/version.info"):
        hostile(tmp_path, kind, f"{ASCEND}/{path}")
    hostile(tmp_path, kind, "etc/ascend_install.info")
    found = look(tmp_path)
    assert found.one("driver").version is None
    assert all(c.version is None for c in found.components)


@pytest.mark.parametrize(("kind", "noted"), [("FIFO", True), ("link loop", True), ("folder", True), ("empty", False)])
def test_what_cannot_be_read_is_noted(kind: str, noted: bool, tmp_path: Path) -> None:
    hostile(tmp_path, kind, f"{ASCEND}/driver/version.info")
    machine = machine_at(tmp_path)
    before = len(machine.problems_of_thread())
    gather(machine, probes("driver"))
    assert (len(machine.problems_of_thread()) > before) is noted


def test_every_component_has_evidence(tmp_path: Path) -> None:
    put(tmp_path, f"{ASCEND}/driver/version.info", "Version=25.0\n")
    put(tmp_path, f"{ASCEND}/firmware/version.info", "Version=7.7\n")
    put(tmp_path, "/usr/local/dcmi/libdcmi.so", b"")
    found = look(tmp_path)
    assert {c.kind for c in found.components} == {"driver", "firmware", "libdcmi"}
    assert all(isinstance(c, Component) and c.evidence for c in found.components)


def test_pairs() -> None:
    assert parse_pairs('# a=b\n a = "1" \na=2\n=3\nno sign\n') == {"a": "1"}
    assert parse_pairs("    Ascend-cann-atb : 8.2.RC1\n", ":") == {"Ascend-cann-atb": "8.2.RC1"}
    assert version_of({"Version": "8.0.RC2.alpha001"}, "Version") == "8.0.RC2.alpha001"
    assert version_of({"Version": "none"}, "Version") is None


def test_brackets() -> None:
    assert brackets("[7.0.0,7.7.99],[8.0,8.0.]") == [("7.0.0", "7.7.99"), ("8.0", "8.0.")]
    assert brackets("[V100R001C17]") == [("V100R001C17",)]
    assert brackets("") == brackets("[]") == brackets("[,]") == brackets("7.0.0") == []


def test_versions_that_differ() -> None:
    assert differ(("8.0.T63", "8.2.RC2"))
    assert not differ(("8.5", "8.5.0"))
    assert not differ(("8.2.RC1", "8.2.rc1"))
