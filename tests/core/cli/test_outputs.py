"""Which documents are written, where, and what comes of a place that cannot take one."""

import errno
import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from infra_doctor.cli import output
from infra_doctor.cli.output import append_file, refuse_unwritable, remove_temporaries, write_file
from infra_doctor.cli.outputs import deliver
from infra_doctor.errors import OutputError
from infra_doctor.runner import registry
from tests.support.plug_ins import install
from tests.support.sample_report import sample_report
from tests.support.snapshots import snapshot_of

COMMAND = [sys.executable, "-m", "infra_doctor"]
FORMATS = registry.load(("reports",), third_party=False).reports
MARK = "PROBES = (Probe(id='mark', version=1, title='mark', run=lambda ctx: open('looked', 'w').close() or ()),)"


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A recorded machine on which a check ends with 0."""
    return snapshot_of("h200-torch211", tmp_path_factory.mktemp("machine"))


Check = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def check(machine: str, tmp_path: Path) -> Check:
    """`check` in an own folder, with a plug-in that says by a file, `looked`, that the machine was looked at."""
    install(tmp_path / "plug-ins", probes=MARK)

    def run(*argv: str, **fields: object) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(  # type: ignore[call-overload]
            [*COMMAND, "check", "--replay", machine, *argv], cwd=tmp_path, check=False, text=True, timeout=120,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "plug-ins")},
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **fields},
        )  # fmt: skip
        assert "Traceback" not in (done.stderr or "")
        return done  # type: ignore[no-any-return]

    return run


def left(folder: Path) -> set[str]:
    """What a run left there."""
    return {p.name for p in folder.iterdir()} - {"plug-ins", "looked"}


# -- what is asked for ------------------------------------------------------------------------------------------------


def test_every_format_at_once(check: Check, tmp_path: Path) -> None:
    names = [f.name for f in FORMATS]
    done = check(*(f"--format={name}={name}.out" for name in names), "--markdown")
    assert done.returncode == 0, done.stderr
    assert left(tmp_path) == {f"{name}.out" for name in names}
    assert all((tmp_path / f"{name}.out").read_text(encoding="utf-8").strip() for name in names)
    assert done.stdout == (tmp_path / "markdown.out").read_text(encoding="utf-8")
    assert sorted(done.stderr.splitlines()) == sorted(f"wrote {name}.out" for name in names)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--format", "json=x", "--html", "x"), "json and html would both be written to x"),
        (("--format", "json=x", "--html", "./y/../x"), "json and html would both be written to ./y/../x"),
        (("--format", "json=x", "--html", "link"), "would both be written"),
        (("--format", "json=y/x", "--html", "folder-link/x"), "would both be written"),
        (("--format", "json=x", "--format", "markdown=>>x"), "json and markdown would both be written to x"),
        (("--json", "--format", "markdown=-"), "standard output holds one document"),
        (("--json", "--html", "/dev/stdout"), "standard output holds one document"),
        (("--format", "json="), "the path is missing"),
        (("--format", "="), "no such format"),
        (("--html", ""), "an empty file name"),
        (("--html", "y"), "y: Is a directory"),
        (("--html", "absent/x"), "absent/x: No such file or directory\nMake the folder first"),
        (("--html", "file/x"), "file/x: Not a directory"),
        (("--html", "dangling"), "dangling: No such file or directory"),
        (("--format", "markdown=>>y"), "y: Is a directory"),
        (("--html", "n" * 300), "File name too long"),
    ],
    ids=str,
)
def test_what_can_be_known_is_said_before_the_run(
    check: Check, tmp_path: Path, argv: tuple[str, ...], said: str
) -> None:
    (tmp_path / "y").mkdir()
    (tmp_path / "file").write_text("old")
    os.symlink("x", tmp_path / "link")
    os.symlink("y", tmp_path / "folder-link")
    os.symlink("absent/x", tmp_path / "dangling")
    done = check(*argv)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr and len(done.stderr.splitlines()) <= 2
    assert not (tmp_path / "looked").exists() and left(tmp_path) == {"y", "file", "link", "folder-link", "dangling"}
    assert (tmp_path / "file").read_text() == "old"


def test_the_same_twice_is_written_once(check: Check, tmp_path: Path) -> None:
    done = check("--html", "x", "--format", "html=x")
    assert (done.returncode, done.stderr.count("wrote")) == (0, 1) and left(tmp_path) == {"x"}


def test_standard_output_by_its_names(check: Check, tmp_path: Path) -> None:
    for name in ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
        assert json.loads(check("--format", f"json={name}").stdout)["kind"] == "report"
    with open(tmp_path / "out", "w+") as out:  # a new file in its place would take the document away
        assert check("--format", "json=/dev/stdout", stdout=out).returncode == 0
        out.seek(0)
        assert json.loads(out.read())["kind"] == "report"
        refused = check("--json", "--html", "out", stdout=out)
    assert refused.returncode == 2 and "standard output holds one document" in refused.stderr


# -- what fails in writing --------------------------------------------------------------------------------------------


def test_nothing_is_lost_where_one_output_fails(check: Check, tmp_path: Path) -> None:
    done = check("--json", "--html", "/dev/full", "--format", "markdown=/dev/full", "--format", "text=x")
    assert done.returncode == 2
    assert json.loads(done.stdout)["kind"] == "report" and (tmp_path / "x").read_text(encoding="utf-8")
    assert done.stderr.count("/dev/full: No space left on device") == 2 and done.stderr.count("wrote") == 1


def test_what_failed_is_said_also_where_the_reader_has_gone(check: Check) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        done = check("--json", "--html", "/dev/full", stdout=gone)
    assert done.returncode == 141 and "/dev/full: No space left" in done.stderr


def test_a_reader_that_goes_in_the_middle(check: Check, tmp_path: Path) -> None:
    reading, writing = os.pipe()

    def take() -> None:
        os.read(reading, 100)
        os.close(reading)

    reader = threading.Thread(target=take)
    reader.start()
    with os.fdopen(writing, "w") as pipe:
        done = check("--json", "--html", "x", stdout=pipe)
    reader.join()
    assert (done.returncode, done.stderr) == (141, "wrote x\n")
    assert (tmp_path / "x").read_text(encoding="utf-8").rstrip().endswith("</html>")


def test_a_pipe_that_does_not_block(check: Check) -> None:
    """A parent may have made it so; what does not fit at once is written later."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    found: list[bytes] = []

    def take() -> None:
        with os.fdopen(reading, "rb") as file:
            found.append(file.read())

    reader = threading.Thread(target=take)
    reader.start()
    with os.fdopen(writing, "wb", buffering=0) as pipe:
        assert check("--json", stdout=pipe).returncode == 0
    reader.join()
    assert json.loads(found[0])["kind"] == "report" and len(found[0]) > 1 << 16


