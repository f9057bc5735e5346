"""What a requirement that is not met says, what it follows from, and what a report keeps to itself."""

import pytest

from infra_doctor.codec import encode
from infra_doctor.model.finding import Status
from tests.probes.requirements.machines import judged, run_of, values


@pytest.mark.parametrize(
    ("requirement", "machine", "said"),
    [
        ("gpu.count=8", "healthy-container-one-of-eight", "7 more on the bus: not given to this docker container"),
        ("gpu.count=4", "slurm-one-of-four", "the device rules of this job's control group leave it to others"),
        ("gpu.memory>=80GB", "nvml-hangs", "NVML could not be asked: no answer within 10 s"),
        ("gpu.model=H100", "laptop-nouveau", "by its PCI id it is NVIDIA GeForce RTX 4060"),
        ("gpu.visible=1", "healthy-mig", "MIG is on"),
        ("npu.model=Ascend910B*", "ascend-npu-hangs", "npu-smi: no answer within 10 s"),
        ("ort.cuda", "ort-gpu-needs-preload", "only after onnxruntime.preload_dlls() (ort.cuda_preloaded asks for that)"),
        ("ort.cuda", "ort-clobbered", "its files took the place of onnxruntime-gpu 1.30.0"),
        ("ort.cuda", "cpu-runner-ort-gpu", "no NVIDIA GPU is there"),
        ("ort.rocm", "ROCm provider, incomplete", "does not find libamdhip64.so.6"),
        ("torch.cuda>=12", "torch-cpu-on-gpu", "is built for the CPU only"),
        ("torch.gpu", "cvd-empty", "CUDA_VISIBLE_DEVICES hides every device"),
        ("torch.gpu", "r550-torch-cu130-home-venv", "the NVIDIA driver 550.163.01 is too old for torch 2.11.0"),
        ("torch.gpu", "torch-without-cublas", "does not find libcublasLt.so"),
        ("torch.gpu", "healthy-amd-torch-rocm", "only CUDA builds can be told so far"),
        ("torch.npu", "ascend-torch-npu-mismatch", "do not belong together"),
        ("cudnn>=9", "ort-gpu-cudnn-hidden", "torch 2.11.0 needs libcudnn.so.9, and the loader does not find it"),
        ("nccl>=2", "h200-ort-gpu-alone", "here lie libnccl 2.28.3 (system)"),
        ("package.vllm>=0.10", "h200-torch211", "vllm is not installed in /opt/torch/.venv"),
        ("memory>=100GiB", "a limit of memory", "the limit of this control group"),
        ("glibc>=2.28", "healthy-alpine", "the C library is musl"),
        ("infiniband.count=8", "ib-host-ports-in-container", "this container was given no RDMA device"),
        ("gpu.count=2", "two of eight AMD GPUs", "8 seen; which of its host's devices this docker container was given"),
    ],
)  # fmt: skip
def test_the_reason(requirement: str, machine: str, said: str) -> None:
    finding = judged(requirement, machine)
    assert finding.status in {Status.FAIL, Status.ERROR}
    assert said in finding.detail


@pytest.mark.parametrize(
    ("requirement", "machine", "root"),
    [
        ("torch.gpu", "uvm-missing-for-user", "UVM"),
        ("torch.gpu", "pascal-torch-cu130", "ARCH"),
        ("torch.cuda", "torch-cpu-on-gpu", "TORCH-CPU"),
        ("ort.cuda", "ort-clobbered", "PY-CLOBBER-ORT"),
        ("cudnn", "ort-gpu-cudnn-hidden", "CUDNN-MISSING"),
        ("gpu.visible", "cvd-empty", "ENV-CVD"),
        ("driver", "laptop-nouveau-torch-cu130", "NOUVEAU"),
        ("torch.npu", "ascend-env-not-sourced", "CANN-ENV"),
        ("gpu.nvlink=18", "nvlink-one-down", "NVLINK"),
    ],
)
def test_what_it_follows_from(requirement: str, machine: str, root: str) -> None:
    report = run_of(machine, requirement).execute()
    (finding,) = [f for f in report.findings if f.id == "REQUIREMENT"]
    assert finding.status is Status.FAIL
    by_print = {f.fingerprint: f.id for f in report.findings}
    assert [by_print[d.root] for d in report.diagnoses if finding.fingerprint in d.follows] == [root]


def test_each_environment_that_has_it_counts() -> None:
    assert values("torch", "two environments") == ["2.9.0+cpu", "2.11.0+cu130"]
    assert values("torch.cuda", "two environments") == [None, "13.0"]
    assert values("package.vllm", "two environments") == ["0.12.0"]
    assert values("package.sglang", "two environments") == [None]
    assert judged("torch>=2.10", "two environments").subject[1:] == ("wheel:torch@/opt/venv",)
    assert judged("package.vllm==0.12.*", "two environments").status is Status.PASS


def test_unlimited_is_above_every_size() -> None:
    assert judged("memlock=unlimited", "memlock-rdma-unlimited").status is Status.PASS
    assert judged("memlock>=64GiB", "memlock-rdma-unlimited").status is Status.PASS
    lowered = judged("memlock=unlimited", "memlock-lowered")
    assert lowered.status is Status.FAIL
    assert lowered.title == "memlock unlimited is required; this is 64.0 KiB"
    assert judged("memlock", "memlock-rdma-unlimited").title.endswith("this is unlimited")


def test_names_of_packages_stay_out_of_the_report() -> None:
    machine = "a package of nobody's business"
    assert values("package.acme-secret-model", machine) == ["1.4"]
    assert "acme" not in encode(run_of(machine).execute()).lower()
    asked = run_of(machine, "package.Acme_Secret.model==1.*").execute()
    (finding,) = [f for f in asked.findings if f.id == "REQUIREMENT"]
    assert finding.status is Status.PASS


def test_a_package_that_start_up_code_may_bring_is_told() -> None:
    finding = judged("package.vllm", "an environment that executes code")
    assert finding.status is Status.FAIL
    assert "not looked behind: unknown (executes code)" in finding.detail
