"""The driver against the CUDA family of each consumer: within a CUDA major the driver's own CUDA version is no ceiling.

Facts: NVIDIA's CUDA Compatibility guide (minor-version and forward compatibility), compiled into `cuda_families`
and `driver_branches`. An unknown CUDA major is unknown, never a guess."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    CheckContext,
    Compatibility,
    CompatibilityRule,
    Component,
    Verdict,
    floor,
    major,
    major_minor,
    numbers,
    pair,
    parse_version,
    record,
)
from infra_doctor_probes.detect.nvidia_driver import is_compat
from infra_doctor_probes.tables.common import (
    CudaUse,
    cuda_consumers,
    first_row,
    is_wsl,
    label,
    nvidia_gpus,
    table_text,
    text,
)

FAMILY, TOOLKIT = "cuda-driver-family", "toolkit-driver-family"
MINOR_VERSION = "https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html"
FORWARD = "https://docs.nvidia.com/deploy/cuda-compatibility/forward-compatibility.html"
# Board names of NVIDIA's data-centre GPUs as NVML spells them, and what no data-centre board is called.
DATA_CENTRE = {
    "A2", "A10", "A10G", "A16", "A30", "A40", "A100", "A800", "B100", "B200", "B300", "GB200", "GB300", "GH200", "H20", "H100",
    "H200", "H800", "K80", "L2", "L4", "L20", "L40", "L40S", "M4", "M40", "M60", "P4", "P6", "P40", "P100", "T4", "T4G", "V100",
    "V100S",
}  # fmt: skip
OTHER_BOARDS = ("GeForce", "TITAN", "RTX", "Quadro")
FIRST_BRANCH = 300  # older branches than R300 serve no GPU that CUDA 11 runs on; Jetson Linux counts 32, 35, 36 …


@record
class Answer:
    """A verdict with its sentence."""

    verdict: Verdict
    detail: str
    source: str
    certain: bool = True


def judge_family(ctx: CheckContext) -> Iterator[Compatibility]:
    """Every CUDA wheel against the driver."""
    driver = ctx.component("driver:nvidia")
    if driver is None:
        return
    for wheel, use in cuda_consumers(ctx):
        if use.unknown:
            detail = f"{use.unknown}; its CUDA version is not known."
            yield cell(wheel, driver, FAMILY, Answer(verdict=Verdict.UNKNOWN, detail=detail, source=MINOR_VERSION))
            continue
        said = f"{label(wheel)} is built for CUDA {use.cuda}"
        answer = serve(ctx, driver, use, said)
        yield cell(wheel, driver, FAMILY, answer)


def judge_toolkits(ctx: CheckContext) -> Iterator[Compatibility]:
    """Toolkits against the driver: it matters to programs that somebody compiles with them, not to wheels."""
    driver = ctx.component("driver:nvidia")
    if driver is None:
        return
    for toolkit in ctx.by_kind("cuda-toolkit"):
        if toolkit.version:
            said = f"Programs compiled with {label(toolkit)} are CUDA {toolkit.version} programs (wheels bring their own CUDA)"
            answer = serve(ctx, driver, CudaUse(cuda=toolkit.version), said)
            yield pair(
                toolkit.key,
                driver.key,
                TOOLKIT,
                answer.verdict,
                answer.detail,
                source=answer.source,
                certain=answer.certain,
            )


def cell(consumer: Component, driver: Component, rule: str, answer: Answer) -> Compatibility:
    """The answer as a row of the matrix."""
    return pair(
        consumer.key, driver.key, rule, answer.verdict, answer.detail, source=answer.source, certain=answer.certain
    )


# -- the judgement ------------------------------------------------------------------------------------------------


def serve(ctx: CheckContext, driver: Component, use: CudaUse, said: str) -> Answer:
    """Whether the driver, or the cuda-compat library in front of it, serves this CUDA version."""
    cuda_major = major(use.cuda)
    row = first_row("cuda_families", cuda_major=str(cuda_major)) if cuda_major is not None else None
    if row is None:
        return Answer(
            verdict=Verdict.UNKNOWN,
            detail=f"{said}; no table says which driver CUDA {cuda_major if cuda_major is not None else use.cuda} needs, "
            f"so driver {driver.version} is not judged.",
            source=MINOR_VERSION,
        )
    windows = is_wsl(ctx)
    minimum = row["windows" if windows else "linux"]
    system = "Windows driver (WSL2)" if windows else "driver"
    verdict = driver_floor(driver, minimum, use.cuda)
    certain = use.certain and row.certain
    source = table_text("cuda_families", row)
    if verdict is Verdict.UNKNOWN:
        detail = f"{said}; CUDA {cuda_major}.x needs {system} {minimum} or newer, and {driver.version} does not compare with that."
        return Answer(verdict=verdict, detail=detail, source=source)
    if verdict is Verdict.COMPATIBLE:
        detail = f"{said}; CUDA {cuda_major}.x needs {system} {minimum} or newer and {driver.version} is loaded."
        if floor(driver.version, minimum) is not verdict:
            detail = f"{said}, and {system} {driver.version} offers CUDA {text(driver, 'cuda_api')} by its own word."
        return Answer(verdict=verdict, detail=detail + minor_version_note(driver, use), source=source, certain=certain)
    too_old = f"{said}; CUDA {cuda_major}.x needs {system} {minimum} or newer, and {driver.version} is loaded"
    lifted = None if windows else forward(ctx, driver, minimum, too_old)
    return lifted or Answer(verdict=verdict, detail=f"{too_old}.", source=source, certain=certain)


def driver_floor(driver: Component, minimum: str, cuda: str) -> Verdict:
    """At least `minimum`. A driver of the minimum's own branch that offers this CUDA version by its own word serves it
    whatever its number. Jetson's have numbers of their own (35.4.1; Thor's 580.00 offers CUDA 13.0): else those stay open."""
    verdict = floor(driver.version, minimum)
    version = driver.version or ""
    here = major(version) or 0
    of_jetson = here < FIRST_BRANCH or (here == major(minimum) and len(numbers(version)) == 2)
    if verdict is not Verdict.INCOMPATIBLE or not (of_jetson or here == major(minimum)):
        return verdict
    offered, wanted = major_minor(text(driver, "cuda_api")), major_minor(cuda)
    if offered is not None and wanted is not None and offered >= wanted:
        return Verdict.COMPATIBLE
    return Verdict.UNKNOWN if of_jetson else verdict


def minor_version_note(driver: Component, use: CudaUse) -> str:
    """Where the wheel's CUDA is newer than the one that nvidia-smi prints: why that is no ceiling, and what is not covered."""
    offered, wanted = major_minor(api_of(driver)), major_minor(use.cuda)
    if offered is None or wanted is None or len(numbers(use.cuda)) < 2 or wanted <= offered or wanted[0] != offered[0]:
        return ""
    shown = f"{offered[0]}.{offered[1]}"
    return (
        f" The CUDA {shown} that nvidia-smi prints is this driver's newest API and no ceiling: \"{major(driver.version)} allows "
        f'{shown} at most" is wrong, because minor-version compatibility lets every CUDA {offered[0]}.x program run. Not covered: '
        f"PTX compiled at run time (JIT) that is newer than CUDA {shown}, and functions of newer drivers."
    )


