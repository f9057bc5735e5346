"""The checks that rest on driver, GPUs, toolkits and the matrix alone: what raises a finding, and what must not."""

import re
from datetime import date
from typing import Any

import pytest

from infra_doctor.model.compatibility import Compatibility, Verdict
from infra_doctor.model.component import Component, Target
from infra_doctor.model.evidence import Evidence, EvidenceKind
from infra_doctor.model.finding import Confidence, Finding, Severity, Status
from infra_doctor.model.plugins import Check, CheckContext
from infra_doctor_probes.checks import (
    arch,
    distro_cuda,
    drv_old,
    glibc,
    nvcc_mismatch,
    nvml_mismatch,
    pynvml,
    torch_cpu,
)
from infra_doctor_probes.detect.cuda_toolkit import CudaEnvironment
from infra_doctor_probes.detect.nvidia_driver import NvidiaKernelModule
from infra_doctor_probes.detect.nvidia_gpu import NvmlSession
from infra_doctor_probes.detect.nvml_bindings import DeprecatedPynvml, requires_pynvml
from infra_doctor_probes.detect.symbol_versions import SymbolVersions, Unmet

MODULES = (arch, distro_cuda, drv_old, glibc, nvcc_mismatch, nvml_mismatch, pynvml, torch_cpu)
CHECKS: dict[str, Check] = {c.id: c for m in MODULES for c in m.CHECKS}
SEEN = (Evidence(kind=EvidenceKind.FILE, source="/somewhere", text="seen"),)
VENV = "target:/opt/venv"
TARGET = Target(key=VENV, prefix="/opt/venv", executable="/opt/venv/bin/python", kind="venv", evidence=SEEN)


def component(key: str, name: str, version: str | None = None, **more: Any) -> Component:
    attributes = more.pop("attributes", {})
    return Component(
        key=key, kind=key.partition(":")[0], name=name, version=version, attributes=attributes, evidence=SEEN, **more
    )


def wheel(name: str, version: str, prefix: str = "/opt/venv", **attributes: Any) -> Component:
    key = f"wheel:{name}@{prefix}"
    return component(key, name, version, target=f"target:{prefix}", attributes=attributes)


def driver(version: str = "550.90.07", **attributes: Any) -> Component:
    return component("driver:nvidia", "nvidia", version, attributes=attributes)


def gpu(index: int = 0, name: str = "NVIDIA H100 80GB HBM3", capability: str = "9.0") -> Component:
    attributes = {"vendor": "nvidia", "compute_capability": capability}
    return component(f"gpu:0000:00:{6 + index:02x}.0", name, attributes=attributes)


def row(
    rule: str, left: Component, right: Component, verdict: str, detail: str = "", *, certain: bool = True
) -> Compatibility:
    return Compatibility(
        left=left.key, right=right.key, verdict=Verdict(verdict), rule=rule, source="https://example.org/table", detail=detail,
        certain=certain,
    )  # fmt: skip


def results(check_id: str, *things: Any, targets: tuple[Target, ...] = (TARGET,)) -> list[Finding]:
    """The findings of one check over components, facts and matrix rows."""
    check = CHECKS[check_id]
    context = CheckContext(
        targets=targets,
        components=[t for t in things if isinstance(t, Component)],
        facts=[t for t in things if not isinstance(t, Component | Compatibility)],
        compatibility=[t for t in things if isinstance(t, Compatibility)],
        today=date(2026, 11, 21),
    )
    found = list(check.run(context))
    assert found, "a check always says something"
    for finding in found:
        assert finding.id == check_id
        if finding.status is not Status.SKIP:
            assert finding.evidence
            assert finding.subject
        if finding.status in {Status.WARN, Status.FAIL}:
            assert finding.remediation
            assert "LD_LIBRARY_PATH" not in finding.remediation.text
    return found


def result(check_id: str, *things: Any, **more: Any) -> Finding:
    (found,) = results(check_id, *things, **more)
    return found


# -- what every check carries -------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_everything_about_a_check_stands_beside_it(check: Check) -> None:
    assert check.title
    assert len(check.explanation) > 100
    assert check.remediation
    assert check.sources
    assert all(s.startswith("https://") for s in check.sources)
    for signature in check.log_signatures:
        re.compile(signature.pattern)


