"""Talk about a failure is no failure; a report of one is, however it is worded."""

import pytest

from infra_doctor.triage.guards import says_nothing

FAULTS = (
    "CUDA error: no kernel image is available",
    "Xid",
    "uncorrectable ECC errors",
    "Failed to initialize NVML: Unknown Error",
)


def denied(text: str) -> bool:
    fault = next(f for f in FAULTS if f in text)
    start = text.index(fault)
    return says_nothing(text, start, start + len(fault))


@pytest.mark.parametrize(
    "text",
    [
        "no Xid in the kernel log",
        "0 uncorrectable ECC errors",
        "there were no new uncorrectable ECC errors",
        "uncorrectable ECC errors: 0",
        "uncorrectable ECC errors = 0, remapped rows: 0",
        "Xid errors: none",
        "Xid monitoring enabled",
        "Xid handling: enabled",
        "tests/test_x.py::test_says[Failed to initialize NVML: Unknown Error] PASSED  [ 10%]",
        "test_xid (suite.Test) Xid ... ok",
        '    raise RuntimeError("Failed to initialize NVML: Unknown Error")',
        'src/a.cpp:12:  throw std::runtime_error("Failed to initialize NVML: Unknown Error");',
        '+    assert "Failed to initialize NVML: Unknown Error" in text',
        '  const char* text = "Failed to initialize NVML: Unknown Error";',
        "# Failed to initialize NVML: Unknown Error",
        "  // Failed to initialize NVML: Unknown Error",
        "docs/a.md:4:# Failed to initialize NVML: Unknown Error",
        "$ dmesg | grep -i 'Xid'",
        "+ echo Failed to initialize NVML: Unknown Error",
        "If you see Failed to initialize NVML: Unknown Error, restart the container.",
        "A small /dev/shm can cause CUDA error: no kernel image is available",
        "to avoid CUDA error: no kernel image is available set the list of architectures",
        "Options such as Xid 13 are ignored",
        "Fix Failed to initialize NVML: Unknown Error on boot (#12)",
        "The message `Failed to initialize NVML: Unknown Error` is explained below.",
        'Looking for "Failed to initialize NVML: Unknown Error": not found',
    ],
)
def test_talk(text: str) -> None:
    assert denied(text)


@pytest.mark.parametrize(
    "text",
    [
        "RuntimeError: CUDA error: no kernel image is available for execution on the device",
        "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.",
        "Xid: 79",
        "12 uncorrectable ECC errors",
        "uncorrectable ECC errors: 4",
        "uncorrectable ECC errors: 10",
        'time="2026-11-20" level=error msg="Failed to initialize NVML: Unknown Error"',
        'error="Failed to initialize NVML: Unknown Error"',
        'Err value: Error { message: "Failed to initialize NVML: Unknown Error" }',
        "[ERROR] engine died: RuntimeError('CUDA error: no kernel image is available for execution')",
        "ERROR: the worker could fail: CUDA error: no kernel image is available",
        "WARNING: this may cause trouble. Failed to initialize NVML: Unknown Error",
        "tests/test_x.py::test_says FAILED  Failed to initialize NVML: Unknown Error",
        "  what():  CUDA error: no kernel image is available for execution on the device",
        "#8 12.31 Failed to initialize NVML: Unknown Error",
        "device 0: CUDA error: no kernel image is available: No such file",
        "root@host:/# Failed to initialize NVML: Unknown Error",
        "Failed to initialize NVML: Unknown Error (no device)",
    ],
)
def test_a_report_of_a_failure(text: str) -> None:
    assert not denied(text)


@pytest.mark.parametrize(
    "before",
    [
        "node1:88:157 [0] NCCL INFO NET/Plugin : ", "2026-11-20 10:00:00 INFO loader: ", "[INFO] ", "I1120 10:00:00.1 1 a.cc:2] ",
        "time=2026-11-20 level=debug msg=", "[I:onnxruntime:Default, x.cc:1] ", "INFO:root:", "(W pid=1) INFO 11-20 10:00:01 [x.py:1] ",
    ],
)  # fmt: skip
def test_a_shared_symptom_on_a_line_that_is_no_error(before: str) -> None:
    text = f"{before}libfoo.so: cannot open it"
    assert says_nothing(text, len(before), len(text), weak=True)
    assert not says_nothing(text, len(before), len(text))


@pytest.mark.parametrize(
    "before",
    ["[rank0]: ", "ImportError: ", "WARN NCCL_DEBUG=INFO: ", "ERROR 11-20 10:00:01 [x.py:1] ", "E1120 1 a.cc:2] "],
)
def test_a_shared_symptom_on_an_error_line(before: str) -> None:
    text = f"{before}libfoo.so: cannot open it"
    assert not says_nothing(text, len(before), len(text), weak=True)
