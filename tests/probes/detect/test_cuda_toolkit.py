"""CUDA toolkits on disk: versions from every source, which one a build takes, and what is no toolkit."""

import json
from pathlib import Path
from typing import Any

import pytest

from infra_doctor.machine.agent import Agent
from infra_doctor.machine.forms import live_machine, rooted_machine
from infra_doctor.machine.machine import Machine
from infra_doctor.machine.types import Capability, MachineForm
from infra_doctor.model.component import Target
from infra_doctor_probes.detect.cuda_toolkit import PROBES, CudaEnvironment, HostCompiler, json_version
from tests.support.gather import Gathered, gather
from tests.support.recipe import SAMPLES, recipe_machine

VERSION_JSON = json.dumps(
    {
        "cuda": {"name": "CUDA SDK", "version": "12.4.1"},
        "cuda_nvcc": {"name": "CUDA NVCC", "version": "12.4.131"},
        "nvidia_driver": {"name": "NVIDIA Linux Driver", "version": "550.54.15"},
    }
)
# Our own H200 machine.
NVCC_13_0 = """\
nvcc: NVIDIA (R) Cuda compiler driver
Copyright (c) 2005-2025 NVIDIA Corporation
Built on Wed_Aug_20_01:58:59_PM_PDT_2025
Cuda compilation tools, release 13.0, V13.0.88
Build cuda_13.0.r13.0/compiler.36424714_0
"""
PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


def described(targets: tuple[Target, ...] = (), **recipe: Any) -> Gathered:
    recipe["environment"] = {**PATH, **recipe.get("environment", {})}
    return gather(recipe_machine(recipe), PROBES, targets=targets)


def by_place(found: Gathered) -> dict[str, tuple[str | None, str | None]]:
    """Folder -> (version, origin)."""
    return {str(c.location): (c.version, c.origin) for c in found.kinds("cuda-toolkit")}


def test_two_names_of_one_toolkit_are_one() -> None:
    found = described(
        files={"/usr/local/cuda-12.4/version.json": VERSION_JSON, "/usr/local/cuda-12.4/bin/nvcc": "ELF"},
        links={
            "/usr/local/cuda": "/etc/alternatives/cuda",
            "/etc/alternatives/cuda": "/usr/local/cuda-12.4",
            "/usr/local/cuda-12": "cuda-12.4",
        },
    )
    toolkit = found.one("cuda-toolkit")
    assert (toolkit.key, toolkit.version) == ("cuda-toolkit:/usr/local/cuda-12.4", "12.4.1")
    assert toolkit.attributes == {
        "nvcc": "12.4.131", "nvcc_path": "/usr/local/cuda-12.4/bin/nvcc", "default": True, "on_path": False,
    }  # fmt: skip
    assert "550" not in str(toolkit), "the driver bundled with a toolkit is not the installed one"
    assert found.fact(CudaEnvironment).nvcc is None


@pytest.mark.parametrize(
    ("name", "version"), [("file_cuda_version.json__11.8_excerpt.json", "11.8.20220929"), ("file_cuda_version.json__13.1.1_excerpt.json", "13.1.1")]
)  # fmt: skip
def test_version_json_of_public_captures(name: str, version: str) -> None:
    path = SAMPLES / "vendors/nvidia" / name
    if not path.is_file():
        pytest.skip("the public captures are not beside this checkout")
    assert json_version(path.read_text(), "cuda") == version


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '{"cuda": 7}', '{"cuda": {"version": 13}}', '{"cuda": {"version": "13.0\\u0000"}}', "[" * 100_000,
        '{"nvidia_driver": {"version": "580.65.06"}}', '{"cuda": {"name": "CUDA SDK"}, "nvidia_driver": {"version": "580.65.06"',
    ],
)  # fmt: skip
def test_a_damaged_version_json_gives_nothing(text: str) -> None:
    assert json_version(text, "cuda") is None


@pytest.mark.parametrize(
    ("files", "version"),
    [
        ({"version.txt": "CUDA Version 10.2.89\n"}, "10.2.89"),
        ({"include/cuda.h": "/* … */\n#define CUDA_VERSION 12040\n"}, "12.4"),
        ({"include/cuda.h": "#define CUDA_VERSION 11080\n"}, "11.8"),
        ({"version.json": "{", "version.txt": "CUDA Version 11.0.207\n"}, "11.0.207"),
    ],
)
def test_other_sources_of_the_version(files: dict[str, str], version: str) -> None:
    found = described(files={f"/usr/local/cuda/{n}": t for n, t in files.items()} | {"/usr/local/cuda/bin/nvcc": ""})
    assert found.one("cuda-toolkit").version == version
    assert found.one("cuda-toolkit").evidence


