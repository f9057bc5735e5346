"""Asks nvidia-smi instead of NVML: on machines of which only commands were recorded, and where no bindings are.

nvidia-smi is itself a client of NVML, so its errors are given as NVML's."""

from typing import Any

from infra_doctor.plugin import CommandResult, Machine
from infra_doctor_probes.nvidia_smi.errors import error_of, look_alike
from infra_doctor_probes.nvidia_smi.text import Refused

XML, TEXT = ("nvidia-smi", "-q", "-x"), ("nvidia-smi", "-q")
NOT_RECORDED = "not found"


def smi_answer(machine: Machine) -> dict[str, Any] | None:
    """What `nvidia-smi -q -x` (else `-q`) tells, in the shape of the NVML child's answer, with "source" (the command) and
    "timed_out" beside it. None where the command is not there, or was not recorded."""
    for argv in (XML, TEXT):
        result = machine.run(*argv, timeout_s=10.0)
        if result.rc is not None or result.timed_out or result.error != NOT_RECORDED:
            return {"source": " ".join(argv), "timed_out": result.timed_out, **read(argv, result)}
    return None


def read(argv: tuple[str, ...], result: CommandResult) -> dict[str, Any]:
    """The answer, or what it says instead of one."""
    from infra_doctor_probes.nvidia_smi.query_text import read_query_text
    from infra_doctor_probes.nvidia_smi.query_xml import read_query_xml

    if result.timed_out:
        return nothing("nvidia-smi gave no answer in time")
    if result.error:
        return nothing(f"nvidia-smi could not be started: {result.error}")
    found = read_query_xml(result.stdout) if argv == XML else read_query_text(result.stdout)
    if not isinstance(found, Refused):
        return found
    other = look_alike(result.stdout)
    if other is not None:
        return nothing(f"the nvidia-smi on PATH is {other}")
    error = error_of(result.stdout) or error_of(result.stderr)
    if error is not None and error.kind == "no-devices":
        return nothing("")
    if error is not None:
        return nothing(error.text, error.code)
    return nothing(f"nvidia-smi ended with {result.rc}; {found.reason}")


def nothing(error: str, code: int | None = None) -> dict[str, Any]:
    """An answer without devices."""
    return {
        "driver_version": None, "nvml_version": None, "cuda_driver_version": None, "devices": [], "error": error,
        "error_code": code,
    }  # fmt: skip
