"""One look at the NPUs through the vendor's own means: DCMI in a child process, else `npu-smi info`, each with a deadline.

Both can hang with a driver that hangs. What they say is taken as text and numbers of the wrong type count as absent."""

import re
from dataclasses import replace

from infra_doctor.plugin import Capability, CommandResult, Evidence, EvidenceKind, Machine, fact, record
from infra_doctor_probes.answers import text
from infra_doctor_probes.ascend.npu_smi import Chip, parse_npu_smi
from infra_doctor_probes.ascend.npu_smi_fields import ecc_counts, fault_codes, parse_fields
from infra_doctor_probes.ascend.state import Reading, reading_of

CHILD = "infra_doctor_probes.children.dcmi"
TIMEOUT_S = 10.0
MORE_TIMEOUT_S = 3.0  # for each further question to npu-smi
MORE_BUDGET_S = 12.0  # for all of them together: the probe itself has 30 s
ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


@fact("ascend-session", 1)
@record
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
    error = result.error or text(data.get("error")) or ("" if chips else "it names no chip")
    code = data.get("error_code")
    return AscendSession(
        tool="DCMI",
        error=error,
        error_code=code if isinstance(code, int) else None,
        timed_out=result.timed_out,
        tool_version=text(data.get("dcmi_version")),
        driver_version=text(data.get("driver_version")),
        chip_count=len(chips),
        evidence=(
            Evidence(
                kind=EvidenceKind.LIBRARY,
                source=f"{text(data.get('library')) or 'libdcmi.so'} dcmi_init",
                text=error or f"driver {data.get('driver_version')}, {len(chips)} chips",
            ),
        ),
    ), chips


def dcmi_chip(device: object) -> Chip | None:
    """One entry of the child's answer; None for anything else."""
    if not isinstance(device, dict) or not isinstance(device.get("card"), int) or device.get("error"):
        return None
    address = text(device.get("pci"))
    numbers = {n: device.get(n) if isinstance(device.get(n), int) else None for n in ("memory_bytes", "physical_id")}
    return Chip(
        npu_id=device["card"],
        chip_id=device["device"] if isinstance(device.get("device"), int) else 0,
        name=text(device.get("name")) or "NPU",
        health=text(device.get("health")),
        address=address if address and ADDRESS.fullmatch(address) else None,
        soc=text(device.get("npu_name")),
        reading=reading_of(device),
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
    ), text.chips if result.error else with_details(machine, tool, text.chips)


def with_details(machine: Machine, tool: str, chips: tuple[Chip, ...]) -> tuple[Chip, ...]:
    """What the table does not show: the faults of chips that are not OK, memory errors, and the firmware of the first card.
    A question that times out ends the round: the driver is slow, and the rest stays unknown."""
    from time import monotonic

    found = list(chips)
    until = monotonic() + MORE_BUDGET_S
    for number, chip in enumerate(found):
        reading = chip.reading or Reading()
        answers = []
        if chip.health != "OK":
            answers.append(more(machine, tool, chip, "health", "-c", str(chip.chip_id)))
            reading = replace(reading, fault_codes=fault_codes(parse_fields(answers[-1].stdout)))
        if chips_of_card(chips, chip) == 1:
            answers.append(more(machine, tool, chip, "ecc"))
            reading = replace(reading, ecc=ecc_counts(parse_fields(answers[-1].stdout)))
        if number == 0:
            answers.append(more(machine, tool, chip, "board"))
            board = parse_fields(answers[-1].stdout)
            reading = replace(
                reading, firmware_version=board.value("Firmware Version"),
                firmware_compatibility=board.value("Compatibility"),
            )  # fmt: skip
        found[number] = replace(chip, reading=reading)
        if any(answer.timed_out for answer in answers) or monotonic() > until:
            break
    return tuple(found)


def more(machine: Machine, tool: str, chip: Chip, what: str, *which: str) -> CommandResult:
    """`npu-smi info -t <what>` for a card, or for one chip of it."""
    return machine.run(tool, "info", "-t", what, "-i", str(chip.npu_id), *which, timeout_s=MORE_TIMEOUT_S)


def chips_of_card(chips: tuple[Chip, ...], chip: Chip) -> int:
    """How many chips share a card: `-t ecc` names the card alone, and its list does not say which chip has which count."""
    return sum(other.npu_id == chip.npu_id for other in chips)
