"""The checks of libraries and packages in an environment: what raises a finding, what must not, and what is advised."""

from datetime import date
from typing import Any

import pytest

from infra_doctor.model.component import Component
from infra_doctor.model.finding import Finding, Status
from infra_doctor.model.plugins import Check, CheckContext
from infra_doctor.model.report import ProbeOutcome
from infra_doctor_probes.checks import (
    cudnn_missing,
    cudnn_mix,
    ldpath_shadow,
    ort_fallback,
    py_clobber_nv,
    py_clobber_ort,
    torch_ort_cuda,
)
from tests.probes.described_stack import (
    CUDA13,
    DRIVER,
    LIB,
    SITE,
    TARGET,
    cudnn,
    described,
    dist,
    ort,
    torch,
    wheel,
)

MODULES = (cudnn_missing, cudnn_mix, ldpath_shadow, ort_fallback, py_clobber_nv, py_clobber_ort, torch_ort_cuda)
CHECKS: dict[str, Check] = {c.id: c for m in MODULES for c in m.CHECKS}
GPU = Component(key="gpu:0000:17:00.0", kind="gpu", name="NVIDIA H100", attributes={"vendor": "nvidia"})


def judged(*parts: dict[str, Any], gpu: bool | None = True) -> dict[str, list[Finding]]:
    """All findings of these checks; `gpu` None: GPUs are not visible here."""
    _, found = described(*parts)
    probes = []
    if gpu is None:
        probes = [ProbeOutcome(id="nvidia-gpu", version=1, title="", status=Status.SKIP, reason="not visible")]
    context = CheckContext(
        targets=(TARGET,), components=[*found.components, *([GPU] if gpu else [])], facts=found.facts, probes=probes,
        today=date(2026, 11, 21),
    )  # fmt: skip
    out = {name: list(check.run(context)) for name, check in CHECKS.items()}
    for name, findings in out.items():
        assert findings, name
        for finding in findings:
            assert finding.id == name
            if finding.status in {Status.PASS, Status.FAIL, Status.WARN}:
                assert finding.evidence, finding.title
            if finding.status in {Status.FAIL, Status.WARN}:
                assert finding.remediation is not None
                assert "export LD_LIBRARY_PATH" not in finding.remediation.text
                assert finding.subject
    return out


def statuses(out: dict[str, list[Finding]], *names: str) -> dict[str, set[str]]:
    return {n: {str(f.status) for f in out[n]} for n in names or out}


def one(out: dict[str, list[Finding]], name: str) -> Finding:
    (finding,) = [f for f in out[name] if f.status in {Status.FAIL, Status.WARN}]
    return finding


def remedy(finding: Finding) -> str:
    assert finding.remediation is not None
    return finding.remediation.text


HEALTHY = (DRIVER, CUDA13, cudnn(), torch(), ort(needed=("libcuda.so.1",)))
PROBLEMS = {"fail", "warn", "error"}


# -- nothing wrong ------------------------------------------------------------------------------------------------


def test_an_empty_environment_is_skipped_everywhere() -> None:
    assert all(s == {"skip"} for s in statuses(judged()).values())


@pytest.mark.parametrize("parts", [HEALTHY, (CUDA13, ort()), (ort("1.22.0", "12.8", needed=("libcudnn.so.9",)),)])
def test_without_a_gpu_nothing_is_wrong(parts: tuple[dict[str, Any], ...]) -> None:
    out = judged(*parts, gpu=False)
    assert not [f.title for findings in out.values() for f in findings if str(f.status) in PROBLEMS]


def test_the_h200_machine_with_a_cpu_onnxruntime() -> None:
    """Two cuDNN and two NCCL on disk, torch takes its own: nothing to say."""
    system = {
        "elf": {
            f"{LIB}/libcudnn.so.9.14.0": {"soname": "libcudnn.so.9"},
            f"{LIB}/libnccl.so.2.28.3": {"soname": "libnccl.so.2"},
        },
        "links": {f"{LIB}/libcudnn.so.9": "libcudnn.so.9.14.0", f"{LIB}/libnccl.so.2": "libnccl.so.2.28.3"},
        "ldcache": {"libcudnn.so.9": f"{LIB}/libcudnn.so.9", "libnccl.so.2": f"{LIB}/libnccl.so.2"},
    }
    out = judged(DRIVER, CUDA13, cudnn(), torch(), ort(cuda=None, name="onnxruntime"), system)
    assert not [f.title for findings in out.values() for f in findings if str(f.status) in PROBLEMS]
    assert statuses(out, "ORT-FALLBACK", "CUDNN-MISSING", "CUDNN-MIX", "PY-CLOBBER-ORT") == {
        "ORT-FALLBACK": {"skip"}, "CUDNN-MISSING": {"pass"}, "CUDNN-MIX": {"pass"}, "PY-CLOBBER-ORT": {"pass"},
    }  # fmt: skip
    assert "9.19.0.56 from wheel nvidia-cudnn-cu13" in out["CUDNN-MISSING"][0].title