@pytest.mark.parametrize(
    ("line", "check_id"),
    [
        ("RuntimeError: CUDA error: CUDA driver version is insufficient for CUDA runtime version", "DRV-OLD"),
        ("The NVIDIA driver on your system is too old (found version 12080).", "DRV-OLD"),
        ("RuntimeError: CUDA error: no kernel image is available for execution on the device", "ARCH"),
        (
            "NVIDIA GeForce RTX 5090 with CUDA capability sm_120 is not compatible with the current PyTorch installation.",
            "ARCH",
        ),
        ("Failed to initialize NVML: Driver/library version mismatch", "NVML-MISMATCH"),
        ("NVRM: API mismatch: the client has the version 580.95.05, but", "NVML-MISMATCH"),
        ("ImportError: /lib64/libc.so.6: version `GLIBC_2.28' not found (required by x.so)", "GLIBC"),
        ("AssertionError: Torch not compiled with CUDA enabled", "TORCH-CPU"),
        (
            "The detected CUDA version (11.8) mismatches the version that was used to compile PyTorch (12.4).",
            "NVCC-MISMATCH",
        ),
        (
            "DeepSpeed Op Builder: Installed CUDA version 12.0 does not match the version torch was compiled with 11.8",
            "NVCC-MISMATCH",
        ),
        ("FutureWarning: The pynvml package is deprecated. Please install nvidia-ml-py instead.", "PYNVML"),
        ("nvcc fatal   : Unsupported gpu architecture 'compute_90'", "DISTRO-CUDA"),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", None),
        ("Failed to initialize NVML: Unknown Error", None),
    ],
)
def test_log_lines_lead_to_one_check(line: str, check_id: str | None) -> None:
    matching = [c.id for c in CHECKS.values() if any(re.search(s.pattern, line) for s in c.log_signatures)]
    assert matching == ([check_id] if check_id else [])


@pytest.mark.parametrize("check_id", CHECKS)
def test_a_machine_without_accelerator_has_no_finding(check_id: str) -> None:
    found = results(check_id, component("libc:glibc", "glibc", "2.39"), wheel("torch", "2.9.0+cpu", build="cpu"))
    assert {f.status for f in found} <= {Status.SKIP, Status.PASS}


# -- DRV-OLD, ARCH, GLIBC: out of the matrix ----------------------------------------------------------------------

TORCH = wheel("torch", "2.11.0", build="cuda", cuda="13.0", tag="cu130")


def test_driver_too_old_for_a_family() -> None:
    finding = result(
        "DRV-OLD",
        driver(),
        TORCH,
        row("cuda-driver-family", TORCH, driver(), "incompatible", "CUDA 13.x needs 580.65.06."),
    )
    assert (finding.status, finding.severity, finding.confidence) == (Status.FAIL, Severity.HIGH, Confidence.DERIVED)
    assert finding.title == "the NVIDIA driver 550.90.07 is too old for torch 2.11.0"
    assert set(finding.subject) == {"driver:nvidia", TORCH.key}
    assert any(e.kind is EvidenceKind.TABLE and e.source == "https://example.org/table" for e in finding.evidence)


def test_minor_version_compatibility_passes() -> None:
    torch = wheel("torch", "2.7.0+cu126", build="cuda", cuda="12.6")
    finding = result("DRV-OLD", driver(), torch, row("cuda-driver-family", torch, driver(), "compatible"))
    assert finding.status is Status.PASS
    assert finding.title == "the NVIDIA driver 550.90.07 serves torch 2.7.0+cu126"


def test_an_uncertain_row_gives_a_hint_only() -> None:
    finding = result(
        "DRV-OLD", driver(), TORCH, row("cuda-driver-family", TORCH, driver(), "incompatible", certain=False)
    )
    assert (finding.status, finding.confidence, finding.severity) == (Status.WARN, Confidence.HEURISTIC, Severity.LOW)


def test_an_unknown_family_is_unknown() -> None:
    future = wheel("torch", "3.0.0+cu140", build="cuda", cuda="14.0")
    finding = result(
        "DRV-OLD", driver(), future, row("cuda-driver-family", future, driver(), "unknown", "no row for CUDA 14.")
    )
    assert (finding.status, finding.detail) == (Status.UNKNOWN, "no row for CUDA 14.")


def test_one_finding_per_target_and_no_pass_beside_it() -> None:
    other, fine = wheel("torch", "2.11.0", "/opt/other", build="cuda"), wheel("cupy-cuda12x", "13.6.0")
    found = results(
        "DRV-OLD", driver(), TORCH, other, fine,
        row("cuda-driver-family", TORCH, driver(), "incompatible"), row("cuda-driver-family", other, driver(), "incompatible"),
        row("cuda-driver-family", fine, driver(), "compatible"),
    )  # fmt: skip
    assert [f.status for f in found] == [Status.FAIL, Status.FAIL]
    assert {f.subject for f in found} == {(TORCH.key, "driver:nvidia"), (other.key, "driver:nvidia")}


