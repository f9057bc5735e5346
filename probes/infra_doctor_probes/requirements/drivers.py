"""Kernel drivers, what they offer, and the toolkits beside them."""

from collections.abc import Iterator

from infra_doctor.plugin import CheckContext, Component, Evidence, EvidenceKind, Observed, PolicyKey, SpecKind
from infra_doctor_probes.requirements.common import ENVIRONMENT, NVIDIA_PROBES, absent, hidden, unseen, versions
from infra_doctor_probes.tables.common import is_wsl

ASCEND_PROBES = ("ascend-driver",)
CANN_PROBES, NO_CANN = (
    ("ascend-cann", ENVIRONMENT),
    "no CANN is where it usually lies, nor where ASCEND_HOME_PATH leads",
)
TOOLKIT_PROBES = ("cuda-toolkit", ENVIRONMENT)
NO_TOOLKIT = "no CUDA toolkit is where it usually lies, nor where CUDA_HOME or nvcc on PATH lead"
ROCM_PROBES, NO_ROCM = ("rocm", ENVIRONMENT), "no ROCm is below /opt, nor where ROCM_PATH leads"
NO_DRIVER = ("NOUVEAU", "OPEN-KM", "CTR-TOOLKIT", "WSL")


def nvidia(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """The loaded kernel module's version; under WSL that of Windows' driver."""
    driver = ctx.component("driver:nvidia")
    if driver is None:
        yield absent(ctx, NVIDIA_PROBES, "no NVIDIA driver is loaded")
    else:
        yield Observed(value=driver.version or "", subject=(driver.key,), evidence=driver.evidence[:1])


def flavor(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """Which of NVIDIA's kernel modules is loaded: "open" or "proprietary"."""
    driver = ctx.component("driver:nvidia")
    if driver is None:
        yield absent(ctx, NVIDIA_PROBES, "no NVIDIA driver is loaded")
    elif isinstance(told := driver.attributes.get("module_flavor"), str):
        yield Observed(value=told, subject=(driver.key,), evidence=driver.evidence[:1])
    else:
        why = "under WSL the driver is Windows'" if is_wsl(ctx) else "the loaded module does not say which it is"
        yield unseen(why, driver.key, evidence=driver.evidence[:1])


def cuda_api(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """The newest CUDA that the libcuda in front offers, the number that nvidia-smi prints."""
    driver = ctx.component("driver:nvidia")
    if driver is None:
        yield absent(ctx, NVIDIA_PROBES, "no NVIDIA driver is loaded")
    elif isinstance(told := driver.attributes.get("cuda_api"), str):
        yield Observed(value=told, subject=(driver.key,), evidence=driver.evidence[-1:])
    else:
        why = hidden(ctx, NVIDIA_PROBES) or "neither NVML nor libcuda told it"
        yield unseen(why, driver.key, evidence=driver.evidence[-1:])


def amdgpu(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """The version of AMD's kernel driver; the kernel's own has none."""
    driver = ctx.component("driver:amdgpu")
    if driver is None:
        yield absent(ctx, ("pci", "amd-gpu"), "amdgpu is not loaded for a GPU that computes")
    else:
        reason = "" if driver.version else "the kernel's own driver, which has no version of its own"
        yield Observed(value=driver.version or "", subject=(driver.key,), reason=reason, evidence=driver.evidence[:1])


def ascend(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """The Ascend driver: the running one's own word, else what its files say."""
    driver = ctx.component("driver:ascend")
    if driver is None:
        yield absent(ctx, ASCEND_PROBES, "no Ascend driver is there")
        return
    running = driver.attributes.get("running_version")
    evidence = driver.evidence[:1]
    if isinstance(running, str):
        evidence = tuple(e for e in driver.evidence if e.kind is not EvidenceKind.FILE)[:1] or evidence
    yield Observed(value=str(running or driver.version or ""), subject=(driver.key,), evidence=evidence)


def firmware(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """The firmware of Ascend's NPUs, by the files of its package."""
    found = ctx.by_kind("firmware")
    yield from versions(found)
    if found:
        return
    if any(n.attributes.get("vendor") == "ascend" for n in ctx.by_kind("npu")):
        yield unseen("its package's files are not here")  # a container often has its host's driver folder alone
    else:
        yield absent(ctx, ASCEND_PROBES, "no Ascend firmware is there")


def cann(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """The CANN that a process gets, or would get after set_env.sh; others that lie around do not count."""
    yield from in_use(ctx, "cann", "in_use", CANN_PROBES, NO_CANN)


def toolkit(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """The toolkit that a build takes: CUDA_HOME, nvcc on PATH, /usr/local/cuda; where none is taken, each that is there."""
    yield from in_use(ctx, "cuda-toolkit", "default", TOOLKIT_PROBES, NO_TOOLKIT)


def rocm(ctx: CheckContext, _: str) -> Iterator[Observed]:
    """The ROCm that ROCM_PATH or /opt/rocm leads to; where none does, each that is there."""
    yield from in_use(ctx, "rocm", "default", ROCM_PROBES, NO_ROCM)


def in_use(ctx: CheckContext, kind: str, attribute: str, probes: tuple[str, ...], missing: str) -> Iterator[Observed]:
    """Those of a kind that an attribute marks, else all of them."""
    found = ctx.by_kind(kind)
    marked = tuple(c for c in found if c.attributes.get(attribute) is True)
    for component in marked or found:
        yield Observed(value=component.version or "", subject=(component.key,), evidence=seen(component))
    if not found:
        yield absent(ctx, probes, missing)


def seen(component: Component) -> tuple[Evidence, ...]:
    """Where its version stands, else where it lies."""
    lies = Evidence(kind=EvidenceKind.DIRECTORY, source=component.location or component.key, text="exists")
    return component.evidence[:1] or (lies,)


KEYS = (
    PolicyKey(key="driver", title="the NVIDIA driver", kind=SpecKind.VERSION, observe=nvidia, example='">=580"',
              probes=NVIDIA_PROBES, explained_by=NO_DRIVER, offered=True),
    PolicyKey(key="driver.flavor", title="which NVIDIA kernel module is loaded: open or proprietary", kind=SpecKind.NAME,
              observe=flavor, example='"open"', probes=NVIDIA_PROBES, explained_by=NO_DRIVER),
    PolicyKey(key="cuda.driver_api", title="the newest CUDA that the driver offers, as nvidia-smi prints it (within its major"
              " it is no ceiling for what programs were built with)", kind=SpecKind.VERSION, observe=cuda_api,
              example='">=12.4"', probes=NVIDIA_PROBES, explained_by=("NVML-MISMATCH", "COMPAT", *NO_DRIVER)),
    PolicyKey(key="cuda.toolkit", title="the CUDA toolkit that a build takes", kind=SpecKind.VERSION, observe=toolkit,
              example='"==12.8.*"', probes=TOOLKIT_PROBES, explained_by=("DISTRO-CUDA",)),
    PolicyKey(key="amdgpu", title="AMD's kernel driver", kind=SpecKind.VERSION, observe=amdgpu, example='">=6.10"',
              probes=("pci", "amd-gpu"), explained_by=("ROCM-GPU",)),
    PolicyKey(key="rocm", title="ROCm on disk", kind=SpecKind.VERSION, observe=rocm, example='">=6.3"', probes=ROCM_PROBES),
    PolicyKey(key="npu.driver", title="the Ascend driver", kind=SpecKind.VERSION, observe=ascend, example='">=25.0"',
              probes=ASCEND_PROBES, explained_by=("ASCEND-CTR",), offered=True),
    PolicyKey(key="npu.firmware", title="the Ascend firmware", kind=SpecKind.VERSION, observe=firmware, example='">=7.7"',
              probes=ASCEND_PROBES, explained_by=("ASCEND-CTR",)),
    PolicyKey(key="cann", title="the CANN that programs get", kind=SpecKind.VERSION, observe=cann, example='">=8.3"',
              probes=CANN_PROBES, explained_by=("CANN-ENV", "CANN-CONFLICT"), offered=True),
)  # fmt: skip
