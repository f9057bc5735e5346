"""Installed distributions, read from their metadata by hand: against importlib.metadata, and on hostile input."""

import importlib.metadata
import os
import sysconfig
from pathlib import Path

import pytest

from infra_doctor.machine.agent import METADATA_CAP_BYTES, Agent
from infra_doctor.machine.forms import live_machine
from tests.core.machine.pythons import install


def distributions(site: Path) -> list[dict]:
    return Agent("/").ask("distributions", str(site))


def test_every_distribution_of_this_environment_as_importlib_reads_it() -> None:
    site = sysconfig.get_path("purelib")
    expected = {}
    for found in importlib.metadata.distributions(path=[site]):
        wheel = (found.read_text("WHEEL") or "").splitlines()
        expected[found.metadata["Name"]] = (
            found.version,
            sorted(found.requires or []),
            found.metadata.get("Requires-Python"),
            [line.partition(":")[2].strip() for line in wheel if line.startswith("Tag:")],
            (found.read_text("INSTALLER") or "").strip() or None,
            (found.read_text("top_level.txt") or "").split(),
        )
    seen = {
        d["name"]: (
            d["version"], sorted(d["requires"]), d["requires_python"], d["tags"], d["installer"], d["top_level"],
        )
        for d in distributions(Path(site))
    }  # fmt: skip
    assert len(seen) > 10
    assert seen == expected


def test_sorted_by_path_and_leftovers_of_pip_left_out(tmp_path: Path) -> None:
    for name in ("zeta", "alpha"):
        install(tmp_path, name, "1")
    install(tmp_path, "~lpha", "0.9")
    (tmp_path / "alpha").mkdir()
    (tmp_path / "fooEGG-INFO").mkdir()
    found = distributions(tmp_path)
    assert [d["path"] for d in found] == [f"{tmp_path}/alpha-1.dist-info", f"{tmp_path}/zeta-1.dist-info"]
    assert all(d["has_record"] and not d["editable"] for d in found)


def test_folded_headers_case_and_crlf(tmp_path: Path) -> None:
    info = install(tmp_path, "x", "1")
    (info / "METADATA").write_bytes(
        b"metadata-version: 2.1\r\nNAME: Spelled.As-It_is\r\nversion:1.0+cu130\r\nAuthor: Andr\xe9\r\n"
        b"Requires-Dist: torch\r\n  ; extra == 'gpu'\r\nRequires-Python: >=3.9\r\n\r\nName: not this\r\n"
    )
    (one,) = distributions(tmp_path)
    assert (one["name"], one["version"]) == ("Spelled.As-It_is", "1.0+cu130")
    assert one["requires"] == ["torch ; extra == 'gpu'"]
    assert one["requires_python"] == ">=3.9"


def test_egg_info_as_file_folder_and_inside_an_egg(tmp_path: Path) -> None:
    text = "Metadata-Version: 1.1\nName: flat\nVersion: 2.0\n"
    (tmp_path / "flat-2.0.egg-info").write_text(text)
    (tmp_path / "deep.egg-info").mkdir()
    (tmp_path / "deep.egg-info/PKG-INFO").write_text(text.replace("flat", "deep"))
    (tmp_path / "deep.egg-info/requires.txt").write_text('a\n[x:python_version<"3" or os_name=="nt"]\nb\n')
    egg = tmp_path / "inner-1.egg"
    (egg / "EGG-INFO").mkdir(parents=True)
    (egg / "EGG-INFO/PKG-INFO").write_text(text.replace("flat", "inner"))
    assert [(d["name"], d["has_record"]) for d in distributions(tmp_path)] == [("deep", False), ("flat", False)]
    assert distributions(tmp_path)[0]["requires"] == [
        "a",
        'b; (python_version<"3" or os_name=="nt") and extra == "x"',
    ]
    assert [d["name"] for d in distributions(egg)] == ["inner"]


@pytest.mark.parametrize(
    ("document", "editable"),
    [
        ('{"url": "file:///s", "dir_info": {"editable": true}}', True),
        ('{"url": "file:///s", "dir_info": {"editable": false}}', False),
        ('{"url": "https://u:planted-token@h/editable.whl", "archive_info": {}}', False),
        ("[]", False),
        ('{"editable": ', False),
        ("[" * 100000 + "editable", False),
    ],
)
def test_editable_by_direct_url_and_no_url_leaves(tmp_path: Path, document: str, editable: bool) -> None:
    install(tmp_path, "x", "1", **{"direct_url.json": document})
    (one,) = distributions(tmp_path)
    assert one["editable"] is editable
    assert "planted" not in repr(one) and "://" not in repr(one)