# -- ORT-FALLBACK -------------------------------------------------------------------------------------------------


def test_installed_but_only_reachable_by_preload() -> None:
    finding = one(judged(*HEALTHY), "ORT-FALLBACK")
    assert finding.status is Status.WARN
    assert "only reachable through preload_dlls() or an earlier torch import" in finding.detail
    assert "`onnxruntime.preload_dlls()` before the first session; `import torch`" in remedy(finding)
    assert any("libcublasLt.so.13" in e.text for e in finding.evidence)


@pytest.mark.parametrize(
    ("version", "cuda", "expected"),
    [
        ("1.30.0", "13.0", "onnxruntime-gpu[cuda,cudnn]==1.30.0"),
        ("1.22.0", "12.2", "onnxruntime-gpu[cuda,cudnn]==1.22.0"),
        ("1.27.0", "13.0", "onnxruntime-gpu[cuda,cudnn]>=1.28"),
    ],
)
def test_not_installed_at_all(version: str, cuda: str, expected: str) -> None:
    finding = one(judged(DRIVER, ort(version, cuda)), "ORT-FALLBACK")
    assert finding.status is Status.FAIL
    assert expected in remedy(finding)
    assert ("R580" in remedy(finding)) is cuda.startswith("13")
    assert finding.remediation is not None
    assert finding.remediation.commands[0].argv == (TARGET.executable, "-m", "pip", "install", expected)


def test_before_preload_there_is_no_such_advice() -> None:
    finding = one(judged(DRIVER, ort("1.18.1", "11.8", needed=("libcudnn.so.8",))), "ORT-FALLBACK")
    assert "cuDNN 8" in remedy(finding)
    assert "upgrade" in remedy(finding)


def test_a_gpu_without_its_driver_library() -> None:
    out = judged(CUDA13, cudnn(), torch(), ort(needed=("libcuda.so.1",)))
    finding = one(out, "ORT-FALLBACK")
    assert finding.status is Status.FAIL


def test_a_torch_that_cannot_be_imported_is_no_way_out() -> None:
    broken = torch()
    broken["elf"][f"{SITE}/torch/lib/libtorch_cuda.so"]["needed"].append("libmagma.so")
    text = remedy(one(judged(DRIVER, CUDA13, cudnn(), broken, ort()), "ORT-FALLBACK"))
    assert "preload_dlls()" in text
    assert "import torch" not in text


def test_an_image_gets_its_driver_later() -> None:
    out = judged(CUDA13, cudnn(), torch(), ort(needed=("libcuda.so.1",)), gpu=None)
    finding = one(out, "ORT-FALLBACK")
    assert finding.status is Status.WARN
    assert "only after" in finding.title


def test_an_image_without_libraries_is_a_warning() -> None:
    assert one(judged(ort(), gpu=None), "ORT-FALLBACK").status is Status.WARN


# -- CUDNN-MISSING ------------------------------------------------------------------------------------------------


SYSTEM_CUBLAS = {
    "elf": {f"{LIB}/{n}": {"soname": n} for n in ("libcublasLt.so.13", "libcublas.so.13", "libcudart.so.13")},
    "ldcache": {n: f"{LIB}/{n}" for n in ("libcublasLt.so.13", "libcublas.so.13", "libcudart.so.13")},
}


def test_cudnn_alone_is_out_of_reach() -> None:
    out = judged(DRIVER, SYSTEM_CUBLAS, cudnn(), ort("1.27.0", needed=("libcudnn.so.9",)))
    finding = one(out, "CUDNN-MISSING")
    assert finding.status is Status.WARN
    assert "only reachable through preload_dlls() or an earlier torch import" in finding.detail
    assert f"{SITE}/nvidia/cudnn/lib/libcudnn.so.9" in finding.detail
    assert one(out, "ORT-FALLBACK").status is Status.WARN
    assert "CUDNN-MISSING" in CHECKS["ORT-FALLBACK"].explained_by


def test_late_cudnn_does_not_make_a_fall_back() -> None:
    out = judged(DRIVER, SYSTEM_CUBLAS, ort("1.30.0"))
    assert statuses(out, "ORT-FALLBACK") == {"ORT-FALLBACK": {"pass"}}
    finding = one(out, "CUDNN-MISSING")
    assert finding.status is Status.FAIL
    assert "the first operation that needs cuDNN" in finding.detail
    assert "nvidia-cudnn-cu13~=9.0" in remedy(finding)


