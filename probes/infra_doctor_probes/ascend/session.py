"""One look at the NPUs through the vendor's own means: DCMI in a child process, else `npu-smi info`, each with a deadline.

Both can hang with a driver that hangs. What they say is taken as text and numbers of the wrong type count as absent."""

import re
from dataclasses import dataclass

from infra_doctor.plugin import Capability, Evidence, EvidenceKind, Machine, fact
from infra_doctor_probes.ascend.npu_smi import Chip, parse_npu_smi

CHILD = "infra_doctor_probes.children.dcmi"
TIMEOUT_S = 10.0
ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


@fact("ascend-session", 1)
@dataclass(frozen=True, kw_only=True, slots=True)
class AscendSession:
    """How one look at the NPUs went: `tool` is "DCMI" or "npu-smi". `error` is empty where it named chips."""

    tool: str
    error: str = ""
    error_code: int | None = None
    timed_out: bool = False
    tool_version: str | None = None
    driver_version: str | None = None
    chip_count: int = 0
    evidence: tuple[Evidence, ...] = ()


def ask(machine: Machine) -> tuple[list[AscendSession], tuple[Chip, ...]]:
    """DCMI, then npu-smi where DCMI named no chip; the sessions in that order and the chips of the last."""
    sessions = []
    chips: tuple[Chip, ...] = ()
    if Capability.VENDOR_LIBRARIES in machine.capabilities:
        session, chips = ask_dcmi(machine)
        sessions.append(session)
    if not chips and Capability.COMMANDS in machine.capabilities:
        session, chips = ask_npu_smi(machine)
        sessions.append(session)
    return sessions, chips


def ask_dcmi(machine: Machine) -> tuple[AscendSession, tuple[Chip, ...]]:
    """One DCMI session in a child process."""
    result = machine.child(CHILD, timeout_s=TIMEOUT_S)
    data = result.data or {}
    devices = data.get("devices")
    chips = tuple(c for d in (devices if isinstance(devices, list) else ())[:1024] if (c := dcmi_chip(d)) is not None)
    error = result.error or string(data.get("error")) or ("" if chips else "it names no chip")
    code = data.get("error_code")
    return AscendSession(
        tool="DCMI",
        error=error,
        error_code=code if isinstance(code, int) else None,
        timed_out=result.timed_out,
        tool_version=string(data.get("dcmi_version")),
        driver_version=string(data.get("driver_version")),
        chip_count=len(chips),
        evidence=(
            Evidence(
                kind=EvidenceKind.LIBRARY,
                source=f"{string(data.get('library')) or 'libdcmi.so'} dcmi_init",
                text=error or f"driver {data.get('driver_version')}, {len(chips)} chips",
            ),
        ),
    ), chips


def dcmi_chip(device: object) -> Chip | None:
    """One entry of the child's answer; None for anything else."""
    if not isinstance(device, dict) or not isinstance(device.get("card"), int) or device.get("error"):
        return None
    address = string(device.get("pci"))
    numbers = {n: device.get(n) if isinstance(device.get(n), int) else None for n in ("memory_bytes", "physical_id")}
    return Chip(
        npu_id=device["card"],
        chip_id=device["device"] if isinstance(device.get("device"), int) else 0,
        name=string(device.get("name")) or "NPU",
        health=string(device.get("health")),
        address=address if address and ADDRESS.fullmatch(address) else None,
        **numbers,
    )


def ask_npu_smi(machine: Machine) -> tuple[AscendSession, tuple[Chip, ...]]:
    """`npu-smi info` from PATH, else from where the driver links it."""
    for tool in ("npu-smi", "/usr/local/bin/npu-smi", "/usr/local/sbin/npu-smi"):
        result = machine.run(tool, "info", timeout_s=TIMEOUT_S)
        if not result.error:
            break
    text = parse_npu_smi(result.stdout) if result.stdout.strip() else parse_npu_smi(result.stderr)
    error = text.error or text.problem
    if result.timed_out:
        error = f"no answer within {TIMEOUT_S:g} s"
    elif result.rc is None:
        error = f"npu-smi could not be run: {result.error or 'it did not end by itself'}"
    shown = error or f"driver {text.driver_version}, {len(text.chips)} chips"
    if text.problem:
        shown += ": " + result.stdout[:160]
    return AscendSession(
        tool="npu-smi",
        error=error,
        error_code=text.error_code,
        timed_out=result.timed_out,
        tool_version=text.tool_version,
        driver_version=text.driver_version,
        chip_count=len(text.chips),
        evidence=(
            Evidence(kind=EvidenceKind.COMMAND, source=f"{'npu-smi' if result.error else tool} info", text=shown),
        ),
    ), text.chips


def string(value: object) -> str | None:
    """A text of the child, None for anything else; bounded."""
    return value[:200] if isinstance(value, str) and value else None
