"""Why no NVIDIA kernel module serves a GPU of the bus: who holds it, for which kernels a module was built, what forbids it.

Looks deeper only where a GPU is not served. Facts: the driver links of /sys/bus/pci, /lib/modules (depmod(8)), /var/lib/dkms
(dkms(8)), modprobe.d(5) and the kernel's command line, the variable SecureBoot of the firmware (UEFI specification, 3.3:
four bytes of attributes, then 1 for enabled), and the kernel's log."""

import posixpath
import re
from collections.abc import Iterator

from infra_doctor.plugin import (
    Evidence,
    EvidenceKind,
    Machine,
    Probe,
    ProbeContext,
    fact,
    kernel_evidence,
    record,
)
from infra_doctor_probes.detect.nvidia_driver import NvidiaKernelModule
from infra_doctor_probes.detect.pci import PciDevice
from infra_doctor_probes.detect.system import Container

PROC_GPUS = "/proc/driver/nvidia/gpus"
MODULES, DKMS = "/lib/modules", "/var/lib/dkms"
SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
MODPROBE_FOLDERS = ("/etc/modprobe.d", "/run/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d")
# Debian names its variants nvidia-current, nvidia-tesla-535, nvidia-legacy-390xx; the others nvidia.
MODULE_FILE = r"nvidia(?:-current|-tesla(?:-\d+)?|-legacy-\d+xx)?(?:-open)?\.ko(?:\.(?:xz|zst|gz))?"
# Below kernel/ the distributions' own modules lie in thousands; these are where an NVIDIA one is put.
IN_KERNEL = ("drivers/video", "drivers/video/nvidia", "drivers/char", "drivers/misc", "drivers/gpu/drm/nvidia")
NOT_WALKED = frozenset({"kernel", "build", "source", "vdso", "initramfs"})
DEPTH, FOLDER_CAP, KERNEL_CAP = 4, 40, 8
# How the kernel says that it refuses a module, that another driver came first, that the module is of another kernel, and
# that this driver has no code for the GPU (kernel/module/signing.c, security/lockdown, nvidia.ko's own messages).
LOG_PATTERNS = (
    r"Loading of (?:unsigned module|module with un[a-z]{1,20} [a-z]{1,12}) is rejected",
    r"[Ll]ockdown: [^\n]{0,40}unsigned module loading is restricted",
    r"nvidia[^\n]{0,60}(?:version magic|disagrees about version of symbol|Unknown symbol)",
    r"NVRM: [^\n]{0,100}(?:already bound to|obtained ownership|not supported by|supported through|open kernel modules)",
)


@fact("nvidia-module-state", 1)
@record
class NvidiaModuleState:
    """Who serves the NVIDIA GPUs of the bus. `unserved` is (address, kernel driver or ""); what follows it was looked at only
    where there are such, and not in a container, whose files are not its kernel's. `forbidden` are the lines that keep the
    module from loading, `refused` what the kernel's log says of it; `secure_boot` is None where the firmware does not tell."""

    served: tuple[str, ...]
    unserved: tuple[tuple[str, str], ...] = ()
    kernel: str = ""
    looked_deeper: bool = False
    kernel_has_modules: bool = False  # /lib/modules/<kernel> is there
    has_headers: bool = False
    built_here: tuple[str, ...] = ()
    built_for: tuple[str, ...] = ()  # other kernels
    sources: tuple[str, ...] = ()  # driver versions that DKMS would build
    forbidden: tuple[str, ...] = ()
    nouveau_forbidden: bool = False
    secure_boot: bool | None = None
    refused: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """The state where an NVIDIA GPU is on the bus."""
    devices = [d for d in ctx.facts(PciDevice) if d.vendor == "nvidia"]
    if not devices:
        return
    shown = {n.lower() for n in ctx.machine.names(PROC_GPUS)}  # where the links to drivers are not visible
    served = tuple(d.address for d in devices if d.driver == "nvidia" or d.address in shown)
    unserved = tuple(
        (d.address, d.driver or "") for d in devices if d.address not in shown and not served_by_wish(d.driver)
    )
    evidence = tuple(e for d in devices for e in d.evidence)
    if not unserved or ctx.fact(Container) is not None:
        yield NvidiaModuleState(served=served, unserved=unserved, evidence=evidence)
        return
    kernel = next((str(c.attributes["kernel"]) for c in ctx.by_kind("os") if c.attributes.get("kernel")), "")
    loaded = ctx.fact(NvidiaKernelModule) is not None
    yield looked_deeper(ctx.machine, kernel, served, unserved, evidence, module_loaded=loaded)


