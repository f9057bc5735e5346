"""The checks of Ascend: what each says, what it advises, and that it stays silent where it has no ground."""

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from infra_doctor.model.component import Component
from infra_doctor.model.evidence import Evidence, EvidenceKind
from infra_doctor.model.finding import Confidence, Finding, Status
from infra_doctor.model.plugins import Check, CheckContext
from infra_doctor.runner.judging import judge_matrix
from infra_doctor_probes.ascend.environment import AscendEnvironment
from infra_doctor_probes.ascend.files import AscendVersionSources
from infra_doctor_probes.ascend.frameworks import AscendFrameworkLibraries, CannPythonPackages
from infra_doctor_probes.ascend.npu import AscendDeviceNodes, AscendNpusNotGiven
from infra_doctor_probes.ascend.session import AscendSession
from infra_doctor_probes.checks import (
    ascend_ctr,
    ascend_health,
    ascend_link,
    ascend_perm,
    ascend_soc,
    cann_conflict,
    cann_drv,
    cann_env,
    cann_pydeps,
    lib_path,
    npu_busy,
    torch_npu,
    triton_ascend,
)
from infra_doctor_probes.detect.system import Container
from infra_doctor_probes.tables import ascend, ascend_frameworks, cann_python
from infra_doctor_probes.tables import ascend_soc as ascend_soc_table
from tests.support.ascend_trees import captures
from tests.support.recipe import SAMPLES

ASCEND = (
    ascend_ctr, ascend_health, ascend_link, ascend_perm, ascend_soc, cann_conflict, cann_drv, cann_env, cann_pydeps, npu_busy,
    torch_npu, triton_ascend,
)  # fmt: skip
ALL = tuple(c for m in (*ASCEND, lib_path) for c in m.CHECKS)
RULES = [r for m in (ascend, ascend_frameworks, ascend_soc_table, cann_python) for r in m.RULES]
TARGET = "target:/opt/venv"
SEEN = (Evidence(kind=EvidenceKind.FILE, source="/seen", text="here"),)
ROOT = "/usr/local/Ascend/cann-8.5.0"
SCRIPT = "/usr/local/Ascend/cann/set_env.sh"


def cann(version: str = "8.5.0", **attributes: Any) -> Component:
    more = {"in_use": True, "set_env": SCRIPT, "given": "/usr/local/Ascend/cann", **attributes}
    path = f"/usr/local/Ascend/cann-{version}"
    return Component(
        key=f"cann:{path}", kind="cann", name="CANN", version=version, location=path, attributes=more, evidence=SEEN
    )


def driver(version: str = "25.5.1", **attributes: Any) -> Component:
    return Component(
        key="driver:ascend", kind="driver", name="ascend", version=version, attributes=attributes, evidence=SEEN
    )


def wheel(name: str, version: str, **attributes: Any) -> Component:
    key = f"wheel:{name}@/opt/venv"
    return Component(
        key=key, kind="wheel", name=name, version=version, target=TARGET, attributes=attributes, evidence=SEEN
    )


def libraries(*missing: tuple[str, str], **more: Any) -> AscendFrameworkLibraries:
    by = "/opt/venv/torch_npu/lib/libtorch_npu.so"
    return AscendFrameworkLibraries(
        wheel="wheel:torch-npu@/opt/venv", target=TARGET, library=by, missing=tuple((s, by, at) for s, at in missing),
        evidence=SEEN, **more,
    )  # fmt: skip


def findings(check: Check, *items: Any) -> list[Finding]:
    components = [i for i in items if isinstance(i, Component)]
    facts = [i for i in items if not isinstance(i, Component)]
    common: dict[str, Any] = {"targets": (), "components": components, "facts": facts, "today": date(2026, 11, 21)}
    rows, failures = judge_matrix(RULES, CheckContext(**common))
    assert failures == []
    found = list(check.run(CheckContext(**common, compatibility=rows)))
    for finding in found:
        assert finding.id == check.id
        assert finding.confidence is not Confidence.OBSERVED or finding.status not in {Status.FAIL, Status.WARN}
        if finding.status in {Status.FAIL, Status.WARN}:
            assert finding.remediation is not None
            assert finding.evidence
        if finding.status in {Status.FAIL, Status.WARN, Status.PASS, Status.UNKNOWN}:
            assert finding.subject or finding.id in {"CANN-ENV", "ASCEND-CTR", "ASCEND-PERM", "ASCEND-LINK"}
    return found


