"""The AMD GPUs and the driver that serves them: by PCI and sysfs, the compute driver's topology, and AMD's management library.

The library and AMD's commands are asked only where the kernel driver serves a GPU. What they do not answer stays with what
sysfs says: that is no fault. A display that the table does not name may be part of the processor: it counts only where ROCm is
wanted, and the compute driver took it or there is no other. Proven on captures and described machines, not on the devices."""

import posixpath
from collections.abc import Iterator

from infra_doctor.plugin import (
    AttributeValue,
    Capability,
    Component,
    Evidence,
    EvidenceKind,
    Machine,
    ProbeContext,
    fact,
    kernel_evidence,
    record,
)
from infra_doctor_probes.amd.kfd import AmdKfd, read_access, read_kfd
from infra_doctor_probes.amd.rocm_smi import parse_rocm_smi
from infra_doctor_probes.amd.smi_text import parse_amd_smi
from infra_doctor_probes.answers import text
from infra_doctor_probes.detect.pci import BUS, PciDevice
from infra_doctor_probes.detect.system import Container
from infra_doctor_probes.other_vendors.reading import Reading, SmiText, number, version

CHILD = "infra_doctor_probes.children.amdsmi"
TIMEOUT_S = 10.0
DRIVER = "amdgpu"
COMMANDS = (
    (("amd-smi", "static", "--asic", "--bus", "--driver"), parse_amd_smi),
    (("rocm-smi", "--showproductname", "--showbus", "--showmeminfo", "vram", "--showdriverversion", "--json"), parse_rocm_smi),
)  # fmt: skip


@fact("amd-smi-session", 1)
@record
class AmdSmiSession:
    """How AMD's library or command answered: `tool` is "libamd_smi", "amd-smi" or "rocm-smi"."""

    tool: str
    error: str = ""
    error_code: int | None = None
    timed_out: bool = False
    driver_version: str | None = None
    device_count: int = 0
    evidence: tuple[Evidence, ...] = ()


@fact("amd-gpus-not-given", 1)
@record
class AmdGpusNotGiven:
    """AMD GPUs of the host that this container, or this system, does not have."""

    addresses: tuple[str, ...]
    reason: str
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """gpu and driver components; AmdKfd, AmdAccess, AmdSmiSession."""
    machine: Machine = ctx.machine
    every = [d for d in ctx.facts(PciDevice) if d.vendor == "amd"]
    kfd = read_kfd(machine)
    yield kfd
    rocm_here = bool(ctx.by_kind("rocm")) or any(w.attributes.get("build") == "rocm" for w in ctx.by_kind("wheel"))
    compute = {n.address for n in kfd.nodes}
    devices = [d for d in every if d.accelerator or (rocm_here and d.address in compute)]
    if not devices and rocm_here:  # what the table does not name and the driver did not take
        devices = [d for d in every if d.driver in {DRIVER, "radeon"}]
    kept = [d for d in devices if (d.driver or "").startswith("vfio")]
    if kept:
        yield aside(kept, "bound to vfio-pci: kept for a virtual machine")
    devices = [d for d in devices if d not in kept]
    if not devices:
        return
    access = read_access(machine, {d.address for d in devices})
    yield access
    hidden = [d for d in devices if ctx.fact(Container) is not None and not (access.kfd_exists or access.render)]
    if hidden:
        yield aside(hidden, "neither /dev/kfd nor a render node: not given to this container")
        yield from driver(machine, hidden, {})
        return
    sessions, readings = ask(machine) if any(d.driver == DRIVER for d in devices) else ([], {})
    yield from sessions
    yield from driver(machine, devices, readings)
    for device in devices:
        yield component(machine, device, kfd, readings.get(device.address))


def aside(devices: list[PciDevice], reason: str) -> AmdGpusNotGiven:
    """The fact of some devices."""
    evidence = tuple(e for d in devices[:8] for e in d.evidence)
    return AmdGpusNotGiven(addresses=tuple(d.address for d in devices), reason=reason, evidence=evidence)


# -- AMD's own means ----------------------------------------------------------------------------------------------


