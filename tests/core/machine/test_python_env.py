"""Predicted environments against what the real interpreters say of themselves."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from infra_doctor.errors import TargetError
from infra_doctor.machine.collect import Collector
from infra_doctor.machine.forms import replayed_machine, rooted_machine
from infra_doctor.machine.machine import CORE_ENVIRONMENT, Machine
from infra_doctor.machine.python_env import find_all_targets, find_target, python_environment
from infra_doctor.model.component import Target
from tests.core.machine.pythons import (
    PYENV,
    ShellAgent,
    install,
    make_venv,
    pythons,
    says,
    shell_machine,
    site_packages,
)
from tests.support.recipe import recipe_machine

every_python = pytest.mark.parametrize("python", pythons())


def agree(machine: Machine, python: Path | str, *, oracle: list[object]) -> Target:
    """The prediction for an interpreter, after it was compared with what that interpreter says."""
    target = find_target(machine, python=str(python))
    assert target is not None
    path, distributions, prefix, base_prefix, version = oracle
    assert list(target.sys_path) == path
    assert (target.prefix, target.base_prefix) == (prefix, base_prefix)
    assert str(version).startswith(target.python_version or "none")
    found = {d.normalized: d.version for d in python_environment(machine, target).distributions}
    # CPython up to 3.11 may leave an .egg-info of itself in lib-dynload: no distribution of anybody.
    distributions.pop("python", None)
    assert found == distributions
    return target


def newest() -> str:
    return pythons()[-1] if pythons() else sys.executable


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    return make_venv(newest(), tmp_path / "venv").parent.parent


# -- layouts ----------------------------------------------------------------------------------------------------------


@every_python
def test_interpreter_itself(python: str) -> None:
    target = agree(shell_machine(), python, oracle=says(python, HOME="/nonexistent"))
    assert target.kind == {"/usr": "system", "/usr/local": "local"}.get(target.prefix, "pyenv")


@every_python
def test_virtual_environment(python: str, tmp_path: Path) -> None:
    executable = make_venv(python, tmp_path / "venv")
    install(site_packages(tmp_path / "venv"), "Some_Package", "1.2")
    target = agree(shell_machine(HOME="/root"), executable, oracle=says(executable, HOME="/root"))
    assert target.kind == "venv"
    assert target.prefix == str(tmp_path / "venv")
    # The directory of the environment is as good as its interpreter.
    by_folder = find_target(shell_machine(HOME="/root"), python=str(tmp_path / "venv"))
    assert by_folder is not None and by_folder.sys_path == target.sys_path


@every_python
def test_system_site_packages_user_site_and_pythonpath(python: str, tmp_path: Path) -> None:
    executable = make_venv(python, tmp_path / "venv", "--system-site-packages")
    name = site_packages(tmp_path / "venv").parent.name
    user = tmp_path / "user" / "lib" / name / "site-packages"
    install(user, "from_user", "2")
    install(user, "in_both", "2")
    install(site_packages(tmp_path / "venv"), "in_both", "1")
    (tmp_path / "extra").mkdir()
    install(tmp_path / "extra", "from_pythonpath", "3")
    environ = {
        "HOME": "/nonexistent",
        "PYTHONUSERBASE": str(tmp_path / "user"),
        "PYTHONPATH": f"{tmp_path}/extra:{tmp_path}/missing::{tmp_path}/extra/../extra:.",
    }
    machine = shell_machine(**environ)
    target = agree(machine, executable, oracle=says(executable, **environ))
    held = python_environment(machine, target)
    assert [(d.name, d.version) for d in held.shadowed if d.name == "in_both"] == [("in_both", "2")]
    assert {"from_user", "from_pythonpath"} <= {d.name for d in held.distributions}
    assert str(tmp_path / "missing") in target.sys_path  # site.py keeps what is not there
    silent = {**environ, "PYTHONNOUSERSITE": "1"}
    agree(shell_machine(**silent), executable, oracle=says(executable, **silent))


@every_python
def test_copied_interpreter(python: str, tmp_path: Path) -> None:
    executable = make_venv(python, tmp_path / "venv", "--copies")
    assert not executable.is_symlink()
    agree(shell_machine(), executable, oracle=says(executable))


@every_python
def test_user_site_of_the_interpreter(python: str, tmp_path: Path) -> None:
    oracle = says(python, HOME=str(tmp_path))
    name = Path(next(p for p in oracle[0] if p.endswith("lib-dynload"))).parent.name
    install(tmp_path / ".local/lib" / name / "site-packages", "only_mine", "1")
    agree(shell_machine(HOME=str(tmp_path)), python, oracle=says(python, HOME=str(tmp_path)))


def test_links_to_an_environment(venv: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(venv)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/py").symlink_to("../linked")
    (tmp_path / "bin/python-through").symlink_to("py/bin/python")
    for executable in (
        tmp_path / "linked/bin/python3",
        tmp_path / "bin/py/bin/python",
        tmp_path / "bin/python-through",
    ):
        agree(shell_machine(), executable, oracle=says(executable))


def test_a_link_to_usr_finds_its_library() -> None:
    if not Path("/bin").is_symlink() or not Path("/bin/python3").exists():
        pytest.skip("no /bin/python3 by a link")
    agree(shell_machine(), "/bin/python3", oracle=says("/bin/python3"))


def test_path_file_replaces_every_rule(tmp_path: Path) -> None:
    if newest() == sys.executable or "/3." not in newest():
        pytest.skip("no pyenv Python here")
    oracle = says(newest())
    (tmp_path / "bin").mkdir()
    executable = tmp_path / "bin" / "python3"
    executable.symlink_to(newest())
    (tmp_path / "bin/python3._pth").write_text(f"# mine\n{oracle[0][1]}\n{oracle[0][2]}\nextra\nimport site\n")
    (tmp_path / "bin/extra").mkdir()
    environ = {"PYTHONPATH": "/nowhere", "HOME": "/nonexistent"}
    path, *_ = says(executable, **environ)
    target = find_target(shell_machine(**environ), python=str(executable))
    # The script's directory is left out in isolated mode: nothing to drop in front.
    assert list(target.sys_path[1:]) == path


def test_pythonhome(tmp_path: Path) -> None:
    environ = {"PYTHONHOME": str(Path(newest()).parent.parent), "HOME": "/nonexistent"}
    (tmp_path / "bin").mkdir()
    shutil.copy(newest(), tmp_path / "bin/python3")
    target = find_target(shell_machine(**environ), python=str(tmp_path / "bin/python3"))
    assert list(target.sys_path) == says(tmp_path / "bin/python3", **environ)[0]
    assert any("PYTHONHOME" in note for note in target.notes)


def test_conda_layout(tmp_path: Path) -> None:
    """An interpreter with its own library and conda's records beside it, as conda lays it out."""
    base = Path(newest()).resolve().parent.parent
    name = next(p.parent.name for p in base.glob("lib/python3*/os.py"))
    prefix = tmp_path / "miniconda3" / "envs" / "torch"
    for folder in ("bin", f"lib/{name}/site-packages", "conda-meta"):
        (prefix / folder).mkdir(parents=True)
    for entry in (base / "lib" / name).iterdir():
        if entry.name != "site-packages":
            (prefix / "lib" / name / entry.name).symlink_to(entry)
    shutil.copy(base / "bin" / name, prefix / "bin" / name)
    (prefix / "bin/python").symlink_to(name)
    version = says(newest())[4]
    (prefix / f"conda-meta/python-{version}-h1234567_0_cpython.json").write_text("{}")
    info = install(prefix / f"lib/{name}/site-packages", "pytorch_thing", "2.1", INSTALLER="conda\n")
    (info / "RECORD").unlink()
    machine = shell_machine(CONDA_PREFIX=str(prefix), PATH=f"{prefix}/bin:/usr/bin")
    target = agree(machine, prefix / "bin/python", oracle=says(prefix / "bin/python"))
    assert (target.kind, target.python_version) == ("conda", version)
    active = find_target(machine)
    assert (active.prefix, active.chosen_by) == (str(prefix), "CONDA_PREFIX")
    held = python_environment(machine, target).distribution("pytorch-thing")
    assert (held.installer, held.has_record) == ("conda", False)


