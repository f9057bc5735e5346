"""What the keys share: whether their probes looked, and an absence that counts as one only where they did."""

from collections.abc import Iterable, Iterator

from infra_doctor.plugin import CheckContext, Component, Evidence, Observed, Status
from infra_doctor_probes.detect.system import Wsl

# The probes that find devices, beside the bus.
GPU_PROBES = ("pci", "nvidia-gpu", "amd-gpu", "intel-gpu", "other-accelerators")
NVIDIA_PROBES = ("pci", "nvidia-driver", "nvidia-gpu")
WHEEL_PROBES = ("python.wheels",)
# A probe that needs the environment: where it was skipped, CUDA_HOME, PATH and LD_LIBRARY_PATH of programs are not known.
ENVIRONMENT = "visible-devices"


def hidden(ctx: CheckContext, probes: Iterable[str]) -> str:
    """Why what these probes look for may be there and not have been seen; "" where all of them looked."""
    why: dict[str, list[str]] = {}
    names = tuple(probes)
    if "nvidia-gpu" in names and (windows := of_windows(ctx)):
        return windows
    for name in names:
        outcome = ctx.probes.get(name)
        if outcome is not None and outcome.status is not Status.PASS:
            why.setdefault(outcome.reason or str(outcome.status), []).append(outcome.title or outcome.id)
    if len(why) == 1:
        return next(iter(why))
    return "; ".join(f"{', '.join(titles)}: {reason}" for reason, titles in why.items())


def of_windows(ctx: CheckContext) -> str:
    """Why WSL's GPUs did not show: /dev/dxg tells that there are some, and a container may lack the library that names them."""
    wsl = ctx.fact(Wsl)
    if wsl is None or not wsl.gpu or any(g.attributes.get("vendor") == "nvidia" for g in ctx.by_kind("gpu")):
        return ""
    return "/dev/dxg is here, and no library of NVIDIA's driver that names Windows' GPUs"


def unseen(reason: str, *subject: str, evidence: Iterable[Evidence] = ()) -> Observed:
    """What could not be looked at, or cannot be told."""
    return Observed(value=None, subject=subject, evidence=tuple(evidence), reason=reason, unseen=True)


def absent(ctx: CheckContext, probes: Iterable[str], reason: str) -> Observed:
    """What is not there; not seen where one of these probes did not look."""
    why = hidden(ctx, probes)
    return unseen(why) if why else Observed(value=None, reason=reason)


def number(ctx: CheckContext, probes: Iterable[str], value: int, *, evidence: Iterable[Evidence] = ()) -> Observed:
    """How many there are; where one of these probes did not look, how many at least: the core knows by the key's probes."""
    why = hidden(ctx, probes)
    return Observed(value=value, evidence=tuple(evidence), reason=f"{value} seen; {why}" if why else "")


def versions(components: Iterable[Component]) -> Iterator[Observed]:
    """The version of each; "" where it is there and none could be read."""
    for found in components:
        yield Observed(value=found.version or "", subject=(found.key,), evidence=found.evidence[:1])
