"""Who claims which file, and whose bytes are on disk."""

import os
import tracemalloc
from pathlib import Path

import pytest

from infra_doctor.machine import agent as agent_module
from infra_doctor.machine.agent import Agent
from infra_doctor.machine.forms import live_machine, rooted_machine
from tests.core.machine.pythons import install


def records(*sites: Path) -> dict:
    return Agent("/").ask("records", [str(site) for site in sites])


def short(scan: dict) -> dict[str, list[str] | None]:
    """Contested file -> the names of those whose bytes are on disk."""
    return {
        "/".join(Path(c["path"]).parts[-2:]): c["winners"] and [Path(w).name.split("-")[0] for w in c["winners"]]
        for c in scan["contested"]
    }


def test_two_wheels_that_own_one_folder(tmp_path: Path) -> None:
    """As onnxruntime and onnxruntime-openvino do: 40 files of two, 3 equal, and the later one installed partly over."""
    first = {f"ort/m{i:02d}.py": f"first {i}".encode() for i in range(40)}
    second = {**{f"ort/m{i:02d}.py": f"second {i}".encode() for i in range(37)}, "ort/only_second.py": b"2"}
    second.update({f"ort/m{i:02d}.py": first[f"ort/m{i:02d}.py"] for i in range(37, 40)})
    install(tmp_path, "aaa", "1", first)
    install(tmp_path, "bbb", "1", second)
    for i in range(10):
        (tmp_path / f"ort/m{i:02d}.py").write_bytes(first[f"ort/m{i:02d}.py"])  # restored by a reinstall
    (tmp_path / "ort/m10.py").write_bytes(b"edited!!!")  # as long as both claim
    (tmp_path / "ort/m11.py").unlink()
    (tmp_path / "ort/m12.py").write_bytes(b"another size than both")
    scan = records(tmp_path)
    assert scan["file_counts"] == [[f"{tmp_path}/aaa-1.dist-info", 42], [f"{tmp_path}/bbb-1.dist-info", 43]]
    assert (scan["errors"], scan["truncated"]) == ([], False)
    assert short(scan) == {
        **{f"ort/m{i:02d}.py": ["aaa"] for i in range(10)},
        **{f"ort/m{i:02d}.py": [] for i in range(10, 13)},
        **{f"ort/m{i:02d}.py": ["bbb"] for i in range(13, 37)},
    }
    gone = scan["contested"][11]
    assert (gone["path"], gone["exists"]) == (f"{tmp_path}/ort/m11.py", False)
    assert [Path(d).name for d, _ in gone["claims"]] == ["aaa-1.dist-info", "bbb-1.dist-info"]
    assert gone["claims"][0][1].startswith("sha256=")


def test_what_is_no_contest(tmp_path: Path) -> None:
    same = {"nvidia/__init__.py": b"# one text\n", "space/__init__.py": b""}
    install(tmp_path, "aaa", "1", {**same, "../../bin/tool": b"a", "m/__pycache__/x.cpython-311.pyc": b"a"})
    info = install(tmp_path, "bbb", "1", {**same, "../../bin/tool": b"b", "m/__pycache__/x.cpython-311.pyc": b"b"})
    with (info / "RECORD").open("a") as record:
        record.write("aaa-1.dist-info/METADATA,sha256=abc,3\n/etc/hosts,sha256=abc,3\n")
    install(tmp_path / "other", "aaa", "1", {"nvidia/__init__.py": b"# another directory\n"})
    scan = records(tmp_path, tmp_path / "other")
    assert scan["contested"] == []
    assert [n for _, n in scan["file_counts"]] == [6, 8, 3]


def test_claims_without_digests(tmp_path: Path) -> None:
    """As conda and others leave them: unknown, so still a contest, but not about an empty file."""
    a = install(tmp_path, "aaa", "1", {"p/x.py": b"x", "p/y.py": b"y"})
    for name in ("bbb", "ccc"):
        (install(tmp_path, name, "1") / "RECORD").write_text("p/x.py,,\np/y.py,,\nq/z.py,,\np/__init__.py,,\n")
    (tmp_path / "p/__init__.py").write_bytes(b"")
    (tmp_path / "q").mkdir()
    (tmp_path / "q/z.py").write_bytes(b"z")
    (tmp_path / "p/y.py").write_bytes(b"from somewhere")
    assert short(records(tmp_path)) == {"p/x.py": ["aaa"], "p/y.py": None, "q/z.py": None}
    assert a.is_dir()


def test_other_digests_and_paths_that_csv_quotes(tmp_path: Path) -> None:
    import base64
    import hashlib

    data = b"content"
    digest = base64.urlsafe_b64encode(hashlib.sha512(data).digest()).decode()  # with its padding
    (tmp_path / "a,b").mkdir()
    (tmp_path / "a,b" / 'c"d.py').write_bytes(data)
    for name, value in (("aaa", f"sha512={digest}"), ("bbb", "md5=xyz"), ("ccc", "sha256=nothing")):
        text = f'"a,b/c""d.py",{value},7\n./plain.py,{value},\n'
        (install(tmp_path, name, "1") / "RECORD").write_bytes(text.replace("\n", "\r\n").encode())
    (tmp_path / "plain.py").write_bytes(data)
    assert short(records(tmp_path)) == {'a,b/c"d.py': ["aaa"], f"{tmp_path.name}/plain.py": ["aaa"]}