def test_nvcc_is_asked_last() -> None:
    command = {"argv": ["/usr/local/cuda/bin/nvcc", "--version"], "stdout": NVCC_13_0}
    toolkit = described(files={"/usr/local/cuda/bin/nvcc": ""}, commands=[command]).one("cuda-toolkit")
    assert (toolkit.version, toolkit.attributes["nvcc"]) == ("13.0", "13.0.88")
    for answer in ({"stdout": "\x00 garbage"}, {"timed_out": True}, {"rc": 127, "stderr": "not found"}):
        toolkit = described(files={"/usr/local/cuda/bin/nvcc": ""}, commands=[{**command, "stdout": "", **answer}]).one(
            "cuda-toolkit"
        )
        assert (toolkit.version, toolkit.attributes["nvcc"]) == (None, None)


@pytest.mark.parametrize("name", ["nvcc-V__10.0.130", "nvcc-V__12.0.140", "nvcc-V__12.1.66"])
def test_nvcc_of_public_captures(name: str) -> None:
    if not (SAMPLES / f"vendors/nvidia/{name}.txt").is_file():
        pytest.skip("the public captures are not beside this checkout")
    command = {"argv": ["/usr/local/cuda/bin/nvcc", "--version"], "sample": f"vendors/nvidia/{name}.txt"}
    toolkit = described(files={"/usr/local/cuda/bin/nvcc": ""}, commands=[command]).one("cuda-toolkit")
    assert toolkit.attributes["nvcc"] == name.removeprefix("nvcc-V__")


UBUNTU_PACKAGE = {
    "/usr/bin/nvcc": "#!/bin/sh\nexec /usr/lib/nvidia-cuda-toolkit/bin/nvcc \"$@\"\n",
    "/usr/lib/nvidia-cuda-toolkit/bin/nvcc": "ELF",
    "/var/lib/dpkg/info/nvidia-cuda-toolkit.list": "/usr/bin/nvcc\n",
    "/usr/include/cuda.h": "#define CUDA_VERSION 11050\n",
}  # fmt: skip


def test_the_distributions_package_beside_nvidias_own() -> None:
    found = described(
        files={
            **UBUNTU_PACKAGE,
            "/usr/local/cuda-12.4/version.json": VERSION_JSON,
            "/usr/local/cuda-12.4/bin/nvcc": "ELF",
        },
        links={"/usr/local/cuda": "cuda-12.4"},
    )
    assert by_place(found) == {
        "/usr/lib/nvidia-cuda-toolkit": ("11.5", "dpkg nvidia-cuda-toolkit"),
        "/usr/local/cuda-12.4": ("12.4.1", "toolkit"),
    }
    environment = found.fact(CudaEnvironment)
    assert environment.nvcc == "/usr/bin/nvcc"
    assert environment.nvcc_toolkit == environment.default_toolkit == "cuda-toolkit:/usr/lib/nvidia-cuda-toolkit"


def test_cuda_home_outweighs_the_path() -> None:
    found = described(
        files={
            **UBUNTU_PACKAGE,
            "/usr/local/cuda-12.4/version.json": VERSION_JSON,
            "/usr/local/cuda-12.4/bin/nvcc": "ELF",
        },
        environment={"CUDA_HOME": "/usr/local/cuda-12.4/"},
    )
    environment = found.fact(CudaEnvironment)
    assert environment.default_toolkit == "cuda-toolkit:/usr/local/cuda-12.4"
    assert environment.nvcc_toolkit == "cuda-toolkit:/usr/lib/nvidia-cuda-toolkit"


def test_cuda_home_that_points_at_nothing_is_said() -> None:
    found = described(environment={"CUDA_HOME": "/opt/gone"})
    assert not found.components
    assert (found.fact(CudaEnvironment).cuda_home, found.fact(CudaEnvironment).default_toolkit) == ("/opt/gone", None)


def test_a_script_in_front_of_nvcc_is_followed() -> None:
    found = described(
        files={
            "/usr/local/bin/nvcc": '#!/bin/sh\nexec /usr/local/cuda-13.0/bin/nvcc "$@"\n',
            "/usr/local/cuda-13.0/bin/nvcc": "ELF",
            "/usr/local/cuda-13.0/include/cuda.h": "#define CUDA_VERSION 13000\n",
        }
    )
    assert by_place(found) == {"/usr/local/cuda-13.0": ("13.0", "toolkit")}
    assert found.one("cuda-toolkit").attributes["on_path"] is True


