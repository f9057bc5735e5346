"""CANN's layouts, the precedence of its version sources, and its packages, on trees built out of the public captures."""

from pathlib import Path

import pytest

from infra_doctor.model.component import Component, Target
from infra_doctor_probes.ascend.cann import configured_versions
from infra_doctor_probes.ascend.environment import AscendEnvironment
from infra_doctor_probes.ascend.files import AscendVersionSources
from tests.probes.detect.test_ascend_driver import HOSTILE, hostile
from tests.support.ascend_trees import ASCEND, capture, captures, link, machine_at, probes, put
from tests.support.gather import Gathered, gather

OLD = f"{ASCEND}/ascend-toolkit"
VARIABLES = ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME", "LD_LIBRARY_PATH", "PYTHONPATH", "ATB_HOME_PATH", "HOME")
LINKED = "file_ascend-toolkit_latest_"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def look(root: Path, *targets: Target) -> Gathered:
    return gather(machine_at(root, *VARIABLES), probes("cann", "packages", "environment"), targets=targets)


def old_layout(root: Path) -> None:
    """8.2.RC1 with `latest` as a folder of links."""
    put(
        root,
        f"{OLD}/8.2.RC1/aarch64-linux/ascend_toolkit_install.info",
        capture(f"{LINKED}install.info__cann-8.2.RC1.txt"),
    )
    put(root, f"{OLD}/8.2.RC1/toolkit/version.info", capture(f"{LINKED}toolkit_version.info__cann-8.2.RC1.txt"))
    put(root, f"{OLD}/8.2.RC1/opp_kernel/version.info", capture(f"{LINKED}opp_kernel_version.info__cann-8.2.RC1.txt"))
    put(root, f"{OLD}/8.2.RC1/runtime/version.info", "Version=8.2.0.0.201\nversion_dir=8.2.RC1\n")
    put(root, f"{OLD}/8.2.RC1/aarch64-linux/lib64/libhccl.so", b"")
    put(root, f"{OLD}/set_env.sh", "")
    for name in ("toolkit", "opp_kernel", "runtime", "aarch64-linux"):
        link(root, f"{OLD}/latest/{name}", f"../8.2.RC1/{name}")
    link(root, f"{OLD}/latest/lib64", "aarch64-linux/lib64")


def new_layout(root: Path, base: str = ASCEND) -> None:
    """8.5.0 behind the link `cann`."""
    text = capture("file_cann_x86_64-linux_ascend_toolkit_install.info__mindcluster-doc-L1285.txt")
    put(root, f"{base}/cann-8.5.0/x86_64-linux/ascend_toolkit_install.info", text)
    put(root, f"{base}/cann-8.5.0/share/info/runtime/version.info", "Version=8.5.0\n")
    put(root, f"{base}/cann-8.5.0/set_env.sh", "")
    link(root, f"{base}/cann", "cann-8.5.0")


@pytest.mark.parametrize(
    "path", captures("file_*_ascend_toolkit_install.info__*") + captures(f"{LINKED}install.info__*")
)
def test_install_info_captures(path: Path, tmp_path: Path) -> None:
    lines = dict(line.split("=", 1) for line in path.read_text(encoding="utf-8").split())
    place = lines["path"]
    put(tmp_path, f"{place}/ascend_toolkit_install.info", path.read_text(encoding="utf-8"))
    cann = look(tmp_path).one("cann")
    assert cann.version == lines["version"]
    assert cann.attributes["inner_version"] == lines["innerversion"]
    assert cann.attributes["accepts_inner"] == lines["compatible_version"]
    assert cann.attributes["arch"] == lines["arch"]
    assert cann.key == f"cann:{place.rpartition('/')[0]}"
    assert "version_conflict" not in cann.attributes