def one(check: Check, *items: Any) -> Finding:
    (found,) = findings(check, *items)
    return found


NPU_WHEEL, TORCH = wheel("torch-npu", "2.9.0"), wheel("torch", "2.9.0+cpu", build="cpu")


@pytest.mark.parametrize("check", ALL, ids=lambda c: c.id)
def test_a_machine_without_ascend_is_skipped(check: Check) -> None:
    assert one(check, wheel("torch", "2.9.0+cu130", build="cuda")).status is Status.SKIP


@pytest.mark.parametrize("check", ALL, ids=lambda c: c.id)
def test_each_check_says_what_it_was_proven_on(check: Check) -> None:
    assert "not on an Ascend machine" in check.explanation or check.id == "LIB-PATH"
    assert check.sources
    assert all(re.compile(signature.pattern) for signature in check.log_signatures)


# -- CANN-ENV -----------------------------------------------------------------------------------------------------


def test_not_sourced() -> None:
    missing = (("libhccl.so", f"{ROOT}/lib64/libhccl.so"), ("libascendcl.so", f"{ROOT}/lib64/libascendcl.so"))
    found = one(cann_env.CHECK, cann(), NPU_WHEEL, libraries(*missing))
    assert found.status is Status.FAIL
    assert f"{ROOT}/lib64 holds libhccl.so, libascendcl.so" in found.detail
    assert found.remediation is not None
    assert [c.argv for c in found.remediation.commands] == [("source", SCRIPT)]


def test_ops_package_missing_does_not_advise_to_source() -> None:
    found = one(cann_env.CHECK, cann("8.5.1"), NPU_WHEEL, libraries(("libhccl.so", "")))
    assert found.status is Status.FAIL
    assert "ops package" in found.title
    assert found.remediation is not None
    assert found.remediation.commands == ()
    assert "of version 8.5.1" in found.remediation.text


def test_hccl_missing_before_8_5_is_no_ops_package() -> None:
    found = one(cann_env.CHECK, cann("8.2.RC1"), NPU_WHEEL, libraries(("libhccl.so", "")))
    assert found.status is Status.FAIL
    assert "ops package" not in found.title


def test_both_causes_are_two_findings() -> None:
    missing = (("libascendcl.so", f"{ROOT}/lib64/libascendcl.so"), ("libhccl.so", ""))
    titles = [f.title for f in findings(cann_env.CHECK, cann(), NPU_WHEEL, libraries(*missing))]
    assert len(titles) == 2
    assert "environment of CANN is not set" in titles[0]
    assert "ops package" in titles[1]


def test_no_cann_at_all() -> None:
    found = one(cann_env.CHECK, NPU_WHEEL, libraries(("libascendcl.so", "")))
    assert "needs CANN, and none was found" in found.title
    assert found.subject == (NPU_WHEEL.key,)


def test_driver_libraries_missing() -> None:
    found = one(cann_env.CHECK, cann(), NPU_WHEEL, libraries(("libascend_hal.so", "")))
    assert "driver's libascend_hal.so" in found.title
    assert found.remediation is not None
    assert "mounted" in found.remediation.text


def test_other_library_nowhere() -> None:
    found = one(cann_env.CHECK, cann(), NPU_WHEEL, libraries(("libge_runner.so", "")))
    assert "does not hold libge_runner.so" in found.title


def test_found_and_unknown() -> None:
    assert one(cann_env.CHECK, cann(), NPU_WHEEL, libraries(roots=(f"cann:{ROOT}",))).status is Status.PASS
    assert one(cann_env.CHECK, cann(), NPU_WHEEL, libraries(unknown="musl")).status is Status.UNKNOWN
    assert one(cann_env.CHECK, cann()).status is Status.SKIP


def test_variable_astray() -> None:
    environment = AscendEnvironment(known=True, astray=(("ASCEND_HOME_PATH", "/gone"),), evidence=SEEN)
    stale, rest = findings(cann_env.CHECK, cann(), environment)
    assert (stale.status, rest.status) == (Status.WARN, Status.SKIP)
    assert "ASCEND_HOME_PATH names /gone" in stale.title


def test_root_without_script() -> None:
    missing = (("libhccl.so", f"{ROOT}/lib64/libhccl.so"),)
    found = one(cann_env.CHECK, cann(set_env=None), NPU_WHEEL, libraries(*missing))
    assert found.remediation is not None
    assert found.remediation.commands == ()
    assert "append" in found.remediation.text