def served_by_wish(driver: str | None) -> bool:
    """NVIDIA's own driver, or one that keeps the device for a virtual machine."""
    return driver == "nvidia" or (driver or "").startswith(("vfio", "pci-stub", "xen-pciback"))


def looked_deeper(
    machine: Machine, kernel: str, served: tuple[str, ...], unserved: tuple[tuple[str, str], ...],
    evidence: tuple[Evidence, ...], *, module_loaded: bool,
) -> NvidiaModuleState:  # fmt: skip
    """The state with what keeps the module from serving a GPU."""
    here = f"{MODULES}/{kernel}"
    found = built(machine, kernel) if kernel else ()
    others = [n for n in machine.names(MODULES) if n != kernel][-KERNEL_CAP:] if not found else []
    elsewhere = tuple(n for n in others if built(machine, n))
    sources = dkms_sources(machine)
    forbidden, nouveau_forbidden, lines = rules(machine)
    log = machine.kernel_log(*LOG_PATTERNS)
    seen = [kernel_evidence("/proc/sys/kernel/osrelease", kernel)] if kernel else []
    listing = EvidenceKind.DIRECTORY
    if module_loaded:
        seen.append(kernel_evidence("/sys/module/nvidia", "is loaded"))
    if machine.is_dir(here):
        seen.append(Evidence(kind=listing, source=here, text=f"modules of NVIDIA: {', '.join(found) or 'none'}"))
    seen += [Evidence(kind=listing, source=f"{MODULES}/{n}", text="has a module of NVIDIA") for n in elsewhere]
    seen += [Evidence(kind=listing, source=f"{DKMS}/{s}", text="source of the module") for s in sources]
    secure_boot = read_secure_boot(machine)
    if secure_boot is not None:
        seen.append(kernel_evidence(SECURE_BOOT, "enabled" if secure_boot else "disabled"))
    return NvidiaModuleState(
        served=served,
        unserved=unserved,
        kernel=kernel,
        looked_deeper=True,
        kernel_has_modules=machine.is_dir(here),
        has_headers=machine.is_dir(f"{here}/build"),
        built_here=found,
        built_for=elsewhere,
        sources=tuple(posixpath.basename(s) for s in sources),
        forbidden=forbidden,
        nouveau_forbidden=nouveau_forbidden,
        secure_boot=secure_boot,
        refused=tuple(text[:200] for _, text in log.lines[-10:]),
        evidence=(*evidence, *seen, *lines, *(kernel_evidence("kernel log", t) for _, t in log.lines[-3:])),
    )


def built(machine: Machine, kernel: str) -> tuple[str, ...]:
    """The NVIDIA modules of one kernel: in the folders of DKMS, akmods, weak-updates and the distributions' own packages."""
    root = f"{MODULES}/{kernel}"
    folders = [(f"{root}/{n}", 1) for n, kind in machine.listdir(root) if kind == "dir" and n not in NOT_WALKED]
    folders += [(f"{root}/kernel/{n}", 1) for n, kind in machine.listdir(f"{root}/kernel") if n.startswith("nvidia")]
    folders += [(f"{root}/kernel/{n}", DEPTH) for n in IN_KERNEL]
    found = []
    for number, (folder, depth) in enumerate(folders):
        if number >= FOLDER_CAP:
            break
        for name, kind in machine.listdir(folder):
            if kind == "dir" and depth < DEPTH:
                folders.append((f"{folder}/{name}", depth + 1))
            elif kind != "dir" and re.fullmatch(MODULE_FILE, name):
                found.append(f"{folder}/{name}"[len(root) + 1 :])
    return tuple(sorted(found))