def test_torch_without_its_cudnn() -> None:
    gone = cudnn()
    for path in list(gone["elf"]):
        if path.endswith("libcudnn.so.9"):
            del gone["elf"][path]
            gone["files"] = {}
    gone["distributions"][0]["files"].pop("nvidia/cudnn/lib/libcudnn.so.9")
    out = judged(DRIVER, CUDA13, gone, torch())
    finding = one(out, "CUDNN-MISSING")
    assert finding.status is Status.FAIL
    assert "import torch fails" in finding.detail
    assert "nvidia-cudnn-cu13==9.19.0.56" in remedy(finding)


def test_missing_with_everything_else_is_left_to_the_provider() -> None:
    out = judged(DRIVER, ort("1.22.0", "12.8", needed=("libcudnn.so.9",)))
    assert statuses(out, "CUDNN-MISSING", "ORT-FALLBACK") == {"CUDNN-MISSING": {"skip"}, "ORT-FALLBACK": {"fail"}}


# -- CUDNN-MIX ----------------------------------------------------------------------------------------------------


def test_only_another_major_is_here() -> None:
    out = judged(DRIVER, SYSTEM_CUBLAS, cudnn(), ort("1.18.0", "13.0", needed=("libcudnn.so.8",)))
    finding = one(out, "CUDNN-MIX")
    assert finding.status is Status.FAIL
    assert "needs cuDNN 8; only cuDNN 9 is here" in finding.title


def test_parts_of_another_copy() -> None:
    folder = "/opt/cudnn-9.1/lib"
    names = ("libcudnn_graph.so.9", "libcudnn_ops.so.9", "libcudnn_cnn.so.9")
    header = "#define CUDNN_MAJOR 9\n#define CUDNN_MINOR 1\n#define CUDNN_PATCHLEVEL 0\n"
    other = {
        "elf": {f"{folder}/{n}": {"soname": n} for n in names},
        "files": {"/opt/cudnn-9.1/include/cudnn_version.h": header},
        "environment": {"LD_LIBRARY_PATH": folder},
    }
    out = judged(DRIVER, CUDA13, cudnn(), torch(), other)
    mix = one(out, "CUDNN-MIX")
    assert mix.status is Status.WARN
    assert "libcudnn 9.19.0.56 with libcudnn_cnn 9.1.0" in mix.title
    shadow = one(out, "LDPATH-SHADOW")
    assert shadow.status is Status.WARN
    assert folder in remedy(shadow)
    assert "LDPATH-SHADOW" in CHECKS["CUDNN-MIX"].explained_by


def test_cudnn_of_another_cuda() -> None:
    out = judged(DRIVER, CUDA13, cudnn("nvidia-cudnn-cu12"), torch())
    finding = one(out, "CUDNN-MIX")
    assert finding.status is Status.WARN
    assert "built for CUDA 13, gets a cuDNN for CUDA 12" in finding.title


# -- LDPATH-SHADOW ------------------------------------------------------------------------------------------------


def shadowing(version: str) -> dict[str, Any]:
    return {
        "elf": {f"/opt/cuda/lib/libcublas.so.{version}": {"soname": "libcublas.so.13"}},
        "links": {"/opt/cuda/lib/libcublas.so.13": f"libcublas.so.{version}"},
        "environment": {"LD_LIBRARY_PATH": "/opt/cuda/lib"},
    }


def test_rpath_wins_over_the_variable() -> None:
    out = judged(DRIVER, CUDA13, cudnn(), torch(), shadowing("13.0.0.1"))
    assert statuses(out, "LDPATH-SHADOW") == {"LDPATH-SHADOW": {"pass"}}


def test_the_same_version_is_no_finding() -> None:
    one_copy = wheel("nvidia-cublas", "13.1.0.3", "torch/lib/libcublas.so.13")
    search = {"runpath": "$ORIGIN:$ORIGIN/../../nvidia/cu13/lib:$ORIGIN/../../nvidia/cudnn/lib"}
    old_start_up = torch(search=search)
    old_start_up["files"][f"{SITE}/torch/__init__.py"] = ""
    parts = (DRIVER, CUDA13, one_copy, cudnn(), old_start_up)
    assert statuses(judged(*parts, shadowing("13.1.0.3")), "LDPATH-SHADOW") == {"LDPATH-SHADOW": {"pass"}}
    finding = one(judged(*parts, shadowing("13.0.0.19")), "LDPATH-SHADOW")
    assert finding.status is Status.WARN
    assert "libcublas 13.0.0.19 instead of 13.1.0.3" in finding.title


def test_not_set() -> None:
    assert statuses(judged(*HEALTHY), "LDPATH-SHADOW") == {"LDPATH-SHADOW": {"skip"}}


# -- TORCH-ORT-CUDA -----------------------------------------------------------------------------------------------