def test_a_title_names_a_few_of_many() -> None:
    many = [wheel(f"package{n}", "1.0", cuda="13.0") for n in range(9)]
    finding = result(
        "DRV-OLD", driver(), *many, *[row("cuda-driver-family", w, driver(), "incompatible") for w in many]
    )
    assert finding.title.endswith("package0 1.0, package1 1.0, package2 1.0, package3 1.0 and 5 more")
    assert len(finding.subject) == 10


def test_eight_equal_gpus_are_one_finding() -> None:
    gpus = [gpu(i, "NVIDIA GeForce RTX 5090", "12.0") for i in range(8)]
    old = wheel("torch", "2.6.0+cu124", build="cuda", cuda="12.4")
    finding = result(
        "ARCH",
        *gpus,
        old,
        *[row("gpu-wheel-arch", g, old, "incompatible", "torch 2.6 cu124 holds sm_50 to sm_90.") for g in gpus],
    )
    assert finding.status is Status.FAIL
    assert len(finding.subject) == 9
    assert finding.title == "torch 2.6.0+cu124 holds no code for NVIDIA GeForce RTX 5090"
    assert finding.remediation is not None
    assert "cu128" in finding.remediation.text


def test_driver_branch_and_wheel_are_two_findings() -> None:
    blackwell = gpu(0, "NVIDIA B200", "10.0")
    found = results(
        "ARCH", blackwell, driver(), TORCH, row("gpu-driver-branch", blackwell, driver(), "incompatible"),
        row("gpu-wheel-arch", blackwell, TORCH, "compatible"),
    )  # fmt: skip
    assert [(f.status, f.title) for f in found] == [
        (Status.FAIL, "NVIDIA B200 is not supported by the driver nvidia 550.90.07")
    ]
    assert found[0].remediation is not None
    assert "driver branch" in found[0].remediation.text


def test_one_gpu_of_two_models_fails_alone() -> None:
    old, new = gpu(0, "Tesla P100-PCIE-16GB", "6.0"), gpu(1)
    finding = result(
        "ARCH",
        old,
        new,
        TORCH,
        row("gpu-wheel-arch", old, TORCH, "incompatible"),
        row("gpu-wheel-arch", new, TORCH, "compatible"),
    )
    assert finding.subject == (old.key, TORCH.key)


def test_glibc_floor() -> None:
    libc = component("libc:glibc", "glibc", "2.27")
    bad = result("GLIBC", libc, TORCH, row("glibc-floor", TORCH, libc, "incompatible", "manylinux_2_28"))
    assert (bad.status, bad.title) == (Status.FAIL, "glibc 2.27 is too old for torch 2.11.0")
    assert result("GLIBC", libc, TORCH, row("glibc-floor", TORCH, libc, "compatible")).status is Status.PASS
    assert result("GLIBC", libc).status is Status.SKIP


def test_unmet_symbol_versions_are_observed() -> None:
    needs = Unmet(object=f"{VENV}/torch/lib/libtorch_cpu.so", library="libc.so.6", version="GLIBC_2.28")
    bad = result("GLIBC", SymbolVersions(target=VENV, entries=("x",), unmet=(needs,), evidence=SEEN))
    assert (bad.status, bad.confidence) == (Status.FAIL, Confidence.OBSERVED)
    assert bad.title == "GLIBC_2.28 not found: needed by libtorch_cpu.so"
    assert result("GLIBC", SymbolVersions(target=VENV, entries=("x",), unmet=(), evidence=SEEN)).status is Status.PASS


# -- NVML-MISMATCH ------------------------------------------------------------------------------------------------


def module(version: str = "580.159.04") -> NvidiaKernelModule:
    return NvidiaKernelModule(version=version, flavor="open", uvm_loaded=True, evidence=SEEN)


def session(error: str = "", code: int | None = None) -> NvmlSession:
    return NvmlSession(error=error, error_code=code, driver_version=None if error else "580.159.04", evidence=SEEN)


def library(kind: str, version: str | None, *, origin: str = "driver", first: bool = True) -> Component:
    path = f"/usr/lib/{kind}.so.{version}"
    return component(
        f"{kind}:{path}",
        kind,
        version,
        location=path,
        origin=origin,
        attributes={"first": first, "on_loader_path": True},
    )


