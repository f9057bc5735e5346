"""TRT: TensorRT is installed, and ONNX Runtime's TensorRT provider or torch-tensorrt does not get the one it was built with.

TensorRT is optional: where nobody installed it, its provider not loading is nothing to tell of. Rests on the provider's ELF
dependencies as the loader resolves them, and on the matrix rule `ort-tensorrt`."""

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
)
from infra_doctor_probes.detect.onnxruntime import ProviderLoad
from infra_doctor_probes.in_target import Seen, nvidia_gpu, pip_install, pip_words, prefix_of, titled
from infra_doctor_probes.loading.names import library_name
from infra_doctor_probes.loading.orders import ORT
from infra_doctor_probes.tables.common import prefix

PROVIDER = "TensorrtExecutionProvider"
WISHES = ("tensorrt", "torch-tensorrt")


def run(ctx: CheckContext) -> Iterator[Finding]:
    """One finding per ONNX Runtime with the provider; one per tensorrt wheel without its libraries."""
    found = False
    for load in ctx.facts(ProviderLoad):
        if load.name == PROVIDER and load.order == ORT and load.opens is not None:
            wished = near(ctx, load.target)
            if wished:
                found = True
                yield judge(ctx, load, wished)
    for finding in without_libraries(ctx):
        found = True
        yield finding
    if not found:
        yield CHECK.skip("TensorRT is not installed, or nothing here uses it")


def near(ctx: CheckContext, target: str) -> tuple[Component, ...]:
    """What shows that somebody wants TensorRT: its wheels in this environment, its library there or on the system."""
    wheels = [w for w in ctx.by_kind("wheel", target=target) if w.name.startswith(WISHES)]
    copies = [c for c in ctx.by_kind("tensorrt") if not c.target or prefix(c.target) == prefix(target)]
    return (*wheels, *copies)


def major_of(component: Component) -> int | None:
    """The major in a copy's soname."""
    name = library_name(str(component.attributes.get("soname") or "")) or library_name(
        (component.location or "").rpartition("/")[2]
    )
    return name.major if name is not None else None


def judge(ctx: CheckContext, load: ProviderLoad, wished: tuple[Component, ...]) -> Finding:
    """The finding of one provider."""
    where = f"{titled(ctx, load.wheel)} in {prefix_of(load.target)}"
    subject = (load.provider, load.wheel)
    wants = [m for m in load.missing if m.soname.startswith(("libnvinfer", "libnvonnxparser")) and not m.on_first_use]
    if load.opens:
        return CHECK.finding(
            Status.PASS, f"{where}: its TensorRT provider loads", subject=subject, severity=Severity.LOW,
            evidence=(Evidence(kind=EvidenceKind.DERIVED, source=load.provider, text="all that it needs is found"),),
        )  # fmt: skip
    if not wants:
        others = ", ".join(dict.fromkeys(m.soname for m in load.missing)) or "its library"
        return CHECK.skip(f"{where}: the TensorRT provider lacks {others}, which is no part of TensorRT")
    if nvidia_gpu(ctx) is Seen.ABSENT:
        return CHECK.skip(f"{where}: no NVIDIA GPU is there")
    name = library_name(wants[0].soname)
    number = name.major if name is not None else None
    copies = [c for c in wished if c.kind == "tensorrt"]
    same = [c for c in copies if major_of(c) == number]
    there = "; ".join(f"{c.name} {c.version or '?'} at {c.location}" for c in copies) or ", ".join(
        titled(ctx, c.key) for c in wished
    )
    if same:
        title = f"{where} does not reach TensorRT {number}, which lies at {(same[0].location or '').rpartition('/')[0]}"
        detail = f"The provider asks for {wants[0].soname} by name and has no search list to a wheel's folder."
    elif copies:
        majors = " and ".join(sorted({str(major_of(c)) for c in copies}))
        title = f"{where} needs TensorRT {number}; TensorRT {majors} is here"
        detail = f"The provider asks for {wants[0].soname}; another major has another name."
    else:
        title = f"{where} needs {wants[0].soname}, and {', '.join(titled(ctx, c.key) for c in wished)} brought none"
        detail = "The package is installed by its metadata, its libraries are not."
    return CHECK.finding(
        Status.WARN, title, subject=subject,
        detail=f"{detail} A session that asks for TensorRT falls back to CUDA or the CPU.",
        evidence=(*load.evidence, Evidence(kind=EvidenceKind.DERIVED, source="TensorRT here", text=there)),
        remedy=remedy(ctx, load, number, bool(same)),
    )  # fmt: skip


