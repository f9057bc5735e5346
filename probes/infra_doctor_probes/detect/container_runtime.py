"""How containers get NVIDIA GPUs here: on a host the engines, NVIDIA's runtime and CDI; in a container what was asked for it.

Facts: Docker's daemon.json (docs.docker.com/reference/cli/dockerd), NVIDIA's config.toml and CDI specifications
(docs.nvidia.com/datacenter/cloud-native/container-toolkit), and the variables NVIDIA_VISIBLE_DEVICES and
NVIDIA_DRIVER_CAPABILITIES. Nothing is asked of a daemon. CUDA images set NVIDIA_VISIBLE_DEVICES=all themselves, so that value
alone says nothing of who started the container."""

import posixpath
import re
from collections.abc import Iterator
from typing import Any

from infra_doctor.plugin import Evidence, EvidenceKind, Machine, Probe, ProbeContext, fact, record
from infra_doctor_probes.detect.nvidia_driver import NvidiaKernelModule
from infra_doctor_probes.detect.system import Container

DAEMON, SNAP_DAEMON = "/etc/docker/daemon.json", "/var/snap/docker/current/config/daemon.json"
TOOLKIT_CONFIG = "/etc/nvidia-container-runtime/config.toml"
TOOLS = (
    "nvidia-ctk",
    "nvidia-container-runtime",
    "nvidia-container-runtime-hook",
    "nvidia-container-cli",
    "nvidia-cdi-hook",
)
CDI_FOLDERS = ("/etc/cdi", "/var/run/cdi", "/run/cdi")
# The device plug-in's "volume-mounts" strategy: one entry per device (NVIDIA/k8s-device-plugin, deviceListStrategy).
DEVICE_MOUNTS = "/var/run/nvidia-container-devices"
LIBRARY = r"hostPath[\"']?\s{0,4}:\s{0,4}[\"']?(/[^\s\"',]{1,300}/libcuda\.so\.(\d+\.\d+(?:\.\d+)?))"
SETTING = r"""^\s{0,8}(mode|no-cgroups)\s{0,8}=\s{0,8}["']?([\w-]{1,20})"""
SPEC_CAP, TEXT_CAP_BYTES = 20, 2 << 20


@record
class CdiSpec:
    """A CDI specification of NVIDIA GPUs: the driver version that it names, and which of its libcuda is not on disk."""

    path: str
    driver_version: str
    missing: tuple[str, ...] = ()


@fact("container-runtimes", 1)
@record
class ContainerRuntimes:
    """The container engines of a host with an NVIDIA driver. `config` is Docker's settings file that was read ("" for none),
    `config_error` why it is not valid; `runtimes` are (name, program) out of it, `absent` those whose program is not there.
    `char_links` is whether /dev/char links to the control device; `no_cgroups` the file that says so."""

    engines: tuple[str, ...]
    docker: bool = False
    snap: bool = False
    rootless: bool = False
    tools: tuple[str, ...] = ()  # paths of NVIDIA's
    config: str = ""
    config_error: str = ""
    runtimes: tuple[tuple[str, str], ...] = ()
    absent: tuple[str, ...] = ()
    default_runtime: str = ""
    cgroup_driver: str = ""  # as set, "" where Docker chooses
    mode: str = ""
    no_cgroups: str = ""
    char_links: bool | None = None
    cdi: tuple[CdiSpec, ...] = ()
    evidence: tuple[Evidence, ...] = ()


@fact("container-gpu-request", 1)
@record
class ContainerGpuRequest:
    """What was asked for this container. `devices` is "all", "none" (also void), "named" (indexes, UUIDs or CDI names), "mounts"
    (Kubernetes' list) or "" for nothing; `count` how many are named. `capabilities` are what of the driver it asks for."""

    devices: str
    count: int | None = None
    capabilities: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """ContainerGpuRequest in a container, ContainerRuntimes on a host whose NVIDIA driver is loaded."""
    machine: Machine = ctx.machine
    if ctx.fact(Container) is not None:
        yield request(machine)
    elif ctx.fact(NvidiaKernelModule) is not None:
        found = runtimes(machine)
        if found.engines or found.cdi or found.tools:
            yield found


