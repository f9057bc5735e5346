"""ORT-FALLBACK: an execution provider that was installed and cannot load, so that sessions run on the CPU without an error.

Rests on the loader's algorithm over the provider's ELF dependencies, in each import order (probe onnxruntime.providers)."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Evidence,
    EvidenceKind,
    Finding,
    LogSignature,
    Severity,
    Status,
    major_minor,
)
from infra_doctor_probes.detect.onnxruntime import ProviderLoad
from infra_doctor_probes.detect.wheels import OnnxRuntimeBuild
from infra_doctor_probes.in_target import (
    Seen,
    at_most_warn,
    device_for,
    failing_orders,
    pip_install,
    prefix_of,
    same_library,
    titled,
    wheel_name,
)
from infra_doctor_probes.loading.names import DRIVER_SONAMES
from infra_doctor_probes.loading.onnxruntime_session import CPU_PROVIDER
from infra_doctor_probes.loading.orders import ORT, PRELOAD

# TensorRT is optional even where its provider is shipped; its own finding is TRT.
_NOT_JUDGED = {CPU_PROVIDER, "TensorrtExecutionProvider"}
_ACCELERATED = {
    "cuda": "CUDAExecutionProvider",
    "cann": "CANNExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}


def run(ctx: CheckContext) -> Iterator[Finding]:
    """One finding per provider and target."""
    found = False
    for build in ctx.facts(OnnxRuntimeBuild):
        by_provider: dict[str, list[ProviderLoad]] = {}
        for load in ctx.facts(ProviderLoad):
            if load.target == build.target and load.name not in _NOT_JUDGED:
                by_provider.setdefault(load.name, []).append(load)
        for name, loads in by_provider.items():
            found = True
            yield judge(ctx, build, name, loads)
        lost = lost_provider(build)
        if lost is not None:
            found = True
            yield provider_lost(ctx, build, *lost)
    if not found:
        yield CHECK.skip("no ONNX Runtime with an accelerator's execution provider is installed")


def judge(ctx: CheckContext, build: OnnxRuntimeBuild, name: str, loads: list[ProviderLoad]) -> Finding:
    """The finding of one provider."""
    seen = device_for(ctx, name)
    subject = (loads[0].provider, build.wheel)
    where = f"{titled(ctx, build.wheel)} in {prefix_of(build.target)}"
    if seen is Seen.ABSENT:
        return CHECK.skip(f"{where}: no device for {name} is there")
    alone = next((x for x in loads if x.order == ORT), loads[0])
    if alone.opens is None:
        reason = alone.unknown or "the interpreter's loader is not understood"
        return CHECK.finding(
            Status.UNKNOWN,
            f"{where}: whether {name} loads cannot be told: {reason}",
            subject=subject,
            severity=Severity.LOW,
        )
    if alone.opens:
        return CHECK.finding(
            Status.PASS, f"{where}: {name} loads", subject=subject, severity=Severity.LOW,
            evidence=(Evidence(kind=EvidenceKind.DERIVED, source=alone.provider, text="all that it needs is found"),),
        )  # fmt: skip
    missing = tuple(dict.fromkeys(m.soname for m in alone.missing if not m.on_first_use))
    driver_only = bool(missing) and set(missing) <= DRIVER_SONAMES
    if driver_only and seen is Seen.NOT_VISIBLE:
        return CHECK.finding(
            Status.PASS, f"{where}: {name} loads once the driver's {missing[0]} is there (a container gets it from its host)",
            subject=subject, severity=Severity.LOW, evidence=alone.evidence,
        )  # fmt: skip
    usable = [x for x in loads if x.order not in failing_orders(ctx, build.target)]
    works = [x.order for x in usable if x.opens or (seen is Seen.NOT_VISIBLE and needs_driver_alone(x))]
    text = f"needs {', '.join(missing)}" if missing else "its library cannot be opened"
    if works:
        return CHECK.finding(
            Status.WARN, f"{where}: {name} loads only after {' or '.join(words_of(o) for o in works)}", subject=subject,
            detail=f"A session made by onnxruntime alone runs on the CPU: the provider {text}, which the loader does not"
            f" find by itself. {'They are' if len(missing) > 1 else 'It is'} installed, but only reachable through preload_dlls()"
            " or an earlier torch import.",
            evidence=alone.evidence, remedy=reachable_remedy(works),
        )  # fmt: skip
    remedy, requirement = install_remedy(build, name, driver_only)
    return CHECK.finding(
        at_most_warn(seen), f"{where}: {name} cannot load; sessions run on the CPU", subject=subject,
        detail=f"In every import order the provider {text}, and the loader finds no copy.",
        evidence=alone.evidence, remedy=remedy,
        commands=pip_install(ctx, build.target, requirement) if requirement else (),
    )  # fmt: skip


def needs_driver_alone(load: ProviderLoad) -> bool:
    """Whether nothing but the driver's own libraries is missing."""
    return bool(load.missing) and all(m.soname in DRIVER_SONAMES or m.on_first_use for m in load.missing)


