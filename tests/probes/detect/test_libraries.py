"""Copies of the CUDA libraries and who loads them: predictions against the maps of a real process, and described machines."""

import posixpath
from dataclasses import replace
from pathlib import Path

import pytest

from infra_doctor.machine.machine import Machine
from infra_doctor_probes.detect import libraries, onnxruntime, wheels
from infra_doctor_probes.detect.libraries import FrameworkImport, LibraryPath, LibraryPathEffect
from infra_doctor_probes.detect.onnxruntime import ProviderLoad
from infra_doctor_probes.detect.wheels import InstalledDistributions
from infra_doctor_probes.loading.names import library_name
from infra_doctor_probes.loading.onnxruntime_session import parse_preload
from infra_doctor_probes.loading.orders import ORT, ORT_TORCH, PRELOAD, TORCH, TORCH_ORT, play_all
from infra_doctor_probes.loading.torch_import import parse_plan
from tests.core.machine.libraries import library, live, needs_gcc
from tests.probes.described_stack import CUDA13, LIB, PREFIX, SITE, TARGET, cudnn, described, dist, merged, ort, torch
from tests.support.gather import Gathered, gather
from tests.support.mini_stack import (
    ALL_AFTERWARDS,
    ON_ERROR,
    SOME_AFTERWARDS,
    TORCH_SEARCH,
    MiniStack,
)
from tests.support.mini_stack import (
    ORT as ORT_TEXT,
)
from tests.support.recipe import recipe_machine

# Found without any wheel on a machine with a system-wide CUDA: what is said to be missing here would not be.
_SYSTEM = {"libcublas.so.13", "libcublasLt.so.13", "libcudnn.so.9"}
PROBES = (wheels.PROBES, libraries.PROBES, onnxruntime.PROBES)


@pytest.fixture
def no_system_cuda() -> None:
    """Skip where the loader finds such libraries by itself."""
    if _SYSTEM & {entry.soname for entry in live().linker_cache(quiet=True) or ()}:
        pytest.skip("this machine has a system-wide CUDA")


def looked_at(stack: MiniStack, monkeypatch: pytest.MonkeyPatch, **environment: str) -> tuple[Machine, Gathered]:
    """What the probes say of the stack, with these variables in the environment."""
    for name in ("LD_LIBRARY_PATH", "LD_PRELOAD"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    machine = live()
    return machine, gather(machine, *PROBES, targets=(stack.target,))


def check_orders(
    stack: MiniStack, monkeypatch: pytest.MonkeyPatch, *, cudnn_version: str = "9.19.0.56", **environment: str
) -> Gathered:
    """Assert, for every import order, that the predicted copies are those that a real process has mapped."""
    machine, found = looked_at(stack, monkeypatch, **environment)
    plays = play_all(machine, stack.target)
    assert plays
    for play in plays:
        opened, mapped = stack.real(play.order, cudnn_version, **environment)
        real = {p for p in mapped if library_name(posixpath.basename(p)) is not None}
        assert {u.object.real_path for u in play.uses} == real, play.order
        loads = {o.provider: o.loads for o in play.outcomes}
        assert loads.get("") == opened["torch"], play.order
        assert loads.get("CUDAExecutionProvider") == opened["cuda"], play.order
    return found


def both(stack: MiniStack, start_up: str = ALL_AFTERWARDS, **tags: str) -> Path:
    """torch and onnxruntime-gpu over the wheels; gives libcudnn."""
    cuda = stack.cuda13()
    cudnn = stack.cudnn()
    stack.torch(start_up, cuda["cublas"], cudnn, cuda["cudart"], global_deps=(cuda["cudart"],), **tags)
    stack.onnxruntime(cuda["cublaslt"], cuda["cublas"])
    return cudnn


# -- against a real process ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_system_cuda")
@needs_gcc
@pytest.mark.parametrize("start_up", [ON_ERROR, SOME_AFTERWARDS, ALL_AFTERWARDS])
@pytest.mark.parametrize("kind", ["rpath", "runpath", "none"])
def test_every_generation_of_torch_with_every_search_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start_up: str, kind: str
) -> None:
    stack = MiniStack(tmp_path)
    both(stack, start_up, **({} if kind == "none" else {kind: TORCH_SEARCH}))
    found = check_orders(stack, monkeypatch)
    imports = {f.order: f.loads for f in found.facts if isinstance(f, FrameworkImport)}
    # Older start-up code does not look into nvidia/cu13, so it needs a search list.
    assert imports[TORCH] is (kind != "none" or start_up == ALL_AFTERWARDS)


