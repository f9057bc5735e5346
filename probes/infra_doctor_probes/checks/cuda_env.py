"""CUDA-ENV: variables that slow CUDA programs down or point nowhere, left behind by debugging, profiling or another machine.

What each does is taken from the CUDA programming guide and the documentation of the program that reads it."""

from collections.abc import Iterator

from infra_doctor.plugin import Check, CheckContext, Component, Finding, LogSignature, Severity, Status
from infra_doctor_probes.detect.tuning_variables import MissingPath, TuningVariable
from infra_doctor_probes.workload import nvidia_gpus

PROGRAMMING_GUIDE = "https://docs.nvidia.com/cuda/cuda-programming-guide/05-appendices/environment-variables.html"
# Variable -> (what 1 does, severity). Meanings: CUDA programming guide; NVIDIA_TF32_OVERRIDE: cuBLAS documentation.
SWITCHES = {
    "CUDA_LAUNCH_BLOCKING": ("every kernel launch waits until the kernel has ended", Severity.MEDIUM),
    "CUDA_FORCE_PTX_JIT": (
        "compiled kernels are ignored, everything is compiled from PTX at the start",
        Severity.MEDIUM,
    ),
    "CUDA_FORCE_JIT": ("compiled kernels are ignored, everything is compiled at the start", Severity.MEDIUM),
    "CUDA_CACHE_DISABLE": ("what was compiled at the start of a program is compiled again at each start", Severity.LOW),
    "CUDA_DEVICE_WAITS_ON_EXCEPTION": ("a program stops and waits for a debugger when a kernel fails", Severity.MEDIUM),
    "NSIGHT_CUDA_DEBUGGER": ("the debugger's paths are switched on", Severity.LOW),
    "PYTORCH_NO_CUDA_MEMORY_CACHING": ("PyTorch asks the driver for each tensor's memory", Severity.MEDIUM),
}
NOTED = frozenset(
    {"CUDA_DISABLE_PTX_JIT", "CUDA_DISABLE_JIT", "CUDA_MODULE_LOADING", "CUDA_ENABLE_COREDUMP_ON_EXCEPTION",
     "CUDA_DEVICE_MAX_CONNECTIONS", "XLA_FLAGS", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "OMP_NUM_THREADS"}
)  # fmt: skip
INJECTIONS = ("CUDA_INJECTION64_PATH", "CUDA_INJECTION32_PATH", "NVTX_INJECTION64_PATH")
MISSING_EFFECT = {
    "CUDA_HOME": "Builds of extensions, and programs that compile kernels at run time, look for nvcc there.",
    "CUDA_PATH": "Builds of extensions, CuPy and others that compile kernels at run time look for nvcc there.",
    "LD_PRELOAD": "Each program that starts prints an error of ld.so and goes on without it.",
    "CUDA_INJECTION64_PATH": "CUDA loads this library into each program when it starts.",
}
ALLOCATOR_NAMES = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per variable that is wrong; one pass where none is."""
    probe = context.probes.get("tuning-variables")
    found = {v.name: v for v in context.facts(TuningVariable)}
    missing = [m for m in context.facts(MissingPath) if m.variable in MISSING_EFFECT]
    if probe is not None and probe.status in {Status.SKIP, Status.ERROR}:
        yield CHECK.skip("environment variables are not visible on this form of machine")
        return
    gpus = nvidia_gpus(context)
    if not gpus:
        yield CHECK.skip("no NVIDIA GPU is there that a program could use")
        return
    wrong = [
        *switches(found), *tf32(found, gpus), *injections(found, missing), *nowhere(missing), *allocator(found),
        *architectures(found, gpus),
    ]  # fmt: skip
    yield from wrong
    if not wrong:
        noted = [f"{v.name}={v.value}" for v in found.values() if v.name in NOTED]
        yield CHECK.finding(
            Status.PASS,
            "no variable slows CUDA programs down or points nowhere",
            detail=f"Set, and with an effect: {', '.join(noted)}." if noted else "",
            subject=("variable:environment",),
            evidence=[e for v in found.values() if v.name in NOTED for e in v.evidence]
            or [e for g in gpus[:1] for e in g.evidence[:1]],
            severity=Severity.LOW,
        )


def warn(variable: TuningVariable, title: str, detail: str, severity: Severity, remedy: str = "") -> Finding:
    """The finding of one variable."""
    return CHECK.finding(
        Status.WARN,
        title,
        subject=(f"variable:{variable.name}",),
        detail=detail,
        evidence=variable.evidence,
        severity=severity,
        remedy=remedy
        or f"`unset {variable.name}`, and take it out of what sets it (job script, ~/.bashrc, image, pod).",
    )


def switches(found: dict[str, TuningVariable]) -> Iterator[Finding]:
    """Switches that are on."""
    for name, (effect, severity) in SWITCHES.items():
        variable = found.get(name)
        if variable is not None and (variable.value or "").strip() not in {"", "0", "false", "False"}:
            yield warn(variable, f"{name}={variable.value}: {effect}", "It is meant for debugging.", severity)


def tf32(found: dict[str, TuningVariable], gpus: tuple[Component, ...]) -> Iterator[Finding]:
    """NVIDIA_TF32_OVERRIDE=0 forbids TF32 whatever a program asks for; only GPUs from 8.0 on have it."""
    variable = found.get("NVIDIA_TF32_OVERRIDE")
    if variable is None or (variable.value or "").strip() != "0":
        return
    if any((capability(g) or (0, 0)) >= (8, 0) for g in gpus):
        title = "NVIDIA_TF32_OVERRIDE=0 forbids TF32 in NVIDIA's libraries, whatever programs ask for"
        yield warn(variable, title, "Matrix products in FP32 then run without tensor cores.", Severity.LOW)


def injections(found: dict[str, TuningVariable], missing: list[MissingPath]) -> Iterator[Finding]:
    """Libraries that a profiler had loaded into programs. Under the profiler they belong there."""
    gone = {m.variable for m in missing}
    for name in INJECTIONS:
        variable = found.get(name)
        if variable is not None and variable.value and name not in gone:
            yield warn(
                variable,
                f"{name} is set: a profiler's library is loaded into each CUDA program",
                "Right while a profiler runs. Left behind, it slows programs down and keeps other profilers out.",
                Severity.LOW,
            )


def nowhere(missing: list[MissingPath]) -> Iterator[Finding]:
    """Variables that name what is not there."""
    for one in missing:
        yield CHECK.finding(
            Status.WARN,
            f"{one.variable} names {one.path}, which is not there",
            subject=(f"variable:{one.variable}",),
            detail=MISSING_EFFECT[one.variable],
            evidence=one.evidence,
            severity=Severity.LOW,
            remedy=f"Correct {one.variable}, or take that entry out of it.",
        )


def allocator(found: dict[str, TuningVariable]) -> Iterator[Finding]:
    """PyTorch reads `option:value,option:value`; what it cannot read ends the first use of CUDA."""
    for name in ALLOCATOR_NAMES:
        variable = found.get(name)
        text = (variable.value or "").strip() if variable is not None else ""
        if variable is None or not text:
            continue
        # Lists in brackets hold commas and colons of their own.
        outside = "".join(part.rpartition("]")[2] if n else part for n, part in enumerate(text.split("[")))
        broken = [w for w in (o.strip() for o in outside.split(",")) if w and ":" not in w and w != "]"]
        quoted = text[0] in "\"'"
        if broken or quoted or "=" in text:
            why = (
                "quotes are part of the value"
                if quoted
                else f"option:value is expected, not {(broken or [text])[0][:60]}"
            )
            yield warn(
                variable,
                f"{name}={text[:80]} is not what PyTorch reads: {why}",
                "PyTorch then stops at the first use of CUDA with `Unrecognized CachingAllocator option`.",
                Severity.MEDIUM,
                f"Write for example `{name}=expandable_segments:True,max_split_size_mb:512`.",
            )


def architectures(found: dict[str, TuningVariable], gpus: tuple[Component, ...]) -> Iterator[Finding]:
    """TORCH_CUDA_ARCH_LIST without a kernel for a GPU that is here: extensions built so do not run on it."""
    variable = found.get("TORCH_CUDA_ARCH_LIST")
    entries = [e for e in (variable.value or "").replace(";", " ").replace(",", " ").split() if e] if variable else []
    if variable is None or not entries or any(not read_architecture(e) for e in entries):
        return  # names of generations ("Hopper", "All"): a set that changes with the release of PyTorch
    missed = {
        str(g.attributes.get("compute_capability")) for g in gpus if (c := capability(g)) and not covered(c, entries)
    }
    if missed:
        finding = warn(
            variable,
            f"TORCH_CUDA_ARCH_LIST={variable.value} leaves out compute capability {', '.join(sorted(missed))} of the GPU here",
            "Extensions that are built in this environment have no kernel for it: `no kernel image is available for execution`.",
            Severity.LOW,
            f"Add {', '.join(sorted(missed))}, or unset it: the build then takes the GPUs that it sees.",
        )
        yield finding


def capability(gpu: Component) -> tuple[int, int] | None:
    """(9, 0) of "9.0"."""
    major, dot, minor = str(gpu.attributes.get("compute_capability") or "").partition(".")
    return (int(major), int(minor)) if dot and major.isdecimal() and minor.isdecimal() else None


def read_architecture(entry: str) -> tuple[int, int, str, bool] | None:
    """(9, 0, "a", True) of "9.0a+PTX"; None for a name."""
    number, plus, _ = entry.partition("+")
    suffix = number[-1] if number[-1:] in {"a", "f"} else ""
    major, dot, minor = number.removesuffix(suffix).partition(".") if suffix else number.partition(".")
    if not (dot and major.isdecimal() and minor.isdecimal()):
        return None
    return int(major), int(minor), suffix, bool(plus)


def covered(wanted: tuple[int, int], entries: list[str]) -> bool:
    """Code for X.Y runs on X.Z with Z >= Y; PTX on anything newer; "a" on that capability alone, "f" within its family."""
    for entry in entries:
        read = read_architecture(entry)
        if read is None:
            return True
        major, minor, suffix, ptx = read
        if (major, minor) == wanted or (ptx and not suffix and (major, minor) <= wanted):
            return True
        if suffix != "a" and major == wanted[0] and minor <= wanted[1]:
            return True
    return False


CHECK = Check(
    id="CUDA-ENV",
    title="Left-over CUDA variables",
    explanation="""\
