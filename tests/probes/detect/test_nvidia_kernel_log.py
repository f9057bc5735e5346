"""The kernel's messages about NVIDIA devices: asked only where there are any, counted, explained, and without names."""

from typing import Any

import pytest

from infra_doctor_probes.detect import nvidia_driver, nvidia_kernel_log, pci
from infra_doctor_probes.detect.nvidia_kernel_log import (
    ACTIONS,
    CAUSES,
    EVENT_KINDS,
    JOURNAL,
    PATTERNS,
    KernelGpuEvent,
    KernelGpuLog,
)
from infra_doctor_probes.nvidia_smi.kernel_log import messages
from tests.support.gather import Gathered, gather
from tests.support.recipe import recipe_machine

GPU = "0000:17:00.0"
BUS = f"/sys/bus/pci/devices/{GPU}"
FILES: dict[str, Any] = {f"{BUS}/vendor": "0x10de\n", f"{BUS}/device": "0x2330\n", f"{BUS}/class": "0x030200\n"}
PROBES = (pci.PROBES, nvidia_driver.PROBES, nvidia_kernel_log.PROBES)
JOURNALCTL = {"/usr/bin/journalctl": {"needed": ["libc.so.6"]}}


def gathered(log: Any, **recipe: Any) -> Gathered:
    machine = recipe_machine({"files": FILES, "kernel_log": log, **recipe})
    return gather(machine, *PROBES)


def events(log: Any, **recipe: Any) -> list[KernelGpuEvent]:
    return [f for f in gathered(log, **recipe).facts if isinstance(f, KernelGpuEvent)]


def only(log: list[str], **recipe: Any) -> KernelGpuEvent:
    (found,) = events(log, **recipe)
    return found


def test_nothing_is_asked_where_no_nvidia_device_shows() -> None:
    machine = recipe_machine({"kernel_log": ["NVRM: Xid (PCI:0000:17:00): 79, GPU has fallen off the bus."]})
    assert gather(machine, *PROBES).facts == []
    assert not any(key[0] in {"kernel_log", "run"} for key in machine.observations)


def test_an_xid_with_its_row_of_the_catalogue() -> None:
    found = only(["NVRM: Xid (PCI:0000:17:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."] * 3)
    assert (found.kind, found.xid, found.sxid, found.address, found.count) == ("xid", 79, None, GPU, 3)
    assert (found.first_seconds, found.last_seconds) == (0.0, 2.0)
    assert found.text == "GPU has fallen off the bus."
    assert found.meaning.startswith("the GPU has fallen off the bus")
    assert (found.cause, found.action) == ("bus", "reboot")
    assert found.causes[0] == "bus"
    assert "docs.nvidia.com/deploy/xid-errors" in found.source
    assert found.evidence[0].text == "Xid 79: GPU has fallen off the bus."


@pytest.mark.parametrize(
    ("line", "address", "xid"),
    [
        ("NVRM: Xid (0000:03:00): 14, Channel 00000001", "0000:03:00.0", 14),
        ("NVRM: Xid (PCI:0018:01:00): 149, NETIR_BER_EVENT Nonfatal XC0 i0 Link 03 (0x00086226)", "0018:01:00.0", 149),
        ("NVRM: Xid (PCI:00000000:9B:00.0): 119, pid=1, name=x, Timeout after 6s", "0000:9b:00.0", 119),
        ("NVRM: GPU0 Xid (PCI:0000:9b:00): 62, 1234", "0000:9b:00.0", 62),
    ],
)
def test_forms_of_xids(line: str, address: str, xid: int) -> None:
    found = only([line])
    assert (found.address, found.xid) == (address, xid)


def test_an_xid_that_is_not_in_the_catalogue_is_kept() -> None:
    found = only(["NVRM: Xid (PCI:0000:17:00): 9999, something new"])
    assert (found.xid, found.meaning, found.cause, found.action, found.source) == (9999, "", "", "", "")


def test_processes_boards_and_uuids_are_left_behind() -> None:
    log = [
        "NVRM: Xid (PCI:0000:17:00): 31, pid=4711, name=secret-trainer, Ch 00000008, GPU-12345678-1111-2222-3333-444444444444",
        "NVRM: API mismatch: the client 'secret-trainer' (pid 4711)\\x0aNVRM: has the version 595.84, but\\x0aNVRM: this kernel "
        "module has the version 595.71.05.  Please",
    ]
    shown = repr(gathered(log).facts)
    for private in ("secret", "4711", "12345678"):
        assert private not in shown
    mismatch = next(e for e in events(log) if e.kind == "api-mismatch")
    assert mismatch.versions == ("595.84", "595.71.05")


