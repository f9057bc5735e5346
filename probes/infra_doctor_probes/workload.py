"""What the checks of a machine's surroundings share: which accelerators are there for work, and whether work is visible."""

from infra_doctor.plugin import CheckContext, Component
from infra_doctor_probes.detect.system import Container, Virtualization, Wsl

# Frameworks and servers that start worker processes or several ranks, by distribution name.
PARALLEL = frozenset(
    {"torch", "tensorflow", "paddlepaddle-gpu", "mindspore", "jax", "vllm", "sglang", "lmdeploy", "deepspeed", "megatron-core",
     "tensorrt-llm", "torch-npu", "horovod", "ray", "verl", "lightning", "accelerate"}
)  # fmt: skip
OWN_DRIVERS = frozenset({"nouveau", "nova", "nova_core", "i915", "xe", "vfio-pci"})


def accelerators(ctx: CheckContext) -> tuple[Component, ...]:
    """Devices that programs compute on: not those under a display driver of Linux, nor Intel's, which are mostly displays."""
    return tuple(
        c
        for c in ctx.by_kind("gpu", "npu", "accelerator")
        if c.attributes.get("driver_module") not in OWN_DRIVERS and c.attributes.get("vendor") != "intel"
    )


def nvidia_gpus(ctx: CheckContext) -> tuple[Component, ...]:
    """The NVIDIA GPUs among them."""
    return tuple(c for c in accelerators(ctx) if c.attributes.get("vendor") == "nvidia")


def parallel_frameworks(ctx: CheckContext) -> tuple[Component, ...]:
    """Wheels that start worker processes or several ranks."""
    return tuple(c for c in ctx.by_kind("wheel") if c.name in PARALLEL)


def in_container(ctx: CheckContext) -> bool:
    """Whether we look out of a container."""
    return bool(ctx.facts(Container))


def on_virtual_machine(ctx: CheckContext) -> bool:
    """Whether a hypervisor shows."""
    return bool(ctx.facts(Virtualization)) or bool(ctx.facts(Wsl))


def size(count: int) -> str:
    """`64 MiB`, for people."""
    amount, unit = float(count), "bytes"
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if amount >= 10 or amount == int(amount) else f"{amount:.1f} {unit}"


def kernel_version(ctx: CheckContext) -> tuple[int, int] | None:
    """(5, 15) of the running kernel's release."""
    release = next((str(c.attributes.get("kernel") or "") for c in ctx.by_kind("os")), "")
    first = release.split(".")[:2]
    if len(first) == 2 and first[0].isdecimal() and first[1].partition("-")[0].isdecimal():
        return int(first[0]), int(first[1].partition("-")[0])
    return None
