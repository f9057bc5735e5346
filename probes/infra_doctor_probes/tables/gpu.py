"""GPUs against driver branches and toolkits: the last branch of an architecture, the first one, what nvcc compiles for.

Facts: NVIDIA's CUDA Toolkit, Driver, and Architecture Matrix (`gpu_last_driver`, `gpu_arch`), the driver that came with
each toolkit (`cuda_driver`), and cuDNN's support matrix for Blackwell's driver. Only Blackwell's first branch is published
as such; for the others it is inferred from the first toolkit, which gives a hint and no verdict."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    CheckContext,
    Compatibility,
    CompatibilityRule,
    Component,
    Row,
    Verdict,
    ceiling,
    floor,
    major,
    major_minor,
    numbers,
    pair,
    version_key,
)
from infra_doctor_probes.tables.common import capability, first_row, is_wsl, label, nvidia_gpus, rows, table_text, text

BRANCH, TOOLKIT = "gpu-driver-branch", "gpu-toolkit"
MATRIX = "https://docs.nvidia.com/datacenter/tesla/drivers/cuda-toolkit-driver-and-architecture-matrix.html"
CUDNN_MATRIX = "https://docs.nvidia.com/deeplearning/cudnn/latest/support-matrix/index.html"
RELEASE_NOTES_12_8 = "https://docs.nvidia.com/cuda/archive/12.8.0/cuda-toolkit-release-notes/index.html"


def judge_branches(ctx: CheckContext) -> Iterator[Compatibility]:
    """Every NVIDIA GPU against the loaded driver."""
    driver = ctx.component("driver:nvidia")
    if driver is None or major(driver.version) is None:
        return
    for gpu in nvidia_gpus(ctx):
        if capability(gpu) is not None:
            yield too_new_a_driver(gpu, driver) or old_enough_for(ctx, gpu, driver)


def too_new_a_driver(gpu: Component, driver: Component) -> Compatibility | None:
    """The row where the driver is past the last branch that has this architecture."""
    last = first_row("gpu_last_driver", cc=text(gpu, "compute_capability"))
    if last is None:
        return None
    branch = last["last_driver_branch"]
    # Windows' numbers run on inside a branch (R580 has 581.x and 582.x), so the next branch is what counts.
    later = [n for r in rows("driver_branches") if (n := int(r["branch"][1:])) > int(branch[1:])]
    if major(driver.version) in {None, int(branch[1:])} or not later or (major(driver.version) or 0) < min(later):
        return None
    detail = f"{branch} is the last driver branch for {last['arch']} ({who(gpu)}), and {driver.version} is loaded."
    return pair(
        gpu.key, driver.key, BRANCH, Verdict.INCOMPATIBLE, detail, source=table_text("gpu_last_driver", last),
        certain=last.certain,
    )  # fmt: skip


def old_enough_for(ctx: CheckContext, gpu: Component, driver: Component) -> Compatibility:
    """Whether the driver is new enough for the architecture."""
    arch = first_row("gpu_arch", cc=text(gpu, "compute_capability"))
    if arch is None:
        detail = f"{who(gpu)} is in no table, so its first driver branch is not known."
        return pair(gpu.key, driver.key, BRANCH, Verdict.UNKNOWN, detail, source=MATRIX)
    published = blackwell_driver(arch)
    if published is not None:
        # Windows drivers of R570 begin at 570.65, so the branch is compared where the numbers are Windows'.
        minimum = "570" if is_wsl(ctx) else published["driver_blackwell"]
        detail = f"{arch['arch']} ({who(gpu)}) needs driver {minimum} (R570) or newer, and {driver.version} is loaded."
        return pair(
            gpu.key, driver.key, BRANCH, floor(driver.version, minimum), detail,
            source=f"{table_text('cudnn', published)}; {MATRIX}", certain=published.certain,
        )  # fmt: skip
    answers = text(gpu, "seen_by") == "nvml"
    first, came_with = first_driver(arch)
    verdict = floor(driver.version, came_with["toolkit_driver_linux"]) if came_with else Verdict.UNKNOWN
    if answers or verdict is Verdict.COMPATIBLE:
        knows = f"driver {driver.version} knows {arch['arch']} ({who(gpu)})" + how(answers, first)
        certain = answers or arch.certain
        return pair(gpu.key, driver.key, BRANCH, Verdict.COMPATIBLE, knows, source=MATRIX, certain=certain)
    if came_with is None:
        detail = f"which driver first knew {arch['arch']} ({who(gpu)}) is not known; {driver.version} is loaded."
        return pair(gpu.key, driver.key, BRANCH, Verdict.UNKNOWN, detail, source=table_text("gpu_arch", arch))
    detail = (
        f"{arch['arch']} ({who(gpu)}) first appears in CUDA {first}; the driver of CUDA {came_with['cuda_version']} is "
        f"{came_with['toolkit_driver_linux']}, and {driver.version} is loaded: it may be too old."
    )
    source = f"{table_text('gpu_arch', arch)}; {table_text('cuda_driver', came_with)}"
    return pair(gpu.key, driver.key, BRANCH, verdict, detail, source=source, certain=False)


def how(answers: bool, first_toolkit: str) -> str:
    """Why it is known that the driver serves the GPU."""
    if answers:
        return ": it answers for it through NVML."
    return f": it is newer than the one that came with CUDA {first_toolkit}, the first with this architecture."


def who(gpu: Component) -> str:
    """ "NVIDIA H200, compute capability 9.0"."""
    return f"{gpu.name}, compute capability {text(gpu, 'compute_capability')}"


def blackwell_driver(arch: Row) -> Row | None:
    """The row of cuDNN's matrix that names Blackwell's driver. It lists compute capabilities 10.0 and 12.0."""
    if arch["arch"] != "Blackwell" or arch["cc"] not in {"10.0", "12.0"}:
        return None
    return next((r for r in rows("cudnn") if r.certain and r["driver_blackwell"]), None)


def first_driver(arch: Row) -> tuple[str, Row | None]:
    """(the first toolkit "11.8", the row of the oldest driver that came with it, or with the next one in the table)."""
    first = major_minor(arch["min_cuda_toolkit"])
    if first is None:
        return "", None
    found = [
        r
        for r in rows("cuda_driver")
        if r["toolkit_driver_linux"] and (major_minor(r["cuda_version"]) or first) >= first
    ]
    return f"{first[0]}.{first[1]}", min(found, key=lambda r: version_key(r["toolkit_driver_linux"]), default=None)


def judge_toolkits(ctx: CheckContext) -> Iterator[Compatibility]:
    """Every GPU against every toolkit: whether its nvcc compiles for it."""
    for toolkit in ctx.by_kind("cuda-toolkit"):
        if major(toolkit.version) is None:
            continue
        for gpu in nvidia_gpus(ctx):
            arch = first_row("gpu_arch", cc=text(gpu, "compute_capability"))
            if arch is not None:
                yield toolkit_row(gpu, toolkit, arch)


def toolkit_row(gpu: Component, toolkit: Component, arch: Row) -> Compatibility:
    """One GPU and one toolkit. Matters to those who compile; wheels are compiled already."""
    first = ".".join(str(n) for n in numbers(arch["min_cuda_toolkit"])[:2])
    last = ".".join(str(n) for n in numbers(arch["max_cuda_toolkit"])[:2])
    compiling = "it matters only when something is compiled on this machine"
    source = f"{table_text('gpu_arch', arch)}; {MATRIX}"
    if floor(toolkit.version, first) is not Verdict.COMPATIBLE:
        verdict = floor(toolkit.version, first)
        detail = f"nvcc of {label(toolkit)} knows no {arch['arch']} ({who(gpu)}), which begins with CUDA {first}; {compiling}."
    elif last and ceiling(toolkit.version, last) is Verdict.INCOMPATIBLE:
        verdict = Verdict.INCOMPATIBLE
        detail = f"CUDA {last} is the last to compile for {arch['arch']} ({who(gpu)}), and this is {label(toolkit)}; {compiling}."
    else:
        verdict = Verdict.COMPATIBLE
        detail = f"nvcc of {label(toolkit)} compiles for {arch['arch']} ({who(gpu)})."
    return pair(gpu.key, toolkit.key, TOOLKIT, verdict, detail, source=source, certain=arch.certain)


RULES = (
    CompatibilityRule(
        id=BRANCH,
        title="The driver branch knows the GPU",
        explanation="""\
A GPU needs a driver branch that knows its architecture: **R580 is the last for Maxwell, Pascal and Volta**, R470 for Kepler.
Blackwell (10.0, 12.0) needs R570 (570.26) or newer: on R550 the GPU does not start. For other architectures NVIDIA publishes
the first toolkit and not the first driver; a driver older than the one that came with that toolkit gives a hint only.""",
        sources=(MATRIX, CUDNN_MATRIX, RELEASE_NOTES_12_8, "https://developer.nvidia.com/cuda-gpus"),
        judge=judge_branches,
    ),
    CompatibilityRule(
        id=TOOLKIT,
        title="The toolkit compiles for the GPU",
        explanation="""\
nvcc knows the architectures of its own time: CUDA 12.8 is the first for Blackwell, CUDA 13 compiles for compute capability
7.5 and newer only. It matters when something is compiled on this machine, not to wheels.""",
        sources=(MATRIX, "https://docs.nvidia.com/cuda/archive/13.0.0/cuda-toolkit-release-notes/index.html"),
        judge=judge_toolkits,
    ),
)
