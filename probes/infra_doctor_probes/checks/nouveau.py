"""NOUVEAU: a GPU is on the bus, CUDA is wanted, and NVIDIA's kernel module does not serve it; which of the causes it is.

Rests on the driver bound to each device and, where it is not NVIDIA's, on the modules built for the running kernel, the rules
of modprobe.d, Secure Boot and the kernel's own words. A display under nouveau on a machine without CUDA is no fault."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Command,
    Confidence,
    Finding,
    LogSignature,
    Severity,
    Status,
    record,
)
from infra_doctor_probes.detect.kernel_modules import NvidiaModuleState
from infra_doctor_probes.detect.nvidia_driver import NvidiaKernelModule
from infra_doctor_probes.detect.system import Container
from infra_doctor_probes.from_matrix import label, listed
from infra_doctor_probes.in_target import given_none
from infra_doctor_probes.tables.common import RUNTIMES, cuda_consumers, is_wsl

LINUX_OWN = frozenset({"nouveau", "nova", "nova_core"})


@record
class Why:
    """One cause: the end of the title, what was seen, what to do. `status` is less than fail where it may be meant."""

    title: str
    detail: str
    remedy: str
    commands: tuple[Command, ...] = ()
    confidence: Confidence = Confidence.OBSERVED
    status: Status = Status.FAIL


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding for all GPUs that are not served."""
    state = context.fact(NvidiaModuleState)
    if state is None:
        yield CHECK.skip("no NVIDIA GPU is on the PCI bus")
    elif given_none(context):
        yield CHECK.skip("this container was given no NVIDIA GPU: the kernel module is its host's")
    elif is_wsl(context):
        yield CHECK.skip("under WSL the driver is Windows'")
    elif not state.unserved:
        yield served(state)
    else:
        yield not_served(context, state)


def served(state: NvidiaModuleState) -> Finding:
    """Every GPU has NVIDIA's driver, or is kept for a virtual machine."""
    if not state.served:
        return CHECK.skip("the NVIDIA GPUs are kept for virtual machines")
    return CHECK.finding(
        Status.PASS, "NVIDIA's kernel module serves the NVIDIA GPUs", subject=subject(state.served),
        evidence=state.evidence, severity=Severity.LOW,
    )  # fmt: skip