# -- in a container -----------------------------------------------------------------------------------------------


def request(machine: Machine) -> ContainerGpuRequest:
    """Out of the environment and Kubernetes' mounts."""
    value = machine.environ.get("NVIDIA_VISIBLE_DEVICES")
    capabilities = machine.environ.get("NVIDIA_DRIVER_CAPABILITIES", "")
    names = [n.strip() for n in (value or "").split(",") if n.strip()]
    mounts = machine.names(DEVICE_MOUNTS)
    if mounts or names[:1] == [DEVICE_MOUNTS]:
        devices, count = "mounts", len(mounts) or None
    elif not names:
        devices, count = "", None
    elif names[0] in {"void", "none"}:
        devices, count = "none", 0
    elif names[0] == "all":
        devices, count = "all", None
    else:
        devices, count = "named", len(names)
    evidence = []
    if value is not None:
        # Indexes and words are shown as they are; UUIDs are redacted where the report leaves.
        evidence.append(
            Evidence(kind=EvidenceKind.ENVIRONMENT, source="NVIDIA_VISIBLE_DEVICES", text=value[:200] or "(empty)")
        )
    if mounts:
        shown = f"{len(mounts)} entries"
        evidence.append(Evidence(kind=EvidenceKind.DIRECTORY, source=DEVICE_MOUNTS, text=shown))
    if capabilities:
        evidence.append(
            Evidence(kind=EvidenceKind.ENVIRONMENT, source="NVIDIA_DRIVER_CAPABILITIES", text=capabilities[:200])
        )
    asked = tuple(sorted({c.strip() for c in capabilities.split(",") if c.strip()}))
    return ContainerGpuRequest(devices=devices, count=count, capabilities=asked[:20], evidence=tuple(evidence))


# -- on a host ----------------------------------------------------------------------------------------------------


def runtimes(machine: Machine) -> ContainerRuntimes:
    """Engines, NVIDIA's programs, Docker's settings and the CDI specifications."""
    snap = machine.exists("/snap/docker/current") or machine.exists("/var/snap/docker")
    programs = {name: machine.which(name) for name in ("docker", "dockerd", "podman", "containerd")}
    if (programs["docker"] or "").startswith("/snap/"):
        programs["docker"] = None
    docker = bool(programs["docker"] or programs["dockerd"])
    engines = [n for n in ("docker", "podman", "containerd") if programs[n]] + (["docker (snap)"] if snap else [])
    tools = tuple(p for name in TOOLS if (p := machine.which(name)) is not None)
    evidence = [
        Evidence(kind=EvidenceKind.FILE, source=p, text="is there") for p in (*filter(None, programs.values()), *tools)
    ]
    if snap:
        evidence.append(Evidence(kind=EvidenceKind.DIRECTORY, source="/var/snap/docker", text="Docker as a snap"))
    config = DAEMON if docker or not snap else SNAP_DAEMON
    settings, error, shown = read_settings(machine, config) if docker or snap else ({}, "", "")
    if shown:
        evidence.append(Evidence(kind=EvidenceKind.FILE, source=config, text=shown))
    named = settings.get("runtimes")
    programs_of = {str(n): program(v) for n, v in named.items()} if isinstance(named, dict) else {}
    absent = tuple(n for n, p in programs_of.items() if p and not found_program(machine, p))
    options = [o for o in settings.get("exec-opts") or () if isinstance(o, str)] if settings else []
    mode, no_cgroups = toolkit_settings(machine)
    if no_cgroups:
        evidence.append(Evidence(kind=EvidenceKind.FILE, source=no_cgroups, text="no-cgroups = true"))
    specs = tuple(cdi_specs(machine))
    evidence += [Evidence(kind=EvidenceKind.FILE, source=s.path, text=f"driver {s.driver_version}") for s in specs]
    return ContainerRuntimes(
        engines=tuple(engines),
        docker=docker,
        snap=snap,
        rootless=bool(machine.glob("/run/user/*/docker.sock")),
        tools=tools,
        config=config if shown else "",
        config_error=error,
        runtimes=tuple(sorted(programs_of.items())[:20]),
        absent=absent,
        default_runtime=str(settings.get("default-runtime") or "")[:60],
        cgroup_driver=next((o.partition("=")[2] for o in options if o.startswith("native.cgroupdriver=")), ""),
        mode=mode,
        no_cgroups=no_cgroups,
        char_links=machine.stat("/dev/char/195:255", follow=False) is not None if machine.names("/dev/char") else None,
        cdi=specs,
        evidence=tuple(evidence),
    )