# -- .pth files, editable installs ------------------------------------------------------------------------------------


@every_python
def test_pth_files(python: str, tmp_path: Path) -> None:
    executable = make_venv(python, tmp_path / "venv")
    site = site_packages(tmp_path / "venv")
    for folder in ("relative", "spaced out", "../beside"):
        (site / folder).mkdir()
    (tmp_path / "absolute").mkdir()
    install(tmp_path / "absolute", "found_by_pth", "1")
    with zipfile.ZipFile(tmp_path / "modules.zip", "w") as archive:
        archive.writestr("in_zip.py", "")
    (site / "b.pth").write_bytes(
        b"\n# a comment\nrelative\nmissing\n  \nspaced out  \n" + f"{tmp_path}/absolute\n".encode() + b"relative\n"
    )
    (site / "a.pth").write_text(f"../beside\nimport os; os.environ.get('X')\n{tmp_path}/modules.zip\n")
    (site / ".hidden.pth").write_text(f"{tmp_path}\n")
    (site / "_virtualenv.pth").write_text("import _virtualenv")
    (site / "_virtualenv.py").write_text("")
    machine = shell_machine()
    target = find_target(machine, python=str(executable))
    oracle = says(executable)
    assert list(target.sys_path) == oracle[0]
    assert f"unknown (executes code): {site}/a.pth:2" in target.notes
    assert not any("_virtualenv" in note for note in target.notes)
    assert f"{tmp_path}/modules.zip is an archive: the distributions inside are not read" in target.notes
    assert {d.name for d in python_environment(machine, target).distributions} == {"found_by_pth"}
    assert target.site_dirs == (str(site), str(tmp_path / "absolute"))


