"""INTEL-GPU: a PyTorch for Intel GPUs that will not find its GPU.

Rests on the bus, the kernel driver, how the render nodes answer, and on what the loader makes of Level Zero in PyTorch's own
environment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Component,
    Confidence,
    Finding,
    LogSignature,
    Severity,
    Status,
)
from infra_doctor_probes.detect.intel import wants_gpu
from infra_doctor_probes.detect.system import Container
from infra_doctor_probes.in_target import Seen, nvidia_gpu, reinstall_words

if TYPE_CHECKING:
    from infra_doctor_probes.intel.gpus import IntelAccess
    from infra_doctor_probes.intel.level_zero import LevelZero

DENIED = {"EACCES", "EPERM"}


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per fault; one `pass` or `skip`."""
    if not wants_gpu(context):
        yield CHECK.skip("no PyTorch for Intel GPUs is installed")
        return
    from infra_doctor_probes.intel.gpus import IntelAccess
    from infra_doctor_probes.intel.level_zero import LevelZero

    torches = [w for w in context.named("torch") if w.attributes.get("build") == "xpu"]
    gpus = [c for c in context.by_kind("gpu") if c.attributes.get("vendor") == "intel"]
    access = context.fact(IntelAccess)
    if not gpus:
        yield without_gpu(context, torches[0], access)
        return
    found = [*kernel(gpus, torches), *permission(context, gpus, access)]
    found += runtime(context, gpus, context.facts(LevelZero))
    yield from found
    if not found:
        yield in_order(context, gpus, torches, context.facts(LevelZero))


def without_gpu(context: CheckContext, torch: Component, access: IntelAccess | None) -> Finding:
    """No Intel GPU of ours: a fault only where one is on the host, or where another vendor's GPU stands idle."""
    if access is not None and not access.given and context.fact(Container) is not None:
        return CHECK.finding(
            Status.WARN,
            "this container was given no Intel GPU: no render node of one is there",
            subject=(torch.key,),
            evidence=(*access.evidence, *torch.evidence[:1]),
            severity=Severity.MEDIUM,
            remedy="Start the container with `--device /dev/dri` and, for a user other than root, `--group-add` with the number of"
            " the host's group `render`.",
        )
    others = [w for w in context.named("torch") if w.key != torch.key and w.attributes.get("build") == "cuda"]
    if nvidia_gpu(context) is Seen.PRESENT and not others:
        gpu = next(g for g in context.by_kind("gpu") if g.attributes.get("vendor") == "nvidia")
        return CHECK.finding(
            Status.WARN,
            f"torch {torch.version} is built for Intel GPUs, and the GPU is {gpu.name}",
            subject=(torch.key, gpu.key),
            evidence=(*torch.evidence, *gpu.evidence[:1]),
            severity=Severity.MEDIUM,
            remedy=f"Take a CUDA build of PyTorch. {reinstall_words(context, torch)}",
        )
    return CHECK.skip("no Intel GPU is there")


def kernel(gpus: list[Component], torches: list[Component]) -> Iterator[Finding]:
    """No GPU that i915 or xe serves."""
    idle = [g for g in gpus if g.attributes.get("driver_module") not in {"i915", "xe"}]
    if idle and len(idle) == len(gpus):
        bound = ", ".join(sorted({str(g.attributes.get("driver_module") or "none") for g in idle}))
        yield CHECK.finding(
            Status.FAIL,
            f"neither i915 nor xe serves {idle[0].name} (kernel driver: {bound})",
            subject=(*(g.key for g in idle), *(t.key for t in torches)),
            evidence=[e for g in idle for e in g.evidence],
            remedy="Take a kernel that knows this GPU (Arc A from 6.2, Arc B from 6.12), or Intel's driver packages; see"
            " `dmesg | grep -iE 'i915|xe'`.",
        )


def permission(context: CheckContext, gpus: list[Component], access: IntelAccess | None) -> Iterator[Finding]:
    """Render nodes that this user may not open."""
    if access is None or not access.render or not all(error in DENIED for _, error in access.render):
        return
    names = ", ".join(f"{path} ({error})" for path, error in access.render[:4])
    in_container = context.fact(Container) is not None
    yield CHECK.finding(
        Status.FAIL,
        f"this user may not open {names}",
        subject=tuple(g.key for g in gpus),
        evidence=access.evidence,
        remedy="Start the container with `--group-add` and the number of the host's group `render`."
        if in_container
        else "Add the user to the group that owns the render nodes: `sudo usermod -a -G render $LOGNAME`, then log in anew.",
    )


def runtime(context: CheckContext, gpus: list[Component], facts: tuple[LevelZero, ...]) -> Iterator[Finding]:
    """Level Zero as each target's PyTorch finds it."""
    for found in facts:
        if found.unknown:
            continue
        torch = context.component(found.wheel)
        shown = f"torch {torch.version}" if torch else "torch"
        subject = (found.wheel, *(g.key for g in gpus))
        evidence = (*found.evidence, *(torch.evidence[:1] if torch else ()), *gpus[0].evidence[:1])
        if found.driver is None:
            yield CHECK.finding(
                Status.FAIL,
                f"{shown} finds no Level Zero driver for Intel GPUs (libze_intel_gpu.so.1)",
                subject=subject,
                detail="PyTorch's wheel brings the SYCL run time and takes the driver from the system."
                + ("" if found.loader else " The loader libze_loader.so.1 is not found either."),
                evidence=evidence,
                confidence=Confidence.DERIVED,
                remedy=RUNTIME_REMEDY,
            )
        elif found.unmet:
            place, library, wanted = found.unmet[0]
            yield CHECK.finding(
                Status.FAIL,
                f"{place} needs {wanted}, and the {library} of this environment does not have it",
                subject=subject,
                detail="The environment's own library is loaded first. Level Zero is then refused, and PyTorch says that it"
                " could not initialize XPU devices.",
                evidence=evidence,
                confidence=Confidence.DERIVED,
                remedy=SYMBOLS_REMEDY,
            )
        elif found.missing:
            name, by = found.missing[0]
            yield CHECK.finding(
                Status.FAIL,
                f"{by} needs {name}, which is not found",
                subject=subject,
                evidence=evidence,
                confidence=Confidence.DERIVED,
                remedy=RUNTIME_REMEDY,
            )