def test_switches() -> None:
    log = [
        "nvidia-nvswitch0: SXid (PCI:0000:a9:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",
        "nvidia-nvswitch0: SXid (PCI:0000:a9:00.0): 20034, Severity 1 Engine instance 30 Sub-engine instance 00",
        "nvidia-nvswitch0: SXid (PCI:0000:a9:00.0): 20034, Data {0x00000001, 0x10100000}",
        "nvidia-nvswitch3: SXid (PCI:0000:05:00.0): 12028, Non-fatal, Link 32 egress non-posted PRIV error (First)",
    ]
    fatal, dropped = events(log)
    assert (fatal.kind, fatal.sxid, fatal.severity, fatal.count, fatal.cause) == ("sxid", 20034, "fatal", 1, "nvlink")
    assert (dropped.sxid, dropped.severity, dropped.address) == (12028, "non-fatal", "0000:05:00.0")


def test_fell_off_the_bus_without_a_number_in_one_record_and_in_three() -> None:
    parts = [
        "NVRM: The NVIDIA GPU 0000:b3:00.0",
        "NVRM: (PCI ID: 10de:26b5) installed in this system has",
        "NVRM: fallen off the bus and is not responding to commands.",
    ]
    for log in ([r"\x0a".join(parts)], parts):
        found = only(log)
        assert (found.kind, found.address, found.cause, found.action) == (
            "fell-off-bus",
            "0000:b3:00.0",
            "bus",
            "reboot",
        )


def test_a_module_that_does_not_serve_the_gpu() -> None:
    log = [
        r"NVRM: The NVIDIA GPU 0000:17:00.0 (PCI ID: 10de:1b06)\x0aNVRM: installed in this system is not supported by open"
        r"\x0aNVRM: nvidia.ko because it does not include the required GPU\x0aNVRM: System Processor (GSP)."
    ]
    found = only(log)
    assert (found.kind, found.address) == ("not-supported", GPU)
    assert "not supported by open nvidia.ko" in found.text


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("NVRM: GPU 0000:17:00.0: RmInitAdapter failed! (0x25:0x65:1468)", "init-failed"),
        ("NVRM: GPU0 RmInitAdapter: Cannot initialize GSP firmware RM", "init-failed"),
        ("NVRM: The NVIDIA probe routine was not called for 1 device(s).", "probe-failed"),
        ("NVRM: This PCI I/O region assigned to your NVIDIA device is invalid:", "probe-failed"),
        (r"NVRM: This can occur when a driver such as: \x0aNVRM: nouveau, rivafb, nvidiafb or rivatv \x0aNVRM: was loaded and "
         "obtained ownership of the NVIDIA device(s).", "owned-by-other"),
        ("nvidia: module verification failed: signature and/or required key missing - tainting kernel", "module-unsigned"),
        ("nvidia_drm: Unknown symbol drm_open (err -2)", "module-mismatch"),
        ("Lockdown: modprobe: unsigned module loading is restricted; see man kernel_lockdown.7", "module-rejected"),
        ("Loading of unsigned module is rejected", "module-rejected"),
    ],
)  # fmt: skip
def test_messages_without_a_number(line: str, kind: str) -> None:
    assert only([line]).kind == kind
    assert kind in EVENT_KINDS


def test_pcie_errors_of_a_gpu_and_of_the_ports_above_it_only() -> None:
    log = [
        "nvidia 0000:17:00.0: PCIe Bus Error: severity=Uncorrected (Non-Fatal), type=Transaction Layer, (Requester ID)",
        "pcieport 0000:15:01.0: AER: Uncorrected (Fatal) error received: 0000:17:00.0",
        "pcieport 0000:15:01.0: DPC: containment event, status:0x1f01 source:0x0000",
        "pcieport 0000:64:01.0: DPC: containment event, status:0x1f01 source:0x0000",
        "pcieport 0000:64:01.0: AER: Uncorrected (Non-Fatal) error received: 0000:65:00.0",
        "pcieport 0000:15:01.0: AER: Corrected error received: 0000:17:00.0",
    ]
    links = {BUS: "../../../devices/pci0000:15/0000:15:01.0/0000:16:00.0/0000:17:00.0"}
    real = "/sys/devices/pci0000:15/0000:15:01.0/0000:16:00.0/0000:17:00.0"
    files = {path.replace(BUS, real): text for path, text in FILES.items()}
    found = events(log, files=files, links=links)
    assert [(e.kind, e.address, e.count) for e in found] == [("pcie-error", GPU, 2), ("pcie-error", "0000:15:01.0", 1)]


@pytest.mark.parametrize(
    ("said", "action"),
    [
        ("from 0x0 (None) to 0x2 (Node Reboot Required)", "reboot"),
        ("from 0x0 (None) to 0x1 (GPU Reset Required)", "reset-gpu"),
        ("from 0x1 (GPU Reset Required) to 0x0 (None)", "none"),
        ("from 0x0 (None) to 0x9 (Something New)", "none"),
    ],
)
def test_the_recovery_that_xid_154_names(said: str, action: str) -> None:
    assert only([f"NVRM: Xid (PCI:0000:17:00): 154, GPU recovery action changed {said}"]).action == action


