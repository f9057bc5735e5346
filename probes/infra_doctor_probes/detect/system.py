"""The operating system, its C library, CPU and memory, and whether we look out of a container, WSL or a virtual machine.

Facts come from os-release(5), /proc, /sys and the ELF of the C library that the target's interpreter names. Nothing is
judged here: a marker is a marker."""

import posixpath
from collections.abc import Iterator

from infra_doctor.plugin import (
    AttributeValue,
    Capability,
    Component,
    Evidence,
    EvidenceKind,
    Machine,
    Probe,
    ProbeContext,
    fact,
    kernel_evidence,
    numbers,
    record,
)

ARCHITECTURES = {62: "x86_64", 183: "aarch64", 243: "riscv64", 21: "ppc64le", 258: "loongarch64"}  # ELF e_machine
# In /proc/1/cgroup, under cgroup v1 or without a cgroup namespace, the path names who made the container.
CGROUP_MARKERS = (
    ("kubepods", "kubernetes"),
    ("libpod", "podman"),
    ("docker", "docker"),
    ("containerd", "containerd"),
    ("lxc", "lxc"),
)


@fact("container", 1)
@record
class Container:
    """We look from inside a container: `runtime` is docker, podman, kubernetes, lxc …, as the markers name it."""

    runtime: str
    evidence: tuple[Evidence, ...] = ()


@fact("wsl", 1)
@record
class Wsl:
    """Windows Subsystem for Linux. Version 2 has a kernel of its own and, with `gpu`, the paravirtual GPU /dev/dxg."""

    version: int
    gpu: bool
    evidence: tuple[Evidence, ...] = ()


@fact("virtualization", 1)
@record
class Virtualization:
    """A guest of a hypervisor. `product` is what the firmware calls the machine ("QEMU Standard PC"), where it says so."""

    product: str
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """os, libc, cpu and memory components; Container, Wsl and Virtualization where they apply."""
    machine: Machine = ctx.machine
    kernel_state = Capability.KERNEL_STATE in machine.capabilities
    libc = find_libc(machine, tuple(t.executable for t in ctx.targets))
    container = find_container(machine, kernel_state)
    wsl = find_wsl(machine) if kernel_state else None
    yield operating_system(machine, kernel_state, libc, container, wsl)
    if libc is not None:
        yield libc
    if container is not None:
        yield container
    if wsl is not None:
        yield wsl
    if kernel_state:
        yield from cpu_and_memory(machine)


def operating_system(
    machine: Machine, kernel_state: bool, libc: Component | None, container: Container | None, wsl: Wsl | None
) -> Component:
    """The os component. os-release(5): ID is "linux" where it is not said."""
    release, evidence = os_release(machine)
    attributes: dict[str, AttributeValue] = {"wsl": wsl is not None}
    if kernel_state:
        uname = machine.system()
        kernel = kernel_release(machine) or str(uname.get("release") or "")
        # Under another root the kernel's own word may be missing; what its C library is built for stands for it.
        arch = uname.get("machine") or (libc.attributes.get("arch") if libc else None)
        attributes |= {"kernel": kernel, "arch": arch, "page_size": uname.get("page_size")}
        evidence = (*evidence, kernel_evidence("/proc/sys/kernel/osrelease", kernel))
    elif libc is not None:
        attributes["arch"] = libc.attributes.get("arch")
    if container is not None:
        attributes["container"] = container.runtime
    return Component(
        key="os:" + (release.get("ID") or "linux"),
        kind="os",
        name=release.get("PRETTY_NAME") or release.get("NAME") or "Linux",
        version=release.get("VERSION_ID") or None,
        attributes=attributes,
        evidence=evidence,
    )


def os_release(machine: Machine) -> tuple[dict[str, str], tuple[Evidence, ...]]:
    """The fields of os-release(5) and where they were read."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        text = machine.read_text(path, max_bytes=65536)
        if text is None:
            continue
        fields = {}
        for line in text.splitlines():
            name, equals, value = line.strip().partition("=")
            if equals and name.isidentifier():
                fields[name] = value.strip().strip("\"'")[:200]
        if text and not fields:
            machine.note_problem(path, "no field in it that could be understood")
        shown = " ".join(f"{k}={fields[k]}" for k in ("ID", "VERSION_ID") if k in fields)
        return fields, (Evidence(kind=EvidenceKind.FILE, source=path, text=shown),)
    return {}, ()


def kernel_release(machine: Machine) -> str:
    """The running kernel's release, e.g. "6.8.0-60-generic"."""
    return (machine.read_text("/proc/sys/kernel/osrelease", max_bytes=1000, quiet=True) or "").strip()