Variables for debugging stay set in shells, images and job scripts. CUDA_LAUNCH_BLOCKING=1 makes every launch wait,
CUDA_FORCE_PTX_JIT=1 compiles all kernels at each start, PYTORCH_NO_CUDA_MEMORY_CACHING=1 goes to the driver for each tensor, and a
profiler's injection library is loaded into programs that nobody profiles. Others point to what is gone: CUDA_HOME of a removed
toolkit, an LD_PRELOAD of a deleted file.

infra-doctor reads the variables by name and says what each costs. Nothing here is more than a warning: programs run. Settings
that are valid and have their uses (CUDA_MODULE_LOADING, CUDA_DEVICE_MAX_CONNECTIONS, XLA_FLAGS, OMP_NUM_THREADS) are mentioned in
the pass. CUDA_HOME that is not set is no fault.""",
    remediation="Unset the variable and take it out of what sets it: job script, ~/.bashrc, image, pod specification.",
    sources=(
        PROGRAMMING_GUIDE,
        "https://docs.pytorch.org/docs/2.15/cuda_environment_variables.html",
        "https://docs.nvidia.com/cuda/cublas/index.html",
        "https://man7.org/linux/man-pages/man8/ld.so.8.html",
    ),
    run=run,
    severity=Severity.LOW,
    log_signatures=(
        LogSignature(
            pattern=r"ERROR: ld\.so: object '[^'\n]{1,300}' from LD_PRELOAD cannot be preloaded",
            source="https://github.com/rizsotto/Bear/issues/582",
            strength=3,
        ),
        LogSignature(
            pattern=r"Unrecognized CachingAllocator option",
            source="https://github.com/pytorch/pytorch/issues/123505",
            strength=3,
        ),
    ),
    tags=("nvidia", "cuda"),
)

CHECKS = (CHECK,)