def test_conda_records_tell_without_running_anything() -> None:
    prefix = "/opt/conda/envs/build"
    target = Target(key=f"target:{prefix}", prefix=prefix, executable=f"{prefix}/bin/python", kind="conda")
    found = described(
        (target,),
        files={
            f"{prefix}/bin/nvcc": "ELF",
            f"{prefix}/conda-meta/cuda-nvcc-12.4.131-he02047a_0.json": "{}",
            f"{prefix}/conda-meta/cuda-version-12.4-h3060b56_3.json": "{}",
            f"{prefix}/conda-meta/cuda-nvcc-tools-12.4.131-0.json": "{}",
        },
        environment={"PATH": f"{prefix}/bin:/usr/bin"},
    )
    toolkit = found.one("cuda-toolkit")
    assert (toolkit.version, toolkit.origin, toolkit.target) == ("12.4", "conda", f"target:{prefix}")
    assert (toolkit.attributes["nvcc"], toolkit.attributes["default"]) == ("12.4.131", True)


@pytest.mark.parametrize(
    "files",
    [
        {"/usr/local/cuda-12.4/compat/libcuda.so.550.54.15": ""},
        {"/usr/local/cuda-12.4/lib64/libcudart.so.12.4.127": ""},
        {"/usr/local/cuda-samples/README": ""},
        {"/usr/local/cuda": "a plain file"},
    ],
    ids=["compat alone", "a runtime-only image", "another folder", "a file"],
)
def test_what_is_no_toolkit(files: dict[str, str]) -> None:
    found = described(files=files)
    assert not found.components
    assert not found.facts


def test_an_nvcc_out_of_a_wheel_is_no_toolkit() -> None:
    nvcc = "/opt/venv/lib/python3.12/site-packages/nvidia/cu13/bin/nvcc"
    found = described(files={nvcc: "ELF"}, links={"/usr/local/bin/nvcc": nvcc})
    assert not found.components
    assert found.fact(CudaEnvironment).nvcc == "/usr/local/bin/nvcc"
    assert found.fact(CudaEnvironment).nvcc_toolkit is None


def test_the_host_compiler_is_named_where_nvcc_is() -> None:
    gcc = {"/usr/bin/x86_64-linux-gnu-gcc-13": "ELF"}
    links = {"/usr/bin/gcc": "gcc-13", "/usr/bin/gcc-13": "x86_64-linux-gnu-gcc-13"}
    toolkit = {"/usr/local/cuda/bin/nvcc": "", "/usr/local/cuda/version.json": VERSION_JSON}
    assert described(files={**gcc, **toolkit}, links=links).fact(HostCompiler).version == "13"
    assert not described(files=gcc, links=links).facts
    asked = {"argv": ["/usr/bin/gcc", "-dumpfullversion"], "stdout": "11.4.1\n"}
    found = described(files={"/usr/bin/gcc": "ELF", **toolkit}, commands=[asked])
    assert found.fact(HostCompiler).version == "11.4.1"


def test_an_unpacked_root_runs_nothing(tmp_path: Path) -> None:
    root = tmp_path / "usr/local/cuda-12.4"
    (root / "bin").mkdir(parents=True)
    (root / "bin/nvcc").write_text("#!/bin/sh\ntouch /tmp/infra-doctor-ran-foreign-code\n")
    (root / "bin/nvcc").chmod(0o755)
    (tmp_path / "usr/local/cuda").symlink_to("/usr/local/cuda-12.4")
    toolkit = gather(rooted_machine(str(tmp_path)), PROBES).one("cuda-toolkit")
    assert (toolkit.location, toolkit.version, toolkit.attributes["default"]) == ("/usr/local/cuda-12.4", None, True)
    assert not Path("/tmp/infra-doctor-ran-foreign-code").exists()


def test_hostile_trees_are_survived(tmp_path: Path) -> None:
    local = tmp_path / "usr/local"
    for name in ("cuda-1", "cuda-2", "cuda-3"):
        (local / name / "bin").mkdir(parents=True)
    (local / "cuda-1/version.json").write_bytes(b'{"cuda": ' * 200_000)
    (local / "cuda-1/version.txt").symlink_to("version.txt")
    (local / "cuda-2/version.json").mkdir()
    (local / "cuda-2/bin/nvcc").symlink_to("nvcc")
    (local / "cuda-3/version.json").write_bytes(b"\xff" * 10_000)
    (local / "cuda-3/bin/nvcc").write_bytes(b"\x7fELF\x00")
    (local / "cuda-4").symlink_to("cuda-4")
    machine = Machine(Agent(str(tmp_path)), form=MachineForm.ROOTED, capabilities={Capability.FILES})
    found = gather(machine, PROBES)
    assert [(c.location, c.version) for c in found.components] == [("/usr/local/cuda-3", None)]


def test_this_machine_raises_nothing() -> None:
    gather(live_machine(("CUDA_HOME", "CUDA_PATH", "TORCH_CUDA_ARCH_LIST")), PROBES)