def test_old_layout_is_one_root(tmp_path: Path) -> None:
    old_layout(tmp_path)
    cann = look(tmp_path).one("cann")
    assert cann.key == f"cann:/{OLD}/8.2.RC1"
    assert cann.version == "8.2.RC1"
    assert cann.attributes["layout"] == "ascend-toolkit"
    assert cann.attributes["given"] == f"/{OLD}/latest"
    assert cann.attributes["set_env"] == f"/{OLD}/set_env.sh"
    assert cann.attributes["hccl"] is True
    assert "version_conflict" not in cann.attributes


def test_old_layout_never_shows_an_internal_number(tmp_path: Path) -> None:
    put(
        tmp_path,
        f"{OLD}/8.2.T2/compiler/version.info",
        capture("file_ascend-toolkit_compiler_version.info__cann-8.2.T2.txt"),
    )
    found = look(tmp_path)
    sources = found.fact(AscendVersionSources)
    assert found.one("cann").version == "8.2.T2"
    assert {version for version, _ in sources.sources} == {"8.2.T2"}
    compiler = found.one("cann-package")
    assert (compiler.version, compiler.attributes["internal_version"]) == ("8.2.T2", "7.8.T5.0.B028")
    assert "opp_kernel >=7.6, <=7.8" in str(compiler.attributes["requires"])


def test_packages_of_the_old_layout(tmp_path: Path) -> None:
    old_layout(tmp_path)
    found = look(tmp_path)
    assert sorted(c.name for c in found.kinds("cann-package", "cann-ops")) == ["opp_kernel", "runtime", "toolkit"]
    kernels = found.one("cann-ops")
    assert kernels.version == "8.2.RC1"
    assert kernels.attributes["cann"] == f"cann:/{OLD}/8.2.RC1"


def test_new_layout_and_the_link_of_the_old_one_are_one_root(tmp_path: Path) -> None:
    new_layout(tmp_path)
    link(tmp_path, f"{OLD}/latest", "../cann")
    put(tmp_path, f"{OLD}/set_env.sh", "")
    cann = look(tmp_path).one("cann")
    assert (cann.key, cann.version) == (f"cann:/{ASCEND}/cann-8.5.0", "8.5.0")
    assert cann.attributes["layout"] == "cann"
    assert cann.attributes["set_env"] == f"/{ASCEND}/cann/set_env.sh"
    assert cann.attributes["hccl"] is False


def test_home_and_conda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new_layout(tmp_path, "home/someone/Ascend")
    new_layout(tmp_path, "opt/conda/envs/npu/Ascend")
    put(tmp_path, "/opt/conda/envs/npu/conda-meta/history", "")
    monkeypatch.setenv("HOME", "/home/someone")
    target = Target(
        key="target:npu", prefix="/opt/conda/envs/npu", executable="/opt/conda/envs/npu/bin/python", kind="conda"
    )
    found = look(tmp_path, target)
    assert [(c.location, c.attributes["layout"], c.target) for c in found.kinds("cann")] == [
        ("/home/someone/Ascend/cann-8.5.0", "cann", None),
        ("/opt/conda/envs/npu/Ascend/cann-8.5.0", "conda", "target:npu"),
    ]


def test_python_in_usr_local_makes_no_conda_of_it(tmp_path: Path) -> None:
    new_layout(tmp_path)
    target = Target(key="target:/usr/local", prefix="/usr/local", executable="/usr/local/bin/python3", kind="system")
    cann = look(tmp_path, target).one("cann")
    assert (cann.attributes["layout"], cann.target) == ("cann", None)


