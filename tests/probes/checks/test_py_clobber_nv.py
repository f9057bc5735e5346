"""A contested library whose bytes nobody read is a risk, not a pass."""

import datetime

from infra_doctor.model.finding import Finding, Status
from infra_doctor.model.plugins import CheckContext
from infra_doctor_probes.checks.py_clobber_nv import CHECK
from infra_doctor_probes.detect.onnxruntime import ProviderLoad
from infra_doctor_probes.detect.wheel_files import WheelContest, WheelFilesGone
from infra_doctor_probes.loading.process import Missing

WHEELS = ("wheel:nvidia-nccl-cu12@/opt/venv", "wheel:nvidia-nccl-cu13@/opt/venv")
PATH = "/opt/venv/lib/python3.12/site-packages/nvidia/nccl/lib/libnccl.so.2"


def finding(*facts: WheelContest | WheelFilesGone | ProviderLoad) -> Finding:
    context = CheckContext(targets=(), components=(), facts=facts, today=datetime.date(2026, 11, 21))
    (found,) = CHECK.run(context)
    return found


def test_a_library_that_was_too_large_to_hash_is_not_in_order() -> None:
    found = finding(WheelContest(target="target:/opt/venv", wheels=WHEELS, files=1, won=(), not_read=1, unread=(PATH,)))
    assert found.status is Status.WARN
    assert "is that of one of them (not read)" in found.title
    assert "requires" not in found.detail


def test_bytes_of_neither_are_said() -> None:
    found = finding(
        WheelContest(target="target:/opt/venv", wheels=WHEELS, files=1, won=(), changed=1, libraries=((PATH, ()),))
    )
    assert "is that of neither" in found.title


def test_files_that_another_consumer_misses_are_not_called_dispensable() -> None:
    gone = WheelFilesGone(
        target="target:/opt/venv", wheel="wheel:nvidia-cudnn-cu12@/opt/venv", gone=("/x/cudnn/lib/libcudnn.so.9",), listed=8,
        required_by="wheel:torch@/opt/venv",
    )  # fmt: skip
    assert "does without" in finding(gone).detail
    load = ProviderLoad(
        target="target:/opt/venv", provider="ort-provider:CUDAExecutionProvider@/opt/venv", name="CUDAExecutionProvider",
        wheel="wheel:onnxruntime-gpu@/opt/venv", order="onnxruntime", opens=True,
        missing=(Missing(soname="libcudnn.so.9", needed_by="/x/libonnxruntime_providers_cuda.so"),),
    )  # fmt: skip
    missed = finding(gone, load)
    assert missed.status is Status.WARN
    assert "onnxruntime-gpu cannot do without" in missed.detail and "does without" not in missed.detail