# -- CANN-DRV -----------------------------------------------------------------------------------------------------

FIRMWARE = Component(
    key="firmware:/a", kind="firmware", name="Ascend firmware", version="8.0.1",
    attributes={"accepts_driver": "[26.0,26.0.]"}, evidence=SEEN,
)  # fmt: skip


def test_driver_of_the_published_table() -> None:
    assert one(cann_drv.CHECK, cann("9.1.0"), driver("26.0.rc1")).status is Status.PASS
    found = one(cann_drv.CHECK, cann("9.1.0"), driver("25.0.rc1.1"))
    assert (found.status, found.confidence) == (Status.FAIL, Confidence.DERIVED)
    assert found.title == "CANN 9.1.0 and the Ascend driver 25.0.rc1.1 do not fit"
    assert one(cann_drv.CHECK, cann("99.0"), driver("25.0")).status is Status.UNKNOWN


def test_firmware_has_its_own_finding() -> None:
    items = (cann("9.1.0"), driver("26.0.rc1", accepts_firmware="[7.0.0,7.7.99]"), FIRMWARE)
    assert [f.status for f in findings(cann_drv.CHECK, *items)] == [Status.PASS]  # both of one line: 26.0
    items = (cann("9.1.0"), driver("25.2.0", accepts_firmware="[7.0.0,7.7.99]"), FIRMWARE)
    (bad,) = findings(cann_drv.CHECK, *items)
    assert bad.status is Status.FAIL
    assert "Ascend firmware 8.0.1" in bad.title
    assert bad.remediation is not None
    assert "firmware of one HDK" in bad.remediation.text


def test_no_driver_is_no_fault_of_a_build_machine() -> None:
    found = one(cann_drv.CHECK, cann())
    assert (found.status, found.title) == (Status.SKIP, "no Ascend driver is here to hold CANN against")
    assert one(cann_drv.CHECK, driver()).status is Status.SKIP


# -- TORCH-NPU ----------------------------------------------------------------------------------------------------


def test_belong_together() -> None:
    assert {f.status for f in findings(torch_npu.CHECK, NPU_WHEEL, TORCH, cann())} == {Status.PASS}


def test_another_torch() -> None:
    bad, good = findings(torch_npu.CHECK, NPU_WHEEL, wheel("torch", "2.8.0+cpu", build="cpu"), cann())
    assert (bad.status, good.status) == (Status.FAIL, Status.PASS)
    assert bad.remediation is not None
    assert "pip install torch==2.9.0" in bad.remediation.text
    assert "torch-npu 2.8.0.post2, released for it and CANN 8.5.0" in bad.remediation.text


def test_cuda_build_warns() -> None:
    found = findings(torch_npu.CHECK, NPU_WHEEL, wheel("torch", "2.9.0+cu128", build="cuda"))
    assert [f.status for f in found] == [Status.PASS, Status.WARN]
    assert "stands on a CUDA build" in found[1].title


def test_without_torch() -> None:
    found = one(torch_npu.CHECK, NPU_WHEEL)
    assert (found.status, found.title) == (Status.FAIL, "torch-npu 2.9.0 is installed without torch")


def test_unpublished_pair_is_unknown_and_not_wrong() -> None:
    unknown, good = findings(torch_npu.CHECK, NPU_WHEEL, TORCH, cann("8.3.RC1"))[::-1]
    assert {unknown.status, good.status} == {Status.UNKNOWN, Status.PASS}


NNAL = Component(
    key="nnal:/a",
    kind="nnal",
    name="NNAL (ATB)",
    version="8.5.0",
    attributes={"set_env": "/a/set_env.sh"},
    evidence=SEEN,
)


@pytest.mark.parametrize(
    ("home", "abi", "bad"),
    [
        ("/usr/local/Ascend/nnal/atb/latest/atb/cxx_abi_1", "0", True), ("/x/cxx_abi_0/", "1", True),
        ("/usr/local/Ascend/nnal/atb/latest/atb/cxx_abi_1", "1", False), ("/x/cxx_abi_1", None, False), ("/x", "0", False),
    ],
)  # fmt: skip
def test_abi_of_atb(home: str, abi: str | None, bad: bool) -> None:
    environment = AscendEnvironment(known=True, variables=(("ATB_HOME_PATH", home),), evidence=SEEN)
    found = findings(torch_npu.CHECK, NPU_WHEEL, TORCH, NNAL, environment, libraries(cxx_abi=abi))
    assert [f.title for f in found if "ABI" in f.title] == (
        [f"ATB is picked for C++ ABI {home.rstrip('/')[-1]}, torch was built with {abi}"] if bad else []
    )