def test_libraries_have_an_owner(tmp_path: Path) -> None:
    site = tmp_path / "lib/python3.12/site-packages"
    names = (
        "torch/lib/libtorch_cuda.so", "nvidia/cudnn/lib/libcudnn.so.9", "x/_c.cpython-312-x86_64-linux-gnu.so",
        "onnxruntime/capi/libonnxruntime.so.1.30.0", "../../libmkl_core.so.2",
    )  # fmt: skip
    others = ("a/readme.so.txt", "b/x.sock", "c/.so", "d/lib.so_backup", "e.so/f.py")
    info = install(site, "torch", "2", dict.fromkeys((*names, *others), b"\x7fELF"))
    assert records(site)["libraries"] == sorted([os.path.normpath(site / name), str(info)] for name in names)


def test_hostile_records_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    contents = {
        "long_line": b"ok.py,,\n" + b"x" * (10 << 20),
        "binary": b"\x7fELF\0\0,," * 100,
        "no_fields": b"just a text\n",
        "half": b"a.py,sha256=abc,1\nb.py,sha25",
    }
    for name, data in contents.items():
        (install(tmp_path, name, "1") / "RECORD").write_bytes(data)
    for name, make in (
        ("fifo", os.mkfifo),
        ("folder", os.mkdir),
        ("loop", lambda p: os.symlink("RECORD", p)),
    ):
        path = install(tmp_path, name, "1") / "RECORD"
        path.unlink()
        make(path)
    (install(tmp_path, "none", "1") / "RECORD").unlink()
    (install(tmp_path, "empty", "1") / "RECORD").write_bytes(b"")
    (install(tmp_path, "latin", "1") / "RECORD").write_bytes(b"caf\xe9.py,sha256=a,1\n")
    install(tmp_path, "latin2", "1", {})
    (tmp_path / "latin2-1.dist-info/RECORD").write_bytes(b"caf\xe9.py,sha256=b,1\n")
    install(tmp_path, "sound", "1", {"s.py": b"s"})
    scan = records(tmp_path)
    assert {Path(p).parent.name.split("-")[0]: reason for p, reason in scan["errors"]} == {
        "long_line": "a line of more than 65536 bytes",
        "binary": "no text file",
        "no_fields": "a line that is not path, digest, size",
        "half": "a line that is not path, digest, size",
        "fifo": "not a regular file",
        "folder": "not a regular file",
        "loop": "Too many levels of symbolic links",
    }
    assert [Path(p).name for p, _ in scan["file_counts"]] == [
        "latin-1.dist-info", "latin2-1.dist-info", "sound-1.dist-info",
    ]  # fmt: skip
    assert [c["exists"] for c in scan["contested"]] == [False]


def test_contested_path_that_is_no_regular_file(tmp_path: Path) -> None:
    install(tmp_path, "aaa", "1", {"p/x": b"1", "p/loop": b"1"})
    install(tmp_path, "bbb", "1", {"p/x": b"2", "p/loop": b"2"})
    for name in ("x", "loop"):
        (tmp_path / "p" / name).unlink()
    os.mkfifo(tmp_path / "p/x")
    (tmp_path / "p/loop").symlink_to("loop")
    assert short(records(tmp_path)) == {"p/x": None, "p/loop": []}


def test_caps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("aaa", "bbb"):
        install(tmp_path, name, "1", {f"p/{i}.py": name.encode() * 10 for i in range(6)})
    monkeypatch.setattr(agent_module, "HASH_TOTAL_CAP_BYTES", 100)
    scan = records(tmp_path)
    assert [c["winners"] is None for c in scan["contested"]] == [False] * 3 + [True] * 3
    assert scan["truncated"]
    monkeypatch.setattr(agent_module, "HASH_FILE_CAP_BYTES", 29)
    assert all(c["winners"] is None for c in records(tmp_path)["contested"])
    monkeypatch.setattr(agent_module, "CONTESTED_CAP", 2)
    assert len(records(tmp_path)["contested"]) == 2
    monkeypatch.setattr(agent_module, "RECORD_ENTRIES_CAP", 9)
    scan = records(tmp_path)
    assert (scan["contested"], scan["truncated"], len(scan["errors"])) == ([], True, 1)


def test_under_another_root_links_stay_inside(tmp_path: Path) -> None:
    site = tmp_path / "opt/site-packages"
    install(site, "aaa", "1", {"p/x.py": b"aaa"})
    install(site, "bbb", "1", {"p/x.py": b"bbb"})
    (tmp_path / "opt/real.py").write_bytes(b"aaa")
    (site / "p/x.py").unlink()
    (site / "p/x.py").symlink_to("/opt/real.py")
    (contested,) = rooted_machine(str(tmp_path)).records(("/opt/site-packages",)).contested
    assert contested.path == "/opt/site-packages/p/x.py"
    assert contested.winners == ("/opt/site-packages/aaa-1.dist-info",)


def test_the_machine_notes_unreadable_records(tmp_path: Path) -> None:
    (install(tmp_path, "bad", "1") / "RECORD").write_text("no fields\n")
    machine = live_machine()
    scan = machine.records((str(tmp_path), str(tmp_path / "missing")))
    assert scan.errors == ((f"{tmp_path}/bad-1.dist-info/RECORD", "a line that is not path, digest, size"),)
    assert machine.problems_of_thread()[-1].path == scan.errors[0][0]


def test_a_scan_keeps_one_entry_per_path_not_the_lines(tmp_path: Path) -> None:
    for number in range(10):
        rows = "".join(f"pkg_{number}/sub/module_with_a_name_{i:05d}.py,sha256={i:043d},{i}\n" for i in range(4000))
        (install(tmp_path, f"pkg_{number}", "1") / "RECORD").write_text(rows)
    tracemalloc.start()
    try:
        scan = records(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(n for _, n in scan["file_counts"]) == 40000
    # A path of 40 bytes takes 73 as a bytes object and 52 to 105 in the dict; 4 MB are one RECORD's rows.
    assert peak < 40000 * 200 + (6 << 20)
