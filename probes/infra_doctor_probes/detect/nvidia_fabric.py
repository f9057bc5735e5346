"""NVSwitches that this machine sees, and the fabric manager that must set them up before CUDA starts.

NVSwitches of the first three generations are PCI devices of the host (or of a guest that got all of them); later ones are
not, and there the GPUs' own fabric state tells. The fabric manager is looked for only where NVSwitches show."""

import posixpath
import re
from collections.abc import Iterator

from infra_doctor.plugin import (
    Capability,
    CommandResult,
    Evidence,
    EvidenceKind,
    Machine,
    Probe,
    ProbeContext,
    fact,
    kernel_evidence,
    record,
)
from infra_doctor_probes.detect.nvidia_driver import NvidiaDeviceNodes
from infra_doctor_probes.detect.pci import BUS, PciDevice, read_hex
from infra_doctor_probes.detect.system import Container

BRIDGE, NVIDIA = "0680", "10de"
# By the PCI ID repository: HGX-2, HGX A100, HGX H100 and its like. Grace Hopper and old nForce chips have other NVIDIA
# devices of this class.
SWITCH_IDS = {"1ac2": "V100 NVSwitch", "1af1": "A100 NVSwitch", "22a3": "H100 NVSwitch"}
UNIT = "nvidia-fabricmanager.service"
COMM = "nv-fabricmanage"
PROGRAMS = ("/usr/bin/nv-fabricmanager", "/usr/sbin/nv-fabricmanager", "/usr/local/bin/nv-fabricmanager")
UNIT_CGROUPS = ("/sys/fs/cgroup/system.slice", "/sys/fs/cgroup/systemd/system.slice")
UNIT_FILES = ("/lib/systemd/system", "/usr/lib/systemd/system", "/etc/systemd/system")
DPKG_STATUS = "/var/lib/dpkg/status"
PRINTED = re.compile(r"[Vv]ersion[^0-9\n]{1,20}(\d{3}\.\d{1,3}(?:\.\d{1,3})?)")
PACKAGED = re.compile(r"(\d{3}\.\d{1,3}(?:\.\d{1,3})?)")


@fact("nvswitches", 1)
@record
class NvSwitches:
    """The NVSwitches: PCI addresses, or device nodes where no PCI device shows."""

    addresses: tuple[str, ...]
    nodes: tuple[str, ...]
    name: str = "NVSwitch"
    evidence: tuple[Evidence, ...] = ()


@fact("nvidia-fabric-manager", 1)
@record
class FabricManager:
    """The fabric manager of a machine with NVSwitches. `state` is systemd's word ("active", "inactive", "failed" …), or
    "running" and "not running" by the processes; None where it cannot be told (a container cannot see its host's services).
    `version` is that of the installed program or package."""

    installed: bool
    state: str | None = None
    version: str | None = None
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """NvSwitches, and the FabricManager where there are some."""
    machine: Machine = ctx.machine
    nodes = ctx.fact(NvidiaDeviceNodes)
    if nodes is None and not any(d.vendor == "nvidia" for d in ctx.facts(PciDevice)):
        return
    switches = nvswitches(machine, nodes)
    if switches is None:
        return
    yield switches
    yield fabric_manager(machine, in_container=ctx.fact(Container) is not None)


def nvswitches(machine: Machine, nodes: NvidiaDeviceNodes | None) -> NvSwitches | None:
    """The switches; None where none shows. nvidia-nvswitchctl alone is there without any."""
    found = {}
    for address in machine.names(BUS):
        folder = posixpath.join(BUS, address)
        if (
            read_hex(machine, folder, "class", 6).startswith(BRIDGE)
            and read_hex(machine, folder, "vendor", 4) == NVIDIA
        ):
            device = read_hex(machine, folder, "device", 4)
            if device in SWITCH_IDS:
                found[address.lower()] = device
    files = tuple(n for n in (nodes.others if nodes else ()) if re.fullmatch(r"/dev/nvidia-nvswitch\d+", n))
    if not found and not files:
        return None
    evidence = [kernel_evidence(posixpath.join(BUS, a), f"{NVIDIA}:{d} class {BRIDGE}") for a, d in found.items()]
    evidence += [kernel_evidence(n, "exists") for n in files]
    name = SWITCH_IDS[next(iter(found.values()))] if found else "NVSwitch"
    return NvSwitches(addresses=tuple(found), nodes=files, name=name, evidence=tuple(evidence))


