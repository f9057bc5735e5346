"""Whatever a machine holds, `check` ends with a report: damaged files are named, nothing raises, nothing hangs."""

import os
import random
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra_doctor.cli.check import exit_code
from infra_doctor.machine.agent import Agent
from infra_doctor.model.finding import Status
from infra_doctor.model.report import Report
from infra_doctor.runner import registry
from infra_doctor.runner.run import Run, RunOptions
from tests.core.machine.pythons import install, make_venv, site_packages
from tests.support import rooted_tree
from tests.support.rooted_tree import SITE, VENV

PLUGINS = registry.load(third_party=False)
SETTINGS: dict[str, object] = {"verbose": 2, "width": 80, "color": False, "ascii": False}


def look(root: Path) -> Report:
    run = Run(RunOptions(root=str(root)), registry=PLUGINS)
    report = run.execute()
    assert run.traces == []
    return report


def damaged(report: Report) -> str:
    """What the findings that are no verdict say."""
    told = [f for f in report.findings if f.status in {Status.ERROR, Status.UNKNOWN}]
    return "\n".join(f"{f.subject} {f.title} {f.detail} {f.evidence}" for f in told)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rooted_tree.build(tmp_path_factory.mktemp("root"))


@pytest.fixture
def root(tree: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tree, tmp_path / "root", symlinks=True))


def test_the_whole_tree_has_nothing_damaged(tree: Path) -> None:
    report = look(tree)
    assert not [f for f in report.findings if f.status is Status.ERROR]
    kinds = {c.kind for c in report.components}
    assert {"os", "cpu", "gpu", "driver", "cuda-toolkit", "cann", "wheel", "cudart"} <= kinds
    assert [t.prefix for t in report.targets] == ["/usr", "/opt/venv"]


def make(kind: str) -> Callable[[Path, random.Random], None]:
    """A way to put something hostile in a file's place."""

    def random_bytes(path: Path, r: random.Random) -> None:
        path.write_bytes(r.randbytes(5000))

    makers: dict[str, Callable[[Path, random.Random], object]] = {
        "random": random_bytes,
        "fifo": lambda path, r: os.mkfifo(path),
        "loop": lambda path, r: os.symlink(path.name, path),
        "socket": lambda path, r: os.mknod(path, 0o600 | stat.S_IFSOCK),
        "folder": lambda path, r: path.mkdir(),
        "empty": lambda path, r: path.write_bytes(b""),
        "dangling": lambda path, r: os.symlink("/nowhere/at/all", path),
        "one long line": lambda path, r: path.write_bytes(b"A" * (10 << 20)),
        "numbers": lambda path, r: path.write_bytes((b"9" * 6000 + b" = : , \n") * 50),
        "zeros": lambda path, r: path.write_bytes(b"\0" * 3000),
        "markup": lambda path, r: path.write_bytes(b"\xe9\x1b[31m<script>alert(1)</script>\r\nName: \xff\n" * 30),
    }

    def put(path: Path, r: random.Random) -> None:
        path.unlink()
        makers[kind](path, r)

    return put


KINDS = (
    "random",
    "fifo",
    "loop",
    "socket",
    "folder",
    "empty",
    "dangling",
    "one long line",
    "numbers",
    "zeros",
    "markup",
)


def cut(path: Path, r: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: r.randrange(len(data) + 1)])


