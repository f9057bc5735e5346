"""NVCC-MISMATCH: the toolkit that a build would take is of another CUDA major than the PyTorch it would build for.

A toolkit that differs from a wheel's CUDA is no fault for those who only use wheels, so it takes a sign that something is
compiled here: a package that compiles at run time, or TORCH_CUDA_ARCH_LIST."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Component,
    Evidence,
    EvidenceKind,
    Finding,
    LogSignature,
    Severity,
    Status,
    major,
)
from infra_doctor_probes.detect.cuda_toolkit import CudaEnvironment

# Packages that build extensions by torch.utils.cpp_extension when they are used, and refuse a toolkit of another major
# (deepspeed/ops/op_builder/builder.py). FlashInfer and TileLang call nvcc too, and ask for no such thing.
COMPILE_AT_RUN_TIME = ("deepspeed",)


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per target with a CUDA build of torch."""
    environment = context.fact(CudaEnvironment)
    toolkit = context.component(environment.default_toolkit) if environment and environment.default_toolkit else None
    torches = [c for c in context.by_kind("wheel") if c.name == "torch" and c.attributes.get("cuda")]
    if environment is None or toolkit is None or not toolkit.attributes.get("nvcc_path"):
        found = [f for torch in torches if (f := without_nvcc(context, torch))]
        yield from found or [CHECK.skip("no nvcc is installed that a build would take")]
        return
    if not torches:
        yield CHECK.skip("no CUDA build of PyTorch is installed")
        return
    for torch in torches:
        yield judge(context, environment, toolkit, torch)


def without_nvcc(context: CheckContext, torch: Component) -> Finding | None:
    """A package of torch's environment that compiles when it is used, on a machine with a GPU and no toolkit at all."""
    if not any(g.attributes.get("vendor") == "nvidia" for g in context.by_kind("gpu")):
        return None
    sign = sign_of_compiling(context, None, torch.target)
    if sign is None:
        return None
    return CHECK.finding(
        Status.WARN,
        f"no nvcc is installed, and {sign.text}",
        subject=(torch.key,),
        detail="What it has to compile fails by: CUDA_HOME does not exist, unable to compile CUDA op(s).",
        evidence=[*torch.evidence, sign],
        remedy=(
            f"Where those kernels are needed, install a toolkit of CUDA {major(str(torch.attributes['cuda']))}.x and point"
            " CUDA_HOME at it."
        ),
    )


def judge(context: CheckContext, environment: CudaEnvironment, toolkit: Component, torch: Component) -> Finding:
    """PyTorch's own test: an extension is refused where the majors differ, and only warned about where the minors do."""
    cuda = str(torch.attributes["cuda"])
    shown = f"nvcc of CUDA {toolkit.version}, torch {torch.version} of CUDA {cuda}"
    subject = (toolkit.key, torch.key)
    evidence = [*toolkit.evidence, *torch.evidence, *environment.evidence]
    if major(toolkit.version) is None:
        return CHECK.finding(
            Status.UNKNOWN, f"the version of {toolkit.location} could not be told", subject=subject, evidence=evidence
        )
    if major(toolkit.version) == major(cuda):
        return CHECK.finding(Status.PASS, shown, subject=subject, evidence=evidence)
    sign = sign_of_compiling(context, environment, torch.target)
    if sign is None:
        return CHECK.skip(f"{shown}: this matters only to those who compile CUDA extensions")
    return CHECK.finding(
        Status.WARN,
        f"{shown}: CUDA extensions cannot be built",
        subject=subject,
        detail=f"Seen here: {sign.text}. PyTorch refuses to build an extension with a toolkit of another CUDA major.",
        evidence=[*evidence, sign],
        remedy=(
            f"Point CUDA_HOME at a toolkit of CUDA {major(cuda)}.x for the build (several toolkits can lie side by side in"
            " /usr/local), or install the torch build of the toolkit's CUDA."
        ),
    )


def sign_of_compiling(
    context: CheckContext, environment: CudaEnvironment | None, target: str | None
) -> Evidence | None:
    """What shows that CUDA code is compiled in this target (None: in any)."""
    if environment is not None and environment.arch_list:
        return Evidence(
            kind=EvidenceKind.ENVIRONMENT,
            source="TORCH_CUDA_ARCH_LIST",
            text=f"TORCH_CUDA_ARCH_LIST={environment.arch_list}",
        )
    for name in COMPILE_AT_RUN_TIME:
        for wheel in context.by_kind("wheel", target=target) if target else context.by_kind("wheel"):
            if wheel.name != name:
                continue
            return Evidence(
                kind=EvidenceKind.METADATA,
                source=wheel.location or name,
                text=f"{name} {wheel.version} compiles kernels when it is used",
            )
    return None


CHECK = Check(
    id="NVCC-MISMATCH",
    title="Toolkit of another CUDA major than PyTorch",
    explanation="""\
`torch.utils.cpp_extension` takes CUDA_HOME, then CUDA_PATH, then the nvcc on PATH, then /usr/local/cuda, and refuses to build
where that toolkit's CUDA major differs from the one that torch was built with: *The detected CUDA version (11.8) mismatches
the version that was used to compile PyTorch (12.4)*. Another minor version is only warned about.

A package that compiles when it is used (DeepSpeed) beside a CUDA build of PyTorch, on a machine with a GPU and no toolkit at
all, is warned about too: *CUDA_HOME does not exist, unable to compile CUDA op(s)*.

**Those who only install wheels need no toolkit at all**, and a different one does them no harm.""",
    remediation="Build with a toolkit of torch's CUDA major (CUDA_HOME), or install the torch build of the toolkit's CUDA.",
    sources=(
        "https://github.com/pytorch/pytorch/blob/main/torch/utils/cpp_extension.py",
        "https://github.com/pytorch/pytorch/issues/73047",
        "https://github.com/deepspeedai/DeepSpeedExamples/issues/370",
        "https://github.com/deepspeedai/DeepSpeed/issues/2772",
    ),
    run=run,
    severity=Severity.LOW,
    log_signatures=(
        LogSignature(
            pattern=r"CUDA_HOME does not exist, unable to compile CUDA op",
            source="https://github.com/deepspeedai/DeepSpeed/issues/2772",
            strength=2,
        ),
        LogSignature(
            pattern=r"The detected CUDA version \([\d.]{2,9}\) mismatches the version that was used to compile",
            source="https://github.com/pytorch/pytorch/issues/73047",
            strength=3,
        ),
        LogSignature(
            pattern=r"Installed CUDA version [\d.]{2,9} does not match the version torch was compiled with",
            source="https://github.com/deepspeedai/DeepSpeedExamples/issues/370",
            strength=3,
        ),
    ),
    explained_by=("DISTRO-CUDA",),
    tags=("nvidia", "build"),
)

CHECKS = (CHECK,)