def test_pth_with_a_byte_order_mark_and_foreign_bytes(venv: Path) -> None:
    site = site_packages(venv)
    (site / "marked").mkdir()
    (site / "bom.pth").write_bytes(b"\xef\xbb\xbfmarked\n")
    (site / "latin.pth").write_bytes(b"caf\xe9\n")
    target = find_target(shell_machine(), python=str(venv))
    assert target.sys_path[-1] == str(site / "marked")


FINDER = """from __future__ import annotations
import sys

MAPPING: dict[str, str] = {mapping!r}
NAMESPACES: dict[str, list[str]] = {namespaces!r}
PATH_PLACEHOLDER = '__editable__.thing-1.0.finder' + ".__path_hook__"


def install():
    if NAMESPACES and PATH_PLACEHOLDER not in sys.path:
        sys.path.append(PATH_PLACEHOLDER)
"""


@pytest.mark.parametrize("namespaces", [{}, {"space": ["/src/space"]}])
def test_editable_by_setuptools(venv: Path, tmp_path: Path, namespaces: dict[str, list[str]]) -> None:
    """The files that setuptools 80 leaves for a project with a package directory of another name."""
    site = site_packages(venv)
    direct = json.dumps({"dir_info": {"editable": True}, "url": f"file://user:secret@host{tmp_path}"})
    install(site, "thing", "1.0", **{"direct_url.json": direct})
    mapping = {"thing": str(tmp_path / "src/thing")}
    (site / "__editable___thing_1_0_finder.py").write_text(FINDER.format(mapping=mapping, namespaces=namespaces))
    (site / "__editable__.thing-1.0.pth").write_text(
        "import __editable___thing_1_0_finder; __editable___thing_1_0_finder.install()"
    )
    machine = shell_machine()
    target = agree(machine, venv / "bin/python", oracle=says(venv / "bin/python"))
    assert bool(namespaces) == (target.sys_path[-1] == "__editable__.thing-1.0.finder.__path_hook__")
    assert not target.notes
    held = python_environment(machine, target)
    assert held.editable_modules == (("thing", str(tmp_path / "src/thing")),)
    assert held.distribution("Thing").editable
    assert "secret" not in repr(machine.observations[("distributions", str(site))])


@pytest.mark.parametrize("text", ["", "MAPPING = {__import__('os').system('true')}\nNAMESPACES = {}\n", "\0\xff"])
def test_a_finder_that_is_not_setuptools_is_unknown(venv: Path, text: str) -> None:
    site = site_packages(venv)
    (site / "__editable___x_finder.py").write_text(text)
    (site / "x.pth").write_text("import __editable___x_finder; __editable___x_finder.install()")
    target = find_target(shell_machine(), python=str(venv))
    assert target.notes == (f"unknown (executes code): {site}/x.pth:1",)


def test_editable_by_a_plain_path(venv: Path, tmp_path: Path) -> None:
    """hatchling, uv_build, flit, poetry: a .pth with the source directory."""
    site = site_packages(venv)
    (tmp_path / "src/thing").mkdir(parents=True)
    install(site, "thing", "1.0", **{"direct_url.json": '{"dir_info": {"editable": true}, "url": "file:///x"}'})
    (site / "_editable_impl_thing.pth").write_text(f"{tmp_path}/src\n")
    machine = shell_machine()
    target = agree(machine, venv / "bin/python", oracle=says(venv / "bin/python"))
    assert target.sys_path[-1] == str(tmp_path / "src")
    assert python_environment(machine, target).distribution("thing").editable