def dkms_sources(machine: Machine) -> tuple[str, ...]:
    """ "nvidia/550.90.07" for every driver version that DKMS knows."""
    names = [n for n in machine.names(DKMS) if n.startswith("nvidia") and "fs" not in n.split("-")]
    found = (f"{n}/{v}" for n in names[:10] for v in machine.names(f"{DKMS}/{n}"))
    return tuple(f for f in found if re.fullmatch(r"\d+\.\d+(\.\d+)?", posixpath.basename(f)))[:10]


def rules(machine: Machine) -> tuple[tuple[str, ...], bool, tuple[Evidence, ...]]:
    """(what forbids nvidia, whether nouveau is forbidden, evidence) in modprobe.d and on the kernel's command line."""
    forbidden: list[str] = []
    evidence: list[Evidence] = []
    nouveau = False
    for folder in dict.fromkeys(machine.realpath(f) for f in MODPROBE_FOLDERS):
        for name in machine.names(folder):
            path = posixpath.join(folder, name)
            if not name.endswith(".conf") or not machine.is_file(path):
                continue
            for line in (machine.read_text(path, max_bytes=65536, quiet=True) or "").splitlines()[:2000]:
                kept = line[:200].strip()
                if forbids(kept, "nvidia"):
                    forbidden.append(f"{path}: {kept}")
                    evidence.append(Evidence(kind=EvidenceKind.FILE, source=path, text=kept))
                elif forbids(kept, "nouveau"):
                    nouveau = True
                    evidence.append(Evidence(kind=EvidenceKind.FILE, source=path, text=kept))
    for option in (machine.read_text("/proc/cmdline", max_bytes=8192, quiet=True) or "").split():
        name, _, value = option.partition("=")
        if name in {"modprobe.blacklist", "module_blacklist", "rd.driver.blacklist"}:
            named = value.split(",")
            if "nvidia" in named:
                forbidden.append(f"/proc/cmdline: {option[:200]}")
            nouveau = nouveau or "nouveau" in named
        elif option in {"nouveau.modeset=0", "nouveau.blacklist=1"}:
            nouveau = True
    return tuple(forbidden[:5]), nouveau, tuple(evidence[:10])


def forbids(line: str, module: str) -> bool:
    """Whether a line of modprobe.d keeps a module from being loaded by itself, or at all."""
    words = line.split()
    if words[:2] in (["blacklist", module], ["alias", module]):
        return words[0] == "blacklist" or words[2:] == ["off"]
    if words[:2] == ["options", module] and module == "nouveau":
        return "modeset=0" in words[2:]
    return words[:2] == ["install", module] and words[2:3] in (["/bin/false"], ["/bin/true"], ["/usr/bin/false"])


def read_secure_boot(machine: Machine) -> bool | None:
    """Whether the firmware booted in secure mode; None on machines without that variable."""
    data = machine.read_bytes(SECURE_BOOT, max_bytes=16, quiet=True)
    return data[4] == 1 if data is not None and len(data) == 5 else None


PROBES = (
    Probe(
        id="nvidia-module-state",
        version=1,
        title="Who serves the NVIDIA GPUs, and why NVIDIA's module does not",
        run=run,
        needs=("kernel state",),
        after=("system", "pci", "nvidia-driver"),
        collect=(
            f"{MODULES}/*", f"{MODULES}/*/updates/*", f"{MODULES}/*/updates/dkms/*", f"{MODULES}/*/extra/*",
            f"{MODULES}/*/extra/nvidia/*", f"{MODULES}/*/kernel/nvidia*/*", f"{DKMS}/nvidia*/*", SECURE_BOOT,
            *(f"{f}/*.conf" for f in MODPROBE_FOLDERS), "/proc/cmdline", *(f"kernel-log:{p}" for p in LOG_PATTERNS),
        ),
    ),
)  # fmt: skip