def ask(machine: Machine) -> tuple[list[AmdSmiSession], dict[str, Reading]]:
    """The library in a child process; AMD's commands where it is not there. Nothing after a time-out: it would hang too."""
    sessions: list[AmdSmiSession] = []
    if Capability.VENDOR_LIBRARIES in machine.capabilities and has_library(machine):
        session, readings = ask_library(machine)
        sessions.append(session)
        if readings or session.timed_out:
            return sessions, readings
    if Capability.COMMANDS in machine.capabilities:
        for argv, parser in COMMANDS:
            result = machine.run(*argv, timeout_s=TIMEOUT_S)
            if result.error:
                continue
            text = parser(result.stdout)
            session = command_session(argv[0], text, timed_out=result.timed_out)
            sessions.append(session)
            readings = {r.address: r for r in text.devices if r.address}
            if readings or session.timed_out:
                return sessions, readings
    return sessions, {}


def has_library(machine: Machine) -> bool:
    """Whether a libamd_smi lies where the child looks for it."""
    cached = any(e.soname.startswith("libamd_smi.so") for e in machine.linker_cache(quiet=True) or ())
    return cached or bool(machine.glob("/opt/rocm*/lib*/libamd_smi.so*"))


def ask_library(machine: Machine) -> tuple[AmdSmiSession, dict[str, Reading]]:
    """One session with the library."""
    result = machine.child(CHILD, timeout_s=TIMEOUT_S)
    data = result.data or {}
    found = data.get("devices")
    listed = [d for d in (found if isinstance(found, list) else ())[:512] if isinstance(d, dict)]
    readings = {a: reading_of(d) for d in listed if (a := text(d.get("pci"))) is not None}
    error = result.error or text(data.get("error")) or ("" if readings else "it names no GPU")
    code = data.get("error_code")
    driver_version = next((r.driver_version for r in readings.values() if r.driver_version), None)
    return AmdSmiSession(
        tool="libamd_smi",
        error=error,
        error_code=code if isinstance(code, int) else None,
        timed_out=result.timed_out,
        driver_version=driver_version,
        device_count=len(readings),
        evidence=(
            Evidence(
                kind=EvidenceKind.LIBRARY,
                source=f"{text(data.get('library')) or 'libamd_smi.so'} amdsmi_init",
                text=error or f"driver {driver_version}, {len(readings)} GPUs",
            ),
        ),
    ), readings


def reading_of(device: dict[str, object]) -> Reading:
    """One entry of the child's answer; numbers of the wrong type count as absent."""
    memory, errors = device.get("memory_bytes"), device.get("ecc_uncorrectable")
    return Reading(
        name=text(device.get("name")),
        memory_bytes=memory if isinstance(memory, int) and memory > 0 else None,
        driver_version=version(text(device.get("driver_version"))),
        ecc=f"{errors} uncorrectable" if isinstance(errors, int) else None,
    )


def command_session(tool: str, text: SmiText, *, timed_out: bool) -> AmdSmiSession:
    """How a command answered."""
    error = f"no answer within {TIMEOUT_S:g} s" if timed_out else text.problem
    shown = error or f"driver {text.driver_version or 'not named'}, {len(text.devices)} GPUs"
    return AmdSmiSession(
        tool=tool, error=error, timed_out=timed_out, driver_version=text.driver_version, device_count=len(text.devices),
        evidence=(Evidence(kind=EvidenceKind.COMMAND, source=tool, text=shown),),
    )  # fmt: skip


# -- what it comes to ---------------------------------------------------------------------------------------------


def driver(machine: Machine, devices: list[PciDevice], readings: dict[str, Reading]) -> Iterator[Component]:
    """The driver, where it is loaded. The kernel's own driver has no version of its own; AMD's packages give it one."""
    path = f"/sys/module/{DRIVER}"
    if not machine.is_dir(path) and not any(d.driver == DRIVER for d in devices):
        return
    packaged = version((machine.read_text(f"{path}/version", max_bytes=200, quiet=True) or "").strip())
    told = next((r.driver_version for r in readings.values() if r.driver_version), None)
    shown = f"version {packaged}" if packaged else "loaded, without a version: the kernel's own driver"
    yield Component(
        key=f"driver:{DRIVER}",
        kind="driver",
        name=DRIVER,
        version=packaged or told,
        attributes={"origin": "amdgpu-dkms" if packaged else "kernel"},
        evidence=(kernel_evidence(f"{path}/version" if packaged else path, shown),),
    )