def words_of(order: str) -> str:
    """An import order as something to do."""
    return order if order == PRELOAD else "`import torch`"


def reachable_remedy(works: list[str]) -> str:
    """How to make installed libraries reachable."""
    if PRELOAD in works:
        first = "Call `onnxruntime.preload_dlls()` before the first session"
        second = "; `import torch` before the first session works too" if len(works) > 1 else ""
    else:
        first, second = "Import torch before the first session", ""
    return (
        f"{first}{second}. Then check `session.get_providers()[0]` in the application, so that a fall-back is an error."
        " Do not set LD_LIBRARY_PATH for it: that changes the libraries of every other program."
    )


def install_remedy(build: OnnxRuntimeBuild, name: str, driver_only: bool) -> tuple[str, str]:
    """(what to do, requirement to install or "")."""
    if name != "CUDAExecutionProvider":
        return f"Install the runtime that {wheel_name(build.wheel)} was built for, and load its environment.", ""
    if driver_only:
        return (
            "The driver's libcuda.so.1 is not found: install the NVIDIA driver, or start the container with GPU access"
            " (`--gpus all`, or the runtime's CDI device).",
            "",
        )
    version = major_minor(build.version or "")
    driver = (
        " These are CUDA 13 libraries: they need driver R580 or newer." if (build.cuda or "").startswith("13") else ""
    )
    exact = f"=={build.version}" if build.version else ""
    if version is None or version < (1, 21):
        return (
            f"Install CUDA {build.cuda or ''} and cuDNN {build.cudnn or ''} libraries, or upgrade: from 1.21 on"
            " `onnxruntime-gpu[cuda,cudnn]` brings them as wheels and `onnxruntime.preload_dlls()` loads them.",
            "",
        )
    if version == (1, 27):
        return (
            "The extras of 1.27 name packages that do not exist and its preload_dlls() does not know their folders:"
            " upgrade to `onnxruntime-gpu[cuda,cudnn]>=1.28`, then call `onnxruntime.preload_dlls()` before the first"
            f" session.{driver}",
            "onnxruntime-gpu[cuda,cudnn]>=1.28",
        )
    requirement = f"onnxruntime-gpu[cuda,cudnn]{exact}"
    return (
        f"Install the libraries that the wheel was built for: `{requirement}`, then call `onnxruntime.preload_dlls()`"
        f" before the first session.{driver}",
        requirement,
    )


def lost_provider(build: OnnxRuntimeBuild) -> tuple[str, str] | None:
    """(wheel key, provider) of an installed accelerated distribution whose provider imports do not get."""
    for key in build.distributions:
        flavour = wheel_name(key).removeprefix("onnxruntime-")
        provider = _ACCELERATED.get("cuda" if flavour == "gpu" else flavour)
        if provider is not None and provider not in build.providers:
            return key, provider
    return None


def provider_lost(ctx: CheckContext, build: OnnxRuntimeBuild, key: str, provider: str) -> Finding:
    """Metadata says that it is there, the extension module on disk is another's."""
    seen = device_for(ctx, provider)
    if seen is Seen.ABSENT:
        return CHECK.skip(f"{titled(ctx, key)}: no device for {provider} is there")
    name = wheel_name(key)
    found = ctx.component(key)
    requirement = f"{name}=={found.version}" if found is not None and found.version else name
    return CHECK.finding(
        at_most_warn(seen),
        f"{titled(ctx, key)} is installed, but imports get a build without {provider}; sessions run on the CPU",
        subject=(key,),
        detail=f"The extension module on disk is that of {titled(ctx, build.wheel)}.",
        evidence=build.evidence,
        remedy=f"Uninstall every ONNX Runtime distribution of this environment, then install the one wanted: {requirement}.",
    )