@pytest.mark.usefixtures("no_system_cuda")
@needs_gcc
def test_the_provider_loads_only_after_preload_or_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = MiniStack(tmp_path)
    cudnn = both(stack, rpath=TORCH_SEARCH)
    found = check_orders(stack, monkeypatch)
    opens = {f.order: f.opens for f in found.facts if isinstance(f, ProviderLoad) and f.name == "CUDAExecutionProvider"}
    assert opens == {ORT: False, TORCH_ORT: True, ORT_TORCH: False, PRELOAD: True}
    (provider,) = [c for c in found.kinds("ort-provider") if c.name == "CUDAExecutionProvider"]
    assert provider.attributes["loads"] == f"only after {PRELOAD}"
    assert provider.attributes["missing"] == "libcublasLt.so.13 libcublas.so.13"
    copy = found.one("cudnn")
    assert (copy.location, copy.version, copy.origin) == (str(cudnn), "9.19.0.56", "wheel nvidia-cudnn-cu13 9.19.0.56")
    assert copy.attributes == {"soname": "libcudnn.so.9", "cuda_major": 13}
    assert copy.target == stack.target.key
    uses = {(u.order, u.consumer.partition("@")[0]): u.via for u in copy.loaded_by}
    assert uses[TORCH, "wheel:torch"] == "by path, preloaded by torch/__init__.py"
    assert uses[TORCH_ORT, "wheel:onnxruntime-gpu"] == "on first use: already loaded for torch"
    assert uses[PRELOAD, "wheel:onnxruntime-gpu"] == "by path, onnxruntime.preload_dlls()"
    assert (ORT, "wheel:onnxruntime-gpu") not in uses


@needs_gcc
def test_ld_library_path_takes_cudnns_parts_from_another_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = MiniStack(tmp_path)
    both(stack, rpath=TORCH_SEARCH)
    other = stack.cudnn(tmp_path / "old" / "lib", version="9.1.0")
    found = check_orders(stack, monkeypatch, LD_LIBRARY_PATH=str(other.parent))
    assert found.fact(LibraryPath).value == str(other.parent)
    effects = {(e.order, e.taken, e.instead_of) for e in found.facts if isinstance(e, LibraryPathEffect)}
    wheel = stack.site / "nvidia" / "cudnn" / "lib"
    graph = "libcudnn_graph.so.9"
    # The RUNPATH of cuDNN's main library loses to the variable; the RPATH of torch wins over it.
    assert (TORCH, f"cudnn-sub:{other.parent}/{graph}", f"cudnn-sub:{wheel}/{graph}") in effects
    assert not [e for e in effects if e[1].startswith("cudnn:")]
    versions = {c.key: c.version for c in found.kinds("cudnn", "cudnn-sub")}
    assert versions[f"cudnn:{other}"] == versions[f"cudnn-sub:{other.parent}/{graph}"] == "9.1.0"


@pytest.mark.usefixtures("no_system_cuda")
@needs_gcc
def test_ld_library_path_hides_what_a_runpath_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = MiniStack(tmp_path)
    both(stack, ON_ERROR, runpath=TORCH_SEARCH)
    other = stack.cudnn(tmp_path / "old" / "lib", version="9.1.0")
    found = check_orders(stack, monkeypatch, LD_LIBRARY_PATH=str(other.parent))
    effects = [e for e in found.facts if isinstance(e, LibraryPathEffect) and e.taken == f"cudnn:{other}"]
    assert {e.order for e in effects} == {TORCH, TORCH_ORT, ORT_TORCH}
    assert all(e.instead_of == f"cudnn:{stack.site}/nvidia/cudnn/lib/libcudnn.so.9" for e in effects)