def component(machine: Machine, device: PciDevice, kfd: AmdKfd, reading: Reading | None) -> Component:
    """One GPU with all that is known of it."""
    folder = posixpath.join(BUS, device.address)
    nodes = [n for n in kfd.nodes if n.address == device.address]
    attributes: dict[str, AttributeValue] = {
        "vendor": "amd", "pci_id": device.pci_id, "driver_module": device.driver, "seen_by": "sysfs",
    }  # fmt: skip
    evidence = list(device.evidence)
    if nodes:
        node = nodes[0]
        attributes |= {"gfx": node.gfx, "compute_units": node.compute_units, "xgmi_links": node.xgmi_links or None}
        attributes["partitions"] = len(nodes) if len(nodes) > 1 else None
        evidence.append(kernel_evidence(f"kfd node {node.node}", f"{node.gfx or 'no instruction set'}"))
    memory = number(sysfs(machine, folder, "mem_info_vram_total"))
    asleep = sysfs(machine, folder, "power/runtime_status") == "suspended"  # a question to its sensors would wake it
    if reading is not None:
        attributes |= {"seen_by": "amd-smi", "ecc_uncorrectable": ecc_of(reading)}
        memory = memory or reading.memory_bytes
    attributes["memory_bytes"] = memory
    uncorrected = None if asleep else uncorrectable(machine, folder)
    if uncorrected is not None:
        attributes["ecc_uncorrectable"] = uncorrected
        evidence.append(kernel_evidence(f"{folder}/ras", f"{uncorrected} uncorrectable errors"))
    attributes |= links(machine, folder) | {"vbios": sysfs(machine, folder, "vbios_version") or None}
    attributes["temperature_c"] = None if asleep else junction_celsius(machine, folder)
    return Component(
        key=f"gpu:{device.address}",
        kind="gpu",
        name=(reading.name if reading else None) or marketing_name(device.name),
        attributes={n: v for n, v in attributes.items() if v is not None},
        evidence=tuple(evidence),
    )


def marketing_name(pci_name: str | None) -> str:
    """The PCI ID repository's "Aqua Vanjaram [Instinct MI300X]" as "AMD Instinct MI300X"."""
    if not pci_name:
        return "AMD GPU"
    inside = pci_name.partition("[")[2].rstrip("]") or pci_name
    return f"AMD {inside}"


def sysfs(machine: Machine, folder: str, name: str) -> str:
    """A short file of the device's folder."""
    return (machine.read_text(posixpath.join(folder, name), max_bytes=200, quiet=True) or "").strip()


def links(machine: Machine, folder: str) -> dict[str, AttributeValue]:
    """PCIe width and speed now and at most. They fall while a GPU idles: nothing is judged by them."""
    names = {"pcie_width": "current_link_width", "pcie_width_max": "max_link_width"}
    found: dict[str, AttributeValue] = {key: number(sysfs(machine, folder, name)) for key, name in names.items()}
    return found | {"pcie_speed": sysfs(machine, folder, "current_link_speed") or None}


def ecc_of(reading: Reading) -> int | None:
    """The number in "3 uncorrectable"."""
    return number((reading.ecc or "").partition(" ")[0])


def uncorrectable(machine: Machine, folder: str) -> int | None:
    """Errors that no block could correct, since the driver was loaded: `ue: N` in ras/*_err_count."""
    total: int | None = None
    ras = posixpath.join(folder, "ras")
    for name in machine.names(ras)[:64]:
        if not name.endswith("_err_count"):
            continue
        for line in sysfs(machine, ras, name).splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "ue" and (found := number(value)) is not None:
                total = (total or 0) + found
    return total


def junction_celsius(machine: Machine, folder: str) -> float | None:
    """The hottest point's temperature; hwmon counts thousandths of a degree."""
    for hwmon in machine.names(posixpath.join(folder, "hwmon"))[:4]:
        place = posixpath.join(folder, "hwmon", hwmon)
        for index in (2, 1, 3):
            label = sysfs(machine, place, f"temp{index}_label")
            found = number(sysfs(machine, place, f"temp{index}_input"))
            if label in {"junction", "edge"} and found is not None:
                return found / 1000
    return None