def test_different_cuda_majors() -> None:
    out = judged(DRIVER, torch("12.6"), ort("1.30.0", "13.0"))
    finding = one(out, "TORCH-ORT-CUDA")
    assert finding.status is Status.FAIL
    assert "onnxruntime-gpu[cuda,cudnn]<1.27" in remedy(finding)
    both = judged(DRIVER, CUDA13, cudnn(), torch("12.6"), ort("1.30.0", "13.0"))
    assert one(both, "TORCH-ORT-CUDA").status is Status.WARN


def test_the_same_major_passes() -> None:
    assert statuses(judged(*HEALTHY), "TORCH-ORT-CUDA") == {"TORCH-ORT-CUDA": {"pass"}}
    assert statuses(judged(torch(), ort(cuda=None, name="onnxruntime")), "TORCH-ORT-CUDA") == {
        "TORCH-ORT-CUDA": {"skip"}
    }


# -- PY-CLOBBER ---------------------------------------------------------------------------------------------------


def test_the_cpu_package_over_the_gpu_package() -> None:
    """The GPU package's provider libraries stay on disk beside the CPU package's extension module, which never opens them."""
    cpu = ort(cuda=None, name="onnxruntime", winner=True)
    out = judged(DRIVER, CUDA13, cudnn(), ort("1.30.0"), cpu)
    finding = one(out, "PY-CLOBBER-ORT")
    assert finding.status is Status.FAIL
    assert "imports get onnxruntime 1.30.0, not onnxruntime-gpu 1.30.0" in finding.title
    assert "Of 2 contested files: onnxruntime 2, onnxruntime-gpu 0" in finding.detail
    pip = "/opt/venv/bin/python3.12 -m pip"
    steps = f"`{pip} uninstall onnxruntime onnxruntime-gpu`, then `{pip} install onnxruntime-gpu==1.30.0`"
    assert steps in remedy(finding)
    assert finding.remediation is not None
    assert not finding.remediation.commands
    fallback = one(out, "ORT-FALLBACK")
    assert fallback.status is Status.FAIL
    assert "is installed, but imports get a build without CUDAExecutionProvider" in fallback.title


def test_two_packages_with_the_wanted_one_on_disk_is_a_warning() -> None:
    cpu = {"distributions": ort(cuda=None, name="onnxruntime")["distributions"]}
    assert one(judged(*HEALTHY, cpu), "PY-CLOBBER-ORT").status is Status.WARN


def test_openvino_under_the_cpu_package_is_a_warning_anywhere() -> None:
    recipe = ort(cuda=None, name="onnxruntime-openvino", version="1.23.0")
    recipe["elf"][f"{SITE}/onnxruntime/capi/libonnxruntime_providers_openvino.so"] = {"needed": ["libc.so.6"]}
    cpu = ort(cuda=None, name="onnxruntime", version="1.23.0", winner=True)
    out = judged(recipe, cpu, gpu=False)
    assert one(out, "PY-CLOBBER-ORT").status is one(out, "ORT-FALLBACK").status is Status.WARN
    assert "not onnxruntime-openvino 1.23.0" in one(out, "PY-CLOBBER-ORT").title


NCCL = "nvidia/nccl/lib/libnccl.so.2"


def test_two_nccl_wheels() -> None:
    stale = wheel("nvidia-nccl-cu12", "2.21.5", NCCL)
    stale["distributions"][0]["winner"] = True
    ours = wheel("nvidia-nccl-cu13", "2.28.9", NCCL)
    parts = (
        DRIVER,
        CUDA13,
        cudnn(),
        torch(requires=("nvidia-nccl-cu13==2.28.9; platform_system == 'Linux'",)),
        ours,
        stale,
    )
    finding = one(judged(*parts), "PY-CLOBBER-NV")
    assert finding.status is Status.FAIL
    assert "libnccl.so.2 is that of nvidia-nccl-cu12 2.21.5" in finding.title
    assert "torch requires nvidia-nccl-cu13 2.28.9 and does not get it" in finding.detail
    text = remedy(finding)
    assert text.index("pip uninstall nvidia-nccl-cu12") < text.index(
        "--force-reinstall --no-deps nvidia-nccl-cu13==2.28.9"
    )
    assert one(judged(*parts, gpu=False), "PY-CLOBBER-NV").status is Status.WARN


def test_wheels_with_one_owner_each_pass() -> None:
    assert statuses(judged(*HEALTHY), "PY-CLOBBER-NV", "PY-CLOBBER-ORT") == {
        "PY-CLOBBER-NV": {"pass"}, "PY-CLOBBER-ORT": {"pass"},
    }  # fmt: skip


def test_every_check_is_complete() -> None:
    for check in CHECKS.values():
        assert len(check.explanation) > 200
        assert check.sources
        assert all(s.startswith("https://") for s in check.sources)
        assert check.log_signatures
    assert dist("x", "1")["files"] == {}
