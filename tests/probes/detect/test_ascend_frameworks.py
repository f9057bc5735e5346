"""What torch_npu and onnxruntime-cann would load: the environment not set, a package missing, the driver missing."""

from typing import Any

import pytest

from infra_doctor.model.component import Target
from infra_doctor_probes.ascend.frameworks import AscendFrameworkLibraries, CannPythonPackages
from infra_doctor_probes.detect import wheels
from tests.support.ascend_trees import probes
from tests.support.gather import Gathered, gather
from tests.support.recipe import recipe_machine

SITE = "/opt/venv/lib/python3.12/site-packages"
LIB = "/usr/lib/x86_64-linux-gnu"
INTERP = "/lib64/ld-linux-x86-64.so.2"
ROOT = "/usr/local/Ascend/cann-8.5.0"
HAL = "/usr/local/Ascend/driver/lib64/driver/libascend_hal.so"
TARGET = Target(
    key="target:/opt/venv", prefix="/opt/venv", executable="/usr/bin/python3.12", kind="venv", python_version="3.12.3",
    sys_path=(SITE,), site_dirs=(SITE,),
)  # fmt: skip
CANN_LIBRARIES = ("libhccl.so", "libascendcl.so", "libge_runner.so")
NEEDS = [*CANN_LIBRARIES, "libtorch.so", "libc.so.6"]
SET = {"LD_LIBRARY_PATH": f"/usr/local/Ascend/cann/lib64:{HAL.rpartition('/')[0]}"}


