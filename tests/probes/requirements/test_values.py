"""What each key is on recorded and described machines: there, not there, and not to be seen."""

from typing import Any

import pytest

from infra_doctor.model.finding import Status
from infra_doctor.model.policy import UNLIMITED
from tests.probes.requirements.machines import KEYS, UNSEEN, judged, observed, values

H200, HOST, IMAGE = "h200-torch211", "a host below /host", "an image with torch and ORT"
CPU, HANGS, NPU = "cpu-only", "nvml-hangs", "ascend-cann-850"
GIB = 1 << 30
# key -> the machines where it is there (with the values), is not (None, 0 or False), and cannot be seen.
CASES: dict[str, tuple[dict[str, list[Any]], dict[str, list[Any]], tuple[str, ...]]] = {
    "gpu.count": (
        {"healthy-8-gpus": [8], H200: [1], "healthy-container-one-of-eight": [1], "slurm-one-of-four": [1], HANGS: [1],
         "healthy-mig": [1], "rocm-mixed-vendors": [2], "cvd-empty": [1], "two of eight by variable": [8], "healthy-wsl2": [1]},
        {CPU: [0], "healthy-container-no-gpu-given": [0], NPU: [0]},
        (HOST, "k8s-listed-and-not-given", "wsl-healthy-docker-desktop", "two of eight AMD GPUs"),
    ),
    "gpu.visible": (
        {"healthy-8-gpus": [8], H200: [1], "two of eight by variable": [2]}, {"cvd-empty": [0], "cvd-index-too-high": [0], CPU: [0]},
        (HOST, HANGS, "healthy-mig"),
    ),
    "gpu.model": (
        {H200: ["NVIDIA H200"], HANGS: ["NVIDIA H100 80GB HBM3"], "healthy-amd-torch-rocm": ["AMD Instinct MI300X"]},
        {CPU: [None]}, (HOST, "laptop-nouveau", "healthy-jetson-orin"),
    ),
    "gpu.memory": (
        {H200: [150754820096], "healthy-8-gpus": [85520809984] * 8}, {CPU: [None]}, (HOST, HANGS, "healthy-gb10"),
    ),
    "gpu.compute_capability": ({H200: ["9.0"], HANGS: ["9.0"]}, {CPU: [None], NPU: [None]}, (HOST, "healthy-jetson-orin")),
    "gpu.gfx": ({"healthy-amd-torch-rocm": ["gfx942"]}, {CPU: [None], H200: [None]}, (HOST, "rocm-kfd-unsupported")),
    "gpu.mig": ({"healthy-mig": [True]}, {H200: [False], CPU: [None], "healthy-wsl2": [False]}, (HOST, HANGS)),
    "gpu.ecc": ({H200: [True]}, {"ecc-healthy-geforce": [False], CPU: [None]}, (HOST, HANGS)),
    "gpu.persistence": ({H200: [True]}, {"persist-off-server": [False], CPU: [None]}, (HOST, HANGS)),
    "gpu.nvlink": (
        {"h200x4-torch211": [18] * 4, "nvlink-one-down": [18, 18, 18, 16, 18, 18, 18, 18]}, {H200: [0], CPU: [None]},
        (HOST, HANGS),
    ),
    "npu.count": (
        {NPU: [2], "ascend-npu-hangs": [2], "vendor-cambricon": [1]}, {CPU: [0], "ascend-container-none-given": [0]}, (HOST,),
    ),
    "npu.model": ({NPU: ["Ascend910B3"] * 2}, {CPU: [None]}, (HOST, "ascend-npu-hangs")),
    "npu.memory": ({NPU: [64 * GIB] * 2}, {CPU: [None]}, (HOST, "ascend-npu-hangs")),
    "accelerator.count": ({NPU: [2], H200: [1], "vendor-cambricon": [1]}, {CPU: [0]}, (HOST,)),
    "accelerator.model": ({"vendor-cambricon": ["MLU370-S4"], H200: ["NVIDIA H200"]}, {CPU: [None]}, (HOST,)),
    "driver": (
        {H200: ["580.159.04"], "healthy-wsl2": ["581.29"], "nvml-mismatch": ["580.82.07"]},
        {CPU: [None], "laptop-nouveau": [None]}, (HOST, "wsl-healthy-docker-desktop"),
    ),
    "driver.flavor": (
        {H200: ["open"], "r550-torch-cu126": ["proprietary"]}, {CPU: [None]}, (HOST, "healthy-wsl2"),
    ),
    "cuda.driver_api": ({H200: ["13.0"]}, {CPU: [None]}, (HOST, HANGS)),
    "cuda.toolkit": ({H200: ["13.0"], "healthy-distro-nvcc-115": ["11.5"]}, {CPU: [None]}, (HOST,)),
    "amdgpu": ({"healthy-amd-torch-rocm": ["6.10.5"]}, {CPU: [None]}, (HOST,)),
    "rocm": ({"ROCm 6.4": ["6.4.1"]}, {CPU: [None]}, (HOST,)),
    "npu.driver": ({NPU: ["25.2.0"], "ascend-driver-too-old": ["23.0.6"]}, {CPU: [None]}, ()),
    "npu.firmware": ({NPU: ["7.7.0.6.236"]}, {CPU: [None], "vendor-cambricon": [None]}, ()),
    "cann": ({NPU: ["8.5.0"], "ascend-two-roots": ["8.5.0"]}, {CPU: [None]}, (HOST,)),
    "cudnn": (
        {"h200-ort-gpu-alone": ["9.14.0"], "h200-ort-gpu-beside-torch": ["9.19.0.56", "9.14.0"]},
        {"ort-gpu-cudnn-hidden": [None], CPU: [None]}, (),
    ),
    "nccl": ({H200: ["2.28.9"]}, {"h200-ort-gpu-alone": [None]}, (HOST, IMAGE)),
    "cublas": ({"healthy-conda-torch": ["12.9.1.4"]}, {"torch-without-cublas": [None]}, ()),
    "cudart": ({"ort-gpu-cudnn-hidden": ["13.0.96"]}, {CPU: [None]}, ()),
    "tensorrt": ({"trt-healthy-system": ["10.4.0"]}, {"trt-11-for-10": [None], H200: [None]}, ("two TensorRTs",)),
    "torch": ({H200: ["2.11.0+cu130"], NPU: ["2.9.0+cpu"]}, {CPU: [None]}, ()),
    "torch.cuda": (
        {H200: ["13.0"], "healthy-conda-torch": ["12.9"]},
        {CPU: [None], "torch-cpu-on-gpu": [None], "healthy-torch-corex-look-alike": [None]}, (),
    ),
    "torch.rocm": ({"healthy-amd-torch-rocm": ["6.4.43484"]}, {H200: [None], CPU: [None]}, ()),
    "torch.gpu": (
        {H200: [True], "h200x4-torch211": [True], "healthy-mig": [True], "healthy-two-cudnn": [True]},
        {"torch-cpu-on-gpu": [False], "cvd-empty": [False], "r550-torch-cu130-home-venv": [False], "pascal-torch-cu130": [False],
         "uvm-missing-for-user": [False], "ort-gpu-cudnn-hidden": [False], "torch-without-cublas": [False],
         "xid-79-gone-from-the-bus": [False], "laptop-nouveau-torch-cu130": [False], NPU: [False], CPU: [None]},
        ("healthy-conda-torch", "healthy-torch-editable", "healthy-amd-torch-rocm", "newer-than-all-tables",
         "healthy-torch-corex-look-alike", "slurm-one-of-four"),
    ),
    "torch_npu": ({NPU: ["2.9.0"]}, {CPU: [None]}, ()),
    "torch.npu": (
        {NPU: [True]},
        {"ascend-env-not-sourced": [False], "ascend-torch-npu-mismatch": [False], "ascend-container-none-given": [False],
         "ascend-driver-too-old": [False], CPU: [None]},
        ("ascend-npu-hangs",),
    ),
    "ort": ({"h200-ort-gpu-alone": ["1.30.0"], "ort-clobbered": ["1.30.0"]}, {CPU: [None]}, ()),
    "ort.cuda": (
        {"h200-ort-gpu-alone": [True], "h200-ort-gpu-wheels": [True], "trt-healthy-system": [True]},
        {"ort-gpu-needs-preload": [False], "ort-gpu-cudnn-hidden": [False], "ort-clobbered": [False], CPU: [None],
         "cpu-runner-ort-gpu": [False], "ort-cudnn9-only-in-wheel": [False], "ort-cuda12-with-cuda13-only": [False]},
        (IMAGE, "an image without the driver"),
    ),
    "ort.cuda_preloaded": (
        {"ort-gpu-needs-preload": [True], "ort-cudnn9-only-in-wheel": [True], "h200-ort-gpu-alone": [True]},
        {"ort-gpu-cudnn-hidden": [False], "ort-clobbered": [False]}, (IMAGE, "an image without the driver"),
    ),
    "ort.tensorrt": ({"trt-healthy-system": [True]}, {"h200-ort-gpu-alone": [False], CPU: [None]}, ()),
    "ort.tensorrt_preloaded": ({"trt-healthy-system": [True]}, {"h200-ort-gpu-alone": [False]}, ()),
    "ort.cann": ({"ascend-ort-cann-missing-decorator": [True]}, {"h200-ort-gpu-alone": [False], CPU: [None]}, ()),
    "ort.openvino": ({"OpenVINO provider": [True]}, {"debian-ort-beside-openvino": [False], CPU: [None]}, ()),
    "ort.rocm": (
        {"ROCm provider": [True]}, {"ROCm provider, no GPU": [False], "ROCm provider, incomplete": [False], CPU: [None]},
        ("ROCm provider in an image",),
    ),
    "ort.migraphx": ({"MIGraphX provider": [True]}, {"ROCm provider": [False], CPU: [None]}, ()),
    "package.numpy": ({"h200-ort-gpu-alone": ["2.5.2"]}, {"laptop-nouveau": [None]}, ()),
    "package.Acme_secret-MODEL": ({"a package of nobody's business": ["1.4"]}, {CPU: [None]}, ()),
    "os": ({H200: ["Ubuntu 24.04.3 LTS"], "healthy-alpine": ["Alpine Linux v3.22"]}, {}, ()),
    "kernel": ({CPU: ["6.8.0-60"], "healthy-wsl2": ["6.6.87.2"], H200: ["6.18.44"]}, {}, (HOST,)),
    "arch": ({CPU: ["x86_64"], HOST: ["x86_64"]}, {}, ()),
    "glibc": ({H200: ["2.39"]}, {"healthy-alpine": [None]}, ()),
    "python": ({H200: ["3.12.3"]}, {}, ()),
    "container": ({"healthy-container-no-gpu-given": [True]}, {CPU: [False]}, (HOST,)),
    "cpu.count": ({CPU: [16]}, {}, (HOST,)),
    "cpu.model": ({CPU: ["Example CPU"]}, {}, (HOST,)),
    "memory": ({CPU: [270188544000], "a limit of memory": [64 * GIB]}, {}, (HOST,)),
    "numa.count": ({"two NUMA nodes": [2], H200: [1]}, {}, (CPU, HOST)),
    "shm": ({CPU: [135000000000], "shm-docker-default": [64 << 20]}, {"shm-absent": [None]}, (HOST, "h200-ort-gpu-alone")),
    "memlock": ({"memlock-rdma-unlimited": [UNLIMITED], "memlock-lowered": [65536]}, {}, (HOST, "h200-ort-gpu-alone")),
    "infiniband.count": (
        {"ib-slow-port": [4], "ib-no-subnet-manager": [3]}, {CPU: [0], "ib-host-ports-in-container": [0], "RoCE": [0]}, (HOST,),
    ),
    "rdma.count": ({"RoCE": [1], "ib-slow-port": [4]}, {CPU: [0], "ib-host-ports-in-container": [0]}, (HOST,)),
}  # fmt: skip
# What every machine has: where it is not found, it was not seen.
ALWAYS_THERE = frozenset(
    {"os", "kernel", "arch", "python", "cpu.count", "cpu.model", "memory", "numa.count", "memlock"}
)


