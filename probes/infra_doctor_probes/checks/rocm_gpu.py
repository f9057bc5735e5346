"""ROCM-GPU: an AMD GPU that the compute driver did not take, that PyTorch brings no kernels for, or that reports faults.

Rests on the driver's topology (KFD), its messages in the kernel's log, how /dev/kfd answers, the names of the kernel files in
PyTorch's wheel, the driver's error counters, and how AMD's management library answered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from infra_doctor.plugin import Check, CheckContext, Component, Confidence, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.amd import wants_rocm
from infra_doctor_probes.detect.system import Container

if TYPE_CHECKING:
    from infra_doctor_probes.amd.kfd import AmdAccess, AmdKfd

# What open() of /dev/kfd gives where the driver took no GPU (no memory), or where another process's namespace is in the way.
NO_GPU_TAKEN = {"ENOMEM", "EFAULT", "ENODEV", "ENXIO"}


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per fault; one `pass` or `skip` where there is none."""
    gpus = [c for c in context.by_kind("gpu") if c.attributes.get("vendor") == "amd"]
    if not gpus:
        yield CHECK.skip("no AMD GPU is there")
        return
    from infra_doctor_probes.amd.kfd import AmdAccess, AmdKfd

    kfd, access = context.fact(AmdKfd), context.fact(AmdAccess)
    if kfd is None:
        yield CHECK.skip("the AMD GPU's driver could not be looked at")
        return
    wanted = wants_rocm(context) or bool(context.by_kind("rocm"))
    found = [*(not_taken(context, gpus, kfd, access) if wanted else ()), *kernels(context, gpus)]
    found += [*faults(gpus, kfd), *hangs(context, gpus)]
    yield from found
    if found:
        return
    taken = [g for g in gpus if g.attributes.get("gfx")]
    if taken:
        yield CHECK.finding(
            Status.PASS, f"the compute driver serves {len(taken)} AMD GPU{'s' if len(taken) > 1 else ''}",
            subject=tuple(g.key for g in taken), evidence=kfd.evidence, severity=Severity.LOW,
        )  # fmt: skip
    else:
        yield CHECK.skip("nothing installed uses the AMD GPU for computing")


# -- the compute driver -------------------------------------------------------------------------------------------


def in_container(context: CheckContext) -> bool:
    """Whether we look out of a container: its /sys may lack the topology."""
    return context.fact(Container) is not None


def not_taken(context: CheckContext, gpus: list[Component], kfd: AmdKfd, access: AmdAccess | None) -> Iterator[Finding]:
    """GPUs that are no node of the topology, with the driver's reason."""
    if kfd.unreadable:
        return  # their nodes may be among those that this process may not read
    taken = {g.attributes.get("pci_id") for g in gpus if g.attributes.get("gfx")}
    # Beside GPUs that were taken, another model may be there for the screen alone.
    missing = [g for g in gpus if not g.attributes.get("gfx") and (not taken or g.attributes.get("pci_id") in taken)]
    if not missing:
        if access is not None and access.kfd and access.kfd not in {"EACCES", "EPERM"}:
            yield CHECK.finding(
                Status.WARN, f"/dev/kfd answers {access.kfd}, although the driver took the GPUs",
                subject=tuple(g.key for g in gpus), evidence=access.evidence, severity=Severity.MEDIUM, remedy=NOT_TAKEN_REMEDY,
            )  # fmt: skip
        return
    subject = tuple(g.key for g in missing)
    evidence = (*(e for g in missing[:4] for e in g.evidence[:1]), *kfd.evidence, *(access.evidence if access else ()))
    reason = next((line for line in kfd.log if "not supported in kfd" in line or "skipped device" in line), None)
    bound = {g.attributes.get("driver_module") for g in missing}
    names = ", ".join(dict.fromkeys(g.name for g in missing))
    if reason is not None:
        atomics = "atomics" in reason
        yield CHECK.finding(
            Status.FAIL,
            f"the compute driver does not take {names}: "
            + ("its PCIe root offers no atomics" if atomics else "it does not support this GPU"),
            subject=subject,
            detail=f"The kernel says: {reason}.",
            evidence=evidence,
            remedy=ATOMICS_REMEDY if atomics else UNSUPPORTED_REMEDY,
        )
    elif bound != {"amdgpu"}:
        others = ", ".join(sorted(str(b) for b in bound if b and b != "amdgpu")) or "none"
        yield CHECK.finding(
            Status.FAIL,
            f"{names} is not served by amdgpu (kernel driver: {others})",
            subject=subject,
            evidence=evidence,
            remedy=DRIVER_REMEDY,
        )
    elif access is not None and access.kfd in NO_GPU_TAKEN:
        yield CHECK.finding(
            Status.FAIL,
            f"the compute driver took no GPU: /dev/kfd answers {access.kfd}",
            subject=subject,
            detail="This is no matter of permission. The kernel's log says why it took none"
            + (f"; it could not be read here ({kfd.log_error})." if kfd.log_error else "."),
            evidence=evidence,
            remedy=NOT_TAKEN_REMEDY,
        )
    elif kfd.present or not in_container(context):
        yield CHECK.finding(
            Status.WARN,
            f"{names} is no node of the compute driver" + ("" if kfd.present else ", which this kernel does not have"),
            subject=subject,
            evidence=evidence,
            confidence=Confidence.DERIVED,
            severity=Severity.MEDIUM,
            remedy=NOT_TAKEN_REMEDY,
        )


