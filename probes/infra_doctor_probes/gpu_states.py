"""What the checks of NVIDIA hardware share: which GPUs told their state, how they are called, why there is nothing to judge."""

from collections.abc import Iterable

from infra_doctor.plugin import CheckContext, Evidence
from infra_doctor_probes.detect.nvidia_gpu import NvmlSession
from infra_doctor_probes.detect.nvidia_state import GpuState
from infra_doctor_probes.in_target import Seen, no_gpu, nvidia_gpu


def answering(context: CheckContext) -> tuple[GpuState, ...]:
    """The states of the GPUs that answered, in the driver's order."""
    return tuple(s for s in context.facts(GpuState) if s.gpu and not s.error)


def nothing_told(context: CheckContext) -> str:
    """Why there is no state to judge."""
    if nvidia_gpu(context) is not Seen.PRESENT:
        return no_gpu(context)
    session = context.fact(NvmlSession)
    if session is None:
        return "the state of the NVIDIA GPUs is not visible here: NVML cannot be asked"
    return f"the NVIDIA GPUs told nothing of their state: {session.error or 'NVML lists none that answers'}"


def name(state: GpuState) -> str:
    """ "GPU 3", as nvidia-smi numbers it."""
    return f"GPU {state.index}" if state.index is not None else state.gpu


def names(states: Iterable[GpuState]) -> str:
    """ "GPU 3", "GPUs 0 and 3", "GPUs 0 to 7"."""
    found = list(states)
    if len(found) == 1 or any(s.index is None for s in found):
        return ", ".join(map(name, found))
    numbers = [s.index for s in found if s.index is not None]
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[0] + len(numbers))):
        return f"GPUs {numbers[0]} to {numbers[-1]}"
    return f"GPUs {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def keys(states: Iterable[GpuState]) -> tuple[str, ...]:
    """Their component keys: a finding's subject."""
    return tuple(s.gpu for s in states)


def seen(state: GpuState, text: str) -> tuple[Evidence, ...]:
    """Where the state was read, and the values that a verdict rests on."""
    return tuple(Evidence(kind=e.kind, source=e.source, text=f"{name(state)}: {text}") for e in state.evidence[:1])


def of_product(state: GpuState, *words: str) -> bool:
    """Whether the product's name has one of these words."""
    return any(word in state.name for word in words)