ML, CUDA = "libnvidia-ml", "libcuda"


@pytest.mark.parametrize(
    ("things", "status"),
    [
        ([library(ML, "580.159.04"), library(CUDA, "580.159.04"), session()], Status.PASS),
        ([library(ML, "580.159.04"), library(CUDA, "580.159.04")], Status.PASS),
        (
            [library(ML, "580.200.01"), library(CUDA, "580.200.01"), session("Driver/library version mismatch", 18)],
            Status.FAIL,
        ),
        ([library(ML, "580.200.01")], Status.FAIL),
        ([session("RM has detected an NVML/RM version mismatch.", 18)], Status.FAIL),
        # an older libcuda that a container image brought: CUDA error 803 though NVML answers
        ([library(ML, "580.159.04"), library(CUDA, "535.54.03"), session()], Status.FAIL),
        # cuda-compat, by its folder or by being newer alone
        ([library(ML, "580.159.04"), library(CUDA, "595.80", origin="cuda-compat"), session()], Status.PASS),
        ([library(ML, "580.159.04"), library(CUDA, "595.80"), session()], Status.PASS),
        ([library(ML, "580.159.04"), library(CUDA, "535.54.03", origin="cuda-compat"), session()], Status.PASS),
        # another copy lies on the disk and nobody takes it
        ([library(ML, "580.159.04"), library(ML, "535.54.03", first=False), session()], Status.PASS),
        # NVML answered, so the copy of the other version is not the one that it took
        ([library(ML, "535.54.03"), session()], Status.UNKNOWN),
        ([library(ML, None), session()], Status.PASS),
        ([library(ML, None), session("Unknown Error", 999)], Status.UNKNOWN),
        ([library(ML, "580.159.04", first=False), session("no answer within 10 s")], Status.UNKNOWN),
        ([library(ML, "580.159.04"), session("no answer within 10 s")], Status.PASS),
        ([], Status.SKIP),
    ],
)
def test_nvml_mismatch(things: list[Any], status: Status) -> None:
    finding = result("NVML-MISMATCH", module(), driver("580.159.04"), *things)
    assert finding.status is status, finding.title


def test_nvml_mismatch_says_which_library() -> None:
    finding = result("NVML-MISMATCH", module(), library(ML, "580.200.01"), library(CUDA, "580.159.04"))
    assert finding.subject == ("driver:nvidia", "libnvidia-ml:/usr/lib/libnvidia-ml.so.580.200.01")
    assert "580.159.04" in finding.title
    assert "libnvidia-ml 580.200.01" in finding.title
    assert finding.remediation is not None
    assert not finding.remediation.commands, "a reboot is nobody's runnable command"


def test_no_module_is_no_mismatch() -> None:
    assert result("NVML-MISMATCH", library(ML, "546.33")).status is Status.SKIP, "WSL has no module"


# -- TORCH-CPU ----------------------------------------------------------------------------------------------------

CPU_TORCH = wheel("torch", "2.9.0+cpu", build="cpu")


@pytest.mark.parametrize(
    ("version", "capability", "advice"),
    [
        ("580.95.05", "9.0", "in these builds: cu126, cu128, cu130."),
        ("550.90.07", "9.0", "in these builds: cu126, cu128."),
        ("580.95.05", "12.0", "in these builds: cu128, cu130."),
        ("570.124.06", "12.0", "in these builds: cu128."),
        ("580.95.05", "7.0", "in these builds: cu126, cu128."),
        ("580.95.05", "6.1", "in these builds: cu126."),
        ("470.256.02", "8.0", "Update the driver first"),
    ],
)
def test_cpu_torch_on_a_gpu_machine(version: str, capability: str, advice: str) -> None:
    finding = result("TORCH-CPU", CPU_TORCH, driver(version), gpu(capability=capability))
    assert (finding.status, finding.severity) == (Status.WARN, Severity.MEDIUM)
    assert finding.remediation is not None
    assert advice in finding.remediation.text
    assert not finding.remediation.commands


@pytest.mark.parametrize("plug_in", ["torch-npu", "torch-mlu", "torch-xla"])
def test_a_back_end_wants_the_cpu_build(plug_in: str) -> None:
    assert result("TORCH-CPU", CPU_TORCH, wheel(plug_in, "2.9.0"), driver(), gpu()).status is Status.SKIP