CHECK = Check(
    id="ORT-FALLBACK",
    title="ONNX Runtime silently runs on the CPU",
    explanation="""\
A GPU build of ONNX Runtime keeps each execution provider in a library of its own. When that library, or anything that it
needs, is not found, the session is made all the same, **on the CPU**: the only sign is a line in the log (*Failed to create
CUDAExecutionProvider*). `get_available_providers()` still names the provider: it lists what was built in.

The wheel does not bring CUDA and cuDNN. They come with `onnxruntime-gpu[cuda,cudnn]`, with torch, or from the system. From
wheels they are found only after `onnxruntime.preload_dlls()` (1.21 and newer) or an earlier `import torch`, because the
provider has no search path to them. infra-doctor resolves the provider's dependencies as the loader would, from the
interpreter's own ELF, for each import order. From 1.28 on cuDNN is no such dependency: see CUDNN-MISSING.""",
    remediation="Install the libraries (`onnxruntime-gpu[cuda,cudnn]`), call `onnxruntime.preload_dlls()` before the first"
    " session, and check `session.get_providers()[0]`.",
    sources=(
        "https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#preload-dlls",
        "https://github.com/microsoft/onnxruntime/issues/23372",
        "https://github.com/microsoft/onnxruntime/issues/17801",
        "https://github.com/microsoft/onnxruntime/issues/21424",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"Failed to create CUDAExecutionProvider",
            source="https://github.com/microsoft/onnxruntime/issues/25609",
        ),
        LogSignature(
            pattern=r"Failed to load library \S{0,200}onnxruntime_providers_\w{2,20}\.(?:so|dll)",
            source="https://github.com/microsoft/onnxruntime/issues/19616",
            strength=1,
        ),
        LogSignature(
            pattern=r"LoadLibrary failed with error 126[^\n]{0,200}onnxruntime_providers_cuda",
            source="https://github.com/microsoft/onnxruntime/issues/21825",
        ),
        LogSignature(
            pattern=r"Specified provider '\w{2,40}ExecutionProvider' is not in available provider names",
            source="https://github.com/microsoft/onnxruntime/issues/26996",
            strength=1,
        ),
        LogSignature(
            pattern=r"ONNX Runtime is using the CPU",
            source="https://github.com/microsoft/onnxruntime/issues/21825",
            strength=1,
        ),
        LogSignature(
            pattern=r"onnxruntime_providers_\w{2,20}\.dll[^\n]{1,80}\.dll\W{1,3}which is missing",
            source="https://github.com/yalue/onnxruntime_go/issues/124",
        ),
        LogSignature(
            pattern=r"Failed to load library, error code: 12[67]",
            source="https://github.com/microsoft/onnxruntime/issues/8177",
        ),
        LogSignature(
            pattern=r"LoadLibrary failed with error 12[67][^\n]{0,240}onnxruntime_providers_(?!cuda)\w",
            source="https://github.com/intel/onnxruntime/issues/771",
        ),
        LogSignature(
            pattern=r"SessionOptionsAppendExecutionProvider_\w{2,20}: Failed to load shared library",
            source="https://github.com/microsoft/onnxruntime/issues/8177",
        ),
        LogSignature(
            pattern=r"Failed to create (?:Tensorrt|ROCM|MIGraphX|OpenVINO|CANN|Dml)ExecutionProvider",
            source="https://github.com/microsoft/onnxruntime/issues/12639",
            strength=1,
        ),
    ),
    explained_by=(
        "CUDA-MAJOR",
        "CUDNN-LAYOUT",
        "PY-CLOBBER-ORT",
        "CUDNN-MIX",
        "CUDNN-MISSING",
        "PY-CLOBBER-NV",
        "TORCH-ORT-CUDA",
        "LDPATH-SHADOW",
        "CANN-ENV",
        "DRV-OLD",
    ),
    follows=same_library,
    tags=("onnxruntime",),
)

CHECKS = (CHECK,)
