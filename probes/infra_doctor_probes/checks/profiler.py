"""PROFILER: an installed profiler that does not support the GPU that is here.

Judged by NVIDIA's own lists: nvprof and the Visual Profiler end at compute capability 7.x; which GPUs Nsight Compute supports is
in the release notes of each release. What no list says is unknown."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Component, Finding, LogSignature, Severity, Status, numbers, record
from infra_doctor_probes.checks.cuda_env import capability
from infra_doctor_probes.workload import nvidia_gpus

NVPROF_END = (8, 0)
NVPROF_SOURCE = "https://docs.nvidia.com/cuda/profiler-users-guide/index.html"
NOTES = "https://docs.nvidia.com/nsight-compute/ReleaseNotes/topics/gpu-support.html"
NOTES_2024 = "https://docs.nvidia.com/nsight-compute/2024.1/ReleaseNotes/topics/gpu-support.html"
NOTES_2020 = "https://docs.nvidia.com/nsight-compute/2020.1/ReleaseNotes/index.html"


@record
class Support:
    """GPUs of these compute capabilities are supported (or not) by Nsight Compute releases of this range; ends included."""

    capabilities: tuple[tuple[int, int], tuple[int, int]]
    releases: tuple[tuple[int, int], tuple[int, int]]
    supported: bool
    source: str


ALWAYS = (9999, 0)
SUPPORT = (
    Support(capabilities=((0, 0), (6, 9)), releases=((2020, 1), ALWAYS), supported=False, source=NOTES_2020),
    Support(capabilities=((8, 0), (8, 0)), releases=((2018, 0), (2019, 9)), supported=False, source=NOTES_2020),
    Support(capabilities=((7, 0), (7, 2)), releases=((2020, 1), (2024, 1)), supported=True, source=NOTES_2024),
    Support(capabilities=((7, 0), (7, 2)), releases=((2025, 4), ALWAYS), supported=False, source=NOTES),
    Support(capabilities=((7, 5), (7, 5)), releases=((2020, 1), ALWAYS), supported=True, source=NOTES),
    Support(capabilities=((8, 0), (8, 0)), releases=((2020, 1), ALWAYS), supported=True, source=NOTES),
    Support(capabilities=((8, 6), (9, 0)), releases=((2024, 1), ALWAYS), supported=True, source=NOTES),
    Support(capabilities=((10, 0), (12, 9)), releases=((2018, 0), (2024, 1)), supported=False, source=NOTES_2024),
    Support(capabilities=((10, 0), (12, 1)), releases=((2025, 4), ALWAYS), supported=True, source=NOTES),
)


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per profiler that can be judged against a GPU."""
    gpus = {c for g in nvidia_gpus(context) if (c := capability(g)) is not None}
    tools = [c for c in context.by_kind("profiler") if c.name in {"nvprof", "nvvp", "ncu"}]
    if not tools:
        yield CHECK.skip("no profiler is installed whose support of GPUs is judged")
    elif not gpus:
        yield CHECK.skip("no NVIDIA GPU of known compute capability is there")
    else:
        for tool in tools:
            yield (
                nvprof(context, tool, gpus) if tool.name in {"nvprof", "nvvp"} else nsight_compute(context, tool, gpus)
            )


def nvprof(context: CheckContext, tool: Component, gpus: set[tuple[int, int]]) -> Finding:
    """The end of nvprof is written in its own guide. It comes with toolkits unasked, so only a machine without its successor
    gets a warning."""
    beyond = sorted(c for c in gpus if c >= NVPROF_END)
    other = [c for c in context.by_kind("profiler") if c.name in {"ncu", "nsys"}]
    if beyond and not other:
        return CHECK.finding(
            Status.WARN,
            f"{tool.name} does not support GPUs of compute capability {shown(beyond)}, and no other profiler is installed",
            subject=(tool.key,),
            evidence=tool.evidence,
            severity=Severity.LOW,
            remedy="Install Nsight Systems (nsys) for traces and Nsight Compute (ncu) for kernels: packages nsight-systems and"
            " nsight-compute of NVIDIA's CUDA repository.",
            docs=(NVPROF_SOURCE,),
        )
    note = f"It does not support compute capability {shown(beyond)}; {other[0].name} does its work." if beyond else ""
    title = f"{tool.name} is not needed here" if beyond else f"{tool.name} supports the GPUs here"
    return CHECK.finding(
        Status.PASS, title, subject=(tool.key,), detail=note, evidence=tool.evidence, severity=Severity.LOW
    )


