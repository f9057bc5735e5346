"""On a real GPU: the copy that is predicted from files is the one in the process's own maps, for each import order;
and a provider that is said to load, or not, does so.

    pytest -m gpu tests/gpu            judges `python3` on PATH; INFRA_DOCTOR_GPU_PYTHON names another
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import infra_doctor
from infra_doctor.model.report import Report
from tests.support.onnx_model import conv_model

pytestmark = pytest.mark.gpu
PYTHON = os.environ.get("INFRA_DOCTOR_GPU_PYTHON") or shutil.which("python3") or ""
KINDS = {
    "cudart", "cublas", "cublaslt", "cudnn", "cudnn-sub", "nccl", "nvjitlink", "cusparse", "cusparselt", "cufft",
    "curand", "cusolver", "nvrtc", "cupti", "nvshmem", "tensorrt",
}  # fmt: skip
NAMES = re.compile(
    r"lib(cudart|cublas|cublasLt|cudnn|nccl|nvJitLink|cusparse|cusparseLt|cufft|curand|cusolver|nvrtc|cupti|nvinfer)[.-_]"
)
TORCH = """
import torch
x = torch.randn(1, 4, 16, 16, device="cuda", dtype=torch.float32)
torch.nn.functional.conv2d(x, torch.randn(4, 4, 3, 3, device="cuda"))
torch.randn(64, 64, device="cuda") @ torch.randn(64, 64, device="cuda")
torch.cuda.synchronize()
"""
ORT_IMPORT = "import onnxruntime\n"
ORT = """
import onnxruntime
session = onnxruntime.InferenceSession(MODEL, providers=["CUDAExecutionProvider", "CPUExecutionProvider"])
said["providers"] = session.get_providers()
import numpy
session.run(None, {"x": numpy.ones((1, 4, 16, 16), "float32"), "w": numpy.ones((4, 4, 3, 3), "float32")})
"""
PRELOAD = "import onnxruntime; onnxruntime.preload_dlls()\n"
PROGRAMS = {
    "torch": TORCH,
    "onnxruntime": ORT,
    "torch, onnxruntime": TORCH + ORT,
    "onnxruntime, torch": ORT + TORCH,
    "onnxruntime.preload_dlls()": PRELOAD + ORT,
}
FRAME = """
import json, os, sys
said = {"error": ""}
MODEL = open(sys.argv[1], "rb").read()
try:
    exec(sys.argv[2])
except Exception as error:
    said["error"] = repr(error)[:500]
with open("/proc/self/maps") as maps:
    paths = {line.split(None, 5)[5].strip() for line in maps if line.count("/") and ".so" in line}
said["maps"] = sorted({os.path.realpath(p) for p in paths})
print("\\n" + json.dumps(said))
"""


def played(order: str, tmp_path: Path) -> dict[str, Any]:
    model = tmp_path / "model.onnx"
    model.write_bytes(conv_model())
    done = subprocess.run(
        [PYTHON, "-c", FRAME, str(model), PROGRAMS[order]], capture_output=True, text=True, timeout=300, check=False
    )
    try:
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        pytest.fail(f"{PYTHON} ended with {done.returncode}: {done.stderr[-2000:]}")
    return answer


@pytest.fixture(scope="module")
def report() -> Report:
    return infra_doctor.check(python=PYTHON)


def predicted(report: Report, order: str, *, at_once: bool = False) -> set[str]:
    """The copies that an order loads; with `at_once` without those that wait for a first use that may not come."""
    return {
        os.path.realpath(c.location)
        for c in report.components
        for use in c.loaded_by
        if c.kind in KINDS and c.location and use.order == order
        if not (at_once and use.via.startswith("on first use"))
    }


def need(report: Report, order: str) -> None:
    installed = {c.name.split("-")[0] for c in report.components if c.kind == "wheel"}
    if not set(order.removesuffix(".preload_dlls()").split(", ")) <= installed:
        pytest.skip(f"the target has not what {order!r} imports")


@pytest.mark.parametrize("order", PROGRAMS)
def test_the_predicted_copy_is_the_one_that_is_mapped(report: Report, order: str, tmp_path: Path) -> None:
    need(report, order)
    said = played(order, tmp_path)
    mapped = {p for p in said["maps"] if NAMES.match(os.path.basename(p))}
    told = predicted(report, order)
    print(order, said.get("providers"), said["error"], *sorted(mapped), sep="\n  ")
    # Each mapped library was predicted, from this very file; what was predicted and is not mapped must be no other copy.
    assert mapped <= told, sorted(mapped - told)
    stem = {os.path.basename(p).split(".so")[0] for p in mapped}
    wrong = {p for p in predicted(report, order, at_once=True) - mapped if os.path.basename(p).split(".so")[0] in stem}
    assert not wrong, sorted(wrong)


@pytest.mark.parametrize("order", [o for o in PROGRAMS if "onnxruntime" in o])
def test_provider_health_is_as_a_session_says(report: Report, order: str, tmp_path: Path) -> None:
    providers = [c for c in report.components if c.kind == "ort-provider" and c.name == "CUDAExecutionProvider"]
    if not providers:
        pytest.skip("no CUDA provider in this target")
    need(report, order)
    said = played(order, tmp_path)
    # Newer versions open the session without cuDNN and fail at the first operation that needs it.
    works = "CUDAExecutionProvider" in (said.get("providers") or []) and not said["error"]
    loads = str(providers[0].attributes["loads"])
    print(order, "said", loads, "session", said.get("providers"), said["error"])
    wanted = loads == "yes" or (loads.startswith("only after") and order in loads)
    assert works == wanted


def test_the_gpus_are_those_of_the_machine(report: Report) -> None:
    done = subprocess.run(
        ["nvidia-smi", "--query-gpu=name,pci.bus_id,memory.total,driver_version,compute_cap", "--format=csv,noheader,nounits"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
    gpus = sorted((c for c in report.components if c.kind == "gpu"), key=lambda c: c.key)
    assert len(gpus) == len(rows)
    for gpu, (name, bus, memory, _driver, capability) in zip(gpus, sorted(rows, key=lambda r: r[1]), strict=True):
        assert gpu.name == name
        assert gpu.key == "gpu:" + bus.lower().removeprefix("0000")
        assert gpu.attributes["compute_capability"] == capability
        assert abs(int(gpu.attributes["memory_bytes"] or 0) / 2**20 - int(memory)) < 1
    drivers = [c for c in report.components if c.key == "driver:nvidia"]
    assert [d.version for d in drivers] == [rows[0][3]]