def flip(path: Path, r: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(r.randrange(1, 40) if data else 0):
        data[r.randrange(min(len(data), r.choice((64, 1024, len(data)))))] = r.randrange(256)
    path.write_bytes(data)


def test_any_damage_ends_with_a_report(tree: Path, tmp_path: Path) -> None:
    names = sorted(p.relative_to(tree) for p in tree.rglob("*") if p.is_file() and not p.is_symlink())
    ways = [cut, flip, *(make(kind) for kind in KINDS)]
    for seed in range(60):
        r = random.Random(seed)
        root = Path(shutil.copytree(tree, tmp_path / str(seed), symlinks=True))
        for name in r.sample(names, r.choice((1, 2, 5, 20))):
            r.choice(ways)(root / name, r)
        report = look(root)
        assert exit_code(report) in {0, 1, 3}, seed
        for form in PLUGINS.reports:
            text = form.render(report, SETTINGS)
            assert "\x1b[31m" not in text and "<script>alert" not in text, (seed, form.name)
        shutil.rmtree(root)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("etc/ld.so.cache", "random"), ("etc/ld.so.cache", "fifo"), ("etc/os-release", "markup"),
        ("usr/local/cuda-13.0/version.json", "random"), ("usr/local/cuda-13.0/version.json", "fifo"),
        ("usr/local/Ascend/driver/version.info", "fifo"), ("usr/local/cuda-13.0/lib64/libcudart.so.13.0.96", "random"),
        (f"{VENV}/pyvenv.cfg", "random"), (f"{VENV}/pyvenv.cfg", "fifo"), (f"{VENV}/pyvenv.cfg", "loop"),
        (f"{SITE}/extra.pth", "zeros"), (f"{SITE}/extra.pth", "fifo"), (f"{SITE}/extra.pth", "markup"),
        (f"{SITE}/torch/version.py", "random"), (f"{SITE}/onnxruntime/capi/build_and_package_info.py", "zeros"),
        (f"{SITE}/torch-2.11.0+cu130.dist-info/RECORD", "zeros"), (f"{SITE}/torch-2.11.0+cu130.dist-info/METADATA", "fifo"),
        (f"{SITE}/torch-2.11.0+cu130.dist-info/RECORD", "one long line"),
        (f"{SITE}/torch-2.11.0+cu130.dist-info/METADATA", "one long line"),
        (f"{SITE}/onnxruntime/capi/onnxruntime_pybind11_state.so", "random"), ("usr/bin/python3.11", "zeros"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_named(root: Path, name: str, kind: str) -> None:
    make(kind)(root / name, random.Random(1))
    assert Path(name).name in damaged(look(root)) or Path(name).parent.name in damaged(look(root))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take another user's part")
def test_unreadable_files_are_named(root: Path) -> None:
    look(root)  # imports what an unprivileged user may not read
    for path in (root, *root.parents):
        path.chmod(path.stat().st_mode | 0o055)
    names = ["etc/ld.so.cache", f"{SITE}/torch-2.11.0+cu130.dist-info/RECORD", f"{VENV}/pyvenv.cfg",
             "usr/local/cuda-13.0/version.json", f"{SITE}/extra.pth"]  # fmt: skip
    for name in names:
        (root / name).chmod(0)
    os.seteuid(65534)
    try:
        said = damaged(look(root))
    finally:
        os.seteuid(0)
    for name in names:
        assert f"/{name}" in said, name


def test_hostile_names(root: Path) -> None:
    bad = [
        "new\nline",
        "\x1b[31mred",
        "<img src=x onerror=alert(1)>",
        "a b'c\"d",
        "dollar$(id)",
        "ends.pth\n",
        "*?[",
        "...",
    ]
    for name in bad:
        info = install(root / SITE, "placeholder", "1.0")
        info.rename(info.with_name(f"{name}-1.0.dist-info"))
        (root / SITE / f"{name}.pth").write_text(f"/opt/{name}\n")
        (root / "usr/local" / f"cuda-{name}").mkdir()
        (root / "usr/lib" / f"libcuda.so.{name}").write_bytes(b"\x7fELF")
    with open(os.fsencode(root / SITE) + b"/\xff\xfe.pth", "wb") as file:
        file.write(b"/opt/\xff\n")
    os.mkdir(os.fsencode(root / "usr/local/cuda-") + b"\xe9")
    report = look(root)
    for form in PLUGINS.reports:
        text = form.render(report, SETTINGS)
        assert "\x1b[31m" not in text and "<img src=x" not in text.replace("\\<img", ""), form.name
        text.encode("utf-8", "backslashreplace")


def test_a_folder_of_200_000_entries(root: Path) -> None:
    folder = root / SITE / "nvidia/many/lib"
    folder.mkdir(parents=True)
    handle = os.open(folder, os.O_DIRECTORY)
    for number in range(200_000):
        os.symlink("nothing", f"f{number}", dir_fd=handle)
    os.close(handle)
    agent = Agent(str(root))
    assert len(agent.ask("list", f"/{SITE}/nvidia/many/lib")) == 200_000
    (folder / "one more").touch()
    assert agent.ask("list", f"/{SITE}/nvidia/many/lib")["error"] == "more than 200000 entries"
    assert look(root).findings


# -- a real environment under another root ----------------------------------------------------------------------------


def test_an_unpacked_root_with_its_own_python(tmp_path: Path) -> None:
    """A copy of an environment and its base, where absolute links lead inside the root."""
    venv = make_venv(sys.executable, tmp_path / "venv").parent.parent
    install(site_packages(venv), "torch", "2.11.0", {"torch/version.py": b"__version__ = '2.11.0+cpu'\ncuda = None\n"})
    root = tmp_path / "root"
    base = Path(sys.base_prefix)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    inside = root / str(base).lstrip("/")
    (inside / "bin").mkdir(parents=True)
    shutil.copy(Path(os.path.realpath(sys.executable)), inside / "bin" / version)
    (inside / "lib" / version / "lib-dynload").mkdir(parents=True)
    (inside / "lib" / version / "os.py").touch()
    shutil.copytree(venv, root / "opt/app/venv", symlinks=True)
    for script in (root / "opt/app/venv/bin").glob("[Aa]ctivate*"):  # they name the place where it was made
        script.unlink()
    report = look(root)
    target = next(t for t in report.targets if t.prefix == "/opt/app/venv")
    assert target.base_prefix == str(base)
    assert {c.key for c in report.components if c.kind == "wheel"} == {"wheel:torch@/opt/app/venv"}
    text = report.machine.name + repr(report)
    assert os.uname().release not in text and str(tmp_path) not in text
    assert not [c for c in report.components if c.kind in {"cpu", "memory", "gpu"}]
    hosts = next((c for c in report.components if c.kind == "libc"), None)
    assert hosts is None, "the root has no C library of its own"


def test_a_root_with_proc_shows_that_kernel_not_ours(tree: Path) -> None:
    machine = {c.kind: c for c in look(tree).components}
    assert machine["os"].attributes["kernel"] == "6.8.0-60-generic"
    assert machine["os"].attributes.get("page_size") is None
    assert machine["cpu"].attributes["cores"] == 2
    assert machine["cpu"].name == "Xeon of the tree"


# -- commands and children --------------------------------------------------------------------------------------------


def fake_commands(folder: Path, script: str) -> dict[str, str]:
    """A PATH on which the vendors' commands do this."""
    for name in ("nvcc", "gcc", "npu-smi", "cuda/bin/nvcc"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "CUDA_HOME": str(folder / "cuda")}


def processes_with(marker: str) -> list[str]:
    """The processes whose command line holds the marker."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        found += [line] if marker in line else []
    return found


@pytest.mark.parametrize(
    "script",
    [
        "head -c 10000000 /dev/zero | tr '\\0' 'x'",
        "head -c 100000 /dev/urandom; head -c 100000 /dev/urandom >&2",
        "kill -SEGV $$",
        "exit 77",
        "(sleep 3 &) ; echo release 99.9, V99.9.9",
        "echo '<script>' \"\\033[31m\" release 12.4, V12.4.131",
    ],
)
def test_commands_that_say_anything(tmp_path: Path, script: str) -> None:
    argv = [sys.executable, "-m", "infra_doctor", "check", "-v"]
    done = subprocess.run(
        argv, env=fake_commands(tmp_path, script), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "\x1b[31m" not in done.stdout
    assert len(done.stdout) < 100_000


def test_a_command_that_hangs_is_left_and_ended(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "infra_doctor", "check", "--timeout", "1.5"]
    env = fake_commands(tmp_path, "sleep 88888 & sleep 88888")
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert "CUDA toolkits on disk" in done.stdout and "time for the whole run" in done.stdout
    assert processes_with(str(tmp_path)) == []
