"""CTR-TOOLKIT: containers get no GPU: NVIDIA's container runtime is missing, broken or of another driver, or was not used.

On a host it speaks only where something is set up for GPUs in containers and cannot work; in a container only where a GPU was
asked for and its host has one."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Command,
    Evidence,
    Finding,
    LogSignature,
    Severity,
    Status,
    version_key,
)
from infra_doctor_probes.detect.container_runtime import CdiSpec, ContainerGpuRequest, ContainerRuntimes
from infra_doctor_probes.detect.nvidia_driver import NvidiaDeviceNodes, NvidiaKernelModule
from infra_doctor_probes.detect.pci import PciDevice
from infra_doctor_probes.detect.system import Container
from infra_doctor_probes.from_matrix import label, listed
from infra_doctor_probes.in_target import Seen, nvidia_gpu
from infra_doctor_probes.tables.common import RUNTIMES, cuda_consumers, is_wsl


def run(context: CheckContext) -> Iterator[Finding]:
    """The findings of the host's set-up, or the one on this container."""
    container = context.fact(Container)
    request = context.fact(ContainerGpuRequest)
    runtimes = context.fact(ContainerRuntimes)
    if container is not None and request is not None:
        yield inside(context, container, request)
    elif runtimes is None:
        yield CHECK.skip("no container engine beside an NVIDIA driver is here")
    else:
        found = tuple(on_host(context, runtimes))
        yield from found or (in_order(runtimes),)


# -- on a host ----------------------------------------------------------------------------------------------------


def on_host(context: CheckContext, runtimes: ContainerRuntimes) -> Iterator[Finding]:
    """What cannot work of what is set up."""
    wanted = bool(runtimes.tools) or "nvidia" in dict(runtimes.runtimes)
    if runtimes.config_error:
        yield CHECK.finding(
            Status.FAIL if wanted else Status.WARN,
            f"Docker's settings cannot be read: {runtimes.config} is not valid",
            subject=(f"file:{runtimes.config}",),
            detail="It holds no valid JSON object. Docker does not start with it, or runs on with what it read before.",
            evidence=runtimes.evidence,
            remedy=f"Repair {runtimes.config} (`dockerd --validate --config-file {runtimes.config}` tells the place), then restart"
            " Docker.",
            commands=(Command(argv=("dockerd", "--validate", "--config-file", runtimes.config)),),
        )
    absent = [n for n in runtimes.absent if "nvidia" in n]
    if absent:
        first = f"{listed(absent)} ({dict(runtimes.runtimes)[absent[0]]})"
        every = runtimes.default_runtime in absent
        yield CHECK.finding(
            Status.FAIL,
            f"Docker is set to the runtime {first}, which is not installed",
            subject=(f"file:{runtimes.config}",),
            detail="It is the default runtime, so no container starts."
            if every
            else "Containers that ask for it do not start.",
            evidence=runtimes.evidence,
            remedy=INSTALL,
        )
    module = context.fact(NvidiaKernelModule)
    if module is not None:
        for spec in runtimes.cdi:
            if spec.missing or version_key(spec.driver_version) != version_key(module.version):
                yield stale(runtimes, spec, module.version)
    if runtimes.snap and not runtimes.docker and runtimes.tools:
        yield CHECK.finding(
            Status.WARN,
            "Docker is a snap: it does not see the NVIDIA container runtime that is installed",
            subject=("file:/var/snap/docker",),
            detail="A snap's Docker reads its own settings in /var/snap/docker and not /etc/docker/daemon.json, and starts only"
            " programs inside the snap.",
            evidence=runtimes.evidence,
            remedy="Use Docker's own packages instead of the snap (docs.docker.com/engine/install), then `nvidia-ctk runtime"
            " configure --runtime=docker` and restart Docker; or use the GPU support that newer snaps bring themselves.",
            severity=Severity.MEDIUM,
        )