def test_vllm_ascend_without_atb() -> None:
    items = (NPU_WHEEL, TORCH, wheel("vllm-ascend", "0.18.0"))
    environment = AscendEnvironment(known=True)
    bare = [f for f in findings(torch_npu.CHECK, *items, environment) if f.status is Status.WARN]
    there = [f for f in findings(torch_npu.CHECK, *items, environment, NNAL) if f.status is Status.WARN]
    assert [f.title.rpartition("and ")[2] for f in (*bare, *there)] == ["none was found", "its environment is not set"]
    assert there[0].remediation is not None
    assert there[0].remediation.commands[0].argv == ("source", "/a/set_env.sh")
    assert not [f for f in findings(torch_npu.CHECK, *items) if f.status is Status.WARN]  # environment not known


# -- CANN-PYDEPS --------------------------------------------------------------------------------------------------


def packages(**versions: str | None) -> CannPythonPackages:
    every = dict.fromkeys(
        ["attrs", "cython", "pyyaml", "pathlib2", "scipy", "requests", "psutil", "absl-py", "sympy", "cffi"], "99.0"
    ) | {"numpy": "1.24.4", "decorator": "5.0", "protobuf": "3.20.3"}  # fmt: skip
    return CannPythonPackages(target=TARGET, consumers=(NPU_WHEEL.key,), packages=tuple((every | versions).items()))


def test_packages() -> None:
    assert one(cann_pydeps.CHECK, cann("8.2.RC1"), packages()).status is Status.PASS
    found = one(cann_pydeps.CHECK, cann("8.2.RC1"), packages(decorator=None, numpy="2.1.0"))
    assert found.status is Status.WARN
    assert "decorator" in found.detail
    assert "2.1.0 is installed" in found.detail


@pytest.mark.parametrize("version", ["9.0.0", "8.5.0", "8.2.RC2"])
def test_packages_of_other_versions_are_unknown(version: str) -> None:
    assert one(cann_pydeps.CHECK, cann(version), packages(decorator=None, numpy="2.1.0")).status is Status.UNKNOWN


# -- CANN-CONFLICT ------------------------------------------------------------------------------------------------


def sources(subject: Component, *pairs: tuple[str, str]) -> AscendVersionSources:
    return AscendVersionSources(subject=subject.key, sources=pairs, chosen=pairs[0][0], evidence=SEEN)


def test_versions_agree() -> None:
    found = one(cann_conflict.CHECK, cann(), sources(cann(), ("8.5.0", "a"), ("8.5", "b")))
    assert found.status is Status.PASS


def test_versions_disagree() -> None:
    found = one(cann_conflict.CHECK, cann(), sources(cann(), ("8.0.T63", "version.cfg"), ("8.2.RC2", "the links")))
    assert found.status is Status.UNKNOWN
    assert "version.cfg says 8.0.T63; the links says 8.2.RC2" in found.detail


def test_driver_of_files_and_running_one() -> None:
    files, running = sources(driver(), ("25.2.0", "version.info")), sources(driver(), ("24.1.rc1", "npu-smi"))
    found = one(cann_conflict.CHECK, driver(), files, running)
    assert found.status is Status.WARN
    same = one(
        cann_conflict.CHECK, driver(), sources(driver(), ("24.1.rc1", "a")), sources(driver(), ("24.1.rc1.b030", "b"))
    )
    assert same.status is Status.PASS


def test_an_installation_that_nobody_uses_does_no_harm() -> None:
    unused, used = cann("9.0.0", in_use=False), cann()
    odd = sources(unused, ("8.0.T63", "a"), ("8.2.RC2", "b"))
    assert one(cann_conflict.CHECK, unused, odd).status is Status.SKIP
    found = one(cann_conflict.CHECK, unused, used, odd, sources(used, ("8.5.0", "a")))
    assert (found.status, found.subject) == (Status.PASS, (used.key,))


