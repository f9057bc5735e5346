"""Which frameworks and accelerator packages a Python environment holds, and what they were built for.

Versions are those of the installed metadata; builds come from text files in the packages (torch/version.py, onnxruntime's
build_and_package_info.py), from ELF headers and Requires-Dist. Nothing is imported."""

import re
from collections.abc import Collection, Iterator
from dataclasses import field

from infra_doctor.plugin import (
    AttributeValue,
    Component,
    Distribution,
    Evidence,
    EvidenceKind,
    Machine,
    Probe,
    ProbeContext,
    PythonEnvironment,
    Target,
    fact,
    python_environment,
    read_requirement,
    record,
)
from infra_doctor_probes.detect.framework_builds import COLLECT, FrameworkBuild, framework_builds
from infra_doctor_probes.detect.wheel_files import wheel_files
from infra_doctor_probes.loading.orders import frameworks, ort_distributions, package_folder, wheel_key
from infra_doctor_probes.products import product_of
from infra_doctor_probes.stack_names import in_stack as in_stack

# Local version labels of PyTorch builds that are no CUDA build though some of them set torch.version.cuda.
_LOOK_ALIKES = {
    "das": "das", "dtk": "das", "corex": "corex", "metax": "metax", "maca": "metax", "musa": "musa", "mlu": "mlu",
    "npu": "npu", "gcu": "gcu", "topsrider": "gcu", "xpu": "xpu", "rocm": "rocm", "cpu": "cpu",
}  # fmt: skip
_ORT_BUILDS = {
    "onnxruntime": "cpu", "onnxruntime-gpu": "cuda", "onnxruntime-directml": "directml", "onnxruntime-training": "cuda",
}  # fmt: skip
_VERSION_CAP_BYTES = 65536


@fact("torch-build", 1)
@record
class TorchBuild:
    """What a torch was built for. `build`: cuda, cpu, rocm, xpu, or a vendor's own ("das", "corex", "metax" …)."""

    wheel: str
    target: str
    version: str
    build: str | None
    cuda: str | None
    hip: str | None
    tag: str | None
    evidence: tuple[Evidence, ...] = ()


@fact("onnxruntime-build", 1)
@record
class OnnxRuntimeBuild:
    """The ONNX Runtime that an import gets, by the bytes on disk. `distributions` are all that write its folder;
    `required_by` the installed distributions that ask for one of them."""

    wheel: str
    target: str
    version: str | None
    package_name: str | None
    distributions: tuple[str, ...]
    build: str | None
    cuda: str | None
    cudnn: str | None
    providers: tuple[str, ...]
    has_preload_dlls: bool
    opens_cudnn_late: bool
    preload_folders: tuple[str, ...] = ()  # of the wheels: "cublas", or "cu13" for the layout from CUDA 13 on
    required_by: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()


@fact("installed-distributions", 1)
@record
class InstalledDistributions:
    """All distributions of a target that an import would see: PEP 503 name -> (version, metadata folder). The names of those
    outside the accelerator stack are nobody's business: they answer a policy's questions and stand in no report."""

    target: str
    count: int
    found: dict[str, tuple[str, str]] = field(default_factory=dict, metadata={"in_report": False})
    evidence: tuple[Evidence, ...] = ()


def run(ctx: ProbeContext) -> Iterator[object]:
    """wheel components, builds, contests and missing files of each target."""
    for target in ctx.targets:
        environment = python_environment(ctx.machine, target)
        yield installed(target, environment)
        wheels = [d for d in environment.distributions if in_stack(d.normalized)]
        torch = torch_build(ctx.machine, target, environment)
        ort = onnxruntime_build(ctx.machine, target, environment)
        builds = {b.wheel: b for b in framework_builds(ctx.machine, target, environment)}
        for dist in wheels:
            yield wheel(target, dist, torch, ort, builds.get(wheel_key(dist.normalized, target)))
        yield from (found for found in (torch, ort, *builds.values()) if found is not None)
        yield from wheel_files(ctx.machine, target, environment, wheels)


def installed(target: Target, environment: PythonEnvironment) -> InstalledDistributions:
    """The fact of one target."""
    found = {d.normalized: (d.version, d.path) for d in environment.distributions}
    seen = Evidence(kind=EvidenceKind.DIRECTORY, source=target.prefix, text=f"{len(found)} distributions")
    return InstalledDistributions(target=target.key, count=len(found), found=found, evidence=(seen,))


def wheel(
    target: Target, dist: Distribution, torch: TorchBuild | None, ort: OnnxRuntimeBuild | None,
    build: FrameworkBuild | None = None,
) -> Component:  # fmt: skip
    """The component of one distribution."""
    attributes: dict[str, AttributeValue] = {}
    key = wheel_key(dist.normalized, target)
    if torch is not None and torch.wheel == key:
        attributes = {"build": torch.build, "cuda": torch.cuda, "hip": torch.hip, "tag": torch.tag}
    elif ort is not None and key in ort.distributions:
        attributes = {"build": ort_build(dist.normalized)}
        if ort.wheel == key:
            attributes |= {"build": ort.build, "cuda": ort.cuda, "cudnn": ort.cudnn}
    elif build is not None:
        attributes = {"build": build.build, "cuda": build.cuda, "cudnn": build.cudnn}
    if dist.editable:
        attributes["editable"] = True
    product = product_of(dist.normalized)
    if product is not None:
        attributes["product"] = product.name
    return Component(
        key=key,
        kind="wheel",
        name=dist.normalized,
        version=dist.version,
        location=dist.path,
        origin=dist.installer,
        target=target.key,
        attributes={k: v for k, v in attributes.items() if v is not None},
        evidence=(Evidence(kind=EvidenceKind.METADATA, source=dist.path, text=f"{dist.name} {dist.version}"),),
    )