@pytest.mark.parametrize(
    "things",
    [
        [gpu()],
        [driver()],
        [],
        [driver(), component("gpu:0000:03:00.0", "AMD Instinct MI210", attributes={"vendor": "amd"})],
    ],
)
def test_cpu_torch_where_cuda_could_not_be_used(things: list[Component]) -> None:
    assert result("TORCH-CPU", CPU_TORCH, *things).status is Status.SKIP


def test_cpu_torch_beside_an_environment_with_a_cuda_build() -> None:
    other = wheel("torch", "2.9.0+cu128", "/opt/gpu", build="cuda")
    found = {f.subject[0]: f for f in results("TORCH-CPU", CPU_TORCH, other, driver(), gpu())}
    assert found[other.key].status is Status.PASS
    assert (found[CPU_TORCH.key].status, found[CPU_TORCH.key].severity) == (Status.WARN, Severity.LOW)


def test_other_builds_pass_and_unknown_ones_are_unknown() -> None:
    assert result("TORCH-CPU", wheel("torch", "2.9.0+rocm6.4", build="rocm"), driver(), gpu()).status is Status.PASS
    assert result("TORCH-CPU", wheel("torch", "2.9.0"), driver(), gpu()).status is Status.UNKNOWN


# -- PYNVML -------------------------------------------------------------------------------------------------------


def deprecated(**fields: Any) -> DeprecatedPynvml:
    base = {
        "target": VENV,
        "version": "11.5.3",
        "hides_nvidia_ml_py": True,
        "nvidia_ml_py": "13.580.82",
        "required_by": (),
    }
    return DeprecatedPynvml(**{**base, "evidence": SEEN, **fields})


def test_old_bindings_that_hide_new_ones() -> None:
    finding = result("PYNVML", deprecated())
    assert (finding.status, finding.severity) == (Status.WARN, Severity.MEDIUM)
    assert "hides nvidia-ml-py 13.580.82" in finding.title
    assert finding.remediation is not None
    assert "reinstall" in finding.remediation.text, "no removal without the reinstall"


def test_the_wrapper_is_a_low_warning() -> None:
    finding = result("PYNVML", deprecated(version="13.0.1", hides_nvidia_ml_py=False))
    assert (finding.status, finding.severity) == (Status.WARN, Severity.LOW)


def test_what_something_requires_is_not_to_be_removed() -> None:
    finding = result("PYNVML", deprecated(required_by=("python-pycg",)))
    assert finding.remediation is not None
    assert "do not remove" in finding.remediation.text
    assert "python-pycg" in finding.detail


def test_each_target_gets_its_word() -> None:
    other = Target(key="target:/opt/b", prefix="/opt/b", executable="/opt/b/bin/python", kind="venv", evidence=SEEN)
    found = results("PYNVML", deprecated(), targets=(TARGET, other))
    assert {(f.subject, f.status) for f in found} == {((VENV,), Status.WARN), (("target:/opt/b",), Status.PASS)}


@pytest.mark.parametrize(
    ("line", "requires"),
    [
        ("pynvml", True),
        ("pynvml>=11.0", True),
        ("PyNVML (>=11)", True),
        ('pynvml ; python_version < "3.12"', True),
        ('pynvml>=11 ; extra == "gpu"', False),
        ("pynvml-utils", False),
        ("nvidia-ml-py", False),
        ("", False),
    ],
)
def test_who_requires_pynvml(line: str, requires: bool) -> None:
    assert requires_pynvml(line) is requires


# -- NVCC-MISMATCH, DISTRO-CUDA -----------------------------------------------------------------------------------


def toolkit(
    path: str, version: str | None, *, origin: str = "toolkit", nvcc: bool = True, on_path: bool = False
) -> Component:
    attributes = {"nvcc_path": f"{path}/bin/nvcc" if nvcc else None, "on_path": on_path}
    return component(
        f"cuda-toolkit:{path}", "cuda-toolkit", version, location=path, origin=origin, attributes=attributes
    )


def environment(default: Component | None, *, arch_list: str | None = None) -> CudaEnvironment:
    key = default.key if default else None
    return CudaEnvironment(
        cuda_home=None, cuda_path=None, nvcc="/usr/bin/nvcc", nvcc_toolkit=key, default_toolkit=key, arch_list=arch_list,
        evidence=SEEN,
    )  # fmt: skip


CUDA_11, CUDA_13 = toolkit("/usr/local/cuda-11.8", "11.8"), toolkit("/usr/local/cuda-13.0", "13.0.2")
DEEPSPEED = wheel("deepspeed", "0.18.0")