def test_a_version_that_stands_nowhere_is_no_pass() -> None:
    nowhere = AscendVersionSources(subject=cann().key, sources=(), chosen=None)
    assert one(cann_conflict.CHECK, cann(), nowhere).status is Status.UNKNOWN


def test_two_roots_on_the_path() -> None:
    first, second = cann("8.5.0"), cann("9.0.0", in_use=False)
    environment = AscendEnvironment(known=True, library_roots=((first.key, "/a"), (second.key, "/b")), evidence=SEEN)
    found = one(cann_conflict.CHECK, first, second, environment, libraries(roots=(first.key, second.key)))
    assert found.status is Status.WARN
    assert found.subject == (first.key, second.key)
    assert "takes libraries from more than one" in found.detail


def test_python_of_another_root() -> None:
    first, second = cann("8.5.0"), cann("9.0.0", in_use=False)
    environment = AscendEnvironment(
        known=True, library_roots=((first.key, "/a"),), python_roots=((second.key, "/b"),), evidence=SEEN
    )
    assert one(cann_conflict.CHECK, first, second, environment).status is Status.WARN


def test_variables_name_two_roots() -> None:
    first, second = cann("8.5.0"), cann("9.0.0", in_use=False, given="/b")
    variables = (
        ("ASCEND_HOME_PATH", "/usr/local/Ascend/cann/"),
        ("ASCEND_TOOLKIT_HOME", "/usr/local/Ascend/cann-9.0.0"),
    )
    found = one(cann_conflict.CHECK, first, second, AscendEnvironment(known=True, variables=variables, evidence=SEEN))
    assert found.title == "ASCEND_HOME_PATH and ASCEND_TOOLKIT_HOME name different installations"
    one_root = AscendEnvironment(known=True, variables=(variables[0],), evidence=SEEN)
    assert one(cann_conflict.CHECK, first, second, one_root, sources(first, ("8.5.0", "a"))).status is Status.PASS


def test_packages_of_two_versions() -> None:
    root = cann()

    def part(name: str, number: str, requires: str | None = None) -> Component:
        attributes: dict[str, Any] = {"internal_version": number, "requires": requires, "cann": root.key}
        return Component(
            key=f"cann-package:{name}", kind="cann-package", name=name, attributes=attributes, evidence=SEEN
        )

    found = one(cann_conflict.CHECK, root, part("compiler", "8.2.0", "runtime 8.2"), part("runtime", "7.8.0"))
    assert found.status is Status.WARN
    assert "compiler requires runtime 8.2; runtime is 7.8.0" in found.detail


# -- ASCEND-CTR ---------------------------------------------------------------------------------------------------

DOCKER = Container(runtime="docker")
MANAGERS = ("/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc")
ASIDE = AscendNpusNotGiven(addresses=("0000:c1:00.0",), reason="x", evidence=SEEN)


def nodes(*missing: str, npus: tuple[str, ...] = ("/dev/davinci0",)) -> AscendDeviceNodes:
    there = tuple(m for m in MANAGERS if m not in missing)
    return AscendDeviceNodes(npus=npus, managers=there, missing=missing, evidence=SEEN)


def session(error: str = "", code: int | None = None) -> AscendSession:
    return AscendSession(tool="DCMI", error=error, error_code=code, evidence=SEEN)


def test_container_in_order() -> None:
    assert one(ascend_ctr.CHECK, DOCKER, nodes(), session()).status is Status.PASS
    # what answers is not faulted for a node that this product may not need
    assert one(ascend_ctr.CHECK, DOCKER, nodes("/dev/hisi_hdc"), session()).status is Status.PASS


def test_container_lacks_a_node() -> None:
    found = one(ascend_ctr.CHECK, DOCKER, nodes("/dev/devmm_svm"), session("no", -8005))
    assert found.status is Status.FAIL
    assert found.remediation is not None
    assert "--device /dev/devmm_svm as well" in found.remediation.text


def test_container_refused_and_unknown() -> None:
    assert one(ascend_ctr.CHECK, DOCKER, nodes(), session("occupied", -8020)).status is Status.WARN
    assert one(ascend_ctr.CHECK, DOCKER, nodes(), session("hangs")).status is Status.UNKNOWN


