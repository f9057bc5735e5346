"""OPENCL-ICD: OpenCL's loader without a run time for the Intel GPU, a run time whose library is gone, two for one device.

Rests on /etc/OpenCL/vendors, on what the loader makes of each library named there, and on what is installed that uses OpenCL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from infra_doctor.plugin import Check, CheckContext, Component, Confidence, Finding, LogSignature, Severity, Status

if TYPE_CHECKING:
    from infra_doctor_probes.intel.opencl import OpenCl, Runtime


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per fault; one `pass` or `skip`."""
    if not any(getattr(f, "fact_type", "") == "opencl" for f in context.facts(object)):
        yield CHECK.skip("neither OpenCL nor anything that uses it is installed")
        return
    from infra_doctor_probes.intel.opencl import OpenCl

    opencl = context.fact(OpenCl)
    if opencl is None:
        return
    gpus = [c for c in context.by_kind("gpu") if c.attributes.get("vendor") == "intel"]
    users = [w for w in context.by_kind("wheel") if w.name == "pyopencl"]
    found = [*missing(opencl, gpus, users), *nothing_for(context, opencl, gpus), *twice(opencl, gpus)]
    yield from found
    if not found:
        yield in_order(opencl)


def missing(opencl: OpenCl, gpus: list[Component], users: list[Component]) -> Iterator[Finding]:
    """Files whose library cannot be loaded, where their device is there. An image often carries NVIDIA's file without the
    library, which is mounted from the host: only an Intel GPU's run time, or a user of OpenCL, makes it a fault."""
    for gone in opencl.runtimes:
        if gone.path is not None or opencl.unknown or (gone.vendor != "intel" and not users) or not (gpus or users):
            continue
        yield CHECK.finding(
            Status.WARN,
            f"{gone.icd} names {gone.library or 'no library'}, which cannot be loaded",
            subject=(*(g.key for g in gpus), *(u.key for u in users)),
            detail=f"{gone.reason}. OpenCL's loader leaves this run time ({gone.serves}) out in silence.",
            evidence=opencl.evidence,
            severity=Severity.MEDIUM if not others(opencl, gone) else Severity.LOW,
            remedy=f"Install the package again that brings {gone.library or 'the run time'} or what it lacks; if the driver"
            f" was removed on purpose, {gone.icd} is a left-over.",
        )


def others(opencl: OpenCl, gone: Runtime) -> bool:
    """Whether another run time serves the same vendor's devices."""
    return any(r.vendor == gone.vendor and r.path is not None for r in opencl.runtimes)


def nothing_for(context: CheckContext, opencl: OpenCl, gpus: list[Component]) -> Iterator[Finding]:
    """OpenVINO with a separate Intel GPU, and no way to it."""
    separate = [g for g in gpus if not g.attributes.get("integrated")]
    wheels = [w for w in context.by_kind("wheel") if w.name == "openvino"]
    served = any(r.vendor == "intel" and r.path is not None for r in opencl.runtimes)
    if not separate or not wheels or opencl.unknown or (opencl.loader is not None and served):
        return
    if any(r.vendor == "intel" and r.path is None for r in opencl.runtimes) and opencl.loader is not None:
        return  # said above
    lacking = "no loader (libOpenCL.so.1)" if opencl.loader is None else "the loader, and no run time for Intel GPUs"
    yield CHECK.finding(
        Status.WARN,
        f"OpenVINO {wheels[0].version} cannot use {separate[0].name}: OpenCL has {lacking}",
        subject=(*(w.key for w in wheels), *(g.key for g in separate)),
        detail="OpenVINO's GPU plug-in works through OpenCL; without it the devices are the processor and what else there is."
        + "".join(f" It misses {names}." for _, names in opencl.openvino if names),
        evidence=(*opencl.evidence, *separate[0].evidence[:1]),
        confidence=Confidence.DERIVED,
        remedy=REMEDY,
    )


def twice(opencl: OpenCl, gpus: list[Component]) -> Iterator[Finding]:
    """Two run times for the Intel GPU: every GPU is listed twice, and a program may take the older."""
    both = [r for r in opencl.runtimes if r.vendor == "intel" and r.path is not None]
    if gpus and len({r.path for r in both}) > 1:
        yield CHECK.finding(
            Status.WARN,
            f"{len(both)} OpenCL run times serve the Intel GPU: {', '.join(r.library for r in both)}",
            subject=tuple(g.key for g in gpus),
            detail="Programs see the GPU once for each. " + "; ".join(f"{r.icd}: {r.serves}" for r in both) + ".",
            evidence=opencl.evidence,
            severity=Severity.LOW,
            remedy="Keep compute-runtime (NEO) of one version; Beignet is no longer maintained.",
        )


