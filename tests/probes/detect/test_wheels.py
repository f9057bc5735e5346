"""Frameworks, their builds, and whose bytes are on disk."""

import base64
import hashlib
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from infra_doctor.machine.agent import Agent
from infra_doctor.machine.machine import Machine
from infra_doctor.machine.types import Capability, MachineForm
from infra_doctor.model.component import Target
from infra_doctor_probes.detect import wheels
from infra_doctor_probes.detect.wheel_files import WheelContest, WheelFilesGone
from infra_doctor_probes.detect.wheels import InstalledDistributions, OnnxRuntimeBuild, TorchBuild, parse_version_file
from infra_doctor_probes.stack_names import in_stack
from tests.probes.described_stack import SITE, described, dist, ort, torch
from tests.support.gather import Gathered, gather


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("torch", True), ("nvidia-nccl-cu12", True), ("tensorflow-cpu", True), ("jax-cuda13-plugin", True), ("requests", False),
        ("vllm-ascend", True), ("onnxruntime-cann", True), ("cupy-cuda12x", True), ("torchvision", True), ("pandas", False),
        ("paddlepaddle-gpu", True), ("iree-base-runtime", True), ("nvidiax", False), ("torch-npu", True), ("tvm", True),
    ],
)  # fmt: skip
def test_the_stack_is_a_table(name: str, expected: bool) -> None:
    assert in_stack(name) is expected


def torch_fact(version_file: str | None, version: str = "2.11.0", **more: Any) -> TorchBuild:
    files = {f"{SITE}/torch/version.py": version_file} if version_file is not None else {}
    _, found = described({"files": files, "distributions": [dist("torch", version, **more)]})
    fact: TorchBuild = found.fact(TorchBuild)
    return fact


@pytest.mark.parametrize(
    ("text", "build", "cuda", "tag"),
    [
        (
            "__version__ = '2.11.0+cu130'\ncuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n",
            "cuda",
            "13.0",
            "cu130",
        ),
        ("__version__ = '1.13.1+cu117'\ndebug = False\ncuda = '11.7'\nhip = None\n", "cuda", "11.7", "cu117"),
        ("__version__ = '2.9.0a0+145a3a7bda.nv25.10'\ncuda: Optional[str] = '13.0'\n", "cuda", "13.0", None),
        ("__version__ = '2.7.1'\ncuda: Optional[str] = '12.9'\n", "cuda", "12.9", None),  # conda-forge
        ("__version__ = '2.0.1+cu117.with.pypi.cudnn'\ncuda = '11.7'\n", "cuda", "11.7", "cu117"),
        ("__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\nhip: Optional[str] = None\n", "cpu", None, None),
        ("__version__ = '2.13.0'\ncuda = None\n", "cpu", None, None),
        ("__version__ = '2.9.1+rocm6.4'\ncuda = None\nhip: Optional[str] = '6.4.43484'\n", "rocm", None, None),
        ("__version__ = '2.9.1+xpu'\ncuda = None\nxpu: Optional[str] = '20250300'\n", "xpu", None, None),
        ("__version__ = '2.4.1+corex.4.3.0'\ncuda: Optional[str] = '10.2'\n", "corex", "10.2", None),
        ("__version__ = '2.5.1+das.opt1.dtk25041'\nhip = '6.1'\n", "das", None, None),
        ("__version__ = '2.6.0+metax3.1.0.4'\ncuda = '11.6'\n", "metax", "11.6", None),
    ],
)
def test_builds_of_torch(text: str, build: str, cuda: str | None, tag: str | None) -> None:
    fact = torch_fact(text)
    assert (fact.build, fact.cuda, fact.tag) == (build, cuda, tag)


def test_a_version_without_a_label_is_read_from_the_file() -> None:
    _, found = described(torch())
    wheel = next(c for c in found.kinds("wheel") if c.name == "torch")
    assert wheel.version == "2.11.0"
    assert wheel.attributes == {"build": "cuda", "cuda": "13.0", "tag": "cu130", "product": "PyTorch"}
    assert found.fact(TorchBuild).version == "2.11.0+cu130"
    assert wheel.origin == "pip"


def test_without_the_file_the_metadata_speaks() -> None:
    assert torch_fact(None, "2.6.0+cu124").cuda == "12.4"
    pinned = torch_fact(None, "2.6.0", requires=['nvidia-nccl-cu12 (==2.21.5) ; platform_system == "Linux"'])
    assert (pinned.cuda, pinned.build) == ("12", "cuda")
    silent = torch_fact(None, "2.6.0")
    assert (silent.cuda, silent.build) == (None, None)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00cuda", b"cuda = '" + b"9" * 10_000_000, b"", b"cuda: str = '13.0"])
def test_a_damaged_version_file(tmp_path: Path, content: bytes) -> None:
    site = tmp_path / "site"
    (site / "torch").mkdir(parents=True)
    (site / "torch" / "version.py").write_bytes(content)
    found = on_disk(site, {"torch": {}})
    assert found.fact(TorchBuild).cuda is None


def test_a_version_file_that_is_a_fifo(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "torch").mkdir(parents=True)
    os.mkfifo(site / "torch" / "version.py")
    assert on_disk(site, {"torch": {}}).fact(TorchBuild).build is None


def test_strings_of_the_version_file() -> None:
    assert parse_version_file("cuda: Optional[str] = None\n__version__ = \"2\"\ngit_version = 'abc'\nother = 'x'\n") == {
        "__version__": "2", "git_version": "abc",
    }  # fmt: skip