def test_conflicting_sources_are_all_shown(tmp_path: Path) -> None:
    """The MindIE image whose version.cfg is left over: its links, as `ls -l` printed them, lead to 8.2.RC2."""
    put(tmp_path, f"{OLD}/latest/version.cfg", capture(f"{LINKED}version.cfg__mindie-2.0.T3.1_dev.txt"))
    for line in capture("layout__ascend-toolkit_latest_ls_8.2.RC2.txt").splitlines():
        words = line.split()
        if "->" in words:
            link(tmp_path, f"{OLD}/latest/{words[-3]}", words[-1])
            if words[-1].startswith("../"):
                (tmp_path / OLD / words[-1].removeprefix("../")).mkdir(parents=True, exist_ok=True)
    found = look(tmp_path)
    cann, sources = found.one("cann"), found.fact(AscendVersionSources)
    assert cann.key == f"cann:/{OLD}/8.2.RC2"
    assert cann.attributes["version_conflict"] == "8.0.T63 8.2.RC2"
    assert sources.sources == (("8.0.T63", f"/{OLD}/latest/version.cfg"), ("8.2.RC2", f"/{OLD}/8.2.RC2"))
    assert {e.source for e in cann.evidence} == {place for _, place in sources.sources}


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("cann-6.0.1_head", "6.0.1"), ("cann-8.0.RC2.alpha001", "8.0.RC2.alpha001"), ("cann-8.0.RC3_head", "8.0.RC3"),
        ("mindie-2.0.T3.1_dev", "8.0.T63"),
    ],
)  # fmt: skip
def test_version_cfg_captures(name: str, version: str) -> None:
    assert configured_versions(capture(f"{LINKED}version.cfg__{name}.txt")) == [version]


def test_kernels_of_another_version_are_no_conflict() -> None:
    text = "runtime_running_version=[8.2.0.0.1:8.2.RC1]\nopp_kernel_running_version=[8.1.0.0.1:8.1.RC1]\n"
    assert configured_versions(text) == ["8.2.RC1"]


def test_order_of_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new_layout(tmp_path)
    for version in ("9.0.0", "9.1.0"):
        put(tmp_path, f"{ASCEND}/cann-{version}/share/info/runtime/version.info", f"Version={version}\n")
    assert [c.version for c in look(tmp_path).kinds("cann")] == ["8.5.0", "9.1.0", "9.0.0"]
    monkeypatch.setenv("ASCEND_HOME_PATH", f"/{ASCEND}/cann-9.0.0")
    found = look(tmp_path).kinds("cann")
    assert [c.version for c in found] == ["9.0.0", "8.5.0", "9.1.0"]
    assert [c.attributes["active"] for c in found] == [True, False, False]


def test_library_path_makes_a_root_active(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new_layout(tmp_path)
    put(tmp_path, "/data/my-cann/x86_64-linux/ascend_toolkit_install.info", "version=9.0.0\n")
    put(tmp_path, "/data/my-cann/lib64/x", "")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/data/my-cann/lib64:/lib")
    in_use = [c for c in look(tmp_path).kinds("cann") if c.attributes["in_use"]]
    assert [(c.location, c.version) for c in in_use] == [("/data/my-cann", "9.0.0")]


def environment_of(root: Path) -> AscendEnvironment:
    found = look(root).fact(AscendEnvironment)
    assert isinstance(found, AscendEnvironment)
    return found


def test_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old_layout(tmp_path)
    (tmp_path / OLD / "8.2.RC1/python/site-packages").mkdir(parents=True)
    monkeypatch.setenv("ASCEND_HOME_PATH", "/gone/cann")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"relative::/{OLD}/latest/lib64:/usr/lib:/{OLD}/not-there/lib64")
    monkeypatch.setenv("PYTHONPATH", f"/{OLD}/8.2.RC1/python/site-packages")
    found = environment_of(tmp_path)
    key = f"cann:/{OLD}/8.2.RC1"
    assert found.library_roots == ((key, f"/{OLD}/latest/lib64"),)
    assert found.python_roots == ((key, f"/{OLD}/8.2.RC1/python/site-packages"),)
    assert found.astray == (("ASCEND_HOME_PATH", "/gone/cann"),)


