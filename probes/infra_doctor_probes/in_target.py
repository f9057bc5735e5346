"""What the checks of a target's libraries share: whether a device is there, names of wheels, pip's command line."""

from enum import Enum

from infra_doctor.plugin import CheckContext, Command, Component, Status
from infra_doctor_probes.detect.libraries import FrameworkImport


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
    found = next((t for t in ctx.targets if t.key == target), None)
    if found is None or found.kind == "conda":
        return ()
    installers = {c.origin for c in ctx.by_kind("wheel", target=target)}
    if installers == {"uv"}:
        return (Command(argv=("uv", "pip", "install", "--python", found.executable, *requirements)),)
    return (Command(argv=(found.executable, "-m", "pip", "install", *requirements)),)


def copies(ctx: CheckContext, *kinds: str, target: str | None = None) -> str:
    """`libcudnn 9.19.0 (wheel …) in /path`, for evidence texts."""

    def words(component: Component) -> str:
        return (
            f"{component.name} {component.version or 'of unknown version'} ({component.origin}) at {component.location}"
        )

    return "; ".join(words(c) for c in ctx.by_kind(*kinds) if target is None or c.target in {target, None})
