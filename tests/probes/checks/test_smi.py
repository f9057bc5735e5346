"""SMI: its own fault only where the driver answers otherwise."""

from datetime import date
from typing import Any

import pytest

from infra_doctor.model.component import Component
from infra_doctor.model.evidence import Evidence, EvidenceKind
from infra_doctor.model.finding import Confidence, Finding, Status
from infra_doctor.model.plugins import CheckContext
from infra_doctor_probes.checks.smi import CHECK
from infra_doctor_probes.detect.nvidia_driver import NvidiaKernelModule
from infra_doctor_probes.detect.nvidia_gpu import NvidiaGpusNotGiven, NvmlSession
from infra_doctor_probes.detect.nvidia_smi import NvidiaSmi

WORKS = NvmlSession(driver_version="580.95.05", nvml_version="13.580.95.05", device_count=1)
MODULE = NvidiaKernelModule(version="580.95.05", flavor="open", uvm_loaded=True)


def smi(**more: Any) -> NvidiaSmi:
    usual = {"path": "/usr/bin/nvidia-smi", "real_path": "/usr/bin/nvidia-smi", "form": "elf"}
    return NvidiaSmi(**{**usual, **more})


def judged(*facts: object, wsl: bool = False) -> Finding:
    system = Component(key="os:ubuntu", kind="os", name="Ubuntu", attributes={"wsl": wsl})
    (finding,) = CHECK.run(CheckContext(targets=(), components=(system,), facts=facts, today=date(2026, 11, 21)))
    return finding


def test_without_an_nvidia_smi_there_is_nothing_to_say() -> None:
    assert judged(WORKS).status is Status.SKIP


def test_its_own_version() -> None:
    ok = judged(smi(version="580.95.05", driver_version="580.95.05"), WORKS, MODULE)
    assert (ok.status, ok.subject) == (Status.PASS, ("driver:nvidia",))
    other = judged(smi(version="550.54.15", driver_version="580.95.05"), WORKS, MODULE)
    assert other.status is Status.WARN
    assert "is of version 550.54.15, the loaded driver of 580.95.05" in other.title
    fake = judged(smi(version="580.95.05", driver_version="999.0"), WORKS, MODULE)
    assert fake.status is Status.WARN
    assert "prints driver 999.0" in fake.title


def test_without_a_module_nvml_tells_the_version() -> None:
    assert judged(smi(version="580.95.05"), WORKS).status is Status.PASS
    assert judged(smi(version="580.95.05")).status is Status.UNKNOWN


def test_wsl_counts_otherwise() -> None:
    assert judged(smi(version="545.36", driver_version="546.33"), MODULE, wsl=True).status is Status.SKIP


def test_too_old_to_tell_its_version() -> None:
    assert judged(smi(error="Invalid combination", error_kind="old"), WORKS, MODULE).status is Status.UNKNOWN


@pytest.mark.parametrize(("form", "confidence"), [("script", Confidence.OBSERVED), ("elf", Confidence.DERIVED)])
def test_a_hang_is_its_own_where_nvml_answers(form: str, confidence: Confidence) -> None:
    found = judged(smi(form=form, timed_out=True, error="no answer within 5 s", error_kind="timeout"), WORKS, MODULE)
    assert (found.status, found.confidence) == (Status.FAIL, confidence)
    assert ("It is a script" in found.detail) is (form == "script")


@pytest.mark.parametrize("session", [None, NvmlSession(error="no answer within 10 s", timed_out=True)])
def test_a_hang_with_the_driver_is_not(session: NvmlSession | None) -> None:
    hung = smi(timed_out=True, error="no answer within 10 s", error_kind="timeout")
    assert judged(*filter(None, (hung, session, MODULE))).status is Status.UNKNOWN


def test_nvidia_smi_is_no_witness_against_itself() -> None:
    asked = Evidence(kind=EvidenceKind.COMMAND, source="nvidia-smi -q -x", text="driver 580.95.05, 1 devices")
    session = NvmlSession(driver_version="580.95.05", device_count=1, evidence=(asked,))
    assert judged(smi(timed_out=True, error="no answer within 5 s"), session, MODULE).status is Status.UNKNOWN
    assert judged(smi(error="exit code 1", error_kind="other"), session, MODULE).status is Status.UNKNOWN


def test_a_container_without_a_gpu() -> None:
    aside = NvidiaGpusNotGiven(addresses=("0000:17:00.0",), reason="not given to this docker container")
    assert judged(smi(version="550.54.15"), aside, MODULE).status is Status.SKIP


def test_an_error_that_nvml_gives_as_well_is_the_drivers() -> None:
    session = NvmlSession(error="Driver/library version mismatch", error_code=18)
    found = judged(smi(error="Failed to initialize NVML: …", error_kind="version-mismatch"), session, MODULE)
    assert found.status is Status.SKIP


def test_a_lost_gpu_is_not_nvidia_smis_fault() -> None:
    lost = smi(error="Unable to determine the device handle for GPU0000:0B:00.0: GPU is lost.", error_kind="gpu-lost")
    assert judged(lost, WORKS, MODULE).status is Status.SKIP


def test_an_error_of_its_own() -> None:
    found = judged(smi(form="script", error="exit code 127: not found", error_kind="other"), WORKS, MODULE)
    assert (found.status, found.title) == (
        Status.WARN, "/usr/bin/nvidia-smi fails: exit code 127: not found, while NVML answers",
    )  # fmt: skip
    assert judged(smi(error="exit code 127", error_kind="other"), MODULE).status is Status.UNKNOWN


def test_another_vendors_tool_under_its_name() -> None:
    found = judged(smi(error="it is Iluvatar's ixsmi", error_kind="look-alike"))
    assert found.status is Status.WARN


def test_others_on_path_are_named() -> None:
    found = judged(smi(version="550.54.15", others=("/opt/a/nvidia-smi",)), WORKS, MODULE)
    assert "/opt/a/nvidia-smi" in found.detail