def nsight_compute(context: CheckContext, tool: Component, gpus: set[tuple[int, int]]) -> Finding:
    """By the release notes."""
    release = (numbers(tool.version or "") or ())[:2]
    rows = {gpu: support(gpu, (release[0], release[1])) for gpu in gpus} if len(release) == 2 else {}
    refused = sorted(gpu for gpu, row in rows.items() if row is not None and not row.supported)
    if refused:
        row = rows[refused[0]]
        first = tool.attributes.get("first") is not False
        return CHECK.finding(
            Status.WARN if first else Status.PASS,
            f"Nsight Compute {tool.version} does not support GPUs of compute capability {shown(refused)}",
            subject=(tool.key,),
            detail="" if first else "The copy that `ncu` starts is another one.",
            evidence=tool.evidence,
            severity=Severity.LOW,
            remedy=REMEDY,
            docs=(row.source,) if row is not None else None,
        )
    if not rows or any(row is None for row in rows.values()):
        return CHECK.finding(
            Status.UNKNOWN,
            f"whether Nsight Compute {tool.version or 'of unknown version'} supports the GPUs here is not in the tables",
            subject=(tool.key,),
            evidence=tool.evidence,
            severity=Severity.LOW,
        )
    return CHECK.finding(
        Status.PASS,
        f"Nsight Compute {tool.version} supports compute capability {shown(sorted(gpus))}",
        subject=(tool.key,),
        evidence=tool.evidence,
        severity=Severity.LOW,
    )


def support(gpu: tuple[int, int], release: tuple[int, int]) -> Support | None:
    """The row that speaks of both."""
    for row in SUPPORT:
        if row.capabilities[0] <= gpu <= row.capabilities[1] and row.releases[0] <= release <= row.releases[1]:
            return row
    return None


def shown(capabilities: list[tuple[int, int]]) -> str:
    """`8.0, 9.0`."""
    return ", ".join(f"{major}.{minor}" for major, minor in capabilities)


REMEDY = (
    "Install a Nsight Compute release that lists the GPU: it comes on its own from NVIDIA's repository (package nsight-compute-…)"
    " and needs no newer CUDA toolkit, only a driver that is new enough. For GPUs that newer releases dropped, an older one."
)

CHECK = Check(
    id="PROFILER",
    title="Profiler does not support the GPU",
    explanation="""\
nvprof and the Visual Profiler do not support GPUs of compute capability 8.0 and higher; Nsight Systems and Nsight Compute took
their place. Each release of Nsight Compute supports the GPU generations that its notes list: newer GPUs need a newer release, and
old generations are dropped.

infra-doctor finds profilers by their folders and compares their version with NVIDIA's lists. nvprof that merely came with a
toolkit is no fault where Nsight is there too. Releases between the lists that were read are unknown.""",
    remediation=REMEDY,
    sources=(NOTES, NOTES_2024, NOTES_2020, NVPROF_SOURCE),
    run=run,
    severity=Severity.LOW,
    log_signatures=(
        LogSignature(
            pattern=r"nvprof is not supported on devices with compute capability 8\.0 and higher",
            source="https://github.com/puttsk/cuda-tutorial/issues/11",
            strength=3,
        ),
        LogSignature(
            pattern=r"profiling is not supported on devices with compute capability 7\.5 and higher",
            source="https://github.com/undertherain/benchmarker/issues/168",
            strength=3,
        ),
        LogSignature(
            pattern=r"Cuda driver is not compatible with Nsight Compute",
            source="https://github.com/meta-pytorch/tritonbench/issues/632",
            strength=3,
        ),
    ),
    tags=("nvidia", "profiling"),
)

CHECKS = (CHECK,)