def test_every_key_is_held_on_machines() -> None:
    names = {n if not n.startswith("package.") else "package.*" for n in CASES}
    assert names == {k.key for k in KEYS}
    for name, (present, absent, _) in CASES.items():
        assert present
        assert absent or name in ALWAYS_THERE, name


PRESENT = [(n, m, v) for n, (present, _, _) in CASES.items() for m, v in present.items()]
ABSENT = [(n, m, v) for n, (_, absent, _) in CASES.items() for m, v in absent.items()]
HIDDEN = [(n, m) for n, (_, _, unseen) in CASES.items() for m in unseen]


@pytest.mark.parametrize(("name", "machine", "wanted"), PRESENT, ids=[f"{n}-{m}" for n, m, _ in PRESENT])
def test_what_is_there(name: str, machine: str, wanted: list[Any]) -> None:
    found = observed(name, machine)
    assert [UNSEEN if o.unseen else o.value for o in found] == wanted
    assert all(o.evidence for o in found), "a value rests on evidence"
    finding = judged(name, machine)
    assert finding.status is Status.PASS, finding
    assert judged(f"{name}=false", machine).status is Status.FAIL


@pytest.mark.parametrize(("name", "machine", "wanted"), ABSENT, ids=[f"{n}-{m}" for n, m, _ in ABSENT])
def test_what_is_not_there(name: str, machine: str, wanted: list[Any]) -> None:
    assert values(name, machine) == wanted
    finding = judged(name, machine)
    assert finding.status is Status.FAIL, finding
    assert judged(f"{name}=false", machine).status is Status.PASS
    if not (wanted == [0] or "wsl" in machine):
        assert finding.detail, "what is missing has a reason"


@pytest.mark.parametrize(("name", "machine"), HIDDEN, ids=[f"{n}-{m}" for n, m in HIDDEN])
def test_what_cannot_be_seen_is_neither(name: str, machine: str) -> None:
    for requirement in (name, f"{name}=false"):
        finding = judged(requirement, machine)
        assert finding.status is Status.ERROR, (requirement, finding.title)
        assert finding.detail