def in_order(
    context: CheckContext, gpus: list[Component], torches: list[Component], facts: tuple[LevelZero, ...]
) -> Finding:
    """Nothing is wrong as far as it can be told."""
    subject = (*(t.key for t in torches), *(g.key for g in gpus))
    unknown = next((f.unknown for f in facts if f.unknown), "")
    if unknown:
        return CHECK.finding(
            Status.UNKNOWN, "whether PyTorch finds Level Zero could not be told", subject=subject, detail=unknown,
            severity=Severity.LOW,
        )  # fmt: skip
    return CHECK.finding(
        Status.PASS,
        f"torch {torches[0].version} finds Level Zero, and {gpus[0].name} is there",
        subject=subject,
        evidence=(*(e for f in facts for e in f.evidence), *gpus[0].evidence[:1]),
        confidence=Confidence.DERIVED,
        severity=Severity.LOW,
    )


RUNTIME_REMEDY = (
    "Install Intel's GPU run time: on Ubuntu `libze-intel-gpu1 libze1 intel-opencl-icd` from Intel's repository (older releases:"
    " `intel-level-zero-gpu level-zero`), on Fedora `intel-compute-runtime oneapi-level-zero`; then log in anew."
)
SYMBOLS_REMEDY = (
    "Bring the environment's C++ library up to date (`conda install -c conda-forge libstdcxx-ng`), or use a plain"
    " virtual environment,"
    " which takes the system's."
)

CHECK = Check(
    id="INTEL-GPU",
    title="PyTorch for Intel GPUs finds no GPU",
    explanation="""\
PyTorch's `+xpu` wheels bring the SYCL run time. Everything below it is the system's: the kernel driver (i915 or xe), a render
node that this user may open, and Level Zero, that is `libze_loader.so.1` and the driver `libze_intel_gpu.so.1`. Where one of
them is missing, PyTorch warns *Failed to initialize XPU devices* and goes on without a GPU.

In a conda environment the environment's own `libstdc++.so.6` is loaded before Level Zero. Where the system's Level Zero was
built with a newer compiler, its version needs (`GLIBCXX_3.4.32`) are not met there and it is refused, although everything is
installed.

Which library is taken follows from ELF headers and the loader's rules; nothing is loaded. GPUs that are part of the processor
count only here, where PyTorch asks for one. *Proven on described machines, not on an Intel GPU.*""",
    remediation=RUNTIME_REMEDY,
    sources=(
        "https://docs.pytorch.org/docs/stable/notes/get_start_xpu.md",
        "https://github.com/pytorch/pytorch/issues/147226",
        "https://github.com/pytorch/pytorch/issues/145433",
        "https://github.com/pytorch/pytorch/issues/144143",
        "https://packages.ubuntu.com/noble/libze-intel-gpu1",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"No visible XPU devices",
            source="https://github.com/intel/intel-extension-for-tensorflow/issues/75",
            strength=3,
        ),
        LogSignature(
            pattern=r"Failed to initialize XPU devices", source="https://github.com/pytorch/pytorch/issues/147226", strength=3
        ),
        LogSignature(
            pattern=r"failed to load adapter 'libur_adapter_level_zero",
            source="https://github.com/pytorch/pytorch/issues/147226", strength=3,
        ),
        LogSignature(
            pattern=r"No XPU devices (?:are )?(?:available|found)",
            source="https://github.com/intel/intel-extension-for-pytorch/issues/712", strength=2,
        ),
        LogSignature(
            pattern=r"level_zero backend failed with error", source="https://github.com/intel/compute-runtime/issues/921",
            strength=1,
        ),
        LogSignature(
            pattern=r"(?:XPU|DPCPP) [Dd]evice count is zero",
            source="https://github.com/intel/intel-extension-for-pytorch/issues/702",
            strength=3,
        ),
        LogSignature(
            pattern=r"Number of dpcpp devices should be greater than zero",
            source="https://github.com/intel/intel-extension-for-pytorch/issues/287",
            strength=3,
        ),
        LogSignature(
            pattern=r"No device of requested type available\. Please check https://",
            source="https://github.com/intel/ipex-llm/issues/12701",
        ),
        LogSignature(
            pattern=r"\b(?:PI_ERROR|UR_RESULT_ERROR)_DEVICE_NOT_FOUND\b",
            source="https://github.com/intel/llvm/issues/10894",
        ),
        LogSignature(
            pattern=r"\bZE_RESULT_ERROR_UNINITIALIZED\b",
            source="https://github.com/oneapi-src/level-zero/issues/140",
            strength=1,
        ),
    ),
    explained_by=("GLIBC",),
    tags=("intel", "torch"),
)  # fmt: skip

CHECKS = (CHECK,)