def recipe(*, without: tuple[str, ...] = (), environment: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    elf: dict[str, Any] = {
        "/usr/bin/python3.12": {"interp": INTERP, "needed": ["libc.so.6"]},
        INTERP: {"soname": "ld-linux-x86-64.so.2"},
        f"{LIB}/libc.so.6": {"soname": "libc.so.6"},
        f"{SITE}/torch/_C.cpython-312-x86_64-linux-gnu.so": {"needed": ["libtorch.so"], "runpath": "$ORIGIN/lib"},
        f"{SITE}/torch/lib/libtorch.so": {"soname": "libtorch.so", "needed": ["libc.so.6"]},
        f"{SITE}/torch_npu/_C.cpython-312-x86_64-linux-gnu.so": {
            "needed": ["libtorch_npu.so"],
            "runpath": "$ORIGIN/lib",
        },
        f"{SITE}/torch_npu/lib/libtorch_npu.so": {"soname": "libtorch_npu.so", "needed": NEEDS},
        HAL: {"soname": "libascend_hal.so"},
    }
    for name in CANN_LIBRARIES:
        elf[f"{ROOT}/lib64/{name}"] = {"soname": name, "needed": ["libascend_hal.so", "libc.so.6"]}
    files = {
        f"{ROOT}/x86_64-linux/ascend_toolkit_install.info": "version=8.5.0\n",
        f"{SITE}/torch/version.py": "__version__ = '2.9.0+cpu'\ncuda = None\n",
        "/usr/local/Ascend/driver/version.info": "Version=25.5.0\n",
    }
    return {
        "elf": {k: v for k, v in elf.items() if k not in without},
        "files": {k: v for k, v in (files | more.pop("files", {})).items() if k not in without},
        "links": {"/usr/local/Ascend/cann": "cann-8.5.0"},
        "ldcache": {"libc.so.6": f"{LIB}/libc.so.6"},
        "environment": SET if environment is None else environment,
        "distributions": [
            {"site": SITE, "name": name, "version": version}
            for name, version in (("torch", "2.9.0+cpu"), ("torch-npu", "2.9.0"), ("decorator", "5.2.1"))
        ],
        **more,
    }


def look(found: dict[str, Any]) -> Gathered:
    order = (probes("cann", "driver", "packages"), wheels.PROBES, probes("frameworks"))
    return gather(recipe_machine(found), *order, targets=(TARGET,))


def libraries(found: dict[str, Any]) -> AscendFrameworkLibraries:
    fact = look(found).fact(AscendFrameworkLibraries)
    assert isinstance(fact, AscendFrameworkLibraries)
    return fact


def test_all_found() -> None:
    found = libraries(recipe())
    assert (found.missing, found.unknown) == ((), "")
    assert found.roots == (f"cann:{ROOT}",)
    assert found.wheel == "wheel:torch-npu@/opt/venv"


def test_environment_not_set() -> None:
    found = libraries(recipe(environment={}))
    assert [(soname, at) for soname, _, at in found.missing] == [(n, f"{ROOT}/lib64/{n}") for n in CANN_LIBRARIES]
    assert found.roots == ()


def test_package_not_installed() -> None:
    found = libraries(recipe(without=(f"{ROOT}/lib64/libhccl.so",)))
    assert found.missing == (("libhccl.so", f"{SITE}/torch_npu/lib/libtorch_npu.so", ""),)


def test_driver_not_mounted() -> None:
    found = libraries(recipe(without=(HAL,)))
    assert [(soname, at) for soname, _, at in found.missing] == [("libascend_hal.so", "")]
    assert found.missing[0][1].endswith("/lib64/libhccl.so")


def test_driver_there_and_not_on_the_path() -> None:
    found = libraries(recipe(environment={"LD_LIBRARY_PATH": f"{ROOT}/lib64"}))
    assert [(soname, at) for soname, _, at in found.missing] == [("libascend_hal.so", HAL)]


def test_torch_missing_is_not_held_against_cann() -> None:
    gone = tuple(p for p in recipe()["elf"] if p.startswith(f"{SITE}/torch/"))
    assert libraries(recipe(without=gone)).missing == ()


def test_extension_gone() -> None:
    gone = tuple(p for p in recipe()["elf"] if "/torch_npu/" in p)
    found = libraries(recipe(without=gone))
    assert "no readable ELF file" in found.unknown
    assert found.missing == ()


def test_without_an_environment_nothing_is_claimed() -> None:
    found = libraries(recipe(capabilities=["files"]))
    assert found.unknown.startswith("not visible: the environment")
    assert found.missing == ()


def test_two_roots_used() -> None:
    second = "/usr/local/Ascend/cann-9.0.0"
    more = recipe(
        without=(f"{ROOT}/lib64/libge_runner.so",),
        environment={"LD_LIBRARY_PATH": f"{ROOT}/lib64:{second}/lib64:{HAL.rpartition('/')[0]}"},
    )
    more["files"][f"{second}/x86_64-linux/ascend_toolkit_install.info"] = "version=9.0.0\n"
    more["elf"][f"{second}/lib64/libge_runner.so"] = {"soname": "libge_runner.so"}
    assert set(libraries(more).roots) == {f"cann:{ROOT}", f"cann:{second}"}


@pytest.mark.parametrize(("line", "abi"), [("=1", "1"), ("=0", "0"), ("=", None), ("", None)])
def test_abi_of_torch(line: str, abi: str | None) -> None:
    text = f'set(TORCH_CXX_FLAGS "-D_GLIBCXX_USE_CXX11_ABI{line}")\n' if line else "# nothing\n"
    found = libraries(recipe(files={f"{SITE}/torch/share/cmake/Torch/TorchConfig.cmake": text}))
    assert found.cxx_abi == abi


def test_onnxruntime_cann_by_its_runpath() -> None:
    capi = f"{SITE}/onnxruntime/capi"
    found = recipe(environment={})
    found["distributions"] = [{"site": SITE, "name": "onnxruntime-cann", "version": "1.24.4"}]
    needs = ["libascendcl.so", "libonnxruntime_providers_shared.so"]
    found["elf"] |= {
        f"{capi}/libonnxruntime_providers_cann.so": {"needed": needs, "runpath": f"{ROOT}/lib64"},
        f"{capi}/libonnxruntime_providers_shared.so": {"soname": "libonnxruntime_providers_shared.so"},
    }
    # the fixed path leads to CANN; what that needs of the driver does not come through a RUNPATH
    assert [soname for soname, _, _ in libraries(found).missing] == ["libascend_hal.so"]
    found["environment"] = {"LD_LIBRARY_PATH": HAL.rpartition("/")[0]}
    assert libraries(found).missing == ()
    found["elf"][f"{capi}/libonnxruntime_providers_cann.so"]["runpath"] = (
        "/usr/local/Ascend/ascend-toolkit/latest/lib64"
    )
    assert libraries(found).missing == (
        ("libascendcl.so", f"{capi}/libonnxruntime_providers_cann.so", f"{ROOT}/lib64/libascendcl.so"),
    )


def test_another_wheel_took_the_folder() -> None:
    found = recipe()
    found["distributions"] = [{"site": SITE, "name": "onnxruntime-cann", "version": "1.24.4"}]
    assert not look(found).has(AscendFrameworkLibraries)


def test_python_packages() -> None:
    found = look(recipe()).fact(CannPythonPackages)
    assert dict(found.packages)["decorator"] == "5.2.1"
    assert dict(found.packages)["sympy"] is None
    assert found.consumers == ("wheel:torch-npu@/opt/venv",)


def test_no_framework() -> None:
    found = recipe()
    found["distributions"] = [{"site": SITE, "name": "torch", "version": "2.9.0"}]
    gathered = look(found)
    assert not gathered.has(AscendFrameworkLibraries)
    assert not gathered.has(CannPythonPackages)