# -- ONNX Runtime -------------------------------------------------------------------------------------------------


def test_the_build_of_a_cpu_package() -> None:
    _, found = described(ort(cuda=None, name="onnxruntime"))
    build = found.fact(OnnxRuntimeBuild)
    assert (build.build, build.cuda, build.providers, build.package_name) == ("cpu", None, (), "onnxruntime")
    assert next(c for c in found.kinds("wheel")).attributes == {"build": "cpu", "product": "ONNX Runtime"}


def test_cuda_and_cudnn_of_a_gpu_package() -> None:
    _, found = described(ort("1.26.0", "12.8", needed=("libcudnn.so.9",)))
    build = found.fact(OnnxRuntimeBuild)
    assert (build.build, build.cuda, build.cudnn, build.opens_cudnn_late) == ("cuda", "12.8", "9", False)
    component = next(c for c in found.kinds("wheel"))
    assert component.attributes == {"build": "cuda", "cuda": "12.8", "cudnn": "9", "product": "ONNX Runtime"}
    _, late = described(ort("1.28.0", "13.0"))
    assert late.fact(OnnxRuntimeBuild).opens_cudnn_late is True


def test_a_package_without_build_information_is_told_by_its_provider() -> None:
    recipe = ort("1.18.1", "11.0", needed=("libcudnn.so.8",))
    del recipe["files"][f"{SITE}/onnxruntime/capi/build_and_package_info.py"]
    recipe["distributions"][0]["files"].pop("onnxruntime/capi/build_and_package_info.py")
    _, found = described(recipe)
    build = found.fact(OnnxRuntimeBuild)
    assert (build.cuda, build.cudnn, build.version) == ("11", "8", "1.18.1")


# -- whose bytes --------------------------------------------------------------------------------------------------


def digest(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def on_disk(site: Path, claims: dict[str, dict[str, bytes]]) -> Gathered:
    """Distributions with RECORDs that claim these contents; the files themselves are the caller's."""
    for name, files in claims.items():
        info = site / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        rows = [f"{path},{digest(data)},{len(data)}" for path, data in files.items()]
        (info / "RECORD").write_text("\n".join([*rows, ""]))
    machine = Machine(Agent("/"), form=MachineForm.LIVE, capabilities=Capability)
    target = Target(
        key="target:/t",
        prefix="/t",
        executable="/t/bin/python",
        kind="venv",
        sys_path=(str(site),),
        site_dirs=(str(site),),
    )
    return gather(machine, wheels.PROBES, targets=(target,))


def test_owners_are_counted_by_the_digests_on_disk(tmp_path: Path) -> None:
    site = tmp_path / "site"
    names = [f"onnxruntime/file{n}.py" for n in range(5)] + ["onnxruntime/capi/lib.so"]
    for number, name in enumerate(names):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        if number != 3:
            (site / name).write_bytes(b"gpu" if number in {0, 1} else b"nobody" if number == 4 else b"cpu")
    (site / "onnxruntime" / "same.py").write_bytes(b"same")
    cpu = dict.fromkeys(names, b"cpu") | {"onnxruntime/same.py": b"same"}
    gpu = dict.fromkeys(names, b"gpu") | {"onnxruntime/same.py": b"same"}
    found = on_disk(site, {"onnxruntime": cpu, "onnxruntime-gpu": gpu})
    contest = found.fact(WheelContest)
    assert contest.files == 6
    assert dict(contest.won) == {"wheel:onnxruntime@/t": 2, "wheel:onnxruntime-gpu@/t": 2}
    assert (contest.missing, contest.changed, contest.not_read) == (1, 1, 0)
    assert contest.libraries == ((str(site / "onnxruntime/capi/lib.so"), ("wheel:onnxruntime@/t",)),)


def test_contests_outside_the_stack_are_left_out(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "shared").mkdir(parents=True)
    (site / "shared" / "x.py").write_bytes(b"a")
    found = on_disk(site, {"aaa": {"shared/x.py": b"a"}, "bbb": {"shared/x.py": b"b"}})
    assert not found.has(WheelContest)


def test_libraries_that_an_uninstall_took_along(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "nvidia/nccl/lib").mkdir(parents=True)
    found = on_disk(site, {"nvidia-nccl-cu12": {"nvidia/nccl/lib/libnccl.so.2": b"x", "nvidia/nccl/__init__.py": b""}})
    gone = found.fact(WheelFilesGone)
    assert (gone.wheel, gone.listed) == ("wheel:nvidia-nccl-cu12@/t", 1)
    assert gone.gone == (str(site / "nvidia/nccl/lib/libnccl.so.2"),)


def test_every_distribution_is_known_and_only_counted_in_a_report() -> None:
    _, found = described({"distributions": [dist("Acme_Model.Zoo", "1.4"), dist("torch", "2.11.0")]})
    fact: InstalledDistributions = found.fact(InstalledDistributions)
    assert fact.count == 2
    assert {name: version for name, (version, _) in fact.found.items()} == {"acme-model-zoo": "1.4", "torch": "2.11.0"}
    kept = [f.name for f in fields(fact) if f.metadata.get("in_report", True)]
    assert kept == ["target", "count", "evidence"]
    assert [c.name for c in found.kinds("wheel")] == ["torch"]