BROKEN = "FORMATS = (ReportFormat(name='{name}', help='', takes_file=True, render={render}),)"


@pytest.mark.parametrize(
    ("render", "said"),
    [
        ("lambda r, o: 1 / 0", "the format theirs failed: ZeroDivisionError: division by zero"),
        ("lambda r, o: b''", "the format theirs failed: TypeError: it gave bytes, not text"),
    ],
)
def test_a_format_that_fails_takes_no_other_along(check: Check, tmp_path: Path, render: str, said: str) -> None:
    install(tmp_path / "plug-ins", probes=MARK, reports=BROKEN.format(name="theirs", render=render))
    done = check("--theirs", "t", "--html", "x", "--json")
    assert done.returncode == 4 and said in done.stderr and "--no-plugins" in done.stderr
    assert json.loads(done.stdout)["kind"] == "report" and left(tmp_path) == {"x"}


def test_a_format_whose_name_is_taken_is_left_out(check: Check, tmp_path: Path) -> None:
    install(tmp_path / "plug-ins", reports=BROKEN.format(name="timeout", render="lambda r, o: ''"))
    done = check("--json", "--timeout", "60")
    assert done.returncode == 0 and "the format timeout is left out" in done.stderr


def test_an_automatic_output_that_cannot_be_is_left_out(check: Check, tmp_path: Path) -> None:
    """A CI system names files of its own, which are not there in a container."""
    reports = (
        "FORMATS = (ReportFormat(name='theirs', help='', render=lambda r, o: 'x', automatic=lambda e: '>>absent/y'),)"
    )
    install(tmp_path / "plug-ins", reports=reports)
    done = check("--format", "auto")
    assert done.returncode == 0 and "theirs is left out: absent/y: No such file" in done.stderr and done.stdout