def test_editable_by_the_mark_of_setuptools(tmp_path: Path) -> None:
    install(tmp_path, "my_thing", "1.0")
    install(tmp_path, "other", "1.0")
    (tmp_path / "__editable__.my_thing-1.0.pth").write_text("/src")
    assert {d["name"]: d["editable"] for d in distributions(tmp_path)} == {"my_thing": True, "other": False}


def test_hostile_metadata_is_an_error_value_and_the_rest_is_read(tmp_path: Path) -> None:
    contents = {
        "no_version": b"Name: no-version\n",
        "no_name": b"Version: 1\n",
        "empty": b"",
        "binary": bytes(range(256)) * 40,
        "utf16": "Name: x\nVersion: 1\n".encode("utf-16"),
        "bad_name": b"Name: caf\xe9\nVersion: 1\n",
        "blank_version": b"Name: x\nVersion:\n",
        "long_line": b"Name: x\nVersion: 1\nSummary: " + b"x" * (10 << 20),
    }
    for name, data in contents.items():
        (install(tmp_path, name, "1") / "METADATA").write_bytes(data)
    (install(tmp_path, "missing", "1") / "METADATA").unlink()
    fifo = install(tmp_path, "fifo", "1") / "METADATA"
    fifo.unlink()
    os.mkfifo(fifo)
    folder = install(tmp_path, "folder", "1") / "METADATA"
    folder.unlink()
    folder.mkdir()
    loop = install(tmp_path, "loop", "1") / "METADATA"
    loop.unlink()
    loop.symlink_to(loop.name)
    (tmp_path / "file-1.dist-info").write_text("no folder")
    (tmp_path / "gone.egg-link").write_text("/nowhere\n.")
    (tmp_path / "empty.egg-link").write_text("")
    install(tmp_path, "sound", "1")
    found = distributions(tmp_path)
    assert [d["name"] for d in found if "error" not in d] == ["sound"]
    reasons = {Path(d["path"]).name.split("-1.")[0]: d["error"].partition(": ")[2] for d in found if "error" in d}
    assert reasons == {
        "no_version": "no Version in its metadata",
        "no_name": "no Name in its metadata",
        "empty": "no Name in its metadata",
        "binary": "no Name in its metadata",
        "utf16": "no Name in its metadata",
        "bad_name": "its Name is not readable",
        "blank_version": "its Version is not readable",
        "long_line": f"its headers do not end within {METADATA_CAP_BYTES} bytes",
        "missing": "no METADATA",
        "fifo": "not a regular file",
        "folder": "not a regular file",
        "loop": "Too many levels of symbolic links",
        "file": "no METADATA",
        "gone.egg-link": "No such file or directory",
        "empty.egg-link": "its .egg-info is not there",
    }


def test_hostile_side_files_do_not_hide_a_distribution(tmp_path: Path) -> None:
    info = install(tmp_path, "sound", "1", WHEEL="Tag: py3-none-any\n")
    os.mkfifo(info / "INSTALLER")
    (info / "top_level.txt").write_bytes(b"\xff\xfe\n")
    (info / "direct_url.json").symlink_to("direct_url.json")
    (one,) = distributions(tmp_path)
    assert (one["name"], one["tags"], one["installer"]) == ("sound", ["py3-none-any"], None)


def test_no_directory_and_no_distribution(tmp_path: Path) -> None:
    assert Agent("/").ask("distributions", str(tmp_path / "none")) is None
    assert distributions(tmp_path) == []


def test_the_machine_notes_what_is_unreadable(tmp_path: Path) -> None:
    (install(tmp_path, "broken", "1") / "METADATA").write_text("Name: broken\n")
    install(tmp_path, "Sound.Name", "1")
    machine = live_machine()
    (one,) = machine.distributions(str(tmp_path))
    assert (one.normalized, one.site_dir) == ("sound-name", str(tmp_path))
    assert [(p.path, p.reason) for p in machine.problems_of_thread()[-1:]] == [
        (f"{tmp_path}/broken-1.dist-info", "broken-1.dist-info: no Version in its metadata")
    ]