@needs_gcc
def test_parts_with_the_full_version_in_their_name_are_asked_for_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = MiniStack(tmp_path)
    both(stack, rpath=TORCH_SEARCH)
    full = library(tmp_path / "system" / "libcudnn_graph.so.9.19.0", soname="libcudnn_graph.so.9")
    found = check_orders(stack, monkeypatch, LD_LIBRARY_PATH=str(full.parent))
    part = next(c for c in found.kinds("cudnn-sub") if c.location == str(full))
    assert part.version == "9.19.0"
    assert {u.order for u in part.loaded_by} >= {TORCH, TORCH_ORT}


@pytest.mark.usefixtures("no_system_cuda")
@needs_gcc
def test_hidden_cudnn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = MiniStack(tmp_path)
    both(stack, rpath=TORCH_SEARCH).unlink()
    found = check_orders(stack, monkeypatch)
    facts = {f.order: f for f in found.facts if isinstance(f, FrameworkImport)}
    assert facts[TORCH].loads is False
    assert [(m.soname, posixpath.basename(m.needed_by)) for m in facts[TORCH].missing] == [
        ("libcudnn.so.9", "libtorch_cuda.so")
    ]
    late = next(f for f in found.facts if isinstance(f, ProviderLoad) and f.order == PRELOAD and "CUDA" in f.name)
    assert (late.opens, late.complete) == (True, False)
    assert [(m.soname, m.on_first_use) for m in late.missing] == [("libcudnn.so.9", True)]


@pytest.mark.usefixtures("no_system_cuda")
@needs_gcc
def test_a_provider_that_needs_cudnn_to_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = MiniStack(tmp_path)
    cuda = stack.cuda13()
    cudnn = stack.cudnn()
    stack.onnxruntime(cuda["cublas"], cudnn, version="1.27.0")
    found = check_orders(stack, monkeypatch)
    loads = {f.order: f for f in found.facts if isinstance(f, ProviderLoad) and "CUDA" in f.name}
    assert set(loads) == {ORT, PRELOAD}
    assert [m.soname for m in loads[ORT].missing] == ["libcublas.so.13", "libcudnn.so.9"]
    assert loads[PRELOAD].complete is True
    build = found.fact(wheels.OnnxRuntimeBuild)
    assert (build.cuda, build.cudnn, build.opens_cudnn_late, build.has_preload_dlls) == ("13.0", "9", False, True)


@needs_gcc
def test_two_copies_on_disk_and_the_one_that_ld_library_path_adds_is_harmless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = MiniStack(tmp_path)
    both(stack, rpath=TORCH_SEARCH)
    other = library(tmp_path / "cuda" / "libcublas.so.13")
    found = check_orders(stack, monkeypatch, LD_LIBRARY_PATH=str(other.parent))
    copies = {c.location: c for c in found.kinds("cublas")}
    assert set(copies) == {str(other), str(stack.site / "nvidia/cu13/lib/libcublas.so.13")}
    # torch opens its own by path first, so nobody takes the other one before ONNX Runtime alone does.
    assert {u.order for u in copies[str(other)].loaded_by} <= {ORT, ORT_TORCH}
    assert not [e for e in found.facts if isinstance(e, LibraryPathEffect) and e.order == TORCH]


# -- what is no stack at all --------------------------------------------------------------------------------------


def test_a_target_without_frameworks_plays_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = MiniStack(tmp_path)
    stack.wheel("requests", "2.32.0")
    machine, found = looked_at(stack, monkeypatch)
    assert play_all(machine, stack.target) == ()
    assert not [c for c in found.components if c.loaded_by]
    assert [type(f) for f in found.facts] == [InstalledDistributions]


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"not ELF at all", b"\x7fELF" + b"\xff" * 5000])
def test_damaged_libraries_raise_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    stack = MiniStack(tmp_path)
    for file in (
        "torch/_C.abi3.so", "torch/lib/libtorch_global_deps.so", "onnxruntime/capi/onnxruntime_pybind11_state.abi3.so",
        "onnxruntime/capi/libonnxruntime_providers_cuda.so", "nvidia/cudnn/lib/libcudnn.so.9",
    ):  # fmt: skip
        path = stack.site / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (stack.site / "torch" / "__init__.py").write_text(ALL_AFTERWARDS)
    (stack.site / "torch" / "version.py").write_text("cuda = '13.0'\n")
    stack.wheel("torch", "2.11.0")
    stack.wheel("onnxruntime-gpu", "1.30.0")
    _, found = looked_at(stack, monkeypatch)
    imports = [f for f in found.facts if isinstance(f, FrameworkImport)]
    assert imports
    assert all(f.loads is False for f in imports)
    assert not found.kinds("cudnn")