def test_container_without_npu() -> None:
    assert one(ascend_ctr.CHECK, DOCKER, ASIDE).status is Status.SKIP
    assert one(ascend_ctr.CHECK, DOCKER, ASIDE, NPU_WHEEL).status is Status.WARN
    wish = AscendEnvironment(known=True, variables=(("ASCEND_VISIBLE_DEVICES", "0,1"),))
    found = one(ascend_ctr.CHECK, DOCKER, ASIDE, wish)
    assert "ASCEND_VISIBLE_DEVICES=0,1" in found.detail
    void = AscendEnvironment(known=True, variables=(("ASCEND_VISIBLE_DEVICES", "void"),))
    assert one(ascend_ctr.CHECK, DOCKER, ASIDE, void).status is Status.SKIP


def test_a_host_is_no_container() -> None:
    assert one(ascend_ctr.CHECK, nodes("/dev/devmm_svm"), session("no", -8005)).status is Status.SKIP


# -- logs ---------------------------------------------------------------------------------------------------------

LOGS = {
    "ascend-310b4-unsupported-soc": "ASCEND-SOC", "ascend-561103-cann-driver": "CANN-DRV",
    "ascend-opp-verify-e30006": "CANN-DRV", "atb-cxx-abi-mismatch": "TORCH-NPU",
    "cann-8.5-toolkit-only-no-libhccl": "CANN-ENV", "cann-two-versions-on-ldpath": "CANN-CONFLICT",
    "dcmi-8020-container": "ASCEND-CTR", "dlinfer-torchnpu-post-version": "TORCH-NPU",
    "fastdeploy-libascendcl": "CANN-ENV", "hami-device-health-8010": "ASCEND-HEALTH",
    "mooncake-ascend-transport-ldpath": "LIB-PATH", "ort-cann-missing-decorator": "CANN-PYDEPS",
    "torchinductor-npu-triton-missing": "TRITON-ASCEND", "torchnpu-libatb-missing": "TORCH-NPU",
    "torchnpu-torch-version-mismatch": "TORCH-NPU",
}  # fmt: skip
# Further logs of the same kinds: from where their signature's source points, in short.
MORE_LOGS = {
    "Load dynamic library: libmindspore_ascend.so.2 failed. libcann_kb.so: cannot open shared object file": "CANN-ENV",
    "libascend_hal.so: cannot open shared object file: No such file or directory": "CANN-ENV",
    "ImportError: libhccl.so: cannot open shared object file: No such file or directory. Please check that the cann package is "
    "installed. Please run 'source set_env.sh' in the CANN installation path.[ERROR] ERR00005 PTA not found": "CANN-ENV",
    "ModuleNotFoundError: No module named 'acl'": "CANN-ENV",
    "call aclnnAdd failed, error code is 561107": "CANN-ENV",
    "DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\ndcmi module initialize failed. ret is -8005": "ASCEND-CTR",
    "aclrtGetDeviceCount(&device_count), error code is 207004": "ASCEND-CTR",
    "open device 0 failed, runtime result = 107001.": "ASCEND-CTR",
    "aclrtSetDevice: open device 0 failed, runtime result = 507033": "CANN-DRV",
    "ops_host_cpu/libops_host_cpu.so: undefined symbol: _ZN2ge14GetShapeErrMsgEjRKSsS1_": "CANN-CONFLICT",
    "nnal/atb/latest/atb/cxx_abi_1/lib/libtbe_adapter.so: undefined symbol: _ZN3Mki2DlC1ERKNSt7__cxx11": "TORCH-NPU",
    "libop_plugin_atb.so: undefined symbol: _ZN3atb15CreateOperationINS_5infer14GroupTopkParamEEEiRKT_": "TORCH-NPU",
    "AttributeError: module 'torch_npu' has no attribute '_npu_flash_attention'": "TORCH-NPU",
    "RuntimeError: Can not support soc_version: 104.": "ASCEND-SOC",
    "detail:EZ1001: binary_info_config.json failed, please check if the opp_kernel package is installed": "ASCEND-SOC",
    "EZ9999: [PID: 775] Cannot find bin of op Range, integral key 0/1/|int64/ND/": "ASCEND-SOC",
    "call aclnnFlashAttention failed, error code is 561112": "ASCEND-SOC",
    "NPU function error: HBM MULTI BIT ECC ERROR., error code is 507054": "ASCEND-HEALTH",
    "[2023-08-02 03:36:43] Event id=0x80e01801.": "ASCEND-HEALTH",
    "EI0006: 2024-08-05-18:15:21.270.506 Getting socket times out. Reason: Remote Rank did not send": "ASCEND-LINK",
    "EI0002: [PID: 7277] 2024-11-28 The wait execution of the Notify register times out. Reason: The Notify": "ASCEND-LINK",
    "RuntimeError: EJ0002: [PID: 38079] 2025-07-15-12:45:31.202.787 The network port is down.": "ASCEND-LINK",
    "RuntimeError: NPU out of memory. Tried to allocate 30.00 MiB (NPU 3; 60.96 GiB total capacity": "NPU-BUSY",
    "torch.OutOfMemoryError: NPU out of memory. Tried to allocate 72.00 MiB": "NPU-BUSY",
    "EJ0003: [PID: 159] Failed to bind the IP port. Reason: The IP address and port have been bound already.": "NPU-BUSY",
    "[HcclSocket][Listen] socket type[1], listen on ip[192.0.2.1] and specific port[16666] fail.": "NPU-BUSY",
    "alloc device memory failed, runtime result = 207001[FUNC:ReportCallError][FILE:log_inner.cpp]": "NPU-BUSY",
    "cannot open /dev/davinci_manager: Permission denied": "ASCEND-PERM",
    "rtSetDevice failed, error code is 207006": "ASCEND-PERM",
    "ModuleNotFoundError: No module named 'triton.backends.ascend'": "TRITON-ASCEND",
    "mooncake_master: error while loading shared libraries: libetcd_wrapper.so: cannot open shared object file": "LIB-PATH",
}
# Lines of healthy runs, and of failures that are not of this vendor.
QUIET = (
    "[W compiler_depend.ts:51] Warning: CAUTION: The operator 'aten::isin' is not currently supported on the NPU backend and"
    " will fall back to run on the CPU. (function npu_cpu_fallback)",
    "UserWarning: HCCL doesn't support gather at the moment. Implemented with allgather instead.",
    "INFO 06-03 [platform.py:28] Platform plugin ascend is activated",
    "| 0     910B3               | OK            | 101.8       43                0    / 0             |",
    "loaded library: /usr/local/Ascend/cann/lib64/libascendcl.so",
    "CUDA out of memory. Tried to allocate 20.00 MiB",
    "step 561103 loss 0.507033 lr 1e-5",
    "torch.cuda.is_available() returned False",
    "net health status: Success",
    "	Health Status                  : OK",
)
CASES = SAMPLES.parent / "cases"