# -- what PyTorch brings ------------------------------------------------------------------------------------------


def kernels(context: CheckContext, gpus: list[Component]) -> Iterator[Finding]:
    """GPUs whose instruction set is not among those of PyTorch's rocBLAS."""
    from infra_doctor_probes.amd.rocm import RocmEnvironment, RocmWheelKernels

    environment = context.fact(RocmEnvironment)
    value = environment.value("HSA_OVERRIDE_GFX_VERSION") if environment is not None else None
    stands_for = gfx_of(value or "")
    for fact in context.facts(RocmWheelKernels):
        bad = [g for g in gpus if g.attributes.get("gfx") and (stands_for or g.attributes["gfx"]) not in fact.gfx]
        if not bad:
            continue
        own = ", ".join(dict.fromkeys(str(g.attributes["gfx"]) for g in bad))
        shown = f"{own} (as {stands_for} by HSA_OVERRIDE_GFX_VERSION={value})" if stands_for else own
        yield CHECK.finding(
            Status.WARN,
            f"PyTorch brings no rocBLAS kernels for {shown}",
            subject=(fact.wheel, *(g.key for g in bad)),
            detail=f"The wheel has them for {', '.join(fact.gfx)}. Matrix products then end with an invalid device function or a"
            " missing Tensile library.",
            evidence=(*fact.evidence, *(e for g in bad for e in g.evidence[-1:])),
            confidence=Confidence.DERIVED,
            remedy=KERNELS_REMEDY,
        )


def gfx_of(override: str) -> str | None:
    """ "10.3.0" as "gfx1030"."""
    match = re.fullmatch(r"(\d{1,2})\.(\d{1,2})\.(\d{1,2})", override.strip())
    return f"gfx{int(match[1])}{int(match[2]):x}{int(match[3]):x}" if match else None


# -- the device's own word ----------------------------------------------------------------------------------------


def faults(gpus: list[Component], kfd: AmdKfd) -> Iterator[Finding]:
    """Errors that could not be corrected, resets that failed, throttling that the kernel reported."""
    for gpu in gpus:
        errors = gpu.attributes.get("ecc_uncorrectable")
        if isinstance(errors, int) and errors > 0:
            yield CHECK.finding(
                Status.WARN,
                f"{gpu.name} counted {errors} memory or logic errors that it could not correct",
                subject=(gpu.key,),
                detail="Counted since the driver was loaded. Work that ran then may have failed or be wrong.",
                evidence=gpu.evidence,
                remedy=ECC_REMEDY,
            )
    for word, title, remedy in (
        ("GPU reset(", "the kernel could not reset an AMD GPU", RESET_REMEDY),
        ("thermal throttling", "an AMD GPU has throttled because of its temperature", HEAT_REMEDY),
    ):
        lines = [line for line in kfd.log if word in line]
        if lines:
            yield CHECK.finding(
                Status.WARN, title, subject=tuple(g.key for g in gpus if g.key.removeprefix("gpu:") in " ".join(lines)),
                detail=f"The kernel says: {lines[-1]}", evidence=kfd.evidence, severity=Severity.LOW, remedy=remedy,
            )  # fmt: skip