def test_nonfatal_errors_of_nvlink_5_need_nothing_at_once() -> None:
    line = "NVRM: Xid (PCI:0000:17:00): 145, RLW_RXPIPE {} XC0 i0 Link 13 (0x0409a0c2)"
    assert [only([line.format(word)]).action for word in ("Nonfatal", "Fatal")] == ["none", "reset-gpu"]


def test_what_could_not_be_read_is_said() -> None:
    found = gathered({"error": "Operation not permitted"})
    log = found.fact(KernelGpuLog)
    assert (log.vendor, log.source, log.error) == ("nvidia", "", "Operation not permitted")
    assert not found.has(KernelGpuEvent)


def test_a_log_without_a_message_is_read() -> None:
    log = gathered([]).fact(KernelGpuLog)
    assert (log.source, log.error, log.truncated) == ("/dev/kmsg", "", False)


def journal(**result: Any) -> Gathered:
    command = {"argv": list(JOURNAL), **result}
    return gathered({"error": "Operation not permitted"}, elf=JOURNALCTL, commands=[command])


def test_the_journal_is_asked_where_the_ring_buffer_may_not_be_read() -> None:
    out = "[   12.000001] kernel: NVRM: The NVIDIA GPU 0000:b3:00.0\n               NVRM: (PCI ID: 10de:26b5) installed in\n"
    out += "               NVRM: this system has fallen off the bus\n[ 5011.2] kernel: NVRM: Xid (PCI:0000:17:00): 95, pid=1, name=a, b\n"
    found = journal(stdout=out)
    assert found.fact(KernelGpuLog).source == "journalctl -k -b"
    told = [(e.kind, e.address, e.first_seconds) for e in found.facts if isinstance(e, KernelGpuEvent)]
    assert told == [("fell-off-bus", "0000:b3:00.0", 12.000001), ("xid", GPU, 5011.2)]


def test_a_journal_with_nothing_in_it_is_read_too() -> None:
    assert journal(stdout="-- No entries --\n", rc=1).fact(KernelGpuLog).error == ""


@pytest.mark.parametrize(
    "result",
    [
        {"rc": 1, "stderr": "No journal files were opened due to insufficient permissions.\n"},
        {"rc": 0, "stderr": "Hint: You are currently not seeing messages from other users and the system.\n"},
        {"rc": 1, "stderr": "Compiled without pattern matching support\n"},
        {"rc": 1, "stderr": "Failed to search journal ACL\n"},
        {"timed_out": True},
    ],
)
def test_a_journal_that_tells_nothing(result: dict[str, Any]) -> None:
    found = journal(**result)
    log = found.fact(KernelGpuLog)
    assert log.source == ""
    assert log.error.startswith("Operation not permitted; journalctl: ")
    assert not found.has(KernelGpuEvent)


def test_without_journalctl_no_command_is_started() -> None:
    machine = recipe_machine({"files": FILES, "kernel_log": {"error": "Operation not permitted"}})
    gather(machine, *PROBES)
    assert not any(key[0] == "run" for key in machine.observations)


def test_a_flood_is_counted_and_bounded() -> None:
    log = [f"NVRM: Xid (PCI:0000:17:00): {n}, x" for n in range(1000)] + ["NVRM: Xid (PCI:0000:17:00): 13, y"] * 500
    found = events(log)
    assert len(found) == nvidia_kernel_log.FACTS_CAP
    assert next(e for e in found if e.xid == 13).count == 501


def test_every_word_is_of_its_closed_set() -> None:
    log = [f"NVRM: Xid (PCI:0000:17:00): {n}, x" for n in range(1, 190)]
    for event in events(log):
        assert not event.cause or event.cause in CAUSES
        assert set(event.causes) <= set(CAUSES)
        assert not event.action or event.action in ACTIONS
        assert event.kind in EVENT_KINDS


def test_the_collector_asks_for_the_same_messages() -> None:
    (probe,) = nvidia_kernel_log.PROBES
    assert probe.collect == tuple(f"kernel-log:{p}" for p in PATTERNS)


def test_every_message_that_is_understood_is_asked_for() -> None:
    import re

    lines = [
        "NVRM: Xid (PCI:0000:17:00): 79, x", "nvidia-nvswitch0: SXid (PCI:0000:a9:00.0): 20034, Fatal, Link 30",
        "NVRM: GPU 0000:2b:00.0: GPU has fallen off the bus.", "NVRM: GPU 0000:17:00.0: RmInitAdapter failed! (0x25)",
        "NVRM: The NVIDIA probe routine failed for 1 device(s).", "NVRM: API mismatch: the client has the version 1.2, but",
        "nvidia: disagrees about version of symbol module_layout", "Loading of module with unavailable key is rejected",
        "nvidia 0000:0b:00.0: AER: can't recover (no error_detected callback)",
        "pcieport 0000:00:03.1: pciehp: Slot(3): Link Down",
    ]  # fmt: skip
    for line in lines:
        assert list(messages([(0.0, line)])), line
        assert any(re.search(p, line) for p in PATTERNS), line