def subject(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Component keys of GPUs."""
    return tuple(f"gpu:{a}" for a in addresses)


def not_served(context: CheckContext, state: NvidiaModuleState) -> Finding:
    """The finding; a skip where neither a driver nor a CUDA package shows that the GPU is wanted for computing."""
    addresses = tuple(a for a, _ in state.unserved)
    drivers = sorted({d for _, d in state.unserved if d})
    holder = f"held by {', '.join(drivers)}" if drivers else "without a kernel driver"
    wheels = [w for w, _ in cuda_consumers(context) if w.name not in RUNTIMES]
    libraries = tuple(c for c in context.by_kind("libcuda", "libnvidia-ml") if c.origin == "driver")
    installed = bool(libraries or state.sources or state.built_here or state.built_for)
    if not installed and not wheels:
        return CHECK.skip(f"the NVIDIA GPU is {holder}, and nothing here is built for CUDA")
    cause = why(context, state, installed, drivers)
    users = f": {listed(label(context, w.key) for w in wheels)} cannot use it" if wheels and not installed else ""
    gpus = [c for a in addresses if (c := context.component(f"gpu:{a}")) is not None]
    return CHECK.finding(
        cause.status,
        f"no NVIDIA driver serves {gpus[0].name if gpus else 'the GPU'}: {cause.title}{users}",
        subject=(*subject(addresses), *(w.key for w in wheels)),
        detail=f"The GPU is {holder}. {cause.detail}",
        evidence=(*state.evidence, *(e for c in libraries for e in c.evidence)),
        confidence=cause.confidence,
        severity=Severity.HIGH if cause.status is Status.FAIL else Severity.MEDIUM,
        remedy=cause.remedy,
        commands=cause.commands,
    )


def why(context: CheckContext, state: NvidiaModuleState, installed: bool, drivers: list[str]) -> Why:
    """The cause that explains most, the kernel's own word first."""
    if context.fact(Container) is not None and context.fact(NvidiaKernelModule) is None:
        return Why(
            title="its host's kernel has none loaded", detail="A container uses its host's kernel.", remedy=ON_HOST
        )
    if not installed:
        nothing = "No library and no module of one was found."
        return Why(title="none is installed", detail=nothing, remedy=INSTALL, status=Status.WARN)
    if context.fact(NvidiaKernelModule) is not None:
        return loaded_and_not_bound(state, drivers)
    if any("unsigned" in t or "rejected" in t for t in state.refused):
        return unsigned(state, Confidence.OBSERVED)
    if state.forbidden:
        return forbidden(state)
    if not state.kernel_has_modules:
        return without_folder(state)
    if not state.built_here:
        return not_built(state)
    if state.secure_boot and (state.nouveau_forbidden or not LINUX_OWN & set(drivers)):
        return unsigned(state, Confidence.DERIVED)
    if LINUX_OWN & set(drivers):
        return taken(state)
    said = f" The kernel says: {state.refused[-1]}" if state.refused else ""
    return Why(
        title="its module is there for this kernel and is not loaded",
        detail=f"Nothing that was looked at forbids it.{said}",
        remedy="Load it with `modprobe nvidia` as root: what it prints, and the last lines of `dmesg`, name the reason. Where"
        " it loads, see that it is loaded at boot.",
        confidence=Confidence.DERIVED,
    )


def loaded_and_not_bound(state: NvidiaModuleState, drivers: list[str]) -> Why:
    """The module is loaded and left this device alone."""
    if LINUX_OWN & set(drivers):
        return taken(state)
    said = next((t for t in reversed(state.refused) if "NVRM" in t), "")
    return Why(
        title="its module is loaded and did not take this GPU",
        detail=f"The kernel says: {said}" if said else "The kernel's log says nothing of it that could be read.",
        remedy="Read `dmesg | grep NVRM`: it says whether the GPU needs an older (legacy) driver branch, the open kernel modules,"
        " or a firmware setting.",
        confidence=Confidence.OBSERVED if said else Confidence.DERIVED,
        status=Status.WARN,
    )


def unsigned(state: NvidiaModuleState, confidence: Confidence) -> Why:
    """Secure Boot."""
    seen = "The kernel refused a module without a signature that it trusts"
    return Why(
        title="Secure Boot refuses its module",
        detail=f"{seen}: {state.refused[-1]}" if confidence is Confidence.OBSERVED and state.refused
        else "Secure Boot is on, the module is built for this kernel and not forbidden, and yet it is not loaded.",
        remedy="Enrol the key that the module is signed with and reboot: `mokutil --import` with DKMS's key"
        " (/var/lib/shim-signed/mok/MOK.der on Ubuntu, /var/lib/dkms/mok.pub elsewhere, /etc/pki/akmods/certs/public_key.der on"
        " Fedora), then confirm it in the blue MOK screen at the next start. Or install the distribution's own signed module, or"
        " turn Secure Boot off in the firmware. `mokutil --sb-state` shows the state.",
        confidence=confidence,
    )  # fmt: skip


def forbidden(state: NvidiaModuleState) -> Why:
    """A line of modprobe.d or of the kernel's command line."""
    place, _, line = state.forbidden[0].partition(": ")
    return Why(
        title=f"its module is forbidden by {place}",
        detail=f"It says `{line}`. Laptops' switches between two GPUs write such lines (`prime-select intel`, optimus-manager).",
        remedy="If the GPU was switched off on purpose, nothing is to be done. Else switch it on with the tool that wrote the line"
        " (`prime-select nvidia` or `on-demand`), or take the line out, renew the initramfs and reboot.",
        status=Status.WARN,
    )


def without_folder(state: NvidiaModuleState) -> Why:
    """The running kernel's modules are gone, as after an update without a reboot; or they lie where only that system knows."""
    if state.built_for:
        return Why(
            title=f"the modules of the running kernel {state.kernel} are gone",
            detail=f"/lib/modules has NVIDIA's module for {', '.join(state.built_for)} only: the kernel was updated and is not the"
            " one that runs.",
            remedy="Reboot into the installed kernel.",
        )
    return Why(
        title="why its module is not loaded could not be told",
        detail=f"/lib/modules has no folder of the running kernel {state.kernel or '(unknown)'}.",
        remedy="Load it with `modprobe nvidia` as root: what it prints, and the last lines of `dmesg`, name the reason.",
        confidence=Confidence.DERIVED,
    )


def not_built(state: NvidiaModuleState) -> Why:
    """No module for this kernel."""
    seen = f"It is built for {', '.join(state.built_for)}. " if state.built_for else ""
    if state.sources:
        seen += f"DKMS has the source of {', '.join(state.sources)}. "
        headers = (
            "" if state.has_headers else f"The kernel's headers are missing: install those of {state.kernel} first. "
        )
        remedy = (
            f"{headers}Build it: `dkms autoinstall` as root, then `modprobe nvidia`. Where that fails, the log is"
            f" /var/lib/dkms/nvidia/{state.sources[-1]}/build/make.log; a driver older than the kernel often does not compile, then"
            " install a newer driver or start the older kernel."
        )
        commands = (Command(argv=("dkms", "status")), Command(argv=("dkms", "autoinstall"), needs_root=True))
        return Why(
            title=f"its module is not built for the running kernel {state.kernel}", detail=seen.strip(), remedy=remedy,
            commands=commands if state.has_headers else commands[:1],
        )  # fmt: skip
    return Why(
        title=f"its module is not there for the running kernel {state.kernel}",
        detail=seen.strip() or "The driver's libraries are installed, and no kernel has its module.",
        remedy="Install the distribution's package of the driver's kernel module for this kernel (Ubuntu:"
        f" linux-modules-nvidia-<branch>-{state.kernel}, or nvidia-dkms-<branch>; Arch: nvidia-open or nvidia-open-dkms; Fedora:"
        " akmod-nvidia; Debian: nvidia-kernel-dkms; with NVIDIA's .run file: run it again), or start the kernel that it was"
        " built for.",
    )


def taken(state: NvidiaModuleState) -> Why:
    """Linux' own driver was first."""
    secure = (
        " Secure Boot is on too: the module needs a signature that the firmware knows." if state.secure_boot else ""
    )
    if state.nouveau_forbidden:
        return Why(
            title="Linux' own driver holds it, though it is forbidden",
            detail=f"A rule against nouveau is there: the initramfs is older than it, or NVIDIA's module failed first.{secure}",
            remedy="Renew the initramfs (`update-initramfs -u` on Debian and Ubuntu, `dracut --force` on Fedora, openSUSE and RHEL,"
            " `mkinitcpio -P` on Arch) and reboot.",
            confidence=Confidence.DERIVED,
        )
    return Why(
        title="Linux' own driver holds it",
        detail=f"NVIDIA's module cannot take a device that another driver has, and nothing forbids nouveau.{secure}",
        remedy="Write `blacklist nouveau` and `options nouveau modeset=0` to /etc/modprobe.d/blacklist-nouveau.conf, renew the"
        " initramfs (`update-initramfs -u`, `dracut --force` or `mkinitcpio -P`) and reboot. The distributions' packages of the"
        " driver do this by themselves.",
    )


ON_HOST = (
    "Repair the driver on the host (run infra-doctor there), then start the container again. Nothing inside the container"
    " helps."
)
INSTALL = (
    "Install the NVIDIA driver by the distribution's package or NVIDIA's repository (it keeps nouveau off), then reboot. If the"
    " packages are meant for the CPU, nothing is to be done."
)
DRIVER_GUIDE = "https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/kernel-modules.html"
PROBE_ROUTINE = "https://github.com/MrMEEE/ironhide/issues/41"

CHECK = Check(
    id="NOUVEAU",
    title="NVIDIA's kernel module does not serve the GPU",
    explanation="""\
Without NVIDIA's kernel module there is no CUDA: *NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA
driver*, *Found no NVIDIA driver on your system*. The driver's libraries may all be installed. infra-doctor looks at the kernel
driver bound to each GPU and, where it is not NVIDIA's, tells the causes apart, because each has another remedy:

- no driver is installed;
- the module was **not built for the running kernel**, as after a kernel update (DKMS failed, or the headers are missing);
- the kernel was updated, its old modules are gone, and the machine was not rebooted;
- **Secure Boot** refuses a module without a signature that it trusts;
- **nouveau** (or nova), Linux' own driver, took the GPU first;
- a line in modprobe.d or on the kernel's command line forbids the module.

Not reported: a GPU under nouveau where neither a driver nor a package built for CUDA is installed; GPUs bound to vfio-pci,
which are kept for virtual machines; containers that were given no GPU. Where packages are built for CUDA and no driver is
installed it is a warning, as pip's usual PyTorch is such a package also on machines that compute on the CPU.""",
    remediation="Depends on the cause: build the module for the running kernel (`dkms autoinstall`), reboot after an update, enrol"
    " the module's key for Secure Boot, or keep nouveau off and renew the initramfs.",
    sources=(
        DRIVER_GUIDE,
        "https://github.com/CachyOS/linux-cachyos/issues/118",
        "https://github.com/gridhead/nvidia-auto-installer-for-fedora-linux/issues/75",
        "https://wiki.debian.org/SecureBoot",
        "https://github.com/dell/dkms",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"Failed to infer device type",
            source="https://github.com/vllm-project/vllm/issues/8885",
            strength=1,
        ),
        LogSignature(
            pattern=r"Error inserting nvidia[\w-]{0,12} \(",
            source="https://github.com/MrMEEE/bumblebee-Old-and-abbandoned/issues/196",
            strength=2,
        ),
        LogSignature(
            pattern=r"Unable to load the kernel module 'nvidia(?:\.ko)?'",
            source="https://github.com/luckyyyyy/blog/issues/72",
            strength=2,
        ),
        LogSignature(
            pattern=r"Loading of (?:unsigned module|module with unavailable key) is rejected",
            source="https://github.com/siderolabs/pkgs/issues/788",
            strength=1,
        ),
        LogSignature(
            pattern=r"failed call to cuInit: UNKNOWN ERROR \(303\)",
            source="https://github.com/secretflow/secretflow/issues/255",
            strength=1,
        ),
        LogSignature(
            pattern=r"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver",
            source="https://github.com/CachyOS/linux-cachyos/issues/118", strength=2,
        ),
        LogSignature(
            pattern=r"NVRM: The NVIDIA probe routine was not called for \d{1,3} device", source=PROBE_ROUTINE, strength=3,
        ),
        LogSignature(
            pattern=r"NVRM: This can occur when (?:a driver such as|another driver was loaded)", source=PROBE_ROUTINE,
            strength=3,
        ),
        LogSignature(
            pattern=r"(?:Found no|No) NVIDIA driver(?: found)? on your system",
            source="https://github.com/googlecolab/colabtools/issues/5136", strength=1,
        ),
        LogSignature(
            pattern=r"modprobe: FATAL: Module nvidia(?:[-_]\w{1,20})? not found in directory /lib/modules/",
            source="https://github.com/NVIDIA/nvidia-docker/issues/481", strength=3,
        ),
        LogSignature(
            pattern=r"could not insert (?:module )?'?nvidia[\w.-]{0,20}'?: (?:Required key not|Key was rejected)",
            source="https://github.com/lolo101/px1800kbd/issues/10", strength=3,
        ),
        LogSignature(
            pattern=r"kernel driver does not appear to be running on this host[^\n]{0,60}/proc/driver/nvidia/version",
            source="https://github.com/tensorflow/tensorflow/issues/5473", strength=2,
        ),
        LogSignature(
            pattern=r"nvml error: driver not loaded",
            source="https://github.com/NVIDIA/nvidia-container-toolkit/issues/1269", strength=2,
        ),
        LogSignature(
            pattern=r"no CUDA-capable device is detected",
            source="https://github.com/huggingface/candle/issues/2282", strength=1,
        ),
        LogSignature(
            pattern=r"libcuda\.so\.1: cannot open shared object file",
            source="https://github.com/cupy/cupy/issues/1790",
            strength=1,
        ),
        LogSignature(
            pattern=r"Consult /var/lib/dkms/nvidia[\w-]{0,20}/[\d.]{5,12}/build/make\.log",
            source="https://github.com/pop-os/pop/issues/3811",
            strength=3,
        ),
        LogSignature(
            pattern=r"DKMS module 'nvidia-[\d.]{5,12}' failed to build",
            source="https://github.com/voidlinux/void-packages/issues/4651",
            strength=3,
        ),
        LogSignature(
            pattern=r"dkms autoinstall on [^\n]{3,80} failed for nvidia",
            source="https://github.com/NVIDIA/open-gpu-kernel-modules/issues/635",
            strength=3,
        ),
        LogSignature(
            pattern=r"\bnvidia[\w-]{0,12}: (?:version magic '|disagrees about version of symbol)",
            source="https://github.com/negativo17/nvidia-driver/issues/97",
        ),
    ),
    explained_by=("OPEN-KM", "ARCH"),
    follows=lambda finding, cause: cause.id != "ARCH" or "driver:nvidia" in cause.subject,
    tags=("nvidia", "driver"),
)  # fmt: skip

CHECKS = (CHECK,)