@pytest.mark.parametrize(
    ("things", "status"),
    [
        ([TORCH, CUDA_13, environment(CUDA_13)], Status.PASS),
        (
            [TORCH, toolkit("/usr/local/cuda", "13.2"), DEEPSPEED, environment(toolkit("/usr/local/cuda", "13.2"))],
            Status.PASS,
        ),
        ([TORCH, CUDA_11, environment(CUDA_11)], Status.SKIP),  # nobody compiles: no fault of a wheel user
        ([TORCH, CUDA_11, DEEPSPEED, environment(CUDA_11)], Status.WARN),
        ([TORCH, CUDA_11, environment(CUDA_11, arch_list="9.0")], Status.WARN),
        ([TORCH, CUDA_11, wheel("deepspeed", "0.18.0", "/opt/other"), environment(CUDA_11)], Status.SKIP),
        ([TORCH, CUDA_11, CUDA_13, DEEPSPEED, environment(CUDA_13)], Status.PASS),
        ([TORCH, toolkit("/opt/cuda", None), DEEPSPEED, environment(toolkit("/opt/cuda", None))], Status.UNKNOWN),
        (
            [TORCH, toolkit("/opt/cuda", "11.8", nvcc=False), environment(toolkit("/opt/cuda", "11.8", nvcc=False))],
            Status.SKIP,
        ),
        ([CPU_TORCH, CUDA_11, DEEPSPEED, environment(CUDA_11)], Status.SKIP),
        ([TORCH, environment(None)], Status.SKIP),
        ([TORCH], Status.SKIP),
    ],
)
def test_nvcc_mismatch(things: list[Any], status: Status) -> None:
    assert result("NVCC-MISMATCH", *things).status is status


PACKAGE = toolkit("/usr/lib/nvidia-cuda-toolkit", "11.5", origin="dpkg nvidia-cuda-toolkit", on_path=True)


def test_the_package_in_front_of_a_newer_toolkit() -> None:
    finding = result("DISTRO-CUDA", PACKAGE, CUDA_13)
    assert finding.status is Status.WARN
    assert set(finding.subject) == {PACKAGE.key, CUDA_13.key}
    assert finding.remediation is not None
    assert "CUDA_HOME=/usr/local/cuda-13.0" in finding.remediation.text


def test_the_package_that_cannot_compile_for_the_gpu() -> None:
    too_old = row("gpu-toolkit", gpu(), PACKAGE, "incompatible", "compute capability 9.0 needs CUDA 11.8 or newer")
    finding = result("DISTRO-CUDA", PACKAGE, gpu(), too_old, environment(PACKAGE, arch_list="9.0"))
    assert finding.status is Status.WARN
    for nobody_compiles in ((), (environment(PACKAGE),)):
        assert result("DISTRO-CUDA", PACKAGE, gpu(), too_old, *nobody_compiles).status is Status.SKIP
    assert result("DISTRO-CUDA", PACKAGE, gpu(), too_old, environment(PACKAGE), DEEPSPEED).status is Status.WARN
    assert "needs CUDA 11.8" in finding.detail


@pytest.mark.parametrize(
    ("things", "status"),
    [
        ([PACKAGE], Status.PASS),
        ([PACKAGE, TORCH, gpu()], Status.PASS),  # wheels bring their own runtime
        ([PACKAGE, toolkit("/usr/local/cuda-11.5", "11.5.1")], Status.PASS),
        ([PACKAGE, toolkit("/usr/local/cuda-10.2", "10.2.89")], Status.PASS),
        ([PACKAGE, toolkit("/usr/local/cuda-13.0", "13.0", nvcc=False)], Status.PASS),  # nothing else could compile
        ([toolkit("/usr/lib/nvidia-cuda-toolkit", "11.5", origin="dpkg nvidia-cuda-toolkit"), CUDA_13], Status.PASS),
        ([PACKAGE, CUDA_13, environment(CUDA_13)], Status.PASS),  # CUDA_HOME names the newer one
        ([PACKAGE, CUDA_13, environment(PACKAGE)], Status.WARN),
        ([CUDA_13], Status.SKIP),
        ([PACKAGE, gpu(), row("gpu-toolkit", gpu(), PACKAGE, "incompatible", certain=False)], Status.PASS),
    ],
)
def test_distro_cuda(things: list[Any], status: Status) -> None:
    assert result("DISTRO-CUDA", *things).status is status