# -- texts --------------------------------------------------------------------------------------------------------


def test_the_plan_of_each_generation() -> None:
    on_error = parse_plan(ON_ERROR, "12.1")
    assert (on_error.condition, on_error.afterwards, on_error.cuda_folder) == (None, (), None)
    assert [p.folder for p in on_error.on_error] == ["cublas", "cudnn", "cuda_runtime"]
    some = parse_plan(SOME_AFTERWARDS, "12.4")
    assert some.condition == "nvidia/cuda_runtime/lib/libcudart.so"
    assert [p.pattern for p in some.afterwards] == ["libcudnn.so.*[0-9]"]
    everything = parse_plan(ALL_AFTERWARDS, "13.0")
    assert (everything.condition, everything.cuda_folder, everything.also_top_level) == ("libcudart.so", "cu13", True)
    assert everything.afterwards == everything.on_error
    assert [p.required for p in everything.on_error] == [True, True, True, True, False]


@pytest.mark.parametrize(
    "text", ["", "def _preload_cuda_deps(", "\0" * 1000, "def _preload_cuda_deps():\n" + "x" * 500_000]
)
def test_a_start_up_code_that_is_not_understood(text: str) -> None:
    assert parse_plan(text, "13.0").on_error == ()


def test_the_list_of_preload_dlls_follows_the_build() -> None:
    new = parse_preload(ORT_TEXT, "13.0")
    assert new is not None
    assert new.paths == (
        ("nvidia", "cu13", "lib", "libcublasLt.so.13"),
        ("nvidia", "cu13", "lib", "libcublas.so.13"),
        ("nvidia", "cu13", "lib", "libcufft.so.12"),
        ("nvidia", "cu13", "lib", "libcudart.so.13"),
        ("nvidia", "cudnn", "lib", "libcudnn.so.9"),
    )
    old = parse_preload(ORT_TEXT, "12.8")
    assert old is not None
    assert [p[1] for p in old.paths] == ["cublas", "cublas", "cufft", "cuda_runtime", "cudnn"]
    assert old.paths[2][3] == "libcufft.so.11"
    assert parse_preload("print()", "12.8") is None
    assert parse_preload(ORT_TEXT, "garbage") is not None


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("libcudnn.so.9.14.0", "cudnn"), ("libcudnn_cnn.so.9", "cudnn-sub"), ("libcusparseLt-f80c68d1.so.0", "cusparselt"),
        ("libcublasLt.so.13", "cublaslt"), ("libcufftw.so.12", None), ("libcudnn_static.so", None), ("libc.so.6", None),
        ("libnvrtc-builtins.so.13.0", None), ("libnvinfer_plugin.so.10", "tensorrt-sub"), ("libcudart.so.11.0", "cudart"),
    ],
)  # fmt: skip
def test_file_names(file: str, kind: str | None) -> None:
    name = library_name(file)
    assert (name.kind if name else None) == kind


# -- whose copy, which version ------------------------------------------------------------------------------------