def test_develop_by_an_egg_link(venv: Path, tmp_path: Path) -> None:
    site = site_packages(venv)
    egg = tmp_path / "src" / "old_thing.egg-info"
    egg.mkdir(parents=True)
    (egg / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: old-thing\nVersion: 0.9\n")
    (egg / "requires.txt").write_text("numpy>=1\n\n[cuda]\ncupy\n\n[:python_version<'3.8']\ntyping\n")
    (site / "old-thing.egg-link").write_text(f"{tmp_path}/src\n.")
    (site / "easy-install.pth").write_text(f"{tmp_path}/src\n")
    machine = shell_machine()
    target = agree(machine, venv / "bin/python", oracle=says(venv / "bin/python"))
    held = python_environment(machine, target)
    assert held.shadowed == ()
    assert held.distribution("old_thing").editable
    assert held.distribution("old_thing").requires == (
        "numpy>=1", 'cupy; extra == "cuda"', "typing; python_version<'3.8'",
    )  # fmt: skip


def test_sitecustomize_is_noted(venv: Path) -> None:
    site = site_packages(venv)
    (site / "sitecustomize.py").write_text("# nothing\n\n")
    assert not find_target(shell_machine(), python=str(venv)).notes
    (site / "sitecustomize.py").write_text("import sys\nsys.path.append('/x')\n")
    target = find_target(shell_machine(), python=str(venv))
    assert target.notes == (f"unknown (executes code): {site}/sitecustomize.py",)


# -- which target -----------------------------------------------------------------------------------------------------


def test_active_target_order(venv: Path, tmp_path: Path) -> None:
    other = make_venv(newest(), tmp_path / "other").parent.parent
    path = f"relative:{tmp_path}/nothing:{other}/bin:{venv}/bin"
    found = find_target(shell_machine(VIRTUAL_ENV=str(venv), CONDA_PREFIX=str(other), PATH=path))
    assert (found.prefix, found.chosen_by) == (str(venv), "VIRTUAL_ENV")
    found = find_target(shell_machine(PATH=path))
    assert (found.prefix, found.chosen_by) == (str(other), "python3 on PATH")
    (other / "bin/python3").unlink()
    (other / "bin/python").unlink()
    (other / "bin/python").symlink_to("python3")
    found = find_target(shell_machine(VIRTUAL_ENV=str(other), PATH=path))
    assert (found.prefix, found.chosen_by) == (str(venv), "python3 on PATH")
    assert found.notes[0].startswith(f"passed over (VIRTUAL_ENV): {other}/bin/python: a link that leads nowhere")


def test_own_environment_where_none_is_on_path(tmp_path: Path) -> None:
    found = find_target(shell_machine(PATH=str(tmp_path)))
    assert found.executable == os.path.normpath(sys.executable)
    assert found.prefix == sys.prefix


def pyenv_root(tmp_path: Path) -> Path:
    root = tmp_path / "pyenv"
    (root / "shims").mkdir(parents=True)
    (root / "versions").mkdir()
    shim = root / "shims/python3"
    shim.write_text(
        f'#!/usr/bin/env bash\nset -e\nprogram="${{0##*/}}"\nexport PYENV_ROOT="{root}"\n'
        f'exec "{root}/libexec/pyenv" exec "$program" "$@"\n'
    )
    shim.chmod(0o755)
    return root


def test_pyenv_shim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = pyenv_root(tmp_path)
    if PYENV.is_dir():
        for version in ("3.11.7", "3.12.1"):
            if (PYENV / version).is_dir():
                (root / "versions" / version).symlink_to(PYENV / version)
    if len(list((root / "versions").iterdir())) < 2:
        pytest.skip("no two pyenv Pythons here")
    path = f"{root}/shims:/usr/bin"
    (root / "version").write_text("3.11.7\n")
    monkeypatch.chdir(tmp_path)
    assert find_target(shell_machine(PATH=path)).python_version == "3.11.7"
    assert find_target(shell_machine(PATH=path, PYENV_VERSION="3.12")).python_version == "3.12.1"
    (tmp_path / ".python-version").write_text("# here\n3.12.1\n")
    found = find_target(shell_machine(), python=str(root / "shims/python3"))
    assert found.python_version == "3.12.1"
    with pytest.raises(TargetError, match=r"a pyenv shim, and version '3\.2\.1' has no python3"):
        find_target(shell_machine(PYENV_VERSION="3.2.1"), python=str(root / "shims/python3"))


def test_pid_tells_environment_and_options(venv: Path, tmp_path: Path) -> None:
    (tmp_path / "extra").mkdir()
    code = "import sys, json; print(json.dumps(sys.path[1:]), flush=True); sys.stdin.read()"
    for options in ((), ("-s",), ("-E", "-B")):
        environ = {"PATH": f"{venv}/bin", "PYTHONPATH": "extra", "HOME": "/nonexistent"}
        process = subprocess.Popen(
            ["python", *options, "-c", code], executable=str(venv / "bin/python"), env=environ, cwd=tmp_path,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            expected = json.loads(process.stdout.readline())
            found = find_target(shell_machine(PATH="/usr/bin"), pid=process.pid)
        finally:
            process.communicate("")
        assert list(found.sys_path) == expected
        assert (found.prefix, found.chosen_by) == (str(venv), f"--pid {process.pid}")


def test_pid_of_something_else() -> None:
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    try:
        with pytest.raises(TargetError, match="its name is not that of a Python interpreter"):
            find_target(shell_machine(), pid=process.pid)
    finally:
        process.communicate(b"")
    with pytest.raises(TargetError, match="no such process"):
        find_target(shell_machine(), pid=process.pid)


def test_all_targets(venv: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    one = make_venv(newest(), home / "project/.venv").parent.parent
    two = make_venv(newest(), home / ".virtualenvs/two").parent.parent
    listed = make_venv(newest(), tmp_path / "far").parent.parent
    (home / ".conda").mkdir()
    (home / ".conda/environments.txt").write_text(f"{listed}\n/nowhere\n")
    (home / ".virtualenvs/broken/bin").mkdir(parents=True)
    (home / ".virtualenvs/broken/bin/python").symlink_to("/nowhere/python3")
    (home / ".virtualenvs/again").symlink_to(two)
    found = find_all_targets(shell_machine(HOME=str(home), VIRTUAL_ENV=str(venv), PATH="/usr/bin:/bin"))
    prefixes = [t.prefix for t in found]
    assert prefixes[0] == str(venv)
    assert len({os.path.realpath(p) for p in prefixes}) == len(prefixes)
    assert {str(one), str(listed)} <= set(prefixes)
    assert len({str(two), str(home / ".virtualenvs/again")} & set(prefixes)) == 1
    assert not any("broken" in p for p in prefixes)


# -- other forms of machine -------------------------------------------------------------------------------------------


def test_rooted_machine_follows_links_inside_its_root(tmp_path: Path) -> None:
    real = Path(newest()).resolve()
    for folder in ("usr/bin", "usr/lib/python3.12", "opt/venv/bin", "opt/venv/lib/python3.12/site-packages"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "usr/lib/python3.12/os.py").write_text("")
    shutil.copy(real, tmp_path / "usr/bin/python3.12")
    (tmp_path / "usr/bin/python3").symlink_to("/usr/bin/python3.12")
    (tmp_path / "opt/venv/bin/python").symlink_to("/usr/bin/python3")
    (tmp_path / "opt/venv/pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    (tmp_path / "opt/venv/lib64").symlink_to("lib")
    install(
        tmp_path / "opt/venv/lib/python3.12/site-packages", "torch", "2.11.0", {"torch/lib/libtorch.so": b"\x7fELF"}
    )
    machine = rooted_machine(str(tmp_path))
    target, system = find_all_targets(machine)[::-1][:2]
    assert (target.prefix, target.base_prefix, target.python_version) == ("/opt/venv", "/usr", "3.12")
    assert system.prefix == "/usr"
    held = python_environment(machine, target)
    library = "/opt/venv/lib/python3.12/site-packages/torch/lib/libtorch.so"
    assert held.owner_of(library) is held.distribution("Torch")
    assert held.owner_of("/opt/venv/lib/nothing.so") is None


def everything(machine: Machine, **request: str) -> tuple[Target, object]:
    target = find_target(machine, **request)
    held = python_environment(machine, target)
    return target, (held.distributions, held.shadowed, held.records, held.editable_modules)


def furnish(venv: Path, tmp_path: Path) -> None:
    site = site_packages(venv)
    (tmp_path / "src").mkdir()
    (site / "src.pth").write_text(f"{tmp_path}/src\nimport unknown_thing\n")
    (site / "unknown_thing.py").write_text("")
    install(tmp_path / "src", "by_path", "1", {"by_path/_c.so": b"x"})
    install(site, "aaa", "1", {"p/x.py": b"1"})
    install(site, "bbb", "1", {"p/x.py": b"2"})


def test_a_replay_of_the_observations_tells_the_same(venv: Path, tmp_path: Path) -> None:
    furnish(venv, tmp_path)
    live = shell_machine(VIRTUAL_ENV=str(venv), HOME=str(tmp_path), PYTHONPATH="relative")
    told = everything(live)
    observations = [[name, list(arguments), result] for (name, *arguments), result in live.observations.items()]
    machine = {"capabilities": list(live.capabilities)}
    again = replayed_machine({"observations": observations, "machine": machine}, where="test")
    assert everything(again) == told
    assert told[0].chosen_by == "VIRTUAL_ENV"


@pytest.mark.parametrize("python", [p for p in ("/usr/bin/python3", newest()) if Path(p).exists()])
def test_what_the_collector_gathers_is_enough(python: str, tmp_path: Path) -> None:
    venv = make_venv(python, tmp_path / "venv", "--system-site-packages").parent.parent
    furnish(venv, tmp_path)
    environ = {"VIRTUAL_ENV": str(venv), "HOME": str(tmp_path), "PATH": "/usr/bin"}
    collector = Collector(
        ShellAgent(environ), {"environment": list(CORE_ENVIRONMENT), "site": [], "paths": [], "commands": []}
    )
    collector.run([f"{venv}/bin/python"])
    machine = {"capabilities": ["files", "environment", "kernel state", "processes"]}
    snapshot = {"observations": list(collector.kept.values()), "machine": machine}
    target, held = everything(replayed_machine(snapshot, where="test"))
    live_target, live_held = everything(shell_machine(**environ))
    assert target.sys_path == live_target.sys_path
    assert (target.python_version, target.kind) == (live_target.python_version, "venv")
    names = {d.name for d in held[0]}
    assert {"aaa", "bbb"} <= names <= {d.name for d in live_held[0]}


def test_described_machine_of_the_debian_kind() -> None:
    machine = recipe_machine(
        {
            "environment": {"PATH": "/usr/bin", "HOME": "/root"},
            "files": {"/usr/lib/python3.12/os.py": "", "/usr/lib/python3/dist-packages/x.pth": "/srv/code\n",
                      "/srv/code/m.py": "", "/usr/local/lib/python3.12/dist-packages/y.py": "",
                      "/usr/lib/python3.12/lib-dynload/a": ""},
            "links": {"/usr/bin/python3": "python3.12"},
            "elf": {"/usr/bin/python3.12": {}},
        }
    )  # fmt: skip
    target = find_target(machine)
    assert target.sys_path == (
        "/usr/lib/python312.zip", "/usr/lib/python3.12", "/usr/lib/python3.12/lib-dynload",
        "/usr/local/lib/python3.12/dist-packages", "/usr/lib/python3/dist-packages", "/srv/code",
    )  # fmt: skip


def fedora(**files: str) -> Machine:
    site_py = (
        "    if ENABLE_USER_SITE and 'RPM_BUILD_ROOT' not in os.environ:\n"
        + '        PREFIXES.insert(0, "/usr/local")\n'
    )
    return recipe_machine(
        {
            "environment": {"PATH": "/usr/bin", "HOME": "/root"},
            "files": {
                "/usr/lib64/python3.13/os.py": "", "/usr/lib64/python3.13/site.py": site_py,
                **{f"{p}/python3.13/site-packages/x.py": "" for p in ("/usr/lib64", "/usr/lib", "/usr/local/lib")},
                "/usr/lib64/python3.13/lib-dynload/a": "", **files,
            },
            "elf": {"/usr/bin/python3.13": {}}, "links": {"/usr/bin/python3": "python3.13"},
        }
    )  # fmt: skip


def test_described_machine_of_the_fedora_kind() -> None:
    assert find_target(fedora()).sys_path == (
        "/usr/lib64/python313.zip", "/usr/lib64/python3.13", "/usr/lib64/python3.13/lib-dynload",
        "/usr/local/lib/python3.13/site-packages", "/usr/lib64/python3.13/site-packages",
        "/usr/lib/python3.13/site-packages",
    )  # fmt: skip


def test_pypy_is_named_and_noted() -> None:
    machine = recipe_machine(
        {
            "files": {"/opt/pypy/lib/pypy3.10/os.py": "", "/opt/pypy/lib/pypy3.10/site-packages/x.py": ""},
            "elf": {"/opt/pypy/bin/pypy3.10": {}},
            "links": {"/opt/pypy/bin/python3": "pypy3.10"},
        }
    )
    target = find_target(machine, python="/opt/pypy")
    assert (target.kind, target.python_version) == ("pypy", "3.10")
    assert target.sys_path == ("/opt/pypy/lib/pypy3.10", "/opt/pypy/lib/pypy3.10/site-packages")
    assert any("PyPy" in note for note in target.notes)


def test_free_threaded_python_has_its_own_library() -> None:
    machine = recipe_machine(
        {
            "files": {"/opt/py/lib/python3.14t/os.py": "", "/opt/py/lib/python3.14t/site-packages/x.py": ""},
            "elf": {"/opt/py/bin/python3": {"needed": ["libpython3.14t.so.1.0"]}},
        }
    )
    target = find_target(machine, python="/opt/py/bin/python3")
    assert target.sys_path[0] == "/opt/py/lib/python314t.zip"
    assert target.site_dirs == ("/opt/py/lib/python3.14t/site-packages",)


# -- bad input --------------------------------------------------------------------------------------------------------


def test_wrong_python_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text-python").write_text("hello")
    (tmp_path / "text-python").chmod(0o755)
    (tmp_path / "wrapper").write_text("#!/bin/sh\nexec /usr/bin/python3\n")
    (tmp_path / "wrapper").chmod(0o755)
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "python3")
    (tmp_path / "python").symlink_to("loop")
    (tmp_path / "loop").symlink_to("python")
    shutil.copy("/bin/cat", tmp_path / "python3.12")
    (tmp_path / "noexec").write_bytes(b"\x7fELF")
    monkeypatch.chdir(tmp_path)
    expected = {
        "missing": "no such file",
        "text-python": "no executable program",
        "wrapper": "a script, no Python interpreter",
        "empty": "no Python environment: there is no bin/python",
        "python3": "a fifo, no Python interpreter",
        "python": "a link that leads nowhere",
        "python3.12": "its standard library is not there",
        "noexec": "not executable",
        "/bin/cat": "its name is not that of a Python interpreter",
        "/proc/self/mem": "no Python interpreter|not executable",
        "": "no absolute path",
        "no-such-program-anywhere": "no such file",
    }
    for given, message in expected.items():
        path = given if given.startswith("/") or not given else f"{tmp_path}/{given}"
        with pytest.raises(TargetError, match=message) as caught:
            find_target(shell_machine(PATH="/usr/bin"), python=path)
        assert caught.value.help or given == "", given
    with pytest.raises(TargetError, match="wrapper"):
        find_target(shell_machine(PATH="/usr/bin"), python="./wrapper")


def test_damaged_pyvenv_cfg(venv: Path) -> None:
    site = site_packages(venv)
    text = (venv / "pyvenv.cfg").read_bytes()
    (venv / "pyvenv.cfg").write_bytes(b"prompt = caf\xe9 \xff\n" + text)
    assert find_target(shell_machine(), python=str(venv)).site_dirs == (str(site),)
    (venv / "pyvenv.cfg").write_bytes(b"=\n= =\nhome\n" + b"x" * (10 << 20) + b"=1\n")
    assert find_target(shell_machine(), python=str(venv)).site_dirs[0] == str(site)
    (venv / "pyvenv.cfg").unlink()
    os.mkfifo(venv / "pyvenv.cfg")
    target = find_target(shell_machine(), python=str(venv))
    assert target.prefix != str(venv)


def test_loops_and_strange_entries_on_the_path(venv: Path, tmp_path: Path) -> None:
    site = site_packages(venv)
    (site / "loop.pth").symlink_to("loop.pth")
    os.mkfifo(site / "fifo.pth")
    (site / "folder.pth").mkdir()
    (site / "long.pth").write_bytes(b"x" * (10 << 20))
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    machine = shell_machine(PYTHONPATH=f"{tmp_path}/a:/dev/null")
    target = find_target(machine, python=str(venv))
    assert target.site_dirs == (str(site),)
    assert python_environment(machine, target).distributions == ()