def stale(runtimes: ContainerRuntimes, spec: CdiSpec, loaded: str) -> Finding:
    """A CDI specification of another driver than the one that runs."""
    gone = f"; {listed(spec.missing)} is not there any more, so no container that asks for a GPU by CDI starts"
    return CHECK.finding(
        Status.FAIL if spec.missing else Status.WARN,
        f"the CDI specification {spec.path} is of driver {spec.driver_version}, and {loaded} is loaded",
        subject=("driver:nvidia", f"file:{spec.path}"),
        detail=f"It lists the driver's files by name{gone if spec.missing else ''}.",
        evidence=runtimes.evidence,
        remedy="Write it anew: `nvidia-ctk cdi generate` (the service nvidia-cdi-refresh of NVIDIA Container Toolkit 1.18 and newer"
        " does it after each change of the driver).",
        commands=(Command(argv=("nvidia-ctk", "cdi", "generate", f"--output={spec.path}"), needs_root=True),),
        severity=Severity.HIGH if spec.missing else Severity.MEDIUM,
    )


def in_order(runtimes: ContainerRuntimes) -> Finding:
    """Nothing is wrong, or nobody asks for GPUs in containers."""
    if not runtimes.tools and not runtimes.cdi:
        return CHECK.skip(
            f"{listed(runtimes.engines)} is here without NVIDIA's container runtime: containers get no GPU, and nothing asks for it"
        )
    if not runtimes.engines:
        return CHECK.skip("NVIDIA's container runtime is installed, and no container engine is")
    named = "" if "nvidia" in dict(runtimes.runtimes) or not runtimes.docker else (
        "Docker's settings do not name the runtime `nvidia`: `--gpus` works, `--runtime=nvidia` does not."
    )  # fmt: skip
    return CHECK.finding(
        Status.PASS, f"NVIDIA's container runtime is installed beside {listed(runtimes.engines)}",
        subject=("driver:nvidia",), detail=named, evidence=runtimes.evidence, severity=Severity.LOW,
    )  # fmt: skip


# -- in a container -----------------------------------------------------------------------------------------------


def inside(context: CheckContext, container: Container, request: ContainerGpuRequest) -> Finding:
    """Whether what was asked for this container reached it."""
    nodes = context.fact(NvidiaDeviceNodes)
    host_has = context.fact(NvidiaKernelModule) is not None or any(
        d.vendor == "nvidia" for d in context.facts(PciDevice)
    )
    if is_wsl(context):
        return CHECK.skip("under WSL the GPU comes by /dev/dxg (WSL)")
    if not host_has:
        return CHECK.skip("this container's host shows no NVIDIA GPU")
    evidence = (*request.evidence, *container.evidence, *(nodes.evidence if nodes else ()))
    if not nodes or not (nodes.gpus or "/dev/nvidiactl" in nodes.others):
        if request.devices in {"", "none"}:
            return CHECK.skip("no GPU was asked for this container")
        if container.runtime == "kubernetes":
            return CHECK.skip("whether Kubernetes gave this pod its GPUs is K8S-DEVICE")
        users = [w for w, _ in cuda_consumers(context) if w.name not in RUNTIMES]
        wanted = bool(users) or request.devices == "named"
        return CHECK.finding(
            Status.FAIL if wanted else Status.WARN,
            "this container asks for NVIDIA GPUs and got none",
            subject=("accelerator:nvidia", *(w.key for w in users)),
            detail="NVIDIA_VISIBLE_DEVICES is set, its host has an NVIDIA GPU, and no device file of NVIDIA is here: it was"
            f" started without NVIDIA's runtime.{used_by(context)}",
            evidence=evidence,
            remedy=START,
        )
    return libraries(context, container, request, evidence)