def fabric_manager(machine: Machine, *, in_container: bool) -> FabricManager:
    """What is installed and whether it runs."""
    program = next((p for p in PROGRAMS if machine.is_file(p)), None)
    unit = next((f for f in UNIT_FILES if machine.is_file(posixpath.join(f, UNIT))), None)
    evidence = [Evidence(kind=EvidenceKind.FILE, source=p, text="installed") for p in (program,) if p]
    state, seen = (None, None) if in_container else service_state(machine, known=unit is not None)
    version, source = installed_version(machine, program)
    evidence += [e for e in (seen, source) if e is not None]
    return FabricManager(
        installed=program is not None or unit is not None, state=state, version=version, evidence=tuple(evidence)
    )


def service_state(machine: Machine, *, known: bool) -> tuple[str | None, Evidence | None]:
    """The service's control group is there while it runs; else systemd is asked; else the processes are looked through, for
    the driver's container of a Kubernetes node runs it without a service."""
    for base in UNIT_CGROUPS:
        path = posixpath.join(base, UNIT)
        if machine.is_dir(path):
            return "active", kernel_evidence(path, "the service's control group is there")
    if Capability.PROCESSES in machine.capabilities and machine.processes(COMM):
        return "running", kernel_evidence("/proc/*/comm", COMM)
    if known and Capability.COMMANDS in machine.capabilities:
        result = machine.run("systemctl", "is-active", UNIT, timeout_s=3.0)
        word = result.stdout.strip()[:40]
        if re.fullmatch(r"[a-z]+", word) and word != "unknown":
            return word, command_evidence(result, word)
    # Where the first process does not show, others' processes are hidden too.
    if Capability.PROCESSES not in machine.capabilities or not machine.exists("/proc/1/comm"):
        return None, None
    return "not running", kernel_evidence("/proc", f"no process {COMM}")


def installed_version(machine: Machine, program: str | None) -> tuple[str | None, Evidence | None]:
    """What the program prints; where no command can be run, what dpkg noted."""
    if program is not None and Capability.COMMANDS in machine.capabilities:
        result = machine.run(program, "--version", timeout_s=3.0)
        match = PRINTED.search(result.stdout[:2000]) if result.rc == 0 else None
        if match:
            return match.group(1), command_evidence(result, match.group())
    package = ""
    for line in (machine.read_text(DPKG_STATUS, max_bytes=16 << 20, quiet=True) or "").splitlines():
        if line.startswith("Package: "):
            package = line[9:]
        elif line.startswith("Version: ") and package.startswith("nvidia-fabricmanager"):
            match = PACKAGED.search(line)
            if match:
                return match.group(1), Evidence(
                    kind=EvidenceKind.FILE, source=DPKG_STATUS, text=f"{package} {line[9:]}"
                )
    return None, None


def command_evidence(result: CommandResult, text: str) -> Evidence:
    """What a command printed."""
    return Evidence(kind=EvidenceKind.COMMAND, source=" ".join(result.argv), text=text)


PROBES = (
    Probe(
        id="nvidia-fabric",
        version=1,
        title="NVSwitches and their fabric manager",
        run=run,
        needs=("kernel state",),
        after=("system", "pci", "nvidia-driver"),
        collect=(
            *(f"{f}/{UNIT}" for f in (*UNIT_FILES, *UNIT_CGROUPS)), *PROGRAMS, f"run:systemctl is-active {UNIT}",
            *(f"run:{p} --version" for p in PROGRAMS), f"process:{COMM}", "/proc/1/comm",
        ),
    ),
)  # fmt: skip