def hangs(context: CheckContext, gpus: list[Component]) -> Iterator[Finding]:
    """AMD's management library that gave no answer in time: a driver or firmware that does not answer."""
    from infra_doctor_probes.amd.gpus import AmdSmiSession

    for fact in context.facts(AmdSmiSession):
        if fact.timed_out:
            yield CHECK.finding(
                Status.WARN,
                f"{fact.tool} gives no answer",
                subject=tuple(g.key for g in gpus),
                detail=f"{fact.error}.",
                evidence=fact.evidence,
                severity=Severity.MEDIUM,
                remedy=RESET_REMEDY,
            )


UNSUPPORTED_REMEDY = (
    "This generation has no support in the compute driver: use the GPU for graphics or OpenCL by Mesa, and another GPU for ROCm."
    " For a GPU that is newer than the kernel, a newer kernel or AMD's amdgpu-dkms has the support."
)
ATOMICS_REMEDY = (
    "Put the GPU in a slot that hangs on the processor itself (not on the chipset or a switch without atomics); where"
    " the processor"
    " has no PCIe atomics, ROCm cannot use this GPU there."
)
DRIVER_REMEDY = (
    "Install or load amdgpu (`modprobe amdgpu`); `dmesg | grep -i amdgpu` says why it does not serve the GPU."
)
NOT_TAKEN_REMEDY = (
    "Read the driver's reason with `sudo dmesg | grep -i kfd`. A module that was built for another kernel (`dkms status`), a GPU"
    " without support and missing PCIe atomics are the common ones."
)
KERNELS_REMEDY = (
    "Take a PyTorch build that names this GPU (AMD's own wheels differ from PyTorch's). For a close relative of a supported chip,"
    " HSA_OVERRIDE_GFX_VERSION makes ROCm use the relative's kernels (10.3.0 for RDNA 2, 11.0.0 for RDNA 3): unsupported, and it"
    " may compute wrongly or crash."
)
ECC_REMEDY = (
    "Restart what ran on it; drain the GPU, see `amd-smi metric --ecc` and `amd-smi bad-pages`, and have the board replaced if the"
    " count grows."
)
RESET_REMEDY = (
    "Stop what uses the GPUs and reboot; if it returns, update firmware and driver, and have the board checked."
)
HEAT_REMEDY = "See to the cooling: `amd-smi metric --temperature`, fans, airflow, and the room's temperature."

