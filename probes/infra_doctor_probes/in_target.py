"""What the checks of a target's libraries share: whether a device is there, names of wheels, pip's command line."""

from enum import Enum

from infra_doctor.plugin import CheckContext, Command, Component, Finding, Status
from infra_doctor_probes.detect.libraries import FrameworkImport
from infra_doctor_probes.detect.nvidia_gpu import NvidiaGpusNotGiven


class Seen(Enum):
    """Whether a device is there. NOT_VISIBLE: this form of machine cannot show it (an image, another root)."""

    PRESENT = "present"
    ABSENT = "absent"
    NOT_VISIBLE = "not visible"


def nvidia_gpu(ctx: CheckContext) -> Seen:
    """Whether an NVIDIA GPU is there."""
    if any(c.attributes.get("vendor") == "nvidia" for c in ctx.by_kind("gpu")):
        return Seen.PRESENT
    probe = ctx.probes.get("nvidia-gpu")
    return Seen.NOT_VISIBLE if probe is not None and probe.status in {Status.SKIP, Status.ERROR} else Seen.ABSENT


def no_gpu(ctx: CheckContext, what: str = "no NVIDIA GPU is there") -> str:
    """Why a check of GPUs does not apply: there is none, or none could be looked at."""
    probe = ctx.probes.get("nvidia-gpu")
    if probe is not None and probe.status in {Status.SKIP, Status.ERROR}:
        return f"no NVIDIA GPU could be looked at: {probe.reason}"
    return what


def given_none(ctx: CheckContext) -> bool:
    """Whether the machine's NVIDIA GPUs are all somebody else's: a container sees its host's driver all the same."""
    return bool(ctx.facts(NvidiaGpusNotGiven)) and nvidia_gpu(ctx) is Seen.ABSENT


def device_for(ctx: CheckContext, provider: str) -> Seen:
    """Whether the device that an execution provider drives is there. OpenVINO's may be the CPU itself: a session that falls
    back then loses speed and no device, so it never counts as present."""
    if provider in {"CUDAExecutionProvider", "TensorrtExecutionProvider"}:
        return nvidia_gpu(ctx)
    if provider == "OpenVINOExecutionProvider":
        return Seen.NOT_VISIBLE
    vendor = {"CANNExecutionProvider": "ascend", "ROCMExecutionProvider": "amd", "MIGraphXExecutionProvider": "amd"}
    wanted = vendor.get(provider)
    devices = ctx.by_kind("gpu", "npu", "accelerator")
    return Seen.PRESENT if wanted and any(c.attributes.get("vendor") == wanted for c in devices) else Seen.ABSENT


def at_most_warn(seen: Seen) -> Status:
    """`fail` where the device is there; `warn` where only the files speak."""
    return Status.FAIL if seen is Seen.PRESENT else Status.WARN


def failing_orders(ctx: CheckContext, target: str) -> set[str]:
    """Import orders in which an import of torch fails: nothing that comes after it is a way out."""
    return {f.order for f in ctx.facts(FrameworkImport) if f.target == target and f.loads is False}


# Parts of names by which findings tell which library they are about.
_LIBRARIES = (
    "cudnn", "nccl", "cublas", "cufft", "curand", "cusolver", "cusparselt", "cusparse", "nvjitlink", "nvrtc", "cudart",
    "cupti", "nvshmem", "nvinfer",
)  # fmt: skip


def about(finding: Finding) -> set[str]:
    """The libraries that a finding speaks of."""
    texts = (finding.title, finding.detail, *finding.subject, *(e.text for e in finding.evidence))
    said = " ".join(texts).lower().replace("cuda-runtime", "cudart").replace("cuda-nvrtc", "nvrtc")
    return {name for name in _LIBRARIES if name in said}


def same_library(finding: Finding, cause: Finding) -> bool:
    """Whether a fault of some library's files can explain this finding: both must speak of one library; one of what a
    program wants, of that program. A fault of another kind may."""
    if cause.id in {"CUDA-MAJOR", "CUDNN-LAYOUT"}:
        return bool(set(finding.subject) & set(cause.subject))
    return cause.id not in {"PY-CLOBBER-NV", "CUDNN-MISSING", "CUDNN-MIX"} or bool(about(finding) & about(cause))


def wheel_name(key: str) -> str:
    """`torch` of `wheel:torch@/opt/venv`."""
    return key.removeprefix("wheel:").partition("@")[0]


def prefix_of(target: str) -> str:
    """The prefix in a target key."""
    return target.removeprefix("target:")


def titled(ctx: CheckContext, key: str) -> str:
    """`torch 2.11.0`."""
    found = ctx.component(key)
    return f"{wheel_name(key)} {found.version}" if found is not None and found.version else wheel_name(key)


def pip_install(ctx: CheckContext, target: str, *requirements: str) -> tuple[Command, ...]:
    """The runnable command; none in a conda environment, where pip may break what conda manages."""
    argv = pip_argv(ctx, target, "install")
    return (Command(argv=(*argv, *requirements)),) if argv else ()


def pip_argv(ctx: CheckContext, target: str, verb: str) -> tuple[str, ...]:
    """The start of a pip or uv command line for this target; empty in a conda environment and where none is known."""
    found = next((t for t in ctx.targets if t.key == target), None)
    if found is None or found.kind == "conda":
        return ()
    if {c.origin for c in ctx.by_kind("wheel", target=target)} == {"uv"}:
        return ("uv", "pip", verb, "--python", found.executable)
    return (found.executable, "-m", "pip", verb)


def pip_words(ctx: CheckContext, target: str, verb: str, *arguments: str) -> str:
    """A command line for a sentence, with the target's own pip or uv: `/opt/venv/bin/python -m pip install …`."""
    return "`" + " ".join((*(pip_argv(ctx, target, verb) or ("pip", verb)), *arguments)) + "`"


def forced(ctx: CheckContext, target: str, *requirements: str) -> tuple[str, ...]:
    """Arguments of an installation that replaces a version that is there already: uv has another word for it."""
    uv = pip_argv(ctx, target, "install")[:1] == ("uv",)
    return ("--reinstall" if uv else "--force-reinstall", *requirements)


def reinstall_words(ctx: CheckContext, torch: Component) -> str:
    """How to get another CUDA build of the torch that is installed."""
    target = torch.target or ""
    if any(t.key == target and t.kind == "conda" for t in ctx.targets) and torch.origin == "conda":
        return "From conda-forge: `conda install pytorch-gpu`."
    command = pip_words(ctx, target, "install", *forced(ctx, target, "torch==<release>"))[:-1]
    return (
        f"Install it with {command} --index-url https://download.pytorch.org/whl/<build>`, in one command with torchvision"
        " and torchaudio where they are installed."
    )


def copies(ctx: CheckContext, *kinds: str, target: str | None = None) -> str:
    """`libcudnn 9.19.0 (wheel …) in /path`, for evidence texts."""

    def words(component: Component) -> str:
        return (
            f"{component.name} {component.version or 'of unknown version'} ({component.origin}) at {component.location}"
        )

    return "; ".join(words(c) for c in ctx.by_kind(*kinds) if target is None or c.target in {target, None})