def api_of(driver: Component) -> str:
    """The CUDA version that the driver offers: as asked, else by its branch."""
    if text(driver, "cuda_api"):
        return text(driver, "cuda_api")
    branch = first_row("driver_branches", branch=f"R{major(driver.version)}")
    return branch["cuda_driver_api"] if branch else ""


# -- forward compatibility ----------------------------------------------------------------------------------------


def forward(ctx: CheckContext, driver: Component, minimum: str, too_old: str) -> Answer | None:
    """What a cuda-compat libcuda changes; None where none comes first, or it is no newer than the driver."""
    library = next((c for c in ctx.by_kind("libcuda") if c.attributes.get("first") is True), None)
    if library is None or not is_compat(library.location or ""):
        return None
    shown = f"{too_old}; cuda-compat's libcuda {library.version or 'of unknown version'} comes first on the loader path"
    if library.version is None or parse_version(library.version) is None:
        return Answer(verdict=Verdict.UNKNOWN, detail=f"{shown}, so which CUDA it offers is not known.", source=FORWARD)
    if floor(library.version, minimum) is not Verdict.COMPATIBLE:
        return None
    boards = [(g, data_centre(g)) for g in nvidia_gpus(ctx)]
    if not boards:
        return Answer(verdict=Verdict.UNKNOWN, detail=f"{shown}, and no GPU was seen to judge that by.", source=FORWARD)
    wrong = next((g for g, is_one in boards if is_one is False), None)
    if wrong is not None:
        return Answer(
            verdict=Verdict.INCOMPATIBLE,
            detail=f"{shown}, but forward compatibility does not hold on {wrong.name} (error 804).",
            source=FORWARD,
        )
    unsure = next((g for g, is_one in boards if is_one is None), None)
    if unsure is not None:
        detail = f"{shown}; forward compatibility holds on data-centre GPUs and some RTX servers: {unsure.name} is not known."
        return Answer(verdict=Verdict.UNKNOWN, detail=detail, source=FORWARD)
    detail = f"{shown} and serves it: forward compatibility holds on data-centre GPUs ({boards[0][0].name})."
    return Answer(verdict=Verdict.COMPATIBLE, detail=detail, source=FORWARD)


def data_centre(gpu: Component) -> bool | None:
    """By the board's name: True for a data-centre GPU, False for a GeForce, None for workstation boards and unknown ones."""
    if "GeForce" in gpu.name or text(gpu, "brand").lower().startswith("geforce"):
        return False
    if any(word in gpu.name for word in OTHER_BOARDS):
        return None
    words = gpu.name.replace("-", " ").replace("_", " ").split()
    return True if "Tesla" in words or DATA_CENTRE & set(words) else None


RULES = (
    CompatibilityRule(
        id=FAMILY,
        title="The driver serves the CUDA family of each wheel",
        explanation="""\
A driver runs every CUDA program of its own CUDA version and older. **Within a CUDA major it runs newer ones too**: CUDA 12.x
programs run from driver 525.60.13 on (Windows 527.41), 13.x from 580.65.06 (Windows 580), 11.x from 450.80.02 (Windows 452.39).
So driver 550, whose nvidia-smi prints CUDA 12.4, runs a CUDA 12.6 wheel: "550 allows 12.4 at most" is wrong.

Not covered: PTX that must be compiled at run time and is newer than the driver (error 222), functions of newer drivers
(error 36), and another CUDA major. On data-centre GPUs the package cuda-compat puts a newer user-mode driver in front.""",
        sources=(MINOR_VERSION, FORWARD),
        judge=judge_family,
    ),
    CompatibilityRule(
        id=TOOLKIT,
        title="The driver runs what an installed toolkit compiles",
        explanation="""\
The same families as for wheels. A toolkit newer than the driver's CUDA family is no fault for those who use wheels: each
brings its own CUDA runtime. Programs compiled with that toolkit do not start.""",
        sources=(MINOR_VERSION,),
        judge=judge_toolkits,
    ),
)