CHECK = Check(
    id="ROCM-GPU",
    title="AMD GPU that ROCm cannot use, or that reports faults",
    explanation="""\
amdgpu serves all current AMD GPUs for graphics; for computing its part KFD must take them. It leaves out generations without
support (*not supported in kfd*) and, for some chips, GPUs whose PCIe root offers no atomics (*PCI rejects atomics*). `/dev/kfd`
then answers *Cannot allocate memory*: no lack of memory and no matter of permission.

PyTorch carries compiled kernels for some instruction sets (gfx942, gfx1100 …). A GPU with another one ends in *HIP error:
invalid device function* or a missing Tensile library, although `torch.cuda.is_available()` says True.

Errors that the GPU could not correct, failed resets and throttling by temperature are reported from the driver's counters and
the kernel's log where this user may read it. PCIe width and speed are shown and not judged: both fall while a GPU idles.

*Proven on captures and on described machines, not on an AMD machine.*""",
    remediation=NOT_TAKEN_REMEDY,
    sources=(
        "https://github.com/ROCm/legacy-rocm-build/issues/2232",
        "https://github.com/ROCm/legacy-rocm-build/issues/1185",
        "https://github.com/ROCm/legacy-rocm-build/issues/1174",
        "https://github.com/ROCm/legacy-rocm-build/issues/2536",
        "https://github.com/ROCm/rocALUTION/issues/197",
        "https://kernel.org/doc/Documentation/gpu/amdgpu.rst",
    ),
    run=run,
    severity=Severity.HIGH,
    log_signatures=(
        LogSignature(
            pattern=r"CUDA error: invalid device function",
            source="https://github.com/ggml-org/llama.cpp/issues/4762",
            strength=1,
        ),
        LogSignature(
            pattern=r"not supported in kfd", source="https://github.com/ROCm/legacy-rocm-build/issues/2232", strength=3
        ),
        LogSignature(
            pattern=r"kfd[^\n]{0,60}skipped device[^\n]{0,40}PCI rejects atomics",
            source="https://github.com/ROCm/legacy-rocm-build/issues/1174", strength=3,
        ),
        LogSignature(
            pattern=r"Unable to open /dev/kfd read-write: (?:Cannot allocate memory|Bad address|Invalid argument)",
            source="https://github.com/ROCm/legacy-rocm-build/issues/1148", strength=3,
        ),
        LogSignature(
            pattern=r"/dev/kfd[^\n]{0,60}= -1 (?:ENOMEM|EFAULT)",
            source="https://github.com/ROCm/legacy-rocm-build/issues/1109", strength=3,
        ),
        LogSignature(
            pattern=r"HIP error: (?:invalid device function|no kernel image is available)",
            source="https://github.com/ROCm/legacy-rocm-build/issues/2536", strength=2,
        ),
        LogSignature(
            pattern=r"hipErrorInvalidDeviceFunction", source="https://github.com/ROCm/legacy-rocm-build/issues/2527", strength=2
        ),
        LogSignature(
            pattern=r"HSA_STATUS_ERROR_INVALID_ISA",
            source="https://github.com/likelovewant/ROCmLibs-for-gfx1103-AMD780M-APU/issues/37", strength=2,
        ),
        LogSignature(
            pattern=r"HSA_STATUS_ERROR_OUT_OF_RESOURCES",
            source="https://github.com/ROCm/legacy-rocm-build/issues/1148", strength=1,
        ),
        LogSignature(
            pattern=r"TensileLibrary[\w.]{0,40}: [^\n]{1,60} for GPU arch ?: ?gfx",
            source="https://github.com/ROCm/legacy-rocm-build/issues/2719",
            strength=3,
        ),
        LogSignature(
            pattern=r"rocBLAS error: Cannot read [^\n]{1,240}TensileLibrary",
            source="https://github.com/ROCm/rocBLAS/issues/1339",
        ),
        LogSignature(
            pattern=r"hipErrorNoBinaryForGpu",
            source="https://github.com/ROCm/legacy-rocm-build/issues/2061",
        ),
        LogSignature(
            pattern=r"\bamdgpu is not supported\b",
            source="https://github.com/likelovewant/ollama-for-amd/issues/14",
            strength=3,
        ),
        LogSignature(
            pattern=r"ROCm error: (?:invalid device function|no kernel image)",
            source="https://github.com/likelovewant/ROCmLibs-for-gfx1103-AMD780M-APU/issues/19",
        ),
        LogSignature(
            pattern=r"ROCk module is NOT loaded, possibly no GPU devices",
            source="https://github.com/ROCm/legacy-rocm-build/issues/1794",
            strength=1,
        ),
        LogSignature(
            pattern=r"no ROCm-capable device is detected|HIP error: hipErrorNoDevice",
            source="https://github.com/ROCm/hip/issues/3805",
            strength=1,
        ),
        LogSignature(
            pattern=r"adding custom device \W{0,3}/dev/kfd\W{0,3}: no such file",
            source="https://github.com/hydrian/stable-diffusion-webui-rocm/issues/17",
        ),
    ),
    tags=("amd",),
)  # fmt: skip

CHECKS = (CHECK,)