# -- PyTorch ------------------------------------------------------------------------------------------------------


def torch_build(machine: Machine, target: Target, environment: PythonEnvironment) -> TorchBuild | None:
    """The build of the environment's torch; None where there is none."""
    dist = environment.distribution("torch")
    if dist is None:
        return None
    path = package_folder(machine, target, dist, "torch") + "/version.py"
    text = machine.read_text(path, max_bytes=_VERSION_CAP_BYTES) or ""
    said = parse_version_file(text)
    if text and not said:
        machine.note_problem(path, "no version in it that could be understood")
    version = said.get("__version__") or dist.version
    label = version.partition("+")[2]
    cuda, hip = said.get("cuda"), said.get("hip") or said.get("rocm")
    evidence = [Evidence(kind=EvidenceKind.FILE, source=path, text=", ".join(f"{k} {v}" for k, v in said.items()))]
    if not said:
        cuda, evidence = cuda_by_metadata(dist)
    build = next((b for word, b in _LOOK_ALIKES.items() if label.startswith(word) or f".{word}" in label), None)
    if build is None:
        # Without any of these the text says "built for the CPU"; without the text nothing is known.
        known = "cuda" if cuda else "rocm" if hip else "xpu" if said.get("xpu") else None
        build = known or ("cpu" if said else None)
    # PyTorch's own wheels carry it; without it the build is conda's, NVIDIA's, Jetson's or somebody's own.
    named = re.match(r"cu\d{2,3}(?=$|\.)", label)
    tag = named.group(0) if named and build == "cuda" else None
    return TorchBuild(
        wheel=wheel_key("torch", target), target=target.key, version=version, build=build, cuda=cuda, hip=hip, tag=tag,
        evidence=tuple(evidence),
    )  # fmt: skip


def parse_version_file(text: str) -> dict[str, str]:
    """The string assignments of torch/version.py: `cuda: Optional[str] = '13.0'`, with or without the annotation."""
    found = re.findall(
        r"^(__version__|cuda|hip|rocm|xpu|git_version)\b[^=\n]*=\s*[\"']([^\"'\n]{1,80})[\"']", text, re.M
    )
    return dict(found)


def cuda_by_metadata(dist: Distribution) -> tuple[str | None, list[Evidence]]:
    """(CUDA version or major, evidence) by the version's label or what the wheel requires."""
    label = re.fullmatch(r"cu(\d{2})(\d)", dist.version.partition("+")[2])
    seen = Evidence(kind=EvidenceKind.METADATA, source=dist.path, text=f"version {dist.version}")
    if label:
        return f"{label.group(1)}.{label.group(2)}", [seen]
    for line in dist.requires:
        match = re.match(r"nvidia-[a-z0-9-]+-cu(\d{2})\b", line.strip())
        if match:
            return match.group(1), [Evidence(kind=EvidenceKind.METADATA, source=dist.path, text=line.strip()[:120])]
    return None, [seen]


# -- ONNX Runtime -------------------------------------------------------------------------------------------------


def ort_build(name: str) -> str:
    """What an ONNX Runtime distribution is built for, by its name."""
    return _ORT_BUILDS.get(name) or name.removeprefix("onnxruntime-")


def asks_for(dist: Distribution, names: Collection[str]) -> bool:
    """Whether a distribution requires one of these, extras aside."""
    for line in dist.requires:
        if line.lower().startswith("onnxruntime"):
            requirement = read_requirement(line)
            if requirement is not None and requirement.name in names and requirement.applies is not False:
                return True
    return False


def onnxruntime_build(machine: Machine, target: Target, environment: PythonEnvironment) -> OnnxRuntimeBuild | None:
    """The ONNX Runtime on disk; None where there is none."""
    names = ort_distributions(environment)
    found = frameworks(machine, target)
    ort = found.ort
    if ort is None:
        return None
    providers = tuple(p for p, _ in ort.providers)
    evidence = []
    if ort.info_path:
        text = f"package_name {ort.package_name}, __version__ {ort.version}, cuda_version {ort.cuda}"
        evidence.append(Evidence(kind=EvidenceKind.FILE, source=ort.info_path, text=text))
    evidence += [Evidence(kind=EvidenceKind.FILE, source=path, text=provider) for provider, path in ort.providers]
    build = ort_build(ort.package_name) if ort.package_name else None
    if "CUDAExecutionProvider" in providers:
        build = "cuda"
    return OnnxRuntimeBuild(
        wheel=found.ort_key,
        target=target.key,
        version=ort.version,
        package_name=ort.package_name,
        distributions=tuple(wheel_key(n, target) for n in names),
        build=build or (ort_build(names[0]) if names else None),
        cuda=ort.cuda,
        cudnn=ort.cudnn or ("9" if ort.lazy else None),
        providers=providers,
        has_preload_dlls=ort.preload is not None,
        preload_folders=tuple(dict.fromkeys(p[1] for p in ort.preload.paths)) if ort.preload is not None else (),
        required_by=tuple(d.normalized for d in environment.distributions if asks_for(d, names)),
        opens_cudnn_late=ort.lazy,
        evidence=tuple(evidence),
    )


PROBES = (
    Probe(
        id="python.wheels",
        version=1,
        title="Frameworks and accelerator packages of the Python environments",
        run=run,
        collect=(
            "site:torch/version.py", "site:torch/__init__.py", "site:onnxruntime/__init__.py", "site:onnxruntime/capi/*", *COLLECT,
        ),
    ),
)  # fmt: skip