def test_deliver_says_all_failures(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from infra_doctor.cli.outputs import Output

    text = next(f for f in FORMATS if f.name == "text")
    outputs = [
        Output(format=text, where=w) for w in (str(tmp_path / "a/x"), str(tmp_path / "b/x"), str(tmp_path / "x"))
    ]
    with pytest.raises(OutputError, match=r"a/x: No such file"):
        deliver(sample_report(), outputs, {})
    assert "b/x: No such file" in capfd.readouterr().err and (tmp_path / "x").exists()


# -- pipes, devices, file systems -------------------------------------------------------------------------------------


def test_a_named_pipe_with_a_reader(check: Check, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_text(encoding="utf-8")))
    reader.start()
    done = check("--format", "json=pipe")
    reader.join()
    assert done.returncode == 0 and json.loads(found[0])["kind"] == "report"


def test_a_pipe_of_the_shell(check: Check, tmp_path: Path) -> None:
    """`--format json=>(program)` is /dev/fd/63."""
    reading, writing = os.pipe()
    found: list[str] = []

    def take() -> None:
        with os.fdopen(reading, encoding="utf-8") as file:
            found.append(file.read())

    reader = threading.Thread(target=take)
    reader.start()
    done = check("--format", f"json=/dev/fd/{writing}", "--format", f"text=/dev/fd/{writing}", pass_fds=(writing,))
    os.close(writing)
    reader.join()
    assert done.returncode == 0 and found[0].startswith("{") and "PASS" in found[0], done.stderr


def test_a_named_pipe_that_nobody_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(output, "PIPE_WAIT_S", 0.0)
    for write in (write_file, append_file):
        with pytest.raises(OutputError, match=r"pipe: nobody reads this pipe \(0 s waited\)"):
            write(str(tmp_path / "pipe"), "x")


def namespace(script: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """A shell script in a mount namespace of its own; skips where that is not allowed. `$CHECK` is the command."""
    ready = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "none", str(folder)], capture_output=True, check=False
    )
    if ready.returncode:
        pytest.skip("no private mounts here")
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", script], cwd=folder, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "CHECK": shlex.join([*COMMAND, "check"])},
    )  # fmt: skip


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    (tmp_path / "disk").mkdir()
    return tmp_path


def test_a_full_disk(disk: Path, machine: str) -> None:
    script = f"""
        mount -t tmpfs -o size=16k none disk && echo old > disk/old.html
        $CHECK --replay {machine} --html disk/new.html --format html=disk/old.html --format text=x --json > r.json
        echo $?; ls -A disk; cat disk/old.html
    """
    done = namespace(script, disk)
    assert done.stdout.split() == ["2", "old.html", "old"]
    assert done.stderr.count("No space left on device") == 2
    assert json.loads((disk / "r.json").read_text(encoding="utf-8")) and (disk / "x").exists()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_standard_output_on_a_disk_that_fills(disk: Path, machine: str, unbuffered: str) -> None:
    """Unbuffered, Python's own stream writes what fits and says nothing of the rest."""
    script = (
        f"mount -t tmpfs -o size=16k none disk; PYTHONUNBUFFERED={unbuffered} $CHECK --replay {machine} --json > disk/x"
    )
    done = namespace(f"{script}; echo $?", disk)
    assert done.stdout.split() == ["2"] and "standard output: No space left" in done.stderr