# -- the C library ------------------------------------------------------------------------------------------------


def find_libc(machine: Machine, executables: tuple[str, ...]) -> Component | None:
    """The C library that the first readable executable loads; the system's own where there is no target."""
    for executable in (*executables, "/bin/sh", "/usr/bin/env"):
        elf = machine.elf(executable, quiet=True)
        if elf is None or elf.interp is None:
            continue
        interp = machine.realpath(elf.interp)
        arch = ARCHITECTURES.get(elf.machine)
        named = Evidence(kind=EvidenceKind.ELF, source=elf.path, text=f"PT_INTERP {elf.interp}")
        if posixpath.basename(elf.interp).startswith("ld-musl"):
            return Component(
                key="libc:musl", kind="libc", name="musl", location=interp, attributes={"arch": arch}, evidence=(named,)
            )
        return glibc(machine, interp, elf.machine, arch, named)
    return None


def glibc(machine: Machine, interp: str, elf_machine: int, arch: str | None, named: Evidence) -> Component | None:
    """glibc by the newest symbol version that its libc.so.6 defines.

    A release may define none of its own (2.19 to 2.21 did not), so the running process's own word counts where it is a
    little ahead."""
    multiarch = f"{arch}-linux-gnu"
    folders = [posixpath.dirname(interp), f"/lib/{multiarch}", f"/usr/lib/{multiarch}", "/lib64", "/usr/lib64", "/lib"]
    for folder in dict.fromkeys(folders):
        elf = machine.elf(posixpath.join(folder, "libc.so.6"), quiet=True)
        defined = [v.removeprefix("GLIBC_") for v in (elf.version_defs if elf else ()) if v.startswith("GLIBC_2")]
        if elf is None or elf.machine != elf_machine or not defined:
            continue
        version = max(defined, key=numbers)
        evidence = [named, Evidence(kind=EvidenceKind.ELF, source=elf.path, text=f"defines GLIBC_{version}")]
        running = running_glibc(machine)
        if 0 < minor(running) - minor(version) <= 3:
            version = running
            evidence.append(Evidence(kind=EvidenceKind.KERNEL, source="confstr(CS_GNU_LIBC_VERSION)", text=running))
        return Component(
            key="libc:glibc",
            kind="libc",
            name="glibc",
            version=version,
            location=elf.path,
            attributes={"arch": arch},
            evidence=tuple(evidence),
        )
    return None


def running_glibc(machine: Machine) -> str:
    """What the C library of the agent's own process says, "" where the machine is only looked at by files."""
    if machine.form == "rooted" or Capability.KERNEL_STATE not in machine.capabilities:
        return ""
    name, _, version = str(machine.system().get("libc", "")).partition(" ")
    return version if name == "glibc" else ""


def minor(version: str) -> int:
    """The second number of a glibc version, 0 where there is none."""
    found = numbers(version)
    return found[1] if len(found) > 1 else 0


# -- where we look from -------------------------------------------------------------------------------------------


def find_container(machine: Machine, kernel_state: bool) -> Container | None:
    """The container that we look out of, by the markers that its runtime leaves."""
    found: list[tuple[str, Evidence]] = []
    if "KUBERNETES_SERVICE_HOST" in machine.environ:
        found.append(
            ("kubernetes", Evidence(kind=EvidenceKind.ENVIRONMENT, source="KUBERNETES_SERVICE_HOST", text="set"))
        )
    for path, runtime in (
        ("/.singularity.d", "apptainer"),
        ("/run/.containerenv", "podman"),
        ("/.dockerenv", "docker"),
    ):
        if machine.exists(path):
            found.append((runtime, Evidence(kind=EvidenceKind.FILE, source=path, text="exists")))
    named = (machine.read_text("/run/systemd/container", max_bytes=200, quiet=True) or "").strip()
    if named and named != "wsl":
        found.append((named, Evidence(kind=EvidenceKind.FILE, source="/run/systemd/container", text=named)))
    if kernel_state:
        cgroup = machine.read_text("/proc/1/cgroup", max_bytes=16384, quiet=True) or ""
        for marker, runtime in CGROUP_MARKERS:
            if marker in cgroup:
                found.append((runtime, kernel_evidence("/proc/1/cgroup", f"a path holds {marker!r}")))
                break
    if not found:
        return None
    return Container(runtime=found[0][0], evidence=tuple(evidence for _, evidence in found))


