"""Files are written whole or not at all, where and as the user means."""

import os
import stat
from pathlib import Path

import pytest

from infra_doctor.cli import output
from infra_doctor.cli.output import write_file
from infra_doctor.errors import OutputError


def test_a_file_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_file(str(path), "one")
    path.chmod(0o600)
    write_file(str(path), "two")
    assert path.read_text() == "two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_and_what_it_names_is_written(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    os.symlink("there/report.html", tmp_path / "link")
    write_file(str(tmp_path / "link"), b"x")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "there/report.html").read_bytes() == b"x"
    assert {p.name for p in tmp_path.iterdir()} == {"link", "there"}


def test_a_long_name(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 120)
    write_file(str(path), "x")
    assert path.read_text() == "x"


@pytest.mark.parametrize("wrong", ["", "folder", "absent/x", "folder/" + "n" * 300])
def test_what_cannot_be_written_is_one_error(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError):
        write_file(str(tmp_path / wrong) if wrong else "", "x")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["folder"]


def test_a_protected_file_is_not_renamed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine"
    path.write_text("mine")
    monkeypatch.setattr(output.os, "access", lambda *_: False)  # root may write everything
    with pytest.raises(OutputError, match="Permission denied"):
        write_file(str(path), "x")
    assert path.read_text() == "mine"


def test_nothing_stays_behind_when_writing_is_broken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(output.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_file(str(tmp_path / "x"), "x")
    assert list(tmp_path.iterdir()) == []