def test_a_disk_that_cannot_be_written_is_known_before_the_run(disk: Path, machine: str) -> None:
    install(disk / "plug-ins", probes=MARK)
    script = f"""
        mount -t tmpfs none disk && echo old > disk/x && mount -o remount,ro disk
        for name in x y; do PYTHONPATH=plug-ins $CHECK --replay {machine} --html disk/$name; echo $?; done; ls -A disk
    """
    done = namespace(script, disk)
    assert done.stdout.split() == ["2", "2", "x"] and not (disk / "looked").exists()
    assert done.stderr.count("Read-only file system") == 2


def test_a_file_that_is_mounted_by_itself(disk: Path, machine: str) -> None:
    """As Kubernetes mounts /dev/termination-log: nothing can be renamed over it."""
    script = f"""
        touch file && head -c 2000000 /dev/zero > file && mount --bind file file
        $CHECK --replay {machine} --format json=file; echo $?; ls -A | grep -c tmp
    """
    done = namespace(script, disk)
    assert done.stdout.split()[-2:] == ["0", "0"], done
    assert json.loads((disk / "file").read_text(encoding="utf-8"))["kind"] == "report"


def test_a_full_disk_under_a_mounted_file_keeps_the_old_content(disk: Path, machine: str) -> None:
    script = f"""
        mount -t tmpfs -o size=16k none disk && echo old > disk/file && mount --bind disk/file disk/file
        $CHECK --replay {machine} --format json=disk/file >/dev/null; echo $?; cat disk/file; ls -A disk
    """
    done = namespace(script, disk)
    assert done.stdout.split() == ["2", "old", "file"], done


# -- one file ---------------------------------------------------------------------------------------------------------


def test_a_file_in_a_folder_that_we_may_not_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_text("a longer text than the new one")
    real = os.open

    def refused(name: str, *rest: int) -> int:
        if name.endswith(".tmp"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(name, *rest)

    monkeypatch.setattr(output.os, "open", refused)
    write_file(str(path), "new")
    assert path.read_text() == "new"


def test_what_hangs_in_the_middle_is_taken_away_by_another_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the watch over `--timeout` does."""
    seen: list[list[str]] = []

    def hangs(*_: object) -> None:
        seen.append([p.name for p in tmp_path.iterdir()])
        remove_temporaries()
        seen.append([p.name for p in tmp_path.iterdir()])
        raise InterruptedError(errno.EINTR, "Interrupted system call")

    monkeypatch.setattr(output.os, "replace", hangs)
    with pytest.raises(OutputError):
        write_file(str(tmp_path / "x"), "x")
    assert len(seen[0]) == 1 and seen[0][0].startswith(".x.") and seen[1] == []


def test_the_owner_stays(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    if os.getuid():
        pytest.skip("only root gives files away")
    os.chown(path, 12345, 54321)
    path.chmod(0o640)
    write_file(str(path), "new")
    found = path.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777, path.read_text()) == (12345, 54321, 0o640, "new")


def test_appending_adds_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.md"
    append_file(str(path), "one\n")
    append_file(str(path), "two\n")
    assert path.read_text() == "one\ntwo\n"
    real = os.write
    monkeypatch.setattr(output.os, "write", lambda handle, data: real(handle, bytes(data)[:2]))
    with pytest.raises(OutputError, match="No space left"):
        append_file(str(path), "three\n")
    assert path.read_text() == "one\ntwo\n"


def test_looking_ahead_makes_nothing(tmp_path: Path) -> None:
    refuse_unwritable(str(tmp_path / "x"))
    refuse_unwritable("/dev/null")
    refuse_unwritable(str(tmp_path / "x"), append=True)
    assert list(tmp_path.iterdir()) == []