def libraries(
    context: CheckContext, container: Container, request: ContainerGpuRequest, evidence: tuple[Evidence, ...]
) -> Finding:
    """Whether the driver's libraries came with the device files."""
    given = [c for c in context.by_kind("libcuda", "libnvidia-ml") if c.origin == "driver"]
    kinds = {c.kind for c in given if "/stubs/" not in (c.location or "")}
    users = [w for w, _ in cuda_consumers(context) if w.name not in RUNTIMES]
    seen = (*evidence, *(e for c in given for e in c.evidence))
    subject = ("driver:nvidia", *(w.key for w in users))
    asked = ", ".join(request.capabilities)
    if not kinds and not users and request.devices in {"", "none"} and container.runtime in SHARES_DEV:
        return CHECK.skip("device files of NVIDIA show here without the driver's libraries, and nothing asks for a GPU")
    remedy = CAPABILITIES if asked else SHARES_DEV.get(container.runtime, CAPABILITIES)
    if "libcuda" not in kinds and (users or not kinds) and nvidia_gpu(context) is Seen.PRESENT:
        why = (
            f"NVIDIA_DRIVER_CAPABILITIES is {asked}, without compute."
            if request.capabilities and not {"compute", "all"} & set(request.capabilities)
            else "The device files were given without NVIDIA's runtime, which mounts the host's libraries too."
        )
        return CHECK.finding(
            Status.FAIL, "this container has the GPU's device files and no libcuda", subject=subject,
            detail=why + used_by(context), evidence=seen, remedy=remedy,
        )  # fmt: skip
    if "libnvidia-ml" not in kinds and nvidia_gpu(context) is Seen.PRESENT:
        return CHECK.finding(
            Status.WARN, "this container has no libnvidia-ml: nvidia-smi and NVML do not work in it", subject=subject,
            detail=f"NVIDIA_DRIVER_CAPABILITIES is {asked or 'not set'}; `utility` brings it. CUDA does not need it.",
            evidence=seen, remedy=remedy, severity=Severity.LOW,
        )  # fmt: skip
    return CHECK.finding(
        Status.PASS, "this container got device files and libraries of the NVIDIA driver", subject=("driver:nvidia",),
        evidence=seen, severity=Severity.LOW,
    )  # fmt: skip


def used_by(context: CheckContext) -> str:
    """Who would use it."""
    users = [label(context, w.key) for w, _ in cuda_consumers(context) if w.name not in RUNTIMES]
    return f" {listed(users)} would use it." if users else ""


INSTALL = (
    "Install NVIDIA Container Toolkit (package nvidia-container-toolkit), register it (`nvidia-ctk runtime configure"
    " --runtime=docker`) and restart Docker."
)
START = (
    "Start it with `docker run --gpus all …` (Compose: a reservation of `driver: nvidia` devices), with Podman"
    " `--device nvidia.com/gpu=all`, with Singularity `--nv`. Where the engine refuses that, install NVIDIA Container Toolkit on"
    " the host. If it is meant for the CPU, unset NVIDIA_VISIBLE_DEVICES, which CUDA images set."
)
# Containers that see their host's /dev anyway: by the runtime's name, what brings the libraries too.
SHARES_DEV = {
    "apptainer": "Start it with `apptainer exec --nv …` (Singularity alike), which mounts the host's driver libraries.",
    "podman": "Start it with `--device nvidia.com/gpu=all` (CDI brings the libraries); a Distrobox is created anew with `distrobox"
    " create --nvidia …`.",
}
CAPABILITIES = (
    "Start the container by NVIDIA's runtime or CDI with `-e NVIDIA_DRIVER_CAPABILITIES=compute,utility` (or `all`); device files"
    " named by hand bring no libraries."
)
GUIDE = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html"