def test_system_toolkit_conda_and_wheel_copies() -> None:
    toolkit = "/usr/local/cuda-13.0/targets/x86_64-linux/lib"
    recipe = {
        "elf": {
            f"{LIB}/libcudnn.so.9.14.0": {"soname": "libcudnn.so.9"},
            f"{toolkit}/libcudart.so.13.0.96": {"soname": "libcudart.so.13"},
            f"{toolkit}/libcufft.so.12": {"soname": "libcufft.so.12"},
            f"{PREFIX}/lib/libnccl.so.2": {"soname": "libnccl.so.2"},
            f"{SITE}/torch/lib/libcusparseLt-f80c68d1.so.0": {"soname": "libcusparseLt-f80c68d1.so.0"},
            f"{LIB}/stubs/libnvrtc.so.13": {"soname": "libnvrtc.so.13"},
            "/usr/lib/libcublas.so.11": {"soname": "libcublas.so.11", "bits": 32},
        },
        "links": {
            f"{LIB}/libcudnn.so.9": "libcudnn.so.9.14.0", f"{LIB}/libcudnn.so": "libcudnn.so.9",
            "/usr/local/cuda": "cuda-13.0", "/usr/local/cuda-13.0/lib64": "targets/x86_64-linux/lib",
            f"{toolkit}/libcudart.so.13": "libcudart.so.13.0.96",
        },
        "files": {
            "/var/lib/dpkg/info/libcudnn9-cuda-13.list": "",
            "/usr/local/cuda-13.0/version.json": '{"libcufft": {"version": "12.0.0.61"}, "nvidia_driver": {"version": "580.1"}}',
            f"{PREFIX}/conda-meta/nccl-2.27.3.1-h123.json": "{}",
            f"{PREFIX}/conda-meta/history": "",
        },
        "ldcache": {"libcudnn.so.9": f"{LIB}/libcudnn.so.9"},
        "distributions": [dist("torch", "2.4.1", {"torch/lib/libcusparseLt-f80c68d1.so.0": "sha256=x"})],
    }  # fmt: skip
    _, found = described(recipe)
    told = {
        c.kind: (c.version, c.origin, c.attributes.get("cuda_major")) for c in found.components if c.kind != "wheel"
    }
    assert told == {
        "cudnn": ("9.14.0", "system", 13),
        "cudart": ("13.0.96", "toolkit /usr/local/cuda-13.0", 13),
        "cufft": ("12.0.0.61", "toolkit /usr/local/cuda-13.0", 13),
        "nccl": ("2.27.3.1", "conda nccl", None),
        "cusparselt": (None, "wheel torch 2.4.1", None),
    }
    keys = {c.key for c in found.components}
    assert f"cudnn:{LIB}/libcudnn.so.9.14.0" in keys


def test_import_order_decides_between_system_and_wheel() -> None:
    """An ONNX Runtime session first loads the system's cuDNN, and torch then gets that one."""
    names = ("libcublasLt.so.13", "libcublas.so.13", "libcudart.so.13")
    system = {
        "elf": {f"{LIB}/{n}": {"soname": n} for n in names}
        | {f"{LIB}/libcudnn.so.9.14.0": {"soname": "libcudnn.so.9"}},
        "links": {f"{LIB}/libcudnn.so.9": "libcudnn.so.9.14.0"},
        "ldcache": {n: f"{LIB}/{n}" for n in names} | {"libcudnn.so.9": f"{LIB}/libcudnn.so.9"},
    }
    plain = torch()
    plain["files"][f"{SITE}/torch/__init__.py"] = ""
    _, found = described(CUDA13, cudnn(), plain, ort("1.27.0", needed=("libcudnn.so.9",)), system)
    copies = {c.version: c for c in found.kinds("cudnn")}
    takes = {
        version: {(u.order, u.consumer.partition("@")[0].removeprefix("wheel:")) for u in c.loaded_by}
        for version, c in copies.items()
    }
    assert takes["9.14.0"] == {(ORT, "onnxruntime-gpu"), (ORT_TORCH, "onnxruntime-gpu"), (ORT_TORCH, "torch")}
    assert takes["9.19.0.56"] == {
        (TORCH, "torch"),
        (TORCH_ORT, "torch"),
        (TORCH_ORT, "onnxruntime-gpu"),
        (PRELOAD, "onnxruntime-gpu"),
    }


def test_a_named_process_has_its_own_environment() -> None:
    other = "/opt/other/libcublas.so.13"
    recipe = merged(
        CUDA13, cudnn(), torch(search={"runpath": TORCH_SEARCH}), {"elf": {other: {"soname": "libcublas.so.13"}}},
        {"environment": {}, "processes": {"42": {"LD_LIBRARY_PATH": "/opt/other"}}},
    )  # fmt: skip
    recipe["files"][f"{SITE}/torch/__init__.py"] = ""
    machine = recipe_machine(recipe, ("LD_LIBRARY_PATH",))
    found = gather(machine, *PROBES, targets=(replace(TARGET, chosen_by="--pid 42"),))
    assert [c.location for c in found.kinds("cublas") if c.loaded_by] == [other]
    shell = gather(recipe_machine(recipe, ("LD_LIBRARY_PATH",)), *PROBES, targets=(TARGET,))
    assert [c.location for c in shell.kinds("cublas") if c.loaded_by] == [f"{SITE}/nvidia/cu13/lib/libcublas.so.13"]