@pytest.mark.parametrize(("case", "wanted"), LOGS.items())
def test_signatures_know_their_logs(case: str, wanted: str) -> None:
    path = CASES / f"{case}.md"
    if not path.is_file():
        pytest.skip("public cases not here")
    text = path.read_text(encoding="utf-8")
    log = "\n".join(re.findall(r"^````text\n(.*?)^````", text, re.DOTALL | re.MULTILINE))
    front = dict(re.findall(r'^(\w+): "(.*)"$', text, re.MULTILINE))
    assert front["symptom"]
    assert best(log) == wanted


def best(log: str) -> str | None:
    """The finding with the strongest signature in a log; None where none matches. Two of one strength are told apart by how
    many of their signatures match."""
    found: dict[str, tuple[int, int]] = {}
    for check in ALL:
        hits = [s.strength for s in check.log_signatures if re.search(s.pattern, log, re.MULTILINE)]
        if hits:
            found[check.id] = (max(hits), len(hits))
    return max(found, key=lambda i: found[i]) if found else None


@pytest.mark.parametrize(("log", "wanted"), MORE_LOGS.items())
def test_logs_of_the_same_kinds(log: str, wanted: str) -> None:
    assert best(log) == wanted


@pytest.mark.parametrize("log", QUIET)
def test_healthy_logs_name_nothing(log: str) -> None:
    assert best(log) is None


def test_error_captures_are_known() -> None:
    paths = captures("npu-smi-info__err_*")
    if not paths:
        pytest.skip("public captures not here")
    for path in paths:
        assert best(path.read_text(encoding="utf-8")) == "ASCEND-CTR"


def test_every_ascend_machine_says_what_it_is() -> None:
    folders = sorted((Path(__file__).parents[2] / "machines").glob("ascend-*/expect.toml"))
    assert len(folders) >= 11
    for path in folders:
        expect = tomllib.loads(path.read_text(encoding="utf-8"))
        assert expect["about"]
        assert expect.get("must") or expect.get("must_not") or expect.get("pairs")