def remedy(ctx: CheckContext, load: ProviderLoad, number: int | None, reachable: bool) -> str:
    """Load it first where it lies; else install the major."""
    if reachable:
        return (
            "`import tensorrt` before the first session: its package loads its libraries, and what is loaded is found. Or install"
            " TensorRT as a system package, which the loader finds by itself."
        )
    ort = ctx.component(load.wheel)
    cuda = str(ort.attributes.get("cuda") or "").partition(".")[0] if ort is not None else ""
    requirement = f"tensorrt-cu{cuda or '12'}=={number}.*"
    return (
        f"Install TensorRT {number} for CUDA {cuda or '12'}: {pip_words(ctx, load.target, 'install', repr(requirement))}, and"
        " `import tensorrt` before the first session; or take the ONNX Runtime release that was built with the TensorRT here."
    )


def without_libraries(ctx: CheckContext) -> Iterator[Finding]:
    """tensorrt-cuNN-bindings without tensorrt-cuNN-libs, and no library of the system: `import tensorrt` fails."""
    for wheel in ctx.by_kind("wheel"):
        if not (wheel.name.startswith("tensorrt") and wheel.name.endswith("-bindings")) or not wheel.target:
            continue
        libs = wheel.name.removesuffix("-bindings") + "-libs"
        if ctx.named(libs, wheel.target) or [c for c in near(ctx, wheel.target) if c.kind == "tensorrt"]:
            continue
        requirement = f"{libs}=={wheel.version}" if wheel.version else libs
        yield CHECK.finding(
            Status.WARN,
            f"{titled(ctx, wheel.key)} in {prefix_of(wheel.target)} has no libraries: {libs} is not installed",
            subject=(wheel.key,),
            detail="The bindings open libnvinfer when tensorrt is imported; no copy of it is here.",
            evidence=wheel.evidence,
            remedy="Install the libraries of the same version.",
            commands=pip_install(ctx, wheel.target, requirement),
        )


CHECK = Check(
    id="TRT",
    title="TensorRT missing or of another major",
    explanation="""\
onnxruntime-gpu ships a provider for TensorRT and no TensorRT. The provider asks for `libnvinfer.so` of the major that it was
built with: 8 up to ONNX Runtime 1.17, 10 from 1.18 on. A TensorRT 11 beside it has another name and does not serve. The wheels
of TensorRT put their libraries into `tensorrt_libs`, a folder that is on nobody's search path: `import tensorrt` loads them, and
only then are they found.

Where TensorRT is not installed at all, nobody asked for it, and nothing is reported: the provider is part of every GPU wheel.""",
    remediation="Install the TensorRT major that ONNX Runtime's release was built with, and import tensorrt before the first"
    " session. Engine files hold for the TensorRT version and the GPU that built them: build them anew with the TensorRT that"
    " runs them.",
    sources=(
        "https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html#requirements",
        "https://github.com/FocoosAI/focoos/issues/143",
        "https://github.com/microsoft/onnxruntime/issues/18597",
        "https://pypi.org/project/tensorrt/",
    ),
    run=run,
    severity=Severity.MEDIUM,
    log_signatures=(
        LogSignature(
            pattern=r"(?<!dlerror: )libnvinfer(?:_plugin)?\.so\.\d{1,2}(?:\.\d+)*: cannot open shared object file",
            source="https://github.com/FocoosAI/focoos/issues/143",
            strength=3,
        ),
        LogSignature(
            pattern=r"Please install TensorRT libraries as mentioned in the GPU requirements page",
            source="https://github.com/FocoosAI/focoos/issues/143",
        ),
        LogSignature(
            pattern=r"undefined symbol: getBuilderPluginRegistry",
            source="https://github.com/microsoft/onnxruntime/issues/18597",
            strength=3,
        ),
        LogSignature(
            pattern=r"onnxruntime_providers_\w{3,12}\.dll[^\n]{1,60}nvinfer\w{0,20}\.dll\W{1,3}which is missing",
            source="https://github.com/chflame163/ComfyUI_CatVTON_Wrapper/issues/51",
            strength=3,
        ),
        LogSignature(
            pattern=r"stdVersionRead == (?:serializationVersion|kSERIALIZATION_VERSION) failed",
            source="https://github.com/mingj2021/segment-anything-tensorrt/issues/2",
        ),
        LogSignature(
            pattern=r"engine plan file is not compatible with this version of TensorRT",
            source="https://github.com/NVIDIA/retinanet-examples/issues/314",
        ),
        LogSignature(
            pattern=r"Serialization Error in verifyHeader[^\n]{0,20}Version tag does not match",
            source="https://github.com/GeekAlexis/FastMOT/issues/127",
        ),
        LogSignature(
            pattern=r"Could not find: nvinfer\w{0,20}\.dll\. Is it on your PATH",
            source="https://github.com/NVIDIA/TensorRT/issues/3252",
            strength=3,
        ),
        LogSignature(
            pattern=r"Unable to open library: (?:lib)?nvinfer\w{0,20}\.",
            source="https://github.com/NVIDIA/TensorRT/issues/4159",
            strength=3,
        ),
    ),
    explained_by=("PY-CLOBBER-NV",),
    tags=("tensorrt", "onnxruntime"),
)

CHECKS = (CHECK,)