def in_order(opencl: OpenCl) -> Finding:
    """What serves what."""
    good = [r for r in opencl.runtimes if r.path is not None]
    if not good or opencl.loader is None:
        return CHECK.skip("nothing that is here needs OpenCL")
    return CHECK.finding(
        Status.PASS,
        f"OpenCL: {', '.join(dict.fromkeys(r.serves for r in good))}",
        detail="; ".join(f"{r.icd}: {r.library}" for r in good),
        evidence=opencl.evidence,
        severity=Severity.LOW,
    )


REMEDY = (
    "Install the loader and Intel's run time: on Ubuntu `ocl-icd-libopencl1 intel-opencl-icd` (the newest from"
    " Intel's repository), on"
    " Fedora `ocl-icd intel-compute-runtime`; the user needs the group `render`. `clinfo -l` then lists the GPU."
)

CHECK = Check(
    id="OPENCL-ICD",
    title="OpenCL run time missing, broken or double",
    explanation="""\
A program uses OpenCL through a loader, `libOpenCL.so.1`. The loader reads the files `/etc/OpenCL/vendors/*.icd`; each names one
library, the run time of some devices: `libigdrcl.so` (compute-runtime, NEO) Intel's GPUs, `libintelocl.so` the processor,
`libnvidia-opencl.so.1` NVIDIA's, `libamdocl64.so` AMD's. A file whose library is missing or lacks a dependency is left out in
silence; with none left the loader answers -1001, *CL_PLATFORM_NOT_FOUND_KHR*.

OpenVINO uses an Intel GPU through OpenCL. PyTorch and CUDA do not need it, so NVIDIA's file without its library, common in
images, is no fault where nothing uses OpenCL; and OpenVINO on a machine whose only Intel GPU is part of the processor is not
asked to use it.

*Proven on described machines, not on an Intel GPU.*""",
    remediation=REMEDY,
    sources=(
        "https://man.archlinux.org/man/libOpenCL.7",
        "https://docs.openvino.ai/2024/get-started/configurations/configurations-intel-gpu.html",
        "https://github.com/intel/compute-runtime/issues/9",
        "https://github.com/open-mpi/hwloc/issues/425",
    ),
    run=run,
    severity=Severity.MEDIUM,
    log_signatures=(
        LogSignature(
            pattern=r"clGetPlatformIDs[^\n]{0,40}-1001", source="https://github.com/open-mpi/hwloc/issues/425", strength=3
        ),
        LogSignature(
            pattern=r"PLATFORM_NOT_FOUND_KHR", source="https://github.com/inducer/pyopencl/issues/329", strength=3
        ),
        LogSignature(
            pattern=r"libOpenCL\.so\.1: cannot open shared object file",
            source="https://github.com/openvinotoolkit/openvino/issues/29074", strength=3,
        ),
        LogSignature(
            pattern=r"\[GPU\] Can't get [A-Z_]{3,40} property as no supported devices found",
            source="https://github.com/openvinotoolkit/openvino/issues/29074", strength=3,
        ),
        LogSignature(
            pattern=r"No supported OCL devices found",
            source="https://github.com/openvinotoolkit/openvino/issues/17290",
            strength=3,
        ),
        LogSignature(
            pattern=r"\[CLDNN ERROR\]\. No GPU device was found",
            source="https://github.com/openvinotoolkit/openvino/issues/452",
        ),
        LogSignature(
            pattern=r"No OpenCL device found which would match provided configuration",
            source="https://github.com/openvinotoolkit/openvino/issues/97",
        ),
        LogSignature(
            pattern=r"Number of platforms\s{1,80}0(?!\d)",
            source="https://github.com/intel/ipex-llm/issues/13020",
            strength=3,
        ),
        LogSignature(
            pattern=r"Specified device GPU is not in the list of OpenVINO Available Devices",
            source="https://github.com/vladmandic/sdnext/issues/2110",
            strength=1,
        ),
    ),
    explained_by=("INTEL-GPU",),
    tags=("intel", "opencl"),
)  # fmt: skip

CHECKS = (CHECK,)