def find_wsl(machine: Machine) -> Wsl | None:
    """WSL by its kernel's name; by /dev/dxg and the libraries that only WSL mounts where the kernel is self-built."""
    release = kernel_release(machine)
    dxg = machine.exists("/dev/dxg")
    evidence = [kernel_evidence("/dev/dxg", "exists")] if dxg else []
    if "microsoft" in release.lower():
        evidence.insert(0, kernel_evidence("/proc/sys/kernel/osrelease", release))
        # WSL 1 ("4.4.0-19041-Microsoft") translates system calls and has no Linux kernel of its own.
        version = 1 if release.endswith("-Microsoft") and not dxg else 2
        return Wsl(version=version, gpu=dxg, evidence=tuple(evidence))
    if dxg and machine.is_dir("/usr/lib/wsl/lib"):
        return Wsl(version=2, gpu=True, evidence=tuple(evidence))
    return None


def cpu_and_memory(machine: Machine) -> Iterator[object]:
    """The cpu and memory components, and Virtualization where a hypervisor shows."""
    text = machine.read_text("/proc/cpuinfo", max_bytes=16384, quiet=True) or ""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    uname = machine.system()
    name = (
        fields.get("model name") or fields.get("Model Name") or arm_name(fields) or str(uname.get("machine") or "CPU")
    )
    yield Component(
        key="cpu:0",
        kind="cpu",
        name=name[:200],
        attributes={"cores": uname.get("cpus")},
        evidence=(kernel_evidence("/proc/cpuinfo", name),),
    )
    yield from memory(machine)
    vendor, product = (
        (machine.read_text(f"/sys/class/dmi/id/{name}", max_bytes=200, quiet=True) or "").strip()
        for name in ("sys_vendor", "product_name")
    )
    if "hypervisor" in fields.get("flags", "").split():
        shown = " ".join(filter(None, (vendor, product)))
        evidence = [kernel_evidence("/proc/cpuinfo", "flag hypervisor")]
        if shown:
            evidence.append(kernel_evidence("/sys/class/dmi/id", shown))
        yield Virtualization(product=shown, evidence=tuple(evidence))


def arm_name(fields: dict[str, str]) -> str:
    """Arm kernels give numbers instead of a name."""
    if "CPU implementer" not in fields:
        return ""
    return f"Arm implementer {fields['CPU implementer']} part {fields.get('CPU part', '?')}"


def memory(machine: Machine) -> Iterator[Component]:
    """Total memory, and the limit of our control group where it is lower."""
    text = machine.read_text("/proc/meminfo", max_bytes=4096, quiet=True) or ""
    lines = [line.split() for line in text.splitlines() if line.startswith("MemTotal:")]
    if not lines or len(lines[0]) < 2 or not lines[0][1].isdecimal():
        return
    total_bytes = int(lines[0][1]) * 1024
    attributes: dict[str, AttributeValue] = {"total_bytes": total_bytes}
    evidence = [kernel_evidence("/proc/meminfo", " ".join(lines[0]))]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        limit = (machine.read_text(path, max_bytes=100, quiet=True) or "").strip()
        if limit.isdecimal() and int(limit) < total_bytes:
            attributes["limit_bytes"] = int(limit)
            evidence.append(kernel_evidence(path, limit))
            break
    yield Component(key="memory:0", kind="memory", name="memory", attributes=attributes, evidence=tuple(evidence))


PROBES = (
    Probe(
        id="system",
        version=1,
        title="Operating system, C library, CPU, memory",
        run=run,
        environment=("KUBERNETES_SERVICE_HOST",),
        collect=(
            "/etc/os-release", "/usr/lib/os-release", "/lib*/libc.so.6", "/lib/*-linux-gnu/libc.so.6",
            "/.dockerenv", "/run/.containerenv", "/.singularity.d", "/run/systemd/container",
            "/proc/sys/kernel/osrelease", "/proc/1/cgroup", "/proc/cpuinfo", "/proc/meminfo",
            "/sys/class/dmi/id/sys_vendor", "/sys/class/dmi/id/product_name", "/sys/fs/cgroup/memory.max",
        ),
    ),
)  # fmt: skip
