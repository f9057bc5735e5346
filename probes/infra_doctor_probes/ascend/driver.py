"""The Ascend driver and firmware by the files that their packages leave, read also where npu-smi does not work.

`/etc/ascend_install.info` names the root, `driver/version.info` and `firmware/version.info` the versions and what each
accepts of the other and of CANN. In a container they are often the host's, mounted. That a module is loaded is said by
/sys/module alone; what the running driver calls itself is asked by the probe of the NPUs."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    AttributeValue,
    Capability,
    Component,
    Evidence,
    EvidenceKind,
    Machine,
    ProbeContext,
    kernel_evidence,
)
from infra_doctor_probes.ascend.files import AscendVersionSources, file_evidence, read_pairs, version_of
from infra_doctor_probes.detect.ascend import BASE, INSTALL_INFO, MODULES

# attribute -> key in driver/version.info and firmware/version.info
DRIVER_KEYS = {
    "inner_version": "Innerversion", "accepts_inner": "compatible_version", "accepts_firmware": "compatible_version_fw",
    "package_version": "package_version", "hal_version": "ascendhal_version",
}  # fmt: skip
FIRMWARE_KEYS = {"accepts_driver": "compatible_version_drv", "package_version": "package_version"}


def run(ctx: ProbeContext) -> Iterator[object]:
    """The driver and firmware components, the driver's libdcmi, and where the driver's version stands."""
    machine: Machine = ctx.machine
    install = read_pairs(machine, INSTALL_INFO) or {}
    driver = root_of(install, "Driver_Install_Path_Param") + "/driver"
    modules = loaded_modules(machine)
    if machine.is_dir(driver) or modules:
        yield from driver_component(machine, driver, install, modules)
        yield from libdcmi(machine, driver)
    firmware = root_of(install, "Firmware_Install_Path_Param") + "/firmware"
    path = firmware + "/version.info"
    pairs = read_pairs(machine, path)
    if pairs is not None:
        version = version_of(pairs, "Version")
        yield Component(
            key=f"firmware:{firmware}",
            kind="firmware",
            name="Ascend firmware",
            version=version,
            location=firmware,
            attributes=taken(pairs, FIRMWARE_KEYS),
            evidence=(file_evidence(path, f"Version={version}" if version else "no Version= line"),),
        )


def root_of(install: dict[str, str], key: str) -> str:
    """The folder that the installer noted, else the default."""
    path = install.get(key, "").rstrip("/")
    return path if path.startswith("/") else BASE


def taken(pairs: dict[str, str], keys: dict[str, str]) -> dict[str, AttributeValue]:
    """The attributes that the file has."""
    return {name: pairs[key][:400] for name, key in keys.items() if pairs.get(key)}


def loaded_modules(machine: Machine) -> tuple[str, ...]:
    """The driver's kernel modules that are loaded; a container sees its host's."""
    if Capability.KERNEL_STATE not in machine.capabilities:
        return ()
    return tuple(name for name in MODULES if machine.is_dir(f"/sys/module/{name}"))


def driver_component(
    machine: Machine, folder: str, install: dict[str, str], modules: tuple[str, ...]
) -> Iterator[object]:
    """The driver; its version is None where a folder or a module is there and no readable version.info."""
    path = folder + "/version.info"
    pairs = read_pairs(machine, path)
    version = version_of(pairs, "Version") if pairs is not None else None
    evidence = []
    if pairs is not None:
        evidence.append(file_evidence(path, f"Version={version}" if version else "no Version= line"))
    elif machine.is_dir(folder):
        evidence.append(Evidence(kind=EvidenceKind.DIRECTORY, source=folder, text="without version.info"))
    evidence += [kernel_evidence(f"/sys/module/{name}", "loaded") for name in modules[:1]]
    attributes = taken(pairs or {}, DRIVER_KEYS)
    if "Driver_Install_Mode" in install:
        attributes["install_mode"] = install["Driver_Install_Mode"][:40]
    if Capability.KERNEL_STATE in machine.capabilities:
        attributes["module_loaded"] = bool(modules)
    yield Component(
        key="driver:ascend",
        kind="driver",
        name="ascend",
        version=version,
        location=folder if machine.is_dir(folder) else None,
        attributes=attributes,
        evidence=tuple(evidence),
    )
    if version is not None:
        yield AscendVersionSources(
            subject="driver:ascend", sources=((version, path),), chosen=version, evidence=(evidence[0],)
        )


def libdcmi(machine: Machine, driver: str) -> Iterator[Component]:
    """The copies of the management library at the places where tools look for it, after the loader's own."""
    cached = [e.path for e in machine.linker_cache(quiet=True) or () if e.soname == "libdcmi.so"]
    folders = [f for f in machine.environ.get("LD_LIBRARY_PATH", "").split(":") if f.startswith("/")]
    reachable = [p for p in (*(f"{f}/libdcmi.so" for f in folders), *cached) if machine.is_file(p)]
    fixed = [f"{driver}/lib64/driver/libdcmi.so", "/usr/local/dcmi/libdcmi.so"]
    first = machine.realpath(reachable[0]) if reachable else None
    on_path = {machine.realpath(p) for p in reachable}
    for path in dict.fromkeys(machine.realpath(p) for p in (*reachable, *fixed) if machine.is_file(p)):
        yield Component(
            key=f"libdcmi:{path}",
            kind="libdcmi",
            name="libdcmi",
            location=path,
            origin="driver",
            attributes={"on_loader_path": path in on_path, "first": path == first},
            evidence=(file_evidence(path, "exists"),),
        )
