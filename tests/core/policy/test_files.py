"""Where a policy is found, and what no policy file is: one clear error with the place, never a traceback."""

import os
from pathlib import Path

import pytest

from infra_doctor.errors import InputError
from infra_doctor.policy.files import SIZE_CAP_BYTES, discover, document, has_table, read_text, tables
from infra_doctor.policy.reading import read_policy
from tests.core.policy.lab import KNOWN, short


def test_the_nearest_policy_holds(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert discover(str(deep)) is None
    (tmp_path / "pyproject.toml").write_text("[tool.infra-doctor]\n")
    assert discover(str(deep)) == "../../pyproject.toml"
    (tmp_path / "infra-doctor.toml").write_text("")
    assert discover(str(deep)) == "../../infra-doctor.toml"
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.other]\nx = 'infra-doctor'\n")
    assert discover(str(deep)) == "../../infra-doctor.toml"
    (deep / "pyproject.toml").write_text("[tool.'infra-doctor'.require]\n")
    assert discover(str(deep)) == "pyproject.toml"


def test_no_policy_of_folders_above_the_repository(tmp_path: Path) -> None:
    (tmp_path / "infra-doctor.toml").write_text("")
    inner = tmp_path / "repository"
    (inner / ".git").mkdir(parents=True)
    assert discover(str(inner)) is None
    lonely = tmp_path / "lonely"  # in no repository: this folder alone
    lonely.mkdir()
    assert discover(str(lonely)) is None
    assert discover(str(tmp_path)) == "infra-doctor.toml"


@pytest.mark.parametrize(
    ("raw", "ours"),
    ids=short,
    argvalues=[
        (b"[tool.infra-doctor]\n", True),
        (b"[tool.infra-doctor.require]\n", True),
        (b"[tool]\ninfra-doctor = {}\n", True),
        (b"tool.infra-doctor.fail-on = 'warn'\n", True),
        (b"[tool.other]\n# infra-doctor\n", False),
        (b"[project]\ndependencies = ['infra-doctor']\n", False),
        (b"tool = 'infra-doctor'\n[x]\n", True),  # which is then said to be wrong
        # Broken elsewhere: a gate must not open by itself.
        (b"[tool.infra-doctor]\nx = [\n", True),
        (b"x = [\n[ tool . 'infra-doctor' . require ]\n", True),
        (b"[tool.infra-doctor]\nx = '\xff'\n", True),
        (b"x = '\xff infra-doctor'\n", False),
        (b"[tool.other]\nx = [\n# infra-doctor\n", False),
        (b"[tool.infra-doctor]\n#" + b"x" * SIZE_CAP_BYTES, True),
    ],
)
def test_which_pyproject_is_ours(tmp_path: Path, raw: bytes, ours: bool) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_bytes(raw)
    assert has_table(str(file)) is ours
    assert discover(str(tmp_path)) == ("pyproject.toml" if ours else None)


def test_a_broken_link_is_no_absence(tmp_path: Path) -> None:
    (tmp_path / "infra-doctor.toml").symlink_to(tmp_path / "gone.toml")
    assert discover(str(tmp_path)) == "infra-doctor.toml"
    with pytest.raises(InputError, match="No such file"):
        read_policy(str(tmp_path / "infra-doctor.toml"), KNOWN)


def test_bom_and_line_ends_of_windows(tmp_path: Path) -> None:
    file = tmp_path / "infra-doctor.toml"
    file.write_bytes(b"\xef\xbb\xbffail-on = 'warn'\r\n\r\n[require]\r\ngpu.count = 8\r\n")
    policy = read_policy(str(file), KNOWN)
    assert (policy.fail_on, policy.requirements[0].place.line) == ("warn", 4)


@pytest.mark.parametrize(
    ("raw", "said"),
    ids=short,
    argvalues=[
        (b"a = 1\nb = '\xff'", ":2: not UTF-8 (byte 11)"),
        ("fail-on = 'warn'".encode("utf-16"), ":1: not UTF-8"),
        (b"\x00", ":1: not TOML"),
        (b"#" * (SIZE_CAP_BYTES + 1), "larger than 1 MiB"),
        (b"[require]\ngpu.count = \n", ":2: not TOML: Invalid value (column 13)"),
        (b"a = 1\na = 2\n", ":2: not TOML: Cannot overwrite a value"),
        (b"a = [\n1,\n\n", ":2: not TOML: Invalid value (the end of the file)"),
        (b"a = " + b"[" * 20_000, "too deeply nested"),
        (b"a = " + b"9" * 5000, "a number of thousands of digits"),
        (b"x = 1\n" + b"a." * 100_000 + b"b = 1", ":2: a key of too many parts"),
        (b"[tool.infra-doctor]\n", ":1: [tool.infra-doctor] is for pyproject.toml"),
    ],
)
def test_what_is_no_policy_file(tmp_path: Path, raw: bytes, said: str) -> None:
    file = tmp_path / "infra-doctor.toml"
    file.write_bytes(raw)
    with pytest.raises(InputError) as error:
        read_policy(str(file), KNOWN)
    assert str(error.value).startswith(f"{file}:")
    assert said in str(error.value)


def test_a_key_that_is_a_value_and_a_table_says_how_to_write_both(tmp_path: Path) -> None:
    file = tmp_path / "infra-doctor.toml"
    file.write_text("[require]\ntorch = '>=2'\ntorch.cuda = '>=13'\n")
    with pytest.raises(InputError) as error:
        read_policy(str(file), KNOWN)
    assert ":3: not TOML" in str(error.value)
    assert "torch.version beside torch.cuda" in error.value.help
    file.write_text("[require]\ntorch.version = '>=2'\ntorch.cuda = '>=13'\n")
    assert [r.key for r in read_policy(str(file), KNOWN).requirements] == ["torch", "torch.cuda"]


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, said in (("", "a folder"), ("pipe", "no regular file"), ("gone", "No such file"), ("\0", "null")):
        with pytest.raises(InputError) as error:
            read_text(str(tmp_path / name))
        assert said in str(error.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    file = tmp_path / "infra-doctor.toml"
    file.write_text("")
    file.chmod(0)
    with pytest.raises(InputError, match="Permission denied"):
        read_text(str(file))


def test_the_table_of_a_project_with_other_tools(tmp_path: Path) -> None:
    text = "[project]\nname = 'x'\n[tool.ruff]\nrequire = 1\n[tool.infra-doctor.require]\ngpu.count = 8\n[tool.z]\ny.require = 2\n"
    found, lines = document(text, "pyproject.toml", project=True)
    assert found == {"require": {"gpu": {"count": 8}}}
    assert lines[("require", "gpu", "count")] == 6
    assert ("name",) not in lines
    for other in ("", "[tool]\n", "tool = 1\n", "[tool]\ninfra-doctor = 1\n"):
        with pytest.raises(InputError, match="has no table"):
            document(other, "pyproject.toml", project=True)


def test_a_table_that_is_no_table_has_no_lines() -> None:
    assert tables("a = 1\n", "x") == ({"a": 1}, {("a",): 1})