CHECK = Check(
    id="CTR-TOOLKIT",
    title="Containers get no NVIDIA GPU",
    explanation="""\
A container needs its host's driver: device files and libraries, which NVIDIA Container Toolkit (or CDI) brings into it.
Without it Docker says *could not select device driver "" with capabilities: [[gpu]]* or *unknown or invalid runtime name:
nvidia*, and a container that starts anyway finds no GPU.

On a host infra-doctor looks at Docker's settings (valid, and the program of the runtime `nvidia` there), at CDI specifications
that name another driver's files than the loaded one's, and at a Docker that is a snap. In a container it compares what was asked
for (NVIDIA_VISIBLE_DEVICES, NVIDIA_DRIVER_CAPABILITIES) with what is there: device files without libcuda, or nothing at all
though its host has a GPU.

Not reported: a Docker without NVIDIA's runtime where nothing asks for it; a runtime that Docker's settings do not name, for
`--gpus` works without that; containers that ask for no GPU.""",
    remediation=INSTALL,
    sources=(
        GUIDE,
        "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/cdi-support.html",
        "https://github.com/NVIDIA/nvidia-docker/issues/1034",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"Failed to infer device type",
            source="https://github.com/vllm-project/vllm/issues/27268",
            strength=1,
        ),
        LogSignature(
            pattern=r'could not select device driver "\w{0,20}" with capabilities: \[\[(?!gpu)',
            source="https://github.com/AbdBarho/stable-diffusion-webui-docker/issues/743",
            strength=3,
        ),
        LogSignature(
            pattern=r"failed call to cuInit: UNKNOWN ERROR \(303\)",
            source="https://github.com/secretflow/secretflow/issues/255",
            strength=1,
        ),
        LogSignature(pattern=r'could not select device driver "\w{0,20}" with capabilities: \[\[gpu',
                     source="https://github.com/docker/cli/issues/2425", strength=3),
        LogSignature(pattern=r"(?:[Uu]nknown or invalid runtime name: |Unknown runtime specified )nvidia",
                     source="https://github.com/Steam-Headless/docker-steam-headless/issues/117", strength=3),
        LogSignature(pattern=r"nvidia-container-cli: (?:initialization|container|device|mount|detection) error",
                     source="https://github.com/NVIDIA/nvidia-container-toolkit/issues/1269", strength=1),
        LogSignature(pattern=r"nvidia-container-cli: initialization error: load library failed: libnvidia-ml",
                     source="https://github.com/NVIDIA/nvidia-container-toolkit/issues/154", strength=2),
        LogSignature(pattern=r"exec: \\{0,3}\"nvidia-container-runtime(?:-hook)?\\{0,3}\": executable file not found",
                     source="https://github.com/NVIDIA/nvidia-docker/issues/958", strength=3),
        LogSignature(pattern=r"nvidia-container-cli: mount error: [^\n]{0,300}(?:libnvidia-ml|libcuda)[^\n]{0,60}file exists",
                     source="https://github.com/NVIDIA/nvidia-container-toolkit/issues/289", strength=3),
        LogSignature(pattern=r"unresolvable CDI devices? nvidia\.com/\w{1,16}=[\w-]{1,48}",
                     source="https://github.com/NVIDIA/nvidia-container-toolkit/issues/146", strength=3),
        LogSignature(pattern=r"Found no NVIDIA driver on your system",
                     source="https://github.com/facebookresearch/detectron2/issues/3104", strength=1),
        LogSignature(pattern=r"failed to discover GPU vendor from CDI",
                     source="https://github.com/ShaneIsrael/fireshare/issues/689", strength=3),
        LogSignature(
            pattern=r"failed to stat CDI host device",
            source="https://github.com/NVIDIA/nvidia-container-toolkit/issues/885",
            strength=3,
        ),
        LogSignature(
            pattern=r"stat nvidia\.com/gpu=[\w-]{1,40}: no such file or directory",
            source="https://github.com/NVIDIA/nvidia-container-toolkit/issues/63",
            strength=3,
        ),
        LogSignature(
            pattern=r"no runtime for \W{0,12}nvidia\W{0,12} is configured",
            source="https://github.com/NVIDIA/gpu-operator/issues/432",
            strength=3,
        ),
        LogSignature(
            pattern=r"nvidia-container-cli(?:\.real)?: container error: cgroup subsystem devices not found",
            source="https://github.com/NVIDIA/nvidia-docker/issues/1447",
        ),
        LogSignature(
            pattern=r"bpf_prog_query\(BPF_CGROUP_DEVICE\) failed",
            source="https://github.com/NVIDIA/libnvidia-container/issues/154",
        ),
        LogSignature(
            pattern=r"lib(?:cuda|nvidia-ml)\.so\.1: cannot open shared object file",
            source="https://github.com/cupy/cupy/issues/1790",
            strength=1,
        ),
        LogSignature(
            pattern=r"nvidia-container-cli(?:\.real)?: ldcache error: ",
            source="https://github.com/NVIDIA/nvidia-docker/issues/1616",
        ),
        LogSignature(
            pattern=r"unresolvable CDI devices (?:runtime|management)\.nvidia\.com/gpu=[\w-]{1,48}",
            source="https://github.com/NVIDIA/nvidia-container-toolkit/issues/1239",
            strength=3,
        ),
        LogSignature(
            pattern=r"exec: \W{0,6}nvidia-smi\W{0,6}: executable file not found in \$PATH",
            source="https://github.com/NVIDIA/nvidia-docker/issues/1668",
        ),
    ),
    explained_by=("NOUVEAU", "NVML-MISMATCH"),
    tags=("nvidia", "container"),
)  # fmt: skip

CHECKS = (CHECK,)
