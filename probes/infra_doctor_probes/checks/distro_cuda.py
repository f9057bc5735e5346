"""DISTRO-CUDA: `nvcc` is the distribution's own old toolkit package, and it does not fit what else is here.

The package is no fault by itself. It is one where nvcc resolves to it and a newer toolkit stands beside it unused, or where
it is unable to compile for the GPU and something shows that CUDA code is compiled here."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Component,
    Evidence,
    Finding,
    LogSignature,
    Severity,
    Status,
    major_minor,
)
from infra_doctor_probes.checks.nvcc_mismatch import sign_of_compiling
from infra_doctor_probes.detect.cuda_toolkit import CudaEnvironment
from infra_doctor_probes.from_matrix import row_evidence

PACKAGE = "dpkg nvidia-cuda-toolkit"
TOOLKIT_RULE = "gpu-toolkit"


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding."""
    packaged = [c for c in context.by_kind("cuda-toolkit") if c.origin == PACKAGE]
    if not packaged:
        yield CHECK.skip("the distribution's nvidia-cuda-toolkit package is not installed")
        return
    toolkit = packaged[0]
    environment = context.fact(CudaEnvironment)
    chosen = environment.default_toolkit if environment is not None else None
    if not toolkit.attributes.get("on_path") or chosen not in {None, toolkit.key}:
        yield CHECK.finding(
            Status.PASS,
            f"nvidia-cuda-toolkit {toolkit.version} is installed, and a build does not take it",
            subject=(toolkit.key,),
            evidence=[*toolkit.evidence, *(environment.evidence if environment else ())],
        )
        return
    yield judge(context, toolkit)


def judge(context: CheckContext, toolkit: Component) -> Finding:
    """The finding where nvcc is the package's."""
    newer = newer_toolkit(context, toolkit)
    unable = rows_for_gpu(context, toolkit)
    environment = context.fact(CudaEnvironment)
    if newer is None and unable and (environment is None or sign_of_compiling(context, environment, None) is None):
        return CHECK.skip(f"nvcc is the distribution's CUDA {toolkit.version}; {unable[0][1].text}")
    reasons = [row.text for _, row in unable]
    subject = [toolkit.key, *(key for key, _ in unable)]
    evidence = [*toolkit.evidence, *(row for _, row in unable)]
    if newer is not None:
        reasons.insert(0, f"The newer {newer.location} (CUDA {newer.version}) is installed and not first on PATH.")
        subject.append(newer.key)
        evidence += newer.evidence
    if not reasons:
        return CHECK.finding(
            Status.PASS,
            f"nvcc is the distribution's CUDA {toolkit.version}; nothing here asks for another",
            subject=subject,
            evidence=evidence,
        )
    remedy = REMEDY
    if newer is not None:
        remedy = f"For builds set CUDA_HOME={newer.location} and put {newer.location}/bin first on PATH."
    return CHECK.finding(
        Status.WARN,
        f"nvcc is the distribution's CUDA {toolkit.version}, which does not fit this machine",
        subject=dict.fromkeys(subject),
        detail=" ".join((*dict.fromkeys(reasons), "Users of wheels are not concerned.")),
        evidence=evidence,
        remedy=remedy,
    )


def newer_toolkit(context: CheckContext, packaged: Component) -> Component | None:
    """The newest other toolkit with an nvcc, where it is newer than the package."""
    here = major_minor(packaged.version)
    others = [
        (found, c)
        for c in context.by_kind("cuda-toolkit")
        if c.key != packaged.key and c.attributes.get("nvcc_path") and (found := major_minor(c.version)) is not None
    ]
    if here is None or not others:
        return None
    version, newest = max(others, key=lambda pair: (pair[0], pair[1].key))
    return newest if version > here else None


def rows_for_gpu(context: CheckContext, packaged: Component) -> list[tuple[str, Evidence]]:
    """(GPU key, table row) where this toolkit cannot compile for a GPU."""
    return [
        (row.left if row.right == packaged.key else row.right, row_evidence(row))
        for row in context.judged(TOOLKIT_RULE)
        if row.verdict == "incompatible" and row.certain and packaged.key in {row.left, row.right}
    ]


REMEDY = (
    "Install a toolkit that compiles for this GPU from NVIDIA's own package repository: `cuda-toolkit-X-Y` alone, which goes to"
    " /usr/local/cuda-X.Y and brings no driver. Then set CUDA_HOME to it for builds."
)

CHECK = Check(
    id="DISTRO-CUDA",
    title="Distribution's old CUDA toolkit in front",
    explanation="""\
Debian and Ubuntu package their own `nvidia-cuda-toolkit`, frozen with the release: CUDA 11.5 in Ubuntu 22.04, 12.0 in 24.04.
Its nvcc is /usr/bin/nvcc, so it is found before a newer toolkit in /usr/local/cuda whose `bin` is not on PATH, and it
cannot compile for GPUs younger than itself. Installing it may also pull in libraries of another driver (NVML-MISMATCH).

It is no fault where nothing is compiled: wheels bring their own CUDA runtime.""",
    remediation=REMEDY,
    sources=(
        "https://packages.ubuntu.com/search?keywords=nvidia-cuda-toolkit",
        "https://docs.nvidia.com/cuda/cuda-installation-guide-linux/",
        "https://github.com/XuehaiPan/nvitop/issues/41",
    ),
    run=run,
    severity=Severity.LOW,
    log_signatures=(
        LogSignature(
            pattern=r"nvcc fatal\s*: Unsupported gpu architecture",
            source="https://packages.ubuntu.com/search?keywords=nvidia-cuda-toolkit",
        ),
    ),
    tags=("nvidia", "build"),
)

CHECKS = (CHECK,)