def test_environment_by_a_real_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that the captured set_env.sh exports, put together by hand."""
    text = capture("set_env.sh__ascend-toolkit-8.0.0.txt")
    home = next(line.partition("=")[2] for line in text.splitlines() if line.startswith("export ASCEND_TOOLKIT_HOME="))
    old_layout(tmp_path)
    monkeypatch.setenv("ASCEND_TOOLKIT_HOME", home)
    monkeypatch.setenv("ASCEND_HOME_PATH", home)
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{home}/lib64:{home}/lib64/plugin/opskernel")
    assert environment_of(tmp_path).library_roots == ((f"cann:/{OLD}/8.2.RC1", f"{home}/lib64"),)
    assert look(tmp_path).one("cann").attributes["active"] is True


def beside(root: Path, kind: str) -> Component:
    return look(root).one(kind)


@pytest.mark.parametrize("version", ["8.0.T63", "8.2.RC1"])
def test_nnal(version: str, tmp_path: Path) -> None:
    put(
        tmp_path, f"{ASCEND}/nnal/atb/latest/version.info", capture(f"file_nnal_atb_latest_version.info__{version}.txt")
    )
    for abi in "01":
        put(tmp_path, f"{ASCEND}/nnal/atb/latest/atb/cxx_abi_{abi}/lib/libatb.so", b"")
    put(tmp_path, f"{ASCEND}/nnal/atb/set_env.sh", "")
    found = beside(tmp_path, "nnal")
    assert found.version == version
    assert found.attributes == {"cxx_abi": "0 1", "set_env": f"/{ASCEND}/nnal/atb/set_env.sh"}


def test_mindie_and_nnae(tmp_path: Path) -> None:
    put(tmp_path, f"{ASCEND}/mindie/latest/version.info", capture("file_mindie_latest_version.info__2.1.RC1.txt"))
    nnae = capture("file_nnae_latest_ascend_nnae_install.info__faultdiag-a1_cat-usr-local-ascend-nnae-late.txt")
    put(tmp_path, f"{ASCEND}/nnae/latest/ascend_nnae_install.info", nnae)
    assert beside(tmp_path, "mindie").version == "2.1.RC1.B152"
    lines = dict(line.split("=", 1) for line in nnae.split())
    assert beside(tmp_path, "nnae").version == lines["version"]
    assert beside(tmp_path, "nnae").attributes["inner_version"] == lines["innerversion"]


def test_tools_by_file(tmp_path: Path) -> None:
    old_layout(tmp_path)
    for path in ("bin/atc", "tools/aoe/bin/aoe", "tools/msdebug/bin/msdebug"):
        put(tmp_path, f"{OLD}/8.2.RC1/{path}", "")
    assert {(c.kind, c.version) for c in look(tmp_path).kinds("atc", "aoe", "msdebug")} == {
        ("atc", "8.2.RC1"), ("aoe", "8.2.RC1"), ("msdebug", "8.2.RC1"),
    }  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files(kind: str, tmp_path: Path) -> None:
    (tmp_path / ASCEND / "cann-8.5.0/lib64").mkdir(parents=True)
    put(tmp_path, f"{ASCEND}/cann-8.5.0/lib64/libascendcl.so", b"")
    for path in (
        "cann-8.5.0/x86_64-linux/ascend_toolkit_install.info", "cann-8.5.0/version.cfg", "cann-8.5.0/runtime/version.info",
        "cann-8.5.0/share/info/runtime/version.info", "nnal/atb/latest/version.info", "mindie/latest/version.info",
    ):  # fmt: skip
        hostile(tmp_path, kind, f"{ASCEND}/{path}")
    found = look(tmp_path)
    assert found.one("cann").version == "8.5.0"  # by the folder's name alone
    assert found.fact(AscendVersionSources).sources == (("8.5.0", f"/{ASCEND}/cann-8.5.0"),)
    assert all(c.version in (None, "8.5.0") for c in found.components)


def test_loops_of_links(tmp_path: Path) -> None:
    link(tmp_path, f"{ASCEND}/cann", "cann")
    link(tmp_path, f"{OLD}/latest", "../ascend-toolkit/latest")
    link(tmp_path, f"{ASCEND}/cann-9.0.0", "cann")
    found = look(tmp_path)
    assert found.components == []


def test_nothing_there(tmp_path: Path) -> None:
    found = look(tmp_path)
    assert (found.components, found.facts) == ([], [])