def read_settings(machine: Machine, path: str) -> tuple[dict[str, Any], str, str]:
    """(Docker's settings, why they are not valid, what to show of them)."""
    text = machine.read_text(path, max_bytes=1 << 18, quiet=True)
    if text is None:
        return {}, "", ""
    import json  # only hosts with Docker's settings need it

    try:
        found = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return {}, "it holds no valid JSON object", "no valid JSON object"
    kept = {k: found[k] for k in ("runtimes", "default-runtime", "exec-opts", "features") if k in found}
    return found, "", json.dumps(kept)[:300]


def program(runtime: object) -> str:
    """The program of a runtime in Docker's settings."""
    path = runtime.get("path") if isinstance(runtime, dict) else None
    return path[:300] if isinstance(path, str) else ""


def found_program(machine: Machine, path: str) -> bool:
    """Whether the daemon would find it; it looks at the usual PATH of services."""
    if path.startswith("/"):
        return machine.exists(path)
    folders = (
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
        "/run/current-system/sw/bin",
    )
    return machine.which(path) is not None or any(machine.exists(posixpath.join(f, path)) for f in folders)


def toolkit_settings(machine: Machine) -> tuple[str, str]:
    """(mode, the file that sets no-cgroups = true) of NVIDIA's runtime."""
    text = machine.read_text(TOOLKIT_CONFIG, max_bytes=65536, quiet=True) or ""
    found = {m.group(1): m.group(2) for m in re.finditer(SETTING, text, re.MULTILINE)}
    return found.get("mode", ""), TOOLKIT_CONFIG if found.get("no-cgroups") == "true" else ""


def cdi_specs(machine: Machine) -> Iterator[CdiSpec]:
    """The specifications of NVIDIA GPUs, each file once though folders link to one another."""
    seen = set()
    for folder in dict.fromkeys(machine.realpath(f) for f in CDI_FOLDERS):
        for name in machine.names(folder)[:SPEC_CAP]:
            path = posixpath.join(folder, name)
            if not name.endswith((".yaml", ".yml", ".json")) or path in seen or not machine.is_file(path):
                continue
            seen.add(path)
            text = machine.read_text(path, max_bytes=TEXT_CAP_BYTES, quiet=True) or ""
            libraries = dict.fromkeys(m.groups() for m in re.finditer(LIBRARY, text))
            if "nvidia.com/" in text and libraries:
                yield CdiSpec(
                    path=path,
                    driver_version=next(iter(libraries))[1],
                    missing=tuple(p for p, _ in libraries if not machine.exists(p))[:10],
                )


PROBES = (
    Probe(
        id="container-runtime",
        version=1,
        title="Container engines, NVIDIA's container runtime and CDI",
        run=run,
        after=("system", "nvidia-driver"),
        environment=("NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"),
        collect=(
            DAEMON, SNAP_DAEMON, TOOLKIT_CONFIG, *(f"{f}/*" for f in CDI_FOLDERS), DEVICE_MOUNTS, "/dev/char/195:*",
            "/snap/docker/current", "/var/snap/docker", "/run/user/*/docker.sock", "which:docker", "which:dockerd",
            "which:podman", "which:containerd", *(f"which:{t}" for t in TOOLS),
        ),
    ),
)  # fmt: skip
